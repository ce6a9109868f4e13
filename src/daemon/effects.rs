//! One loop a site whose orders the agent carries out: claim, send or look, settle.
//!
//! The ledger lends one effect of an issue at a time, so what is claimed together concerns different issues and goes side
//! by side. Each turn follows the ledger's protocol: what has to be read is read first, the intent is on disk before the
//! first byte leaves, and what nobody knows the end of is looked for before it is sent again. A transition and what is
//! said with it are two effects, because a probe can tell of each whether it was done, and not of both at once.
//!
//! Each effect is sent, and looked for, in the name that was decided when its order was taken: the site's account or the
//! pusher's own (`actors`), and never another. An account that is refused rests; nothing is discarded for it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::effect::Effect;
use crate::failpoint::failpoint;
use crate::queue::{self, Gone, Outcome, State, Sweep, Turn};
use crate::send::{self, Attempt, Deed, Manner, Marker, Obstacle, Platform, Probe, Reach, Settings};
use crate::serve::Resting;
use crate::{clock, event, secret};

use super::actors::{self, Actors};
use super::{Shared, sites, unlink};

/// How often a loop looks by itself.
const TICK: Duration = Duration::from_secs(2);
/// Issues that are acted on at the same time.
const TOGETHER: usize = 8;
/// How long a claim lasts: longer than a request may take, and what is read before it.
const LEASE_MS: i64 = 300_000;
/// How often doubles are looked for, and lost owners.
const ROUND_MS: i64 = 60_000;
/// How long an effect rests whose site is being unlinked.
const LEAVING_MS: i64 = 5_000;

/// Runs a loop for each site at which something may be ours to carry out, anew for each configuration.
pub async fn run(shared: Arc<Shared>) -> anyhow::Result<()> {
    // Whoever has it can make marks that we believe.
    let installation: Arc<[u8]> = secret::key(&shared.places.state.join("marker.key"))?.into();
    let lost = shared.queue.recover(Gone::Everyone, clock::now()).await?;
    if lost > 0 {
        tracing::info!("{lost} effects were under way and are looked for");
    }
    sites::for_each(&Arc::clone(&shared), |settings, ending| {
        settings.carries_out().then(|| {
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
        let mut actors = Actors::new(Arc::clone(&self.shared), self.settings.clone());
        let mut round = clock::now();
        actors.wake(round);
        while self.wait().await {
            actors.wake(clock::now());
            self.drain(&mut actors).await?;
            if clock::now() - round >= ROUND_MS {
                round = clock::now();
                self.shared.queue.recover(Gone::Overdue, round).await?;
                self.sweep(&mut actors).await?;
            }
        }
        Ok(())
    }

    async fn wait(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            () = shared.due.notified() => true,
            () = tokio::time::sleep(TICK) => true,
            _ = self.ending.wait_for(|end| *end) => false,
        }
    }

    /// Carries out what is due, until nothing is or whoever it waits for rests.
    async fn drain(&self, actors: &mut Actors) -> anyhow::Result<()> {
        loop {
            let owner = format!("process {}", std::process::id());
            let (queue, site) = (&self.shared.queue, self.settings.name.clone());
            // Before anything is claimed: what is found out meanwhile holds for turns that begin later.
            let read_backs = queue.read_backs(site.clone()).await?;
            let turns = queue.claim_effects(site, owner, actors.away(), TOGETHER, clock::now(), LEASE_MS).await?;
            if turns.is_empty() || *self.ending.borrow() {
                return Ok(());
            }
            if self.shared.leaving().contains(&self.settings.name) {
                for turn in turns {
                    let (at, because) = (clock::now() + LEAVING_MS, unlink::BECAUSE.to_owned());
                    self.settle(turn, Outcome::Later { at, because }).await?;
                }
                return Ok(());
            }
            failpoint("effects.after_claim");
            let names = self.names().await?;
            let mut begun = Vec::new();
            for turn in turns {
                match actors.platform(&turn.actor) {
                    Ok(platform) => {
                        platform.reads_back(read_backs.clone());
                        let name = names.get(&turn.repository).cloned().unwrap_or_default();
                        begun.push(async move {
                            let actor = turn.actor.clone();
                            (actor, self.take(&platform, turn, name).await)
                        });
                    }
                    Err(because) => {
                        self.shared.logins.refused(&self.settings.name, &turn.actor, &because, clock::now()).await?;
                        self.settle(turn, Outcome::Later { at: clock::now(), because }).await?;
                    }
                }
            }
            for (actor, after) in join_all(begun).await {
                if let After::Rest(rest) = after? {
                    actors.rest(&actor, rest);
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
        if let Err(obstacle) = is_actor(platform, &turn.actor).await {
            let (outcome, after) = self.stopped(obstacle, &turn).await?;
            self.settle(turn, outcome).await?;
            return Ok(after);
        }
        let marker = Marker::new(&turn.key, &self.installation);
        let issue = turn.issue_id.clone().unwrap_or_else(|| turn.issue.clone());
        let deed = Deed { effect: &effect, issue: &issue, repository: &name };
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
        let (outcome, after) = self.outcome_of(attempt, &effect, &turn).await?;
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
            // What this store never sent needs no mark to be known as undone.
            Probe::Absent => match platform.may_be_unmarked(deed, turn.since).filter(|_| turn.attempts > 0) {
                Some(because) => (Outcome::Inconclusive { because: because.to_owned() }, After::GoOn),
                None => (Outcome::Absent, After::GoOn),
            },
            Probe::Unsure { because } => (Outcome::Inconclusive { because }, After::GoOn),
            // What cannot be looked at is not proven undone: a person has to look.
            Probe::Stopped(Obstacle::Refused { because }) => (Outcome::Parked { because }, After::GoOn),
            Probe::Stopped(obstacle) => self.stopped(obstacle, &turn).await?,
        };
        self.settle(turn, outcome).await?;
        Ok(after)
    }

    async fn outcome_of(
        &self,
        attempt: Attempt,
        effect: &Effect,
        turn: &Turn,
    ) -> Result<(Outcome, After), queue::Error> {
        Ok(match attempt {
            Attempt::Applied { remote_id, .. } => {
                (Outcome::Applied { remote_id, note: None, then: words(effect, turn) }, After::GoOn)
            }
            Attempt::NoOp { because, .. } => {
                (Outcome::Applied { remote_id: None, note: Some(because), then: words(effect, turn) }, After::GoOn)
            }
            Attempt::Ambiguous { because } => (Outcome::Ambiguous { because }, After::GoOn),
            Attempt::Stopped(obstacle) => self.stopped(obstacle, turn).await?,
        })
    }

    async fn stopped(&self, obstacle: Obstacle, turn: &Turn) -> Result<(Outcome, After), queue::Error> {
        let now = clock::now();
        Ok(match obstacle {
            Obstacle::Refused { because } => (Outcome::Refused { because }, After::GoOn),
            Obstacle::Halt { reach: Reach::Issue, because } => (Outcome::Parked { because }, After::GoOn),
            Obstacle::Halt { reach: Reach::Account, because } => {
                let because = match turn.actor.as_str() {
                    actors::SITE => because,
                    _ => format!("the pusher's own account is not let in, `agent login` takes a new token: {because}"),
                };
                self.shared.logins.refused(&self.settings.name, &turn.actor, &because, now).await?;
                // Due at once: the account rests for all of them, and whoever puts it right should not have to wait.
                (Outcome::Later { at: now, because: because.clone() }, After::Rest(actors::refused(because)))
            }
            Obstacle::Later { reach, after, because } => {
                let seed = event::EventId::fresh().seed();
                let at = now + after.unwrap_or_else(|| send::backoff(turn.attempts, seed));
                let outcome = Outcome::Later { at, because: because.clone() };
                match reach {
                    Reach::Issue => (outcome, After::GoOn),
                    Reach::Account => (outcome, After::Rest(Resting { because, until: Some(at) })),
                }
            }
        })
    }

    async fn settle(&self, turn: Turn, outcome: Outcome) -> Result<(), queue::Error> {
        let (site, issue, command) = (&self.settings.name, turn.issue.clone(), turn.command.clone());
        if matches!(outcome, Outcome::Applied { .. }) {
            self.shared.logins.used(site, &turn.actor, clock::now()).await?;
        }
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
    async fn sweep(&self, actors: &mut Actors) -> anyhow::Result<()> {
        let (queue, site) = (&self.shared.queue, self.settings.name.clone());
        let mut blind = Vec::new();
        for Sweep { key, issue, issue_id, since, body, actor, .. } in
            queue.sweep_due(site, actors.away(), TOGETHER, clock::now()).await?
        {
            let Ok(effect) = Effect::decode(&body) else { continue };
            let Some(platform) = actors.platform(&actor).ok().filter(|_| !blind.contains(&actor)) else { continue };
            let marker = Marker::new(&key, &self.installation);
            let deed = Deed { effect: &effect, issue: issue_id.as_deref().unwrap_or(&issue), repository: "" };
            let swept = match is_actor(&platform, &actor).await {
                Ok(()) => platform.sweep(&deed, &marker, since, true, clock::now()).await,
                Err(obstacle) => Err(obstacle),
            };
            match swept {
                Ok(doubles) => {
                    let found = u32::try_from(doubles.younger.len()).unwrap_or(u32::MAX);
                    if found > 0 {
                        tracing::warn!(issue.key = %issue, "{issue} had {found} doubles of an effect");
                    }
                    queue.swept(key, found, clock::now()).await?;
                }
                Err(obstacle) => {
                    tracing::debug!("doubles of {issue} were not looked for: {}", obstacle.because());
                    if let Obstacle::Halt { reach: Reach::Account, because } = obstacle {
                        actors.rest(&actor, actors::refused(because));
                    }
                    blind.push(actor);
                }
            }
        }
        Ok(())
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

/// Makes sure that an account is the one that an order was taken for.
async fn is_actor(platform: &Platform, actor: &str) -> Result<(), Obstacle> {
    if actor == actors::SITE {
        return Ok(());
    }
    let me = platform.myself(clock::now()).await?;
    match me.id() {
        Some(id) if id == actor => Ok(()),
        _ => {
            let because = "what was linked opens another account by now: `agent login` again".to_owned();
            Err(Obstacle::Halt { reach: Reach::Account, because })
        }
    }
}

fn words(effect: &Effect, turn: &Turn) -> Option<Box<queue::NewEffect>> {
    effect.comment_of_its_own(&turn.key).map(Box::new)
}
