//! Worklogs: who worked how long on an issue, and what that leaves of its estimate.

use axum::Router;
use axum::extract::{Path, State as From};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::comments::{LONGEST, Properties, full, read_properties, read_text, show_properties};
use super::permissions::Permission;
use super::rest::{Answer, Caller, Expand, Flavour, OfIssue, OnIssue, Page, Refusal, Sent, stamp};
use super::state::State;
use super::{App, adf};
use crate::request::{Json, Query, delete, get, post};

/// Entries a page holds at most.
const PAGE: usize = 5_000;
/// Seconds of one entry; nobody works for three hundred years.
const MOST: u64 = 10_000_000_000;

/// One entry of work.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Worklog {
    pub(super) id: u64,
    /// The name of a person.
    pub(super) author: String,
    /// A document, a string of wiki markup, or nothing.
    pub(super) comment: Value,
    pub(super) started: Timestamp,
    pub(super) seconds: u64,
    pub(super) created: Timestamp,
    #[serde(default)]
    pub(super) properties: Properties,
    /// Whether watchers got a mail.
    pub(super) notified: bool,
    /// The commit that made Jira do this by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) commit: Option<String>,
}

/// What somebody wants to log.
pub(super) struct Draft {
    pub(super) comment: Value,
    pub(super) started: Timestamp,
    pub(super) seconds: u64,
    pub(super) properties: Properties,
    pub(super) notified: bool,
    pub(super) commit: Option<String>,
    pub(super) estimate: Estimate,
}

/// What becomes of the estimate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Estimate {
    Auto,
    Leave,
    New(u64),
    Less(u64),
    More(u64),
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Adjust {
    adjust_estimate: Option<String>,
    new_estimate: Option<String>,
    reduce_by: Option<String>,
    increase_by: Option<String>,
    notify_users: Option<bool>,
}

impl State {
    /// Logs work on an issue, within the limits, whoever may do so there.
    pub(super) fn add_worklog(
        &mut self,
        key: &str,
        author: &str,
        draft: Draft,
        now: Timestamp,
    ) -> Result<u64, Refusal> {
        if !self.time.enabled {
            return Err(Refusal::bad("Time Tracking is not enabled."));
        }
        if adf::as_text(&draft.comment).chars().count() > LONGEST {
            return Err(Refusal::field("comment", format!("The text exceeds the limit of {LONGEST} characters.")));
        }
        if draft.seconds > MOST {
            return Err(Refusal::field("timeLogged", "Invalid time duration entered."));
        }
        let id = self.take_id();
        let most = self.limits.worklogs;
        let issue = self.issues.get_mut(key).expect("the key was looked up");
        if issue.worklogs.len() >= most {
            return Err(full("worklogs", most));
        }
        issue.updated = now;
        issue.remaining_seconds = left(issue.remaining_seconds, draft.estimate, draft.seconds as i64);
        issue.worklogs.push(Worklog {
            id,
            author: author.to_owned(),
            comment: draft.comment,
            started: draft.started,
            seconds: draft.seconds,
            created: now,
            properties: draft.properties,
            notified: draft.notified,
            commit: draft.commit,
        });
        Ok(id)
    }

    fn show_worklog(&self, key: &str, worklog: &Worklog, caller: &Caller, properties: bool) -> Value {
        let issue = self.issues[key].id;
        let author = self.show_person(&worklog.author, caller);
        let mut shown = json!({
            "self": format!("{}/issue/{issue}/worklog/{}", caller.root, worklog.id),
            "id": worklog.id.to_string(), "issueId": issue.to_string(), "author": author, "updateAuthor": author,
            "created": stamp(worklog.created), "updated": stamp(worklog.created), "started": stamp(worklog.started),
            "timeSpent": self.time.pretty(worklog.seconds), "timeSpentSeconds": worklog.seconds,
        });
        if !caller.is_cloud() {
            shown["comment"] = json!(adf::as_text(&worklog.comment));
        } else if !worklog.comment.is_null() {
            shown["comment"] = adf::as_document(&worklog.comment);
        }
        if properties && caller.is_cloud() {
            shown["properties"] = show_properties(&worklog.properties);
        }
        shown
    }

    /// Shows a page of worklogs.
    pub(super) fn show_worklogs(
        &self,
        worklogs: Vec<&Worklog>,
        key: &str,
        caller: &Caller,
        page: Page,
        properties: bool,
    ) -> Value {
        let total = worklogs.len();
        let (start, size, worklogs) = page.of(worklogs, PAGE, PAGE);
        let worklogs: Vec<_> =
            worklogs.into_iter().map(|worklog| self.show_worklog(key, worklog, caller, properties)).collect();
        json!({ "startAt": start, "maxResults": size, "total": total, "worklogs": worklogs })
    }

    fn worklog(&self, key: &str, id: &str) -> Result<usize, Refusal> {
        let at = self.issues[key].worklogs.iter().position(|worklog| worklog.id.to_string() == id);
        at.ok_or_else(|| Refusal::not_found(format!("Cannot find worklog with id: '{id}'.")))
    }
}

impl Adjust {
    fn read(&self, state: &State, remove: bool) -> Result<Estimate, Refusal> {
        let span = |text: &Option<String>, field: &str| {
            let seconds = text.as_deref().and_then(|text| state.time.seconds(text));
            seconds.ok_or_else(|| Refusal::field(field, "You must specify a valid time duration."))
        };
        match self.adjust_estimate.as_deref() {
            None | Some("auto") => Ok(Estimate::Auto),
            Some("leave") => Ok(Estimate::Leave),
            Some("new") => span(&self.new_estimate, "newEstimate").map(Estimate::New),
            Some("manual") if remove => span(&self.increase_by, "increaseBy").map(Estimate::More),
            Some("manual") => span(&self.reduce_by, "reduceBy").map(Estimate::Less),
            Some(other) => Err(Refusal::field("adjustEstimate", format!("'{other}' is not a valid option."))),
        }
    }
}

/// What is left of an estimate once so much was worked; less than nothing was worked where an entry was deleted.
fn left(remaining: Option<u64>, estimate: Estimate, worked: i64) -> Option<u64> {
    match estimate {
        Estimate::Auto => remaining.map(|left| left.saturating_add_signed(-worked)),
        Estimate::Leave => remaining,
        Estimate::New(seconds) => Some(seconds),
        Estimate::Less(seconds) => Some(remaining.unwrap_or_default().saturating_sub(seconds)),
        Estimate::More(seconds) => Some(remaining.unwrap_or_default().saturating_add(seconds)),
    }
}

/// Reads `started`, for which only one of the many ways to write a moment will do.
fn read_started(text: &str) -> Option<Timestamp> {
    let pattern = b"0000-00-00T00:00:00.000+0000";
    let fits = |(at, (byte, shape)): (usize, (u8, &u8))| match shape {
        b'0' => byte.is_ascii_digit(),
        b'+' if at > 20 => matches!(byte, b'+' | b'-'),
        shape => byte == *shape,
    };
    let shaped = text.len() == pattern.len() && text.bytes().zip(pattern).enumerate().all(fits);
    let (moment, minutes) = shaped.then(|| text.split_at(26))?;
    format!("{moment}:{minutes}").parse().ok()
}

/// Gives the routes to worklogs.
pub(super) fn routes(flavour: Flavour) -> Router<App> {
    let router = Router::new()
        .route("/issue/{issue}/worklog", get(list).merge(post(create)))
        .route("/issue/{issue}/worklog/{id}", get(one).merge(delete(remove)));
    match flavour {
        Flavour::Cloud => router.route("/issue/{issue}/worklog/{id}/properties/{property}", get(property)),
        Flavour::DataCenter => router,
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Between {
    started_after: Option<i64>,
    started_before: Option<i64>,
}

async fn list(
    From(app): From<App>,
    caller: Caller,
    Path(OfIssue { issue }): Path<OfIssue>,
    Query(page): Query<Page>,
    Query(between): Query<Between>,
    Query(expand): Query<Expand>,
) -> Answer {
    let (world, _) = app.enter();
    let state = &world.state;
    let key = state.visible(&caller, &issue)?;
    let within = |worklog: &&Worklog| {
        let started = worklog.started.as_millisecond();
        !caller.is_cloud()
            || between.started_after.is_none_or(|after| after < started)
                && between.started_before.is_none_or(|before| started < before)
    };
    let worklogs = state.issues[&key].worklogs.iter().filter(within).collect();
    // Data Center gives all there are.
    let page = if caller.is_cloud() { page } else { Page::default() };
    let properties = expand.has("properties") && world.tuning.worklog_properties;
    Ok(Json(state.show_worklogs(worklogs, &key, &caller, page, properties)).into_response())
}

async fn create(
    From(app): From<App>,
    caller: Caller,
    Path(OfIssue { issue }): Path<OfIssue>,
    Query(adjust): Query<Adjust>,
    Query(expand): Query<Expand>,
    Sent(sent): Sent,
) -> Answer {
    let (mut world, now) = app.change();
    // Data Center has no such field, and passes over what it does not know.
    let kept = world.tuning.keeps_properties && caller.is_cloud();
    let state = &mut world.state;
    let key = state.open_to(&caller, &issue, Permission::Work)?;
    let draft = Draft {
        comment: read_text(&caller, &sent["comment"])?,
        started: started(&caller, &sent["started"], now)?,
        seconds: spent(state, &sent)?,
        properties: if kept { read_properties(&sent["properties"])? } else { Properties::new() },
        notified: !caller.is_cloud() || adjust.notify_users.unwrap_or(true),
        commit: None,
        estimate: adjust.read(state, false)?,
    };
    state.add_worklog(&key, caller.person()?, draft, now)?;
    let worklog = state.issues[&key].worklogs.last().expect("it was just added");
    let shown = state.show_worklog(&key, worklog, &caller, expand.has("properties"));
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// Reads how long it took, which is said in one of two ways.
fn spent(state: &State, sent: &Value) -> Result<u64, Refusal> {
    let wrong = |message: &str| Refusal::field("timeLogged", message);
    match (&sent["timeSpent"], &sent["timeSpentSeconds"]) {
        (Value::String(text), Value::Null) => {
            state.time.seconds(text).ok_or_else(|| wrong("Invalid time duration entered."))
        }
        (Value::Null, seconds @ Value::Number(_)) => {
            let enough = seconds.as_u64().filter(|seconds| *seconds >= 60);
            enough.ok_or_else(|| wrong("You must indicate the time spent working, at least a minute."))
        }
        (Value::Null, Value::Null) => Err(wrong("You must indicate the time spent working.")),
        _ => Err(wrong("Give either timeSpent or timeSpentSeconds, not both.")),
    }
}

fn started(caller: &Caller, given: &Value, now: Timestamp) -> Result<Timestamp, Refusal> {
    let form = "yyyy-MM-dd'T'HH:mm:ss.SSSZ";
    let wrong =
        || Refusal::field("started", format!("Invalid date format. Please enter the date in the format \"{form}\"."));
    match given {
        Value::Null if !caller.is_cloud() => Ok(now),
        Value::String(text) => read_started(text).ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

async fn one(
    From(app): From<App>,
    caller: Caller,
    Path(OnIssue { issue, id }): Path<OnIssue>,
    Query(expand): Query<Expand>,
) -> Answer {
    let (world, _) = app.enter();
    let key = world.state.visible(&caller, &issue)?;
    let at = world.state.worklog(&key, &id)?;
    let worklog = &world.state.issues[&key].worklogs[at];
    Ok(Json(world.state.show_worklog(&key, worklog, &caller, expand.has("properties"))).into_response())
}

async fn remove(
    From(app): From<App>,
    caller: Caller,
    Path(OnIssue { issue, id }): Path<OnIssue>,
    Query(adjust): Query<Adjust>,
) -> Answer {
    let (mut world, now) = app.change();
    let state = &mut world.state;
    let key = state.visible(&caller, &issue)?;
    let at = state.worklog(&key, &id)?;
    state.own(&caller, &key, &state.issues[&key].worklogs[at].author, Permission::DeleteOwnWorklogs)?;
    let estimate = adjust.read(state, true)?;
    let issue = state.issues.get_mut(&key).expect("it was just found");
    let worklog = issue.worklogs.remove(at);
    issue.remaining_seconds = left(issue.remaining_seconds, estimate, -(worklog.seconds as i64));
    issue.updated = now;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
struct OfWorklog {
    issue: String,
    id: String,
    property: String,
}

async fn property(
    From(app): From<App>,
    caller: Caller,
    Path(OfWorklog { issue, id, property }): Path<OfWorklog>,
) -> Answer {
    let (world, _) = app.enter();
    let key = world.state.visible(&caller, &issue)?;
    let at = world.state.worklog(&key, &id)?;
    match world.state.issues[&key].worklogs[at].properties.get(&property) {
        Some(value) => Ok(Json(json!({ "key": property, "value": value })).into_response()),
        None => Err(Refusal::not_found(format!("The property {property} does not exist."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_written_in_one_way_only() {
        let read = |text| read_started(text).map(Timestamp::as_millisecond);
        assert_eq!(read("2024-01-01T09:00:00.000+0000"), Some(1_704_099_600_000));
        assert_eq!(read("2024-01-01T09:00:00.250-0130"), Some(1_704_105_000_250));
        for refused in [
            "2024-01-01T09:00:00.000Z",
            "2024-01-01T09:00:00.000+00:00",
            "2024-01-01T09:00:00+0000",
            "2024-01-01T09:00:00.000000+0000",
            "2024-13-01T09:00:00.000+0000",
            "2024-01-01",
        ] {
            assert_eq!(read(refused), None, "{refused}");
        }
    }
}
