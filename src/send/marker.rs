//! The mark that what we did bears, so that it is found again and nobody else can put it there.
//!
//! It says which effect it is of, and proves with a code over that and a key of this installation that we say so. It
//! counts only on what the account itself wrote: whoever can read a mark could copy it onto their own words.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::text::hex;

/// The mark of one effect.
#[derive(Clone, PartialEq, Eq)]
pub struct Marker {
    effect: String,
    code: [u8; 32],
}

/// What Jira keeps it under.
pub(super) const NAME: &str = "git-jira-agent";

impl Marker {
    /// Marks an effect, named by its key, with the key of the installation.
    pub fn new(effect: &str, installation: &[u8]) -> Marker {
        Marker { effect: effect.to_owned(), code: code(effect, installation).finalize().into_bytes().into() }
    }

    /// What is kept beside a comment, an entry of work or a change.
    pub(super) fn value(&self) -> Value {
        json!({ "effect": self.effect, "mac": hex(&self.code) })
    }

    /// A property to make something with.
    pub(super) fn property(&self) -> Value {
        json!({ "key": NAME, "value": self.value() })
    }

    /// What goes with a transition into the history.
    pub(super) fn metadata(&self) -> Value {
        json!({ "type": NAME, "extraData": self.value() })
    }

    /// A word to look for where nothing but text is kept: letters and digits, which no markup changes.
    pub(super) fn token(&self) -> String {
        format!("gja{}", hex(&self.code[..16]))
    }

    /// Tells whether a value that Jira kept is this mark.
    pub(super) fn is(&self, value: &Value) -> bool {
        // Some versions of Data Center keep the text of a value, and give that back.
        let text = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        // Who could measure how long this takes cannot write as the account.
        text.as_ref().unwrap_or(value) == &self.value()
    }

    pub(super) fn is_metadata(&self, metadata: &Value) -> bool {
        metadata["type"] == NAME && self.is(&metadata["extraData"])
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        text.contains(&self.token())
    }
}

fn code(effect: &str, installation: &[u8]) -> Hmac<Sha256> {
    let mut code = <Hmac<Sha256> as KeyInit>::new_from_slice(installation).expect("a key may have any length");
    code.update(effect.as_bytes());
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_that_of_the_standard() {
        // RFC 4231, test case 2.
        let marker = Marker::new("what do ya want for nothing?", b"Jefe");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(marker.value()["mac"], expected);
        assert_eq!(marker.token(), format!("gja{}", &expected[..32]));
    }

    #[test]
    fn a_mark_is_of_one_effect_and_one_installation() {
        let marker = Marker::new("e1", b"key");
        assert!(marker.is(&Marker::new("e1", b"key").value()) && marker.is_metadata(&marker.metadata()));
        for other in [Marker::new("e2", b"key"), Marker::new("e1", b"other")] {
            assert!(!marker.is(&other.value()) && !marker.is_metadata(&other.metadata()));
            assert!(!marker.is_in(&other.token()));
        }
        assert!(marker.is(&json!(marker.value().to_string())));
        assert!(!marker.is(&Value::Null) && !marker.is(&json!({ "effect": "e1" })));
        assert!(marker.is_in(&format!("said ({})", marker.token())));
    }
}
