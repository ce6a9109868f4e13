//! The drop-box of the daemon, where a call is left that nobody has time for.

use alloc::format;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::process;

/// Leaves a frame; when this returns, it survives a power cut.
pub fn leave(spool: &[u8], id: &str, frame: &[u8]) -> Result<(), Errno> {
    let incoming = process::folder(process::folder(rustix::fs::CWD, spool)?, b"incoming")?;
    let (temporary, name) = (format!(".{id}.{}", rustix::process::getpid()), format!("{id}.event"));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&incoming, &*temporary, flags, Mode::from_raw_mode(0o640))?;
    let written = written(&incoming, &file, &temporary, &name, frame);
    if written.is_err() {
        let _ = rustix::fs::unlinkat(&incoming, &*temporary, AtFlags::empty());
    }
    written
}

fn written(incoming: &OwnedFd, file: &OwnedFd, temporary: &str, name: &str, frame: &[u8]) -> Result<(), Errno> {
    // The umask may hide the file from the daemon's group, which is what lets it read.
    rustix::fs::fchmod(file, Mode::from_raw_mode(0o640))?;
    process::write(file, frame)?;
    rustix::fs::fsync(file)?;
    rustix::fs::renameat(incoming, temporary, incoming, name)?;
    // Others may not list, so not open and not sync, the folder. Syncing the file once more after the rename puts the new
    // name into the same commit of the journal.
    rustix::fs::fsync(file)?;
    let folder = rustix::fs::openat(incoming, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    folder.map_or(Ok(()), rustix::fs::fsync)
}
