//! `agent account set`: what is different in an account from now on.

use std::path::Path;
use std::process::ExitCode;

use super::super::change::Change;
use super::super::{Context, show};
use super::settings::Settings;
use crate::config::Config;
use crate::host;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The account
    name: String,
    #[command(flatten)]
    settings: Settings,
    /// Show what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

const EXAMPLES: &str = "What is not given stays as it is, comments too.

  agent account set main --keys ABC,DEF
  agent account set main --route 'pay/secret*=none' --route 'pay/*=other' --dry-run
  agent account set main --administrators ada@example.com";

pub fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let Arguments { name, settings, dry_run } = arguments;
    anyhow::ensure!(!settings.is_empty(), "say what is to be different; `agent account set --help` shows what can be");
    let (config, places) = context.config()?;
    let account = super::called(&config, name)?;
    let path = &places.config;
    let change = Change::of(path, |edit| settings.write(edit.account_called(name)?, &account.root, Some(account)))?;
    if change.is_none() {
        show::line(format_args!("account {name} is that way already"));
        return Ok(ExitCode::SUCCESS);
    }
    change.show(path);
    let goes = |config: &Config, git_dir: &Path| config.link_of(git_dir).and_then(|link| Some(link.site?.name.clone()));
    let below = host::below(&account.root).repositories;
    let elsewhere = below.iter().filter(|git_dir| goes(&config, git_dir) != goes(&change.config, git_dir)).count();
    if elsewhere > 0 {
        show::line(format_args!(
            "{elsewhere} repositories go elsewhere with that: what was told before stays where it is, and `agent verify` shows it"
        ));
    }
    if !dry_run {
        change.write(path, context)?;
        show::line(format_args!("account {name} is that way from now on"));
    }
    Ok(ExitCode::SUCCESS)
}
