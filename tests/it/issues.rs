//! What the daemon knows of issues, and how people ask it.

use serde_json::{Value, json};

use crate::harness::{World, success};
use crate::smart;

/// A world whose account may read issues, with a clone whose branch is named after one.
fn world() -> World {
    let world = smart::world("policy = \"bot\"");
    world.sandbox.person(json!({"name": "mia", "email": "mia@example.org", "display_name": "Mia Example"}));
    let edit = json!({"key": "ABC-1", "summary": "The till rings", "type": "Bug", "assignee": "mia"});
    world.sandbox.edit_issue(edit);
    world
}

#[track_caller]
fn issues(world: &World, arguments: &[&str]) -> Vec<Value> {
    let output = world.agent(&[&["issue", "--json"], arguments].concat()).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// How often issues were looked up by their keys.
fn looks(world: &World) -> usize {
    world.sandbox.requests("/issue/bulkfetch").len()
}

#[test]
fn k6_the_issue_of_the_branch_is_shown_with_its_page() {
    let world = world();
    let (_daemon, _repository, clone) = smart::start(&world);
    clone.git(&["checkout", "--quiet", "-b", "fix/abc-1-till"]);
    let shown = success(world.agent(&["issue"]).current_dir(&clone.path));
    assert!(shown.starts_with("ABC-1  Bug, To Do, Mia Example  The till rings"), "{shown}");
    assert!(shown.contains(&format!("{}/browse/ABC-1", world.sandbox.url())), "{shown}");
    let address = success(world.agent(&["open", "--print"]).current_dir(&clone.path));
    assert_eq!(address.trim(), format!("{}/browse/ABC-1", world.sandbox.url()));
}

#[test]
fn e16_a_key_that_an_issue_once_had_leads_to_it() {
    let world = world();
    let _daemon = world.daemon();
    world.sandbox.move_issue("ABC-1", "NEW-7");
    let found = issues(&world, &["abc-1", "ABC-2"]);
    assert_eq!((&found[0]["asked"], &found[0]["issue"]["key"]), (&json!("ABC-1"), &json!("NEW-7")), "{found:?}");
    assert_eq!(found[1]["issue"]["key"], "ABC-2", "{found:?}");
    let shown = world.agent_says(&["issue", "ABC-1"]);
    assert!(shown.starts_with("NEW-7 (was ABC-1)"), "{shown}");
}

#[test]
fn k13_what_was_seen_is_known_without_jira_and_what_was_not_is_said_to_be_unknown() {
    let world = world();
    let daemon = world.daemon();
    let output = world.agent(&["issue", "ABC-1", "ABC-77"]).output().unwrap();
    assert!(!output.status.success(), "one of the two does not exist");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("ABC-77  Jira has no such issue"), "{said}");
    assert_eq!(looks(&world), 1);
    issues(&world, &["ABC-1"]);
    assert_eq!(looks(&world), 1, "what was seen a moment ago is not asked again");
    let _daemon = world.restarted(daemon);
    world.sandbox.misbehave(json!([{"on": "platform", "act": {"status": {"code": 503}}}]));
    let found = issues(&world, &["ABC-1", "ABC-2"]);
    assert_eq!(found[0]["issue"]["summary"], "The till rings", "{found:?}");
    assert_eq!(found[1]["found"], Value::Null, "not to know is not to be missing: {found:?}");
    assert!(found[1]["because"].as_str().unwrap().contains("503"), "{found:?}");
    let known = issues(&world, &["--known"]);
    assert_eq!(known.len(), 1, "{known:?}");
}

#[test]
fn k4_a_persons_own_open_issues_are_listed() {
    let world = world();
    let _daemon = world.daemon();
    for (key, status) in [("ABC-3", "In Progress"), ("ABC-4", "Done")] {
        world.sandbox.edit_issue(json!({"key": key, "status": status, "assignee": "agent"}));
    }
    let mine: Vec<Value> = issues(&world, &["--mine"]);
    let keys: Vec<&Value> = mine.iter().map(|one| &one["issue"]["key"]).collect();
    assert_eq!(keys, ["ABC-3"], "{mine:?}");
}

/// A clone on `main` in a world whose account is `mia`'s own, as on a developer's machine.
fn standing(world: &World) -> (crate::harness::Daemon, crate::harness::Repository<'_>) {
    let (daemon, _repository, clone) = smart::start(world);
    clone.commit("begin");
    clone.git(&["branch", "--move", "main"]);
    (daemon, clone)
}

#[track_caller]
fn says(clone: &crate::harness::Repository<'_>, world: &World, arguments: &[&str]) -> String {
    success(world.agent(arguments).current_dir(&clone.path))
}

fn branch(clone: &crate::harness::Repository<'_>) -> String {
    clone.git(&["symbolic-ref", "--short", "HEAD"]).trim().to_owned()
}

#[test]
fn k4_k5_a_branch_begins_with_the_issue_and_the_issue_begins_with_the_branch() {
    let world = world();
    let (_daemon, clone) = standing(&world);
    assert_eq!(says(&clone, &world, &["branch", "abc-1", "--dry-run"]), "ABC-1-the-till-rings\n");
    // Whoever types is known to Jira by the address that Git has of them.
    clone.git(&["config", "user.email", "agent@example.org"]);
    let mut command = world.agent(&["branch", "ABC-1", "--push", "--start"]);
    let said = success(command.env("GIT_AUTHOR_EMAIL", "agent@example.org").current_dir(&clone.path));
    assert!(said.contains("made ABC-1-the-till-rings") && said.contains("#in-progress: done"), "{said}");
    assert_eq!(branch(&clone), "ABC-1-the-till-rings");
    assert_eq!(clone.git(&["config", "branch.ABC-1-the-till-rings.remote"]).trim(), "origin");
    let issue = world.sandbox.issue("ABC-1");
    assert_eq!((&issue["status"], &issue["fields"]["assignee"]), (&json!("In Progress"), &json!("agent")), "{issue}");
    clone.git(&["switch", "--quiet", "main"]);
    let again = says(&clone, &world, &["branch", "ABC-1"]);
    assert!(again.contains("switched to ABC-1-the-till-rings, which was there"), "{again}");
}

#[test]
fn k4_without_a_terminal_the_open_issues_are_shown_and_none_is_picked() {
    let world = world();
    let (_daemon, clone) = standing(&world);
    world.sandbox.edit_issue(json!({"key": "ABC-3", "summary": "Mine", "assignee": "agent"}));
    let output = world.agent(&["branch"]).current_dir(&clone.path).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1  ABC-3  Task, To Do"), "{output:?}");
    assert_eq!(branch(&clone), "main");
}

#[test]
fn k13_a_branch_is_made_without_jira_and_without_the_daemon() {
    let world = world();
    let (mut daemon, clone) = standing(&world);
    world.sandbox.misbehave(json!([{"on": "platform", "act": {"status": {"code": 503}}}]));
    says(&clone, &world, &["branch", "ABC-2"]);
    assert_eq!(branch(&clone), "ABC-2");
    daemon.stop();
    says(&clone, &world, &["branch", "ABC-3", "--from", "main"]);
    assert_eq!(branch(&clone), "ABC-3");
    let output = world.agent(&["branch", "UTF-8-x"]).current_dir(&clone.path).output().unwrap();
    assert!(!output.status.success(), "a name that no issue bears makes no branch");
}

#[test]
fn k7_branches_of_done_issues_are_shown_and_deleted_when_told_to() {
    let world = world();
    let (_daemon, clone) = standing(&world);
    for name in ["ABC-1-open", "ABC-2-done", "ABC-3-unmerged", "plain"] {
        clone.git(&["branch", name]);
    }
    clone.git(&["switch", "--quiet", "ABC-3-unmerged"]);
    clone.commit("ABC-3 not merged");
    clone.git(&["switch", "--quiet", "main"]);
    for key in ["ABC-2", "ABC-3"] {
        world.sandbox.edit_issue(json!({"key": key, "status": "Done"}));
    }
    let before = clone.git(&["for-each-ref"]);
    let shown = says(&clone, &world, &["tidy"]);
    assert!(shown.contains("open    ABC-1-open  ABC-1 To Do"), "{shown}");
    assert!(shown.contains("done    ABC-2-done  ABC-2 Done, merged"), "{shown}");
    assert!(shown.contains("kept    ABC-3-unmerged  ABC-3 Done, NOT merged"), "{shown}");
    assert_eq!(clone.git(&["for-each-ref"]), before, "nothing is deleted unasked");
    says(&clone, &world, &["tidy", "--delete"]);
    let names = clone.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads"]);
    assert_eq!(names.lines().collect::<Vec<_>>(), ["ABC-1-open", "ABC-3-unmerged", "main", "plain"]);
    says(&clone, &world, &["tidy", "--delete", "--unmerged"]);
    assert!(!clone.git(&["for-each-ref"]).contains("ABC-3-unmerged"));
}

#[test]
fn k8_work_is_logged_once_from_the_command_line_and_waits_for_jira() {
    let world = world();
    let (_daemon, clone) = standing(&world);
    let said = says(&clone, &world, &["log-time", "ABC-1", "1h", "30m", "looked", "into", "it"]);
    assert!(said.contains("ABC-1 #time 1h 30m: done"), "{said}");
    world.sandbox.misbehave(json!([{"on": "platform", "act": {"status": {"code": 503}}}]));
    clone.git(&["switch", "--quiet", "-c", "ABC-2-work"]);
    let said = says(&clone, &world, &["log-time", "2h"]);
    assert!(said.contains("ABC-2 #time 2h is queued, and carried out as soon as Jira can be reached"), "{said}");
    world.sandbox.behave();
    smart::wait_for(&world, "ABC-2", [0, 1, 0]);
    smart::wait_for(&world, "ABC-1", [0, 1, 0]);
    let [_, worklogs, _] = smart::issue(&world, "ABC-1");
    assert_eq!(worklogs[0]["seconds"], 5400, "{worklogs:?}");
    for wrong in [&["log-time", "ABC-1", "soon"][..], &["log-time", "ABC-1"]] {
        let output = world.agent(wrong).current_dir(&clone.path).output().unwrap();
        assert!(!output.status.success(), "{output:?}");
    }
}

#[test]
fn k14_a_shell_completes_the_keys_of_issues_that_were_seen() {
    let world = world();
    let _daemon = world.daemon();
    issues(&world, &["ABC-1", "ABC-2"]);
    let completed = |shell: &str, words: &[&str]| {
        let index = (words.len() - 1).to_string();
        let mut command = world.agent(&[&["--"], words].concat());
        success(command.env("COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", index))
    };
    let keys = completed("fish", &["agent", "branch", "abc-"]);
    assert_eq!(keys, "ABC-1\tThe till rings (To Do)\nABC-2\tAn issue (To Do)\n");
    assert!(completed("bash", &["agent", "log"]).contains("log-time"));
    for shell in ["bash", "zsh", "fish"] {
        let script = world.agent_says(&["completions", shell]);
        assert!(script.contains("COMPLETE") && script.contains("agent"), "{script}");
    }
    let looked = world.sandbox.requests("/rest/").len();
    completed("fish", &["agent", "branch", "abc-"]);
    assert_eq!(world.sandbox.requests("/rest/").len(), looked, "whoever types waits for no Jira");
}
