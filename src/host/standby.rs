//! A hook that stands among the others only while there is something for it to do.
//!
//! Git starts a shell for each hook that it finds, and `reference-transaction` up to five times for one commit, although that
//! hook has something to tell only while a push is under way. So where nothing of anybody else was there before, its shim
//! lies ready in our folder, and whoever notes a push gives it a second name among the hooks, which whoever sees the
//! end of the push takes away again. `prepare-commit-msg` stands where keys are put into messages, and lies ready where
//! somebody does not want that. What another tool puts there meanwhile is never replaced or removed: its own
//! name for a hook is free as long as ours only stands by.
//!
//! Git looks whether there is a hook and starts it a moment later, and a change of refs fails when the hook is gone by
//! then. Mostly it holds the lock of a ref while it does so; a newer one asks the hook a first time before that, but is seen to
//! run where the system tells of processes. So that hook is taken away only where no lock is held and no Git of the
//! repository is at work, and is put back at once if that is no longer so just after. The other goes only when somebody
//! has changed what they want.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::dir::{Dir, Entry, Lock};
use super::hooks::EXECUTABLE;
use super::manifest::{FOLDER, Found, Manifest, compare};
use super::{Error, parent};
use crate::clock;

const CONFIRMING: &str = "reference-transaction";
const DRAFTING: &str = "prepare-commit-msg";
/// The hooks that may stand by.
pub(super) const STANDBY: [&str; 2] = [CONFIRMING, DRAFTING];
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
pub(super) fn lies_ready(hook: &str, ready: bool) -> bool {
    hook == CONFIRMING || hook == DRAFTING && ready
}

/// Lets the hook that puts keys into messages stand where they are wanted, and lie ready where not; tells whether that changed.
/// What lies ready bears the time at which Git's configuration was looked at last.
pub(crate) fn let_draft(git_dir: &Path, wanted: bool) -> Result<bool, Error> {
    let ready = git_dir.join(FOLDER).join(DRAFTING);
    if ready.exists() != wanted {
        if !wanted && is_newer(&git_dir.join("config"), &ready) {
            note_look(&ready)?;
        }
        return Ok(false);
    }
    let common = Dir::open(git_dir)?;
    let _lock = common.lock()?;
    let Some([folder, hooks_dir]) = places(&common)? else { return Ok(false) };
    if wanted {
        stand_up(&common, DRAFTING)?;
        folder.remove(DRAFTING)?;
        return Ok(true);
    }
    let manifest = Manifest::load(&common)?;
    let known = manifest.as_ref().and_then(|manifest| manifest.hooks.get(DRAFTING));
    let entry = hooks_dir.entry(DRAFTING)?;
    let is_alone = known.is_some_and(|known| known.before.is_none());
    if is_alone && compare(DRAFTING, entry.as_ref(), known) == Found::Ours {
        hooks_dir.rename(DRAFTING, &folder, DRAFTING)?;
        note_look(&ready)?;
        return Ok(true);
    }
    Ok(false)
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
    // Last what takes no time to look at, and afterwards first.
    if is_at_work(&roots) || is_moving_refs(common.path()) {
        return Ok(false);
    }
    hooks_dir.take_back(hook)?;
    if is_moving_refs(common.path()) || is_at_work(&roots) {
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

/// Where whoever works in a repository stands: in its work trees, or those around it.
fn roots(git_dir: &Path) -> Vec<PathBuf> {
    let around = git_dir.ancestors().find(|path| path.ends_with(".git")).map_or(git_dir, parent);
    let linked = fs::read_dir(git_dir.join("worktrees")).into_iter().flatten().flatten();
    let linked = linked.filter_map(|entry| fs::read_to_string(entry.path().join("gitdir")).ok());
    let linked = linked.map(|text| parent(Path::new(text.trim_end())).to_owned());
    std::iter::once(around.to_owned()).chain(linked).collect()
}

/// Whether a Git below these folders, or the hook that it starts, is running and not waiting for something; the one that waits
/// for us is not.
fn is_at_work(roots: &[PathBuf]) -> bool {
    fs::read_dir("/proc").into_iter().flatten().flatten().any(|entry| {
        let is_process = entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
        is_process
            && fs::read(entry.path().join("stat")).is_ok_and(|stat| may_start_a_hook(&stat))
            && fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| roots.iter().any(|root| cwd.starts_with(root)))
    })
}

/// Tells it of a process by its `stat`: the number, the name in parentheses, of which the kernel keeps fifteen bytes, and the state.
fn may_start_a_hook(stat: &[u8]) -> bool {
    let name = |stat: &[u8]| Some((memchr::memchr(b'(', stat)? + 1, memchr::memrchr(b')', stat)?));
    let Some((begin, end)) = name(stat).filter(|(begin, end)| begin <= end) else { return false };
    let state = stat.get(end + 2);
    match &stat[begin..end] {
        b"reference-trans" => true,
        name => (name == b"git" || name.starts_with(b"git-")) && matches!(state, Some(b'R' | b'D')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c3_a_git_that_may_be_starting_a_hook_is_told_from_one_that_waits() {
        for (stat, expected) in [
            ("17 (git) R 1 17", true),
            ("17 (git) D 1 17", true),
            ("17 (git) S 1 17", false),
            ("17 (git-push) R 1 17", true),
            ("17 (reference-trans) S 1 17", true),
            ("17 (gitk) R 1 17", false),
            ("17 (a) R (git) R 1 17", false),
            ("17 )git( R", false),
            ("", false),
        ] {
            assert_eq!(may_start_a_hook(stat.as_bytes()), expected, "{stat}");
        }
    }

    #[test]
    fn c3_whoever_works_in_a_repository_stands_in_one_of_its_work_trees() {
        let folder = tempfile::tempdir().unwrap();
        let git_dir = folder.path().join("work/.git");
        fs::create_dir_all(git_dir.join("worktrees/linked")).unwrap();
        fs::write(git_dir.join("worktrees/linked/gitdir"), "/elsewhere/linked/.git\n").unwrap();
        assert_eq!(roots(&git_dir), [folder.path().join("work"), "/elsewhere/linked".into()]);
        assert_eq!(roots(&git_dir.join("modules/sub")), [folder.path().join("work")]);
        assert_eq!(roots(&folder.path().join("apart")), [folder.path().join("apart")]);
    }
}
