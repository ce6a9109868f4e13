//! `agent install --remote` and `agent uninstall --remote`: hooks in all clones of a server, and out again.
//!
//! One word is for one person (`git config --global`), or with `--system` for everybody on the machine. What it says about
//! Jira and policies comes from the same configuration as ever: a person's own, or that of all people in
//! `/etc/xdg/git-jira-agent/config.toml`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use toml_edit::{Array, value};

use super::super::change::Change;
use super::super::{Context, show};
use super::{Install, Uninstall, make_spool};
use crate::config::{Config, Environment, Places};
use crate::host::{self, Account, Everywhere};
use crate::text::Untrusted;

pub fn install(word: &Install, context: &Context) -> anyhow::Result<ExitCode> {
    let gits = host::gits(context.environment.path.as_deref().unwrap_or_default());
    let Some((program, version)) = gits.first() else { anyhow::bail!("there is no git on this machine") };
    if !host::runs_configured(version) {
        show::note(format_args!(
            "git {} ({}) runs no hooks out of its configuration, as Git {} and later does; nothing was written.",
            Untrusted::text(version),
            program.display(),
            host::since()
        ));
        show::note(
            "until then: `agent install` in each clone, or `agent account add --root FOLDER` for all below a folder",
        );
        return Ok(ExitCode::FAILURE);
    }
    let path = config_path(word.system, context)?;
    anyhow::ensure!(path.exists(), "no configuration: {} does not exist; `agent link` makes one", path.display());
    let account = word.account.as_deref();
    let served = word.served;
    let change = Change::of(&path, |edit| {
        let config = Config::parse(&edit.text(), &path)?;
        let Some((name, new)) = account_for(&config, &word.remote, account)? else { return Ok(()) };
        if !config.account.iter().any(|account| account.name == name) {
            edit.new_account(&name, None)?;
        }
        let table = edit.account_called(&name)?;
        let list = table.entry("remotes").or_insert_with(|| value(Array::new()));
        let list = list.as_array_mut().ok_or_else(|| anyhow::anyhow!("`remotes` of account {name} is no list"))?;
        new.into_iter().for_each(|remote| list.push(remote));
        if served {
            super::super::link::edit::set(table, "served", true);
        }
        Ok(())
    })?;
    let config = &change.config;
    let remotes: Vec<String> = match word.remote.iter().all(String::is_empty) {
        true => config.account.iter().flat_map(|account| account.remotes.clone()).collect(),
        false => word.remote.iter().filter(|remote| !remote.is_empty()).cloned().collect(),
    };
    anyhow::ensure!(!remotes.is_empty(), "no account has `remotes`: say which server, `--remote git.example.org`");
    let everywhere = Everywhere::new(&git_config(word.system, &context.environment)?, &path);
    let everywhere = if word.system { everywhere.for_all() } else { everywhere };
    let chosen = context.chosen.as_ref().map(|_| path.as_path());
    let changed = everywhere.put(&remotes, &std::env::current_exe()?, chosen)?;
    if !word.system {
        make_spool(&Places::new(&path, config, &context.environment))?;
    }
    change.write(&path, context)?;
    said(&change, &everywhere, &path, changed)?;
    let old = gits.iter().skip(1).filter(|(_, version)| !host::runs_configured(version));
    for (program, version) in old {
        let version = Untrusted::text(version);
        show::note(format_args!("git {version} ({}) runs none of them: it is too old", program.display()));
    }
    if config.site.is_empty() {
        show::line("no Jira is linked yet: `agent link` does that, and the events wait until then");
    }
    Ok(ExitCode::SUCCESS)
}

pub fn uninstall(word: &Uninstall, context: &Context) -> anyhow::Result<ExitCode> {
    let path = config_path(word.system, context)?;
    let remotes: Vec<String> = word.remote.iter().filter(|remote| !remote.is_empty()).cloned().collect();
    let everywhere = Everywhere::new(&git_config(word.system, &context.environment)?, &path);
    let gone = everywhere.take_out(&remotes)?;
    if let Some(other) = remotes.iter().find(|remote| !gone.contains(remote)) {
        let there = everywhere.remotes()?;
        let there = if there.is_empty() { "nothing is left".to_owned() } else { there.join(", ") };
        show::note(format_args!("it was not put in for {other}; what there is: {there}"));
        return Ok(ExitCode::FAILURE);
    }
    if gone.is_empty() {
        show::line(format_args!("{} leads to no hooks of ours", everywhere.config().display()));
    }
    for remote in &gone {
        show::line(format_args!("Git is not led to hooks of ours in clones of {remote} any more"));
    }
    let left = if path.exists() { still(&Config::load(&path)?, &gone) } else { Vec::new() };
    if !left.is_empty() {
        show::line(format_args!(
            "they still belong to account {} in {}, so what was pushed before is told, and so is what hooks in their files tell",
            left.join(", "),
            path.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration that the hooks are to read: with `system` the one for everybody.
fn config_path(system: bool, context: &Context) -> anyhow::Result<PathBuf> {
    let named = context.chosen.is_some() || context.environment.config.is_some();
    match system && !named {
        true => Places::config_of_all(&context.environment)
            .ok_or_else(|| anyhow::anyhow!("XDG_CONFIG_DIRS names no folder for a configuration of all people")),
        false => Ok(context.config_path()),
    }
}

/// Git's configuration that is to include ours, as Git itself finds it.
fn git_config(system: bool, environment: &Environment) -> anyhow::Result<PathBuf> {
    let found = if system { system_config(environment)? } else { global_config(environment)? };
    anyhow::ensure!(found.is_absolute(), "{} is no absolute path", found.display());
    anyhow::ensure!(!found.is_dir() && found != Path::new("/dev/null"), "{} is no file to write to", found.display());
    Ok(found)
}

fn global_config(environment: &Environment) -> anyhow::Result<PathBuf> {
    if let Some(named) = &environment.git_config_global {
        return Ok(named.clone());
    }
    let home = environment.home.as_ref().map(|home| home.join(".gitconfig"));
    let other = environment.config_home.as_ref().map(|home| home.join("git/config"));
    match (home, other) {
        (Some(home), Some(other)) if !home.exists() && other.exists() => Ok(other),
        (Some(home), _) => Ok(home),
        (None, other) => other.ok_or_else(|| anyhow::anyhow!("HOME is not set, so Git has no configuration of yours")),
    }
}

fn system_config(environment: &Environment) -> anyhow::Result<PathBuf> {
    if let Some(named) = &environment.git_config_system {
        return Ok(named.clone());
    }
    let mut git = Command::new("git");
    let told = git.args(["var", "GIT_CONFIG_SYSTEM"]).current_dir("/").stdin(Stdio::null()).output()?;
    let path = String::from_utf8_lossy(&told.stdout).trim().to_owned();
    anyhow::ensure!(told.status.success() && !path.is_empty(), "git does not say where the machine's configuration is");
    Ok(PathBuf::from(path))
}

/// The account that is to have these servers, and those that it has not yet; nothing where there is nothing to write.
fn account_for(
    config: &Config,
    remotes: &[String],
    wanted: Option<&str>,
) -> anyhow::Result<Option<(String, Vec<String>)>> {
    let named: Vec<&String> = remotes.iter().filter(|remote| !remote.is_empty()).collect();
    let holder = |remote: &String| config.account.iter().find(|account| account.remotes.contains(remote));
    if let Some(wanted) = wanted
        && let Some((remote, other)) = named.iter().find_map(|remote| {
            let other = holder(remote).filter(|other| other.name != wanted)?;
            Some((remote, other))
        })
    {
        anyhow::bail!("{remote} belongs to account {} already", other.name);
    }
    let new: Vec<String> = named.iter().filter(|remote| holder(remote).is_none()).map(|one| (*one).clone()).collect();
    let known = named.iter().find_map(|remote| holder(remote)).map(|account| account.name.clone());
    let Some(first) = named.first() else { return Ok(None) };
    let name = wanted.map(str::to_owned).or(known).unwrap_or_else(|| name_for(config, first));
    Ok(Some((name, new)))
}

/// A name for an account of a server's clones, after the server.
fn name_for(config: &Config, remote: &str) -> String {
    let place = remote.split_once("://").map_or(remote, |(_, rest)| rest);
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let host = place.split([':', '/']).next().unwrap_or_default();
    let stem: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c)).collect();
    let stem = stem.trim_matches(['.', '-']).to_owned();
    let stem = if stem.is_empty() { "clones".to_owned() } else { stem };
    let taken = |name: &String| config.account.iter().any(|account| account.name == *name);
    let numbered = (2..).map(|n| format!("{stem}-{n}"));
    std::iter::once(stem.clone()).chain(numbered).find(|name| !taken(name)).expect("numbers do not end")
}

fn said(change: &Change, everywhere: &Everywhere, path: &Path, changed: bool) -> anyhow::Result<()> {
    if !change.is_none() {
        change.show(path);
    }
    let remotes = everywhere.remotes()?.join(", ");
    let git_config = everywhere.config().display();
    match changed {
        true => show::line(format_args!("{git_config} leads Git to hooks of ours in each clone of {remotes}")),
        false => show::line(format_args!("{git_config} leads Git to hooks of ours in each clone of {remotes} already")),
    }
    show::line("a clone is known once a hook of it has fired; `agent hooks` in a clone shows how they are reached");
    Ok(())
}

/// The accounts that have servers among their remotes.
fn still(config: &Config, remotes: &[String]) -> Vec<String> {
    let has = |account: &&Account| remotes.iter().any(|remote| account.remotes.contains(remote));
    config.account.iter().filter(has).map(|account| account.name.clone()).collect()
}
