//! A commit in a clone: where the key of the branch goes, where it does not, and what is said before the commit exists.

use std::path::Path;
use std::process::Output;

use crate::harness::{Repository, World};
use crate::hook::{CALM, write_script};

const PROJECT: &str = "projects = [\"ABC\"]\n";
const KEY: &str = "[[policy]]\nlevel = \"block\"\nkey = true\n";

fn world(top: &str) -> World {
    World::with(PROJECT, &format!("{top}\n{CALM}"))
}

/// A clone with hooks, one commit, and a branch checked out.
fn clone<'w>(world: &'w World, branch: &str) -> Repository<'w> {
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "tool");
    clone.commit("begin");
    world.agent_says(&["install", clone.path.to_str().unwrap()]);
    clone.git(&["checkout", "--quiet", "-b", branch]);
    clone
}

fn message(clone: &Repository<'_>) -> String {
    clone.git(&["log", "-1", "--format=%B"]).trim_end().to_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn check(top: &str, arguments: &[&str], expected: &str) {
    let world = world(top);
    let clone = clone(&world, "feature/ABC-7-login");
    clone.git(&[&["commit", "--quiet", "--allow-empty"], arguments].concat());
    assert_eq!(message(&clone), expected, "{top} {arguments:?}");
}

#[test]
fn k1_the_key_of_the_branch_goes_into_the_message_where_the_team_wants_it() {
    check("", &["-m", "begin"], "ABC-7 begin");
    check("", &["-m", "begin", "-m", "more"], "ABC-7 begin\n\nmore");
    check("[message]\ntemplate = \"[{key}] \"\n", &["-m", "begin"], "[ABC-7] begin");
    check("[message]\nkey = \"scope\"\n", &["-m", "feat: begin"], "feat(ABC-7): begin");
    check("[message]\nkey = \"trailer\"\n", &["-m", "begin"], "begin\n\nIssue: ABC-7");
    check(
        "[message]\nkey = \"trailer\"\ntrailer = \"Refs\"\n",
        &["-s", "-m", "x"],
        "x\n\nSigned-off-by: Ann Author <ann@example.org>\nRefs: ABC-7",
    );
    check("[message]\nkey = \"off\"\n", &["-m", "begin"], "begin");
}

#[test]
fn k3_a_conventional_commit_stays_one() {
    check("", &["-m", "feat(ui)!: begin"], "feat(ui)!: ABC-7 begin");
    check("[message]\nkey = \"scope\"\n", &["-m", "feat(ui): begin"], "feat(ui): ABC-7 begin");
    check("[message]\nkey = \"scope\"\n", &["-m", "begin"], "ABC-7 begin");
}

#[test]
fn k1_one_clone_may_want_it_elsewhere() {
    let world = world("");
    let clone = clone(&world, "ABC-7");
    clone.git(&["config", "agent.key", "trailer"]);
    clone.git(&["commit", "--allow-empty", "-m", "x"]);
    assert_eq!(message(&clone), "x\n\nIssue: ABC-7");
    clone.git(&["config", "agent.key", "somewhere"]);
    let output = clone.command(&["commit", "--allow-empty", "-m", "y"]).output().unwrap();
    assert!(err(&output).contains("agent.key is somewhere; it is prefix, scope, trailer or off"), "{}", err(&output));
    assert_eq!(message(&clone), "ABC-7 y");
}

#[test]
fn k1_an_editor_begins_with_the_key_and_a_commit_that_is_given_up_stays_given_up() {
    let world = world("");
    let clone = clone(&world, "ABC-7");
    let mut commit = clone.command(&["commit", "--allow-empty", "-v"]);
    let output = commit.env("GIT_EDITOR", "true").output().unwrap();
    assert!(!output.status.success() && err(&output).contains("empty commit message"), "{}", err(&output));
    let script = world.folder.join("append");
    write_script(&script, "cp \"$1\" \"$1.seen\"; sed -i '1s/$/login/' \"$1\"");
    let mut commit = clone.command(&["commit", "--allow-empty", "-v"]);
    assert!(commit.env("GIT_EDITOR", &script).output().unwrap().status.success());
    assert_eq!(message(&clone), "ABC-7 login");
    let seen = std::fs::read_to_string(clone.path.join(".git/COMMIT_EDITMSG.seen")).unwrap();
    assert!(seen.starts_with("ABC-7 \n"), "{seen}");
}

#[test]
fn k2_a_message_that_has_its_own_story_is_left_alone() {
    let world = world("");
    let clone = clone(&world, "ABC-7");
    let commit = |arguments: &[&str], expected: &str| {
        clone.git(&[&["commit", "--quiet", "--allow-empty"], arguments].concat());
        assert_eq!(message(&clone), expected, "{arguments:?}");
    };
    commit(&["-m", "ABC-8 another issue"], "ABC-8 another issue");
    commit(&["--fixup", "HEAD"], "fixup! ABC-8 another issue");
    commit(&["--squash", "HEAD~1", "-m", ""], "squash! ABC-8 another issue");
    clone.git(&["config", "agent.key", "off"]);
    std::fs::write(clone.path.join("own"), "changed").unwrap();
    clone.git(&["add", "own"]);
    commit(&["-a", "-m", "plain"], "plain");
    clone.git(&["config", "--unset", "agent.key"]);
    commit(&["-C", "HEAD"], "plain");
    commit(&["--amend", "--no-edit"], "plain");
    commit(&["--amend", "-m", "ABC-1 amended"], "ABC-1 amended");
    clone.git(&["revert", "--no-edit", "HEAD~1"]);
    assert!(message(&clone).starts_with("Revert \"plain\""), "{}", message(&clone));
    let template = world.folder.join("template");
    std::fs::write(&template, "what: \n").unwrap();
    let script = world.folder.join("append");
    write_script(&script, "sed -i '1s/$/that/' \"$1\"");
    let mut templated = clone.command(&["commit", "--allow-empty", "-t", template.to_str().unwrap()]);
    assert!(templated.env("GIT_EDITOR", &script).output().unwrap().status.success());
    assert_eq!(message(&clone), "what: that");
}

#[test]
fn k2_a_rebase_a_pick_and_a_merge_change_no_message() {
    let world = world("");
    let clone = clone(&world, "plain");
    for number in 0..20 {
        std::fs::write(clone.path.join(format!("new-{number}")), "x").unwrap();
        clone.git(&["add", "--all"]);
        clone.git(&["commit", "--quiet", "-m", &format!("step {number}")]);
    }
    let before = clone.git(&["log", "--format=%B"]);
    clone.git(&["checkout", "--quiet", "-b", "ABC-7", "HEAD"]);
    clone.git(&["rebase", "--quiet", "--force-rebase", "HEAD~19"]);
    assert_eq!(clone.git(&["log", "--format=%B"]), before);
    clone.git(&["checkout", "--quiet", "-b", "ABC-8", "HEAD~10"]);
    clone.git(&["cherry-pick", "ABC-7"]);
    assert_eq!(message(&clone), "step 19");
    clone.git(&["merge", "--quiet", "--no-ff", "--no-edit", "plain"]);
    assert!(message(&clone).starts_with("Merge branch 'plain'"), "{}", message(&clone));
    clone.git(&["checkout", "--quiet", "-b", "ABC-9", "plain~3"]);
    clone.git(&["merge", "--quiet", "--squash", "plain"]);
    clone.git(&["commit", "--quiet", "--no-edit"]);
    assert!(message(&clone).starts_with("Squashed commit of the following"), "{}", message(&clone));
    clone.git(&["checkout", "--quiet", "--detach"]);
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "on no branch"]);
    assert_eq!(message(&clone), "on no branch");
}

#[test]
fn k2_a_linked_worktree_has_the_key_of_its_own_branch() {
    let world = world("");
    let clone = clone(&world, "ABC-7");
    let other = world.folder.join("clones/other");
    clone.git(&["worktree", "add", "--quiet", "-b", "ABC-8", other.to_str().unwrap()]);
    clone.git(&["-C", other.to_str().unwrap(), "commit", "--quiet", "--allow-empty", "-m", "x"]);
    assert_eq!(clone.git(&["log", "-1", "--format=%B", "ABC-8"]).trim(), "ABC-8 x");
    std::fs::write(clone.path.join("own"), "changed").unwrap();
    clone.git(&["add", "own"]);
    clone.git(&["commit", "--quiet", "-a", "-m", "all"]);
    assert_eq!(message(&clone), "ABC-7 all");
}

#[test]
fn k2_a_hook_that_wrote_the_message_before_still_does_and_comes_first() {
    let world = world("");
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "tool");
    clone.commit("begin");
    write_script(&clone.path.join(".git/hooks/prepare-commit-msg"), "echo \"theirs, $2\" > \"$1\"");
    world.agent_says(&["install", clone.path.to_str().unwrap()]);
    clone.git(&["checkout", "--quiet", "-b", "ABC-7"]);
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "x"]);
    assert_eq!(message(&clone), "ABC-7 theirs, message");
    write_script(&clone.path.join(".git/agent/before/prepare-commit-msg"), "exit 3");
    assert!(!clone.command(&["commit", "--allow-empty", "-m", "x"]).output().unwrap().status.success());
}

#[test]
fn f12_a_commit_says_which_keys_and_orders_it_read_and_what_is_wrong_with_them() {
    let world = world("");
    let clone = clone(&world, "plain");
    let said = |text: &str| err(&clone.command(&["commit", "--allow-empty", "-m", text]).output().unwrap());
    assert!(said("ABC-1 x").contains("jira: links ABC-1\n"));
    let orders = said("ABC-1 #comment well done #time 2h\nABC-2 #close");
    assert!(orders.contains("jira: links ABC-1, ABC-2\n"), "{orders}");
    assert!(orders.contains("jira: asks on ABC-1: comment “well done”\n"), "{orders}");
    assert!(orders.contains("jira: asks on ABC-1: log 2h of work\n"), "{orders}");
    assert!(orders.contains("jira: asks on ABC-2: transition “close”\n"), "{orders}");
    let wrong = said("ABC-1 #time worked 2h on XYZ-2");
    assert!(wrong.contains("#time is not understood") && wrong.contains("; write "), "{wrong}");
    assert!(wrong.contains("XYZ-2 links nothing (no such project)"), "{wrong}");
    assert_eq!(said("plain words"), "");
}

#[test]
fn f12_comments_and_the_diff_below_the_scissors_are_not_read() {
    let world = world(KEY);
    let clone = clone(&world, "plain");
    std::fs::write(clone.path.join("own"), "ABC-1 in the diff\n").unwrap();
    clone.git(&["add", "own"]);
    let script = world.folder.join("words");
    write_script(&script, "sed -i '1s/$/words/; 2i # ABC-2 in a comment' \"$1\"");
    let commit = |arguments: &[&str]| {
        let mut commit = clone.command(&[&["commit", "-a", "-v"], arguments].concat());
        commit.env("GIT_EDITOR", &script).output().unwrap()
    };
    let output = commit(&[]);
    assert!(!output.status.success() && err(&output).contains("names no issue"), "{}", err(&output));
    clone.git(&["config", "core.commentChar", ";"]);
    write_script(&script, "sed -i '1s/$/# ABC-3 is no comment now/; 2i ; ABC-2 in a comment' \"$1\"");
    let output = commit(&[]);
    assert!(output.status.success() && err(&output).contains("jira: links ABC-3\n"), "{}", err(&output));
}

#[test]
fn c3_a_message_that_is_refused_is_not_lost() {
    let world = world(KEY);
    let clone = clone(&world, "plain");
    let output = clone.command(&["commit", "--allow-empty", "-m", "a long story\n\nof an hour"]).output().unwrap();
    assert!(!output.status.success());
    assert!(err(&output).contains("git commit -e -F .git/COMMIT_EDITMSG"), "{}", err(&output));
    let kept = std::fs::read_to_string(clone.path.join(".git/COMMIT_EDITMSG")).unwrap();
    assert_eq!(kept, "a long story\n\nof an hour\n");
    // The branch has a key now, and the very commands that were named go on.
    clone.git(&["branch", "-m", "ABC-7"]);
    let fixed = agent(&clone, &["check", "--fix"]);
    assert!(fixed.status.success(), "{}", err(&fixed));
    clone.git(&["commit", "--quiet", "--allow-empty", "-F", ".git/COMMIT_EDITMSG"]);
    assert_eq!(message(&clone), "ABC-7 a long story\n\nof an hour");
}

fn agent(clone: &Repository<'_>, arguments: &[&str]) -> Output {
    clone.world.agent(arguments).current_dir(&clone.path).output().unwrap()
}

#[test]
fn k16_a_missing_key_is_asked_for_on_the_terminal() {
    let world = world(KEY);
    let clone = clone(&world, "plain");
    let on_terminal = |answers: &str, arguments: &str| {
        let mut script = world.command("script");
        let line = format!("git commit --allow-empty {arguments}");
        script.current_dir(&clone.path).args(["-qec", &line, "/dev/null"]).stdin(std::process::Stdio::piped());
        script.stdout(std::process::Stdio::piped());
        let mut child = script.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), answers.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    if world.command("script").arg("--version").output().is_err() {
        return crate::hook::skipped("there is no script here");
    }
    let (made, said) = on_terminal("nonsense\nabc-5\n", "-m words");
    assert!(made && said.contains("nonsense is no key of an issue"), "{said}");
    assert_eq!(message(&clone), "ABC-5 words");
    let (made, said) = on_terminal("n\n", "-m words");
    assert!(!made && said.contains("agent check --fix"), "{said}");
    clone.git(&["branch", "-m", "ABC-7"]);
    clone.git(&["config", "agent.key", "off"]);
    let (made, said) = on_terminal("\n", "-m more");
    assert!(made && said.contains("[ABC-7; n: none]"), "{said}");
    assert_eq!(message(&clone), "ABC-7 more");
}

#[test]
fn k16_a_message_is_checked_before_it_is_one() {
    let world = world(KEY);
    let clone = clone(&world, "ABC-7");
    let file = clone.path.join("draft");
    std::fs::write(&file, "words\n# ABC-1 in a comment\n").unwrap();
    let output = agent(&clone, &["check", "draft"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("key: names no issue; put the key of its branch in: ABC-7 words"), "{said}");
    assert!(agent(&clone, &["check", "draft", "--fix"]).status.success());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "ABC-7 words\n");
    assert!(agent(&clone, &["check", "draft"]).status.success());
    let missing = agent(&clone, &["check", "nowhere"]);
    assert!(!missing.status.success());
    assert!(!Path::new(&clone.path.join("draft.agent")).exists());
}

#[test]
fn c3_a_commit_goes_on_with_a_configuration_that_cannot_be_read() {
    let world = world("");
    let clone = clone(&world, "ABC-7");
    std::fs::write(world.config(), "nonsense").unwrap();
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "x"]);
    assert_eq!(message(&clone), "x");
}

#[test]
fn c3_only_the_hooks_that_are_wanted_are_put_in() {
    let world = world("");
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "tool");
    let path = clone.path.to_str().unwrap();
    let wrong = world.agent(&["install", path, "--hook", "commit-msgs"]).output().unwrap();
    assert!(
        err(&wrong).contains("there are prepare-commit-msg, commit-msg, pre-push, reference-transaction"),
        "{}",
        err(&wrong)
    );
    world.agent_says(&["install", path, "--hook", "prepare-commit-msg"]);
    assert!(!clone.path.join(".git/hooks/commit-msg").exists());
    clone.git(&["checkout", "--quiet", "-b", "ABC-7"]);
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "x"]);
    assert_eq!(message(&clone), "ABC-7 x");
    world.agent_says(&["install", path, "--hook", "commit-msg"]);
    assert!(
        clone.path.join(".git/hooks/prepare-commit-msg").exists() && clone.path.join(".git/hooks/commit-msg").exists()
    );
    world.agent_says(&["uninstall", path]);
    assert!(
        !clone.path.join(".git/hooks/prepare-commit-msg").exists()
            && !clone.path.join(".git/hooks/commit-msg").exists()
    );
}

#[test]
fn k2_a_clone_with_refs_in_tables_has_its_key_too() {
    let world = world("");
    let origin = world.plain_repository("tool", &[]);
    let path = world.folder.join("clones/tables");
    let known =
        world.command("git").args(["clone", "--quiet", "--ref-format=reftable"]).arg(&origin.path).arg(&path).output();
    if !known.unwrap().status.success() {
        return crate::hook::skipped("this git knows no reftable");
    }
    let clone = Repository { world: &world, path };
    world.agent_says(&["install", clone.path.to_str().unwrap()]);
    clone.git(&["checkout", "--quiet", "-b", "ABC-7"]);
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "x"]);
    assert_eq!(message(&clone), "ABC-7 x");
}

#[test]
fn k15_what_a_team_commits_counts_once_a_person_has_accepted_it() {
    let world = world("");
    let clone = clone(&world, "ABC-7");
    let agent = |words: &[&str]| world.agent(words).current_dir(&clone.path).output().unwrap();
    let commit = |message: &str| clone.command(&["commit", "--allow-empty", "-m", message]).output().unwrap();
    let file = clone.path.join(".agent.toml");
    std::fs::write(&file, "[message]\nkey = \"trailer\"\n[[policy]]\nlevel = \"block\"\nsubject_max = 20\n").unwrap();
    let output = commit("one that is longer than all that a team allows");
    assert!(
        output.status.success() && err(&output).contains(".agent.toml of this repository is ignored until"),
        "{output:?}"
    );
    assert!(message(&clone).starts_with("ABC-7 one"), "{}", message(&clone));
    let asked = agent(&["trust"]);
    assert!(!asked.status.success() && err(&asked).contains("--yes"), "{asked:?}");
    assert!(agent(&["trust", "--yes"]).status.success());
    assert!(commit("short").status.success());
    assert_eq!(message(&clone), "short\n\nIssue: ABC-7");
    let refused = commit("one that is longer than all that a team allows");
    assert!(!refused.status.success() && err(&refused).contains("subject"), "{refused:?}");
    // Another content is another question, and one that is wrong stops nothing.
    std::fs::write(&file, "[[site]]\nname = \"x\"\n").unwrap();
    let output = commit("one that is longer than all that a team allows");
    assert!(output.status.success() && err(&output).contains("is ignored until you accept it"), "{output:?}");
    let wrong = agent(&["trust", "--yes"]);
    assert!(!wrong.status.success() && err(&wrong).contains(".agent.toml:1:3: unknown field `site`"), "{wrong:?}");
    assert_eq!(clone.git(&["status", "--porcelain"]).trim(), "?? .agent.toml");
}
