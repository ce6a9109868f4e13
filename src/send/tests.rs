//! A client against a server that answers as it is told, one answer a request.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::entity::{Body, Face};
use crate::event::Seen;
use crate::git::{Commit, Ident};
use crate::queue::EntityKind;
use crate::request::Json;

const NOW: i64 = 1_772_357_400_000;

/// A Jira that accepts everything but for what it is told to do.
#[derive(Clone, Default)]
struct Fake {
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    /// The next answers to bulk requests and deletions; when they are used up everything is accepted.
    answers: VecDeque<Reply>,
    /// The next answers to those who want a token.
    tokens: VecDeque<u16>,
    /// More commits than this are too many for one request.
    most: Option<usize>,
    /// A commit that makes Jira refuse the whole request, and how.
    poison: Option<(String, StatusCode)>,
    /// What was asked: method and path with query.
    asked: Vec<String>,
    bodies: Vec<Value>,
    granted: usize,
}

/// Status, headers, body.
type Reply = (u16, Vec<(&'static str, String)>, String);

/// A fake and a client of it.
struct Bench {
    fake: Fake,
    jira: Jira,
    folder: tempfile::TempDir,
}

impl Fake {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    fn answers(&self, status: u16, headers: &[(&'static str, &str)], body: &str) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.script().answers.push_back((status, headers, body.to_owned()));
    }

    fn asked(&self, start: &str) -> usize {
        self.script().asked.iter().filter(|asked| asked.starts_with(start)).count()
    }
}

async fn serve(State(fake): State<Fake>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut script = fake.script();
    script.asked.push(format!("{} {}", parts.method, parts.uri));
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    match parts.uri.path() {
        "/_edge/tenant_info" => json_answer(&json!({ "cloudId": "c-1" })),
        "/oauth/token" => token(&mut script, &json),
        path => {
            let wanted = format!("Bearer t{}", script.granted);
            assert_eq!(parts.headers["authorization"], *wanted, "{path}");
            development(&mut script, path, json)
        }
    }
}

fn token(script: &mut Script, asked: &Value) -> Response {
    assert_eq!(asked["audience"], "api.atlassian.com");
    assert_eq!(asked["client_secret"], "s3cret");
    match script.tokens.pop_front() {
        Some(status) if status != 200 => StatusCode::from_u16(status).unwrap().into_response(),
        _ => {
            script.granted += 1;
            json_answer(&json!({ "access_token": format!("t{}", script.granted), "expires_in": 900 }))
        }
    }
}

fn development(script: &mut Script, path: &str, body: Value) -> Response {
    if path.ends_with("/existsByProperties") {
        return json_answer(&json!({ "hasDataMatchingProperties": false }));
    }
    let told = body["repositories"][0]["commits"].as_array().cloned().unwrap_or_default();
    let ids: Vec<String> = told.iter().map(|commit| commit["id"].as_str().unwrap().to_owned()).collect();
    script.bodies.push(body);
    if let Some((status, headers, body)) = script.answers.pop_front() {
        let headers = headers
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap()));
        return (StatusCode::from_u16(status).unwrap(), headers.collect::<HeaderMap>(), body).into_response();
    }
    if script.most.is_some_and(|most| ids.len() > most) {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    if let Some((poison, status)) = script.poison.as_ref().filter(|(poison, _)| ids.contains(poison)) {
        return (*status, format!(r#"{{"errorMessages":[{{"message":"{poison} is poison"}}]}}"#)).into_response();
    }
    let accepted = json!({ "acceptedDevinfoEntities": { "r": { "commits": ids } } });
    (StatusCode::ACCEPTED, json_answer(&accepted)).into_response()
}

fn json_answer(value: &Value) -> Response {
    Json(value).into_response()
}

async fn bench() -> Bench {
    let fake = Fake::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(serve).with_state(fake.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("jira"), "s3cret\n").unwrap();
    let settings = format!(
        "name = 'a'\nurl = '{base}'\napi_url = '{base}'\nauth_url = '{base}/oauth/token'\nclient_id = 'i'\ncredential = 'jira'"
    );
    let settings: Settings = toml::from_str(&settings).unwrap();
    let jira = Jira::new(&settings, Some(folder.path()), "instance").unwrap();
    Bench { fake, jira, folder }
}

fn commits(count: u32) -> Vec<Owed> {
    (1..=count).map(commit).collect()
}

fn commit(number: u32) -> Owed {
    let id = format!("{number:040x}");
    let person = Ident::default();
    let commit = Commit {
        id: id.parse().unwrap(),
        parents: Vec::new(),
        author: person.clone(),
        committer: person,
        message: vec![b'x'; 500],
    };
    let seen = Seen { commit, files: None, cut: false };
    owed(EntityKind::Commit, id, Body::Commit { seen, url: "https://g.example/c".to_owned(), file_urls: Vec::new() })
}

fn owed(kind: EntityKind, id: String, body: Body) -> Owed {
    let face = Face { name: "r".to_owned(), url: "https://g.example/r".to_owned() };
    let body = crate::entity::Told { face, body }.encode();
    let keys = vec!["A-1".to_owned()];
    Owed {
        repository: "r".to_owned(),
        kind,
        id,
        sequence: 7,
        attempts: 0,
        unknown: 0,
        added_at: NOW,
        keys,
        body,
        leave: false,
    }
}

fn deletion() -> Owed {
    owed(EntityKind::Branch, "~61".to_owned(), Body::Gone)
}

/// Tells `owed` to the fake; each has a verdict, and `done` of them are done.
#[track_caller]
fn check(told: &Told, owed: &[Owed], done: usize) {
    let mut ids: Vec<&str> = told.settled.iter().map(|settled| settled.id.as_str()).collect();
    ids.sort_unstable();
    let mut all: Vec<&str> = owed.iter().map(|owed| owed.id.as_str()).collect();
    all.sort_unstable();
    assert_eq!(ids, all, "every entity has one verdict");
    let found = told.settled.iter().filter(|settled| matches!(settled.next, Next::Done { .. })).count();
    assert_eq!(found, done, "{:?}", told.settled.iter().map(|settled| &settled.next).collect::<Vec<_>>());
}

/// All entities wait, untried, and no longer than to `until`.
#[track_caller]
fn check_waiting(told: &Told, until: i64) {
    for settled in &told.settled {
        let Next::Again { at, counts: false, .. } = settled.next else { panic!("{:?}", settled.next) };
        assert!((NOW..=until).contains(&at), "{}", at - NOW);
    }
}

#[tokio::test]
async fn a_batch_is_told_with_one_token_and_one_question_for_the_site() {
    let bench = bench().await;
    let mut owed = commits(3);
    owed.push(deletion());
    for _ in 0..2 {
        let told = bench.jira.tell(Class::Live, &owed, NOW).await;
        check(&told, &owed, 4);
        assert_eq!(told.rest, None);
    }
    assert_eq!(bench.fake.asked("GET /_edge/tenant_info"), 1);
    assert_eq!(bench.fake.asked("POST /oauth/token"), 1);
    assert_eq!(bench.fake.asked("POST /jira/devinfo/0.1/cloud/c-1/bulk"), 2);
    let deletion = "DELETE /jira/devinfo/0.1/cloud/c-1/repository/r/branch/~61?_updateSequenceId=7";
    assert_eq!(bench.fake.asked(deletion), 2);
}

#[tokio::test]
async fn history_sets_off_no_orders() {
    let bench = bench().await;
    bench.jira.tell(Class::Backfill, &commits(1), NOW).await;
    bench.jira.tell(Class::Live, &commits(1), NOW).await;
    let said = |at: usize, field: &str| bench.fake.script().bodies[at][field].clone();
    assert_eq!((said(0, "preventTransitions"), said(0, "operationType")), (true.into(), "BACKFILL".into()));
    assert_eq!((said(1, "preventTransitions"), said(1, "operationType")), (false.into(), "NORMAL".into()));
    assert_eq!(said(1, "properties"), json!({ "agentInstance": "instance", "agentSite": "a" }));
}

/// Commits that Jira may obey.
fn with_leave(count: u32) -> Vec<Owed> {
    (1..=count).map(|number| Owed { leave: true, ..commit(number) }).collect()
}

/// Whether Jira was kept from obeying, request by request.
fn prevented(bench: &Bench) -> Vec<bool> {
    bench.fake.script().bodies.iter().map(|body| body["preventTransitions"] == true).collect()
}

/// Tells one commit with leave, after the fake was made to answer so; whether its leave was left.
async fn leave_after(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> bool {
    let bench = bench().await;
    bench.fake.answers(status, headers, body);
    let owed = with_leave(1);
    let told = bench.jira.tell(Class::Live, &owed, NOW).await;
    check(&told, &owed, 0);
    assert_eq!(prevented(&bench), [false]);
    told.settled[0].unused
}

#[tokio::test]
async fn f1_a_leave_is_used_up_unless_the_answer_proves_that_nothing_was_done() {
    let bench = bench().await;
    let told = bench.jira.tell(Class::Live, &with_leave(1), NOW).await;
    assert!(!told.settled[0].unused, "it was taken");
    for (status, headers) in [(429, &[][..]), (403, &[]), (404, &[]), (503, &[("retry-after", "30")])] {
        assert!(leave_after(status, headers, "").await, "{status}");
    }
    for status in [500, 502, 503, 504, 307] {
        assert!(!leave_after(status, &[], "").await, "{status}");
    }
    assert!(!leave_after(202, &[("content-type", "application/json")], "{").await, "half an answer");
}

#[tokio::test]
async fn f1_what_fails_before_it_is_sent_keeps_its_leave() {
    let bench = bench().await;
    bench.fake.script().tokens.push_back(500);
    let told = bench.jira.tell(Class::Live, &with_leave(1), NOW).await;
    assert!(told.rest.is_some() && told.settled[0].unused);
    assert_eq!(prevented(&bench), [false; 0]);
}

#[tokio::test]
async fn f1_f53_what_a_site_fails_over_is_searched_without_being_obeyed_again() {
    let bench = bench().await;
    let owed = with_leave(8);
    bench.fake.script().poison = Some((owed[3].id.clone(), StatusCode::INTERNAL_SERVER_ERROR));
    let tried: Vec<Owed> = owed.iter().map(|owed| Owed { attempts: 1, ..owed.clone() }).collect();
    let told = bench.jira.tell(Class::Live, &tried, NOW).await;
    check(&told, &tried, 7);
    assert!(told.settled.iter().all(|settled| !settled.unused));
    let prevented = prevented(&bench);
    assert!(prevented.len() > 2 && !prevented[0] && prevented[1..].iter().all(|prevented| *prevented), "{prevented:?}");
}

#[tokio::test]
async fn f1_f56_what_is_refused_for_its_size_is_halved_and_obeyed_once() {
    let bench = bench().await;
    bench.fake.script().most = Some(3);
    let owed = with_leave(8);
    check(&bench.jira.tell(Class::Live, &owed, NOW).await, &owed, 8);
    assert!(prevented(&bench).iter().all(|prevented| !prevented), "nothing was done of what was refused");
}

#[tokio::test]
async fn a_try_tells_what_was_found_or_which_step_failed() {
    let bench = bench().await;
    bench.fake.script().tokens.push_back(401);
    let said = bench.jira.try_out().await.unwrap_err().to_string();
    assert!(said.starts_with("getting a token failed: 127.0.0.1:"), "{said}");
    assert!(said.contains("make a new credential"), "{said}");
    let tried = bench.jira.try_out().await.unwrap();
    assert_eq!(tried, Tried { cloud_id: "c-1".to_owned(), known: false });
    assert_eq!(bench.fake.asked("GET /jira/devinfo/0.1/cloud/c-1/existsByProperties?agentInstance=instance"), 1);
}

#[tokio::test]
async fn f43_a_spent_token_is_replaced_once() {
    let bench = bench().await;
    let owed = commits(2);
    bench.fake.answers(401, &[], "");
    check(&bench.jira.tell(Class::Live, &owed, NOW).await, &owed, 2);
    bench.fake.answers(401, &[], "");
    bench.fake.answers(401, &[], "");
    let told = bench.jira.tell(Class::Live, &owed, NOW).await;
    check(&told, &owed, 0);
    assert_eq!(told.rest.unwrap().kind, RestKind::Auth);
    assert_eq!(bench.fake.script().granted, 3);
}

#[tokio::test]
async fn f43_a_refused_secret_discards_nothing_and_waits_for_a_new_one() {
    let bench = bench().await;
    let owed = commits(2);
    bench.fake.script().tokens.push_back(401);
    let told = bench.jira.tell(Class::Live, &owed, NOW).await;
    check(&told, &owed, 0);
    check_waiting(&told, NOW + 60_000);
    let rest = told.rest.unwrap();
    assert_eq!((rest.until, rest.kind), (None, RestKind::Auth));
    assert!(!bench.jira.secret_changed());
    std::fs::write(bench.folder.path().join("jira"), "another\n").unwrap();
    assert!(bench.jira.secret_changed());
}

#[tokio::test]
async fn f50_a_redirect_is_not_followed() {
    let bench = bench().await;
    let owed = commits(1);
    bench.fake.answers(307, &[("location", "https://new.example/x")], "");
    let told = bench.jira.tell(Class::Live, &owed, NOW).await;
    check_waiting(&told, NOW + 60_000);
    let rest = told.rest.unwrap();
    assert!(rest.kind == RestKind::Site && rest.because.contains("new.example"), "{rest:?}");
    assert_eq!(bench.fake.asked("POST /jira"), 1);
}

#[tokio::test]
async fn f51_a_burst_pauses_only_its_own_kind_of_call() {
    let bench = bench().await;
    let mut owed = commits(2);
    owed.push(deletion());
    bench.fake.answers(202, &[], "");
    bench.fake.answers(429, &[("ratelimit-reason", "jira-burst-based"), ("retry-after", "60")], "");
    let told = bench.jira.tell(Class::Live, &owed, NOW).await;
    check(&told, &owed, 1);
    assert_eq!(told.rest, None);
    let again = bench.jira.tell(Class::Live, &owed, NOW).await;
    check(&again, &owed, 1);
    assert_eq!(bench.fake.asked("POST /jira"), 1, "nothing is asked before the time is over");
    let later = bench.jira.tell(Class::Live, &owed, NOW + 90_000).await;
    check(&later, &owed, 3);
}

#[tokio::test]
async fn f51_a_spent_quota_rests_the_whole_site_until_its_reset() {
    let bench = bench().await;
    let owed = commits(2);
    let reset = [("ratelimit-reason", "jira-quota-global-based"), ("x-ratelimit-reset", "2026-03-01T10:00:00Z")];
    bench.fake.answers(429, &reset, "");
    let told = bench.jira.tell(Class::Live, &owed, NOW).await;
    check_waiting(&told, NOW + 3_600_000);
    let rest = told.rest.unwrap();
    assert_eq!(rest.kind, RestKind::RateLimit);
    assert!(rest.until.unwrap() >= NOW + 1_800_000);
}

#[tokio::test]
async fn f53_the_first_failure_ends_the_turn_and_pauses_grow() {
    let bench = bench().await;
    // More than one request holds.
    let owed = commits(1500);
    let mut before = 0;
    for attempt in 1..=4 {
        bench.fake.answers(503, &[], "");
        let told = bench.jira.tell(Class::Live, &owed, NOW).await;
        check(&told, &owed, 0);
        check_waiting(&told, NOW + 120_000);
        let rest = told.rest.unwrap();
        assert_eq!(rest.kind, RestKind::Outage);
        assert_eq!(bench.fake.asked("POST /jira"), attempt, "one probe a turn");
        let pause = rest.until.unwrap() - NOW;
        assert!(pause > before / 2, "{pause} after {before}");
        before = pause;
    }
    let told = bench.jira.tell(Class::Live, &owed, NOW).await;
    check(&told, &owed, 1500);
}

#[tokio::test]
async fn f56_too_large_a_request_is_halved_until_it_fits() {
    let bench = bench().await;
    bench.fake.script().most = Some(30);
    let owed = commits(200);
    check(&bench.jira.tell(Class::Live, &owed, NOW).await, &owed, 200);
    bench.fake.script().most = Some(0);
    let one = commits(1);
    let told = bench.jira.tell(Class::Live, &one, NOW).await;
    assert!(matches!(told.settled[0].next, Next::Parked { .. }));
    let bodies = &bench.fake.script().bodies;
    let length = |body: &Value| body["repositories"][0]["commits"][0]["message"].as_str().unwrap().len();
    assert_eq!(bodies.iter().rev().take(2).map(length).collect::<Vec<_>>(), [100, 500], "it was shortened first");
}

#[tokio::test]
async fn f56_the_one_that_jira_cannot_stand_is_found_and_parked_alone() {
    let bench = bench().await;
    let owed = commits(400);
    bench.fake.script().poison = Some((owed[123].id.clone(), StatusCode::BAD_REQUEST));
    let told = bench.jira.tell(Class::Live, &owed, NOW).await;
    check(&told, &owed, 399);
    let parked = told.settled.iter().find(|settled| matches!(settled.next, Next::Parked { .. })).unwrap();
    assert_eq!(parked.id, owed[123].id);
    assert!(matches!(&parked.next, Next::Parked { because } if because.ends_with("is poison")), "{parked:?}");
    assert!(bench.fake.asked("POST /jira") <= 20);
}

#[tokio::test]
async fn f53_the_one_that_jira_fails_over_is_found_and_holds_up_no_other() {
    let bench = bench().await;
    let owed = commits(400);
    bench.fake.script().poison = Some((owed[123].id.clone(), StatusCode::INTERNAL_SERVER_ERROR));
    let mut now = NOW;
    for _ in 0..SUSPICIOUS {
        let told = bench.jira.tell(Class::Live, &owed, now).await;
        now = told.rest.expect("the site seems to be out").until.unwrap();
    }
    assert_eq!(bench.fake.asked("POST /jira"), 4, "a site that is out is asked once at a time");
    let told = bench.jira.tell(Class::Live, &owed, now).await;
    assert_eq!(told.rest, None);
    check(&told, &owed, 399);
    let again = told.settled.iter().find(|settled| !matches!(settled.next, Next::Done { .. })).unwrap();
    assert_eq!(again.id, owed[123].id);
    assert!(matches!(again.next, Next::Again { counts: true, .. }), "{again:?}");
    let tired: Vec<Owed> = owed[123..125].iter().map(|owed| Owed { attempts: 4, ..owed.clone() }).collect();
    let told = bench.jira.tell(Class::Live, &tired, now + 60_000).await;
    assert!(
        told.settled.iter().any(|one| one.id == owed[123].id && matches!(one.next, Next::Parked { .. })),
        "it is a person's after a few tries: {told:?}"
    );
}

#[tokio::test]
async fn f53_a_site_that_is_out_is_not_searched_for_long() {
    let bench = bench().await;
    let owed = commits(400);
    for round in 0..40 {
        for _ in 0..20 {
            bench.fake.answers(500, &[], "");
        }
        let before = bench.fake.asked("POST /jira");
        let told = bench.jira.tell(Class::Live, &owed, NOW + i64::from(round) * 600_000).await;
        assert!(told.rest.is_some());
        assert_eq!(told.settled.len(), 400);
        let asked = bench.fake.asked("POST /jira") - before;
        assert!(asked <= 16, "{asked} requests in round {round}");
        bench.fake.script().answers.clear();
    }
}

#[tokio::test]
async fn f57_more_than_four_mebibytes_are_not_read() {
    let bench = bench().await;
    let owed = commits(1);
    bench.fake.answers(202, &[("content-type", "application/json")], &" ".repeat(5 << 20));
    let told = bench.jira.tell(Class::Live, &owed, NOW).await;
    check_waiting(&told, NOW + 60_000);
    assert!(told.rest.unwrap().because.contains("more than 4 MiB"));
}

#[tokio::test]
async fn f40_a_host_that_is_not_there_is_an_outage() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut settings: Settings =
        toml::from_str("name = 'a'\nurl = 'http://localhost'\nclient_id = 'i'\ncredential = 'jira'").unwrap();
    let base = format!("http://127.0.0.1:{port}");
    (settings.url, settings.api_url, settings.auth_url) = (base.clone(), base.clone(), base);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("jira"), "s").unwrap();
    let jira = Jira::new(&settings, Some(folder.path()), "i").unwrap();
    let told = jira.tell(Class::Live, &commits(1), NOW).await;
    check_waiting(&told, NOW + 60_000);
    let rest = told.rest.unwrap();
    assert!(rest.kind == RestKind::Outage && rest.because.starts_with("cannot reach 127.0.0.1:"), "{rest:?}");
}
