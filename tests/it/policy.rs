//! What a team asks of its commits: the rules, on the server and in a clone, and what becomes of what is not as wanted.

use std::process::Output;

use serde_json::{Value, json};

use crate::harness::{Repository, World, success};
use crate::hook::CALM;

const PROJECT: &str = "projects = [\"ABC\"]\n";

fn world(policy: &str) -> World {
    World::with(PROJECT, &format!("{policy}\n{CALM}policy_ms = 20000\n"))
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Pushes to main and gives whether that came in, and what was said.
#[track_caller]
fn push(clone: &Repository<'_>) -> (bool, String) {
    let output = clone.try_push(&["origin", "HEAD:main"]);
    (output.status.success(), err(&output))
}

/// Under a policy, a commit with a message is pushed to a new repository.
#[track_caller]
fn check(policy: &str, message: &str, comes_in: bool, said: &str) {
    let world = world(policy);
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "tool");
    clone.commit(message);
    let (came_in, told) = push(&clone);
    assert_eq!(came_in, comes_in, "{message:?}: {told}");
    assert!(told.contains(said), "{message:?}: {told}");
    assert_eq!(repository.git(&["for-each-ref"]).is_empty(), !comes_in);
}

const KEY: &str = "[[policy]]\nlevel = \"block\"\nkey = true\n";

#[test]
fn j1_a_commit_without_a_key_is_refused_where_one_is_demanded() {
    check(KEY, "no key", false, "“no key” names no issue; put the key of an issue in");
    check(KEY, "abc-1x is none", false, "names no issue");
    check(KEY, "XYZ-1 is of another project", false, "XYZ-1 is none (no such project)");
    check(KEY, "ABC-1 has one", true, "");
}

#[test]
fn j10_a_rule_is_off_warns_or_blocks() {
    let at = |level: &str| format!("[[policy]]\nlevel = \"{level}\"\nkey = true\n");
    check(&at("warn"), "no key", true, "warning, key: ");
    check("[[policy]]\nkey = true\n", "no key", true, "warning, key: ");
    let world = world(&at("off"));
    let repository = world.repository("tool");
    assert!(!repository.path.join("agent/policy").exists(), "nothing is waited for where no rule holds");
    let clone = world.clone_of(&repository, "tool");
    clone.commit("no key");
    let (came_in, told) = push(&clone);
    assert!(came_in && !told.contains("key:"), "{told}");
}

#[test]
fn j5_a_message_has_the_form_that_is_wanted() {
    let rule = |rule: &str| format!("[[policy]]\nlevel = \"block\"\n{rule}\n");
    let max = rule("subject_max = 10");
    check(&max, "größer als", true, "");
    check(&max, "größer als 10", false, "has a subject of 13 characters; cut it to 10");
    check(&rule("blank_line = true"), "one\ntwo", false, "has no blank line after its subject");
    check(&rule("blank_line = true"), "one\n\ntwo", true, "");
    check(&rule("no_trailing_space = true"), "one\n\ntwo \nthree", false, "has a blank at the end of line 3");
    check(&rule("line_max = 10"), "one that is long\n\nshort", true, "");
    check(&rule("line_max = 10"), "one\n\nshort\nnot that short", false, "has a long line 4");
    check(&rule("line_max = 10"), "one\n\nhttps://example.org/that/cannot/be/broken", true, "");
    let pattern = rule("subject = '^(feat|fix)(\\([^)]*\\))?: '");
    check(&pattern, "feat(ui): x", true, "");
    check(&pattern, "feature: x", false, "write one that fits ^(feat|fix)");
    check(&rule("message = '(?m)^Reviewed-by: '"), "x\n\nbody", false, "has a form that is not wanted here");
    check(&rule("message = '(?m)^Reviewed-by: '"), "x\n\nReviewed-by: Bo", true, "");
}

#[test]
fn j6_a_branch_that_is_made_has_the_name_that_is_wanted() {
    let world = world("[[policy]]\nlevel = \"block\"\nbranch_name = '^(main|(feature|fix)/ABC-[0-9]+.*)$'\n");
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "tool");
    clone.commit("x");
    clone.push(&["origin", "HEAD:main", "HEAD:refs/heads/feature/ABC-1-x"]);
    let refused = clone.try_push(&["origin", "HEAD:refs/heads/mine"]);
    assert!(!refused.status.success());
    assert!(err(&refused).contains("branch: the branch mine has no name that is wanted here"), "{}", err(&refused));
    // One that is there already may go on.
    let id = clone.git(&["rev-parse", "HEAD"]);
    repository.git(&["update-ref", "refs/heads/old", &id]);
    clone.commit("y");
    clone.push(&["origin", "HEAD:refs/heads/old"]);
    clone.push(&["origin", ":refs/heads/old"]);
}

#[test]
fn j7_g5_the_committer_is_whoever_pushes() {
    let person = "[[person]]\nname = \"Ann Author\"\nemails = [\"ann@example.org\"]\nunix = [\"root\"]\n\
                  [[person]]\nname = \"Bo\"\nemails = [\"bo@example.org\"]\n";
    let rule = "[[policy]]\nlevel = \"block\"\ncommitter = \"pusher\"\n";
    check(&format!("{person}{rule}"), "x", true, "");
    let others = person
        .replace("unix = [\"root\"]\n", "")
        .replace("\"bo@example.org\"]\n", "\"bo@example.org\"]\nunix = [\"root\"]\n");
    check(&format!("{others}{rule}"), "x", false, "was committed as ann@example.org, and Bo pushes it");
    // Nobody is joined with the user of this machine, so that cannot be told.
    check(rule, "x", true, "could not be looked at for ann@example.org: no [[person]] joins root");
    check(&format!("{rule}on_unknown = \"refuse\"\n"), "x", false, "no [[person]] joins root");
    let domain = |domain: &str| format!("[[policy]]\nlevel = \"block\"\nemail_domains = [\"{domain}\"]\n");
    check(&domain("Example.org"), "x", true, "");
    check(&domain("corp.example"), "x", false, "ann@example.org, which is not at corp.example");
    check(&domain("ample.org"), "x", false, "not at ample.org");
}

#[test]
fn j8_merges_reverts_and_fixups_are_exempt_and_others_by_name() {
    for message in ["Revert \"x\"\n\nThis reverts commit 1234567890.", "fixup! x", "squash! x"] {
        check(KEY, message, true, "");
        check(&format!("{KEY}exempt = []\n"), message, false, "names no issue");
    }
    let chore = format!("{KEY}exempt_messages = ['^chore\\(release\\)']\n");
    check(&chore, "chore(release): 1.2", true, "");
    check(&chore, "chore: 1.2", false, "names no issue");
    check(&format!("{KEY}exempt_people = [\"root\"]\n"), "x", true, "");
    // Who pushes is known here, so an address that anybody can write into a commit exempts from nothing.
    check(&format!("{KEY}exempt_people = [\"ann@example.org\"]\n"), "x", false, "names no issue");
    let bot = "[[person]]\nname = \"Robot\"\nunix = [\"root\"]\nbot = true\n";
    check(&format!("{bot}{KEY}exempt_people = [\"bots\"]\n"), "x", true, "");
    check(&format!("{bot}{KEY}exempt_people = [\"ann@example.org\"]\n"), "x", false, "names no issue");

    let world = world(KEY);
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "tool");
    clone.commit("ABC-1 begin");
    clone.git(&["checkout", "--quiet", "-b", "side"]);
    clone.commit("ABC-2 beside");
    clone.git(&["checkout", "--quiet", "-"]);
    clone.git(&["merge", "--quiet", "--no-ff", "-m", "join", "side"]);
    assert!(push(&clone).0);
}

#[test]
fn j9_a_rule_holds_in_its_account_repositories_branches_and_paths() {
    check(&format!("{KEY}accounts = [\"main\"]\n"), "x", false, "");
    check(&format!("{KEY}repositories = [\"to*\"]\n"), "x", false, "");
    check(&format!("{KEY}repositories = [\"other\"]\n"), "x", true, "");
    check(&format!("{KEY}branches = [\"main\"]\n"), "x", false, "");
    check(&format!("{KEY}branches = [\"release/*\"]\n"), "x", true, "");
    check(&format!("{KEY}paths = [\"file-*\"]\n"), "x", false, "");
    check(&format!("{KEY}paths = [\"src/*\"]\n"), "x", true, "");
    let world = world("");
    let text = std::fs::read_to_string(world.config()).unwrap();
    for (section, because) in [
        ("[[policy]]\naccounts = [\"mian\"]\nkey = true\n", "policy 1: there is no account called mian"),
        ("[[policy]]\nlevel = \"block\"\n", "policy 1: it asks nothing"),
        ("[[policy]]\nsubject = '('\n", "is no expression that can be used"),
        ("[[policy]]\nkey = true\nwait = \"1 minute\"\n", "of 5 seconds at most"),
        ("[[policy]]\nkeys = true\n", "did you mean `key`?"),
        ("[message]\ntemplate = \"x\"\n", "message: template needs {key}"),
    ] {
        std::fs::write(world.config(), format!("{section}{text}")).unwrap();
        let output = world.agent(&["status"]).output().unwrap();
        assert!(err(&output).contains(because), "{section}: {}", err(&output));
    }
}

#[test]
fn j11_only_commits_that_are_new_to_the_server_are_judged() {
    let world = world("");
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "tool");
    let mut ids = Vec::new();
    for number in 0..80 {
        ids.push(clone.commit(&format!("old {number}")));
    }
    clone.push(&["origin", "HEAD:main"]);
    clone.git(&["checkout", "--quiet", "-b", "side", &ids[3]]);
    clone.commit("old beside");
    clone.push(&["origin", "HEAD:side"]);
    world.configure(PROJECT, &format!("{KEY}{CALM}policy_ms = 20000\n"));
    world.agent_says(&["install", repository.path.to_str().unwrap()]);
    // From the middle of what is there: what lies below is no news, though no ref names it.
    for (from, name) in [(ids[40].as_str(), "a"), (ids[2].as_str(), "b"), ("side", "c")] {
        clone.git(&["checkout", "--quiet", "--detach", from]);
        clone.commit("ABC-1 new");
        clone.push(&["origin", &format!("HEAD:refs/heads/{name}")]);
        clone.commit("wrong");
        let output = clone.try_push(&["origin", &format!("HEAD:refs/heads/{name}")]);
        assert!(!output.status.success());
        assert_eq!(err(&output).matches("names no issue").count(), 1, "{}", err(&output));
    }
    clone.push(&["origin", &format!("{}:refs/heads/again", ids[10]), &format!("{}:refs/tags/v1", ids[11])]);
}

#[test]
fn c2_one_wrong_commit_refuses_the_whole_push_in_a_few_lines() {
    let world = world(KEY);
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "tool");
    clone.commit("ABC-1 right");
    clone.git(&["branch", "right"]);
    for number in 0..30 {
        clone.commit(&format!("wrong {number}"));
    }
    let output = clone.try_push(&["origin", "right:refs/heads/right", "HEAD:main"]);
    assert!(!output.status.success());
    assert_eq!(repository.git(&["for-each-ref"]), "");
    let said = err(&output);
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("remote:")).collect();
    assert!(lines.len() <= 11, "{said}");
    assert!(lines[0].contains("this push is refused by the policy of this repository"), "{said}");
    assert!(said.contains(" 22 more"), "{said}");
    assert!(said.contains("git rebase -i "), "{said}");
}

#[test]
fn c18_quarantined_objects_are_read_and_a_refused_push_leaves_none() {
    let world = world(KEY);
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "tool");
    let id = clone.commit("wrong");
    assert!(!push(&clone).0);
    assert!(!repository.command(&["cat-file", "-e", &id]).output().unwrap().status.success());
    clone.git(&["commit", "--quiet", "--amend", "-m", "ABC-1 right"]);
    assert!(push(&clone).0);
}

#[test]
fn j15_a_finding_says_rule_commit_key_and_what_to_do() {
    let world = world(KEY);
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "tool");
    let id = clone.commit("wrong");
    let output = clone.try_push(&["origin", "HEAD:refs/heads/ABC-4-x"]);
    let line = format!("  key: {} “wrong” names no issue; put the key of its branch in: ABC-4 wrong", &id[..10]);
    assert!(err(&output).contains(&line), "{}", err(&output));
    assert!(err(&output).contains("to mend it: git commit --amend, and push again"), "{}", err(&output));
}

#[test]
fn j14_the_same_words_are_said_in_a_clone_before_the_commit_and_before_the_push() {
    let world = world(KEY);
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "tool");
    let id = clone.commit("wrong");
    let server = push(&clone).1;
    world.agent_says(&["install", clone.path.to_str().unwrap()]);
    let local = push(&clone).1;
    let words = format!("key: {} “wrong” names no issue; put the key of an issue in", &id[..10]);
    assert!(server.contains(&words) && local.contains(&words), "{server}\n{local}");
    assert!(local.contains("this push is not sent") && !local.contains("remote:"), "{local}");
    let commit = clone.command(&["commit", "--allow-empty", "-m", "wrong"]).output().unwrap();
    assert!(!commit.status.success());
    assert!(err(&commit).contains("key: names no issue; put the key of an issue in"), "{}", err(&commit));
    // What a clone says is help: the server has the word.
    let around = clone.try_push(&["--no-verify", "origin", "HEAD:main"]);
    assert!(
        !around.status.success() && err(&around).contains("remote: jira: this push is refused"),
        "{}",
        err(&around)
    );
    clone.git(&["config", "agent.policy", "warn"]);
    let commit = clone.command(&["commit", "--allow-empty", "-m", "wrong"]).output().unwrap();
    assert!(commit.status.success() && err(&commit).contains("warning, key: names no issue"), "{}", err(&commit));
}

#[test]
fn j16_a_push_goes_on_against_the_policy_for_a_reason_that_is_written_down_once() {
    let world = world(KEY);
    let daemon = world.daemon();
    let repository = world.repository("tool");
    repository.git(&["config", "receive.advertisePushOptions", "true"]);
    let clone = world.clone_of(&repository, "tool");
    clone.commit("wrong");
    assert!(push(&clone).1.contains("git push -o agent.override=\"why\""));
    let none = clone.try_push(&["-o", "agent.override=", "origin", "HEAD:main"]);
    assert!(!none.status.success() && err(&none).contains("needs a reason"), "{}", err(&none));
    let said = clone.push(&["-o", "agent.override=the site is down\x1b[31m", "origin", "HEAD:main"]);
    assert!(said.contains("let in against the policy, which is written down: the site is down\\x1b[31m"), "{said}");
    let rows: Vec<Value> = serde_json::from_str(&world.agent_says(&["check", "--overrides", "--json"])).unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["because"], "the site is down\u{1b}[31m");
    assert!(rows[0]["command"].as_str().unwrap().contains("names no issue"));
    let shown = world.agent_says(&["check", "--overrides"]);
    assert!(shown.contains("tool.git: the site is down\\x1b[31m"), "{shown}");
    assert!(world.agent_says(&["effects", "audit"]).contains("whole"));

    // Without the daemon it lies in the spool, and is written down later, once.
    drop(daemon);
    clone.commit("wrong too");
    clone.push(&["-o", "agent.override=again", "origin", "HEAD:main"]);
    let _daemon = world.daemon();
    world.wait_until_idle();
    let shown = world.agent_says(&["check", "--overrides"]);
    assert_eq!(shown.matches("tool.git: again").count(), 1, "{shown}");
}

#[test]
fn j16_where_nobody_may_override_or_nothing_can_be_written_down_the_push_stays_refused() {
    let world = world(&format!("{KEY}may_override = false\n"));
    let repository = world.repository("tool");
    repository.git(&["config", "receive.advertisePushOptions", "true"]);
    let clone = world.clone_of(&repository, "tool");
    clone.commit("wrong");
    let refused = clone.try_push(&["-o", "agent.override=please", "origin", "HEAD:main"]);
    assert!(!refused.status.success() && err(&refused).contains("does not count"), "{}", err(&refused));

    world.configure(PROJECT, &format!("{KEY}{CALM}policy_ms = 20000\n"));
    std::fs::remove_dir_all(world.spool()).unwrap();
    let refused = clone.try_push(&["-o", "agent.override=please", "origin", "HEAD:main"]);
    assert!(!refused.status.success() && err(&refused).contains("is not taken now"), "{}", err(&refused));
}

#[test]
fn j17_rules_are_tried_on_the_past_and_shown_in_a_table() {
    let world = world(&format!("{KEY}subject_max = 20\n[[policy]]\nblank_line = true\n"));
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "tool");
    let first = clone.commit("ABC-1 right");
    let wrong = clone.commit("no key and far too long");
    clone.commit("ABC-1 half\nright");
    let mut agent = world.agent(&["check", "--since", "1.day"]);
    let output = agent.current_dir(&clone.path).output().unwrap();
    let table = String::from_utf8_lossy(&output.stdout);
    // The clone itself lies in no account: no rule holds there until it does.
    assert!(table.contains("no policy holds in this repository"), "{table}");
    world.agent_says(&["install", clone.path.to_str().unwrap()]);
    let output = world.agent(&["check", "--since", "1.day"]).current_dir(&clone.path).output().unwrap();
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{table}{}", err(&output));
    assert!(
        table.contains(&format!("{}  block  key        “no key and far too long” names no issue", &wrong[..10])),
        "{table}"
    );
    assert!(table.contains("3 commits: 1 would be refused, 1 would be warned of"), "{table}");
    assert!(table.contains("by rule: body 1, key 1, subject 1"), "{table}");
    let range =
        world.agent(&["check", &format!("{first}..HEAD~1"), "--json"]).current_dir(&clone.path).output().unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&range.stdout).unwrap();
    assert_eq!(rows.iter().map(|row| row["rule"].as_str().unwrap()).collect::<Vec<_>>(), ["key", "subject"]);
    let old = world.agent(&["check", "--since", "2099-01-01"]).current_dir(&clone.path).output().unwrap();
    assert!(String::from_utf8_lossy(&old.stdout).contains("0 commits"));
}

#[test]
fn j12_a_decision_that_takes_too_long_is_made_as_the_rule_says() {
    for (on_unknown, comes_in) in [("allow", true), ("refuse", false)] {
        let world = World::with(
            PROJECT,
            &format!("{KEY}on_unknown = \"{on_unknown}\"\n[hook]\ndeadline_ms = 2000\npolicy_ms = 0\n"),
        );
        let repository = world.repository("tool");
        let clone = world.clone_of(&repository, "tool");
        clone.commit("ABC-1 right");
        let (came_in, said) = push(&clone);
        assert_eq!(came_in, comes_in, "{said}");
        assert!(said.contains("could not be laid beside the policy of this repository in time"), "{said}");
    }
}

#[test]
fn j12_an_agent_that_cannot_start_or_read_its_configuration_refuses_nothing() {
    let world = world(KEY);
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "tool");
    clone.commit("wrong");
    assert!(!push(&clone).0);
    let text = std::fs::read_to_string(world.config()).unwrap();
    std::fs::write(world.config(), "[[policy]]\nkeys = true\n").unwrap();
    let (came_in, said) = push(&clone);
    assert!(came_in && said.contains("did you mean `key`?"), "{said}");
    std::fs::write(world.config(), text).unwrap();
}

#[test]
fn j9_a_policy_that_comes_or_goes_is_heeded_by_repositories_that_are_hooked_already() {
    let world = world("");
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "tool");
    clone.commit("wrong");
    let mark = repository.path.join("agent/policy");
    world.configure(PROJECT, &format!("{KEY}{CALM}policy_ms = 20000\n"));
    crate::harness::wait_until("the policy is noted", || mark.exists());
    assert!(!push(&clone).0);
    world.configure(PROJECT, CALM);
    crate::harness::wait_until("the policy is forgotten", || !mark.exists());
    assert!(push(&clone).0);
    success(&mut world.agent(&["uninstall", repository.path.to_str().unwrap()]));
    assert!(!repository.path.join("agent/policy").exists());
}

/// A world with an account that may read issues.
fn asking(policy: &str) -> World {
    let world = crate::smart::with_people("policy = \"off\"", |_| format!("{policy}\n{CALM}policy_ms = 20000\n"));
    world.sandbox.person(json!({"name": "ann", "email": "ann@example.org", "display_name": "Ann Author"}));
    world.sandbox.person(json!({"name": "bo", "email": "bo@example.org", "display_name": "Bo"}));
    world
}

/// Pushes each message to a branch of its own under one policy that asks Jira.
#[track_caller]
fn check_asking(policy: &str, edits: &[Value], cases: &[(&str, Option<&str>)]) {
    let world = asking(policy);
    edits.iter().for_each(|edit| world.sandbox.edit_issue(edit.clone()));
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "tool");
    for (number, (message, refused)) in cases.iter().enumerate() {
        clone.git(&["checkout", "--quiet", "--orphan", &format!("b{number}")]);
        clone.commit(message);
        let output = clone.try_push(&["origin", &format!("HEAD:refs/heads/b{number}")]);
        let said = err(&output);
        assert_eq!(output.status.success(), refused.is_none(), "{message}: {said}");
        assert!(refused.is_none_or(|refused| said.contains(refused)), "{message}: {said}");
    }
}

/// A rule that waits long enough for a machine that is busy.
fn rule(what: &str) -> String {
    format!("[[policy]]\nlevel = \"block\"\non_unknown = \"refuse\"\nwait = \"5 s\"\n{what}\n")
}

#[test]
fn j2_every_issue_that_is_named_has_to_be_there() {
    let cases = [
        ("ABC-1 is there", None),
        ("no key is no question", None),
        ("ABC-77 is not", Some("exists: ")),
        ("ABC-1, ABC-77 is not", Some("names ABC-77, and there is no such issue; name one that is there")),
    ];
    check_asking(&rule("exists = true"), &[], &cases);
}

#[test]
fn j3_an_issue_has_the_project_status_type_or_query_that_is_wanted() {
    let edits = [
        json!({"key": "ABC-1", "status": "In Progress", "type": "Bug"}),
        json!({"key": "ABC-2", "status": "Done", "type": "Task"}),
    ];
    let statuses = [
        ("ABC-1 x", None),
        ("ABC-2 x", Some("issue: ")),
        ("ABC-2 y", Some("names ABC-2, which is Done; name one that is In Progress")),
        ("ABC-2 after ABC-1", None),
    ];
    check_asking(&rule("statuses = [\"In Progress\"]"), &edits, &statuses);
    let every = [("ABC-1 x", None), ("ABC-2 after ABC-1", Some("names ABC-2, which is Done"))];
    check_asking(&rule("statuses = [\"in progress\"]\nevery = true"), &edits, &every);
    let categories = [
        ("ABC-1 x", None),
        ("ABC-3 x", None),
        ("ABC-2 x", Some("which is Done (done); name one that is to do or in progress")),
    ];
    check_asking(&rule("categories = [\"to-do\", \"in-progress\"]"), &edits, &categories);
    check_asking(
        &rule("types = [\"Bug\"]"),
        &edits,
        &[("ABC-1 x", None), ("ABC-2 x", Some("which is a Task; name one that is Bug"))],
    );
    let found = [("ABC-1 x", None), ("ABC-2 x", Some("name one that is found by status = \"In Progress\""))];
    check_asking(&rule("jql = 'status = \"In Progress\"'"), &edits, &found);
    let none = World::with(
        "projects = [\"ABC\", \"DEF\"]\n",
        &format!("{}{CALM}policy_ms = 20000\n", rule("projects = [\"DEF\"]")),
    );
    let repository = none.repository("tool");
    let clone = none.clone_of(&repository, "tool");
    clone.commit("ABC-1 x");
    let (came_in, said) = push(&clone);
    assert!(!came_in && said.contains("names ABC-1, whose project is not wanted here; name one of DEF"), "{said}");
    clone.git(&["commit", "--quiet", "--amend", "-m", "DEF-1 for ABC-1"]);
    assert!(push(&clone).0, "no daemon is needed to tell a project");
}

#[test]
fn j4_the_author_is_the_one_that_an_issue_is_assigned_to() {
    let edits = [json!({"key": "ABC-1", "assignee": "ann"}), json!({"key": "ABC-2", "assignee": "bo"})];
    let cases = [
        ("ABC-1 x", None),
        ("ABC-2 x", Some("names ABC-2, which is assigned to Bo and not to its author")),
        ("ABC-3 x", Some("which is assigned to nobody and not to its author")),
    ];
    check_asking(&rule("assignee = true"), &edits, &cases);
}

#[test]
fn j12_what_cannot_be_known_is_let_in_or_refused_as_the_rule_says() {
    for (on_unknown, comes_in) in [("allow", true), ("refuse", false)] {
        let policy = format!("[[policy]]\nlevel = \"block\"\nexists = true\non_unknown = \"{on_unknown}\"\n");
        let world = asking(&policy);
        let repository = world.repository("tool");
        let clone = world.clone_of(&repository, "tool");
        clone.commit("ABC-1 x");
        let (came_in, said) = push(&clone);
        assert_eq!(came_in, comes_in, "{said}");
        assert!(said.contains("could not be looked at for ABC-1: the daemon is not running"), "{said}");

        let _daemon = world.daemon();
        world.sandbox.misbehave(json!([{"on": "platform", "act": {"status": {"code": 503}}}]));
        clone.git(&["commit", "--quiet", "--amend", "-m", "ABC-2 x"]);
        let output = clone.try_push(&["--force", "origin", "HEAD:main"]);
        assert_eq!(output.status.success(), comes_in, "{}", err(&output));
        assert!(err(&output).contains("could not be looked at for ABC-2: "), "{}", err(&output));
    }
}

#[test]
fn j13_jira_is_asked_once_for_all_commits_and_not_again_for_what_was_just_seen() {
    let world = asking(&rule("exists = true"));
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "tool");
    for number in 1..=9 {
        clone.commit(&format!("ABC-{number} x"));
    }
    assert!(push(&clone).0);
    let looks = || world.sandbox.requests("/issue/bulkfetch").len();
    assert_eq!(looks(), 1);
    clone.commit("ABC-3 again");
    assert!(push(&clone).0);
    assert_eq!(looks(), 1);
}

#[test]
fn j14_f12_a_commit_in_a_clone_says_what_its_issue_is_and_refuses_one_that_is_not_there() {
    let world = asking(&rule("exists = true"));
    world.sandbox.edit_issue(json!({"key": "ABC-1", "summary": "The till rings"}));
    let _daemon = world.daemon();
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "tool");
    clone.commit("begin");
    world.agent_says(&["install", clone.path.to_str().unwrap(), "--account", "mine"]);
    crate::harness::wait_until("the daemon knows the account", || {
        let output = clone.command(&["commit", "--allow-empty", "-m", "ABC-1 x"]).output().unwrap();
        err(&output).contains("jira: links ABC-1 “The till rings”")
    });
    let output = clone.command(&["commit", "--allow-empty", "-m", "ABC-77 x"]).output().unwrap();
    assert!(!output.status.success());
    assert!(err(&output).contains("exists: names ABC-77, and there is no such issue"), "{}", err(&output));
}

#[test]
fn c2_ten_thousand_commits_are_judged_in_one_push() {
    let world = world(&format!("{KEY}subject_max = 72\nblank_line = true\n"));
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "tool");
    let mut stream = String::new();
    for number in 1..=10_000 {
        let message = format!("ABC-1 commit {number}\n\nbody\n");
        stream += &format!(
            "commit refs/heads/main\ncommitter A <a@example.org> {} +0000\ndata {}\n{message}\n",
            1_700_000_000 + number,
            message.len()
        );
    }
    let mut import = clone.command(&["fast-import", "--quiet"]);
    let mut child = import.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), stream.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    clone.git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    clone.git(&["reset", "--quiet", "--hard"]);
    let began = std::time::Instant::now();
    let (came_in, said) = push(&clone);
    assert!(came_in && !said.contains("in time"), "{said}");
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
    clone.commit("wrong");
    assert!(!push(&clone).0);
}

#[test]
fn j9_a_repository_that_is_made_waits_for_a_policy_from_its_first_push_on() {
    let world = world(KEY);
    world.agent_says(&["repo", "create", "Fresh"]);
    let path = world.folder.join("repositories/fresh.git");
    let clone = world.clone_of(&Repository { world: &world, path: path.clone() }, "fresh");
    clone.commit("wrong");
    assert!(!push(&clone).0);
    let doctor = world.agent(&["doctor"]).current_dir(&path).output().unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("a policy holds here, and pushes wait for it"), "{said}");
    std::fs::remove_file(path.join("agent/policy")).unwrap();
    let doctor = world.agent(&["doctor"]).current_dir(&path).output().unwrap();
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("pushes do not wait for it yet"));
    // The push that comes before anybody noted it goes on, and notes it for the next.
    assert!(push(&clone).0);
    crate::harness::wait_until("the hook noted it", || path.join("agent/policy").exists());
    clone.commit("wrong again");
    assert!(!push(&clone).0);
}

#[test]
fn j11_what_another_remote_has_is_no_news_to_a_clone() {
    let world = world(KEY);
    let upstream = world.plain_repository("upstream", &[]);
    let clone = world.clone_of(&upstream, "work");
    clone.commit("old");
    clone.push(&["origin", "HEAD:main"]);
    world.agent_says(&["install", clone.path.to_str().unwrap()]);
    let fork = world.plain_repository("fork", &[]);
    clone.git(&["checkout", "--quiet", "-b", "ABC-1"]);
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "mine"]);
    clone.push(&[fork.path.to_str().unwrap(), "HEAD:refs/heads/ABC-1"]);
}

#[test]
fn j12_a_daemon_that_does_not_answer_holds_a_push_up_no_longer_than_the_rule_waits() {
    let world = asking(&format!("{KEY}exists = true\nwait = \"100 ms\"\n"));
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "tool");
    let _listener = std::os::unix::net::UnixListener::bind(world.socket()).unwrap();
    clone.commit("ABC-1 x");
    let (came_in, said) = push(&clone);
    assert!(came_in && said.contains("could not be looked at for ABC-1: the daemon did not answer in time"), "{said}");
    assert!(!said.contains("could not be laid beside"), "{said}");
}
