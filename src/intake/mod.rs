//! Handing over: from a hook to the daemon, or to disk.
//!
//! A hook wraps its event in a [`frame`], offers it to the daemon's [`socket`] and waits, within a
//! deadline, for a [`Reply`] that means "on disk". Without one it leaves the very same frame in the
//! [`spool`], where the daemon picks it up. The event's id is in the frame, so an event that came
//! both ways is stored once.
//!
//! Nothing here blocks longer than it was told to, and nothing here can fail a push: every error is
//! a value that the hook turns into at most one line.

pub mod frame;
pub mod socket;
pub mod spool;

use std::path::Path;
use std::time::{Duration, Instant};

use minicbor::{Decode, Encode};

use crate::event::Event;
use crate::failpoint::failpoint;
use crate::issue::{Ask, Told, Typed};

/// What the daemon answers to a frame.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Reply {
    #[n(0)]
    pub outcome: Outcome,
    /// What became of earlier orders of whoever pushed: lines that hold words from outside. They count as told once the
    /// hook says that it passed them on.
    #[n(1)]
    pub notes: Vec<String>,
    /// Why the orders in it are not carried out in the pusher's own account, where they have to be.
    #[n(7)]
    pub lacks: Option<String>,
}

impl Reply {
    pub fn new(outcome: Outcome) -> Reply {
        Reply { outcome, notes: Vec::new(), lacks: None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// The event is on disk.
    #[n(0)]
    Stored,
    /// The event will not be taken, now or later.
    #[n(1)]
    Refused {
        #[n(0)]
        because: String,
    },
    /// The event cannot be stored at the moment: the spool is the place.
    #[n(2)]
    Later {
        #[n(0)]
        because: String,
    },
}

/// How an event left the hook.
#[derive(Debug)]
pub enum HandedOver {
    ToDaemon(Reply, socket::Answered),
    /// The daemon did not take it in time, so it waits in the spool.
    ToSpool {
        because: socket::Error,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Frame(#[from] frame::Error),
    #[error(transparent)]
    Socket(#[from] socket::Error),
    #[error("neither the daemon ({socket}) nor the spool ({spool}) took the event")]
    Nobody { socket: socket::Error, spool: spool::Error },
}

/// Tells the daemon what is about to happen, without waiting to hear whether it is on disk.
pub fn announce(intent: &Event, socket: &Path, deadline: Instant) -> Result<(), Error> {
    let frame = frame::wrap(&intent.encode())?;
    Ok(socket::send(socket, &frame, deadline)?)
}

/// Asks the daemon about issues; it may be waited for a little longer than it may wait for Jira.
pub fn ask(ask: &Ask, socket: &Path) -> Result<Told, Error> {
    let body = minicbor::to_vec(ask).expect("writing to a vector cannot fail");
    let frame = frame::wrap_as(frame::ASK, &body)?;
    let patience = Duration::from_millis(u64::from(ask.wait_ms)) + ANSWERS_IN;
    Ok(socket::ask(socket, &frame, Instant::now() + patience)?)
}

/// Has the daemon take up typed orders; it may be waited for a little longer than for what comes of them.
pub fn order(typed: &Typed, socket: &Path) -> Result<Reply, Error> {
    let body = minicbor::to_vec(typed).expect("writing to a vector cannot fail");
    let frame = frame::wrap_as(frame::TYPED, &body)?;
    let patience = Duration::from_millis(u64::from(typed.wait_ms)) + STORED_IN;
    Ok(socket::ask(socket, &frame, Instant::now() + patience)?)
}

/// How long the daemon may take to put something on the disk for somebody who looks on.
const STORED_IN: Duration = Duration::from_secs(5);
/// How long the daemon may take for what it remembers.
const ANSWERS_IN: Duration = Duration::from_millis(100);

/// Gives an event to the daemon, or leaves it in the spool; when this returns `Ok`, it is on disk or refused.
pub fn hand_over(event: &Event, socket: &Path, spool: &Path, deadline: Instant) -> Result<HandedOver, Error> {
    let frame = frame::wrap(&event.encode())?;
    failpoint("hook.before_connect");
    let because = match socket::deliver(socket, &frame, deadline) {
        Ok((Reply { outcome: Outcome::Later { because }, .. }, _)) => socket::Error::Later(because),
        Ok((reply, answered)) => return Ok(HandedOver::ToDaemon(reply, answered)),
        Err(error) => error,
    };
    failpoint("hook.before_spool");
    match spool::leave(spool, &event.id.to_string(), &frame) {
        Ok(()) => Ok(HandedOver::ToSpool { because }),
        Err(spool) => Err(Error::Nobody { socket: because, spool }),
    }
}
