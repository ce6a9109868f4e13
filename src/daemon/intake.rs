//! Events in: from the hooks' socket and from the drop-box.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::{Gid, Uid, User, getgrouplist};
use notify::{RecursiveMode, Watcher};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use crate::event::{Event, Kind};
use crate::intake::socket::{self, Peer};
use crate::intake::{Outcome, Reply, frame, spool};
use crate::queue::News;
use crate::smart::Policy;
use crate::{clock, effect, failpoint, people, queue};

use super::{Applied, Shared, calls, issues, logins, typed};

/// Connections served at the same time.
const CONNECTIONS: usize = 512;
/// Those of one user, who may run the hooks of a whole host.
const OF_A_USER: usize = 384;
/// How long an intent waits for its push before it is stored.
const CONFIRMED_IN: Duration = Duration::from_secs(1);
/// How long a peer may take to send its frame.
pub(super) const SLOWEST: Duration = Duration::from_secs(5);
/// How long it may take where there are too many already.
const CROWDED: Duration = Duration::from_millis(200);
/// How long it may take to find out who pushed.
const WHO: Duration = Duration::from_millis(100);
/// Outcomes that an answer tells.
const NOTES: usize = 5;
/// Files taken from the drop-box at a time.
const PORTION: usize = 256;

/// Takes frames from the hooks' socket.
pub fn socket(
    shared: Arc<Shared>,
    listener: std::io::Result<UnixListener>,
) -> std::io::Result<impl Future<Output = anyhow::Result<()>> + Send + 'static> {
    let listener = tokio::net::UnixListener::from_std(listener?)?;
    Ok(async move {
        let all = Arc::new(Semaphore::new(CONNECTIONS));
        let users = Arc::new(Users::default());
        let mut stopped = std::pin::pin!(shared.stopped());
        loop {
            let permit = Arc::clone(&all).acquire_owned().await?;
            let stream = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        // Out of descriptors: those in use are given back soon, the store keeps its own.
                        tracing::warn!("cannot accept a connection: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
                () = &mut stopped => return Ok(()),
            };
            let (shared, users) = (Arc::clone(&shared), Arc::clone(&users));
            tokio::spawn(async move {
                converse(&shared, &users, stream).await;
                drop(permit);
            });
        }
    })
}

/// Takes frames from the drop-box: at start, whenever something is left there, and every few seconds.
pub async fn spool(shared: Arc<Shared>) -> anyhow::Result<()> {
    let (dropped, mut drops) = tokio::sync::mpsc::channel::<()>(1);
    let handler = move |event: notify::Result<notify::Event>| {
        // Our own looking is none; what is left comes by a new name.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = dropped.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(handler).ok();
    if let Some(watcher) = &mut watcher {
        let _ = watcher.watch(&shared.places.spool.join("incoming"), RecursiveMode::NonRecursive);
    }
    let mut stopped = std::pin::pin!(shared.stopped());
    loop {
        let full = shared.not_ready().is_none() && pick_up(&shared).await? == PORTION;
        let depth = spool::depth(&shared.places.spool);
        shared.note(|running| running.spool = depth);
        if full {
            continue;
        }
        shared.picked_up.send_replace(true);
        tokio::select! {
            Some(()) = drops.recv() => tokio::time::sleep(Duration::from_millis(50)).await,
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
            () = &mut stopped => return Ok(()),
        }
    }
}

async fn converse(shared: &Arc<Shared>, users: &Arc<Users>, mut stream: UnixStream) {
    let Ok(peer) = socket::peer(&stream) else { return };
    let answer = match users.enter(peer.uid) {
        None => match tokio::time::timeout(CROWDED, socket::receive(&mut stream)).await {
            Ok(Ok((frame::CALL, _))) => return calls::put_off(&stream).await,
            _ => alone(later("too many connections of this user at once")),
        },
        Some(_guard) => match tokio::time::timeout(SLOWEST, socket::receive(&mut stream)).await {
            Ok(Ok((frame::LOGIN, body))) => alone(logins::by_user(shared, body, peer.uid).await),
            Ok(Ok((frame::TYPED, body))) => alone(typed::take(shared, &body, peer).await),
            Ok(Ok((frame::ASK, body))) => {
                let told = issues::answer(shared, &body, peer).await;
                let _ = tokio::time::timeout(SLOWEST, socket::answer(&stream, frame::ASK, &told)).await;
                return;
            }
            Ok(Ok((frame::CALL, body))) => return calls::converse(shared, &body, peer, stream).await,
            Ok(Ok((_, body))) => take(shared, &body, peer).await,
            Ok(Err(error)) => alone(refuse(shared, peer.uid, &error.to_string())),
            Err(_) => return,
        },
    };
    let Some((reply, telling)) = answer else { return };
    failpoint::failpoint("daemon.before_reply");
    let answered = tokio::time::timeout(SLOWEST, socket::answer(&stream, frame::EVENT, &reply)).await;
    if let (Some(telling), Ok(Ok(()))) = (telling, answered) {
        telling.end(&stream).await;
    }
}

/// Stores the event of a frame if this peer may speak for its repository; nobody waits for a word on an intent.
async fn take(shared: &Arc<Shared>, body: &[u8], peer: Peer) -> Option<(Reply, Option<Telling>)> {
    let event = match Event::decode(body) {
        Ok(event) => event,
        Err(error) => return alone(refuse(shared, peer.uid, &format!("the frame holds no event: {error}"))),
    };
    if let Some(because) = shared.not_ready() {
        return alone(later(&because));
    }
    let applied = shared.applied();
    let real = match may_speak(&applied.config, event.repository.git_dir(), peer.uid) {
        Ok(real) => real,
        Err(because) => return alone(refuse(shared, peer.uid, &because)),
    };
    // What was let in against a policy counts only once it is written down, so that hook waits for the word.
    if event.kind == Kind::Intent && event.overridden.is_empty() {
        note(shared, event, peer.uid);
        return None;
    }
    let pusher = Pusher::of(shared, &applied, &event, &real, peer.uid).await;
    let stored = shared.queue.add_of(Arc::new(event), peer.uid, pusher.person(), clock::now(), |_| ()).await;
    if stored.is_ok() {
        shared.added.notify_one();
    }
    Some(pusher.told(stored))
}

/// What the answer to a push says of whoever pushed.
pub(super) struct Pusher {
    lacks: Option<String>,
    telling: Option<Telling>,
}

impl Pusher {
    /// `real` is where the repository of the event really is.
    pub(super) async fn of(
        shared: &Arc<Shared>,
        applied: &Arc<Applied>,
        event: &Event,
        real: &Path,
        uid: u32,
    ) -> Pusher {
        let lacks = logins::lacks(shared, applied, event, real, uid);
        let person = person(applied, event, real, uid).await;
        Pusher { lacks, telling: person.and_then(|person| Telling::begin(shared, person)) }
    }

    /// Whose news are asked for.
    pub(super) fn person(&self) -> Option<String> {
        self.telling.as_ref().map(|telling| telling.person.clone())
    }

    /// The answer to a push that is stored, and of which there are no news.
    pub(super) fn quietly(&self) -> Reply {
        Reply { lacks: self.lacks.clone(), ..Reply::new(Outcome::Stored) }
    }

    /// The answer to a push, with the news.
    pub(super) fn told(self, stored: Result<(queue::Added, News), queue::Error>) -> (Reply, Option<Telling>) {
        match stored {
            Ok((_, news)) => {
                let reply = Reply { notes: notes(&news), ..self.quietly() };
                let mut telling = self.telling.filter(|_| !news.rows.is_empty());
                telling.iter_mut().for_each(|telling| telling.up_to = news.up_to);
                (reply, telling)
            }
            Err(error) => (later(&error.to_string()), None),
        }
    }
}

/// An answer without news.
fn alone(reply: Reply) -> Option<(Reply, Option<Telling>)> {
    Some((reply, None))
}

/// Who pushed, where they are told what became of earlier orders: where the agent carries out any, and the hook says
/// what it is told. A directory of users that takes its time costs the news, not the push.
async fn person(applied: &Arc<Applied>, event: &Event, real: &Path, uid: u32) -> Option<String> {
    let account = applied.config.account_of(real).filter(|_| applied.config.hook.answer)?;
    if account.smart.policy == Policy::Off || event.kind != Kind::Push {
        return None;
    }
    let (applied, smart, claims) = (Arc::clone(applied), account.smart.clone(), event.claims.clone());
    let found = tokio::task::spawn_blocking(move || {
        let people = &applied.people;
        people.pusher(&claims, uid, smart.is_host(uid)).map(|pusher| people.holder(&pusher))
    });
    tokio::time::timeout(WHO, found).await.ok()?.ok()?
}

/// News as lines, a few at most.
fn notes(news: &News) -> Vec<String> {
    let more = news.rows.len().saturating_sub(NOTES);
    let least = if news.rows.len() == queue::MOST_NEWS { "at least " } else { "" };
    let more = (more > 0).then(|| format!("{least}{more} more: agent effects list"));
    news.rows.iter().take(NOTES).map(effect::fate).chain(more).collect()
}

/// Somebody who is being told what became of their orders; nobody is told in two answers at once.
pub(super) struct Telling {
    shared: Arc<Shared>,
    person: String,
    up_to: i64,
}

impl Telling {
    fn begin(shared: &Arc<Shared>, person: String) -> Option<Telling> {
        let begun = shared.telling().insert(person.clone());
        begun.then(|| Telling { shared: Arc::clone(shared), person, up_to: 0 })
    }

    /// Moves the mark once the hook has passed the answer on: what gets lost on the way is told again.
    pub(super) async fn end(self, stream: &UnixStream) {
        if tokio::time::timeout(SLOWEST, socket::is_passed_on(stream)).await != Ok(true) {
            return;
        }
        if let Err(error) = self.shared.queue.told(self.person.clone(), self.up_to).await {
            tracing::warn!("news are told again: {error}");
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.shared.telling().remove(&self.person);
    }
}

/// Stores an intent unless its push confirms it soon, as nearly all do: then it is never written.
///
/// A daemon that stops stores it at once; what one forgets that is killed is found by comparing refs at its next start.
pub(super) fn note(shared: &Arc<Shared>, intent: Event, uid: u32) {
    let Ok(room) = Arc::clone(&shared.intents).try_acquire_owned() else { return };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let _ = tokio::time::timeout(CONFIRMED_IN, shared.stopped()).await;
        if let Err(error) = shared.queue.add(intent, uid, clock::now()).await {
            tracing::warn!("an intent was not stored: {error}");
        }
        drop(room);
    });
}

/// One look into the drop-box; gives how many files it saw.
async fn pick_up(shared: &Shared) -> anyhow::Result<usize> {
    let path = shared.places.spool.clone();
    let found = tokio::task::spawn_blocking(move || spool::look(&path, PORTION)).await??;
    let seen = found.len();
    for left in found {
        let applied = shared.applied();
        let event = match &left.body {
            Ok((frame::CALL, body)) => calls::left(&applied, body, left.uid),
            Ok((_, body)) => Event::decode(body).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let event = event.and_then(|event| {
            may_speak(&applied.config, event.repository.git_dir(), left.uid)?;
            Ok(event)
        });
        match event {
            Err(because) => {
                tracing::warn!("moved {} to the side: {because}", left.path.display());
                spool::set_aside(&shared.places.spool, &left)?;
            }
            Ok(event) => match shared.queue.add(event, left.uid, clock::now()).await {
                Ok(_) => {
                    failpoint::failpoint("spool.before_remove");
                    spool::remove(&left)?;
                    shared.added.notify_one();
                }
                Err(queue::Error::Overloaded | queue::Error::Full) => return Ok(0),
                Err(error) => return Err(error.into()),
            },
        }
    }
    Ok(seen)
}

/// Whether a user may hand over events of a repository: it lies in an account, and they may write to it. Gives where it
/// really is.
pub fn may_speak(config: &crate::config::Config, git_dir: &Path, uid: u32) -> Result<PathBuf, String> {
    if !git_dir.is_absolute() || git_dir.components().any(|part| part == std::path::Component::ParentDir) {
        return Err("the repository's path is not absolute".to_owned());
    }
    let real: PathBuf = std::fs::canonicalize(git_dir).unwrap_or_else(|_| git_dir.to_owned());
    let Some(account) = config.account_of(&real) else {
        return Err(format!("{} lies in no account; `agent install` or an [[account]] adds it", git_dir.display()));
    };
    let own = rustix::process::geteuid().as_raw();
    if !account.contains(&real) && uid != 0 && uid != own {
        return Err(format!("{} is a clone of somebody else's, whose own daemon tells of it", git_dir.display()));
    }
    if uid == 0 || uid == own || people::is_named(&account.users, uid) {
        return Ok(real);
    }
    match std::fs::metadata(real.join("objects")) {
        Ok(objects) if may_write(&objects, uid) => Ok(real),
        Ok(_) => Err(format!("user {uid} may not write to {}", git_dir.display())),
        Err(error) => Err(format!(
            "the daemon cannot see whether user {uid} may write to {} ({error}); name the user in `users` of account {}",
            git_dir.display(),
            account.name
        )),
    }
}

fn may_write(objects: &std::fs::Metadata, uid: u32) -> bool {
    let mode = objects.mode();
    (objects.uid() == uid && mode & 0o200 != 0)
        || mode & 0o002 != 0
        || (mode & 0o020 != 0 && groups(uid).contains(&Gid::from_raw(objects.gid())))
}

fn groups(uid: u32) -> Vec<Gid> {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else {
        return Vec::new();
    };
    let name = std::ffi::CString::new(user.name).unwrap_or_default();
    getgrouplist(&name, user.gid).unwrap_or_else(|_| vec![user.gid])
}

fn refuse(shared: &Shared, uid: u32, because: &str) -> Reply {
    tracing::warn!(peer.uid = uid, "refused an event of user {uid}: {because}");
    shared.note(|running| running.refused += 1);
    Reply::new(Outcome::Refused { because: because.to_owned() })
}

fn later(because: &str) -> Reply {
    Reply::new(Outcome::Later { because: because.to_owned() })
}

/// How many connections each user has.
#[derive(Default)]
struct Users {
    inside: Mutex<HashMap<u32, usize>>,
}

struct Inside {
    users: Arc<Users>,
    uid: u32,
}

impl Users {
    fn enter(self: &Arc<Self>, uid: u32) -> Option<Inside> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let count = inside.entry(uid).or_default();
        if *count == OF_A_USER {
            return None;
        }
        *count += 1;
        Some(Inside { users: Arc::clone(self), uid })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut inside = self.users.inside.lock().unwrap_or_else(PoisonError::into_inner);
        match inside.get_mut(&self.uid) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(inside.remove(&self.uid)),
        }
    }
}
