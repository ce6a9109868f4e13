//! What Git told a hook, passed on to the daemon as it is, and what the daemon says to it.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

/// One run of a hook, on its short way.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Call {
    /// The id of the event that comes of it, whichever way it takes.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: [u8; 16],
    #[n(1)]
    pub hook: Hook,
    /// The git directory, absolute.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub git_dir: Vec<u8>,
    /// The updates, as Git wrote them; or the message.
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
    /// What HEAD says, where a message may get the key of its branch.
    #[cbor(n(8), with = "minicbor::bytes", default)]
    pub head: Vec<u8>,
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
    /// Asks what a message comes to that nobody wrote in an editor, where no policy holds.
    #[n(2)]
    CommitMsg,
    /// Asks the same of a message that may get the key of its branch before.
    #[n(3)]
    PrepareCommitMsg,
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
    /// The message was read.
    #[n(3)]
    Read {
        /// What is said of it.
        #[n(0)]
        lines: Vec<String>,
        /// The message with the key of its branch; empty where it gets none.
        #[cbor(n(1), with = "minicbor::bytes")]
        with_key: Vec<u8>,
    },
}

/// Something the environment of a hook said about the pusher. A claim, not yet an identity.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Claim {
    #[n(0)]
    pub name: String,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub value: Vec<u8>,
}

/// One `git push -o` option, as bytes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct PushOption(#[cbor(n(0), with = "minicbor::bytes")] pub Vec<u8>);

/// Variables by which is known whose configuration of Git it is: claims of [`Hook::PrepareCommitMsg`].
pub const WHOSE: [&str; 2] = ["HOME", "XDG_CONFIG_HOME"];

/// What a hook sends when it has passed on the news of an answer.
pub const PASSED_ON: u8 = 1;

/// The most push options that are passed on.
pub const MOST_PUSH_OPTIONS: usize = 100;

/// Where the SSH server says with which key somebody came. Its claim carries what the file says that it names.
pub const SSH_USER_AUTH: &str = "SSH_USER_AUTH";

/// The most that is read of what an SSH server says.
pub const LONGEST_SSH_USER_AUTH: u64 = 64 << 10;

/// Variables by which Git and its hosts say who pushed. Whether they are believed is decided by who runs the hook.
pub const CLAIMS: &[&str] = &[
    "GIT_PUSH_CERT",
    "GIT_PUSH_CERT_STATUS",
    "GIT_PUSH_CERT_SIGNER",
    "GIT_PUSH_CERT_KEY",
    "GIT_PUSH_CERT_NONCE_STATUS",
    "AGENT_USER",
    SSH_USER_AUTH,
    "REMOTE_USER",
    "REMOTE_ADDR",
    "GL_USER",
    "GL_REPO",
    "GL_ID",
    "GL_USERNAME",
    "GL_REPOSITORY",
    "GL_PROJECT_PATH",
    "GL_PROTOCOL",
    "GITEA_PUSHER_NAME",
    "GITEA_PUSHER_ID",
    "GITEA_PUSHER_EMAIL",
    "GITEA_REPO_NAME",
    "GITEA_REPO_USER_NAME",
    "GITEA_REPO_ID",
    "GITEA_REPO_IS_WIKI",
    "BB_USER_NAME",
    "BB_USER_EMAIL",
    "PHABRICATOR_USER",
];
