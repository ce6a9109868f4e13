//! `agent relink`: what a commit or a branch is linked to, put right without rewriting history.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use super::{Context, admin, show};
use crate::git::Repository;
use crate::parse::IssueKey;
use crate::queue::{CorrectionRow, Relink};
use crate::serve::relink::{Of, Relinked, Wish};
use crate::text::Untrusted;
use crate::{clock, host, people};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  agent relink 1a2b3c4 --issue ABC-2               linked to ABC-2 alone, whatever its message says\n  \
    agent relink 1a2b3c4 --also ABC-2 --also ABC-3   linked to these as well\n  \
    agent relink 1a2b3c4 --unlink ABC-1              not linked to ABC-1\n  \
    agent relink 1a2b3c4 --unlink                    linked to nothing\n  \
    agent relink --branch fix --issue ABC-2          a branch, in place of a commit\n  \
    agent relink 1a2b3c4 --reset                     linked as its message says again\n  \
    agent relink --list                              all that was put right\n\n\
    It only links: commands are read from the message alone, and none is carried out or taken back.\n\
    It is kept: what is told again, or read anew by `agent sync start`, is linked the same way."
)]
pub struct Arguments {
    /// A commit: its id, the beginning of it, or another of Git's names for it
    #[arg(required_unless_present_any = ["branch", "list"], conflicts_with_all = ["branch", "list"])]
    commit: Option<String>,
    /// A branch, in place of a commit
    #[arg(long, value_name = "NAME", conflicts_with = "list")]
    branch: Option<String>,
    /// Link it to this issue, and to no others than are named so
    #[arg(long, value_name = "KEY", group = "wish")]
    issue: Vec<IssueKey>,
    /// Link it to this issue as well
    #[arg(long, value_name = "KEY", group = "wish")]
    also: Vec<IssueKey>,
    /// Do not link it to this issue; without a key: to none
    #[arg(long, value_name = "KEY", num_args = 0..=1, group = "wish")]
    unlink: Option<Vec<IssueKey>>,
    /// Link it as its message, or its name, says
    #[arg(long, group = "wish")]
    reset: bool,
    /// Show all that was put right
    #[arg(long, group = "wish")]
    list: bool,
    /// The repository; default: the one we are in, and with --list all
    #[arg(long, value_name = "PATH")]
    repo: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let (_, places) = context.config()?;
    if arguments.list {
        let repository = arguments.repo.as_deref().map(id_of).transpose()?;
        let rows: Vec<CorrectionRow> = admin::get(&places, "/relink", &Of { repository })?;
        match arguments.json {
            true => show::json(&rows)?,
            false => list(&rows),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let wish = arguments.wish().ok_or_else(|| {
        anyhow::anyhow!("how is it to be linked? --issue KEY, --also KEY, --unlink [KEY], or --reset")
    })?;
    let (kind, name) = match (&arguments.branch, &arguments.commit) {
        (Some(branch), _) => ("branch", branch),
        (None, Some(commit)) => ("commit", commit),
        (None, None) => anyhow::bail!("which commit? give its id, or --branch NAME"),
    };
    let git_dir = host::find_git_dir(arguments.repo.as_deref().unwrap_or(Path::new(".")))?;
    let name = match kind {
        "commit" if !name.bytes().all(|byte| byte.is_ascii_hexdigit()) => named(&git_dir, name)?,
        _ => name.clone(),
    };
    let repository = std::fs::canonicalize(&git_dir)?;
    let repository = repository.into_os_string().into_string();
    let repository = repository.map_err(|path| anyhow::anyhow!("{path:?} is not a path in UTF-8"))?;
    let who = people::user(rustix::process::getuid().as_raw());
    let wish = Wish { repository, kind: kind.to_owned(), name, wish, who };
    let relinked: Relinked = admin::post(&places, "/relink", &wish)?;
    match arguments.json {
        true => show::json(&relinked)?,
        false => tell(&relinked, wish.wish == Relink::Reset),
    }
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn wish(&self) -> Option<Relink> {
        if self.reset {
            return Some(Relink::Reset);
        }
        if let Some(unlink) = &self.unlink {
            return Some(if unlink.is_empty() { Relink::Only(Vec::new()) } else { Relink::Without(unlink.clone()) });
        }
        match (&self.issue[..], &self.also[..]) {
            ([], []) => None,
            ([], also) => Some(Relink::Also(also.to_vec())),
            (only, _) => Some(Relink::Only(only.to_vec())),
        }
    }
}

/// The id of a commit that a person names in one of Git's other ways, such as `HEAD~1` or `v1.2`.
fn named(git_dir: &Path, name: &str) -> anyhow::Result<String> {
    let mut git = Command::new("git");
    git.arg("--git-dir").arg(git_dir).args([
        "rev-parse",
        "--verify",
        "--end-of-options",
        &format!("{name}^{{commit}}"),
    ]);
    let output = git.output()?;
    let because = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{} names no commit: {}", Untrusted::text(name), because.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn id_of(path: &Path) -> anyhow::Result<String> {
    let repository = Repository::open(&std::fs::canonicalize(host::find_git_dir(path)?)?)?;
    let id = repository.id().map(str::to_owned);
    id.ok_or_else(|| anyhow::anyhow!("{} has no id: `agent install` puts hooks into it", path.display()))
}

fn tell(one: &Relinked, reset: bool) {
    let list = |keys: &[String]| if keys.is_empty() { "no issue".to_owned() } else { keys.join(", ") };
    match one.kind.as_str() {
        "branch" => show::line(format_args!("branch {}", Untrusted::text(&one.title))),
        _ => show::line(format_args!("commit {} {}", one.id, Untrusted::text(&one.title))),
    }
    show::line(format_args!("  in        {}", Untrusted::text(&one.path)));
    show::line(format_args!("  was       linked to {}", list(&one.before)));
    let again = if reset { ", as it says itself" } else { "" };
    show::line(format_args!("  is        linked to {}{again}", list(&one.now)));
    let what = if one.kind == "branch" { &one.title } else { &one.id };
    match (&one.because, one.told) {
        (Some(because), _) => show::line(format_args!("  Jira      is not told now: {because}; it holds from then on")),
        (None, true) => {
            show::line(format_args!(
                "  Jira      is told; `agent why {}` shows what became of it",
                Untrusted::text(what)
            ));
        }
        (None, false) => show::line("  Jira      has it so already"),
    }
    if one.orders > 0 {
        show::line("  commands  of its message stay as they are: this only links");
    }
}

fn list(rows: &[CorrectionRow]) {
    if rows.is_empty() {
        show::line("no link was put right");
    }
    for row in rows {
        let name = match crate::entity::branch_name(&row.id).filter(|_| row.kind == "branch") {
            Some(name) => Untrusted(&name).to_string(),
            None => row.id.clone(),
        };
        show::line(format_args!("{} {name}: {}", row.kind, row.shown()));
        let (path, who) = (Untrusted::text(&row.path), Untrusted::text(&row.who));
        show::line(format_args!("  in {path}, by {who} at {}", clock::show(row.at)));
    }
}
