//! Where a sandbox listens, and what outlives it.

use super::*;

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

#[tokio::test]
async fn issues_and_people_outlive_a_restart_and_an_older_state_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("jira.json");
    let before = Bench::with(Some(store.clone())).await;
    before.cloud("ada").post("/issue/DEMO-1/comment", json!({ "body": adf("kept") })).await;
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

#[tokio::test]
async fn its_clock_may_be_another_and_every_answer_says_so() {
    let bench = Bench::new().await;
    bench.pull("settings", json!({ "clock_offset_ms": -3_600_000 })).await;
    let ada = bench.cloud("ada");
    let answer = ada.response("GET", "/myself", None).await;
    assert_eq!(answer.headers()["date"], "Fri, 15 Jan 2027 07:00:00 GMT");
    let made = ada.post("/issue/DEMO-1/comment", json!({ "body": adf("early") })).await.1;
    assert_eq!(made["created"], "2027-01-15T07:00:00.000+0000");
}
