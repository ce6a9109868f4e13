//! The long way: `agent hook`, which can do everything, with the same input.

use alloc::borrow::ToOwned;
use alloc::ffi::CString;
use alloc::format;
use alloc::vec::Vec;
use core::ffi::CStr;

use rustix::fd::OwnedFd;
use rustix::fs::{MemfdFlags, Mode, OFlags, SeekFrom};

use crate::SUFFIX;
use crate::process::{self, Fork, Moment, Process};

/// What was read of the input, and what has become of it so far.
pub struct Tried<'a> {
    pub stdin: &'a [u8],
    /// The id of the event that comes of it.
    pub id: &'a str,
    pub began: Moment,
}

/// Below this, a status is what a program wanted to say.
const KILLED: i32 = 126;

/// Becomes the agent; where that cannot be, the hook has ended well.
pub fn instead(process: &Process, hook: &[u8], arguments: &[&[u8]], tried: &Tried<'_>) -> i32 {
    start(process, hook, arguments, Some(tried), false);
    0
}

/// Lets the agent work on while the push goes on; nobody hears what it says.
pub fn beside(process: &Process, hook: &[u8], arguments: &[&[u8]], tried: &Tried<'_>) -> i32 {
    if let Some(Fork::Child) = process::fork() {
        start(process, hook, arguments, Some(tried), true);
        process::exit(0);
    }
    0
}

/// Waits for the agent to decide; one that is killed, or is not there, has not.
pub fn guarded(process: &Process, hook: &[u8], arguments: &[&[u8]], tried: Option<&Tried<'_>>) -> i32 {
    match process::fork() {
        Some(Fork::Child) => {
            start(process, hook, arguments, tried, false);
            process::exit(KILLED);
        }
        Some(Fork::Parent(child)) => match process::status_of(child) {
            status if status < KILLED => status,
            _ => 0,
        },
        None => 0,
    }
}

/// Becomes the agent; returns only where that cannot be.
fn start(process: &Process, hook: &[u8], arguments: &[&[u8]], tried: Option<&Tried<'_>>, unheard: bool) -> Option<()> {
    let agent = CString::new(path()?).ok()?;
    let mut words: Vec<CString> = [agent.as_c_str(), c"hook"].map(CStr::to_owned).into();
    if let Some(tried) = tried {
        let spent = format!("{}", tried.began.elapsed().as_millis());
        for word in ["--event", tried.id, "--spent", &spent] {
            words.push(CString::new(word).ok()?);
        }
        rustix::stdio::dup2_stdin(input(tried.stdin)?).ok()?;
    }
    for word in core::iter::once(&hook).chain(arguments) {
        words.push(CString::new(*word).ok()?);
    }
    if unheard {
        let nothing = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        rustix::stdio::dup2_stdout(&nothing).and_then(|()| rustix::stdio::dup2_stderr(&nothing)).ok()?;
    }
    process.become_program(&agent, &words);
    // It is not there any more: the one that a person would start is as good, if it is one.
    words[0] = CString::from(c"agent");
    let shell = [c"/bin/sh", c"-c", ANY_AGENT].map(CStr::to_owned);
    process.become_program(c"/bin/sh", &[&shell, words.as_slice()].concat());
    None
}

/// Becomes the agent of the search path.
const ANY_AGENT: &CStr = c"agent=$(command -v agent) && \
    case $(\"$agent\" --version 2>/dev/null </dev/null) in \"git-jira-agent \"*) exec \"$agent\" \"$@\" ;; esac; exit 126";

/// The agent beside which this program is, or that a copy of it names at its end, as a shim of the shell does.
fn path() -> Option<Vec<u8>> {
    let this = rustix::fs::open("/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let length = rustix::fs::seek(&this, SeekFrom::End(0)).ok()?;
    rustix::fs::seek(&this, SeekFrom::Start(length.saturating_sub(END))).ok()?;
    let end = process::read(&this, END as usize).ok()?;
    let mut lines = end.rsplit(|&byte| byte == b'\n');
    match lines.nth(2).and_then(|line| unquoted(line.strip_prefix(b"agent=")?)) {
        Some(agent) if end.ends_with(b"\nbefore=''\n") => Some(agent),
        _ => {
            let this = rustix::fs::readlink("/proc/self/exe", Vec::new()).ok()?;
            Some(this.to_bytes().strip_suffix(SUFFIX.as_bytes())?.to_owned())
        }
    }
}

/// The longest end of a copy: a path, each byte of which may be quoted.
const END: u64 = 20 << 10;

/// What the shell understands by a word in quotes.
fn unquoted(quoted: &[u8]) -> Option<Vec<u8>> {
    let inner = quoted.strip_prefix(b"'")?.strip_suffix(b"'")?;
    let mut text = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((&byte, after)) = rest.split_first() {
        rest = rest.strip_prefix(br"'\''").unwrap_or(after);
        text.push(byte);
    }
    Some(text)
}

/// What was read, and what was too long to be, to be read again.
fn input(stdin: &[u8]) -> Option<OwnedFd> {
    let input = rustix::fs::memfd_create("input", MemfdFlags::CLOEXEC).ok()?;
    process::write(&input, stdin).ok()?;
    let from = process::stdin();
    while let Some(more) = process::read(from, 64 << 10).ok().filter(|more| !more.is_empty()) {
        process::write(&input, &more).ok()?;
    }
    rustix::fs::seek(&input, SeekFrom::Start(0)).ok()?;
    Some(input)
}
