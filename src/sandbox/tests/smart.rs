//! Smart Commits that Jira carries out itself.

use super::*;

async fn told(bench: &Bench, id: &str, sequence: i64, message: &str, prevented: bool) {
    let mut body = body(sequence, [commit(id, sequence, message)]);
    body["preventTransitions"] = json!(prevented);
    bench.store(body).await;
}

#[tokio::test]
async fn f1_f2_f3_f4_jira_carries_out_the_orders_of_a_commit_as_its_author() {
    let bench = Bench::new().await;
    told(&bench, "c1", 1, "DEMO-1 #comment all done #time 1d 30m at last #close", false).await;
    let effects = bench.effects("DEMO-1").await;
    assert_eq!(
        (&effects["comments"][0]["body"], &effects["comments"][0]["author"]),
        (&json!("all done"), &json!("ada"))
    );
    assert_eq!(
        (&effects["worklogs"][0]["seconds"], &effects["worklogs"][0]["comment"]),
        (&json!(30_600), &json!("at last"))
    );
    assert_eq!(effects["worklogs"][0]["started"], "2026-11-23T10:00:00Z");
    assert_eq!((&effects["status"], &effects["resolution"]), (&json!("Done"), &json!("Done")));
    for kind in ["comments", "worklogs", "changelog"] {
        assert_eq!(effects[kind][0]["commit"], "c1", "{kind}");
    }
    let refusals: Vec<_> = effects["triggers"].as_array().unwrap().iter().map(|one| &one["refused"]).collect();
    assert_eq!(refusals, vec![&Value::Null; 3]);
}

#[tokio::test]
async fn f1_two_executors_are_seen_to_do_everything_twice() {
    let bench = Bench::new().await;
    told(&bench, "c1", 1, "DEMO-1 #comment once", false).await;
    let ours = json!({ "body": adf("once"), "properties": [{ "key": "marker", "value": 1 }] });
    bench.cloud("ada").post("/issue/DEMO-1/comment", ours).await;
    let effects = bench.effects("DEMO-1").await;
    assert_eq!((&effects["comments"][0]["commit"], &effects["comments"][1]["commit"]), (&json!("c1"), &Value::Null));
    told(&bench, "c2", 2, "DEMO-1 #comment prevented", true).await;
    told(&bench, "c1", 3, "DEMO-1 #comment once", false).await;
    assert_eq!(bench.effects("DEMO-1").await["comments"].as_array().map(Vec::len), Some(2));
}

/// What Jira says to itself of one order.
#[track_caller]
fn check(message: &str, because: &str) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let bench = Bench::new().await;
        let denied = json!({ "person": "ada", "project": "DEMO", "permission": "work", "granted": false });
        bench.pull("permissions", denied).await;
        told(&bench, "c1", 1, message, false).await;
        let effects = bench.effects("DEMO-1").await;
        let refused = effects["triggers"][0]["refused"].as_str().unwrap_or_default();
        assert!(refused.contains(because), "{caller}: {effects}");
        let nothing = ["comments", "worklogs", "changelog"].map(|kind| effects[kind] == json!([]));
        assert_eq!(nothing, [true; 3], "{caller}: {effects}");
    }
}

#[tokio::test]
async fn what_jira_cannot_do_is_only_remembered() {
    check("DEMO-1 #start", "may be Start Progress, Start Review").await;
    check("DEMO-1 #resolve", "no transition “resolve”").await;
    check("DEMO-1 #time 1h", "do not have the permission to associate a worklog").await;
    check("DEMO-1 #time soon", "duration").await;
    check("DEMO-1 #comment", "text").await;
}

#[tokio::test]
async fn f13_an_author_who_is_nobody_or_not_the_only_one_orders_nothing() {
    let bench = Bench::new().await;
    bench.pull("people", json!({ "name": "twin", "email": "ADA@example.com" })).await;
    told(&bench, "c1", 1, "DEMO-1 #comment x", false).await;
    bench.pull("people", json!({ "name": "twin", "active": false })).await;
    bench.pull("people", json!({ "name": "ada", "email_hidden": true })).await;
    told(&bench, "c2", 2, "DEMO-1 #comment x", false).await;
    bench.pull("people", json!({ "name": "ada", "email_hidden": false })).await;
    bench.pull("projects", json!({ "key": "DEMO", "type": "business" })).await;
    told(&bench, "c3", 3, "DEMO-1 #comment x", false).await;
    let effects = bench.effects("DEMO-1").await;
    let because = |at: usize| effects["triggers"][at]["refused"].as_str().unwrap().to_owned();
    assert!(because(0).contains("more than one user") && because(1).contains("no user"), "{effects}");
    assert!(because(2).contains("software projects only"), "{effects}");
    assert_eq!(effects["comments"], json!([]));
}
