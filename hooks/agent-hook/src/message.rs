//! The hooks of a commit: whether the agent has anything to say of a message.
//!
//! What has no `#` and no hyphen before a digit asks nothing of Jira, and where no policy holds nothing is to be said of it.
//! The agent notes that none does (`agent/plain`), and by which configuration; once that changes it is asked again, and so it is
//! where a team's file counts, or where no keys are put in and Git's configuration has changed since somebody wanted that. What
//! asks something, and what may get the key of its branch, is read by the daemon where the message is as it will be; but for what is
//! sure by itself ([`sure`]), which most messages are.
//!
//! Git takes time to start each hook, so where that suffices one says all: `commit-msg` lies ready (`agent/commit-msg`), and
//! `prepare-commit-msg` speaks in its stead, or lets it stand: before an editor, where a policy may hold, where no daemon
//! answers. There it is the agent that takes it away again.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use git_jira_agent_hook::call::{Call, Called, Claim, Hook, WHOSE};
use git_jira_agent_hook::{frame, sure};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use crate::agent;
use crate::place::{self, Place};
use crate::process::{self, Moment, Process};
use crate::{rebase, socket};

/// The longest message that is looked at here.
const MESSAGE: usize = 16 << 10;
/// The longest name of a file.
const NAME: usize = 4 << 10;
/// The longest note.
const NOTED: usize = 16 << 10;
/// How long the daemon is waited for.
const PATIENCE: Duration = Duration::from_millis(60);
/// What a comment may begin with, where somebody has Git take comments out of every message.
const COMMENTS: &[u8] = b"#;@!$%^&|:";
/// The mark that no policy holds.
const PLAIN: &str = "plain";
const DRAFTING: &str = "prepare-commit-msg";
const CHECKING: &str = "commit-msg";
/// Files of Git's that are there while it is in the middle of something that makes commits by itself.
const BUSY: [&str; 6] = ["rebase-merge", "rebase-apply", "sequencer", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"];

pub fn run(process: &Process, hook: &[u8], arguments: &[&[u8]]) -> i32 {
    let argument = |number: usize| arguments.get(number).copied().unwrap_or_default();
    let is_done = match hook {
        b"commit-msg" => committed(process, argument(0)),
        _ => prepared(process, argument(0), argument(1)),
    };
    if is_done.is_some() { 0 } else { agent::guarded(process, hook, arguments, None) }
}

/// Puts the key of the branch into a message that gets one. Where `commit-msg` lies ready, says what it would say of a message that is
/// as it will be; any other lets that hook stand, and Git finds it. `None` where that takes the agent.
fn prepared(process: &Process, path: &[u8], source: &[u8]) -> Option<()> {
    let git_dir = process::folder(CWD, process.said("GIT_DIR").unwrap_or(b".git")).ok();
    let in_git_dir = |name: &str| git_dir.as_ref().is_some_and(|git_dir| place::has(git_dir, name.as_bytes()));
    let head = git_dir.as_ref().and_then(|git_dir| branch_of(git_dir, source));
    let head = head.filter(|_| !BUSY.iter().any(|name| in_git_dir(name)));
    let place = Place::committed_in(process, CHECKING).or_else(|| Place::committed_in(process, PLAIN));
    let Some(place) = place else { return head.is_none().then_some(()) };
    let checking = beside(process, CHECKING.as_bytes());
    let lies_ready = place.has(CHECKING);
    let speaks = lies_ready && checking.as_ref().is_some_and(|path| !place::has(CWD, path));
    let short = || {
        // A rebase makes one of its commits, of which Git asks nothing else; not one of which a person writes the message anew.
        if is_unedited(process) && in_git_dir("rebase-merge/author-script") && !in_git_dir("REBASE_HEAD") {
            if let (Some(git_dir), Some(checking)) = (&git_dir, &checking)
                && rebase::is_long(&place, git_dir)
                && (!lies_ready || place.lend(CHECKING, checking).is_some())
            {
                rebase::stand_aside(&place, git_dir, checking.strip_suffix(CHECKING.as_bytes())?, DRAFTING);
            }
            return Some(());
        }
        let message = read(path).filter(|message| is_plain(process, &place) && is_final(process, message))?;
        if head.is_none() && (!speaks || asks_nothing(&message)) {
            return Some(());
        }
        // A linked worktree may have settings of its own.
        if head.is_some() && in_git_dir("commondir") && in_git_dir("config.worktree") {
            return None;
        }
        // Of what was picked Git does not ask the other hook, unless somebody ends it by a commit.
        if in_git_dir("CHERRY_PICK_HEAD") {
            return None;
        }
        let known = || surely(process, &place, &message, head.as_deref());
        let (lines, with_key) = known().or_else(|| ask(process, &place, &message, head.as_deref()))?;
        if !with_key.is_empty() {
            replace(path, &message, &with_key).ok()?;
        }
        place.note_fired(DRAFTING.as_bytes());
        if speaks {
            process::say(&lines);
        }
        Some(())
    };
    if short().is_some() {
        return Some(());
    }
    if lies_ready {
        place.lend(CHECKING, &checking?)?;
    }
    head.is_none().then_some(())
}

/// What HEAD says, where that is a branch whose name may have a key, and somebody begins a message. A rebase, which runs this hook for
/// every commit, is on no branch. With reftable the file does not tell.
fn branch_of(git_dir: &OwnedFd, source: &[u8]) -> Option<Vec<u8>> {
    if !matches!(source, b"" | b"message") {
        return None;
    }
    let head = process::read_file(git_dir, b"HEAD", NAME)?;
    let may_have_key = head.windows(2).any(|pair| pair[0] == b'-' && matches!(pair[1], b'1'..=b'9'));
    (may_have_key || is_elsewhere(&head)).then_some(head)
}

/// Whether HEAD is kept in a table.
fn is_elsewhere(head: &[u8]) -> bool {
    head.trim_ascii_end().ends_with(b".invalid")
}

/// The path of a hook beside this one, where this one is called by the name of a hook.
fn beside(process: &Process, hook: &[u8]) -> Option<Vec<u8>> {
    let called = process.words.first()?;
    let own = crate::name(called);
    process::is_hook(own).then(|| [called.strip_suffix(own).unwrap_or_default(), hook].concat())
}

/// Says what there is to say of a message; `None` where that takes the agent, and so it does where this hook is there only for once.
fn committed(process: &Process, path: &[u8]) -> Option<()> {
    let place = Place::committed_in(process, PLAIN).filter(|place| !place.has(CHECKING))?;
    if !is_plain(process, &place) {
        return None;
    }
    let message = read(path)?;
    if asks_nothing(&message) {
        return Some(());
    }
    if !is_final(process, &message) {
        return None;
    }
    let (lines, _) = surely(process, &place, &message, None).or_else(|| ask(process, &place, &message, None))?;
    place.note_fired(b"commit-msg");
    process::say(&lines);
    Some(())
}

fn read(path: &[u8]) -> Option<Vec<u8>> {
    process::read_file(CWD, path, MESSAGE).filter(|message| message.len() < MESSAGE)
}

/// Whether no policy holds, and nobody has changed anything since that was noted.
fn is_plain(process: &Process, place: &Place) -> bool {
    let is_noted = || {
        let text = place.read(PLAIN, NAME)?;
        let noted = text.split(|&byte| byte == b'\n').next()?;
        let is_other = process.said("GIT_JIRA_AGENT_CONFIG").is_some_and(|config| config != noted);
        let config = rustix::fs::statat(CWD, noted, AtFlags::empty()).ok()?;
        Some(!is_other && is_newer(&place.stat(PLAIN)?, &config))
    };
    let may_have_team = || place.has("trusted") && place::has(CWD, b".agent.toml");
    let may_want_key = || {
        let unwanted = place.stat(DRAFTING)?;
        Some(place.stat("../config").is_none_or(|config| is_newer(&config, &unwanted)))
    };
    !may_have_team() && !may_want_key().unwrap_or(false) && is_noted().unwrap_or(false)
}

fn asks_nothing(message: &[u8]) -> bool {
    !message.contains(&b'#') && !message.windows(2).any(|pair| pair[0] == b'-' && pair[1].is_ascii_digit())
}

/// Whether no editor is used: Git names this one then.
fn is_unedited(process: &Process) -> bool {
    process.variable("GIT_EDITOR") == Some(b":")
}

/// Whether a message is as it will be: nobody sees it in an editor, and none of its lines may be a comment.
fn is_final(process: &Process, message: &[u8]) -> bool {
    let mut lines = message.split(|&byte| byte == b'\n');
    is_unedited(process)
        && !process.has_preloads()
        && lines.all(|line| line.first().is_none_or(|first| !COMMENTS.contains(first)))
}

/// What the daemon would say, where that is sure by what the agent has noted: the projects that are linked, and how a key is put in.
fn surely(process: &Process, place: &Place, message: &[u8], head: Option<&[u8]>) -> Option<(Vec<String>, Vec<u8>)> {
    let noted = place.read(PLAIN, NOTED)?;
    let said = |name: &[u8]| noted.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(name));
    let projects = said(b"projects ")?;
    let links = |key: &[u8]| Some(Vec::from([format!("jira: links {}", core::str::from_utf8(key).ok()?)]));
    if let Some(key) = sure::key_in_message(message, projects) {
        return Some((links(key)?, Vec::new()));
    }
    let key = sure::key_of_branch(head?, projects)?;
    let with_key = sure::with_prefix(message, said(b"prefix ")?, key)?;
    has_settings_of_then(process, place, said(b"home ")?).then_some((links(key)?, with_key))
}

/// Whether nobody has set anything in Git since that was noted, and it is the same person's Git.
fn has_settings_of_then(process: &Process, place: &Place, home: &[u8]) -> bool {
    let Some(noted) = place.stat(PLAIN) else { return false };
    let is_theirs = process.said("HOME") == Some(home) && process.said("XDG_CONFIG_HOME").is_none();
    let own = [place.stat("../config"), place.stat("../config.worktree")];
    let others = [&[home, b"/.gitconfig"].concat(), &[home, b"/.config/git/config"].concat(), &b"/etc/gitconfig"[..]];
    let others = others.map(|path| rustix::fs::stat(path).ok());
    is_theirs && own.iter().chain(&others).flatten().all(|settings| is_newer(&noted, settings))
}

/// Has the daemon read a message, on a branch whose key it may get: what is said of it, and the message with the key if it gets one.
fn ask(process: &Process, place: &Place, message: &[u8], head: Option<&[u8]>) -> Option<(Vec<String>, Vec<u8>)> {
    let door = place.link("door").filter(|_| !head.is_some_and(is_elsewhere))?;
    let claim = |name: &str| Some(Claim { name: name.to_owned(), value: process.variable(name)?.to_owned() });
    let call = Call {
        id: [0; 16],
        hook: if head.is_some() { Hook::PrepareCommitMsg } else { Hook::CommitMsg },
        git_dir: place.path.clone(),
        stdin: message.to_owned(),
        claims: if head.is_some() { WHOSE.into_iter().filter_map(claim).collect() } else { Vec::new() },
        push_options: Vec::new(),
        config: process.variable("GIT_JIRA_AGENT_CONFIG").unwrap_or_default().to_owned(),
        at: process::now(),
        head: head.unwrap_or_default().to_owned(),
    };
    let frame = frame::wrap_as(frame::CALL, &minicbor::to_vec(&call).ok()?).ok()?;
    let deadline = Moment::now().after(PATIENCE);
    let heard = socket::offer(&door, &frame, deadline).and_then(|socket| socket::heard(&socket, deadline));
    match heard {
        Ok(Called::Read { lines, with_key }) => Some((lines, with_key)),
        _ => None,
    }
}

/// Writes a longer message over the one that is there. Where there is no room for it, the shorter one has its own.
fn replace(path: &[u8], shorter: &[u8], longer: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    process::write(&file, longer).inspect_err(|_| {
        let _ = rustix::fs::seek(&file, SeekFrom::Start(0));
        let _ = process::write(&file, shorter);
        let _ = rustix::fs::ftruncate(&file, shorter.len() as u64);
    })
}

fn is_newer(one: &Stat, other: &Stat) -> bool {
    (one.st_mtime, one.st_mtime_nsec) > (other.st_mtime, other.st_mtime_nsec)
}
