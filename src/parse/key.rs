//! Issue keys: what one is, and where a text mentions one.
//!
//! Every key has a hyphen before a digit, and prose seldom has one, so the scan looks for that and
//! reads outwards from it. Both runs beside a hyphen end at the next hyphen, so no byte is looked at
//! more than a few times and the whole is linear. What only looks like a key is kept with the reason.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::{self, Display, Formatter};
use std::ops::Range;
use std::str::FromStr;

use bstr::ByteSlice;
use memchr::memchr_iter;
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use regex::bytes::{Captures, Regex};
use serde::{Deserialize, Serialize};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Names one issue: a project, a hyphen and a number, in upper case.
///
/// This is the form alone, wide enough for both modes; which texts are a mention of an issue is
/// decided by [`Rules`](super::Rules).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IssueKey(Box<str>);

/// Says that a text has not the form of an issue key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no issue key: it takes a project, a hyphen and a number, such as ABC-1")]
pub struct NotAKey(String);

/// A key, and where the input mentions it first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub key: IssueKey,
    /// Bytes of the input.
    pub at: Range<usize>,
}

/// Something that has the shape of a key and is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookAlike {
    pub text: String,
    /// Bytes of the input.
    pub at: Range<usize>,
    pub because: Unlinked,
}

/// Why a look-alike is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Unlinked {
    #[error("no such project")]
    NoSuchProject,
    #[error("a technical name")]
    TechnicalName,
    #[error("lower case")]
    LowerCase,
    #[error("leading zero")]
    LeadingZero,
    #[error("inside a word")]
    InsideWord,
    #[error("a project of one letter")]
    ProjectTooShort,
    #[error("the project is too long")]
    ProjectTooLong,
    #[error("the number is too long")]
    NumberTooLong,
    #[error("found by `parse.key`, but not of the form of a key")]
    NotOfTheForm,
    /// A key, but of a project that is not linked here; [`Rules::says`](super::Rules::says) names those that are.
    #[error("a project that is not linked here")]
    OtherProject,
}

/// What is a key, once the settings are known.
#[derive(Clone, Debug)]
pub(super) struct Grammar {
    /// The projects of the site in upper case, where they are known.
    pub projects: Option<BTreeSet<String>>,
    /// Prefixes in upper case that mean something else, where the projects are not known.
    pub technical: HashSet<String>,
    /// The longest project, in characters.
    pub longest: usize,
    /// The expression that stands in for form and borders.
    pub custom: Option<Regex>,
}

/// One mention of a key, the first or a later one.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub key: IssueKey,
    pub at: Range<usize>,
    /// Whether the key is among those that are used.
    pub used: bool,
}

/// The mentions of one text, collected in the order they appear.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub found: Vec<Found>,
    pub beyond: usize,
    pub rejected: Vec<LookAlike>,
    pub rejected_beyond: usize,
    /// Every mention where orders are read, also of a key that was mentioned before.
    pub places: Vec<Place>,
    /// Every key, and whether it is used.
    seen: HashMap<IssueKey, bool>,
    refused: HashSet<String>,
}

/// How many different keys of one text are used, and how many different look-alikes are told of.
pub(super) const MOST_KEYS: usize = 100;

/// How far into a text keys are looked for.
pub(super) const KEYS_WITHIN: usize = 1 << 20;

/// How far into a text orders are looked for.
pub(super) const ORDERS_WITHIN: usize = 64 << 10;

/// The longest project that any Jira takes; a longer run of letters is not even a look-alike.
pub(super) const LONGEST_PROJECT: usize = 254;

/// The longest number that fits 64 bits whatever its digits are.
const LONGEST_NUMBER: usize = 18;

impl IssueKey {
    /// The project's part, `ABC` of `ABC-1`.
    pub fn project(&self) -> &str {
        self.0.rsplit_once('-').map_or("", |(project, _)| project)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IssueKey {
    type Err = NotAKey;

    /// Reads a key in any case.
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let (project, number) = text.rsplit_once('-').ok_or_else(|| NotAKey(text.into()))?;
        let upper = project.to_uppercase();
        let sound = (1..=LONGEST_PROJECT).contains(&upper.chars().count())
            && (1..=LONGEST_PROJECT).contains(&number.len())
            && number.bytes().all(|b| b.is_ascii_digit())
            && upper.chars().all(belongs_to_a_project)
            && !upper.starts_with(|c: char| c.is_ascii_digit() || c == '_');
        if sound { Ok(IssueKey(format!("{upper}-{number}").into())) } else { Err(NotAKey(text.into())) }
    }
}

impl TryFrom<String> for IssueKey {
    type Error = NotAKey;

    fn try_from(text: String) -> Result<Self, NotAKey> {
        text.parse()
    }
}

impl From<IssueKey> for String {
    fn from(key: IssueKey) -> String {
        key.0.into()
    }
}

impl Display for IssueKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<C> Encode<C> for IssueKey {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        encoder.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for IssueKey {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = decoder.position();
        decoder.str()?.parse().map_err(|error: NotAKey| decode::Error::message(error.to_string()).at(at))
    }
}

impl Grammar {
    /// Collects the mentions in one part of a text; what stands outside the part is only looked at as a neighbour.
    pub fn collect(&self, text: &[u8], part: Range<usize>, keys: &mut Keys) {
        let part = part.start..part.end.min(KEYS_WITHIN);
        match &self.custom {
            Some(expression) => self.collect_matches(expression, text, part, keys),
            None => self.collect_shapes(text, part, keys),
        }
    }

    fn collect_shapes(&self, text: &[u8], part: Range<usize>, keys: &mut Keys) {
        if part.is_empty() {
            return;
        }
        for hyphen in memchr_iter(b'-', &text[part.clone()]) {
            let Some(shape) = Shape::around(text, part.start + hyphen) else {
                continue;
            };
            let at = shape.at.clone();
            match self.judge_shape(&shape) {
                Ok(key) if shape.alone(text) => keys.add(at, key),
                Ok(_) => keys.reject(text, at, Unlinked::InsideWord),
                // Two reasons away from a key: nobody meant one.
                Err(_) if !shape.alone(text) => {}
                Err(because) => keys.reject(text, at, because),
            }
        }
    }

    fn judge_shape(&self, shape: &Shape) -> Result<IssueKey, Unlinked> {
        let project = self.judge_project(shape.project)?;
        match shape.number {
            [b'0', ..] => Err(Unlinked::LeadingZero),
            number if number.len() > LONGEST_NUMBER => Err(Unlinked::NumberTooLong),
            number => Ok(IssueKey(format!("{project}-{}", ascii(number)).into())),
        }
    }

    /// Decides whether a word may be a project, and gives it in upper case.
    fn judge_project(&self, word: &[u8]) -> Result<String, Unlinked> {
        let project = ascii(word).to_ascii_uppercase();
        match &self.projects {
            Some(known) if known.contains(&project) => Ok(project),
            Some(_) => Err(Unlinked::NoSuchProject),
            None if word.len() < 2 => Err(Unlinked::ProjectTooShort),
            None if self.technical.contains(&project) => Err(Unlinked::TechnicalName),
            None if project.as_bytes() != word => Err(Unlinked::LowerCase),
            None if word.len() > self.longest => Err(Unlinked::ProjectTooLong),
            None => Ok(project),
        }
    }

    fn collect_matches(&self, expression: &Regex, text: &[u8], part: Range<usize>, keys: &mut Keys) {
        let cut = part.end < text.len();
        let base = part.start;
        for found in expression.captures_iter(&text[part.clone()]) {
            let at = key_within(&found);
            let at = base + at.start..base + at.end;
            // A match at the very edge of what we read may have been cut in two.
            if at.is_empty() || cut && at.end == part.end {
                continue;
            }
            match self.judge_match(&text[at.clone()]) {
                Ok(key) => keys.add(at, key),
                Err(because) => keys.reject(text, at, because),
            }
        }
    }

    /// Decides on what the site's own expression found: case, form of the number and length are the expression's affair.
    fn judge_match(&self, found: &[u8]) -> Result<IssueKey, Unlinked> {
        let key: IssueKey = found.to_str_lossy().parse().map_err(|_| Unlinked::NotOfTheForm)?;
        match &self.projects {
            Some(known) if !known.contains(key.project()) => Err(Unlinked::NoSuchProject),
            None if self.technical.contains(key.project()) => Err(Unlinked::TechnicalName),
            _ => Ok(key),
        }
    }
}

impl Keys {
    pub fn add(&mut self, at: Range<usize>, key: IssueKey) {
        let room = self.found.len() < MOST_KEYS;
        let used = match self.seen.entry(key.clone()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) if room => {
                self.found.push(Found { key: key.clone(), at: at.clone() });
                *new.insert(true)
            }
            Entry::Vacant(new) => {
                self.beyond += 1;
                *new.insert(false)
            }
        };
        if at.end <= ORDERS_WITHIN {
            self.places.push(Place { key, at, used });
        }
    }

    pub fn reject(&mut self, text: &[u8], at: Range<usize>, because: Unlinked) {
        let looks = text[at.clone()].to_str_lossy().into_owned();
        if !self.refused.insert(looks.clone()) {
            return;
        }
        if self.rejected.len() < MOST_KEYS {
            self.rejected.push(LookAlike { text: looks, at, because });
        } else {
            self.rejected_beyond += 1;
        }
    }
}

/// A word, a hyphen and digits: what a key is made of.
struct Shape<'a> {
    project: &'a [u8],
    number: &'a [u8],
    at: Range<usize>,
}

impl<'a> Shape<'a> {
    /// Reads outwards from a hyphen.
    fn around(text: &'a [u8], hyphen: usize) -> Option<Self> {
        let after = &text[hyphen + 1..];
        if !after.first()?.is_ascii_digit() {
            return None;
        }
        let digits = after.iter().take(LONGEST_PROJECT + 1).take_while(|b| b.is_ascii_digit()).count();
        let near = &text[hyphen.saturating_sub(LONGEST_PROJECT + 1)..hyphen];
        let word = &near[near.iter().rposition(|&b| !is_word(b)).map_or(0, |at| at + 1)..];
        if word.len() > LONGEST_PROJECT || digits > LONGEST_PROJECT {
            return None;
        }
        let project = &word[word.iter().position(u8::is_ascii_alphabetic)?..];
        let at = hyphen - project.len()..hyphen + 1 + digits;
        Some(Shape { project, number: &after[..digits], at })
    }

    /// Whether neither neighbour makes it part of a longer word.
    fn alone(&self, text: &[u8]) -> bool {
        let (before, _) = bstr::decode_last_utf8(&text[..self.at.start]);
        let (after, _) = bstr::decode_utf8(&text[self.at.end..]);
        ![before, after].into_iter().flatten().any(continues_a_word)
    }
}

/// The part of a match that is the key: the group `key`, else the first group, else all of it.
fn key_within(found: &Captures<'_>) -> Range<usize> {
    let key = found.name("key").or_else(|| found.get(1)).or_else(|| found.get(0));
    key.map_or(0..0, |key| key.range())
}

/// Whether a neighbour is a digit, `_` or a cased letter of any script. Scripts without case write no words around a key.
fn continues_a_word(c: char) -> bool {
    c.is_uppercase() || c.is_lowercase() || c == '_' || c.general_category() == GeneralCategory::DecimalNumber
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

fn belongs_to_a_project(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() || c == '_' } else { !c.is_whitespace() && !c.is_control() }
}

fn ascii(bytes: &[u8]) -> Cow<'_, str> {
    bytes.to_str_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, key: Option<&str>) {
        assert_eq!(text.parse::<IssueKey>().ok().as_ref().map(IssueKey::as_str), key);
    }

    #[test]
    fn a_key_is_read_in_any_case_and_kept_in_upper_case() {
        check("ABC-1", Some("ABC-1"));
        check("abc-12", Some("ABC-12"));
        check("My_Proj2-5", Some("MY_PROJ2-5"));
        check("ÄBC-007", Some("ÄBC-007"));
        check("straße-1", Some("STRASSE-1"));
    }

    #[test]
    fn what_has_not_the_form_is_no_key() {
        for text in
            ["", "-", "ABC", "ABC-", "-1", "ABC-x", "ABC-1 ", " ABC-1", "A/B-1", "1A-1", "_A-1", "A-B-1", "A\n-1"]
        {
            check(text, None);
        }
        check(&format!("{}-1", "A".repeat(255)), None);
        check(&format!("A-{}", "1".repeat(255)), None);
    }

    #[test]
    fn a_key_knows_its_project() {
        assert_eq!("MY_PROJ-5".parse::<IssueKey>().expect("a key").project(), "MY_PROJ");
    }

    #[test]
    fn a_stored_key_is_read_back_and_a_broken_one_refused() {
        let key: IssueKey = "ABC-1".parse().expect("a key");
        let bytes = minicbor::to_vec(&key).expect("writing to a vector cannot fail");
        assert_eq!(minicbor::decode::<IssueKey>(&bytes).expect("what was written"), key);
        let broken = minicbor::to_vec("ABC 1").expect("writing to a vector cannot fail");
        assert!(minicbor::decode::<IssueKey>(&broken).is_err());
        let json = serde_json::to_string(&key).expect("a key is text");
        assert_eq!(json, "\"ABC-1\"");
        assert_eq!(serde_json::from_str::<IssueKey>(&json).expect("what was written"), key);
        assert!(serde_json::from_str::<IssueKey>("\"ABC 1\"").is_err());
    }
}
