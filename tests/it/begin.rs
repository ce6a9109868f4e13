//! The three ways to begin, by script as `agent repo create` prints them, over each way to a server: they end in Jira's panel.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Daemon, Process, Repository, World, success, wait_until, wait_until_or};
use crate::hook::{CALM, is_root, skipped};
use crate::smart;
use crate::ssh::Server;

/// Where Debian and most others keep what a web server runs for git.
const BACKEND: &str = "/usr/lib/git-core/git-http-backend";
/// Somebody's own number, and that of a group: nobody real has them.
const PEOPLE: [(&str, u32); 2] = [("gja-ann", 54_001), ("gja-bob", 54_002)];
const GROUP: u32 = 54_100;

type Dress<'w> = Box<dyn Fn(&mut Command, &str) + 'w>;

/// How people reach a server.
struct Way<'w> {
    world: &'w World,
    /// What `agent repo create` is told beyond the name.
    options: Vec<String>,
    /// What somebody's shell is given to reach it: their name, and the variables.
    dress: Dress<'w>,
    /// Who does each of the three.
    people: [&'w str; 3],
}

impl Way<'_> {
    /// Makes a repository and gives what is said of one way to go on, as a script.
    #[track_caller]
    fn script(&self, name: &str, way: &str) -> String {
        let chosen = self.world.config();
        let mut words = vec!["--config", chosen.to_str().unwrap(), "repo", "create", name];
        words.extend(self.options.iter().map(String::as_str));
        let said = self.world.agent_says(&words);
        let (_, rest) = said.split_once(way).unwrap_or_else(|| panic!("{way}: {said}"));
        let lines = rest.lines().skip(2).take_while(|line| line.starts_with("  "));
        let script: Vec<&str> = lines.collect();
        assert!(script.len() >= 3, "{said}");
        script.join("\n")
    }

    /// Runs a script in a folder as somebody, and gives what was said.
    #[track_caller]
    fn run(&self, person: &str, folder: &Path, script: &str) -> String {
        let mut shell = self.world.command("sh");
        shell.args(["-ec", script]).current_dir(folder).env("GIT_TERMINAL_PROMPT", "0");
        (self.dress)(&mut shell, person);
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{script}\n{said}{}", self.world.log());
        said
    }

    /// From nothing, with files that no Git knew, and with a history whose branch is `master`.
    #[track_caller]
    fn begin(&self) {
        let clones = self.world.folder.join("clones");
        let folder = |name: &str| {
            fs::create_dir(clones.join(name)).unwrap();
            clones.join(name)
        };
        // Files come from somewhere between two of the lines.
        let with_file = |script: String| script.replacen("  git add", "  echo new > file\n  git add", 1);

        let script = with_file(self.script("Scratch", "to begin in an empty folder:"));
        let script = script.replace("ABC-1 begin", "ABC-1 begin #comment from nothing");
        let said = self.run(self.people[0], &clones, &script);
        assert!(said.contains("remote: jira: 1 commit queued for Jira"), "{said}");
        self.wait_for_panel("ABC-1", &["ABC-1 begin"]);

        let files = folder("old-files");
        fs::write(files.join("old"), "nobody kept its history\n").unwrap();
        let script = self.script("Files", "to put in files that Git does not know yet, in their folder:");
        let script = script.replace("ABC-1 begin", "ABC-2 begin #comment with files");
        let said = self.run(self.people[1], &files, &script);
        assert!(said.contains("remote: jira: 1 commit queued for Jira"), "{said}");
        self.wait_for_panel("ABC-2", &["ABC-2 begin"]);

        let history = Repository { world: self.world, path: folder("old-history") };
        history.git(&["init", "--quiet", "--initial-branch=master"]);
        let old = "2020-01-01T00:00:00Z";
        let mut commit = history.command(&["commit", "--quiet", "--allow-empty", "-m", "ABC-3 #comment long ago"]);
        success(commit.env("GIT_AUTHOR_DATE", old).env("GIT_COMMITTER_DATE", old));
        let last = history.commit("ABC-3 go on");
        history.git(&["branch", "ABC-4-side"]);
        history.git(&["tag", "v1"]);
        let script = self.script("History", "to push a history that exists, in its clone");
        let said = self.run(self.people[2], &history.path, &script);
        assert!(said.contains("jira: clones begin on master from now on"), "{said}");
        self.wait_for_panel("ABC-3", &["ABC-3 #comment long ago", "ABC-3 go on"]);
        self.wait_for_panel("ABC-4", &["ABC-4-side"]);
        // All of it is there, and what it ordered long ago was not carried out.
        let url = history.git(&["remote", "get-url", "origin"]);
        self.run(self.people[2], &clones, &format!("git clone --quiet {url} again"));
        let again = Repository { world: self.world, path: clones.join("again") };
        assert_eq!(again.git(&["log", "-1", "--format=%H"]), last);
        assert_eq!(again.git(&["symbolic-ref", "--short", "HEAD"]), "master");
        assert_eq!(again.git(&["tag"]), "v1");
        self.world.wait_until_idle();
        for (key, comments) in [("ABC-1", 1), ("ABC-2", 1), ("ABC-3", 0)] {
            smart::wait_for(self.world, key, [comments, 0, 0]);
        }
    }

    /// Waits until the page of an issue shows these words.
    #[track_caller]
    fn wait_for_panel(&self, key: &str, words: &[&str]) {
        let page = || self.world.sandbox.page(&format!("/browse/{key}"));
        wait_until_or(
            "the issue shows it",
            || words.iter().all(|word| page().contains(word)),
            || format!("{key}: {}\n{}", page(), self.world.log()),
        );
    }

    /// Who gave the orders of the first two ways, as the agent knows them.
    fn pushers(&self) -> Vec<String> {
        let effects = self.world.effects(&["list", "--state", "settled"]);
        let of = |key: &str| {
            let effect = effects.iter().find(|effect| effect["issue"] == key).unwrap_or_else(|| panic!("{effects:?}"));
            effect["pusher"].as_str().unwrap().to_owned()
        };
        ["ABC-1", "ABC-2"].map(of).to_vec()
    }
}

/// A world in which orders are carried out, with this in its account.
fn world(smart: &str, account: &str) -> World {
    let world = smart::with_people(smart, |_| CALM.to_owned());
    let config = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), config.replace("[account.smart]", &format!("{account}[account.smart]"))).unwrap();
    fs::set_permissions(&world.folder, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(world.folder.join("home/.gitconfig"), "[init]\ndefaultBranch = master\n").unwrap();
    world
}

fn me(world: &World) -> String {
    success(world.command("id").arg("-un")).trim().to_owned()
}

/// lighttpd with git's own program behind it: whoever knows a password may push.
struct Web {
    _process: Process,
}

impl Web {
    fn start(world: &World, port: u16) -> Option<Web> {
        let program =
            ["/usr/sbin/lighttpd", "/usr/local/sbin/lighttpd"].into_iter().find(|path| Path::new(path).exists());
        let Some(program) = program.filter(|_| Path::new(BACKEND).exists()) else {
            skipped("there is no lighttpd with git-http-backend here");
            return None;
        };
        let folder = world.folder.display();
        fs::write(world.folder.join("passwords"), "ann:sesame\nbob:sesame\n").unwrap();
        let config = format!(
            "server.modules = (\"mod_auth\", \"mod_authn_file\", \"mod_alias\", \"mod_setenv\", \"mod_cgi\")\n\
             server.document-root = \"{folder}/home\"\nserver.bind = \"127.0.0.1\"\nserver.port = {port}\n\
             server.errorlog = \"{folder}/web.log\"\nserver.upload-dirs = (\"{folder}\")\n\
             auth.backend = \"plain\"\nauth.backend.plain.userfile = \"{folder}/passwords\"\n\
             alias.url = (\"/git\" => \"{BACKEND}\")\n\
             $HTTP[\"url\"] =~ \"^/git/\" {{\n  cgi.assign = (\"\" => \"\")\n\
               auth.require = (\"\" => (\"method\" => \"basic\", \"realm\" => \"git\", \"require\" => \"valid-user\"))\n\
               setenv.set-environment = (\"GIT_PROJECT_ROOT\" => \"{folder}/repositories\", \"GIT_HTTP_EXPORT_ALL\" => \"1\")\n}}\n"
        );
        let file = world.folder.join("lighttpd.conf");
        fs::write(&file, config).unwrap();
        let process = Process(world.command(program).arg("-D").arg("-f").arg(&file).spawn().unwrap());
        wait_until("the web server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(Web { _process: process })
    }
}

#[test]
fn b12_t19_t20_t21_the_three_ways_end_in_jira_over_http_backend_and_who_pushed_is_the_servers_word() {
    let port = crate::ssh::free_port();
    let root = "clone = \"http://127.0.0.1:{port}/git/{repository}.git\"\n".replace("{port}", &port.to_string());
    let world = world("policy = \"bot\"", &root);
    let config = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), format!("{config}host_users = [\"{}\"]\n", me(&world))).unwrap();
    let Some(_web) = Web::start(&world, port) else { return };
    let _daemon = world.daemon();
    // Each says their name and password as a helper of Git does.
    let dress = |shell: &mut Command, person: &str| {
        let helper = format!("!f() {{ echo username={person}; echo password=sesame; }}; f");
        shell
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "credential.helper")
            .env("GIT_CONFIG_VALUE_0", helper);
    };
    let way = Way { world: &world, options: Vec::new(), dress: Box::new(dress), people: ["ann", "bob", "ann"] };
    way.begin();
    assert_eq!(way.pushers(), ["ann", "bob"]);
    let stranger = world.command("git").args(["ls-remote", "--quiet"]).arg(root.split('"').nth(1).unwrap()).output();
    assert!(!stranger.unwrap().status.success(), "without a password nobody comes in");
}

#[test]
fn t19_t20_t21_the_three_ways_end_in_jira_through_one_ssh_account_for_all() {
    let world = world("policy = \"bot\"", "");
    let Some(server) = Server::start(&world) else { return };
    let user = me(&world);
    let address = format!("ssh://{user}@127.0.0.1:{}{}", server.port, world.folder.join("repositories").display());
    let key = fs::read_to_string(world.folder.join("person.pub")).unwrap();
    let config = fs::read_to_string(world.config()).unwrap();
    let person = format!("[[person]]\nname = \"Ann Example\"\nkeys = [\"{}\"]\n", key.trim());
    let config =
        config.replace("[account.smart]", &format!("clone = \"{address}/{{repository}}.git\"\n[account.smart]"));
    fs::write(world.config(), format!("{person}{config}host_users = [\"{user}\"]\n")).unwrap();
    let _daemon = world.daemon();
    let ssh = server.ssh(&world);
    let dress = move |shell: &mut Command, _: &str| {
        shell.env("GIT_SSH_COMMAND", &ssh);
    };
    let way = Way { world: &world, options: Vec::new(), dress: Box::new(dress), people: ["ann"; 3] };
    way.begin();
    assert_eq!(way.pushers(), ["Ann Example", "Ann Example"]);
}

/// Lets a program know people whom this machine does not have: it sees lists of users and groups of its own.
fn among_people(world: &World, program: &str) -> Option<Command> {
    let lists = ["passwd", "group"].map(|list| {
        let mut text = fs::read_to_string(format!("/etc/{list}")).unwrap();
        match list {
            "passwd" => PEOPLE.iter().for_each(|(name, number)| {
                text += &format!("{name}:x:{number}:{number}::{}:/bin/sh\n", world.folder.join("home").display());
            }),
            _ => {
                text += &format!("gja-devs:x:{GROUP}:{},{}\n", PEOPLE[0].0, PEOPLE[1].0);
                PEOPLE.iter().for_each(|(name, number)| text += &format!("{name}:x:{number}:\n"));
            }
        }
        let path = world.folder.join(list);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    });
    let [passwd, group] = &lists;
    let script = format!("mount --bind {passwd} /etc/passwd && mount --bind {group} /etc/group && exec \"$@\"");
    let mut command = world.command("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh", program]);
    let mut trial = world.command("unshare");
    trial.args(["--mount", "sh", "-c", &script, "sh", "id", PEOPLE[0].0]);
    if !is_root() || !trial.output().is_ok_and(|output| output.status.success()) {
        skipped("users of its own cannot be given to a program here");
        return None;
    }
    Some(command)
}

#[test]
fn t19_t20_t21_the_three_ways_end_in_jira_through_an_ssh_account_for_each() {
    let world = world("policy = \"bot\"", "");
    let Some(sshd) = among_people(&world, crate::ssh::SSHD) else { return };
    let system = world.folder.join("system.gitconfig");
    // Of repositories that are not one's own, Git asks that the machine's administrator name them.
    fs::write(&system, "[safe]\ndirectory = *\n").unwrap();
    let environment = format!("SetEnv GIT_CONFIG_SYSTEM={}\n", system.display());
    let Some(server) = Server::start_as(&world, sshd, &environment) else { return };
    let address = format!("ssh://127.0.0.1:{}{}", server.port, world.folder.join("repositories").display());
    let config = fs::read_to_string(world.config()).unwrap();
    let config =
        config.replace("[account.smart]", &format!("clone = \"{address}/{{repository}}.git\"\n[account.smart]"));
    fs::write(world.config(), config).unwrap();
    let mut daemon = among_people(&world, env!("CARGO_BIN_EXE_agent")).unwrap();
    let log: PathBuf = world.folder.join("daemon.log");
    let file = fs::File::create(&log).unwrap();
    daemon.args(["daemon", "run"]).stdout(file.try_clone().unwrap()).stderr(file);
    let _daemon = Daemon { process: Process(daemon.spawn().unwrap()), log };
    wait_until("the daemon is ready", || world.agent(&["daemon", "status"]).output().unwrap().status.success());
    fs::set_permissions(world.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(world.folder.join("repositories"), fs::Permissions::from_mode(0o755)).unwrap();
    let ssh = server.ssh(&world);
    let dress = move |shell: &mut Command, person: &str| {
        shell.env("GIT_SSH_COMMAND", format!("{ssh} -l {person}"));
    };
    let [(ann, _), (bob, _)] = PEOPLE;
    let options = vec!["--group".to_owned(), GROUP.to_string()];
    let way = Way { world: &world, options, dress: Box::new(dress), people: [ann, bob, ann] };
    way.begin();
    assert_eq!(way.pushers(), [ann, bob], "as the kernel says");
}
