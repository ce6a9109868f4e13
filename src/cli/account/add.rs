//! `agent account add`: look, show, ask, write, cover.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde::Serialize;
use toml_edit::{Item, Table};

use super::super::link::ask::Ask;
use super::super::link::edit::{self, Edit, set};
use super::super::{Context, admin, install, show};
use super::{Done, code, cover_all};
use crate::config::{Config, Places};
use crate::host;
use crate::text::Untrusted;

#[derive(clap::Args)]
pub struct Arguments {
    /// What to call the account; default: the folder's name
    name: Option<String>,
    /// The folder with the repositories
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
    /// The site to link them to; default: the only one there is
    #[arg(long)]
    site: Option<String>,
    /// Link only repositories whose name fits, where * stands for anything
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    include: Vec<String>,
    /// Do not link repositories whose name fits
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    exclude: Vec<String>,
    /// Whether repositories that appear later get hooks by themselves; default: on
    #[arg(long, value_parser = ["on", "off"])]
    auto_link: Option<String>,
    /// Whether commands in commit messages are carried out for whoever pushed; default: off
    #[arg(long, value_parser = ["on", "off"])]
    smart_commits: Option<String>,
    /// Write without asking
    #[arg(long)]
    yes: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON; does not ask, so it needs --yes or --dry-run
    #[arg(long)]
    json: bool,
}

/// What was found, and what would be done.
#[derive(Serialize)]
struct Found {
    account: String,
    root: PathBuf,
    site: Option<String>,
    /// How many repositories are served by which program.
    kinds: BTreeMap<host::Kind, usize>,
    /// The Git versions on this machine that may serve the repositories, by path.
    git: BTreeMap<PathBuf, String>,
    repositories: usize,
    /// How many have hooks of ours.
    covered: usize,
    /// How many have hooks of somebody else, which go on running.
    chained: usize,
    left_out: Vec<LeftOut>,
    /// What was done; nothing in a dry run.
    done: Vec<Done>,
}

#[derive(Serialize)]
struct LeftOut {
    git_dir: PathBuf,
    because: String,
}

pub fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let ask = Ask::new();
    let path = context.config_path();
    let before = if path.exists() { std::fs::read_to_string(&path)? } else { String::new() };
    // Let the file be in order first: what is wrong with it is told with its line.
    let config = Config::parse(&before, &path)?;
    let root = arguments.root.as_ref().map(|root| root.display().to_string());
    let root = PathBuf::from(ask.or_given(root, "folder with the repositories (--root)")?);
    let root = std::fs::canonicalize(&root).map_err(|error| anyhow::anyhow!("{}: {error}", root.display()))?;
    anyhow::ensure!(root.is_dir(), "{} is no folder", root.display());
    let name = arguments.name(&config, &root)?;
    let site = arguments.site(&config, &name, &ask)?;
    let text = arguments.written(&before, &config, (&name, &root, site.as_deref()))?;
    let config = Config::parse(&text, &path)?;
    let places = Places::new(&path, &config, &context.environment);
    let mut found = look(&config, &name, context)?;
    if !arguments.json {
        say(&found, &path, text != before);
    }
    if arguments.dry_run {
        if arguments.json {
            show::json(&found)?;
        }
        return Ok(if found.left_out.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if !arguments.yes {
        anyhow::ensure!(ask.terminal && !arguments.json, "nothing was written: --yes says that this is meant");
        if !ask.agrees("write this and put the hooks in?")? {
            show::line("nothing was written");
            return Ok(ExitCode::FAILURE);
        }
    }
    let had = super::hooked(&config, super::called(&config, &name)?);
    install::make_spool(&places)?;
    if text != before {
        edit::save(&path, &text)?;
        // A daemon that runs notices it by itself, but the first push may be quicker.
        let _ = admin::post::<bool>(&places, "/reload", &());
    }
    found.done = cover_all(&config, super::called(&config, &name)?, &places, &had, false)?;
    if arguments.json {
        show::json(&found)?;
    } else {
        super::say(&found.done);
        if config.site.is_empty() {
            show::line("no Jira is linked yet: `agent link` does that, and the events wait until then");
        }
    }
    Ok(code(&found.done))
}

impl Arguments {
    /// What it is to be called: another account of that name would have to lie in the same folder.
    fn name(&self, config: &Config, root: &Path) -> anyhow::Result<String> {
        let same = config.account.iter().find(|account| account.root == root);
        let own = || root.file_name().map_or_else(|| "main".to_owned(), |name| name.to_string_lossy().into_owned());
        let name = match (&self.name, same) {
            (Some(name), _) => name.clone(),
            (None, Some(account)) => account.name.clone(),
            (None, None) => own(),
        };
        match (config.account.iter().find(|account| account.name == name), same) {
            (Some(other), _) if other.root != root => {
                anyhow::bail!("account {name} is for {}: give another name", other.root.display())
            }
            (None, Some(account)) if self.include.is_empty() && self.exclude.is_empty() => {
                anyhow::bail!("{} belongs to account {} already", root.display(), account.name)
            }
            _ => Ok(name),
        }
    }

    fn site(&self, config: &Config, name: &str, ask: &Ask) -> anyhow::Result<Option<String>> {
        let known = config.account.iter().find(|account| account.name == *name);
        let given = self.site.clone().or_else(|| known?.site.clone());
        let names: Vec<&str> = config.site.iter().map(|site| site.name.as_str()).collect();
        match (given, &names[..]) {
            (Some(site), _) if names.contains(&site.as_str()) => Ok(Some(site)),
            (Some(site), _) => anyhow::bail!("there is no site called {site}; there are: {}", names.join(", ")),
            (None, []) => Ok(None),
            (None, [only]) => Ok(Some((*only).to_owned())),
            (None, _) => ask.or_given(None, &format!("which site (--site): {}", names.join(", "))).map(Some),
        }
    }

    /// The text of the configuration with this account in it.
    fn written(
        &self,
        before: &str,
        config: &Config,
        (name, root, site): (&str, &Path, Option<&str>),
    ) -> anyhow::Result<String> {
        let mut edit = Edit::of(before)?;
        let known = config.account.iter().find(|account| account.name == *name);
        if known.is_none() {
            edit.new_account(name, root)?;
        }
        let table = edit.account_called(name)?;
        if let Some(site) = site {
            set(table, "site", site);
        }
        for (key, patterns) in [("include", &self.include), ("exclude", &self.exclude)] {
            if !patterns.is_empty() {
                set(table, key, patterns.iter().map(String::as_str).collect::<toml_edit::Array>());
            }
        }
        match (self.auto_link.as_deref(), known) {
            (Some(given), _) => set(table, "auto_link", given == "on"),
            (None, None) => set(table, "auto_link", true),
            (None, Some(_)) => {}
        }
        if let Some(given) = self.smart_commits.as_deref() {
            let section = table.entry("smart").or_insert_with(|| Item::Table(Table::new()));
            let section = section.as_table_like_mut().ok_or_else(|| anyhow::anyhow!("`smart` is no section"))?;
            // Somebody who chose who is believed meant it.
            let chosen = section.get("policy").and_then(Item::as_str).is_some_and(|policy| policy != "off");
            match given {
                "on" if chosen => {}
                "on" => set(section, "policy", "bot"),
                _ => set(section, "policy", "off"),
            }
            if given == "on" && !section.contains_key("host_users") {
                let users: toml_edit::Array = host_user(root).into_iter().collect();
                if !users.is_empty() {
                    set(section, "host_users", users);
                }
            }
        }
        Ok(edit.text())
    }
}

/// The user as whom a host runs all hooks of a folder, where one does: what it says about the pusher is believed.
fn host_user(root: &Path) -> Option<String> {
    let repositories = host::below(root).repositories;
    let hosted = repositories.iter().filter_map(|git_dir| host::kind(git_dir).ok()).any(host::Kind::has_one_user);
    let owner = std::fs::metadata(root).ok().filter(|_| hosted)?.uid();
    Some(nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(owner)).ok()??.name)
}

/// Looks at the folder, and changes nothing.
fn look(config: &Config, name: &str, context: &Context) -> anyhow::Result<Found> {
    let account = super::called(config, name)?;
    let agent = std::env::current_exe()?;
    let below = config.repositories_of(account);
    let mut found = Found {
        account: name.to_owned(),
        root: account.root.clone(),
        site: config.site_of(account).map(|site| site.name.clone()),
        kinds: BTreeMap::new(),
        git: git_versions(context),
        repositories: below.repositories.len(),
        covered: 0,
        chained: 0,
        left_out: Vec::new(),
        done: Vec::new(),
    };
    for git_dir in below.repositories {
        if let Ok(kind) = host::kind(&git_dir) {
            *found.kinds.entry(kind).or_default() += 1;
        }
        found.covered += usize::from(host::has_hooks(&git_dir));
        match host::plan(&git_dir, &agent) {
            Ok(hooks) => found.chained += usize::from(hooks.iter().any(|hook| hook.chained)),
            Err(error) => found.left_out.push(LeftOut { because: host::reason(&error), git_dir }),
        }
    }
    let closed = below.closed.into_iter().map(|(git_dir, because)| LeftOut { git_dir, because });
    found.left_out.extend(closed);
    Ok(found)
}

/// Every git there is where one may serve a push: on the path, in the usual places, and beside a host's own programs.
fn git_versions(context: &Context) -> BTreeMap<PathBuf, String> {
    let path = context.environment.path.clone().unwrap_or_default();
    let usual = ["/usr/bin", "/usr/local/bin", "/opt/gitlab/embedded/bin"].map(PathBuf::from);
    let folders = std::env::split_paths(&path).chain(usual);
    let programs = folders.map(|folder| folder.join("git")).filter_map(|program| program.canonicalize().ok());
    let version = |program: PathBuf| {
        let said = Command::new(&program).arg("--version").output().ok()?.stdout;
        Some((program, String::from_utf8_lossy(&said).trim().to_owned()))
    };
    programs.filter_map(version).collect()
}

fn say(found: &Found, path: &Path, changes: bool) {
    let Found { account, root, repositories, covered, chained, .. } = found;
    show::line(format_args!("{}: {repositories} repositories, {covered} with hooks already", root.display()));
    for (kind, count) in &found.kinds {
        let kind = serde_json::to_value(kind).unwrap_or_default();
        show::line(format_args!("{count} of kind {}", kind.as_str().unwrap_or_default()));
    }
    for (program, version) in &found.git {
        show::line(format_args!("served by {version} ({})", program.display()));
    }
    if *chained > 0 {
        show::line(format_args!("in {chained} of them other hooks are, which go on running, after ours"));
    }
    for LeftOut { git_dir, because } in &found.left_out {
        let git_dir = git_dir.display().to_string();
        show::line(format_args!("cannot be covered: {}: {}", Untrusted::text(&git_dir), Untrusted::text(because)));
    }
    let site = found.site.as_deref().unwrap_or("no site yet");
    match changes {
        true => show::line(format_args!("account {account}, linked to {site}, is written into {}", path.display())),
        false => show::line(format_args!("account {account}, linked to {site}, is in {} already", path.display())),
    }
}
