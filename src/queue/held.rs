//! What Jira was told of a repository, page by page, and what it is told anew.

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::outbox::{Class, DROPPED, EntityKind, next_sequence, wake};

/// What a site was told of an entity, as far as that is still known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    pub id: String,
    /// The number of its state; `None` once its row was pruned.
    pub sequence: Option<i64>,
    /// Whether Jira has taken all of it, and nothing newer is on its way.
    pub settled: bool,
    /// The digest of its state, or the beginning of it.
    pub hash: String,
}

/// What a site was told, and not told to forget, of one kind in a repository: at most `limit`, by id, after `after`.
pub fn acknowledged(
    c: &Connection,
    (site, repository, kind): (&str, &str, EntityKind),
    after: &str,
    limit: usize,
) -> Result<Vec<Acknowledged>> {
    let sql = "SELECT entity_id, sequence, state = 'settled' AND note IS NULL, body_hash FROM entity
               WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id > ?4 AND gone = 0 AND body_hash <> ''
                 AND note IS NOT ?6
               UNION ALL
               SELECT entity_id, NULL, 1, body_hash FROM told
               WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id > ?4 AND gone = 0
               ORDER BY 1 LIMIT ?5";
    let row = |row: &rusqlite::Row<'_>| {
        Ok(Acknowledged { id: row.get(0)?, sequence: row.get(1)?, settled: row.get(2)?, hash: row.get(3)? })
    };
    let values = params![site, repository, kind.as_str(), after, limit as i64, DROPPED];
    c.prepare_cached(sql)?.query_map(values, row)?.collect()
}

/// Which sites but this one hold anything of a repository, as far as is known, and how many commits and branches.
pub fn elsewhere(c: &Connection, site: &str, repository: &str) -> Result<Vec<(String, usize)>> {
    let sql = "SELECT site_id, count(*) FROM (
                 SELECT site_id FROM entity WHERE repo_id = ?2 AND site_id <> ?1 AND gone = 0 AND body_hash <> ''
                   AND note IS NOT ?3 AND kind <> 'repository'
                 UNION ALL SELECT site_id FROM told WHERE repo_id = ?2 AND site_id <> ?1 AND gone = 0)
               GROUP BY site_id ORDER BY site_id";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs() as usize));
    c.prepare_cached(sql)?.query_map(params![site, repository, DROPPED], row)?.collect()
}

/// Owes these entities once more as they were told, as history; gives those of which only is known that they were.
pub fn tell_anew(
    c: &Connection,
    (site, repository, kind): (&str, &str, EntityKind),
    ids: &[String],
    now: i64,
) -> Result<Vec<String>> {
    let sql = "UPDATE entity SET class = ?5, sequence = ?6, state = 'ready', ready_at = ?7, attempts = 0, unknown = 0,
                 added_at = ?7, settled_at = NULL, note = NULL, orders = ''
               WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4 AND state = 'settled'";
    let held = "SELECT 1 FROM entity WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4";
    let forget = "DELETE FROM told WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4";
    let mut bare = Vec::new();
    for id in ids {
        let place = params![site, repository, kind.as_str(), id];
        if c.prepare_cached(held)?.query_row(place, |_| Ok(())).optional()?.is_none() {
            c.prepare_cached(forget)?.execute(place)?;
            bare.push(id.clone());
            continue;
        }
        let (class, sequence) = (Class::Backfill as i64, next_sequence(c, now)?);
        c.prepare_cached(sql)?.execute(params![site, repository, kind.as_str(), id, class, sequence, now])?;
    }
    wake(c, site, repository, Class::Backfill, now)?;
    Ok(bare)
}
