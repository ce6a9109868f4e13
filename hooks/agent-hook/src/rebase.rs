//! A long rebase, which Git makes without `prepare-commit-msg`.
//!
//! Git runs that hook for each commit that a rebase makes again, and writes the message to a file and reads it back for it, although the
//! hook never has anything to do there: a rebase is on no branch. So the hook lays itself ready, while Git waits for it. A child
//! stays behind and puts it back shortly before the end, or at once when Git's process ends: stopped, given up, or killed. It is
//! done where nobody else can be making a commit on a branch: in a clone with one work tree, which is in the rebase.

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::process::PidfdFlags;

use crate::place::{self, Place};
use crate::process::{self, Fork};

/// So many commits have to be left for it to be worth a process.
const MANY: u32 = 32;
/// So many before the end the hook is back.
const FEW: u32 = 8;
/// How often it is looked how far the rebase is, while it goes on and where it takes its time.
const OFTEN: Duration = Duration::from_millis(10);
const SELDOM: Duration = Duration::from_secs(1);

/// Whether there is enough left of a rebase, and nobody else there to be making a commit.
pub fn is_long(place: &Place, git_dir: &OwnedFd) -> bool {
    left(git_dir).is_some_and(|left| left >= MANY) && !place.has("../worktrees") && !place::has(git_dir, b"commondir")
}

/// Takes the hook that is running from among the others, as which it has this `name` in this folder.
pub fn stand_aside(place: &Place, git_dir: &OwnedFd, hooks: &[u8], name: &str) -> Option<()> {
    let hooks = process::folder(CWD, hooks).ok()?;
    let rebase = rustix::process::pidfd_open(rustix::process::getppid()?, PidfdFlags::empty()).ok()?;
    if !is_this(&hooks, name) || !place.take(&hooks, name) {
        return None;
    }
    match process::fork() {
        Some(Fork::Parent(_)) => {}
        Some(Fork::Child) => {
            apart();
            wait(&rebase, git_dir);
            place.give(&hooks, name);
            process::exit(0)
        }
        None => place.give(&hooks, name),
    }
    Some(())
}

/// Commits that the rebase still has to make.
fn left(git_dir: &OwnedFd) -> Option<u32> {
    let number = |name: &[u8]| -> Option<u32> {
        let text = process::read_file(git_dir, name, 16)?;
        core::str::from_utf8(&text).ok()?.trim().parse().ok()
    };
    number(b"rebase-merge/end")?.checked_sub(number(b"rebase-merge/msgnum")?)
}

/// Whether the program that is running lies there under this name.
fn is_this(hooks: &OwnedFd, name: &str) -> bool {
    let [this, there] = [rustix::fs::stat("/proc/self/exe"), rustix::fs::statat(hooks, name, AtFlags::empty())];
    matches!((this, there), (Ok(this), Ok(there)) if (this.st_dev, this.st_ino) == (there.st_dev, there.st_ino))
}

/// Lets go of the terminal, of Git's outputs and of the work tree.
fn apart() {
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    if let Ok(nothing) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&nothing);
        let _ = rustix::stdio::dup2_stdout(&nothing);
        let _ = rustix::stdio::dup2_stderr(&nothing);
    }
}

/// Waits until few commits are left, or the rebase's process is gone.
fn wait(rebase: &OwnedFd, git_dir: &OwnedFd) {
    let (mut last, mut pause) = (None, OFTEN);
    while !has_ended(rebase, pause) {
        let now = left(git_dir);
        if now.is_some_and(|now| now <= FEW) {
            return;
        }
        pause = if now == last { (pause * 2).min(SELDOM) } else { OFTEN };
        last = now;
    }
}

fn has_ended(process: &OwnedFd, within: Duration) -> bool {
    let within =
        Timespec { tv_sec: i64::try_from(within.as_secs()).unwrap_or(0), tv_nsec: within.subsec_nanos().into() };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&within)).is_ok_and(|ended| ended > 0)
}
