//! What is sure about a message or a branch, whatever else is read in one: told without the daemon.
//!
//! Only the commonest shapes are known here, and of those that look like more nothing is said. So there is one reading of
//! messages all the same: tests lay these few beside it.

use alloc::vec::Vec;

/// The one key of a message: a word of its own, of one of these projects, in a text that has no command and nothing else like a key.
pub fn key_in_message<'t>(message: &'t [u8], projects: &[u8]) -> Option<&'t [u8]> {
    let (before, key, after) = only_key(message, projects)?;
    let is_word =
        before.is_none_or(|byte| b" \n[(".contains(&byte)) && after.is_none_or(|byte| b" \n:,])".contains(&byte));
    (is_word && !message.contains(&b'#')).then_some(key)
}

/// The one key of a branch, given as HEAD names it: a part of its name, or the beginning of one.
pub fn key_of_branch<'t>(head: &'t [u8], projects: &[u8]) -> Option<&'t [u8]> {
    let name = head.strip_prefix(b"ref: refs/heads/")?.strip_suffix(b"\n")?;
    let (before, key, after) = only_key(name, projects)?;
    (before.is_none_or(|byte| byte == b'/') && matches!(after, None | Some(b'/' | b'-'))).then_some(key)
}

/// The message with a prefix, `{key}` in which stands for the key: one line of words that has no story of its own, and no key.
pub fn with_prefix(message: &[u8], prefix: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let line = message.strip_suffix(b"\n")?;
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b" ,.-_/'".contains(byte) || !byte.is_ascii();
    let is_plain = line.first()?.is_ascii_alphanumeric()
        && line.last()? != &b' '
        && line.iter().all(is_word)
        && hyphens(line).next().is_none();
    let at = prefix.windows(5).position(|part| part == b"{key}").filter(|_| is_plain)?;
    let rest = &prefix[at + 5..];
    let once = !rest.windows(5).any(|part| part == b"{key}");
    once.then(|| [&prefix[..at], key, rest, message].concat())
}

/// The only place at which there can be a key, with what stands before and after it.
fn only_key<'t>(text: &'t [u8], projects: &[u8]) -> Option<(Option<u8>, &'t [u8], Option<u8>)> {
    let mut hyphens = hyphens(text);
    let (hyphen, None) = (hyphens.next()?, hyphens.next()) else { return None };
    let project =
        text[..hyphen].iter().rev().take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()).count();
    let number = text[hyphen + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (begin, end) = (hyphen - project, hyphen + 1 + number);
    let is_known = projects.split(|&byte| byte == b' ').any(|known| known == &text[begin..hyphen]);
    let is_number = text[hyphen + 1] != b'0' && number <= 9;
    let before = begin.checked_sub(1).map(|before| text[before]);
    (is_known && is_number && text.is_ascii()).then(|| (before, &text[begin..end], text.get(end).copied()))
}

/// Where a hyphen stands before a digit.
fn hyphens(text: &[u8]) -> impl Iterator<Item = usize> {
    let pairs = text.windows(2).enumerate();
    pairs.filter(|(_, pair)| pair[0] == b'-' && pair[1].is_ascii_digit()).map(|(at, _)| at)
}
