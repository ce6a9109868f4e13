//! Pushes on their short way: what Git told a hook is read, stored and answered here.
//!
//! Only what is as it usually is. Whatever the hook would have to write, mend or explain is left to its long way, and nothing of
//! it is stored here: an id for the repository, its first baseline, a mark that is off, a refusal.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use git_jira_agent_hook::call::{Call, Called, Claim, Hook, SSH_USER_AUTH, WHOSE};
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::config::{Config, Environment, Places, SYSTEM};
use crate::event::{Event, EventId, Kind, Origin};
use crate::git::{Budget, LaidAside, RefName, Repository, Told, Update};
use crate::host;
use crate::host::Account;
use crate::intake::socket::{self, Peer};
use crate::intake::{Outcome, Reply, frame};
use crate::parse::Rules;
use crate::people;
use crate::policy::draft::{Cleanup, Draft};
use crate::policy::{self, Answers};
use crate::queue::{self, Added, News};
use crate::receive::answer::{Handed, LINES};
use crate::{clock, git, receive, team};

use super::intake::{self, Pusher, SLOWEST};
use super::{Applied, Shared};

/// The longest that reading may take, so that the hook hears of it in its time.
const READ: Duration = Duration::from_millis(60);
/// How long a repository that the first hook of a push had opened is kept for the second.
const BETWEEN: Duration = Duration::from_secs(2);
/// How many are.
const OPEN: usize = 16;
/// The longest that a call waits until it is read; then its commits are left to be walked later.
const QUEUE: Duration = Duration::from_millis(40);
/// A configuration with a shorter deadline has its hooks go the long way, which knows it.
const DEADLINE_MS: u64 = 250;

/// Repositories that pushes are on their way into, opened by the first of their hooks.
#[derive(Default)]
pub struct Opened(Mutex<Vec<(Instant, LaidAside)>>);

impl Opened {
    /// The repository that lies there, opened anew unless that was just done.
    fn take(&self, git_dir: &Path) -> Option<Repository> {
        let kept = {
            let mut opened = self.lock();
            let at = opened.iter().position(|(_, aside)| aside.git_dir() == git_dir);
            at.map(|at| opened.swap_remove(at).1)
        };
        kept.and_then(LaidAside::opened).or_else(|| Repository::open(git_dir).ok())
    }

    fn keep(&self, repository: Repository) {
        let mut opened = self.lock();
        if opened.len() < OPEN {
            opened.push((Instant::now(), repository.laid_aside()));
        }
    }

    /// What is left, without those that nobody came for.
    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, LaidAside)>> {
        let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|(since, _)| since.elapsed() < BETWEEN);
        opened
    }
}

/// What was read of a call.
struct Looked {
    event: Event,
    /// What the hook is to append to the file of what was told.
    told: Vec<u8>,
    /// The rules by which messages were read, where there was something to read.
    rules: Option<Arc<Rules>>,
}

/// The answer to a push while nothing goes against it, sent as soon as the push is on disk: by the thread that has put it
/// there, because to wake another one takes as long again.
struct Ready {
    stream: UnixStream,
    /// What of it is still to be sent; nothing as long as it is not made.
    frame: Mutex<Vec<u8>>,
}

impl Ready {
    fn frame(&self) -> MutexGuard<'_, Vec<u8>> {
        self.frame.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what there is, as far as it goes without waiting.
    fn send(&self) {
        let mut frame = self.frame();
        if !frame.is_empty() {
            crate::failpoint::failpoint("daemon.before_reply");
            let sent = self.stream.try_write(&frame).unwrap_or(0);
            frame.drain(..sent);
        }
    }
}

/// Takes a call, and says what comes of it.
pub async fn converse(shared: &Arc<Shared>, body: &[u8], peer: Peer, stream: UnixStream) {
    let Ok(call) = minicbor::decode::<Call>(body) else { return say(&stream, Called::Long).await };
    let applied = shared.applied();
    let Ok(real) = intake::may_speak(&applied.config, git_dir_of(&call), peer.uid) else {
        return say(&stream, Called::Long).await;
    };
    if shared.not_ready().is_some() {
        return say(&stream, Called::Long).await;
    }
    match call.hook {
        Hook::PreReceive => {
            let turn = turn(shared).await;
            if let Some(intent) = looked(shared, &applied, turn, call, peer) {
                intake::note(shared, intent.event, peer.uid);
            }
        }
        Hook::PostReceive => push(shared, &applied, call, &real, peer, stream).await,
        Hook::CommitMsg | Hook::PrepareCommitMsg => {
            let read = message(shared, &applied, &call, peer);
            let is_read = read.is_some();
            say(&stream, read.unwrap_or(Called::Long)).await;
            if is_read && has_settings_of(shared, &call, peer) {
                let (own, git_dir) = (&shared.places.config, git_dir_of(&call));
                let _ = team::note_sure(&applied.config, own, git_dir, shared.environment.home.as_deref());
            }
        }
    }
}

/// Says that there is no room now.
pub async fn put_off(stream: &UnixStream) {
    say(stream, Called::Busy).await;
}

/// What a call comes to that was left in the drop-box: its commits are walked with the rest.
pub fn left(applied: &Applied, body: &[u8], uid: u32) -> Result<Event, String> {
    let call = minicbor::decode::<Call>(body).map_err(|error| error.to_string())?;
    // Nothing is looked into that whoever left it has no business with.
    intake::may_speak(&applied.config, git_dir_of(&call), uid)?;
    let repository = Repository::open(git_dir_of(&call)).map_err(|error| error.to_string())?;
    let id = repository.id().ok_or("the repository has no id")?.to_owned();
    let repository = repository.hiding(applied.config.account_of(git_dir_of(&call)).and_then(Account::hidden));
    let updates = receive::concerning(&repository, &call.stdin).map_err(|error| error.to_string())?;
    Ok(Event { updates, rest: true, ..event_of(call, id) })
}

async fn say(stream: &UnixStream, called: Called) {
    let _ = tokio::time::timeout(SLOWEST, socket::answer(stream, frame::CALL, &called)).await;
}

async fn push(shared: &Arc<Shared>, applied: &Arc<Applied>, call: Call, real: &Path, peer: Peer, stream: UnixStream) {
    let spool = shared.places.spool.as_os_str().as_bytes().to_vec();
    let turn = turn(shared).await;
    // Its time was up: it has left the call in the drop-box, or gone the long way.
    if has_left(&stream) {
        return;
    }
    let Some(Looked { event, told, rules }) = looked(shared, applied, turn, call, peer) else {
        return say(&stream, Called::Long).await;
    };
    let Some(rules) = rules.filter(|_| !event.updates.is_empty()) else {
        return say(&stream, Called::Done { lines: Vec::new(), news: false, told, spool }).await;
    };
    let event = Arc::new(event);
    let pusher = Pusher::of(shared, applied, &event, real, peer.uid).await;
    let ready = Arc::new(Ready { stream, frame: Mutex::default() });
    let at_once = Arc::clone(&ready);
    let then = move |stored: &Result<(Added, News), queue::Error>| {
        if stored.as_ref().is_ok_and(|(_, news)| news.rows.is_empty()) {
            at_once.send();
        }
    };
    let storing = shared.queue.add_of(Arc::clone(&event), peer.uid, pusher.person(), clock::now(), then);
    let done = |reply: &Reply, news: bool| {
        let lines = match applied.config.hook.answer {
            true => lines(applied, &event, &rules, peer, reply),
            false => Vec::new(),
        };
        let done = Called::Done { lines, news, told: told.clone(), spool: spool.clone() };
        socket::framed(frame::CALL, &done).unwrap_or_default()
    };
    // While the disk has its turn.
    let quiet = done(&pusher.quietly(), false);
    *ready.frame() = quiet;
    let (reply, telling) = pusher.told(storing.await);
    if reply.outcome != Outcome::Stored {
        return say(&ready.stream, Called::Long).await;
    }
    let left = match &telling {
        Some(_) => done(&reply, true),
        None => std::mem::take(&mut *ready.frame()),
    };
    if !left.is_empty() {
        crate::failpoint::failpoint("daemon.before_reply");
    }
    let answered = tokio::time::timeout(SLOWEST, socket::write(&ready.stream, &left)).await;
    // Only now, because whoever digests it would take the processor from the push.
    shared.added.notify_one();
    if let (Some(telling), Ok(Ok(()))) = (telling, answered) {
        telling.end(&ready.stream).await;
    }
}

/// What the push is answered with: what the long way would say.
fn lines(applied: &Applied, event: &Event, rules: &Rules, peer: Peer, reply: &Reply) -> Vec<String> {
    let config = &applied.config;
    let link = config.link_of(event.repository.git_dir());
    let say = || -> anyhow::Result<Vec<String>> {
        let orders = receive::orders(event, link, peer.uid, || Ok(Arc::clone(&applied.people)))?;
        Ok(receive::answer(config, event, rules, orders, Handed::Daemon(reply)))
    };
    let mut lines = say().unwrap_or_else(|error| vec![format!("jira: {error:#}")]);
    lines.truncate(LINES);
    lines
}

/// A turn at reading. Many at once would all be late; one that waited too long gets none, and leaves its commits to the
/// walk of the rest.
async fn turn(shared: &Shared) -> Option<OwnedSemaphorePermit> {
    tokio::time::timeout(QUEUE, Arc::clone(&shared.reading).acquire_owned()).await.ok()?.ok()
}

/// Whether nobody is at the other end any more.
fn has_left(stream: &UnixStream) -> bool {
    matches!(stream.try_read(&mut [0]), Ok(0))
}

/// Reads a call; `None` where the hook has to do it.
fn looked(
    shared: &Shared,
    applied: &Applied,
    turn: Option<OwnedSemaphorePermit>,
    call: Call,
    peer: Peer,
) -> Option<Looked> {
    let read_until = turn.is_some().then(|| Instant::now() + READ);
    let config = configuration_of(shared, &call, peer);
    // Where it is: to wake another thread for it would take longer than most of them.
    tokio::task::block_in_place(|| look(shared, applied, config, call, read_until))
}

/// The configuration that the hook would go by, as far as its repository does not say: that of its environment, or of its
/// user, where that can be known here.
fn configuration_of(shared: &Shared, call: &Call, peer: Peer) -> Option<PathBuf> {
    let own = || {
        let unnamed = Environment { config: None, ..shared.environment.clone() };
        (peer.uid == rustix::process::geteuid().as_raw()).then(|| Places::config_path(None, &unnamed))
    };
    let system = PathBuf::from(SYSTEM);
    config_said(call).or_else(|| if system.exists() { Some(system) } else { own() })
}

fn look(
    shared: &Shared,
    applied: &Applied,
    config: Option<PathBuf>,
    call: Call,
    read_until: Option<Instant>,
) -> Option<Looked> {
    let repository = shared.opened.take(git_dir_of(&call))?;
    let git_dir = repository.common_dir().to_owned();
    let is_usual = git_dir == git_dir_of(&call)
        && host::config_of(&repository).or(config)? == shared.places.config
        && applied.config.hook.deadline_ms >= DEADLINE_MS
        && host::copied_from(&repository).is_none()
        && host::is_policy_marked(&git_dir) != applied.config.policies(&git_dir).is_empty()
        && is_named(&git_dir, &call);
    if !is_usual {
        return None;
    }
    let stdin = call.stdin.clone();
    let mut event = event_of(call, repository.id()?.to_owned());
    let kind = event.kind;
    if applied.config.keeps_out(&git_dir).is_some() || host::is_companion(&git_dir) {
        return (kind == Kind::Push).then_some(Looked { event, told: Vec::new(), rules: None });
    }
    let hidden = applied.config.account_of(&git_dir).and_then(Account::hidden);
    let repository = repository.hiding(hidden).remembering(&shared.memory);
    event.updates = receive::concerning(&repository, &stdin).ok()?;
    if kind == Kind::Intent {
        shared.opened.keep(repository);
        return (!event.updates.is_empty()).then_some(Looked { event, told: Vec::new(), rules: None });
    }
    let born = |update: &Update| update.name.is_branch() && update.old.is_none() && update.new.is_some();
    if event.updates.iter().any(born) && repository.leads_nowhere() {
        return None;
    }
    let (known, told) = Told::of(&repository).appending(&event.updates)?;
    let hook = &applied.config.hook;
    let rules = applied.rules(applied.config.link_of(&git_dir)).ok()?;
    match read_until {
        Some(longest) => {
            let until = longest.min(Instant::now() + Duration::from_millis(hook.read_ms));
            let budget = Budget { commits: hook.commits, until: Some(until) };
            receive::read(&repository, &mut event, &known, budget, &rules);
        }
        None => event.rest = true,
    }
    // Where the hook may take longer than usual, it reads more than there is time for here.
    let late = read_until.is_none_or(|until| Instant::now() >= until);
    if event.rest && late && applied.config.hook.deadline_ms > DEADLINE_MS {
        return None;
    }
    Some(Looked { event, told, rules: Some(rules) })
}

/// What becomes of a message and what is said of it, where nothing but its keys and orders is looked at.
fn message(shared: &Shared, applied: &Applied, call: &Call, peer: Peer) -> Option<Called> {
    let config = &applied.config;
    let git_dir = git_dir_of(call);
    let named = host::config_at(git_dir).or_else(|| configuration_of(shared, call, peer));
    if named? != shared.places.config || !config.policies(git_dir).is_empty() {
        return None;
    }
    let rules = applied.rules(config.link_of(git_dir)).ok()?;
    let draft = |text| Draft::new(text, None, Cleanup::of(None, false));
    let first = draft(&call.stdin);
    let mut mentions = rules.message(&first.message());
    let mut with_key = Vec::new();
    if call.hook == Hook::PrepareCommitMsg {
        let branch = RefName::new(call.head.strip_prefix(b"ref:")?.trim_ascii());
        let how = how(shared, config, call, peer)?;
        let key = receive::message::key_of(&branch, &rules);
        with_key = key.and_then(|key| receive::message::with_key(&first, &mentions, &key, &how)).unwrap_or_default();
    }
    if !with_key.is_empty() {
        mentions = rules.message(&draft(&with_key).message());
    }
    let lines = match config.hook.answer {
        true => receive::message::of_message(&mentions, &rules, &Answers::none("nothing was asked")),
        false => Vec::new(),
    };
    Some(Called::Read { lines, with_key })
}

/// How the key goes into a message, where what its writer has set in Git is what would be read here.
fn how(shared: &Shared, config: &Config, call: &Call, peer: Peer) -> Option<policy::Message> {
    let files = ["config", "config.worktree"].map(|name| git_dir_of(call).join(name));
    let is_theirs = has_settings_of(shared, call, peer);
    let [said] = is_theirs.then(|| git::settings(files.each_ref().map(PathBuf::as_path), [team::KEY]))?;
    // The agent says what is wrong with it.
    let is_understood = said.as_deref().is_none_or(|said| policy::Place::named(said).is_some());
    is_understood.then(|| team::message_of(config, said.as_deref()))
}

/// Whether whoever called reads the same settings of Git as this process.
fn has_settings_of(shared: &Shared, call: &Call, peer: Peer) -> bool {
    let said = |name| call.claims.iter().find(|claim| claim.name == name).map(|claim| &*claim.value);
    let [home, config_home] = WHOSE.map(said).map(|path| path.filter(|path| !path.is_empty()).map(OsStr::from_bytes));
    let home = home.map(Path::new);
    let config_home = config_home.map(PathBuf::from).or_else(|| Some(home?.join(".config")));
    let own = &shared.environment;
    peer.uid == rustix::process::geteuid().as_raw() && home == own.home.as_deref() && config_home == own.config_home
}

/// The event of a call, without what its updates bring.
fn event_of(call: Call, id: String) -> Event {
    Event {
        id: EventId::of_call(call.id),
        kind: if call.hook == Hook::PreReceive { Kind::Intent } else { Kind::Push },
        at: call.at,
        repository: Origin { id, git_dir: call.git_dir },
        updates: Vec::new(),
        commits: Vec::new(),
        rest: false,
        claims: call.claims.into_iter().map(claim).collect(),
        push_options: call.push_options,
        tips: Vec::new(),
        overridden: Vec::new(),
    }
}

fn git_dir_of(call: &Call) -> &Path {
    Path::new(OsStr::from_bytes(&call.git_dir))
}

fn config_said(call: &Call) -> Option<PathBuf> {
    (!call.config.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(&call.config)))
}

/// A claim as a hook would make it that can read keys.
fn claim(claim: Claim) -> Claim {
    match claim.name == SSH_USER_AUTH {
        true => Claim { value: people::keys_of_login(&claim.value), ..claim },
        false => claim,
    }
}

/// Whether the name that the host gives a repository is the one that is kept.
fn is_named(git_dir: &Path, call: &Call) -> bool {
    let said = call.claims.iter().find(|claim| claim.name == "GL_PROJECT_PATH");
    let said = said.and_then(|claim| std::str::from_utf8(&claim.value).ok());
    said.and_then(|name| host::name_said(git_dir, name))
        .is_none_or(|name| host::name_at_host(git_dir).as_deref() == Some(name))
}
