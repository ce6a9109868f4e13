//! `agent repo set`: what is different in one repository of an account.

use std::process::ExitCode;

use clap::ArgAction::Set as Once;
use toml_edit::Array;

use super::{Context, found_anywhere};
use crate::cli::link::edit::{change, set, set_among};
use crate::cli::{Exit, admin, show};
use crate::config::Config;
use crate::host::{self, Account, NOWHERE};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  agent repo set team/tool --enabled off          nothing of it is linked any more\n  \
                        agent repo set team/tool --keys CORE,PAY        only these projects\n  \
                        agent repo set team/tool --site other           another Jira; --site default undoes it"
)]
pub struct Set {
    /// Its name in the account, as `agent repo list` shows it
    name: String,
    /// The account it lies in; default: the only one that has it
    #[arg(long)]
    account: Option<String>,
    /// Whether it is linked at all; what is pushed meanwhile comes when it is on again
    #[arg(long, value_name = "on|off", value_parser = switch, action = Once)]
    enabled: Option<bool>,
    /// Whether commands in its commits are carried out, as far as the account allows it
    #[arg(long, value_name = "on|off", value_parser = switch, action = Once)]
    smart_commits: Option<bool>,
    /// The site it goes to, whatever the account says; `none`: nothing of it is ever sent; `default`: as the account says
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// The only projects whose keys link, separated by commas; `all`: any; `default`: as the account says
    #[arg(long, value_delimiter = ',')]
    keys: Vec<String>,
}

/// As the account says.
const DEFAULT: &str = "default";
/// Any project.
const ALL: &str = "all";

pub fn run(word: &Set, context: &Context) -> anyhow::Result<ExitCode> {
    if word.enabled.is_none() && word.smart_commits.is_none() && word.site.is_none() && word.keys.is_empty() {
        let because = "what is to be set? --enabled, --smart-commits, --site or --keys".to_owned();
        return Err(Exit { code: 2, because }.into());
    }
    let (config, places) = context.config()?;
    let (account, path) = found_anywhere(&config, word.account.as_deref(), &word.name)?;
    let name = account.repository_name(&path);
    let file = places.config.display();
    let changed = change(&places.config, |edit| {
        if let Some(on) = word.smart_commits {
            set(edit.different(&account.name, &name)?, "smart_commits", on);
        }
        if let Some(first) = word.keys.first() {
            let own = edit.different(&account.name, &name)?;
            match first.as_str() {
                DEFAULT => drop(own.remove("keys")),
                ALL => set(own, "keys", Array::new()),
                _ => set(own, "keys", word.keys.iter().map(|key| key.trim().to_uppercase()).collect::<Array>()),
            }
        }
        match word.site.as_deref() {
            None => {}
            Some(DEFAULT) => edit.remove_route(&account.name, &name)?,
            Some(site) => set(edit.route(&account.name, &name)?, "site", site),
        }
        if let Some(on) = word.enabled {
            set_among(edit.account_called(&account.name)?, "exclude", &name, !on)?;
            let config = Config::parse(&edit.text(), &places.config)?;
            let because = config.keeps_out(&path).filter(|_| on && word.site.as_deref() != Some(NOWHERE));
            anyhow::ensure!(because.is_none(), because.unwrap_or_default());
        }
        Ok(())
    })?;
    say(word, &changed, account, &path);
    show::line(format_args!("{file} says so"));
    // A daemon that runs notices it by itself, but the next push may be quicker.
    let _ = admin::post::<bool>(&places, "/reload", &());
    Ok(ExitCode::SUCCESS)
}

fn say(word: &Set, config: &Config, account: &Account, path: &std::path::Path) {
    let name = &word.name;
    if let Some(on) = word.smart_commits {
        show::line(format_args!("commands in {name} are {}", if on { "on" } else { "off" }));
    }
    match config.link_of(path) {
        None => show::line(format_args!(
            "{name} is not linked: {}",
            config.keeps_out(path).unwrap_or_else(|| "it lies in no account".to_owned())
        )),
        Some(link) => {
            let site = link.site.map_or("no site", |site| &site.name);
            let keys = if link.keys.is_empty() { "any project".to_owned() } else { link.keys.join(", ") };
            show::line(format_args!("{name} is linked to {site}, for keys of {keys}"));
            if !host::has_hooks(path) {
                show::line(format_args!(
                    "it has no hooks of ours: `agent account cover {}` puts them in",
                    account.name
                ));
            }
        }
    }
    if word.site.is_some() {
        show::line("what was told or queued before stays where it is: `agent verify` says how much");
    }
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off".to_owned()),
    }
}
