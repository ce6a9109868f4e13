//! Repositories that appear: in an account that links new ones, each gets its hooks.
//!
//! A folder that changed is only a reason to look; what is there is found by looking at all of the account. A repository that
//! git is still making is looked at again a moment later. One that cannot be covered, because the daemon may not write there, is
//! said in the status and tried again with each scan. A repository that has its hooks and that we have never heard of is met:
//! where its refs are is noted, and its history told as its account wants it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::git::Repository;
use crate::queue::RepositoryRow;
use crate::serve::AccountState;
use crate::{clock, host, team};

use super::{Shared, upkeep};

/// How long a change of a folder may be the first of several.
const REST: Duration = Duration::from_millis(100);
/// When to look again at a repository that is being made.
const MAKING: Duration = Duration::from_millis(500);
/// The longest pause between two such looks: a clone may take hours.
const MAKING_LONG: Duration = Duration::from_secs(10);

/// Folders in which a repository may appear, and what tells that something did.
struct Watch {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    /// Folders that cannot be watched are said once.
    said: bool,
}

/// What a look at all accounts found.
#[derive(Default)]
struct Looked {
    states: BTreeMap<String, AccountState>,
    folders: BTreeSet<PathBuf>,
    /// Whether a repository is being made.
    making: bool,
    /// Repositories that could not be covered since the last scan, and why.
    refused: BTreeMap<PathBuf, String>,
    /// Those that have hooks.
    covered: Vec<PathBuf>,
}

/// Repositories that we have heard of.
struct Known {
    /// Where each was when we heard of it last, by its id.
    places: BTreeMap<String, PathBuf>,
    git_dirs: BTreeSet<PathBuf>,
    /// Copies that bear the id of another, and what there is to say of each.
    copies: BTreeMap<PathBuf, String>,
}

pub async fn run(shared: Arc<Shared>) -> anyhow::Result<()> {
    // Before the program is replaced by a newer one: its path stays, but then it could not be asked for.
    let agent = std::env::current_exe()?;
    let (changed, mut changes) = mpsc::channel(1);
    let mut watch = Watch::new(changed);
    let mut applied = shared.applied.subscribe();
    let mut stopped = std::pin::pin!(shared.stopped());
    let mut refused = BTreeMap::new();
    let mut known = Known::of(shared.queue.repositories().await?);
    let mut making = MAKING;
    let mut scanned = tokio::time::Instant::now();
    loop {
        let config = applied.borrow_and_update().config.clone();
        let period = Duration::from_secs(60 * u64::from(config.daemon.scan_minutes.unwrap_or(10).max(1)));
        if scanned.elapsed() >= period {
            scanned = tokio::time::Instant::now();
            refused.clear();
        }
        let chosen = (!shared.places.shared).then(|| shared.places.config.clone());
        let agent = agent.clone();
        let looked = tokio::task::spawn_blocking(move || look(&config, &agent, chosen.as_deref(), refused)).await?;
        // What appeared in a folder before it was watched is seen by looking once more.
        let again = watch.set(looked.folders);
        refused = looked.refused;
        // What comes back to a place after it was gone may be another.
        let there: BTreeSet<&PathBuf> = looked.covered.iter().collect();
        known.copies.retain(|git_dir, _| there.contains(git_dir));
        known.git_dirs.retain(|git_dir| there.contains(git_dir));
        shared.note(|running| running.accounts = looked.states);
        for git_dir in looked.covered {
            known.meet(&shared, git_dir).await?;
        }
        known.tell(&shared);
        let pause = match (again, looked.making) {
            (true, _) => REST,
            (false, true) => making,
            (false, false) => period.saturating_sub(scanned.elapsed()),
        };
        making = if looked.making { (making * 2).min(MAKING_LONG) } else { MAKING };
        tokio::select! {
            Some(()) = changes.recv() => {
                making = MAKING;
                tokio::time::sleep(REST).await;
                while changes.try_recv().is_ok() {}
            }
            changed = applied.changed() => {
                changed?;
                refused.clear();
            }
            () = tokio::time::sleep(pause) => {}
            () = &mut stopped => return Ok(()),
        }
    }
}

impl Known {
    fn of(rows: Vec<RepositoryRow>) -> Known {
        let mut known = Known { places: BTreeMap::new(), git_dirs: BTreeSet::new(), copies: BTreeMap::new() };
        for row in rows {
            let git_dir = PathBuf::from(OsString::from_vec(row.git_dir));
            known.git_dirs.insert(git_dir.clone());
            known.places.insert(row.id, git_dir);
        }
        known
    }

    /// Meets a repository that we have not heard of; of one that moved we have, under its id.
    async fn meet(&mut self, shared: &Arc<Shared>, git_dir: PathBuf) -> anyhow::Result<()> {
        if !self.git_dirs.insert(git_dir.clone()) {
            return Ok(());
        }
        let path = git_dir.clone();
        let id = tokio::task::spawn_blocking(move || id_at(&path)).await?;
        let Some(id) = id else { return Ok(()) };
        let (id, git_dir) = match self.places.contains_key(&id) {
            false => {
                self.copies.remove(&git_dir);
                (id, git_dir)
            }
            true => match self.part(shared, id, git_dir).await? {
                Some(parted) => parted,
                None => return Ok(()),
            },
        };
        self.places.insert(id.clone(), git_dir.clone());
        let row = RepositoryRow { id, git_dir: git_dir.into_os_string().into_vec(), ..RepositoryRow::default() };
        upkeep::compare(shared, row).await
    }

    /// Looks at a repository whose id we know from another place: where that still has it, one of the two is a copy. Gives
    /// the copy and the id it got.
    ///
    /// The one for which the id was given keeps it, else the one that we have known.
    async fn part(
        &mut self,
        shared: &Arc<Shared>,
        id: String,
        git_dir: PathBuf,
    ) -> anyhow::Result<Option<(String, PathBuf)>> {
        let rows = shared.queue.repositories().await?;
        let row = rows.into_iter().find(|row| row.id == id).map(|row| PathBuf::from(OsString::from_vec(row.git_dir)));
        let places: Vec<PathBuf> = self.places.insert(id.clone(), git_dir.clone()).into_iter().chain(row).collect();
        let (here, wanted) = (git_dir.clone(), id.clone());
        let parted = tokio::task::spawn_blocking(move || {
            let has_it = |other: &PathBuf| *other != here && id_at(other).as_ref() == Some(&wanted);
            let there = places.into_iter().find(has_it)?;
            let originals = [&there, &here].map(|path| host::is_original(path));
            let (copy, kept) = if originals == [Some(false), Some(true)] { (there, here) } else { (here, there) };
            Some((host::part(&copy), copy, kept))
        });
        Ok(match parted.await? {
            None => None,
            Some((Ok(new), copy, kept)) => {
                tracing::info!("{} is a copy of {} and has an id of its own now", copy.display(), kept.display());
                self.places.insert(id.clone(), kept.clone());
                shared.queue.moved_to(id, kept.into_os_string().into_vec()).await?;
                self.copies.remove(&copy);
                Some((new, copy))
            }
            Some((Err(error), copy, kept)) => {
                self.places.insert(id, kept.clone());
                let because = format!("{} is a copy of {} and bears its id", copy.display(), kept.display());
                if self.copies.insert(copy, because.clone()).is_none() {
                    tracing::warn!("{because}, which cannot be changed: {}", host::reason(&error));
                }
                // Its owner may do it: the next look sees.
                self.git_dirs.remove(&git_dir);
                None
            }
        })
    }

    /// Says which copies there are.
    fn tell(&self, shared: &Shared) {
        let applied = shared.applied();
        shared.note(|running| {
            for (git_dir, because) in &self.copies {
                let account = applied.config.account_of(git_dir);
                if let Some(state) = account.and_then(|account| running.accounts.get_mut(&account.name)) {
                    state.copies.push(because.clone());
                }
            }
        });
    }
}

fn id_at(git_dir: &Path) -> Option<String> {
    Repository::open(git_dir).ok()?.id().map(str::to_owned)
}

impl Watch {
    fn new(changed: mpsc::Sender<()>) -> Watch {
        let handler = move |event: notify::Result<notify::Event>| {
            // An error may hide a change.
            if event.is_err() || event.is_ok_and(|event| !event.kind.is_access()) {
                let _ = changed.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(handler);
        if let Err(error) = &watcher {
            tracing::warn!("new repositories are found by looking every few minutes only: {error}");
        }
        Watch { watcher: watcher.ok(), folders: BTreeSet::new(), said: false }
    }

    /// Watches these folders and no others; tells whether there was one that was not watched before.
    fn set(&mut self, wanted: BTreeSet<PathBuf>) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        for gone in self.folders.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        let mut watched: BTreeSet<PathBuf> = self.folders.intersection(&wanted).cloned().collect();
        let before = watched.len();
        for new in wanted {
            if watched.contains(&new) {
                continue;
            }
            match watcher.watch(&new, RecursiveMode::NonRecursive) {
                Ok(()) => drop(watched.insert(new)),
                Err(error) if !self.said => {
                    self.said = true;
                    tracing::warn!("what appears in {} is found every few minutes only: {error}", new.display());
                }
                Err(_) => {}
            }
        }
        let new = watched.len() > before;
        self.folders = watched;
        new
    }
}

/// Has the hooks of each repository do what the configuration asks of them: wait for a policy where one holds, put keys into
/// messages where that is wanted, and nowhere else.
fn set_hooks(config: &Config) {
    for account in &config.account {
        let linked = config.repositories_of(account).repositories;
        for git_dir in linked.into_iter().filter(|git_dir| host::has_hooks(git_dir)) {
            // Where the daemon may not write, `agent account cover` or the hook itself does it.
            if let Err(error) = host::mark_policy(&git_dir, !config.policies(&git_dir).is_empty()) {
                tracing::debug!("whether a policy holds in {} could not be noted there: {error}", git_dir.display());
            }
            let Some(clone) = Repository::open(&git_dir).ok().filter(Repository::is_clone) else { continue };
            if let Err(error) = team::set_commit_hooks(config, &clone) {
                tracing::debug!(
                    "the hooks of a commit in {} could not be set: {}",
                    git_dir.display(),
                    host::reason(&error)
                );
            }
        }
    }
}

/// Puts hooks into the repositories that have none, but for those that `refused` them since the last scan.
fn look(config: &Config, agent: &Path, chosen: Option<&Path>, mut refused: BTreeMap<PathBuf, String>) -> Looked {
    let mut looked = Looked::default();
    set_hooks(config);
    for account in config.account.iter().filter(|account| account.auto_link) {
        let below = config.repositories_of(account);
        let mut state = AccountState { repositories: below.repositories.len(), ..AccountState::default() };
        for git_dir in below.repositories {
            if host::has_hooks(&git_dir) {
                looked.covered.push(git_dir);
            } else if let Some(because) = refused.get(&git_dir) {
                state.refuses(&git_dir, because);
            } else if !host::is_made(&git_dir, clock::now()) {
                looked.making = true;
                state.being_made += 1;
            } else if let Err(error) = host::cover(&git_dir, agent, chosen, account.hidden()) {
                let because = host::reason(&error);
                tracing::warn!("no hooks in {}: {because}", git_dir.display());
                state.refuses(&git_dir, &because);
                refused.insert(git_dir, because);
            } else {
                tracing::info!("put hooks into {}, which is new in account {}", git_dir.display(), account.name);
                looked.covered.push(git_dir);
            }
        }
        state.closed = below.closed.len();
        looked.folders.extend(below.folders);
        looked.states.insert(account.name.clone(), state);
    }
    looked.refused = refused;
    looked
}
