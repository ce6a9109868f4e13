//! The log of what was asked of Jira: enough to count by, and nothing secret.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::state::Kind;

/// Requests the log remembers.
const LOG: usize = 10_000;

/// The latest requests, oldest first.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    /// How many requests there were.
    #[serde(skip)]
    count: u64,
}

/// A line in the log of requests.
#[derive(Clone, Serialize)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) at: Timestamp,
    pub(super) method: String,
    pub(super) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) query: Option<String>,
    /// Absent when the connection was closed without an answer.
    pub(super) status: Option<u16>,
    /// What came of a request whose caller was never told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) applied: Option<u16>,
    /// Whose credentials came with it, where it is of the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) caller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<String>,
    pub(super) bytes: usize,
    #[serde(flatten)]
    pub(super) counts: Counts,
}

/// How much one request carried.
#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counts {
    pub(super) repositories: usize,
    pub(super) commits: usize,
    pub(super) branches: usize,
    pub(super) pull_requests: usize,
}

impl Log {
    /// Adds a request, and gives the number it has here.
    pub(super) fn add(&mut self, mut entry: Entry) -> u64 {
        if self.entries.len() == LOG {
            self.entries.pop_front();
        }
        self.count += 1;
        entry.number = self.count;
        self.entries.push_back(entry);
        self.count
    }

    /// Notes what came of a request in the end.
    pub(super) fn applied(&mut self, number: u64, status: u16) {
        if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.number == number) {
            entry.applied = Some(status);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().rev()
    }
}

impl Counts {
    pub(super) fn of(body: &[u8]) -> Counts {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let repositories = body["repositories"].as_array().map(Vec::as_slice).unwrap_or_default();
        let sum = |kind: Kind| {
            repositories.iter().filter_map(|repository| repository[kind.plural()].as_array()).map(Vec::len).sum()
        };
        Counts {
            repositories: repositories.len(),
            commits: sum(Kind::Commit),
            branches: sum(Kind::Branch),
            pull_requests: sum(Kind::PullRequest),
        }
    }
}
