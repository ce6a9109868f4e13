//! Which transition a word means: pure, so that every habit of writing is a row of a table.

use super::platform::Offered;
use crate::parse::Mode;
use crate::text::{Untrusted, cut};

/// What a word means among the transitions that are offered.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    One(&'a Offered),
    /// The issue is where the word would take it.
    Already,
    Several(Vec<&'a Offered>),
    None,
}

/// Finds what a word means for an issue in this status.
///
/// The first way of reading it that hits anything decides. Names of transitions are looked at before those of the
/// statuses they lead to, which strict mode leaves alone.
pub fn choose<'a>(word: &str, offered: &'a [Offered], status: &str, mode: Mode) -> Choice<'a> {
    let word = word.to_lowercase();
    let blanks = word.replace('-', " ");
    let is = |name: &str, word: &str| name.to_lowercase() == word;
    let begins = |name: &str, word: &str| name.to_lowercase().starts_with(word);
    let standard: [&dyn Fn(&str) -> bool; 4] =
        [&|name| is(name, &word), &|name| is(name, &blanks), &|name| begins(name, &word), &|name| {
            begins(name, &blanks)
        }];
    if mode == Mode::Strict {
        return strictly(offered, [standard[0], standard[2], standard[3]]);
    }
    let by_name = standard.iter().find_map(|reads| found(offered, |way| reads(&way.name)));
    let is_there = |reads: &dyn Fn(&str) -> bool| {
        let hits = found(offered, |way| reads(&way.to)).unwrap_or_default();
        // Where the issue stands is as good a meaning as where it could go.
        (reads(status) || !hits.is_empty()).then_some((reads(status), hits))
    };
    match by_name {
        Some(hits) => one_of(hits, status),
        None => match standard.iter().find_map(|reads| is_there(*reads)) {
            Some((true, hits)) if hits.iter().all(|way| way.to == status) => Choice::Already,
            Some((true, hits)) => Choice::Several(hits),
            Some((false, hits)) => one_of(hits, status),
            None => Choice::None,
        },
    }
}

/// Names transitions with where they lead, for a person to choose from.
pub fn named<'a>(ways: impl IntoIterator<Item = &'a Offered>) -> String {
    let shown = |text: &str| Untrusted::text(cut(text, NAME)).to_string();
    let name = |way: &Offered| match way.name == way.to {
        true => shown(&way.name),
        false => format!("{} (to {})", shown(&way.name), shown(&way.to)),
    };
    let names: Vec<String> = ways.into_iter().take(MOST).map(name).collect();
    names.join(", ")
}

/// The most of a name, in UTF-16 units, and of names.
const NAME: usize = 60;
const MOST: usize = 20;

fn found(offered: &[Offered], reads: impl Fn(&Offered) -> bool) -> Option<Vec<&Offered>> {
    let hits: Vec<&Offered> = offered.iter().filter(|way| reads(way)).collect();
    (!hits.is_empty()).then_some(hits)
}

fn one_of<'a>(hits: Vec<&'a Offered>, status: &str) -> Choice<'a> {
    match hits[..] {
        [one] if one.to == status => Choice::Already,
        [one] => Choice::One(one),
        _ => Choice::Several(hits),
    }
}

/// Reads as Jira's DVCS connector does: of two with just this name the first, whatever else begins like it.
fn strictly<'a>(offered: &'a [Offered], [is, begins, begins_with_blanks]: [&dyn Fn(&str) -> bool; 3]) -> Choice<'a> {
    if let Some(way) = offered.iter().find(|way| is(&way.name)) {
        return Choice::One(way);
    }
    let hits = [begins, begins_with_blanks].into_iter().find_map(|reads| found(offered, |way| reads(&way.name)));
    match hits.as_deref() {
        None => Choice::None,
        Some([one]) => Choice::One(one),
        Some(_) => Choice::Several(hits.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    fn offered(names: &[(&str, &str)]) -> Vec<Offered> {
        let way = |(at, (name, to)): (usize, &(&str, &str))| Offered {
            id: at.to_string(),
            name: (*name).to_owned(),
            to: (*to).to_owned(),
            demands: Vec::new(),
        };
        names.iter().enumerate().map(way).collect()
    }

    fn shown(choice: &Choice<'_>) -> String {
        match choice {
            Choice::One(way) => way.name.clone(),
            Choice::Already => "already".to_owned(),
            Choice::None => "none".to_owned(),
            Choice::Several(ways) => format!("several: {}", named(ways.iter().copied())),
        }
    }

    const WAYS: &[(&str, &str)] = &[
        ("Start Progress", "In Progress"),
        ("Start Review", "In Review"),
        ("Close Issue", "Done"),
        ("Resolve Issue", "Done"),
        ("send-to qa", "QA"),
        ("Send To Customer", "Waiting for customer"),
        ("Backlog", "Backlog"),
        ("Reopen", "To Do"),
    ];

    #[track_caller]
    fn check(word: &str, status: &str, expected: &str) {
        assert_eq!(shown(&choose(word, &offered(WAYS), status, Mode::Standard)), expected, "#{word} in {status}");
    }

    #[test]
    fn a_word_means_the_first_way_of_reading_it_that_hits() {
        check("close-issue", "To Do", "Close Issue");
        check("CLOSE", "To Do", "Close Issue");
        check("c", "To Do", "Close Issue");
        check("start-p", "To Do", "Start Progress");
        check("send-to", "To Do", "send-to qa");
        check("send-to-c", "To Do", "Send To Customer");
        check("reopen", "Done", "Reopen");
        check("backlog", "To Do", "Backlog");
    }

    #[test]
    fn the_status_it_leads_to_names_a_transition_too() {
        check("in-progress", "To Do", "Start Progress");
        check("in-r", "To Do", "Start Review");
        check("qa", "To Do", "send-to qa");
        check("waiting", "To Do", "Send To Customer");
    }

    #[test]
    fn f60_none_or_several_are_not_guessed() {
        check("start", "To Do", "several: Start Progress (to In Progress), Start Review (to In Review)");
        check("done", "To Do", "several: Close Issue (to Done), Resolve Issue (to Done)");
        check("fff", "To Do", "none");
        check("issue", "To Do", "none");
        check(
            "",
            "To Do",
            "several: Start Progress (to In Progress), Start Review (to In Review), Close Issue (to Done), \
            Resolve Issue (to Done), send-to qa (to QA), Send To Customer (to Waiting for customer), Backlog, Reopen (to To Do)",
        );
    }

    #[test]
    fn f60_where_the_issue_is_already_nothing_is_done() {
        check("backlog", "Backlog", "already");
        check("in-progress", "In Progress", "already");
        check("start-progress", "In Progress", "already");
        check("verified", "Verified", "already");
        check("verif", "Verified", "already");
        // Some of what it may mean is elsewhere.
        check("in", "In Progress", "several: Start Progress (to In Progress), Start Review (to In Review)");
    }

    #[test]
    fn what_is_offered_is_shown_to_people_without_harm() {
        let ways = offered(&[("x\u{1b}[31m\n", "y\u{202e}")]);
        assert_eq!(named(&ways), "x\\x1b[31m\\x0a (to y\\u{202e})");
        assert_eq!(named(&offered(&vec![("a", "a"); 50])).matches('a').count(), 20);
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    fn strict_mode_answers_as_the_connector_does() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases/transitions.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("skipped: there is no {}", path.display());
            return;
        };
        let told: Value = serde_json::from_str(&text).unwrap();
        for case in told["cases"].as_array().unwrap() {
            let names: Vec<&str> = case["available"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let ways = offered(&names.iter().map(|name| (*name, "elsewhere")).collect::<Vec<_>>());
            let choice = choose(case["command"].as_str().unwrap(), &ways, "here", Mode::Strict);
            let (executed, error) = match &choice {
                Choice::One(way) => (Some(way.name.as_str()), None),
                Choice::Several(_) => (None, Some("ambiguous")),
                Choice::None if ways.is_empty() => (None, Some("noactions")),
                Choice::None | Choice::Already => (None, Some("nomatch")),
            };
            assert_eq!((executed, error), (case["executed"].as_str(), case["error"].as_str()), "{case}");
        }
    }
}
