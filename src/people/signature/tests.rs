use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::{Person, Settings};
use super::*;
use crate::git::Commit;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const FINGERPRINT: &str = "CDC1353567D9C80EF683C47BD95735A08BC8DE4B";

fn people(keyring: Option<&str>) -> People {
    let keys = vec![KEY.to_owned(), FINGERPRINT.to_owned()];
    let ann = Person { name: "Ann Example".to_owned(), keys, ..Person::default() };
    let files = Settings { openpgp_keyring: keyring.map(PathBuf::from), ..Settings::default() };
    People::new(vec![ann]).unwrap().with_files(&files).unwrap()
}

fn signed(signatures: &[&str]) -> Signed {
    let commit = Commit {
        id: "a".repeat(40).parse().unwrap(),
        parents: Vec::new(),
        author: crate::git::Ident::default(),
        committer: crate::git::Ident::default(),
        message: Vec::new(),
    };
    Signed {
        commit,
        payload: b"text".to_vec(),
        signatures: signatures.iter().map(|one| one.as_bytes().to_vec()).collect(),
    }
}

/// A signature that names a key; whether it is good is for the program to say.
fn naming(key: &str) -> String {
    let blob = STANDARD.decode(key.split(' ').nth(1).unwrap()).unwrap();
    let length = u32::try_from(blob.len()).unwrap().to_be_bytes();
    let whole = STANDARD.encode([b"SSHSIG\0\0\0\x01", &length[..], &blob].concat());
    format!("-----BEGIN SSH SIGNATURE-----\n{whole}\n-----END SSH SIGNATURE-----\n")
}

/// Checks with a program of this name that is a script.
fn with(name: &str, script: &str, signature: &str) -> Signature {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(name);
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    check_with(&signed(&[signature]), &people(Some("/dev/null")), &["/no/such", folder.path().to_str().unwrap()])
}

#[track_caller]
fn check_bad(found: &Signature, because: &str) {
    let Signature::Bad { because: found } = found else { panic!("{found:?}") };
    assert!(found.contains(because), "{found}");
}

#[track_caller]
fn check_unchecked(found: &Signature, because: &str) {
    let Signature::Unchecked { because: found } = found else { panic!("{found:?}") };
    assert!(found.contains(because), "{found}");
}

fn ann() -> Signature {
    Signature::Good(Pusher { login: "Ann Example".to_owned(), by: Evidence::Signature })
}

const OPENPGP: &str = "-----BEGIN PGP SIGNATURE-----\n";

#[test]
fn g5_what_is_not_signed_once_and_in_a_known_way_has_no_signer() {
    let check = |signatures: &[&str]| check_with(&signed(signatures), &people(None), &[]);
    check_bad(&check(&[]), "is not signed; signed by `git commit -S`");
    check_bad(&check(&[&naming(KEY), &naming(KEY)]), "more than one");
    check_bad(&check(&["-----BEGIN SIGNED MESSAGE-----\n"]), "not known here");
    check_bad(&check(&[&format!("{OPENPGP}{}", "x".repeat(LONGEST))]), "too long");
    check_bad(&check(&["-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----"]), "cannot be read");
    check_bad(&check(&[&naming(&KEY.replace("AAAAA ", "").replace("AAAAAAAAAA", "AAAAAAAAAB"))]), "no [[person]] has");
    check_bad(&check(&[OPENPGP]), "names no keyring");
}

#[test]
fn g5_a_program_that_cannot_tell_now_is_no_refusal() {
    let ssh = |script: &str| with("ssh-keygen", script, &naming(KEY));
    let missing = check_with(&signed(&[&naming(KEY)]), &people(None), &["/no/such"]);
    check_unchecked(&missing, "ssh-keygen is not installed");
    check_unchecked(&ssh("echo 'No user exists for uid 7' >&2; exit 255"), "No user exists for uid 7");
    check_unchecked(&ssh("kill -9 $$"), "it died");
    check_bad(&ssh("echo 'Could not verify signature.'; exit 255"), "does not fit");
    assert_eq!(ssh("exit 0"), ann());
    let keyring = check_with(&signed(&[OPENPGP]), &people(Some("/no/such")), &PLACES);
    check_unchecked(&keyring, "the keyring /no/such cannot be read");
    check_unchecked(&with("gpgv", "echo 'gpgv: out of memory' >&2; exit 2", OPENPGP), "out of memory");
}

#[test]
fn g5_a_program_gets_the_text_the_one_key_and_nothing_of_the_environment() {
    let script = format!(
        "[ \"$(cat)\" = text ] && [ \"$PATH\" != \"{}\" ] && [ -z \"$CARGO_PKG_NAME$USER\" ] || exit 1\n\
         [ \"$(cat \"$4\")\" = 'git namespaces=\"git\" {KEY}' ] && [ \"$*\" = \"-Y verify -f $HOME/signers -I git -n git -s $HOME/sealed\" ]",
        "never"
    );
    assert_eq!(with("ssh-keygen", &script, &naming(KEY)), ann());
}

/// What `gpgv` said of a signature made by Ann's key, with its exit status.
#[track_caller]
fn check_said(status: u8, lines: &[&str], expected: Result<(), &str>) {
    let lines: Vec<String> = lines.iter().map(|line| format!("echo '[GNUPG:] {line}'")).collect();
    let found = with("gpgv", &format!("{}\nexit {status}", lines.join("\n")), OPENPGP);
    match expected {
        Ok(()) => assert_eq!(found, ann()),
        Err(because) => check_bad(&found, because),
    }
}

#[test]
fn g5_of_openpgp_only_one_good_signature_of_a_living_key_counts() {
    let of = |key: &str, digest: u8| format!("VALIDSIG {key} 2026-11-26 1795679902 0 4 0 22 {digest} 00 {key}");
    let valid = &of(FINGERPRINT, 8);
    let good = "GOODSIG D95735A08BC8DE4B Ann <ann@example.org>";
    check_said(0, &["NEWSIG", good, valid], Ok(()));
    let subkey = of(&"1".repeat(40), 10).replacen(&format!("00 {}", "1".repeat(40)), &format!("00 {FINGERPRINT}"), 1);
    check_said(0, &[good, &subkey], Ok(()));
    check_said(2, &[good, valid], Err("damaged"));
    check_said(0, &["EXPKEYSIG D95735A08BC8DE4B Ann", valid], Err("has expired"));
    check_said(0, &["REVKEYSIG D95735A08BC8DE4B Ann", valid], Err("was revoked"));
    check_said(0, &["EXPSIG D95735A08BC8DE4B Ann", valid], Err("signature has expired"));
    check_said(1, &["BADSIG D95735A08BC8DE4B Ann"], Err("does not fit"));
    check_said(
        2,
        &["ERRSIG D95735A08BC8DE4B 22 8 00 1795679902 9", "NO_PUBKEY D95735A08BC8DE4B"],
        Err("not in the keyring"),
    );
    check_said(2, &["NODATA 1", "NODATA 2"], Err("damaged"));
    check_said(0, &[good, valid, good, valid], Err("damaged"));
    check_said(0, &["EXPKEYSIG 1 Eve", good, valid], Err("damaged"));
    check_said(0, &["PLAINTEXT 62 0", good, valid], Err("damaged"));
    check_said(0, &[good], Err("not valid"));
    check_said(0, &[good, &of(FINGERPRINT, 2)], Err("can be forged"));
    check_said(0, &[good, &of(&"2".repeat(40), 8)], Err("which no [[person]] has"));
}
