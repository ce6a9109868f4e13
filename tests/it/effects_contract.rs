//! Effects as they are sent, held against Jira's own descriptions of Cloud and of Data Center.
//!
//! The description of Cloud lacks the changelog, so there a transition is not looked for. It lacks the list of comments by
//! their ids too; that is put in as its documentation has it, with comments as the description has them. That of Data
//! Center has the value of a property as a string; the real one takes and gives any JSON, as the documentation of internal
//! comments shows, so that is put right before it is used.

use std::path::Path;
use std::time::Duration;

use git_jira_agent::effect::{Action, Effect};
use git_jira_agent::git::Ident;
use git_jira_agent::queue::{Marked, ReadBack};
use git_jira_agent::send::{Attempt, Deed, Doubles, Manner, Marker, Platform, Probe, Settings};
use serde_json::{Value, json};

use crate::contract::{Prism, ask};
use crate::harness::World;
use crate::jira::world;

/// An account that acts through the checking proxy.
struct Bench<'w> {
    world: &'w World,
    prism: &'w Prism,
    platform: Platform,
}

fn platform(world: &World, prism: &Prism, of_kind: &str) -> Platform {
    std::fs::write(world.folder.join("token"), "agent-token\n").unwrap();
    let url = prism.url();
    let text = format!("name = 'a'\nurl = '{url}'\n{of_kind}\n");
    let settings: Settings = toml::from_str(&text).unwrap();
    Platform::new(&settings, Some(&world.folder)).unwrap()
}

/// Writes a description with what it lacks or has wrong put right, and gives its path.
fn corrected(world: &World, name: &str, correct: impl Fn(&mut Value)) -> Option<String> {
    let given = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/specs").join(name);
    let mut description: Value = serde_json::from_slice(&std::fs::read(given).ok()?).unwrap();
    correct(&mut description);
    let path = world.folder.join("description.json");
    std::fs::write(&path, description.to_string()).unwrap();
    Some(path.to_str().unwrap().to_owned())
}

/// A property has any value.
fn any_property(description: &mut Value) {
    description["components"]["schemas"]["EntityPropertyBean"]["properties"]["value"] = json!({});
}

/// Comments can be had by their ids.
fn comments_by_ids(description: &mut Value) {
    let ids =
        json!({ "type": "array", "items": { "type": "integer", "format": "int64" }, "minItems": 1, "maxItems": 1000 });
    let asked =
        json!({ "type": "object", "required": ["ids"], "additionalProperties": false, "properties": { "ids": ids } });
    let comments = json!({ "type": "array", "items": { "$ref": "#/components/schemas/Comment" } });
    let answer = json!({ "type": "object", "required": ["values"], "properties": { "values": comments } });
    let content = |schema: Value| json!({ "application/json": { "schema": schema } });
    description["paths"]["/rest/api/3/comment/list"] = json!({ "post": {
        "parameters": [{ "name": "expand", "in": "query", "schema": { "type": "string" } }],
        "requestBody": { "required": true, "content": content(asked) },
        "responses": { "200": { "description": "the comments", "content": content(answer) } },
    } });
}

fn now() -> i64 {
    i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

fn effect(action: Action) -> Effect {
    let author =
        Ident { name: b"Ann \"A\" Example".into(), email: b"ann@example.org".into(), at: 1_772_357_400, offset: 90 };
    let (commit, repository) = ("1a2b3c4d5e6f".to_owned(), "r1".to_owned());
    let (issue, pusher) = ("ABC-1".parse().unwrap(), "ann".to_owned());
    Effect { issue, action, ordinal: 0, commit, repository, author, pusher, by_author: false }
}

impl Bench<'_> {
    /// Carries out an order, and looks for it and for its doubles where that is asked for.
    async fn check(&self, action: Action, looked_for: bool) {
        let since = now();
        let (effect, marker) = (effect(action.clone()), Marker::new(&format!("{action:?}"), b"installation"));
        let deed = Deed { effect: &effect, issue: "ABC-1", repository: "t\u{f6}ol" };
        let manner = Manner { resolution: Some("Done"), ..Manner::default() };
        let prepared = self.platform.prepare(&deed, &marker, manner, now()).await.unwrap();
        let attempt = self.platform.send(&prepared, Duration::from_secs(60), now()).await;
        let Attempt::Applied { remote_id, .. } = attempt else {
            panic!("{action:?}: {attempt:?}\n{}", self.prism.complaints().join("\n"))
        };
        if looked_for {
            let probe = self.platform.probe(&deed, &marker, since, now()).await;
            assert_eq!(probe, Probe::Present { remote_id });
            let again = self.platform.send(&prepared, Duration::from_secs(60), now()).await;
            let doubles = self.platform.sweep(&deed, &marker, since, true, now()).await.unwrap();
            match again {
                Attempt::Applied { remote_id: Some(id), .. } => {
                    assert_eq!(doubles, Doubles { younger: vec![id.clone()], deleted: vec![id] });
                }
                _ => assert_eq!(doubles, Doubles::default()),
            }
        }
    }

    async fn check_all(&self, history: bool) {
        let text = "it \"works\" {code}[~ann]{code} \\ \u{1f980} <b>&\n\nh1. x\u{202e}".to_owned();
        self.tell("settings", &json!({ "paced": false }));
        self.platform.myself(now()).await.unwrap();
        self.platform.person("ann@example.org", now()).await.unwrap();
        self.try_all(history).await;
        self.check(Action::Comment { text: text.clone() }, true).await;
        for comment in [String::new(), text.clone()] {
            let spent = "1w 1.5d 20m".parse().unwrap();
            self.check(Action::Time { spent, comment, started: 1_772_357_400_123, offset: 90 }, true).await;
        }
        self.tell("projects", &json!({ "key": "ABC", "type": "service_desk" }));
        self.tell("settings", &json!({ "comment_properties": false }));
        self.check(Action::Comment { text: "inside".to_owned() }, true).await;
        self.platform.reads_back(self.try_all(false).await);
        self.check(Action::Comment { text: "found another way".to_owned() }, true).await;
        let go = |name: &str| Action::Transition { name: name.to_owned(), comment: text.clone() };
        self.check(go("start-progress"), history).await;
        // The history then says of the resolution that it was null, which no description allows.
        self.check(go("resolve"), false).await;
    }

    /// Asks what doctor asks, tries how marks are kept, and gives what was found out.
    async fn try_all(&self, history: bool) -> Vec<ReadBack> {
        self.platform.introduce(now()).await.unwrap();
        for keys in [&[][..], &["ABC".to_owned(), "NO".to_owned()]] {
            assert_eq!(self.platform.projects(keys, now()).await.unwrap()[0].key, "ABC");
        }
        assert_eq!(self.platform.lacks("ABC", now()).await.unwrap(), []);
        let issue = self.platform.issue("ABC-1", now()).await.unwrap();
        assert_eq!(self.platform.present_key("ABC-1", now()).await.unwrap(), "ABC-1");
        if history {
            self.platform.moves(&issue, now()).await.unwrap();
        }
        let mut found = Vec::new();
        for what in [Marked::Comment, Marked::Worklog] {
            let trial = self.platform.try_marks(&issue, what, now()).await;
            let (site, way) = ("a".to_owned(), trial.way());
            assert!(trial.left.is_none() && way.is_some(), "{trial:?}\n{}", self.prism.complaints().join("\n"));
            found.extend(way.map(|way| ReadBack { site, what, way, since: 0 }));
        }
        found
    }

    fn tell(&self, what: &str, body: &Value) {
        let url = self.world.sandbox.url();
        let answer = ask(url.trim_start_matches("http://"), &format!("POST /sandbox/{what} HTTP/1.1"), body);
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    }

    /// Asserts that everything was checked, and that there was nothing to complain of.
    fn finish(&self) {
        assert_eq!(self.prism.complaints(), Vec::<String>::new());
        assert_eq!(self.prism.said().matches("Request received").count(), self.world.sandbox.requests("").len());
    }
}

#[tokio::test]
async fn f1_f2_f3_f4_what_is_sent_to_cloud_is_as_jira_describes_it() {
    let world = world();
    let corrected = corrected(&world, "jira-cloud-platform-v3.openapi.json", comments_by_ids);
    let Some(description) = corrected else { return };
    let Some(prism) = Prism::with(&world, &description) else { return };
    let kind = "client_id = 'x'\ncredential = 'x'\n[account]\nemail = 'agent@example.org'\ncredential = 'token'";
    let bench = Bench { world: &world, prism: &prism, platform: platform(&world, &prism, kind) };
    bench.check_all(false).await;
    bench.finish();
}

#[tokio::test]
async fn f1_f2_f3_f4_what_is_sent_to_data_center_is_as_jira_describes_it() {
    let world = world();
    let corrected = corrected(&world, "jira-data-center-v2.openapi.json", any_property);
    let Some(description) = corrected else { return };
    let Some(prism) = Prism::with(&world, &description) else { return };
    let kind = "kind = 'data-center'\n[account]\ncredential = 'token'";
    let bench = Bench { world: &world, prism: &prism, platform: platform(&world, &prism, kind) };
    bench.check_all(true).await;
    bench.finish();
}
