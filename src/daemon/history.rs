//! Synchronisations: the history of repositories into the outbox, two at a time.
//!
//! A run has its turn on a thread of its own, which the system prefers to all others less. It ends its turn when it is
//! through, when it has had [`TURN`] and another waits, when a person pauses or cancels it, or when we stop; the
//! next turn goes on at its cursor. It reads no further than [`MOST_DUE`] ahead of what its site takes.
//!
//! It begins with what our snapshot knows of the refs once every event of the repository has been turned into what
//! Jira is owed: whatever is pushed from then on is told by its own event, as it was pushed.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::config::Link;
use crate::event::Origin;
use crate::git::{self, Oid, RefName, Repository};
use crate::queue::{self, Corrections, RepositoryRow, Run, RunPortion, Wanted};
use crate::send::Settings;
use crate::serve::history::{Start, Started};
use crate::sync::Links;
use crate::sync::history::{End, History, Piece};
use crate::{clock, entity, failpoint};

use super::{Applied, Linked, Shared, line, upkeep};

/// Runs that have their turn at the same time.
const TOGETHER: usize = 2;
/// How long a turn lasts when others wait.
const TURN: Duration = Duration::from_secs(60);
/// How much of history a site may be owed before reading waits for it: ten requests.
const MOST_DUE: usize = 4000;
/// Tries before a run whose repository cannot be read has failed.
const TRIES: u64 = 3;
/// How long a run waits while no site is linked, and while events of its repository go first.
const UNLINKED_MS: i64 = 15_000;
const NEWS_FIRST_MS: i64 = 300;

pub async fn run(shared: Arc<Shared>) -> anyhow::Result<()> {
    let mut busy: HashSet<String> = HashSet::new();
    let mut work: JoinSet<(String, Result<(), queue::Error>)> = JoinSet::new();
    let mut stopped = std::pin::pin!(shared.stopped());
    loop {
        let room = TOGETHER - work.len();
        if room > 0 {
            for run in shared.queue.next_runs(busy.iter().cloned().collect(), room, clock::now()).await? {
                let (shared, repository) = (Arc::clone(&shared), run.repository.clone());
                busy.insert(repository.clone());
                work.spawn(async move { (repository, Box::pin(turn(&shared, run)).await) });
            }
        }
        tokio::select! {
            Some(done) = work.join_next() => {
                let (repository, result) = done?;
                busy.remove(&repository);
                result?;
            }
            () = shared.history.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = &mut stopped => {
                while work.join_next().await.is_some() {}
                return Ok(());
            }
        }
    }
}

/// Notes that a repository was met for the first time: its history is told as its account wants it.
///
/// To be called before its baseline is noted; called again it does nothing.
pub async fn met(shared: &Shared, origin: &Origin) -> Result<(), queue::Error> {
    let applied = shared.applied();
    let real = std::fs::canonicalize(origin.git_dir()).unwrap_or_else(|_| origin.git_dir().to_owned());
    let Some(Link { account, site, .. }) = applied.config.link_of(&real) else { return Ok(()) };
    let shown = site.is_none_or(Settings::shows_commits);
    let Some(bounds) = account.history.bounds(clock::now()).filter(|_| shown) else { return Ok(()) };
    let (repository, git_dir) = (origin.id.clone(), origin.git_dir.clone());
    let wanted = Wanted { repository, git_dir, by_itself: true, bounds };
    if shared.queue.start_run(wanted, clock::now()).await?.is_some() {
        shared.history.notify_one();
    }
    Ok(())
}

/// Begins what an administrator asks for.
pub async fn start(shared: Arc<Shared>, asked: Start) -> Result<Started, String> {
    let rows = shared.queue.repositories().await.map_err(|error| error.to_string())?;
    let applied = shared.applied();
    let mut started = Started::default();
    let mut chosen = Vec::new();
    if let Some(name) = &asked.account {
        let account = applied.config.account.iter().find(|account| account.name == *name);
        let account = account.ok_or_else(|| format!("there is no account called {name}"))?;
        let known = rows.iter().map(|row| Origin { id: row.id.clone(), git_dir: row.git_dir.clone() });
        chosen.extend(known.filter(|origin| account.covers(origin.git_dir())));
    }
    for name in &asked.repositories {
        match find(&rows, name) {
            Ok(origin) => chosen.push(origin),
            Err(because) => started.refused.push(because),
        }
    }
    for origin in chosen {
        let path = origin.git_dir().display().to_string();
        if let Err(because) = Place::of(&applied, &origin, Corrections::default()) {
            started.refused.push(format!("{path}: {because}"));
            continue;
        }
        let wanted =
            Wanted { repository: origin.id, git_dir: origin.git_dir, by_itself: false, bounds: asked.bounds.clone() };
        shared.queue.start_run(wanted, clock::now()).await.map_err(|error| error.to_string())?;
        started.begun.push(path);
    }
    shared.history.notify_one();
    Ok(started)
}

/// The repository of an id that is known, or at a path.
pub(super) fn find(rows: &[RepositoryRow], name: &str) -> Result<Origin, String> {
    if let Some(row) = rows.iter().find(|row| row.id == name) {
        return Ok(Origin { id: row.id.clone(), git_dir: row.git_dir.clone() });
    }
    let repository = Repository::open(Path::new(name)).map_err(|error| error.to_string())?;
    let id = repository.id().ok_or_else(|| format!("{name} has no id: `agent install` puts hooks into it"))?;
    Ok(Origin { id: id.to_owned(), git_dir: repository.git_dir().as_os_str().as_bytes().to_vec() })
}

/// What history of a repository is told with.
struct Place {
    site: String,
    links: Links,
    home: entity::Home,
    /// Whether what was told stays as it is: it may have the keys of a branch.
    keeps: bool,
}

impl Place {
    fn of(applied: &Applied, origin: &Origin, corrections: Corrections) -> Result<Place, String> {
        let linked = applied.link(origin.git_dir())?;
        let Linked { site, .. } = linked;
        if !site.shows_commits() {
            return Err(format!("site {} has no Development panel that could be filled", site.name));
        }
        Ok(Place {
            site: site.name.clone(),
            links: linked.links(corrections),
            home: linked.account.home(&linked.git_dir, &site.url),
            keeps: applied.config.parse.branch_links_commits,
        })
    }
}

/// How a turn ended.
enum Turn {
    /// All was read, but for so many objects.
    Through { missing: usize },
    /// Others have their turn.
    Over,
    /// The run is not to go on, or we are to stop.
    Off,
    /// It never will be read.
    Never { because: String },
}

async fn turn(shared: &Arc<Shared>, run: Run) -> Result<(), queue::Error> {
    let (id, errors) = (run.id, run.errors);
    let origin = Origin { id: run.repository.clone(), git_dir: run.git_dir.clone() };
    let corrections = shared.queue.corrections(origin.id.clone()).await?;
    let place = match Place::of(&shared.applied(), &origin, corrections) {
        Ok(place) => place,
        Err(because) => return shared.queue.let_run_wait(id, clock::now() + UNLINKED_MS, false, Some(because)).await,
    };
    if !run.met {
        let row = RepositoryRow { id: origin.id.clone(), git_dir: origin.git_dir.clone(), ..RepositoryRow::default() };
        if let Err(error) = upkeep::compare(shared, row).await {
            tracing::warn!("{}: {error:#}", origin.git_dir().display());
        }
    }
    if run.tips.is_none() && shared.queue.has_news(origin.id.clone(), clock::now()).await? {
        return shared.queue.let_run_wait(id, clock::now() + NEWS_FIRST_MS, false, None).await;
    }
    let (tell, told) = oneshot::channel();
    let (owner, handle) = (Arc::clone(shared), Handle::current());
    let spawned = thread::Builder::new().name("history".to_owned()).spawn(move || {
        let _ = rustix::process::nice(10);
        let _ = tell.send(Reader { shared: &owner, handle: &handle, run, place, began: Instant::now() }.turn(&origin));
    });
    let ended = match spawned {
        Ok(_) => told.await.unwrap_or_else(|_| Ok(Err("the thread that read it ended in a panic".to_owned())))?,
        Err(error) => Err(error.to_string()),
    };
    let now = clock::now();
    shared.due.notify_waiters();
    match ended {
        Ok(Turn::Off) => Ok(()),
        Ok(Turn::Over) => shared.queue.let_run_wait(id, now, false, None).await,
        Ok(Turn::Through { missing: 0 }) => shared.queue.end_run(id, false, 0, None, now).await,
        Ok(Turn::Through { missing }) => {
            let note = format!("{missing} objects are missing (shallow, partial or damaged)");
            shared.queue.end_run(id, false, missing as u64, Some(note), now).await
        }
        Err(because) if errors + 1 < TRIES => {
            shared.queue.let_run_wait(id, now + (1000_i64 << (2 * errors)), true, Some(because)).await
        }
        Ok(Turn::Never { because }) | Err(because) => {
            tracing::warn!(run.id = id, "a synchronisation failed: {because}");
            shared.queue.end_run(id, true, 1, Some(because), now).await
        }
    }
}

/// One turn of a run.
struct Reader<'a> {
    shared: &'a Shared,
    handle: &'a Handle,
    run: Run,
    place: Place,
    began: Instant,
}

type Ended = Result<Result<Turn, String>, queue::Error>;

impl Reader<'_> {
    fn turn(mut self, origin: &Origin) -> Ended {
        let mut ended = self.go_on(origin)?;
        // A pack may have gone under the reader: what was missed is looked for once more.
        if matches!(ended, Ok(Turn::Through { missing }) if missing > 0) && self.run.errors == 0 {
            (self.run.tips, self.run.seen, self.run.errors) = (None, 0, 1);
            ended = self.go_on(origin)?;
        }
        Ok(ended)
    }

    fn go_on(&mut self, origin: &Origin) -> Ended {
        let repository = match line::open(&self.shared.applied(), origin) {
            Ok(repository) => repository,
            Err(because) => return Ok(Err(because)),
        };
        if repository.is_clone() {
            let because = "it is a clone, and what was never pushed stays in it; synchronise it where it is pushed to";
            return Ok(Ok(Turn::Never { because: because.to_owned() }));
        }
        loop {
            let Some((tips, begun)) = self.tips(&repository)? else { return Ok(Ok(Turn::Off)) };
            match self.read(&repository, &tips, begun)? {
                Ok(Some(turn)) => return Ok(Ok(turn)),
                // The cursor leads nowhere any more: from the beginning, which tells nothing twice.
                Ok(None) => (self.run.tips, self.run.seen) = (None, 0),
                Err(error) => return Ok(Err(error.to_string())),
            }
        }
    }

    /// Where the run begins, and its refs if it does so now; nothing when it is not to go on.
    #[expect(clippy::type_complexity, reason = "two lists of the same refs")]
    fn tips(&self, repository: &Repository) -> Result<Option<(Vec<Oid>, Vec<(RefName, Oid)>)>, queue::Error> {
        let known = self.handle.block_on(self.shared.queue.tips(self.run.repository.clone()))?;
        let mut places: Vec<(RefName, Oid)> = known.into_iter().filter_map(|tip| Some((tip.name, tip.id?))).collect();
        places.retain(|(name, _)| git::concerns_us(name) && !repository.hides(name));
        places.sort_unstable();
        if let Some(tips) = &self.run.tips {
            if self.run.seen > 0 {
                places.clear();
            }
            return Ok(Some((tips.clone(), places)));
        }
        let mut tips: Vec<Oid> = places.iter().map(|(_, id)| *id).collect();
        tips.sort_unstable();
        tips.dedup();
        let total = self.history(repository, &tips).count().unwrap_or_default();
        let begun = self.shared.queue.begin_run(self.run.id, tips.clone(), total, clock::now());
        Ok(self.handle.block_on(begun)?.then_some((tips, places)))
    }

    fn history<'h>(&'h self, repository: &'h Repository, tips: &'h [Oid]) -> History<'h> {
        History { repository, tips, bounds: &self.run.bounds, links: &self.place.links, home: &self.place.home }
    }

    /// Reads from the cursor on; nothing when it leads nowhere.
    fn read(
        &self,
        repository: &Repository,
        tips: &[Oid],
        places: Vec<(RefName, Oid)>,
    ) -> Result<Result<Option<Turn>, git::Error>, queue::Error> {
        let history = self.history(repository, tips);
        let branches = history.branches(&places);
        if !branches.is_empty() {
            let portion = RunPortion { branches, ..self.portion(Piece::default(), Duration::ZERO) };
            if !self.hand_on(portion)? {
                return Ok(Ok(Some(Turn::Off)));
            }
        }
        let mut left = Ok(Turn::Off);
        let mut since = Instant::now();
        let read = history.read(self.run.seen, &self.run.trail, &mut |piece| {
            let portion = self.portion(piece, since.elapsed());
            failpoint::failpoint("history.before_portion");
            let going = self.hand_on(portion).and_then(|on| if on { self.wait() } else { Ok(Some(Turn::Off)) });
            since = Instant::now();
            match going {
                Ok(None) => ControlFlow::Continue(()),
                Ok(Some(turn)) => {
                    left = Ok(turn);
                    ControlFlow::Break(())
                }
                Err(error) => {
                    left = Err(error);
                    ControlFlow::Break(())
                }
            }
        });
        Ok(match read {
            Ok(End::Read { missing }) => Ok(Some(Turn::Through { missing })),
            Ok(End::Astray) => Ok(None),
            Ok(End::Enough) => Ok(Some(left?)),
            Err(error) => Err(error),
        })
    }

    fn portion(&self, piece: Piece, worked: Duration) -> RunPortion {
        RunPortion {
            site: self.place.site.clone(),
            repository: self.run.repository.clone(),
            commits: piece.entities,
            branches: Vec::new(),
            anew: self.run.bounds.issue.is_some(),
            keeps: self.place.keeps,
            seen: piece.seen,
            keyed: piece.keyed,
            trail: piece.last.map(|id| id.to_string()).unwrap_or_default(),
            worked_ms: i64::try_from(worked.as_millis()).unwrap_or_default(),
        }
    }

    fn hand_on(&self, portion: RunPortion) -> Result<bool, queue::Error> {
        self.handle.block_on(self.shared.queue.advance(self.run.id, portion, clock::now()))
    }

    /// Waits until the site has taken some of it; says when the turn is to end.
    fn wait(&self) -> Result<Option<Turn>, queue::Error> {
        loop {
            let past = self.handle.block_on(self.shared.queue.past(self.place.site.clone(), clock::now()))?;
            if *self.shared.stop.borrow() || !self.handle.block_on(self.shared.queue.goes_on(self.run.id))? {
                return Ok(Some(Turn::Off));
            }
            if self.began.elapsed() >= TURN && past.others_wait {
                return Ok(Some(Turn::Over));
            }
            if past.due < MOST_DUE {
                return Ok(None);
            }
            self.shared.due.notify_waiters();
            thread::sleep(Duration::from_millis(100));
        }
    }
}
