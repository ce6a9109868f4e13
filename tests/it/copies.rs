//! Repositories that were copied as folders are: each has an identity of its own, and the first keeps the one it had.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use crate::accounts::{bare, config, push, wait_for_link};
use crate::harness::{Daemon, Process, Repository, World, success, wait_until, wait_until_or};
use crate::hook::{calm_world, is_root, met, skipped};

fn id(repository: &Repository<'_>) -> String {
    repository.git(&["config", "agent.repoid"])
}

/// Copies a repository with all that is in it.
fn copy<'w>(repository: &Repository<'w>, name: &str) -> Repository<'w> {
    let path = repository.path.with_file_name(name);
    success(repository.world.command("cp").arg("-rp").arg(&repository.path).arg(&path));
    Repository { world: repository.world, path }
}

/// How Jira knows the repository of the newest commit with this message.
fn told_of(world: &World, commit: &str) -> String {
    let rows = world.queue(&["--limit", "1000"]);
    let row = rows.iter().rfind(|row| row["id"] == commit).unwrap();
    row["repository"].as_str().unwrap().to_owned()
}

#[test]
fn f67_a_copy_that_is_pushed_to_has_an_identity_of_its_own_from_then_on() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let before = id(&repository);
    let other = copy(&repository, "copy.git");
    let work = world.clone_of(&other, "copy-work");
    let second = work.commit("ABC-2 in the copy");
    let answer = work.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("jira: 1 commit queued"), "only what is new to it: {answer}");
    assert_eq!(id(&repository), before);
    assert_ne!(id(&other), before);
    let third = clone.commit("ABC-3 in the first");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_owed("commit", &[&first, &second, &third]);
    assert_eq!(told_of(&world, &second), id(&other));
    assert_eq!([told_of(&world, &first), told_of(&world, &third)], [before.clone(), before]);
    // Neither is taken for the other afterwards.
    let _ = world.agent_says(&["install", other.path.to_str().unwrap()]);
    let fourth = work.commit("ABC-4 again");
    work.push(&["origin", "HEAD:main"]);
    world.wait_for_owed("commit", &[&first, &second, &third, &fourth]);
    assert_eq!(told_of(&world, &fourth), told_of(&world, &second));
}

#[test]
fn f67_t10_a_copy_that_appears_is_parted_before_anybody_pushes_and_moving_the_first_away_does_not_change_which_it_is() {
    let world = calm_world();
    let _daemon = world.daemon();
    let tool = bare(&world, "tool.git");
    world.agent_says(&["account", "add", "all", "--root", "srv", "--yes"]);
    push(&world.clone_of(&tool, "a"), "ABC-1 begin");
    wait_for_link(&world, "ABC-1");
    let first = id(&tool);
    let twin = copy(&tool, "twin.git");
    wait_until("the copy has its own", || id(&twin) != first);
    assert_eq!(id(&tool), first);
    // The first moves away and a copy takes its place.
    let moved = Repository { world: &world, path: tool.path.with_file_name("moved.git") };
    fs::rename(&tool.path, &moved.path).unwrap();
    success(world.command("cp").arg("-rp").arg(&moved.path).arg(&tool.path));
    wait_until("the copy has its own", || id(&tool) != first);
    assert_eq!(id(&moved), first);
    push(&world.clone_of(&moved, "b"), "ABC-2 go on");
    wait_for_link(&world, "ABC-2");
    wait_until_or(
        "it is known where it is",
        || world.status()["repositories"].to_string().contains("moved.git"),
        || world.status().to_string(),
    );
}

#[test]
fn f67_a_copy_that_the_daemon_may_not_write_to_is_said_to_be_one_until_its_owner_parts_it() {
    let world = calm_world();
    if !is_root() || world.command("setpriv").arg("--version").output().is_err() {
        return skipped("another user cannot be taken on without root and setpriv");
    }
    let user = Some(12_345);
    let tool = bare(&world, "tool.git");
    world.agent_says(&["account", "add", "all", "--root", "srv", "--yes"]);
    fs::set_permissions(world.folder.join("srv"), fs::Permissions::from_mode(0o755)).unwrap();
    for path in ["", "secret", "config.toml", "home", "state", "spool", "spool/incoming"] {
        let path = world.folder.join(path);
        if path.exists() {
            chown(path, user, user).unwrap();
        }
    }
    assert!(config(&world).contains("auto_link = true"));
    let log = world.folder.join("daemon.log");
    let file = fs::File::create(&log).unwrap();
    let mut command = world.command("setpriv");
    command.args(["--reuid=12345", "--regid=12345", "--clear-groups", env!("CARGO_BIN_EXE_agent"), "daemon", "run"]);
    command.stdout(file.try_clone().unwrap()).stderr(file);
    let _daemon = Daemon { process: Process(command.spawn().unwrap()), log };
    wait_until("the daemon is ready", || world.agent(&["daemon", "status"]).output().unwrap().status.success());
    push(&world.clone_of(&tool, "a"), "ABC-1 begin");
    wait_for_link(&world, "ABC-1");
    let twin = copy(&tool, "twin.git");
    let says = || String::from_utf8_lossy(&world.agent(&["status"]).output().unwrap().stdout).into_owned();
    wait_until_or("it is said", || says().contains("twin.git is a copy of"), says);
    assert!(says().contains("`agent account cover all` by its owner gives it its own"), "{}", says());
    world.agent_says(&["account", "cover", "all"]);
    assert_ne!(id(&twin), id(&tool));
    world.agent_says(&["daemon", "reload"]);
    // Something moves in the folder, and the next look sees.
    fs::create_dir(world.folder.join("srv/other")).unwrap();
    wait_until_or("it is said no more", || !says().contains("is a copy of"), says);
}
