//! Hooks of a developer's clone.
//!
//! Git has no hook after a push, but a push that succeeded moves the remote-tracking ref. So
//! `pre-push` notes what is about to be pushed, and `reference-transaction` recognises it when the
//! ref moves. While such a note is there, and no longer, that hook stands among the others. What was never pushed, or was refused, never leaves the clone; nor does anything where
//! the server itself tells Jira of pushes.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};

use crate::git::{Budget, Known, Oid, RefName, Update, branch_of, heard, is_tracking};
use crate::host::{self, Confirming};

use super::Hook;

/// What is noted of a push under way: first `by` and the process that pushes, where it is known, then a line for each branch.
struct Note {
    by: Option<Pid>,
    lines: Vec<Vec<u8>>,
    age: Duration,
}

/// After which time a push is not waited for any more whose process is not known.
const LONGEST: Duration = Duration::from_secs(3600);

/// One ref on its way to a remote.
struct Pushing {
    remote: String,
    update: Update,
}

impl Hook {
    /// Notes what is about to be pushed; lines are `local-ref local-id remote-ref remote-id`.
    pub(super) fn pre_push(&self, stdin: &[u8], remote: &str) -> anyhow::Result<Vec<String>> {
        let lines = stdin.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lines: Vec<Vec<u8>> = lines.filter_map(|line| note(line, remote)).collect();
        let confirming = Confirming::lock(&self.git_dir)?;
        if self.is_served() || lines.is_empty() {
            return self.forget_push(&confirming).map(|()| Vec::new());
        }
        fs::create_dir_all(self.git_dir.join("agent"))?;
        Note { by: host::pusher(), lines, age: Duration::ZERO }.write(&self.pushing_file())?;
        confirming.begin()?;
        Ok(Vec::new())
    }

    /// Recognises pushes that succeeded by the remote-tracking refs they moved.
    pub(super) fn reference_transaction(&self, stdin: &[u8], arguments: &[OsString]) -> anyhow::Result<Vec<String>> {
        if arguments.first().is_none_or(|state| state != "committed") {
            return Ok(Vec::new());
        }
        // The shim may have read the first line of the input.
        let first = arguments.get(1).map(|line| [line.as_bytes(), b"\n"].concat()).unwrap_or_default();
        let moved = crate::git::updates(&[&first, stdin].concat())?;
        let done = self.confirmed(&moved)?;
        let updates = done.iter().filter_map(|line| Some(pushing(line)?.update));
        let updates: Vec<Update> = updates.filter(|update| !self.repository.hides(&update.name)).collect();
        if updates.is_empty() {
            return Ok(Vec::new());
        }
        self.push_from_clone(&updates, &moved)
    }

    /// Takes from the note what these refs confirm.
    fn confirmed(&self, moved: &[Update]) -> anyhow::Result<Vec<Vec<u8>>> {
        let confirming = Confirming::lock(&self.git_dir)?;
        let Some(note) = Note::read(&self.pushing_file()) else { return Ok(Vec::new()) };
        if self.is_served() {
            return self.forget_push(&confirming).map(|()| Vec::new());
        }
        let is_over = note.is_over();
        let (done, open): (Vec<_>, Vec<_>) = note.lines.into_iter().partition(|line| {
            pushing(line).is_some_and(|pushing| moved.iter().any(|update| confirms(update, &pushing)))
        });
        // A note that stays has a push told twice, which is harmless.
        if open.is_empty() || is_over {
            let _ = self.forget_push(&confirming);
        } else if !done.is_empty() {
            let _ = Note { lines: open, ..note }.write(&self.pushing_file());
        }
        Ok(done)
    }

    /// Forgets a push of which nothing more will be heard, as one that was refused.
    pub(super) fn forget_ended_push(&self) {
        if Note::read(&self.pushing_file()).is_some_and(|note| note.is_over())
            && let Ok(confirming) = Confirming::lock(&self.git_dir)
            && Note::read(&self.pushing_file()).is_some_and(|note| note.is_over())
        {
            let _ = self.forget_push(&confirming);
        }
    }

    /// Ends the waiting for a push. Where the hook that waits cannot go yet, what is left of the note has it looked at again.
    fn forget_push(&self, confirming: &Confirming) -> anyhow::Result<()> {
        let file = self.pushing_file();
        if !confirming.end()? {
            let by = Note::read(&file).and_then(|note| note.by);
            return Ok(Note { by, lines: Vec::new(), age: Duration::ZERO }.write(&file)?);
        }
        match fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
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

impl Note {
    fn read(path: &Path) -> Option<Note> {
        let text = fs::read(path).ok()?;
        let age = fs::metadata(path).ok()?.modified().ok()?.elapsed().unwrap_or_default();
        let mut lines: Vec<Vec<u8>> = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let by = lines.first().and_then(|line| line.strip_prefix(b"by "));
        let by = by.and_then(|pid| std::str::from_utf8(pid).ok()?.trim_end().parse().ok()).and_then(Pid::from_raw);
        if by.is_some() {
            lines.remove(0);
        }
        Some(Note { by, lines, age })
    }

    /// Writes it whole or not at all.
    fn write(&self, path: &Path) -> std::io::Result<()> {
        let by = self.by.map(|by| format!("by {}\n", by.as_raw_pid())).unwrap_or_default();
        super::replace(path, &[by.as_bytes(), &self.lines.concat()].concat())
    }

    /// Whether nothing more will be heard of the push.
    fn is_over(&self) -> bool {
        let is_gone = self.by.is_some_and(|by| test_kill_process(by).is_err());
        self.lines.is_empty() || is_gone || self.age > LONGEST
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
    // Nothing tells of the others that they arrived.
    if !RefName::new(name).is_branch() {
        return None;
    }
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
