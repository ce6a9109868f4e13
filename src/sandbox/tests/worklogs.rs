//! What becomes of worklogs and estimates.

use super::*;

const WORKLOGS: &str = "/issue/DEMO-1/worklog";
const STARTED: &str = "2027-01-15T08:00:00.000+0000";

#[tokio::test]
async fn work_is_logged_in_the_units_of_the_site() {
    let bench = Bench::new().await;
    bench.pull("settings", json!({ "time": { "working_hours_per_day": 6.0 } })).await;
    let ada = bench.cloud("ada");
    let log = json!({ "timeSpent": "1d 30m", "started": STARTED, "comment": adf("hard") });
    let (status, made) = ada.post(WORKLOGS, log).await;
    assert_eq!((status, &made["timeSpentSeconds"], &made["timeSpent"]), (201, &json!(23_400), &json!("1d 30m")));
    assert_eq!((&made["started"], &made["issueId"]), (&json!(STARTED), &json!("10000")));
    let server = bench.data_center("bob");
    assert_eq!(server.post(WORKLOGS, json!({ "timeSpentSeconds": 120, "comment": "easy" })).await.0, 201);
    let (_, told) = server.get(WORKLOGS).await;
    assert_eq!((&told["total"], &told["worklogs"][0]["comment"]), (&json!(2), &json!("hard")));
    assert_eq!(ada.get("/issue/DEMO-1").await.1["fields"]["timetracking"]["timeSpentSeconds"], 23_520);
}

#[tokio::test]
async fn a_worklog_says_how_long_in_one_way_and_when_in_the_one_form() {
    let bench = Bench::new().await;
    let ada = bench.cloud("ada");
    for (log, blamed) in [
        (json!({ "started": STARTED }), "timeLogged"),
        (json!({ "started": STARTED, "timeSpent": "1h", "timeSpentSeconds": 3_600 }), "timeLogged"),
        (json!({ "started": STARTED, "timeSpent": "1.5h" }), "timeLogged"),
        (json!({ "started": STARTED, "timeSpentSeconds": 59 }), "timeLogged"),
        (json!({ "timeSpent": "1h" }), "started"),
        (json!({ "timeSpent": "1h", "started": "2027-01-15T08:00:00Z" }), "started"),
        (json!({ "timeSpent": "1h", "started": "2027-01-15T08:00:00.000+00:00" }), "started"),
        (json!({ "timeSpent": "1h", "started": STARTED, "comment": "text" }), "comment"),
    ] {
        let (status, answer) = ada.post(WORKLOGS, log.clone()).await;
        assert_eq!(status, 400, "{log}");
        assert!(answer["errors"][blamed].is_string(), "{log}: {answer}");
    }
    bench.pull("settings", json!({ "time": { "enabled": false } })).await;
    assert_eq!(ada.post(WORKLOGS, json!({ "timeSpent": "1h", "started": STARTED })).await.0, 400);
}

#[tokio::test]
async fn properties_mark_a_worklog_on_cloud_only() {
    let bench = Bench::new().await;
    let marked = |comment: Value| {
        let marker = json!([{ "key": "marker", "value": "x" }]);
        json!({ "timeSpent": "1h", "started": STARTED, "comment": comment, "properties": marker })
    };
    let ada = bench.cloud("ada");
    let (_, made) = ada.post(&format!("{WORKLOGS}?expand=properties&notifyUsers=false"), marked(adf("c"))).await;
    assert_eq!(made["properties"], json!([{ "key": "marker", "value": "x" }]));
    let id = made["id"].as_str().unwrap();
    assert_eq!(ada.get(&format!("{WORKLOGS}/{id}/properties/marker")).await.1["value"], "x");
    bench.data_center("ada").post(&format!("{WORKLOGS}?notifyUsers=false"), marked(json!("c"))).await;
    let effects = bench.effects("DEMO-1").await;
    let told = |at: usize| (&effects["worklogs"][at]["properties"], &effects["worklogs"][at]["notified"]);
    assert_eq!(told(0), (&json!({ "marker": "x" }), &json!(false)));
    assert_eq!(told(1), (&json!({}), &json!(true)));
    let (_, listed) = bench.data_center("ada").get(&format!("{WORKLOGS}?expand=properties")).await;
    assert_eq!(listed["worklogs"][0]["properties"], Value::Null);
}

#[tokio::test]
async fn a_list_begins_after_the_moment_that_is_asked_for() {
    let bench = Bench::new().await;
    let ada = bench.cloud("ada");
    for second in 0..3 {
        let started = format!("2027-01-15T08:00:0{second}.000+0000");
        ada.post(WORKLOGS, json!({ "timeSpent": "1h", "started": started })).await;
    }
    assert_eq!(ada.get(&format!("{WORKLOGS}?startedAfter={START}")).await.1["total"], 2);
    assert_eq!(ada.get(&format!("{WORKLOGS}?startedBefore={START}")).await.1["total"], 0);
    let (_, page) = ada.get(&format!("{WORKLOGS}?startAt=1&maxResults=1")).await;
    assert_eq!((&page["total"], page["worklogs"].as_array().map(Vec::len)), (&json!(3), Some(1)));
}

#[tokio::test]
async fn an_estimate_is_left_as_the_one_who_logs_wishes() {
    let bench = Bench::new().await;
    let ada = bench.cloud("ada");
    let left = async || bench.effects("DEMO-1").await["remaining_seconds"].clone();
    assert_eq!(left().await, Value::Null);
    bench.pull("issues", json!({ "key": "DEMO-1", "remaining_seconds": 36_000 })).await;
    for (query, expected) in [
        ("", 32_400),
        ("?adjustEstimate=leave", 32_400),
        ("?adjustEstimate=manual&reduceBy=2h", 25_200),
        ("?adjustEstimate=new&newEstimate=1d", 28_800),
    ] {
        let log = json!({ "timeSpent": "1h", "started": STARTED });
        assert_eq!(ada.post(&format!("{WORKLOGS}{query}"), log).await.0, 201, "{query}");
        assert_eq!(left().await, expected, "{query}");
    }
    let log = json!({ "timeSpent": "1h", "started": STARTED });
    assert_eq!(ada.post(&format!("{WORKLOGS}?adjustEstimate=new"), log).await.0, 400);
    let id = bench.effects("DEMO-1").await["worklogs"][0]["id"].clone();
    assert_eq!(ada.call("DELETE", &format!("{WORKLOGS}/{id}"), None).await.0, 204);
    assert_eq!(left().await, 32_400);
    bench.pull("settings", json!({ "limits": { "worklogs": 3 } })).await;
    assert_eq!(ada.post(WORKLOGS, json!({ "timeSpent": "1h", "started": STARTED })).await.0, 413);
}
