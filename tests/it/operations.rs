//! What an administrator touches: units, words, manual, exit statuses, and secrets that appear nowhere.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::direct::{feed, has};
use crate::harness::{World, success, wait_until};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

/// The units in a folder of their own, naming the binary under test: a unit whose program is missing is no unit.
fn units() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["git-jira-agent.service", "git-jira-agent.socket"] {
        let text = std::fs::read_to_string(root().join("packaging/systemd").join(name)).unwrap();
        assert!(name.ends_with(".socket") || text.contains("ExecStart=/usr/bin/agent daemon run\n"), "{text}");
        std::fs::write(folder.path().join(name), text.replace("/usr/bin/agent", env!("CARGO_BIN_EXE_agent"))).unwrap();
    }
    folder
}

#[test]
fn s29_systemd_finds_nothing_wrong_with_the_units() {
    if !has("systemd-analyze") {
        return;
    }
    let folder = units();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=one"]);
    let output = verify
        .arg(folder.path().join("git-jira-agent.service"))
        .arg(folder.path().join("git-jira-agent.socket"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<_> = said.lines().filter(|line| line.contains("git-jira-agent")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn s29_the_units_for_a_person_are_sound_too() {
    if !has("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify
        .args(["verify", "--user", "--man=no", "--recursive-errors=one"])
        .env("XDG_RUNTIME_DIR", folder.path())
        .env("HOME", folder.path());
    for name in ["git-jira-agent.service", "git-jira-agent.socket"] {
        let text = std::fs::read_to_string(root().join("packaging/systemd/user").join(name)).unwrap();
        let lines = text.lines().map(|line| {
            match line.strip_prefix("ExecStart=").and_then(|command| command.split_once(" daemon")) {
                Some((_, rest)) => format!("ExecStart={} daemon{rest}", env!("CARGO_BIN_EXE_agent")),
                None => line.to_owned(),
            }
        });
        std::fs::write(folder.path().join(name), lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
        verify.arg(folder.path().join(name));
    }
    let output = verify.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.lines().any(|line| line.contains("git-jira-agent")), "{said}");
}

#[test]
fn s29_the_exposure_of_the_service_is_at_most_two() {
    if !has("systemd-analyze") {
        return;
    }
    let unit = units();
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--threshold=20", "--no-pager"]);
    let output = security.arg(unit.path().join("git-jira-agent.service")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let verdict = said.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_default();
    assert!(output.status.success() && !verdict.is_empty(), "{verdict}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_user_and_the_folders_of_the_package_can_be_made() {
    if !has("systemd-sysusers") || !has("systemd-tmpfiles") {
        return;
    }
    let etc = tempfile::tempdir().unwrap();
    std::fs::create_dir(etc.path().join("etc")).unwrap();
    let into = format!("--root={}", etc.path().display());
    success(Command::new("systemd-sysusers").arg(&into).arg(root().join("packaging/sysusers.d/git-jira-agent.conf")));
    let users = std::fs::read_to_string(etc.path().join("etc/passwd")).unwrap();
    assert!(users.contains("git-jira-agent:") && users.contains("nologin"), "{users}");
    let mut tmpfiles = Command::new("systemd-tmpfiles");
    let output = tmpfiles
        .arg(&into)
        .arg("--create")
        .arg(root().join("packaging/tmpfiles.d/git-jira-agent.conf"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    check_mode(etc.path(), "var/spool/git-jira-agent/incoming", 0o3733);
    check_mode(etc.path(), "var/spool/git-jira-agent/corrupt", 0o700);
    check_mode(etc.path(), "etc/git-jira-agent/credentials", 0o750);
}

#[track_caller]
fn check_mode(root: &Path, path: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    let found =
        std::fs::metadata(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}")).permissions().mode()
            & 0o7777;
    assert_eq!(found, mode, "{path}: {found:o}");
}

/// The words that a help text lists, below these words.
fn words_below(world: &World, words: &[String]) -> Vec<Vec<String>> {
    let arguments: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
    let output = world.agent(&arguments).output().unwrap();
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && help.contains("Usage: agent"), "{words:?}: {help}");
    assert!(!help.lines().next().unwrap_or_default().trim().is_empty(), "{words:?} says nothing of itself");
    let Some((_, list)) = help.split_once("Commands:\n") else { return vec![words.to_vec()] };
    let names = list
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    names.flat_map(|name| words_below(world, &[words, &[name.to_owned()]].concat())).collect()
}

#[test]
fn every_word_has_help_completions_and_a_place_in_the_manual() {
    let world = World::new();
    let words = words_below(&world, &[]);
    assert!(words.len() >= 20, "{words:?}");
    for word in &words {
        let (last, above) = word.split_last().unwrap();
        let above: Vec<&str> = above.iter().map(String::as_str).collect();
        let mut command = world.agent(&[&["--", "agent"], &above[..], &[&last[..1]]].concat());
        let index = (above.len() + 1).to_string();
        let completed = success(command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", index));
        assert!(completed.lines().any(|one| one == last), "{word:?} is not among {completed:?}");
    }
    let page = world.agent_says(&["man"]).replace("\\-", "-");
    for word in &words {
        assert!(page.contains(word[0].as_str()), "the manual does not name {word:?}");
    }
}

#[test]
fn completions_and_the_manual_are_read_without_complaint() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        if !has(shell) {
            continue;
        }
        let script = world.folder.join(shell);
        std::fs::write(&script, world.agent_says(&["completions", shell])).unwrap();
        success(world.command(shell).arg("-n").arg(script));
    }
    if has("man") {
        let page = world.folder.join("agent.1");
        std::fs::write(&page, world.agent_says(&["man"])).unwrap();
        let output = world
            .command("man")
            .args(["--warnings", "-E", "UTF-8", "-l"])
            .arg(&page)
            .env("MANWIDTH", "80")
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && shown.contains("SUBCOMMANDS"), "{shown}");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_json_is_json_and_names_what_people_see() {
    let world = World::new();
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let id = clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_jira(1, 0);
    world.wait_until_idle();
    let check = |arguments: &[&str], part: &str| {
        let text = world.agent_says(arguments);
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"));
        assert!(value.to_string().contains(part), "{arguments:?}: {value}");
    };
    check(&["status", "--json"], "\"events_queued\":0");
    check(&["queue", "list", "--json"], &id);
    check(&["queue", "show", "--json", &id], "\"settled\"");
    check(&["queue", "events", "--json"], "\"done\"");
    check(&["why", "--json", &id], "ABC-1");
    let parsed = feed(&mut world.agent(&["parse", "--json"]), b"ABC-1 begin");
    assert_eq!(serde_json::from_slice::<Value>(&parsed.stdout).unwrap()["mentions"]["keys"][0]["key"], "ABC-1");
    let doctor = world.agent(&["doctor", "--json"]).output().unwrap();
    assert!(serde_json::from_slice::<Value>(&doctor.stdout).is_ok(), "{}", String::from_utf8_lossy(&doctor.stdout));
}

#[test]
fn exit_statuses_say_what_kind_of_trouble_it_is() {
    let world = World::new();
    let check = |arguments: &[&str], expected: i32| {
        let output = world.agent(arguments).output().unwrap();
        assert_eq!(code(&output), expected, "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(expected == 0 || !output.stderr.is_empty(), "{arguments:?} fails without a word");
    };
    check(&["parse"], 0);
    check(&["parse", "no-such-commit"], 1);
    check(&["no-such-word"], 2);
    check(&["status", "--no-such-flag"], 2);
    check(&["status"], 69);
    check(&["queue", "list"], 69);
    check(&["daemon", "reload"], 69);
    check(&["install", "/nowhere"], 1);
    check(&["--config", "/nowhere/config.toml", "status"], 78);
    let _daemon = world.daemon();
    check(&["status"], 0);
    check(&["queue", "show", "0000000000"], 1);
    check(&["queue", "drop"], 1);
    check(&["daemon", "run"], 75);
    std::fs::write(world.config(), "[hook]\nanswer = 7\n").unwrap();
    check(&["status"], 78);
}

/// A reader that goes away early is no error and no panic.
#[test]
fn output_into_a_closed_pipe_ends_quietly() {
    let world = World::new();
    for words in ["man", "completions bash", "--help"] {
        let line = format!("{} {words} | head -c 1 >/dev/null", env!("CARGO_BIN_EXE_agent"));
        let output = world.command("bash").args(["-c", &line]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.is_empty(), "{words}: {said}");
    }
}

/// The client secret, and nothing like it, appears where it was not put; the tokens it buys as little.
#[test]
fn s14_s15_a_secret_is_in_no_file_no_log_no_argument_and_no_answer() {
    let canary = "canary-7f3a9b-secret";
    let world = World::new();
    world.sandbox.settings(serde_json::json!({"client_secret": canary}));
    let text = std::fs::read_to_string(world.config()).unwrap().replace("[daemon]\n", "[daemon]\nlog = \"trace\"\n");
    std::fs::write(world.config(), text).unwrap();
    world.write_secret(canary);
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let mut daemon = world.daemon();
    clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_jira(1, 0);
    // A refusal is where clients like to show what they sent.
    world.sandbox.misbehave(serde_json::json!([
        {"on": "bulk", "times": 1, "act": {"status": {"code": 401}}},
        {"on": "token", "times": 1, "act": {"status": {"code": 401, "body": format!("bad secret {canary}")}}},
    ]));
    clone.commit("ABC-2 refused");
    clone.push(&["origin", "HEAD:main"]);
    wait_until("it was refused", || world.sandbox.state()["faults"].as_array().unwrap().is_empty());
    let arguments = std::fs::read(format!("/proc/{}/cmdline", daemon.process.0.id())).unwrap();
    assert!(!contains(&arguments, canary.as_bytes()));
    let mut answers = Vec::new();
    for words in [
        &["status"][..],
        &["status", "--json"],
        &["queue", "list"],
        &["queue", "events"],
        &["doctor"],
        &["doctor", "--json"],
        &["why", "ABC-2"],
    ] {
        let output = world.agent(words).output().unwrap();
        answers.extend([output.stdout, output.stderr].concat());
    }
    assert!(!contains(&answers, canary.as_bytes()), "{}", String::from_utf8_lossy(&answers));
    assert_eq!(daemon.stop(), Some(0));
    let mut guilty = Vec::new();
    find(&world.folder, canary.as_bytes(), &mut guilty);
    assert_eq!(guilty, [world.folder.join("secret")]);
    assert!(!world.log().contains("Bearer ey"), "a token is in the log");
    // The log was told everything, so that this test can fail.
    assert!(world.log().contains("TRACE") || world.log().contains("DEBUG"), "{}", world.log());
}

/// Secrets are never taken from the command line, so nobody's process list shows them.
#[test]
fn s13_no_word_takes_a_secret_as_an_argument() {
    let world = World::new();
    let help = world.agent_says(&["link", "--help"]);
    let flags: Vec<_> = help.split_whitespace().filter(|word| word.starts_with("--")).collect();
    assert!(flags.contains(&"--secret-file") && flags.contains(&"--secret-stdin"), "{flags:?}");
    let takes = |flag: &str| ["--secret", "--client-secret", "--token", "--password"].contains(&flag);
    assert!(!flags.iter().any(|flag| takes(flag)), "{flags:?}");
    let help = world.agent_says(&["login", "--help"]);
    let flags: Vec<_> = help.split_whitespace().filter(|word| word.starts_with("--")).collect();
    assert!(flags.contains(&"--token-file") && !flags.iter().any(|flag| takes(flag)), "{flags:?}");
}

pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

pub fn find(folder: &Path, part: &[u8], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            find(&entry.path(), part, found);
        } else if kind.is_file() && contains(&std::fs::read(entry.path()).unwrap(), part) {
            found.push(entry.path());
        }
    }
}
