//! What becomes of development information, and what is refused.

use super::*;

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
