//! Hooks of a developer's clone.
//!
//! Git has no hook after a push, but a push that succeeded moves the remote-tracking ref. So
//! `pre-push` notes what is about to be pushed, and `reference-transaction` recognises it when the
//! ref moves (`hooks.md` 2.1). What was never pushed, or was refused, never leaves the clone; nor does anything where
//! the server itself tells Jira of pushes.

use std::fs;
use std::path::PathBuf;

use crate::git::{Budget, Known, Oid, RefName, Update, branch_of, heard, is_tracking};
use crate::host;

use super::Hook;

/// One ref on its way to a remote.
struct Pushing {
    remote: String,
    update: Update,
}

impl Hook {
    /// Notes what is about to be pushed; lines are `local-ref local-id remote-ref remote-id`.
    pub(super) fn pre_push(&self, stdin: &[u8], remote: &str) -> anyhow::Result<Vec<String>> {
        if self.is_served() {
            let _ = fs::remove_file(self.pushing_file());
            return Ok(Vec::new());
        }
        let lines = stdin.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let noted: Vec<Vec<u8>> = lines.filter_map(|line| note(line, remote)).collect();
        fs::create_dir_all(self.git_dir.join("agent"))?;
        fs::write(self.pushing_file(), noted.concat())?;
        Ok(Vec::new())
    }

    /// Recognises pushes that succeeded by the remote-tracking refs they moved.
    pub(super) fn reference_transaction(&self, stdin: &[u8], state: &str) -> anyhow::Result<Vec<String>> {
        if state != "committed" {
            return Ok(Vec::new());
        }
        let Ok(text) = fs::read(self.pushing_file()) else {
            return Ok(Vec::new());
        };
        if self.is_served() {
            fs::remove_file(self.pushing_file())?;
            return Ok(Vec::new());
        }
        let moved = crate::git::updates(stdin)?;
        let (done, open): (Vec<_>, Vec<_>) = text.split_inclusive(|byte| *byte == b'\n').partition(|line| {
            pushing(line).is_some_and(|pushing| moved.iter().any(|update| confirms(update, &pushing)))
        });
        if done.is_empty() {
            return Ok(Vec::new());
        }
        match open.is_empty() {
            true => fs::remove_file(self.pushing_file())?,
            false => fs::write(self.pushing_file(), open.concat())?,
        }
        let updates = done.iter().filter_map(|line| Some(pushing(line)?.update));
        let updates: Vec<Update> = updates.filter(|update| !self.repository.hides(&update.name)).collect();
        if updates.is_empty() {
            return Ok(Vec::new());
        }
        self.push_from_clone(&updates, &moved)
    }

    /// The commits that no remote-tracking ref reached before: the record of what was pushed.
    fn push_from_clone(&self, updates: &[Update], moved: &[Update]) -> anyhow::Result<Vec<String>> {
        let remotes = self.repository.refs()?.into_iter().filter(|(name, _)| is_tracking(name));
        // Of what a branch that is never sent has, nobody was told.
        let remotes = remotes.filter(|(name, _)| !self.repository.hides(&branch_of(name)));
        let others = remotes.filter(|(name, _)| !moved.iter().any(|update| update.name == *name)).map(|(_, id)| id);
        let known = Known::new(others.chain(updates.iter().filter_map(|update| update.old)));
        let budget = Budget { commits: self.config.hook.commits, until: Some(self.until()) };
        // Whoever looks for pushes that no hook told of passes these over.
        let told = || {
            for update in moved.iter().filter(|update| update.name.as_bytes().starts_with(b"refs/remotes/")) {
                let _ = heard(&self.git_dir, &update.name, update.new);
            }
        };
        self.hand_over(updates, &known, budget, told)
    }

    /// Whether the server tells Jira of what is pushed to it, so that the clone has nothing to tell.
    fn is_served(&self) -> bool {
        host::is_served(&self.repository, self.config.account_of(&self.git_dir))
    }

    fn pushing_file(&self) -> PathBuf {
        self.git_dir.join("agent/pushing")
    }
}

/// The new id, the remote ref and the old id of a line. The local side may be any expression, with blanks in it.
pub(super) fn going_out(line: &[u8]) -> Option<[&[u8]; 3]> {
    let mut words = line.rsplitn(4, |byte| *byte == b' ');
    let (old, name, new) = (words.next()?, words.next()?, words.next()?);
    words.next().map(|_local| [new, name, old])
}

fn note(line: &[u8], remote: &str) -> Option<Vec<u8>> {
    let [new, name, old] = going_out(line)?;
    Some([remote.as_bytes(), old, new, name].join(&b' ').into_iter().chain(*b"\n").collect())
}

fn pushing(line: &[u8]) -> Option<Pushing> {
    let mut words = line.trim_ascii_end().splitn(4, |byte| *byte == b' ');
    let remote = String::from_utf8(words.next()?.to_vec()).ok()?;
    let mut id = || Some(Oid::from_hex(words.next()?)?).map(|id| if id.is_zero() { None } else { Some(id) });
    let (old, new) = (id()?, id()?);
    Some(Pushing { remote, update: Update { name: RefName::new(words.next()?), old, new } })
}

/// Whether a moved ref is the remote-tracking ref of a branch being pushed, at the pushed commit.
fn confirms(moved: &Update, pushing: &Pushing) -> bool {
    let tracking = [b"refs/remotes/", pushing.remote.as_bytes(), b"/", pushing.update.name.short()].concat();
    pushing.update.name.is_branch() && moved.name.as_bytes() == tracking && moved.new == pushing.update.new
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "1111111111111111111111111111111111111111";
    const NONE: &str = "0000000000000000000000000000000000000000";

    #[track_caller]
    fn check(tracking: &str, id: &str, confirmed: bool) {
        let line = note(format!("refs/heads/a {NEW} refs/heads/b/c {NONE}").as_bytes(), "origin").unwrap();
        let pushing = pushing(&line).unwrap();
        assert_eq!(pushing.update.old, None);
        let moved = crate::git::updates(format!("{NONE} {id} {tracking}\n").as_bytes()).unwrap();
        assert_eq!(confirms(&moved[0], &pushing), confirmed);
    }

    #[test]
    fn a_push_is_known_by_its_line_whatever_was_typed_for_its_local_side() {
        let line = format!("HEAD^{{/fix it}} {NEW} refs/heads/b {NONE}");
        assert_eq!(going_out(line.as_bytes()).unwrap(), [NEW.as_bytes(), b"refs/heads/b", NONE.as_bytes()]);
        assert_eq!((going_out(b""), going_out(b"a b c")), (None, None));
    }

    #[test]
    fn only_the_tracking_ref_at_the_pushed_commit_confirms_a_push() {
        check("refs/remotes/origin/b/c", NEW, true);
        check("refs/remotes/origin/b/c", "2222222222222222222222222222222222222222", false);
        check("refs/remotes/other/b/c", NEW, false);
        check("refs/heads/b/c", NEW, false);
    }
}
