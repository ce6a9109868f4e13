//! What a commit's signature was made for.
//!
//! A signature stands in the commit's header and covers the object without it. So whatever is to be believed of a signed
//! commit is read here from the covered text itself, and not from the object around it.

use memchr::memchr;

use super::history::Raw;
use super::{Commit, Error, Oid, Repository};

/// A commit as it was signed.
#[derive(Clone, Debug)]
pub struct Signed {
    /// What the covered text says.
    pub commit: Commit,
    /// The covered text.
    pub payload: Vec<u8>,
    /// The signatures over it that the commit bears; more than one is not Git's doing.
    pub signatures: Vec<Vec<u8>>,
}

impl Repository {
    /// Reads a commit apart from its signatures.
    pub fn signed(&self, id: Oid) -> Result<Signed, Error> {
        let (id, object) = self.peeled(id)?;
        let (payload, signatures) = take_apart(&object.content, HEADERS[usize::from(self.id_len() == 32)]);
        let commit = Raw::parse(&payload).ok_or(Error::NotACommit { id })?.commit(id);
        Ok(Signed { commit, payload, signatures })
    }
}

/// The header of a signature over the commit as it is here: in a repository of SHA-1, and in one of SHA-256. The other
/// is a signature over what the commit would be there, and no part of the text either.
const HEADERS: [&[u8]; 2] = [b"gpgsig ", b"gpgsig-sha256 "];

/// Splits an object into the text that was signed and the signatures under this header.
fn take_apart(object: &[u8], own: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    enum Part {
        Text,
        Signature,
        Foreign,
    }
    let (mut payload, mut signatures) = (Vec::with_capacity(object.len()), Vec::<Vec<u8>>::new());
    let (mut rest, mut part) = (object, Part::Text);
    while !rest.is_empty() {
        let end = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let (mut line, after) = rest.split_at(end);
        if line == b"\n" {
            // The message.
            payload.extend_from_slice(rest);
            break;
        }
        rest = after;
        if let Some(more) = line.strip_prefix(b" ") {
            line = if matches!(part, Part::Signature) { more } else { line };
        } else if let Some(first) = line.strip_prefix(own) {
            signatures.push(Vec::new());
            (part, line) = (Part::Signature, first);
        } else {
            part = if line.starts_with(b"gpgsig") { Part::Foreign } else { Part::Text };
        }
        match part {
            Part::Text => payload.extend_from_slice(line),
            Part::Signature => signatures.last_mut().expect("pushed with its first line").extend_from_slice(line),
            Part::Foreign => {}
        }
    }
    (payload, signatures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(object: &str, own: usize, payload: &str, signatures: &[&str]) {
        let (found, signed) = take_apart(object.as_bytes(), HEADERS[own]);
        assert_eq!(String::from_utf8(found).unwrap(), payload);
        assert_eq!(signed, signatures.iter().map(|one| one.as_bytes()).collect::<Vec<_>>());
    }

    #[test]
    fn g5_a_signature_covers_everything_but_signatures() {
        let plain = "tree 1\nauthor a\ncommitter c\n\ngpgsig of the message\n a line\n";
        check(plain, 0, plain, &[]);
        let signed = "tree 1\nauthor a\ncommitter c\ngpgsig -BEGIN-\n \n x\n -END-\n\ngpgsig of the message\n a line\n";
        check(signed, 0, plain, &["-BEGIN-\n\nx\n-END-\n"]);
        check(signed, 1, plain, &[]);
        let both =
            "tree 1\ngpgsig-sha256 other\n of it\nmergetag object 2\n tagged\n gpgsig no\nauthor a\ngpgsig own\n\nm";
        check(both, 0, "tree 1\nmergetag object 2\n tagged\n gpgsig no\nauthor a\n\nm", &["own\n"]);
        check(both, 1, "tree 1\nmergetag object 2\n tagged\n gpgsig no\nauthor a\n\nm", &["other\nof it\n"]);
        check("tree 1\ngpgsig a\ngpgsig b\n\nm", 0, "tree 1\n\nm", &["a\n", "b\n"]);
        check("tree 1\ngpgsig a", 0, "tree 1\n", &["a"]);
    }
}
