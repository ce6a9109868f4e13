//! What a commit starts in a clone with hooks, and that a push is told all the same.

use std::fs;
use std::path::PathBuf;

use crate::harness::{Repository, World, gits, success, wait_until};
use crate::hook::{calm_world, write_script};
use crate::uninstall::tree;

/// A clone with hooks and one commit that names an issue.
fn clone(world: &World) -> Repository<'_> {
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "tool");
    world.agent_says(&["install", clone.path.to_str().unwrap()]);
    clone.commit("ABC-1 begin");
    clone
}

/// The hooks that Git started for a command, by its own trace.
#[track_caller]
fn started(clone: &Repository<'_>, arguments: &[&str]) -> Vec<String> {
    let output = clone.command(arguments).env("GIT_TRACE", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let runs = said.lines().filter_map(|line| line.split_once("run_command: ")?.1.split_once("hooks/"));
    runs.map(|(_, rest)| rest.split([' ', '\'']).next().unwrap().to_owned()).collect()
}

fn hook(clone: &Repository<'_>) -> PathBuf {
    clone.path.join(".git/hooks/reference-transaction")
}

/// Checks that the hook is gone. Where a Git in the background, such as one that looks for what to tidy, was at work at that
/// moment, the next refs that move take it away.
#[track_caller]
fn nothing_waits(clone: &Repository<'_>) {
    let git_dir = PathBuf::from(clone.git(&["rev-parse", "--path-format=absolute", "--git-common-dir"]));
    let is_gone = || !git_dir.join("hooks/reference-transaction").exists() && !git_dir.join("agent/pushing").exists();
    wait_until("the hook is gone", || {
        is_gone() || {
            clone.git(&["update-ref", "refs/moved", "HEAD"]);
            clone.git(&["update-ref", "-d", "refs/moved"]);
            is_gone()
        }
    });
}

#[test]
fn c3_a_commit_starts_no_hook_for_its_refs_and_a_push_is_told_with_each_git() {
    for git in gits() {
        let mut world = calm_world();
        world.use_git(&git);
        let _daemon = world.daemon();
        let clone = clone(&world);
        nothing_waits(&clone);
        assert_eq!(
            started(&clone, &["commit", "--allow-empty", "-m", "ABC-2 on"]),
            ["prepare-commit-msg", "commit-msg"]
        );
        clone.git(&["branch", "side"]);
        let answer = clone.push(&["origin", "HEAD:main", "side"]);
        assert!(answer.contains("2 commits queued for Jira"), "{answer}");
        nothing_waits(&clone);
        clone.git(&["tag", "v1"]);
        clone.push(&["origin", "v1"]);
        nothing_waits(&clone);
        clone.push(&["origin", ":side"]);
        nothing_waits(&clone);
        assert_eq!(started(&clone, &["fetch", "--quiet"]), [""; 0]);
        assert!(world.agent_says(&["hooks", clone.path.to_str().unwrap()]).contains("stands by until a push"));
    }
}

#[test]
fn c3_a_push_that_was_refused_makes_no_later_commit_slower() {
    let world = calm_world();
    let _daemon = world.daemon();
    let clone = clone(&world);
    let refuses = world.folder.join("repositories/tool.git/hooks/pre-receive");
    write_script(&refuses, "exit 1");
    assert!(!clone.try_push(&["origin", "HEAD:main"]).status.success());
    assert!(hook(&clone).exists(), "nobody has seen the end of it");
    // The next refs that move are those of a branch, or those of a fetch.
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "x"]);
    nothing_waits(&clone);
    assert!(!clone.try_push(&["origin", "HEAD:main"]).status.success());
    let other =
        world.clone_of(&Repository { world: &world, path: refuses.ancestors().nth(2).unwrap().into() }, "other");
    fs::remove_file(&refuses).unwrap();
    other.commit("ABC-3 of somebody else");
    other.push(&["origin", "HEAD:other"]);
    clone.git(&["fetch", "--quiet"]);
    nothing_waits(&clone);
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("1 commit queued for Jira"), "{answer}");
    nothing_waits(&clone);
}

#[test]
fn c3_a_commit_during_a_push_takes_nothing_from_it() {
    let world = calm_world();
    let _daemon = world.daemon();
    let clone = clone(&world);
    let hooks = world.folder.join("repositories/tool.git/hooks");
    let git = "env -u GIT_DIR -u GIT_QUARANTINE_PATH -u GIT_OBJECT_DIRECTORY -u GIT_ALTERNATE_OBJECT_DIRECTORIES git";
    let commit = format!("{git} -C '{}' commit --quiet --allow-empty -m 'ABC-2 meanwhile'", clone.path.display());
    write_script(&hooks.join("pre-receive"), &commit);
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("1 commit queued for Jira") && answer.contains("ABC-1"), "{answer}");
    assert_eq!(clone.git(&["log", "-1", "--format=%s"]), "ABC-2 meanwhile");
    nothing_waits(&clone);
}

#[test]
fn u1_u2_a_push_out_of_a_worktree_or_a_submodule_is_told() {
    let world = calm_world();
    let _daemon = world.daemon();
    let clone = clone(&world);
    clone.push(&["origin", "HEAD:main"]);
    let linked = Repository { world: &world, path: world.folder.join("linked") };
    clone.git(&["worktree", "add", "--quiet", "-b", "ABC-4", linked.path.to_str().unwrap()]);
    linked.commit("ABC-4 there");
    let answer = linked.push(&["origin", "HEAD"]);
    assert!(answer.contains("1 commit, 1 branch queued for Jira"), "{answer}");
    nothing_waits(&clone);
    let origin = world.folder.join("repositories/tool.git");
    let mut add = clone.command(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add"]);
    success(add.arg(&origin).arg("sub"));
    let sub = Repository { world: &world, path: clone.path.join("sub") };
    world.agent_says(&["install", sub.path.to_str().unwrap()]);
    sub.commit("ABC-5 below");
    let answer = sub.push(&["origin", "HEAD:refs/heads/below"]);
    assert!(answer.contains("1 commit queued for Jira"), "{answer}");
    nothing_waits(&sub);
}

#[test]
fn c17_a_clone_is_as_it_was_also_when_a_push_was_refused() {
    let world = calm_world();
    let _daemon = world.daemon();
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "tool");
    clone.commit("ABC-1 begin");
    let before = tree(&clone.path.join(".git/hooks"));
    world.agent_says(&["install", clone.path.to_str().unwrap()]);
    write_script(&world.folder.join("repositories/tool.git/hooks/pre-receive"), "exit 1");
    assert!(!clone.try_push(&["origin", "HEAD:main"]).status.success());
    world.agent_says(&["uninstall", "--forget", clone.path.to_str().unwrap()]);
    assert_eq!(tree(&clone.path.join(".git/hooks")), before);
    assert!(!clone.path.join(".git/agent").exists());
}

/// Makes the configuration look as if it had been written a while ago: one that was just written is not believed to stay.
fn rests(world: &World) {
    let file = fs::File::options().append(true).open(world.config()).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(60)).unwrap();
}

/// Makes a commit that names no issue on a branch of one, and gives its subject.
fn subject(clone: &Repository<'_>) -> String {
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "tidy the shelf"]);
    clone.git(&["log", "-1", "--format=%s"])
}

const WITH: &str = "ABC-7 tidy the shelf";
const WITHOUT: &str = "tidy the shelf";

#[test]
fn c3_no_hook_is_started_for_a_key_that_nobody_wants_and_a_change_of_mind_counts() {
    let world = calm_world();
    let written = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), written.clone() + "[message]\nkey = \"off\"\n").unwrap();
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "tool");
    let path = clone.path.to_str().unwrap();
    clone.git(&["checkout", "--quiet", "-b", "ABC-7"]);
    world.agent_says(&["install", path]);
    let hook = clone.path.join(".git/hooks/prepare-commit-msg");
    assert!(!hook.exists());
    assert!(world.agent_says(&["hooks", path]).contains("stands by while no keys are put into messages"));
    rests(&world);
    for _ in 0..3 {
        assert_eq!(subject(&clone), WITHOUT);
    }
    assert_eq!(started(&clone, &["commit", "--allow-empty", "-m", "x"]), ["commit-msg"]);
    world.agent_says(&["install", path]);
    assert!(!hook.exists(), "to install once more changes nothing");
    // For this clone it is to be otherwise; the commit after the next one knows at the latest, with or without a key.
    clone.git(&["config", "agent.key", "prefix"]);
    subject(&clone);
    assert_eq!(subject(&clone), WITH);
    clone.git(&["config", "agent.key", "off"]);
    assert_eq!([subject(&clone), subject(&clone)], [WITHOUT, WITHOUT]);
    assert!(!hook.exists());
    // For all clones: with the next look of the daemon.
    clone.git(&["config", "--unset", "agent.key"]);
    fs::write(world.config(), fs::read_to_string(world.config()).unwrap().replace("key = \"off\"", "")).unwrap();
    let _daemon = world.daemon();
    wait_until("the hook is there again", || hook.exists());
    assert_eq!(subject(&clone), WITH);
    world.agent_says(&["uninstall", "--forget", path]);
    assert!(!hook.exists() && !clone.path.join(".git/agent").exists());
}

#[test]
fn c17_another_tool_may_take_the_place_of_a_hook_that_nobody_wants() {
    let world = calm_world();
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "tool");
    let path = clone.path.to_str().unwrap();
    clone.git(&["checkout", "--quiet", "-b", "ABC-7"]);
    clone.git(&["config", "agent.key", "off"]);
    let before = tree(&clone.path.join(".git/hooks"));
    world.agent_says(&["install", path]);
    let hook = clone.path.join(".git/hooks/prepare-commit-msg");
    write_script(&hook, "# simple-git-hooks\necho theirs >> \"$1\"");
    clone.git(&["config", "agent.key", "prefix"]);
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "one"]);
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "two"]);
    assert_eq!(clone.git(&["log", "-1", "--format=%B"]), "ABC-7 two\ntheirs");
    world.agent_says(&["uninstall", path]);
    assert!(fs::read_to_string(&hook).unwrap().contains("theirs"));
    fs::remove_file(&hook).unwrap();
    assert_eq!(tree(&clone.path.join(".git/hooks")), before);
}

#[test]
fn k15_what_a_team_asks_counts_from_the_moment_it_was_accepted_on_each_branch_that_has_it() {
    let world = calm_world();
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "tool");
    clone.git(&["config", "agent.key", "off"]);
    world.agent_says(&["install", clone.path.to_str().unwrap()]);
    rests(&world);
    clone.git(&["checkout", "--quiet", "-b", "without"]);
    for _ in 0..3 {
        assert_eq!(subject(&clone), WITHOUT);
    }
    assert!(clone.path.join(".git/agent/plain").exists());
    clone.git(&["checkout", "--quiet", "-b", "with"]);
    fs::write(clone.path.join(".agent.toml"), "[[policy]]\nkey = true\nlevel = \"block\"\n").unwrap();
    let plain = ["commit", "--quiet", "--allow-empty", "-m", WITHOUT];
    assert!(clone.command(&plain).output().unwrap().status.success(), "nobody has accepted it");
    let trust = world.command(env!("CARGO_BIN_EXE_agent")).args(["trust", "--yes"]).current_dir(&clone.path).output();
    assert!(trust.unwrap().status.success());
    assert!(!clone.command(&plain).output().unwrap().status.success(), "it counts at once");
    clone.git(&["add", ".agent.toml"]);
    clone.git(&["commit", "--quiet", "-m", "ABC-1 what we ask"]);
    clone.git(&["checkout", "--quiet", "without"]);
    for _ in 0..3 {
        assert_eq!(subject(&clone), WITHOUT);
    }
    clone.git(&["checkout", "--quiet", "with"]);
    assert!(!clone.command(&plain).output().unwrap().status.success(), "and again where it is in the work tree");
}
