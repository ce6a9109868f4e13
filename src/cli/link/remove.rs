//! `agent link --remove`: a site goes, with all that it was told.
//!
//! What will happen is shown first. The accounts go before the site, because the configuration may not name a site that
//! is not there; then the daemon has Jira forget everything, and only then the configuration does. Whoever was
//! interrupted says the same words again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::ask::Ask;
use super::{Arguments, edit};
use crate::cli::{Context, account, admin, show};
use crate::config::{Config, Places};
use crate::people;
use crate::queue::ToldTo;
use crate::send::Settings;
use crate::serve::unlink::{Of, Unlink, Unlinked};

pub fn run(arguments: &Arguments, wanted: &str, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    let site = chosen(&config, Some(wanted).filter(|name| !name.is_empty()).or(arguments.url.as_deref()))?;
    let of = Of { site: Some(site.name.clone()), repositories: None };
    // Asked before anything is done: when the daemon is down, nothing is.
    let told: ToldTo = admin::get(&places, "/told", &of)?;
    let named = config.account.iter().filter(|one| config.site_of(one).is_some_and(|found| found.name == site.name));
    let accounts: Vec<String> = named.map(|account| account.name.clone()).collect();
    let secrets = own_secrets(site, &config, &places);
    preview(site, &told, &accounts, &secrets, arguments);
    if !accounts.is_empty() && !arguments.accounts {
        anyhow::bail!(
            "nothing was changed: {} linked to site {}; --accounts takes {} out first, as `agent account remove` does",
            if accounts.len() == 1 { "an account is" } else { "accounts are" },
            site.name,
            if accounts.len() == 1 { "it" } else { "them" }
        );
    }
    if arguments.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.yes {
        let ask = Ask::new();
        anyhow::ensure!(ask.terminal, "nothing was changed: say --yes where nobody can be asked");
        let said = ask.optional(&format!("type {} to unlink it", site.name))?;
        anyhow::ensure!(said.as_deref() == Some(&site.name), "nothing was changed");
    }
    for name in &accounts {
        if !account::take_out(name, true, &config, &places)? {
            show::line(format_args!("so site {} stays, and Jira knows what it knew", site.name));
            return Ok(ExitCode::FAILURE);
        }
    }
    let who = people::user(rustix::process::getuid().as_raw());
    let asked = Unlink { site: site.name.clone(), keep_in_jira: arguments.keep_in_jira, who };
    let unlinked: Unlinked = admin::post_patiently(&places, "/unlink", &asked).map_err(|error| {
        let hint = "site and Jira stay as they are; --keep-in-jira unlinks the site here alone";
        error.context(format!("site {} was not unlinked: {hint}", site.name))
    })?;
    edit::change(&places.config, |edit| edit.remove_site(&site.name))?;
    let _ = admin::post::<bool>(&places, "/reload", &());
    for path in &secrets {
        if let Err(error) = fs::remove_file(path) {
            show::note(format_args!("{} is left: {error}", path.display()));
        }
    }
    match unlinked.empty {
        Some(true) => show::line("Jira has forgotten it, and says that nothing is left"),
        Some(false) => show::line("Jira was told to forget it, and is still at it"),
        None => {}
    }
    show::line(format_args!("site {} is unlinked", site.name));
    Ok(ExitCode::SUCCESS)
}

/// The site with this name or address, or the only one there is.
fn chosen<'c>(config: &'c Config, wanted: Option<&str>) -> anyhow::Result<&'c Settings> {
    let names = || config.site.iter().map(|site| site.name.as_str()).collect::<Vec<_>>().join(", ");
    match (wanted, &config.site[..]) {
        (_, []) => anyhow::bail!("no site is linked"),
        (None, [only]) => Ok(only),
        (None, _) => anyhow::bail!("which site? --remove takes one of: {}", names()),
        (Some(wanted), sites) => {
            let is_meant = |site: &&Settings| site.name == wanted || site.url == wanted.trim_end_matches('/');
            let found = sites.iter().find(is_meant);
            found.ok_or_else(|| anyhow::anyhow!("there is no site called {wanted}; there are: {}", names()))
        }
    }
}

fn preview(site: &Settings, told: &ToldTo, accounts: &[String], secrets: &[PathBuf], arguments: &Arguments) {
    let ToldTo { repositories, commits, branches, waiting, orders } = told;
    show::line(format_args!("site {} at {}", site.name, site.url));
    let fate = match (site.shows_commits(), arguments.keep_in_jira) {
        (true, false) => "and is to forget them",
        _ => "and keeps what it knows of them",
    };
    if site.shows_commits() {
        show::line(format_args!(
            "  Jira was told of {commits} commits and {branches} branches in {repositories} repositories, {fate}"
        ));
    }
    if *waiting > 0 {
        show::line(format_args!("  {waiting} more wait, and are not told"));
    }
    if *orders > 0 {
        show::line(format_args!(
            "  {orders} commands are open: those not begun are refused, the others wait for a person; see `agent effects list`"
        ));
    }
    if !accounts.is_empty() {
        let how =
            if arguments.accounts { ", which go first, with all hooks of ours in their repositories" } else { "" };
        show::line(format_args!("  accounts: {}{how}", accounts.join(", ")));
    }
    for path in secrets {
        show::line(format_args!("  {} is deleted", path.display()));
    }
}

/// The files that `agent link` has written for a site, and that nothing else names.
fn own_secrets(site: &Settings, config: &Config, places: &Places) -> Vec<PathBuf> {
    let folder = places.config.parent().unwrap_or(Path::new("/")).join("credentials");
    let named = |site: &Settings| {
        let account = site.account.as_ref().and_then(|account| account.secret_file.clone());
        [site.secret_file.clone(), account].into_iter().flatten().collect::<Vec<_>>()
    };
    let others: Vec<PathBuf> = config.site.iter().filter(|other| other.name != site.name).flat_map(named).collect();
    let ours = [folder.join(&site.name), folder.join(format!("{}.account", site.name))];
    named(site).into_iter().filter(|path| ours.contains(path) && !others.contains(path)).collect()
}
