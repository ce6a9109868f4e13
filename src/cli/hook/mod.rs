//! `agent hook`: what Git runs.
//!
//! A push never waits and never fails because of us. Beside the work stands a watchman: when the
//! deadline comes, it goes on without the work, which may be anywhere. It runs the hook that was there
//! before ours and ends the process with that hook's status, or with 0. What was not handed over by
//! then is found by the daemon through the intent of `pre-receive` and by comparing refs.
//!
//! The one exception is what a team asks of its commits: there the hook may refuse, and has a deadline of its own, at which
//! each section of the policy says itself what becomes of a push that was not looked at.
//!
//! Nothing here uses the network, a secret, SQLite or an async runtime.

mod clone;
mod gerrit;
mod message;
mod push;
mod start;

pub(super) use message::{draft_with, replace, said_of_draft};

use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;

use crate::config::{self, Config, Environment, Places};
use crate::event::{Event, EventId, Kind, Origin};
use crate::git::{self, Budget, Known, Repository, Told, Update};
use crate::host::Account;
use crate::intake::socket::{self, Answered};
use crate::intake::{self, HandedOver, Reply};
use crate::receive::answer::{Handed, LINES};
use crate::text::Untrusted;
use crate::{clock, host, receive, team};

/// What Git runs; not for people.
#[derive(clap::Parser)]
pub struct Arguments {
    /// The configuration file; default the one the repository names, else that of every other word
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Git runs it out of its configuration, in whatever clone it fits
    #[arg(long)]
    beside: bool,
    /// The hook's name, such as post-receive
    name: String,
    /// The hook that was there before, run afterwards with the same input
    #[arg(long, value_name = "FILE")]
    then: Option<PathBuf>,
    /// The id of what was tried to be handed over already
    #[arg(long, value_name = "ID")]
    event: Option<EventId>,
    /// How much of its time the hook has spent, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    spent: u64,
    /// What Git passes to the hook
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// What Gerrit runs after a ref moved.
const GERRIT: &str = "ref-updated";
/// The longest that any configuration makes a push wait.
const LONGEST: Duration = Duration::from_secs(2);
/// The most that is read from Git: a million refs.
const INPUT: u64 = 256 << 20;

impl Arguments {
    /// Understands `agent hook …`, and a call by the name of a hook that is a link to the agent.
    pub fn of(mut words: impl Iterator<Item = OsString>) -> Option<Arguments> {
        let program = words.next()?;
        if Path::new(&program).file_name() == Some(OsStr::new(host::LINKED)) {
            return Some(Arguments {
                config: None,
                beside: false,
                name: host::LINKED.to_owned(),
                then: None,
                event: None,
                spent: 0,
                arguments: words.collect(),
            });
        }
        let hook = words.next().filter(|word| word == "hook")?;
        Some(Arguments::parse_from(std::iter::once(hook).chain(words)))
    }
}

pub fn run(arguments: Arguments, environment: Environment) -> ExitCode {
    let spent = Duration::from_millis(arguments.spent).min(LONGEST);
    let started = Instant::now().checked_sub(spent).unwrap_or_else(Instant::now);
    let mut stdin = Vec::new();
    if reads_stdin(&arguments.name) {
        let _ = std::io::stdin().lock().take(INPUT).read_to_end(&mut stdin);
    }
    let call = Arc::new(Call { arguments, stdin, over: AtomicBool::new(false), late: Mutex::default() });
    // A hook that writes the message comes before ours, which then sees what it wrote.
    if call.arguments.name == PREPARE {
        let status = call.finish();
        if status != 0 {
            return status.into();
        }
    }
    // The configuration may ask for less; more than this is never waited for.
    let Some(watchman) = watch(&call, started + LONGEST) else { return call.finish().into() };
    // A bug in the work is no concern of the push.
    let work = AssertUnwindSafe(|| call.work(environment, started, watchman));
    let Done { lines, answered, refused } = std::panic::catch_unwind(work).unwrap_or_default();
    if !call.end() {
        // The watchman was first, and ends the process.
        loop {
            std::thread::park();
        }
    }
    if say(&lines)
        && let Some(answered) = answered
    {
        answered.passed_on();
    }
    match (refused, call.arguments.name.as_str()) {
        (true, _) => ExitCode::FAILURE,
        (false, PREPARE) => ExitCode::SUCCESS,
        (false, _) => call.finish().into(),
    }
}

/// The hook that writes the message, so that the one before ours runs first.
const PREPARE: &str = "prepare-commit-msg";

/// What the work came to.
#[derive(Default)]
struct Done {
    lines: Vec<String>,
    /// The connection on which news among the lines came.
    answered: Option<Answered>,
    /// Whether a policy refuses the commit or the push.
    refused: bool,
}

/// What becomes of a call whose deadline comes while a policy is being decided.
struct Late {
    refused: bool,
    line: String,
}

/// One call by Git, seen by the work and by the watchman.
struct Call {
    arguments: Arguments,
    stdin: Vec<u8>,
    /// Whether somebody has set out to finish it.
    over: AtomicBool,
    late: Mutex<Option<Late>>,
}

impl Call {
    /// Does what is ours to do, and gives what it came to.
    fn work(self: &Arc<Self>, mut environment: Environment, started: Instant, watchman: mpsc::Sender<Tell>) -> Done {
        let (name, arguments) = (&self.arguments.name, &self.arguments.arguments);
        // Bitbucket tries a merge that may never be.
        if environment.dry_run {
            return Done::default();
        }
        if name == GERRIT {
            environment.claims.extend(gerrit::claim(arguments));
        }
        let chosen = self.arguments.config.as_deref();
        let hook = match Hook::new(name, chosen, environment, started, watchman, Arc::clone(self)) {
            Ok(hook) => hook,
            // `commit-msg` says it for both.
            Err(_) if name == PREPARE => return Done::default(),
            // Where nothing is configured, nobody asked for anything in this clone.
            Err(error) if self.arguments.beside && is_not_configured(&error) => return Done::default(),
            Err(error) => {
                return Done { lines: vec![format!("jira: nothing was linked: {error:#}")], ..Done::default() };
            }
        };
        if self.arguments.beside && !hook.is_wanted_beside() {
            return Done::default();
        }
        hook.watch_usually();
        let lines = hook.work(&self.stdin, arguments).unwrap_or_else(|error| vec![format!("jira: {error:#}")]);
        let mut done = Done { lines: hook.said.take(), answered: None, refused: hook.refused.get() };
        if hook.config.hook.answer {
            done.lines.extend(lines);
            done.answered = hook.answered.take();
        }
        done
    }

    /// Tells whether the caller is the one to finish the call: the first to ask.
    fn end(&self) -> bool {
        !self.over.swap(true, Ordering::AcqRel)
    }

    /// Runs the hook that was there before ours, and gives its status.
    fn finish(&self) -> u8 {
        match &self.arguments.then {
            Some(before) => status(host::run_before(before, &self.arguments.arguments, self.stdin.clone())),
            None => 0,
        }
    }
}

/// Whether Git gives a hook its input there; the others must not wait for a terminal.
fn reads_stdin(name: &str) -> bool {
    matches!(name, "pre-receive" | "post-receive" | "pre-push" | "reference-transaction" | "post-rewrite")
}

/// What the watchman may be told.
enum Tell {
    /// Another deadline.
    Until(Instant),
    /// A person is being asked, and takes their time.
    Never,
}

/// Sets the watchman, who finishes the call at the deadline unless the work is done; he may be told another one.
fn watch(call: &Arc<Call>, latest: Instant) -> Option<mpsc::Sender<Tell>> {
    let (tell, told) = mpsc::channel::<Tell>();
    let call = Arc::clone(call);
    let wait = move || {
        let mut deadline = latest;
        loop {
            match told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Tell::Until(other)) => deadline = other,
                Ok(Tell::Never) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        if !call.end() {
            return;
        }
        let late = call.late.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Late { refused, line }) = late {
            say(&[line]);
            if refused {
                end_process(1);
            }
        }
        end_process(if call.arguments.name == PREPARE { 0 } else { call.finish() });
    };
    std::thread::Builder::new().spawn(wait).ok().map(|_| tell)
}

/// Ends the process although the work still runs: whatever it holds may as well be cut off by the power.
#[expect(clippy::disallowed_methods, reason = "the thread that could return an exit status is the one not waited for")]
fn end_process(status: u8) {
    std::process::exit(status.into())
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
    /// Where to say that news were passed on.
    answered: Cell<Option<Answered>>,
    call: Arc<Call>,
    watchman: mpsc::Sender<Tell>,
    /// What is said even where a push is not answered: what a policy has to say.
    said: RefCell<Vec<String>>,
    refused: Cell<bool>,
}

impl Hook {
    fn new(
        name: &str,
        chosen: Option<&Path>,
        environment: Environment,
        started: Instant,
        watchman: mpsc::Sender<Tell>,
        call: Arc<Call>,
    ) -> anyhow::Result<Hook> {
        let mut repository = Repository::open(&git_dir(&environment)?)?;
        // Where it cannot be given an id of its own, the daemon says so.
        if host::copied_from(&repository).is_some() && host::part(repository.common_dir()).is_ok() {
            repository = Repository::open(repository.common_dir())?;
        }
        // All worktrees of a clone are one repository.
        let git_dir = repository.common_dir().to_owned();
        let chosen = chosen.map(Path::to_owned).or_else(|| host::config_of(&repository));
        let path = Places::config_path(chosen.as_deref(), &environment);
        let mut config = Config::load(&path)?;
        let mut said = Vec::new();
        if matches!(name, PREPARE | "commit-msg" | "pre-push")
            && let Ok(work_tree) = std::env::current_dir()
            && let Some(because) = team::apply(&mut config, &work_tree, &git_dir)
            && name == "commit-msg"
        {
            said.push(format!("jira: {because}"));
        }
        let places = Places::new(&path, &config, &environment);
        if call.arguments.beside && config.account_of(&git_dir).is_some() {
            let new = host::take_up(&repository, call.arguments.config.as_deref())?;
            repository = Repository::open(repository.git_dir())?;
            // Where somebody else put the hooks in, this person has no drop-box yet.
            if !places.spool.exists() {
                super::install::make_spool(&places)?;
            }
            if new && !places.shared {
                host::note_clone(&places.state, &git_dir);
            }
        }
        host::note_fired(&git_dir, name);
        let hidden = config.account_of(&git_dir).and_then(Account::hidden);
        let repository = repository.hiding(hidden);
        Ok(Hook {
            name: name.to_owned(),
            git_dir,
            repository,
            config,
            places,
            environment,
            started,
            answered: Cell::default(),
            call,
            watchman,
            said: RefCell::new(said),
            refused: Cell::default(),
        })
    }

    /// Whether a hook out of Git's configuration has something to do here: the clone belongs to an account, and no file of
    /// ours does it.
    fn is_wanted_beside(&self) -> bool {
        self.config.account_of(&self.git_dir).is_some() && !host::is_served_by_file(&self.git_dir, &self.name)
    }

    /// Has the watchman end what is not a policy's to decide.
    fn watch_usually(&self) {
        let usual = Duration::from_millis(self.config.hook.deadline_ms).min(LONGEST);
        let from = if self.call.late.lock().is_ok_and(|late| late.is_none()) { self.started } else { Instant::now() };
        *self.call.late.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = self.watchman.send(Tell::Until(from + usual));
    }

    /// Gives a policy the time it has, and says what happens when that is over.
    fn watch_policy(&self, late: Late) {
        *self.call.late.lock().unwrap_or_else(PoisonError::into_inner) = Some(late);
        // The work ends by itself at the deadline; a second later it hangs.
        let _ = self.watchman.send(Tell::Until(self.policy_until() + Duration::from_secs(1)));
    }

    /// When a policy has to be decided.
    fn policy_until(&self) -> Instant {
        self.started + Duration::from_millis(self.config.hook.policy_ms)
    }

    fn work(&self, stdin: &[u8], arguments: &[OsString]) -> anyhow::Result<Vec<String>> {
        if let Some(name) = self.claim("GL_PROJECT_PATH") {
            host::note_name(&self.git_dir, name);
        }
        self.repair();
        // Somebody decided that it is not linked; what is pushed meanwhile is found when that changes. A host that has one
        // folder of hooks for all runs ours for wikis too.
        if self.config.keeps_out(&self.git_dir).is_some() || host::is_companion(&self.git_dir) {
            return Ok(Vec::new());
        }
        let first = arguments.first().map(OsString::as_os_str).unwrap_or_default();
        match self.name.as_str() {
            // Git names the refs as they are inside the namespace, where each branch would stand for another one.
            "pre-receive" | "post-receive" if self.environment.namespace.is_some() => {
                anyhow::ensure!(self.name == "pre-receive", "a push into a namespace (GIT_NAMESPACE) is not linked");
                Ok(Vec::new())
            }
            "pre-receive" => {
                self.mark_policy();
                if self.lets_in(&self.concerning(stdin)?) { self.intent(stdin) } else { Ok(Vec::new()) }
            }
            "post-receive" if self.environment.quarantine.is_some() => {
                anyhow::bail!("post-receive was called before the push is accepted; install it as post-receive")
            }
            "post-receive" => {
                self.mark_policy();
                self.push(&self.concerning(stdin)?)
            }
            GERRIT => {
                let concerns = |update: &Update| git::concerns_us(&update.name) && !self.repository.hides(&update.name);
                let ours: Vec<Update> = std::iter::once(gerrit::update(arguments)?).filter(concerns).collect();
                // Nobody sees what it says.
                self.push(&ours).map(|_| Vec::new())
            }
            PREPARE => self.prepare(Path::new(first), self.call.arguments.arguments.get(1).map(OsString::as_os_str)),
            "commit-msg" => self.message(Path::new(first)),
            "pre-push" if self.lets_out(stdin)? => self.pre_push(stdin, &first.to_string_lossy()),
            "pre-push" => Ok(Vec::new()),
            "reference-transaction" => self.reference_transaction(stdin, arguments),
            other => anyhow::bail!("there is nothing to do in {other}"),
        }
    }

    /// Puts hooks of a clone in again that another tool dropped when it put its own; what hinders that, `agent hooks` tells.
    fn repair(&self) {
        if matches!(self.name.as_str(), "commit-msg" | "pre-push" | PREPARE)
            && let Ok(agent) = std::env::current_exe()
        {
            let _ = host::repair(&self.git_dir, &agent);
        }
        if self.name == "commit-msg" {
            self.forget_ended_push();
        }
    }

    /// What Git says of refs that are our business.
    fn concerning(&self, stdin: &[u8]) -> Result<Vec<Update>, git::Error> {
        receive::concerning(&self.repository, stdin)
    }

    /// What the host says, where it is text.
    fn claim(&self, name: &str) -> Option<&str> {
        self.environment.claims.iter().find(|(claim, _)| claim == name)?.1.to_str()
    }

    /// Tells the daemon which refs are about to move, so that it looks when nobody confirms.
    fn intent(&self, stdin: &[u8]) -> anyhow::Result<Vec<String>> {
        let updates = self.concerning(stdin)?;
        if !updates.is_empty() {
            // Before any ref moves is the best moment to note what was there.
            let _ = Told::of(&self.repository).begin(&updates);
            let event = self.event(Kind::Intent, updates)?;
            // An intent that gets lost costs a delay, not an event: the daemon compares refs anyway.
            let deadline = self.started + Duration::from_millis(self.config.hook.deadline_ms / 2);
            let _ = intake::announce(&event, &self.places.socket, deadline);
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
        let lines = self.hand_over(updates, &known, budget, || drop(told.append(updates)));
        let mended = self.mend_head(updates);
        lines.map(|lines| lines.into_iter().chain(mended).take(LINES).collect())
    }

    /// Lets a HEAD that leads nowhere name a branch that was just made, so that the next clone is not empty.
    fn mend_head(&self, updates: &[Update]) -> Option<String> {
        let born = |update: &Update| update.name.is_branch() && update.old.is_none() && update.new.is_some();
        let branch = updates.iter().any(born).then(|| self.repository.mend_head().ok().flatten()).flatten()?;
        Some(format!("jira: clones begin on {} from now on; HEAD led nowhere", Untrusted(branch.short())))
    }

    /// Hands an event over; `then` is for when it is on disk.
    fn hand_over(
        &self,
        updates: &[Update],
        known: &Known,
        budget: Budget,
        then: impl FnOnce(),
    ) -> anyhow::Result<Vec<String>> {
        let link = self.config.link_of(&self.git_dir);
        let rules = self.config.rules(link)?;
        let mut event = self.event(Kind::Push, updates.to_vec())?;
        receive::read(&self.repository, &mut event, known, budget, &rules);
        // The other half is for the spool.
        let deadline = self.started + Duration::from_millis(self.config.hook.deadline_ms / 2);
        let handed = intake::hand_over(&event, &self.places.socket, &self.places.spool, deadline);
        let starting = matches!(&handed, Ok(HandedOver::ToSpool { because: socket::Error::Absent }))
            && start::daemon(&self.config, &self.places);
        let fate = Handed::of(&handed, starting);
        if fate.is_taken() {
            then();
        } else if handed.is_err() {
            self.mark_dirty();
        }
        if matches!(&handed, Ok(HandedOver::ToDaemon(..))) && self.name == host::LINKED {
            host::show_door(&self.git_dir, &self.places.socket);
        }
        let uid = rustix::process::geteuid().as_raw();
        let people = || self.config.people().map(Arc::new).map_err(anyhow::Error::msg);
        let orders = receive::orders(&event, link, uid, people)?;
        let lines = receive::answer(&self.config, &event, &rules, orders, fate);
        if let Ok(HandedOver::ToDaemon(Reply { notes, .. }, answered)) = handed
            && !notes.is_empty()
        {
            self.answered.set(Some(answered));
        }
        Ok(lines)
    }

    fn until(&self) -> Instant {
        self.started + Duration::from_millis(self.config.hook.read_ms)
    }

    fn event(&self, kind: Kind, updates: Vec<Update>) -> anyhow::Result<Event> {
        Ok(Event {
            id: self.call.arguments.event.unwrap_or_else(EventId::fresh),
            kind,
            at: clock::now(),
            repository: self.origin()?,
            updates,
            commits: Vec::new(),
            rest: false,
            claims: receive::claims(&self.environment),
            push_options: receive::push_options(&self.environment),
            tips: Vec::new(),
            overridden: Vec::new(),
        })
    }

    /// The repository's id; one that was never given one, because its hooks were copied, gets it now.
    fn origin(&self) -> anyhow::Result<Origin> {
        let id = match self.repository.id() {
            Some(id) => id.to_owned(),
            None => host::give_id(&self.repository)?,
        };
        Ok(Origin { id, git_dir: self.git_dir.as_os_str().as_bytes().to_vec() })
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
        Ok(path) if path.join("HEAD").exists() && path.join("objects").is_dir() => Ok(path),
        // That of a linked worktree.
        Ok(path) if path.join("HEAD").exists() && path.join("commondir").exists() => Ok(path),
        // Git runs the hooks of a commit in the worktree.
        Ok(path) if path.join(".git/HEAD").exists() => Ok(path.join(".git")),
        Ok(path) => Ok(host::find_git_dir(&path)?),
        Err(error) => anyhow::bail!("{}: {error}", named.display()),
    }
}

fn is_not_configured(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(config::Error::Missing(_)))
}

/// Prints little, once, and tells whether somebody took it, which no push depends on.
fn say(lines: &[String]) -> bool {
    let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
    std::io::stderr().lock().write_all(text.as_bytes()).is_ok()
}

fn status(ran: std::io::Result<i32>) -> u8 {
    match ran {
        Ok(code) => u8::try_from(code & 0xff).unwrap_or(1),
        // Git would not have got further with it either.
        Err(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_the_agent_is_the_hook_it_is_called_by() {
        let of = |words: &[&str]| Arguments::of(words.iter().map(OsString::from));
        let linked = of(&["hooks/post-receive", "a"]).unwrap();
        assert_eq!((linked.name.as_str(), linked.arguments), ("post-receive", vec![OsString::from("a")]));
        let named = of(&["/usr/bin/agent", "hook", "--then", "b", "pre-push", "origin", "--url"]).unwrap();
        assert_eq!((named.name.as_str(), named.then), ("pre-push", Some(PathBuf::from("b"))));
        assert!(of(&["agent", "status"]).is_none() && of(&["hooks/pre-push", "origin"]).is_none());
    }

    #[test]
    fn only_hooks_that_get_input_wait_for_it() {
        assert!(reads_stdin("post-receive") && reads_stdin("pre-push"));
        assert!(!reads_stdin("commit-msg"));
    }

    #[test]
    fn the_status_is_that_of_the_hook_that_was_there_before() {
        assert_eq!([Err(std::io::ErrorKind::NotFound.into()), Ok(0), Ok(3)].map(status), [1, 0, 3]);
    }
}
