//! Where somebody stands who types a word: the repository, its branch, and whom to ask about issues.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;

use super::{Context, Exit};
use crate::config::{Config, Environment, Places};
use crate::git::{Ident, MISLEADING};
use crate::host;
use crate::intake::{self, Outcome, socket};
use crate::issue::{About, Answer, Ask, List, Told, Typed};
use crate::parse::{IssueKey, Rules};
use crate::send::Settings;
use crate::text::Untrusted;

/// How long a person who looks on waits for Jira.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The root of the work tree we are in.
pub fn work_tree() -> Option<PathBuf> {
    let told = Command::new("git").args(["rev-parse", "--show-toplevel"]).output().ok()?;
    let root = told.stdout.strip_suffix(b"\n").unwrap_or(&told.stdout);
    told.status.success().then(|| PathBuf::from(OsStr::from_bytes(root)))
}

pub struct Here {
    pub config: Config,
    pub places: Places,
    /// The git directory we are in, if any.
    pub git_dir: Option<PathBuf>,
    site: Option<String>,
}

impl Here {
    pub fn new(context: &Context, site: Option<&str>) -> anyhow::Result<Here> {
        let (config, places) = context.config()?;
        let git_dir = host::find_git_dir(Path::new(".")).ok();
        Ok(Here { config, places, git_dir, site: site.map(str::to_owned) })
    }

    /// Says so where we are in no repository.
    pub fn needs_repository(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.git_dir.is_some(), "this is no Git repository");
        Ok(())
    }

    /// The site that is meant: the one that was named, that of the repository's account, or the only one.
    pub fn site(&self) -> anyhow::Result<&Settings> {
        let named = |name: &str| self.config.site.iter().find(|site| site.name == name);
        if let Some(name) = &self.site {
            return named(name).ok_or_else(|| anyhow::anyhow!("there is no site called {name}"));
        }
        let link = self.git_dir.as_ref().and_then(|git_dir| self.config.link_of(git_dir));
        match (link.and_then(|link| link.site), &self.config.site[..]) {
            (Some(site), _) | (None, [site]) => Ok(site),
            (None, []) => anyhow::bail!("no site is linked; `agent link` does that"),
            (None, _) => anyhow::bail!("which site? --site names one"),
        }
    }

    /// The rules by which keys are read here.
    pub fn rules(&self) -> anyhow::Result<Rules> {
        let link =
            self.git_dir.as_ref().filter(|_| self.site.is_none()).and_then(|git_dir| self.config.link_of(git_dir));
        Ok(match link {
            Some(link) => self.config.rules(Some(link))?,
            None => self.config.rules_at(self.site().ok())?,
        })
    }

    /// The keys that the branch of this worktree is named after.
    fn keys_of_branch(&self) -> anyhow::Result<Vec<String>> {
        let head = git(&["symbolic-ref", "--quiet", "HEAD"])?.stdout;
        let Some(branch) = head.trim_ascii_end().strip_prefix(b"refs/heads/") else { return Ok(Vec::new()) };
        let mentions = self.rules()?.branch(branch);
        Ok(mentions.keys.iter().map(|found| found.key.to_string()).collect())
    }

    /// The keys that were given, or else those of the branch.
    pub fn keys(&self, given: &[String]) -> anyhow::Result<Vec<String>> {
        let keys = if given.is_empty() { self.keys_of_branch()? } else { given.to_vec() };
        anyhow::ensure!(!keys.is_empty(), "which issue? The branch is named after none, so give a key");
        let key = |text: String| match text.parse::<IssueKey>() {
            Ok(key) => Ok(key.to_string()),
            Err(_) => anyhow::bail!("{} is no issue key, such as ABC-12", Untrusted::text(&text)),
        };
        keys.into_iter().map(key).collect()
    }

    /// Asks the daemon about issues.
    pub fn ask(&self, keys: &[String], list: List, wait: Duration) -> anyhow::Result<Told> {
        let site = self.site()?.name.clone();
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let ask = Ask { site, keys: keys.to_vec(), wait_ms, list, ..Ask::default() };
        intake::ask(&ask, &self.places.socket).map_err(|error| self.unheard(&error))
    }

    fn unheard(&self, error: &intake::Error) -> anyhow::Error {
        let code = if matches!(error, intake::Error::Socket(socket::Error::Forbidden)) { 77 } else { 69 };
        Exit { code, because: format!("{error} ({})", self.places.socket.display()) }.into()
    }

    /// Has orders carried out that somebody typed, and gives what came of each.
    pub fn order(&self, message: &str) -> anyhow::Result<Vec<String>> {
        let typed = Typed {
            git_dir: None,
            site: self.site()?.name.clone(),
            message: message.to_owned(),
            author: ident()?,
            wait_ms: 3_000,
        };
        let reply = intake::order(&typed, &self.places.socket).map_err(|error| self.unheard(&error))?;
        match reply.outcome {
            Outcome::Stored => Ok(reply.notes.iter().map(|note| Untrusted::text(note).to_string()).collect()),
            Outcome::Refused { because } | Outcome::Later { because } => anyhow::bail!("{}", Untrusted::text(&because)),
        }
    }

    /// The person's own name, as a part of a branch's.
    pub fn user(&self) -> String {
        ident().map(|ident| String::from_utf8_lossy(&ident.name).into_owned()).unwrap_or_default()
    }

    /// The address of an issue's page.
    pub fn address(&self, key: &str) -> anyhow::Result<String> {
        Ok(format!("{}/browse/{key}", self.site()?.url.trim_end_matches('/')))
    }
}

/// Runs Git where we stand. What a hook or a script may have set around us leads it to no other repository than the one
/// that [`Here`] found.
pub fn git(words: &[&str]) -> anyhow::Result<Output> {
    let mut git = Command::new("git");
    for name in MISLEADING {
        git.env_remove(name);
    }
    git.args(words).output().map_err(|error| anyhow::anyhow!("git cannot be started: {error}"))
}

/// Who makes commits here, as Git says it, and the time.
fn ident() -> anyhow::Result<Ident> {
    let output = git(&["var", "GIT_AUTHOR_IDENT"])?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ident::read(output.stdout.trim_ascii()).ok_or_else(|| anyhow::anyhow!("Git does not say who you are"))
}

/// The keys that are remembered, for a shell to complete; nothing where they are not to be had at once.
pub fn keys_like(begun: &OsStr) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy().to_uppercase();
    let context = Context { chosen: None, environment: Environment::read() };
    let told = Here::new(&context, None).and_then(|here| here.ask(&[], List::Remembered, Duration::ZERO));
    let about = told.map(|told| told.about).unwrap_or_default();
    let candidate = |about: About| match about.answer {
        Answer::Found(issue) if issue.key.starts_with(&begun) => {
            let help = format!("{} ({})", Untrusted::text(&issue.summary), Untrusted::text(&issue.status));
            Some(CompletionCandidate::new(issue.key).help(Some(help.into())))
        }
        _ => None,
    };
    about.into_iter().filter_map(candidate).collect()
}
