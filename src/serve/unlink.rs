//! A site that is unlinked: what it was told, asked for and shown, and the end of it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Answer, Office, unavailable};
use crate::queue::ToldTo;
use crate::request::{Json, Query};

/// Which site is to be unlinked, and by whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unlink {
    pub site: String,
    /// Whether Jira keeps what it was told.
    pub keep_in_jira: bool,
    pub who: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlinked {
    /// Whether Jira says that nothing is left; nothing where it was not asked.
    pub empty: Option<bool>,
}

/// What was told is counted of this site, or of these repositories.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Of {
    pub site: Option<String>,
    /// Their ids, separated by commas.
    pub repositories: Option<String>,
}

/// Unlinks sites.
pub type Unlinker = Arc<dyn Fn(Unlink) -> BoxFuture<'static, Result<Unlinked, String>> + Send + Sync>;

pub async fn told(State(office): State<Office>, Query(of): Query<Of>) -> Answer<ToldTo> {
    let repositories = of.repositories.map(|ids| ids.split(',').map(str::to_owned).collect());
    office.queue.told_to(of.site, repositories).await.map(Json).map_err(unavailable)
}

pub async fn unlink(State(office): State<Office>, Json(asked): Json<Unlink>) -> Answer<Unlinked> {
    (office.unlink)(asked).await.map(Json).map_err(|because| (StatusCode::UNPROCESSABLE_ENTITY, because))
}
