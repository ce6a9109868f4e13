//! What has to be done from time to time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Origin;
use crate::git::Told;
use crate::queue::RepositoryRow;
use crate::{clock, effect, log, sync};

use super::absent::{self, Noted, Where};
use super::{Shared, history, line, pushed, snapshot_path};

const TICK: Duration = Duration::from_secs(2);
/// An intent that was not confirmed by then is looked into.
const UNCONFIRMED_MS: i64 = 30_000;
/// How long the first comparison of refs waits for the drop-box to be emptied.
const PICK_UP: Duration = Duration::from_secs(10);
const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// When each thing was done last, by the clock of the day.
struct Times {
    scan: i64,
    prune: i64,
    snapshot: i64,
}

pub async fn run(shared: Arc<Shared>) -> anyhow::Result<()> {
    let made = std::fs::metadata(snapshot_path(&shared.places)).and_then(|meta| meta.modified()).ok();
    let age = made
        .and_then(|made| made.elapsed().ok())
        .map_or(DAY_MS, |age| i64::try_from(age.as_millis()).unwrap_or(DAY_MS));
    let mut times = Times { scan: 0, prune: 0, snapshot: clock::now() - age };
    let mut stopped = std::pin::pin!(shared.stopped());
    let mut picked_up = shared.picked_up.subscribe();
    let _ = tokio::time::timeout(PICK_UP, picked_up.wait_for(|done| *done)).await;
    loop {
        look_at_disk(&shared);
        shared.note(|running| running.log_lines_dropped = log::dropped());
        check_intents(&shared).await?;
        let now = clock::now();
        let settings = shared.applied().config.queue.clone();
        // Each daemon at its own moment within the tenth part of the period, so that many do not act at once.
        let period = i64::from(shared.applied().config.daemon.scan_minutes.unwrap_or(10)) * 60_000;
        let jitter = i64::from(std::process::id() % 100) * period / 1000;
        if due(times.scan, now, period - jitter) {
            times.scan = now;
            scan(&shared).await?;
        }
        if due(times.prune, now, HOUR_MS) {
            times.prune = now;
            shared.queue.prune(now - i64::from(settings.keep_days) * DAY_MS).await?;
            // An effect is remembered for as long as its order could come again anywhere.
            let ages = shared.applied().config.account.iter().map(|account| account.smart.max_age_days).max();
            let before = effect::forgotten_before(settings.keep_days, ages.unwrap_or_default(), now);
            shared.queue.prune_effects(before).await?;
        }
        if due(times.snapshot, now, DAY_MS) {
            times.snapshot = now;
            if let Err(error) = shared.queue.snapshot(snapshot_path(&shared.places)).await {
                tracing::warn!("could not copy the queue: {error}");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = &mut stopped => return Ok(()),
        }
    }
}

/// Whether a period has passed; a clock that was set back does not make it longer.
fn due(last: i64, now: i64, period: i64) -> bool {
    now < last || now - last >= period
}

/// Looks at the refs of repositories whose push was announced but not confirmed.
async fn check_intents(shared: &Shared) -> anyhow::Result<()> {
    let before = clock::now() - UNCONFIRMED_MS;
    let waiting = shared.queue.unconfirmed(before).await?;
    if waiting.is_empty() {
        return Ok(());
    }
    let rows = shared.queue.repositories().await?;
    for row in rows.into_iter().filter(|row| waiting.contains(&row.id)) {
        let id = row.id.clone();
        compare(shared, row).await?;
        shared.queue.forget_intents(id, before).await?;
    }
    Ok(())
}

/// Compares the refs of every known repository with our snapshot, but for those that are being pushed to.
async fn scan(shared: &Shared) -> anyhow::Result<()> {
    let pushed_to = shared.queue.unconfirmed(i64::MAX).await?;
    let rows = shared.queue.repositories().await?;
    for row in rows.into_iter().filter(|row| !row.forgotten && !pushed_to.contains(&row.id)) {
        compare(shared, row).await?;
    }
    pushed::look(shared).await
}

/// What moved in a repository becomes an event; one that cannot be read is noted as trouble.
pub(super) async fn compare(shared: &Shared, row: RepositoryRow) -> anyhow::Result<()> {
    let origin = Origin { id: row.id.clone(), git_dir: row.git_dir.clone() };
    let real = std::fs::canonicalize(origin.git_dir()).unwrap_or_else(|_| origin.git_dir().to_owned());
    // What moves there meanwhile is compared once it is let in again.
    if shared.applied().config.keeps_out(&real).is_some() {
        return Ok(());
    }
    let tips = shared.queue.tips(row.id.clone()).await?;
    let now = clock::now();
    let applied = shared.applied();
    let looked = tokio::task::spawn_blocking(move || {
        let repository = line::open(&applied, &origin).map_err(|trouble| (trouble, absent::look(&applied, &origin)))?;
        // What a clone has is nobody's business until it is pushed, and that is looked for elsewhere.
        if repository.is_clone() {
            return Ok((None, Vec::new(), true));
        }
        let unread = |error| (format!("the daemon cannot read its refs: {error}"), Where::Unknown);
        let refs = repository.refs().map_err(unread)?;
        forget_mark(origin.git_dir());
        let differences = sync::differences(&origin, &refs, &tips, now);
        Ok::<_, (String, Where)>((differences, Told::of(&repository).baseline(&refs).unwrap_or(refs), false))
    });
    let looked = looked.await?;
    if looked.is_ok() && row.absent_at.is_some() {
        shared.queue.absent(row.id.clone(), None).await?;
    }
    match looked {
        Err((trouble, found)) => match absent::note(shared, &row, trouble, found).await? {
            Noted::Trouble(trouble) => shared.queue.trouble(row.id, Some(trouble)).await?,
            Noted::Elsewhere(row) => Box::pin(compare(shared, row)).await?,
            Noted::Forgotten => {}
        },
        // Where its refs were before its first event is its baseline: what is behind them is no news.
        Ok((_, baseline, clone)) if !row.met => {
            if !clone {
                history::met(shared, &Origin { id: row.id.clone(), git_dir: row.git_dir.clone() }).await?;
            }
            shared.queue.baseline(row.id.clone(), baseline, now).await?;
            // What an intent announced and nobody confirmed did happen.
            Box::pin(compare(shared, RepositoryRow { met: true, ..row })).await?;
        }
        Ok((Some(event), ..)) => {
            tracing::info!("refs moved unseen in repository {}: {}", row.id, event.updates.len());
            shared.queue.add(event, rustix::process::geteuid().as_raw(), now).await?;
            shared.added.notify_one();
        }
        Ok((None, ..)) => {}
    }
    Ok(())
}

/// Takes away the mark of a hook that could not hand over: its refs have been looked at.
fn forget_mark(git_dir: &Path) {
    let mark = git_dir.join("agent/dirty");
    if mark.exists() {
        tracing::warn!("{} had events that could not be stored; its refs were compared", git_dir.display());
        let _ = std::fs::remove_file(mark);
    }
}

/// Stops taking events before the disk is full, so that what is owed can still be settled.
fn look_at_disk(shared: &Shared) {
    let least = shared.applied().config.queue.min_free_mib << 20;
    let short = rustix::fs::statvfs(&shared.places.state).ok().and_then(|disk| {
        let free = disk.f_bavail * disk.f_frsize;
        let least = least.min(disk.f_blocks * disk.f_frsize / 10);
        let no_inodes = disk.f_files > 0 && disk.f_favail < 64;
        match () {
            () if disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) => {
                Some("the disk of the queue is read-only".to_owned())
            }
            () if free < least => {
                Some(format!("the disk of the queue has {} MiB left, {} MiB are kept free", free >> 20, least >> 20))
            }
            () if no_inodes => Some("the disk of the queue has no inodes left".to_owned()),
            () => None,
        }
    });
    shared.note(|running| {
        if running.not_ready != short {
            match &short {
                Some(because) => tracing::error!("no events are taken: {because}"),
                None => tracing::info!("events are taken again"),
            }
        }
        running.not_ready = short;
    });
}
