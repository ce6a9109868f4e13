//! `agent demo`: the whole story in a temporary folder.
//!
//! Everything is real except Jira: the same binary plays the sandbox, the daemon and the hooks, and
//! Git is the Git of this machine. What is printed is what happened, with the time it took.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

use super::{admin, sandbox, show};
use crate::people;

#[derive(clap::Args)]
pub struct Arguments {
    /// Check that everything arrived, tidy up and end: 0 when it did
    #[arg(long)]
    once: bool,
    /// Use this folder instead of a temporary one; it must be empty or missing
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// How long Jira is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn run(arguments: Arguments, path: OsString) -> anyhow::Result<ExitCode> {
    let temporary = tempfile::Builder::new().prefix("git-jira-agent-demo-").tempdir()?;
    let folder = match &arguments.folder {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            anyhow::ensure!(std::fs::read_dir(folder)?.next().is_none(), "{} is not empty", folder.display());
            std::fs::canonicalize(folder)?
        }
        None => std::fs::canonicalize(temporary.path())?,
    };
    let story = Story::begin(folder, path)?;
    let address = story.tell()?;
    let arrived = story.wait_for_jira(&address)?;
    show::line("");
    if arguments.once {
        story.say(if arrived { "Jira shows everything. Tidying up." } else { "Jira does not show everything." });
        return Ok(if arrived { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    show::line(format_args!("Look at it:      http://{address}/browse/DEMO-1"));
    show::line(format_args!(
        "The clone:       {}   (commit and push there, and see)",
        story.folder.join("clone").display()
    ));
    show::line(format_args!("How things are:  agent --config {} status", story.config().display()));
    show::line("Ctrl-C ends it and takes everything away.");
    wait_for_end()?;
    Ok(if arrived { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The folder, and the two processes that live in it.
struct Story {
    folder: PathBuf,
    agent: PathBuf,
    began: Instant,
    processes: Vec<Process>,
    address: String,
    /// Where programs are found.
    path: OsString,
}

/// A process that ends with the story.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

impl Story {
    fn begin(folder: PathBuf, path: OsString) -> anyhow::Result<Story> {
        let agent = std::env::current_exe()?;
        let mut story =
            Story { folder, agent, began: Instant::now(), processes: Vec::new(), address: String::new(), path };
        std::fs::create_dir_all(story.folder.join("home"))?;
        story.start_jira()?;
        story.link()?;
        story.start_daemon()?;
        Ok(story)
    }

    fn start_jira(&mut self) -> anyhow::Result<()> {
        let mut command = self.agent();
        command.args(["sandbox", "--listen", "127.0.0.1:0", "--issue", "DEMO-1=Push a branch and see it here"]);
        command.args(["--issue", "DEMO-2=Merge it", "--issue", "DEMO-3=Find look-alikes"]);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line)?;
        self.processes.push(Process(child));
        let address = line.trim().rsplit("http://").next().filter(|address| address.contains(':'));
        self.address = address.context("the sandbox did not say its address")?.to_owned();
        self.say(format!(
            "a Jira to try with runs at http://{}, with the issues DEMO-1, DEMO-2 and DEMO-3",
            self.address
        ));
        Ok(())
    }

    fn link(&self) -> anyhow::Result<()> {
        std::fs::create_dir_all(self.folder.join("repositories"))?;
        std::fs::write(
            self.config(),
            "# The demo keeps everything in its own folder.\n[daemon]\nstate = \"state\"\nsocket = \"agent.sock\"\n",
        )?;
        let secret = self.folder.join("secret");
        std::fs::write(&secret, sandbox::SECRET)?;
        let site = format!("http://{}", self.address);
        self.quietly(
            self.agent()
                .args([
                    "link",
                    &site,
                    "--name",
                    "demo",
                    "--client-id",
                    "sandbox-client",
                    "--projects",
                    "DEMO",
                    "--secret-file",
                ])
                .arg(&secret)
                .args(["--api-url", &site, "--auth-url", &format!("{site}/oauth/token"), "--account", "demo", "--root"])
                .arg(self.folder.join("repositories")),
        )?;
        self.say("linked it: the credential was tried before it was saved (agent link)");
        self.allow_orders()
    }

    /// Says whose commits carry which address, so that Jira may carry out what they order.
    fn allow_orders(&self) -> anyhow::Result<()> {
        let mut config: toml_edit::DocumentMut = std::fs::read_to_string(self.config())?.parse()?;
        config["account"][0]["smart"]["policy"] = toml_edit::value("bot");
        let user = people::user(rustix::process::geteuid().as_raw());
        let person = format!("\n[[person]]\nname = \"Demo\"\nemails = [\"demo@example.org\"]\nunix = [\"{user}\"]\n");
        std::fs::write(self.config(), config.to_string() + &person)?;
        self.say(format!("said that {user} is demo@example.org, and may give orders in their own commits"));
        Ok(())
    }

    fn start_daemon(&mut self) -> anyhow::Result<()> {
        let log = std::fs::File::create(self.folder.join("daemon.log"))?;
        let child = self.agent().args(["daemon", "run"]).stdout(log.try_clone()?).stderr(log).spawn()?;
        self.processes.push(Process(child));
        let began = Instant::now();
        while !self.agent().args(["daemon", "status"]).output()?.status.success() {
            anyhow::ensure!(
                began.elapsed() < PATIENCE,
                "the daemon did not start; see {}",
                self.folder.join("daemon.log").display()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        self.say("the daemon runs (agent daemon run)");
        Ok(())
    }

    /// Repository, clone, commits, pushes; gives the address of the sandbox.
    fn tell(&self) -> anyhow::Result<String> {
        let bare = self.folder.join("repositories/tool.git");
        self.git(&self.folder, &["init", "-q", "--bare", "-b", "main", &bare.display().to_string()])?;
        self.quietly(self.agent().arg("install").arg(&bare))?;
        self.say("made a bare repository and put the hooks in (agent install)");
        self.git(&self.folder, &["clone", "-q", &bare.display().to_string(), "clone"])?;
        let clone = self.folder.join("clone");
        self.commit(
            &clone,
            "README.md",
            "A tool\n",
            "DEMO-1 Begin the tool\n\nEncoded as UTF-8, hashed with SHA-256.",
        )?;
        self.push(&clone, &["push", "origin", "HEAD:main"])?;
        self.git(&clone, &["switch", "-q", "-c", "feature/DEMO-2-greeting"])?;
        self.commit(
            &clone,
            "greet.sh",
            "echo hello\n",
            "DEMO-2 Greet\n\nDEMO-2 #comment a first version #time 1h 30m",
        )?;
        self.commit(&clone, "greet.sh", "echo hello, world\n", "demo-2: greet everybody")?;
        self.push(&clone, &["push", "-u", "origin", "feature/DEMO-2-greeting"])?;
        self.git(&clone, &["switch", "-q", "main"])?;
        self.git(
            &clone,
            &["merge", "-q", "--no-ff", "-m", "Merge the greeting, DEMO-2 DEMO-3", "feature/DEMO-2-greeting"],
        )?;
        self.push(&clone, &["push", "origin", "main"])?;
        Ok(self.address.clone())
    }

    /// Waits until the sandbox shows four commits and the branch, and has done what one of them orders; says when.
    fn wait_for_jira(&self, address: &str) -> anyhow::Result<bool> {
        let began = Instant::now();
        loop {
            let (commits, branches) = shown(&ask_sandbox(address, "/sandbox/state")?);
            let issue = ask_sandbox(address, "/sandbox/issues/DEMO-2")?;
            let done = ["comments", "worklogs"].map(|part| issue[part].as_array().map_or(0, Vec::len));
            if (commits, branches, done) == (4, 1, [1, 1]) {
                let took = began.elapsed().as_millis();
                self.say(format!("Jira shows {commits} commits and {branches} branch, {took} ms after the last push"));
                self.say("Jira carried out what DEMO-2 was told: a comment and an hour and a half of work");
                return Ok(true);
            }
            if began.elapsed() > PATIENCE {
                let [comments, worklogs] = done;
                self.say(format!(
                    "Jira shows {commits} commits and {branches} branches, and on DEMO-2 {comments} comments and {worklogs} \
                     entries of work; 4 and 1, and 1 and 1 were expected"
                ));
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn commit(&self, clone: &Path, file: &str, text: &str, message: &str) -> anyhow::Result<()> {
        std::fs::write(clone.join(file), text)?;
        self.git(clone, &["add", file])?;
        self.git(clone, &["commit", "-q", "-m", message])?;
        self.say(format!("committed “{}”", message.lines().next().unwrap_or_default()));
        Ok(())
    }

    /// Pushes, and shows what the person who pushes sees.
    fn push(&self, clone: &Path, arguments: &[&str]) -> anyhow::Result<()> {
        let began = Instant::now();
        let output = self.command("git").current_dir(clone).args(arguments).output()?;
        anyhow::ensure!(output.status.success(), "git push failed: {}", String::from_utf8_lossy(&output.stderr));
        self.say(format!("git {}   ({} ms)", arguments.join(" "), began.elapsed().as_millis()));
        let text = String::from_utf8_lossy(&output.stderr);
        text.lines()
            .filter(|line| line.starts_with("remote:"))
            .for_each(|line| show::line(format_args!("          {}", line.trim_end())));
        Ok(())
    }

    fn git(&self, folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
        self.quietly(self.command("git").current_dir(folder).args(arguments))
    }

    fn quietly(&self, command: &mut Command) -> anyhow::Result<()> {
        let output = command.output().with_context(|| format!("{command:?}"))?;
        anyhow::ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn agent(&self) -> Command {
        let mut command = self.command(self.agent.clone());
        command.arg("--config").arg(self.config());
        command
    }

    /// A command that sees nothing of the person's own Git.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.folder.join("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1");
        for (name, value) in
            [("GIT_AUTHOR_NAME", "Demo"), ("GIT_AUTHOR_EMAIL", "demo@example.org"), ("GIT_COMMITTER_NAME", "Demo")]
        {
            command.env(name, value);
        }
        command.env("GIT_COMMITTER_EMAIL", "demo@example.org").stdin(Stdio::null());
        command
    }

    fn config(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    fn say(&self, text: impl std::fmt::Display) {
        show::line(format_args!("{:>6} ms {text}", self.began.elapsed().as_millis()));
    }
}

fn ask_sandbox(address: &str, path: &str) -> anyhow::Result<Value> {
    let mut stream = TcpStream::connect(address)?;
    let (_, body) = admin::exchange(&mut stream, "GET", path, b"")?;
    Ok(serde_json::from_slice(&body)?)
}

fn shown(state: &Value) -> (usize, usize) {
    let repositories = state["repositories"].as_object().into_iter().flat_map(|map| map.values());
    let count = |repository: &Value, kind: &str| repository[kind].as_object().map_or(0, serde_json::Map::len);
    repositories
        .fold((0, 0), |(commits, branches), one| (commits + count(one, "commits"), branches + count(one, "branches")))
}

fn wait_for_end() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result?,
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}
