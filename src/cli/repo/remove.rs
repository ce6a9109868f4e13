//! `agent repo remove`: a repository goes, and what Jira knows of it.

use std::collections::BTreeSet;
use std::process::ExitCode;

use super::{Context, found};
use crate::cli::link::Ask;
use crate::cli::{admin, show};
use crate::config::Places;
use crate::git::Repository;
use crate::host::create::discard;
use crate::queue::{EntityRow, Filter};
use crate::serve::{Changed, Forget};

#[derive(clap::Args)]
pub struct Remove {
    /// Its name in the account, as `agent repo list` shows it
    name: String,
    /// The account it lies in; default: the only one that has it
    #[arg(long)]
    account: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Leave what Jira knows of it; otherwise the daemon has to run
    #[arg(long)]
    keep_in_jira: bool,
}

/// The most rows that are counted.
const MOST: u32 = 1_000_000;

pub fn run(word: &Remove, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    let (_, path) = found(&config, word.account.as_deref(), &word.name)?;
    let repository = Repository::open(&path)?;
    anyhow::ensure!(
        !repository.is_clone(),
        "{} is somebody's clone; `agent uninstall` takes the hooks out",
        path.display()
    );
    let branches = repository.refs()?.iter().filter(|(name, _)| name.is_branch()).count();
    let id = repository.id().filter(|_| !word.keep_in_jira).map(str::to_owned);
    // Asked before anything is done: when the daemon is down, nothing is.
    let known = id.as_deref().map(|id| known(&places, id)).transpose()?;
    show::line(format_args!("{} goes, with {branches} branches and all their history", path.display()));
    match &known {
        Some((commits, branches)) => {
            show::line(format_args!("Jira forgets it: {commits} commits, {branches} branches"));
        }
        None => show::line("Jira keeps what it knows of it"),
    }
    if !word.yes {
        let ask = Ask::new();
        anyhow::ensure!(ask.terminal, "nothing was removed: say --yes where nobody can be asked");
        let said = ask.optional(&format!("type {} to remove it", word.name))?;
        anyhow::ensure!(said.as_deref() == Some(&word.name), "nothing was removed");
    }
    // Out of reach first, so that no push comes after Jira has forgotten it.
    let gone = discard(&path)?;
    if let Some(repository) = id {
        let forgotten = admin::post(&places, "/forget", &Forget { repository, site: None });
        let Changed { changed } =
            forgotten.or_else(|error| gone.put_back().map_err(anyhow::Error::from).and(Err(error)))?;
        show::line(format_args!("{changed} sites are to forget it"));
    }
    gone.delete()?;
    show::line(format_args!("{} is removed", word.name));
    Ok(ExitCode::SUCCESS)
}

/// How many commits and branches of a repository Jira knows, or is about to.
fn known(places: &Places, id: &str) -> anyhow::Result<(usize, usize)> {
    let filter = Filter { repository: Some(id.to_owned()), limit: Some(MOST), ..Filter::default() };
    let rows: Vec<EntityRow> = admin::get(places, "/queue", &filter)?;
    let count =
        |kind: &str| rows.iter().filter(|row| row.kind == kind).map(|row| &row.id).collect::<BTreeSet<_>>().len();
    Ok((count("commit"), count("branch")))
}
