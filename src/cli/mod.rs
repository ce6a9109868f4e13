//! The words a person may say, one file a word.
//!
//! Exit status: 0 done · 1 it failed, the reason is on standard error · 2 the words are off ·
//! 65 the queue is damaged or newer than this agent · 69 the daemon does not answer · 74 the disk
//! cannot be written · 75 another daemon runs · 78 the configuration is not in order.

mod account;
mod admin;
mod ask;
mod branch;
mod change;
mod check;
mod daemon;
mod demo;
mod doctor;
mod effects;
mod forget;
mod group;
mod here;
mod hidden;
mod hook;
mod hooks;
mod install;
mod issue;
mod judge;
mod link;
mod log_time;
mod login;
mod parse;
mod queue;
mod relink;
mod repo;
mod sandbox;
mod scan;
mod show;
mod status;
mod sync;
mod trust;
mod verify;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use clap_complete::env::{CompleteEnv, Shells};

use crate::config::{self, Config, Environment, Places};

/// Shows Git work in Jira: a hook, a local daemon, and an answer in every push.
#[derive(Parser)]
#[command(
    name = "agent",
    display_name = "git-jira-agent",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
struct Arguments {
    /// The configuration file; default /etc/git-jira-agent/config.toml, else ~/.config/git-jira-agent/config.toml, else
    /// /etc/xdg/git-jira-agent/config.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    word: Word,
}

#[derive(Subcommand)]
enum Word {
    /// Tell the whole story in a temporary folder, with a Jira of its own
    Demo(demo::Arguments),
    /// Link a Jira site: which Jira, which credential, which account; all are tried before they are saved
    Link(Box<link::Arguments>),
    /// Link your own Jira account, in whose name your commands are carried out
    Login(login::Login),
    /// Unlink your own Jira account
    Logout(login::Logout),
    /// Put hooks into all repositories of a folder, today's and tomorrow's, and look after them
    #[command(subcommand)]
    Account(Box<account::Word>),
    /// Say who belongs to the groups that rules name
    #[command(subcommand)]
    Group(group::Word),
    /// Put hooks into a repository
    Install(install::Install),
    /// List which hook fires when, by which Git, how it is reached, and what else runs there
    Hooks(hooks::Arguments),
    /// Create, import, list, rename, move and remove repositories of the accounts
    #[command(subcommand)]
    Repo(repo::Word),
    /// Take away the hooks that install put, and nothing else
    Uninstall(install::Uninstall),
    /// Lay Jira beside Git, and tell it the difference with --repair
    Verify(verify::Arguments),
    /// Take a repository that is gone from the disk out of Jira
    Forget(forget::Arguments),
    /// Put right what a commit or a branch is linked to, without rewriting history
    Relink(relink::Arguments),
    /// Show on one screen how everything does, and what to do about it
    Status(status::Arguments),
    /// Show the way of a commit, an issue or a branch from Git to Jira
    Why(why::Arguments),
    /// Show what an issue is: its summary, status and assignee
    Issue(issue::Arguments),
    /// Open the page of an issue
    Open(issue::Open),
    /// Make a branch for an issue, or pick one from your open issues
    Branch(branch::Arguments),
    /// Show the branches whose issues are done, and delete them with --delete
    Tidy(branch::Tidy),
    /// Log work on an issue
    LogTime(log_time::Arguments),
    /// Lay a message or commits beside the policy of the repository, before others do
    Check(check::Arguments),
    /// Accept what the team suggests in .agent.toml, for this clone
    Trust(trust::Arguments),
    /// Show what a message would do, without doing it
    Parse(parse::Arguments),
    /// Look at what Jira is owed, and try it again or give it up
    #[command(subcommand)]
    Queue(queue::Word),
    /// Look at the ledger of commands, and say what is to become of one
    #[command(subcommand)]
    Effects(effects::Word),
    /// Tell Jira the history of repositories, and see how far that is
    #[command(subcommand)]
    Sync(sync::Word),
    /// Find what moved unseen in repositories that are yours and that the daemon may not read, and tell of it
    Scan(scan::Arguments),
    /// Find what would stop an event on this machine or a command in Jira, and say the cure
    Doctor(doctor::Arguments),
    /// Run, start, stop and reload the daemon
    #[command(subcommand)]
    Daemon(daemon::Word),
    /// Run a Jira to try with
    Sandbox(sandbox::Arguments),
    /// Print what makes a shell complete the words, and the keys of issues
    Completions { shell: Shell },
    /// Print the manual page
    Man,
}

/// What every word gets.
struct Context {
    chosen: Option<PathBuf>,
    environment: Environment,
}

/// An error with an exit status of its own.
#[derive(Debug)]
struct Exit {
    code: u8,
    because: String,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.because)
    }
}

impl std::error::Error for Exit {}

impl Context {
    fn config_path(&self) -> PathBuf {
        Places::config_path(self.chosen.as_deref(), &self.environment)
    }

    fn config(&self) -> anyhow::Result<(Config, Places)> {
        let path = self.config_path();
        let config = Config::load(&path)?;
        let places = Places::new(&path, &config, &self.environment);
        Ok((config, places))
    }
}

/// Runs the word on the command line.
pub fn main() -> ExitCode {
    // A push is not kept waiting until all the words for people are put together.
    if let Some(arguments) = hook::Arguments::of(std::env::args_os()) {
        return hook::run(arguments, Environment::read());
    }
    match CompleteEnv::with_factory(Arguments::command).try_complete(std::env::args_os(), None) {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(_) => return ExitCode::FAILURE,
    }
    let arguments = Arguments::parse();
    let context = Context { chosen: arguments.config, environment: Environment::read() };
    let result = match arguments.word {
        Word::Daemon(word) => daemon::run(word, context),
        Word::Demo(word) => demo::run(word, context.environment.path.unwrap_or_default()),
        Word::Link(word) => link::run(*word, &context),
        Word::Login(word) => login::login(word, &context),
        Word::Logout(word) => login::logout(word, &context),
        Word::Account(word) => account::run(*word, &context),
        Word::Group(word) => group::run(word, &context),
        Word::Install(word) => install::install(word, &context),
        Word::Hooks(word) => hooks::run(&word, &context),
        Word::Repo(word) => repo::run(word, &context),
        Word::Uninstall(word) => install::uninstall(word, &context),
        Word::Verify(word) => verify::run(word, &context),
        Word::Forget(word) => forget::run(&word, &context),
        Word::Relink(word) => relink::run(&word, &context),
        Word::Status(word) => status::run(word, &context),
        Word::Why(word) => why::run(&word, &context),
        Word::Issue(word) => issue::run(&word, &context),
        Word::Open(word) => issue::open(&word, &context),
        Word::Branch(word) => branch::run(&word, &context),
        Word::Tidy(word) => branch::tidy(&word, &context),
        Word::LogTime(word) => log_time::run(&word, &context),
        Word::Check(word) => check::run(&word, &context),
        Word::Trust(word) => trust::run(&word),
        Word::Parse(word) => parse::run(&word, &context),
        Word::Queue(word) => queue::run(word, &context),
        Word::Effects(word) => effects::run(word, &context),
        Word::Sync(word) => sync::run(word, &context),
        Word::Scan(word) => scan::run(&word, &context),
        Word::Doctor(word) => doctor::run(&word, &context),
        Word::Sandbox(word) => sandbox::run(word),
        Word::Completions { shell } => completions(shell),
        Word::Man => man(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            show::error(&error);
            ExitCode::from(code_of(&error))
        }
    }
}

fn code_of(error: &anyhow::Error) -> u8 {
    if let Some(exit) = error.downcast_ref::<Exit>() {
        return exit.code;
    }
    if error.is::<config::Error>() { 78 } else { 1 }
}

/// The script by which a shell asks us what could come next.
fn completions(shell: Shell) -> anyhow::Result<ExitCode> {
    let shells = Shells::builtins();
    let completer = shells.completer(&shell.to_string()).ok_or_else(|| anyhow::anyhow!("{shell} is not known"))?;
    let mut script = Vec::new();
    completer.write_registration("COMPLETE", "agent", "agent", "agent", &mut script)?;
    show::bytes(&script);
    Ok(ExitCode::SUCCESS)
}

fn man() -> anyhow::Result<ExitCode> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Arguments::command().display_name("agent")).render(&mut page)?;
    show::bytes(&page);
    Ok(ExitCode::SUCCESS)
}
