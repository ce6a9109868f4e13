//! What happened in a repository: which refs moved, which commits are new, what they say and which files they touch.
//!
//! A hook opens the repository it runs in, reads its [`updates`], asks [`Told`] what Jira has heard of already, walks
//! the rest, and is gone; the daemon does the same without a deadline. Everything here is synchronous, writes nothing
//! into a repository except the small file of [`Told`], its id and a HEAD that led nowhere, and never fetches what is not
//! there. Only [`New`], a repository that nobody knows yet, is filled.
//!
//! Objects are read from the object database alone, so neither a repository's configuration nor its attributes,
//! hooks, replacements or grafts have a say, and a reftable repository is read like any other. Refs are libgit2's, or,
//! where it cannot read them yet, those of the `git` command. No other folder names either.

mod borrowed;
mod command;
mod create;
mod delta;
mod files;
mod history;
mod lines;
mod marks;
mod memory;
mod packs;
mod pushed;
mod recent;
mod remotes;
mod scanned;
mod signed;
mod told;
mod updates;

pub use borrowed::of_others;
pub use command::MISLEADING;
pub use create::{Author, New};
pub use files::{Change, File, Files, Helper};
pub use history::{Budget, Commit, Ident, Walk};
pub use memory::Memory;
pub use pushed::{Pushed, branch_of, heard, is_tracking, unheard};
pub use remotes::remotes;
pub use scanned::Scanned;
pub use signed::Signed;
pub use told::{Known, Told};
pub use updates::{RefName, Update, concerns_us, updates};

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Once};
use std::{fmt, fs};

use git2::{ErrorCode, ObjectFormat, ObjectType, Odb, OdbLookupFlags};
use minicbor::bytes::ByteSlice;

use memory::Place;
use packs::Packs;
use recent::Recent;

/// The name of an object: 20 bytes of SHA-1 or 32 bytes of SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid {
    /// Bytes past `len` are zero, so that the derived comparisons hold.
    bytes: [u8; 32],
    /// 20 or 32.
    len: u8,
}

/// Tells of a ref whether it is hidden from us.
pub type Hidden = Arc<dyn Fn(&RefName) -> bool + Send + Sync>;

/// A repository opened for reading; each thread opens its own.
pub struct Repository {
    hidden: Option<Hidden>,
    git_dir: PathBuf,
    common_dir: PathBuf,
    odb: Odb<'static>,
    packs: RefCell<Packs>,
    own: Own,
    /// Of which state of its configuration that is.
    state: State,
    /// Where its objects lie.
    place: Place,
    /// What is remembered of it beyond this opening.
    memory: Option<Arc<Memory>>,
    /// What [`files`](Self::files) has read lately that is not in `packs`.
    recent: RefCell<Recent<history::Key, Arc<[u8]>>>,
    /// The trees of the commits that were walked lately.
    trees: RefCell<Recent<history::Key, Oid>>,
}

/// A repository that was opened and is soon to be opened again, perhaps by another thread.
pub struct LaidAside {
    git_dir: PathBuf,
    common_dir: PathBuf,
    odb: Odb<'static>,
    own: Own,
    state: State,
    place: Place,
}

/// What an id names.
#[derive(Clone)]
struct Object {
    kind: ObjectType,
    content: Arc<[u8]>,
}

/// What a repository's own configuration said when it was opened.
struct Own {
    /// 20 or 32.
    id_len: usize,
    /// Whether its refs are out of libgit2's reach.
    reftable: bool,
    bare: Option<bool>,
    id: Option<String>,
}

/// Why a repository could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("line {number} of the hook's input is not `old new ref`")]
    Line { number: usize },
    #[error("{text:?} is not an object id")]
    Id { text: String },
    #[error("several objects have an id that begins with {text}")]
    Ambiguous { text: String },
    #[error("nothing in the repository has an id that begins with {text}")]
    Unknown { text: String },
    #[error("{} is not a git repository", path.display())]
    NotARepository { path: PathBuf },
    #[error("{} is not a path in UTF-8, which libgit2 asks for", path.display())]
    Path { path: PathBuf },
    #[error("{id} is not in the repository")]
    Missing { id: Oid },
    #[error("{id} is not a commit")]
    NotACommit { id: Oid },
    #[error("cannot read {}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("cannot read {}", path.display())]
    Git { path: PathBuf, source: git2::Error },
    #[error("git {command} failed: {stderr}")]
    Command { command: &'static str, stderr: String },
}

impl Repository {
    /// Opens the repository with this absolute git directory, without looking for another one above it.
    pub fn open(git_dir: &Path) -> Result<Repository, Error> {
        let common_dir = common_dir(git_dir);
        Repository::open_with(git_dir, common_dir, &[])
    }

    /// Opens a repository inside pre-receive, where new objects lie in a quarantine of their own.
    pub fn open_quarantined(git_dir: &Path, object_dir: &Path, alternates: &[PathBuf]) -> Result<Repository, Error> {
        let common_dir = common_dir(git_dir);
        let objects = common_dir.join("objects");
        let alternates = alternates.iter().map(PathBuf::as_path);
        let object_dirs: Vec<&Path> = [object_dir, &objects].into_iter().chain(alternates).collect();
        Repository::open_with(git_dir, common_dir, &object_dirs)
    }

    /// Gives the git directory it was opened with.
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Gives the git directory that linked worktrees share; for all others it is the same as `git_dir`.
    pub fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    /// Leaves refs out of all that is asked of it, as if they were not there.
    pub fn hiding(self, hidden: Option<Hidden>) -> Repository {
        Repository { hidden, ..self }
    }

    /// Lays it aside for whoever opens it next, without what was set and read.
    pub fn laid_aside(self) -> LaidAside {
        let Repository { git_dir, common_dir, odb, own, state, place, .. } = self;
        LaidAside { git_dir, common_dir, odb, own, state, place }
    }

    /// Takes what was read lately from there, and leaves there what is read.
    pub fn remembering(self, memory: &Arc<Memory>) -> Repository {
        Repository { memory: Some(Arc::clone(memory)), ..self }
    }

    /// Whether a ref is left out.
    pub fn hides(&self, name: &RefName) -> bool {
        self.hidden.as_ref().is_some_and(|hidden| hidden(name))
    }

    /// Lists every ref that is not hidden and the object it names, which is the tag itself for an annotated tag.
    pub fn refs(&self) -> Result<Vec<(RefName, Oid)>, Error> {
        let mut refs = self.all_refs()?;
        refs.retain(|(name, _)| !self.hides(name));
        Ok(refs)
    }

    fn all_refs(&self) -> Result<Vec<(RefName, Oid)>, Error> {
        if self.own.reftable {
            return command::refs(&self.common_dir);
        }
        let refused = |source| Error::Git { path: self.common_dir.clone(), source };
        let opened = git2::Repository::open_bare(&self.common_dir).map_err(refused)?;
        let references = opened.references().map_err(refused)?;
        // A ref that names nothing, such as a symbolic one whose branch is gone, is no place to be.
        Ok(references.flatten().filter_map(|reference| place(&reference)).collect())
    }

    /// Gives the branch that HEAD names, born or not; nothing when HEAD is detached.
    pub fn head(&self) -> Option<RefName> {
        if self.own.reftable {
            return command::head(&self.git_dir).ok();
        }
        let head = fs::read(self.git_dir.join("HEAD")).ok()?;
        let name = head.strip_prefix(b"ref:")?.trim_ascii();
        Some(RefName::new(name))
    }

    /// Gives the object whose id begins with these hexadecimal digits, 4 or more.
    pub fn abbreviated(&self, digits: &str) -> Result<Oid, Error> {
        let is_one = (4..=2 * self.own.id_len).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let format = if self.own.id_len == 32 { ObjectFormat::Sha256 } else { ObjectFormat::Sha1 };
        let short = is_one.then(|| git2::Oid::from_str_ext(digits, format).ok()).flatten();
        let short = short.ok_or_else(|| Error::Id { text: digits.to_owned() })?;
        let found = self.odb.exists_prefix(short, digits.len()).map_err(|error| match error.code() {
            ErrorCode::Ambiguous => Error::Ambiguous { text: digits.to_owned() },
            _ => Error::Unknown { text: digits.to_owned() },
        })?;
        Oid::from_bytes(found.as_bytes()).ok_or_else(|| Error::Unknown { text: digits.to_owned() })
    }

    /// Gives the id the repository bore in its own configuration (`agent.repoid`) when it was opened.
    pub fn id(&self) -> Option<&str> {
        self.own.id.as_deref()
    }

    /// Tells whether somebody works in it, so that its branches may hold what nobody else is to see yet.
    pub fn is_clone(&self) -> bool {
        self.own.bare.map_or(self.common_dir.file_name() == Some(OsStr::new(".git")), |bare| !bare)
    }

    /// Gives what whoever works in the repository has set under each of these keys, there or for themselves.
    ///
    /// Read without starting `git`. What only a command line (`git -c`) or a condition on a remote says is not seen.
    pub fn settings<const N: usize>(&self, keys: [&str; N]) -> [Option<String>; N] {
        settings([&self.common_dir.join("config"), &self.git_dir.join("config.worktree")], keys)
    }

    /// Tells whether Git is in the middle of something that makes commits by itself: a rebase, a merge, a pick.
    pub fn is_busy(&self) -> bool {
        let marks = ["rebase-merge", "rebase-apply", "sequencer", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"];
        marks.iter().any(|mark| self.git_dir.join(mark).exists())
    }

    /// Tells whether the next commit joins lines of history.
    pub fn is_merging(&self) -> bool {
        self.git_dir.join("MERGE_HEAD").exists()
    }

    /// Writes the id into the repository's own configuration, for those who open it from now on.
    pub fn set_id(&self, id: &str) -> Result<(), Error> {
        command::configure(&self.common_dir, &self.common_dir.join("config"), "agent.repoid", id)
    }

    /// Its objects lie in its own folder where there are no others.
    fn open_with(git_dir: &Path, common_dir: PathBuf, object_dirs: &[&Path]) -> Result<Repository, Error> {
        prepare();
        let objects = common_dir.join("objects");
        let own_dirs = [objects.as_path()];
        let object_dirs = if object_dirs.is_empty() { &own_dirs } else { object_dirs };
        let is_one = git_dir.is_absolute() && fs::symlink_metadata(git_dir.join("HEAD")).is_ok();
        let Some(place) = Place::of(&objects).filter(|_| is_one) else {
            return Err(Error::NotARepository { path: git_dir.to_path_buf() });
        };
        let state = State::of(&common_dir);
        let own = Own::read(&common_dir.join("config"))?;
        let format = if own.id_len == 32 { ObjectFormat::Sha256 } else { ObjectFormat::Sha1 };
        let odb = object_database(format, object_dirs)?;
        Ok(LaidAside { git_dir: git_dir.to_path_buf(), common_dir, odb, own, state, place }.with(object_dirs))
    }

    /// Gives the object a ref names now.
    fn resolve(&self, name: &RefName) -> Option<Oid> {
        if let (false, Ok(text)) = (self.own.reftable, std::str::from_utf8(name.as_bytes())) {
            // A hook asks on every push, and libgit2 reads the configuration of the whole machine first.
            if let Some(id) = self.loose(name) {
                return Some(id);
            }
            let opened = git2::Repository::open_bare(&self.common_dir).ok()?;
            return place(&opened.find_reference(text).ok()?).map(|(_, id)| id);
        }
        self.all_refs().ok()?.into_iter().find(|(other, _)| other == name).map(|(_, id)| id)
    }

    /// Gives what a branch's own file names, which goes before what is packed.
    fn loose(&self, name: &RefName) -> Option<Oid> {
        let branch = name.as_bytes().strip_prefix(b"refs/heads/")?;
        let plain = branch.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."));
        let path = self.common_dir.join("refs/heads").join(OsStr::from_bytes(branch));
        let content = plain.then(|| fs::read(path).ok()).flatten()?;
        Oid::from_hex(content.strip_suffix(b"\n")?)
    }

    /// Reads an object; nothing when it is not there.
    fn read(&self, id: Oid) -> Result<Option<Object>, Error> {
        if let Some(object) = self.remembered(id) {
            return Ok(Some(object));
        }
        let object = self.packed(id).map_or_else(|| self.stored(id), |object| Ok(Some(object)))?;
        object.iter().for_each(|object| self.remember(id, object));
        Ok(object)
    }

    fn remembered(&self, id: Oid) -> Option<Object> {
        self.memory.as_ref().and_then(|memory| memory.get(self.place, id))
    }

    fn remember(&self, id: Oid, object: &Object) {
        if let Some(memory) = &self.memory {
            memory.put(self.place, id, object);
        }
    }

    /// Reads an object wherever it is.
    fn stored(&self, id: Oid) -> Result<Option<Object>, Error> {
        let Some(name) = self.foreign(id) else { return Ok(None) };
        // A pack that was repacked away under us is found again under its new name.
        let again = |error: git2::Error| match error.code() {
            ErrorCode::NotFound => Err(error),
            _ => self.odb.refresh().and_then(|()| self.odb.read(name)),
        };
        match self.odb.read(name).or_else(again) {
            Ok(object) => Ok(Some(Object { kind: object.kind(), content: object.data().into() })),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(source) => Err(Error::Git { path: self.common_dir.join("objects"), source }),
        }
    }

    /// Reads an object of moderate size that lies in a pack, if that is quick.
    fn packed(&self, id: Oid) -> Option<Object> {
        self.packs.borrow_mut().read(id)
    }

    /// Tells whether an object is there, without looking for packs that have come since.
    fn has(&self, id: Oid) -> bool {
        self.remembered(id).is_some()
            || self.foreign(id).is_some_and(|id| self.odb.exists_ext(id, OdbLookupFlags::NO_REFRESH))
    }

    /// How much room an object takes that has a file of its own.
    fn loose_size(&self, id: Oid) -> Option<u64> {
        let id = id.to_string();
        let path = self.common_dir.join("objects").join(&id[..2]).join(&id[2..]);
        Some(fs::metadata(path).ok()?.len())
    }

    fn foreign(&self, id: Oid) -> Option<git2::Oid> {
        let fits = id.as_bytes().len() == self.own.id_len;
        fits.then(|| git2::Oid::from_bytes(id.as_bytes()).ok()).flatten()
    }

    fn id_len(&self) -> usize {
        self.own.id_len
    }
}

impl LaidAside {
    /// Gives the git directory it was opened with.
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Opens it again, unless that would give another one now.
    pub fn opened(self) -> Option<Repository> {
        let objects = self.common_dir.join("objects");
        let is_same = Place::of(&objects) == Some(self.place) && State::of(&self.common_dir) == self.state;
        is_same.then(|| self.with(&[&objects]))
    }

    fn with(self, object_dirs: &[&Path]) -> Repository {
        let LaidAside { git_dir, common_dir, odb, own, state, place } = self;
        Repository {
            hidden: None,
            memory: None,
            packs: RefCell::new(Packs::new(object_dirs, own.id_len)),
            recent: RefCell::new(Recent::new(4 * MIB)),
            trees: RefCell::new(Recent::new(4 * MIB)),
            git_dir,
            common_dir,
            odb,
            own,
            state,
            place,
        }
    }
}

const MIB: usize = 1024 * 1024;

/// Tells one state of a configuration from another; nothing where there is none.
#[derive(PartialEq, Eq)]
struct State(Option<[i64; 4]>);

impl State {
    fn of(common_dir: &Path) -> State {
        let config = fs::metadata(common_dir.join("config")).ok();
        State(config.map(|it| [it.ino().cast_signed(), it.size().cast_signed(), it.mtime(), it.mtime_nsec()]))
    }
}

/// What is set under each of these keys: in the files of a repository and of its worktree, or for whoever asks.
pub fn settings<const N: usize>(files: [&Path; 2], keys: [&str; N]) -> [Option<String>; N] {
    let opened = configuration(files).and_then(|mut config| config.snapshot());
    keys.map(|key| opened.as_ref().ok()?.get_string(key).ok())
}

/// Whether other files may have a say in what is set there.
pub fn includes_others(files: [&Path; 2]) -> bool {
    let included = |config: git2::Config| {
        let mut entries = config.entries(Some("^include"))?;
        Ok(entries.next().is_some())
    };
    configuration(files).and_then(included).unwrap_or(true)
}

fn configuration([own, worktree]: [&Path; 2]) -> Result<git2::Config, git2::Error> {
    prepare();
    let mut config = git2::Config::open_default()?;
    for (path, level) in [(own, git2::ConfigLevel::Local), (worktree, git2::ConfigLevel::Worktree)] {
        if path.exists() {
            config.add_file(path, level, true)?;
        }
    }
    Ok(config)
}

/// Tells libgit2, once for the whole process, not to do what we have no use for.
fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Git verified these objects when it took them in.
        git2::opts::strict_hash_verification(false);
        // A walk reads each commit once, and what is read twice is kept by us.
        git2::opts::enable_caching(false);
    });
}

/// Opens object directories and their alternates, without the configuration that a whole repository would bring along.
fn object_database(format: ObjectFormat, object_dirs: &[&Path]) -> Result<Odb<'static>, Error> {
    let refused = |path: &Path, source| Error::Git { path: path.to_path_buf(), source };
    let odb = Odb::new_ext(format).map_err(|source| refused(object_dirs[0], source))?;
    for path in object_dirs {
        let text = path.to_str().ok_or_else(|| Error::Path { path: path.to_path_buf() })?;
        odb.add_disk_alternate(text).map_err(|source| refused(path, source))?;
    }
    Ok(odb)
}

/// Finds the git directory that a linked worktree's own one points to.
fn common_dir(git_dir: &Path) -> PathBuf {
    let Ok(text) = fs::read(git_dir.join("commondir")) else {
        return git_dir.to_path_buf();
    };
    let path = git_dir.join(OsStr::from_bytes(text.trim_ascii_end()));
    path.canonicalize().unwrap_or(path)
}

impl Own {
    /// Reads this one configuration file, which may be missing, with what libgit2 follows of its inclusions.
    fn read(path: &Path) -> Result<Own, Error> {
        let refused = |source| Error::Git { path: path.to_path_buf(), source };
        let config = match path.exists() {
            true => Some(git2::Config::open(path).and_then(|mut config| config.snapshot()).map_err(refused)?),
            false => None,
        };
        let setting = |key| match config.as_ref().map(|config| config.get_string(key)) {
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(error)) if error.code() != ErrorCode::NotFound => Err(refused(error)),
            _ => Ok(None),
        };
        let says = |key, value| Ok::<_, Error>(setting(key)?.is_some_and(|said| said.eq_ignore_ascii_case(value)));
        let yes = |value: String| ["true", "yes", "on", "1"].iter().any(|yes| value.eq_ignore_ascii_case(yes));
        Ok(Own {
            id_len: if says("extensions.objectformat", "sha256")? { 32 } else { 20 },
            reftable: says("extensions.refstorage", "reftable")?,
            bare: setting("core.bare")?.map(yes),
            id: setting("agent.repoid")?,
        })
    }
}

fn place(reference: &git2::Reference<'_>) -> Option<(RefName, Oid)> {
    let target = reference.target().or_else(|| reference.resolve().ok()?.target())?;
    Some((RefName::new(reference.name_bytes()), Oid::from_bytes(target.as_bytes())?))
}

impl Oid {
    /// Takes 20 or 32 raw bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Oid> {
        matches!(bytes.len(), 20 | 32).then(|| {
            let mut id = Oid { bytes: [0; 32], len: bytes.len() as u8 };
            id.bytes[..bytes.len()].copy_from_slice(bytes);
            id
        })
    }

    /// Reads 40 or 64 hexadecimal digits.
    pub fn from_hex(hex: &[u8]) -> Option<Oid> {
        if !matches!(hex.len(), 40 | 64) {
            return None;
        }
        let mut id = Oid { bytes: [0; 32], len: (hex.len() / 2) as u8 };
        for (byte, pair) in id.bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(id)
    }

    /// Gives the raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Tells whether this is the id of zeros, which names nothing.
    pub fn is_zero(&self) -> bool {
        self.bytes == [0; 32]
    }
}

impl FromStr for Oid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Oid, Error> {
        Oid::from_hex(text.as_bytes()).ok_or_else(|| Error::Id { text: text.chars().take(80).collect() })
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<C> minicbor::Encode<C> for Oid {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(self.as_bytes())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Oid {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Oid, minicbor::decode::Error> {
        let bytes: &ByteSlice = decoder.decode()?;
        Oid::from_bytes(bytes).ok_or_else(|| minicbor::decode::Error::message("an object id is 20 or 32 bytes"))
    }
}

fn digit(hex: u8) -> Option<u8> {
    match hex {
        b'0'..=b'9' => Some(hex - b'0'),
        b'a'..=b'f' => Some(hex - b'a' + 10),
        b'A'..=b'F' => Some(hex - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// A repository made by the real git in a folder of its own, with no configuration but its own.
    pub(super) struct Scratch {
        pub(super) folder: tempfile::TempDir,
        pub(super) git_dir: PathBuf,
    }

    impl Scratch {
        pub(super) fn new() -> Scratch {
            Scratch::with(&[])
        }

        pub(super) fn with(options: &[&str]) -> Scratch {
            let folder = tempfile::tempdir().unwrap();
            let git_dir = folder.path().join("scratch.git");
            let scratch = Scratch { folder, git_dir };
            scratch.git(&[&["init", "--quiet", "--bare", "--initial-branch=main", "--template="], options].concat());
            scratch
        }

        pub(super) fn open(&self) -> Repository {
            Repository::open(&self.git_dir).unwrap()
        }

        #[track_caller]
        pub(super) fn git(&self, arguments: &[&str]) -> String {
            let output = self.run(&[("GIT_DIR", self.git_dir.to_str().unwrap())], arguments, b"");
            String::from_utf8(output).unwrap().trim_end().to_owned()
        }

        #[track_caller]
        pub(super) fn git_with(&self, arguments: &[&str], stdin: &[u8]) -> String {
            let output = self.run(&[("GIT_DIR", self.git_dir.to_str().unwrap())], arguments, stdin);
            String::from_utf8(output).unwrap().trim_end().to_owned()
        }

        #[track_caller]
        pub(super) fn run(&self, environment: &[(&str, &str)], arguments: &[&str], stdin: &[u8]) -> Vec<u8> {
            let mut child = Command::new("git")
                .env_clear()
                .env("PATH", "/usr/local/bin:/usr/bin:/bin")
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .envs(environment.iter().copied())
                .current_dir(self.folder.path())
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(stdin).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "git {arguments:?}");
            output.stdout
        }

        /// Stores a commit of an empty tree.
        #[track_caller]
        pub(super) fn commit(&self, parents: &[Oid], at: i64, message: &str) -> Oid {
            let tree = self.git_with(&["mktree"], b"");
            self.commit_of(&tree, parents, at, "", message.as_bytes())
        }

        #[track_caller]
        pub(super) fn commit_of(&self, tree: &str, parents: &[Oid], at: i64, header: &str, message: &[u8]) -> Oid {
            let mut text = format!("tree {tree}\n");
            parents.iter().for_each(|parent| text += &format!("parent {parent}\n"));
            text += &format!("author A U Thor <a@example.com> {at} +0530\n");
            text += &format!("committer C O Mitter <c@example.com> {at} -0130\n{header}\n");
            self.object("commit", &[text.as_bytes(), message].concat())
        }

        #[track_caller]
        pub(super) fn object(&self, kind: &str, content: &[u8]) -> Oid {
            let arguments = ["hash-object", "-t", kind, "-w", "--literally", "--stdin"];
            self.git_with(&arguments, content).parse().unwrap()
        }

        /// Stores a line of commits, one a minute, oldest first.
        #[track_caller]
        pub(super) fn line(&self, from: Option<Oid>, count: usize, at: i64) -> Vec<Oid> {
            let mut stream = String::new();
            for index in 0..count {
                let at = at + index as i64 * 60;
                stream += &format!("commit refs/made/line\ncommitter C <c@example.com> {at} +0000\ndata 2\nx\n\n");
                if let (0, Some(from)) = (index, from) {
                    stream += &format!("from {from}\n");
                }
            }
            self.git_with(&["fast-import", "--quiet", "--force"], stream.as_bytes());
            let list = self.git(&["rev-list", "--reverse", &format!("--max-count={count}"), "refs/made/line"]);
            self.git(&["update-ref", "-d", "refs/made/line"]);
            list.lines().map(|id| id.parse().unwrap()).collect()
        }

        pub(super) fn set(&self, name: &str, id: Oid) {
            self.git(&["update-ref", name, &id.to_string()]);
        }

        pub(super) fn drop_object(&self, id: Oid) {
            let id = id.to_string();
            fs::remove_file(self.git_dir.join("objects").join(&id[..2]).join(&id[2..])).unwrap();
        }
    }

    #[track_caller]
    fn check(repository: &Repository, refs: &[(&str, Oid)]) {
        let mut found = repository.refs().unwrap();
        found.sort();
        let expected: Vec<_> = refs.iter().map(|&(name, id)| (RefName::new(name), id)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_id_is_read_as_it_is_shown() {
        for hex in ["0123456789abcdef0123456789abcdef01234567", &"9f".repeat(32)] {
            let id: Oid = hex.parse().unwrap();
            assert_eq!(id.to_string(), hex);
            let frame = minicbor::to_vec(id).unwrap();
            assert_eq!(minicbor::decode::<Oid>(&frame).unwrap(), id);
        }
        for bad in ["", "0123", &"g".repeat(40), &"a".repeat(41), &"ä".repeat(20)] {
            assert!(bad.parse::<Oid>().is_err(), "{bad}");
        }
        assert!(
            minicbor::decode::<Oid>(&minicbor::to_vec(minicbor::bytes::ByteVec::from(vec![1; 19])).unwrap()).is_err()
        );
    }

    #[test]
    fn refs_are_listed_in_every_kind_of_repository() {
        for options in [&[][..], &["--object-format=sha256"], &["--ref-format=reftable"]] {
            let scratch = Scratch::with(options);
            let commit = scratch.commit(&[], 1_700_000_000, "first");
            let tag = scratch.object("tag", format!("object {commit}\ntype commit\ntag v1\n\nv1").as_bytes());
            scratch.set("refs/heads/main", commit);
            scratch.set("refs/tags/v1", tag);
            let repository = scratch.open();
            check(&repository, &[("refs/heads/main", commit), ("refs/tags/v1", tag)]);
            assert_eq!(repository.head(), Some(RefName::new("refs/heads/main")), "{options:?}");
            assert_eq!(repository.resolve(&RefName::new("refs/tags/v1")), Some(tag), "{options:?}");
            assert_eq!(repository.commit(tag).unwrap().id, commit, "{options:?}");
        }
    }

    #[test]
    fn odd_ref_names_are_listed_byte_for_byte() {
        let scratch = Scratch::new();
        let commit = scratch.commit(&[], 1, "x");
        let names: [&[u8]; 5] = [
            b"refs/heads/$(id)",
            b"refs/heads/-x",
            b"refs/heads/;'\"",
            "refs/heads/\u{202e}ä".as_bytes(),
            b"refs/heads/\xff",
        ];
        let lines = names.map(|name| [b"create ", name, format!(" {commit}\n").as_bytes()].concat()).concat();
        scratch.git_with(&["update-ref", "--stdin"], &lines);
        let mut expected = names.map(|name| (RefName::new(name), commit));
        expected.sort();
        for pack in [false, true] {
            if pack {
                scratch.git(&["pack-refs", "--all"]);
            }
            let mut found = scratch.open().refs().unwrap();
            found.sort();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_id_is_kept_in_the_repository_and_leaves_the_rest_of_its_configuration_alone() {
        let scratch = Scratch::new();
        fs::write(scratch.git_dir.join("more"), "[agent]\n\tother = 1\n").unwrap();
        let config = scratch.git_dir.join("config");
        let before = fs::read_to_string(&config).unwrap() + "# a comment\n[include]\n\tpath = more\n";
        fs::write(&config, &before).unwrap();
        assert_eq!(scratch.open().id(), None);
        scratch.open().set_id("one").unwrap();
        scratch.open().set_id("two").unwrap();
        assert_eq!(scratch.open().id(), Some("two"));
        assert_eq!(fs::read_to_string(&config).unwrap(), before + "[agent]\n\trepoid = two\n");
    }

    #[test]
    fn a_linked_worktree_opens_with_the_refs_of_its_repository_and_its_own_head() {
        let scratch = Scratch::new();
        let commit = scratch.commit(&[], 1, "x");
        scratch.set("refs/heads/main", commit);
        scratch.git(&["worktree", "add", "--quiet", "-b", "side", "tree"]);
        let repository = Repository::open(&scratch.git_dir.join("worktrees").join("tree")).unwrap();
        check(&repository, &[("refs/heads/main", commit), ("refs/heads/side", commit)]);
        assert_eq!(repository.head(), Some(RefName::new("refs/heads/side")));
        assert_eq!(repository.commit(commit).unwrap().id, commit);
    }

    #[test]
    fn nothing_but_a_git_directory_opens() {
        let scratch = Scratch::new();
        for path in [scratch.folder.path(), Path::new("scratch.git"), &scratch.git_dir.join("objects")] {
            assert!(matches!(Repository::open(path), Err(Error::NotARepository { .. })), "{}", path.display());
        }
    }

    #[test]
    fn quarantined_and_borrowed_objects_are_read() {
        let (scratch, lender) = (Scratch::new(), Scratch::new());
        let borrowed = lender.commit(&[], 1, "borrowed");
        let quarantine = scratch.git_dir.join("objects").join("tmp_objdir-incoming-x");
        fs::create_dir(&quarantine).unwrap();
        let environment =
            [("GIT_DIR", scratch.git_dir.to_str().unwrap()), ("GIT_OBJECT_DIRECTORY", quarantine.to_str().unwrap())];
        let text = format!("tree {}\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nquarantined", "4b".repeat(20));
        let arguments = ["hash-object", "-t", "commit", "-w", "--literally", "--stdin"];
        let output = scratch.run(&environment, &arguments, text.as_bytes());
        let quarantined = Oid::from_hex(output.trim_ascii_end()).unwrap();

        let plain = scratch.open();
        assert!(matches!(plain.commit(quarantined), Err(Error::Missing { .. })));
        assert!(matches!(plain.commit(borrowed), Err(Error::Missing { .. })));
        let alternates = [lender.git_dir.join("objects")];
        let repository = Repository::open_quarantined(&scratch.git_dir, &quarantine, &alternates).unwrap();
        assert_eq!(repository.commit(quarantined).unwrap().message, b"quarantined");
        assert_eq!(repository.commit(borrowed).unwrap().message, b"borrowed");

        fs::create_dir_all(scratch.git_dir.join("objects/info")).unwrap();
        fs::write(scratch.git_dir.join("objects/info/alternates"), format!("{}\n", alternates[0].display())).unwrap();
        assert_eq!(scratch.open().commit(borrowed).unwrap().message, b"borrowed");
    }

    #[test]
    fn what_is_no_commit_is_told_from_what_is_missing() {
        let scratch = Scratch::new();
        let blob = scratch.object("blob", b"x");
        let tag = scratch.object("tag", format!("object {blob}\ntype blob\ntag t\n\nt").as_bytes());
        let repository = scratch.open();
        assert!(matches!(repository.commit(tag), Err(Error::NotACommit { .. })));
        assert!(matches!(repository.commit("12".repeat(20).parse().unwrap()), Err(Error::Missing { .. })));
        assert!(matches!(repository.commit("12".repeat(32).parse().unwrap()), Err(Error::Missing { .. })));
    }

    #[test]
    fn a_repository_laid_aside_opens_as_it_was_unless_it_has_changed() {
        let scratch = Scratch::new();
        scratch.open().set_id("one").unwrap();
        let aside = scratch.open().laid_aside();
        let commit = scratch.commit(&[], 1, "came meanwhile");
        scratch.git(&["update-ref", "refs/heads/main", &commit.to_string()]);
        scratch.git(&["repack", "-adfq"]);
        let repository = aside.opened().unwrap();
        assert_eq!(repository.id(), Some("one"));
        assert_eq!(repository.commit(commit).unwrap().message, b"came meanwhile");
        let aside = repository.laid_aside();
        scratch.open().set_id("two").unwrap();
        assert!(aside.opened().is_none());
    }

    #[test]
    fn objects_repacked_under_an_open_repository_are_found() {
        let scratch = Scratch::new();
        let line = scratch.line(None, 3, 1_700_000_000);
        scratch.set("refs/heads/main", line[2]);
        let repository = scratch.open();
        assert!(repository.commit(line[0]).is_ok());
        scratch.git(&["repack", "-adfq"]);
        let late = scratch.commit(&[line[2]], 1_800_000_000, "late");
        for id in [line[0], line[1], line[2], late] {
            assert!(repository.commit(id).is_ok());
        }
    }
}
