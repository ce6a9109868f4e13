//! How marks are found again at sites that keep them in one way or another, and how that is found out.

use super::*;
use crate::queue::{Marked, ReadBack, Way};
use crate::send::{Left, Moves, Trial};

const BOTH: [Marked; 2] = [Marked::Comment, Marked::Worklog];

async fn issue(bench: &Bench) -> Issue {
    bench.platform.issue("ABC-1", clock::now()).await.unwrap()
}

async fn trials(bench: &Bench) -> Vec<Trial> {
    let issue = issue(bench).await;
    let mut trials = Vec::new();
    for what in BOTH {
        trials.push(bench.platform.try_marks(&issue, what, clock::now()).await);
    }
    trials
}

fn found(trials: &[Trial], since: i64) -> Vec<ReadBack> {
    let ways = trials.iter().filter_map(|trial| Some((trial.what, trial.way()?)));
    ways.map(|(what, way)| ReadBack { site: "a".to_owned(), what, way, since }).collect()
}

/// Asserts which ways work at such a site, that nothing is left of the trial, and that effects are found again.
async fn check(kind: Kind, site: Value, expected: [Way; 2]) {
    let bench = bench(kind).await;
    bench.post("settings", site.clone()).await;
    bench.post("issues", json!({ "key": "ABC-1", "remaining_seconds": 3_600 })).await;
    let trials = trials(&bench).await;
    let ways: Vec<_> = trials.iter().map(Trial::way).collect();
    assert_eq!(ways, expected.map(Some), "{kind:?} {site}: {trials:?}");
    assert!(trials.iter().all(|trial| trial.left.is_none() && trial.failed.is_none()), "{trials:?}");
    let after = bench.effects("ABC-1").await;
    assert_eq!(after["remaining_seconds"], 3_600);
    for list in ["comments", "worklogs"] {
        assert_eq!(after[list], json!([]), "{kind:?} {site}");
    }
    // Long ago, so that what is sent now is marked in the way that was found.
    bench.platform.reads_back(found(&trials, 0));
    let since = clock::now();
    for effect in [comment(), time()] {
        assert_eq!(bench.probe(&effect, since).await, Probe::Absent, "{kind:?} {site}");
        let remote_id = remote(bench.carry_out(&effect).await);
        assert_eq!(bench.probe(&effect, since).await, Probe::Present { remote_id }, "{kind:?} {site}");
    }
    assert_eq!(bench.probe(&comment_of("another"), since).await, Probe::Absent, "{kind:?} {site}");
}

#[tokio::test]
async fn f47_an_effect_is_found_again_however_a_site_keeps_its_mark() {
    use Way::{Ids, List, Property, Text};
    check(Kind::Cloud, json!({}), [List, List]).await;
    check(Kind::Cloud, json!({ "comment_properties": false, "worklog_properties": false }), [Ids, Property]).await;
    let none = json!({ "comment_properties": false, "lists_say_none": true, "properties_by_ids": false });
    check(Kind::Cloud, none.clone(), [Property, List]).await;
    check(Kind::Cloud, json!({ "keeps_properties": false }), [Text, Text]).await;
    check(Kind::DataCenter, json!({}), [List, Text]).await;
    check(Kind::DataCenter, none, [Property, Text]).await;
    check(Kind::DataCenter, json!({ "keeps_properties": false }), [Text, Text]).await;
}

#[tokio::test]
async fn f47_what_was_sent_before_a_site_was_known_to_lose_marks_is_not_taken_for_undone() {
    for kind in KINDS {
        let bench = bench(kind).await;
        bench.post("settings", json!({ "keeps_properties": false })).await;
        let sent = clock::now();
        remote(bench.carry_out(&comment()).await);
        let may_be_there = |way, since| {
            bench.platform.reads_back(vec![ReadBack { site: "a".to_owned(), what: Marked::Comment, way, since }]);
            bench.platform.may_be_unmarked(&deed(&comment()), sent).is_some()
        };
        assert!(may_be_there(Way::Text, clock::now()));
        assert_eq!(bench.probe(&comment(), sent).await, Probe::Absent, "there is nothing to find it by");
        // A turn that had begun may have sent without the word.
        assert!(may_be_there(Way::Text, sent - 200_000));
        assert!(!may_be_there(Way::Text, sent - 400_000));
        assert!(!may_be_there(Way::Property, clock::now()));
        // Work at a Data Center has always borne the word, and a move has a mark of another kind.
        let unmarked = |effect: &Effect| bench.platform.may_be_unmarked(&deed(effect), sent).is_some();
        assert!(!unmarked(&time()) && !unmarked(&transition("done", "")));
    }
}

#[tokio::test]
async fn f8_a_comment_that_quotes_the_mark_of_another_is_not_its_double() {
    let bench = bench(Kind::DataCenter).await;
    let since = clock::now();
    let first = comment();
    remote(bench.carry_out(&first).await);
    remote(bench.carry_out(&comment_of(&format!("as {} said", mark(&first).token()))).await);
    let doubles = bench.platform.sweep(&deed(&first), &mark(&first), since, true, clock::now()).await.unwrap();
    assert_eq!(doubles, Doubles::default());
    assert_eq!(bench.count("comments").await, 2);
}

#[tokio::test]
async fn f57_a_trial_that_fails_half_way_takes_back_what_it_wrote() {
    let bench = bench(Kind::Cloud).await;
    // What is made may say so or not.
    for door in ["add_comment", "add_worklog"] {
        bench.fault(door, json!("apply_then_drop")).await;
    }
    let said = trials(&bench).await;
    assert!(said.iter().all(|trial| trial.way() == Some(Way::List) && trial.left.is_none()), "{said:?}");
    // What cannot be read back says nothing about how it is kept.
    for door in ["read_comments", "read_worklogs"] {
        bench.post("faults", json!([{ "on": door, "act": { "status": { "code": 500 } } }])).await;
    }
    let said = trials(&bench).await;
    assert!(said.iter().all(|trial| trial.way().is_none() && trial.left.is_none()), "{said:?}");
    bench.pull("DELETE", "faults", Value::Null).await;
    for list in ["comments", "worklogs"] {
        assert_eq!(bench.count(list).await, 0);
    }
}

#[tokio::test]
async fn what_a_trial_cannot_delete_it_names() {
    let bench = bench(Kind::Cloud).await;
    bench.post("projects", json!({ "key": "ABC", "type": "service_desk" })).await;
    let deny = |permission: &str| json!({ "person": "agent", "permission": permission, "granted": false });
    bench.post("permissions", deny("delete_own_comments")).await;
    let [comment, work] = <[Trial; 2]>::try_from(trials(&bench).await).unwrap();
    let left = bench.effects("ABC-1").await["comments"][0].clone();
    assert_eq!(comment.left.and_then(|Left { id, .. }| id), Some(left["id"].to_string()));
    assert_eq!(left["properties"]["sd.public.comment"], json!({ "internal": true }), "no customer reads it");
    assert!(work.left.is_none(), "{work:?}");
    // What may not be made leaves nothing.
    bench.post("permissions", deny("work")).await;
    let trial = bench.platform.try_marks(&issue(&bench).await, Marked::Worklog, clock::now()).await;
    assert!(trial.left.is_none() && trial.way().is_none() && trial.failed.is_some(), "{trial:?}");
    // What may be there, and cannot be looked for, is said without a name.
    bench.fault("add_comment", json!("apply_then_drop")).await;
    bench.fault("read_comments", json!({ "status": { "code": 500 } })).await;
    let trial = bench.platform.try_marks(&issue(&bench).await, Marked::Comment, clock::now()).await;
    assert!(matches!(trial.left, Some(Left { id: None, .. })), "{trial:?}");
}

#[tokio::test]
async fn moves_are_counted_by_whether_their_marks_are_there() {
    for kind in KINDS {
        let bench = bench(kind).await;
        let issue = issue(&bench).await;
        let moves = async || bench.platform.moves(&issue, clock::now()).await.unwrap();
        assert_eq!(moves().await, Moves::default());
        remote(bench.carry_out(&transition("start-progress", "")).await);
        bench.post("issues", json!({ "key": "ABC-1", "status": "In Review", "by": "agent" })).await;
        bench.post("issues", json!({ "key": "ABC-1", "status": "To Do", "by": "bob" })).await;
        assert_eq!(moves().await, Moves { marked: 1, unmarked: 1 });
    }
}
