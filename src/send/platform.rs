//! The platform's API of Jira as one account at one site sees it: REST v3 on Cloud, v2 on Data Center.
//!
//! Questions may be asked again and again. What changes something is sent once, by [`Platform::change`], and what came of
//! it is judged in `outcome`. What hardly changes (who the account is, the site's id, its working hours) is asked once
//! and kept for a while.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use jiff::tz::Offset;
use reqwest::header::DATE;
use reqwest::{Method, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::checkup::Introduced;
use super::credentials::{Pass, Secret};
use super::http::{Exchange, Http, Patience, SMALL};
use super::outcome::{Obstacle, Reach, of_reading};
use super::settings::is_cloud_id;
use super::verdict::{Answer, Trouble};
use super::{Error, Kind, Settings};
use crate::queue::ReadBack;

/// One account at one site.
pub struct Platform {
    pub(super) kind: Kind,
    /// Whether it is a person's own account, and not one that acts for others.
    pub(super) own: bool,
    http: Http,
    pass: Pass,
    site: Url,
    /// Whether the gateway is asked in place of the site.
    scoped: bool,
    configured_id: Option<String>,
    known: Mutex<Known>,
}

/// What opens a person's own account.
#[derive(Clone)]
pub struct Opener {
    /// Goes with the token on Cloud, and only there.
    pub email: Option<String>,
    pub token: SecretString,
    /// Whether the token is limited by scopes; on Cloud only.
    pub scoped: bool,
}

/// Somebody with an account, as Jira shows them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// On Cloud.
    pub account_id: Option<String>,
    /// On Data Center, for ever the same.
    pub key: Option<String>,
    /// On Data Center, what they sign in with.
    pub name: Option<String>,
    /// Where they let us see it.
    pub email_address: Option<String>,
    pub display_name: Option<String>,
    #[serde(default = "yes")]
    pub active: bool,
    /// On Cloud: `atlassian` for people, `app` for programs, `customer` for those of a service desk.
    pub account_type: Option<String>,
}

/// Whether a mail address is somebody's.
#[derive(Clone, Debug)]
pub enum Match {
    One(Box<Person>),
    /// Nobody shows it, and this many hide theirs, so it cannot be told.
    Hidden(usize),
    Several(usize),
    Nobody,
}

/// An issue as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    pub id: String,
    /// The key it has by now, whatever it was asked for by.
    pub key: String,
    pub status: String,
    /// Whether a customer reads what is said on it unless that is marked as internal.
    pub service_desk: bool,
}

/// A transition that the account may do from where the issue stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    pub id: String,
    pub name: String,
    /// The name of the status it leads to.
    pub to: String,
    /// What has to be given, because nothing else fills it.
    pub demands: Vec<Demand>,
}

/// A field that a transition demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    pub id: String,
    pub name: String,
    /// What it can be, where there is a choice.
    pub values: Vec<String>,
}

/// What a day and a week of work are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hours {
    pub per_day: f64,
    pub days_per_week: f64,
}

/// A comment or an entry of work, as far as a probe looks at it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remark {
    pub id: String,
    pub author: Option<Person>,
    pub update_author: Option<Person>,
    #[serde(default, deserialize_with = "moment")]
    pub created: Option<i64>,
    #[serde(default, deserialize_with = "moment")]
    pub updated: Option<i64>,
    pub properties: Option<Vec<Property>>,
    /// What was said, on Data Center as it was written.
    #[serde(default, alias = "body")]
    pub comment: Value,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Property {
    pub key: String,
    #[serde(default)]
    pub value: Value,
}

/// An entry of an issue's history.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Change {
    pub author: Option<Person>,
    #[serde(default, deserialize_with = "moment")]
    pub created: Option<i64>,
    #[serde(default)]
    pub items: Vec<Item>,
    #[serde(default)]
    pub history_metadata: Value,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Item {
    #[serde(default)]
    pub field: String,
}

/// A part of a list.
pub(super) struct Page<T> {
    pub total: usize,
    pub items: Vec<T>,
    /// What time it was at Jira's, in milliseconds, where Jira said so.
    pub date: Option<i64>,
}

/// Which comments or entries of work are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remarks {
    Comments,
    /// Those that began after this moment, in milliseconds, where Jira can tell them apart.
    Worklogs {
        after: i64,
    },
}

impl Platform {
    /// Makes a client for the account that the settings name.
    pub fn new(settings: &Settings, credentials_directory: Option<&Path>) -> Result<Platform, Error> {
        settings.check()?;
        let missing = || Error::Setting { setting: "account", because: "is missing".to_owned() };
        let account = settings.account.as_ref().ok_or_else(missing)?;
        Platform::with(settings, account.scoped, false, |base, http| account.pass(base, credentials_directory, http))
    }

    /// Makes a client for a person's own account.
    pub fn of(settings: &Settings, opener: &Opener) -> Result<Platform, Error> {
        settings.check()?;
        opener.check(settings.kind)?;
        Platform::with(settings, opener.scoped, true, |base, http| {
            Ok(Pass::new(base, opener.email.clone(), Secret::given(opener.token.clone()), http.client()))
        })
    }

    fn with(
        settings: &Settings,
        scoped: bool,
        own: bool,
        pass: impl FnOnce(Url, &Http) -> Result<Pass, Error>,
    ) -> Result<Platform, Error> {
        let site = settings.address("url", &settings.url)?;
        let base = if scoped { settings.address("api_url", &settings.api_url)? } else { site.clone() };
        let with_tls = [&site, &base].iter().any(|url| url.scheme() == "https");
        let http = Http::new(settings, with_tls, Some(IDLE))?;
        Ok(Platform {
            kind: settings.kind,
            own,
            pass: pass(base, &http)?,
            http,
            site,
            scoped,
            configured_id: settings.cloud_id.clone(),
            known: Mutex::default(),
        })
    }

    /// Tells whether the secret is another one than this client was made with.
    pub fn secret_changed(&self) -> bool {
        self.pass.secret().changed()
    }

    /// Gives the account itself; asked once.
    pub async fn myself(&self, now: i64) -> Result<Person, Obstacle> {
        let known = self.known().myself.clone();
        match known {
            Some(person) => Ok(person),
            None => self.ask_who(now).await,
        }
    }

    /// Finds an issue by its id, its key, or a key it once had.
    pub async fn issue(&self, reference: &str, now: i64) -> Result<Issue, Obstacle> {
        let found = self.get(&["issue", reference], &[("fields", "status,project")], now).await;
        let found: Found = match found {
            Err(obstacle) => return Err(self.doubted(obstacle, now).await),
            Ok(answer) => read(&answer)?,
        };
        let Facts { status, project } = found.fields;
        let service_desk = project.kind.as_deref() == Some("service_desk");
        Ok(Issue { id: found.id, key: found.key, status: status.name, service_desk })
    }

    /// Gives the key that an issue has now which is asked for by a key it once had.
    pub async fn present_key(&self, key: &str, now: i64) -> Result<String, Obstacle> {
        match self.get(&["issue", key], &[("fields", "project")], now).await {
            Err(obstacle) => Err(self.doubted(obstacle, now).await),
            Ok(answer) => Ok(read::<Keyed>(&answer)?.key),
        }
    }

    /// Lists the transitions that the account may do from where an issue stands.
    pub async fn offered(&self, issue: &str, now: i64) -> Result<Vec<Offered>, Obstacle> {
        let query = [("expand", "transitions.fields")];
        let answer = self.get(&["issue", issue, "transitions"], &query, now).await?;
        let List { transitions } = read(&answer)?;
        Ok(transitions.into_iter().map(Listed::into_offered).collect())
    }

    /// Finds whose mail address it is; who was found is kept for a while. Jira matches beginnings and names too, so what
    /// it finds is looked at again.
    pub async fn person(&self, email: &str, now: i64) -> Result<Match, Obstacle> {
        let address = email.to_lowercase();
        let known =
            self.known().people.get(&address).filter(|(_, asked)| (*asked..*asked + KEPT).contains(&now)).cloned();
        if let Some((person, _)) = known {
            return Ok(Match::One(person));
        }
        let found = whose(self.people(email, now).await?, |person| person.has(email));
        if let Match::One(person) = &found {
            let people = &mut self.known().people;
            if people.len() >= MOST_KNOWN {
                people.clear();
            }
            people.insert(address, (person.clone(), now));
        }
        Ok(found)
    }

    /// Lists whom Jira finds by a word, which may be the beginning of anything.
    pub(super) async fn people(&self, like: &str, now: i64) -> Result<Vec<Person>, Obstacle> {
        let word = if self.kind == Kind::Cloud { "query" } else { "username" };
        let query = [(word, like), ("maxResults", "50")];
        read(&self.get(&["user", "search"], &query, now).await?)
    }

    /// Gives the site's working hours; asked once a day. Jira's own are taken where the account may not know them.
    pub async fn hours(&self, now: i64) -> Result<Hours, Obstacle> {
        let known = self.known().hours;
        if let Some((hours, _)) = known.filter(|(_, asked)| (*asked..*asked + DAY).contains(&now)) {
            return Ok(hours);
        }
        let hours = match self.get(&["configuration"], &[], now).await {
            Ok(answer) => read::<Configuration>(&answer)?.hours(),
            Err(Obstacle::Refused { .. } | Obstacle::Halt { reach: Reach::Issue, .. }) => USUAL,
            Err(obstacle) => return Err(obstacle),
        };
        self.known().hours = Some((hours, now));
        Ok(hours)
    }

    /// Lists comments newest first, or entries of work oldest first, with their properties where the site gives them.
    pub(super) async fn remarks(
        &self,
        issue: &str,
        which: Remarks,
        start: usize,
        now: i64,
    ) -> Result<Page<Remark>, Obstacle> {
        let (start, size, after) = (start.to_string(), PAGE.to_string(), which.after());
        let paged = [("startAt", &*start), ("maxResults", &*size), ("expand", "properties")];
        let query: Vec<(&str, &str)> = match (which, self.kind) {
            (Remarks::Comments, _) => paged.into_iter().chain([("orderBy", "-created")]).collect(),
            (Remarks::Worklogs { .. }, Kind::Cloud) => paged.into_iter().chain([("startedAfter", &*after)]).collect(),
            // It gives all there are.
            (Remarks::Worklogs { .. }, Kind::DataCenter) => Vec::new(),
        };
        let answer = self.get(&["issue", issue, which.path()], &query, now).await?;
        let Remarked { total, items } = read(&answer)?;
        Ok(Page { total, items, date: date(&answer) })
    }

    /// Gives one property of a comment or an entry of work; null where it has none.
    pub(super) async fn property(&self, issue: &str, which: Remarks, id: &str, now: i64) -> Result<Value, Obstacle> {
        let path: &[&str] = match which {
            Remarks::Comments => &["comment", id, "properties", super::marker::NAME],
            Remarks::Worklogs { .. } => &["issue", issue, "worklog", id, "properties", super::marker::NAME],
        };
        match self.get(path, &[], now).await {
            Ok(answer) => Ok(read::<Property>(&answer)?.value),
            Err(Obstacle::Refused { .. }) => Ok(Value::Null),
            Err(obstacle) => Err(obstacle),
        }
    }

    /// Deletes a comment or an entry of work of the account's own.
    pub(super) async fn delete(
        &self,
        issue: &str,
        which: Remarks,
        id: &str,
        query: &[(&str, &str)],
        now: i64,
    ) -> Result<(), Obstacle> {
        let request = self.request(Method::DELETE, &["issue", issue, which.path(), id], query, now).await?;
        let answer = self.ask(request).await?;
        of_reading(&answer, now).map_or(Ok(()), Err)
    }

    /// Gives entries of an issue's history, oldest first, from a place on; Data Center gives all of them at once.
    pub(super) async fn changes(
        &self,
        issue: &str,
        start: usize,
        most: usize,
        now: i64,
    ) -> Result<Page<Change>, Obstacle> {
        if self.kind == Kind::DataCenter {
            let query = [("fields", "status"), ("expand", "changelog")];
            let answer = self.get(&["issue", issue], &query, now).await?;
            let Whole { changelog: Histories { total, histories } } = read(&answer)?;
            return Ok(Page { total, items: histories, date: date(&answer) });
        }
        let (start, most) = (start.to_string(), most.to_string());
        let query = [("startAt", &*start), ("maxResults", &*most)];
        let answer = self.get(&["issue", issue, "changelog"], &query, now).await?;
        let Values { total, values } = read(&answer)?;
        Ok(Page { total, items: values, date: date(&answer) })
    }

    /// Sends what changes something, once.
    pub(super) async fn change(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: &Value,
        within: Duration,
        now: i64,
    ) -> Result<Exchange, Obstacle> {
        let request = self.request(method, path, query, now).await?.json(body);
        let Patience { begin, end } = PATIENCE;
        let patience = Patience { begin: begin.min(within), end: end.min(within) };
        Ok(self.http.send_once(request, self.pass.base(), patience).await)
    }

    /// Looks at an obstacle that may have the account for its reason: to one that is not let in any more, Jira seems
    /// to be without that issue.
    pub(super) async fn doubted(&self, obstacle: Obstacle, now: i64) -> Obstacle {
        let suspicious = matches!(obstacle, Obstacle::Refused { .. } | Obstacle::Halt { reach: Reach::Issue, .. });
        if !suspicious {
            return obstacle;
        }
        match self.ask_who(now).await {
            Err(Obstacle::Halt { because, .. }) => Obstacle::Halt { reach: Reach::Account, because },
            _ => obstacle,
        }
    }

    /// Asks who the account is, whether or not that is known.
    pub async fn introduce(&self, now: i64) -> Result<Introduced, Obstacle> {
        let answer = self.get(&["myself"], &[], now).await.map_err(|obstacle| match obstacle {
            // What is nobody's own is forbidden to nobody but to strangers.
            Obstacle::Halt { because, .. } | Obstacle::Refused { because } => {
                Obstacle::Halt { reach: Reach::Account, because }
            }
            later @ Obstacle::Later { .. } => later,
        })?;
        let person: Person = read(&answer)?;
        self.known().myself = Some(person.clone());
        Ok(Introduced { person, ahead: date(&answer).map(|date| date - now) })
    }

    async fn ask_who(&self, now: i64) -> Result<Person, Obstacle> {
        Ok(self.introduce(now).await?.person)
    }

    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)], now: i64) -> Result<Answer, Obstacle> {
        let answer = self.ask(self.request(Method::GET, path, query, now).await?).await?;
        match of_reading(&answer, now) {
            Some(obstacle) => Err(obstacle),
            None => Ok(answer),
        }
    }

    /// Sends what may be sent again.
    pub(super) async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Answer, Obstacle> {
        self.http.send(request.timeout(SMALL), self.pass.base()).await.map_err(Obstacle::from)
    }

    pub(super) async fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        now: i64,
    ) -> Result<reqwest::RequestBuilder, Obstacle> {
        let id = if self.scoped { self.cloud_id(now).await? } else { String::new() };
        let gateway: &[&str] = if self.scoped { &["ex", "jira", &id] } else { &[] };
        let version = if self.kind == Kind::Cloud { "3" } else { "2" };
        let path = [gateway, &["rest", "api", version], path].concat();
        Ok(self.pass.request(self.http.client(), method, &path, query))
    }

    async fn cloud_id(&self, now: i64) -> Result<String, Obstacle> {
        let known = self.configured_id.clone().or_else(|| self.known().cloud_id.clone());
        if let Some(id) = known.filter(|id| is_cloud_id(id)) {
            return Ok(id);
        }
        let id = self.http.cloud_id(&self.site, now).await?;
        self.known().cloud_id = Some(id.clone());
        Ok(id)
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opener {
    /// Checks what can be checked without asking Jira.
    fn check(&self, kind: Kind) -> Result<(), Error> {
        let wrong = |setting, because: &str| Err(Error::Setting { setting, because: because.to_owned() });
        let token = self.token.expose_secret();
        let email_is_one = |email: &str| email.contains('@') && !email.contains(|c: char| c == ':' || c.is_control());
        match (kind, self.email.as_deref()) {
            _ if token.is_empty() || token.len() > LONGEST_TOKEN => wrong("the token", "is empty, or too long for one"),
            _ if token.contains(|c: char| !c.is_ascii_graphic()) => {
                wrong("the token", "holds a blank, or a sign that is in no token")
            }
            (Kind::Cloud, None) => wrong("the mail address", "is missing: an API token goes with that of its account"),
            (Kind::Cloud, Some(email)) if !email_is_one(email) => wrong("the mail address", "is none"),
            (Kind::DataCenter, Some(_)) => wrong("the mail address", "is for Cloud: a token alone says who it is here"),
            (Kind::DataCenter, None) if self.scoped => wrong("the token", "has no scopes on Data Center"),
            _ => Ok(()),
        }
    }
}

impl Person {
    /// Gives what never changes about an account.
    pub fn id(&self) -> Option<&str> {
        self.account_id.as_deref().or(self.key.as_deref()).or(self.name.as_deref())
    }

    /// Tells whether an administrator means this account: by its id in Cloud, by the name it signs in with or its key
    /// in Data Center.
    pub fn is_called(&self, text: &str) -> bool {
        [&self.account_id, &self.key, &self.name].into_iter().any(|one| one.as_deref() == Some(text))
    }

    /// Tells whether this is the same account, by what never changes about one.
    pub fn is(&self, other: &Person) -> bool {
        let same = |one: &Option<String>, two: &Option<String>| one.is_some() && one == two;
        match (&self.account_id, &self.key) {
            (Some(_), _) => same(&self.account_id, &other.account_id),
            (None, Some(_)) => same(&self.key, &other.key),
            (None, None) => same(&self.name, &other.name),
        }
    }

    /// Tells whether they show this mail address.
    pub fn has(&self, email: &str) -> bool {
        !email.is_empty() && self.email_address.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(email))
    }

    /// Tells whether Jira shows them, or on Data Center knows them, by this name.
    pub fn is_shown_as(&self, name: &str) -> bool {
        [&self.display_name, &self.name].into_iter().flatten().any(|own| own.to_lowercase() == name.to_lowercase())
    }

    /// The name to show.
    pub fn called(&self) -> &str {
        self.display_name.as_deref().or(self.name.as_deref()).unwrap_or("somebody")
    }
}

impl Remarks {
    pub(super) fn path(self) -> &'static str {
        match self {
            Remarks::Comments => "comment",
            Remarks::Worklogs { .. } => "worklog",
        }
    }

    fn after(self) -> String {
        match self {
            Remarks::Comments => String::new(),
            Remarks::Worklogs { after } => after.to_string(),
        }
    }
}

impl From<Trouble> for Obstacle {
    fn from(trouble: Trouble) -> Obstacle {
        let reach = Reach::Account;
        match trouble {
            Trouble::Outage { offline: true, because, .. } => {
                Obstacle::Later { reach, after: Some(super::retry::OFFLINE), because }
            }
            Trouble::Outage { wish, because, .. } | Trouble::Limited { wish, because, .. } => {
                Obstacle::Later { reach, after: wish.span, because }
            }
            Trouble::Refused { because, .. } => Obstacle::Halt { reach, because },
        }
    }
}

/// Finds the one who is meant among those that Jira found.
pub fn whose(found: Vec<Person>, is_meant: impl Fn(&Person) -> bool) -> Match {
    let human =
        |person: &Person| person.active && person.account_type.as_deref().is_none_or(|kind| kind == "atlassian");
    let (mut showing, rest): (Vec<_>, Vec<_>) = found.into_iter().filter(human).partition(is_meant);
    let hidden = rest.iter().filter(|person| person.email_address.as_deref().is_none_or(str::is_empty)).count();
    match (showing.pop(), showing.len(), hidden) {
        (Some(person), 0, _) => Match::One(Box::new(person)),
        (Some(_), others, _) => Match::Several(others + 1),
        (None, _, 0) => Match::Nobody,
        (None, _, hidden) => Match::Hidden(hidden),
    }
}

/// Reads a moment as Jira writes one.
pub(super) fn read_moment(text: &str) -> Option<i64> {
    let jiras = jiff::fmt::strtime::parse("%Y-%m-%dT%H:%M:%S%.f%z", text).and_then(|time| time.to_timestamp());
    jiras.or_else(|_| text.parse::<Timestamp>()).ok().map(Timestamp::as_millisecond)
}

/// Writes a moment in the one form that Jira takes: milliseconds, and a zone without a colon.
///
/// A zone that is none, as a commit may have it, is taken for Greenwich's.
pub(super) fn write_moment(millisecond: i64, minutes_east: i16) -> String {
    let moment = Timestamp::from_millisecond(millisecond).unwrap_or(Timestamp::UNIX_EPOCH);
    let minutes = if minutes_east.abs() <= FARTHEST { minutes_east } else { 0 };
    let there = Offset::from_seconds(i32::from(minutes) * 60).unwrap_or(Offset::UTC).to_datetime(moment);
    let (sign, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
    let (date, thousandth) = (there.strftime("%Y-%m-%dT%H:%M:%S"), moment.as_millisecond().rem_euclid(1_000));
    format!("{date}.{thousandth:03}{sign}{:02}{:02}", minutes / 60, minutes % 60)
}

/// The minutes by which a zone differs from Greenwich's at most.
const FARTHEST: i16 = 14 * 60;
/// How long an effect is waited for: patience is cheaper than not to know.
const PATIENCE: Patience = Patience { begin: Duration::from_secs(120), end: Duration::from_secs(150) };
/// A connection that was idle for longer may have been closed at its other end without our knowing.
const IDLE: Duration = Duration::from_secs(5);
/// How much of a list is asked for at once; a page of the longest comments stays below what is read of an answer.
pub(super) const PAGE: usize = 50;
const DAY: i64 = 86_400_000;
/// How long it is believed whose a mail address is.
const KEPT: i64 = 600_000;
/// The most people that are kept.
const MOST_KNOWN: usize = 10_000;
/// The most bytes of a token.
const LONGEST_TOKEN: usize = 4096;
/// What Jira takes for a day and a week of work unless an administrator says otherwise.
const USUAL: Hours = Hours { per_day: 8.0, days_per_week: 5.0 };

/// What was learnt on the way.
#[derive(Default)]
pub(super) struct Known {
    /// How marks are found again here.
    pub read_backs: Vec<ReadBack>,
    cloud_id: Option<String>,
    myself: Option<Person>,
    hours: Option<(Hours, i64)>,
    /// By their address in lower case, with when they were asked for.
    people: HashMap<String, (Box<Person>, i64)>,
}

#[derive(Deserialize)]
struct Found {
    id: String,
    key: String,
    fields: Facts,
}

#[derive(Deserialize)]
struct Keyed {
    key: String,
}

#[derive(Deserialize)]
struct Facts {
    status: Named,
    project: Project,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Project {
    #[serde(rename = "projectTypeKey")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct List {
    transitions: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    name: String,
    to: Named,
    #[serde(default)]
    fields: Map<String, Value>,
}

impl Listed {
    fn into_offered(self) -> Offered {
        let wanted = |field: &Value| field["required"] == true && field["hasDefaultValue"] != true;
        let demands = self.fields.iter().filter(|(_, field)| wanted(field)).map(|(id, field)| Demand {
            id: id.clone(),
            name: field["name"].as_str().unwrap_or(id).to_owned(),
            values: names(&field["allowedValues"]),
        });
        Offered { demands: demands.collect(), id: self.id, name: self.name, to: self.to.name }
    }
}

#[derive(Deserialize)]
struct Remarked {
    total: usize,
    #[serde(alias = "comments", alias = "worklogs")]
    items: Vec<Remark>,
}

#[derive(Deserialize)]
struct Values {
    total: usize,
    values: Vec<Change>,
}

#[derive(Deserialize)]
struct Whole {
    changelog: Histories,
}

#[derive(Deserialize)]
struct Histories {
    total: usize,
    histories: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    time_tracking_configuration: Option<TimeTracking>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TimeTracking {
    working_hours_per_day: f64,
    working_days_per_week: f64,
}

impl Configuration {
    fn hours(self) -> Hours {
        self.time_tracking_configuration.map_or(USUAL, |tracking| Hours {
            per_day: tracking.working_hours_per_day,
            days_per_week: tracking.working_days_per_week,
        })
    }
}

fn yes() -> bool {
    true
}

fn names(values: &Value) -> Vec<String> {
    let name = |value: &Value| value["name"].as_str().or(value["value"].as_str()).map(str::to_owned);
    values.as_array().into_iter().flatten().filter_map(name).collect()
}

pub(super) fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, Obstacle> {
    Ok(answer.json::<T>()?)
}

fn date(answer: &Answer) -> Option<i64> {
    let date = rfc2822::DateTimeParser::new().parse_timestamp(answer.header(DATE.as_str())?).ok()?;
    Some(date.as_millisecond())
}

fn moment<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.as_deref().and_then(read_moment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_the_one_form_that_jira_takes_and_read_in_any() {
        assert_eq!(write_moment(1_704_099_600_250, 0), "2024-01-01T09:00:00.250+0000");
        assert_eq!(write_moment(1_704_099_600_250, 90), "2024-01-01T10:30:00.250+0130");
        assert_eq!(write_moment(1_704_099_600_250, -690), "2023-12-31T21:30:00.250-1130");
        assert_eq!(write_moment(-1, 5_999), "1969-12-31T23:59:59.999+0000");
        for text in ["2024-01-01T09:00:00.250+0000", "2024-01-01T10:30:00.250+0130", "2024-01-01T09:00:00.250Z"] {
            assert_eq!(read_moment(text), Some(1_704_099_600_250), "{text}");
        }
        assert_eq!(read_moment("yesterday"), None);
    }

    fn person(email: Option<&str>) -> Person {
        Person { email_address: email.map(str::to_owned), active: true, ..Person::default() }
    }

    #[track_caller]
    fn check(found: Vec<Person>, expected: &str) {
        let shown = match whose(found, |person| person.has("Ann@Example.org")) {
            Match::One(person) => person.email_address.unwrap_or_default(),
            other => format!("{other:?}"),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_mail_address_is_somebodys_only_where_it_is_shown_and_the_same() {
        let ann = || person(Some("ann@example.org"));
        let program = Person { account_type: Some("app".to_owned()), ..ann() };
        check(vec![person(Some("ann@example.org.example")), ann(), program, person(None)], "ann@example.org");
        check(vec![ann(), ann()], "Several(2)");
        check(vec![person(Some("ann@example.org.example"))], "Nobody");
        check(vec![person(None), person(Some(""))], "Hidden(2)");
        check(vec![Person { active: false, ..ann() }], "Nobody");
        check(vec![], "Nobody");
    }

    #[test]
    fn an_account_is_told_by_what_never_changes() {
        let cloud = |id: &str| Person { account_id: Some(id.to_owned()), ..Person::default() };
        let server = |key: &str, name: &str| Person {
            key: Some(key.to_owned()),
            name: Some(name.to_owned()),
            ..Person::default()
        };
        assert!(cloud("1").is(&cloud("1")) && !cloud("1").is(&cloud("2")) && !cloud("1").is(&server("1", "a")));
        assert!(server("K", "a").is(&server("K", "b")) && !server("K", "a").is(&server("L", "a")));
        assert!(!Person::default().is(&Person::default()));
    }
}
