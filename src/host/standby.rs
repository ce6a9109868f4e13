//! A hook that stands among the others only while there is something for it to do.
//!
//! Git takes time to start each hook that it finds, and `reference-transaction` up to five times for one commit, although that
//! hook has something to tell only while a push is under way. So where nothing of anybody else was there before, its shim
//! lies ready in our folder, and whoever notes a push gives it a second name among the hooks, which whoever sees the
//! end of the push takes away again. `prepare-commit-msg` stands where keys are put into messages, and lies ready where
//! somebody does not want that. `commit-msg` lies ready where the one before it says all that is to be said, and has its second
//! name for one commit where it does not. What another tool puts there meanwhile is never replaced or removed: its own
//! name for a hook is free as long as ours only stands by.
//!
//! Git looks whether there is a hook and starts it a moment later, and what it does fails when the hook is gone by
//! then. Mostly it holds the lock of a ref while it looks for `reference-transaction`; a newer one asks that hook a first time before
//! that, but is seen to run where the system tells of processes. So that hook is taken away only where no lock is held and no Git
//! of the repository is at work, `commit-msg` only where there is none but that which waits for us, and both are put back at
//! once if that is no longer so just after. The other goes only when somebody has changed what they want.

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::Error;
use super::dir::{Dir, Entry, Lock};
use super::hooks::EXECUTABLE;
use super::manifest::{FOLDER, Found, Manifest, compare};
use super::running::{is_at_work, is_committing, roots};
use super::shim;
use crate::clock;

const CONFIRMING: &str = "reference-transaction";
const DRAFTING: &str = "prepare-commit-msg";
const CHECKING: &str = "commit-msg";
/// The hooks that may stand by.
pub(super) const STANDBY: [&str; 3] = [CONFIRMING, DRAFTING, CHECKING];
/// What is noted of a push under way; while it is there, the hook that sees the end of the push stands.
pub(super) const PUSHING: &str = "pushing";

/// The hook that sees the end of a push, as [`PUSHING`] is being changed by nobody else.
pub(crate) struct Confirming {
    common: Dir,
    _lock: Lock,
}

impl Confirming {
    pub(crate) fn lock(git_dir: &Path) -> Result<Confirming, Error> {
        let common = Dir::open(git_dir)?;
        let lock = common.lock()?;
        Ok(Confirming { common, _lock: lock })
    }

    /// Lets it stand.
    pub(crate) fn begin(&self) -> Result<(), Error> {
        stand_up(&self.common, CONFIRMING)
    }

    /// Takes it away; tells whether it is not there any more.
    pub(crate) fn end(&self) -> Result<bool, Error> {
        stand_down(&self.common, CONFIRMING)
    }
}

/// Whether a hook where nobody else's was before is to lie ready, as `ready` tells of what lies there now.
pub(super) fn lies_ready(hook: &str, ready: bool, is_program: bool) -> bool {
    match hook {
        CONFIRMING => true,
        DRAFTING => ready,
        CHECKING => ready && is_program,
        _ => false,
    }
}

/// Has the hooks of a commit do what is wanted of them: put keys into messages, and look at messages in every case, or only
/// as far as one of them can for both.
pub(crate) fn set_commit_hooks(git_dir: &Path, keys: bool, plain: bool) -> Result<(), Error> {
    let_draft(git_dir, keys)?;
    let_check(git_dir, !(keys && plain))
}

/// Lets the hook that puts keys into messages stand where they are wanted, and lie ready where not. What lies ready bears the
/// time at which Git's configuration was looked at last.
fn let_draft(git_dir: &Path, wanted: bool) -> Result<(), Error> {
    let ready = git_dir.join(FOLDER).join(DRAFTING);
    if ready.exists() != wanted {
        if !wanted && is_newer(&git_dir.join("config"), &ready) {
            note_look(&ready)?;
        }
        return Ok(());
    }
    let common = Dir::open(git_dir)?;
    let _lock = common.lock()?;
    let Some([folder, hooks_dir]) = places(&common)? else { return Ok(()) };
    if wanted {
        stand_up(&common, DRAFTING)?;
        return folder.remove(DRAFTING);
    }
    if own(&common, DRAFTING, &hooks_dir)?.is_some() {
        hooks_dir.rename(DRAFTING, &folder, DRAFTING)?;
        note_look(&ready)?;
    }
    Ok(())
}

/// Lets the hook that looks at messages stand where it is `wanted`, and lie ready where the one before it speaks in its stead.
/// That one has to be a program of this version, and to stand.
fn let_check(git_dir: &Path, wanted: bool) -> Result<(), Error> {
    let is_ready = git_dir.join(FOLDER).join(CHECKING).exists();
    if wanted && !is_ready {
        return Ok(());
    }
    let common = Dir::open(git_dir)?;
    let _lock = common.lock()?;
    let Some([folder, hooks_dir]) = places(&common)? else { return Ok(()) };
    let speaks = |bytes: Vec<u8>| shim::is_program(DRAFTING, &bytes);
    let is_spoken_for = !wanted && own(&common, DRAFTING, &hooks_dir)?.is_some_and(speaks);
    match (is_spoken_for, is_ready) {
        (true, true) | (false, false) => Ok(()),
        (false, true) => {
            stand_up(&common, CHECKING)?;
            folder.remove(CHECKING)
        }
        (true, false) => {
            let Some(bytes) = own(&common, CHECKING, &hooks_dir)? else { return Ok(()) };
            if shim::is_program(CHECKING, &bytes) {
                hooks_dir.lend(CHECKING, &folder).or_else(|_| folder.put(CHECKING, &bytes, EXECUTABLE))?;
                stand_down(&common, CHECKING)?;
            }
            Ok(())
        }
    }
}

/// Lets the hook that looks at messages stand, if it lies ready, for one commit.
pub(crate) fn begin_check(git_dir: &Path) -> Result<(), Error> {
    if !git_dir.join(FOLDER).join(CHECKING).exists() {
        return Ok(());
    }
    let common = Dir::open(git_dir)?;
    let _lock = common.lock()?;
    stand_up(&common, CHECKING)
}

/// Takes it away, unless another commit is being made: somebody may have an editor open.
pub(crate) fn end_check(git_dir: &Path) -> Result<(), Error> {
    if !git_dir.join(FOLDER).join(CHECKING).exists() {
        return Ok(());
    }
    let common = Dir::open(git_dir)?;
    let _lock = common.lock()?;
    stand_down(&common, CHECKING).map(|_| ())
}

/// What stands there as a hook, where it is ours and nothing of anybody else was there before.
fn own(common: &Dir, hook: &'static str, hooks_dir: &Dir) -> Result<Option<Vec<u8>>, Error> {
    let manifest = Manifest::load(common)?;
    let known = manifest.as_ref().and_then(|manifest| manifest.hooks.get(hook));
    let entry = hooks_dir.entry(hook)?;
    let is_own =
        known.is_some_and(|known| known.before.is_none()) && compare(hook, entry.as_ref(), known) == Found::Ours;
    Ok(match entry {
        Some(Entry::File { bytes, .. }) if is_own => Some(bytes),
        _ => None,
    })
}

fn is_newer(one: &Path, other: &Path) -> bool {
    let [one, other] = [one, other].map(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok());
    one >= other
}

fn note_look(ready: &Path) -> Result<(), Error> {
    let since = Duration::from_millis(clock::now().unsigned_abs());
    let noted = fs::File::options().append(true).open(ready).and_then(|file| file.set_modified(UNIX_EPOCH + since));
    noted.map_err(|source| Error::Io { path: ready.into(), source })
}

/// Lets a hook stand among the others, where it stands by.
pub(super) fn stand_up(common: &Dir, hook: &str) -> Result<(), Error> {
    let Some([folder, hooks_dir]) = places(common)? else { return Ok(()) };
    let Some(Entry::File { bytes, .. }) = folder.entry(hook)? else { return Ok(()) };
    match hooks_dir.entry(hook)? {
        Some(_) => Ok(()),
        None => folder.lend(hook, &hooks_dir).or_else(|_| hooks_dir.put(hook, &bytes, EXECUTABLE)),
    }
}

/// Takes a hook from among the others, where it is exactly the one that stands by; tells whether it is not there any more.
pub(super) fn stand_down(common: &Dir, hook: &str) -> Result<bool, Error> {
    let Some([folder, hooks_dir]) = places(common)? else { return Ok(true) };
    let (Some(Entry::File { bytes: ours, .. }), Some(Entry::File { bytes, .. })) =
        (folder.entry(hook)?, hooks_dir.entry(hook)?)
    else {
        return Ok(true);
    };
    if bytes != ours {
        return Ok(true);
    }
    let roots = roots(common.path());
    let is_needed = || match hook {
        CHECKING => is_committing(&roots),
        _ => is_at_work(&roots),
    };
    // Last what takes no time to look at, and afterwards first.
    if is_needed() || is_moving_refs(common.path()) {
        return Ok(false);
    }
    hooks_dir.take_back(hook)?;
    if is_moving_refs(common.path()) || is_needed() {
        stand_up(common, hook)?;
        return Ok(false);
    }
    Ok(true)
}

/// Our folder, and the one in which our hooks are.
fn places(common: &Dir) -> Result<Option<[Dir; 2]>, Error> {
    let Some(manifest) = Manifest::load(common)? else { return Ok(None) };
    let folder = common.below(FOLDER.as_ref())?;
    let hooks_dir = common.below(manifest.hooks_dir.as_ref())?;
    Ok(folder.zip(hooks_dir).map(|(folder, hooks_dir)| [folder, hooks_dir]))
}

/// Whether somebody holds the lock of a ref.
fn is_moving_refs(git_dir: &Path) -> bool {
    let linked = fs::read_dir(git_dir.join("worktrees")).into_iter().flatten().flatten().map(|entry| entry.path());
    std::iter::once(git_dir.to_owned()).chain(linked).any(|place| {
        has_lock(&place, false) || has_lock(&place.join("refs"), true) || has_lock(&place.join("reftable"), true)
    })
}

/// Whether a folder has the lock of a ref in it, or with `below` one of the folders in it has.
fn has_lock(folder: &Path, below: bool) -> bool {
    fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        match below {
            false => name.ends_with(b"HEAD.lock") || name == b"packed-refs.lock",
            true => {
                name.ends_with(b".lock")
                    || entry.file_type().is_ok_and(|kind| kind.is_dir()) && has_lock(&entry.path(), true)
            }
        }
    })
}
