//! Misbehaviour to order, of development information and of the platform's API.

use super::*;

const COMMENTS: &str = "/issue/DEMO-1/comment";

fn count(effects: &Value) -> Option<usize> {
    effects["comments"].as_array().map(Vec::len)
}

#[tokio::test]
async fn f51_a_rule_waits_at_its_door_and_for_its_issue() {
    let bench = Bench::new().await;
    let rate = json!({ "rate": { "reason": "jira-per-issue-on-write", "retry_after": "2" } });
    bench.fault(json!([{ "on": "write", "issue": "10000", "times": 2, "act": rate }])).await;
    let (cloud, server) = (bench.cloud("ada"), bench.data_center("ada"));
    assert_eq!(cloud.post("/issue/DEMO-2/comment", json!({ "body": adf("x") })).await.0, 201);
    assert_eq!(cloud.get(COMMENTS).await.0, 200);
    let answer = cloud.response("POST", COMMENTS, Some(json!({ "body": adf("x") }))).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["ratelimit-reason"]),
        (429, &"jira-per-issue-on-write".parse().unwrap())
    );
    let answer = server.response("POST", COMMENTS, Some(json!({ "body": "x" }))).await;
    assert_eq!((answer.status().as_u16(), answer.headers().get("ratelimit-reason")), (429, None));
    assert_eq!(answer.headers()["x-ratelimit-remaining"], "0");
    assert_eq!(cloud.post(COMMENTS, json!({ "body": adf("x") })).await.0, 201);
    for (door, method, path) in [
        ("transition", "POST", "/issue/DEMO-1/transitions"),
        ("read_changelog", "GET", "/issue/DEMO-1/changelog"),
        ("find_people", "GET", "/user/search?query=a"),
        ("site", "GET", "/configuration"),
        ("platform", "GET", "/myself"),
    ] {
        bench.fault(json!([{ "on": door, "times": 1, "act": { "status": { "code": 409 } } }])).await;
        assert_eq!(cloud.call(method, path, Some(json!({}))).await.0, 409, "{door}");
    }
    assert_eq!(bench.state().await["faults"], json!([]));
}

#[tokio::test]
async fn f51_an_issue_that_is_written_to_too_fast_wants_a_rest() {
    let bench = Bench::new().await;
    let (cloud, server) = (bench.cloud("ada"), bench.data_center("ada"));
    for _ in 0..20 {
        assert_eq!(cloud.post(COMMENTS, json!({ "body": adf("x") })).await.0, 201);
    }
    let answer = cloud.response("POST", "/issue/10000/comment", Some(json!({ "body": adf("x") }))).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"2".parse().unwrap()));
    assert_eq!(answer.headers()["ratelimit-reason"], "jira-per-issue-on-write");
    assert_eq!(cloud.get(COMMENTS).await.0, 200);
    assert_eq!(server.post(COMMENTS, json!({ "body": "x" })).await.0, 201);
    bench.pull("settings", json!({ "paced": false })).await;
    assert_eq!(cloud.post(COMMENTS, json!({ "body": adf("x") })).await.0, 201);
    bench.pull("settings", json!({ "paced": true })).await;
    bench.pass(2_000);
    assert_eq!(cloud.post(COMMENTS, json!({ "body": adf("x") })).await.0, 201);
}

#[tokio::test]
async fn whatever_is_sent_there_is_an_answer() {
    let bench = Bench::new().await;
    bench.pull("settings", json!({ "paced": false })).await;
    let odd = [json!(null), json!(7), json!("x"), json!([]), json!([[{}]]), json!({}), json!({ "type": "doc" })];
    let mut bodies = odd.to_vec();
    for field in ["body", "comment", "properties", "transition", "fields", "update", "historyMetadata", "object", "ids"]
    {
        bodies.extend(odd[1..].iter().step_by(2).map(|value| json!({ field: value, "transition": { "id": "41" } })));
    }
    for seconds in [json!(u64::MAX), json!(i64::MAX), json!(-1), json!(60.5)] {
        bodies.push(json!({ "timeSpentSeconds": seconds, "started": "2027-01-15T08:00:00.000+0000" }));
    }
    let paths = ["comment", "worklog?adjustEstimate=manual&reduceBy=99999999w", "transitions", "remotelink"];
    let mut calls: Vec<(&str, String)> = paths.map(|path| ("POST", format!("/issue/DEMO-1/{path}"))).into();
    calls.extend(["/issue/bulkfetch", "/comment/list", "/search"].map(|path| ("POST", path.to_owned())));
    calls.push(("PUT", "/comment/1/properties/x".into()));
    for client in [bench.cloud("ada"), bench.data_center("ada")] {
        for (method, path) in &calls {
            for body in &bodies {
                let (status, answer) = client.call(method, path, Some(body.clone())).await;
                assert!(status < 500, "{method} {path} {body}: {status} {answer}");
            }
        }
        let last = usize::MAX;
        assert_eq!(client.get(&format!("/issue/DEMO-1/comment?startAt={last}")).await.0, 200);
        assert!(client.get(&format!("/issue/DEMO-1/changelog?startAt={last}")).await.0 < 500);
    }
    assert!(bench.page("/browse/DEMO-1").await.contains("DEMO-1"));
}

#[tokio::test]
async fn f47_what_is_applied_and_dropped_is_there_once() {
    let bench = Bench::new().await;
    bench.fault(json!([{ "on": "add_comment", "times": 1, "act": "apply_then_drop" }])).await;
    let ada = bench.cloud("ada");
    let answer = ada.response("POST", COMMENTS, Some(json!({ "body": adf("x") }))).await;
    assert!(to_bytes(answer.into_body(), usize::MAX).await.is_err());
    assert_eq!(count(&bench.effects("DEMO-1").await), Some(1));
    let state = bench.state().await;
    let last = state["requests"].as_array().and_then(|log| log.last()).unwrap();
    assert_eq!(
        (&last["status"], &last["applied"], &last["fault"]),
        (&Value::Null, &json!(201), &json!("apply_then_drop"))
    );
}

#[tokio::test]
async fn f48_a_request_that_was_given_up_is_applied_when_it_is_released() {
    let bench = Bench::new().await;
    bench.fault(json!([{ "on": "add_comment", "times": 1, "act": { "drop_then_apply": {} } }])).await;
    let ada = bench.cloud("ada");
    ada.response("POST", COMMENTS, Some(json!({ "body": adf("late") }))).await;
    assert_eq!(ada.post(COMMENTS, json!({ "body": adf("soon") })).await.0, 201);
    assert_eq!(count(&bench.effects("DEMO-1").await), Some(1));
    bench.pull("release", Value::Null).await;
    while count(&bench.effects("DEMO-1").await) != Some(2) {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.effects("DEMO-1").await["comments"][1]["body"], adf("late"));
}

#[tokio::test]
async fn f48_a_request_that_was_given_up_is_applied_after_its_time() {
    let bench = Bench::new().await;
    bench.fault(json!([{ "on": "transition", "times": 1, "act": { "drop_then_apply": { "ms": 100 } } }])).await;
    let order = json!({ "transition": { "id": "11" } });
    let began = std::time::Instant::now();
    bench.cloud("ada").response("POST", "/issue/DEMO-1/transitions", Some(order)).await;
    let dropped = began.elapsed();
    while bench.effects("DEMO-1").await["status"] == "To Do" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(dropped < began.elapsed() && began.elapsed() >= Duration::from_millis(100), "{dropped:?}");
    let state = bench.state().await;
    assert_eq!(state["requests"].as_array().and_then(|log| log.last()).unwrap()["applied"], 204);
}

#[tokio::test]
async fn f57_an_answer_may_be_noise_though_the_request_was_carried_out_or_not() {
    let bench = Bench::new().await;
    let rules = json!([
        { "on": "add_comment", "times": 1, "act": "garbage" },
        { "on": "add_comment", "times": 1, "act": { "truncate": { "bytes": 9 } } },
    ]);
    bench.fault(rules).await;
    let ada = bench.cloud("ada");
    assert_eq!(ada.post(COMMENTS, json!({ "body": adf("x") })).await, (201, Value::Null));
    assert_eq!(count(&bench.effects("DEMO-1").await), Some(0));
    assert_eq!(ada.post(COMMENTS, json!({ "body": adf("x") })).await, (201, Value::Null));
    assert_eq!(count(&bench.effects("DEMO-1").await), Some(1));
}

#[tokio::test]
async fn the_log_says_whose_credentials_came_and_holds_none() {
    let bench = Bench::new().await;
    bench.cloud("ada").get("/myself").await;
    let state = bench.state().await;
    assert_eq!(state["requests"].as_array().and_then(|log| log.last()).unwrap()["caller"], "ada");
    assert!(!state.to_string().contains("ada-token"));
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
    let late = json!({ "drop_then_apply": { "ms": 1 } });
    let acts = [json!("drop"), json!("apply_then_drop"), late, json!({ "truncate": { "bytes": 5 } })];
    let rules: Vec<_> = acts.map(|act| json!({ "on": "token", "times": 1, "act": act })).into();
    assert!(raw(sandbox.address, post("/sandbox/faults", &json!(rules))).await.starts_with(b"HTTP/1.1 204"));
    for _ in 0..3 {
        assert_eq!(raw(sandbox.address, post("/oauth/token", &order)).await, b"");
    }
    let broken = String::from_utf8(raw(sandbox.address, post("/oauth/token", &order)).await).expect("text");
    assert!(broken.starts_with("HTTP/1.1 200") && broken.ends_with("\r\n\r\n{\"acc"), "{broken}");
    let whole = String::from_utf8(raw(sandbox.address, post("/oauth/token", &order)).await).expect("text");
    assert!(whole.ends_with('}'), "{whole}");
    sandbox.stop().await.expect("a calm end");
}
