//! New repositories: what they are called, and how they come to be.
//!
//! One is built under a hidden name beside its place and put there by a rename that replaces nothing. So it is there
//! whole or not at all, and of two that are made under one name at once only one is.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::place::by_its_look;
use crate::git::{self, Author, New, Repository};

/// The last part of a repository's address: lower case, without `.git`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UrlName(String);

/// What a new repository is to be.
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a UrlName,
    pub(crate) branch: &'a str,
    /// What programs that show repositories say of it.
    pub(crate) description: &'a str,
    /// Who writes a README that begins with this title, if it gets one.
    pub(crate) readme: Option<(&'a str, Author<'a>)>,
    /// The number of the group whose members may push.
    pub(crate) group: Option<u32>,
    /// Whether everybody on the machine may read it.
    pub(crate) public: bool,
    /// Another repository, whose branches and tags it gets.
    pub(crate) source: Option<&'a OsStr>,
    pub(crate) agent: &'a Path,
    /// The configuration that its hooks use, where it is not the usual one.
    pub(crate) config: Option<&'a Path>,
    /// What of it is not told.
    pub(crate) hidden: Option<git::Hidden>,
}

/// What [`create`] made.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) path: PathBuf,
    pub(crate) id: String,
}

/// A repository out of reach, under a hidden name, that is to be deleted.
pub(crate) struct Gone {
    hidden: PathBuf,
    path: PathBuf,
}

/// Why a repository could not be made or given another place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{name:?} makes no address: {because}")]
    Name { name: String, because: &'static str },
    #[error(
        "there is a repository with this address already: {}; choose a name that differs in more than upper and lower case",
        .0.display()
    )]
    Taken(PathBuf),
    #[error("{} is a repository itself, not a folder for them", .0.display())]
    NoFolder(PathBuf),
    #[error("{} is on another file system than {}; import it there, then remove it here", from.display(), to.display())]
    Elsewhere { from: PathBuf, to: PathBuf },
    #[error("only members of group {group} and root can give a repository to it")]
    Group { group: u32 },
    #[error(transparent)]
    Git(#[from] git::Error),
    #[error(transparent)]
    Hooks(#[from] super::Error),
    #[error("{}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

impl UrlName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the repository's folder.
    pub(crate) fn folder(&self) -> String {
        format!("{}.git", self.0)
    }
}

impl FromStr for UrlName {
    type Err = Error;

    /// Makes letters small, and a dash of whatever else an address had to escape.
    fn from_str(name: &str) -> Result<UrlName, Error> {
        let refused = |because| Error::Name { name: name.to_owned(), because };
        let lower = name.trim().to_lowercase();
        let bare = lower.strip_suffix(".git").unwrap_or(&lower);
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let text: String = bare.chars().map(|c| if fits(c) { c } else { '-' }).collect();
        match () {
            () if !text.contains(|c: char| c.is_ascii_alphanumeric()) => {
                Err(refused("it needs a letter from a to z or a digit"))
            }
            () if text.starts_with(['.', '-']) => Err(refused("it begins with a dot or with what becomes a dash")),
            () if text.contains("..") => Err(refused("it has two dots in a row")),
            () if text.ends_with('.') || text.ends_with(".git") || text.ends_with(".lock") => {
                Err(refused("it ends with a dot, .git or .lock"))
            }
            () if text.len() > LONGEST => Err(refused("it is longer than 100 letters")),
            () => Ok(UrlName(text)),
        }
    }
}

/// Leaves room for `.git` and for a hidden name in 255 bytes.
const LONGEST: usize = 100;
/// What a repository is called before it is there.
pub(super) const UNFINISHED: &str = ".agent-new-";
/// And when it is there no more.
pub(super) const DISCARDED: &str = ".agent-gone-";

/// Makes a repository in a folder that is there.
pub(crate) fn create(folder: &Path, wanted: &Wanted) -> Result<Created, Error> {
    let path = folder.join(wanted.name.folder());
    free(folder, wanted.name, None)?;
    let built = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(folder).map_err(|source| io(folder, source))?;
    let id = build(built.path(), wanted)?;
    put(built.path(), &path)?;
    // The name is another's to remove from now on, and nothing has it any more.
    drop(built.keep());
    Ok(Created { path, id })
}

/// Makes sure that no repository of a folder has this address, but for one that is to give it up.
pub(crate) fn free(folder: &Path, name: &UrlName, but: Option<&Path>) -> Result<(), Error> {
    if by_its_look(folder).is_some_and(|found| found.starts_with(folder)) {
        return Err(Error::NoFolder(folder.into()));
    }
    for entry in fs::read_dir(folder).map_err(|source| io(folder, source))? {
        let entry = entry.map_err(|source| io(folder, source))?;
        let lower = entry.file_name().to_string_lossy().to_lowercase();
        let bare = lower.strip_suffix(".git");
        // A folder of that name is in nobody's way as long as there is no repository in it.
        let taken = bare == Some(name.as_str()) || (lower == name.as_str() && by_its_look(&entry.path()).is_some());
        if taken && but != Some(&entry.path()) {
            return Err(Error::Taken(entry.path()));
        }
    }
    Ok(())
}

/// Gives a folder its name, unless that name is taken.
pub(crate) fn put(built: &Path, path: &Path) -> Result<(), Error> {
    let failed = |error: Errno| match error {
        Errno::EXIST | Errno::NOTEMPTY => Error::Taken(path.into()),
        Errno::XDEV => Error::Elsewhere { from: built.into(), to: path.into() },
        error => io(path, error.into()),
    };
    match renameat_with(CWD, built, CWD, path, RenameFlags::NOREPLACE) {
        // The file system cannot; there the empty folder that a rename replaces holds the place.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            rustix::fs::mkdir(path, 0o700.into()).map_err(failed)?;
            rustix::fs::rename(built, path).map_err(|error| {
                let _ = fs::remove_dir(path);
                failed(error)
            })?;
        }
        other => other.map_err(failed)?,
    }
    // A copy of it finds it by the note; a later look writes that as well.
    let _ = super::copy::note(path);
    let folder = path.parent().unwrap_or(path);
    // Some network file systems cannot sync a directory; there the rename is all there is.
    let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Takes a repository out of everybody's reach.
pub(crate) fn discard(path: &Path) -> Result<Gone, Error> {
    let hidden = path.with_file_name(format!("{DISCARDED}{}", uuid::Uuid::now_v7()));
    put(path, &hidden)?;
    Ok(Gone { hidden, path: path.into() })
}

impl Gone {
    /// Gives it back its name.
    pub(crate) fn put_back(&self) -> Result<(), Error> {
        put(&self.hidden, &self.path)
    }

    pub(crate) fn delete(&self) -> Result<(), Error> {
        fs::remove_dir_all(&self.hidden).map_err(|source| io(&self.hidden, source))
    }
}

fn build(path: &Path, wanted: &Wanted) -> Result<String, Error> {
    let (mode, shared) = rights(wanted);
    if let Some(group) = wanted.group {
        chown(path, None, Some(group)).map_err(|source| match source.kind() {
            std::io::ErrorKind::PermissionDenied => Error::Group { group },
            _ => io(path, source),
        })?;
    }
    // In this order: a change of the group takes away what makes new files belong to it.
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|source| io(path, source))?;
    let new = New::init(path, wanted.branch, shared)?;
    // Git makes it what `init` says, and the umask has a say in that.
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|source| io(path, source))?;
    new.configure("http.getanyfile", if wanted.public { "true" } else { "false" })?;
    // Said either way, because git's own default depends on whether the repository is shared.
    new.configure("receive.denyNonFastForwards", "false")?;
    let write = |name: &str, text: &str| {
        let file = path.join(name);
        fs::write(&file, text).map_err(|source| io(&file, source))
    };
    write("description", &format!("{}\n", wanted.description))?;
    if wanted.public {
        write("git-daemon-export-ok", "")?;
    }
    if let Some(source) = wanted.source {
        new.fetch(source)?;
    }
    if let Some((title, author)) = &wanted.readme {
        new.begin(wanted.branch, "README.md", &format!("# {title}\n"), "Begin with a README", author)?;
    }
    let _ = Repository::open(path)?.mend_head();
    // What is in it from its beginning is history, and orders nothing.
    let (_, id) = super::cover(path, wanted.agent, wanted.config, wanted.hidden.clone())?;
    Ok(id)
}

/// The mode of the repository's folder, and what `core.sharedRepository` makes of those in it.
fn rights(wanted: &Wanted) -> (u32, Option<&'static str>) {
    match (wanted.group.is_some(), wanted.public) {
        (false, false) => (0o700, None),
        (false, true) => (0o755, Some("0644")),
        (true, false) => (0o2770, Some("0660")),
        (true, true) => (0o2775, Some("0664")),
    }
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<&str>) {
        assert_eq!(name.parse::<UrlName>().ok().as_ref().map(UrlName::as_str), expected, "{name:?}");
    }

    #[test]
    fn t18_a_name_becomes_an_address_in_lower_case() {
        check("Tool", Some("tool"));
        check("My Tool, 2nd", Some("my-tool--2nd"));
        check("tool.git", Some("tool"));
        check("Überbau", None);
        check("größe_1.x", Some("gr--e_1.x"));
        for refused in ["", "  ", ".", "..", "...", ".hidden", "-x", "a..b", "x.lock", "x.git.git", ".git", "//", "€"]
        {
            check(refused, None);
        }
        check(&"a".repeat(100), Some(&"a".repeat(100)));
        check(&"a".repeat(101), None);
        check("team/tool", Some("team-tool"));
    }

    #[test]
    fn t18_an_address_that_is_taken_is_refused_in_any_case() {
        let folder = tempfile::tempdir().unwrap();
        let name: UrlName = "tool".parse().unwrap();
        fs::create_dir(folder.path().join("tool")).unwrap();
        free(folder.path(), &name, None).unwrap();
        let older = folder.path().join("Tool.git");
        fs::create_dir(&older).unwrap();
        assert!(matches!(free(folder.path(), &name, None), Err(Error::Taken(path)) if path == older));
        free(folder.path(), &name, Some(&older)).unwrap();
    }

    #[test]
    fn t17_what_is_there_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [new, place] = ["new", "place"].map(|name| folder.path().join(name));
        fs::create_dir(&new).unwrap();
        fs::create_dir(&place).unwrap();
        assert!(matches!(put(&new, &place), Err(Error::Taken(_))));
        fs::remove_dir(&place).unwrap();
        put(&new, &place).unwrap();
        assert!(place.is_dir() && !new.exists());
    }
}
