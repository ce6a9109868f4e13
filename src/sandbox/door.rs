//! The doors of Jira: groups of addresses that a rule of misbehaviour can name.

use axum::http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

/// A group of Jira's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Door {
    Any,

    // Development information and what leads to it.
    Bulk,
    Delete,
    Read,
    Token,
    Tenant,

    /// All of the platform's REST API.
    Platform,
    /// All that changes something through it.
    Write,
    Myself,
    FindPeople,
    Permissions,
    /// What the site says of itself and its projects.
    Site,
    ReadIssue,
    EditIssue,
    /// Many issues by their keys.
    FindIssues,
    AddComment,
    ChangeComment,
    ReadComments,
    AddWorklog,
    ChangeWorklog,
    ReadWorklogs,
    Transition,
    ReadTransitions,
    ReadChangelog,
    Link,
    ReadLinks,
}

impl Door {
    /// The door a request knocks at; pages and the switchboard have none.
    pub(super) fn of(method: &Method, path: &str) -> Option<Door> {
        if let Some(rest) = platform(path) {
            return Some(Door::of_platform(method, rest));
        }
        match path {
            "/" => None,
            _ if path.starts_with("/sandbox/") || path.starts_with("/browse/") => None,
            "/oauth/token" => Some(Door::Token),
            "/_edge/tenant_info" => Some(Door::Tenant),
            _ if method == Method::DELETE => Some(Door::Delete),
            _ if method == Method::POST && path.ends_with("/bulk") => Some(Door::Bulk),
            _ if path.starts_with("/jira/") => Some(Door::Read),
            _ => Some(Door::Any),
        }
    }

    fn of_platform(method: &Method, rest: &str) -> Door {
        let (reads, adds) = (method == Method::GET, method == Method::POST);
        let parts: Vec<&str> = rest.split('/').collect();
        match parts.as_slice() {
            ["myself"] => Door::Myself,
            ["user", ..] => Door::FindPeople,
            ["mypermissions"] => Door::Permissions,
            ["issue", "bulkfetch"] | ["search", ..] => Door::FindIssues,
            ["issue", _] if method == Method::PUT => Door::EditIssue,
            ["issue", _] => Door::ReadIssue,
            ["comment", "list"] => Door::ReadComments,
            ["issue", _, "comment", ..] | ["comment", ..] if reads => Door::ReadComments,
            ["issue", _, "comment"] if adds => Door::AddComment,
            ["issue", _, "comment", ..] | ["comment", ..] => Door::ChangeComment,
            ["issue", _, "worklog", ..] if reads => Door::ReadWorklogs,
            ["issue", _, "worklog"] if adds => Door::AddWorklog,
            ["issue", _, "worklog", ..] => Door::ChangeWorklog,
            ["issue", _, "transitions"] => {
                if reads {
                    Door::ReadTransitions
                } else {
                    Door::Transition
                }
            }
            ["issue", _, "changelog"] => Door::ReadChangelog,
            ["issue", _, "remotelink", ..] => {
                if reads {
                    Door::ReadLinks
                } else {
                    Door::Link
                }
            }
            _ => Door::Site,
        }
    }

    /// Whether a rule on this door is meant for a request at that one.
    pub(super) fn covers(self, other: Door) -> bool {
        match self {
            Door::Any => true,
            Door::Platform => other.is_platform(),
            Door::Write => other.writes(),
            door => door == other,
        }
    }

    /// What a fine answer would say.
    pub(super) fn success(self) -> StatusCode {
        match self {
            Door::Bulk | Door::Delete => StatusCode::ACCEPTED,
            Door::AddComment | Door::AddWorklog | Door::Link => StatusCode::CREATED,
            Door::EditIssue => StatusCode::NO_CONTENT,
            _ => StatusCode::OK,
        }
    }

    pub(super) fn is_platform(self) -> bool {
        !matches!(self, Door::Any | Door::Bulk | Door::Delete | Door::Read | Door::Token | Door::Tenant)
    }

    /// Whether it changes an issue.
    pub(super) fn writes(self) -> bool {
        use Door::{AddComment, AddWorklog, ChangeComment, ChangeWorklog, EditIssue, Link, Transition};
        matches!(self, AddComment | ChangeComment | AddWorklog | ChangeWorklog | EditIssue | Transition | Link)
    }
}

/// What follows the base address of the platform's API.
fn platform(path: &str) -> Option<&str> {
    let (base, rest) = path.split_once("/rest/api/")?;
    (base.is_empty() || base.starts_with("/ex/jira/")).then_some(rest.split_once('/')?.1)
}

/// The issue an address is about, as the address calls it.
pub(super) fn issue_of(path: &str) -> Option<&str> {
    platform(path)?.strip_prefix("issue/")?.split('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, path: &str, door: Door) {
        assert_eq!(Door::of(&method, path), Some(door), "{method} {path}");
    }

    #[test]
    fn each_address_is_behind_the_door_of_what_it_does() {
        check(Method::POST, "/rest/api/3/issue/A-1/comment", Door::AddComment);
        check(Method::GET, "/ex/jira/x/rest/api/3/issue/A-1/comment", Door::ReadComments);
        check(Method::POST, "/rest/api/3/comment/list", Door::ReadComments);
        check(Method::PUT, "/rest/api/2/issue/A-1/comment/1", Door::ChangeComment);
        check(Method::POST, "/rest/api/2/issue/A-1/transitions", Door::Transition);
        check(Method::POST, "/rest/api/3/issue/bulkfetch", Door::FindIssues);
        check(Method::DELETE, "/jira/devinfo/0.1/cloud/x/repository/1", Door::Delete);
        assert_eq!(Door::of(&Method::GET, "/browse/A-1"), None);
        assert!(Door::Write.covers(Door::AddWorklog) && !Door::Write.covers(Door::ReadIssue));
        assert!(Door::Platform.covers(Door::Site) && !Door::Platform.covers(Door::Bulk));
        assert_eq!(issue_of("/rest/api/2/issue/A-1/comment/1"), Some("A-1"));
    }
}
