//! What Git told a hook, passed on to the daemon as it is, and what the daemon says to it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use minicbor::{Decode, Encode};

use crate::event::{Claim, EventId, PushOption};

/// One run of a hook of a push, on its short way.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Call {
    /// The id of the event that comes of it, whichever way it takes.
    #[n(0)]
    pub id: EventId,
    #[n(1)]
    pub hook: Hook,
    /// The git directory, absolute.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub git_dir: Vec<u8>,
    /// The updates, as Git wrote them.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub stdin: Vec<u8>,
    #[n(4)]
    pub claims: Vec<Claim>,
    #[n(5)]
    pub push_options: Vec<PushOption>,
    /// The configuration that the environment of the hook names; empty where it names none.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub config: Vec<u8>,
    /// Milliseconds since the epoch, by the clock of the hook's machine.
    #[n(7)]
    pub at: i64,
}

/// Which hook it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Hook {
    /// Announces the push; nobody waits for a word.
    #[n(0)]
    PreReceive,
    #[n(1)]
    PostReceive,
}

/// What the daemon says to a call.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Called {
    /// Nothing was stored, and the hook has to do its work itself.
    #[n(0)]
    Long,
    /// Nothing was stored, because too many hooks call at once.
    #[n(1)]
    Busy,
    /// The push is on disk.
    #[n(2)]
    Done {
        /// What the push is answered with.
        #[n(0)]
        lines: Vec<String>,
        /// Whether there are news of earlier orders among them, which count as told once the hook says that it passed them on.
        #[n(1)]
        news: bool,
        /// What is to be appended to `agent/told`: whoever pushes may write there, the daemon perhaps not.
        #[cbor(n(2), with = "minicbor::bytes")]
        told: Vec<u8>,
        /// The drop-box, where a call may be left that is not answered in time.
        #[cbor(n(3), with = "minicbor::bytes")]
        spool: Vec<u8>,
    },
}

impl Hook {
    pub fn of(name: &str) -> Option<Hook> {
        match name {
            "pre-receive" => Some(Hook::PreReceive),
            "post-receive" => Some(Hook::PostReceive),
            _ => None,
        }
    }
}

impl Call {
    pub fn git_dir(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.git_dir))
    }

    pub fn config(&self) -> Option<PathBuf> {
        (!self.config.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(&self.config)))
    }
}
