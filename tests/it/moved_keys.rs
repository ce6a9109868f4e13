//! Issues that moved and projects that were renamed: what names them by an old key is linked all the same.

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::harness::{World, shown, wait_until_or};
use crate::hook::{CALM, skipped};
use crate::smart;

const ACCOUNT: &str = "projects = [\"ABC\"]\n[site.account]\nemail = \"agent@example.org\"\nsecret_file = \"token\"\n";

/// A world whose site has an account that issues can be looked up with.
fn with_account() -> World {
    let world = smart::world("policy = \"off\"");
    world.configure(ACCOUNT, CALM);
    world
}

fn keys_of(world: &World, id: &str) -> Vec<Value> {
    let all = [shown(&world.sandbox.state(), "commits"), shown(&world.sandbox.state(), "branches")].concat();
    let its = all.into_iter().find(|one| one["data"]["id"] == id);
    its.map_or(Vec::new(), |one| one["keys"].as_array().unwrap().clone())
}

#[track_caller]
fn wait_for_keys(world: &World, id: &str, keys: &[&str]) {
    wait_until_or(
        "it is linked",
        || world.sandbox.state()["pending"] == 0 && keys_of(world, id) == keys,
        || format!("{:?} instead of {keys:?}\n{}", keys_of(world, id), world.log()),
    );
}

/// How often issues were asked for by this key.
fn asked(world: &World, key: &str) -> usize {
    world.sandbox.requests(&format!("/rest/api/3/issue/{key}")).len()
}

#[test]
fn e16_what_names_a_moved_issue_by_its_old_key_is_linked_to_it_and_keeps_its_words() {
    let world = with_account();
    let (_daemon, _repository, clone) = smart::start(&world);
    world.sandbox.create_issue("XYZ-1");
    world.sandbox.move_issue("ABC-1", "XYZ-7");
    let first = clone.commit("ABC-1 by its old key, with ABC-2 and ABC-77");
    clone.push(&["origin", "HEAD:main", "HEAD:refs/heads/ABC-1"]);
    wait_for_keys(&world, &first, &["ABC-2", "XYZ-7"]);
    wait_for_keys(&world, "ABC-1", &["XYZ-7"]);
    let commits = shown(&world.sandbox.state(), "commits");
    let data = &commits.iter().find(|one| one["data"]["id"] == first.as_str()).unwrap()["data"];
    assert!(data["message"].as_str().unwrap().starts_with("ABC-1 by its old key"), "{data}");
    let why = world.agent_says(&["why", "ABC-1"]);
    assert!(why.contains("ABC-1 has moved, it is XYZ-7 now at site jira") && why.contains(&first), "{why}");
    let why = world.agent_says(&["why", "XYZ-7"]);
    assert!(why.contains("ABC-1 has moved, it is XYZ-7 now") && why.contains(&first), "{why}");
    // The next one needs no look, and what nobody knows is asked for once.
    let second = clone.commit("ABC-1 ABC-77 once more");
    clone.push(&["origin", "HEAD:main"]);
    wait_for_keys(&world, &second, &["XYZ-7"]);
    assert_eq!((asked(&world, "ABC-1"), asked(&world, "ABC-77"), asked(&world, "ABC-2")), (1, 1, 0));
    // It moves on.
    world.sandbox.move_issue("XYZ-7", "NEW-1");
    let third = clone.commit("ABC-1 and on");
    clone.push(&["origin", "HEAD:main"]);
    wait_for_keys(&world, &third, &["NEW-1"]);
    assert!(world.agent_says(&["why", "ABC-1"]).contains("ABC-1 has moved, it is NEW-1 now"));
}

#[test]
fn e16_a_project_that_was_renamed_is_found_by_its_old_key() {
    let world = with_account();
    let (_daemon, _repository, clone) = smart::start(&world);
    world.sandbox.rename_project("ABC", "TEAM");
    let first = clone.commit("ABC-3 ABC-4 of a project with another name");
    clone.push(&["origin", "HEAD:main"]);
    wait_for_keys(&world, &first, &["TEAM-3", "TEAM-4"]);
    world.agent_says(&["sync", "start", world.folder.join("repositories/tool.git").to_str().unwrap()]);
    wait_until_or(
        "history is read",
        || world.agent_says(&["sync", "status"]).contains("done"),
        || world.agent_says(&["sync", "status"]),
    );
    world.wait_until_idle();
    wait_for_keys(&world, &first, &["TEAM-3", "TEAM-4"]);
}

#[test]
fn e16_f51_looking_keys_up_is_bounded_and_waits_when_jira_asks_for_it() {
    let world = with_account();
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return skipped("no clock can be moved here") };
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    world.sandbox.move_issue("ABC-1", "XYZ-7");
    world.sandbox.misbehave(
        json!([{"on": "read_issue", "times": 1, "act": {"rate": {"reason": "jira-burst-based", "retry_after": "30"}}}]),
    );
    let first = clone.commit("ABC-1 while Jira is busy");
    clone.push(&["origin", "HEAD:main"]);
    wait_until_or("it was asked for", || asked(&world, "ABC-1") == 1, || world.log());
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!((asked(&world, "ABC-1"), keys_of(&world, &first).len()), (1, 0));
    clock.set("+1m");
    wait_for_keys(&world, &first, &["XYZ-7"]);
    assert_eq!(asked(&world, "ABC-1"), 2);
}

#[test]
fn e16_without_an_account_an_old_key_waits_as_an_unknown_one_does() {
    let world = crate::hook::calm_world();
    let (_daemon, _repository, clone) = smart::start(&world);
    world.sandbox.move_issue("ABC-1", "XYZ-7");
    let first = clone.commit("ABC-1 by its old key");
    clone.push(&["origin", "HEAD:main"]);
    wait_until_or("it waits", || world.queue(&["--state", "unknown"]).len() == 1, || format!("{:?}", world.queue(&[])));
    assert!(world.agent_says(&["why", &first]).contains("Jira does not know ABC-1"));
    assert!(world.sandbox.requests("/rest/api/").is_empty());
}
