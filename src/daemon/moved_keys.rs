//! Keys that a site did not know for development information: looked up through the account at the site, in case their
//! issues have moved, or their project has another key now.
//!
//! Each key is asked for once a day, few at a time, and only where there is an account: the credential for development
//! information cannot read issues. What was found is for the queue to remember and to tell. A site that rests is left
//! alone, and so is one that wishes to be.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::send::{Obstacle, Platform, Settings};

use super::{Shared, sites};

const TICK: Duration = Duration::from_secs(2);
const DAY_MS: i64 = 86_400_000;
/// How many keys are looked up before the site has a pause, and how long that is.
const TOGETHER: usize = 20;
const PAUSE_MS: i64 = 10_000;
/// How long it rests after a failure that says nothing of time, and one that a person has to mend.
const LATER_MS: i64 = 60_000;
const HALT_MS: i64 = 900_000;

/// Runs a loop for each site that has an account to ask with, anew for each configuration.
pub async fn run(shared: Arc<Shared>) -> anyhow::Result<()> {
    sites::for_each(&Arc::clone(&shared), |settings, ending| {
        let asks = settings.shows_commits() && settings.account.is_some();
        asks.then(|| Look { shared: Arc::clone(&shared), settings: settings.clone(), ending, until: 0 }.run())
    })
    .await
}

struct Look {
    shared: Arc<Shared>,
    settings: Settings,
    ending: tokio::sync::watch::Receiver<bool>,
    /// When the site may be asked again.
    until: i64,
}

impl Look {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut platform = None;
        while self.pause().await {
            let now = clock::now();
            // A clock that was set back does not make a rest longer.
            if (now < self.until && self.until <= now + HALT_MS) || self.rests() {
                continue;
            }
            let site = self.settings.name.clone();
            let keys = self.shared.queue.keys_to_look_up(site, now - DAY_MS, TOGETHER, now).await?;
            if keys.is_empty() {
                continue;
            }
            platform = platform.filter(|platform: &Platform| !platform.secret_changed());
            let asked = match &platform {
                Some(platform) => platform,
                None => {
                    let credentials = self.shared.environment.credentials_directory.as_deref();
                    match Platform::new(&self.settings, credentials) {
                        Ok(made) => platform.insert(made),
                        Err(error) => {
                            self.rest(HALT_MS, &error.to_string());
                            continue;
                        }
                    }
                }
            };
            self.until = now + PAUSE_MS;
            if let Err(obstacle) = self.look_up(asked, keys).await? {
                match obstacle {
                    Obstacle::Later { after, because, .. } => {
                        self.rest(after.unwrap_or(LATER_MS).clamp(LATER_MS / 60, HALT_MS), &because);
                    }
                    Obstacle::Halt { because, .. } | Obstacle::Refused { because } => self.rest(HALT_MS, &because),
                }
            }
        }
        Ok(())
    }

    /// Looks keys up one after the other, until something stands in the way.
    async fn look_up(&self, platform: &Platform, keys: Vec<String>) -> anyhow::Result<Result<(), Obstacle>> {
        let site = &self.settings.name;
        for key in keys {
            if *self.ending.borrow() {
                break;
            }
            let present = match platform.present_key(&key, clock::now()).await {
                Ok(present) => Some(present),
                // There is none, or the account may not see it.
                Err(Obstacle::Refused { .. } | Obstacle::Halt { reach: crate::send::Reach::Issue, .. }) => None,
                Err(obstacle) => return Ok(Err(obstacle)),
            };
            let moved = present.clone().filter(|present| *present != key);
            let told = self.shared.queue.looked_up(site.clone(), key.clone(), moved.clone(), clock::now()).await?;
            if let Some(moved) = moved {
                tracing::info!(site = %site, issue.key = %key, "{key} has moved and is {moved} now; {told} entities are told so");
                self.shared.due.notify_waiters();
            }
        }
        Ok(Ok(()))
    }

    /// Whether the site is left alone by others already.
    fn rests(&self) -> bool {
        if self.shared.leaving().contains(&self.settings.name) {
            return true;
        }
        let running = self.shared.running.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let state = running.sites.get(&self.settings.name);
        state.is_some_and(|state| state.resting.is_some() || state.account_resting.is_some())
    }

    fn rest(&mut self, ms: i64, because: &str) {
        let site = &self.settings.name;
        tracing::warn!(site = %site, "keys that {site} did not know are looked up later: {because}");
        self.until = clock::now() + ms;
    }

    async fn pause(&mut self) -> bool {
        tokio::time::timeout(TICK, self.ending.wait_for(|end| *end)).await.is_err()
    }
}
