//! The changelog of an issue: what changed, when, by whom, and what the one who did it says of it.

use axum::Router;
use axum::extract::{Path, State as From};
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::App;
use super::rest::{Answer, Caller, Flavour, OfIssue, Page, stamp};
use super::state::State;
use super::workflow::Workflow;
use crate::request::{Json, Query, get};

/// Entries one page holds at most.
const PAGE: usize = 100;

/// One entry: all that changed at once.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Change {
    pub(super) id: u64,
    /// The name of a person.
    pub(super) author: String,
    pub(super) created: Timestamp,
    pub(super) items: Vec<Item>,
    /// What came with the request, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) history_metadata: Option<Value>,
    /// The commit that made Jira do this by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) commit: Option<String>,
}

/// One field that changed.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) field: String,
    /// An id and a text each, where there was or is a value.
    pub(super) from: Option<(String, String)>,
    pub(super) to: Option<(String, String)>,
}

impl Item {
    /// A status that changed.
    pub(super) fn status(workflow: &Workflow, from: &str, to: &str) -> Item {
        let side = |name: &str| Some((workflow.status_id(name), name.to_owned()));
        Item { field: "status".into(), from: side(from), to: side(to) }
    }

    /// A field of text; an empty text is no value.
    pub(super) fn text(field: &str, from: &str, to: &str) -> Item {
        let side = |text: &str| (!text.is_empty()).then(|| (text.to_owned(), text.to_owned()));
        Item { field: field.to_owned(), from: side(from), to: side(to) }
    }

    fn show(&self, cloud: bool) -> Value {
        let half = |side: &Option<(String, String)>, second: bool| {
            side.as_ref().map(|(id, text)| if second { text.clone() } else { id.clone() })
        };
        let mut shown = json!({ "field": self.field, "fieldtype": "jira" });
        if cloud {
            shown["fieldId"] = json!(self.field);
        }
        let sides = [("from", &self.from, false), ("fromString", &self.from, true)];
        for (name, side, second) in sides.into_iter().chain([("to", &self.to, false), ("toString", &self.to, true)]) {
            shown[name] = json!(half(side, second));
        }
        shown
    }
}

impl State {
    fn show_change(&self, change: &Change, caller: &Caller) -> Value {
        let mut shown = json!({
            "id": change.id.to_string(), "author": self.show_person(&change.author, caller),
            "created": stamp(change.created),
            "items": change.items.iter().map(|item| item.show(caller.is_cloud())).collect::<Vec<_>>(),
        });
        if let Some(metadata) = &change.history_metadata {
            shown["historyMetadata"] = metadata.clone();
        }
        shown
    }

    fn histories(&self, key: &str, caller: &Caller) -> Vec<Value> {
        self.issues[key].changelog.iter().map(|change| self.show_change(change, caller)).collect()
    }

    /// The changelog inside an issue: all of it, oldest first; on Cloud the newest hundred, newest first.
    pub(super) fn show_histories(&self, key: &str, caller: &Caller) -> Value {
        let mut histories = self.histories(key, caller);
        let total = histories.len();
        if caller.is_cloud() {
            histories.reverse();
            histories.truncate(PAGE);
        }
        json!({ "startAt": 0, "maxResults": histories.len(), "total": total, "histories": histories })
    }
}

/// Gives the route to the changelog, which Data Center has inside the issue alone.
pub(super) fn routes(flavour: Flavour) -> Router<App> {
    match flavour {
        Flavour::Cloud => Router::new().route("/issue/{issue}/changelog", get(list)),
        Flavour::DataCenter => Router::new(),
    }
}

async fn list(
    From(app): From<App>,
    caller: Caller,
    Path(OfIssue { issue }): Path<OfIssue>,
    Query(page): Query<Page>,
) -> Answer {
    let (world, _) = app.enter();
    let key = world.state.visible(&caller, &issue)?;
    let mut answer = page.bean(world.state.histories(&key, &caller), PAGE, PAGE);
    answer["self"] = json!(format!("{}/issue/{key}/changelog", caller.root));
    Ok(Json(answer).into_response())
}
