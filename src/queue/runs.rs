//! Synchronisations of history: which repositories are to be read, how far each has come, and how it ended.
//!
//! A run is *waiting* until its turn and *running* in it, over as many turns as it takes; a person may make it *paused*
//! and resume or *cancel* it; it ends as *done* or *failed*. It begins at the tips that our snapshot had at its first
//! turn, and its walk from there is always the same, so the cursor is a count and the commit it ended with.
//!
//! Invariants: what a run has counted is in the outbox, because both happen in one transaction. A run gives no leave,
//! and takes the place of nothing that is still to be sent: what a push told goes first and stays as it was told.

use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use serde::{Deserialize, Serialize};

use super::outbox::{self, Class, NewEntity, OF_A_KIND, OF_A_REQUEST, Owing};
use crate::git::{Oid, RefName};

/// A synchronisation that is asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub repository: String,
    /// Where it lies, so that a repository nobody has pushed to yet is known afterwards.
    pub git_dir: Vec<u8>,
    /// Whether it was met for the first time, and nobody asked.
    pub by_itself: bool,
    pub bounds: Bounds,
}

/// What of a history is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// Only commits of that second and later.
    pub since: Option<i64>,
    /// Only so many of the newest.
    pub depth: Option<u64>,
    /// Only what names this issue, and that anew.
    pub issue: Option<String>,
}

/// A run whose turn it is.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: i64,
    pub repository: String,
    pub git_dir: Vec<u8>,
    /// Whether the refs the repository had when we first met it are noted.
    pub met: bool,
    pub bounds: Bounds,
    /// Where it begins; nothing before its first turn.
    pub tips: Option<Vec<Oid>>,
    pub seen: u64,
    /// The last commit that was read.
    pub trail: String,
    pub errors: u64,
}

/// A piece of history on its way into the outbox.
pub struct Portion {
    pub site: String,
    pub repository: String,
    pub commits: Vec<NewEntity>,
    /// Branches, told only while they are where the run found them.
    pub branches: Vec<(RefName, Oid, NewEntity)>,
    /// Whether it is told again what was told in this state already.
    pub anew: bool,
    /// Whether what was told in another state stays as it is.
    pub keeps: bool,
    /// How many commits were read for it, and which was the last.
    pub seen: u64,
    pub keyed: u64,
    pub trail: String,
    /// How long that took.
    pub worked_ms: i64,
}

/// How much history a site is still owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    pub due: usize,
    /// The most that one repository is owed.
    pub most: usize,
    /// When the oldest was added.
    pub oldest_at: Option<i64>,
    /// Whether runs are open that will add to it.
    pub grows: bool,
    /// Whether a run waits for its turn.
    pub others_wait: bool,
}

/// What a person wants of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    Pause,
    Resume,
    Cancel,
}

/// A run as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    pub id: i64,
    pub repository: String,
    pub path: String,
    pub site: String,
    pub state: String,
    pub by_itself: bool,
    pub bounds: Bounds,
    pub asked_at: i64,
    pub began_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub worked_ms: i64,
    pub total: Option<u64>,
    pub read: u64,
    pub keyed: u64,
    /// What was news to the site, commits and branches.
    pub owed: u64,
    /// What of the repository's history the site is still to be told.
    pub due: u64,
    /// What of the repository Jira refused.
    pub parked: u64,
    pub errors: u64,
    pub note: Option<String>,
}

impl Past {
    /// Whether it is worth a request: it fills one, or nothing more will come, or it has waited for long enough.
    pub fn is_ripe(&self, now: i64, patience_ms: i64) -> bool {
        !self.grows
            || self.due >= OF_A_REQUEST
            || self.most >= OF_A_KIND
            || self.oldest_at.is_none_or(|at| now - at >= patience_ms || now < at)
    }
}

const OPEN: &str = "('waiting', 'running')";

pub fn start(c: &Connection, wanted: &Wanted, now: i64) -> Result<Option<i64>> {
    let Bounds { since, depth, issue } = &wanted.bounds;
    // A run that is open already and would tell the same is enough.
    let sql = "SELECT run_id FROM run WHERE repo_id = ?1 AND (?2 OR (state = 'waiting' AND since IS ?3 AND depth IS ?4
               AND issue IS ?5 AND tips IS NULL)) LIMIT 1";
    let depth = depth.map(u64::cast_signed);
    let known: Option<i64> = c
        .prepare_cached(sql)?
        .query_row(params![wanted.repository, wanted.by_itself, since, depth, issue], |row| row.get(0))
        .optional()?;
    if known.is_some() {
        return Ok(known.filter(|_| !wanted.by_itself));
    }
    let sql = "INSERT INTO repository (repo_id, git_dir, first_event_at, last_event_at) VALUES (?1, ?2, ?3, ?3)
               ON CONFLICT (repo_id) DO UPDATE SET git_dir = excluded.git_dir";
    c.prepare_cached(sql)?.execute(params![wanted.repository, wanted.git_dir, now])?;
    let sql = "UPDATE meta SET value = value + 1 WHERE name = 'run' RETURNING value";
    let id: i64 = c.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    let sql = "INSERT INTO run (run_id, repo_id, state, by_itself, since, depth, issue, asked_at, turn_at)
               VALUES (?1, ?2, 'waiting', ?3, ?4, ?5, ?6, ?7, ?7)";
    let row = params![id, wanted.repository, wanted.by_itself, since, depth, issue, now];
    c.prepare_cached(sql)?.execute(row)?;
    Ok(Some(id))
}

/// Whether it may be anybody's turn.
pub fn is_due(c: &Connection, now: i64) -> Result<bool> {
    let sql = format!("SELECT 1 FROM run WHERE state IN {OPEN} AND turn_at <= ?1 LIMIT 1");
    c.prepare_cached(&sql)?.exists([now])
}

/// Takes the runs whose turn it is.
pub fn next(c: &Connection, busy: &[String], limit: usize, now: i64) -> Result<Vec<Run>> {
    let sql = format!(
        "SELECT n.run_id, n.repo_id, r.git_dir, r.baseline > 0, n.since, n.depth, n.issue, n.tips, n.seen, n.trail, n.errors
         FROM run n JOIN repository r ON r.repo_id = n.repo_id
         WHERE n.state IN {OPEN} AND n.turn_at <= ?1 AND n.repo_id NOT IN (SELECT value FROM json_each(?2))
         ORDER BY n.turn_at, n.run_id LIMIT 1"
    );
    let mut taken: Vec<String> = busy.to_vec();
    let mut found = Vec::new();
    while found.len() < limit {
        let list = serde_json::to_string(&taken).expect("a list of texts");
        let Some(run) = c.prepare_cached(&sql)?.query_row(params![now, list], run).optional()? else { break };
        c.prepare_cached("UPDATE run SET state = 'running' WHERE run_id = ?1")?.execute([run.id])?;
        taken.push(run.repository.clone());
        found.push(run);
    }
    Ok(found)
}

pub fn has_news(c: &Connection, repository: &str, now: i64) -> Result<bool> {
    let sql = "SELECT 1 FROM event WHERE repo_id = ?1 AND state = 'queued' AND ready_at <= ?2";
    c.prepare_cached(sql)?.exists(params![repository, now])
}

pub fn begin(c: &Connection, run: i64, tips: &[Oid], total: u64, now: i64) -> Result<bool> {
    let ids: Vec<u8> = tips.iter().flat_map(|id| id.as_bytes().to_vec()).collect();
    // How long an id is, first.
    let width = tips.first().map_or(20, |id| id.as_bytes().len() as u8);
    let tips = [&[width], &ids[..]].concat();
    let sql = "UPDATE run SET tips = ?2, total = ?3, began_at = coalesce(began_at, ?4), note = NULL,
               seen = 0, keyed = 0, trail = '' WHERE run_id = ?1 AND state = 'running'";
    c.prepare_cached(sql)?.execute(params![run, tips, total.cast_signed(), now]).map(|changed| changed > 0)
}

pub fn advance(c: &Connection, run: i64, portion: &Portion, now: i64) -> Result<bool> {
    if !goes_on(c, run)? {
        return Ok(false);
    }
    let owing = Owing {
        site: portion.site.clone(),
        repository: portion.repository.clone(),
        class: Class::Backfill,
        event: name(run),
        entities: Vec::new(),
    };
    let mut owed = 0_i64;
    for commit in &portion.commits {
        owed += i64::from(owe(c, &owing, commit, portion, now)?);
    }
    for (name, id, branch) in &portion.branches {
        let sql = "SELECT 1 FROM tip WHERE repo_id = ?1 AND ref = ?2 AND oid = ?3";
        let stands = c.prepare_cached(sql)?.exists(params![portion.repository, name.as_bytes(), id.to_string()])?;
        owed += i64::from(stands && owe(c, &owing, branch, portion, now)?);
    }
    if owed > 0 {
        outbox::wake(c, &owing.site, &owing.repository, owing.class, now)?;
    }
    let sql = "UPDATE run SET site_id = ?2, seen = seen + ?3, keyed = keyed + ?4, owed = owed + ?5, worked_ms = worked_ms + ?6,
               trail = iif(?7 = '', trail, ?7) WHERE run_id = ?1";
    let (seen, keyed) = (portion.seen.cast_signed(), portion.keyed.cast_signed());
    let row = params![run, portion.site, seen, keyed, owed, portion.worked_ms, portion.trail];
    c.prepare_cached(sql)?.execute(row)?;
    Ok(true)
}

pub fn end(c: &Connection, run: i64, failed: bool, errors: u64, note: Option<&str>, now: i64) -> Result<()> {
    let sql = "UPDATE run SET state = iif(?2, 'failed', 'done'), errors = errors + ?3, note = ?4, ended_at = ?5
               WHERE run_id = ?1 AND state = 'running'";
    c.prepare_cached(sql)?.execute(params![run, failed, errors.cast_signed(), note, now]).map(drop)
}

/// Lets a run wait for its next turn.
pub fn wait(c: &Connection, run: i64, until: i64, counts: bool, note: Option<&str>) -> Result<()> {
    let sql = "UPDATE run SET state = 'waiting', turn_at = ?2, errors = errors + ?3, note = ?4
               WHERE run_id = ?1 AND state = 'running'";
    c.prepare_cached(sql)?.execute(params![run, until, counts, note]).map(drop)
}

pub fn goes_on(c: &Connection, run: i64) -> Result<bool> {
    c.prepare_cached("SELECT 1 FROM run WHERE run_id = ?1 AND state = 'running'")?.exists([run])
}

pub fn past(c: &Connection, site: &str, now: i64) -> Result<Past> {
    // What waits for a key that Jira does not know may wait for days, and holds up nothing.
    let sql = "SELECT coalesce(sum(one.due), 0), coalesce(max(one.due), 0), min(one.oldest) FROM (
                 SELECT count(*) AS due, min(e.added_at) AS oldest FROM lane l JOIN entity e ON e.site_id = l.site_id
                   AND e.repo_id = l.repo_id AND e.class = l.class AND e.state = 'ready' AND e.unknown = 0
                 WHERE l.site_id = ?1 AND l.class = 2 AND l.ready_at IS NOT NULL GROUP BY l.repo_id) AS one";
    let open = format!("SELECT 1 FROM run WHERE state IN {OPEN} AND site_id IN ('', ?1) LIMIT 1");
    let grows = c.prepare_cached(&open)?.exists([site])?;
    let sql_waiting = "SELECT 1 FROM run WHERE state = 'waiting' AND turn_at <= ?1 LIMIT 1";
    let others_wait = c.prepare_cached(sql_waiting)?.exists([now])?;
    let count = |row: &Row<'_>, column| row.get::<_, i64>(column).map(|count| usize::try_from(count).unwrap_or(0));
    c.prepare_cached(sql)?.query_row([site], |row| {
        Ok(Past { due: count(row, 0)?, most: count(row, 1)?, oldest_at: row.get(2)?, grows, others_wait })
    })
}

pub fn control(c: &Connection, what: Control, repository: Option<&str>, now: i64) -> Result<usize> {
    let (state, from) = match what {
        Control::Pause => ("paused", "state IN ('waiting', 'running')"),
        Control::Resume => ("waiting", "state = 'paused'"),
        Control::Cancel => ("cancelled", "state IN ('waiting', 'running', 'paused')"),
    };
    let sql = format!(
        "UPDATE run SET state = ?1, turn_at = iif(?1 = 'waiting', ?3, turn_at), ended_at = iif(?1 = 'cancelled', ?3, NULL)
         WHERE {from} AND (?2 IS NULL OR repo_id = ?2)"
    );
    let changed = c.execute(&sql, params![state, repository, now])?;
    if what == Control::Cancel {
        // What is still to be sent of it is not sent; whoever asks again begins anew.
        let sql = "DELETE FROM entity WHERE class = 2 AND state = 'ready' AND (?1 IS NULL OR repo_id = ?1)
                   AND (site_id, repo_id) IN (SELECT site_id, repo_id FROM lane WHERE class = 2)";
        c.execute(sql, params![repository])?;
    }
    Ok(changed)
}

/// Ends every run of a repository that is to be forgotten.
pub fn end_all(c: &Connection, repository: &str, now: i64) -> Result<()> {
    let sql = "UPDATE run SET state = 'cancelled', ended_at = ?2 WHERE repo_id = ?1 AND ended_at IS NULL";
    c.execute(sql, params![repository, now]).map(drop)
}

pub fn list(c: &Connection) -> Result<Vec<RunRow>> {
    let sql = "SELECT n.run_id, n.repo_id, r.git_dir, n.site_id, n.state, n.by_itself, n.since, n.depth, n.issue, n.asked_at, n.began_at,
                 n.ended_at, n.worked_ms, n.total, n.seen, n.keyed, n.owed, n.errors, n.note,
                 (SELECT count(*) FROM entity e WHERE e.site_id = n.site_id AND e.repo_id = n.repo_id AND e.class = 2
                    AND e.state = 'ready'),
                 (SELECT count(*) FROM entity e WHERE e.site_id = n.site_id AND e.repo_id = n.repo_id AND e.state = 'parked')
               FROM run n JOIN repository r ON r.repo_id = n.repo_id
               WHERE n.ended_at IS NULL OR n.run_id = (SELECT max(run_id) FROM run WHERE repo_id = n.repo_id)
               ORDER BY n.ended_at IS NULL DESC, n.run_id DESC";
    c.prepare_cached(sql)?.query_map([], row)?.collect()
}

/// Deletes runs that ended before `before`, but for the last of each repository: its summary is kept.
pub fn prune(c: &Connection, before: i64) -> Result<usize> {
    let sql = "DELETE FROM run WHERE ended_at < ?1 AND run_id < (SELECT max(run_id) FROM run n WHERE n.repo_id = run.repo_id)";
    c.execute(sql, [before])
}

/// What the outbox calls a run, where it names the event that something came with.
fn name(run: i64) -> String {
    format!("history {run}")
}

/// Puts one entity into the outbox unless it is there already, to be sent, or to stay as it was told.
fn owe(c: &Connection, owing: &Owing, entity: &NewEntity, portion: &Portion, now: i64) -> Result<bool> {
    let sql = "SELECT state FROM entity WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4";
    let key = params![owing.site, owing.repository, entity.kind.as_str(), entity.id];
    let state: Option<String> = c.prepare_cached(sql)?.query_row(key, |row| row.get(0)).optional()?;
    match state.as_deref() {
        None => {}
        Some("settled") if portion.anew => {
            let sql =
                "UPDATE entity SET body_hash = '' WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4";
            c.prepare_cached(sql)?.execute(key)?;
        }
        Some("settled") if !portion.keeps => {}
        Some(_) => return Ok(false),
    }
    outbox::owe_one(c, owing, entity, now)
}

fn run(row: &Row<'_>) -> Result<Run> {
    let tips: Option<Vec<u8>> = row.get(7)?;
    let tips = tips.map(|bytes| match bytes.split_first() {
        Some((width, ids)) if *width > 0 => ids.chunks_exact(usize::from(*width)).filter_map(Oid::from_bytes).collect(),
        _ => Vec::new(),
    });
    Ok(Run {
        id: row.get(0)?,
        repository: row.get(1)?,
        git_dir: row.get(2)?,
        met: row.get(3)?,
        bounds: bounds(row, 4)?,
        tips,
        seen: row.get::<_, i64>(8)?.cast_unsigned(),
        trail: row.get(9)?,
        errors: row.get::<_, i64>(10)?.cast_unsigned(),
    })
}

fn bounds(row: &Row<'_>, first: usize) -> Result<Bounds> {
    let depth: Option<i64> = row.get(first + 1)?;
    Ok(Bounds { since: row.get(first)?, depth: depth.map(i64::cast_unsigned), issue: row.get(first + 2)? })
}

fn row(row: &Row<'_>) -> Result<RunRow> {
    let count = |column: usize| row.get::<_, i64>(column).map(i64::cast_unsigned);
    Ok(RunRow {
        id: row.get(0)?,
        repository: row.get(1)?,
        path: String::from_utf8_lossy(&row.get::<_, Vec<u8>>(2)?).into_owned(),
        site: row.get(3)?,
        state: row.get(4)?,
        by_itself: row.get(5)?,
        bounds: bounds(row, 6)?,
        asked_at: row.get(9)?,
        began_at: row.get(10)?,
        ended_at: row.get(11)?,
        worked_ms: row.get(12)?,
        total: row.get::<_, Option<i64>>(13)?.map(i64::cast_unsigned),
        read: count(14)?,
        keyed: count(15)?,
        owed: count(16)?,
        errors: count(17)?,
        note: row.get(18)?,
        due: count(19)?,
        parked: count(20)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{EntityKind, Leave, Queue};
    use super::*;

    const NOW: i64 = 1_000_000;

    fn queue() -> (Queue, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Queue::open(folder.path(), NOW).unwrap(), folder)
    }

    fn entity(kind: EntityKind, id: &str, hash: &str) -> NewEntity {
        NewEntity {
            gone: false,
            kind,
            id: id.to_owned(),
            keys: vec!["ABC-1".to_owned()],
            body: vec![1],
            hash: hash.to_owned(),
            only_if_told: false,
            leave: Leave::None,
        }
    }

    fn portion(commits: Vec<NewEntity>) -> Portion {
        Portion {
            site: "jira".to_owned(),
            repository: "r1".to_owned(),
            seen: 200,
            keyed: commits.len() as u64,
            commits,
            branches: Vec::new(),
            anew: false,
            keeps: false,
            trail: "aa".to_owned(),
            worked_ms: 1,
        }
    }

    fn wanted(repository: &str, by_itself: bool) -> Wanted {
        let git_dir = format!("/srv/{repository}.git").into_bytes();
        Wanted { repository: repository.to_owned(), git_dir, by_itself, bounds: Bounds::default() }
    }

    async fn begun(queue: &Queue) -> i64 {
        let id = queue.start_run(wanted("r1", false), NOW).await.unwrap().unwrap();
        assert_eq!(queue.next_runs(Vec::new(), 2, NOW).await.unwrap()[0].id, id);
        id
    }

    async fn only(queue: &Queue) -> RunRow {
        queue.runs().await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn h6_what_a_run_has_counted_is_owed_and_what_is_paused_counts_nothing() {
        let (queue, _folder) = queue();
        let id = begun(&queue).await;
        assert!(queue.begin_run(id, vec!["a".repeat(40).parse().unwrap()], 400, NOW).await.unwrap());
        let commits = || vec![entity(EntityKind::Commit, "c1", "h")];
        assert!(queue.advance(id, portion(commits()), NOW).await.unwrap());
        let row = only(&queue).await;
        assert_eq!((row.read, row.keyed, row.owed, row.due), (200, 1, 1, 1));
        let run = &queue.next_runs(Vec::new(), 2, NOW).await.unwrap()[0];
        assert_eq!((run.seen, run.trail.as_str(), run.tips.as_ref().unwrap().len()), (200, "aa", 1));
        assert!(queue.advance(id, portion(commits()), NOW).await.unwrap(), "the same again is read but not owed");
        assert_eq!(only(&queue).await.owed, 1);

        assert_eq!(queue.control_runs(Control::Pause, Some("r1".to_owned()), NOW).await.unwrap(), 1);
        let more = vec![entity(EntityKind::Commit, "c2", "h")];
        assert!(!queue.advance(id, portion(more), NOW).await.unwrap());
        assert_eq!((only(&queue).await.read, only(&queue).await.due), (400, 1));
        assert!(queue.next_runs(Vec::new(), 2, NOW).await.unwrap().is_empty());
        assert_eq!(queue.control_runs(Control::Resume, None, NOW).await.unwrap(), 1);
        assert_eq!(queue.next_runs(Vec::new(), 2, NOW).await.unwrap()[0].seen, 400);
        assert_eq!(queue.control_runs(Control::Cancel, None, NOW).await.unwrap(), 1);
        assert_eq!((only(&queue).await.state.as_str(), only(&queue).await.due), ("cancelled", 0));
    }

    #[tokio::test]
    async fn h1_a_repository_is_synchronised_by_itself_once_and_by_a_person_as_often_as_asked() {
        let (queue, _folder) = queue();
        let first = queue.start_run(wanted("r1", true), NOW).await.unwrap().unwrap();
        assert_eq!(queue.start_run(wanted("r1", true), NOW).await.unwrap(), None);
        assert_eq!(queue.start_run(wanted("r1", false), NOW).await.unwrap(), Some(first), "it has not begun yet");
        queue.next_runs(Vec::new(), 2, NOW).await.unwrap();
        queue.end_run(first, false, 0, None, NOW).await.unwrap();
        assert_eq!(queue.start_run(wanted("r1", true), NOW).await.unwrap(), None);
        assert!(queue.start_run(wanted("r1", false), NOW).await.unwrap().is_some_and(|id| id > first));
        // One repository has one turn at a time, and who has waited longest is next.
        queue.start_run(wanted("r2", true), NOW + 1).await.unwrap();
        let found = queue.next_runs(vec!["r1".to_owned()], 2, NOW + 1).await.unwrap();
        assert_eq!(found.iter().map(|run| run.repository.as_str()).collect::<Vec<_>>(), ["r2"]);
    }

    #[tokio::test]
    async fn h8_what_a_push_told_stays_and_goes_first() {
        let (queue, _folder) = queue();
        let id = begun(&queue).await;
        let owing = |class, id: &str, hash| Owing {
            site: "jira".to_owned(),
            repository: "r1".to_owned(),
            class,
            event: "e1".to_owned(),
            entities: vec![entity(EntityKind::Commit, id, hash)],
        };
        queue.owe(owing(Class::Live, "c1", "with the keys of its branch"), NOW).await.unwrap();
        assert!(queue.advance(id, portion(vec![entity(EntityKind::Commit, "c1", "h")]), NOW).await.unwrap());
        let row = &queue.entities(Default::default()).await.unwrap()[0];
        assert_eq!((row.class.as_str(), row.event.as_str()), ("live", "e1"));
        // A branch that moved since is told by the event that moved it.
        let name = RefName::new("refs/heads/ABC-1");
        let (old, new): (Oid, Oid) = ("a".repeat(40).parse().unwrap(), "b".repeat(40).parse().unwrap());
        queue.baseline("r1".to_owned(), vec![(name.clone(), new)], NOW).await.unwrap();
        for (at, owed) in [(old, 0), (new, 1)] {
            let branches = vec![(name.clone(), at, entity(EntityKind::Branch, "ABC-1", "h"))];
            queue.advance(id, Portion { branches, ..portion(Vec::new()) }, NOW).await.unwrap();
            assert_eq!(only(&queue).await.owed, owed);
        }
    }

    #[tokio::test]
    async fn f63_history_leaves_in_whole_requests_as_long_as_more_of_it_comes() {
        let (queue, _folder) = queue();
        let id = begun(&queue).await;
        let commits = |from: usize, to| {
            (from..to).map(|number| entity(EntityKind::Commit, &format!("c{number}"), "h")).collect::<Vec<_>>()
        };
        let ripe = async |now| queue.past("jira".to_owned(), now).await.unwrap().is_ripe(now, 10_000);
        queue.advance(id, portion(commits(0, 399)), NOW).await.unwrap();
        assert!(!ripe(NOW).await);
        assert!(ripe(NOW + 10_000).await, "nothing is kept for long");
        queue.advance(id, portion(commits(399, 400)), NOW).await.unwrap();
        assert!(ripe(NOW).await);
        queue.advance(id, portion(commits(0, 1)), NOW).await.unwrap();
        queue.end_run(id, false, 0, None, NOW).await.unwrap();
        assert!(ripe(NOW).await, "nothing more will come");
    }
}
