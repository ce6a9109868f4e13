//! A repository, and what we keep in it.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::vec::Vec;

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use crate::process::{self, Process};

/// The folder of ours.
const FOLDER: &[u8] = b"agent";

pub struct Place {
    /// The git directory that all worktrees have in common, absolute and without links.
    pub path: Vec<u8>,
    ours: OwnedFd,
}

impl Place {
    /// The repository that was pushed to.
    pub fn pushed_to(process: &Process) -> Option<Place> {
        match process.said("GIT_DIR").unwrap_or(b".") {
            b"." => {
                let path = rustix::process::getcwd(Vec::new()).ok()?.into_bytes();
                Some(Place { path, ours: process::folder(CWD, FOLDER).ok()? })
            }
            other => {
                let git_dir = process::folder(CWD, other).ok()?;
                Some(Place { path: path_of(&git_dir)?, ours: process::folder(&git_dir, FOLDER).ok()? })
            }
        }
    }

    /// The clone that somebody commits in: ours is beside the folder of its hooks, or where Git works. It has a certain mark.
    pub fn committed_in(process: &Process, mark: &str) -> Option<Place> {
        let called = process.words.first()?;
        let hooks = called.strip_suffix(crate::name(called))?;
        let beside = [hooks, b"../", FOLDER].concat();
        let in_git_dir = || [process.said("GIT_DIR").unwrap_or(b".git"), b"/", FOLDER].concat();
        let marked = |path: &[u8]| {
            let ours = process::folder(CWD, path).ok()?;
            let path = path_of(&ours)?;
            let place = Place { path: path.strip_suffix(FOLDER)?.strip_suffix(b"/")?.to_owned(), ours };
            place.has(mark).then_some(place)
        };
        marked(&beside).or_else(|| marked(&in_git_dir()))
    }

    pub fn has(&self, name: &str) -> bool {
        has(&self.ours, name.as_bytes())
    }

    /// Gives a file of ours a second name; one that is there by that name already stays as it is.
    pub fn lend(&self, name: &str, to: &[u8]) -> Option<()> {
        match rustix::fs::linkat(&self.ours, name, CWD, to, AtFlags::empty()) {
            Ok(()) | Err(Errno::EXIST) => Some(()),
            Err(_) => None,
        }
    }

    pub fn link(&self, name: &str) -> Option<Vec<u8>> {
        Some(rustix::fs::readlinkat(&self.ours, name, Vec::new()).ok()?.into_bytes())
    }

    /// Lays a file of that folder ready here; tells whether it did.
    pub fn take(&self, from: &OwnedFd, name: &str) -> bool {
        !self.has(name) && rustix::fs::renameat(from, name, &self.ours, name).is_ok()
    }

    /// Puts it back, unless something else has its place by now.
    pub fn give(&self, to: &OwnedFd, name: &str) {
        match rustix::fs::linkat(&self.ours, name, to, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::EXIST) => drop(rustix::fs::unlinkat(&self.ours, name, AtFlags::empty())),
            Err(_) => drop(rustix::fs::renameat(&self.ours, name, to, name)),
        }
    }

    pub fn stat(&self, name: &str) -> Option<Stat> {
        rustix::fs::statat(&self.ours, name, AtFlags::empty()).ok()
    }

    pub fn read(&self, name: &str, most: usize) -> Option<Vec<u8>> {
        process::read_file(&self.ours, name.as_bytes(), most)
    }

    /// Notes what the daemon was told, and where its drop-box is. What is not noted is told once more with the next push.
    pub fn note(&self, told: &[u8], spool: &[u8]) {
        if !told.is_empty() {
            let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
            let _ = rustix::fs::openat(&self.ours, "told", flags, Mode::empty())
                .and_then(|file| process::write(file, told));
        }
        if self.link("drop").is_none_or(|now| now != spool) {
            const NEW: &str = "drop.agent-new";
            let _ = rustix::fs::symlinkat(spool, &self.ours, NEW)
                .and_then(|()| rustix::fs::renameat(&self.ours, NEW, &self.ours, "drop"));
            let _ = rustix::fs::unlinkat(&self.ours, NEW, AtFlags::empty());
        }
    }

    /// Notes that a hook of ours was started, where that can be written down without any trouble.
    pub fn note_fired(&self, hook: &[u8]) {
        let name = [b"fired-", hook].concat();
        let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
        let times = Timestamps { last_access: time(UTIME_OMIT), last_modification: time(UTIME_NOW) };
        if rustix::fs::utimensat(self.ours.as_fd(), &*name, &times, AtFlags::empty()).is_err() {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
            let _ = rustix::fs::openat(&self.ours, &*name, flags, Mode::from_raw_mode(0o666));
        }
    }
}

/// Whether there is something of this name.
pub fn has(folder: impl AsFd, name: &[u8]) -> bool {
    rustix::fs::accessat(folder, name, Access::EXISTS, AtFlags::empty()).is_ok()
}

/// Where a folder is, that may have been opened by another name.
fn path_of(folder: &OwnedFd) -> Option<Vec<u8>> {
    let itself = format!("/proc/self/fd/{}", folder.as_raw_fd());
    Some(rustix::fs::readlink(&*itself, Vec::new()).ok()?.into_bytes())
}
