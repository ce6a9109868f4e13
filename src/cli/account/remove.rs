//! `agent account remove`: the hooks out, the account out of the configuration, and all of it out of Jira unless that is
//! to keep it.
//!
//! The daemon is told first that it is to put no hooks in any more. The account goes last, and only when no hook of ours
//! is left: until then the same words take up where they stopped.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::link::ask::Ask;
use super::super::link::edit::{self, set};
use super::super::{Context, admin, show};
use crate::config::{Config, Places};
use crate::git;
use crate::host::{self, Outcome};
use crate::queue::ToldTo;
use crate::serve::unlink::Of;
use crate::serve::{Changed, Forget, Status};
use crate::text::Untrusted;

#[derive(clap::Args)]
pub struct Arguments {
    /// The account
    name: String,
    /// Leave in Jira what it was told of the repositories; otherwise the daemon has to run
    #[arg(long)]
    keep_in_jira: bool,
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
}

pub fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    let name = &arguments.name;
    let git_dirs = below(&config, name, &places)?;
    let hooked = git_dirs.iter().filter(|git_dir| host::has_hooks(git_dir)).count();
    show::line(format_args!("account {name}: {} repositories, {hooked} with hooks", git_dirs.len()));
    let ids = ids_of(&git_dirs);
    if arguments.keep_in_jira {
        show::line("Jira keeps what it knows of them");
    } else {
        // Asked before anything is done: when the daemon is down, nothing is.
        let ToldTo { commits, branches, waiting, orders, .. } = told(&ids, &places)?;
        show::line(format_args!(
            "Jira was told of {commits} commits and {branches} branches in them, and is to forget them"
        ));
        if waiting > 0 {
            show::line(format_args!("{waiting} more wait, and are not told"));
        }
        if orders > 0 {
            show::line(format_args!(
                "{orders} commands are open, and are carried out all the same: see `agent effects`"
            ));
        }
    }
    if arguments.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let ask = Ask::new();
    if !arguments.yes {
        anyhow::ensure!(ask.terminal, "nothing was changed: --yes says that this is meant");
        if !ask.agrees("take it out?")? {
            show::line("nothing was changed");
            return Ok(ExitCode::FAILURE);
        }
    }
    rest(name, &config, &places)?;
    if !arguments.keep_in_jira {
        for id in &ids {
            let Changed { .. } = admin::post(&places, "/forget", &Forget { repository: id.clone(), site: None })?;
        }
    }
    let done = take_out_of(&git_dirs, name, !arguments.keep_in_jira, &config, &places)?;
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes the hooks of an account out, with the ids of its repositories where those are to be forgotten, and the account out
/// of the configuration; false where hooks are left, and the account stays.
pub fn take_out(name: &str, forget: bool, config: &Config, places: &Places) -> anyhow::Result<bool> {
    take_out_of(&below(config, name, places)?, name, forget, config, places)
}

fn take_out_of(
    git_dirs: &[PathBuf],
    name: &str,
    forget: bool,
    config: &Config,
    places: &Places,
) -> anyhow::Result<bool> {
    rest(name, config, places)?;
    // Before the clones, or the next commit would take one up again.
    let remotes = &super::called(config, name)?.remotes;
    if !remotes.is_empty()
        && let Some(everywhere) = host::Everywhere::beside(&places.config)?
    {
        everywhere.take_out(remotes)?;
    }
    let shared: BTreeSet<PathBuf> =
        git_dirs.iter().filter_map(|git_dir| host::Look::at(git_dir).shared_hooks().ok().flatten()).collect();
    let mut left = 0;
    for git_dir in git_dirs {
        let because = match host::uninstall(git_dir, forget) {
            Err(error) => Some(host::reason(&error)),
            Ok(done) => done.hooks.into_iter().find_map(|(path, outcome)| match outcome {
                Outcome::Left { because } => Some(format!("{}: {because}", path.display())),
                _ => None,
            }),
        };
        if let Some(because) = because {
            left += 1;
            let git_dir = git_dir.display().to_string();
            show::line(format_args!("left {}: {}", Untrusted::text(&git_dir), Untrusted::text(&because)));
        }
    }
    for dir in shared.iter().filter(|dir| !serves_another(dir, config, name)) {
        for (path, outcome) in host::uninstall_shared(dir)? {
            if let Outcome::Left { because } = outcome {
                left += 1;
                show::line(format_args!("left {}: {because}", path.display()));
            }
        }
    }
    if left > 0 {
        show::line(format_args!(
            "hooks are left in {left} repositories, so account {name} stays; mend them and say it again"
        ));
        return Ok(false);
    }
    edit::change(&places.config, |edit| edit.remove_account(name))?;
    let _ = admin::post::<bool>(places, "/reload", &());
    show::line(format_args!("account {name} is gone, and no hook of ours is left in {} repositories", git_dirs.len()));
    Ok(true)
}

/// Has the daemon put in no more hooks.
fn rest(name: &str, config: &Config, places: &Places) -> anyhow::Result<()> {
    if super::called(config, name)?.auto_link {
        edit::change(&places.config, |edit| {
            set(edit.account_called(name)?, "auto_link", false);
            Ok(())
        })?;
        let _ = admin::post::<bool>(places, "/reload", &());
    }
    Ok(())
}

/// The repositories below an account's root, and the clones that are known by their remotes: what its patterns keep out may
/// have got hooks before they did, and no other account keeps them.
fn below(config: &Config, name: &str, places: &Places) -> anyhow::Result<Vec<PathBuf>> {
    let account = super::called(config, name)?;
    let mut git_dirs = host::below(&account.root).repositories;
    git_dirs.retain(|git_dir| config.account_of(git_dir).is_none_or(|found| found.name == *name));
    let status: Option<Status> = admin::get(places, "/status", &()).ok();
    git_dirs.extend(super::known_clones(config, account, places, status.as_ref()));
    Ok(git_dirs)
}

fn ids_of(git_dirs: &[PathBuf]) -> Vec<String> {
    git_dirs.iter().filter_map(|git_dir| git::Repository::open(git_dir).ok()?.id().map(str::to_owned)).collect()
}

/// Whether a shared folder of hooks serves repositories of another account as well.
fn serves_another(dir: &Path, config: &Config, name: &str) -> bool {
    let others = config.account.iter().filter(|account| account.name != *name);
    let mut git_dirs = others.flat_map(|account| config.repositories_of(account).repositories);
    git_dirs.any(|git_dir| {
        host::has_hooks(&git_dir)
            && host::Look::at(&git_dir).shared_hooks().is_ok_and(|shared| shared.as_deref() == Some(dir))
    })
}

/// What Jira was told of these repositories.
fn told(ids: &[String], places: &Places) -> anyhow::Result<ToldTo> {
    let mut all = ToldTo::default();
    // An address is no place for thousands of ids.
    for some in ids.chunks(100) {
        let of = Of { site: None, repositories: Some(some.join(",")) };
        let ToldTo { repositories, commits, branches, waiting, orders } = admin::get(places, "/told", &of)?;
        all.repositories += repositories;
        all.commits += commits;
        all.branches += branches;
        all.waiting += waiting;
        all.orders += orders;
    }
    Ok(all)
}
