//! Pushes of the person's own clones of which no hook told: with `--no-verify`, out of a window, through a library.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::event::{Event, EventId, Kind, Origin, Seen};
use crate::git::{Budget, Known, RefName, Repository, heard, unheard};
use crate::{clock, host};

use super::Shared;
use super::line;

/// For how long a hook may still be telling of a push that is over.
const HOOK_S: i64 = 5;
/// The most of a push that is read at once; the line reads the rest.
const READING: Duration = Duration::from_secs(2);

/// A push, and what to note once it is in the queue.
struct Found {
    git_dir: PathBuf,
    tracking: RefName,
    event: Event,
}

/// Looks through all clones of the accounts. Only where the daemon is the person's own: for others' clones it may not speak.
pub(super) async fn look(shared: &Shared) -> anyhow::Result<()> {
    if shared.places.shared {
        return Ok(());
    }
    let applied = shared.applied();
    let by_remote = applied.config.account.iter().any(|account| !account.remotes.is_empty());
    let rows = if by_remote { shared.queue.repositories().await? } else { Vec::new() };
    let noted = if by_remote { host::clones(&shared.places.state) } else { Vec::new() };
    let found = tokio::task::spawn_blocking(move || {
        let config = &applied.config;
        // A clone that lies in no folder of ours is known since its first hook.
        let heard =
            rows.into_iter().filter_map(|row| PathBuf::from(OsString::from_vec(row.git_dir)).canonicalize().ok());
        let is_elsewhere = |path: &PathBuf| config.account_of(path).is_some_and(|account| !account.contains(path));
        let below = config.account.iter().flat_map(|account| config.repositories_of(account).repositories);
        let git_dirs: BTreeSet<PathBuf> = heard.chain(noted).filter(is_elsewhere).chain(below).collect();
        git_dirs.iter().flat_map(|git_dir| of_clone(&applied, git_dir).unwrap_or_default()).collect::<Vec<_>>()
    });
    for Found { git_dir, tracking, event } in found.await? {
        let new = event.updates.first().and_then(|update| update.new);
        tracing::info!("a push of {} that no hook told of was found", event.repository.git_dir().display());
        shared.queue.add(event, rustix::process::geteuid().as_raw(), clock::now()).await?;
        shared.added.notify_one();
        if let Err(error) = heard(&git_dir, &tracking, new) {
            tracing::warn!("{}: what was found pushed cannot be noted: {error}", git_dir.display());
        }
    }
    Ok(())
}

fn of_clone(applied: &super::Applied, git_dir: &Path) -> Option<Vec<Found>> {
    let config: &Config = &applied.config;
    let repository = Repository::open(git_dir).ok()?;
    let origin = Origin { id: repository.id()?.to_owned(), git_dir: git_dir.as_os_str().as_encoded_bytes().to_vec() };
    let own = std::fs::metadata(git_dir).is_ok_and(|meta| meta.uid() == rustix::process::geteuid().as_raw());
    if !own || !repository.is_clone() || host::is_served(&repository, config.account_of(git_dir)) {
        return None;
    }
    let repository = line::open(applied, &origin).ok()?;
    // What was pushed before the hooks were put in is no news.
    let since = host::installed_at(repository.common_dir())?;
    let now = clock::now();
    let pushes = unheard(&repository, since, now / 1000 - HOOK_S).ok()?;
    let found = pushes.into_iter().filter(|push| !repository.hides(&push.update.name)).map(|push| {
        let known = Known::new(push.others.iter().copied().chain(push.update.old));
        let budget = Budget { commits: config.hook.commits, until: Some(Instant::now() + READING) };
        let tips: Vec<_> = push.update.new.into_iter().collect();
        let walk = repository.walk(&tips, &known, budget).unwrap_or_default();
        let seen = |commit| Seen { commit, files: None, cut: false };
        let event = Event {
            id: EventId::of_differences(&origin.id, std::iter::once((&push.update, push.at))),
            kind: Kind::Push,
            at: now,
            repository: origin.clone(),
            updates: vec![push.update],
            rest: !walk.complete,
            commits: walk.commits.into_iter().map(seen).collect(),
            claims: Vec::new(),
            push_options: Vec::new(),
            tips: Vec::new(),
            overridden: Vec::new(),
        };
        Found { git_dir: repository.common_dir().to_owned(), tracking: push.tracking, event }
    });
    Some(found.collect())
}
