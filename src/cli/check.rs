//! `agent check`: a message or commits laid beside the policy of the repository, before others do it.

use std::fmt::Write as _;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use serde_json::json;

use super::hook::{draft_with, replace, said_of_draft};
use super::judge::{Batch, Bench, Desk, PATIENCE, looks_like_a_merge};
use super::{Context, admin, show};
use crate::config::{Config, Places};
use crate::git::{Commit, RefName, Repository};
use crate::host;
use crate::parse::IssueKey;
use crate::policy::{Case, Finding, Level};
use crate::queue::{self, AuditRow};
use crate::serve::Key;
use crate::team;
use crate::text::Untrusted;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  agent check                     the message that Git keeps of the last commit, made or refused
  agent check --fix               puts the key in that is missing there; then git commit -F .git/COMMIT_EDITMSG
  agent check origin/main..       commits that are not pushed yet
  agent check --since 2.weeks     what the policy would have said of the past
  git log -1 --format=%B | agent check -")]
pub struct Arguments {
    /// A file with a message, `-` for standard input, a commit or a range; default: .git/COMMIT_EDITMSG
    what: Option<String>,
    /// Put the key of the branch, or one that is asked for, into a message that lacks it
    #[arg(long)]
    fix: bool,
    /// Try the policy on the commits of a branch since then, in any form that `git log --since` takes
    #[arg(long, value_name = "DATE")]
    since: Option<String>,
    /// The branch they are taken to come to; default: the one that is checked out
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// List the pushes that were let in against the policy, and why; asks the daemon
    #[arg(long, conflicts_with_all = ["what", "fix", "since"])]
    overrides: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    if arguments.overrides {
        return overrides(arguments.json, context);
    }
    let here = git_dir()?;
    let repository = Repository::open(&here)?;
    let (mut config, places) = config_of(&repository, context)?;
    if let Some(because) =
        super::here::work_tree().and_then(|root| team::apply(&mut config, &root, repository.common_dir()))
    {
        show::note(format_args!("jira: {because}"));
    }
    let policies = config.policies(repository.common_dir());
    let bench = Bench::new(&repository, &config, policies)?;
    let branch = match &arguments.branch {
        Some(name) => Some(RefName::new(format!("refs/heads/{}", name.trim_start_matches("refs/heads/")))),
        None => repository.head(),
    };
    let history = match (&arguments.since, arguments.what.as_deref()) {
        (Some(since), range) => Some(since_then(since, range)?),
        (None, Some("-")) => None,
        (None, Some(what)) if !what.contains("..") && Path::new(what).is_file() => None,
        (None, Some(range)) => Some(super::parse::resolve(range)?),
        (None, None) => None,
    };
    match history {
        Some(ids) => {
            anyhow::ensure!(
                !arguments.fix,
                "--fix is for a message that is no commit yet; git rebase -i rewords commits"
            );
            let commits = ids.into_iter().map(|id| repository.commit(id)).collect::<Result<Vec<_>, _>>()?;
            judge_commits(arguments, &bench, branch, commits, &places)
        }
        None => judge_message(arguments, &bench, branch.as_ref(), &here, context, &places),
    }
}

/// What the audit has of pushes that went against a policy.
fn overrides(json: bool, context: &Context) -> anyhow::Result<ExitCode> {
    let (_, places) = context.config()?;
    let key = Key { key: queue::OVERRIDES.to_owned() };
    let rows: Vec<AuditRow> = admin::get(&places, "/effects/audit", &key)?;
    if json {
        return show::json(&rows).map(|()| ExitCode::SUCCESS);
    }
    for row in rows {
        let at = jiff::Timestamp::from_millisecond(row.at)?;
        let mut lines = row.command.lines();
        let repository = lines.next().unwrap_or_default();
        show::line(format_args!(
            "{at:.0}  {}  {}: {}",
            Untrusted::text(&row.who),
            Untrusted::text(repository),
            Untrusted::text(&row.because)
        ));
        lines.for_each(|line| show::line(format_args!("  {}", Untrusted::text(line))));
    }
    Ok(ExitCode::SUCCESS)
}

/// Git's directory of the worktree we are in: each has a message of its own.
fn git_dir() -> anyhow::Result<PathBuf> {
    let told = Command::new("git").args(["rev-parse", "--absolute-git-dir"]).output();
    let told = told.ok().filter(|told| told.status.success());
    match told {
        Some(told) => Ok(PathBuf::from(String::from_utf8_lossy(&told.stdout).trim_end())),
        None => Ok(host::find_git_dir(&std::env::current_dir()?)?),
    }
}

/// The configuration that the hooks of this repository use.
fn config_of(repository: &Repository, context: &Context) -> anyhow::Result<(Config, Places)> {
    let chosen = host::config_of(repository).filter(|_| context.chosen.is_none());
    let path = chosen.unwrap_or_else(|| context.config_path());
    let config = Config::load(&path)?;
    let places = Places::new(&path, &config, &context.environment);
    Ok((config, places))
}

/// The commits of a branch since a date, oldest first.
fn since_then(since: &str, range: Option<&str>) -> anyhow::Result<Vec<crate::git::Oid>> {
    let mut git = Command::new("git");
    git.args(["rev-list", "--reverse"]).arg(format!("--since={since}"));
    let output = git.args(["--end-of-options", range.unwrap_or("HEAD"), "--"]).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    String::from_utf8_lossy(&output.stdout).lines().map(|line| Ok(line.parse()?)).collect()
}

fn judge_message(
    arguments: &Arguments,
    bench: &Bench<'_>,
    branch: Option<&RefName>,
    git_dir: &Path,
    context: &Context,
    places: &Places,
) -> anyhow::Result<ExitCode> {
    let (text, path) = match arguments.what.as_deref() {
        Some("-") => {
            let mut text = Vec::new();
            std::io::stdin().lock().read_to_end(&mut text)?;
            (text, None)
        }
        what => {
            let path = what.map_or_else(|| git_dir.join("COMMIT_EDITMSG"), PathBuf::from);
            let text = std::fs::read(&path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            (text, Some(path))
        }
    };
    // A file is what an editor left, with its comments.
    let desk = Desk::of(bench.repository, bench.config, path.is_some());
    let key = branch.and_then(|branch| bench.key_of(branch));
    let judge = |message: &[u8]| -> Vec<Finding> {
        let mentions = bench.rules.message(message);
        let questions = bench.policies.questions([&mentions]);
        let answers = bench.answers(&questions, places, Instant::now() + PATIENCE);
        let author = bench.somebody(&desk.ident(&context.environment.author));
        let committer = bench.somebody(&desk.ident(&context.environment.committer));
        let case = Case {
            id: None,
            message,
            mentions: &mentions,
            author: &author,
            committer: &committer,
            merge: bench.repository.is_merging() || looks_like_a_merge(message),
            paths: None,
            branch: branch.map(RefName::short),
            key_of_branch: key.as_ref(),
            branch_links: bench.rules.branch_links_commits(),
            pusher: Some(&committer),
        };
        bench.policies.judge(&case, &answers)
    };
    let mut message = desk.draft(&text).message();
    if arguments.fix {
        let lacks = bench.rules.message(&message).keys.is_empty();
        anyhow::ensure!(!message.is_empty(), "there is no message");
        if lacks {
            let key = key.clone().map_or_else(|| ask(bench), Ok)?;
            // What is left is a message without comments, for `git commit -F`.
            message = put(&desk, &message, &key)?;
        }
        match &path {
            Some(path) => {
                replace(path, &message)?;
                let path = path.display();
                let subject = message.split(|byte| *byte == b'\n').next().unwrap_or_default();
                show::line(format_args!("the message is “{}” now; to go on: git commit -F {path}", Untrusted(subject)));
            }
            None => show::bytes(&message),
        }
    }
    let findings = judge(&message);
    let blocks = findings.iter().any(|finding| finding.level == Level::Block);
    if arguments.json {
        show::line(serde_json::to_string_pretty(&findings.iter().map(as_json).collect::<Vec<_>>())?);
        return Ok(code(blocks));
    }
    if path.is_some() || !arguments.fix {
        super::parse::explain(&bench.rules.message(&message), &bench.rules, &message);
    }
    if !findings.is_empty() {
        let kept = path.unwrap_or_else(|| git_dir.join("COMMIT_EDITMSG"));
        let lines = said_of_draft(&findings, blocks, &kept);
        for finding in &findings {
            show::line(crate::policy::of(finding));
        }
        if blocks && arguments.what.as_deref() != Some("-") {
            for line in lines.iter().skip(1).filter(|line| line.contains("git commit")) {
                show::line(line);
            }
        }
    } else if !bench.policies.is_empty() {
        show::line("  the policy of this repository has nothing to say of it");
    } else {
        show::line("  no policy holds in this repository");
    }
    Ok(code(blocks))
}

/// The message with a key, where the clone wants one, else before the subject.
fn put(desk: &Desk, message: &[u8], key: &IssueKey) -> anyhow::Result<Vec<u8>> {
    draft_with(desk, message, key).ok_or_else(|| anyhow::anyhow!("there is no place for a key in this message"))
}

/// Asks for a key on the terminal.
fn ask(bench: &Bench<'_>) -> anyhow::Result<IssueKey> {
    let none = "the name of the branch has no key to put in; write it into the message, or name the branch after it";
    anyhow::ensure!(std::io::stdin().is_terminal(), "{none}");
    let _ = write!(std::io::stderr(), "Which issue is it for? ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    let found = bench.rules.message(answer.trim().to_uppercase().as_bytes()).keys.into_iter().next();
    found
        .map(|found| found.key)
        .ok_or_else(|| anyhow::anyhow!("{} is no key of an issue", Untrusted::text(answer.trim())))
}

fn judge_commits(
    arguments: &Arguments,
    bench: &Bench<'_>,
    branch: Option<RefName>,
    commits: Vec<Commit>,
    places: &Places,
) -> anyhow::Result<ExitCode> {
    let count = commits.len();
    let batch = [Batch { branch, commits }];
    let mut findings = bench.judge(&batch, None, places, Instant::now() + PATIENCE);
    // Who pushed the past is not known to anybody.
    findings.retain(|finding| !(finding.unknown && finding.rule == "committer"));
    let blocks = findings.iter().any(|finding| finding.level == Level::Block);
    if arguments.json {
        show::line(serde_json::to_string_pretty(&findings.iter().map(as_json).collect::<Vec<_>>())?);
        return Ok(code(blocks));
    }
    if bench.policies.is_empty() {
        show::line("no policy holds in this repository");
        return Ok(ExitCode::SUCCESS);
    }
    for row in table(&findings) {
        show::line(row);
    }
    let of = |level: Level| {
        let mut ids: Vec<_> = findings.iter().filter(|one| one.level == level).filter_map(|one| one.commit).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    };
    let (refused, warned) = (of(Level::Block), of(Level::Warn));
    let noun = if count == 1 { "commit" } else { "commits" };
    show::line(format_args!("{count} {noun}: {refused} would be refused, {warned} would be warned of"));
    Ok(code(blocks))
}

/// One row a finding, in columns, and one a rule below.
fn table(findings: &[Finding]) -> Vec<String> {
    if findings.is_empty() {
        return Vec::new();
    }
    let mut rows = vec![format!("{:<10}  {:<5}  {:<9}  {}", "commit", "level", "rule", "what")];
    for finding in findings {
        let id = finding.commit.map(|id| id.to_string()[..10].to_owned()).unwrap_or_default();
        let subject = Untrusted(&finding.subject).to_string();
        let subject: String = subject.chars().take(50).collect();
        let level = name(finding.level);
        rows.push(format!("{id:<10}  {level:<5}  {:<9}  “{subject}” {}", finding.rule, finding.because));
    }
    let mut rules: Vec<&str> = findings.iter().map(|finding| finding.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    let mut summary = String::new();
    for rule in rules {
        let number = findings.iter().filter(|finding| finding.rule == rule).count();
        let _ = write!(summary, "{}{rule} {number}", if summary.is_empty() { "" } else { ", " });
    }
    rows.push(format!("by rule: {summary}"));
    rows
}

fn as_json(finding: &Finding) -> serde_json::Value {
    json!({
        "rule": finding.rule,
        "level": finding.level,
        "commit": finding.commit.map(|id| id.to_string()),
        "subject": String::from_utf8_lossy(&finding.subject),
        "key": finding.key,
        "because": finding.because,
        "cure": finding.cure,
        "unknown": finding.unknown,
    })
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Off => "off",
        Level::Warn => "warn",
        Level::Block => "block",
    }
}

fn code(blocks: bool) -> ExitCode {
    if blocks { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
