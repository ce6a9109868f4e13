//! Who is let in, how people are found, and what they may do.

use super::*;

#[tokio::test]
async fn each_flavour_knows_its_own_credentials() {
    let bench = Bench::new().await;
    let cloud_id = bench.app.enter().0.cloud_id.clone();
    bench.pull("people", json!({ "name": "bob", "scoped": true })).await;
    bench
        .pull("people", json!({ "name": "eve", "email": "eve@example.com", "token": "eve-token", "active": false }))
        .await;
    let gateway = format!("/ex/jira/{cloud_id}/rest/api/3");
    let cases = [
        ("/rest/api/3", basic("ada@example.com:ada-token"), 200),
        ("/rest/api/3", basic("ADA@example.com:ada-token"), 200),
        ("/rest/api/3", basic("ada@example.com:ada-password"), 401),
        ("/rest/api/3", basic("bob@example.com:ada-token"), 401),
        ("/rest/api/3", "Bearer ada-token".into(), 401),
        ("/rest/api/3", format!("Bearer {}", bench.token), 401),
        // A scoped token opens the gateway only, a classic one the site only.
        ("/rest/api/3", basic("bob@example.com:bob-token"), 401),
        (&gateway, basic("bob@example.com:bob-token"), 200),
        (&gateway, basic("ada@example.com:ada-token"), 401),
        ("/ex/jira/another/rest/api/3", basic("bob@example.com:bob-token"), 404),
        ("/rest/api/3", basic("eve@example.com:eve-token"), 401),
        ("/rest/api/2", "Bearer ada-token".into(), 200),
        ("/rest/api/2", "Bearer wrong".into(), 401),
        ("/rest/api/2", basic("ada:ada-password"), 200),
        // A personal access token is no password.
        ("/rest/api/2", basic("ada:ada-token"), 401),
        ("/rest/api/2", "Bearer ".into(), 401),
    ];
    for (base, authorization, status) in cases {
        let client = Client { bench: &bench, base: base.into(), authorization: Some(authorization) };
        assert_eq!(client.get("/myself").await.0, status, "{base} {:?}", client.authorization);
    }
}

#[tokio::test]
async fn data_center_says_who_one_is_and_may_refuse_basic() {
    let bench = Bench::new().await;
    let mut client = bench.data_center("ada");
    let name = |answer: &axum::response::Response| answer.headers()["x-ausername"].to_str().unwrap().to_owned();
    let answer = client.response("GET", "/myself", None).await;
    assert_eq!((name(&answer), answer.headers().contains_key("x-ratelimit-fillrate")), ("ada".into(), true));
    client.authorization = None;
    assert_eq!(name(&client.response("GET", "/serverInfo", None).await), "anonymous");
    bench.pull("settings", json!({ "basic": false })).await;
    client.authorization = Some(basic("ada:ada-password"));
    let (status, answer) = client.get("/myself").await;
    assert_eq!(status, 403);
    assert!(answer.to_string().contains("Basic Authentication has been disabled"), "{answer}");
    assert!(!bench.cloud("ada").response("GET", "/myself", None).await.headers().contains_key("x-ausername"));
}

#[tokio::test]
async fn nobody_sees_nothing() {
    let bench = Bench::new().await;
    for base in ["/rest/api/3", "/rest/api/2"] {
        let client = Client { bench: &bench, base: base.into(), authorization: None };
        assert_eq!(client.get("/myself").await.0, 401);
        assert_eq!(client.get("/serverInfo").await.0, 200);
        assert_eq!(client.get("/issue/DEMO-1").await.0, 404);
        assert_eq!(client.post("/issue/DEMO-1/comment", json!({ "body": "x" })).await.0, 404);
        assert_eq!(client.get("/issue/DEMO-1/transitions").await.0, 404);
    }
}

#[tokio::test]
async fn a_search_by_mail_address_has_every_trap_of_the_real_one() {
    let bench = Bench::new().await;
    for person in [
        json!({ "name": "anna", "email": "ada@example.com.au", "display_name": "Anna Other" }),
        json!({ "name": "secret", "email": "ada@example.com", "email_hidden": true }),
        json!({ "name": "bot", "display_name": "ada@example.com bot", "kind": "app" }),
        json!({ "name": "left", "email": "ada@example.com", "active": false }),
    ] {
        bench.pull("people", person).await;
    }
    let ada = bench.cloud("bob");
    let (status, found) = ada.get("/user/search?query=ada%40example.com").await;
    assert_eq!(status, 200);
    let told: Vec<_> = found.as_array().unwrap().iter().map(|user| &user["displayName"]).collect();
    assert_eq!(told, ["ada Example", "Anna Other", "ada@example.com bot", "left", "secret"]);
    assert_eq!(found[2]["accountType"], "app");
    assert_eq!((&found[3]["active"], &found[4]["emailAddress"]), (&json!(false), &Value::Null));
    bench.pull("settings", json!({ "hidden_mail_matches": false })).await;
    assert_eq!(ada.get("/user/search?query=ada%40example.com").await.1.as_array().map(Vec::len), Some(4));
    assert_eq!(ada.get("/user/search?query=ada&startAt=1&maxResults=2").await.1.as_array().map(Vec::len), Some(2));
    assert_eq!(ada.get("/user/search?username=ada").await.0, 400);
    assert_eq!(ada.get("/user/search").await.0, 400);
    let id = found[0]["accountId"].as_str().unwrap();
    assert_eq!(ada.get(&format!("/user/search?accountId={id}")).await.1[0]["displayName"], "ada Example");
    bench.pull("permissions", json!({ "person": "bob", "permission": "browse_users", "granted": false })).await;
    assert_eq!(ada.get("/user/search?query=ada").await, (200, json!([])));
}

#[tokio::test]
async fn data_center_finds_by_name_and_leaves_out_who_is_gone() {
    let bench = Bench::new().await;
    bench.pull("people", json!({ "name": "adam", "active": false })).await;
    let ada = bench.data_center("ada");
    let names = async |query: &str| {
        let found = ada.get(&format!("/user/search?{query}")).await.1;
        found.as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("username=ADA").await, ["ada"]);
    assert_eq!(names("username=example.com").await, ["ada", "bob"]);
    assert_eq!(names("username=ada&includeInactive=true").await, ["ada", "adam"]);
    assert_eq!(ada.get("/user/search").await.0, 400);
    let (_, one) = ada.get("/user?username=bob").await;
    assert!(one["key"].as_str().unwrap().starts_with("JIRAUSER") && one["accountId"].is_null());
    assert_eq!(ada.get("/user?username=nobody").await.0, 404);
}

#[tokio::test]
async fn a_permission_that_is_taken_is_missed_where_it_is_needed() {
    let bench = Bench::new().await;
    let ada = bench.cloud("ada");
    let take = async |permission: &str| {
        let order = json!({ "person": "ada", "project": "DEMO", "permission": permission, "granted": false });
        bench.pull("permissions", order).await;
    };
    let has = async |key: &str| {
        let asked = format!("/mypermissions?issueKey=DEMO-1&permissions={key}");
        ada.get(&asked).await.1["permissions"][key]["havePermission"].clone()
    };
    assert_eq!(has("ADD_COMMENTS").await, true);
    for permission in ["comment", "work", "transition", "link"] {
        take(permission).await;
    }
    assert_eq!(has("ADD_COMMENTS").await, false);
    let worklog = json!({ "timeSpent": "1h", "started": "2026-01-01T09:00:00.000+0000" });
    assert_eq!(ada.post("/issue/DEMO-1/comment", json!({ "body": adf("x") })).await.0, 403);
    assert_eq!(ada.post("/issue/DEMO-1/worklog", worklog).await.0, 403);
    assert_eq!(ada.get("/issue/DEMO-1/transitions").await.1["transitions"], json!([]));
    assert_eq!(ada.post("/issue/DEMO-1/transitions", json!({ "transition": { "id": "11" } })).await.0, 400);
    let link = json!({ "object": { "title": "x", "url": "https://git.example" } });
    assert_eq!(ada.post("/issue/DEMO-1/remotelink", link).await.0, 403);
    assert_eq!(ada.get("/issue/DEMO-1").await.0, 200);
    take("browse").await;
    assert_eq!(ada.get("/issue/DEMO-1").await.0, 404);
    assert_eq!(ada.post("/issue/DEMO-1/comment", json!({ "body": adf("x") })).await.0, 404);
    assert_eq!(ada.get("/mypermissions?issueKey=DEMO-1&permissions=ADD_COMMENTS").await.0, 404);
    assert_eq!(bench.cloud("bob").get("/issue/DEMO-1").await.0, 200);
    assert_eq!(ada.get("/mypermissions").await.0, 400);
    assert_eq!(ada.get("/mypermissions?permissions=FLY").await.0, 400);
    assert_eq!(
        bench.data_center("bob").get("/mypermissions").await.1["permissions"]["WORK_ON_ISSUES"]["havePermission"],
        true
    );
}
