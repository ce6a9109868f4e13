//! `agent log-time`: work on an issue, from the command line.

use std::process::ExitCode;

use clap_complete::engine::ArgValueCompleter;

use super::here::{self, Here};
use super::{Context, show};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  agent log-time ABC-12 1h 30m looked into it\n  agent log-time 2h            on the issue that the branch is named after\n\nWithout Jira the entry waits in the queue, and is made once as soon as Jira can be reached."
)]
pub struct Arguments {
    /// The issue, how long, and what was done; without a key, the issue that the branch is named after
    #[arg(required = true, trailing_var_arg = true, add = ArgValueCompleter::new(here::keys_like))]
    words: Vec<String>,
    /// The site; default: that of the repository's account, or the only one
    #[arg(long)]
    site: Option<String>,
}

pub fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let here = Here::new(context, arguments.site.as_deref())?;
    let (key, words) = match &arguments.words[..] {
        [first, rest @ ..] if first.contains('-') && !first.starts_with(|c: char| c.is_ascii_digit()) => {
            (first.clone(), rest)
        }
        words => (here.keys(&[])?.remove(0), words),
    };
    anyhow::ensure!(!words.is_empty(), "how long? For example: agent log-time {key} 1h 30m");
    let said = here.order(&format!("{} #time {}", key.to_uppercase(), words.join(" ")))?;
    said.iter().for_each(show::line);
    Ok(ExitCode::SUCCESS)
}
