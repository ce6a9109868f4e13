//! How what we marked at a site is read back, as it was found out on a real issue.

use rusqlite::{Connection, Result, Row, params};
use serde::{Deserialize, Serialize};

/// The way that works at a site for one kind of thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadBack {
    pub site: String,
    pub what: Marked,
    pub way: Way,
    /// From when on it was known; what was sent before may bear another kind of mark.
    pub since: i64,
}

/// A site by its name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OfSite {
    pub site: String,
}

/// What bears a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Marked {
    Comment,
    Worklog,
}

/// How a mark is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// The list gives the properties.
    List,
    /// They are had by asking for several by their ids.
    Ids,
    /// Each has to be asked for its property.
    Property,
    /// The site keeps none, so the mark is a word in the text.
    Text,
}

impl Marked {
    fn as_str(self) -> &'static str {
        match self {
            Marked::Comment => "comment",
            Marked::Worklog => "worklog",
        }
    }
}

impl Way {
    fn as_str(self) -> &'static str {
        match self {
            Way::List => "list",
            Way::Ids => "ids",
            Way::Property => "property",
            Way::Text => "text",
        }
    }
}

pub fn of(c: &Connection, site: &str) -> Result<Vec<ReadBack>> {
    let sql = "SELECT site_id, what, way, since FROM read_back WHERE site_id = ?1 ORDER BY what";
    let rows = c.prepare_cached(sql)?.query_map([site], read_back)?.collect::<Result<Vec<_>>>()?;
    Ok(rows.into_iter().flatten().collect())
}

/// Takes what was found out; what is as it was has been so since then.
pub fn found(c: &Connection, found: &[ReadBack], now: i64) -> Result<usize> {
    let sql = "INSERT INTO read_back (site_id, what, way, since) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (site_id, what) DO UPDATE SET way = excluded.way, since = excluded.since WHERE way <> excluded.way";
    let mut changed = 0;
    for ReadBack { site, what, way, .. } in found {
        changed += c.prepare_cached(sql)?.execute(params![site, what.as_str(), way.as_str(), now])?;
    }
    Ok(changed)
}

/// What a newer agent has found is none to this one.
fn read_back(row: &Row<'_>) -> Result<Option<ReadBack>> {
    let (what, way): (String, String) = (row.get(1)?, row.get(2)?);
    let what = [Marked::Comment, Marked::Worklog].into_iter().find(|known| known.as_str() == what);
    let way = [Way::List, Way::Ids, Way::Property, Way::Text].into_iter().find(|known| known.as_str() == way);
    let (site, since) = (row.get(0)?, row.get(3)?);
    Ok(what.zip(way).map(|(what, way)| ReadBack { site, what, way, since }))
}
