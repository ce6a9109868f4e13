//! A repository that was copied brings along the id of the other, and is to have its own.
//!
//! The note `agent/place` says for which folder the id was given: its number in the file system, and its path. A
//! repository that moves keeps the number, a copy has another. One that was restored has another too, but nobody beside it bears its id.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::Error;
use super::dir::Dir;
use super::manifest::FOLDER;
use crate::git::Repository;

const FILE: &str = "place";
/// What a copy brings along of what was told of the other.
const TOLD: [&str; 4] = ["told", "pushed", "scanned", "dirty"];

/// For which folder an id was given.
struct Note {
    number: u64,
    path: PathBuf,
}

/// Notes where a repository is; what was noted of another stays until it is known which of them is the copy.
pub(super) fn note(git_dir: &Path) -> Result<(), Error> {
    match Note::of(git_dir) {
        Some(note) if Some(note.number) != number(git_dir) || note.path == git_dir => Ok(()),
        _ => write(git_dir),
    }
}

/// Whether an id was given for this very folder; nothing where nobody noted it.
pub(crate) fn is_original(git_dir: &Path) -> Option<bool> {
    Some(Some(Note::of(git_dir)?.number) == number(git_dir))
}

/// The repository that this one is a copy of, as far as its own note can tell.
pub(crate) fn copied_from(repository: &Repository) -> Option<PathBuf> {
    let own = repository.common_dir();
    let note = Note::of(own)?;
    if Some(note.number) == number(own) {
        // It may have moved, and the next copy of it is to find it.
        if note.path != own {
            let _ = write(own);
        }
        return None;
    }
    let other = Repository::open(&note.path).ok().filter(|_| note.path != own)?;
    (other.id().is_some() && other.id() == repository.id()).then_some(note.path)
}

/// Gives a copy an id of its own, under which nothing of it was told; what its refs are then is for the caller to note, who
/// may know what moves at this moment.
pub(crate) fn part(git_dir: &Path) -> Result<String, Error> {
    let common = Dir::open(git_dir)?;
    let _lock = common.lock()?;
    let repository = Repository::open(git_dir)?;
    // Two pushes may have found it out at once.
    if let (Some(true), Some(id)) = (is_original(git_dir), repository.id()) {
        return Ok(id.to_owned());
    }
    let id = Uuid::now_v7().to_string();
    let owner = common.owner_of("config")?;
    repository.set_id(&id)?;
    common.give("config", owner)?;
    if let Some(folder) = common.below(Path::new(FOLDER))? {
        TOLD.iter().try_for_each(|name| folder.remove(name))?;
    }
    write(git_dir)?;
    Ok(id)
}

impl Note {
    fn of(git_dir: &Path) -> Option<Note> {
        let bytes = fs::read(git_dir.join(FOLDER).join(FILE)).ok()?;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let number = std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()?;
        let path = bytes[end + 1..].strip_suffix(b"\n")?;
        Some(Note { number, path: PathBuf::from(OsStr::from_bytes(path)) })
    }
}

fn write(git_dir: &Path) -> Result<(), Error> {
    let path = git_dir.join(FOLDER).join(FILE);
    let source = |source| Error::Io { path: path.clone(), source };
    let number = fs::metadata(git_dir).map_err(source)?.ino();
    let Some(folder) = Dir::open(git_dir)?.below(Path::new(FOLDER))? else { return Ok(()) };
    let text = [number.to_string().as_bytes(), b"\n", git_dir.as_os_str().as_bytes(), b"\n"].concat();
    let mode = folder.stat()?.st_mode & 0o666;
    folder.put(FILE, &text, mode)
}

/// The number of a folder in its file system. That of the file system itself may change whenever it is mounted.
fn number(git_dir: &Path) -> Option<u64> {
    fs::metadata(git_dir).ok().map(|meta| meta.ino())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn run(program: &str, words: &[&str], folder: &Path) {
        assert!(Command::new(program).args(words).current_dir(folder).status().unwrap().success(), "{words:?}");
    }

    #[test]
    fn f67_a_copy_is_told_from_what_moved_and_from_what_was_restored() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        run("git", &["init", "--quiet", "--bare", "a.git"], &root);
        let (a, b, c) = (root.join("a.git"), root.join("b.git"), root.join("c.git"));
        fs::create_dir(a.join(FOLDER)).unwrap();
        let open = |path: &Path| Repository::open(path).unwrap();
        open(&a).set_id("one").unwrap();
        note(&a).unwrap();
        assert_eq!((copied_from(&open(&a)), is_original(&a)), (None, Some(true)));
        fs::rename(&a, &b).unwrap();
        assert_eq!((copied_from(&open(&b)), is_original(&b)), (None, Some(true)), "it moved, and that is noted");
        run("cp", &["-r", "b.git", "c.git"], &root);
        note(&c).unwrap();
        assert_eq!((copied_from(&open(&c)), is_original(&c)), (Some(b.clone()), Some(false)));
        let id = part(&c).unwrap();
        assert_eq!((copied_from(&open(&c)), open(&c).id().map(str::to_owned)), (None, Some(id.clone())));
        assert_eq!(part(&c).unwrap(), id, "once");
        assert_eq!(open(&b).id(), Some("one"));
        run("cp", &["-r", "b.git", "saved"], &root);
        fs::remove_dir_all(&b).unwrap();
        fs::rename(root.join("saved"), &b).unwrap();
        assert_eq!(copied_from(&open(&b)), None, "nobody else bears its id");
    }
}
