//! Every kind of repository and everything that can happen to refs: the right entities, once, or a clear line.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::direct::feed;
use crate::harness::{Repository, World, success, wait_until, wait_until_or};
use crate::hook::{CALM, calm_world, is_root, met, skipped};

/// A repository of a special kind, pushed to from a clone of it that has the same kind.
#[track_caller]
fn check_kind(options: &[&str], remedy: &str) {
    let world = calm_world();
    let daemon = world.daemon();
    let repository = world.plain_repository("tool", options);
    world.agent_says(&["install", repository.path.to_str().unwrap()]);
    let clone = world.clone_of(&repository, "work");
    let first = clone.commit("ABC-1 begin");
    let answer = clone.push(&["origin", "HEAD:main", "HEAD:ABC-2-x"]);
    assert!(answer.contains("1 commit, 1 branch queued for Jira"), "{remedy}: {answer}");
    let second = clone.commit("ABC-3 go on");
    clone.push(&["origin", "HEAD:main", ":ABC-2-x"]);
    world.wait_for_jira(2, 0);
    world.wait_for_owed("commit", &[&first, &second]);
    // What no hook saw is found by comparing refs, and what a hook told is not found again.
    repository.git(&["update-ref", "refs/heads/ABC-4-y", &first]);
    let _daemon = world.restarted(daemon);
    world.wait_for_owed("branch", &["ABC-2-x", "ABC-4-y"]);
    world.wait_until_idle();
    let found = world.events().iter().filter(|event| event["kind"] == "found").count();
    assert_eq!(found, 1, "{:?}", world.events());
}

#[test]
fn b18_h07_a_sha256_repository_is_read_like_any_other() {
    check_kind(&["--object-format=sha256"], "ids of 64 digits");
}

#[test]
fn b18_h07_a_reftable_repository_is_read_like_any_other() {
    let world = calm_world();
    let probe = world.folder.join("probe");
    let known = world.command("git").args(["init", "--quiet", "--ref-format=reftable"]).arg(probe).output().unwrap();
    if !known.status.success() {
        return skipped("this git knows no reftable");
    }
    check_kind(&["--ref-format=reftable"], "refs in tables");
}

#[test]
fn b18_h07_a_repository_that_borrows_objects_is_read_with_them() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (lender, clone, first) = met(&world, "lender");
    let path = world.folder.join("repositories/borrower.git");
    success(world.command("git").args(["clone", "--quiet", "--bare", "--shared"]).args([&lender.path, &path]));
    world.agent_says(&["install", path.to_str().unwrap()]);
    let second = clone.commit("ABC-2 beside");
    let answer = clone.push(&[path.to_str().unwrap(), "HEAD:main"]);
    assert!(answer.contains("1 commit queued for Jira"), "{answer}");
    world.wait_for_owed("commit", &[&first, &second]);
}

#[test]
fn b18_f68_h07_a_shallow_repository_reports_what_is_pushed_and_what_is_missing_stops_nothing() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (origin, clone, first) = met(&world, "origin");
    let second = clone.commit("ABC-2 the boundary");
    clone.push(&["origin", "HEAD:main"]);
    let path = world.folder.join("repositories/shallow.git");
    let address = format!("file://{}", origin.path.display());
    success(world.command("git").args(["clone", "--quiet", "--bare", "--depth=1", &address]).arg(&path));
    world.agent_says(&["install", path.to_str().unwrap()]);
    let third = clone.commit("ABC-3 beyond");
    let answer = clone.push(&[path.to_str().unwrap(), "HEAD:main", "HEAD:ABC-5"]);
    assert!(answer.contains("1 commit, 1 branch queued for Jira"), "{answer}");
    world.wait_for_owed("commit", &[&first, &second, &third]);
}

#[test]
fn b18_f68_h07_a_partial_clone_as_server_is_never_made_to_fetch() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (origin, clone, first) = met(&world, "origin");
    origin.git(&["config", "uploadpack.allowFilter", "true"]);
    let path = world.folder.join("repositories/partial.git");
    let address = format!("file://{}", origin.path.display());
    success(world.command("git").args(["clone", "--quiet", "--bare", "--filter=blob:none", &address]).arg(&path));
    let partial = Repository { world: &world, path };
    let missing = || partial.git(&["rev-list", "--objects", "--all", "--missing=print"]).matches('?').count();
    assert!(missing() > 0);
    world.agent_says(&["install", partial.path.to_str().unwrap()]);
    let second = clone.commit("ABC-2 over what is missing");
    let before = missing();
    let answer = clone.push(&[partial.path.to_str().unwrap(), "HEAD:main"]);
    assert!(answer.contains("1 commit queued for Jira"), "{answer}");
    world.wait_for_owed("commit", &[&first, &second]);
    world.wait_until_idle();
    assert!(missing() <= before && missing() > 0, "{} of {before}", missing());
}

#[test]
fn f68_a_repository_that_lost_objects_is_reported_and_does_not_hold_others_up() {
    let world = World::with("projects = [\"ABC\"]\n", &format!("{CALM}commits = 1\n"));
    let mut daemon = world.daemon();
    let (broken, clone, first) = met(&world, "broken");
    daemon.stop();
    let lost = clone.commit("ABC-2 lost");
    let tip = clone.commit("ABC-3 on top");
    clone.push(&["origin", "HEAD:main"]);
    let object = broken.path.join("objects").join(&lost[..2]).join(&lost[2..]);
    fs::remove_file(object).unwrap();
    let whole = world.repository("whole");
    let other = world.clone_of(&whole, "whole");
    let beside = other.commit("ABC-4 beside");
    other.push(&["origin", "HEAD:main"]);
    let _daemon = world.daemon();
    world.wait_for_owed("commit", &[&first, &tip, &beside]);
    wait_until_or(
        "the trouble is told",
        || {
            let status = world.status();
            let rows = status["repositories"].as_array().unwrap().clone();
            rows.iter().any(|row| row["trouble"].to_string().contains("missing"))
        },
        || world.status().to_string(),
    );
}

#[test]
fn b18_h07_a_push_into_a_namespace_is_answered_clearly_and_never_mistaken_for_another_ref() {
    let world = calm_world();
    let daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    clone.commit("ABC-2 elsewhere");
    let mut push = clone.command(&[
        "push",
        "--receive-pack=env GIT_NAMESPACE=fork git receive-pack",
        "origin",
        "HEAD:main",
        "HEAD:ABC-5",
    ]);
    let output = push.output().unwrap();
    let answer = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{answer}");
    assert!(answer.contains("namespace"), "{answer}");
    let names = repository.git(&["for-each-ref", "--format=%(refname)"]);
    assert!(names.contains("refs/namespaces/fork/refs/heads/main"), "{names}");
    let _daemon = world.restarted(daemon);
    world.wait_until_idle();
    world.wait_for_owed("commit", &[&first]);
    world.wait_for_owed("branch", &[]);
}

#[test]
fn h08_a_repository_of_another_user_is_read_by_the_daemon_and_by_whoever_pushes() {
    let world = calm_world();
    if !is_root() || world.command("setpriv").arg("--version").output().is_err() {
        return skipped("another user cannot be taken on without root and setpriv");
    }
    let daemon = world.daemon();
    let repository = world.repository("tool");
    for path in [&world.folder, &world.folder.join("repositories")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let clone = world.clone_of(&repository, "work");
    success(world.command("chown").args(["-R", "12345:12345"]).arg(&repository.path));
    fs::set_permissions(world.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    let first = clone.commit("ABC-1 begin");
    let owner = "--receive-pack=setpriv --reuid=12345 --regid=12345 --clear-groups git receive-pack";
    let answer = clone.push(&[owner, "origin", "HEAD:main"]);
    assert!(answer.contains("1 commit queued for Jira"), "{answer}");
    world.wait_for_owed("commit", &[&first]);
    // Somebody else pushes, whom the repository's owner let in, and git was told to trust it.
    fs::write(world.folder.join("home/.gitconfig"), "[safe]\n\tdirectory = *\n").unwrap();
    let second = clone.commit("ABC-2 go on");
    let answer = clone.push(&["origin", "HEAD:main", "HEAD:new"]);
    assert!(answer.contains("1 commit queued for Jira"), "{answer}");
    world.wait_for_owed("commit", &[&first, &second]);
    repository.git(&["update-ref", "refs/heads/ABC-4-y", &first]);
    let _daemon = world.restarted(daemon);
    world.wait_for_owed("branch", &["ABC-4-y"]);
}

#[test]
fn f64_f65_branches_and_tags_that_come_move_and_go_leave_what_is_true_and_repeat_nothing() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (_repository, clone, first) = met(&world, "tool");
    let second = clone.commit("ABC-2 to be replaced");
    clone.push(&["origin", "HEAD:main", "HEAD:ABC-5"]);
    clone.git(&["reset", "--quiet", "--hard", &first]);
    let third = clone.commit("ABC-3 instead");
    clone.push(&["--force", "origin", "HEAD:main", "HEAD:ABC-5"]);
    let all = [first.as_str(), second.as_str(), third.as_str()];
    world.wait_for_owed("commit", &all);
    world.wait_for_jira(3, 1);
    wait_until("the branch shows where it was forced to", || {
        let branches = crate::harness::shown(&world.sandbox.state(), "branches");
        branches[0]["data"]["lastCommit"]["id"] == third.as_str()
    });
    let sequences = || world.queue(&[]).iter().map(|row| row["sequence"].as_i64().unwrap()).max();
    let told = sequences();
    // All of history under a new name, tags that come, move and go: nothing is new.
    clone.git(&["tag", "v1", &first]);
    clone.git(&["tag", "-a", "-m", "ABC-9 in a tag", "v2", &second]);
    clone.push(&["origin", "HEAD:renamed", "v1", "v2"]);
    clone.git(&["tag", "-f", "v1", &third]);
    clone.push(&["--force", "origin", "v1"]);
    clone.push(&["origin", ":renamed", ":v1", ":v2"]);
    world.wait_until_idle();
    world.wait_for_owed("commit", &all);
    assert_eq!(sequences(), told);
    clone.push(&["origin", ":ABC-5"]);
    world.wait_for_jira(3, 0);
}

#[test]
fn f65_a_merge_brings_the_commits_of_its_other_side_once() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (_repository, clone, first) = met(&world, "tool");
    clone.git(&["checkout", "--quiet", "-b", "side"]);
    let beside = clone.commit("ABC-2 beside");
    clone.push(&["origin", "side"]);
    let unseen = clone.commit("ABC-3 not pushed on its own");
    clone.git(&["checkout", "--quiet", "-"]);
    clone.git(&["merge", "--quiet", "--no-ff", "-m", "ABC-4 join", "side"]);
    let merge = clone.git(&["rev-parse", "HEAD"]);
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("jira: 2 commits queued"), "{answer}");
    world.wait_for_owed("commit", &[&first, &beside, &unseen, &merge]);
}

#[test]
fn h06_a_push_through_an_alias_and_a_mirror_that_fetches_end_where_the_refs_are() {
    let world = calm_world();
    let daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    repository.git(&["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    let second = clone.commit("ABC-2 by another name");
    clone.push(&["origin", "HEAD:alias"]);
    world.wait_for_owed("commit", &[&first, &second]);
    let third = clone.commit("ABC-3 fetched");
    clone.git(&["branch", "ABC-6"]);
    let main = clone.git(&["symbolic-ref", "HEAD"]);
    let address = clone.path.to_str().unwrap();
    repository.git(&[
        "fetch",
        "--quiet",
        address,
        &format!("+{main}:refs/heads/main"),
        "+refs/heads/ABC-6:refs/heads/ABC-6",
    ]);
    let daemon = world.restarted(daemon);
    world.wait_for_owed("commit", &[&first, &second, &third]);
    world.wait_for_jira(3, 1);
    repository.git(&["update-ref", "-d", "refs/heads/ABC-6"]);
    let _daemon = world.restarted(daemon);
    world.wait_for_jira(3, 0);
}

#[test]
fn f70_s11_h13_odd_names_of_refs_are_bytes_from_end_to_end() {
    let world = calm_world();
    let daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let mut names: Vec<Vec<u8>> =
        ["ABC-1;rm -rf", "ABC-1$(id)", "ABC-1'\"`x`", "x/--upload-pack=ABC-1", "ABC-1\u{202e}bidi", "ABC-1/ünï"]
            .iter()
            .map(|name| name.replace(' ', "_").into_bytes())
            .collect();
    names.push(b"ABC-1-\xff\xfe".to_vec());
    names.push([b"ABC-1/".as_slice(), &[b'n'; 200]].concat());
    let mut input = Vec::new();
    let mut push = clone.command(&["push", "origin"]);
    for name in &names {
        let full = [b"refs/heads/".as_slice(), name].concat();
        input.extend_from_slice(&[b"create ".as_slice(), &full, b"\0", first.as_bytes(), b"\0"].concat());
        push.arg(OsStr::from_bytes(&[b"HEAD:".as_slice(), &full].concat()));
    }
    // The odd ones come as a push, and the same ones behind the hook's back.
    let output = push.output().unwrap();
    let answer = output.stderr.clone();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&answer));
    let ours: Vec<&[u8]> = answer.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"remote:")).collect();
    assert!(ours.concat().is_ascii() && !ours.concat().contains(&0x1b), "{}", String::from_utf8_lossy(&answer));
    wait_until("all are owed", || world.owed("branch").len() == names.len());
    let (other, _clone, _) = (world.repository("other"), (), ());
    let pushed = world.clone_of(&repository, "second");
    pushed.push(&[other.path.to_str().unwrap(), "origin/main:refs/heads/main"]);
    world.wait_until_idle();
    let fed = feed(&mut other.command(&["update-ref", "-z", "--stdin"]), &input);
    assert!(fed.status.success(), "{}", String::from_utf8_lossy(&fed.stderr));
    let _daemon = world.restarted(daemon);
    wait_until("all are owed", || world.owed("branch").len() == 2 * names.len());
    wait_until_or(
        "all are told",
        || crate::harness::shown(&world.sandbox.state(), "branches").len() == 2 * names.len(),
        || world.log(),
    );
    assert!(world.log().is_ascii() || !world.log().contains('\u{202e}'));
}

#[test]
fn f69_h13_messages_in_any_encoding_and_size_are_read_for_keys() {
    let world = calm_world();
    let daemon = world.daemon();
    let (_repository, clone, first) = met(&world, "tool");
    let commit = |message: &[u8], encoding: &str| {
        let file = clone.path.with_file_name("message");
        fs::write(&file, message).unwrap();
        let setting = format!("i18n.commitEncoding={encoding}");
        clone.git(&[
            "-c",
            &setting,
            "commit",
            "--quiet",
            "--allow-empty",
            "--cleanup=verbatim",
            "-F",
            file.to_str().unwrap(),
        ]);
        clone.git(&["rev-parse", "HEAD"])
    };
    let latin = commit(b"ABC-2 gr\xfc\xdfe", "ISO-8859-1");
    let broken = commit(b"ABC-3 \xff\xfe broken", "UTF-8");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_jira(3, 0);
    let texts: Vec<String> = crate::harness::shown(&world.sandbox.state(), "commits")
        .iter()
        .map(|one| one["data"]["message"].to_string())
        .collect();
    assert!(texts.iter().any(|text| text.contains("grüße")), "{texts:?}");
    let many: String = (1..=10_000).map(|number| format!("ABC-{number} ")).collect();
    let many = commit(many.as_bytes(), "UTF-8");
    clone.push(&["origin", "HEAD:main"]);
    let lines = commit(format!("ABC-4 a million lines\n{}", "\n".repeat(1_000_000)).as_bytes(), "UTF-8");
    clone.push(&["origin", "HEAD:main"]);
    let giant = commit(format!("ABC-5 {}", "x ".repeat(5 << 20)).as_bytes(), "UTF-8");
    clone.push(&["origin", "HEAD:main"]);
    // What a hook had no time for is found.
    let _daemon = world.restarted(daemon);
    world.wait_for_owed("commit", &[&first, &latin, &broken, &many, &lines, &giant]);
    let rows = world.queue(&[]);
    let row = rows.iter().find(|row| row["id"] == many.as_str()).unwrap();
    assert_eq!(row["keys"].as_array().unwrap().len(), 100);
}

#[test]
fn h04_one_commit_among_a_hundred_thousand_refs_is_answered_in_time() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let mut packed = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    for number in 0..100_000 {
        packed += &format!("{first} refs/tags/t{number:06}\n");
    }
    repository.git(&["pack-refs", "--all"]);
    let heads = fs::read_to_string(repository.path.join("packed-refs")).unwrap();
    let (comment, heads) = heads.split_once('\n').unwrap();
    let tags = packed.split_once('\n').unwrap().1;
    fs::write(repository.path.join("packed-refs"), format!("{comment}\n{heads}{tags}")).unwrap();
    // Also when the record of what was told has to be made anew from all of them.
    fs::remove_file(repository.path.join("agent/told")).unwrap();
    let second = clone.commit("ABC-2 one more");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("jira: 1 commit queued for Jira"), "{answer}");
    let third = clone.commit("ABC-3 and another");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("jira: 1 commit queued for Jira"), "{answer}");
    world.wait_for_owed("commit", &[&first, &second, &third]);
}

#[test]
fn h04_a_push_of_a_thousand_refs_is_one_event() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (_repository, clone, _first) = met(&world, "tool");
    let second = clone.commit("ABC-2 everywhere");
    let input: String = (0..1_000).map(|number| format!("create refs/heads/ABC-3-b{number} {second}\n")).collect();
    assert!(feed(&mut clone.command(&["update-ref", "--stdin"]), input.as_bytes()).status.success());
    let answer = clone.push(&["--quiet", "origin", "refs/heads/ABC-3-*:refs/heads/ABC-3-*"]);
    assert!(answer.contains("1 commit, 1000 branches queued for Jira"), "{answer}");
    wait_until("all branches are owed", || world.owed("branch").len() == 1_000);
    assert_eq!(world.events().len(), 2);
}

#[test]
fn h03_racing_pushes_with_the_same_commit_tell_it_and_lose_nothing() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let other = world.clone_of(&repository, "other");
    let mut expected = vec![first];
    for round in 0..6 {
        expected.push(clone.commit(&format!("ABC-2 round {round}")));
        other.git(&["fetch", "--quiet", clone.path.to_str().unwrap(), "HEAD"]);
        std::thread::scope(|scope| {
            scope.spawn(|| clone.push(&["origin", &format!("HEAD:refs/heads/left-{round}")]));
            scope.spawn(|| other.push(&["origin", &format!("FETCH_HEAD:refs/heads/right-{round}")]));
        });
    }
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    world.wait_for_owed("commit", &expected);
    world.wait_for_jira(expected.len(), 0);
}

#[test]
fn f72_collecting_garbage_all_the_while_hides_no_commit() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let mut expected = vec![first];
    std::thread::scope(|scope| {
        let pushing = scope.spawn(|| {
            let mut commits = Vec::new();
            for _ in 0..10 {
                commits.extend((0..3).map(|_| clone.commit("ABC-2 among the garbage")));
                // Git itself may find a folder of objects taken away under it.
                wait_until("git takes the push", || clone.try_push(&["origin", "HEAD:main"]).status.success());
            }
            commits
        });
        while !pushing.is_finished() {
            // It may find a push in its way; then it tries again.
            let _ = repository.command(&["-c", "gc.pruneExpire=1.hour.ago", "gc", "--quiet"]).output();
            let _ = repository.command(&["repack", "-a", "-d", "-f", "--quiet"]).output();
        }
        expected.extend(pushing.join().unwrap());
    });
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    world.wait_for_owed("commit", &expected);
}

/// How Jira knows the repository that has this commit.
fn identity(world: &World, commit: &str) -> String {
    let rows = world.queue(&["--limit", "1000"]);
    let row = rows.iter().rfind(|row| row["id"] == commit).unwrap();
    row["repository"].as_str().unwrap().to_owned()
}

#[test]
fn f67_a_repository_that_moves_keeps_its_identity_and_one_made_anew_in_its_place_gets_its_own() {
    let world = calm_world();
    let daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    clone.push(&["origin", "HEAD:ABC-5-stays"]);
    let moved = repository.path.with_file_name("moved.git");
    fs::rename(&repository.path, &moved).unwrap();
    let anew = world.repository("tool");
    let other = world.clone_of(&anew, "anew");
    let second = other.commit("ABC-2 another story");
    other.push(&["origin", "HEAD:main"]);
    world.wait_for_owed("commit", &[&first, &second]);
    assert_ne!(identity(&world, &first), identity(&world, &second));
    // The comparison of refs does not take the one for the other, and follows the one that moved.
    let _daemon = world.restarted(daemon);
    wait_until_or(
        "it is followed",
        || world.status()["repositories"].to_string().contains("moved.git"),
        || world.status().to_string(),
    );
    world.wait_for_jira(2, 1);
    let third = clone.commit("ABC-3 elsewhere");
    clone.push(&[moved.to_str().unwrap(), "HEAD:main"]);
    world.wait_for_owed("commit", &[&first, &second, &third]);
    assert_eq!(identity(&world, &first), identity(&world, &third));
    assert!(world.events().iter().all(|event| event["kind"] == "push"), "{:?}", world.events());
}

#[test]
fn f66_a_repository_deleted_before_it_was_read_still_gives_what_its_hook_told() {
    let world = calm_world();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let commit = clone.commit("ABC-1 the last");
    clone.push(&["origin", "HEAD:main", "HEAD:ABC-2"]);
    fs::remove_dir_all(&repository.path).unwrap();
    let _daemon = world.daemon();
    world.wait_for_owed("commit", &[&commit]);
    world.wait_for_owed("branch", &["ABC-2"]);
    world.wait_until_idle();
}

#[test]
fn f64_refs_moved_behind_the_hooks_back_are_found_at_the_next_comparison() {
    let world = calm_world();
    let daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    clone.push(&["origin", "HEAD:ABC-5-gone"]);
    let second = clone.commit("ABC-2 unseen");
    push_unseen(&clone, &["origin", "HEAD:main", "HEAD:ABC-6-new", ":ABC-5-gone"]);
    assert_eq!(repository.git(&["rev-parse", "main"]), second);
    let daemon = world.restarted(daemon);
    world.wait_for_owed("commit", &[&first, &second]);
    world.wait_for_jira(2, 1);
    world.wait_until_idle();
    let _daemon = world.restarted(daemon);
    world.wait_until_idle();
    assert_eq!(world.events().iter().filter(|event| event["kind"] == "found").count(), 1);
}

/// Pushes past the hooks of the repository.
fn push_unseen(clone: &Repository<'_>, arguments: &[&str]) {
    clone.push(&[&["--receive-pack=git -c core.hooksPath=/dev/null receive-pack"], arguments].concat());
}

#[test]
fn h14_names_that_differ_in_case_and_a_repository_that_begins_empty_are_told_apart() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (lower, upper) = (world.repository("case"), world.repository("Case"));
    let mut ids = Vec::new();
    for (name, repository) in [("lower", &lower), ("upper", &upper)] {
        let clone = world.clone_of(repository, name);
        ids.push(clone.commit(&format!("ABC-1 in {name}")));
        clone.push(&["origin", "HEAD:refs/heads/master"]);
    }
    world.wait_for_owed("commit", &[&ids[0], &ids[1]]);
    assert_ne!(identity(&world, &ids[0]), identity(&world, &ids[1]));
    assert!(Path::new(&lower.path).exists());
}
