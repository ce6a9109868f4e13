//! Pushes of a clone of which no hook told, read off Git's own logs of the remote-tracking refs.
//!
//! Whoever pushes from a clone, with `--no-verify`, out of a window or through a library, moves the remote-tracking ref and
//! notes in its log that a push did it; a fetch notes other words. So what the person pushed is told from what others pushed
//! and they fetched. The file `agent/pushed` has a line for each push that was heard of: where the ref went, and its name.
//! Hooks append to it, and whoever looks for pushes nobody told of. A line that gets lost has a push told twice, which is harmless.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Oid, RefName, Repository, Update};

/// A push of which nobody heard.
#[derive(Debug, PartialEq, Eq)]
pub struct Pushed {
    pub tracking: RefName,
    /// What it did to the branch at the remote.
    pub update: Update,
    /// When, in seconds since the epoch.
    pub at: i64,
    /// Where the other remote-tracking refs were at that moment.
    pub others: Vec<Oid>,
}

/// One line of a ref's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    old: Option<Oid>,
    new: Option<Oid>,
    at: i64,
    push: bool,
}

/// The longest log that is read; what is longer is nobody's remote-tracking ref.
const LONGEST: u64 = 16 << 20;
/// When the file is written anew without what no log tells any more.
const MANY: usize = 64 << 10;

/// Notes that a push is heard of.
pub fn heard(common_dir: &Path, tracking: &RefName, new: Option<Oid>) -> std::io::Result<()> {
    let Some(new) = new else { return Ok(()) };
    let mut file = OpenOptions::new().create(true).append(true).open(path(common_dir))?;
    file.write_all(&line(tracking, &new))
}

/// Finds the pushes since a moment that nobody told of and that are over since another, the oldest first.
pub fn unheard(repository: &Repository, since: i64, until: i64) -> std::io::Result<Vec<Pushed>> {
    let folder = repository.common_dir().join("logs/refs/remotes");
    let mut logs = BTreeMap::new();
    read_below(&folder, b"refs/remotes", &mut logs)?;
    let text = match fs::read(path(repository.common_dir())) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        text => text?,
    };
    let heard: HashSet<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let mut pushes = Vec::new();
    for (tracking, entries) in &logs {
        let told = |entry: &Entry| entry.new.is_none_or(|new| heard.contains(&line(tracking, &new)[..]));
        let back = entries.iter().rev().filter(|entry| entry.push);
        let new: Vec<&Entry> = back.take_while(|entry| entry.at >= since && !told(entry)).collect();
        let (Some(last), Some(first)) = (new.first(), new.last()) else { continue };
        if last.at > until {
            continue;
        }
        let update = Update { name: branch_of(tracking), old: first.old, new: last.new };
        pushes.push(Pushed { tracking: tracking.clone(), update, at: last.at, others: Vec::new() });
    }
    pushes.sort_by_key(|push| push.at);
    if text.len() > MANY {
        let last = |(tracking, entries): (&RefName, &Vec<Entry>)| {
            let mut kept = entries.iter().filter_map(|entry| Some(line(tracking, &entry.new.filter(|_| entry.push)?)));
            kept.rfind(|line| heard.contains(&line[..]))
        };
        let kept: Vec<Vec<u8>> = logs.iter().filter_map(last).collect();
        fs::write(path(repository.common_dir()), kept.concat())?;
    }
    if !pushes.is_empty() {
        let refs = repository.refs().unwrap_or_default();
        for push in &mut pushes {
            push.others = then(&logs, &refs, &push.tracking, push.at);
        }
    }
    Ok(pushes)
}

/// The branch at the remote that a remote-tracking ref follows, where the remote's name has no `/`.
pub fn branch_of(tracking: &RefName) -> RefName {
    let below = tracking.as_bytes().strip_prefix(b"refs/remotes/").unwrap_or_default();
    let at = below.iter().position(|byte| *byte == b'/').map_or(below.len(), |at| at + 1);
    RefName::new([b"refs/heads/", &below[at..]].concat())
}

/// Whether a ref follows a branch at a remote. `refs/remotes/origin/HEAD` stands for another one, and moves with it.
pub fn is_tracking(name: &RefName) -> bool {
    name.as_bytes().starts_with(b"refs/remotes/") && !name.as_bytes().ends_with(b"/HEAD")
}

/// Where the remote-tracking refs but one were at a moment: as their logs say, else where they are.
fn then(logs: &BTreeMap<RefName, Vec<Entry>>, refs: &[(RefName, Oid)], but: &RefName, at: i64) -> Vec<Oid> {
    let remotes = refs.iter().filter(|(name, _)| is_tracking(name) && name != but);
    let was = |(name, id): &(RefName, Oid)| match logs.get(name) {
        Some(entries) => entries.iter().rev().find(|entry| entry.at <= at).and_then(|entry| entry.new),
        None => Some(*id),
    };
    remotes.filter_map(was).collect()
}

fn path(common_dir: &Path) -> PathBuf {
    common_dir.join("agent/pushed")
}

fn line(tracking: &RefName, new: &Oid) -> Vec<u8> {
    [new.to_string().as_bytes(), b" ", tracking.as_bytes(), b"\n"].concat()
}

/// Reads the logs of all refs below a folder; with refs in tables there are none.
fn read_below(folder: &Path, name: &[u8], logs: &mut BTreeMap<RefName, Vec<Entry>>) -> std::io::Result<()> {
    let listed = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        listed => listed?,
    };
    for entry in listed {
        let entry = entry?;
        let name = [name, b"/", entry.file_name().as_bytes()].concat();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            read_below(&entry.path(), &name, logs)?;
        } else if kind.is_file() && entry.metadata()?.len() <= LONGEST {
            let text = fs::read(entry.path())?;
            let entries = text.split(|byte| *byte == b'\n').filter_map(read).collect();
            logs.insert(RefName::new(name), entries);
        }
    }
    Ok(())
}

fn read(line: &[u8]) -> Option<Entry> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let (head, message) = (&line[..tab], line[tab + 1..].trim_ascii());
    let mut words = head.splitn(3, |byte| *byte == b' ');
    let mut id = || Some(Oid::from_hex(words.next()?)?).map(|id| Some(id).filter(|id| !id.is_zero()));
    let (old, new) = (id()?, id()?);
    let at = std::str::from_utf8(head.rsplit(|byte| *byte == b' ').nth(1)?).ok()?.parse().ok()?;
    // The words of Git and libgit2, and that of JGit.
    Some(Entry { old, new, at, push: matches!(message, b"update by push" | b"push") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "1111111111111111111111111111111111111111";
    const NONE: &str = "0000000000000000000000000000000000000000";

    #[track_caller]
    fn check(message: &str, push: bool) {
        let line = format!("{NONE} {A} Ann <b> C <ann@example.org> 1700000000 +0100\t{message}");
        let entry = Entry { old: None, new: Oid::from_hex(A.as_bytes()), at: 1_700_000_000, push };
        assert_eq!(read(line.as_bytes()), Some(entry));
    }

    #[test]
    fn c3_a_ref_that_stands_for_a_branch_at_the_remote_was_not_there_before_it() {
        let id = |digit: u8| Oid::from_bytes(&[digit; 20]).unwrap();
        let refs = [("origin/HEAD", 2), ("origin/main", 2), ("origin/other", 1), ("x/HEAD/y", 3)];
        let refs = refs.map(|(name, digit)| (RefName::new(format!("refs/remotes/{name}")), id(digit)));
        let others = then(&BTreeMap::new(), &refs, &refs[1].0, 0);
        assert_eq!(others, [id(1), id(3)]);
    }

    #[test]
    fn a_push_is_told_from_a_fetch_by_its_log() {
        check("update by push", true);
        check("push", true);
        check("fetch origin: fast-forward", false);
        check("pull: fast-forward", false);
        check("", false);
        assert_eq!(read(b""), None);
        assert_eq!(read(b"nonsense\tupdate by push"), None);
    }

    #[test]
    fn r9_a_tracking_ref_follows_the_branch_behind_its_remotes_name() {
        let of = |name: &str| branch_of(&RefName::new(name)).to_string();
        assert_eq!(of("refs/remotes/origin/secret/x"), "refs/heads/secret/x");
        assert_eq!(
            (of("refs/remotes/origin"), of("refs/heads/x")),
            ("refs/heads/".to_owned(), "refs/heads/".to_owned())
        );
    }
}
