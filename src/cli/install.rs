//! `agent install` and `agent uninstall`: hooks into a repository, and out again.

mod remote;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::link::edit::{self, set_among};
use super::{Context, admin, show};
use crate::config::{Config, Places};
use crate::git::Repository;
use crate::host::{self, Account, HookChange, Identity, Installed, Outcome, Place};
use crate::intake;
use crate::serve::{Changed, Forget};
use crate::team;

#[derive(clap::Args)]
pub struct Install {
    /// A bare repository, or a clone; default: the one we are in
    path: Option<PathBuf>,
    /// The account it belongs to; default: the one whose root is above it, else a new one for it alone
    #[arg(long)]
    account: Option<String>,
    /// The server that this clone pushes to tells Jira of each push itself: the clone keeps to messages and policies
    #[arg(long)]
    served: bool,
    /// Put in only this hook, such as commit-msg; may be given several times. Default: all of ours
    #[arg(long = "hook", value_name = "NAME")]
    hooks: Vec<String>,
    /// Instead of one repository: all your clones of this server, today's and tomorrow's, such as git.example.org or
    /// ssh://git.example.org/team/**; may be given several times. Alone: all `remotes` of the accounts. Needs Git 2.54
    #[arg(long, value_name = "SERVER", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["path", "hooks"])]
    remote: Vec<String>,
    /// With --remote: for everybody on this machine, by the machine's configuration of Git
    #[arg(long, requires = "remote")]
    system: bool,
}

#[derive(clap::Args)]
pub struct Uninstall {
    /// A bare repository, or a clone; default: the one we are in
    path: Option<PathBuf>,
    /// Take everything about it out of Jira as well, and forget its id; needs the daemon
    #[arg(long)]
    forget: bool,
    /// Instead of one repository: take away what install --remote put in for this server; alone: for all
    #[arg(long, value_name = "SERVER", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["path", "forget"])]
    remote: Vec<String>,
    /// With --remote: what was put in for everybody on this machine
    #[arg(long, requires = "remote")]
    system: bool,
}

pub fn install(word: Install, context: &Context) -> anyhow::Result<ExitCode> {
    if !word.remote.is_empty() {
        return remote::install(&word, context);
    }
    let git_dir = host::find_git_dir(&word.path.map_or_else(std::env::current_dir, Ok)?)?;
    let (config, places) = context.config()?;
    make_spool(&places)?;
    let config = let_in(config, &places, &git_dir)?;
    let config = into_account(config, &places, &git_dir, word.account.as_deref())?;
    let config = if word.served { serve(config, &places, &git_dir)? } else { config };
    let chosen = context.chosen.as_ref().map(|_| places.config.as_path());
    let hidden = config.account_of(&git_dir).and_then(Account::hidden);
    let (installed, id) = host::cover_only(&git_dir, &std::env::current_exe()?, chosen, hidden, &word.hooks)?;
    host::mark_policy(&installed.git_dir, !config.policies(&installed.git_dir).is_empty())?;
    let account = config.account_of(&git_dir);
    if account.is_some_and(|account| !account.contains(&git_dir)) {
        host::note_clone(&places.state, &git_dir);
    }
    let repository = Repository::open(&git_dir)?;
    team::set_commit_hooks(&config, &repository)?;
    let served = host::is_served(&repository, account);
    say(&installed, &id, &config, served);
    Ok(ExitCode::SUCCESS)
}

pub fn uninstall(word: Uninstall, context: &Context) -> anyhow::Result<ExitCode> {
    if !word.remote.is_empty() {
        return remote::uninstall(&word, context);
    }
    let git_dir = host::find_git_dir(&word.path.map_or_else(std::env::current_dir, Ok)?)?;
    if word.forget {
        forget(&git_dir, context)?;
    }
    keep_out(&git_dir, context)?;
    let uninstalled = host::uninstall(&git_dir, word.forget)?;
    if uninstalled.hooks.is_empty() {
        show::line(format_args!("{} has no hooks of ours", git_dir.display()));
    }
    let mut whole = true;
    for (path, outcome) in &uninstalled.hooks {
        match outcome {
            Outcome::Removed => show::line(format_args!("removed {}", path.display())),
            Outcome::Restored => show::line(format_args!("{} is the hook it was before", path.display())),
            Outcome::Left { because } => {
                whole = false;
                show::line(format_args!("left {}: {because}", path.display()));
            }
        }
    }
    match uninstalled.identity {
        Identity::Kept => {}
        Identity::Forgotten { as_before: true } => show::line("its id is forgotten, its config is as it was"),
        Identity::Forgotten { as_before: false } => show::line("its id is forgotten"),
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The drop-box, so that a push before the daemon's first start finds it; packages bring the one of a system.
pub fn make_spool(places: &Places) -> std::io::Result<()> {
    if places.shared {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&places.state)?;
    intake::spool::prepare(&places.spool, places.shared)
}

/// Asks the daemon to make Jira forget the repository.
fn forget(git_dir: &Path, context: &Context) -> anyhow::Result<()> {
    let repository = Repository::open(git_dir)?;
    let Some(id) = repository.id() else { return Ok(()) };
    let chosen = host::config_of(&repository).filter(|_| context.chosen.is_none());
    let path = chosen.unwrap_or_else(|| context.config_path());
    let places = Places::new(&path, &Config::load(&path)?, &context.environment);
    let Changed { changed } = admin::post(&places, "/forget", &Forget { repository: id.to_owned(), site: None })?;
    show::line(format_args!("{changed} sites were told of it and are to forget it"));
    Ok(())
}

/// Keeps the daemon from putting the hooks in again, where its account would have it do that, and a file that serves other
/// repositories as well from linking this one.
fn keep_out(git_dir: &Path, context: &Context) -> anyhow::Result<()> {
    let Ok((config, places)) = context.config() else { return Ok(()) };
    let shared = host::Look::at(git_dir).shared_hooks()?.is_some();
    // Hooks out of Git's configuration stay, and so does what a host has for all.
    let returns = |account: &&Account| account.auto_link || shared || !account.contains(git_dir);
    let Some(account) = config.account_of(git_dir).filter(returns) else { return Ok(()) };
    let name = account.repository_name(git_dir);
    edit::change(&places.config, |edit| set_among(edit.account_called(&account.name)?, "exclude", &name, true))?;
    show::line(format_args!("account {} leaves out {name} from now on; `agent install` links it again", account.name));
    let _ = admin::post::<bool>(&places, "/reload", &());
    Ok(())
}

/// Lets in again what [`keep_out`] kept out by its very name.
fn let_in(config: Config, places: &Places, git_dir: &Path) -> anyhow::Result<Config> {
    if config.keeps_out(git_dir).is_none() {
        return Ok(config);
    }
    let nearest = config.around(git_dir).expect("it keeps the repository out");
    let name = nearest.repository_name(git_dir);
    let changed = edit::change(&places.config, |edit| {
        set_among(edit.account_called(&nearest.name)?, "exclude", &name, false)?;
        let config = Config::parse(&edit.text(), &places.config)?;
        match config.keeps_out(git_dir) {
            Some(because) => anyhow::bail!(because),
            None => Ok(()),
        }
    })?;
    let _ = admin::post::<bool>(places, "/reload", &());
    Ok(changed)
}

/// Makes sure that the repository lies in an account: its events are taken only then.
fn into_account(config: Config, places: &Places, git_dir: &Path, wanted: Option<&str>) -> anyhow::Result<Config> {
    match (config.account_of(git_dir), wanted) {
        (Some(found), None) => {
            show::line(format_args!("it belongs to account {} ({})", found.name, found.place()));
            return Ok(config);
        }
        (Some(found), Some(name)) if found.name == name => return Ok(config),
        (Some(found), Some(name)) => {
            anyhow::bail!("it lies in account {} ({}), not in {name}", found.name, found.place())
        }
        (None, Some(name)) if config.account.iter().any(|account| account.name == name) => {
            anyhow::bail!("it does not lie below the root of account {name}")
        }
        (None, _) => {}
    }
    let name = wanted.map_or_else(|| own_name(git_dir, &config), str::to_owned);
    let root = if git_dir.ends_with(".git") && git_dir.file_name().is_some_and(|name| name == ".git") {
        git_dir.parent().unwrap_or(git_dir)
    } else {
        git_dir
    };
    let config = super::link::add_account(&places.config, &name, root, None)?;
    show::line(format_args!("made account {name} for it in {}", places.config.display()));
    // A daemon that runs notices it by itself, but the first push may be quicker.
    let _ = admin::post::<bool>(places, "/reload", &());
    Ok(config)
}

/// Notes that a server tells Jira of the clone's pushes, where the clone has an account for itself.
fn serve(config: Config, places: &Places, git_dir: &Path) -> anyhow::Result<Config> {
    anyhow::ensure!(
        Repository::open(git_dir)?.is_clone(),
        "--served is for a clone: what is pushed to {}, it tells itself",
        git_dir.display()
    );
    let account = config.account_of(git_dir).filter(|account| !account.served);
    let Some(account) = account else { return Ok(config) };
    let alone = git_dir == account.root || git_dir.parent() == Some(&account.root) && git_dir.ends_with(".git");
    anyhow::ensure!(
        alone,
        "account {0} has other repositories as well: `agent account set {0} --served on` says it for all of them, \
         `git config agent.served true` for one",
        account.name
    );
    let changed = edit::change(&places.config, |edit| {
        edit::set(edit.account_called(&account.name)?, "served", true);
        Ok(())
    })?;
    let _ = admin::post::<bool>(places, "/reload", &());
    Ok(changed)
}

/// A name for an account of one repository, after the repository.
fn own_name(git_dir: &Path, config: &Config) -> String {
    let named = if git_dir.file_name().is_some_and(|name| name == ".git") {
        git_dir.parent().unwrap_or(git_dir)
    } else {
        git_dir
    };
    let stem = named.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let taken = |name: &str| config.account.iter().any(|account| account.name == name);
    let numbered = (2..).map(|n| format!("{stem}-{n}"));
    std::iter::once(stem.clone()).chain(numbered).find(|name| !taken(name)).expect("numbers do not end")
}

fn say(installed: &Installed, id: &str, config: &Config, served: bool) {
    for hook in &installed.hooks {
        let state = match hook.state {
            HookChange::Put => "installed",
            HookChange::AlreadyThere => "was there already",
            HookChange::Renewed => "renewed",
        };
        let chained = if hook.chained { ", the hook that was there runs after it" } else { "" };
        show::line(format_args!("{} {state}{chained}", hook.name));
    }
    show::line(format_args!("they are in {}; the repository has the id {id}", installed.hooks_dir.display()));
    match installed.place {
        Place::Server => show::line("from now on a push to it says what it links"),
        Place::Clone if served => {
            show::line("from now on a commit says what is wrong with its keys; the server tells Jira of pushes");
        }
        Place::Clone => {
            show::line("from now on a commit says what is wrong with its keys, and a push says what it links");
        }
    }
    if config.site.is_empty() {
        show::line("no Jira is linked yet: `agent link` does that, and the events wait until then");
    }
}
