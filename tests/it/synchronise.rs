//! The history of repositories, told to Jira: all of it, once, in its own time.

use std::io::Write;
use std::ops::Range;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::{Repository, World, shown, wait_until, wait_until_or};
use crate::smart;

/// A bare repository with hooks and a history that nobody was told of; one of `every` commits names an issue.
fn with_history<'w>(world: &'w World, name: &str, count: usize, every: usize) -> Repository<'w> {
    let repository = world.plain_repository(name, &[]);
    grow(&repository, "main", 0..count, every);
    world.agent_says(&["install", repository.path.to_str().unwrap()]);
    repository
}

/// Puts commits on a branch without any hook, one an hour.
fn grow(repository: &Repository<'_>, branch: &str, numbers: Range<usize>, every: usize) {
    let mut stream = String::new();
    for number in numbers.clone() {
        let subject = match number % every {
            0 => format!("ABC-{} number {number}", number % 9 + 1),
            _ => "plain".to_owned(),
        };
        let at = 1_600_000_000 + number * 3600;
        stream += &format!("commit refs/heads/{branch}\ncommitter C <c@example.com> {at} +0000\n");
        stream += &format!("data {}\n{subject}\n", subject.len());
        if number == numbers.start && number > 0 {
            stream += "from refs/heads/main^0\n";
        }
        stream += &format!("M 100644 inline file\ndata {}\n{number}\n\n", number.to_string().len());
    }
    let mut git = repository.command(&["fast-import", "--quiet", "--force"]);
    let mut child = git.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Lets repositories that are met tell so much of their history, of which they tell nothing in other tests.
fn by_itself(world: &World, history: &str) {
    let text = std::fs::read_to_string(world.config()).unwrap();
    let changed = text.replace("history = \"none\"", &format!("history = {history:?}"));
    assert_ne!(changed, text);
    std::fs::write(world.config(), changed).unwrap();
}

fn path<'r>(repository: &'r Repository<'_>) -> &'r str {
    repository.path.to_str().unwrap()
}

/// `agent sync status --json`.
fn runs(world: &World) -> Vec<Value> {
    serde_json::from_str(&world.agent_says(&["sync", "status", "--json"])).unwrap()
}

fn run_of(world: &World, name: &str) -> Option<Value> {
    runs(world).into_iter().find(|run| run["path"].as_str().unwrap().ends_with(&format!("/{name}.git")))
}

#[track_caller]
fn wait_for_state(world: &World, name: &str, state: &str) -> Value {
    let mut found = None;
    let ended = || {
        found = run_of(world, name);
        found.as_ref().is_some_and(|run| run["state"] == state)
    };
    wait_until_or(&format!("{name} is {state}"), ended, || format!("{:?}\n{}", run_of(world, name), world.log()));
    found.unwrap()
}

/// The ids of commits that Jira shows.
fn told(world: &World) -> Vec<String> {
    shown(&world.sandbox.state(), "commits").iter().map(|one| one["data"]["id"].as_str().unwrap().to_owned()).collect()
}

/// What names an issue, as git says.
fn keyed(repository: &Repository<'_>, range: &str) -> Vec<String> {
    let text = repository.git(&["log", "--format=%H", "--grep=^ABC-", range]);
    let mut ids: Vec<String> = text.lines().map(str::to_owned).collect();
    ids.sort();
    ids
}

#[track_caller]
fn wait_until_told(world: &World, mut ids: Vec<String>) {
    ids.sort();
    wait_until_or(
        "Jira shows the history",
        || {
            let mut told = told(world);
            told.sort();
            told == ids
        },
        || format!("{} instead of {}; {:?}\n{}", told(world).len(), ids.len(), runs(world), world.log()),
    );
}

#[test]
fn h1_h3_h13_a_repository_with_history_is_told_whole_when_it_is_met_and_no_order_of_it_is_carried_out() {
    let world = smart::world("policy = \"bot\"");
    by_itself(&world, "all");
    let _daemon = world.daemon();
    let repository = world.plain_repository("old", &[]);
    grow(&repository, "main", 0..30, 2);
    grow(&repository, "feature/ABC-7-side", 30..40, 2);
    let clone = world.clone_of(&repository, "work");
    clone.commit_by("ann@example.org", "ABC-3 #comment nobody was told of it");
    clone.push(&["origin", "HEAD:main"]);
    world.agent_says(&["install", path(&repository)]);
    clone.commit_by("ann@example.org", "ABC-4 #comment now");
    clone.push(&["origin", "HEAD:main"]);
    let run = wait_for_state(&world, "old", "done");
    assert_eq!((&run["by_itself"], &run["read"], &run["errors"]), (&json!(true), &json!(42), &json!(0)));
    wait_until_told(&world, keyed(&repository, "--all"));
    let state = world.sandbox.state();
    let branches = shown(&state, "branches");
    assert!(branches.iter().any(|branch| branch["data"]["name"] == "feature/ABC-7-side"), "{branches:?}");
    smart::wait_for(&world, "ABC-4", [1, 0, 0]);
    assert_eq!(smart::counts(&world, "ABC-3"), [0, 0, 0]);
    assert_eq!(state["triggers"], json!([]), "Jira was given no leave");
    // It begins by itself once only.
    clone.commit("ABC-5 another");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_until_idle();
    assert_eq!(runs(&world).len(), 1);
}

#[test]
fn h1_an_account_decides_how_much_of_a_history_is_told() {
    let world = World::new();
    by_itself(&world, "6 commits");
    let _daemon = world.daemon();
    let repository = with_history(&world, "old", 30, 2);
    let clone = world.clone_of(&repository, "work");
    clone.commit("ABC-4 new");
    clone.push(&["origin", "HEAD:main"]);
    wait_for_state(&world, "old", "done");
    wait_until_told(&world, keyed(&repository, "main~6..main"));
}

#[test]
fn h5_h10_a_person_asks_for_a_window_and_for_an_issue() {
    let world = World::new();
    let _daemon = world.daemon();
    let repository = with_history(&world, "old", 40, 2);
    let counted = world.agent_says(&["sync", "start", path(&repository), "--dry-run"]);
    assert!(counted.contains("40 commits, 20 name an issue, 1 requests"), "{counted}");
    assert_eq!(runs(&world), Vec::<Value>::new(), "nothing is begun");

    world.agent_says(&["sync", "start", path(&repository), "--depth", "10"]);
    wait_for_state(&world, "old", "done");
    wait_until_told(&world, keyed(&repository, "main~10..main"));
    let window = ["--since", "2020-09-14"];
    let counted = world.agent_says(&[&["sync", "start", path(&repository), "--dry-run"], &window[..]].concat());
    assert!(counted.contains("28 commits, 14 name an issue"), "{counted}");
    world.agent_says(&[&["sync", "start", path(&repository)], &window[..]].concat());
    wait_until_told(&world, keyed(&repository, "main~28..main"));
    world.agent_says(&["sync", "start", path(&repository)]);
    wait_until_told(&world, keyed(&repository, "main"));
    wait_for_state(&world, "old", "done");

    // The same again is no news, but for an issue that is asked for.
    world.wait_until_idle();
    let before = numbers(&world);
    world.agent_says(&["sync", "start", path(&repository)]);
    let run = wait_for_state(&world, "old", "done");
    assert_eq!((&run["keyed"], &run["owed"]), (&json!(20), &json!(0)));
    world.agent_says(&["sync", "start", path(&repository), "--issue", "ABC-1"]);
    wait_until("the issue is told anew", || {
        run_of(&world, "old").is_some_and(|run| run["owed"] != 0 && run["due"] == 0)
    });
    for (before, after) in before.iter().zip(numbers(&world)) {
        assert_eq!(before.0, after.0);
        assert_eq!(before.2 < after.2, before.1.contains("ABC-1"), "{before:?} {after:?}");
    }
    let refused = world.agent(&["sync", "start", path(&repository), "--since", "soon"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

/// Each commit that Jira was told, its keys and its number.
fn numbers(world: &World) -> Vec<(String, String, i64)> {
    let rows = world.queue(&["--limit", "1000"]);
    let commits = rows.iter().filter(|row| row["kind"] == "commit");
    let mut found: Vec<_> = commits
        .map(|row| (row["id"].as_str().unwrap().to_owned(), row["keys"].to_string(), row["sequence"].as_i64().unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn h6_f63_after_kill_9_it_goes_on_where_it_was() {
    let world = World::new();
    let mut daemon = world.daemon_with(&[("AGENT_ABORT_AT", "history.before_portion:6")]);
    let repository = with_history(&world, "long", 2500, 2);
    world.agent_says(&["sync", "start", path(&repository)]);
    daemon.process.wait();
    // Five portions were stored, and the sixth is the most that has to be read again.
    let _daemon = world.daemon_with(&[("AGENT_ABORT_AT", "history.before_portion:9")]);
    let run = run_of(&world, "long").unwrap();
    assert!(run["read"].as_u64().unwrap() >= 1000, "{run}");
    let run = wait_for_state(&world, "long", "done");
    assert_eq!((&run["read"], &run["keyed"]), (&json!(2500), &json!(1250)));
    assert_eq!(run["owed"], 1250, "nothing was owed twice");
    wait_until_told(&world, keyed(&repository, "--all"));
}

#[test]
fn h11_it_is_paused_resumed_and_cancelled() {
    let world = World::new();
    let _daemon = world.daemon();
    // Jira takes nothing, so that reading waits for it.
    world.sandbox.misbehave(json!([{"on": "bulk", "act": {"status": {"code": 503}}}]));
    let repository = with_history(&world, "long", 6000, 1);
    world.agent_says(&["sync", "start", path(&repository)]);
    wait_until("reading waits for Jira", || {
        run_of(&world, "long").is_some_and(|run| run["due"].as_u64() >= Some(4000))
    });
    let said = world.agent_says(&["sync", "pause", path(&repository)]);
    assert_eq!(said.trim(), "1 paused");
    let paused = wait_for_state(&world, "long", "paused");
    assert!(paused["read"].as_u64().unwrap() < 6000, "it reads no further than Jira takes: {paused}");
    world.sandbox.behave();
    wait_until("what was read is told", || run_of(&world, "long").is_some_and(|run| run["due"] == 0));
    assert_eq!(run_of(&world, "long").unwrap()["read"], paused["read"]);
    assert!(world.agent_says(&["sync", "status"]).contains("paused"));

    world.agent_says(&["sync", "resume", "--all"]);
    wait_for_state(&world, "long", "done");
    wait_until_told(&world, keyed(&repository, "--all"));

    let second = with_history(&world, "second", 2000, 1);
    world.sandbox.misbehave(json!([{"on": "bulk", "act": {"status": {"code": 503}}}]));
    world.agent_says(&["sync", "start", path(&second)]);
    wait_until("it is under way", || run_of(&world, "second").is_some_and(|run| run["due"].as_u64() > Some(0)));
    world.agent_says(&["sync", "cancel", path(&second)]);
    let cancelled = wait_for_state(&world, "second", "cancelled");
    assert_eq!(cancelled["due"], 0, "what was not sent yet is not sent: {cancelled}");
    world.sandbox.behave();
}

#[test]
fn h8_a_push_meanwhile_arrives_at_once() {
    let world = World::new();
    let _daemon = world.daemon();
    let (long, other) = (with_history(&world, "long", 20_000, 1), world.repository("other"));
    world.agent_says(&["sync", "start", path(&long)]);
    wait_until("it is under way", || run_of(&world, "long").is_some_and(|run| run["read"].as_u64() > Some(1000)));
    let mut pushed = Vec::new();
    for (repository, name) in [(&other, "a"), (&long, "b")] {
        let clone = world.clone_of(repository, name);
        pushed.push(clone.commit("ABC-9 now"));
        clone.push(&["origin", "HEAD:main"]);
    }
    let arrived = || {
        let told = told(&world);
        pushed.iter().all(|id| told.contains(id))
    };
    wait_until_or("the pushes have arrived", arrived, || world.log());
    let run = run_of(&world, "long").unwrap();
    assert!(run["state"] == "running" || run["due"].as_u64() > Some(0), "the pushes went first: {run}");
    world.agent_says(&["sync", "cancel", "--all"]);
}

#[test]
fn h16_one_that_cannot_be_read_is_reported_and_the_others_go_on() {
    let world = World::new();
    let _daemon = world.daemon();
    let [damaged, gone, sound] = ["damaged", "gone", "sound"].map(|name| with_history(&world, name, 20, 2));
    for repository in [&damaged, &gone, &sound] {
        let clone = world.clone_of(repository, repository.path.file_stem().unwrap().to_str().unwrap());
        clone.commit("ABC-1 so that it is known");
        clone.push(&["origin", "HEAD:main"]);
    }
    world.wait_until_idle();
    let lost = damaged.git(&["rev-parse", "main~10"]);
    std::fs::remove_file(damaged.path.join("objects").join(&lost[..2]).join(&lost[2..])).unwrap();
    std::fs::rename(&gone.path, world.folder.join("elsewhere.git")).unwrap();

    world.agent_says(&["sync", "start", "--account", "main"]);
    let run = wait_for_state(&world, "sound", "done");
    assert_eq!((&run["errors"], &run["keyed"]), (&json!(0), &json!(11)));
    let run = wait_for_state(&world, "damaged", "done");
    assert!(run["note"].as_str().unwrap().contains("1 objects are missing"), "{run}");
    assert!(run["keyed"].as_u64().unwrap() >= 5, "what can be read is told: {run}");
    let run = wait_for_state(&world, "gone", "failed");
    assert!(run["note"].as_str().unwrap().contains("cannot read it"), "{run}");
    let status = world.agent(&["status"]).output().unwrap();
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("gone.git: failed") && status.contains("1 objects are missing"), "{status}");
    assert_eq!(world.agent(&["sync", "status"]).output().unwrap().status.code(), Some(1));
}

#[test]
fn f72_a_repository_that_is_repacked_meanwhile_is_told_whole() {
    let world = World::new();
    let _daemon = world.daemon();
    let repository = with_history(&world, "busy", 4000, 2);
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !end.load(Ordering::Relaxed) {
                repository.git(&["repack", "-adfq"]);
            }
        });
        world.agent_says(&["sync", "start", path(&repository)]);
        let run = wait_for_state(&world, "busy", "done");
        end.store(true, Ordering::Relaxed);
        assert_eq!((&run["errors"], &run["keyed"]), (&json!(0), &json!(2000)));
    });
    wait_until_told(&world, keyed(&repository, "--all"));
}

#[test]
fn h1_a_repository_that_was_known_before_tells_its_history_only_when_asked() {
    let world = World::new();
    let daemon = world.daemon();
    let repository = with_history(&world, "old", 10, 2);
    let clone = world.clone_of(&repository, "work");
    let pushed = clone.commit("ABC-4 new");
    clone.push(&["origin", "HEAD:main"]);
    wait_until_told(&world, vec![pushed]);
    by_itself(&world, "all");
    let _daemon = world.restarted(daemon);
    clone.commit("ABC-5 newer");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_until_idle();
    assert_eq!(runs(&world), Vec::<Value>::new());
    world.agent_says(&["sync", "start", path(&repository)]);
    wait_until_told(&world, keyed(&repository, "main"));
}

#[test]
fn f63_h14_history_leaves_in_as_few_requests_as_there_can_be() {
    let world = World::new();
    let _daemon = world.daemon();
    let told = |repositories: &[Repository<'_>], commits: u64| {
        let before = world.sandbox.requests("/bulk").len();
        let paths = repositories.iter().map(path);
        world.agent_says(&["sync", "start"].into_iter().chain(paths).collect::<Vec<_>>());
        let through = || {
            let runs = runs(&world);
            let ended = runs.iter().filter(|run| run["state"] == "done" && run["due"] == 0);
            ended.filter_map(|run| run["owed"].as_u64()).sum::<u64>() == commits
        };
        wait_until_or("all is told", through, || format!("{:?}\n{}", runs(&world), world.log()));
        world.sandbox.requests("/bulk")[before..].len()
    };
    let small: Vec<_> = (0..20).map(|number| with_history(&world, &format!("small-{number}"), 40, 1)).collect();
    // All of them fit into one; a slow machine keeps what it has for ten seconds.
    assert!(told(&small, 800) <= 2);
    let long = [with_history(&world, "long", 4000, 1)];
    assert_eq!(told(&long, 4800), 10);
}
