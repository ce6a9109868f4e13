//! `agent account export` and `agent account import`: all that the configuration says of accounts, as a file.
//!
//! What is in the file takes the place of what was said of an account of that name; other accounts stay. What is the same
//! already keeps its place and its comments, so importing twice changes nothing. Sites are not in it: they have
//! credentials, which stay where they are.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;
use toml_edit::{Item, Table};

use super::super::change::Change;
use super::super::link::ask::Ask;
use super::super::link::edit::Edit;
use super::super::{Context, install, show};
use super::{Done, code, cover_all};
use crate::config::{Config, Places};
use crate::host;

#[derive(clap::Args)]
pub struct Export {
    /// The accounts; default: all
    names: Vec<String>,
    /// Print JSON instead of TOML
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Import {
    /// What `agent account export` printed, in TOML or JSON; `-` is standard input
    file: PathBuf,
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

const EXAMPLES: &str = "  agent account export > accounts.toml
  agent account import accounts.toml --dry-run
  agent account import accounts.toml --yes";

/// What an import finds, and what it does.
#[derive(Serialize)]
struct Found {
    accounts: Vec<One>,
    /// The lines of the configuration that change, and some around them.
    change: Vec<String>,
    /// What was done; nothing in a dry run.
    done: Vec<Done>,
}

/// One account of the file.
#[derive(Serialize)]
struct One {
    account: String,
    /// The folder of its repositories, where it has one.
    root: Option<PathBuf>,
    #[serde(skip)]
    place: String,
    fate: Fate,
    /// What is different from now on; all of a new one.
    settings: Vec<String>,
    repositories: usize,
    /// How many have hooks of ours.
    covered: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Fate {
    New,
    Changed,
    Same,
}

pub fn export(word: &Export, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    for name in &word.names {
        super::called(&config, name)?;
    }
    let mut edit = Edit::of(&std::fs::read_to_string(&places.config)?)?;
    edit.keep_accounts(|name| word.names.is_empty() || word.names.iter().any(|one| one == name))?;
    // A path that is relative to this file would lead elsewhere from another one.
    let is_wanted = |account: &&host::Account| word.names.is_empty() || word.names.contains(&account.name);
    for account in config.account.iter().filter(is_wanted).filter(|account| account.has_root()) {
        super::super::link::edit::set(edit.account_called(&account.name)?, "root", account.root.display().to_string());
    }
    let text = edit.text();
    match word.json {
        true => show::json(&toml::from_str::<Value>(&text)?)?,
        false => show::bytes(text.trim_start().as_bytes()),
    }
    Ok(ExitCode::SUCCESS)
}

pub fn import(word: &Import, context: &Context) -> anyhow::Result<ExitCode> {
    let path = context.config_path();
    let wanted = read(&word.file)?;
    let config = if path.exists() { Config::load(&path)? } else { Config::default() };
    let mut fates = Vec::new();
    let change = Change::of(&path, |edit| {
        for table in &wanted {
            fates.push(take(edit, &config, table)?);
        }
        Ok(())
    })
    .map_err(|error| error.context(format!("nothing was written: {}", word.file.display())))?;
    let mut found = Found { accounts: Vec::new(), change: change.lines(), done: Vec::new() };
    for (name, fate, settings) in fates {
        found.accounts.push(look(&change.config, name, fate, settings)?);
    }
    if !word.json {
        found.accounts.iter().for_each(say);
        if !change.is_none() {
            change.show(&path);
        }
    }
    if word.dry_run {
        if word.json {
            show::json(&found)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let called = |one: &One| change.config.account.iter().find(|account| account.name == one.account);
    let linking: Vec<&host::Account> =
        found.accounts.iter().filter_map(called).filter(|account| account.auto_link).collect();
    let is_covered =
        |one: &One| one.covered == one.repositories || called(one).is_none_or(|account| !account.auto_link);
    let nothing = change.is_none() && found.accounts.iter().all(is_covered);
    if !nothing && !is_meant(word)? {
        show::line("nothing was written");
        return Ok(ExitCode::FAILURE);
    }
    let places = Places::new(&path, &change.config, &context.environment);
    install::make_spool(&places)?;
    let had: Vec<_> = linking.iter().map(|account| super::hooked(&change.config, account)).collect();
    change.write(&path, context)?;
    for (account, had) in linking.into_iter().zip(&had) {
        found.done.extend(cover_all(&change.config, account, &places, had, false)?);
    }
    match word.json {
        true => show::json(&found)?,
        false => super::say(&found.done),
    }
    Ok(code(&found.done))
}

/// Whether it is to be done, which a person is asked where nothing says so.
fn is_meant(word: &Import) -> anyhow::Result<bool> {
    if word.yes {
        return Ok(true);
    }
    let ask = Ask::new();
    anyhow::ensure!(ask.terminal && !word.json, "nothing was written: --yes says that this is meant");
    ask.agrees("write this, and put the hooks in where accounts link their repositories by themselves?")
}

/// The accounts of a file, each as a table.
fn read(file: &Path) -> anyhow::Result<Vec<Table>> {
    let mut text = String::new();
    match file == Path::new("-") {
        true => std::io::stdin().lock().read_to_string(&mut text).map(drop),
        false => std::fs::read_to_string(file).map(|read| text = read),
    }
    .map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    let at = |error: &dyn std::fmt::Display| anyhow::anyhow!("{}: {error}", file.display());
    if text.trim_start().starts_with('{') {
        let value: Value = serde_json::from_str(&text).map_err(|error| at(&error))?;
        text = toml::to_string(&value).map_err(|error| at(&error))?;
    }
    let tables = Edit::of(&text).and_then(Edit::only_accounts).map_err(|error| at(&error))?;
    anyhow::ensure!(!tables.is_empty(), "{}: there is no [[account]] in it", file.display());
    Ok(tables)
}

/// Puts one account into the configuration: what is said of it already keeps its place.
fn take(edit: &mut Edit, config: &Config, wanted: &Table) -> anyhow::Result<(String, Fate, Vec<String>)> {
    let text = |key: &str| wanted.get(key).and_then(Item::as_str);
    let (Some(name), root) = (text("name"), text("root")) else {
        anyhow::bail!("each [[account]] needs a name");
    };
    anyhow::ensure!(
        root.is_some() || wanted.contains_key("remotes"),
        "account {name} needs a root, or the remotes of its clones"
    );
    let known = config.account.iter().find(|account| account.name == name);
    if let Some(root) = root {
        anyhow::ensure!(Path::new(root).is_absolute(), "account {name}: root {root} is no absolute path");
        anyhow::ensure!(Path::new(root).is_dir(), "account {name}: {root} is no folder here");
    }
    if known.is_none() {
        edit.new_account(name, root.map(Path::new))?;
    }
    let table = edit.account_called(name)?;
    let mut settings = Vec::new();
    let gone: Vec<String> =
        table.iter().map(|(key, _)| key.to_owned()).filter(|key| !wanted.contains_key(key)).collect();
    for key in gone {
        table.remove(&key);
        settings.push(key);
    }
    for (key, item) in wanted {
        let same_root = || {
            let real = root.and_then(|root| std::fs::canonicalize(root).ok());
            key == "root" && known.is_some_and(|account| real.is_some_and(|real| real == account.root))
        };
        let is_new = known.is_none() && matches!(key, "name" | "root");
        if !is_new && !same_root() && table.get(key).is_none_or(|now| plain(now) != plain(item)) {
            table.insert(key, without_place(item.clone()));
            settings.push(key.to_owned());
        }
    }
    let fate = match (known, settings.is_empty()) {
        (None, _) => Fate::New,
        (Some(_), false) => Fate::Changed,
        (Some(_), true) => Fate::Same,
    };
    Ok((name.to_owned(), fate, settings))
}

/// What an item says, however it is written.
fn plain(item: &Item) -> Option<Value> {
    let mut table = Table::new();
    table.insert("it", without_place(item.clone()));
    toml::from_str::<Value>(&toml_edit::DocumentMut::from(table).to_string()).ok()
}

/// A section of another file, which stands here behind the account that it belongs to.
fn without_place(mut item: Item) -> Item {
    fn forget(table: &mut Table) {
        table.set_position(None);
        for (_, item) in table.iter_mut() {
            within(item);
        }
    }
    fn within(item: &mut Item) {
        match item {
            Item::Table(table) => forget(table),
            Item::ArrayOfTables(tables) => tables.iter_mut().for_each(forget),
            Item::None | Item::Value(_) => {}
        }
    }
    within(&mut item);
    item
}

fn look(config: &Config, name: String, fate: Fate, settings: Vec<String>) -> anyhow::Result<One> {
    let account = super::called(config, &name)?;
    let repositories = config.repositories_of(account).repositories;
    let covered = repositories.iter().filter(|git_dir| host::has_hooks(git_dir)).count();
    let root = account.has_root().then(|| account.root.clone());
    let place = account.place();
    Ok(One { root, place, repositories: repositories.len(), account: name, fate, settings, covered })
}

fn say(one: &One) {
    let One { account, place, fate, settings, repositories, covered, .. } = one;
    let fate = match fate {
        Fate::New => "is new".to_owned(),
        Fate::Changed => format!("changes: {}", settings.join(", ")),
        Fate::Same => "is that way already".to_owned(),
    };
    show::line(format_args!("account {account} ({place}) {fate}; {repositories} repositories, {covered} with hooks"));
}
