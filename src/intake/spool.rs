//! The drop-box for events that the daemon did not take: one frame, one file.
//!
//! `<spool>/incoming` may be written by everybody and listed by nobody but the daemon (mode 3733);
//! `<spool>/corrupt` holds what could not be read. A file is written under a temporary name,
//! synced, and renamed to `<event id>.event`; the daemon removes it only after the event is stored.
//! The identity of whoever left it is the file's owner. What else may lie there (links, pipes,
//! giants) was put there by somebody hostile and is moved aside unread.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fsync};

use super::frame;

/// A file found in the spool.
pub struct Left {
    pub path: PathBuf,
    /// The owner of the file, who speaks through it.
    pub uid: u32,
    /// Of which kind it is, and what it says.
    pub body: Result<(u16, Vec<u8>), Error>,
}

/// How much lies in the spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Depth {
    pub incoming: usize,
    pub corrupt: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{action} {path}: {error}")]
    Io { action: &'static str, path: PathBuf, error: std::io::Error },
    #[error("{0} is no ordinary file with one name")]
    Odd(PathBuf),
    #[error(transparent)]
    Frame(#[from] frame::Error),
}

/// Leaves a frame in the drop-box; when this returns, it survives a power cut.
pub fn leave(spool: &Path, id: &str, frame: &[u8]) -> Result<(), Error> {
    let incoming = spool.join(INCOMING);
    let temporary = incoming.join(format!(".{id}.{}", std::process::id()));
    let path = incoming.join(format!("{id}.event"));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&temporary)
        .map_err(|error| failed("cannot create", &temporary, error))?;
    // The umask may hide the file from the daemon's group, which is what lets it read.
    let written = fs::set_permissions(&temporary, fs::Permissions::from_mode(0o640))
        .and_then(|()| file.write_all(frame))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, &path))
        // Others may not list, so not open and not sync, the directory. Syncing the file once more
        // after the rename puts the new name into the same journal commit.
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(failed("cannot write", &path, error));
    }
    if let Ok(directory) = File::open(&incoming) {
        fsync(&directory).map_err(|error| failed("cannot sync", &incoming, error.into()))?;
    }
    Ok(())
}

/// The drop-box and its side room, made where they are missing; what exists keeps its mode.
pub fn prepare(spool: &Path, shared: bool) -> std::io::Result<()> {
    for (name, mode) in [(INCOMING, if shared { 0o3733 } else { 0o700 }), (CORRUPT, 0o700)] {
        let path = spool.join(name);
        if !path.is_dir() {
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

/// Up to `limit` frames, oldest event first: ids begin with their time.
pub fn look(spool: &Path, limit: usize) -> std::io::Result<Vec<Left>> {
    let mut paths: Vec<PathBuf> = names(&spool.join(INCOMING))?.collect();
    paths.sort_unstable();
    paths.truncate(limit);
    Ok(paths.into_iter().map(open).collect())
}

/// Takes a file out of the drop-box after its event is stored.
pub fn remove(left: &Left) -> std::io::Result<()> {
    fs::remove_file(&left.path)
}

/// Moves a file that cannot be read to the side room, where a person can look at it.
pub fn set_aside(spool: &Path, left: &Left) -> std::io::Result<()> {
    let name = left.path.file_name().expect("came out of a directory listing");
    fs::rename(&left.path, spool.join(CORRUPT).join(name))
}

pub fn depth(spool: &Path) -> Depth {
    let count = |name| names(&spool.join(name)).map_or(0, Iterator::count);
    Depth { incoming: count(INCOMING), corrupt: count(CORRUPT) }
}

const INCOMING: &str = "incoming";
const CORRUPT: &str = "corrupt";

/// Files that are complete; a name with a dot in front is still being written.
///
/// A directory is passed over: nobody but its owner can move it out of the way.
fn names(directory: &Path) -> std::io::Result<impl Iterator<Item = PathBuf>> {
    let visible = |entry: &fs::DirEntry| {
        !entry.file_name().as_encoded_bytes().starts_with(b".") && entry.file_type().is_ok_and(|kind| !kind.is_dir())
    };
    Ok(fs::read_dir(directory)?.filter_map(Result::ok).filter(visible).map(|entry| entry.path()))
}

fn open(path: PathBuf) -> Left {
    let uid = fs::symlink_metadata(&path).map_or(u32::MAX, |meta| meta.uid());
    let body = read(&path);
    Left { path, uid, body }
}

fn read(path: &Path) -> Result<(u16, Vec<u8>), Error> {
    let io = |error| failed("cannot read", path, error);
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() || meta.nlink() != 1 || meta.len() > (frame::HEADER + frame::LIMIT) as u64 {
        return Err(Error::Odd(path.to_owned()));
    }
    let mut file = file.take((frame::HEADER + frame::LIMIT) as u64);
    Ok(frame::read_any(&mut file)?)
}

fn failed(action: &'static str, path: &Path, error: std::io::Error) -> Error {
    Error::Io { action, path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool() -> tempfile::TempDir {
        let spool = tempfile::tempdir().unwrap();
        prepare(spool.path(), true).unwrap();
        spool
    }

    #[test]
    fn a_frame_left_is_found_once_and_oldest_first() {
        let spool = spool();
        for id in ["02", "01"] {
            leave(spool.path(), id, &frame::wrap(id.as_bytes()).unwrap()).unwrap();
        }
        let found = look(spool.path(), 10).unwrap();
        let bodies: Vec<_> = found.iter().map(|left| left.body.as_ref().unwrap().clone()).collect();
        assert_eq!(bodies, [(frame::EVENT, b"01".to_vec()), (frame::EVENT, b"02".to_vec())]);
        found.iter().for_each(|left| remove(left).unwrap());
        assert_eq!(depth(spool.path()), Depth::default());
    }

    #[test]
    fn f11_links_pipes_giants_and_halves_are_set_aside_unread() {
        let spool = spool();
        let incoming = spool.path().join(INCOMING);
        let outside = spool.path().join("outside");
        fs::write(&outside, frame::wrap(b"stolen").unwrap()).unwrap();
        std::os::unix::fs::symlink(&outside, incoming.join("link.event")).unwrap();
        fs::hard_link(&outside, incoming.join("hard.event")).unwrap();
        fs::write(incoming.join("half.event"), &frame::wrap(b"whole").unwrap()[..18]).unwrap();
        File::create(incoming.join("giant.event")).unwrap().set_len(1 << 33).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, incoming.join("pipe.event"), rustix::fs::Mode::RUSR).unwrap();
        let found = look(spool.path(), 10).unwrap();
        assert_eq!(found.len(), 5);
        for left in &found {
            assert!(left.body.is_err(), "{}", left.path.display());
            set_aside(spool.path(), left).unwrap();
        }
        assert_eq!(depth(spool.path()), Depth { incoming: 0, corrupt: 5 });
    }

    #[test]
    fn f10_a_missing_drop_box_is_an_error_that_names_it() {
        let spool = tempfile::tempdir().unwrap();
        let error = leave(spool.path(), "01", b"frame").unwrap_err().to_string();
        assert!(error.contains("incoming"), "{error}");
    }
}
