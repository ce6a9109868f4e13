//! Smart Commits as Jira itself carries them out, when development information comes and nobody prevents it.
//!
//! Each order runs as the user whose mail address the commit's author has, with that user's permissions. What it leaves
//! on the issue names the commit, so that an order somebody else carries out too is there twice and both are told apart.
//! What cannot be done is not done and only remembered: Jira tells the committer nothing.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::comments::{self, Properties};
use super::issues::project_of;
use super::permissions::Permission;
use super::rest::Refusal;
use super::site::ProjectType;
use super::state::State;
use super::transitions::Order;
use super::workflow::Transition;
use super::worklogs::{self, Estimate};
use crate::parse::{Mode, Rules, Settings, Verb};

/// One command for one issue, as it was written, and what became of it.
#[derive(Serialize, Deserialize)]
pub(super) struct Trigger {
    pub(super) repository: String,
    pub(super) commit: String,
    pub(super) key: String,
    pub(super) command: String,
    pub(super) at: Timestamp,
    /// Why it was not done; nothing if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
}

/// A commit whose message Jira reads for the first time.
pub(super) struct Read {
    pub(super) repository: String,
    pub(super) id: String,
    pub(super) data: Value,
}

/// What one order is about.
struct Case<'a> {
    key: &'a str,
    person: &'a str,
    commit: &'a str,
    /// When the author wrote the commit.
    authored: Timestamp,
    now: Timestamp,
}

static STRICT: LazyLock<Rules> = LazyLock::new(|| {
    Rules::new(&Settings { mode: Mode::Strict, ..Settings::default() }, None).expect("the settings are the usual ones")
});

impl State {
    /// Carries out what a commit orders.
    pub(super) fn carry_out(&mut self, read: &Read, now: Timestamp) {
        let message = read.data["message"].as_str().unwrap_or_default();
        let mentions = STRICT.message(message.as_bytes());
        let trigger = |key: &str, command: &str, refused| Trigger {
            repository: read.repository.clone(),
            commit: read.id.clone(),
            key: key.to_owned(),
            command: command.trim().to_owned(),
            at: now,
            refused,
        };
        for order in mentions.orders {
            let Some(key) = self.known(order.key.as_str()) else { continue };
            let refused = self.carry_out_one(read, &key, order.verb, now).err();
            self.triggers.push(trigger(&key, &message[order.at], refused));
        }
        for refused in mentions.refused {
            let Some(key) = refused.key.and_then(|key| self.known(key.as_str())) else { continue };
            self.triggers.push(trigger(&key, &message[refused.at], Some(refused.because.to_string())));
        }
    }

    fn carry_out_one(&mut self, read: &Read, key: &str, verb: Verb, now: Timestamp) -> Result<(), String> {
        if self.projects[project_of(key)].kind != ProjectType::Software {
            return Err("Smart Commits work in software projects only".into());
        }
        let person = self.person_by_email(read.data["author"]["email"].as_str().unwrap_or_default())?.to_owned();
        let authored = read.data["authorTimestamp"].as_str().and_then(|text| text.parse().ok()).unwrap_or(now);
        let case = Case { key, person: &person, commit: &read.id, authored, now };
        match verb {
            Verb::Comment { text } => self.comment_for(&case, &text),
            Verb::Time { spent, comment } => {
                let (hours, days) = (self.time.working_hours_per_day, self.time.working_days_per_week);
                self.log_for(&case, &spent.jira(hours, days), &comment)
            }
            Verb::Transition { name, comment } => self.transit_for(&case, &name, &comment),
            Verb::Assign { .. } | Verb::Label { .. } | Verb::FixVersion { .. } => {
                Err("Jira knows no such command".into())
            }
        }
    }

    fn comment_for(&mut self, case: &Case, text: &str) -> Result<(), String> {
        self.may_for(case, Permission::Comment)?;
        if text.is_empty() {
            return Err("Comment body can not be empty!".into());
        }
        self.add_comment(case.key, case.person, case.says(text), case.now).map(drop).map_err(Refusal::because)
    }

    fn log_for(&mut self, case: &Case, spent: &str, comment: &str) -> Result<(), String> {
        self.may_for(case, Permission::Work)?;
        let draft = worklogs::Draft {
            comment: if comment.is_empty() { Value::Null } else { json!(comment) },
            started: case.authored,
            seconds: self.time.seconds(spent).ok_or("Invalid time duration entered.")?,
            properties: Properties::new(),
            notified: true,
            commit: Some(case.commit.to_owned()),
            estimate: Estimate::Auto,
        };
        self.add_worklog(case.key, case.person, draft, case.now).map(drop).map_err(Refusal::because)
    }

    fn transit_for(&mut self, case: &Case, name: &str, comment: &str) -> Result<(), String> {
        self.may_for(case, Permission::Transition)?;
        let possible: Vec<&Transition> = self
            .offered(case.key, case.person)
            .into_iter()
            // What would be refused is no candidate.
            .filter(|way| way.refuses.is_none() && way.demands().next().is_none())
            .collect();
        let order =
            Order { id: choose(&possible, name)?.id.clone(), commit: Some(case.commit.to_owned()), ..Order::default() };
        self.transit(case.key, case.person, order, case.now).map_err(Refusal::because)?;
        if comment.is_empty() { Ok(()) } else { self.comment_for(case, comment) }
    }

    fn may_for(&self, case: &Case, what: Permission) -> Result<(), String> {
        self.allow(case.person, case.key, what).map_err(Refusal::because)
    }
}

impl Case<'_> {
    fn says(&self, text: &str) -> comments::Draft {
        comments::Draft { body: json!(text), commit: Some(self.commit.to_owned()), ..comments::Draft::default() }
    }
}

/// Chooses a transition by name: exactly, by its beginning, by its beginning with blanks for hyphens.
fn choose<'a>(possible: &[&'a Transition], name: &str) -> Result<&'a Transition, String> {
    let word = name.to_lowercase();
    let names = |ways: &[&Transition]| ways.iter().map(|way| way.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(exact) = possible.iter().find(|way| way.name.to_lowercase() == word) {
        return Ok(exact);
    }
    let begins =
        |word: &str| possible.iter().copied().filter(|way| way.name.to_lowercase().starts_with(word)).collect();
    let mut found: Vec<&Transition> = begins(&word);
    if found.is_empty() {
        found = begins(&word.replace('-', " "));
    }
    match found.as_slice() {
        [one] => Ok(one),
        [] if possible.is_empty() => Err("no transition is possible".into()),
        [] => Err(format!("no transition “{name}”, only {}", names(possible))),
        several => Err(format!("“{name}” may be {}", names(several))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use super::super::workflow::Workflow;
    use super::*;

    #[track_caller]
    fn check(name: &str, available: &[&str], expected: Result<&str, &str>) {
        let way = Workflow::default().transitions.remove(0);
        let named = |name: &&str| Transition { name: (*name).to_owned(), ..way.clone() };
        let ways: Vec<Transition> = available.iter().map(named).collect();
        let found = choose(&ways.iter().collect::<Vec<_>>(), name).map(|way| way.name.clone());
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{name} of {available:?}"),
            (Err(because), Err(part)) => assert!(because.contains(part), "{name} of {available:?}: {because}"),
            _ => panic!("{name} of {available:?}: {found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn f4_f14_a_transition_is_found_by_its_beginning_and_an_ambiguous_one_is_not() {
        let ways = ["Start Progress", "Start Review", "Close Issue"];
        check("close", &ways, Ok("Close Issue"));
        check("start-progress", &ways, Ok("Start Progress"));
        check("start", &ways, Err("may be Start Progress, Start Review"));
        check("fly", &ways, Err("no transition “fly”, only Start Progress"));
        check("close", &[], Err("no transition is possible"));
    }

    #[test]
    fn f4_a_transition_is_chosen_as_it_was_measured() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases/transitions.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            return writeln!(std::io::stderr(), "skipped: {} is missing", path.display()).expect("stderr is open");
        };
        let cases: Value = serde_json::from_str(&text).expect("the cases are JSON");
        for case in cases["cases"].as_array().expect("a list") {
            let available: Vec<&str> =
                case["available"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let expected = case["executed"].as_str().ok_or(match case["error"].as_str() {
                Some("ambiguous") => "may be",
                Some("noactions") => "is possible",
                _ => "only",
            });
            check(case["command"].as_str().expect("a word"), &available, expected);
        }
    }
}
