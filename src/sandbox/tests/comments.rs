//! What becomes of comments, and of the properties that mark them.

use super::*;

const COMMENTS: &str = "/issue/DEMO-1/comment";

#[tokio::test]
async fn each_flavour_takes_and_gives_its_own_form_of_text() {
    let bench = Bench::new().await;
    let (cloud, server) = (bench.cloud("ada"), bench.data_center("bob"));
    let (status, made) = cloud.post(COMMENTS, json!({ "body": adf("from Cloud") })).await;
    assert_eq!((status, &made["body"], &made["jsdPublic"]), (201, &adf("from Cloud"), &json!(true)));
    assert_eq!(server.post(COMMENTS, json!({ "body": "from *DC*" })).await.0, 201);
    let (_, told) = server.get(COMMENTS).await;
    let bodies: Vec<_> = told["comments"].as_array().unwrap().iter().map(|comment| &comment["body"]).collect();
    assert_eq!(bodies, ["from Cloud", "from *DC*"]);
    assert_eq!(told["comments"][1]["author"]["name"], "bob");
    let (_, told) = cloud.get(COMMENTS).await;
    assert_eq!(told["comments"][1]["body"], adf("from *DC*"));
    assert!(told["comments"][1]["created"].as_str().unwrap().ends_with("+0000"));
    for wrong in [json!("text"), adf(""), json!({ "type": "doc", "version": 1, "content": [] }), Value::Null] {
        assert_eq!(cloud.post(COMMENTS, json!({ "body": wrong })).await.0, 400, "{wrong}");
    }
    for wrong in [json!(""), adf("x"), json!(5)] {
        assert_eq!(server.post(COMMENTS, json!({ "body": wrong })).await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn comments_come_newest_first_with_their_properties_when_that_is_asked_for() {
    let bench = Bench::new().await;
    let ada = bench.cloud("ada");
    for number in 0..3 {
        bench.pass(1_000);
        let marker = json!([{ "key": "marker", "value": { "n": number } }]);
        ada.post(COMMENTS, json!({ "body": adf(&format!("c{number}")), "properties": marker })).await;
    }
    let (_, page) = ada.get(&format!("{COMMENTS}?orderBy=-created&expand=properties&maxResults=2")).await;
    assert_eq!((&page["total"], page["comments"].as_array().map(Vec::len)), (&json!(3), Some(2)));
    assert_eq!(page["comments"][0]["properties"], json!([{ "key": "marker", "value": { "n": 2 } }]));
    let id = page["comments"][0]["id"].as_str().unwrap();
    assert_eq!(ada.get(COMMENTS).await.1["comments"][0]["properties"], Value::Null);
    assert_eq!(ada.get(&format!("/comment/{id}/properties/marker")).await.1["value"], json!({ "n": 2 }));
    assert_eq!(ada.get(&format!("/comment/{id}/properties/other")).await.0, 404);
    assert_eq!(ada.call("PUT", &format!("/comment/{id}/properties/other"), Some(json!(1))).await.0, 201);
    assert_eq!(ada.call("PUT", &format!("/comment/{id}/properties/other"), Some(json!(2))).await.0, 200);
    assert_eq!(ada.get(&format!("/comment/{id}/properties")).await.1["keys"].as_array().map(Vec::len), Some(2));
    let number: u64 = id.parse().unwrap();
    let (_, listed) = ada.post("/comment/list?expand=properties", json!({ "ids": [number, 1] })).await;
    assert_eq!((&listed["total"], &listed["values"][0]["properties"][1]["value"]), (&json!(1), &json!(2)));
    assert_eq!(ada.get(&format!("{COMMENTS}?orderBy=author")).await.0, 400);
    // A version that does not know the word passes over it.
    bench.pull("settings", json!({ "comment_properties": false })).await;
    let (_, page) = ada.get(&format!("{COMMENTS}?expand=properties")).await;
    assert_eq!(page["comments"][0]["properties"], Value::Null);
}

#[tokio::test]
async fn on_a_service_desk_a_comment_is_public_unless_it_says_that_it_is_not() {
    let bench = Bench::new().await;
    bench.pull("projects", json!({ "key": "HELP", "type": "service_desk" })).await;
    bench.pull("issues", json!({ "key": "HELP-1", "summary": "Help" })).await;
    let ada = bench.cloud("ada");
    let internal = json!([{ "key": "sd.public.comment", "value": { "internal": true } }]);
    for (properties, public) in [(Value::Null, true), (internal, false)] {
        let made = ada.post("/issue/HELP-1/comment", json!({ "body": adf("x"), "properties": properties })).await.1;
        assert_eq!(made["jsdPublic"], public);
    }
}

#[tokio::test]
async fn one_changes_and_deletes_what_one_wrote_and_what_one_may_moderate() {
    let bench = Bench::new().await;
    let (ada, bob) = (bench.cloud("ada"), bench.data_center("bob"));
    let made = ada.post(COMMENTS, json!({ "body": adf("first") })).await.1;
    let place = format!("{COMMENTS}/{}", made["id"].as_str().unwrap());
    bench.pull("permissions", json!({ "person": "bob", "permission": "moderate", "granted": false })).await;
    assert_eq!(bob.call("DELETE", &place, None).await.0, 403);
    assert_eq!(bob.call("PUT", &place, Some(json!({ "body": "mine" }))).await.0, 403);
    let (status, changed) = ada.call("PUT", &place, Some(json!({ "body": adf("second") }))).await;
    assert_eq!((status, &changed["body"]), (200, &adf("second")));
    assert_eq!(ada.get(&place.replace("DEMO-1", "DEMO-2")).await.0, 404);
    let own = |granted: bool| json!({ "person": "ada", "permission": "delete_own_comments", "granted": granted });
    bench.pull("permissions", own(false)).await;
    assert_eq!(ada.call("DELETE", &place, None).await.0, 403);
    bench.pull("permissions", own(true)).await;
    assert_eq!(ada.call("DELETE", &place, None).await.0, 204);
    assert_eq!(ada.get(&place).await.0, 404);
    assert_eq!(bench.effects("DEMO-1").await["comments"], json!([]));
}

#[tokio::test]
async fn an_issue_that_is_full_and_a_text_that_is_too_long_are_refused() {
    let bench = Bench::new().await;
    let ada = bench.cloud("ada");
    assert_eq!(ada.post(COMMENTS, json!({ "body": adf(&"x".repeat(32_767)) })).await.0, 201);
    assert_eq!(ada.post(COMMENTS, json!({ "body": adf(&"x".repeat(32_768)) })).await.0, 400);
    bench.pull("settings", json!({ "limits": { "comments": 1 } })).await;
    assert_eq!(ada.post(COMMENTS, json!({ "body": adf("one more") })).await.0, 413);
    assert_eq!(ada.post("/issue/DEMO-2/comment", json!({ "body": adf("elsewhere") })).await.0, 201);
}
