//! What was handed over before: the small file `agent/told` in a repository.
//!
//! It holds ids of commits and tags, appended only after they, and with them all that is reachable from them, were
//! durably handed over: acknowledged by the daemon or lying in its spool. What is reachable from one of them is
//! therefore not new, and everything else is. That is the whole rule, and it is why refs as they stand are not asked:
//! when two pushes race, each sees the other's refs moved already, and both would leave the other's commits out. With
//! this file both report them at worst, which is harmless, and none is lost.
//!
//! The file begins with a header (magic, version, length of an id) and the *baseline*: the refs as they were when the
//! file was made, at install or before the first push is looked at. Each stands with a hash of its name, because a
//! baseline made by one push may have caught the ref of another push that moved but is still to be looked at: a ref
//! that a push says it moved to the very id of its own baseline does not count. Behind the baseline come ids and
//! nothing else, by appending. A record torn by a crash is completed with zeros and names nothing.
//!
//! Nobody waits for this file and no push fails for it. When it is missing or not readable, the refs of the moment
//! stand in: all but those of the push, and the values these had before.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::BuildHasherDefault;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::history::{Key, KeyHasher};
use super::{Error, Oid, RefName, Repository, Update};

/// The tips whose history was handed over before, and so is not new.
#[derive(Clone, Default)]
pub struct Known {
    ids: HashSet<Key, BuildHasherDefault<KeyHasher>>,
    /// The values that this push's refs had before, where these are known.
    old: Vec<Oid>,
    /// The last few, the most recent last.
    recent: Vec<Oid>,
}

/// The file in a repository that remembers which tips were handed over.
pub struct Told<'r> {
    repository: &'r Repository,
    path: PathBuf,
}

impl Known {
    /// Knows nothing: all of history is new, as a first import wants it.
    pub fn nothing() -> Known {
        Known::default()
    }

    /// Knows these tips, the most recent last.
    pub fn new(tips: impl IntoIterator<Item = Oid>) -> Known {
        let tips: Vec<Oid> = tips.into_iter().collect();
        let recent = tips[tips.len().saturating_sub(RECENT)..].to_vec();
        Known { ids: tips.into_iter().map(Key::of).collect(), old: Vec::new(), recent }
    }

    /// Tells whether this very id was handed over.
    pub fn contains(&self, id: Oid) -> bool {
        self.ids.contains(&Key::of(id))
    }

    /// Tells whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Gives the known tips that are worth painting from, the likeliest first.
    pub(super) fn seeds<'k>(&'k self, repository: &'k Repository) -> impl Iterator<Item = Oid> + 'k {
        // Where HEAD's branch is may itself be news, so it counts only if it was handed over.
        let head = repository.head().and_then(|name| repository.resolve(&name)).filter(|&id| self.contains(id));
        self.old.iter().copied().chain(head).chain(self.recent.iter().rev().copied())
    }

    fn with_old(mut self, updates: &[Update]) -> Known {
        self.old = updates.iter().filter_map(|update| update.old).filter(|&old| self.contains(old)).collect();
        self
    }
}

impl<'r> Told<'r> {
    /// Speaks of the file of this repository, which need not exist.
    pub fn of(repository: &'r Repository) -> Told<'r> {
        Told { repository, path: repository.common_dir().join("agent").join("told") }
    }

    /// Makes the file unless it is there, with the refs as they were before `updates`, which is empty at install.
    pub fn begin(&self, updates: &[Update]) -> Result<(), Error> {
        match self.load() {
            Some(_) => Ok(()),
            None => self.write(&baseline(self.repository, updates)?, &[]),
        }
    }

    /// Tells what was handed over before this push, as well as can be known, and makes the file if there is none.
    pub fn known(&self, updates: &[Update]) -> Known {
        if let Some(records) = self.load() {
            return records.known(updates).with_old(updates);
        }
        let baseline = baseline(self.repository, updates).unwrap_or_else(|_| before(updates));
        // A repository we may only read is looked at afresh each time.
        let _ = self.write(&baseline, &[]);
        Known::new(baseline.into_iter().map(|(_, id)| id)).with_old(updates)
    }

    /// Gives where these refs were when the file was made, without those that came later.
    ///
    /// For a daemon that meets the repository while its hooks have told another one, or a store that was lost. Nothing
    /// when there is no file, or one that was compacted and no longer says which ref was where.
    pub fn baseline(&self, refs: &[(RefName, Oid)]) -> Option<Vec<(RefName, Oid)>> {
        let records = self.load()?;
        let places: HashMap<u64, Oid> = records.baseline().collect();
        let was = |(name, _): &(RefName, Oid)| places.get(&hash(name)).map(|id| (name.clone(), *id));
        (!places.contains_key(&0)).then(|| refs.iter().filter_map(was).collect())
    }

    /// Remembers the tips of a push; to be called only after they were durably handed over, they and all that is
    /// reachable from them.
    ///
    /// Where a walk was not complete, what was handed over has to say so, for somebody else to walk the rest.
    pub fn append(&self, updates: &[Update]) -> Result<(), Error> {
        let tips: Vec<Oid> = updates.iter().flat_map(|update| self.with_target(update)).collect();
        if tips.is_empty() {
            return Ok(());
        }
        let mut file = match OpenOptions::new().append(true).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.write(&baseline(self.repository, &[])?, &tips);
            }
            opened => opened.map_err(|error| self.error(error))?,
        };
        let size = file.metadata().map_err(|error| self.error(error))?.len();
        let mut bytes = vec![0; self.torn(size)];
        tips.iter().for_each(|tip| bytes.extend_from_slice(tip.as_bytes()));
        file.write_all(&bytes).map_err(|error| self.error(error))?;
        if size > COMPACT { self.compact(&file) } else { Ok(()) }
    }

    /// What was handed over before this push, and the bytes that [`Told::append`] would add: for whoever may not write here.
    /// Nothing where appending would not do, because the file is missing, torn or long.
    pub fn appending(&self, updates: &[Update]) -> Option<(Known, Vec<u8>)> {
        let records = self.load()?;
        let appended = records.bytes.len() - records.base();
        if appended % records.id_len != 0 || appended as u64 > COMPACT {
            return None;
        }
        let tips: Vec<Oid> = updates.iter().flat_map(|update| self.with_target(update)).collect();
        let bytes = tips.iter().flat_map(|tip| tip.as_bytes().iter().copied()).collect();
        Some((records.known(updates).with_old(updates), bytes))
    }

    fn load(&self) -> Option<Records> {
        let records = Records { bytes: fs::read(&self.path).ok()?, id_len: self.repository.id_len() };
        records.is_sound().then_some(records)
    }

    /// Gives where a ref is now and, where that is a tag, the commit it names: a walk meets only that.
    fn with_target(&self, update: &Update) -> impl Iterator<Item = Oid> {
        // A branch always names a commit, and looking costs a push the time of reading it once more.
        let peeled = update.new.filter(|_| !update.name.is_branch());
        let target =
            peeled.and_then(|tip| Some(self.repository.peeled(tip).ok()?.0)).filter(|&id| Some(id) != update.new);
        target.into_iter().chain(update.new)
    }

    /// Tells how many bytes the last record lacks.
    fn torn(&self, size: u64) -> usize {
        let id_len = self.repository.id_len();
        let Some(base) = self.base() else { return 0 };
        (id_len - (size.saturating_sub(base) % id_len as u64) as usize) % id_len
    }

    /// Gives where the baseline ends.
    fn base(&self) -> Option<u64> {
        let mut header = [0; HEADER];
        File::open(&self.path).ok()?.read_exact(&mut header).ok()?;
        let records = Records { bytes: header.to_vec(), id_len: self.repository.id_len() };
        records.has_header().then(|| records.base() as u64)
    }

    /// Forgets what was handed over long ago and is no ref's place any more.
    ///
    /// Only what is in the file stays in it. To take over the refs as they stand would hide a push that is yet to be
    /// looked at, and an id that somebody appends meanwhile is lost with no more harm than a second report.
    fn compact(&self, file: &File) -> Result<(), Error> {
        let Some(records) = self.load().filter(|_| file.try_lock().is_ok()) else {
            return Ok(());
        };
        if records.appended().len() as u64 * self.repository.id_len() as u64 <= COMPACT {
            return Ok(());
        }
        let known = records.known(&[]);
        let kept = self.repository.refs()?.into_iter().map(|(_, id)| id).filter(|&id| known.contains(id));
        let baseline: Vec<_> = kept.map(|id| (0, id)).collect();
        self.replace(&baseline, &known.recent, true)
    }

    fn write(&self, baseline: &[(u64, Oid)], appended: &[Oid]) -> Result<(), Error> {
        // What is there and cannot be read is worth nothing and makes room; what another push has put there meanwhile
        // may already tell more than ours.
        match self.load() {
            Some(_) => Ok(()),
            None => self.replace(baseline, appended, self.path.exists()),
        }
    }

    /// Puts a whole new file in place at once, with the owner and the rights the repository has.
    fn replace(&self, baseline: &[(u64, Oid)], appended: &[Oid], over: bool) -> Result<(), Error> {
        let put = || -> io::Result<()> {
            let folder = self.path.parent().expect("the file lies in a folder");
            let model = fs::metadata(self.repository.common_dir())?;
            if fs::create_dir(folder).is_ok() {
                belong(folder, &model, model.mode() & 0o7777)?;
            }
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&encode(baseline, appended, self.repository.id_len()))?;
            belong(file.path(), &model, model.mode() & 0o666)?;
            match if over { file.persist(&self.path) } else { file.persist_noclobber(&self.path) } {
                // Another push was first, and its baseline is as good as ours.
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other.map(drop).map_err(|error| error.error),
            }
        };
        put().map_err(|error| self.error(error))
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), source }
    }
}

const MAGIC: &[u8; 8] = b"jiratold";
const VERSION: u8 = 1;
const HEADER: usize = 16;

/// How many of the most recent ids are worth painting from.
const RECENT: usize = 1000;

/// How many bytes of ids are let grow behind the baseline.
const COMPACT: u64 = 4 * 1024 * 1024;

/// The bytes of the file.
struct Records {
    bytes: Vec<u8>,
    id_len: usize,
}

impl Records {
    fn has_header(&self) -> bool {
        self.bytes.len() >= HEADER
            && self.bytes.starts_with(MAGIC)
            && self.bytes[8] == VERSION
            && usize::from(self.bytes[9]) == self.id_len
    }

    fn is_sound(&self) -> bool {
        self.has_header() && self.bytes.len() >= self.base()
    }

    fn base(&self) -> usize {
        let count = u32::from_le_bytes(self.bytes[12..HEADER].try_into().expect("four bytes"));
        HEADER + count as usize * (self.id_len + 8)
    }

    fn baseline(&self) -> impl DoubleEndedIterator<Item = (u64, Oid)> + Clone + '_ {
        self.bytes[HEADER..self.base()].chunks_exact(self.id_len + 8).map(|record| {
            let (hash, id) = record.split_at(8);
            let hash = u64::from_le_bytes(hash.try_into().expect("eight bytes"));
            (hash, Oid::from_bytes(id).expect("an id's length was checked"))
        })
    }

    fn appended(&self) -> impl DoubleEndedIterator<Item = Oid> + ExactSizeIterator + Clone + '_ {
        let records = self.bytes[self.base()..].chunks_exact(self.id_len);
        records.map(|id| Oid::from_bytes(id).expect("an id's length was checked"))
    }

    fn known(&self, updates: &[Update]) -> Known {
        let moved: HashMap<u64, Option<Oid>> = updates.iter().map(|update| (hash(&update.name), update.new)).collect();
        let caught: HashSet<Oid> = match moved.is_empty() {
            true => HashSet::new(),
            false => {
                self.baseline().filter(|(name, id)| moved.get(name) == Some(&Some(*id))).map(|(_, id)| id).collect()
            }
        };
        let before = self.baseline().map(|(_, id)| id).filter(|id| !caught.contains(id));
        let tips = before.chain(self.appended()).filter(|id| !id.is_zero());
        let mut recent: Vec<Oid> = tips.clone().rev().take(RECENT).collect();
        recent.reverse();
        let mut ids = HashSet::with_capacity_and_hasher(self.bytes.len() / self.id_len, Default::default());
        ids.extend(tips.map(Key::of));
        Known { ids, old: Vec::new(), recent }
    }
}

/// Gives where the refs are, but for those of a push where they were before it.
fn baseline(repository: &Repository, updates: &[Update]) -> Result<Vec<(u64, Oid)>, Error> {
    let moved: HashSet<&RefName> = updates.iter().map(|update| &update.name).collect();
    let others = repository.refs()?.into_iter().filter(|(name, _)| !moved.contains(name));
    Ok(others.map(|(name, id)| (hash(&name), id)).chain(before(updates)).collect())
}

fn before(updates: &[Update]) -> Vec<(u64, Oid)> {
    updates.iter().filter_map(|update| Some((hash(&update.name), update.old?))).collect()
}

fn encode(baseline: &[(u64, Oid)], appended: &[Oid], id_len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + baseline.len() * (id_len + 8) + appended.len() * id_len);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[VERSION, id_len as u8, 0, 0]);
    bytes.extend_from_slice(&(baseline.len() as u32).to_le_bytes());
    for (name, id) in baseline {
        bytes.extend_from_slice(&name.to_le_bytes());
        bytes.extend_from_slice(id.as_bytes());
    }
    appended.iter().for_each(|id| bytes.extend_from_slice(id.as_bytes()));
    bytes
}

/// Hashes a name in a way that stays the same from one build to the next (FNV-1a).
fn hash(name: &RefName) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    name.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Gives a file to whom the repository belongs: an install by root must not lock out the account that pushes.
pub(super) fn belong(path: &Path, model: &fs::Metadata, mode: u32) -> io::Result<()> {
    // Only root may give files away; for everyone else the file is in the right hands as it is, or nearly.
    let _ = chown(path, Some(model.uid()), Some(model.gid()));
    fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::super::Budget;
    use super::super::tests::Scratch;
    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn update(name: &str, old: Option<Oid>, new: Option<Oid>) -> Update {
        Update { name: RefName::new(name), old, new }
    }

    fn path(scratch: &Scratch) -> PathBuf {
        scratch.git_dir.join("agent/told")
    }

    /// Checks what a push brings, newest first; the refs have moved already.
    #[track_caller]
    fn check(scratch: &Scratch, updates: &[Update], expected: &[Oid]) {
        let repository = scratch.open();
        let known = Told::of(&repository).known(updates);
        let tips: Vec<Oid> = updates.iter().filter_map(|update| update.new).collect();
        let walk = repository.walk(&tips, &known, Budget::UNBOUNDED).unwrap();
        assert_eq!(walk.commits.iter().map(|commit| commit.id).collect::<Vec<_>>(), expected);
    }

    fn tell(scratch: &Scratch, tips: &[Oid]) {
        let repository = scratch.open();
        let updates: Vec<Update> = tips.iter().map(|&tip| update("refs/tags/any", None, Some(tip))).collect();
        Told::of(&repository).append(&updates).unwrap();
    }

    #[test]
    fn f23_where_refs_were_is_known_after_they_moved() {
        let scratch = Scratch::new();
        let old = scratch.commit(&[], NOW, "old");
        scratch.set("refs/heads/main", old);
        let repository = scratch.open();
        let refs = || repository.refs().unwrap();
        assert_eq!(Told::of(&repository).baseline(&refs()), None);
        Told::of(&repository).begin(&[]).unwrap();
        let new = scratch.commit(&[old], NOW + 1, "new");
        scratch.set("refs/heads/main", new);
        scratch.set("refs/heads/later", new);
        tell(&scratch, &[new]);
        assert_eq!(Told::of(&repository).baseline(&refs()), Some(vec![(RefName::new("refs/heads/main"), old)]));
    }

    #[test]
    fn the_first_push_takes_the_other_refs_for_told() {
        for options in [&[][..], &["--object-format=sha256"], &["--ref-format=reftable"]] {
            let scratch = Scratch::with(options);
            let line = scratch.line(None, 5, NOW);
            scratch.set("refs/heads/other", line[1]);
            scratch.set("refs/heads/main", line[4]);
            check(&scratch, &[update("refs/heads/main", Some(line[2]), Some(line[4]))], &[line[4], line[3]]);
            check(&scratch, &[update("refs/heads/main", None, Some(line[4]))], &[line[4], line[3]]);
        }
    }

    #[test]
    fn what_was_handed_over_is_not_new_and_what_was_not_stays_new() {
        let scratch = Scratch::new();
        let line = scratch.line(None, 8, NOW);
        scratch.set("refs/heads/main", line[1]);
        Told::of(&scratch.open()).begin(&[]).unwrap();
        scratch.set("refs/heads/main", line[3]);
        // This push was never handed over, so the next one brings its commits along.
        check(&scratch, &[update("refs/heads/main", Some(line[1]), Some(line[3]))], &[line[3], line[2]]);
        scratch.set("refs/heads/main", line[5]);
        let push = update("refs/heads/main", Some(line[3]), Some(line[5]));
        check(&scratch, std::slice::from_ref(&push), &[line[5], line[4], line[3], line[2]]);
        tell(&scratch, &[line[5]]);
        check(&scratch, &[push], &[]);
        check(&scratch, &[update("refs/heads/new", None, Some(line[6]))], &[line[6]]);
    }

    #[test]
    fn two_first_pushes_that_race_lose_nothing() {
        let scratch = Scratch::new();
        let base = scratch.line(None, 3, NOW);
        scratch.set("refs/heads/main", base[2]);
        let mine = scratch.commit(&[base[2]], NOW + 1000, "mine");
        let yours = scratch.commit(&[base[2]], NOW + 2000, "yours");
        scratch.set("refs/heads/mine", mine);
        scratch.set("refs/heads/yours", yours);
        check(&scratch, &[update("refs/heads/mine", None, Some(mine))], &[mine]);
        tell(&scratch, &[mine]);
        check(&scratch, &[update("refs/heads/yours", None, Some(yours))], &[yours]);
    }

    #[test]
    fn a_slow_first_look_takes_back_nothing_that_a_quicker_push_told() {
        let scratch = Scratch::new();
        let line = scratch.line(None, 2, NOW);
        let repository = scratch.open();
        let slow = baseline(&repository, &[]).unwrap();
        tell(&scratch, &[line[1]]);
        Told::of(&repository).write(&slow, &[]).unwrap();
        assert!(Told::of(&repository).known(&[]).contains(line[1]));
    }

    #[test]
    fn a_tag_stands_for_its_commit() {
        let scratch = Scratch::new();
        Told::of(&scratch.open()).begin(&[]).unwrap();
        let line = scratch.line(None, 3, NOW);
        let tag = scratch.object("tag", format!("object {}\ntype commit\ntag t\n\nt", line[1]).as_bytes());
        tell(&scratch, &[tag]);
        check(&scratch, &[update("refs/heads/main", None, Some(line[2]))], &[line[2]]);
    }

    #[test]
    fn a_torn_record_costs_only_itself() {
        let scratch = Scratch::new();
        Told::of(&scratch.open()).begin(&[]).unwrap();
        let line = scratch.line(None, 6, NOW);
        tell(&scratch, &[line[1]]);
        tell(&scratch, &[line[2]]);
        let whole = fs::read(path(&scratch)).unwrap();
        fs::write(path(&scratch), &whole[..whole.len() - 7]).unwrap();
        check(&scratch, &[update("refs/heads/main", None, Some(line[3]))], &[line[3], line[2]]);
        tell(&scratch, &[line[4]]);
        check(&scratch, &[update("refs/heads/main", None, Some(line[5]))], &[line[5]]);
        assert_eq!(fs::metadata(path(&scratch)).unwrap().len() as usize, whole.len() + 20);
    }

    #[test]
    fn an_unreadable_file_is_made_anew() {
        for content in [
            &b""[..],
            b"jiratold",
            b"jiratold\x01\x20\0\0\0\0\0\0",
            b"jiratold\x01\x14\0\0\xff\xff\0\0",
            b"something else of some length",
        ] {
            let scratch = Scratch::new();
            let line = scratch.line(None, 3, NOW);
            scratch.set("refs/heads/other", line[1]);
            fs::create_dir(scratch.git_dir.join("agent")).unwrap();
            fs::write(path(&scratch), content).unwrap();
            check(&scratch, &[update("refs/heads/main", None, Some(line[2]))], &[line[2]]);
            assert!(Told::of(&scratch.open()).load().is_some(), "{content:?}");
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_stops_no_push() {
        let scratch = Scratch::new();
        let line = scratch.line(None, 3, NOW);
        fs::write(scratch.git_dir.join("agent"), "in the way").unwrap();
        check(&scratch, &[update("refs/heads/main", Some(line[1]), Some(line[2]))], &[line[2]]);
        let update = update("refs/heads/main", Some(line[1]), Some(line[2]));
        assert!(matches!(Told::of(&scratch.open()).append(&[update]), Err(Error::Io { .. })));
    }

    #[test]
    fn compaction_keeps_what_refs_point_to_and_what_is_recent_but_learns_nothing() {
        let scratch = Scratch::new();
        let line = scratch.line(None, 5, NOW);
        Told::of(&scratch.open()).begin(&[]).unwrap();
        scratch.set("refs/heads/told", line[1]);
        scratch.set("refs/heads/fresh", line[3]);
        tell(&scratch, &[line[1]]);
        let filler = |number: u32| [&number.to_be_bytes()[..], &[0xee; 16]].concat();
        let many: Vec<u8> = (0..COMPACT as u32 / 20 + 1).flat_map(filler).collect();
        OpenOptions::new().append(true).open(path(&scratch)).unwrap().write_all(&many).unwrap();
        tell(&scratch, &[line[0]]);
        assert!(fs::metadata(path(&scratch)).unwrap().len() < 30_000);
        let known = Told::of(&scratch.open()).known(&[]);
        assert_eq!([0, 1, 2, 3].map(|at| known.contains(line[at])), [true, true, false, false]);
    }

    #[test]
    fn the_file_has_the_rights_of_the_repository() {
        for (mode, folder, file) in [(0o755, 0o755, 0o644), (0o2770, 0o2770, 0o660), (0o700, 0o700, 0o600)] {
            let scratch = Scratch::new();
            fs::set_permissions(&scratch.git_dir, Permissions::from_mode(mode)).unwrap();
            Told::of(&scratch.open()).begin(&[]).unwrap();
            let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
            assert_eq!((mode(&scratch.git_dir.join("agent")), mode(&path(&scratch))), (folder, file));
        }
    }
}
