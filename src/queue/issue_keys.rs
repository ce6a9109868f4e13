//! Issue keys that Jira did not know, and what they lead to once their issue has moved.
//!
//! An entity keeps the keys of its own text for ever; when it is lent to a sender, each takes the form that its issue
//! has now. So whatever tells it again says the same, and one who looks for an old key finds it. Whether an issue has
//! moved is asked of Jira by somebody else, once a day for each key, as long as something may wait for it.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Result, params};
use serde::{Deserialize, Serialize};

use super::outbox::{Class, next_sequence, wake};

/// A key whose issue has another one now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedKey {
    pub site: String,
    pub old: String,
    pub present: String,
}

/// How long a key is looked up: a little longer than what waits for it is tried again.
const LOOKED_UP_MS: i64 = 9 * 86_400_000;

/// Notes that a site did not know these keys.
pub fn unknown(c: &Connection, site: &str, keys: &[String], now: i64) -> Result<()> {
    let sql =
        "INSERT INTO issue_key (site_id, old, added_at) VALUES (?1, ?2, ?3) ON CONFLICT (site_id, old) DO NOTHING";
    let mut statement = c.prepare_cached(sql)?;
    keys.iter().try_for_each(|key| statement.execute(params![site, key, now]).map(drop))
}

/// Keys that nobody has looked up since `before`, those that were never looked up first.
pub fn to_look_up(c: &Connection, site: &str, before: i64, limit: usize, now: i64) -> Result<Vec<String>> {
    let sql = "SELECT old FROM issue_key WHERE site_id = ?1 AND present IS NULL AND added_at > ?4
                 AND (looked_at IS NULL OR looked_at < ?2 OR looked_at > ?5) ORDER BY looked_at LIMIT ?3";
    let values = params![site, before, limit as i64, now - LOOKED_UP_MS, now];
    c.prepare_cached(sql)?.query_map(values, |row| row.get(0))?.collect()
}

/// Takes what looking a key up has given; what waits for it is told at once. Gives how many entities that is.
pub fn looked_up(c: &Connection, site: &str, old: &str, present: Option<&str>, now: i64) -> Result<usize> {
    let Some(present) = present.filter(|present| *present != old) else {
        c.execute("UPDATE issue_key SET looked_at = ?3 WHERE site_id = ?1 AND old = ?2", params![site, old, now])?;
        return Ok(0);
    };
    let sql = "INSERT INTO issue_key (site_id, old, present, looked_at, added_at) VALUES (?1, ?2, ?3, ?4, ?4)
               ON CONFLICT (site_id, old) DO UPDATE SET present = excluded.present, looked_at = excluded.looked_at";
    c.execute(sql, params![site, old, present, now])?;
    // One that had led here leads on; one that came back is what it was.
    let sql = "UPDATE issue_key SET present = ?3 WHERE site_id = ?1 AND present = ?2";
    c.execute(sql, params![site, old, present])?;
    c.execute("DELETE FROM issue_key WHERE site_id = ?1 AND old = present", [site])?;
    let mut changed = 0;
    let mut lanes = BTreeSet::new();
    for old in olds_of(c, site, present)?.into_iter().chain([present.to_owned()]) {
        let sql = "SELECT repo_id, kind, entity_id, class FROM entity
                   WHERE site_id = ?1 AND state = 'ready' AND unknown > 0 AND gone = 0 AND instr(issue_keys, ?2) > 0";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let waiting: Vec<(String, String, String, i64)> =
            c.prepare_cached(sql)?.query_map(params![site, format!(" {old} ")], row)?.collect::<Result<_>>()?;
        for (repository, kind, id, class) in waiting {
            let sql = "UPDATE entity SET ready_at = ?5, sequence = ?6, unknown = 0, attempts = 0, note = NULL
                       WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4";
            let sequence = next_sequence(c, now)?;
            changed += c.prepare_cached(sql)?.execute(params![site, repository, kind, id, now, sequence])?;
            lanes.insert((repository, class));
        }
    }
    for (repository, class) in lanes {
        wake(c, site, &repository, if class == 0 { Class::Live } else { Class::Backfill }, now)?;
    }
    Ok(changed)
}

/// The keys that issues have now, of those that something names, each once.
pub fn present(c: &Connection, site: &str, keys: Vec<String>) -> Result<Vec<String>> {
    let sql = "SELECT present FROM issue_key WHERE site_id = ?1 AND old = ?2 AND present IS NOT NULL";
    let mut statement = c.prepare_cached(sql)?;
    let mut now = Vec::with_capacity(keys.len());
    for key in keys {
        let moved: Option<String> = statement.query_row(params![site, key], |row| row.get(0)).optional()?;
        let key = moved.unwrap_or(key);
        if !now.contains(&key) {
            now.push(key);
        }
    }
    Ok(now)
}

/// The old keys of an issue.
fn olds_of(c: &Connection, site: &str, present: &str) -> Result<Vec<String>> {
    let sql = "SELECT old FROM issue_key WHERE present = ?2 AND site_id = ?1";
    c.prepare_cached(sql)?.query_map([site, present], |row| row.get(0))?.collect()
}

/// Where this key leads, and which keys lead to it.
pub fn about(c: &Connection, key: &str) -> Result<Vec<MovedKey>> {
    let sql = "SELECT site_id, old, present FROM issue_key WHERE present IS NOT NULL AND old = ?1
               UNION SELECT site_id, old, present FROM issue_key WHERE present = ?1 LIMIT 100";
    let row = |row: &rusqlite::Row<'_>| Ok(MovedKey { site: row.get(0)?, old: row.get(1)?, present: row.get(2)? });
    c.prepare_cached(sql)?.query_map([key], row)?.collect()
}

/// Forgets keys that led nowhere and were first met before `before`.
pub fn prune(c: &Connection, before: i64) -> Result<usize> {
    c.execute("DELETE FROM issue_key WHERE present IS NULL AND added_at < ?1", [before])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::store::MIGRATIONS;

    #[test]
    fn e16_a_key_leads_on_and_back() {
        let c = Connection::open_in_memory().unwrap();
        MIGRATIONS.iter().for_each(|sql| c.execute_batch(sql).unwrap());
        let told =
            |keys: &str| present(&c, "jira", keys.split_whitespace().map(str::to_owned).collect()).unwrap().join(" ");
        let day = 86_400_000;
        unknown(&c, "jira", &["OLD-1".to_owned(), "UTF-8".to_owned()], 1).unwrap();
        unknown(&c, "jira", &["OLD-1".to_owned()], 2).unwrap();
        assert_eq!(to_look_up(&c, "jira", 3 - day, 9, 3).unwrap(), ["OLD-1", "UTF-8"]);
        assert!(to_look_up(&c, "other", 3, 9, 3).unwrap().is_empty());
        looked_up(&c, "jira", "UTF-8", None, 3).unwrap();
        looked_up(&c, "jira", "OLD-1", Some("NEW-7"), 3).unwrap();
        assert!(to_look_up(&c, "jira", 4 - day, 9, 4).unwrap().is_empty());
        assert_eq!(to_look_up(&c, "jira", 4, 9, 4 + day).unwrap(), ["UTF-8"], "once more the next day");
        assert!(to_look_up(&c, "jira", 4, 9, 10 * day).unwrap().is_empty(), "and not for ever");
        assert_eq!(told("OLD-1 ABC-2 NEW-7"), "NEW-7 ABC-2");
        looked_up(&c, "jira", "NEW-7", Some("XYZ-3"), 5).unwrap();
        assert_eq!(told("OLD-1 NEW-7"), "XYZ-3");
        assert_eq!(about(&c, "XYZ-3").unwrap().len(), 2);
        looked_up(&c, "jira", "XYZ-3", Some("OLD-1"), 6).unwrap();
        assert_eq!(told("OLD-1 XYZ-3"), "OLD-1");
    }
}
