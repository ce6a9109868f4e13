//! One loop a site: claim what is due, tell Jira, settle.
//!
//! What becomes due is collected for a moment, so that many pushes leave as one request. Live data
//! goes first; history gets a turn when little live is due, and every tenth turn anyway. A site
//! that refuses us rests: what it is owed stays where it is, other sites are not touched.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::clock;
use crate::failpoint::failpoint;
use crate::queue::{Class, Next};
use crate::send::{Jira, Settings};
use crate::serve::{Failure, Resting, SiteState};

use super::{Applied, Shared, site_states, unlink};

/// How long entities are collected before they leave together.
const WINDOW: Duration = Duration::from_secs(1);
/// How often a loop looks by itself.
const TICK: Duration = Duration::from_secs(2);
/// How long a claim lasts: longer than everything that one batch may take.
const LEASE_MS: i64 = 300_000;
/// How long history that does not fill a request waits for more of it.
const PATIENCE_MS: i64 = 10_000;
/// How often a resting site's secret is looked at.
const SECRET_TICK: Duration = Duration::from_secs(3);

/// Tells each site that takes development information what it is owed.
pub async fn run(shared: Arc<Shared>) -> anyhow::Result<()> {
    let instance = instance(&shared)?;
    // What a process before this one had claimed, or a loop before this one that ended in a panic.
    shared.queue.release_all().await?;
    for_each(&Arc::clone(&shared), |settings, ending| {
        let (shared, settings, instance) = (Arc::clone(&shared), settings.clone(), instance.clone());
        settings.shows_commits().then(|| Site { shared, settings, instance, ending, said: None }.run())
    })
    .await
}

/// Runs a loop for each configured site that wants one, anew for each configuration.
pub async fn for_each<F>(
    shared: &Arc<Shared>,
    start: impl Fn(&Settings, tokio::sync::watch::Receiver<bool>) -> Option<F>,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut configurations = shared.applied.subscribe();
    loop {
        let applied = Arc::clone(&configurations.borrow_and_update());
        shared.note(|running| running.sites = site_states(&applied.config, &running.sites));
        let (end, ending) = tokio::sync::watch::channel(false);
        let mut loops = JoinSet::new();
        for site in applied.config.site.iter().filter_map(|site| start(site, ending.clone())) {
            loops.spawn(site);
        }
        let goes_on = wait(shared, &mut configurations, &mut loops).await?;
        end.send_replace(true);
        // The batch in hand is settled, then a loop leaves.
        while loops.join_next().await.is_some() {}
        if !goes_on {
            return Ok(());
        }
    }
}

/// Waits for a new configuration (true) or the end (false); a loop that fails takes its part with it.
async fn wait(
    shared: &Shared,
    configurations: &mut tokio::sync::watch::Receiver<Arc<Applied>>,
    loops: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<bool> {
    loop {
        tokio::select! {
            changed = configurations.changed() => return Ok(changed.is_ok()),
            () = shared.stopped() => return Ok(false),
            Some(ended) = loops.join_next() => ended??,
        }
    }
}

struct Site {
    shared: Arc<Shared>,
    settings: Settings,
    instance: String,
    ending: tokio::sync::watch::Receiver<bool>,
    /// What was last said to be wrong, until the site answers again: the log has a line when it goes and one when it is back.
    said: Option<String>,
}

/// What became of one batch.
#[derive(Default)]
struct Sent {
    count: usize,
    /// Whether more may be due than it could carry.
    full: bool,
    rest: Option<Resting>,
}

impl Site {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut turn: u64 = 0;
        while let Some(jira) = self.jira().await {
            loop {
                if !self.wait_for_work().await {
                    return Ok(());
                }
                let rest = self.drain(&jira, &mut turn).await?;
                if let Some(rest) = rest
                    && !self.rest(&jira, rest).await
                {
                    break;
                }
            }
        }
        Ok(())
    }

    /// A client for the site, as soon as its secret can be read; `None` at the end.
    async fn jira(&mut self) -> Option<Jira> {
        loop {
            let credentials = self.shared.environment.credentials_directory.as_deref();
            match Jira::new(&self.settings, credentials, &self.instance) {
                Ok(jira) => {
                    self.state(|state| state.resting = None);
                    return Some(jira);
                }
                Err(error) => self.failed(&error.to_string(), None),
            }
            if !self.pause(SECRET_TICK).await {
                return None;
            }
        }
    }

    /// Waits until something may be due, then for the window in which more comes along.
    async fn wait_for_work(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            () = shared.due.notified() => {}
            () = tokio::time::sleep(TICK) => {}
            _ = self.ending.wait_for(|end| *end) => return false,
        }
        self.pause(WINDOW).await
    }

    /// Sends until nothing is due, or until the site wants to rest.
    async fn drain(&mut self, jira: &Jira, turn: &mut u64) -> anyhow::Result<Option<Resting>> {
        loop {
            *turn += 1;
            let first = if turn.is_multiple_of(10) { Class::Backfill } else { Class::Live };
            let second = if first == Class::Live { Class::Backfill } else { Class::Live };
            let (mut sent, mut full) = (0, false);
            for class in [first, second] {
                let batch = self.batch(jira, class).await?;
                if batch.rest.is_some() {
                    return Ok(batch.rest);
                }
                sent += batch.count;
                full = batch.full;
                if full {
                    break;
                }
            }
            if sent == 0 || *self.ending.borrow() {
                return Ok(None);
            }
            // What came meanwhile is collected like the first; only a backlog leaves without a pause.
            if !full && !self.pause(WINDOW).await {
                return Ok(None);
            }
        }
    }

    async fn batch(&mut self, jira: &Jira, class: Class) -> anyhow::Result<Sent> {
        let queue = &self.shared.queue;
        // History leaves in whole requests: there is no hurry.
        if class == Class::Backfill {
            let now = clock::now();
            if !queue.past(self.settings.name.clone(), now).await?.is_ripe(now, PATIENCE_MS) {
                return Ok(Sent::default());
            }
        }
        let owner = format!("process {}", std::process::id());
        let growing = self.shared.growing().clone();
        let batch = queue.claim(self.settings.name.clone(), class, owner, growing, clock::now(), LEASE_MS).await?;
        if batch.owed.is_empty() {
            return Ok(Sent::default());
        }
        // Whoever unlinks a site waits for what was claimed before, and for nothing after.
        if self.shared.leaving().contains(&self.settings.name) {
            queue.settle(batch.lease, Vec::new(), clock::now()).await?;
            return Ok(Sent { rest: Some(self.leaves()), ..Sent::default() });
        }
        failpoint("sites.before_send");
        let told = jira.tell(class, &batch.owed, clock::now()).await;
        failpoint("sites.after_send");
        let now = clock::now();
        let done = |next: &Next| matches!(next, Next::Done { .. });
        let accepted = told.settled.iter().filter(|settled| done(&settled.next)).count();
        let latency = batch.owed.iter().map(|owed| (now - owed.added_at).max(0).unsigned_abs());
        self.state(|state| {
            state.batches += 1;
            if accepted > 0 {
                state.last_success_at = Some(now);
                state.recent_latency_ms.extend(latency);
                let over = state.recent_latency_ms.len().saturating_sub(100);
                state.recent_latency_ms.drain(..over);
            }
        });
        let (count, full) = (batch.owed.len(), batch.is_full());
        tracing::info!(site = %self.settings.name, "{} took {accepted} of {count} entities", self.settings.name);
        queue.settle(batch.lease, told.settled, now).await?;
        if told.rest.is_none() && self.said.take().is_some() {
            tracing::info!(site = %self.settings.name, "{} answers again", self.settings.name);
        }
        let rest = told.rest.map(|rest| Resting { because: rest.because, until: rest.until });
        Ok(Sent { count, full, rest })
    }

    /// A short rest, after which it is looked whether the site is still being unlinked.
    fn leaves(&self) -> Resting {
        let until = Some(clock::now() + SECRET_TICK.as_millis() as i64);
        Resting { because: unlink::BECAUSE.to_owned(), until }
    }

    /// Rests as the site asked, or until its secret changes; false when a new client is needed.
    async fn rest(&mut self, jira: &Jira, resting: Resting) -> bool {
        self.failed(&resting.because, resting.until);
        loop {
            let pause = match resting.until.map(|until| until - clock::now()) {
                Some(left) if left <= 0 => break,
                // In steps, so that a clock that was set does not make the rest longer.
                Some(left) => Duration::from_millis(left.unsigned_abs()).min(SECRET_TICK),
                None => SECRET_TICK,
            };
            if !self.pause(pause).await {
                return true;
            }
            if jira.secret_changed() {
                return false;
            }
        }
        self.state(|state| state.resting = None);
        true
    }

    async fn pause(&mut self, span: Duration) -> bool {
        tokio::time::timeout(span, self.ending.wait_for(|end| *end)).await.is_err()
    }

    fn failed(&mut self, because: &str, until: Option<i64>) {
        if self.said.as_deref() != Some(because) {
            tracing::warn!(site = %self.settings.name, "{} rests: {because}", self.settings.name);
            self.said = Some(because.to_owned());
        }
        self.state(|state| {
            state.resting = Some(Resting { because: because.to_owned(), until });
            state.last_failure = Some(Failure { at: clock::now(), because: because.to_owned() });
        });
    }

    fn state(&self, change: impl FnOnce(&mut SiteState)) {
        self.shared.note(|running| change(running.sites.entry(self.settings.name.clone()).or_default()));
    }
}

/// The id of this installation, made once: what we send carries it, so that all of it can be found again.
pub fn instance(shared: &Shared) -> anyhow::Result<String> {
    let path = shared.places.state.join("instance");
    match std::fs::read_to_string(&path) {
        Ok(id) => Ok(id.trim().to_owned()),
        Err(_) => {
            let id = uuid::Uuid::now_v7().to_string();
            std::fs::write(&path, format!("{id}\n"))?;
            Ok(id)
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // A loop that ends in a panic must not leave the status claiming that it runs.
        if std::thread::panicking() {
            let mut running = self.shared.running.write().unwrap_or_else(PoisonError::into_inner);
            running.sites.entry(self.settings.name.clone()).or_default().resting =
                Some(Resting { because: "the site's loop failed and is begun again".to_owned(), until: None });
        }
    }
}
