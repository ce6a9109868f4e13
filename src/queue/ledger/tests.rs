//! The ledger's story: told to each engine there is.

use proptest::prelude::*;

use super::super::{EffectFilter, Queue, Retry};
use super::*;

/// Long after the store was made, so that it remembers what happens now.
const NOW: i64 = 100 * DAY_MS;
const TTL: i64 = 300_000;

struct Story {
    queue: Queue,
    folder: tempfile::TempDir,
}

fn story() -> Story {
    let folder = tempfile::tempdir().unwrap();
    Story { queue: Queue::open(folder.path(), DAY_MS).unwrap(), folder }
}

fn order(key: &str, issue: &str, ruling: Ruling) -> NewEffect {
    NewEffect {
        key: key.to_owned(),
        issue: issue.to_owned(),
        place: 0,
        ordinal: 0,
        commit: "c0ffee".to_owned(),
        command: "#comment".to_owned(),
        author: "Ann <ann@example.org>".to_owned(),
        authored_at: NOW - 1000,
        body: vec![1],
        body_hash: "h".to_owned(),
        ruling,
        repeats: None,
    }
}

fn ready(key: &str, issue: &str) -> NewEffect {
    order(key, issue, Ruling::Ready)
}

fn refused(why: Denied) -> Ruling {
    Ruling::Refused { why, because: "no".to_owned() }
}

fn planned(seq: i64, effects: Vec<NewEffect>) -> Planned {
    Planned {
        site: "jira".to_owned(),
        repository: "r1".to_owned(),
        event: format!("e{seq}"),
        seq,
        pusher: "ann".to_owned(),
        actor: String::new(),
        person: "user ann".to_owned(),
        effects,
    }
}

fn applied_as(id: &str) -> Outcome {
    Outcome::Applied { remote_id: Some(id.to_owned()), note: None, then: None }
}

fn ambiguous() -> Outcome {
    Outcome::Ambiguous { because: "the connection was reset".to_owned() }
}

fn inconclusive() -> Outcome {
    Outcome::Inconclusive { because: "503".to_owned() }
}

impl Story {
    async fn plan(&self, seq: i64, effects: Vec<NewEffect>) -> Vec<(State, bool)> {
        let ruled = self.queue.plan(planned(seq, effects), NOW).await.unwrap();
        ruled.into_iter().map(|ruled| (ruled.state, ruled.news)).collect()
    }

    async fn claim_as(&self, owner: &str, now: i64) -> Vec<Turn> {
        self.claim_without(&[], owner, now).await
    }

    async fn claim_without(&self, away: &[&str], owner: &str, now: i64) -> Vec<Turn> {
        let away = away.iter().map(|actor| (*actor).to_owned()).collect();
        self.queue.claim_effects("jira".to_owned(), owner.to_owned(), away, 100, now, TTL).await.unwrap()
    }

    async fn claim(&self, now: i64) -> Vec<Turn> {
        self.claim_as("me", now).await
    }

    /// The keys that are lent now, and are given back at once.
    async fn turns(&self, now: i64) -> Vec<String> {
        let turns = self.claim(now).await;
        let keys = turns.iter().map(|turn| turn.key.clone()).collect();
        self.queue.recover(Gone::Everyone, now).await.unwrap();
        keys
    }

    async fn intend(&self, now: i64) -> Turn {
        let mut turn = self.claim(now).await.remove(0);
        assert!(self.queue.intend(&mut turn, None, now).await.unwrap());
        turn
    }

    async fn settle(&self, turn: &Turn, outcome: Outcome, now: i64) -> bool {
        self.queue.settle_effect(turn.clone(), outcome, now).await.unwrap()
    }

    async fn state(&self, key: &str) -> String {
        let filter = EffectFilter { id: Some(key.to_owned()), ..EffectFilter::default() };
        self.queue.effects(filter).await.unwrap().remove(0).state
    }
}

#[tokio::test]
async fn an_order_is_carried_out_once_however_often_it_comes() {
    let story = story();
    assert_eq!(story.plan(1, vec![ready("k", "ABC-1")]).await, [(State::Ready, true)]);
    assert_eq!(story.plan(2, vec![ready("k", "ABC-1")]).await, [(State::Ready, false)]);
    let turn = story.intend(NOW).await;
    assert_eq!((turn.attempts, turn.since), (1, NOW));
    assert_eq!(story.queue.fence(&turn, NOW + 5).await.unwrap(), Some(protocol::REQUEST_MS - 5));
    assert!(story.settle(&turn, applied_as("10"), NOW + 9).await);
    assert_eq!(story.plan(3, vec![ready("k", "ABC-1")]).await, [(State::Settled, false)]);
    assert!(story.claim(NOW + DAY_MS).await.is_empty());
    let row = story.queue.effects(EffectFilter::default()).await.unwrap().remove(0);
    assert_eq!((row.remote_id.as_deref(), row.event.as_str(), row.settled_at), (Some("10"), "e1", Some(NOW + 9)));
}

#[tokio::test]
async fn f47_what_may_have_been_sent_is_looked_for_when_it_can_no_longer_come() {
    let story = story();
    story.plan(1, vec![ready("k", "ABC-1")]).await;
    let turn = story.intend(NOW).await;
    assert!(story.settle(&turn, ambiguous(), NOW + 1).await);
    assert!(story.claim(NOW + protocol::SETTLE_MS - 1).await.is_empty());
    let mut turn = story.claim(NOW + protocol::SETTLE_MS).await.remove(0);
    assert_eq!((turn.state, turn.since), (State::Unknown, NOW));
    assert!(!story.queue.probe(&mut turn, NOW).await.unwrap(), "also by a clock that was set back");
    assert!(story.queue.probe(&mut turn, NOW + protocol::SETTLE_MS).await.unwrap());
    assert_eq!(story.queue.fence(&turn, NOW + protocol::SETTLE_MS).await.unwrap(), None, "who looks does not send");
    assert!(story.settle(&turn, Outcome::Absent, NOW + protocol::SETTLE_MS).await);
    let turn = story.intend(NOW + protocol::SETTLE_MS).await;
    assert_eq!(turn.attempts, 2);
    assert!(story.settle(&turn, applied_as("10"), NOW + protocol::SETTLE_MS).await);
}

#[tokio::test]
async fn a_probe_that_proves_nothing_sends_nothing_and_after_three_a_person_decides() {
    let story = story();
    story.plan(1, vec![ready("k", "ABC-1")]).await;
    let turn = story.intend(NOW).await;
    story.settle(&turn, ambiguous(), NOW).await;
    let mut now = NOW + protocol::SETTLE_MS;
    for round in 1..=protocol::ROUNDS {
        let mut turn = story.claim(now).await.remove(0);
        assert!(story.queue.probe(&mut turn, now).await.unwrap());
        assert!(story.settle(&turn, inconclusive(), now).await);
        assert_eq!(story.state("k").await, if round < protocol::ROUNDS { "unknown" } else { "parked" });
        assert!(story.claim(now + protocol::pause_ms(round) - 1).await.is_empty());
        now += protocol::pause_ms(round);
    }
    let again = |retry| story.queue.retry_effects(EffectFilter::default(), retry, "root".to_owned(), now);
    assert_eq!(again(Retry::Look).await.unwrap(), 1);
    let mut turn = story.claim(now).await.remove(0);
    assert_eq!(turn.state, State::Unknown, "it may be there");
    assert!(story.queue.probe(&mut turn, now).await.unwrap());
    let because = "nobody can tell".to_owned();
    assert!(story.settle(&turn, Outcome::Parked { because }, now).await);
    assert_eq!(again(Retry::Insist).await.unwrap(), 1);
    assert_eq!(story.claim(now).await.remove(0).state, State::Ready);
}

#[tokio::test]
async fn what_is_resting_is_given_back_as_it_was() {
    let story = story();
    story.plan(1, vec![ready("k", "ABC-1")]).await;
    let later = |at| Outcome::Later { at, because: "401".to_owned() };
    let turn = story.claim(NOW).await.remove(0);
    assert!(story.settle(&turn, later(NOW + DAY_MS), NOW).await, "before anything was sent");
    assert!(story.claim(NOW + DAY_MS - 1).await.is_empty());
    let retry = story.queue.retry_effects(EffectFilter::default(), Retry::Look, "root".to_owned(), NOW + 100);
    assert_eq!(retry.await.unwrap(), 1, "a person need not wait");
    let turn = story.intend(NOW + 100).await;
    assert!(story.settle(&turn, later(NOW + 200), NOW + 100).await, "429");
    let turn = story.intend(NOW + 200).await;
    story.settle(&turn, ambiguous(), NOW + 200).await;
    let now = NOW + 200 + protocol::SETTLE_MS;
    for _ in 0..5 {
        let mut turn = story.claim(now).await.remove(0);
        assert!(story.queue.probe(&mut turn, now).await.unwrap());
        assert!(story.settle(&turn, later(now), now).await);
        assert_eq!(story.state("k").await, "unknown", "a site that refuses us proves nothing and costs no round");
    }
}

#[tokio::test]
async fn f38_who_lost_its_turn_changes_nothing_and_sends_nothing() {
    let story = story();
    story.plan(1, vec![ready("k", "ABC-1")]).await;
    let zombie = story.intend(NOW).await;
    let late = NOW + TTL + 1;
    assert_eq!(story.queue.fence(&zombie, late).await.unwrap(), None);
    assert!(!story.settle(&zombie, applied_as("1"), late).await, "its lease is over");
    assert_eq!(story.queue.recover(Gone::Overdue, NOW + TTL).await.unwrap(), 0, "it may still report");
    assert_eq!(story.queue.recover(Gone::Overdue, late).await.unwrap(), 1);
    let mut heir = story.claim_as("heir", late).await.remove(0);
    assert!(!story.settle(&zombie, applied_as("1"), NOW + 1).await, "also by a clock that was set back");
    assert_eq!(story.queue.fence(&zombie, NOW + 1).await.unwrap(), None);
    assert!(story.queue.probe(&mut heir, late).await.unwrap());
    assert!(!story.settle(&zombie, ambiguous(), late).await);
    assert!(story.settle(&heir, Outcome::Absent, late).await);
    assert_eq!(story.state("k").await, "ready");
}

#[tokio::test]
async fn f28_what_a_killed_daemon_had_in_hand_is_looked_for() {
    let story = story();
    story.plan(1, vec![ready("a", "ABC-1"), NewEffect { ordinal: 1, ..ready("b", "ABC-2") }]).await;
    story.intend(NOW).await;
    assert_eq!(story.queue.recover(Gone::Everyone, NOW + 5).await.unwrap(), 1);
    assert_eq!(story.state("a").await, "unknown");
    assert_eq!(story.turns(NOW + 5).await, ["b"], "what was only lent is due at once");
    assert_eq!(story.turns(NOW + protocol::SETTLE_MS - 1).await, ["b"]);
    assert_eq!(story.turns(NOW + protocol::SETTLE_MS).await, ["a", "b"]);
}

#[tokio::test]
async fn effects_of_an_issue_leave_one_by_one_in_their_order() {
    let story = story();
    let late = NewEffect { place: 1, ..ready("third", "ABC-1") };
    let second = NewEffect { ordinal: 1, ..ready("second", "ABC-1") };
    story.plan(2, vec![ready("fourth", "ABC-1"), NewEffect { ordinal: 1, ..ready("other", "ABC-2") }]).await;
    story.plan(1, vec![late, second, ready("first", "ABC-1")]).await;
    for key in ["first", "second", "third", "fourth"] {
        assert_eq!(story.turns(NOW).await[0], key);
        let turn = story.intend(NOW).await;
        let meanwhile = story.claim(NOW).await;
        assert!(meanwhile.iter().all(|turn| turn.issue != "ABC-1"), "{key} is in flight");
        assert!(story.settle(&turn, applied_as("1"), NOW).await);
        story.queue.recover(Gone::Everyone, NOW).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_overtakes_what_is_open_and_everything_what_is_closed() {
    let story = story();
    story.plan(1, vec![ready("a", "ABC-1")]).await;
    story.plan(2, vec![ready("b", "ABC-1")]).await;
    let turn = story.claim(NOW).await.remove(0);
    story.settle(&turn, Outcome::Later { at: NOW + 100, because: "429".to_owned() }, NOW).await;
    assert_eq!(story.turns(NOW + 99).await, [""; 0], "nor what only waits");
    let turn = story.intend(NOW + 100).await;
    story.settle(&turn, ambiguous(), NOW + 100).await;
    assert_eq!(story.turns(NOW + 101).await, [""; 0]);
    let now = NOW + 100 + protocol::SETTLE_MS;
    let mut turn = story.claim(now).await.remove(0);
    assert!(story.queue.probe(&mut turn, now).await.unwrap());
    assert_eq!(story.claim(now).await.len(), 0);
    let because = "no".to_owned();
    assert!(story.settle(&turn, Outcome::Parked { because }, now).await);
    assert_eq!(story.turns(now).await, ["b"]);
    let younger = story.intend(now).await;
    story.queue.retry_effects(EffectFilter::default(), Retry::Insist, "root".to_owned(), now).await.unwrap();
    assert!(story.claim(now).await.is_empty(), "what a person takes up again waits for what is in flight");
    story.settle(&younger, applied_as("1"), now).await;
    assert_eq!(story.turns(now).await, ["a"]);
}

#[tokio::test]
async fn f59_an_issue_that_was_moved_is_still_one_issue() {
    let story = story();
    story.plan(1, vec![ready("a", "ABC-1"), NewEffect { ordinal: 1, ..ready("b", "NEW-1") }]).await;
    let mut turns = story.claim(NOW).await;
    let id = || Some("10001".to_owned());
    assert!(story.queue.intend(&mut turns[0], id(), NOW).await.unwrap());
    assert!(!story.queue.intend(&mut turns[1], id(), NOW).await.unwrap(), "it is busy under its other key");
    assert!(story.settle(&turns[1], Outcome::Later { at: NOW + 1, because: "busy".to_owned() }, NOW).await);
    assert!(story.settle(&turns[0], ambiguous(), NOW).await);
    let turn = story.claim(NOW + protocol::SETTLE_MS).await.remove(0);
    assert_eq!(turn.issue_id, id(), "the id that was found is kept");
}

#[tokio::test]
async fn the_first_verified_pusher_counts() {
    let story = story();
    let by = |pusher: &str, seq, ruling| Planned {
        pusher: pusher.to_owned(),
        ..planned(seq, vec![order("k", "ABC-1", ruling)])
    };
    let plan = async |planned| story.queue.plan(planned, NOW).await.unwrap().remove(0);
    let stranger = by("", 1, refused(Denied::Unverified));
    assert_eq!(story.queue.plan(stranger, NOW - 500).await.unwrap()[0].state, State::Refused);
    assert!(!plan(by("", 2, refused(Denied::Age))).await.news);
    let ruled = plan(by("bob", 3, Ruling::Ready)).await;
    assert_eq!((ruled.state, ruled.news, ruled.note), (State::Ready, true, None));
    assert!(!plan(by("ann", 4, Ruling::Ready)).await.news);
    let row = story.queue.effects(EffectFilter::default()).await.unwrap().remove(0);
    assert_eq!((row.pusher.as_str(), row.event.as_str(), row.refusal), ("bob", "e3", None));
    for (key, why) in [("a", Denied::Age), ("i", Denied::Import), ("p", Denied::Policy)] {
        assert_eq!(story.plan(5, vec![order(key, "ABC-2", refused(why))]).await, [(State::Refused, true)]);
        assert_eq!(story.plan(6, vec![ready(key, "ABC-2")]).await, [(State::Refused, false)]);
    }
}

/// A message that was put right, and put right again, orders nothing twice; what was never taken up is still to be done.
#[tokio::test]
async fn f8_an_order_that_took_the_place_of_one_that_was_taken_up_is_not_taken_up_again() {
    let story = story();
    let instead = |key: &str, of: &str| NewEffect { repeats: Some(of.to_owned()), ..ready(key, "ABC-1") };
    story.plan(1, vec![ready("a", "ABC-1"), order("no", "ABC-2", refused(Denied::Policy))]).await;
    let repeated = [(State::Refused, true)];
    assert_eq!(story.plan(2, vec![instead("b", "a")]).await, repeated);
    assert_eq!(story.plan(3, vec![instead("c", "b")]).await, repeated);
    assert_eq!(story.plan(4, vec![ready("c", "ABC-1")]).await, [(State::Refused, false)], "a pick of it says nothing");
    for of in ["no", "unknown"] {
        assert_eq!(story.plan(5, vec![instead(&format!("instead of {of}"), of)]).await, [(State::Ready, true)]);
    }
    let rows = story.queue.effects(EffectFilter { state: Some("refused".to_owned()), ..EffectFilter::default() }).await;
    let rows = rows.unwrap();
    let note = rows.iter().find(|row| row.id == "c").unwrap().note.clone().unwrap();
    assert_eq!(note, "commit c0ffee ordered the same, and this one takes its place");
}

#[tokio::test]
async fn what_nobody_has_decided_yet_holds_up_nobody() {
    let story = story();
    let open = |key: &str| order(key, "ABC-1", Ruling::Open);
    assert_eq!(story.plan(1, vec![open("a"), open("b")]).await, [(State::Planned, true); 2]);
    story.plan(2, vec![ready("c", "ABC-1")]).await;
    assert_eq!(story.turns(NOW).await, ["c"]);
    assert_eq!(story.plan(1, vec![ready("a", "ABC-1")]).await, [(State::Ready, true)]);
    let no = order("b", "ABC-1", refused(Denied::Policy));
    assert_eq!(story.plan(1, vec![no]).await, [(State::Refused, true)]);
    assert_eq!(story.turns(NOW).await, ["a"]);
}

#[tokio::test]
async fn what_follows_from_an_effect_comes_right_behind_it() {
    let story = story();
    story.plan(1, vec![ready("close", "ABC-1"), NewEffect { ordinal: 1, ..ready("next", "ABC-1") }]).await;
    let turn = story.intend(NOW).await;
    let then = Some(Box::new(NewEffect { ordinal: 9, ..ready("comment", "ABC-1") }));
    let applied = Outcome::Applied { remote_id: None, note: None, then };
    assert!(story.settle(&turn, applied.clone(), NOW).await);
    assert!(!story.settle(&turn, applied, NOW).await);
    assert_eq!(story.turns(NOW).await, ["comment"]);
    let turn = story.intend(NOW).await;
    assert_eq!(turn.pusher, "ann");
    assert!(story.settle(&turn, applied_as("1"), NOW).await);
    assert_eq!(story.turns(NOW).await, ["next"]);
}

#[tokio::test]
async fn f60_what_is_there_already_or_refused_is_closed_before_anything_is_sent() {
    let story = story();
    story.plan(1, vec![ready("a", "ABC-1"), NewEffect { ordinal: 1, ..ready("b", "ABC-2") }]).await;
    let turns = story.claim(NOW).await;
    let noop = Outcome::Applied { remote_id: None, note: Some("it is in Done already".to_owned()), then: None };
    assert!(story.settle(&turns[0], noop, NOW).await);
    assert!(story.settle(&turns[1], Outcome::Refused { because: "no such transition".to_owned() }, NOW).await);
    assert_eq!((story.state("a").await, story.state("b").await), ("settled".to_owned(), "refused".to_owned()));
    assert!(story.queue.sweep_due("jira".to_owned(), vec![], 9, NOW + DAY_MS).await.unwrap().is_empty());
    let retry = |retry| story.queue.retry_effects(EffectFilter::default(), retry, "root".to_owned(), NOW);
    assert_eq!(retry(Retry::Insist).await.unwrap(), 1, "what Jira refused may be tried again");
    story.plan(2, vec![order("c", "ABC-3", refused(Denied::Age))]).await;
    assert_eq!(retry(Retry::Insist).await.unwrap(), 0, "what was refused here may not");
}

#[tokio::test]
async fn a_person_may_say_that_it_is_done_unless_it_is_in_flight() {
    let story = story();
    story.plan(1, vec![ready("a", "ABC-1"), NewEffect { ordinal: 1, ..ready("b", "ABC-2") }]).await;
    let mut turns = story.claim(NOW).await;
    assert!(story.queue.intend(&mut turns[0], None, NOW).await.unwrap());
    let done = story.queue.done_effects(EffectFilter::default(), "root".to_owned(), NOW).await.unwrap();
    assert_eq!(done, 1);
    assert!(!story.queue.intend(&mut turns[1], None, NOW).await.unwrap(), "it was done meanwhile");
    assert_eq!((story.state("a").await, story.state("b").await), ("intent".to_owned(), "settled".to_owned()));
    assert_eq!(story.queue.audit("b".to_owned()).await.unwrap().last().unwrap().who, "root");
}

#[tokio::test]
async fn what_was_applied_is_looked_at_once_more_and_doubles_are_counted() {
    let story = story();
    story.plan(1, vec![ready("k", "ABC-1")]).await;
    let turn = story.intend(NOW).await;
    story.settle(&turn, applied_as("10"), NOW).await;
    let due = async |now| story.queue.sweep_due("jira".to_owned(), vec![], 9, now).await.unwrap();
    assert!(due(NOW + SWEEP_AFTER_MS - 1).await.is_empty());
    let sweep = due(NOW + SWEEP_AFTER_MS).await.remove(0);
    assert_eq!((sweep.remote_id.as_str(), sweep.since), ("10", NOW));
    story.queue.swept("k".to_owned(), 1, NOW + SWEEP_AFTER_MS).await.unwrap();
    assert!(due(NOW + DAY_MS).await.is_empty());
    assert_eq!(story.queue.doubled().await.unwrap(), 1);
}

#[tokio::test]
async fn f26_a_restored_store_looks_before_it_sends_what_it_may_have_forgotten() {
    let story = story();
    story.plan(1, vec![ready("before", "ABC-1"), order("stranger", "ABC-2", refused(Denied::Unverified))]).await;
    let copy = story.folder.path().join("copy");
    story.queue.snapshot(copy.clone()).await.unwrap();
    for key in ["before", "after"] {
        story.plan(2, vec![ready(key, "ABC-1")]).await;
        let turn = story.intend(NOW).await;
        assert!(story.settle(&turn, applied_as(key), NOW).await);
    }
    story.queue.close();
    let restored = tempfile::tempdir().unwrap();
    std::fs::copy(copy, restored.path().join("queue.db")).unwrap();
    let now = NOW + 60_000;
    let story = Story { queue: Queue::open(restored.path(), now).unwrap(), folder: restored };
    assert_eq!(story.state("before").await, "unknown");
    let states = story.plan(3, vec![ready("after", "ABC-1"), ready("stranger", "ABC-2")]).await;
    assert_eq!(states, [(State::Unknown, true); 2], "also what comes again");
    assert!(story.claim(now + protocol::SETTLE_MS - 1).await.is_empty(), "a request may still be on its way");
    for turn in story.claim(now + protocol::SETTLE_MS).await {
        assert_eq!(turn.state, State::Unknown);
        assert!(turn.since <= NOW - DAY_MS, "it may have been applied as soon as it was authored");
    }
    let news = NewEffect { authored_at: now + DAY_MS, ..ready("news", "ABC-3") };
    let ruled = story.queue.plan(planned(4, vec![news]), now + DAY_MS).await.unwrap();
    assert_eq!(ruled[0].state, State::Ready);
    let Story { queue, folder } = story;
    drop(queue);
    let again = Queue::open(folder.path(), now + 5 * DAY_MS).unwrap();
    let row = again.effects(EffectFilter { id: Some("news".to_owned()), ..EffectFilter::default() }).await.unwrap();
    assert_eq!(row[0].state, "ready", "it is restored once");
}

#[tokio::test]
async fn f22_a_store_that_begins_anew_looks_for_what_is_older_than_itself() {
    let folder = tempfile::tempdir().unwrap();
    let story = Story { queue: Queue::open(folder.path(), NOW).unwrap(), folder };
    assert_eq!(story.plan(1, vec![ready("k", "ABC-1")]).await, [(State::Unknown, true)]);
    assert_eq!(story.turns(NOW).await, ["k"], "at once: nothing is on its way");
}

#[tokio::test]
async fn closed_effects_are_remembered_until_their_order_is_too_old() {
    let story = story();
    for (seq, key) in (1..).zip(["a", "b", "c"]) {
        story.plan(seq, vec![ready(key, &format!("ABC-{seq}"))]).await;
    }
    let turns = story.claim(NOW).await;
    story.settle(&turns[0], applied_as("1"), NOW).await;
    story.settle(&turns[1], Outcome::Parked { because: "?".to_owned() }, NOW).await;
    assert_eq!(story.queue.prune_effects(NOW).await.unwrap(), 0);
    assert_eq!(story.queue.prune_effects(NOW + 1).await.unwrap(), 1);
    let left = story.queue.effects(EffectFilter::default()).await.unwrap();
    assert_eq!(left.iter().map(|row| row.state.as_str()).collect::<Vec<_>>(), ["ready", "parked"]);
    assert_eq!(story.queue.verify_audit().await.unwrap().broken_at, None, "what was decided stays");
}

#[tokio::test]
async fn people_find_effects_by_what_they_know_of_them() {
    let story = story();
    story.plan(1, vec![ready("aa", "ABC-1"), NewEffect { ordinal: 1, ..ready("ab", "ABC-2") }]).await;
    story.plan(2, vec![order("b", "ABC-3", refused(Denied::Policy))]).await;
    let found = async |filter: EffectFilter| story.queue.effects(filter).await.unwrap().len();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(found(EffectFilter { id: text("a"), ..EffectFilter::default() }).await, 2);
    assert_eq!(found(EffectFilter { commit: text("c0f"), ..EffectFilter::default() }).await, 3);
    assert_eq!(
        found(EffectFilter { issue: text("ABC-3"), state: text("refused"), ..EffectFilter::default() }).await,
        1
    );
    assert_eq!(found(EffectFilter { limit: Some(1), ..EffectFilter::default() }).await, 1);
    let counts = story.queue.effect_counts(NOW + 7).await.unwrap().remove(0);
    assert_eq!((counts.ready, counts.refused, counts.oldest_ms), (2, 1, Some(7)));
}

#[tokio::test]
async fn s28_every_decision_is_in_the_audit_and_a_broken_chain_is_found() {
    let story = story();
    story.plan(1, vec![ready("k", "ABC-1"), order("r", "ABC-2", refused(Denied::Age))]).await;
    let turn = story.intend(NOW).await;
    story.settle(&turn, applied_as("10"), NOW).await;
    let rows = story.queue.audit("k".to_owned()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.what.as_str()).collect::<Vec<_>>(), ["ready", "intent", "settled"]);
    let last = rows.last().unwrap();
    assert_eq!(
        (last.who.as_str(), last.commit.as_str(), last.command.as_str(), last.remote_id.as_str()),
        ("ann", "c0ffee", "#comment", "10")
    );
    let verified = story.queue.verify_audit().await.unwrap();
    assert_eq!((verified.entries, verified.broken_at), (4, None));
    assert_eq!(verified.head, last.hash);
    for (hand, found) in [
        ("UPDATE audit SET who = 'eve' WHERE seq = 3", 3),
        ("DELETE FROM audit WHERE seq = 2", 2),
        ("DELETE FROM audit WHERE seq = 4", 4),
    ] {
        let broken = story.queue.store.write(move |c| {
            c.execute_batch("SAVEPOINT hand")?;
            c.execute(hand, [])?;
            let broken = audit::verify(c)?.broken_at;
            c.execute_batch("ROLLBACK TO hand; RELEASE hand")?;
            Ok(broken)
        });
        assert_eq!(broken.await.unwrap(), Some(found), "{hand}");
    }
}

#[tokio::test]
async fn f27_a_claim_looks_things_up_however_much_waits() {
    let story = story();
    let plan = story.queue.store.read(|c| {
        let sql = format!("EXPLAIN QUERY PLAN {CLAIM}");
        let mut statement = c.prepare(&sql)?;
        let values = params!["jira", "me", NOW, TTL, 10, DAY_MS, "[]"];
        statement.query_map(values, |row| row.get::<_, String>(3))?.collect::<Result<Vec<_>>>()
    });
    let plan = plan.await.unwrap().join("\n");
    assert!(plan.contains("e USING INDEX effect_due") && plan.contains("o USING INDEX effect_open"), "{plan}");
    // The actors that rest are few.
    let plan = plan.replace("SCAN json_each", "");
    assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{plan}");
}

/// What one of two owners, or the world around them, does next.
#[derive(Clone, Debug)]
enum Call {
    Claim(usize),
    Intend(usize, usize),
    Probe(usize, usize),
    Settle(usize, usize, usize),
    Recover(bool),
    Restore,
    Retry(bool),
    Done,
    Pass(i64),
}

fn call() -> impl Strategy<Value = Call> {
    let (who, turn) = (|| 0..2_usize, || 0..4_usize);
    prop_oneof![
        4 => who().prop_map(Call::Claim),
        6 => (who(), turn()).prop_map(|(who, turn)| Call::Intend(who, turn)),
        4 => (who(), turn()).prop_map(|(who, turn)| Call::Probe(who, turn)),
        8 => (who(), turn(), 0..7_usize).prop_map(|(who, turn, how)| Call::Settle(who, turn, how)),
        2 => any::<bool>().prop_map(Call::Recover),
        1 => Just(Call::Restore),
        2 => any::<bool>().prop_map(Call::Retry),
        1 => Just(Call::Done),
        4 => (0..400_000_i64).prop_map(Call::Pass),
    ]
}

fn outcome(how: usize, now: i64) -> Outcome {
    let because = "because".to_owned();
    match how {
        0 => applied_as("1"),
        1 => Outcome::Refused { because },
        2 => Outcome::Later { at: now + 1000, because },
        3 => Outcome::Parked { because },
        4 => Outcome::Ambiguous { because },
        5 => Outcome::Absent,
        _ => Outcome::Inconclusive { because },
    }
}

/// Two owners, and everything each of them ever was lent: it may use what is long over.
struct Crowd {
    connection: Connection,
    turns: [Vec<Turn>; 2],
    now: i64,
    intents: std::collections::HashSet<(String, i64)>,
    settled: std::collections::HashSet<String>,
}

impl Crowd {
    fn new() -> Crowd {
        let connection = Connection::open_in_memory().unwrap();
        for sql in crate::queue::store::MIGRATIONS {
            connection.execute_batch(sql).unwrap();
        }
        remember(&connection, 1).unwrap();
        let effects = ["ABC-1", "ABC-1", "ABC-2"]
            .iter()
            .zip(0..)
            .map(|(issue, ordinal)| NewEffect { ordinal, ..ready(&format!("k{ordinal}"), issue) });
        plan(&connection, &planned(1, effects.collect()), NOW).unwrap();
        let (intents, settled) = Default::default();
        Crowd { connection, turns: [Vec::new(), Vec::new()], now: NOW, intents, settled }
    }

    fn run(&mut self, call: &Call) {
        let (c, now) = (&self.connection, self.now);
        let everything = EffectFilter::default();
        match call {
            Call::Claim(who) => self.turns[*who].extend(claim(c, "jira", "me", &[], 9, now, 60_000).unwrap()),
            Call::Intend(who, turn) => {
                let Some(turn) = self.turns[*who].iter_mut().rev().nth(*turn) else { return };
                if intend(c, turn, None, now).unwrap() {
                    turn.intended(None, now);
                    assert!(self.intents.insert((turn.key.clone(), turn.epoch())), "one intent an epoch: {turn:?}");
                }
            }
            Call::Probe(who, turn) => {
                let Some(turn) = self.turns[*who].iter_mut().rev().nth(*turn) else { return };
                if probe(c, turn, now).unwrap() {
                    turn.probing();
                }
            }
            Call::Settle(who, turn, how) => {
                if let Some(turn) = self.turns[*who].iter().rev().nth(*turn) {
                    settle(c, turn, &outcome(*how, now), now).unwrap();
                }
            }
            Call::Recover(all) => {
                recover(c, if *all { Gone::Everyone } else { Gone::Overdue }, now).unwrap();
            }
            Call::Restore => {
                restored(c, now).unwrap();
            }
            Call::Retry(look) => {
                let retry = if *look { Retry::Look } else { Retry::Insist };
                super::super::effects::retry(c, &everything, retry, "root", now).unwrap();
            }
            Call::Done => {
                super::super::effects::done(c, &everything, "root", now).unwrap();
            }
            Call::Pass(span) => self.now += span,
        }
    }

    fn look(&mut self) {
        let rows = super::super::effects::list(&self.connection, &EffectFilter::default()).unwrap();
        let flying = |row: &&super::super::EffectRow| row.state == "intent" || row.state == "probing";
        for issue in ["ABC-1", "ABC-2"] {
            assert!(rows.iter().filter(|row| row.issue == issue).filter(flying).count() < 2, "{rows:?}");
        }
        for row in rows {
            match row.state.as_str() {
                "settled" => drop(self.settled.insert(row.id)),
                _ => assert!(!self.settled.contains(&row.id), "what is settled stays settled: {row:?}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn f38_whoever_calls_in_whatever_order_an_effect_is_in_one_hand(calls in proptest::collection::vec(call(), 1..80)) {
        let mut crowd = Crowd::new();
        for call in &calls {
            crowd.run(call);
            crowd.look();
        }
        assert_eq!(audit::verify(&crowd.connection).unwrap().broken_at, None);
    }
}

/// Adds an order in the name of an account.
async fn plan_as(story: &Story, actor: &str, seq: i64, effect: NewEffect) {
    let planned = Planned { actor: actor.to_owned(), ..planned(seq, vec![effect]) };
    story.queue.plan(planned, NOW).await.unwrap();
}

#[tokio::test]
async fn f13_in_whose_name_an_order_is_carried_out_is_decided_when_it_is_taken_and_stays() {
    let story = story();
    plan_as(&story, "1", 1, order("k", "ABC-1", refused(Denied::Unverified))).await;
    let actor = async || story.queue.effects(EffectFilter::default()).await.unwrap().remove(0).actor;
    plan_as(&story, "2", 2, ready("k", "ABC-1")).await;
    assert_eq!(actor().await, "2", "whoever may order it lends the name");
    plan_as(&story, "3", 3, ready("k", "ABC-1")).await;
    assert_eq!(actor().await, "2");
    let turn = story.intend(NOW).await;
    assert_eq!(turn.actor, "2");
    let then = Some(Box::new(ready("words", "ABC-1")));
    let applied = Outcome::Applied { remote_id: Some("7".to_owned()), note: None, then };
    assert!(story.settle(&turn, applied, NOW).await);
    assert_eq!(story.claim(NOW).await[0].actor, "2", "what follows from it is in the same name");
    let due = async |away: Vec<String>| story.queue.sweep_due("jira".to_owned(), away, 9, NOW + SWEEP_AFTER_MS).await;
    assert_eq!(due(vec![]).await.unwrap()[0].actor, "2");
    assert!(due(vec!["2".to_owned()]).await.unwrap().is_empty());
}

#[tokio::test]
async fn f43_what_waits_for_one_account_holds_up_no_other_and_keeps_its_order() {
    let story = story();
    plan_as(&story, "ann", 1, ready("a1", "ABC-1")).await;
    plan_as(&story, "bob", 2, ready("b1", "ABC-1")).await;
    plan_as(&story, "ann", 3, ready("a2", "ABC-1")).await;
    plan_as(&story, "ann", 4, ready("a3", "ABC-2")).await;
    let keys = async |away: &[&str]| {
        let turns = story.claim_without(away, "me", NOW).await;
        story.queue.recover(Gone::Everyone, NOW).await.unwrap();
        turns.into_iter().map(|turn| turn.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(&[]).await, ["a1", "a3"]);
    assert_eq!(keys(&["ann"]).await, ["b1"], "the issue is free for others");
    assert_eq!(keys(&["ann", "bob"]).await, [""; 0]);
    assert_eq!(keys(&[]).await, ["a1", "a3"], "and what waited comes first again");
    // Also where nobody knows what became of it; but nothing goes out beside what is on its way.
    let turn = story.intend(NOW).await;
    assert_eq!(keys(&["ann"]).await, ["b1"; 0]);
    assert_eq!(turn.key, "a1");
}

impl Story {
    async fn news(&self, person: &str) -> (Vec<String>, i64) {
        let news = self.queue.news(person.to_owned()).await.unwrap();
        (news.rows.into_iter().map(|row| row.id).collect(), news.up_to)
    }

    /// The only effect that is due comes to an end.
    async fn end(&self, outcome: Outcome, now: i64) {
        let turn = self.intend(now).await;
        assert!(self.settle(&turn, outcome, now).await);
    }
}

fn never() -> Outcome {
    Outcome::Refused { because: "there are Close, Reopen".to_owned() }
}

#[tokio::test]
async fn f11_an_outcome_is_news_for_its_person_until_they_were_told() {
    let story = story();
    story.plan(1, vec![ready("done", "ABC-1"), order("old", "ABC-2", refused(Denied::Age))]).await;
    assert_eq!(story.news("user ann").await, (Vec::new(), 0), "what is open, or was refused in the push, is no news");
    story.end(applied_as("10"), NOW + 500).await;
    story.plan(2, vec![ready("refused", "ABC-3")]).await;
    // The clock was set back.
    story.end(never(), NOW).await;
    let (rows, up_to) = story.news("user ann").await;
    assert_eq!(
        (rows, up_to),
        (vec!["refused".to_owned(), "done".to_owned()], NOW + 501),
        "what went wrong comes first"
    );
    assert!(story.news("user bob").await.0.is_empty() && story.news("").await.0.is_empty());
    assert_eq!(story.news("user ann").await.0.len(), 2, "to be asked is not to have told");
    story.queue.told("user ann".to_owned(), up_to).await.unwrap();
    story.queue.told("user ann".to_owned(), NOW).await.unwrap();
    assert!(story.news("user ann").await.0.is_empty(), "a mark never goes back");
    let filter = EffectFilter { id: Some("refused".to_owned()), ..EffectFilter::default() };
    story.queue.retry_effects(filter, Retry::Insist, "root".to_owned(), NOW).await.unwrap();
    assert!(story.news("user ann").await.0.is_empty(), "what is tried again has no outcome");
    story.end(Outcome::Parked { because: "look".to_owned() }, NOW).await;
    assert_eq!(story.news("user ann").await, (vec!["refused".to_owned()], NOW + 502));
}

#[tokio::test]
async fn f11_of_more_news_than_anybody_reads_the_newest_are_given() {
    let story = story();
    let names: Vec<String> = (0..super::super::MOST_NEWS + 9).map(|number| format!("k{number:03}")).collect();
    for name in &names {
        story.plan(1, vec![ready(name, "ABC-1")]).await;
        story.end(applied_as("10"), NOW).await;
    }
    let (rows, up_to) = story.news("user ann").await;
    assert_eq!((&rows[..], up_to), (&names[9..], NOW + names.len() as i64 - 1));
}

#[tokio::test]
async fn f11_what_follows_from_a_transition_is_news_only_when_it_went_wrong() {
    let story = story();
    let then = |key| Outcome::Applied { remote_id: None, note: None, then: Some(Box::new(ready(key, "ABC-1"))) };
    story.plan(1, vec![ready("a", "ABC-1")]).await;
    story.end(then("a-said"), NOW).await;
    story.end(applied_as("10"), NOW).await;
    assert_eq!(story.news("user ann").await.0, ["a"]);
    story.plan(2, vec![ready("b", "ABC-1")]).await;
    story.end(then("b-said"), NOW).await;
    story.end(never(), NOW).await;
    assert_eq!(story.news("user ann").await.0, ["b-said", "a", "b"]);
}

#[tokio::test]
async fn f11_only_what_went_wrong_is_mailed_and_nothing_twice() {
    let story = story();
    let unmailed = async |now: i64| {
        let troubles = story.queue.unmailed(now).await.unwrap();
        troubles.into_iter().map(|trouble| (trouble.person, trouble.row.id, trouble.outcome)).collect::<Vec<_>>()
    };
    let ann = |key: &str, outcome| ("user ann".to_owned(), key.to_owned(), outcome);
    for (key, outcome) in
        [("done", applied_as("10")), ("no", never()), ("look", Outcome::Parked { because: "x".to_owned() })]
    {
        story.plan(1, vec![ready(key, "ABC-1")]).await;
        story.end(outcome, NOW).await;
    }
    assert_eq!(unmailed(NOW).await, [ann("no", NOW + 1), ann("look", NOW + 2)]);
    assert!(unmailed(NOW + 2 * DAY_MS).await.is_empty(), "that was long ago");
    story.queue.mailed("user ann".to_owned(), NOW + 1).await.unwrap();
    assert_eq!(unmailed(NOW).await, [ann("look", NOW + 2)]);
    story.queue.restored(NOW + 3).await.unwrap();
    assert!(unmailed(NOW + 3).await.is_empty(), "the copy does not know what was mailed");
    assert_eq!(story.news("user ann").await.0.len(), 3, "a push tells it again");
}

#[tokio::test]
async fn k12_the_orders_of_a_commit_are_found_by_the_beginning_of_its_id() {
    let story = story();
    story.plan(1, vec![ready("a", "ABC-1"), NewEffect { ordinal: 1, ..ready("b", "DEAD-1") }]).await;
    let found = async |what: &str| {
        let rows = story.queue.effects_of(what.to_owned()).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(found("C0FF").await, ["a", "b"]);
    assert_eq!(found("abc-1").await, ["a"]);
    assert!(found("c0").await.is_empty() && found("beef").await.is_empty());
}
