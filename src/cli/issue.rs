//! `agent issue` and `agent open`: what an issue is, and its page.

use std::process::{Command, ExitCode, Stdio};

use clap_complete::engine::ArgValueCompleter;
use serde_json::json;

use super::here::{self, Here, PATIENCE};
use super::{Context, show};
use crate::clock;
use crate::issue::{About, Answer, Issue, List};
use crate::text::Untrusted;

#[derive(clap::Args)]
pub struct Arguments {
    /// Keys; default: those that the branch is named after
    #[arg(add = ArgValueCompleter::new(here::keys_like))]
    keys: Vec<String>,
    /// Your own issues that are not done
    #[arg(long, conflicts_with = "keys")]
    mine: bool,
    /// The issues that are remembered; Jira is not asked
    #[arg(long, conflicts_with_all = ["keys", "mine"])]
    known: bool,
    /// The site; default: that of the repository's account, or the only one
    #[arg(long)]
    site: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct Open {
    /// The key; default: that of the branch
    #[arg(add = ArgValueCompleter::new(here::keys_like))]
    key: Option<String>,
    /// Print the address and open nothing
    #[arg(long)]
    print: bool,
    /// The site; default: that of the repository's account, or the only one
    #[arg(long)]
    site: Option<String>,
}

pub fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let here = Here::new(context, arguments.site.as_deref())?;
    let told = match () {
        () if arguments.mine => here.ask(&[], List::Mine, PATIENCE)?,
        () if arguments.known => here.ask(&[], List::Remembered, std::time::Duration::ZERO)?,
        () => here.ask(&here.keys(&arguments.keys)?, List::None, PATIENCE)?,
    };
    if arguments.json {
        let all: Vec<_> = told.about.iter().map(as_json).collect();
        show::json(&all)?;
    } else {
        for about in &told.about {
            show::line(one_line(about));
            if let (Answer::Found(issue), false) = (&about.answer, arguments.mine || arguments.known) {
                show::line(format_args!("  {}", here.address(&issue.key)?));
            }
        }
    }
    let unknown = told.about.iter().any(|about| !matches!(about.answer, Answer::Found(_)));
    if let Some(lacks) = told.lacks.as_ref().filter(|_| !unknown) {
        show::note(format_args!("{}; this is what is remembered", Untrusted::text(lacks)));
    }
    let nothing = told.about.is_empty() && told.lacks.is_some();
    Ok(if unknown || nothing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub fn open(arguments: &Open, context: &Context) -> anyhow::Result<ExitCode> {
    let here = Here::new(context, arguments.site.as_deref())?;
    let keys = here.keys(arguments.key.as_slice())?;
    let address = here.address(&keys[0])?;
    if arguments.print || !opened(&address, context) {
        show::line(address);
    }
    Ok(ExitCode::SUCCESS)
}

/// What there is to say about an issue, in a line.
pub fn one_line(about: &About) -> String {
    match &about.answer {
        Answer::Found(issue) => {
            let moved = if issue.key.eq_ignore_ascii_case(&about.key) {
                String::new()
            } else {
                format!(" (was {})", Untrusted::text(&about.key))
            };
            let assignee = issue.assignee.as_ref().map_or("nobody", |assignee| &assignee.name);
            format!(
                "{}{moved}  {}, {}, {}  {}{}",
                Untrusted::text(&issue.key),
                Untrusted::text(&issue.kind),
                Untrusted::text(&issue.status),
                Untrusted::text(assignee),
                Untrusted::text(&issue.summary),
                age(issue)
            )
        }
        Answer::Missing { .. } => {
            format!("{}  Jira has no such issue, or your account may not see it", Untrusted::text(&about.key))
        }
        Answer::Unknown { because } => {
            format!("{}  Jira could not be asked: {}", Untrusted::text(&about.key), Untrusted::text(because))
        }
    }
}

/// Says when it was seen, where that is a while ago.
fn age(issue: &Issue) -> String {
    if clock::now() - issue.seen < 120_000 { String::new() } else { format!("  (as of {})", clock::show(issue.seen)) }
}

fn as_json(about: &About) -> serde_json::Value {
    match &about.answer {
        Answer::Found(issue) => json!({ "asked": about.key, "found": true, "issue": issue }),
        Answer::Missing { seen } => json!({ "asked": about.key, "found": false, "seen": seen }),
        Answer::Unknown { because } => json!({ "asked": about.key, "found": null, "because": because }),
    }
}

/// Has the person's own browser open a page, if one can be found.
fn opened(address: &str, context: &Context) -> bool {
    let chosen = context.environment.browser.clone().filter(|browser| !browser.is_empty());
    let openers = chosen.into_iter().chain(["xdg-open", "open", "wslview"].map(Into::into));
    for opener in openers {
        let mut command = Command::new(&opener);
        command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if command.status().is_ok_and(|status| status.success()) {
            return true;
        }
    }
    false
}
