//! Events on their way in, the intents before them, and the tips they move.

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::audit::{self, AuditRow};
use crate::event::{Event, EventId, Kind};
use crate::git::{Oid, RefName, Update};
use crate::people;

/// Under what the audit has pushes that were let in against a policy.
pub const OVERRIDES: &str = "override";

/// What became of an event that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    New,
    /// It was here already; nothing has changed.
    Repeated,
}

/// An event that waits to be turned into what Jira is owed.
#[derive(Clone, Debug)]
pub struct Queued {
    pub seq: i64,
    pub event: Event,
    pub uid: u32,
    pub attempts: u32,
    /// Whether our snapshot knew nothing of this repository before its first event.
    pub first_sight: bool,
}

/// What waits to be looked at next.
#[derive(Default)]
pub struct Found {
    pub queued: Vec<Queued>,
    /// Ids of events that a damaged or a newer store holds, and why they cannot be read.
    pub unreadable: Vec<(String, String)>,
}

/// One ref of our snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    pub name: RefName,
    /// `None` when the ref was deleted.
    pub id: Option<Oid>,
    /// The `seq` of the event that moved it, 0 for the baseline.
    pub version: i64,
}

/// Stores an event, or an intent, and moves the tips; the same event again changes nothing.
pub fn add(c: &Connection, event: &Event, uid: u32, now: i64) -> Result<Added> {
    let id = event.id.to_string();
    if !event.overridden.is_empty() {
        note_override(c, event, &id, uid, now)?;
    }
    if known(c, &id)? {
        return Ok(Added::Repeated);
    }
    meet(c, event, now)?;
    if event.kind == Kind::Intent {
        if is_confirmed(c, event)? {
            return Ok(Added::Repeated);
        }
        let sql = "INSERT INTO intent (event_id, repo_id, peer_uid, received_at, payload) VALUES (?1, ?2, ?3, ?4, ?5)";
        c.prepare_cached(sql)?.execute(params![id, event.repository.id, uid, now, event.encode()])?;
        note_before(c, event)?;
        return Ok(Added::New);
    }
    confirm_intents(c, event)?;
    // What happened unseen before this event gets a number before its own.
    let seq = numbers(c, event.updates.len() + 1)?;
    for (gap_seq, update) in (seq - event.updates.len() as i64..).zip(&event.updates) {
        if let Some(gap) = move_tip(c, event, update, seq)? {
            insert(c, &gap, gap_seq, uid, now)?;
        }
    }
    insert(c, event, seq, uid, now)?;
    Ok(Added::New)
}

/// Writes down, once, that a push was let in against the policy: what it said, and why it was let in all the same.
fn note_override(c: &Connection, event: &Event, id: &str, uid: u32, now: i64) -> Result<()> {
    let sql = "SELECT EXISTS (SELECT 1 FROM audit WHERE effect_key = ?1 AND remote_id = ?2)";
    if c.prepare_cached(sql)?.query_row(params![OVERRIDES, id], |row| row.get(0))? {
        return Ok(());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let named = ["GL_USERNAME", "GITEA_PUSHER_NAME", "GL_USER", "BB_USER_NAME", "REMOTE_USER", "AGENT_USER"];
    let claim = named.iter().find_map(|name| event.claims.iter().find(|claim| claim.name == *name));
    let claimed = claim.map(|claim| format!(" ({}={})", claim.name, text(&claim.value))).unwrap_or_default();
    let reason = event.push_options.iter().find_map(|option| option.0.strip_prefix(b"agent.override="));
    let tips: Vec<String> = event.updates.iter().take(5).filter_map(|update| Some(update.new?.to_string())).collect();
    let row = AuditRow {
        at: now,
        effect: OVERRIDES.to_owned(),
        what: "let in".to_owned(),
        who: format!("{}{claimed}", people::user(uid)),
        commit: tips.join(" "),
        command: format!("{}\n{}", text(&event.repository.git_dir), event.overridden.join("\n")),
        because: reason.map(text).unwrap_or_default(),
        remote_id: id.to_owned(),
        ..AuditRow::default()
    };
    audit::append(c, row)
}

/// The oldest due events, at most one a repository.
pub fn next(c: &Connection, busy: &[String], limit: usize, now: i64) -> Result<Found> {
    let sql = "SELECT e.seq, e.payload, e.peer_uid, e.attempts, r.baseline = 0, e.repo_id, e.event_id FROM event e
               JOIN repository r ON r.repo_id = e.repo_id
               WHERE e.state = 'queued' AND e.ready_at <= ?1 AND e.repo_id NOT IN (SELECT value FROM json_each(?2))
               ORDER BY e.ready_at, e.seq LIMIT 1";
    let mut taken: Vec<String> = busy.to_vec();
    let mut found = Found::default();
    let mut statement = c.prepare_cached(sql)?;
    while found.queued.len() + found.unreadable.len() < limit {
        let list = serde_json::to_string(&taken).expect("a list of texts");
        let mut rows = statement.query(params![now, list])?;
        let Some(row) = rows.next()? else { break };
        taken.push(row.get(5)?);
        let payload: Vec<u8> = row.get(1)?;
        match Event::decode(&payload) {
            Err(error) => {
                found.unreadable.push((row.get(6)?, format!("the stored event cannot be read: {error}")));
            }
            Ok(event) => found.queued.push(Queued {
                seq: row.get(0)?,
                event,
                uid: row.get(2)?,
                attempts: row.get(3)?,
                first_sight: row.get(4)?,
            }),
        }
    }
    Ok(found)
}

pub fn finish(c: &Connection, id: EventId, note: Option<&str>, now: i64) -> Result<()> {
    let sql = "UPDATE event SET state = 'done', settled_at = ?2, note = ?3 WHERE event_id = ?1 AND state = 'queued'";
    c.prepare_cached(sql)?.execute(params![id.to_string(), now, note]).map(drop)
}

pub fn put_back(c: &Connection, id: &str, ready_at: Option<i64>, because: &str, now: i64) -> Result<()> {
    let sql = "UPDATE event SET state = iif(?2 IS NULL, 'dead', 'queued'), ready_at = coalesce(?2, ready_at),
               settled_at = iif(?2 IS NULL, ?4, NULL), attempts = attempts + 1, note = ?3
               WHERE event_id = ?1 AND state = 'queued'";
    c.prepare_cached(sql)?.execute(params![id, ready_at, because, now]).map(drop)
}

/// Lets an event wait: nothing was tried on it.
pub fn wait(c: &Connection, id: EventId, ready_at: i64, because: &str) -> Result<()> {
    let sql = "UPDATE event SET ready_at = ?2, note = ?3 WHERE event_id = ?1 AND state = 'queued'";
    c.prepare_cached(sql)?.execute(params![id.to_string(), ready_at, because]).map(drop)
}

/// Ends the waiting of events that nothing was tried on: what they need may be there now.
pub fn wake(c: &Connection, now: i64) -> Result<()> {
    let sql = "UPDATE event SET ready_at = ?1 WHERE state = 'queued' AND attempts = 0 AND ready_at > ?1";
    c.execute(sql, [now]).map(drop)
}

pub fn unconfirmed(c: &Connection, before: i64) -> Result<Vec<String>> {
    let mut statement = c.prepare_cached("SELECT DISTINCT repo_id FROM intent WHERE received_at < ?1")?;
    statement.query_map([before], |row| row.get(0))?.collect()
}

pub fn forget_intents(c: &Connection, repository: &str, before: i64) -> Result<()> {
    c.execute("DELETE FROM intent WHERE repo_id = ?1 AND received_at < ?2", params![repository, before]).map(drop)
}

pub fn tips(c: &Connection, repository: &str) -> Result<Vec<Tip>> {
    let mut statement = c.prepare_cached("SELECT ref, oid, version FROM tip WHERE repo_id = ?1")?;
    let tip = |row: &rusqlite::Row<'_>| {
        Ok(Tip { name: RefName::new(row.get::<_, Vec<u8>>(0)?), id: oid(row, 1)?, version: row.get(2)? })
    };
    statement.query_map([repository], tip)?.collect()
}

/// Those of `refs` that no event after the one numbered `seq` has moved.
pub fn still_at(c: &Connection, repository: &str, refs: &[RefName], seq: i64) -> Result<Vec<RefName>> {
    let sql = "SELECT 1 FROM tip WHERE repo_id = ?1 AND ref = ?2 AND version = ?3";
    let mut statement = c.prepare_cached(sql)?;
    let mut found = Vec::new();
    for name in refs {
        if statement.exists(params![repository, name.as_bytes(), seq])? {
            found.push(name.clone());
        }
    }
    Ok(found)
}

/// Notes the refs of a repository that was just met; those that events moved since stay as they are.
pub fn baseline(c: &Connection, repository: &str, refs: &[(RefName, Oid)], now: i64) -> Result<()> {
    let sql = "INSERT INTO tip (repo_id, ref, oid, version, at) VALUES (?1, ?2, ?3, 0, ?4) ON CONFLICT DO NOTHING";
    let mut insert = c.prepare_cached(sql)?;
    for (name, id) in refs {
        insert.execute(params![repository, name.as_bytes(), id.to_string(), now])?;
    }
    c.execute("UPDATE repository SET baseline = ?2 WHERE repo_id = ?1", params![repository, now.max(1)]).map(drop)
}

pub fn trouble(c: &Connection, repository: &str, trouble: Option<&str>) -> Result<()> {
    let sql = "UPDATE repository SET trouble = ?2 WHERE repo_id = ?1 AND trouble IS NOT ?2";
    c.prepare_cached(sql)?.execute(params![repository, trouble]).map(drop)
}

/// Notes since when a repository is not where it was, or that it is there.
pub fn absent(c: &Connection, repository: &str, since: Option<i64>) -> Result<()> {
    let sql = "UPDATE repository SET absent_at = ?2 WHERE repo_id = ?1 AND absent_at IS NOT ?2";
    c.prepare_cached(sql)?.execute(params![repository, since]).map(drop)
}

/// Notes where a repository is now.
pub fn moved_to(c: &Connection, repository: &str, git_dir: &[u8]) -> Result<()> {
    let sql = "UPDATE repository SET git_dir = ?2, absent_at = NULL, trouble = NULL WHERE repo_id = ?1";
    c.prepare_cached(sql)?.execute(params![repository, git_dir]).map(drop)
}

fn known(c: &Connection, id: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM event WHERE event_id = ?1 UNION ALL SELECT 1 FROM intent WHERE event_id = ?1";
    c.prepare_cached(sql)?.exists([id])
}

fn meet(c: &Connection, event: &Event, now: i64) -> Result<()> {
    let sql = "INSERT INTO repository (repo_id, git_dir, first_event_at, last_event_at) VALUES (?1, ?2, ?3, ?3)
               ON CONFLICT (repo_id) DO UPDATE SET git_dir = excluded.git_dir, last_event_at = excluded.last_event_at,
                 absent_at = NULL, forgotten_at = NULL";
    c.prepare_cached(sql)?.execute(params![event.repository.id, event.repository.git_dir, now]).map(drop)
}

/// Takes `count` numbers for events; the last one is returned.
pub fn numbers(c: &Connection, count: usize) -> Result<i64> {
    let sql = "UPDATE meta SET value = value + ?1 WHERE name = 'event' RETURNING value";
    c.prepare_cached(sql)?.query_row([count as i64], |row| row.get(0))
}

fn insert(c: &Connection, event: &Event, seq: i64, uid: u32, now: i64) -> Result<()> {
    let kind = if event.kind == Kind::Found { "found" } else { "push" };
    let sql = "INSERT INTO event (event_id, seq, repo_id, kind, peer_uid, ready_at, received_at, payload)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7) ON CONFLICT (event_id) DO NOTHING";
    let row = params![event.id.to_string(), seq, event.repository.id, kind, uid, now, event.encode()];
    c.prepare_cached(sql)?.execute(row).map(drop)
}

/// Notes where the refs of an intent are in a repository whose baseline is still to come: they may move unseen.
fn note_before(c: &Connection, event: &Event) -> Result<()> {
    let sql = "INSERT INTO tip (repo_id, ref, oid, version, at) SELECT ?1, ?2, ?3, 0, 0
               FROM repository WHERE repo_id = ?1 AND baseline = 0 ON CONFLICT DO NOTHING";
    let mut insert = c.prepare_cached(sql)?;
    for update in &event.updates {
        let id = update.old.map(|id| id.to_string()).unwrap_or_default();
        insert.execute(params![event.repository.id, update.name.as_bytes(), id])?;
    }
    Ok(())
}

/// Tells whether an intent comes after the push it announces, or after a later one: nobody waits for it.
fn is_confirmed(c: &Connection, intent: &Event) -> Result<bool> {
    let sql = "SELECT 1 FROM tip WHERE repo_id = ?1 AND ref = ?2 AND (oid = ?3 OR (version > 0 AND at >= ?4))";
    let mut statement = c.prepare_cached(sql)?;
    for update in &intent.updates {
        let id = update.new.map(|id| id.to_string()).unwrap_or_default();
        if !statement.exists(params![intent.repository.id, update.name.as_bytes(), id, intent.at])? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Forgets the intents that this push confirms: those that name a ref moving to the same place.
fn confirm_intents(c: &Connection, event: &Event) -> Result<()> {
    let mut statement = c.prepare_cached("SELECT event_id, payload FROM intent WHERE repo_id = ?1")?;
    let intents = statement.query_map([&event.repository.id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for intent in intents.collect::<Result<Vec<(String, Vec<u8>)>>>()? {
        let same =
            |update: &Update| event.updates.iter().any(|moved| moved.name == update.name && moved.new == update.new);
        let confirmed = Event::decode(&intent.1).is_ok_and(|intent| intent.updates.iter().any(same));
        if confirmed {
            c.prepare_cached("DELETE FROM intent WHERE event_id = ?1")?.execute([&intent.0])?;
        }
    }
    Ok(())
}

/// Decides whether an update moves our snapshot, and returns what must have happened unseen before it.
///
/// An update that does not begin where the snapshot is either came late (the spool, another node),
/// then what we have is newer and stays; or something moved the ref without a hook, then the way from
/// the snapshot to where this update begins is an event of its own.
fn move_tip(c: &Connection, event: &Event, update: &Update, seq: i64) -> Result<Option<Event>> {
    let sql = "SELECT oid, version, at FROM tip WHERE repo_id = ?1 AND ref = ?2";
    let tip = c
        .prepare_cached(sql)?
        .query_row(params![event.repository.id, update.name.as_bytes()], |row| {
            Ok((oid(row, 0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let (before, version, at): (Option<Oid>, i64, i64) = tip.unwrap_or((update.old, 0, i64::MIN));
    if before != update.old && before != update.new && event.at < at {
        return Ok(None);
    }
    set_tip(c, event, update, seq)?;
    let gap = Update { name: update.name.clone(), old: before, new: update.old };
    // What is between two pushes of a clone was pushed by others, from elsewhere: it is not the clone's to tell.
    let of_clone = event.repository.git_dir().components().any(|part| part.as_os_str() == ".git");
    if before == update.old || before == update.new || gap.new.is_none() || of_clone {
        return Ok(None);
    }
    let id = EventId::of_differences(&event.repository.id, std::iter::once((&gap, version)));
    let found = Event {
        id,
        kind: Kind::Found,
        updates: vec![gap],
        commits: Vec::new(),
        tips: Vec::new(),
        rest: true,
        claims: Vec::new(),
        push_options: Vec::new(),
        overridden: Vec::new(),
        ..event.clone()
    };
    Ok(if known(c, &id.to_string())? { None } else { Some(found) })
}

fn set_tip(c: &Connection, event: &Event, update: &Update, seq: i64) -> Result<()> {
    let sql = "INSERT INTO tip (repo_id, ref, oid, version, at) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (repo_id, ref) DO UPDATE SET oid = excluded.oid, version = excluded.version, at = excluded.at";
    let id = update.new.map(|id| id.to_string()).unwrap_or_default();
    c.prepare_cached(sql)?.execute(params![event.repository.id, update.name.as_bytes(), id, seq, event.at]).map(drop)
}

fn oid(row: &rusqlite::Row<'_>, column: usize) -> Result<Option<Oid>> {
    match row.get_ref(column)?.as_str()? {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|error| conversion(column, error)),
    }
}

fn conversion(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, Box::new(error))
}
