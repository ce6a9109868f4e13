//! `agent branch`: a branch for an issue, and `agent tidy`: those whose issues are done.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use clap_complete::engine::ArgValueCompleter;

use super::here::{self, Here, PATIENCE, git};
use super::issue::one_line;
use super::{Context, Exit, show};
use crate::issue::{Answer, Category, Issue, List};
use crate::team;
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
    let mut here = Here::new(context, arguments.site.as_deref())?;
    if let (Some(root), Some(git_dir)) = (here::work_tree(), here.git_dir.clone())
        && let Some(because) = team::apply(&mut here.config, &root, &git_dir)
    {
        show::note(format_args!("jira: {because}"));
    }
    let settings = &here.config.branch;
    anyhow::ensure!(settings.enabled, "branches are not made by the agent here (`enabled` of [branch])");
    here.needs_repository()?;
    let issue = match &arguments.key {
        Some(key) => named(&here, key)?,
        None => picked(&here)?,
    };
    let name = arguments.name.clone().unwrap_or_else(|| settings.name(&issue, &here.user()));
    // It answers the name itself, or what a shorthand such as `@{-1}` stands for, which nobody means here.
    let valid = git(&["check-ref-format", "--branch", &name])?;
    let is_valid = valid.status.success() && valid.stdout.trim_ascii_end() == name.as_bytes();
    anyhow::ensure!(is_valid, "Git takes no branch called {}", Untrusted::text(&name));
    let from = arguments.from.as_deref().map(commit).transpose()?;
    if arguments.dry_run {
        show::line(Untrusted::text(&name));
        return Ok(ExitCode::SUCCESS);
    }
    let full = format!("refs/heads/{name}");
    if git(&["show-ref", "--verify", "--quiet", &full])?.status.success() {
        anyhow::ensure!(from.is_none(), "{} exists already, so it cannot begin elsewhere", Untrusted::text(&name));
        run_git(&["switch", &name])?;
        show::line(format_args!("switched to {}, which was there", Untrusted::text(&name)));
    } else {
        let mut words = vec!["switch", "--no-track", "-c", &name];
        words.extend(from.as_deref());
        run_git(&words)?;
        show::line(format_args!("made {} and switched to it", Untrusted::text(&name)));
    }
    if arguments.push {
        run_git(&["push", "--set-upstream", "--", &arguments.remote, &format!("{full}:{full}")])?;
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
    here.needs_repository()?;
    let rules = here.rules()?;
    // One that is checked out, here or in another worktree, stays.
    let format = "--format=%(if)%(worktreepath)%(then)%(else)%(objectname) %(refname:lstrip=2)%(end)";
    let listed = run_git(&["for-each-ref", format, "refs/heads"])?;
    let branches: Vec<(&str, &str, Vec<String>)> = listed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(id, name)| {
            let keys = rules.branch(name.as_bytes()).keys;
            (name, id, keys.iter().map(|found| found.key.to_string()).collect())
        })
        .filter(|(_, _, keys): &(&str, &str, Vec<String>)| !keys.is_empty())
        .collect();
    let mut keys: Vec<String> = branches.iter().flat_map(|(_, _, keys)| keys.clone()).collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        show::line("no other branch is named after an issue");
        return Ok(ExitCode::SUCCESS);
    }
    let told = here.ask(&keys, List::None, PATIENCE)?;
    let of = |key: &String| told.about.iter().find(|about| about.key == *key).map(|about| &about.answer);
    let (mut done, mut failed) = (0, false);
    for (name, id, keys) in &branches {
        let answers: Vec<Option<&Answer>> = keys.iter().map(of).collect();
        let is_done =
            |answer: &Option<&Answer>| matches!(answer, Some(Answer::Found(issue)) if issue.category == Category::Done);
        let states: Vec<String> = keys.iter().zip(&answers).map(|(key, answer)| state(key, *answer)).collect();
        let states = states.join(", ");
        let shown = Untrusted::text(name);
        if !answers.iter().all(is_done) {
            show::line(format_args!("  open    {shown}  {states}"));
            continue;
        }
        done += 1;
        let merged = is_merged(name)?;
        if arguments.delete && (merged || arguments.unmerged) {
            match run_git(&["branch", "--quiet", "-D", "--", name]) {
                Ok(_) => show::line(format_args!("deleted   {shown}  {states}, it was {}", &id[..id.len().min(10)])),
                Err(error) => {
                    failed = true;
                    show::note(format_args!("{shown} stays: {error}"));
                }
            }
            continue;
        }
        let (word, merged) = if merged { ("done", "merged") } else { ("kept", "NOT merged") };
        show::line(format_args!("  {word}    {shown}  {states}, {merged}"));
    }
    if let Some(lacks) = &told.lacks {
        show::note(format_args!("{}; what is remembered was taken", Untrusted::text(lacks)));
    }
    if done > 0 && !arguments.delete {
        show::line("nothing was deleted; --delete deletes what is done and merged");
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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

/// The commit that a person names; what Git is then told is an id, and no word that it could take for an option.
fn commit(named: &str) -> anyhow::Result<String> {
    let found = git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{named}^{{commit}}")])?;
    anyhow::ensure!(found.status.success(), "there is no commit {}", Untrusted::text(named));
    Ok(String::from_utf8_lossy(found.stdout.trim_ascii()).into_owned())
}

/// Runs Git for the person, who sees what it says where it fails, and gives its answer.
fn run_git(words: &[&str]) -> anyhow::Result<String> {
    let output = git(words)?;
    let because = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "git {}: {}", words[0], because.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
