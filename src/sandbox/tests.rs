//! The promises of the sandbox, told to its router in process under a clock that tests turn.

use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::Value;
use tower::ServiceExt;

use super::*;

mod comments;
mod devinfo;
mod issues;
mod life;
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
