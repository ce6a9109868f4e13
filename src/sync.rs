//! From events to what Jira is owed, and what no hook told.
//!
//! [`digest`] turns a stored event into entities: it takes the commits that the hook read, walks the
//! rest where the hook had no time, looks at the files of those that name an issue, on two threads
//! where there are many, and hands the entities on in portions. [`differences`] compares the refs of a repository with our snapshot of
//! them; what it finds becomes an event like any other.
//!
//! The daemon may be unable to read a repository. Then an event gives what the hook put into it, and
//! what is missing is said as the repository's trouble. Nothing here writes into a repository.
//!
//! Where signatures count, a commit that gives orders is read from the repository, whatever the hook told of it, and its
//! signature is checked here. When that cannot be done now the orders wait, and the event with them; everything else of
//! it goes on.

pub mod history;
mod links;

pub use links::Links;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::effect::{Identity, Replaced};
use crate::entity::{self, Home};
use crate::event::{Event, EventId, Kind, Origin, Seen};
use crate::git::{self, Budget, Commit, Helper, Known, Oid, RefName, Repository, Update};
use crate::parse::{self, IssueKey, Mentions, Order};
use crate::people::{self, People, Pusher, Signature};
use crate::queue::{Denied, Leave, NewEffect, NewEntity, Ruling, Tip};
use crate::smart::Policy;
use crate::{effect, smart};

/// How messages of a repository are read, and how links to it are made.
pub struct Reading {
    pub links: Links,
    pub home: Home,
    /// Whether commits take the keys of the branch they were pushed to.
    pub branch_links_commits: bool,
    /// Where the orders of messages are carried out, by the agent or by Jira: by whose leave.
    pub orders: Option<Orders>,
}

/// Who gives the orders of an event, and who may.
pub struct Orders {
    pub site: String,
    pub smart: smart::Settings,
    pub people: Arc<People>,
    pub pusher: Option<Pusher>,
    /// In whose name they are carried out: Jira's own id of an account, or empty for the site's account.
    pub actor: String,
    /// Why they cannot be in the pusher's own name, where they have to.
    pub lacks: Option<String>,
    /// Whether the event brings the history of a repository that is new to us.
    pub import: bool,
    /// Whether Jira is the one to carry them out, and not the agent.
    pub by_jira: bool,
    /// Whether we meet the repository with this event: what its hook did not read may have been told to a store that
    /// was lost.
    pub met: bool,
    pub now: i64,
}

impl Orders {
    /// The orders of an event that a user handed over, for the agent to carry out; nothing where they only link.
    pub fn new(
        event: &Event,
        uid: u32,
        site: &str,
        smart: &smart::Settings,
        people: Arc<People>,
        now: i64,
    ) -> Option<Orders> {
        if smart.policy == Policy::Off {
            return None;
        }
        // What was found by looking was pushed by somebody else than the daemon that found it.
        let pushed = event.kind == Kind::Push;
        let pusher = if pushed { people.pusher(&event.claims, uid, smart.is_host(uid)) } else { None };
        Some(Orders {
            site: site.to_owned(),
            smart: smart.clone(),
            people,
            pusher,
            actor: String::new(),
            lacks: None,
            import: false,
            by_jira: false,
            met: false,
            now,
        })
    }

    /// What whoever gives an order is called: by the table, else by the login; who pushed where nobody gives it.
    fn name_of(&self, giver: Option<&Pusher>) -> String {
        let Some(pusher) = giver.or(self.pusher.as_ref()) else { return String::new() };
        self.people.who(pusher).map_or_else(|| pusher.login.clone(), |person| person.name.clone())
    }

    /// Rules on each order of a commit of an event, as far as that goes without a look at the commit's signature; `walked`
    /// where the event's hook has not read the commit itself.
    pub fn rule(
        &self,
        mentions: &Mentions,
        commit: &Commit,
        event: &Event,
        repository: &str,
        walked: bool,
    ) -> Vec<Ruling> {
        let signature = Signature::Unchecked { because: String::new() };
        self.rule_signed(mentions, (commit, &signature), event, repository, walked)
    }

    /// Rules on each order of a commit of which is known who signed it.
    fn rule_signed(
        &self,
        mentions: &Mentions,
        commit: (&Commit, &Signature),
        event: &Event,
        repository: &str,
        walked: bool,
    ) -> Vec<Ruling> {
        let rule = |order: &Order| self.rule_one(order, commit, event, repository, walked);
        match self.by_jira {
            true => smart::leave(mentions, &commit.0.message, rule),
            false => mentions.orders.iter().map(rule).collect(),
        }
    }

    fn rule_one(
        &self,
        order: &Order,
        (commit, signature): (&Commit, &Signature),
        event: &Event,
        repository: &str,
        walked: bool,
    ) -> Ruling {
        let standing = event.updates.iter().filter(|update| update.new.is_some());
        let refs: Vec<RefName> = standing.map(|update| update.name.clone()).collect();
        let (verb, author, pusher) = (&order.verb, &commit.author, self.pusher.as_ref());
        let asked = smart::Asked { verb, author, pusher, signature, refs: &refs, repository };
        let mut came = self.circumstances(commit, event.kind);
        came.import |= self.by_jira && self.met && walked;
        let ruling = match self.by_jira {
            true => self.smart.rule_as_author(&asked, &self.people, came, self.now),
            false => self.smart.rule(&asked, &self.people, came, self.now),
        };
        match (ruling, &self.lacks) {
            // Once they have linked an account they may give the order again.
            (Ruling::Ready, Some(because)) => Ruling::Refused { why: Denied::Unverified, because: because.clone() },
            (ruling, _) => ruling,
        }
    }

    fn circumstances(&self, commit: &Commit, kind: Kind) -> effect::Circumstances {
        let authored_at = effect::authored_at(commit);
        effect::Circumstances { kind, import: self.import, verified: false, authored_at }
    }

    /// Whether the orders of a commit would be carried out for anybody: it is not too old, and no import.
    fn may_count(&self, commit: &Commit) -> bool {
        let came = effect::Circumstances { verified: true, ..self.circumstances(commit, Kind::Push) };
        effect::ruling(came, self.smart.max_age_days, self.now) == Ruling::Ready
    }

    /// Reads a commit as it was signed, and tells by whom.
    ///
    /// Nothing when the commit is not to be had now, and why. A signature that could change nothing is not looked at.
    fn signed(&self, repository: Option<&Repository>, commit: &Commit) -> Result<(Commit, Signature), String> {
        let repository = repository.ok_or("the daemon cannot read the repository")?;
        let signed = match repository.signed(commit.id) {
            Ok(signed) => signed,
            Err(git::Error::Missing { .. }) => {
                let because = "the repository does not have the commit any more".to_owned();
                return Ok((commit.clone(), Signature::Bad { because }));
            }
            Err(error) => return Err(error.to_string()),
        };
        let signature = match self.may_count(&signed.commit) {
            true => people::check(&signed, &self.people),
            false => Signature::Bad { because: String::new() },
        };
        Ok((signed.commit, signature))
    }
}

/// A part of what an event means.
pub enum Portion {
    /// What a site is told.
    Entities(Vec<NewEntity>),
    /// What a site is ordered, and by whom; empty when nobody knows.
    Effects(Giver, Vec<NewEffect>),
}

/// Who gives an order; empty where nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Giver {
    pub login: String,
    /// By whose name they are known wherever they push from: see [`People::holder`].
    pub holder: String,
}

/// What our snapshot says about the refs of an event.
pub struct Snapshot {
    /// Refs that no later event has moved.
    pub current: HashSet<RefName>,
    /// What was known before the event; needed only when it has to be walked.
    pub before: Vec<Oid>,
}

/// What became of an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Digest {
    pub commits: usize,
    pub keyed: usize,
    /// What could not be read, as a sentence.
    pub trouble: Option<String>,
    /// What orders wait for, as a sentence: the event is to be looked at again.
    pub waits: Option<String>,
}

/// The most files of a commit that Jira takes.
const FILES: usize = 10;
/// How many entities are handed on together.
const PORTION: usize = 200;
/// How many commits that name an issue have their files read in one go, and how many bytes of messages wait for that.
pub const ROUND: usize = 1000;
const WAITING: usize = 8 * 1024 * 1024;
/// How many commits that a rewritten branch has lost are compared with the new ones.
const LOST: Budget = Budget { commits: 1000, until: None };
/// How many commits are worth a thread.
const SHARED: usize = 50;

/// One more thread for all events together: cores are few, and each opening of a repository keeps what it read.
static SPARE: Semaphore = Semaphore::const_new(1);

/// Turns an event into entities, newest commit first, handed to `emit` in portions.
pub fn digest<E>(
    event: &Event,
    repository: Option<&Repository>,
    snapshot: &Snapshot,
    reading: &Reading,
    mut emit: impl FnMut(Portion) -> Result<(), E>,
) -> Result<Result<Digest, git::Error>, E> {
    let mut work = Work {
        repository,
        reading,
        event,
        effects: Vec::new(),
        granted: Vec::new(),
        branch_keys: branch_keys(event, reading),
        digest: Digest::default(),
        named: Vec::new(),
        walks: false,
        waiting: 0,
        portion: Vec::new(),
        helper: None,
    };
    for update in event.updates.iter().filter(|update| snapshot.current.contains(&update.name)) {
        work.branch(event, update);
    }
    for seen in &event.commits {
        work.commit(seen.clone());
        work.hand_on(&mut emit)?;
    }
    if event.rest {
        match repository {
            Some(repository) => match work.walk(event, repository, snapshot, &mut emit)? {
                Ok(()) => {}
                Err(error) => return Ok(Err(error)),
            },
            None => work.digest.trouble = Some("commits beyond the first could not be read by the daemon".to_owned()),
        }
    }
    work.find_repeats();
    work.look_at_files();
    work.hand_on_all(&mut emit)?;
    work.hand_on_effects(&mut emit)?;
    Ok(Ok(work.digest))
}

/// What happened to the refs of a repository since our snapshot, as one event; `None` when nothing did.
pub fn differences(origin: &Origin, refs: &[(RefName, Oid)], tips: &[Tip], now: i64) -> Option<Event> {
    let present: HashMap<&RefName, Oid> = refs.iter().map(|(name, id)| (name, *id)).collect();
    let known: HashMap<&RefName, &Tip> = tips.iter().map(|tip| (&tip.name, tip)).collect();
    let moved = refs.iter().filter_map(|(name, id)| {
        let tip = known.get(name);
        let old = tip.and_then(|tip| tip.id);
        let update = Update { name: name.clone(), old, new: Some(*id) };
        (old != Some(*id)).then(|| (update, tip.map_or(0, |tip| tip.version)))
    });
    let gone = tips.iter().filter(|tip| tip.id.is_some() && !present.contains_key(&tip.name));
    let gone = gone.map(|tip| (Update { name: tip.name.clone(), old: tip.id, new: None }, tip.version));
    let mut found: Vec<(Update, i64)> =
        moved.chain(gone).filter(|(update, _)| git::concerns_us(&update.name)).collect();
    if found.is_empty() {
        return None;
    }
    found.sort_unstable_by(|a, b| a.0.name.cmp(&b.0.name));
    Some(Event {
        id: EventId::of_differences(&origin.id, found.iter().map(|(update, version)| (update, *version))),
        kind: Kind::Found,
        at: now,
        repository: origin.clone(),
        rest: found.iter().any(|(update, _)| update.new.is_some()),
        updates: found.into_iter().map(|(update, _)| update).collect(),
        commits: Vec::new(),
        claims: Vec::new(),
        push_options: Vec::new(),
        tips: Vec::new(),
        overridden: Vec::new(),
    })
}

/// The keys in the order they appear, as entities carry them.
pub fn keys(mentions: &Mentions) -> Vec<IssueKey> {
    mentions.keys.iter().map(|found| found.key.clone()).collect()
}

struct Work<'a> {
    repository: Option<&'a Repository>,
    reading: &'a Reading,
    event: &'a Event,
    /// Each with whoever gives the order.
    effects: Vec<(Giver, NewEffect)>,
    /// The orders that are left to Jira, each with its commit.
    granted: Vec<(Oid, NewEffect)>,
    branch_keys: Vec<IssueKey>,
    digest: Digest,
    /// Commits that name an issue; the files of some are to be read yet.
    named: Vec<(Seen, Vec<IssueKey>, Leave)>,
    /// Whether those of the hook are done, and the rest of the event is walked.
    walks: bool,
    /// How long their messages are together.
    waiting: usize,
    portion: Vec<NewEntity>,
    helper: Option<(Helper, SemaphorePermit<'static>)>,
}

impl Work<'_> {
    fn branch(&mut self, event: &Event, update: &Update) {
        if !update.name.is_branch() {
            return;
        }
        let keys = self.reading.links.of_branch(&update.name);
        let home = &self.reading.home;
        let Some(new) = update.new else {
            return self.portion.push(entity::branch_gone(&update.name, &keys, home));
        };
        if keys.is_empty() {
            return;
        }
        match tip(event, new).or_else(|| self.repository?.commit(new).ok()) {
            Some(last) => self.portion.extend(entity::branch(&update.name, &last, &keys, home)),
            None => self.digest.trouble = Some(format!("commit {new} could not be read by the daemon")),
        }
    }

    fn commit(&mut self, mut seen: Seen) {
        self.digest.commits += 1;
        if seen.cut
            && let Some(whole) = self.repository.and_then(|repository| repository.commit(seen.commit.id).ok())
        {
            (seen.commit, seen.cut) = (whole, false);
        }
        let mentions = self.reading.links.rules.message(&seen.commit.message);
        let ignored = self.reading.links.ignores(&seen.commit);
        let leave = if ignored { Leave::None } else { self.orders(&seen, &mentions) };
        let keys = self.reading.links.of_mentions(&seen.commit, &mentions, &self.branch_keys);
        if keys.is_empty() {
            return;
        }
        self.digest.keyed += 1;
        self.waiting += seen.commit.message.len();
        self.named.push((seen, keys, leave));
    }

    /// Puts down what a commit orders of the agent, and whether its pusher may; or gives leave to Jira.
    fn orders(&mut self, seen: &Seen, mentions: &Mentions) -> Leave {
        let Some(orders) = self.reading.orders.as_ref().filter(|_| !mentions.orders.is_empty()) else {
            return Leave::None;
        };
        if seen.cut {
            // Half a message would be another commit's.
            let because = format!("commands of {} could not be read by the daemon", seen.commit.id);
            self.digest.trouble = Some(because.clone());
            return Leave::Denied { because };
        }
        let (mut commit, mut mentions) = (Cow::Borrowed(&seen.commit), Cow::Borrowed(mentions));
        let mut signature = Signature::Unchecked { because: String::new() };
        if orders.smart.policy == Policy::Signed {
            match orders.signed(self.repository, &commit) {
                Ok((signed, found)) => {
                    mentions = Cow::Owned(self.reading.links.rules.message(&signed.message));
                    (commit, signature) = (Cow::Owned(signed), found);
                }
                Err(because) => {
                    if orders.may_count(&commit) && !orders.by_jira {
                        self.wait(&commit, &because);
                    }
                    return Leave::Denied { because };
                }
            }
        }
        let giver = orders.smart.giver(orders.pusher.as_ref(), &signature);
        let arrival = self.arrival(orders, giver);
        let giver = giver
            .or(orders.pusher.as_ref())
            .map(|giver| Giver { login: giver.login.clone(), holder: orders.people.holder(giver) });
        let giver = giver.unwrap_or_default();
        let name = &self.reading.home.name;
        let rulings = orders.rule_signed(&mentions, (&commit, &signature), self.event, name, self.walks);
        let mut effects = effect::of_commit(&mentions, &commit, &arrival, rulings);
        if let Signature::Unchecked { because } = &signature
            && orders.smart.policy == Policy::Signed
        {
            match orders.by_jira {
                // Jira is told of the commit now, and given leave with it or never.
                true => effects.iter_mut().filter(|effect| effect.ruling == Ruling::Open).for_each(|effect| {
                    effect.ruling = Ruling::Refused { why: Denied::Unverified, because: because.clone() };
                }),
                false => self.wait(&commit, because),
            }
        }
        if self.may_repeat() {
            let ids = parse::made_of(&commit.message).into_iter().filter_map(Oid::from_hex);
            let commits = ids.filter_map(|id| self.repository?.commit(id).ok());
            let mut replaced = self.replaced(commits.collect(), &arrival);
            effects.iter_mut().for_each(|effect| effect.repeats = replaced.take(effect));
        }
        if orders.by_jira {
            let (granted, denied): (Vec<NewEffect>, Vec<NewEffect>) =
                effects.into_iter().partition(|effect| effect.ruling == Ruling::Ready);
            let leave = leave(&granted, &denied);
            self.granted.extend(granted.into_iter().map(|effect| (commit.id, effect)));
            // What is refused is in the ledger whoever would carry it out: so that it is seen, and refused once and for all.
            self.effects.extend(denied.into_iter().map(|effect| (giver.clone(), effect)));
            return leave;
        }
        self.effects.extend(effects.into_iter().map(|effect| (giver.clone(), effect)));
        Leave::None
    }

    /// Notes that the orders of a commit wait until it can be told who signed it.
    fn wait(&mut self, commit: &Commit, because: &str) {
        self.digest.waits = Some(format!("commands of {} wait: {because}", commit.id));
    }

    fn arrival(&self, orders: &Orders, giver: Option<&Pusher>) -> effect::Arrival {
        effect::Arrival {
            site: orders.site.clone(),
            repository: self.event.repository.id.clone(),
            identity: orders.smart.identity,
            pusher: orders.name_of(giver),
            by_author: orders.smart.policy == Policy::Email,
            pushed_at: self.event.at,
            // The newest commit comes first, and the oldest is to be obeyed first.
            place: -i64::try_from(self.digest.commits).unwrap_or(i64::MAX),
        }
    }

    /// Whether orders that were given before may come again in other words: not where every commit counts by itself,
    /// nor where nothing is carried out anyway.
    fn may_repeat(&self) -> bool {
        let push = self.event.kind == Kind::Push;
        let may = |it: &Orders| push && !it.import && it.smart.identity == Identity::Authored;
        self.reading.orders.as_ref().is_some_and(may)
    }

    /// Finds the orders that were given before by commits that a rewritten branch has lost, and puts what repeats one last.
    fn find_repeats(&mut self) {
        let Some((orders, repository)) = self.reading.orders.as_ref().zip(self.repository) else { return };
        if !self.may_repeat() || (self.effects.is_empty() && self.granted.is_empty()) {
            return;
        }
        let news: Vec<Oid> = self.event.updates.iter().filter_map(|update| update.new).collect();
        let kept = Known::new(news.iter().copied());
        let moved = self.event.updates.iter().filter(|update| update.new.is_some());
        let olds: Vec<Oid> = moved.filter_map(|update| update.old).collect();
        // What is no longer there cannot be compared, and counts by itself.
        let mut lost = repository.walk(&olds, &kept, LOST).unwrap_or_default().commits;
        // A walk may give more than is new; an order of a commit that is still there stands for no other.
        let is_kept = |id| news.iter().any(|&new| repository.is_ancestor(id, new).unwrap_or(true));
        lost.retain(|one| !self.reading.links.rules.message(&one.message).orders.is_empty() && !is_kept(one.id));
        let mut replaced = self.replaced(lost, &self.arrival(orders, None));
        let given = self.effects.iter().map(|(_, effect)| effect);
        replaced.without(given.chain(self.granted.iter().map(|(_, effect)| effect)));
        for (_, effect) in self.effects.iter_mut().filter(|(_, effect)| effect.repeats.is_none()) {
            effect.repeats = replaced.take(effect);
        }
        self.effects.sort_by_key(|(_, effect)| effect.repeats.is_some());
        for (commit, effect) in self.granted.iter().filter(|(_, effect)| effect.repeats.is_none()) {
            let leave = self.named.iter_mut().find(|(seen, ..)| seen.commit.id == *commit).map(|(_, _, leave)| leave);
            if let (Some(Leave::Granted { repeats, .. }), Some(first)) = (leave, replaced.take(effect)) {
                repeats.push(first);
            }
        }
    }

    fn replaced(&self, commits: Vec<Commit>, arrival: &effect::Arrival) -> Replaced {
        let mut replaced = Replaced::default();
        commits.iter().for_each(|one| replaced.add(&self.reading.links.rules.message(&one.message), one, arrival));
        replaced
    }

    /// Reads the files of commits that name an issue, and makes entities of them in their order.
    fn look_at_files(&mut self) {
        self.waiting = 0;
        let mut named = std::mem::take(&mut self.named);
        if let Some(repository) = self.repository {
            let unread = named.iter().filter(|(seen, ..)| seen.files.is_none());
            let unread: Vec<&Commit> = unread.map(|(seen, ..)| &seen.commit).collect();
            let files = repository.files_of(self.helper(repository, unread.len()), &unread, FILES);
            let unread = named.iter_mut().filter(|(seen, ..)| seen.files.is_none());
            unread.zip(files).for_each(|((seen, ..), files)| seen.files = files.ok());
        }
        let home = &self.reading.home;
        let entities = named.into_iter().filter_map(|(seen, keys, leave)| {
            entity::commit(&seen, &keys, home).map(|entity| NewEntity { leave, ..entity })
        });
        self.portion.extend(entities);
    }

    /// Gives the helper, and takes one on where there is much to do and nobody else has it.
    fn helper(&mut self, repository: &Repository, commits: usize) -> Option<&Helper> {
        if self.helper.is_none() && commits >= SHARED && thread::available_parallelism().is_ok_and(|n| n.get() > 1) {
            self.helper = SPARE.try_acquire().ok().map(|permit| (Helper::of(repository), permit));
        }
        self.helper.as_ref().map(|(helper, _)| helper)
    }

    fn walk<E>(
        &mut self,
        event: &Event,
        repository: &Repository,
        snapshot: &Snapshot,
        emit: &mut impl FnMut(Portion) -> Result<(), E>,
    ) -> Result<Result<(), git::Error>, E> {
        self.walks = true;
        let read: HashSet<Oid> = event.commits.iter().map(|seen| seen.commit.id).collect();
        let news: Vec<Oid> = event.updates.iter().filter_map(|update| update.new).collect();
        let known = Known::new(snapshot.before.iter().copied());
        let mut failed = None;
        let walked = repository.walk_each(&news, &known, Budget::UNBOUNDED, &mut |commit| {
            if !read.contains(&commit.id) {
                self.commit(Seen { commit, files: None, cut: false });
            }
            match self.hand_on(emit) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        match (failed, walked) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Ok(Err(error)),
            (None, Ok(walk)) => {
                if walk.missing > 0 {
                    self.digest.trouble =
                        Some(format!("{} objects are missing (shallow, partial or damaged)", walk.missing));
                }
                Ok(Ok(()))
            }
        }
    }

    /// Hands on full portions when enough has come together.
    fn hand_on<E>(&mut self, emit: &mut impl FnMut(Portion) -> Result<(), E>) -> Result<(), E> {
        if self.named.len() >= ROUND || self.waiting >= WAITING {
            self.look_at_files();
        }
        // What may repeat an order is handed on once all are known.
        if self.effects.len() >= PORTION && !self.may_repeat() {
            self.hand_on_effects(emit)?;
        }
        if self.portion.len() >= PORTION { self.hand_on_all(emit) } else { Ok(()) }
    }

    fn hand_on_all<E>(&mut self, emit: &mut impl FnMut(Portion) -> Result<(), E>) -> Result<(), E> {
        let mut entities = std::mem::take(&mut self.portion).into_iter().peekable();
        while entities.peek().is_some() {
            emit(Portion::Entities(entities.by_ref().take(PORTION).collect()))?;
        }
        Ok(())
    }

    fn hand_on_effects<E>(&mut self, emit: &mut impl FnMut(Portion) -> Result<(), E>) -> Result<(), E> {
        for given in std::mem::take(&mut self.effects).chunk_by(|a, b| a.0 == b.0) {
            let effects = given.iter().map(|(_, effect)| effect.clone()).collect();
            emit(Portion::Effects(given[0].0.clone(), effects))?;
        }
        Ok(())
    }
}

/// The leave of a commit to have its orders carried out by Jira: those that may be, or why none may.
fn leave(granted: &[NewEffect], denied: &[NewEffect]) -> Leave {
    if let Some(first) = granted.first() {
        let orders = granted.iter().map(|effect| effect.key.clone()).collect();
        let repeats = granted.iter().filter_map(|effect| effect.repeats.clone()).collect();
        return Leave::Granted { orders, repeats, authored_at: first.authored_at };
    }
    let because = denied.iter().find_map(|effect| match &effect.ruling {
        Ruling::Refused { because, .. } => Some(because.clone()),
        Ruling::Ready | Ruling::Open => None,
    });
    because.map_or(Leave::None, |because| Leave::Denied { because })
}

/// The keys that commits take from their branch: only where the push says which branch that is.
fn branch_keys(event: &Event, reading: &Reading) -> Vec<IssueKey> {
    let mut branches = event.updates.iter().filter(|update| update.name.is_branch() && update.new.is_some());
    match (branches.next(), branches.next()) {
        (Some(only), None) if reading.branch_links_commits => reading.links.of_branch(&only.name),
        _ => Vec::new(),
    }
}

fn tip(event: &Event, id: Oid) -> Option<Commit> {
    let commits = event.commits.iter().map(|seen| &seen.commit);
    commits.chain(&event.tips).find(|commit| commit.id == id).cloned()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use crate::entity::{Body, Told, Web};
    use crate::parse::{Rules, Settings};
    use crate::queue::Denied;

    use super::*;

    #[track_caller]
    fn git(git_dir: &std::path::Path, arguments: &[&str], stdin: &str) -> String {
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(git_dir).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_long_history_is_told_in_its_order_and_with_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let git_dir = folder.path().join("long.git");
        git(&git_dir, &["init", "--quiet", "--bare"], "");
        let mut stream = String::new();
        for number in 1..=2 * ROUND + 300 {
            let subject = format!("PROJ-{number} x");
            stream += &format!("commit refs/heads/main\ncommitter C <c@example.com> {number} +0000\n");
            stream +=
                &format!("data {}\n{subject}\nM 644 inline f{}\ndata 5\n{number:04}\n\n", subject.len(), number % 9);
        }
        git(&git_dir, &["fast-import", "--quiet"], &stream);
        let repository = Repository::open(&git_dir).unwrap();
        let origin = Origin { id: "one".to_owned(), git_dir: git_dir.to_str().unwrap().into() };
        let event = differences(&origin, &repository.refs().unwrap(), &[], 0).unwrap();
        let reading = Reading {
            links: Links::of(Arc::new(Rules::new(&Settings::default(), None).unwrap())),
            home: Home { name: "long".to_owned(), web: Web::default(), site_url: "https://j".to_owned() },
            branch_links_commits: false,
            orders: None,
        };
        let snapshot = Snapshot { current: HashSet::new(), before: Vec::new() };
        let (mut entities, mut largest) = (Vec::new(), 0);
        let digested = digest(&event, Some(&repository), &snapshot, &reading, |portion| {
            let Portion::Entities(portion) = portion else { panic!("no orders were asked for") };
            largest = largest.max(portion.len());
            entities.extend(portion);
            Ok::<_, std::convert::Infallible>(())
        });
        assert_eq!(digested.unwrap().unwrap().keyed, 2 * ROUND + 300);
        assert_eq!(largest, PORTION);
        let ids: Vec<&str> = entities.iter().map(|entity| entity.id.as_str()).collect();
        let list = git(&git_dir, &["rev-list", "main"], "");
        assert_eq!(ids, list.lines().collect::<Vec<_>>());
        for entity in &entities {
            let Body::Commit { seen, .. } = minicbor::decode::<Told>(&entity.body).unwrap().body else {
                panic!("{} is no commit", entity.id);
            };
            assert_eq!(seen.files.unwrap().count, 1);
        }
    }

    /// What a commit orders where signatures count, and what that waits for; the hook tells of it as it likes.
    fn orders_of(git_dir: &std::path::Path, told: Commit, readable: bool) -> (Vec<NewEffect>, Option<String>) {
        let repository = Repository::open(git_dir).unwrap();
        let origin = Origin { id: "one".to_owned(), git_dir: git_dir.to_str().unwrap().into() };
        let event = Event {
            kind: Kind::Push,
            rest: false,
            commits: vec![Seen { commit: told, files: None, cut: false }],
            ..differences(&origin, &repository.refs().unwrap(), &[], 0).unwrap()
        };
        let orders = Orders {
            actor: String::new(),
            lacks: None,
            site: "jira".to_owned(),
            smart: smart::Settings { policy: Policy::Signed, ..smart::Settings::default() },
            people: Arc::default(),
            pusher: None,
            import: false,
            by_jira: false,
            met: false,
            now: 86_400_000,
        };
        let reading = Reading {
            links: Links::of(Arc::new(Rules::new(&Settings::default(), None).unwrap())),
            home: Home { name: "one".to_owned(), web: Web::default(), site_url: "https://j".to_owned() },
            branch_links_commits: false,
            orders: Some(orders),
        };
        let snapshot = Snapshot { current: HashSet::new(), before: Vec::new() };
        let mut effects = Vec::new();
        let digested = digest(&event, Some(&repository).filter(|_| readable), &snapshot, &reading, |portion| {
            if let Portion::Effects(_, found) = portion {
                effects.extend(found);
            }
            Ok::<_, std::convert::Infallible>(())
        });
        (effects, digested.unwrap().unwrap().waits)
    }

    #[test]
    fn g5_s03_what_is_ordered_stands_in_the_repository_whatever_a_hook_told() {
        let folder = tempfile::tempdir().unwrap();
        let git_dir = folder.path().join("one.git");
        git(&git_dir, &["init", "--quiet", "--bare"], "");
        let message = "PROJ-1 #comment true";
        let stream = format!(
            "commit refs/heads/main\ncommitter C <c@example.com> 7 +0000\ndata {}\n{message}\n\n",
            message.len()
        );
        git(&git_dir, &["fast-import", "--quiet"], &stream);
        let repository = Repository::open(&git_dir).unwrap();
        let real = repository.commit(repository.refs().unwrap()[0].1).unwrap();
        let forged = Commit { message: b"PROJ-1 #comment forged".to_vec(), ..real.clone() };
        let (effects, waits) = orders_of(&git_dir, forged.clone(), true);
        assert_eq!((effects.len(), waits), (1, None));
        let body = String::from_utf8_lossy(&effects[0].body).into_owned();
        assert!(body.contains("true") && !body.contains("forged"), "{body}");
        assert!(matches!(&effects[0].ruling, Ruling::Refused { why: Denied::Unverified, .. }), "{effects:?}");
        // Where it cannot be read, what the hook told is not even written down.
        let (effects, waits) = orders_of(&git_dir, forged, false);
        assert!(effects.is_empty() && waits.unwrap().ends_with("wait: the daemon cannot read the repository"));
        let gone = Commit { id: "1".repeat(40).parse().unwrap(), ..real.clone() };
        let (effects, waits) = orders_of(&git_dir, gone, true);
        assert!(matches!(&effects[0].ruling, Ruling::Refused { why: Denied::Unverified, .. }) && waits.is_none());
        // What nobody would carry out any more waits for nothing.
        let old = Commit { author: git::Ident { at: -40 * 86_400, ..real.author.clone() }, ..real };
        assert_eq!(orders_of(&git_dir, old, false).1, None);
    }
}
