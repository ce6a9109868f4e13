//! What the daemon knows of issues, and how people ask it.

use serde_json::{Value, json};

use crate::harness::{World, success};
use crate::smart;

/// A world whose account may read issues, with a clone whose branch is named after one.
fn world() -> World {
    let world = smart::world("policy = \"bot\"");
    world.sandbox.person(json!({"name": "mia", "email": "mia@example.org", "display_name": "Mia Example"}));
    let edit = json!({"key": "ABC-1", "summary": "The till rings", "type": "Bug", "assignee": "mia"});
    world.sandbox.edit_issue(edit);
    world
}

#[track_caller]
fn issues(world: &World, arguments: &[&str]) -> Vec<Value> {
    let output = world.agent(&[&["issue", "--json"], arguments].concat()).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// How often issues were looked up by their keys.
fn looks(world: &World) -> usize {
    world.sandbox.requests("/issue/bulkfetch").len()
}

#[test]
fn k6_the_issue_of_the_branch_is_shown_with_its_page() {
    let world = world();
    let (_daemon, _repository, clone) = smart::start(&world);
    clone.git(&["checkout", "--quiet", "-b", "fix/abc-1-till"]);
    let shown = success(world.agent(&["issue"]).current_dir(&clone.path));
    assert!(shown.starts_with("ABC-1  Bug, To Do, Mia Example  The till rings"), "{shown}");
    assert!(shown.contains(&format!("{}/browse/ABC-1", world.sandbox.url())), "{shown}");
    let address = success(world.agent(&["open", "--print"]).current_dir(&clone.path));
    assert_eq!(address.trim(), format!("{}/browse/ABC-1", world.sandbox.url()));
}

#[test]
fn e16_a_key_that_an_issue_once_had_leads_to_it() {
    let world = world();
    let _daemon = world.daemon();
    world.sandbox.move_issue("ABC-1", "NEW-7");
    let found = issues(&world, &["abc-1", "ABC-2"]);
    assert_eq!((&found[0]["asked"], &found[0]["issue"]["key"]), (&json!("ABC-1"), &json!("NEW-7")), "{found:?}");
    assert_eq!(found[1]["issue"]["key"], "ABC-2", "{found:?}");
    let shown = world.agent_says(&["issue", "ABC-1"]);
    assert!(shown.starts_with("NEW-7 (was ABC-1)"), "{shown}");
}

#[test]
fn k13_what_was_seen_is_known_without_jira_and_what_was_not_is_said_to_be_unknown() {
    let world = world();
    let daemon = world.daemon();
    let output = world.agent(&["issue", "ABC-1", "ABC-77"]).output().unwrap();
    assert!(!output.status.success(), "one of the two does not exist");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("ABC-77  Jira has no such issue"), "{said}");
    assert_eq!(looks(&world), 1);
    issues(&world, &["ABC-1"]);
    assert_eq!(looks(&world), 1, "what was seen a moment ago is not asked again");
    let _daemon = world.restarted(daemon);
    world.sandbox.misbehave(json!([{"on": "platform", "act": {"status": {"code": 503}}}]));
    let found = issues(&world, &["ABC-1", "ABC-2"]);
    assert_eq!(found[0]["issue"]["summary"], "The till rings", "{found:?}");
    assert_eq!(found[1]["found"], Value::Null, "not to know is not to be missing: {found:?}");
    assert!(found[1]["because"].as_str().unwrap().contains("503"), "{found:?}");
    let known = issues(&world, &["--known"]);
    assert_eq!(known.len(), 1, "{known:?}");
}

#[test]
fn k4_a_persons_own_open_issues_are_listed() {
    let world = world();
    let _daemon = world.daemon();
    for (key, status) in [("ABC-3", "In Progress"), ("ABC-4", "Done")] {
        world.sandbox.edit_issue(json!({"key": key, "status": status, "assignee": "agent"}));
    }
    let mine: Vec<Value> = issues(&world, &["--mine"]);
    let keys: Vec<&Value> = mine.iter().map(|one| &one["issue"]["key"]).collect();
    assert_eq!(keys, ["ABC-3"], "{mine:?}");
}
