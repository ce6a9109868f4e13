//! `agent branch`: a branch for an issue, and `agent tidy`: those whose issues are done.

use std::io::{BufRead, IsTerminal, Write};
use std::process::{Command, ExitCode, Output};

use clap_complete::engine::ArgValueCompleter;

use super::here::{self, Here, PATIENCE};
use super::issue::one_line;
use super::{Context, Exit, show};
use crate::issue::{Answer, Category, Issue, List};
use crate::text::Untrusted;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  agent branch                       picks from your open issues\n  agent branch ABC-12                makes ABC-12-the-summary and switches to it\n  agent branch ABC-12 --from v2.1 --push --start\n\nThe name is made by `template` of [branch] in the configuration."
)]
pub struct Arguments {
    /// The issue; without one your open issues are shown to pick from
    #[arg(add = ArgValueCompleter::new(here::keys_like))]
    key: Option<String>,
    /// Where the branch begins; default: the commit that is checked out
    #[arg(long, value_name = "REF")]
    from: Option<String>,
    /// Call it this instead of what the template says
    #[arg(long)]
    name: Option<String>,
    /// Push it and follow it
    #[arg(long)]
    push: bool,
    /// The remote to push to
    #[arg(long, default_value = "origin", requires = "push")]
    remote: String,
    /// Move the issue (`start` of [branch], else In Progress) and assign it to yourself
    #[arg(long)]
    start: bool,
    /// Do nothing about the issue, whatever [branch] says
    #[arg(long, conflicts_with = "start")]
    no_start: bool,
    /// Print the name and make nothing
    #[arg(long)]
    dry_run: bool,
    /// The site; default: that of the repository's account, or the only one
    #[arg(long)]
    site: Option<String>,
}

#[derive(clap::Args)]
#[command(
    after_help = "Nothing is deleted without --delete. What is not merged stays, unless --unmerged is given; the commits of a\ndeleted branch are printed, so that `git branch NAME COMMIT` brings it back."
)]
pub struct Tidy {
    /// Delete the branches that are shown as done and merged
    #[arg(long)]
    delete: bool,
    /// Delete those too that are not merged
    #[arg(long, requires = "delete")]
    unmerged: bool,
    /// The site; default: that of the repository's account, or the only one
    #[arg(long)]
    site: Option<String>,
}

/// The status to move to where the configuration names no transition.
const START: &str = "in-progress";

pub fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let here = Here::new(context, arguments.site.as_deref())?;
    let settings = &here.config.branch;
    anyhow::ensure!(settings.enabled, "branches are not made by the agent here (`enabled` of [branch])");
    here.repository()?;
    let issue = match &arguments.key {
        Some(key) => named(&here, key)?,
        None => picked(&here)?,
    };
    let name = arguments.name.clone().unwrap_or_else(|| settings.name(&issue, &here.user()));
    let valid = git(&["check-ref-format", "--branch", &name])?;
    anyhow::ensure!(valid.status.success(), "Git takes no branch called {}", Untrusted::text(&name));
    if arguments.dry_run {
        show::line(Untrusted::text(&name));
        return Ok(ExitCode::SUCCESS);
    }
    let full = format!("refs/heads/{name}");
    if git(&["show-ref", "--verify", "--quiet", &full])?.status.success() {
        anyhow::ensure!(arguments.from.is_none(), "{name} exists already, so it cannot begin at another place");
        run_git(&["switch", &name])?;
        show::line(format_args!("switched to {}, which was there", Untrusted::text(&name)));
    } else {
        let mut words = vec!["switch", "--no-track", "-c", &name];
        words.extend(arguments.from.as_deref());
        run_git(&words)?;
        show::line(format_args!("made {} and switched to it", Untrusted::text(&name)));
    }
    if arguments.push {
        run_git(&["push", "--set-upstream", &arguments.remote, &name])?;
    }
    let transition = match (&settings.start, arguments.start) {
        _ if arguments.no_start => None,
        (Some(start), _) => Some(start.as_str()),
        (None, true) => Some(START),
        (None, false) => None,
    };
    let assign = !arguments.no_start && (settings.assign || arguments.start);
    begin(&here, &issue, transition, assign);
    Ok(ExitCode::SUCCESS)
}

pub fn tidy(arguments: &Tidy, context: &Context) -> anyhow::Result<ExitCode> {
    let here = Here::new(context, arguments.site.as_deref())?;
    here.repository()?;
    let rules = here.rules()?;
    let current = here.branch();
    let listed = git(&["for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads"])?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let branches: Vec<(&str, &str, Vec<String>)> = text
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, id)| {
            let keys = rules.branch(name.as_bytes()).keys;
            (name, id, keys.iter().map(|found| found.key.to_string()).collect())
        })
        .filter(|(name, _, keys): &(&str, &str, Vec<String>)| !keys.is_empty() && current.as_deref() != Some(*name))
        .collect();
    let mut keys: Vec<String> = branches.iter().flat_map(|(_, _, keys)| keys.clone()).collect();
    keys.sort();
    keys.dedup();
    if keys.is_empty() {
        show::line("no other branch is named after an issue");
        return Ok(ExitCode::SUCCESS);
    }
    let told = here.ask(&keys, List::None, PATIENCE)?;
    let of = |key: &String| told.about.iter().find(|about| about.key == *key).map(|about| &about.answer);
    let (mut done, mut kept) = (0, 0);
    for (name, id, keys) in &branches {
        let answers: Vec<Option<&Answer>> = keys.iter().map(of).collect();
        let is_done =
            |answer: &Option<&Answer>| matches!(answer, Some(Answer::Found(issue)) if issue.category == Category::Done);
        let states: Vec<String> = keys.iter().zip(&answers).map(|(key, answer)| state(key, *answer)).collect();
        let states = states.join(", ");
        if !answers.iter().all(is_done) {
            show::line(format_args!("  open    {}  {states}", Untrusted::text(name)));
            continue;
        }
        done += 1;
        let merged = is_merged(name)?;
        match (arguments.delete, merged || arguments.unmerged) {
            (true, true) => {
                run_git(&["branch", "--quiet", "-D", name])?;
                show::line(format_args!(
                    "deleted   {}  {states}, it was {}",
                    Untrusted::text(name),
                    &id[..id.len().min(10)]
                ));
            }
            (_, may) => {
                kept += 1;
                let why = if merged { "merged" } else { "NOT merged" };
                let word = if may || merged { "done" } else { "kept" };
                show::line(format_args!("  {word}    {}  {states}, {why}", Untrusted::text(name)));
            }
        }
    }
    if let Some(lacks) = &told.lacks {
        show::note(format_args!("{}; what is remembered was taken", Untrusted::text(lacks)));
    }
    if done > 0 && kept > 0 && !arguments.delete {
        show::line("nothing was deleted; --delete deletes what is done and merged");
    }
    Ok(ExitCode::SUCCESS)
}

/// The issue as far as it is known; a branch needs no more than its key.
fn named(here: &Here, key: &str) -> anyhow::Result<Issue> {
    let key = key.to_uppercase();
    let read = here.rules()?.branch(key.as_bytes());
    anyhow::ensure!(
        read.keys.len() == 1 && read.keys[0].key.as_str() == key,
        "{} is no issue key of this site",
        Untrusted::text(&key)
    );
    let told = match here.ask(std::slice::from_ref(&key), List::None, PATIENCE) {
        Ok(told) => told,
        Err(error) => {
            show::note(format_args!("the branch gets no words of the summary: {error}"));
            return Ok(Issue { key, ..Issue::default() });
        }
    };
    match told.about.into_iter().next().map(|about| about.answer) {
        Some(Answer::Found(issue)) => Ok(*issue),
        Some(Answer::Missing { .. }) => anyhow::bail!("Jira has no issue {key}, or your account may not see it"),
        Some(Answer::Unknown { because }) => {
            show::note(format_args!("the branch gets no words of the summary: {}", Untrusted::text(&because)));
            Ok(Issue { key, ..Issue::default() })
        }
        None => Ok(Issue { key, ..Issue::default() }),
    }
}

/// One of the person's own open issues.
fn picked(here: &Here) -> anyhow::Result<Issue> {
    let told = here.ask(&[], List::Mine, PATIENCE)?;
    if let Some(lacks) = &told.lacks {
        show::note(format_args!("{}; this is what is remembered", Untrusted::text(lacks)));
    }
    anyhow::ensure!(!told.about.is_empty(), "no open issue is assigned to you; give a key: agent branch ABC-12");
    for (number, about) in told.about.iter().enumerate() {
        show::line(format_args!("{:>3}  {}", number + 1, one_line(about)));
    }
    if !std::io::stdin().is_terminal() {
        return Err(Exit { code: 2, because: "which one? Give its key: agent branch KEY".to_owned() }.into());
    }
    let _ = write!(std::io::stderr().lock(), "number: ");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let chosen = line.trim().parse::<usize>().ok().and_then(|number| told.about.get(number.checked_sub(1)?));
    match chosen.map(|about| &about.answer) {
        Some(Answer::Found(issue)) => Ok((**issue).clone()),
        _ => anyhow::bail!("that is none of the numbers; nothing was made"),
    }
}

/// Moves the issue and assigns it. The branch is made whatever comes of that.
fn begin(here: &Here, issue: &Issue, transition: Option<&str>, assign: bool) {
    let mut orders = String::new();
    if assign {
        orders.push_str(" #assign me");
    }
    if let Some(transition) = transition {
        orders.push_str(&format!(" #{}", transition.trim().to_lowercase().replace(' ', "-")));
    }
    if orders.is_empty() {
        return;
    }
    match here.order(&format!("{}{orders}", issue.key)) {
        Ok(said) => said.iter().for_each(show::line),
        Err(error) => show::note(format_args!("nothing was done about {}: {error}", issue.key)),
    }
}

fn state(key: &str, answer: Option<&Answer>) -> String {
    match answer {
        Some(Answer::Found(issue)) => format!("{key} {}", Untrusted::text(&issue.status)),
        Some(Answer::Missing { .. }) => format!("{key} is not in Jira"),
        Some(Answer::Unknown { .. }) | None => format!("{key} is not known"),
    }
}

/// Whether a branch has nothing that the commit checked out, or what it follows, has not.
fn is_merged(name: &str) -> anyhow::Result<bool> {
    let full = format!("refs/heads/{name}");
    let inside = |of: &str| git(&["merge-base", "--is-ancestor", &full, of]).map(|output| output.status.success());
    Ok(inside("HEAD")?
        || inside(&format!("{full}@{{upstream}}")).unwrap_or(false)
        || inside("refs/remotes/origin/HEAD")?)
}

fn git(words: &[&str]) -> anyhow::Result<Output> {
    Ok(Command::new("git").args(words).output()?)
}

/// Runs Git for the person, who sees what it says where it fails.
fn run_git(words: &[&str]) -> anyhow::Result<()> {
    let output = git(words)?;
    anyhow::ensure!(output.status.success(), "git {}: {}", words[0], String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
