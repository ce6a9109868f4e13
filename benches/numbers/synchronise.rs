//! The history of repositories on its way to Jira: many of them, and a long one whose daemon is killed half way.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::Effort;
use crate::history::{PROJECTS, whole};
use crate::load::{deliver, repositories};
use crate::row::{Goal, Row};
use crate::world::{World, commits, output, wait_for};

/// Commits of each of many repositories.
const SMALL: usize = 100;
/// How long all of it may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(1800);

pub fn all(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let mut rows = many(effort)?;
    rows.extend(long(effort)?);
    Ok(rows)
}

/// Many small ones at once.
fn many(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let count = effort.times(100, 1000);
    let world = World::new(&["ABC"], 9)?;
    let first = world.repository("first")?;
    world.import(&first, &commits(SMALL, |_| "refs/heads/main".to_owned(), |mark| mark - 1))?;
    let mut paths = Vec::new();
    for number in 0..count {
        let path = first.with_file_name(format!("small-{number}.git"));
        output(world.command("cp").arg("-r").args([&first, &path]))?;
        world.install(&path)?;
        paths.push(path.to_str().context("the folder's name is UTF-8")?.to_owned());
    }
    let daemon = world.daemon()?;
    let peak = daemon.peak();
    let began = Instant::now();
    let words = ["sync", "start"].into_iter().chain(paths.iter().map(String::as_str));
    world.agent(&words.collect::<Vec<_>>())?;
    through(&world)?;
    let span = began.elapsed().as_secs_f64();
    let told = world.count("SELECT count(*) FROM entity WHERE kind = 'commit' AND state = 'settled'")?;
    ensure!(told == (count * SMALL) as u64, "{told} commits were told");
    let (requests, least) = (world.requests()?.len(), told.div_ceil(1000));
    let ratio = requests as f64 / least as f64;
    let peak = peak.mib();
    Ok(vec![
        Row::new(format!("history of {count} repositories with {SMALL} commits each"), format!("{span:.1} s")),
        Row::new("requests of that", format!("{requests} for {told} commits"))
            .beside(format!("the least possible: {least}"), ratio)
            .goal("≤ 1.01", Goal::of(ratio <= 1.01)),
        Row::new("memory (RssAnon) meanwhile", format!("peak {peak:.1} MiB"))
            .goal("≤ 128 MiB", Goal::of(peak <= 128.0)),
    ])
}

/// A long one, killed half way; another repository's push is timed alone and beside it.
fn long(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let (history, count) = whole(effort)?;
    let world = World::new(&[&PROJECTS[..], &["ABC"]].concat(), 4000)?;
    let (repository, tip) = world.twin("history", &history)?;
    world.git(&repository, &["update-ref", "refs/heads/main", &tip])?;
    // Only now: what moves afterwards would be news, not history.
    world.install(&repository)?;
    let mut daemon = world.daemon()?;
    let mut other = repositories(&world, 1)?;
    let mut push = || -> anyhow::Result<f64> {
        let began = Instant::now();
        deliver(&world, &mut other[0])?;
        let open = "SELECT (SELECT count(*) FROM event WHERE state = 'queued')
                         + (SELECT count(*) FROM entity WHERE state = 'ready' AND class = 0)";
        wait_for(PATIENCE, "the push is told", || Ok(world.count(open)? == 0))?;
        Ok(began.elapsed().as_secs_f64())
    };
    let pushes = if effort.long { 10 } else { 1 };
    let alone = push()?;
    let before = world.requests()?.len();
    let peak = daemon.peak();
    let began = Instant::now();
    world.agent(&["sync", "start", repository.to_str().context("the folder's name is UTF-8")?])?;
    let read = "SELECT coalesce(max(seen), 0) FROM run";
    let half = count as u64 / 2;
    wait_for(PATIENCE, "a quarter is read", || Ok(world.count(read)? >= half / 2))?;
    let mut beside = 0_f64;
    for _ in 0..pushes {
        beside = beside.max(push()?);
    }
    wait_for(PATIENCE, "half of it is read", || Ok(world.count(read)? >= half))?;
    daemon.kill();
    let kept = world.count(read)?;
    let first_peak = peak.mib();
    let daemon = world.daemon()?;
    let peak = daemon.peak();
    // A cursor that led nowhere would begin anew.
    let mut lowest = kept;
    wait_for(PATIENCE, "it reads on", || {
        let at = world.count(read)?;
        lowest = lowest.min(at);
        Ok(at > kept)
    })?;
    through(&world)?;
    let span = began.elapsed().as_secs_f64();
    let peak = peak.mib().max(first_peak);
    let told = world.count(
        "SELECT count(*) FROM entity WHERE kind = 'commit' AND state = 'settled' AND repo_id = (SELECT repo_id FROM run)",
    )?;
    let requests = world.requests()?.len() - before - pushes;
    let least = told.div_ceil(400);
    let ratio = requests as f64 / least as f64;
    // What a portion holds that is not stored yet is read again.
    let again = kept - lowest + git_jira_agent::sync::history::PIECE;
    let later = beside - alone;
    Ok(vec![
        Row::new(format!("history of {count} commits, kill -9 half way included"), format!("{span:.1} s")),
        Row::new("requests of that", format!("{requests} for {told} commits"))
            .beside(format!("the least possible: {least}"), ratio)
            .goal("≤ 1.01", Goal::of(ratio <= 1.01)),
        Row::new("memory (RssAnon) meanwhile", format!("peak {peak:.1} MiB"))
            .goal("≤ 128 MiB (1 M commits)", Goal::of(peak <= 128.0)),
        Row::new("commits read again after kill -9", format!("at most {again}")).goal("≤ 400", Goal::of(again <= 400)),
        Row::new("another repository's push told meanwhile", format!("{beside:.1} s (the slowest of {pushes})"))
            .beside(format!("alone {alone:.1} s"), beside / alone)
            .goal("≤ 5 s later", Goal::of(later <= 5.0)),
    ])
}

/// Waits until every run has ended and everything is told.
fn through(world: &World) -> anyhow::Result<()> {
    let open = "SELECT (SELECT count(*) FROM run WHERE ended_at IS NULL)
                     + (SELECT count(*) FROM entity WHERE state = 'ready')";
    wait_for(PATIENCE, "all of it is told", || Ok(world.count(open)? == 0))?;
    ensure!(world.count("SELECT count(*) FROM run WHERE state <> 'done' OR errors > 0")? == 0, "not all was read");
    Ok(())
}
