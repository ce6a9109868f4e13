//! One effect: carried out once, looked for where nobody knows whether it was, and swept up after.
//!
//! What it takes is read first ([`Platform::prepare`]), because a question harms nothing: the issue, and for a transition
//! what is offered. Whoever keeps count then notes that it is about to be sent, and one request is sent, once
//! ([`Platform::send`]). Where its answer proves neither that it was done nor that it was not, [`Platform::probe`]
//! looks for the mark it bears. That looks back to before the request was sent, by Jira's own clock; a list that cannot
//! be read so far proves nothing.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::choice::{Choice, choose, named};
use super::outcome::{Attempt, Doubles, Obstacle, Outcome, Probe, Reach, of_writing};
use super::platform::{Change, Demand, Issue, Match, Offered, Page, Person, Platform, Remark, Remarks, write_moment};
use super::wording::{Saying, Source};
use super::{Kind, Marker, adf, wiki};
use crate::effect::{Action, Effect};
use crate::parse::Mode;
use crate::text::{Untrusted, cut};

/// An effect and what is not said in it.
#[derive(Clone, Copy, Debug)]
pub struct Deed<'a> {
    pub effect: &'a Effect,
    /// The issue by its id where that is known, as it outlives the key, else by its key.
    pub issue: &'a str,
    /// What people call the repository.
    pub repository: &'a str,
}

/// How a team wants orders understood.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner<'a> {
    pub mode: Mode,
    /// The resolution that a transition gets which demands one.
    pub resolution: Option<&'a str>,
}

/// An effect that only has to be sent: all that had to be read for it was read. It holds what people wrote, so it has no
/// `Debug`.
#[derive(Clone)]
pub struct Prepared {
    /// The id of the issue, which outlives its key.
    pub issue_id: String,
    method: Method,
    /// The last part of the address, where it is not the issue's own.
    what: Option<&'static str>,
    body: Value,
}

impl Prepared {
    fn new(issue_id: String, what: &'static str, body: Value) -> Prepared {
        Prepared { issue_id, method: Method::POST, what: Some(what), body }
    }

    /// What sets fields of the issue itself.
    pub(super) fn edit(issue_id: String, body: Value) -> Prepared {
        Prepared { issue_id, method: Method::PUT, what: None, body }
    }

    /// Whether nothing comes of it that has an id.
    fn makes_nothing(&self) -> bool {
        matches!(self.what, None | Some(TRANSITIONS))
    }
}

impl Platform {
    /// Reads what an effect takes; what comes in place of it is never [`Attempt::Applied`] and never ambiguous.
    pub async fn prepare(
        &self,
        deed: &Deed<'_>,
        marker: &Marker,
        manner: Manner<'_>,
        now: i64,
    ) -> Result<Prepared, Attempt> {
        if deed.effect.by_author {
            self.known_author(deed, now).await?;
        }
        match &deed.effect.action {
            Action::Comment { text } => Ok(self.comment(deed, text, marker, now).await?),
            Action::Time { spent, comment, started, offset } => {
                let hours = self.hours(now).await?;
                let spent = spent.jira(hours.per_day, hours.days_per_week);
                let started = write_moment(*started, *offset);
                Ok(self.work(deed, [&spent, &started], comment, marker, now).await?)
            }
            // What is said with it is an effect of its own: a probe can tell of each whether it was done, and not of both.
            Action::Transition { name, .. } => self.transition(deed, name, marker, manner, now).await,
            Action::Assign { .. } | Action::Label { .. } | Action::FixVersion { .. } => {
                self.prepare_edit(deed, now).await
            }
        }
    }

    /// Sends a prepared effect, once, and waits no longer than `within` for what comes of it.
    pub async fn send(&self, prepared: &Prepared, within: Duration, now: i64) -> Attempt {
        let path: Vec<&str> = ["issue", &prepared.issue_id].into_iter().chain(prepared.what).collect();
        let exchange = match self.change(prepared.method.clone(), &path, &[], &prepared.body, within, now).await {
            Ok(exchange) => exchange,
            Err(obstacle) => return obstacle.into(),
        };
        let issue_id = prepared.issue_id.clone();
        match of_writing(&exchange, now) {
            Outcome::Stopped(obstacle) => self.doubted(obstacle, now).await.into(),
            Outcome::Ambiguous { because } => Attempt::Ambiguous { because },
            Outcome::Done(_) if prepared.makes_nothing() => Attempt::Applied { remote_id: None, issue_id },
            Outcome::Done(made) => match id(&made) {
                Some(made) => Attempt::Applied { remote_id: Some(made), issue_id },
                None => Attempt::Ambiguous { because: "Jira did not say what was made".to_owned() },
            },
        }
    }

    /// Looks for an effect that was sent at `since` and may have been done. That it is absent proves nothing where
    /// [`Platform::may_be_unmarked`] says so.
    pub async fn probe(&self, deed: &Deed<'_>, marker: &Marker, since: i64, now: i64) -> Probe {
        let probed = match kind(deed) {
            Some(which) => self.marked(deed, which, marker, since, now).await.map(|found| match found.first() {
                Some(first) => Probe::Present { remote_id: Some(first.id.clone()) },
                None => Probe::Absent,
            }),
            None if matches!(deed.effect.action, Action::Transition { .. }) => {
                self.probe_history(deed, marker, since, now).await
            }
            None => self.probe_edit(deed, now).await,
        };
        match probed {
            Ok(probe) => probe,
            Err(Blind::Unproven(because)) => Probe::Unsure { because: because.to_owned() },
            Err(Blind::Stopped(obstacle)) => self.doubted(obstacle, now).await.into(),
        }
    }

    /// Why an effect that was sent then may be there without a mark that can be found.
    pub fn may_be_unmarked(&self, deed: &Deed<'_>, sent: i64) -> Option<&'static str> {
        kind(deed)
            .filter(|which| self.lost_marks(*which, sent))
            .map(|_| "it was sent before it was known that the site keeps no properties")
    }

    /// Looks for what was done more than once since then, and deletes all but the first where that is wished.
    ///
    /// Only what the account made itself and nobody has changed is deleted.
    pub async fn sweep(
        &self,
        deed: &Deed<'_>,
        marker: &Marker,
        since: i64,
        delete: bool,
        now: i64,
    ) -> Result<Doubles, Obstacle> {
        let Some(which) = kind(deed) else { return Ok(Doubles::default()) };
        let found = self.marked(deed, which, marker, since, now).await.map_err(Blind::into_obstacle)?;
        let mut doubles = Doubles::default();
        for remark in found.into_iter().skip(1) {
            if delete && is_untouched(&remark) && self.delete(deed.issue, which, &remark.id, &[], now).await.is_ok() {
                doubles.deleted.push(remark.id.clone());
            }
            doubles.younger.push(remark.id);
        }
        Ok(doubles)
    }

    /// Refuses what is ordered by an author whose address is not exactly one person's in Jira.
    async fn known_author(&self, deed: &Deed<'_>, now: i64) -> Result<(), Obstacle> {
        let email = String::from_utf8_lossy(&deed.effect.author.email);
        let because = match self.person(&email, now).await? {
            Match::One(_) => return Ok(()),
            Match::Several(many) => format!("{many} people in Jira have the author's address {}", shown(&email)),
            Match::Hidden(_) | Match::Nobody => format!("nobody in Jira shows the author's address {}", shown(&email)),
        };
        Err(refused(because))
    }

    async fn comment(&self, deed: &Deed<'_>, text: &str, marker: &Marker, now: i64) -> Result<Prepared, Obstacle> {
        let issue = self.issue(deed.issue, now).await?;
        let saying = self.saying(deed, text, self.token(Remarks::Comments, marker).as_deref(), now).await?;
        if saying.text.is_empty() {
            return Err(refused("a comment needs text".to_owned()));
        }
        let mut properties = vec![marker.property()];
        properties.extend(issue.service_desk.then(internal));
        let body = json!({ "body": self.form(&saying), "properties": properties });
        Ok(Prepared::new(issue.id, "comment", body))
    }

    async fn work(
        &self,
        deed: &Deed<'_>,
        [spent, started]: [&str; 2],
        text: &str,
        marker: &Marker,
        now: i64,
    ) -> Result<Prepared, Obstacle> {
        let issue = self.issue(deed.issue, now).await?;
        let token = self.token(Remarks::Worklogs { after: 0 }, marker);
        let saying = self.saying(deed, text, token.as_deref(), now).await?;
        let mut body = json!({ "timeSpent": spent, "started": started });
        if !saying.is_empty() {
            body["comment"] = self.form(&saying);
        }
        if self.kind == Kind::Cloud {
            body["properties"] = json!([marker.property()]);
        }
        Ok(Prepared::new(issue.id, "worklog", body))
    }

    async fn transition(
        &self,
        deed: &Deed<'_>,
        word: &str,
        marker: &Marker,
        manner: Manner<'_>,
        now: i64,
    ) -> Result<Prepared, Attempt> {
        let issue = self.issue(deed.issue, now).await?;
        let offered = self.offered(&issue.id, now).await?;
        let way = match choose(word, &offered, &issue.status, manner.mode) {
            Choice::One(way) => way,
            Choice::Already => {
                let because = format!("{} is in {} already", issue.key, shown(&issue.status));
                return Err(Attempt::NoOp { issue_id: issue.id, because });
            }
            choice => return Err(refused(unclear(word, &issue, &offered, &choice)).into()),
        };
        let fields = fields(way, manner.resolution).map_err(refused)?;
        let mut body = json!({ "transition": { "id": way.id }, "historyMetadata": marker.metadata() });
        if !fields.is_empty() {
            body["fields"] = Value::Object(fields);
        }
        Ok(Prepared::new(issue.id, TRANSITIONS, body))
    }

    async fn saying(&self, deed: &Deed<'_>, text: &str, token: Option<&str>, now: i64) -> Result<Saying, Obstacle> {
        let Effect { author, commit, .. } = deed.effect;
        let own = self.myself(now).await?.has(&String::from_utf8_lossy(&author.email));
        let name = String::from_utf8_lossy(&author.name);
        if self.own {
            // They speak for themselves; only words of somebody else say whose they are.
            let theirs = own || deed.effect.pusher == name;
            let author = (!theirs).then_some(&*name);
            return Ok(Saying::new(text, Source { author, commit, repository: deed.repository, token }));
        }
        // Whoever pushed or signed it gave the order; the name in a commit proves nothing.
        let pusher = Some(&deed.effect.pusher).filter(|pusher| !pusher.is_empty() && **pusher != name);
        let who = match pusher {
            None => name.to_string(),
            Some(pusher) if commit.is_empty() => pusher.clone(),
            Some(pusher) => format!("{pusher} (in a commit of {name})"),
        };
        let author = (!own || (pusher.is_some() && !commit.is_empty())).then_some(who.as_str());
        Ok(Saying::new(text, Source { author, commit, repository: deed.repository, token }))
    }

    pub(super) fn form(&self, saying: &Saying) -> Value {
        match self.kind {
            Kind::Cloud => adf::document(saying),
            Kind::DataCenter => Value::String(wiki::markup(saying)),
        }
    }

    /// Finds what bears the mark and is the account's own, the oldest first.
    async fn marked(
        &self,
        deed: &Deed<'_>,
        which: Remarks,
        marker: &Marker,
        since: i64,
        now: i64,
    ) -> Result<Vec<Remark>, Blind> {
        let me = self.myself(now).await?;
        let mut found = Vec::new();
        let mut own = self.listed(deed.issue, which, since, now).await?;
        own.retain(|remark| remark.author.as_ref().is_some_and(|author| author.is(&me)));
        self.with_properties(&mut own, which, now).await?;
        for remark in own {
            if self.bears(deed.issue, which, &remark, marker, now).await? {
                found.push(remark);
            }
        }
        found.sort_by_key(|remark| (remark.created, remark.id.parse::<u64>().unwrap_or(u64::MAX)));
        // A list that grows while it is read shows some of it twice.
        found.dedup_by(|one, other| one.id == other.id);
        Ok(found)
    }

    /// Lists comments back to before a moment, or all work that began when this did; fails where it cannot be had whole.
    pub(super) async fn listed(&self, issue: &str, which: Remarks, since: i64, now: i64) -> Result<Vec<Remark>, Blind> {
        let mut listed: Vec<Remark> = Vec::new();
        loop {
            let page = self.remarks(issue, which, listed.len(), now).await?;
            let horizon = horizon(&page, since, now);
            let (total, empty) = (page.total, page.items.is_empty());
            let reached = which == Remarks::Comments
                && page.items.iter().any(|remark| remark.created.zip(horizon).is_some_and(|(at, back)| at < back));
            listed.extend(page.items);
            match () {
                () if reached || listed.len() >= total => return Ok(listed),
                () if empty => return Err(Blind::Unproven("the list ended before its end")),
                () => {}
            }
        }
    }

    async fn probe_history(&self, deed: &Deed<'_>, marker: &Marker, since: i64, now: i64) -> Result<Probe, Blind> {
        let me = self.myself(now).await?;
        let mut unmarked = false;
        for change in self.changes_since(deed.issue, since, now).await? {
            if !change.author.as_ref().is_some_and(|author| author.is(&me)) {
                continue;
            }
            if marker.is_metadata(&change.history_metadata) {
                return Ok(Probe::Present { remote_id: None });
            }
            unmarked |= change.history_metadata.is_null() && change.items.iter().any(|item| item.field == "status");
        }
        match unmarked {
            // Where the site loses marks, this may be it.
            true => Err(Blind::Unproven("the account moved the issue, but the mark is missing")),
            false => Ok(Probe::Absent),
        }
    }

    /// Gives the changes back to before a moment; fails where they cannot be had whole.
    pub(super) async fn changes_since(&self, issue: &str, since: i64, now: i64) -> Result<Vec<Change>, Blind> {
        if self.kind == Kind::DataCenter {
            let page = self.changes(issue, 0, 0, now).await?;
            return match page.items.len() >= page.total {
                true => Ok(page.items),
                false => Err(Blind::Unproven("the history ended before its end")),
            };
        }
        // The oldest come first, so that the end has to be found before it can be read.
        let mut end = self.changes(issue, 0, 1, now).await?.total;
        let mut all = Vec::new();
        while end > 0 {
            let start = end.saturating_sub(CHANGES);
            let page = self.changes(issue, start, CHANGES, now).await?;
            if page.items.len() < end - start {
                return Err(Blind::Unproven("the history ended before its end"));
            }
            let back = horizon(&page, since, now);
            let reached = page.items.iter().any(|change| change.created.zip(back).is_some_and(|(at, back)| at < back));
            all.extend(page.items);
            end = if reached { 0 } else { start };
        }
        Ok(all)
    }
}

/// Why it is not known what bears a mark.
pub(super) enum Blind {
    Unproven(&'static str),
    Stopped(Obstacle),
}

impl Blind {
    pub(super) fn into_obstacle(self) -> Obstacle {
        match self {
            Blind::Unproven(because) => {
                Obstacle::Later { reach: Reach::Issue, after: None, because: because.to_owned() }
            }
            Blind::Stopped(obstacle) => obstacle,
        }
    }
}

impl From<Obstacle> for Blind {
    fn from(obstacle: Obstacle) -> Blind {
        Blind::Stopped(obstacle)
    }
}

const TRANSITIONS: &str = "transitions";
/// How far before the sending of an effect a probe looks, in milliseconds.
const BEFORE: i64 = 600_000;
/// The most changes that Jira gives at once.
const CHANGES: usize = 100;
/// How much earlier than it began work is looked for, in milliseconds: Jira says "after" and keeps whole seconds.
const EARLIER: i64 = 60_000;

/// Back to when a list has to be read, by Jira's clock; nowhere is far enough where Jira does not say what time it is.
fn horizon<T>(page: &Page<T>, since: i64, now: i64) -> Option<i64> {
    page.date.map(|date| since + (date - now) - BEFORE)
}

/// The list that what an effect makes is found in.
fn kind(deed: &Deed<'_>) -> Option<Remarks> {
    match deed.effect.action {
        Action::Comment { .. } => Some(Remarks::Comments),
        Action::Time { started, .. } => Some(Remarks::Worklogs { after: started - EARLIER }),
        Action::Transition { .. } | Action::Assign { .. } | Action::Label { .. } | Action::FixVersion { .. } => None,
    }
}

/// Whether nobody changed it since the account made it.
fn is_untouched(remark: &Remark) -> bool {
    let by = |person: &Person| remark.author.as_ref().is_some_and(|author| author.is(person));
    remark.created.is_some() && remark.created == remark.updated && remark.update_author.as_ref().is_none_or(by)
}

/// What keeps the customer of a service desk from reading a comment.
pub(super) fn internal() -> Value {
    json!({ "key": "sd.public.comment", "value": { "internal": true } })
}

/// The values of the fields that a transition demands, or what is missing.
fn fields(way: &Offered, resolution: Option<&str>) -> Result<Map<String, Value>, String> {
    let mut fields = Map::new();
    for demand in &way.demands {
        let known = |value: &&String| resolution.is_some_and(|wanted| value.to_lowercase() == wanted.to_lowercase());
        match (demand.id.as_str(), demand.values.iter().find(known)) {
            ("resolution", Some(value)) => drop(fields.insert(demand.id.clone(), json!({ "name": value }))),
            _ => return Err(missing(way, demand, resolution)),
        }
    }
    Ok(fields)
}

fn missing(way: &Offered, demand: &Demand, resolution: Option<&str>) -> String {
    let (way, name) = (shown(&way.name), shown(&demand.name));
    let values = demand.values.iter().take(MOST).map(|value| shown(value)).collect::<Vec<_>>().join(", ");
    match (demand.id.as_str(), resolution) {
        ("resolution", None) => format!("{way} demands a resolution; the site's `resolution` names one of {values}"),
        ("resolution", Some(given)) => {
            format!("{way} takes no resolution {}; the site's `resolution` names one of {values}", shown(given))
        }
        ("comment", _) => format!("{way} demands a comment in the same step, which only Jira's own page can give"),
        _ => format!("{way} demands {name}, which a commit message cannot give"),
    }
}

/// Why a word means no transition, with the words that would.
fn unclear(word: &str, issue: &Issue, offered: &[Offered], choice: &Choice<'_>) -> String {
    let (word, key, status) = (shown(word), &issue.key, shown(&issue.status));
    match choice {
        _ if offered.is_empty() => format!("the account may not move {key} from {status}"),
        Choice::Several(ways) => {
            format!("#{word} may mean several things for {key} in {status}: {}", named(ways.iter().copied()))
        }
        _ => format!("#{word} is none of what can be done with {key} in {status}: {}", named(offered)),
    }
}

pub(super) fn shown(text: &str) -> String {
    Untrusted::text(cut(text, 60)).to_string()
}

pub(super) fn refused(because: String) -> Obstacle {
    Obstacle::Refused { because }
}

/// The id of what was made: a text, or a number in places.
pub(super) fn id(made: &Value) -> Option<String> {
    match &made["id"] {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// The most values that a sentence names.
const MOST: usize = 20;

#[cfg(test)]
use crate::sandbox::{Sandbox, SeedIssue, SeedPerson, Settings as Seed};
#[cfg(test)]
mod tests;
