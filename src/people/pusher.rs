//! Who pushed, and what vouches for it.

use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use git_jira_agent_hook::call::{LONGEST_SSH_USER_AUTH, SSH_USER_AUTH};
use rustix::fs::OFlags;
use serde::Deserialize;

use super::{People, keys, user};
use crate::event::Claim;

/// Somebody who gives orders, and what vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pusher {
    /// A login at the host, a user of this server, an address, or a person's name, as `by` says.
    pub login: String,
    pub by: Evidence,
}

/// What vouches for a pusher, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// Git has checked the signature under the push, and that it was made for this very push.
    Certificate,
    /// The commit bears their signature, whoever pushed it.
    Signature,
    /// The kernel knows whose process it is.
    Peer,
    /// The host's own account says so.
    Host,
    /// The SSH server says with which key they came, and it is theirs.
    Key,
    /// A forced command of the SSH server says so (`AGENT_USER`).
    Command,
}

/// Where hosts say who pushed, in the order they are asked.
const HOSTS: [&str; 7] = [
    "GL_USERNAME",
    "GITEA_PUSHER_NAME",
    "GL_USER",
    "BB_USER_NAME",
    "PHABRICATOR_USER",
    "REMOTE_USER",
    GERRIT_SUBMITTER,
];

/// What Gerrit says in the arguments of its hook; no variable of an environment is believed under this name.
pub const GERRIT_SUBMITTER: &str = "GERRIT_SUBMITTER";

impl Evidence {
    /// As it is called in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Evidence::Certificate => "a signed push",
            Evidence::Signature => "a signed commit",
            Evidence::Peer => "a user of this server",
            Evidence::Host => "the word of the host",
            Evidence::Key => "an SSH key",
            Evidence::Command => "a forced command",
        }
    }
}

impl People {
    /// Tells who pushed, if anybody vouches for it: `host` says whether the user is the account of a host.
    pub fn pusher(&self, claims: &[Claim], uid: u32, host: bool) -> Option<Pusher> {
        let claim = |name: &str| {
            let claim = claims.iter().find(|claim| claim.name == name)?;
            std::str::from_utf8(&claim.value).ok().map(str::trim).filter(|value| !value.is_empty())
        };
        let pusher = |login: &str, by| Some(Pusher { login: login.to_owned(), by });
        if !host {
            return Some(Pusher { login: user(uid), by: Evidence::Peer });
        }
        if claim("GIT_PUSH_CERT_STATUS") == Some("G") && claim("GIT_PUSH_CERT_NONCE_STATUS") == Some("OK") {
            return pusher(address(claim("GIT_PUSH_CERT_SIGNER")?), Evidence::Certificate);
        }
        if let Some(login) = HOSTS.iter().find_map(|name| claim(name)) {
            return pusher(login, Evidence::Host);
        }
        if let Some(name) = claim(SSH_USER_AUTH).and_then(|keys| self.owner_of_all(keys)) {
            return pusher(name, Evidence::Key);
        }
        pusher(claim("AGENT_USER")?, Evidence::Command)
    }

    /// The one person whose the keys are that somebody logged in with; others may be nobody's.
    fn owner_of_all(&self, keys: &str) -> Option<&str> {
        let mut owners = keys.lines().filter_map(keys::ssh).filter_map(|key| self.by_key(&key));
        let owner = owners.next()?;
        owners.all(|other| other == owner).then_some(owner.name.as_str())
    }
}

/// Reads, out of the file that an SSH server leaves for a session (`ExposeAuthInfo`), the public keys of the login.
///
/// Nothing when it is not such a file of our own: whoever runs a hook may name any.
pub fn login_keys(path: &Path) -> Vec<u8> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let own = rustix::process::geteuid().as_raw();
    let mut text = Vec::new();
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
    let read = opened.and_then(|file| {
        let meta = file.metadata()?;
        let trusted = meta.is_file() && (meta.uid() == own || meta.uid() == 0) && meta.mode() & 0o022 == 0;
        if trusted { file.take(LONGEST_SSH_USER_AUTH).read_to_end(&mut text) } else { Ok(0) }
    });
    if read.is_ok() { keys_of_login(&text) } else { Vec::new() }
}

/// The public keys in what an SSH server says of a login.
pub fn keys_of_login(text: &[u8]) -> Vec<u8> {
    let lines = std::str::from_utf8(text).unwrap_or_default().lines();
    let keys = lines.filter_map(|line| keys::ssh(line.strip_prefix("publickey ")?));
    keys.collect::<Vec<_>>().join("\n").into_bytes()
}

/// The address in `Ann Example <ann@example.org>`, or all of it.
fn address(signer: &str) -> &str {
    let inside = signer.rsplit_once('<').and_then(|(_, rest)| rest.strip_suffix('>'));
    inside.unwrap_or(signer)
}

#[cfg(test)]
mod tests {
    use super::super::Person;
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const BOBS: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB";
    const NOBODYS: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAC";

    #[track_caller]
    fn check(pairs: &[(&str, &str)], host: bool, login: Option<(&str, Evidence)>) {
        let claim = |(name, value): &(&str, &str)| Claim { name: (*name).to_owned(), value: value.as_bytes().to_vec() };
        let claims: Vec<Claim> = pairs.iter().map(claim).collect();
        let person = |name: &str, key: &str| Person {
            name: name.to_owned(),
            keys: vec![format!("{key} of {name}")],
            ..Person::default()
        };
        let people = People::new(vec![person("Ann Example", KEY), person("Bob", BOBS)]).unwrap();
        let found = people.pusher(&claims, 0, host);
        assert_eq!(found.as_ref().map(|pusher| (pusher.login.as_str(), pusher.by)), login);
    }

    #[test]
    fn g4_the_environment_is_believed_from_the_hosts_account_and_from_nobody_else() {
        check(&[("GL_USER", "cto"), ("AGENT_USER", "cto")], false, Some(("root", Evidence::Peer)));
        check(&[(SSH_USER_AUTH, KEY)], false, Some(("root", Evidence::Peer)));
        check(&[("GL_USER", "ann")], true, Some(("ann", Evidence::Host)));
        check(&[("GL_USERNAME", "ann"), ("REMOTE_USER", "x")], true, Some(("ann", Evidence::Host)));
        check(&[("REMOTE_ADDR", "10.1.1.1"), ("GL_USER", " ")], true, None);
    }

    #[test]
    fn g4_a_signed_push_counts_only_when_git_found_it_good_and_fresh() {
        let signed = [("GIT_PUSH_CERT_STATUS", "G"), ("GIT_PUSH_CERT_SIGNER", "Ann <ann@example.org>")];
        let fresh = [&signed[..], &[("GIT_PUSH_CERT_NONCE_STATUS", "OK")]].concat();
        check(&fresh, true, Some(("ann@example.org", Evidence::Certificate)));
        let stale = [&signed[..], &[("GIT_PUSH_CERT_NONCE_STATUS", "SLOP"), ("GL_USER", "ann")]].concat();
        check(&stale, true, Some(("ann", Evidence::Host)));
        check(&fresh, false, Some(("root", Evidence::Peer)));
    }

    #[test]
    fn g4_a_rung_is_asked_only_where_no_surer_one_answers() {
        let all = [("GL_USER", "ann"), (SSH_USER_AUTH, KEY), ("AGENT_USER", "x")];
        check(&all, true, Some(("ann", Evidence::Host)));
        check(&all[1..], true, Some(("Ann Example", Evidence::Key)));
        check(&all[2..], true, Some(("x", Evidence::Command)));
        assert!(Evidence::Certificate < Evidence::Peer && Evidence::Key < Evidence::Command);
    }

    #[test]
    fn g4_a_key_counts_for_the_one_person_whose_it_is() {
        check(&[(SSH_USER_AUTH, NOBODYS)], true, None);
        check(&[(SSH_USER_AUTH, NOBODYS), ("AGENT_USER", "x")], true, Some(("x", Evidence::Command)));
        check(&[(SSH_USER_AUTH, &format!("{NOBODYS}\n{BOBS}"))], true, Some(("Bob", Evidence::Key)));
        check(&[(SSH_USER_AUTH, &format!("{KEY}\n{BOBS}"))], true, None);
    }

    #[test]
    fn g4_only_keys_are_taken_from_the_file_of_a_login_and_only_from_ones_own() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("auth");
        std::fs::write(&file, format!("publickey {KEY}\npassword\nhost secret\npublickey {BOBS} c\n")).unwrap();
        assert_eq!(login_keys(&file), format!("{KEY}\n{BOBS}").into_bytes());
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(login_keys(&file).is_empty(), "anybody could have written it");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(login_keys(&link).is_empty());
        assert!(login_keys(folder.path()).is_empty() && login_keys(Path::new("/no/such")).is_empty());
    }
}
