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
//! 4. What an event orders goes into the ledger by [`Queue::plan`]; `ledger.rs` tells the life of an
//!    effect, `protocol.rs` the rules by which it is carried out once.
//!
//! Invariants: `updateSequenceId` only grows, whatever the clock does. A settle that comes too late
//! (its lease is over, or the entity has changed since) changes nothing. All writing happens on one
//! thread in group commits; after an I/O error that thread takes no more work, because a commit that
//! reported an error may be on disk all the same, and only opening the store again can tell.
//!
//! This folder is the only place with SQL.

mod audit;
mod corrections;
mod effects;
mod events;
mod held;
mod issue_keys;
mod issues;
mod ledger;
mod logins;
mod look;
#[cfg(test)]
mod model;
mod moved;
mod news;
mod outbox;
mod protocol;
mod read_back;
mod runs;
mod store;
#[cfg(test)]
mod tests;
mod unlink;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::event::{Event, EventId};
use crate::git::{Oid, RefName};

pub use audit::{AuditRow, Verified};
pub use corrections::{Correcting, Correction, CorrectionRow, Corrections, Kept, Relink};
pub use effects::{EffectFilter, EffectRow, Ledgered, Retry};
pub use events::OVERRIDES;
pub use events::{Added, Queued, Tip};
pub use held::Acknowledged;
pub use issue_keys::MovedKey;
pub use issues::{Seen, Sight};
pub use ledger::{Denied, Gone, NewEffect, Outcome, Planned, Ruled, Ruling, Sweep, Turn};
pub use logins::LoginRow;
pub use look::{Counts, EntityRow, EventRow, Filter, RepositoryRow, SiteCounts, Trace};
pub use moved::{GoneCommit, Move, Moved};
pub use news::{MOST as MOST_NEWS, News, Trouble};
pub use outbox::{Batch, Class, EntityKind, Lease, Leave, NewEntity, Next, Owed, Owing, Settled};
pub use protocol::State;
pub use read_back::{Marked, OfSite, ReadBack, Way};
pub use runs::{Bounds, Control, Past, Portion as RunPortion, Run, RunRow, Wanted};
use store::Store;
pub use store::{Error, holder};
pub use unlink::ToldTo;

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

    /// Stores an event as [`Queue::add`] does, and says what `person` has not been told before it. It is handed over at
    /// once, and `then` runs on the thread that has stored it, before the caller is awake.
    pub fn add_of(
        &self,
        event: Arc<Event>,
        uid: u32,
        person: Option<String>,
        now: i64,
        then: impl FnOnce(&Result<(Added, News), Error>) + Send + 'static,
    ) -> impl Future<Output = Result<(Added, News), Error>> {
        let add = move |c: &rusqlite::Connection| {
            let added = events::add(c, &event, uid, now)?;
            // An event is worth more than news.
            let news = person.map(|person| news::of(c, &person)).transpose();
            let news = news.inspect_err(|error| tracing::warn!("news cannot be read: {error}"));
            Ok((added, news.ok().flatten().unwrap_or_default()))
        };
        self.store.write_then(add, then)
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

    /// Notes ways of refs that may have left commits behind, to be told at `ready_at`, or brought some back.
    pub async fn note_moves(&self, repository: String, moves: Vec<Move>, seq: i64, ready_at: i64) -> Result<(), Error> {
        self.store.write(move |c| moved::note(c, &repository, &moves, seq, ready_at)).await
    }

    /// Repositories of which moves are to be looked into by now.
    pub async fn moves_due(&self, now: i64) -> Result<Vec<String>, Error> {
        self.store.read(move |c| moved::due(c, now)).await
    }

    /// All moves of a repository that are not done with.
    pub async fn moves(&self, repository: String) -> Result<Vec<Moved>, Error> {
        self.store.read(move |c| moved::of(c, &repository)).await
    }

    /// Notes that what came back with these moves was told.
    pub async fn looked_at(&self, repository: String, moves: Vec<Moved>) -> Result<(), Error> {
        self.store.write(move |c| moved::looked(c, &repository, &moves)).await
    }

    /// Forgets moves that were looked into, unless they were made again meanwhile.
    pub async fn done_with(&self, repository: String, moves: Vec<Moved>) -> Result<(), Error> {
        self.store.write(move |c| moved::done(c, &repository, &moves)).await
    }

    /// Whether Jira was told to forget any commit of a repository.
    pub async fn has_gone(&self, repository: String) -> Result<bool, Error> {
        self.store.read(move |c| moved::has_gone(c, &repository)).await
    }

    /// Those of these commits that a site was told to forget.
    pub async fn gone_of(&self, site: String, repository: String, ids: Vec<String>) -> Result<Vec<GoneCommit>, Error> {
        self.store.read(move |c| moved::gone_of(c, &site, &repository, &ids)).await
    }

    /// Those of these commits that a site was told of, and not told to forget.
    pub async fn told_of(&self, site: String, repository: String, ids: Vec<String>) -> Result<Vec<String>, Error> {
        self.store.read(move |c| moved::told_of(c, &site, &repository, &ids)).await
    }

    /// What a site was told, and not told to forget, of one kind in a repository: a page by id, after `after`.
    pub async fn acknowledged(
        &self,
        site: String,
        repository: String,
        kind: EntityKind,
        after: String,
        limit: usize,
    ) -> Result<Vec<Acknowledged>, Error> {
        self.store.read(move |c| held::acknowledged(c, (&site, &repository, kind), &after, limit)).await
    }

    /// Owes entities once more as they were told, as history; gives those of which only is known that they were told.
    pub async fn tell_anew(
        &self,
        site: String,
        repository: String,
        kind: EntityKind,
        ids: Vec<String>,
        now: i64,
    ) -> Result<Vec<String>, Error> {
        self.store.write(move |c| held::tell_anew(c, (&site, &repository, kind), &ids, now)).await
    }

    /// The links of a repository that people have put right.
    pub async fn corrections(&self, repository: String) -> Result<Corrections, Error> {
        self.store.read(move |c| corrections::of(c, &repository)).await
    }

    /// Puts a link right, or takes that back, in one step with what a site is told because of it; says whether that is
    /// anything.
    pub async fn correct(&self, correcting: Correcting, now: i64) -> Result<bool, Error> {
        self.store.write(move |c| corrections::correct(c, &correcting, now)).await
    }

    /// The links that people have put right in a repository, or in all.
    pub async fn corrected(&self, repository: Option<String>) -> Result<Vec<CorrectionRow>, Error> {
        self.store.read(move |c| corrections::list(c, repository.as_deref())).await
    }

    /// The corrections of a commit or a branch, or that speak of an issue.
    pub async fn corrections_about(&self, what: String) -> Result<Vec<CorrectionRow>, Error> {
        self.store.read(move |c| corrections::about(c, &what)).await
    }

    /// What is kept of an entity of a site.
    pub async fn kept(
        &self,
        site: String,
        repository: String,
        kind: EntityKind,
        id: String,
    ) -> Result<Option<Kept>, Error> {
        self.store.read(move |c| corrections::kept(c, (&site, &repository, kind), &id)).await
    }

    /// The ids of a repository's commits that begin like this, as far as they were ever owed.
    pub async fn commits_like(&self, repository: String, beginning: String) -> Result<Vec<String>, Error> {
        self.store.read(move |c| corrections::commits_like(c, &repository, &beginning)).await
    }

    /// Keys that a site did not know and that nobody has looked up since `before`.
    pub async fn keys_to_look_up(
        &self,
        site: String,
        before: i64,
        limit: usize,
        now: i64,
    ) -> Result<Vec<String>, Error> {
        self.store.read(move |c| issue_keys::to_look_up(c, &site, before, limit, now)).await
    }

    /// Takes what looking such a key up has given: the key that its issue has now. Gives how many entities are told
    /// because of it.
    pub async fn looked_up(
        &self,
        site: String,
        old: String,
        present: Option<String>,
        now: i64,
    ) -> Result<usize, Error> {
        self.store.write(move |c| issue_keys::looked_up(c, &site, &old, present.as_deref(), now)).await
    }

    /// Counts what a site, or any, was told of these repositories, or of all.
    pub async fn told_to(&self, site: Option<String>, repositories: Option<Vec<String>>) -> Result<ToldTo, Error> {
        self.store.read(move |c| unlink::told_to(c, site.as_deref(), repositories.as_deref())).await
    }

    /// Whether anything is on its way to a site.
    pub async fn is_busy(&self, site: String, now: i64) -> Result<bool, Error> {
        self.store.read(move |c| unlink::is_busy(c, &site, now)).await
    }

    /// Ends all that a site is owed and was ordered, and forgets what it was told.
    pub async fn unlink(&self, site: String, who: String, now: i64) -> Result<(), Error> {
        self.store.write(move |c| unlink::unlink(c, &site, &who, now)).await
    }

    pub async fn repositories(&self) -> Result<Vec<RepositoryRow>, Error> {
        self.store.read(look::repositories).await
    }

    /// Notes what keeps us from reading a repository, or that nothing does.
    pub async fn trouble(&self, repository: String, trouble: Option<String>) -> Result<(), Error> {
        self.store.write(move |c| events::trouble(c, &repository, trouble.as_deref())).await
    }

    /// Notes since when a repository is not where it was, or that it is there.
    pub async fn absent(&self, repository: String, since: Option<i64>) -> Result<(), Error> {
        self.store.write(move |c| events::absent(c, &repository, since)).await
    }

    /// Notes where a repository is now.
    pub async fn moved_to(&self, repository: String, git_dir: Vec<u8>) -> Result<(), Error> {
        self.store.write(move |c| events::moved_to(c, &repository, &git_dir)).await
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

    /// Parks what these sites are still owed of a repository, but for what they are to forget; returns how much that is.
    pub async fn hold(&self, sites: Vec<String>, repository: String, because: String) -> Result<usize, Error> {
        self.store.write(move |c| outbox::hold(c, &sites, &repository, &because)).await
    }

    /// Gives up what matches and is not settled; it stays visible as dropped by a person.
    pub async fn drop(&self, filter: Filter, now: i64) -> Result<usize, Error> {
        self.store.write(move |c| outbox::drop(c, &filter, now)).await
    }

    /// Which sites but this one hold anything of a repository, and how many commits and branches.
    pub async fn elsewhere(&self, site: String, repository: String) -> Result<Vec<(String, usize)>, Error> {
        self.store.read(move |c| held::elsewhere(c, &site, &repository)).await
    }

    /// Makes one site forget a repository, which goes on at others; returns whether it was told of it.
    pub async fn forget_at(
        &self,
        site: String,
        repository: String,
        gone: impl Fn() -> NewEntity + Send + 'static,
        now: i64,
    ) -> Result<usize, Error> {
        self.store.write(move |c| outbox::forget_at(c, &site, &repository, gone, now)).await
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

    /// Notes that a repository is to be synchronised; nothing when it is by itself and was ever synchronised before, or
    /// when such a run is open already.
    pub async fn start_run(&self, wanted: Wanted, now: i64) -> Result<Option<i64>, Error> {
        self.store.write(move |c| runs::start(c, &wanted, now)).await
    }

    /// Open runs whose turn has come, the longest ago first, without those of the repositories that are `busy`.
    pub async fn next_runs(&self, busy: Vec<String>, limit: usize, now: i64) -> Result<Vec<Run>, Error> {
        if !self.store.read(move |c| runs::is_due(c, now)).await? {
            return Ok(Vec::new());
        }
        self.store.write(move |c| runs::next(c, &busy, limit, now)).await
    }

    /// Whether a repository has events that are to be turned into what Jira is owed now.
    pub async fn has_news(&self, repository: String, now: i64) -> Result<bool, Error> {
        self.store.read(move |c| runs::has_news(c, &repository, now)).await
    }

    /// Notes where a run begins and how much there is to read.
    pub async fn begin_run(&self, run: i64, tips: Vec<Oid>, total: u64, now: i64) -> Result<bool, Error> {
        self.store.write(move |c| runs::begin(c, run, &tips, total, now)).await
    }

    /// Puts a portion of history into the outbox and moves the run's cursor, in one step; false when the run is no
    /// longer to go on, and nothing has changed.
    pub async fn advance(&self, run: i64, portion: RunPortion, now: i64) -> Result<bool, Error> {
        self.store.write(move |c| runs::advance(c, run, &portion, now)).await
    }

    /// Ends a run that is still to go on, with what went wrong if anything did.
    pub async fn end_run(
        &self,
        run: i64,
        failed: bool,
        errors: u64,
        note: Option<String>,
        now: i64,
    ) -> Result<(), Error> {
        self.store.write(move |c| runs::end(c, run, failed, errors, note.as_deref(), now)).await
    }

    /// Lets a run wait for its next turn; `counts` where something went wrong.
    pub async fn let_run_wait(&self, run: i64, until: i64, counts: bool, note: Option<String>) -> Result<(), Error> {
        self.store.write(move |c| runs::wait(c, run, until, counts, note.as_deref())).await
    }

    /// Whether a run is still to go on.
    pub async fn goes_on(&self, run: i64) -> Result<bool, Error> {
        self.store.read(move |c| runs::goes_on(c, run)).await
    }

    /// How much history a site is still owed.
    pub async fn past(&self, site: String, now: i64) -> Result<Past, Error> {
        self.store.read(move |c| runs::past(c, &site, now)).await
    }

    /// Pauses, resumes or cancels the open runs of a repository, or of all; returns how many changed.
    pub async fn control_runs(&self, what: Control, repository: Option<String>, now: i64) -> Result<usize, Error> {
        self.store.write(move |c| runs::control(c, what, repository.as_deref(), now)).await
    }

    /// The last run of each repository, and every open one; the latest first.
    pub async fn runs(&self) -> Result<Vec<RunRow>, Error> {
        self.store.read(runs::list).await
    }

    /// Tells anew what sites were told of a repository that has another name; returns how much that is.
    pub async fn renamed(
        &self,
        repository: String,
        git_dir: Vec<u8>,
        anew: impl Fn(&[&str], &[u8]) -> Option<NewEntity> + Send + 'static,
        now: i64,
    ) -> Result<usize, Error> {
        self.store.write(move |c| outbox::renamed(c, &repository, &git_dir, &anew, now)).await
    }

    /// Deletes what was settled before `before`.
    pub async fn prune(&self, before: i64) -> Result<usize, Error> {
        self.store
            .write(move |c| {
                let memories = issues::prune(c, before)? + issue_keys::prune(c, before)?;
                Ok(outbox::prune(c, before)? + runs::prune(c, before)? + memories)
            })
            .await
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

    /// A number for something that comes after all events so far.
    pub async fn number(&self) -> Result<i64, Error> {
        self.store.write(|c| events::numbers(c, 1)).await
    }

    /// Writes down what an event orders, and says how each order stands; the same order again changes nothing,
    /// unless nobody vouched for it so far.
    pub async fn plan(&self, planned: Planned, now: i64) -> Result<Vec<Ruled>, Error> {
        self.store.write(move |c| ledger::plan(c, &planned, now)).await
    }

    /// Lends the oldest open effect of each of at most `limit` issues, if it is due, until `now + ttl`; those of actors
    /// that are `away` are passed over.
    pub async fn claim_effects(
        &self,
        site: String,
        owner: String,
        away: Vec<String>,
        limit: usize,
        now: i64,
        ttl: i64,
    ) -> Result<Vec<Turn>, Error> {
        self.store.write(move |c| ledger::claim(c, &site, &owner, &away, limit, now, ttl)).await
    }

    /// Notes on disk that a READY effect is about to be sent; false when the turn is lost, or the issue is busy
    /// under another key.
    pub async fn intend(&self, turn: &mut Turn, issue_id: Option<String>, now: i64) -> Result<bool, Error> {
        let (held, id) = (turn.clone(), issue_id.clone());
        let intended = self.store.write(move |c| ledger::intend(c, &held, id.as_deref(), now)).await?;
        if intended {
            turn.intended(issue_id, now);
        }
        Ok(intended)
    }

    /// Right before sending: how many milliseconds the request may take; `None` when it must not be sent.
    pub async fn fence(&self, turn: &Turn, now: i64) -> Result<Option<i64>, Error> {
        let held = turn.clone();
        self.store.read(move |c| ledger::fence(c, &held, now)).await
    }

    /// Notes that an UNKNOWN effect is being looked for; false when the turn is lost.
    pub async fn probe(&self, turn: &mut Turn, now: i64) -> Result<bool, Error> {
        let held = turn.clone();
        let probing = self.store.write(move |c| ledger::probe(c, &held, now)).await?;
        if probing {
            turn.probing();
        }
        Ok(probing)
    }

    /// Takes what became of a turn; false when it was no longer the owner's, and nothing has changed.
    pub async fn settle_effect(&self, turn: Turn, outcome: Outcome, now: i64) -> Result<bool, Error> {
        self.store.write(move |c| ledger::settle(c, &turn, &outcome, now)).await
    }

    /// Makes UNKNOWN what was in flight and whose owner is gone; returns how many effects have to be looked for.
    pub async fn recover(&self, gone: Gone, now: i64) -> Result<usize, Error> {
        self.store.write(move |c| ledger::recover(c, gone, now)).await
    }

    /// Makes every open effect UNKNOWN: the store is older than what may have been sent. A store that was restored
    /// from [`Queue::snapshot`] does so by itself.
    pub async fn restored(&self, now: i64) -> Result<usize, Error> {
        self.store.write(move |c| ledger::restored(c, now)).await
    }

    /// Settled effects of which there may be two, ten minutes after they were applied.
    pub async fn sweep_due(
        &self,
        site: String,
        away: Vec<String>,
        limit: usize,
        now: i64,
    ) -> Result<Vec<Sweep>, Error> {
        self.store.read(move |c| ledger::sweep_due(c, &site, &away, limit, now)).await
    }

    /// Notes that doubles of an effect were looked for, and how many there were.
    pub async fn swept(&self, key: String, doubles: u32, now: i64) -> Result<(), Error> {
        self.store.write(move |c| ledger::swept(c, &key, doubles, now)).await
    }

    /// Deletes effects that were closed, and authored, before `before`, and forgets what was left to Jira before.
    pub async fn prune_effects(&self, before: i64) -> Result<usize, Error> {
        self.store.write(move |c| Ok(ledger::prune(c, before)? + outbox::prune_left(c, before)?)).await
    }

    /// Effects that match, newest first.
    pub async fn effects(&self, filter: EffectFilter) -> Result<Vec<EffectRow>, Error> {
        self.store.read(move |c| effects::list(c, &filter)).await
    }

    /// What a person has not been told of their orders.
    pub async fn news(&self, person: String) -> Result<News, Error> {
        self.store.read(move |c| news::of(c, &person)).await
    }

    /// Notes that a person was told of what became of their orders, up to this outcome.
    pub async fn told(&self, person: String, up_to: i64) -> Result<(), Error> {
        self.store.write(move |c| news::told(c, &person, up_to)).await
    }

    /// What went wrong with orders, as far as nobody was mailed about it; oldest first.
    pub async fn unmailed(&self, now: i64) -> Result<Vec<Trouble>, Error> {
        self.store.read(move |c| news::unmailed(c, now)).await
    }

    /// Notes that a person is mailed about what went wrong, up to this outcome.
    pub async fn mailed(&self, person: String, up_to: i64) -> Result<(), Error> {
        self.store.write(move |c| news::mailed(c, &person, up_to)).await
    }

    /// What a commit orders, or what was ordered of an issue; in the order it was given.
    pub async fn effects_of(&self, what: String) -> Result<Vec<EffectRow>, Error> {
        self.store.read(move |c| effects::of(c, &what)).await
    }

    /// How many effects there are, by site and state.
    pub async fn effect_counts(&self, now: i64) -> Result<Vec<Ledgered>, Error> {
        self.store.read(move |c| effects::counts(c, now)).await
    }

    /// How many effects were found in Jira more than once.
    pub async fn doubled(&self) -> Result<u64, Error> {
        self.store.read(effects::doubled).await
    }

    /// Has what is parked, or what Jira refused, tried again, as a person asks.
    pub async fn retry_effects(
        &self,
        filter: EffectFilter,
        retry: Retry,
        who: String,
        now: i64,
    ) -> Result<usize, Error> {
        self.store.write(move |c| effects::retry(c, &filter, retry, &who, now)).await
    }

    /// Closes what is not in flight, because a person says that it is done.
    pub async fn done_effects(&self, filter: EffectFilter, who: String, now: i64) -> Result<usize, Error> {
        self.store.write(move |c| effects::done(c, &filter, &who, now)).await
    }

    /// What an account at a site has seen under each of these keys.
    pub async fn seen_issues(
        &self,
        site: String,
        actor: String,
        keys: Vec<String>,
    ) -> Result<Vec<Option<Seen>>, Error> {
        self.store.read(move |c| issues::seen(c, &site, &actor, &keys)).await
    }

    /// The issues that an account at a site has seen, the latest first.
    pub async fn latest_issues(&self, site: String, actor: String, most: usize) -> Result<Vec<(String, Seen)>, Error> {
        self.store.read(move |c| issues::latest(c, &site, &actor, most)).await
    }

    /// Remembers what accounts saw, in place of what they saw before.
    pub async fn remember_issues(&self, sights: Vec<Sight>) -> Result<(), Error> {
        self.store.write(move |c| issues::remember(c, &sights)).await
    }

    /// People's own accounts in Jira.
    pub async fn logins(&self) -> Result<Vec<LoginRow>, Error> {
        self.store.read(logins::all).await
    }

    /// Keeps a login in place of the one that its holder had at the site.
    pub async fn put_login(&self, login: LoginRow) -> Result<(), Error> {
        self.store.write(move |c| logins::put(c, &login)).await
    }

    /// Takes over how a login does, unless there is another one by now.
    pub async fn note_login(&self, login: LoginRow) -> Result<(), Error> {
        self.store.write(move |c| logins::note(c, &login)).await
    }

    pub async fn remove_login(&self, site: String, holder: String) -> Result<(), Error> {
        self.store.write(move |c| logins::remove(c, &site, &holder)).await
    }

    /// The decisions about one effect, oldest first.
    pub async fn audit(&self, key: String) -> Result<Vec<AuditRow>, Error> {
        self.store.read(move |c| audit::of(c, &key)).await
    }

    /// Walks the chain of all decisions.
    pub async fn verify_audit(&self) -> Result<Verified, Error> {
        self.store.read(audit::verify).await
    }

    /// How what we marked at a site is read back, as far as that was found out.
    pub async fn read_backs(&self, site: String) -> Result<Vec<ReadBack>, Error> {
        self.store.read(move |c| read_back::of(c, &site)).await
    }

    /// Takes what a person's trial found out about that; returns how much of it is new.
    pub async fn found_read_backs(&self, found: Vec<ReadBack>, now: i64) -> Result<usize, Error> {
        self.store.write(move |c| read_back::found(c, &found, now)).await
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
