//! Synchronisations, asked for and shown.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Answer, Changed, Office, unavailable};
use crate::clock;
use crate::queue::{Bounds, Control, RunRow};
use crate::request::Json;

/// Which histories are to be told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Start {
    /// Repositories by their id or their git directory.
    pub repositories: Vec<String>,
    /// Every repository of this account that is known.
    pub account: Option<String>,
    pub bounds: Bounds,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Started {
    /// Where the repositories lie.
    pub begun: Vec<String>,
    /// Which cannot be read and why.
    pub refused: Vec<String>,
}

/// What is to become of the open synchronisations of one repository, or of all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Controlled {
    pub what: Control,
    /// The repository's id; all when there is none.
    pub repository: Option<String>,
}

/// Begins synchronisations.
pub type Starter = Arc<dyn Fn(Start) -> BoxFuture<'static, Result<Started, String>> + Send + Sync>;

pub async fn list(State(office): State<Office>) -> Answer<Vec<RunRow>> {
    office.queue.runs().await.map(Json).map_err(unavailable)
}

pub async fn start(State(office): State<Office>, Json(asked): Json<Start>) -> Answer<Started> {
    (office.start)(asked).await.map(Json).map_err(|because| (StatusCode::UNPROCESSABLE_ENTITY, because))
}

pub async fn control(State(office): State<Office>, Json(asked): Json<Controlled>) -> Answer<Changed> {
    let changed = office.queue.control_runs(asked.what, asked.repository, clock::now()).await.map_err(unavailable)?;
    office.history.notify_one();
    office.due.notify_waiters();
    Ok(Json(Changed { changed }))
}
