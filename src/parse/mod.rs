//! What a commit message or a branch name asks of Jira: bytes in, mentions out.
//!
//! [`Settings`] are what the configuration says; [`Rules`] are the same made ready for use and joined
//! with the projects of the site. From then on nothing fails, nothing waits and nothing is looked up:
//! the same bytes under the same rules give the same [`Mentions`], in time linear in their length.
//!
//! Keys are looked for in the first 1 MiB and orders in the first 64 KiB; a line or a key that the
//! limit would cut in two is left out whole. Places are bytes of the input, whatever its encoding:
//! what is not UTF-8 is read lossily and never changes a place.

mod duration;
mod key;
mod order;
pub mod strict;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use memchr::{memchr, memchr_iter, memmem};
use regex::bytes::Regex;
use serde::{Deserialize, Serialize};

pub use duration::{Duration, NotDuration};
pub use key::{Found, IssueKey, LookAlike, NotAKey, Unlinked};
pub use order::{Missing, Order, Refusal, Refused, Unordered, Verb};

/// Section `parse` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whose grammar is used: our own, or that of Jira's DVCS connector to the letter. Default: `standard`.
    pub mode: Mode,
    /// The parts of a message that are read, for keys and for orders. Strict mode reads all of it. Default: `["message"]`.
    pub from: Vec<Source>,
    /// An expression that finds keys in place of the built-in pattern and its borders; the key is its group `key`,
    /// else its first group, else all it matches. Default: none.
    pub key: Option<String>,
    /// The longest project in characters, 2 to 254, where the projects of the site are not known. Default: 10.
    pub max_project_length: usize,
    /// Prefixes that mean something else than a project, besides those built in, where the projects of the site are
    /// not known. Default: none.
    pub prefixes_ignored: Vec<String>,
    /// Whether the name of a topic branch links its commits too. Default: false.
    pub branch_links_commits: bool,
    /// Whether `#assign`, `#label` and `#fixversion` are commands of their own. Default: false.
    pub more: bool,
}

/// Whose grammar is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Standard,
    /// That of Jira's DVCS connector.
    Strict,
}

/// A part of a commit message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// All of it.
    Message,
    /// What stands before the first empty line.
    Subject,
    /// What follows the subject, without the trailers.
    Body,
    /// The last paragraph, where it consists of lines such as `Refs: ABC-1`.
    Trailers,
}

/// Settings made ready: compiled, and joined with the projects known at the site.
#[derive(Clone, Debug)]
pub struct Rules {
    mode: Mode,
    from: Vec<Source>,
    grammar: key::Grammar,
    branch_links_commits: bool,
    more: bool,
    only: Option<Only>,
}

/// The projects that are linked, where not all are, and who says so.
#[derive(Clone, Debug)]
struct Only {
    who: String,
    projects: BTreeSet<String>,
}

/// Says which setting cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`parse.key` is no expression that can be used: `{expression}`")]
    Expression { expression: String, source: Box<regex::Error> },
    #[error("`parse.key` matches where nothing is: `{0}`")]
    MatchesNothing(String),
    #[error("`parse.max_project_length` is {0}, it takes 2 to 254")]
    Length(usize),
    #[error("`parse.from` is empty, so no part of a message would be read")]
    NoSource,
}

/// All that a text mentions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mentions {
    /// The first 100 different keys, in order of appearance.
    pub keys: Vec<Found>,
    /// One for each key and command, in order of execution; at most 1000 together with `refused`.
    pub orders: Vec<Order>,
    /// The first 100 different look-alikes, in order of appearance.
    pub rejected: Vec<LookAlike>,
    /// Commands that are not carried out, in the order they were written.
    pub refused: Vec<Refused>,
    /// How many different keys there are past the first 100.
    pub beyond: usize,
    /// How many different look-alikes there are past the first 100.
    pub rejected_beyond: usize,
    /// Why the message only links, so that its commands are among `refused`.
    pub unordered: Option<Unordered>,
}

/// Prefixes that look like projects and are names of standards, algorithms and the like.
///
/// They are left out only where the projects of the site are not known: to use such a key, list its project.
pub const TECHNICAL_PREFIXES: [&str; 53] = [
    "AES", "BCP", "BIP", "BLAKE2", "BLAKE3", "CRC", "CVE", "CVSS", "CWE", "ECMA", "EIP", "FIPS", "GHSA", "GPL", "HMAC",
    "HTTP", "IEC", "IEEE", "IPV", "ISO", "JEP", "JSR", "KOI8", "LGPL", "MD", "MPEG", "NIST", "OAUTH", "OWASP", "PEP",
    "PKCS", "POSIX", "PSR", "PYSEC", "RFC", "RHSA", "RIPEMD", "RSA", "RUSTSEC", "SHA", "SHA2", "SHA3", "SOCKS", "SPDX",
    "SSL", "TLS", "UCS", "UTC", "UTF", "UUID", "WCAG", "X86", "XEP",
];

impl Default for Settings {
    fn default() -> Self {
        Settings {
            mode: Mode::Standard,
            from: vec![Source::Message],
            key: None,
            max_project_length: 10,
            prefixes_ignored: Vec::new(),
            branch_links_commits: false,
            more: false,
        }
    }
}

impl Rules {
    /// Makes settings ready for a site, whose projects may be known.
    pub fn new(settings: &Settings, projects: Option<BTreeSet<String>>) -> Result<Rules, Error> {
        if !(2..=key::LONGEST_PROJECT).contains(&settings.max_project_length) {
            return Err(Error::Length(settings.max_project_length));
        }
        if settings.from.is_empty() {
            return Err(Error::NoSource);
        }
        let ignored = settings.prefixes_ignored.iter().map(String::as_str);
        let grammar = key::Grammar {
            projects: projects.map(|known| known.iter().map(|project| project.to_uppercase()).collect()),
            technical: TECHNICAL_PREFIXES.into_iter().chain(ignored).map(str::to_uppercase).collect(),
            longest: settings.max_project_length,
            custom: settings.key.as_deref().map(compile).transpose()?,
        };
        let Settings { mode, ref from, branch_links_commits, more, .. } = *settings;
        Ok(Rules { mode, from: from.clone(), grammar, branch_links_commits, more, only: None })
    }

    /// Lets only keys of these projects link and give orders, as `who` wants it; of all where there are none.
    pub fn only(mut self, who: &str, projects: &[String]) -> Rules {
        let projects: BTreeSet<String> = projects.iter().map(|project| project.to_uppercase()).collect();
        if !projects.is_empty() {
            // Whoever names a project means it.
            self.grammar.technical.retain(|prefix| !projects.contains(prefix));
            self.only = Some(Only { who: who.to_owned(), projects });
        }
        self
    }

    /// Reads the keys and orders of a commit message.
    pub fn message(&self, message: &[u8]) -> Mentions {
        self.confined(self.all_of_message(message))
    }

    /// Reads the keys of a short branch name, such as `feature/ABC-1-login`.
    pub fn branch(&self, name: &[u8]) -> Mentions {
        self.confined(self.all_of_branch(name))
    }

    /// Whether the name of a topic branch links its commits too.
    pub fn branch_links_commits(&self) -> bool {
        self.branch_links_commits
    }

    /// Whether keys of an issue's project are linked here.
    pub fn links(&self, key: &IssueKey) -> bool {
        self.only.as_ref().is_none_or(|only| only.projects.contains(key.project()))
    }

    /// Why a look-alike is no key, in words.
    pub fn says(&self, because: Unlinked) -> Cow<'static, str> {
        match (&self.only, because) {
            (Some(Only { who, projects }), Unlinked::OtherProject) => {
                let projects: Vec<&str> = projects.iter().map(String::as_str).collect();
                format!("{who} links only {}", projects.join(", ")).into()
            }
            (_, because) => because.to_string().into(),
        }
    }

    fn all_of_message(&self, message: &[u8]) -> Mentions {
        if self.mode == Mode::Strict {
            return strict::mentions(message);
        }
        let parts = parts(message, &self.from);
        let mut keys = key::Keys::default();
        for part in &parts {
            self.grammar.collect(message, part.clone(), &mut keys);
        }
        let mut mentions = Mentions { unordered: unordered(message), ..Mentions::of(&mut keys) };
        for part in parts {
            order::read(message, part, &keys, self.more, &mut mentions);
        }
        mentions
    }

    fn all_of_branch(&self, name: &[u8]) -> Mentions {
        if self.mode == Mode::Strict {
            return strict::keys(name);
        }
        let mut keys = key::Keys::default();
        self.grammar.collect(name, 0..name.len(), &mut keys);
        Mentions::of(&mut keys)
    }

    /// Takes out what concerns projects that are not linked. Only now: a command behind such a key is that key's, and would
    /// be another's if the key had not been seen.
    fn confined(&self, mut mentions: Mentions) -> Mentions {
        if self.only.is_none() {
            return mentions;
        }
        for Found { key, at } in mentions.keys.extract_if(.., |found| !self.links(&found.key)) {
            let look = LookAlike { text: key.into(), at, because: Unlinked::OtherProject };
            match mentions.rejected.len() < key::MOST_KEYS {
                true => mentions.rejected.push(look),
                false => mentions.rejected_beyond += 1,
            }
        }
        mentions.rejected.sort_by_key(|look| look.at.start);
        for order in mentions.orders.extract_if(.., |order| !self.links(&order.key)) {
            mentions.refused.push(Refused {
                command: order.verb.command().to_owned(),
                key: Some(order.key),
                at: order.at,
                because: Refusal::OtherProject,
                instead: None,
            });
        }
        mentions
    }
}

impl Mentions {
    /// Moves what was collected into mentions without orders; the places stay.
    fn of(keys: &mut key::Keys) -> Mentions {
        Mentions {
            keys: std::mem::take(&mut keys.found),
            beyond: keys.beyond,
            rejected: std::mem::take(&mut keys.rejected),
            rejected_beyond: keys.rejected_beyond,
            ..Mentions::default()
        }
    }

    /// Adds an order; nothing is given back once there are as many as there may be.
    fn order(&mut self, key: IssueKey, verb: Verb, at: Range<usize>, command: &str) -> Option<()> {
        self.room(Some(&key), command, &at)?;
        let ordinal = self.orders.len() as u32;
        self.orders.push(Order { key, verb, ordinal, at });
        Some(())
    }

    /// Adds a command that is not carried out, under the same limit.
    fn refuse(&mut self, refused: Refused) -> Option<()> {
        self.room(refused.key.as_ref(), &refused.command, &refused.at)?;
        self.refused.push(refused);
        Some(())
    }

    fn room(&mut self, key: Option<&IssueKey>, command: &str, at: &Range<usize>) -> Option<()> {
        if self.orders.len() + self.refused.len() < order::MOST_ORDERS {
            return Some(());
        }
        let (key, command, at) = (key.cloned(), command.to_owned(), at.clone());
        self.refused.push(Refused { key, command, at, because: Refusal::TooManyOrders, instead: None });
        None
    }
}

/// Compiles the site's own expression, and tries it on nothing at all.
fn compile(expression: &str) -> Result<Regex, Error> {
    let broken = |error| Error::Expression { expression: expression.to_owned(), source: Box::new(error) };
    let compiled = Regex::new(expression).map_err(broken)?;
    if compiled.is_match(b"") { Err(Error::MatchesNothing(expression.to_owned())) } else { Ok(compiled) }
}

/// The parts of a message to read, in order and without overlap.
fn parts(message: &[u8], from: &[Source]) -> Vec<Range<usize>> {
    if from.contains(&Source::Message) {
        return std::iter::once(0..message.len()).collect();
    }
    let subject = subject(message);
    let trailers = trailers(message, subject.end);
    let body = subject.end..trailers.start;
    [(Source::Subject, subject), (Source::Body, body), (Source::Trailers, trailers)]
        .into_iter()
        .filter(|(source, part)| from.contains(source) && !part.is_empty())
        .map(|(_, part)| part)
        .collect()
}

/// The first paragraph, which Git shows as one line.
fn subject(message: &[u8]) -> Range<usize> {
    let mut lines = lines(message, 0).skip_while(|line| is_empty(&message[line.clone()]));
    let Some(first) = lines.next() else { return 0..0 };
    let end = lines.take_while(|line| !is_empty(&message[line.clone()])).last().map_or(first.end, |line| line.end);
    first.start..end
}

/// The last paragraph after the subject, where every line of it is a trailer; else nothing, at the end.
fn trailers(message: &[u8], subject_end: usize) -> Range<usize> {
    let mut block = message.len()..message.len();
    let mut whole = false;
    let mut begun = false;
    for line in lines(message, subject_end) {
        let text = &message[line.clone()];
        if is_empty(text) {
            begun = false;
        } else if begun {
            whole &= is_trailer(text) || text.starts_with(b" ") || text.starts_with(b"\t");
            block.end = line.end;
        } else {
            (begun, whole, block) = (true, is_trailer(text), line);
        }
    }
    if whole { block } else { message.len()..message.len() }
}

/// Whether a line is a word without blanks, a colon and more, or Git's own note about a cherry-pick.
fn is_trailer(line: &[u8]) -> bool {
    let colon = memchr(b':', line).unwrap_or(0);
    let token = &line[..colon];
    let plain = token.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-');
    plain && !token.is_empty() || line.starts_with(b"(cherry picked from commit ")
}

/// The lines from a place on, with what ends them.
fn lines(text: &[u8], from: usize) -> impl Iterator<Item = Range<usize>> {
    let mut start = from;
    let ends = memchr_iter(b'\n', &text[from..]).map(move |at| from + at + 1).chain(std::iter::once(text.len()));
    ends.map(move |end| std::mem::replace(&mut start, end)..end).filter(|line| !line.is_empty())
}

fn is_empty(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

/// Why a message repeats or takes back another commit, if it does.
fn unordered(message: &[u8]) -> Option<Unordered> {
    let subject = subject(&message[..message.len().min(key::ORDERS_WITHIN)]);
    let line = message[subject.clone()].trim_ascii_start();
    let kinds: [(&[u8], _); 4] = [
        (b"Revert \"", Unordered::Revert),
        (b"fixup!", Unordered::Fixup),
        (b"squash!", Unordered::Squash),
        (b"amend!", Unordered::Amend),
    ];
    let by_subject = kinds.into_iter().find(|(beginning, _)| line.starts_with(beginning)).map(|(_, kind)| kind);
    by_subject.or_else(|| names_the_reverted(&message[subject.end..]).then_some(Unordered::Revert))
}

/// Whether a body has the sentence that Git writes into a revert.
fn names_the_reverted(body: &[u8]) -> bool {
    const SENTENCE: &[u8] = b"This reverts commit ";
    let named = |at: usize| body[at + SENTENCE.len()..].iter().take(7).filter(|b| b.is_ascii_hexdigit()).count() == 7;
    memmem::find_iter(&body[..body.len().min(key::ORDERS_WITHIN)], SENTENCE).any(named)
}

/// The commits that a message says it was made of, by their whole ids: those of a squash, and what it was picked from.
pub fn made_of(message: &[u8]) -> Vec<&[u8]> {
    const PICKED: &[u8] = b"(cherry picked from commit ";
    let squashed = memmem::find(message, b"Squashed commit of the following:\n");
    let id = |range: Range<usize>| {
        let line = message[range.clone()].trim_ascii_end();
        let id = match line.strip_prefix(PICKED) {
            Some(rest) => rest.strip_suffix(b")")?,
            None => line.strip_prefix(b"commit ").filter(|_| squashed.is_some_and(|at| at < range.start))?,
        };
        (matches!(id.len(), 40 | 64) && id.iter().all(u8::is_ascii_hexdigit)).then_some(id)
    };
    lines(message, 0).filter_map(id).collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;

    fn known(projects: &[&str]) -> Option<BTreeSet<String>> {
        Some(projects.iter().map(ToString::to_string).collect())
    }

    fn rules(settings: &str, projects: Option<BTreeSet<String>>) -> Rules {
        let settings: Settings = toml::from_str(settings).expect("the settings are sound");
        Rules::new(&settings, projects).expect("the rules can be made")
    }

    /// Keys, then look-alikes with their reasons.
    fn linked(mentions: &Mentions) -> String {
        let mut shown = mentions.keys.iter().map(|found| found.key.as_str()).collect::<Vec<_>>().join(" ");
        for look in &mentions.rejected {
            write!(shown, " | {}: {}", look.text, look.because).expect("a string takes text");
        }
        shown
    }

    #[track_caller]
    fn check(rules: &Rules, text: &str, expected: &str) {
        let mentions = rules.message(text.as_bytes());
        assert_places(text.as_bytes(), &mentions);
        assert_eq!(linked(&mentions), expected, "{text:?}");
    }

    fn assert_places(text: &[u8], mentions: &Mentions) {
        let lossy = |at: &Range<usize>| String::from_utf8_lossy(&text[at.clone()]).into_owned();
        for found in &mentions.keys {
            assert_eq!(lossy(&found.at).to_uppercase(), found.key.as_str());
        }
        for look in &mentions.rejected {
            assert_eq!(lossy(&look.at), look.text);
        }
        for at in
            mentions.orders.iter().map(|order| &order.at).chain(mentions.refused.iter().map(|refused| &refused.at))
        {
            assert_eq!((text[at.start], lossy(at).trim_end().len()), (b'#', lossy(at).len()));
        }
    }

    #[test]
    fn a_key_is_a_project_and_a_number() {
        let rules = rules("", None);
        check(&rules, "ABC-1", "ABC-1");
        check(&rules, "A1_B-20: text", "A1_B-20");
        check(&rules, "AB-123456789012345678", "AB-123456789012345678");
        check(&rules, "AB-1234567890123456789", " | AB-1234567890123456789: the number is too long");
        check(&rules, "ABC-01 ABC-0", " | ABC-01: leading zero | ABC-0: leading zero");
        check(&rules, "A-1", " | A-1: a project of one letter");
        check(&rules, "ABCDEFGHIJ-1 ABCDEFGHIJK-1", "ABCDEFGHIJ-1 | ABCDEFGHIJK-1: the project is too long");
        check(&rules, "ABC- -1 ABC 1 ABC-x ABC--1 2024-01-02", "");
        check(&rules, "ABC-1, DEF-2 and ABC-1 again", "ABC-1 DEF-2");
        check(&rules, "ABC-1-2 ABC-1.5 ABC-2-DEF-3", "ABC-1 ABC-2 DEF-3");
    }

    #[test]
    fn a14_what_is_not_linked_here_neither_links_nor_orders_and_nobody_else_gets_its_command() {
        let only = |mode: &str| rules(mode, None).only("account x", &["core".to_owned(), "UTF".to_owned()]);
        for mode in ["", "mode = 'strict'"] {
            let rules = only(mode);
            let mentions =
                rules.message(b"CORE-1 as in PAY-2 #close\nPAY-3, CORE-4 #comment both\nCORE-5 #time 1h PAY-6");
            assert_eq!(
                linked(&mentions),
                format!(
                    "CORE-1 CORE-4 CORE-5{}",
                    [2, 3, 6].map(|n| format!(" | PAY-{n}: a project that is not linked here")).concat()
                )
            );
            let orders: Vec<_> =
                mentions.orders.iter().map(|order| (order.key.as_str(), order.verb.command())).collect();
            assert_eq!(orders, [("CORE-4", "comment"), ("CORE-5", "time")], "{mode}");
            let refused = |one: &Refused| (one.key.clone().unwrap().to_string(), one.command.clone(), one.because);
            let other = |key: &str, command: &str| (key.to_owned(), command.to_owned(), Refusal::OtherProject);
            let refused: Vec<_> = mentions.refused.iter().map(refused).collect();
            assert_eq!(refused, [other("PAY-2", "close"), other("PAY-3", "comment")], "{mode}");
            assert_eq!(
                linked(&rules.branch(b"feature/PAY-2-CORE-7")),
                "CORE-7 | PAY-2: a project that is not linked here"
            );
            assert_eq!(rules.says(mentions.rejected[0].because), "account x links only CORE, UTF");
        }
        check(&only(""), "UTF-8 SHA-1 core-2", "UTF-8 | SHA-1: a technical name | core-2: lower case");
    }

    #[test]
    fn a_project_may_be_as_long_as_is_set() {
        check(&rules("max_project_length = 3", None), "ABC-1 ABCD-1", "ABC-1 | ABCD-1: the project is too long");
        let longest = format!("{}-1", "A".repeat(254));
        check(&rules("max_project_length = 254", None), &format!("{longest} A{longest}"), &longest);
    }

    #[test]
    fn a_key_needs_a_boundary_on_both_sides() {
        let rules = rules("", None);
        for text in
            ["修复ABC-1问题", "“ABC-1”", "ABC-1–fix", "(ABC-1)", "ABC-1.", "browse/ABC-1", "feature/ABC-1-login"]
        {
            check(&rules, text, "ABC-1");
        }
        check(&rules, "XABC-1x", " | XABC-1: inside a word");
        check(&rules, "éABC-1", " | ABC-1: inside a word");
        check(&rules, "ABC-1é", " | ABC-1: inside a word");
        check(&rules, "2ABC-1", " | ABC-1: inside a word");
        check(&rules, "ABC-1１", " | ABC-1: inside a word");
        check(&rules, "_ABC-1_", " | ABC-1: inside a word");
        check(&rules, "ABC-1_x", " | ABC-1: inside a word");
        check(&rules, "MY_PROJ-5", "MY_PROJ-5");
        check(&rules, "550e8400-e29b-41d4-a716-446655440000", " | a716-446655440000: lower case");
    }

    #[test]
    fn without_projects_only_upper_case_links_and_technical_names_do_not() {
        let rules = rules("prefixes_ignored = ['acme']", None);
        check(&rules, "abc-12 Abc-3", " | abc-12: lower case | Abc-3: lower case");
        check(
            &rules,
            "UTF-8 utf-16 SHA-256 CVE-2024-1 ISO-8601 X86-64 ACME-1",
            " | UTF-8: a technical name | utf-16: a technical name | SHA-256: a technical name | CVE-2024: a technical name \
             | ISO-8601: a technical name | X86-64: a technical name | ACME-1: a technical name",
        );
    }

    #[test]
    fn with_projects_case_does_not_matter_and_only_they_link() {
        let rules = rules("", known(&["abc", "RSA", "LONGERTHANTEN"]));
        check(&rules, "abc-12 ABC-12 RSA-4096 longerthanten-1", "ABC-12 RSA-4096 LONGERTHANTEN-1");
        check(&rules, "UTF-8 DEF-1", " | UTF-8: no such project | DEF-1: no such project");
        check(&rules, "abc-1x", " | abc-1: inside a word");
        check(&self::rules("", known(&[])), "ABC-1", " | ABC-1: no such project");
    }

    #[test]
    fn a_trailer_is_an_ordinary_place() {
        check(&rules("", None), "Fix it\n\nJira: ABC-1\nRefs: ABC-2, ABC-3\n", "ABC-1 ABC-2 ABC-3");
    }

    #[test]
    fn reading_may_be_narrowed_to_a_part() {
        let text = "\nSUB-1 first\nSUB-2 wrapped\n\nBODY-1\n\nNote: BODY-2\nbut BODY-3\n\nJira: TAIL-1\nRefs: TAIL-2,\n TAIL-3 #close\n\n";
        check(&rules("from = ['subject']", None), text, "SUB-1 SUB-2");
        check(&rules("from = ['body']", None), text, "BODY-1 BODY-2 BODY-3");
        check(&rules("from = ['trailers']", None), text, "TAIL-1 TAIL-2 TAIL-3");
        check(&rules("from = ['trailers', 'subject']", None), text, "SUB-1 SUB-2 TAIL-1 TAIL-2 TAIL-3");
        check(&rules("from = ['message']", None), text, "SUB-1 SUB-2 BODY-1 BODY-2 BODY-3 TAIL-1 TAIL-2 TAIL-3");
        check(&rules("from = ['trailers']", None), "Jira: ABC-1", "");
        check(&rules("from = ['trailers']", None), "Fix\n\nmore text\nJira: ABC-1", "");
        check(&rules("from = ['trailers']", None), "Fix\n\nJira: ABC-1\nmore text", "");
        check(&rules("from = ['body', 'trailers']", None), "ABC-1", "");
        assert_eq!(rules("from = ['trailers']", None).message(text.as_bytes()).orders.len(), 1);
        assert_eq!(rules("from = ['body']", None).message(text.as_bytes()).orders.len(), 0);
    }

    #[test]
    fn a_custom_expression_replaces_the_pattern() {
        let bracketed = r"key = '\[([A-Za-z]+-\d+)\]'";
        check(&rules(bracketed, None), "ABC-1 [DEF-2] [ghi-3][UTF-8]", "DEF-2 GHI-3 | UTF-8: a technical name");
        check(&rules(bracketed, known(&["DEF"])), "[DEF-2] [GHI-3]", "DEF-2 | GHI-3: no such project");
        check(&rules(r"key = 'J:(?<no>\d)(?<key>\S+)'", None), "J:1ABC-1", "ABC-1");
        check(
            &rules(r"key = 'J-?\d+'", None),
            "xJ-1x J2",
            "J-1 | J2: found by `parse.key`, but not of the form of a key",
        );
    }

    #[test]
    fn settings_that_cannot_be_used_are_named() {
        let refused = |text: &str| {
            let settings: Settings = toml::from_str(text).expect("the settings are sound");
            Rules::new(&settings, None).expect_err("the settings cannot be used").to_string()
        };
        assert_eq!(refused("key = '(['"), "`parse.key` is no expression that can be used: `([`");
        assert_eq!(refused("key = 'A*'"), "`parse.key` matches where nothing is: `A*`");
        assert_eq!(refused("max_project_length = 255"), "`parse.max_project_length` is 255, it takes 2 to 254");
        assert_eq!(refused("from = []"), "`parse.from` is empty, so no part of a message would be read");
        assert!(toml::from_str::<Settings>("keys = 'x'").is_err());
        assert_eq!(toml::from_str::<Settings>("").expect("all have defaults"), Settings::default());
    }

    #[test]
    fn a_branch_has_keys_and_no_orders() {
        for (settings, expected) in [("", "ABC-1 DEF-2"), ("mode = 'strict'", "ABC-1 DEF-2")] {
            let mentions = rules(settings, None).branch(b"feature/ABC-1-login/DEF-2#close");
            assert_eq!((linked(&mentions).as_str(), mentions.orders.len()), (expected, 0));
        }
    }

    #[test]
    fn past_a_hundred_keys_the_rest_is_counted() {
        let text: String = (1..=120).map(|n| format!("BULK-{n} a-{n} ")).collect::<String>() + "BULK-120 BULK-1 #close";
        let mentions = rules("", None).message(text.as_bytes());
        assert_eq!((mentions.keys.len(), mentions.beyond), (100, 20));
        assert_eq!((mentions.rejected.len(), mentions.rejected_beyond), (100, 20));
        assert_eq!(mentions.orders.iter().map(|order| order.key.as_str()).collect::<Vec<_>>(), ["BULK-1"]);
        assert_eq!(mentions.refused.iter().map(|refused| refused.because).collect::<Vec<_>>(), [Refusal::TooManyKeys]);
    }

    #[test]
    fn bytes_that_are_not_text_are_read_around() {
        let mentions = rules("", None).message(b"\xffABC-1\xfe #comment caf\xe9 \xff\n");
        assert_eq!(mentions.keys[0].at, 1..6);
        assert_eq!(mentions.orders[0].verb, Verb::Comment { text: "caf\u{fffd} \u{fffd}".into() });
        assert_eq!(mentions.orders[0].at, 8..23);
    }

    #[test]
    fn keys_are_read_in_the_first_mebibyte_and_orders_in_the_first_64_kibibytes() {
        let rules = rules("", None);
        let mut text = " ".repeat((1 << 20) - 5) + "ABC-12 DEF-3";
        check(&rules, &text, "ABC-12");
        // What an expression finds at the very edge may be half a key.
        check(&self::rules(r"key = '[A-Z]+-\d+'", None), &text, "");
        text.insert(0, ' ');
        text.insert(0, ' ');
        check(&rules, &text, "");
        let line = "ABC-1 #close\n".to_owned();
        let near = line.clone() + &"x".repeat((64 << 10) - 26) + "\n" + &line;
        assert_eq!(rules.message(near.as_bytes()).orders.len(), 2);
        assert_eq!(rules.message(format!("  {near}").as_bytes()).orders.len(), 1);
    }

    #[test]
    fn a_message_that_asks_too_much_is_cut_off_aloud() {
        let text = format!("{}{}", "ABC-1 DEF-2 ", "#close ".repeat(9000));
        for settings in ["", "mode = 'strict'"] {
            let mentions = rules(settings, None).message(text.as_bytes());
            assert_eq!(mentions.orders.len(), 1000);
            assert_eq!(mentions.orders[999].ordinal, 999);
            assert_eq!(mentions.refused.last().map(|refused| refused.because), Some(Refusal::TooManyOrders));
        }
    }

    #[test]
    fn a_mebibyte_of_anything_comes_to_an_end() {
        for piece in [
            "A-",
            "#",
            "ABC-1 ",
            "ABC-1",
            " #a",
            "A",
            "1",
            "a-1 ",
            "ABC-1 #a ",
            "ABC-1 #time 1h 1",
            "-1",
            "\n#",
            ": \n",
        ] {
            let text = piece.repeat((1 << 20) / piece.len());
            for settings in ["", "mode = 'strict'", "from = ['trailers']", r"key = '[A-Z]+-\d+'"] {
                let mentions = rules(settings, None).message(text.as_bytes());
                assert!(mentions.orders.len() + mentions.refused.len() <= 1001);
            }
        }
    }

    fn messages() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "ABC-1",
            "DEF-2",
            "abc-3",
            "UTF-8",
            "ÄB-4",
            " ",
            "  ",
            ",",
            " and ",
            "/",
            "#",
            " #comment ",
            " #close",
            " #time ",
            "1h",
            "30m",
            "1.5",
            " text",
            "é",
            "\u{301}",
            "x",
            "\r",
            "Revert \"",
            "fixup!",
            ": ",
            "\t",
            "~",
            "label",
        ]);
        prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    proptest! {
            #[test]
            fn every_place_is_in_the_input_and_on_the_text(text in messages(), strict: bool, junk: Vec<u8>) {
                let rules = rules(if strict { "mode = 'strict'" } else { "more = true" }, None);
                assert_places(text.as_bytes(), &rules.message(text.as_bytes()));
                let mixed = [text.as_bytes(), &junk, text.as_bytes()].concat();
                let mentions = rules.message(&mixed);
                let stored = serde_json::to_string(&mentions).expect("mentions are JSON");
                prop_assert_eq!(serde_json::from_str::<Mentions>(&stored).expect("what was written"), mentions);
                rules.branch(&mixed);
                strict::message(&mixed);
            }

            #[test]
            fn lines_are_read_one_by_one(texts in prop::collection::vec(messages(), 0..6), strict: bool) {
                let rules = rules(if strict { "mode = 'strict'" } else { "" }, None);
                let orders = |text: &str| {
                    let mentions = rules.message(text.as_bytes());
                    let orders: Vec<_> = mentions.orders.into_iter().map(|order| (order.key, order.verb)).collect();
                    (orders, mentions.unordered, mentions.keys.is_empty())
                };
                // A revert is one by its subject only, and strict mode asks for a link somewhere in the message.
                let whole = |text: &String| matches!(orders(text), (_, None, unlinked) if !(strict && unlinked));
                let texts: Vec<String> = texts.into_iter().filter(whole).collect();
                let single: Vec<_> = texts.iter().flat_map(|text| orders(text).0).collect();
                let together = orders(&texts.join("\n")).0;
    prop_assert_eq!(together, single);
            }

            #[test]
            fn a_key_that_is_shown_is_read_back(text in "\\PC{1,6}-[0-9]{1,20}|[A-Za-z][A-Za-z0-9_]{0,9}-[1-9][0-9]{0,17}") {
                if let Ok(key) = text.parse::<IssueKey>() {
                    prop_assert_eq!(key.to_string().parse::<IssueKey>(), Ok(key));
                }
            }
        }

    #[test]
    fn f8_a_message_says_which_commits_it_was_made_of() {
        let id = |digit: &str| digit.repeat(40);
        let (one, two) = (id("1"), id("2"));
        let check = |message: String, expected: &[&str]| {
            let found: Vec<_> = made_of(message.as_bytes()).into_iter().map(<[u8]>::to_vec).collect();
            assert_eq!(found, expected.iter().map(|id| id.as_bytes().to_vec()).collect::<Vec<_>>(), "{message}");
        };
        check(
            format!("Squashed commit of the following:\n\ncommit {one}\nAuthor: A\n\n    x\n\ncommit {two}\r\n"),
            &[&one, &two],
        );
        check(format!("ABC-1 fix\n\n(cherry picked from commit {one})\n"), &[&one]);
        check(format!("commit {one}\n\nsee commit {two}\n"), &[]);
        check("Squashed commit of the following:\n\ncommit 123\n".to_owned(), &[]);
    }
}
