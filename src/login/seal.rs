//! What keeps a login from whoever reads the store: a key beside it, and a seal that is good for one login only.
//!
//! The key is a systemd credential where the service was given one, else a file that only the daemon's user may read,
//! made when the first login is kept. A copy of the store without the key opens nothing.

use std::io;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::zeroize::Zeroizing;
use sha2::Sha256;

use crate::secret;

/// Where the key is.
#[derive(Clone)]
pub struct Keyring {
    file: PathBuf,
    credential: Option<PathBuf>,
}

/// Seals and opens.
pub struct Seal(LessSafeKey);

/// The name of the key, as a file in the state folder and as a systemd credential.
pub const NAME: &str = "logins.key";

/// Less than this is no key; one of our own has just as many bytes.
const SHORTEST: usize = 32;
/// The first byte of what is sealed: how.
const VERSION: u8 = 1;

impl Keyring {
    pub fn new(state: &Path, credentials: Option<&Path>) -> Keyring {
        let credential = credentials.map(|folder| folder.join(NAME)).filter(|path| path.exists());
        Keyring { file: state.join(NAME), credential }
    }

    /// The seal, if there is a key.
    pub fn find(&self) -> io::Result<Option<Seal>> {
        let path = self.credential.as_ref().unwrap_or(&self.file);
        match std::fs::read(path) {
            // Our own was damaged: the next login makes another.
            Ok(key) if key.len() != SHORTEST && self.credential.is_none() => Ok(None),
            Ok(key) => Seal::new(Zeroizing::new(key)).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The seal; a key is made where there is none.
    pub fn make(&self) -> io::Result<Seal> {
        match &self.credential {
            Some(path) => Seal::new(Zeroizing::new(std::fs::read(path)?)),
            None => Seal::new(Zeroizing::new(secret::key(&self.file)?)),
        }
    }
}

impl Seal {
    fn new(key: Zeroizing<Vec<u8>>) -> io::Result<Seal> {
        if key.len() < SHORTEST {
            return Err(io::Error::other(format!("the credential {NAME} has less than {SHORTEST} bytes")));
        }
        let mut derived = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).expect("a key may have any length");
        derived.update(b"git-jira-agent: logins");
        let derived = Zeroizing::new(<[u8; 32]>::from(derived.finalize().into_bytes()));
        let key = UnboundKey::new(&CHACHA20_POLY1305, &*derived).map_err(|_| io::Error::other("no key"))?;
        Ok(Seal(LessSafeKey::new(key)))
    }

    /// Seals something so that it opens only with the same `bound`.
    pub fn close(&self, open: &[u8], bound: &[&str]) -> io::Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let mut text = Zeroizing::new(open.to_vec());
        let tag = self.0.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), bytes(bound), &mut text);
        let tag = tag.map_err(|_| io::Error::other("it is too long to be sealed"))?;
        Ok([&[VERSION], &nonce[..], &text, tag.as_ref()].concat())
    }

    /// Opens what was sealed with this key and the same `bound`.
    pub fn open(&self, sealed: &[u8], bound: &[&str]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, text) = sealed.strip_prefix(&[VERSION])?.split_at_checked(NONCE_LEN)?;
        let mut text = Zeroizing::new(text.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = self.0.open_in_place(nonce, bytes(bound), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

/// What a seal is bound to, so that no two lists are the same bytes.
fn bytes(bound: &[&str]) -> Aad<Vec<u8>> {
    let one = |part: &&str| [&(part.len() as u64).to_be_bytes()[..], part.as_bytes()].concat();
    Aad::from(bound.iter().flat_map(one).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn s13_what_is_sealed_opens_for_its_own_login_only_and_only_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = Keyring::new(folder.path(), None);
        assert!(keyring.find().unwrap().is_none(), "no key is made to look");
        let sealed = keyring.make().unwrap().close(b"ann-token", &["jira", "Ann", "1"]).unwrap();
        let seal = keyring.find().unwrap().unwrap();
        assert_eq!(seal.open(&sealed, &["jira", "Ann", "1"]).unwrap().as_slice(), b"ann-token");
        assert!(!sealed.windows(5).any(|window| window == b"token"));
        for other in [&["jira", "Bob", "1"][..], &["other", "Ann", "1"], &["jira", "Ann", "2"], &["jiraAnn", "", "1"]] {
            assert!(seal.open(&sealed, other).is_none(), "{other:?}");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(seal.open(&changed, &["jira", "Ann", "1"]).is_none(), "byte {at}");
            assert!(seal.open(&sealed[..at], &["jira", "Ann", "1"]).is_none(), "cut at {at}");
        }
        assert_eq!(std::fs::metadata(folder.path().join(NAME)).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(folder.path().join(NAME), [1; 33]).unwrap();
        assert!(keyring.find().unwrap().is_none(), "a damaged one is none");
        std::fs::remove_file(folder.path().join(NAME)).unwrap();
        assert!(keyring.make().unwrap().open(&sealed, &["jira", "Ann", "1"]).is_none(), "another key");
    }

    #[test]
    fn s13_a_systemd_credential_is_the_key_where_there_is_one() {
        let (state, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(credentials.path().join(NAME), "short").unwrap();
        let keyring = Keyring::new(state.path(), Some(credentials.path()));
        assert!(keyring.make().err().unwrap().to_string().contains("less than 32 bytes"));
        std::fs::write(credentials.path().join(NAME), "x".repeat(44)).unwrap();
        let sealed = keyring.make().unwrap().close(b"t", &[]).unwrap();
        assert!(!state.path().join(NAME).exists());
        assert!(keyring.find().unwrap().unwrap().open(&sealed, &[]).is_some());
    }

    #[test]
    fn the_same_is_never_sealed_alike() {
        let folder = tempfile::tempdir().unwrap();
        let seal = Keyring::new(folder.path(), None).make().unwrap();
        assert_ne!(seal.close(b"t", &[]).unwrap(), seal.close(b"t", &[]).unwrap());
    }
}
