//! Fields of an issue that are set or added to: who it is assigned to, its labels, the versions it is fixed in.

use axum::Router;
use axum::extract::{Path, State as From};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use super::App;
use super::changelog::{Change, Item};
use super::issues::project_of;
use super::permissions::Permission;
use super::rest::{Answer, Caller, OfIssue, Refusal, Sent};
use super::state::State;
use crate::request::{Json, put};

/// Gives the route by which an issue is edited.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/issue/{issue}", put(edit))
}

async fn edit(
    From(app): From<App>,
    caller: Caller,
    Path(OfIssue { issue }): Path<OfIssue>,
    Sent(body): Sent,
) -> Answer {
    let (mut world, now) = app.change();
    let state = &mut world.state;
    let key = state.open_to(&caller, &issue, Permission::Edit)?;
    let mut fields = Map::new();
    for (name, value) in body["fields"].as_object().into_iter().flatten() {
        match name.as_str() {
            "assignee" => drop(fields.insert(name.clone(), state.assignee(&caller, &key, value)?)),
            _ => {
                return Err(Refusal::field(
                    name,
                    "Field cannot be set. It is not on the appropriate screen, or unknown.",
                ));
            }
        }
    }
    for (name, operations) in body["update"].as_object().into_iter().flatten() {
        let mut list = state.issues[&key].fields.get(name).cloned().unwrap_or_else(|| json!([]));
        for operation in operations.as_array().into_iter().flatten() {
            let added = state.addition(&key, name, &operation["add"])?;
            let values = list.as_array_mut().expect("it was made as a list");
            if !values.contains(&added) {
                values.push(added);
            }
        }
        fields.insert(name.clone(), list);
    }
    let id = state.take_id();
    let person = caller.person()?.to_owned();
    let issue = state.issues.get_mut(&key).expect("it was just seen");
    let text = |value: Option<&Value>| value.map(shown).unwrap_or_default();
    let items = fields.iter().map(|(name, value)| Item::text(name, &text(issue.fields.get(name)), &shown(value)));
    let items: Vec<Item> = items.filter(|item| item.from != item.to).collect();
    issue.fields.extend(fields);
    issue.record(Change { id, author: person, created: now, items, ..Change::default() });
    Ok((StatusCode::NO_CONTENT, Json(Value::Null)).into_response())
}

impl State {
    /// The name of the person that a request names in its flavour's way.
    fn assignee(&self, caller: &Caller, key: &str, value: &Value) -> Result<Value, Refusal> {
        self.allow(caller.person()?, key, Permission::Assign)?;
        let named = |(name, person): (&String, &super::people::Person)| {
            let same =
                if caller.is_cloud() { value["accountId"] == person.account_id } else { value["name"] == **name };
            (same && person.active).then(|| json!(name))
        };
        let found = self.people.iter().find_map(named);
        found.ok_or_else(|| Refusal::field("assignee", "The user cannot be assigned issues."))
    }

    fn addition(&self, key: &str, field: &str, added: &Value) -> Result<Value, Refusal> {
        let name = added.as_str().or(added["name"].as_str()).unwrap_or_default();
        match field {
            "labels" if name.is_empty() || name.contains(char::is_whitespace) => {
                Err(Refusal::field(field, format!("The label '{name}' contains spaces which is invalid.")))
            }
            "labels" => Ok(json!(name)),
            "fixVersions" if self.projects[project_of(key)].versions.iter().any(|known| known == name) => {
                Ok(json!({ "name": name }))
            }
            "fixVersions" => Err(Refusal::field(field, format!("Version name '{name}' is not valid"))),
            _ => Err(Refusal::field(field, "Field cannot be set. It is not on the appropriate screen, or unknown.")),
        }
    }
}

/// A field's value for people.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(" "),
        value => value["name"].as_str().unwrap_or_default().to_owned(),
    }
}
