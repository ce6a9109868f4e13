//! Real repositories, real git, and a stand-in for the agent of a few lines of shell.

#![expect(clippy::disallowed_methods, reason = "tests give git the PATH they were given")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Output, Stdio};

use super::look::inspect_with;
use super::*;

/// Does what the real one does around a hook: takes the input, notes it, then runs the hook that was there before.
const AGENT: &str = r#"#!/bin/sh
here=${0%/*}
[ "$1" = --version ] && { echo "git-jira-agent 0"; exit; }
name=$2; shift 2; before=
[ "$1" = --then ] && { before=$2; shift 2; }
cat >"$here/input.$$"
echo "$name $*" >>"$here/called"
[ -x "$before" ] || exit 0
exec "$before" "$@" <"$here/input.$$"
"#;

/// A hook that tells on stderr and in a file what it was given, and fails or not.
fn noting(status: i32) -> String {
    format!("#!/bin/sh\n{{ echo \"${{0##*/}} $#\"; cat; }} >>\"$NOTES\"\nexit {status}\n")
}

struct World {
    root: tempfile::TempDir,
    git: Git,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("bin")).unwrap();
        write(&root.path().join("bin/agent"), AGENT, 0o755);
        write(&root.path().join("gitconfig"), "", 0o644);
        let git = Git::with(vec![
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("GIT_CONFIG_GLOBAL", root.path().join("gitconfig").into()),
            ("NOTES", root.path().join("notes").into()),
            ("HOME", root.path().into()),
        ]);
        Self { root, git }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(relative)
    }

    fn agent(&self) -> PathBuf {
        self.path("bin/agent")
    }

    fn try_git(&self, words: &[&str]) -> Output {
        let mut command = Command::new("git");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).current_dir(self.path(""));
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "A").env(format!("GIT_{who}_EMAIL"), "a@example.com");
        }
        command.envs(self.git.env.iter().map(|(name, value)| (name, value))).args(words).stdin(Stdio::null());
        command.output().unwrap()
    }

    #[track_caller]
    fn git(&self, words: &[&str]) -> String {
        let output = self.try_git(words);
        assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A bare repository, its git directory.
    fn server(&self) -> PathBuf {
        self.git(&["init", "-q", "--bare", "-b", "main", "server.git"]);
        self.path("server.git")
    }

    /// A repository with a work tree and one commit, its git directory.
    fn clone(&self) -> PathBuf {
        self.git(&["init", "-q", "-b", "main", "clone"]);
        self.git(&["-C", "clone", "commit", "-q", "--allow-empty", "-m", "one"]);
        self.path("clone/.git")
    }

    #[track_caller]
    fn install(&self, git_dir: &Path) -> Vec<HookReport> {
        install_with(&self.git, git_dir, &self.agent(), &[]).unwrap().hooks
    }

    #[track_caller]
    fn refused(&self, git_dir: &Path) -> Error {
        let before = tree(git_dir);
        let error = install_with(&self.git, git_dir, &self.agent(), &[]).unwrap_err();
        assert_eq!(tree(git_dir), before, "a refusal changes nothing");
        error
    }

    #[track_caller]
    fn uninstall(&self, git_dir: &Path) -> Vec<(PathBuf, Outcome)> {
        uninstall_with(&self.git, git_dir, false).unwrap().hooks
    }

    #[track_caller]
    fn owners(&self, git_dir: &Path) -> Vec<(Owner, Vec<Hindrance>)> {
        let states = inspect_with(&self.git, git_dir).unwrap();
        states.into_iter().map(|state| (state.owner, state.hindrances)).collect()
    }

    fn ours(&self, chained: bool) -> Owner {
        Owner::Ours { version: shim::VERSION, agent: self.agent(), chained, stale: false }
    }

    /// Pushes a new commit to the server's `main` and gives git's status.
    fn push(&self) -> Output {
        self.git(&["-C", "clone", "commit", "-q", "--allow-empty", "-m", "more"]);
        self.try_git(&["-C", "clone", "push", "-q", "../server.git", "main"])
    }

    fn take(&self, file: &str) -> String {
        let text = std::fs::read_to_string(self.path(file)).unwrap_or_default();
        let _ = std::fs::remove_file(self.path(file));
        text
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

type Leaf = (u32, Vec<u8>, Option<i64>);

/// Everything below a directory: mode, bytes or link target, and for hooks the time of the last change.
fn tree(root: &Path) -> BTreeMap<PathBuf, Leaf> {
    let (mut found, mut todo) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(path) = todo.pop() {
        let meta = path.symlink_metadata().unwrap();
        let bytes = if meta.is_symlink() {
            std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else if meta.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else {
            std::fs::read(&path).unwrap()
        };
        let hook = path.parent().is_some_and(|parent| parent.ends_with("hooks"));
        found
            .insert(path.clone(), (meta.mode(), bytes, hook.then(|| meta.mtime_nsec() + meta.mtime() * 1_000_000_000)));
    }
    found
}

/// Installs, installs again, and uninstalls, each with what it promises.
#[track_caller]
fn check_round_trip(prepare: impl FnOnce(&World) -> PathBuf, chained: &[&str]) {
    let world = World::new();
    let git_dir = prepare(&world);
    let before = tree(&git_dir);

    let reports = world.install(&git_dir);
    assert!(reports.iter().all(|report| report.state == HookChange::Put), "{reports:?}");
    let found: Vec<_> = reports.iter().filter(|report| report.chained).map(|report| report.name).collect();
    assert_eq!(found, chained);
    for state in inspect_with(&world.git, &git_dir).unwrap() {
        assert_eq!(state.owner, world.ours(chained.contains(&state.name)), "{}", state.name);
        assert_eq!(state.hindrances, []);
    }

    let installed = tree(&git_dir);
    let again = world.install(&git_dir);
    assert!(again.iter().all(|report| report.state == HookChange::AlreadyThere), "{again:?}");
    assert_eq!(tree(&git_dir), installed, "installing twice changes nothing");

    for kept in ["told", "pushing", "dirty"] {
        std::fs::write(git_dir.join("agent").join(kept), "something").unwrap();
    }
    let outcomes = world.uninstall(&git_dir);
    assert!(outcomes.iter().all(|(_, outcome)| !matches!(outcome, Outcome::Left { .. })), "{outcomes:?}");
    assert_eq!(tree(&git_dir), before, "uninstalling leaves no trace");
    assert_eq!(world.uninstall(&git_dir), [], "and has nothing to do twice");
}

#[test]
fn a_bare_repository_is_as_before() {
    check_round_trip(World::server, &[]);
}

#[test]
fn a_clone_is_as_before() {
    check_round_trip(World::clone, &[]);
}

#[test]
fn a_repository_without_hooks_directory_is_as_before() {
    check_round_trip(
        |world| {
            world.git(&["init", "-q", "--bare", "--template=", "server.git"]);
            world.path("server.git")
        },
        &[],
    );
}

#[test]
fn a_hook_that_was_there_is_as_before() {
    check_round_trip(
        |world| {
            let git_dir = world.server();
            write(&git_dir.join("hooks/post-receive"), &noting(0), 0o751);
            git_dir
        },
        &["post-receive"],
    );
}

#[test]
fn a_hook_that_is_not_executable_is_as_before() {
    check_round_trip(
        |world| {
            let git_dir = world.server();
            write(&git_dir.join("hooks/pre-receive"), &noting(1), 0o640);
            git_dir
        },
        &["pre-receive"],
    );
}

#[test]
fn links_are_as_before() {
    check_round_trip(
        |world| {
            let git_dir = world.clone();
            write(&world.path("clone/shared"), &noting(0), 0o755);
            symlink("../../shared", git_dir.join("hooks/pre-push")).unwrap();
            symlink(world.path("nowhere"), git_dir.join("hooks/commit-msg")).unwrap();
            git_dir
        },
        &["commit-msg", "pre-push"],
    );
}

#[test]
fn hooks_path_inside_the_git_directory_is_ours_to_use() {
    check_round_trip(
        |world| {
            let git_dir = world.server();
            std::fs::create_dir_all(git_dir.join("own/hooks")).unwrap();
            write(&git_dir.join("own/hooks/post-receive"), &noting(0), 0o755);
            world.git(&["--git-dir=server.git", "config", "core.hooksPath", "own/hooks"]);
            git_dir
        },
        &["post-receive"],
    );
}

#[test]
fn the_config_is_as_before_when_the_id_is_forgotten() {
    for config in [
        "[core]\n\tbare = true\n",
        "[core]\n\tbare = true",
        "[core]\n bare = true\n# the end\n\n",
        "[core]\r\n\tbare = true\r\n# the end",
        "[agent]\n\tother = 1\n",
        "[agent]\n\tother = 1",
    ] {
        let world = World::new();
        let git_dir = world.server();
        write(&git_dir.join("config"), config, 0o640);
        let before = tree(&git_dir);
        world.install(&git_dir);
        world.git(&["--git-dir=server.git", "config", "agent.repoid", "0198"]);
        let removed = uninstall_with(&world.git, &git_dir, true).unwrap();
        assert_eq!(removed.identity, Identity::Forgotten { as_before: true });
        assert_eq!(tree(&git_dir), before, "{config:?}");
    }
}

#[test]
fn the_id_survives_unless_it_is_to_be_forgotten() {
    let world = World::new();
    let git_dir = world.server();
    world.install(&git_dir);
    world.git(&["--git-dir=server.git", "config", "agent.repoid", "0198"]);
    assert_eq!(uninstall_with(&world.git, &git_dir, false).unwrap().identity, Identity::Kept);
    assert_eq!(world.git(&["--git-dir=server.git", "config", "agent.repoid"]), "0198\n");
    world.install(&git_dir);
    let removed = uninstall_with(&world.git, &git_dir, true).unwrap();
    assert_eq!(removed.identity, Identity::Forgotten { as_before: false }, "nobody knows what it was like without");
    assert!(!world.try_git(&["--git-dir=server.git", "config", "agent.repoid"]).status.success());
}

#[test]
fn what_others_keep_in_our_folder_stays() {
    let world = World::new();
    let git_dir = world.server();
    world.install(&git_dir);
    write(&git_dir.join("agent/notes"), "mine", 0o600);
    world.uninstall(&git_dir);
    assert_eq!(std::fs::read_dir(git_dir.join("agent")).unwrap().count(), 1);
}

/// Pushes through our hooks and a `post-receive` of the repository's own.
#[track_caller]
fn check_push(spoil: impl FnOnce(&World), calls: &[&str]) {
    let world = World::new();
    let (server, clone) = (world.server(), world.clone());
    write(&server.join("hooks/post-receive"), &noting(3), 0o755);
    world.install(&server);
    world.install(&clone);
    spoil(&world);
    let pushed = world.push();
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    let tip = world.git(&["-C", "clone", "rev-parse", "main"]);
    let line = format!("post-receive 0\n{} {} refs/heads/main\n", "0".repeat(40), tip.trim());
    assert_eq!(world.take("notes"), line);
    // The announcement of `pre-receive` goes out beside the push, which may be over before it is noted.
    let began = std::time::Instant::now();
    let called = loop {
        let called = std::fs::read_to_string(world.path("bin/called")).unwrap_or_default();
        let hooks: BTreeSet<&str> = called.lines().filter_map(|line| line.split(' ').next()).collect();
        if hooks == calls.iter().copied().collect() {
            break called;
        }
        assert!(began.elapsed().as_secs() < 30, "{called} instead of {calls:?}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    let place = |name: &str| called.lines().position(|line| line.starts_with(name));
    assert!(place("commit-msg") <= place("pre-push") && place("pre-push") <= place("post-receive"), "{called}");
}

#[test]
fn a_push_runs_the_agent_and_then_the_hook_that_was_there() {
    check_push(|_| (), &["commit-msg", "pre-push", "pre-receive", "post-receive"]);
}

#[test]
fn a_push_goes_on_without_the_agent() {
    check_push(|world| std::fs::remove_file(world.agent()).unwrap(), &[]);
}

#[test]
fn a_push_goes_on_with_an_agent_that_cannot_start() {
    check_push(|world| write(&world.agent(), "#!/nonexistent/interpreter\n", 0o755), &[]);
    check_push(|world| write(&world.agent(), "\x7fELF\x02\x01\x01 of another machine", 0o755), &[]);
    check_push(
        |world| {
            std::fs::remove_file(world.agent()).unwrap();
            std::fs::create_dir(world.agent()).unwrap();
        },
        &[],
    );
}

#[test]
fn a_hook_that_refuses_refuses_with_and_without_the_agent() {
    let world = World::new();
    let server = world.server();
    world.clone();
    write(&server.join("hooks/pre-receive"), &noting(1), 0o755);
    world.install(&server);
    assert!(!world.push().status.success());
    std::fs::remove_file(world.agent()).unwrap();
    assert!(!world.push().status.success());
    assert!(world.uninstall(&server).contains(&(server.join("hooks/pre-receive"), Outcome::Restored)));
    assert!(!world.push().status.success());
}

#[test]
fn a_commit_message_passes_both_and_a_stranger_called_agent_is_not_run() {
    let world = World::new();
    let git_dir = world.clone();
    write(&git_dir.join("hooks/commit-msg"), &noting(0), 0o755);
    world.install(&git_dir);
    std::fs::remove_file(world.agent()).unwrap();
    let strangers = world.path("strangers");
    std::fs::create_dir(&strangers).unwrap();
    write(&strangers.join("agent"), "#!/bin/sh\nexit 1\n", 0o755);
    let mut world = world;
    let mut path = OsString::from(&strangers);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    world.git.env.push(("PATH", path));
    world.git(&["-C", "clone", "commit", "-q", "--allow-empty", "-m", "two"]);
    assert_eq!(world.take("notes"), "commit-msg 1\n");
    write(&strangers.join("agent"), AGENT, 0o755);
    world.git(&["-C", "clone", "commit", "-q", "--allow-empty", "-m", "three"]);
    assert_eq!(world.take("notes"), "commit-msg 1\n");
    assert!(world.take("strangers/called").contains("commit-msg .git/COMMIT_EDITMSG\n"));
}

#[test]
fn a_moved_repository_runs_its_hooks_and_gives_them_back() {
    let world = World::new();
    let server = world.server();
    world.clone();
    let hook = "#!/bin/sh\n. \"$(dirname \"$0\")/lib.sh\"\nnote \"$(basename \"$0\")\"\n";
    write(&server.join("hooks/post-receive"), hook, 0o755);
    write(&server.join("hooks/lib.sh"), "note() { echo \"$1\" >>\"$NOTES\"; }\n", 0o644);
    world.install(&server);
    let moved = world.path("moved.git");
    std::fs::rename(&server, &moved).unwrap();
    symlink(&moved, &server).unwrap();
    assert!(world.push().status.success());
    assert_eq!(world.take("notes"), "post-receive\n", "and finds its library and its name");
    world.uninstall(&moved);
    assert_eq!(std::fs::read_to_string(moved.join("hooks/post-receive")).unwrap(), hook);
}

#[test]
fn a_linked_hook_means_the_same_from_where_it_is_kept() {
    let world = World::new();
    let server = world.server();
    world.clone();
    write(&world.path("shared"), &noting(0), 0o755);
    symlink("../../shared", server.join("hooks/post-receive")).unwrap();
    world.install(&server);
    assert!(world.push().status.success());
    assert!(world.take("notes").starts_with("post-receive 0\n"));
}

#[test]
fn s12_an_edited_shim_is_left_alone() {
    let world = World::new();
    let git_dir = world.server();
    let hook = git_dir.join("hooks/post-receive");
    write(&hook, &noting(0), 0o755);
    world.install(&git_dir);
    let edited = std::fs::read_to_string(&hook).unwrap().replace("exit 0", "exit 1");
    write(&hook, &edited, 0o755);
    assert_eq!(world.owners(&git_dir)[1].0, Owner::Changed);
    assert!(matches!(world.refused(&git_dir), Error::Edited(_)));
    let outcomes = world.uninstall(&git_dir);
    assert!(matches!(&outcomes[..], [(_, Outcome::Removed), (_, Outcome::Left { .. })]), "{outcomes:?}");
    assert_eq!(std::fs::read_to_string(&hook).unwrap(), edited);

    std::fs::remove_file(&hook).unwrap();
    assert_eq!(world.uninstall(&git_dir), [(hook.clone(), Outcome::Restored)], "once it is moved away");
    assert_eq!(std::fs::read_to_string(&hook).unwrap(), noting(0));
    assert!(!git_dir.join("agent").exists());
}

#[test]
fn a_stale_shim_is_renewed() {
    let world = World::new();
    let git_dir = world.server();
    install_with(&world.git, &git_dir, Path::new("/old/place/agent"), &[]).unwrap();
    let missing = vec![Hindrance::AgentMissing("/old/place/agent".into())];
    assert!(world.owners(&git_dir).iter().all(|(_, hindrances)| *hindrances == missing));
    assert!(world.install(&git_dir).iter().all(|report| report.state == HookChange::Renewed));
    assert_eq!(world.owners(&git_dir), [(world.ours(false), vec![]), (world.ours(false), vec![])]);
    assert_eq!(world.uninstall(&git_dir).len(), 2);
}

#[test]
fn the_first_post_receive_of_a_server_is_a_link_to_the_agent() {
    let world = World::new();
    let git_dir = world.server();
    let before = tree(&git_dir);
    let hook = git_dir.join("hooks/post-receive");
    // A shim of another agent gives way to the link, which only the agent itself may be the target of.
    world.install(&git_dir);
    let this = std::env::current_exe().unwrap();
    let changes =
        || install_with(&world.git, &git_dir, &this, &[]).unwrap().hooks.iter().map(|it| it.state).collect::<Vec<_>>();
    assert_eq!(changes(), [HookChange::Renewed, HookChange::Renewed]);
    assert_eq!(std::fs::read_link(&hook).unwrap(), this);
    assert_eq!(changes(), [HookChange::AlreadyThere, HookChange::AlreadyThere]);
    let ours = Owner::Ours { version: shim::VERSION, agent: this.clone(), chained: false, stale: false };
    assert!(world.owners(&git_dir).iter().all(|(owner, hindrances)| *owner == ours && hindrances.is_empty()));
    assert_eq!(world.uninstall(&git_dir).iter().filter(|(_, outcome)| *outcome == Outcome::Removed).count(), 2);
    assert_eq!(tree(&git_dir), before);
}

#[test]
fn a_link_leaves_with_its_agent_and_stops_no_push() {
    let world = World::new();
    let git_dir = world.server();
    world.clone();
    symlink("/nonexistent/agent", git_dir.join("hooks/post-receive")).unwrap();
    assert!(world.push().status.success());
    let (owner, hindrances) = world.owners(&git_dir).remove(1);
    assert!(matches!(owner, Owner::Ours { .. }), "it is known by its look: {owner:?}");
    assert_eq!(hindrances, [Hindrance::AgentMissing("/nonexistent/agent".into())]);
    assert_eq!(world.uninstall(&git_dir), [(git_dir.join("hooks/post-receive"), Outcome::Removed)]);
}

#[test]
fn a_hook_that_is_a_link_to_something_else_is_kept_and_runs_after_ours() {
    let world = World::new();
    let git_dir = world.server();
    let hook = git_dir.join("hooks/post-receive");
    symlink("/opt/their/agent.sh", &hook).unwrap();
    let this = std::env::current_exe().unwrap();
    install_with(&world.git, &git_dir, &this, &[]).unwrap();
    assert!(std::fs::read_to_string(&hook).unwrap().contains("git-jira-agent shim"), "two hooks take a shim");
    world.uninstall(&git_dir);
    assert_eq!(std::fs::read_link(&hook).unwrap(), Path::new("/opt/their/agent.sh"));
}

#[test]
fn h10_a_hook_another_tool_put_over_ours_is_left_alone() {
    let world = World::new();
    let git_dir = world.clone();
    let hook = git_dir.join("hooks/commit-msg");
    write(&hook, &noting(0), 0o755);
    world.install(&git_dir);
    std::fs::rename(&hook, git_dir.join("hooks/commit-msg.legacy")).unwrap();
    write(&hook, "#!/bin/sh\nexec \"$0.legacy\" \"$@\"\n", 0o755);
    assert_eq!(world.owners(&git_dir)[1].0, Owner::Foreign);
    assert!(matches!(world.refused(&git_dir), Error::Replaced { .. }));
    let outcomes = world.uninstall(&git_dir);
    assert!(matches!(&outcomes[1], (path, Outcome::Left { .. }) if *path == hook), "{outcomes:?}");
    assert!(git_dir.join("agent/before/commit-msg").exists());

    std::fs::remove_file(git_dir.join("agent/before/commit-msg")).unwrap();
    assert_eq!(world.uninstall(&git_dir), []);
    assert!(matches!(world.refused(&git_dir), Error::PutAside { .. }), "it would run itself for ever");
}

#[test]
fn hooks_without_their_manifest_are_still_ours() {
    let world = World::new();
    let git_dir = world.server();
    write(&git_dir.join("hooks/post-receive"), &noting(0), 0o755);
    let before = tree(&git_dir);
    world.install(&git_dir);
    std::fs::remove_file(git_dir.join("agent/hooks.json")).unwrap();
    assert!(world.install(&git_dir).iter().all(|report| report.state == HookChange::AlreadyThere));
    std::fs::remove_file(git_dir.join("agent/hooks.json")).unwrap();
    world.uninstall(&git_dir);
    assert_eq!(tree(&git_dir), before);
}

/// Stops an installation half-way by hand, and sees that either way on is open.
#[track_caller]
fn check_interrupted(stop: impl Fn(&Path)) {
    for go_on in [true, false] {
        let world = World::new();
        let git_dir = world.server();
        let hook = git_dir.join("hooks/post-receive");
        write(&hook, &noting(0), 0o755);
        let before = tree(&git_dir);
        world.install(&git_dir);
        stop(&git_dir);
        if go_on {
            world.install(&git_dir);
            assert_eq!(world.owners(&git_dir), [(world.ours(false), vec![]), (world.ours(true), vec![])]);
        }
        world.uninstall(&git_dir);
        assert_eq!(tree(&git_dir), before);
    }
}

#[test]
fn an_interrupted_installation_can_go_on_or_back() {
    // Killed after the manifest.
    check_interrupted(|git_dir| {
        std::fs::rename(git_dir.join("agent/before/post-receive"), git_dir.join("hooks/post-receive")).unwrap();
        std::fs::remove_dir(git_dir.join("agent/before")).unwrap();
        std::fs::remove_file(git_dir.join("hooks/pre-receive")).unwrap();
    });
    // Killed when the hook had both names and the shim was half written.
    check_interrupted(|git_dir| {
        std::fs::remove_file(git_dir.join("hooks/post-receive")).unwrap();
        std::fs::hard_link(git_dir.join("agent/before/post-receive"), git_dir.join("hooks/post-receive")).unwrap();
        std::fs::write(git_dir.join("hooks/.post-receive.agent-new"), "#!/bin").unwrap();
    });
}

#[test]
fn h10_a_hooks_path_of_another_tool_is_not_touched() {
    let world = World::new();
    let git_dir = world.clone();
    world.git(&["-C", "clone", "config", "core.hooksPath", world.path("elsewhere").to_str().unwrap()]);
    assert!(matches!(world.refused(&git_dir), Error::SharedHooksPath { scope, .. } if scope == "local"));
    world.git(&["-C", "clone", "config", "core.hooksPath", ""]);
    assert!(matches!(world.refused(&git_dir), Error::EmptyHooksPath { .. }));
    world.git(&["-C", "clone", "config", "--unset", "core.hooksPath"]);
    world.git(&["config", "--global", "core.hooksPath", "~/hooks"]);
    assert!(matches!(world.refused(&git_dir), Error::SharedHooksPath { scope, .. } if scope == "global"));
    world.git(&["config", "--global", "core.hooksPath", ".git/hooks"]);
    world.install(&git_dir);
}

#[test]
fn a_hooks_path_set_later_is_told_and_does_not_hinder_the_way_back() {
    let world = World::new();
    let git_dir = world.clone();
    world.install(&git_dir);
    world.git(&["-C", "clone", "config", "core.hooksPath", ".husky/_"]);
    let elsewhere = vec![Hindrance::HooksPathElsewhere(world.path("clone/.husky/_"))];
    assert!(world.owners(&git_dir).iter().all(|(_, hindrances)| *hindrances == elsewhere));
    assert!(world.uninstall(&git_dir).iter().all(|(_, outcome)| *outcome == Outcome::Removed));
}

#[test]
fn a_shim_that_lost_its_mode_is_told_and_renewed() {
    let world = World::new();
    let git_dir = world.server();
    world.install(&git_dir);
    std::fs::set_permissions(git_dir.join("hooks/pre-receive"), PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(world.owners(&git_dir)[0].1, [Hindrance::NotExecutable]);
    assert_eq!(world.install(&git_dir)[0].state, HookChange::Renewed);
    assert_eq!(world.owners(&git_dir)[0].1, []);
}

#[test]
fn s12_links_that_lead_out_of_the_repository_are_refused() {
    let world = World::new();
    let git_dir = world.server();
    std::fs::rename(git_dir.join("hooks"), world.path("shared-hooks")).unwrap();
    symlink(world.path("shared-hooks"), git_dir.join("hooks")).unwrap();
    assert!(matches!(world.refused(&git_dir), Error::LinkedHooks(_)));
    std::fs::remove_file(git_dir.join("hooks")).unwrap();
    std::fs::create_dir(world.path("trap")).unwrap();
    symlink(world.path("trap"), git_dir.join("agent")).unwrap();
    assert!(matches!(world.refused(&git_dir), Error::Obstacle(_)));
    assert_eq!(std::fs::read_dir(world.path("trap")).unwrap().count(), 0);
}

#[track_caller]
fn check_writable(shared: &str, mode: u32, allowed: bool) {
    let world = World::new();
    let git_dir = world.server();
    world.git(&["--git-dir=server.git", "config", "core.sharedRepository", shared]);
    std::fs::set_permissions(git_dir.join("hooks"), PermissionsExt::from_mode(mode)).unwrap();
    // A group of the same number as the user counts as the user's own.
    let own_group = git_dir.metadata().unwrap().gid() == git_dir.metadata().unwrap().uid();
    let allowed = allowed || (own_group && mode & 0o002 == 0);
    let result = install_with(&world.git, &git_dir, &world.agent(), &[]);
    assert_eq!(result.is_ok(), allowed, "{shared} {mode:o}: {result:?}");
}

#[test]
fn s12_a_directory_that_strangers_may_write_is_refused() {
    check_writable("false", 0o755, true);
    check_writable("false", 0o775, false);
    check_writable("group", 0o2775, true);
    check_writable("0660", 0o2770, true);
    check_writable("group", 0o777, false);
    check_writable("false", 0o1777, false);
}

#[test]
fn what_is_made_has_the_mode_of_the_repository() {
    let world = World::new();
    let git_dir = world.server();
    write(&git_dir.join("hooks/post-receive"), &noting(0), 0o755);
    for (mode, file) in [(0o700, 0o600), (0o2770, 0o660), (0o755, 0o644)] {
        std::fs::set_permissions(&git_dir, PermissionsExt::from_mode(mode)).unwrap();
        world.git(&["--git-dir=server.git", "config", "core.sharedRepository", "group"]);
        world.install(&git_dir);
        let mode_of = |path: &str| git_dir.join(path).metadata().unwrap().mode() & 0o7777;
        assert_eq!([mode_of("agent"), mode_of("agent/before")], [mode, mode]);
        assert_eq!([mode_of("agent/hooks.json"), mode_of("hooks/post-receive")], [file, 0o755]);
        world.uninstall(&git_dir);
    }
}

#[test]
fn a_manifest_from_the_future_is_not_guessed_at() {
    let world = World::new();
    let git_dir = world.server();
    world.install(&git_dir);
    let path = git_dir.join("agent/hooks.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"format\": 2", "\"format\": 3")).unwrap();
    assert!(matches!(world.refused(&git_dir), Error::NewerManifest { format: 3, .. }));
    std::fs::write(&path, text.replace("\"format\": 2", "\"format\": 2, \"more\": 1")).unwrap();
    assert!(matches!(world.refused(&git_dir), Error::Manifest { .. }));
}

#[track_caller]
fn check_found(world: &World, path: &str, expected: &str) {
    assert_eq!(world.git.find(&world.path(path)).unwrap(), world.path(expected), "{path} by git");
    let look = world.path(path).ancestors().find_map(place::by_its_look).unwrap();
    assert_eq!(look.canonicalize().unwrap(), world.path(expected), "{path} by its look");
}

#[test]
fn a_repository_is_found_from_wherever_it_is_named() {
    let world = World::new();
    world.server();
    world.clone();
    world.git(&["-C", "clone", "worktree", "add", "-q", "../linked"]);
    world.git(&["init", "-q", "--separate-git-dir", "apart", "split"]);
    std::fs::create_dir(world.path("clone/deep")).unwrap();
    check_found(&world, "server.git", "server.git");
    check_found(&world, "server.git/hooks", "server.git");
    check_found(&world, "clone", "clone/.git");
    check_found(&world, "clone/deep", "clone/.git");
    check_found(&world, "clone/.git", "clone/.git");
    check_found(&world, "linked", "clone/.git");
    check_found(&world, "split", "apart");
    assert!(matches!(world.git.find(&world.path("bin")), Err(Error::NotARepository(_))));
    world.git(&["config", "--global", "safe.bareRepository", "explicit"]);
    check_found(&world, "server.git", "server.git");
}

#[test]
fn a_place_is_known_by_its_config() {
    let world = World::new();
    assert_eq!(world.git.place(&world.server()).unwrap(), Place::Server);
    assert_eq!(world.git.place(&world.clone()).unwrap(), Place::Clone);
    std::fs::write(world.path("server.git/config"), "").unwrap();
    assert_eq!(world.git.place(&world.path("server.git")).unwrap(), Place::Server);
}

#[test]
fn what_root_makes_belongs_to_the_owner_of_the_repository() {
    if !rustix::process::geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "skipped: only root can work in a repository of somebody else");
        return;
    }
    let world = World::new();
    let git_dir = world.server();
    write(&git_dir.join("hooks/post-receive"), &noting(0), 0o755);
    write(&git_dir.join("config"), "[core]\n\tbare = true\n# the end", 0o644);
    for path in tree(&git_dir).keys() {
        std::os::unix::fs::lchown(path, Some(4321), Some(4322)).unwrap();
    }
    let check_owner = |when: &str| {
        for path in tree(&git_dir).keys() {
            let meta = path.symlink_metadata().unwrap();
            assert_eq!((meta.uid(), meta.gid()), (4321, 4322), "{when}: {}", path.display());
        }
    };
    world.install(&git_dir);
    check_owner("installed");
    world.git(&["--git-dir=server.git", "config", "agent.repoid", "0198"]);
    std::os::unix::fs::lchown(git_dir.join("config"), Some(4321), Some(4322)).unwrap();
    let removed = uninstall_with(&world.git, &git_dir, true).unwrap();
    assert_eq!(removed.identity, Identity::Forgotten { as_before: true });
    check_owner("uninstalled");
}

/// How a hook stands after another installation.
fn again(world: &World, git_dir: &Path, hook: &str) -> (HookChange, bool) {
    let report = world.install(git_dir).into_iter().find(|report| report.name == hook).unwrap();
    (report.state, report.chained)
}

#[test]
fn c3_a_hook_that_stands_by_comes_and_goes_and_is_never_in_the_way_of_another() {
    let world = World::new();
    let git_dir = world.clone();
    let before = tree(&git_dir);
    let hook = git_dir.join("hooks/reference-transaction");
    let confirming = || Confirming::lock(&git_dir).unwrap();
    confirming().begin().unwrap();
    assert!(confirming().end().unwrap() && !hook.exists(), "where nothing is installed there is nothing to do");

    world.install(&git_dir);
    assert!(!hook.exists() && !is_dropped(&git_dir).unwrap());
    for _ in 0..2 {
        confirming().begin().unwrap();
        assert!(hook.metadata().unwrap().mode() & 0o111 == 0o111);
        assert_eq!(again(&world, &git_dir, "reference-transaction"), (HookChange::AlreadyThere, false));
        assert!(hook.exists(), "a push goes on");
        assert_eq!(world.owners(&git_dir)[3], (world.ours(false), vec![]));
    }
    assert!(confirming().end().unwrap() && !hook.exists());
    assert_eq!(again(&world, &git_dir, "reference-transaction"), (HookChange::AlreadyThere, false));
    assert_eq!(world.owners(&git_dir)[3], (world.ours(false), vec![]));

    // What somebody puts there is theirs, and then ours stands before it for good.
    write(&hook, &noting(0), 0o755);
    confirming().begin().unwrap();
    assert!(confirming().end().unwrap());
    assert_eq!(std::fs::read_to_string(&hook).unwrap(), noting(0));
    assert_eq!(world.owners(&git_dir)[3].0, Owner::Foreign);
    assert_eq!(again(&world, &git_dir, "reference-transaction"), (HookChange::Put, true));
    confirming().begin().unwrap();
    assert!(confirming().end().unwrap() && hook.exists());
    assert_eq!(world.owners(&git_dir)[3], (world.ours(true), vec![]));
    assert!(!git_dir.join("agent/reference-transaction").exists());
    assert!(world.uninstall(&git_dir).contains(&(hook.clone(), Outcome::Restored)));
    std::fs::remove_file(&hook).unwrap();

    // Taken out while a push is under way, it leaves nothing behind.
    world.install(&git_dir);
    confirming().begin().unwrap();
    write(&git_dir.join("agent/pushing"), "by 1\n", 0o644);
    world.uninstall(&git_dir);
    assert_eq!(tree(&git_dir), before);
}

#[test]
fn c3_a_hook_is_not_taken_away_while_git_may_be_about_to_start_it() {
    let world = World::new();
    let git_dir = world.clone();
    world.git(&["-C", "clone", "worktree", "add", "-q", "../linked"]);
    world.install(&git_dir);
    let hook = git_dir.join("hooks/reference-transaction");
    let confirming = Confirming::lock(&git_dir).unwrap();
    std::fs::create_dir_all(git_dir.join("refs/remotes/origin/deep")).unwrap();
    let locks = ["HEAD.lock", "packed-refs.lock", "refs/remotes/origin/deep/x.lock", "worktrees/linked/HEAD.lock"];
    for lock in locks.map(|lock| git_dir.join(lock)) {
        confirming.begin().unwrap();
        std::fs::write(&lock, "").unwrap();
        assert!(!confirming.end().unwrap() && hook.exists(), "{}", lock.display());
        std::fs::remove_file(&lock).unwrap();
        assert!(confirming.end().unwrap() && !hook.exists(), "{}", lock.display());
    }
    // That of the index says nothing of refs.
    confirming.begin().unwrap();
    std::fs::write(git_dir.join("index.lock"), "").unwrap();
    assert!(confirming.end().unwrap());
}

#[test]
fn c3_a_shim_of_an_older_agent_begins_to_stand_by() {
    for pushing in [false, true] {
        let world = World::new();
        let git_dir = world.clone();
        let before = tree(&git_dir);
        world.install(&git_dir);
        let hook = git_dir.join("hooks/reference-transaction");
        let older = "#!/bin/sh\n# git-jira-agent shim 3\nexit 0\n";
        write(&hook, older, 0o755);
        std::fs::remove_file(git_dir.join("agent/reference-transaction")).unwrap();
        let manifest = git_dir.join("agent/hooks.json");
        let mut read: serde_json::Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
        read["hooks"]["reference-transaction"]["ours"] = [manifest::sha256(older.as_bytes())].into_iter().collect();
        std::fs::write(&manifest, read.to_string()).unwrap();
        if pushing {
            write(&git_dir.join("agent/pushing"), "", 0o644);
        }
        assert_eq!(again(&world, &git_dir, "reference-transaction"), (HookChange::Renewed, false));
        assert_eq!(hook.exists(), pushing, "a push under way is still heard of");
        assert_eq!(world.owners(&git_dir)[3], (world.ours(false), vec![]));
        world.uninstall(&git_dir);
        assert_eq!(tree(&git_dir), before);
    }
}
