//! A daemon at rest, one with a long history to tell, and one that starts with much in its queue.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;
use git_jira_agent::entity::{self, Home, Web};
use git_jira_agent::parse::{Rules, Settings};
use rusqlite::params;

use crate::Effort;
use crate::history::{PROJECTS, whole};
use crate::load::{deliver, repositories, seen};
use crate::pushes::run_hook;
use crate::row::{Goal, Row};
use crate::world::{World, update, wait_until};

/// Repositories that the queued rows belong to.
const REPOSITORIES: usize = 100;

/// The daemon's memory when a push has been told and nothing is left to do.
pub fn idle() -> anyhow::Result<Vec<Row>> {
    let world = World::new(&["ABC"], 9)?;
    let daemon = world.daemon()?;
    deliver(&world, &mut repositories(&world, 1)?[0])?;
    world.wait_until_told(Duration::from_secs(30))?;
    std::thread::sleep(Duration::from_secs(3));
    let memory = daemon.memory()? as f64 / 1024.0;
    Ok(vec![
        Row::new("memory (RssAnon) of an idle daemon", format!("{memory:.1} MiB"))
            .goal("≤ 40 MiB", Goal::of(memory <= 40.0)),
    ])
}

/// A whole history in one push: the hook reads a little of it, the daemon the rest, and Jira is told all of it.
pub fn backlog(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let (history, commits) = whole(effort)?;
    let world = World::new(&PROJECTS, 4000)?;
    let daemon = world.daemon()?;
    let (repository, tip) = world.twin("history", &history)?;
    world.install(&repository)?;
    world.git(&repository, &["update-ref", "refs/heads/main", &tip])?;
    let peak = daemon.peak();
    let began = Instant::now();
    run_hook(&world, &repository, "post-receive", &update(None, &tip, "refs/heads/main"))?;
    world.wait_until_told(Duration::from_secs(1800))?;
    let span = began.elapsed().as_secs_f64();
    let peak = peak.mib();
    let told = world.count("SELECT count(*) FROM entity WHERE kind = 'commit' AND state = 'settled'")?;
    let requests = world.requests()?.len();
    let least = told.div_ceil(400);
    let ratio = requests as f64 / least as f64;
    Ok(vec![
        Row::new(format!("memory (RssAnon) while {commits} commits go to Jira"), format!("peak {peak:.1} MiB"))
            .goal("≤ 128 MiB (1 M commits)", Goal::of(peak <= 128.0)),
        Row::new("requests of that backfill", format!("{requests} for {told} commits in {span:.0} s"))
            .beside(format!("the least possible: {least}"), ratio)
            .goal("≤ 1.01", Goal::of(ratio <= 1.01)),
    ])
}

/// The daemon's start with much in its queue, after a proper end and after kill -9, and how it gets on from there.
pub fn start(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let rows = effort.times(100_000, 1_000_000);
    let world = World::new(&["ABC"], 9)?;
    let mut played = repositories(&world, REPOSITORIES)?;
    world.daemon()?.stop()?;
    fill(&world, rows)?;
    let mut begin = || -> anyhow::Result<_> {
        let began = Instant::now();
        let daemon = world.spawn_daemon()?;
        wait_until("the daemon takes a push", || Ok(deliver(&world, &mut played[0]).is_ok()))?;
        Ok((daemon, began.elapsed().as_secs_f64()))
    };
    let (mut daemon, proper) = begin()?;
    let peak = daemon.peak();
    let ready = "SELECT count(*) FROM entity WHERE state = 'ready'";
    let (began, before) = (Instant::now(), world.count(ready)?);
    std::thread::sleep(Duration::from_secs(effort.times(5, 20) as u64));
    let rate = before.saturating_sub(world.count(ready)?) as f64 / began.elapsed().as_secs_f64();
    let peak = peak.mib();
    daemon.kill();
    let (daemon, killed) = begin()?;
    daemon.stop()?;
    let size = fs::metadata(world.folder.join("state/queue.db"))?.len() >> 20;
    let row = |after: &str, seconds: f64| {
        Row::new(
            format!("start to first push taken, {rows} rows queued, after {after}"),
            format!("{seconds:.2} s ({size} MiB)"),
        )
        .goal("≤ 2 s", Goal::of(seconds <= 2.0))
    };
    Ok(vec![
        row("a proper end", proper),
        row("kill -9", killed),
        Row::new("memory (RssAnon) while those rows go to Jira", format!("peak {peak:.1} MiB at {rate:.0} entities/s"))
            .goal("≤ 128 MiB", Goal::of(peak <= 128.0)),
    ])
}

/// Puts commits that are owed into the queue of a daemon that does not run.
fn fill(world: &World, rows: usize) -> anyhow::Result<()> {
    let rules = Rules::new(&Settings::default(), None)?;
    let home = Home { name: "played".to_owned(), web: Web::default(), site_url: "http://127.0.0.1".to_owned() };
    let mut queue = world.queue()?;
    queue.execute_batch("PRAGMA synchronous = OFF")?;
    let transaction = queue.transaction()?;
    for number in 0..REPOSITORIES {
        let id = format!("played-{number}");
        let git_dir = world.folder.join(format!("repositories/{id}.git")).display().to_string().into_bytes();
        transaction.execute(
            "INSERT INTO repository (repo_id, git_dir, baseline, first_event_at, last_event_at) VALUES (?1, ?2, 1, 1, 1)",
            params![id, git_dir],
        )?;
        transaction
            .execute("INSERT INTO lane (site_id, repo_id, class, ready_at) VALUES ('jira', ?1, 0, 1)", params![id])?;
    }
    for row in 0..rows {
        let seen = seen((1 << 40) + row as u64, "ABC", None);
        let keys: Vec<_> = rules.message(&seen.commit.message).keys.into_iter().map(|found| found.key).collect();
        let owed = entity::commit(&seen, &keys, &home).context("the commit names an issue")?;
        let repository = format!("played-{}", row % REPOSITORIES);
        let sql = "INSERT INTO entity (site_id, repo_id, kind, entity_id, class, event_id, sequence, state, ready_at,
                     added_at, issue_keys, body, body_hash)
                   VALUES ('jira', ?1, 'commit', ?2, 0, '', ?3, 'ready', 1, 1, ?4, ?5, ?6)";
        let issues = format!(" {} ", owed.keys.join(" "));
        let sequence = row as i64 + 1;
        transaction
            .prepare_cached(sql)?
            .execute(params![repository, owed.id, sequence, issues, owed.body, owed.hash])?;
    }
    transaction.execute("UPDATE meta SET value = ?1 WHERE name = 'sequence'", [rows as i64])?;
    transaction.commit()?;
    Ok(())
}
