//! Links that people put right, asked for and shown.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Answer, Office, unavailable};
use crate::queue::{CorrectionRow, Relink};
use crate::request::{Json, Query};

/// Which link is to be put right, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wish {
    /// The repository's id or its git directory.
    pub repository: String,
    /// `commit` or `branch`.
    pub kind: String,
    /// A commit's id or its beginning; a branch's name.
    pub name: String,
    pub wish: Relink,
    pub who: String,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relinked {
    pub repository: String,
    pub path: String,
    pub site: String,
    pub kind: String,
    pub id: String,
    /// The first line of a commit's message, or the branch's name.
    pub title: String,
    pub before: Vec<String>,
    pub now: Vec<String>,
    /// Whether Jira is told something because of it.
    pub told: bool,
    /// Why Jira is not to know of it at all, whatever it is linked to.
    pub because: Option<String>,
    /// How many commands the message gives, which stay as they are.
    pub orders: usize,
}

/// Puts a link right.
pub type Relinker = Arc<dyn Fn(Wish) -> BoxFuture<'static, Result<Relinked, String>> + Send + Sync>;

/// The repository whose corrections are asked for; all where none is named.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Of {
    pub repository: Option<String>,
}

pub async fn relink(State(office): State<Office>, Json(wish): Json<Wish>) -> Answer<Relinked> {
    let relinked = (office.relink)(wish).await.map_err(|because| (StatusCode::UNPROCESSABLE_ENTITY, because))?;
    office.due.notify_waiters();
    Ok(Json(relinked))
}

pub async fn list(State(office): State<Office>, Query(of): Query<Of>) -> Answer<Vec<CorrectionRow>> {
    office.queue.corrected(of.repository).await.map(Json).map_err(unavailable)
}
