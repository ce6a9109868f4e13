//! Who signed a commit.
//!
//! Signatures are checked by the programs that are known for it: `ssh-keygen -Y verify` and `gpgv`. They run in the daemon
//! alone, with an environment of their own, from fixed places, in a private folder that is gone afterwards, and for some
//! seconds at most; no configuration of a repository, a user or the system has a say, and nothing that came from a
//! repository becomes an argument. Only keys in the table count: `ssh-keygen` is told of the one key that the signature
//! names, if somebody has it, and `gpgv` gets the keyring of the configuration, out of which only fingerprints in the
//! table are people.
//!
//! A signature that does not count and one that cannot be checked *now* are two things. The second waits: a program that
//! is missing or a keyring that cannot be read is somebody's to mend, and refusing would lose the order.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Evidence, People, Pusher, keys};
use crate::git::Signed;

/// What is known of a commit's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// It is good, and this person's.
    Good(Pusher),
    /// There is none that counts.
    Bad { because: String },
    /// Nobody has looked, or could.
    Unchecked { because: String },
}

/// Tells who signed a commit. Blocks for as long as the program runs that knows.
pub fn check(signed: &Signed, people: &People) -> Signature {
    check_with(signed, people, &PLACES)
}

/// What keeps the signatures of the people in the table from being checked, each with its cure.
pub fn hindrances(people: &People) -> Vec<(String, &'static str)> {
    let (openpgp, ssh): (Vec<&String>, Vec<&String>) = people.keys.keys().partition(|key| keys::is_openpgp(key));
    let mut found = Vec::new();
    if people.keys.is_empty() {
        found.push(("nobody's signature counts: no [[person]] has keys".to_owned(), "add keys = [\"ssh-ed25519 …\"]"));
    }
    if !ssh.is_empty() && program(SSH_KEYGEN, &PLACES).is_none() {
        found.push((missing(SSH_KEYGEN), "install OpenSSH's client, then `agent daemon reload`"));
    }
    if openpgp.is_empty() {
        return found;
    }
    if program(GPGV, &PLACES).is_none() {
        found.push((missing(GPGV), "install gpgv, then `agent daemon reload`"));
    }
    match &people.keyring {
        None => found.push((NO_KEYRING.to_owned(), "gpg --export KEY… > FILE, and name FILE there")),
        Some(keyring) => {
            if let Err(because) = readable(keyring) {
                found.push((because, "gpg --export KEY… > FILE, readable for the daemon"));
            }
        }
    }
    found
}

/// Where programs are looked for; no environment is asked.
const PLACES: [&str; 5] = ["/usr/local/bin", "/usr/bin", "/bin", "/opt/homebrew/bin", "/run/current-system/sw/bin"];

const SSH_KEYGEN: &str = "ssh-keygen";
const GPGV: &str = "gpgv";
const NO_KEYRING: &str = "OpenPGP signatures are not checked: [people] openpgp_keyring names no keyring";

/// The longest that a program may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest signature that is looked at.
const LONGEST: usize = 64 << 10;

fn check_with(signed: &Signed, people: &People, places: &[&str]) -> Signature {
    let bad = |because: &str| Err(Failure::Bad(because.to_owned()));
    let signer = match &signed.signatures[..] {
        [] => bad("the commit is not signed; signed by `git commit -S` with a key of theirs in [[person]], or pushed \
                   with `git push --signed`, it would be carried out"),
        [signature] if signature.len() > LONGEST => bad("the commit's signature is too long"),
        [signature] if signature.starts_with(b"-----BEGIN SSH SIGNATURE-----") => {
            ssh(signature, &signed.payload, people, places)
        }
        [signature] if signature.starts_with(b"-----BEGIN PGP SIGNATURE-----") => {
            openpgp(signature, &signed.payload, people, places)
        }
        [_] => bad("the commit is signed in a way that is not known here; OpenPGP and SSH are"),
        _ => bad("the commit bears more than one signature"),
    };
    match signer {
        Ok(name) => Signature::Good(Pusher { login: name, by: Evidence::Signature }),
        Err(Failure::Bad(because)) => Signature::Bad { because },
        Err(Failure::Now(because)) => Signature::Unchecked { because },
    }
}

/// Why a signature has no signer.
enum Failure {
    /// It has none that counts.
    Bad(String),
    /// That cannot be found out now.
    Now(String),
}

/// What a program said.
struct Ran {
    good: bool,
    out: String,
    err: String,
}

fn ssh(signature: &[u8], payload: &[u8], people: &People, places: &[&str]) -> Result<String, Failure> {
    let Some(key) = keys::of_ssh_signature(signature) else {
        return Err(Failure::Bad("the commit's SSH signature cannot be read".to_owned()));
    };
    let Some(person) = people.by_key(&key) else {
        return Err(Failure::Bad("the commit is signed with an SSH key that no [[person]] has".to_owned()));
    };
    let folder = Folder::new(payload, signature)?;
    let signers = folder.write("signers", format!("{NAMESPACE} namespaces=\"{NAMESPACE}\" {key}\n").as_bytes())?;
    let sealed = folder.path("sealed");
    let arguments: [&OsStr; 10] = [
        "-Y".as_ref(),
        "verify".as_ref(),
        "-f".as_ref(),
        signers.as_ref(),
        "-I".as_ref(),
        NAMESPACE.as_ref(),
        "-n".as_ref(),
        NAMESPACE.as_ref(),
        "-s".as_ref(),
        sealed.as_ref(),
    ];
    let ran = folder.run(SSH_KEYGEN, &arguments, places)?;
    match ran {
        Ran { good: true, .. } => Ok(person.name.clone()),
        // Whatever it says of signatures is about this one; the rest is about the machine.
        Ran { out, err, .. } if out.contains("ignature") || err.contains("ignature") => Err(unfit()),
        Ran { err, .. } => Err(Failure::Now(format!("{SSH_KEYGEN}: {}", err.trim()))),
    }
}

fn openpgp(signature: &[u8], payload: &[u8], people: &People, places: &[&str]) -> Result<String, Failure> {
    let keyring = people.keyring.as_deref().ok_or_else(|| Failure::Bad(NO_KEYRING.to_owned()))?;
    // Without it, every key would seem to be missing.
    readable(keyring).map_err(Failure::Now)?;
    let folder = Folder::new(payload, signature)?;
    let sealed = folder.path("sealed");
    let arguments: [&OsStr; 8] = [
        "--homedir".as_ref(),
        folder.inside.path().as_ref(),
        "--keyring".as_ref(),
        keyring.as_ref(),
        "--status-fd".as_ref(),
        "1".as_ref(),
        sealed.as_ref(),
        "-".as_ref(),
    ];
    let ran = folder.run(GPGV, &arguments, places)?;
    let (fingerprint, primary) = signing_keys(&ran)?;
    let person = people.by_key(&primary).or_else(|| people.by_key(&fingerprint));
    person.map(|person| person.name.clone()).ok_or_else(|| {
        Failure::Bad(format!("the commit is signed with the OpenPGP key {primary}, which no [[person]] has"))
    })
}

/// The key that made the one good signature `gpgv` reports, and the primary key it belongs to.
///
/// The exit status does not tell: it is 0 for keys that have expired or were revoked, too.
fn signing_keys(ran: &Ran) -> Result<(String, String), Failure> {
    let bad = |because: &str| Err(Failure::Bad(because.to_owned()));
    let lines = ran.out.lines().filter_map(|line| line.strip_prefix("[GNUPG:] "));
    let lines: Vec<Vec<&str>> = lines.map(|line| line.split_ascii_whitespace().collect()).collect();
    let of = |word: &str| lines.iter().find(|line| line.first() == Some(&word));
    let said: Vec<&str> =
        lines.iter().filter_map(|line| line.first()).filter(|word| VERDICTS.contains(word)).copied().collect();
    match &said[..] {
        ["GOODSIG"] if ran.good => {}
        ["BADSIG"] => return Err(unfit()),
        ["EXPKEYSIG"] => return bad("the OpenPGP key that the commit is signed with has expired"),
        ["REVKEYSIG"] => return bad("the OpenPGP key that the commit is signed with was revoked"),
        ["EXPSIG"] => return bad("the commit's signature has expired"),
        ["ERRSIG"] if of("NO_PUBKEY").is_some() => {
            return bad("the commit is signed with an OpenPGP key that is not in the keyring");
        }
        [] if of("NODATA").is_none() => return Err(Failure::Now(format!("{GPGV}: {}", ran.err.trim()))),
        _ => return bad("the commit's OpenPGP signature cannot be checked: it is damaged, or of an unknown kind"),
    }
    let fields = of("VALIDSIG").map(|line| &line[1..]).unwrap_or_default();
    match fields {
        [_, _, _, _, _, _, _, "1" | "2" | "3", ..] => {
            bad("the commit is signed over a digest that can be forged; SHA-256 or better counts")
        }
        [fingerprint, _, _, _, _, _, _, _, _, primary, ..] => Ok(((*fingerprint).to_owned(), (*primary).to_owned())),
        _ => bad("the commit's OpenPGP signature is not valid"),
    }
}

/// What `gpgv` may say of a signature; two of them would be about two signatures.
const VERDICTS: [&str; 8] =
    ["GOODSIG", "BADSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "ERRSIG", "PLAINTEXT", "UNEXPECTED"];

/// What signatures of commits are made for, and what their signer is called towards `ssh-keygen`.
const NAMESPACE: &str = "git";

fn unfit() -> Failure {
    Failure::Bad("the commit's signature does not fit: another key made it, or it was made for another text".to_owned())
}

fn missing(name: &str) -> String {
    format!("signatures cannot be checked: {name} is not installed")
}

fn program(name: &str, places: &[&str]) -> Option<PathBuf> {
    places.iter().map(|place| Path::new(place).join(name)).find(|path| path.is_file())
}

fn readable(keyring: &Path) -> Result<(), String> {
    File::open(keyring).map(drop).map_err(|error| format!("the keyring {} cannot be read: {error}", keyring.display()))
}

/// A private folder with what a program reads and writes, gone when dropped.
struct Folder {
    inside: tempfile::TempDir,
}

impl Folder {
    fn new(payload: &[u8], signature: &[u8]) -> Result<Folder, Failure> {
        let inside = tempfile::Builder::new().prefix("agent-check-").tempdir().map_err(|error| now(&error))?;
        let folder = Folder { inside };
        folder.write("payload", payload)?;
        folder.write("sealed", signature)?;
        Ok(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.inside.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.path(name);
        fs::write(&path, bytes).map(|()| path).map_err(|error| now(&error))
    }

    fn run(&self, name: &str, arguments: &[&OsStr], places: &[&str]) -> Result<Ran, Failure> {
        let program = program(name, places).ok_or_else(|| Failure::Now(missing(name)))?;
        let (good, out, err) =
            self.spawn(&program, arguments).map_err(|error| Failure::Now(format!("{name}: {error}")))?;
        Ok(Ran { good, out, err })
    }

    /// Runs a program between files, so that no pipe can fill up and nobody has to read beside it.
    fn spawn(&self, program: &Path, arguments: &[&OsStr]) -> std::io::Result<(bool, String, String)> {
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("LC_ALL", "C")
            .envs(["HOME", "GNUPGHOME"].map(|name| (name, self.inside.path())))
            .current_dir(self.inside.path())
            .stdin(File::open(self.path("payload"))?)
            .stdout(Stdio::from(File::create(self.path("out"))?))
            .stderr(Stdio::from(File::create(self.path("err"))?))
            .spawn()?;
        let began = Instant::now();
        let mut pause = Duration::from_millis(1);
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if began.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                return Err(std::io::Error::other("it did not end in time"));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        if status.code().is_none() {
            return Err(std::io::Error::other(format!("it died: {status}")));
        }
        let text = |name| fs::read(self.path(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok((status.success(), text("out")?, text("err")?))
    }
}

fn now(error: &std::io::Error) -> Failure {
    Failure::Now(format!("signatures cannot be checked: {error}"))
}

#[cfg(test)]
mod tests;
