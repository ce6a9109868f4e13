//! Remote issue links: pointers out of an issue, found again by the id that their maker gave them.

use axum::Router;
use axum::extract::{Path, State as From};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::App;
use super::comments::full;
use super::permissions::Permission;
use super::rest::{Answer, Caller, OfIssue, OnIssue, Refusal, Sent};
use crate::request::{Json, Query, delete, get, post};

/// Characters of a global id.
const LONGEST: usize = 255;

/// A link, as it was sent.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Link {
    pub(super) id: u64,
    pub(super) global_id: Option<String>,
    /// Everything but the ids.
    pub(super) facts: Map<String, Value>,
}

impl Link {
    fn show(&self, key: &str, caller: &Caller) -> Value {
        let mut shown = self.facts.clone();
        shown.insert("id".into(), json!(self.id));
        shown.insert("self".into(), json!(self.place(key, caller)));
        if let Some(id) = &self.global_id {
            shown.insert("globalId".into(), json!(id));
        }
        Value::Object(shown)
    }

    fn place(&self, key: &str, caller: &Caller) -> String {
        format!("{}/issue/{key}/remotelink/{}", caller.root, self.id)
    }
}

/// Gives the routes to remote links.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/issue/{issue}/remotelink", get(list).merge(post(put)).merge(delete(remove)))
        .route("/issue/{issue}/remotelink/{id}", get(one).merge(delete(remove_one)))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Which {
    global_id: Option<String>,
}

fn missing() -> Refusal {
    Refusal::not_found("The remote link does not exist.")
}

async fn list(
    From(app): From<App>,
    caller: Caller,
    Path(OfIssue { issue }): Path<OfIssue>,
    Query(Which { global_id }): Query<Which>,
) -> Answer {
    let (world, _) = app.enter();
    let key = world.state.visible(&caller, &issue)?;
    let links = &world.state.issues[&key].links;
    let wanted = links.iter().filter(|link| global_id.is_none() || link.global_id == global_id);
    let mut shown: Vec<_> = wanted.map(|link| link.show(&key, &caller)).collect();
    // Asked for one, Cloud gives it without a list.
    match global_id.is_some() && caller.is_cloud() {
        true => Ok(Json(shown.pop().ok_or_else(missing)?).into_response()),
        false => Ok(Json(shown).into_response()),
    }
}

async fn put(From(app): From<App>, caller: Caller, Path(OfIssue { issue }): Path<OfIssue>, Sent(sent): Sent) -> Answer {
    let (mut world, now) = app.change();
    let key = world.state.open_to(&caller, &issue, Permission::Link)?;
    let global_id = read_id(&sent)?;
    let (id, most) = (world.state.take_id(), world.state.limits.links);
    let issue = world.state.issues.get_mut(&key).expect("it was just found");
    let same = |link: &Link| global_id.is_some() && link.global_id == global_id;
    let held = issue.links.iter().position(same);
    if held.is_none() && issue.links.len() >= most {
        return Err(full("remote links", most));
    }
    issue.updated = now;
    let mut facts = sent.as_object().cloned().unwrap_or_default();
    facts.remove("globalId");
    let (status, at) = match held {
        Some(at) if caller.is_cloud() => {
            // What an update leaves out is gone.
            issue.links[at].facts = facts;
            (StatusCode::OK, at)
        }
        Some(at) => {
            issue.links[at].facts.extend(facts);
            (StatusCode::OK, at)
        }
        None => {
            issue.links.push(Link { id, global_id, facts });
            (StatusCode::CREATED, issue.links.len() - 1)
        }
    };
    let link = &issue.links[at];
    Ok((status, Json(json!({ "id": link.id, "self": link.place(&key, &caller) }))).into_response())
}

/// Checks a link, and gives its global id if it has one.
fn read_id(sent: &Value) -> Result<Option<String>, Refusal> {
    for field in ["title", "url"] {
        if sent["object"][field].as_str().is_none_or(str::is_empty) {
            return Err(Refusal::field(field, format!("'{field}' is required.")));
        }
    }
    let id = sent["globalId"].as_str();
    match id.is_some_and(|id| id.chars().count() > LONGEST) {
        true => Err(Refusal::field("globalId", format!("'globalId' cannot have more than {LONGEST} characters."))),
        false => Ok(id.map(str::to_owned)),
    }
}

async fn remove(
    From(app): From<App>,
    caller: Caller,
    Path(OfIssue { issue }): Path<OfIssue>,
    Query(Which { global_id }): Query<Which>,
) -> Answer {
    let global_id = global_id.ok_or_else(|| Refusal::bad("The globalId query parameter is required."))?;
    forget(&app, &caller, &issue, |link| link.global_id.as_ref() == Some(&global_id))
}

async fn one(From(app): From<App>, caller: Caller, Path(OnIssue { issue, id }): Path<OnIssue>) -> Answer {
    let (world, _) = app.enter();
    let key = world.state.visible(&caller, &issue)?;
    let link = world.state.issues[&key].links.iter().find(|link| link.id.to_string() == id);
    Ok(Json(link.ok_or_else(missing)?.show(&key, &caller)).into_response())
}

async fn remove_one(From(app): From<App>, caller: Caller, Path(OnIssue { issue, id }): Path<OnIssue>) -> Answer {
    forget(&app, &caller, &issue, |link| link.id.to_string() == id)
}

fn forget(app: &App, caller: &Caller, issue: &str, is: impl Fn(&Link) -> bool) -> Answer {
    let (mut world, _) = app.change();
    let key = world.state.open_to(caller, issue, Permission::Link)?;
    let links = &mut world.state.issues.get_mut(&key).expect("it was just found").links;
    let at = links.iter().position(is).ok_or_else(missing)?;
    links.remove(at);
    Ok(StatusCode::NO_CONTENT.into_response())
}
