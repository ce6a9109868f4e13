//! `agent-hook`: a hook that asks the daemon, and becomes `agent hook` where that does not do.
//!
//! It knows where the daemon listens by a link in the repository, `agent/door`, which the long way leaves behind once it found
//! a daemon that takes the push. A daemon that has answered such a hook told it its drop-box, which is remembered as well
//! (`agent/drop`): where so many push at once that none is answered in time, what Git told is left there as it is, because that many
//! large programs would only make it worse. It has to stay small: no configuration, no Git, no parser.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;

use crate::config::Environment;
use crate::event::EventId;
use crate::failpoint::failpoint;
use crate::intake::{frame, socket, spool};
use crate::{clock, host};

use super::call::{Call, Called, Hook};
use super::{claims, push_options};

/// How long the daemon is waited for; as long is left for the long way.
const PATIENCE: Duration = Duration::from_millis(120);
/// How long a daemon that is busy is left in peace: many that ask again and again would keep it so.
const AGAIN: Duration = Duration::from_millis(40);
/// The longest input that takes the short way; more is the push of a whole mirror.
const INPUT: u64 = 256 << 10;

/// Runs as the hook that the first word names: the program, or the word after it where it is called by its own name.
pub fn run(words: Vec<OsString>, environment: &Environment) -> ExitCode {
    let started = Instant::now();
    let mut words = words.into_iter();
    let program = PathBuf::from(words.next().unwrap_or_default());
    let called = program.file_name().unwrap_or_default().to_owned();
    let name = if Hook::of(&called.to_string_lossy()).is_some() { called } else { words.next().unwrap_or_default() };
    let id = EventId::fresh();
    let mut stdin = Vec::new();
    let _ = std::io::stdin().lock().take(INPUT + 1).read_to_end(&mut stdin);
    let asked = Hook::of(&name.to_string_lossy()).filter(|_| stdin.len() as u64 <= INPUT);
    if asked.is_some_and(|hook| ask(hook, id, &stdin, environment, started + PATIENCE).is_some()) {
        return ExitCode::SUCCESS;
    }
    long_way(&name, words, id, &stdin, started)
}

/// Has the daemon do the work; `None` where it did not.
fn ask(hook: Hook, id: EventId, stdin: &[u8], environment: &Environment, deadline: Instant) -> Option<()> {
    let out_of_the_ordinary = environment.dry_run
        || environment.namespace.is_some()
        || (hook == Hook::PostReceive && environment.quarantine.is_some());
    if out_of_the_ordinary {
        return None;
    }
    let git_dir = std::fs::canonicalize(environment.git_dir.as_deref().unwrap_or(Path::new("."))).ok()?;
    let ours = git_dir.join("agent");
    let door = std::fs::read_link(ours.join(host::DOOR)).ok()?;
    let call = Call {
        id,
        hook,
        git_dir: git_dir.as_os_str().as_bytes().to_vec(),
        stdin: stdin.to_vec(),
        claims: claims(environment),
        push_options: push_options(environment),
        config: environment.config.as_ref().map(|path| path.as_os_str().as_bytes().to_vec()).unwrap_or_default(),
        at: clock::now(),
    };
    let body = minicbor::to_vec(&call).expect("writing to a vector cannot fail");
    let frame = frame::wrap_as(frame::CALL, &body).ok()?;
    failpoint("hook.before_connect");
    if hook == Hook::PreReceive {
        // The refs as they are before any moves have to be noted first, which is work for the long way.
        ours.join("told").exists().then(|| socket::send(&door, &frame, deadline).ok())??;
        host::note_fired(&git_dir, "pre-receive");
        return Some(());
    }
    let drop_box = ours.join(host::DROP);
    let (called, answered) = match patiently(&door, &frame, deadline) {
        Ok(answer) => answer,
        Err(socket::Error::TimedOut | socket::Error::Busy) => {
            let spool = std::fs::read_link(&drop_box).ok()?;
            spool::leave(&spool, &id.to_string(), &frame).ok()?;
            say("jira: this push is kept for Jira; the daemon has too much to do to read it now\n");
            return Some(());
        }
        Err(_) => return None,
    };
    let Called::Done { lines, news, told, spool } = called else { return None };
    failpoint("hook.after_answer");
    // What is not noted is told once more with the next push.
    let _ = OpenOptions::new().append(true).open(ours.join("told")).and_then(|mut file| file.write_all(&told));
    host::note_fired(&git_dir, "post-receive");
    host::lead_to(&drop_box, Path::new(OsStr::from_bytes(&spool)));
    if say(&lines.iter().fold(String::new(), |text, line| text + line + "\n")) && news {
        answered.passed_on();
    }
    Some(())
}

/// Prints at once, and tells whether somebody took it.
fn say(text: &str) -> bool {
    std::io::stderr().lock().write_all(text.as_bytes()).is_ok()
}

/// Asks again while the daemon is busy and there is time.
fn patiently(door: &Path, frame: &[u8], deadline: Instant) -> Result<(Called, socket::Answered), socket::Error> {
    loop {
        match socket::deliver(door, frame, deadline) {
            Ok((Called::Busy, _)) | Err(socket::Error::Busy) if Instant::now() + AGAIN < deadline => {
                std::thread::sleep(AGAIN);
            }
            Ok((Called::Busy, _)) => return Err(socket::Error::Busy),
            other => return other,
        }
    }
}

/// Becomes the full program, with the same input.
fn long_way(
    name: &OsStr,
    arguments: impl Iterator<Item = OsString>,
    id: EventId,
    stdin: &[u8],
    started: Instant,
) -> ExitCode {
    let becomes = || -> std::io::Result<std::convert::Infallible> {
        let this = std::env::current_exe()?;
        let full = this.to_str().and_then(|path| path.strip_suffix(host::SHORT)).ok_or(std::io::ErrorKind::NotFound)?;
        let mut input = std::fs::File::from(rustix::fs::memfd_create("input", MemfdFlags::CLOEXEC)?);
        input.write_all(stdin)?;
        // What was too long is handed on as it comes.
        std::io::copy(&mut std::io::stdin().lock(), &mut input)?;
        input.rewind()?;
        let mut command = Command::new(full);
        command
            .args(["hook", "--event", &id.to_string()])
            .arg("--spent")
            .arg(started.elapsed().as_millis().to_string());
        Err(command.arg(name).args(arguments).stdin(input).exec())
    };
    // The push goes on in any case, and what it brought is found by comparing refs.
    let _ = becomes();
    ExitCode::SUCCESS
}
