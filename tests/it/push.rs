//! A push reaches Jira, and says so.

use crate::harness::{World, shown, wait_until};

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

#[test]
fn events_wait_until_a_jira_is_linked() {
    let world = World::new();
    let linked = std::fs::read_to_string(world.config()).unwrap();
    let unlinked = format!(
        "{}\n[[account]]\nname = \"main\"\nroot = \"repositories\"\n",
        linked.split("[[site]]").next().unwrap()
    );
    std::fs::write(world.config(), unlinked).unwrap();
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    clone.commit("ABC-1 begin");
    assert!(clone.push(&["origin", "HEAD:main"]).contains("queued for Jira"));
    wait_until("it waits", || world.agent_says(&["queue", "events"]).contains("no site is linked"));
    std::fs::write(world.config(), linked).unwrap();
    world.wait_for_jira(1, 0);
}

#[test]
fn t21_history_that_was_there_before_is_not_told_by_the_first_push() {
    let world = World::new();
    let _daemon = world.daemon();
    let repository = world.plain_repository("tool", &[]);
    let clone = world.clone_of(&repository, "work");
    clone.commit("ABC-1 of old");
    clone.push(&["origin", "HEAD:main"]);
    world.agent_says(&["install", repository.path.to_str().unwrap()]);
    clone.commit("ABC-2 of today");
    let said = clone.push(&["origin", "HEAD:main", "HEAD:refs/heads/other"]);
    assert!(said.contains("1 commit queued") && !said.contains("ABC-1"), "{said}");
    world.wait_for_jira(1, 0);
    world.wait_until_idle();
    assert_eq!(shown(&world.sandbox.state(), "commits")[0]["keys"][0], "ABC-2");
}

#[test]
fn c9_a_deleted_branch_leaves_jira_and_a_forgotten_repository_too() {
    let world = World::new();
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main", "HEAD:refs/heads/ABC-2-x"]);
    world.wait_for_jira(1, 1);
    clone.push(&["origin", ":ABC-2-x"]);
    world.wait_for_jira(1, 0);
    world.agent_says(&["uninstall", "--forget", repository.path.to_str().unwrap()]);
    world.wait_for_jira(0, 0);
}

#[test]
fn f22_f23_what_a_lost_store_forgot_is_found_again() {
    let world = World::new();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let mut daemon = world.daemon();
    clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_jira(1, 0);
    assert_eq!(daemon.stop(), Some(0));
    std::fs::remove_dir_all(world.state()).unwrap();
    let mut daemon = world.daemon();
    clone.commit("ABC-2 go on");
    clone.push(&["origin", "HEAD:refs/heads/other"]);
    world.wait_for_jira(2, 0);
    assert_eq!(daemon.stop(), Some(0));
    let _daemon = world.daemon();
    wait_until("the forgotten commit is known", || world.agent(&["why", "ABC-1"]).output().unwrap().status.success());
}
