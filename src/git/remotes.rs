//! Where a clone was fetched from, as its own configuration says.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::prepare;

/// What tells one state of a file from another: its number, its length and when it was written.
type Stamp = (u64, u64, i64, i64);

/// Addresses by git directory, and the state of the file that they were read from.
type Read = BTreeMap<PathBuf, (Stamp, Arc<[String]>)>;

/// What was read lately, so that a file that did not change is read once.
static READ: Mutex<Read> = Mutex::new(BTreeMap::new());
/// The most clones that are remembered.
const MOST: usize = 1000;

/// Lists the addresses of a clone's remotes, that of `origin` first.
///
/// Nothing for what is not a clone of this very user: whoever can write a configuration chooses what stands in it.
pub fn remotes(git_dir: &Path) -> Arc<[String]> {
    let own = |path: &Path| path.metadata().ok().filter(|meta| meta.uid() == rustix::process::geteuid().as_raw());
    let config = git_dir.join("config");
    let (Some(_), Some(meta)) = (own(git_dir), own(&config)) else { return Arc::default() };
    let stamp = (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
    let read = || READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, known)) = read().get(git_dir).filter(|(known, _)| *known == stamp) {
        return Arc::clone(known);
    }
    let found: Arc<[String]> = look(&config).unwrap_or_default().into();
    let mut read = read();
    if read.len() >= MOST {
        read.clear();
    }
    read.insert(git_dir.to_owned(), (stamp, Arc::clone(&found)));
    found
}

/// Reads this one file, and nothing that it includes: that may change while it does not.
fn look(config: &Path) -> Result<Vec<String>, git2::Error> {
    prepare();
    let config = git2::Config::open(config)?.snapshot()?;
    // What is fetched into a repository without a work tree may be what others pushed there.
    if config.get_bool("core.bare").unwrap_or(false) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    config.entries(Some(r"^remote\..*\.url$"))?.for_each(|entry| {
        if let (0, Ok(name), Ok(value)) = (entry.include_depth(), entry.name(), entry.value()) {
            found.push((name != "remote.origin.url", value.to_owned()));
        }
    })?;
    found.sort_by_key(|(other, _)| *other);
    Ok(found.into_iter().map(|(_, url)| url).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k15_the_remotes_of_a_clone_are_those_of_its_own_configuration_as_it_is_now() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        let write = |text: &str| std::fs::write(&config, text).unwrap();
        assert!(remotes(folder.path()).is_empty());
        write("[remote \"fork\"]\n\turl = a\n\turl = b\n[include]\n\tpath = more\n[remote \"origin\"]\n\turl = c\n");
        std::fs::write(folder.path().join("more"), "[remote \"more\"]\n\turl = d\n").unwrap();
        assert_eq!(*remotes(folder.path()), ["c", "a", "b"]);
        write("[remote \"origin\"]\n\turl = other\n");
        assert_eq!(*remotes(folder.path()), ["other"]);
        write("[core]\n\tbare = true\n[remote \"origin\"]\n\turl = other\n");
        assert!(remotes(folder.path()).is_empty());
        write("[remote \"origin\"\n");
        assert!(remotes(folder.path()).is_empty());
    }
}
