//! What was decided about effects, as a chain that shows when somebody has changed it.
//!
//! Every decision is written in the transaction that makes it, and each entry's hash covers the
//! entry and the hash before it. There is no secret in it: who can write the file can write a new
//! chain. It shows what damage, a careless hand or a lost end have done; who wants more keeps the
//! newest hash ([`Verified::head`]) elsewhere.

use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::text::hex;

/// One decision. Holds no texts of comments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    pub seq: i64,
    pub at: i64,
    /// The effect's key.
    pub effect: String,
    /// The state it came to, or what was done with it.
    pub what: String,
    /// Who pushed, or which person decided.
    pub who: String,
    pub commit: String,
    pub command: String,
    pub because: String,
    pub remote_id: String,
    pub previous: String,
    pub hash: String,
}

/// What walking the chain has shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    pub entries: u64,
    /// The newest hash.
    pub head: String,
    /// The number of the first entry that is missing or was changed.
    pub broken_at: Option<i64>,
}

impl AuditRow {
    fn digest(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(self.seq.to_be_bytes());
        digest.update(self.at.to_be_bytes());
        let texts = [&self.effect, &self.what, &self.who, &self.commit, &self.command, &self.because, &self.remote_id];
        for text in texts.into_iter().chain([&self.previous]) {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        }
        hex(&digest.finalize())
    }
}

/// Appends a decision; number and hashes are filled in here.
pub fn append(c: &Connection, row: AuditRow) -> Result<()> {
    let sql = "UPDATE meta SET value = value + 1 WHERE name = 'audit' RETURNING value";
    let seq: i64 = c.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    let sql = "SELECT hash FROM audit WHERE seq = ?1";
    let previous: Option<String> = c.prepare_cached(sql)?.query_row([seq - 1], |row| row.get(0)).optional()?;
    let mut row = AuditRow { seq, previous: previous.unwrap_or_default(), ..row };
    row.hash = row.digest();
    let sql =
        "INSERT INTO audit (seq, at, effect_key, what, who, commit_id, command, because, remote_id, previous, hash)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let AuditRow { at, effect, what, who, commit, command, because, remote_id, previous, hash, .. } = row;
    c.prepare_cached(sql)?
        .execute(params![seq, at, effect, what, who, commit, command, because, remote_id, previous, hash])
        .map(drop)
}

/// The decisions about one effect, oldest first.
pub fn of(c: &Connection, effect: &str) -> Result<Vec<AuditRow>> {
    let sql = "SELECT seq, at, effect_key, what, who, commit_id, command, because, remote_id, previous, hash FROM audit
               WHERE effect_key = ?1 ORDER BY seq";
    c.prepare_cached(sql)?.query_map([effect], entry)?.collect()
}

/// Walks the whole chain.
pub fn verify(c: &Connection) -> Result<Verified> {
    let last: i64 = c.query_row("SELECT value FROM meta WHERE name = 'audit'", [], |row| row.get(0))?;
    let sql = "SELECT seq, at, effect_key, what, who, commit_id, command, because, remote_id, previous, hash FROM audit ORDER BY seq";
    let mut statement = c.prepare(sql)?;
    let mut seen = Verified { entries: 0, head: String::new(), broken_at: None };
    for row in statement.query_map([], entry)? {
        let row = row?;
        let expected = seen.entries as i64 + 1;
        if row.seq != expected || row.previous != seen.head || row.hash != row.digest() {
            return Ok(Verified { broken_at: Some(expected), ..seen });
        }
        seen = Verified { entries: seen.entries + 1, head: row.hash, broken_at: None };
    }
    let missing = (seen.entries as i64) < last;
    Ok(Verified { broken_at: missing.then_some(seen.entries as i64 + 1), ..seen })
}

fn entry(row: &Row<'_>) -> Result<AuditRow> {
    Ok(AuditRow {
        seq: row.get(0)?,
        at: row.get(1)?,
        effect: row.get(2)?,
        what: row.get(3)?,
        who: row.get(4)?,
        commit: row.get(5)?,
        command: row.get(6)?,
        because: row.get(7)?,
        remote_id: row.get(8)?,
        previous: row.get(9)?,
        hash: row.get(10)?,
    })
}
