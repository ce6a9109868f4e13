//! Which Git is running in a repository, as the system tells.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, getpid, getppid};

use super::parent;

/// How many processes may stand between a hook and its Git.
const BETWEEN: usize = 16;

/// Where whoever works in a repository stands: in its work trees, or those around it.
pub(super) fn roots(git_dir: &Path) -> Vec<PathBuf> {
    let around = git_dir.ancestors().find(|path| path.ends_with(".git")).map_or(git_dir, parent);
    let linked = fs::read_dir(git_dir.join("worktrees")).into_iter().flatten().flatten();
    let linked = linked.filter_map(|entry| fs::read_to_string(entry.path().join("gitdir")).ok());
    let linked = linked.map(|text| parent(Path::new(text.trim_end())).to_owned());
    std::iter::once(around.to_owned()).chain(linked).collect()
}

/// Whether a Git below these folders, or the hook that it starts, is running and not waiting for something; the one that waits
/// for us is not.
pub(super) fn is_at_work(roots: &[PathBuf]) -> bool {
    is_any(roots, |stat| match stat.name {
        b"reference-trans" => true,
        _ => stat.is_git() && matches!(stat.state, b'R' | b'D'),
    })
}

/// Whether there is a Git below these folders that may be making a commit, or a hook of one, other than those that wait for us:
/// it may be waiting for somebody's editor.
pub(super) fn is_committing(roots: &[PathBuf]) -> bool {
    let ours: Vec<i32> = std::iter::once(getpid()).chain(above()).map(Pid::as_raw_pid).collect();
    is_any(roots, |stat| {
        let is_one = stat.is_git() || matches!(stat.name, b"prepare-commit-" | b"commit-msg");
        is_one && stat.state != b'Z' && !ours.contains(&stat.pid)
    })
}

/// The Git that pushes and has run this hook, where the system tells which processes started this one.
pub(crate) fn pusher() -> Option<Pid> {
    let pushes = |text: Vec<u8>| Stat::of(&text).is_some_and(|stat| matches!(stat.name, b"git" | b"git-push"));
    above().find(|pid| of(*pid).is_some_and(pushes))
}

/// The processes that have started this one, the nearest first.
fn above() -> impl Iterator<Item = Pid> {
    let next = |pid: &Pid| Pid::from_raw(Stat::of(&of(*pid)?)?.parent);
    std::iter::successors(getppid(), next).take(BETWEEN)
}

fn of(pid: Pid) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{}/stat", pid.as_raw_pid())).ok()
}

fn is_any(roots: &[PathBuf], is_one: impl Fn(&Stat<'_>) -> bool) -> bool {
    fs::read_dir("/proc").into_iter().flatten().flatten().any(|entry| {
        let is_process = entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
        is_process
            && fs::read(entry.path().join("stat")).is_ok_and(|text| Stat::of(&text).is_some_and(|stat| is_one(&stat)))
            && fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| roots.iter().any(|root| cwd.starts_with(root)))
    })
}

/// What the system tells of a process.
#[derive(Debug, PartialEq)]
struct Stat<'a> {
    pid: i32,
    /// At most fifteen bytes of it.
    name: &'a [u8],
    state: u8,
    parent: i32,
}

impl Stat<'_> {
    /// Reads its `stat`: the number, the name in parentheses, the state, and the number of whoever started it.
    fn of(text: &[u8]) -> Option<Stat<'_>> {
        let (begin, end) = (memchr::memchr(b'(', text)?, memchr::memrchr(b')', text)?);
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.trim().parse().ok();
        let mut rest = text.get(end + 1..)?.split(|byte| *byte == b' ').skip(1);
        let (state, parent) = (rest.next()?, rest.next()?);
        Some(Stat {
            pid: number(&text[..begin])?,
            name: text.get(begin + 1..end)?,
            state: *state.first()?,
            parent: number(parent)?,
        })
    }

    fn is_git(&self) -> bool {
        self.name == b"git" || self.name.starts_with(b"git-") && !self.name.starts_with(b"git-jira-agent")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c3_a_process_is_read_whatever_it_is_called() {
        let stat = |pid, name, state, parent| Some(Stat { pid, name, state, parent });
        for (text, expected) in [
            ("17 (git) R 1 17", stat(17, b"git".as_slice(), b'R', 1)),
            ("17 (git-push) S 16 17", stat(17, b"git-push", b'S', 16)),
            ("17 (a) R (git) D 1 17", stat(17, b"a) R (git", b'D', 1)),
            ("17 (a b) R 1", stat(17, b"a b", b'R', 1)),
            ("17 )git( R", None),
            ("17 (git) R", None),
            ("", None),
        ] {
            assert_eq!(Stat::of(text.as_bytes()), expected, "{text}");
        }
        assert!(Stat::of(b"1 (gitk) R 1").is_some_and(|stat| !stat.is_git()));
    }

    #[test]
    fn c3_a_git_that_waits_for_us_is_told_from_one_that_waits_for_somebody_else() {
        let folder = tempfile::tempdir().unwrap();
        let roots = [folder.path().canonicalize().unwrap()];
        assert!(!is_at_work(&roots) && !is_committing(&roots));
        let mut git = std::process::Command::new("git");
        git.args(["init", "--quiet"]).current_dir(folder.path()).status().unwrap();
        let mut git = std::process::Command::new("git");
        git.args(["hash-object", "--stdin"]).current_dir(folder.path());
        let mut waiting = git.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
        assert!(is_committing(&roots), "it may wait for an editor");
        drop(waiting.stdin.take());
        waiting.wait().unwrap();
        assert!(!is_committing(&roots));
        assert!(above().any(|pid| Some(pid) == getppid()));
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
