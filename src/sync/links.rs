//! What a commit or a branch is linked to: the keys that its own text names, and what people have put right.

use std::sync::Arc;

use super::keys;
use crate::entity::branch_id;
use crate::git::{Commit, RefName};
use crate::parse::{IssueKey, Mentions, Rules};
use crate::queue::Corrections;

/// How the commits and branches of one repository are linked.
#[derive(Clone)]
pub struct Links {
    /// How messages and names are read.
    pub rules: Arc<Rules>,
    /// What people have put right.
    pub corrections: Corrections,
    /// Whether commits that join lines of history are left out, unless a person links one.
    pub ignores_merges: bool,
}

impl Links {
    /// Links by these rules, with nothing put right.
    pub fn of(rules: Arc<Rules>) -> Links {
        Links { rules, corrections: Corrections::default(), ignores_merges: false }
    }

    /// What a commit is linked to; `beside` are keys that it takes from elsewhere.
    pub fn of_commit(&self, commit: &Commit, beside: &[IssueKey]) -> Vec<IssueKey> {
        self.of_mentions(commit, &self.rules.message(&commit.message), beside)
    }

    /// The same where its message was read before.
    pub fn of_mentions(&self, commit: &Commit, mentions: &Mentions, beside: &[IssueKey]) -> Vec<IssueKey> {
        if self.ignores(commit) {
            return self.corrections.commit(commit.id, Vec::new());
        }
        let mut keys = keys(mentions);
        keys.extend(beside.iter().filter(|key| !keys.contains(key)).cloned().collect::<Vec<_>>());
        self.corrections.commit(commit.id, keys)
    }

    /// Whether what a commit says counts for nothing.
    pub fn ignores(&self, commit: &Commit) -> bool {
        self.ignores_merges && commit.is_merge()
    }

    /// What a branch is linked to.
    pub fn of_branch(&self, name: &RefName) -> Vec<IssueKey> {
        self.corrections.branch(&branch_id(name.short()), keys(&self.rules.branch(name.short())))
    }
}
