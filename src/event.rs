//! What happened in a repository, as one value that travels the whole line.
//!
//! A hook makes an event once and gives it an id; the socket, the spool and every retry carry the
//! same bytes, so the same event is stored once whichever way it came. What the reconciler finds
//! gets an id computed from what it saw, so finding it again is the same event again.
//!
//! Events are encoded with numbered fields (CBOR through `minicbor`): a reader skips the numbers it
//! does not know and a missing optional field is `None`, so an older and a newer agent understand
//! each other's frames. A number is never used twice.

use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub use git_jira_agent_hook::call::{Claim, PushOption};
use minicbor::{Decode, Encode};
use uuid::Uuid;

use crate::git::{Commit, Files, Oid, Update};

/// Names one event for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct EventId(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

/// One thing that happened in one repository.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Event {
    #[n(0)]
    pub id: EventId,
    #[n(1)]
    pub kind: Kind,
    /// Milliseconds since the epoch, by the clock of the machine where it happened.
    #[n(2)]
    pub at: i64,
    #[n(3)]
    pub repository: Origin,
    #[n(4)]
    pub updates: Vec<Update>,
    /// The new commits that were read on the spot, newest first.
    #[n(5)]
    pub commits: Vec<Seen>,
    /// Whether there are more new commits than `commits`: the rest has to be walked.
    #[n(6)]
    pub rest: bool,
    #[n(7)]
    pub claims: Vec<Claim>,
    #[n(8)]
    pub push_options: Vec<PushOption>,
    /// What the updated branches point at now, where it is not among `commits`.
    #[n(9)]
    pub tips: Vec<Commit>,
    /// What a policy had to say of a push that was let in all the same, for the reason its push option gives.
    #[n(10)]
    #[cbor(default)]
    pub overridden: Vec<String>,
}

/// Why an event exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Kind {
    /// The refs are about to move (`pre-receive`): nothing to tell Jira yet, but something to check on.
    #[n(0)]
    Intent,
    /// The refs have moved (`post-receive`, or a push seen to succeed from the clone).
    #[n(1)]
    Push,
    /// The refs were found moved by comparing them with what we knew.
    #[n(2)]
    Found,
}

/// The repository an event happened in.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Origin {
    /// `agent.repoid` of the repository: survives rename and move.
    #[n(0)]
    pub id: String,
    /// Where it was, absolute. A label, and the place to read from.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub git_dir: Vec<u8>,
}

/// A commit as it was read, with what it changed where there was time to look.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Seen {
    #[n(0)]
    pub commit: Commit,
    #[n(1)]
    pub files: Option<Files>,
    /// Whether the message was longer than what is carried here.
    #[n(2)]
    pub cut: bool,
}

impl EventId {
    /// Makes an id that no other event has, ordered by the time of making.
    pub fn fresh() -> Self {
        EventId(Uuid::now_v7().into_bytes())
    }

    /// The id that a hook made.
    pub fn of_call(id: [u8; 16]) -> Self {
        EventId(id)
    }

    /// A number that chance decided.
    pub fn seed(&self) -> u64 {
        u64::from_be_bytes(self.0[8..].try_into().expect("eight bytes"))
    }

    /// The id of differences between refs and what we knew: the same differences have the same id.
    pub fn of_differences<'a>(repository: &str, differences: impl Iterator<Item = (&'a Update, i64)>) -> Self {
        let mut name = Vec::with_capacity(128);
        let mut part = |bytes: &[u8]| {
            name.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            name.extend_from_slice(bytes);
        };
        part(repository.as_bytes());
        for (update, version) in differences {
            part(update.name.as_bytes());
            part(update.old.as_ref().map_or(&[], Oid::as_bytes));
            part(update.new.as_ref().map_or(&[], Oid::as_bytes));
            part(&version.to_be_bytes());
        }
        EventId(Uuid::new_v5(&DIFFERENCES, &name).into_bytes())
    }
}

impl Display for EventId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl std::str::FromStr for EventId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(|id| EventId(id.into_bytes()))
    }
}

impl Origin {
    pub fn git_dir(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.git_dir))
    }
}

impl Event {
    /// The bytes that are framed, spooled and stored.
    pub fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("writing to a vector cannot fail")
    }

    pub fn decode(bytes: &[u8]) -> Result<Event, minicbor::decode::Error> {
        minicbor::decode(bytes)
    }
}

/// The namespace of ids made by [`EventId::of_differences`]; an arbitrary constant, never changed.
const DIFFERENCES: Uuid = Uuid::from_u128(0x6b1e_5d0a_58f2_4c0e_9a53_7f1b_c2d4_90e1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::git::RefName;

    fn event() -> Event {
        Event {
            id: EventId::fresh(),
            kind: Kind::Push,
            at: 1,
            repository: Origin { id: "r".to_owned(), git_dir: b"/srv/\xff.git".to_vec() },
            updates: vec![update('a')],
            commits: Vec::new(),
            rest: true,
            claims: vec![Claim { name: "GL_USER".to_owned(), value: b"ann".to_vec() }],
            push_options: vec![PushOption(b"x=\xff;y".to_vec())],
            overridden: vec!["key: x".to_owned()],
            tips: Vec::new(),
        }
    }

    fn update(digit: char) -> Update {
        let id = digit.to_string().repeat(40).parse().unwrap();
        Update { name: RefName::new(*b"refs/heads/\xff$(id)"), old: None, new: Some(id) }
    }

    #[test]
    fn f70_bytes_travel_unchanged() {
        let event = event();
        assert_eq!(Event::decode(&event.encode()).unwrap(), event);
    }

    #[test]
    fn f79_what_a_newer_agent_adds_is_passed_over() {
        let event = event();
        let mut bytes = event.encode();
        assert_eq!(bytes[0], 0x8b, "an array of eleven");
        bytes[0] = 0x8c;
        bytes.push(0x07);
        assert_eq!(Event::decode(&bytes).unwrap(), event);
    }

    #[test]
    fn f79_what_an_older_agent_left_out_is_empty() {
        let event = Event { overridden: Vec::new(), ..event() };
        let mut bytes = event.encode();
        assert_eq!((bytes[0], bytes.pop()), (0x8b, Some(0x80)), "the last of eleven is an empty array");
        bytes[0] = 0x8a;
        assert_eq!(Event::decode(&bytes).unwrap(), event);
    }

    #[test]
    fn the_same_difference_is_the_same_event_and_another_is_another() {
        let id = |digit, version| EventId::of_differences("r", std::iter::once((&update(digit), version)));
        assert_eq!(id('a', 1), id('a', 1));
        assert_ne!(id('a', 1), id('b', 1));
        assert_ne!(id('a', 1), id('a', 2));
        assert_ne!(id('a', 1), EventId::of_differences("s", std::iter::once((&update('a'), 1))));
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_event_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Event::decode(&bytes);
        }
    }
}
