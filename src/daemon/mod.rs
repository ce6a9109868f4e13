//! The process that keeps the line moving.
//!
//! Each part is a loop that waits for its wake-up, or a tick, and then looks for itself what there
//! is to do: a wake-up carries no data, so a missed one costs a delay, never an event.
//!
//! | part | looks after |
//! | --- | --- |
//! | [`intake`] | the hooks' socket and the drop-box: events in, [`calls`] of hooks, questions about [`issues`], [`typed`] orders |
//! | [`line`] | queued events: what each means for its site |
//! | [`sites`] | one loop a site: claim, tell, settle |
//! | [`effects`] | one loop a site whose orders we carry out: claim, send or look, settle; [`actors`] in whose name |
//! | [`history`] | synchronisations: a repository's history into the outbox, a few at a time |
//! | [`mail`] | what went wrong with orders: mailed to whoever gave them |
//! | [`alerts`] | what needs a person: mailed to the operators |
//! | [`accounts`] | repositories that appear in an account that links new ones: hooks into them |
//! | [`moved_keys`] | keys that a site did not know: looked up, in case their issues have moved |
//! | [`relink`] | links that people put right, as they ask |
//! | [`rewritten`] | commits that refs have left behind, or that came back |
//! | [`unlink`] | a site that is unlinked: Jira forgets what it was told |
//! | [`upkeep`] | unconfirmed intents, comparing refs, pushes of clones that no hook told of ([`pushed`]), repositories that moved or are gone ([`absent`]), old rows, snapshots, the disk |
//!
//! A part that panics is logged and begun again. A store that cannot be written ends the process,
//! because only opening it again tells what is on disk; the supervisor starts us anew.

mod absent;
mod accounts;
mod actors;
mod alerts;
mod calls;
mod effects;
mod history;
mod intake;
mod issues;
mod line;
mod logins;
mod mail;
mod moved_keys;
mod pushed;
mod relink;
mod rewritten;
mod sites;
mod typed;
mod unlink;
mod upkeep;
mod verify;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use notify::{RecursiveMode, Watcher};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::clock;
use crate::config::{Config, Environment, Link, Places};
use crate::git::Memory;
use crate::host::Account;
use crate::login::Logins;
use crate::parse::{self, Rules};
use crate::people::People;
use crate::queue::{self, Corrections, Queue};
use crate::send;
use crate::serve::{self, Office, Running};
use crate::sync::Links;

/// Why the process ends.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Somebody asked for it.
    Stopped,
    /// The store cannot be written.
    Broken(String),
}

/// What a configuration means, ready to use.
struct Applied {
    config: Config,
    /// By the names of account and site, and the projects whose keys link.
    rules: HashMap<(String, String, Vec<String>), Arc<Rules>>,
    people: Arc<People>,
}

/// How a repository is linked, and how its messages are read.
struct Linked<'a> {
    /// Where it really is.
    git_dir: PathBuf,
    account: &'a Account,
    site: &'a send::Settings,
    rules: Arc<Rules>,
}

/// Begins a part of the process; for all of them alike, so that they are kept up by the same code.
type Part = Box<dyn Fn(Arc<Shared>) -> std::io::Result<BoxFuture<'static, anyhow::Result<()>>> + Send>;

/// What all parts share.
struct Shared {
    places: Places,
    environment: Environment,
    queue: Queue,
    applied: watch::Sender<Arc<Applied>>,
    running: Arc<RwLock<Running>>,
    /// Repositories whose history is being read, so that what they are owed still grows.
    growing: Mutex<HashSet<String>>,
    /// Sites that are being unlinked: nothing is lent to be sent to them.
    leaving: Mutex<HashSet<String>>,
    /// People's own accounts.
    logins: Logins,
    /// Questions about issues.
    desk: issues::Desk,
    /// Whoever is being told what became of their orders.
    telling: Mutex<HashSet<String>>,
    /// Room for intents that are not stored yet.
    intents: Arc<Semaphore>,
    /// Turns at reading what pushes bring.
    reading: Arc<Semaphore>,
    /// Repositories that are being pushed to.
    opened: calls::Opened,
    /// What was read lately of what pushes bring.
    memory: Arc<Memory>,
    /// An event was stored.
    added: Notify,
    /// An entity became due.
    due: Arc<Notify>,
    /// A synchronisation was asked for, or is to go on.
    history: Arc<Notify>,
    /// Whether the drop-box was emptied since the start: what lies there is older than what refs show.
    picked_up: watch::Sender<bool>,
    stop: watch::Sender<bool>,
}

/// What the supervisor, or a person, says with `kill`.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// Intents that may wait for their push at the same time; what is beyond is left to the comparison of refs.
const INTENTS: u32 = 4096;

/// How long the parts may take to come to an end.
const PATIENCE: Duration = Duration::from_secs(8);

/// Runs until a signal, or until the store breaks.
pub fn run(config: Config, places: Places, environment: Environment) -> anyhow::Result<End> {
    let queue = Queue::open(&places.state, clock::now())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let end =
        runtime.block_on(async move { Arc::new(Shared::new(config, places, environment, queue).await?).run().await });
    // Blocking work that outlived its part (a long walk) is taken up again at the next start.
    runtime.shutdown_timeout(Duration::from_millis(500));
    end
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

impl Applied {
    fn new(config: Config) -> Result<Applied, String> {
        let mut rules = HashMap::new();
        for (account, site) in config.account.iter().flat_map(|it| config.site.iter().map(move |site| (it, site))) {
            let different = account.repository.iter().filter_map(|one| one.keys.as_deref());
            for keys in different.chain([&account.keys[..]]) {
                let read = config.rules(Some(Link { account, keys, site: Some(site) }));
                let read = read.map_err(|error| format!("account {}: {error}", account.name))?;
                rules.insert((account.name.clone(), site.name.clone(), keys.to_vec()), Arc::new(read));
            }
        }
        Ok(Applied { rules, people: Arc::new(config.people()?), config })
    }

    /// How a repository is linked, or why it is not.
    fn link(&self, git_dir: &Path) -> Result<Linked<'_>, String> {
        let real = std::fs::canonicalize(git_dir).unwrap_or_else(|_| git_dir.to_owned());
        let Some(Link { account, keys, site }) = self.config.link_of(&real) else {
            return Err(self.config.keeps_out(&real).unwrap_or_else(|| "it lies in no account".to_owned()));
        };
        let site = site.ok_or("no site is linked to the repository's account")?;
        let rules = self.rules_of(account, site, keys);
        Ok(Linked { git_dir: real, account, site, rules })
    }

    fn rules_of(&self, account: &Account, site: &send::Settings, keys: &[String]) -> Arc<Rules> {
        let rules = self.rules.get(&(account.name.clone(), site.name.clone(), keys.to_vec()));
        Arc::clone(rules.expect("there are rules for each account, site and choice of projects"))
    }

    /// The rules by which the messages of a repository are read.
    fn rules(&self, link: Option<Link<'_>>) -> Result<Arc<Rules>, parse::Error> {
        match link {
            Some(Link { account, keys, site: Some(site) }) => Ok(self.rules_of(account, site, keys)),
            other => self.config.rules(other).map(Arc::new),
        }
    }
}

impl Linked<'_> {
    /// What commits and branches of the repository are linked to.
    fn links(&self, corrections: Corrections) -> Links {
        Links { rules: Arc::clone(&self.rules), corrections, ignores_merges: self.account.ignore_merges }
    }
}

impl Shared {
    async fn new(config: Config, places: Places, environment: Environment, queue: Queue) -> anyhow::Result<Shared> {
        let running = Running {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: clock::now(),
            config: places.config.clone(),
            ..Running::default()
        };
        let applied = Applied::new(config).map_err(anyhow::Error::msg)?;
        let credentials = environment.credentials_directory.as_deref();
        let logins = Logins::load(queue.clone(), &places.state, credentials).await?;
        Ok(Shared {
            places,
            environment,
            queue,
            applied: watch::Sender::new(Arc::new(applied)),
            running: Arc::new(RwLock::new(running)),
            growing: Mutex::default(),
            leaving: Mutex::default(),
            logins,
            desk: issues::Desk::new(),
            telling: Mutex::default(),
            intents: Arc::new(Semaphore::new(INTENTS as usize)),
            reading: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(2, std::num::NonZero::get))),
            opened: calls::Opened::default(),
            memory: Arc::default(),
            added: Notify::new(),
            due: Arc::new(Notify::new()),
            history: Arc::new(Notify::new()),
            picked_up: watch::Sender::new(false),
            stop: watch::Sender::new(false),
        })
    }

    async fn run(self: Arc<Self>) -> anyhow::Result<End> {
        // Before anybody can see that we run, because whoever does may stop us.
        let mut signals = Signals::new()?;
        crate::intake::spool::prepare(&self.places.spool, self.places.shared)?;
        let hooks = self.listen()?;
        let (reload, mut reloads) = mpsc::channel(4);
        let mut parts = JoinSet::new();
        self.begin(&mut parts, "intake", move |shared| intake::socket(shared, hooks.try_clone()));
        self.begin(&mut parts, "spool", |shared| Ok(intake::spool(shared)));
        self.begin(&mut parts, "line", |shared| Ok(line::run(shared)));
        self.begin(&mut parts, "sites", |shared| Ok(sites::run(shared)));
        self.begin(&mut parts, "effects", |shared| Ok(effects::run(shared)));
        self.begin(&mut parts, "history", |shared| Ok(history::run(shared)));
        self.begin(&mut parts, "mail", |shared| Ok(mail::run(shared)));
        self.begin(&mut parts, "alerts", |shared| Ok(alerts::run(shared)));
        self.begin(&mut parts, "moved keys", |shared| Ok(moved_keys::run(shared)));
        self.begin(&mut parts, "rewritten", |shared| Ok(rewritten::run(shared)));
        self.begin(&mut parts, "accounts", |shared| Ok(accounts::run(shared)));
        self.begin(&mut parts, "upkeep", |shared| Ok(upkeep::run(shared)));
        self.serve(&mut parts, reload);
        let watched = self.watch_config();
        self.say_recovered().await;
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        let end = self.wait(&mut signals, &mut reloads, watched).await?;
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        self.stop.send_replace(true);
        if tokio::time::timeout(PATIENCE, async { while parts.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!("some work did not end in time and will be taken up again at the next start");
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), self.intents.acquire_many(INTENTS)).await;
        let _ = self.queue.release_all().await;
        self.queue.close();
        Ok(end)
    }

    /// The only place that waits for signals and for the configuration to change.
    async fn wait(
        &self,
        signals: &mut Signals,
        reloads: &mut mpsc::Receiver<oneshot::Sender<Result<(), String>>>,
        (_watcher, mut changes): (Option<notify::RecommendedWatcher>, mpsc::Receiver<()>),
    ) -> anyhow::Result<End> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return Ok(End::Stopped),
                _ = signals.interrupt.recv() => return Ok(End::Stopped),
                _ = signals.hangup.recv() => drop(self.reload()),
                Some(()) = changes.recv() => {
                    // An editor writes in several steps: look when it has come to rest.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    while changes.try_recv().is_ok() {}
                    let _ = self.reload();
                }
                Some(tell) = reloads.recv() => drop(tell.send(self.reload())),
                _ = tick.tick() => if let Some(because) = self.queue.broken() {
                    tracing::error!("the queue cannot be written, ending: {because}");
                    return Ok(End::Broken(because));
                } else if tokio::time::timeout(Duration::from_secs(10), self.queue.ping()).await.is_ok() {
                    let _ = sd_notify::notify(&[NotifyState::Watchdog]);
                },
            }
        }
    }

    /// Reads the configuration again; one that is not in order changes nothing.
    fn reload(&self) -> Result<(), String> {
        let _ = sd_notify::notify(&[NotifyState::Reloading]);
        let applied = Config::load(&self.places.config).map_err(|error| error.to_string()).and_then(Applied::new);
        let result = applied.map(|applied| {
            // One that is gone is unlinked; who links it again begins afresh.
            self.leaving().retain(|name| applied.config.site.iter().any(|site| site.name == *name));
            self.applied.send_replace(Arc::new(applied));
        });
        match &result {
            Ok(()) => tracing::info!("took the configuration of {}", self.places.config.display()),
            Err(because) => tracing::error!("kept the old configuration: {because}"),
        }
        self.note(|running| running.config_error = result.as_ref().err().cloned());
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        result
    }

    fn applied(&self) -> Arc<Applied> {
        Arc::clone(&self.applied.borrow())
    }

    fn note(&self, change: impl FnOnce(&mut Running)) {
        change(&mut self.running.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn growing(&self) -> MutexGuard<'_, HashSet<String>> {
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leaving(&self) -> MutexGuard<'_, HashSet<String>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn telling(&self) -> MutexGuard<'_, HashSet<String>> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_ready(&self) -> Option<String> {
        self.running.read().unwrap_or_else(PoisonError::into_inner).not_ready.clone()
    }

    /// Resolves when the daemon is asked to stop.
    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move { drop(stop.wait_for(|stop| *stop).await) }
    }

    /// The hooks' socket: systemd's if it gave us one, else our own.
    fn listen(&self) -> anyhow::Result<UnixListener> {
        let given = listenfd::ListenFd::from_env().take_unix_listener(0)?;
        let listener = match given {
            Some(listener) => listener,
            None => bind(&self.places.socket, self.places.shared)?,
        };
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    fn begin<F>(
        self: &Arc<Self>,
        parts: &mut JoinSet<()>,
        name: &'static str,
        part: impl Fn(Arc<Shared>) -> std::io::Result<F> + Send + 'static,
    ) where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.keep_up(parts, name, Box::new(move |shared| Ok(Box::pin(part(shared)?))));
    }

    /// Begins a part, and begins it again when it panics or fails.
    fn keep_up(self: &Arc<Self>, parts: &mut JoinSet<()>, name: &'static str, part: Part) {
        let shared = Arc::clone(self);
        parts.spawn(async move {
            let mut pause = Duration::from_millis(100);
            while !*shared.stop.borrow() {
                let ended = match part(Arc::clone(&shared)) {
                    Ok(future) => tokio::spawn(future).await.map_err(anyhow::Error::from).flatten(),
                    Err(error) => Err(error.into()),
                };
                let Err(error) = ended else { return };
                tracing::error!("the {name} part failed and is begun again: {error:#}");
                shared.note(|running| running.begun_again += 1);
                tokio::select! {
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(30)),
                    () = shared.stopped() => {}
                }
            }
        });
    }

    fn serve(self: &Arc<Self>, parts: &mut JoinSet<()>, reload: mpsc::Sender<oneshot::Sender<Result<(), String>>>) {
        self.begin(parts, "administration", move |shared| {
            let [desk, bench, starter, relinker, unlinker] = [&shared; 5].map(Arc::clone);
            let office = Office {
                verify: Arc::new(move |wanted| Box::pin(verify::verify(Arc::clone(&bench), wanted))),
                logins: Arc::new(move |request| Box::pin(logins::by_administrator(Arc::clone(&desk), request))),
                unlink: Arc::new(move |asked| Box::pin(unlink::unlink(Arc::clone(&unlinker), asked))),
                relink: Arc::new(move |wish| Box::pin(relink::relink(Arc::clone(&relinker), wish))),
                queue: shared.queue.clone(),
                running: Arc::clone(&shared.running),
                reload: reload.clone(),
                due: Arc::clone(&shared.due),
                start: Arc::new(move |start| Box::pin(history::start(Arc::clone(&starter), start))),
                history: Arc::clone(&shared.history),
            };
            let socket = shared.places.admin_socket.clone();
            Ok(async move { Ok(serve::run(office, &socket, shared.stopped()).await?) })
        });
    }

    /// Watches the folder of the configuration: editors replace the file, so the file itself is not enough.
    fn watch_config(&self) -> (Option<notify::RecommendedWatcher>, mpsc::Receiver<()>) {
        let (changed, changes) = mpsc::channel(1);
        let file = self.places.config.file_name().map(ToOwned::to_owned);
        let handler = move |event: notify::Result<notify::Event>| {
            let concerns = |event: &notify::Event| {
                !event.kind.is_access() && event.paths.iter().any(|path| path.file_name() == file.as_deref())
            };
            if event.is_ok_and(|event| concerns(&event)) {
                let _ = changed.try_send(());
            }
        };
        let folder = self.places.config.parent().unwrap_or(Path::new("/"));
        let watcher = notify::recommended_watcher(handler).and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            tracing::warn!(
                "changes of the configuration are not noticed by themselves, `agent daemon reload` tells: {error}"
            );
        }
        (watcher.ok(), changes)
    }

    async fn say_recovered(&self) {
        if let Ok(counts) = self.queue.counts(clock::now()).await {
            let owed: u64 = counts.sites.iter().map(|site| site.ready).sum();
            tracing::info!("started: {} events and {owed} entities are waiting", counts.events_queued);
        }
    }
}

/// Binds the hooks' socket in a folder others may enter, and lets everybody knock: the kernel says who it is.
fn bind(socket: &Path, shared: bool) -> anyhow::Result<UnixListener> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let folder = socket.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(if shared { 0o755 } else { 0o700 }).create(folder)?;
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket)
        .map_err(|error| anyhow::anyhow!("cannot listen at {}: {error}", socket.display()))?;
    fs::set_permissions(socket, fs::Permissions::from_mode(if shared { 0o666 } else { 0o600 }))?;
    Ok(listener)
}

/// The exit status that fits the end of [`run`], after BSD's `sysexits`.
pub fn exit_code(end: &anyhow::Result<End>) -> u8 {
    match end {
        Ok(End::Stopped) => 0,
        Ok(End::Broken(_)) => 74,
        Err(error) => match error.downcast_ref::<queue::Error>() {
            Some(queue::Error::Locked { .. }) => 75,
            Some(queue::Error::Damaged { .. } | queue::Error::Newer { .. }) => 65,
            Some(queue::Error::Broken(_) | queue::Error::Full | queue::Error::File { .. }) => 74,
            _ => 1,
        },
    }
}

/// Site states start from what is configured.
fn site_states(config: &Config, known: &BTreeMap<String, serve::SiteState>) -> BTreeMap<String, serve::SiteState> {
    let state = |site: &crate::send::Settings| {
        let known = known.get(&site.name).cloned().unwrap_or_default();
        (site.name.clone(), serve::SiteState { url: site.url.clone(), account_only: site.is_account_only(), ..known })
    };
    config.site.iter().map(state).collect()
}

/// Where the daemon's own copy of the queue lies.
fn snapshot_path(places: &Places) -> PathBuf {
    places.state.join("queue.snapshot")
}
