//! The repositories below a folder.
//!
//! Links are not followed, so nothing outside the folder is found and nothing twice. A repository is not looked into:
//! what lies in its work tree belongs to it, submodules and linked worktrees too.

use std::fs::{self, DirEntry, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::create::{DISCARDED, UNFINISHED};

/// What lies below a folder, in the order of names.
#[derive(Debug, Default)]
pub struct Below {
    /// Git directories.
    pub repositories: Vec<PathBuf>,
    /// Folders that are no repositories: what appears in one of them may be one.
    pub folders: Vec<PathBuf>,
    /// Folders that could not be looked into, and why.
    pub closed: Vec<(PathBuf, String)>,
}

/// How long nothing may have moved in a repository that is believed to be made.
const REST: Duration = Duration::from_millis(500);
/// How long a repository that was given a remote and has no refs may still be a clone under way.
const FETCHING: Duration = Duration::from_secs(600);

/// Looks for repositories in a folder and all folders below it; nowhere where an account has none.
pub fn below(root: &Path) -> Below {
    let mut below = Below::default();
    if !root.as_os_str().is_empty() {
        look(root, &mut below);
    }
    below
}

/// Whether git is done with making a repository: nothing is locked, nothing half received, and nothing moved just now.
pub fn is_made(git_dir: &Path, now: i64) -> bool {
    let Ok(meta) = fs::metadata(git_dir) else { return false };
    let locked = ["config.lock", "HEAD.lock", "index.lock", "packed-refs.lock", "shallow.lock"];
    if !is_git_dir(git_dir) || locked.iter().any(|name| git_dir.join(name).exists()) {
        return false;
    }
    if names(&git_dir.join("objects/pack")).any(|name| name.starts_with("tmp_")) {
        return false;
    }
    let parts = ["HEAD", "config", "refs", "objects", "refs/heads", "objects/pack"].iter();
    let metas: Vec<Metadata> = parts.filter_map(|name| fs::metadata(git_dir.join(name)).ok()).chain([meta]).collect();
    // One that lies in the future was moved by a clock, not by git.
    let age = |meta: &Metadata| {
        let at = meta.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Duration::from_millis(now.unsigned_abs()).checked_sub(at)
    };
    let youngest = metas.iter().filter_map(age).min().unwrap_or(FETCHING);
    let waits = if is_cloned(git_dir) && is_empty(git_dir) { FETCHING } else { REST };
    youngest >= waits
}

fn look(path: &Path, below: &mut Below) {
    let dot_git = path.join(".git");
    match fs::symlink_metadata(&dot_git) {
        Ok(meta) if meta.is_dir() => {
            below.repositories.extend(is_git_dir(&dot_git).then_some(dot_git));
            return;
        }
        // A submodule or a linked worktree: its repository is elsewhere.
        Ok(_) => return,
        Err(_) => {}
    }
    if is_git_dir(path) {
        below.repositories.push(path.to_owned());
        return;
    }
    match fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<DirEntry>, _>>) {
        Ok(mut entries) => {
            below.folders.push(path.to_owned());
            entries.retain(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()) && !is_ours(entry));
            entries.sort_by_key(DirEntry::file_name);
            entries.iter().for_each(|entry| look(&entry.path(), below));
        }
        Err(error) => below.closed.push((path.to_owned(), error.to_string())),
    }
}

/// Whether it is a repository that we are making or taking away at this moment.
fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    [UNFINISHED, DISCARDED].iter().any(|beginning| name.as_encoded_bytes().starts_with(beginning.as_bytes()))
}

fn is_git_dir(path: &Path) -> bool {
    path.join("HEAD").symlink_metadata().is_ok() && path.join("objects").is_dir() && path.join("refs").is_dir()
}

fn is_cloned(git_dir: &Path) -> bool {
    fs::read(git_dir.join("config")).is_ok_and(|text| text.windows(8).any(|eight| eight == b"[remote "))
}

fn is_empty(git_dir: &Path) -> bool {
    let loose =
        names(&git_dir.join("refs/heads")).next().is_some() || names(&git_dir.join("refs/remotes")).next().is_some();
    !loose && !git_dir.join("packed-refs").exists() && !git_dir.join("reftable").exists()
}

fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn git(folder: &Path, words: &[&str]) {
        let mut git = Command::new("git");
        git.args(["-c", "protocol.file.allow=always", "-c", "user.name=a", "-c", "user.email=a@example.org"]);
        assert!(git.args(words).current_dir(folder).output().unwrap().status.success(), "{words:?}");
    }

    #[test]
    fn t8_b1_every_repository_below_a_folder_is_found_once_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        fs::create_dir_all(root.join("team/deep")).unwrap();
        for path in ["root/a.git", "root/team/deep/b.git", "outside/c.git"] {
            git(folder.path(), &["init", "--quiet", "--bare", path]);
        }
        git(folder.path(), &["init", "--quiet", "root/clone"]);
        let clone = root.join("clone");
        git(&clone, &["commit", "--quiet", "--allow-empty", "-m", "x"]);
        git(&clone, &["submodule", "--quiet", "add", "./", "sub"]);
        git(&clone, &["init", "--quiet", "nested"]);
        git(&clone, &["worktree", "add", "--quiet", "../linked", "-b", "linked"]);
        std::os::unix::fs::symlink(&outside, root.join("leads-out")).unwrap();
        std::os::unix::fs::symlink("a.git", root.join("again.git")).unwrap();
        let found = below(&root);
        let expected = ["a.git", "clone/.git", "team/deep/b.git"].map(|name| root.join(name));
        assert_eq!(found.repositories, expected);
        assert_eq!(found.folders, [root.clone(), root.join("team"), root.join("team/deep")]);
        assert_eq!(below(&root.join("a.git")).repositories, [root.join("a.git")], "an account of its own");
    }

    #[test]
    fn t10_a_repository_that_is_being_made_is_told_from_one_that_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.git");
        git(folder.path(), &["init", "--quiet", "--bare", "a.git"]);
        let later = crate::clock::now() + 60_000;
        assert!(!is_made(&path, crate::clock::now()) && is_made(&path, later));
        for name in ["config.lock", "objects/pack/tmp_pack_x"] {
            fs::write(path.join(name), "").unwrap();
            assert!(!is_made(&path, later), "{name}");
            fs::remove_file(path.join(name)).unwrap();
        }
        // A clone says whence it comes before it has anything of it.
        git(&path, &["remote", "add", "origin", "https://example.org/a.git"]);
        assert!(!is_made(&path, later) && is_made(&path, later + 600_000));
        fs::remove_dir_all(path.join("objects")).unwrap();
        assert!(!is_made(&path, later + 600_000));
    }
}
