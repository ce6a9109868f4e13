//! A link that a person puts right: written down, and told to the site in the same step.
//!
//! What Jira was told is told again with the other keys, which take the place of the old ones there; what no key links
//! any more Jira is told to forget. It goes out as history: it sets off neither orders nor workflow triggers. What Jira
//! is not to know yet, or any more, is only written down, and holds when its time comes.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::event::{Origin, Seen};
use crate::git::{Commit, Oid, RefName, Repository};
use crate::parse::IssueKey;
use crate::queue::{Correcting, Correction, Corrections, EntityKind, Kept, NewEntity, Relink};
use crate::serve::relink::{Relinked, Wish};
use crate::sync::Links;
use crate::{clock, entity};

use super::rewritten::{self, Place};
use super::{Shared, history, line};

/// The most files of a commit that Jira takes.
const FILES: usize = 10;
/// The most keys that link one commit or branch.
const KEYS: usize = 100;

pub async fn relink(shared: Arc<Shared>, wish: Wish) -> Result<Relinked, String> {
    let work = tokio::task::spawn_blocking(move || Work::new(&shared, wish)?.relink());
    work.await.map_err(|error| error.to_string())?
}

struct Work<'a> {
    shared: &'a Shared,
    handle: Handle,
    wish: Wish,
    origin: Origin,
    place: Place,
    /// Nothing where the daemon may not read it, and why.
    repository: Result<Repository, String>,
}

/// What is to be linked otherwise, as far as it can be read.
struct Thing {
    id: String,
    title: String,
    orders: usize,
    /// The commit itself, or a branch's last one; with a branch's name.
    read: Option<(Commit, Option<RefName>)>,
}

impl<'a> Work<'a> {
    fn new(shared: &'a Shared, wish: Wish) -> Result<Work<'a>, String> {
        let handle = Handle::current();
        let rows = handle.block_on(shared.queue.repositories()).map_err(|error| error.to_string())?;
        let named = |row: &&crate::queue::RepositoryRow| row.git_dir == wish.repository.as_bytes();
        let origin = match rows.iter().find(named) {
            Some(row) => Origin { id: row.id.clone(), git_dir: row.git_dir.clone() },
            None => history::find(&rows, &wish.repository)?,
        };
        let applied = shared.applied();
        let corrections =
            handle.block_on(shared.queue.corrections(origin.id.clone())).map_err(|error| error.to_string())?;
        let place = Place::of(&applied, &origin, corrections)?;
        let site = applied.config.site.iter().find(|site| site.name == place.site);
        let site = site.ok_or("no site is linked to the repository's account")?;
        if !site.shows_commits() {
            return Err(format!("site {} has no Development panel in which a link could be put right", site.name));
        }
        let added = match &wish.wish {
            Relink::Only(keys) | Relink::Also(keys) => &keys[..],
            Relink::Without(_) | Relink::Reset => &[],
        };
        let is_known = |key: &&IssueKey| {
            site.projects.is_empty() || site.projects.iter().any(|one| one.eq_ignore_ascii_case(key.project()))
        };
        if let Some(stranger) = added.iter().find(|key| !is_known(key)) {
            let because = format!("{stranger} is in none of the projects of site {}", site.name);
            return Err(format!("{because}: {}", site.projects.join(", ")));
        }
        let repository = line::open(&applied, &origin);
        Ok(Work { shared, handle, wish, origin, place, repository })
    }

    fn relink(&self) -> Result<Relinked, String> {
        let (kind, thing) = match self.wish.kind.as_str() {
            "branch" => (EntityKind::Branch, self.branch()),
            _ => (EntityKind::Commit, self.commit()?),
        };
        let kept =
            self.ask(self.shared.queue.kept(self.place.site.clone(), self.origin.id.clone(), kind, thing.id.clone()))?;
        if thing.read.is_none() && kept.is_none() {
            let because = self.repository.as_ref().err().cloned();
            let unknown = || format!("there is no {} {} in the repository", kind.as_str(), self.wish.name);
            return Err(because.unwrap_or_else(unknown));
        }
        let old = self.place.links.corrections.get(kind, &thing.id).cloned();
        let own = self.own_keys(&thing, kept.as_ref(), old.as_ref());
        let new = old.clone().unwrap_or_default().changed(&self.wish.wish).map(|new| new.with_own(own.clone()));
        let linked = |correction: &Option<Correction>| match correction {
            Some(correction) => correction.of(own.clone()),
            None => own.clone(),
        };
        let (before, now) = (linked(&old), linked(&new));
        if now.len() > KEYS {
            return Err(format!("that would link it to {} issues, and {KEYS} are the most", now.len()));
        }
        let hidden = self.hidden(kind, &thing, kept.as_ref())?;
        let entity = match (&hidden, now.is_empty()) {
            (Some(_), _) => None,
            (None, true) => Some(self.end(kind, &thing)),
            (None, false) => self.entity(&thing, kept.as_ref(), &now),
        };
        let correcting = Correcting {
            site: self.place.site.clone(),
            repository: self.origin.id.clone(),
            kind,
            id: thing.id.clone(),
            correction: new,
            who: self.wish.who.clone(),
            entity,
        };
        let told = self.ask(self.shared.queue.correct(correcting, clock::now()))?;
        let texts = |keys: Vec<IssueKey>| keys.into_iter().map(String::from).collect();
        Ok(Relinked {
            repository: self.origin.id.clone(),
            path: self.origin.git_dir().display().to_string(),
            site: self.place.site.clone(),
            kind: kind.as_str().to_owned(),
            id: thing.id,
            title: thing.title,
            before: texts(before),
            now: texts(now),
            told,
            because: hidden,
            orders: thing.orders,
        })
    }

    fn commit(&self) -> Result<Thing, String> {
        let digits = self.wish.name.to_lowercase();
        let id = match &self.repository {
            Ok(repository) => {
                let found = repository.abbreviated(&digits).and_then(|id| repository.commit(id));
                let commit = found.map_err(|error| error.to_string())?;
                let mentions = self.place.links.rules.message(&commit.message);
                let title = commit.message.split(|byte| *byte == b'\n').next().unwrap_or_default();
                return Ok(Thing {
                    id: commit.id.to_string(),
                    title: String::from_utf8_lossy(title).into_owned(),
                    orders: mentions.orders.len(),
                    read: Some((commit, None)),
                });
            }
            Err(because) => {
                let like = self.ask(self.shared.queue.commits_like(self.origin.id.clone(), digits.clone()))?;
                match &like[..] {
                    [only] => only.clone(),
                    [] => return Err(because.clone()),
                    _ => return Err(format!("several commits have an id that begins with {digits}")),
                }
            }
        };
        Ok(Thing { id, title: String::new(), orders: 0, read: None })
    }

    fn branch(&self) -> Thing {
        let short = self.wish.name.strip_prefix("refs/heads/").unwrap_or(&self.wish.name);
        let name = RefName::new([b"refs/heads/", short.as_bytes()].concat());
        let place = self.repository.as_ref().ok().and_then(|repository| {
            let refs = repository.refs().ok()?;
            let (_, id) = refs.into_iter().find(|(other, _)| *other == name)?;
            repository.commit(id).ok()
        });
        Thing {
            id: entity::branch_id(short.as_bytes()),
            title: short.to_owned(),
            orders: 0,
            read: place.map(|last| (last, Some(name))),
        }
    }

    /// The keys that count for it without any correction: those of its text, and those it was told with before one.
    fn own_keys(&self, thing: &Thing, kept: Option<&Kept>, old: Option<&Correction>) -> Vec<IssueKey> {
        let links = Links { corrections: Corrections::default(), ..self.place.links.clone() };
        let beside = match old {
            Some(old) => old.own().to_vec(),
            None => kept.map(|kept| kept.keys.clone()).unwrap_or_default(),
        };
        match &thing.read {
            Some((_, Some(name))) => links.of_branch(name),
            Some((commit, None)) => links.of_commit(commit, &beside),
            None => beside,
        }
    }

    /// Why Jira is to know nothing of it now, if that is so.
    fn hidden(&self, kind: EntityKind, thing: &Thing, kept: Option<&Kept>) -> Result<Option<String>, String> {
        let is_told = kept.is_some_and(|kept| !kept.gone);
        let (Ok(repository), Some((commit, _))) = (&self.repository, &thing.read) else { return Ok(None) };
        if is_told {
            return Ok(None);
        }
        if repository.is_clone() {
            return Ok(Some("it was not pushed from this clone yet".to_owned()));
        }
        if kind == EntityKind::Branch {
            return Ok(None);
        }
        let alive = rewritten::alive(repository)?;
        let mut left: HashSet<Oid> = HashSet::from([commit.id]);
        repository.take_reached(&alive, &mut left).map_err(|error| error.to_string())?;
        Ok((!left.is_empty()).then(|| "no branch and no tag reaches it".to_owned()))
    }

    fn entity(&self, thing: &Thing, kept: Option<&Kept>, keys: &[IssueKey]) -> Option<NewEntity> {
        let home = &self.place.home;
        match (&thing.read, &self.repository) {
            (Some((last, Some(name))), _) => entity::branch(name, last, keys, home),
            (Some((commit, None)), Ok(repository)) => {
                let files = repository.files_of(None, &[commit], FILES).pop().and_then(Result::ok);
                entity::commit(&Seen { commit: commit.clone(), files, cut: false }, keys, home)
            }
            _ => entity::renamed(entity::Told::decode(&kept?.body).ok()?, keys, home),
        }
    }

    fn end(&self, kind: EntityKind, thing: &Thing) -> NewEntity {
        NewEntity { only_if_told: true, ..entity::gone(kind, thing.id.clone(), &self.place.home) }
    }

    fn ask<T>(&self, asked: impl Future<Output = Result<T, crate::queue::Error>>) -> Result<T, String> {
        self.handle.block_on(asked).map_err(|error| error.to_string())
    }
}
