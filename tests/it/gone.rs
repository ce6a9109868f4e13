//! Repositories that move, or are gone from the disk.

use std::fs;
use std::io::Write;

use crate::harness::{Repository, World, shown, wait_until_or};
use crate::hook::{calm_world, met};

/// What the daemon says is wrong with each repository.
fn troubles(world: &World) -> String {
    let status = world.status();
    status["repositories"].as_array().unwrap().iter().map(|row| format!("{row}\n")).collect()
}

/// A repository that a commit was pushed to.
fn pushed<'w>(world: &'w World, name: &str) -> Repository<'w> {
    let repository = world.repository(name);
    let clone = world.clone_of(&repository, name);
    clone.commit(&format!("ABC-1 begin {name}"));
    clone.push(&["origin", "HEAD:main"]);
    repository
}

#[track_caller]
fn wait_for_trouble(world: &World, what: &str) {
    wait_until_or("the trouble is told", || troubles(world).contains(what), || troubles(world));
}

fn append(world: &World, line: &str) {
    let mut config = fs::OpenOptions::new().append(true).open(world.config()).unwrap();
    writeln!(config, "{line}").unwrap();
}

#[test]
fn b16_a_repository_that_is_gone_is_said_to_be_and_leaves_jira_when_a_person_says_so() {
    let world = calm_world();
    let daemon = world.daemon();
    let stays = pushed(&world, "stays");
    let gone = pushed(&world, "gone");
    world.wait_for_jira(2, 0);
    fs::remove_dir_all(&gone.path).unwrap();
    let daemon = world.restarted(daemon);
    wait_for_trouble(&world, "is not a git repository");
    assert!(!troubles(&world).contains("it is gone"), "{}", troubles(&world));
    let _daemon = world.restarted(daemon);
    wait_for_trouble(&world, "it is gone since");
    world.wait_for_jira(2, 0);
    let path = stays.path.to_str().unwrap();
    let refused = world.agent(&["forget", path]).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("still there"), "{refused:?}");
    assert!(!world.agent(&["forget", "/no/such.git"]).output().unwrap().status.success());
    assert!(world.agent_says(&["forget", gone.path.to_str().unwrap()]).contains("1 sites were told"));
    world.wait_for_jira(1, 0);
    assert!(!troubles(&world).contains("gone.git"), "{}", troubles(&world));
}

#[test]
fn b16_f67_a_repository_that_is_gone_is_forgotten_by_itself_where_that_is_wished_but_not_a_disk_that_is_away() {
    let world = calm_world();
    append(&world, "forget_deleted = true");
    let daemon = world.daemon();
    let stays = pushed(&world, "stays");
    let gone = pushed(&world, "gone");
    world.wait_for_jira(2, 0);
    let (root, away) = (world.folder.join("repositories"), world.folder.join("away"));
    fs::rename(&root, &away).unwrap();
    let daemon = world.restarted(world.restarted(daemon));
    wait_for_trouble(&world, "is not a git repository");
    // The same as an empty folder where the disk is mounted.
    fs::create_dir(&root).unwrap();
    let daemon = world.restarted(world.restarted(daemon));
    world.wait_until_idle();
    world.wait_for_jira(2, 0);
    fs::remove_dir(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    fs::remove_dir_all(&gone.path).unwrap();
    // Another one in its place is another one.
    let anew = world.repository("gone");
    let clone = world.clone_of(&anew, "anew");
    let daemon = world.restarted(daemon);
    let new = clone.commit("ABC-7 anew");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_jira(3, 0);
    let daemon = world.restarted(daemon);
    world.wait_for_jira(2, 0);
    let shows_new = shown(&world.sandbox.state(), "commits").iter().any(|one| one["data"]["id"] == new.as_str());
    assert!(shows_new && stays.path.exists());
    // Once is enough.
    let _daemon = world.restarted(daemon);
    world.wait_until_idle();
    let deleted = world.sandbox.requests("/repository/").len();
    assert_eq!(deleted, 1);
}

#[test]
fn c19_f67_a_repository_that_moved_within_its_account_is_followed_without_a_push() {
    let world = calm_world();
    let daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let second = clone.commit("ABC-2 elsewhere");
    let moved = world.folder.join("repositories/team/renamed.git");
    fs::create_dir(moved.parent().unwrap()).unwrap();
    fs::rename(&repository.path, &moved).unwrap();
    let unseen = "--receive-pack=git -c core.hooksPath=/dev/null receive-pack";
    clone.push(&[unseen, moved.to_str().unwrap(), "HEAD:main"]);
    let _daemon = world.restarted(daemon);
    world.wait_for_owed("commit", &[&first, &second]);
    world.wait_for_jira(2, 0);
    let state = world.sandbox.state();
    let repositories: Vec<_> = state["repositories"].as_object().unwrap().values().collect();
    assert_eq!(repositories.len(), 1, "{repositories:?}");
    assert_eq!(repositories[0]["facts"]["name"], "team/renamed");
    assert!(troubles(&world).contains("team/renamed.git"), "{}", troubles(&world));
}
