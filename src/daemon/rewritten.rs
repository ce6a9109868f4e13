//! Commits that refs have left behind leave Jira, and those that come back are told again.
//!
//! A ref that moves may leave commits behind. The line notes each move for which it cannot say at once that nothing was
//! left (`ways`); all of it happens here, beside the line, so a rewrite of any size holds up no event. First what came
//! back with the moves is told again, at once, then, after the account's `forget_rewritten`, what they left behind is
//! told as gone: what Jira was told of, and no branch and no tag of the repository reaches, whatever clocks say.
//!
//! Both go out behind live data and set off neither orders nor workflow triggers. A kill costs nothing: the moves are in
//! the store until all of it is in the outbox, and what is owed twice is owed once. Where an object on the way is missing
//! (a partial or damaged repository) nobody can tell what is reached, and nothing is told as gone.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::clock;
use crate::entity;
use crate::event::{Event, Kind, Origin, Seen};
use crate::git::{self, Budget, Commit, Known, Oid, RefName, Repository};
use crate::host::Account;
use crate::queue::{self, Class, Corrections, Move, Moved, NewEntity, Owing, RepositoryRow};
use crate::sync::Links;

use super::{Applied, Linked, Shared, line};

const TICK: Duration = Duration::from_secs(2);
/// How long a repository that could not be read, or belongs to no site, is left alone.
const AGAIN_MS: i64 = 600_000;
/// How many commits are looked up, or owed, together.
const PORTION: usize = 200;
/// The most files of a commit that Jira takes.
const FILES: usize = 10;

pub async fn run(shared: Arc<Shared>) -> anyhow::Result<()> {
    let mut resting: HashMap<String, i64> = HashMap::new();
    let mut stopped = std::pin::pin!(shared.stopped());
    loop {
        let now = clock::now();
        resting.retain(|_, until| *until > now && *until <= now + AGAIN_MS);
        let due = shared.queue.moves_due(now).await?;
        let due: Vec<String> = due.into_iter().filter(|id| !resting.contains_key(id)).collect();
        let rows = if due.is_empty() { Vec::new() } else { shared.queue.repositories().await? };
        for row in rows.into_iter().filter(|row| due.contains(&row.id)) {
            let id = row.id.clone();
            let owner = Arc::clone(&shared);
            let looked = tokio::task::spawn_blocking(move || look(&owner, &row)).await??;
            if let Err(because) = looked {
                tracing::warn!("what refs of repository {id} have left behind is looked for later: {because}");
                resting.insert(id, clock::now() + AGAIN_MS);
            }
            if *shared.stop.borrow() {
                return Ok(());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = &mut stopped => return Ok(()),
        }
    }
}

/// Notes which ways of an event's refs may have left commits behind or brought some back; blocks.
pub fn note(
    shared: &Shared,
    event: &Event,
    current: &HashSet<RefName>,
    seq: i64,
    handle: &Handle,
) -> Result<(), queue::Error> {
    let applied = shared.applied();
    let after = account(&applied, event.repository.git_dir()).and_then(|account| account.forget_rewritten.0);
    let Some((after, ways)) = after.map(|after| (after, ways(event, current))).filter(|(_, ways)| !ways.is_empty())
    else {
        return Ok(());
    };
    handle.block_on(shared.queue.note_moves(event.repository.id.clone(), ways, seq, clock::now() + after))
}

/// The ways of an event's refs that may have left commits behind or brought some back.
///
/// None of an update to which its hook gave every commit between the old place and the new one.
fn ways(event: &Event, current: &HashSet<RefName>) -> Vec<Move> {
    let seen: HashSet<Oid> = event.commits.iter().map(|seen| seen.commit.id).collect();
    let olds: HashSet<Oid> = event.updates.iter().filter_map(|update| update.old).collect();
    let parents: HashSet<Oid> = event.commits.iter().flat_map(|seen| seen.commit.parents.iter().copied()).collect();
    let whole = event.kind == Kind::Push
        && !event.rest
        && parents.iter().all(|parent| seen.contains(parent) || olds.contains(parent));
    let plain = |update: &git::Update| {
        whole
            && update.new.is_some_and(|new| seen.contains(&new))
            && update.old.is_none_or(|old| parents.contains(&old))
    };
    let ways = event.updates.iter().filter(|update| git::concerns_us(&update.name));
    let ways = ways.flat_map(|update| match current.contains(&update.name) {
        true if plain(update) => Vec::new(),
        true => vec![Move { old: update.old, new: update.new }],
        // The ref has moved on since: where this one led may have been left already.
        false => vec![Move { old: update.old, new: None }, Move { old: update.new, new: None }],
    });
    ways.filter(|way| way.old.is_some() || way.new.is_some()).collect()
}

/// Looks into all moves of a repository that are due; blocks. The inner error is the repository's.
fn look(shared: &Shared, row: &RepositoryRow) -> Result<Result<(), String>, queue::Error> {
    let handle = Handle::current();
    let moves = handle.block_on(shared.queue.moves(row.id.clone()))?;
    let applied = shared.applied();
    let origin = Origin { id: row.id.clone(), git_dir: row.git_dir.clone() };
    let corrections = handle.block_on(shared.queue.corrections(row.id.clone()))?;
    let place = match Place::of(&applied, &origin, corrections) {
        Ok(place) => place,
        Err(because) => return Ok(Err(because)),
    };
    let repository = match line::open(&applied, &origin) {
        Ok(repository) => repository,
        Err(because) => return Ok(Err(because)),
    };
    let look = Look { shared, handle, repository: &repository, id: &row.id, place };
    let (mut fresh, looked): (Vec<Moved>, Vec<Moved>) = moves.into_iter().partition(|moved| !moved.looked);
    if !fresh.is_empty() {
        let ways = fresh.iter().map(|moved| moved.way.clone()).collect();
        match look.come_back(ways)? {
            Ok(()) => look.handle.block_on(shared.queue.looked_at(row.id.clone(), fresh.clone()))?,
            Err(because) => return Ok(Err(because)),
        }
    }
    fresh.extend(looked);
    let now = clock::now();
    let due: Vec<Moved> = fresh.into_iter().filter(|moved| moved.ready_at <= now).collect();
    if !due.is_empty() {
        let olds = due.iter().filter_map(|moved| moved.way.old).collect();
        match look.leave(olds)? {
            Ok(()) => look.handle.block_on(shared.queue.done_with(row.id.clone(), due))?,
            Err(because) => return Ok(Err(because)),
        }
    }
    Ok(Ok(()))
}

/// How messages of a repository are read and where they are told.
pub struct Place {
    pub site: String,
    pub links: Links,
    pub home: entity::Home,
    forgets: bool,
}

impl Place {
    pub fn of(applied: &Applied, origin: &Origin, corrections: Corrections) -> Result<Place, String> {
        let linked = applied.link(origin.git_dir())?;
        let Linked { account, site, .. } = linked;
        Ok(Place {
            site: site.name.clone(),
            links: linked.links(corrections),
            home: account.home(&linked.git_dir, &site.url),
            forgets: account.forget_rewritten.0.is_some(),
        })
    }
}

/// The account of a repository.
fn account<'a>(applied: &'a Applied, git_dir: &Path) -> Option<&'a Account> {
    let real = std::fs::canonicalize(git_dir).unwrap_or_else(|_| git_dir.to_owned());
    applied.config.account_of(&real)
}

/// Where the refs are by which a commit lives: branches and tags, in a clone all there are.
pub fn alive(repository: &Repository) -> Result<Vec<Oid>, String> {
    let refs = repository.refs().map_err(|error| format!("the daemon cannot read its refs: {error}"))?;
    let clone = repository.is_clone();
    Ok(refs.into_iter().filter(|(name, _)| clone || git::concerns_us(name)).map(|(_, id)| id).collect())
}

struct Look<'a> {
    shared: &'a Shared,
    handle: Handle,
    repository: &'a Repository,
    id: &'a str,
    place: Place,
}

type Done = Result<Result<(), String>, queue::Error>;

impl Look<'_> {
    /// Tells again what Jira was told to forget and refs reach again.
    fn come_back(&self, ways: Vec<Move>) -> Done {
        if !self.handle.block_on(self.shared.queue.has_gone(self.id.to_owned()))? {
            return Ok(Ok(()));
        }
        let alive = match self::alive(self.repository) {
            Ok(alive) => alive,
            Err(because) => return Ok(Err(because)),
        };
        let news: HashSet<Oid> = ways.iter().filter_map(|way| way.new).collect();
        // Where a way began was reached before all of these, unless one of them led there.
        let olds = ways.iter().filter_map(|way| way.old);
        let known: Vec<Oid> = alive.iter().copied().chain(olds).filter(|id| !news.contains(id)).collect();
        // What was left again since does not come back.
        let mut tips: HashSet<Oid> = news;
        if let Err(because) = self.reached(&alive, &mut tips) {
            return Ok(Err(because));
        }
        let tips: Vec<Oid> = tips.into_iter().collect();
        self.each_portion(&tips, &Known::new(known), &mut |commits| self.tell_again(commits))
    }

    /// Tells as gone what Jira was told of these commits and their history, and no ref reaches.
    fn leave(&self, olds: Vec<Oid>) -> Done {
        if !self.place.forgets {
            return Ok(Ok(()));
        }
        let alive = match self::alive(self.repository) {
            Ok(alive) => alive,
            Err(because) => return Ok(Err(because)),
        };
        let mut told: HashSet<Oid> = HashSet::new();
        let known = Known::new(alive.iter().copied());
        // What this walk gives is told from what is reached all the same below.
        let walked = self.each_portion(&olds, &known, &mut |commits| {
            let ids = commits.iter().map(|commit| commit.id.to_string()).collect();
            let asked = self.shared.queue.told_of(self.place.site.clone(), self.id.to_owned(), ids);
            told.extend(self.handle.block_on(asked)?.iter().filter_map(|id| Oid::from_hex(id.as_bytes())));
            Ok(())
        })?;
        if walked.is_err() || told.is_empty() {
            return Ok(walked);
        }
        if let Err(error) = self.repository.take_reached(&alive, &mut told) {
            tracing::warn!("nobody can tell what refs of repository {} have left behind: {error}", self.id);
            return Ok(Ok(()));
        }
        let gone: Vec<NewEntity> = told.iter().map(|id| entity::commit_gone(*id, &self.place.home)).collect();
        let count = self.owe(gone)?;
        if count > 0 {
            tracing::info!("{count} commits of repository {} are reached by no ref any more", self.id);
        }
        // A ref may have come back while history was read.
        let before: HashSet<Oid> = alive.into_iter().collect();
        let since = self::alive(self.repository).unwrap_or_default().into_iter().filter(|id| !before.contains(id));
        self.come_back(since.map(|new| Move { old: None, new: Some(new) }).collect())
    }

    fn tell_again(&self, commits: Vec<Commit>) -> Result<(), queue::Error> {
        let ids = commits.iter().map(|commit| commit.id.to_string()).collect();
        let asked = self.shared.queue.gone_of(self.place.site.clone(), self.id.to_owned(), ids);
        let gone: HashMap<String, Vec<String>> =
            self.handle.block_on(asked)?.into_iter().map(|gone| (gone.id, gone.keys)).collect();
        let back: Vec<(&Commit, &Vec<String>)> =
            commits.iter().filter_map(|commit| Some((commit, gone.get(&commit.id.to_string())?))).collect();
        if back.is_empty() {
            return Ok(());
        }
        let read: Vec<&Commit> = back.iter().map(|(commit, _)| *commit).collect();
        let files = self.repository.files_of(None, &read, FILES);
        let entities = back.into_iter().zip(files).filter_map(|((commit, before), files)| {
            let before = before.iter().filter_map(|key| key.parse().ok());
            let before: Vec<_> = before.filter(|key| self.place.links.rules.links(key)).collect();
            let keys = self.place.links.of_commit(commit, &before);
            let seen = Seen { commit: commit.clone(), files: files.ok(), cut: false };
            entity::commit(&seen, &keys, &self.place.home)
        });
        let count = self.owe(entities.collect())?;
        tracing::info!("{count} commits of repository {} are reached again", self.id);
        Ok(())
    }

    fn owe(&self, entities: Vec<NewEntity>) -> Result<usize, queue::Error> {
        let mut entities = entities.into_iter().peekable();
        let mut count = 0;
        while entities.peek().is_some() {
            let owing = Owing {
                site: self.place.site.clone(),
                repository: self.id.to_owned(),
                class: Class::Backfill,
                event: String::new(),
                entities: entities.by_ref().take(PORTION).collect(),
            };
            count += self.handle.block_on(self.shared.queue.owe(owing, clock::now()))?;
        }
        if count > 0 {
            self.shared.due.notify_waiters();
        }
        Ok(count)
    }

    /// Leaves of `tips` those that refs reach.
    fn reached(&self, alive: &[Oid], tips: &mut HashSet<Oid>) -> Result<(), String> {
        let mut left = tips.iter().filter(|id| !alive.contains(id)).copied().collect::<HashSet<_>>();
        if !left.is_empty() {
            self.repository.take_reached(alive, &mut left).map_err(|error| error.to_string())?;
        }
        tips.retain(|id| !left.contains(id));
        Ok(())
    }

    /// Walks what these tips reach and the known ones do not, in portions.
    fn each_portion(
        &self,
        tips: &[Oid],
        known: &Known,
        each: &mut dyn FnMut(Vec<Commit>) -> Result<(), queue::Error>,
    ) -> Done {
        let (mut portion, mut failed) = (Vec::new(), None);
        let walked = self.repository.walk_each(tips, known, Budget::UNBOUNDED, &mut |commit| {
            portion.push(commit);
            if *self.shared.stop.borrow() {
                return ControlFlow::Break(());
            }
            if portion.len() >= PORTION
                && let Err(error) = each(std::mem::take(&mut portion))
            {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        match (failed, walked) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Ok(Err(error.to_string())),
            (None, Ok(_)) if *self.shared.stop.borrow() => Ok(Err("the daemon is stopping".to_owned())),
            (None, Ok(_)) => each(portion).map(Ok),
        }
    }
}
