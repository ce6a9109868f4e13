//! `agent account list` and `agent account show`: what is linked, and how each hook is reached.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::super::{Context, admin, show};
use crate::clock;
use crate::config::{Config, Places};
use crate::host::{self, Account, Hindrance, Owner};
use crate::serve::Status;
use crate::text::Untrusted;

#[derive(clap::Args)]
pub struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct Show {
    /// The account
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An account and what is in it.
#[derive(Serialize)]
struct Shown {
    account: String,
    root: PathBuf,
    site: Option<String>,
    auto_link: bool,
    repositories: Vec<Repository>,
    /// Folders that cannot be looked into, and why.
    closed: Vec<(PathBuf, String)>,
}

#[derive(Serialize)]
struct Repository {
    name: String,
    git_dir: PathBuf,
    /// Which program serves it; `None` where that cannot be found out.
    kind: Option<host::Kind>,
    /// How Git comes to our hooks: `link`, `file`, `drop-in`, `shared-drop-in` or `none`.
    reached: &'static str,
    /// Why it does not.
    because: Option<String>,
    /// When it was last heard of; `None` also while the daemon does not answer.
    last_event_at: Option<i64>,
    trouble: Option<String>,
}

pub fn list(word: &List, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    let status = status(&places);
    let accounts: Vec<Shown> = config.account.iter().map(|account| look(&config, account, status.as_ref())).collect();
    if word.json {
        show::json(&accounts)?;
        return Ok(ExitCode::SUCCESS);
    }
    if accounts.is_empty() {
        show::line("there are no accounts yet: `agent account add --root FOLDER` makes one");
    }
    accounts.iter().for_each(head);
    Ok(ExitCode::SUCCESS)
}

pub fn one(word: &Show, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    let status = status(&places);
    let shown = look(&config, super::called(&config, &word.name)?, status.as_ref());
    if word.json {
        show::json(&shown)?;
        return Ok(ExitCode::SUCCESS);
    }
    let paint = show::Paint::new(context.environment.no_color);
    head(&shown);
    for one in &shown.repositories {
        let name = Untrusted::text(&one.name);
        let heard = match one.last_event_at {
            Some(at) => format!("last heard of {}", clock::show(at)),
            None if status.is_none() => "the daemon does not answer".to_owned(),
            None => "not heard of yet".to_owned(),
        };
        match &one.because {
            None => show::line(format_args!("  {name}: {}, {heard}", one.reached)),
            Some(because) => {
                show::line(paint.warn(format_args!("  {name}: no hooks: {}; {heard}", Untrusted::text(because))));
            }
        }
        if let Some(trouble) = &one.trouble {
            show::line(paint.warn(format_args!("    {}", Untrusted::text(trouble))));
        }
    }
    for (folder, because) in &shown.closed {
        let folder = folder.display().to_string();
        show::line(paint.warn(format_args!("  {}: {}", Untrusted::text(&folder), Untrusted::text(because))));
    }
    Ok(ExitCode::SUCCESS)
}

fn status(places: &Places) -> Option<Status> {
    admin::get(places, "/status", &()).ok()
}

fn head(shown: &Shown) {
    let reached = shown.repositories.iter().filter(|one| one.because.is_none()).count();
    let site = shown.site.as_deref().unwrap_or("no site");
    let new = if shown.auto_link { "new ones are linked" } else { "new ones are not linked" };
    show::line(format_args!(
        "account {} ({}) -> {site}: {} repositories, {reached} with hooks; {new}",
        shown.account,
        shown.root.display(),
        shown.repositories.len()
    ));
}

fn look(config: &Config, account: &Account, status: Option<&Status>) -> Shown {
    let below = config.repositories_of(account);
    let repository = |git_dir: PathBuf| {
        let heard = status.and_then(|status| {
            status.repositories.iter().find(|one| Path::new(&one.path).canonicalize().is_ok_and(|path| path == git_dir))
        });
        let (reached, because) = reached(&git_dir);
        Repository {
            name: account.repository_name(&git_dir),
            reached,
            because,
            last_event_at: heard.map(|one| one.last_event_at).filter(|at| *at > 0),
            kind: host::kind(&git_dir).ok(),
            trouble: heard.and_then(|one| one.trouble.clone()),
            git_dir,
        }
    };
    Shown {
        account: account.name.clone(),
        root: account.root.clone(),
        site: config.site_of(account).map(|site| site.name.clone()),
        auto_link: account.auto_link,
        repositories: below.repositories.into_iter().map(repository).collect(),
        closed: below.closed,
    }
}

/// How Git comes to our hooks in a repository, or why it does not.
fn reached(git_dir: &Path) -> (&'static str, Option<String>) {
    let hooks = match host::inspect(git_dir) {
        Ok(hooks) => hooks,
        Err(error) => return ("none", Some(host::reason(&error))),
    };
    let not = |hook: &host::HookState| {
        let name = hook.name;
        match (&hook.owner, hook.hindrances.first()) {
            (_, Some(Hindrance::NotExecutable)) => Some(format!("{name} is not executable")),
            (_, Some(Hindrance::HooksPathElsewhere(dir))) => {
                Some(format!("core.hooksPath makes Git look in {}", dir.display()))
            }
            (_, Some(Hindrance::AgentMissing(agent))) => {
                Some(format!("{name} calls {}, which cannot be run", agent.display()))
            }
            (Owner::Ours { .. }, None) => None,
            (Owner::Changed, None) => Some(format!("{name} was edited")),
            (Owner::Foreign, None) => Some(format!("{name} is somebody else's")),
            (Owner::Absent, None) => Some(format!("{name} is not there")),
        }
    };
    if let Some(because) = hooks.iter().find_map(not) {
        return ("none", Some(because));
    }
    let is = |what: fn(&Path) -> bool| hooks.iter().any(|hook| what(&hook.path));
    let own = hooks.iter().all(|hook| hook.path.starts_with(git_dir));
    let how = match () {
        () if is(|path| path.ends_with(host::DROP_IN)) && own => "drop-in",
        () if is(|path| path.ends_with(host::DROP_IN)) => "shared-drop-in",
        () if !own => "shared-file",
        () if is(Path::is_symlink) => "link",
        () => "file",
    };
    (how, None)
}
