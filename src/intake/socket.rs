//! The daemon's Unix socket, seen from both ends.
//!
//! The hook's end never blocks past its deadline: a full backlog answers `EAGAIN` at once, and
//! writing and reading have time-outs. The daemon's end learns who is there from the kernel
//! (`SO_PEERCRED`), never from the frame.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use git_jira_agent_hook::call::PASSED_ON;
use minicbor::{Decode, Encode};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tokio::io::AsyncReadExt;

use super::frame;
use crate::failpoint::failpoint;

/// Who is at the other end of a connection, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub uid: u32,
    pub gid: u32,
    pub pid: Option<i32>,
}

/// The connection an answer came on; to drop it says that nobody saw the answer.
#[derive(Debug)]
pub struct Answered(UnixStream);

impl Answered {
    /// Tells the daemon that its answer was passed on. Never waits.
    pub fn passed_on(mut self) {
        let _ = self.0.set_nonblocking(true).and_then(|()| self.0.write_all(&[PASSED_ON]));
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the daemon is not running")]
    Absent,
    #[error("the daemon is busy")]
    Busy,
    #[error("no permission to talk to the daemon")]
    Forbidden,
    #[error("the daemon did not answer in time")]
    TimedOut,
    #[error("the daemon cannot store events at the moment: {0}")]
    Later(String),
    #[error("the connection to the daemon broke: {0}")]
    Io(std::io::Error),
    #[error("the daemon's answer makes no sense: {0}")]
    Answer(String),
}

/// Offers a frame to the daemon and waits for its reply, both within the deadline.
pub fn deliver<T: for<'b> Decode<'b, ()>>(
    path: &Path,
    frame: &[u8],
    deadline: Instant,
) -> Result<(T, Answered), Error> {
    let mut stream = offer(path, frame, deadline)?;
    failpoint("hook.after_write_before_ack");
    let reply = heard(&mut stream, deadline)?;
    Ok((reply, Answered(stream)))
}

/// Asks the daemon something and waits for what it tells, both within the deadline.
pub fn ask<T: for<'b> Decode<'b, ()>>(path: &Path, frame: &[u8], deadline: Instant) -> Result<T, Error> {
    heard(&mut offer(path, frame, deadline)?, deadline)
}

/// Offers a frame to the daemon and leaves; it is lost if the daemon ends before it came to read it.
pub fn send(path: &Path, frame: &[u8], deadline: Instant) -> Result<(), Error> {
    offer(path, frame, deadline).map(drop)
}

/// Reads one frame from a connection and says of which kind it is; the body is at most [`frame::LIMIT`] long.
pub async fn receive(stream: &mut tokio::net::UnixStream) -> Result<(u16, Vec<u8>), frame::Error> {
    let mut bytes = [0; frame::HEADER];
    stream.read_exact(&mut bytes).await?;
    let header = frame::Header::parse(&bytes)?;
    let mut body = vec![0; header.length];
    stream.read_exact(&mut body).await?;
    header.verify(&body)?;
    Ok((header.kind, body))
}

/// What an answer is sent as: a frame of the kind that it answers.
pub fn framed<T: Encode<()>>(kind: u16, answer: &T) -> std::io::Result<Vec<u8>> {
    let body = minicbor::to_vec(answer).expect("writing to a vector cannot fail");
    frame::wrap_as(kind, &body).map_err(std::io::Error::other)
}

/// Answers a frame in a frame of its kind.
pub async fn answer<T: Encode<()>>(stream: &tokio::net::UnixStream, kind: u16, answer: &T) -> std::io::Result<()> {
    write(stream, &framed(kind, answer)?).await
}

/// Sends all of these bytes.
pub async fn write(stream: &tokio::net::UnixStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until the hook says that it passed on an answer; false when it leaves without a word.
pub async fn is_passed_on(stream: &tokio::net::UnixStream) -> bool {
    let mut said = [0];
    loop {
        match stream.try_read(&mut said) {
            Ok(read) => return read == 1 && said == [PASSED_ON],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        if stream.readable().await.is_err() {
            return false;
        }
    }
}

/// Who is at the other end.
pub fn peer(stream: &tokio::net::UnixStream) -> std::io::Result<Peer> {
    stream.peer_cred().map(|cred| Peer { uid: cred.uid(), gid: cred.gid(), pid: cred.pid() })
}

fn offer(path: &Path, frame: &[u8], deadline: Instant) -> Result<UnixStream, Error> {
    let mut stream = connect_now(path)?;
    stream.set_write_timeout(Some(left(deadline)?)).map_err(Error::Io)?;
    stream.write_all(frame).map_err(io_error)?;
    Ok(stream)
}

/// Connects without ever waiting: a Unix socket accepts into its backlog at once or not at all.
fn connect_now(path: &Path) -> Result<UnixStream, Error> {
    use rustix::io::Errno;
    let address = SocketAddrUnix::new(path).map_err(|error| Error::Io(error.into()))?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(|error| Error::Io(error.into()))?;
    connect(&socket, &address).map_err(|error| match error {
        Errno::NOENT | Errno::CONNREFUSED | Errno::NOTDIR => Error::Absent,
        Errno::AGAIN => Error::Busy,
        Errno::ACCESS | Errno::PERM => Error::Forbidden,
        other => Error::Io(other.into()),
    })?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false).map_err(Error::Io)?;
    Ok(stream)
}

fn heard<T: for<'b> Decode<'b, ()>>(stream: &mut UnixStream, deadline: Instant) -> Result<T, Error> {
    stream.set_read_timeout(Some(left(deadline)?)).map_err(Error::Io)?;
    let body = read_reply(stream, deadline)?;
    minicbor::decode(&body).map_err(|error| Error::Answer(error.to_string()))
}

/// Reads the reply, however slowly it trickles, until the deadline.
fn read_reply(stream: &mut UnixStream, deadline: Instant) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(256);
    let mut buffer = [0; 4096];
    loop {
        match frame::read(&bytes[..]) {
            Ok(body) => return Ok(body),
            Err(error) if error.is_short() => {}
            Err(error) => return Err(Error::Answer(error.to_string())),
        }
        stream.set_read_timeout(Some(left(deadline)?)).map_err(Error::Io)?;
        match stream.read(&mut buffer).map_err(io_error)? {
            0 => return Err(Error::Io(std::io::ErrorKind::UnexpectedEof.into())),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

fn left(deadline: Instant) -> Result<Duration, Error> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(Error::TimedOut),
        left => Ok(left),
    }
}

fn io_error(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => Error::TimedOut,
        _ => Error::Io(error),
    }
}
