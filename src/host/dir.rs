//! A directory held open, so that what is checked in it is what is changed in it.
//!
//! Hooks are put into repositories that belong to other people, at times by root. A path walked twice may lead
//! to two places; a descriptor may not. Every step down is one component that is not a symbolic link, and
//! every name below is relative to the descriptor. A file is written whole: under a temporary name of the same
//! directory, synced, renamed, and the directory synced.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, Stat, Uid};

use super::Error;

/// An open directory and the path it was reached by, which is only for people to read.
#[derive(Debug)]
pub(super) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// What stands under one name.
#[derive(Debug)]
pub(super) enum Entry {
    File { bytes: Vec<u8>, mode: u32 },
    Symlink { target: PathBuf },
    Other,
}

/// Held while a repository's hooks are being changed; dropping it lets the next one in.
pub(super) struct Lock {
    _fd: OwnedFd,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Dir {
    /// Opens `path`, which may pass through links: the caller made it canonical.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let fd = fs::open(path, DIRECTORY, Mode::empty()).map_err(|error| io(path, error))?;
        Ok(Self { fd, path: path.into() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens what lies below, one real directory after another; `None` when there is none.
    pub(super) fn below(&self, relative: &Path) -> Result<Option<Self>, Error> {
        let mut dir = self.again()?;
        for component in relative.components() {
            let Component::Normal(name) = component else {
                return Err(Error::Obstacle(self.path.join(relative)));
            };
            let path = dir.path.join(name);
            match fs::openat(&dir.fd, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(fd) => dir = Self { fd, path },
                Err(rustix::io::Errno::NOENT) => return Ok(None),
                Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => return Err(Error::Obstacle(path)),
                Err(error) => return Err(io(&path, error)),
            }
        }
        Ok(Some(dir))
    }

    /// Opens the directory `name`, made first if it is missing, with the mode and the owner of this one.
    pub(super) fn make(&self, name: &str) -> Result<Self, Error> {
        if let Some(dir) = self.below(Path::new(name))? {
            return Ok(dir);
        }
        let path = self.path.join(name);
        fs::mkdirat(&self.fd, name, Mode::RWXU).map_err(|error| io(&path, error))?;
        let fd = fs::openat(&self.fd, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
            .map_err(|error| io(&path, error))?;
        let made = Self { fd, path };
        self.hand_to_owner(&made.fd, made.path())?;
        let mode = Mode::from_raw_mode(self.stat()?.st_mode & 0o7777);
        fs::fchmod(&made.fd, mode).map_err(|error| io(made.path(), error))?;
        self.sync()?;
        Ok(made)
    }

    pub(super) fn stat(&self) -> Result<Stat, Error> {
        fs::fstat(&self.fd).map_err(|error| io(&self.path, error))
    }

    /// Waits until nobody else changes hooks below this directory.
    pub(super) fn lock(&self) -> Result<Lock, Error> {
        let fd = self.again()?.fd;
        fs::flock(&fd, FlockOperation::LockExclusive).map_err(|error| io(&self.path, error))?;
        Ok(Lock { _fd: fd })
    }

    pub(super) fn entry(&self, name: &str) -> Result<Option<Entry>, Error> {
        let path = self.path.join(name);
        let stat = match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(io(&path, error)),
        };
        Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Entry::File { bytes: self.read(name)?, mode: stat.st_mode & 0o7777 },
            FileType::Symlink => {
                let target = fs::readlinkat(&self.fd, name, Vec::new()).map_err(|error| io(&path, error))?;
                Entry::Symlink { target: OsString::from_vec(target.into_bytes()).into() }
            }
            _ => Entry::Other,
        }))
    }

    pub(super) fn names(&self) -> Result<Vec<OsString>, Error> {
        let entries = fs::Dir::read_from(&self.fd).map_err(|error| io(&self.path, error))?;
        let names = entries.map(|entry| Ok(OsString::from_vec(entry?.file_name().to_bytes().to_vec())));
        let names: Vec<_> =
            names.collect::<Result<_, _>>().map_err(|error: rustix::io::Errno| io(&self.path, error))?;
        Ok(names.into_iter().filter(|name| name != "." && name != "..").collect())
    }

    /// Puts a whole file in the place of whatever had that name, so that no moment shows half of one.
    pub(super) fn put(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
        // The lock is ours, so a file of this name was left by a writer that died.
        let temporary = temporary(name);
        self.remove(&temporary)?;
        let path = self.path.join(&temporary);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(&self.fd, &temporary, flags, Mode::RUSR | Mode::WUSR).map_err(|error| io(&path, error))?;
        self.hand_to_owner(&fd, &path)?;
        fs::fchmod(&fd, Mode::from_raw_mode(mode)).map_err(|error| io(&path, error))?;
        let mut file = File::from(fd);
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| io(&path, error))?;
        self.rename(&temporary, self, name)
    }

    /// Gives the very same file a second name elsewhere: bytes, mode, owner and times are shared, not copied.
    pub(super) fn link(&self, name: &str, to: &Self, to_name: &str) -> Result<(), Error> {
        fs::linkat(&self.fd, name, &to.fd, to_name, AtFlags::empty())
            .map_err(|error| io(&to.path.join(to_name), error))?;
        to.sync()
    }

    /// The same for a while and under the same name, so that nothing is lost if the power fails and it is not there afterwards.
    pub(super) fn lend(&self, name: &str, to: &Self) -> Result<(), Error> {
        fs::linkat(&self.fd, name, &to.fd, name, AtFlags::empty()).map_err(|error| io(&to.path.join(name), error))
    }

    /// Removes what was lent.
    pub(super) fn take_back(&self, name: &str) -> Result<(), Error> {
        fs::unlinkat(&self.fd, name, AtFlags::empty()).map_err(|error| io(&self.path.join(name), error))
    }

    pub(super) fn symlink(&self, target: &Path, name: &OsStr) -> Result<(), Error> {
        let path = self.path.join(name);
        match fs::symlinkat(target, &self.fd, name) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => self.hand_link_to_owner(name, &path),
            Err(error) => Err(io(&path, error)),
        }
    }

    /// Puts a link in the place of whatever had that name, so that no moment shows nothing there.
    pub(super) fn put_link(&self, name: &str, target: &Path) -> Result<(), Error> {
        let temporary = temporary(name);
        self.remove(&temporary)?;
        self.symlink(target, temporary.as_ref())?;
        self.rename(&temporary, self, name)
    }

    pub(super) fn is_symlink_to(&self, name: &OsStr, target: &Path) -> bool {
        fs::readlinkat(&self.fd, name, Vec::new()).is_ok_and(|found| found.as_bytes() == target.as_os_str().as_bytes())
    }

    pub(super) fn rename(&self, name: &str, to: &Self, to_name: &str) -> Result<(), Error> {
        fs::renameat(&self.fd, name, &to.fd, to_name).map_err(|error| io(&to.path.join(to_name), error))?;
        self.sync()?;
        to.sync()
    }

    /// Removes a file or a link; one that is gone already is as good.
    pub(super) fn remove(&self, name: impl AsRef<OsStr>) -> Result<(), Error> {
        match fs::unlinkat(&self.fd, name.as_ref(), AtFlags::empty()) {
            Ok(()) => self.sync(),
            Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(io(&self.path.join(name.as_ref()), error)),
        }
    }

    /// Removes what a writer that died may have left beside `name`.
    pub(super) fn remove_temporary(&self, name: &str) -> Result<(), Error> {
        self.remove(temporary(name))
    }

    /// Removes a directory, unless somebody keeps something in it.
    pub(super) fn remove_empty(&self, name: &Path) -> Result<(), Error> {
        use rustix::io::Errno;
        match fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) => self.sync(),
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(error) => Err(io(&self.path.join(name), error)),
        }
    }

    pub(super) fn owner_of(&self, name: &str) -> Result<(Uid, Gid), Error> {
        let stat =
            fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| io(&self.path.join(name), error))?;
        Ok((Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid)))
    }

    /// Gives a file back to its owner after a program that root ran has written it anew.
    pub(super) fn give(&self, name: &str, owner: (Uid, Gid)) -> Result<(), Error> {
        if !rustix::process::geteuid().is_root() || self.owner_of(name)? == owner {
            return Ok(());
        }
        fs::chownat(&self.fd, name, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| io(&self.path.join(name), error))
    }

    fn again(&self) -> Result<Self, Error> {
        let fd = fs::openat(&self.fd, ".", DIRECTORY, Mode::empty()).map_err(|error| io(&self.path, error))?;
        Ok(Self { fd, path: self.path.clone() })
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let path = self.path.join(name);
        // Should a pipe have taken the file's place meanwhile, opening it must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = fs::openat(&self.fd, name, flags, Mode::empty()).map_err(|error| io(&path, error))?;
        let mut bytes = Vec::new();
        File::from(fd).read_to_end(&mut bytes).map_err(|error| io(&path, error))?;
        Ok(bytes)
    }

    fn sync(&self) -> Result<(), Error> {
        match fs::fsync(&self.fd) {
            // Some network file systems cannot sync a directory; there the rename is all there is.
            Ok(()) | Err(rustix::io::Errno::INVAL) => Ok(()),
            Err(error) => Err(io(&self.path, error)),
        }
    }

    /// Gives what root made to the owner of the directory it lies in, whose hook has to write there.
    fn hand_to_owner(&self, fd: &OwnedFd, path: &Path) -> Result<(), Error> {
        match self.owner_if_root()? {
            Some((uid, gid)) => fs::fchown(fd, Some(uid), Some(gid)).map_err(|error| io(path, error)),
            None => Ok(()),
        }
    }

    fn hand_link_to_owner(&self, name: &OsStr, path: &Path) -> Result<(), Error> {
        match self.owner_if_root()? {
            Some((uid, gid)) => fs::chownat(&self.fd, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| io(path, error)),
            None => Ok(()),
        }
    }

    fn owner_if_root(&self) -> Result<Option<(Uid, Gid)>, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let stat = self.stat()?;
        Ok(Some((Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))))
    }
}

fn temporary(name: &str) -> String {
    format!(".{name}.agent-new")
}

fn io(path: &Path, error: impl Into<std::io::Error>) -> Error {
    Error::Io { path: path.into(), source: error.into() }
}
