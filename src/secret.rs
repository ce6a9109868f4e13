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
    if secret.len() >= SHORTEST {
        let mut secrets = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
        if !secrets.iter().any(|known| known == secret) {
            if secrets.len() == MOST {
                // The oldest token is the one that ran out longest ago.
                secrets.remove(0);
            }
            secrets.push(secret.to_owned());
        }
    }
}

/// The text with every hidden value replaced.
pub fn without(text: Vec<u8>) -> Vec<u8> {
    let secrets = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    if !secrets.iter().any(|secret| memchr::memmem::find(&text, secret.as_bytes()).is_some()) {
        return text;
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    secrets.iter().fold(text, |text, secret| text.replace(secret.as_str(), "[secret]")).into_bytes()
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
/// Each person's own account has two.
const MOST: usize = 1024;
/// The bytes of a key.
const KEY: usize = 32;

static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

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
}
