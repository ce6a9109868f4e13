//! `agent account remove`: the hooks out, the account out of the configuration, and all of it out of Jira if that is wanted.
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
use crate::queue::{EntityRow, Filter};
use crate::serve::{Changed, Forget};
use crate::text::Untrusted;

#[derive(clap::Args)]
pub struct Arguments {
    /// The account
    name: String,
    /// Take everything about its repositories out of Jira as well, and forget their ids; needs the daemon
    #[arg(long)]
    forget: bool,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
}

pub fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    let name = &arguments.name;
    let account = super::called(&config, name)?;
    // What its patterns keep out may have got hooks before they did, and no other account keeps them.
    let mut git_dirs = host::below(&account.root).repositories;
    git_dirs.retain(|git_dir| config.account_of(git_dir).is_none_or(|found| found.name == *name));
    let hooked = git_dirs.iter().filter(|git_dir| host::has_hooks(git_dir)).count();
    show::line(format_args!("account {name}: {} repositories, {hooked} with hooks", git_dirs.len()));
    let ids: Vec<String> =
        git_dirs.iter().filter_map(|git_dir| git::Repository::open(git_dir).ok()?.id().map(str::to_owned)).collect();
    if arguments.forget {
        let [commits, branches] = told(&ids, &places)?;
        show::line(format_args!(
            "Jira was told of {commits} commits and {branches} branches in them, and is to forget them"
        ));
    }
    let ask = Ask::new();
    if !arguments.yes {
        anyhow::ensure!(ask.terminal, "nothing was changed: --yes says that this is meant");
        if !ask.agrees("take it out?")? {
            show::line("nothing was changed");
            return Ok(ExitCode::FAILURE);
        }
    }
    if account.auto_link {
        edit::change(&places.config, |edit| {
            set(edit.account_called(name)?, "auto_link", false);
            Ok(())
        })?;
        let _ = admin::post::<bool>(&places, "/reload", &());
    }
    if arguments.forget {
        for id in &ids {
            let Changed { .. } = admin::post(&places, "/forget", &Forget { repository: id.clone(), site: None })?;
        }
    }
    let shared: BTreeSet<PathBuf> =
        git_dirs.iter().filter_map(|git_dir| host::shared_hooks(git_dir).ok().flatten()).collect();
    let mut left = 0;
    for git_dir in &git_dirs {
        let because = match host::uninstall(git_dir, arguments.forget) {
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
    for dir in shared.iter().filter(|dir| !serves_another(dir, &config, name)) {
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
        return Ok(ExitCode::FAILURE);
    }
    edit::change(&places.config, |edit| edit.remove_account(name))?;
    let _ = admin::post::<bool>(&places, "/reload", &());
    show::line(format_args!("account {name} is gone, and no hook of ours is left in {} repositories", git_dirs.len()));
    Ok(ExitCode::SUCCESS)
}

/// Whether a shared folder of hooks serves repositories of another account as well.
fn serves_another(dir: &Path, config: &Config, name: &str) -> bool {
    let others = config.account.iter().filter(|account| account.name != *name);
    let mut git_dirs = others.flat_map(|account| config.repositories_of(account).repositories);
    git_dirs.any(|git_dir| {
        host::has_hooks(&git_dir) && host::shared_hooks(&git_dir).is_ok_and(|shared| shared.as_deref() == Some(dir))
    })
}

/// How many commits and branches of these repositories Jira was told of.
fn told(ids: &[String], places: &Places) -> anyhow::Result<[usize; 2]> {
    let mut counts = [0, 0];
    for id in ids {
        let (repository, state) = (Some(id.clone()), Some("settled".to_owned()));
        let filter = Filter { repository, state, limit: Some(u32::MAX), ..Filter::default() };
        let rows: Vec<EntityRow> = admin::get(places, "/queue", &filter)?;
        for (kind, count) in ["commit", "branch"].iter().zip(&mut counts) {
            *count += rows.iter().filter(|row| row.kind == *kind).count();
        }
    }
    Ok(counts)
}
