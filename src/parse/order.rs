//! Orders: the Smart Commit commands of a message, line by line.
//!
//! A line is cut in three steps, all of them shared with strict mode: keys that stand together are a
//! group, a `#name` after a group is a command, and a command's argument ends where the next command
//! or the next group begins. Only then a command is understood, for each key of its group. What is
//! not understood is refused with the reason and, where there is one, the text that would have worked.

use std::collections::HashSet;
use std::ops::Range;

use bstr::ByteSlice;
use memchr::{memchr, memchr_iter, memrchr};
use serde::{Deserialize, Serialize};

use super::Mentions;
use super::duration::{self, Duration, NotDuration};
use super::key::{IssueKey, Keys, ORDERS_WITHIN, Place};

/// One thing asked of one issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub key: IssueKey,
    pub verb: Verb,
    /// Counts the orders of a message from 0, in the order they are carried out.
    pub ordinal: u32,
    /// Bytes of the input, from the `#` to the end of the argument.
    pub at: Range<usize>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Verb {
    Comment {
        text: String,
    },
    Time {
        spent: Duration,
        /// May be empty.
        comment: String,
    },
    Transition {
        /// As it was written, without the `#`.
        name: String,
        /// May be empty.
        comment: String,
    },
    Assign {
        to: String,
    },
    Label {
        labels: Vec<String>,
    },
    FixVersion {
        name: String,
    },
}

impl Verb {
    /// The command's name without the `#`: that of a transition as it was written.
    pub fn command(&self) -> &str {
        match self {
            Verb::Comment { .. } => "comment",
            Verb::Time { .. } => "time",
            Verb::Transition { name, .. } => name,
            Verb::Assign { .. } => "assign",
            Verb::Label { .. } => "label",
            Verb::FixVersion { .. } => "fixversion",
        }
    }
}

/// A command that is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The issue it was meant for, where that is clear.
    pub key: Option<IssueKey>,
    /// The command's name as it was written, without the `#`.
    pub command: String,
    /// Bytes of the input, from the `#` to the end of the argument.
    pub at: Range<usize>,
    pub because: Refusal,
    /// The text that would have worked.
    pub instead: Option<String>,
}

/// Why a command is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    #[error("no issue key that may give orders stands before it on its line")]
    NoKey,
    #[error("a comment needs text")]
    NoText,
    #[error("#{0}")]
    NoName(Missing),
    #[error("{0}")]
    Time(NotDuration),
    #[error("{0} gives no orders")]
    Unordered(Unordered),
    #[error("its project is not linked here")]
    OtherProject,
    #[error("the key is not among the first 100 of the message")]
    TooManyKeys,
    #[error("a message gives at most 1000 orders: this one and what follows are left out")]
    TooManyOrders,
}

/// What one of the further commands needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    #[error("assign needs a person")]
    Person,
    #[error("label needs a label")]
    Label,
    #[error("fixversion needs a version")]
    Version,
}

/// A kind of commit that repeats or takes back another and therefore only links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Unordered {
    #[error("a revert")]
    Revert,
    #[error("a fixup! commit")]
    Fixup,
    #[error("a squash! commit")]
    Squash,
    #[error("an amend! commit")]
    Amend,
}

/// Keys of one line that take their commands together.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// The keys, by their place among the keys of the line.
    pub keys: Range<usize>,
    /// Bytes of the text, from the first key to the end of the last.
    pub at: Range<usize>,
}

/// A `#name`, whose it is, and what it was given.
#[derive(Clone, Debug)]
pub(super) struct Command {
    /// The group before it, by its place on the line.
    pub group: Option<usize>,
    pub name: Range<usize>,
    /// Not yet trimmed.
    pub argument: Range<usize>,
}

/// Which groups end an argument.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum EndsAt {
    /// Any: strict mode.
    EveryGroup,
    /// Only one that has a command of its own: a key in a sentence stays in the sentence.
    GroupWithCommand,
}

/// How many orders one message gives; keys times commands would otherwise grow without measure.
pub(super) const MOST_ORDERS: usize = 1000;

/// Reads the orders of one part of a text into `mentions`, whose keys are complete.
pub(super) fn read(text: &[u8], part: Range<usize>, keys: &Keys, more: bool, mentions: &mut Mentions) {
    for line in lines_with_commands(text, part) {
        let first = keys.places.partition_point(|place| place.at.start < line.start);
        let count = keys.places[first..].partition_point(|place| place.at.start < line.end);
        let places = &keys.places[first..first + count];
        if read_line(&Line { text, at: line, places, more }, mentions).is_none() {
            return;
        }
    }
}

/// The lines that may hold a command: with a `#`, and whole within the bytes we read.
pub(super) fn lines_with_commands(text: &[u8], part: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut next = part.start;
    std::iter::from_fn(move || {
        let hash = next + memchr(b'#', text.get(next..part.end)?)?;
        let start = memrchr(b'\n', &text[next..hash]).map_or(next, |at| next + at + 1);
        let end = memchr(b'\n', &text[hash..part.end]).map_or(part.end, |at| hash + at);
        next = end + 1;
        // Half a line might be half an order.
        let cut = if text[start..end].ends_with(b"\r") { end - 1 } else { end };
        (end <= ORDERS_WITHIN).then_some(start..cut)
    })
}

/// Puts keys together when what stands between two of them joins them.
pub(super) fn groups(text: &[u8], keys: &[Range<usize>], joins: impl Fn(&[u8]) -> bool) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if joins(&text[group.at.end..key.start]) => {
                group.keys.end = number + 1;
                group.at.end = key.end;
            }
            _ => groups.push(Group { keys: number..number + 1, at: key.clone() }),
        }
    }
    groups
}

/// Finds the commands of a line.
pub(super) fn commands(text: &[u8], line: Range<usize>, groups: &[Group], ends: EndsAt) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    let mut passed = 0;
    for hash in memchr_iter(b'#', &text[line.clone()]).map(|at| line.start + at) {
        passed += groups[passed..].iter().take_while(|group| group.at.end <= hash).count();
        let group = passed.checked_sub(1);
        let apart = hash == line.start || is_blank(text[hash - 1]) || group.is_some_and(|g| groups[g].at.end == hash);
        let name = hash + 1..hash + 1 + name_length(&text[hash + 1..line.end]);
        // `#ABC-1` is a key behind a hash, not a command called `ABC-`.
        let is_key = groups.get(passed).is_some_and(|next| next.at.start < name.end);
        if apart && !name.is_empty() && !is_key {
            commands.push(Command { group, argument: name.end..line.end, name });
        }
    }
    end_arguments(&mut commands, groups, ends);
    commands
}

/// Whether a byte is a blank that is not the end of a line.
pub(super) fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\x0b' | b'\x0c')
}

/// One line and what is known of it.
struct Line<'a> {
    text: &'a [u8],
    at: Range<usize>,
    places: &'a [Place],
    more: bool,
}

/// Reads one line; nothing is given back once the message has given all the orders it may.
fn read_line(line: &Line<'_>, mentions: &mut Mentions) -> Option<()> {
    let may_order = |place: &&Place| place.at.start == 0 || !b"&=?>^!~/-".contains(&line.text[place.at.start - 1]);
    let ordering: Vec<&Place> = line.places.iter().filter(may_order).collect();
    let keys: Vec<Range<usize>> = ordering.iter().map(|place| place.at.clone()).collect();
    let groups = groups(line.text, &keys, joins);
    for command in commands(line.text, line.at.clone(), &groups, EndsAt::GroupWithCommand) {
        let said = Said::new(line.text, &command);
        match command.group {
            Some(group) => said.to_each(&ordering[groups[group].keys.clone()], line.more, mentions)?,
            None => said.to_nobody(line, mentions)?,
        }
    }
    Some(())
}

/// A command in words.
struct Said {
    name: String,
    argument: String,
    at: Range<usize>,
}

impl Said {
    fn new(text: &[u8], command: &Command) -> Self {
        let argument = text[command.argument.clone()].to_str_lossy();
        let written = text[command.name.start - 1..command.argument.end].trim_end_with(char::is_whitespace).len();
        Said {
            name: text[command.name.clone()].to_str_lossy().into_owned(),
            argument: argument.trim().to_owned(),
            at: command.name.start - 1..command.name.start - 1 + written,
        }
    }

    /// Gives the order to each key once.
    fn to_each(&self, places: &[&Place], more: bool, mentions: &mut Mentions) -> Option<()> {
        let verb = self.verb(more);
        let mut told = HashSet::new();
        for place in places.iter().filter(|place| told.insert(&place.key)) {
            let key = place.key.clone();
            match (&verb, mentions.unordered) {
                _ if !place.used => self.refuse(Some(key), Refusal::TooManyKeys, None, mentions)?,
                (_, Some(kind)) => self.refuse(Some(key), Refusal::Unordered(kind), None, mentions)?,
                (Err((because, instead)), None) => self.refuse(Some(key), *because, instead.clone(), mentions)?,
                (Ok(verb), None) => mentions.order(key, verb.clone(), self.at.clone(), &self.name)?,
            }
        }
        Some(())
    }

    /// Says that a command has no key, unless it is a mere hash tag in a text without keys.
    fn to_nobody(&self, line: &Line<'_>, mentions: &mut Mentions) -> Option<()> {
        let reserved = !matches!(self.verb(line.more), Ok(Verb::Transition { .. }));
        if mentions.unordered.is_some() || !reserved && line.places.is_empty() {
            return Some(());
        }
        let instead = match &mentions.keys[..] {
            [only] if self.verb(line.more).is_ok() => {
                Some(format!("{} #{} {}", only.key, self.name, self.argument).trim_end().to_owned())
            }
            _ => None,
        };
        self.refuse(None, Refusal::NoKey, instead, mentions)
    }

    fn refuse(&self, key: Option<IssueKey>, why: Refusal, instead: Option<String>, all: &mut Mentions) -> Option<()> {
        let (command, at) = (self.name.clone(), self.at.clone());
        all.refuse(Refused { key, command, at, because: why, instead })
    }

    /// Understands the command, or says why not and what would have worked.
    fn verb(&self, more: bool) -> Result<Verb, (Refusal, Option<String>)> {
        let argument = self.argument.clone();
        let given = |missing| {
            if argument.is_empty() { Err((Refusal::NoName(missing), None)) } else { Ok(()) }
        };
        match self.name.to_ascii_lowercase().as_str() {
            "comment" if argument.is_empty() => Err((Refusal::NoText, None)),
            "comment" => Ok(Verb::Comment { text: argument }),
            "time" => match duration::read(&argument) {
                Ok((spent, comment)) => Ok(Verb::Time { spent, comment: comment.trim_start().to_owned() }),
                Err(wrong) => {
                    Err((Refusal::Time(wrong.because), wrong.instead.map(|text| format!("#{} {text}", self.name))))
                }
            },
            "assign" if more => given(Missing::Person).map(|()| Verb::Assign { to: argument }),
            "fixversion" if more => given(Missing::Version).map(|()| Verb::FixVersion { name: argument }),
            "label" if more => match words(&argument) {
                labels if labels.is_empty() => Err((Refusal::NoName(Missing::Label), None)),
                labels => Ok(Verb::Label { labels }),
            },
            _ => Ok(Verb::Transition { name: self.name.clone(), comment: argument }),
        }
    }
}

/// Whether the text between two keys makes them one group.
fn joins(between: &[u8]) -> bool {
    matches!(trim(between), b"" | b"," | b";" | b"&" | b"and" | b"/")
}

fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_with(|c| c.is_ascii() && is_blank(c as u8))
}

/// The length of the command name a text begins with.
fn name_length(text: &[u8]) -> usize {
    match text.first() {
        Some(first) if first.is_ascii_alphabetic() => {
            text.iter().take_while(|b| b.is_ascii_alphabetic() || **b == b'-').count()
        }
        _ => 0,
    }
}

fn end_arguments(commands: &mut [Command], groups: &[Group], ends: EndsAt) {
    let starts: Vec<_> = commands.iter().map(|command| (command.name.start - 1, command.group)).collect();
    for (number, command) in commands.iter_mut().enumerate() {
        let following = command.group.map_or(0, |group| group + 1);
        let group = match (starts.get(number + 1), ends) {
            (_, EndsAt::EveryGroup) => groups.get(following),
            (Some((_, Some(owner))), EndsAt::GroupWithCommand) if *owner >= following => groups.get(*owner),
            _ => None,
        };
        let next = starts.get(number + 1).map(|(start, _)| *start);
        for end in [next, group.map(|group| group.at.start)].into_iter().flatten() {
            command.argument.end = command.argument.end.min(end);
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Rules, Settings};
    use super::*;

    fn read_by(settings: &str, text: &str) -> Mentions {
        let settings: Settings = toml::from_str(settings).expect("the settings are sound");
        Rules::new(&settings, None).expect("the rules can be made").message(text.as_bytes())
    }

    fn shown(order: &Order) -> String {
        let verb = match &order.verb {
            Verb::Comment { text } => format!("comment: {text}"),
            Verb::Time { spent, comment } => format!("time {}: {comment}", spent.jira(8.0, 5.0)),
            Verb::Transition { name, comment } => format!("{name}: {comment}"),
            Verb::Assign { to } => format!("assign to {to}"),
            Verb::Label { labels } => format!("label as {}", labels.join("+")),
            Verb::FixVersion { name } => format!("fix in {name}"),
        };
        format!("{} {}", order.key, verb.trim_end_matches([':', ' ']))
    }

    fn refused(refused: &Refused) -> String {
        let key = refused.key.as_ref().map_or(String::new(), |key| format!("{key} "));
        let instead = refused.instead.as_ref().map_or(String::new(), |instead| format!(" -> {instead}"));
        format!("! {key}#{}: {}{instead}", refused.command, refused.because)
    }

    /// Orders in their order, then refusals with an exclamation mark.
    #[track_caller]
    fn check_by(settings: &str, text: &str, expected: &[&str]) {
        let mentions = read_by(settings, text);
        let all: Vec<_> = mentions.orders.iter().map(shown).chain(mentions.refused.iter().map(refused)).collect();
        assert_eq!(all, expected, "{text:?}");
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        check_by("", text, expected);
    }

    #[test]
    fn a_command_is_for_the_key_before_it() {
        check("ABC-1 #close", &["ABC-1 close"]);
        check("ABC-1#close", &["ABC-1 close"]);
        check("Refactor the parser ABC-12 #resolve", &["ABC-12 resolve"]);
        check("feat(ABC-1): login #close now", &["ABC-1 close: now"]);
        check("(ABC-1) #close", &["ABC-1 close"]);
        check(
            "ABC-1 #comment first #time 3h second #resolve third",
            &["ABC-1 comment: first", "ABC-1 time 3h: second", "ABC-1 resolve: third"],
        );
        check("DOC-1 ABC-1 as in UTF-8 #close", &["DOC-1 close", "ABC-1 close"]);
        check("ABC-1 text DEF-2 #close", &["DEF-2 close"]);
    }

    #[test]
    fn a_group_takes_a_command_together_and_each_key_once() {
        for between in [" ", "  ", ",", ", ", " , ", ";", " ; ", " & ", " and ", " / ", "\t"] {
            check(&format!("ABC-1{between}DEF-2 #close"), &["ABC-1 close", "DEF-2 close"]);
        }
        for between in [",,", " | ", " or ", " and, ", "-", " AND "] {
            let alone = if between == "-" { "ABC-1 close" } else { "DEF-2 close" };
            check(&format!("ABC-1{between}DEF-2 #close"), &[alone]);
        }
        check("ABC-1 ABC-1 #close", &["ABC-1 close"]);
        check(
            "ABC-1, DEF-2 #comment same #close",
            &["ABC-1 comment: same", "DEF-2 comment: same", "ABC-1 close", "DEF-2 close"],
        );
    }

    #[test]
    fn a_key_in_an_address_gives_no_orders() {
        for before in ["&", "=", "?", ">", "^", "!", "~", "/", "-"] {
            check(
                &format!("{before}ABC-1 #close"),
                &["! #close: no issue key that may give orders stands before it on its line -> ABC-1 #close"],
            );
        }
        check("see https://jira.example.org/browse/ABC-1#comment-2", &[]);
        check("DEF-2 as in https://jira.example.org/browse/ABC-1 #close", &["DEF-2 close"]);
    }

    #[test]
    fn each_line_is_read_alone() {
        check("ABC-1 #comment one\r\nDEF-2 #comment two\r\n", &["ABC-1 comment: one", "DEF-2 comment: two"]);
        check("* ABC-1 #close\n* DEF-2 #resolve", &["ABC-1 close", "DEF-2 resolve"]);
        check("ABC-1\n#close", &[]);
        check(
            "ABC-1 #comment goes on\nfor a line #time 2d 5h",
            &[
                "ABC-1 comment: goes on",
                "! #time: no issue key that may give orders stands before it on its line -> ABC-1 #time 2d 5h",
            ],
        );
        check(
            "#comment too early ABC-1",
            &[
                "! #comment: no issue key that may give orders stands before it on its line -> ABC-1 #comment too early ABC-1",
            ],
        );
        check(
            "tidy #comment nobody hears",
            &["! #comment: no issue key that may give orders stands before it on its line"],
        );
        check("tidy the #build", &[]);
    }

    #[test]
    fn a_key_inside_an_argument_belongs_to_it_unless_a_command_follows() {
        check("ABC-1 #comment moved to UTF-8 like ABC-2", &["ABC-1 comment: moved to UTF-8 like ABC-2"]);
        check("ABC-1 #comment done ABC-2 #close", &["ABC-1 comment: done", "ABC-2 close"]);
        check("ABC-1 #comment see ABC-2 or ABC-3 #close", &["ABC-1 comment: see ABC-2 or", "ABC-3 close"]);
        check("ABC-1 #comment see ABC-2, ABC-3 #close", &["ABC-1 comment: see", "ABC-2 close", "ABC-3 close"]);
        check("ABC-1 #comment like /ABC-2 #close", &["ABC-1 comment: like /ABC-2", "ABC-1 close"]);
        check("ABC-1 #comment ABC-2 #close", &["ABC-2 close", "! ABC-1 #comment: a comment needs text"]);
    }

    #[test]
    fn a_hash_inside_a_word_or_before_no_letter_is_text() {
        check("ABC-1 #comment C# and x#y ##x # x #42 (#x) #-x", &["ABC-1 comment: C# and x#y ##x # x #42 (#x) #-x"]);
        check("ABC-1 text#close", &[]);
        check("ABC-1, #DEF-2 #close", &["DEF-2 close"]);
        check("ABC-1 #comment see #DEF-2", &["ABC-1 comment: see #DEF-2"]);
        check("ABC-1 #fff", &["ABC-1 fff"]);
        check("ABC-1 #clos\u{e9}", &["ABC-1 clos: \u{e9}"]);
        check("ABC-1\u{a0}#close", &[]);
    }

    #[test]
    fn names_are_letters_and_hyphens_in_any_case() {
        check(
            "ABC-1 #COMMENT Hi #TiMe 1h #Start-Progress",
            &["ABC-1 comment: Hi", "ABC-1 time 1h", "ABC-1 Start-Progress"],
        );
        check("ABC-1 #close2 #close! now #close-", &["ABC-1 close: 2", "ABC-1 close: ! now", "ABC-1 close-"]);
        check("ABC-1 #time2h", &["ABC-1 time 2h"]);
    }

    #[test]
    fn a_comment_needs_text() {
        check("ABC-1 #comment  ", &["! ABC-1 #comment: a comment needs text"]);
    }

    #[test]
    fn a_time_is_a_duration_and_a_comment() {
        check("ABC-1 #time 1w 2d 4h 30m text", &["ABC-1 time 1w 2d 4h 30m: text"]);
        check("ABC-1 #time 90", &["! ABC-1 #time: a number has no unit: w, d, h or m -> #time 90m"]);
        check("ABC-1 #Time about 2h", &["! ABC-1 #Time: the duration has to come first -> #Time 2h about"]);
        check("ABC-1 DEF-2 #time 0m", &["! ABC-1 #time: no time at all", "! DEF-2 #time: no time at all"]);
    }

    #[test]
    fn further_commands_are_asked_for() {
        let text = "ABC-1 #assign ann@example.org #label a, b c #FixVersion 1.2 rc";
        check_by(
            "more = true",
            text,
            &["ABC-1 assign to ann@example.org", "ABC-1 label as a+b+c", "ABC-1 fix in 1.2 rc"],
        );
        check(text, &["ABC-1 assign: ann@example.org", "ABC-1 label: a, b c", "ABC-1 FixVersion: 1.2 rc"]);
        check_by(
            "more = true",
            "ABC-1 #assign #label , #fixversion",
            &[
                "! ABC-1 #assign: #assign needs a person",
                "! ABC-1 #label: #label needs a label",
                "! ABC-1 #fixversion: #fixversion needs a version",
            ],
        );
    }

    #[test]
    fn what_repeats_or_takes_back_a_commit_only_links() {
        let texts = [
            ("Revert \"ABC-1 #close\"", "a revert"),
            ("Undo ABC-1 #close\n\nThis reverts commit 0123abc.", "a revert"),
            ("fixup! ABC-1 #close", "a fixup! commit"),
            ("squash! ABC-1 #close", "a squash! commit"),
            ("\namend! ABC-1 #close", "an amend! commit"),
        ];
        for (text, kind) in texts {
            check(text, &[&format!("! ABC-1 #close: {kind} gives no orders")]);
            assert_eq!(read_by("", text).keys.len(), 1);
        }
        check("ABC-1 #close\n\nThis reverts commit of mine", &["ABC-1 close"]);
        check("ABC-1 #close\n\nfixup! later", &["ABC-1 close"]);
    }

    #[test]
    fn orders_are_counted_in_their_order() {
        let mentions = read_by("", "ABC-1 DEF-2 #close #time x #comment y\nABC-1 #open");
        assert_eq!(mentions.orders.iter().map(|order| order.ordinal).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }
}
