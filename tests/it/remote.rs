//! All clones of a server at once: hooks out of Git's configuration, and clones that are known by their remotes.
//!
//! Whether Git includes what it is to include, Git itself is asked. That it then runs the hooks is seen where there is a Git that
//! does; everywhere the commands that stand there are run as such a Git runs them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{Repository, World, gits, success};
use crate::hook::{calm_world, is_root, skipped, write_script};
use crate::uninstall::{assert_same, tree};

const SERVER: &str = "ssh://git.example.org/";
const EVENTS: [&str; 4] = ["prepare-commit-msg", "commit-msg", "pre-push", "reference-transaction"];

/// A world whose Git says to be of this version, and where addresses of the server lead to the folder of repositories.
fn world_with(version: &str) -> World {
    world_of(&gits()[0], version)
}

fn world_of(git: &Path, version: &str) -> World {
    let mut world = calm_world();
    let first = world.folder.join("first");
    let body =
        format!("[ \"$1\" = --version ] && {{ echo git version {version}; exit; }}\nexec {} \"$@\"", git.display());
    write_script(&first.join("git"), &body.replace("(", "\\(").replace(")", "\\)"));
    world.first = Some(first);
    lead_to_the_server(&world);
    world
}

/// What a person has in their configuration already.
fn lead_to_the_server(world: &World) {
    let repositories = world.folder.join("repositories");
    for address in [SERVER, "git@git.example.org:", "https://elsewhere.example/"] {
        let key = format!("url.{}/.insteadOf", repositories.display());
        success(world.command("git").args(["config", "--global", "--add", &key, address]));
    }
    let text = fs::read_to_string(world.config()).unwrap();
    // The bare repositories stand for a server that knows nothing of us.
    fs::write(world.config(), text.replace("root = \"repositories\"", "root = \"nowhere\"")).unwrap();
}

fn global(world: &World) -> PathBuf {
    world.folder.join("home/.gitconfig")
}

fn clone<'w>(world: &'w World, address: &str, name: &str) -> Repository<'w> {
    let path = world.folder.join("clones").join(name);
    success(world.command("git").args(["clone", "--quiet", address]).arg(&path));
    Repository { world, path }
}

/// The commands that Git has in a clone for an event, asked of Git.
fn commands(clone: &Repository<'_>, event: &str) -> Vec<String> {
    let output = clone.command(&["config", "--get-regexp", r"^hook\..*\.event$"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let mut found: Vec<String> = Vec::new();
    for (key, what) in said.lines().filter_map(|line| line.split_once(' ')) {
        let command = clone.git(&["config", "--get", &key.replace(".event", ".command")]);
        if what == event && !found.contains(&command) {
            found.push(command);
        }
    }
    found
}

/// Runs what Git has for an event as it runs it: by a shell, with the arguments behind the command.
fn fire(clone: &Repository<'_>, event: &str, arguments: &[&str], input: &str) -> Output {
    let commands = commands(clone, event);
    let [command] = &commands[..] else { panic!("{event}: {commands:?}") };
    let mut shell = clone.world.command("sh");
    shell.args(["-c", &format!("{command} \"$@\""), command]).args(arguments).current_dir(&clone.path);
    // As Git does in a linked worktree and in a submodule.
    if clone.path.join(".git").is_file() {
        shell.env("GIT_DIR", clone.git(&["rev-parse", "--absolute-git-dir"]));
    }
    let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Commits as a Git does that runs what stands in its configuration; gives what was said.
#[track_caller]
fn commit(clone: &Repository<'_>, message: &str) -> String {
    let file = clone.git(&["rev-parse", "--git-path", "COMMIT_EDITMSG"]);
    fs::write(clone.path.join(&file), format!("{message}\n")).unwrap();
    let prepared = fire(clone, "prepare-commit-msg", &[&file, "message"], "");
    let checked = fire(clone, "commit-msg", &[&file], "");
    assert!(prepared.status.success() && checked.status.success(), "{prepared:?} {checked:?}");
    clone.git(&["commit", "--quiet", "--allow-empty", "-F", &file]);
    said(&prepared) + &said(&checked)
}

/// Pushes the branch as such a Git does; gives what was said.
#[track_caller]
fn push(clone: &Repository<'_>) -> String {
    let branch = clone.git(&["symbolic-ref", "HEAD"]);
    let short = branch.strip_prefix("refs/heads/").unwrap();
    let new = clone.git(&["rev-parse", "HEAD"]);
    let none = "0".repeat(new.len());
    let before = fire(clone, "pre-push", &["origin", SERVER], &format!("{branch} {new} {branch} {none}\n"));
    assert!(before.status.success(), "{before:?}");
    clone.git(&["push", "--quiet", "origin", "HEAD"]);
    let moved = format!("{none} {new} refs/remotes/origin/{short}\n");
    let mut text = said(&before);
    for state in ["preparing", "prepared", "committed"] {
        let output = fire(clone, "reference-transaction", &[state], &moved);
        assert!(output.status.success(), "{output:?}");
        text += &said(&output);
    }
    text
}

fn json(world: &World, arguments: &[&str]) -> Value {
    let output = world.agent(arguments).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[test]
fn k15_one_word_leads_git_to_our_hooks_in_all_clones_of_a_server_and_nowhere_else() {
    for git in gits() {
        let world = world_of(&git, "2.54.0");
        world.plain_repository("tool", &[]);
        let early = clone(&world, "ssh://git.example.org/tool.git", "early");
        early.commit("begin");
        early.git(&["push", "--quiet", "origin", "HEAD"]);
        let before = fs::read(global(&world)).unwrap();
        let output = world.agent_says(&["install", "--remote", "git.example.org"]);
        assert!(output.contains("leads Git to hooks of ours in each clone of git.example.org"), "{output}");
        let late = clone(&world, "git@git.example.org:tool.git", "late");
        early.git(&["worktree", "add", "--quiet", "../linked"]);
        let linked = Repository { world: &world, path: world.folder.join("clones/linked") };
        for clone in [&early, &late, &linked] {
            for event in EVENTS {
                assert_eq!(commands(clone, event).len(), 1, "{event} in {}", clone.path.display());
            }
        }
        let elsewhere = clone(&world, "https://elsewhere.example/tool.git", "elsewhere");
        let server = Repository { world: &world, path: world.folder.join("repositories/tool.git") };
        for other in [&elsewhere, &server] {
            assert!(EVENTS.iter().all(|event| commands(other, event).is_empty()), "{}", other.path.display());
            // Git reads what it is to include, and has no objection.
            other.git(&["log", "-1", "--format=%s"]);
        }
        let once = fs::read(global(&world)).unwrap();
        let again = world.agent_says(&["install", "--remote", "git.example.org"]);
        assert!(again.contains("already"), "{again}");
        assert_eq!(fs::read(global(&world)).unwrap(), once);
        world.agent_says(&["install", "--remote", "https://elsewhere.example"]);
        assert_eq!(commands(&elsewhere, "commit-msg").len(), 1);
        let one = world.agent_says(&["uninstall", "--remote", "https://elsewhere.example"]);
        assert!(one.contains("clones of https://elsewhere.example any more"), "{one}");
        assert!(commands(&elsewhere, "commit-msg").is_empty());
        assert_eq!(fs::read(global(&world)).unwrap(), once);
        world.agent_says(&["uninstall", "--remote"]);
        assert_eq!(fs::read(global(&world)).unwrap(), before);
        assert!(!world.folder.join("git-hooks").exists() && commands(&early, "commit-msg").is_empty());
        assert!(world.agent_says(&["uninstall", "--remote"]).contains("leads to no hooks of ours"));
    }
}

fn version(git: &Path) -> Option<(u32, u32)> {
    let told = Command::new(git).arg("--version").output().ok()?;
    let text = String::from_utf8(told.stdout).ok()?;
    let mut numbers = text.trim().strip_prefix("git version ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[test]
fn k15_a_git_that_is_too_old_is_told_and_nothing_is_written() {
    for old in ["2.53.0", "2.50.1 (Apple Git-155)"] {
        let world = world_with(old);
        let before = tree(&world.folder);
        let output = world.agent(&["install", "--remote", "git.example.org"]).output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("git {old}")) && text.contains("Git 2.54 and later does"), "{text}");
        assert!(text.contains("nothing was written") && text.contains("`agent install` in each clone"), "{text}");
        assert_same(&before, &tree(&world.folder));
    }
}

#[test]
fn k15_a_clone_that_nobody_installed_in_is_linked_from_its_first_hook_on() {
    let world = world_with("2.54.0.windows.1");
    world.plain_repository("team/tool", &[]);
    let told = world.agent_says(&["install", "--remote", "git.example.org"]);
    assert!(
        told.contains("+ name = \"git.example.org\"") && told.contains("+ remotes = [\"git.example.org\"]"),
        "{told}"
    );
    let _daemon = world.daemon();
    let clone = clone(&world, "ssh://git.example.org/team/tool.git", "work");
    let path = clone.path.to_str().unwrap();
    let looked = world.agent_says(&["doctor", "--offline", path]);
    assert!(looked.contains("belongs to account git.example.org by its remote"), "{looked}");
    assert!(looked.contains("gets its id from its first hook"), "{looked}");
    clone.git(&["checkout", "--quiet", "-b", "ABC-7"]);
    let text = commit(&clone, "begin");
    assert!(text.contains("jira: links ABC-7"), "{text}");
    assert_eq!(clone.git(&["log", "-1", "--format=%s"]), "ABC-7 begin");
    let id = clone.git(&["config", "--local", "agent.repoid"]);
    let text = push(&clone);
    assert!(text.contains("jira: 1 commit") && text.contains("queued for Jira"), "{text}");
    world.wait_for_jira(1, 1);
    // All that people look at knows it.
    let shown = json(&world, &["account", "show", "git.example.org", "--json"]);
    assert_eq!((&shown["root"], &shown["remotes"][0]), (&Value::Null, &Value::from("git.example.org")));
    let one = &shown["repositories"][0];
    assert_eq!((&one["name"], &one["reached"]), (&Value::from("team/tool"), &Value::from("config")), "{shown}");
    assert!(one["last_event_at"].as_i64() > Some(0), "{shown}");
    let status = world.agent_says(&["status"]);
    assert!(status.contains("account git.example.org (clones of git.example.org) -> jira: 1 repositories"), "{status}");
    let hooks = json(&world, &["hooks", "--json", path]);
    let reached = hooks["hooks"].as_array().unwrap().iter();
    let reached: Vec<_> = reached.map(|hook| (&hook["hook"], &hook["reached"], &hook["healthy"])).collect();
    assert_eq!(reached.len(), 4);
    assert!(reached.iter().all(|(_, how, healthy)| *how == "config" && **healthy == true), "{hooks}");
    let first = world.first.as_ref().unwrap().join("git");
    let configured = hooks["configured"].as_array().unwrap();
    assert_eq!(configured.len(), 4, "{hooks}");
    assert!(configured.iter().all(|one| one["ours"] == true && one["scope"] == "global"), "{hooks}");
    assert_eq!(configured[0]["run_by"][0], first.to_str().unwrap(), "{hooks}");
    let looked = world.agent_says(&["doctor", "--offline", path]);
    assert!(looked.contains("commit-msg fires, out of Git's configuration"), "{looked}");
    // Its id stays, and so does what it is.
    commit(&clone, "go on");
    push(&clone);
    world.wait_for_jira(2, 1);
    assert_eq!(clone.git(&["config", "--local", "agent.repoid"]), id);
    // A linked worktree is the same clone.
    clone.git(&["worktree", "add", "--quiet", "-b", "ABC-8", "../linked"]);
    let linked = Repository { world: &world, path: world.folder.join("clones/linked") };
    assert!(commit(&linked, "there").contains("jira: links ABC-8"));
    assert!(push(&linked).contains("queued for Jira"));
    world.wait_for_jira(3, 2);
    assert_eq!(linked.git(&["config", "--local", "agent.repoid"]), id);
    // The account goes with all that belongs to it.
    let gone = world.agent_says(&["account", "remove", "git.example.org", "--yes"]);
    assert!(gone.contains("account git.example.org: 1 repositories"), "{gone}");
    world.wait_for_jira(0, 0);
    assert!(!clone.path.join(".git/agent").exists() && commands(&clone, "commit-msg").is_empty());
    assert!(!fs::read_to_string(global(&world)).unwrap().contains("hasconfig"));
    let left = clone.command(&["config", "--local", "agent.repoid"]).output().unwrap();
    assert_eq!(left.status.code(), Some(1), "{left:?}");
}

#[test]
fn k15_a_submodule_is_a_clone_of_its_own() {
    let world = world_with("2.54.0");
    world.plain_repository("part", &[]);
    world.plain_repository("whole", &[]);
    let part = clone(&world, "ssh://git.example.org/part.git", "part");
    part.commit("begin");
    part.git(&["push", "--quiet", "origin", "HEAD"]);
    world.agent_says(&["install", "--remote", "ssh://git.example.org/part.git"]);
    let whole = clone(&world, "ssh://git.example.org/whole.git", "whole");
    let file = ["-c", "protocol.file.allow=always"];
    let add = ["submodule", "--quiet", "add", "ssh://git.example.org/part.git", "inner"];
    whole.git(&[&file[..], &add].concat());
    assert!(commands(&whole, "commit-msg").is_empty(), "it is not what was named");
    let inner = Repository { world: &world, path: whole.path.join("inner") };
    assert!(commit(&inner, "ABC-1 in the submodule").contains("jira: links ABC-1"));
    let text = push(&inner);
    assert!(text.contains("kept for Jira until the daemon is back"), "{text}");
    assert!(whole.path.join(".git/modules/inner/agent/taken-up").exists());
}

#[test]
fn k15_doctor_says_when_git_is_not_led_to_our_hooks_any_more() {
    let world = world_with("2.54.0");
    let doctor = || {
        let output = world.agent(&["doctor", "--offline"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let before = fs::read(global(&world)).unwrap();
    world.agent_says(&["install", "--remote", "git.example.org"]);
    assert!(doctor().contains("ok   hooks are in all clones of git.example.org, which belong to account"));
    fs::remove_file(world.folder.join("git-hooks/hooks/pre-push")).unwrap();
    assert!(doctor().contains("git-hooks/hooks/pre-push is gone"), "{}", doctor());
    world.agent_says(&["install", "--remote", "git.example.org"]);
    fs::write(world.folder.join("git-hooks/gitconfig"), "").unwrap();
    assert!(doctor().contains("not as this agent writes it"), "{}", doctor());
    world.agent_says(&["install", "--remote", "git.example.org"]);
    // As a tool does that writes people's configurations anew.
    fs::write(global(&world), before).unwrap();
    let text = doctor();
    assert!(text.contains("does not lead Git to our hooks any more"), "{text}");
    assert!(text.contains("-> agent install --remote git.example.org"), "{text}");
    world.agent_says(&["install", "--remote", "git.example.org"]);
    assert!(doctor().contains("ok   hooks are in all clones of git.example.org"));
    world.agent_says(&["uninstall", "--remote"]);
    assert!(doctor().contains("hooks are where somebody put them: agent install --remote git.example.org"));
}

#[test]
fn k15_who_got_the_hooks_from_an_administrator_has_a_drop_box_from_the_first_one_on() {
    let world = world_with("2.54.0");
    world.plain_repository("tool", &[]);
    let of_all = world.folder.join("xdg/git-jira-agent/config.toml");
    fs::create_dir_all(of_all.parent().unwrap()).unwrap();
    let text = "[daemon]\non_demand = false\n\n[[account]]\nname = \"company\"\nremotes = [\"git.example.org\"]\n";
    fs::write(&of_all, text).unwrap();
    world.agent_says(&["--config", of_all.to_str().unwrap(), "install", "--remote"]);
    let clone = clone(&world, "ssh://git.example.org/tool.git", "work");
    // The hooks name that configuration, whatever the environment does.
    assert!(commit(&clone, "ABC-1 begin").contains("jira: links ABC-1"));
    assert!(push(&clone).contains("1 commit kept for Jira"));
    let spool = world.folder.join("home/.local/state/git-jira-agent/spool/incoming");
    assert_eq!(fs::read_dir(spool).unwrap().count(), 1);
    let chosen = fs::read_to_string(clone.path.join(".git/agent/config")).unwrap();
    assert_eq!(chosen.trim_end(), of_all.to_str().unwrap());
}

#[test]
fn k15_a_push_past_the_hooks_of_such_a_clone_is_found() {
    let world = world_with("2.54.0");
    let text = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), text.replace("[daemon]", "[daemon]\nscan_minutes = 1")).unwrap();
    world.plain_repository("tool", &[]);
    world.agent_says(&["install", "--remote", "git.example.org"]);
    let daemon = world.daemon();
    let clone = clone(&world, "ssh://git.example.org/tool.git", "work");
    commit(&clone, "not pushed yet, and not UTF-8");
    // The daemon has not heard of it, but its first hook noted it.
    let shown = world.agent_says(&["account", "show", "git.example.org"]);
    assert!(
        shown.contains("a clone is known once a hook of it has fired") && shown.contains("tool: config"),
        "{shown}"
    );
    // Git's log of refs knows seconds only.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let past = clone.commit("ABC-2 past the hooks");
    clone.git(&["push", "--quiet", "--no-verify", "origin", "HEAD"]);
    std::thread::sleep(std::time::Duration::from_secs(6));
    let _daemon = world.restarted(daemon);
    world.wait_for_jira(1, 0);
    assert_eq!(world.owed("commit"), [past]);
}

#[test]
fn k15_whatever_becomes_of_our_files_a_commit_and_a_push_go_on() {
    let world = world_with("2.54.0");
    world.plain_repository("tool", &[]);
    // An agent that can be taken away.
    let agent = world.folder.join("it's a place/agent");
    fs::create_dir_all(agent.parent().unwrap()).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_agent"), &agent).unwrap();
    success(world.command(&agent).args(["install", "--remote", "git.example.org"]));
    let clone = clone(&world, "ssh://git.example.org/tool.git", "work");
    fs::write(clone.path.join("a message"), "ABC-1 begin\n").unwrap();
    let checked = fire(&clone, "commit-msg", &["a message"], "");
    assert!(checked.status.success() && said(&checked).contains("jira: links ABC-1"), "{checked:?}");
    let kept: Vec<_> = EVENTS.iter().map(|event| (*event, commands(&clone, event)[0].clone())).collect();
    let all_pass = |when: &str| {
        for (event, command) in &kept {
            let mut shell = world.command("sh");
            shell.args(["-c", &format!("{command} \"$@\""), command, "a message"]).current_dir(&clone.path);
            let output = shell.output().unwrap();
            assert!(output.status.success() && said(&output).is_empty(), "{when}: {event}: {output:?}");
        }
    };
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o644)).unwrap();
    all_pass("it cannot be started");
    fs::remove_file(&agent).unwrap();
    all_pass("it is gone");
    fs::remove_dir_all(world.folder.join("git-hooks")).unwrap();
    all_pass("the shims are gone");
    // Git passes over an inclusion that leads nowhere.
    clone.commit("ABC-1 begin");
    clone.git(&["push", "--quiet", "origin", "HEAD"]);
}

#[test]
fn k15_a_refusal_by_a_hook_in_the_configuration_refuses() {
    let world = world_with("2.54.0");
    let text = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), format!("{text}\n[[policy]]\nlevel = \"block\"\nkey = true\n")).unwrap();
    world.plain_repository("tool", &[]);
    world.agent_says(&["install", "--remote", "git.example.org", "--served"]);
    let clone = clone(&world, "ssh://git.example.org/tool.git", "work");
    fs::write(clone.path.join("message"), "no key\n").unwrap();
    let refused = fire(&clone, "commit-msg", &["message"], "");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(said(&refused).contains("names no issue"), "{refused:?}");
    // The server tells Jira itself, so nothing is noted of a push.
    assert!(commit(&clone, "ABC-1 begin").contains("jira: links ABC-1"));
    assert_eq!(push(&clone), "");
    assert!(
        !clone.path.join(".git/agent/pushing").exists()
            && !world.spool().join("incoming").read_dir().unwrap().any(|_| true)
    );
}

#[test]
fn k15_where_our_files_serve_a_clone_too_each_hook_speaks_once() {
    let world = world_with("2.54.0");
    world.plain_repository("tool", &[]);
    world.agent_says(&["install", "--remote", "git.example.org"]);
    let clone = clone(&world, "ssh://git.example.org/tool.git", "work");
    let path = clone.path.to_str().unwrap();
    world.agent_says(&["install", path]);
    fs::write(clone.path.join("message"), "ABC-1 begin\n").unwrap();
    let quiet = |clone: &Repository<'_>| {
        let output = fire(clone, "commit-msg", &["message"], "");
        assert!(output.status.success(), "{output:?}");
        said(&output).is_empty()
    };
    assert!(quiet(&clone), "its own file speaks");
    let own = clone.command(&["commit", "--quiet", "--allow-empty", "-F", "message"]).output().unwrap();
    assert!(said(&own).contains("jira: links ABC-1"), "{own:?}");
    let hooks = json(&world, &["hooks", "--json", path]);
    let file = |hook: &Value| hook["reached"] == "shim" || hook["reached"] == "standby";
    assert!(hooks["hooks"].as_array().unwrap().iter().all(file), "{hooks}");
    // Where Git does not come to the file, the other one does the work.
    clone.git(&["config", "core.hooksPath", "/dev/null"]);
    assert!(!quiet(&clone), "nobody else would speak");
    let hooks = json(&world, &["hooks", "--json", path]);
    assert!(hooks["hooks"].as_array().unwrap().iter().all(|hook| hook["reached"] == "config"), "{hooks}");
}

#[test]
fn k15_one_clone_can_be_left_out_and_let_in_again() {
    let world = world_with("2.54.0");
    world.plain_repository("team/tool", &[]);
    world.agent_says(&["install", "--remote", "git.example.org"]);
    let clone = clone(&world, "ssh://git.example.org/team/tool.git", "work");
    let path = clone.path.to_str().unwrap();
    assert!(commit(&clone, "ABC-1 begin").contains("jira: links ABC-1"));
    let told = world.agent_says(&["uninstall", path]);
    assert!(told.contains("account git.example.org leaves out team/tool from now on"), "{told}");
    assert_eq!(commit(&clone, "ABC-2 go on"), "");
    clone.git(&["config", "hook.git-jira-agent-commit-msg.enabled", "false"]);
    world.agent_says(&["install", path]);
    world.agent_says(&["uninstall", path]);
    let hooks = world.agent(&["hooks", path]).output().unwrap();
    let text = String::from_utf8_lossy(&hooks.stdout).into_owned();
    assert!(text.contains("hook.git-jira-agent-commit-msg.enabled is false"), "{text}");
    assert!(text.contains("hook.git-jira-agent-pre-push on pre-push in the global configuration"), "{text}");
}

#[test]
fn k15_a_clone_of_another_server_and_one_that_is_somebody_elses_are_not_taken() {
    let world = world_with("2.54.0");
    world.plain_repository("tool", &[]);
    world.agent_says(&["install", "--remote", "git.example.org"]);
    let elsewhere = clone(&world, "https://elsewhere.example/tool.git", "elsewhere");
    let hook = |clone: &Repository<'_>| {
        fs::write(clone.path.join("message"), "ABC-1 begin\n").unwrap();
        let mut hook = world.agent(&["hook", "--beside", "commit-msg", "message"]);
        let output = hook.current_dir(&clone.path).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        said(&output)
    };
    let before = tree(&elsewhere.path.join(".git"));
    assert_eq!(hook(&elsewhere), "", "it belongs to no account");
    assert_same(&before, &tree(&elsewhere.path.join(".git")));
    let own = clone(&world, "ssh://git.example.org/tool.git", "own");
    assert!(hook(&own).contains("jira: links ABC-1"));
    if !is_root() {
        return skipped("only root can give a clone to somebody else");
    }
    let other = clone(&world, "ssh://git.example.org/tool.git", "other");
    for path in tree(&other.path).keys() {
        std::os::unix::fs::lchown(path, Some(4321), Some(4321)).unwrap();
    }
    assert_eq!(hook(&other), "", "it says what its owner likes");
    // Nor does the daemon take its word.
    let _daemon = world.daemon();
    let looked = world.agent(&["doctor", "--offline", other.path.to_str().unwrap()]).output().unwrap();
    let text = String::from_utf8_lossy(&looked.stdout).into_owned();
    assert!(text.contains("lies in no account"), "{text}");
}

#[test]
fn k15_git_keeps_its_configuration_while_somebody_else_writes_it() {
    let world = world_with("2.54.0");
    let before = fs::read(global(&world)).unwrap();
    let lock = world.folder.join("home/.gitconfig.lock");
    fs::write(&lock, "half").unwrap();
    let output = world.agent(&["install", "--remote", "git.example.org"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains(".gitconfig.lock is there"), "{output:?}");
    assert_eq!((fs::read(global(&world)).unwrap(), fs::read_to_string(&lock).unwrap()), (before, "half".to_owned()));
    assert!(!world.folder.join("git-hooks").exists());
    fs::remove_file(lock).unwrap();
    // A link stays one, and what it leads to keeps its rights.
    let real = world.folder.join("dotfiles");
    fs::rename(global(&world), &real).unwrap();
    symlink("../dotfiles", global(&world)).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    world.agent_says(&["install", "--remote", "git.example.org"]);
    assert!(global(&world).is_symlink());
    assert_eq!(real.metadata().unwrap().mode() & 0o777, 0o640);
    assert!(fs::read_to_string(&real).unwrap().contains("hasconfig:remote.*.url:ssh://git.example.org/**"));
}

#[test]
fn k15_the_configuration_is_the_one_that_git_uses() {
    let world = world_with("2.54.0");
    let xdg = world.folder.join("home/.config/git/config");
    fs::create_dir_all(xdg.parent().unwrap()).unwrap();
    fs::rename(global(&world), &xdg).unwrap();
    world.agent_says(&["install", "--remote", "git.example.org"]);
    assert!(!global(&world).exists());
    let written = fs::read_to_string(&xdg).unwrap();
    let ours = success(world.command("git").args(["config", "--global", "--get-regexp", "includeif"]));
    assert!(written.contains("hasconfig") && ours.contains("git-hooks/gitconfig"), "{ours}");
    world.agent_says(&["uninstall", "--remote"]);
    let named = world.folder.join("named");
    let mut install = world.agent(&["install", "--remote", "git.example.org"]);
    success(install.env("GIT_CONFIG_GLOBAL", &named));
    assert!(fs::read_to_string(&named).unwrap().contains("hasconfig"));
    assert!(!fs::read_to_string(&xdg).unwrap().contains("hasconfig"));
    // It goes from where it was put, whoever calls.
    world.agent_says(&["uninstall", "--remote"]);
    assert!(!named.exists());
}

#[test]
fn k15_an_administrator_sets_everybody_on_a_machine_up_with_one_word() {
    let world = world_with("2.54.0");
    world.plain_repository("team/tool", &[]);
    // What an organisation puts on its machines: the server tells Jira, the clones have its rules.
    let of_all = world.folder.join("xdg/git-jira-agent/config.toml");
    fs::create_dir_all(of_all.parent().unwrap()).unwrap();
    let rules = "[daemon]\non_demand = false\n\n[[account]]\nname = \"company\"\nremotes = [\"git.example.org\"]\n\
                 served = true\n\n[[policy]]\nlevel = \"block\"\nkey = true\n";
    fs::write(&of_all, rules).unwrap();
    let machine = world.folder.join("etc-gitconfig");
    fs::write(&machine, "[core]\n\teditor = vi").unwrap();
    let before = tree(&world.folder);
    let rights = |mode| fs::set_permissions(&world.folder, fs::Permissions::from_mode(mode)).unwrap();
    let somebody = |program: &str, home: &str| {
        let mut command = world.command(program);
        command.env_remove("GIT_CONFIG_NOSYSTEM").env_remove("GIT_JIRA_AGENT_CONFIG");
        command.env("GIT_CONFIG_SYSTEM", &machine).env("XDG_CONFIG_DIRS", world.folder.join("xdg"));
        command.env("HOME", world.folder.join(home)).env("XDG_RUNTIME_DIR", world.folder.join(home));
        command
    };
    let agent = env!("CARGO_BIN_EXE_agent");
    // Git would work for nobody who cannot read what it is to include.
    let was = world.folder.metadata().unwrap().mode();
    rights(0o700);
    let closed = somebody(agent, "home").args(["install", "--system", "--remote"]).output().unwrap();
    assert!(!closed.status.success() && said(&closed).contains("is closed to others"), "{closed:?}");
    rights(was);
    assert_same(&before, &tree(&world.folder));
    rights(0o755);
    let install = format!("umask 077; exec {agent} install --system --remote");
    success(somebody("sh", "home").args(["-c", &install]));
    for (path, mode) in [("", 0o755), ("gitconfig", 0o644), ("hooks", 0o755), ("hooks/pre-push", 0o755)] {
        let path = of_all.with_file_name("git-hooks").join(path);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, mode, "{}", path.display());
    }
    let installed = fs::read_to_string(&machine).unwrap();
    assert!(installed.starts_with("[core]\n\teditor = vi\n"), "{installed}");
    assert_eq!(fs::read_to_string(&of_all).unwrap(), rules, "it said so already");
    for home in ["ann", "bob"] {
        let folder = world.folder.join(home);
        fs::create_dir(&folder).unwrap();
        let insteads = fs::read(global(&world)).unwrap();
        fs::write(folder.join(".gitconfig"), insteads).unwrap();
        success(
            somebody("git", home).args(["clone", "-q", "ssh://git.example.org/team/tool.git"]).current_dir(&folder),
        );
        let clone = folder.join("tool");
        let get = |key: &str| success(somebody("git", home).args(["config", "--get", key]).current_dir(&clone));
        let command = get("hook.git-jira-agent-commit-msg.command").trim().to_owned();
        assert_eq!(get("hook.git-jira-agent-commit-msg.event").trim(), "commit-msg");
        for (message, expected, text) in [("no key", 1, "names no issue"), ("ABC-1 begin", 0, "jira: links ABC-1")] {
            fs::write(clone.join("message"), message).unwrap();
            let mut shell = somebody("sh", home);
            // Who is root has the service's configuration, and names this one.
            if is_root() {
                shell.env("GIT_JIRA_AGENT_CONFIG", &of_all);
            }
            shell.args(["-c", &format!("{command} \"$@\""), &command, "message"]).current_dir(&clone);
            let output = shell.output().unwrap();
            assert_eq!(output.status.code(), Some(expected), "{output:?}");
            assert!(said(&output).contains(text), "{output:?}");
        }
    }
    for home in ["ann", "bob"] {
        fs::remove_dir_all(world.folder.join(home)).unwrap();
    }
    success(somebody(agent, "home").args(["uninstall", "--system", "--remote"]));
    rights(was);
    assert_same(&before, &tree(&world.folder));
}

/// Has an older Git run what stands in its configuration, from where and with what it starts any hook.
fn run_configured(world: &World) {
    let folder = world.folder.join("runs");
    for event in EVENTS {
        let get = format!("git config --get hook.git-jira-agent-{event}.command");
        let body = format!("command=$({get}) || exit 0\nexec sh -c \"$command \\\"\\$@\\\"\" \"$command\" \"$@\"");
        write_script(&folder.join(event), &body);
    }
    success(world.command("git").args(["config", "--global", "core.hooksPath"]).arg(&folder));
}

#[test]
fn k15_wherever_git_starts_a_hook_it_finds_its_clone() {
    for git in gits() {
        let world = world_of(&git, "2.54.0");
        for name in ["tool", "part"] {
            world.plain_repository(name, &[]);
        }
        let part = clone(&world, "ssh://git.example.org/part.git", "part");
        part.commit("begin");
        part.git(&["push", "--quiet", "origin", "HEAD"]);
        world.agent_says(&["install", "--remote", "git.example.org"]);
        run_configured(&world);
        let clone = clone(&world, "ssh://git.example.org/tool.git", "work");
        clone.git(&["checkout", "--quiet", "-b", "ABC-7"]);
        let runs = |folder: &Path, arguments: &[&str]| {
            let mut git = world.command("git");
            let output = git.args(arguments).current_dir(folder).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {output:?}");
            said(&output)
        };
        let commit = |folder: &Path, more: &[&str], key: &str| {
            let text = runs(folder, &[more, &["commit", "--quiet", "--allow-empty", "-m", "go on"]].concat());
            assert_eq!(text.matches(&format!("jira: links {key}")).count(), 1, "{more:?}: {text}");
        };
        let push = |folder: &Path, more: &[&str]| {
            let text = runs(folder, &[more, &["push", "origin", "HEAD"]].concat());
            let told: Vec<&str> = text.lines().filter(|line| line.contains("kept for Jira")).collect();
            assert!(told.len() == 1 && told[0].contains("jira: 1 commit"), "{more:?}: {text}");
        };
        commit(&clone.path, &[], "ABC-7");
        push(&clone.path, &[]);
        let deep = clone.path.join("deep/er");
        fs::create_dir_all(&deep).unwrap();
        commit(&deep, &[], "ABC-7");
        push(&deep, &[]);
        let (dot_git, tree) = (clone.path.join(".git"), clone.path.display().to_string());
        let named = [format!("--git-dir={}", dot_git.display()), format!("--work-tree={tree}")];
        let named: Vec<&str> = named.iter().map(String::as_str).collect();
        commit(&world.folder, &named, "ABC-7");
        push(&world.folder, &named);
        commit(&world.folder, &["-C", &tree], "ABC-7");
        push(&world.folder, &["-C", &tree]);
        clone.git(&["worktree", "add", "--quiet", "-b", "ABC-8", "../linked"]);
        let linked = world.folder.join("clones/linked");
        commit(&linked, &[], "ABC-8");
        push(&linked, &[]);
        fs::create_dir(linked.join("deep")).unwrap();
        commit(&linked.join("deep"), &[], "ABC-8");
        push(&linked.join("deep"), &[]);
        let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "ssh://git.example.org/part.git"];
        clone.git(&add);
        let inner = clone.path.join("part");
        runs(&inner, &["checkout", "--quiet", "-b", "ABC-9"]);
        commit(&inner, &[], "ABC-9");
        push(&inner, &[]);
        // What a rebase makes of commits is none of our business, and what it moves is no push.
        clone.git(&["stash", "--quiet"]);
        let text = runs(&clone.path, &["rebase", "--quiet", "--force-rebase", "HEAD~2"]);
        assert!(!text.contains("kept for Jira"), "{text}");
        let id = |folder: &Path| {
            let mut git = world.command("git");
            success(git.args(["config", "--local", "agent.repoid"]).current_dir(folder))
        };
        assert_eq!(id(&clone.path), id(&linked));
        assert_ne!(id(&clone.path), id(&inner));
    }
}

#[test]
fn k15_a_git_that_runs_hooks_out_of_its_configuration_runs_ours() {
    let new: Vec<PathBuf> =
        gits().into_iter().filter(|git| version(git).is_some_and(|version| version >= (2, 54))).collect();
    if new.is_empty() {
        return skipped("no Git 2.54 or later is here, which runs hooks out of its configuration");
    }
    for git in new {
        let mut world = calm_world();
        world.use_git(&git);
        lead_to_the_server(&world);
        world.plain_repository("tool", &[]);
        world.agent_says(&["install", "--remote", "git.example.org"]);
        let _daemon = world.daemon();
        let clone = clone(&world, "ssh://git.example.org/tool.git", "work");
        clone.git(&["checkout", "--quiet", "-b", "ABC-7"]);
        let output = clone.command(&["commit", "--quiet", "--allow-empty", "-m", "begin"]).output().unwrap();
        assert_eq!(said(&output).matches("jira: links ABC-7").count(), 1, "{output:?}");
        let text = clone.push(&["origin", "HEAD"]);
        assert!(text.contains("queued for Jira"), "{text}");
        world.wait_for_jira(1, 1);
        clone.git(&["worktree", "add", "--quiet", "-b", "ABC-8", "../linked"]);
        let linked = Repository { world: &world, path: world.folder.join("clones/linked") };
        let output = linked.command(&["commit", "--quiet", "--allow-empty", "-m", "go on"]).output().unwrap();
        assert!(said(&output).contains("jira: links ABC-8"), "{output:?}");
        assert!(linked.push(&["origin", "HEAD"]).contains("queued for Jira"));
        world.wait_for_jira(2, 2);
    }
}
