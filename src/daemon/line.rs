//! From stored events to the outbox: a few repositories at a time, one event a repository.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::entity::Home;
use crate::event::{Event, Kind, Origin};
use crate::git::{self, Oid, RefName, Repository, Told};
use crate::host::{self, Account, NOWHERE};
use crate::people::People;
use crate::queue::{self, Class, Corrections, Owing, Planned, Queued};
use crate::send::Executor;
use crate::sync::{self, Giver, Orders, Portion, Reading, Snapshot};
use crate::{clock, failpoint, smart};

use super::{Applied, Linked, Shared, history, logins, rewritten};

/// Events that are worked on at the same time.
const TOGETHER: usize = 2;
/// How long an idle line waits after an event was stored.
const CALM: Duration = Duration::from_millis(100);
/// Tries before an event whose repository cannot be read is closed with what it carried.
const TRIES: u32 = 5;
/// How long an event waits before it is looked at again while no site is linked.
const UNLINKED_MS: i64 = 15_000;
/// How long an event waits before it is looked at again while who signed its orders cannot be told. Everything else of
/// it is done by then, later events of its repository pass it, and a new configuration wakes it.
const UNCHECKED_MS: i64 = 300_000;

pub async fn run(shared: Arc<Shared>) -> anyhow::Result<()> {
    let mut busy: HashSet<String> = HashSet::new();
    let mut work: JoinSet<(String, Result<(), queue::Error>)> = JoinSet::new();
    let mut stopped = std::pin::pin!(shared.stopped());
    let mut configurations = shared.applied.subscribe();
    hold(&shared).await?;
    loop {
        let room = TOGETHER - work.len();
        let found = match room {
            0 => Vec::new(),
            _ => shared.queue.next_events(busy.iter().cloned().collect(), room, clock::now()).await?,
        };
        let idle = found.is_empty();
        for queued in found {
            let repository = queued.event.repository.id.clone();
            busy.insert(repository.clone());
            let shared = Arc::clone(&shared);
            work.spawn(async move { (repository, Box::pin(digest(&shared, queued)).await) });
        }
        tokio::select! {
            Some(done) = work.join_next() => {
                match done {
                    Ok((repository, result)) => {
                        busy.remove(&repository);
                        result?;
                    }
                    // Which repository it was is lost with the panic: begin again with a clean slate.
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(()) = configurations.changed() => {
                hold(&shared).await?;
                shared.queue.wake(clock::now()).await?;
            }
            // The push is still coming to its end, and the processor is better used for that: Jira is told after a
            // second at the soonest.
            () = shared.added.notified(), if idle => tokio::time::sleep(CALM).await,
            () = tokio::time::sleep(Duration::from_secs(1)), if idle => {}
            () = &mut stopped => return Ok(()),
        }
    }
}

/// Keeps what is on its way already of repositories of which nothing is to be sent from now on, until a person decides.
async fn hold(shared: &Shared) -> Result<(), queue::Error> {
    let applied = shared.applied();
    let mut routes = applied.config.account.iter().flat_map(|account| &account.route);
    if !routes.any(|route| route.site == NOWHERE) {
        return Ok(());
    }
    let sites: Vec<String> = applied.config.site.iter().map(|site| site.name.clone()).collect();
    for row in shared.queue.repositories().await? {
        let origin = Origin { id: row.id, git_dir: row.git_dir };
        let real = std::fs::canonicalize(origin.git_dir()).unwrap_or_else(|_| origin.git_dir().to_owned());
        if applied.config.sends_nothing_of(&real) {
            let because = format!("a route says \"{NOWHERE}\"; once it does no more, `agent queue retry` sends it");
            let held = shared.queue.hold(sites.clone(), origin.id.clone(), because).await?;
            if held > 0 {
                tracing::info!("{held} commits and branches of repository {} are not sent: a route says so", origin.id);
            }
        }
    }
    Ok(())
}

async fn digest(shared: &Arc<Shared>, queued: Queued) -> Result<(), queue::Error> {
    let applied = shared.applied();
    let id = queued.event.id;
    let corrections = shared.queue.corrections(queued.event.repository.id.clone()).await?;
    let (reading, site) = match applied.link(queued.event.repository.git_dir()) {
        Ok(linked) => (reading(shared, &applied, &linked, &queued, corrections), linked.site.name.clone()),
        Err(because) => return shared.queue.wait(id, clock::now() + UNLINKED_MS, because).await,
    };
    let (attempts, repository_id) = (queued.attempts, queued.event.repository.id.clone());
    let owner = Arc::clone(shared);
    let work = tokio::task::spawn_blocking(move || owe_all(&owner, &queued, &reading, &site));
    let now = clock::now();
    match work.await.map_err(|error| queue::Error::Sql(error.to_string()))?? {
        Ok(digest) => {
            failpoint::failpoint("line.before_finish");
            shared.due.notify_waiters();
            let trouble = digest.trouble.or_else(|| digest.waits.clone());
            shared.queue.trouble(repository_id, trouble).await?;
            if let Some(because) = digest.waits {
                return shared.queue.wait(id, now + UNCHECKED_MS, because).await;
            }
            let note = format!("{} of {} commits name an issue", digest.keyed, digest.commits);
            shared.queue.finish(id, Some(note), now).await
        }
        Err(because) if attempts + 1 < TRIES => {
            let pause = 1000_i64 << (2 * attempts).min(12);
            shared.queue.put_back(id, Some(now + pause), because, now).await
        }
        Err(because) => {
            tracing::warn!("gave up reading for event {id}: {because}");
            shared.queue.trouble(repository_id, Some(because.clone())).await?;
            shared.queue.put_back(id, None, because, now).await
        }
    }
}

/// Says for as long as it lives that a repository's history is being read.
struct Growing<'a> {
    shared: &'a Shared,
    repository: &'a str,
}

impl<'a> Growing<'a> {
    fn new(shared: &'a Shared, repository: &'a str) -> Growing<'a> {
        shared.growing().insert(repository.to_owned());
        Growing { shared, repository }
    }
}

impl Drop for Growing<'_> {
    fn drop(&mut self) {
        self.shared.growing().remove(self.repository);
    }
}

type Digested = Result<Result<sync::Digest, String>, queue::Error>;

/// Reads what has to be read and puts everything into the outbox; blocks.
fn owe_all(shared: &Shared, queued: &Queued, reading: &Reading, site: &str) -> Digested {
    let handle = Handle::current();
    let mut event = queued.event.clone();
    let repository = open(&shared.applied(), &event.repository);
    let before = match &repository {
        Ok(repository) if queued.first_sight => meet(shared, &mut event, repository, &handle)?,
        _ if event.rest => known(shared, queued, &handle)?,
        _ => Vec::new(),
    };
    let refs = event.updates.iter().map(|update| update.name.clone()).collect();
    let current = handle.block_on(shared.queue.still_at(event.repository.id.clone(), refs, queued.seq))?;
    let snapshot = Snapshot { current: current.into_iter().collect(), before };
    let applied = shared.applied();
    let account_only = applied.config.site.iter().any(|one| one.name == site && one.is_account_only());
    let emit = |portion| {
        let (repository, id) = (event.repository.id.clone(), event.id.to_string());
        match portion {
            // A site that is linked by an account alone is shown none, now or later.
            Portion::Entities(_) if account_only => Ok(()),
            Portion::Entities(entities) => {
                let owing = Owing { site: site.to_owned(), repository, class: Class::Live, event: id, entities };
                handle.block_on(shared.queue.owe(owing, clock::now())).map(drop)
            }
            Portion::Effects(Giver { login, holder }, effects) => {
                let actor = reading.orders.as_ref().map(|orders| orders.actor.clone()).unwrap_or_default();
                let planned = Planned {
                    site: site.to_owned(),
                    repository,
                    event: id,
                    seq: queued.seq,
                    pusher: login,
                    person: holder,
                    actor,
                    effects,
                };
                handle.block_on(shared.queue.plan(planned, clock::now())).map(drop)
            }
        }
    };
    let readable = repository.as_ref().ok();
    let _growing = event.rest.then(|| Growing::new(shared, &event.repository.id));
    let digest = sync::digest(&event, readable, &snapshot, reading, emit)?;
    // Only now: what this event tells may be reached by nothing any more.
    rewritten::note(shared, &event, &snapshot.current, queued.seq, &handle)?;
    Ok(match (digest, repository) {
        // Orders that wait for the repository to be readable are not given up with the event.
        (Ok(digest), Err(_)) if digest.waits.is_some() => Ok(digest),
        // What only the daemon can read is tried again; what somebody else found brings all of it.
        (Ok(digest), Err(trouble)) if digest.trouble.is_some() || (event.kind == Kind::Found && event.rest) => {
            Err(trouble)
        }
        (Ok(digest), _) => Ok(digest),
        (Err(error), _) => Err(error.to_string()),
    })
}

/// Notes where the refs of a repository were that we have not met before, and gives what of it is no news.
///
/// Its hooks may have told another daemon, or a store that was lost, of what came since they were put in: then their
/// own record says where to begin, and all that followed is told again.
fn meet(
    shared: &Shared,
    event: &mut Event,
    repository: &Repository,
    handle: &Handle,
) -> Result<Vec<Oid>, queue::Error> {
    let refs = repository.refs().unwrap_or_default();
    let moved = |name: &RefName| event.updates.iter().find(|update| update.name == *name);
    let told = if repository.is_clone() { None } else { Told::of(repository).baseline(&refs) };
    let rest = event.rest || told.is_some();
    let (places, olds): (Vec<_>, Vec<_>) = match told {
        Some(places) => (places, Vec::new()),
        None => {
            let others = refs.into_iter().filter(|(name, _)| moved(name).is_none());
            (others.collect(), event.updates.iter().filter_map(|update| update.old).collect())
        }
    };
    // Before its baseline is noted, after which it counts as met.
    if !repository.is_clone() {
        handle.block_on(history::met(shared, &event.repository))?;
    }
    let still = places.iter().filter(|(name, id)| moved(name).is_none_or(|update| update.new != Some(*id)));
    let before = still.map(|(_, id)| *id).chain(olds).collect();
    let others = places.into_iter().filter(|(name, _)| moved(name).is_none());
    handle.block_on(shared.queue.baseline(event.repository.id.clone(), others.collect(), clock::now()))?;
    event.rest = rest;
    Ok(before)
}

/// What was known before an event: where refs were that moved earlier, and where its own began.
fn known(shared: &Shared, queued: &Queued, handle: &Handle) -> Result<Vec<Oid>, queue::Error> {
    let tips = handle.block_on(shared.queue.tips(queued.event.repository.id.clone()))?;
    let earlier = tips.into_iter().filter(|tip| tip.version < queued.seq).filter_map(|tip| tip.id);
    Ok(earlier.chain(queued.event.updates.iter().filter_map(|update| update.old)).collect())
}

/// Opens the repository of an event, if it is still the same one, without what its account hides.
pub fn open(applied: &Applied, origin: &Origin) -> Result<Repository, String> {
    let path = origin.git_dir();
    let repository = Repository::open(path).map_err(|error| format!("the daemon cannot read it: {error}"))?;
    if let Some(of_others) = git::of_others(repository.common_dir()) {
        let text = of_others.display();
        return Err(format!("it takes {text} from somebody who is not its owner, so the daemon does not read it"));
    }
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let repository = repository.hiding(applied.config.account_of(&real).and_then(Account::hidden));
    match repository.id() == Some(&origin.id) {
        true => Ok(repository),
        false => Err(format!("another repository is at {} now", path.display())),
    }
}

fn reading(
    shared: &Shared,
    applied: &Applied,
    linked: &Linked<'_>,
    queued: &Queued,
    corrections: Corrections,
) -> Reading {
    let Linked { git_dir, account, site, .. } = linked;
    Reading {
        links: linked.links(corrections),
        home: home(account, git_dir, &site.url, &queued.event),
        branch_links_commits: applied.config.parse.branch_links_commits,
        orders: match site.executor() {
            Executor::Off => None,
            _ if !account.smart_commits(git_dir) => None,
            Executor::Jira => Orders::new(
                &queued.event,
                queued.uid,
                &site.name,
                &account.smart,
                Arc::clone(&applied.people),
                clock::now(),
            )
            .map(|orders| Orders { by_jira: true, ..first_sight(orders, queued) }),
            Executor::Agent => orders(shared, queued, &site.name, &account.smart, &applied.people),
        },
    }
}

/// What links are made of; where the daemon cannot read what its host calls a repository, the event itself says.
fn home(account: &Account, git_dir: &Path, site_url: &str, event: &Event) -> Home {
    let home = account.home(git_dir, site_url);
    let said = event.claims.iter().find(|claim| claim.name == "GL_PROJECT_PATH");
    match said.and_then(|claim| host::name_said(git_dir, std::str::from_utf8(&claim.value).ok()?)) {
        Some(name) => Home { name: name.to_owned(), ..home },
        None => home,
    }
}

/// What is special about an event of a repository that nobody has pushed to before.
fn first_sight(orders: Orders, queued: &Queued) -> Orders {
    // More than a push has time to read: an import.
    Orders { import: queued.first_sight && queued.event.rest, met: queued.first_sight, ..orders }
}

fn orders(
    shared: &Shared,
    queued: &Queued,
    site: &str,
    smart: &smart::Settings,
    people: &Arc<People>,
) -> Option<Orders> {
    let orders = Orders::new(&queued.event, queued.uid, site, smart, Arc::clone(people), clock::now())?;
    let (actor, lacks) = match logins::actor(shared, people, smart, site, orders.pusher.as_ref()) {
        Ok(actor) => (actor, None),
        Err(because) => (String::new(), Some(because)),
    };
    Some(Orders { actor, lacks, ..first_sight(orders, queued) })
}
