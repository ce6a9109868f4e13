//! The workflow of a project: its statuses, and the transitions between them.
//!
//! A workflow is plain data that the switchboard can replace. The one a project begins with holds what a sender has to
//! cope with: two transitions that begin alike, one whose screen demands a resolution, one from anywhere, and one that
//! only some people are offered.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Statuses and the ways between them.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Workflow {
    pub(super) statuses: Vec<Status>,
    pub(super) transitions: Vec<Transition>,
}

/// Where an issue can stand.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Status {
    pub(super) name: String,
    #[serde(default)]
    pub(super) category: Category,
}

/// What a status means to boards and reports.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Category {
    New,
    #[default]
    Indeterminate,
    Done,
}

/// A way from some statuses to one.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Transition {
    pub(super) id: String,
    pub(super) name: String,
    /// Where it begins; anywhere if empty.
    #[serde(default)]
    pub(super) from: Vec<String>,
    pub(super) to: String,
    /// Whether it asks something on the way, and therefore takes fields and a comment.
    #[serde(default)]
    pub(super) screen: bool,
    /// What its screen asks.
    #[serde(default)]
    pub(super) fields: Vec<Field>,
    /// The people it is offered to; everybody if empty.
    #[serde(default)]
    pub(super) only: Vec<String>,
    /// What a validator says that lets nobody through; no metadata tells of it.
    #[serde(default)]
    pub(super) refuses: Option<String>,
    /// The resolution it sets by itself.
    #[serde(default)]
    pub(super) resolution: Option<String>,
}

/// A field on a screen.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Field {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) required: bool,
    /// What it is if nobody says otherwise.
    #[serde(default)]
    pub(super) default: Option<String>,
    /// What it can be; any text if empty.
    #[serde(default)]
    pub(super) values: Vec<String>,
}

const RESOLUTIONS: [&str; 4] = ["Done", "Won't Do", "Duplicate", "Cannot Reproduce"];

impl Default for Workflow {
    fn default() -> Workflow {
        let status = |name: &str, category| Status { name: name.into(), category };
        let way = |id: &str, name: &str, from: &[&str], to: &str| Transition {
            id: id.into(),
            name: name.into(),
            from: from.iter().map(|name| (*name).to_owned()).collect(),
            to: to.into(),
            screen: false,
            fields: Vec::new(),
            only: Vec::new(),
            refuses: None,
            resolution: None,
        };
        let resolution = Field {
            id: "resolution".into(),
            name: "Resolution".into(),
            required: true,
            default: None,
            values: RESOLUTIONS.map(str::to_owned).into(),
        };
        let open = ["To Do", "In Progress", "In Review"];
        let resolve =
            Transition { screen: true, fields: vec![resolution], ..way("41", "Resolve Issue", &open, "Done") };
        Workflow {
            statuses: vec![
                status("To Do", Category::New),
                status("In Progress", Category::Indeterminate),
                status("In Review", Category::Indeterminate),
                status("Done", Category::Done),
            ],
            transitions: vec![
                way("11", "Start Progress", &["To Do", "In Review"], "In Progress"),
                way("21", "Start Review", &["To Do", "In Progress"], "In Review"),
                Transition { resolution: Some("Done".into()), ..way("31", "Close Issue", &open, "Done") },
                resolve,
                way("51", "Reopen", &["Done"], "To Do"),
                way("61", "Backlog", &[], "To Do"),
                Transition { only: vec!["admin".into()], ..way("71", "Release", &["Done"], "Done") },
            ],
        }
    }
}

impl Category {
    /// Jira's own key for it, and the words shown.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Category::New => ("new", "To Do"),
            Category::Indeterminate => ("indeterminate", "In Progress"),
            Category::Done => ("done", "Done"),
        }
    }
}

impl Workflow {
    /// Learns a status that it has not.
    pub(super) fn know(&mut self, name: &str) {
        if self.statuses.iter().all(|status| status.name != name) {
            self.statuses.push(Status { name: name.to_owned(), category: Category::default() });
        }
    }

    /// The transitions that this person is offered where an issue stands.
    pub(super) fn offered<'a>(&'a self, status: &'a str, person: &'a str) -> impl Iterator<Item = &'a Transition> {
        self.transitions.iter().filter(move |way| way.begins_at(status) && way.is_for(person))
    }

    pub(super) fn status_id(&self, name: &str) -> String {
        let place = self.statuses.iter().position(|status| status.name == name).unwrap_or(self.statuses.len());
        (10_000 + place).to_string()
    }

    pub(super) fn category(&self, name: &str) -> Category {
        self.statuses.iter().find(|status| status.name == name).map_or(Category::default(), |status| status.category)
    }

    pub(super) fn show_status(&self, name: &str, root: &str) -> Value {
        let category = self.category(name);
        let (key, words) = category.words();
        let (number, colour) = match category {
            Category::New => (2, "blue-gray"),
            Category::Indeterminate => (4, "yellow"),
            Category::Done => (3, "green"),
        };
        let id = self.status_id(name);
        json!({
            "self": format!("{root}/status/{id}"), "id": id, "name": name, "description": "",
            "iconUrl": format!("{root}/images/status.png"),
            "statusCategory": {
                "self": format!("{root}/statuscategory/{number}"), "id": number, "key": key, "colorName": colour,
                "name": words,
            },
        })
    }

    pub(super) fn show_resolution(&self, name: &str, root: &str) -> Value {
        let id = resolution_id(name);
        json!({ "self": format!("{root}/resolution/{id}"), "id": id, "name": name, "description": "" })
    }
}

impl Transition {
    pub(super) fn begins_at(&self, status: &str) -> bool {
        self.from.is_empty() || self.from.iter().any(|from| from == status)
    }

    fn is_for(&self, person: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == person)
    }

    /// The fields that must be given because nothing else fills them.
    pub(super) fn demands(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.required && field.default.is_none())
    }
}

impl Field {
    /// What one of its values looks like.
    pub(super) fn show(&self, value: &str, root: &str) -> Value {
        if self.values.is_empty() {
            return json!(value);
        }
        let id = self.value_id(value);
        json!({ "self": format!("{root}/{}/{id}", self.id), "id": id, "name": value })
    }

    /// Reads a value as a request gives it: by name or by id where there is a choice, else any text.
    pub(super) fn read(&self, given: &Value) -> Option<String> {
        if self.values.is_empty() {
            return given.as_str().map(str::to_owned);
        }
        let named = |value: &&String| given["name"] == **value || given["id"] == self.value_id(value);
        self.values.iter().find(named).cloned()
    }

    fn value_id(&self, value: &str) -> String {
        if self.id == "resolution" {
            return resolution_id(value);
        }
        let place = self.values.iter().position(|known| known == value).unwrap_or_default();
        (10_200 + place).to_string()
    }
}

fn resolution_id(name: &str) -> String {
    let place = RESOLUTIONS.iter().position(|known| *known == name).unwrap_or(RESOLUTIONS.len());
    (10_100 + place).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: &str, person: &str, expected: &[&str]) {
        let workflow = Workflow::default();
        let offered: Vec<_> = workflow.offered(status, person).map(|way| way.name.as_str()).collect();
        assert_eq!(offered, expected, "{status}");
    }

    #[test]
    fn a_transition_is_offered_where_it_begins_and_to_whom_it_is_for() {
        check("To Do", "ada", &["Start Progress", "Start Review", "Close Issue", "Resolve Issue", "Backlog"]);
        check("Done", "ada", &["Reopen", "Backlog"]);
        check("Done", "admin", &["Reopen", "Backlog", "Release"]);
        check("Elsewhere", "ada", &["Backlog"]);
    }
}
