//! What Jira answers, rightly or wrongly, and what the agent makes of it: nothing lost, nothing twice, all of it said.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::direct::{Direct, Promise, wait_for_commits};
use crate::harness::{Repository, Sandbox, World, shown, wait_until, wait_until_or};
use crate::network::{Proxy, listen};

pub const SITE: &str = "projects = [\"ABC\"]\n";
/// Hooks get the time they need on a busy machine.
pub const TOP: &str = "[hook]\nread_ms = 1500\ndeadline_ms = 2000\n";

pub fn world() -> World {
    World::with(SITE, TOP)
}

/// The commits that Jira shows.
pub fn commits(world: &World) -> Vec<Value> {
    shown(&world.sandbox.state(), "commits")
}

/// How many entities of all sites are in this state.
pub fn owed(world: &World, state: &str) -> u64 {
    let status = world.status();
    status["queue"]["sites"].as_array().unwrap().iter().map(|site| site[state].as_u64().unwrap()).sum()
}

/// Waits until the site rests for a reason that holds these words, and gives until when.
#[track_caller]
pub fn rests(world: &World, because: &str) -> Option<i64> {
    let mut resting = Value::Null;
    wait_until_or(
        "the site rests",
        || {
            resting = world.status()["running"]["sites"]["jira"]["resting"].clone();
            resting["because"].as_str().is_some_and(|said| said.contains(because))
        },
        || format!("for {because:?}\n{}\n{}", world.status(), world.log()),
    );
    // The words for people say the same, and that somebody should look.
    let output = world.agent(&["status"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        assert!(said.contains("is told"), "it went on in between: {said}");
    } else {
        assert!(said.contains("rests until"), "{said}");
    }
    resting["until"].as_i64()
}

#[track_caller]
fn queued(direct: &Direct<'_>, number: usize) {
    assert_eq!(direct.push(number), Promise::Queued);
}

/// The row of an entity in the queue.
fn row(world: &World, id: &str) -> Value {
    world.queue(&[id]).first().cloned().unwrap_or_default()
}

/// Waits until the queue notes this about an entity, and gives its row.
#[track_caller]
fn noted(world: &World, id: &str, note: &str) -> Value {
    let mut found = Value::Null;
    wait_until_or(
        "the queue notes it",
        || {
            found = row(world, id);
            found["note"].as_str().is_some_and(|said| said.contains(note))
        },
        || format!("{note:?}: {}\n{}", row(world, id), world.log()),
    );
    found
}

fn bulks(world: &World) -> Vec<Value> {
    world.sandbox.requests("/bulk")
}

fn why(world: &World, what: &str) -> String {
    String::from_utf8_lossy(&world.agent(&["why", what]).output().unwrap().stdout).into_owned()
}

/// Milliseconds since the epoch, by the true clock.
fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn status_of(code: u16) -> Value {
    json!({"status": {"code": code}})
}

fn rate(reason: &str, retry_after: &str) -> Value {
    json!({"rate": {"reason": reason, "retry_after": retry_after}})
}

#[test]
fn f43_a18_a_changed_secret_rests_the_site_loses_nothing_and_works_within_ten_seconds() {
    let world = world();
    let direct = Direct::new(&world, "tool", 3);
    let _daemon = world.daemon();
    queued(&direct, 0);
    wait_for_commits(&world, &direct.commits[..1]);
    world.sandbox.settings(json!({"client_secret": "a-new-secret"}));
    queued(&direct, 1);
    assert_eq!(rests(&world, "refused the client id and the secret with 401"), None);
    let asked = world.sandbox.requests("").len();
    queued(&direct, 2);
    wait_until("the second event was read too", || owed(&world, "ready") == 2);
    assert_eq!(owed(&world, "parked"), 0);
    let said = why(&world, &direct.commits[1]);
    assert!(said.contains("is told next: ") && said.contains("make a new credential in Jira"), "{said}");
    // Nobody is asked again until there is another secret.
    assert_eq!(world.sandbox.requests("").len(), asked);
    world.write_secret("a-new-secret");
    let began = Instant::now();
    wait_for_commits(&world, &direct.commits);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let sequence = |at: usize| row(&world, &direct.commits[at])["sequence"].as_i64().unwrap();
    assert!(sequence(0) < sequence(1) && sequence(1) < sequence(2));
}

#[test]
fn f43_a_token_that_is_refused_is_replaced_once_without_a_rest() {
    let world = world();
    let direct = Direct::new(&world, "tool", 2);
    let _daemon = world.daemon();
    queued(&direct, 0);
    wait_for_commits(&world, &direct.commits[..1]);
    // The same secret again, but the tokens that were had for it are void.
    world.sandbox.settings(json!({"client_secret": "sandbox-secret"}));
    queued(&direct, 1);
    wait_for_commits(&world, &direct.commits);
    assert_eq!(world.sandbox.requests("/oauth/token").len(), 2);
    let refused = bulks(&world).iter().filter(|request| request["status"] == 401).count();
    assert_eq!(refused, 1);
    assert_eq!(world.status()["running"]["sites"]["jira"]["last_failure"], Value::Null);
}

/// Asserts that a refusal of the whole site makes it rest about this long, and that time ends the rest.
#[track_caller]
fn refusal(code: u16, because: &str, minutes: i64) {
    let world = world();
    let direct = Direct::new(&world, "tool", 1);
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return };
    world.sandbox.misbehave(json!([{"on": "bulk", "act": status_of(code)}]));
    queued(&direct, 0);
    let until = rests(&world, because).expect("it ends by itself");
    let wanted = now() + minutes * 60_000;
    assert!((until - wanted).abs() < 30_000, "{until} instead of {wanted}");
    assert_eq!((owed(&world, "ready"), owed(&world, "parked")), (1, 0));
    world.sandbox.behave();
    clock.set(&format!("+{}m", minutes + 1));
    wait_for_commits(&world, &direct.commits);
}

#[test]
fn f43_a_token_that_jira_refuses_again_and_again_rests_the_site_for_a_quarter() {
    refusal(401, "answered 401 Unauthorized", 15);
}

#[test]
fn f44_a_credential_without_the_permission_is_told_what_it_needs() {
    refusal(403, "needs the permission for development information", 15);
}

#[test]
fn f61_a_site_that_is_gone_is_left_alone_for_an_hour_and_everything_is_kept() {
    refusal(410, "the site may be renamed, suspended or gone", 60);
}

#[test]
fn f44_f54_i10_what_jira_refuses_is_tried_five_times_then_parked_and_the_rest_goes_through() {
    let world = world();
    let direct = Direct::new(&world, "tool", 2);
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return };
    let (bad, good) = (&direct.commits[0], &direct.commits[1]);
    let refusal = json!({"fail_entities": {"ids": [bad], "message": "you may not touch \u{1b}[31mthis project"}});
    world.sandbox.misbehave(json!([{"on": "bulk", "act": refusal}]));
    queued(&direct, 0);
    queued(&direct, 1);
    wait_for_commits(&world, std::slice::from_ref(good));
    for attempt in 1..5 {
        wait_until_or("it was tried", || row(&world, bad)["attempts"] == attempt, || row(&world, bad).to_string());
        assert_eq!(row(&world, bad)["state"], "ready");
        clock.set(&format!("+{}m", 90 * attempt));
    }
    wait_until("it is parked", || row(&world, bad)["state"] == "parked");
    let said = why(&world, bad);
    assert!(said.contains("does not take it; waits for a person: Jira refused it: you may not touch"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
    let said = String::from_utf8(world.agent(&["status"]).output().unwrap().stdout).unwrap();
    assert!(said.contains("1 told, 0 due, 0 wait for a key, 1 parked") && said.contains("--state parked"), "{said}");
    assert!(world.agent_says(&["queue", "list", "--state", "parked"]).contains("you may not touch"));
    assert_eq!(commits(&world).len(), 1);
    world.sandbox.behave();
    assert!(world.agent_says(&["queue", "retry", "--state", "parked"]).contains("1 are tried again now"));
    wait_for_commits(&world, &direct.commits);
}

#[test]
fn f46_an_answer_that_drips_is_given_up_and_asked_for_again() {
    let world = world();
    let direct = Direct::new(&world, "tool", 1);
    let Some((clock, _daemon)) = Clock::of_everything(&world) else { return };
    world.sandbox.misbehave(json!([{"on": "tenant", "times": 1, "act": {"trickle": {"bytes_per_second": 1}}}]));
    queued(&direct, 0);
    wait_until("it drips", || !world.sandbox.requests("tenant_info").is_empty());
    clock.set("+31");
    wait_for_commits(&world, &direct.commits);
    assert!(world.log().contains("did not answer in time"), "{}", world.log());
    assert_eq!(world.sandbox.requests("tenant_info").len(), 2);
}

/// A world in which Jira carries out the orders of everybody.
fn obeyed_world(site: &str) -> World {
    let world = World::with(&format!("{site}{SITE}"), TOP);
    let config = std::fs::read_to_string(world.config()).unwrap();
    let smart = "[account.smart]\npolicy = \"email\"\ni_accept_forgery = true\n";
    std::fs::write(world.config(), format!("{config}{smart}")).unwrap();
    world
}

/// What Jira would have carried out.
fn triggers(world: &World) -> Vec<Value> {
    world.sandbox.state()["triggers"].as_array().unwrap().clone()
}

#[test]
fn f47_f49_i9_a_request_whose_answer_got_lost_is_told_again_under_its_number_and_acts_at_most_once() {
    for (act, times) in [("apply_then_drop", 2), ("drop", 1)] {
        let world = obeyed_world("");
        let direct =
            Direct::of_messages(&world, "tool", ["begin", "go on"].iter().map(|s| format!("ABC-1 #comment {s}")));
        let _daemon = world.daemon();
        queued(&direct, 0);
        wait_for_commits(&world, &direct.commits[..1]);
        // The connection is open still and is closed by the other side when it is used again.
        world.sandbox.misbehave(json!([{"on": "bulk", "times": 1, "act": act}]));
        queued(&direct, 1);
        wait_until("it was told anew", || bulks(&world).len() == 3);
        wait_for_commits(&world, &direct.commits);
        world.wait_until_idle();
        assert_eq!((commits(&world).len(), triggers(&world).len(), bulks(&world).len()), (2, times, 3));
        for commit in commits(&world) {
            assert_eq!(commit["updateSequenceId"], row(&world, commit["data"]["id"].as_str().unwrap())["sequence"]);
        }
    }
}

#[test]
fn f48_a_request_that_takes_effect_after_we_gave_up_acts_at_most_once() {
    let world = obeyed_world("");
    let direct = Direct::of_messages(&world, "tool", std::iter::once("ABC-1 #comment late".to_owned()));
    let Some((clock, _daemon)) = Clock::of_everything(&world) else { return };
    world.sandbox.misbehave(json!([{"on": "bulk", "times": 1, "act": {"delay": {"ms": 6000}}}]));
    queued(&direct, 0);
    wait_until("it is under way", || world.sandbox.state()["faults"].as_array().unwrap().is_empty());
    clock.set("+61");
    wait_until_or("both took effect", || bulks(&world).len() == 2, || world.log());
    wait_for_commits(&world, &direct.commits);
    world.wait_until_idle();
    assert!(world.log().contains("did not answer in time"), "{}", world.log());
    assert_eq!((commits(&world).len(), bulks(&world).len()), (1, 2));
    assert!(triggers(&world).len() <= 1, "{:?}", triggers(&world));
}

#[test]
fn f50_a_redirect_is_not_followed_and_both_hosts_are_named() {
    let world = world();
    let direct = Direct::new(&world, "tool", 2);
    let knocks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&knocks);
    let elsewhere = listen(move |mut line| {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = line.read(&mut [0; 1]);
    });
    let to = format!("http://{}/x", elsewhere.replace("127.0.0.1", "localhost"));
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return };
    for (at, (door, code)) in [("token", 302), ("bulk", 307)].into_iter().enumerate() {
        world.sandbox.misbehave(json!([{"on": door, "times": 1, "act": {"redirect": {"to": to, "code": code}}}]));
        queued(&direct, at);
        let because = format!("{} sends us on to localhost, which we do not follow", world.sandbox.address);
        let until = rests(&world, &because).expect("it ends by itself");
        assert!(until > now() + 50 * 60_000);
        clock.set(&format!("+{}m", 65 * (at + 1)));
        wait_for_commits(&world, &direct.commits[..=at]);
    }
    assert_eq!(knocks.load(Ordering::SeqCst), 0);
}

#[test]
fn f51_i5_a_burst_limit_pauses_that_kind_of_call_alone() {
    let world = world();
    let direct = Direct::new(&world, "tool", 2);
    let repository = world.repository("other");
    let clone = world.clone_of(&repository, "work");
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return };
    clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:refs/heads/ABC-2-x"]);
    world.wait_for_jira(1, 1);
    let before = bulks(&world).len();
    world.sandbox.misbehave(json!([{"on": "bulk", "times": 1, "act": rate("jira-burst-based", "600")}]));
    queued(&direct, 0);
    let found = noted(&world, &direct.commits[0], "429 Too Many Requests: rate limit exceeded (jira-burst-based)");
    let wait = found["ready_at"].as_i64().unwrap() - now();
    assert!((570_000..=781_000).contains(&wait), "{wait}");
    queued(&direct, 1);
    noted(&world, &direct.commits[1], "Jira asked us to slow down");
    // A deletion is another kind of call.
    clone.push(&["origin", ":ABC-2-x"]);
    world.wait_for_jira(1, 0);
    assert_eq!(bulks(&world).len(), before + 1);
    assert_eq!(world.status()["running"]["sites"]["jira"]["resting"], Value::Null);
    clock.set("+14m");
    wait_for_commits(&world, &direct.commits);
    assert_eq!(bulks(&world).len(), before + 2);
}

#[test]
fn f51_i5_a_limit_of_one_issue_holds_up_nothing_but_what_it_met() {
    let world = world();
    let direct = Direct::new(&world, "tool", 2);
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return };
    world.sandbox.misbehave(json!([{"on": "bulk", "times": 1, "act": rate("jira-per-issue-on-write", "600")}]));
    queued(&direct, 0);
    noted(&world, &direct.commits[0], "(jira-per-issue-on-write)");
    queued(&direct, 1);
    wait_for_commits(&world, &direct.commits[1..]);
    assert_eq!(commits(&world).len(), 1);
    assert!(why(&world, &direct.commits[0]).contains("is told again in "));
    clock.set("+14m");
    wait_for_commits(&world, &direct.commits);
}

#[test]
fn f51_i5_i7_a_spent_quota_rests_the_site_and_what_gathered_leaves_in_one_request() {
    let world = world();
    let one = Direct::new(&world, "one", 3);
    let two = Direct::new(&world, "two", 3);
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return };
    world.sandbox.misbehave(json!([{"on": "bulk", "times": 1, "act": rate("jira-quota-tenant-based", "600")}]));
    queued(&one, 0);
    let until = rests(&world, "(jira-quota-tenant-based)").unwrap();
    assert!((570_000..=781_000).contains(&(until - now())), "{until}");
    for at in 0..3 {
        queued(&two, at);
        if at > 0 {
            queued(&one, at);
        }
    }
    wait_until("all is owed", || owed(&world, "ready") == 6);
    assert_eq!(bulks(&world).len(), 1);
    clock.set("+14m");
    wait_for_commits(&world, &[one.commits.clone(), two.commits.clone()].concat());
    let requests = bulks(&world);
    assert_eq!(requests.len(), 2);
    assert_eq!((&requests[1]["repositories"], &requests[1]["commits"]), (&json!(2), &json!(6)));
}

#[test]
fn f52_i5_a_wish_to_wait_is_read_in_every_form_and_kept_within_an_hour() {
    let world = world();
    let date = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(20);
    let in_http = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let in_iso = date.strftime("%Y-%m-%dT%H:%MZ").to_string();
    let long: &[(Value, std::ops::RangeInclusive<i64>)] = &[
        (json!({"retry_after": "1000000000"}), 3_500..=4_700),
        (json!({"retry_after": "99999999999999999999999"}), 3_500..=4_700),
        (json!({"retry_after": in_http}), 1_100..=1_570),
        (json!({"reset": in_iso}), 1_100..=1_570),
    ];
    let short = [json!({}), json!({"retry_after": "-5"}), json!({"retry_after": "soon"})];
    let direct = Direct::new(&world, "tool", long.len() + short.len());
    let _daemon = world.daemon();
    let limit = |wish: &Value| {
        let mut act = json!({"reason": "jira-per-issue-on-write"});
        act.as_object_mut().unwrap().extend(wish.as_object().unwrap().clone());
        world.sandbox.misbehave(json!([{"on": "bulk", "times": 1, "act": {"rate": act}}]));
    };
    for (at, wish) in short.iter().enumerate() {
        limit(wish);
        queued(&direct, at);
        wait_for_commits(&world, &direct.commits[..=at]);
    }
    assert_eq!(bulks(&world).len(), 2 * short.len());
    for (at, (wish, seconds)) in (short.len()..).zip(long) {
        limit(wish);
        queued(&direct, at);
        let found = noted(&world, &direct.commits[at], "rate limit exceeded");
        let wait = (found["ready_at"].as_i64().unwrap() - now()) / 1000;
        assert!(seconds.contains(&wait), "{wish}: {wait} s");
    }
}

#[test]
fn f53_i12_i15_an_outage_of_days_parks_nothing_and_its_backlog_leaves_in_few_requests() {
    let world = world();
    let one = Direct::new(&world, "one", 3);
    let two = Direct::new(&world, "two", 3);
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return };
    world.sandbox.misbehave(json!([{"on": "any", "act": status_of(500)}]));
    for (at, offset) in ["+0", "+1d", "+13d"].into_iter().enumerate() {
        clock.set(offset);
        let before = world.sandbox.requests("").len();
        queued(&one, at);
        queued(&two, at);
        wait_until("it was tried", || world.sandbox.requests("").len() > before);
        rests(&world, "answered 500 Internal Server Error");
    }
    wait_until("all is owed", || owed(&world, "ready") == 6);
    assert_eq!(owed(&world, "parked"), 0);
    // A failing site is asked one thing at a time.
    assert!(world.sandbox.requests("").len() <= 20, "{:?}", world.sandbox.requests(""));
    assert_eq!(world.status()["queue"]["sites"][0]["settled"], 0);
    world.sandbox.behave();

    clock.set("+313h");
    wait_for_commits(&world, &[one.commits.clone(), two.commits.clone()].concat());
    world.wait_until_idle();
    assert!(bulks(&world).iter().filter(|request| request["status"] == 202).count() <= 2);
}

#[test]
fn f53_what_a_site_would_not_take_for_two_weeks_is_parked_in_sight_and_not_forgotten() {
    let world = world();
    let direct = Direct::new(&world, "tool", 1);
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return };
    world.sandbox.misbehave(json!([{"on": "bulk", "act": status_of(502)}]));
    queued(&direct, 0);
    rests(&world, "answered 502 Bad Gateway");
    clock.set("+15d");
    wait_until("it is parked", || owed(&world, "parked") == 1);
    let said = why(&world, &direct.commits[0]);
    assert!(
        said.contains("waits for a person: not delivered in 14 days") && said.contains("502 Bad Gateway"),
        "{said}"
    );
    world.sandbox.behave();
    world.agent_says(&["queue", "retry"]);
    wait_for_commits(&world, &direct.commits);
}

#[test]
fn i4_i15_pauses_double_with_chance_in_them() {
    let world = world();
    let direct = Direct::new(&world, "tool", 1);
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return };
    world.sandbox.misbehave(json!([{"on": "tenant", "act": status_of(500)}]));
    queued(&direct, 0);
    let mut last = 0;
    for failure in 0..4 {
        let mut site = Value::Null;
        wait_until("it failed once more", || {
            site = world.status()["running"]["sites"]["jira"].clone();
            site["resting"]["until"].as_i64().is_some_and(|until| until > last)
        });
        last = site["resting"]["until"].as_i64().unwrap();
        let pause = last - site["last_failure"]["at"].as_i64().unwrap();
        let wanted = 1000 << failure;
        // What failed is written down before the rest is noted, and on a busy machine that takes a moment.
        assert!((wanted * 7 / 10 - 1000..=wanted * 13 / 10).contains(&pause), "pause {failure}: {pause} ms");
        clock.set(&format!("+{}", 60 * (failure + 1)));
    }
}

#[test]
fn f55_a_key_that_jira_learns_later_links_then_and_a_known_one_at_once() {
    let world = world();
    let direct = Direct::of_messages(&world, "tool", ["ABC-77", "ABC-1 and ABC-78"].into_iter().map(str::to_owned));
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return };
    queued(&direct, 0);
    queued(&direct, 1);
    noted(&world, &direct.commits[0], "Jira does not know ABC-77");
    noted(&world, &direct.commits[1], "Jira does not know ABC-78");
    wait_for_commits(&world, &direct.commits[1..]);
    assert_eq!(commits(&world)[0]["keys"], json!(["ABC-1"]));
    assert!(why(&world, "ABC-77").contains("Jira does not know ABC-77"));
    // That is not a fault that anybody has to look after.
    assert!(world.agent_says(&["status"]).contains("0 told, 0 due, 2 wait for a key, 0 parked"));
    assert_eq!(world.queue(&["--state", "unknown"]).len(), 2);
    let asked = bulks(&world).len();
    world.sandbox.create_issue("ABC-77");
    world.sandbox.create_issue("ABC-78");
    clock.set("+9m");
    let other = Direct::new(&world, "other", 1);
    queued(&other, 0);
    wait_for_commits(&world, &other.commits);
    assert_eq!(bulks(&world).len(), asked + 1);
    clock.set("+11m");
    wait_for_commits(&world, &direct.commits);
    wait_until("both keys link", || commits(&world).iter().any(|commit| commit["keys"] == json!(["ABC-1", "ABC-78"])));
}

#[test]
fn f55_a_key_that_never_comes_to_be_is_tried_over_eight_days_and_then_counted() {
    let world = world();
    let direct = Direct::of_messages(&world, "tool", std::iter::once("ABC-77 never".to_owned()));
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return };
    queued(&direct, 0);
    for (unknown, later) in [(1, "+11m"), (2, "+75m"), (3, "+26h"), (4, "+9d")] {
        wait_until_or(
            "it was tried",
            || row(&world, &direct.commits[0])["unknown"] == unknown,
            || format!("{unknown}: {}", row(&world, &direct.commits[0])),
        );
        clock.set(later);
    }
    wait_until("it is given up", || row(&world, &direct.commits[0])["state"] == "settled");
    assert_eq!(world.status()["queue"]["dropped_keys"], 1);
    assert!(why(&world, "ABC-77").contains("Jira does not know ABC-77"));
    assert_eq!((commits(&world).len(), bulks(&world).len()), (0, 5));
}

/// Makes a branch of so many commits and gives it to the server in one push.
fn many(clone: &Repository<'_>, count: usize, padding: usize) {
    let mut stream = String::new();
    for number in 0..count {
        let message = format!("ABC-1 commit {number} {}", "x".repeat(padding));
        stream += &format!(
            "commit refs/heads/many\ncommitter A <a@example.org> 1700000000 +0000\ndata {}\n{message}\n",
            message.len()
        );
    }
    crate::direct::feed(&mut clone.command(&["fast-import", "--quiet"]), stream.as_bytes());
    clone.push(&["origin", "many:main"]);
}

#[test]
fn f56_i8_a_large_push_is_split_where_jira_draws_the_line() {
    let world = world();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let _daemon = world.daemon();
    many(&clone, 850, 0);
    world.wait_for_jira(850, 0);
    world.wait_until_idle();
    let requests = bulks(&world);
    assert!(requests.iter().all(|request| request["status"] == 202), "{requests:?}");
    assert!(requests.iter().all(|request| request["commits"].as_u64() <= Some(400)));
    assert!(requests.len() <= 5, "{}", requests.len());
}

#[test]
fn f56_a_request_that_is_too_large_is_halved_until_it_fits() {
    let world = world();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    world.sandbox.settings(json!({"max_body_bytes": 6000}));
    let _daemon = world.daemon();
    many(&clone, 40, 100);
    world.wait_for_jira(40, 0);
    world.wait_until_idle();
    assert!(bulks(&world).iter().any(|request| request["status"] == 413));
    assert_eq!(owed(&world, "parked"), 0);
}

#[test]
fn f56_a_commit_too_large_by_itself_loses_files_first_and_is_parked_only_when_nothing_is_left_to_leave_out() {
    let world = world();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    world.sandbox.settings(json!({"max_body_bytes": 2300}));
    let _daemon = world.daemon();
    for number in 0..12 {
        std::fs::write(clone.path.join(format!("{number}-{}", "f".repeat(200))), "x\n").unwrap();
    }
    let large = clone.commit(&format!("ABC-1 large {}", "y".repeat(900)));
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_jira(1, 0);
    let told = &commits(&world)[0]["data"];
    assert_eq!((&told["id"], &told["fileCount"], &told["files"]), (&json!(large), &json!(13), &Value::Null));
    world.sandbox.settings(json!({"max_body_bytes": 300}));
    let larger = clone.commit("ABC-2 too large");
    clone.push(&["origin", "HEAD:main"]);
    let parked = noted(&world, &larger, "answered 413");
    assert_eq!(parked["state"], "parked");
    world.sandbox.settings(json!({"max_body_bytes": 100_000}));
    world.agent_says(&["queue", "retry", &larger]);
    world.wait_for_jira(2, 0);
}

#[test]
fn f56_e20_keys_beyond_a_hundred_are_left_out_and_the_author_is_told() {
    let world = world();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let _daemon = world.daemon();
    let keys: Vec<String> = (1..=150).map(|number| format!("ABC-{number}")).collect();
    clone.commit(&keys.join(" "));
    let said = clone.push(&["origin", "HEAD:main"]);
    assert!(said.contains("50 keys past the first 100 of an entity are left out"), "{said}");
    world.wait_for_jira(1, 0);
    assert_eq!(commits(&world)[0]["data"]["issueKeys"].as_array().unwrap().len(), 100);
    assert_eq!(owed(&world, "parked"), 0);
}

#[test]
fn f56_a_request_refused_for_one_entity_is_taken_apart_until_that_one_is_alone() {
    let world = world();
    let direct = Direct::new(&world, "tool", 4);
    // Held back until all are there, so that they leave together.
    for at in 0..4 {
        assert_eq!(direct.push(at), Promise::Kept);
    }
    let refusal = json!({"status": {"code": 400, "content_type": "application/json",
        "body": r#"{"errorMessages":[{"message":"devInformation.repository is odd"}]}"#}});
    // Four are refused, the first half too, then the first alone.
    world.sandbox.misbehave(json!([{"on": "bulk", "times": 3, "act": refusal}]));
    let _daemon = world.daemon();
    wait_until_or("three are told", || commits(&world).len() == 3, || world.log());
    let parked = world.queue(&["--state", "parked"]);
    assert_eq!(parked.len(), 1);
    assert!(parked[0]["note"].as_str().unwrap().contains("400 Bad Request: devInformation.repository is odd"));
    world.agent_says(&["queue", "retry"]);
    wait_for_commits(&world, &direct.commits);
}

/// Asserts that an answer that is not Jira's says nothing about what was sent: it waits a moment and is told again.
#[track_caller]
fn nonsense(faults: &[(Value, &str)]) {
    let world = world();
    let direct = Direct::new(&world, "tool", faults.len());
    let daemon = world.daemon();
    for (at, (act, because)) in faults.iter().enumerate() {
        world.sandbox.misbehave(json!([{"on": "bulk", "times": 1, "act": act}]));
        queued(&direct, at);
        wait_for_commits(&world, &direct.commits[..=at]);
        world.wait_until_idle();
        let failure = world.status()["running"]["sites"]["jira"]["last_failure"]["because"].clone();
        let failure = failure.as_str().unwrap_or_default().to_owned();
        assert!(failure.contains(because), "{act}: {failure:?}");
        assert!(!failure.contains('<') && failure.len() < 500, "{failure}");
    }
    assert_eq!(owed(&world, "parked"), 0);
    assert_eq!(commits(&world).len(), faults.len());
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.process.0.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 200 << 10, "{peak} kB");
}

#[test]
fn f57_pages_and_noise_in_place_of_an_answer_are_no_verdict() {
    nonsense(&[
        (json!("html_login"), "with text/html instead of Jira's JSON"),
        (json!("garbage"), "JSON that cannot be read"),
        (
            json!({"status": {"code": 202, "content_type": "application/json", "body": "{}"}}),
            "an object of another kind",
        ),
    ]);
}

#[test]
fn f57_answers_that_break_off_or_do_not_end_are_no_verdict() {
    nonsense(&[
        (json!({"truncate": {"bytes": 20}}), "broke off"),
        (json!({"huge": {"bytes": 2_u64 << 30}}), "answered with more than 4 MiB"),
        (json!("gzip_bomb"), "something compressed, unasked"),
    ]);
}

#[test]
fn f58_a_site_under_maintenance_is_left_alone_as_long_as_it_says() {
    let world = world();
    let direct = Direct::new(&world, "tool", 1);
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return };
    let page = json!({"status": {"code": 503, "headers": {"retry-after": "900"}, "content_type": "text/html",
        "body": "<title>Jira is down for maintenance</title>"}});
    world.sandbox.misbehave(json!([{"on": "bulk", "act": page}]));
    queued(&direct, 0);
    let until = rests(&world, "answered 503 Service Unavailable").unwrap();
    assert!((870_000..=1_171_000).contains(&(until - now())), "{}", until - now());
    assert_eq!(bulks(&world).len(), 1);
    world.sandbox.behave();
    clock.set("+21m");
    wait_for_commits(&world, &direct.commits);
}

#[test]
fn f39_i15_a13_a14_a_site_in_trouble_leaves_another_alone_and_each_gets_its_own_projects() {
    let world = world();
    let other = Sandbox::start(&world.folder);
    std::fs::create_dir(world.folder.join("others")).unwrap();
    let url = other.url();
    let second = format!(
        "{SITE}\n[[account]]\nname = \"second\"\nroot = \"others\"\nsite = \"second\"\n\n[[site]]\nname = \"second\"\nurl = \"{url}\"\n\
         api_url = \"{url}\"\nauth_url = \"{url}/oauth/token\"\nclient_id = \"sandbox-client\"\nsecret_file = \"secret\"\nprojects = [\"DEF\"]\n"
    );
    world.configure(&second, TOP);
    other.create_issue("DEF-1");
    let _daemon = world.daemon();
    let first = Direct::new(&world, "tool", 1);
    let path = world.folder.join("others/tool.git");
    crate::harness::success(
        world.command("git").args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(&path),
    );
    world.agent_says(&["install", path.to_str().unwrap()]);
    let elsewhere = Repository { world: &world, path };
    let clone = world.clone_of(&elsewhere, "second");
    world.sandbox.misbehave(json!([{"on": "any", "act": status_of(401)}]));
    queued(&first, 0);
    rests(&world, "401");
    clone.commit("DEF-1 ours");
    clone.commit("ABC-1 of the other site");
    let said = clone.push(&["origin", "HEAD:main"]);
    assert!(said.contains(&format!("DEF-1  {url}/browse/DEF-1")) && !said.contains("browse/ABC-1"), "{said}");
    wait_until("the other site is told", || shown(&other.state(), "commits").len() == 1);
    assert_eq!(shown(&other.state(), "commits")[0]["keys"], json!(["DEF-1"]));
    assert_eq!((commits(&world).len(), owed(&world, "ready")), (0, 1));
    let status = world.status();
    assert_eq!(status["running"]["sites"]["second"]["resting"], Value::Null);
    assert_ne!(status["running"]["sites"]["jira"]["resting"], Value::Null);
}

/// What Jira shows of each commit's message and the keys it was told.
fn linked(world: &World) -> BTreeMap<String, Vec<String>> {
    let told = commits(world).into_iter().map(|commit| {
        let keys = commit["data"]["issueKeys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned());
        (commit["data"]["message"].as_str().unwrap().to_owned(), keys.collect())
    });
    told.collect()
}

/// Asserts which keys of each message link, for a site that knows these projects or is not asked.
#[track_caller]
fn keys(site: &str, cases: &[(&str, &[&str])]) {
    let world = World::with(site, TOP);
    ["X_Y-1", "A1-2"].iter().for_each(|key| world.sandbox.create_issue(key));
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let _daemon = world.daemon();
    for (message, _) in cases {
        clone.commit(message);
    }
    clone.push(&["origin", "HEAD:main"]);
    let wanted: BTreeMap<String, Vec<String>> = cases
        .iter()
        .filter(|(_, keys)| !keys.is_empty())
        .map(|(message, keys)| ((*message).to_owned(), keys.iter().map(|key| (*key).to_owned()).collect()))
        .collect();
    wait_until("all are told", || linked(&world).len() >= wanted.len());
    world.wait_until_idle();
    assert_eq!(linked(&world), wanted);
}

#[test]
fn e1_e2_e3_e4_e5_e7_keys_of_the_projects_a_site_has_link_wherever_they_stand() {
    keys(
        "projects = [\"ABC\", \"X_Y\", \"A1\"]\n",
        &[
            ("abc-1 in lower case", &["ABC-1"]),
            ("X_Y-1 with an underscore, A1-2 with a digit", &["X_Y-1", "A1-2"]),
            ("XABC-1, ABC-1x and \u{e9}ABC-1 are words, (ABC-2) is none", &["ABC-2"]),
            ("ABC-01 has a zero in front, ABC-2 has not", &["ABC-2"]),
            ("UTF-8 and XYZ-3 are of no project here, ABC-3 is", &["ABC-3"]),
            ("subject\n\nbody\n\n  fixes abc-4,\nRefs: ABC-5", &["ABC-4", "ABC-5"]),
            ("ABC-6 once\n\nABC-6 and again abc-6", &["ABC-6"]),
            ("none: UTF-8 ABC_1 ABC-", &[]),
        ],
    );
}

#[test]
fn e6_what_only_looks_like_a_key_links_nothing_where_projects_are_not_known() {
    keys(
        "",
        &[
            ("UTF-8, SHA-256, CVE-2024-1 and release-2024 beside ABC-1", &["ABC-1"]),
            ("only UTF-16 and ISO-8601", &[]),
            ("X_Y-1", &["X_Y-1"]),
        ],
    );
}

#[test]
fn e13_e14_e15_the_configuration_says_where_keys_are_read_and_what_they_look_like() {
    let world = world();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let _daemon = world.daemon();
    let text = "ABC-1 subject\n\nbody of ticket<ABC-2>\n\nRefs: ABC-3";
    let cases: &[(&str, &[&str])] = &[
        ("", &["ABC-1", "ABC-2", "ABC-3"]),
        ("[parse]\nfrom = [\"subject\"]\n", &["ABC-1"]),
        ("[parse]\nfrom = [\"body\"]\n", &["ABC-2"]),
        ("[parse]\nfrom = [\"trailers\"]\n", &["ABC-3"]),
        ("[parse]\nfrom = [\"trailers\", \"subject\"]\n", &["ABC-1", "ABC-3"]),
        ("[parse]\nkey = 'ticket<(?<key>[A-Z]+-\\d+)>'\n", &["ABC-2"]),
    ];
    let mut ids = Vec::new();
    for (settings, _) in cases {
        world.configure(SITE, &format!("{TOP}{settings}"));
        world.agent_says(&["daemon", "reload"]);
        ids.push(clone.commit(text));
        clone.push(&["origin", "HEAD:main"]);
        wait_until("it was read", || world.events().iter().all(|event| event["state"] == "done"));
    }
    wait_for_commits(&world, &ids);
    for (id, (settings, keys)) in ids.iter().zip(cases) {
        let told = commits(&world).into_iter().find(|commit| commit["data"]["id"] == id.as_str()).unwrap();
        assert_eq!(told["data"]["issueKeys"], json!(keys), "{settings}");
    }
}

#[test]
fn e8_e9_c10_a_branch_links_by_its_name_follows_a_forced_update_and_goes() {
    let world = world();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let _daemon = world.daemon();
    clone.commit("begin");
    clone.push(&["origin", "HEAD:main", "HEAD:refs/heads/fix/ABC-5-and-abc-6", "HEAD:refs/heads/UTF-8"]);
    world.wait_for_jira(0, 1);
    let branch = || shown(&world.sandbox.state(), "branches").first().cloned().unwrap_or_default();
    assert_eq!(branch()["data"]["issueKeys"], json!(["ABC-5", "ABC-6"]));
    assert_eq!(branch()["data"]["name"], "fix/ABC-5-and-abc-6");
    clone.git(&["commit", "--quiet", "--amend", "-m", "otherwise"]);
    let tip = clone.git(&["rev-parse", "HEAD"]);
    clone.push(&["--force", "origin", "HEAD:refs/heads/fix/ABC-5-and-abc-6"]);
    wait_until("the branch moved", || branch()["data"]["lastCommit"]["id"] == tip.as_str());
    clone.push(&["origin", ":fix/ABC-5-and-abc-6"]);
    world.wait_for_jira(0, 0);
    let deleted = world.sandbox.requests("/branch/");
    assert_eq!(deleted.len(), 1);
    assert!(deleted[0]["query"].as_str().unwrap().starts_with("_updateSequenceId="), "{deleted:?}");
}

#[test]
fn c9_what_went_during_an_outage_does_not_come_to_life_after_it() {
    let world = world();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let gone = world.repository("gone");
    let other = world.clone_of(&gone, "other");
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return };
    other.commit("ABC-3 of old");
    other.push(&["origin", "HEAD:main"]);
    world.wait_for_jira(1, 0);
    world.sandbox.misbehave(json!([{"on": "any", "act": status_of(503)}]));
    clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:refs/heads/ABC-2-x", "HEAD:main"]);
    other.commit("ABC-4 of today");
    other.push(&["origin", "HEAD:main"]);
    rests(&world, "503");
    clone.push(&["origin", ":ABC-2-x"]);
    world.agent_says(&["uninstall", "--forget", gone.path.to_str().unwrap()]);
    wait_until("all was read", || world.events().iter().all(|event| event["state"] == "done"));
    world.sandbox.behave();
    clock.set("+10m");
    let shown_keys = || commits(&world).iter().map(|commit| commit["keys"].clone()).collect::<Vec<_>>();
    wait_until_or("only what is left shows", || shown_keys() == [json!(["ABC-1"])], || format!("{:?}", shown_keys()));
    world.wait_until_idle();
    world.wait_for_jira(1, 0);
}

/// What one request said, whoever is to carry out orders.
#[track_caller]
fn executor(executor: &str, fires: bool) {
    let proxy = Proxy::start();
    let site = format!("executor = \"{executor}\"\n{}", proxy.setting());
    let world = if fires { obeyed_world(&site) } else { World::with(&format!("{site}{SITE}"), TOP) };
    let direct = Direct::of_messages(&world, "tool", std::iter::once("ABC-1 #comment done #time 2h".to_owned()));
    let _daemon = world.daemon();
    queued(&direct, 0);
    wait_for_commits(&world, &direct.commits);
    let seen = proxy.seen.lock().unwrap();
    let bulk = seen.iter().find(|asked| asked.line.contains("/bulk")).unwrap();
    let body: Value = serde_json::from_slice(&bulk.body).unwrap();
    assert_eq!(body["preventTransitions"], !fires);
    assert_eq!(body["operationType"], "NORMAL");
    assert_eq!(body["properties"]["agentSite"], "jira");
    assert_eq!(body["repositories"][0]["commits"][0]["issueKeys"], json!(["ABC-1"]));
    let orders: Vec<Value> = triggers(&world).iter().map(|trigger| trigger["command"].clone()).collect();
    let wanted = if fires { vec![json!("#comment done"), json!("#time 2h")] } else { Vec::new() };
    assert_eq!(orders, wanted);
}

#[test]
fn f1_executor_jira_lets_jira_carry_orders_out() {
    executor("jira", true);
}

#[test]
fn f1_executor_off_lets_nobody_carry_orders_out() {
    executor("off", false);
}

#[test]
fn f1_executor_agent_keeps_jira_from_carrying_orders_out() {
    executor("agent", false);
}

#[test]
fn a15_a_credential_is_tried_before_it_is_saved_and_doctor_names_the_step_that_fails() {
    let world = world();
    let before = std::fs::read_to_string(world.config()).unwrap();
    let url = world.sandbox.url();
    let token = format!("{url}/oauth/token");
    let link = |secret: &str| {
        let file = world.folder.join("given");
        std::fs::write(&file, secret).unwrap();
        let arguments = ["link", &url, "--name", "again", "--client-id", "sandbox-client", "--secret-file", "given"];
        let mut command = world.agent(&[&arguments[..], &["--api-url", &url, "--auth-url", &token]].concat());
        command.output().unwrap()
    };
    let output = link("a-wrong-one");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("getting a token failed") && said.contains("401"), "{said}");
    assert_eq!(std::fs::read_to_string(world.config()).unwrap(), before);
    for (door, code, step) in [
        ("tenant", 500, "asking the site for its id failed"),
        ("token", 403, "getting a token failed"),
        ("read", 403, "needs the permission for development information"),
    ] {
        world.sandbox.misbehave(json!([{"on": door, "times": 1, "act": status_of(code)}]));
        let said = String::from_utf8(world.agent(&["doctor"]).output().unwrap().stdout).unwrap();
        assert!(said.contains("BAD  site jira: ") && said.contains(step), "{said}");
    }
    assert!(
        String::from_utf8(world.agent(&["doctor"]).output().unwrap().stdout).unwrap().contains("site jira answers")
    );
    let output = link("sandbox-secret");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(std::fs::read_to_string(world.config()).unwrap().contains("name = \"again\""));
}
