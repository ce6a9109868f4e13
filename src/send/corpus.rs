//! Messages that would be something else than text, wherever one let them: what the forms of a text are tried with.

use std::sync::LazyLock;

use super::wording::Source;

pub const SOURCE: Source<'_> =
    Source { author: Some("Ann Example"), commit: "1a2b3c4d5e", repository: "team/tool", token: None };

/// What has a meaning to somebody; the outer tests push it.
static TOKENS: LazyLock<Vec<String>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../tests/cases/hostile.json")).expect("the corpus is JSON"));

/// Every token and every sign of ASCII, wherever something may begin or end.
pub fn messages() -> Vec<String> {
    let signs = (0_u8..128).filter(|byte| !byte.is_ascii_alphanumeric()).map(|byte| char::from(byte).to_string());
    let mut messages: Vec<String> = Vec::new();
    for sign in signs {
        messages.extend([
            sign.clone(),
            sign.repeat(2),
            sign.repeat(4),
            format!("{sign} at the beginning"),
            format!("{sign}at the beginning"),
            format!("at the end{sign}"),
            format!("in the mid{sign}dle"),
            format!("between {sign} blanks"),
            format!("{sign}around{sign}"),
            format!("a {sign}word{sign} of some"),
            format!("another line\n{sign} here\n  {sign}here"),
            format!("\\{sign}escaped\\{sign}"),
        ]);
    }
    for token in TOKENS.iter() {
        messages.extend([
            token.clone(),
            format!("before {token} after"),
            format!("before{token}after"),
            format!("line\n{token}\nline"),
            format!("\\{token}"),
            format!("{token}{token}"),
            format!("({token})"),
        ]);
    }
    messages.extend([String::new(), " ".to_owned(), "\n".to_owned(), "plain text, nothing else".to_owned()]);
    messages
}

#[test]
fn there_are_many_and_no_two_are_the_same() {
    let messages = messages();
    let different: std::collections::HashSet<&String> = messages.iter().collect();
    assert!(different.len() >= 1000, "{}", different.len());
}
