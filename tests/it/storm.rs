//! Orders in a storm: a daemon that is killed again and again, and a Jira that breaks off, errs, and does late what it was
//! asked. At the end each order was carried out once, or refused for a reason.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::crash::asked_for;
use crate::direct::Chance;
use crate::harness::{PATIENCE, World, wait_until_or};
use crate::hook::skipped;
use crate::smart;

/// Orders in one push.
const EACH: u64 = 25;
/// The places where the daemon dies.
const PLACES: [&str; 8] = [
    "effects.after_claim",
    "effects.before_send",
    "effects.after_send",
    "effects.before_probe",
    "queue.before_commit",
    "queue.before_ack",
    "line.before_finish",
    "no place: it is killed from outside",
];
/// The longest that Jira takes to do what it was asked, in seconds: the window in which the agent waits is 270.
const LATEST: u64 = 240;

/// What is ordered, on which door of Jira, and where it shows.
const ORDERS: [(&str, &str, &str); 4] = [
    ("#comment once", "add_comment", "comments"),
    ("#time 1h once", "add_worklog", "worklogs"),
    ("#start-progress", "transition", "changelog"),
    ("#start", "transition", ""),
];

/// `AGENT_IT_RUNS` and `AGENT_IT_SEED` ask for more orders and for others.
#[test]
fn f28_f46_f47_f48_f49_f59_f60_no_order_is_lost_or_doubled_in_a_storm() {
    let (runs, seed) = (asked_for("AGENT_IT_RUNS", 500), asked_for("AGENT_IT_SEED", 1));
    let Some(wrong) = weather(runs, seed, None) else { return skipped("there is no faketime here") };
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
}

#[test]
fn the_storm_finds_what_a_daemon_doubles_that_does_not_wait_for_late_requests() {
    let Some(wrong) = weather(50, 1, Some("settle window")) else { return skipped("there is no faketime here") };
    assert!(!wrong.is_empty());
}

/// Gives what was not carried out as it should have been; nothing where no clock can be moved.
fn weather(runs: u64, seed: u64, weakened: Option<&'static str>) -> Option<Vec<String>> {
    let world = smart::world("policy = \"bot\"");
    let clock = Clock::new(&world)?;
    let chance = Chance(seed);
    let mut storm = Storm { world: &world, clock, weakened, chance, now: 0, ordered: BTreeMap::new() };
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    // Git's own tidying up would hold a lock when the next commit is made.
    clone.git(&["config", "gc.auto", "0"]);
    clone.git(&["config", "maintenance.auto", "false"]);
    let (mut number, mut wrong) = (100, Vec::new());
    for round in 0..runs.div_ceil(EACH) {
        for _ in 0..EACH {
            let message = storm.order(number);
            clone.commit_by("ann@example.org", &message);
            number += 1;
        }
        storm.rage(|| drop(clone.push(&["origin", "HEAD:main"])));
        wrong.extend(storm.calm().into_iter().map(|one| format!("round {round}: {one}")));
    }
    if world.log().contains("doubles of an effect") {
        wrong.push("doubles were made, and taken away".to_owned());
    }
    Some(wrong)
}

struct Storm<'w> {
    world: &'w World,
    clock: Clock,
    /// A safety that the daemon goes without.
    weakened: Option<&'static str>,
    chance: Chance,
    /// Seconds by which the time of day was moved, for the daemon and for Jira.
    now: u64,
    /// Where each order is to show, by the issue's key.
    ordered: BTreeMap<String, &'static str>,
}

impl Storm<'_> {
    /// Makes an issue, decides how Jira will misbehave over it, and gives the message that orders something on it.
    fn order(&mut self, number: u64) -> String {
        let key = format!("ABC-{number}");
        self.world.sandbox.create_issue(&key);
        let (words, door, shows) = ORDERS[self.pick(&ORDERS)];
        let acts = [
            json!("apply_then_drop"),
            json!("drop"),
            json!({"drop_then_apply": {}}),
            json!({"drop_then_apply": {"ms": 300}}),
            json!({"delay": {"ms": 100}}),
            json!({"truncate": {"bytes": 5}}),
            json!({"trickle": {"bytes_per_second": 1}}),
            json!("garbage"),
            json!({"status": {"code": 500}}),
            json!({"status": {"code": 502}}),
            json!({"rate": {"reason": "jira-burst-based", "retry_after": "1"}}),
        ];
        for _ in 0..self.chance.below(3) {
            let act = &acts[self.pick(&acts)];
            self.world.sandbox.misbehave(json!([{"on": door, "issue": key, "times": 1, "act": act}]));
        }
        self.ordered.insert(key.clone(), shows);
        format!("{key} {words}")
    }

    /// Lets the daemon live two short lives that end anywhere.
    fn rage(&mut self, push: impl FnOnce()) {
        let mut push = Some(push);
        for life in 0..2 {
            let place = PLACES[self.pick(&PLACES)];
            let place = format!("{place}:{}", 1 + self.chance.below(EACH));
            let mut daemon = self.clock.start(self.world, &self.environment(&[("AGENT_ABORT_AT", &place)]));
            if let Some(push) = push.take() {
                push();
            }
            let (began, span) = (Instant::now(), Duration::from_millis(300 + self.chance.below(1200)));
            // The moment of its death is the subject here: nothing is waited for.
            while began.elapsed() < span && daemon.process.0.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(10));
            }
            daemon.process.kill();
            if life == 0 {
                let later = 1 + self.chance.below(LATEST);
                self.pass(later);
            }
        }
        // What was asked before takes place only now, and some issues bear other keys.
        self.world.sandbox.release();
        self.move_some();
    }

    /// Lets time pass in peace until every order has an end, and gives what is not as it was ordered.
    #[track_caller]
    fn calm(&mut self) -> Vec<String> {
        self.world.sandbox.behave();
        self.pass(30);
        let _daemon = self.clock.start(self.world, &self.environment(&[]));
        let ready = || self.world.agent(&["daemon", "status"]).output().unwrap().status.success();
        wait_until_or("the daemon is ready", ready, || self.world.log());
        let open = || {
            let states = ["planned", "ready", "intent", "unknown", "probing"];
            states.iter().map(|state| self.world.effects(&["list", "--state", state]).len()).sum::<usize>()
        };
        let (began, mut before) = (Instant::now(), usize::MAX);
        loop {
            self.world.wait_until_idle();
            let left = open();
            if left == 0 {
                break;
            }
            assert!(began.elapsed() < 3 * PATIENCE, "{left} orders have no end: {}", self.world.log());
            // What waits for its time gets it once nothing else goes on.
            if left == before {
                self.now += 60;
                self.tell_the_time();
            }
            before = left;
            std::thread::sleep(Duration::from_millis(500));
        }
        assert!(self.world.agent_says(&["effects", "audit"]).contains("whole"));
        let ordered = std::mem::take(&mut self.ordered);
        let mut wrong: Vec<String> = ordered.iter().filter_map(|(key, shows)| self.differs(key, shows)).collect();
        let ended = |state: &str| self.world.effects(&["list", "--limit", "100000", "--state", state]);
        let ambiguous = |effect: &Value| effect["command"] == "#start";
        wrong.extend(ended("refused").iter().filter(|one| !ambiguous(one)).map(|one| format!("refused: {one}")));
        wrong.extend(ended("parked").iter().map(|one| format!("parked: {one}")));
        wrong
    }

    /// Says how an issue is not as it was ordered.
    fn differs(&self, key: &str, shows: &str) -> Option<String> {
        let issue = self.world.sandbox.issue(key);
        let parts = ["comments", "worklogs", "changelog"];
        // That it was moved is a change too.
        let ours = |one: &&Value| !one.to_string().contains("\"Key\"");
        let counts = parts.map(|part| issue[part].as_array().map_or(0, |all| all.iter().filter(ours).count()));
        let expected = parts.map(|part| usize::from(part == shows));
        (counts != expected).then(|| {
            let lines = self.world.log();
            let log: Vec<_> = lines.lines().filter(|line| line.contains(&format!("{key} "))).collect();
            format!("{key} has {counts:?} instead of {expected:?}: {log:#?}")
        })
    }

    /// Moves some of the issues to other keys, as people do.
    fn move_some(&mut self) {
        let moved: Vec<String> = self.ordered.keys().filter(|_| self.chance.below(10) == 0).cloned().collect();
        for key in moved {
            let to = format!("ABC-9{}", key.trim_start_matches("ABC-"));
            self.world.sandbox.move_issue(&key, &to);
            let shows = self.ordered.remove(&key).unwrap();
            self.ordered.insert(to, shows);
        }
    }

    /// Moves the time of day.
    fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        self.tell_the_time();
    }

    fn tell_the_time(&self) {
        self.clock.set(&format!("+{}s", self.now));
        self.world.sandbox.settings(json!({"clock_offset_ms": self.now * 1000}));
    }

    fn environment<'e>(&self, more: &[(&'e str, &'e str)]) -> Vec<(&'e str, &'e str)> {
        more.iter().copied().chain(self.weakened.map(|safety| ("AGENT_WEAKEN", safety))).collect()
    }

    fn pick<T>(&mut self, of: &[T]) -> usize {
        usize::try_from(self.chance.below(of.len() as u64)).unwrap()
    }
}
