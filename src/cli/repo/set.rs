//! `agent repo set`: what is different in one repository of an account.

use std::process::ExitCode;

use super::{Context, found};
use crate::cli::link::{Edit, save};
use crate::cli::{admin, show};
use crate::config::Config;

#[derive(clap::Args)]
pub struct Set {
    /// Its name in the account, as `agent repo list` shows it
    name: String,
    /// The account it lies in; default: the only one that has it
    #[arg(long)]
    account: Option<String>,
    /// Whether commands in its commits are carried out, as far as the account allows it
    #[arg(long, value_name = "on|off", value_parser = switch, action = clap::ArgAction::Set)]
    smart_commits: bool,
}

pub fn run(word: &Set, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    let (account, path) = found(&config, word.account.as_deref(), &word.name)?;
    let mut edit = Edit::of(&std::fs::read_to_string(&places.config)?)?;
    edit.smart_commits(&account.name, &account.repository_name(&path), word.smart_commits)?;
    // What would be refused is not written.
    Config::parse(&edit.text(), &places.config)?;
    save(&places.config, &edit.text())?;
    let state = if word.smart_commits { "on" } else { "off" };
    show::line(format_args!("commands in {} are {state}; {} says so", word.name, places.config.display()));
    // A daemon that runs notices it by itself, but the next push may be quicker.
    let _ = admin::post::<bool>(&places, "/reload", &());
    Ok(ExitCode::SUCCESS)
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off".to_owned()),
    }
}
