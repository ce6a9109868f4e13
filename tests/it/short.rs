//! The short way of a push: the daemon reads and answers it, and no hook needs the whole program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use git_jira_agent::event::EventId;
use git_jira_agent::intake::{frame, spool};
use git_jira_agent_hook::call::{Call, Hook};

use crate::harness::{Daemon, Process, Repository, World, success, wait_until};
use crate::hook::{calm_world, is_root, skipped};

/// The programs in a folder of their own, from which the hooks of a repository were installed.
struct Installed<'w> {
    repository: Repository<'w>,
    agent: PathBuf,
}

/// Both programs, in a folder of their own.
fn programs(world: &World) -> PathBuf {
    let folder = world.folder.join("programs");
    fs::create_dir_all(&folder).unwrap();
    let agent = Path::new(env!("CARGO_BIN_EXE_agent"));
    let hook = agent.with_file_name("agent-hook");
    assert!(hook.exists(), "`tests/run` puts the program of the hooks beside the agent");
    for (from, to) in [(agent, "agent"), (&hook, "agent-hook")] {
        if !folder.join(to).exists() {
            fs::hard_link(from, folder.join(to)).or_else(|_| fs::copy(from, folder.join(to)).map(drop)).unwrap();
        }
    }
    folder.join("agent")
}

fn installed<'w>(world: &'w World, name: &str) -> Installed<'w> {
    let agent = programs(world);
    let repository = world.plain_repository(name, &[]);
    success(world.command(&agent).arg("install").arg(&repository.path));
    Installed { repository, agent }
}

#[test]
fn e3_a_push_is_read_and_answered_by_the_daemon_without_the_whole_program() {
    let world = calm_world();
    let _daemon = world.daemon();
    let Installed { repository, agent } = installed(&world, "app");
    let program = fs::read(agent.with_file_name("agent-hook")).unwrap();
    for hook in ["pre-receive", "post-receive"] {
        let copy = fs::read(repository.path.join("hooks").join(hook)).unwrap();
        assert!(
            copy.starts_with(&program)
                && copy.ends_with(format!("agent='{}'\nbefore=''\n", agent.display()).as_bytes())
        );
    }
    let clone = world.clone_of(&repository, "app");
    let first = clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main"]);
    let door = fs::read_link(repository.path.join("agent/door")).unwrap();
    assert_eq!(door, world.socket(), "the first push went the long way, and left a door behind");

    fs::rename(&agent, agent.with_file_name("away")).unwrap();
    let second = clone.commit("ABC-2 go on, and see ABC-3");
    let said = clone.push(&["origin", "HEAD:main"]);
    for line in ["jira: 1 commit queued for Jira", "/browse/ABC-2", "/browse/ABC-3"] {
        assert!(said.contains(line), "{said}");
    }
    let told = fs::read(repository.path.join("agent/told")).unwrap();
    let id: Vec<u8> = (0..20).map(|n| u8::from_str_radix(&second[2 * n..2 * n + 2], 16).unwrap()).collect();
    assert!(told.ends_with(&id), "what was told is noted by the hook");
    let said = clone.push(&["origin", "HEAD:refs/heads/ABC-4-branch"]);
    assert!(said.contains("jira: 1 branch queued for Jira") && !said.contains("ABC-2"), "{said}");
    world.wait_for_owed("commit", &[&first, &second]);
    world.wait_for_jira(2, 1);
}

#[test]
fn e3_a_push_that_finds_no_daemon_goes_the_long_way_and_one_without_any_program_goes_on() {
    let world = calm_world();
    let mut daemon = world.daemon();
    let Installed { repository, agent } = installed(&world, "app");
    let clone = world.clone_of(&repository, "app");
    let mut ids = vec![clone.commit("ABC-1 begin")];
    clone.push(&["origin", "HEAD:main"]);
    world.wait_until_idle();
    daemon.stop();

    ids.push(clone.commit("ABC-2 nobody there"));
    let said = clone.push(&["origin", "HEAD:main"]);
    assert!(said.contains("jira: 1 commit kept for Jira until the daemon is back"), "{said}");
    let away = agent.with_file_name("away");
    fs::rename(&agent, &away).unwrap();
    ids.push(clone.commit("ABC-3 nothing there"));
    let said = clone.push(&["origin", "HEAD:main"]);
    assert!(!said.contains("jira:"), "{said}");
    fs::remove_file(agent.with_file_name("agent-hook")).unwrap();
    ids.push(clone.commit("ABC-4 not even the hook"));
    clone.push(&["origin", "HEAD:main"]);

    let _daemon = world.daemon();
    world.wait_for_owed("commit", &ids.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn e3_a_hook_of_another_configuration_is_not_answered_by_this_daemon() {
    let world = calm_world();
    let _daemon = world.daemon();
    let Installed { repository, .. } = installed(&world, "app");
    let clone = world.clone_of(&repository, "app");
    let first = clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main"]);
    let other = world.folder.join("other.toml");
    let text = fs::read_to_string(world.config()).unwrap().replace("agent.sock", "other.sock");
    fs::write(&other, text.replace("\"spool\"", "\"other-spool\"")).unwrap();
    clone.commit("ABC-2 for another");
    let mut push = clone.command(&["push", "--quiet", "origin", "HEAD:main"]);
    let output = push.env("GIT_JIRA_AGENT_CONFIG", &other).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("1 commit found; nothing could store them now"), "{said}");
    world.wait_for_owed("commit", &[&first]);
}

#[test]
fn t21_a_head_that_leads_nowhere_is_mended_on_the_short_way_too() {
    let world = calm_world();
    let _daemon = world.daemon();
    let Installed { repository, .. } = installed(&world, "app");
    let clone = world.clone_of(&repository, "app");
    clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:refs/heads/ABC-1-topic"]);
    assert!(repository.path.join("agent/door").is_symlink());
    let said = clone.push(&["origin", "HEAD:master"]);
    assert!(said.contains("clones begin on master from now on"), "{said}");
}

#[test]
fn e3_where_the_daemon_may_only_read_the_hook_notes_what_was_told() {
    let world = calm_world();
    if !is_root() || world.command("setpriv").arg("--version").output().is_err() {
        return skipped("another user cannot be taken on without root and setpriv");
    }
    let (agent, user) = (programs(&world), Some(12_345));
    for path in [world.folder.clone(), world.folder.join("secret"), world.config(), world.folder.join("home")] {
        std::os::unix::fs::chown(path, user, user).unwrap();
    }
    let log = world.folder.join("daemon.log");
    let file = fs::File::create(&log).unwrap();
    let mut command = world.command("setpriv");
    command.args(["--reuid=12345", "--regid=12345", "--clear-groups"]).arg(&agent).args(["daemon", "run"]);
    command.stdout(file.try_clone().unwrap()).stderr(file);
    let _daemon = Daemon { process: Process(command.spawn().unwrap()), log };
    wait_until("the daemon is ready", || world.agent(&["daemon", "status"]).output().unwrap().status.success());
    let Installed { repository, .. } = installed(&world, "app");
    let clone = world.clone_of(&repository, "app");
    let mut ids = vec![clone.commit("ABC-1 begin")];
    clone.push(&["origin", "HEAD:main"]);

    fs::rename(&agent, agent.with_file_name("away")).unwrap();
    let before = fs::metadata(repository.path.join("agent/told")).unwrap().len();
    ids.push(clone.commit("ABC-2 go on"));
    let said = clone.push(&["origin", "HEAD:main"]);
    assert!(said.contains("jira: 1 commit queued for Jira"), "{said}");
    assert_eq!(fs::metadata(repository.path.join("agent/told")).unwrap().len(), before + 20);
    world.wait_for_owed("commit", &[&ids[0], &ids[1]]);
}

#[test]
fn e8_a_push_that_the_daemon_has_no_time_for_is_left_as_it_is_in_the_drop_box() {
    let world = calm_world();
    let daemon = world.daemon();
    let Installed { repository, agent } = installed(&world, "app");
    let clone = world.clone_of(&repository, "app");
    let mut ids = Vec::new();
    for message in ["ABC-1 begin", "ABC-2 by the daemon"] {
        ids.push(clone.commit(message));
        clone.push(&["origin", "HEAD:main"]);
    }
    world.wait_until_idle();
    assert_eq!(fs::read_link(repository.path.join("agent/drop")).unwrap(), world.spool());
    fs::rename(&agent, agent.with_file_name("away")).unwrap();
    daemon.process.signal(rustix::process::Signal::STOP);
    ids.push(clone.commit("ABC-3 nobody has time"));
    let said = clone.push(&["origin", "HEAD:main"]);
    assert!(said.contains("jira: this push is kept for Jira"), "{said}");
    assert_eq!(fs::read_dir(world.spool().join("incoming")).unwrap().count(), 1);
    daemon.process.signal(rustix::process::Signal::CONT);
    world.wait_for_owed("commit", &ids.iter().map(String::as_str).collect::<Vec<_>>());
    world.wait_for_jira(3, 0);
}

/// Whoever may leave files in the drop-box may not have the daemon look into any folder of the machine.
#[test]
fn s02_a_call_in_the_drop_box_about_a_repository_of_no_account_is_set_aside() {
    let world = calm_world();
    let _daemon = world.daemon();
    let elsewhere = world.folder.join("elsewhere.git");
    success(world.command("git").args(["init", "--quiet", "--bare"]).arg(&elsewhere));
    let call = Call {
        id: *b"sixteen bytes id",
        hook: Hook::PostReceive,
        git_dir: elsewhere.as_os_str().as_encoded_bytes().to_vec(),
        stdin: format!("{} {} refs/heads/main\n", "0".repeat(40), "1".repeat(40)).into_bytes(),
        claims: Vec::new(),
        push_options: Vec::new(),
        config: Vec::new(),
        at: 0,
        head: Vec::new(),
    };
    let frame = frame::wrap_as(frame::CALL, &minicbor::to_vec(&call).unwrap()).unwrap();
    spool::leave(&world.spool(), &EventId::of_call(call.id).to_string(), &frame).unwrap();
    wait_until("it is set aside", || world.status()["running"]["spool"]["corrupt"] == 1);
    assert!(world.log().contains("lies in no account"), "{}", world.log());
    assert!(world.events().is_empty());
}

/// A clone whose hooks know that no policy holds and where the daemon is, as they do from the second commit on.
fn known_clone(world: &World) -> (Repository<'_>, PathBuf) {
    let agent = programs(world);
    let clone = world.clone_of(&world.plain_repository("app", &[]), "app");
    success(world.command(&agent).arg("install").arg(&clone.path));
    let at = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    fs::File::options().write(true).open(world.config()).unwrap().set_modified(at).unwrap();
    clone.commit("begin");
    assert!(clone.path.join(".git/agent/plain").exists() && clone.path.join(".git/agent/door").is_symlink());
    (clone, agent)
}

/// What a commit says, with no other agent on the search path than the hook may find itself.
fn said_of(clone: &Repository<'_>, message: &str, editor: bool) -> String {
    let mut git = clone.command(&["commit", "--quiet", "--allow-empty", "-m", message]);
    git.args(editor.then_some("--edit")).env("GIT_EDITOR", "true").env("PATH", "/usr/bin:/bin");
    let output = git.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(message.starts_with(&clone.git(&["log", "-1", "--format=%B"])));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn k2_a_message_is_read_and_answered_by_the_daemon_without_the_whole_program() {
    let world = calm_world();
    let daemon = world.daemon();
    let (clone, agent) = known_clone(&world);
    let messages = [
        "ABC-1 mend the gate",
        "ABC-1 #time 1h dug\n\nand ABC-2 #comment see UTF-8",
        "XYZ-9 of another project",
        "ABC-1 with a line\n\n# that may be a comment",
    ];
    let by_agent: Vec<String> = messages.iter().map(|message| said_of(&clone, message, true)).collect();
    fs::rename(&agent, agent.with_file_name("away")).unwrap();
    for (message, by_agent) in messages.iter().zip(&by_agent).take(3) {
        assert!(by_agent.contains("jira: "), "{by_agent}");
        assert_eq!(said_of(&clone, message, false), *by_agent, "{message}");
    }
    assert_eq!(said_of(&clone, messages[0], true), "", "what an editor has shown is for the agent");
    assert_eq!(said_of(&clone, messages[3], false), "", "and so is what may have a comment");
    daemon.process.signal(rustix::process::Signal::STOP);
    assert_eq!(said_of(&clone, messages[0], false), "", "nobody is there, and the commit goes on");
    daemon.process.signal(rustix::process::Signal::CONT);
}

#[test]
fn c3_a_copy_of_the_program_outlives_its_agent_and_another_agent_takes_its_place() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (clone, agent) = known_clone(&world);
    let hook = fs::read(clone.path.join(".git/hooks/prepare-commit-msg")).unwrap();
    assert!(
        hook.starts_with(b"\x7fELF")
            && hook.ends_with(format!("\nagent='{}'\nbefore=''\n", agent.display()).as_bytes())
    );
    let inspected = success(world.command(&agent).args(["hooks", "--json"]).current_dir(&clone.path));
    assert!(inspected.contains("\"prepare-commit-msg\""), "{inspected}");
    // A tool that writes its hook there writes over the copy, not over the program.
    let program = fs::read(agent.with_file_name("agent-hook")).unwrap();
    fs::write(clone.path.join(".git/hooks/prepare-commit-msg"), "#!/bin/sh\n# lefthook\n").unwrap();
    assert_eq!(fs::read(agent.with_file_name("agent-hook")).unwrap(), program);
    fs::write(clone.path.join(".git/hooks/prepare-commit-msg"), &hook).unwrap();

    let bin = world.folder.join("bin");
    fs::create_dir(&bin).unwrap();
    fs::rename(&agent, bin.join("agent")).unwrap();
    let mut git = clone.command(&["commit", "--allow-empty", "-m", "ABC-1\n\n# by another"]);
    let output = git.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("jira: links ABC-1"), "{output:?}");
    fs::remove_file(bin.join("agent")).unwrap();
    fs::write(bin.join("agent"), "#!/bin/sh\necho something else\nexit 1\n").unwrap();
    fs::set_permissions(bin.join("agent"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut git = clone.command(&["commit", "--allow-empty", "-m", "ABC-1\n\n# by nobody"]);
    let output = git.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).output().unwrap();
    assert!(output.status.success() && !String::from_utf8_lossy(&output.stderr).contains("jira"), "{output:?}");
}

/// More than takes the short way: what was read of it already and what was not are one input to the agent.
#[test]
fn e3_a_push_of_very_many_branches_goes_the_long_way_and_none_of_them_is_lost() {
    const BRANCHES: usize = 3_000;
    let world = calm_world();
    let _daemon = world.daemon();
    let Installed { repository, .. } = installed(&world, "app");
    let clone = world.clone_of(&repository, "app");
    let id = clone.commit("begin");
    clone.push(&["origin", "HEAD:main"]);
    let name = |number: usize| format!("refs/heads/ABC-1-{number}-{}", "x".repeat(60));
    let list: String = (0..BRANCHES).map(|number| format!("create {} {id}\n", name(number))).collect();
    let mut update = clone.command(&["update-ref", "--stdin"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut update.stdin.take().unwrap(), list.as_bytes()).unwrap();
    assert!(update.wait().unwrap().success());
    clone.push(&["origin", "refs/heads/ABC-1-*"]);
    wait_until("all branches are known", || world.owed("branch").len() == BRANCHES);
}

#[test]
fn c3_a_commit_whose_messages_nobody_reads_any_more_is_made() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (clone, _) = known_clone(&world);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut git = clone.command(&["commit", "--quiet", "--allow-empty", "-m", "ABC-1 into the void"]);
    assert!(git.stderr(writer).status().unwrap().success());
    assert_eq!(clone.git(&["log", "-1", "--format=%s"]), "ABC-1 into the void");
}
