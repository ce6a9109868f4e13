//! The envelope of whatever goes to the daemon, the same on the socket and in the drop-box.
//!
//! Sixteen bytes of header, then the body (numbers are big-endian):
//!
//! | bytes | what |
//! | --- | --- |
//! | 0-3 | `gjaF` |
//! | 4-5 | version, now 1 |
//! | 6-7 | what the body is: 0 an event or a reply, 1 what somebody wants of their login, 2 a question about issues, 3 typed orders, 4 what Git told a hook |
//! | 8-11 | length of the body, at most [`LIMIT`] |
//! | 12-15 | CRC-32 of the body |
//!
//! The version changes only when the body is no longer CBOR with numbered fields; new fields do not
//! need it.

use alloc::vec::Vec;

/// The longest body, in bytes.
pub const LIMIT: usize = 1 << 20;

/// The body is an event, or a reply.
pub const EVENT: u16 = 0;
/// The body is a wish about a login.
pub const LOGIN: u16 = 1;
/// The body is a question about issues, or what is told to it.
pub const ASK: u16 = 2;
/// The body is orders that somebody typed.
pub const TYPED: u16 = 3;
/// The body is what Git told a hook, or what is said to it.
pub const CALL: u16 = 4;

/// Bytes before the body.
pub const HEADER: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not a frame of git-jira-agent")]
    Foreign,
    #[error("a frame of version {0}, this agent knows version {VERSION}")]
    Version(u16),
    #[error("a body of {0} bytes, the limit is {LIMIT}")]
    TooLong(usize),
    #[error("the frame is cut short")]
    Short,
    #[error("the frame is damaged: its checksum does not match")]
    Damaged,
}

/// A header that was read and found in order.
pub struct Header {
    pub length: usize,
    /// [`EVENT`], [`LOGIN`], [`ASK`], [`TYPED`], [`CALL`], or something that a newer agent knows.
    pub kind: u16,
    checksum: u32,
}

impl Header {
    pub fn parse(bytes: &[u8; HEADER]) -> Result<Header, Error> {
        let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let version = u16::from_be_bytes([bytes[4], bytes[5]]);
        let kind = u16::from_be_bytes([bytes[6], bytes[7]]);
        let length = number(8) as usize;
        match () {
            () if bytes[..4] != MAGIC => Err(Error::Foreign),
            () if version != VERSION => Err(Error::Version(version)),
            () if length > LIMIT => Err(Error::TooLong(length)),
            () => Ok(Header { length, kind, checksum: number(12) }),
        }
    }

    /// Whether `body` is what the header announced.
    pub fn verify(&self, body: &[u8]) -> Result<(), Error> {
        match () {
            () if body.len() != self.length => Err(Error::Short),
            () if crc32fast::hash(body) != self.checksum => Err(Error::Damaged),
            () => Ok(()),
        }
    }
}

/// Puts a body of this kind into an envelope.
pub fn wrap_as(kind: u16, body: &[u8]) -> Result<Vec<u8>, Error> {
    if body.len() > LIMIT {
        return Err(Error::TooLong(body.len()));
    }
    let mut frame = Vec::with_capacity(HEADER + body.len());
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&VERSION.to_be_bytes());
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(&u32::try_from(body.len()).expect("checked against the limit").to_be_bytes());
    frame.extend_from_slice(&crc32fast::hash(body).to_be_bytes());
    frame.extend_from_slice(body);
    Ok(frame)
}

const MAGIC: [u8; 4] = *b"gjaF";
const VERSION: u16 = 1;
