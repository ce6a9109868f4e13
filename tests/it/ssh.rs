//! Through a real SSH server, as one account that everybody shares; also behind gitolite.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::process::{Command, Stdio};

use crate::accounts::{json, wait_for_link};
use crate::direct::has;
use crate::harness::{Process, Repository, World, success, wait_until};
use crate::hook::{a_minute_later, calm_world, halt_push, is_root, skipped, write_script};
use crate::smart::{self, counts, wait_for};
use crate::uninstall::{assert_same, tree};

pub const SSHD: &str = "/usr/sbin/sshd";

/// An SSH server that lets in whoever has the world's key.
pub struct Server {
    pub port: u16,
    /// Who runs the test.
    user: String,
    _process: Process,
}

impl Server {
    /// Gives nothing, and says why, where it cannot be had.
    pub fn start(world: &World) -> Option<Server> {
        Server::start_as(world, Command::new(SSHD), "")
    }

    /// The same by a command of its own and with more lines of configuration.
    pub fn start_as(world: &World, mut sshd: Command, lines: &str) -> Option<Server> {
        if !fs::exists(SSHD).unwrap() || world.command("ssh").arg("-V").output().is_err() {
            skipped("there is no OpenSSH here");
            return None;
        }
        let user = success(world.command("id").arg("-un")).trim().to_owned();
        for key in ["host", "person"] {
            success(world.command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", key]));
        }
        if is_root() {
            // Where OpenSSH keeps a folder for its helpers, which a system without a running server lacks.
            let _ = fs::DirBuilder::new().mode(0o755).create("/run/sshd");
        }
        let port = free_port();
        let folder = world.folder.display();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nPidFile none\nStrictModes no\nUsePAM no\n\
             AuthorizedKeysFile {folder}/person.pub\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nExposeAuthInfo yes\n{lines}"
        );
        fs::write(world.folder.join("sshd_config"), config).unwrap();
        sshd.args(["-D", "-e", "-f"]).arg(world.folder.join("sshd_config")).stderr(Stdio::piped());
        let mut process = Process(sshd.spawn().unwrap());
        let mut lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
        if !lines.any(|line| line.unwrap_or_default().contains("Server listening")) {
            skipped("the SSH server does not start here");
            return None;
        }
        // Somebody has to read what it says, or it stops when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        Some(Server { port, user, _process: process })
    }

    fn address(&self, repository: &Repository<'_>) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", self.user, self.port, repository.path.display())
    }

    /// The command by which git comes in with the world's key.
    pub fn ssh(&self, world: &World) -> String {
        let folder = world.folder.display();
        format!(
            "ssh -F none -i {folder}/person -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no \
             -o UserKnownHostsFile={folder}/known_hosts -o LogLevel=ERROR"
        )
    }

    /// A clone whose git speaks to the server with the world's key.
    fn clone_of<'w>(&self, world: &'w World, repository: &Repository<'_>) -> Repository<'w> {
        let clone = world.clone_of(repository, "work");
        clone.git(&["config", "core.sshCommand", &self.ssh(world)]);
        clone.git(&["remote", "set-url", "origin", &self.address(repository)]);
        clone
    }
}

/// A port of loopback that was free just now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A repository whose hooks know their configuration without the environment, which SSH does not carry.
fn installed(world: &World) -> Repository<'_> {
    let repository = world.plain_repository("tool", &[]);
    let config = world.config();
    world.agent_says(&["--config", config.to_str().unwrap(), "install", repository.path.to_str().unwrap()]);
    fs::set_permissions(&world.folder, fs::Permissions::from_mode(0o755)).unwrap();
    repository
}

#[test]
fn c1_k11_a_push_through_ssh_shows_the_answer_and_reaches_jira() {
    let world = calm_world();
    let Some(server) = Server::start(&world) else { return };
    let _daemon = world.daemon();
    let repository = installed(&world);
    let clone = server.clone_of(&world, &repository);
    clone.commit("ABC-1 begin");
    let answer = clone.push(&["origin", "HEAD:main", "HEAD:ABC-2-x"]);
    assert!(answer.contains("remote: jira: 1 commit, 1 branch queued for Jira"), "{answer}");
    assert!(answer.contains(&format!("ABC-1  {}/browse/ABC-1", world.sandbox.url())), "{answer}");
    world.wait_for_jira(1, 1);
}

#[test]
fn f01_h01_a_connection_cut_in_the_middle_of_a_push_loses_nothing() {
    let world = calm_world();
    let Some(server) = Server::start(&world) else { return };
    let daemon = world.daemon();
    let repository = installed(&world);
    let clone = server.clone_of(&world, &repository);
    let first = clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_owed("commit", &[&first]);
    let second = clone.commit("ABC-2 cut off");
    halt_push(&repository, &clone, &["origin", "HEAD:main"]).cut(&repository, "main", &second);
    wait_until("the ref has moved", || repository.git(&["rev-parse", "main"]) == second);
    let Some(_daemon) = a_minute_later(&world, daemon) else { return };
    world.wait_for_owed("commit", &[&first, &second]);
}

/// gitolite as Debian has it, with a home of its own, behind the server's door for `ann`; nothing where it cannot be had.
fn gitolite(world: &World) -> Option<Server> {
    if !has("gitolite") {
        return None;
    }
    let server = Server::start(world)?;
    let home = world.folder.join("gl");
    fs::create_dir(&home).unwrap();
    fs::copy(world.folder.join("person.pub"), world.folder.join("ann.pub")).unwrap();
    success(world.command("gitolite").args(["setup", "-pk", "ann.pub"]).env("HOME", &home));
    // The server's user has another home, so the door says which one gitolite lives in.
    let keys = fs::read_to_string(home.join(".ssh/authorized_keys")).unwrap();
    let environment = format!("env HOME={} GIT_JIRA_AGENT_CONFIG={}", home.display(), world.config().display());
    let keys = keys.replace("command=\"", &format!("command=\"{environment} "));
    fs::write(world.folder.join("person.pub"), keys).unwrap();
    fs::set_permissions(&world.folder, fs::Permissions::from_mode(0o755)).unwrap();
    Some(server)
}

#[test]
fn b4_t10_gitolites_repositories_are_linked_and_those_it_makes_too() {
    let world = calm_world();
    let Some(server) = gitolite(&world) else { return };
    let _daemon = world.daemon();
    let root = world.folder.join("gl/repositories");
    let update = fs::read_link(root.join("testing.git/hooks/update")).unwrap();
    let said = world.agent_says(&["account", "add", "gl", "--root", root.to_str().unwrap(), "--yes"]);
    assert!(said.contains("2 of kind gitolite") && said.contains("2 repositories got hooks"), "{said}");
    let clone = |name: &str| {
        let path = world.folder.join("clones").join(name);
        let git = |words: &[&str]| success(world.command("git").current_dir(&world.folder).args(words));
        git(&["init", "--quiet", "--initial-branch=main", path.to_str().unwrap()]);
        let clone = Repository { world: &world, path };
        clone.git(&["config", "core.sshCommand", &server.ssh(&world)]);
        let address = format!("ssh://{}@127.0.0.1:{}/{name}", server.user, server.port);
        clone.git(&["remote", "add", "origin", &address]);
        clone
    };
    let testing = clone("testing");
    testing.commit("ABC-1 begin");
    let answer = testing.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("ABC-1  "), "{answer}");
    wait_for_link(&world, "ABC-1");

    let admin = clone("gitolite-admin");
    admin.git(&["pull", "--quiet", "origin", "HEAD"]);
    let conf = admin.path.join("conf/gitolite.conf");
    let text = fs::read_to_string(&conf).unwrap();
    fs::write(conf, format!("{text}\nrepo team/fresh\n    RW+ = @all\n")).unwrap();
    admin.commit("a new one");
    admin.push(&["origin", "HEAD:master", "HEAD:main"]);
    let made = root.join("team/fresh.git");
    wait_until("it is covered", || made.join("agent/hooks.json").exists());
    let fresh = clone("team/fresh");
    fresh.commit("ABC-2 begin");
    let answer = fresh.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("ABC-2  "), "{answer}");
    wait_for_link(&world, "ABC-2");
    // What gitolite puts there is its own, before and after.
    success(world.command("gitolite").args(["setup", "--hooks-only"]).env("HOME", world.folder.join("gl")));
    assert_eq!(fs::read_link(root.join("testing.git/hooks/update")).unwrap(), update);
    testing.commit("ABC-3 go on");
    assert!(testing.push(&["origin", "HEAD:main"]).contains("ABC-3  "));
}

/// gitolite puts its links over whatever has their name in a repository, so ours is where they lead.
#[test]
fn b4_t10_a_common_hook_of_gitolites_runs_after_ours_and_new_repositories_have_both_at_once() {
    let world = calm_world();
    let Some(server) = gitolite(&world) else { return };
    let home = world.folder.join("gl");
    let rc = fs::read_to_string(home.join(".gitolite.rc")).unwrap();
    let line = "# LOCAL_CODE                =>  \"$ENV{HOME}/local\",";
    assert!(rc.contains(line), "{rc}");
    fs::write(home.join(".gitolite.rc"), rc.replace(line, &line[2..])).unwrap();
    let common = home.join("local/hooks/common");
    write_script(&common.join("post-receive"), "echo \"$GL_USER came to $0\" >&2; cat >&2");
    let set_up = || success(world.command("gitolite").args(["setup", "--hooks-only"]).env("HOME", &home));
    set_up();
    let root = home.join("repositories");
    let without_objects = |folder: &std::path::Path| {
        let mut all = tree(folder);
        all.retain(|path, _| {
            !path.components().any(|part| ["objects", "refs", "logs", "HEAD"].iter().any(|it| part.as_os_str() == *it))
        });
        all
    };
    let before = [tree(&home.join("local")), without_objects(&root.join("testing.git"))];
    let daemon = world.daemon();
    let said = world.agent_says(&["account", "add", "gl", "--root", root.to_str().unwrap(), "--yes"]);
    assert!(said.contains("in 2 of them other hooks are") && said.contains("2 repositories got hooks"), "{said}");
    let shown = json(&world, &["account", "show", "gl"]);
    assert!(shown["repositories"].as_array().unwrap().iter().all(|one| one["reached"] == "shared-file"), "{shown}");
    set_up();
    let push = |name: &str, message: &str| {
        let path = world.folder.join("clones").join(message.replace(' ', "-"));
        success(world.command("git").args(["init", "--quiet", "--initial-branch=main"]).arg(&path));
        let clone = Repository { world: &world, path };
        clone.git(&["config", "core.sshCommand", &server.ssh(&world)]);
        clone.git(&["remote", "add", "origin", &format!("ssh://{}@127.0.0.1:{}/{name}", server.user, server.port)]);
        clone.commit(message);
        clone.push(&["--force", "origin", "HEAD:main"])
    };
    let answer = push("testing", "ABC-1 begin");
    assert!(
        answer.contains("ABC-1  ") && answer.contains("ann came to") && answer.contains("refs/heads/main"),
        "{answer}"
    );
    wait_for_link(&world, "ABC-1");
    // One that gitolite makes has its links before anybody looks: nobody does now.
    drop(daemon);
    let conf = home.join(".gitolite/conf/gitolite.conf");
    let text = fs::read_to_string(&conf).unwrap();
    fs::write(&conf, format!("{text}\nrepo fresh\n    RW+ = @all\n")).unwrap();
    success(world.command("gitolite").args(["compile"]).env("HOME", &home));
    let answer = push("fresh", "ABC-2 begin");
    assert!(answer.contains("jira: 1 commit kept for Jira") && answer.contains("ann came to"), "{answer}");
    fs::write(&conf, text).unwrap();
    fs::remove_dir_all(root.join("fresh.git")).unwrap();
    let _daemon = world.daemon();
    world.agent_says(&["account", "remove", "gl", "--yes"]);
    assert_same(&before[0], &tree(&home.join("local")));
    assert_same(&before[1], &without_objects(&root.join("testing.git")));
}

#[test]
fn b4_without_a_common_hook_ours_is_one_only_where_it_takes_nothing_away() {
    let world = calm_world();
    let Some(server) = gitolite(&world) else { return };
    let home = world.folder.join("gl");
    let rc = fs::read_to_string(home.join(".gitolite.rc")).unwrap();
    fs::write(
        home.join(".gitolite.rc"),
        rc.replace("# LOCAL_CODE                =>  \"$ENV", "LOCAL_CODE                =>  \"$ENV"),
    )
    .unwrap();
    let common = home.join("local/hooks/common");
    fs::create_dir_all(&common).unwrap();
    let root = home.join("repositories");
    let own = root.join("testing.git/hooks/post-receive");
    write_script(&own, "cat >/dev/null; echo its own >&2");
    let _daemon = world.daemon();
    let add = ["account", "add", "gl", "--root", root.to_str().unwrap(), "--yes"];
    world.agent_says(&add);
    assert_eq!(fs::read_dir(&common).unwrap().count(), 0, "it would take away what a repository has");
    world.agent_says(&["account", "remove", "gl", "--yes"]);
    fs::remove_file(&own).unwrap();
    world.agent_says(&add);
    assert_eq!(fs::read_dir(&common).unwrap().count(), 2);
    assert_eq!(fs::read_link(&own).unwrap(), common.join("post-receive"));
    world.agent_says(&["account", "remove", "gl", "--yes"]);
    assert_eq!(fs::read_dir(&common).unwrap().count(), 0);
    assert!(own.symlink_metadata().is_err());
    drop(server);
}

/// The account is everybody's, and who came is known by their key alone.
#[test]
fn g4_a_push_through_a_shared_account_counts_for_whose_key_it_came_with() {
    let world = smart::with_people("policy = \"bot\"", |_| String::new());
    let Some(server) = Server::start(&world) else { return };
    let key = fs::read_to_string(world.folder.join("person.pub")).unwrap();
    let user = &server.user;
    let person = |key: &str| {
        format!("[[person]]\nname = \"Ann Example\"\nemails = [\"ann@example.org\"]\nkeys = [\"{}\"]\n", key.trim())
    };
    let config = fs::read_to_string(world.config()).unwrap();
    let configure = |key: &str| {
        fs::write(world.config(), format!("{}{config}host_users = [\"{user}\"]\n", person(key))).unwrap();
    };
    configure(&fs::read_to_string(world.folder.join("host.pub")).unwrap());
    let _daemon = world.daemon();
    let repository = installed(&world);
    let clone = server.clone_of(&world, &repository);
    clone.commit_by("ann@example.org", "ABC-1 #comment by nobody we know");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("#comment is not carried out: nobody vouches for who pushed it"), "{answer}");
    configure(&key);
    world.agent_says(&["daemon", "reload"]);
    clone.commit_by("ann@example.org", "ABC-2 #time 1h #start-progress");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("#time 1h is queued") && answer.contains("#start-progress is queued"), "{answer}");
    wait_for(&world, "ABC-2", [0, 1, 1]);
    assert_eq!(counts(&world, "ABC-1"), [0, 0, 0]);
    let given = world.effects(&["list", "--state", "settled"]);
    assert!(given.iter().all(|effect| effect["pusher"] == "Ann Example"), "{given:?}");
}
