//! The hooks of a commit: whether the agent has anything to say of a message.
//!
//! What has no `#` and no hyphen before a digit asks nothing of Jira, and where no policy holds nothing is to be said of it.
//! The agent notes that none does (`agent/plain`), and by which configuration; once that changes it is asked again, and so it is
//! where a team's file counts, or where no keys are put in and Git's configuration has changed since somebody wanted that.

use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, Stat};

use crate::agent;
use crate::process::{self, Process};

/// The longest message that is looked at here.
const MESSAGE: usize = 16 << 10;

pub fn run(process: &Process, hook: &[u8], arguments: &[&[u8]]) -> i32 {
    let has_nothing_to_do = match hook {
        b"commit-msg" => arguments.first().is_some_and(|path| says_nothing(process, path)),
        _ => gets_no_key(process, arguments.get(1).copied().unwrap_or_default()),
    };
    if has_nothing_to_do { 0 } else { agent::guarded(process, hook, arguments, None) }
}

/// Only a message that somebody begins gets a key, and only on a branch whose name may have one. A rebase, which runs this hook
/// for every commit, is on no branch. With reftable the file does not tell.
fn gets_no_key(process: &Process, source: &[u8]) -> bool {
    if !matches!(source, b"" | b"message") {
        return true;
    }
    let head = || {
        let git_dir = process::folder(CWD, process.said("GIT_DIR").unwrap_or(b".git")).ok()?;
        read(&git_dir, b"HEAD", 4 << 10)
    };
    let Some(head) = head() else { return true };
    let may_have_key = head.windows(2).any(|pair| pair[0] == b'-' && matches!(pair[1], b'1'..=b'9'));
    !may_have_key && !head.trim_ascii_end().ends_with(b".invalid")
}

fn says_nothing(process: &Process, path: &[u8]) -> bool {
    let known = || {
        let ours = ours(process)?;
        let has = |at: &OwnedFd, name: &str| rustix::fs::accessat(at, name, Access::EXISTS, AtFlags::empty()).is_ok();
        if has(&ours, "trusted") && rustix::fs::access(".agent.toml", Access::EXISTS).is_ok() {
            return None;
        }
        if let Some(unwanted) = stat(&ours, b"prepare-commit-msg")
            && stat(&ours, b"../config").is_none_or(|config| is_newer(&config, &unwanted))
        {
            return None;
        }
        let plain = stat(&ours, b"plain")?;
        let text = read(&ours, b"plain", 4 << 10)?;
        let noted = text.split(|&byte| byte == b'\n').next()?;
        if process.said("GIT_JIRA_AGENT_CONFIG").is_some_and(|config| config != noted) {
            return None;
        }
        let config = stat(&CWD, noted)?;
        is_newer(&plain, &config).then_some(())
    };
    known().is_some() && read(&CWD, path, MESSAGE).is_some_and(|text| text.len() < MESSAGE && asks_nothing(&text))
}

fn asks_nothing(message: &[u8]) -> bool {
    !message.contains(&b'#') && !message.windows(2).any(|pair| pair[0] == b'-' && pair[1].is_ascii_digit())
}

/// What we keep in the repository: beside the folder of the hooks, or in the one that Git works with.
fn ours(process: &Process) -> Option<OwnedFd> {
    let called = process.words.first()?;
    let hooks = called.strip_suffix(crate::name(called))?;
    let beside = [hooks, b"../agent"].concat();
    let in_git_dir = || [process.said("GIT_DIR").unwrap_or(b".git"), b"/agent"].concat();
    let has_mark = |folder: &OwnedFd| stat(folder, b"plain").is_some();
    let found = process::folder(CWD, &beside).ok().filter(has_mark);
    found.or_else(|| process::folder(CWD, &in_git_dir()).ok().filter(has_mark))
}

fn stat(folder: &impl AsFd, name: &[u8]) -> Option<Stat> {
    rustix::fs::statat(folder, name, AtFlags::empty()).ok()
}

fn is_newer(one: &Stat, other: &Stat) -> bool {
    (one.st_mtime, one.st_mtime_nsec) > (other.st_mtime, other.st_mtime_nsec)
}

fn read(folder: &impl AsFd, name: &[u8], most: usize) -> Option<Vec<u8>> {
    let file = rustix::fs::openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    process::read(file, most).ok()
}
