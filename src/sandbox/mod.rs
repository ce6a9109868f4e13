//! A Jira to try with: it keeps state, shows an issue with its Development panel, and misbehaves when told to.
//!
//! One server on one loopback address plays the three hosts of Jira Cloud that a sender talks to: the site
//! (`/_edge/tenant_info`, `/rest/api/3/…`), the token endpoint (`/oauth/token`) and the gateway (`/jira/devinfo/…`,
//! `/ex/jira/…`); and beside it a Data Center with the same issues and people (`/rest/api/2/…`). People look at `/` and
//! `/browse/KEY`; tests and demonstrations pull the strings under `/sandbox/`.
//!
//! A sandbox lives from [`serve`] or [`Sandbox::start`] until it is told to stop. With a store its issues, people and
//! repositories live on in a file, written once a second and at the end; tokens, rules and the log of requests do not.
//! Nothing is global, so any number of sandboxes run in one process.
//!
//! Where the real Jira's behaviour is known it is kept, down to what is silently ignored. Where it is not, the sandbox
//! takes the less convenient reading, so that a sender that pleases it has nothing to fear.

mod adf; // documents, as Cloud writes text
mod changelog; // what changed about an issue
mod comments; // what is said about an issue
mod devinfo; // what a sender tells
mod door; // what a rule of misbehaviour can name
mod edits; // fields that are set or added to
mod fault; // what goes wrong on order
mod garbled; // bodies that are wrong on purpose
mod jql; // queries
mod issues; // how issues are found and shown
mod line; // connections that can be cut
mod links; // what an issue points to
mod pace; // how fast an issue may be written to
mod page; // what a person sees
mod people; // who has an account
mod permissions; // who may do what
mod requests; // what was asked
mod rest; // the platform's API: two flavours, and who is asking
mod shape; // what is let in
mod site; // what holds for all projects and for one
mod smart; // orders that Jira carries out itself
mod state; // what is remembered
mod switchboard; // what a test can ask
mod timetracking; // what a day of work is
mod transitions; // from one status to another
mod workflow; // where an issue can go
mod worklogs; // who worked how long

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::request::{Json, get, post};

pub(crate) use people::SeedPerson;

/// How often a changed state goes to its file.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How long open requests may go on after the end was called.
const GRACE: Duration = Duration::from_secs(2);

/// What a sandbox is started with.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Loopback only; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) issues: Vec<SeedIssue>,
    pub(crate) people: Vec<SeedPerson>,
    /// A JSON file that keeps the state over restarts.
    pub(crate) store: Option<PathBuf>,
}

/// An issue to begin with.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeedIssue {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) summary: String,
    #[serde(default = "to_do")]
    pub(crate) status: String,
}

/// A sandbox that runs in the background of this process.
pub(crate) struct Sandbox {
    pub(crate) address: SocketAddr,
    stop: watch::Sender<bool>,
    running: JoinHandle<anyhow::Result<()>>,
}

/// Why a sandbox cannot run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the sandbox listens on loopback only, not on {0}")]
    NotLoopback(SocketAddr),
    #[error("cannot read the sandbox's store {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the sandbox's store {} is damaged, move it away to start afresh", path.display())]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("cannot write the sandbox's store {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

impl Sandbox {
    /// Starts a sandbox on the address its settings name.
    pub(crate) async fn start(settings: Settings) -> anyhow::Result<Sandbox> {
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let (stop, mut stopped) = watch::channel(false);
        let ending = async move { drop(stopped.wait_for(|stop| *stop).await) };
        let running = tokio::spawn(serve(settings, listener, ending));
        Ok(Sandbox { address, stop, running })
    }

    /// Ends the sandbox and waits until its state is saved.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        self.running.await?
    }
}

/// Runs a sandbox until `shutdown` is done.
pub(crate) async fn serve(
    settings: Settings,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        return Err(Error::NotLoopback(address).into());
    }
    let app = App::open(settings, Arc::new(Timestamp::now))?;
    let (ending, mut ended) = watch::channel(false);
    let graceful =
        axum::serve(line::Lines(listener), router(app.clone()).into_make_service_with_connect_info::<line::Cut>())
            .with_graceful_shutdown(async move {
                shutdown.await;
                ending.send_replace(true);
            });
    let patience = async {
        drop(ended.wait_for(|ended| *ended).await);
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = async { graceful.await } => served?,
        // An answer that trickles for an hour must not keep the process alive.
        () = patience => {}
        failed = app.keep_saved() => failed?,
    }
    Ok(app.save()?)
}

type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// One sandbox, as its handlers share it.
#[derive(Clone)]
struct App {
    world: Arc<Mutex<World>>,
    clock: Clock,
    store: Option<PathBuf>,
    /// Tells requests whose callers are gone that their time has come.
    releases: Arc<watch::Sender<()>>,
}

/// Everything behind the lock.
struct World {
    state: state::State,
    tuning: Tuning,
    rules: Vec<fault::Rule>,
    log: requests::Log,
    pace: pace::Pace,
    /// Each token and when it runs out.
    tokens: HashMap<String, Timestamp>,
    client_id: String,
    client_secret: String,
    cloud_id: String,
    unsaved: bool,
}

/// What the switchboard can change while the sandbox runs.
#[derive(Clone, Serialize)]
struct Tuning {
    token_seconds: u32,
    visible_after_ms: u32,
    max_body_bytes: usize,
    /// How far its clock is ahead of the true one.
    clock_offset_ms: i32,
    /// Whether Cloud limits how fast an issue is written to.
    paced: bool,
    /// Whether Data Center takes Basic; its newest versions do not unless told to.
    basic: bool,
    /// Whether a search by mail address finds those who hide theirs.
    hidden_mail_matches: bool,
    /// Whether a list of comments comes with their properties where that is asked for.
    comment_properties: bool,
    /// Whether such a list that comes without says that there are none.
    lists_say_none: bool,
    /// Whether comments that are asked for by their ids come with their properties.
    properties_by_ids: bool,
    /// Whether a list of work comes with its properties.
    worklog_properties: bool,
    /// Whether what is made keeps the properties it was made with.
    keeps_properties: bool,
}

impl Default for Tuning {
    fn default() -> Tuning {
        // Jira publishes no limit in bytes; this one is small enough to be met and large enough for a full request.
        Tuning {
            token_seconds: 900,
            visible_after_ms: 50,
            max_body_bytes: 5 << 20,
            clock_offset_ms: 0,
            paced: true,
            basic: true,
            hidden_mail_matches: true,
            comment_properties: true,
            lists_say_none: false,
            properties_by_ids: true,
            worklog_properties: true,
            keeps_properties: true,
        }
    }
}

impl App {
    fn open(settings: Settings, clock: Clock) -> Result<App, Error> {
        let mut state = state::State::open(settings.store.as_deref())?;
        let known: Vec<String> = state.issues.keys().chain(state.moved.keys()).cloned().collect();
        settings
            .issues
            .into_iter()
            .filter(|seed| !known.contains(&seed.key))
            .for_each(|seed| state.seed(seed, clock()));
        settings.people.into_iter().for_each(|seed| state.put_person(seed));
        // The same credentials find the same site again after a restart.
        let cloud_id = Uuid::new_v5(&Uuid::NAMESPACE_URL, settings.client_id.as_bytes()).to_string();
        let world = World {
            state,
            tuning: Tuning::default(),
            rules: Vec::new(),
            log: requests::Log::default(),
            pace: pace::Pace::default(),
            tokens: HashMap::new(),
            client_id: settings.client_id,
            client_secret: settings.client_secret,
            cloud_id,
            unsaved: false,
        };
        let releases = Arc::new(watch::Sender::new(()));
        Ok(App { world: Arc::new(Mutex::new(world)), clock, store: settings.store, releases })
    }

    /// Enters the world as it is now: what was due has taken place.
    fn enter(&self) -> (MutexGuard<'_, World>, Timestamp) {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.clock)() + SignedDuration::from_millis(world.tuning.clock_offset_ms.into());
        if world.state.settle(now) {
            world.unsaved = true;
        }
        (world, now)
    }

    /// Enters the world to change it.
    fn change(&self) -> (MutexGuard<'_, World>, Timestamp) {
        let (mut world, now) = self.enter();
        world.unsaved = true;
        (world, now)
    }

    fn plan(&self, change: state::Change) {
        let (mut world, now) = self.enter();
        world.plan(change, now);
    }

    /// Writes the state to its file if there is one and something changed.
    fn save(&self) -> Result<(), Error> {
        let Some(path) = &self.store else { return Ok(()) };
        let (mut world, _) = self.enter();
        if !std::mem::take(&mut world.unsaved) {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&world.state).expect("the state has nothing that JSON has not");
        drop(world);
        state::save(&bytes, path)
    }

    async fn keep_saved(&self) -> Result<(), Error> {
        loop {
            tokio::time::sleep(SAVE_EVERY).await;
            let app = self.clone();
            tokio::task::spawn_blocking(move || app.save()).await.expect("saving does not panic")?;
        }
    }
}

impl World {
    fn plan(&mut self, change: state::Change, now: Timestamp) {
        self.unsaved = true;
        self.state.plan(change, now + Duration::from_millis(self.tuning.visible_after_ms.into()));
        self.state.settle(now);
    }
}

fn router(app: App) -> Router {
    Router::new()
        .route("/_edge/tenant_info", get(tenant))
        .route("/oauth/token", post(token))
        .merge(devinfo::routes(&app))
        .merge(rest::routes(&app))
        .merge(switchboard::routes())
        .merge(page::routes())
        // Sizes are judged by the settings, with Jira's own answer.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(app.clone(), fault::misbehave))
        .with_state(app)
}

async fn tenant(State(app): State<App>) -> Response {
    Json(json!({ "cloudId": app.enter().0.cloud_id })).into_response()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenRequest {
    audience: Option<String>,
    grant_type: String,
    client_id: String,
    client_secret: String,
}

async fn token(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let request = match kind {
        kind if kind.starts_with("application/json") => serde_json::from_slice(&body).ok(),
        kind if kind.starts_with("application/x-www-form-urlencoded") => serde_urlencoded::from_bytes(&body).ok(),
        _ => None,
    };
    let Some(TokenRequest { audience, grant_type, client_id, client_secret }) = request else {
        return deny(StatusCode::BAD_REQUEST, "invalid_request", "the body is neither JSON nor a form");
    };
    if grant_type != "client_credentials" {
        return deny(StatusCode::FORBIDDEN, "unsupported_grant_type", "the grant type is not client_credentials");
    }
    if audience.is_some_and(|audience| audience != "api.atlassian.com") {
        return deny(StatusCode::FORBIDDEN, "access_denied", "the audience is not api.atlassian.com");
    }
    let (mut world, now) = app.enter();
    if client_id != world.client_id || client_secret != world.client_secret {
        return deny(StatusCode::UNAUTHORIZED, "access_denied", "Unauthorized");
    }
    let (token, seconds) = (Uuid::now_v7().simple().to_string(), world.tuning.token_seconds);
    world.tokens.retain(|_, until| now < *until);
    world.tokens.insert(token.clone(), now + Duration::from_secs(seconds.into()));
    Json(json!({ "access_token": token, "expires_in": seconds, "token_type": "Bearer" })).into_response()
}

fn deny(status: StatusCode, error: &str, description: &str) -> Response {
    (status, Json(json!({ "error": error, "error_description": description }))).into_response()
}

fn to_do() -> String {
    "To Do".into()
}

#[cfg(test)]
mod tests;
