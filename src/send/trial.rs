//! A trial on a real issue: which ways of finding a mark again work at a site.
//!
//! It writes one comment or one minute of work, reads it back each way there is, and deletes it again, whatever happens
//! in between. What it cannot delete it says.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::effect::{Blind, id, internal};
use super::outcome::{Obstacle, Outcome, of_writing};
use super::platform::{Issue, Platform, Remark, Remarks, write_moment};
use super::wording::Saying;
use super::{Kind, Marker, marker};
use crate::queue::{Marked, Way};

/// What a trial of one kind of thing found out.
#[derive(Debug)]
pub struct Trial {
    pub what: Marked,
    /// Each way that was looked at: whether it works, or why that is not known.
    pub ways: Vec<(Way, Result<bool, String>)>,
    /// Why there was nothing to look at.
    pub failed: Option<String>,
    pub left: Option<Left>,
}

/// What could not be deleted.
#[derive(Debug)]
pub struct Left {
    /// What Jira calls it; none where it is not even known whether it is there.
    pub id: Option<String>,
    pub because: String,
}

/// What an issue's history shows of moves by the account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    pub marked: usize,
    pub unmarked: usize,
}

/// How long an answer to what is written is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a deletion is tried.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// How far back an issue's history is looked at, in milliseconds.
const HISTORY: i64 = 30 * 86_400_000;

const TEXT: &str =
    "git-jira-agent tries how this site keeps the marks by which nothing is done twice. This is deleted at once.";

impl Trial {
    /// The way to use: the first that works. A word in the text is the last resort, once all others have failed for sure.
    pub fn way(&self) -> Option<Way> {
        let works = |(way, result): &(Way, Result<bool, String>)| (*result == Ok(true)).then_some(*way);
        match self.ways.iter().find_map(works)? {
            Way::Text if self.ways.iter().any(|(_, result)| result.is_err()) => None,
            way => Some(way),
        }
    }
}

impl Platform {
    /// Writes something marked to an issue, reads it back each way, and deletes it.
    pub async fn try_marks(&self, issue: &Issue, what: Marked, now: i64) -> Trial {
        let which = match what {
            Marked::Comment => Remarks::Comments,
            Marked::Worklog => Remarks::Worklogs { after: now - 60_000 },
        };
        let mut trial = Trial { what, ways: Vec::new(), failed: None, left: None };
        // A key of its own: what it marks is never taken for an effect.
        let key = uuid::Uuid::now_v7();
        let marker = Marker::new(&format!("trial-{key}"), uuid::Uuid::now_v7().as_bytes());
        let id = match self.made(issue, which, &marker, now).await {
            Ok(id) => id,
            Err(Unmade::Not(because)) => {
                trial.failed = Some(because);
                return trial;
            }
            Err(Unmade::Unsure(because)) => {
                trial.failed = Some(because.clone());
                trial.left = Some(Left { id: None, because });
                return trial;
            }
        };
        self.look(issue, which, &id, &marker, &mut trial, now).await;
        trial.left = self.taken_back(issue, which, &id, now).await.err().map(|because| Left { id: Some(id), because });
        trial
    }

    /// Looks at what the account did to an issue's status lately, and whether its marks are there.
    pub async fn moves(&self, issue: &Issue, now: i64) -> Result<Moves, Obstacle> {
        let me = self.myself(now).await?;
        let changes = self.changes_since(&issue.id, now - HISTORY, now).await.map_err(Blind::into_obstacle)?;
        let own = changes.iter().filter(|change| change.author.as_ref().is_some_and(|author| author.is(&me)));
        let moved = own.filter(|change| change.items.iter().any(|item| item.field == "status"));
        let (marked, unmarked): (Vec<_>, Vec<_>) =
            moved.partition(|change| change.history_metadata["type"] == marker::NAME);
        Ok(Moves { marked: marked.len(), unmarked: unmarked.len() })
    }

    async fn made(&self, issue: &Issue, which: Remarks, marker: &Marker, now: i64) -> Result<String, Unmade> {
        let said = self.form(&Saying { text: TEXT.to_owned(), last: Some(format!("({})", marker.token())) });
        let properties = [Some(marker.property()), issue.service_desk.then(internal)];
        let properties: Vec<_> = properties.into_iter().flatten().collect();
        let (body, query): (_, &[(&str, &str)]) = match which {
            Remarks::Comments => (json!({ "body": said, "properties": properties }), &[]),
            Remarks::Worklogs { .. } => {
                let mut body = json!({ "comment": said, "timeSpent": "1m", "started": write_moment(now, 0) });
                if self.kind == Kind::Cloud {
                    body["properties"] = json!([marker.property()]);
                    (body, &[("adjustEstimate", "leave"), ("notifyUsers", "false")])
                } else {
                    (body, ESTIMATE)
                }
            }
        };
        let path = ["issue", &issue.id, which.path()];
        let exchange = match self.change(Method::POST, &path, query, &body, PATIENCE, now).await {
            Ok(exchange) => exchange,
            Err(obstacle) => return Err(Unmade::Not(obstacle.because().to_owned())),
        };
        let because = match of_writing(&exchange, now) {
            Outcome::Stopped(obstacle) => return Err(Unmade::Not(obstacle.because().to_owned())),
            Outcome::Done(made) => match id(&made) {
                Some(id) => return Ok(id),
                None => "Jira did not say what was made".to_owned(),
            },
            Outcome::Ambiguous { because } => because,
        };
        // It may be there all the same; then it can be tried, and has to be deleted.
        let found = self.listed(&issue.id, which, now, now).await;
        let found = found.ok().into_iter().flatten().find(|remark| marker.is_in(&remark.comment.to_string()));
        found.map(|remark| remark.id).ok_or(Unmade::Unsure(because))
    }

    async fn look(&self, issue: &Issue, which: Remarks, id: &str, marker: &Marker, trial: &mut Trial, now: i64) {
        let bears = |remark: &Remark| {
            let properties = remark.properties.iter().flatten();
            properties.into_iter().any(|own| own.key == marker::NAME && marker.is(&own.value))
        };
        let why = |obstacle: Obstacle| obstacle.because().to_owned();
        let listed = self.listed(&issue.id, which, now, now).await.map_err(|blind| why(blind.into_obstacle()));
        let listed = listed.and_then(|all| {
            all.into_iter().find(|remark| remark.id == id).ok_or_else(|| "the list does not show it".to_owned())
        });
        let cloud = self.kind == Kind::Cloud;
        if cloud || trial.what == Marked::Comment {
            trial.ways.push((Way::List, listed.as_ref().map(bears).map_err(Clone::clone)));
            if cloud && trial.what == Marked::Comment {
                let found = self.by_ids(&[id], now).await.map(|found| found.iter().any(bears));
                // Whoever does not know the question has no such way.
                let found = if let Err(Obstacle::Refused { .. }) = found { Ok(false) } else { found };
                trial.ways.push((Way::Ids, found.map_err(why)));
            }
            let value = self.property(&issue.id, which, id, now).await;
            trial.ways.push((Way::Property, value.map(|value| marker.is(&value)).map_err(why)));
        }
        trial.ways.push((Way::Text, listed.map(|remark| marker.is_in(&remark.comment.to_string()))));
    }

    /// Deletes what was made; fails where it may still be there.
    async fn taken_back(&self, issue: &Issue, which: Remarks, id: &str, now: i64) -> Result<(), String> {
        let mut because = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let query = if which == Remarks::Comments { &[][..] } else { ESTIMATE };
            match self.delete(&issue.id, which, id, query, now).await {
                Ok(()) => return Ok(()),
                Err(obstacle) => obstacle.because().clone_into(&mut because),
            }
            // An answer that got lost may have been that it is done.
            let listed = self.listed(&issue.id, which, now, now).await;
            if listed.is_ok_and(|all| all.iter().all(|remark| remark.id != id)) {
                return Ok(());
            }
        }
        Err(because)
    }
}

/// A minute that is taken back leaves what is estimated alone.
const ESTIMATE: &[(&str, &str)] = &[("adjustEstimate", "leave")];

/// Why nothing was made.
enum Unmade {
    Not(String),
    /// It may be there, but cannot be found.
    Unsure(String),
}
