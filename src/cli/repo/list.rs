//! `agent repo list`: what there is, and what hinders it.

use std::process::ExitCode;

use serde::Serialize;

use super::Context;
use crate::cli::{doctor, show};
use crate::config::Config;
use crate::git::Repository;
use crate::host::list::Inspector;
use crate::host::{self, Account};
use crate::send::Executor;
use crate::smart::Policy;
use crate::text::Untrusted;

#[derive(clap::Args)]
pub struct List {
    /// Only of this account
    #[arg(long)]
    account: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    account: String,
    name: String,
    id: Option<String>,
    path: String,
    /// Nothing hinders its hooks.
    hooks: bool,
    hindrance: Option<String>,
    smart_commits: bool,
}

pub fn run(word: &List, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, _) = context.config()?;
    let accounts: Vec<&Account> = match &word.account {
        Some(name) => vec![super::account(&config, Some(name))?],
        None => config.account.iter().collect(),
    };
    let inspector = Inspector::new()?;
    let mut rows = Vec::new();
    for account in accounts {
        let found = host::below(&account.root).repositories.into_iter();
        // A repository that is an account of its own may lie below the root of another.
        let own = found.filter(|path| config.account_of(path).is_some_and(|nearest| nearest.name == account.name));
        rows.extend(own.map(|path| row(&path, account, &config, &inspector)));
    }
    if word.json {
        return show::json(&rows).map(|()| ExitCode::SUCCESS);
    }
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    for row in &rows {
        let hooks = row.hindrance.as_deref().unwrap_or("hooks in place");
        let smart = if row.smart_commits { "on" } else { "off" };
        let id = row.id.as_deref().unwrap_or("no id yet");
        show::line(format_args!(
            "{:<width$}  {id:<36}  commands {smart:<3}  {}",
            Untrusted::text(&row.name).to_string(),
            Untrusted::text(hooks)
        ));
    }
    if rows.is_empty() {
        show::line("no repositories; `agent repo create NAME` makes one");
    }
    Ok(ExitCode::SUCCESS)
}

fn row(path: &std::path::Path, account: &Account, config: &Config, inspector: &Inspector) -> Row {
    let looked = Repository::open(path).map_err(anyhow::Error::from).and_then(|repository| {
        let hooks = inspector.inspect(&repository)?;
        let hindrance = hooks.iter().find_map(|hook| doctor::hindrance(hook, path));
        Ok((repository.id().map(str::to_owned), hindrance))
    });
    let (id, hindrance) = looked.unwrap_or_else(|error| (None, Some(format!("{error:#}"))));
    let carried_out =
        config.link_of(path).and_then(|link| link.site).is_some_and(|site| site.executor() != Executor::Off);
    Row {
        account: account.name.clone(),
        name: account.repository_name(path),
        id,
        path: path.display().to_string(),
        hooks: hindrance.is_none(),
        hindrance,
        smart_commits: carried_out && account.smart.policy != Policy::Off && account.smart_commits(path),
    }
}
