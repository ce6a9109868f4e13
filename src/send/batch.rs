//! Packs what is owed into requests that keep within Jira's limits.
//!
//! Nothing is dropped on the way: every entity is in exactly one request, or among those that cannot be sent, with the
//! reason. Texts are cut to what Jira keeps. An entity that is too large all by itself loses its list of files, then
//! most of its message, and is sent.
//!
//! One switch of a request (`preventTransitions`) keeps Jira from carrying out orders in messages and from setting off
//! workflow triggers. It is open only where nothing in the request could be obeyed without leave, which is read off what
//! is in it at the moment it is written. So a commit with orders and without leave has a request apart from the others;
//! these must not lose their triggers by its company.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::entity::{Body, Face, Told};
use crate::event::Seen;
use crate::git::{self, Change};
use crate::queue::{EntityKind, Owed};
use crate::text::{Untrusted, cut};

use super::wording;

/// What a request says about all that is in it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    pub operation_type: Operation,
    pub properties: Properties,
    pub provider_metadata: Provider,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    Normal,
    Backfill,
}

/// By what all that an installation ever told can be found and deleted again.
///
/// A request carries many repositories, so a repository is no property of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Properties {
    pub agent_instance: String,
    pub agent_site: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Provider {
    pub product: &'static str,
}

/// What is sent in one piece.
#[derive(Clone, Debug)]
pub enum Request<'a> {
    Bulk(Vec<Item<'a>>),
    /// Jira is to forget a branch, a commit, or a repository with all that is in it.
    Delete(&'a Owed),
}

/// One entity in the form that travels.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    pub owed: &'a Owed,
    face: Face,
    entity: Entity,
    /// Whether Jira may do with it whatever it does by itself.
    free: bool,
}

#[derive(Debug, Default)]
pub struct Packed<'a> {
    pub requests: Vec<Request<'a>>,
    /// What cannot be sent, and why.
    pub unfit: Vec<(&'a Owed, String)>,
}

/// The most bytes of a request. Jira does not say what it takes.
pub const MOST_BYTES: usize = 2 << 20;

/// Packs into as few requests as come of filling one after the other; `obeyed` where Jira carries out orders at all.
pub fn pack(owed: &[Owed], most_bytes: usize, obeyed: bool) -> Packed<'_> {
    let mut packed = Packed::default();
    let mut told = Vec::with_capacity(owed.len());
    for owed in owed {
        if let Some(id) = [&owed.repository, &owed.id].into_iter().find(|id| !is_id(id)) {
            packed.unfit.push((owed, format!("Jira takes no such id: {}", Untrusted::text(cut(id, 60)))));
            continue;
        }
        match Told::decode(&owed.body) {
            Ok(Told { body: Body::Gone, .. }) => packed.requests.push(Request::Delete(owed)),
            Ok(found) => told.push((owed, found)),
            Err(error) => packed.unfit.push((owed, format!("cannot read what was kept of it: {error}"))),
        }
    }
    let (items, unfit) = items(told, obeyed);
    packed.unfit.extend(unfit);
    // First what Jira may obey: it does not obey what it has heard of already.
    let (free, bound): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.free);
    let full = [free, bound].into_iter().flat_map(|items| fill(items, most_bytes));
    packed.requests.extend(full.map(Request::Bulk));
    packed
}

/// The JSON of a bulk request.
pub fn body(items: &[Item<'_>], envelope: &Envelope) -> Vec<u8> {
    let mut repositories: BTreeMap<&str, Repository<'_>> = BTreeMap::new();
    let told: HashSet<_> = items.iter().filter_map(told_commit).map(|(place, _)| place).collect();
    for item in items {
        let owed = item.owed;
        let repository = repositories.entry(&owed.repository).or_insert_with(|| Repository::new(&owed.repository));
        if owed.sequence > repository.update_sequence_id {
            repository.update_sequence_id = owed.sequence;
            repository.name = name(&item.face, &owed.repository);
            repository.url = cut(&item.face.url, URL);
        }
        match &item.entity {
            Entity::Commit(commit) => repository.commits.push(commit),
            Entity::Branch(branch) => {
                let together = told.contains(&(owed.repository.as_str(), branch.last_commit.id.as_str()));
                let branch = if together { Cow::Borrowed(branch) } else { Cow::Owned(branch.alone()) };
                repository.branches.push(branch);
            }
        }
    }
    let prevent_transitions = !items.iter().all(|item| item.free);
    let submission = Submission { repositories: repositories.into_values().collect(), prevent_transitions, envelope };
    serde_json::to_vec(&submission).expect("maps with text keys, lists and texts can always be written")
}

impl<'a> Request<'a> {
    /// Everything the request speaks of.
    pub fn owed(&self) -> Vec<&'a Owed> {
        match self {
            Request::Bulk(items) => items.iter().map(|item| item.owed).collect(),
            Request::Delete(owed) => vec![owed],
        }
    }

    /// Whether something in it has leave to be obeyed, and so has all of it.
    pub fn orders(&self) -> bool {
        match self {
            Request::Bulk(items) => {
                items.iter().all(|item| item.free) && items.iter().any(|item| item.free && item.owed.leave)
            }
            Request::Delete(_) => false,
        }
    }

    /// Takes the leave away: Jira may have obeyed.
    pub fn bind(&mut self) {
        if let Request::Bulk(items) = self {
            items.iter_mut().filter(|item| item.owed.leave).for_each(|item| item.free = false);
        }
    }
}

impl Item<'_> {
    /// Leaves out what can be done without; false when there is nothing left to leave out.
    pub fn shrink(&mut self) -> bool {
        let commit = match &mut self.entity {
            Entity::Commit(commit) => commit,
            Entity::Branch(branch) => &mut branch.last_commit,
        };
        let short = cut(&commit.message, SHORT_MESSAGE).len();
        if !commit.files.is_empty() {
            commit.files.clear();
        } else if short < commit.message.len() {
            commit.message.truncate(short);
            // Half an order might be another one.
            self.free = false;
        } else {
            return false;
        }
        true
    }

    fn size(&self) -> usize {
        let entity = match &self.entity {
            Entity::Commit(commit) => serde_json::to_vec(commit),
            Entity::Branch(branch) => serde_json::to_vec(branch),
        };
        entity.map_or(0, |bytes| bytes.len()) + 1
    }

    /// What its repository adds where nothing else of that repository is in the request.
    fn frame_size(&self) -> usize {
        let escaped = |text: &str| serde_json::to_vec(text).map_or(0, |bytes| bytes.len());
        escaped(&self.owed.repository) + escaped(&self.face.name) + escaped(&self.face.url) + 128
    }
}

/// Jira's limits for one request ...
const REPOSITORIES: usize = 100;
const ENTITIES: usize = 1000;
const OF_A_KIND: usize = 400;
/// ... and for its fields, in UTF-16 units.
const ID: usize = 1024;
const URL: usize = 2000;
const REPOSITORY_NAME: usize = 255;
const BRANCH_NAME: usize = 512;
const MESSAGE: usize = 1024;
const PATH: usize = 1024;
const AUTHOR: usize = 255;
const FILES: usize = 10;
const KEYS: usize = 100;

/// What is left of the message of an entity that is too large.
const SHORT_MESSAGE: usize = 100;
/// How much of a commit's id people are shown.
const DISPLAY_ID: usize = 12;
/// Room for the envelope.
const ENVELOPE_BYTES: usize = 2048;
/// The number of a commit that is told only as the last one of a branch: below every number that the queue hands out,
/// so that what Jira was told of the commit itself, with all its keys and files, is never replaced by it.
const YIELDING: i64 = 1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Submission<'a> {
    repositories: Vec<Repository<'a>>,
    prevent_transitions: bool,
    #[serde(flatten)]
    envelope: &'a Envelope,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Repository<'a> {
    id: &'a str,
    name: &'a str,
    url: &'a str,
    update_sequence_id: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    commits: Vec<&'a Commit>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    branches: Vec<Cow<'a, Branch>>,
}

#[derive(Clone, Debug)]
enum Entity {
    Commit(Commit),
    Branch(Branch),
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Commit {
    id: String,
    display_id: String,
    update_sequence_id: i64,
    // `associations` would be newer, but a branch's last commit knows this form only, and the two must not be mixed.
    issue_keys: Vec<String>,
    message: String,
    author: Author,
    author_timestamp: String,
    url: String,
    /// The true number, however many are listed.
    file_count: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<File>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<&'static str>,
}

#[derive(Clone, Debug, Serialize)]
struct Author {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    email: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    path: String,
    url: String,
    change_type: &'static str,
    lines_added: u32,
    lines_removed: u32,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Branch {
    id: String,
    name: String,
    url: String,
    update_sequence_id: i64,
    issue_keys: Vec<String>,
    last_commit: Commit,
    #[serde(skip_serializing_if = "Option::is_none")]
    create_pull_request_url: Option<String>,
}

impl<'a> Repository<'a> {
    fn new(id: &'a str) -> Self {
        Repository { id, name: id, url: "", update_sequence_id: i64::MIN, commits: Vec::new(), branches: Vec::new() }
    }
}

impl Commit {
    fn new(commit: &git::Commit, url: &str, face: &Face, owed: &Owed) -> Commit {
        let id = commit.id.to_string();
        Commit {
            display_id: id[..DISPLAY_ID.min(id.len())].to_owned(),
            id,
            update_sequence_id: owed.sequence,
            issue_keys: keys(owed),
            message: text(&commit.message, MESSAGE),
            author: Author { name: text(&commit.author.name, AUTHOR), email: text(&commit.author.email, AUTHOR) },
            author_timestamp: timestamp(commit.author.at),
            url: fitting_url(url, &face.url),
            file_count: 0,
            files: Vec::new(),
            flags: if commit.parents.len() > 1 { vec!["MERGE_COMMIT"] } else { Vec::new() },
        }
    }

    fn of(seen: &Seen, url: &str, file_urls: &[String], face: &Face, owed: &Owed) -> Commit {
        let commit = Commit::new(&seen.commit, url, face, owed);
        let Some(files) = &seen.files else {
            return commit;
        };
        let file_count = whole(files.count);
        let file_url = |at: usize| fitting_url(file_urls.get(at).map_or(url, String::as_str), &commit.url);
        let listed = files.listed.iter().take(FILES).enumerate();
        let listed = listed.map(|(at, file)| File {
            path: text(&file.path, PATH),
            url: file_url(at),
            change_type: change_type(file.change),
            lines_added: whole(file.added),
            lines_removed: whole(file.removed),
        });
        let files = listed.collect();
        Commit { file_count, files, ..commit }
    }

    /// A commit as the last one of a branch, where nothing else is told of it now.
    ///
    /// Orders are left out of its message: Jira is given them with the commit itself, and nobody knows whether it would
    /// carry them out once more.
    fn last(commit: &git::Commit, url: &str, face: &Face, owed: &Owed) -> Commit {
        Commit::new(commit, url, face, owed).yielding()
    }

    fn yielding(self) -> Commit {
        Commit { update_sequence_id: YIELDING, message: without_orders(&self.message).to_owned(), ..self }
    }
}

impl Branch {
    /// The branch in a request that does not tell its last commit.
    fn alone(&self) -> Branch {
        Branch { last_commit: self.last_commit.clone().yielding(), ..self.clone() }
    }
}

/// Turns what is told into entities.
fn items(told: Vec<(&Owed, Told)>, obeyed: bool) -> (Vec<Item<'_>>, Vec<(&Owed, String)>) {
    let mut unfit = Vec::new();
    let mut items = Vec::with_capacity(told.len());
    let mut tips = Vec::new();
    for (owed, Told { face, body }) in told {
        match (owed.kind, body) {
            _ if owed.keys.is_empty() => unfit.push((owed, "it names no issue".to_owned())),
            (EntityKind::Commit, Body::Commit { seen, url, file_urls }) => {
                let commit = Commit::of(&seen, &url, &file_urls, &face, owed);
                let free = obeyed && (owed.leave || order_in(&commit.message).is_none());
                items.push(Item { owed, face, entity: Entity::Commit(commit), free });
            }
            (EntityKind::Branch, Body::Branch { name, last, last_url, url, create_pull_request }) => {
                let last_commit = Commit::last(&last, &last_url, &face, owed);
                let branch = Branch {
                    id: owed.id.clone(),
                    name: text(&name, BRANCH_NAME),
                    url: fitting_url(&url, &face.url),
                    update_sequence_id: owed.sequence,
                    issue_keys: keys(owed),
                    last_commit,
                    create_pull_request_url: create_pull_request.filter(|url| fits(url, URL)),
                };
                tips.push(Item { owed, face, entity: Entity::Branch(branch), free: obeyed });
            }
            (kind, _) => unfit.push((owed, format!("what was kept of it is not a {}", kind.as_str()))),
        }
    }
    agree(&mut tips, &items);
    items.extend(tips);
    (items, unfit)
}

/// Sees to it that a commit which is told twice at once is told in the same words under the same number.
///
/// Not where the commit goes another way: then the branch must not take its orders along.
fn agree(branches: &mut [Item<'_>], commits: &[Item<'_>]) {
    let told: HashMap<(&str, &str), (bool, &Commit)> = commits
        .iter()
        .filter_map(|item| told_commit(item).map(|(place, commit)| (place, (item.free, commit))))
        .collect();
    for Item { owed, entity, free, .. } in branches {
        if let Entity::Branch(branch) = entity
            && let Some((commit_is_free, commit)) = told.get(&(owed.repository.as_str(), &branch.last_commit.id))
            && commit_is_free == free
        {
            branch.last_commit = Commit::clone(commit);
        }
    }
}

fn told_commit<'a>(item: &'a Item<'_>) -> Option<((&'a str, &'a str), &'a Commit)> {
    match &item.entity {
        Entity::Commit(commit) => Some(((&item.owed.repository, &commit.id), commit)),
        Entity::Branch(_) => None,
    }
}

/// A request while it is filled.
#[derive(Default)]
struct Load<'a> {
    items: Vec<Item<'a>>,
    bytes: usize,
    of_a_kind: HashMap<(&'a str, EntityKind), usize>,
    repositories: HashSet<&'a str>,
    ids: HashSet<(&'a str, EntityKind, &'a str)>,
}

impl<'a> Load<'a> {
    fn takes(&self, item: &Item<'a>, most_bytes: usize) -> bool {
        let Owed { repository, kind, id, .. } = item.owed;
        self.items.is_empty()
            || (self.items.len() < ENTITIES
                && self.bytes + self.bytes_of(item) <= most_bytes
                && self.of_a_kind.get(&(repository.as_str(), *kind)).is_none_or(|count| *count < OF_A_KIND)
                && (self.repositories.len() < REPOSITORIES || self.repositories.contains(repository.as_str()))
                && !self.ids.contains(&(repository.as_str(), *kind, id.as_str())))
    }

    fn add(&mut self, item: Item<'a>) {
        let Owed { repository, kind, id, .. } = item.owed;
        self.bytes += self.bytes_of(&item);
        *self.of_a_kind.entry((repository, *kind)).or_default() += 1;
        self.repositories.insert(repository);
        self.ids.insert((repository, *kind, id));
        self.items.push(item);
    }

    fn bytes_of(&self, item: &Item<'a>) -> usize {
        let known = self.repositories.contains(item.owed.repository.as_str());
        item.size() + if known { 0 } else { item.frame_size() }
    }
}

fn fill(items: Vec<Item<'_>>, most_bytes: usize) -> Vec<Vec<Item<'_>>> {
    let room = most_bytes.saturating_sub(ENVELOPE_BYTES);
    let mut full = Vec::new();
    let mut load = Load::default();
    for mut item in items {
        while item.size() + item.frame_size() > room && item.shrink() {}
        if !load.takes(&item, room) {
            full.push(std::mem::take(&mut load).items);
        }
        load.add(item);
    }
    full.extend((!load.items.is_empty()).then_some(load.items));
    full
}

/// Tells whether Jira takes a text as an id. It stands in addresses too, where dots alone would lead elsewhere.
fn is_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"~.-_".contains(&byte);
    (1..=ID).contains(&text.len()) && text.bytes().all(fits) && text.bytes().any(|byte| byte != b'.')
}

fn keys(owed: &Owed) -> Vec<String> {
    owed.keys.iter().take(KEYS).cloned().collect()
}

fn name<'a>(face: &'a Face, id: &'a str) -> &'a str {
    match cut(&face.name, REPOSITORY_NAME) {
        "" => cut(id, REPOSITORY_NAME),
        name => name,
    }
}

fn text(bytes: &[u8], units: usize) -> String {
    cut(wording::sign_by_sign(&String::from_utf8_lossy(bytes)).trim_end(), units).to_owned()
}

/// A link, or the next best one where it is too long: half a link leads nowhere.
fn fitting_url(url: &str, otherwise: &str) -> String {
    let url = if fits(url, URL) { url } else { otherwise };
    cut(url, URL).to_owned()
}

fn fits(text: &str, units: usize) -> bool {
    cut(text, units).len() == text.len()
}

/// The first line of a message up to the first order; Jira wants some text in any case.
fn without_orders(message: &str) -> &str {
    let line = message.lines().next().unwrap_or_default();
    match line[..order_in(line).unwrap_or(line.len())].trim_end() {
        "" => "n/a",
        subject => subject,
    }
}

/// Where the first order stands, if anything might be one for whoever reads it.
fn order_in(text: &str) -> Option<usize> {
    let mut signs = text.match_indices('#').map(|(at, _)| at);
    signs.find(|at| text[at + 1..].starts_with(|c: char| c.is_alphabetic()))
}

/// Seconds since 1970 as Jira reads them; a year that a calendar in ISO 8601 lacks becomes the nearest it has.
fn timestamp(seconds: i64) -> String {
    const FIRST: i64 = -62_135_596_800; // 0001-01-01
    const LAST: i64 = 253_402_207_200; // 9999-12-30
    let at = Timestamp::from_second(seconds.clamp(FIRST, LAST)).expect("the years 1 to 9999 can be told");
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn change_type(change: Change) -> &'static str {
    match change {
        Change::Added => "ADDED",
        Change::Modified => "MODIFIED",
        Change::Deleted => "DELETED",
        Change::Unknown => "UNKNOWN",
    }
}

/// Jira counts with 31 bits.
fn whole(count: u32) -> u32 {
    count.min(i32::MAX.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::git::{File as Changed, Files, Ident, Oid};

    fn id(number: u32) -> Oid {
        format!("{number:040x}").parse().unwrap()
    }

    fn git_commit(number: u32, message: &[u8]) -> git::Commit {
        let author = Ident { name: b"Ann".to_vec(), email: b"ann@example.org".to_vec(), at: 1_772_357_400, offset: 60 };
        git::Commit {
            id: id(number),
            parents: vec![id(0)],
            author: author.clone(),
            committer: author,
            message: message.to_vec(),
        }
    }

    fn seen(number: u32, message: &[u8], files: u32) -> Seen {
        let listed = (0..files.min(12)).map(|n| Changed {
            path: format!("src/{n}").into_bytes(),
            change: Change::Added,
            added: n,
            removed: u32::MAX,
        });
        let files = Some(Files { listed: listed.collect(), count: files });
        Seen { commit: git_commit(number, message), files, cut: false }
    }

    fn owed(repository: &str, kind: EntityKind, id: String, sequence: i64, body: Body) -> Owed {
        let face = Face { name: format!("team/{repository}"), url: "https://g.example/r".to_owned() };
        let keys = if body == Body::Gone { Vec::new() } else { vec!["ABC-1".to_owned()] };
        let body = Told { face, body }.encode();
        Owed {
            repository: repository.to_owned(),
            kind,
            id,
            sequence,
            attempts: 0,
            unknown: 0,
            added_at: 0,
            keys,
            body,
            leave: false,
        }
    }

    fn commit(repository: &str, sequence: i64, seen: Seen) -> Owed {
        let url = format!("https://g.example/c/{}", seen.commit.id);
        let file_urls = vec![url.clone(); seen.files.as_ref().map_or(0, |files| files.listed.len())];
        let id = seen.commit.id.to_string();
        owed(repository, EntityKind::Commit, id, sequence, Body::Commit { seen, url, file_urls })
    }

    fn branch(repository: &str, name: &str, sequence: i64, last: git::Commit) -> Owed {
        let url = format!("https://g.example/b/{name}");
        let body = Body::Branch {
            name: name.as_bytes().to_vec(),
            last,
            last_url: url.clone(),
            url,
            create_pull_request: None,
        };
        owed(repository, EntityKind::Branch, name.to_owned(), sequence, body)
    }

    fn gone(repository: &str, kind: EntityKind, id: &str) -> Owed {
        owed(repository, kind, id.to_owned(), 9, Body::Gone)
    }

    fn envelope() -> Envelope {
        Envelope {
            operation_type: Operation::Normal,
            properties: Properties { agent_instance: "i".to_owned(), agent_site: "s".to_owned() },
            provider_metadata: Provider { product: "git-jira-agent" },
        }
    }

    fn json(request: &Request<'_>) -> Value {
        match request {
            Request::Bulk(items) => serde_json::from_slice(&body(items, &envelope())).unwrap(),
            Request::Delete(_) => panic!("a deletion has no body"),
        }
    }

    /// The only request that comes of `owed`, one field of it against what it should be.
    #[track_caller]
    fn check(owed: &[Owed], pointer: &str, value: Value) {
        let packed = pack(owed, MOST_BYTES, true);
        assert!(packed.unfit.is_empty(), "{:?}", packed.unfit);
        assert_eq!(packed.requests.len(), 1);
        let json = json(&packed.requests[0]);
        assert_eq!(json.pointer(pointer).unwrap_or(&Value::Null), &value, "{pointer} in {json:#}");
    }

    #[test]
    fn a_commit_travels_as_jira_wants_it() {
        let one = [commit("r", 7, seen(0xabc, b"ABC-1 Fix\n", 12))];
        for (pointer, value) in [
            ("/repositories/0/id", Value::from("r")),
            ("/repositories/0/name", "team/r".into()),
            ("/repositories/0/url", "https://g.example/r".into()),
            ("/repositories/0/updateSequenceId", 7.into()),
            ("/repositories/0/branches", Value::Null),
            ("/repositories/0/commits/0/id", id(0xabc).to_string().into()),
            ("/repositories/0/commits/0/displayId", "000000000000".into()),
            ("/repositories/0/commits/0/updateSequenceId", 7.into()),
            ("/repositories/0/commits/0/message", "ABC-1 Fix".into()),
            ("/repositories/0/commits/0/issueKeys", vec!["ABC-1"].into()),
            ("/repositories/0/commits/0/associations", Value::Null),
            ("/repositories/0/commits/0/authorTimestamp", "2026-03-01T09:30:00Z".into()),
            ("/repositories/0/commits/0/author/email", "ann@example.org".into()),
            ("/repositories/0/commits/0/fileCount", 12.into()),
            ("/repositories/0/commits/0/files/9/path", "src/9".into()),
            ("/repositories/0/commits/0/files/10", Value::Null),
            ("/repositories/0/commits/0/files/0/changeType", "ADDED".into()),
            ("/repositories/0/commits/0/files/0/linesRemoved", i32::MAX.into()),
            ("/repositories/0/commits/0/flags", Value::Null),
            ("/preventTransitions", false.into()),
            ("/operationType", "NORMAL".into()),
            ("/properties/agentInstance", "i".into()),
            ("/providerMetadata/product", "git-jira-agent".into()),
        ] {
            check(&one, pointer, value);
        }
    }

    #[test]
    fn what_is_odd_about_a_commit_is_made_fit() {
        let odd = |change: fn(&mut git::Commit)| {
            let mut seen = seen(1, b"ABC-1", 0);
            change(&mut seen.commit);
            [commit("r", 7, seen)]
        };
        let at = |field: &str| format!("/repositories/0/commits/0/{field}");
        check(&odd(|c| c.parents.push(c.id)), &at("flags"), vec!["MERGE_COMMIT"].into());
        check(&odd(|c| c.author.name = b"\xffx".to_vec()), &at("author/name"), "\u{fffd}x".into());
        check(&odd(|c| c.author = Ident::default()), &at("author"), serde_json::json!({}));
        check(&odd(|c| c.author.at = i64::MAX), &at("authorTimestamp"), "9999-12-30T22:00:00Z".into());
        check(&odd(|c| c.author.at = i64::MIN), &at("authorTimestamp"), "0001-01-01T00:00:00Z".into());
        let long = odd(|c| c.message = "😀".repeat(1000).into_bytes());
        check(&long, &at("message"), "😀".repeat(512).into());
    }

    #[test]
    fn the_last_commit_of_a_branch_never_fights_the_commit_itself() {
        let message = b"ABC-2 Fix #12 #comment done";
        let told = Owed { leave: true, ..commit("r", 8, seen(5, message, 3)) };
        let both = [branch("r", "ABC-1", 7, git_commit(5, message)), told];
        let last = |field: &str| format!("/repositories/0/branches/0/lastCommit/{field}");
        check(&both, &last("updateSequenceId"), 8.into());
        check(&both, &last("fileCount"), 3.into());
        check(&both, &last("message"), "ABC-2 Fix #12 #comment done".into());
        check(&both, "/repositories/0/updateSequenceId", 8.into());
        let alone = [branch("r", "ABC-1", 7, git_commit(5, message))];
        check(&alone, "/repositories/0/branches/0/updateSequenceId", 7.into());
        check(&alone, &last("updateSequenceId"), YIELDING.into());
        check(&alone, &last("issueKeys"), vec!["ABC-1"].into());
        check(&alone, &last("message"), "ABC-2 Fix #12".into());
        check(&[branch("r", "ABC-1", 7, git_commit(5, b"#close"))], &last("message"), "n/a".into());
        let told = Owed { leave: true, ..commit("s", 8, seen(5, message, 3)) };
        let elsewhere = [branch("r", "ABC-1", 7, git_commit(5, message)), told];
        check(&elsewhere, &last("updateSequenceId"), YIELDING.into());
    }

    /// What a request says: whether Jira obeys nothing in it, and the messages of its commits and of its branches' last.
    fn said(request: &Request<'_>) -> (bool, Vec<String>, Vec<String>) {
        let json = json(request);
        let of = |list: &str, pointer: &str| {
            let lists = json["repositories"].as_array().unwrap().iter().filter_map(|one| one[list].as_array());
            let messages = lists.flatten().map(|one| one.pointer(pointer).unwrap().as_str().unwrap().to_owned());
            messages.collect::<Vec<_>>()
        };
        (json["preventTransitions"] == true, of("commits", "/message"), of("branches", "/lastCommit/message"))
    }

    #[test]
    fn f1_an_order_without_leave_never_travels_where_jira_obeys() {
        let with = |number: u32, message: &[u8], leave| Owed {
            leave,
            ..commit("r", i64::from(number) + 10, seen(number, message, 0))
        };
        let all = [
            with(1, b"ABC-1 #close", false),
            with(2, b"ABC-1 #comment x", true),
            with(3, b"ABC-1 plain, fixes #12", false),
            branch("r", "ABC-1-a", 20, git_commit(1, b"ABC-1 #close")),
            branch("r", "ABC-1-b", 21, git_commit(2, b"ABC-1 #comment x")),
        ];
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let packed = pack(&all, MOST_BYTES, true);
        let found: Vec<_> = packed.requests.iter().map(said).collect();
        let obeyed = (
            false,
            texts(&["ABC-1 #comment x", "ABC-1 plain, fixes #12"]),
            // A branch never takes along what has no leave.
            texts(&["ABC-1", "ABC-1 #comment x"]),
        );
        assert_eq!(found, [obeyed, (true, texts(&["ABC-1 #close"]), Vec::new())]);
        let found: Vec<_> = pack(&all, MOST_BYTES, false).requests.iter().map(said).collect();
        assert_eq!(found.len(), 1, "where Jira is not to obey, nothing is kept apart");
        assert!(found[0].0);
        let without: Vec<_> = pack(&all[2..4], MOST_BYTES, true).requests.iter().map(said).collect();
        assert_eq!(without.len(), 1, "what orders nothing costs no request of its own");
        assert!(!without[0].0);
    }

    #[test]
    fn f1_a_request_that_jira_may_have_obeyed_is_told_again_without_its_orders_being_obeyed() {
        let told = Owed { leave: true, ..commit("r", 8, seen(5, b"ABC-1 #close", 0)) };
        let both = [branch("r", "ABC-1", 7, git_commit(5, b"ABC-1 #close")), told];
        let mut request = pack(&both, MOST_BYTES, true).requests.remove(0);
        assert!(request.orders());
        request.bind();
        assert!(!request.orders());
        assert!(said(&request).0);
        let Request::Bulk(items) = request else { panic!("it tells something") };
        // Taken apart, the branch goes on alone and has nothing to obey in it.
        let branch: Vec<Item<'_>> = items.into_iter().filter(|item| item.owed.kind == EntityKind::Branch).collect();
        assert_eq!(said(&Request::Bulk(branch)), (false, Vec::new(), vec!["ABC-1".to_owned()]));
    }

    #[test]
    fn a_link_is_whole_or_the_next_best() {
        let long = format!("https://g.example/{}", "x".repeat(2000));
        let with = |url: &str| {
            let seen = seen(1, b"ABC-1", 1);
            let body = Body::Commit { seen, url: url.to_owned(), file_urls: vec![long.clone()] };
            [owed("r", EntityKind::Commit, id(1).to_string(), 7, body)]
        };
        check(&with("https://g.example/c"), "/repositories/0/commits/0/files/0/url", "https://g.example/c".into());
        check(&with(&long), "/repositories/0/commits/0/url", "https://g.example/r".into());
    }

    #[test]
    fn what_cannot_be_sent_comes_back_with_the_reason() {
        let mut without_keys = commit("r", 1, seen(1, b"", 0));
        without_keys.keys.clear();
        let mut broken = commit("r", 2, seen(2, b"", 0));
        broken.body.truncate(3);
        let mut confused = commit("r", 3, seen(3, b"", 0));
        confused.kind = EntityKind::Repository;
        let elsewhere = gone("..", EntityKind::Repository, "..");
        let all = [without_keys, broken, confused, elsewhere, gone("r", EntityKind::Branch, "a/b")];
        let packed = pack(&all, MOST_BYTES, true);
        assert!(packed.requests.is_empty());
        assert_eq!(packed.unfit.len(), all.len());
    }

    #[test]
    fn f56_too_large_an_entity_loses_its_files_then_its_message_and_is_sent() {
        let one = [commit("r", 1, seen(1, &[b'x'; 1000], 10))];
        let sent = |room| {
            let packed = pack(&one, ENVELOPE_BYTES + room, true);
            let json = json(&packed.requests[0]);
            let commit = &json["repositories"][0]["commits"][0];
            (
                commit["files"].as_array().map_or(0, Vec::len),
                commit["message"].as_str().unwrap().len(),
                commit["fileCount"].clone(),
            )
        };
        assert_eq!(sent(10_000), (10, 1000, 10.into()));
        assert_eq!(sent(2_000), (0, 1000, 10.into()));
        assert_eq!(sent(900), (0, 100, 10.into()));
        assert_eq!(sent(1), (0, 100, 10.into()));
    }

    fn any_owed() -> impl Strategy<Value = Vec<Owed>> {
        let one = (0u32..140, 0u8..8, "[a-z]{1,3}|ABC-1 #[a-z]{1,3}|.{0,30}", 0u32..15);
        prop::collection::vec(one, 0..1500).prop_map(|drawn| {
            let each = drawn.into_iter().enumerate().map(|(at, (repository, kind, text, files))| {
                let number = u32::try_from(at).unwrap();
                // Some repositories get most, so that the limits of one repository are met too.
                let repository = if kind < 4 { "r1".to_owned() } else { format!("r{repository}") };
                let sequence = i64::from(number) + 10;
                match kind {
                    0 | 4 => {
                        branch(&repository, &format!("b{number}"), sequence, git_commit(number / 2, text.as_bytes()))
                    }
                    5 => gone(&repository, EntityKind::Branch, &format!("b{number}")),
                    6 if number % 3 == 0 => gone(&repository, EntityKind::Repository, &repository),
                    _ => Owed {
                        leave: number % 3 == 0,
                        ..commit(&repository, sequence, seen(number, text.as_bytes(), files))
                    },
                }
            });
            each.collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn f56_requests_hold_everything_once_and_keep_every_limit(
            owed in any_owed(),
            most_bytes in 3_000usize..300_000,
            obeyed in any::<bool>(),
        ) {
            let packed = pack(&owed, most_bytes, obeyed);
            prop_assert!(packed.unfit.is_empty());
            let sent: Vec<&Owed> = packed.requests.iter().flat_map(Request::owed).collect();
            prop_assert_eq!(sent.len(), owed.len());
            let numbers: HashSet<i64> = sent.iter().filter(|owed| !owed.keys.is_empty()).map(|owed| owed.sequence).collect();
            prop_assert_eq!(numbers.len(), owed.iter().filter(|owed| !owed.keys.is_empty()).count());
            for request in &packed.requests {
                let Request::Bulk(items) = request else { continue };
                let bytes = body(items, &envelope());
                prop_assert!(bytes.len() <= most_bytes || items.len() == 1, "{} bytes, {} items", bytes.len(), items.len());
                let json: Value = serde_json::from_slice(&bytes).unwrap();
                if json["preventTransitions"] == false {
                    let (_, commits, last) = said(request);
                    let left = items.iter().filter(|item| item.owed.leave).filter_map(told_commit);
                    let left: Vec<&str> = left.map(|(_, commit)| commit.message.as_str()).collect();
                    let mut orders = commits.iter().chain(&last).filter(|message| order_in(message).is_some());
                    prop_assert!(obeyed && orders.all(|message| left.contains(&message.as_str())));
                }
                let repositories = json["repositories"].as_array().unwrap();
                prop_assert!((1..=100).contains(&repositories.len()));
                let count = |list: &str| {
                    let lists = repositories.iter().map(|repository| repository[list].as_array().map_or(0, Vec::len));
                    lists.inspect(|count| assert!(*count <= 400)).sum::<usize>()
                };
                let entities = count("commits") + count("branches");
                prop_assert!(entities == items.len() && entities <= 1000);
            }
        }
    }
}
