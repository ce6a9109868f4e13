//! Who acts at a site, and who rests: the site's own account, and the accounts that people have linked.
//!
//! An actor is named as the ledger names it: by Jira's own id of an account, the site's account by nothing. One that is
//! refused rests alone; what waits for it stays as it is, and goes on as soon as there is something new to try.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::clock;
use crate::login::{Opened, Shut};
use crate::send::{Platform, Settings};
use crate::serve::Resting;

use super::Shared;

/// The site's own account.
pub const SITE: &str = "";

/// How many clients are kept at hand.
const MOST: usize = 64;

/// The actors of one site.
pub struct Actors {
    shared: Arc<Shared>,
    settings: Settings,
    acting: HashMap<String, Acting>,
    resting: HashMap<String, Rest>,
}

/// One who can act.
struct Acting {
    platform: Arc<Platform>,
    /// When what opens it was handed over; nothing for the site's account.
    since: Option<i64>,
    /// Whose it is, for people.
    holder: String,
}

/// One who cannot.
struct Rest {
    resting: Resting,
    /// As of [`Acting`]: with something newer it ends at once.
    since: Option<i64>,
    holder: String,
}

impl Actors {
    pub fn new(shared: Arc<Shared>, settings: Settings) -> Actors {
        Actors { shared, settings, acting: HashMap::new(), resting: HashMap::new() }
    }

    /// Ends the rests that are over, and looks whether the site's account can act.
    pub fn wake(&mut self, now: i64) {
        let over = |actor: &str, rest: &Rest| {
            rest.resting.until.is_some_and(|until| until <= now) || self.has_something_new(actor, rest)
        };
        let ended: Vec<String> =
            self.resting.iter().filter(|(actor, rest)| over(actor, rest)).map(|(actor, _)| actor.clone()).collect();
        for actor in &ended {
            self.resting.remove(actor);
            self.acting.remove(actor);
        }
        if self.acting.len() > MOST {
            // A client costs more than to make one again.
            self.acting.retain(|actor, _| actor == SITE);
        }
        let idle = !self.acting.contains_key(SITE) && !self.resting.contains_key(SITE);
        if self.settings.account.is_some()
            && idle
            && let Err(rest) = self.open(SITE)
        {
            self.resting.insert(SITE.to_owned(), rest);
        }
        self.publish();
    }

    /// Those who rest.
    pub fn away(&self) -> Vec<String> {
        self.resting.keys().cloned().collect()
    }

    /// A client for an actor, or why there is none; then the actor rests.
    pub fn platform(&mut self, actor: &str) -> Result<Arc<Platform>, String> {
        let current = self.since(actor);
        let known = self.acting.get(actor).filter(|acting| acting.since == current);
        let rest = match known.map(|acting| Ok(Arc::clone(&acting.platform))).unwrap_or_else(|| self.open(actor)) {
            Ok(platform) => return Ok(platform),
            Err(rest) => rest,
        };
        let because = rest.resting.because.clone();
        self.resting.insert(actor.to_owned(), rest);
        self.publish();
        Err(because)
    }

    /// Lets an actor rest.
    pub fn rest(&mut self, actor: &str, resting: Resting) {
        let acting = self.acting.get(actor);
        let since = acting.and_then(|acting| acting.since);
        let holder = acting.map_or_else(|| actor.to_owned(), |acting| acting.holder.clone());
        self.resting.insert(actor.to_owned(), Rest { resting, since, holder });
        self.publish();
    }

    /// Makes a client with what opens the account now.
    fn open(&mut self, actor: &str) -> Result<Arc<Platform>, Rest> {
        let since = self.since(actor);
        let rest = |holder: &str, because| Rest {
            resting: Resting { because, until: None },
            since,
            holder: holder.to_owned(),
        };
        let (made, holder) = match actor {
            SITE => {
                let credentials = self.shared.environment.credentials_directory.as_deref();
                (Platform::new(&self.settings, credentials), String::new())
            }
            _ => match self.shared.logins.open(&self.settings.name, actor) {
                Ok(Opened { holder, opener, .. }) => (Platform::of(&self.settings, &opener), holder),
                Err(Shut { holder, because }) => return Err(rest(holder.as_deref().unwrap_or(actor), because)),
            },
        };
        match made {
            Ok(platform) => {
                let platform = Arc::new(platform);
                let acting = Acting { platform: Arc::clone(&platform), since, holder };
                self.acting.insert(actor.to_owned(), acting);
                Ok(platform)
            }
            Err(error) => Err(rest(&holder, error.to_string())),
        }
    }

    fn has_something_new(&self, actor: &str, rest: &Rest) -> bool {
        match (actor, self.acting.get(actor)) {
            (SITE, Some(acting)) => acting.platform.secret_changed(),
            // Its secret could not be read: perhaps it can by now.
            (SITE, None) => true,
            _ => self.since(actor) != rest.since,
        }
    }

    fn since(&self, actor: &str) -> Option<i64> {
        if actor == SITE { None } else { self.shared.logins.since(&self.settings.name, actor) }
    }

    /// Says who rests, where people look; in the log once.
    fn publish(&self) {
        let site = &self.settings.name;
        self.shared.note(|running| {
            let state = running.sites.entry(site.clone()).or_default();
            let account = self.resting.get(SITE).map(|rest| rest.resting.clone());
            if let Some(Resting { because, .. }) = account.as_ref().filter(|_| state.account_resting != account) {
                tracing::warn!(site = %site, "the account at {site} rests: {because}");
            }
            state.account_resting = account;
            let people = self.resting.iter().filter(|(actor, _)| *actor != SITE);
            let people = people.map(|(_, rest)| (rest.holder.clone(), rest.resting.clone())).collect();
            for holder in BTreeMap::keys(&people) {
                if !state.people_resting.contains_key(holder) {
                    // Not why: Jira's words may quote what people wrote.
                    tracing::warn!(site = %site, "the account of {holder} at {site} rests");
                }
            }
            state.people_resting = people;
        });
    }
}

/// How long an actor rests that is refused, unless there is something new before.
pub const REFUSED_MS: i64 = 900_000;

/// A rest after a refusal.
pub fn refused(because: String) -> Resting {
    Resting { because, until: Some(clock::now() + REFUSED_MS) }
}
