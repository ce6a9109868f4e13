//! Effects that say how an issue is to be: whose it is, which labels it bears, in which version it is fixed.
//!
//! They add nothing that could be there twice, so they bear no mark. Where nobody knows whether one was done, the issue
//! itself tells.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Kind;
use super::effect::{Blind, Deed, Prepared, refused, shown};
use super::outcome::{Attempt, Obstacle, Probe};
use super::platform::{Match, Person, Platform, whose};
use crate::effect::Action;

/// The word for whoever authored the commit, or typed the order.
const ME: &str = "me";

/// Those fields of an issue that can be ordered.
#[derive(Deserialize)]
struct Found {
    id: String,
    key: String,
    fields: Fields,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    assignee: Option<Person>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    fix_versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    name: String,
}

/// What is still to be done to an issue for it to be as it was ordered.
enum Left {
    Nothing { because: String },
    Body(Value),
}

impl Platform {
    /// Reads what an edit takes; there may be nothing to do.
    pub(super) async fn prepare_edit(&self, deed: &Deed<'_>, now: i64) -> Result<Prepared, Attempt> {
        let found = self.editable(deed, now).await?;
        match self.left(deed, &found, now).await? {
            Left::Nothing { because } => Err(Attempt::NoOp { issue_id: found.id, because }),
            Left::Body(body) => Ok(Prepared::edit(found.id, body)),
        }
    }

    /// Tells whether an issue is as it was ordered.
    pub(super) async fn probe_edit(&self, deed: &Deed<'_>, now: i64) -> Result<Probe, Blind> {
        let found = self.editable(deed, now).await?;
        Ok(match self.left(deed, &found, now).await? {
            Left::Nothing { .. } => Probe::Present { remote_id: None },
            Left::Body(_) => Probe::Absent,
        })
    }

    async fn editable(&self, deed: &Deed<'_>, now: i64) -> Result<Found, Obstacle> {
        let query = [("fields", "assignee,labels,fixVersions")];
        match self.get(&["issue", deed.issue], &query, now).await {
            Ok(answer) => Ok(answer.json()?),
            Err(obstacle) => Err(self.doubted(obstacle, now).await),
        }
    }

    async fn left(&self, deed: &Deed<'_>, found: &Found, now: i64) -> Result<Left, Obstacle> {
        let Found { key, fields, .. } = found;
        let nothing = |because: String| Ok(Left::Nothing { because });
        match &deed.effect.action {
            Action::Assign { to } => {
                let person = self.whom(deed, to, now).await?;
                match fields.assignee.as_ref().is_some_and(|assignee| assignee.is(&person)) {
                    true => nothing(format!("{key} is assigned to {} already", shown(person.called()))),
                    false => Ok(Left::Body(json!({ "fields": { "assignee": self.named(&person) } }))),
                }
            }
            Action::Label { labels } => {
                let missing: Vec<_> = labels.iter().filter(|label| !fields.labels.contains(label)).collect();
                let added: Vec<_> = missing.iter().map(|label| json!({ "add": label })).collect();
                match missing.is_empty() {
                    true => nothing(format!("{key} bears {} already", shown(&labels.join(" ")))),
                    false => Ok(Left::Body(json!({ "update": { "labels": added } }))),
                }
            }
            Action::FixVersion { name } => match fields.fix_versions.iter().any(|version| version.name == *name) {
                true => nothing(format!("{key} is fixed in {} already", shown(name))),
                false => Ok(Left::Body(json!({ "update": { "fixVersions": [{ "add": { "name": name } }] } }))),
            },
            Action::Comment { .. } | Action::Time { .. } | Action::Transition { .. } => {
                Err(refused("this changes no field".to_owned()))
            }
        }
    }

    /// Finds who is meant: `me`, an address, or a name as Jira shows it.
    async fn whom(&self, deed: &Deed<'_>, to: &str, now: i64) -> Result<Person, Obstacle> {
        let to = to.trim().trim_start_matches('@');
        let author = String::from_utf8_lossy(&deed.effect.author.email);
        if to == ME {
            let myself = self.myself(now).await?;
            // Jira shows everybody their own address, whatever it hides from others.
            let typed_by_them = self.own && deed.effect.commit.is_empty();
            if typed_by_them || myself.has(&author) {
                return Ok(myself);
            }
        }
        let (word, found) = match to {
            ME => (&*author, self.person(&author, now).await?),
            _ if to.contains('@') => (to, self.person(to, now).await?),
            _ => (to, whose(self.people(to, now).await?, |person| person.is_shown_as(to))),
        };
        let word = shown(word);
        Err(refused(match found {
            Match::One(person) => return Ok(*person),
            Match::Several(many) => format!("{word} may be {many} people; their address tells them apart"),
            Match::Hidden(_) => format!("nobody shows {word}; a name as Jira shows it may do"),
            Match::Nobody => format!("nobody in Jira is {word}"),
        }))
    }

    /// A person as a field names them.
    fn named(&self, person: &Person) -> Value {
        match self.kind {
            Kind::Cloud => json!({ "accountId": person.account_id }),
            Kind::DataCenter => json!({ "name": person.name }),
        }
    }
}
