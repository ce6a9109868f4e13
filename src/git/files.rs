//! Which files a commit changed, with the figures that `git log --numstat --no-renames` would print.
//!
//! Two trees are walked side by side over their raw objects, so that a directory both have in common costs nothing, and
//! a few trees are kept because the parent's tree is the next commit's. Only the files that are listed are read. What
//! two versions have in common at their beginning and end is cut off first; mostly nothing is left on one side then,
//! or nothing in common, and the figures are plain. Else the shortest way from one to the other is measured, after what
//! git leaves out of account was left out; where the way is long git takes shortcuts, and only then xdiff is asked, which
//! libgit2 shares with git: the numbers are to be git's to the line.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::sync::Arc;

use git2::ObjectType;
use memchr::{memchr, memchr_iter, memrchr};
use minicbor::{Decode, Encode};

use super::history::{Key, Raw};
use super::{Commit, Error, Oid, Repository};

/// The files a commit changed against its first parent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Files {
    /// The first few in path order.
    #[n(0)]
    pub listed: Vec<File>,
    /// How many there are in truth.
    #[n(1)]
    pub count: u32,
}

/// One changed file.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct File {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub path: Vec<u8>,
    #[n(1)]
    pub change: Change,
    /// Lines added; 0 for a binary file.
    #[n(2)]
    pub added: u32,
    /// Lines removed; 0 for a binary file.
    #[n(3)]
    pub removed: u32,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Change {
    #[n(0)]
    Added,
    #[n(1)]
    Modified,
    #[n(2)]
    Deleted,
    /// Somebody else told us of the file and did not say.
    #[n(3)]
    Unknown,
}

impl Repository {
    /// Lists the first `limit` files a commit changed against its first parent, and counts them all.
    ///
    /// A merge has no list of its own. A blob that is not there, as in a partial clone, counts as a binary one.
    pub fn files(&self, commit: &Commit, limit: usize) -> Result<Files, Error> {
        if commit.is_merge() {
            return Ok(Files::default());
        }
        let new = self.tree(self.tree_of(commit.id)?)?;
        let old = match commit.parents.first() {
            Some(&parent) => self.tree(self.tree_of(parent)?)?,
            None => Arc::default(),
        };
        let (found, count) = self.differences(old, new, limit)?;
        let listed = found.into_iter().map(|difference| self.file(difference)).collect::<Result<_, _>>()?;
        Ok(Files { listed, count })
    }

    /// Finds a commit's tree, which a walk that has just come by has told us.
    fn tree_of(&self, commit: Oid) -> Result<Oid, Error> {
        if let Some(tree) = self.trees.borrow_mut().get(&Key::of(commit)) {
            return Ok(tree);
        }
        let object = self.read(commit)?.ok_or(Error::Missing { id: commit })?;
        Ok(Raw::parse(object.data()).ok_or(Error::NotACommit { id: commit })?.tree)
    }

    fn tree(&self, id: Oid) -> Result<Arc<[u8]>, Error> {
        match self.recent(id, ObjectType::Tree)? {
            Some(tree) => Ok(tree),
            // The tree of no files need not be stored.
            None if is_empty_tree(id) => Ok(Arc::default()),
            None => Err(Error::Missing { id }),
        }
    }

    /// Reads a tree, or a blob that is not too large, perhaps not for the first time.
    fn recent(&self, id: Oid, kind: ObjectType) -> Result<Option<Arc<[u8]>>, Error> {
        if let Some(content) = self.recent.borrow_mut().get(&Key::of(id)) {
            return Ok(Some(content));
        }
        if kind == ObjectType::Blob && !self.is_small(id) {
            return Ok(None);
        }
        let Some(object) = self.read(id)?.filter(|object| object.kind() == kind) else {
            return Ok(None);
        };
        let content: Arc<[u8]> = object.data().into();
        self.recent.borrow_mut().put(Key::of(id), Arc::clone(&content), content.len());
        Ok(Some(content))
    }

    /// Walks two trees side by side; gives the first few differences and the number of all.
    fn differences(&self, old: Arc<[u8]>, new: Arc<[u8]>, limit: usize) -> Result<(Vec<Difference>, u32), Error> {
        let (mut found, mut count, mut path) = (Vec::new(), 0, Vec::new());
        let mut levels = vec![Level { old: Cursor::new(old), new: Cursor::new(new), prefix: 0 }];
        // A few trees that contain each other many times over can stand for more files than there are atoms.
        for _ in 0..STEPS {
            let Some(level) = levels.last_mut() else { break };
            path.truncate(level.prefix);
            let Some((old, new)) = level.next(self.id_len(), &mut path) else {
                levels.pop();
                continue;
            };
            if old == new {
                continue;
            }
            let is_tree = |side: Option<Side>| side.is_some_and(|side| side.mode == TREE);
            if is_tree(old) || is_tree(new) {
                path.push(b'/');
                let open = |side: Option<Side>| side.map_or(Ok(Arc::default()), |side| self.tree(side.id));
                let (old, new) = (Cursor::new(open(old)?), Cursor::new(open(new)?));
                levels.push(Level { old, new, prefix: path.len() });
                continue;
            }
            count += 1;
            if found.len() < limit {
                found.push(Difference { path: path.clone(), old, new });
            }
        }
        Ok((found, count))
    }

    fn file(&self, Difference { path, old, new }: Difference) -> Result<File, Error> {
        let change = match (old, new) {
            (None, _) => Change::Added,
            (_, None) => Change::Deleted,
            _ => Change::Modified,
        };
        let same = old.map(|side| side.id) == new.map(|side| side.id);
        let (added, removed) = if same { (0, 0) } else { self.figures(old, new)? };
        Ok(File { path, change, added, removed })
    }

    fn figures(&self, old: Option<Side>, new: Option<Side>) -> Result<(u32, u32), Error> {
        let (Some(old), Some(new)) = (self.content(old)?, self.content(new)?) else {
            return Ok((0, 0));
        };
        let is_text = !is_binary(&old) && !is_binary(&new);
        Ok(if is_text { count_lines(&old, &new) } else { (0, 0) })
    }

    /// Reads one side of a file; nothing when it is too large to look into, or not there.
    fn content(&self, side: Option<Side>) -> Result<Option<Arc<[u8]>>, Error> {
        match side {
            None => Ok(Some(Arc::default())),
            Some(Side { mode: SUBMODULE, id }) => Ok(Some(format!("Subproject commit {id}\n").into_bytes().into())),
            Some(Side { id, .. }) => self.recent(id, ObjectType::Blob),
        }
    }

    fn is_small(&self, id: Oid) -> bool {
        let header = self.foreign(id).and_then(|id| self.odb.read_header(id).ok());
        header.is_some_and(|(size, _)| size <= LARGE)
    }
}

const TREE: u32 = 0o040000;
const SUBMODULE: u32 = 0o160000;

/// How many entries of trees are looked at for one commit.
const STEPS: usize = 5_000_000;

/// How large a blob may be to be read; larger ones count as binary.
const LARGE: usize = 16 * 1024 * 1024;

/// One side of a file: nothing but its mode and its id.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Side {
    mode: u32,
    id: Oid,
}

struct Difference {
    path: Vec<u8>,
    old: Option<Side>,
    new: Option<Side>,
}

/// Two directories of the same name, and how far they were read.
struct Level {
    old: Cursor,
    new: Cursor,
    /// How much of the path leads here.
    prefix: usize,
}

impl Level {
    /// Takes the next entry, from one side or from both, and adds its name to the path.
    fn next(&mut self, id_len: usize, path: &mut Vec<u8>) -> Option<(Option<Side>, Option<Side>)> {
        self.skip_common(id_len);
        let order = match (self.old.peek(id_len), self.new.peek(id_len)) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.order().cmp(new.order()),
        };
        let old = if order.is_le() { self.old.take(id_len, path) } else { None };
        if order.is_eq() {
            path.truncate(self.prefix);
        }
        let new = if order.is_ge() { self.new.take(id_len, path) } else { None };
        Some((old, new))
    }

    /// Passes over what both sides have in common at this place, entry by entry but without a look inside.
    fn skip_common(&mut self, id_len: usize) {
        while let (Some(old), Some(new)) = (self.old.rest_entry(id_len), self.new.rest_entry(id_len)) {
            if old != new {
                break;
            }
            let length = old.len();
            self.old.at += length;
            self.new.at += length;
        }
    }
}

/// A tree object, and how far it was read.
struct Cursor {
    tree: Arc<[u8]>,
    at: usize,
}

/// One entry of a tree object.
struct Entry<'a> {
    mode: u32,
    name: &'a [u8],
    id: Oid,
    length: usize,
}

impl Entry<'_> {
    /// Gives what trees are sorted by: a directory's name as if it ended in a slash.
    fn order(&self) -> impl Iterator<Item = u8> {
        let end = if self.mode == TREE { b'/' } else { 0 };
        self.name.iter().copied().chain([end])
    }
}

impl Cursor {
    fn new(tree: Arc<[u8]>) -> Cursor {
        Cursor { tree, at: 0 }
    }

    /// Gives the bytes of the next entry.
    fn rest_entry(&self, id_len: usize) -> Option<&[u8]> {
        let rest = &self.tree[self.at..];
        let name_end = memchr(0, rest)?;
        rest.get(..name_end + 1 + id_len)
    }

    fn peek(&self, id_len: usize) -> Option<Entry<'_>> {
        let entry = self.rest_entry(id_len)?;
        let name_end = entry.len() - id_len - 1;
        let mode_end = memchr(b' ', &entry[..name_end])?;
        let mode = entry[..mode_end].iter().fold(0, |mode: u32, digit| mode << 3 | u32::from(digit & 7));
        let id = Oid::from_bytes(&entry[name_end + 1..])?;
        Some(Entry { mode, name: &entry[mode_end + 1..name_end], id, length: entry.len() })
    }

    fn take(&mut self, id_len: usize, path: &mut Vec<u8>) -> Option<Side> {
        let Entry { mode, name, id, length } = self.peek(id_len)?;
        path.extend_from_slice(name);
        self.at += length;
        Some(Side { mode, id })
    }
}

/// What was read last: what a commit changed from is mostly what an older one changed to.
///
/// There are two generations; when the younger is full it becomes the older, and what of the older was not asked for
/// since is forgotten.
pub(super) struct Recent<K, V> {
    young: HashMap<K, (V, usize), foldhash::fast::RandomState>,
    old: HashMap<K, (V, usize), foldhash::fast::RandomState>,
    size: usize,
}

impl<K: Eq + Hash + Copy, V: Clone> Recent<K, V> {
    const SIZE: usize = 8 * 1024 * 1024;

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        if let Some((value, _)) = self.young.get(key) {
            return Some(value.clone());
        }
        let (value, size) = self.old.remove(key)?;
        self.put(*key, value.clone(), size);
        Some(value)
    }

    pub(super) fn put(&mut self, key: K, value: V, size: usize) {
        self.size += size + 128;
        self.young.insert(key, (value, size));
        if self.size > Self::SIZE {
            self.old = mem::take(&mut self.young);
            self.size = 0;
        }
    }
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Recent<K, V> {
        Recent { young: HashMap::default(), old: HashMap::default(), size: 0 }
    }
}

fn is_empty_tree(id: Oid) -> bool {
    let id = id.to_string();
    id == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        || id == "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
}

/// Tells what git would call binary: a zero in the first 8,000 bytes.
fn is_binary(bytes: &[u8]) -> bool {
    memchr(0, &bytes[..bytes.len().min(8000)]).is_some()
}

/// Counts the lines that were added and removed.
fn count_lines(old: &[u8], new: &[u8]) -> (u32, u32) {
    let (head, tail) = common_ends(old, new);
    let middles = [&old[head..old.len() - tail], &new[head..new.len() - tail]];
    let all = || (lines(middles[1]).count() as u32, lines(middles[0]).count() as u32);
    if middles[0].is_empty() || middles[1].is_empty() {
        return all();
    }
    if let Some(figures) = count_few_edits(middles, [&old[..head], &old[old.len() - tail..]]) {
        return figures;
    }
    // A long way from one to the other is cut short in git's own ways.
    let mut options = git2::DiffOptions::new();
    options.force_text(true).context_lines(0);
    let patch = git2::Patch::from_buffers(old, None, new, None, Some(&mut options));
    match patch.and_then(|patch| patch.line_stats()) {
        Ok((_, added, removed)) => (added as u32, removed as u32),
        Err(_) => all(),
    }
}

/// Counts the lines that differ between two texts that both stand between the same ends; nothing when there are many.
///
/// The ends matter because git, before it compares, drops lines that are frequent in the other text and stand among
/// lines that are not in it at all; of the latter there must be [`CROWD`] for that.
fn count_few_edits(texts: [&[u8]; 2], ends: [&[u8]; 2]) -> Option<(u32, u32)> {
    let mut classes = Classes::default();
    let middle = [0, 1].map(|side| lines(texts[side]).map(|line| classes.see(line, &[side])).collect::<Vec<u32>>());
    let alone = [0, 1].map(|side| middle[side].iter().filter(|&&line| classes.count(line, 1 - side) == 0).count());
    let common = if alone[0] == middle[0].len() {
        0
    } else if alone[0].max(alone[1]) < CROWD {
        common(&middle[0], &middle[1])?
    } else {
        let around = ends.into_iter().flat_map(lines).map(|line| classes.see(line, &[0, 1])).count();
        let old = classes.without_frequent(&middle[0], 1, rough_root(middle[0].len() + around));
        let new = classes.without_frequent(&middle[1], 0, rough_root(middle[1].len() + around));
        common(&old, &new)?
    };
    Some(((middle[1].len() - common) as u32, (middle[0].len() - common) as u32))
}

/// How many lines that are not in the other text it takes for git to drop a frequent one between them.
const CROWD: usize = 7;

/// Counts the lines that stay; nothing when many do not.
fn common(old: &[u32], new: &[u32]) -> Option<usize> {
    distance(old, new).map(|edits| (old.len() + new.len() - edits) / 2)
}

/// How many edits are counted before git would begin to take shortcuts.
const FEW: usize = 200;

/// The different lines of two texts, by number, and how often each is in either.
#[derive(Default)]
struct Classes<'a> {
    numbers: HashMap<&'a [u8], u32, foldhash::fast::RandomState>,
    counts: Vec<[usize; 2]>,
}

/// How well a line can be matched in the other text.
#[derive(Clone, Copy, PartialEq)]
enum Match {
    Never,
    Sometimes,
    Often,
}

impl<'a> Classes<'a> {
    fn see(&mut self, line: &'a [u8], sides: &[usize]) -> u32 {
        let next = self.counts.len() as u32;
        let number = *self.numbers.entry(line).or_insert(next);
        if number == next {
            self.counts.push([0; 2]);
        }
        for &side in sides {
            self.counts[number as usize][side] += 1;
        }
        number
    }

    fn count(&self, line: u32, side: usize) -> usize {
        self.counts[line as usize][side]
    }

    /// Drops the lines that git would not try to match: `many` is how many make a line frequent.
    fn without_frequent(&self, middle: &[u32], other: usize, many: usize) -> Vec<u32> {
        let found = |&line: &u32| match self.counts[line as usize][other] {
            0 => Match::Never,
            count if count >= many => Match::Often,
            _ => Match::Sometimes,
        };
        let matches: Vec<Match> = middle.iter().map(found).collect();
        let is_kept = |at: usize| match matches[at] {
            Match::Never => false,
            Match::Sometimes => true,
            Match::Often => is_tried(&matches, at),
        };
        (0..middle.len()).filter(|&at| is_kept(at)).map(|at| middle[at]).collect()
    }
}

/// Tells whether git tries to match a frequent line, from what stands around it.
fn is_tried(matches: &[Match], at: usize) -> bool {
    let run = |side: &mut dyn Iterator<Item = &Match>| {
        let run = side.take(WINDOW).take_while(|&&found| found != Match::Sometimes);
        run.fold((0, 0), |(never, often), &found| match found {
            Match::Never => (never + 1, often),
            _ => (never, often + 1),
        })
    };
    let (before, often_before) = run(&mut matches[..at].iter().rev());
    let (after, often_after) = run(&mut matches[at + 1..].iter());
    before == 0 || after == 0 || before + after <= 3 * (2 + often_before + often_after)
}

/// How far git looks around a frequent line.
const WINDOW: usize = 100;

/// Gives a power of two near the square root, as git does to tell what is frequent.
fn rough_root(number: usize) -> usize {
    1 << (usize::BITS - number.leading_zeros()).div_ceil(2).min(10)
}

/// Gives the least number of lines to take out and put in; nothing when there are many (Myers' greedy way, without the
/// way back).
fn distance(old: &[u32], new: &[u32]) -> Option<usize> {
    // A diagonal is what a place in `new` is ahead of one in `old`; for each the furthest place in `old` is kept.
    let mut reach = [0_usize; 2 * FEW + 3];
    let middle = FEW + 1;
    for edits in 0..=FEW {
        for diagonal in (middle - edits..=middle + edits).step_by(2) {
            let left = diagonal > middle - edits;
            let right = diagonal < middle + edits;
            let mut x = match (left, right) {
                _ if edits == 0 => 0,
                (true, false) => reach[diagonal - 1],
                (true, true) if reach[diagonal - 1] > reach[diagonal + 1] => reach[diagonal - 1],
                _ => reach[diagonal + 1] + 1,
            };
            let mut y = x + diagonal - middle;
            while x < old.len() && y < new.len() && old[x] == new[y] {
                (x, y) = (x + 1, y + 1);
            }
            if x >= old.len() && y >= new.len() {
                return Some(edits);
            }
            reach[diagonal] = x;
        }
    }
    None
}

/// Tells how many bytes of lines are the same at the beginning and at the end.
fn common_ends(old: &[u8], new: &[u8]) -> (usize, usize) {
    let head = common_head(old, new);
    let head = memrchr(b'\n', &old[..head]).map_or(0, |end| end + 1);
    let (old, new) = (&old[head..], &new[head..]);
    let tail = common_tail(old, new);
    // The tail begins where a line does, on both sides.
    let begins = |text: &[u8]| text.len() == tail || text[text.len() - tail - 1] == b'\n';
    match begins(old) && begins(new) {
        true => (head, tail),
        false => (head, memchr(b'\n', &old[old.len() - tail..]).map_or(0, |end| tail - end - 1)),
    }
}

// Whole blocks first: they are compared many bytes at a time.
fn common_head(old: &[u8], new: &[u8]) -> usize {
    let blocks = old.chunks_exact(BLOCK).zip(new.chunks_exact(BLOCK));
    let start = blocks.take_while(|(old, new)| old == new).count() * BLOCK;
    start + old[start..].iter().zip(&new[start..]).take_while(|(old, new)| old == new).count()
}

fn common_tail(old: &[u8], new: &[u8]) -> usize {
    let blocks = old.rchunks_exact(BLOCK).zip(new.rchunks_exact(BLOCK));
    let end = blocks.take_while(|(old, new)| old == new).count() * BLOCK;
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    end + old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count()
}

const BLOCK: usize = 128;

/// Splits a text into lines, each with its end.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = memchr_iter(b'\n', text).map(|end| end + 1);
    let last = Some(text.len()).filter(|_| text.last().is_some_and(|&byte| byte != b'\n'));
    ends.chain(last).scan(0, |start, end| Some(&text[mem::replace(start, end)..end]))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Scratch;
    use super::*;

    const A: Change = Change::Added;
    const M: Change = Change::Modified;
    const D: Change = Change::Deleted;

    type Content = (&'static str, &'static str, &'static [u8]);

    fn tree(scratch: &Scratch, files: &[Content]) -> String {
        let index = scratch.folder.path().join("index");
        let environment = [("GIT_DIR", scratch.git_dir.to_str().unwrap()), ("GIT_INDEX_FILE", index.to_str().unwrap())];
        let entry = |(mode, path, content): &Content| {
            let id = match *mode {
                "160000" => scratch.object("blob", content).to_string().replace(|_: char| true, "1"),
                _ => scratch.object("blob", content).to_string(),
            };
            format!("{mode} {id}\t{path}\n")
        };
        let lines: String = files.iter().map(entry).collect();
        scratch.run(&environment, &["read-tree", "--empty"], b"");
        scratch.run(&environment, &["update-index", "--index-info"], lines.as_bytes());
        let tree = scratch.run(&environment, &["write-tree", "--missing-ok"], b"");
        String::from_utf8(tree).unwrap().trim_end().to_owned()
    }

    /// Checks the files of a commit against what is expected and the figures against git's own.
    #[track_caller]
    fn check(before: &[Content], after: &[Content], expected: &[(&str, Change, u32, u32)]) {
        for options in [&[][..], &["--object-format=sha256"]] {
            let scratch = Scratch::with(options);
            let first = scratch.commit_of(&tree(&scratch, before), &[], 1, "", b"before");
            let second = scratch.commit_of(&tree(&scratch, after), &[first], 2, "", b"after");
            let repository = scratch.open();
            let files = repository.files(&repository.commit(second).unwrap(), 10).unwrap();
            let file = |&(path, change, added, removed): &(&str, Change, u32, u32)| File {
                path: path.as_bytes().to_vec(),
                change,
                added,
                removed,
            };
            assert_eq!(files.listed, expected.iter().map(file).collect::<Vec<_>>());
            assert_eq!(files.count as usize, expected.len());
            let line = |(path, _, added, removed): &(&str, Change, u32, u32)| format!("{added}\t{removed}\t{path}\n");
            let ours: String = expected.iter().map(line).collect();
            assert_eq!(numstat(&scratch, second), ours);
            assert_eq!(minicbor::decode::<Files>(&minicbor::to_vec(&files).unwrap()).unwrap(), files);
        }
    }

    fn numstat(scratch: &Scratch, id: Oid) -> String {
        let options = ["diff-tree", "--root", "--no-commit-id", "-r", "--no-renames", "--numstat"];
        let output = scratch.git(&[&options[..], &[&id.to_string()]].concat()).replace("-\t-\t", "0\t0\t");
        if output.is_empty() { output } else { output + "\n" }
    }

    #[test]
    fn files_come_and_go_and_change() {
        check(
            &[("100644", "a/b", b"1\n2\n3\n"), ("100644", "gone", b"x\ny\n"), ("100644", "same", b"s\n")],
            &[("100644", "a/b", b"1\nII\n3\n4\n"), ("100644", "a/new", b"1\n2\n"), ("100644", "same", b"s\n")],
            &[("a/b", M, 2, 1), ("a/new", A, 2, 0), ("gone", D, 0, 2)],
        );
    }

    #[test]
    fn the_last_line_may_lack_its_end() {
        check(
            &[("100644", "a", b"1\n2"), ("100644", "b", b"1\n2\n"), ("100644", "c", b"1"), ("100644", "d", b"x\ny")],
            &[("100644", "a", b"1\n2\n"), ("100644", "b", b"1\n2"), ("100644", "c", b"1\n1"), ("100644", "d", b"y")],
            &[("a", M, 1, 1), ("b", M, 1, 1), ("c", M, 1, 0), ("d", M, 0, 1)],
        );
    }

    #[test]
    fn a_mode_alone_changes_no_line() {
        check(&[("100644", "run", b"x\n")], &[("100755", "run", b"x\n")], &[("run", M, 0, 0)]);
    }

    #[test]
    fn binary_and_empty_files_count_no_lines() {
        check(
            &[("100644", "bin", b"a\0b\n"), ("100644", "was-text", b"a\n")],
            &[("100644", "bin", b"a\0c\n\n"), ("100644", "empty", b""), ("100644", "was-text", b"\0")],
            &[("bin", M, 0, 0), ("empty", A, 0, 0), ("was-text", M, 0, 0)],
        );
    }

    #[test]
    fn links_and_submodules_count_as_the_line_they_are() {
        check(
            &[("120000", "link", b"here"), ("160000", "sub", b"")],
            &[("120000", "link", b"there"), ("100644", "sub", b"x\ny\n")],
            &[("link", M, 1, 1), ("sub", M, 2, 1)],
        );
    }

    #[test]
    fn a_directory_in_a_files_place_is_two_changes_in_order() {
        check(
            &[("100644", "a", b"1\n"), ("100644", "a.b", b"1\n"), ("100644", "d/x", b"1\n")],
            &[("100644", "a.b", b"2\n"), ("100644", "a/x", b"1\n"), ("100644", "d", b"1\n")],
            &[("a", D, 0, 1), ("a.b", M, 1, 1), ("a/x", A, 1, 0), ("d", A, 1, 0), ("d/x", D, 0, 1)],
        );
    }

    #[test]
    fn the_first_few_are_listed_and_all_are_counted() {
        let scratch = Scratch::new();
        let files: Vec<Content> = ["a", "b", "c", "d", "e/1", "e/2"].map(|path| ("100644", path, &b"x\n"[..])).to_vec();
        let root = scratch.commit_of(&tree(&scratch, &files), &[], 1, "", b"root");
        let merge = scratch.commit(&[root, root], 2, "merge");
        let repository = scratch.open();
        let listed = repository.files(&repository.commit(root).unwrap(), 2).unwrap();
        assert_eq!((listed.listed.len(), listed.count), (2, 6));
        assert_eq!(repository.files(&repository.commit(merge).unwrap(), 2).unwrap(), Files::default());
    }

    #[test]
    fn a_missing_parent_is_an_error_and_a_missing_blob_is_not() {
        let scratch = Scratch::new();
        let root = scratch.commit_of(&tree(&scratch, &[("100644", "a", b"1\n")]), &[], 1, "", b"root");
        let next = scratch.commit_of(&tree(&scratch, &[("100644", "a", b"2\n")]), &[root], 2, "", b"next");
        let repository = scratch.open();
        let (root_commit, next_commit) = (repository.commit(root).unwrap(), repository.commit(next).unwrap());
        scratch.drop_object(scratch.object("blob", b"1\n"));
        let files = repository.files(&root_commit, 10).unwrap();
        assert_eq!((files.count, files.listed[0].added), (1, 0));
        scratch.drop_object(root);
        let missing = scratch.open().files(&next_commit, 10);
        assert!(matches!(missing, Err(Error::Missing { id }) if id == root));
    }

    #[test]
    fn a_frequent_line_among_strange_ones_is_not_matched() {
        let around = "\n".repeat(80);
        let text = |strange: usize, word: &str| {
            let words = (0..strange).map(|number| format!("{word}{number}\n")).collect::<String>();
            let (head, tail) = words.split_at(words.len() / strange * (strange / 2));
            Box::leak(format!("{around}{head}\n{tail}{around}").into_boxed_str()).as_bytes()
        };
        for (strange, lines) in [(2, 2), (6, 6), (8, 9), (10, 11)] {
            check(
                &[("100644", "a", text(strange, "a"))],
                &[("100644", "a", text(strange, "b"))],
                &[("a", M, lines, lines)],
            );
        }
    }

    #[test]
    fn figures_are_gits_for_text_of_every_sort() {
        // Few different lines make many ways to match them, and frequent ones are what git treats in its own way.
        let scratch = Scratch::new();
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let mut text: Vec<String> = (0..300).map(|_| format!("{}\n", random(40))).collect();
        let mut parents = Vec::new();
        for at in 0..300 {
            // Every other commit is small enough to be counted without xdiff.
            let (edits, span) = if at % 2 == 0 { (6, 30) } else { (2, 14) };
            for _ in 0..random(edits) {
                let start = random(text.len() as u64) as usize;
                let end = (start + random(span) as usize).min(text.len());
                let count = random(span);
                let kinds = [1, 5, 500][random(3) as usize];
                text.splice(start..end, (0..count).map(|_| format!("{}\n", random(kinds))).collect::<Vec<_>>());
            }
            let blob = scratch.object("blob", text.concat().as_bytes());
            let tree = scratch.git_with(&["mktree"], format!("100644 blob {blob}\tfile\n").as_bytes());
            parents = vec![scratch.commit_of(&tree, &parents, at, "", b"edit")];
        }
        let log = scratch.git(&["log", "--numstat", "--no-renames", "--format=", &parents[0].to_string()]);
        let repository = scratch.open();
        let walk = repository.walk(&parents, &super::super::Known::nothing(), super::super::Budget::UNBOUNDED).unwrap();
        let listed = walk.commits.iter().flat_map(|commit| repository.files(commit, 10).unwrap().listed);
        let ours: Vec<String> = listed.map(|file| format!("{}\t{}\tfile", file.added, file.removed)).collect();
        assert_eq!(ours, log.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>());
    }
}
