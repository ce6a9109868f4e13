//! `agent parse`: what a message would do, without doing it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::json;

use super::{Context, show};
use crate::config::Config;
use crate::git::{Oid, Repository};
use crate::host;
use crate::parse::{Mentions, Mode, Rules, strict};
use crate::receive::message::meaning;
use crate::text::Untrusted;

#[derive(clap::Args)]
pub struct Arguments {
    /// A commit or a range of commits; default: the message on standard input
    commit: Option<String>,
    /// Answer as Jira's DVCS connector does
    #[arg(long)]
    strict: bool,
    /// Messages on standard input end with NUL
    #[arg(short = 'z')]
    nul: bool,
    /// Print one JSON object for each message
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let git_dir = host::find_git_dir(Path::new("."));
    let rules = rules(arguments, context, git_dir.as_deref().ok())?;
    for message in messages(arguments, git_dir)? {
        match (arguments.json, arguments.strict) {
            (true, true) => show::line(serde_json::to_string(&strict::message(&message))?),
            (true, false) => show::line(serde_json::to_string(&as_json(&rules.message(&message), &rules, &message))?),
            (false, _) => explain(&rules.message(&message), &rules, &message),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The rules of the configuration, or the built-in ones where there is none yet.
fn rules(arguments: &Arguments, context: &Context, git_dir: Option<&Path>) -> anyhow::Result<Rules> {
    let path = context.config_path();
    let config = if path.exists() { Config::load(&path)? } else { Config::default() };
    let mut settings = config.parse.clone();
    if arguments.strict {
        settings.mode = Mode::Strict;
    }
    let config = Config { parse: settings, ..config };
    if let Some(because) = git_dir.and_then(|git_dir| config.keeps_out(git_dir)) {
        show::note(Untrusted::text(&because));
    }
    Ok(match git_dir.and_then(|git_dir| config.link_of(git_dir)) {
        Some(link) => config.rules(Some(link))?,
        None => config.rules_at(config.site.first())?,
    })
}

fn messages(arguments: &Arguments, git_dir: Result<PathBuf, host::Error>) -> anyhow::Result<Vec<Vec<u8>>> {
    if let Some(commits) = &arguments.commit {
        let repository = Repository::open(&git_dir?)?;
        return resolve(commits)?.into_iter().map(|id| Ok(repository.commit(id)?.message)).collect();
    }
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input)?;
    if !arguments.nul {
        return Ok(vec![input]);
    }
    let mut messages: Vec<Vec<u8>> = input.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    if messages.last().is_some_and(Vec::is_empty) {
        messages.pop();
    }
    Ok(messages)
}

/// The commits that a person names in Git's own ways: one, or a range such as `HEAD~3..`.
pub fn resolve(commits: &str) -> anyhow::Result<Vec<Oid>> {
    let mut git = Command::new("git");
    git.args(["rev-list", "--reverse"]);
    if !commits.contains("..") {
        git.arg("--no-walk");
    }
    let output = git.args(["--end-of-options", commits, "--"]).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    String::from_utf8_lossy(&output.stdout).lines().map(|line| Ok(line.parse()?)).collect()
}

fn as_json(mentions: &Mentions, rules: &Rules, message: &[u8]) -> serde_json::Value {
    let reasons: Vec<_> = mentions.rejected.iter().map(|look| rules.says(look.because)).collect();
    let refusals: Vec<_> = mentions.refused.iter().map(|refused| refused.because.to_string()).collect();
    json!({ "mentions": mentions, "rejected_because": reasons, "refused_because": refusals, "bytes": message.len() })
}

pub fn explain(mentions: &Mentions, rules: &Rules, message: &[u8]) {
    let subject = message.split(|byte| *byte == b'\n').next().unwrap_or_default();
    show::line(format_args!("{}", Untrusted(subject)));
    for found in &mentions.keys {
        show::line(format_args!("  links {} (bytes {}-{})", found.key, found.at.start, found.at.end));
    }
    if mentions.beyond > 0 {
        show::line(format_args!("  {} keys past the first 100 link nothing", mentions.beyond));
    }
    for order in &mentions.orders {
        show::line(format_args!("  on {}: {}", order.key, meaning(&order.verb)));
    }
    for refused in &mentions.refused {
        let key = refused.key.as_ref().map(|key| format!("on {key}: ")).unwrap_or_default();
        show::line(format_args!("  {key}#{} is not done: {}", Untrusted::text(&refused.command), refused.because));
        if let Some(instead) = &refused.instead {
            show::line(format_args!("    this would have worked: {}", Untrusted::text(instead)));
        }
    }
    for look in &mentions.rejected {
        show::line(format_args!("  {} links nothing: {}", Untrusted::text(&look.text), rules.says(look.because)));
    }
    if mentions.keys.is_empty() && mentions.rejected.is_empty() {
        show::line("  no issue key");
    }
}
