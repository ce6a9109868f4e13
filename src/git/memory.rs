//! What was read lately in repositories that are opened again and again.
//!
//! A push of one commit has the daemon look at the last few that came before it, and at the files as they were, which it
//! has all met when they came. An id never names anything else, so nothing here grows old; and each repository is remembered by
//! itself, because whoever may push to one need not be let read another.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::history::Key;
use super::recent::Recent;
use super::{MIB, Object, Oid};

/// Small objects that were read lately, for all who open repositories.
pub struct Memory(Mutex<Recent<(Place, Key), Object>>);

/// The folder that a repository's objects lie in, by the numbers of its device and of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    device: u64,
    number: u64,
}

/// How much is kept, twice.
const ROOM: usize = MIB;
/// The largest object that is kept.
const LARGE: usize = 16 << 10;

impl Default for Memory {
    fn default() -> Memory {
        Memory(Mutex::new(Recent::new(ROOM)))
    }
}

impl Memory {
    pub(super) fn get(&self, place: Place, id: Oid) -> Option<Object> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(place, Key::of(id)))
    }

    pub(super) fn put(&self, place: Place, id: Oid, object: &Object) {
        let size = object.content.len();
        if size <= LARGE {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).put((place, Key::of(id)), object.clone(), size);
        }
    }
}

impl Place {
    pub(super) fn of(objects: &Path) -> Option<Place> {
        let folder = std::fs::metadata(objects).ok().filter(std::fs::Metadata::is_dir)?;
        Some(Place { device: folder.dev(), number: folder.ino() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::Scratch;
    use super::*;

    #[test]
    fn what_was_read_is_remembered_of_its_own_repository_alone() {
        let (scratch, other) = (Scratch::new(), Scratch::new());
        let memory = Arc::new(Memory::default());
        let commit = scratch.commit(&[], 1, "x");
        scratch.open().remembering(&memory).commit(commit).unwrap();
        scratch.drop_object(commit);
        assert_eq!(scratch.open().remembering(&memory).commit(commit).unwrap().message, b"x");
        assert!(scratch.open().commit(commit).is_err());
        assert!(other.open().remembering(&memory).commit(commit).is_err());
        assert!(!other.open().remembering(&memory).has(commit));
    }

    #[test]
    fn what_is_large_is_not_remembered() {
        let scratch = Scratch::new();
        let memory = Arc::new(Memory::default());
        let commit = scratch.commit(&[], 1, &"x".repeat(LARGE));
        scratch.open().remembering(&memory).commit(commit).unwrap();
        scratch.drop_object(commit);
        assert!(scratch.open().remembering(&memory).commit(commit).is_err());
    }
}
