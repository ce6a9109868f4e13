//! Which refs a push moved, as Git tells a hook on standard input.
//!
//! Names are bytes from end to end: `$(id)`, quotes, a leading dash and 0xFF are all legal in them, so nothing here
//! assumes text, and nothing may put a name where a command line would read an option.

use std::fmt;

use minicbor::{Decode, Encode};

use super::{Error, Oid};

const BRANCHES: &[u8] = b"refs/heads/";
const TAGS: &[u8] = b"refs/tags/";

/// The full name of a ref, such as `refs/heads/main`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct RefName(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>);

/// One ref that a push created, moved or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Update {
    #[n(0)]
    pub name: RefName,
    /// Where it pointed before; nothing when the push created it.
    #[n(1)]
    pub old: Option<Oid>,
    /// Where it points now; nothing when the push deleted it.
    #[n(2)]
    pub new: Option<Oid>,
}

/// Reads the `old new name` lines that pre-receive and post-receive get on standard input.
pub fn updates(stdin: &[u8]) -> Result<Vec<Update>, Error> {
    let lines = stdin.split(|&byte| byte == b'\n').enumerate();
    lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(index, line)| update(line).ok_or(Error::Line { number: index + 1 }))
        .collect()
}

/// Tells whether a ref is one Jira hears about: a branch or a tag.
///
/// Notes, replacements, stashes and the refs that hosts keep for pull requests and pipelines are left alone.
pub fn concerns_us(name: &RefName) -> bool {
    name.is_branch() || name.is_tag()
}

impl RefName {
    /// Takes the full name as Git writes it.
    pub fn new(name: impl Into<Vec<u8>>) -> RefName {
        RefName(name.into())
    }

    /// Gives the full name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Gives the name as people say it, without `refs/heads/` or `refs/tags/`.
    pub fn short(&self) -> &[u8] {
        let name = self.0.as_slice();
        name.strip_prefix(BRANCHES).or_else(|| name.strip_prefix(TAGS)).unwrap_or(name)
    }

    /// Tells whether this is a branch.
    pub fn is_branch(&self) -> bool {
        self.0.len() > BRANCHES.len() && self.0.starts_with(BRANCHES)
    }

    /// Tells whether this is a tag.
    pub fn is_tag(&self) -> bool {
        self.0.len() > TAGS.len() && self.0.starts_with(TAGS)
    }
}

/// Shows the name with every byte that is not printable ASCII escaped, fit for a log or a terminal.
impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

fn update(line: &[u8]) -> Option<Update> {
    let mut fields = line.splitn(3, |&byte| byte == b' ');
    let (old, new, name) = (fields.next()?, fields.next()?, fields.next()?);
    if old.len() != new.len() || name.is_empty() {
        return None;
    }
    let id = |hex| Oid::from_hex(hex).map(|id| Some(id).filter(|id| !id.is_zero()));
    Some(Update { name: RefName::new(name), old: id(old)?, new: id(new)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const ZERO: &str = "0000000000000000000000000000000000000000";

    #[track_caller]
    fn check(stdin: &[u8], expected: &[(Option<&str>, Option<&str>, &[u8])]) {
        let id = |hex: &str| hex.parse().unwrap();
        let update = |&(old, new, name): &(Option<&str>, Option<&str>, &[u8])| Update {
            name: RefName::new(name),
            old: old.map(id),
            new: new.map(id),
        };
        let expected: Vec<_> = expected.iter().map(update).collect();
        assert_eq!(updates(stdin).unwrap(), expected);
        let frame = minicbor::to_vec(&expected).unwrap();
        assert_eq!(minicbor::decode::<Vec<Update>>(&frame).unwrap(), expected);
    }

    #[test]
    fn zeros_stand_for_nothing() {
        let stdin = format!("{ZERO} {A} refs/heads/x\n{A} {ZERO} refs/tags/v1\n");
        check(stdin.as_bytes(), &[(None, Some(A), b"refs/heads/x"), (Some(A), None, b"refs/tags/v1")]);
        check(b"", &[]);
    }

    #[test]
    fn names_keep_every_byte() {
        for name in [&b"refs/heads/$(id)"[..], b"refs/heads/\xff\xfe", b"refs/heads/-x", b"refs/heads/a b\r"] {
            let stdin = [format!("{A} {A} ").as_bytes(), name, b"\n"].concat();
            check(&stdin, &[(Some(A), Some(A), name)]);
        }
    }

    #[test]
    fn sha256_ids_are_read() {
        let (id, zero) = ("b".repeat(64), "0".repeat(64));
        check(format!("{zero} {id} refs/heads/x").as_bytes(), &[(None, Some(&id), b"refs/heads/x")]);
    }

    #[test]
    fn a_bad_line_is_named() {
        for bad in
            ["x", "a b c", &format!("{A} {A}"), &format!("{A} {A} "), &format!("{A} {} refs/heads/x", "0".repeat(64))]
        {
            let error = updates(format!("{A} {A} refs/heads/x\n{bad}\n").as_bytes()).unwrap_err();
            assert!(matches!(error, Error::Line { number: 2 }), "{bad}: {error}");
        }
    }

    #[test]
    fn only_branches_and_tags_concern_us() {
        for name in ["refs/heads/x", "refs/heads/a/b", "refs/tags/v1"] {
            assert!(concerns_us(&RefName::new(name)), "{name}");
        }
        let others = "HEAD refs/heads/ refs/notes/commits refs/replace/1 refs/keep-around/1 refs/pipelines/1 refs/pull/1/merge \
                      refs/merge-requests/1/merge refs/stash refs/remotes/origin/main refs/headsx/y";
        for name in others.split_whitespace() {
            assert!(!concerns_us(&RefName::new(name)), "{name}");
        }
    }

    #[test]
    fn a_short_name_is_what_people_say() {
        assert_eq!(RefName::new("refs/heads/feature/x").short(), b"feature/x");
        assert_eq!(RefName::new("refs/tags/v1").short(), b"v1");
        assert_eq!(RefName::new("refs/remotes/origin/x").short(), b"refs/remotes/origin/x");
        assert_eq!(RefName::new(*b"refs/heads/\x1b[\xff").to_string(), r"refs/heads/\x1b[\xff");
    }
}
