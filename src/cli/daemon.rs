//! `agent daemon`: run, start, stop, reload, status.

use std::fs::OpenOptions;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Context, Exit, admin, show};
use crate::config::{Config, Places};
use crate::{daemon, log, queue};

#[derive(clap::Subcommand)]
pub enum Word {
    /// Run in the foreground: what a supervisor starts
    Run,
    /// Start in the background, where there is no systemd
    Start,
    /// Stop the daemon and wait until it has ended
    Stop,
    /// Read the configuration again; says what is wrong with it
    Reload,
    /// Say whether the daemon runs and takes events
    Status,
}

/// How long starting and stopping are waited for.
const PATIENCE: Duration = Duration::from_secs(15);

pub fn run(word: Word, context: Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    match word {
        Word::Run => foreground(config, places, context),
        Word::Start => start(config, places, context),
        Word::Stop => stop(&places),
        Word::Reload => {
            admin::post::<bool>(&places, "/reload", &())?;
            show::line("the daemon took the configuration");
            Ok(ExitCode::SUCCESS)
        }
        Word::Status => {
            admin::get::<bool>(&places, "/ready", &())?;
            show::line("the daemon runs and takes events");
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn foreground(config: Config, places: Places, context: Context) -> anyhow::Result<ExitCode> {
    let filter = config.daemon.log.clone().unwrap_or_else(|| "info".to_owned());
    log::start(config.daemon.log_format, &filter, context.environment.journal).map_err(anyhow::Error::msg)?;
    let end = daemon::run(config, places, context.environment);
    let code = daemon::exit_code(&end);
    match end {
        Ok(daemon::End::Stopped) => Ok(ExitCode::SUCCESS),
        Ok(daemon::End::Broken(because)) => Err(Exit { code, because }.into()),
        Err(error) => Err(Exit { code, because: format!("{error:#}") }.into()),
    }
}

/// Forks before there is a runtime or a thread, then runs like in the foreground with a log file.
fn start(config: Config, places: Places, context: Context) -> anyhow::Result<ExitCode> {
    if let Some(pid) = queue::holder(&places.state) {
        return Err(Exit { code: 75, because: format!("the daemon runs already, as process {pid}") }.into());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&places.state)?;
    let path = places.state.join("daemon.log");
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
    let daemon = daemonize::Daemonize::new().working_directory("/").umask(0o077).stdout(log.try_clone()?).stderr(log);
    match daemon.execute() {
        daemonize::Outcome::Parent(parent) => {
            parent?;
            wait_until_ready(&places, &path.display().to_string())
        }
        daemonize::Outcome::Child(child) => {
            child?;
            foreground(config, places, context)
        }
    }
}

fn wait_until_ready(places: &Places, log: &str) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if admin::get::<bool>(places, "/ready", &()).is_ok() {
            let pid = queue::holder(&places.state).unwrap_or_default();
            show::line(format_args!("the daemon runs as process {pid} and logs to {log}"));
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(Exit { code: 69, because: format!("the daemon did not get ready; {log} says why") }.into())
}

fn stop(places: &Places) -> anyhow::Result<ExitCode> {
    let pid = queue::holder(&places.state).and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let Some(pid) = pid else {
        show::line("no daemon runs");
        return Ok(ExitCode::SUCCESS);
    };
    kill_process(pid, Signal::TERM)?;
    let began = Instant::now();
    while queue::holder(&places.state).is_some() {
        if began.elapsed() > PATIENCE {
            return Err(Exit { code: 1, because: format!("process {} has not ended yet", pid.as_raw_nonzero()) }.into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    show::line("the daemon has ended; what it was owed stays in the queue");
    Ok(ExitCode::SUCCESS)
}
