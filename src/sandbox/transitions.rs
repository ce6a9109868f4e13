//! Transitions: what may be done with an issue where it stands, and doing it.
//!
//! Three habits of the real one are kept because senders trip over them: a list that is empty where the permission is
//! missing, a comment that is dropped without a word where the transition has no screen, and validators that no
//! metadata tells of.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Path, State as From};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::changelog::{Change, Item};
use super::comments::{Draft, written};
use super::issues::project_of;
use super::permissions::Permission;
use super::rest::{Answer, Caller, Expand, Flavour, OfIssue, Refusal, Sent};
use super::state::State;
use super::workflow::{Category, Field, Transition};
use super::{App, adf};
use crate::request::{Json, Query, get, post};

/// A transition as it is ordered.
#[derive(Default)]
pub(super) struct Order {
    pub(super) id: String,
    /// Values of fields on its screen.
    pub(super) fields: BTreeMap<String, String>,
    /// What is said on its screen.
    pub(super) comment: Option<Draft>,
    pub(super) history_metadata: Option<Value>,
    /// The commit that made Jira do this by itself.
    pub(super) commit: Option<String>,
}

impl State {
    /// The transitions this person is offered, none where they may not do any.
    pub(super) fn offered<'a>(&'a self, key: &str, person: &'a str) -> Vec<&'a Transition> {
        let issue = &self.issues[key];
        if self.allow(person, key, Permission::Transition).is_err() {
            return Vec::new();
        }
        self.projects[project_of(key)].workflow.offered(&issue.status, person).collect()
    }

    /// Carries out a transition that is offered, and whose screen is satisfied.
    pub(super) fn transit(&mut self, key: &str, person: &str, order: Order, now: Timestamp) -> Result<(), Refusal> {
        let offered = self.offered(key, person).into_iter().find(|way| way.id == order.id).cloned();
        let invalid = || Refusal::bad(format!("Transition id '{}' is not valid for this issue.", order.id));
        let way = offered.ok_or_else(invalid)?;
        let values = filled(&way, order.fields)?;
        if let Some(message) = &way.refuses {
            return Err(Refusal::bad(message));
        }
        if let Some(draft) = order.comment.filter(|_| way.screen) {
            self.allow(person, key, Permission::Comment)?;
            self.add_comment(key, person, draft, now)?;
        }
        let (id, workflow) = (self.take_id(), &self.projects[project_of(key)].workflow);
        let issue = self.issues.get_mut(key).expect("the key was looked up");
        let mut items = Vec::new();
        if issue.status != way.to {
            items.push(Item::status(workflow, &issue.status, &way.to));
            issue.status.clone_from(&way.to);
        }
        let reopened = (workflow.category(&way.to) != Category::Done).then_some(None);
        let by_itself = way.resolution.map(Some).or(reopened);
        let resolution = values.get("resolution").cloned().map(Some).or(by_itself);
        if let Some(resolution) = resolution.filter(|resolution| *resolution != issue.resolution) {
            let texts = [&issue.resolution, &resolution].map(|text| text.clone().unwrap_or_default());
            items.push(Item::text("resolution", &texts[0], &texts[1]));
            issue.resolution = resolution;
        }
        for (field, value) in values.into_iter().filter(|(field, _)| field != "resolution") {
            let before = issue.fields.insert(field.clone(), json!(value)).unwrap_or_default();
            items.push(Item::text(&field, before.as_str().unwrap_or_default(), &value));
        }
        let (history_metadata, commit) = (order.history_metadata, order.commit);
        issue.record(Change { id, author: person.to_owned(), created: now, items, history_metadata, commit });
        Ok(())
    }

    fn show_transition(&self, way: &Transition, key: &str, caller: &Caller, fields: bool) -> Value {
        let workflow = &self.projects[project_of(key)].workflow;
        let mut shown = json!({
            "id": way.id, "name": way.name, "to": workflow.show_status(&way.to, &caller.root),
        });
        if caller.is_cloud() {
            let more = json!({
                "hasScreen": way.screen, "isGlobal": way.from.is_empty(), "isInitial": false, "isAvailable": true,
                "isConditional": !way.only.is_empty(), "isLooped": self.issues[key].status == way.to,
            });
            shown.as_object_mut().expect("it is one").extend(more.as_object().cloned().unwrap_or_default());
        }
        if fields {
            let fields = way.fields.iter().filter(|_| way.screen);
            shown["fields"] = fields.map(|field| (field.id.clone(), show_field(field, caller))).collect();
        }
        shown
    }
}

/// The values a screen ends up with: what was given, else its defaults; refused where something is missing.
fn filled(way: &Transition, given: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Refusal> {
    let mut values = BTreeMap::new();
    for field in way.fields.iter().filter(|_| way.screen) {
        match given.get(&field.id).or(field.default.as_ref()) {
            Some(value) => drop(values.insert(field.id.clone(), value.clone())),
            None if field.required => return Err(Refusal::field(&field.id, format!("{} is required.", field.name))),
            None => {}
        }
    }
    Ok(values)
}

fn show_field(field: &Field, caller: &Caller) -> Value {
    let choice = !field.values.is_empty();
    let kind = match field.id.as_str() {
        "resolution" => "resolution",
        _ if choice => "option",
        _ => "string",
    };
    let mut shown = json!({
        "required": field.required, "name": field.name, "hasDefaultValue": field.default.is_some(), "operations": ["set"],
        "schema": { "type": kind, "system": field.id },
    });
    shown[if caller.is_cloud() { "key" } else { "fieldId" }] = json!(field.id);
    if choice {
        shown["allowedValues"] = field.values.iter().map(|value| field.show(value, &caller.root)).collect();
    }
    if let Some(default) = &field.default {
        shown["defaultValue"] = field.show(default, &caller.root);
    }
    shown
}

/// Gives the route to transitions.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/issue/{issue}/transitions", get(list).merge(post(perform)))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Only {
    transition_id: Option<String>,
}

async fn list(
    From(app): From<App>,
    caller: Caller,
    Path(OfIssue { issue }): Path<OfIssue>,
    Query(only): Query<Only>,
    Query(expand): Query<Expand>,
) -> Answer {
    let (world, _) = app.enter();
    let key = world.state.visible(&caller, &issue)?;
    let offered = world.state.offered(&key, caller.person()?).into_iter();
    let asked = offered.filter(|way| only.transition_id.as_ref().is_none_or(|id| *id == way.id));
    let fields = expand.has("transitions.fields");
    let shown: Vec<_> = asked.map(|way| world.state.show_transition(way, &key, &caller, fields)).collect();
    Ok(Json(json!({ "expand": "transitions", "transitions": shown })).into_response())
}

async fn perform(
    From(app): From<App>,
    caller: Caller,
    Path(OfIssue { issue }): Path<OfIssue>,
    Sent(sent): Sent,
) -> Answer {
    let (mut world, now) = app.change();
    let key = world.state.open_to(&caller, &issue, Permission::Transition)?;
    let id = match &sent["transition"]["id"] {
        Value::String(id) => id.clone(),
        Value::Number(id) => id.to_string(),
        _ => return Err(Refusal::bad("The transition id must be specified.")),
    };
    let offered = world.state.offered(&key, caller.person()?).into_iter().find(|way| way.id == id).cloned();
    let Some(way) = offered else { return Err(unknown(&world.state, &caller, &key, &id)) };
    let order = Order {
        fields: read_fields(&way, &sent)?,
        comment: read_comment(&caller, &sent["update"]["comment"])?.filter(|_| way.screen),
        history_metadata: read_metadata(&sent["historyMetadata"])?,
        id,
        commit: None,
    };
    world.state.transit(&key, caller.person()?, order, now)?;
    // An answer without a body, and a type for it all the same.
    Ok((StatusCode::NO_CONTENT, [(header::CONTENT_TYPE, "application/json")]).into_response())
}

/// Refuses a transition that is not offered; Data Center breaks over an id that its workflow has not.
fn unknown(state: &State, caller: &Caller, key: &str, id: &str) -> Refusal {
    let has = state.projects[project_of(key)].workflow.transitions.iter().any(|way| way.id == id);
    match caller.flavour {
        Flavour::DataCenter if !has => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"),
        _ => Refusal::bad(format!("Transition id '{id}' is not valid for this issue.")),
    }
}

/// Reads the fields of a request: each on the screen, each named once, each with a value that it can have.
fn read_fields(way: &Transition, sent: &Value) -> Result<BTreeMap<String, String>, Refusal> {
    let empty = Map::new();
    let map = |name: &str| sent[name].as_object().unwrap_or(&empty).clone();
    let (set, updated) = (map("fields"), map("update"));
    let operations = updated.iter().filter(|(name, _)| *name != "comment");
    let operations: Vec<_> = operations.map(|(name, operations)| (name, &operations[0]["set"])).collect();
    if let Some((twice, _)) = operations.iter().find(|(name, _)| set.contains_key(*name)) {
        let message = format!("Field '{twice}' cannot be set in both 'fields' and 'update'.");
        return Err(Refusal::field(twice, message));
    }
    let mut values = BTreeMap::new();
    for (name, given) in set.iter().chain(operations) {
        let on_screen = way.fields.iter().find(|field| way.screen && field.id == *name);
        let absent = format!("Field '{name}' cannot be set. It is not on the appropriate screen, or unknown.");
        let field = on_screen.ok_or_else(|| Refusal::field(name, absent))?;
        let wrong = || Refusal::field(name, format!("{} is not valid.", field.name));
        values.insert(name.clone(), field.read(given).ok_or_else(wrong)?);
    }
    Ok(values)
}

fn read_comment(caller: &Caller, operations: &Value) -> Result<Option<Draft>, Refusal> {
    let given = &operations[0]["add"]["body"];
    if given.is_null() {
        return Ok(None);
    }
    let body = written(caller, given)?;
    Ok((!adf::as_text(&body).is_empty()).then(|| Draft { body, ..Draft::default() }))
}

/// Takes metadata as it comes, if what is extra about it is text.
fn read_metadata(given: &Value) -> Result<Option<Value>, Refusal> {
    let mut extra = given["extraData"].as_object().into_iter().flatten();
    match given {
        Value::Null => Ok(None),
        Value::Object(_) if extra.all(|(_, value)| value.is_string()) => Ok(Some(given.clone())),
        _ => Err(Refusal::field("historyMetadata", "The history metadata cannot be read.")),
    }
}
