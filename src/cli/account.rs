//! `agent account`: a folder of repositories linked to a site, with hooks in all of them.
//!
//! What is about to be written is shown first, and asked for. A repository that cannot be covered holds up no other: it is named
//! with the reason, and the exit status says that somebody should look.

mod add;
mod remove;
mod set;
mod settings;
mod show;
mod transfer;

pub use remove::take_out;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::{Context, install};
use crate::clock;
use crate::config::{Config, Places};
use crate::host::{self, Account};
use crate::serve::Status;
use crate::text::Untrusted;

#[derive(clap::Subcommand)]
pub enum Word {
    /// Link a folder of repositories, and put hooks into all of them
    Add(Box<add::Arguments>),
    /// Say what is different in an account from now on: its site, keys, routes, patterns, administrators
    Set(Box<set::Arguments>),
    /// Show all accounts
    List(show::List),
    /// Show the repositories of an account, and how their hooks are reached
    Show(show::Show),
    /// Put hooks into those repositories of an account that have none, and renew old ones
    Cover(Cover),
    /// Print what the configuration says of accounts, for `import`
    Export(transfer::Export),
    /// Link the folders of a file at once, and change the accounts that are there already
    Import(transfer::Import),
    /// Take all hooks of an account out, the account out of the configuration, and all that it told out of Jira
    Remove(remove::Arguments),
}

#[derive(clap::Args)]
pub struct Cover {
    /// The account; default: all that link new repositories by themselves
    name: Option<String>,
    /// Pass over repositories that belong to somebody else
    #[arg(long)]
    mine: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(word: Word, context: &Context) -> anyhow::Result<ExitCode> {
    match word {
        Word::Add(word) => add::run(&word, context),
        Word::Set(word) => set::run(&word, context),
        Word::List(word) => show::list(&word, context),
        Word::Show(word) => show::one(&word, context),
        Word::Cover(word) => cover(&word, context),
        Word::Export(word) => transfer::export(&word, context),
        Word::Import(word) => transfer::import(&word, context),
        Word::Remove(word) => remove::run(&word, context),
    }
}

/// What became of one repository.
#[derive(Serialize)]
struct Done {
    account: String,
    repository: String,
    git_dir: String,
    outcome: Outcome,
    /// Why it was not covered.
    because: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Covered,
    WasCovered,
    /// Git is not done with making it; the next time will see.
    BeingMade,
    Failed,
}

/// How long somebody who asks by hand waits for git to finish making a repository.
const PATIENCE: Duration = Duration::from_secs(2);

fn cover(word: &Cover, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    let accounts: Vec<&Account> = match &word.name {
        Some(name) => vec![called(&config, name)?],
        None => config.account.iter().filter(|account| account.auto_link).collect(),
    };
    install::make_spool(&places)?;
    let mut done = Vec::new();
    for account in accounts {
        let had = hooked(&config, account);
        done.extend(cover_all(&config, account, &places, &had, word.mine)?);
    }
    if word.json {
        super::show::json(&done)?;
    } else {
        say(&done);
    }
    Ok(code(&done))
}

fn called<'a>(config: &'a Config, name: &str) -> anyhow::Result<&'a Account> {
    let found = config.account.iter().find(|account| account.name == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = config.account.iter().map(|account| account.name.as_str()).collect();
        anyhow::anyhow!("there is no account called {name}; there are: {}", names.join(", "))
    })
}

/// The clones that belong to an account by their remotes, as far as a hook has noted them or the daemon has heard of them.
fn known_clones(config: &Config, account: &Account, places: &Places, status: Option<&Status>) -> Vec<PathBuf> {
    if account.remotes.is_empty() {
        return Vec::new();
    }
    let heard = status.into_iter().flat_map(|status| &status.repositories);
    let heard = heard.filter_map(|one| Path::new(&one.path).canonicalize().ok());
    let known: BTreeSet<PathBuf> = heard.chain(host::clones(&places.state)).collect();
    let is_its = |path: &PathBuf| config.account_of(path).is_some_and(|found| found.name == account.name);
    known.into_iter().filter(|path| !account.contains(path) && is_its(path)).collect()
}

/// The repositories of an account that have hooks of ours.
fn hooked(config: &Config, account: &Account) -> BTreeSet<PathBuf> {
    let all = config.repositories_of(account).repositories.into_iter();
    all.filter(|git_dir| host::has_hooks(git_dir)).collect()
}

/// Puts hooks into all repositories of an account; what cannot be done to one is said, and the others go on.
///
/// `had` are those that had some when the word was said: the daemon may be quicker with the others.
fn cover_all(
    config: &Config,
    account: &Account,
    places: &Places,
    had: &BTreeSet<PathBuf>,
    mine: bool,
) -> anyhow::Result<Vec<Done>> {
    let agent = std::env::current_exe()?;
    // A server's own configuration is found without being named, also by hooks in an empty environment.
    let chosen = (!places.shared).then_some(places.config.as_path());
    let mut below = config.repositories_of(account);
    if mine {
        let own = rustix::process::geteuid().as_raw();
        below.repositories.retain(|git_dir| std::fs::metadata(git_dir).is_ok_and(|meta| meta.uid() == own));
        below.closed.clear();
    }
    let done = |git_dir: &Path, outcome, because| Done {
        account: account.name.clone(),
        repository: account.repository_name(git_dir),
        git_dir: git_dir.display().to_string(),
        outcome,
        because,
    };
    let mut all = Vec::new();
    for git_dir in &below.repositories {
        let (outcome, because) = match host::has_hooks(git_dir) || comes_to_rest(git_dir) {
            false => (Outcome::BeingMade, Some("git is still making it".to_owned())),
            true => {
                match host::cover(git_dir, &agent, chosen, account.hidden()).inspect(|_| note_policy(config, git_dir)) {
                    Ok(_) if !had.contains(git_dir) => (Outcome::Covered, None),
                    Ok(_) => (Outcome::WasCovered, None),
                    Err(error) => (Outcome::Failed, Some(host::reason(&error))),
                }
            }
        };
        all.push(done(git_dir, outcome, because));
    }
    all.extend(below.closed.into_iter().map(|(folder, because)| done(&folder, Outcome::Failed, Some(because))));
    Ok(all)
}

/// Has the hooks of a repository wait for a policy where one holds; where that cannot be noted, the first push notes it.
fn note_policy(config: &Config, git_dir: &Path) {
    let _ = host::mark_policy(git_dir, !config.policies(git_dir).is_empty());
}

fn comes_to_rest(git_dir: &Path) -> bool {
    let step = Duration::from_millis(100);
    (0..PATIENCE.as_millis() / step.as_millis()).any(|_| {
        let made = host::is_made(git_dir, clock::now());
        if !made {
            std::thread::sleep(step);
        }
        made
    })
}

fn say(done: &[Done]) {
    let count = |outcome| done.iter().filter(|one| one.outcome == outcome).count();
    super::show::line(format_args!(
        "{} repositories got hooks, {} had them already",
        count(Outcome::Covered),
        count(Outcome::WasCovered)
    ));
    for one in done {
        if let Some(because) = &one.because {
            let (path, because) = (Untrusted::text(&one.git_dir), Untrusted::text(because));
            super::show::line(format_args!("left out {path}: {because}"));
        }
    }
}

/// Something went wrong only where a repository was refused; one that is being made has its turn later.
fn code(done: &[Done]) -> ExitCode {
    if done.iter().any(|one| one.outcome == Outcome::Failed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
