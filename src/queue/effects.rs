//! Effects as people see them, and what a person may say about them.

use rusqlite::{Connection, Result, Row, ToSql};
use serde::{Deserialize, Serialize};

use super::ledger::{self, Change};
use super::protocol::{State, Step};

/// Chooses effects; empty chooses all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectFilter {
    pub site: Option<String>,
    pub repository: Option<String>,
    /// An effect's key, or its beginning.
    pub id: Option<String>,
    /// An issue's key as it was written.
    pub issue: Option<String>,
    /// A commit's id, or its beginning.
    pub commit: Option<String>,
    pub pusher: Option<String>,
    /// `planned`, `ready`, `intent`, `unknown`, `probing`, `settled`, `refused` or `parked`.
    pub state: Option<String>,
    #[serde(default)]
    pub limit: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectRow {
    /// The effect's key.
    pub id: String,
    pub site: String,
    pub repository: String,
    /// The issue's key as it was written.
    pub issue: String,
    pub issue_id: Option<String>,
    pub commit: String,
    pub command: String,
    pub author: String,
    /// Empty when nobody knows.
    pub pusher: String,
    /// In whose name it is carried out: Jira's own id of an account, or empty for the site's account.
    #[serde(default)]
    pub actor: String,
    pub event: String,
    pub state: String,
    /// Why it was refused: `unverified`, `age`, `import`, `policy` or `jira`.
    pub refusal: Option<String>,
    pub note: Option<String>,
    pub attempts: u32,
    pub probes: u32,
    pub remote_id: Option<String>,
    pub added_at: i64,
    pub ready_at: i64,
    /// From when on it is looked for, where that is not known.
    pub settle_at: i64,
    pub settled_at: Option<i64>,
    /// What exactly is ordered; not shown in lists.
    #[serde(skip)]
    pub body: Vec<u8>,
}

/// How much of what a site's ledger holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledgered {
    pub site: String,
    pub planned: u64,
    pub ready: u64,
    /// Being sent or looked for right now.
    pub in_flight: u64,
    /// To be looked for.
    pub unknown: u64,
    pub settled: u64,
    pub refused: u64,
    pub parked: u64,
    pub last_settled_at: Option<i64>,
    /// Milliseconds that the oldest open effect has been waiting.
    pub oldest_ms: Option<u64>,
}

/// How a person wants something tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// It may be there: look first.
    #[default]
    Look,
    /// The person has looked, and it is not there: send.
    Insist,
}

/// What a row is made of, in the order of [`effect`].
pub(super) const COLUMNS: &str =
    "effect_key, site_id, repo_id, lane, issue_id, commit_id, command, author, pusher, event_id, state, refusal, note, attempts,
     probes, remote_id, added_at, ready_at, settle_at, settled_at, body, actor";

impl EffectFilter {
    /// A condition over `effect` and its named values.
    fn sql(&self) -> (String, Vec<(&'static str, String)>) {
        let mut conditions = vec!["1 = 1".to_owned()];
        let mut values = Vec::new();
        let equal = [
            ("site_id", ":site", &self.site),
            ("repo_id", ":repository", &self.repository),
            ("lane", ":issue", &self.issue),
            ("pusher", ":pusher", &self.pusher),
            ("state", ":state", &self.state),
        ];
        for (column, name, value) in equal {
            if let Some(value) = value {
                conditions.push(format!("{column} = {name}"));
                values.push((name, value.clone()));
            }
        }
        for (column, name, end, value) in
            [("effect_key", ":id", ":id_end", &self.id), ("commit_id", ":commit", ":commit_end", &self.commit)]
        {
            if let Some(value) = value {
                conditions.push(format!("{column} >= {name} AND {column} < {end}"));
                values.push((end, format!("{value}\u{10ffff}")));
                values.push((name, value.clone()));
            }
        }
        (conditions.join(" AND "), values)
    }
}

pub fn list(c: &Connection, filter: &EffectFilter) -> Result<Vec<EffectRow>> {
    let (condition, values) = filter.sql();
    let sql = format!(
        "SELECT {COLUMNS} FROM effect WHERE {condition} ORDER BY seq DESC, place DESC, ordinal DESC, part DESC LIMIT {}",
        filter.limit.unwrap_or(1000)
    );
    c.prepare(&sql)?.query_map(&named(&values)[..], effect)?.collect()
}

/// What a commit orders, by its id or the beginning (4 characters or more), else what was ordered of an issue.
pub fn of(c: &Connection, what: &str) -> Result<Vec<EffectRow>> {
    let few = EffectFilter { limit: Some(100), ..EffectFilter::default() };
    let mut found = Vec::new();
    if what.len() >= 4 && what.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        found = list(c, &EffectFilter { commit: Some(what.to_lowercase()), ..few.clone() })?;
    }
    if found.is_empty() {
        found = list(c, &EffectFilter { issue: Some(what.to_uppercase()), ..few })?;
    }
    found.reverse();
    Ok(found)
}

pub fn counts(c: &Connection, now: i64) -> Result<Vec<Ledgered>> {
    let sql = "SELECT site_id, sum(state = 'planned'), sum(state = 'ready'), sum(state IN ('intent', 'probing')),
                 sum(state = 'unknown'), sum(state = 'settled'), sum(state = 'refused'), sum(state = 'parked'),
                 max(iif(state = 'settled', settled_at, NULL)),
                 min(iif(state IN ('ready', 'intent', 'unknown', 'probing'), added_at, NULL))
               FROM effect GROUP BY site_id";
    let number = |row: &Row<'_>, column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
    let site = |row: &Row<'_>| {
        let oldest: Option<i64> = row.get(9)?;
        Ok(Ledgered {
            site: row.get(0)?,
            planned: number(row, 1)?,
            ready: number(row, 2)?,
            in_flight: number(row, 3)?,
            unknown: number(row, 4)?,
            settled: number(row, 5)?,
            refused: number(row, 6)?,
            parked: number(row, 7)?,
            last_settled_at: row.get(8)?,
            oldest_ms: oldest.map(|at| (now - at).max(0).unsigned_abs()),
        })
    };
    c.prepare_cached(sql)?.query_map([], site)?.collect()
}

pub fn doubled(c: &Connection) -> Result<u64> {
    let sql = "SELECT value FROM meta WHERE name = 'doubled'";
    c.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

/// Has things tried again. What was refused before Jira was asked stays refused: a person who wants it does it in Jira.
pub fn retry(c: &Connection, filter: &EffectFilter, retry: Retry, who: &str, now: i64) -> Result<usize> {
    let step = if retry == Retry::Look { Step::Retry } else { Step::Insist };
    let note = if retry == Retry::Look { "tried again by a person" } else { "sent again by a person who has looked" };
    let change = Change { ready_at: Some(now), found_out: true, note: Some(note), who: Some(who), ..Change::default() };
    let again = step_each(c, filter, "(state = 'parked' OR refusal = 'jira')", step, &change, now)?;
    // What only waits need not wait any longer.
    let (condition, mut values) = filter.sql();
    values.push((":now", now.to_string()));
    let sql = format!(
        "UPDATE effect SET ready_at = CAST(:now AS BIGINT) WHERE state = 'ready' AND ready_at > CAST(:now AS BIGINT) AND {condition}"
    );
    Ok(again + c.execute(&sql, &named(&values)[..])?)
}

pub fn done(c: &Connection, filter: &EffectFilter, who: &str, now: i64) -> Result<usize> {
    let note = Some("done, says a person");
    let change = Change { settled: true, note, who: Some(who), ..Change::default() };
    step_each(c, filter, "state IN ('planned', 'ready', 'unknown', 'parked')", Step::Done, &change, now)
}

/// Ends what a site that is unlinked was ordered: what was not begun is refused, what may have been done is left to a person.
pub fn unlink(c: &Connection, site: &str, who: &str, now: i64) -> Result<()> {
    let filter = EffectFilter { site: Some(site.to_owned()), ..EffectFilter::default() };
    let note = Some("the site was unlinked");
    let refused = Change { settled: true, refusal: Some("policy"), note, who: Some(who), ..Change::default() };
    step_each(c, &filter, "state = 'planned'", Step::Deny, &refused, now)?;
    step_each(c, &filter, "state = 'ready' AND attempts = 0", Step::Refuse, &refused, now)?;
    let parked = Change { note, who: Some(who), ..Change::default() };
    step_each(c, &filter, "state IN ('ready', 'intent', 'unknown', 'probing')", Step::Park, &parked, now).map(drop)
}

fn step_each(
    c: &Connection,
    filter: &EffectFilter,
    which: &str,
    step: Step,
    change: &Change<'_>,
    now: i64,
) -> Result<usize> {
    let (condition, values) = filter.sql();
    let sql = format!("SELECT effect_key FROM effect WHERE {which} AND {condition}");
    let keys: Vec<String> =
        c.prepare(&sql)?.query_map(&named(&values)[..], |row| row.get(0))?.collect::<Result<_>>()?;
    let mut changed = 0;
    for key in keys {
        if let Some(row) = ledger::find(c, &key)? {
            changed += usize::from(ledger::change_row(c, &row, step, change, now)?);
        }
    }
    Ok(changed)
}

fn named<'a>(values: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a dyn ToSql)> {
    values.iter().map(|(name, value)| (*name, value as _)).collect()
}

pub(super) fn effect(row: &Row<'_>) -> Result<EffectRow> {
    let state: State = ledger::state(row, 10)?;
    Ok(EffectRow {
        id: row.get(0)?,
        site: row.get(1)?,
        repository: row.get(2)?,
        issue: row.get(3)?,
        issue_id: row.get(4)?,
        commit: row.get(5)?,
        command: row.get(6)?,
        author: row.get(7)?,
        pusher: row.get(8)?,
        event: row.get(9)?,
        state: state.to_string(),
        refusal: row.get(11)?,
        note: row.get(12)?,
        attempts: row.get(13)?,
        probes: row.get(14)?,
        remote_id: row.get(15)?,
        added_at: row.get(16)?,
        ready_at: row.get(17)?,
        settle_at: row.get(18)?,
        settled_at: row.get(19)?,
        body: row.get(20)?,
        actor: row.get(21)?,
    })
}
