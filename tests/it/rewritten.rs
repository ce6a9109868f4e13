//! Jira keeps in step with what refs leave behind: rewritten commits leave the panel, and come back with their branch.

use std::io::Write;

use crate::clock::Clock;
use crate::harness::{Repository, World, shown, wait_until_or};
use crate::hook::{calm_world, met, skipped};

/// A world where commits that nothing reaches are forgotten after this time.
fn forgetting(after: &str) -> World {
    let world = calm_world();
    let mut config = std::fs::OpenOptions::new().append(true).open(world.config()).unwrap();
    writeln!(config, "forget_rewritten = \"{after}\"").unwrap();
    world
}

/// Waits until Jira shows exactly these commits.
#[track_caller]
fn wait_for_shown(world: &World, commits: &[&str]) {
    let mut expected: Vec<&str> = commits.to_vec();
    expected.sort_unstable();
    let mut ids = Vec::new();
    let now = |world: &World| {
        let state = world.sandbox.state();
        let commits = shown(&state, "commits");
        let mut ids: Vec<String> = commits.iter().map(|one| one["data"]["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        (state["pending"] == 0, ids)
    };
    wait_until_or(
        "Jira shows these commits",
        || {
            let (settled, found) = now(world);
            ids = found;
            settled && ids == expected
        },
        || format!("{:?} instead of {expected:?}\n{}", now(world).1, world.log()),
    );
}

/// Waits until every move of a ref was looked into.
#[track_caller]
fn wait_until_looked_into(world: &World) {
    let moves = || {
        let store = rusqlite::Connection::open(world.state().join("queue.db")).unwrap();
        store.query_row("SELECT count(*) FROM moved", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    wait_until_or("all is looked into", || moves() == 0, || world.log());
    world.wait_until_idle();
}

fn deletions(world: &World) -> usize {
    world.sandbox.requests("/commit/").len()
}

#[test]
fn c10_c9_f64_what_a_forced_update_or_a_deleted_branch_leaves_behind_leaves_the_panel_and_comes_back() {
    let world = forgetting("0 seconds");
    let _daemon = world.daemon();
    let (_repository, clone, first) = met(&world, "tool");
    let second = clone.commit("ABC-2 soon rewritten");
    let third = clone.commit("ABC-3 as well");
    clone.push(&["origin", "HEAD:main"]);
    wait_for_shown(&world, &[&first, &second, &third]);
    clone.git(&["reset", "--quiet", "--hard", &first]);
    let anew = clone.commit("ABC-2 rewritten");
    clone.push(&["--force", "origin", "HEAD:main"]);
    wait_for_shown(&world, &[&first, &anew]);
    assert!(world.agent_says(&["why", &third]).contains("forget"), "{}", world.agent_says(&["why", &third]));
    // What comes back is told again, with its issue and its files, and what it replaced goes.
    clone.push(&["--force", "origin", &format!("{third}:main")]);
    wait_for_shown(&world, &[&first, &second, &third]);
    let back = shown(&world.sandbox.state(), "commits").into_iter().find(|one| one["data"]["id"] == third.as_str());
    let back = back.unwrap();
    assert_eq!((&back["keys"][0], &back["data"]["fileCount"]), (&"ABC-3".into(), &1.into()));
    // A branch that is deleted takes along only what nothing else reaches.
    clone.git(&["reset", "--quiet", "--hard", &third]);
    let beside = clone.commit("ABC-4 on a branch");
    clone.push(&["origin", "HEAD:refs/heads/side"]);
    wait_for_shown(&world, &[&first, &second, &third, &beside]);
    clone.push(&["origin", ":side"]);
    wait_for_shown(&world, &[&first, &second, &third]);
    wait_until_looked_into(&world);
    assert_eq!(deletions(&world), 4);
}

#[test]
fn c10_c11_a_tag_a_merge_or_another_branch_keeps_a_commit_and_a_pick_keeps_only_itself() {
    let world = forgetting("0 seconds");
    let _daemon = world.daemon();
    let (_repository, clone, first) = met(&world, "tool");
    let merged = clone.commit("ABC-2 merged");
    let tagged = clone.commit("ABC-3 tagged");
    let picked = clone.commit("ABC-4 picked");
    clone.push(&["origin", "HEAD:topic", "HEAD:refs/heads/other"]);
    clone.git(&["tag", "-a", "-m", "keeps it", "v1", &tagged]);
    clone.push(&["origin", "v1"]);
    clone.git(&["reset", "--quiet", "--hard", &first]);
    let main = clone.commit("ABC-5 goes on");
    clone.git(&["merge", "--quiet", "--no-ff", "-m", "ABC-6 join", "-X", "theirs", &merged]);
    let join = clone.git(&["rev-parse", "HEAD"]);
    clone.git(&["cherry-pick", "-X", "theirs", &picked]);
    let copy = clone.git(&["rev-parse", "HEAD"]);
    clone.push(&["origin", "HEAD:main"]);
    let kept = [first.as_str(), &merged, &tagged, &main, &join, &copy];
    let all = [&kept[..], &[&picked]].concat();
    wait_for_shown(&world, &all);
    clone.push(&["origin", ":topic"]);
    wait_until_looked_into(&world);
    wait_for_shown(&world, &all);
    clone.push(&["origin", ":other"]);
    wait_for_shown(&world, &kept);
    clone.push(&["origin", ":v1"]);
    wait_for_shown(&world, &[&first, &merged, &main, &join, &copy]);
    wait_until_looked_into(&world);
    assert_eq!(deletions(&world), 2);
}

#[test]
fn c10_f28_a_daemon_that_was_away_or_killed_finds_what_was_left_and_says_so_once() {
    let world = forgetting("0 seconds");
    let mut daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let second = clone.commit("ABC-2 left behind the hook's back");
    clone.push(&["origin", "HEAD:main"]);
    wait_for_shown(&world, &[&first, &second]);
    daemon.process.kill();
    repository.git(&["update-ref", "refs/heads/main", &first]);
    let mut daemon = world.daemon();
    wait_for_shown(&world, &[&first]);
    daemon.process.kill();
    repository.git(&["update-ref", "refs/heads/main", &second]);
    let daemon = world.daemon();
    wait_for_shown(&world, &[&first, &second]);
    wait_until_looked_into(&world);
    let _daemon = world.restarted(daemon);
    wait_until_looked_into(&world);
    assert_eq!(deletions(&world), 1);
}

#[test]
fn c10_a_rewrite_that_is_taken_back_in_time_is_no_news_and_nothing_is_forgotten_where_it_says_never() {
    let world = forgetting("10 minutes");
    let Some((clock, _daemon)) = Clock::of_day(&world) else { return skipped("no clock can be moved here") };
    let (_repository, clone, first) = met(&world, "tool");
    let second = clone.commit("ABC-2 left and taken up");
    clone.push(&["origin", "HEAD:main"]);
    clone.push(&["--force", "origin", &format!("{first}:main")]);
    clone.push(&["origin", "HEAD:main"]);
    let third = clone.commit("ABC-3 left for good");
    clone.push(&["origin", "HEAD:main"]);
    clone.push(&["--force", "origin", &format!("{second}:main")]);
    wait_for_shown(&world, &[&first, &second, &third]);
    clock.set("+11m");
    wait_for_shown(&world, &[&first, &second]);
    wait_until_looked_into(&world);
    assert_eq!(deletions(&world), 1);

    let world = forgetting("never");
    let _daemon = world.daemon();
    let (_repository, clone, first) = met(&world, "tool");
    let second = clone.commit("ABC-2 stays");
    clone.push(&["origin", "HEAD:main"]);
    clone.push(&["--force", "origin", &format!("{first}:main")]);
    world.wait_until_idle();
    wait_until_looked_into(&world);
    wait_for_shown(&world, &[&first, &second]);
}

/// Commits that many one after the other on a branch, without a working tree.
fn import(repository: &Repository<'_>, branch: &str, from: Option<&str>, count: usize) {
    let mut stream = String::new();
    for number in 0..count {
        let message = format!("ABC-{} on {branch} {number}", number % 9 + 1);
        stream +=
            &format!("commit refs/heads/{branch}\ncommitter C <c@example.org> {} +0000\n", 1_700_000_000 - number);
        stream += &format!("data {}\n{message}\n", message.len());
        if let Some(from) = from.filter(|_| number == 0) {
            stream += &format!("from {from}\n");
        }
        stream += &format!("M 644 inline f\ndata {}\n{message}\n\n", message.len());
    }
    let fed = crate::direct::feed(&mut repository.command(&["fast-import", "--quiet", "--force"]), stream.as_bytes());
    assert!(fed.status.success(), "{}", String::from_utf8_lossy(&fed.stderr));
}

#[test]
fn c10_f62_a_rewrite_of_a_long_history_with_clocks_that_lie_is_told_exactly_and_other_pushes_pass() {
    const LONG: usize = 2_000;
    let world = forgetting("0 seconds");
    let _daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    import(&clone, "long", Some(&first), LONG);
    clone.push(&["origin", "long"]);
    world.wait_for_jira(LONG + 1, 0);
    // The first third lives on in another branch.
    clone.push(&["origin", &format!("long~{}:refs/heads/third", LONG - LONG / 3)]);
    import(&clone, "anew", Some(&first), LONG / 2);
    clone.push(&["--force", "origin", "anew:long"]);
    let beside = clone.commit("ABC-9 beside");
    clone.push(&["origin", "HEAD:main"]);
    wait_until_or(
        "what came beside is shown",
        || shown(&world.sandbox.state(), "commits").iter().any(|one| one["data"]["id"] == beside.as_str()),
        || world.log(),
    );
    let listed = repository.git(&["rev-list", "--all"]);
    wait_for_shown(&world, &listed.lines().collect::<Vec<_>>());
    wait_until_looked_into(&world);
    let removed = world.sandbox.state()["removed"].as_object().unwrap().len();
    assert_eq!(removed, LONG - LONG / 3);
}
