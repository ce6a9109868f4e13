//! One loop a site whose orders the agent carries out: claim, send or look, settle.
//!
//! The ledger lends one effect of an issue at a time, so what is claimed together concerns different issues and goes side
//! by side. Each turn follows the ledger's protocol: what has to be read is read first, the intent is on disk before the
//! first byte leaves, and what nobody knows the end of is looked for before it is sent again. A transition and what is
//! said with it are two effects, because a probe can tell of each whether it was done, and not of both at once.
//!
//! An account that is refused rests; nothing is discarded for it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::effect::{Action, Effect};
use crate::failpoint::failpoint;
use crate::queue::{self, Gone, Outcome, State, Sweep, Turn};
use crate::send::{self, Attempt, Deed, Executor, Manner, Marker, Obstacle, Platform, Probe, Reach, Settings};
use crate::serve::Resting;
use crate::{clock, event};

use super::{Shared, sites};

/// How often a loop looks by itself.
const TICK: Duration = Duration::from_secs(2);
/// Issues that are acted on at the same time.
const TOGETHER: usize = 8;
/// How long a claim lasts: longer than a request may take, and what is read before it.
const LEASE_MS: i64 = 300_000;
/// How often doubles are looked for, and lost owners.
const ROUND_MS: i64 = 60_000;
/// How long an account rests that is refused, unless its secret changes before.
const REFUSED_MS: i64 = 900_000;
/// How often a resting account's secret is looked at.
const SECRET_TICK: Duration = Duration::from_secs(3);

/// Runs a loop for each site whose orders are ours to carry out, anew for each configuration.
pub async fn run(shared: Arc<Shared>) -> anyhow::Result<()> {
    let installation: Arc<[u8]> = installation(&shared.places.state.join("marker.key"))?.into();
    let lost = shared.queue.recover(Gone::Everyone, clock::now()).await?;
    if lost > 0 {
        tracing::info!("{lost} effects were under way and are looked for");
    }
    sites::for_each(&Arc::clone(&shared), |settings, ending| {
        let ours = settings.executor == Executor::Agent && settings.account.is_some();
        ours.then(|| {
            let (shared, installation) = (Arc::clone(&shared), Arc::clone(&installation));
            Hand { shared, settings: settings.clone(), installation, ending }.run()
        })
    })
    .await
}

/// Who acts on one site.
struct Hand {
    shared: Arc<Shared>,
    settings: Settings,
    /// Proves that a mark is ours.
    installation: Arc<[u8]>,
    ending: tokio::sync::watch::Receiver<bool>,
}

/// What one turn means for the others.
enum After {
    GoOn,
    Rest(Resting),
}

impl Hand {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut round = clock::now();
        while let Some(platform) = self.platform().await {
            loop {
                if !self.wait().await {
                    return Ok(());
                }
                let rest = self.drain(&platform).await?;
                if clock::now() - round >= ROUND_MS {
                    round = clock::now();
                    self.shared.queue.recover(Gone::Overdue, round).await?;
                    self.sweep(&platform).await?;
                }
                if let Some(rest) = rest
                    && !self.rest(&platform, rest).await
                {
                    break;
                }
            }
        }
        Ok(())
    }

    /// A client for the account, as soon as its secret can be read; `None` at the end.
    async fn platform(&mut self) -> Option<Platform> {
        loop {
            match Platform::new(&self.settings, self.shared.environment.credentials_directory.as_deref()) {
                Ok(platform) => {
                    self.rests(None);
                    return Some(platform);
                }
                Err(error) => self.rests(Some(Resting { because: error.to_string(), until: None })),
            }
            if !self.pause(SECRET_TICK).await {
                return None;
            }
        }
    }

    async fn wait(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            () = shared.due.notified() => true,
            () = tokio::time::sleep(TICK) => true,
            _ = self.ending.wait_for(|end| *end) => false,
        }
    }

    /// Carries out what is due, until nothing is or the account wants to rest.
    async fn drain(&self, platform: &Platform) -> anyhow::Result<Option<Resting>> {
        loop {
            let owner = format!("process {}", std::process::id());
            let (queue, site) = (&self.shared.queue, self.settings.name.clone());
            let turns = queue.claim_effects(site, owner, Vec::new(), TOGETHER, clock::now(), LEASE_MS).await?;
            if turns.is_empty() || *self.ending.borrow() {
                return Ok(None);
            }
            failpoint("effects.after_claim");
            let names = self.names().await?;
            let ended = join_all(turns.into_iter().map(|turn| {
                let name = names.get(&turn.repository).cloned().unwrap_or_default();
                self.take(platform, turn, name)
            }));
            for after in ended.await {
                if let After::Rest(rest) = after? {
                    return Ok(Some(rest));
                }
            }
        }
    }

    /// One turn, from what the ledger lent to what it is told.
    async fn take(&self, platform: &Platform, mut turn: Turn, name: String) -> Result<After, queue::Error> {
        let queue = &self.shared.queue;
        let Ok(effect) = Effect::decode(&turn.body) else {
            let because = "what is ordered cannot be read: a newer agent has written it".to_owned();
            queue.settle_effect(turn, Outcome::Parked { because }, clock::now()).await?;
            return Ok(After::GoOn);
        };
        let marker = Marker::new(&turn.key, &self.installation);
        let issue = turn.issue_id.clone().unwrap_or_else(|| turn.issue.clone());
        let alone = without_words(&effect);
        let deed = Deed { effect: &alone, issue: &issue, repository: &name };
        let attempt = match turn.state {
            State::Unknown => return self.look(platform, turn, &effect, &deed, &marker).await,
            _ => match platform.prepare(&deed, &marker, self.manner(), clock::now()).await {
                Err(attempt) => attempt,
                Ok(prepared) => {
                    if !queue.intend(&mut turn, Some(prepared.issue_id.clone()), clock::now()).await? {
                        let (at, because) =
                            (clock::now() + 5_000, "another effect of the issue is under way".to_owned());
                        queue.settle_effect(turn, Outcome::Later { at, because }, clock::now()).await?;
                        return Ok(After::GoOn);
                    }
                    failpoint("effects.before_send");
                    match queue.fence(&turn, clock::now()).await? {
                        None => Attempt::Ambiguous { because: "the turn was over before it was sent".to_owned() },
                        Some(left) => {
                            let within = Duration::from_millis(left.unsigned_abs());
                            platform.send(&prepared, within, clock::now()).await
                        }
                    }
                }
            },
        };
        failpoint("effects.after_send");
        let (outcome, after) = self.outcome_of(attempt, &effect, &turn);
        self.settle(turn, outcome).await?;
        Ok(after)
    }

    /// Looks for an effect of which nobody knows whether it was done.
    async fn look(
        &self,
        platform: &Platform,
        mut turn: Turn,
        effect: &Effect,
        deed: &Deed<'_>,
        marker: &Marker,
    ) -> Result<After, queue::Error> {
        if !self.shared.queue.probe(&mut turn, clock::now()).await? {
            return Ok(After::GoOn);
        }
        failpoint("effects.before_probe");
        let (outcome, after) = match platform.probe(deed, marker, turn.since, clock::now()).await {
            Probe::Present { remote_id } => {
                let note = Some("it was found in Jira".to_owned());
                (Outcome::Applied { remote_id, note, then: words(effect, &turn) }, After::GoOn)
            }
            Probe::Absent => (Outcome::Absent, After::GoOn),
            Probe::Unsure { because } => (Outcome::Inconclusive { because }, After::GoOn),
            // What cannot be looked at is not proven undone: a person has to look.
            Probe::Stopped(Obstacle::Refused { because }) => (Outcome::Parked { because }, After::GoOn),
            Probe::Stopped(obstacle) => self.stopped(obstacle, turn.attempts),
        };
        self.settle(turn, outcome).await?;
        Ok(after)
    }

    fn outcome_of(&self, attempt: Attempt, effect: &Effect, turn: &Turn) -> (Outcome, After) {
        match attempt {
            Attempt::Applied { remote_id, .. } => {
                (Outcome::Applied { remote_id, note: None, then: words(effect, turn) }, After::GoOn)
            }
            Attempt::NoOp { because, .. } => {
                (Outcome::Applied { remote_id: None, note: Some(because), then: words(effect, turn) }, After::GoOn)
            }
            Attempt::Ambiguous { because } => (Outcome::Ambiguous { because }, After::GoOn),
            Attempt::Stopped(obstacle) => self.stopped(obstacle, turn.attempts),
        }
    }

    fn stopped(&self, obstacle: Obstacle, attempts: u32) -> (Outcome, After) {
        let now = clock::now();
        match obstacle {
            Obstacle::Refused { because } => (Outcome::Refused { because }, After::GoOn),
            Obstacle::Halt { reach: Reach::Issue, because } => (Outcome::Parked { because }, After::GoOn),
            Obstacle::Halt { reach: Reach::Account, because } => {
                // Due at once: the account rests for all of them, and whoever puts it right should not have to wait.
                let rest = Resting { because: because.clone(), until: Some(now + REFUSED_MS) };
                (Outcome::Later { at: now, because }, After::Rest(rest))
            }
            Obstacle::Later { reach, after, because } => {
                let seed = event::EventId::fresh().seed();
                let at = now + after.unwrap_or_else(|| send::backoff(attempts, seed));
                let outcome = Outcome::Later { at, because: because.clone() };
                match reach {
                    Reach::Issue => (outcome, After::GoOn),
                    Reach::Account => (outcome, After::Rest(Resting { because, until: Some(at) })),
                }
            }
        }
    }

    async fn settle(&self, turn: Turn, outcome: Outcome) -> Result<(), queue::Error> {
        let (site, issue, command) = (&self.settings.name, turn.issue.clone(), turn.command.clone());
        let fate = match &outcome {
            Outcome::Applied { .. } => "done",
            Outcome::Refused { .. } => "refused",
            Outcome::Parked { .. } => "parked",
            Outcome::Ambiguous { .. } => "sent, and nobody knows whether it was done",
            Outcome::Later { .. } | Outcome::Absent | Outcome::Inconclusive { .. } => "put off",
        };
        if self.shared.queue.settle_effect(turn, outcome, clock::now()).await? {
            // Not why: Jira's words may quote what people wrote.
            tracing::info!(site = %site, issue.key = %issue, "{issue} {command}: {fate}");
        }
        Ok(())
    }

    /// Looks once for what was done more than once, and takes all but the first away.
    async fn sweep(&self, platform: &Platform) -> anyhow::Result<()> {
        let queue = &self.shared.queue;
        for Sweep { key, issue, issue_id, since, body, .. } in
            queue.sweep_due(self.settings.name.clone(), Vec::new(), TOGETHER, clock::now()).await?
        {
            let Ok(effect) = Effect::decode(&body) else { continue };
            let marker = Marker::new(&key, &self.installation);
            let deed = Deed { effect: &effect, issue: issue_id.as_deref().unwrap_or(&issue), repository: "" };
            match platform.sweep(&deed, &marker, since, true, clock::now()).await {
                Ok(doubles) => {
                    let found = u32::try_from(doubles.younger.len()).unwrap_or(u32::MAX);
                    if found > 0 {
                        tracing::warn!(issue.key = %issue, "{issue} had {found} doubles of an effect");
                    }
                    queue.swept(key, found, clock::now()).await?;
                }
                Err(obstacle) => {
                    tracing::debug!("doubles of {issue} were not looked for: {}", obstacle.because());
                    break;
                }
            }
        }
        Ok(())
    }

    /// Rests as long as it takes, or until the secret changes; false when a new client is needed.
    async fn rest(&mut self, platform: &Platform, resting: Resting) -> bool {
        let until = resting.until;
        self.rests(Some(resting));
        loop {
            let left = until.map_or(i64::MAX, |until| until - clock::now());
            if left <= 0 {
                self.rests(None);
                return true;
            }
            if !self.pause(Duration::from_millis(left.unsigned_abs()).min(SECRET_TICK)).await {
                return true;
            }
            if platform.secret_changed() {
                return false;
            }
        }
    }

    async fn pause(&mut self, span: Duration) -> bool {
        tokio::time::timeout(span, self.ending.wait_for(|end| *end)).await.is_err()
    }

    fn rests(&self, resting: Option<Resting>) {
        self.shared.note(|running| {
            let state = running.sites.entry(self.settings.name.clone()).or_default();
            if let Some(Resting { because, .. }) = resting.as_ref().filter(|_| state.account_resting != resting) {
                tracing::warn!(site = %self.settings.name, "the account at {} rests: {because}", self.settings.name);
            }
            state.account_resting = resting;
        });
    }

    fn manner(&self) -> Manner<'_> {
        Manner { mode: self.shared.applied().config.parse.mode, resolution: self.settings.resolution.as_deref() }
    }

    /// What people call the repositories, by id.
    async fn names(&self) -> Result<HashMap<String, String>, queue::Error> {
        let applied = self.shared.applied();
        let rows = self.shared.queue.repositories().await?;
        let name = |path: PathBuf| applied.config.account_of(&path).map(|account| account.repository_name(&path));
        let named = rows.into_iter().map(|row| {
            let path = event::Origin { id: row.id, git_dir: row.git_dir };
            (path.id.clone(), name(path.git_dir().to_owned()).unwrap_or_default())
        });
        Ok(named.collect())
    }
}

/// A transition without what is said with it, which is an effect of its own.
fn without_words(effect: &Effect) -> Effect {
    match &effect.action {
        Action::Transition { name, .. } => {
            Effect { action: Action::Transition { name: name.clone(), comment: String::new() }, ..effect.clone() }
        }
        _ => effect.clone(),
    }
}

fn words(effect: &Effect, turn: &Turn) -> Option<Box<queue::NewEffect>> {
    effect.comment_of_its_own(&turn.key).map(Box::new)
}

/// The key of this installation, made once; whoever has it can make marks that we believe.
fn installation(path: &Path) -> std::io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Ok(key) if key.len() == 32 => return Ok(key),
        Ok(_) => tracing::warn!("{} was damaged: a new key is made", path.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut key = vec![0; 32];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let temporary = path.with_extension("part");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&key)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    Ok(key)
}
