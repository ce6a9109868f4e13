//! `agent trust`: a person says yes to what the team suggests in `.agent.toml`.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use super::show;
use crate::host;
use crate::team::{self, FILE, Found};
use crate::text::Untrusted;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  agent trust --show     what it says, and whether it counts\n  agent trust            shows it and asks; once accepted it counts in this clone until its content changes\n  agent trust --revoke"
)]
pub struct Arguments {
    /// Only show it
    #[arg(long)]
    show: bool,
    /// Accept it without asking
    #[arg(long, conflicts_with_all = ["show", "revoke"])]
    yes: bool,
    /// Let it count no more
    #[arg(long, conflicts_with = "show")]
    revoke: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let git_dir = host::find_git_dir(&std::env::current_dir()?)?;
    if arguments.revoke {
        let was = team::distrust(&git_dir)?;
        show::line(if was { "it counts no more" } else { "it did not count before" });
        return Ok(ExitCode::SUCCESS);
    }
    let root = super::here::work_tree().ok_or_else(|| anyhow::anyhow!("this is no work tree of Git"))?;
    let found = Found::of(&root).map_err(anyhow::Error::msg)?;
    let found = found.ok_or_else(|| anyhow::anyhow!("there is no {FILE} in {}", root.display()))?;
    for line in found.text.lines() {
        show::line(format_args!("  {}", Untrusted::text(line)));
    }
    found.read().map_err(anyhow::Error::msg)?;
    if found.is_trusted(&git_dir) {
        show::line("you have accepted it, and it counts in this clone");
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.show {
        show::line("it does not count yet: agent trust accepts it");
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.yes {
        anyhow::ensure!(std::io::stdin().is_terminal(), "nobody can be asked here; --yes accepts it");
        show::note(format_args!("Let it count in {}? [y/N] ", root.display()));
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
            show::line("nothing has changed");
            return Ok(ExitCode::FAILURE);
        }
    }
    found.trust(&git_dir)?;
    // The first message after this may get a key by it, or be refused.
    let _ = host::set_commit_hooks(&git_dir, true, false);
    show::line("it counts in this clone from now on, until its content changes");
    Ok(ExitCode::SUCCESS)
}
