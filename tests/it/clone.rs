//! A clone in trouble: commits and pushes go on as Git has them, with one calm line at most.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use crate::harness::{Repository, World, gits};
use crate::hook::{calm_world, skipped, write_script};
use crate::store::Disk;

/// A clone with hooks and one commit, on a branch that is named after an issue.
fn clone(world: &World) -> Repository<'_> {
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "tool");
    clone.commit("begin");
    world.agent_says(&["install", clone.path.to_str().unwrap()]);
    clone.git(&["checkout", "--quiet", "-b", "ABC-7"]);
    clone
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Checks that Git did it, and that we said so much at most.
#[track_caller]
fn goes_on(command: &mut Command, lines: usize) -> String {
    let output = command.output().unwrap();
    let said = err(&output);
    assert!(output.status.success(), "{command:?}: {said}");
    let ours: Vec<&str> = said.lines().filter(|line| line.starts_with("jira:")).collect();
    assert!(ours.len() <= lines, "{command:?}: {said}");
    assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{said}");
    said
}

fn message(clone: &Repository<'_>) -> String {
    clone.git(&["log", "-1", "--format=%B"])
}

#[test]
fn c3_a_clone_whose_disk_is_full_works_again_as_soon_as_there_is_room() {
    let world = calm_world();
    let Some(disk) = Disk::at(&world, world.folder.join("clones"), 8, &[]) else { return };
    let clone = clone(&world);
    let filler = disk.fill();
    // Git itself has no room now, which is Git's to say.
    let output = clone.command(&["commit", "--allow-empty", "-m", "on a full disk"]).output().unwrap();
    assert!(!err(&output).contains("panicked"), "{}", err(&output));
    assert!(!clone.path.join(".git/COMMIT_EDITMSG.agent").exists(), "half a message is left");
    fs::remove_file(filler).unwrap();
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "with room"]);
    assert_eq!(message(&clone), "ABC-7 with room");
    clone.push(&["origin", "HEAD"]);
}

#[test]
fn c3_a_push_from_a_clone_that_cannot_be_written_to_goes_on() {
    let world = calm_world();
    let Some(disk) = Disk::at(&world, world.folder.join("clones"), 8, &[]) else { return };
    let clone = clone(&world);
    assert!(disk.make_read_only());
    goes_on(&mut clone.command(&["push", "origin", "HEAD"]), 1);
    let there = clone
        .world
        .command("git")
        .arg("-C")
        .arg(world.folder.join("repositories/tool.git"))
        .args(["rev-parse", "ABC-7"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&there.stdout).trim(), clone.git(&["rev-parse", "HEAD"]));
}

#[test]
fn c3_commits_and_pushes_go_on_where_nothing_of_ours_can_be_written_or_reached() {
    let world = calm_world();
    let clone = clone(&world);
    // Root may write everywhere, but into no folder that is a file.
    for place in [world.spool(), world.state(), world.folder.join("elsewhere")] {
        let _ = fs::remove_dir_all(&place);
        fs::write(place, "").unwrap();
    }
    let home = world.folder.join("elsewhere");
    let run = |arguments: &[&str]| goes_on(clone.command(arguments).env("HOME", &home), 1);
    run(&["commit", "--allow-empty", "-m", "x"]);
    run(&["push", "origin", "HEAD"]);
    // Without a configuration either, and then with one that is none.
    fs::remove_file(world.config()).unwrap();
    run(&["commit", "--allow-empty", "-m", "y"]);
    run(&["push", "origin", "HEAD"]);
    fs::write(world.config(), b"\xff[[").unwrap();
    run(&["commit", "--allow-empty", "-m", "z"]);
    run(&["push", "origin", "HEAD"]);
}

#[test]
fn f34_a_clone_that_was_asleep_commits_and_pushes_at_once_whatever_the_daemon_does() {
    let world = calm_world();
    let daemon = world.daemon();
    let clone = clone(&world);
    daemon.process.signal(rustix::process::Signal::STOP);
    let began = std::time::Instant::now();
    goes_on(&mut clone.command(&["commit", "--allow-empty", "-m", "x"]), 1);
    goes_on(&mut clone.command(&["push", "origin", "HEAD"]), 1);
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    let id = clone.git(&["rev-parse", "HEAD"]);
    daemon.process.signal(rustix::process::Signal::CONT);
    world.wait_for_owed("commit", &[&id]);
}

#[test]
fn r6_a_message_of_any_size_and_bytes_is_committed_as_it_is() {
    let world = calm_world();
    let clone = clone(&world);
    let huge = [b"ABC-1 begin\n\n".as_slice(), &b"no end of words, ABD-2 among them\n".repeat(300_000)].concat();
    let cases: [(&str, &[u8]); 5] = [
        ("huge", &huge),
        ("latin", b"ABC-1 Gr\xfc\xdfe \xff\xfe\n"),
        ("control", b"ABC-1 \x1b[31mred\x07 \x08\n"),
        ("bidi", "ABC-1 \u{202e}desrever\u{2066} \u{200b}\n".as_bytes()),
        ("one line", &b"x".repeat(1 << 20)),
    ];
    for (name, text) in cases {
        let file = world.folder.join("text");
        fs::write(&file, text).unwrap();
        let mut commit =
            clone.command(&["commit", "--allow-empty", "--cleanup=verbatim", "-F", file.to_str().unwrap()]);
        let said = goes_on(&mut commit, 3);
        let shown = |c: char| c == '\u{1b}' || c == '\u{202e}' || c == '\u{2066}' || c == '\u{200b}' || c == '\u{7}';
        assert!(said.lines().filter(|line| line.starts_with("jira:")).all(|line| !line.contains(shown)), "{said:?}");
        let kept = clone.command(&["cat-file", "commit", "HEAD"]).output().unwrap().stdout;
        let arguments =
            ["-c", "core.hooksPath=/dev/null", "commit", "--allow-empty", "--amend", "--cleanup=verbatim", "-F"];
        clone.git(&[&arguments[..], &[file.to_str().unwrap()]].concat());
        let without = clone.command(&["cat-file", "commit", "HEAD"]).output().unwrap().stdout;
        let message = |raw: &[u8]| raw[raw.windows(2).position(|two| two == b"\n\n").unwrap()..].to_vec();
        let key = if name == "one line" { &b"ABC-7 "[..] } else { b"" };
        assert!(message(&kept) == [b"\n\n", key, &message(&without)[2..]].concat(), "{name}");
    }
    goes_on(&mut clone.command(&["push", "origin", "HEAD"]), 1);
}

#[test]
fn c3_whatever_makes_commits_goes_on_with_each_git() {
    for git in gits() {
        let mut world = calm_world();
        world.use_git(&git);
        let clone = clone(&world);
        // A window has no terminal, an odd environment, and names the repository in its own way.
        let mut window = clone.command(&["commit", "--allow-empty", "-m", "from a window"]);
        window.env("GIT_TERMINAL_PROMPT", "0").env("GIT_DIR", ".git").env("GIT_WORK_TREE", ".").env_remove("HOME");
        goes_on(&mut window, 1);
        assert_eq!(message(&clone), "ABC-7 from a window");
        goes_on(&mut clone.command(&["commit", "--allow-empty", "--no-verify", "-m", "past it"]), 0);
        let tree = clone.git(&["rev-parse", "HEAD^{tree}"]);
        let plumbed = clone.git(&["commit-tree", &tree, "-p", "HEAD", "-m", "by hand"]);
        clone.git(&["update-ref", "refs/heads/ABC-7", &plumbed]);
        for number in 0..30 {
            fs::write(clone.path.join(format!("new-{number}")), "x").unwrap();
            clone.git(&["add", "--all"]);
            clone.git(&["commit", "--quiet", "-m", &format!("step {number}")]);
        }
        let before = clone.git(&["log", "--format=%B"]);
        let mut rebase = clone.command(&["rebase", "--quiet", "-i", "--force-rebase", "HEAD~30"]);
        let said = goes_on(rebase.env("GIT_SEQUENCE_EDITOR", "true").env("GIT_EDITOR", "true"), 31);
        assert_eq!(clone.git(&["log", "--format=%B"]), before, "{said}");
        let patch = clone.command(&["format-patch", "--stdout", "-3"]).output().unwrap().stdout;
        clone.git(&["checkout", "--quiet", "-b", "ABC-8", "HEAD~3"]);
        let mut am = clone.command(&["am", "--quiet"]).stdin(Stdio::piped()).spawn().unwrap();
        am.stdin.take().unwrap().write_all(&patch).unwrap();
        assert!(am.wait().unwrap().success());
        assert_eq!(message(&clone), "ABC-7 step 29", "a patch keeps its message");
        // Git tells of each branch by itself.
        goes_on(&mut clone.command(&["push", "origin", "HEAD", "ABC-7"]), 2);
    }
}

#[test]
fn c3_an_agent_that_is_gone_or_kills_itself_leaves_commits_and_pushes_alone() {
    let world = calm_world();
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "tool");
    clone.commit("begin");
    let own = world.folder.join("own-agent");
    fs::copy(env!("CARGO_BIN_EXE_agent"), &own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
    let mut install = world.command(&own);
    assert!(install.args(["install", clone.path.to_str().unwrap()]).output().unwrap().status.success());
    for body in ["kill -9 $$", "kill -SEGV $$", "exit 127"] {
        fs::remove_file(&own).unwrap();
        write_script(&own, body);
        goes_on(&mut clone.command(&["commit", "--allow-empty", "-m", "x"]), 0);
        goes_on(&mut clone.command(&["push", "origin", "HEAD:main"]), 0);
    }
    fs::remove_file(&own).unwrap();
    if world.command("agent").output().is_ok() {
        return skipped("another agent is installed here");
    }
    goes_on(&mut clone.command(&["commit", "--allow-empty", "-m", "y"]), 0);
    goes_on(&mut clone.command(&["push", "origin", "HEAD:main"]), 0);
}

#[test]
fn c3_a_push_of_the_branch_that_the_remote_begins_on_is_told() {
    let world = calm_world();
    let repository = world.plain_repository("tool", &[]);
    let first = world.clone_of(&repository, "first");
    first.commit("begin");
    first.push(&["origin", "HEAD:main"]);
    // One that is cloned with something in it has a ref that stands for that branch.
    let clone = world.clone_of(&repository, "second");
    assert_eq!(clone.git(&["symbolic-ref", "refs/remotes/origin/HEAD"]), "refs/remotes/origin/main");
    world.agent_says(&["install", clone.path.to_str().unwrap()]);
    clone.commit("ABC-1 more");
    let text = clone.push(&["origin", "HEAD:main"]);
    assert!(text.contains("1 commit"), "{text}");
}
