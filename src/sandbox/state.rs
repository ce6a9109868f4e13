//! What the sandbox remembers: issues, people, projects, and repositories with their entities.
//!
//! Accepting and storing are two steps, as in Jira: a change is [planned](State::plan) for a time and
//! [takes place](State::settle) once that time has come. Stored data is replaced only by a strictly greater sequence
//! number. A deletion that names a number is remembered, so that a late, older submission brings nothing back.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Error;
use super::issues::Issue;
use super::people::Person;
use super::site::{Limits, Project};
use super::smart::{Read, Trigger};
use super::timetracking::TimeTracking;

/// Entities a read of one repository gives at most.
const SHOWN: usize = 400;

/// Everything that outlives a restart.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    pub(super) issues: BTreeMap<String, Issue>,
    /// The keys that issues had before they moved, and the ids of those issues.
    pub(super) moved: BTreeMap<String, u64>,
    pub(super) projects: BTreeMap<String, Project>,
    pub(super) people: BTreeMap<String, Person>,
    pub(super) time: TimeTracking,
    pub(super) limits: Limits,
    pub(super) repositories: BTreeMap<String, Repository>,
    /// What Jira's own Smart Commit engine did or could not do, oldest first.
    pub(super) triggers: Vec<Trigger>,
    /// Up to which number each thing was deleted: a repository's id, or `repository/kind/entity`.
    removed: BTreeMap<String, i64>,
    pending: VecDeque<Pending>,
    /// The number of the latest person, comment, worklog, change or link.
    last_id: u64,
}

/// A repository's own fields and the entities held for it.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Repository {
    #[serde(rename = "updateSequenceId")]
    pub(super) sequence: i64,
    pub(super) facts: Map<String, Value>,
    pub(super) properties: BTreeMap<String, String>,
    pub(super) commits: BTreeMap<String, Entity>,
    pub(super) branches: BTreeMap<String, Entity>,
    #[serde(rename = "pullRequests")]
    pub(super) pull_requests: BTreeMap<String, Entity>,
}

/// A commit, branch or pull request as it was sent, and the known issues it belongs to.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Entity {
    #[serde(rename = "updateSequenceId")]
    pub(super) sequence: i64,
    pub(super) keys: Vec<String>,
    pub(super) at: Timestamp,
    pub(super) data: Value,
}

/// What happened for one issue.
#[derive(Clone, Copy, Default)]
pub(super) struct Activity {
    /// Commits, branches, pull requests, in the order of [`Kind::ALL`].
    pub(super) counts: [usize; 3],
    pub(super) latest: Option<Timestamp>,
}

/// The three kinds of entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Commit,
    Branch,
    PullRequest,
}

/// A change that was accepted.
#[derive(Serialize, Deserialize)]
pub(super) enum Change {
    Store(Submission),
    RemoveRepository { id: String, upto: Option<i64> },
    RemoveEntity { repository: String, kind: Kind, id: String, upto: Option<i64> },
    RemoveMatching { properties: BTreeMap<String, String> },
}

/// The well-formed part of one bulk request.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Submission {
    pub(super) properties: BTreeMap<String, String>,
    /// Whether Jira may act on what it reads: `preventTransitions` turned round.
    pub(super) fires: bool,
    pub(super) repositories: Vec<Incoming>,
}

/// One repository of a submission.
#[derive(Serialize, Deserialize)]
pub(super) struct Incoming {
    pub(super) id: String,
    pub(super) sequence: i64,
    pub(super) facts: Map<String, Value>,
    pub(super) entities: Vec<(Kind, String, Entity)>,
}

#[derive(Serialize, Deserialize)]
struct Pending {
    due: Timestamp,
    change: Change,
}

impl Kind {
    pub(super) const ALL: [Kind; 3] = [Kind::Commit, Kind::Branch, Kind::PullRequest];

    /// The word in a deletion's address.
    pub(super) fn singular(self) -> &'static str {
        match self {
            Kind::Commit => "commit",
            Kind::Branch => "branch",
            Kind::PullRequest => "pull_request",
        }
    }

    /// The field of a repository that lists this kind.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Kind::Commit => "commits",
            Kind::Branch => "branches",
            Kind::PullRequest => "pullRequests",
        }
    }
}

impl Repository {
    /// A repository nobody has described yet: any number a sender would use is greater.
    fn unheard() -> Repository {
        Repository { sequence: i64::MIN, ..Repository::default() }
    }

    pub(super) fn of(&self, kind: Kind) -> &BTreeMap<String, Entity> {
        match kind {
            Kind::Commit => &self.commits,
            Kind::Branch => &self.branches,
            Kind::PullRequest => &self.pull_requests,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut BTreeMap<String, Entity> {
        match kind {
            Kind::Commit => &mut self.commits,
            Kind::Branch => &mut self.branches,
            Kind::PullRequest => &mut self.pull_requests,
        }
    }

    fn is_empty(&self) -> bool {
        Kind::ALL.iter().all(|kind| self.of(*kind).is_empty())
    }

    fn has(&self, properties: &BTreeMap<String, String>) -> bool {
        properties.iter().all(|(key, value)| self.properties.get(key) == Some(value))
    }

    /// Writes the repository as the API gives it back: its own fields and its newest entities.
    pub(super) fn answer(&self) -> Value {
        let mut newest: Vec<(Kind, &Entity)> =
            Kind::ALL.into_iter().flat_map(|kind| self.of(kind).values().map(move |entity| (kind, entity))).collect();
        newest.sort_by_key(|(_, entity)| std::cmp::Reverse(entity.sequence));
        newest.truncate(SHOWN);
        let mut answer = self.facts.clone();
        for kind in Kind::ALL {
            let of_kind = newest.iter().filter(|(other, _)| *other == kind);
            answer.insert(kind.plural().into(), of_kind.map(|(_, entity)| entity.data.clone()).collect());
        }
        Value::Object(answer)
    }
}

impl State {
    /// Reads the state a former run left behind, if there was one.
    pub(super) fn open(store: Option<&Path>) -> Result<State, Error> {
        let mut state: State = match store {
            Some(path) if path.exists() => {
                let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
                serde_json::from_slice(&bytes).map_err(|source| Error::Damaged { path: path.into(), source })?
            }
            _ => State::default(),
        };
        // A state of before there were projects has issues alone.
        let keys: Vec<(String, String)> =
            state.issues.iter().map(|(key, issue)| (key.clone(), issue.status.clone())).collect();
        for (key, status) in keys {
            state.project_mut(super::issues::project_of(&key)).workflow.know(&status);
        }
        Ok(state)
    }

    /// Gives an id that nothing else has or had.
    pub(super) fn take_id(&mut self) -> u64 {
        self.last_id = self.last_id.max(10_000) + 1;
        self.last_id
    }

    /// Lets what is held for an issue follow it to another key.
    pub(super) fn rename_key(&mut self, from: &str, to: &str) {
        for repository in self.repositories.values_mut() {
            for kind in Kind::ALL {
                let keys = repository.of_mut(kind).values_mut().flat_map(|entity| entity.keys.iter_mut());
                keys.filter(|key| *key == from).for_each(|key| to.clone_into(key));
            }
        }
        self.triggers
            .iter_mut()
            .filter(|trigger| trigger.key == from)
            .for_each(|trigger| to.clone_into(&mut trigger.key));
    }

    /// Resolves a key in any case, or an id, to the key of an issue that exists.
    pub(super) fn known(&self, reference: &str) -> Option<String> {
        let key = reference.to_uppercase();
        let by_id = || reference.parse().ok().and_then(|id: u64| self.issues.iter().find(|(_, issue)| issue.id == id));
        self.issues.get_key_value(&key).or_else(by_id).map(|(key, _)| key.clone())
    }

    /// Accepts a change, to take place when its time has come.
    pub(super) fn plan(&mut self, change: Change, due: Timestamp) {
        self.pending.push_back(Pending { due, change });
    }

    /// Lets every change take place that is due, and says whether there was one.
    pub(super) fn settle(&mut self, now: Timestamp) -> bool {
        let before = self.pending.len();
        while let Some(Pending { change, due }) = self.pending.pop_front_if(|pending| pending.due <= now) {
            self.apply(change, due);
        }
        before > self.pending.len()
    }

    /// Whether a repository bears all of these properties, its number not greater than `upto`.
    pub(super) fn exists(&self, properties: &BTreeMap<String, String>, upto: Option<i64>) -> bool {
        let upto = upto.unwrap_or(i64::MAX);
        self.repositories.values().any(|repository| repository.sequence <= upto && repository.has(properties))
    }

    /// Whatever is held for an issue, newest first: the repository, and the entity.
    pub(super) fn held_for(&self, key: &str, kind: Kind) -> Vec<(&Repository, &Entity)> {
        let mut held: Vec<_> = self
            .repositories
            .values()
            .flat_map(|repository| repository.of(kind).values().map(move |entity| (repository, entity)))
            .filter(|(_, entity)| entity.keys.iter().any(|held| held == key))
            .collect();
        held.sort_by(|(_, a), (_, b)| b.moment().cmp(&a.moment()).then(b.sequence.cmp(&a.sequence)));
        held
    }

    /// Sums up, for every issue that has something, how much there is of each kind and when the latest happened.
    pub(super) fn activity(&self) -> HashMap<&str, Activity> {
        let mut activity: HashMap<&str, Activity> = HashMap::new();
        for repository in self.repositories.values() {
            for kind in Kind::ALL {
                for entity in repository.of(kind).values() {
                    let moment = entity.moment();
                    for key in &entity.keys {
                        let sum = activity.entry(key).or_default();
                        sum.counts[kind as usize] += 1;
                        sum.latest = sum.latest.max(Some(moment));
                    }
                }
            }
        }
        activity
    }

    fn apply(&mut self, change: Change, at: Timestamp) {
        match change {
            Change::Store(submission) => self.store(submission, at),
            Change::RemoveRepository { id, upto } => self.remove_repository(&id, upto),
            Change::RemoveEntity { repository, kind, id, upto } => self.remove_entity(&repository, kind, &id, upto),
            Change::RemoveMatching { properties } => self.repositories.retain(|_, held| !held.has(&properties)),
        }
    }

    fn store(&mut self, submission: Submission, at: Timestamp) {
        let mut read = Vec::new();
        for incoming in submission.repositories {
            let floor = self.removed.get(&incoming.id).copied().unwrap_or(i64::MIN);
            let held = match self.repositories.get_mut(&incoming.id) {
                Some(held) => held,
                None if incoming.sequence <= floor => continue,
                None => self.repositories.entry(incoming.id.clone()).or_insert_with(Repository::unheard),
            };
            if incoming.sequence > held.sequence.max(floor) {
                held.sequence = incoming.sequence;
                held.facts = incoming.facts;
                held.properties = submission.properties.clone();
            }
            for (kind, id, entity) in incoming.entities {
                let removed = self.removed.get(&place(&incoming.id, kind, &id)).copied().unwrap_or(i64::MIN);
                let stored = held.of(kind).get(&id).map(|entity| entity.sequence);
                if entity.sequence <= stored.unwrap_or(i64::MIN).max(removed).max(floor) {
                    continue;
                }
                // A commit Jira already holds starts nothing, however often it comes again.
                if submission.fires && kind == Kind::Commit && stored.is_none() {
                    read.push(Read { repository: incoming.id.clone(), id: id.clone(), data: entity.data.clone() });
                }
                held.of_mut(kind).insert(id, entity);
            }
        }
        read.iter().for_each(|commit| self.carry_out(commit, at));
    }

    fn remove_repository(&mut self, id: &str, upto: Option<i64>) {
        self.remember(id.to_owned(), upto);
        let Some(held) = self.repositories.get_mut(id) else {
            return;
        };
        let upto = upto.unwrap_or(i64::MAX);
        for kind in Kind::ALL {
            held.of_mut(kind).retain(|_, entity| entity.sequence > upto);
        }
        if held.is_empty() && held.sequence <= upto {
            self.repositories.remove(id);
        }
    }

    fn remove_entity(&mut self, repository: &str, kind: Kind, id: &str, upto: Option<i64>) {
        self.remember(place(repository, kind, id), upto);
        if let Some(held) = self.repositories.get_mut(repository) {
            held.of_mut(kind).retain(|other, entity| other != id || entity.sequence > upto.unwrap_or(i64::MAX));
        }
    }

    /// Drops entities with these ids and remembers nothing of them; gives how many there were.
    pub(super) fn lose(&mut self, ids: &[String]) -> usize {
        let mut lost = 0;
        for repository in self.repositories.values_mut() {
            for kind in Kind::ALL {
                let before = repository.of(kind).len();
                repository.of_mut(kind).retain(|id, _| !ids.contains(id));
                lost += before - repository.of(kind).len();
            }
        }
        lost
    }

    fn remember(&mut self, place: String, upto: Option<i64>) {
        if let Some(upto) = upto {
            let floor = self.removed.entry(place).or_insert(upto);
            *floor = upto.max(*floor);
        }
    }

    /// Gives the whole state for tests to read.
    pub(super) fn view(&self) -> Value {
        let issues = self.issues.iter().map(
            |(key, issue)| json!({ "key": key, "id": issue.id, "summary": issue.summary, "status": issue.status }),
        );
        json!({
            "issues": issues.collect::<Vec<_>>(),
            "repositories": self.repositories,
            "triggers": self.triggers,
            "removed": self.removed,
            "pending": self.pending.len(),
        })
    }
}

/// Writes the state to its file, whole or not at all.
pub(super) fn save(bytes: &[u8], path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        std::io::Write::write_all(&mut file, bytes)?;
        file.persist(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(|source| Error::Write { path: path.into(), source })
}

impl Entity {
    /// When the thing happened as far as the sender said, else when it came.
    pub(super) fn moment(&self) -> Timestamp {
        let said = ["authorTimestamp", "lastUpdate"].iter().find_map(|field| self.data[field].as_str());
        let said = said.or_else(|| self.data["lastCommit"]["authorTimestamp"].as_str());
        said.and_then(|text| text.parse().ok()).unwrap_or(self.at)
    }
}

fn place(repository: &str, kind: Kind, id: &str) -> String {
    // Neither id can hold a slash.
    format!("{repository}/{}/{id}", kind.singular())
}
