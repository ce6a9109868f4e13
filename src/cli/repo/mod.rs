//! `agent repo`: the life of the repositories that lie in the accounts.

mod create;
mod list;
mod remove;
mod rename;
mod set;

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::unistd::{Gid, Uid, User};

use super::Context;
use crate::config::Config;
use crate::host::create::UrlName;
use crate::host::{self, Account};

#[derive(clap::Subcommand)]
pub enum Word {
    /// Make a repository, private, with the hooks in it, and say how to go on
    Create(create::Create),
    /// Make a repository of the branches and tags of another one, wherever that is
    Import(create::Import),
    /// List the repositories of the accounts, and what hinders their hooks
    List(list::List),
    /// Give a repository another name; Jira is told, and knows it as the same one
    Rename(rename::Rename),
    /// Move a repository to another account of the same site
    Move(rename::Move),
    /// Delete a repository, after a question, and make Jira forget it
    Remove(remove::Remove),
    /// Link a repository or not, and say its site, its projects and whether commands in it count
    Set(set::Set),
}

pub fn run(word: Word, context: &Context) -> anyhow::Result<ExitCode> {
    match word {
        Word::Create(word) => create::run(&word, context),
        Word::Import(word) => create::import(&word, context),
        Word::List(word) => list::run(&word, context),
        Word::Rename(word) => rename::rename(&word, context),
        Word::Move(word) => rename::move_to(&word, context),
        Word::Remove(word) => remove::run(&word, context),
        Word::Set(word) => set::run(&word, context),
    }
}

/// The account that was named, or the only one there is.
fn account<'c>(config: &'c Config, named: Option<&str>) -> anyhow::Result<&'c Account> {
    let names = || config.account.iter().map(|account| account.name.as_str()).collect::<Vec<_>>().join(", ");
    match (named, &config.account[..]) {
        (_, []) => anyhow::bail!("there is no account yet; `agent link --root FOLDER` makes one"),
        (None, [only]) => Ok(only),
        (None, _) => anyhow::bail!("in which account? --account takes one of: {}", names()),
        (Some(name), accounts) => accounts
            .iter()
            .find(|account| account.name == name)
            .ok_or_else(|| anyhow::anyhow!("there is no account called {name}; there are: {}", names())),
    }
}

/// The repository with this name, and its account: the one that was named, or the only one that has it.
fn found<'c>(config: &'c Config, named: Option<&str>, name: &str) -> anyhow::Result<(&'c Account, PathBuf)> {
    let accounts = match named {
        Some(_) => vec![account(config, named)?],
        None => config.account.iter().collect(),
    };
    only_one(accounts, name, |account, path| {
        config.account_of(path).is_some_and(|nearest| nearest.name == account.name)
    })
}

/// The same, whether or not the repository is linked.
fn found_anywhere<'c>(config: &'c Config, named: Option<&str>, name: &str) -> anyhow::Result<(&'c Account, PathBuf)> {
    let accounts = match named {
        Some(_) => vec![account(config, named)?],
        None => config.account.iter().collect(),
    };
    only_one(accounts, name, |account, path| {
        let around = config.account.iter().filter(|other| other.contains(path));
        let nearest = around.max_by_key(|other| other.root.components().count());
        nearest.is_some_and(|nearest| nearest.name == account.name)
    })
}

fn only_one<'c>(
    accounts: Vec<&'c Account>,
    name: &str,
    is_its: impl Fn(&Account, &Path) -> bool,
) -> anyhow::Result<(&'c Account, PathBuf)> {
    let all = accounts
        .iter()
        .flat_map(|account| host::below(&account.root).repositories.into_iter().map(move |path| (*account, path)));
    let own = all.filter(|(account, path)| is_its(account, path));
    let mut fitting = own.filter(|(account, path)| account.repository_name(path) == name);
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => anyhow::bail!("there is no repository {name}; `agent repo list` shows what there is"),
        (Some((one, first)), Some((other, second))) if one.name == other.name => {
            anyhow::bail!("{} and {} have the same name", first.display(), second.display())
        }
        (Some((one, _)), Some((other, _))) => {
            anyhow::bail!("accounts {} and {} have a repository {name}; --account takes one", one.name, other.name)
        }
    }
}

/// The folder of an account.
fn root(account: &Account) -> anyhow::Result<&Path> {
    anyhow::ensure!(account.has_root(), "account {} has no folder for repositories: it is for clones", account.name);
    Ok(&account.root)
}

/// The folder of an account, or of a project in it; each part of a project that is not there yet is called as an
/// address is.
fn folder(account: &Account, project: Option<&str>) -> anyhow::Result<PathBuf> {
    let mut folder = root(account)?.to_owned();
    anyhow::ensure!(folder.is_dir(), "the folder of account {}, {}, is not there", account.name, folder.display());
    for part in project.into_iter().flat_map(|project| project.split('/')).filter(|part| !part.is_empty()) {
        let plain = !part.starts_with('.') && folder.join(part).is_dir();
        folder.push(if plain { part.to_owned() } else { part.parse::<UrlName>()?.as_str().to_owned() });
    }
    Ok(folder)
}

/// Makes a folder in an account, with what is missing above it, as open as what it lies in.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    let Some(above) = folder.parent().filter(|_| !folder.is_dir()) else { return Ok(()) };
    make_folder(above)?;
    std::fs::create_dir(folder)?;
    std::fs::set_permissions(folder, std::fs::metadata(above)?.permissions())
}

/// Where root works in a folder of somebody else, the same words are said again as that person: what is made is theirs
/// then, and nobody's link leads root astray.
fn as_owner(folder: &Path, group: Option<u32>) -> anyhow::Result<Option<ExitCode>> {
    let owner = std::fs::metadata(folder)?;
    if !rustix::process::geteuid().is_root() || owner.uid() == 0 {
        return Ok(None);
    }
    let user = User::from_uid(Uid::from_raw(owner.uid()))?;
    let home = user.as_ref().map_or_else(|| PathBuf::from("/"), |user| user.dir.clone());
    let name = user.map_or_else(|| owner.uid().to_string(), |user| user.name);
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).env("HOME", home).env("USER", &name).env("LOGNAME", &name);
    command.env_remove("XDG_CONFIG_HOME").uid(owner.uid()).gid(group.unwrap_or(owner.gid()));
    let status = command.status().map_err(|error| anyhow::anyhow!("cannot go on as {name}: {error}"))?;
    Ok(Some(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)))
}

/// Who runs this: a name for people, and one for addresses.
fn myself() -> (String, String) {
    let uid = Uid::effective();
    let user = User::from_uid(uid).ok().flatten();
    let login = user.as_ref().map_or_else(|| uid.to_string(), |user| user.name.clone());
    let shown = user.and_then(|user| user.gecos.to_str().ok()?.split(',').next().map(str::to_owned));
    (shown.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| login.clone()), login)
}

/// The number of a group, by its name or number.
fn group(name: &str) -> anyhow::Result<u32> {
    let known = nix::unistd::Group::from_name(name)?.map(|group| group.gid);
    let number = || name.parse().ok().map(Gid::from_raw);
    let gid = known.or_else(number).ok_or_else(|| anyhow::anyhow!("there is no group called {name}"))?;
    Ok(gid.as_raw())
}

/// The address that people clone a repository from.
fn address(account: &Account, path: &Path) -> String {
    account.clone_url(path).unwrap_or_else(|| {
        let owner = std::fs::metadata(path).ok().and_then(|meta| User::from_uid(Uid::from_raw(meta.uid())).ok()?);
        let user = owner.map_or_else(|| "git".to_owned(), |user| user.name);
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        format!("{user}@{host}:{}", path.display())
    })
}
