//! The daemon as a process: signals, reloads, supervisors, descriptors, a log nobody reads, and clocks that jump.

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::direct::{Direct, Promise, has, number, wait_for_commits};
use crate::harness::{Daemon, PATIENCE, Process, World, shown, wait_until, wait_until_or};

const TOP: &str = "[hook]\nread_ms = 1500\ndeadline_ms = 2000\n";
const SITE: &str = "projects = [\"ABC\"]\n";

fn world() -> World {
    World::with(SITE, TOP)
}

#[test]
fn f30_a_stop_in_the_middle_of_a_batch_ends_in_time_and_the_batch_arrives_later() {
    let world = world();
    let direct = Direct::new(&world, "tool", 1);
    let mut daemon = world.daemon();
    world.sandbox.misbehave(json!([{"on": "bulk", "times": 1, "act": {"delay": {"ms": 60_000}}}]));
    assert_eq!(direct.push(0), Promise::Queued);
    wait_until("the batch is on its way", || world.sandbox.state()["faults"].as_array().unwrap().is_empty());
    let began = Instant::now();
    assert_eq!(daemon.stop(), Some(0), "{}", world.log());
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert_eq!(number(&world, "SELECT count(*) FROM lane WHERE lease_until > 0"), 0);
    assert_eq!(number(&world, "SELECT value FROM meta WHERE name = 'clean'"), 1);
    let _daemon = world.daemon();
    wait_for_commits(&world, &direct.commits);
}

#[test]
fn f30_an_idle_daemon_stops_with_0_on_every_polite_signal() {
    let world = world();
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = world.daemon();
        daemon.process.signal(signal);
        assert_eq!(daemon.process.wait(), Some(0));
        assert!(!world.folder.join("admin.sock").exists());
    }
}

/// What the daemon says of the configuration it runs with.
fn config_error(world: &World) -> String {
    world.status()["running"]["config_error"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn f75_a_typo_keeps_the_old_configuration_and_is_told_with_line_and_column() {
    let world = world();
    let direct = Direct::new(&world, "tool", 2);
    let _daemon = world.daemon();
    world.configure(SITE, "[hook]\nansewr = true\n");
    let output = world.agent(&["daemon", "reload"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // The words themselves need the configuration too, so they are the first to say what is wrong with it.
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("config.toml:2:1: unknown field `ansewr` — did you mean `answer`?"), "{said}");
    wait_until_or("the daemon noticed", || world.log().contains("kept the old configuration"), || world.log());
    assert!(world.log().contains("config.toml:2:1"), "{}", world.log());
    world.configure(SITE, TOP);
    wait_until("the daemon took the repaired one", || config_error(&world).is_empty());
    assert_eq!(direct.push(0), Promise::Queued);
    assert!(world.agent_says(&["daemon", "reload"]).contains("took the configuration"));
    wait_for_commits(&world, &direct.commits[..1]);
}

/// As above, but asked by a reload whose own configuration is in order, as after an edit between the two readings.
#[test]
fn f75_reload_fails_with_what_the_daemon_says() {
    let world = world();
    let _daemon = world.daemon();
    let own = world.folder.join("own.toml");
    std::fs::copy(world.config(), &own).unwrap();
    world.configure(&format!("{SITE}tiemout = 1\n"), TOP);
    let output = world.agent(&["--config", own.to_str().unwrap(), "daemon", "reload"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("unknown field `tiemout`"), "{said}");
    assert!(said.contains("config.toml:"), "{said}");
    assert_eq!(world.agent(&["--config", own.to_str().unwrap(), "status"]).output().unwrap().status.code(), Some(1));
}

/// A new site in the file is a new site in the status, whichever way the daemon hears of the change.
#[test]
fn a_change_of_the_configuration_is_taken_by_itself_on_hangup_and_on_reload() {
    let world = world();
    let daemon = world.daemon();
    let url = world.sandbox.url();
    let more = |names: &[&str]| {
        let table = |name: &&str| {
            format!(
                "[[site]]\nname = \"{name}\"\nurl = \"{url}\"\napi_url = \"{url}\"\nauth_url = \"{url}/oauth/token\"\n\
                 client_id = \"sandbox-client\"\nsecret_file = \"secret\"\n"
            )
        };
        format!("{SITE}{}", names.iter().map(table).collect::<String>())
    };
    let sites = || world.status()["running"]["sites"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(sites(), ["jira"]);
    world.configure(&more(&["two"]), TOP);
    wait_until("the file is noticed", || sites() == ["jira", "two"]);
    world.configure(&more(&["three"]), TOP);
    daemon.process.signal(Signal::HUP);
    wait_until("a hangup reads it", || sites() == ["jira", "three"]);
    world.configure(&more(&[]), TOP);
    world.agent_says(&["daemon", "reload"]);
    wait_until("a reload reads it", || sites() == ["jira"]);
}

/// An editor that is killed while it writes leaves half a file, and one that writes in steps shows many halves.
#[test]
fn f76_a_half_written_configuration_is_never_used() {
    let world = world();
    let direct = Direct::new(&world, "tool", 4);
    let _daemon = world.daemon();
    let whole = std::fs::read_to_string(world.config()).unwrap();
    let own = world.folder.join("own.toml");
    std::fs::write(&own, &whole).unwrap();
    for (number, part) in [whole.len() / 3, whole.len() / 2, whole.len() - 30].into_iter().enumerate() {
        std::fs::write(world.config(), &whole.as_bytes()[..part]).unwrap();
        let reload = world.agent(&["--config", own.to_str().unwrap(), "daemon", "reload"]).output().unwrap();
        assert!(!reload.status.success(), "{part} bytes were taken for a configuration");
        let (hook, line) = direct.hook(number);
        let mut hook_with_own = world.agent(&["hook", "--config", own.to_str().unwrap(), "post-receive"]);
        hook_with_own.current_dir(hook.get_current_dir().unwrap()).env("GIT_DIR", ".");
        let said = crate::direct::feed(&mut hook_with_own, line.as_bytes());
        assert_eq!(crate::direct::promise(&said), Promise::Queued);
    }
    std::fs::write(world.config(), &whole).unwrap();
    world.agent_says(&["daemon", "reload"]);
    assert_eq!(direct.push(3), Promise::Queued);
    wait_for_commits(&world, &direct.commits);
    assert_eq!(config_error(&world), "");
}

#[test]
fn daemon_start_status_and_stop_work_without_a_supervisor() {
    let world = world();
    let direct = Direct::new(&world, "tool", 1);
    assert_eq!(world.agent(&["daemon", "status"]).output().unwrap().status.code(), Some(69));
    assert!(world.agent_says(&["daemon", "stop"]).contains("no daemon runs"));
    // Its output goes to a file: a daemon that kept ours would keep a pipe open for ever.
    let said = world.agent_says(&["daemon", "start"]);
    let stop = StopAtEnd(&world);
    assert!(said.contains("the daemon runs as process"), "{said}");
    assert!(world.agent_says(&["daemon", "status"]).contains("takes events"));
    let again = world.agent(&["daemon", "start"]).output().unwrap();
    assert_eq!(again.status.code(), Some(75), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(direct.push(0), Promise::Queued);
    wait_for_commits(&world, &direct.commits);
    drop(stop);
    assert_eq!(world.agent(&["daemon", "status"]).output().unwrap().status.code(), Some(69));
    assert!(std::fs::read_to_string(world.state().join("daemon.log")).unwrap().contains("started"));
}

/// A daemon in the background is no child of ours.
struct StopAtEnd<'w>(&'w World);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        let _ = self.0.agent(&["daemon", "stop"]).output();
    }
}

#[test]
fn a_socket_from_the_supervisor_is_used_and_starts_the_daemon_with_the_first_event() {
    if !has("systemd-socket-activate") {
        return;
    }
    let world = world();
    let direct = Direct::new(&world, "tool", 2);
    let run = world.agent(&["daemon", "run"]);
    let mut activate = world.command("systemd-socket-activate");
    activate.arg("-l").arg(world.socket()).arg("--fdname=intake");
    activate.arg("-E").arg(format!("GIT_JIRA_AGENT_CONFIG={}", world.config().display()));
    let log = world.folder.join("daemon.log");
    let file = std::fs::File::create(&log).unwrap();
    activate.arg(run.get_program()).args(run.get_args()).stdout(Stdio::null()).stderr(file);
    let mut daemon = Daemon { process: Process(activate.spawn().unwrap()), log };
    wait_until("the socket is there", || world.socket().exists());
    assert!(!world.state().join("queue.db").exists());
    // The first hook may wait in the backlog longer than it has time; then its event is in the spool.
    assert!(!matches!(direct.push(0), Promise::Nothing(_)));
    wait_until("the daemon runs", || world.agent(&["daemon", "status"]).output().unwrap().status.success());
    assert_eq!(direct.push(1), Promise::Queued);
    wait_for_commits(&world, &direct.commits);
    assert_eq!(daemon.stop(), Some(0));
    assert!(world.socket().exists(), "the supervisor's socket is not ours to take away");
}

#[test]
fn the_supervisor_hears_ready_watchdog_reloading_and_stopping() {
    let world = world();
    let path = world.folder.join("notify.sock");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = String::new();
    let mut hear = |what: &str| {
        let mut buffer = [0; 4096];
        while !heard.contains(what) {
            let length = supervisor.recv(&mut buffer).unwrap_or_else(|error| panic!("{what}: {error}, only {heard}"));
            heard += &String::from_utf8_lossy(&buffer[..length]);
            heard.push('\n');
        }
        heard.clear();
    };
    let mut daemon = world.spawn_daemon(&[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    hear("READY=1");
    // Ready means ready: the first word of a client is answered.
    assert!(UnixStream::connect(world.socket()).is_ok());
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    daemon.process.signal(Signal::HUP);
    hear("RELOADING=1");
    hear("READY=1");
    daemon.process.signal(Signal::TERM);
    hear("STOPPING=1");
    assert_eq!(daemon.process.wait(), Some(0));
}

#[test]
fn f37_a_daemon_without_descriptors_left_loses_nothing_and_recovers() {
    if !has("prlimit") {
        return;
    }
    let world = world();
    let direct = Direct::new(&world, "tool", 3);
    let daemon = world.daemon();
    let pid = daemon.process.0.id().to_string();
    assert_eq!(direct.push(0), Promise::Queued);
    wait_for_commits(&world, &direct.commits[..1]);
    assert!(Command::new("prlimit").args(["--pid", &pid, "--nofile=64:64"]).status().unwrap().success());
    let idle: Vec<_> = (0..120).filter_map(|_| UnixStream::connect(world.socket()).ok()).collect();
    wait_until("descriptors are used up", || open_files(&daemon) >= 60);
    assert!(!matches!(direct.push(1), Promise::Nothing(_)));
    drop(idle);
    wait_until("descriptors are free again", || open_files(&daemon) < 50);
    wait_until("the daemon takes events", || direct.push(2) == Promise::Queued);
    wait_for_commits(&world, &direct.commits);
}

fn open_files(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.process.0.id())).unwrap().count()
}

#[test]
fn f81_a_log_that_nobody_reads_holds_nothing_up_and_what_was_left_out_is_counted() {
    let world = world();
    let text = std::fs::read_to_string(world.config()).unwrap().replace("[daemon]\n", "[daemon]\nlog = \"trace\"\n");
    std::fs::write(world.config(), text).unwrap();
    let direct = Direct::new(&world, "tool", 20);
    let mut run = world.agent(&["daemon", "run"]);
    let mut child = run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = child.stderr.take().unwrap();
    let mut process = Process(child);
    wait_until("the daemon is ready", || world.agent(&["daemon", "status"]).output().unwrap().status.success());
    // Each of these is worth a line; a pipe and the lines in memory hold about five thousand.
    for _ in 0..8000 {
        let mut stranger = UnixStream::connect(world.socket()).unwrap();
        stranger.set_read_timeout(Some(PATIENCE)).unwrap();
        stranger.write_all(b"not a frame at all").unwrap();
        let _ = stranger.read(&mut [0; 64]).expect("the daemon answers although nobody reads its log");
    }
    for number in 0..20 {
        assert_eq!(direct.push(number), Promise::Queued);
    }
    wait_for_commits(&world, &direct.commits);
    wait_until_or(
        "lines are left out",
        || world.status()["running"]["log_lines_dropped"].as_u64().unwrap() > 0,
        || world.status()["running"].to_string(),
    );
    // Read again, the log says how much is missing, and the daemon stops like any other.
    process.signal(Signal::TERM);
    let mut said = Vec::new();
    log.read_to_end(&mut said).unwrap();
    assert_eq!(process.wait(), Some(0));
    assert!(String::from_utf8_lossy(&said).contains("lines of the log were left out"));
}

/// Where Debian puts the library that moves a process's clock.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

#[test]
fn f33_when_the_clock_jumps_events_flow_and_numbers_only_grow() {
    if !has("faketime") || !Path::new(FAKETIME).exists() {
        return;
    }
    let world = world();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let clock = world.folder.join("clock");
    std::fs::write(&clock, "+0").unwrap();
    let mut daemon = world.daemon_with(&[
        ("LD_PRELOAD", FAKETIME),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ]);
    let mut last = 0;
    for (turn, offset) in ["+0", "-365d", "+3650d", "-1d", "+0"].into_iter().enumerate() {
        std::fs::write(&clock, offset).unwrap();
        clone.commit(&format!("ABC-1 at {offset}"));
        let said = clone.push(&["origin", "HEAD:refs/heads/ABC-1-x"]);
        assert!(said.contains("queued for Jira"), "{said}");
        world.wait_for_jira(turn + 1, 1);
        let tip = clone.git(&["rev-parse", "HEAD"]);
        let mut branch = serde_json::Value::Null;
        wait_until_or(
            "the branch has moved",
            || {
                branch = shown(&world.sandbox.state(), "branches")[0].clone();
                branch["data"]["lastCommit"]["id"] == tip.as_str()
            },
            || world.log(),
        );
        let sequence = branch["data"]["updateSequenceId"].as_i64().unwrap();
        assert!(sequence > last, "at {offset}: {sequence} after {last}");
        last = sequence;
        // No storm: each turn is a handful of requests.
        assert!(world.sandbox.requests("/bulk").len() <= 4 * (turn + 1));
    }
    assert!(daemon.process.0.try_wait().unwrap().is_none());
    assert_eq!(daemon.stop(), Some(0));
}

/// Times are those of UTC wherever the machine stands, so no hour is there twice.
#[test]
fn f35_the_zone_of_the_machine_changes_nothing() {
    let world = world();
    let daemon = world.daemon_with(&[("TZ", "America/New_York")]);
    let line = world.log().lines().next().unwrap().to_owned();
    let now = String::from_utf8(Command::new("date").args(["-u", "+%Y-%m-%dT%H"]).output().unwrap().stdout).unwrap();
    let hour_ago =
        String::from_utf8(Command::new("date").args(["-u", "-d", "-1 hour", "+%Y-%m-%dT%H"]).output().unwrap().stdout)
            .unwrap();
    assert!(line.starts_with(now.trim()) || line.starts_with(hour_ago.trim()), "{line}");
    assert!(line.split(' ').next().unwrap().ends_with('Z'), "{line}");
    drop(daemon);
}
