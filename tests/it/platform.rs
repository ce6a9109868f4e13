//! The sandbox as Jira's platform: its answers, held against the descriptions of Cloud and of Data Center, and its own
//! Smart Commits.
//!
//! Two things cannot be held against them, because the descriptions lack them: a list of comments by id, and the
//! changelog as a list of its own. A field that had no value before is left out too: the real one says null, which its
//! description does not allow.

use serde_json::{Value, json};

use crate::contract::{Prism, ask};
use crate::harness::{World, wait_until_or};
use crate::jira::{SITE, TOP, world};

/// `agent@example.org` with the token of `agent`.
const CLOUD: &str = "Basic YWdlbnRAZXhhbXBsZS5vcmc6YWdlbnQtdG9rZW4=";
const DATA_CENTER: &str = "Bearer agent-token";

/// One who asks through the checking proxy, and counts.
struct Client<'p> {
    prism: &'p Prism,
    base: &'static str,
    authorization: &'static str,
    asked: usize,
}

impl Client<'_> {
    /// Asks, and gives the whole body of an answer with this status.
    #[track_caller]
    fn check(&mut self, method: &str, path: &str, body: Value, status: u16) -> Value {
        self.asked += 1;
        let head = format!("{method} {}{path} HTTP/1.1\r\nAuthorization: {}", self.base, self.authorization);
        let answer = self.prism.ask(&head, &body);
        let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {answer}");
        serde_json::from_str(rest.trim()).unwrap_or_default()
    }

    #[track_caller]
    fn get(&mut self, path: &str) -> Value {
        self.check("GET", path, Value::Null, 200)
    }

    /// Asserts that everything asked was checked, and that there was nothing to complain of.
    #[track_caller]
    fn finish(self) {
        assert_eq!(self.prism.complaints(), Vec::<String>::new());
        assert_eq!(self.prism.said().matches("Request received").count(), self.asked);
    }
}

fn id(answer: &Value) -> String {
    answer["id"].as_str().map_or_else(|| answer["id"].to_string(), str::to_owned)
}

fn document(text: &str) -> Value {
    json!({ "type": "doc", "version": 1, "content": [{ "type": "paragraph", "content": [{ "type": "text", "text": text }] }] })
}

#[test]
fn what_cloud_answers_is_as_jira_describes_it() {
    let world = world();
    let Some(prism) = Prism::with(&world, "jira-cloud-platform-v3.openapi.json") else { return };
    world.sandbox.settings(json!({ "paced": false }));
    let mut cloud = Client { prism: &prism, base: "/rest/api/3", authorization: CLOUD, asked: 0 };
    for path in [
        "/myself",
        "/user/search?query=demo",
        "/mypermissions?issueKey=ABC-1&permissions=ADD_COMMENTS,WORK_ON_ISSUES,TRANSITION_ISSUES,BROWSE_PROJECTS",
        "/serverInfo",
        "/configuration",
        "/project/search",
    ] {
        cloud.get(path);
    }
    let marker = json!([{ "key": "marker", "value": { "n": 1 } }]);

    let comments = "/issue/ABC-1/comment";
    let made = json!({ "body": document("said"), "properties": marker });
    let comment = id(&cloud.check("POST", &format!("{comments}?expand=properties"), made, 201));
    cloud.get(&format!("{comments}?orderBy=-created&expand=properties"));
    cloud.get(&format!("{comments}/{comment}"));
    cloud.check("PUT", &format!("{comments}/{comment}"), json!({ "body": document("said better") }), 200);
    cloud.get(&format!("/comment/{comment}/properties/marker"));
    cloud.check("PUT", &format!("/comment/{comment}/properties/other"), json!({ "n": 2 }), 201);
    cloud.check("PUT", &format!("/comment/{comment}/properties/other"), json!({ "n": 3 }), 200);

    let worklogs = "/issue/ABC-1/worklog";
    let made = json!({ "timeSpent": "1h 30m", "started": "2026-01-01T09:00:00.000+0000", "comment": document("done"),
        "properties": marker });
    let worklog = id(&cloud.check("POST", &format!("{worklogs}?expand=properties&notifyUsers=false"), made, 201));
    cloud.get(&format!("{worklogs}?startedAfter=0&expand=properties"));
    cloud.get(&format!("{worklogs}/{worklog}"));
    cloud.get(&format!("{worklogs}/{worklog}/properties/marker"));

    let transitions = "/issue/ABC-1/transitions";
    cloud.get(&format!("{transitions}?expand=transitions.fields"));
    let metadata = json!({ "type": "agent", "extraData": { "marker": "1" } });
    cloud.check("POST", transitions, json!({ "transition": { "id": "11" }, "historyMetadata": metadata }), 204);
    cloud.get("/issue/ABC-1?expand=changelog");
    let resolved = json!({ "transition": { "id": "41" }, "fields": { "resolution": { "name": "Done" } },
        "update": { "comment": [{ "add": { "body": document("shut") } }] } });
    cloud.check("POST", transitions, resolved, 204);
    cloud.get("/issue/ABC-1?fields=status,resolution");
    cloud.check("POST", "/issue/bulkfetch", json!({ "issueIdsOrKeys": ["ABC-1", "NO-1"], "fields": ["*all"] }), 200);

    let links = "/issue/ABC-1/remotelink";
    let link = json!({ "globalId": "a=1", "object": { "title": "v1", "url": "https://git.example.org" } });
    let made = id(&cloud.check("POST", links, link.clone(), 201));
    cloud.check("POST", links, link, 200);
    cloud.get(links);
    cloud.get(&format!("{links}?globalId=a%3D1"));
    cloud.get(&format!("{links}/{made}"));
    cloud.check("DELETE", &format!("{links}?globalId=a%3D1"), Value::Null, 204);
    cloud.check("DELETE", &format!("{worklogs}/{worklog}"), Value::Null, 204);
    cloud.check("DELETE", &format!("{comments}/{comment}"), Value::Null, 204);

    // Refusals.
    cloud.check("GET", "/issue/NO-1", Value::Null, 404);
    cloud.check("GET", "/mypermissions?permissions=FLY", Value::Null, 400);
    cloud.check("POST", comments, json!({ "body": "no document" }), 400);
    cloud.check("POST", worklogs, json!({ "timeSpent": "1h", "started": "2026-01-01T09:00:00Z" }), 400);
    cloud.check("POST", transitions, json!({ "transition": { "id": "99" } }), 400);
    world.sandbox.settings(json!({ "limits": { "comments": 0, "worklogs": 0 } }));
    cloud.check("POST", comments, json!({ "body": document("too many") }), 413);
    cloud.authorization = "Basic bm9ib2R5QGV4YW1wbGUub3JnOng=";
    cloud.check("GET", "/myself", Value::Null, 401);
    cloud.check("POST", comments, json!({ "body": document("said") }), 401);
    cloud.finish();
}

#[test]
fn what_data_center_answers_is_as_jira_describes_it() {
    let world = world();
    let Some(prism) = Prism::with(&world, "jira-data-center-v2.openapi.json") else { return };
    let mut server = Client { prism: &prism, base: "/rest/api/2", authorization: DATA_CENTER, asked: 0 };
    for path in [
        "/myself",
        "/user/search?username=demo&includeInactive=true",
        "/user?username=demo",
        "/mypermissions?issueKey=ABC-1",
        "/serverInfo",
        "/configuration",
        "/project",
        "/search?jql=key%20in%20(ABC-1,ABC-2)",
    ] {
        server.get(path);
    }
    let jql = json!({ "jql": "key in (ABC-1, NO-1)", "validateQuery": false, "fields": ["summary"] });
    server.check("POST", "/search", jql, 200);

    let comments = "/issue/ABC-1/comment";
    let made = json!({ "body": "said", "properties": [{ "key": "marker", "value": "1" }] });
    let comment = id(&server.check("POST", comments, made, 201));
    server.get(&format!("{comments}?orderBy=-created&expand=properties"));
    server.get(&format!("{comments}/{comment}"));
    server.check("PUT", &format!("{comments}/{comment}"), json!({ "body": "said better" }), 200);
    server.get(&format!("/comment/{comment}/properties/marker"));
    server.check("PUT", &format!("/comment/{comment}/properties/other"), json!("2"), 201);

    let worklogs = "/issue/ABC-1/worklog";
    let made = json!({ "timeSpent": "1h 30m", "started": "2026-01-01T09:00:00.000+0000", "comment": "done" });
    let worklog = id(&server.check("POST", &format!("{worklogs}?adjustEstimate=leave"), made, 201));
    server.get(worklogs);
    server.get(&format!("{worklogs}/{worklog}"));

    let transitions = "/issue/ABC-1/transitions";
    server.get(&format!("{transitions}?expand=transitions.fields"));
    let metadata = json!({ "type": "agent", "extraData": { "marker": "1" } });
    server.check("POST", transitions, json!({ "transition": { "id": "11" }, "historyMetadata": metadata }), 204);
    server.get("/issue/ABC-1?expand=changelog");
    let resolved = json!({ "transition": { "id": "41" }, "fields": { "resolution": { "name": "Done" } },
        "update": { "comment": [{ "add": { "body": "shut" } }] } });
    server.check("POST", transitions, resolved, 204);
    server.get("/issue/ABC-1?fields=status,resolution");

    let links = "/issue/ABC-1/remotelink";
    let link = json!({ "globalId": "a=1", "object": { "title": "v1", "url": "https://git.example.org" } });
    // The description knows no 201 here, so the first one goes past the proxy.
    let head = format!("POST /rest/api/2{links} HTTP/1.1\r\nAuthorization: {DATA_CENTER}");
    let answer = ask(&world.sandbox.address, &head, &link);
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    server.check("POST", links, link, 200);
    server.get(links);
    server.check("DELETE", &format!("{links}?globalId=a%3D1"), Value::Null, 204);
    server.check("DELETE", &format!("{links}?globalId=a%3D1"), Value::Null, 404);
    server.check("DELETE", &format!("{worklogs}/{worklog}"), Value::Null, 204);
    server.check("DELETE", &format!("{comments}/{comment}"), Value::Null, 204);

    // Refusals.
    server.check("GET", "/issue/NO-1", Value::Null, 404);
    server.check("POST", comments, json!({ "body": "" }), 400);
    server.check("POST", transitions, json!({ "transition": { "id": "11" } }), 400);
    server.check("POST", transitions, json!({ "transition": { "id": "99" } }), 500);
    server.authorization = "Bearer wrong";
    server.check("GET", "/myself", Value::Null, 401);
    server.finish();
}

#[test]
fn f1_f2_f3_f4_a_push_lets_jira_comment_log_work_and_move_the_issue_as_the_author() {
    let person = "[[person]]\nname = \"Ann\"\nemails = [\"ann@example.org\"]\nunix = [\"root\"]\n";
    let world = World::with(SITE, &format!("{TOP}{person}"));
    let config = std::fs::read_to_string(world.config()).unwrap();
    std::fs::write(world.config(), format!("{config}[account.smart]\npolicy = \"bot\"\n")).unwrap();
    let ann = json!({ "name": "ann", "email": "ann@example.org", "display_name": "Ann Author" });
    let answer = ask(&world.sandbox.address, "POST /sandbox/people HTTP/1.1", &ann);
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let _daemon = world.daemon();
    let commit = clone.commit("ABC-1 begin\n\nABC-1 #comment it begins #time 1h 30m #start-progress");
    clone.push(&["origin", "HEAD:main"]);
    let effects = || {
        let answer = ask(&world.sandbox.address, "GET /sandbox/issues/ABC-1 HTTP/1.1", &Value::Null);
        serde_json::from_str::<Value>(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    wait_until_or("Jira moved the issue", || effects()["status"] == "In Progress", || effects().to_string());
    let effects = effects();
    assert_eq!(effects["comments"][0]["body"], "it begins");
    assert_eq!(effects["worklogs"][0]["seconds"], 5_400);
    for kind in ["comments", "worklogs", "changelog"] {
        assert_eq!(effects[kind].as_array().map(Vec::len), Some(1), "{effects}");
        assert_eq!((&effects[kind][0]["author"], &effects[kind][0]["commit"]), (&json!("ann"), &json!(commit)));
    }
}
