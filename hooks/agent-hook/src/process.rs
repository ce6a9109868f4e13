//! What the kernel gives a process: words, variables, files, time, and other processes.

use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use core::time::Duration;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};
use syscalls::{Sysno, syscall};

pub struct Process {
    pub words: Vec<&'static [u8]>,
    /// Each `NAME=value`.
    environment: Vec<&'static CStr>,
}

impl Process {
    /// # Safety
    ///
    /// `stack` is where the stack pointer was when the program began, and nothing there has changed.
    pub unsafe fn of(stack: *const usize) -> Process {
        // SAFETY: first the number of words, then pointers to them, a zero, pointers to the environment, a zero.
        unsafe {
            let words = list(stack.add(1).cast());
            let environment = list(stack.add(*stack + 2).cast());
            Process { words: words.into_iter().map(CStr::to_bytes).collect(), environment }
        }
    }

    /// The value of a variable of the environment.
    pub fn variable(&self, name: &str) -> Option<&'static [u8]> {
        self.environment.iter().find_map(|entry| entry.to_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }

    /// The value of a variable, where there is one and it says something.
    pub fn said(&self, name: &str) -> Option<&'static [u8]> {
        self.variable(name).filter(|value| !value.is_empty())
    }

    /// Whether somebody preloads libraries, which cannot reach this program and may be meant to.
    pub fn has_preloads(&self) -> bool {
        self.said("LD_PRELOAD").is_some()
    }

    /// Becomes another program, with the same environment; returns only if that is not possible.
    pub fn become_program(&self, program: &CStr, words: &[CString]) -> Errno {
        let end = core::iter::once(core::ptr::null());
        let words: Vec<*const c_char> = words.iter().map(|word| word.as_ptr()).chain(end.clone()).collect();
        let environment: Vec<*const c_char> = self.environment.iter().map(|entry| entry.as_ptr()).chain(end).collect();
        // SAFETY: all are texts that end with a zero, in lists that do.
        let failed = unsafe { syscall!(Sysno::execve, program.as_ptr(), words.as_ptr(), environment.as_ptr()) };
        Errno::from_raw_os_error(failed.map_or_else(|error| error.into_raw(), |_| 0))
    }
}

/// # Safety
///
/// `at` is a list of pointers to texts that end with a zero, and ends with one itself.
unsafe fn list(mut at: *const *const c_char) -> Vec<&'static CStr> {
    let mut found = Vec::new();
    // SAFETY: as the caller says; what lies there stays as long as the process.
    unsafe {
        while !(*at).is_null() {
            found.push(CStr::from_ptr(*at));
            at = at.add(1);
        }
    }
    found
}

/// Whether Git has a hook of this name that is ours.
pub fn is_hook(name: &[u8]) -> bool {
    let all: [&[u8]; 6] =
        [b"pre-receive", b"post-receive", b"prepare-commit-msg", b"commit-msg", b"pre-push", b"reference-transaction"];
    all.contains(&name)
}

/// Another process that goes on from here, or this one.
pub enum Fork {
    Child,
    Parent(Pid),
}

pub fn fork() -> Option<Fork> {
    const CHILD_ENDED: usize = 17;
    // SAFETY: there is one thread, and nothing that two processes could both end.
    let pid = unsafe { syscall!(Sysno::clone, CHILD_ENDED, 0, 0, 0, 0) }.ok()?;
    Some(Pid::from_raw(i32::try_from(pid).ok()?).map_or(Fork::Child, Fork::Parent))
}

/// Waits for a child, and gives its status as a shell does: 128 and the signal for one that was killed.
pub fn status_of(child: Pid) -> i32 {
    match rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(child), WaitOptions::empty())) {
        Ok(Some((_, status))) => {
            status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(128)
        }
        _ => 128,
    }
}

pub fn exit(status: i32) -> ! {
    // SAFETY: it does not return.
    let _ = unsafe { syscall!(Sysno::exit_group, status) };
    unreachable!("a process that has ended goes on");
}

/// Milliseconds since the epoch.
pub fn now() -> i64 {
    const REAL_TIME: usize = 0;
    let time = clock(REAL_TIME);
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// A moment by a clock that nobody sets.
#[derive(Clone, Copy)]
pub struct Moment(Duration);

impl Moment {
    pub fn now() -> Moment {
        const MONOTONIC: usize = 1;
        Moment(clock(MONOTONIC))
    }

    pub fn after(self, time: Duration) -> Moment {
        Moment(self.0 + time)
    }

    /// How long it is until then; nothing once it is over.
    pub fn left(self) -> Duration {
        self.0.saturating_sub(Moment::now().0)
    }

    pub fn elapsed(self) -> Duration {
        Moment::now().0.saturating_sub(self.0)
    }
}

fn clock(which: usize) -> Duration {
    let mut time = [0_i64; 2];
    // SAFETY: two numbers of 64 bits, seconds and nanoseconds, are what is written there.
    let _ = unsafe { syscall!(Sysno::clock_gettime, which, &raw mut time) };
    let [seconds, nanoseconds] = time.map(i64::unsigned_abs);
    Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}

/// Reads on until there is no more, or so many bytes, and none beyond them.
pub fn read(from: impl AsFd, most: usize) -> Result<Vec<u8>, Errno> {
    let (mut bytes, mut portion) = (Vec::new(), [0; 4 << 10]);
    loop {
        let room = portion.len().min(most - bytes.len());
        match rustix::io::read(&from, &mut portion[..room]) {
            Ok(0) => return Ok(bytes),
            Ok(read) => bytes.extend_from_slice(&portion[..read]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes all of it.
pub fn write(to: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&to, bytes))?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Reads a file, or so much of it.
pub fn read_file(folder: impl AsFd, path: &[u8], most: usize) -> Option<Vec<u8>> {
    let file = rustix::fs::openat(folder, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    read(file, most).ok()
}

/// Prints lines at once, and tells whether somebody took them; that nobody reads them any more is no reason to be killed.
pub fn say(lines: &[impl AsRef<str>]) -> bool {
    const PIPE_CLOSED: usize = 13;
    const MASK: usize = 8;
    // How a signal is taken, as the kernel has it: the first word says by whom, and 1 is nobody. The others are for somebody.
    let ignored = [1_usize, 0, 0, 0];
    // SAFETY: it is read and not kept.
    let _ = unsafe { syscall!(Sysno::rt_sigaction, PIPE_CLOSED, ignored.as_ptr(), 0, MASK) };
    let text = lines.iter().fold(String::new(), |text, line| text + line.as_ref() + "\n");
    write(stderr(), text.as_bytes()).is_ok()
}

/// Opens a folder, for what is in it.
pub fn folder(above: impl AsFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(above, path, flags, Mode::empty())
}

pub fn stdin() -> rustix::fd::BorrowedFd<'static> {
    // SAFETY: whoever started the program left it open, and it stays so.
    unsafe { rustix::stdio::stdin() }
}

fn stderr() -> rustix::fd::BorrowedFd<'static> {
    // SAFETY: as above.
    unsafe { rustix::stdio::stderr() }
}

impl Process {
    /// Dies here if a test wants it: `AGENT_ABORT_AT=name`.
    #[cfg(feature = "failpoints")]
    pub fn failpoint(&self, name: &str) {
        if self.variable("AGENT_ABORT_AT") == Some(name.as_bytes()) {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::ABORT);
        }
    }

    #[cfg(not(feature = "failpoints"))]
    pub fn failpoint(&self, _name: &str) {}
}
