//! What is left behind: nothing by `agent uninstall`, and nothing broken by an agent that is simply gone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::{Repository, World, success, wait_until, wait_until_or};
use crate::hook::{calm_world, met, write_script};

/// All there is below a folder: each path with its kind and rights, and its bytes or where it leads.
pub fn tree(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = match () {
            () if meta.is_symlink() => fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
            () if meta.is_dir() => {
                open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                Vec::new()
            }
            () => fs::read(&path).unwrap(),
        };
        found.insert(path, (meta.mode(), content));
    }
    found
}

#[track_caller]
pub fn assert_same(before: &BTreeMap<PathBuf, (u32, Vec<u8>)>, after: &BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    let paths: std::collections::BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    let changed: Vec<&PathBuf> = paths.into_iter().filter(|path| before.get(*path) != after.get(*path)).collect();
    assert!(changed.is_empty(), "{changed:#?}");
}

/// Hooks of every kind that somebody may have there: a script, a link to one, one that is switched off.
pub fn put_hooks<const N: usize>(git_dir: &Path, names: [&str; N]) {
    let hooks = git_dir.join("hooks");
    write_script(&hooks.join(names[0]), "exit 0");
    fs::set_permissions(hooks.join(names[0]), fs::Permissions::from_mode(0o750)).unwrap();
    write_script(&git_dir.join("elsewhere"), "exit 0");
    symlink("../elsewhere", hooks.join(names[1])).unwrap();
    fs::write(hooks.join(names[2]), "#!/bin/sh\nexit 1\n").unwrap();
    fs::write(hooks.join("unrelated.txt"), b"\xff\x00").unwrap();
}

/// Installs and uninstalls, and finds every byte and every right as it was.
#[track_caller]
fn check(world: &World, repository: &Repository<'_>, git_dir: &Path) {
    let path = repository.path.to_str().unwrap();
    // A config with what people have in it: comments, odd indentation, no newline at the end.
    let config = fs::read_to_string(git_dir.join("config")).unwrap() + "# kept\n  [alias]\n\tx = log ; so it is";
    fs::write(git_dir.join("config"), config).unwrap();
    let before = tree(&repository.path);
    world.agent_says(&["install", path]);
    world.agent_says(&["install", path]);
    assert_ne!(before, tree(&repository.path));
    world.agent_says(&["uninstall", "--forget", path]);
    assert_same(&before, &tree(&repository.path));
}

#[test]
fn c17_h10_uninstall_leaves_a_bare_repository_byte_for_byte_as_it_was() {
    let world = calm_world();
    let _daemon = world.daemon();
    let plain = world.plain_repository("plain", &[]);
    check(&world, &plain, &plain.path);
    let repository = world.plain_repository("tool", &[]);
    put_hooks(&repository.path, ["pre-receive", "post-receive", "update"]);
    check(&world, &repository, &repository.path);
    let bare = world.plain_repository("bare", &["--template="]);
    check(&world, &bare, &bare.path);
}

#[test]
fn c17_h10_uninstall_leaves_a_clone_byte_for_byte_as_it_was() {
    let world = calm_world();
    let _daemon = world.daemon();
    let origin = world.plain_repository("tool", &[]);
    let clone = world.clone_of(&origin, "work");
    clone.commit("begin");
    let git_dir = clone.path.join(".git");
    put_hooks(&git_dir, ["prepare-commit-msg", "commit-msg", "pre-push", "reference-transaction"]);
    check(&world, &clone, &git_dir);
}

#[test]
fn c17_uninstall_after_pushes_gives_the_hooks_back_and_pushes_go_on() {
    let world = calm_world();
    let _daemon = world.daemon();
    let repository = world.plain_repository("tool", &[]);
    put_hooks(&repository.path, ["pre-receive", "post-receive", "update"]);
    let hooks = tree(&repository.path.join("hooks"));
    let config = fs::read(repository.path.join("config")).unwrap();
    let path = repository.path.to_str().unwrap();
    world.agent_says(&["install", path]);
    let clone = world.clone_of(&repository, "work");
    let first = clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_owed("commit", &[&first]);
    world.agent_says(&["uninstall", "--forget", path]);
    assert_same(&hooks, &tree(&repository.path.join("hooks")));
    assert_eq!(fs::read(repository.path.join("config")).unwrap(), config);
    clone.commit("ABC-2 unheard");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(!answer.contains("jira"), "{answer}");
    assert!(!repository.path.join("agent").exists(), "{:?}", tree(&repository.path.join("agent")).keys());
}

#[test]
fn c17_uninstall_without_forget_lets_jira_know_the_repository_again() {
    let world = calm_world();
    let daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let id = repository.git(&["config", "agent.repoid"]);
    let path = repository.path.to_str().unwrap();
    world.agent_says(&["uninstall", path]);
    world.agent_says(&["install", path]);
    assert_eq!(repository.git(&["config", "agent.repoid"]), id);
    let second = clone.commit("ABC-2 go on");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("jira: 1 commit queued"), "{answer}");
    world.wait_for_owed("commit", &[&first, &second]);
    drop(daemon);
}

#[test]
fn h11_with_the_agent_removed_commits_and_pushes_go_on_and_older_hooks_still_run() {
    let world = calm_world();
    let agent = world.folder.join("agent");
    fs::copy(env!("CARGO_BIN_EXE_agent"), &agent).unwrap();
    let repository = world.plain_repository("tool", &[]);
    write_script(&repository.path.join("hooks/post-receive"), "cat >&2");
    let clone = world.clone_of(&repository, "work");
    write_script(&clone.path.join(".git/hooks/commit-msg"), "! grep -q unwanted \"$1\"");
    for path in [&repository.path, &clone.path] {
        success(world.command(&agent).args(["install", path.to_str().unwrap()]));
    }
    fs::remove_file(agent).unwrap();
    clone.commit("ABC-1 without an agent");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("refs/heads/main"), "{answer}");
    let refused = clone.command(&["commit", "--allow-empty", "-m", "unwanted"]).output().unwrap();
    assert!(!refused.status.success());
}

#[test]
fn h11_f11_whatever_somebody_hostile_leaves_in_the_spool_holds_up_nothing() {
    let world = calm_world();
    let mut daemon = world.daemon();
    let (_repository, clone, first) = met(&world, "tool");
    daemon.stop();
    let incoming = world.spool().join("incoming");
    let outside = world.folder.join("outside");
    let second = clone.commit("ABC-2 behind all that");
    clone.push(&["origin", "HEAD:main"]);
    // What the links lead to is in order in every other respect.
    let honest: Vec<PathBuf> = fs::read_dir(&incoming).unwrap().map(|entry| entry.unwrap().path()).collect();
    fs::copy(&honest[0], &outside).unwrap();
    let content = fs::read(&outside).unwrap();
    symlink(&outside, incoming.join("00-link.event")).unwrap();
    symlink("/dev/zero", incoming.join("00-zero.event")).unwrap();
    fs::hard_link(&outside, incoming.join("00-hard.event")).unwrap();
    success(world.command("mkfifo").arg(incoming.join("00-pipe.event")));
    File::create(incoming.join("00-giant.event")).unwrap().set_len(1 << 40).unwrap();
    fs::write(incoming.join("00-\u{1b}[31m.event"), "rubbish").unwrap();
    let hostile = fs::read_dir(&incoming).unwrap().count() - honest.len();
    // A folder cannot even be moved by whoever does not own it, and one of the same name was there before.
    fs::create_dir_all(incoming.join("00-folder.event/inside")).unwrap();
    fs::create_dir_all(world.spool().join("corrupt/00-folder.event/inside")).unwrap();
    let _daemon = world.daemon();
    world.wait_for_owed("commit", &[&first, &second]);
    assert!(world.events().iter().all(|event| event["kind"] == "push"), "{:?}", world.events());
    wait_until_or(
        "it is aside",
        || world.status()["running"]["spool"] == json!({"incoming": 0, "corrupt": hostile}),
        || format!("{hostile}: {}", world.status()["running"]["spool"]),
    );
    assert_eq!(fs::read(&outside).unwrap(), content);
    assert!(!world.log().contains('\u{1b}'), "{}", world.log());
    let third = clone.commit("ABC-3 and after");
    clone.push(&["origin", "HEAD:main"]);
    wait_until("the next one is owed", || world.owed("commit").contains(&third));
}

/// What a tool writes as a hook: it says that it ran, then runs what it put aside, if it does that.
fn tool_hook(path: &Path, name: &str, aside: Option<&str>) {
    let aside = aside.map(|end| format!("\n[ ! -x \"$0.{end}\" ] || \"$0.{end}\" \"$@\"")).unwrap_or_default();
    write_script(path, &format!("echo {name} ran >&2{aside}"));
}

#[test]
fn h10_tools_that_put_their_hooks_again_go_on_beside_ours_and_everything_is_as_before_in_the_end() {
    let world = calm_world();
    let _daemon = world.daemon();
    let origin = world.plain_repository("tool", &[]);
    let clone = world.clone_of(&origin, "work");
    clone.commit("begin");
    let git_dir = clone.path.join(".git");
    let (hook, path) = (git_dir.join("hooks/commit-msg"), clone.path.to_str().unwrap());
    let own = || {
        let mut all = tree(&git_dir.join("hooks"));
        all.insert("config".into(), (0, fs::read(git_dir.join("config")).unwrap()));
        all
    };
    let commit = |message: &str| {
        let output = clone.command(&["commit", "--allow-empty", "-m", message]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    // husky leads git to a folder in the work tree: that is not ours to write to, and a passage leads there.
    tool_hook(&clone.path.join(".husky/_/commit-msg"), "husky", None);
    tool_hook(&clone.path.join(".husky/_/pre-commit"), "husky too", None);
    clone.git(&["config", "core.hooksPath", ".husky/_"]);
    let (before, work) = (own(), tree(&clone.path.join(".husky")));
    world.agent_says(&["install", path]);
    for _ in 0..2 {
        let said = commit("UTF-8 is no issue");
        let all = ["husky ran", "husky too ran", "jira: UTF-8 links nothing"].iter().all(|part| said.contains(part));
        assert!(all, "{said}");
        // That is what husky does each time it is started.
        clone.git(&["config", "core.hooksPath", ".husky/_"]);
        world.agent_says(&["install", path]);
    }
    let linked = world.folder.join("linked");
    clone.git(&["worktree", "add", "--quiet", linked.to_str().unwrap()]);
    let linked = Repository { world: &world, path: linked };
    let output = linked.command(&["commit", "--allow-empty", "-m", "UTF-8"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("jira: UTF-8 links nothing") && !said.contains("husky"), "it has no such folder: {said}");
    clone.git(&["worktree", "remove", "--force", linked.path.to_str().unwrap()]);
    assert_same(&work, &tree(&clone.path.join(".husky")));
    world.agent_says(&["uninstall", "--forget", path]);
    assert_same(&before, &own());
    assert!(!git_dir.join("agent").exists());
    // Where husky comes later, and goes again, installing once more is all there is to do.
    clone.git(&["config", "--unset", "core.hooksPath"]);
    let before = own();
    world.agent_says(&["install", path]);
    clone.git(&["config", "core.hooksPath", ".husky/_"]);
    assert!(!commit("UTF-8").contains("jira"));
    assert!(!world.agent(&["hooks", path]).output().unwrap().status.success());
    world.agent_says(&["install", path]);
    assert!(world.agent(&["hooks", path]).output().unwrap().status.success());
    assert!(commit("UTF-8").contains("jira: UTF-8 links nothing"));
    clone.git(&["config", "--unset", "core.hooksPath"]);
    world.agent_says(&["install", path]);
    let said = commit("UTF-8");
    assert!(said.contains("jira: UTF-8 links nothing") && !said.contains("husky"), "{said}");
    world.agent_says(&["uninstall", "--forget", path]);
    assert_same(&before, &own());

    // pre-commit keeps what it finds under another name and runs it.
    tool_hook(&hook, "pre-commit", Some("legacy"));
    let before = own();
    world.agent_says(&["install", path]);
    fs::rename(&hook, hook.with_extension("legacy")).unwrap();
    tool_hook(&hook, "pre-commit", Some("legacy"));
    let said = commit("UTF-8 is no issue");
    assert!(said.contains("pre-commit ran") && said.contains("jira: UTF-8 links nothing"), "{said}");
    fs::rename(hook.with_extension("legacy"), &hook).unwrap();
    world.agent_says(&["uninstall", "--forget", path]);
    assert_same(&before, &own());
    fs::remove_file(&hook).unwrap();

    // lefthook puts it aside and runs it no more, which is said; ours then goes before lefthook's, as often as it takes.
    let before = own();
    world.agent_says(&["install", path]);
    for _ in 0..2 {
        fs::rename(&hook, hook.with_extension("old")).unwrap();
        tool_hook(&hook, "lefthook", None);
        assert!(commit("ABC-2 with lefthook").contains("lefthook ran"));
        let doctor = world.agent(&["doctor", "--offline", path]).output().unwrap();
        let said = String::from_utf8_lossy(&doctor.stdout);
        assert!(said.contains("commit-msg is lefthook's, which put ours aside"), "{said}");
        world.agent_says(&["install", path]);
        let said = commit("UTF-8 is no issue");
        assert!(said.contains("lefthook ran") && said.contains("jira: UTF-8 links nothing"), "{said}");
    }
    world.agent_says(&["uninstall", "--forget", path]);
    assert!(fs::read_to_string(&hook).unwrap().contains("lefthook ran"), "its own hook stays");
    fs::remove_file(&hook).unwrap();
    assert_same(&before, &own());

    // simple-git-hooks writes over it: what is there then is somebody else's, and stays.
    world.agent_says(&["install", path]);
    tool_hook(&hook, "simple-git-hooks", None);
    assert!(commit("ABC-3 with simple-git-hooks").contains("simple-git-hooks ran"));
    world.agent_says(&["uninstall", "--forget", path]);
    assert!(fs::read_to_string(&hook).unwrap().contains("simple-git-hooks"));
    fs::remove_file(&hook).unwrap();
    assert_same(&before, &own());

    // git-lfs compares the whole of a hook with its own: ours stands before it, and runs it with the same input.
    let lfs = git_dir.join("hooks/pre-push");
    write_script(&lfs, "echo \"lfs ran: $1\" >&2; cat >&2");
    let before = own();
    world.agent_says(&["install", path]);
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("lfs ran: origin") && answer.contains("refs/heads/main 0000"), "{answer}");
    assert!(answer.contains("ABC-3  "), "{answer}");
    world.agent_says(&["uninstall", "--forget", path]);
    assert_same(&before, &own());
}
