//! The switchboard for tests and for curious people: look inside, make issues, order misbehaviour.
//!
//! - `GET /sandbox/state` gives everything as JSON; what was accepted but does not show yet counts as `pending`.
//! - `POST /sandbox/issues` makes an issue or changes it, `DELETE /sandbox/issues/{key}` removes it.
//! - `POST /sandbox/faults` puts a list of rules behind those in force, `DELETE /sandbox/faults` ends them all.
//! - `POST /sandbox/settings` changes the fields it names.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::Rule;
use super::{App, SeedIssue, devinfo, shape};

/// Gives the routes under `/sandbox/`.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/sandbox/state", get(state))
        .route("/sandbox/issues", post(create))
        .route("/sandbox/issues/{key}", delete(destroy))
        .route("/sandbox/faults", post(order).delete(relent))
        .route("/sandbox/settings", post(tune))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    token_seconds: Option<u32>,
    visible_after_ms: Option<u32>,
    max_body_bytes: Option<usize>,
    client_secret: Option<String>,
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

async fn create(State(app): State<App>, Json(issue): Json<SeedIssue>) -> Response {
    if !shape::is_key(&issue.key) || issue.key.to_uppercase() != issue.key {
        return devinfo::refuse(StatusCode::BAD_REQUEST, "key is not an issue key in upper case");
    }
    let (mut world, _) = app.enter();
    world.state.put_issue(issue.key, issue.summary, issue.status);
    world.unsaved = true;
    StatusCode::CREATED.into_response()
}

async fn destroy(State(app): State<App>, Path(key): Path<String>) -> StatusCode {
    let (mut world, _) = app.enter();
    world.unsaved = true;
    match world.state.issues.remove(&key) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
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

async fn tune(State(app): State<App>, Json(change): Json<Change>) -> StatusCode {
    let (mut world, _) = app.enter();
    let tuning = &mut world.tuning;
    tuning.token_seconds = change.token_seconds.unwrap_or(tuning.token_seconds);
    tuning.visible_after_ms = change.visible_after_ms.unwrap_or(tuning.visible_after_ms);
    tuning.max_body_bytes = change.max_body_bytes.unwrap_or(tuning.max_body_bytes);
    if let Some(secret) = change.client_secret {
        world.client_secret = secret;
        // What the old secret opened is shut with it.
        world.tokens.clear();
    }
    StatusCode::NO_CONTENT
}
