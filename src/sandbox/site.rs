//! The site itself: what it says of its version, its settings and its projects.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State as From;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::App;
use super::permissions::Permission;
use super::rest::{Answer, Caller, Flavour, Page, stamp};
use super::state::State;
use super::workflow::Workflow;
use crate::request::{Json, Query, get};

/// What holds for all issues whose keys begin with its key.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Project {
    pub(super) id: u64,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: ProjectType,
    pub(super) workflow: Workflow,
    #[serde(default)]
    pub(super) versions: Vec<String>,
}

/// What a project is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ProjectType {
    #[default]
    Software,
    ServiceDesk,
    Business,
}

/// How much one issue holds.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) comments: usize,
    pub(super) worklogs: usize,
    pub(super) links: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { comments: 5_000, worklogs: 5_000, links: 2_000 }
    }
}

impl Project {
    pub(super) fn show(&self, key: &str, caller: &Caller) -> Value {
        let mut shown = json!({
            "self": format!("{}/project/{}", caller.root, self.id), "id": self.id.to_string(), "key": key,
            "name": self.name, "projectTypeKey": self.kind,
        });
        if caller.is_cloud() {
            shown["simplified"] = json!(false);
        }
        shown
    }
}

impl State {
    /// Finds a project, or makes it as projects are to begin with.
    pub(super) fn project_mut(&mut self, key: &str) -> &mut Project {
        let next = self.projects.values().map(|project| project.id + 1).max().unwrap_or(10_000);
        let made = || Project {
            id: next,
            name: key.to_owned(),
            kind: ProjectType::default(),
            workflow: Workflow::default(),
            versions: Vec::new(),
        };
        self.projects.entry(key.to_owned()).or_insert_with(made)
    }

    fn browsed(&self, caller: &Caller) -> BTreeMap<&String, &Project> {
        let may = |key: &str| self.may(caller.person.as_deref(), key, Permission::Browse);
        self.projects.iter().filter(|(key, _)| may(key)).collect()
    }
}

/// Gives the routes about the site.
pub(super) fn routes(flavour: Flavour) -> Router<App> {
    let router = Router::new().route("/serverInfo", get(server)).route("/configuration", get(configuration));
    match flavour {
        Flavour::Cloud => router.route("/project/search", get(search)),
        Flavour::DataCenter => router.route("/project", get(all)),
    }
}

/// Says what the site is; the one thing that nobody has to sign in for.
async fn server(From(app): From<App>, caller: Caller) -> Answer {
    let now = app.enter().1;
    let (kind, version, numbers) = match caller.flavour {
        Flavour::Cloud => ("Cloud", "1001.0.0-SNAPSHOT", [1001, 0, 0]),
        Flavour::DataCenter => ("Server", "10.3.24", [10, 3, 24]),
    };
    let answer = json!({
        "baseUrl": caller.site, "version": version, "versionNumbers": numbers, "deploymentType": kind,
        "buildNumber": 100_000, "buildDate": "2026-01-01T00:00:00.000+0000", "serverTime": stamp(now),
        "scmInfo": "0000000", "serverTitle": "Sandbox Jira",
    });
    Ok(Json(answer).into_response())
}

async fn configuration(From(app): From<App>, caller: Caller) -> Answer {
    caller.person()?;
    let (world, _) = app.enter();
    let time = &world.state.time;
    let mut answer = json!({
        "votingEnabled": true, "watchingEnabled": true, "unassignedIssuesAllowed": true, "subTasksEnabled": true,
        "issueLinkingEnabled": true, "timeTrackingEnabled": time.enabled, "attachmentsEnabled": true,
    });
    if time.enabled {
        answer["timeTrackingConfiguration"] = time.show();
    }
    Ok(Json(answer).into_response())
}

async fn search(From(app): From<App>, caller: Caller, Query(page): Query<Page>) -> Answer {
    let (world, _) = app.enter();
    let projects = world.state.browsed(&caller).into_iter().map(|(key, project)| project.show(key, &caller)).collect();
    let mut answer = page.bean(projects, 50, 100);
    answer["self"] = json!(format!("{}/project/search", caller.root));
    Ok(Json(answer).into_response())
}

async fn all(From(app): From<App>, caller: Caller) -> Answer {
    let (world, _) = app.enter();
    let projects = world.state.browsed(&caller).into_iter().map(|(key, project)| project.show(key, &caller));
    Ok(Json(projects.collect::<Vec<_>>()).into_response())
}
