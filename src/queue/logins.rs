//! People's own accounts in Jira: who is linked to whom. What opens an account is sealed before it comes here.

use rusqlite::{Connection, Result, Row, params};
use serde::{Deserialize, Serialize};

/// A person's own account at a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginRow {
    pub site: String,
    /// Whose it is: a person of the table, or else a user of this server.
    pub holder: String,
    /// Jira's own id of the account.
    pub account: String,
    /// The name it signs in with, on Data Center.
    pub sign_in: Option<String>,
    /// What Jira calls them.
    pub name: String,
    /// What opens the account, sealed.
    #[serde(skip)]
    pub sealed: Vec<u8>,
    pub since: i64,
    pub used_at: Option<i64>,
    pub refused_at: Option<i64>,
    /// Why it opens nothing at the moment.
    pub refusal: Option<String>,
}

pub fn all(c: &Connection) -> Result<Vec<LoginRow>> {
    let sql = "SELECT site_id, holder, account, name, sealed, since, used_at, refused_at, refusal, sign_in FROM login
               ORDER BY site_id, holder";
    let login = |row: &Row<'_>| {
        Ok(LoginRow {
            site: row.get(0)?,
            holder: row.get(1)?,
            account: row.get(2)?,
            name: row.get(3)?,
            sealed: row.get(4)?,
            since: row.get(5)?,
            used_at: row.get(6)?,
            refused_at: row.get(7)?,
            refusal: row.get(8)?,
            sign_in: row.get(9)?,
        })
    };
    c.prepare_cached(sql)?.query_map([], login)?.collect()
}

/// Keeps a login in place of the one that its holder had at the site.
pub fn put(c: &Connection, login: &LoginRow) -> Result<()> {
    let sql =
        "INSERT OR REPLACE INTO login (site_id, holder, account, sign_in, name, sealed, since, used_at, refused_at,
                 refusal)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let LoginRow { site, holder, account, sign_in, name, sealed, since, used_at, refused_at, refusal } = login;
    let values = params![site, holder, account, sign_in, name, sealed, since, used_at, refused_at, refusal];
    c.prepare_cached(sql)?.execute(values).map(drop)
}

/// Takes over how a login does, unless there is another one by now.
pub fn note(c: &Connection, login: &LoginRow) -> Result<()> {
    let sql = "UPDATE login SET used_at = ?4, refused_at = ?5, refusal = ?6
               WHERE site_id = ?1 AND holder = ?2 AND since = ?3";
    let LoginRow { site, holder, since, used_at, refused_at, refusal, .. } = login;
    c.prepare_cached(sql)?.execute(params![site, holder, since, used_at, refused_at, refusal]).map(drop)
}

pub fn remove(c: &Connection, site: &str, holder: &str) -> Result<()> {
    c.prepare_cached("DELETE FROM login WHERE site_id = ?1 AND holder = ?2")?.execute([site, holder]).map(drop)
}
