//! Stories that a user would tell, one text file each in `tests/cases/`.
//!
//! A line that begins with `$ ` is run by the shell, in the folder of a world of its own where a sandbox Jira is
//! linked, once with each git that is installed; `> ` continues it. The lines after it are what it says, standard error after standard output. `[..]` stands for any text
//! within a line, a line `...` for any lines, `? N` for an exit status other than 0. Other lines are for the reader.

use std::path::Path;

use serde_json::json;

use crate::harness::{World, gits};
use crate::smart;

#[test]
fn a_sysadmin_links_a_folder_of_repositories() {
    tell("sysadmin.story");
}

#[test]
fn t17_t19_a_sysadmin_creates_a_repository_and_pushes_to_it() {
    tell("create.story");
}

#[test]
fn a_developer_uses_the_agent_in_a_clone() {
    tell("clone.story");
}

#[test]
fn j10_j15_j17_k1_a_team_begins_to_ask_for_keys() {
    tell("policy.story");
}

#[test]
fn k1_k2_k3_k16_a_developer_writes_messages() {
    tell("message.story");
}

#[test]
fn k4_k5_k6_k7_k8_k13_a_developer_goes_from_issue_to_issue() {
    for git in gits() {
        let mut world = smart::world("policy = \"bot\"");
        world.use_git(&git);
        for key in ["ABC-7", "ABC-8"] {
            world.sandbox.edit_issue(json!({"key": key, "status": "Done"}));
        }
        tell_in(&world, "work.story");
    }
}

#[test]
fn a_message_is_explained_before_it_is_pushed() {
    tell("parse.story");
}

#[test]
fn bad_input_gets_one_sentence_and_a_way_out() {
    tell("mistakes.story");
}

/// One command of a story.
#[derive(Default)]
struct Step {
    line: usize,
    command: String,
    says: Vec<String>,
    status: i32,
}

/// Tells a story once with each git of this machine.
#[track_caller]
fn tell(name: &str) {
    for git in gits() {
        let mut world = World::new();
        world.use_git(&git);
        tell_in(&world, name);
    }
}

#[track_caller]
fn tell_in(world: &World, name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let _end = EndDaemon(world);
    for step in steps(&text) {
        let mut shell = world.command("sh");
        let agent = Path::new(env!("CARGO_BIN_EXE_agent")).parent().unwrap().display().to_string();
        let path = format!("{agent}:{}", world.path().display());
        let output =
            shell.args(["-c", &step.command]).env("PATH", path).env("SITE", world.sandbox.url()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
        let place = format!("{}:{}: $ {}\n{said}", path_of(name), step.line, step.command);
        assert_eq!(output.status.code(), Some(step.status), "{place}");
        assert!(fits(&step.says, &lines), "expected\n{}\nat {place}{}", step.says.join("\n"), world.log());
    }
}

fn path_of(name: &str) -> String {
    format!("tests/cases/{name}")
}

/// The stories start a daemon by the word for it, so it has to be ended like one.
struct EndDaemon<'w>(&'w World);

impl Drop for EndDaemon<'_> {
    fn drop(&mut self) {
        let _ = self.0.agent(&["daemon", "stop"]).output();
    }
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut listening = false;
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { line: number, command: command.to_owned(), ..Step::default() });
            listening = true;
        } else if let (Some(more), Some(step)) = (line.strip_prefix("> "), steps.last_mut()) {
            step.command.push('\n');
            step.command.push_str(more);
        } else if let (Some(status), Some(step)) = (line.strip_prefix("? "), steps.last_mut()) {
            step.status = status.parse().unwrap();
        } else if line.is_empty() {
            listening = false;
        } else if let (true, Some(step)) = (listening, steps.last_mut()) {
            step.says.push(line.to_owned());
        }
    }
    steps
}

fn fits(expected: &[String], said: &[&str]) -> bool {
    match expected.split_first() {
        None => said.is_empty(),
        Some((first, rest)) if first == "..." => (0..=said.len()).any(|skipped| fits(rest, &said[skipped..])),
        Some((first, rest)) => said.split_first().is_some_and(|(line, others)| like(first, line) && fits(rest, others)),
    }
}

fn like(expected: &str, line: &str) -> bool {
    let mut parts = expected.split("[..]");
    let Some(mut left) = line.strip_prefix(parts.next().unwrap()) else { return false };
    let mut open = false;
    for part in parts {
        open = true;
        match if part.is_empty() { Some(left.len()) } else { left.find(part) } {
            Some(at) => left = &left[at + part.len().min(left.len() - at)..],
            None => return false,
        }
    }
    left.is_empty() || (open && expected.ends_with("[..]"))
}

#[test]
fn a_story_that_is_told_otherwise_fails() {
    assert!(fits(&["a [..] c".to_owned()], &["a b c"]));
    assert!(fits(&["...".to_owned(), "end".to_owned()], &["x", "y", "end"]));
    assert!(!fits(&["a [..] c".to_owned()], &["a b d"]));
    assert!(!fits(&["a".to_owned()], &["a", "b"]));
    assert!(!fits(&["a".to_owned()], &[]));
    assert!(!fits(&[], &["more"]));
}
