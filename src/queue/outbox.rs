//! The outbox: what each site is owed about commits, branches and repositories.
//!
//! An entity is a row that is replaced by its newer state, as it is in Jira. Its `sequence` is
//! Jira's `updateSequenceId`: taken when the state changes, not when it is sent, so a retry never
//! overtakes news. It is taken anew in one case: when a key that Jira did not know is tried again,
//! because Jira ignores a state whose number it has already seen.
//!
//! Where Jira is the one to carry out the orders of commits, it may do so once, and it cannot be asked whether it did.
//! So a commit comes with [`Leave`], and [`claim`] uses it up: the orders are put down as left to Jira in the same
//! transaction that lends the commit, before anything is sent. Whoever claims the commit later finds them there, and
//! has to send it so that Jira obeys nothing. A leave that was certainly not used is given back by [`settle`]; one whose
//! owner died in between is lost, and its orders are not carried out. Orders are known by the keys that the ledger
//! would give them, so a rebase has no leave of its own, nor has what the agent carried out.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::look::Filter;
use super::moved::{self, Move};
use super::{corrections, issue_keys, ledger, runs};
use crate::git::Oid;

/// Live data, or history that may take its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    Live = 0,
    Backfill = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntityKind {
    Commit,
    Branch,
    Repository,
}

/// Entities of one repository on their way into the outbox.
pub struct Owing {
    pub site: String,
    pub repository: String,
    pub class: Class,
    pub event: String,
    pub entities: Vec<NewEntity>,
}

pub struct NewEntity {
    pub kind: EntityKind,
    pub id: String,
    /// Issue keys in canonical form.
    pub keys: Vec<String>,
    pub body: Vec<u8>,
    /// Digest of all that Jira would be told; equal means nothing to tell.
    pub hash: String,
    /// Owed only if this site has been told something about the entity before.
    pub only_if_told: bool,
    /// Whether Jira is to forget it.
    pub gone: bool,
    pub leave: Leave,
}

/// Whether Jira may carry out what the message of a commit orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Leave {
    /// Nobody has asked: there are no orders, or they are not for Jira to carry out.
    #[default]
    None,
    Denied {
        /// For people.
        because: String,
    },
    /// Once, and all of them together.
    Granted {
        /// Their keys, as the ledger would give them.
        orders: Vec<String>,
        /// The keys of the same orders of commits that this one takes the place of: if one was given, none is given again.
        repeats: Vec<String>,
        /// Milliseconds since the epoch.
        authored_at: i64,
    },
}

/// A claim on lanes of one site.
#[derive(Clone, Debug)]
pub struct Lease {
    pub site: String,
    pub class: Class,
    pub owner: String,
    pub until: i64,
    /// Repository and epoch of each lane.
    pub lanes: Vec<(String, i64)>,
}

/// What was lent: the lease, and the entities to send.
pub struct Batch {
    pub lease: Lease,
    pub owed: Vec<Owed>,
}

#[derive(Clone, Debug)]
pub struct Owed {
    pub repository: String,
    pub kind: EntityKind,
    pub id: String,
    pub sequence: i64,
    pub attempts: u32,
    /// How often Jira did not know a key of it.
    pub unknown: u32,
    pub added_at: i64,
    /// As their issues are called now, whatever was written.
    pub keys: Vec<String>,
    pub body: Vec<u8>,
    /// Whether Jira may carry out the orders of a commit: this once, and never again.
    pub leave: bool,
}

/// A verdict on one entity, as the next state of its row.
#[derive(Clone, Debug)]
pub struct Settled {
    pub repository: String,
    pub kind: EntityKind,
    pub id: String,
    pub sequence: i64,
    pub next: Next,
    /// Whether the leave it was lent with is as good as new: Jira has certainly carried out nothing by it.
    pub unused: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Jira has it. `dropped` counts the keys that stayed unknown to the end.
    Done { dropped: usize, note: Option<String> },
    /// The same again, not before `at`. `counts` is false when nothing was tried on the entity itself.
    Again { at: i64, counts: bool, because: String },
    /// Jira did not know these of its keys: once more, with a new number, not before `at`.
    Unknown { at: i64, keys: Vec<String>, because: String },
    /// A person has to look.
    Parked { because: String },
}

/// How long a repository whose history is being read may keep what does not fill a request.
const PATIENCE_MS: i64 = 10_000;

const REPEATED: &str = "a commit that this one takes the place of ordered the same";
/// How much of a state's digest outlives its row.
const SHORT_HASH: usize = 16;

pub const DROPPED: &str = "dropped by a person";
const FORGOTTEN: &str = "it was authored before this queue was begun, which does not know what was carried out then";

/// Most entities of one kind that one repository may send in one request, and most of one request.
pub const OF_A_KIND: usize = 400;
pub const OF_A_REQUEST: usize = 1000;
pub const LANES: usize = 100;

impl Batch {
    /// Whether more may be due than one batch carries.
    pub fn is_full(&self) -> bool {
        self.lease.lanes.len() == LANES || self.owed.len() >= OF_A_KIND
    }
}

impl EntityKind {
    pub fn as_str(self) -> &'static str {
        match self {
            EntityKind::Commit => "commit",
            EntityKind::Branch => "branch",
            EntityKind::Repository => "repository",
        }
    }
}

pub fn owe(c: &Connection, owing: &Owing, now: i64) -> Result<usize> {
    let mut changed = 0;
    for entity in &owing.entities {
        changed += usize::from(owe_one(c, owing, entity, now)?);
    }
    if changed > 0 {
        wake(c, &owing.site, &owing.repository, owing.class, now)?;
    }
    Ok(changed)
}

/// Lends what is due; a repository in `growing` only if it fills a request, or has waited for [`PATIENCE_MS`].
pub fn claim(
    c: &Connection,
    site: &str,
    class: Class,
    owner: &str,
    growing: &HashSet<String>,
    now: i64,
    ttl: i64,
) -> Result<Batch> {
    let sql = "UPDATE lane SET lease_owner = ?3, lease_epoch = lease_epoch + 1, lease_until = ?5
               WHERE site_id = ?1 AND class = ?2 AND repo_id IN (
                 SELECT repo_id FROM lane WHERE site_id = ?1 AND class = ?2 AND ready_at <= ?4 AND lease_until < ?4
                 ORDER BY ready_at LIMIT ?6) RETURNING repo_id, lease_epoch";
    let mut statement = c.prepare_cached(sql)?;
    let lanes = statement
        .query_map(params![site, class as i64, owner, now, now + ttl, LANES as i64], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<Vec<(String, i64)>>>()?;
    let mut owed = Vec::new();
    let mut served = Vec::new();
    for (repository, epoch) in lanes {
        let room = OF_A_REQUEST - owed.len();
        let found = if room == 0 { Vec::new() } else { due(c, site, &repository, class, room, now)? };
        let waits = growing.contains(&repository) && may_grow(&found, now);
        if found.is_empty() || waits {
            give_back(c, site, &repository, class, now)?;
        } else {
            for one in found {
                let leave = one.leave && class == Class::Live && use_leave(c, site, &one, now)?;
                owed.push(Owed { leave, ..one });
            }
            served.push((repository, epoch));
        }
    }
    let lease = Lease { site: site.to_owned(), class, owner: owner.to_owned(), until: now + ttl, lanes: served };
    Ok(Batch { lease, owed })
}

pub fn settle(c: &Connection, lease: &Lease, settled: &[Settled], now: i64) -> Result<usize> {
    let held: HashSet<&str> = {
        let sql = "SELECT 1 FROM lane WHERE site_id = ?1 AND repo_id = ?2 AND class = ?3
                   AND lease_owner = ?4 AND lease_epoch = ?5 AND lease_until >= ?6";
        let mut statement = c.prepare_cached(sql)?;
        let mut held = HashSet::new();
        for (repository, epoch) in &lease.lanes {
            if statement.exists(params![lease.site, repository, lease.class as i64, lease.owner, epoch, now])? {
                held.insert(repository.as_str());
            }
        }
        held
    };
    let mut changed = 0;
    for verdict in settled.iter().filter(|verdict| held.contains(verdict.repository.as_str())) {
        changed += settle_one(c, &lease.site, verdict, now)?;
        if verdict.unused {
            let sql = "DELETE FROM left_to_jira WHERE entity_id = ?3 AND repo_id = ?2 AND site_id = ?1";
            c.prepare_cached(sql)?.execute(params![lease.site, verdict.repository, verdict.id])?;
        }
    }
    for repository in held {
        give_back(c, &lease.site, repository, lease.class, now)?;
    }
    Ok(changed)
}

pub fn release_all(c: &Connection) -> Result<()> {
    c.execute("UPDATE lane SET lease_owner = NULL, lease_until = 0 WHERE lease_until > 0", []).map(std::mem::drop)
}

pub fn retry(c: &Connection, filter: &Filter, now: i64) -> Result<usize> {
    let (condition, values) = filter.sql();
    let sql = format!(
        "UPDATE entity SET state = 'ready', ready_at = :now, attempts = 0, note = NULL, settled_at = NULL
         WHERE state <> 'settled' AND {condition} RETURNING site_id, repo_id, class"
    );
    let mut lanes = Vec::new();
    let mut statement = c.prepare(&sql)?;
    let mut rows = statement.query(&with_now(&values, &now)[..])?;
    while let Some(row) = rows.next()? {
        lanes.push((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?));
    }
    let entities = lanes.len();
    lanes.sort_unstable();
    lanes.dedup();
    for (site, repository, class) in lanes {
        wake(c, &site, &repository, if class == 0 { Class::Live } else { Class::Backfill }, now)?;
    }
    Ok(entities + retry_events(c, filter, now)?)
}

/// Parks what these sites are still owed of a repository, but for what they are to forget.
pub fn hold(c: &Connection, sites: &[String], repository: &str, because: &str) -> Result<usize> {
    let sql = "UPDATE entity SET state = 'parked', note = ?3
               WHERE site_id = ?1 AND repo_id = ?2 AND state = 'ready' AND gone = 0";
    let mut statement = c.prepare_cached(sql)?;
    sites.iter().map(|site| statement.execute(params![site, repository, because])).sum()
}

pub fn drop(c: &Connection, filter: &Filter, now: i64) -> Result<usize> {
    let (condition, values) = filter.sql();
    let sql = format!(
        "UPDATE entity SET state = 'settled', settled_at = :now, note = '{DROPPED}'
         WHERE state <> 'settled' AND {condition}"
    );
    c.execute(&sql, &with_now(&values, &now)[..])
}

/// Makes every site that was told of a repository forget it: nothing else of it is owed any more.
pub fn forget(c: &Connection, repository: &str, gone: impl Fn() -> NewEntity, now: i64) -> Result<usize> {
    let sql = "SELECT site_id FROM entity WHERE repo_id = ?1 UNION SELECT site_id FROM told WHERE repo_id = ?1";
    let sites: Vec<String> = c.prepare(sql)?.query_map([repository], |row| row.get(0))?.collect::<Result<_>>()?;
    let sql = "UPDATE entity SET state = 'settled', settled_at = ?2, note = 'the repository was forgotten'
               WHERE repo_id = ?1 AND state <> 'settled'";
    c.execute(sql, params![repository, now])?;
    runs::end_all(c, repository, now)?;
    // Whatever comes after this is news, also what Jira was told before.
    c.execute("UPDATE entity SET body_hash = '' WHERE repo_id = ?1", [repository])?;
    let sql = "UPDATE event SET state = 'done', settled_at = ?2, note = 'the repository was forgotten'
               WHERE repo_id = ?1 AND state = 'queued'";
    c.execute(sql, params![repository, now])?;
    c.execute("UPDATE repository SET forgotten_at = ?2, trouble = NULL WHERE repo_id = ?1", params![repository, now])?;
    c.execute("DELETE FROM told WHERE repo_id = ?1", [repository])?;
    c.execute("DELETE FROM moved WHERE repo_id = ?1", [repository])?;
    for site in &sites {
        let owing = Owing {
            site: site.clone(),
            repository: repository.to_owned(),
            class: Class::Live,
            event: String::new(),
            entities: vec![gone()],
        };
        owe(c, &owing, now)?;
    }
    Ok(sites.len())
}

/// Makes one site that was told of a repository forget it: nothing else of it is owed there any more.
pub fn forget_at(
    c: &Connection,
    site: &str,
    repository: &str,
    gone: impl Fn() -> NewEntity,
    now: i64,
) -> Result<usize> {
    let told = "SELECT 1 FROM entity WHERE repo_id = ?1 AND site_id = ?2 AND body_hash <> ''
                UNION ALL SELECT 1 FROM told WHERE repo_id = ?1 AND site_id = ?2";
    if !c.prepare(told)?.exists([repository, site])? {
        return Ok(0);
    }
    let sql = "UPDATE entity SET state = 'settled', settled_at = ?3, note = 'the repository was forgotten'
               WHERE repo_id = ?1 AND site_id = ?2 AND state <> 'settled'";
    c.execute(sql, params![repository, site, now])?;
    c.execute("UPDATE entity SET body_hash = '' WHERE repo_id = ?1 AND site_id = ?2", [repository, site])?;
    c.execute("DELETE FROM told WHERE repo_id = ?1 AND site_id = ?2", [repository, site])?;
    let (repository, event) = (repository.to_owned(), String::new());
    owe(c, &Owing { site: site.to_owned(), repository, class: Class::Live, event, entities: vec![gone()] }, now)?;
    Ok(1)
}

/// Tells anew, where a repository is now, whatever sites were told of it; what has not left yet is put right in its place,
/// with the leave it has. Returns how much that is.
pub fn renamed(
    c: &Connection,
    repository: &str,
    git_dir: &[u8],
    anew: impl Fn(&[&str], &[u8]) -> Option<NewEntity>,
    now: i64,
) -> Result<usize> {
    c.execute("UPDATE repository SET git_dir = ?2, trouble = NULL WHERE repo_id = ?1", params![repository, git_dir])?;
    // What a person gave up, or a site was made to forget, is not taken up again.
    let sql = "SELECT site_id, kind, entity_id, state = 'settled', issue_keys, body FROM entity
               WHERE repo_id = ?1 AND body_hash <> '' AND (note IS NULL OR note NOT LIKE 'dropped%')";
    let mut statement = c.prepare(sql)?;
    let mut rows = statement.query([repository])?;
    let (mut owed, mut changed) = (BTreeMap::<String, Vec<NewEntity>>::new(), 0);
    while let Some(row) = rows.next()? {
        let (site, settled, keys): (String, bool, String) = (row.get(0)?, row.get(3)?, row.get(4)?);
        let keys: Vec<&str> = keys.split_whitespace().collect();
        let Some(entity) = anew(&keys, &row.get::<_, Vec<u8>>(5)?) else { continue };
        if settled {
            owed.entry(site).or_default().push(entity);
            continue;
        }
        let sql = "UPDATE entity SET body = ?5, body_hash = ?6
                   WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4";
        let (kind, id): (String, String) = (row.get(1)?, row.get(2)?);
        changed += c.execute(sql, params![site, repository, kind, id, entity.body, entity.hash])?;
    }
    for (site, entities) in owed {
        let (repository, event) = (repository.to_owned(), String::new());
        changed += owe(c, &Owing { site, repository, class: Class::Backfill, event, entities }, now)?;
    }
    Ok(changed)
}

pub fn prune(c: &Connection, before: i64) -> Result<usize> {
    // That it was told is remembered, for what may become of it in Git.
    let sql = "INSERT INTO told (site_id, repo_id, kind, entity_id, gone, body_hash)
               SELECT site_id, repo_id, kind, entity_id, gone, substr(body_hash, 1, ?2) FROM entity
               WHERE state = 'settled' AND settled_at < ?1 AND kind <> 'repository' AND body_hash <> '' AND note IS NOT ?3
               ON CONFLICT (site_id, repo_id, kind, entity_id) DO UPDATE SET gone = excluded.gone, body_hash = excluded.body_hash";
    c.execute(sql, params![before, SHORT_HASH as i64, DROPPED])?;
    let entities = c.execute("DELETE FROM entity WHERE state = 'settled' AND settled_at < ?1", [before])?;
    let events = c.execute("DELETE FROM event WHERE settled_at < ?1 AND state = 'done'", [before])?;
    c.execute("DELETE FROM tip WHERE oid = '' AND at < ?1", [before])?;
    Ok(entities + events)
}

/// The commit with which an order was left to Jira, if it was.
pub fn left_with(c: &Connection, key: &str) -> Result<Option<String>> {
    let sql = "SELECT entity_id FROM left_to_jira WHERE effect_key = ?1";
    c.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional()
}

/// Takes back every leave: the store is older than what may have been done by it.
pub fn take_leave_back(c: &Connection) -> Result<()> {
    let sql = "UPDATE entity SET orders = '', denied = 'the queue was restored: they may have been left to Jira since'
               WHERE orders <> ''";
    c.execute(sql, []).map(std::mem::drop)
}

/// Forgets orders that were left to Jira so long ago that they could not come again.
pub fn prune_left(c: &Connection, before: i64) -> Result<usize> {
    c.execute("DELETE FROM left_to_jira WHERE at < ?1", [before])
}

pub(super) fn owe_one(c: &Connection, owing: &Owing, entity: &NewEntity, now: i64) -> Result<bool> {
    let sql = "SELECT body_hash, gone FROM entity WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4
               UNION ALL
               SELECT body_hash, gone FROM told WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4";
    let row = params![owing.site, owing.repository, entity.kind.as_str(), entity.id];
    let told: Option<(String, bool)> =
        c.prepare_cached(sql)?.query_row(row, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let is_news = match &told {
        None => !entity.only_if_told,
        Some((hash, gone)) => {
            *hash != entity.hash && *hash != entity.hash[..SHORT_HASH.min(entity.hash.len())] && !(*gone && entity.gone)
        }
    };
    if !is_news || corrections::contradicts(c, &owing.repository, entity)? {
        return Ok(false);
    }
    if told.is_some_and(|(_, gone)| gone) && entity.kind == EntityKind::Commit {
        // Whoever tells it again may not know that nothing reaches it any more.
        moved::note(c, &owing.repository, &[Move { old: Oid::from_hex(entity.id.as_bytes()), new: None }], 0, now)?;
    }
    let sql = "DELETE FROM told WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4";
    c.prepare_cached(sql)?.execute(row)?;
    let (orders, denied) = leave_of(c, owing, &entity.leave, now)?;
    // A leave belongs to the state it was given for: whoever hands over events could put another author into the next.
    let sql = "INSERT INTO entity (site_id, repo_id, kind, entity_id, class, event_id, sequence, state, ready_at, added_at,
                                   issue_keys, body, body_hash, orders, denied, gone)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'ready', ?8, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
               ON CONFLICT (site_id, repo_id, kind, entity_id) DO UPDATE SET class = excluded.class, event_id = excluded.event_id,
                 sequence = excluded.sequence, state = 'ready', ready_at = excluded.ready_at, attempts = 0, unknown = 0,
                 added_at = excluded.added_at, settled_at = NULL, body = excluded.body, body_hash = excluded.body_hash, note = NULL,
                 orders = excluded.orders, denied = excluded.denied, gone = excluded.gone,
                 issue_keys = iif(excluded.gone = 1 AND entity.kind = 'commit', entity.issue_keys, excluded.issue_keys)";
    c.prepare_cached(sql)?.execute(params![
        owing.site,
        owing.repository,
        entity.kind.as_str(),
        entity.id,
        owing.class as i64,
        owing.event,
        next_sequence(c, now)?,
        now,
        format!(" {} ", entity.keys.join(" ")),
        entity.body,
        entity.hash,
        orders,
        denied,
        entity.gone,
    ])?;
    Ok(true)
}

/// The keys of the orders that may be left to Jira, or why none may.
fn leave_of(c: &Connection, owing: &Owing, leave: &Leave, now: i64) -> Result<(String, Option<String>)> {
    Ok(match leave {
        Leave::None => (String::new(), None),
        Leave::Denied { because } => (String::new(), Some(because.clone())),
        Leave::Granted { authored_at, .. } if !ledger::remembers(c, *authored_at, now)? => {
            (String::new(), Some(FORGOTTEN.to_owned()))
        }
        Leave::Granted { orders, repeats, .. } => {
            for key in repeats {
                let first = left_with(c, key)?;
                if first.is_some() || ledger::has_taken(c, key)? {
                    // They count as given with the first, so that what takes the place of this commit finds them.
                    let place = (owing.site.as_str(), owing.repository.as_str(), first.as_deref().unwrap_or_default());
                    put_down(c, orders.iter().map(String::as_str), place, now)?;
                    return Ok((String::new(), Some(REPEATED.to_owned())));
                }
            }
            for key in orders {
                if ledger::has_refused(c, key)? {
                    return Ok((String::new(), Some("they were refused when they were pushed first".to_owned())));
                }
            }
            (orders.join(" "), None)
        }
    })
}

/// Uses up the leave of a commit; false where it was used before, with this commit or with another.
fn use_leave(c: &Connection, site: &str, owed: &Owed, now: i64) -> Result<bool> {
    let row = params![site, owed.repository, owed.kind.as_str(), owed.id];
    let sql = "SELECT orders FROM entity WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4";
    let orders: String = c.prepare_cached(sql)?.query_row(row, |row| row.get(0))?;
    for key in orders.split_whitespace() {
        let because = match left_with(c, key)? {
            Some(commit) if commit == owed.id => "they were left to Jira once".to_owned(),
            Some(commit) => format!("they were left to Jira with commit {commit}"),
            None if ledger::has_taken(c, key)? => "the agent has taken them on".to_owned(),
            None => continue,
        };
        let sql = "UPDATE entity SET denied = ?5 WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4";
        c.prepare_cached(sql)?.execute(params![site, owed.repository, owed.kind.as_str(), owed.id, because])?;
        return Ok(false);
    }
    put_down(c, orders.split_whitespace(), (site, &owed.repository, &owed.id), now)?;
    Ok(true)
}

/// Puts orders down as left to Jira with a commit.
fn put_down<'o>(
    c: &Connection,
    orders: impl Iterator<Item = &'o str>,
    (site, repository, commit): (&str, &str, &str),
    now: i64,
) -> Result<()> {
    let sql = "INSERT INTO left_to_jira (effect_key, site_id, repo_id, entity_id, at) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (effect_key) DO NOTHING";
    let mut insert = c.prepare_cached(sql)?;
    for key in orders {
        insert.execute(params![key, site, repository, commit, now])?;
    }
    Ok(())
}

/// One number for ever: above all before it, and near the time so that a lost store does not fall behind Jira.
pub fn next_sequence(c: &Connection, now: i64) -> Result<i64> {
    let sql = "UPDATE meta SET value = max(value + 1, ?1) WHERE name = 'sequence' RETURNING value";
    c.prepare_cached(sql)?.query_row([now], |row| row.get(0))
}

pub fn wake(c: &Connection, site: &str, repository: &str, class: Class, at: i64) -> Result<()> {
    let sql = "INSERT INTO lane (site_id, repo_id, class, ready_at) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (site_id, repo_id, class) DO UPDATE SET ready_at = min(coalesce(ready_at, ?4), ?4)";
    c.prepare_cached(sql)?.execute(params![site, repository, class as i64, at]).map(std::mem::drop)
}

fn due(c: &Connection, site: &str, repository: &str, class: Class, room: usize, now: i64) -> Result<Vec<Owed>> {
    let sql =
        "SELECT kind, entity_id, sequence, attempts, unknown, added_at, issue_keys, body, orders <> '' FROM entity
               WHERE site_id = ?1 AND repo_id = ?2 AND class = ?3 AND state = 'ready' AND ready_at <= ?4 AND kind = ?5
               ORDER BY ready_at, sequence LIMIT ?6";
    let mut found = Vec::new();
    for kind in [EntityKind::Repository, EntityKind::Branch, EntityKind::Commit] {
        let limit = OF_A_KIND.min(room - found.len());
        let mut statement = c.prepare_cached(sql)?;
        let rows =
            statement.query_map(params![site, repository, class as i64, now, kind.as_str(), limit as i64], |row| {
                Ok(Owed {
                    repository: repository.to_owned(),
                    kind,
                    id: row.get(1)?,
                    sequence: row.get(2)?,
                    attempts: row.get(3)?,
                    unknown: row.get(4)?,
                    added_at: row.get(5)?,
                    keys: row.get::<_, String>(6)?.split_whitespace().map(str::to_owned).collect(),
                    body: row.get(7)?,
                    leave: row.get(8)?,
                })
            })?;
        for row in rows {
            let owed = row?;
            found.push(Owed { keys: issue_keys::present(c, site, owed.keys)?, ..owed });
        }
    }
    Ok(found)
}

/// Whether what was found may wait for more of its kind.
fn may_grow(found: &[Owed], now: i64) -> bool {
    let commits = found.iter().filter(|owed| owed.kind == EntityKind::Commit).count();
    commits < OF_A_KIND && found.iter().all(|owed| now - owed.added_at < PATIENCE_MS)
}

/// Ends a lease; the lane goes to the back of those that are due, or rests until its next entity is.
fn give_back(c: &Connection, site: &str, repository: &str, class: Class, now: i64) -> Result<()> {
    // One look into the index for each kind, however much is owed.
    let sql = "UPDATE lane SET lease_owner = NULL, lease_until = 0, ready_at = (
                 SELECT max(min(first.at), ?4) FROM (
                   SELECT (SELECT min(e.ready_at) FROM entity e WHERE e.site_id = ?1 AND e.repo_id = ?2 AND e.class = ?3
                           AND e.kind = kinds.column1 AND e.state = 'ready') AS at
                   FROM (VALUES ('commit'), ('branch'), ('repository')) AS kinds) AS first)
               WHERE site_id = ?1 AND repo_id = ?2 AND class = ?3";
    c.prepare_cached(sql)?.execute(params![site, repository, class as i64, now]).map(std::mem::drop)
}

fn settle_one(c: &Connection, site: &str, verdict: &Settled, now: i64) -> Result<usize> {
    let sql = "UPDATE entity SET state = ?6, settled_at = iif(?6 = 'settled', ?10, NULL), ready_at = coalesce(?7, ready_at),
                 attempts = attempts + ?8, unknown = unknown + ?9, note = ?11, sequence = coalesce(?12, sequence)
               WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4 AND sequence = ?5 AND state = 'ready'";
    let (state, at, attempts, unknown, note) = match &verdict.next {
        Next::Done { note, .. } => ("settled", None, 1, 0, note.as_deref()),
        Next::Again { at, counts, because } => ("ready", Some(*at), i64::from(*counts), 0, Some(because.as_str())),
        Next::Unknown { at, because, .. } => ("ready", Some(*at), 0, 1, Some(because.as_str())),
        Next::Parked { because } => ("parked", None, 1, 0, Some(because.as_str())),
    };
    let renewed = if matches!(verdict.next, Next::Unknown { .. }) { Some(next_sequence(c, now)?) } else { None };
    let key = (site, &verdict.repository, verdict.kind.as_str(), &verdict.id, verdict.sequence);
    let changed = c
        .prepare_cached(sql)?
        .execute(params![key.0, key.1, key.2, key.3, key.4, state, at, attempts, unknown, now, note, renewed])?;
    if let Next::Done { dropped, .. } = verdict.next
        && dropped > 0
        && changed > 0
    {
        c.execute("UPDATE meta SET value = value + ?1 WHERE name = 'dropped_keys'", [dropped as i64])?;
    }
    if let Next::Unknown { keys, .. } = &verdict.next {
        issue_keys::unknown(c, site, keys, now)?;
    }
    Ok(changed)
}

fn retry_events(c: &Connection, filter: &Filter, now: i64) -> Result<usize> {
    if !filter.includes_events() {
        return Ok(0);
    }
    let sql = "UPDATE event SET state = 'queued', ready_at = ?1, settled_at = NULL, note = NULL WHERE state = 'dead'";
    c.execute(sql, [now])
}

fn with_now<'a>(values: &'a [(&'static str, String)], now: &'a i64) -> Vec<(&'static str, &'a dyn rusqlite::ToSql)> {
    let mut all: Vec<(&str, &dyn rusqlite::ToSql)> = values.iter().map(|(name, value)| (*name, value as _)).collect();
    all.push((":now", now));
    all
}
