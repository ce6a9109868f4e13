//! Other tools that put hooks into clones, as they are today: before ours, after ours, and once more.
//!
//! `tests/run` puts them below `target/hook-tools`; without them these tests say that they were skipped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Repository, World, success};
use crate::hook::calm_world;
use crate::uninstall::tree;

/// What a tool is told, and how it is made to put its hooks.
struct Tool {
    name: &'static str,
    /// The program, below the folder of tools or on the machine.
    program: &'static str,
    /// Its file in the work tree.
    told: (&'static str, String),
    puts: &'static [&'static str],
    /// What of ours it has its own hook for.
    hooks: &'static [&'static str],
}

const OURS: [&str; 4] = ["prepare-commit-msg", "commit-msg", "pre-push", "reference-transaction"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/hook-tools")
}

fn program(name: &str) -> Option<PathBuf> {
    let places = [folder().join("node_modules/.bin"), folder().join("py/bin"), PathBuf::from("/usr/bin")];
    places.iter().map(|place| place.join(name)).find(|path| path.exists())
}

/// The search path in which Git, a hook and a tool find the tools.
fn search() -> String {
    let own = [folder().join("node_modules/.bin"), folder().join("py/bin")];
    let own: Vec<String> = own.iter().map(|path| path.display().to_string()).collect();
    format!("{}:{}", own.join(":"), std::env::var("PATH").unwrap())
}

/// A command that notes in a file that a tool's hook ran.
fn notes(world: &World, hook: &str) -> String {
    format!("echo {hook} >> {}", world.folder.join("ran").display())
}

fn ran(world: &World) -> Vec<String> {
    let path = world.folder.join("ran");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let _ = fs::remove_file(path);
    text.lines().map(str::to_owned).collect()
}

fn with_tools(command: &mut Command) -> &mut Command {
    command.env("PATH", search())
}

fn puts(world: &World, tool: &Tool, clone: &Repository<'_>) {
    fs::write(clone.path.join(tool.told.0), &tool.told.1).unwrap();
    let mut command = world.command(program(tool.program).unwrap());
    success(with_tools(command.args(tool.puts).current_dir(&clone.path)));
}

/// Commits and pushes, and finds that both did their part.
#[track_caller]
fn both_fire(world: &World, tool: &Tool, clone: &Repository<'_>, message: &str) {
    ran(world);
    let mut commit = clone.command(&["commit", "--allow-empty", "-m", &format!("{message}, not UTF-8")]);
    let output = with_tools(&mut commit).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("jira: links ABC-7"), "{}: {said}", tool.name);
    assert!(clone.git(&["log", "-1", "--format=%s"]).starts_with("ABC-7 "), "{}: the key is put in", tool.name);
    let mut push = clone.command(&["push", "origin", "HEAD"]);
    let output = with_tools(&mut push).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("queued"), "{}: {said}", tool.name);
    let noted = ran(world);
    for hook in tool.hooks {
        let times = noted.iter().filter(|one| one == hook).count();
        assert_eq!(times, 1, "{}: {hook} of the tool: {noted:?}", tool.name);
    }
}

fn hooks(world: &World, clone: &Repository<'_>) -> Value {
    let output = world.agent(&["hooks", "--json", clone.path.to_str().unwrap()]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn healthy(shown: &Value) -> Vec<(String, bool)> {
    let hooks = shown["hooks"].as_array().unwrap().iter();
    hooks.map(|hook| (hook["hook"].as_str().unwrap().to_owned(), hook["healthy"].as_bool().unwrap())).collect()
}

type Tree = BTreeMap<PathBuf, (u32, Vec<u8>)>;

/// The hooks of a clone, by name.
fn hooks_of(clone: &Repository<'_>) -> Tree {
    let dir = clone.path.join(".git/hooks");
    let all = tree(&dir).into_iter().filter(|(path, _)| *path != dir);
    all.map(|(path, it)| (path.strip_prefix(&dir).unwrap().to_owned(), it)).collect()
}

#[track_caller]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn check(tool: impl FnOnce(&World) -> Tool) {
    let world = calm_world();
    let _daemon = world.daemon();
    let tool = tool(&world);
    if program(tool.program).is_none() {
        eprintln!("skipped: {} is not there; tests/run installs it", tool.name);
        return;
    }
    let origin = world.plain_repository("tool", &[]);
    let begin = |name: &str| {
        let clone = world.clone_of(&origin, name);
        clone.git(&["checkout", "--quiet", "-b", &format!("ABC-7-{name}")]);
        clone.commit("begin");
        clone
    };
    // The tool was there first.
    let first = begin("first");
    puts(&world, &tool, &first);
    let alone = hooks_of(&first);
    let path = first.path.to_str().unwrap();
    world.agent_says(&["install", path]);
    both_fire(&world, &tool, &first, "one");
    for _ in 0..2 {
        puts(&world, &tool, &first);
        world.agent_says(&["install", path]);
        assert_eq!(healthy(&hooks(&world, &first)), OURS.map(|hook| (hook.to_owned(), true)), "{}", tool.name);
        both_fire(&world, &tool, &first, "again");
    }
    world.agent_says(&["uninstall", "--forget", path]);
    assert_eq!(hooks_of(&first), alone, "{}", tool.name);
    // Ours were there first.
    let second = begin("second");
    let path = second.path.to_str().unwrap();
    world.agent_says(&["install", path]);
    puts(&world, &tool, &second);
    world.agent_says(&["install", path]);
    both_fire(&world, &tool, &second, "one");
    let shown = hooks(&world, &second);
    assert_eq!(healthy(&shown), OURS.map(|hook| (hook.to_owned(), true)), "{shown}");
    for hook in tool.hooks {
        let others = shown["others"].as_array().unwrap();
        let its = others.iter().any(|other| other["hook"] == *hook && other["tool"] == tool.name);
        assert!(its, "{hook}: {shown:#}");
    }
    world.agent_says(&["uninstall", "--forget", path]);
    assert_eq!(hooks_of(&second), alone, "{}", tool.name);
}

#[test]
fn k10_a_hook_that_another_tool_dropped_is_put_again_by_the_next_of_ours() {
    let world = calm_world();
    let _daemon = world.daemon();
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "work");
    clone.git(&["checkout", "--quiet", "-b", "ABC-7"]);
    world.agent_says(&["install", clone.path.to_str().unwrap()]);
    let hooks_dir = clone.path.join(".git/hooks");
    fs::remove_file(hooks_dir.join("pre-push")).unwrap();
    crate::hook::write_script(&hooks_dir.join("prepare-commit-msg"), "# simple-git-hooks");
    let dropped =
        [("prepare-commit-msg", false), ("commit-msg", true), ("pre-push", false), ("reference-transaction", true)];
    assert_eq!(healthy(&hooks(&world, &clone)), dropped.map(|(hook, good)| (hook.to_owned(), good)));
    clone.commit("ABC-7 one");
    let shown = hooks(&world, &clone);
    assert_eq!(healthy(&shown), OURS.map(|hook| (hook.to_owned(), true)), "{shown:#}");
    assert_eq!(shown["others"][0]["tool"], "simple-git-hooks", "{shown:#}");
    assert_eq!(shown["others"][0]["runs"], "before", "{shown:#}");
    // What somebody wrote by hand is theirs to decide about.
    crate::hook::write_script(&hooks_dir.join("pre-push"), "exit 0");
    clone.commit("ABC-7 two");
    assert!(healthy(&hooks(&world, &clone)).contains(&("pre-push".to_owned(), false)));
}

#[test]
fn k10_lefthook_of_today_goes_on_beside_ours() {
    check(|world| {
        let hook = |name: &str| format!("{name}:\n  commands:\n    say:\n      run: {}\n", notes(world, name));
        let text = ["prepare-commit-msg", "commit-msg", "pre-push"].map(hook).concat();
        Tool {
            name: "lefthook",
            program: "lefthook",
            told: ("lefthook.yml", text),
            puts: &["install"],
            hooks: &["prepare-commit-msg", "commit-msg", "pre-push"],
        }
    });
}

#[test]
fn k10_pre_commit_of_today_goes_on_beside_ours() {
    check(|world| {
        let hook = |name: &str| {
            format!(
                "  - id: {name}\n    name: {name}\n    language: system\n    always_run: true\n    pass_filenames: false\n    \
                 stages: [{name}]\n    entry: sh -c '{}'\n",
                notes(world, name)
            )
        };
        let text = ["prepare-commit-msg", "commit-msg", "pre-push"].map(hook).concat();
        Tool {
            name: "pre-commit",
            program: "pre-commit",
            told: (".pre-commit-config.yaml", format!("repos:\n- repo: local\n  hooks:\n{text}")),
            puts: &["install", "-t", "prepare-commit-msg", "-t", "commit-msg", "-t", "pre-push"],
            hooks: &["prepare-commit-msg", "commit-msg", "pre-push"],
        }
    });
}

#[test]
fn k10_simple_git_hooks_of_today_goes_on_beside_ours() {
    check(|world| {
        let hook = |name: &str| (name.to_owned(), Value::from(notes(world, name)));
        let told: serde_json::Map<String, Value> =
            ["prepare-commit-msg", "commit-msg", "pre-push"].map(hook).into_iter().collect();
        Tool {
            name: "simple-git-hooks",
            program: "simple-git-hooks",
            told: ("package.json", json!({"name": "x", "simple-git-hooks": told}).to_string()),
            puts: &[],
            hooks: &["prepare-commit-msg", "commit-msg", "pre-push"],
        }
    });
}

#[test]
fn k10_git_lfs_of_today_goes_on_beside_ours() {
    // It says nothing where it has nothing to send; that it is run is seen by its hook being listed.
    check(|_| Tool {
        name: "git-lfs",
        program: "git-lfs",
        told: (".gitattributes", String::new()),
        puts: &["update", "--force"],
        hooks: &[],
    });
}

#[test]
fn k10_husky_of_today_goes_on_beside_ours_without_a_file_in_its_folder() {
    let world = calm_world();
    let _daemon = world.daemon();
    let hooks = ["prepare-commit-msg", "commit-msg", "pre-push"];
    let tool = Tool {
        name: "husky",
        program: "husky",
        told: ("unused", String::new()),
        puts: &[],
        hooks: &["prepare-commit-msg", "commit-msg", "pre-push"],
    };
    if program(tool.program).is_none() {
        return;
    }
    let clone = world.clone_of(&world.plain_repository("tool", &[]), "work");
    clone.git(&["checkout", "--quiet", "-b", "ABC-7"]);
    clone.commit("begin");
    fs::create_dir(clone.path.join(".husky")).unwrap();
    for hook in hooks {
        fs::write(clone.path.join(".husky").join(hook), notes(&world, hook) + "\n").unwrap();
    }
    puts(&world, &tool, &clone);
    let (folder, config) = (tree(&clone.path.join(".husky")), fs::read(clone.path.join(".git/config")).unwrap());
    let path = clone.path.to_str().unwrap();
    world.agent_says(&["install", path]);
    both_fire(&world, &tool, &clone, "one");
    // It sets core.hooksPath and writes its folder anew, and nothing of ours is lost by that.
    puts(&world, &tool, &clone);
    both_fire(&world, &tool, &clone, "two");
    let shown = self::hooks(&world, &clone);
    assert_eq!(healthy(&shown), OURS.map(|hook| (hook.to_owned(), true)), "{shown:#}");
    let its =
        |hook: &str| shown["others"].as_array().unwrap().iter().any(|it| it["hook"] == hook && it["tool"] == "husky");
    assert!(hooks.iter().all(|hook| its(hook)), "{shown:#}");
    world.agent_says(&["uninstall", "--forget", path]);
    assert_eq!(tree(&clone.path.join(".husky")), folder);
    assert_eq!(fs::read(clone.path.join(".git/config")).unwrap(), config);
}

#[test]
fn u1_u2_hooks_go_into_worktrees_submodules_and_clones_on_no_branch() {
    let world = calm_world();
    let _daemon = world.daemon();
    let origin = world.plain_repository("tool", &[]);
    let clone = world.clone_of(&origin, "work");
    clone.commit("begin");
    clone.git(&["push", "--quiet", "origin", "HEAD:main"]);
    let says = |repository: &Repository<'_>| {
        let output = repository.command(&["commit", "--allow-empty", "-m", "UTF-8"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let times = String::from_utf8_lossy(&output.stderr).matches("jira: UTF-8 links nothing").count();
        assert_eq!(times, 1, "{output:?}");
    };
    // In a linked worktree: its hooks are those of the clone.
    let linked = world.folder.join("linked");
    clone.git(&["worktree", "add", "--quiet", "--detach", linked.to_str().unwrap()]);
    world.agent_says(&["install", linked.to_str().unwrap()]);
    says(&Repository { world: &world, path: linked });
    clone.git(&["checkout", "--quiet", "--detach"]);
    says(&clone);
    // In a submodule: it has hooks and an id of its own.
    let mut add = clone.command(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add"]);
    success(add.arg(&origin.path).arg("sub"));
    let sub = Repository { world: &world, path: clone.path.join("sub") };
    world.agent_says(&["install", sub.path.to_str().unwrap()]);
    says(&sub);
    assert_ne!(sub.git(&["config", "agent.repoid"]), clone.git(&["config", "agent.repoid"]));
    for repository in [&clone, &sub] {
        let shown = hooks(&world, repository);
        assert_eq!(healthy(&shown), OURS.map(|hook| (hook.to_owned(), true)), "{shown:#}");
    }
}
