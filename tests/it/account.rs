//! The account that carries out commands: how it is linked, looked at, and how it finds again what it did.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::contract::ask;
use crate::direct::has;
use crate::harness::{World, wait_until_or};
use crate::hook::skipped;

const TOKEN: &str = "agent-token";

/// A world whose site is of this kind and has an account, unless its lines say otherwise.
fn world(kind: &str) -> World {
    let lines = match kind {
        "cloud" => "projects = [\"ABC\"]\nexecutor = \"agent\"\n[site.account]\nemail = \"agent@example.org\"\n",
        _ => "kind = \"data-center\"\nprojects = [\"ABC\"]\nexecutor = \"agent\"\n[site.account]\n",
    };
    let world = World::with(&format!("{lines}secret_file = \"token\"\n"), "");
    give(&world, "token", TOKEN);
    world
}

fn give(world: &World, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = world.folder.join(name);
    std::fs::write(&path, format!("{text}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

fn tell(world: &World, what: &str, body: &Value) {
    let answer = ask(&world.sandbox.address, &format!("POST /sandbox/{what} HTTP/1.1"), body);
    assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
}

fn config(world: &World) -> String {
    std::fs::read_to_string(world.config()).unwrap()
}

/// Everything it said, and whether it went well.
fn said(output: &Output) -> (bool, String) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn run(world: &World, arguments: &[&str]) -> (bool, String) {
    said(&world.agent(arguments).output().unwrap())
}

/// The file that `agent link` made of a secret, which only its owner may read.
#[track_caller]
fn credential(world: &World, name: &str) -> String {
    use std::os::unix::fs::MetadataExt;
    let path = world.folder.join("credentials").join(name);
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a8_an_account_is_added_to_a_site_that_is_there_and_tried_before_it_is_saved() {
    let world = World::new();
    let before = config(&world).replace("[[site]]\n", "# the site\n[[site]] # ours\n");
    std::fs::write(world.config(), &before).unwrap();
    give(&world, "given", "a-wrong-one");
    let arguments = ["link", "--account-email", "agent@example.org", "--account-token-file", "given"];
    let (done, text) = run(&world, &arguments);
    assert!(!done && text.contains("nothing was saved") && text.contains("make a new token"), "{text}");
    assert_eq!(config(&world), before);
    assert!(!world.folder.join("credentials/jira.account").exists());

    give(&world, "given", TOKEN);
    let (done, text) = run(&world, &arguments);
    assert!(done && text.contains("the account is Agent (agent@example.org) in Jira"), "{text}");
    assert!(text.contains("--executor agent"), "it says what is missing still: {text}");
    let path = world.folder.join("credentials/jira.account");
    let account = format!("[site.account]\nemail = \"agent@example.org\"\nsecret_file = \"{}\"\n", path.display());
    let after = config(&world);
    let (head, tail) = before.split_once("\n\n[[account]]").unwrap();
    assert_eq!(after, format!("{head}\n\n{account}\n[[account]]{tail}"), "everything else is where it was");
    assert_eq!(credential(&world, "jira.account"), format!("{TOKEN}\n"));
    // The same again, from standard input, and now it is to act.
    let mut again = world.agent(&["link", "--account-token-stdin", "--executor", "agent"]);
    let mut child = again.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(TOKEN.as_bytes()).unwrap();
    let (done, text) = said(&child.wait_with_output().unwrap());
    assert!(done && text.contains("policy = \"bot\""), "{text}");
    assert_eq!(config(&world).replace("executor = \"agent\"\n", ""), after);
}

#[test]
fn a15_a_site_that_moves_is_tried_with_the_secrets_it_has() {
    let world = world("cloud");
    let before = config(&world);
    let nowhere = "http://127.0.0.1:1";
    let (done, text) = run(&world, &["link", nowhere, "--name", "jira"]);
    assert!(!done && text.contains("nothing was saved"), "{text}");
    assert_eq!(config(&world), before);
    let (done, text) = run(&world, &["link", nowhere, "--name", "jira", "--untried"]);
    assert!(
        done && config(&world)
            == before.replacen(&format!("url = \"{}\"", world.sandbox.url()), &format!("url = \"{nowhere}\""), 1),
        "{text}"
    );
}

#[test]
fn a8_whether_a_token_has_scopes_is_found_out() {
    let world = World::new();
    let robot = json!({ "name": "robot", "email": "robot@example.org", "token": "robot-token", "scoped": true });
    tell(&world, "people", &robot);
    give(&world, "given", "robot-token");
    let arguments = ["link", "--account-email", "robot@example.org", "--account-token-file", "given"];
    let (done, text) = run(&world, &arguments);
    assert!(done && config(&world).contains("scoped = true\n"), "{text}\n{}", config(&world));
    // One without scopes is the account's next.
    give(&world, "given", TOKEN);
    let arguments = ["link", "--account-email", "agent@example.org", "--account-token-file", "given"];
    let (done, text) = run(&world, &arguments);
    assert!(done && !config(&world).contains("scoped"), "{text}\n{}", config(&world));
}

#[test]
fn a9_a_data_center_is_linked_by_an_accounts_token_alone() {
    let world = World::new();
    let (url, before) = (world.sandbox.url(), config(&world));
    give(&world, "given", TOKEN);
    let link = |more: &[&str]| {
        let words = ["link", &url, "--name", "server", "--kind", "data-center", "--projects", "abc"];
        run(&world, &[&words[..], more].concat())
    };
    for (more, because) in [
        (&[][..], "give --account-token-file or --account-token-stdin"),
        (&["--client-id", "x", "--account-token-file", "given"], "--client-id and its secret are for Jira Cloud"),
        (&["--account-email", "a@b.example", "--account-token-file", "given"], "account.email is for kind cloud"),
    ] {
        let (done, text) = link(more);
        assert!(!done && text.contains(because), "{text}");
        assert_eq!(config(&world), before);
    }
    let (done, text) = link(&["--account-token-file", "given"]);
    assert!(done && text.contains("the account is Agent (agent@example.org) in Jira"), "{text}");
    assert!(text.contains("no commits in its Development panel yet"), "{text}");
    for line in ["kind = \"data-center\"\n", "executor = \"agent\"\n", "projects = [\"ABC\"]\n", "[site.account]\n"] {
        assert!(config(&world).contains(line), "{}", config(&world));
    }
    assert!(config(&world).starts_with(before.split("[[account]]").next().unwrap().trim_end()), "{}", config(&world));
    let (_, text) = run(&world, &["doctor"]);
    assert!(text.contains("ok   site server: its account is Agent"), "{text}");
}

/// What a wizard says on a terminal where a person answers each prompt; `None` where there is no terminal to be had.
fn typed(world: &World, words: &str, answers: &[(&str, &str)]) -> Option<(bool, String)> {
    if !has("script") {
        return None;
    }
    let line = format!("{} link {words}", env!("CARGO_BIN_EXE_agent"));
    let mut script = world.command("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("SHELL", "/bin/sh");
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut text, mut answers, mut seen) = (String::new(), answers.iter(), 0);
    let mut next = answers.next();
    let mut some = [0; 4096];
    while let Ok(read @ 1..) = screen.read(&mut some) {
        text += &String::from_utf8_lossy(&some[..read]);
        if let Some((prompt, answer)) = next
            && let Some(at) = text[seen..].find(prompt)
        {
            seen += at + prompt.len();
            keys.write_all(format!("{answer}\n").as_bytes()).unwrap();
            next = answers.next();
        }
    }
    assert_eq!(next, None, "{text}");
    Some((child.wait().unwrap().success(), text))
}

#[test]
fn a8_a9_a_wizard_asks_on_a_terminal_and_shows_no_secret() {
    let world = World::new();
    // The secret stays as it is; then the account, its token, and that it is to act.
    let answers = [
        ("client secret (not shown; empty: as it is): ", ""),
        ("mail address of that account (empty: none): ", "agent@example.org"),
        ("account's token (not shown): ", TOKEN),
        ("is the agent to carry out commands with it, and not Jira? [Y/n]: ", ""),
    ];
    let Some((done, text)) = typed(&world, "--name jira", &answers) else {
        return skipped("there is no script here");
    };
    assert!(!text.contains(TOKEN), "{text}");
    assert!(done && text.contains("the account is Agent (agent@example.org)"), "{text}");
    assert!(text.contains("API tokens -> Create API token"), "{text}");
    assert!(config(&world).contains("executor = \"agent\"\n"), "{}", config(&world));
    assert!(config(&world).contains("secret_file = \"secret\"\n"), "{}", config(&world));
    assert_eq!(credential(&world, "jira.account"), format!("{TOKEN}\n"));

    let url = world.sandbox.url();
    let answers = [
        ("cloud or data-center? [cloud]: ", "data-center"),
        ("account's token (not shown): ", TOKEN),
        ("folder with your repositories (empty: later): ", ""),
    ];
    let (done, text) = typed(&world, &format!("{url} --name server"), &answers).unwrap();
    assert!(!text.contains(TOKEN), "{text}");
    assert!(done && text.contains("Personal Access Tokens"), "{text}");
    assert!(config(&world).contains("kind = \"data-center\"\n"), "{}", config(&world));
}

#[test]
fn m2_doctor_looks_at_what_the_account_may_do_and_names_the_cure() {
    for kind in ["cloud", "data-center"] {
        let world = world(kind);
        let doctor = |part: &str, cure: &str| {
            let (done, text) = run(&world, &["doctor"]);
            assert!(!done && text.contains(&format!("BAD  {part}")) && text.contains(cure), "{kind} {part}\n{text}");
        };
        let (_, text) = run(&world, &["doctor"]);
        for part in [
            "ok   site jira: its account is Agent (agent@example.org)",
            "ok   site jira: its clock and ours agree",
            "ok   site jira: the account may comment, log work, move issues and take back its own in ABC",
        ] {
            assert!(text.contains(part), "{kind} {part}\n{text}");
        }
        assert!(text.contains("site jira answers (cloud id") == (kind == "cloud"), "{text}");
        tell(&world, "projects", &json!({ "key": "ABC", "type": "service_desk" }));
        assert!(run(&world, &["doctor"]).1.contains("ABC is for service management: comments there are internal"));
        for (permission, part, cure) in [
            ("comment", "the account may not comment in project ABC", "give it Add Comments there"),
            ("work", "the account may not log work in project ABC", "give it Work On Issues there"),
            ("transition", "the account may not move issues in project ABC", "give it Transition Issues there"),
            ("browse", "the account does not see project ABC", "give it Browse Projects there"),
        ] {
            let mut permit = json!({ "person": "agent", "permission": permission, "granted": false });
            tell(&world, "permissions", &permit);
            doctor(&format!("site jira: {part}"), cure);
            permit["granted"] = json!(true);
            tell(&world, "permissions", &permit);
        }
        world.sandbox.settings(json!({ "clock_offset_ms": 180_000 }));
        doctor("this machine's clock is 1", "timedatectl set-ntp true");
        world.sandbox.settings(json!({ "clock_offset_ms": 0 }));
        world.sandbox.misbehave(json!([{"on": "myself", "times": 1, "act": {"status": {"code": 503}}}]));
        doctor("site jira: the account: ", "its orders wait until the site answers");
        give(&world, "token", "an-old-one");
        doctor("site jira: the account: ", "--account-token-file FILE` puts a new token in place");
        std::fs::remove_file(world.folder.join("token")).unwrap();
        doctor("site jira: the account: cannot take the secret", "agent link --name jira");
    }
}

#[test]
fn m2_doctor_does_not_take_a_secret_that_only_the_daemon_has_for_missing() {
    let world = world("data-center");
    std::fs::write(world.config(), config(&world).replace("secret_file = \"token\"", "credential = \"token\""))
        .unwrap();
    let (_, text) = run(&world, &["doctor"]);
    assert!(text.contains("ok   site jira: its account's token is systemd's credential token"), "{text}");
    let mut inside = world.agent(&["doctor"]);
    let (_, text) = said(&inside.env("CREDENTIALS_DIRECTORY", &world.folder).output().unwrap());
    assert!(text.contains("ok   site jira: its account is Agent"), "{text}");
}

/// What stands on an issue.
fn counts(world: &World, key: &str) -> [usize; 2] {
    let issue = world.sandbox.issue(key);
    ["comments", "worklogs"].map(|list| issue[list].as_array().unwrap().len())
}

#[test]
fn f47_a_probe_that_writes_asks_first_leaves_nothing_and_is_believed_without_a_restart() {
    for kind in ["cloud", "data-center"] {
        let world = world(kind);
        let smart = format!("{}[account.smart]\npolicy = \"bot\"\n", config(&world));
        let person = "[[person]]\nname = \"Ann Example\"\nemails = [\"ann@example.org\"]\nunix = [\"root\"]\n";
        std::fs::write(world.config(), format!("{smart}{person}")).unwrap();
        let probe = |more: &[&str]| run(&world, &[&["doctor", "--write-probe", "ABC-2"], more].concat());
        let untouched = |because: &str, (done, text): (bool, String)| {
            assert!(!done && text.contains(because), "{kind}: {text}");
            assert!(world.sandbox.requests("comment").is_empty(), "nothing was written");
        };
        untouched("nothing was written, because the daemon keeps what is found out", probe(&["--yes"]));
        let _daemon = world.daemon();
        untouched("nothing was written; --yes says that it may be", probe(&[]));
        untouched("there is no site called other", probe(&["--yes", "--site", "other"]));
        assert!(run(&world, &["doctor"]).1.contains("-> agent doctor --write-probe ISSUE --site jira"));

        let (done, text) = probe(&["--yes"]);
        assert!(done && text.contains("writes a comment and one minute of work to ABC-2"), "{kind}: {text}");
        let list = "ok   comments are found again by the properties that the list gives";
        let work = if kind == "cloud" { "the properties that the list gives" } else { "a word in their text" };
        assert!(text.contains(list) && text.contains(&format!("entries of work are found again by {work}")), "{text}");
        assert!(text.contains("whether it keeps the mark of a move shows when the account moves an issue"), "{text}");
        assert_eq!(counts(&world, "ABC-2"), [0, 0]);

        // The site changes its mind about what it keeps, and the daemon that runs learns of it.
        let repository = world.repository("tool");
        let clone = world.clone_of(&repository, "work");
        world.sandbox.settings(json!({ "keeps_properties": false }));
        let (done, text) = probe(&["--yes", "--json"]);
        assert!(done && text.contains("comments are found again by a word in their text"), "{text}");
        assert!(
            run(&world, &["doctor"]).1.contains("ok   site jira: comments are found again by a word in their text")
        );
        clone.commit_by("ann@example.org", "ABC-1 #comment marked in its text");
        clone.push(&["origin", "HEAD:main"]);
        let waiting = || format!("{:?}\n{}", world.effects(&["list"]), world.log());
        wait_until_or("it is said", || counts(&world, "ABC-1") == [1, 0], waiting);
        let body = world.sandbox.issue("ABC-1")["comments"][0]["body"].to_string();
        assert!(body.contains("marked in its text") && body.contains("(gja"), "{body}");
    }
}

/// What was sent just before it was found that the site keeps no marks cannot be found: a person decides.
#[test]
fn f47_an_order_that_may_have_lost_its_mark_waits_for_a_person_and_is_not_sent_again() {
    let world = world("cloud");
    let smart = format!("{}[account.smart]\npolicy = \"bot\"\n", config(&world));
    let person = "[[person]]\nname = \"Ann Example\"\nemails = [\"ann@example.org\"]\nunix = [\"root\"]\n";
    std::fs::write(world.config(), format!("{smart}{person}")).unwrap();
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return skipped("there is no faketime here") };
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    world.sandbox.settings(json!({ "keeps_properties": false }));
    world.sandbox.misbehave(json!([{"on": "add_comment", "issue": "ABC-1", "times": 1, "act": "apply_then_drop"}]));
    clone.commit_by("ann@example.org", "ABC-1 #comment once");
    clone.push(&["origin", "HEAD:main"]);
    let state = |state: &str| world.effects(&["list", "--state", state]).len() == 1;
    let waiting = || format!("{:?}\n{}", world.effects(&["list"]), world.log());
    wait_until_or("nobody knows what became of it", || counts(&world, "ABC-1") == [1, 0] && state("unknown"), waiting);
    assert!(run(&world, &["doctor", "--write-probe", "ABC-2", "--yes"]).0);
    for round in 1..=3 {
        clock.set(&format!("+{round}h"));
        let looked = || world.effects(&["list"])[0]["probes"].as_u64().is_some_and(|probes| probes >= round);
        wait_until_or("it was looked for", || looked() || state("parked"), waiting);
    }
    wait_until_or("it waits for a person", || state("parked"), waiting);
    assert_eq!(counts(&world, "ABC-1"), [1, 0]);
}

#[test]
fn f57_a_probe_that_cannot_take_back_what_it_wrote_says_where_it_is() {
    for kind in ["cloud", "data-center"] {
        let world = world(kind);
        let _daemon = world.daemon();
        let deny = |what: &str| json!({ "person": "agent", "permission": what, "granted": false });
        tell(&world, "permissions", &deny("delete_own_comments"));
        tell(&world, "permissions", &deny("delete_own_worklogs"));
        let (done, text) = run(&world, &["doctor", "--write-probe", "ABC-1", "--yes"]);
        let issue = world.sandbox.issue("ABC-1");
        for (list, focus) in [("comments", "focusedCommentId"), ("worklogs", "focusedWorklogId")] {
            let address = format!("{}/browse/ABC-1?{focus}={}", world.sandbox.url(), issue[list][0]["id"]);
            assert!(!done && text.contains(&format!("delete it by hand: {address}")), "{kind}: {text}");
        }
    }
}

/// The token is where it was put and nowhere else, whatever is said of the account and however the site answers.
#[test]
fn s13_s14_an_accounts_token_is_in_no_answer_no_log_and_no_other_file() {
    let canary = "canary-5d1c7e-token";
    let world = world("data-center");
    let text = config(&world).replace("[daemon]\n", "[daemon]\nlog = \"trace\"\n");
    std::fs::write(world.config(), text).unwrap();
    tell(&world, "people", &json!({ "name": "agent", "token": canary }));
    give(&world, "token", canary);
    let mut daemon = world.daemon();
    let body = json!({ "errorMessages": [format!("bad token {canary}")], "errors": {} }).to_string();
    let quoting = json!({"status": {"code": 401, "body": body, "content_type": "application/json"}});
    let mut answers = String::new();
    for words in [
        &["doctor"][..],
        &["doctor", "--json"],
        &["doctor", "--write-probe", "ABC-1", "--yes"],
        &["link", "--name", "jira", "--account-token-file", "token"],
        &["status"],
    ] {
        world.sandbox.misbehave(json!([{"on": "myself", "times": 1, "act": quoting}]));
        answers += &run(&world, words).1;
        world.sandbox.behave();
        answers += &run(&world, words).1;
    }
    assert!(answers.contains("the account is") && !answers.contains(canary), "{answers}");
    assert_eq!(daemon.stop(), Some(0));
    let holds = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains(canary);
    let mut folders = vec![world.folder.clone()];
    let mut guilty = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.symlink_metadata().unwrap().file_type() {
                kind if kind.is_dir() => folders.push(path),
                kind if kind.is_file() && holds(&path) => guilty.push(path),
                _ => {}
            }
        }
    }
    guilty.sort();
    assert_eq!(guilty, [world.folder.join("credentials/jira.account"), world.folder.join("token")]);
    let help = world.agent_says(&["link", "--help"]);
    let takes = |flag: &str| help.split_whitespace().any(|word| word == flag);
    assert!(takes("--account-token-file") && takes("--account-token-stdin") && !takes("--account-token"), "{help}");
}
