//! The hooks of a commit: whether the agent has anything to say of a message.
//!
//! What has no `#` and no hyphen before a digit asks nothing of Jira, and where no policy holds nothing is to be said of it.
//! The agent notes that none does (`agent/plain`), and by which configuration; once that changes it is asked again, and so it is
//! where a team's file counts, or where no keys are put in and Git's configuration has changed since somebody wanted that.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;
use core::time::Duration;

use git_jira_agent_hook::call::{Call, Called, Hook};
use git_jira_agent_hook::frame;
use rustix::fs::{AtFlags, CWD, Stat};

use crate::agent;
use crate::place::Place;
use crate::process::{self, Moment, Process};
use crate::socket;

/// The longest message that is looked at here.
const MESSAGE: usize = 16 << 10;
/// The longest name of a file.
const NAME: usize = 4 << 10;
/// How long the daemon is waited for.
const PATIENCE: Duration = Duration::from_millis(60);
/// What a comment may begin with, where somebody has Git take comments out of every message.
const COMMENTS: &[u8] = b"#;@!$%^&|:";

pub fn run(process: &Process, hook: &[u8], arguments: &[&[u8]]) -> i32 {
    let is_done = match hook {
        b"commit-msg" => arguments.first().is_some_and(|path| committed(process, path).is_some()),
        _ => gets_no_key(process, arguments.get(1).copied().unwrap_or_default()),
    };
    if is_done { 0 } else { agent::guarded(process, hook, arguments, None) }
}

/// Only a message that somebody begins gets a key, and only on a branch whose name may have one. A rebase, which runs this hook
/// for every commit, is on no branch. With reftable the file does not tell.
fn gets_no_key(process: &Process, source: &[u8]) -> bool {
    if !matches!(source, b"" | b"message") {
        return true;
    }
    let head = || {
        let git_dir = process::folder(CWD, process.said("GIT_DIR").unwrap_or(b".git")).ok()?;
        process::read_file(&git_dir, b"HEAD", NAME)
    };
    let Some(head) = head() else { return true };
    let may_have_key = head.windows(2).any(|pair| pair[0] == b'-' && matches!(pair[1], b'1'..=b'9'));
    !may_have_key && !head.trim_ascii_end().ends_with(b".invalid")
}

/// Says what there is to say of a message; `None` where that takes the agent.
fn committed(process: &Process, path: &[u8]) -> Option<()> {
    let place = plain(process)?;
    let message = process::read_file(CWD, path, MESSAGE).filter(|message| message.len() < MESSAGE)?;
    if asks_nothing(&message) { Some(()) } else { ask(process, &place, message) }
}

/// The clone, where no policy holds and nobody has changed anything since that was noted.
fn plain(process: &Process) -> Option<Place> {
    const MARK: &str = "plain";
    let place = Place::committed_in(process, MARK)?;
    if place.has("trusted") && rustix::fs::access(".agent.toml", rustix::fs::Access::EXISTS).is_ok() {
        return None;
    }
    if let Some(unwanted) = place.stat("prepare-commit-msg")
        && place.stat("../config").is_none_or(|config| is_newer(&config, &unwanted))
    {
        return None;
    }
    let text = place.read(MARK, NAME)?;
    let noted = text.split(|&byte| byte == b'\n').next()?;
    if process.said("GIT_JIRA_AGENT_CONFIG").is_some_and(|config| config != noted) {
        return None;
    }
    let config = rustix::fs::statat(CWD, noted, AtFlags::empty()).ok()?;
    is_newer(&place.stat(MARK)?, &config).then_some(place)
}

fn asks_nothing(message: &[u8]) -> bool {
    !message.contains(&b'#') && !message.windows(2).any(|pair| pair[0] == b'-' && pair[1].is_ascii_digit())
}

/// Has the daemon read a message that is as it will be: nobody sees it in an editor, and none of its lines may be a comment.
fn ask(process: &Process, place: &Place, message: Vec<u8>) -> Option<()> {
    let may_have_comments =
        message.split(|&byte| byte == b'\n').any(|line| line.first().is_some_and(|first| COMMENTS.contains(first)));
    if process.variable("GIT_EDITOR") != Some(b":") || may_have_comments || process.has_preloads() {
        return None;
    }
    let door = place.link("door")?;
    let call = Call {
        id: [0; 16],
        hook: Hook::CommitMsg,
        git_dir: place.path.clone(),
        stdin: message,
        claims: Vec::new(),
        push_options: Vec::new(),
        config: process.variable("GIT_JIRA_AGENT_CONFIG").unwrap_or_default().to_owned(),
        at: process::now(),
    };
    let frame = frame::wrap_as(frame::CALL, &minicbor::to_vec(&call).ok()?).ok()?;
    let deadline = Moment::now().after(PATIENCE);
    let heard = socket::offer(&door, &frame, deadline).and_then(|socket| socket::heard(&socket, deadline));
    let Ok(Called::Done { lines, .. }) = heard else { return None };
    place.note_fired(b"commit-msg");
    process::say(&lines);
    Some(())
}

fn is_newer(one: &Stat, other: &Stat) -> bool {
    (one.st_mtime, one.st_mtime_nsec) > (other.st_mtime, other.st_mtime_nsec)
}
