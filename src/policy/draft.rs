//! A message while it is written: the file that Git hands to the hooks of a commit.
//!
//! It holds more than the message: comments, the scissors line and what stands below it. What Git will take away again is
//! never read and never counted, and a key that is put in goes where the message is, not below the comments.

use std::borrow::Cow;
use std::ops::Range;

use super::{Message, Place};
use crate::parse::IssueKey;

/// What Git takes away from a message when the commit is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cleanup {
    /// Comments and superfluous blanks: what a person wrote in an editor.
    #[default]
    Strip,
    /// Superfluous blanks: what came without an editor.
    Whitespace,
    /// As `Whitespace`, and all below the scissors line.
    Scissors,
    Verbatim,
}

/// The file, and how Git reads it.
pub struct Draft<'a> {
    text: &'a [u8],
    comment: Cow<'a, [u8]>,
    cleanup: Cleanup,
}

/// What follows the comment sign in the line below which nothing counts.
const SCISSORS: &[u8] = b" ------------------------ >8 ------------------------";
/// The signs among which Git chooses one that no line of the message begins with.
const SIGNS: &[u8] = b"#;@!$%^&|:";

impl Cleanup {
    /// What `commit.cleanup` says, and whether an editor was used.
    pub fn of(setting: Option<&str>, editor: bool) -> Cleanup {
        match setting {
            Some("strip") => Cleanup::Strip,
            Some("whitespace") => Cleanup::Whitespace,
            Some("verbatim") => Cleanup::Verbatim,
            Some("scissors") if editor => Cleanup::Scissors,
            _ if editor => Cleanup::Strip,
            _ => Cleanup::Whitespace,
        }
    }
}

impl<'a> Draft<'a> {
    /// Takes the file's text; `comment` is what `core.commentChar` says, `auto` and nothing included.
    pub fn new(text: &'a [u8], comment: Option<&'a str>, cleanup: Cleanup) -> Draft<'a> {
        let found = lines(text).find_map(|line| trimmed(&text[line]).strip_suffix(SCISSORS));
        let comment: Cow<'a, [u8]> = match (found, comment) {
            (Some(found), _) if !found.is_empty() => found.into(),
            (_, Some("auto")) => last_sign(text).into(),
            (_, Some(comment)) if !comment.is_empty() => comment.as_bytes().into(),
            _ => b"#".as_slice().into(),
        };
        Draft { text, comment, cleanup }
    }

    /// The message as the commit will have it.
    pub fn message(&self) -> Vec<u8> {
        let whole = &self.text[..self.end()];
        if self.cleanup == Cleanup::Verbatim {
            return whole.to_vec();
        }
        let mut message = Vec::with_capacity(whole.len());
        let mut blank = false;
        for line in lines(whole) {
            let line = &whole[line];
            if self.is_comment(line) {
                continue;
            }
            let line = line.trim_ascii_end();
            if line.is_empty() {
                blank = true;
                continue;
            }
            if blank && !message.is_empty() {
                message.push(b'\n');
            }
            blank = false;
            message.extend_from_slice(line);
            message.push(b'\n');
        }
        message
    }

    /// The file with a key in it, or nothing where none is wanted.
    pub fn with_key(&self, key: &IssueKey, how: &Message) -> Option<Vec<u8>> {
        match how.key {
            Place::Off => None,
            Place::Prefix => Some(self.with_prefix(&how.template.replace("{key}", key.as_str()))),
            Place::Scope => Some(self.with_scope(key, how)),
            Place::Trailer => Some(self.with_trailer(&format!("{}: {key}", how.trailer))),
        }
    }

    /// Whether there is nothing in it but what we put there.
    pub fn is_only(&self, key: &IssueKey, how: &Message) -> bool {
        let message = self.message();
        let message = message.trim_ascii();
        let put = match how.key {
            Place::Prefix => how.template.replace("{key}", key.as_str()),
            Place::Scope => format!("({key}):"),
            Place::Trailer => format!("{}: {key}", how.trailer),
            Place::Off => return false,
        };
        message == put.trim().as_bytes()
    }

    fn with_prefix(&self, prefix: &str) -> Vec<u8> {
        let Some(subject) = self.subject() else { return self.insert(0, prefix.as_bytes()) };
        // Before the type of a conventional commit it would be none any more.
        let type_ends = conventional(&self.text[subject.clone()]).map_or(0, |parts| parts.description);
        self.insert(subject.start + type_ends, prefix.as_bytes())
    }

    fn with_scope(&self, key: &IssueKey, how: &Message) -> Vec<u8> {
        // The type is still to be written before it.
        let Some(subject) = self.subject() else { return self.insert(0, format!("({key}): ").as_bytes()) };
        match conventional(&self.text[subject.clone()]) {
            Some(parts) if !parts.has_scope => self.insert(subject.start + parts.kind, format!("({key})").as_bytes()),
            _ => self.with_prefix(&how.template.replace("{key}", key.as_str())),
        }
    }

    fn with_trailer(&self, trailer: &str) -> Vec<u8> {
        let content: Vec<Range<usize>> = self.content().collect();
        let Some(last) = content.iter().rposition(|line| !trimmed(&self.text[line.clone()]).trim_ascii().is_empty())
        else {
            return self.insert(0, format!("\n\n{trailer}\n").as_bytes());
        };
        let is_blank = |line: &Range<usize>| self.text[line.clone()].trim_ascii().is_empty();
        let first = content[..=last].iter().rposition(is_blank).map_or(0, |blank| blank + 1);
        let after_subject = content[..first].iter().any(|line| !is_blank(line));
        let block = content[first..=last].iter().map(|line| &self.text[line.clone()]);
        let joins = after_subject && is_trailers(block);
        let end = content[last].end;
        let ended = self.text[..end].ends_with(b"\n");
        let between = match (ended, joins) {
            (true, true) => "",
            (true, false) | (false, true) => "\n",
            (false, false) => "\n\n",
        };
        self.insert(end, format!("{between}{trailer}\n").as_bytes())
    }

    /// The lines of the file that belong to the message.
    fn content(&self) -> impl Iterator<Item = Range<usize>> {
        lines(&self.text[..self.end()]).filter(|line| !self.is_comment(&self.text[line.clone()]))
    }

    fn subject(&self) -> Option<Range<usize>> {
        self.content().find(|line| !self.text[line.clone()].trim_ascii().is_empty())
    }

    /// Where the scissors cut.
    fn end(&self) -> usize {
        let cuts = |line: &Range<usize>| {
            let line = trimmed(&self.text[line.clone()]);
            line.strip_prefix(&*self.comment).is_some_and(|rest| rest == SCISSORS)
        };
        match self.cleanup {
            Cleanup::Whitespace | Cleanup::Verbatim => self.text.len(),
            Cleanup::Strip | Cleanup::Scissors => {
                lines(self.text).find(cuts).map_or(self.text.len(), |line| line.start)
            }
        }
    }

    fn is_comment(&self, line: &[u8]) -> bool {
        self.cleanup == Cleanup::Strip && line.starts_with(&self.comment)
    }

    fn insert(&self, at: usize, what: &[u8]) -> Vec<u8> {
        [&self.text[..at], what, &self.text[at..]].concat()
    }
}

/// A subject such as `feat(ui)!: text`.
struct Conventional {
    /// Where the type ends.
    kind: usize,
    has_scope: bool,
    /// Where the description begins.
    description: usize,
}

fn conventional(line: &[u8]) -> Option<Conventional> {
    let kind = line.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
    let mut rest = line.get(kind..).filter(|_| kind > 0)?;
    let has_scope = rest.starts_with(b"(");
    if has_scope {
        let end = memchr::memchr(b')', rest)?;
        rest = &rest[end + 1..];
    }
    rest = rest.strip_prefix(b"!").unwrap_or(rest);
    let rest = rest.strip_prefix(b": ")?;
    Some(Conventional { kind, has_scope, description: line.len() - rest.len() })
}

/// Whether the lines of the last paragraph are trailers, as Git sees it: all of them, or a quarter of them beside one
/// that Git itself writes.
fn is_trailers<'l>(block: impl Iterator<Item = &'l [u8]>) -> bool {
    let (mut trailers, mut others, mut by_git) = (0, 0, false);
    for line in block {
        let generated = line.starts_with(b"Signed-off-by: ") || line.starts_with(b"(cherry picked from commit ");
        let colon = memchr::memchr(b':', line).unwrap_or(0);
        let token = line[..colon].trim_ascii_end();
        let plain = !token.is_empty() && token.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        if generated || plain {
            trailers += 1;
            by_git |= generated;
        } else if line.first().is_some_and(u8::is_ascii_whitespace) && trailers > 0 {
            // It goes on from the line before.
        } else {
            others += 1;
        }
    }
    trailers > 0 && (others == 0 || by_git && trailers * 3 >= others)
}

/// The sign that Git chose by itself begins the comments, which come last.
fn last_sign(text: &[u8]) -> Vec<u8> {
    let last = lines(text).filter(|line| !text[line.clone()].trim_ascii().is_empty()).last();
    let sign = last.map(|line| text[line.start]).filter(|sign| SIGNS.contains(sign));
    vec![sign.unwrap_or(b'#')]
}

fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The lines of a text, with what ends them.
fn lines(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', text).map(|at| at + 1).chain(std::iter::once(text.len()));
    ends.map(move |end| std::mem::replace(&mut start, end)..end).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(place: Place) -> Message {
        Message { key: place, ..Message::default() }
    }

    #[track_caller]
    fn check(place: Place, text: &str, expected: &str) {
        let key: IssueKey = "ABC-1".parse().unwrap();
        let draft = Draft::new(text.as_bytes(), None, Cleanup::Strip);
        let put = draft.with_key(&key, &how(place)).map(|text| String::from_utf8(text).unwrap());
        assert_eq!(put.as_deref(), Some(expected));
    }

    #[test]
    fn k1_a_prefix_stands_before_the_subject_wherever_that_is() {
        check(Place::Prefix, "fix it\n", "ABC-1 fix it\n");
        check(Place::Prefix, "\n# Please enter\n", "ABC-1 \n# Please enter\n");
        check(Place::Prefix, "# note\n\nfix it\n", "# note\n\nABC-1 fix it\n");
        check(Place::Prefix, "", "ABC-1 ");
    }

    #[test]
    fn k3_the_type_of_a_conventional_commit_stays_first() {
        check(Place::Prefix, "feat: x\n", "feat: ABC-1 x\n");
        check(Place::Scope, "feat: x\n", "feat(ABC-1): x\n");
        check(Place::Scope, "feat!: x\n", "feat(ABC-1)!: x\n");
        check(Place::Scope, "feat(ui)!: x\n", "feat(ui)!: ABC-1 x\n");
        check(Place::Scope, "plain words: x\n", "ABC-1 plain words: x\n");
        check(Place::Scope, "feat(: x\n", "ABC-1 feat(: x\n");
        check(Place::Scope, "\n# x\n", "(ABC-1): \n# x\n");
    }

    #[test]
    fn k1_a_trailer_joins_the_trailers_that_are_there() {
        check(Place::Trailer, "fix\n", "fix\n\nIssue: ABC-1\n");
        check(Place::Trailer, "fix", "fix\n\nIssue: ABC-1\n");
        check(Place::Trailer, "fix: it\n", "fix: it\n\nIssue: ABC-1\n");
        check(Place::Trailer, "fix\n\nbody\n", "fix\n\nbody\n\nIssue: ABC-1\n");
        check(Place::Trailer, "fix\n\nSigned-off-by: A <a>\n", "fix\n\nSigned-off-by: A <a>\nIssue: ABC-1\n");
        check(
            Place::Trailer,
            "fix\n\nnote\nSigned-off-by: A <a>\n",
            "fix\n\nnote\nSigned-off-by: A <a>\nIssue: ABC-1\n",
        );
        check(Place::Trailer, "fix\n\nnote\nKey: x\n", "fix\n\nnote\nKey: x\n\nIssue: ABC-1\n");
        check(Place::Trailer, "fix\n\n# On branch x\n", "fix\n\nIssue: ABC-1\n\n# On branch x\n");
        check(Place::Trailer, "\n# On branch x\n", "\n\nIssue: ABC-1\n\n# On branch x\n");
    }

    #[test]
    fn k1_comments_scissors_and_the_diff_below_are_no_part_of_the_message() {
        let text = b"fix \n\n\n# ABC-9\nbody\n# ------------------------ >8 ------------------------\n+ ABC-8\n";
        let message = |comment, cleanup| String::from_utf8(Draft::new(text, comment, cleanup).message()).unwrap();
        assert_eq!(message(None, Cleanup::Strip), "fix\n\nbody\n");
        assert_eq!(message(None, Cleanup::Scissors), "fix\n\n# ABC-9\nbody\n");
        assert!(message(None, Cleanup::Whitespace).ends_with("+ ABC-8\n"));
        assert_eq!(message(None, Cleanup::Verbatim).as_bytes(), text);
        let other = b"#1 fix\n;; ABC-9\n;; ------------------------ >8 ------------------------\n+ ABC-8\n";
        for comment in [None, Some("auto"), Some(";;")] {
            assert_eq!(Draft::new(other, comment, Cleanup::Strip).message(), b"#1 fix\n", "{comment:?}");
        }
        assert_eq!(Draft::new(b"#1 fix\n; On branch x\n", Some("auto"), Cleanup::Strip).message(), b"#1 fix\n");
    }

    #[test]
    fn k1_a_message_of_our_key_alone_is_empty() {
        let key: IssueKey = "ABC-1".parse().unwrap();
        let is_only = |text: &[u8], place| Draft::new(text, None, Cleanup::Strip).is_only(&key, &how(place));
        assert!(is_only(b"ABC-1 \n# x\n", Place::Prefix) && is_only(b"\n\nIssue: ABC-1\n# x\n", Place::Trailer));
        assert!(!is_only(b"ABC-1 x\n", Place::Prefix) && !is_only(b"ABC-1\n", Place::Off));
    }

    #[test]
    fn what_git_takes_away_is_what_the_setting_says() {
        for (setting, editor, expected) in [
            (None, true, Cleanup::Strip),
            (None, false, Cleanup::Whitespace),
            (Some("default"), true, Cleanup::Strip),
            (Some("strip"), false, Cleanup::Strip),
            (Some("scissors"), true, Cleanup::Scissors),
            (Some("scissors"), false, Cleanup::Whitespace),
            (Some("verbatim"), true, Cleanup::Verbatim),
        ] {
            assert_eq!(Cleanup::of(setting, editor), expected, "{setting:?} {editor}");
        }
    }
}
