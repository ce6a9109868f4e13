//! The promises of the sandbox, told to its router in process under a clock that tests turn.

use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::Value;
use tower::ServiceExt;

use super::*;

mod comments;
mod issues;
mod misbehaviour;
mod page;
mod people;
mod smart;
mod transitions;
mod worklogs;

const START: i64 = 1_800_000_000_000;

/// A sandbox without a network, its clock, and a token for it.
struct Bench {
    app: App,
    clock: Arc<AtomicI64>,
    token: String,
}

impl Bench {
    async fn new() -> Bench {
        Bench::with(None).await
    }

    async fn with(store: Option<PathBuf>) -> Bench {
        let issue = |key: &str| SeedIssue { key: key.into(), summary: "A <summary>".into(), status: to_do() };
        let settings = Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            client_id: "id".into(),
            client_secret: "secret".into(),
            issues: vec![issue("DEMO-1"), issue("DEMO-2")],
            people: ["ada", "bob"].map(person).into(),
            store,
        };
        let clock = Arc::new(AtomicI64::new(START));
        let hands = clock.clone();
        let now = move || Timestamp::from_millisecond(hands.load(Ordering::Relaxed)).expect("tests stay in this age");
        let app = App::open(settings, Arc::new(now)).expect("the store is fine");
        let mut bench = Bench { app, clock, token: String::new() };
        bench.renew().await;
        bench
    }

    async fn renew(&mut self) {
        let (status, answer) = self.token("secret").await;
        assert_eq!(status, 200);
        self.token = answer["access_token"].as_str().expect("a token").to_owned();
    }

    async fn token(&self, secret: &str) -> (u16, Value) {
        let order = json!({
            "audience": "api.atlassian.com", "grant_type": "client_credentials",
            "client_id": "id", "client_secret": secret,
        });
        self.call("POST", "/oauth/token", Some(order)).await
    }

    fn pass(&self, milliseconds: i64) {
        self.clock.fetch_add(milliseconds, Ordering::Relaxed);
    }

    async fn response(&self, method: &str, path: &str, kind: &str, body: Vec<u8>) -> axum::response::Response {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .header("authorization", format!("Bearer {}", self.token))
            .body(Body::from(body))
            .expect("a request");
        router(self.app.clone()).oneshot(request).await.expect("a router never fails")
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let answer = self.response(method, path, "application/json", body).await;
        let status = answer.status().as_u16();
        let bytes = to_bytes(answer.into_body(), usize::MAX).await.unwrap_or_default();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    fn base(&self) -> String {
        format!("/jira/devinfo/0.1/cloud/{}", self.app.enter().0.cloud_id)
    }

    async fn bulk(&self, body: Value) -> (u16, Value) {
        self.call("POST", &format!("{}/bulk", self.base()), Some(body)).await
    }

    /// Sends a body and waits until Jira shows it.
    async fn store(&self, body: Value) -> Value {
        let (status, answer) = self.bulk(body).await;
        assert_eq!(status, 202, "{answer}");
        self.pass(60);
        answer
    }

    async fn delete(&self, path: &str) -> u16 {
        let (status, _) = self.call("DELETE", &format!("{}{path}", self.base()), None).await;
        self.pass(60);
        status
    }

    async fn held(&self) -> Value {
        self.call("GET", &format!("{}/repository/r1", self.base()), None).await.1
    }

    async fn state(&self) -> Value {
        self.call("GET", "/sandbox/state", None).await.1
    }

    async fn fault(&self, rules: Value) {
        assert_eq!(self.call("POST", "/sandbox/faults", Some(rules)).await.0, 204);
    }

    async fn page(&self, path: &str) -> String {
        let answer = self.response("GET", path, "text/plain", Vec::new()).await;
        let bytes = to_bytes(answer.into_body(), usize::MAX).await.expect("a page");
        String::from_utf8(bytes.into()).expect("a page is text")
    }
}

/// One who calls the platform's API.
struct Client<'b> {
    bench: &'b Bench,
    base: String,
    /// Nothing for an anonymous one.
    authorization: Option<String>,
}

impl Bench {
    fn cloud(&self, name: &str) -> Client<'_> {
        let authorization = Some(basic(&format!("{name}@example.com:{name}-token")));
        Client { bench: self, base: "/rest/api/3".into(), authorization }
    }

    fn data_center(&self, name: &str) -> Client<'_> {
        Client { bench: self, base: "/rest/api/2".into(), authorization: Some(format!("Bearer {name}-token")) }
    }

    /// Pulls a string of the switchboard.
    async fn pull(&self, path: &str, body: Value) {
        let (status, answer) = self.call("POST", &format!("/sandbox/{path}"), Some(body)).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
    }

    /// All that happened to an issue.
    async fn effects(&self, key: &str) -> Value {
        self.call("GET", &format!("/sandbox/issues/{key}"), None).await.1
    }
}

impl Client<'_> {
    async fn response(&self, method: &str, path: &str, body: Option<Value>) -> axum::response::Response {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = request.header("content-type", "application/json").body(body).expect("a request");
        router(self.bench.app.clone()).oneshot(request).await.expect("a router never fails")
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let answer = self.response(method, path, body).await;
        let status = answer.status().as_u16();
        let bytes = to_bytes(answer.into_body(), usize::MAX).await.unwrap_or_default();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call("POST", path, Some(body)).await
    }
}

fn person(name: &str) -> SeedPerson {
    SeedPerson {
        name: name.into(),
        email: Some(format!("{name}@example.com")),
        display_name: Some(format!("{name} Example")),
        token: Some(format!("{name}-token")),
        password: Some(format!("{name}-password")),
        ..SeedPerson::default()
    }
}

/// Writes credentials as Basic does.
fn basic(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut written = String::from("Basic ");
    for chunk in text.as_bytes().chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(chunk.get(at).copied().unwrap_or_default()));
        for at in 0..4 {
            let digit = char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
            written.push(if at > chunk.len() { '=' } else { digit });
        }
    }
    written
}

fn adf(text: &str) -> Value {
    json!({ "type": "doc", "version": 1, "content": [
        { "type": "paragraph", "content": [{ "type": "text", "text": text }] },
    ] })
}

fn commit(id: &str, sequence: i64, message: &str) -> Value {
    json!({
        "id": id, "displayId": id, "updateSequenceId": sequence, "message": message, "fileCount": 1,
        "author": { "name": "Ada", "email": "ada@example.com" }, "authorTimestamp": "2026-11-23T10:00:00Z",
        "url": "https://git.example/c", "issueKeys": ["DEMO-1"],
    })
}

fn branch(id: &str, sequence: i64) -> Value {
    json!({
        "id": id, "name": id, "updateSequenceId": sequence, "url": "https://git.example/b", "issueKeys": ["DEMO-1"],
        "lastCommit": commit("c1", sequence, "DEMO-1"),
    })
}

fn repository(sequence: i64, commits: impl IntoIterator<Item = Value>) -> Value {
    let commits: Vec<Value> = commits.into_iter().collect();
    json!({
        "id": "r1", "name": "one", "url": "https://git.example/r1", "updateSequenceId": sequence, "commits": commits,
    })
}

fn body(sequence: i64, commits: impl IntoIterator<Item = Value>) -> Value {
    json!({ "repositories": [repository(sequence, commits)], "preventTransitions": true })
}

/// Sends one body and compares the status, and a part of the first complaint.
#[track_caller]
fn check(body: Value, status: u16, complaint: &str) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let (found, answer) = Bench::new().await.bulk(body).await;
        assert_eq!(found, status, "{caller}: {answer}");
        assert!(answer.to_string().contains(complaint), "{caller}: {answer}");
    }
}

#[tokio::test]
async fn a_token_opens_the_gateway_until_it_runs_out() {
    let mut bench = Bench::new().await;
    bench.pass(899_000);
    bench.store(body(1, [commit("c1", 1, "DEMO-1")])).await;
    bench.pass(1_000);
    assert_eq!(bench.bulk(body(2, [commit("c2", 2, "DEMO-1")])).await.0, 401);
    bench.renew().await;
    assert_eq!(bench.bulk(body(2, [commit("c2", 2, "DEMO-1")])).await.0, 202);
    bench.token.clear();
    assert_eq!(bench.bulk(body(3, [commit("c3", 3, "DEMO-1")])).await.0, 401);
}

#[tokio::test]
async fn a_token_is_given_for_json_and_for_a_form_but_not_for_a_wrong_secret() {
    let bench = Bench::new().await;
    assert_eq!(bench.token("wrong").await.0, 401);
    let form = b"grant_type=client_credentials&client_id=id&client_secret=secret".to_vec();
    let answer = bench.response("POST", "/oauth/token", "application/x-www-form-urlencoded", form).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_rotated_secret_shuts_what_the_old_one_opened() {
    let bench = Bench::new().await;
    bench.call("POST", "/sandbox/settings", Some(json!({ "client_secret": "new" }))).await;
    assert_eq!(bench.bulk(body(1, [commit("c1", 1, "DEMO-1")])).await.0, 401);
    assert_eq!(bench.token("secret").await.0, 401);
    assert_eq!(bench.token("new").await.0, 200);
}

#[tokio::test]
async fn another_site_is_not_found() {
    let bench = Bench::new().await;
    let path = "/jira/devinfo/0.1/cloud/00000000-0000-0000-0000-000000000000/repository/r1";
    assert_eq!(bench.call("GET", path, None).await.0, 404);
}

#[tokio::test]
async fn what_is_accepted_shows_only_after_a_while() {
    let bench = Bench::new().await;
    assert_eq!(bench.bulk(body(1, [commit("c1", 1, "DEMO-1")])).await.0, 202);
    assert_eq!(bench.held().await["commits"], Value::Null);
    assert_eq!(bench.state().await["pending"], 1);
    bench.pass(50);
    assert_eq!(bench.held().await["commits"][0]["id"], "c1");
}

#[tokio::test]
async fn only_a_greater_number_replaces_and_a_lower_one_is_accepted_all_the_same() {
    let bench = Bench::new().await;
    bench.store(body(5, [commit("c1", 5, "first")])).await;
    for (sequence, shown) in [(5, "first"), (4, "first"), (6, "later")] {
        let answer = bench.store(body(sequence, [commit("c1", sequence, "later")])).await;
        assert_eq!(answer["acceptedDevinfoEntities"]["r1"]["commits"], json!(["c1"]));
        assert_eq!(bench.held().await["commits"][0]["message"], shown, "{sequence}");
    }
}

#[tokio::test]
async fn the_repository_object_has_a_number_of_its_own() {
    let bench = Bench::new().await;
    bench.store(body(5, [commit("c1", 1, "DEMO-1")])).await;
    let mut late = body(4, [commit("c2", 2, "DEMO-1")]);
    late["repositories"][0]["name"] = json!("old name");
    bench.store(late).await;
    let held = bench.held().await;
    assert_eq!(held["name"], "one");
    assert_eq!(held["commits"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn an_entity_is_kept_for_its_known_keys_and_dropped_without_any() {
    let bench = Bench::new().await;
    let mut mixed = commit("c1", 1, "mixed");
    mixed["issueKeys"] = json!(["demo-1", "UTF-8"]);
    let mut unknown = commit("c2", 1, "unknown");
    unknown["issueKeys"] = json!(["SHA-256"]);
    let answer = bench.store(body(1, [mixed, unknown])).await;
    assert_eq!(answer["unknownIssueKeys"], json!(["SHA-256", "UTF-8"]));
    assert_eq!(answer["acceptedDevinfoEntities"]["r1"]["commits"], json!(["c1", "c2"]));
    let state = bench.state().await;
    assert_eq!(state["repositories"]["r1"]["commits"]["c1"]["keys"], json!(["DEMO-1"]));
    assert_eq!(state["repositories"]["r1"]["commits"]["c2"], Value::Null);
}

#[tokio::test]
async fn an_issue_made_later_takes_what_is_sent_again() {
    let bench = Bench::new().await;
    let mut early = commit("c1", 1, "NEW-1");
    early["issueKeys"] = json!(["NEW-1"]);
    bench.store(body(1, [early.clone()])).await;
    let issue = json!({ "key": "NEW-1", "summary": "new", "status": "To Do" });
    assert_eq!(bench.call("POST", "/sandbox/issues", Some(issue)).await.0, 201);
    bench.store(body(1, [early])).await;
    assert_eq!(bench.held().await["commits"][0]["id"], "c1");
}

#[tokio::test]
async fn associations_are_a_second_way_to_name_issues() {
    let bench = Bench::new().await;
    let mut modern = commit("c1", 1, "DEMO-1");
    modern["issueKeys"] = Value::Null;
    modern["associations"] = json!([{ "associationType": "issueIdOrKeys", "values": ["10001", "NO-1"] }]);
    let answer = bench.store(body(1, [modern])).await;
    assert_eq!(answer["unknownAssociations"], json!([{ "associationType": "issueIdOrKeys", "values": ["NO-1"] }]));
    assert_eq!(bench.state().await["repositories"]["r1"]["commits"]["c1"]["keys"], json!(["DEMO-2"]));
}

#[tokio::test]
async fn both_forms_of_reference_together_are_refused() {
    let mut both = commit("c1", 1, "DEMO-1");
    both["associations"] = json!([{ "associationType": "issueKeys", "values": ["DEMO-1"] }]);
    check(body(1, [both]), 400, "issueKeysOrAssociationsOrNone.invalid").await;
}

#[tokio::test]
async fn limits_of_the_whole_request_refuse_the_whole_request() {
    let many = |number: usize| (0..number).map(|at| commit(&format!("c{at}"), 1, "DEMO-1"));
    check(body(1, many(400)), 202, "c399").await;
    check(body(1, many(401)), 400, "too many commits").await;
    check(body(1, [commit("c1", 1, ""), commit("c1", 2, "")]), 400, "duplicate id c1").await;
    check(json!({ "repositories": [] }), 400, "no repositories").await;
    check(body(1, []), 400, "no development information entities").await;
    let copies = |number: usize, each: usize| {
        let copy = |at: usize| {
            let mut repository = repository(1, many(each));
            repository["id"] = json!(format!("r{at}"));
            repository
        };
        json!({ "repositories": (0..number).map(copy).collect::<Vec<_>>() })
    };
    check(copies(100, 10), 202, "r99").await;
    check(copies(100, 11), 400, "too many entities: 1100").await;
    check(copies(101, 1), 400, "too many repositories").await;
    check(json!({ "repositories": [repository(1, many(1)), repository(1, many(1))] }), 400, "duplicate id r1").await;
}

#[tokio::test]
async fn properties_are_few_and_their_keys_are_plain() {
    let with = |properties: Value| {
        let mut body = body(1, [commit("c1", 1, "DEMO-1")]);
        body["properties"] = properties;
        body
    };
    check(with(json!({ "a": "1", "b": "2", "c": "3", "d": "4", "e": "5" })), 202, "c1").await;
    check(with(json!({ "a": "1", "b": "2", "c": "3", "d": "4", "e": "5", "f": "6" })), 400, "too many properties")
        .await;
    check(with(json!({ "_a": "1" })), 400, "_a").await;
    check(with(json!({ "a:b": "1" })), 400, "a:b").await;
    check(with(json!({ "a": 1 })), 400, "not a text").await;
}

#[tokio::test]
async fn what_is_wrong_with_one_entity_fails_that_one_alone() {
    let cases = [
        ("id", json!("a/b"), "commit.id may hold only"),
        ("message", Value::Null, "commit.message must not be null"),
        ("displayId", json!("x".repeat(256)), "commit.displayId is longer than 255"),
        ("url", json!("javascript:x"), "commit.url is not a valid URL"),
        ("authorTimestamp", json!("yesterday"), "commit.authorTimestamp is not an ISO 8601 time"),
        ("fileCount", json!(-1), "commit.fileCount must be between"),
        ("files", json!(vec![json!({}); 11]), "commit.files has 11 elements"),
        ("issueKeys", json!([]), "commit.issueKeys has 0 elements"),
        ("issueKeys", json!(vec!["DEMO-1"; 501]), "commit.issueKeys has 501 elements"),
        ("issueKeys", json!(["F-67"]), "commit.issueKeys is not a valid issue key"),
        ("flags", json!(["OTHER"]), "commit.flags must be one of MERGE_COMMIT"),
    ];
    for (field, value, complaint) in cases {
        let mut wrong = commit("c2", 1, "DEMO-1");
        wrong[field] = value;
        let bench = Bench::new().await;
        let answer = bench.store(body(1, [commit("c1", 1, "DEMO-1"), wrong])).await;
        let failed = &answer["failedDevinfoEntities"]["r1"]["commits"][0];
        assert!(failed["errorMessages"][0]["message"].to_string().contains(complaint), "{field}: {answer}");
        assert_eq!(answer["acceptedDevinfoEntities"]["r1"]["commits"], json!(["c1"]), "{field}");
        assert_eq!(bench.held().await["commits"].as_array().map(Vec::len), Some(1), "{field}");
    }
}

#[tokio::test]
async fn a_wrong_repository_takes_its_entities_with_it() {
    let mut wrong = body(1, [commit("c1", 1, "DEMO-1")]);
    wrong["repositories"][0]["name"] = json!("x".repeat(256));
    let answer = Bench::new().await.store(wrong).await;
    assert!(answer["failedDevinfoEntities"]["r1"]["errorMessages"][0]["message"].is_string(), "{answer}");
    assert_eq!(answer["acceptedDevinfoEntities"], json!({}));
}

#[tokio::test]
async fn a_long_message_is_cut_without_a_word() {
    let bench = Bench::new().await;
    let answer = bench.store(body(1, [commit("c1", 1, &("x".repeat(1023) + "😀 #close"))])).await;
    assert_eq!(answer["failedDevinfoEntities"], json!({}));
    assert_eq!(bench.held().await["commits"][0]["message"], "x".repeat(1023));
}

#[tokio::test]
async fn too_many_bytes_are_refused_and_not_stored() {
    let bench = Bench::new().await;
    bench.call("POST", "/sandbox/settings", Some(json!({ "max_body_bytes": 100 }))).await;
    assert_eq!(bench.bulk(body(1, [commit("c1", 1, "DEMO-1")])).await.0, 413);
    assert_eq!(bench.state().await["pending"], 0);
}

#[tokio::test]
async fn a_deletion_takes_what_is_not_newer_and_nothing_older_comes_back() {
    let bench = Bench::new().await;
    let all = || {
        let mut body = body(5, [commit("c1", 3, "DEMO-1"), commit("c2", 7, "DEMO-1")]);
        body["repositories"][0]["branches"] = json!([branch("b1", 4)]);
        body
    };
    bench.store(all()).await;
    assert_eq!(bench.delete("/repository/r1/branch/b1?_updateSequenceId=3").await, 202);
    assert_eq!(bench.held().await["branches"][0]["id"], "b1");
    assert_eq!(bench.delete("/repository/r1/branch/b1?_updateSequenceId=4").await, 202);
    bench.store(all()).await;
    assert_eq!(bench.held().await["branches"], json!([]));
    assert_eq!(bench.delete("/repository/r1?_updateSequenceId=5").await, 202);
    let held = bench.held().await;
    assert_eq!((&held["commits"][0]["id"], &held["commits"][1]), (&json!("c2"), &Value::Null));
    bench.store(all()).await;
    assert_eq!(bench.held().await["commits"].as_array().map(Vec::len), Some(1));
    assert_eq!(bench.delete("/repository/r1").await, 202);
    assert_eq!(bench.held().await["commits"], Value::Null);
    assert_eq!(bench.delete("/repository/r1/tag/t1").await, 400);
    assert_eq!(bench.delete("/repository/never-seen").await, 202);
}

#[tokio::test]
async fn properties_find_and_remove_whole_repositories() {
    let bench = Bench::new().await;
    let mut tagged = body(5, [commit("c1", 1, "DEMO-1")]);
    tagged["properties"] = json!({ "installation": "x", "account": "y" });
    bench.store(tagged).await;
    for (query, status, found) in [
        ("installation=x", 200, json!(true)),
        ("installation=x&account=y", 200, json!(true)),
        ("installation=x&account=z", 200, json!(false)),
        ("installation=x&_updateSequenceId=4", 200, json!(false)),
        ("_updateSequenceId=9", 400, Value::Null),
        ("installation=x&installation=y", 400, Value::Null),
        ("installation=x&_updateSequenceId=n", 400, Value::Null),
    ] {
        let answer = bench.call("GET", &format!("{}/existsByProperties?{query}", bench.base()), None).await;
        assert_eq!((answer.0, &answer.1["hasDataMatchingProperties"]), (status, &found), "{query}");
    }
    assert_eq!(bench.delete("/bulkByProperties?installation=x&account=z").await, 202);
    assert_eq!(bench.held().await["id"], "r1");
    assert_eq!(bench.delete("/bulkByProperties?installation=x").await, 202);
    assert_eq!(bench.held().await["id"], Value::Null);
}

#[tokio::test]
async fn smart_commits_fire_once_and_only_when_transitions_are_not_prevented() {
    let bench = Bench::new().await;
    let firing = |id: &str, sequence: i64| {
        let mut body = body(sequence, [commit(id, sequence, "DEMO-1 NO-1 #time 1h #close")]);
        body["preventTransitions"] = json!(false);
        body
    };
    bench.store(firing("c1", 1)).await;
    bench.store(firing("c1", 2)).await;
    let mut absent = firing("c2", 3);
    absent.as_object_mut().expect("a body").remove("preventTransitions");
    bench.store(absent).await;
    bench.store(body(4, [commit("c3", 4, "DEMO-1 #close")])).await;
    bench.store(firing("c3", 5)).await;
    let state = bench.state().await;
    let fired: Vec<_> =
        state["triggers"].as_array().expect("a list").iter().map(|t| (&t["commit"], &t["command"])).collect();
    let expected = [("c1", "#time 1h"), ("c1", "#close"), ("c2", "#time 1h"), ("c2", "#close")];
    assert_eq!(json!(fired), json!(expected));
}

#[tokio::test]
async fn a_read_gives_the_newest_four_hundred() {
    let bench = Bench::new().await;
    let numbered = |range: std::ops::Range<i64>| range.map(|at| commit(&format!("c{at}"), at, "DEMO-1"));
    bench.store(body(1, numbered(0..300))).await;
    bench.store(body(2, numbered(300..500))).await;
    let held = bench.held().await;
    let commits = held["commits"].as_array().expect("a list");
    assert_eq!((commits.len(), &commits[0]["id"], &commits[399]["id"]), (400, &json!("c499"), &json!("c100")));
}

#[tokio::test]
async fn a_fault_is_used_up_and_then_all_is_well() {
    let bench = Bench::new().await;
    bench
        .fault(json!([
            { "on": "bulk", "times": 2, "act": { "status": { "code": 503, "headers": { "retry-after": "7" } } } },
            { "on": "delete", "act": { "status": { "code": 500 } } },
        ]))
        .await;
    for status in [503, 503, 202] {
        assert_eq!(bench.bulk(body(1, [commit("c1", 1, "DEMO-1")])).await.0, status);
    }
    assert_eq!(bench.delete("/repository/r1").await, 500);
    assert_eq!(bench.call("DELETE", "/sandbox/faults", None).await.0, 204);
    assert_eq!(bench.delete("/repository/r1").await, 202);
}

#[tokio::test]
async fn a_rate_refusal_bears_the_headers_of_its_reason() {
    let bench = Bench::new().await;
    let rate = json!({ "reason": "jira-quota-global-based", "retry_after": "3", "reset": "2026-11-23T11:00:00Z" });
    bench.fault(json!([{ "on": "any", "times": 1, "act": { "rate": rate } }])).await;
    let answer = bench.response("GET", "/_edge/tenant_info", "text/plain", Vec::new()).await;
    let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
    assert_eq!(answer.status(), 429);
    assert_eq!(header("ratelimit-reason"), "jira-quota-global-based");
    assert_eq!((header("retry-after"), header("x-ratelimit-reset")), ("3".into(), "2026-11-23T11:00:00Z".into()));
}

#[tokio::test]
async fn ordered_entities_fail_and_the_others_are_stored() {
    let bench = Bench::new().await;
    let act = json!({ "fail_entities": { "ids": ["c2"], "message": "try again" } });
    bench.fault(json!([{ "on": "bulk", "times": 1, "act": act }])).await;
    let answer = bench.store(body(1, [commit("c1", 1, "DEMO-1"), commit("c2", 1, "DEMO-1")])).await;
    let failed = json!({ "commits": [{ "id": "c2", "errorMessages": [{ "message": "try again" }] }] });
    assert_eq!(answer["failedDevinfoEntities"]["r1"], failed);
    assert_eq!(bench.held().await["commits"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn odd_answers_are_as_odd_as_ordered() {
    let bench = Bench::new().await;
    for (act, status, kind, length) in [
        (json!("garbage"), 202, "application/json", 4096),
        (json!("html_login"), 200, "text/html; charset=utf-8", 87),
        (json!({ "huge": { "bytes": 1_000_000 } }), 202, "application/json", 1_000_000),
    ] {
        bench.fault(json!([{ "on": "bulk", "times": 1, "act": act }])).await;
        let path = format!("{}/bulk", bench.base());
        let answer = bench.response("POST", &path, "application/json", b"{}".to_vec()).await;
        assert_eq!(answer.status(), status, "{act}");
        assert_eq!(answer.headers()["content-type"], kind, "{act}");
        let bytes = to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
        assert!(bytes.len().abs_diff(length) < 20, "{act}: {}", bytes.len());
        assert!(serde_json::from_slice::<Value>(&bytes).is_err(), "{act}");
    }
    assert_eq!(bench.state().await["pending"], 0);
}

#[tokio::test]
async fn the_log_counts_what_came_and_holds_no_secret() {
    let bench = Bench::new().await;
    bench.store(body(1, [commit("c1", 1, "DEMO-1")])).await;
    let state = bench.state().await;
    let last = state["requests"].as_array().and_then(|log| log.last()).expect("an entry").clone();
    assert_eq!((&last["method"], &last["status"]), (&json!("POST"), &json!(202)));
    assert_eq!((&last["repositories"], &last["commits"], &last["branches"]), (&json!(1), &json!(1), &json!(0)));
    let text = state.to_string();
    assert!(!text.contains(&bench.token) && !text.contains("\"secret\""));
}

#[tokio::test]
async fn state_outlives_a_restart_and_tokens_do_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("jira.json");
    let before = Bench::with(Some(store.clone())).await;
    before.store(body(1, [commit("c1", 1, "DEMO-1")])).await;
    assert_eq!(before.bulk(body(2, [commit("c2", 2, "DEMO-1")])).await.0, 202);
    before.app.save().expect("the folder is writable");
    let mut after = Bench::with(Some(store.clone())).await;
    after.pass(1_000);
    assert_eq!(after.held().await["commits"].as_array().map(Vec::len), Some(2));
    after.token = before.token.clone();
    assert_eq!(after.bulk(body(3, [commit("c3", 3, "DEMO-1")])).await.0, 401);
    std::fs::write(&store, "{").expect("the folder is writable");
    let settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        client_id: String::new(),
        client_secret: String::new(),
        issues: Vec::new(),
        people: Vec::new(),
        store: Some(store),
    };
    assert!(matches!(App::open(settings, Arc::new(Timestamp::now)), Err(Error::Damaged { .. })));
}

/// Sends one raw request to a running sandbox and gives every byte that came back before the end.
async fn raw(address: SocketAddr, request: String) -> Vec<u8> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("the sandbox listens");
    stream.write_all(request.as_bytes()).await.expect("the sandbox reads");
    let mut bytes = Vec::new();
    // A reset is as good an end as any here.
    let _ = stream.read_to_end(&mut bytes).await;
    bytes
}

fn post(path: &str, body: &Value) -> String {
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json");
    format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_dropped_connection_brings_not_one_byte_and_a_truncated_answer_not_the_last() {
    let settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        client_id: "id".into(),
        client_secret: "secret".into(),
        issues: Vec::new(),
        people: Vec::new(),
        store: None,
    };
    let sandbox = Sandbox::start(settings).await.expect("a free port");
    let order = json!({ "grant_type": "client_credentials", "client_id": "id", "client_secret": "secret" });
    let acts = [json!("drop"), json!("apply_then_drop"), json!({ "truncate": { "bytes": 5 } })];
    let rules: Vec<_> = acts.map(|act| json!({ "on": "token", "times": 1, "act": act })).into();
    assert!(raw(sandbox.address, post("/sandbox/faults", &json!(rules))).await.starts_with(b"HTTP/1.1 204"));
    assert_eq!(raw(sandbox.address, post("/oauth/token", &order)).await, b"");
    assert_eq!(raw(sandbox.address, post("/oauth/token", &order)).await, b"");
    let broken = String::from_utf8(raw(sandbox.address, post("/oauth/token", &order)).await).expect("text");
    assert!(broken.starts_with("HTTP/1.1 200") && broken.ends_with("\r\n\r\n{\"acc"), "{broken}");
    let whole = String::from_utf8(raw(sandbox.address, post("/oauth/token", &order)).await).expect("text");
    assert!(whole.ends_with('}'), "{whole}");
    sandbox.stop().await.expect("a calm end");
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    let listener = TcpListener::bind("0.0.0.0:0").await.expect("a free port");
    let settings = Settings {
        listen: listener.local_addr().expect("an address"),
        client_id: String::new(),
        client_secret: String::new(),
        issues: Vec::new(),
        people: Vec::new(),
        store: None,
    };
    let refused = serve(settings, listener, async {}).await.expect_err("not loopback");
    assert!(refused.to_string().contains("loopback only"));
}
