//! Being asked: the administrators' socket.
//!
//! HTTP over a Unix socket that only the daemon's user may open, so `curl --unix-socket` and a
//! monitoring agent read the same answers as our own words. No port is opened.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /health` | 200 while the process works, 503 with the reason when its store is broken |
//! | `GET /ready` | 200 when events are taken, else 503 with the reason |
//! | `GET /status` | everything `agent status` shows |
//! | `GET /queue?state=&site=&repository=&id=&key=&limit=` | entities |
//! | `GET /events?state=&repository=&limit=` | events |
//! | `POST /queue/retry`, `POST /queue/drop` | a filter as JSON; how many rows changed |
//! | `POST /forget` | a repository's id: every site that was told of it is to forget it |
//! | `POST /verify` | lays what Jira was told and holds beside Git, and tells it the difference where that is asked |
//! | `GET /why?what=` | the way of a commit, an issue or a branch, with what was ordered |
//! | `GET /logins` | whose own accounts are linked, without what opens them |
//! | `POST /login` | links or unlinks the account of a person; what there is to say, or 422 with the reason |
//! | `GET /read-backs?site=`, `POST /read-backs` | how marks are found again at a site; a list of what was found out |
//! | `GET /effects/news?person=` | what somebody was not told of their orders |
//! | `GET /sync` | synchronisations: every open one, and the last of each repository |
//! | `POST /sync/start`, `POST /sync/control` | begins them; pauses, resumes or cancels them |
//! | `POST /reload` | reads the configuration again; 422 with the reason when it is not taken |

pub mod history;
pub mod needs;
pub mod relink;
pub mod unlink;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::entity::{self, Home, Told};
use crate::event::Event;
use crate::intake::spool::Depth;
use crate::login::Request;
use crate::queue::{
    AuditRow, CorrectionRow, Counts, EffectFilter, EffectRow, EntityRow, EventRow, Filter, Ledgered, LoginRow,
    MovedKey, OfSite, Queue, ReadBack, Retry, RunRow, Verified,
};
use crate::request::{Json, Query, get, post};

/// What the daemon says about itself; its parts are kept up to date by whoever knows them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Running {
    pub version: String,
    pub pid: u32,
    pub started_at: i64,
    pub config: PathBuf,
    /// Why the last configuration was not taken, if it was not.
    pub config_error: Option<String>,
    /// Why no events are taken at the moment.
    pub not_ready: Option<String>,
    pub sites: BTreeMap<String, SiteState>,
    pub spool: Depth,
    pub refused: u64,
    pub log_lines_dropped: u64,
    /// How often a part of the daemon failed and was begun again.
    pub begun_again: u64,
    /// Accounts that link new repositories, by name.
    #[serde(default)]
    pub accounts: BTreeMap<String, AccountState>,
}

/// How an account that links new repositories does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountState {
    pub repositories: usize,
    /// Repositories that git is still making.
    pub being_made: usize,
    /// Folders that the daemon cannot look into: whether hooks are in there only their owner knows.
    pub closed: usize,
    /// Repositories that it cannot cover.
    pub uncovered: usize,
    /// Why; for the first of them.
    pub because: Vec<String>,
    /// Copies of repositories that bear the id of the other, because the daemon cannot give them their own.
    #[serde(default)]
    pub copies: Vec<String>,
}

impl AccountState {
    pub fn refuses(&mut self, path: &Path, because: &str) {
        self.uncovered += 1;
        if self.because.len() < NAMED {
            self.because.push(format!("{}: {because}", path.display()));
        }
    }
}

/// The most that are named of what cannot be covered; all are counted.
const NAMED: usize = 20;

/// How one site does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteState {
    pub url: String,
    /// Whether an account alone links it, so that it is shown no commits.
    #[serde(default)]
    pub account_only: bool,
    /// Why nothing is sent at the moment.
    pub resting: Option<Resting>,
    /// Why no orders are carried out at the moment.
    pub account_resting: Option<Resting>,
    /// Whose own accounts rest, and why.
    #[serde(default)]
    pub people_resting: BTreeMap<String, Resting>,
    pub last_success_at: Option<i64>,
    pub last_failure: Option<Failure>,
    pub batches: u64,
    /// Milliseconds from event to acceptance, of the last hundred entities.
    pub recent_latency_ms: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resting {
    pub because: String,
    /// `None`: until the secret or the configuration changes.
    pub until: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub at: i64,
    pub because: String,
}

/// Everything `agent status` shows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    pub running: Running,
    pub queue: Counts,
    /// What is in the ledger, by site.
    pub effects: Vec<Ledgered>,
    pub repositories: Vec<Repository>,
    /// Synchronisations that are open or went wrong.
    #[serde(default)]
    pub runs: Vec<RunRow>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Repository {
    pub id: String,
    pub path: String,
    pub last_event_at: i64,
    pub trouble: Option<String>,
}

/// The way of one thing, as `agent why` shows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Why {
    pub entities: Vec<EntityRow>,
    pub events: Vec<WhyEvent>,
    /// What a commit orders, or what was ordered of an issue, and what became of it.
    #[serde(default)]
    pub effects: Vec<EffectRow>,
    /// What people have put right about it.
    #[serde(default)]
    pub corrections: Vec<CorrectionRow>,
    /// Keys among these whose issues have other ones now.
    #[serde(default)]
    pub moved: Vec<MovedKey>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhyEvent {
    pub row: EventRow,
    pub path: String,
    pub at: i64,
    pub updates: Vec<String>,
    pub commits: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Changed {
    pub changed: usize,
}

/// Takes what an administrator wants of somebody's login, and gives what there is to say.
pub type Desk = Arc<dyn Fn(Request) -> BoxFuture<'static, Result<Vec<String>, String>> + Send + Sync>;

/// What is to be compared; all repositories where none and no account is named.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Compare {
    /// Its id or its path.
    pub repository: Option<String>,
    pub account: Option<String>,
    /// Whether Jira is told the difference.
    pub repair: bool,
}

/// How a repository compares with what Jira was told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Compared {
    pub id: String,
    pub path: String,
    /// Why it could not be compared, if it could not.
    pub trouble: Option<String>,
    /// How much Jira said itself.
    pub asked: String,
    /// Entities that Jira was told of.
    pub told: usize,
    pub missing: Difference,
    pub stale: Difference,
    pub superfluous: Difference,
    /// The sites that it does not go to any more and that hold something of it all the same, and how much.
    #[serde(default)]
    pub elsewhere: Vec<(String, usize)>,
    /// How many of them Jira is told now.
    pub repaired: usize,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Difference {
    pub count: usize,
    /// The id of the first commit or branch.
    pub first: Option<String>,
}

/// Compares what is asked for.
pub type Bench = Arc<dyn Fn(Compare) -> BoxFuture<'static, Result<Vec<Compared>, String>> + Send + Sync>;

/// What the answers are made of.
#[derive(Clone)]
pub struct Office {
    pub queue: Queue,
    pub running: Arc<RwLock<Running>>,
    pub reload: mpsc::Sender<oneshot::Sender<Result<(), String>>>,
    /// Does what an administrator wants of somebody's login.
    pub logins: Desk,
    /// Lays Jira beside Git.
    pub verify: Bench,
    /// Told after rows were made due.
    pub due: Arc<tokio::sync::Notify>,
    /// Puts links right.
    pub relink: relink::Relinker,
    /// Unlinks sites.
    pub unlink: unlink::Unlinker,
    /// Begins synchronisations.
    pub start: history::Starter,
    /// Told after a synchronisation was resumed.
    pub history: Arc<tokio::sync::Notify>,
}

/// Serves the administrators' socket until `stop`.
pub async fn run(
    office: Office,
    socket: &Path,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let listener = listen(socket)?;
    axum::serve(listener, router(office)).with_graceful_shutdown(stop).await?;
    let _ = fs::remove_file(socket);
    Ok(())
}

/// Binds a socket for the daemon's user alone; a left-over of a daemon that died is replaced.
fn listen(socket: &Path) -> std::io::Result<tokio::net::UnixListener> {
    let _ = fs::remove_file(socket);
    let listener = tokio::net::UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn router(office: Office) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/status", get(status))
        .route("/queue", get(entities))
        .route("/events", get(events))
        .route("/queue/retry", post(retry))
        .route("/queue/drop", post(give_up))
        .route("/effects", get(effects))
        .route("/effects/news", get(news))
        .route("/effects/audit", get(audit))
        .route("/effects/verify", get(verify))
        .route("/effects/retry", post(retry_effects))
        .route("/effects/done", post(done_effects))
        .route("/logins", get(logins))
        .route("/login", post(login))
        .route("/forget", post(forget))
        .route("/verify", post(compare))
        .route("/renamed", post(renamed))
        .route("/why", get(why))
        .route("/read-backs", get(read_backs).merge(post(found_read_backs)))
        .route("/told", get(unlink::told))
        .route("/unlink", post(unlink::unlink))
        .route("/relink", get(relink::list).merge(post(relink::relink)))
        .route("/sync", get(history::list))
        .route("/sync/start", post(history::start))
        .route("/sync/control", post(history::control))
        .route("/reload", post(reload))
        .with_state(office)
}

type Answer<T> = Result<Json<T>, (StatusCode, String)>;

async fn health(State(office): State<Office>) -> Answer<bool> {
    match office.queue.broken() {
        Some(because) => Err((StatusCode::SERVICE_UNAVAILABLE, because)),
        None => Ok(Json(true)),
    }
}

async fn ready(State(office): State<Office>) -> Answer<bool> {
    let not_ready = office.running.read().unwrap_or_else(PoisonError::into_inner).not_ready.clone();
    match office.queue.broken().or(not_ready) {
        Some(because) => Err((StatusCode::SERVICE_UNAVAILABLE, because)),
        None => Ok(Json(true)),
    }
}

async fn status(State(office): State<Office>) -> Answer<Status> {
    look(&office.queue, &office.running).await.map(Json).map_err(unavailable)
}

/// Everything that is known of how everything does.
pub async fn look(queue: &Queue, running: &RwLock<Running>) -> Result<Status, crate::queue::Error> {
    let rows = queue.repositories().await?;
    let repository = |row: crate::queue::RepositoryRow| Repository {
        id: row.id,
        path: String::from_utf8_lossy(&row.git_dir).into_owned(),
        last_event_at: row.last_event_at,
        trouble: row.trouble,
    };
    let effects = queue.effect_counts(clock::now()).await?;
    let mut runs = queue.runs().await?;
    runs.retain(|run| run.ended_at.is_none() || run.errors > 0);
    let repositories = rows.into_iter().filter(|row| !row.forgotten).map(repository).collect();
    let running = running.read().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Status { running, queue: queue.counts(clock::now()).await?, effects, repositories, runs })
}

async fn entities(State(office): State<Office>, Query(filter): Query<Filter>) -> Answer<Vec<EntityRow>> {
    office.queue.entities(filter).await.map(Json).map_err(unavailable)
}

async fn events(State(office): State<Office>, Query(filter): Query<Filter>) -> Answer<Vec<EventRow>> {
    office.queue.events(filter).await.map(Json).map_err(unavailable)
}

async fn retry(State(office): State<Office>, Json(filter): Json<Filter>) -> Answer<Changed> {
    let changed = office.queue.retry(filter, clock::now()).await.map_err(unavailable)?;
    office.due.notify_waiters();
    Ok(Json(Changed { changed }))
}

async fn give_up(State(office): State<Office>, Json(filter): Json<Filter>) -> Answer<Changed> {
    let changed = office.queue.drop(filter, clock::now()).await.map_err(unavailable)?;
    Ok(Json(Changed { changed }))
}

/// Effects, and who speaks of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Chosen {
    pub filter: EffectFilter,
    pub who: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Retried {
    pub chosen: Chosen,
    pub how: Retry,
}

/// An effect by its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Key {
    pub key: String,
}

async fn effects(State(office): State<Office>, Query(filter): Query<EffectFilter>) -> Answer<Vec<EffectRow>> {
    office.queue.effects(filter).await.map(Json).map_err(unavailable)
}

/// Somebody who pushed, as `people` names them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Person {
    pub person: String,
}

async fn news(State(office): State<Office>, Query(Person { person }): Query<Person>) -> Answer<Vec<EffectRow>> {
    office.queue.news(person).await.map(|news| Json(news.rows)).map_err(unavailable)
}

async fn audit(State(office): State<Office>, Query(Key { key }): Query<Key>) -> Answer<Vec<AuditRow>> {
    office.queue.audit(key).await.map(Json).map_err(unavailable)
}

async fn verify(State(office): State<Office>) -> Answer<Verified> {
    office.queue.verify_audit().await.map(Json).map_err(unavailable)
}

async fn retry_effects(State(office): State<Office>, Json(Retried { chosen, how }): Json<Retried>) -> Answer<Changed> {
    let changed =
        office.queue.retry_effects(chosen.filter, how, chosen.who, clock::now()).await.map_err(unavailable)?;
    office.due.notify_waiters();
    Ok(Json(Changed { changed }))
}

async fn done_effects(State(office): State<Office>, Json(Chosen { filter, who }): Json<Chosen>) -> Answer<Changed> {
    let changed = office.queue.done_effects(filter, who, clock::now()).await.map_err(unavailable)?;
    Ok(Json(Changed { changed }))
}

async fn logins(State(office): State<Office>) -> Answer<Vec<LoginRow>> {
    office.queue.logins().await.map(Json).map_err(unavailable)
}

async fn login(State(office): State<Office>, Json(request): Json<Request>) -> Answer<Vec<String>> {
    (office.logins)(request).await.map(Json).map_err(|because| (StatusCode::UNPROCESSABLE_ENTITY, because))
}

/// A repository by its id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forget {
    pub repository: String,
    /// The one site that is to forget it; default: all.
    #[serde(default)]
    pub site: Option<String>,
}

async fn forget(State(office): State<Office>, Json(Forget { repository, site }): Json<Forget>) -> Answer<Changed> {
    let id = repository.clone();
    let gone = move || crate::entity::repository_gone(&id);
    let changed = match site {
        Some(site) => office.queue.forget_at(site, repository, gone, clock::now()).await,
        None => office.queue.forget(repository, gone, clock::now()).await,
    };
    let changed = changed.map_err(unavailable)?;
    office.due.notify_waiters();
    Ok(Json(Changed { changed }))
}

async fn compare(State(office): State<Office>, Json(wanted): Json<Compare>) -> Answer<Vec<Compared>> {
    (office.verify)(wanted).await.map(Json).map_err(|because| (StatusCode::UNPROCESSABLE_ENTITY, because))
}

/// A repository that has another name, or lies elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Renamed {
    pub repository: String,
    pub git_dir: PathBuf,
    /// What its links are made of now.
    pub home: Home,
}

async fn renamed(
    State(office): State<Office>,
    Json(Renamed { repository, git_dir, home }): Json<Renamed>,
) -> Answer<Changed> {
    let anew = move |keys: &[&str], body: &[u8]| {
        let keys: Vec<_> = keys.iter().filter_map(|key| key.parse().ok()).collect();
        entity::renamed(Told::decode(body).ok()?, &keys, &home)
    };
    let git_dir = git_dir.into_os_string().into_encoded_bytes();
    let changed = office.queue.renamed(repository, git_dir, anew, clock::now()).await.map_err(unavailable)?;
    office.due.notify_waiters();
    Ok(Json(Changed { changed }))
}

#[derive(Deserialize)]
struct What {
    what: String,
}

async fn why(State(office): State<Office>, Query(What { what }): Query<What>) -> Answer<Why> {
    let effects = office.queue.effects_of(what.clone()).await.map_err(unavailable)?;
    let corrections = office.queue.corrections_about(what.clone()).await.map_err(unavailable)?;
    let trace = office.queue.trace(what).await.map_err(unavailable)?;
    let events = trace.events.into_iter().filter_map(why_event).collect();
    Ok(Json(Why { entities: trace.entities, events, effects, corrections, moved: trace.moved }))
}

fn why_event(row: EventRow) -> Option<WhyEvent> {
    let event = Event::decode(row.payload.as_deref()?).ok()?;
    let moved = |update: &crate::git::Update| {
        let id = |id: Option<crate::git::Oid>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        format!("{} {} -> {}", crate::text::Untrusted(update.name.as_bytes()), id(update.old), id(update.new))
    };
    Some(WhyEvent {
        path: String::from_utf8_lossy(&event.repository.git_dir).into_owned(),
        at: event.at,
        updates: event.updates.iter().map(moved).collect(),
        commits: event.commits.len(),
        row,
    })
}

async fn read_backs(State(office): State<Office>, Query(of): Query<OfSite>) -> Answer<Vec<ReadBack>> {
    office.queue.read_backs(of.site).await.map(Json).map_err(unavailable)
}

async fn found_read_backs(State(office): State<Office>, Json(found): Json<Vec<ReadBack>>) -> Answer<Changed> {
    let changed = office.queue.found_read_backs(found, clock::now()).await.map_err(unavailable)?;
    Ok(Json(Changed { changed }))
}

async fn reload(State(office): State<Office>) -> Answer<bool> {
    let (tell, told) = oneshot::channel();
    office.reload.send(tell).await.map_err(unavailable)?;
    match told.await.map_err(unavailable)? {
        Ok(()) => Ok(Json(true)),
        Err(because) => Err((StatusCode::UNPROCESSABLE_ENTITY, because)),
    }
}

fn unavailable(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}
