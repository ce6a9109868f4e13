//! Issues: how they are found, shown, moved, archived and deleted.
//!
//! An issue is its number; a key is where it is filed. One that moved to another project has a new key, and the old one
//! still leads to it here, while development information does not follow it: nobody says that the real one does.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Path, State as From};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::changelog::{Change, Item};
use super::comments::Comment;
use super::jql::Jql;
use super::links::Link;
use super::permissions::Permission;
use super::rest::{Answer, Caller, Expand, Flavour, OfIssue, Page, Refusal, Sent, stamp};
use super::state::State;
use super::worklogs::Worklog;
use super::{App, SeedIssue};
use crate::request::{Json, Query, get, post};

/// Issues one bulk fetch takes.
const FETCHED: usize = 100;
/// The number the first issue gets.
const FIRST: u64 = 10_000;

/// An issue, held under its key.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Issue {
    pub(super) id: u64,
    pub(super) summary: String,
    /// The name of its type.
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) resolution: Option<String>,
    pub(super) archived: bool,
    /// Fields that were edited or that a transition's screen set, besides the resolution.
    pub(super) fields: BTreeMap<String, Value>,
    /// What is left of the estimate, if there is one.
    pub(super) remaining_seconds: Option<u64>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) comments: Vec<Comment>,
    pub(super) worklogs: Vec<Worklog>,
    pub(super) changelog: Vec<Change>,
    pub(super) links: Vec<Link>,
}

/// An issue to make, or what is to change about one.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Edit {
    pub(super) key: String,
    pub(super) summary: Option<String>,
    pub(super) status: Option<String>,
    pub(super) resolution: Option<String>,
    pub(super) archived: Option<bool>,
    pub(super) remaining_seconds: Option<u64>,
    /// The name of its type.
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    /// The name of the person it is assigned to; nobody if empty.
    pub(super) assignee: Option<String>,
    /// The person whose doing a change of status is.
    pub(super) by: Option<String>,
}

/// Gives the routes to one issue and to many.
pub(super) fn routes(flavour: Flavour) -> Router<App> {
    let router = Router::new().route("/issue/{issue}", get(one));
    match flavour {
        Flavour::Cloud => router
            .route("/issue/bulkfetch", post(fetch))
            .route("/search/jql", get(search_by_query).merge(post(search)))
            .route("/search", get(gone).merge(post(gone))),
        Flavour::DataCenter => router.route("/search", get(search_by_query).merge(post(search))),
    }
}

/// The project a key is filed in.
pub(super) fn project_of(key: &str) -> &str {
    key.rsplit_once('-').map_or(key, |(project, _)| project)
}

fn missing() -> Refusal {
    Refusal::not_found("Issue does not exist or you do not have permission to see it.")
}

impl State {
    /// Creates an issue to begin with.
    pub(super) fn seed(&mut self, seed: SeedIssue, now: Timestamp) {
        let SeedIssue { key, summary, status } = seed;
        self.put_issue(Edit { key, summary: Some(summary), status: Some(status), ..Edit::default() }, now);
    }

    /// Creates an issue, or changes what is named of an existing one.
    pub(super) fn put_issue(&mut self, edit: Edit, now: Timestamp) {
        self.project_mut(project_of(&edit.key));
        let next = self.issues.values().map(|issue| issue.id + 1).max().unwrap_or(FIRST);
        let made = || Issue {
            id: next,
            kind: "Task".to_owned(),
            status: super::to_do(),
            created: now,
            updated: now,
            ..Issue::default()
        };
        let issue = self.issues.entry(edit.key.clone()).or_insert_with(made);
        issue.summary = edit.summary.unwrap_or(std::mem::take(&mut issue.summary));
        issue.kind = edit.kind.unwrap_or(std::mem::take(&mut issue.kind));
        match edit.assignee {
            Some(nobody) if nobody.is_empty() => drop(issue.fields.remove("assignee")),
            Some(person) => drop(issue.fields.insert("assignee".to_owned(), json!(person))),
            None => {}
        }
        issue.resolution = edit.resolution.or(issue.resolution.take());
        issue.archived = edit.archived.unwrap_or(issue.archived);
        issue.remaining_seconds = edit.remaining_seconds.or(issue.remaining_seconds);
        let new = issue.id == next && issue.changelog.is_empty();
        let before = issue.status.clone();
        let status = edit.status.unwrap_or_else(|| before.clone());
        let workflow = &mut self.project_mut(project_of(&edit.key)).workflow;
        workflow.know(&status);
        let item = Item::status(workflow, &before, &status);
        let id = self.take_id();
        let issue = self.issues.get_mut(&edit.key).expect("it was just put there");
        issue.status = status;
        if !new && before != issue.status {
            let by = edit.by.unwrap_or_else(|| "admin".to_owned());
            issue.record(Change { id, author: by, created: now, items: vec![item], ..Change::default() });
        }
    }

    /// Files an issue under another key, and lets the old one lead to it.
    pub(super) fn move_issue(&mut self, from: &str, to: &str, now: Timestamp) -> bool {
        if self.issues.contains_key(to) || !self.issues.contains_key(from) {
            return false;
        }
        self.project_mut(project_of(to));
        let mut issue = self.issues.remove(from).expect("it was just seen");
        let id = self.take_id();
        let item = Item::text("Key", from, to);
        issue.record(Change { id, author: "admin".into(), created: now, items: vec![item], ..Change::default() });
        self.moved.insert(from.to_owned(), issue.id);
        self.project_mut(project_of(to)).workflow.know(&issue.status);
        self.issues.insert(to.to_owned(), issue);
        self.rename_key(from, to);
        true
    }

    /// Gives a project another key, and its issues with it; the old ones lead to them.
    pub(super) fn rename_project(&mut self, from: &str, to: &str, now: Timestamp) -> bool {
        if self.projects.contains_key(to) {
            return false;
        }
        let Some(project) = self.projects.remove(from) else { return false };
        self.projects.insert(to.to_owned(), project);
        let keys: Vec<String> = self.issues.keys().filter(|key| project_of(key) == from).cloned().collect();
        for key in keys {
            let number = key.rsplit_once('-').map_or("", |(_, number)| number);
            self.move_issue(&key, &format!("{to}-{number}"), now);
        }
        true
    }

    /// Follows a key in any case, an id, or the key of an issue that moved, to the key it has now.
    pub(super) fn find(&self, reference: &str) -> Option<String> {
        let moved = || {
            let id = self.moved.get(&reference.to_uppercase())?;
            self.issues.iter().find(|(_, issue)| issue.id == *id).map(|(key, _)| key.clone())
        };
        self.known(reference).or_else(moved)
    }

    /// The key of an issue this caller may see.
    pub(super) fn visible(&self, caller: &Caller, reference: &str) -> Result<String, Refusal> {
        let key = self.find(reference).ok_or_else(missing)?;
        match self.may(caller.person.as_deref(), project_of(&key), Permission::Browse) {
            true => Ok(key),
            false => Err(missing()),
        }
    }

    /// The key of an issue on which this caller may do this.
    pub(super) fn open_to(&self, caller: &Caller, reference: &str, what: Permission) -> Result<String, Refusal> {
        let key = self.visible(caller, reference)?;
        self.allow(caller.person()?, &key, what)?;
        Ok(key)
    }

    /// Refuses what a person may not do on an issue that they see.
    pub(super) fn allow(&self, person: &str, key: &str, what: Permission) -> Result<(), Refusal> {
        let forbidden = |message: &str| Err(Refusal::new(StatusCode::FORBIDDEN, message));
        if !self.may(Some(person), project_of(key), Permission::Browse) {
            return Err(missing());
        }
        if self.issues[key].archived {
            return forbidden("The issue is archived and cannot be changed.");
        }
        if self.may(Some(person), project_of(key), what) {
            return Ok(());
        }
        match what {
            Permission::Comment => forbidden("You do not have the permission to comment on this issue."),
            Permission::Work => forbidden("You do not have the permission to associate a worklog to this issue."),
            Permission::Link => forbidden("You do not have permission to link issues in this project."),
            // The real one finds nothing wrong but the request.
            Permission::Transition => Err(Refusal::bad("You do not have permission to transition this issue.")),
            _ => forbidden("You do not have the permission to do this."),
        }
    }

    /// Shows an issue, with those of its fields that are asked for.
    pub(super) fn show_issue(&self, key: &str, caller: &Caller, fields: &[String]) -> Value {
        let issue = &self.issues[key];
        let all = self.fields(key, caller);
        let mut shown: Map<String, Value> = all.as_object().cloned().unwrap_or_default();
        let asked = |name: &String| {
            let named = |field: &String| field == name || field == "*all" || field == "*navigable";
            let taken = fields.iter().any(|field| field.strip_prefix('-') == Some(name));
            !taken && (fields.iter().all(|field| field.starts_with('-')) || fields.iter().any(named))
        };
        shown.retain(|name, _| asked(name));
        json!({
            "id": issue.id.to_string(), "key": key, "self": format!("{}/issue/{}", caller.root, issue.id),
            "expand": "renderedFields,names,schema,transitions,operations,editmeta,changelog",
            "fields": shown,
        })
    }

    fn fields(&self, key: &str, caller: &Caller) -> Value {
        let issue = &self.issues[key];
        let project = &self.projects[project_of(key)];
        let logged: u64 = issue.worklogs.iter().map(|worklog| worklog.seconds).sum();
        let mut tracking = json!({ "timeSpent": self.time.pretty(logged), "timeSpentSeconds": logged });
        if let Some(left) = issue.remaining_seconds {
            tracking["remainingEstimate"] = json!(self.time.pretty(left));
            tracking["remainingEstimateSeconds"] = json!(left);
        }
        let whole = Page::default();
        let mut fields = json!({
            "summary": issue.summary,
            "status": project.workflow.show_status(&issue.status, &caller.root),
            "resolution": issue.resolution.as_ref().map(|name| project.workflow.show_resolution(name, &caller.root)),
            "project": project.show(project_of(key), caller),
            "issuetype": {
                "self": format!("{}/issuetype/10001", caller.root), "id": "10001", "name": issue.kind, "subtask": false,
                "description": "A piece of work.", "iconUrl": format!("{}/images/task.svg", caller.site),
            },
            "created": stamp(issue.created),
            "updated": stamp(issue.updated),
            "timetracking": tracking,
            "labels": [],
            "fixVersions": [],
            "assignee": null,
            "comment": self.show_comments(key, caller, whole, false, false),
            "worklog": self.show_worklogs(issue.worklogs.iter().collect(), key, caller, whole, false),
        });
        for (name, value) in &issue.fields {
            fields[name] = match (name.as_str(), value.as_str()) {
                ("assignee", Some(person)) => self.show_person(person, caller),
                _ => value.clone(),
            };
        }
        fields
    }
}

impl Issue {
    /// Notes a change in the history, unless nothing changed.
    pub(super) fn record(&mut self, change: Change) {
        self.updated = change.created;
        if !change.items.is_empty() {
            self.changelog.push(change);
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    fields: Option<String>,
}

async fn one(
    From(app): From<App>,
    caller: Caller,
    Path(OfIssue { issue }): Path<OfIssue>,
    Query(Fields { fields }): Query<Fields>,
    Query(expand): Query<Expand>,
) -> Answer {
    let (world, _) = app.enter();
    let key = world.state.visible(&caller, &issue)?;
    let fields: Vec<String> = fields.iter().flat_map(|list| list.split(',')).map(|name| name.trim().into()).collect();
    let mut shown = world.state.show_issue(&key, &caller, &fields);
    if expand.has("changelog") {
        shown["changelog"] = world.state.show_histories(&key, &caller);
    }
    Ok(Json(shown).into_response())
}

async fn fetch(From(app): From<App>, caller: Caller, Sent(body): Sent) -> Answer {
    let wanted: Vec<&str> = texts(&body["issueIdsOrKeys"]).collect();
    if !body["issueIdsOrKeys"].is_array() || wanted.len() > FETCHED {
        return Err(Refusal::bad(format!("issueIdsOrKeys has to hold at most {FETCHED} ids or keys.")));
    }
    let (world, _) = app.enter();
    let fields: Vec<String> = texts(&body["fields"]).map(str::to_owned).collect();
    // What is unknown or not to be seen is left out, of the errors too.
    let keys: BTreeMap<u64, String> = wanted
        .iter()
        .filter_map(|reference| world.state.visible(&caller, reference).ok())
        .map(|key| (world.state.issues[&key].id, key))
        .collect();
    let issues: Vec<Value> = keys.values().map(|key| world.state.show_issue(key, &caller, &fields)).collect();
    Ok(Json(json!({ "expand": "", "issueErrors": [], "issues": issues })).into_response())
}

async fn gone() -> Refusal {
    Refusal::new(
        StatusCode::GONE,
        "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API.",
    )
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Search {
    jql: String,
    fields: String,
    validate_query: Option<String>,
}

async fn search_by_query(
    app: From<App>,
    caller: Caller,
    Query(Search { jql, fields, validate_query }): Query<Search>,
    Query(page): Query<Page>,
) -> Answer {
    let fields = fields.split(',').map(str::to_owned).filter(|field| !field.is_empty()).collect();
    found(&app, &caller, &jql, fields, validate_query.is_none_or(|validate| validate == "true"), page)
}

async fn search(app: From<App>, caller: Caller, Sent(body): Sent) -> Answer {
    let page = serde_json::from_value(body.clone()).map_err(|_| Refusal::bad("startAt and maxResults are numbers"))?;
    let fields = texts(&body["fields"]).map(str::to_owned).collect();
    found(&app, &caller, body["jql"].as_str().unwrap_or_default(), fields, body["validateQuery"] != false, page)
}

/// Answers a query. Cloud always checks the keys in it, tells no total, and gives ids alone unless told otherwise.
fn found(app: &App, caller: &Caller, jql: &str, mut fields: Vec<String>, strict: bool, page: Page) -> Answer {
    let cloud = caller.flavour == Flavour::Cloud;
    let query = Jql::read(jql)?;
    if cloud && query == Jql::All(Vec::new()) {
        return Err(Refusal::bad(
            "Unbounded JQL queries are not allowed here. Please add a search restriction to your query.",
        ));
    }
    let (world, _) = app.enter();
    let state = &world.state;
    let unknown = query.keys().into_iter().find(|key| state.visible(caller, key).is_err());
    if let Some(key) = unknown.filter(|_| cloud || strict) {
        return Err(Refusal::bad(format!("An issue with key '{key}' does not exist for field 'key'.")));
    }
    let mut keys: Vec<&String> = state
        .issues
        .iter()
        .filter(|(key, issue)| state.visible(caller, key).is_ok() && query.finds(state, caller, key, issue))
        .map(|(key, _)| key)
        .collect();
    match jql.to_lowercase().contains("order by") {
        true => keys.sort_by_key(|key| std::cmp::Reverse(state.issues[*key].updated)),
        false => keys.sort_by_key(|key| state.issues[*key].id),
    }
    let total = keys.len();
    let only_ids = cloud && (fields.is_empty() || fields == ["id"]);
    if only_ids {
        fields = vec!["id".to_owned()];
    }
    let shown = keys.into_iter().map(|key| match only_ids {
        true => json!({ "id": state.issues[key].id.to_string() }),
        false => state.show_issue(key, caller, &fields),
    });
    let (start, size, issues) = page.of::<Value>(shown.collect(), 50, 1_000);
    let answer = match cloud {
        true => json!({ "issues": issues, "isLast": true }),
        false => json!({
            "expand": "schema,names", "startAt": start, "maxResults": size, "total": total, "issues": issues,
        }),
    };
    Ok(Json(answer).into_response())
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}
