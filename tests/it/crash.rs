//! What was acknowledged survives whatever ends the process, and reaches Jira once.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::clock::Clock;
use crate::direct::{Chance, Direct, Promise, has, missing, number, wait_for_commits};
use crate::harness::{Daemon, World, shown, wait_until, wait_until_or};
use crate::hook::skipped;

/// Hooks get the time they need on a busy machine, so that each says what it did.
const PATIENT: &str = "[hook]\nread_ms = 1500\ndeadline_ms = 2000\n";

fn patient_world() -> World {
    World::with("projects = [\"ABC\"]\n", PATIENT)
}

pub fn asked_for(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// `AGENT_IT_KILLS` and `AGENT_IT_SEED` ask for more and for others.
#[test]
fn f15_a1_what_was_acknowledged_survives_a_kill_at_any_moment() {
    const EACH: usize = 3;
    let kills = usize::try_from(asked_for("AGENT_IT_KILLS", 200)).unwrap();
    let seed = asked_for("AGENT_IT_SEED", 1);
    let mut chance = Chance(seed);
    let world = patient_world();
    let direct = Direct::new(&world, "tool", kills * EACH);
    let mut promised = BTreeSet::new();
    let mut queued = 0;
    for round in 0..kills {
        let mut daemon = world.spawn_daemon(&[]);
        // Most are killed while they start or store, some while they tell Jira, a second after a push.
        let life = if round % 20 == 19 { 1000 + chance.below(800) } else { chance.below(250) };
        let promises = std::thread::scope(|scope| {
            let hooks = scope.spawn(|| {
                (round * EACH..(round + 1) * EACH).map(|number| (number, direct.push(number))).collect::<Vec<_>>()
            });
            // The moment is the subject here: nothing is waited for.
            std::thread::sleep(Duration::from_millis(life));
            daemon.process.kill();
            hooks.join().unwrap()
        });
        queued += promises.iter().filter(|(_, promise)| *promise == Promise::Queued).count();
        promised.extend(
            promises
                .into_iter()
                .filter(|(_, promise)| !matches!(promise, Promise::Nothing(_)))
                .map(|(number, _)| number),
        );
    }
    let all = kills * EACH;
    assert!(
        queued * 10 > all && promised.len() * 10 > all * 9,
        "seed {seed}: {queued} queued, {} promised of {all}",
        promised.len()
    );
    let mut daemon = world.daemon();
    let commits: Vec<_> = promised.iter().map(|number| direct.commits[*number].clone()).collect();
    wait_for_commits(&world, &commits);
    world.wait_until_idle();
    assert_eq!(daemon.stop(), Some(0));
    assert_told_once(&world);
    let events = number(&world, "SELECT count(*) FROM event WHERE kind = 'push'");
    assert!(
        (promised.len()..=all).contains(&usize::try_from(events).unwrap()),
        "seed {seed}: {events} events of {all} hooks"
    );
}

/// Jira has each entity once, in the state that the queue says was told last.
#[track_caller]
fn assert_told_once(world: &World) {
    assert_eq!(number(world, "SELECT count(*) - count(DISTINCT sequence) FROM entity"), 0);
    assert_eq!(number(world, "SELECT count(*) FROM entity WHERE state <> 'settled'"), 0);
    let store = rusqlite::Connection::open(world.state().join("queue.db")).unwrap();
    for commit in shown(&world.sandbox.state(), "commits") {
        let id = commit["data"]["id"].as_str().unwrap();
        let sql = "SELECT sequence FROM entity WHERE kind = 'commit' AND entity_id = ?1";
        let sequence: i64 = store.query_row(sql, [id], |row| row.get(0)).unwrap();
        assert_eq!(commit["data"]["updateSequenceId"], sequence, "{commit}");
    }
}

/// Every place named in the source where a test may let the process die, and at which passages it is tried.
pub const PLACES: &[(&str, &[u32])] = &[
    ("daemon.before_reply", &[1]),
    ("effects.after_claim", &[1, 2]),
    ("effects.after_send", &[1]),
    ("effects.before_probe", &[1]),
    ("effects.before_send", &[1]),
    ("history.before_portion", &[6]),
    ("hook.after_answer", &[1]),
    ("hook.after_write_before_ack", &[1]),
    ("hook.before_connect", &[1]),
    ("hook.before_spool", &[1]),
    ("line.before_finish", &[1]),
    ("mail.after_mark", &[1]),
    ("queue.before_ack", &[1, 2, 3, 4, 5, 6]),
    ("queue.before_commit", &[1, 2, 3, 4, 5, 6]),
    ("queue.in_migration", &[1]),
    ("sites.after_send", &[1]),
    ("sites.before_send", &[1]),
    ("spool.before_remove", &[1]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn f15_every_place_where_the_process_may_die_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["src", "hooks/agent-hook/src"].map(|folder| sources(&root.join(folder)));
    let texts = files.into_iter().flatten().filter_map(|path| std::fs::read_to_string(path).ok());
    let named = |text: &str| {
        text.split("failpoint(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let found: BTreeSet<String> = texts.flat_map(|text| named(&text)).collect();
    let tested: BTreeSet<String> = PLACES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, tested);
}

#[track_caller]
pub fn assert_aborted(daemon: &mut Daemon, place: &str) {
    let mut status = None;
    wait_until(&format!("the daemon dies at {place}"), || {
        status = daemon.process.0.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().signal(), Some(6), "at {place}");
}

#[test]
fn f15_f28_f31_nothing_is_lost_or_told_twice_wherever_the_daemon_dies() {
    let world = patient_world();
    let direct = Direct::new(&world, "tool", 100);
    let mut numbers = 0..100;
    let mut promised = Vec::new();
    let mut push = |environment: &[(&str, &str)]| {
        let number = numbers.next().unwrap();
        let promise = direct.push_with(number, environment);
        assert!(!matches!(promise, Promise::Nothing(_)), "{promise:?}");
        promised.push(direct.commits[number].clone());
    };
    let elsewhere = |name: &str| {
        ["hook.", "effects.", "history.", "mail."].iter().any(|part| name.starts_with(part))
            || name == "queue.in_migration"
    };
    for (name, passages) in PLACES.iter().filter(|(name, _)| !elsewhere(name)) {
        for passage in *passages {
            let place = format!("{name}:{passage}");
            push(&[]);
            let mut daemon = world.spawn_daemon(&[("AGENT_ABORT_AT", &place)]);
            // Enough for every passage, and it may be dead already: then the spool takes it.
            wait_until("the daemon listens or is dead", || {
                world.socket().exists() || daemon.process.0.try_wait().unwrap().is_some()
            });
            push(&[]);
            assert_aborted(&mut daemon, &place);
            let _ = std::fs::remove_file(world.socket());
        }
    }
    let mut daemon = world.daemon();
    wait_for_commits(&world, &promised);
    world.wait_until_idle();
    assert_eq!(daemon.stop(), Some(0));
    assert_told_once(&world);
    assert_eq!(
        number(&world, "SELECT count(*) FROM event WHERE kind = 'push'"),
        i64::try_from(promised.len()).unwrap()
    );
}

#[test]
fn f28_a_batch_that_died_before_it_was_settled_is_told_again_under_its_old_number() {
    let world = patient_world();
    let direct = Direct::new(&world, "tool", 1);
    let mut daemon = world.daemon_with(&[("AGENT_ABORT_AT", "sites.after_send")]);
    assert_eq!(direct.push(0), Promise::Queued);
    assert_aborted(&mut daemon, "sites.after_send");
    world.wait_for_jira(1, 0);
    let told = shown(&world.sandbox.state(), "commits");
    let mut daemon = world.daemon();
    wait_until("the batch is told again", || world.sandbox.requests("/bulk").len() == 2);
    world.wait_until_idle();
    assert_eq!(daemon.stop(), Some(0));
    let again = shown(&world.sandbox.state(), "commits");
    assert_eq!(again.len(), 1);
    assert_eq!(again[0]["data"]["updateSequenceId"], told[0]["data"]["updateSequenceId"]);
}

#[test]
fn f77_a_migration_that_was_cut_off_is_done_again() {
    let world = patient_world();
    let direct = Direct::new(&world, "tool", 1);
    let mut daemon = world.spawn_daemon(&[("AGENT_ABORT_AT", "queue.in_migration")]);
    assert_aborted(&mut daemon, "queue.in_migration");
    assert_eq!(number(&world, "PRAGMA user_version"), 0);
    let _daemon = world.daemon();
    assert_eq!(direct.push(0), Promise::Queued);
    wait_for_commits(&world, &direct.commits);
}

/// A hook that dies fails no push, and what it did not hand over is found by comparing refs.
#[test]
fn f15_a_hook_that_dies_anywhere_fails_no_push_and_loses_nothing() {
    let world = patient_world();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let mut daemon = world.daemon();
    clone.commit("ABC-1 met");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_jira(1, 0);
    // Without its announcement: what the pusher's Git runs before the refs move may refuse a push by dying.
    std::fs::remove_file(repository.path.join("hooks/pre-receive")).unwrap();
    let mut commits = 1;
    let places = ["hook.before_connect", "hook.after_write_before_ack", "hook.after_answer", "hook.before_spool"];
    for (place, running) in places.map(|place| (place, place != "hook.before_spool")) {
        if !running {
            assert_eq!(daemon.stop(), Some(0));
        }
        clone.commit(&format!("ABC-2 past {place}"));
        commits += 1;
        let mut push = clone.command(&["push", "origin", "HEAD:main"]);
        let output = push.env("AGENT_ABORT_AT", place).output().unwrap();
        assert!(output.status.success(), "{place}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let _daemon = world.daemon();
    world.wait_for_jira(commits, 0);
    world.wait_until_idle();
}

#[test]
fn f32_a_message_of_ten_megabytes_arrives_within_the_memory_limit() {
    let world = patient_world();
    let long = format!("ABC-1 long\n\n{}", "all work and no play\n".repeat(500_000));
    let direct = Direct::of_messages(
        &world,
        "tool",
        std::iter::repeat_n(long, 3).enumerate().map(|(n, long)| format!("{long}{n}")),
    );
    let daemon = world.daemon();
    for number in 0..3 {
        let promise = direct.push(number);
        assert!(!matches!(promise, Promise::Nothing(_)), "{promise:?}");
    }
    wait_for_commits(&world, &direct.commits);
    let most = peak_mib(&daemon);
    assert!(most <= 256, "{most} MiB");
}

/// The most memory that a daemon ever had.
pub fn peak_mib(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.process.0.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

/// Runs the tool that replays a trace and cuts the power at many of its moments; `AGENT_IT_POINTS` asks for more.
fn cut_power(arguments: &[&str], command: &mut Command, world: &World) -> Value {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/power_cut.py");
    let mut python = world.command("python3");
    let points = asked_for("AGENT_IT_POINTS", 600).to_string();
    python
        .arg(tool)
        .args(arguments)
        .args(["--points", &points, "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        python.env(name, value.unwrap());
    }
    let output = python.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Events taken by a traced daemon, and what was missing in the states a power cut could have left.
fn cut_power_of_the_queue(environment: &[(&str, &str)]) -> Option<Value> {
    if !has("strace") || !has("python3") {
        return None;
    }
    let world = patient_world();
    let direct = Direct::new(&world, "tool", 60);
    for number in 0..60 {
        assert_eq!(direct.push(number), Promise::Kept);
    }
    let frames = world.folder.join("frames");
    std::fs::rename(world.spool().join("incoming"), &frames).unwrap();
    std::fs::create_dir(world.spool().join("incoming")).unwrap();
    let (folder, socket, frames) = (world.state(), world.socket(), frames);
    let arguments = ["queue", "--folder", text(&folder), "--socket", text(&socket), "--frames", text(&frames)];
    Some(cut_power(&arguments, world.agent(&["daemon", "run"]).envs(environment.iter().copied()), &world))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn f16_a2_no_power_cut_takes_an_acknowledged_event() {
    let Some(found) = cut_power_of_the_queue(&[]) else { return };
    assert_eq!(
        (&found["lost"], &found["damaged"], &found["acknowledged"]),
        (&0.into(), &0.into(), &60.into()),
        "{found}"
    );
    assert!(found["states"].as_u64().unwrap() >= 4000, "{found}");
}

/// The test above can fail: without the sync at each commit, events are missing.
#[test]
fn f16_a2_a_queue_that_does_not_sync_is_found_out() {
    let Some(found) = cut_power_of_the_queue(&[("AGENT_WEAKEN", "synchronous")]) else { return };
    assert!(found["lost"].as_u64().unwrap() > 0, "{found}");
}

#[test]
fn f12_f16_no_power_cut_takes_an_event_out_of_the_spool() {
    if !has("strace") || !has("python3") {
        return;
    }
    let world = patient_world();
    let direct = Direct::new(&world, "tool", 12);
    let script = world.folder.join("hooks.sh");
    let mut lines = format!("cd {}\n", text(&direct.repository.path));
    for number in 0..12 {
        let (hook, line) = direct.hook(number);
        lines +=
            &format!("printf %s '{line}' | GIT_DIR=. {} hook post-receive\n", hook.get_program().to_str().unwrap());
    }
    std::fs::write(&script, lines).unwrap();
    let spool = world.spool();
    let found = cut_power(&["spool", "--folder", text(&spool)], world.command("sh").arg(&script), &world);
    assert_eq!((&found["lost"], &found["acknowledged"]), (&0.into(), &12.into()), "{found}");
}

/// A daemon that was stopped, not ended, keeps the queue; awake again it goes on where it was.
/// A part of the daemon that panics is begun again where it was.
#[test]
fn f36_a_panic_costs_a_part_of_the_daemon_a_moment_and_loses_nothing() {
    for (place, begun_again) in
        [("line.before_finish", true), ("sites.before_send", true), ("daemon.before_reply", false)]
    {
        let world = patient_world();
        let direct = Direct::new(&world, "tool", 2);
        let daemon = world.daemon_with(&[("AGENT_PANIC_AT", place)]);
        let promises = [direct.push(0), direct.push(1)];
        assert!(!promises.iter().any(|promise| matches!(promise, Promise::Nothing(_))), "{place}: {promises:?}");
        wait_for_commits(&world, &direct.commits);
        world.wait_until_idle();
        assert!(missing(&world, &direct.commits).is_empty(), "{place}");
        let status = world.status();
        assert_eq!(status["running"]["begun_again"].as_u64() > Some(0), begun_again, "{place}: {status}");
        drop(daemon);
    }
}

/// Without the thread that writes there is nothing a daemon could promise: it ends, and its supervisor starts it anew.
#[test]
fn f36_a_panic_of_the_writing_thread_ends_the_process() {
    let world = patient_world();
    let direct = Direct::new(&world, "tool", 2);
    let mut daemon = world.spawn_daemon(&[("AGENT_PANIC_AT", "queue.before_commit:4")]);
    direct.push(0);
    assert_eq!(daemon.process.wait(), Some(74));
    let _daemon = world.daemon();
    direct.push(1);
    wait_for_commits(&world, &direct.commits);
}

/// A computer that is closed in the middle of a request and opened days later.
#[test]
fn f34_what_was_under_way_before_three_days_of_sleep_reaches_jira_after_them() {
    use rustix::process::Signal;
    let world = patient_world();
    let direct = Direct::new(&world, "tool", 2);
    let Some((clock, daemon)) = Clock::of_everything(&world) else {
        return skipped("there is no faketime here");
    };
    world.sandbox.misbehave(serde_json::json!([{"on": "bulk", "times": 1, "act": {"delay": {"ms": 60_000}}}]));
    assert_eq!(direct.push(0), Promise::Queued);
    wait_until("Jira is being told", || world.sandbox.state()["faults"].as_array().unwrap().is_empty());
    daemon.process.signal(Signal::STOP);
    clock.set("+3d");
    daemon.process.signal(Signal::CONT);
    assert_eq!(direct.push(1), Promise::Queued);
    wait_for_commits(&world, &direct.commits);
    assert!(world.sandbox.requests("bulk").len() <= 4, "no storm after the sleep");
}

#[test]
fn f29_f38_a_daemon_that_sleeps_keeps_its_queue_and_goes_on() {
    use rustix::process::Signal;
    let world = patient_world();
    let direct = Direct::new(&world, "tool", 2);
    let daemon = world.daemon();
    daemon.process.signal(Signal::STOP);
    let second = world.agent(&["daemon", "run"]).output().unwrap();
    assert_eq!(second.status.code(), Some(75), "{}", String::from_utf8_lossy(&second.stderr));
    let asleep = direct.push(0);
    daemon.process.signal(Signal::CONT);
    assert_eq!(direct.push(1), Promise::Queued);
    assert_eq!(asleep, Promise::Kept);
    wait_for_commits(&world, &direct.commits);
    wait_until_or(
        "both ways of the first became one event",
        || {
            world.wait_until_idle();
            missing(&world, &direct.commits).is_empty()
        },
        || world.log(),
    );
}
