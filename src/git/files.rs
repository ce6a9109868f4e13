//! Which files a commit changed, with the figures that `git log --numstat --no-renames` would print.
//!
//! Two trees are walked side by side over their raw objects, so that a directory both have in common costs nothing, and
//! what was read lately is kept because the parent's tree is the next commit's. Only the files that are listed are read.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use git2::ObjectType;
use memchr::memchr;
use minicbor::{Decode, Encode};

use super::history::{Key, Raw};
use super::lines::count_lines;
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

/// A thread that has opened a repository for itself and reads files there; it ends with this.
pub struct Helper {
    jobs: Sender<Job>,
}

struct Job {
    steps: Vec<Result<Option<Step>, Error>>,
    limit: usize,
    answer: Sender<Vec<Result<Files, Error>>>,
}

impl Helper {
    /// Starts a helper for a repository.
    pub fn of(repository: &Repository) -> Helper {
        let (jobs, todo) = mpsc::channel::<Job>();
        let git_dir = repository.git_dir.clone();
        thread::spawn(move || {
            let repository = Repository::open(&git_dir)?;
            for Job { steps, limit, answer } in todo {
                let files = steps.into_iter().map(|step| repository.between(step, limit)).collect();
                // Nobody may be waiting any more.
                let _ = answer.send(files);
            }
            Ok::<_, Error>(())
        });
        Helper { jobs }
    }

    /// Hands steps over; there is no answer if the repository could not be opened.
    fn ask(&self, steps: Vec<Result<Option<Step>, Error>>, limit: usize) -> Receiver<Vec<Result<Files, Error>>> {
        let (answer, answered) = mpsc::channel();
        let _ = self.jobs.send(Job { steps, limit, answer });
        answered
    }
}

impl Repository {
    /// Lists the first `limit` files a commit changed against its first parent, and counts them all.
    ///
    /// A merge has no list of its own. A blob that is not there, as in a partial clone, counts as a binary one.
    pub fn files(&self, commit: &Commit, limit: usize) -> Result<Files, Error> {
        self.between(self.step(commit), limit)
    }

    /// Lists the files of many commits as [`files`](Self::files) does, in their order.
    ///
    /// A helper, if there is one, does half of it at the same time.
    pub fn files_of(&self, helper: Option<&Helper>, commits: &[&Commit], limit: usize) -> Vec<Result<Files, Error>> {
        // What a commit changed from is what its neighbour changed to, so the halves are not interleaved.
        let (own, others) = commits.split_at(helper.map_or(commits.len(), |_| commits.len() / 2));
        let steps = others.iter().map(|commit| self.step(commit)).collect();
        let asked = helper.map(|helper| helper.ask(steps, limit));
        let mut files: Vec<_> = own.iter().map(|commit| self.files(commit, limit)).collect();
        match asked.and_then(|answer| answer.recv().ok()) {
            Some(answer) => files.extend(answer),
            // Whatever kept the helper from answering, nothing is lost.
            None => files.extend(others.iter().map(|commit| self.files(commit, limit))),
        }
        files
    }

    /// Lists the paths of all files a commit changed against its first parent; a merge has no list of its own.
    pub fn paths(&self, commit: &Commit) -> Result<Vec<Vec<u8>>, Error> {
        let Some(Step { old, new }) = self.step(commit)? else {
            return Ok(Vec::new());
        };
        let new = self.tree(new)?;
        let old = old.map_or_else(|| Ok(Arc::default()), |old| self.tree(old))?;
        let (found, _) = self.differences(old, new, usize::MAX)?;
        Ok(found.into_iter().map(|difference| difference.path).collect())
    }

    /// Finds the trees a commit leads from and to; nothing for a merge.
    fn step(&self, commit: &Commit) -> Result<Option<Step>, Error> {
        if commit.is_merge() {
            return Ok(None);
        }
        let new = self.tree_of(commit.id)?;
        let old = commit.parents.first().map(|&parent| self.tree_of(parent)).transpose()?;
        Ok(Some(Step { old, new }))
    }

    fn between(&self, step: Result<Option<Step>, Error>, limit: usize) -> Result<Files, Error> {
        let Some(Step { old, new }) = step? else {
            return Ok(Files::default());
        };
        let new = self.tree(new)?;
        let old = old.map_or_else(|| Ok(Arc::default()), |old| self.tree(old))?;
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
        let tree = Raw::parse(&object.content).ok_or(Error::NotACommit { id: commit })?.tree;
        self.trees.borrow_mut().put(Key::of(commit), tree, 0);
        Ok(tree)
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
        if let Some(object) = self.remembered(id) {
            return Ok((object.kind == kind).then_some(object.content));
        }
        // What comes out of packs is kept there.
        if let Some(object) = self.packed(id) {
            return Ok((object.kind == kind).then_some(object.content));
        }
        if let Some(content) = self.recent.borrow_mut().get(&Key::of(id)) {
            return Ok(Some(content));
        }
        if kind == ObjectType::Blob && !self.is_small(id) {
            return Ok(None);
        }
        let Some(object) = self.stored(id)?.filter(|object| object.kind == kind) else {
            return Ok(None);
        };
        self.remember(id, &object);
        let content = object.content;
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
        // What takes little room unpacks to a thousand times as much at most, and to look is less than to unpack its header.
        if self.loose_size(id).is_some_and(|size| size <= LARGE as u64 / SHRINKS) {
            return true;
        }
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
/// How many bytes one byte of what is compressed stands for at most.
const SHRINKS: u64 = 1032;

/// The tree before a commit, if there was one, and its own.
struct Step {
    old: Option<Oid>,
    new: Oid,
}

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

fn is_empty_tree(id: Oid) -> bool {
    let id = id.to_string();
    id == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        || id == "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
}

/// Tells what git would call binary: a zero in the first 8,000 bytes.
fn is_binary(bytes: &[u8]) -> bool {
    memchr(0, &bytes[..bytes.len().min(8000)]).is_some()
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
    fn a_helper_changes_nothing_but_the_time() {
        let scratch = Scratch::new();
        let mut commits = Vec::new();
        for at in 0..9 {
            let text = "x\n".repeat(at + 1);
            let tree = tree(&scratch, &[("100644", "a", text.as_bytes().to_vec().leak())]);
            let parents: Vec<Oid> = commits.last().copied().into_iter().collect();
            commits.push(scratch.commit_of(&tree, &parents, at as i64, "", b"edit"));
        }
        let repository = scratch.open();
        let commits: Vec<Commit> = commits.into_iter().map(|id| repository.commit(id).unwrap()).collect();
        let commits: Vec<&Commit> = commits.iter().collect();
        let list = |helper: Option<&Helper>| -> Vec<Files> {
            repository.files_of(helper, &commits, 10).into_iter().map(Result::unwrap).collect()
        };
        let (alone, helper) = (list(None), Helper::of(&repository));
        assert!(alone.iter().all(|files| files.count == 1 && files.listed[0].added == 1));
        assert_eq!(list(Some(&helper)), alone);
        assert_eq!(list(Some(&helper)), alone);
        // Nor does one that cannot do its part.
        let gone = Scratch::new().open();
        assert_eq!(list(Some(&Helper::of(&gone))), alone);
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
