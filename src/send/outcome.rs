//! What came of one attempt of an effect, and what an answer of Jira means for it: pure, so that every row is a test.
//!
//! An effect must not happen twice, so the question is another one than for development information: not whether Jira
//! will take it, but whether it may have been done. Whatever does not prove the one or the other is ambiguous, and is
//! looked into before anything is sent again.

use serde_json::Value;

use super::http::Exchange;
use super::verdict::Answer;
use crate::text::{Untrusted, cut};

/// What one attempt of an effect taught us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Jira did it.
    Applied {
        /// What Jira calls what was made; a transition makes nothing that has an id.
        remote_id: Option<String>,
        issue_id: String,
    },
    /// There is nothing to do: the issue is where it was to go.
    NoOp { issue_id: String, because: String },
    /// It was not done.
    Stopped(Obstacle),
    /// It may have been done. Only a probe can tell.
    Ambiguous { because: String },
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It never will be, as it is asked.
    Refused { because: String },
    /// It may be another time. `after` is Jira's own wish, in milliseconds.
    Later { reach: Reach, after: Option<i64>, because: String },
    /// Nothing will be until a person acts. Nothing is discarded for it.
    Halt { reach: Reach, because: String },
}

/// How far an obstacle reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The issue, and mostly its project.
    Issue,
    /// Whatever the account does at the site.
    Account,
}

/// What a probe found out about an effect that may have been done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It was done, and this came of it; a transition has no id.
    Present { remote_id: Option<String> },
    /// It was not: what Jira shows reaches back to before it was sent.
    Absent,
    /// Jira was asked, and what it shows proves neither.
    Unsure { because: String },
    /// Jira could not be asked.
    Stopped(Obstacle),
}

/// What a sweep found that was done more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubles {
    /// The ids of all but the first, the oldest first.
    pub younger: Vec<String>,
    /// Those of them that were deleted.
    pub deleted: Vec<String>,
}

/// What an answer means for the request that it answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Jira did what was asked; its words are null where it has none.
    Done(Value),
    Stopped(Obstacle),
    Ambiguous {
        because: String,
    },
}

impl Obstacle {
    pub fn because(&self) -> &str {
        match self {
            Obstacle::Refused { because } | Obstacle::Later { because, .. } | Obstacle::Halt { because, .. } => because,
        }
    }
}

impl From<Obstacle> for Attempt {
    fn from(obstacle: Obstacle) -> Attempt {
        Attempt::Stopped(obstacle)
    }
}

impl From<Obstacle> for Probe {
    fn from(obstacle: Obstacle) -> Probe {
        Probe::Stopped(obstacle)
    }
}

/// Judges what came of a request that changes something.
pub(super) fn of_writing(exchange: &Exchange, now: i64) -> Outcome {
    let (answer, whole) = match exchange {
        Exchange::Unsent { because } => {
            let (reach, after, because) = (Reach::Account, None, because.clone());
            return Outcome::Stopped(Obstacle::Later { reach, after, because });
        }
        Exchange::Unanswered { because } => return Outcome::Ambiguous { because: because.clone() },
        Exchange::Answered { answer, whole } => (answer, *whole),
    };
    match answer.status {
        200..=299 => done(answer, whole),
        _ if is_undone(answer) => Outcome::Stopped(obstacle(answer, now)),
        300..=399 => Outcome::Ambiguous { because: answer.moved() },
        _ => Outcome::Ambiguous { because: answer.because() },
    }
}

/// Tells whether an answer proves that nothing was done of what was asked.
pub(super) fn is_undone(answer: &Answer) -> bool {
    match answer.status {
        // A proxy asks for its password before it passes anything on.
        400..=405 | 407 | 410 | 413 | 415 | 422 | 429 => true,
        503 => asks_to_wait(answer),
        _ => false,
    }
}

/// Judges the answer to a question, which may be asked as often as one likes; `None` for success.
pub(super) fn of_reading(answer: &Answer, now: i64) -> Option<Obstacle> {
    (!matches!(answer.status, 200..=299)).then(|| obstacle(answer, now))
}

fn done(answer: &Answer, whole: bool) -> Outcome {
    match (answer.status, whole) {
        (204, _) => Outcome::Done(Value::Null),
        (_, false) => {
            Outcome::Ambiguous { because: format!("{} answered {} and broke off", answer.host, answer.status) }
        }
        (_, true) => match answer.json() {
            Ok(value) => Outcome::Done(value),
            Err(trouble) => Outcome::Ambiguous { because: trouble.because() },
        },
    }
}

/// Why nothing was done, as far as an answer other than success tells.
fn obstacle(answer: &Answer, now: i64) -> Obstacle {
    let because = answer.because();
    let halt = |reach, because| Obstacle::Halt { reach, because };
    match answer.status {
        300..=399 => halt(Reach::Account, answer.moved()),
        401 => halt(Reach::Account, format!("{because}; {TOKEN}")),
        403 => halt(Reach::Issue, format!("{because}; {RIGHTS}")),
        // Jira says so itself; a page of somebody else's says that Jira is not there.
        404 if is_jiras(answer) => Obstacle::Refused { because: format!("{because}; {INVISIBLE}") },
        404 | 405 | 410 if !is_jiras(answer) || answer.status == 410 => {
            halt(Reach::Account, format!("{because}; {WHEREABOUTS}"))
        }
        407 => halt(Reach::Account, format!("{because}; the proxy wants a password")),
        429 => limited(answer, now, because),
        408 | 425 | 500.. => Obstacle::Later { reach: Reach::Account, after: answer.wish(now).span, because },
        _ => Obstacle::Refused { because },
    }
}

fn limited(answer: &Answer, now: i64, because: String) -> Obstacle {
    let reason = answer.header("ratelimit-reason").unwrap_or_default();
    let reach = if reason == "jira-per-issue-on-write" { Reach::Issue } else { Reach::Account };
    let because = match reason {
        "" => because,
        reason => format!("{because} ({})", Untrusted::text(cut(reason, 60))),
    };
    Obstacle::Later { reach, after: answer.wish(now).span, because }
}

/// Tells whether an answer asks to come again, as one does that has done nothing.
fn asks_to_wait(answer: &Answer) -> bool {
    // Data Center counts its bucket down with every answer: 0 is no wish.
    answer.header("retry-after").is_some_and(|wish| !matches!(wish.trim(), "" | "0"))
}

fn is_jiras(answer: &Answer) -> bool {
    answer.json::<Value>().is_ok()
}

const TOKEN: &str = "make a new token for the account and put it in place; a token with scopes needs account.scoped = true \
    (`agent login --scoped` for a person's own), one without must not have it";
const RIGHTS: &str = "the account lacks a permission in this project, or the issue is archived";
const INVISIBLE: &str = "there is no such issue, or the account may not see it";
const WHEREABOUTS: &str = "the site may be renamed, suspended or gone; url, cloud_id and api_url say where it is";

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    /// 2026-03-01T09:30:00Z
    const NOW: i64 = 1_772_357_400_000;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Answer { host: "jira.example".to_owned(), status, headers: map, body: body.as_bytes().to_vec() }
    }

    /// One word for an outcome, and why.
    fn word(outcome: Outcome) -> (String, String) {
        match outcome {
            Outcome::Done(value) => ("done".to_owned(), value.to_string()),
            Outcome::Ambiguous { because } => ("ambiguous".to_owned(), because),
            Outcome::Stopped(Obstacle::Refused { because }) => ("refused".to_owned(), because),
            Outcome::Stopped(Obstacle::Later { reach, after, because }) => {
                (format!("later {reach:?} {after:?}"), because)
            }
            Outcome::Stopped(Obstacle::Halt { reach, because }) => (format!("halt {reach:?}"), because),
        }
    }

    #[track_caller]
    fn check(exchange: Exchange, expected: &str, because: &str) {
        let (found, why) = word(of_writing(&exchange, NOW));
        assert_eq!(found, expected, "{why}");
        assert!(why.contains(because), "{why:?} lacks {because:?}");
    }

    /// A row of the table: a status, headers and a body that came whole.
    #[track_caller]
    fn row(status: u16, headers: &[(&'static str, &'static str)], body: &str, expected: &str, because: &str) {
        check(Exchange::Answered { answer: answer(status, headers, body), whole: true }, expected, because);
    }

    const JSON: (&str, &str) = ("content-type", "application/json;charset=UTF-8");
    const PAGE: (&str, &str) = ("content-type", "text/html");

    #[test]
    fn f39_f40_f41_what_never_left_was_not_done() {
        check(Exchange::Unsent { because: "cannot reach it".to_owned() }, "later Account None", "cannot reach it");
    }

    #[test]
    fn f46_f47_what_left_and_got_no_answer_may_have_been_done() {
        check(Exchange::Unanswered { because: "it broke off".to_owned() }, "ambiguous", "it broke off");
    }

    #[test]
    fn f57_success_is_believed_only_where_it_can_be_read() {
        row(201, &[JSON], r#"{"id":"1"}"#, "done", r#"{"id":"1"}"#);
        row(204, &[], "", "done", "null");
        row(201, &[JSON], r#"{"id":"#, "ambiguous", "JSON that cannot be read");
        row(201, &[JSON], "", "ambiguous", "JSON that cannot be read");
        row(200, &[PAGE], "<form>", "ambiguous", "text/html");
        row(201, &[JSON, ("content-encoding", "gzip")], "{}", "ambiguous", "compressed");
        let half = answer(201, &[JSON], r#"{"id":"1"}"#);
        check(Exchange::Answered { answer: half, whole: false }, "ambiguous", "broke off");
        check(Exchange::Answered { answer: answer(204, &[], ""), whole: false }, "done", "null");
    }

    #[test]
    fn f59_f60_what_jira_refuses_for_good_is_refused_in_its_words() {
        let said = r#"{"errorMessages":[],"errors":{"resolution":"Resolution is required."}}"#;
        row(400, &[JSON], said, "refused", "resolution: Resolution is required.");
        row(404, &[JSON], r#"{"errorMessages":["Gone."],"errors":{}}"#, "refused", "or the account may not see it");
        row(405, &[JSON], "{}", "refused", "405");
        row(413, &[JSON], r#"{"errorMessages":["5000 comments"]}"#, "refused", "5000 comments");
        row(415, &[], "", "refused", "415");
        row(422, &[JSON], "{}", "refused", "422");
        // What breaks off has said enough.
        let half = answer(400, &[JSON], "{");
        check(Exchange::Answered { answer: half, whole: false }, "refused", "400");
    }

    #[test]
    fn f43_f44_a_refused_credential_discards_nothing() {
        row(401, &[JSON], "{}", "halt Account", "make a new token");
        row(403, &[JSON], "{}", "halt Issue", "lacks a permission");
        row(407, &[], "", "halt Account", "proxy");
    }

    #[test]
    fn f61_a_site_that_is_gone_is_no_refusal() {
        row(404, &[PAGE], "<p>", "halt Account", "renamed, suspended or gone");
        row(404, &[], "", "halt Account", "renamed");
        row(405, &[PAGE], "", "halt Account", "renamed");
        row(410, &[JSON], "{}", "halt Account", "renamed");
    }

    #[test]
    fn f51_f52_a_limit_says_how_far_it_reaches_and_for_how_long() {
        let per_issue = ("ratelimit-reason", "jira-per-issue-on-write");
        row(429, &[JSON, per_issue, ("retry-after", "2")], "{}", "later Issue Some(2000)", "per-issue");
        row(429, &[("ratelimit-reason", "jira-burst-based")], "", "later Account None", "burst");
        row(429, &[("retry-after", "1000000000")], "", "later Account Some(3600000)", "429");
        let reset = ("x-ratelimit-reset", "2026-03-01T10:00:00Z");
        row(429, &[("ratelimit-reason", "jira-quota-global-based"), reset], "", "later Account Some(1800000)", "quota");
    }

    #[test]
    fn f50_a_redirect_is_not_followed_and_both_hosts_are_named() {
        row(307, &[("location", "https://new.example/x")], "", "ambiguous", "jira.example sends us on to new.example");
    }

    #[test]
    fn f58_only_who_says_when_to_come_again_has_surely_done_nothing() {
        row(503, &[("retry-after", "30")], "", "later Account Some(30000)", "503");
        row(503, &[], "", "ambiguous", "503");
        row(503, &[("retry-after", "0")], "", "ambiguous", "503");
    }

    #[test]
    fn f47_f48_whatever_else_is_answered_may_have_been_done() {
        for status in [408, 409, 425, 431, 499, 500, 502, 504, 520, 599] {
            row(status, &[JSON], "{}", "ambiguous", "jira.example answered");
        }
    }

    #[test]
    fn a_question_is_never_ambiguous() {
        let read = |status, headers: &[_], body| of_reading(&answer(status, headers, body), NOW).map(Outcome::Stopped);
        assert_eq!(read(200, &[], ""), None);
        for (status, expected) in [
            (301, "halt Account"),
            (400, "refused"),
            (401, "halt Account"),
            (403, "halt Issue"),
            (404, "refused"),
            (408, "later Account None"),
            (409, "refused"),
            (500, "later Account None"),
            (503, "later Account None"),
        ] {
            let outcome = read(status, &[JSON], "{}").expect("it is no success");
            assert_eq!(word(outcome).0, expected, "{status}");
        }
    }
}
