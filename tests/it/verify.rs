//! Jira laid beside Git: what differs is counted, and told to Jira where that is asked, and nothing else.

use serde_json::{Value, json};

use crate::direct::feed;
use crate::harness::{World, shown, wait_until_or};
use crate::hook::{calm_world, met};

/// `agent verify --json` with further arguments, for a world with one repository: whether all is well, and the answer.
#[track_caller]
fn verify(world: &World, arguments: &[&str]) -> (bool, Value) {
    let output = world.agent(&[&["verify", "--json"], arguments].concat()).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}\n{}", String::from_utf8_lossy(&output.stderr), world.log()));
    assert_eq!(answer.as_array().unwrap().len(), 1, "{answer}");
    (output.status.success(), answer[0].clone())
}

/// Checks how many are missing, stale and superfluous.
#[track_caller]
fn check(world: &World, arguments: &[&str], expected: [u64; 3]) -> Value {
    let (well, found) = verify(world, arguments);
    let counts = ["missing", "stale", "superfluous"].map(|what| found[what]["count"].as_u64().unwrap());
    assert_eq!(counts, expected, "{found}");
    assert_eq!(well, expected == [0; 3] || arguments.contains(&"--repair"), "{found}");
    found
}

/// How many requests told Jira something.
fn told(world: &World) -> usize {
    world.sandbox.requests("/bulk").len()
}

#[test]
fn h12_what_jira_lost_or_has_too_much_is_found_and_told_and_nothing_else() {
    let world = calm_world();
    let mut config = std::fs::OpenOptions::new().append(true).open(world.config()).unwrap();
    std::io::Write::write_all(&mut config, b"forget_rewritten = \"never\"\n").unwrap();
    let _daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let second = clone.commit("ABC-2 to be lost");
    let third = clone.commit("ABC-3 to be left behind");
    clone.push(&["origin", "HEAD:main", &format!("{first}:refs/heads/ABC-5")]);
    world.wait_for_jira(3, 1);
    let found = check(&world, &[], [0, 0, 0]);
    assert_eq!((&found["told"], &found["asked"]), (&json!(4), &json!("Jira told all it holds")));
    // Lost in Jira.
    world.sandbox.lose(&[&second, "ABC-5"]);
    let found = check(&world, &[repository.path.to_str().unwrap()], [2, 0, 0]);
    assert_eq!(found["missing"]["first"], second.as_str());
    world.wait_for_jira(2, 0);
    let before = told(&world);
    let found = check(&world, &["--repair", "--account", "main"], [2, 0, 0]);
    assert_eq!(found["repaired"], 2);
    world.wait_for_jira(3, 1);
    assert_eq!(told(&world), before + 1);
    check(&world, &[], [0, 0, 0]);
    // Moved behind the hook's back, and left behind by a forced update.
    repository.git(&["update-ref", "refs/heads/ABC-5", &second]);
    clone.push(&["--force", "origin", &format!("{second}:main")]);
    world.wait_until_idle();
    let found = check(&world, &["--repair"], [0, 1, 1]);
    assert_eq!((&found["stale"]["first"], &found["superfluous"]["first"]), (&json!("ABC-5"), &json!(third)));
    world.wait_for_jira(2, 1);
    let branch = shown(&world.sandbox.state(), "branches").remove(0);
    assert_eq!(branch["data"]["lastCommit"]["id"], second.as_str());
    check(&world, &[], [0, 0, 0]);
    let words = world.agent_says(&["verify"]);
    assert!(words.contains("3 told") && words.contains("0 superfluous"), "{words}");
    // What cannot be meant, or cannot be asked, is said.
    let unknown = world.agent(&["verify", "/no/such.git"]).output().unwrap();
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no repository"), "{unknown:?}");
    world.sandbox.misbehave(json!([{"on": "any", "act": {"status": {"code": 500}}}]));
    let found = check(&world, &[], [0, 0, 0]);
    assert!(found["asked"].as_str().unwrap().starts_with("Jira was not asked"), "{found}");
}

#[test]
fn h12_of_a_large_repository_only_what_jira_tells_is_said_to_be_missing() {
    const MANY: usize = 450;
    let world = calm_world();
    let _daemon = world.daemon();
    let (repository, clone, _first) = met(&world, "tool");
    let mut stream = String::new();
    for number in 0..MANY {
        stream += &format!("commit refs/heads/many\ncommitter C <c@example.org> {} +0000\n", 1_700_000_000 + number);
        stream += &format!("data 9\nABC-1 {number:03}\nM 644 inline f\ndata 3\n{number:03}\n\n");
    }
    assert!(feed(&mut clone.command(&["fast-import", "--quiet"]), stream.as_bytes()).status.success());
    clone.push(&["origin", "many"]);
    world.wait_for_jira(MANY + 1, 0);
    let mut all: Vec<(i64, String)> = shown(&world.sandbox.state(), "commits")
        .iter()
        .map(|one| (one["updateSequenceId"].as_i64().unwrap(), one["data"]["id"].as_str().unwrap().to_owned()))
        .collect();
    all.sort();
    let (oldest, newest) = (&all[0].1, &all[MANY - 5].1);
    world.sandbox.lose(&[oldest, newest]);
    let found = check(&world, &["--repair", repository.path.to_str().unwrap()], [1, 0, 0]);
    assert_eq!(found["missing"]["first"], newest.as_str());
    assert_eq!(found["asked"], "Jira told its newest 400 entities");
    wait_until_or(
        "it is told again",
        || shown(&world.sandbox.state(), "commits").iter().any(|one| one["data"]["id"] == newest.as_str()),
        || world.log(),
    );
}
