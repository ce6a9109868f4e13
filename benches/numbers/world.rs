//! A folder, a sandbox Jira and a daemon that live as long as one measurement.
//!
//! The folder lies in cargo's target directory, so that syncing a file reaches a disk even where `/tmp` is memory.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use git_jira_agent::git::Oid;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tempfile::TempDir;

pub const AGENT: &str = env!("CARGO_BIN_EXE_agent");

/// The hook everything is compared with: it reads what git says and does nothing.
pub const IDLE: &str = "#!/bin/sh\nwhile read -r old new ref; do :; done\n";

/// Where generated histories stay for the next run.
pub const CACHE: &str = env!("CARGO_TARGET_TMPDIR");

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct World {
    pub folder: PathBuf,
    pub socket: PathBuf,
    address: String,
    _sandbox: Process,
    _folders: [TempDir; 2],
}

/// A process that ends with its owner.
pub struct Process(pub Child);

/// Looks at the anonymous memory of a process until it is asked for the peak.
pub struct Peak {
    end: Arc<AtomicBool>,
    watching: JoinHandle<u64>,
}

impl World {
    /// A world whose Jira has these issues; their projects are those that the site is known to have.
    pub fn new(projects: &[&str], issues: u32) -> anyhow::Result<World> {
        let folders = [TempDir::with_prefix_in("bench-", CACHE)?, TempDir::with_prefix("agent-bench-")?];
        let [folder, runtime] = [&folders[0], &folders[1]].map(|folder| folder.path().to_owned());
        for name in ["home", "repositories"] {
            fs::create_dir(folder.join(name))?;
        }
        let (sandbox, address) = sandbox(&folder, projects, issues)?;
        let socket = runtime.join("agent.sock");
        let world = World { folder, socket, address, _sandbox: sandbox, _folders: folders };
        world.configure(projects)?;
        Ok(world)
    }

    /// As [`World::new`], where the agent carries out the orders of whoever pushes.
    pub fn with_orders(projects: &[&str], issues: u32) -> anyhow::Result<World> {
        let world = World::new(projects, issues)?;
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(world.folder.join("token"));
        file?.write_all(b"agent-token")?;
        let path = world.folder.join("config.toml");
        let user = rustix::process::geteuid().as_raw();
        let text = fs::read_to_string(&path)?.replace(
            "\n[[account]]",
            "executor = \"agent\"\n[site.account]\nemail = \"agent@example.org\"\nsecret_file = \"token\"\n\n[[account]]",
        );
        let people = format!("[[person]]\nname = \"Ann\"\nemails = [\"ann@example.org\"]\nunix = [\"{user}\"]\n");
        fs::write(path, format!("{text}[account.smart]\npolicy = \"bot\"\n\n{people}"))?;
        Ok(world)
    }

    fn configure(&self, projects: &[&str]) -> anyhow::Result<()> {
        let secret = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.folder.join("secret"));
        secret?.write_all(b"sandbox-secret")?;
        let (address, socket) = (&self.address, &self.socket);
        let text = format!(
            "[daemon]\nstate = \"state\"\nspool = \"spool\"\nsocket = {socket:?}\non_demand = false\n\n\
             [[site]]\nname = \"jira\"\nurl = \"http://{address}\"\napi_url = \"http://{address}\"\n\
             auth_url = \"http://{address}/oauth/token\"\nclient_id = \"sandbox-client\"\nsecret_file = \"secret\"\n\
             projects = {projects:?}\n\n[[account]]\nname = \"main\"\nroot = \"repositories\"\nhistory = \"none\"\n"
        );
        Ok(fs::write(self.folder.join("config.toml"), text)?)
    }

    /// A program in a cleared environment.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.folder.join("home")).env("LC_ALL", "C.UTF-8").env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_JIRA_AGENT_CONFIG", self.folder.join("config.toml"));
        command.current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    pub fn git(&self, repository: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        output(self.command("git").arg("-C").arg(repository).args(arguments))
    }

    pub fn agent(&self, arguments: &[&str]) -> anyhow::Result<String> {
        output(self.command(AGENT).args(arguments))
    }

    /// A bare repository in the account, without hooks, that git leaves alone while it is measured.
    pub fn repository(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join("repositories").join(format!("{name}.git"));
        output(self.command("git").args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(&path))?;
        self.git(&path, &["config", "receive.autogc", "false"])?;
        Ok(path)
    }

    /// A repository with the objects of another and a main branch that is to be put there, which is given.
    ///
    /// The packs are the same files: what is borrowed instead is read in another way than what is one's own.
    pub fn twin(&self, name: &str, of: &Path) -> anyhow::Result<(PathBuf, String)> {
        let path = self.repository(name)?;
        for entry in fs::read_dir(of.join("objects/pack"))? {
            let entry = entry?;
            fs::hard_link(entry.path(), path.join("objects/pack").join(entry.file_name()))?;
        }
        Ok((path, self.git(of, &["rev-parse", "main"])?))
    }

    pub fn install(&self, repository: &Path) -> anyhow::Result<()> {
        output(self.command(AGENT).arg("install").arg(repository)).map(drop)
    }

    /// Feeds a stream to `git fast-import`.
    pub fn import(&self, repository: &Path, stream: &[u8]) -> anyhow::Result<()> {
        let mut git = self.command("git");
        git.arg("-C").arg(repository).args(["fast-import", "--quiet", "--force"]).stdin(Stdio::piped());
        let mut importer = git.spawn()?;
        importer.stdin.take().context("the importer was started with a pipe")?.write_all(stream)?;
        ensure!(importer.wait()?.success(), "git fast-import failed");
        Ok(())
    }

    /// A daemon that takes events.
    pub fn daemon(&self) -> anyhow::Result<Process> {
        let daemon = self.spawn_daemon()?;
        wait_until("the daemon is ready", || Ok(self.agent(&["daemon", "status"]).is_ok()))?;
        Ok(daemon)
    }

    /// A daemon that was only started.
    pub fn spawn_daemon(&self) -> anyhow::Result<Process> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("daemon.log"))?;
        let mut command = self.command(AGENT);
        command.args(["daemon", "run"]).stdout(log.try_clone()?).stderr(log);
        Ok(Process(command.spawn()?))
    }

    /// The queue's file, beside the daemon that writes it.
    pub fn queue(&self) -> anyhow::Result<Connection> {
        let path = self.folder.join("state/queue.db");
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(PATIENCE)?;
        Ok(connection)
    }

    /// One number out of the queue.
    pub fn count(&self, sql: &str) -> anyhow::Result<u64> {
        let number: i64 = self.queue()?.query_row(sql, [], |row| row.get(0))?;
        Ok(number.unsigned_abs())
    }

    /// Waits until every event is digested and every entity told.
    pub fn wait_until_told(&self, patience: Duration) -> anyhow::Result<()> {
        let open = "SELECT (SELECT count(*) FROM event WHERE state = 'queued')
                         + (SELECT count(*) FROM entity WHERE state = 'ready')";
        wait_for(patience, "everything is told", || Ok(self.count(open)? == 0))
    }

    /// Changes settings of the sandbox.
    pub fn tune(&self, settings: &str) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "POST /sandbox/settings HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{settings}",
            settings.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 2"), "the sandbox said {answer}");
        Ok(())
    }

    /// The sizes, in commits, of the requests with data that the sandbox answered.
    pub fn requests(&self) -> anyhow::Result<Vec<u64>> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET /sandbox/state HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n").context("the sandbox gave no answer")?;
        let state: Value = serde_json::from_slice(&answer[head + 4..])?;
        let all = state["requests"].as_array().context("the sandbox remembers no requests")?.iter();
        let bulk = all.filter(|request| request["path"].as_str().is_some_and(|path| path.ends_with("/bulk")));
        Ok(bulk.map(|request| request["commits"].as_u64().unwrap_or(0)).collect())
    }
}

impl Process {
    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.0.wait()?;
        Ok(())
    }

    /// Anonymous resident memory in KiB.
    pub fn memory(&self) -> anyhow::Result<u64> {
        memory(self.0.id()).context("the process has no memory any more")
    }

    pub fn peak(&self) -> Peak {
        let (pid, end) = (self.0.id(), Arc::new(AtomicBool::new(false)));
        let ending = Arc::clone(&end);
        let watching = std::thread::spawn(move || {
            let mut peak = 0;
            while !ending.load(Ordering::Relaxed) {
                peak = peak.max(memory(pid).unwrap_or(0));
                std::thread::sleep(Duration::from_millis(20));
            }
            peak
        });
        Peak { end, watching }
    }
}

impl Peak {
    /// The most it had, in MiB.
    pub fn mib(self) -> f64 {
        self.end.store(true, Ordering::Relaxed);
        self.watching.join().unwrap_or(0) as f64 / 1024.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for a condition, looking often.
pub fn wait_until(what: &str, done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    wait_for(PATIENCE, what, done)
}

/// As [`wait_until`], for as long as is said.
pub fn wait_for(patience: Duration, what: &str, mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !done()? {
        if began.elapsed() > patience {
            bail!("waited {} s in vain until {what}", patience.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Runs a command and gives what it says.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// Puts an executable hook into a repository.
pub fn hook(repository: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = repository.join("hooks").join(name);
    fs::create_dir_all(repository.join("hooks"))?;
    fs::write(&path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// Commits for `git fast-import`: the parent of each is the one before it, or the first one.
pub fn commits(number: usize, branch: impl Fn(usize) -> String, parent: impl Fn(usize) -> usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for mark in 1..=number {
        let message = format!("ABC-{} change number {mark}\n\nWhat was wrong is right now.\n", mark % 9 + 1);
        let from = if mark > 1 { format!("from :{}\n", parent(mark)) } else { String::new() };
        let content = format!("{mark}\n");
        let text = format!(
            "commit {}\nmark :{mark}\nauthor Ann <ann@example.org> {mark} +0000\ncommitter Ann <ann@example.org> {mark} +0000\n\
             data {}\n{message}{from}M 100644 inline file-{}\ndata {}\n{content}\n",
            branch(mark),
            message.len(),
            mark % 7,
            content.len()
        );
        stream.extend_from_slice(text.as_bytes());
    }
    stream
}

/// The line git gives to a hook.
pub fn update(old: Option<&str>, new: &str, name: &str) -> String {
    format!("{} {new} {name}\n", old.unwrap_or(&"0".repeat(40)))
}

/// An id that nothing has.
pub fn made_up_id(number: u64) -> Oid {
    let mut bytes = [0x5a; 20];
    // Multiplied by an odd number, so that ids are spread as real ones are.
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[8..16].copy_from_slice(&number.to_be_bytes());
    Oid::from_bytes(&bytes).expect("twenty bytes are an id")
}

fn sandbox(folder: &Path, projects: &[&str], issues: u32) -> anyhow::Result<(Process, String)> {
    let mut command = Command::new(AGENT);
    command.args(["sandbox", "--listen", "127.0.0.1:0"]).current_dir(folder).stdout(Stdio::piped());
    for project in projects {
        command.args((1..=issues).map(|number| format!("--issue={project}-{number}")));
    }
    let mut process = Process(command.spawn()?);
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().context("the sandbox was started with a pipe")?).read_line(&mut line)?;
    let address = line.trim().rsplit("http://").next().unwrap_or_default().to_owned();
    Ok((process, address))
}

fn memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
