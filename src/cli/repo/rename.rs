//! `agent repo rename` and `agent repo move`: another place, the same repository.
//!
//! The id stays, so Jira knows it again. The daemon has to run: it keeps where repositories are, and tells Jira the new name and
//! links.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use super::{Context, account, address, folder, found};
use crate::cli::{admin, show};
use crate::git::Repository;
use crate::host::Account;
use crate::host::create::{UrlName, free, put};
use crate::serve::{Changed, Renamed};

#[derive(clap::Args)]
pub struct Rename {
    /// Its name in the account, as `agent repo list` shows it
    old: String,
    /// What it is to be called; with a `/` also in which project, which has to be there
    new: String,
    /// The account it lies in; default: the only one that has it
    #[arg(long)]
    account: Option<String>,
}

#[derive(clap::Args)]
pub struct Move {
    /// Its name in the account, as `agent repo list` shows it
    name: String,
    /// The account it is to belong to
    #[arg(long, value_name = "ACCOUNT")]
    to: String,
    /// The account it lies in; default: the only one that has it
    #[arg(long)]
    account: Option<String>,
}

pub fn rename(word: &Rename, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, _) = context.config()?;
    let (account, path) = found(&config, word.account.as_deref(), &word.old)?;
    let (target, name) = match word.new.rsplit_once('/') {
        Some((project, name)) => (folder(account, Some(project))?, name),
        None => (path.parent().unwrap_or(&path).to_owned(), &*word.new),
    };
    relocate(&path, &target, &name.parse()?, account, context)
}

pub fn move_to(word: &Move, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, _) = context.config()?;
    let (from, path) = found(&config, word.account.as_deref(), &word.name)?;
    let to = account(&config, Some(&word.to))?;
    let name = from.repository_name(&path);
    let (project, name) = name.rsplit_once('/').map_or((None, &*name), |(project, name)| (Some(project), name));
    relocate(&path, &folder(to, project)?, &name.parse()?, to, context)
}

/// Gives a repository another place, and its name back when the daemon cannot be told.
fn relocate(
    path: &Path,
    folder: &Path,
    name: &UrlName,
    account: &Account,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    let repository = Repository::open(path)?;
    anyhow::ensure!(!repository.is_clone(), "{} is somebody's clone; move it as any folder", path.display());
    anyhow::ensure!(folder.is_dir(), "{} is not there; make that folder first", folder.display());
    let owners = [std::fs::metadata(path)?.uid(), std::fs::metadata(folder)?.uid()];
    anyhow::ensure!(
        owners[0] == owners[1],
        "{} and {} belong to different users; import it there, then remove it here",
        path.display(),
        folder.display()
    );
    let place = folder.join(name.folder());
    anyhow::ensure!(place != path, "it is called that already");
    let site = |git_dir: &Path| config.link_of(git_dir).and_then(|link| link.site);
    let (here, there) = (site(path).map(|site| &site.name), site(&place));
    let name_of = |name: Option<&String>| name.map_or("no site", String::as_str).to_owned();
    anyhow::ensure!(
        here == there.map(|site| &site.name),
        "it is linked to {} here and would be to {} there; import it there, then remove it here",
        name_of(here),
        name_of(there.map(|site| &site.name))
    );
    free(folder, name, Some(path))?;
    put(path, &place)?;
    let told = || -> anyhow::Result<usize> {
        let Some((id, site)) = repository.id().zip(there) else { return Ok(0) };
        let home = account.home(&place, &site.url);
        let renamed = Renamed { repository: id.to_owned(), git_dir: place.clone(), home };
        let Changed { changed } = admin::post(&places, "/renamed", &renamed)?;
        Ok(changed)
    };
    let changed = told().or_else(|error| put(&place, path).map_err(anyhow::Error::from).and(Err(error)))?;
    show::line(format_args!(
        "it is {} of account {} now, in {}",
        account.repository_name(&place),
        account.name,
        place.display()
    ));
    show::line(format_args!("{changed} commits and branches are told to Jira anew; its id stays"));
    show::line(format_args!("in clones: git remote set-url origin {}", address(account, &place)));
    Ok(ExitCode::SUCCESS)
}
