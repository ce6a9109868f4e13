//! What Jira says of issues, as the daemon tells whoever asks it on this machine.
//!
//! Somebody who checks a message, or looks for an issue to work on, asks the daemon ([`Ask`]) and hears [`About`] each
//! key. The daemon answers from what it remembers, and asks Jira for the rest as long as the asker is ready to wait.
//! Not to know is an answer of its own: what follows from it is up to whoever asked.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::git::Ident;

/// A question about issues.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Ask {
    /// The git directory whose account says which site is asked; without one, `site` does.
    #[n(0)]
    pub git_dir: Option<String>,
    /// The site's name; empty for the only one.
    #[n(1)]
    pub site: String,
    #[n(2)]
    pub keys: Vec<String>,
    /// Queries of which it is to be said whether each issue is found by them.
    #[n(3)]
    pub queries: Vec<String>,
    /// How long Jira may be waited for, in milliseconds; 0: only what is remembered counts.
    #[n(4)]
    pub wait_ms: u32,
    /// The issues to list besides.
    #[n(5)]
    pub list: List,
}

/// Issues that are not asked for by their keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum List {
    #[default]
    #[n(0)]
    None,
    /// Those assigned to whoever asks that are not done.
    #[n(1)]
    Mine,
    /// Those that are remembered, the latest first; Jira is not asked.
    #[n(2)]
    Remembered,
}

/// What there is to say about a key that was asked for, or that was listed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct About {
    /// As it was asked for.
    #[n(0)]
    pub key: String,
    #[n(1)]
    pub answer: Answer,
    /// For each query, whether the issue is found by it; nothing where that is not known.
    #[n(2)]
    pub matches: Vec<Option<bool>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    #[n(0)]
    Found(#[n(0)] Box<Issue>),
    /// Jira has no such issue, or none that the account may see.
    #[n(1)]
    Missing {
        /// When Jira said so, in milliseconds since the epoch.
        #[n(0)]
        seen: i64,
    },
    /// Jira could not be asked, or not in time.
    #[n(2)]
    Unknown {
        #[n(0)]
        because: String,
    },
}

/// An issue as Jira showed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Issue {
    /// The key it has by now, which is another one when it has moved.
    #[n(0)]
    pub key: String,
    #[n(1)]
    pub id: String,
    /// Empty for somebody else than the one who runs the daemon: who may write to a repository need not be allowed to
    /// read the issue.
    #[n(2)]
    pub summary: String,
    #[n(3)]
    pub status: String,
    #[n(4)]
    pub category: Category,
    /// The name of its type.
    #[n(5)]
    pub kind: String,
    /// The key of its project.
    #[n(6)]
    pub project: String,
    #[n(7)]
    pub assignee: Option<Assignee>,
    /// When Jira showed it, in milliseconds since the epoch.
    #[n(8)]
    pub seen: i64,
}

/// What a status means, whatever it is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    #[default]
    #[n(0)]
    ToDo,
    #[n(1)]
    InProgress,
    #[n(2)]
    Done,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Assignee {
    /// Jira's own id of the account.
    #[n(0)]
    pub account: String,
    /// The name to show.
    #[n(1)]
    pub name: String,
    /// Where Jira lets us see it.
    #[n(2)]
    pub email: Option<String>,
}

/// What the daemon answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Told {
    /// In the order of the keys, then what was listed.
    #[n(0)]
    pub about: Vec<About>,
    /// Why there is less than was asked for.
    #[n(1)]
    pub lacks: Option<String>,
}

/// Orders that somebody typed, to be carried out without a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Typed {
    /// As of [`Ask`].
    #[n(0)]
    pub git_dir: Option<String>,
    #[n(1)]
    pub site: String,
    /// What a commit's message would say: `ABC-1 #time 1h looked into it`.
    #[n(2)]
    pub message: String,
    /// Whoever typed it, as Git knows them, and when.
    #[n(3)]
    pub author: Ident,
    /// How long it may be waited for what comes of it, in milliseconds.
    #[n(4)]
    pub wait_ms: u32,
}

/// The most keys of a question; whoever has more asks again.
pub const MOST_KEYS: usize = 1_000;

impl Category {
    /// Reads Jira's own key of a category: `new`, `indeterminate`, `done`.
    pub fn of(key: &str) -> Category {
        match key {
            "done" => Category::Done,
            "indeterminate" => Category::InProgress,
            _ => Category::ToDo,
        }
    }
}
