//! The hooks of a push, by the short way: the daemon reads, stores and answers.
//!
//! It knows where the daemon listens by a link in the repository, `agent/door`, which the long way leaves behind once it found
//! a daemon that takes the push. A daemon that has answered such a hook told it its drop-box, which is remembered as well
//! (`agent/drop`): where so many push at once that none is answered in time, what Git told is left there as it is, because that many
//! large programs would only make it worse.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use git_jira_agent_hook::call::{
    CLAIMS, Call, Called, Claim, Hook, LONGEST_SSH_USER_AUTH, MOST_PUSH_OPTIONS, PASSED_ON, PushOption, SSH_USER_AUTH,
};
use git_jira_agent_hook::frame;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::rand::GetRandomFlags;
use uuid::Uuid;

use crate::agent::{self, Tried};
use crate::drop_box;
use crate::place::Place;
use crate::process::{self, Moment, Process};
use crate::socket::{self, Failed};

/// How long the daemon is waited for. What is left of the time is enough to leave the call in the drop-box, and for the long way to do
/// the same: where so many push at once, each that is waited for a little longer spares the disk a file.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long a daemon that is busy is left in peace: many that ask again and again would keep it so.
const AGAIN: Duration = Duration::from_millis(40);
/// The longest input that takes the short way; more is the push of a whole mirror.
const INPUT: usize = 256 << 10;

pub fn run(process: &Process, hook: &[u8], arguments: &[&[u8]]) -> i32 {
    let began = Moment::now();
    let which = if hook == b"pre-receive" { Hook::PreReceive } else { Hook::PostReceive };
    let stdin = process::read(process::stdin(), INPUT + 1).unwrap_or_default();
    let id = fresh();
    let mut buffer = [0; 36];
    let tried = Tried { stdin: &stdin, id: id.as_hyphenated().encode_lower(&mut buffer), began };
    let place = Place::pushed_to(process);
    let is_judged = place.as_ref().is_some_and(|place| place.has("policy"));
    if which == Hook::PreReceive && is_judged {
        return agent::guarded(process, hook, arguments, Some(&tried));
    }
    if stdin.len() <= INPUT && place.is_some_and(|place| ask(process, which, &place, id, &tried).is_some()) {
        return 0;
    }
    if which == Hook::PreReceive {
        agent::beside(process, hook, arguments, &tried)
    } else {
        agent::instead(process, hook, arguments, &tried)
    }
}

/// An id that no other event has, ordered by the time of making.
fn fresh() -> Uuid {
    let mut chance = [0; 10];
    let _ = rustix::rand::getrandom(&mut chance, GetRandomFlags::empty());
    uuid::Builder::from_unix_timestamp_millis(process::now().unsigned_abs(), &chance).into_uuid()
}

/// Has the daemon do the work; `None` where it did not.
fn ask(process: &Process, hook: Hook, place: &Place, id: Uuid, tried: &Tried<'_>) -> Option<()> {
    let unusual = process.has_preloads()
        || process.said("GIT_NAMESPACE").is_some()
        || process.variable("BB_IS_DRY_RUN") == Some(b"true")
        || (hook == Hook::PostReceive && process.said("GIT_QUARANTINE_PATH").is_some());
    if unusual {
        return None;
    }
    let push_options = push_options(process);
    if push_options.iter().map(|option| option.0.len()).sum::<usize>() > INPUT {
        return None;
    }
    let door = place.link("door")?;
    // The refs as they are before any moves have to be noted first, which is work for the long way.
    if hook == Hook::PreReceive && !place.has("told") {
        return None;
    }
    let call = Call {
        id: *id.as_bytes(),
        hook,
        git_dir: place.path.clone(),
        stdin: tried.stdin.to_owned(),
        claims: claims(process),
        push_options,
        config: process.variable("GIT_JIRA_AGENT_CONFIG").unwrap_or_default().to_owned(),
        at: process::now(),
        head: Vec::new(),
    };
    let body = minicbor::to_vec(&call).ok()?;
    let frame = frame::wrap_as(frame::CALL, &body).ok()?;
    process.failpoint("hook.before_connect");
    let deadline = tried.began.after(PATIENCE);
    if hook == Hook::PreReceive {
        socket::offer(&door, &frame, deadline).ok()?;
        place.note_fired(b"pre-receive");
        return Some(());
    }
    let (called, connection) = match patiently(process, &door, &frame, deadline) {
        Ok(answer) => answer,
        Err(Failed::TimedOut | Failed::Busy) => {
            drop_box::leave(&place.link("drop")?, tried.id, &frame).ok()?;
            process::say(&["jira: this push is kept for Jira; the daemon has too much to do to read it now"]);
            return Some(());
        }
        Err(Failed::Absent) => return None,
    };
    let Called::Done { lines, news, told, spool } = called else { return None };
    process.failpoint("hook.after_answer");
    place.note(&told, &spool);
    place.note_fired(b"post-receive");
    if process::say(&lines) && news {
        socket::tell(&connection, &[PASSED_ON]);
    }
    Some(())
}

/// Asks again while the daemon is busy and there is time.
fn patiently(process: &Process, door: &[u8], frame: &[u8], deadline: Moment) -> Result<(Called, OwnedFd), Failed> {
    loop {
        let asked = socket::offer(door, frame, deadline).and_then(|connection| {
            process.failpoint("hook.after_write_before_ack");
            Ok((socket::heard(&connection, deadline)?, connection))
        });
        match asked {
            Ok((Called::Busy, _)) | Err(Failed::Busy) if deadline.left() > AGAIN => socket::pause(AGAIN),
            Ok((Called::Busy, _)) => return Err(Failed::Busy),
            other => return other,
        }
    }
}

/// What the environment claims about who pushes.
fn claims(process: &Process) -> Vec<Claim> {
    let claim = |name: &&str| {
        let value = process.variable(name)?;
        // What it names is the file of this very session, and gone afterwards.
        let value = if *name == SSH_USER_AUTH { said_by_ssh(value) } else { value.to_owned() };
        Some(Claim { name: (*name).to_owned(), value })
    };
    CLAIMS.iter().filter_map(claim).collect()
}

/// What the SSH server wrote, and nobody else could have.
fn said_by_ssh(path: &[u8]) -> Vec<u8> {
    let read = || {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        let own = rustix::process::geteuid().as_raw();
        let is_trusted = FileType::from_raw_mode(stat.st_mode).is_file()
            && (stat.st_uid == own || stat.st_uid == 0)
            && stat.st_mode & 0o022 == 0;
        is_trusted.then(|| process::read(file, LONGEST_SSH_USER_AUTH as usize).ok())?
    };
    read().unwrap_or_default()
}

/// What was said with `git push -o`.
fn push_options(process: &Process) -> Vec<PushOption> {
    let count =
        process.variable("GIT_PUSH_OPTION_COUNT").and_then(|text| core::str::from_utf8(text).ok()?.parse().ok());
    let count = count.unwrap_or(0_usize).min(MOST_PUSH_OPTIONS);
    let option = |number| process.variable(&format!("GIT_PUSH_OPTION_{number}"));
    (0..count).filter_map(option).map(|option| PushOption(option.to_owned())).collect()
}
