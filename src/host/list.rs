//! The repositories below a folder, and how the hooks of many of them stand.

use std::fs;
use std::path::{Path, PathBuf};

use super::place::{Git, by_its_look};
use super::{Error, HookState, Place, inspect, inspect_at, open};
use crate::git::Repository;

/// Tells how the hooks of many repositories stand: git is asked once, and then about those only that are special.
pub(crate) struct Inspector {
    /// Something beyond the repositories may say where their hooks are.
    doubt: bool,
}

/// How deep repositories lie below the folder of an account at most.
const DEPTH: usize = 8;

/// Finds the repositories in a folder by their look, in order; nothing hidden, no link, and none inside another.
pub(crate) fn repositories(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    look(folder, DEPTH, &mut found);
    found.sort();
    found
}

impl Inspector {
    pub(crate) fn new() -> Result<Inspector, Error> {
        Ok(Inspector { doubt: Git::default().hooks_may_be_elsewhere()? })
    }

    pub(crate) fn inspect(&self, repository: &Repository) -> Result<Vec<HookState>, Error> {
        let common = open(repository.common_dir())?;
        let config = fs::read(common.path().join("config")).unwrap_or_default().to_ascii_lowercase();
        let says = |word: &[u8]| memchr::memmem::find(&config, word).is_some();
        if self.doubt || says(b"hookspath") || says(b"include") || says(b"worktreeconfig") {
            return inspect(common.path());
        }
        let place = if repository.is_clone() { Place::Clone } else { Place::Server };
        inspect_at(&common, place, common.path().join("hooks"))
    }
}

fn look(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    if let Some(git_dir) = by_its_look(folder).filter(|git_dir| git_dir.starts_with(folder)) {
        found.push(git_dir);
        return;
    }
    // What cannot be read is nobody's repository to us.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|_| depth > 0) {
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            look(&entry.path(), depth - 1, found);
        }
    }
}
