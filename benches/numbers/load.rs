//! Many pushes: how many the daemon takes, how few requests they become, and that none is lost.
//!
//! The hooks are played by threads that speak to the daemon's socket as a hook does. What they tell of was never
//! committed anywhere, but it carries all that the daemon needs, as nearly every real push does.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::bail;
use git_jira_agent::event::{Event, EventId, Kind, Origin, Seen};
use git_jira_agent::git::{Change, Commit, File as Changed, Files, Ident, Oid, RefName, Repository, Update};
use git_jira_agent::intake::{Outcome, Reply, frame, socket};

use crate::Effort;
use crate::row::{Goal, Row, Times};
use crate::world::{CACHE, World, made_up_id, wait_until};

/// Hooks that knock at the same time; one user may have 64 connections.
const HOOKS: usize = 48;
/// Repositories that each of them pushes to in turn.
const EACH: usize = 2;
/// A million pushes spread over a day.
const OF_A_DAY: f64 = 1_000_000.0 / 86_400.0;

/// What one played hook brought about.
#[derive(Default)]
struct Brought {
    accepted: Vec<EventId>,
    later: usize,
    failed: usize,
    times: Times,
    /// How many were accepted in each second.
    seconds: Vec<usize>,
}

/// A repository whose pushes are played.
pub struct Played {
    origin: Origin,
    tip: Option<Oid>,
    number: u64,
}

/// As many pushes as the daemon takes; then it is killed, and what it acknowledged is looked for.
pub fn intake(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let span = Duration::from_secs(if effort.long { 600 } else { effort.times(5, 30) as u64 });
    let world = World::new(&["ABC"], 9)?;
    let mut daemon = world.daemon()?;
    let mut played = repositories(&world, HOOKS * EACH)?;
    let syncs = syncs_a_second()?;
    let peak = daemon.peak();
    let brought = knock(&world, &mut played, span)?;
    let peak = peak.mib();
    let queued = world.count("SELECT count(*) FROM event WHERE state = 'queued'")?;
    daemon.kill();
    let daemon = world.daemon()?;
    let missing = missing(&world, &brought.accepted)?;
    let digested = digested_a_second(&world)?;
    daemon.stop()?;
    let accepted = brought.accepted.len();
    let rate = accepted as f64 / span.as_secs_f64();
    let least = brought.seconds.iter().take(span.as_secs() as usize).min().copied().unwrap_or(0);
    let measured = format!(
        "{rate:.0} pushes/s for {} s (worst second {least}), p99 {:.0} ms, {} sent to the spool, {} failed; {queued} not digested yet at the end",
        span.as_secs(),
        brought.times.p99(),
        brought.later,
        brought.failed
    );
    Ok(vec![
        Row::new("pushes accepted, real fsync, sending meanwhile", measured)
            .beside(format!("4 KiB appended and synced here: {syncs:.0}/s"), rate / syncs)
            .goal("≥ 500 pushes/s", Goal::of(rate >= 500.0)),
        Row::new("memory (RssAnon) under that load", format!("peak {peak:.1} MiB"))
            .goal("≤ 128 MiB", Goal::of(peak <= 128.0)),
        Row::new("acknowledged pushes lost by kill -9 at its end", format!("{missing} of {accepted}"))
            .goal("0", Goal::of(missing == 0)),
        Row::new("pushes digested once the load is over", format!("{digested:.0}/s, sending meanwhile"))
            .beside("500 pushes/s", digested / 500.0),
    ])
}

/// A short piece of a day with a million pushes, and of its rush hour.
pub fn day(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let span = Duration::from_secs(effort.times(8, 30) as u64);
    let world = World::new(&["ABC"], 9)?;
    let _daemon = world.daemon()?;
    let mut played = repositories(&world, 100)?;
    let mut rows = Vec::new();
    for (name, times) in [("evenly", 1.0), ("in its rush hour, five times as many", 5.0)] {
        let before = world.requests()?.len();
        let pushes = pace(&world, &mut played, span, OF_A_DAY * times)?;
        world.wait_until_told(Duration::from_secs(60))?;
        let requests = world.requests()?.len() - before;
        let rate = requests as f64 / span.as_secs_f64();
        let measured =
            format!("{rate:.2} requests/s ({pushes} pushes of 2 commits to 100 repositories in {} s)", span.as_secs());
        rows.push(
            Row::new(format!("requests for 1 M pushes a day, {name}"), measured)
                .beside("pushes", requests as f64 / pushes as f64)
                .goal("≤ 1 request/s", Goal::of(rate <= 1.0)),
        );
    }
    Ok(rows)
}

/// Bare repositories with an id, without hooks: the hooks are played.
pub fn repositories(world: &World, number: usize) -> anyhow::Result<Vec<Played>> {
    (0..number).map(|number| Played::new(world, number)).collect()
}

impl Played {
    fn new(world: &World, number: usize) -> anyhow::Result<Played> {
        use std::os::unix::ffi::OsStrExt;
        let path: PathBuf = world.repository(&format!("played-{number}"))?;
        let id = format!("played-{number}");
        Repository::open(&path)?.set_id(&id)?;
        let git_dir = path.as_os_str().as_bytes().to_vec();
        Ok(Played { origin: Origin { id, git_dir }, tip: None, number: number as u64 * 10_000_000 })
    }

    /// The event of a push of two commits, framed.
    pub fn push(&mut self) -> anyhow::Result<(EventId, Vec<u8>)> {
        let commits: Vec<Seen> = (0..2).map(|_| self.commit()).collect();
        let update = Update {
            name: RefName::new("refs/heads/main"),
            old: commits[0].commit.parents.first().copied(),
            new: self.tip,
        };
        let event = Event {
            id: EventId::fresh(),
            kind: Kind::Push,
            at: jiff::Timestamp::now().as_millisecond(),
            repository: self.origin.clone(),
            updates: vec![update],
            commits: commits.into_iter().rev().collect(),
            rest: false,
            claims: Vec::new(),
            push_options: Vec::new(),
            overridden: Vec::new(),
            tips: Vec::new(),
        };
        Ok((event.id, frame::wrap(&event.encode())?))
    }

    fn commit(&mut self) -> Seen {
        self.number += 1;
        let seen = seen(self.number, "ABC", self.tip);
        self.tip = Some(seen.commit.id);
        seen
    }
}

/// A commit with three files that names an issue.
pub fn seen(number: u64, project: &str, parent: Option<Oid>) -> Seen {
    let person = Ident {
        name: b"Ann Example".to_vec(),
        email: b"ann@example.org".to_vec(),
        at: 1_700_000_000 + i64::try_from(number % 1_000_000).unwrap_or(0),
        offset: 120,
    };
    let message = format!(
        "{project}-{} change number {number}\n\nWhat was wrong is right now, for all who wait.\n",
        number % 9 + 1
    );
    let file = |name: &str| Changed {
        path: format!("src/part/{name}-{}.rs", number % 90).into_bytes(),
        change: Change::Modified,
        added: 12,
        removed: 3,
    };
    let files = Files { listed: ["lines", "table", "words"].map(file).to_vec(), count: 3 };
    let commit = Commit {
        id: made_up_id(number + 1),
        parents: parent.into_iter().collect(),
        author: person.clone(),
        committer: person,
        message: message.into_bytes(),
    };
    Seen { commit, files: Some(files), cut: false }
}

/// Hooks that knock again as soon as they were answered.
fn knock(world: &World, played: &mut [Played], span: Duration) -> anyhow::Result<Brought> {
    let began = Instant::now();
    let all = Mutex::new(Brought::default());
    std::thread::scope(|scope| {
        for own in played.chunks_mut(EACH) {
            let all = &all;
            scope.spawn(move || {
                let brought = keep_knocking(&world.socket, own, began, span);
                all.lock().expect("no thread panics").take(brought);
            });
        }
    });
    Ok(all.into_inner().expect("no thread panics"))
}

fn keep_knocking(socket: &Path, played: &mut [Played], began: Instant, span: Duration) -> Brought {
    let mut brought = Brought::default();
    for turn in (0..played.len()).cycle() {
        if began.elapsed() >= span {
            break;
        }
        let Ok((id, frame)) = played[turn].push() else { break };
        let knocked = Instant::now();
        match socket::deliver::<Reply>(socket, &frame, knocked + Duration::from_secs(2)).map(|(reply, _)| reply.outcome)
        {
            Ok(Outcome::Stored) => {
                brought.times.add(knocked.elapsed());
                brought.accepted.push(id);
                let second = began.elapsed().as_secs() as usize;
                brought.seconds.resize(brought.seconds.len().max(second + 1), 0);
                brought.seconds[second] += 1;
            }
            Ok(Outcome::Later { .. }) | Err(socket::Error::Busy) => brought.later += 1,
            _ => brought.failed += 1,
        }
    }
    brought
}

impl Brought {
    fn take(&mut self, other: Brought) {
        self.accepted.extend(other.accepted);
        self.later += other.later;
        self.failed += other.failed;
        self.times.extend(other.times);
        self.seconds.resize(self.seconds.len().max(other.seconds.len()), 0);
        for (second, more) in self.seconds.iter_mut().zip(other.seconds) {
            *second += more;
        }
    }
}

/// Pushes at even distances, each to the next repository.
fn pace(world: &World, played: &mut [Played], span: Duration, rate: f64) -> anyhow::Result<usize> {
    let began = Instant::now();
    let pushes = (span.as_secs_f64() * rate) as usize;
    for number in 0..pushes {
        let at = began + Duration::from_secs_f64(number as f64 / rate);
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        let turn = number % played.len();
        deliver(world, &mut played[turn])?;
    }
    std::thread::sleep(span.saturating_sub(began.elapsed()));
    Ok(pushes)
}

/// One push that has to be taken.
pub fn deliver(world: &World, played: &mut Played) -> anyhow::Result<EventId> {
    let (id, frame) = played.push()?;
    match socket::deliver::<Reply>(&world.socket, &frame, Instant::now() + Duration::from_secs(5))?.0.outcome {
        Outcome::Stored => Ok(id),
        other => bail!("the daemon did not take a push: {other:?}"),
    }
}

/// How fast a daemon that is left alone turns its events into what Jira is owed.
fn digested_a_second(world: &World) -> anyhow::Result<f64> {
    let queued = || world.count("SELECT count(*) FROM event WHERE state = 'queued'");
    let (began, before) = (Instant::now(), queued()?);
    wait_until("some events are digested", || Ok(began.elapsed().as_secs() >= 5 || queued()? == 0))?;
    Ok((before - queued()?) as f64 / began.elapsed().as_secs_f64())
}

/// How many of these events are not in the queue.
fn missing(world: &World, accepted: &[EventId]) -> anyhow::Result<usize> {
    let queue = world.queue()?;
    let mut statement = queue.prepare("SELECT event_id FROM event")?;
    let stored: HashSet<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(accepted.iter().filter(|id| !stored.contains(&id.to_string())).count())
}

/// How often a second this disk takes a page and swears to it.
fn syncs_a_second() -> anyhow::Result<f64> {
    let mut file: File = tempfile::tempfile_in(CACHE)?;
    let (began, mut syncs) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(1) {
        file.write_all(&[0x5a; 4096])?;
        file.sync_data()?;
        syncs += 1;
    }
    Ok(f64::from(syncs) / began.elapsed().as_secs_f64())
}
