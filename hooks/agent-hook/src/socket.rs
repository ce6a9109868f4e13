//! The way to the daemon: a frame there, a frame back, and never longer than there is time.

use alloc::vec::Vec;
use core::time::Duration;

use git_jira_agent_hook::call::Called;
use git_jira_agent_hook::frame::{HEADER, Header};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::process::Moment;

/// Why the daemon did not answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// It has too much to do.
    Busy,
    TimedOut,
    /// It is not there, or something else is, or nobody may talk to it.
    Absent,
}

/// Offers a frame; what is told comes on the same connection.
pub fn offer(door: &[u8], frame: &[u8], deadline: Moment) -> Result<OwnedFd, Failed> {
    let address = SocketAddrUnix::new(door).map_err(|_| Failed::Absent)?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(failed)?;
    // A backlog that is full says so at once.
    rustix::net::connect(&socket, &address).map_err(|error| match error {
        Errno::AGAIN => Failed::Busy,
        _ => Failed::Absent,
    })?;
    let mut rest = frame;
    while !rest.is_empty() {
        match rustix::net::send(&socket, rest, SendFlags::NOSIGNAL) {
            Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
            Err(Errno::AGAIN) => wait(&socket, PollFlags::OUT, deadline)?,
            Err(Errno::INTR) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(socket)
}

/// Waits for what the daemon says.
pub fn heard(socket: &OwnedFd, deadline: Moment) -> Result<Called, Failed> {
    let mut bytes = Vec::with_capacity(4 << 10);
    loop {
        if let Some(header) = bytes.first_chunk::<HEADER>() {
            let header = Header::parse(header).map_err(|_| Failed::Absent)?;
            let body = &bytes[HEADER..];
            if body.len() >= header.length {
                header.verify(body).map_err(|_| Failed::Absent)?;
                return minicbor::decode(body).map_err(|_| Failed::Absent);
            }
            bytes.reserve(header.length - body.len());
        }
        wait(socket, PollFlags::IN, deadline)?;
        match rustix::net::recv(socket, rustix::buffer::spare_capacity(&mut bytes), RecvFlags::empty()) {
            Ok((0, _)) => return Err(Failed::Absent),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Says something nobody waits for.
pub fn tell(socket: &OwnedFd, bytes: &[u8]) {
    let _ = rustix::net::send(socket, bytes, SendFlags::NOSIGNAL);
}

/// Lets a while pass.
pub fn pause(time: Duration) {
    let _ = poll(&mut [], Some(&span(time)));
}

fn wait(socket: &OwnedFd, until: PollFlags, deadline: Moment) -> Result<(), Failed> {
    let left = deadline.left();
    if left.is_zero() {
        return Err(Failed::TimedOut);
    }
    match poll(&mut [PollFd::new(socket, until)], Some(&span(left))) {
        Ok(0) => Err(Failed::TimedOut),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

fn span(time: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), tv_nsec: time.subsec_nanos().into() }
}

fn failed(error: Errno) -> Failed {
    if error == Errno::AGAIN { Failed::TimedOut } else { Failed::Absent }
}
