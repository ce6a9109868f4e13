//! What people are told of their orders, and up to where they were.
//!
//! Each outcome (Jira did it, Jira refused it, it was parked) gets a number, greater than all before it. A person's news
//! is what has a greater number than their mark, so one number says what was told. The mark for answers to pushes moves
//! once the hook has passed an answer on: one that was lost is told again, and none is passed over. The mark for mail moves before
//! a message is handed over: one that is lost is not sent again, and none is sent twice.
//!
//! What was refused before Jira was asked is no news: the push that ordered it was told so.

use rusqlite::{Connection, Result, Row, params};

use super::effects::{self, EffectRow};

/// What somebody has not been told of their orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// What went wrong comes first, then the oldest; at most [`MOST`].
    pub rows: Vec<EffectRow>,
    /// The mark of somebody who was told all of it.
    pub up_to: i64,
}

/// An outcome that somebody should hear of without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub person: String,
    pub outcome: i64,
    pub row: EffectRow,
}

/// The most that is told at once; older ones are left to the lists.
pub const MOST: usize = 100;

/// How long an outcome is worth a mail: what is older came while nobody wanted any.
const FRESH_MS: i64 = 86_400_000;

/// The number of an outcome that comes now.
pub fn next(c: &Connection, now: i64) -> Result<i64> {
    let sql = "UPDATE meta SET value = max(value + 1, ?1) WHERE name = 'outcome' RETURNING value";
    c.prepare_cached(sql)?.query_row([now], |row| row.get(0))
}

/// What a person has not been told. That what was said with a transition was said as well is not worth a line.
pub fn of(c: &Connection, person: &str) -> Result<News> {
    if person.is_empty() {
        return Ok(News::default());
    }
    let sql = format!(
        "SELECT {}, outcome FROM effect
         WHERE person = ?1 AND outcome > coalesce((SELECT told FROM news WHERE person = ?1), 0)
           AND (part = 0 OR state <> 'settled') ORDER BY outcome DESC LIMIT ?2",
        effects::COLUMNS
    );
    let mut statement = c.prepare_cached(&sql)?;
    let outcome = |row: &Row<'_>| Ok((row.get::<_, i64>("outcome")?, effects::effect(row)?));
    let found = statement.query_map(params![person, MOST as i64], outcome)?;
    let mut found = found.collect::<Result<Vec<_>>>()?;
    let up_to = found.first().map_or(0, |(outcome, _)| *outcome);
    found.sort_by_key(|(outcome, row)| (row.state == "settled", *outcome));
    Ok(News { rows: found.into_iter().map(|(_, row)| row).collect(), up_to })
}

/// Notes that a person was told.
pub fn told(c: &Connection, person: &str, up_to: i64) -> Result<()> {
    let sql = "INSERT INTO news (person, told) VALUES (?1, ?2) ON CONFLICT (person) DO UPDATE SET told = max(told, ?2)";
    c.prepare_cached(sql)?.execute(params![person, up_to]).map(drop)
}

/// What went wrong and was not mailed, oldest first. A store that was restored from a copy mails nothing that may have
/// been mailed before.
pub fn unmailed(c: &Connection, now: i64) -> Result<Vec<Trouble>> {
    let sql = format!(
        "SELECT {}, outcome, person FROM effect
         WHERE outcome IS NOT NULL AND state IN ('refused', 'parked') AND person <> ''
           AND outcome > max(?1, (SELECT value FROM meta WHERE name = 'memory'))
           AND outcome > coalesce((SELECT n.mailed FROM news n WHERE n.person = effect.person), 0)
         ORDER BY outcome LIMIT 1000",
        effects::COLUMNS
    );
    let trouble = |row: &Row<'_>| {
        Ok(Trouble { person: row.get("person")?, outcome: row.get("outcome")?, row: effects::effect(row)? })
    };
    c.prepare_cached(&sql)?.query_map([now - FRESH_MS], trouble)?.collect()
}

/// Notes that a person is being mailed, or never will be.
pub fn mailed(c: &Connection, person: &str, up_to: i64) -> Result<()> {
    let sql =
        "INSERT INTO news (person, mailed) VALUES (?1, ?2) ON CONFLICT (person) DO UPDATE SET mailed = max(mailed, ?2)";
    c.prepare_cached(sql)?.execute(params![person, up_to]).map(drop)
}
