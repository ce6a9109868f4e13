//! What leaves a developer's clone and what does not, and how it gets there.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{PATIENCE, Repository, Sandbox, World, wait_until, wait_until_or};

/// A clone with hooks of a bare repository without.
fn clone<'w>(world: &'w World, more: &[&str]) -> Repository<'w> {
    let bare = world.plain_repository("tool", &[]);
    let clone = world.clone_of(&bare, "work");
    world.agent_says(&[&["install", clone.path.to_str().unwrap()], more].concat());
    clone
}

/// As in [`World::with`], with a line for the daemon.
fn with_daemon(world: &World, line: &str) {
    let text = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), text.replace("on_demand = false\n", line)).unwrap();
}

/// Stops the daemon that nobody here started.
struct Stopped<'w>(&'w World);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let _ = self.0.agent(&["daemon", "stop"]).output();
    }
}

fn events(world: &World) -> Vec<Value> {
    world.events()
}

#[test]
fn b13_u2_a_push_that_no_hook_told_of_is_found_once_and_what_was_fetched_is_not() {
    let world = World::new();
    with_daemon(&world, "on_demand = false\nscan_minutes = 0\n");
    let clone = clone(&world, &[]);
    let _daemon = world.daemon();
    let other = Repository { world: &world, path: world.folder.join("clones/other") };
    let server = world.folder.join("repositories/tool.git");
    let told = clone.commit("ABC-1 told by the hook");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_owed("commit", &[&told]);
    // Somebody else pushes from a clone without hooks, and it is fetched.
    crate::harness::success(world.command("git").args(["clone", "--quiet"]).arg(&server).arg(&other.path));
    other.commit("ABC-2 of somebody else");
    other.push(&["origin", "HEAD:main"]);
    clone.git(&["fetch", "--quiet"]);
    clone.git(&["rebase", "--quiet", "origin/main"]);
    let amended = clone.commit("ABC-3 never pushed like this");
    clone.git(&["commit", "--quiet", "--amend", "-m", "ABC-4 pushed past the hooks"]);
    let unseen = clone.git(&["rev-parse", "HEAD"]);
    clone.git(&["push", "--quiet", "--no-verify", "origin", "HEAD:main"]);
    world.wait_for_owed("commit", &[&told, &unseen]);
    assert!(!world.owed("commit").contains(&amended));
    assert_eq!(events(&world).len(), 2, "{:?}", events(&world));
    // It is not found again, however often it is looked for.
    world.wait_until_idle();
    let looked = world.log().matches("that no hook told of was found").count();
    assert_eq!(looked, 1, "{}", world.log());
}

#[test]
fn l7_where_the_server_tells_jira_a_clone_keeps_to_messages_and_forwards_nothing() {
    let world = World::new();
    with_daemon(&world, "on_demand = false\nscan_minutes = 0\n");
    let clone = clone(&world, &["--served"]);
    assert!(fs::read_to_string(world.config()).unwrap().contains("served = true\n"));
    let _daemon = world.daemon();
    fs::write(clone.path.join("file"), "x").unwrap();
    clone.git(&["add", "file"]);
    let output = world.command("git").args(["commit", "-m", "ABC-1 begin"]).current_dir(&clone.path).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("jira: links ABC-1"), "{output:?}");
    assert!(!clone.push(&["origin", "HEAD:main"]).contains("jira:"));
    assert!(!clone.path.join(".git/agent/pushing").exists());
    assert!(world.agent_says(&["status"]).contains("clones of it forward nothing"));
    // One clone may be told otherwise, and what goes past its hooks is not looked for where the server tells.
    clone.commit("ABC-2 past the hooks");
    clone.git(&["push", "--quiet", "--no-verify", "origin", "HEAD:main"]);
    clone.git(&["config", "agent.served", "false"]);
    let told = clone.commit("ABC-3 told");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("1 commit queued for Jira"), "{answer}");
    wait_until("the push is owed", || world.owed("commit").contains(&told));
}

#[test]
fn i14_a_daemon_that_is_off_is_started_by_the_push_and_only_once() {
    let world = World::new();
    with_daemon(&world, "");
    let clone = clone(&world, &[]);
    let _stopped = Stopped(&world);
    let first = clone.commit("ABC-1 begin");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("1 commit kept for Jira; the daemon was off and is being started"), "{answer}");
    wait_until("the daemon is ready", || world.agent(&["daemon", "status"]).output().unwrap().status.success());
    world.wait_for_owed("commit", &[&first]);
    world.agent_says(&["daemon", "stop"]);
    // A daemon that was tried a moment ago is not tried again.
    clone.commit("ABC-2 go on");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("until the daemon is back (the daemon is not running)"), "{answer}");
}

#[test]
fn i14_what_was_pushed_without_a_network_arrives_soon_after_it_is_back_and_the_log_says_so_once() {
    let mut world = World::new();
    clone(&world, &[]);
    let _daemon = world.daemon();
    let address = world.sandbox.address.clone();
    // A site that nobody reaches: its process is gone, and with it its port.
    world.sandbox.stop();
    let clone = Repository { world: &world, path: world.folder.join("clones/work") };
    let first = clone.commit("ABC-1 on the train");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_owed("commit", &[&first]);
    let refused = || world.status()["running"]["sites"]["jira"]["batches"].as_u64().unwrap();
    wait_until("it was tried some times", || refused() >= 4);
    assert_eq!(world.log().matches("jira rests: ").count(), 1, "{}", world.log());
    let path = world.folder.clone();
    world.sandbox = Sandbox::start_at(&path, &address);
    let back = Instant::now();
    world.wait_for_jira(1, 0);
    assert!(back.elapsed() < Duration::from_secs(11), "{:?}", back.elapsed());
    wait_until("the log says so", || world.log().contains("jira answers again"));
}

#[test]
fn b13_a_site_is_linked_by_an_account_alone_and_is_shown_no_commits() {
    let world = crate::smart::world("policy = \"bot\"");
    let text = fs::read_to_string(world.config()).unwrap();
    let alone = text.replace("client_id = \"sandbox-client\"\nsecret_file = \"secret\"\n", "");
    assert_ne!(text, alone);
    fs::write(world.config(), alone).unwrap();
    let _daemon = world.daemon();
    let clone = clone(&world, &[]);
    clone.commit("ABC-1 begin");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("an account alone links it"), "{answer}");
    world.wait_until_idle();
    assert!(world.owed("commit").is_empty());
    for word in ["status", "doctor"] {
        let output = world.agent(&[word]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("linked by an account alone, so it is shown no commits"), "{word}: {said}");
    }
    world.agent_says(&["log-time", "ABC-1", "1h", "thinking"]);
    wait_until_or(
        "the work is logged",
        || world.sandbox.issue("ABC-1")["worklogs"].as_array().is_some_and(|work| work.len() == 1),
        || world.sandbox.issue("ABC-1").to_string(),
    );
    assert_eq!(world.sandbox.state()["repositories"].as_array().map_or(0, Vec::len), 0, "{}", world.sandbox.state());
}

#[test]
fn k2_a_message_that_asks_nothing_starts_no_agent_until_the_configuration_changes() {
    let world = World::new();
    let clone = clone(&world, &[]);
    let long_ago = || {
        let at = std::time::SystemTime::now() - Duration::from_secs(60);
        fs::File::options().write(true).open(world.config()).unwrap().set_modified(at).unwrap();
    };
    long_ago();
    // Whatever it is asked then, it is noted that no policy holds.
    clone.commit("begin");
    assert!(clone.path.join(".git/agent/plain").exists());
    let starts = |message: &str| {
        let mut git = Command::new("strace");
        let trace = world.folder.join("trace");
        git.args(["-f", "-qq", "-e", "trace=execve", "-o"]).arg(&trace).args([
            "git",
            "commit",
            "--quiet",
            "--allow-empty",
            "-m",
        ]);
        let plain = world.command("git");
        for (name, value) in plain.get_envs() {
            if let Some(value) = value {
                git.env(name, value);
            }
        }
        assert!(git.arg(message).current_dir(&clone.path).status().unwrap().success());
        fs::read_to_string(trace).unwrap().matches("\"hook\", \"commit-msg\"").count()
    };
    if !crate::direct::has("strace") {
        return;
    }
    assert_eq!(starts("tidy the - shelf"), 0);
    assert_eq!(starts("ABC-1 tidy"), 0, "what is sure is said without it");
    assert_eq!(starts("ABC-1 and ABC-2"), 1);
    assert_eq!(starts("see #close"), 1);
    assert_eq!(starts("abd-1"), 1);
    let text = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), format!("{text}\n[[policy]]\nlevel = \"block\"\nkey = true\n")).unwrap();
    let began = Instant::now();
    let refused = || {
        let mut git = world.command("git");
        let output = git.args(["commit", "--allow-empty", "-m", "no key"]).current_dir(&clone.path).output().unwrap();
        assert!(began.elapsed() < PATIENCE);
        !output.status.success()
    };
    assert!(refused());
}
