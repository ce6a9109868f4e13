//! A push reaches Jira, and says so.

use crate::harness::{World, shown};

#[test]
fn t1_k11_a_push_says_what_it_links_and_jira_shows_it() {
    let world = World::new();
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let first = clone.commit("ABC-1 begin\n\nas UTF-8");
    let said = clone.push(&["origin", "HEAD:main", "HEAD:refs/heads/feature/ABC-2-x"]);
    assert!(said.contains("remote: jira: 1 commit, 1 branch queued for Jira"), "{said}");
    assert!(said.contains(&format!("ABC-1  {}/browse/ABC-1", world.sandbox.url())), "{said}");
    assert!(said.contains("not linked: UTF-8 (no such project)"), "{said}");
    world.wait_for_jira(1, 1);
    let commit = &shown(&world.sandbox.state(), "commits")[0];
    assert_eq!(commit["data"]["id"], first.as_str());
    assert_eq!(commit["keys"][0], "ABC-1");
}

#[test]
fn c16_f05_a_push_without_the_daemon_waits_in_the_spool_and_arrives_once() {
    let world = World::new();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    clone.commit("ABC-1 begin");
    let said = clone.push(&["origin", "HEAD:main"]);
    assert!(said.contains("kept for Jira until the daemon is back (the daemon is not running)"), "{said}");
    let _daemon = world.daemon();
    world.wait_for_jira(1, 0);
    world.wait_until_idle();
    assert_eq!(world.sandbox.requests("/bulk").len(), 1);
}
