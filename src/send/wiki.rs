//! Wiki markup, which Data Center takes every text for: written so that all of it is text again when it is shown.
//!
//! Each sign that could begin or end anything is escaped, wherever it stands: what a sign means depends on what is around
//! it, and to escape one too many shows nothing. No fence is used, because a message may hold the end of any fence.

use super::wording::{LONGEST, Saying, shortened_by};

/// Writes markup that shows what is said and nothing else.
pub fn markup(saying: &Saying) -> String {
    let last = saying.last.as_deref().map(|last| escaped(&shortened_by(last, LONGEST / 8, cost)));
    let used = last.as_deref().map_or(0, |last| last.encode_utf16().count() + 2);
    let text = escaped(&shortened_by(&saying.text, LONGEST - used, cost));
    match last {
        None => text,
        Some(last) if text.is_empty() => last,
        Some(last) => format!("{text}\n\n{last}"),
    }
}

/// What begins or ends markup: macros, links and mentions, images, tables, phrases, lists, rulers, sub- and superscript,
/// citations, mail addresses, URLs, smileys, and styles.
const SIGNS: &str = "{}[]!|*_+-^~?#@:;()%";

fn escaped(text: &str) -> String {
    let mut markup = String::with_capacity(text.len() * 2);
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            markup.push('\n');
        }
        let dot = dot_of_block(line);
        for (at, c) in line.char_indices() {
            match c {
                // Two of them would be a line break, so it is not escaped by itself.
                '\\' => markup.push_str("&#92;"),
                '&' => markup.push_str("&amp;"),
                c if SIGNS.contains(c) || dot == Some(at) => markup.extend(['\\', c]),
                c => markup.push(c),
            }
        }
    }
    markup
}

/// The dot that makes a line a heading or a quotation.
fn dot_of_block(line: &str) -> Option<usize> {
    let word = line.trim_start();
    let level = word.strip_prefix(['h', 'H']).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let quotes = word.get(..2).is_some_and(|word| word.eq_ignore_ascii_case("bq"));
    let dot = line.len() - word.len() + 2;
    ((level || quotes) && line[dot..].starts_with('.')).then_some(dot)
}

/// What a character takes in markup, in UTF-16 units, or a little more.
fn cost(c: char) -> usize {
    match c {
        '\\' | '&' => 5,
        '.' => 2,
        c if SIGNS.contains(c) => 2,
        c => c.len_utf16(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use regex::Regex;

    use super::super::corpus::{self, SOURCE};
    use super::*;

    /// What Jira's renderer would find: the markup in a text, and the text that remains.
    struct Shown {
        active: Vec<String>,
        text: String,
    }

    /// The forms of markup, where `\u{e000}` stands for whatever was escaped.
    const FORMS: &[(&str, &str)] = &[
        ("macro", r"\{[^\n}]*\}?"),
        ("link or mention", r"\[[^\n\]]*\]?"),
        ("image", r"![^\s!][^\n!]*!?"),
        ("table", r"(?m)^\s*\|"),
        ("row", r"\|[^\n|]*\|"),
        ("strong", r"\*\S"),
        ("emphasis", r"_\S"),
        ("inserted", r"\+\S"),
        ("deleted", r"-\S"),
        ("dash", r"--"),
        ("superscript", r"\^\S"),
        ("subscript", r"~\S"),
        ("citation", r"\?\?"),
        ("list", r"(?m)^\s*[*#-]+\s"),
        ("heading", r"(?mi)^\s*h[0-9]\."),
        ("quotation", r"(?mi)^\s*bq\."),
        ("ruler", r"(?m)^\s*-{3,}"),
        ("line break", r"\\\\"),
        ("URL", r"(?i)[a-z]+:\S"),
        ("mail address", r"\S@|@\S"),
        ("smiley", r"[:;]\S|\([^\n]{1,7}\)"),
        ("issue", r"[A-Z][A-Z0-9]+-[0-9]"),
        ("entity", r"&#?[a-zA-Z0-9]+;"),
        ("style", r"%"),
    ];

    static EXPRESSIONS: LazyLock<Vec<(&str, Regex)>> =
        LazyLock::new(|| FORMS.iter().map(|(name, form)| (*name, Regex::new(form).unwrap())).collect());

    /// A renderer that undoes escapes as Jira's does and then looks for markup in what was not escaped.
    fn render(markup: &str) -> Shown {
        let (mut bare, mut text) = (String::new(), String::new());
        let mut rest = markup;
        while let Some(c) = rest.chars().next() {
            let after = &rest[c.len_utf8()..];
            let next = after.chars().next().filter(|next| next.is_ascii_punctuation() && *next != '\\');
            let entity = [("&#92;", '\\'), ("&amp;", '&')].into_iter().find(|(entity, _)| rest.starts_with(entity));
            let (plain, length) = match (c, next, entity) {
                (_, _, Some((entity, plain))) => (Some(plain), entity.len()),
                ('\\', Some(next), None) => (Some(next), 2),
                _ => (None, c.len_utf8()),
            };
            bare.push(if plain.is_some() { '\u{e000}' } else { c });
            text.push(plain.unwrap_or(c));
            rest = &rest[length..];
        }
        let active = EXPRESSIONS.iter().filter(|(_, form)| form.is_match(&bare));
        Shown { active: active.map(|(name, _)| (*name).to_owned()).collect(), text }
    }

    #[test]
    fn s18_whatever_a_message_holds_nothing_but_its_text_is_shown() {
        for message in corpus::messages() {
            let saying = Saying::new(&message, SOURCE);
            let shown = render(&markup(&saying));
            assert_eq!(shown.active, Vec::<String>::new(), "{message:?}");
            let last = saying.last.as_deref().unwrap();
            let expected = format!("{}\n\n{last}", saying.text);
            assert_eq!(shown.text, expected.trim_start_matches('\n'), "{message:?}");
        }
    }

    #[test]
    fn s18_the_renderer_would_find_markup() {
        let messages = corpus::messages();
        let found = messages.iter().filter(|message| !render(message).active.is_empty()).count();
        assert!(found * 5 > messages.len() * 2, "{found} of {}", messages.len());
        for (name, _) in FORMS {
            let is_found = messages.iter().any(|message| render(message).active.iter().any(|active| active == name));
            assert!(is_found, "no message has a {name}");
        }
    }

    #[test]
    fn s18_the_names_of_people_and_repositories_are_no_markup_either() {
        let source = super::super::wording::Source {
            author: Some("[~admin] {color:red}*Ann*"),
            repository: "!http://x/y.png!",
            ..SOURCE
        };
        let markup = markup(&Saying::new("", source));
        assert_eq!(render(&markup).active, Vec::<String>::new(), "{markup}");
        assert!(markup.starts_with("— \\[\\~admin\\]"), "{markup}");
    }

    #[test]
    fn s18_what_is_too_long_is_cut_below_the_limit() {
        for piece in ["x", "😀", "\\", "&", "{", "h1. x\n", "é.", "\n", "a\n\n"] {
            let saying = Saying::new(&piece.repeat(70_000), SOURCE);
            let markup = markup(&saying);
            assert!(markup.encode_utf16().count() <= LONGEST, "{piece:?}");
            assert_eq!(render(&markup).active, Vec::<String>::new(), "{piece:?}");
            assert!(render(&markup).text.ends_with(saying.last.as_deref().unwrap()), "{piece:?}");
        }
    }
}
