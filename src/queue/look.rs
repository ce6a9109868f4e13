//! Looking without touching: counts, lists, and the whole way of one commit, issue or branch.

use std::collections::BTreeSet;

use rusqlite::{Connection, Result, Row};
use serde::{Deserialize, Serialize};

use super::issue_keys::{self, MovedKey};
use crate::clock;
use crate::text::Untrusted;

/// How much of what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub events_queued: u64,
    pub events_dead: u64,
    pub intents: u64,
    pub sites: Vec<SiteCounts>,
    /// Keys that Jira never came to know, given up after the last try.
    pub dropped_keys: u64,
    /// Milliseconds that the oldest unfinished thing has been waiting.
    pub oldest_ms: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteCounts {
    pub site: String,
    /// Due now or soon.
    pub ready: u64,
    /// Waiting for Jira to come to know a key.
    pub unknown: u64,
    pub parked: u64,
    pub settled: u64,
    pub last_settled_at: Option<i64>,
}

/// Chooses rows of the outbox; empty chooses all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Filter {
    pub site: Option<String>,
    pub repository: Option<String>,
    /// An entity's id, or its beginning (4 characters or more).
    pub id: Option<String>,
    pub key: Option<String>,
    /// `ready`, `unknown`, `parked` or `settled`.
    pub state: Option<String>,
    #[serde(default)]
    pub limit: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityRow {
    pub site: String,
    pub repository: String,
    pub kind: String,
    pub id: String,
    pub keys: Vec<String>,
    pub state: String,
    pub class: String,
    pub sequence: i64,
    pub attempts: u32,
    pub unknown: u32,
    pub added_at: i64,
    pub ready_at: i64,
    pub settled_at: Option<i64>,
    pub note: Option<String>,
    pub event: String,
    /// Whether Jira is to forget it.
    #[serde(default)]
    pub gone: bool,
    /// Whether Jira may carry out the orders of this commit, or was let do so.
    #[serde(default)]
    pub granted: bool,
    /// Why it may not.
    #[serde(default)]
    pub denied: Option<String>,
    /// When they were left to Jira.
    #[serde(default)]
    pub left_at: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    pub id: String,
    pub seq: i64,
    pub repository: String,
    pub kind: String,
    pub state: String,
    pub uid: u32,
    pub received_at: i64,
    pub settled_at: Option<i64>,
    pub attempts: u32,
    pub note: Option<String>,
    /// The event as it was stored; `None` in lists.
    #[serde(skip)]
    pub payload: Option<Vec<u8>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryRow {
    pub id: String,
    #[serde(skip)]
    pub git_dir: Vec<u8>,
    pub first_event_at: i64,
    pub last_event_at: i64,
    pub trouble: Option<String>,
    /// Whether the refs it had when we first met it are noted.
    pub met: bool,
    /// Since when it is not where it was.
    pub absent_at: Option<i64>,
    /// Whether Jira was told to forget it, and nothing came of it since.
    pub forgotten: bool,
}

/// The way of one thing: what Jira is owed or told about it, and the events it came with.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    pub entities: Vec<EntityRow>,
    pub events: Vec<EventRow>,
    /// Keys of these, or the one that was asked for, whose issues have other ones now.
    pub moved: Vec<MovedKey>,
}

impl EntityRow {
    /// What becomes of the orders of a commit where Jira is the one to carry them out, for people.
    pub fn orders(&self) -> Option<String> {
        match (self.left_at, &self.denied) {
            (Some(at), _) => Some(format!("left to Jira at {}", clock::show(at))),
            (None, Some(because)) => Some(format!("not left to Jira: {}", Untrusted::text(because))),
            (None, None) => self.granted.then(|| "left to Jira when it is told".to_owned()),
        }
    }
}

impl Filter {
    /// A condition over `entity` and its named values.
    pub(super) fn sql(&self) -> (String, Vec<(&'static str, String)>) {
        let mut conditions = vec!["1 = 1".to_owned()];
        let mut values = Vec::new();
        let mut equal = |column: &str, name: &'static str, value: &Option<String>| {
            if let Some(value) = value {
                conditions.push(format!("{column} = {name}"));
                values.push((name, value.clone()));
            }
        };
        equal("site_id", ":site", &self.site);
        equal("repo_id", ":repository", &self.repository);
        if let Some(id) = &self.id {
            conditions.push("entity_id >= :id AND entity_id < :id_end".to_owned());
            values.push((":id_end", format!("{id}\u{10ffff}")));
            values.push((":id", id.clone()));
        }
        if let Some(key) = &self.key {
            conditions.push("instr(issue_keys, :key) > 0".to_owned());
            values.push((":key", format!(" {key} ")));
        }
        match self.state.as_deref() {
            Some("unknown") => conditions.push("state = 'ready' AND unknown > 0".to_owned()),
            Some("ready") => conditions.push("state = 'ready' AND unknown = 0".to_owned()),
            Some("parked") => conditions.push("state = 'parked'".to_owned()),
            Some("settled") => conditions.push("state = 'settled'".to_owned()),
            _ => {}
        }
        (conditions.join(" AND "), values)
    }

    /// Whether dead events are meant too: they have no site, key or id to choose them by.
    pub(super) fn includes_events(&self) -> bool {
        self.site.is_none() && self.id.is_none() && self.key.is_none()
    }
}

pub fn counts(c: &Connection, now: i64) -> Result<Counts> {
    let one = |sql: &str| c.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<i64>>(0));
    let number = |sql: &str| one(sql).map(|n| n.unwrap_or(0).unsigned_abs());
    let oldest = [
        one("SELECT min(received_at) FROM event WHERE state = 'queued'")?,
        one("SELECT min(added_at) FROM entity WHERE state = 'ready' AND unknown = 0")?,
    ];
    let oldest = oldest.into_iter().flatten().min();
    Ok(Counts {
        events_queued: number("SELECT count(*) FROM event WHERE state = 'queued'")?,
        events_dead: number("SELECT count(*) FROM event WHERE state = 'dead'")?,
        intents: number("SELECT count(*) FROM intent")?,
        sites: sites(c)?,
        dropped_keys: number("SELECT value FROM meta WHERE name = 'dropped_keys'")?,
        oldest_ms: oldest.map(|at| (now - at).max(0).unsigned_abs()),
    })
}

pub fn repositories(c: &Connection) -> Result<Vec<RepositoryRow>> {
    let sql = "SELECT repo_id, git_dir, first_event_at, last_event_at, trouble, baseline > 0, absent_at, forgotten_at IS NOT NULL FROM repository ORDER BY last_event_at DESC";
    let row = |row: &Row<'_>| {
        Ok(RepositoryRow {
            id: row.get(0)?,
            git_dir: row.get(1)?,
            first_event_at: row.get(2)?,
            last_event_at: row.get(3)?,
            trouble: row.get(4)?,
            met: row.get(5)?,
            absent_at: row.get(6)?,
            forgotten: row.get(7)?,
        })
    };
    c.prepare_cached(sql)?.query_map([], row)?.collect()
}

pub fn entities(c: &Connection, filter: &Filter) -> Result<Vec<EntityRow>> {
    let (condition, values) = filter.sql();
    let sql = format!(
        "SELECT site_id, repo_id, kind, entity_id, issue_keys, state, class, sequence, attempts, unknown, added_at, ready_at,
           settled_at, note, event_id, orders <> '', denied, (SELECT min(given.at) FROM left_to_jira AS given
             WHERE given.entity_id = entity.entity_id AND given.repo_id = entity.repo_id AND given.site_id = entity.site_id), gone
         FROM entity WHERE {condition} ORDER BY added_at DESC, sequence DESC LIMIT {}",
        filter.limit.unwrap_or(1000)
    );
    let values: Vec<(&str, &dyn rusqlite::ToSql)> = values.iter().map(|(name, value)| (*name, value as _)).collect();
    c.prepare(&sql)?.query_map(&values[..], entity)?.collect()
}

pub fn events(c: &Connection, filter: &Filter) -> Result<Vec<EventRow>> {
    let sql =
        "SELECT event_id, seq, repo_id, kind, state, peer_uid, received_at, settled_at, attempts, note, NULL FROM event
               WHERE (?1 IS NULL OR repo_id = ?1) AND (?2 IS NULL OR state = ?2) ORDER BY seq DESC LIMIT ?3";
    let values = rusqlite::params![filter.repository, filter.state, filter.limit.unwrap_or(1000)];
    c.prepare_cached(sql)?.query_map(values, event)?.collect()
}

pub fn trace(c: &Connection, what: &str) -> Result<Trace> {
    let mut moved = Vec::new();
    let mut found = entities(c, &Filter { id: Some(what.to_lowercase()), limit: Some(100), ..Filter::default() })?;
    if found.is_empty() {
        found = entities(c, &Filter { id: Some(what.to_owned()), limit: Some(100), ..Filter::default() })?;
    }
    if found.is_empty() {
        let key = what.to_uppercase();
        moved = issue_keys::about(c, &key)?;
        let olds = moved.iter().filter(|one| one.present == key).map(|one| one.old.clone());
        for key in [key.clone()].into_iter().chain(olds) {
            found.extend(entities(c, &Filter { key: Some(key), limit: Some(100), ..Filter::default() })?);
        }
    }
    for key in found.iter().flat_map(|entity| &entity.keys).collect::<BTreeSet<_>>() {
        let leads = issue_keys::about(c, key)?.into_iter().filter(|one| one.old == *key && !moved.contains(one));
        moved.extend(leads.collect::<Vec<_>>());
    }
    let mut ids: Vec<&str> = found.iter().map(|entity| entity.event.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    let sql = "SELECT event_id, seq, repo_id, kind, state, peer_uid, received_at, settled_at, attempts, note, payload
               FROM event WHERE event_id = ?1";
    let mut statement = c.prepare_cached(sql)?;
    let mut events = Vec::new();
    for id in ids {
        events.extend(statement.query_map([id], event)?.collect::<Result<Vec<_>>>()?);
    }
    Ok(Trace { entities: found, events, moved })
}

fn sites(c: &Connection) -> Result<Vec<SiteCounts>> {
    let sql = "SELECT site_id, sum(state = 'ready' AND unknown = 0), sum(state = 'ready' AND unknown > 0), sum(state = 'parked'),
                 sum(state = 'settled'), max(settled_at) FROM entity GROUP BY site_id";
    let row = |row: &Row<'_>| {
        Ok(SiteCounts {
            site: row.get(0)?,
            ready: row.get::<_, i64>(1)?.unsigned_abs(),
            unknown: row.get::<_, i64>(2)?.unsigned_abs(),
            parked: row.get::<_, i64>(3)?.unsigned_abs(),
            settled: row.get::<_, i64>(4)?.unsigned_abs(),
            last_settled_at: row.get(5)?,
        })
    };
    c.prepare_cached(sql)?.query_map([], row)?.collect()
}

fn entity(row: &Row<'_>) -> Result<EntityRow> {
    let class: i64 = row.get(6)?;
    Ok(EntityRow {
        site: row.get(0)?,
        repository: row.get(1)?,
        kind: row.get(2)?,
        id: row.get(3)?,
        keys: row.get::<_, String>(4)?.split_whitespace().map(str::to_owned).collect(),
        state: row.get(5)?,
        class: if class == 0 { "live" } else { "backfill" }.to_owned(),
        sequence: row.get(7)?,
        attempts: row.get(8)?,
        unknown: row.get(9)?,
        added_at: row.get(10)?,
        ready_at: row.get(11)?,
        settled_at: row.get(12)?,
        note: row.get(13)?,
        event: row.get(14)?,
        granted: row.get(15)?,
        denied: row.get(16)?,
        left_at: row.get(17)?,
        gone: row.get(18)?,
    })
}

fn event(row: &Row<'_>) -> Result<EventRow> {
    Ok(EventRow {
        id: row.get(0)?,
        seq: row.get(1)?,
        repository: row.get(2)?,
        kind: row.get(3)?,
        state: row.get(4)?,
        uid: row.get(5)?,
        received_at: row.get(6)?,
        settled_at: row.get(7)?,
        attempts: row.get(8)?,
        note: row.get(9)?,
        payload: row.get(10)?,
    })
}
