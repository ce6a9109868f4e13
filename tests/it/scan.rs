//! What no hook told, where only the owner of the repositories can see it: `agent scan`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::Value;

use crate::accounts::run;
use crate::direct::feed;
use crate::harness::{Daemon, Process, Repository, World, wait_until};
use crate::hook::{calm_world, is_root, met, skipped};

/// Pushes past the hooks of the repository.
fn push_unseen(clone: &Repository<'_>, arguments: &[&str]) {
    clone.push(&[&["--receive-pack=git -c core.hooksPath=/dev/null receive-pack"], arguments].concat());
}

#[track_caller]
fn scan(world: &World, words: &[&str]) -> Value {
    let said = world.agent_says(&[&["scan", "--json"], words].concat());
    let all: Value = serde_json::from_str(&said).unwrap();
    assert!(all.as_array().unwrap().iter().all(|one| one["because"].is_null()), "{all}");
    all
}

fn found(world: &World) -> usize {
    world.events().iter().filter(|event| event["kind"] == "found").count()
}

#[test]
fn c19_what_moved_unseen_is_told_by_its_owner_once_and_orders_nothing() {
    let world = calm_world();
    let daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let path = repository.path.to_str().unwrap();
    // What the hook told of is no news.
    assert_eq!(scan(&world, &[path])[0]["commits"], 0);
    world.wait_until_idle();
    let second = clone.commit("ABC-2 #comment unseen");
    push_unseen(&clone, &["origin", "HEAD:main", "HEAD:ABC-6-new"]);
    let trial = world.agent_says(&["scan", "main", "--dry-run"]);
    assert!(trial.contains("1 repositories were looked at, in 1 of them refs have moved"), "{trial}");
    assert!(trial.contains("tool: 2 refs, 1 new commits: told to nobody yet"), "{trial}");
    let said = world.agent_says(&["scan"]);
    assert!(said.contains("tool: 2 refs, 1 new commits: handed to the daemon"), "{said}");
    world.wait_for_owed("commit", &[&first, &second]);
    world.wait_for_jira(2, 1);
    assert!(world.agent_says(&["scan"]).contains("in 0 of them refs have moved"));
    repository.git(&["update-ref", "-d", "refs/heads/ABC-6-new"]);
    assert_eq!(scan(&world, &[])[0]["refs"], 1);
    world.wait_for_jira(2, 0);
    assert!(world.sandbox.issue("ABC-2")["comments"].as_array().is_none_or(Vec::is_empty));

    // A look that is cut off before it is remembered finds the same, which is the same event.
    let mut daemon = daemon;
    daemon.stop();
    let third = clone.commit("ABC-3 unseen while nobody is there");
    push_unseen(&clone, &["origin", "HEAD:main"]);
    let before = fs::read(repository.path.join("agent/scanned")).unwrap();
    assert_eq!(scan(&world, &[])[0]["handed"], "spool");
    let told = fs::read(repository.path.join("agent/told")).unwrap();
    fs::write(repository.path.join("agent/scanned"), before).unwrap();
    fs::write(repository.path.join("agent/told"), &told[..told.len() - 20]).unwrap();
    assert_eq!(scan(&world, &[])[0]["commits"], 1);
    assert_eq!(fs::read_dir(world.spool().join("incoming")).unwrap().count(), 1);
    let events = || found(&world);
    let _daemon = world.daemon();
    world.wait_for_owed("commit", &[&first, &second, &third]);
    world.wait_until_idle();
    assert!(events() <= 5, "{:?}", world.events());
}

#[test]
fn c19_a_look_that_finds_much_is_told_in_frames_that_fit() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let mut commits = vec![first];
    let long = "words ".repeat(4_000);
    for number in 0..80 {
        commits.push(clone.commit(&format!("ABC-2 {number}\n\n{long}")));
    }
    push_unseen(&clone, &["origin", "HEAD:main"]);
    let tip = commits.last().unwrap();
    let input: String = (0..130).map(|number| format!("create refs/heads/ABC-3-b{number} {tip}\n")).collect();
    assert!(feed(&mut repository.command(&["update-ref", "--stdin"]), input.as_bytes()).status.success());
    let seen = scan(&world, &["main"]);
    assert_eq!((&seen[0]["refs"], &seen[0]["commits"]), (&Value::from(131), &Value::from(80)));
    let expected: Vec<&str> = commits.iter().map(String::as_str).collect();
    world.wait_for_owed("commit", &expected);
    wait_until("all branches are owed", || world.owed("branch").len() == 130);
    assert!(found(&world) >= 4, "{:?}", world.events());
}

#[test]
fn c19_h08_where_the_daemon_may_not_read_its_owner_tells_it_all_that_moved() {
    let world = calm_world();
    if !is_root() || world.command("setpriv").arg("--version").output().is_err() {
        return skipped("another user cannot be taken on without root and setpriv");
    }
    let (user, repositories) = (Some(12_345), world.folder.join("repositories"));
    fs::set_permissions(&repositories, fs::Permissions::from_mode(0o700)).unwrap();
    for path in [world.folder.clone(), world.folder.join("secret"), world.config(), world.folder.join("home")] {
        chown(path, user, user).unwrap();
    }
    let log = world.folder.join("daemon.log");
    let file = fs::File::create(&log).unwrap();
    let mut command = world.command("setpriv");
    command.args(["--reuid=12345", "--regid=12345", "--clear-groups", env!("CARGO_BIN_EXE_agent"), "daemon", "run"]);
    command.stdout(file.try_clone().unwrap()).stderr(file);
    let _daemon = Daemon { process: Process(command.spawn().unwrap()), log };
    wait_until("the daemon is ready", || world.agent(&["daemon", "status"]).output().unwrap().status.success());
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let first = clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_owed("commit", &[&first]);
    let second = clone.commit("ABC-2 unseen");
    push_unseen(&clone, &["origin", "HEAD:main", "HEAD:ABC-6-new"]);
    assert_eq!(scan(&world, &[])[0]["handed"], "daemon");
    world.wait_for_owed("commit", &[&first, &second]);
    world.wait_for_jira(2, 1);
    world.wait_until_idle();
    // All of it came along: nothing is tried again because the daemon cannot look.
    assert!(world.events().iter().all(|event| event["state"] == "done"), "{:?}", world.events());
    repository.git(&["update-ref", "-d", "refs/heads/ABC-6-new"]);
    scan(&world, &[]);
    world.wait_for_jira(2, 0);
}

#[test]
fn c19_what_cannot_be_looked_at_is_named_and_the_others_go_on() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (_repository, clone, first) = met(&world, "tool");
    let plain = world.plain_repository("plain", &[]);
    let second = clone.commit("ABC-2 unseen");
    push_unseen(&clone, &["origin", "HEAD:main"]);
    let own = clone.path.to_str().unwrap();
    let (done, said) = run(&world, &["scan", plain.path.to_str().unwrap(), own, "main"]);
    assert!(!done && said.contains("plain: 0 refs, 0 new commits: not told: it has no hooks of ours"), "{said}");
    assert!(said.contains("not told: it lies in no account"), "{said}");
    assert!(said.contains("tool: 1 refs, 1 new commits: handed to the daemon"), "{said}");
    world.wait_for_owed("commit", &[&first, &second]);
    let (done, said) = run(&world, &["scan", "nowhere"]);
    assert!(!done && said.contains("nowhere is no account and no repository"), "{said}");
}
