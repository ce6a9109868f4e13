//! Strict mode: what Jira's DVCS connector answers for a message, to the letter.
//!
//! The connector has two patterns that often disagree: a loose one that links and a narrow one that
//! gives orders. Both take letters of any script. Its habits are kept here because people's habits
//! are built on them; the one thing added is a limit on what a single message may ask.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;

use bstr::ByteSlice;
use memchr::memchr_iter;
use regex::Regex;
use serde::Serialize;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use super::duration;
use super::key::{IssueKey, KEYS_WITHIN, Keys, Unlinked};
use super::order::{Command as Piece, EndsAt, Refusal, Refused, Verb};
use super::order::{MOST_ORDERS, commands, groups, is_blank, lines_with_commands};
use super::{Mentions, duration::NotDuration};

/// What the connector makes of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// What is linked, sorted. Orders count only when this is not empty.
    pub linked_keys: Vec<String>,
    /// In order of execution; at most 1000.
    pub commands: Vec<Command>,
}

/// One command for one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Command {
    pub issue_key: String,
    /// As it was written.
    pub command: String,
    #[serde(rename = "type")]
    pub kind: Kind,
    pub argument: String,
    /// What Jira is told was worked, only for `#time`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_spent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worklog_comment: Option<String>,
    /// The exception that a `#time` without a duration ends in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throws: Option<&'static str>,
}

/// What a command is to the connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    LogWork,
    Comment,
    Transition,
}

/// Answers as the connector does on Java 17.
pub fn message(text: &[u8]) -> Answer {
    let linked: BTreeSet<String> = linked(text).map(|at| upper(text, at)).collect();
    let commands = given(text).into_iter().map(|given| given.command).take(MOST_ORDERS);
    Answer { linked_keys: linked.into_iter().collect(), commands: commands.collect() }
}

/// The same answer, as mentions.
pub(super) fn mentions(text: &[u8]) -> Mentions {
    let mut mentions = keys(text);
    // The connector hands a commit to its command parser only when something is linked.
    if mentions.keys.is_empty() {
        return mentions;
    }
    for given in given(text) {
        if tell(given, &mut mentions).is_none() {
            break;
        }
    }
    mentions
}

/// What is linked alone, for a branch.
pub(super) fn keys(text: &[u8]) -> Mentions {
    let mut keys = Keys::default();
    for at in linked(text) {
        match upper(text, at.clone()).parse() {
            Ok(key) => keys.add(at, key),
            Err(_) => keys.reject(text, at, Unlinked::NotOfTheForm),
        }
    }
    Mentions::of(&mut keys)
}

/// A command and where it stands.
struct Given {
    command: Command,
    at: Range<usize>,
}

/// An exception nobody catches: the rest of the run waits for the next synchronisation.
const NO_DURATION: &str = "IllegalStateException";

static DURATION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:[0-9]+[wdhm][ \t\n\x0b\x0c\r]*)+").expect("the expression is constant"));

/// The places the linking pattern finds: letters of any case, between blanks, ASCII punctuation or the edges.
fn linked(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    shapes(text, KEYS_WITHIN, is_cased).filter(|at| {
        let separates = |b: &u8| b.is_ascii_punctuation() || is_blank(*b) || *b == b'\n';
        text[..at.start].last().is_none_or(separates) && text.get(at.end).is_none_or(separates)
    })
}

/// The places the ordering pattern finds on a line: upper case between word boundaries, and not after some characters.
fn ordering(text: &[u8], line: Range<usize>) -> Vec<Range<usize>> {
    let found = shapes(&text[line.clone()], usize::MAX, is_upper).map(|at| line.start + at.start..line.start + at.end);
    let may_order = |at: &Range<usize>| {
        let before = &text[line.start..at.start];
        !ends_in_a_word(before)
            && !begins_with_a_word(&text[at.end..line.end])
            && !before.last().is_some_and(|b| b"&=?>^!~/-".contains(b))
    };
    found.filter(may_order).collect()
}

/// Letters and digits that begin with a letter, a hyphen, digits: both patterns without their borders.
fn shapes(text: &[u8], within: usize, is_letter: fn(char) -> bool) -> impl Iterator<Item = Range<usize>> {
    memchr_iter(b'-', &text[..text.len().min(within)]).filter_map(move |hyphen| {
        let digits = text[hyphen + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let (mut start, mut letters, mut begins_with_letter) = (hyphen, 0, false);
        while let (Some(c), size) = bstr::decode_last_utf8(&text[..start])
            && (is_letter(c) || c.is_ascii_digit())
        {
            (start, letters, begins_with_letter) = (start - size, letters + 1, is_letter(c));
        }
        (letters > 1 && begins_with_letter).then_some(start..hyphen + 1 + digits)
    })
}

/// The commands of a message, each for each key of its group, doubles included; at most one more than may be given.
fn given(text: &[u8]) -> Vec<Given> {
    let mut all = Vec::new();
    for line in lines_with_commands(text, 0..text.len()) {
        let keys = ordering(text, line.clone());
        let groups = groups(text, &keys, joins);
        for piece in commands(text, line, &groups, EndsAt::EveryGroup) {
            let Some(group) = piece.group else { continue };
            let command = understood(text, &piece);
            let argument_ends = text[..piece.argument.end].trim_end_with(|c| c <= ' ').len();
            let at = piece.name.start - 1..argument_ends.max(piece.name.end);
            for key in &keys[groups[group].keys.clone()] {
                if all.len() > MOST_ORDERS {
                    return all;
                }
                let issue_key = text[key.clone()].to_str_lossy().into_owned();
                all.push(Given { command: Command { issue_key, ..command.clone() }, at: at.clone() });
            }
        }
    }
    all
}

/// Understands a command, whoever it is for.
fn understood(text: &[u8], piece: &Piece) -> Command {
    let name = text[piece.name.clone()].to_str_lossy().into_owned();
    let argument = trim(&text[piece.argument.clone()].to_str_lossy()).to_owned();
    let kind = match name.to_ascii_lowercase().as_str() {
        "time" => Kind::LogWork,
        "comment" => Kind::Comment,
        _ => Kind::Transition,
    };
    let time_spent =
        DURATION.find(&argument).filter(|_| kind == Kind::LogWork).map(|run| trim(run.as_str()).to_owned());
    let worklog_comment = time_spent.as_ref().map(|_| trim(&DURATION.replace_all(&argument, "")).to_owned());
    let throws = (kind == Kind::LogWork && time_spent.is_none()).then_some(NO_DURATION);
    Command { issue_key: String::new(), command: name, kind, argument, time_spent, worklog_comment, throws }
}

/// Adds one command to the mentions: what would end in an error at Jira is refused here.
fn tell(given: Given, mentions: &mut Mentions) -> Option<()> {
    let Given { command, at } = given;
    let key: Option<IssueKey> = command.issue_key.parse().ok();
    let verb = match (command.kind, command.time_spent) {
        (Kind::Comment, _) if command.argument.is_empty() => Err(Refusal::NoText),
        (Kind::Comment, _) => Ok(Verb::Comment { text: command.argument }),
        (Kind::Transition, _) => Ok(Verb::Transition { name: command.command.clone(), comment: command.argument }),
        (Kind::LogWork, None) => Err(Refusal::Time(NotDuration::Missing)),
        (Kind::LogWork, Some(spent)) => duration::total(&spent)
            .map(|spent| Verb::Time { spent, comment: command.worklog_comment.unwrap_or_default() })
            .map_err(Refusal::Time),
    };
    match (key, verb) {
        (Some(key), Ok(verb)) => mentions.order(key, verb, at, &command.command),
        (key, verb) => {
            let because = verb.err().unwrap_or(Refusal::NoKey);
            mentions.refuse(Refused { key, command: command.command, at, because, instead: None })
        }
    }
}

/// At most one comma directly after the key, and blanks.
fn joins(between: &[u8]) -> bool {
    between.strip_prefix(b",").unwrap_or(between).iter().all(|b| is_blank(*b))
}

fn upper(text: &[u8], at: Range<usize>) -> String {
    text[at].to_str_lossy().to_uppercase()
}

/// Takes away ASCII control characters and spaces, as Java's `trim` does.
fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

fn is_upper(c: char) -> bool {
    c.general_category() == GeneralCategory::UppercaseLetter
}

/// Java folds the case of a letter class since version 15, title case included.
fn is_cased(c: char) -> bool {
    use GeneralCategory::{LowercaseLetter, TitlecaseLetter, UppercaseLetter};
    matches!(c.general_category(), UppercaseLetter | LowercaseLetter | TitlecaseLetter)
}

/// A letter, a digit or `_`, in Java's sense.
fn is_word(c: char) -> bool {
    use GeneralCategory::{
        DecimalNumber, LowercaseLetter, ModifierLetter, OtherLetter, TitlecaseLetter, UppercaseLetter,
    };
    let category = c.general_category();
    let letter = matches!(category, UppercaseLetter | LowercaseLetter | TitlecaseLetter | ModifierLetter | OtherLetter);
    c == '_' || letter || category == DecimalNumber
}

fn is_mark(c: char) -> bool {
    c.general_category() == GeneralCategory::NonspacingMark
}

/// Whether a word boundary is missing after this text: an accent belongs to the letter it stands on.
fn ends_in_a_word(text: &[u8]) -> bool {
    let mut last = text.chars().rev();
    match last.next() {
        Some(c) if is_mark(c) => last.find(|&c| !is_mark(c)).is_some_and(|base| is_word(base) && base != '_'),
        last => last.is_some_and(is_word),
    }
}

/// Whether the text goes on with the word of the key before it, whose last digit any accent would stand on.
fn begins_with_a_word(text: &[u8]) -> bool {
    text.chars().next().is_some_and(|c| is_word(c) || is_mark(c))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;

    /// The cases of a measured file, or nothing where the files are not at hand.
    fn cases(file: &str) -> Vec<Value> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases").join(file);
        let Ok(text) = fs::read_to_string(&path) else {
            writeln!(std::io::stderr(), "skipped: {} is missing", path.display()).expect("stderr is open");
            return Vec::new();
        };
        let mut all: Value = serde_json::from_str(&text).expect("the cases are JSON");
        serde_json::from_value(all["cases"].take()).expect("the cases are a list")
    }

    #[track_caller]
    fn check(text: &str, expected: Value) {
        assert_eq!(serde_json::to_value(message(text.as_bytes())).expect("an answer is JSON"), expected, "{text:?}");
    }

    #[test]
    fn messages_are_answered_as_measured() {
        for case in cases("smart-commits-strict.json") {
            check(case["message"].as_str().expect("a message"), case["expected"].clone());
        }
    }

    #[test]
    fn keys_are_linked_as_measured() {
        for case in cases("issue-keys-strict.json") {
            let answer = message(case["text"].as_str().expect("a text").as_bytes());
            assert_eq!(json!(answer.linked_keys), case["keys"], "{}", case["text"]);
        }
    }

    #[test]
    fn an_answer_has_the_fields_of_the_connector() {
        let common =
            |name, kind, argument| json!({"issue_key": "ABC-1", "command": name, "type": kind, "argument": argument});
        let mut time = common("TIME", "log_work", "about 2h on it");
        time["time_spent"] = json!("2h");
        time["worklog_comment"] = json!("about on it");
        let mut throws = common("time", "log_work", "90");
        throws["throws"] = json!("IllegalStateException");
        check(
            "ABC-1 #TIME about 2h on it #time 90 #close",
            json!({"linked_keys": ["ABC-1"], "commands": [time, throws, common("close", "transition", "")]}),
        );
    }

    #[test]
    fn an_accent_belongs_to_the_letter_it_stands_on() {
        for text in ["A\u{301}BC-1 #x", "ABC-1\u{301} #x"] {
            assert_eq!(message(text.as_bytes()).commands, [], "{text:?}");
        }
        for text in [" \u{301}ABC-1 #x", "_\u{301}ABC-1 #x"] {
            assert_eq!(message(text.as_bytes()).commands.len(), 1, "{text:?}");
        }
    }

    #[test]
    fn mentions_are_made_from_the_answer() {
        let mentions = mentions("abc-1 ÄBC-007 ÄBC-007 #time 2h 2h x #comment #time 90".as_bytes());
        assert_eq!(mentions.keys.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(), ["ABC-1", "ÄBC-007"]);
        let spent = |order: &super::super::Order| match &order.verb {
            Verb::Time { spent, comment } => format!("{} {spent} {comment}", order.key),
            other => format!("{other:?}"),
        };
        assert_eq!(mentions.orders.iter().map(spent).collect::<Vec<_>>(), ["ÄBC-007 4h x", "ÄBC-007 4h x"]);
        let because: Vec<_> = mentions.refused.iter().map(|refused| refused.because).collect();
        let missing = Refusal::Time(NotDuration::Missing);
        assert_eq!(because, [Refusal::NoText, Refusal::NoText, missing, missing]);
    }

    #[test]
    fn nothing_is_ordered_where_nothing_is_linked() {
        let text = "ABC-1\u{200b} #close".as_bytes();
        assert_eq!(message(text).commands.len(), 1);
        assert_eq!(mentions(text), Mentions::default());
    }
}
