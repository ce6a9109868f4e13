//! What is said in Jira, before it takes the form of a site: the words of a commit and a line about where they are from.
//!
//! Text from a commit is cleaned here of what no form can carry. What it says stays text: the forms (`adf`, `wiki`) see to
//! that.

/// Something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saying {
    /// Lines that end with a newline or with the text, each without anything that cannot be shown.
    pub text: String,
    /// A line of its own below: who says so, and where.
    pub last: Option<String>,
}

/// Where words are from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Who says so, unless that is the account which says it.
    pub author: Option<&'a str>,
    /// Empty where the words were typed.
    pub commit: &'a str,
    pub repository: &'a str,
    /// A word to find it by, where nothing but text is kept.
    pub token: Option<&'a str>,
}

/// The most that a text may have in Jira, in UTF-16 units, unless an administrator says otherwise.
pub const LONGEST: usize = 32_767;

impl Saying {
    pub fn new(text: &str, source: Source<'_>) -> Saying {
        Saying { text: cleaned(text).trim_matches(['\n', ' ', '\t']).to_owned(), last: source.line() }
    }

    /// Tells whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.last.is_none()
    }
}

impl Source<'_> {
    fn line(self) -> Option<String> {
        let words = |text: &str| shortened(&cleaned(text).split_whitespace().collect::<Vec<_>>().join(" "), NAME);
        let commit = match self.commit {
            "" => String::new(),
            id => format!(" commit {} in {}", id.get(..7).unwrap_or(id), words(self.repository)),
        };
        let author = self.author.map(|author| match words(author) {
            name if name.is_empty() => "— somebody without a name".to_owned(),
            name => format!("— {name}"),
        });
        let token = self.token.map(|token| format!(" ({token})"));
        if author.is_none() && token.is_none() {
            return None;
        }
        let comma = if author.is_some() && !commit.is_empty() { "," } else { "" };
        Some(format!("{}{comma}{commit}{}", author.as_deref().unwrap_or("—"), token.unwrap_or_default()))
    }
}

/// As much of a text as costs no more than `most`, with a sign where something is missing.
pub fn shortened_by(text: &str, most: usize, cost: impl Fn(char) -> usize) -> String {
    let (mut spent, mut fits) = (0, 0);
    for (at, c) in text.char_indices() {
        spent += cost(c);
        if spent > most {
            return format!("{}…", &text[..fits]);
        }
        // The sign needs a place too.
        if spent < most {
            fits = at + c.len_utf8();
        }
    }
    text.to_owned()
}

fn shortened(text: &str, most: usize) -> String {
    shortened_by(text, most, char::len_utf16)
}

/// The most of a name, in UTF-16 units.
const NAME: usize = 120;

/// The text with one kind of end of line, and a sign in place of what nobody should have to show: control characters,
/// what turns the direction of text round, and what is no character.
fn cleaned(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        match c {
            '\n' if before == '\r' => {}
            // To some readers all of these begin a line, where markup means something else.
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => cleaned.push('\n'),
            '\t' => cleaned.push(c),
            c => cleaned.push(shown(c)),
        }
        before = c;
    }
    cleaned
}

/// The text sign by sign, so that no sign begins a line or an order that did not before.
pub fn sign_by_sign(text: &str) -> String {
    let plain = |c| if matches!(c, '\n' | '\t') { c } else { shown(c) };
    text.replace("\r\n", "\n").chars().map(plain).collect()
}

/// A sign in place of one that nobody should have to show.
fn shown(c: char) -> char {
    if c.is_control() || misleads(c) { '\u{fffd}' } else { c }
}

/// Whether a character ends a line for some, turns the direction of text round, marks the order of bytes, or is none.
fn misleads(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}')
        || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Source<'_> =
        Source { author: Some("Ann Example"), commit: "1a2b3c4d5e", repository: "team/tool", token: None };

    #[test]
    fn the_last_line_says_on_whose_behalf_and_from_where() {
        let line = |source: Source<'_>| source.line().unwrap_or_default();
        assert_eq!(line(SOURCE), "— Ann Example, commit 1a2b3c4 in team/tool");
        assert_eq!(line(Source { author: None, ..SOURCE }), "");
        assert_eq!(
            line(Source { author: None, token: Some("gja1"), ..SOURCE }),
            "— commit 1a2b3c4 in team/tool (gja1)"
        );
        assert_eq!(line(Source { commit: "", ..SOURCE }), "— Ann Example");
        assert_eq!(line(Source { commit: "", token: Some("gja1"), ..SOURCE }), "— Ann Example (gja1)");
        assert_eq!(line(Source { commit: "", author: None, token: Some("gja1"), ..SOURCE }), "— (gja1)");
        let both = Source { token: Some("gja1"), author: Some("Ann\n\u{202e}h1. x"), ..SOURCE };
        assert_eq!(line(both), "— Ann \u{fffd}h1. x, commit 1a2b3c4 in team/tool (gja1)");
        assert_eq!(
            line(Source { author: Some(" "), ..SOURCE }),
            "— somebody without a name, commit 1a2b3c4 in team/tool"
        );
        let long = "é".repeat(500);
        assert!(line(Source { author: Some(&long), repository: &long, ..SOURCE }).encode_utf16().count() < 300);
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(Saying::new(text, SOURCE).text, expected);
    }

    #[test]
    fn s16_text_keeps_its_lines_and_loses_what_cannot_be_shown() {
        check("  one\r\ntwo\rthree\u{2028}four\u{b}five \n", "one\ntwo\nthree\nfour\nfive");
        check("a\0b\x1b[31mc\x7f\u{9b}d", "a\u{fffd}b\u{fffd}[31mc\u{fffd}\u{fffd}d");
        check("a\u{202e}b\u{2066}c\u{feff}d\u{ffff}", "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}");
        check("\u{1f469}\u{200d}\u{1f4bb} \u{5d0}\u{200f}", "\u{1f469}\u{200d}\u{1f4bb} \u{5d0}\u{200f}");
        check("tab\tstays", "tab\tstays");
    }

    #[test]
    fn s17_a_cut_is_shown_and_splits_no_character() {
        let cut = |text: &str, most| shortened_by(text, most, char::len_utf16);
        assert_eq!((cut("abc", 3), cut("abcd", 3)), ("abc".to_owned(), "ab…".to_owned()));
        assert_eq!(cut("a😀b", 3), "a…");
        assert_eq!(cut("", 0), "");
    }
}
