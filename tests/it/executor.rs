//! Smart Commits that Jira carries out itself: those of whoever pushed their own, once; everybody else's only link.

use serde_json::{Value, json};

use crate::crash::assert_aborted;
use crate::harness::{Repository, World, shown};
use crate::jira::TOP;
use crate::network::Proxy;

/// The sandbox has accounts with the addresses demo@example.org and agent@example.org.
const PERSON: &str = "[[person]]\nname = \"Demo\"\nemails = [\"demo@example.org\"]\nunix = [\"root\"]\n";
const OWN: &str = "demo@example.org";
const FORGED: &str = "agent@example.org";

/// A world in which Jira carries out orders, with lines for the site and for `[account.smart]`.
fn world(site: &str, smart: &str) -> World {
    let world = World::with(&format!("projects = [\"ABC\"]\nexecutor = \"jira\"\n{site}"), &format!("{TOP}{PERSON}"));
    let config = std::fs::read_to_string(world.config()).unwrap();
    std::fs::write(world.config(), format!("{config}[account.smart]\n{smart}\n")).unwrap();
    world
}

fn start(world: &World) -> (Repository<'_>, Repository<'_>) {
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    (repository, clone)
}

/// The commands that Jira has read where it was to obey, and whose commit each was in.
fn obeyed(world: &World) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let state = world.sandbox.state();
    let triggers = state["triggers"].as_array().unwrap().iter();
    triggers.map(|trigger| (text(&trigger["commit"]), text(&trigger["command"]))).collect()
}

/// What is said of the orders of a commit.
#[track_caller]
fn orders(world: &World, commit: &str) -> String {
    let said = world.agent_says(&["queue", "show", commit]);
    let line = said.lines().find(|line| line.trim_start().starts_with("orders ")).map(str::to_owned);
    line.unwrap_or_else(|| panic!("{said}"))
}

#[track_caller]
fn told(world: &World, commits: usize, branches: usize) {
    world.wait_for_jira(commits, branches);
    world.wait_until_idle();
}

#[test]
fn f1_f8_f64_jira_carries_out_the_orders_of_ones_own_commit_once_however_often_it_travels() {
    let world = world("", "policy = \"bot\"");
    let daemon = world.daemon();
    let (_repository, clone) = start(&world);
    clone.commit("ABC-9 begin");
    clone.push(&["origin", "HEAD:main"]);
    clone.git(&["checkout", "--quiet", "-b", "topic"]);
    let first = clone.commit_by(OWN, "ABC-1 #comment once #time 1h");
    let answer = clone.push(&["origin", "topic"]);
    for fate in ["ABC-1 #comment is left to Jira", "ABC-1 #time 1h is left to Jira"] {
        assert!(answer.contains(fate), "{answer}");
    }
    told(&world, 2, 0);
    let done = [(first.clone(), "#comment once".to_owned()), (first.clone(), "#time 1h".to_owned())];
    assert_eq!(obeyed(&world), done);
    let issue = world.sandbox.issue("ABC-1");
    assert_eq!((&issue["comments"][0]["author"], &issue["worklogs"][0]["author"]), (&json!("demo"), &json!("demo")));
    assert!(orders(&world, &first).contains("left to Jira at "));
    // Rebased onto a main that went on, picked to another branch, pushed to a second repository, and told anew.
    clone.git(&["checkout", "--quiet", "main"]);
    clone.commit("ABC-9 go on");
    clone.git(&["checkout", "--quiet", "topic"]);
    clone.git(&["rebase", "--quiet", "main"]);
    clone.push(&["--force", "origin", "topic"]);
    told(&world, 4, 0);
    let rebased = clone.git(&["rev-parse", "topic"]);
    assert!(orders(&world, &rebased).contains(&format!("they were left to Jira with commit {first}")));
    let _daemon = world.restarted(daemon);
    clone.git(&["checkout", "--quiet", "-b", "picked", "main"]);
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "ABC-9 between"]);
    clone.git(&["cherry-pick", "--allow-empty", "topic"]);
    clone.push(&["origin", "picked"]);
    let second = world.repository("second");
    clone.push(&[second.path.to_str().unwrap(), "topic", "picked"]);
    world.wait_until_idle();
    assert_eq!(obeyed(&world), done);
}

#[test]
fn f8_a_message_that_is_put_right_leaves_its_orders_to_jira_no_second_time() {
    let world = world("", "policy = \"bot\"");
    let _daemon = world.daemon();
    let (_repository, clone) = start(&world);
    clone.commit("ABC-9 begin");
    clone.push(&["origin", "HEAD:main"]);
    clone.commit_by(OWN, "Frist\n\nABC-1 #comment once");
    clone.push(&["origin", "HEAD:main"]);
    told(&world, 2, 0);
    let amend = |message: &str| {
        clone.git(&["commit", "--quiet", "--amend", "--allow-empty", "-m", message]);
        clone.push(&["--force", "origin", "HEAD:main"]);
        clone.git(&["rev-parse", "HEAD"])
    };
    let again = amend("First\n\nABC-1 #comment once");
    told(&world, 3, 0);
    let said = orders(&world, &again);
    assert!(said.contains("a commit that this one takes the place of ordered the same"), "{said}");
    amend("Really first\n\nABC-1 #comment once");
    told(&world, 4, 0);
    assert_eq!(obeyed(&world).len(), 1);
    amend("Really first\n\nABC-1 #comment another");
    told(&world, 5, 0);
    assert_eq!(obeyed(&world).len(), 2, "other words are another order");
}

#[test]
fn g5_a_forged_author_has_nothing_carried_out_and_still_links() {
    let world = world("", "policy = \"bot\"");
    let _daemon = world.daemon();
    let (_repository, clone) = start(&world);
    let forged = clone.commit_by(FORGED, "ABC-1 #comment in your name #time 2h");
    let answer = clone.push(&["origin", "HEAD:main"]);
    let because = "ABC-1 #comment is not carried out: Jira acts as the commit's author, and that is not Demo";
    assert!(answer.contains(because) && answer.contains("#time 2h is not carried out: work is logged by"), "{answer}");
    told(&world, 1, 0);
    assert_eq!(obeyed(&world), []);
    let commits = shown(&world.sandbox.state(), "commits");
    assert_eq!(commits[0]["data"]["message"], "ABC-1 #comment in your name #time 2h");
    assert!(orders(&world, &forged).contains("not left to Jira: Jira acts as the commit's author"));
    assert_eq!(world.effects(&["list", "--state", "refused"]).len(), 2);
}

/// Whoever pushed a commit first has had their say: its author does not lend it their name by pushing it on.
#[test]
fn g5_what_was_refused_is_not_carried_out_because_somebody_else_pushes_it_on() {
    let world = world("", "policy = \"bot\"\nhost_users = [\"root\"]");
    let config = std::fs::read_to_string(world.config()).unwrap();
    std::fs::write(world.config(), config.replace("unix = [\"root\"]", "logins = [\"demo\"]")).unwrap();
    let _daemon = world.daemon();
    let (_repository, clone) = start(&world);
    let second = world.repository("second");
    let push = |login: &str, to: &str| {
        let output = clone.command(&["push", to, "HEAD:main"]).env("GL_USERNAME", login).output().unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    clone.commit_by(OWN, "ABC-1 #comment written by eve");
    let answer = push("eve", "origin");
    assert!(answer.contains("no [[person]] joins eve with an address"), "{answer}");
    told(&world, 1, 0);
    push("demo", second.path.to_str().unwrap());
    told(&world, 2, 0);
    assert_eq!(obeyed(&world), []);
    let own = clone.commit_by(OWN, "ABC-1 #comment by demo");
    push("demo", "origin");
    told(&world, 3, 0);
    assert_eq!(obeyed(&world), [(own, "#comment by demo".to_owned())]);
}

#[test]
fn g5_where_commands_are_switched_off_jira_carries_out_none() {
    let world = world("", "");
    let _daemon = world.daemon();
    let (_repository, clone) = start(&world);
    clone.commit_by(OWN, "ABC-1 #comment x #time 2h");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("2 commands: switched off here"), "{answer}");
    told(&world, 1, 0);
    assert_eq!(obeyed(&world), []);
}

/// Which commits and branches each bulk request told, and whether Jira was kept from obeying.
fn bulks(proxy: &Proxy) -> Vec<(bool, Vec<String>, usize)> {
    let seen = proxy.seen.lock().unwrap();
    let bulk = |body: &[u8]| {
        let body: Value = serde_json::from_slice(body).unwrap();
        let list = |name: &str| body["repositories"][0][name].as_array().cloned().unwrap_or_default();
        let ids = list("commits").iter().map(|commit| commit["id"].as_str().unwrap().to_owned()).collect();
        (body["preventTransitions"] == true, ids, list("branches").len())
    };
    seen.iter().filter(|asked| asked.line.contains("/bulk")).map(|asked| bulk(&asked.body)).collect()
}

#[test]
fn g5_f1_a_push_of_own_and_forged_orders_is_split_and_what_orders_nothing_costs_no_request() {
    let proxy = Proxy::start();
    let world = world(&proxy.setting(), "policy = \"bot\"");
    let _daemon = world.daemon();
    let (_repository, clone) = start(&world);
    let own = clone.commit_by(OWN, "ABC-1 #comment mine");
    let plain = clone.commit("ABC-2 nothing to carry out, fixes #12");
    let forged = clone.commit_by(FORGED, "ABC-1 #comment not mine");
    clone.push(&["origin", "HEAD:refs/heads/ABC-3-x"]);
    told(&world, 3, 1);
    assert_eq!(obeyed(&world), [(own.clone(), "#comment mine".to_owned())]);
    assert_eq!(bulks(&proxy), [(false, vec![plain, own], 1), (true, vec![forged], 0)]);
    let plain = clone.commit("ABC-2 once more");
    clone.push(&["origin", "HEAD:refs/heads/ABC-3-x"]);
    told(&world, 4, 1);
    assert_eq!(bulks(&proxy)[2..], [(false, vec![plain], 1)]);
}

#[test]
fn f28_what_a_killed_daemon_may_have_sent_is_carried_out_at_most_once() {
    for (place, times) in [("sites.before_send", 0), ("sites.after_send", 1)] {
        let world = world("", "policy = \"bot\"");
        let mut daemon = world.daemon_with(&[("AGENT_ABORT_AT", place)]);
        let (_repository, clone) = start(&world);
        let own = clone.commit_by(OWN, "ABC-1 #comment once");
        clone.push(&["origin", "HEAD:main"]);
        assert_aborted(&mut daemon, place);
        let _daemon = world.daemon();
        told(&world, 1, 0);
        assert_eq!(obeyed(&world).len(), times, "{place}");
        assert_eq!(world.sandbox.requests("/bulk").len(), times + 1, "{place}");
        assert!(orders(&world, &own).contains("left to Jira at "));
    }
}

#[test]
fn f51_what_jira_had_no_time_for_is_carried_out_when_it_has() {
    let world = world("", "policy = \"bot\"");
    let _daemon = world.daemon();
    let (_repository, clone) = start(&world);
    let limit = json!({"rate": {"reason": "jira-burst-based", "retry_after": "1"}});
    world.sandbox.misbehave(json!([{"on": "bulk", "times": 2, "act": limit}]));
    let own = clone.commit_by(OWN, "ABC-1 #comment later");
    clone.push(&["origin", "HEAD:main"]);
    told(&world, 1, 0);
    assert_eq!(obeyed(&world), [(own, "#comment later".to_owned())]);
    assert_eq!(world.sandbox.requests("/bulk").len(), 3);
}

#[test]
fn f55_an_order_for_an_issue_that_is_made_later_is_carried_out_at_most_once() {
    let world = world("", "policy = \"bot\"");
    let _daemon = world.daemon();
    let (_repository, clone) = start(&world);
    let own = clone.commit_by(OWN, "ABC-1 ABC-77 #comment once");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_jira(1, 0);
    crate::harness::wait_until("it is put back", || world.queue(&["--state", "unknown"]).len() == 1);
    world.sandbox.create_issue("ABC-77");
    world.agent_says(&["queue", "retry", &own]);
    told(&world, 1, 0);
    crate::harness::wait_until("it is told", || world.queue(&["--state", "settled"]).len() == 1);
    // What was there was carried out with the first request; the second was told so that nothing is.
    assert_eq!(obeyed(&world), [(own, "#comment once".to_owned())]);
}

/// A store that was lost does not know what was carried out, and is told it all again.
#[test]
fn f22_what_is_told_again_after_the_queue_was_lost_is_not_left_to_jira() {
    let world = world("", "policy = \"bot\"");
    let mut daemon = world.daemon();
    let (_repository, clone) = start(&world);
    let own = clone.commit_by(OWN, "ABC-1 #comment once");
    clone.push(&["origin", "HEAD:main"]);
    told(&world, 1, 0);
    assert_eq!(daemon.stop(), Some(0));
    std::fs::remove_dir_all(world.state()).unwrap();
    let _daemon = world.daemon();
    let next = clone.commit_by(OWN, "ABC-2 #comment next");
    clone.push(&["origin", "HEAD:main"]);
    told(&world, 2, 0);
    let done = [(own.clone(), "#comment once".to_owned()), (next, "#comment next".to_owned())];
    assert_eq!(obeyed(&world), done);
    assert!(orders(&world, &own).contains("it came with the history of a repository that was new"));
}
