//! What a site was told and is owed, counted for whoever is about to unlink it, and the end of it.

use rusqlite::{Connection, Result, params};
use serde::{Deserialize, Serialize};

use super::effects;
use super::outbox::DROPPED;

/// What a site, or a part of its repositories, was told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldTo {
    pub repositories: u64,
    pub commits: u64,
    pub branches: u64,
    /// Entities that have not left yet, or wait for a person.
    pub waiting: u64,
    /// Orders that are not carried out yet.
    pub orders: u64,
}

/// Counts what one site, or any, was told of these repositories, or of all.
pub fn told_to(c: &Connection, site: Option<&str>, repositories: Option<&[String]>) -> Result<ToldTo> {
    let list = repositories.map(|ids| serde_json::to_string(ids).expect("a list of texts"));
    let sql = "WITH its AS (
                 SELECT repo_id, kind, entity_id, state = 'settled' AS told FROM entity
                 WHERE (?1 IS NULL OR site_id = ?1) AND gone = 0 AND body_hash <> '' AND note IS NOT ?3
                 UNION ALL SELECT repo_id, kind, entity_id, 1 FROM told WHERE (?1 IS NULL OR site_id = ?1) AND gone = 0),
               asked AS (SELECT * FROM its WHERE ?2 IS NULL OR repo_id IN (SELECT value FROM json_each(?2)))
               SELECT count(DISTINCT repo_id), coalesce(sum(told AND kind = 'commit'), 0),
                 coalesce(sum(told AND kind = 'branch'), 0), coalesce(sum(NOT told), 0) FROM asked";
    let orders = "SELECT count(*) FROM effect WHERE (?1 IS NULL OR site_id = ?1)
                    AND (?2 IS NULL OR repo_id IN (SELECT value FROM json_each(?2)))
                    AND state IN ('planned', 'ready', 'intent', 'unknown', 'probing')";
    let orders: i64 = c.prepare_cached(orders)?.query_row(params![site, list], |row| row.get(0))?;
    c.prepare_cached(sql)?.query_row(params![site, list, DROPPED], |row| {
        let count = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(ToldTo {
            repositories: count(0)?,
            commits: count(1)?,
            branches: count(2)?,
            waiting: count(3)?,
            orders: orders.unsigned_abs(),
        })
    })
}

/// Whether anything is on its way to a site, or lent to somebody who may send it.
pub fn is_busy(c: &Connection, site: &str, now: i64) -> Result<bool> {
    let sql = "SELECT 1 FROM lane WHERE site_id = ?1 AND lease_until > ?2
               UNION ALL SELECT 1 FROM effect WHERE site_id = ?1 AND state IN ('ready', 'intent', 'probing', 'unknown')
                 AND lease_until > ?2";
    c.prepare_cached(sql)?.exists(params![site, now])
}

/// Ends all that a site is owed, and forgets what it was told: whatever comes after this is news.
pub fn unlink(c: &Connection, site: &str, who: &str, now: i64) -> Result<()> {
    let sql = "UPDATE entity SET state = 'settled', settled_at = ?2, orders = '', note = 'the site was unlinked'
               WHERE site_id = ?1 AND state <> 'settled'";
    c.execute(sql, params![site, now])?;
    c.execute("UPDATE entity SET body_hash = '' WHERE site_id = ?1", [site])?;
    c.execute("UPDATE lane SET ready_at = NULL WHERE site_id = ?1", [site])?;
    let sql = "UPDATE run SET state = 'cancelled', ended_at = ?2 WHERE site_id = ?1 AND ended_at IS NULL";
    c.execute(sql, params![site, now])?;
    for sql in [
        "DELETE FROM told WHERE site_id = ?1",
        "DELETE FROM read_back WHERE site_id = ?1",
        "DELETE FROM issue_key WHERE site_id = ?1",
    ] {
        c.execute(sql, [site])?;
    }
    effects::unlink(c, site, who, now)
}
