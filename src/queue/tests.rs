//! The queue's story: told to each engine there is.

use super::*;
use crate::event::{Event, Kind, Origin};
use crate::git::Update;

const NOW: i64 = 1_000_000;

struct Story {
    queue: Queue,
    _folder: tempfile::TempDir,
}

fn story() -> Story {
    let folder = tempfile::tempdir().unwrap();
    Story { queue: Queue::open(folder.path(), NOW).unwrap(), _folder: folder }
}

fn oid(digit: char) -> Oid {
    digit.to_string().repeat(40).parse().unwrap()
}

fn update(old: Option<char>, new: Option<char>) -> Update {
    Update { name: RefName::new(*b"refs/heads/main"), old: old.map(oid), new: new.map(oid) }
}

fn event(at: i64, kind: Kind, update: Update) -> Event {
    Event {
        id: EventId::fresh(),
        kind,
        at,
        repository: Origin { id: "r1".to_owned(), git_dir: b"/srv/r1.git".to_vec() },
        updates: vec![update],
        commits: Vec::new(),
        rest: false,
        claims: Vec::new(),
        push_options: Vec::new(),
        overridden: Vec::new(),
        tips: Vec::new(),
    }
}

fn owing(ids: &[&str], hash: &str) -> Owing {
    let entity = |id: &&str| NewEntity {
        kind: EntityKind::Commit,
        id: (*id).to_owned(),
        keys: vec!["ABC-1".to_owned()],
        body: vec![1],
        hash: hash.to_owned(),
        only_if_told: false,
        gone: false,
        leave: Leave::None,
    };
    Owing {
        site: "jira".to_owned(),
        repository: "r1".to_owned(),
        class: Class::Live,
        event: "e1".to_owned(),
        entities: ids.iter().map(entity).collect(),
    }
}

impl Story {
    async fn claim(&self, now: i64) -> Batch {
        self.claim_while_growing(&[], now).await
    }

    async fn claim_while_growing(&self, growing: &[&str], now: i64) -> Batch {
        let growing = growing.iter().map(|id| (*id).to_owned()).collect();
        self.queue.claim("jira".to_owned(), Class::Live, "me".to_owned(), growing, now, 60_000).await.unwrap()
    }

    async fn settle(&self, batch: &Batch, next: Next, now: i64) -> usize {
        let settled = batch.owed.iter().map(|owed| Settled {
            repository: owed.repository.clone(),
            kind: owed.kind,
            id: owed.id.clone(),
            sequence: owed.sequence,
            next: next.clone(),
            unused: false,
        });
        self.queue.settle(batch.lease.clone(), settled.collect(), now).await.unwrap()
    }

    async fn tip(&self) -> Option<Oid> {
        self.queue.tips("r1".to_owned()).await.unwrap().first().and_then(|tip| tip.id)
    }

    async fn queued(&self) -> usize {
        self.queue.counts(NOW).await.unwrap().events_queued as usize
    }
}

fn done() -> Next {
    Next::Done { dropped: 0, note: None }
}

#[tokio::test]
async fn i11_an_event_that_comes_twice_is_stored_once() {
    let story = story();
    let event = event(1, Kind::Push, update(None, Some('a')));
    assert_eq!(story.queue.add(event.clone(), 0, NOW).await.unwrap(), Added::New);
    assert_eq!(story.queue.add(event.clone(), 0, NOW + 5).await.unwrap(), Added::Repeated);
    assert_eq!(story.queued().await, 1);
    let found = story.queue.next_events(Vec::new(), 10, NOW).await.unwrap();
    assert_eq!(found[0].event, event);
    story.queue.finish(event.id, None, NOW).await.unwrap();
    assert_eq!(story.queue.add(event, 0, NOW).await.unwrap(), Added::Repeated, "also after it was settled");
    assert_eq!(story.queued().await, 0);
}

#[tokio::test]
async fn f02_a_push_confirms_its_intent_and_an_unconfirmed_one_is_told() {
    let story = story();
    story.queue.add(event(1, Kind::Intent, update(None, Some('a'))), 0, NOW).await.unwrap();
    assert_eq!(story.queue.unconfirmed(NOW + 1).await.unwrap(), ["r1"]);
    assert_eq!(story.queue.unconfirmed(NOW).await.unwrap(), [""; 0]);
    story.queue.add(event(2, Kind::Push, update(None, Some('a'))), 0, NOW).await.unwrap();
    assert_eq!(story.queue.unconfirmed(NOW + 1).await.unwrap(), [""; 0]);
    story.queue.add(event(3, Kind::Intent, update(None, Some('a'))), 0, NOW).await.unwrap();
    assert_eq!(story.queue.unconfirmed(NOW + 1).await.unwrap(), [""; 0], "an intent that was overtaken is confirmed");
    story.queue.add(event(2, Kind::Intent, update(Some('a'), Some('b'))), 0, NOW).await.unwrap();
    assert_eq!(story.queue.unconfirmed(NOW + 1).await.unwrap(), [""; 0], "also by a push that came after its own");
}

#[tokio::test]
async fn f22_a_stored_event_that_cannot_be_read_is_put_aside_and_the_others_go_on() {
    let story = story();
    let broken = event(1, Kind::Push, update(None, Some('a')));
    story.queue.add(broken.clone(), 0, NOW).await.unwrap();
    story.queue.store.write(|c| c.execute("UPDATE event SET payload = x'ff'", [])).await.unwrap();
    let whole = event(2, Kind::Push, update(Some('a'), Some('b')));
    story.queue.add(whole.clone(), 0, NOW).await.unwrap();
    assert!(story.queue.next_events(Vec::new(), 10, NOW).await.unwrap().is_empty());
    assert_eq!(story.queue.next_events(Vec::new(), 10, NOW).await.unwrap()[0].event, whole);
    let rows = story.queue.events(Filter::default()).await.unwrap();
    let row = rows.iter().find(|row| row.id == broken.id.to_string()).unwrap();
    assert_eq!(row.state, "dead");
    assert!(row.note.as_ref().unwrap().contains("cannot be read"), "{:?}", row.note);
}

#[tokio::test]
async fn what_moved_a_ref_unseen_becomes_an_event_of_its_own() {
    let story = story();
    story.queue.add(event(1, Kind::Push, update(None, Some('a'))), 0, NOW).await.unwrap();
    story.queue.add(event(2, Kind::Push, update(Some('b'), Some('c'))), 0, NOW).await.unwrap();
    let rows = story.queue.events(Filter::default()).await.unwrap();
    assert_eq!(rows.iter().filter(|row| row.kind == "found").count(), 1);
    assert!(
        rows.iter().find(|row| row.kind == "found").unwrap().seq < rows[0].seq,
        "it comes before the push that shows it"
    );
    assert_eq!(story.tip().await, Some(oid('c')));
}

#[tokio::test]
async fn an_event_that_comes_late_does_not_turn_a_ref_back() {
    let story = story();
    story.queue.add(event(1, Kind::Push, update(None, Some('a'))), 0, NOW).await.unwrap();
    let late = event(2, Kind::Push, update(Some('a'), Some('b')));
    story.queue.add(event(3, Kind::Push, update(Some('b'), Some('c'))), 0, NOW).await.unwrap();
    story.queue.add(late.clone(), 0, NOW).await.unwrap();
    assert_eq!(story.tip().await, Some(oid('c')));
    let names = vec![RefName::new(*b"refs/heads/main")];
    let rows = story.queue.events(Filter::default()).await.unwrap();
    let seq = rows.iter().find(|row| row.id == late.id.to_string()).unwrap().seq;
    assert!(story.queue.still_at("r1".to_owned(), names, seq).await.unwrap().is_empty());
}

#[tokio::test]
async fn i11_the_same_state_is_owed_once_and_a_new_state_takes_its_place() {
    let story = story();
    assert_eq!(story.queue.owe(owing(&["a", "b"], "h1"), NOW).await.unwrap(), 2);
    assert_eq!(story.queue.owe(owing(&["a", "b"], "h1"), NOW).await.unwrap(), 0);
    assert_eq!(story.queue.owe(owing(&["a"], "h2"), NOW).await.unwrap(), 1);
    let batch = story.claim(NOW).await;
    assert_eq!(batch.owed.len(), 2);
    assert_eq!(story.settle(&batch, done(), NOW).await, 2);
    assert_eq!(story.queue.owe(owing(&["a"], "h2"), NOW).await.unwrap(), 0, "also after it was told");
    assert!(story.claim(NOW + 1).await.owed.is_empty());
}

#[tokio::test]
async fn i8_a_history_that_is_being_read_leaves_in_full_requests() {
    let story = story();
    let ids: Vec<String> = (0..700).map(|number| format!("{number:040}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    story.queue.owe(owing(&ids[..399], "h"), NOW).await.unwrap();
    assert!(story.claim_while_growing(&["r1"], NOW + 1).await.owed.is_empty(), "it may still become a full one");
    assert_eq!(story.claim_while_growing(&["r2"], NOW + 1).await.owed.len(), 399, "others are not kept");
    story.queue.release_all().await.unwrap();
    assert_eq!(story.claim_while_growing(&["r1"], NOW + 10_000).await.owed.len(), 399, "nor is anything kept for long");
    story.queue.release_all().await.unwrap();
    story.queue.owe(owing(&ids, "h"), NOW + 2).await.unwrap();
    assert_eq!(story.claim_while_growing(&["r1"], NOW + 3).await.owed.len(), 400);
}

#[tokio::test]
async fn f33_numbers_only_grow_when_the_clock_goes_back() {
    let story = story();
    story.queue.owe(owing(&["a"], "h1"), NOW).await.unwrap();
    story.queue.owe(owing(&["b"], "h1"), NOW - 500_000).await.unwrap();
    let rows = story.queue.entities(Filter::default()).await.unwrap();
    let number = |id: &str| rows.iter().find(|row| row.id == id).unwrap().sequence;
    assert!(number("b") > number("a"));
    assert!(number("a") >= NOW);
}

#[tokio::test]
async fn f38_a_settle_after_the_lease_changes_nothing() {
    let story = story();
    story.queue.owe(owing(&["a"], "h1"), NOW).await.unwrap();
    let zombie = story.claim(NOW).await;
    assert!(story.claim(NOW + 59_000).await.owed.is_empty(), "it is lent");
    let heir = story.claim(NOW + 61_000).await;
    assert_eq!(heir.owed.len(), 1, "a lease runs out by itself");
    assert_eq!(story.settle(&zombie, done(), NOW + 62_000).await, 0);
    assert_eq!(story.settle(&heir, done(), NOW + 62_000).await, 1);
}

#[tokio::test]
async fn a_verdict_on_an_old_state_leaves_the_new_one_owed() {
    let story = story();
    story.queue.owe(owing(&["a"], "h1"), NOW).await.unwrap();
    let batch = story.claim(NOW).await;
    story.queue.owe(owing(&["a"], "h2"), NOW + 1).await.unwrap();
    assert_eq!(story.settle(&batch, done(), NOW + 2).await, 0);
    assert_eq!(story.claim(NOW + 3).await.owed.len(), 1);
}

#[tokio::test]
async fn f55_an_unknown_key_is_told_again_later_with_a_new_number() {
    let story = story();
    story.queue.owe(owing(&["a"], "h1"), NOW).await.unwrap();
    let first = story.claim(NOW).await;
    story
        .settle(
            &first,
            Next::Unknown { at: NOW + 600_000, keys: vec!["ABC-1".to_owned()], because: "ABC-1 is unknown".to_owned() },
            NOW,
        )
        .await;
    assert!(story.claim(NOW + 599_000).await.owed.is_empty());
    let second = story.claim(NOW + 600_000).await;
    assert_eq!(second.owed[0].unknown, 1);
    assert!(second.owed[0].sequence > first.owed[0].sequence, "Jira ignores a number it has seen");
    story.settle(&second, Next::Done { dropped: 1, note: None }, NOW + 600_000).await;
    assert_eq!(story.queue.counts(NOW).await.unwrap().dropped_keys, 1);
}

#[tokio::test]
async fn i3_what_is_parked_waits_for_a_person_who_may_retry_or_drop_it() {
    let story = story();
    story.queue.owe(owing(&["aaaa", "bbbb"], "h1"), NOW).await.unwrap();
    let batch = story.claim(NOW).await;
    story.settle(&batch, Next::Parked { because: "no".to_owned() }, NOW).await;
    assert!(story.claim(NOW + 1).await.owed.is_empty());
    let filter = Filter { id: Some("aa".to_owned()), ..Filter::default() };
    assert_eq!(story.queue.retry(filter, NOW + 2).await.unwrap(), 1);
    assert_eq!(story.claim(NOW + 3).await.owed.len(), 1);
    let parked = Filter { state: Some("parked".to_owned()), ..Filter::default() };
    assert_eq!(story.queue.drop(parked, NOW + 4).await.unwrap(), 1);
    assert_eq!(story.queue.counts(NOW).await.unwrap().sites[0].parked, 0);
}

#[tokio::test]
async fn i8_a_claim_stays_within_what_one_request_may_carry() {
    let story = story();
    let ids: Vec<String> = (0..1500).map(|n| format!("{n:040x}")).collect();
    story.queue.owe(owing(&ids.iter().map(String::as_str).collect::<Vec<_>>(), "h"), NOW).await.unwrap();
    let mut seen = 0;
    for turn in 0..4 {
        let batch = story.claim(NOW + turn).await;
        assert!(batch.owed.len() <= outbox::OF_A_KIND, "{}", batch.owed.len());
        seen += story.settle(&batch, done(), NOW + turn).await;
    }
    assert_eq!(seen, 1500);
}

/// A commit that Jira may obey, with the key of its order.
fn with_leave(id: &str, key: &str, hash: &str) -> Owing {
    let mut owing = owing(&[id], hash);
    owing.entities[0].leave = Leave::Granted { orders: vec![key.to_owned()], repeats: Vec::new(), authored_at: NOW };
    owing
}

fn leaves(batch: &Batch) -> Vec<(&str, bool)> {
    batch.owed.iter().map(|owed| (owed.id.as_str(), owed.leave)).collect()
}

impl Story {
    async fn row(&self, id: &str) -> EntityRow {
        let filter = Filter { id: Some(id.to_owned()), ..Filter::default() };
        self.queue.entities(filter).await.unwrap().remove(0)
    }

    /// Puts a batch back for later, its leave used or not.
    async fn put_back(&self, batch: &Batch, unused: bool, now: i64) {
        let next = Next::Again { at: now, counts: false, because: "later".to_owned() };
        let settled = batch.owed.iter().map(|owed| Settled {
            repository: owed.repository.clone(),
            kind: owed.kind,
            id: owed.id.clone(),
            sequence: owed.sequence,
            next: next.clone(),
            unused: unused && owed.leave,
        });
        self.queue.settle(batch.lease.clone(), settled.collect(), now).await.unwrap();
    }
}

#[tokio::test]
async fn f1_the_claim_uses_up_the_leave_so_that_a_lost_owner_has_taken_it_along() {
    let story = story();
    story.queue.owe(with_leave("aaaa", "k", "h1"), NOW).await.unwrap();
    story.queue.owe(owing(&["bbbb"], "h1"), NOW).await.unwrap();
    assert_eq!(story.row("aaaa").await.orders().unwrap(), "left to Jira when it is told");
    let lost = story.claim(NOW).await;
    assert_eq!(leaves(&lost), [("aaaa", true), ("bbbb", false)]);
    let heir = story.claim(NOW + 61_000).await;
    assert_eq!(leaves(&heir), [("aaaa", false), ("bbbb", false)]);
    // Who comes too late gives nothing back.
    story.put_back(&lost, true, NOW + 62_000).await;
    story.put_back(&heir, false, NOW + 62_000).await;
    story.queue.release_all().await.unwrap();
    assert_eq!(leaves(&story.claim(NOW + 63_000).await), [("aaaa", false), ("bbbb", false)]);
    assert!(story.row("aaaa").await.orders().unwrap().starts_with("left to Jira at "));
    assert_eq!(story.row("bbbb").await.orders(), None);
}

#[tokio::test]
async fn f1_a_leave_that_was_not_used_is_given_back_and_used_once() {
    let story = story();
    story.queue.owe(with_leave("aaaa", "k", "h1"), NOW).await.unwrap();
    for _ in 0..3 {
        let batch = story.claim(NOW).await;
        assert_eq!(leaves(&batch), [("aaaa", true)]);
        story.put_back(&batch, true, NOW).await;
    }
    let batch = story.claim(NOW).await;
    let unknown = Next::Unknown { at: NOW, keys: Vec::new(), because: "ABC-1 is unknown".to_owned() };
    story.settle(&batch, unknown, NOW).await;
    let again = story.claim(NOW).await;
    assert_eq!(leaves(&again), [("aaaa", false)], "also under its new number");
    story.put_back(&again, true, NOW).await;
    assert_eq!(leaves(&story.claim(NOW).await), [("aaaa", false)]);
}

#[tokio::test]
async fn f1_f8_the_same_order_has_one_leave_however_often_its_commit_comes() {
    let story = story();
    story.queue.owe(with_leave("aaaa", "k", "h1"), NOW).await.unwrap();
    story.queue.owe(with_leave("bbbb", "k", "h1"), NOW).await.unwrap();
    let batch = story.claim(NOW).await;
    assert_eq!(leaves(&batch), [("aaaa", true), ("bbbb", false)]);
    assert_eq!(story.row("bbbb").await.orders().unwrap(), "not left to Jira: they were left to Jira with commit aaaa");
    story.settle(&batch, done(), NOW).await;
    // Told anew because the repository was forgotten, and also when its row is gone.
    story.queue.owe(with_leave("aaaa", "k", "h2"), NOW + 1).await.unwrap();
    assert_eq!(leaves(&story.claim(NOW + 1).await), [("aaaa", false)]);
    story.queue.release_all().await.unwrap();
    story.queue.drop(Filter::default(), NOW + 1).await.unwrap();
    story.queue.prune(NOW + 2).await.unwrap();
    story.queue.owe(with_leave("aaaa", "k", "h2"), NOW + 2).await.unwrap();
    assert_eq!(leaves(&story.claim(NOW + 2).await), [("aaaa", false)]);
    // Until the order would be too old.
    story.queue.release_all().await.unwrap();
    story.queue.prune_effects(NOW + 1).await.unwrap();
    assert_eq!(leaves(&story.claim(NOW + 3).await), [("aaaa", true)]);
}

#[tokio::test]
async fn g5_a_leave_is_for_the_state_it_was_given_for_and_history_has_none() {
    let story = story();
    let refused = |id: &str, hash: &str| {
        let mut owing = owing(&[id], hash);
        owing.entities[0].leave = Leave::Denied { because: "the author is another".to_owned() };
        owing
    };
    for (id, key) in [("aaaa", "k"), ("cccc", "k3")] {
        story.queue.owe(with_leave(id, key, "h1"), NOW).await.unwrap();
    }
    story.queue.owe(refused("aaaa", "h1"), NOW).await.unwrap();
    story.queue.owe(refused("cccc", "h2"), NOW).await.unwrap();
    let batch = story.claim(NOW).await;
    assert_eq!(leaves(&batch), [("aaaa", true), ("cccc", false)]);
    story.settle(&batch, done(), NOW).await;
    let history = Owing { class: Class::Backfill, ..with_leave("bbbb", "k2", "h1") };
    story.queue.owe(history, NOW).await.unwrap();
    let claim = story.queue.claim("jira".to_owned(), Class::Backfill, "me".to_owned(), HashSet::new(), NOW, 60_000);
    assert_eq!(leaves(&claim.await.unwrap()), [("bbbb", false)]);
}

#[tokio::test]
async fn f1_a_queue_gives_no_leave_for_what_it_cannot_remember() {
    let story = story();
    let mut old = with_leave("aaaa", "k", "h1");
    old.entities[0].leave =
        Leave::Granted { orders: vec!["k".to_owned()], repeats: Vec::new(), authored_at: NOW - 300_000 };
    story.queue.owe(old, NOW).await.unwrap();
    assert!(story.row("aaaa").await.orders().unwrap().contains("before this queue was begun"));
    story.queue.owe(with_leave("bbbb", "k2", "h1"), NOW).await.unwrap();
    story.queue.restored(NOW + 1).await.unwrap();
    assert_eq!(leaves(&story.claim(NOW + 1).await), [("aaaa", false), ("bbbb", false)]);
    assert!(story.row("bbbb").await.orders().unwrap().contains("the queue was restored"));
}

/// An order in the ledger, as the agent would carry it out.
fn effect(key: &str) -> Planned {
    let effect = NewEffect {
        repeats: None,
        key: key.to_owned(),
        issue: "ABC-1".to_owned(),
        place: 0,
        ordinal: 0,
        commit: "aaaa".to_owned(),
        command: "#close".to_owned(),
        author: "Ann <ann@example.org>".to_owned(),
        authored_at: NOW,
        body: vec![1],
        body_hash: "h".to_owned(),
        ruling: Ruling::Ready,
    };
    Planned {
        actor: String::new(),
        person: String::new(),
        site: "jira".to_owned(),
        repository: "r1".to_owned(),
        event: "e1".to_owned(),
        seq: 1,
        pusher: "ann".to_owned(),
        effects: vec![effect],
    }
}

#[tokio::test]
async fn f1_what_one_executor_has_taken_on_the_other_leaves_alone() {
    let story = story();
    story.queue.plan(effect("k"), NOW).await.unwrap();
    story.queue.owe(with_leave("aaaa", "k", "h1"), NOW).await.unwrap();
    story.queue.owe(with_leave("bbbb", "k2", "h1"), NOW).await.unwrap();
    assert_eq!(leaves(&story.claim(NOW).await), [("aaaa", false), ("bbbb", true)]);
    assert!(story.row("aaaa").await.orders().unwrap().contains("the agent has taken them on"));
    let ruled = story.queue.plan(effect("k2"), NOW).await.unwrap();
    assert_eq!(ruled[0].state, State::Refused);
    assert_eq!(ruled[0].note.as_deref(), Some("it was left to Jira with commit bbbb"));
}

#[tokio::test]
async fn g5_what_was_refused_when_it_was_pushed_first_has_no_leave() {
    let story = story();
    let refuse = |why| {
        let mut planned = effect(if why == Denied::Policy { "k" } else { "k2" });
        planned.effects[0].ruling = Ruling::Refused { why, because: "no".to_owned() };
        planned
    };
    story.queue.plan(refuse(Denied::Policy), NOW).await.unwrap();
    story.queue.plan(refuse(Denied::Unverified), NOW).await.unwrap();
    story.queue.owe(with_leave("aaaa", "k", "h1"), NOW).await.unwrap();
    story.queue.owe(with_leave("bbbb", "k2", "h1"), NOW).await.unwrap();
    assert!(story.row("aaaa").await.orders().unwrap().contains("refused when they were pushed first"));
    // A refusal that comes later changes nothing.
    story.queue.owe(with_leave("cccc", "k3", "h1"), NOW).await.unwrap();
    let mut later = refuse(Denied::Policy);
    later.effects[0].key = "k3".to_owned();
    story.queue.plan(later, NOW).await.unwrap();
    assert_eq!(leaves(&story.claim(NOW).await), [("aaaa", false), ("bbbb", true), ("cccc", true)]);
    // What is left to Jira by now, the agent does not take up.
    let ruled = story.queue.plan(effect("k2"), NOW).await.unwrap();
    assert_eq!(ruled[0].state, State::Refused);
}

#[tokio::test]
async fn b16_a_forgotten_repository_is_taken_out_of_jira_and_nothing_else_of_it_is_owed() {
    let story = story();
    story.queue.owe(owing(&["aaaa", "bbbb"], "h1"), NOW).await.unwrap();
    let gone = || NewEntity {
        kind: EntityKind::Repository,
        id: "r1".to_owned(),
        keys: Vec::new(),
        body: vec![2],
        hash: "gone".to_owned(),
        only_if_told: false,
        gone: false,
        leave: Leave::None,
    };
    assert_eq!(story.queue.forget("r1".to_owned(), gone, NOW).await.unwrap(), 1);
    let batch = story.claim(NOW).await;
    assert_eq!(batch.owed.iter().map(|owed| owed.kind).collect::<Vec<_>>(), [EntityKind::Repository]);
    assert_eq!(story.queue.owe(owing(&["aaaa"], "h1"), NOW).await.unwrap(), 1, "pushed again it is news");
}

#[tokio::test]
async fn settled_rows_stay_for_the_asking_and_go_when_they_are_old() {
    let story = story();
    story.queue.owe(owing(&["aaaa"], "h1"), NOW).await.unwrap();
    let batch = story.claim(NOW).await;
    story.settle(&batch, done(), NOW).await;
    assert_eq!(story.queue.trace("abc-1".to_owned()).await.unwrap().entities.len(), 1);
    assert_eq!(story.queue.prune(NOW).await.unwrap(), 0);
    assert_eq!(story.queue.prune(NOW + 1).await.unwrap(), 1);
    assert!(story.queue.trace("ABC-1".to_owned()).await.unwrap().entities.is_empty());
}

#[tokio::test]
async fn c10_what_was_told_is_known_after_its_row_was_pruned_and_is_told_as_gone_once() {
    let story = story();
    let id = "a".repeat(40);
    let live = |hash| owing(&[&id], hash);
    let gone = |hash| {
        let mut owing = owing(&[&id, "never-told"], hash);
        owing.entities.iter_mut().for_each(|entity| (entity.gone, entity.only_if_told) = (true, true));
        owing
    };
    let (site, repository) = (|| "jira".to_owned(), || "r1".to_owned());
    let told = async || story.queue.told_of(site(), repository(), vec![id.clone()]).await.unwrap().len();
    story.queue.owe(live("h1"), NOW).await.unwrap();
    let batch = story.claim(NOW).await;
    story.settle(&batch, done(), NOW).await;
    story.queue.prune(NOW + 1).await.unwrap();
    assert_eq!(story.queue.owe(live("h1"), NOW).await.unwrap(), 0);
    assert_eq!((told().await, story.queue.has_gone(repository()).await.unwrap()), (1, false));
    assert_eq!(story.queue.owe(gone("h2"), NOW).await.unwrap(), 1);
    assert_eq!(story.queue.owe(gone("h3"), NOW).await.unwrap(), 0);
    let batch = story.claim(NOW).await;
    story.settle(&batch, done(), NOW).await;
    for pruned in [false, true] {
        if pruned {
            story.queue.prune(NOW + 1).await.unwrap();
        }
        assert_eq!((told().await, story.queue.has_gone(repository()).await.unwrap()), (0, true));
        let found = story.queue.gone_of(site(), repository(), vec![id.clone()]).await.unwrap();
        assert_eq!(found.iter().map(|gone| &gone.id).collect::<Vec<_>>(), [&id]);
    }
    assert!(story.queue.moves(repository()).await.unwrap().is_empty());
    // Told again, it is looked at whether anything reaches it.
    assert_eq!(story.queue.owe(live("h1"), NOW).await.unwrap(), 1);
    assert_eq!(told().await, 1);
    let moves = story.queue.moves(repository()).await.unwrap();
    assert_eq!(moves[0].way, Move { old: id.parse().ok(), new: None });
    story.queue.done_with(repository(), vec![Moved { seq: 7, ..moves[0].clone() }]).await.unwrap();
    assert_eq!(story.queue.moves(repository()).await.unwrap(), moves, "it was made again meanwhile");
    story.queue.done_with(repository(), moves).await.unwrap();
    assert!(story.queue.moves_due(NOW).await.unwrap().is_empty());
}

#[tokio::test]
async fn f47_what_was_found_out_about_a_site_stays_and_since_when() {
    let Story { queue, _folder } = story();
    let read_back = |what, way, since| ReadBack { site: "jira".to_owned(), what, way, since };
    let of = async |queue: &Queue, site: &str| queue.read_backs(site.to_owned()).await.unwrap();
    let first = vec![read_back(Marked::Comment, Way::List, 0), read_back(Marked::Worklog, Way::Text, 0)];
    assert_eq!(queue.found_read_backs(first.clone(), 5).await.unwrap(), 2);
    // What is found again as it was has been so since the first time.
    let second = vec![read_back(Marked::Comment, Way::Ids, 0), read_back(Marked::Worklog, Way::Text, 0)];
    assert_eq!(queue.found_read_backs(second, 7).await.unwrap(), 1);
    let known = [read_back(Marked::Comment, Way::Ids, 7), read_back(Marked::Worklog, Way::Text, 5)];
    assert_eq!(of(&queue, "jira").await, known);
    assert_eq!(of(&queue, "other").await, []);
    drop(queue);
    assert_eq!(of(&Queue::open(_folder.path(), 9).unwrap(), "jira").await, known);
}
