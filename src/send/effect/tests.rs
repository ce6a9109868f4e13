//! Effects against a Jira that keeps state, on Cloud and on Data Center.

mod read_back;

use std::time::Duration;

use crate::clock;
use crate::git::Ident;
use crate::send::{Match, Opener, Settings};

use super::*;

/// A Jira and an account at it.
struct Bench {
    sandbox: Sandbox,
    platform: Platform,
    http: reqwest::Client,
    folder: tempfile::TempDir,
    kind: Kind,
}

const KINDS: [Kind; 2] = [Kind::Cloud, Kind::DataCenter];
const WITHIN: Duration = Duration::from_secs(150);
const STARTED: i64 = 1_772_357_340_000;

/// A Jira with ABC-1 and ABC-2, the account `agent`, and the people `ann` and `bob`.
async fn bench(kind: Kind) -> Bench {
    let person = |name: &str| SeedPerson {
        name: name.to_owned(),
        email: Some(format!("{name}@example.org")),
        token: Some(format!("{name}-token")),
        ..SeedPerson::default()
    };
    let issue = |key: &str| SeedIssue { key: key.to_owned(), summary: String::new(), status: "To Do".to_owned() };
    let sandbox = Sandbox::start(Seed {
        listen: ([127, 0, 0, 1], 0).into(),
        client_id: "id".to_owned(),
        client_secret: "secret".to_owned(),
        issues: ["ABC-1", "ABC-2"].map(issue).into(),
        people: ["agent", "ann", "bob"].map(person).into(),
        store: None,
    });
    let sandbox = sandbox.await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let http = reqwest::Client::builder().tls_certs_only([]);
    let platform = account(&sandbox, &folder, kind, "agent", "");
    Bench { platform, http: http.build().unwrap(), sandbox, folder, kind }
}

fn account(sandbox: &Sandbox, folder: &tempfile::TempDir, kind: Kind, name: &str, lines: &str) -> Platform {
    std::fs::write(folder.path().join(name), format!("{name}-token\n")).unwrap();
    Platform::new(&settings(sandbox, kind, name, lines), Some(folder.path())).unwrap()
}

/// The account that a person has linked.
fn own(bench: &Bench, name: &str) -> Platform {
    let email = (bench.kind == Kind::Cloud).then(|| format!("{name}@example.org"));
    let opener = Opener { email, token: format!("{name}-token").into(), scoped: false };
    Platform::of(&settings(&bench.sandbox, bench.kind, "agent", ""), &opener).unwrap()
}

fn settings(sandbox: &Sandbox, kind: Kind, name: &str, lines: &str) -> Settings {
    let of_kind = match kind {
        Kind::Cloud => format!("client_id = 'id'\ncredential = 'x'\n[account]\nemail = '{name}@example.org'"),
        Kind::DataCenter => "kind = 'data-center'\n[account]".to_owned(),
    };
    let url = format!("http://{}", sandbox.address);
    let text = format!("name = 'a'\nurl = '{url}'\napi_url = '{url}'\n{of_kind}\ncredential = '{name}'\n{lines}");
    toml::from_str(&text).unwrap()
}

impl Bench {
    async fn pull(&self, method: &str, path: &str, body: Value) -> Value {
        let url = format!("http://{}/sandbox/{path}", self.sandbox.address);
        let request = self.http.request(method.parse().unwrap(), url).json(&body);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default()
    }

    async fn post(&self, path: &str, body: Value) {
        self.pull("POST", path, body).await;
    }

    async fn fault(&self, on: &str, act: Value) {
        self.post("faults", json!([{ "on": on, "times": 1, "act": act }])).await;
    }

    /// All that happened to an issue.
    async fn effects(&self, key: &str) -> Value {
        self.pull("GET", &format!("issues/{key}"), Value::Null).await
    }

    async fn count(&self, list: &str) -> usize {
        self.effects("ABC-1").await[list].as_array().unwrap().len()
    }

    /// How often something was asked.
    async fn asked(&self, method: &str, part: &str) -> usize {
        let state = self.pull("GET", "state", Value::Null).await;
        let fits = |one: &&Value| one["method"] == method && one["path"].as_str().unwrap().contains(part);
        state["requests"].as_array().unwrap().iter().filter(fits).count()
    }

    async fn carry_out(&self, effect: &Effect) -> Attempt {
        carry_out(&self.platform, effect).await
    }

    async fn probe(&self, effect: &Effect, since: i64) -> Probe {
        self.platform.probe(&deed(effect), &mark(effect), since, clock::now()).await
    }

    /// Asserts that an attempt was refused for this reason.
    #[track_caller]
    fn check_refused(attempt: &Attempt, because: &str) {
        let Attempt::Stopped(Obstacle::Refused { because: said }) = attempt else { panic!("{attempt:?}") };
        assert!(said.contains(because), "{said:?} lacks {because:?}");
    }

    #[track_caller]
    fn check_halted(attempt: &Attempt, reach: Reach, because: &str) {
        let Attempt::Stopped(Obstacle::Halt { reach: far, because: said }) = attempt else { panic!("{attempt:?}") };
        assert!(*far == reach && said.contains(because), "{far:?} {said:?} lacks {because:?}");
    }
}

fn effect(action: Action) -> Effect {
    let author =
        Ident { name: b"Ann Example".into(), email: b"ann@example.org".into(), at: STARTED / 1000, offset: 60 };
    let (commit, repository) = ("1a2b3c4d5e6f".to_owned(), "r1".to_owned());
    let (issue, pusher) = ("ABC-1".parse().unwrap(), String::from_utf8_lossy(&author.name).into_owned());
    Effect { issue, action, ordinal: 0, commit, repository, author, pusher, by_author: false }
}

fn deed(effect: &Effect) -> Deed<'_> {
    Deed { effect, issue: "10000", repository: "team/tool" }
}

async fn carry_out(platform: &Platform, effect: &Effect) -> Attempt {
    carry_out_as(platform, &deed(effect), &mark(effect), Manner::default()).await
}

async fn carry_out_as(platform: &Platform, deed: &Deed<'_>, marker: &Marker, manner: Manner<'_>) -> Attempt {
    match platform.prepare(deed, marker, manner, clock::now()).await {
        Ok(prepared) => platform.send(&prepared, WITHIN, clock::now()).await,
        Err(attempt) => attempt,
    }
}

/// The mark of an effect: as different as the orders are.
fn mark(effect: &Effect) -> Marker {
    Marker::new(&format!("{effect:?}"), b"installation")
}

fn comment() -> Effect {
    comment_of("it [~bob] works")
}

fn comment_of(text: &str) -> Effect {
    effect(Action::Comment { text: text.to_owned() })
}

fn time() -> Effect {
    time_of("1h 30m", "worked")
}

fn time_of(spent: &str, comment: &str) -> Effect {
    let (spent, comment) = (spent.parse().unwrap(), comment.to_owned());
    effect(Action::Time { spent, comment, started: STARTED, offset: 60 })
}

fn transition(name: &str, comment: &str) -> Effect {
    effect(Action::Transition { name: name.to_owned(), comment: comment.to_owned() })
}

/// What an order makes, and the list that it is in.
fn orders() -> [(Effect, &'static str); 3] {
    [(comment(), "comments"), (time(), "worklogs"), (transition("start-progress", ""), "changelog")]
}

/// The id of what was made, where it has one.
fn remote(attempt: Attempt) -> Option<String> {
    match attempt {
        Attempt::Applied { remote_id, issue_id, .. } if issue_id == "10000" => remote_id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn f1_f2_f3_f4_each_order_is_carried_out_on_both_kinds_of_site() {
    for kind in KINDS {
        let bench = bench(kind).await;
        for (effect, list) in orders() {
            let id = remote(bench.carry_out(&effect).await);
            let effects = bench.effects("ABC-1").await;
            let made = &effects[list][0];
            assert_eq!((&made["author"], effects[list].as_array().unwrap().len()), (&json!("agent"), 1));
            assert_eq!(id, (list != "changelog").then(|| made["id"].to_string()));
        }
        let effects = bench.effects("ABC-1").await;
        assert_eq!(effects["status"], "In Progress");
        let work = &effects["worklogs"][0];
        assert_eq!((&work["seconds"], &work["started"]), (&json!(5_400), &json!("2026-03-01T09:29:00Z")));
        let last = "— Ann Example, commit 1a2b3c4 in team/tool";
        match kind {
            Kind::Cloud => {
                let paragraph =
                    |text: &str| json!({ "type": "paragraph", "content": [{ "type": "text", "text": text }] });
                let said =
                    json!({ "type": "doc", "version": 1, "content": [paragraph("it [~bob] works"), paragraph(last)] });
                assert_eq!(effects["comments"][0]["body"], said);
                assert_eq!(work["properties"]["git-jira-agent"], mark(&time()).value());
            }
            Kind::DataCenter => {
                assert_eq!(effects["comments"][0]["body"], format!("it \\[\\~bob\\] works\n\n{last}"));
                let token = mark(&time()).token();
                assert_eq!(work["comment"], format!("worked\n\n{last} \\({token}\\)"));
            }
        }
        assert_eq!(effects["comments"][0]["properties"]["git-jira-agent"], mark(&comment()).value());
        bench.sandbox.stop().await.unwrap();
    }
}

#[tokio::test]
async fn who_writes_for_themselves_needs_no_line_about_it() {
    let bench = bench(Kind::DataCenter).await;
    let (said, work) = (comment(), time_of("2h", ""));
    for effect in [&said, &work] {
        let mut own = effect.clone();
        own.author.email = b"Agent@example.org".into();
        remote(carry_out_as(&bench.platform, &deed(&own), &mark(effect), Manner::default()).await);
    }
    let effects = bench.effects("ABC-1").await;
    assert_eq!(effects["comments"][0]["body"], "it \\[\\~bob\\] works");
    let token = mark(&work).token();
    assert_eq!(effects["worklogs"][0]["comment"], format!("— commit 1a2b3c4 in team/tool \\({token}\\)"));
    assert_eq!(bench.asked("GET", "/myself").await, 1, "who one is is asked once");
}

#[tokio::test]
async fn f47_what_was_done_without_an_answer_is_found_and_not_done_twice() {
    for kind in KINDS {
        let bench = bench(kind).await;
        let since = clock::now();
        for (effect, list) in orders() {
            assert_eq!(bench.probe(&effect, since).await, Probe::Absent, "{kind:?} {list}");
            bench.fault("write", json!("apply_then_drop")).await;
            let attempt = bench.carry_out(&effect).await;
            assert!(matches!(&attempt, Attempt::Ambiguous { because } if because.contains("broke off")), "{attempt:?}");
            let made = bench.effects("ABC-1").await[list][0]["id"].to_string();
            let remote_id = (list != "changelog").then_some(made);
            assert_eq!(bench.probe(&effect, since).await, Probe::Present { remote_id }, "{kind:?} {list}");
            assert_eq!(bench.count(list).await, 1, "sent once");
        }
    }
}

#[tokio::test]
async fn f48_what_is_done_long_after_is_found_then() {
    for kind in KINDS {
        let bench = bench(kind).await;
        let since = clock::now();
        for (effect, list) in orders() {
            bench.fault("write", json!({ "drop_then_apply": {} })).await;
            assert!(matches!(bench.carry_out(&effect).await, Attempt::Ambiguous { .. }));
            assert_eq!(bench.probe(&effect, since).await, Probe::Absent);
            bench.post("release", json!({})).await;
            while bench.count(list).await == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(matches!(bench.probe(&effect, since).await, Probe::Present { .. }), "{kind:?} {list}");
        }
    }
}

#[tokio::test]
async fn f57_success_that_cannot_be_read_is_ambiguous() {
    let bench = bench(Kind::Cloud).await;
    let since = clock::now();
    let acts = [
        json!({ "truncate": { "bytes": 10 } }),
        json!("garbage"),
        json!("html_login"),
        json!({ "huge": { "bytes": 5 << 20 } }),
    ];
    for act in acts {
        bench.fault("add_comment", act.clone()).await;
        let attempt = bench.carry_out(&comment()).await;
        assert!(matches!(attempt, Attempt::Ambiguous { .. }), "{act}: {attempt:?}");
    }
    assert_eq!(bench.count("comments").await, 1, "what broke off was done");
    assert!(matches!(bench.probe(&comment(), since).await, Probe::Present { .. }));
}

#[tokio::test]
async fn f46_who_does_not_answer_in_time_may_have_done_it() {
    let bench = bench(Kind::Cloud).await;
    let since = clock::now();
    let in_haste = async |effect: &Effect| {
        let prepared =
            bench.platform.prepare(&deed(effect), &mark(effect), Manner::default(), clock::now()).await.unwrap();
        bench.platform.send(&prepared, Duration::from_millis(500), clock::now()).await
    };
    bench.fault("add_comment", json!({ "delay": { "ms": 900 } })).await;
    let attempt = in_haste(&comment()).await;
    assert!(matches!(&attempt, Attempt::Ambiguous { because } if because.contains("in time")), "{attempt:?}");
    bench.fault("add_worklog", json!({ "trickle": { "bytes_per_second": 10 } })).await;
    assert!(matches!(in_haste(&time()).await, Attempt::Ambiguous { .. }));
    while bench.count("comments").await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(matches!(bench.probe(&comment(), since).await, Probe::Present { .. }));
    assert!(matches!(bench.probe(&time(), since).await, Probe::Present { .. }));
}

#[tokio::test]
async fn f50_a_redirect_is_not_followed() {
    let bench = bench(Kind::DataCenter).await;
    let elsewhere = json!({ "redirect": { "to": "http://new.example/x", "code": 307 } });
    bench.fault("read_issue", elsewhere.clone()).await;
    Bench::check_halted(&bench.carry_out(&comment()).await, Reach::Account, "new.example");
    bench.fault("add_comment", elsewhere).await;
    let attempt = bench.carry_out(&comment()).await;
    assert!(matches!(&attempt, Attempt::Ambiguous { because } if because.contains("new.example")), "{attempt:?}");
    assert_eq!(bench.count("comments").await, 0);
}

#[tokio::test]
async fn f51_a_limit_of_an_issue_is_no_limit_of_the_site() {
    let bench = bench(Kind::Cloud).await;
    let rate = |reason: &str| json!({ "rate": { "reason": reason, "retry_after": "3" } });
    for (reason, reach) in [("jira-per-issue-on-write", Reach::Issue), ("jira-burst-based", Reach::Account)] {
        bench.fault("write", rate(reason)).await;
        match bench.carry_out(&comment()).await {
            Attempt::Stopped(Obstacle::Later { reach: far, after, because }) => {
                assert_eq!((far, after), (reach, Some(3_000)));
                assert!(because.contains(reason), "{because}");
            }
            other => panic!("{other:?}"),
        }
    }
    remote(bench.carry_out(&comment()).await);
    bench.post("settings", json!({ "limits": { "comments": 1 } })).await;
    Bench::check_refused(&bench.carry_out(&comment()).await, "limit of 1 comments");
}

#[tokio::test]
async fn f40_f43_whatever_is_not_let_in_or_not_reached_is_not_done() {
    let bench = bench(Kind::Cloud).await;
    remote(bench.carry_out(&comment()).await);
    for door in ["read_issue", "add_comment"] {
        bench.fault(door, json!({ "status": { "code": 401, "body": "{}", "content_type": "application/json" } })).await;
        Bench::check_halted(&bench.carry_out(&comment()).await, Reach::Account, "make a new token");
    }
    bench.fault("add_comment", json!({ "status": { "code": 503, "headers": { "retry-after": "7" } } })).await;
    let attempt = bench.carry_out(&comment()).await;
    assert!(matches!(attempt, Attempt::Stopped(Obstacle::Later { after: Some(7_000), .. })), "{attempt:?}");
    bench.fault("read_issue", json!({ "status": { "code": 500 } })).await;
    assert!(matches!(bench.carry_out(&comment()).await, Attempt::Stopped(Obstacle::Later { after: None, .. })));
    bench.post("people", json!({ "name": "agent", "token": "another" })).await;
    Bench::check_halted(&bench.carry_out(&comment()).await, Reach::Account, "answered 401");
    assert_eq!(bench.count("comments").await, 1);
    let Bench { sandbox, platform, .. } = bench;
    sandbox.stop().await.unwrap();
    let effect = comment();
    let attempt = carry_out(&platform, &effect).await;
    let Attempt::Stopped(Obstacle::Later { because, .. }) = attempt else { panic!("{attempt:?}") };
    assert!(because.starts_with("cannot reach 127.0.0.1:"), "{because}");
}

#[tokio::test]
async fn f44_f59_what_holds_for_one_issue_stops_no_other() {
    for kind in KINDS {
        let bench = bench(kind).await;
        bench.post("issues/ABC-1/move", json!({ "to": "NEW-7" })).await;
        assert_eq!(bench.platform.issue("abc-1", clock::now()).await.unwrap().key, "NEW-7");
        remote(bench.carry_out(&comment()).await);
        assert_eq!(bench.effects("NEW-7").await["comments"].as_array().unwrap().len(), 1);
        bench
            .post(
                "permissions",
                json!({ "person": "agent", "project": "NEW", "permission": "comment", "granted": false }),
            )
            .await;
        Bench::check_halted(&bench.carry_out(&comment()).await, Reach::Issue, "permission to comment");
        remote(bench.carry_out(&time()).await);
        bench.post("issues", json!({ "key": "NEW-7", "archived": true })).await;
        Bench::check_halted(&bench.carry_out(&time()).await, Reach::Issue, "archived");
        bench.pull("DELETE", "issues/NEW-7", Value::Null).await;
        Bench::check_refused(&bench.carry_out(&time()).await, "or the account may not see it");
        assert!(matches!(bench.probe(&comment(), 0).await, Probe::Stopped(Obstacle::Refused { .. })));
    }
}

#[tokio::test]
async fn f61_a_site_that_is_gone_refuses_nothing() {
    let bench = bench(Kind::Cloud).await;
    let gone = json!({ "status": { "code": 404, "body": "<p>gone", "content_type": "text/html" } });
    bench.fault("read_issue", gone).await;
    Bench::check_halted(&bench.carry_out(&comment()).await, Reach::Account, "renamed, suspended or gone");
}

#[tokio::test]
async fn f60_a_word_that_fits_none_or_several_is_refused_with_the_choices() {
    for kind in KINDS {
        let bench = bench(kind).await;
        let refused = async |word: &str| bench.carry_out(&transition(word, "")).await;
        let choices = "ABC-1 in To Do: Start Progress (to In Progress), Start Review (to In Review)";
        Bench::check_refused(&refused("start").await, choices);
        Bench::check_refused(&refused("fff").await, "Backlog (to To Do)");
        Bench::check_refused(&refused("start-progres-").await, "#start-progres- is none of what can be done");
        assert_eq!(bench.count("changelog").await, 0);
        assert_eq!(bench.asked("POST", "/transitions").await, 0);
        bench.post("permissions", json!({ "person": "agent", "permission": "transition", "granted": false })).await;
        Bench::check_refused(&refused("start-progress").await, "the account may not move ABC-1 from To Do");
    }
}

#[tokio::test]
async fn f60_where_the_issue_is_already_nothing_is_sent() {
    let bench = bench(Kind::Cloud).await;
    for word in ["to-do", "backlog"] {
        match bench.carry_out(&transition(word, "text")).await {
            Attempt::NoOp { issue_id, because } => {
                assert_eq!((issue_id.as_str(), because.as_str()), ("10000", "ABC-1 is in To Do already"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bench.asked("POST", "").await, 0);
}

#[tokio::test]
async fn f15_f60_a_resolution_that_is_demanded_is_given_and_nothing_else_is_guessed() {
    for kind in KINDS {
        let bench = bench(kind).await;
        let effect = transition("resolve", "because");
        let with = async |resolution| {
            let manner = Manner { resolution, ..Manner::default() };
            carry_out_as(&bench.platform, &deed(&effect), &mark(&effect), manner).await
        };
        Bench::check_refused(&with(None).await, "the site's `resolution` names one of Done, Won't Do, Duplicate");
        Bench::check_refused(&with(Some("Maybe")).await, "Resolve Issue takes no resolution Maybe");
        let attempt = with(Some("won't do")).await;
        let expected = Attempt::Applied { remote_id: None, issue_id: "10000".to_owned() };
        assert_eq!(attempt, expected);
        let effects = bench.effects("ABC-1").await;
        assert_eq!((&effects["status"], &effects["resolution"]), (&json!("Done"), &json!("Won't Do")));
        let workflow = json!({ "statuses": [{ "name": "To Do" }, { "name": "Done" }], "transitions": [
            { "id": "1", "name": "Finish", "to": "Done", "screen": true,
              "fields": [{ "id": "reason", "name": "The [reason]", "required": true }] },
            { "id": "2", "name": "Drop", "to": "Done", "refuses": "Give a reason first." },
            { "id": "3", "name": "Tell", "to": "Done", "screen": true,
              "fields": [{ "id": "comment", "name": "Comment", "required": true }] },
        ] });
        bench.post("issues", json!({ "key": "ABC-1", "status": "To Do" })).await;
        bench.post("projects", json!({ "key": "ABC", "workflow": workflow })).await;
        Bench::check_refused(&bench.carry_out(&transition("finish", "")).await, "Finish demands The [reason], which");
        Bench::check_refused(&bench.carry_out(&transition("drop", "")).await, "Give a reason first.");
        Bench::check_refused(
            &bench.carry_out(&transition("tell", "why")).await,
            "Tell demands a comment in the same step",
        );
    }
}

#[tokio::test]
async fn f4_what_is_said_with_a_transition_is_an_effect_of_its_own() {
    for kind in KINDS {
        let bench = bench(kind).await;
        let begun = transition("start-progress", "begun");
        let attempt = bench.carry_out(&begun).await;
        assert_eq!(attempt, Attempt::Applied { remote_id: None, issue_id: "10000".to_owned() });
        assert!(begun.comment_of_its_own("key").is_some());
        assert_eq!(bench.count("comments").await, 0);
    }
}

#[tokio::test]
async fn s19_a_customer_of_a_service_desk_reads_nothing_unasked() {
    for kind in KINDS {
        let bench = bench(kind).await;
        bench.post("projects", json!({ "key": "ABC", "type": "service_desk" })).await;
        remote(bench.carry_out(&comment()).await);
        let said = bench.effects("ABC-1").await["comments"][0]["properties"].clone();
        assert_eq!(said["sd.public.comment"], json!({ "internal": true }));
        assert_eq!(said["git-jira-agent"], mark(&comment()).value());
    }
}

#[tokio::test]
async fn f2_a_part_of_a_day_is_counted_with_the_hours_of_the_site() {
    let bench = bench(Kind::Cloud).await;
    bench.post("settings", json!({ "time": { "working_hours_per_day": 7.0 } })).await;
    let effect = time_of("1.5d", "");
    remote(bench.carry_out(&effect).await);
    remote(bench.carry_out(&time()).await);
    assert_eq!(bench.effects("ABC-1").await["worklogs"][0]["seconds"], 37_800);
    assert_eq!(bench.asked("GET", "/configuration").await, 1, "asked once a day");
    bench.post("settings", json!({ "time": { "enabled": false } })).await;
    Bench::check_refused(&bench.carry_out(&time()).await, "Time Tracking is not enabled");
}

#[tokio::test]
async fn a_mark_counts_on_what_the_account_itself_wrote_only() {
    for kind in KINDS {
        let bench = bench(kind).await;
        let since = clock::now();
        let bob = account(&bench.sandbox, &bench.folder, kind, "bob", "");
        for (effect, list) in orders() {
            // Bob copies what anybody can read.
            assert!(matches!(carry_out(&bob, &effect).await, Attempt::Applied { .. }));
            assert_eq!(bench.probe(&effect, since).await, Probe::Absent, "{list}");
            bench.post("issues", json!({ "key": "ABC-1", "status": "To Do", "by": "bob" })).await;
            // The account writes for another installation.
            let other = Marker::new(&format!("{effect:?}"), b"another key");
            carry_out_as(&bench.platform, &deed(&effect), &other, Manner::default()).await;
            assert_eq!(bench.probe(&effect, since).await, Probe::Absent, "{list}");
            bench.post("issues", json!({ "key": "ABC-1", "status": "To Do", "by": "bob" })).await;
        }
    }
}

#[tokio::test]
async fn a_version_that_lists_no_properties_is_asked_for_each() {
    for kind in KINDS {
        let bench = bench(kind).await;
        bench.post("settings", json!({ "comment_properties": false })).await;
        let since = clock::now();
        let other = comment_of("other");
        remote(bench.carry_out(&other).await);
        assert_eq!(bench.probe(&comment(), since).await, Probe::Absent);
        let remote_id = remote(bench.carry_out(&comment()).await);
        assert_eq!(bench.probe(&comment(), since).await, Probe::Present { remote_id });
    }
}

#[tokio::test]
async fn a_probe_reads_as_far_back_as_it_has_to_by_jiras_clock() {
    for kind in KINDS {
        let bench = bench(kind).await;
        bench.post("settings", json!({ "paced": false, "clock_offset_ms": -7_200_000 })).await;
        let bob = account(&bench.sandbox, &bench.folder, kind, "bob", "");
        let say = async |platform: &Platform, text: String| {
            let effect = comment_of(&text);
            remote(carry_out(platform, &effect).await)
        };
        for number in 0..120 {
            say(&bob, format!("old {number}")).await;
        }
        // Jira's clock is two hours behind ours, then one: what is above is old by its own reckoning.
        bench.post("settings", json!({ "clock_offset_ms": -3_600_000 })).await;
        let since = clock::now();
        let remote_id = remote(bench.carry_out(&comment()).await);
        for number in 0..60 {
            say(&bob, format!("new {number}")).await;
        }
        let before = bench.asked("GET", "/comment").await;
        assert_eq!(bench.probe(&comment(), since).await, Probe::Present { remote_id });
        assert_eq!(bench.asked("GET", "/comment").await - before, 2, "the page with what is old is the last");
        bench.fault("read_comments", json!({ "status": { "code": 503 } })).await;
        assert!(matches!(bench.probe(&comment(), since).await, Probe::Stopped(Obstacle::Later { .. })));
        bench.fault("read_comments", json!({ "truncate": { "bytes": 100 } })).await;
        assert!(matches!(bench.probe(&comment(), since).await, Probe::Stopped(Obstacle::Later { .. })));
    }
}

#[tokio::test]
async fn a_move_by_the_account_that_lost_its_mark_proves_nothing() {
    for kind in KINDS {
        let bench = bench(kind).await;
        let since = clock::now();
        bench.post("issues", json!({ "key": "ABC-1", "status": "In Progress", "by": "agent" })).await;
        let probe = bench.probe(&transition("start-progress", ""), since).await;
        assert!(matches!(&probe, Probe::Unsure { because } if because.contains("the mark is missing")), "{probe:?}");
    }
}

#[tokio::test]
async fn a_long_history_is_read_from_its_end() {
    for kind in KINDS {
        let bench = bench(kind).await;
        bench.post("settings", json!({ "clock_offset_ms": -7_200_000 })).await;
        for number in 0..130 {
            let status = if number % 2 == 0 { "In Review" } else { "To Do" };
            bench.post("issues", json!({ "key": "ABC-1", "status": status, "by": "bob" })).await;
        }
        bench.post("settings", json!({ "clock_offset_ms": 0 })).await;
        let since = clock::now();
        let effect = transition("start-progress", "");
        assert_eq!(bench.probe(&effect, since).await, Probe::Absent);
        assert_eq!(remote(bench.carry_out(&effect).await), None);
        assert_eq!(bench.probe(&effect, since).await, Probe::Present { remote_id: None });
    }
}

#[tokio::test]
async fn a_sweep_finds_doubles_and_deletes_only_what_nobody_touched() {
    for kind in KINDS {
        let bench = bench(kind).await;
        let since = clock::now();
        for (effect, list) in [(comment(), "comments"), (time(), "worklogs")] {
            let mut ids = Vec::new();
            for _ in 0..3 {
                ids.extend(remote(bench.carry_out(&effect).await));
            }
            let sweep = async |delete| {
                bench.platform.sweep(&deed(&effect), &mark(&effect), since, delete, clock::now()).await.unwrap()
            };
            let younger = ids[1..].to_vec();
            assert_eq!(sweep(false).await, Doubles { younger: younger.clone(), deleted: Vec::new() });
            assert_eq!(bench.count(list).await, 3);
            assert_eq!(sweep(true).await, Doubles { younger: younger.clone(), deleted: younger });
            assert_eq!(sweep(true).await, Doubles::default());
            assert_eq!(bench.effects("ABC-1").await[list][0]["id"].to_string(), ids[0]);
        }
        assert_eq!(sweep_of_transition(&bench, since).await, Doubles::default());
    }
}

async fn sweep_of_transition(bench: &Bench, since: i64) -> Doubles {
    let effect = transition("start-progress", "");
    bench.platform.sweep(&deed(&effect), &mark(&effect), since, true, clock::now()).await.unwrap()
}

#[tokio::test]
async fn a_double_that_somebody_edited_or_that_may_not_go_stays() {
    let bench = bench(Kind::DataCenter).await;
    let since = clock::now();
    let effect = comment();
    let ids: Vec<String> =
        [bench.carry_out(&effect).await, bench.carry_out(&effect).await].into_iter().filter_map(remote).collect();
    let sweep = async || bench.platform.sweep(&deed(&effect), &mark(&effect), since, true, clock::now()).await.unwrap();
    let denied = |granted: bool| json!({ "person": "agent", "permission": "delete_own_comments", "granted": granted });
    bench.post("permissions", denied(false)).await;
    assert_eq!(sweep().await, Doubles { younger: vec![ids[1].clone()], deleted: Vec::new() });
    bench.post("permissions", denied(true)).await;
    let url = format!("http://{}/rest/api/2/issue/ABC-1/comment/{}", bench.sandbox.address, ids[1]);
    let edit = bench.http.put(url).bearer_auth("agent-token").json(&json!({ "body": "edited" }));
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(edit.send().await.unwrap().status().is_success());
    assert_eq!(sweep().await, Doubles { younger: vec![ids[1].clone()], deleted: Vec::new() });
    assert_eq!(bench.count("comments").await, 2);
}

#[tokio::test]
async fn a_person_is_known_by_a_mail_address_that_they_show() {
    for kind in KINDS {
        let bench = bench(kind).await;
        let later = std::cell::Cell::new(clock::now());
        // Who was found is kept for ten minutes.
        let find = async |email: &str| {
            later.set(later.get() + 600_000);
            bench.platform.person(email, later.get()).await.unwrap()
        };
        assert!(matches!(find("ANN@example.org").await, Match::One(person) if person.has("ann@example.org")));
        assert!(matches!(find("nobody@example.org").await, Match::Nobody));
        bench.post("people", json!({ "name": "ann2", "email": "ann@example.org" })).await;
        assert!(matches!(find("ann@example.org").await, Match::Several(2)));
        for name in ["ann", "ann2"] {
            bench.post("people", json!({ "name": name, "email_hidden": true })).await;
        }
        assert!(matches!(find("ann@example.org").await, Match::Hidden(2)));
        bench.post("permissions", json!({ "person": "agent", "permission": "browse_users", "granted": false })).await;
        assert!(matches!(find("bob@example.org").await, Match::Nobody) || kind == Kind::DataCenter);
    }
}

#[tokio::test]
async fn a_token_with_scopes_goes_through_the_gateway() {
    let bench = bench(Kind::Cloud).await;
    bench
        .post(
            "people",
            json!({ "name": "robot", "email": "robot@example.org", "token": "robot-token", "scoped": true }),
        )
        .await;
    let effect = comment();
    let site = account(&bench.sandbox, &bench.folder, bench.kind, "robot", "");
    let attempt = carry_out(&site, &effect).await;
    Bench::check_halted(&attempt, Reach::Account, "account.scoped = true");
    let gateway = account(&bench.sandbox, &bench.folder, bench.kind, "robot", "scoped = true");
    remote(carry_out(&gateway, &effect).await);
    assert_eq!(bench.asked("GET", "/_edge/tenant_info").await, 1);
    assert!(bench.asked("POST", "/ex/jira/").await == 1);
}

fn assign(to: &str) -> Effect {
    effect(Action::Assign { to: to.to_owned() })
}

fn label(labels: &str) -> Effect {
    effect(Action::Label { labels: labels.split(' ').map(str::to_owned).collect() })
}

fn fix_version(name: &str) -> Effect {
    effect(Action::FixVersion { name: name.to_owned() })
}

#[tokio::test]
async fn f5_an_issue_gets_its_person_its_labels_and_its_version_once_on_both_kinds_of_site() {
    for kind in KINDS {
        let bench = bench(kind).await;
        bench.post("projects", json!({ "key": "ABC", "versions": ["1.0"] })).await;
        bench.post("people", json!({ "name": "bob", "display_name": "Bob Builder" })).await;
        let orders = [
            (assign("me"), "assignee", json!("ann")),
            (assign("Bob@example.org"), "assignee", json!("bob")),
            (assign("ann@example.org"), "assignee", json!("ann")),
            (assign("@bob builder"), "assignee", json!("bob")),
            (label("tested"), "labels", json!(["tested"])),
            (label("tested good"), "labels", json!(["tested", "good"])),
            (fix_version("1.0"), "fixVersions", json!([{ "name": "1.0" }])),
        ];
        for (effect, field, value) in orders {
            assert!(matches!(bench.probe(&effect, clock::now()).await, Probe::Absent), "{effect:?}");
            assert_eq!(remote(bench.carry_out(&effect).await), None);
            assert_eq!(bench.effects("ABC-1").await["fields"][field], value, "{effect:?}");
            assert!(matches!(bench.probe(&effect, clock::now()).await, Probe::Present { remote_id: None }));
            let again = bench.carry_out(&effect).await;
            assert!(
                matches!(&again, Attempt::NoOp { because, .. } if because.contains("ABC-1 is") || because.contains("ABC-1 bears")),
                "{again:?}"
            );
        }
        assert_eq!(bench.asked("PUT", "/issue/").await, 7);
    }
}

#[tokio::test]
async fn f5_whom_nobody_knows_and_what_jira_does_not_take_is_refused_with_the_reason() {
    for kind in KINDS {
        let bench = bench(kind).await;
        for (effect, because) in [
            (assign("nobody@example.org"), "nobody in Jira is nobody@example.org"),
            (assign("an"), "nobody in Jira is an"),
            (fix_version("9.9"), "Version name '9.9' is not valid"),
        ] {
            Bench::check_refused(&bench.carry_out(&effect).await, because);
        }
        bench.fault("edit_issue", json!("apply_then_drop")).await;
        let doubted = bench.carry_out(&label("tested")).await;
        assert!(matches!(doubted, Attempt::Ambiguous { .. }), "{doubted:?}");
        assert!(matches!(bench.probe(&label("tested"), clock::now()).await, Probe::Present { .. }));
    }
}

#[tokio::test]
async fn f13_who_has_linked_an_account_speaks_for_themselves_and_only_their_own_marks_count() {
    for kind in KINDS {
        let bench = bench(kind).await;
        let (ann, bob) = (own(&bench, "ann"), own(&bench, "bob"));
        let effect = comment();
        let since = clock::now();
        remote(carry_out(&ann, &effect).await);
        let comments = bench.effects("ABC-1").await["comments"].clone();
        assert_eq!(comments[0]["author"], "ann");
        assert!(!comments[0].to_string().contains('—'), "nobody is named: {comments}");
        let probe =
            async |platform: &Platform| platform.probe(&deed(&effect), &mark(&effect), since, clock::now()).await;
        assert!(matches!(probe(&ann).await, Probe::Present { .. }));
        assert!(matches!(probe(&bob).await, Probe::Absent), "what another account says proves nothing");
        assert!(matches!(probe(&bench.platform).await, Probe::Absent));
        let theirs = Effect { pusher: "Bob".to_owned(), ..comment_of("words of Ann") };
        remote(carry_out(&bob, &theirs).await);
        let said = bench.effects("ABC-1").await["comments"][1].clone();
        assert_eq!(said["author"], "bob");
        assert!(said.to_string().contains("— Ann Example, commit 1a2b3c4 in team/tool"), "{said}");
    }
}

#[test]
fn f13_what_cannot_open_an_account_is_told_before_jira_is_asked() {
    let check = |kind: &str, email: Option<&str>, token: &str, scoped: bool, complaint: &str| {
        let of_kind = match kind {
            "cloud" => "client_id = 'i'\ncredential = 'x'",
            _ => "kind = 'data-center'\n[account]\ncredential = 'x'",
        };
        let settings: Settings = toml::from_str(&format!("name = 'a'\nurl = 'https://a.example'\n{of_kind}")).unwrap();
        let opener = Opener { email: email.map(str::to_owned), token: token.to_owned().into(), scoped };
        let said = Platform::of(&settings, &opener).map(drop).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(said.is_empty(), complaint.is_empty(), "{said}");
        assert!(said.contains(complaint), "{said} lacks {complaint}");
        assert!(token.is_empty() || !said.contains(token), "{said}");
    };
    check("cloud", Some("a@b.example"), "t0ken", false, "");
    check("cloud", None, "t0ken", false, "the mail address is missing");
    check("cloud", Some("a:b@c.example"), "t0ken", false, "the mail address is none");
    check("cloud", Some("a@b.example"), "", false, "the token is empty");
    check("cloud", Some("a@b.example"), "two words", false, "holds a blank");
    check("data-center", None, "t0ken", false, "");
    check("data-center", Some("a@b.example"), "t0ken", false, "is for Cloud");
    check("data-center", None, "t0ken", true, "no scopes on Data Center");
}

#[tokio::test]
async fn g1_where_the_author_gives_an_order_exactly_one_person_in_jira_has_the_address() {
    for kind in KINDS {
        let bench = bench(kind).await;
        let by = |email: &str| Effect {
            by_author: true,
            author: Ident { email: email.into(), ..comment().author },
            ..comment_of(email)
        };
        remote(bench.carry_out(&by("Ann@example.org")).await);
        remote(bench.carry_out(&by("ann@EXAMPLE.org")).await);
        assert_eq!(bench.asked("GET", "/user/search").await, 1, "who was found is kept");
        Bench::check_refused(
            &bench.carry_out(&by("an@example.org")).await,
            "nobody in Jira shows the author's address",
        );
        bench.post("people", json!({ "name": "eve", "email": "bob@example.org" })).await;
        Bench::check_refused(
            &bench.carry_out(&by("bob@example.org")).await,
            "2 people in Jira have the author's address",
        );
        assert_eq!(bench.count("comments").await, 2);
    }
}
