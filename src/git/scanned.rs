//! Where the refs of a repository were when its owner last compared them: the small file `agent/scanned`.
//!
//! Only where the daemon may not read, somebody else has to see what moved behind the hooks' back. The file is a line with
//! a number that grows with each comparison that found something, and a line a ref. It is written after what was found was handed over,
//! so a comparison that was cut off finds the same again, under the same number.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use super::told::belong;
use super::{Error, Oid, RefName, Repository, Told, Update};

/// What a comparison goes by, and what it finds.
#[derive(Debug)]
pub struct Scanned {
    /// The number of this comparison.
    pub number: i64,
    /// Where refs are now that were elsewhere, or nowhere; and those that are gone.
    pub moved: Vec<Update>,
    refs: Vec<(RefName, Oid)>,
    /// Nothing is remembered yet.
    first: bool,
}

const TITLE: &str = "git-jira-agent scanned 1 ";

impl Scanned {
    /// Compares the refs of a repository with where they were; `now` is for one that was never compared.
    ///
    /// Where each was before is not said: of pushes in between only the daemon knows.
    pub fn of(repository: &Repository, now: i64) -> Result<Scanned, Error> {
        let refs: Vec<(RefName, Oid)> =
            repository.refs()?.into_iter().filter(|(name, _)| super::concerns_us(name)).collect();
        let last = load(repository);
        let first = last.is_none();
        let (number, before) = last.unwrap_or_else(|| (now, believed(repository, &refs)));
        let at: HashMap<&RefName, Oid> = refs.iter().map(|(name, id)| (name, *id)).collect();
        let here = refs.iter().filter(|(name, id)| before.get(name) != Some(id));
        let here = here.map(|(name, id)| Update { name: name.clone(), old: None, new: Some(*id) });
        let gone = before.keys().filter(|name| !at.contains_key(name));
        let mut moved: Vec<Update> =
            here.chain(gone.map(|name| Update { name: name.clone(), old: None, new: None })).collect();
        moved.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(Scanned { number, moved, refs, first })
    }

    /// Leaves out what moved once more since: its own push tells of it, or the next comparison.
    pub fn settle(&mut self, repository: &Repository) -> Result<(), Error> {
        let now: HashMap<RefName, Oid> = repository.refs()?.into_iter().collect();
        self.moved.retain(|update| now.get(&update.name).copied() == update.new);
        let nowhere = |id: &Oid| Oid::from_bytes(&vec![0; id.as_bytes().len()]).expect("as long as another");
        // It stays in mind under a place where nothing is: whether it goes on or goes away, it is found.
        let restless = self.refs.iter_mut().filter(|(name, id)| now.get(name) != Some(id));
        restless.for_each(|(_, id)| *id = nowhere(id));
        Ok(())
    }

    /// Remembers where the refs are: all that moved was handed over.
    pub fn remember(&self, repository: &Repository) -> Result<(), Error> {
        if self.moved.is_empty() && !self.first {
            return Ok(());
        }
        let path = path(repository);
        let folder = path.parent().expect("the file lies in a folder");
        let put = || -> std::io::Result<()> {
            let model = fs::metadata(repository.common_dir())?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            writeln!(file, "{TITLE}{}", self.number + 1)?;
            for (name, id) in &self.refs {
                file.write_all(&[id.to_string().as_bytes(), b" ", name.as_bytes(), b"\n"].concat())?;
            }
            file.as_file().sync_all()?;
            belong(file.path(), &model, std::os::unix::fs::MetadataExt::mode(&model) & 0o666)?;
            file.persist(&path).map(drop).map_err(|error| error.error)
        };
        put().map_err(|source| Error::Io { path: path.clone(), source })
    }
}

/// The number of the next comparison, and where the refs were at the last.
fn load(repository: &Repository) -> Option<(i64, HashMap<RefName, Oid>)> {
    let bytes = fs::read(path(repository)).ok()?;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let number = std::str::from_utf8(lines.next()?).ok()?.strip_prefix(TITLE)?.parse().ok()?;
    let refs = lines.filter(|line| !line.is_empty()).map(|line| {
        let at = line.iter().position(|byte| *byte == b' ')?;
        Some((RefName::new(&line[at + 1..]), Oid::from_hex(&line[..at])?))
    });
    Some((number, refs.collect::<Option<_>>()?))
}

/// Where the refs are believed to have been before the first comparison: where they were when the hooks were put in, else
/// what was told of.
fn believed(repository: &Repository, refs: &[(RefName, Oid)]) -> HashMap<RefName, Oid> {
    let told = Told::of(repository);
    let _ = told.begin(&[]);
    match told.baseline(refs) {
        Some(baseline) => baseline.into_iter().collect(),
        None => {
            let known = told.known(&[]);
            refs.iter().filter(|(_, id)| known.contains(*id)).cloned().collect()
        }
    }
}

fn path(repository: &Repository) -> PathBuf {
    repository.common_dir().join("agent").join("scanned")
}

#[cfg(test)]
mod tests {
    use super::super::tests::Scratch;
    use super::*;

    #[test]
    fn c19_a_comparison_that_was_cut_off_finds_the_same_again_and_one_that_was_not_finds_nothing() {
        let scratch = Scratch::new();
        let repository = scratch.open();
        Told::of(&repository).begin(&[]).unwrap();
        let names = |scanned: &Scanned| {
            let name = |update: &Update| (update.name.to_string(), update.new.is_some());
            scanned.moved.iter().map(name).collect::<Vec<_>>()
        };
        let commit = scratch.commit(&[], 1_700_000_000, "ABC-1").to_string();
        for name in ["refs/heads/main", "refs/heads/side"] {
            scratch.git(&["update-ref", name, &commit]);
        }
        let first = Scanned::of(&repository, 7).unwrap();
        assert_eq!((first.number, first.moved.len()), (7, 2));
        let again = Scanned::of(&repository, 7).unwrap();
        assert_eq!((again.number, names(&again)), (7, names(&first)));
        again.remember(&repository).unwrap();
        let none = Scanned::of(&repository, 9).unwrap();
        assert_eq!((none.number, none.moved.len()), (8, 0));
        scratch.git(&["branch", "-D", "side"]);
        let gone = Scanned::of(&repository, 9).unwrap();
        assert_eq!(names(&gone), [("refs/heads/side".to_owned(), false)]);
        // What moves while it is looked at is not told as it was.
        scratch.git(&["update-ref", "refs/heads/side", &commit]);
        let mut settled = gone;
        settled.settle(&repository).unwrap();
        assert!(settled.moved.is_empty());
        fs::write(path(&repository), "no such file").unwrap();
        assert_eq!(Scanned::of(&repository, 9).unwrap().number, 9);
    }
}
