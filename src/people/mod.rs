//! Who is who: people as Git, the host and Jira know them, joined by one table.
//!
//! A commit names its author, and anybody can write anything there. Who *pushed* it is another question, and how well it
//! can be answered depends on where the hook runs ([`Evidence`]):
//!
//! - Each developer has a user of their own on the server: the kernel says who is at the socket. What the environment
//!   of the hook claims is worth nothing, because whoever pushes may set it.
//! - One account of a host (`git`) runs all hooks: the environment is the host's, or the SSH server's, and says who
//!   pushed. It is believed for a call by exactly that account and no other.
//!
//! Who *signed* it is a third question, whose answer travels with the commit ([`Signature`]).
//!
//! The table (`[[person]]`) joins the names a person has: addresses in commits, the user on this server, the login at
//! the host, the keys they sign and log in with, the account in Jira. Names are compared whole and without regard to
//! case, and one that two people claim is an error rather than a guess. A mailmap and a list of aliases (`[people]`) give
//! people of the table more addresses.

mod aliases;
mod keys;
mod member;
mod pusher;
mod signature;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use serde::Deserialize;

use crate::git::Ident;

pub use member::{Member, Shown};
pub use pusher::{Evidence, GERRIT_SUBMITTER, Pusher, keys_of_login, login_keys};
pub use signature::{Signature, check, hindrances};

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
    /// The keys they sign commits and log in with: SSH public keys, and fingerprints of OpenPGP keys.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Their account in Jira: an account id in Cloud, a user name in Data Center.
    #[serde(default)]
    pub jira: Option<String>,
    /// Whether this is a service: it links, and gives no orders. Default false.
    #[serde(default)]
    pub bot: bool,
}

/// Section `[[group]]` of the configuration: people who may do the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What `groups` of a rule calls it.
    pub name: String,
    /// Names of people in the table, their addresses, logins and users; an address that is nobody's yet, which is invited;
    /// `login:NAME` or `unix:NAME` for somebody who is not in the table.
    pub members: Vec<String>,
}

/// Section `[people]` of the configuration: files that belong to the table. They are read with the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A file in the form of Git's `.mailmap`, with more addresses of people in the table. Default: none.
    pub mailmap: Option<PathBuf>,
    /// A CSV file with the columns `email` and `name`, where the name is that of a person in the table. Default: none.
    pub aliases: Option<PathBuf>,
    /// A keyring (`gpg --export`) with the OpenPGP keys that people of the table sign with. Default: none.
    pub openpgp_keyring: Option<PathBuf>,
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct People {
    persons: Vec<Person>,
    /// Lower-case addresses, users, logins and names, each with its owner's place.
    names: HashMap<(Sort, String), usize>,
    /// Addresses that are somebody's only beside a name: name and address in lower case.
    beside: HashMap<(String, String), usize>,
    /// Keys in their one form.
    keys: HashMap<String, usize>,
    /// Members as the configuration names them, by the group's name.
    groups: HashMap<String, Vec<String>>,
    keyring: Option<PathBuf>,
}

/// What rules call the administrators of their own account, as a group.
pub const ADMINISTRATORS: &str = "administrators";

/// What the names in the table are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sort {
    Name,
    Email,
    Unix,
    Login,
}

/// Where hosts let people hide their address: the login stands before the sign, perhaps after a number.
const NO_REPLY: &str = "users.noreply.";

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

/// The right name that is most like a wrong one, if any is.
pub fn nearest<'a>(wrong: &str, rights: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let likeness = |right: &str| (strsim::jaro_winkler(&wrong, &right.to_lowercase()) * 1000.0) as u32;
    rights.map(|right| (likeness(right), right)).filter(|(likeness, _)| *likeness > 700).max().map(|(_, right)| right)
}

impl People {
    /// Joins the table; a name or a key that belongs to two people is an error that says which.
    pub fn new(persons: Vec<Person>) -> Result<People, String> {
        let mut people = People { persons, ..People::default() };
        for (place, person) in people.persons.iter().enumerate() {
            let own = std::slice::from_ref(&person.name);
            let sorts: [(Sort, &[String]); 4] = [
                (Sort::Name, own),
                (Sort::Email, &person.emails),
                (Sort::Unix, &person.unix),
                (Sort::Login, &person.logins),
            ];
            for (sort, name) in sorts.into_iter().flat_map(|(sort, names)| names.iter().map(move |name| (sort, name))) {
                let other = people.names.insert((sort, name.to_lowercase()), place);
                if let Some(other) = other.filter(|other| sort == Sort::Name || *other != place) {
                    return Err(of_two(name, &people.persons[other], person));
                }
            }
            for (number, key) in (1..).zip(&person.keys) {
                // What stands there is not repeated: somebody may have taken the private half.
                let key = keys::normal(key).ok_or_else(|| {
                    format!(
                        "key {number} of {} is neither an SSH public key nor a fingerprint of 40 or 64 digits",
                        own[0]
                    )
                })?;
                let other = people.keys.insert(key, place).filter(|other| *other != place);
                if let Some(other) = other {
                    return Err(of_two(&format!("key {number}"), &people.persons[other], person));
                }
            }
        }
        Ok(people)
    }

    /// Adds groups, whose members have to be somebody.
    pub fn with_groups(mut self, groups: &[Group]) -> Result<People, String> {
        for Group { name, members } in groups {
            self.check_members(members).map_err(|because| format!("{name}: {because}"))?;
            if name == ADMINISTRATORS {
                return Err(format!("{name}: a group of this name would hide the administrators of the accounts"));
            }
            if self.groups.insert(name.clone(), members.clone()).is_some() {
                return Err(format!("two groups are called {name}"));
            }
        }
        Ok(self)
    }

    /// Reads the files that give people more addresses, and remembers the keyring.
    pub fn with_files(mut self, files: &Settings) -> Result<People, String> {
        files.mailmap.iter().try_for_each(|path| self.take_mailmap(path))?;
        files.aliases.iter().try_for_each(|path| self.take_list(path))?;
        self.keyring.clone_from(&files.openpgp_keyring);
        Ok(self)
    }

    /// Whose a commit's author is, as far as it names them.
    pub fn by_ident(&self, ident: &Ident) -> Option<&Person> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_lowercase();
        let beside = self.beside.get(&(text(&ident.name), text(&ident.email)));
        beside.map(|place| &self.persons[*place]).or_else(|| self.by_email(&ident.email))
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
            Evidence::Signature | Evidence::Key => self.find(Sort::Name, &pusher.login),
            Evidence::Host | Evidence::Command => {
                self.find(Sort::Login, &pusher.login).or_else(|| self.by_email(pusher.login.as_bytes()))
            }
        }
    }

    /// Whose it is, wherever they push from, such as an account in Jira or what they are to be told: a person's by name,
    /// or else a user's or a login's, which is told from a name by its sort.
    pub fn holder(&self, pusher: &Pusher) -> String {
        match (self.who(pusher), pusher.by) {
            (Some(person), _) => person.name.clone(),
            (None, Evidence::Peer) => format!("unix:{}", pusher.login),
            (None, Evidence::Host | Evidence::Command) => format!("login:{}", pusher.login),
            (None, _) => format!("email:{}", pusher.login),
        }
    }

    /// The person of this name.
    pub fn named(&self, name: &str) -> Option<&Person> {
        self.persons.iter().find(|person| person.name == name)
    }

    /// Whether whoever pushed belongs to a group.
    pub fn is_member(&self, pusher: &Pusher, group: &str) -> bool {
        self.groups.get(group).is_some_and(|members| self.is_among(pusher, members))
    }

    /// The members of a group as the configuration names them; nothing where there is no such group.
    pub fn members(&self, group: &str) -> Option<&[String]> {
        self.groups.get(group).map(Vec::as_slice)
    }

    /// Says that there is no such group, and which may be meant; nothing when there is.
    pub fn lacks_group(&self, group: &str) -> Option<String> {
        if self.groups.contains_key(group) || group == ADMINISTRATORS {
            return None;
        }
        Some(match nearest(group, self.groups.keys().map(String::as_str)) {
            Some(right) => format!("there is no group called {group}; did you mean {right}?"),
            None => format!("there is no group called {group}"),
        })
    }

    /// Whose a key in its one form is.
    fn by_key(&self, key: &str) -> Option<&Person> {
        self.keys.get(key).map(|place| &self.persons[*place])
    }

    fn find(&self, sort: Sort, name: &str) -> Option<&Person> {
        self.place(sort, name).map(|place| &self.persons[place])
    }

    fn place(&self, sort: Sort, name: &str) -> Option<usize> {
        self.names.get(&(sort, name.to_lowercase())).copied()
    }
}

impl Settings {
    /// Makes paths absolute that are relative to the configuration's folder.
    pub fn resolve(&mut self, folder: &Path) {
        for path in [&mut self.mailmap, &mut self.aliases, &mut self.openpgp_keyring] {
            *path = path.take().map(|path| folder.join(path));
        }
    }
}

fn of_two(name: &str, one: &Person, other: &Person) -> String {
    if one.name == other.name {
        return format!("two [[person]] are called {}", one.name);
    }
    format!("{name} belongs to {} and to {}", one.name, other.name)
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
        let named = |name: &str| Person { name: name.to_owned(), ..Person::default() };
        assert_eq!(People::new(vec![named("Ann"), named("ann")]).unwrap_err(), "ann belongs to Ann and to ann");
    }

    #[test]
    fn g5_a_key_is_one_persons_and_is_never_repeated_in_an_error() {
        let person =
            |name: &str, key: &str| Person { name: name.to_owned(), keys: vec![key.to_owned()], ..Person::default() };
        let key = "CDC1353567D9C80EF683C47BD95735A08BC8DE4B";
        let two = People::new(vec![person("a", key), person("b", &key.to_lowercase())]);
        assert_eq!(two.unwrap_err(), "key 1 belongs to a and to b");
        let wrong = People::new(vec![person("a", "-----BEGIN OPENSSH PRIVATE KEY-----")]).unwrap_err();
        assert!(wrong.starts_with("key 1 of a is neither") && !wrong.contains("BEGIN"), "{wrong}");
    }

    #[test]
    fn g5_a_group_has_members_of_the_table() {
        let group = |members: &[&str]| Group {
            name: "devs".to_owned(),
            members: members.iter().map(|member| (*member).to_owned()).collect(),
        };
        let with = |members: &[&str]| people().with_groups(&[group(members)]);
        let people = with(&["ann example", "bob@example.org"]).unwrap();
        let is = |email: &str, group| {
            people.is_member(&Pusher { login: email.to_owned(), by: Evidence::Certificate }, group)
        };
        assert!(is("ann@example.org", "devs") && is("BOB@example.org", "devs"));
        assert!(!is("bob@example.org", "other") && !is("eve@example.org", "devs"));
        assert_eq!(people.lacks_group("dev").unwrap(), "there is no group called dev; did you mean devs?");
        assert_eq!(people.lacks_group("devs"), None);
        let wrong = with(&["Ane Example"]).unwrap_err();
        assert_eq!(wrong, "devs: there is no person called Ane Example; did you mean Ann Example?");
        let reserved = Group { name: ADMINISTRATORS.to_owned(), members: Vec::new() };
        assert!(people.clone().with_groups(&[reserved]).unwrap_err().contains("administrators of the accounts"));
        assert_eq!(people.with_groups(&[group(&[])]).unwrap_err(), "two groups are called devs");
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
    }
}
