//! Misbehaviour of the platform's API: the same rules, other doors.

use super::*;

const COMMENTS: &str = "/issue/DEMO-1/comment";

fn count(effects: &Value) -> Option<usize> {
    effects["comments"].as_array().map(Vec::len)
}

#[tokio::test]
async fn f51_a_rule_waits_at_its_door_and_for_its_issue() {
    let bench = Bench::new().await;
    let rate = json!({ "rate": { "reason": "jira-per-issue-on-write", "retry_after": "2" } });
    bench.fault(json!([{ "on": "write", "issue": "DEMO-1", "times": 2, "act": rate }])).await;
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
async fn issues_and_people_outlive_a_restart_and_an_older_state_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("jira.json");
    let before = Bench::with(Some(store.clone())).await;
    before.cloud("ada").post(COMMENTS, json!({ "body": adf("kept") })).await;
    before.pull("issues/DEMO-1/move", json!({ "to": "OTHER-1" })).await;
    before.app.save().expect("the folder is writable");
    let after = Bench::with(Some(store.clone())).await;
    assert_eq!(after.cloud("ada").get("/issue/DEMO-1").await.1["fields"]["comment"]["total"], 1);
    let issue = json!({ "id": 10_000, "summary": "old", "status": "Waiting" });
    let old = json!({ "issues": { "OLD-1": issue }, "repositories": {}, "triggers": [], "removed": {}, "pending": [] });
    std::fs::write(&store, old.to_string()).expect("the folder is writable");
    let read = Bench::with(Some(store)).await;
    assert_eq!(read.cloud("ada").get("/issue/OLD-1").await.1["fields"]["status"]["name"], "Waiting");
}
