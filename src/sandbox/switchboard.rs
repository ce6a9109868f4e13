//! The switchboard for tests and for curious people: look inside, make issues and people, order misbehaviour.
//!
//! - `GET /sandbox/state` gives everything as JSON; what was accepted but does not show yet counts as `pending`.
//! - `GET /sandbox/issues/{key}` gives all that happened to an issue: comments, worklogs, changes, links, and orders that
//!   Jira carried out itself. `POST /sandbox/issues` makes an issue or changes the fields it names, `DELETE` removes it,
//!   `POST /sandbox/issues/{key}/move` files it under another key.
//! - `POST /sandbox/people` makes a person or changes the fields it names; `POST /sandbox/permissions` gives and takes.
//! - `POST /sandbox/projects` makes a project or changes its name, its type, its workflow or its versions, and
//!   `POST /sandbox/projects/{key}/rename` gives it another key.
//! - `POST /sandbox/faults` puts a list of rules behind those in force, `DELETE /sandbox/faults` ends them all, and
//!   `POST /sandbox/release` lets what was dropped without a time take place.
//! - `POST /sandbox/settings` changes the fields it names.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::Rule;
use super::issues::Edit;
use super::permissions::Permission;
use super::site::{Limits, ProjectType};
use super::timetracking::TimeTracking;
use super::workflow::Workflow;
use super::{App, SeedPerson, devinfo, shape};
use crate::request::{Json, delete, get, post};

/// Gives the routes under `/sandbox/`.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/sandbox/state", get(state))
        .route("/sandbox/issues", post(create))
        .route("/sandbox/issues/{key}", get(effects).merge(delete(destroy)))
        .route("/sandbox/issues/{key}/move", post(relocate))
        .route("/sandbox/people", post(person))
        .route("/sandbox/permissions", post(permit))
        .route("/sandbox/projects", post(project))
        .route("/sandbox/projects/{key}/rename", post(rename))
        .route("/sandbox/faults", post(order).merge(delete(relent)))
        .route("/sandbox/release", post(release))
        .route("/sandbox/lose", post(lose))
        .route("/sandbox/settings", post(tune))
}

async fn state(State(app): State<App>) -> Json<Value> {
    let (world, now) = app.enter();
    let mut view = world.state.view();
    view["now"] = json!(now);
    view["cloudId"] = json!(world.cloud_id);
    view["settings"] = json!(world.tuning);
    view["faults"] = json!(world.rules);
    view["requests"] = json!(world.log);
    Json(view)
}

async fn create(State(app): State<App>, Json(edit): Json<Edit>) -> Response {
    if !is_key(&edit.key) {
        return devinfo::refuse(StatusCode::BAD_REQUEST, "key is not an issue key in upper case");
    }
    let (mut world, now) = app.change();
    world.state.put_issue(edit, now);
    StatusCode::CREATED.into_response()
}

fn is_key(text: &str) -> bool {
    shape::is_key(text) && text.to_uppercase() == text
}

async fn effects(State(app): State<App>, Path(key): Path<String>) -> Response {
    let (world, _) = app.enter();
    let Some(key) = world.state.find(&key) else { return StatusCode::NOT_FOUND.into_response() };
    let mut view = json!(world.state.issues[&key]);
    view["key"] = json!(key);
    view["triggers"] = world.state.triggers.iter().filter(|trigger| trigger.key == key).map(|one| json!(one)).collect();
    Json(view).into_response()
}

async fn destroy(State(app): State<App>, Path(key): Path<String>) -> StatusCode {
    let (mut world, _) = app.change();
    match world.state.issues.remove(&key) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    to: String,
}

async fn relocate(State(app): State<App>, Path(key): Path<String>, Json(Move { to }): Json<Move>) -> Response {
    let (mut world, now) = app.change();
    match is_key(&to) && world.state.move_issue(&key, &to, now) {
        true => StatusCode::NO_CONTENT.into_response(),
        false => devinfo::refuse(StatusCode::BAD_REQUEST, "there is no such issue, or no such place for it"),
    }
}

/// Loses what it holds of these commits and branches, as if it had never come.
async fn lose(State(app): State<App>, Json(ids): Json<Vec<String>>) -> Json<Value> {
    let lost = app.change().0.state.lose(&ids);
    Json(json!({ "lost": lost }))
}

async fn person(State(app): State<App>, Json(seed): Json<SeedPerson>) -> Response {
    if seed.name.is_empty() || seed.name.contains(':') {
        return devinfo::refuse(StatusCode::BAD_REQUEST, "a person has a name without a colon");
    }
    app.change().0.state.put_person(seed);
    StatusCode::CREATED.into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Permit {
    person: String,
    #[serde(default = "everywhere")]
    project: String,
    permission: Permission,
    granted: bool,
}

fn everywhere() -> String {
    "*".into()
}

async fn permit(State(app): State<App>, Json(permit): Json<Permit>) -> Response {
    let Permit { person, project, permission, granted } = permit;
    match app.change().0.state.permit(&person, &project, permission, granted) {
        true => StatusCode::NO_CONTENT.into_response(),
        false => devinfo::refuse(StatusCode::NOT_FOUND, "there is no such person"),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectChange {
    key: String,
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<ProjectType>,
    workflow: Option<Workflow>,
    versions: Option<Vec<String>>,
}

async fn project(State(app): State<App>, Json(change): Json<ProjectChange>) -> StatusCode {
    let (mut world, _) = app.change();
    let project = world.state.project_mut(&change.key);
    project.name = change.name.unwrap_or(std::mem::take(&mut project.name));
    project.kind = change.kind.unwrap_or(project.kind);
    project.versions = change.versions.unwrap_or(std::mem::take(&mut project.versions));
    if let Some(workflow) = change.workflow {
        project.workflow = workflow;
    }
    StatusCode::CREATED
}

async fn rename(State(app): State<App>, Path(key): Path<String>, Json(Move { to }): Json<Move>) -> Response {
    let (mut world, now) = app.change();
    match is_key(&format!("{to}-1")) && world.state.rename_project(&key, &to, now) {
        true => StatusCode::NO_CONTENT.into_response(),
        false => devinfo::refuse(StatusCode::BAD_REQUEST, "there is no such project, or no such key for it"),
    }
}

async fn order(State(app): State<App>, Json(rules): Json<Vec<Rule>>) -> StatusCode {
    app.enter().0.rules.extend(rules);
    StatusCode::NO_CONTENT
}

async fn relent(State(app): State<App>) -> StatusCode {
    app.enter().0.rules.clear();
    StatusCode::NO_CONTENT
}

async fn release(State(app): State<App>) -> StatusCode {
    app.releases.send_replace(());
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    token_seconds: Option<u32>,
    visible_after_ms: Option<u32>,
    max_body_bytes: Option<usize>,
    clock_offset_ms: Option<i32>,
    paced: Option<bool>,
    basic: Option<bool>,
    hidden_mail_matches: Option<bool>,
    comment_properties: Option<bool>,
    lists_say_none: Option<bool>,
    properties_by_ids: Option<bool>,
    worklog_properties: Option<bool>,
    keeps_properties: Option<bool>,
    client_secret: Option<String>,
    time: Option<TimeTracking>,
    limits: Option<Limits>,
}

async fn tune(State(app): State<App>, Json(change): Json<Change>) -> StatusCode {
    let (mut world, _) = app.change();
    let tuning = &mut world.tuning;
    tuning.token_seconds = change.token_seconds.unwrap_or(tuning.token_seconds);
    tuning.visible_after_ms = change.visible_after_ms.unwrap_or(tuning.visible_after_ms);
    tuning.max_body_bytes = change.max_body_bytes.unwrap_or(tuning.max_body_bytes);
    tuning.clock_offset_ms = change.clock_offset_ms.unwrap_or(tuning.clock_offset_ms);
    tuning.paced = change.paced.unwrap_or(tuning.paced);
    tuning.basic = change.basic.unwrap_or(tuning.basic);
    tuning.hidden_mail_matches = change.hidden_mail_matches.unwrap_or(tuning.hidden_mail_matches);
    tuning.comment_properties = change.comment_properties.unwrap_or(tuning.comment_properties);
    tuning.lists_say_none = change.lists_say_none.unwrap_or(tuning.lists_say_none);
    tuning.properties_by_ids = change.properties_by_ids.unwrap_or(tuning.properties_by_ids);
    tuning.worklog_properties = change.worklog_properties.unwrap_or(tuning.worklog_properties);
    tuning.keeps_properties = change.keeps_properties.unwrap_or(tuning.keeps_properties);
    if let Some(secret) = change.client_secret {
        world.client_secret = secret;
        // What the old secret opened is shut with it.
        world.tokens.clear();
    }
    if let Some(time) = change.time {
        world.state.time = time;
    }
    if let Some(limits) = change.limits {
        world.state.limits = limits;
    }
    StatusCode::NO_CONTENT
}
