//! What Jira showed of issues, kept so that it can be told without Jira. It is a memory, not a truth: losing it costs a
//! request.

use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::issue::Issue;

/// What is remembered of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `None`: there was no such issue.
    pub issue: Option<Issue>,
    pub at: i64,
}

/// What one account at one site saw under a key.
#[derive(Clone, Debug)]
pub struct Sight {
    pub site: String,
    pub actor: String,
    pub key: String,
    pub seen: Seen,
}

/// What an account has seen under each of these keys.
pub fn seen(c: &Connection, site: &str, actor: &str, keys: &[String]) -> Result<Vec<Option<Seen>>> {
    let sql = "SELECT shown, seen_at FROM issue WHERE site_id = ?1 AND actor = ?2 AND issue_key = ?3";
    let mut statement = c.prepare_cached(sql)?;
    let mut one =
        |key: &String| statement.query_row(params![site, actor, key], |row| Ok((row.get(0)?, row.get(1)?))).optional();
    keys.iter().map(|key| Ok(one(key)?.and_then(|(shown, at)| read(shown, at)))).collect()
}

/// The issues that an account has seen, the latest first.
pub fn latest(c: &Connection, site: &str, actor: &str, most: usize) -> Result<Vec<(String, Seen)>> {
    let sql = "SELECT issue_key, shown, seen_at FROM issue WHERE site_id = ?1 AND actor = ?2 AND shown IS NOT NULL
               ORDER BY seen_at DESC, issue_key LIMIT ?3";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = c
        .prepare_cached(sql)?
        .query_map(params![site, actor, most], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<Vec<(String, Option<Vec<u8>>, i64)>>>()?;
    Ok(rows.into_iter().filter_map(|(key, shown, at)| Some((key, read(shown, at)?))).collect())
}

pub fn remember(c: &Connection, sights: &[Sight]) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO issue (site_id, actor, issue_key, shown, seen_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut statement = c.prepare_cached(sql)?;
    for Sight { site, actor, key, seen } in sights {
        let shown = seen.issue.as_ref().map(|issue| minicbor::to_vec(issue).expect("writing to a vector cannot fail"));
        statement.execute(params![site, actor, key, shown, seen.at])?;
    }
    Ok(())
}

pub fn prune(c: &Connection, before: i64) -> Result<usize> {
    c.execute("DELETE FROM issue WHERE seen_at < ?1", [before])
}

/// What an agent of another version wrote, and this one cannot read, was never seen.
fn read(shown: Option<Vec<u8>>, at: i64) -> Option<Seen> {
    let issue = match shown {
        None => None,
        Some(bytes) => Some(minicbor::decode::<Issue>(&bytes).ok()?),
    };
    Some(Seen { issue, at })
}
