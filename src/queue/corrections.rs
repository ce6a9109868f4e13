//! Links that a person has put right, without rewriting history.
//!
//! A correction belongs to one commit or branch of one repository and stays until it is taken back: whoever makes an
//! entity asks [`Corrections`] what it is linked to. An event may be under way that was read before a correction was
//! made, so the outbox also refuses what does not agree with one ([`contradicts`]). A correction only links: orders are
//! read from the message alone, and stay as they are.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use serde::{Deserialize, Serialize};

use super::outbox::{self, Class, EntityKind, NewEntity, Owing, next_sequence, wake};
use crate::git::Oid;
use crate::parse::IssueKey;

/// What one commit or branch is linked to, other than its own text says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Correction {
    added: Vec<IssueKey>,
    removed: Vec<IssueKey>,
    /// Whether only what is added links it.
    alone: bool,
    /// What linked it before anything was put right: also the keys that it took from elsewhere.
    own: Vec<IssueKey>,
}

/// What a person wants of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relink {
    /// These and no others; none where there are none.
    Only(Vec<IssueKey>),
    /// These as well.
    Also(Vec<IssueKey>),
    /// Not these.
    Without(Vec<IssueKey>),
    /// As its own text says.
    Reset,
}

/// All corrections of one repository.
#[derive(Clone, Debug, Default)]
pub struct Corrections {
    commits: HashMap<Oid, Correction>,
    branches: HashMap<String, Correction>,
}

/// A correction on its way into the store, with what a site is told because of it.
pub struct Correcting {
    pub site: String,
    pub repository: String,
    pub kind: EntityKind,
    pub id: String,
    /// `None`: it is taken back.
    pub correction: Option<Correction>,
    pub who: String,
    /// The entity as it is linked now, or its end; nothing where the site knows nothing of it and is not to.
    pub entity: Option<NewEntity>,
}

/// What the outbox keeps of an entity; no keys and no body where only that it was told is known.
#[derive(Clone, Debug)]
pub struct Kept {
    pub keys: Vec<IssueKey>,
    pub gone: bool,
    pub body: Vec<u8>,
}

/// A correction as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorrectionRow {
    pub repository: String,
    pub path: String,
    /// `commit` or `branch`.
    pub kind: String,
    pub id: String,
    pub added: Vec<String>,
    pub removed: Vec<String>,
    /// Whether only what is added links it.
    pub alone: bool,
    pub who: String,
    pub at: i64,
}

impl Correction {
    /// What something is linked to whose own text, and what else counts for it, names these keys.
    pub fn of(&self, keys: Vec<IssueKey>) -> Vec<IssueKey> {
        let stays = |key: &IssueKey| self.added.contains(key) || !(self.alone || self.removed.contains(key));
        let mut keys: Vec<IssueKey> = keys.into_iter().filter(stays).collect();
        keys.extend(self.added.iter().filter(|key| !keys.contains(key)).cloned().collect::<Vec<_>>());
        keys
    }

    /// The correction after another wish; nothing when there is none left.
    pub fn changed(mut self, wish: &Relink) -> Option<Correction> {
        match wish {
            Relink::Reset => return None,
            Relink::Only(keys) => {
                self = Correction { added: keys.clone(), removed: Vec::new(), alone: true, ..self };
            }
            Relink::Also(keys) => {
                self.removed.retain(|key| !keys.contains(key));
                self.added.extend(keys.iter().filter(|key| !self.added.contains(key)).cloned().collect::<Vec<_>>());
            }
            Relink::Without(keys) => {
                self.added.retain(|key| !keys.contains(key));
                self.removed.extend(keys.iter().filter(|key| !self.removed.contains(key)).cloned().collect::<Vec<_>>());
            }
        }
        let says = self.alone || !self.added.is_empty() || !self.removed.is_empty();
        says.then_some(self)
    }

    /// The same with what linked it before.
    pub fn with_own(self, own: Vec<IssueKey>) -> Correction {
        Correction { own, ..self }
    }

    /// What linked it before anything was put right.
    pub fn own(&self) -> &[IssueKey] {
        &self.own
    }
}

impl Corrections {
    /// What a commit is linked to.
    pub fn commit(&self, id: Oid, keys: Vec<IssueKey>) -> Vec<IssueKey> {
        match self.commits.get(&id) {
            Some(correction) => correction.of(keys),
            None => keys,
        }
    }

    /// What a branch with this id is linked to.
    pub fn branch(&self, id: &str, keys: Vec<IssueKey>) -> Vec<IssueKey> {
        match self.branches.get(id) {
            Some(correction) => correction.of(keys),
            None => keys,
        }
    }

    /// The correction of one commit or branch.
    pub fn get(&self, kind: EntityKind, id: &str) -> Option<&Correction> {
        match kind {
            EntityKind::Branch => self.branches.get(id),
            _ => self.commits.get(&Oid::from_hex(id.as_bytes())?),
        }
    }
}

impl CorrectionRow {
    /// What it says, for people.
    pub fn shown(&self) -> String {
        let list = |keys: &[String]| keys.join(", ");
        let text = if self.kind == "branch" { "its name" } else { "its message" };
        match (self.alone, &self.added[..], &self.removed[..]) {
            (true, [], _) => format!("linked to nothing, whatever {text} says"),
            (true, added, _) => format!("linked to {} alone, whatever {text} says", list(added)),
            (false, added, []) => format!("linked to {} besides what {text} says", list(added)),
            (false, [], removed) => format!("not linked to {}", list(removed)),
            (false, added, removed) => format!("linked to {} and not to {}", list(added), list(removed)),
        }
    }
}

pub fn of(c: &Connection, repository: &str) -> Result<Corrections> {
    let sql = "SELECT added, removed, alone, own, kind, entity_id FROM correction WHERE repo_id = ?1";
    let mut statement = c.prepare_cached(sql)?;
    let mut rows = statement.query([repository])?;
    let mut all = Corrections::default();
    while let Some(row) = rows.next()? {
        let (correction, kind, id) = (correction(row)?, row.get::<_, String>(4)?, row.get::<_, String>(5)?);
        match Oid::from_hex(id.as_bytes()) {
            Some(oid) if kind == "commit" => drop(all.commits.insert(oid, correction)),
            _ => drop(all.branches.insert(id, correction)),
        }
    }
    Ok(all)
}

/// Writes a correction down, or takes it back, and owes the site what follows from it; says whether that is anything.
pub fn correct(c: &Connection, correcting: &Correcting, now: i64) -> Result<bool> {
    let Correcting { site, repository, kind, id, correction, who, entity } = correcting;
    let place = params![repository, kind.as_str(), id];
    c.execute("DELETE FROM correction WHERE repo_id = ?1 AND kind = ?2 AND entity_id = ?3", place)?;
    if let Some(Correction { added, removed, alone, own }) = correction {
        let sql = "INSERT INTO correction (repo_id, kind, entity_id, added, removed, alone, own, who, at)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let [added, removed, own] = [added, removed, own].map(|keys| text(keys));
        c.execute(sql, params![repository, kind.as_str(), id, added, removed, alone, own, who, now])?;
    }
    let Some(entity) = entity else { return Ok(false) };
    // What has not left yet is put right in its place, with the leave it has, under a new number: what was lent as it
    // was may be on its way.
    let sql =
        "UPDATE entity SET issue_keys = ?5, body = ?6, body_hash = ?7, sequence = ?8, ready_at = ?9, attempts = 0,
                 unknown = 0, note = NULL
               WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4 AND state = 'ready' AND gone = 0
                 AND body_hash <> ?7 RETURNING class";
    let keys = format!(" {} ", entity.keys.join(" "));
    if !entity.gone {
        let sequence = next_sequence(c, now)?;
        let values = params![site, repository, kind.as_str(), id, keys, entity.body, entity.hash, sequence, now];
        let class: Option<i64> = c.query_row(sql, values, |row| row.get(0)).optional()?;
        if let Some(class) = class {
            wake(c, site, repository, if class == 0 { Class::Live } else { Class::Backfill }, now)?;
            return Ok(true);
        }
    }
    // It came with the event that it came with.
    let sql = "SELECT event_id FROM entity WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4";
    let event = c.query_row(sql, params![site, repository, kind.as_str(), id], |row| row.get(0)).optional()?;
    let owing = Owing {
        site: site.clone(),
        repository: repository.clone(),
        class: Class::Backfill,
        event: event.unwrap_or_default(),
        entities: Vec::new(),
    };
    let changed = outbox::owe_one(c, &owing, entity, now)?;
    if changed {
        wake(c, site, repository, Class::Backfill, now)?;
    }
    Ok(changed)
}

/// Whether an entity is linked otherwise than a person has said meanwhile.
pub fn contradicts(c: &Connection, repository: &str, entity: &NewEntity) -> Result<bool> {
    let sql = "SELECT added, removed, alone, own FROM correction WHERE repo_id = ?1 AND kind = ?2 AND entity_id = ?3";
    let found = c.prepare_cached(sql)?.query_row(params![repository, entity.kind.as_str(), entity.id], correction);
    let Some(correction) = found.optional()?.filter(|_| !entity.gone) else { return Ok(false) };
    let keys: Vec<IssueKey> = entity.keys.iter().filter_map(|key| key.parse().ok()).collect();
    Ok(correction.of(keys.clone()) != keys)
}

/// What the outbox has of an entity.
pub fn kept(c: &Connection, (site, repository, kind): (&str, &str, EntityKind), id: &str) -> Result<Option<Kept>> {
    let sql = "SELECT issue_keys, gone, body FROM entity
               WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4 AND body_hash <> ''
               UNION ALL
               SELECT '', gone, x'' FROM told WHERE site_id = ?1 AND repo_id = ?2 AND kind = ?3 AND entity_id = ?4";
    let row = |row: &Row<'_>| Ok(Kept { keys: keys(row, 0)?, gone: row.get(1)?, body: row.get(2)? });
    c.prepare_cached(sql)?.query_row(params![site, repository, kind.as_str(), id], row).optional()
}

/// The ids of commits of a repository that begin like this, as far as any site was owed them.
pub fn commits_like(c: &Connection, repository: &str, beginning: &str) -> Result<Vec<String>> {
    let sql = "SELECT entity_id FROM entity WHERE repo_id = ?1 AND kind = 'commit' AND entity_id >= ?2 AND entity_id < ?3
               UNION SELECT entity_id FROM told WHERE repo_id = ?1 AND kind = 'commit' AND entity_id >= ?2 AND entity_id < ?3
               UNION SELECT entity_id FROM correction WHERE repo_id = ?1 AND kind = 'commit' AND entity_id >= ?2
                 AND entity_id < ?3";
    let values = params![repository, beginning, format!("{beginning}\u{10ffff}")];
    c.prepare_cached(sql)?.query_map(values, |row| row.get(0))?.collect()
}

/// The corrections of a repository, or of all that are not forgotten; the latest first.
pub fn list(c: &Connection, repository: Option<&str>) -> Result<Vec<CorrectionRow>> {
    let sql = format!(
        "{SHOWN} WHERE (?1 IS NULL AND r.forgotten_at IS NULL OR n.repo_id = ?1) ORDER BY n.at DESC, n.repo_id, n.entity_id"
    );
    c.prepare_cached(&sql)?.query_map([repository], shown)?.collect()
}

/// The corrections of what has this id or begins with it, or that speak of this issue.
pub fn about(c: &Connection, what: &str) -> Result<Vec<CorrectionRow>> {
    let sql = format!(
        "{SHOWN} WHERE (n.kind = 'commit' AND n.entity_id >= ?1 AND n.entity_id < ?2) OR (n.kind = 'branch' AND n.entity_id = ?3)
           OR instr(n.added, ?4) > 0 OR instr(n.removed, ?4) > 0 ORDER BY n.at LIMIT 100"
    );
    let lower = what.to_lowercase();
    let values = params![lower, format!("{lower}\u{10ffff}"), what, format!(" {} ", what.to_uppercase())];
    c.prepare_cached(&sql)?.query_map(values, shown)?.collect()
}

const SHOWN: &str =
    "SELECT n.added, n.removed, n.alone, n.own, n.repo_id, coalesce(r.git_dir, x''), n.kind, n.entity_id, n.who, n.at
                     FROM correction n LEFT JOIN repository r ON r.repo_id = n.repo_id";

fn shown(row: &Row<'_>) -> Result<CorrectionRow> {
    let Correction { added, removed, alone, .. } = correction(row)?;
    let texts = |keys: Vec<IssueKey>| keys.into_iter().map(String::from).collect();
    Ok(CorrectionRow {
        repository: row.get(4)?,
        path: String::from_utf8_lossy(&row.get::<_, Vec<u8>>(5)?).into_owned(),
        kind: row.get(6)?,
        id: row.get(7)?,
        added: texts(added),
        removed: texts(removed),
        alone,
        who: row.get(8)?,
        at: row.get(9)?,
    })
}

fn correction(row: &Row<'_>) -> Result<Correction> {
    Ok(Correction { added: keys(row, 0)?, removed: keys(row, 1)?, alone: row.get(2)?, own: keys(row, 3)? })
}

fn keys(row: &Row<'_>, column: usize) -> Result<Vec<IssueKey>> {
    let text: String = row.get(column)?;
    Ok(text.split_whitespace().filter_map(|key| key.parse().ok()).collect())
}

fn text(keys: &[IssueKey]) -> String {
    let joined: Vec<&str> = keys.iter().map(IssueKey::as_str).collect();
    format!(" {} ", joined.join(" "))
}

#[cfg(test)]
mod tests {
    use super::super::{Leave, Queue};
    use super::*;

    fn keys(text: &str) -> Vec<IssueKey> {
        text.split_whitespace().map(|key| key.parse().unwrap()).collect()
    }

    /// What text that names ABC-1 and ABC-2 is linked to after these wishes.
    #[track_caller]
    fn check(wishes: &[Relink], expected: &str) {
        let mut correction = Correction::default();
        for wish in wishes {
            correction = correction.changed(wish).unwrap_or_default();
        }
        let linked = correction.of(keys("ABC-1 ABC-2"));
        assert_eq!(linked, keys(expected), "{wishes:?}");
        assert_eq!(correction.of(linked.clone()), linked, "what agrees is left alone");
    }

    #[test]
    fn e17_wishes_come_one_after_the_other() {
        let only = |text| Relink::Only(keys(text));
        let (also, without) = (|text| Relink::Also(keys(text)), |text| Relink::Without(keys(text)));
        check(&[], "ABC-1 ABC-2");
        check(&[only("ABC-3")], "ABC-3");
        check(&[only("")], "");
        check(&[also("ABC-3")], "ABC-1 ABC-2 ABC-3");
        check(&[without("ABC-1")], "ABC-2");
        check(&[without("ABC-1"), also("ABC-1")], "ABC-1 ABC-2");
        check(&[also("ABC-3"), without("ABC-3 ABC-2")], "ABC-1");
        check(&[only(""), also("ABC-2")], "ABC-2");
        check(&[only("ABC-3 ABC-1"), without("ABC-3")], "ABC-1");
        check(&[only("ABC-3"), Relink::Reset], "ABC-1 ABC-2");
    }

    fn entity(id: &str, keys: &str) -> NewEntity {
        NewEntity {
            kind: EntityKind::Commit,
            id: id.to_owned(),
            keys: keys.split_whitespace().map(str::to_owned).collect(),
            body: vec![1],
            hash: keys.to_owned(),
            only_if_told: false,
            gone: false,
            leave: Leave::None,
        }
    }

    #[tokio::test]
    async fn e17_what_was_read_before_a_link_was_put_right_does_not_undo_it() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::open(folder.path(), 1).unwrap();
        let id = "a".repeat(40);
        let owe = async |keys: &str, at: i64| {
            let (site, repository, event) = ("jira".to_owned(), "r1".to_owned(), String::new());
            let entities = vec![entity(&id, keys)];
            queue.owe(Owing { site, repository, class: Class::Live, event, entities }, at).await.unwrap()
        };
        let correct = async |wish: Relink, keys: &str, at: i64| {
            let correcting = Correcting {
                site: "jira".to_owned(),
                repository: "r1".to_owned(),
                kind: EntityKind::Commit,
                id: id.clone(),
                correction: Correction::default().changed(&wish),
                who: "root".to_owned(),
                entity: Some(entity(&id, keys)),
            };
            queue.correct(correcting, at).await.unwrap()
        };
        let kept = async || {
            let kept = queue.kept("jira".to_owned(), "r1".to_owned(), EntityKind::Commit, id.clone()).await;
            kept.unwrap().unwrap().keys
        };
        assert_eq!(owe("ABC-1", 1).await, 1);
        let lent =
            queue.claim("jira".to_owned(), Class::Live, "me".to_owned(), Default::default(), 1, 9).await.unwrap();
        // What is under way as it was does not count as told.
        assert!(correct(Relink::Only(keys("ABC-2")), "ABC-2", 2).await);
        assert_eq!(kept().await, keys("ABC-2"));
        let next = super::super::Next::Done { dropped: 0, note: None };
        let settled = lent.owed.iter().map(|owed| super::super::Settled {
            repository: owed.repository.clone(),
            kind: owed.kind,
            id: owed.id.clone(),
            sequence: owed.sequence,
            next: next.clone(),
            unused: false,
        });
        assert_eq!(queue.settle(lent.lease.clone(), settled.collect(), 3).await.unwrap(), 0);
        assert_eq!((owe("ABC-1", 4).await, kept().await), (0, keys("ABC-2")));
        assert_eq!((owe("ABC-1 ABC-2", 5).await, kept().await), (0, keys("ABC-2")));
        assert!(correct(Relink::Reset, "ABC-1", 6).await);
        assert_eq!((owe("ABC-1 ABC-3", 7).await, kept().await), (1, keys("ABC-1 ABC-3")));
    }
}
