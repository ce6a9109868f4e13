//! Values that must never appear.
//!
//! Whoever loads a secret says so here once; whoever writes text for others passes it through
//! [`without`]. The log does, so a secret that slips into a message by mistake does not leave.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

/// Keeps a value out of every text from now on; what is too short to be a secret would only garble texts.
pub fn hide(secret: &str) {
    HIDDEN.write().unwrap_or_else(PoisonError::into_inner).add(secret, Lasts::Always);
}

/// Keeps a token out of every text that ends by itself: one of the last that there were.
pub fn hide_token(token: &str) {
    HIDDEN.write().unwrap_or_else(PoisonError::into_inner).add(token, Lasts::AWhile);
}

/// The text with every hidden value replaced.
pub fn without(text: Vec<u8>) -> Vec<u8> {
    let hidden = HIDDEN.read().unwrap_or_else(PoisonError::into_inner);
    let mut secrets = hidden.secrets.iter().chain(&hidden.tokens);
    if !secrets.any(|secret| memchr::memmem::find(&text, secret.as_bytes()).is_some()) {
        return text;
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    hidden
        .secrets
        .iter()
        .chain(&hidden.tokens)
        .fold(text, |text, secret| text.replace(secret.as_str(), "[secret]"))
        .into_bytes()
}

/// A key of this installation's own, made at the first asking.
pub fn key(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Ok(key) if key.len() == KEY => return Ok(key),
        Ok(_) => tracing::warn!("{} was damaged: a new key is made", path.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut key = vec![0; KEY];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let temporary = path.with_extension("part");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&key)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    Ok(key)
}

const SHORTEST: usize = 4;
/// The most tokens that are kept out at the same time; the oldest is the one that ran out longest ago.
const TOKENS: usize = 64;
/// The bytes of a key.
const KEY: usize = 32;

static HIDDEN: RwLock<Hidden> = RwLock::new(Hidden { secrets: Vec::new(), tokens: Vec::new() });

/// What is kept out of texts.
struct Hidden {
    secrets: Vec<String>,
    tokens: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lasts {
    Always,
    AWhile,
}

impl Hidden {
    fn add(&mut self, value: &str, lasts: Lasts) {
        if value.len() < SHORTEST || self.secrets.iter().chain(&self.tokens).any(|known| known == value) {
            return;
        }
        match lasts {
            Lasts::Always => self.secrets.push(value.to_owned()),
            Lasts::AWhile => {
                if self.tokens.len() == TOKENS {
                    self.tokens.remove(0);
                }
                self.tokens.push(value.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s14_a_loaded_secret_never_reaches_a_line() {
        hide("canary-secret-1");
        let line = without(b"refused: Bearer canary-secret-1 was canary-secret-1\n".to_vec());
        assert_eq!(line, b"refused: Bearer [secret] was [secret]\n");
        assert_eq!(without(b"nothing \xff here".to_vec()), b"nothing \xff here");
    }

    #[test]
    fn s14_tokens_that_come_and_go_push_out_no_secret() {
        hide("canary-secret-2");
        (0..=TOKENS).for_each(|number| hide_token(&format!("canary-token-{number:03}-")));
        let line = without(b"canary-secret-2 canary-token-064- canary-token-000-".to_vec());
        assert_eq!(line, b"[secret] [secret] canary-token-000-");
    }
}
