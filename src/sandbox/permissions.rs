//! Permissions: what a person may do in a project, and how they learn it.
//!
//! Everybody may do everything until the switchboard takes it away; nobody, that is an anonymous caller, may do nothing.
//! A project that may not be browsed is as good as none: its issues answer 404.

use axum::Router;
use axum::extract::State as From;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::App;
use super::issues::project_of;
use super::rest::{Answer, Caller, Refusal};
use super::state::State;
use crate::request::{Json, Query, get};

/// Something a person may be forbidden to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Permission {
    Browse,
    Comment,
    Work,
    Transition,
    Link,
    Edit,
    Assign,
    /// To find other people; of the whole site, not of a project.
    BrowseUsers,
    /// To delete and edit what others wrote.
    Moderate,
    DeleteOwnComments,
    DeleteOwnWorklogs,
}

impl Permission {
    const ALL: [Permission; 11] = [
        Permission::Browse,
        Permission::Comment,
        Permission::Work,
        Permission::Transition,
        Permission::Link,
        Permission::Edit,
        Permission::Assign,
        Permission::BrowseUsers,
        Permission::Moderate,
        Permission::DeleteOwnComments,
        Permission::DeleteOwnWorklogs,
    ];

    /// What Jira calls it: a key, and words for people.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Permission::Browse => ("BROWSE_PROJECTS", "Browse Projects"),
            Permission::Comment => ("ADD_COMMENTS", "Add Comments"),
            Permission::Work => ("WORK_ON_ISSUES", "Work On Issues"),
            Permission::Transition => ("TRANSITION_ISSUES", "Transition Issues"),
            Permission::Link => ("LINK_ISSUES", "Link Issues"),
            Permission::Edit => ("EDIT_ISSUES", "Edit Issues"),
            Permission::Assign => ("ASSIGN_ISSUES", "Assign Issues"),
            Permission::BrowseUsers => ("USER_PICKER", "Browse Users"),
            Permission::Moderate => ("DELETE_ALL_COMMENTS", "Delete All Comments"),
            Permission::DeleteOwnComments => ("DELETE_OWN_COMMENTS", "Delete Own Comments"),
            Permission::DeleteOwnWorklogs => ("DELETE_OWN_WORKLOGS", "Delete Own Worklogs"),
        }
    }
}

/// Gives the route that tells a caller what they may do.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/mypermissions", get(mine))
}

impl State {
    /// Whether a person may do this in a project.
    pub(super) fn may(&self, person: Option<&str>, project: &str, permission: Permission) -> bool {
        let Some(person) = person.and_then(|name| self.people.get(name)) else { return false };
        let denied = |place: &str| person.denied.get(place).is_some_and(|denied| denied.contains(&permission));
        !denied("*") && !denied(project)
    }

    /// Gives or takes a permission; nothing is said where there is no such person.
    pub(super) fn permit(&mut self, person: &str, project: &str, permission: Permission, granted: bool) -> bool {
        let Some(person) = self.people.get_mut(person) else { return false };
        let denied = person.denied.entry(project.to_owned()).or_default();
        let _ = if granted { denied.remove(&permission) } else { denied.insert(permission) };
        true
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Where {
    project_key: Option<String>,
    issue_key: Option<String>,
    issue_id: Option<String>,
    permissions: Option<String>,
}

async fn mine(From(app): From<App>, caller: Caller, Query(asked): Query<Where>) -> Answer {
    let (world, _) = app.enter();
    let wanted = wanted(&caller, asked.permissions.as_deref())?;
    let project = match (&asked.project_key, asked.issue_id.as_ref().or(asked.issue_key.as_ref())) {
        (_, Some(issue)) => Some(project_of(&world.state.visible(&caller, issue)?).to_owned()),
        (Some(project), None) if world.state.projects.contains_key(project) => Some(project.clone()),
        (Some(project), None) => {
            return Err(Refusal::new(
                StatusCode::NOT_FOUND,
                format!("No project could be found with key '{project}'."),
            ));
        }
        (None, None) => None,
    };
    let mut permissions = json!({});
    for permission in wanted {
        let (key, words) = permission.names();
        let may = match &project {
            Some(project) => world.state.may(caller.person.as_deref(), project, permission),
            // Asked for no project in particular, it is had where it is had in any.
            None => world
                .state
                .projects
                .keys()
                .any(|project| world.state.may(caller.person.as_deref(), project, permission)),
        };
        let kind = if permission == Permission::BrowseUsers { "GLOBAL" } else { "PROJECT" };
        permissions[key] = json!({
            "id": (10 + permission as u32).to_string(), "key": key, "name": words, "type": kind, "description": words,
            "havePermission": may,
        });
    }
    Ok(Json(json!({ "permissions": permissions })).into_response())
}

/// The permissions asked for: Cloud wants them named, Data Center tells all.
fn wanted(caller: &Caller, names: Option<&str>) -> Result<Vec<Permission>, Refusal> {
    if !caller.is_cloud() {
        return Ok(Permission::ALL.to_vec());
    }
    let names = names.filter(|names| !names.is_empty());
    let names = names.ok_or_else(|| Refusal::bad("The 'permissions' query parameter is required."))?;
    let known = |name: &str| Permission::ALL.into_iter().find(|permission| permission.names().0 == name);
    let unknown = |name: &str| Refusal::bad(format!("Unrecognized permission: {name}"));
    names.split(',').map(|name| known(name).ok_or_else(|| unknown(name))).collect()
}
