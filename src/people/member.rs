//! Who is meant where the configuration names members: of a group, or the administrators of an account.
//!
//! A member is named by what is at hand. An address that is nobody's yet is *invited*: it is kept, and counts from the moment
//! on at which the table, a mailmap or the list of aliases gives it to a person, or somebody pushes who is vouched for under
//! just this address. Nothing has to be written anew then.

use serde::Serialize;

use super::{Evidence, People, Person, Pusher, Sort};

/// Who is meant by one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member<'a> {
    /// Somebody of the table.
    Known(&'a Person),
    /// An address that nobody has yet.
    Invited,
    /// A login at the host or a user of this server that nobody of the table has.
    Named,
}

/// A member, shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// As the configuration names them.
    pub member: String,
    /// `known`, `invited` or `named`.
    pub state: &'static str,
    /// Who of the table it is.
    pub person: Option<String>,
}

impl People {
    /// Who is meant by a name among members, or why nobody is.
    pub fn member(&self, text: &str) -> Result<Member<'_>, String> {
        for (world, sort) in [("login:", Sort::Login), ("unix:", Sort::Unix)] {
            match text.strip_prefix(world) {
                Some("") => return Err(format!("{text} names nobody")),
                Some(name) => return Ok(self.find(sort, name).map_or(Member::Named, Member::Known)),
                None => {}
            }
        }
        if let Some(person) = self.find(Sort::Name, text).or_else(|| self.by_email(text.as_bytes())) {
            return Ok(Member::Known(person));
        }
        if let Some((local, domain)) = text.split_once('@') {
            let sound = !local.is_empty() && !domain.is_empty() && !domain.contains('@');
            let plain = !text.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | ','));
            return if sound && plain { Ok(Member::Invited) } else { Err(format!("{text} is no address")) };
        }
        match (self.find(Sort::Login, text), self.find(Sort::Unix, text)) {
            (Some(one), Some(other)) if one != other => Err(format!(
                "{text} is a login of {} and a user of {}: login:{text} or unix:{text} says which",
                one.name, other.name
            )),
            (Some(person), _) | (_, Some(person)) => Ok(Member::Known(person)),
            (None, None) => Err(self.unknown(text)),
        }
    }

    /// Whether all of these name somebody.
    pub fn check_members(&self, members: &[String]) -> Result<(), String> {
        members.iter().try_for_each(|member| self.member(member).map(drop))
    }

    /// Whether whoever pushed is one of these.
    pub fn is_among(&self, pusher: &Pusher, members: &[String]) -> bool {
        let person = self.who(pusher);
        let is = |text: &String| match self.member(text) {
            Ok(Member::Known(member)) => person == Some(member),
            // A user of this server may be called like somebody's address.
            Ok(Member::Invited) => pusher.by != Evidence::Peer && pusher.login.eq_ignore_ascii_case(text),
            Ok(Member::Named) => self.holder(pusher).eq_ignore_ascii_case(text),
            Err(_) => false,
        };
        members.iter().any(is)
    }

    /// Members as they are shown.
    pub fn show_members(&self, members: &[String]) -> Vec<Shown> {
        let show = |text: &String| {
            let (state, person) = match self.member(text) {
                Ok(Member::Known(person)) => ("known", Some(person.name.clone())),
                Ok(Member::Invited) => ("invited", None),
                Ok(Member::Named) | Err(_) => ("named", None),
            };
            Shown { member: text.clone(), state, person }
        };
        members.iter().map(show).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people() -> People {
        let person = |name: &str, emails: &[&str], logins: &[&str], unix: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            Person {
                name: name.to_owned(),
                emails: owned(emails),
                logins: owned(logins),
                unix: owned(unix),
                ..Person::default()
            }
        };
        let ann = person("Ann Example", &["ann@example.org"], &["ann", "both"], &["a"]);
        let bob = person("Bob", &["bob@example.org"], &["bob"], &["both"]);
        People::new(vec![ann, bob]).unwrap()
    }

    #[track_caller]
    fn check(members: &[&str], login: &str, by: Evidence, expected: bool) {
        let members: Vec<String> = members.iter().map(|member| (*member).to_owned()).collect();
        let pusher = Pusher { login: login.to_owned(), by };
        assert_eq!(people().is_among(&pusher, &members), expected, "{members:?} {pusher:?}");
    }

    #[test]
    fn t23_a_member_is_whoever_has_the_name_the_address_the_login_or_the_user() {
        for member in ["Ann Example", "ANN@example.org", "ann", "a", "login:ann", "unix:a"] {
            check(&[member], "ann", Evidence::Host, true);
            check(&[member], "a", Evidence::Peer, true);
            check(&["Bob", member], "ann@example.org", Evidence::Certificate, true);
            check(&[member], "bob", Evidence::Host, false);
            check(&[member], "ann", Evidence::Peer, false);
        }
    }

    #[test]
    fn t23_an_address_that_is_nobodys_is_invited_and_counts_for_who_is_vouched_for_under_it() {
        let people = people();
        assert_eq!(people.member("eve@example.org"), Ok(Member::Invited));
        check(&["eve@example.org"], "Eve@example.org", Evidence::Host, true);
        check(&["eve@example.org"], "eve@example.org", Evidence::Certificate, true);
        check(&["eve@example.org"], "eve@example.org", Evidence::Peer, false);
        check(&["eve@example.org"], "eve", Evidence::Host, false);
        let states: Vec<_> =
            people.show_members(&["eve@example.org".into(), "bob@example.org".into(), "login:x".into()]);
        let states: Vec<_> = states.iter().map(|shown| (shown.state, shown.person.as_deref())).collect();
        assert_eq!(states, [("invited", None), ("known", Some("Bob")), ("named", None)]);
    }

    #[test]
    fn t23_somebody_who_is_not_in_the_table_is_named_with_their_world() {
        check(&["login:eve"], "eve", Evidence::Host, true);
        check(&["login:eve"], "eve", Evidence::Peer, false);
        check(&["unix:eve"], "eve", Evidence::Peer, true);
    }

    #[test]
    fn t23_a_name_that_means_nobody_or_two_is_told() {
        for (text, because) in [
            ("Ane Example", "there is no person called Ane Example; did you mean Ann Example?"),
            ("eve", "there is no person called eve"),
            ("@example.org", "@example.org is no address"),
            ("Eve <eve@example.org>", "Eve <eve@example.org> is no address"),
            ("both", "both is a login of Ann Example and a user of Bob: login:both or unix:both says which"),
            ("login:", "login: names nobody"),
        ] {
            assert_eq!(people().member(text), Err(because.to_owned()));
        }
    }
}
