//! Misbehaviour to order: rules that make the next answers wrong, late, or missing.
//!
//! A rule waits for a request at its door and is used up after `times` requests; the first rule that fits is taken.
//! Only Jira's own addresses can misbehave, the pages and the switchboard always answer truly.
//!
//! ```json
//! [
//!   { "on": "bulk", "times": 1, "act": "apply_then_drop" },
//!   { "on": "add_comment", "issue": "DEMO-1", "times": 1, "act": { "drop_then_apply": { "ms": 200 } } },
//!   { "on": "any", "act": { "rate": { "reason": "jira-burst-based", "retry_after": "2" } } }
//! ]
//! ```

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State as From};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use futures_util::stream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::devinfo::refuse;
use super::door::{Door, issue_of};
use super::garbled::{bomb, broken, filler, noise, trickling, truncated};
use super::line::Cut;
use super::requests::{Counts, Entry};
use super::rest::{Named, Refusal};
use super::state::State;
use super::{App, World};

/// More than this of a request is never kept, whatever the settings say.
const BODY: usize = 64 << 20;
/// What a proxy shows to those it does not know.
const LOGIN: &str = "<!doctype html><title>Log in</title><form method=post><input name=user></form>";

/// One order to misbehave.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    on: Door,
    /// Only requests about this issue, by whatever key or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issue: Option<String>,
    /// How often; for ever if absent.
    #[serde(default)]
    times: Option<u32>,
    act: Act,
}

/// What to do instead of answering properly.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Act {
    /// Answers as told and does nothing.
    Status {
        code: u16,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: String,
        #[serde(default)]
        content_type: Option<String>,
    },
    /// Refuses with 429, as Jira's three limiters do.
    Rate {
        reason: String,
        #[serde(default)]
        retry_after: Option<String>,
        #[serde(default)]
        reset: Option<String>,
    },
    /// Waits, then does what was asked and answers, whether or not the caller is still there.
    Delay { ms: u64 },
    /// Does what was asked and closes the connection without a byte.
    ApplyThenDrop,
    /// Closes the connection without a byte, and does what was asked so much later, or when it is released.
    DropThenApply {
        #[serde(default)]
        ms: Option<u64>,
    },
    /// Closes the connection without a byte, having done nothing.
    Drop,
    /// Does what was asked and breaks off inside the answer's body.
    Truncate { bytes: usize },
    /// Does what was asked and lets the answer's body drip.
    Trickle { bytes_per_second: u32 },
    /// Claims to send JSON and sends noise.
    Garbage,
    /// Sends a page for people to sign in, as a proxy does.
    HtmlLogin,
    /// Sends a body of that many bytes.
    Huge { bytes: usize },
    /// Sends little that unpacks to a lot.
    GzipBomb,
    /// Sends the caller elsewhere.
    Redirect { to: String, code: u16 },
    /// Accepts the request but for these entities.
    FailEntities { ids: Vec<String>, message: String },
}

/// Entities that one submission must report as failed.
#[derive(Clone, Default)]
pub(super) struct Doomed {
    pub(super) ids: Vec<String>,
    pub(super) message: String,
}

impl Act {
    fn name(&self) -> String {
        match json!(self) {
            Value::Object(act) => act.keys().next().cloned().unwrap_or_default(),
            name => name.as_str().unwrap_or_default().to_owned(),
        }
    }
}

/// Takes the first rule that fits, and removes it once it is used up.
fn take(rules: &mut Vec<Rule>, state: &State, door: Door, path: &str) -> Option<Act> {
    let about = issue_of(path).and_then(|issue| state.find(issue));
    let concerns = |rule: &Rule| match &rule.issue {
        Some(issue) => about.is_some() && state.find(issue) == about,
        None => true,
    };
    let fits = |rule: &Rule| rule.on.covers(door) && concerns(rule) && rule.times != Some(0);
    let at = rules.iter().position(fits)?;
    let act = rules[at].act.clone();
    if let Some(times) = &mut rules[at].times {
        *times -= 1;
        if *times == 0 {
            rules.remove(at);
        }
    }
    Some(act)
}

/// Lets a request through to Jira, or does to it what a rule says; either way it is logged.
pub(super) async fn misbehave(From(app): From<App>, request: Request, next: Next) -> Response {
    let Some(door) = Door::of(request.method(), request.uri().path()) else {
        return next.run(request).await;
    };
    let (parts, body) = request.into_parts();
    // The whole request is read first: a refusal in the middle of it would reset the connection instead of being heard.
    let Some((body, length)) = receive(body).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let cut = parts.extensions.get::<ConnectInfo<Cut>>().map(|ConnectInfo(cut)| cut.clone());
    let request = Request::from_parts(parts, Body::from(body.clone()));
    // A task of its own, as a caller who hangs up does not undo what was asked: it may well take place afterwards.
    match tokio::spawn(answer(app, door, request, body, length, next)).await {
        Ok(Some(answer)) => answer,
        Ok(None) => hang_up(cut),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn answer(
    app: App,
    door: Door,
    mut request: Request,
    body: Bytes,
    length: usize,
    next: Next,
) -> Option<Response> {
    let (act, most, at) = {
        let (mut world, now) = app.enter();
        let World { rules, state, tuning, .. } = &mut *world;
        (take(rules, state, door, request.uri().path()), tuning.max_body_bytes, now)
    };
    let mut entry = Entry {
        number: 0,
        at,
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().map(str::to_owned),
        status: None,
        applied: None,
        caller: None,
        fault: act.as_ref().map(Act::name),
        bytes: length,
        counts: if door == Door::Bulk { Counts::of(&body) } else { Counts::default() },
    };
    if let Some(Act::FailEntities { ids, message }) = &act {
        request.extensions_mut().insert(Doomed { ids: ids.clone(), message: message.clone() });
    }
    let asked = app.clone();
    let proper = async move {
        if length > most.min(BODY) {
            return refuse_as(door, StatusCode::PAYLOAD_TOO_LARGE, "the data is too large, submit fewer entities");
        }
        match too_fast(&asked, door, request.uri().path()) {
            Some(refusal) => refusal,
            None => next.run(request).await,
        }
    };
    let answer = match act {
        Some(Act::ApplyThenDrop) => {
            entry.applied = Some(proper.await.status().as_u16());
            None
        }
        Some(Act::DropThenApply { ms }) => {
            let number = app.enter().0.log.add(entry);
            tokio::spawn(later(app, ms, proper, number));
            return None;
        }
        Some(act) => act.perform(door, is_data_center(&entry.path), proper).await,
        None => Some(proper.await),
    };
    let answer = answer.map(|answer| dated(answer, app.enter().1));
    entry.status = answer.as_ref().map(|answer| answer.status().as_u16());
    entry.caller = answer.as_ref().and_then(|answer| answer.extensions().get()).map(|Named(name)| name.clone());
    app.enter().0.log.add(entry);
    answer
}

/// Refuses a write to an issue that Cloud finds written to too often.
fn too_fast(app: &App, door: Door, path: &str) -> Option<Response> {
    if !door.writes() || is_data_center(path) {
        return None;
    }
    let (mut world, now) = app.enter();
    let World { state, tuning, pace, .. } = &mut *world;
    let key = state.find(issue_of(path)?).filter(|_| tuning.paced)?;
    let seconds = pace.count(state.issues[&key].id, now).err()?;
    Some(limited(door, "jira-per-issue-on-write".into(), Some(seconds.to_string()), None))
}

fn is_data_center(path: &str) -> bool {
    path.starts_with("/rest/api/2/")
}

/// Says what time it is here: not always what it is elsewhere.
fn dated(mut answer: Response, now: Timestamp) -> Response {
    let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if !answer.headers().contains_key(header::DATE) {
        put(answer.headers_mut(), [("date".to_owned(), date)]);
    }
    answer
}

/// Does what was asked of a caller who is long gone: after a time, or when the switchboard releases it.
fn later(app: App, ms: Option<u64>, proper: impl Future<Output = Response>, number: u64) -> impl Future<Output = ()> {
    // From now on, not from when this is first looked at: a release that comes at once counts.
    let mut released = app.releases.subscribe();
    async move {
        match ms {
            Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            None => drop(released.changed().await),
        }
        let status = proper.await.status().as_u16();
        app.enter().0.log.applied(number, status);
    }
}

impl Act {
    /// Answers in the wrong way; nothing at all means that the connection is to be closed.
    async fn perform(self, door: Door, data_center: bool, proper: impl Future<Output = Response>) -> Option<Response> {
        let fine = door.success();
        let json = [(header::CONTENT_TYPE, "application/json")];
        Some(match self {
            Act::Drop | Act::ApplyThenDrop | Act::DropThenApply { .. } => return None,
            Act::FailEntities { .. } => proper.await,
            Act::Delay { ms } => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                proper.await
            }
            Act::Truncate { bytes } => truncated(proper.await, bytes).await,
            Act::Trickle { bytes_per_second } => trickling(proper.await, bytes_per_second).await,
            Act::Status { code, headers, body, content_type } => {
                let mut answer = (status(code), body).into_response();
                put(answer.headers_mut(), headers);
                put(answer.headers_mut(), content_type.map(|kind| ("content-type".to_owned(), kind)));
                answer
            }
            Act::Rate { retry_after, .. } if data_center => empty_bucket(retry_after),
            Act::Rate { reason, retry_after, reset } => limited(door, reason, retry_after, reset),
            Act::Garbage => (fine, json, noise()).into_response(),
            Act::HtmlLogin => Html(LOGIN).into_response(),
            Act::Huge { bytes } => (fine, json, Body::from_stream(filler(bytes))).into_response(),
            Act::GzipBomb => {
                let member = Bytes::from(bomb());
                let members = stream::iter((0..128).map(move |_| Ok::<_, Infallible>(member.clone())));
                let packed = [(header::CONTENT_ENCODING, "gzip")];
                (fine, json, packed, Body::from_stream(members)).into_response()
            }
            Act::Redirect { to, code } => {
                let mut answer = status(code).into_response();
                put(answer.headers_mut(), [("location".to_owned(), to)]);
                answer
            }
        })
    }
}

/// Reads a request to its end, and gives what was kept of it and its true length.
async fn receive(body: Body) -> Option<(Bytes, usize)> {
    let mut chunks = body.into_data_stream();
    let (mut kept, mut length) = (Vec::new(), 0);
    while let Some(chunk) = stream::StreamExt::next(&mut chunks).await {
        let chunk = chunk.ok()?;
        length += chunk.len();
        if length <= BODY {
            kept.extend_from_slice(&chunk);
        }
    }
    Some((kept.into(), length))
}

/// Gives an answer that will not arrive.
fn hang_up(cut: Option<Cut>) -> Response {
    if let Some(cut) = cut {
        cut.make();
    }
    Body::from_stream(stream::iter([Err::<Bytes, _>(broken())])).into_response()
}

/// Refuses as Jira's limiters do; the headers that tell how long to wait come only if ordered.
fn limited(door: Door, reason: String, retry_after: Option<String>, reset: Option<String>) -> Response {
    let mut answer = refuse_as(door, StatusCode::TOO_MANY_REQUESTS, "rate limit exceeded");
    let headers = [
        ("ratelimit-reason", Some(reason)),
        ("x-ratelimit-limit", Some("100".into())),
        ("x-ratelimit-remaining", Some("0".into())),
        ("x-ratelimit-nearlimit", Some("true".into())),
        ("retry-after", retry_after),
        ("x-ratelimit-reset", reset),
    ];
    let headers = headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    put(answer.headers_mut(), headers);
    answer
}

/// Refuses as Data Center does, whose one limiter is a bucket that is filled again bit by bit.
fn empty_bucket(retry_after: Option<String>) -> Response {
    let mut answer = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded.").into_response();
    let headers = [
        ("x-ratelimit-limit", Some("60".to_owned())),
        ("x-ratelimit-remaining", Some("0".into())),
        ("x-ratelimit-interval-seconds", Some("60".into())),
        ("x-ratelimit-fillrate", Some("60".into())),
        ("retry-after", retry_after),
    ];
    put(answer.headers_mut(), headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    answer
}

/// Refuses in the words of the API behind a door.
fn refuse_as(door: Door, status: StatusCode, message: &str) -> Response {
    if door.is_platform() { Refusal::new(status, message).into_response() } else { refuse(status, message) }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn put(into: &mut HeaderMap, headers: impl IntoIterator<Item = (String, String)>) {
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            into.insert(name, value);
        }
    }
}
