//! What went wrong with orders, mailed to whoever gave them.
//!
//! Outcomes that need a person are collected for a minute from the first one on, and leave as one message. The mark moves before
//! the message is handed over, so nothing is mailed twice; what cannot be handed over then is logged and not tried again,
//! because the next push tells it anyway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::failpoint::failpoint;
use crate::mail::{Letter, Post};
use crate::queue::{EffectRow, Trouble};
use crate::{clock, queue};

use super::{Applied, Shared};

/// How often a look is taken.
const TICK: Duration = Duration::from_secs(2);
/// How long outcomes are collected.
const WINDOW_MS: i64 = 60_000;
/// How long the program that takes a message may need.
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn run(shared: Arc<Shared>) -> anyhow::Result<()> {
    let mut stopped = std::pin::pin!(shared.stopped());
    loop {
        let applied = shared.applied();
        if let Ok(Some(post)) = applied.config.mail.post() {
            send_due(&shared, &applied, &post).await?;
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = &mut stopped => return Ok(()),
        }
    }
}

async fn send_due(shared: &Shared, applied: &Applied, post: &Post) -> Result<(), queue::Error> {
    let now = clock::now();
    let mut people: BTreeMap<String, Vec<Trouble>> = BTreeMap::new();
    for trouble in shared.queue.unmailed(now).await? {
        people.entry(trouble.person.clone()).or_default().push(trouble);
    }
    for (key, troubles) in people {
        let (Some(first), Some(last)) = (troubles.first(), troubles.last()) else { continue };
        // A clock that was set back makes nobody wait until it has caught up.
        if (0..WINDOW_MS).contains(&(now - first.outcome)) {
            continue;
        }
        shared.queue.mailed(key.clone(), last.outcome).await?;
        failpoint("mail.after_mark");
        let rows: Vec<&EffectRow> = troubles.iter().map(|trouble| &trouble.row).collect();
        let letter = applied.people.named(&key).and_then(|person| post.letter(person, &rows, now));
        let Some(letter) = letter else {
            tracing::debug!("{} outcomes were not mailed: nobody knows an address", rows.len());
            continue;
        };
        hand_over(post, letter, &format!("a mail about {} outcomes", rows.len())).await;
    }
    Ok(())
}

/// Has a message leave, whatever it is called in the log. Whom it goes to is not for the log.
pub(super) async fn hand_over(post: &Post, letter: Letter, what: &str) {
    let post = post.clone();
    match tokio::task::spawn_blocking(move || post.send(&letter, PATIENCE)).await {
        Ok(Ok(())) => tracing::info!("{what} has left"),
        Ok(Err(error)) => tracing::warn!("{what} was lost: {error}"),
        Err(error) => tracing::warn!("{what} was lost: {error}"),
    }
}
