//! Who is who: people as Git, the host and Jira know them, joined by one table.
//!
//! A commit names its author, and anybody can write anything there. Who *pushed* it is another question, and how well it
//! can be answered depends on where the hook runs ([`pusher`]):
//!
//! - Each developer has a user of their own on the server: the kernel says who is at the socket. What the environment
//!   of the hook claims is worth nothing, because whoever pushes may set it.
//! - One account of a host (`git`) runs all hooks: the host says in the environment who pushed, and is believed for a
//!   call by exactly that account and no other.
//!
//! The table (`[[person]]`) joins the names a person has: addresses in commits, the user on this server, the login at
//! the host, the account in Jira. Addresses are compared whole and without regard to case, and an address that two
//! people claim is an error rather than a guess.

use std::collections::{HashMap, HashSet};

use nix::unistd::{Uid, User};
use serde::Deserialize;

use crate::event::Claim;

/// Section `[[person]]` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// What they are called, here and in what Jira is told.
    pub name: String,
    /// The addresses in their commits.
    #[serde(default)]
    pub emails: Vec<String>,
    /// Their users on this server, by name or number.
    #[serde(default)]
    pub unix: Vec<String>,
    /// Their logins at the host that runs the hooks.
    #[serde(default)]
    pub logins: Vec<String>,
    /// Their account in Jira: an account id in Cloud, a user name in Data Center.
    #[serde(default)]
    pub jira: Option<String>,
    /// Whether this is a service: it links, and gives no orders. Default false.
    #[serde(default)]
    pub bot: bool,
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct People {
    persons: Vec<Person>,
    /// Lower-case addresses, users and logins, each with its owner's place.
    names: HashMap<(Sort, String), usize>,
}

/// Somebody who pushed, and what vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pusher {
    /// A login at the host, a user of this server, or an address, as `by` says.
    pub login: String,
    pub by: Evidence,
}

/// What vouches for a pusher, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Git has checked the signature under the push, and that it was made for this very push.
    Certificate,
    /// The kernel knows whose process it is.
    Peer,
    /// The host's own account says so.
    Host,
}

/// What the names in the table are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sort {
    Email,
    Unix,
    Login,
}

/// Where hosts say who pushed, in the order they are asked; `AGENT_USER` is set by a forced command.
const HOSTS: [&str; 7] =
    ["GL_USERNAME", "GITEA_PUSHER_NAME", "GL_USER", "BB_USER_NAME", "PHABRICATOR_USER", "REMOTE_USER", "AGENT_USER"];

/// Where hosts let people hide their address: the login stands before the sign, perhaps after a number.
const NO_REPLY: &str = "users.noreply.";

/// Tells who pushed, if anybody vouches for it: `host` says whether the user is the account of a host.
pub fn pusher(claims: &[Claim], uid: u32, host: bool) -> Option<Pusher> {
    let claim = |name: &str| {
        let claim = claims.iter().find(|claim| claim.name == name)?;
        std::str::from_utf8(&claim.value).ok().map(str::trim).filter(|value| !value.is_empty())
    };
    if !host {
        return Some(Pusher { login: user(uid), by: Evidence::Peer });
    }
    if claim("GIT_PUSH_CERT_STATUS") == Some("G") && claim("GIT_PUSH_CERT_NONCE_STATUS") == Some("OK") {
        let signer = claim("GIT_PUSH_CERT_SIGNER")?;
        return Some(Pusher { login: address(signer).to_owned(), by: Evidence::Certificate });
    }
    let login = HOSTS.iter().find_map(|name| claim(name))?;
    Some(Pusher { login: login.to_owned(), by: Evidence::Host })
}

/// What a user of this server is called, by the kernel's number and not by what an environment says.
pub fn user(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// Tells whether a user of this server is among these, by name or number.
pub fn is_named(users: &[String], uid: u32) -> bool {
    users.iter().any(|user| match user.parse::<u32>() {
        Ok(number) => number == uid,
        Err(_) => User::from_name(user).ok().flatten().is_some_and(|user| user.uid == Uid::from_raw(uid)),
    })
}

impl People {
    /// Joins the table; a name that belongs to two people is an error that says which.
    pub fn new(persons: Vec<Person>) -> Result<People, String> {
        let mut names = HashMap::new();
        for (place, person) in persons.iter().enumerate() {
            let sorts = [(Sort::Email, &person.emails), (Sort::Unix, &person.unix), (Sort::Login, &person.logins)];
            for (sort, name) in sorts.into_iter().flat_map(|(sort, names)| names.iter().map(move |name| (sort, name))) {
                let other = names.insert((sort, name.to_lowercase()), place);
                if let Some(other) = other.filter(|other| *other != place) {
                    return Err(format!("{name} belongs to {} and to {}", persons[other].name, person.name));
                }
            }
        }
        Ok(People { persons, names })
    }

    /// Whose address stands in a commit; an address that hides a login is the login's.
    pub fn by_email(&self, email: &[u8]) -> Option<&Person> {
        let email = std::str::from_utf8(email).ok()?;
        self.find(Sort::Email, email).or_else(|| self.find(Sort::Login, hidden_login(email)?))
    }

    /// Who a pusher is.
    pub fn who(&self, pusher: &Pusher) -> Option<&Person> {
        match pusher.by {
            Evidence::Certificate => self.by_email(pusher.login.as_bytes()),
            Evidence::Peer => self.find(Sort::Unix, &pusher.login),
            Evidence::Host => self.find(Sort::Login, &pusher.login).or_else(|| self.by_email(pusher.login.as_bytes())),
        }
    }

    /// Whose own account in Jira it is: a person's by name, or else a user's or a login's, which is told from a name by
    /// its sort.
    pub fn holder(&self, pusher: &Pusher) -> String {
        match (self.who(pusher), pusher.by) {
            (Some(person), _) => person.name.clone(),
            (None, Evidence::Peer) => format!("unix:{}", pusher.login),
            (None, Evidence::Host) => format!("login:{}", pusher.login),
            (None, _) => format!("email:{}", pusher.login),
        }
    }

    /// The person of this name.
    pub fn named(&self, name: &str) -> Option<&Person> {
        self.persons.iter().find(|person| person.name == name)
    }

    /// A name that two people have.
    pub fn namesake(&self) -> Option<&str> {
        let mut names = HashSet::new();
        self.persons.iter().map(|person| person.name.as_str()).find(|name| !names.insert(*name))
    }

    fn find(&self, sort: Sort, name: &str) -> Option<&Person> {
        self.names.get(&(sort, name.to_lowercase())).map(|place| &self.persons[*place])
    }
}

/// The address in `Ann Example <ann@example.org>`, or all of it.
fn address(signer: &str) -> &str {
    let inside = signer.rsplit_once('<').and_then(|(_, rest)| rest.strip_suffix('>'));
    inside.unwrap_or(signer)
}

fn hidden_login(email: &str) -> Option<&str> {
    let (local, domain) = email.rsplit_once('@')?;
    if !domain.to_lowercase().starts_with(NO_REPLY) {
        return None;
    }
    let (number, login) = local.split_once('+').unwrap_or(("", local));
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(login)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people() -> People {
        let ann = Person {
            name: "Ann Example".to_owned(),
            emails: vec!["ann@example.org".to_owned()],
            unix: vec!["root".to_owned()],
            logins: vec!["ann".to_owned()],
            ..Person::default()
        };
        let bob = Person { name: "Bob".to_owned(), emails: vec!["bob@example.org".to_owned()], ..Person::default() };
        People::new(vec![ann, bob]).unwrap()
    }

    fn claims(pairs: &[(&str, &str)]) -> Vec<Claim> {
        pairs.iter().map(|(name, value)| Claim { name: (*name).to_owned(), value: value.as_bytes().to_vec() }).collect()
    }

    #[track_caller]
    fn check(pairs: &[(&str, &str)], host: bool, login: Option<(&str, Evidence)>) {
        let found = pusher(&claims(pairs), 0, host);
        assert_eq!(found.as_ref().map(|pusher| (pusher.login.as_str(), pusher.by)), login);
    }

    #[test]
    fn g4_the_environment_is_believed_from_the_hosts_account_and_from_nobody_else() {
        check(&[("GL_USER", "cto"), ("AGENT_USER", "cto")], false, Some(("root", Evidence::Peer)));
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
    fn g1_g3_an_address_is_compared_whole_and_a_hidden_one_is_the_logins() {
        let people = people();
        let name = |email: &str| people.by_email(email.as_bytes()).map(|person| person.name.as_str());
        assert_eq!(name("ANN@example.org"), Some("Ann Example"));
        assert_eq!(name("ann@example.orgx"), None);
        assert_eq!(name("xann@example.org"), None);
        assert_eq!(name("4711+ann@users.noreply.example.com"), Some("Ann Example"));
        assert_eq!(name("ann@users.noreply.example.com"), Some("Ann Example"));
        assert_eq!(name("x4+ann@users.noreply.example.com"), None);
        assert_eq!(name("ann@noreply.example.com"), None);
    }

    #[test]
    fn g1_a_name_of_two_people_is_an_error_that_names_them() {
        let person = |name: &str| Person { name: name.to_owned(), logins: vec!["X".to_owned()], ..Person::default() };
        assert_eq!(People::new(vec![person("a"), person("b")]).unwrap_err(), "X belongs to a and to b");
        assert!(People::new(vec![Person { logins: vec!["x".to_owned(), "X".to_owned()], ..person("a") }]).is_ok());
    }

    #[test]
    fn t24_each_evidence_looks_among_its_own_names() {
        let people = people();
        let who = |login: &str, by| people.who(&Pusher { login: login.to_owned(), by }).map(|who| who.name.as_str());
        assert_eq!(who("root", Evidence::Peer), Some("Ann Example"));
        assert_eq!(who("root", Evidence::Host), None, "a login at the host is no user of this server");
        assert_eq!(who("ann", Evidence::Peer), None);
        assert_eq!(who("bob@example.org", Evidence::Host), Some("Bob"));
    }

    #[test]
    fn t24_an_own_account_is_a_persons_and_nobody_elses_who_is_called_alike() {
        let people = people();
        let holder = |login: &str, by| people.holder(&Pusher { login: login.to_owned(), by });
        assert_eq!(holder("root", Evidence::Peer), "Ann Example");
        assert_eq!(holder("Bob", Evidence::Peer), "unix:Bob", "a user may be called as a person is");
        assert_eq!(holder("Bob", Evidence::Host), "login:Bob");
        assert_eq!(holder("bob@example.org", Evidence::Certificate), "Bob");
        assert_eq!(people.namesake(), None);
        let twice = vec![Person { name: "a".to_owned(), ..Person::default() }; 2];
        assert_eq!(People::new(twice).unwrap().namesake(), Some("a"));
    }
}
