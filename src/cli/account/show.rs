//! `agent account list` and `agent account show`: what is linked, and how each hook is reached.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::super::{Context, admin, group, show};
use crate::clock;
use crate::config::{Config, Places};
use crate::host::{self, Account, Hindrance, Owner};
use crate::people;
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
    /// The folder of its repositories, where it has one.
    root: Option<PathBuf>,
    /// The servers whose clones belong to it.
    remotes: Vec<String>,
    #[serde(skip)]
    place: String,
    site: Option<String>,
    auto_link: bool,
    /// The projects that are linked; empty where all of the site are.
    keys: Vec<String>,
    /// Where repositories with these names go instead; the first that fits counts.
    routes: Vec<(Vec<String>, String)>,
    include: Vec<String>,
    exclude: Vec<String>,
    /// Branches that are never sent.
    exclude_branches: Vec<String>,
    administrators: Vec<people::Shown>,
    /// The groups that rules of the account name.
    groups: BTreeMap<String, Vec<people::Shown>>,
    repositories: Vec<Repository>,
    /// Folders that cannot be looked into, and why.
    closed: Vec<(PathBuf, String)>,
}

#[derive(Serialize)]
struct Repository {
    name: String,
    git_dir: PathBuf,
    /// The site that it goes to.
    site: Option<String>,
    /// Which program serves it; `None` where that cannot be found out.
    kind: Option<host::Kind>,
    /// How Git comes to our hooks: `link`, `file`, `drop-in`, `shared-drop-in`, `config` or `none`.
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
    let look = |account| look(&config, account, &places, status.as_ref());
    let accounts: Vec<Shown> = config.account.iter().map(look).collect::<anyhow::Result<_>>()?;
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
    let shown = look(&config, super::called(&config, &word.name)?, &places, status.as_ref())?;
    if word.json {
        show::json(&shown)?;
        return Ok(ExitCode::SUCCESS);
    }
    let paint = show::Paint::new(context.environment.no_color);
    head(&shown);
    let list = |what: &str, list: &[String]| {
        if !list.is_empty() {
            show::line(format_args!("  {what}: {}", Untrusted::text(&list.join(", "))));
        }
    };
    list("links only", &shown.keys);
    list("include", &shown.include);
    list("exclude", &shown.exclude);
    list("exclude branches", &shown.exclude_branches);
    for (names, site) in &shown.routes {
        list(&format!("route to {site}"), names);
    }
    if !shown.administrators.is_empty() {
        group::say("  administrators", &shown.administrators);
    }
    shown.groups.iter().for_each(|(name, members)| group::say(&format!("  group {name}"), members));
    for one in &shown.repositories {
        let name = Untrusted::text(&one.name);
        let heard = match one.last_event_at {
            Some(at) => format!("last heard of {}", clock::show(at)),
            None if status.is_none() => "the daemon does not answer".to_owned(),
            None => "not heard of yet".to_owned(),
        };
        let elsewhere = one.site.as_ref().filter(|site| shown.site.as_ref() != Some(site));
        let to = elsewhere.map(|site| format!(" -> {site}")).unwrap_or_default();
        match &one.because {
            None => show::line(format_args!("  {name}{to}: {}, {heard}", one.reached)),
            Some(because) => {
                show::line(paint.warn(format_args!("  {name}{to}: no hooks: {}; {heard}", Untrusted::text(because))));
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
    let new = match (shown.auto_link, &shown.root) {
        (true, _) => "new ones are linked",
        (false, Some(_)) => "new ones are not linked",
        (false, None) => "a clone is known once a hook of it has fired",
    };
    show::line(format_args!(
        "account {} ({}) -> {site}: {} repositories, {reached} with hooks; {new}",
        shown.account,
        shown.place,
        shown.repositories.len()
    ));
}

fn look(config: &Config, account: &Account, places: &Places, status: Option<&Status>) -> anyhow::Result<Shown> {
    let mut below = config.repositories_of(account);
    below.repositories.extend(super::known_clones(config, account, places, status));
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
            kind: host::Look::at(&git_dir).kind().ok(),
            site: config.link_of(&git_dir).and_then(|link| link.site).map(|site| site.name.clone()),
            trouble: heard.and_then(|one| one.trouble.clone()),
            git_dir,
        }
    };
    let named: BTreeSet<&String> = account.smart.allow.iter().flat_map(|allow| &allow.groups).collect();
    let named = config.group.iter().filter(|group| named.contains(&group.name));
    let groups = named.map(|one| anyhow::Ok((one.name.clone(), group::look(config, places, &one.members)?)));
    Ok(Shown {
        account: account.name.clone(),
        root: account.has_root().then(|| account.root.clone()),
        remotes: account.remotes.clone(),
        place: account.place(),
        site: config.site_of(account).map(|site| site.name.clone()),
        auto_link: account.auto_link,
        keys: account.keys.clone(),
        routes: account.route.iter().map(|route| (route.repositories.clone(), route.site.clone())).collect(),
        include: account.include.clone(),
        exclude: account.exclude.clone(),
        exclude_branches: account.exclude_branches.clone(),
        administrators: group::look(config, places, &account.administrators)?,
        groups: groups.collect::<anyhow::Result<_>>()?,
        repositories: below.repositories.into_iter().map(repository).collect(),
        closed: below.closed,
    })
}

/// How Git comes to our hooks in a repository, or why it does not.
fn reached(git_dir: &Path) -> (&'static str, Option<String>) {
    let hooks = match host::Look::at(git_dir).hooks() {
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
            (_, Some(Hindrance::SwitchedOff(called))) => Some(format!("hook.{called}.enabled is false")),
            (_, Some(Hindrance::OldGit(version))) => {
                Some(format!("Git {version} runs no hooks out of its configuration"))
            }
            (Owner::Ours { .. } | Owner::Configured { .. }, None) => None,
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
        () if hooks.iter().all(|hook| matches!(hook.owner, Owner::Configured { .. })) => "config",
        () if !own => "shared-file",
        () if is(Path::is_symlink) => "link",
        () => "file",
    };
    (how, None)
}
