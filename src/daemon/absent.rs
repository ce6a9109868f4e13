//! Repositories that are no longer where they were: moved within their account, or gone.
//!
//! One that is elsewhere below the account's root under the same id is followed there. One that is nowhere is gone once two
//! comparisons of refs in a row have missed it; then `agent status` says so, and Jira is told to forget it where the
//! account says `forget_deleted`, else when a person says `agent forget`. What cannot be read, or lies below a root or in a
//! folder that is missing or empty, as a disk that is not mounted leaves it, is only in trouble.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::event::Origin;
use crate::git::Repository;
use crate::queue::{self, RepositoryRow};
use crate::{clock, entity, host};

use super::{Applied, Shared};

/// How deep below a root a repository that moved is looked for, and in how many folders.
const DEEP: usize = 6;
const FOLDERS: usize = 100_000;

/// Where a repository that cannot be opened is.
#[derive(Debug, PartialEq, Eq)]
pub enum Where {
    At(PathBuf),
    Nowhere,
    /// It may well be where it was.
    Unknown,
}

/// Looks for a repository that cannot be opened where it was last seen; blocks.
pub fn look(applied: &Applied, origin: &Origin) -> Where {
    let path = origin.git_dir();
    // The repository's own folder is gone, so only that above it can be resolved.
    let Some(account) = applied.config.account_of(path) else { return Where::Unknown };
    let root = &account.root;
    if is_there(path, &origin.id) || !has_something(nearest(path)) || !nearest(path).starts_with(root) {
        return Where::Unknown;
    }
    match find(root, &origin.id) {
        Some(path) => Where::At(path),
        None => Where::Nowhere,
    }
}

/// What came of a look for a repository.
pub enum Noted {
    /// For people.
    Trouble(String),
    /// It is at another place, with all that is known of it.
    Elsewhere(RepositoryRow),
    /// Jira is told to forget it.
    Forgotten,
}

/// Takes note of where a repository is that could not be opened because of `trouble`.
pub async fn note(shared: &Shared, row: &RepositoryRow, trouble: String, found: Where) -> Result<Noted, queue::Error> {
    let now = clock::now();
    let since = match (found, row.absent_at) {
        (Where::At(path), _) => {
            let git_dir = path.as_os_str().as_bytes().to_vec();
            tracing::info!("repository {} moved to {}", row.id, path.display());
            shared.queue.moved_to(row.id.clone(), git_dir.clone()).await?;
            return Ok(Noted::Elsewhere(RepositoryRow { git_dir, absent_at: None, ..row.clone() }));
        }
        (Where::Nowhere, Some(since)) => since,
        (Where::Nowhere, None) => {
            shared.queue.absent(row.id.clone(), Some(now)).await?;
            return Ok(Noted::Trouble(trouble));
        }
        (Where::Unknown, _) => {
            shared.queue.absent(row.id.clone(), None).await?;
            return Ok(Noted::Trouble(trouble));
        }
    };
    let path = Path::new(OsStr::from_bytes(&row.git_dir));
    if !shared.applied().config.account_of(path).is_some_and(|account| account.forget_deleted) {
        let since = clock::show(since);
        return Ok(Noted::Trouble(format!("it is gone since {since}; `agent forget {}` makes Jira forget it", row.id)));
    }
    let id = row.id.clone();
    let sites = shared.queue.forget(row.id.clone(), move || entity::repository_gone(&id), now).await?;
    tracing::info!("repository {} is gone from {}: {sites} sites are to forget it", row.id, path.display());
    shared.due.notify_waiters();
    Ok(Noted::Forgotten)
}

/// Whether a repository may still be at a path: something is, and it is not known to be another repository.
fn is_there(path: &Path, id: &str) -> bool {
    match fs::symlink_metadata(path) {
        Err(error) => error.kind() != ErrorKind::NotFound,
        Ok(_) => Repository::open(path).map_or(true, |found| found.id().is_none_or(|found| found == id)),
    }
}

/// The nearest folder above a path that exists.
fn nearest(path: &Path) -> &Path {
    path.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("/"))
}

fn has_something(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// Finds the repository with this id below a folder; of several, the one that is no copy.
fn find(root: &Path, id: &str) -> Option<PathBuf> {
    let mut waiting = vec![(root.to_owned(), 0)];
    let mut folders = 0;
    let mut copy = None;
    while let Some((folder, depth)) = waiting.pop() {
        folders += 1;
        if folders > FOLDERS {
            tracing::warn!("{} has too many folders to look for repository {id}", root.display());
            return copy;
        }
        if folder.join("objects").is_dir() && fs::symlink_metadata(folder.join("HEAD")).is_ok() {
            match Repository::open(&folder) {
                Ok(found) if found.id() == Some(id) && host::is_original(&folder) != Some(false) => {
                    return Some(folder);
                }
                Ok(found) if found.id() == Some(id) => {
                    copy.get_or_insert(folder);
                    continue;
                }
                _ => continue,
            }
        }
        let entries = fs::read_dir(&folder).ok().filter(|_| depth < DEEP);
        let folders =
            entries.into_iter().flatten().flatten().filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir()));
        waiting.extend(folders.map(|entry| (entry.path(), depth + 1)));
    }
    copy
}
