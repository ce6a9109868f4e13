//! Jira's development information API under the address that on-premise credentials use.
//!
//! An answer speaks of the shape of what was sent. Whether something is stored, replaced or ignored shows only later,
//! in a read or on the pages: that is how the real one behaves, and what a sender must be able to live with.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::App;
use super::fault::Doomed;
use super::shape::{self, elements};
use super::state::{self, Change, Entity, Incoming, Kind, Submission};
use crate::request::{Json, Query, delete, get, post};

/// Gives the routes, each behind a token and the right site.
pub(super) fn routes(app: &App) -> Router<App> {
    const BASE: &str = "/jira/devinfo/0.1/cloud/{cloud}";
    Router::new()
        .route(&format!("{BASE}/bulk"), post(bulk))
        .route(&format!("{BASE}/repository/{{repository}}"), get(read).merge(delete(remove_repository)))
        .route(&format!("{BASE}/repository/{{repository}}/{{kind}}/{{id}}"), delete(remove_entity))
        .route(&format!("{BASE}/existsByProperties"), get(exists))
        .route(&format!("{BASE}/bulkByProperties"), delete(remove_matching))
        .route_layer(middleware::from_fn_with_state(app.clone(), admit))
}

/// Refuses a request in the words of this API.
pub(super) fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "errorMessages": [{ "message": message }] }))).into_response()
}

#[derive(Deserialize)]
struct Upto {
    #[serde(rename = "_updateSequenceId")]
    upto: Option<i64>,
}

async fn admit(
    State(app): State<App>,
    Path(path): Path<HashMap<String, String>>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    {
        let (world, now) = app.enter();
        let until = token.and_then(|token| world.tokens.get(token));
        if until.is_none_or(|until| *until <= now) {
            let body = Json(json!({ "code": 401, "message": "Unauthorized" }));
            return (StatusCode::UNAUTHORIZED, body).into_response();
        }
        if path.get("cloud") != Some(&world.cloud_id) {
            return refuse(StatusCode::NOT_FOUND, "no site has this cloud id");
        }
    }
    next.run(request).await
}

async fn bulk(State(app): State<App>, doomed: Option<Extension<Doomed>>, headers: HeaderMap, body: Bytes) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/json") {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type is not application/json");
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return refuse(StatusCode::BAD_REQUEST, "the body is not JSON");
    };
    let doomed = doomed.map(|Extension(doomed)| doomed).unwrap_or_default();
    let (mut world, now) = app.enter();
    match accept(&world.state, &body, &doomed, now) {
        Ok((submission, answer)) => {
            world.plan(Change::Store(submission), now);
            (StatusCode::ACCEPTED, Json(answer)).into_response()
        }
        Err(refusal) => refuse(StatusCode::BAD_REQUEST, &refusal),
    }
}

async fn read(State(app): State<App>, Path((_, id)): Path<(String, String)>) -> Response {
    match app.enter().0.state.repositories.get(&id) {
        Some(repository) => Json(repository.answer()).into_response(),
        None => refuse(StatusCode::NOT_FOUND, "no data found for the given repository id"),
    }
}

async fn remove_repository(
    State(app): State<App>,
    Path((_, id)): Path<(String, String)>,
    Query(Upto { upto }): Query<Upto>,
) -> StatusCode {
    app.plan(Change::RemoveRepository { id, upto });
    StatusCode::ACCEPTED
}

async fn remove_entity(
    State(app): State<App>,
    Path((_, repository, kind, id)): Path<(String, String, String, String)>,
    Query(Upto { upto }): Query<Upto>,
) -> Response {
    let Some(kind) = Kind::ALL.into_iter().find(|known| known.singular() == kind) else {
        return refuse(StatusCode::BAD_REQUEST, "the entity type must be one of commit, branch, pull_request");
    };
    app.plan(Change::RemoveEntity { repository, kind, id, upto });
    StatusCode::ACCEPTED.into_response()
}

async fn exists(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    match properties(query.as_deref()) {
        Ok((properties, upto)) => {
            let found = app.enter().0.state.exists(&properties, upto);
            Json(json!({ "hasDataMatchingProperties": found })).into_response()
        }
        Err(refusal) => refuse(StatusCode::BAD_REQUEST, &refusal),
    }
}

async fn remove_matching(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    match properties(query.as_deref()) {
        Ok((properties, _)) => {
            app.plan(Change::RemoveMatching { properties });
            StatusCode::ACCEPTED.into_response()
        }
        Err(refusal) => refuse(StatusCode::BAD_REQUEST, &refusal),
    }
}

/// Reads properties out of a query: at least one, none twice, and the number that stands among them.
fn properties(query: Option<&str>) -> Result<(BTreeMap<String, String>, Option<i64>), String> {
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(query.unwrap_or_default()).map_err(|error| error.to_string())?;
    let mut properties = BTreeMap::new();
    for (key, value) in pairs {
        if properties.contains_key(&key) {
            return Err(format!("property {key} is specified more than once"));
        }
        properties.insert(key, value);
    }
    let upto = properties.remove("_updateSequenceId").map(|number| number.parse());
    let upto = upto.transpose().map_err(|_| "_updateSequenceId is not numeric")?;
    if properties.is_empty() {
        return Err("no properties were specified".into());
    }
    Ok((properties, upto))
}

/// Sorts a request into what is stored later and what is answered now.
fn accept(
    state: &state::State,
    body: &Value,
    doomed: &Doomed,
    now: Timestamp,
) -> Result<(Submission, Value), shape::Refusal> {
    let mut submission = Submission {
        properties: texts(&body["properties"]),
        fires: body["preventTransitions"] != true,
        repositories: Vec::new(),
    };
    let mut verdict = Verdict::default();
    for repository in shape::repositories(body)? {
        let id = text(repository, "id");
        let complaints = shape::repository(repository)?;
        let usable = complaints.is_empty();
        if !usable {
            verdict.fail_repository(&id, &complaints);
        }
        let mut entities = Vec::new();
        for (kind, entity) in entities_of(repository) {
            let mut complaints = shape::entity(kind, entity)?;
            let entity_id = text(entity, "id");
            complaints.extend(doomed.ids.contains(&entity_id).then(|| doomed.message.clone()));
            if usable && complaints.is_empty() {
                verdict.accept(&id, kind, &entity_id);
                verdict.unknown(state, entity);
                entities.extend(linked(state, entity, now).map(|linked| (kind, entity_id, linked)));
            } else if usable {
                verdict.fail(&id, kind, &entity_id, &complaints);
            }
        }
        if usable {
            let facts = facts(repository);
            submission.repositories.push(Incoming { id, sequence: sequence(repository), facts, entities });
        }
    }
    Ok((submission, verdict.answer()))
}

/// Makes an entity ready to be stored, unless every issue it names is unknown.
fn linked(state: &state::State, entity: &Value, now: Timestamp) -> Option<Entity> {
    let references = shape::references(entity);
    let keys: BTreeSet<String> = references.iter().filter_map(|reference| state.known(reference)).collect();
    (references.is_empty() || !keys.is_empty()).then(|| Entity {
        sequence: sequence(entity),
        keys: keys.into_iter().collect(),
        at: now,
        data: trimmed(entity),
    })
}

fn sequence(value: &Value) -> i64 {
    value["updateSequenceId"].as_i64().expect("the shape was checked")
}

/// A repository's own fields, without its entities.
fn facts(repository: &Value) -> Map<String, Value> {
    let mut facts = repository.as_object().expect("the shape was checked").clone();
    facts.retain(|field, _| Kind::ALL.iter().all(|kind| kind.plural() != field));
    facts
}

/// The answer to one request, as it grows.
#[derive(Default)]
struct Verdict {
    accepted: Map<String, Value>,
    failed: Map<String, Value>,
    keys: BTreeSet<String>,
    associations: BTreeSet<(String, String)>,
}

impl Verdict {
    fn accept(&mut self, repository: &str, kind: Kind, id: &str) {
        let empty = || json!({ "commits": [], "branches": [], "pullRequests": [] });
        let lists = self.accepted.entry(repository).or_insert_with(empty);
        push(&mut lists[kind.plural()], json!(id));
    }

    fn fail(&mut self, repository: &str, kind: Kind, id: &str, complaints: &[String]) {
        let lists = self.failed.entry(repository).or_insert_with(|| json!({}));
        push(&mut lists[kind.plural()], json!({ "id": id, "errorMessages": messages(complaints) }));
    }

    fn fail_repository(&mut self, repository: &str, complaints: &[String]) {
        self.failed.insert(repository.to_owned(), json!({ "errorMessages": messages(complaints) }));
    }

    fn unknown(&mut self, state: &state::State, entity: &Value) {
        let unknown = |text: &Value| text.as_str().filter(|text| state.known(text).is_none()).map(str::to_owned);
        self.keys.extend(elements(&entity["issueKeys"]).filter_map(unknown));
        for association in elements(&entity["associations"]) {
            let kind = text(association, "associationType");
            let values = elements(&association["values"]).filter_map(unknown);
            self.associations.extend(values.map(|value| (kind.clone(), value)));
        }
    }

    fn answer(self) -> Value {
        let mut answer = json!({
            "acceptedDevinfoEntities": self.accepted,
            "failedDevinfoEntities": self.failed,
            "unknownIssueKeys": self.keys,
        });
        let mut by_kind: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (kind, value) in self.associations {
            by_kind.entry(kind).or_default().push(value);
        }
        if !by_kind.is_empty() {
            let unknown = by_kind.iter().map(|(kind, values)| json!({ "associationType": kind, "values": values }));
            answer["unknownAssociations"] = unknown.collect();
        }
        answer
    }
}

/// Cuts the messages of a commit, or of a branch's last commit, to what Jira keeps.
fn trimmed(entity: &Value) -> Value {
    let mut entity = entity.clone();
    for at in ["/message", "/lastCommit/message"] {
        if let Some(Value::String(message)) = entity.pointer_mut(at) {
            let mut units = 0;
            let fits = |c: &char| {
                units += c.len_utf16();
                units <= shape::MESSAGE
            };
            *message = message.chars().take_while(fits).collect();
        }
    }
    entity
}

fn entities_of(repository: &Value) -> impl Iterator<Item = (Kind, &Value)> {
    Kind::ALL.into_iter().flat_map(move |kind| elements(&repository[kind.plural()]).map(move |entity| (kind, entity)))
}

fn push(list: &mut Value, value: Value) {
    match list {
        Value::Array(values) => values.push(value),
        none => *none = Value::Array(vec![value]),
    }
}

fn messages(complaints: &[String]) -> Vec<Value> {
    complaints.iter().map(|message| json!({ "message": message })).collect()
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
