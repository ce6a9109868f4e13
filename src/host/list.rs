//! How the hooks of many repositories stand.

use std::fs;

use super::look::inspect_at;
use super::place::{Git, HooksDir};
use super::{Error, HookState, Kind, Look, Place, open};
use crate::git::Repository;

/// Tells how the hooks of many repositories stand: git is asked once, and then about those only that are special.
pub(crate) struct Inspector {
    /// Something beyond the repositories may say where their hooks are.
    doubt: bool,
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
            return Look::at(common.path()).hooks();
        }
        let place = if repository.is_clone() { Place::Clone } else { Place::Server };
        let usual = HooksDir { path: common.path().join("hooks"), scope: None };
        match Kind::of(common.path(), &usual) {
            Kind::Plain => inspect_at(&common, place.hooks(), usual.path),
            _ => Look::at(common.path()).hooks(),
        }
    }
}
