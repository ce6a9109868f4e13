//! What Jira is owed, kept safe.
//!
//! The life of a push in here:
//!
//! 1. [`Queue::add`] stores the event as it came. Its answer means "on disk", and the same event
//!    added again is the same row. In the same transaction our snapshot of the refs (the tips) moves on.
//! 2. [`Queue::next_event`] gives the oldest events back; what each means for a site is put into the
//!    outbox by [`Queue::owe`], entity by entity, and [`Queue::finish`] closes the event.
//! 3. [`Queue::claim`] lends a site's entities to a sender for a while; [`Queue::settle`] takes its
//!    verdicts. A claim that is never settled runs out by itself.
//!
//! Invariants: `updateSequenceId` only grows, whatever the clock does. A settle that comes too late
//! (its lease is over, or the entity has changed since) changes nothing. All writing happens on one
//! thread in group commits; after an I/O error that thread takes no more work, because a commit that
//! reported an error may be on disk all the same, and only opening the store again can tell.
//!
//! This folder is the only place with SQL.

mod events;
mod look;
mod outbox;
mod store;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::event::{Event, EventId};
use crate::git::{Oid, RefName};

pub use events::{Added, Queued, Tip};
pub use look::{Counts, EntityRow, EventRow, Filter, RepositoryRow, SiteCounts, Trace};
pub use outbox::{Batch, Class, EntityKind, Lease, NewEntity, Next, Owed, Owing, Settled};
use store::Store;
pub use store::{Error, holder};

/// Section `queue` of the configuration.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many days settled rows are kept, so that "did it arrive?" has an answer. Default 30.
    pub keep_days: u32,
    /// No new work is taken below this much free disk, or below a tenth of the disk if that is
    /// less. Mebibytes, default 256.
    pub min_free_mib: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { keep_days: 30, min_free_mib: 256 }
    }
}

/// The queue of one daemon.
#[derive(Clone)]
pub struct Queue {
    store: Arc<Store>,
}

impl Queue {
    /// Opens the queue in a directory, makes or migrates it, and checks it when it was not closed properly.
    pub fn open(directory: &Path, now: i64) -> Result<Queue, Error> {
        Ok(Queue { store: Arc::new(Store::open(directory, now)?) })
    }

    /// Stores an event; `Ok` means that it is on disk.
    pub async fn add(&self, event: Event, uid: u32, now: i64) -> Result<Added, Error> {
        self.store.write(move |c| events::add(c, &event, uid, now)).await
    }

    /// Queued events that are due, oldest first, at most one a repository, without those of `busy`.
    pub async fn next_events(&self, busy: Vec<String>, limit: usize, now: i64) -> Result<Vec<Queued>, Error> {
        let found = self.store.read(move |c| events::next(c, &busy, limit, now)).await?;
        for (id, because) in found.unreadable {
            tracing::error!("event {id} was put aside: {because}");
            self.store.write(move |c| events::put_back(c, &id, None, &because, now)).await?;
        }
        Ok(found.queued)
    }

    /// Notes that everything an event means is in the outbox.
    pub async fn finish(&self, id: EventId, note: Option<String>, now: i64) -> Result<(), Error> {
        self.store.write(move |c| events::finish(c, id, note.as_deref(), now)).await
    }

    /// Lets an event wait until `ready_at`: what it needs is not there yet.
    pub async fn wait(&self, id: EventId, ready_at: i64, because: String) -> Result<(), Error> {
        self.store.write(move |c| events::wait(c, id, ready_at, &because)).await
    }

    /// Ends the waiting of events: what they need may be there now.
    pub async fn wake(&self, now: i64) -> Result<(), Error> {
        self.store.write(move |c| events::wake(c, now)).await
    }

    /// Resolves when the writing thread has come round: it is alive.
    pub async fn ping(&self) -> Result<(), Error> {
        self.store.write(|_| Ok(())).await
    }

    /// Puts an event back for later, or for a person when `ready_at` is `None`.
    pub async fn put_back(&self, id: EventId, ready_at: Option<i64>, because: String, now: i64) -> Result<(), Error> {
        self.store.write(move |c| events::put_back(c, &id.to_string(), ready_at, &because, now)).await
    }

    /// Repositories with an intent that nobody confirmed before `before`.
    pub async fn unconfirmed(&self, before: i64) -> Result<Vec<String>, Error> {
        self.store.read(move |c| events::unconfirmed(c, before)).await
    }

    /// Forgets the intents of a repository that are older than `before`: its refs were looked at.
    pub async fn forget_intents(&self, repository: String, before: i64) -> Result<(), Error> {
        self.store.write(move |c| events::forget_intents(c, &repository, before)).await
    }

    /// Our snapshot of a repository's refs; deleted ones have no id.
    pub async fn tips(&self, repository: String) -> Result<Vec<Tip>, Error> {
        self.store.read(move |c| events::tips(c, &repository)).await
    }

    /// Those of `refs` that no event after the one numbered `seq` has moved.
    pub async fn still_at(&self, repository: String, refs: Vec<RefName>, seq: i64) -> Result<Vec<RefName>, Error> {
        self.store.read(move |c| events::still_at(c, &repository, &refs, seq)).await
    }

    /// Takes the refs that a repository had when we first met it as known.
    pub async fn baseline(&self, repository: String, refs: Vec<(RefName, Oid)>, now: i64) -> Result<(), Error> {
        self.store.write(move |c| events::baseline(c, &repository, &refs, now)).await
    }

    pub async fn repositories(&self) -> Result<Vec<RepositoryRow>, Error> {
        self.store.read(look::repositories).await
    }

    /// Notes what keeps us from reading a repository, or that nothing does.
    pub async fn trouble(&self, repository: String, trouble: Option<String>) -> Result<(), Error> {
        self.store.write(move |c| events::trouble(c, &repository, trouble.as_deref())).await
    }

    /// Puts entities into the outbox of a site; those that it has been told already in this state are left out.
    pub async fn owe(&self, owing: Owing, now: i64) -> Result<usize, Error> {
        self.store.write(move |c| outbox::owe(c, &owing, now)).await
    }

    /// Lends a site's due entities to a sender until `now + ttl`.
    ///
    /// Repositories that are `growing`, because their history is being read, wait a little until they fill a request.
    pub async fn claim(
        &self,
        site: String,
        class: Class,
        owner: String,
        growing: HashSet<String>,
        now: i64,
        ttl: i64,
    ) -> Result<Batch, Error> {
        self.store.write(move |c| outbox::claim(c, &site, class, &owner, &growing, now, ttl)).await
    }

    /// Takes the verdicts on a batch and gives its lanes back; returns how many entities changed.
    pub async fn settle(&self, batch: Lease, settled: Vec<Settled>, now: i64) -> Result<usize, Error> {
        self.store.write(move |c| outbox::settle(c, &batch, &settled, now)).await
    }

    /// Gives every lane back, whoever held it: nobody else runs on this store.
    pub async fn release_all(&self) -> Result<(), Error> {
        self.store.write(outbox::release_all).await
    }

    /// Makes parked or waiting entities and dead events that match due at once.
    pub async fn retry(&self, filter: Filter, now: i64) -> Result<usize, Error> {
        self.store.write(move |c| outbox::retry(c, &filter, now)).await
    }

    /// Gives up what matches and is not settled; it stays visible as dropped by a person.
    pub async fn drop(&self, filter: Filter, now: i64) -> Result<usize, Error> {
        self.store.write(move |c| outbox::drop(c, &filter, now)).await
    }

    /// Makes every site that was told of a repository forget it; returns how many sites that are.
    pub async fn forget(
        &self,
        repository: String,
        gone: impl Fn() -> NewEntity + Send + 'static,
        now: i64,
    ) -> Result<usize, Error> {
        self.store.write(move |c| outbox::forget(c, &repository, gone, now)).await
    }

    /// Deletes what was settled before `before`.
    pub async fn prune(&self, before: i64) -> Result<usize, Error> {
        self.store.write(move |c| outbox::prune(c, before)).await
    }

    pub async fn counts(&self, now: i64) -> Result<Counts, Error> {
        self.store.read(move |c| look::counts(c, now)).await
    }

    pub async fn entities(&self, filter: Filter) -> Result<Vec<EntityRow>, Error> {
        self.store.read(move |c| look::entities(c, &filter)).await
    }

    pub async fn events(&self, filter: Filter) -> Result<Vec<EventRow>, Error> {
        self.store.read(move |c| look::events(c, &filter)).await
    }

    /// Everything we know about a commit, an issue or a branch.
    pub async fn trace(&self, what: String) -> Result<Trace, Error> {
        self.store.read(move |c| look::trace(c, &what)).await
    }

    /// Copies the store, consistently and while it is in use, to a file that takes the place of `to`.
    pub async fn snapshot(&self, to: std::path::PathBuf) -> Result<(), Error> {
        self.store.read(move |c| store::snapshot(c, &to)).await
    }

    /// Closes the store for good; later calls fail.
    pub fn close(&self) {
        self.store.close();
    }

    /// Why the store takes no more writes, once it has met an I/O error.
    pub fn broken(&self) -> Option<String> {
        self.store.broken()
    }
}
