//! What may be done with an issue, what it takes, and what the history says of it.

use super::*;

const TRANSITIONS: &str = "/issue/DEMO-1/transitions";

fn names(answer: &Value) -> Vec<&str> {
    answer["transitions"].as_array().unwrap().iter().map(|way| way["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_is_offered_depends_on_where_the_issue_stands_and_says_what_it_needs() {
    let bench = Bench::new().await;
    let ada = bench.cloud("ada");
    let (_, offered) = ada.get(&format!("{TRANSITIONS}?expand=transitions.fields")).await;
    assert_eq!(names(&offered), ["Start Progress", "Start Review", "Close Issue", "Resolve Issue", "Backlog"]);
    assert_eq!(
        (&offered["transitions"][0]["fields"], &offered["transitions"][0]["hasScreen"]),
        (&json!({}), &json!(false))
    );
    let resolution = &offered["transitions"][3]["fields"]["resolution"];
    assert_eq!((&resolution["required"], &resolution["hasDefaultValue"]), (&json!(true), &json!(false)));
    assert_eq!(resolution["allowedValues"][0]["name"], "Done");
    assert_eq!(ada.get(TRANSITIONS).await.1["transitions"][0]["fields"], Value::Null);
    assert_eq!(names(&ada.get(&format!("{TRANSITIONS}?transitionId=21")).await.1), ["Start Review"]);
    assert_eq!(ada.post(TRANSITIONS, json!({ "transition": { "id": "31" } })).await.0, 204);
    let server = bench.data_center("ada");
    let (_, offered) = server.get(&format!("{TRANSITIONS}?expand=transitions.fields")).await;
    assert_eq!(names(&offered), ["Reopen", "Backlog"]);
    assert_eq!(offered["transitions"][0]["hasScreen"], Value::Null);
}

#[tokio::test]
async fn a_transition_leaves_one_entry_with_what_its_maker_says_of_it() {
    let bench = Bench::new().await;
    let metadata = json!({ "type": "agent", "extraData": { "marker": "m1" } });
    let order = |id: &str| json!({ "transition": { "id": id }, "historyMetadata": metadata });
    let (ada, bob) = (bench.cloud("ada"), bench.data_center("bob"));
    assert_eq!(ada.post(TRANSITIONS, order("11")).await, (204, Value::Null));
    bench.pass(1_000);
    assert_eq!(bob.post(TRANSITIONS, order("21")).await.0, 204);
    let (_, changes) = ada.get("/issue/DEMO-1/changelog?maxResults=1").await;
    assert_eq!((&changes["total"], &changes["isLast"]), (&json!(2), &json!(false)));
    let first = &changes["values"][0];
    assert_eq!((&first["author"]["displayName"], &first["historyMetadata"]), (&json!("ada Example"), &metadata));
    let item = &first["items"][0];
    assert_eq!(
        (&item["fieldId"], &item["from"], &item["toString"]),
        (&json!("status"), &json!("10000"), &json!("In Progress"))
    );
    let (_, last) = ada.get("/issue/DEMO-1/changelog?startAt=1").await;
    assert_eq!((&last["isLast"], &last["values"][0]["items"][0]["toString"]), (&json!(true), &json!("In Review")));
    let newest = async |client: &Client<'_>| {
        let issue = client.get("/issue/DEMO-1?expand=changelog&fields=status").await.1;
        issue["changelog"]["histories"][0]["items"][0]["toString"].clone()
    };
    assert_eq!((newest(&ada).await, newest(&bob).await), (json!("In Review"), json!("In Progress")));
    assert_eq!(bob.get("/issue/DEMO-1/changelog").await.0, 404);
    let wrong = json!({ "transition": { "id": "61" }, "historyMetadata": { "extraData": { "n": 1 } } });
    assert_eq!(ada.post(TRANSITIONS, wrong).await.0, 400);
    // Where nothing changes, nothing is noted.
    bench.pull("issues", json!({ "key": "DEMO-1", "status": "To Do", "by": "bob" })).await;
    assert_eq!(ada.post(TRANSITIONS, order("61")).await.0, 204);
    assert_eq!(bench.effects("DEMO-1").await["changelog"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn f15_f60_a_screen_gets_what_it_demands_and_nothing_else() {
    let bench = Bench::new().await;
    let ada = bench.cloud("ada");
    let done = json!({ "resolution": { "name": "Done" } });
    for (order, complaint) in [
        (json!({ "transition": { "id": "41" } }), "Resolution is required."),
        (json!({ "transition": { "id": "41" }, "fields": { "resolution": { "name": "Maybe" } } }), "is not valid"),
        (json!({ "transition": { "id": "41" }, "fields": { "summary": "x" } }), "not on the appropriate screen"),
        (json!({ "transition": { "id": "31" }, "fields": done }), "not on the appropriate screen"),
        (
            json!({ "transition": { "id": "41" }, "fields": done, "update": { "resolution": [{ "set": { "name": "Done" } }] } }),
            "both 'fields' and 'update'",
        ),
        (json!({ "transition": { "id": "51" } }), "is not valid for this issue"),
        (json!({ "transition": {} }), "must be specified"),
        (json!({ "fields": {} }), "must be specified"),
    ] {
        let (status, answer) = ada.post(TRANSITIONS, order.clone()).await;
        assert_eq!(status, 400, "{order}");
        assert!(answer.to_string().contains(complaint), "{order}: {answer}");
    }
    assert_eq!(bench.data_center("ada").post(TRANSITIONS, json!({ "transition": { "id": "99" } })).await.0, 500);
    assert_eq!(bench.data_center("ada").post(TRANSITIONS, json!({ "transition": { "id": "51" } })).await.0, 400);
    let order = json!({ "transition": { "id": "41" }, "update": { "resolution": [{ "set": { "id": "10101" } }] } });
    assert_eq!(ada.post(TRANSITIONS, order).await.0, 204);
    assert_eq!(ada.get("/issue/DEMO-1").await.1["fields"]["resolution"]["name"], "Won't Do");
    assert_eq!(ada.post(TRANSITIONS, json!({ "transition": { "id": "51" } })).await.0, 204);
    assert_eq!(ada.get("/issue/DEMO-1").await.1["fields"]["resolution"], Value::Null);
}

#[tokio::test]
async fn a_comment_on_a_transition_without_a_screen_is_dropped_without_a_word() {
    let bench = Bench::new().await;
    let ada = bench.cloud("ada");
    let order =
        |id: &str| json!({ "transition": { "id": id }, "update": { "comment": [{ "add": { "body": adf("said") } }] } });
    assert_eq!(ada.post(TRANSITIONS, order("11")).await.0, 204);
    assert_eq!(bench.effects("DEMO-1").await["comments"], json!([]));
    let mut screened = order("41");
    screened["fields"] = json!({ "resolution": { "name": "Done" } });
    assert_eq!(ada.post(TRANSITIONS, screened).await.0, 204);
    assert_eq!(bench.effects("DEMO-1").await["comments"][0]["author"], "ada");
}

#[tokio::test]
async fn a_workflow_is_what_the_switchboard_says() {
    let bench = Bench::new().await;
    let workflow = json!({
        "statuses": [{ "name": "Open", "category": "new" }, { "name": "Shut", "category": "done" }],
        "transitions": [
            { "id": "1", "name": "Shut", "to": "Shut", "refuses": "Give a reason first." },
            { "id": "2", "name": "Shut", "from": ["Open"], "to": "Shut", "only": ["bob"] },
            { "id": "3", "name": "Name it", "to": "Open", "screen": true,
              "fields": [{ "id": "reason", "name": "Reason", "required": true, "default": "none" }] },
        ],
    });
    bench.pull("projects", json!({ "key": "OWN", "workflow": workflow })).await;
    bench.pull("issues", json!({ "key": "OWN-1", "status": "Open" })).await;
    let own = "/issue/OWN-1/transitions";
    let (ada, bob) = (bench.cloud("ada"), bench.cloud("bob"));
    assert_eq!((names(&ada.get(own).await.1).len(), names(&bob.get(own).await.1).len()), (2, 3));
    let (status, answer) = ada.post(own, json!({ "transition": { "id": "1" } })).await;
    assert_eq!((status, &answer["errorMessages"]), (400, &json!(["Give a reason first."])));
    assert_eq!(ada.post(own, json!({ "transition": { "id": "2" } })).await.0, 400);
    assert_eq!(ada.post(own, json!({ "transition": { "id": "3" } })).await.0, 204);
    assert_eq!(bench.effects("OWN-1").await["fields"], json!({ "reason": "none" }));
    assert_eq!(bob.post(own, json!({ "transition": { "id": "2" } })).await.0, 204);
}
