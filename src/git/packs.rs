//! Objects out of packs, many and fast.
//!
//! libgit2 sets up an inflater for every piece and, bounded as we need it, keeps too few bases; whoever looks at the
//! files of a whole history waits for that most of the time. Here packs are mapped, one inflater serves all, and what
//! was read lately is kept within a bound, because an older version of a file is mostly stored as a difference from the
//! newer one that was just read.
//!
//! Only what is plain is served: packs with an index of their own, in the folders the repository was opened with, and
//! objects of moderate size. For all else the answer is "not here", and libgit2 is asked: what is loose, borrowed, new
//! since the folders were looked at, too large or too deep, or damaged. Nothing a pack says is believed: lengths and
//! offsets are checked before they are followed, and what is allocated is bounded. A pack that is repacked away stays
//! readable while it is mapped; Git never changes one in place.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use git2::ObjectType;
use libdeflater::Decompressor;
use vmap::Map;

use super::delta::{distance, patch, size, take};
use super::recent::Recent;
use super::{MIB, Object, Oid};

/// The packs of a repository; nothing is opened before it has been asked for a while.
pub(super) struct Packs {
    folders: Vec<PathBuf>,
    id_len: usize,
    /// The one that had the last object comes first.
    packs: Vec<Pack>,
    /// Objects to be asked for before the folders are looked at (again).
    patience: usize,
    bases: Bases,
    inflater: Inflater,
    /// Packs met so far, for their numbers.
    met: u32,
}

/// How many objects are left to libgit2 first: a hook reads a few, and for a few it is not worth opening anything.
const FEW: usize = 64;
/// How many objects are not found before the folders are looked at again.
const MISSES: usize = 512;
/// How many packs are kept open; the largest are chosen.
const PACKS: usize = 16;
/// How much of what was read is kept, twice.
const BASES: usize = 8 * MIB;
/// The largest object, or delta, that is served.
const LARGE: usize = 16 * MIB;
/// The longest chain of deltas that is followed.
const DEEP: usize = 1024;
/// Of how many versions in a chain one is kept.
const STRIDE: usize = 8;

impl Packs {
    /// Remembers object folders.
    pub(super) fn new(object_dirs: &[&Path], id_len: usize) -> Packs {
        Packs {
            folders: object_dirs.iter().map(|path| path.join("pack")).collect(),
            id_len,
            packs: Vec::new(),
            patience: FEW,
            bases: Recent::new(BASES),
            inflater: Inflater::default(),
            met: 0,
        }
    }

    /// Reads an object; nothing when somebody else has to be asked.
    pub(super) fn read(&mut self, id: Oid) -> Option<Object> {
        if id.as_bytes().len() != self.id_len {
            return None;
        }
        for at in 0..self.packs.len() {
            let pack = &self.packs[at];
            if let Some(offset) = pack.find(id.as_bytes()) {
                let object = unpack(pack, offset, &mut self.inflater, &mut self.bases);
                self.inflater.shrink();
                self.packs.swap(0, at);
                return object;
            }
        }
        self.patience -= 1;
        if self.patience == 0 {
            self.look();
            self.patience = MISSES;
        }
        None
    }

    /// Lists the packs; those that are open stay so while they are there.
    fn look(&mut self) {
        let mut before = std::mem::take(&mut self.packs);
        let entries = self.folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        let indexes = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "idx"));
        let mut found: Vec<(u64, PathBuf)> =
            indexes.filter_map(|path| Some((fs::metadata(&path).ok()?.len(), path))).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        for (_, path) in found.into_iter().take(PACKS) {
            let known = before.iter().position(|pack| pack.path == path).map(|at| before.swap_remove(at));
            self.met += u32::from(known.is_none());
            let opened = known.or_else(|| Pack::open(path, self.met, self.id_len));
            self.packs.extend(opened);
        }
    }
}

/// Follows a chain of deltas down to something that is whole, or known, and puts them together.
fn unpack(pack: &Pack, offset: usize, inflater: &mut Inflater, bases: &mut Bases) -> Option<Object> {
    let mut chain = Vec::new();
    let mut next = offset;
    let mut object = loop {
        if let Some(base) = bases.get(&(pack.number, next)) {
            break base;
        }
        let piece = pack.piece(next)?;
        match piece.base {
            Base::None(kind) => {
                let content = inflater.inflate(pack.compressed(&piece)?, piece.size)?.into();
                let object = Object { kind, content };
                // A commit is read once, unless others are differences from it.
                if kind != ObjectType::Commit || !chain.is_empty() {
                    bases.put((pack.number, next), object.clone(), piece.size);
                }
                break object;
            }
            Base::At(base) if chain.len() < DEEP => {
                chain.push((next, piece));
                next = base;
            }
            Base::At(_) => return None,
        }
    };
    for (above, (at, piece)) in chain.into_iter().enumerate().rev() {
        object.content = inflater.patch(&object.content, pack.compressed(&piece)?, piece.size)?.into();
        // The versions on the way are mostly newer ones, which were read before; a few are kept as steps.
        if above % STRIDE == 0 {
            bases.put((pack.number, at), object.clone(), object.content.len());
        }
    }
    Some(object)
}

/// Objects by the number of their pack and their place in it.
type Bases = Recent<(u32, usize), Object>;

/// A pack and its index, mapped.
struct Pack {
    path: PathBuf,
    number: u32,
    id_len: usize,
    index: Map,
    entries: Map,
}

/// One entry of a pack: how large its content is, and where it lies compressed.
struct Piece {
    base: Base,
    size: usize,
    at: usize,
}

/// What the content of a piece is a difference from.
enum Base {
    None(ObjectType),
    At(usize),
}

impl Pack {
    /// Maps a pack by the path of its index.
    fn open(path: PathBuf, number: u32, id_len: usize) -> Option<Pack> {
        let map = |path: &Path| Map::with_options().open(path).ok().map(|(map, _)| map);
        let (index, entries) = (map(&path)?, map(&path.with_extension("pack"))?);
        let is_plain = index.starts_with(b"\xfftOc\0\0\0\x02") && entries.starts_with(b"PACK\0\0\0\x02");
        is_plain.then_some(Pack { path, number, id_len, index, entries })
    }

    /// Finds where an object begins.
    fn find(&self, id: &[u8]) -> Option<usize> {
        let first = usize::from(id[0]);
        let (mut low, mut high) = (if first == 0 { 0 } else { self.up_to(first - 1)? }, self.up_to(first)?);
        // Ids are spread evenly, so that the place of one is nearly known; what is left is halved.
        let share = (high.checked_sub(low)? as u64 * number(&id[1..5])? as u64) >> 32;
        let mut guess = low + share as usize;
        let mut step = 16;
        while low < high {
            match compare(self.index_at(IDS + guess * self.id_len, self.id_len)?, id) {
                Ordering::Equal => return self.offset(guess),
                Ordering::Less => {
                    low = guess + 1;
                    guess = (guess + step).min(low + high.saturating_sub(low) / 2);
                }
                Ordering::Greater => {
                    high = guess;
                    guess = guess.saturating_sub(step).max(low + (high - low) / 2);
                }
            }
            step = step.saturating_mul(4);
        }
        None
    }

    fn index_at(&self, at: usize, length: usize) -> Option<&[u8]> {
        self.index.get(at..at.checked_add(length)?)
    }

    /// Tells how many ids begin with this byte or a smaller one.
    fn up_to(&self, byte: usize) -> Option<usize> {
        number(self.index_at(FANOUT + byte * 4, 4)?)
    }

    fn offset(&self, at: usize) -> Option<usize> {
        let count = self.up_to(255)?;
        let offsets = IDS + count * (self.id_len + 4);
        let offset = number(self.index_at(offsets + at * 4, 4)?)?;
        match offset.checked_sub(1 << 31) {
            None => Some(offset),
            Some(far) => number(self.index_at(offsets + count * 4 + far * 8, 8)?),
        }
    }

    /// Gives the compressed content of an entry, and whatever comes after it.
    fn compressed(&self, piece: &Piece) -> Option<&[u8]> {
        self.entries.get(piece.at..)
    }

    /// Reads what stands before the content of an entry.
    fn piece(&self, offset: usize) -> Option<Piece> {
        let mut rest = self.entries.get(offset..)?;
        let first = take(&mut rest)?;
        let size = size(first, 4, &mut rest).filter(|&size| size <= LARGE)?;
        let base = match first >> 4 & 7 {
            1 => Base::None(ObjectType::Commit),
            2 => Base::None(ObjectType::Tree),
            3 => Base::None(ObjectType::Blob),
            4 => Base::None(ObjectType::Tag),
            6 => Base::At(offset.checked_sub(distance(&mut rest)?)?),
            7 => Base::At(self.find(rest.split_off(..self.id_len)?)?),
            _ => return None,
        };
        Some(Piece { base, size, at: self.entries.len() - rest.len() })
    }
}

/// Where an index has its parts.
const FANOUT: usize = 8;
const IDS: usize = FANOUT + 256 * 4;

/// Inflates one piece after the other into the same place.
struct Inflater {
    decompressor: Decompressor,
    inflated: Vec<u8>,
    patched: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Inflater {
        Inflater { decompressor: Decompressor::new(), inflated: Vec::new(), patched: Vec::new() }
    }
}

impl Inflater {
    fn inflate(&mut self, bytes: &[u8], size: usize) -> Option<&[u8]> {
        if self.inflated.len() < size {
            self.inflated.resize(size, 0);
        }
        let into = &mut self.inflated[..size];
        let length = self.decompressor.zlib_decompress(bytes, into).ok()?;
        (length == size).then_some(&self.inflated[..size])
    }

    /// Gives back room that only a large object needed.
    fn shrink(&mut self) {
        for room in [&mut self.inflated, &mut self.patched] {
            if room.capacity() > MIB {
                *room = Vec::new();
            }
        }
    }

    /// Inflates a delta and carries it out.
    fn patch(&mut self, base: &[u8], bytes: &[u8], size: usize) -> Option<&[u8]> {
        let mut patched = std::mem::take(&mut self.patched);
        let done = patch(base, self.inflate(bytes, size)?, LARGE, &mut patched);
        self.patched = patched;
        done.map(|()| self.patched.as_slice())
    }
}

/// Compares two ids by their beginning, which mostly decides.
fn compare(one: &[u8], other: &[u8]) -> Ordering {
    let start = |id: &[u8]| id.first_chunk().map(|start| u64::from_be_bytes(*start));
    start(one).cmp(&start(other)).then_with(|| one.cmp(other))
}

/// Reads a number of four or eight bytes, most significant ones first.
fn number(bytes: &[u8]) -> Option<usize> {
    usize::try_from(bytes.iter().fold(0, |number: u64, &byte| number << 8 | u64::from(byte))).ok()
}

#[cfg(test)]
mod tests {
    use super::super::Repository;
    use super::super::tests::Scratch;
    use super::*;

    /// A packed repository with files that change a little from commit to commit, and the ids of all its objects.
    fn packed(options: &[&str], packing: &[&str]) -> (Scratch, Vec<Oid>) {
        let scratch = Scratch::with(options);
        let mut stream = String::new();
        let mut text: Vec<String> = (0..400).map(|line| format!("{line}: {}\n", line * line % 97)).collect();
        for round in 0..60 {
            stream += &format!("commit refs/heads/main\ncommitter C <c@example.com> {round} +0000\ndata 2\nx\n\n");
            text[round * 7 % 400] = format!("changed in {round}\n");
            let text = text.concat();
            stream += &format!("M 644 inline a/b/{}\ndata {}\n{text}\n", round % 3, text.len());
        }
        scratch.git_with(&["fast-import", "--quiet"], stream.as_bytes());
        scratch.git(packing);
        let list = scratch.git(&["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
        let ids = list.lines().map(|id| id.parse().unwrap()).collect();
        (scratch, ids)
    }

    const PLAIN: [&str; 2] = ["repack", "-adfq"];
    const BY_NAME: [&str; 4] = ["-c", "repack.useDeltaBaseOffset=false", "repack", "-adfq"];

    /// The packs of a repository as if it had been asked for a while.
    fn looked_at(scratch: &Scratch, id: Oid) -> Packs {
        let mut packs = Packs::new(&[&scratch.git_dir.join("objects")], id.as_bytes().len());
        packs.look();
        packs
    }

    /// Tells how an object is read here and by libgit2.
    fn both(packs: &mut Packs, repository: &Repository, id: Oid) -> [Option<(ObjectType, Vec<u8>)>; 2] {
        let plain = |object: Object| (object.kind, object.content.to_vec());
        [packs.read(id).map(plain), repository.stored(id).ok().flatten().map(plain)]
    }

    #[test]
    fn every_object_reads_as_it_does_elsewhere() {
        for (options, packing) in [
            (&[][..], &PLAIN[..]),
            (&[], &BY_NAME),
            (&["--object-format=sha256"], &PLAIN),
            (&["--object-format=sha256"], &BY_NAME),
        ] {
            let (scratch, ids) = packed(options, packing);
            let (mut packs, repository) = (looked_at(&scratch, ids[0]), scratch.open());
            // Backwards too, so that bases are there and are not.
            for &id in ids.iter().chain(ids.iter().rev()) {
                let [ours, theirs] = both(&mut packs, &repository, id);
                assert_eq!(ours.unwrap(), theirs.unwrap(), "{id}");
            }
            let absent = Oid::from_bytes(&[7; 32][..ids[0].as_bytes().len()]).unwrap();
            assert!(packs.read(absent).is_none());
        }
    }

    #[test]
    fn a_hook_that_reads_little_opens_no_pack() {
        let (scratch, ids) = packed(&[], &PLAIN);
        let repository = scratch.open();
        ids.iter().take(FEW - 1).for_each(|&id| assert!(repository.read(id).unwrap().is_some()));
        assert!(repository.packs.borrow().packs.is_empty());
        ids.iter().for_each(|&id| assert!(repository.read(id).unwrap().is_some()));
        assert_eq!(repository.packs.borrow().packs.len(), 1);
    }

    #[test]
    fn damaged_packs_are_left_to_libgit2() {
        let (scratch, ids) = packed(&[], &PLAIN);
        let whole = scratch.open();
        let folder = scratch.git_dir.join("objects").join("pack");
        let mut seed = 1_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        let of_kind = |end: &str| {
            let paths = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
            let path = paths.into_iter().find(|path| path.extension().is_some_and(|found| found == end)).unwrap();
            (fs::read(&path).unwrap(), path)
        };
        let mut wrong = 0;
        for (bytes, path) in [of_kind("pack"), of_kind("idx")] {
            for round in 0..150 {
                let mut damaged = bytes.clone();
                match round % 10 {
                    0 => damaged.truncate(random(bytes.len())),
                    _ => (0..20).for_each(|_| damaged[random(bytes.len())] = random(256) as u8),
                }
                // A new file: the old one is still mapped.
                fs::remove_file(&path).unwrap();
                fs::write(&path, &damaged).unwrap();
                let mut packs = looked_at(&scratch, ids[0]);
                for &id in &ids {
                    let [ours, theirs] = both(&mut packs, &whole, id);
                    wrong += usize::from(ours.is_none_or(|ours| Some(ours) != theirs));
                }
            }
            fs::remove_file(&path).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert!(wrong > 0, "nothing was damaged");
    }

    #[test]
    fn packs_that_are_repacked_away_are_still_read_and_new_ones_found() {
        let (scratch, mut ids) = packed(&[], &PLAIN);
        let (repository, mut packs) = (scratch.open(), looked_at(&scratch, ids[0]));
        assert!(packs.read(ids[0]).is_some());
        let tip = scratch.git(&["rev-parse", "main"]).parse().unwrap();
        let late = scratch.line(Some(tip), 3, 1_800_000_000);
        scratch.set("refs/heads/late", late[2]);
        scratch.git(&["repack", "-adfq"]);
        ids.iter().for_each(|&id| assert!(packs.read(id).is_some()));
        ids.extend(&late);
        for &id in ids.iter().cycle().take(3 * MISSES) {
            assert!(repository.read(id).unwrap().is_some());
        }
        late.iter().cycle().take(MISSES).for_each(|&id| drop(packs.read(id)));
        ids.iter().for_each(|&id| assert!(packs.read(id).is_some()));
    }
}
