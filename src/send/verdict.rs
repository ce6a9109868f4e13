//! What an answer of Jira means for what was asked: pure, so that every row of the table is a test.
//!
//! Jira judges each entity by itself. An answer that is not Jira's judgement (a page of a proxy, half a body, a wrong
//! token) says nothing about the entities: then it is the site's trouble, and they wait.

use std::collections::{HashMap, HashSet};

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use serde::Deserialize;
use serde_json::Value;

use super::RestKind;
use super::retry::{self, Wish};
use crate::queue::{EntityKind, Next, Owed, Settled};
use crate::text::{Untrusted, cut};

/// An answer as it came, its body within bounds. Some hold a token, so it has no `Debug`.
pub struct Answer {
    /// Who was asked.
    pub host: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// What one request taught us.
#[derive(Debug)]
pub enum Verdict {
    /// Each entity was judged.
    Judged(Vec<Settled>),
    /// The request was refused as a whole for what is in it: it has to be taken apart.
    Refused { flaw: Flaw, because: String },
    /// Nothing was learnt about what is in it.
    Trouble(Trouble),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    TooLarge,
    Malformed,
}

/// What keeps a site from being told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It may be over any moment. `answered` when the site itself failed over the request, so that what is in it may
    /// be the reason; `unsent` when nothing of the request left; `offline` when there was no way to anybody.
    Outage { wish: Wish, answered: bool, unsent: bool, offline: bool, because: String },
    /// We asked too often.
    Limited { scope: Scope, wish: Wish, because: String },
    /// A person has to act. `again` is the span after which the same may be tried, as the cure may be out of our sight.
    Refused { kind: RestKind, again: Option<i64>, because: String },
}

/// How far a limit reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What was in this request.
    Request,
    /// All requests of this kind.
    Call,
    Site,
}

impl Answer {
    /// Reads JSON that claims to be JSON.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Trouble> {
        let kind = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind != "application/json" && !kind.ends_with("+json") {
            let kind = Untrusted::text(&kind).to_string();
            return Err(self.garbage(if kind.is_empty() { "something without a type" } else { &kind }));
        }
        if self.header(CONTENT_ENCODING.as_str()).is_some_and(|encoding| encoding != "identity") {
            return Err(self.garbage("something compressed, unasked"));
        }
        serde_json::from_slice(&self.body).map_err(|error| self.garbage(&format!("JSON that cannot be read ({error})")))
    }

    /// What the answer's status means where what was in the request does not matter; `None` for success.
    pub fn trouble(&self, now: i64) -> Option<Trouble> {
        let because = self.because();
        let trouble = match self.status {
            200..=299 => return None,
            300..=399 => refused(RestKind::Site, Some(HOUR), self.moved()),
            401 => refused(RestKind::Auth, Some(QUARTER), because),
            403 => refused(RestKind::Auth, Some(QUARTER), format!("{because}; {PERMISSION}")),
            404 | 410 => refused(RestKind::Site, Some(HOUR), format!("{because}; {WHEREABOUTS}")),
            407 => refused(RestKind::Site, Some(QUARTER), format!("{because}; the proxy wants a password")),
            429 => self.limited(now, because),
            408 | 425 | 500.. => {
                let wish = self.wish(now);
                // Who says when to come again knows what is wrong.
                let answered = self.status >= 500 && wish == Wish::default();
                Trouble::Outage { wish, answered, unsent: false, offline: false, because }
            }
            _ => refused(RestKind::Site, Some(HOUR), because),
        };
        Some(trouble)
    }

    /// Jira's own words, for people: short, on one line, with nothing dangerous in them.
    pub fn words(&self) -> String {
        let said = serde_json::from_slice::<Value>(&self.body).map_or(Vec::new(), |value| messages(&value));
        // Whoever refuses a token may say which one it was.
        let said = crate::secret::without(said.join("; ").into_bytes());
        Untrusted::text(cut(&String::from_utf8_lossy(&said), WORDS)).to_string()
    }

    pub fn because(&self) -> String {
        let reason = reqwest::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let status = format!("{} answered {} {}", self.host, self.status, reason.unwrap_or_default());
        match (status.trim_end(), self.words()) {
            (status, words) if words.is_empty() => status.to_owned(),
            (status, words) => format!("{status}: {words}"),
        }
    }

    pub fn moved(&self) -> String {
        let place = self.header(LOCATION.as_str()).unwrap_or("an address it does not name");
        let place = match reqwest::Url::parse(place).ok().and_then(|url| url.host_str().map(str::to_owned)) {
            Some(host) => host,
            None => Untrusted::text(cut(place, WORDS)).to_string(),
        };
        format!(
            "{} sends us on to {place}, which we do not follow; if that is right, put it into the configuration",
            self.host
        )
    }

    fn limited(&self, now: i64, because: String) -> Trouble {
        let reason = self.header("ratelimit-reason").unwrap_or_default();
        let scope = match reason {
            "jira-per-issue-on-write" => Scope::Request,
            reason if reason.starts_with("jira-quota") => Scope::Site,
            _ => Scope::Call,
        };
        let because = match reason {
            "" => because,
            reason => format!("{because} ({})", Untrusted::text(cut(reason, 60))),
        };
        Trouble::Limited { scope, wish: self.wish(now), because }
    }

    pub fn wish(&self, now: i64) -> Wish {
        Wish::read(self.header(RETRY_AFTER.as_str()), self.header("x-ratelimit-reset"), now)
    }

    fn garbage(&self, what: &str) -> Trouble {
        let because = format!("{} answered {} with {what} instead of Jira's JSON", self.host, self.status);
        Trouble::Outage { wish: Wish::default(), answered: false, unsent: false, offline: false, because }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Trouble {
    /// The same trouble where everything that is sent to the site depends on what was asked.
    pub fn of_the_site(self) -> Trouble {
        match self {
            Trouble::Limited { wish, because, .. } => Trouble::Limited { scope: Scope::Site, wish, because },
            other => other,
        }
    }

    /// Whether nothing was done of what was asked, where there is no answer to it.
    pub fn is_undone(&self) -> bool {
        match self {
            Trouble::Outage { unsent, .. } => *unsent,
            // Said by whoever grants tokens: the request itself was refused before.
            Trouble::Limited { .. } | Trouble::Refused { .. } => true,
        }
    }

    pub fn because(self) -> String {
        match self {
            Trouble::Outage { because, .. } | Trouble::Limited { because, .. } | Trouble::Refused { because, .. } => {
                because
            }
        }
    }
}

/// Judges the answer to a bulk request.
pub fn bulk(answer: &Answer, sent: &[&Owed], now: i64, seed: u64) -> Verdict {
    match refusal(answer, now) {
        Some(verdict) => verdict,
        None => match answer.json::<Accepted>() {
            Ok(accepted) if accepted.is_empty() => Verdict::Trouble(answer.garbage("an object of another kind")),
            Ok(accepted) => Verdict::Judged(accepted.judge(sent, now, seed)),
            Err(trouble) => Verdict::Trouble(trouble),
        },
    }
}

/// Judges the answer to a deletion.
pub fn deletion(answer: &Answer, owed: &Owed, now: i64) -> Verdict {
    // Not the API's answer but a page somebody put in its place.
    let is_page = answer.header(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("text/html"));
    match refusal(answer, now) {
        Some(verdict) => verdict,
        None if is_page => Verdict::Trouble(answer.garbage("a page")),
        None => Verdict::Judged(vec![settled(owed, Next::Done { dropped: 0, note: None })]),
    }
}

pub fn settled(owed: &Owed, next: Next) -> Settled {
    let Owed { repository, kind, id, sequence, .. } = owed;
    Settled { repository: repository.clone(), kind: *kind, id: id.clone(), sequence: *sequence, next, unused: false }
}

/// A site's answer to a bulk request. Every part may be missing, but not all.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    accepted_devinfo_entities: Option<HashMap<String, AcceptedOf>>,
    failed_devinfo_entities: Option<HashMap<String, FailedOf>>,
    unknown_issue_keys: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AcceptedOf {
    commits: Option<Vec<String>>,
    branches: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FailedOf {
    error_messages: Value,
    commits: Option<Vec<Failed>>,
    branches: Option<Vec<Failed>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failed {
    id: String,
    #[serde(default)]
    error_messages: Value,
}

impl Accepted {
    fn is_empty(&self) -> bool {
        self.accepted_devinfo_entities.is_none()
            && self.failed_devinfo_entities.is_none()
            && self.unknown_issue_keys.is_none()
    }

    fn judge(&self, sent: &[&Owed], now: i64, seed: u64) -> Vec<Settled> {
        let accepted = self.accepted();
        let failed = self.failed();
        let unknown: HashSet<String> = self.unknown_issue_keys.iter().flatten().map(|key| key.to_uppercase()).collect();
        let next = |owed: &Owed| {
            let id = (owed.repository.as_str(), owed.kind, owed.id.as_str());
            let keys = || owed.keys.iter().filter(|key| unknown.contains(&key.to_uppercase())).map(String::as_str);
            if let Some(because) = failed.get(&id) {
                return retry::failed(owed, because.clone(), now, seed);
            }
            if keys().next().is_some() {
                return retry::unknown(owed, &keys().collect::<Vec<_>>(), now);
            }
            let is_whole = failed.get(&(owed.repository.as_str(), EntityKind::Repository, ""));
            match (accepted.contains(&id), is_whole) {
                (true, _) => Next::Done { dropped: 0, note: None },
                (false, Some(because)) => retry::failed(owed, because.clone(), now, seed),
                (false, None) => retry::unmentioned(owed, now, seed),
            }
        };
        sent.iter().map(|owed| settled(owed, next(owed))).collect()
    }

    fn accepted(&self) -> HashSet<(&str, EntityKind, &str)> {
        let mut accepted = HashSet::new();
        for (repository, lists) in self.accepted_devinfo_entities.iter().flatten() {
            let commits = lists.commits.iter().flatten().map(|id| (EntityKind::Commit, id));
            let branches = lists.branches.iter().flatten().map(|id| (EntityKind::Branch, id));
            accepted.extend(commits.chain(branches).map(|(kind, id)| (repository.as_str(), kind, id.as_str())));
        }
        accepted
    }

    /// What Jira says of those it refused; under a repository's own name what it says of all of it.
    fn failed(&self) -> HashMap<(&str, EntityKind, &str), String> {
        let mut failed = HashMap::new();
        for (repository, lists) in self.failed_devinfo_entities.iter().flatten() {
            let commits = lists.commits.iter().flatten().map(|failed| (EntityKind::Commit, failed));
            let branches = lists.branches.iter().flatten().map(|failed| (EntityKind::Branch, failed));
            let each = commits.chain(branches);
            failed.extend(each.map(|(kind, failed)| {
                let id = (repository.as_str(), kind, failed.id.as_str());
                (id, complaint(&failed.error_messages))
            }));
            if !messages(&lists.error_messages).is_empty() {
                failed.insert((repository, EntityKind::Repository, ""), complaint(&lists.error_messages));
            }
        }
        failed
    }
}

const HOUR: i64 = 3_600_000;
const QUARTER: i64 = 900_000;
/// The most that is kept of what somebody else wrote.
const WORDS: usize = 300;

const PERMISSION: &str =
    "the OAuth credential needs the permission for development information (Jira settings, Apps, OAuth credentials)";
const WHEREABOUTS: &str =
    "the site may be renamed, suspended or gone; url, cloud_id, api_url and auth_url say where it is";

fn refusal(answer: &Answer, now: i64) -> Option<Verdict> {
    let flaw = match answer.status {
        413 => Flaw::TooLarge,
        400 | 422 => Flaw::Malformed,
        _ => return answer.trouble(now).map(Verdict::Trouble),
    };
    Some(Verdict::Refused { flaw, because: answer.because() })
}

fn refused(kind: RestKind, again: Option<i64>, because: String) -> Trouble {
    Trouble::Refused { kind, again, because }
}

fn complaint(said: &Value) -> String {
    let said = messages(said).join("; ");
    match Untrusted::text(cut(&said, WORDS)).to_string() {
        said if said.is_empty() => "Jira refused it without a word".to_owned(),
        said => format!("Jira refused it: {said}"),
    }
}

/// The messages in any of the forms that Jira's APIs use: texts, objects with a `message`, lists of either, objects that
/// hold such a list, and those that hold one for each field.
fn messages(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(messages).collect(),
        Value::Object(fields) => {
            let names = ["errorMessages", "message", "error_description", "error"];
            let general = names.iter().find_map(|name| fields.get(*name)).map_or(Vec::new(), messages);
            let of_fields = fields.get("errors").and_then(Value::as_object).into_iter().flatten();
            let of_fields = of_fields.map(|(field, said)| format!("{field}: {}", messages(said).join("; ")));
            general.into_iter().chain(of_fields).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    /// 2026-03-01T09:30:00Z
    const NOW: i64 = 1_772_357_400_000;
    const JSON: &[(&str, &str)] = &[("content-type", "application/json;charset=UTF-8")];

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| (reqwest::header::HeaderName::from_static(name), HeaderValue::from_static(value)));
        Answer { host: "api.example".to_owned(), status, headers: headers.collect(), body: body.as_bytes().to_vec() }
    }

    fn owed(kind: EntityKind, id: &str, keys: &[&str]) -> Owed {
        Owed {
            repository: "r".to_owned(),
            kind,
            id: id.to_owned(),
            sequence: 7,
            attempts: 0,
            unknown: 0,
            added_at: NOW,
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            body: Vec::new(),
            leave: false,
        }
    }

    /// One word for a verdict, and why.
    fn told(verdict: Verdict) -> (String, String) {
        let (word, because) = match verdict {
            Verdict::Judged(settled) => {
                let each = settled.iter().map(|settled| match &settled.next {
                    Next::Done { .. } => "done".to_owned(),
                    Next::Again { counts, .. } => format!("again{}", if *counts { "+" } else { "" }),
                    Next::Unknown { .. } => "unknown".to_owned(),
                    Next::Parked { .. } => "parked".to_owned(),
                });
                let because = settled.iter().map(|settled| match &settled.next {
                    Next::Done { note, .. } => note.clone().unwrap_or_default(),
                    Next::Again { because, .. } | Next::Unknown { because, .. } | Next::Parked { because } => {
                        because.clone()
                    }
                });
                return (each.collect::<Vec<_>>().join(" "), because.collect::<Vec<_>>().join(" | "));
            }
            Verdict::Refused { flaw, because } => (format!("{flaw:?}"), because),
            Verdict::Trouble(Trouble::Outage { wish, because, .. }) => (format!("outage {:?}", wish.span), because),
            Verdict::Trouble(Trouble::Limited { scope, wish, because }) => {
                (format!("{scope:?} {:?}", wish.span), because)
            }
            Verdict::Trouble(Trouble::Refused { kind, again, because }) => (format!("{kind:?} {again:?}"), because),
        };
        (word, because)
    }

    /// The verdict on two commits and a branch, and a part of why.
    #[track_caller]
    fn check(status: u16, headers: &[(&'static str, &'static str)], body: &str, word: &str, because: &str) {
        let sent = [
            owed(EntityKind::Commit, "c1", &["A-1"]),
            owed(EntityKind::Commit, "c2", &["A-1", "UTF-8"]),
            owed(EntityKind::Branch, "b", &["B-1"]),
        ];
        let verdict = bulk(&answer(status, headers, body), &sent.each_ref(), NOW, 1);
        let (found, why) = told(verdict);
        assert_eq!(found, word, "{why}");
        assert!(why.contains(because), "{why:?} lacks {because:?}");
    }

    const ALL: &str = r#"{"acceptedDevinfoEntities":{"r":{"commits":["c1","c2"],"branches":["b"],"pullRequests":[]}}}"#;

    #[test]
    fn what_jira_accepted_is_done() {
        check(202, JSON, ALL, "done done done", "");
        check(200, &[("content-type", "application/vnd.x+json")], ALL, "done done done", "");
    }

    #[test]
    fn f54_only_what_failed_is_tried_again_and_what_nobody_mentions_too() {
        let body = r#"{"acceptedDevinfoEntities":{"r":{"commits":["c1"],"branches":null}},"failedDevinfoEntities":
            {"r":{"commits":[{"id":"c2","errorMessages":[{"message":"url is\u001b[31m bad","errorTraceId":"x"}]}]}}}"#;
        check(
            202,
            JSON,
            body,
            "done again+ again+",
            r"Jira refused it: url is\x1b[31m bad | Jira's answer does not mention",
        );
        let body = r#"{"failedDevinfoEntities":{"r":{"errorMessages":[{"message":"name too long"}]}}}"#;
        check(202, JSON, body, "again+ again+ again+", "name too long");
        check(202, JSON, r#"{"acceptedDevinfoEntities":{"other":{"commits":["c1"]}}}"#, "again+ again+ again+", "");
    }

    #[test]
    fn what_jira_says_of_single_fields_is_heard() {
        let said = |body: &str| answer(400, JSON, body).words();
        let fields = r#"{"errorMessages":["No."],"errors":{"comment":"too long","resolution":["is required"]}}"#;
        assert_eq!(said(fields), "No.; comment: too long; resolution: is required");
        assert_eq!(said(r#"{"errorMessages":[],"errors":{}}"#), "");
        assert_eq!(said(r#"{"errors":["x"],"message":"y"}"#), "y");
    }

    #[test]
    fn f55_an_unknown_key_does_not_hide_behind_acceptance() {
        let body = ALL.replacen('{', r#"{"unknownIssueKeys":["utf-8"],"#, 1);
        check(202, JSON, &body, "done unknown done", "Jira does not know UTF-8");
        let body = r#"{"acceptedDevinfoEntities":{},"unknownIssueKeys":["A-1","UTF-8","B-1"]}"#;
        check(202, JSON, body, "unknown unknown unknown", "Jira does not know A-1, UTF-8");
    }

    #[test]
    fn f56_what_is_refused_as_a_whole_is_taken_apart() {
        check(413, &[], "", "TooLarge", "413 Payload Too Large");
        check(400, JSON, r#"{"errorMessages":[{"message":"mutually exclusive"}]}"#, "Malformed", "mutually exclusive");
        check(400, JSON, r#"[{"message":"bare"}]"#, "Malformed", "bare");
        check(422, JSON, "{}", "Malformed", "422");
    }

    #[test]
    fn f57_what_is_not_jiras_judgement_says_nothing() {
        check(200, &[("content-type", "text/html")], "<form>", "outage None", "text/html instead");
        check(202, &[], ALL, "outage None", "something without a type");
        check(202, JSON, &ALL[..40], "outage None", "JSON that cannot be read");
        check(202, JSON, "{}", "outage None", "another kind");
        check(202, JSON, "[]", "outage None", "JSON that cannot be read");
        check(202, &[JSON[0], ("content-encoding", "gzip")], ALL, "outage None", "compressed");
        check(202, JSON, r#"{"acceptedDevinfoEntities":7}"#, "outage None", "cannot be read");
    }

    #[test]
    fn f51_each_limit_reaches_as_far_as_jira_says() {
        let limited = |reason: &'static str| [("ratelimit-reason", reason), ("retry-after", "30")];
        check(429, &limited("jira-burst-based"), "", "Call Some(30000)", "jira-burst-based");
        check(429, &limited("jira-per-issue-on-write"), "", "Request Some(30000)", "");
        check(429, &limited("jira-quota-global-based"), "", "Site Some(30000)", "");
        let reset = [("ratelimit-reason", "jira-quota-tenant-based"), ("x-ratelimit-reset", "2026-03-01T10:00:00Z")];
        check(429, &reset, "", "Site Some(1800000)", "");
        check(429, &[], "", "Call None", "429 Too Many Requests");
    }

    #[test]
    fn f53_f58_a_site_that_is_out_is_waited_for() {
        for status in [500, 502, 503, 504, 408, 599] {
            check(status, &[("content-type", "text/html")], "<h1>Maintenance", "outage None", "api.example answered");
        }
        check(503, &[("retry-after", "120")], "", "outage Some(120000)", "503");
    }

    #[test]
    fn f43_f61_what_needs_a_person_says_what_to_do() {
        check(401, JSON, r#"{"code":401,"message":"Unauthorized"}"#, "Auth Some(900000)", "Unauthorized");
        check(403, JSON, "{}", "Auth Some(900000)", "permission for development information");
        check(404, JSON, "{}", "Site Some(3600000)", "renamed, suspended or gone");
        check(410, &[], "", "Site Some(3600000)", "410 Gone");
        check(407, &[], "", "Site Some(900000)", "proxy");
        check(405, &[], "", "Site Some(3600000)", "405");
    }

    #[test]
    fn f50_a_redirect_names_both_hosts() {
        check(
            302,
            &[("location", "https://new.example/x?token=y")],
            "",
            "Site Some(3600000)",
            "api.example sends us on to new.example,",
        );
        check(307, &[], "", "Site Some(3600000)", "an address it does not name");
    }

    #[test]
    fn a_deletion_needs_no_body_but_a_page_is_none() {
        let owed = owed(EntityKind::Branch, "b", &[]);
        let word = |answer| told(deletion(&answer, &owed, NOW)).0;
        assert_eq!(word(answer(202, &[], "")), "done");
        assert_eq!(word(answer(204, JSON, "")), "done");
        assert_eq!(word(answer(200, &[("content-type", "text/html; charset=utf-8")], "<form>")), "outage None");
        assert_eq!(word(answer(400, &[], "")), "Malformed");
        assert_eq!(word(answer(503, &[], "")), "outage None");
    }

    #[test]
    fn strange_words_are_cut_and_made_harmless() {
        let body = format!(r#"{{"errorMessages":["{}"]}}"#, "\\u202e".repeat(5000));
        let said = answer(400, JSON, &body).words();
        assert!(said.starts_with("\\u{202e}") && said.len() <= 10 * WORDS);
    }
}
