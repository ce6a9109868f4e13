//! The history of a repository, from its tips towards the past.
//!
//! The walk from the same tips meets the same commits in the same order, so whoever was interrupted goes on by passing
//! over as many as were read, and knows by the last of them that nothing has changed. Orders of history are not looked
//! at: they are not carried out, and nothing is to be remembered of them.

use std::ops::ControlFlow;

use serde::Deserialize;

use super::{FILES, Links};
use crate::entity::{self, Home};
use crate::event::Seen;
use crate::git::{self, Budget, Commit, Known, Oid, RefName, Repository, Walk};
use crate::parse::IssueKey;
use crate::queue::{Bounds, NewEntity};

/// How much of its history a repository tells when it is met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Extent {
    #[default]
    All,
    None,
    Days(u32),
    Commits(u32),
}

impl TryFrom<String> for Extent {
    type Error = String;

    fn try_from(text: String) -> Result<Extent, String> {
        let wrong = || format!("`{text}` is not a history: `all`, `none`, `90 days` or `1000 commits`");
        let mut words = text.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("all"), None, _) => Ok(Extent::All),
            (Some("none"), None, _) => Ok(Extent::None),
            (Some(number), Some("day" | "days"), None) => number.parse().map(Extent::Days).map_err(|_| wrong()),
            (Some(number), Some("commit" | "commits"), None) => {
                number.parse().map(Extent::Commits).map_err(|_| wrong())
            }
            _ => Err(wrong()),
        }
    }
}

impl Extent {
    /// What of a history is told by it; nothing when none is.
    pub fn bounds(self, now: i64) -> Option<Bounds> {
        match self {
            Extent::None | Extent::Days(0) | Extent::Commits(0) => None,
            Extent::All => Some(Bounds::default()),
            Extent::Days(days) => {
                Some(Bounds { since: Some(now / 1000 - i64::from(days) * 86_400), ..Bounds::default() })
            }
            Extent::Commits(depth) => Some(Bounds { depth: Some(depth.into()), ..Bounds::default() }),
        }
    }
}

/// What is read, and how.
pub struct History<'a> {
    pub repository: &'a Repository,
    pub tips: &'a [Oid],
    pub bounds: &'a Bounds,
    pub links: &'a Links,
    pub home: &'a Home,
}

/// A piece of history.
#[derive(Default)]
pub struct Piece {
    /// How many commits were read, and how many of them name an issue that is to be told.
    pub seen: u64,
    pub keyed: u64,
    /// The last of them.
    pub last: Option<Oid>,
    pub entities: Vec<NewEntity>,
}

/// How a reading ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// All was read but for objects that are missing.
    Read { missing: usize },
    /// Whoever takes the pieces has had enough.
    Enough,
    /// The walk no longer goes the way it went.
    Astray,
}

/// How many commits are read before they are handed on: what a reading that is killed has to read again.
pub const PIECE: u64 = 200;
/// How many bytes of messages a piece holds at most, or a little more.
const BYTES: usize = 1024 * 1024;
/// How many commits in a row are older than a window, before what is behind them is taken to be older too.
const SLOP: usize = 1000;

impl History<'_> {
    /// Counts the commits there are to be read.
    pub fn count(&self) -> Result<u64, git::Error> {
        let mut count = 0;
        self.walk(&mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        })?;
        Ok(count)
    }

    /// Counts the commits to be told and those of them that name an issue, without reading their files.
    pub fn count_keyed(&self) -> Result<(u64, u64), git::Error> {
        let (mut count, mut keyed) = (0, 0);
        self.walk(&mut |commit, inside| {
            count += u64::from(inside);
            keyed += u64::from(inside && self.keys_of(&commit).is_some());
            ControlFlow::Continue(())
        })?;
        Ok((count, keyed))
    }

    /// Reads what comes after the first `passed` commits, of which the last is `trail`.
    pub fn read(
        &self,
        passed: u64,
        trail: &str,
        each: &mut dyn FnMut(Piece) -> ControlFlow<()>,
    ) -> Result<End, git::Error> {
        let (mut seen, mut astray, mut enough) = (0, false, false);
        let (mut piece, mut named, mut bytes) = (Piece::default(), Vec::new(), 0);
        let walk = self.walk(&mut |commit, inside| {
            seen += 1;
            if seen <= passed {
                astray = seen == passed && commit.id.to_string() != trail;
                return if astray { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            }
            piece.seen += 1;
            piece.last = Some(commit.id);
            if let Some(keys) = self.keys_of(&commit).filter(|_| inside) {
                bytes += commit.message.len();
                named.push((commit, keys));
            }
            if piece.seen < PIECE && bytes < BYTES {
                return ControlFlow::Continue(());
            }
            bytes = 0;
            let going = each(self.finish(std::mem::take(&mut piece), std::mem::take(&mut named)));
            enough = going.is_break();
            going
        })?;
        if astray || seen < passed {
            return Ok(End::Astray);
        }
        if enough || (piece.seen > 0 && each(self.finish(piece, named)).is_break()) {
            return Ok(End::Enough);
        }
        Ok(End::Read { missing: walk.missing })
    }

    /// The branches whose names name an issue, with where they are.
    pub fn branches(&self, places: &[(RefName, Oid)]) -> Vec<(RefName, Oid, NewEntity)> {
        let branches = places.iter().filter(|(name, _)| name.is_branch());
        let told = branches.filter_map(|(name, id)| {
            let keys = self.wanted(self.links.of_branch(name))?;
            let last = self.repository.commit(*id).ok()?;
            Some((name.clone(), *id, entity::branch(name, &last, &keys, self.home)?))
        });
        told.collect()
    }

    /// Walks what is within the bounds; says of each commit whether it is inside.
    fn walk(&self, each: &mut dyn FnMut(Commit, bool) -> ControlFlow<()>) -> Result<Walk, git::Error> {
        let depth = self.bounds.depth.map_or(usize::MAX, |depth| usize::try_from(depth).unwrap_or(usize::MAX));
        let budget = Budget { commits: depth, until: None };
        let mut older = 0;
        self.repository.walk_each(self.tips, &Known::nothing(), budget, &mut |commit| {
            let inside = self.bounds.since.is_none_or(|since| commit.committer.at >= since);
            older = if inside { 0 } else { older + 1 };
            if older > SLOP { ControlFlow::Break(()) } else { each(commit, inside) }
        })
    }

    /// The keys of a commit, if it is to be told.
    fn keys_of(&self, commit: &Commit) -> Option<Vec<IssueKey>> {
        self.wanted(self.links.of_commit(commit, &[]))
    }

    fn wanted(&self, keys: Vec<IssueKey>) -> Option<Vec<IssueKey>> {
        let named = |issue: &String| keys.iter().any(|key| key.to_string() == *issue);
        (!keys.is_empty() && self.bounds.issue.as_ref().is_none_or(named)).then_some(keys)
    }

    /// Reads the files of a piece's commits.
    fn finish(&self, piece: Piece, named: Vec<(Commit, Vec<IssueKey>)>) -> Piece {
        let commits: Vec<&Commit> = named.iter().map(|(commit, _)| commit).collect();
        let files = self.repository.files_of(None, &commits, FILES);
        let entities = named.into_iter().zip(files).filter_map(|((commit, keys), files)| {
            entity::commit(&Seen { commit, files: files.ok(), cut: false }, &keys, self.home)
        });
        let entities: Vec<NewEntity> = entities.collect();
        Piece { keyed: entities.len() as u64, entities, ..piece }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h5_a_history_is_bounded_by_days_or_by_commits() {
        let extent = |text: &str| Extent::try_from(text.to_owned());
        assert_eq!(extent("all"), Ok(Extent::All));
        assert_eq!(extent("none").unwrap().bounds(0), None);
        assert_eq!(extent("90 days").unwrap().bounds(86_400_000 * 91).unwrap().since, Some(86_400));
        assert_eq!(extent("1 commit").unwrap().bounds(0).unwrap().depth, Some(1));
        for wrong in ["", "90", "days", "-1 days", "all of it", "9 weeks", "3 days 4"] {
            assert!(extent(wrong).unwrap_err().contains("1000 commits"), "{wrong}");
        }
    }
}
