//! `agent-hook`: a hook that asks the daemon, and becomes `agent hook` where that does not do.
//!
//! What a hook costs is mostly the start of a program. This one loads no library, not even C's: it is a few thousand bytes that
//! begin at once, and costs a fifth of what an empty shell does. It passes on what Git told it ([`push`]), or sees that a
//! message asks for nothing ([`message`]). Whatever is out of the ordinary, and all of it where no daemon answers, goes the long
//! way ([`agent`]).
//!
//! Nothing here may fail a push or a commit: whatever goes wrong, the hook ends well, and what it did not tell is found by comparing
//! refs.

#![no_std]
#![no_main]

extern crate alloc;

mod agent; // the long way: the program that can do everything
mod drop_box; // where a call is left that nobody has time for
mod message; // hooks of a commit
mod place; // a repository, and what we keep in it
mod process; // what the kernel gives a process: words, variables, files, time
mod push; // hooks of a push
mod rebase; // a long rebase, of which nothing is to be said
mod socket; // the way to the daemon
mod start; // how the program begins

use process::Process;

/// What the program's name adds to the agent's, beside which it stands.
const SUFFIX: &str = "-hook";

/// Runs as the hook by whose name it is called, or that the word after its own name says.
fn run(process: &Process) -> i32 {
    let mut words = process.words.iter();
    let hook = match called_as(words.next().copied().unwrap_or_default()) {
        Some(hook) => hook,
        None => words.next().copied().unwrap_or_default(),
    };
    let arguments = words.as_slice();
    match hook {
        b"pre-receive" | b"post-receive" => push::run(process, hook, arguments),
        b"prepare-commit-msg" | b"commit-msg" => message::run(process, hook, arguments),
        _ => agent::guarded(process, hook, arguments, None),
    }
}

/// The hook in whose name a program is called: its own name, perhaps with an end by which another tool has put it aside and
/// goes on running it, or that of the folder in which a host has all programs for one hook, as `post-receive.d`.
fn called_as(path: &[u8]) -> Option<&[u8]> {
    let own = name(path);
    let folder = name(path.strip_suffix(own).and_then(|above| above.strip_suffix(b"/")).unwrap_or_default());
    [own, folder]
        .into_iter()
        .filter_map(|name| name.split(|&byte| byte == b'.').next())
        .find(|name| process::is_hook(name))
}

/// The last part of a path.
fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}
