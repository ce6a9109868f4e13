//! Smart Commits from the push to Jira: carried out once, for whoever pushed, with an answer.

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::crash::{PLACES, assert_aborted};
use crate::harness::{Daemon, Repository, World, wait_until_or};
use crate::hook::skipped;

const SITE: &str = "projects = [\"ABC\"]\nexecutor = \"agent\"\n[site.account]\nemail = \"agent@example.org\"\nsecret_file = \"token\"\n";
const PERSON: &str = "[[person]]\nname = \"Ann Example\"\nemails = [\"ann@example.org\"]\nunix = [\"root\"]\n";

/// A world in which the agent carries out orders for those that the kernel vouches for.
pub fn world(smart: &str) -> World {
    with_people(smart, |_| PERSON.to_owned())
}

/// The same with other people, who may have keys in the world's folder.
pub fn with_people(smart: &str, people: impl FnOnce(&World) -> String) -> World {
    use std::os::unix::fs::OpenOptionsExt;
    let world = World::with(SITE, "");
    let mut options = std::fs::OpenOptions::new();
    let token = options.write(true).create(true).truncate(true).mode(0o600).open(world.folder.join("token"));
    std::io::Write::write_all(&mut token.unwrap(), b"agent-token").unwrap();
    world.configure(SITE, &people(&world));
    let config = std::fs::read_to_string(world.config()).unwrap();
    std::fs::write(world.config(), format!("{config}[account.smart]\n{smart}\n")).unwrap();
    world
}

/// What stands on an issue: comments, entries of work, and changes of its status.
pub fn issue(world: &World, key: &str) -> [Vec<Value>; 3] {
    let issue = world.sandbox.issue(key);
    ["comments", "worklogs", "changelog"].map(|part| issue[part].as_array().cloned().unwrap_or_default())
}

pub fn counts(world: &World, key: &str) -> [usize; 3] {
    issue(world, key).map(|part| part.len())
}

#[track_caller]
pub fn wait_for(world: &World, key: &str, expected: [usize; 3]) {
    let all_is_settled = || {
        let open = ["ready", "intent", "unknown", "probing"];
        open.iter().all(|state| world.effects(&["list", "--state", state]).is_empty())
    };
    wait_until_or(
        "the orders are carried out",
        || counts(world, key) == expected && all_is_settled(),
        || format!("{:?} instead of {expected:?}; {:?}; {}", counts(world, key), world.effects(&["list"]), world.log()),
    );
}

pub fn start(world: &World) -> (Daemon, Repository<'_>, Repository<'_>) {
    let daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    (daemon, repository, clone)
}

#[test]
fn f2_f3_f4_orders_of_a_push_are_carried_out_in_jira() {
    let world = world("policy = \"bot\"");
    let (_daemon, _repository, clone) = start(&world);
    clone.commit_by("ann@example.org", "ABC-1 #time 1h 30m looked #comment *done* [~bob] #start-progress on it");
    let answer = clone.push(&["origin", "HEAD:main"]);
    for fate in ["ABC-1 #time 1h 30m is queued", "ABC-1 #comment is queued", "ABC-1 #start-progress is queued"] {
        assert!(answer.contains(fate), "{answer}");
    }
    wait_for(&world, "ABC-1", [2, 1, 1]);
    let [comments, worklogs, changes] = issue(&world, "ABC-1");
    let text = comments[0]["body"].to_string();
    assert!(text.contains("*done* [~bob]") && !text.contains("mention"), "{text}");
    assert!(
        text.contains("Ann Example (in a commit of Somebody), commit"),
        "whoever gives the order is named first: {text}"
    );
    assert_eq!(worklogs[0]["seconds"], 5400, "{worklogs:?}");
    assert!(changes[0].to_string().contains("In Progress"), "{changes:?}");
}

#[test]
fn f8_f64_an_order_is_carried_out_once_however_often_its_commit_travels() {
    let world = world("policy = \"bot\"");
    let (_daemon, _repository, clone) = start(&world);
    clone.commit("ABC-9 begin");
    clone.push(&["origin", "HEAD:main"]);
    clone.git(&["checkout", "--quiet", "-b", "topic"]);
    clone.commit("ABC-1 #comment once");
    clone.push(&["origin", "topic"]);
    wait_for(&world, "ABC-1", [1, 0, 0]);
    // Rebased onto a main that went on, picked to another branch, pushed to a second repository, and back again.
    clone.git(&["checkout", "--quiet", "main"]);
    clone.commit("ABC-9 go on");
    clone.git(&["checkout", "--quiet", "topic"]);
    clone.git(&["rebase", "--quiet", "main"]);
    clone.push(&["--force", "origin", "topic"]);
    clone.git(&["checkout", "--quiet", "-b", "picked", "main"]);
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "ABC-9 between"]);
    clone.git(&["cherry-pick", "topic"]);
    clone.push(&["origin", "picked"]);
    let second = world.repository("second");
    clone.push(&[second.path.to_str().unwrap(), "topic", "picked"]);
    clone.git(&["revert", "--no-edit", "HEAD"]);
    clone.push(&["origin", "picked"]);
    world.wait_until_idle();
    wait_for(&world, "ABC-1", [1, 0, 0]);
}

#[test]
fn g5_who_is_not_vouched_for_or_may_not_orders_nothing_and_learns_why() {
    let world = world("policy = \"bot\"\ntransition_refs = [\"refs/heads/release/*\"]");
    let (_daemon, _repository, clone) = start(&world);
    clone.commit_by("cto@example.org", "ABC-1 #time 2h #start-progress");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("ABC-1 #time 2h is not carried out: work is logged by whoever did it"), "{answer}");
    assert!(answer.contains("#start-progress is not carried out: commits of this branch move no issues"), "{answer}");
    world.wait_until_idle();
    assert_eq!(counts(&world, "ABC-1"), [0, 0, 0]);
    let refused = world.effects(&["list", "--state", "refused"]);
    assert_eq!(refused.len(), 2, "{refused:?}");
}

#[test]
fn f5_with_more_commands_an_issue_gets_its_person_and_its_labels() {
    let world = world("policy = \"bot\"");
    let config = std::fs::read_to_string(world.config()).unwrap();
    std::fs::write(world.config(), format!("{config}[parse]\nmore = true\n")).unwrap();
    let (_daemon, _repository, clone) = start(&world);
    clone.commit_by("ann@example.org", "ABC-1 #assign demo@example.org #label tested");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("ABC-1 #assign is queued") && answer.contains("ABC-1 #label tested is queued"), "{answer}");
    wait_for(&world, "ABC-1", [0, 0, 2]);
    let fields = &world.sandbox.issue("ABC-1")["fields"];
    assert_eq!((&fields["assignee"], &fields["labels"]), (&json!("demo"), &json!(["tested"])), "{fields}");
}

#[test]
fn f10_an_order_that_nothing_could_store_is_not_said_to_be_queued() {
    let world = world("policy = \"bot\"");
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    std::fs::remove_dir_all(world.spool()).unwrap();
    clone.commit_by("ann@example.org", "ABC-1 #comment lost");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("ABC-1 #comment is not queued"), "{answer}");
}

#[test]
fn f60_an_order_that_fits_no_transition_is_refused_with_the_choices() {
    let world = world("policy = \"bot\"");
    let (_daemon, _repository, clone) = start(&world);
    clone.commit_by("ann@example.org", "ABC-1 #start");
    clone.push(&["origin", "HEAD:main"]);
    wait_until_or(
        "it is refused",
        || world.effects(&["list", "--state", "refused"]).len() == 1,
        || format!("{:?} {}", world.effects(&["list"]), world.log()),
    );
    let refused = world.effects(&["list", "--state", "refused"]);
    let note = refused[0]["note"].as_str().unwrap();
    assert!(note.contains("Start Progress") && note.contains("Start Review"), "{note}");
}

/// Whatever was in flight when the daemon died is looked for once Jira can no longer apply it, and never sent twice.
#[test]
fn f28_f31_an_order_is_carried_out_once_wherever_the_daemon_dies() {
    for (name, passages) in PLACES.iter().filter(|(name, _)| name.starts_with("effects.")) {
        for passage in *passages {
            let world = world("policy = \"bot\"");
            let place = format!("{name}:{passage}");
            let mut daemon = world.daemon_with(&[("AGENT_ABORT_AT", &place)]);
            let repository = world.repository("tool");
            let clone = world.clone_of(&repository, "work");
            clone.commit_by("ann@example.org", "ABC-1 #comment once");
            clone.push(&["origin", "HEAD:main"]);
            assert_aborted(&mut daemon, &place);
            let Some((clock, _daemon)) = Clock::of_day(&world) else {
                return skipped("there is no faketime here");
            };
            clock.set("+10m");
            wait_for(&world, "ABC-1", [1, 0, 0]);
        }
    }
}

/// Jira may do what it is asked and not say so, say so late, or not do it at all.
#[test]
fn f46_f47_f48_f49_f57_an_order_whose_end_nobody_knows_is_looked_for_and_carried_out_once() {
    let world = world("policy = \"bot\"");
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return skipped("there is no faketime here") };
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let acts = [
        json!("apply_then_drop"),
        json!("drop"),
        json!({"drop_then_apply": {"ms": 1500}}),
        json!({"truncate": {"bytes": 5}}),
        json!("garbage"),
        json!({"status": {"code": 500}}),
        json!({"status": {"code": 502}}),
    ];
    for (number, act) in (1..).zip(&acts) {
        let key = format!("ABC-{number}");
        let rule = json!([{"on": "add_comment", "issue": key, "times": 1, "act": act}]);
        world.sandbox.misbehave(rule);
        clone.commit_by("ann@example.org", &format!("{key} #comment once"));
    }
    clone.push(&["origin", "HEAD:main"]);
    let unknown = || world.effects(&["list", "--state", "unknown"]).len();
    let asked = || world.sandbox.state()["faults"].as_array().unwrap().is_empty();
    wait_until_or(
        "nobody knows what became of any",
        || asked() && unknown() == acts.len(),
        || format!("{:?} {}", world.effects(&["list"]), world.log()),
    );
    clock.set("+10m");
    for number in 1..=acts.len() {
        wait_for(&world, &format!("ABC-{number}"), [1, 0, 0]);
    }
    assert!(world.agent_says(&["effects", "audit"]).contains("whole"));
}

/// A token that is refused stops the account and loses nothing; a new one wakes it.
#[test]
fn f43_an_account_that_is_refused_rests_and_goes_on_with_its_new_token() {
    let world = world("policy = \"bot\"");
    std::fs::write(world.folder.join("token"), "an old one").unwrap();
    let (_daemon, _repository, clone) = start(&world);
    clone.commit_by("ann@example.org", "ABC-1 #comment later");
    clone.push(&["origin", "HEAD:main"]);
    let rests = || world.status()["running"]["sites"]["jira"]["account_resting"]["because"].is_string();
    wait_until_or("the account rests", rests, || world.log());
    assert_eq!(counts(&world, "ABC-1"), [0, 0, 0]);
    std::fs::write(world.folder.join("token"), "agent-token").unwrap();
    wait_for(&world, "ABC-1", [1, 0, 0]);
}
