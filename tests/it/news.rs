//! Whoever pushed learns what became of their orders: with the next push, by mail, and when they ask.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use crate::clock::Clock;
use crate::crash::assert_aborted;
use crate::harness::{Repository, World, wait_until, wait_until_or};
use crate::hook::skipped;
use crate::smart::with_people;

/// A host, whose account is ours, says who pushes.
const SMART: &str = "policy = \"bot\"\nhost_users = [\"root\"]";
const PEOPLE: &str = "[hook]\nread_ms = 1500\ndeadline_ms = 2000\n[[person]]\nname = \"Ann Example\"\n\
                      emails = [\"ann@example.org\"]\nlogins = [\"ann\"]\n\
                      [[person]]\nname = \"Bob\"\nemails = [\"bob@example.org\"]\nlogins = [\"bob\"]\n";

/// Commits and pushes as somebody, and gives what they see.
#[track_caller]
fn push(clone: &Repository<'_>, login: &str, message: &str) -> String {
    push_with(clone, login, message, &[])
}

#[track_caller]
fn push_with(clone: &Repository<'_>, login: &str, message: &str, environment: &[(&str, &str)]) -> String {
    clone.commit(message);
    let mut git = clone.command(&["push", "origin", "HEAD:main"]);
    let output = git.env("GL_USER", login).envs(environment.iter().copied()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// The lines of an answer that tell of earlier orders.
fn earlier(said: &str) -> Vec<String> {
    said.lines().filter_map(|line| Some(line.split_once("earlier: ")?.1.trim_end().to_owned())).collect()
}

#[track_caller]
fn wait_for(world: &World, state: &str, number: usize) {
    wait_until_or(
        &format!("{number} are {state}"),
        || world.effects(&["list", "--state", state]).len() == number,
        || format!("{:?} {}", world.effects(&["list"]), world.log()),
    );
}

#[test]
fn f11_f14_a_refusal_comes_with_the_next_push_of_whoever_ordered_and_once() {
    let world = with_people(SMART, |_| PEOPLE.to_owned());
    let daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let first = push(&clone, "ann", "ABC-1 #start");
    assert!(first.contains("ABC-1 #start is queued") && earlier(&first).is_empty(), "{first}");
    wait_for(&world, "refused", 1);
    let asked = world.agent_says(&["effects", "list", "--since-last-push", "--pusher", "ann"]);
    assert!(asked.contains("ABC-1 #start: refused by Jira: ") && asked.contains("Start Progress"), "{asked}");
    assert!(world.effects(&["list", "--since-last-push"]).is_empty(), "of the user who asks there are none");
    let others = push(&clone, "bob", "ABC-2 look");
    assert!(earlier(&others).is_empty(), "{others}");
    // What nobody passes on is told again.
    let lost = push_with(&clone, "ann", "ABC-2 lost", &[("AGENT_ABORT_AT", "hook.after_write_before_ack")]);
    assert!(earlier(&lost).is_empty(), "{lost}");
    let next = push(&clone, "ann", "ABC-3 go on");
    let told = earlier(&next);
    assert!(told.len() == 1 && told[0].starts_with("ABC-1 #start: refused by Jira: "), "{next}");
    assert!(told[0].contains("Start Progress") && told[0].contains("Start Review"), "{next}");
    assert!(next.contains("queued for Jira"), "the push itself is answered as ever: {next}");
    let again = push(&clone, "ann", "ABC-3 go on");
    assert!(earlier(&again).is_empty(), "{again}");
    let _daemon = world.restarted(daemon);
    let again = push(&clone, "ann", "ABC-3 go on");
    assert!(earlier(&again).is_empty(), "{again}");
    assert!(world.effects(&["list", "--since-last-push", "--pusher", "ann"]).is_empty());
}

#[test]
fn f11_of_many_outcomes_five_are_told_and_the_answer_stays_short() {
    let world = with_people(SMART, |_| PEOPLE.to_owned());
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let orders: String = (1..=6).map(|number| format!("ABC-{number} #comment done\n")).collect();
    push(&clone, "ann", &format!("{orders}ABC-7 #start\n"));
    wait_for(&world, "settled", 6);
    wait_for(&world, "refused", 1);
    let keys: String = (1..=9).map(|number| format!(" ABC-{number}")).collect();
    let said = push(&clone, "ann", &format!("all of{keys}"));
    let told = earlier(&said);
    assert_eq!(told.len(), 6, "{said}");
    assert!(told[0].starts_with("ABC-7 #start: refused by Jira: "), "{said}");
    assert!(told[1..5].iter().all(|line| line.contains(" #comment: done")), "{said}");
    assert_eq!(told[5], "2 more: agent effects list", "{said}");
    let ours: Vec<&str> = said.lines().filter(|line| line.starts_with("remote: ")).collect();
    assert_eq!(ours.len(), 10, "{said}");
    assert!(earlier(&push(&clone, "ann", "nothing to link")).is_empty());
}

#[test]
fn f11_news_come_also_with_a_push_that_links_nothing() {
    let world = with_people(SMART, |_| PEOPLE.to_owned());
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    push(&clone, "ann", "ABC-1 #comment done");
    wait_for(&world, "settled", 1);
    let said = push(&clone, "ann", "nothing to link");
    assert!(said.contains("jira: of earlier commands:"), "{said}");
    assert_eq!(earlier(&said).len(), 1, "{said}");
}

/// Gives the answer that Jira's error has to a comment, with what terminals and mail would obey.
fn hostile(world: &World) {
    let body = json!({"errorMessages": ["no\u{1b}[31m\r\nBcc: eve@example.org\n\n\u{202e}way"]}).to_string();
    let act = json!({"status": {"code": 400, "body": body, "content_type": "application/json"}});
    world.sandbox.misbehave(json!([{"on": "add_comment", "times": 1, "act": act}]));
}

#[test]
fn r6_what_jira_says_reaches_no_terminal_as_it_is() {
    let world = with_people(SMART, |_| PEOPLE.to_owned());
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    hostile(&world);
    push(&clone, "ann", "ABC-1 #comment done");
    wait_for(&world, "refused", 1);
    let asked = world.agent_says(&["effects", "list", "--since-last-push", "--pusher", "ann"]);
    let why = world.agent_says(&["why", "ABC-1"]);
    let said = push(&clone, "ann", "ABC-2 go on");
    assert!(earlier(&said).len() == 1 && earlier(&said)[0].contains("way"), "{said}");
    for text in [&asked, &why, &said] {
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
        assert!(!text.lines().any(|line| line.trim_start_matches("remote: ").starts_with("Bcc")), "{text:?}");
    }
}

/// A `sendmail` that keeps what it is given, and what it sees.
fn sendmail(world: &World) -> PathBuf {
    let folder = world.folder.join("mails");
    std::fs::create_dir(&folder).unwrap();
    let program = world.folder.join("sendmail");
    let at = folder.display();
    let text = format!(
        "#!/bin/sh\ncat > {at}/part.$$\nenv > {at}/env\necho \"$@\" > {at}/words\nmv {at}/part.$$ {at}/mail.$$\n"
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = std::fs::read_to_string(world.config()).unwrap();
    let section = format!("[mail]\nsendmail = \"{} -oem\"\nfrom = \"jira@example.org\"\n", program.display());
    std::fs::write(world.config(), section + &config).unwrap();
    folder
}

fn mails(folder: &PathBuf) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mails = entries.filter(|path| path.to_string_lossy().contains("/mail."));
    mails.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn n1_r6_what_went_wrong_goes_to_the_pusher_in_one_mail_that_nobody_can_add_to() {
    let world = with_people(SMART, |_| PEOPLE.replace("Ann Example", "Ann\\r\\nBcc: eve@example.org"));
    let folder = sendmail(&world);
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return skipped("there is no faketime here") };
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    hostile(&world);
    push(&clone, "ann", "ABC-1 #comment no\nABC-2 #start\n");
    push(&clone, "eve", "ABC-3 #start\n");
    wait_for(&world, "refused", 3);
    push(&clone, "ann", "ABC-4 #comment done\n");
    wait_for(&world, "settled", 1);
    assert!(mails(&folder).is_empty(), "it is collected for a minute");
    clock.set("+2m");
    wait_until_or("a mail has left", || !mails(&folder).is_empty(), || world.log());
    let (head, body) = mails(&folder)[0].split_once("\n\n").map(|(a, b)| (a.to_owned(), b.replace("=\n", ""))).unwrap();
    assert!(head.contains("<ann@example.org>") && head.contains("\nAuto-Submitted: auto-generated\n"), "{head}");
    assert!(head.contains("\nSubject: Jira=") || head.contains("\nSubject: =?UTF-8?Q?Jira=3A_2_commands"), "{head}");
    assert!(body.contains("ABC-1 #comment: refused by Jira") && body.contains("ABC-2 #start: refused"), "{body}");
    assert!(!body.contains("ABC-3") && !body.contains("ABC-4"), "{body}");
    assert!(!format!("{head}\n{body}").lines().any(|line| line.starts_with("Bcc")), "{head}\n{body}");
    let env = std::fs::read_to_string(folder.join("env")).unwrap();
    assert!(!env.contains("GIT_") && !env.contains("HOME="), "{env}");
    assert_eq!(std::fs::read_to_string(folder.join("words")).unwrap(), "-oem -i -t\n", "no address is an argument");
    // What comes later is a mail of its own, which tells nothing again; who has no address got none.
    push(&clone, "bob", "ABC-5 #start\n");
    wait_for(&world, "refused", 4);
    clock.set("+4m");
    wait_until_or("a second mail has left", || mails(&folder).len() > 1, || world.log());
    let second: Vec<String> = mails(&folder).into_iter().filter(|mail| mail.contains("bob@example.org")).collect();
    assert!(mails(&folder).len() == 2 && second.len() == 1 && second[0].contains("ABC-5"), "{second:?}");
    assert!(!world.log().contains("@example.org"), "{}", world.log());
}

/// The promise for mail is at most once: what may have left does not leave again.
#[test]
fn n1_f31_a_mail_that_was_begun_is_not_begun_again_and_the_next_push_tells_it() {
    let world = with_people(SMART, |_| PEOPLE.to_owned());
    let Some((clock, mut daemon)) = Clock::of_day(&world) else { return skipped("there is no faketime here") };
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    clock.set("+5m");
    push(&clone, "ann", "ABC-1 #start\n");
    wait_for(&world, "refused", 1);
    assert_eq!(daemon.stop(), Some(0));
    let folder = sendmail(&world);
    let mut daemon = world.spawn_daemon(&[("AGENT_ABORT_AT", "mail.after_mark")]);
    assert_aborted(&mut daemon, "mail.after_mark");
    let _daemon = world.daemon();
    push(&clone, "bob", "ABC-2 #start\n");
    wait_for(&world, "refused", 2);
    let said = push(&clone, "ann", "ABC-3 go on\n");
    assert_eq!(earlier(&said).len(), 1, "{said}");
    wait_until_or("Bob's mail has left", || !mails(&folder).is_empty(), || world.log());
    let all = mails(&folder);
    assert!(all.len() == 1 && all[0].contains("bob@example.org"), "{all:?}");
}

/// A program that fails or hangs costs nothing but the mail.
#[test]
fn n1_a_sendmail_that_fails_is_logged_and_holds_up_nothing() {
    let world = with_people(SMART, |_| PEOPLE.to_owned());
    let Some((clock, mut daemon)) = Clock::of_day(&world) else { return skipped("there is no faketime here") };
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    clock.set("+5m");
    push(&clone, "ann", "ABC-1 #start\n");
    wait_for(&world, "refused", 1);
    assert_eq!(daemon.stop(), Some(0));
    sendmail(&world);
    std::fs::write(world.folder.join("sendmail"), "#!/bin/sh\nexit 75\n").unwrap();
    let _daemon = world.daemon();
    wait_until("it is logged", || world.log().contains("a mail about 1 outcomes was lost"));
    assert!(world.log().contains("exit status: 75"), "{}", world.log());
    push(&clone, "ann", "ABC-2 #comment done\n");
    wait_for(&world, "settled", 1);
}

#[test]
fn n5_operators_are_mailed_when_something_lasts_that_needs_them_and_when_it_is_over() {
    let world = World::new();
    let folder = sendmail(&world);
    let config = std::fs::read_to_string(world.config()).unwrap();
    let operators = "[mail]\noperators = [\"ops@example.org\", \"deputy@example.org\"]\n";
    std::fs::write(world.config(), config.replace("[mail]\n", operators)).unwrap();
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return skipped("there is no faketime here") };
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    world.sandbox.settings(serde_json::json!({"client_secret": "a-new-secret"}));
    push(&clone, "ann", "ABC-1 begin");
    let rests = || !world.status()["running"]["sites"]["jira"]["resting"].is_null();
    wait_until_or("the site rests", rests, || world.log());
    clock.set("+1m");
    let status = world.agent(&["status"]).output().unwrap();
    let said = String::from_utf8_lossy(&status.stdout);
    assert!(status.status.code() == Some(1) && said.contains("site jira is told nothing: "), "{said}");
    assert!(mails(&folder).is_empty(), "it may be over in a moment");
    let mut minutes = 1;
    // Whenever the daemon looks, more time has gone by.
    let mut later = |wanted: usize| {
        minutes += 1;
        clock.set(&format!("+{minutes}m"));
        mails(&folder).len() == wanted
    };
    wait_until_or("both are told", || later(2), || world.log());
    let first = mails(&folder).concat().replace("=\n", "");
    for part in ["To: <ops@example.org>", "To: <deputy@example.org>", "site jira is told nothing:", "agent link"] {
        assert!(first.contains(part), "{first}");
    }
    assert!(!first.contains("sandbox-secret") && !world.log().contains("@example.org"), "{first}");
    world.write_secret("a-new-secret");
    wait_until_or("the site is told", || !rests(), || world.log());
    wait_until_or("both are told that it is over", || later(4), || world.log());
    assert!(mails(&folder).iter().filter(|mail| mail.replace("=\n", "").contains("This is over")).count() == 2);
}

#[test]
fn k12_why_shows_the_whole_way_of_a_commit_with_what_it_ordered() {
    let world = with_people(SMART, |_| PEOPLE.to_owned());
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    push(&clone, "ann", "ABC-1 #comment done\nABC-2 #start\n");
    let commit = clone.git(&["rev-parse", "HEAD"]);
    wait_for(&world, "settled", 1);
    wait_for(&world, "refused", 1);
    world.wait_until_idle();
    let why = world.agent_says(&["why", &commit[..12]]);
    for part in [
        format!("commit {commit}").as_str(),
        "Jira      has it since",
        "order ABC-1 #comment",
        "order ABC-2 #start",
        "pushed    by ann at",
        "state     settled since",
        "state     refused since",
        "Start Progress",
        "in Jira   ",
    ] {
        assert!(why.contains(part), "{part}: {why}");
    }
    let json: serde_json::Value = serde_json::from_str(&world.agent_says(&["why", &commit, "--json"])).unwrap();
    let effects = json["effects"].as_array().unwrap();
    assert_eq!(effects.iter().map(|one| one["state"].as_str().unwrap()).collect::<Vec<_>>(), ["settled", "refused"]);
    assert!(effects[0]["remote_id"].is_string() && effects[0]["pusher"] == "ann", "{effects:?}");
    assert!(why.contains(effects[1]["id"].as_str().unwrap()), "{why}");
}
