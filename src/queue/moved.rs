//! Refs that moved so that commits may have been left behind, or come back; until both was looked into.

use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::git::Oid;

/// A ref's way from one place to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub old: Option<Oid>,
    pub new: Option<Oid>,
}

/// A move that is to be looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    pub way: Move,
    /// The number of its event.
    pub seq: i64,
    /// Whether what came back with it was told.
    pub looked: bool,
    /// When what it left behind is told.
    pub ready_at: i64,
}

/// A commit that Jira was told to forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoneCommit {
    pub id: String,
    /// The issues it was told for, as far as that is still known.
    pub keys: Vec<String>,
}

pub fn note(c: &Connection, repository: &str, moves: &[Move], seq: i64, ready_at: i64) -> Result<()> {
    let sql = "INSERT INTO moved (repo_id, old, new, seq, ready_at) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (repo_id, old, new) DO UPDATE SET seq = excluded.seq, looked = 0, ready_at = excluded.ready_at";
    let mut statement = c.prepare_cached(sql)?;
    for Move { old, new } in moves {
        statement.execute(params![repository, text(*old), text(*new), seq, ready_at])?;
    }
    Ok(())
}

/// Repositories of which something is to be looked into by now.
pub fn due(c: &Connection, now: i64) -> Result<Vec<String>> {
    let sql = "SELECT DISTINCT repo_id FROM moved WHERE looked = 0 OR (looked = 1 AND ready_at <= ?1)";
    c.prepare_cached(sql)?.query_map([now], |row| row.get(0))?.collect()
}

pub fn of(c: &Connection, repository: &str) -> Result<Vec<Moved>> {
    let sql = "SELECT old, new, seq, looked, ready_at FROM moved WHERE repo_id = ?1";
    let row = |row: &rusqlite::Row<'_>| {
        let id = |column| row.get::<_, String>(column).map(|text| Oid::from_hex(text.as_bytes()));
        let way = Move { old: id(0)?, new: id(1)? };
        Ok(Moved { way, seq: row.get(2)?, looked: row.get(3)?, ready_at: row.get(4)? })
    };
    c.prepare_cached(sql)?.query_map([repository], row)?.collect()
}

/// Notes that what came back with these moves was told.
pub fn looked(c: &Connection, repository: &str, moved: &[Moved]) -> Result<()> {
    let sql = "UPDATE moved SET looked = 1 WHERE repo_id = ?1 AND old = ?2 AND new = ?3 AND seq = ?4";
    each(c, sql, repository, moved)
}

/// Forgets moves, unless they were made again meanwhile.
pub fn done(c: &Connection, repository: &str, moved: &[Moved]) -> Result<()> {
    let sql = "DELETE FROM moved WHERE repo_id = ?1 AND old = ?2 AND new = ?3 AND seq = ?4";
    each(c, sql, repository, moved)
}

/// Whether Jira was told to forget any commit of a repository.
pub fn has_gone(c: &Connection, repository: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM entity WHERE repo_id = ?1 AND gone = 1 AND kind = 'commit'
               UNION ALL SELECT 1 FROM told WHERE repo_id = ?1 AND gone = 1 AND kind = 'commit'";
    c.prepare_cached(sql)?.exists([repository])
}

/// Those of these commits that Jira was told to forget.
pub fn gone_of(c: &Connection, site: &str, repository: &str, ids: &[String]) -> Result<Vec<GoneCommit>> {
    let sql = "SELECT issue_keys FROM entity WHERE site_id = ?1 AND repo_id = ?2 AND kind = 'commit' AND entity_id = ?3 AND gone = 1
               UNION ALL
               SELECT '' FROM told WHERE site_id = ?1 AND repo_id = ?2 AND kind = 'commit' AND entity_id = ?3 AND gone = 1";
    let mut statement = c.prepare_cached(sql)?;
    let mut found = Vec::new();
    for id in ids {
        let keys: Option<String> = statement.query_row(params![site, repository, id], |row| row.get(0)).optional()?;
        found.extend(
            keys.map(|keys| GoneCommit { id: id.clone(), keys: keys.split_whitespace().map(str::to_owned).collect() }),
        );
    }
    Ok(found)
}

/// Those of these commits that Jira was told of, or is owed, and was not told to forget.
pub fn told_of(c: &Connection, site: &str, repository: &str, ids: &[String]) -> Result<Vec<String>> {
    let sql = "SELECT 1 FROM entity WHERE site_id = ?1 AND repo_id = ?2 AND kind = 'commit' AND entity_id = ?3
                 AND gone = 0 AND body_hash <> ''
               UNION ALL
               SELECT 1 FROM told WHERE site_id = ?1 AND repo_id = ?2 AND kind = 'commit' AND entity_id = ?3 AND gone = 0";
    let mut statement = c.prepare_cached(sql)?;
    let mut found = Vec::new();
    for id in ids {
        if statement.exists(params![site, repository, id])? {
            found.push(id.clone());
        }
    }
    Ok(found)
}

fn each(c: &Connection, sql: &str, repository: &str, moved: &[Moved]) -> Result<()> {
    let mut statement = c.prepare_cached(sql)?;
    for Moved { way, seq, .. } in moved {
        statement.execute(params![repository, text(way.old), text(way.new), seq])?;
    }
    Ok(())
}

fn text(id: Option<Oid>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}
