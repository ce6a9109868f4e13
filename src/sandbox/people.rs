//! People: who has an account, with which credentials, and how others find and see them.
//!
//! Whoever looks for a person by mail address meets what the real one does: a search that matches beginnings, addresses
//! that their owners hide, apps among the people, and an empty list in place of a refusal.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::extract::State as From;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::App;
use super::permissions::Permission;
use super::rest::{Answer, Caller, Flavour, Page, Refusal};
use super::state::State;
use crate::request::{Json, Query, get};

/// How many people a search looks at.
const SEARCHED: usize = 1_000;

/// Somebody with an account. The name by which Data Center and the switchboard call them is the key they are held under.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Person {
    pub(super) id: u64,
    pub(super) account_id: String,
    pub(super) email: String,
    /// Whether others get no mail address to see.
    pub(super) email_hidden: bool,
    pub(super) display_name: String,
    pub(super) active: bool,
    pub(super) kind: AccountType,
    /// An API token on Cloud, a personal access token on Data Center; none if empty.
    pub(super) token: String,
    /// Whether the token is a scoped one, which Cloud takes at its gateway only.
    pub(super) scoped: bool,
    /// For Basic on Data Center; none if empty.
    pub(super) password: String,
    /// What they may not do, by project; `*` stands for every project.
    pub(super) denied: BTreeMap<String, BTreeSet<Permission>>,
}

/// What kind of account it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AccountType {
    #[default]
    Atlassian,
    App,
    Customer,
}

/// A person to make, or what is to change about one.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SeedPerson {
    pub(crate) name: String,
    pub(crate) account_id: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) email_hidden: Option<bool>,
    pub(crate) display_name: Option<String>,
    pub(crate) active: Option<bool>,
    pub(crate) kind: Option<AccountType>,
    pub(crate) token: Option<String>,
    pub(crate) scoped: Option<bool>,
    pub(crate) password: Option<String>,
}

/// Gives the routes about people.
pub(super) fn routes(flavour: Flavour) -> Router<App> {
    let router = Router::new().route("/myself", get(myself));
    match flavour {
        Flavour::Cloud => router.route("/user/search", get(search)),
        Flavour::DataCenter => router.route("/user/search", get(search_names)).route("/user", get(one)),
    }
}

impl State {
    /// Whether a person is meant by a name, an account's id or a mail address.
    pub(super) fn is_called(&self, person: &str, text: &str) -> bool {
        let known = self.people.get(person);
        person == text || known.is_some_and(|known| [&known.account_id, &known.email].iter().any(|one| *one == text))
    }

    /// Makes a person, or changes what is named of one.
    pub(super) fn put_person(&mut self, seed: SeedPerson) {
        let id = self.take_id();
        let person = self.people.entry(seed.name.clone()).or_insert_with(|| Person::new(id, &seed.name));
        person.change(seed);
    }

    pub(super) fn person_by_token(&self, token: &str) -> Option<(&String, &Person)> {
        self.people.iter().find(|(_, person)| !token.is_empty() && person.token == token)
    }

    /// The one active person who shows this mail address, as Jira's own Smart Commits look for the author.
    pub(super) fn person_by_email(&self, email: &str) -> Result<&str, &'static str> {
        let shows = |person: &Person| person.active && !person.email_hidden && !person.email.is_empty();
        let same = |person: &Person| shows(person) && person.email.eq_ignore_ascii_case(email);
        let mut found = self.people.iter().filter(|(_, person)| same(person)).map(|(name, _)| name.as_str());
        match (found.next(), found.next()) {
            (Some(name), None) => Ok(name),
            (Some(_), Some(_)) => Err("more than one user has the author's e-mail address"),
            (None, _) => Err("no user has the author's e-mail address"),
        }
    }

    /// Shows a person to a caller; one who is gone is shown by name alone.
    pub(super) fn show_person(&self, name: &str, caller: &Caller) -> Value {
        match self.people.get(name) {
            Some(person) => person.show(name, caller),
            None => json!({ "displayName": name, "active": false }),
        }
    }
}

impl Person {
    fn new(id: u64, name: &str) -> Person {
        let account = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
        Person {
            id,
            account_id: format!("712020:{account}"),
            email: String::new(),
            email_hidden: false,
            display_name: name.to_owned(),
            active: true,
            kind: AccountType::Atlassian,
            token: String::new(),
            scoped: false,
            password: String::new(),
            denied: BTreeMap::new(),
        }
    }

    fn change(&mut self, seed: SeedPerson) {
        put(&mut self.account_id, seed.account_id);
        put(&mut self.email, seed.email);
        put(&mut self.email_hidden, seed.email_hidden);
        put(&mut self.display_name, seed.display_name);
        put(&mut self.active, seed.active);
        put(&mut self.kind, seed.kind);
        put(&mut self.token, seed.token);
        put(&mut self.scoped, seed.scoped);
        put(&mut self.password, seed.password);
    }

    fn show(&self, name: &str, caller: &Caller) -> Value {
        let own = caller.person.as_deref() == Some(name);
        let email = (own || !self.email_hidden).then_some(&self.email);
        let pictures = [16, 24, 32, 48].map(|size| {
            let place = format!("{}/secure/useravatar?size={size}&avatarId={}", caller.site, self.id);
            (format!("{size}x{size}"), json!(place))
        });
        let mut shown = json!({
            "active": self.active, "displayName": self.display_name, "emailAddress": email, "timeZone": "Etc/UTC",
            "avatarUrls": pictures.into_iter().collect::<Value>(),
        });
        if caller.is_cloud() {
            shown["accountId"] = json!(self.account_id);
            shown["accountType"] = json!(self.kind);
            shown["self"] = json!(format!("{}/user?accountId={}", caller.root, self.account_id));
        } else {
            shown["name"] = json!(name);
            shown["key"] = json!(format!("JIRAUSER{}", self.id));
            shown["self"] = json!(format!("{}/user?username={name}", caller.root));
        }
        shown
    }

    /// Whether a word of the name, or the mail address, begins like this.
    fn begins(&self, query: &str, hidden_matches: bool) -> bool {
        let query = query.to_lowercase();
        let name = self.display_name.to_lowercase();
        let words = name.split_whitespace().any(|word| word.starts_with(&query));
        let email = (hidden_matches || !self.email_hidden) && self.email.to_lowercase().starts_with(&query);
        words || name.starts_with(&query) || email
    }
}

/// Reads what `Basic` carries.
pub(super) fn read_basic(encoded: &str) -> Option<(String, String)> {
    let text = String::from_utf8(unpack(encoded.trim())?).ok()?;
    let (name, secret) = text.split_once(':')?;
    Some((name.to_owned(), secret.to_owned()))
}

/// Decodes base 64.
fn unpack(encoded: &str) -> Option<Vec<u8>> {
    let digits = encoded.trim_end_matches('=');
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

async fn myself(From(app): From<App>, caller: Caller) -> Answer {
    let name = caller.person()?;
    Ok(Json(app.enter().0.state.show_person(name, &caller)).into_response())
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wanted {
    query: Option<String>,
    account_id: Option<String>,
    username: Option<String>,
    key: Option<String>,
    include_inactive: bool,
    include_active: Option<bool>,
}

async fn search(
    From(app): From<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
    Query(page): Query<Page>,
) -> Answer {
    if wanted.username.is_some() {
        return Err(Refusal::bad("The query parameter 'username' is not supported in GDPR strict mode."));
    }
    if wanted.query.is_some() == wanted.account_id.is_some() {
        return Err(Refusal::bad("Either query or accountId has to be given, and not both."));
    }
    let (world, _) = app.enter();
    let matches = |person: &Person| match (&wanted.query, &wanted.account_id) {
        (Some(query), _) => person.begins(query, world.tuning.hidden_mail_matches),
        (None, id) => id.as_ref() == Some(&person.account_id),
    };
    // Where people may not be browsed the list is empty, which looks like a search that found nobody.
    let allowed = world.state.may(caller.person.as_deref(), "", Permission::BrowseUsers);
    let people = world.state.people.iter().take(SEARCHED).filter(|(_, person)| allowed && matches(person));
    let found = people.map(|(name, person)| person.show(name, &caller)).collect();
    Ok(Json(page.of::<Value>(found, 50, SEARCHED).2).into_response())
}

async fn search_names(
    From(app): From<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
    Query(page): Query<Page>,
) -> Answer {
    let Some(query) = wanted.username.map(|query| query.to_lowercase()) else {
        return Err(Refusal::bad("The username query parameter was not provided"));
    };
    let (world, _) = app.enter();
    let matches = |name: &str, person: &Person| {
        let texts = [name, &person.display_name, &person.email];
        query == "." || texts.iter().any(|text| text.to_lowercase().contains(&query))
    };
    let wished = |active: bool| if active { wanted.include_active.unwrap_or(true) } else { wanted.include_inactive };
    let allowed = world.state.may(caller.person.as_deref(), "", Permission::BrowseUsers);
    let people =
        world.state.people.iter().filter(|(name, person)| allowed && wished(person.active) && matches(name, person));
    let found = people.map(|(name, person)| person.show(name, &caller)).collect();
    Ok(Json(page.of::<Value>(found, 50, SEARCHED).2).into_response())
}

async fn one(From(app): From<App>, caller: Caller, Query(wanted): Query<Wanted>) -> Answer {
    caller.person()?;
    let (world, _) = app.enter();
    let is = |(name, person): &(&String, &Person)| {
        wanted.username.as_ref() == Some(name) || wanted.key == Some(format!("JIRAUSER{}", person.id))
    };
    let found = world.state.people.iter().find(is);
    let (name, person) = found.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "The user does not exist."))?;
    Ok(Json(person.show(name, &caller)).into_response())
}

fn put<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_read_as_others_write_them() {
        let read = |text: &str| read_basic(text).map(|(name, secret)| format!("{name} {secret}"));
        assert_eq!(read("YWRhQGV4YW1wbGUuY29tOnQ6MQ=="), Some("ada@example.com t:1".into()));
        assert_eq!(read("YTpi"), Some("a b".into()));
        assert_eq!(read("YQ=="), None);
        assert_eq!(read("%"), None);
    }
}
