//! The keys people sign and log in with, each in the one form in which keys are compared.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Reads an SSH public key as it stands in an `id_….pub`, or the fingerprint of an OpenPGP key.
pub(super) fn normal(text: &str) -> Option<String> {
    fingerprint(text).or_else(|| ssh(text))
}

/// The public key that `ssh-ed25519 AAAA… comment` begins with.
pub(super) fn ssh(text: &str) -> Option<String> {
    let mut words = text.split_ascii_whitespace();
    let (kind, blob) = (words.next()?, words.next()?);
    of_blob(&STANDARD.decode(blob).ok()?).filter(|key| key.split(' ').next() == Some(kind))
}

/// A public key as SSH sends it.
pub(super) fn of_blob(blob: &[u8]) -> Option<String> {
    let kind = std::str::from_utf8(take(&mut { blob })?).ok()?;
    KINDS.contains(&kind).then(|| format!("{kind} {}", STANDARD.encode(blob)))
}

/// Whether a key in its form is OpenPGP's.
pub(super) fn is_openpgp(key: &str) -> bool {
    !key.contains(' ')
}

/// The public key in a signature made by `ssh-keygen -Y sign`.
pub(super) fn of_ssh_signature(armoured: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(armoured).ok()?.trim();
    let inner = text.strip_prefix("-----BEGIN SSH SIGNATURE-----")?.strip_suffix("-----END SSH SIGNATURE-----")?;
    let blob = STANDARD.decode(inner.split_ascii_whitespace().collect::<String>()).ok()?;
    let mut rest = blob.strip_prefix(b"SSHSIG\0\0\0\x01")?;
    of_blob(take(&mut rest)?)
}

/// Plain keys; a certificate says something about one, and nobody here knows whom to believe.
const KINDS: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Version 4 has 40 digits, version 5 and later have 64; people write them in groups.
fn fingerprint(text: &str) -> Option<String> {
    let digits: String = text.split_ascii_whitespace().collect();
    let whole = matches!(digits.len(), 40 | 64) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    whole.then(|| digits.to_ascii_uppercase())
}

/// Takes what SSH calls a string: its length in four bytes, then as many.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (taken, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn g5_a_key_has_one_form_however_it_is_written() {
        assert_eq!(normal(&format!("  {KEY}   ann@laptop ")).as_deref(), Some(KEY));
        let grouped = "cdc1 3535 67D9 C80E F683  C47B D957 35A0 8BC8 DE4B";
        assert_eq!(normal(grouped).as_deref(), Some("CDC1353567D9C80EF683C47BD95735A08BC8DE4B"));
        assert!(is_openpgp(&normal(grouped).unwrap()) && !is_openpgp(KEY));
    }

    #[test]
    fn g5_what_is_no_key_is_none() {
        let other = KEY.replace("ssh-ed25519", "ssh-rsa");
        for wrong in ["", "ssh-ed25519", "ssh-ed25519 AAAA", "D95735A08BC8DE4B", "-----BEGIN", &other] {
            assert_eq!(normal(wrong), None, "{wrong}");
        }
        assert_eq!(of_ssh_signature(b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----"), None);
    }
}
