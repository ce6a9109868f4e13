//! Reading and writing envelopes; their form is described, and shared with the hook, in [`git_jira_agent_hook::frame`].

use std::io::Read;

use git_jira_agent_hook::frame;
pub use git_jira_agent_hook::frame::{ASK, CALL, EVENT, HEADER, Header, LIMIT, LOGIN, TYPED};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Frame(#[from] frame::Error),
    #[error("cannot read the frame: {0}")]
    Io(#[from] std::io::Error),
}

impl Error {
    /// Whether more bytes may make it whole.
    pub fn is_short(&self) -> bool {
        matches!(self, Error::Frame(frame::Error::Short))
    }
}

/// Puts the body of an event into an envelope.
pub fn wrap(body: &[u8]) -> Result<Vec<u8>, Error> {
    wrap_as(EVENT, body)
}

/// Puts a body of this kind into an envelope.
pub fn wrap_as(kind: u16, body: &[u8]) -> Result<Vec<u8>, Error> {
    Ok(frame::wrap_as(kind, body)?)
}

/// Reads one envelope and gives its body.
pub fn read(from: impl Read) -> Result<Vec<u8>, Error> {
    read_any(from).map(|(_, body)| body)
}

/// Reads one envelope, says of which kind it is, and gives its body.
pub fn read_any(mut from: impl Read) -> Result<(u16, Vec<u8>), Error> {
    let mut bytes = [0; HEADER];
    exactly(&mut from, &mut bytes)?;
    let header = Header::parse(&bytes)?;
    let mut body = vec![0; header.length];
    exactly(&mut from, &mut body)?;
    header.verify(&body)?;
    Ok((header.kind, body))
}

fn exactly(from: &mut impl Read, bytes: &mut [u8]) -> Result<(), Error> {
    from.read_exact(bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => frame::Error::Short.into(),
        _ => Error::Io(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wrapped_is_read_back() {
        for body in [&b""[..], b"x", &[0xff; 70_000]] {
            assert_eq!(read(&wrap(body).unwrap()[..]).unwrap(), body);
        }
    }

    #[test]
    fn f11_a_frame_cut_at_any_byte_is_an_error() {
        let frame = wrap(b"an event").unwrap();
        for length in 0..frame.len() {
            assert!(read(&frame[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let frame = wrap(b"an event").unwrap();
        for at in (0..frame.len()).filter(|at| !(6..8).contains(at)) {
            let mut changed = frame.clone();
            changed[at] ^= 0x20;
            assert!(read(&changed[..]).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_body_over_the_limit_is_refused_on_both_sides() {
        assert!(matches!(wrap(&vec![0; LIMIT + 1]), Err(Error::Frame(frame::Error::TooLong(_)))));
        let mut header = wrap(b"x").unwrap();
        header[8] = 0xff;
        assert!(matches!(read(&header[..]), Err(Error::Frame(frame::Error::TooLong(_)))));
    }
}
