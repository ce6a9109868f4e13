//! `agent account add`: look, show, ask, write, cover.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use super::super::change::Change;
use super::super::link::ask::Ask;
use super::super::link::edit::{Edit, set};
use super::super::{Context, install, show};
use super::settings::Settings;
use super::{Done, code, cover_all};
use crate::config::{Config, Places};
use crate::host;
use crate::text::Untrusted;
use serde::Serialize;

#[derive(clap::Args)]
pub struct Arguments {
    /// What to call the account; default: the folder's name
    name: Option<String>,
    /// The folder with the repositories
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
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
    /// The lines of the configuration that change, and some around them.
    change: Vec<String>,
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
    let config = if path.exists() { Config::load(&path)? } else { Config::default() };
    let root = arguments.root.as_ref().map(|root| root.display().to_string());
    let root = PathBuf::from(ask.or_given(root, "folder with the repositories (--root)")?);
    let root = std::fs::canonicalize(&root).map_err(|error| anyhow::anyhow!("{}: {error}", root.display()))?;
    anyhow::ensure!(root.is_dir(), "{} is no folder", root.display());
    let name = arguments.name(&config, &root)?;
    let site = arguments.site(&config, &name, &ask)?;
    let change = Change::of(&path, |edit| arguments.write(edit, &config, (&name, &root, site.as_deref())))?;
    let config = &change.config;
    let places = Places::new(&path, config, &context.environment);
    let mut found = look(config, &name, context)?;
    found.change = change.lines();
    if !arguments.json {
        say(&found, &path);
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
    let had = super::hooked(config, super::called(config, &name)?);
    install::make_spool(&places)?;
    change.write(&path, context)?;
    found.done = cover_all(config, super::called(config, &name)?, &places, &had, false)?;
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
                anyhow::bail!("account {name} is for {}: give another name", other.place())
            }
            (None, Some(account)) if self.settings.is_empty() => {
                anyhow::bail!("{} belongs to account {} already", root.display(), account.name)
            }
            _ => Ok(name),
        }
    }

    fn site(&self, config: &Config, name: &str, ask: &Ask) -> anyhow::Result<Option<String>> {
        let known = config.account.iter().find(|account| account.name == *name);
        let given = self.settings.site.clone().or_else(|| known?.site.clone());
        let names: Vec<&str> = config.site.iter().map(|site| site.name.as_str()).collect();
        match (given, &names[..]) {
            (Some(site), _) if names.contains(&site.as_str()) => Ok(Some(site)),
            (Some(site), _) => anyhow::bail!("there is no site called {site}; there are: {}", names.join(", ")),
            (None, []) => Ok(None),
            (None, [only]) => Ok(Some((*only).to_owned())),
            (None, _) => ask.or_given(None, &format!("which site (--site): {}", names.join(", "))).map(Some),
        }
    }

    /// Puts the account into the configuration.
    fn write(
        &self,
        edit: &mut Edit,
        config: &Config,
        (name, root, site): (&str, &Path, Option<&str>),
    ) -> anyhow::Result<()> {
        let known = config.account.iter().find(|account| account.name == *name);
        if known.is_none() {
            edit.new_account(name, Some(root))?;
        }
        let table = edit.account_called(name)?;
        if let Some(site) = site {
            set(table, "site", site);
        }
        if known.is_none() {
            set(table, "auto_link", true);
        }
        self.settings.write(table, root, known)
    }
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
        change: Vec::new(),
        done: Vec::new(),
    };
    for git_dir in below.repositories {
        if let Ok(kind) = host::Look::at(&git_dir).kind() {
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

fn say(found: &Found, path: &Path) {
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
    match found.change.is_empty() {
        false => show::line(format_args!("account {account}, linked to {site}, is written into {}", path.display())),
        true => show::line(format_args!("account {account}, linked to {site}, is in {} already", path.display())),
    }
    found.change.iter().for_each(|line| show::line(Untrusted::text(line)));
}
