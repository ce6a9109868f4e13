//! What Jira was told, what Jira holds, and what Git has: compared, and put right where an administrator asks.
//!
//! Three things are laid side by side for each repository: what the store says Jira acknowledged, page by page; what Jira
//! itself says it holds, which is no more than the newest 400 entities of a repository; and what branches and tags reach.
//!
//! | | |
//! | --- | --- |
//! | missing | it was acknowledged and lives in Git, and Jira does not have it |
//! | stale | Jira has an older state than was acknowledged, or a branch's state is not what Git says |
//! | superfluous | it was acknowledged, or Jira has it, and it does not live in Git any more |
//!
//! History that was never told is no difference. A repair owes exactly the differences, as history: it sets off neither
//! orders nor workflow triggers. What is on its way to Jira already is left to arrive.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::clock;
use crate::entity;
use crate::event::{Origin, Seen};
use crate::git::{Oid, Repository};
use crate::queue::{self, Acknowledged, Class, EntityKind, NewEntity, Owing, RepositoryRow};
use crate::send::{Held, Jira};
use crate::serve::{Compare, Compared, Difference};

use super::rewritten::{self, Place};
use super::{Shared, line, sites};

const PAGE: usize = 1000;
/// The most files of a commit that Jira takes.
const FILES: usize = 10;

/// Compares the repositories that are asked for, one after the other.
pub async fn verify(shared: Arc<Shared>, wanted: Compare) -> Result<Vec<Compared>, String> {
    let rows = shared.queue.repositories().await.map_err(|error| error.to_string())?;
    let applied = shared.applied();
    let is_wanted = |row: &RepositoryRow| {
        let origin = Origin { id: row.id.clone(), git_dir: row.git_dir.clone() };
        let path = origin.git_dir();
        let named = |name: &String| applied.config.account_of(path).is_some_and(|account| account.name == *name);
        let asked = |what: &String| *what == row.id || path.as_os_str() == what.as_str();
        !row.forgotten && wanted.account.as_ref().is_none_or(named) && wanted.repository.as_ref().is_none_or(asked)
    };
    let rows: Vec<RepositoryRow> = rows.into_iter().filter(is_wanted).collect();
    if rows.is_empty() {
        return Err("no repository with an event is meant by that".to_owned());
    }
    let mut all = Vec::new();
    for row in rows {
        let mut compared = Compared {
            id: row.id.clone(),
            path: String::from_utf8_lossy(&row.git_dir).into_owned(),
            ..Compared::default()
        };
        if let Err(trouble) = compare(&shared, &row, wanted.repair, &mut compared).await {
            compared.trouble = Some(trouble);
        }
        // What is not linked, and nowhere to be seen, is all right, unless somebody asks for just that.
        let origin = Origin { id: row.id, git_dir: row.git_dir };
        let real = std::fs::canonicalize(origin.git_dir()).unwrap_or_else(|_| origin.git_dir().to_owned());
        let left_out = compared.elsewhere.is_empty() && applied.config.keeps_out(&real).is_some();
        if !left_out || wanted.repository.is_some() {
            all.push(compared);
        }
    }
    Ok(all)
}

async fn compare(
    shared: &Arc<Shared>,
    row: &RepositoryRow,
    repair: bool,
    compared: &mut Compared,
) -> Result<(), String> {
    let origin = Origin { id: row.id.clone(), git_dir: row.git_dir.clone() };
    let applied = shared.applied();
    let corrections = shared.queue.corrections(row.id.clone()).await.map_err(|error| error.to_string())?;
    let place = Place::of(&applied, &origin, corrections);
    let now_at = place.as_ref().map(|place| place.site.clone()).unwrap_or_default();
    let asked = shared.queue.elsewhere(now_at, row.id.clone()).await;
    compared.elsewhere = asked.map_err(|error| error.to_string())?;
    let place = place?;
    let settings =
        applied.config.site.iter().find(|site| site.name == place.site).ok_or("its site is not configured")?;
    let instance = sites::instance(shared).map_err(|error| error.to_string())?;
    let jira = Jira::new(settings, shared.environment.credentials_directory.as_deref(), &instance);
    let held = match jira {
        Ok(jira) => jira.held(&row.id).await,
        Err(error) => Err(error),
    };
    compared.asked = match &held {
        Ok(Held { down_to: None, .. }) => "Jira told all it holds".to_owned(),
        Ok(_) => "Jira told its newest 400 entities".to_owned(),
        Err(error) => format!("Jira was not asked: {error}"),
    };
    let shared = Arc::clone(shared);
    let work = tokio::task::spawn_blocking(move || {
        let repository = line::open(&shared.applied(), &origin)?;
        let handle = Handle::current();
        Work { shared: &shared, handle, repository: &repository, id: &origin.id, place, held: held.ok() }
            .compare(repair)
    });
    let found = work.await.map_err(|error| error.to_string())??;
    let Compared { id, path, asked, elsewhere, .. } = std::mem::take(compared);
    *compared = Compared { id, path, asked, elsewhere, ..found };
    Ok(())
}

struct Work<'a> {
    shared: &'a Shared,
    handle: Handle,
    repository: &'a Repository,
    id: &'a str,
    place: Place,
    /// `None` where Jira could not be asked.
    held: Option<Held>,
}

/// The differences of one kind, by id.
#[derive(Default)]
struct Found {
    told: usize,
    missing: Vec<String>,
    stale: Vec<String>,
    superfluous: Vec<String>,
}

impl Work<'_> {
    fn compare(&self, repair: bool) -> Result<Compared, String> {
        let commits = self.commits()?;
        let (branches, expected) = self.branches()?;
        let difference = |of: fn(&Found) -> &Vec<String>| {
            let all = || of(&commits).iter().chain(of(&branches));
            Difference { count: all().count(), first: all().next().cloned() }
        };
        let mut compared = Compared {
            told: commits.told + branches.told,
            missing: difference(|found| &found.missing),
            stale: difference(|found| &found.stale),
            superfluous: difference(|found| &found.superfluous),
            ..Compared::default()
        };
        if repair {
            compared.repaired = self.repair(commits, branches, expected).map_err(|error| error.to_string())?;
            self.shared.due.notify_waiters();
        }
        Ok(compared)
    }

    fn commits(&self) -> Result<Found, String> {
        let held = self.held.as_ref().map(|held| &held.commits);
        let mut found = Found::default();
        let mut left: HashSet<Oid> = HashSet::new();
        let mut told: HashSet<String> = HashSet::new();
        self.each(EntityKind::Commit, |one| {
            found.told += 1;
            left.extend(Oid::from_hex(one.id.as_bytes()));
            self.judge(&one, held, &mut found);
            if held.is_some_and(|held| held.contains_key(&one.id)) {
                told.insert(one.id);
            }
        })?;
        // What Jira has and nobody here remembers: a store that was lost, or a deletion that did not arrive.
        let strangers = held.into_iter().flat_map(HashMap::keys).filter(|id| !told.contains(*id));
        left.extend(strangers.filter_map(|id| Oid::from_hex(id.as_bytes())));
        let alive = rewritten::alive(self.repository)?;
        self.repository.take_reached(&alive, &mut left).map_err(|error| error.to_string())?;
        let lives = |id: &String| Oid::from_hex(id.as_bytes()).is_none_or(|id| !left.contains(&id));
        found.missing.retain(lives);
        found.stale.retain(lives);
        found.superfluous = left.iter().map(Oid::to_string).collect();
        // What a person has unlinked lives in Git, and has no place in Jira.
        let unlinked = |id: &&String| {
            let is_corrected = self.place.links.corrections.get(EntityKind::Commit, id).is_some();
            let commit = Oid::from_hex(id.as_bytes()).filter(|id| is_corrected && !left.contains(id));
            let commit = commit.and_then(|id| self.repository.commit(id).ok());
            commit.is_some_and(|commit| self.place.links.of_commit(&commit, &[]).is_empty())
        };
        let strangers = held.into_iter().flat_map(HashMap::keys).filter(|id| !told.contains(*id));
        found.superfluous.extend(strangers.filter(unlinked).cloned());
        found.superfluous.sort_unstable();
        Ok(found)
    }

    /// Also gives the branches that name an issue, as Git has them.
    fn branches(&self) -> Result<(Found, HashMap<String, NewEntity>), String> {
        let refs = self.repository.refs().map_err(|error| error.to_string())?;
        let expected = refs.iter().filter(|(name, _)| name.is_branch()).filter_map(|(name, id)| {
            let keys = self.place.links.of_branch(name);
            let last = self.repository.commit(*id).ok()?;
            entity::branch(name, &last, &keys, &self.place.home)
        });
        let expected: HashMap<String, NewEntity> = expected.map(|one| (one.id.clone(), one)).collect();
        let held = self.held.as_ref().map(|held| &held.branches);
        let mut found = Found::default();
        let mut told: HashSet<String> = HashSet::new();
        self.each(EntityKind::Branch, |one| {
            found.told += 1;
            told.insert(one.id.clone());
            match expected.get(&one.id) {
                None => found.superfluous.push(one.id),
                Some(branch) if one.settled && !branch.hash.starts_with(&one.hash) => found.stale.push(one.id),
                Some(_) => self.judge(&one, held, &mut found),
            }
        })?;
        let strangers = held.into_iter().flat_map(HashMap::keys);
        found.superfluous.extend(strangers.filter(|id| !told.contains(*id) && !expected.contains_key(*id)).cloned());
        Ok((found, expected))
    }

    /// Lays what was acknowledged beside what Jira holds.
    fn judge(&self, one: &Acknowledged, held: Option<&HashMap<String, i64>>, found: &mut Found) {
        let Some(held) = held.filter(|_| one.settled) else { return };
        let down_to = self.held.as_ref().and_then(|held| held.down_to);
        match (held.get(&one.id), one.sequence) {
            (Some(number), Some(sequence)) if *number < sequence => found.stale.push(one.id.clone()),
            (Some(_), _) => {}
            // It may be one of those that Jira does not tell.
            (None, sequence) if down_to.is_some_and(|least| sequence.is_none_or(|number| number <= least)) => {}
            (None, _) => found.missing.push(one.id.clone()),
        }
    }

    fn each(&self, kind: EntityKind, mut each: impl FnMut(Acknowledged)) -> Result<(), String> {
        let mut after = String::new();
        loop {
            let (site, id) = (self.place.site.clone(), self.id.to_owned());
            let asked = self.shared.queue.acknowledged(site, id, kind, after.clone(), PAGE);
            let page = self.handle.block_on(asked).map_err(|error| error.to_string())?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id.clone();
            page.into_iter().for_each(&mut each);
        }
    }

    /// Owes the differences; gives how many.
    fn repair(
        &self,
        commits: Found,
        branches: Found,
        mut expected: HashMap<String, NewEntity>,
    ) -> Result<usize, queue::Error> {
        let mut count = 0;
        for (kind, found) in [(EntityKind::Commit, &commits), (EntityKind::Branch, &branches)] {
            let gone = found.superfluous.iter().map(|id| entity::gone(kind, id.clone(), &self.place.home));
            let owed = self.owe(gone.collect())?;
            count += owed;
            if owed < found.superfluous.len() {
                // Jira was told to forget some of them before, and has them all the same.
                let ids = found.superfluous.clone();
                let (site, id) = (self.place.site.clone(), self.id.to_owned());
                let bare = self.handle.block_on(self.shared.queue.tell_anew(site, id, kind, ids, clock::now()))?;
                let gone = bare.iter().map(|id| entity::gone(kind, id.clone(), &self.place.home));
                self.owe(gone.collect())?;
                count = count - owed + found.superfluous.len();
            }
        }
        // A branch goes as Git has it now, if it has moved since.
        let stale = branches.stale.iter().filter_map(|id| expected.remove(id)).collect();
        let moved = self.owe(stale)?;
        let same = |id: &&String| expected.contains_key(*id);
        let again: Vec<String> = match moved == branches.stale.len() {
            true => branches.missing.clone(),
            false => branches.missing.iter().chain(&branches.stale).cloned().collect(),
        };
        count += moved + self.anew(EntityKind::Branch, again.iter().filter(same).cloned().collect(), &mut expected)?;
        let again: Vec<String> = commits.missing.into_iter().chain(commits.stale).collect();
        for portion in again.chunks(PAGE) {
            count += self.anew(EntityKind::Commit, portion.to_vec(), &mut HashMap::new())?;
        }
        Ok(count)
    }

    /// Tells entities once more: as they were told, or, where that is no longer known, as Git has them.
    fn anew(
        &self,
        kind: EntityKind,
        ids: Vec<String>,
        expected: &mut HashMap<String, NewEntity>,
    ) -> Result<usize, queue::Error> {
        if ids.is_empty() {
            return Ok(0);
        }
        let all = ids.len();
        let (site, id) = (self.place.site.clone(), self.id.to_owned());
        let bare = self.handle.block_on(self.shared.queue.tell_anew(site, id, kind, ids, clock::now()))?;
        let told = all - bare.len();
        let entities = bare.iter().filter_map(|id| match kind {
            EntityKind::Commit => self.commit(id),
            _ => expected.remove(id),
        });
        Ok(told + self.owe(entities.collect())?)
    }

    fn commit(&self, id: &str) -> Option<NewEntity> {
        let commit = self.repository.commit(Oid::from_hex(id.as_bytes())?).ok()?;
        let keys = self.place.links.of_commit(&commit, &[]);
        let files = self.repository.files_of(None, &[&commit], FILES).pop().and_then(Result::ok);
        entity::commit(&Seen { commit, files, cut: false }, &keys, &self.place.home)
    }

    fn owe(&self, entities: Vec<NewEntity>) -> Result<usize, queue::Error> {
        let owing = Owing {
            site: self.place.site.clone(),
            repository: self.id.to_owned(),
            class: Class::Backfill,
            event: String::new(),
            entities,
        };
        self.handle.block_on(self.shared.queue.owe(owing, clock::now()))
    }
}
