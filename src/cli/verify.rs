//! `agent verify`: Jira laid beside Git.

use std::process::ExitCode;

use super::{Context, admin, show};
use crate::serve::{Compare, Compared, Difference};
use crate::text::Untrusted;

#[derive(clap::Args)]
pub struct Arguments {
    /// A repository's path or id; all of them where none is named
    repository: Option<String>,
    /// All repositories of this account
    #[arg(long, conflicts_with = "repository")]
    account: Option<String>,
    /// Tell Jira the difference, and nothing else
    #[arg(long)]
    repair: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let (_, places) = context.config()?;
    let named = arguments.repository.map(|named| match std::fs::canonicalize(&named) {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(_) => named,
    });
    let wanted = Compare { repository: named, account: arguments.account, repair: arguments.repair };
    let all: Vec<Compared> = admin::post_patiently(&places, "/verify", &wanted)?;
    match arguments.json {
        true => show::json(&all)?,
        false => all.iter().for_each(tell),
    }
    let differs = |one: &Compared| one.missing.count + one.stale.count + one.superfluous.count > one.repaired;
    let bad = all.iter().any(|one| one.trouble.is_some() || differs(one));
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn tell(one: &Compared) {
    let path = Untrusted::text(&one.path);
    show::line(format_args!("repository {path}"));
    for (site, count) in &one.elsewhere {
        show::line(format_args!(
            "  {count} are at site {site}, or queued for it, where it does not go any more: `agent forget {path} --site {site}` takes them out"
        ));
    }
    if let Some(trouble) = &one.trouble {
        return show::line(format_args!("  not compared: {}", Untrusted::text(trouble)));
    }
    show::line(format_args!("  {} told; {}", one.told, Untrusted::text(&one.asked)));
    for (what, difference) in [("missing", &one.missing), ("stale", &one.stale), ("superfluous", &one.superfluous)] {
        let Difference { count, first } = difference;
        let first = first.as_deref().map(|id| format!(", the first {}", Untrusted::text(id))).unwrap_or_default();
        show::line(format_args!("  {count} {what}{first}"));
    }
    if one.repaired > 0 {
        show::line(format_args!("  {} are told now", one.repaired));
    }
}
