//! A site that is unlinked: Jira forgets all that it was told, nothing follows, and nothing is left here.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::{World, wait_until_or};
use crate::hook::{calm_world, met};
use crate::smart;

/// Lets the site's secret lie where `agent link` puts it.
fn with_own_secret(world: &World) {
    let folder = world.folder.join("credentials");
    std::fs::create_dir(&folder).unwrap();
    std::fs::rename(world.folder.join("secret"), folder.join("jira")).unwrap();
    std::fs::set_permissions(folder.join("jira"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = config(world).replace("secret_file = \"secret\"", "secret_file = \"credentials/jira\"");
    std::fs::write(world.config(), config).unwrap();
}

fn config(world: &World) -> String {
    std::fs::read_to_string(world.config()).unwrap()
}

/// Whether the word did what it should, and all it said.
fn run(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let output = world.agent(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// The requests that told Jira something, or had it forget everything, in their order.
fn told(world: &World) -> Vec<String> {
    let all = world.sandbox.requests("/bulk");
    let shown = |one: &Value| format!("{} {}", one["method"].as_str().unwrap(), one["path"].as_str().unwrap());
    all.iter().map(|one| shown(one).split('?').next().unwrap().rsplit_once('/').unwrap().1.to_owned()).collect()
}

#[test]
fn a17_a_site_goes_with_its_accounts_and_all_that_jira_was_told() {
    let world = calm_world();
    with_own_secret(&world);
    let before = config(&world);
    let _daemon = world.daemon();
    let (repository, clone, _first) = met(&world, "tool");
    clone.commit("ABC-2 more");
    clone.push(&["origin", "HEAD:main", "HEAD:refs/heads/ABC-3"]);
    world.wait_for_jira(2, 1);
    world.wait_until_idle();

    let (code, said) = run(&world, &["link", "--remove", "--dry-run"]);
    assert_eq!(code, Some(1), "{said}");
    let preview = "Jira was told of 2 commits and 1 branches in 1 repositories, and is to forget them";
    for part in [preview, "accounts: main", "credentials/jira is deleted", "--accounts takes it out first"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(run(&world, &["link", "--remove", "--accounts", "--dry-run"]).0, Some(0));
    let (code, said) = run(&world, &["link", "--remove", "jira", "--accounts"]);
    assert!(code == Some(1) && said.contains("say --yes"), "{said}");
    let (_, said) = run(&world, &["link", "--remove", "other", "--yes"]);
    assert!(said.contains("there is no site called other; there are: jira"), "{said}");
    assert_eq!(config(&world), before);
    assert!(world.sandbox.requests("/bulkByProperties").is_empty());

    let said = world.agent_says(&["link", "--remove", &world.sandbox.url(), "--accounts", "--yes"]);
    assert!(said.contains("says that nothing is left") && said.contains("site jira is unlinked"), "{said}");
    let state = world.sandbox.state();
    assert_eq!(state["repositories"], json!({}), "{state}");
    assert_eq!(world.sandbox.requests("/bulkByProperties").len(), 1);
    assert!(!config(&world).contains("[[site]]") && !config(&world).contains("[[account]]"), "{}", config(&world));
    assert!(!world.folder.join("credentials/jira").exists());
    assert!(!repository.path.join("hooks/post-receive").exists());
    // Nothing comes after it, also from a daemon that begins anew.
    let before = told(&world).len();
    clone.commit("ABC-4 afterwards");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_until_idle();
    assert_eq!(told(&world).len(), before);
}

#[test]
fn a17_what_is_on_its_way_comes_before_the_end_and_what_waits_never_does() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (_repository, clone, _first) = met(&world, "tool");
    world.sandbox.misbehave(json!([{"on": "bulk", "times": 1, "act": {"delay": {"ms": 6000}}}]));
    let before = told(&world).len();
    clone.commit("ABC-2 on its way");
    clone.push(&["origin", "HEAD:main"]);
    let lent = || {
        let store = rusqlite::Connection::open(world.state().join("queue.db")).unwrap();
        store.query_row("SELECT count(*) FROM lane WHERE lease_until > 0", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    wait_until_or("it is on its way", || lent() == 1, || world.log());
    let late = clone.commit("ABC-3 comes too late");
    clone.push(&["origin", "HEAD:main"]);
    wait_until_or("it waits", || world.owed("commit").contains(&late), || world.log());
    let said = world.agent_says(&["link", "--remove", "--accounts", "--yes"]);
    assert!(said.contains("more wait, and are not told"), "{said}");
    wait_until_or(
        "Jira has nothing",
        || world.sandbox.state()["pending"] == 0 && world.sandbox.state()["repositories"] == json!({}),
        || format!("{}\n{}", world.sandbox.state()["repositories"], world.log()),
    );
    assert_eq!(&told(&world)[before..], ["bulk", "bulkByProperties"], "{}", world.log());
    let rows = world.queue(&[]);
    assert!(rows.iter().all(|row| row["state"] == "settled"), "{rows:?}");
    assert!(rows.iter().any(|row| row["note"] == "the site was unlinked"), "{rows:?}");
}

#[test]
fn a17_where_jira_cannot_be_asked_the_site_stays_and_goes_on() {
    let world = calm_world();
    let mut daemon = world.daemon();
    let (_repository, clone, _first) = met(&world, "tool");
    let only_site = config(&world);
    // Linked by nobody, so that only the site is in question.
    world.agent_says(&["account", "remove", "main", "--keep-in-jira", "--yes"]);
    let without_account = config(&world);
    world.sandbox.misbehave(json!([{"on": "any", "act": {"status": {"code": 500}}}]));
    let (code, said) = run(&world, &["link", "--remove", "--yes"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("site jira was not unlinked") && said.contains("--keep-in-jira"), "{said}");
    assert_eq!(config(&world), without_account);
    world.sandbox.behave();
    std::fs::write(world.config(), &only_site).unwrap();
    world.agent_says(&["daemon", "reload"]);
    world.agent_says(&["install", world.folder.join("repositories/tool.git").to_str().unwrap()]);
    clone.commit("ABC-2 goes on");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_jira(2, 0);
    daemon.stop();
    let (code, said) = run(&world, &["link", "--remove", "--accounts", "--yes"]);
    assert!(code == Some(69) && said.contains("the daemon is not running"), "{said}");
    let (code, said) = run(&world, &["account", "remove", "main", "--yes"]);
    assert!(code == Some(69) && said.contains("the daemon is not running"), "{said}");
    assert_eq!(config(&world), only_site);
    let _daemon = world.daemon();
    let said = world.agent_says(&["link", "--remove", "--accounts", "--keep-in-jira", "--yes"]);
    assert!(said.contains("keeps what it knows"), "{said}");
    assert!(!config(&world).contains("[[site]]"));
    world.wait_for_jira(2, 0);
}

#[test]
fn a17_open_commands_end_with_their_site_and_come_back_with_none() {
    let world = smart::world("policy = \"bot\"");
    let (_daemon, repository, clone) = smart::start(&world);
    world.sandbox.misbehave(json!([{"on": "platform", "act": {"status": {"code": 503}}}]));
    clone.commit_by("ann@example.org", "ABC-1 #comment never said");
    clone.push(&["origin", "HEAD:main"]);
    wait_until_or("it is taken", || world.effects(&["list"]).len() == 1, || world.log());
    world.wait_for_jira(1, 0);
    let linked = config(&world);
    let said = world.agent_says(&["link", "--remove", "--accounts", "--yes"]);
    assert!(said.contains("1 commands are open"), "{said}");
    let effects = world.effects(&["list"]);
    assert!(["refused", "parked"].contains(&effects[0]["state"].as_str().unwrap()), "{effects:?}");
    assert_eq!(effects[0]["note"], "the site was unlinked");
    // Linked again, it is told what is there, and obeys nothing of before.
    world.sandbox.behave();
    std::fs::write(world.config(), linked).unwrap();
    world.agent_says(&["daemon", "reload"]);
    world.agent_says(&["install", repository.path.to_str().unwrap()]);
    clone.commit_by("ann@example.org", "ABC-2 #comment said");
    clone.push(&["origin", "HEAD:main"]);
    smart::wait_for(&world, "ABC-2", [1, 0, 0]);
    assert_eq!(smart::counts(&world, "ABC-1"), [0, 0, 0]);
}
