//! Where one hook of a commit suffices, Git starts one: `prepare-commit-msg` says what `commit-msg` would say, or lets it stand.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use crate::harness::{Repository, World, gits, wait_until};
use crate::hook::{CALM, calm_world, write_script};
use crate::uninstall::tree;

const DRAFTING: &str = "prepare-commit-msg";
const CHECKING: &str = "commit-msg";

/// A clone on a branch, whose hooks know that no policy holds, as they do from the second commit on.
fn clone<'w>(world: &'w World, branch: &str) -> Repository<'w> {
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "tool");
    clone.commit("begin");
    world.agent_says(&["install", clone.path.to_str().unwrap()]);
    rests(world);
    clone.commit("known");
    lies_ready(&clone);
    clone.git(&["checkout", "--quiet", "-b", branch]);
    assert!(stands(&clone, DRAFTING));
    clone
}

/// A configuration that was just written is not believed to stay.
fn rests(world: &World) {
    let file = fs::File::options().append(true).open(world.config()).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
}

fn stands(clone: &Repository<'_>, hook: &str) -> bool {
    clone.path.join(".git/hooks").join(hook).exists()
}

/// Runs a command of Git's that succeeds; gives the hooks that Git started for it, by its own trace, and what we said.
#[track_caller]
fn run(command: &mut Command) -> (Vec<String>, Vec<String>) {
    let output = command.env("GIT_TRACE", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let runs = said.lines().filter_map(|line| line.split_once("run_command: ")?.1.split_once("hooks/"));
    let hooks = runs.map(|(_, rest)| rest.split([' ', '\'']).next().unwrap().to_owned()).collect();
    (hooks, said.lines().filter(|line| line.starts_with("jira: ")).map(str::to_owned).collect())
}

/// Waits until the hook lies ready again. Where a Git in the background, such as one that looks for what to tidy, was at work at
/// that moment, the next commit takes it away.
#[track_caller]
fn lies_ready(clone: &Repository<'_>) {
    wait_until("commit-msg lies ready", || {
        !stands(clone, CHECKING) || {
            clone.git(&commit(&["-m", "once more"]));
            !stands(clone, CHECKING)
        }
    });
}

fn message(clone: &Repository<'_>) -> String {
    clone.git(&["log", "-1", "--format=%B"]).trim_end().to_owned()
}

fn commit<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["commit", "--quiet", "--allow-empty"], arguments].concat()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn c3_one_hook_speaks_for_both_with_each_git() {
    for git in gits() {
        let mut world = calm_world();
        world.use_git(&git);
        let _daemon = world.daemon();
        let clone = clone(&world, "side");
        let check = |arguments: &[&str], hooks: &[&str], said: &[&str]| {
            let (started, heard) = run(clone.command(arguments).env("GIT_EDITOR", "true"));
            assert_eq!((started, heard), (owned(hooks), owned(said)), "{arguments:?} by {}", git.display());
            lies_ready(&clone);
        };
        check(&commit(&["-m", "tidy the shelf"]), &[DRAFTING], &[]);
        check(&commit(&["-m", "ABC-2 mend it"]), &[DRAFTING], &["jira: links ABC-2"]);
        check(&commit(&["--amend", "--no-edit"]), &[DRAFTING], &["jira: links ABC-2"]);
        check(&commit(&["--no-verify", "-m", "ABC-2 past it"]), &[DRAFTING], &["jira: links ABC-2"]);
        // Whoever writes in an editor is told once they have written.
        check(&commit(&["--edit", "-m", "ABC-3 write"]), &[DRAFTING, CHECKING], &["jira: links ABC-3"]);
        check(&commit(&["--edit", "-m", "write"]), &[DRAFTING, CHECKING], &[]);
        check(&commit(&["-m", "ABC-4 on\n\n# perhaps a comment"]), &[DRAFTING, CHECKING], &["jira: links ABC-4"]);
        clone.git(&["checkout", "--quiet", "-b", "other", "HEAD~2"]);
        fs::write(clone.path.join("file"), "other").unwrap();
        clone.git(&["add", "file"]);
        check(&["commit", "--quiet", "-m", "ABC-5 other"], &[DRAFTING], &["jira: links ABC-5"]);
        check(&["merge", "--quiet", "--no-edit", "-m", "Join ABC-6", "side"], &[DRAFTING], &["jira: links ABC-6"]);
        // Of what Git makes again by itself nothing is said.
        let (started, heard) = run(&mut clone.command(&["rebase", "--quiet", "--force-rebase", "main"]));
        assert!(started.len() > 4 && started.iter().all(|hook| hook == DRAFTING), "{started:?}");
        assert_eq!(heard, [""; 0]);
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn c3_what_is_picked_is_not_spoken_of_and_a_pick_that_somebody_ends_is() {
    let world = calm_world();
    let _daemon = world.daemon();
    let clone = clone(&world, "side");
    let change = |text: &str, message: &str| {
        fs::write(clone.path.join("file"), text).unwrap();
        clone.git(&["add", "file"]);
        run(&mut clone.command(&["commit", "--quiet", "-m", message]))
    };
    change("one", "ABC-2 one");
    clone.git(&["checkout", "--quiet", "main"]);
    let (hooks, said) = run(&mut clone.command(&["cherry-pick", "side"]));
    assert_eq!((hooks, said), (owned(&[DRAFTING]), Vec::new()));
    // What the pick let stand goes with the next commit.
    let (_, said) = change("two", "ABC-3 two");
    assert_eq!(said, ["jira: links ABC-3"]);
    lies_ready(&clone);
    assert!(!clone.command(&["cherry-pick", "side"]).output().unwrap().status.success());
    let (_, said) = change("both", "ABC-4 both");
    assert_eq!(said, ["jira: links ABC-4"]);
    lies_ready(&clone);
    // The same in a rebase that stops.
    clone.git(&["checkout", "--quiet", "-b", "third", "HEAD~1"]);
    change("third", "ABC-5 third");
    assert!(!clone.command(&["rebase", "main"]).output().unwrap().status.success());
    let (_, said) = change("all", "ABC-6 all");
    assert_eq!(said, ["jira: links ABC-6"]);
    run(clone.command(&["rebase", "--continue"]).env("GIT_EDITOR", "true"));
    assert_eq!(message(&clone), "ABC-6 all");
}

#[test]
fn k1_the_daemon_puts_the_key_in_as_the_agent_does() {
    let messages = [
        "begin",
        "feat: begin",
        "feat(ui)!: begin\n\nand more",
        "begin\n\nSigned-off-by: Ann <ann@example.org>",
        "fixup! begin",
        "Revert \"begin\"",
        "ABC-8 another",
        "XYZ-9 of another project #comment no",
        "",
    ];
    let of_both = |top: &str, settings: &[(&str, &str)]| {
        [true, false].map(|with_daemon| {
            let world = World::with("projects = [\"ABC\"]\n", &format!("{top}{CALM}"));
            let _daemon = with_daemon.then(|| world.daemon());
            let clone = clone(&world, "feature/ABC-7-login");
            settings.iter().for_each(|(key, value)| drop(clone.git(&["config", key, value])));
            let mut short = 0;
            let made = messages.map(|text| {
                let mut git = clone.command(&commit(&["--allow-empty-message", "-m", text]));
                let (hooks, said) = run(&mut git);
                short += usize::from(hooks == [DRAFTING]);
                let made = (message(&clone), said);
                lies_ready(&clone);
                made
            });
            // A daemon that is late is done without.
            assert!(!with_daemon || short > 2, "{short} were read by the daemon");
            made
        })
    };
    for (top, settings) in [
        ("", vec![]),
        ("[message]\ntemplate = \"[{key}] \"\n", vec![]),
        ("[message]\nkey = \"scope\"\n", vec![]),
        ("", vec![("agent.key", "trailer")]),
        ("", vec![("agent.key", "scope"), ("commit.cleanup", "verbatim")]),
    ] {
        let [short, long] = of_both(top, &settings);
        assert_eq!(short, long, "{top} {settings:?}");
        assert!(short[0].0.contains("ABC-7") && short[6].0 == "ABC-8 another", "{short:?}");
    }
}

#[test]
fn k1_what_somebody_sets_in_git_counts_with_the_next_commit() {
    let world = calm_world();
    let _daemon = world.daemon();
    let clone = clone(&world, "ABC-7");
    let made = |expected: &str| {
        clone.git(&commit(&["-m", "x"]));
        assert_eq!(message(&clone), expected);
    };
    made("ABC-7 x");
    clone.git(&["config", "agent.key", "trailer"]);
    made("x\n\nIssue: ABC-7");
    clone.git(&["config", "agent.key", "somewhere"]);
    let (_, said) = run(&mut clone.command(&commit(&["-m", "x"])));
    assert_eq!(said, ["jira: agent.key is somewhere; it is prefix, scope, trailer or off", "jira: links ABC-7"]);
    clone.git(&["config", "agent.key", "off"]);
    made("x");
    world.agent_says(&["install", clone.path.to_str().unwrap()]);
    assert!(stands(&clone, CHECKING) && !stands(&clone, DRAFTING), "now the other one is enough");
    let (hooks, said) = run(&mut clone.command(&commit(&["-m", "ABC-1 x"])));
    assert_eq!((hooks, said), (owned(&[CHECKING]), owned(&["jira: links ABC-1"])));
    clone.git(&["config", "--unset", "agent.key"]);
    clone.git(&commit(&["-m", "x"]));
    made("ABC-7 x");
    // Somebody else's settings are not what the daemon would read.
    let mut git = clone.command(&commit(&["-m", "x"]));
    let home = world.folder.join("another");
    fs::create_dir(&home).unwrap();
    fs::write(home.join(".gitconfig"), "[agent]\n\tkey = trailer\n").unwrap();
    run(git.env("HOME", &home).env("GIT_JIRA_AGENT_CONFIG", world.config()));
    assert_eq!(message(&clone), "x\n\nIssue: ABC-7");
}

#[test]
fn k2_a_worktree_and_a_clone_with_refs_in_tables_are_spoken_for_too() {
    let world = calm_world();
    let _daemon = world.daemon();
    let clone = clone(&world, "side");
    let linked = Repository { world: &world, path: world.folder.join("linked") };
    clone.git(&["worktree", "add", "--quiet", "-b", "ABC-4-there", linked.path.to_str().unwrap()]);
    let (hooks, said) = run(&mut linked.command(&commit(&["-m", "there"])));
    assert_eq!((hooks, said), (owned(&[DRAFTING]), owned(&["jira: links ABC-4"])));
    assert_eq!(message(&linked), "ABC-4 there");
    clone.git(&["config", "extensions.worktreeConfig", "true"]);
    linked.git(&["config", "--worktree", "agent.key", "trailer"]);
    linked.git(&commit(&["-m", "there"]));
    assert_eq!(message(&linked), "there\n\nIssue: ABC-4");
}

#[test]
fn c3_without_a_daemon_the_agent_speaks_and_nothing_is_left_standing() {
    let world = calm_world();
    let clone = clone(&world, "ABC-7");
    for (text, expected) in [("x", "ABC-7 x"), ("ABC-8 y", "ABC-8 y")] {
        let (_, said) = run(&mut clone.command(&commit(&["-m", text])));
        assert_eq!(said, [format!("jira: links {}", &expected[..5])]);
        assert_eq!(message(&clone), expected);
        lies_ready(&clone);
    }
}

#[test]
fn j1_a_policy_counts_from_the_commit_after_it_was_written() {
    let world = calm_world();
    let _daemon = world.daemon();
    let clone = clone(&world, "side");
    let plain = commit(&["-m", "no issue"]);
    run(&mut clone.command(&plain));
    let before = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), before.clone() + "[[policy]]\nkey = true\nlevel = \"block\"\n").unwrap();
    let refused = clone.command(&plain).output().unwrap();
    assert!(!refused.status.success() && err(&refused).contains("this commit is not made"), "{}", err(&refused));
    assert!(!clone.command(&plain).output().unwrap().status.success());
    assert!(stands(&clone, CHECKING) && !clone.path.join(".git/agent/commit-msg").exists());
    fs::write(world.config(), before).unwrap();
    rests(&world);
    run(&mut clone.command(&plain));
    lies_ready(&clone);
    // What a team asks counts once it was accepted.
    fs::write(clone.path.join(".agent.toml"), "[[policy]]\nkey = true\nlevel = \"block\"\n").unwrap();
    run(&mut clone.command(&plain));
    let trust = world.command(env!("CARGO_BIN_EXE_agent")).args(["trust", "--yes"]).current_dir(&clone.path).output();
    assert!(trust.unwrap().status.success());
    assert!(stands(&clone, CHECKING));
    assert!(!clone.command(&plain).output().unwrap().status.success());
}

#[test]
fn k1_an_editor_that_is_open_keeps_the_hook_that_comes_after_it() {
    let world = calm_world();
    let _daemon = world.daemon();
    let clone = clone(&world, "ABC-7");
    let linked = Repository { world: &world, path: world.folder.join("linked") };
    clone.git(&["worktree", "add", "--quiet", "-b", "ABC-8", linked.path.to_str().unwrap()]);
    let (editor, opened, closes) = ("editor", world.folder.join("opened"), world.folder.join("closes"));
    let editor = world.folder.join(editor);
    let wait = format!("touch '{}'; until [ -e '{}' ]; do sleep 0.02; done", opened.display(), closes.display());
    write_script(&editor, &wait);
    let mut open = clone.command(&["commit", "--allow-empty"]);
    let open = open.env("GIT_EDITOR", &editor).stderr(std::process::Stdio::piped()).spawn().unwrap();
    wait_until("the editor is open", || opened.exists());
    // Another commit is written in an editor and ends meanwhile.
    let (_, said) = run(linked.command(&commit(&["--edit", "-m", "there"])).env("GIT_EDITOR", "true"));
    assert_eq!(said, ["jira: links ABC-8"]);
    assert!(stands(&clone, CHECKING));
    fs::write(&closes, "").unwrap();
    let given_up = open.wait_with_output().unwrap();
    assert!(!given_up.status.success() && err(&given_up).contains("empty commit message"), "{}", err(&given_up));
    lies_ready(&clone);
}

#[test]
fn c17_another_tool_may_take_the_place_of_a_hook_that_is_spoken_for() {
    let world = calm_world();
    let _daemon = world.daemon();
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "tool");
    let path = clone.path.to_str().unwrap();
    clone.commit("begin");
    let before = tree(&clone.path.join(".git/hooks"));
    world.agent_says(&["install", path]);
    rests(&world);
    clone.commit("known");
    let shown = world.agent_says(&["hooks", path]);
    assert!(shown.contains("stands by until a message is written in an editor"), "{shown}");
    let hook = clone.path.join(".git/hooks/commit-msg");
    write_script(&hook, "# simple-git-hooks\necho theirs >> \"$1\"");
    clone.git(&commit(&["-m", "ABC-1 one"]));
    assert_eq!(message(&clone), "ABC-1 one\ntheirs");
    world.agent_says(&["install", path]);
    let (hooks, said) = run(&mut clone.command(&commit(&["-m", "ABC-2 two"])));
    assert_eq!((hooks, said), (owned(&[DRAFTING, CHECKING]), owned(&["jira: links ABC-2"])));
    assert_eq!(message(&clone), "ABC-2 two\ntheirs");
    world.agent_says(&["uninstall", path]);
    assert!(fs::read_to_string(&hook).unwrap().contains("theirs"));
    fs::remove_file(&hook).unwrap();
    assert_eq!(tree(&clone.path.join(".git/hooks")), before);
}

#[test]
fn c17_a_clone_is_as_it_was_whether_the_hook_lies_ready_or_stands() {
    let world = calm_world();
    let _daemon = world.daemon();
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "tool");
    clone.commit("begin");
    let hooks: PathBuf = clone.path.join(".git/hooks");
    let before = tree(&hooks);
    for given_up in [false, true] {
        world.agent_says(&["install", clone.path.to_str().unwrap()]);
        rests(&world);
        clone.commit("known");
        lies_ready(&clone);
        if given_up {
            let mut git = clone.command(&["commit", "--allow-empty"]);
            assert!(!git.env("GIT_EDITOR", "false").output().unwrap().status.success());
            assert!(stands(&clone, CHECKING), "it is not known that nothing comes any more");
        }
        world.agent_says(&["uninstall", "--forget", clone.path.to_str().unwrap()]);
        assert_eq!(tree(&hooks), before);
        assert!(!clone.path.join(".git/agent").exists());
    }
}

#[test]
fn c3_two_hooks_of_the_shell_stay_two() {
    let world = calm_world();
    rests(&world);
    let own = world.folder.join("own-agent");
    fs::copy(env!("CARGO_BIN_EXE_agent"), &own).unwrap();
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "tool");
    assert!(world.command(&own).args(["install", clone.path.to_str().unwrap()]).output().unwrap().status.success());
    rests(&world);
    for _ in 0..2 {
        let (hooks, said) = run(&mut clone.command(&commit(&["-m", "ABC-1 x"])));
        assert_eq!((hooks, said), (owned(&[DRAFTING, CHECKING]), owned(&["jira: links ABC-1"])));
    }
}

/// A clone on a branch of many commits, which a rebase of it moves to another beginning.
fn long_branch(world: &World) -> Repository<'_> {
    let clone = clone(world, "two");
    clone.git(&commit(&["-m", "another beginning"]));
    clone.git(&["checkout", "--quiet", "-b", "ABC-7", "main"]);
    for number in 0..COMMITS {
        fs::write(clone.path.join("file"), number.to_string()).unwrap();
        clone.git(&["add", "file"]);
        clone.git(&["commit", "--quiet", "--no-verify", "-m", &format!("ABC-2 step {number}")]);
    }
    clone
}

const COMMITS: usize = 60;
/// The first, and those before the end.
const MET: usize = 12;

fn rebase<'w>(clone: &Repository<'w>, words: &[&str], todo: &str) -> Command {
    let mut git = clone.command(&[&["rebase", "--quiet", "--force-rebase"], words].concat());
    git.env("GIT_SEQUENCE_EDITOR", todo).env("GIT_EDITOR", "true");
    git
}

fn made_on_the_branch(clone: &Repository<'_>) {
    wait_until("the hook is back", || {
        stands(clone, DRAFTING) && !clone.path.join(".git/agent").join(DRAFTING).exists()
    });
    clone.git(&commit(&["-m", "on"]));
    assert_eq!(message(clone), "ABC-7 on");
    lies_ready(clone);
    let (hooks, _) = run(&mut clone.command(&commit(&["-m", "on"])));
    assert_eq!(hooks, [DRAFTING]);
}

#[test]
fn c3_a_long_rebase_is_made_without_hooks_with_each_git() {
    for git in gits() {
        let mut world = calm_world();
        world.use_git(&git);
        let _daemon = world.daemon();
        let clone = long_branch(&world);
        let (hooks, said) = run(&mut rebase(&clone, &["two"], "true"));
        assert!(!hooks.is_empty() && hooks.len() <= MET, "{hooks:?} by {}", git.display());
        assert_eq!(said, [""; 0]);
        assert_eq!(clone.git(&["log", "--format=%s", "-1"]), format!("ABC-2 step {}", COMMITS - 1));
        made_on_the_branch(&clone);
    }
}

#[test]
fn c3_a_long_rebase_that_stops_has_its_hooks_and_so_has_what_is_committed_in_it() {
    let world = calm_world();
    let _daemon = world.daemon();
    let clone = long_branch(&world);
    run(&mut rebase(&clone, &["-i", "two"], "sed -i 5abreak"));
    wait_until("the hook is back", || stands(&clone, DRAFTING));
    let (_, said) = run(&mut clone.command(&commit(&["-m", "ABC-3 between"])));
    assert_eq!(said, ["jira: links ABC-3"]);
    clone.git(&["rebase", "--abort"]);
    made_on_the_branch(&clone);
    let (_, said) = run(&mut rebase(&clone, &["-i", "two"], "sed -i 3s/pick/reword/"));
    assert_eq!(said, ["jira: links ABC-2"], "what is written anew is spoken of");
    made_on_the_branch(&clone);
    let between = "sed -i '5aexec git commit --quiet --allow-empty -m ABC-4'";
    let (_, said) = run(&mut rebase(&clone, &["-i", "two"], between));
    assert_eq!(said, ["jira: links ABC-4"]);
    made_on_the_branch(&clone);
}

#[test]
fn c3_a_rebase_beside_another_work_tree_takes_no_hook_from_it() {
    let world = calm_world();
    let clone = long_branch(&world);
    clone.git(&["worktree", "add", "--quiet", "-b", "ABC-8", world.folder.join("linked").to_str().unwrap()]);
    let (hooks, _) = run(&mut rebase(&clone, &["two"], "true"));
    assert_eq!(hooks.len(), COMMITS);
}

#[test]
fn c3_a_hook_that_nobody_puts_back_is_put_back_by_the_next_commit() {
    let world = calm_world();
    let _daemon = world.daemon();
    let clone = long_branch(&world);
    // What waits is killed while the rebase goes on.
    let ready = clone.path.join(".git/agent").join(DRAFTING);
    let kill = world.folder.join("kill");
    write_script(
        &kill,
        &format!(
            "for p in /proc/[0-9]*; do [ \"$(readlink $p/exe)\" = '{}' ] && kill -9 ${{p#/proc/}}; done; true",
            ready.display()
        ),
    );
    let todo = format!("sed -i '5aexec {}'", kill.display());
    run(&mut rebase(&clone, &["-i", "two"], &todo));
    assert!(!stands(&clone, DRAFTING) && stands(&clone, CHECKING));
    let (hooks, said) = run(&mut clone.command(&commit(&["-m", "ABC-7 on"])));
    assert_eq!((hooks, said), (owned(&[CHECKING]), owned(&["jira: links ABC-7"])));
    made_on_the_branch(&clone);
}

#[test]
fn k2_most_messages_need_neither_daemon_nor_agent() {
    let world = calm_world();
    let clone = clone(&world, "feature/ABC-7-login");
    let check = |text: &str, hooks: &[&str], expected: &str| {
        let (started, said) = run(&mut clone.command(&commit(&["-m", text])));
        assert_eq!((started, message(&clone).as_str()), (owned(hooks), expected));
        assert_eq!(said, [format!("jira: links {}", &expected[expected.find("ABC-").unwrap()..][..5])]);
        lies_ready(&clone);
    };
    // Settings that were just written are not believed to stay either.
    let settings = [".git/config", ".git/agent/plain"].map(|name| clone.path.join(name));
    for (path, age) in settings.iter().zip([60, 30]) {
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }
    check("see ABC-8: mend it", &[DRAFTING], "see ABC-8: mend it");
    check("feat: begin", &[DRAFTING, CHECKING], "feat: ABC-7 begin");
    check("begin", &[DRAFTING], "ABC-7 begin");
    for key in ["scope", "trailer"] {
        clone.git(&["config", "agent.key", key]);
        check(
            "feat: begin",
            &[DRAFTING, CHECKING],
            ["feat(ABC-7): begin", "feat: begin\n\nIssue: ABC-7"][usize::from(key == "trailer")],
        );
    }
    clone.git(&["config", "--unset", "agent.key"]);
    let global = world.folder.join("home/.gitconfig");
    fs::write(&global, fs::read_to_string(&global).unwrap_or_default() + "[agent]\n\tkey = trailer\n").unwrap();
    check("begin", &[DRAFTING, CHECKING], "begin\n\nIssue: ABC-7");
}
