//! `agent log-time`: work on an issue, from the command line.

use std::process::ExitCode;

use clap_complete::engine::ArgValueCompleter;

use super::here::{self, Here};
use super::{Context, show};
use crate::parse::Order;

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
    // A key is known by its form, so that a mistake in one is not taken for a comment on another issue.
    let (key, words) = match &arguments.words[..] {
        [first, rest @ ..] if first.contains('-') && !first.starts_with(|c: char| c.is_ascii_digit()) => {
            (here.keys(std::slice::from_ref(first))?.remove(0), rest)
        }
        words => (here.keys(&[])?.remove(0), words),
    };
    anyhow::ensure!(!words.is_empty(), "how long? For example: agent log-time {key} 1h 30m");
    let order = format!("{key} #time {}", words.join(" ").split_whitespace().collect::<Vec<_>>().join(" "));
    // Whoever logs time means that and nothing else, whatever stands in their comment.
    let read = here.config.typing(here.site()?)?.message(order.as_bytes());
    let is_whole = |read: &Order| read.at.end == order.len();
    anyhow::ensure!(
        read.orders.len() <= 1 && read.orders.iter().all(is_whole),
        "a part of the comment reads as another order; write it without # and without keys"
    );
    let said = here.order(&order)?;
    said.iter().for_each(show::line);
    Ok(ExitCode::SUCCESS)
}
