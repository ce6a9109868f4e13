//! What an account is at its site and what it may do there, asked before it is trusted with anything.

use serde::Deserialize;
use serde_json::Value;

use super::Kind;
use super::outcome::Obstacle;
use super::platform::{Person, Platform, read};

/// Who an account is, and what time it is where it was asked.
#[derive(Clone, Debug)]
pub struct Introduced {
    pub person: Person,
    /// By how many milliseconds Jira's clock is ahead of ours, where Jira says what time it is.
    pub ahead: Option<i64>,
}

/// A project that the account sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub key: String,
    /// Whether customers read what is said there unless it is marked as internal.
    pub service_desk: bool,
}

/// Something that carrying out orders takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// What Jira's permission schemes call it.
    pub name: &'static str,
    /// What the account cannot do without it.
    pub what: &'static str,
    key: &'static str,
}

const RIGHTS: [Right; 6] = [
    Right { key: "BROWSE_PROJECTS", name: "Browse Projects", what: "see its issues" },
    Right { key: "ADD_COMMENTS", name: "Add Comments", what: "comment" },
    Right { key: "WORK_ON_ISSUES", name: "Work On Issues", what: "log work" },
    Right { key: "TRANSITION_ISSUES", name: "Transition Issues", what: "move issues" },
    Right { key: "DELETE_OWN_COMMENTS", name: "Delete Own Comments", what: "take back a comment that came twice" },
    Right { key: "DELETE_OWN_WORKLOGS", name: "Delete Own Worklogs", what: "take back work that was logged twice" },
];

/// The most projects that Jira is asked for at once.
const TOGETHER: usize = 50;

impl Platform {
    /// Gives those of the projects with these keys that the account sees; of no keys, the first of all it sees.
    pub async fn projects(&self, keys: &[String], now: i64) -> Result<Vec<Seen>, Obstacle> {
        let mut seen = Vec::new();
        match self.kind {
            Kind::DataCenter => seen = read::<Vec<Project>>(&self.get(&["project"], &[], now).await?)?,
            Kind::Cloud if keys.is_empty() => seen = self.search_projects(&[], now).await?,
            Kind::Cloud => {
                for some in keys.chunks(TOGETHER) {
                    seen.extend(self.search_projects(some, now).await?);
                }
            }
        }
        seen.retain(|project| keys.is_empty() || keys.contains(&project.key));
        seen.truncate(if keys.is_empty() { TOGETHER } else { seen.len() });
        Ok(seen.into_iter().map(Project::into_seen).collect())
    }

    /// Gives what the account lacks in a project.
    pub async fn lacks(&self, project: &str, now: i64) -> Result<Vec<Right>, Obstacle> {
        let names = RIGHTS.map(|right| right.key).join(",");
        // Data Center tells all of them, and does not know the word.
        let asked: &[(&str, &str)] = match self.kind {
            Kind::Cloud => &[("projectKey", project), ("permissions", &names)],
            Kind::DataCenter => &[("projectKey", project)],
        };
        let Permitted { permissions } = read(&self.get(&["mypermissions"], asked, now).await?)?;
        let lacks = |right: &Right| permissions[right.key]["havePermission"] == false;
        Ok(RIGHTS.into_iter().filter(lacks).collect())
    }

    async fn search_projects(&self, keys: &[String], now: i64) -> Result<Vec<Project>, Obstacle> {
        let most = TOGETHER.to_string();
        let keys = keys.iter().map(|key| ("keys", key.as_str()));
        let query: Vec<(&str, &str)> = [("maxResults", most.as_str())].into_iter().chain(keys).collect();
        let Projects { values } = read(&self.get(&["project", "search"], &query, now).await?)?;
        Ok(values)
    }
}

impl Person {
    /// Names them for a person: what they are called, and what tells them from others of that name.
    pub fn shown(&self) -> String {
        let own = [&self.email_address, &self.name, &self.account_id, &self.key];
        let own = own.into_iter().flatten().find(|text| !text.is_empty());
        match (self.display_name.as_deref().filter(|name| !name.is_empty()), own) {
            (Some(name), Some(own)) if name != own => format!("{name} ({own})"),
            (Some(name), _) => name.to_owned(),
            (None, Some(own)) => own.clone(),
            (None, None) => "somebody without a name".to_owned(),
        }
    }
}

#[derive(Deserialize)]
struct Projects {
    values: Vec<Project>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Project {
    key: String,
    project_type_key: Option<String>,
}

impl Project {
    fn into_seen(self) -> Seen {
        Seen { key: self.key, service_desk: self.project_type_key.as_deref() == Some("service_desk") }
    }
}

#[derive(Deserialize)]
struct Permitted {
    #[serde(default)]
    permissions: Value,
}
