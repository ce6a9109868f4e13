//! `agent forget`: a repository that is gone from the disk leaves Jira, or one that goes elsewhere leaves its former site.

use std::path::Path;
use std::process::ExitCode;

use super::{Context, admin, show};
use crate::git;
use crate::serve::{Changed, Forget, Repository, Status};
use crate::text::Untrusted;

#[derive(clap::Args)]
pub struct Arguments {
    /// Where it was, or its id: `agent status` names both
    repository: String,
    /// Only at this site, to which the repository does not go any more
    #[arg(long)]
    site: Option<String>,
}

pub fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    let status: Status = admin::get(&places, "/status", &())?;
    let found = chosen(&status.repositories, &arguments.repository)?;
    let path = Path::new(&found.path);
    let is_there = git::Repository::open(path).is_ok_and(|repository| repository.id() == Some(&found.id));
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let goes_to = config.link_of(&real).and_then(|link| link.site).map(|site| &site.name);
    match &arguments.site {
        Some(site) if is_there && goes_to == Some(site) => anyhow::bail!(
            "{} goes to site {site} still: a route leads it elsewhere, or `agent uninstall --forget` takes it out of Jira",
            path.display()
        ),
        Some(site) => anyhow::ensure!(
            config.site.iter().any(|one| one.name == *site),
            "there is no site called {site} in the configuration, so nothing can be taken out there"
        ),
        None => {
            anyhow::ensure!(
                !is_there,
                "{} is still there; `agent uninstall --forget` takes it out of Jira",
                path.display()
            );
        }
    }
    let forget = Forget { repository: found.id.clone(), site: arguments.site.clone() };
    let Changed { changed } = admin::post(&places, "/forget", &forget)?;
    show::line(format_args!("{changed} sites were told of {} and are to forget it", Untrusted::text(&found.path)));
    Ok(ExitCode::SUCCESS)
}

/// The one repository that has this id, or was at this path.
fn chosen<'a>(repositories: &'a [Repository], wanted: &str) -> anyhow::Result<&'a Repository> {
    let path = std::path::absolute(wanted)?;
    let fits = |it: &&Repository| it.id == wanted || Path::new(&it.path) == path;
    let found: Vec<&Repository> = repositories.iter().filter(fits).collect();
    match found[..] {
        [one] => Ok(one),
        [] => anyhow::bail!("no repository with an event has the id, or was at, {wanted}"),
        _ => {
            let ids: Vec<&str> = found.iter().map(|one| one.id.as_str()).collect();
            anyhow::bail!("{} repositories were at {wanted}; say which by its id: {}", ids.len(), ids.join(", "))
        }
    }
}
