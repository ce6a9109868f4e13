//! `agent sync`: the history of repositories, told to Jira.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::{Context, admin, show};
use crate::clock;
use crate::config::Config;
use crate::git::{self, Oid, Repository};
use crate::host;
use crate::parse::IssueKey;
use crate::queue::{Bounds, Control, RunRow};
use crate::serve::history::{Controlled, Start, Started};
use crate::serve::{Changed, Status};
use crate::sync::Links;
use crate::sync::history::History;
use crate::text::Untrusted;

use show::Paint;

#[derive(clap::Subcommand)]
pub enum Word {
    /// Tell Jira the history of repositories, or of all of an account that are known; commands in it are not carried out
    Start {
        #[command(flatten)]
        which: Which,
        /// Every repository of this account that is known
        #[arg(long, conflicts_with = "repositories")]
        account: Option<String>,
        #[command(flatten)]
        window: Window,
        /// Count commits and requests, and tell nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show how far each is, and how the last ones ended
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Show it again every second until all are through
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },
    /// Let it rest where it is
    Pause(Open),
    /// Let it go on where it was
    Resume(Open),
    /// End it; what Jira was told stays
    Cancel(Open),
}

#[derive(clap::Args)]
pub struct Which {
    /// Repositories; default: the one we are in
    repositories: Vec<PathBuf>,
}

#[derive(clap::Args)]
pub struct Open {
    #[command(flatten)]
    which: Which,
    /// All that are open
    #[arg(long, conflicts_with = "repositories")]
    all: bool,
}

#[derive(clap::Args)]
pub struct Window {
    /// Only commits since this day (such as 2026-01-31)
    #[arg(long, value_name = "DATE", value_parser = day)]
    since: Option<i64>,
    /// Only so many of the newest commits
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    depth: Option<u64>,
    /// Only what names this issue, also what Jira was told already
    #[arg(long, value_name = "KEY")]
    issue: Option<IssueKey>,
}

pub fn run(word: Word, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    match word {
        Word::Start { which, account, window, dry_run } => {
            let issue = window.issue.map(|key| key.to_string());
            let bounds = Bounds { since: window.since, depth: window.depth, issue };
            let repositories = match &account {
                Some(_) => Vec::new(),
                None => which.git_dirs()?,
            };
            if dry_run {
                let repositories = match &account {
                    Some(name) => known_of(&config, &admin::get(&places, "/status", &())?, name)?,
                    None => repositories,
                };
                return count(&config, &repositories, &bounds);
            }
            let text = |path: PathBuf| path.into_os_string().into_string();
            let repositories = repositories.into_iter().map(text).collect::<Result<_, _>>();
            let repositories = repositories.map_err(|path| anyhow::anyhow!("{path:?} is not a path in UTF-8"))?;
            let asked = Start { repositories, account, bounds };
            let started: Started = admin::post(&places, "/sync/start", &asked)?;
            started.begun.iter().for_each(|path| show::line(format_args!("begun: {}", Untrusted::text(path))));
            started.refused.iter().for_each(|because| show::note(Untrusted::text(because)));
            if !started.begun.is_empty() {
                show::line("`agent sync status --watch` shows how far it is");
            }
            Ok(if started.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Word::Status { json, watch } => {
            let mut runs: Vec<RunRow> = admin::get(&places, "/sync", &())?;
            if json {
                return show::json(&runs).map(|()| ExitCode::SUCCESS);
            }
            let paint = Paint::new(context.environment.no_color);
            print(&runs, paint);
            while watch && runs.iter().any(|run| matches!(run.state.as_str(), "waiting" | "running")) {
                std::thread::sleep(Duration::from_secs(1));
                runs = admin::get(&places, "/sync", &())?;
                if std::io::stdout().is_terminal() {
                    show::bytes(b"\x1b[H\x1b[2J");
                }
                print(&runs, paint);
            }
            let failed = runs.iter().any(|run| run.state == "failed");
            Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Word::Pause(some) => control(&places, &some, Control::Pause, "paused"),
        Word::Resume(some) => control(&places, &some, Control::Resume, "resumed"),
        Word::Cancel(some) => control(&places, &some, Control::Cancel, "cancelled"),
    }
}

/// A run as one line: where, how it stands, how far it is and how long it will take.
pub fn one_line(run: &RunRow) -> String {
    let mut line = format!("history of {}: {}", Untrusted::text(&run.path), run.state);
    if let Some(total) = run.total {
        let part = (run.read * 100).checked_div(total).unwrap_or(100).min(100);
        line += &format!(", {} of {total} commits read ({part} %), {} name an issue", run.read, run.keyed);
        line += &format!(", {} were news, {} still to be told", run.owed, run.due);
        if run.parked > 0 {
            line += &format!(", {} parked", run.parked);
        }
        let per_second = (run.read * 1000).checked_div(run.worked_ms.unsigned_abs()).unwrap_or_default();
        if run.state == "running" && per_second > 0 {
            let left = total.saturating_sub(run.read) * 1000 / per_second;
            line += &format!("; {per_second} commits/s, {} left", clock::span(left.cast_signed()));
        }
    }
    if let Some(at) = run.ended_at {
        line += &format!("; ended {}", clock::show(at));
    }
    if run.errors > 0 {
        line += &format!("; {} errors", run.errors);
    }
    if let Some(note) = &run.note {
        line += &format!(": {}", Untrusted::text(note));
    }
    line
}

fn print(runs: &[RunRow], paint: Paint) {
    if runs.is_empty() {
        show::line("no history was told yet: `agent sync start` tells that of a repository");
    }
    for run in runs {
        let line = one_line(run);
        show::line(match run.state.as_str() {
            "failed" => paint.bad(line),
            "done" if run.errors == 0 => paint.good(line),
            _ if run.errors > 0 => paint.warn(line),
            _ => line,
        });
    }
}

fn control(places: &crate::config::Places, some: &Open, what: Control, became: &str) -> anyhow::Result<ExitCode> {
    let mut changed = 0;
    let mut control = |repository| -> anyhow::Result<()> {
        let done: Changed = admin::post(places, "/sync/control", &Controlled { what, repository })?;
        changed += done.changed;
        Ok(())
    };
    if some.all {
        control(None)?;
    } else {
        for git_dir in some.which.git_dirs()? {
            let id = Repository::open(&git_dir)?.id().map(str::to_owned);
            let id = id.ok_or_else(|| anyhow::anyhow!("{} has no id: no hooks of ours are in it", git_dir.display()));
            control(Some(id?))?;
        }
    }
    show::line(format_args!("{changed} {became}"));
    Ok(ExitCode::SUCCESS)
}

impl Which {
    fn git_dirs(&self) -> anyhow::Result<Vec<PathBuf>> {
        let here = if self.repositories.is_empty() { vec![std::env::current_dir()?] } else { Vec::new() };
        self.repositories.iter().chain(&here).map(|path| Ok(host::find_git_dir(path)?)).collect()
    }
}

/// The repositories of an account that the daemon knows.
fn known_of(config: &Config, status: &Status, name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let account = config.account.iter().find(|account| account.name == name);
    let account = account.ok_or_else(|| anyhow::anyhow!("there is no account called {name}"))?;
    let paths = status.repositories.iter().map(|one| PathBuf::from(&one.path));
    Ok(paths.filter(|path| account.covers(path)).collect())
}

/// Counts what a synchronisation would read and tell.
fn count(config: &Config, repositories: &[PathBuf], bounds: &Bounds) -> anyhow::Result<ExitCode> {
    let (mut all, mut whole) = ([0; 3], true);
    for path in repositories {
        match count_one(config, path, bounds) {
            Ok(counts) => {
                show::line(line_of(&path.display().to_string(), counts));
                all.iter_mut().zip(counts).for_each(|(all, count)| *all += count);
            }
            Err(error) => {
                whole = false;
                show::note(format_args!("{}: {error:#}", path.display()));
            }
        }
    }
    if repositories.len() > 1 {
        show::line(line_of(&format!("{} repositories", repositories.len()), all));
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line_of(what: &str, [commits, keyed, requests]: [u64; 3]) -> String {
    format!("{}: {commits} commits, {keyed} name an issue, {requests} requests at most", Untrusted::text(what))
}

fn count_one(config: &Config, path: &Path, bounds: &Bounds) -> anyhow::Result<[u64; 3]> {
    let unlinked = || config.keeps_out(path).unwrap_or_else(|| "it lies in no account".to_owned());
    let link = config.link_of(path).ok_or_else(|| anyhow::anyhow!(unlinked()))?;
    let site = link.site.ok_or_else(|| anyhow::anyhow!("no site is linked to its account"))?;
    let repository = Repository::open(path)?.hiding(link.account.hidden());
    let mut tips: Vec<Oid> =
        repository.refs()?.into_iter().filter(|(name, _)| git::concerns_us(name)).map(|(_, id)| id).collect();
    tips.sort_unstable();
    tips.dedup();
    let links = Links::of(Arc::new(config.rules(Some(link))?));
    let account = link.account;
    let (links, home) = (Links { ignores_merges: account.ignore_merges, ..links }, account.home(path, &site.url));
    let history = History { repository: &repository, tips: &tips, bounds, links: &links, home: &home };
    let (commits, keyed) = history.count_keyed()?;
    Ok([commits, keyed, keyed.div_ceil(400)])
}

/// The beginning of a day in UTC, in seconds.
fn day(text: &str) -> Result<i64, String> {
    let at = format!("{text}T00:00:00Z").parse::<jiff::Timestamp>();
    at.map(jiff::Timestamp::as_second).map_err(|_| "a day such as 2026-01-31".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h5_a_window_begins_with_a_day() {
        assert_eq!(day("1970-01-02"), Ok(86_400));
        assert!(day("yesterday").unwrap_err().contains("2026-01-31"));
    }

    #[test]
    fn h9_progress_says_how_fast_it_is_and_how_long_it_will_take() {
        let run = RunRow {
            path: "/srv/git/tool.git".to_owned(),
            state: "running".to_owned(),
            total: Some(10_000),
            read: 2500,
            keyed: 2000,
            worked_ms: 5000,
            ..RunRow::default()
        };
        let line = one_line(&run);
        assert!(line.contains("2500 of 10000 commits read (25 %)"), "{line}");
        assert!(line.ends_with("500 commits/s, 15 s left"), "{line}");
    }
}
