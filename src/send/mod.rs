//! Telling Jira: batches, verdicts, retries. The only place with outgoing HTTP.
//!
//! The life of a batch: [`Jira::tell`] packs what is owed into requests within Jira's limits (`batch`), asks the site one
//! after the other (`cloud`, with what `credentials` gives), and reads a verdict for every entity out of each answer
//! (`verdict`, `retry`). A request that is refused for what is in it is taken apart until the faulty entity is alone.
//! When the site itself is in trouble the first failure ends the batch: the others wait, and the site rests. A site
//! that fails over the same request again and again may do so because of one entity in it; then that is looked for.
//!
//! An effect goes another way: [`Platform`] is an account at the site, which prepares it, sends it once (`effect`), and
//! judges what came of it (`outcome`). What was said takes the form that the site's texts have (`wording`, `adf`, `wiki`),
//! and bears a mark by which it is found again (`marker`, `read_back`). What the account is and may do can be asked
//! (`checkup`), and how marks are kept tried on an issue (`trial`).
//!
//! Invariants: every entity that comes in goes out with exactly one verdict. Nothing is given up because of a site's
//! trouble, nothing is dropped without being counted. Telling twice is harmless, because an entity carries the number
//! of its state. There are two exceptions. An effect that may have been done is not sent again before it was looked for.
//! And where Jira carries out the orders of commits itself, it is let do so once: a request that it may have obeyed is
//! told again so that it obeys nothing, and what was certainly not obeyed keeps its leave ([`Settled::unused`]). A token
//! goes to the origin it was had for and nowhere else.

pub mod account;
mod adf;
mod batch;
mod checkup;
mod choice;
mod cloud;
#[cfg(test)]
mod corpus;
mod credentials;
mod edit;
mod effect;
mod http;
mod issues;
mod marker;
mod outcome;
mod platform;
mod read_back;
mod retry;
mod settings;
mod trial;
mod verdict;
mod wiki;
mod wording;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::queue::{Class, Next, Owed, Settled};
use crate::text::cut;
use batch::{Envelope, Item, Operation, Packed, Properties, Provider, Request};
pub use checkup::{Introduced, Right, Seen};
use cloud::{Call, Gateway};
use credentials::Secret;
pub use effect::{Deed, Manner, Prepared};
pub use marker::Marker;
pub use outcome::{Attempt, Doubles, Obstacle, Probe, Reach};
pub use platform::{Demand, Hours, Issue, Match, Offered, Opener, Person, Platform};
pub use retry::backoff;
use retry::{Circuit, Wish};
pub use settings::{ACCOUNT_ONLY, Executor, Kind, Settings};
pub use trial::{Left, Moves, Trial};
use verdict::{Answer, Flaw, Scope, Trouble, Verdict, settled};

/// A client of one site.
pub struct Jira {
    gateway: Gateway,
    site: String,
    instance: String,
    executor: Executor,
    health: Mutex<Health>,
    /// Makes each pause a little different.
    chance: RandomState,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Told {
    /// A verdict for every entity.
    pub settled: Vec<Settled>,
    /// What the whole site should do.
    pub rest: Option<Rest>,
}

/// A site's wish to be left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Milliseconds since the epoch; `None` until the secret or the configuration changes.
    pub until: Option<i64>,
    pub because: String,
    pub kind: RestKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestKind {
    /// The credential is refused.
    Auth,
    /// We asked too much.
    RateLimit,
    /// Nothing sensible came back; it may be over any moment.
    Outage,
    /// The site is not where the configuration says.
    Site,
}

/// What a try found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub cloud_id: String,
    /// Whether this installation has told the site something before.
    pub known: bool,
}

/// What Jira holds of a repository: no more than its newest entities.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The number of each commit's state, and of each branch's, by id.
    pub commits: HashMap<String, i64>,
    pub branches: HashMap<String, i64>,
    /// The least number that it tells all of; `None`: there is no more than this.
    pub down_to: Option<i64>,
}

/// Why a site cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{setting} {because}")]
    Setting { setting: &'static str, because: String },
    #[error("cannot take the secret from {}: {because}", path.display())]
    Secret { path: PathBuf, because: String },
    #[error("cannot make an HTTP client: {because}")]
    Http { because: String },
    #[error("{step} failed: {because}")]
    Try { step: &'static str, because: String },
}

impl Jira {
    /// Makes a client; `instance` names this installation in what it tells.
    pub fn new(settings: &Settings, credentials_directory: Option<&Path>, instance: &str) -> Result<Jira, Error> {
        settings.check()?;
        if settings.kind == Kind::DataCenter {
            return Err(Error::Setting {
                setting: "kind",
                because: "data-center takes no development information".into(),
            });
        }
        if settings.is_account_only() {
            return Err(Error::Setting { setting: "client_id", because: format!("is missing: {ACCOUNT_ONLY}") });
        }
        let secret = Secret::read(settings.secret(), credentials_directory)?;
        Ok(Jira {
            gateway: Gateway::new(settings, secret)?,
            site: settings.name.clone(),
            instance: instance.to_owned(),
            executor: settings.executor,
            health: Mutex::default(),
            chance: RandomState::new(),
        })
    }

    /// Proves that the site can be told: its id, a token, and the permission for development information.
    pub async fn try_out(&self) -> Result<Tried, Error> {
        let failed = |step| move |trouble: Trouble| Error::Try { step, because: trouble.because().to_owned() };
        let now = crate::clock::now();
        let cloud_id = self.gateway.cloud_id(now).await.map_err(failed("asking the site for its id"))?;
        self.gateway.token(now).await.map_err(failed("getting a token"))?;
        let known = self.exists(&[(INSTANCE, &self.instance)]).await?;
        Ok(Tried { cloud_id, known })
    }

    /// Tells whether the site has anything that this installation told it under the site's name.
    pub async fn has_any(&self) -> Result<bool, Error> {
        self.exists(&self.ours()).await
    }

    async fn exists(&self, properties: &[(&str, &str)]) -> Result<bool, Error> {
        let step = "asking for development information";
        let failed = |trouble: Trouble| Error::Try { step, because: trouble.because().to_owned() };
        let now = crate::clock::now();
        let answer = self.gateway.ask(&Call::Exists { properties }, now).await.map_err(failed)?;
        if let Some(trouble) = answer.trouble(now) {
            return Err(failed(trouble));
        }
        let Exists { has_data_matching_properties: known } = answer.json().map_err(failed)?;
        Ok(known)
    }

    /// The properties of all that this installation tells the site.
    fn ours(&self) -> [(&str, &str); 2] {
        [(INSTANCE, cut(&self.instance, PROPERTY)), (SITE, cut(&self.site, PROPERTY))]
    }

    /// Has the site forget all that this installation ever told it under the site's name.
    pub async fn forget_all(&self) -> Result<(), Error> {
        let step = "having Jira forget what it was told";
        let failed = |trouble: Trouble| Error::Try { step, because: trouble.because().to_owned() };
        let now = crate::clock::now();
        let answer = self.gateway.ask(&Call::Forget { properties: &self.ours() }, now).await.map_err(failed)?;
        answer.trouble(now).map_or(Ok(()), |trouble| Err(failed(trouble)))
    }

    /// Asks what the site holds of a repository.
    pub async fn held(&self, repository: &str) -> Result<Held, Error> {
        let step = "asking for what Jira holds";
        let failed = |trouble: Trouble| Error::Try { step, because: trouble.because().to_owned() };
        let now = crate::clock::now();
        let answer = self.gateway.ask(&Call::Read { repository }, now).await.map_err(failed)?;
        if answer.status == 404 && !answer.words().is_empty() {
            return Ok(Held::default());
        }
        if let Some(trouble) = answer.trouble(now) {
            return Err(failed(trouble));
        }
        let HeldRepository { commits, branches, pull_requests } = answer.json().map_err(failed)?;
        let numbers = |list: &[Numbered]| list.iter().map(|one| (one.id.clone(), one.update_sequence_id)).collect();
        let all = commits.iter().chain(&branches).chain(&pull_requests);
        let full = commits.len() + branches.len() + pull_requests.len() >= HELD;
        let down_to = all.map(|one| one.update_sequence_id).min().filter(|_| full);
        Ok(Held { commits: numbers(&commits), branches: numbers(&branches), down_to })
    }

    /// Tells Jira what it is owed; a verdict comes back for every entity.
    pub async fn tell(&self, class: Class, owed: &[Owed], now: i64) -> Told {
        // History must set off neither orders nor workflow triggers.
        let obeyed = self.executor == Executor::Jira && class == Class::Live;
        let Packed { requests, unfit } = batch::pack(owed, batch::MOST_BYTES, obeyed);
        let mut turn = Turn::new(self, class, owed, requests, now);
        for (owed, because) in unfit {
            turn.settle(owed, Next::Parked { because });
        }
        while let Some(mut request) = turn.waiting.pop_front() {
            match turn.reason_to_wait(&request) {
                Some((at, because)) => turn.put_back(&request, at, &because),
                None => {
                    let verdict = turn.ask(&mut request).await;
                    turn.take(request, verdict);
                }
            }
        }
        turn.told
    }

    /// Tells whether the secret is another one than this client was made with.
    pub fn secret_changed(&self) -> bool {
        self.gateway.secret().changed()
    }

    fn envelope(&self, class: Class) -> Envelope {
        Envelope {
            operation_type: if class == Class::Backfill { Operation::Backfill } else { Operation::Normal },
            properties: Properties {
                agent_instance: cut(&self.instance, PROPERTY).to_owned(),
                agent_site: cut(&self.site, PROPERTY).to_owned(),
            },
            provider_metadata: Provider { product: "git-jira-agent" },
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The property under which [`batch::Properties`] carries the installation.
const INSTANCE: &str = "agentInstance";
/// The one under which it carries what the site is called here.
const SITE: &str = "agentSite";
/// The most UTF-16 units of a property.
const PROPERTY: usize = 255;
/// A turn that takes longer than this ends early, so that its lease outlives it.
const TURN: Duration = Duration::from_secs(60);
/// How often a turn may take a refused request apart. Finding one in a thousand takes ten.
const SPLITS: u32 = 60;
/// How often in a row a site fails before one entity is suspected of being the reason.
const SUSPICIOUS: u32 = 4;
/// How many failures in a row a search for that entity may earn.
const SEARCH: u32 = 16;
/// When a turn has run out of splits the rest is tried after this many milliseconds.
const AFTER_SPLITS: i64 = 60_000;

/// How a site has been lately.
#[derive(Debug, Default)]
struct Health {
    circuit: Circuit,
    /// How often in a row a limit was met.
    limited: u32,
    /// Until when each kind of call has to wait.
    bulk_until: i64,
    delete_until: i64,
}

impl Health {
    fn until(&mut self, request: &Request<'_>) -> &mut i64 {
        match request {
            Request::Bulk(_) => &mut self.bulk_until,
            Request::Delete(_) => &mut self.delete_until,
        }
    }
}

impl Rest {
    /// When what is owed is due again. Where a person has to act it is due at once: the site rests for all of it, and
    /// whoever puts things right should not have to wait.
    fn ready_at(&self, now: i64) -> i64 {
        match self.kind {
            RestKind::Auth | RestKind::Site => now,
            RestKind::RateLimit | RestKind::Outage => self.until.unwrap_or(now),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Exists {
    has_data_matching_properties: bool,
}

/// How many entities a read of a repository gives at most.
const HELD: usize = 400;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeldRepository {
    #[serde(default)]
    commits: Vec<Numbered>,
    #[serde(default)]
    branches: Vec<Numbered>,
    #[serde(default)]
    pull_requests: Vec<Numbered>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Numbered {
    id: String,
    update_sequence_id: i64,
}

/// The search for the one entity that a site fails over.
#[derive(Default)]
struct Search {
    /// Failures since the last request that was taken.
    failing: u32,
    /// How many of them it takes to believe that the site is out after all.
    most: u32,
    /// Whether the site took anything meanwhile: then what it fails over is at fault, and not the site.
    taken: bool,
}

/// One call of [`Jira::tell`].
struct Turn<'a> {
    jira: &'a Jira,
    envelope: Envelope,
    waiting: VecDeque<Request<'a>>,
    /// Commits whose leave Jira has certainly not used, by repository and id.
    unused: HashSet<(&'a str, &'a str)>,
    told: Told,
    splits: u32,
    search: Option<Search>,
    began: Instant,
    began_at: i64,
}

impl<'a> Turn<'a> {
    fn new(jira: &'a Jira, class: Class, owed: &'a [Owed], requests: Vec<Request<'a>>, now: i64) -> Self {
        let with_leave = owed.iter().filter(|owed| owed.leave);
        Turn {
            jira,
            envelope: jira.envelope(class),
            waiting: requests.into(),
            unused: with_leave.map(|owed| (owed.repository.as_str(), owed.id.as_str())).collect(),
            told: Told::default(),
            splits: SPLITS,
            search: None,
            began: Instant::now(),
            began_at: now,
        }
    }

    /// The time of day, as it is by now.
    fn now(&self) -> i64 {
        self.began_at + i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX / 2)
    }

    fn seed(&self) -> u64 {
        self.jira.chance.hash_one((self.began_at, self.told.settled.len()))
    }

    /// Why a request is not sent now, and when it may be.
    fn reason_to_wait(&self, request: &Request<'_>) -> Option<(i64, String)> {
        let now = self.now();
        if let Some(rest) = &self.told.rest {
            return Some((rest.ready_at(now), rest.because.clone()));
        }
        if self.began.elapsed() > TURN {
            return Some((now, "there was no time left for it in this turn".to_owned()));
        }
        let until = *self.jira.health().until(request);
        (until > now).then(|| (until, "Jira asked us to slow down".to_owned()))
    }

    async fn ask(&mut self, request: &mut Request<'a>) -> Verdict {
        let orders = request.orders();
        if orders && let Err(trouble) = self.jira.gateway.prepare(self.now()).await {
            return Verdict::Trouble(trouble);
        }
        let call = match request {
            Request::Bulk(items) => Call::Bulk(batch::body(items, &self.envelope)),
            Request::Delete(owed) => {
                Call::Delete { repository: &owed.repository, kind: owed.kind, id: &owed.id, upto: owed.sequence }
            }
        };
        let asked = self.jira.gateway.ask(&call, self.now()).await;
        let undone = asked.as_ref().map_or_else(Trouble::is_undone, outcome::is_undone);
        if orders && !undone {
            request.bind();
            for owed in request.owed() {
                self.unused.remove(&(owed.repository.as_str(), owed.id.as_str()));
            }
        }
        match asked {
            Ok(answer) => self.judge(request, &answer),
            Err(trouble) => Verdict::Trouble(trouble),
        }
    }

    fn judge(&self, request: &Request<'_>, answer: &Answer) -> Verdict {
        let (owed, site) = (request.owed(), &self.jira.site);
        tracing::debug!(site = %site, status = answer.status, entities = owed.len(), "{site} answered {}", answer.status);
        match request {
            Request::Bulk(_) => verdict::bulk(answer, &owed, self.now(), self.seed()),
            Request::Delete(owed) => verdict::deletion(answer, owed, self.now()),
        }
    }

    fn take(&mut self, request: Request<'a>, verdict: Verdict) {
        if !matches!(verdict, Verdict::Trouble(_)) {
            let mut health = self.jira.health();
            health.circuit.close();
            health.limited = 0;
            if let Some(search) = &mut self.search {
                (search.failing, search.taken) = (0, true);
            }
        }
        match verdict {
            Verdict::Judged(settled) => settled.into_iter().for_each(|settled| self.conclude(settled)),
            Verdict::Refused { flaw, because } => self.take_apart(request, flaw, &because),
            Verdict::Trouble(Trouble::Outage { answered: true, because, .. }) if self.suspects(&request) => {
                self.search_in(request, because);
            }
            Verdict::Trouble(trouble) => self.suffer(&request, trouble),
        }
    }

    /// Tells whether something in a request may be why the site fails over it, rather than the site.
    fn suspects(&mut self, request: &Request<'_>) -> bool {
        let Request::Bulk(items) = request else { return false };
        if self.search.is_none() {
            let failures = self.jira.health().circuit.failures();
            // One that was found before is found again at once.
            let known = request.owed().iter().any(|owed| owed.attempts > 0);
            let begins = failures >= SUSPICIOUS || known;
            self.search = begins.then(|| Search { most: failures.clamp(SUSPICIOUS, SEARCH), ..Search::default() });
        }
        let Some(search) = &mut self.search else { return false };
        search.failing += 1;
        let goes_on = search.failing < search.most && self.splits > 0;
        match items.len() {
            1 => search.taken || (goes_on && !self.waiting.is_empty()),
            _ => goes_on,
        }
    }

    /// Asks with each half of a request that the site failed over; one entity alone gets a few tries more.
    fn search_in(&mut self, request: Request<'a>, because: String) {
        let (now, seed) = (self.now(), self.seed());
        let taken = self.search.as_ref().is_some_and(|search| search.taken);
        match request {
            Request::Bulk(mut items) if items.len() > 1 => {
                self.splits -= 1;
                let second = items.split_off(items.len() / 2);
                // Not at the front: a half that is taken soon tells the site's trouble from the entity's.
                self.waiting.extend([Request::Bulk(items), Request::Bulk(second)]);
            }
            request if !taken => self.waiting.push_back(request),
            request => request.owed().into_iter().for_each(|owed| {
                self.settle(owed, retry::failed(owed, because.clone(), now, seed));
            }),
        }
    }

    /// Halves a refused request until what is wrong with it is alone, then makes that smaller or parks it.
    fn take_apart(&mut self, request: Request<'a>, flaw: Flaw, because: &str) {
        let Request::Bulk(mut items) = request else {
            return self.park(&request, because);
        };
        if items.len() > 1 && self.splits == 0 {
            let at = self.now() + AFTER_SPLITS;
            self.put_back(&Request::Bulk(items), at, because);
        } else if items.len() > 1 {
            self.splits -= 1;
            let second = items.split_off(items.len() / 2);
            self.waiting.push_front(Request::Bulk(second));
            self.waiting.push_front(Request::Bulk(items));
        } else if flaw == Flaw::TooLarge && items.iter_mut().any(Item::shrink) {
            self.waiting.push_front(Request::Bulk(items));
        } else {
            self.park(&Request::Bulk(items), because);
        }
    }

    /// Lets a request wait for the site, and the site rest where the trouble is the whole site's.
    fn suffer(&mut self, request: &Request<'a>, trouble: Trouble) {
        let (now, seed) = (self.now(), self.seed());
        match trouble {
            Trouble::Outage { wish, offline, because, .. } => {
                let until = self.jira.health().circuit.open(wish, offline, now, seed);
                let circuit = self.jira.health().circuit;
                for owed in request.owed() {
                    self.settle(owed, circuit.outlast(owed, until, &because, now));
                }
                self.rest(Some(until), because, RestKind::Outage);
            }
            Trouble::Limited { scope, wish, because } => {
                let until = now + self.slow_down(wish, seed);
                self.put_back(request, until, &because);
                match scope {
                    Scope::Request => {}
                    Scope::Call => *self.jira.health().until(request) = until,
                    Scope::Site => self.rest(Some(until), because, RestKind::RateLimit),
                }
            }
            Trouble::Refused { kind, again, because } => {
                let rest = Rest { until: again.map(|span| now + span), because, kind };
                self.put_back(request, rest.ready_at(now), &rest.because);
                self.told.rest = Some(rest);
            }
        }
    }

    /// How long to wait after a limit was met: as long as Jira says, else longer each time.
    fn slow_down(&self, wish: Wish, seed: u64) -> i64 {
        let mut health = self.jira.health();
        let pause = wish.pause(seed).unwrap_or_else(|| retry::backoff(health.limited + 1, seed));
        health.limited = health.limited.saturating_add(1).min(32);
        pause
    }

    fn rest(&mut self, until: Option<i64>, because: String, kind: RestKind) {
        self.told.rest = Some(Rest { until, because, kind });
    }

    fn put_back(&mut self, request: &Request<'a>, at: i64, because: &str) {
        for owed in request.owed() {
            self.settle(owed, Next::Again { at, counts: false, because: because.to_owned() });
        }
    }

    fn park(&mut self, request: &Request<'a>, because: &str) {
        for owed in request.owed() {
            self.settle(owed, Next::Parked { because: because.to_owned() });
        }
    }

    fn settle(&mut self, owed: &Owed, next: Next) {
        self.conclude(settled(owed, next));
    }

    fn conclude(&mut self, settled: Settled) {
        if let Next::Parked { .. } = settled.next {
            // Not why: Jira's words may quote what people wrote.
            let (site, kind, repository) = (&self.jira.site, settled.kind.as_str(), &settled.repository);
            tracing::warn!(site = %site, repository = %repository, "parked a {kind} of {repository} for a person to look at");
        }
        let unused = self.unused.contains(&(settled.repository.as_str(), settled.id.as_str()));
        self.told.settled.push(Settled { unused, ..settled });
    }
}

#[cfg(test)]
mod tests;
