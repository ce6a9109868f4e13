//! Gerrit's `ref-updated`, which says in arguments what Git says on standard input.
//!
//! A newer Gerrit may say more: what is not known here is passed over.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::git::{Oid, RefName, Update};
use crate::people::GERRIT_SUBMITTER;

/// The ref that moved.
pub(super) fn update(arguments: &[OsString]) -> anyhow::Result<Update> {
    let said = |flag: &str| value(arguments, flag).ok_or_else(|| anyhow::anyhow!("Gerrit says no --{flag}"));
    let id = |flag: &str| {
        let text = said(flag)?;
        let id = Oid::from_hex(text.as_bytes());
        id.ok_or_else(|| anyhow::anyhow!("--{flag} is no id: {}", text.as_bytes().escape_ascii()))
    };
    let name = said("refname")?.as_bytes();
    // Some versions leave away what all branches begin with.
    let name = if name.starts_with(b"refs/") { name.to_vec() } else { [b"refs/heads/", name].concat() };
    let there = |id: Oid| Some(id).filter(|id| !id.is_zero());
    Ok(Update { name: RefName::new(name), old: there(id("oldrev")?), new: there(id("newrev")?) })
}

/// Who did it, as a claim: by the name they log in with, else by the address in `Ann Example (ann@example.org)`.
pub(super) fn claim(arguments: &[OsString]) -> Option<(String, OsString)> {
    let shown = || {
        let text = value(arguments, "submitter")?.as_bytes();
        let open = memchr::memrchr(b'(', text)?;
        Some(OsStr::from_bytes(text[open + 1..].strip_suffix(b")")?))
    };
    let login = value(arguments, "submitter-username").filter(|login| !login.is_empty() && *login != "null");
    Some((GERRIT_SUBMITTER.to_owned(), login.or_else(shown)?.to_owned()))
}

/// What stands behind a flag, or after its equals sign.
fn value<'a>(arguments: &'a [OsString], flag: &str) -> Option<&'a OsStr> {
    let mut all = arguments.iter();
    while let Some(argument) = all.next() {
        let Some(rest) = argument.as_bytes().strip_prefix(b"--").and_then(|rest| rest.strip_prefix(flag.as_bytes()))
        else {
            continue;
        };
        match rest {
            [] => return all.next().map(OsString::as_os_str),
            [b'=', value @ ..] => return Some(OsStr::from_bytes(value)),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "1111111111111111111111111111111111111111";
    const NONE: &str = "0000000000000000000000000000000000000000";

    fn words(text: &str) -> Vec<OsString> {
        text.split('|').map(OsString::from).collect()
    }

    #[test]
    fn b8_what_gerrit_says_in_arguments_is_an_update_and_a_claim() {
        let said = words(&format!(
            "--oldrev|{OLD}|--newrev|{NONE}|--refname|refs/heads/x|--project|a/b|--submitter|Ann (ann@example.org)|--new|thing"
        ));
        let moved = update(&said).unwrap();
        assert_eq!((moved.name.as_bytes(), moved.old, moved.new), (&b"refs/heads/x"[..], OLD.parse().ok(), None));
        assert_eq!(claim(&said).unwrap().1, "ann@example.org");
        let said =
            words(&format!("--newrev={OLD}|--oldrev={NONE}|--refname=x|--submitter=Ann|--submitter-username=ann"));
        assert_eq!(update(&said).unwrap().name.as_bytes(), b"refs/heads/x");
        assert_eq!(claim(&said).unwrap().1, "ann");
        assert_eq!(claim(&words("--submitter|Anonymous Coward")), None);
    }

    #[test]
    fn b8_arguments_that_lack_something_are_said_to() {
        let error = |text: &str| update(&words(text)).unwrap_err().to_string();
        assert_eq!(error(&format!("--oldrev|{OLD}|--newrev|{NONE}")), "Gerrit says no --refname");
        assert_eq!(error(&format!("--refname|x|--oldrev|{OLD}|--newrev|no")), "--newrev is no id: no");
    }
}
