//! A world of its own for each test: a folder, a configuration, a sandbox Jira, a daemon, repositories.
//!
//! ```text
//! let world = World::new();                // folder, sandbox, configuration linked to it
//! let daemon = world.daemon();             // a running daemon, stopped when dropped
//! let repository = world.repository("tool");        // bare, hooks installed
//! let clone = world.clone_of(&repository, "work");
//! clone.commit("ABC-1 begin");
//! let said = clone.push(&["origin", "HEAD:main"]);  // what the pusher sees
//! world.wait_for_commits(&["ABC-1"], 1);
//! ```

#![allow(dead_code, reason = "not every test needs every part")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long anything is waited for before a test fails; nothing sleeps this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct World {
    pub folder: PathBuf,
    pub sandbox: Sandbox,
    /// A folder that is looked through before all others for programs.
    pub first: Option<PathBuf>,
    _temporary: tempfile::TempDir,
}

/// The sandbox Jira as a process.
pub struct Sandbox {
    pub address: String,
    process: Process,
}

/// A process that ends with its test.
pub struct Process(pub Child);

/// A daemon that is stopped with its test.
pub struct Daemon {
    pub process: Process,
    pub log: PathBuf,
}

/// A folder with a repository in it, bare or not.
pub struct Repository<'w> {
    pub world: &'w World,
    pub path: PathBuf,
}

impl World {
    /// A world linked to a sandbox that has the issues ABC-1 to ABC-9, and only knows project ABC.
    pub fn new() -> World {
        World::with("projects = [\"ABC\"]\n", "")
    }

    /// As [`World::new`], with lines for the `[[site]]` table and for the top of the file.
    pub fn with(site: &str, top: &str) -> World {
        let temporary = tempfile::Builder::new().prefix("agent-it-").tempdir().unwrap();
        let folder = std::fs::canonicalize(temporary.path()).unwrap();
        for name in ["home", "repositories", "clones"] {
            std::fs::create_dir(folder.join(name)).unwrap();
        }
        let sandbox = Sandbox::start(&folder);
        let world = World { folder, sandbox, first: None, _temporary: temporary };
        world.write_secret("sandbox-secret");
        world.configure(site, top);
        world
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    /// The queue's folder.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub fn spool(&self) -> PathBuf {
        self.folder.join("spool")
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("agent.sock")
    }

    /// Writes the configuration anew.
    pub fn configure(&self, site: &str, top: &str) {
        let url = self.sandbox.url();
        let text = format!(
            "{top}\n[daemon]\nstate = \"state\"\nspool = \"spool\"\nsocket = \"agent.sock\"\non_demand = false\n\n[[site]]\nname = \"jira\"\nurl = \"{url}\"\n\
             api_url = \"{url}\"\nauth_url = \"{url}/oauth/token\"\nclient_id = \"sandbox-client\"\nsecret_file = \"secret\"\n{site}\n\
             [[account]]\nname = \"main\"\nroot = \"repositories\"\nsite = \"jira\"\nhistory = \"none\"\n"
        );
        let temporary = self.folder.join("config.toml.new");
        std::fs::write(&temporary, text).unwrap();
        std::fs::rename(temporary, self.config()).unwrap();
    }

    pub fn write_secret(&self, secret: &str) {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(self.folder.join("secret")).unwrap();
        file.write_all(secret.as_bytes()).unwrap();
    }

    /// The agent in this world's environment.
    pub fn agent(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_agent"));
        command.args(arguments);
        command
    }

    /// Runs a word of the agent and gives its output; panics when it fails.
    #[track_caller]
    pub fn agent_says(&self, arguments: &[&str]) -> String {
        success(&mut self.agent(arguments))
    }

    /// A command that sees nothing of the machine's own Git configuration.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", self.path()).env("HOME", self.folder.join("home")).env("LC_ALL", "C.UTF-8");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_JIRA_AGENT_CONFIG", self.config());
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ann Author").env(format!("GIT_{who}_EMAIL"), "ann@example.org");
        }
        command.current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    /// Where programs are looked for.
    pub fn path(&self) -> std::ffi::OsString {
        let others = path();
        let folders = self.first.iter().cloned().chain(std::env::split_paths(&others));
        std::env::join_paths(folders).unwrap()
    }

    /// Has this git be the one that everybody runs.
    pub fn use_git(&mut self, git: &Path) {
        let folder = self.folder.join("first");
        std::fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(git, folder.join("git")).unwrap();
        self.first = Some(folder);
    }

    /// A daemon that takes events.
    #[track_caller]
    pub fn daemon(&self) -> Daemon {
        self.daemon_with(&[])
    }

    /// A daemon with more in its environment.
    #[track_caller]
    pub fn daemon_with(&self, environment: &[(&str, &str)]) -> Daemon {
        let daemon = self.spawn_daemon(environment);
        wait_until("the daemon is ready", || self.agent(&["daemon", "status"]).output().unwrap().status.success());
        daemon
    }

    /// A daemon that was only started.
    pub fn spawn_daemon(&self, environment: &[(&str, &str)]) -> Daemon {
        let log = self.folder.join("daemon.log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = self.agent(&["daemon", "run"]);
        command.envs(environment.iter().copied()).stdout(file.try_clone().unwrap()).stderr(file);
        Daemon { process: Process(command.spawn().unwrap()), log }
    }

    /// A bare repository in the account, with the hooks installed.
    #[track_caller]
    pub fn repository(&self, name: &str) -> Repository<'_> {
        let repository = self.plain_repository(name, &[]);
        self.agent_says(&["install", repository.path.to_str().unwrap()]);
        repository
    }

    /// A bare repository in the account, without hooks.
    #[track_caller]
    pub fn plain_repository(&self, name: &str, options: &[&str]) -> Repository<'_> {
        let path = self.folder.join("repositories").join(format!("{name}.git"));
        let mut git = self.command("git");
        git.args(["init", "--quiet", "--bare", "--initial-branch=main"]).args(options).arg(&path);
        success(&mut git);
        Repository { world: self, path }
    }

    #[track_caller]
    pub fn clone_of(&self, repository: &Repository<'_>, name: &str) -> Repository<'_> {
        let path = self.folder.join("clones").join(name);
        success(self.command("git").args(["clone", "--quiet"]).arg(&repository.path).arg(&path));
        Repository { world: self, path }
    }

    /// `agent status --json`.
    pub fn status(&self) -> Value {
        let output = self.agent(&["status", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// `agent queue list --json` with further arguments.
    #[track_caller]
    pub fn queue(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.agent_says(&[&["queue", "list", "--json"], arguments].concat());
        serde_json::from_str(&text).unwrap()
    }

    /// `agent effects` with these arguments and `--json`.
    #[track_caller]
    pub fn effects(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.agent_says(&[&["effects"], arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until the sandbox shows exactly `commits` commits and `branches` branches.
    #[track_caller]
    pub fn wait_for_jira(&self, commits: usize, branches: usize) {
        let mut seen = (0, 0);
        wait_until_or(
            "Jira shows everything",
            || {
                let state = self.sandbox.state();
                seen = (shown(&state, "commits").len(), shown(&state, "branches").len());
                state["pending"] == 0 && seen == (commits, branches)
            },
            || {
                format!(
                    "{:?} instead of {:?}; {}",
                    self.sandbox.state()["repositories"],
                    (commits, branches),
                    self.log()
                )
            },
        );
    }

    /// Waits until nothing is left to be read, sent or picked up.
    #[track_caller]
    pub fn wait_until_idle(&self) {
        wait_until_or(
            "nothing is owed",
            || {
                let status = self.status();
                let sites = status["queue"]["sites"].as_array().unwrap();
                status["queue"]["events_queued"] == 0
                    && status["running"]["spool"]["incoming"] == 0
                    && sites.iter().all(|site| site["ready"] == 0)
            },
            || format!("{}\n{}", self.status(), self.log()),
        );
    }

    /// `agent queue events --json`.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        serde_json::from_str(&self.agent_says(&["queue", "events", "--json"])).unwrap()
    }

    /// The ids of all commits or branches (`commit`, `branch`) that Jira is owed or was told, in order.
    #[track_caller]
    pub fn owed(&self, kind: &str) -> Vec<String> {
        let rows = self.queue(&["--limit", "100000"]);
        let of_kind = rows.iter().filter(|row| row["kind"] == kind);
        let mut ids: Vec<String> = of_kind.map(|row| row["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }

    /// Waits until exactly these commits and branches are owed or told.
    #[track_caller]
    pub fn wait_for_owed(&self, kind: &str, ids: &[&str]) {
        let mut ids: Vec<&str> = ids.to_vec();
        ids.sort_unstable();
        let mut owed = Vec::new();
        wait_until_or(
            "everything is owed",
            || {
                owed = self.owed(kind);
                owed == ids
            },
            || format!("{:?} instead of {ids:?}\n{}", self.owed(kind), self.log()),
        );
    }

    /// Stops a daemon and starts it again, which makes it compare all refs.
    #[track_caller]
    pub fn restarted(&self, mut daemon: Daemon) -> Daemon {
        daemon.stop();
        self.daemon()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("daemon.log")).unwrap_or_default()
    }
}

impl Sandbox {
    pub fn start(folder: &Path) -> Sandbox {
        Sandbox::start_at(folder, "127.0.0.1:0")
    }

    /// One at an address where another was before.
    pub fn start_at(folder: &Path, address: &str) -> Sandbox {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
        command.args(["sandbox", "--listen", address]).env_clear().env("PATH", path()).current_dir(folder);
        for number in 1..=9 {
            command.arg("--issue").arg(format!("ABC-{number}=An issue"));
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit("http://").next().unwrap().to_owned();
        Sandbox { address, process: Process(child) }
    }

    /// Ends it, so that nobody answers at its address.
    pub fn stop(&mut self) {
        let _ = self.process.0.kill();
        let _ = self.process.0.wait();
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn state(&self) -> Value {
        self.call("GET", "/sandbox/state", &Value::Null)
    }

    /// Adds fault rules, such as `json!([{"on": "bulk", "times": 1, "act": "apply_then_drop"}])`.
    pub fn misbehave(&self, rules: Value) {
        self.call("POST", "/sandbox/faults", &rules);
    }

    pub fn behave(&self) {
        self.call("DELETE", "/sandbox/faults", &Value::Null);
    }

    pub fn settings(&self, settings: Value) {
        self.call("POST", "/sandbox/settings", &settings);
    }

    /// An issue as people see it, with all that was done to it.
    pub fn issue(&self, key: &str) -> Value {
        self.call("GET", &format!("/sandbox/issues/{key}"), &Value::Null)
    }

    /// Makes somebody with an account, or changes what is named of one.
    pub fn person(&self, person: Value) {
        self.call("POST", "/sandbox/people", &person);
    }

    pub fn create_issue(&self, key: &str) {
        self.call("POST", "/sandbox/issues", &json!({"key": key, "summary": "An issue", "status": "To Do"}));
    }

    /// Changes what is named of an issue, or makes it.
    pub fn edit_issue(&self, edit: Value) {
        self.call("POST", "/sandbox/issues", &edit);
    }

    /// Files an issue under another key.
    pub fn move_issue(&self, key: &str, to: &str) {
        self.call("POST", &format!("/sandbox/issues/{key}/move"), &json!({"to": to}));
    }

    /// Gives a project another key.
    pub fn rename_project(&self, key: &str, to: &str) {
        self.call("POST", &format!("/sandbox/projects/{key}/rename"), &json!({"to": to}));
    }

    /// Loses commits and branches, as if they had never come.
    pub fn lose(&self, ids: &[&str]) {
        self.call("POST", "/sandbox/lose", &json!(ids));
    }

    /// Lets what was dropped without a time take place.
    pub fn release(&self) {
        self.call("POST", "/sandbox/release", &Value::Null);
    }

    /// Requests that reached it whose path contains `part`.
    pub fn requests(&self, part: &str) -> Vec<Value> {
        let state = self.state();
        let all = state["requests"].as_array().unwrap().iter();
        all.filter(|request| request["path"].as_str().unwrap().contains(part)).cloned().collect()
    }

    /// A page as a browser gets it.
    #[track_caller]
    pub fn page(&self, target: &str) -> String {
        self.ask("GET", target, &Value::Null)
    }

    #[track_caller]
    fn call(&self, method: &str, target: &str, body: &Value) -> Value {
        serde_json::from_str(&self.ask(method, target, body)).unwrap_or(Value::Null)
    }

    #[track_caller]
    fn ask(&self, method: &str, target: &str, body: &Value) -> String {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 2"), "{method} {target}: {answer}");
        body.to_owned()
    }
}

/// The entities of a kind (`commits`, `branches`) that the sandbox holds, over all repositories.
pub fn shown(state: &Value, kind: &str) -> Vec<Value> {
    let repositories = state["repositories"].as_object().into_iter().flat_map(|map| map.values());
    repositories.flat_map(|one| one[kind].as_object().into_iter().flat_map(|map| map.values().cloned())).collect()
}

impl Repository<'_> {
    /// Git in this repository.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut git = self.world.command("git");
        git.current_dir(&self.path).args(arguments);
        git
    }

    /// Runs git and gives its standard output; panics when it fails.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        success(&mut self.command(arguments)).trim_end().to_owned()
    }

    /// Commits a change with this message and gives the commit's id.
    #[track_caller]
    pub fn commit(&self, message: &str) -> String {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        std::fs::write(self.path.join(format!("file-{}", number % 7)), format!("{number}\n{message}\n")).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--cleanup=verbatim", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Commits under another address; nothing says that its owner did.
    pub fn commit_by(&self, email: &str, message: &str) -> String {
        self.git(&["commit", "--quiet", "--allow-empty", "--author", &format!("Somebody <{email}>"), "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Pushes and gives what the person who pushes sees; panics when the push fails.
    #[track_caller]
    pub fn push(&self, arguments: &[&str]) -> String {
        let output = self.try_push(arguments);
        assert!(output.status.success(), "git push {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub fn try_push(&self, arguments: &[&str]) -> Output {
        self.command(&[&["push"], arguments].concat()).output().unwrap()
    }
}

impl Process {
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap()
    }

    /// Waits for its end and gives the exit status.
    #[track_caller]
    pub fn wait(&mut self) -> Option<i32> {
        let mut code = None;
        wait_until("the process ends", || {
            code = self.0.try_wait().unwrap();
            code.is_some()
        });
        code.unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    /// Asks it to stop and gives its exit status.
    #[track_caller]
    pub fn stop(&mut self) -> Option<i32> {
        self.process.signal(rustix::process::Signal::TERM);
        self.process.wait()
    }
}

#[track_caller]
pub fn success(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{}{error}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
pub fn wait_until(what: &str, done: impl FnMut() -> bool) {
    wait_until_or(what, done, String::new);
}

#[track_caller]
pub fn wait_until_or(what: &str, mut done: impl FnMut() -> bool, otherwise: impl FnOnce() -> String) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}: {}", otherwise());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The gits of this machine, one of each version.
pub fn gits() -> Vec<PathBuf> {
    let mut versions = std::collections::BTreeMap::new();
    for git in std::env::split_paths(&path()).map(|folder| folder.join("git")).filter(|git| git.is_file()) {
        let version = Command::new(&git).arg("--version").output();
        if let Some(version) = version.ok().filter(|version| version.status.success()) {
            versions.entry(version.stdout).or_insert(git);
        }
    }
    versions.into_values().collect()
}

fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}
