//! `agent hook`: what Git runs.
//!
//! A push never waits and never fails because of us. All the work is done on a thread of its own;
//! when the deadline comes, the process goes on without it: it runs the hook that was there before
//! ours and ends with that hook's status, or with 0. What was not handed over by then is found by
//! the daemon through the intent of `pre-receive` and by comparing refs.
//!
//! Nothing here uses the network, a secret, SQLite or an async runtime.

mod answer;
mod clone;

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::config::{Config, Environment, Places};
use crate::event::{Claim, Event, EventId, Kind, Origin, PushOption, Seen};
use crate::git::{self, Budget, Known, Oid, Repository, Told, Update};
use crate::intake::{self, HandedOver, Outcome};
use crate::parse::Rules;
use crate::{clock, host};

use answer::Answer;

#[derive(clap::Args)]
pub struct Arguments {
    /// The hook's name, such as post-receive
    name: String,
    /// The hook that was there before, run afterwards with the same input
    #[arg(long, value_name = "FILE")]
    then: Option<PathBuf>,
    /// What Git passes to the hook
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// The most that is read from Git: a million refs.
const INPUT: u64 = 256 << 20;
/// The longest message that travels; the daemon reads longer ones itself.
const MESSAGE: usize = 64 << 10;
/// The most files of a commit that Jira takes.
const FILES: usize = 10;
/// The most branches whose last commit is looked up although it is not new.
const TIPS: usize = 50;

pub fn run(arguments: Arguments, chosen: Option<PathBuf>, environment: Environment) -> ExitCode {
    let started = Instant::now();
    let mut stdin = Vec::new();
    if reads_stdin(&arguments.name) {
        let _ = std::io::stdin().lock().take(INPUT).read_to_end(&mut stdin);
    }
    let lines = work_until_deadline(&arguments, stdin.clone(), chosen, environment, started);
    say(&lines);
    match arguments.then {
        Some(before) => status(host::run_before(&before, &arguments.arguments, stdin)),
        None => ExitCode::SUCCESS,
    }
}

/// Whether Git gives a hook its input there; the others must not wait for a terminal.
fn reads_stdin(name: &str) -> bool {
    matches!(name, "pre-receive" | "post-receive" | "pre-push" | "reference-transaction" | "post-rewrite")
}

fn work_until_deadline(
    arguments: &Arguments,
    stdin: Vec<u8>,
    chosen: Option<PathBuf>,
    environment: Environment,
    started: Instant,
) -> Vec<String> {
    let (tell, told) = mpsc::channel();
    let name = arguments.name.clone();
    let first = arguments.arguments.first().cloned().unwrap_or_default();
    // The configuration may ask for less; more than this is never waited for.
    let latest = started + Duration::from_secs(2);
    let work = move || {
        let hook = match Hook::new(&name, chosen.as_deref(), environment, started) {
            Ok(hook) => hook,
            Err(error) => {
                let _ = tell.send(Progress::Done(vec![format!("jira: nothing was linked: {error:#}")]));
                return;
            }
        };
        let _ = tell.send(Progress::Deadline(started + Duration::from_millis(hook.config.hook.deadline_ms)));
        let lines = hook.work(&stdin, &first).unwrap_or_else(|error| vec![format!("jira: {error:#}")]);
        let _ = tell.send(Progress::Done(if hook.config.hook.answer { lines } else { Vec::new() }));
    };
    if std::thread::Builder::new().spawn(work).is_err() {
        return Vec::new();
    }
    let mut deadline = latest;
    loop {
        match told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Progress::Deadline(at)) => deadline = at.min(latest),
            Ok(Progress::Done(lines)) => return lines,
            Err(_) => return Vec::new(),
        }
    }
}

enum Progress {
    Deadline(Instant),
    Done(Vec<String>),
}

/// One run of a hook: where it is, and how it is configured.
struct Hook {
    name: String,
    git_dir: PathBuf,
    repository: Repository,
    config: Config,
    places: Places,
    environment: Environment,
    started: Instant,
}

impl Hook {
    fn new(name: &str, chosen: Option<&Path>, environment: Environment, started: Instant) -> anyhow::Result<Hook> {
        let repository = Repository::open(&git_dir(&environment)?)?;
        // All worktrees of a clone are one repository.
        let git_dir = repository.common_dir().to_owned();
        let chosen = chosen.map(Path::to_owned).or_else(|| host::config_of(&repository));
        let path = Places::config_path(chosen.as_deref(), &environment);
        let config = Config::load(&path)?;
        let places = Places::new(&path, &config, &environment);
        Ok(Hook { name: name.to_owned(), git_dir, repository, config, places, environment, started })
    }

    fn work(&self, stdin: &[u8], first: &OsStr) -> anyhow::Result<Vec<String>> {
        match self.name.as_str() {
            // Git names the refs as they are inside the namespace, where each branch would stand for another one.
            "pre-receive" | "post-receive" if self.environment.namespace.is_some() => {
                anyhow::ensure!(self.name == "pre-receive", "a push into a namespace (GIT_NAMESPACE) is not linked");
                Ok(Vec::new())
            }
            "pre-receive" => self.intent(stdin),
            "post-receive" if self.environment.quarantine.is_some() => {
                anyhow::bail!("post-receive was called before the push is accepted; install it as post-receive")
            }
            "post-receive" => self.push(&concerning(stdin)?),
            "commit-msg" => self.message(Path::new(first)),
            "pre-push" => self.pre_push(stdin, &first.to_string_lossy()),
            "reference-transaction" => self.reference_transaction(stdin, &first.to_string_lossy()),
            other => anyhow::bail!("there is nothing to do in {other}"),
        }
    }

    /// Tells the daemon which refs are about to move, so that it looks when nobody confirms.
    fn intent(&self, stdin: &[u8]) -> anyhow::Result<Vec<String>> {
        let updates = concerning(stdin)?;
        if !updates.is_empty() {
            // Before any ref moves is the best moment to note what was there.
            let _ = Told::of(&self.repository).begin(&updates);
            let event = self.event(Kind::Intent, updates)?;
            // An intent that gets lost costs a delay, not an event: the daemon compares refs anyway.
            let deadline = self.started + Duration::from_millis(self.config.hook.deadline_ms / 2);
            let _ = intake::hand_over(&event, &self.places.socket, &self.places.spool, deadline);
        }
        Ok(Vec::new())
    }

    /// Reads what is new against what was told before, hands it over, and answers.
    fn push(&self, updates: &[Update]) -> anyhow::Result<Vec<String>> {
        if updates.is_empty() {
            return Ok(Vec::new());
        }
        let told = Told::of(&self.repository);
        let known = told.known(updates);
        let budget = Budget { commits: self.config.hook.commits, until: Some(self.until()) };
        self.hand_over(updates, &known, budget, |news| drop(told.append(news)))
    }

    /// Hands an event over; `then` hears the new tips once it is on disk.
    fn hand_over(
        &self,
        updates: &[Update],
        known: &Known,
        budget: Budget,
        then: impl FnOnce(&[Oid]),
    ) -> anyhow::Result<Vec<String>> {
        let account = self.config.account_of(&self.git_dir);
        let site = account.and_then(|account| self.config.site_of(account));
        let rules = self.config.rules(site)?;
        let event = self.read(updates, known, budget, &rules)?;
        // The other half is for the spool.
        let deadline = self.started + Duration::from_millis(self.config.hook.deadline_ms / 2);
        let handed = intake::hand_over(&event, &self.places.socket, &self.places.spool, deadline);
        if taken(&handed) {
            then(&updates.iter().filter_map(|update| update.new).collect::<Vec<_>>());
        } else if handed.is_err() {
            self.mark_dirty();
        }
        Ok(Answer { event: &event, rules: &rules, site, handed: &handed }.lines())
    }

    fn read(&self, updates: &[Update], known: &Known, budget: Budget, rules: &Rules) -> anyhow::Result<Event> {
        let news: Vec<_> = updates.iter().filter_map(|update| update.new).collect();
        let mut event = self.event(Kind::Push, updates.to_vec())?;
        // What cannot be read here is left to the daemon, which says so if it cannot either.
        let walk = self.repository.walk(&news, known, budget).unwrap_or_default();
        event.rest = !walk.complete;
        event.commits = walk.commits.into_iter().map(|commit| self.seen(commit, rules)).collect();
        let branches = updates.iter().filter(|update| update.name.is_branch()).filter_map(|update| update.new);
        let unseen = branches.filter(|id| !event.commits.iter().any(|seen| seen.commit.id == *id));
        event.tips = unseen.take(TIPS).filter_map(|id| self.repository.commit(id).ok()).collect();
        event.tips.iter_mut().for_each(|commit| commit.message.truncate(MESSAGE));
        fit(&mut event);
        Ok(event)
    }

    fn until(&self) -> Instant {
        self.started + Duration::from_millis(self.config.hook.read_ms)
    }

    /// A commit with its files where it names an issue and there is time.
    fn seen(&self, mut commit: git::Commit, rules: &Rules) -> Seen {
        let named = Instant::now() < self.until() && !rules.message(&commit.message).keys.is_empty();
        let files = if named { self.repository.files(&commit, FILES).ok() } else { None };
        let cut = commit.message.len() > MESSAGE;
        commit.message.truncate(MESSAGE);
        Seen { commit, files, cut }
    }

    fn event(&self, kind: Kind, updates: Vec<Update>) -> anyhow::Result<Event> {
        let environment = &self.environment;
        let claim = |(name, value): &(String, OsString)| Claim { name: name.clone(), value: value.as_bytes().to_vec() };
        let option = |option: &OsString| PushOption(option.clone().into_vec());
        Ok(Event {
            id: EventId::fresh(),
            kind,
            at: clock::now(),
            repository: self.origin()?,
            updates,
            commits: Vec::new(),
            rest: false,
            claims: environment.claims.iter().map(claim).collect(),
            push_options: environment.push_options.iter().map(option).collect(),
            tips: Vec::new(),
        })
    }

    /// The repository's id; one that was never given one, because its hooks were copied, gets it now.
    fn origin(&self) -> anyhow::Result<Origin> {
        let id = match self.repository.id()? {
            Some(id) => id,
            None => host::give_id(&self.repository)?,
        };
        Ok(Origin { id, git_dir: self.git_dir.as_os_str().as_bytes().to_vec() })
    }

    /// Says what a commit message asks for, before the commit exists. Never stops it.
    fn message(&self, path: &Path) -> anyhow::Result<Vec<String>> {
        let message = std::fs::read(path)?;
        let account = self.config.account_of(&self.git_dir);
        let site = account.and_then(|account| self.config.site_of(account));
        Ok(answer::of_message(&self.config.rules(site)?.message(&message)))
    }

    /// The last resort when neither the daemon nor the spool took the event: a mark that it left off here.
    fn mark_dirty(&self) {
        let _ = std::fs::write(self.git_dir.join("agent/dirty"), b"");
    }
}

/// Git's directory as an absolute path: Git gives `.` to hooks of a bare repository.
fn git_dir(environment: &Environment) -> anyhow::Result<PathBuf> {
    let named = environment.git_dir.clone().unwrap_or_else(|| PathBuf::from("."));
    match std::fs::canonicalize(&named) {
        Ok(path) if path.join("HEAD").exists() => Ok(path),
        Ok(path) => Ok(host::find_git_dir(&path)?),
        Err(error) => anyhow::bail!("{}: {error}", named.display()),
    }
}

fn concerning(stdin: &[u8]) -> Result<Vec<Update>, git::Error> {
    let mut updates = git::updates(stdin)?;
    updates.retain(|update| git::concerns_us(&update.name));
    Ok(updates)
}

fn taken(handed: &Result<HandedOver, intake::Error>) -> bool {
    match handed {
        Ok(HandedOver::ToSpool { .. }) => true,
        Ok(HandedOver::ToDaemon(reply)) => reply.outcome == Outcome::Stored,
        Err(_) => false,
    }
}

/// Leaves commits out, oldest first, until the event fits into a frame; the daemon walks the rest.
fn fit(event: &mut Event) {
    let mut bytes = event.encode().len();
    while bytes > intake::frame::LIMIT && !(event.commits.is_empty() && event.tips.is_empty()) {
        event.tips.clear();
        event.commits.truncate(event.commits.len() / 2);
        event.rest = true;
        bytes = event.encode().len();
    }
}

/// Prints little, once, and does not care whether anybody is left to read it.
fn say(lines: &[String]) {
    if !lines.is_empty() {
        let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

fn status(ran: std::io::Result<i32>) -> ExitCode {
    match ran {
        Ok(code) => ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1)),
        // Git would not have got further with it either.
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hooks_that_get_input_wait_for_it() {
        assert!(reads_stdin("post-receive") && reads_stdin("pre-push"));
        assert!(!reads_stdin("commit-msg"));
    }

    #[test]
    fn the_status_is_that_of_the_hook_that_was_there_before() {
        assert_eq!(status(Err(std::io::ErrorKind::NotFound.into())), ExitCode::FAILURE);
        assert_eq!(status(Ok(0)), ExitCode::SUCCESS);
        assert_eq!(status(Ok(1)), ExitCode::from(1));
    }
}
