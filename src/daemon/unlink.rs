//! A site that is unlinked: nothing is sent to it any more, then Jira forgets what it was told, then the store does.
//!
//! From the first step on the loops of the site lend nothing: whoever has claimed something looks once more before it
//! is sent, and what was lent before is waited for. So nothing comes to Jira after the deletion. When Jira cannot be
//! asked the site goes on as before. The configuration is for the person's own command to change, after all of this:
//! one that was killed in between is said again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::send::Jira;
use crate::serve::unlink::{Unlink, Unlinked};

use super::{Shared, sites};

/// How long what is on its way may take: longer than a turn of a sender.
const PATIENCE: Duration = Duration::from_secs(100);
const STEP: Duration = Duration::from_millis(100);
/// How long Jira may take until nothing of it shows.
const SHOWS: Duration = Duration::from_secs(5);

/// What the loops of a site say that lend nothing any more.
pub const BECAUSE: &str =
    "it is being unlinked; where that was broken off, say `agent link --remove` again, or start the daemon anew";

pub async fn unlink(shared: Arc<Shared>, asked: Unlink) -> Result<Unlinked, String> {
    let applied = shared.applied();
    let settings = applied.config.site.iter().find(|site| site.name == asked.site);
    let settings = settings.ok_or_else(|| format!("there is no site called {}", asked.site))?;
    let jira = match asked.keep_in_jira || !settings.shows_commits() {
        true => None,
        false => {
            let instance = sites::instance(&shared).map_err(|error| error.to_string())?;
            let credentials = shared.environment.credentials_directory.as_deref();
            let jira = Jira::new(settings, credentials, &instance).map_err(|error| error.to_string())?;
            jira.try_out().await.map_err(|error| error.to_string())?;
            Some(jira)
        }
    };
    shared.leaving().insert(asked.site.clone());
    let ended = end(&shared, &asked, jira.as_ref()).await;
    if ended.is_err() {
        shared.leaving().remove(&asked.site);
        shared.due.notify_waiters();
    }
    ended
}

async fn end(shared: &Shared, asked: &Unlink, jira: Option<&Jira>) -> Result<Unlinked, String> {
    let site = &asked.site;
    let began = Instant::now();
    while shared.queue.is_busy(site.clone(), clock::now()).await.map_err(|error| error.to_string())? {
        if began.elapsed() > PATIENCE {
            return Err(format!("something is still on its way to {site}; say it again in a while"));
        }
        tokio::time::sleep(STEP).await;
    }
    if let Some(jira) = jira {
        jira.forget_all().await.map_err(|error| error.to_string())?;
    }
    for login in shared.queue.logins().await.map_err(|error| error.to_string())? {
        if login.site == *site {
            shared.logins.log_out(site, &login.holder).await?;
        }
    }
    let (name, who) = (site.clone(), asked.who.clone());
    shared.queue.unlink(name, who, clock::now()).await.map_err(|error| error.to_string())?;
    tracing::info!(site = %site, "{site} was unlinked");
    let Some(jira) = jira else { return Ok(Unlinked { empty: None }) };
    let began = Instant::now();
    loop {
        match jira.has_any().await {
            Ok(false) => return Ok(Unlinked { empty: Some(true) }),
            _ if began.elapsed() > SHOWS => return Ok(Unlinked { empty: Some(false) }),
            _ => tokio::time::sleep(STEP).await,
        }
    }
}
