//! Folders of repositories: hooks in all of them, in those that appear later too, and out again without a trace.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Repository, World, shown, success, wait_until, wait_until_or};
use crate::hook::write_script;
use crate::uninstall::{assert_same, put_hooks, tree};

/// A bare repository below the world's folder `srv`.
pub fn bare<'w>(world: &'w World, name: &str) -> Repository<'w> {
    let path = world.folder.join("srv").join(name);
    success(world.command("git").args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(&path));
    Repository { world, path }
}

pub fn config(world: &World) -> String {
    fs::read_to_string(world.config()).unwrap()
}

pub fn is_covered(path: &Path) -> bool {
    path.join("agent/hooks.json").exists()
}

/// Runs a word and gives whether it went well and all that it said.
pub fn run(world: &World, words: &[&str]) -> (bool, String) {
    let output = world.agent(words).output().unwrap();
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

pub fn json(world: &World, words: &[&str]) -> Value {
    let output = world.agent(&[words, &["--json"]].concat()).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// Waits until Jira shows exactly one commit that names this issue.
#[track_caller]
pub fn wait_for_link(world: &World, key: &str) {
    let state = || world.sandbox.state();
    let named = || shown(&state(), "commits").iter().filter(|commit| commit.to_string().contains(key)).count();
    wait_until_or("Jira shows the commit", || named() == 1, || format!("{key}: {}", state()["repositories"]));
}

#[track_caller]
pub fn push(clone: &Repository<'_>, message: &str) -> String {
    clone.commit(message);
    clone.push(&["origin", "HEAD:main"])
}

#[test]
fn t8_t9_b2_all_repositories_of_a_folder_get_hooks_and_what_cannot_is_named() {
    let world = World::new();
    let _daemon = world.daemon();
    let tool = bare(&world, "tool.git");
    write_script(&tool.path.join("hooks/post-receive"), "echo the old hook >&2");
    let deep = bare(&world, "team/deep/other.git");
    let odd = bare(&world, "odd.git");
    fs::create_dir(world.folder.join("shared-hooks")).unwrap();
    odd.git(&["config", "core.hooksPath", world.folder.join("shared-hooks").to_str().unwrap()]);
    fs::write(world.config(), format!("{}# the last line\n", config(&world))).unwrap();
    let before = (config(&world), tree(&world.folder.join("srv")));
    let add = ["account", "add", "--root", "srv", "--site", "jira"];

    let (done, text) = run(&world, &add);
    assert!(!done && text.contains("nothing was written: --yes"), "{text}");
    let (done, text) = run(&world, &[&add[..], &["--dry-run"]].concat());
    assert!(!done && text.contains("3 repositories, 0 with hooks already"), "{text}");
    assert!(text.contains("in 1 of them other hooks are") && text.contains("served by git version"), "{text}");
    assert!(text.contains("odd.git: core.hooksPath in the local configuration"), "{text}");
    assert_eq!(config(&world), before.0);
    assert_same(&before.1, &tree(&world.folder.join("srv")));

    let (done, text) = run(&world, &[&add[..], &["--yes"]].concat());
    assert!(!done && text.contains("2 repositories got hooks, 0 had them already"), "{text}");
    assert!(text.contains("odd.git: core.hooksPath"), "{text}");
    let root = world.folder.join("srv");
    let account = format!(
        "\n[[account]]\nname = \"srv\"\nroot = \"{}\"\nsite = \"jira\"\nauto_link = true\n# the last line\n",
        root.display()
    );
    assert_eq!(config(&world), before.0.replace("# the last line\n", &account));
    let answer = push(&world.clone_of(&tool, "a"), "ABC-1 begin");
    assert!(answer.contains("1 commit queued for Jira") && answer.contains("the old hook"), "{answer}");
    push(&world.clone_of(&deep, "b"), "ABC-2 begin");
    wait_for_link(&world, "ABC-1");
    wait_for_link(&world, "ABC-2");

    // The same words again change nothing, and the odd one is mended meanwhile.
    odd.git(&["config", "--unset", "core.hooksPath"]);
    let after = config(&world);
    let (done, text) = run(&world, &[&add[..], &["--yes"]].concat());
    assert!(done && text.contains("1 repositories got hooks, 2 had them already"), "{text}");
    assert_eq!(config(&world), after);

    let shown = json(&world, &["account", "show", "srv"]);
    let of =
        |name: &str| shown["repositories"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
    assert_eq!((&of("tool")["reached"], &of("odd")["reached"]), (&Value::from("file"), &Value::from("file")));
    assert!(of("tool")["last_event_at"].is_i64() && of("odd")["last_event_at"].is_null(), "{shown}");
    let listed = world.agent_says(&["account", "list"]);
    assert!(listed.contains("-> jira: 3 repositories, 3 with hooks; new ones are linked"), "{listed}");
}

#[test]
fn b14_t15_what_is_kept_out_is_neither_covered_nor_linked() {
    let world = World::new();
    let _daemon = world.daemon();
    let [tool, secret, other] = ["team/tool.git", "team/secret.git", "other.git"].map(|name| bare(&world, name));
    let add = ["account", "add", "all", "--root", "srv", "--yes", "--include", "team/*", "--exclude", "*/secret"];
    let (done, text) = run(&world, &add);
    assert!(done && text.contains("1 repositories got hooks"), "{text}");
    assert!(is_covered(&tool.path) && !is_covered(&secret.path) && !is_covered(&other.path));
    let clone = world.clone_of(&tool, "a");
    assert!(push(&clone, "ABC-1 begin").contains("1 commit queued for Jira"));
    wait_for_link(&world, "ABC-1");

    // Taken out, it stays out although the daemon puts hooks into new ones.
    let path = tool.path.to_str().unwrap();
    let text = world.agent_says(&["uninstall", path]);
    assert!(text.contains("account all leaves out team/tool from now on"), "{text}");
    assert!(config(&world).contains("exclude = [\"*/secret\", \"team/tool\"]"), "{}", config(&world));
    let new = bare(&world, "team/new.git");
    wait_until("the new one is covered", || is_covered(&new.path));
    assert!(!is_covered(&tool.path));
    assert!(!push(&clone, "ABC-2 unheard").contains("jira"));
    // What was pushed meanwhile is known as what was there before.
    world.agent_says(&["install", path]);
    assert!(config(&world).contains("exclude = [\"*/secret\"]"), "{}", config(&world));
    assert!(push(&clone, "ABC-3 heard").contains("ABC-3"));
    wait_for_link(&world, "ABC-3");
    let (done, text) = run(&world, &["install", secret.path.to_str().unwrap()]);
    assert!(!done && text.contains("account all leaves out team/secret by a pattern"), "{text}");
}

#[test]
fn t15_hooks_of_a_repository_that_was_switched_off_by_hand_say_nothing_and_tell_nothing() {
    let world = World::new();
    let _daemon = world.daemon();
    let tool = bare(&world, "tool.git");
    world.agent_says(&["account", "add", "all", "--root", "srv", "--yes"]);
    let clone = world.clone_of(&tool, "a");
    push(&clone, "ABC-1 begin");
    wait_for_link(&world, "ABC-1");
    let on = config(&world);
    fs::write(world.config(), on.replace("auto_link = true\n", "auto_link = true\nexclude = [\"tool\"]\n")).unwrap();
    world.agent_says(&["daemon", "reload"]);
    assert!(!push(&clone, "ABC-2 unheard").contains("jira"));
    assert_eq!(world.status()["running"]["refused"], 0);
    fs::write(world.config(), on).unwrap();
    world.agent_says(&["daemon", "reload"]);
    // Switched on again, what was missed comes with what is next.
    assert!(push(&clone, "ABC-3 heard").contains("2 commits queued for Jira"));
    wait_for_link(&world, "ABC-2");
    wait_for_link(&world, "ABC-3");
}

#[test]
fn t10_a_repository_that_appears_gets_its_hooks_within_two_seconds() {
    let world = World::new();
    let source = bare(&world, "first.git");
    let quiet = world.folder.join("quiet");
    fs::create_dir(&quiet).unwrap();
    let _daemon = world.daemon();
    world.agent_says(&["account", "add", "--root", "srv", "--yes"]);
    world.agent_says(&["account", "add", "--root", "quiet", "--auto-link", "off", "--yes"]);
    push(&world.clone_of(&source, "seed"), "ABC-1 begin");
    let left = quiet.join("left.git");
    success(world.command("git").args(["init", "--quiet", "--bare"]).arg(&left));

    let began = Instant::now();
    let new = bare(&world, "team/deep/new.git");
    wait_until("it is covered", || is_covered(&new.path));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let answer = push(&world.clone_of(&new, "b"), "ABC-2 begin");
    assert!(answer.contains("1 commit, 1 branch queued") || answer.contains("1 commit queued"), "{answer}");

    // A clone brings history, which is no news; one that is under way is left alone.
    let path = world.folder.join("srv/copy.git");
    let half = world.folder.join("srv/half.git");
    success(world.command("git").args(["init", "--quiet", "--bare"]).arg(&half));
    success(world.command("git").args(["-C", half.to_str().unwrap(), "remote", "add", "origin", "nowhere"]));
    success(world.command("git").args(["clone", "--quiet", "--bare"]).args([&source.path, &path]));
    wait_until("the clone is covered", || is_covered(&path));
    let copy = Repository { world: &world, path };
    let answer = push(&world.clone_of(&copy, "c"), "ABC-3 go on");
    assert!(answer.contains("ABC-3") && !answer.contains("ABC-1"), "{answer}");
    assert!(!is_covered(&half) && !is_covered(&left));
    assert_eq!(world.status()["running"]["accounts"]["srv"]["being_made"], 1);
    // By hand it is the same.
    let (done, text) = run(&world, &["account", "cover", "srv"]);
    assert!(done && text.contains("half.git: git is still making it"), "{text}");
    let (done, text) = run(&world, &["account", "cover", "quiet", "--mine"]);
    assert!(done && text.contains("1 repositories got hooks") && is_covered(&left), "{text}");
}

#[test]
fn t12_h1_an_account_tells_the_history_of_its_repositories_by_itself_today_and_tomorrow() {
    let world = World::new();
    let _daemon = world.daemon();
    let make = |name: &str, key: &str| {
        let work = world.folder.join("clones").join(name);
        success(world.command("git").args(["init", "--quiet", "--initial-branch=main"]).arg(&work));
        let work = Repository { world: &world, path: work };
        work.commit(&format!("{key} long ago"));
        work.commit(&format!("{key} #comment nobody says this again"));
        let bare = world.folder.join("more").join(format!("{name}.git"));
        success(world.command("git").args(["clone", "--quiet", "--bare"]).arg(&work.path).arg(bare));
    };
    std::fs::create_dir(world.folder.join("more")).unwrap();
    make("old", "ABC-1");
    let root = world.folder.join("more");
    world.agent_says(&["account", "add", "more", "--root", root.to_str().unwrap(), "--site", "jira", "--yes"]);
    world.wait_for_jira(2, 0);
    make("new", "ABC-2");
    world.wait_for_jira(4, 0);
    assert!(world.sandbox.state()["triggers"].as_array().unwrap().is_empty(), "history orders nothing");
}

#[test]
fn t9_the_daemon_and_people_who_cover_at_once_do_not_get_in_each_others_way() {
    let world = World::new();
    for number in 0..6 {
        bare(&world, &format!("r{number}.git"));
    }
    let _daemon = world.daemon();
    world.agent_says(&["account", "add", "--root", "srv", "--yes"]);
    world.agent_says(&["account", "remove", "srv", "--yes"]);
    world.agent_says(&["account", "add", "--root", "srv", "--yes"]);
    let mut again: Vec<_> = (0..3).map(|_| world.agent(&["account", "cover", "srv"]).spawn().unwrap()).collect();
    assert!(again.iter_mut().all(|cover| cover.wait().unwrap().success()));
    let ids: std::collections::BTreeSet<String> = (0..6)
        .map(|number| {
            let path = world.folder.join(format!("srv/r{number}.git"));
            success(world.command("git").current_dir(path).args(["config", "--get-all", "agent.repoid"]))
        })
        .collect();
    assert!(ids.len() == 6 && ids.iter().all(|id| id.trim().lines().count() == 1), "{ids:?}");
}

#[test]
fn t10_what_the_daemon_cannot_cover_is_said_with_the_cure() {
    let world = World::new();
    let odd = bare(&world, "odd.git");
    odd.git(&["config", "core.hooksPath", world.folder.to_str().unwrap()]);
    run(&world, &["account", "add", "--root", "srv", "--yes"]);
    let _daemon = world.daemon();
    wait_until_or(
        "it is said",
        || world.status()["running"]["accounts"]["srv"]["uncovered"] == 1,
        || world.status().to_string(),
    );
    let (_, text) = run(&world, &["status"]);
    assert!(text.contains("1 without hooks") && text.contains("`agent account cover srv`"), "{text}");
    let (done, text) = run(&world, &["doctor", "--offline"]);
    assert!(!done && text.contains("account srv: 1 without hooks, such as"), "{text}");
    assert!(text.contains("git-jira-agent-cover@OWNER"), "{text}");
    // Mended, it is covered with the next scan or with the next word.
    odd.git(&["config", "--unset", "core.hooksPath"]);
    assert!(run(&world, &["account", "cover"]).0);
    world.agent_says(&["daemon", "reload"]);
    wait_until("it is well", || world.status()["running"]["accounts"]["srv"]["uncovered"] == 0);
}

#[test]
fn c17_t9_an_account_that_is_removed_leaves_every_byte_as_it_was() {
    let world = World::new();
    let _daemon = world.daemon();
    let tool = bare(&world, "tool.git");
    put_hooks(&tool.path, ["pre-receive", "post-receive", "update"]);
    bare(&world, "team/other.git");
    success(world.command("git").args(["init", "--quiet", "srv/clone"]));
    let before = (config(&world), tree(&world.folder.join("srv")));
    world.agent_says(&["account", "add", "--root", "srv", "--yes"]);
    let (done, text) = run(&world, &["account", "remove", "srv"]);
    assert!(!done && text.contains("3 repositories, 3 with hooks") && text.contains("--yes"), "{text}");
    let text = world.agent_says(&["account", "remove", "srv", "--yes"]);
    assert!(text.contains("account srv is gone"), "{text}");
    assert_eq!(config(&world), before.0);
    assert_same(&before.1, &tree(&world.folder.join("srv")));
}

#[test]
fn t9_h10_an_account_that_is_forgotten_is_gone_from_jira() {
    let world = World::new();
    let _daemon = world.daemon();
    let [tool, other] = ["tool.git", "other.git"].map(|name| bare(&world, name));
    world.agent_says(&["account", "add", "--root", "srv", "--yes"]);
    push(&world.clone_of(&tool, "a"), "ABC-1 begin");
    push(&world.clone_of(&other, "b"), "ABC-2 begin");
    world.wait_for_jira(2, 0);
    world.wait_until_idle();
    let edited = other.path.join("hooks/pre-receive");
    let shim = fs::read(&edited).unwrap();
    fs::write(&edited, [&shim[..], b"# mine\n"].concat()).unwrap();
    let (done, text) = run(&world, &["account", "remove", "srv", "--yes"]);
    assert!(!done && text.contains("Jira was told of 2 commits and 0 branches in them"), "{text}");
    assert!(text.contains("left ") && text.contains("was edited") && text.contains("account srv stays"), "{text}");
    assert!(config(&world).contains("auto_link = false"), "the daemon puts no hooks in meanwhile");
    world.wait_for_jira(0, 0);
    fs::write(&edited, shim).unwrap();
    world.agent_says(&["account", "remove", "srv", "--yes"]);
    assert!(!config(&world).contains("srv"), "{}", config(&world));
}

#[test]
fn s29_systemd_finds_nothing_wrong_with_the_timers_for_owners() {
    if !crate::direct::has("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let units: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    for name in ["cover", "scan"] {
        for (unit, instance) in [("service", "root.service"), ("timer", "root.timer")] {
            let text = fs::read_to_string(units.join(format!("git-jira-agent-{name}@.{unit}"))).unwrap();
            let text = text.replace("/usr/bin/agent", env!("CARGO_BIN_EXE_agent"));
            fs::write(folder.path().join(format!("git-jira-agent-{name}@{instance}")), text).unwrap();
        }
        let mut verify = std::process::Command::new("systemd-analyze");
        verify.args(["verify", "--man=no", "--recursive-errors=one"]);
        let output = verify.arg(folder.path().join(format!("git-jira-agent-{name}@root.timer"))).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.lines().any(|line| line.contains("git-jira-agent")), "{said}");
    }
    // What looks at repositories of somebody needs little; it runs as that person, which counts against it.
    let scan = folder.path().join("git-jira-agent-scan@git.service");
    fs::rename(folder.path().join("git-jira-agent-scan@root.service"), &scan).unwrap();
    let mut security = std::process::Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--threshold=30", "--no-pager"]);
    let output = security.arg(&scan).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let verdict = said.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_default();
    assert!(output.status.success() && !verdict.is_empty(), "{verdict}{}", String::from_utf8_lossy(&output.stderr));
}
