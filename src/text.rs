//! Bytes from outside, made safe to show.
//!
//! Commit messages, ref names, paths and Jira's answers are written by people we do not know. On
//! their way to a terminal, a log or a page they pass through [`Untrusted`], which leaves nothing
//! that a terminal or a reader could take for something else: no control byte, no bidirectional
//! override, no invisible character, no invalid UTF-8.

use std::fmt::{self, Display, Formatter, Write};

/// Shows bytes from outside on one line, with everything dangerous escaped.
///
/// Invalid bytes and control characters appear as `\xNN`, invisible and direction-changing
/// characters as `\u{NNNN}`.
#[derive(Clone, Copy)]
pub struct Untrusted<'a>(pub &'a [u8]);

impl<'a> Untrusted<'a> {
    pub fn text(text: &'a str) -> Self {
        Untrusted(text.as_bytes())
    }
}

impl Display for Untrusted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            chunk.valid().chars().try_for_each(|c| write_char(f, c))?;
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

/// The longest beginning of `text` that has at most `units` UTF-16 units, which is how Jira counts.
pub fn cut(text: &str, units: usize) -> &str {
    let mut left = units;
    for (at, c) in text.char_indices() {
        match left.checked_sub(c.len_utf16()) {
            Some(rest) => left = rest,
            None => return &text[..at],
        }
    }
    text
}

/// Bytes as digits, two for each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether a name fits a pattern in which `*` stands for anything, slashes too; in time linear in both.
pub fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let mut parts = pattern.split(|byte| *byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match memchr::memmem::find(rest, part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// Names as a sentence has them: `a, b or c`.
pub fn listed(names: &[String], last: &str) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [some @ .., one] => format!("{} {last} {one}", some.join(", ")),
    }
}

fn write_char(f: &mut Formatter<'_>, c: char) -> fmt::Result {
    match c {
        c if c.is_ascii_control() => write!(f, "\\x{:02x}", c as u32),
        c if c.is_control() || deceives(c) => write!(f, "\\u{{{:04x}}}", c as u32),
        c => f.write_char(c),
    }
}

/// Whether a character is invisible or changes the direction of what stands around it.
fn deceives(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], shown: &str) {
        assert_eq!(Untrusted(bytes).to_string(), shown);
    }

    #[test]
    fn ordinary_text_of_any_script_is_left_alone() {
        check("Fix ABC-1: naïve 修复 – ok".as_bytes(), "Fix ABC-1: naïve 修复 – ok");
    }

    #[test]
    fn r6_no_control_byte_bidi_mark_or_invalid_byte_survives() {
        check(b"a\x1b[31mb\nc\x7f", "a\\x1b[31mb\\x0ac\\x7f");
        check("x\u{202e}y\u{200b}z\u{85}".as_bytes(), "x\\u{202e}y\\u{200b}z\\u{0085}");
        check(b"\xff\xfeok", "\\xff\\xfeok");
    }

    #[test]
    fn a_cut_never_splits_a_character_and_counts_as_jira_does() {
        assert_eq!(cut("añ😀z", 3), "añ");
        assert_eq!(cut("añ😀z", 4), "añ😀");
        assert_eq!(cut("abc", 10), "abc");
    }
}
