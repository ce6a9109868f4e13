//! Orders that somebody types: into the ledger like those of commits, so that they are carried out once, whenever Jira can
//! be reached.
//!
//! The kernel says who types, so nobody else has to vouch. They order through the account that they have linked;
//! whoever runs the daemon may use the site's.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::clock;
use crate::effect::{self, Arrival, Identity};
use crate::intake::socket::Peer;
use crate::intake::{Outcome, Reply};
use crate::issue::Typed;
use crate::people;
use crate::queue::{EffectFilter, EffectRow, Planned};
use crate::text::cut;

use super::{Shared, issues};

/// How often it is looked what has come of the orders.
const LOOK: Duration = Duration::from_millis(50);
/// The longest that anybody waits for that.
const LONGEST: Duration = Duration::from_secs(10);

/// Puts the orders into the ledger, and says what has come of them by the time that the asker waits.
pub async fn take(shared: &Arc<Shared>, body: &[u8], peer: Peer) -> Reply {
    let refused = |because: String| Reply::new(Outcome::Refused { because });
    let typed: Typed = match minicbor::decode(body) {
        Ok(typed) => typed,
        Err(_) => return refused("an agent of another version orders: it cannot be read".to_owned()),
    };
    if let Some(because) = shared.not_ready() {
        return Reply::new(Outcome::Later { because });
    }
    let patience = Duration::from_millis(u64::from(typed.wait_ms)).min(LONGEST);
    let planned = match planned(shared, typed, peer.uid).await {
        Ok(planned) => planned,
        Err(because) => return refused(because),
    };
    let keys: Vec<String> = planned.effects.iter().map(|effect| effect.key.clone()).collect();
    if let Err(error) = shared.queue.plan(planned, clock::now()).await {
        return Reply::new(Outcome::Later { because: error.to_string() });
    }
    shared.due.notify_waiters();
    let rows = what_came_of(shared, &keys, Instant::now() + patience).await;
    Reply { notes: rows.iter().map(word).collect(), ..Reply::new(Outcome::Stored) }
}

async fn planned(shared: &Arc<Shared>, typed: Typed, uid: u32) -> Result<Planned, String> {
    let applied = shared.applied();
    let site = issues::site(&applied.config, typed.git_dir.as_deref(), &typed.site, uid)?;
    if !site.carries_out() {
        return Err(format!(
            "at site {} the agent can carry out nothing: it has no [site.account], or `executor` is \"off\"",
            site.name
        ));
    }
    let (actor, _) = issues::account(shared, &applied, site, true, uid)?;
    let rules = applied.config.typing(site).map_err(|error| error.to_string())?;
    let mentions = rules.message(typed.message.as_bytes());
    if let Some(refused) = mentions.refused.first() {
        let instead = refused.instead.as_ref().map(|instead| format!("; this would work: {instead}"));
        return Err(format!("#{}: {}{}", cut(&refused.command, 40), refused.because, instead.unwrap_or_default()));
    }
    if mentions.orders.is_empty() {
        let because = mentions.rejected.first().map(|look| format!("{} is no issue: {}", look.text, look.because));
        return Err(because.unwrap_or_else(|| "there is no command in it".to_owned()));
    }
    let now = clock::now();
    let pusher = people::user(uid);
    let arrival = Arrival {
        site: site.name.clone(),
        repository: String::new(),
        identity: Identity::Authored,
        pusher: pusher.clone(),
        by_author: false,
        pushed_at: now,
        place: 0,
    };
    let effects = effect::typed(&mentions, typed.message.as_bytes(), typed.author, &arrival);
    Ok(Planned {
        site: site.name.clone(),
        repository: String::new(),
        event: Uuid::now_v7().to_string(),
        // After all that was pushed so far.
        seq: shared.queue.number().await.map_err(|error| error.to_string())?,
        pusher,
        person: issues::holder(&applied, uid),
        actor,
        effects,
    })
}

async fn what_came_of(shared: &Shared, keys: &[String], until: Instant) -> Vec<EffectRow> {
    loop {
        let mut rows = Vec::new();
        for key in keys {
            let filter = EffectFilter { id: Some(key.clone()), ..EffectFilter::default() };
            rows.extend(shared.queue.effects(filter).await.unwrap_or_default());
        }
        let open = |row: &EffectRow| !matches!(row.state.as_str(), "settled" | "refused" | "parked");
        if !rows.iter().any(open) || Instant::now() >= until {
            return rows;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What came of an order, or that it is still to come.
fn word(row: &EffectRow) -> String {
    match row.state.as_str() {
        "settled" | "refused" | "parked" => effect::fate(row),
        _ => format!("{} {} is queued, and carried out as soon as Jira can be reached", row.issue, row.command),
    }
}
