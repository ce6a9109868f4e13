//! How issues are found by key, by id and by the key they once had.

use super::*;

#[tokio::test]
async fn an_issue_is_shown_with_the_fields_that_are_asked_for() {
    let bench = Bench::new().await;
    for client in [bench.cloud("ada"), bench.data_center("ada")] {
        let (status, issue) = client.get("/issue/demo-1?fields=summary,status").await;
        assert_eq!((status, &issue["id"], &issue["key"]), (200, &json!("10000"), &json!("DEMO-1")));
        let names: Vec<_> = issue["fields"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["status", "summary"]);
        assert_eq!(issue["fields"]["status"]["statusCategory"]["key"], "new");
        let (_, whole) = client.get("/issue/10000").await;
        assert_eq!(whole["fields"]["project"]["projectTypeKey"], "software");
        assert!(whole["fields"]["comment"]["comments"].is_array());
        let (_, without) = client.get("/issue/DEMO-1?fields=-comment").await;
        assert!(without["fields"]["comment"].is_null() && without["fields"]["summary"].is_string());
    }
}

#[tokio::test]
async fn f59_an_issue_that_moved_is_found_by_its_old_key_and_one_that_is_gone_by_none() {
    let bench = Bench::new().await;
    bench.store(body(1, [commit("c1", 1, "DEMO-1")])).await;
    bench.pull("issues/DEMO-1/move", json!({ "to": "OTHER-7" })).await;
    let ada = bench.cloud("ada");
    let (status, issue) = ada.get("/issue/DEMO-1").await;
    assert_eq!((status, &issue["key"], &issue["id"]), (200, &json!("OTHER-7"), &json!("10000")));
    assert_eq!(ada.post("/issue/DEMO-1/comment", json!({ "body": adf("late") })).await.0, 201);
    assert_eq!(bench.effects("OTHER-7").await["comments"].as_array().map(Vec::len), Some(1));
    let (_, changes) = ada.get("/issue/OTHER-7/changelog").await;
    let item = &changes["values"][0]["items"][0];
    assert_eq!(
        (&item["field"], &item["fromString"], &item["toString"]),
        (&json!("Key"), &json!("DEMO-1"), &json!("OTHER-7"))
    );
    // Commits follow, but development information does not find the issue by its old key.
    assert_eq!(bench.state().await["repositories"]["r1"]["commits"]["c1"]["keys"], json!(["OTHER-7"]));
    let answer = bench.store(body(2, [commit("c2", 2, "DEMO-1")])).await;
    assert_eq!(answer["unknownIssueKeys"], json!(["DEMO-1"]));
    bench.pull("issues", json!({ "key": "OTHER-7", "archived": true })).await;
    assert_eq!(ada.get("/issue/OTHER-7").await.0, 200);
    assert_eq!(ada.post("/issue/OTHER-7/comment", json!({ "body": adf("late") })).await.0, 403);
    assert_eq!(bench.call("DELETE", "/sandbox/issues/OTHER-7", None).await.0, 204);
    assert_eq!(ada.get("/issue/OTHER-7").await.0, 404);
    assert_eq!(ada.get("/issue/DEMO-1").await.0, 404);
}

#[tokio::test]
async fn a_bulk_fetch_gives_current_keys_in_the_order_of_ids_and_leaves_out_the_rest() {
    let bench = Bench::new().await;
    bench.pull("issues/DEMO-1/move", json!({ "to": "OTHER-7" })).await;
    let ada = bench.cloud("ada");
    let asked = json!({ "issueIdsOrKeys": ["demo-2", "NO-1", "DEMO-1", "10000"], "fields": ["summary"] });
    let (status, answer) = ada.post("/issue/bulkfetch", asked).await;
    let keys: Vec<_> = answer["issues"].as_array().unwrap().iter().map(|issue| &issue["key"]).collect();
    assert_eq!((status, keys, &answer["issueErrors"]), (200, vec![&json!("OTHER-7"), &json!("DEMO-2")], &json!([])));
    let many = json!({ "issueIdsOrKeys": vec!["DEMO-1"; 101] });
    assert_eq!(ada.post("/issue/bulkfetch", many).await.0, 400);
    assert_eq!(ada.get("/search?jql=key=DEMO-1").await.0, 410);
    assert_eq!(bench.data_center("ada").post("/issue/bulkfetch", json!({ "issueIdsOrKeys": [] })).await.0, 405);
}

#[tokio::test]
async fn data_center_looks_keys_up_by_a_query_that_one_unknown_key_may_break() {
    let bench = Bench::new().await;
    let ada = bench.data_center("ada");
    let query = |validate: bool| json!({ "jql": "key in (DEMO-2, NO-1, DEMO-1)", "validateQuery": validate, "fields": ["key"] });
    let (status, answer) = ada.post("/search", query(true)).await;
    assert_eq!(status, 400);
    assert_eq!(answer["errorMessages"][0], "An issue with key 'NO-1' does not exist for field 'key'.");
    let (status, answer) = ada.post("/search", query(false)).await;
    assert_eq!((status, &answer["total"], &answer["issues"][0]["key"]), (200, &json!(2), &json!("DEMO-1")));
    assert_eq!(ada.get("/search?jql=key%3DDEMO-2").await.1["total"], 1);
    assert_eq!(ada.post("/search", json!({ "jql": "colour = red" })).await.0, 400);
}

#[tokio::test]
async fn cloud_searches_by_what_bounds_the_query_and_gives_ids_alone_unless_told_otherwise() {
    let bench = Bench::new().await;
    bench.pull("issues", json!({ "key": "DEMO-2", "assignee": "ada", "type": "Bug", "status": "Done" })).await;
    let ada = bench.cloud("ada");
    let mine = json!({ "jql": "assignee = currentUser() AND statusCategory = Done" });
    let (status, answer) = ada.post("/search/jql", mine).await;
    let id = answer["issues"][0]["id"].clone();
    assert_eq!((status, &answer["issues"], &answer["isLast"]), (200, &json!([{ "id": id }]), &json!(true)));
    let bugs = json!({ "jql": "project = DEMO AND type = bug", "fields": ["issuetype"] });
    let (_, answer) = ada.post("/search/jql", bugs).await;
    assert_eq!(answer["issues"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&answer["issues"][0]["key"], &answer["issues"][0]["fields"]["issuetype"]["name"]),
        (&json!("DEMO-2"), &json!("Bug"))
    );
    assert_eq!(ada.post("/search/jql", json!({ "jql": "key in (DEMO-1, NO-1)" })).await.0, 400);
    assert_eq!(ada.post("/search/jql", json!({ "jql": "ORDER BY updated" })).await.0, 400);
}

#[tokio::test]
async fn the_site_tells_its_hours_and_its_projects() {
    let bench = Bench::new().await;
    bench.pull("projects", json!({ "key": "HELP", "name": "Help", "type": "service_desk" })).await;
    let time = json!({ "working_hours_per_day": 7.5, "working_days_per_week": 4.0 });
    bench.pull("settings", json!({ "time": time })).await;
    for client in [bench.cloud("ada"), bench.data_center("ada")] {
        let (_, answer) = client.get("/configuration").await;
        assert_eq!(answer["timeTrackingConfiguration"]["workingHoursPerDay"], 7.5);
        assert_eq!(answer["timeTrackingConfiguration"]["workingDaysPerWeek"], 4.0);
    }
    let (_, projects) = bench.cloud("ada").get("/project/search").await;
    assert_eq!((&projects["total"], &projects["values"][1]["projectTypeKey"]), (&json!(2), &json!("service_desk")));
    assert_eq!(bench.data_center("ada").get("/project").await.1[0]["key"], "DEMO");
    bench
        .pull("permissions", json!({ "person": "ada", "project": "HELP", "permission": "browse", "granted": false }))
        .await;
    assert_eq!(bench.cloud("ada").get("/project/search").await.1["total"], 1);
}

#[tokio::test]
async fn a_remote_link_is_found_again_by_the_id_its_maker_gave_it() {
    let bench = Bench::new().await;
    let ada = bench.cloud("ada");
    let link =
        |title: &str| json!({ "globalId": "a=1&b=2", "object": { "title": title, "url": "https://git.example" } });
    let mut first = link("first");
    first["relationship"] = json!("mentioned in");
    let (status, made) = ada.post("/issue/DEMO-1/remotelink", first).await;
    assert_eq!(status, 201);
    assert_eq!(ada.post("/issue/DEMO-1/remotelink", link("second")).await, (200, made));
    let (_, links) = ada.get("/issue/DEMO-1/remotelink").await;
    assert_eq!((&links[0]["object"]["title"], &links[0]["relationship"]), (&json!("second"), &Value::Null));
    assert_eq!(ada.get("/issue/DEMO-1/remotelink?globalId=a%3D1%26b%3D2").await.1["object"]["title"], "second");
    assert_eq!(ada.post("/issue/DEMO-1/remotelink", json!({ "object": { "title": "x" } })).await.0, 400);
    assert_eq!(ada.call("DELETE", "/issue/DEMO-1/remotelink?globalId=a%3D1%26b%3D2", None).await.0, 204);
    assert_eq!(ada.call("DELETE", "/issue/DEMO-1/remotelink?globalId=a%3D1%26b%3D2", None).await.0, 404);
    bench.pull("settings", json!({ "limits": { "links": 0 } })).await;
    assert_eq!(ada.post("/issue/DEMO-1/remotelink", link("third")).await.0, 413);
}
