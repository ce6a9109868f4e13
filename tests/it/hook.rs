//! What the hooks promise: a push is never stopped or lost by us, whatever becomes of the pusher, the
//! daemon, the spool or the hook itself, and Jira hears all of it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use serde_json::{Value, json};

use crate::direct::feed;
use crate::harness::{Daemon, Repository, World, shown, success, wait_until, wait_until_or};

/// Hooks that may take their time, because the machine of a test may be busy.
pub const CALM: &str = "[hook]\ndeadline_ms = 2000\nread_ms = 1500\n";

const PROJECT: &str = "projects = [\"ABC\"]\n";

pub fn calm_world() -> World {
    World::with(PROJECT, CALM)
}

/// A repository that the daemon has met, a clone of it, and the commit they begin with.
pub fn met<'w>(world: &'w World, name: &str) -> (Repository<'w>, Repository<'w>, String) {
    let repository = world.repository(name);
    let clone = world.clone_of(&repository, name);
    let first = clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_owed("commit", &[&first]);
    world.wait_until_idle();
    (repository, clone, first)
}

pub fn write_script(path: &Path, body: &str) {
    let text = format!("#!/bin/sh\n{body}\n");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A push that stands still in the `update` hook, before any ref has moved.
pub struct Halted {
    pub child: Child,
    gate: PathBuf,
    goes_on: PathBuf,
}

/// Lets a push begin and come to the `update` hook; works on the repository that is pushed to.
pub fn halt_push(repository: &Repository<'_>, clone: &Repository<'_>, arguments: &[&str]) -> Halted {
    let (gate, reached, goes_on) =
        (repository.path.join("gate"), repository.path.join("reached"), repository.path.join("goes-on"));
    success(repository.world.command("mkfifo").arg(&gate));
    let script =
        format!("touch '{}'\nread line < '{}'\ntouch '{}'", reached.display(), gate.display(), goes_on.display());
    write_script(&repository.path.join("hooks/update"), &script);
    let child =
        clone.command(&[&["push"], arguments].concat()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the push is halted", || reached.exists());
    Halted { child, gate, goes_on }
}

impl Halted {
    /// Kills the pushing git and then lets the server's side go on.
    pub fn cut(mut self, repository: &Repository<'_>, branch: &str, id: &str) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        fs::write(&self.gate, "\n").unwrap();
        wait_until("the hook goes on", || self.goes_on.exists());
        let name = format!("refs/heads/{branch}");
        wait_until("the ref has moved", || {
            let output = repository.command(&["rev-parse", "--verify", "--quiet", &name]).output().unwrap();
            String::from_utf8_lossy(&output.stdout).trim() == id
        });
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn spooled(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(world.spool().join("incoming")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn the(kind: &str, world: &World) -> Value {
    let found = shown(&world.sandbox.state(), kind);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]["data"].clone()
}

/// Puts web addresses into the account, which is the last table of the configuration.
fn with_web(world: &World) {
    let text = fs::read_to_string(world.config()).unwrap()
        + "[account.web]\nrepository = \"https://git.test/{repository}\"\ncommit = \"https://git.test/{repository}/c/{commit}\"\n\
           branch = \"https://git.test/{repository}/b/{branch}\"\ncreate_pull_request = \"https://git.test/{repository}/new/{branch}\"\n";
    fs::write(world.config(), text).unwrap();
}

#[test]
fn d1_d2_d3_a_commit_shows_message_author_time_address_files_and_that_it_is_a_merge() {
    let world = calm_world();
    with_web(&world);
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    for number in 0..12 {
        fs::write(clone.path.join(format!("f{number:02}")), "one\ntwo\n").unwrap();
    }
    clone.git(&["add", "--all"]);
    clone.git(&["commit", "--quiet", "-m", "ABC-1 twelve files", "--date", "2024-05-06T07:08:09+0200"]);
    let first = clone.git(&["rev-parse", "HEAD"]);
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_jira(1, 0);
    let commit = the("commits", &world);
    assert_eq!(commit["id"], first.as_str());
    assert_eq!(commit["message"].as_str().unwrap().trim_end(), "ABC-1 twelve files");
    assert_eq!(commit["author"]["name"], "Ann Author");
    assert_eq!(commit["author"]["email"], "ann@example.org");
    let at: jiff::Timestamp = commit["authorTimestamp"].as_str().unwrap().parse().unwrap();
    assert_eq!(at, "2024-05-06T05:08:09Z".parse().unwrap());
    assert_eq!(commit["url"], format!("https://git.test/tool/c/{first}"));
    assert_eq!(commit["fileCount"], 12);
    let files = commit["files"].as_array().unwrap();
    assert_eq!(files.len(), 10);
    assert_eq!((&files[0]["path"], &files[0]["changeType"]), (&json!("f00"), &json!("ADDED")));
    assert_eq!((&files[0]["linesAdded"], &files[0]["linesRemoved"]), (&json!(2), &json!(0)));
    assert!(!commit["flags"].to_string().contains("MERGE"), "{commit}");

    clone.git(&["checkout", "--quiet", "-b", "side", "HEAD"]);
    clone.commit("beside");
    clone.git(&["checkout", "--quiet", "-"]);
    clone.git(&["merge", "--quiet", "--no-ff", "-m", "ABC-2 join", "side"]);
    let merge = clone.git(&["rev-parse", "HEAD"]);
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_jira(2, 0);
    let state = world.sandbox.state();
    let merged = shown(&state, "commits").into_iter().find(|one| one["data"]["id"] == merge.as_str()).unwrap();
    assert!(merged["data"]["flags"].to_string().contains("MERGE_COMMIT"), "{merged}");
}

#[test]
fn c8_c9_d4_d5_a_branch_is_shown_with_its_last_commit_follows_pushes_and_goes_when_deleted() {
    let world = calm_world();
    with_web(&world);
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    for number in 0..2 {
        let id = clone.commit(&format!("step {number}"));
        clone.push(&["origin", "HEAD:refs/heads/feature/ABC-3-x"]);
        let mut branch = Value::Null;
        wait_until_or(
            "the branch shows its last commit",
            || {
                let branches = shown(&world.sandbox.state(), "branches");
                branch = branches.first().map(|one| one["data"].clone()).unwrap_or_default();
                branch["lastCommit"]["id"] == id.as_str()
            },
            || world.log(),
        );
        assert_eq!(branch["name"], "feature/ABC-3-x");
        let page = branch["url"].as_str().unwrap();
        assert!(page.starts_with("https://git.test/tool/b/feature"), "{page}");
        let new = branch["createPullRequestUrl"].as_str().unwrap();
        assert!(new.starts_with("https://git.test/tool/new/feature"), "{new}");
    }
    clone.push(&["origin", ":feature/ABC-3-x"]);
    world.wait_for_jira(0, 0);
}

#[test]
fn c7_f62_a_push_of_more_commits_than_the_hook_reads_arrives_whole() {
    let world = calm_world();
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let mut import = String::new();
    for number in 0..2_000 {
        let message = format!("ABC-{} change {number}", number % 9 + 1);
        import += &format!("commit refs/heads/main\ncommitter A <a@example.org> {} +0000\n", 1_700_000_000 + number);
        import +=
            &format!("data {}\n{message}\nM 644 inline f{}\ndata 2\n{}\n\n", message.len(), number % 50, number % 10);
    }
    let imported = feed(&mut clone.command(&["fast-import", "--quiet"]), import.as_bytes());
    assert!(imported.status.success(), "{}", said(&imported));
    let answer = clone.push(&["origin", "main"]);
    assert!(answer.contains("more commits than could be read here; the daemon reads the rest"), "{answer}");
    world.wait_for_jira(2_000, 0);
    let requests = world.sandbox.requests("/bulk").len();
    assert!(requests <= 60, "{requests} requests for 2000 commits");
}

#[test]
fn c14_an_outage_of_jira_neither_stops_nor_loses_a_push() {
    let world = calm_world();
    world.sandbox.misbehave(json!([{"on": "any", "act": {"status": {"code": 503, "headers": {"Retry-After": "1"}}}}]));
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    for number in 1..=3 {
        clone.commit(&format!("ABC-{number} go on"));
        let answer = clone.push(&["origin", "HEAD:main"]);
        assert!(answer.contains("1 commit queued for Jira"), "{answer}");
    }
    wait_until("Jira refuses", || !world.sandbox.state()["requests"].as_array().unwrap().is_empty());
    assert_eq!(shown(&world.sandbox.state(), "commits").len(), 0);
    world.sandbox.behave();
    world.agent_says(&["queue", "retry"]);
    world.wait_for_jira(3, 0);
}

#[test]
fn c17_hooks_that_were_there_before_get_the_same_input_and_keep_their_say() {
    let world = calm_world();
    let _daemon = world.daemon();
    let repository = world.plain_repository("tool", &[]);
    for name in ["pre-receive", "post-receive"] {
        let script = format!("cat > '{name}.input'\necho \"{name} speaks\" >&2\n[ ! -e refuse-{name} ]");
        write_script(&repository.path.join("hooks").join(name), &script);
    }
    world.agent_says(&["install", repository.path.to_str().unwrap()]);
    let clone = world.clone_of(&repository, "work");
    let first = clone.commit("ABC-1 begin");
    let answer = clone.push(&["origin", "HEAD:main"]);
    let line = format!("{} {first} refs/heads/main\n", "0".repeat(40));
    for name in ["pre-receive", "post-receive"] {
        assert!(answer.contains(&format!("{name} speaks")), "{answer}");
        assert_eq!(fs::read_to_string(repository.path.join(format!("{name}.input"))).unwrap(), line);
    }
    assert!(answer.contains("1 commit queued for Jira"), "{answer}");
    fs::write(repository.path.join("refuse-pre-receive"), "").unwrap();
    clone.commit("ABC-2 unwanted");
    let refused = clone.try_push(&["origin", "HEAD:main"]);
    assert!(!refused.status.success(), "{}", said(&refused));
    world.wait_for_owed("commit", &[&first]);
}

#[test]
fn c18_h09_a_check_before_ours_reads_the_quarantine_and_a_refused_push_leaves_no_event() {
    let world = calm_world();
    let daemon = world.daemon();
    let repository = world.plain_repository("tool", &[]);
    write_script(
        &repository.path.join("hooks/pre-receive"),
        "while read old new name; do git log -1 --format=%s \"$new\" | grep -q '^ABC' || exit 1; done",
    );
    world.agent_says(&["install", repository.path.to_str().unwrap()]);
    let clone = world.clone_of(&repository, "work");
    let first = clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_owed("commit", &[&first]);
    clone.commit("ABC-2 hidden under");
    clone.commit("no key");
    assert!(!clone.try_push(&["origin", "HEAD:main", "HEAD:ABC-5"]).status.success());
    let _daemon = world.restarted(daemon);
    world.wait_until_idle();
    assert_eq!(world.events().len(), 1);
    world.wait_for_owed("commit", &[&first]);
    world.wait_for_owed("branch", &[]);
}

#[test]
fn f01_h01_a_pusher_killed_before_the_report_is_missed_by_nobody() {
    let world = calm_world();
    let daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let second = clone.commit("ABC-2 cut off");
    halt_push(&repository, &clone, &["origin", "HEAD:main"]).cut(&repository, "main", &second);
    let Some(_daemon) = a_minute_later(&world, daemon) else { return };
    world.wait_for_owed("commit", &[&first, &second]);
}

#[test]
fn f01_h02_a_hook_whose_pusher_is_gone_prints_into_the_void_and_hands_over_once() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let second = clone.commit("ABC-2 nobody listens");
    clone.push(&["--no-verify", "--receive-pack=git -c core.hooksPath=/dev/null receive-pack", "origin", "HEAD:main"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut hook = world.agent(&["hook", "post-receive"]);
    hook.current_dir(&repository.path).env("GIT_DIR", ".").stdin(Stdio::piped()).stderr(writer);
    let mut child = hook.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{first} {second} refs/heads/main").unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
    world.wait_for_owed("commit", &[&first, &second]);
    assert_eq!(world.events().len(), 2);
}

/// Stops a daemon and starts it a minute later, by its own clock: what was announced and never confirmed is due then.
pub fn a_minute_later(world: &World, mut daemon: Daemon) -> Option<Daemon> {
    const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    if !Path::new(FAKETIME).exists() {
        skipped("there is no faketime here");
        return None;
    }
    daemon.stop();
    let moved = [("LD_PRELOAD", FAKETIME), ("FAKETIME", "+60s"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    Some(world.daemon_with(&moved))
}

/// The server's side of a push dies after the ref has moved and before `post-receive`.
fn push_to_dying_server(repository: &Repository<'_>, clone: &Repository<'_>, id: &str) {
    let hook = repository.path.join("hooks/reference-transaction");
    write_script(&hook, "[ \"$1\" = committed ] && kill -9 $PPID\nexit 0");
    assert!(!clone.try_push(&["origin", "HEAD:main"]).status.success());
    fs::remove_file(hook).unwrap();
    assert_eq!(repository.git(&["rev-parse", "main"]), id);
}

#[test]
fn f02_a_ref_that_moved_without_post_receive_is_found() {
    let world = calm_world();
    let daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let second = clone.commit("ABC-2 unseen");
    push_to_dying_server(&repository, &clone, &second);
    let Some(_daemon) = a_minute_later(&world, daemon) else { return };
    world.wait_for_owed("commit", &[&first, &second]);
    assert_eq!(world.events().iter().filter(|event| event["kind"] == "found").count(), 1);
}

#[test]
fn f02_the_very_first_push_that_never_came_to_post_receive_is_found_too() {
    let world = calm_world();
    let daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let first = clone.commit("ABC-1 unseen");
    push_to_dying_server(&repository, &clone, &first);
    wait_until("the announcement is stored", || world.status()["queue"]["intents"] == 1);
    let Some(_daemon) = a_minute_later(&world, daemon) else { return };
    world.wait_for_owed("commit", &[&first]);
}

#[test]
fn f06_a_daemon_whose_backlog_is_full_costs_no_time_and_no_event() {
    let world = calm_world();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let listener =
        rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None).unwrap();
    let address = rustix::net::SocketAddrUnix::new(world.socket()).unwrap();
    rustix::net::bind(&listener, &address).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _waiting = std::os::unix::net::UnixStream::connect(world.socket()).unwrap();
    let commit = clone.commit("ABC-1 busy");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("kept for Jira until the daemon is back (the daemon is busy)"), "{answer}");
    drop(listener);
    let _daemon = world.daemon();
    world.wait_for_owed("commit", &[&commit]);
    assert_eq!(world.events().len(), 1);
}

#[test]
fn f07_a_daemon_that_never_answers_is_not_waited_for() {
    let world = World::with(PROJECT, "[hook]\ndeadline_ms = 1500\n");
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let silent = UnixListener::bind(world.socket()).unwrap();
    let commit = clone.commit("ABC-1 unanswered");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("kept for Jira until the daemon is back (the daemon did not answer in time)"), "{answer}");
    drop(silent);
    let _daemon = world.daemon();
    world.wait_for_owed("commit", &[&commit]);
    assert_eq!(world.events().len(), 1);
}

#[test]
fn f08_a_daemon_that_dies_with_the_hook_in_its_backlog_loses_nothing() {
    let world = calm_world();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let commit = clone.commit("ABC-1 in the backlog");
    let dying = UnixListener::bind(world.socket()).unwrap();
    let child = clone.command(&["push", "origin", "HEAD:main"]).stderr(Stdio::piped()).spawn().unwrap();
    // The intent and the push: both are dropped unread, and nobody minds about the intent.
    for _ in 0..2 {
        drop(dying.accept().unwrap());
    }
    drop(dying);
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && said(&output).contains("the connection to the daemon broke"),
        "{}",
        said(&output)
    );
    assert_eq!(spooled(&world).len(), 1);
    let _daemon = world.daemon();
    world.wait_for_owed("commit", &[&commit]);
    assert_eq!(world.events().len(), 1);
}

#[test]
fn f09_a_user_who_may_not_write_to_the_repository_is_refused_by_name_of_the_kernel() {
    let world = calm_world();
    if !is_root() || world.command("setpriv").arg("--version").output().is_err() {
        return skipped("another user cannot be taken on without root and setpriv");
    }
    let _daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    for path in [&world.folder, &world.folder.join("repositories"), &repository.path] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(world.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    let second = clone.commit("ABC-2 by a stranger");
    clone.push(&["--receive-pack=git -c core.hooksPath=/dev/null receive-pack", "origin", "HEAD:main"]);
    let mut hook = world.command("setpriv");
    hook.args([
        "--reuid=12345",
        "--regid=12345",
        "--clear-groups",
        env!("CARGO_BIN_EXE_agent"),
        "hook",
        "post-receive",
    ]);
    hook.current_dir(&repository.path).env("GIT_DIR", ".");
    let output = feed(&mut hook, format!("{first} {second} refs/heads/main\n").as_bytes());
    let answer = said(&output);
    assert!(output.status.success(), "{answer}");
    assert!(answer.contains("not linked: user 12345 may not write"), "{answer}");
    assert!(!answer.contains("secret"), "{answer}");
    assert!(world.log().contains("12345"), "{}", world.log());
    assert_eq!((spooled(&world).len(), world.events().len()), (0, 1));
}

#[test]
fn f10_without_daemon_and_spool_the_push_succeeds_and_the_next_start_finds_it() {
    let world = calm_world();
    let mut daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    daemon.stop();
    fs::remove_dir_all(world.spool()).unwrap();
    fs::write(world.spool(), "in the way").unwrap();
    let second = clone.commit("ABC-2 nowhere to go");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("nothing could store them now"), "{answer}");
    assert!(repository.path.join("agent/dirty").exists());
    fs::remove_file(world.spool()).unwrap();
    let _daemon = world.daemon();
    world.wait_for_owed("commit", &[&first, &second]);
    assert!(!repository.path.join("agent/dirty").exists());
    assert!(world.log().contains("had events that could not be stored"), "{}", world.log());
}

#[test]
fn f11_a_frame_cut_in_the_spool_is_put_aside_and_its_push_is_found() {
    let world = calm_world();
    let mut daemon = world.daemon();
    let (_repository, clone, first) = met(&world, "tool");
    daemon.stop();
    let second = clone.commit("ABC-2 half written");
    clone.push(&["origin", "HEAD:main"]);
    let files = spooled(&world);
    assert!(!files.is_empty());
    for path in &files {
        let length = fs::metadata(path).unwrap().len();
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length / 2).unwrap();
    }
    let _daemon = world.daemon();
    world.wait_for_owed("commit", &[&first, &second]);
    wait_until("the halves are aside", || {
        world.status()["running"]["spool"] == json!({"incoming": 0, "corrupt": files.len()})
    });
}

#[test]
fn f12_hooks_in_a_crowd_are_all_heard() {
    const HOOKS: usize = 300;
    let world = calm_world();
    let _daemon = world.daemon();
    let direct = crate::direct::Direct::new(&world, "tool", HOOKS);
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..48 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if number >= HOOKS {
                        return;
                    }
                    let promise = direct.push(number);
                    assert!(!matches!(promise, crate::direct::Promise::Nothing(_)), "{promise:?}");
                }
            });
        }
    });
    let ids: Vec<&str> = direct.commits.iter().map(String::as_str).collect();
    world.wait_for_owed("commit", &ids);
}

#[test]
fn f13_an_upgrade_in_the_middle_of_pushes_breaks_none() {
    let world = calm_world();
    let _daemon = world.daemon();
    let repository = world.plain_repository("tool", &[]);
    let agent = world.folder.join("agent");
    let put = || {
        let new = world.folder.join("agent.new");
        fs::copy(env!("CARGO_BIN_EXE_agent"), &new).unwrap();
        fs::rename(new, &agent).unwrap();
    };
    put();
    success(world.command(&agent).args(["install", repository.path.to_str().unwrap()]));
    let clone = world.clone_of(&repository, "work");
    let mut commits = Vec::new();
    std::thread::scope(|scope| {
        let pushing = scope.spawn(|| {
            (0..8).map(|_| (clone.commit("ABC-1 go on"), clone.push(&["origin", "HEAD:main"]))).collect::<Vec<_>>()
        });
        while !pushing.is_finished() {
            put();
        }
        for (id, answer) in pushing.join().unwrap() {
            assert!(answer.contains("1 commit queued for Jira"), "{answer}");
            commits.push(id);
        }
    });
    let ids: Vec<&str> = commits.iter().map(String::as_str).collect();
    world.wait_for_owed("commit", &ids);
}

#[test]
fn f14_our_post_receive_called_as_pre_receive_refuses_with_a_hint_and_lets_the_push_pass() {
    let world = calm_world();
    let _daemon = world.daemon();
    let repository = world.plain_repository("tool", &[]);
    let call = format!("exec '{}' hook post-receive", env!("CARGO_BIN_EXE_agent"));
    write_script(&repository.path.join("hooks/pre-receive"), &call);
    let clone = world.clone_of(&repository, "work");
    clone.commit("ABC-1 begin");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("install it as post-receive"), "{answer}");
    assert_eq!(world.events().len(), 0);
}

#[test]
fn h05_packing_and_collecting_in_a_clone_with_hooks_says_nothing() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (_repository, clone, _) = clone_with_hooks(&world);
    for number in 0..5 {
        clone.git(&["branch", &format!("ABC-{}", number + 1)]);
    }
    clone.git(&["pack-refs", "--all"]);
    clone.git(&["gc", "--quiet", "--prune=now"]);
    clone.git(&["maintenance", "run", "--auto"]);
    clone.git(&["fetch", "--quiet", "origin"]);
    world.wait_until_idle();
    assert_eq!(world.events().len(), 1);
}

/// A clone with hooks of a bare repository without, and a commit that was pushed from it.
fn clone_with_hooks(world: &World) -> (Repository<'_>, Repository<'_>, String) {
    let bare = world.plain_repository("tool", &[]);
    let clone = world.clone_of(&bare, "work");
    world.agent_says(&["install", clone.path.to_str().unwrap()]);
    let first = clone.commit("ABC-1 begin");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("1 commit queued for Jira"), "{answer}");
    world.wait_for_owed("commit", &[&first]);
    (bare, clone, first)
}

#[test]
fn c1_a_push_from_a_clone_with_hooks_arrives_and_a_refused_one_does_not() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (bare, clone, first) = clone_with_hooks(&world);
    let second = clone.commit("ABC-2 refused at first");
    write_script(&bare.path.join("hooks/pre-receive"), "exit 1");
    assert!(!clone.try_push(&["origin", "HEAD:main"]).status.success());
    world.wait_until_idle();
    assert_eq!(world.events().len(), 1);
    fs::remove_file(bare.path.join("hooks/pre-receive")).unwrap();
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_owed("commit", &[&first, &second]);
    assert_eq!(world.events().len(), 2);
}

#[test]
fn c1_c19_comparing_refs_lets_nothing_out_of_a_clone_that_was_not_pushed() {
    let world = calm_world();
    let daemon = world.daemon();
    // Repositories are looked at one after the other: when those around it are done, it is done.
    let (before, _, _) = met(&world, "before");
    let bare = world.plain_repository("tool", &[]);
    let clone = world.clone_of(&bare, "work");
    world.agent_says(&["install", clone.path.to_str().unwrap()]);
    let pushed = clone.commit("ABC-4 pushed");
    clone.push(&["origin", "HEAD:main"]);
    wait_until("the push is owed", || world.owed("commit").contains(&pushed));
    let after = world.repository("after");
    clone.push(&[after.path.to_str().unwrap(), "HEAD:main"]);
    world.wait_until_idle();
    let private = clone.commit("ABC-2 private");
    clone.git(&["branch", "ABC-3-private"]);
    for around in [&before, &after] {
        around.git(&["update-ref", "refs/heads/ABC-5-found", "refs/heads/main"]);
    }
    let _daemon = world.restarted(daemon);
    world.wait_for_owed("branch", &["ABC-5-found", "ABC-5-found"]);
    world.wait_until_idle();
    assert!(!world.owed("commit").contains(&private));
    let found = world.events().iter().filter(|event| event["kind"] == "found").count();
    assert_eq!(found, 2, "{:?}", world.events());
}

#[test]
fn c8_c9_a_clone_with_hooks_tells_of_branches_that_come_and_go() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (_bare, clone, _first) = clone_with_hooks(&world);
    clone.push(&["origin", "HEAD:ABC-2-x", "HEAD:ABC-3-y"]);
    world.wait_for_jira(1, 2);
    clone.push(&["origin", ":ABC-2-x"]);
    world.wait_for_jira(1, 1);
}

#[test]
fn h12_a_rebase_of_twenty_commits_says_nothing_until_it_is_pushed_and_repeats_no_key() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (_bare, clone, first) = clone_with_hooks(&world);
    clone.git(&["checkout", "--quiet", "-b", "ABC-4-topic"]);
    for number in 0..20 {
        fs::write(clone.path.join(format!("topic-{number}")), "x").unwrap();
        clone.git(&["add", "--all"]);
        clone.git(&["commit", "--quiet", "-m", &format!("ABC-2 step {number}")]);
    }
    clone.git(&["checkout", "--quiet", "-"]);
    let base = clone.commit("ABC-3 meanwhile");
    clone.git(&["rebase", "--quiet", "HEAD", "ABC-4-topic"]);
    world.wait_until_idle();
    assert_eq!(world.events().len(), 1);
    let subjects = clone.git(&["log", "--format=%B", "-20"]);
    assert_eq!(subjects.matches("ABC-").count(), 20, "{subjects}");
    clone.push(&["origin", "HEAD"]);
    let topic = clone.git(&["rev-list", "-20", "HEAD"]);
    let mut ids: Vec<&str> = topic.lines().collect();
    ids.extend([first.as_str(), base.as_str()]);
    world.wait_for_owed("commit", &ids);
    assert_eq!(world.events().len(), 2);
}

#[test]
fn h12_every_way_to_commit_is_told_of_a_key_that_links_nothing() {
    let world = calm_world();
    let (_bare, clone, _) = {
        let _daemon = world.daemon();
        clone_with_hooks(&world)
    };
    let hint = "UTF-8 links nothing";
    let commit = |at: &Repository<'_>, arguments: &[&str]| {
        let output =
            at.command(&[&["commit", "--quiet", "-m", "ABC-1 UTF-8 at last"], arguments].concat()).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let hints = said(&output).matches(hint).count();
        assert_eq!(hints, 1, "{arguments:?}: {}", said(&output));
    };
    clone.commit("two files");
    clone.commit("more");
    let files = clone.git(&["ls-files"]);
    let file = files.lines().next().unwrap();
    fs::write(clone.path.join(file), "all of it").unwrap();
    commit(&clone, &["-a"]);
    fs::write(clone.path.join(file), "a part of it").unwrap();
    commit(&clone, &["--", file]);
    commit(&clone, &["--amend"]);

    clone.git(&["worktree", "add", "--quiet", "../tree", "-b", "tree"]);
    let tree = Repository { world: &world, path: clone.path.with_file_name("tree") };
    commit(&tree, &["--allow-empty"]);

    let library = world.plain_repository("library", &[]);
    let source = world.clone_of(&library, "library");
    source.commit("begin");
    source.push(&["origin", "HEAD:main"]);
    let address = library.path.to_str().unwrap();
    clone.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", address, "library"]);
    let submodule = Repository { world: &world, path: clone.path.join("library") };
    world.agent_says(&["install", submodule.path.to_str().unwrap()]);
    commit(&submodule, &["--allow-empty"]);
}

#[test]
fn h15_a_background_child_of_a_chained_hook_does_not_hold_the_pusher() {
    let world = calm_world();
    let _daemon = world.daemon();
    let repository = world.plain_repository("tool", &[]);
    let note = world.folder.join("child");
    let script = format!("sleep 3600 >/dev/null 2>&1 &\necho $! > '{}'", note.display());
    write_script(&repository.path.join("hooks/post-receive"), &script);
    world.agent_says(&["install", repository.path.to_str().unwrap()]);
    let clone = world.clone_of(&repository, "work");
    let commit = clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main"]);
    let child: i32 = fs::read_to_string(note).unwrap().trim().parse().unwrap();
    let child = rustix::process::Pid::from_raw(child).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::KILL).expect("it outlives the push");
    world.wait_for_owed("commit", &[&commit]);
}

#[test]
fn k9_a_push_needs_no_interpreter_but_the_shell_of_git() {
    let world = calm_world();
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    clone.commit("ABC-1 begin");
    let tools = world.folder.join("tools");
    fs::create_dir(&tools).unwrap();
    let exec_path = clone.git(&["--exec-path"]);
    for name in ["git", "git-receive-pack", "git-upload-pack"] {
        std::os::unix::fs::symlink(Path::new(&exec_path).join("git"), tools.join(name)).unwrap();
    }
    let output = clone.command(&["push", "origin", "HEAD:main"]).env("PATH", &tools).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("1 commit queued for Jira"), "{}", said(&output));
}

#[test]
fn k11_an_answer_keeps_to_ten_lines_and_lets_nothing_through_that_steers_a_terminal() {
    let world = calm_world();
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let keys: Vec<String> = (1..=40).map(|number| format!("ABC-{number}")).collect();
    clone.commit(&format!("{} XYZ-\u{1b}[31m1 XYZ-7\n\n#\u{202e}close\n#\u{1b}]0;x\u{7}do", keys.join(" ")));
    let answer = clone.push(&["origin", "HEAD:main"]);
    let ours = answer.lines().filter(|line| line.starts_with("remote: ")).count();
    assert!((2..=10).contains(&ours), "{answer}");
    assert!(!answer.contains(['\u{202e}', '\u{7}']) && !answer.contains("\u{1b}["), "{answer:?}");
}

#[test]
fn c16_a_push_is_answered_in_one_line_at_most_when_nothing_names_an_issue() {
    let world = calm_world();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    clone.commit("nothing to link");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(!answer.contains("jira:"), "{answer}");
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says why a test did not do its work.
pub fn skipped(because: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {because}");
}
