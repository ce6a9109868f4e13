//! Which commits are new, and what they say.
//!
//! A walk goes from the tips of a push towards the past, latest committer date first, over raw commit objects that are
//! read and parsed here. At first it merely stops at ids that were handed over before; nearly every push ends so,
//! within a few commits and whatever the number of refs, and a short look from the likeliest known tips takes out what
//! one of them went past. When it has not ended after [`NEAR`] commits it starts anew in two colours, as `git rev-list
//! new --not old` does: known commits are walked too and paint their ancestors, and what is left unpainted is new.
//!
//! A commit is left out only if it is proven reachable from a tip that was handed over. Clocks that lie, objects that
//! are gone and a budget that is spent can therefore make a walk report a commit again, which is harmless, but never
//! hide one.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::hash::{Hash, Hasher};
use std::mem;
use std::ops::ControlFlow;
use std::time::Instant;

use git2::ObjectType;
use memchr::{memchr, memrchr};
use minicbor::{Decode, Encode};

use super::marks::Marks;
use super::{Error, Known, Object, Oid, Repository};

/// A commit without its tree.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Commit {
    #[n(0)]
    pub id: Oid,
    #[n(1)]
    pub parents: Vec<Oid>,
    #[n(2)]
    pub author: Ident,
    #[n(3)]
    pub committer: Ident,
    /// UTF-8 when the commit names the legacy encoding it is in, else its bytes as they are.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub message: Vec<u8>,
}

/// A person at a moment, as a commit names its author and its committer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Ident {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub name: Vec<u8>,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub email: Vec<u8>,
    /// Seconds since 1970.
    #[n(2)]
    pub at: i64,
    /// Minutes east of Greenwich.
    #[n(3)]
    pub offset: i16,
}

/// How far a walk may go.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub commits: usize,
    pub until: Option<Instant>,
}

/// What a walk found.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    /// Newest first.
    pub commits: Vec<Commit>,
    /// Whether the walk came to its end within its budget.
    pub complete: bool,
    /// How many objects it needed that are not there: a shallow, partial or damaged repository.
    pub missing: usize,
}

impl Commit {
    /// Tells whether it joins two or more lines of history.
    pub fn is_merge(&self) -> bool {
        self.parents.len() > 1
    }
}

impl Budget {
    /// No bound at all, for those who have time.
    pub const UNBOUNDED: Budget = Budget { commits: usize::MAX, until: None };

    fn is_spent(&self, commits: usize) -> bool {
        commits >= self.commits || self.until.is_some_and(|until| Instant::now() >= until)
    }
}

impl Repository {
    /// Reads the commit an id names, through any number of annotated tags.
    pub fn commit(&self, id: Oid) -> Result<Commit, Error> {
        let (id, object) = self.peeled(id)?;
        let raw = Raw::parse(&object.content).ok_or(Error::NotACommit { id })?;
        Ok(raw.commit(id))
    }

    /// Collects the commits reachable from `tips` but not from what is `known`, newest first.
    ///
    /// A tip that is a tag of something else than a commit has no history and is passed over.
    pub fn walk(&self, tips: &[Oid], known: &Known, budget: Budget) -> Result<Walk, Error> {
        let mut commits = Vec::new();
        let mut collect = |commit| {
            commits.push(commit);
            ControlFlow::Continue(())
        };
        let (walker, complete) = self.new_commits(tips, known, budget, &mut collect);
        commits.retain(|commit| walker.colour(commit.id) != Some(Colour::Known));
        Ok(Walk { commits, complete, missing: walker.missing })
    }

    /// Walks like [`walk`](Self::walk) but hands each commit over as it is met, so that a million need no memory.
    ///
    /// The list it returns is empty; `complete` is false also when `each` broke off. Where clocks lie it may hand
    /// over a commit that `walk` would have left out in the end.
    pub fn walk_each(
        &self,
        tips: &[Oid],
        known: &Known,
        budget: Budget,
        each: &mut dyn FnMut(Commit) -> ControlFlow<()>,
    ) -> Result<Walk, Error> {
        let (walker, complete) = self.new_commits(tips, known, budget, each);
        Ok(Walk { commits: Vec::new(), complete, missing: walker.missing })
    }

    /// Collects the commits reachable from `tips` but from none of `others`, newest first, as `git rev-list tips --not
    /// others` does: every one of them is walked from, so this costs reading them all.
    pub fn walk_beyond(&self, tips: &[Oid], others: &[Oid], budget: Budget) -> Walk {
        let mut commits = Vec::new();
        let mut walker = Walker::new(self, None);
        walker.push_known(others.iter().copied(), budget);
        walker.push_all(tips);
        let mut complete = walker.run(budget, &mut |commit| {
            commits.push(commit);
            ControlFlow::Continue(())
        });
        // What was made within the same seconds may have had its turn before the others' line came by.
        let oldest = commits.iter().map(|commit| commit.committer.at).min().unwrap_or(i64::MAX);
        while let Some(next) = walker.waiting.pop().filter(|next| next.at.saturating_add(A_DAY) >= oldest) {
            if budget.is_spent(0) {
                complete = false;
                break;
            }
            walker.visit(next);
        }
        commits.retain(|commit| walker.colour(commit.id) != Some(Colour::Known));
        Walk { commits, complete, missing: walker.missing }
    }

    /// Tells whether `ancestor` is reachable from `of`; a ref that moved to where this is false was forced.
    ///
    /// Costs a walk down to where the two lines part.
    pub fn is_ancestor(&self, ancestor: Oid, of: Oid) -> Result<bool, Error> {
        let (ancestor, of) = (self.peeled(ancestor)?.0, self.peeled(of)?.0);
        let mut walker = Walker::new(self, None);
        walker.push(of, Colour::Known);
        walker.push(ancestor, Colour::New);
        walker.run(Budget::UNBOUNDED, &mut |_| ControlFlow::Continue(()));
        Ok(walker.colour(ancestor) == Some(Colour::Known))
    }

    /// Takes out of `wanted` every commit that is reachable from `tips`; what is left is reached by none of them.
    ///
    /// Goes by parents alone, so no clock has a say, and reads all of history where something is left. Fails where an
    /// object on the way is not there, but for what is past the border of a shallow repository: then nobody can tell.
    pub fn take_reached(&self, tips: &[Oid], wanted: &mut HashSet<Oid>) -> Result<(), Error> {
        let shallow = std::fs::read(self.common_dir.join("shallow")).unwrap_or_default();
        let border: HashSet<Oid> = shallow.split(|byte| *byte == b'\n').filter_map(Oid::from_hex).collect();
        let mut seen = Marks::default();
        let mut waiting: Vec<Oid> = Vec::new();
        for &tip in tips {
            match self.peeled(tip) {
                Ok((id, _)) => waiting.push(id),
                // A tag of a file or of a folder has no history.
                Err(Error::NotACommit { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        while let Some(id) = waiting.pop() {
            if wanted.is_empty() {
                break;
            }
            if seen.get(id).is_none() {
                seen.set(id, 1);
                wanted.remove(&id);
                if border.contains(&id) {
                    continue;
                }
                let object = self.read(id)?.ok_or(Error::Missing { id })?;
                let raw = Raw::parse(&object.content).ok_or(Error::NotACommit { id })?;
                waiting.extend(raw.parents().filter(|&parent| seen.get(parent).is_none()));
            }
        }
        Ok(())
    }

    fn new_commits<'r>(
        &'r self,
        tips: &[Oid],
        known: &'r Known,
        budget: Budget,
        each: &mut dyn FnMut(Commit) -> ControlFlow<()>,
    ) -> (Walker<'r>, bool) {
        if known.is_empty() {
            let mut walker = Walker::new(self, None);
            walker.push_all(tips);
            let complete = walker.run(budget, each);
            return (walker, complete);
        }
        let mut near = Vec::new();
        let mut walker = Walker { stops: true, ..Walker::new(self, Some(known)) };
        walker.push_all(tips);
        let nearby = Budget { commits: budget.commits.min(NEAR), ..budget };
        let complete = walker.run(nearby, &mut |commit| {
            near.push(commit);
            ControlFlow::Continue(())
        });
        if complete || nearby.is_spent(0) {
            let painted = self.paint_near(&near, known);
            near.retain(|commit| painted.colour(commit.id) != Some(Colour::Known));
            let taken = near.into_iter().try_for_each(each).is_continue();
            return (walker, complete && taken);
        }
        let mut walker = Walker::new(self, Some(known));
        walker.push_known(known.seeds(self), budget);
        walker.push_all(tips);
        let complete = walker.run(budget, each);
        (walker, complete)
    }

    /// Paints what of a few commits is known after all, because a known branch went past it.
    fn paint_near<'r>(&'r self, near: &[Commit], known: &'r Known) -> Walker<'r> {
        let mut walker = Walker { steps: NEAR_STEPS, ..Walker::new(self, Some(known)) };
        if !near.is_empty() {
            walker.push_known(known.seeds(self).take(NEAR_SEEDS), Budget::UNBOUNDED);
            near.iter().for_each(|commit| walker.push(commit.id, Colour::New));
            walker.run(Budget::UNBOUNDED, &mut |_| ControlFlow::Continue(()));
        }
        walker
    }

    /// Reads the commit object that an id names, directly or through tags.
    pub(super) fn peeled(&self, mut id: Oid) -> Result<(Oid, Object), Error> {
        loop {
            let object = self.read(id)?.ok_or(Error::Missing { id })?;
            match object.kind {
                ObjectType::Commit => return Ok((id, object)),
                ObjectType::Tag => id = tagged(&object.content).ok_or(Error::NotACommit { id })?,
                _ => return Err(Error::NotACommit { id }),
            }
        }
    }
}

/// How wrong clocks may be where it matters, in seconds.
const A_DAY: i64 = 86_400;

/// How many commits the plain walk looks at before it gives way to the one in two colours.
const NEAR: usize = 64;

/// How many known tips a few new commits are compared with, and how many commits are looked at for that.
const NEAR_SEEDS: usize = 32;
const NEAR_STEPS: usize = 512;

/// How many more known commits are looked at when only known ones are left, lest a clock that was a little wrong
/// leave something unpainted.
const SLOP: usize = 5;

/// How many commits waiting for their turn are kept in memory; past that they are read a second time.
const KEPT: usize = 4096;

struct Walker<'r> {
    repository: &'r Repository,
    known: Option<&'r Known>,
    /// Whether it stops at what is known rather than paint from there.
    stops: bool,
    waiting: BinaryHeap<Waiting>,
    /// The colours of all that was met.
    seen: Marks,
    /// How many of `waiting` are new, as far as painted yet.
    new: usize,
    missing: usize,
    /// How many commits may still take their turn.
    steps: usize,
    /// Whether something that was taken for new was painted since this was last asked.
    repainted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Colour {
    /// New, and waiting for its turn.
    New = 1,
    /// New, and handed over.
    Done,
    /// Reachable from something known.
    Known,
}

struct Waiting {
    at: i64,
    order: Reverse<usize>,
    id: Oid,
    object: Option<Object>,
}

impl<'r> Walker<'r> {
    fn new(repository: &'r Repository, known: Option<&'r Known>) -> Walker<'r> {
        Walker {
            repository,
            known,
            stops: false,
            waiting: BinaryHeap::new(),
            seen: Marks::default(),
            new: 0,
            missing: 0,
            steps: usize::MAX,
            repainted: false,
        }
    }

    fn colour(&self, id: Oid) -> Option<Colour> {
        let mark = self.seen.get(id)?;
        [Colour::New, Colour::Done, Colour::Known].into_iter().find(|colour| *colour as u8 == mark)
    }

    fn set(&mut self, id: Oid, colour: Colour) {
        self.seen.set(id, colour as u8);
    }

    fn push_all(&mut self, tips: &[Oid]) {
        for &tip in tips {
            self.push(tip, Colour::New);
        }
    }

    /// Seeds the walk with what is known; what is no longer there paints nothing.
    fn push_known(&mut self, seeds: impl Iterator<Item = Oid>, budget: Budget) {
        for seed in seeds {
            if budget.is_spent(0) {
                return;
            }
            if self.repository.has(seed) {
                self.push(seed, Colour::Known);
            }
        }
    }

    /// Lets an object wait for its turn, or paints it if it was met before.
    fn push(&mut self, mut id: Oid, colour: Colour) {
        loop {
            let is_known = self.known.is_some_and(|known| known.contains(id));
            if is_known && self.stops {
                return;
            }
            let colour = if is_known { Colour::Known } else { colour };
            match (self.colour(id), colour) {
                // Either it is met for the first time, or its ancestors were taken for new and are to be painted now.
                (before @ None, _) | (before @ Some(Colour::Done), Colour::Known) => {
                    self.repainted |= before.is_some();
                    self.set(id, colour);
                }
                (Some(Colour::New), Colour::Known) => {
                    self.new -= 1;
                    return self.set(id, colour);
                }
                (Some(_), _) => return,
            }
            match self.repository.read(id) {
                Ok(Some(object)) if object.kind == ObjectType::Commit => return self.wait(id, object, colour),
                Ok(Some(object)) if object.kind == ObjectType::Tag => match tagged(&object.content) {
                    Some(target) => {
                        // The tag itself does not wait.
                        self.set(id, if is_known { Colour::Known } else { Colour::Done });
                        id = target;
                    }
                    None => return self.count_missing(id, colour),
                },
                Ok(Some(_)) => return self.set(id, Colour::Known),
                Ok(None) | Err(_) => return self.count_missing(id, colour),
            }
        }
    }

    fn wait(&mut self, id: Oid, object: Object, colour: Colour) {
        let Some(raw) = Raw::parse(&object.content) else {
            return self.count_missing(id, colour);
        };
        let at = raw.committed_at();
        self.repository.trees.borrow_mut().put(Key::of(id), raw.tree, 0);
        self.new += usize::from(colour == Colour::New);
        let object = Some(object).filter(|_| self.waiting.len() < KEPT);
        self.waiting.push(Waiting { at, order: Reverse(self.seen.len()), id, object });
    }

    fn count_missing(&mut self, id: Oid, colour: Colour) {
        self.missing += usize::from(colour == Colour::New);
        self.set(id, Colour::Known);
    }

    /// Hands over new commits and paints known ones; tells whether it reached the end.
    fn run(&mut self, budget: Budget, each: &mut dyn FnMut(Commit) -> ControlFlow<()>) -> bool {
        let (mut count, mut slop) = (0, SLOP);
        while self.new > 0 || slop > 0 {
            slop = if self.new > 0 || mem::take(&mut self.repainted) { SLOP } else { slop - 1 };
            if self.new > 0 && (budget.is_spent(count) || self.steps == 0) {
                return false;
            }
            self.steps = self.steps.saturating_sub(1);
            let Some(next) = self.waiting.pop() else { return true };
            if let Some(commit) = self.visit(next) {
                count += 1;
                if each(commit).is_break() {
                    return false;
                }
            }
        }
        true
    }

    /// Takes a commit's turn: its parents wait in its colour, and if it is new it is handed over.
    fn visit(&mut self, next: Waiting) -> Option<Commit> {
        let Waiting { id, object, .. } = next;
        let is_new = self.colour(id) == Some(Colour::New);
        if is_new {
            self.new -= 1;
            self.set(id, Colour::Done);
        }
        let Some(object) = object.or_else(|| self.repository.read(id).ok().flatten()) else {
            self.missing += usize::from(is_new);
            return None;
        };
        let raw = Raw::parse(&object.content)?;
        for parent in raw.parents() {
            self.push(parent, if is_new { Colour::New } else { Colour::Known });
        }
        is_new.then(|| raw.commit(id))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

/// The first half of a SHA-256 id, or most of a SHA-1 id, standing for the whole in large sets.
///
/// Two that agree in 128 bits are not to be had.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key([u8; 16]);

/// Spreads what already is a hash, so that ids somebody searched for do no great harm.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Key {
    pub(super) fn of(id: Oid) -> Key {
        Key(id.as_bytes()[..16].try_into().expect("an id is longer than that"))
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_ne_bytes(self.0[..8].try_into().expect("eight of sixteen bytes")));
    }
}

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key hashes as one number")
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

/// The parts of a commit object, where they lie in its text.
pub(super) struct Raw<'a> {
    pub(super) tree: Oid,
    /// `parent <hex>` lines, one after the other.
    parents: &'a [u8],
    author: &'a [u8],
    committer: &'a [u8],
    encoding: Option<&'a [u8]>,
    message: &'a [u8],
}

impl<'a> Raw<'a> {
    pub(super) fn parse(object: &'a [u8]) -> Option<Raw<'a>> {
        let mut rest = object;
        let tree = Oid::from_hex(take_line(&mut rest).strip_prefix(b"tree ")?)?;
        let start = rest;
        while rest.starts_with(b"parent ") {
            take_line(&mut rest);
        }
        let parents = &start[..start.len() - rest.len()];
        let mut raw = Raw { tree, parents, author: b"", committer: b"", encoding: None, message: b"" };
        while !rest.is_empty() {
            let line = take_line(&mut rest);
            if line.is_empty() {
                break;
            } else if let Some(author) = line.strip_prefix(b"author ") {
                raw.author = author;
            } else if let Some(committer) = line.strip_prefix(b"committer ") {
                raw.committer = committer;
            } else if let Some(encoding) = line.strip_prefix(b"encoding ") {
                raw.encoding = Some(encoding);
            }
        }
        raw.message = rest;
        Some(raw)
    }

    pub(super) fn parents(&self) -> impl Iterator<Item = Oid> + use<'a> {
        let mut rest = self.parents;
        std::iter::from_fn(move || {
            let line = take_line(&mut rest);
            Oid::from_hex(line.strip_prefix(b"parent ")?)
        })
    }

    fn committed_at(&self) -> i64 {
        moment(self.committer).0
    }

    pub(super) fn commit(&self, id: Oid) -> Commit {
        let legacy = self.encoding.and_then(encoding_rs::Encoding::for_label);
        let legacy = legacy.filter(|&encoding| encoding != encoding_rs::UTF_8);
        let text = |bytes: &[u8]| match legacy {
            Some(encoding) => match encoding.decode_without_bom_handling(bytes).0 {
                Cow::Borrowed(text) => text.as_bytes().to_vec(),
                Cow::Owned(text) => text.into_bytes(),
            },
            None => bytes.to_vec(),
        };
        let ident = |line| {
            let (name, email) = person(line);
            let (at, offset) = moment(line);
            Ident { name: text(name), email: text(email), at, offset }
        };
        Commit {
            id,
            parents: self.parents().collect(),
            author: ident(self.author),
            committer: ident(self.committer),
            message: text(self.message),
        }
    }
}

impl Ident {
    /// Reads `Ann Example <ann@example.org> 1772357400 +0100`, as a commit and `git var` write it.
    pub fn read(line: &[u8]) -> Option<Ident> {
        let ((name, email), (at, offset)) = (person(line), moment(line));
        (!email.is_empty()).then(|| Ident { name: name.to_vec(), email: email.to_vec(), at, offset })
    }
}

/// Takes the first line off a text, without its end.
fn take_line<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let whole = mem::take(text);
    let Some(end) = memchr(b'\n', whole) else { return whole };
    *text = &whole[end + 1..];
    &whole[..end]
}

/// Splits `name <email> when` as far as it is there; people have written all sorts of things in between.
fn person(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(open) = memchr(b'<', line) else {
        return (line.trim_ascii(), b"");
    };
    let after = &line[open + 1..];
    let close = memchr(b'>', after).unwrap_or(after.len());
    (line[..open].trim_ascii(), &after[..close])
}

/// Reads the seconds and the minutes of offset behind the last `>`; 0 where they make no sense.
fn moment(line: &[u8]) -> (i64, i16) {
    let after = memrchr(b'>', line).map_or(&b""[..], |close| &line[close + 1..]);
    let mut words = after.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut number = || std::str::from_utf8(words.next()?).ok()?.parse::<i64>().ok();
    let at = number().unwrap_or(0);
    // `+0530` reads as the number 530.
    let zone = number().filter(|zone| zone.abs() < 10_000).unwrap_or(0) as i16;
    (at, zone / 100 * 60 + zone % 100)
}

/// Gives what an annotated tag points to.
fn tagged(tag: &[u8]) -> Option<Oid> {
    let line = take_line(&mut { tag });
    Oid::from_hex(line.strip_prefix(b"object ")?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Scratch;
    use super::*;

    const NOW: i64 = 1_700_000_000;

    /// Checks which commits a walk finds, newest first, and that nothing is missing or left over.
    #[track_caller]
    fn check(scratch: &Scratch, tips: &[Oid], known: &[Oid], expected: &[Oid]) {
        let known = Known::new(known.iter().copied());
        let walk = scratch.open().walk(tips, &known, Budget::UNBOUNDED).unwrap();
        let found: Vec<Oid> = walk.commits.iter().map(|commit| commit.id).collect();
        assert_eq!(found, expected);
        assert!(walk.complete);
        assert_eq!(walk.missing, 0);
        let mut each = Vec::new();
        let streamed = scratch.open().walk_each(tips, &known, Budget::UNBOUNDED, &mut |commit| {
            each.push(commit.id);
            ControlFlow::Continue(())
        });
        assert!(streamed.unwrap().complete);
        assert!(expected.iter().all(|id| each.contains(id)));
    }

    fn reversed(line: &[Oid]) -> Vec<Oid> {
        line.iter().rev().copied().collect()
    }

    #[test]
    fn all_of_history_is_new_where_nothing_is_known() {
        for options in [&[][..], &["--object-format=sha256"], &["--ref-format=reftable"]] {
            let scratch = Scratch::with(options);
            let line = scratch.line(None, 200, NOW);
            check(&scratch, &[line[199]], &[], &reversed(&line));
        }
    }

    #[test]
    fn a_push_brings_what_is_past_the_known_tip() {
        let scratch = Scratch::new();
        let line = scratch.line(None, 10, NOW);
        check(&scratch, &[line[9]], &[line[6]], &reversed(&line[7..]));
        check(&scratch, &[line[9]], &[line[9]], &[]);
        check(&scratch, &[line[3]], &[line[3], line[9]], &[]);
    }

    #[test]
    fn a_branch_from_an_older_commit_of_a_known_branch_brings_only_its_own() {
        let scratch = Scratch::new();
        let main = scratch.line(None, 300, NOW);
        let side = scratch.line(Some(main[150]), 3, NOW + 100_000);
        check(&scratch, &[side[2]], &[main[299]], &reversed(&side));
        let near = scratch.line(Some(main[295]), 2, NOW + 200_000);
        check(&scratch, &[near[1]], &[main[290], main[299]], &reversed(&near));
        // The branch as such, without a commit of its own.
        check(&scratch, &[main[150]], &[main[299]], &[]);
    }

    #[test]
    fn a_merge_brings_the_side_it_merged() {
        let scratch = Scratch::new();
        let main = scratch.line(None, 300, NOW);
        let side = scratch.line(Some(main[100]), 2, NOW + 50_000);
        let other = scratch.line(Some(main[50]), 1, NOW + 60_000);
        let octopus = scratch.commit(&[main[299], side[1], other[0]], NOW + 70_000, "octopus");
        check(&scratch, &[octopus], &[main[299]], &[octopus, other[0], side[1], side[0]]);
        let commit = scratch.open().commit(octopus).unwrap();
        assert!(commit.is_merge());
        assert_eq!(commit.parents, [main[299], side[1], other[0]]);
    }

    #[test]
    fn tags_of_tags_lead_to_their_commit_and_tags_of_blobs_nowhere() {
        let scratch = Scratch::new();
        let line = scratch.line(None, 3, NOW);
        let tag = |of: Oid, kind| {
            scratch.object("tag", format!("object {of}\ntype {kind}\ntag t\ntagger T <t> 1 +0000\n\nt").as_bytes())
        };
        let nested = tag(tag(line[1], "commit"), "tag");
        let blob = tag(scratch.object("blob", b"x"), "blob");
        check(&scratch, &[nested, blob], &[], &reversed(&line[..2]));
        let far = scratch.line(Some(line[1]), 100, NOW + 1000);
        check(&scratch, &[far[99], nested], &[nested], &reversed(&far));
    }

    #[test]
    fn clocks_that_lie_make_nothing_vanish() {
        let scratch = Scratch::new();
        let base = scratch.line(None, 80, NOW);
        let past = scratch.commit(&[base[79]], 0, "from 1970");
        let future = scratch.commit(&[past], NOW * 2, "from the future");
        let now = scratch.commit(&[future], NOW + 10_000, "now");
        check(&scratch, &[now], &[base[79]], &[now, future, past]);
        check(&scratch, &[now], &[past], &[now, future]);
        // Known, but with a date before everything it leads to: it is met last of all.
        let known = scratch.commit(&[base[42]], -5, "known");
        let new = scratch.line(Some(base[40]), 2, NOW + 20_000);
        check(&scratch, &[new[1]], &[known], &reversed(&new));
    }

    #[test]
    fn two_pushes_that_race_are_both_reported() {
        let scratch = Scratch::new();
        let base = scratch.line(None, 5, NOW);
        let shared = scratch.commit(&[base[4]], NOW + 1000, "in both");
        let mine = scratch.commit(&[shared], NOW + 2000, "mine");
        let yours = scratch.commit(&[shared], NOW + 3000, "yours");
        // Both refs have moved before either push is looked at.
        scratch.set("refs/heads/mine", mine);
        scratch.set("refs/heads/yours", yours);
        check(&scratch, &[mine], &[base[4]], &[mine, shared]);
        check(&scratch, &[yours], &[base[4]], &[yours, shared]);
        check(&scratch, &[yours], &[base[4], mine], &[yours]);
    }

    #[test]
    fn a_spent_budget_says_so() {
        let scratch = Scratch::new();
        let line = scratch.line(None, 100, NOW);
        let repository = scratch.open();
        for known in [Known::nothing(), Known::new([line[0]])] {
            for commits in [1, 40, 80] {
                let budget = Budget { commits, until: None };
                let walk = repository.walk(&[line[99]], &known, budget).unwrap();
                assert_eq!((walk.commits.len(), walk.complete), (commits, false));
            }
            let walk = repository.walk(&[line[99]], &known, Budget { commits: 100, until: None }).unwrap();
            assert!(walk.complete);
            let late = Budget { commits: 1000, until: Some(Instant::now()) };
            assert!(!repository.walk(&[line[99]], &known, late).unwrap().complete);
        }
    }

    #[test]
    fn a_stream_can_be_broken_off() {
        let scratch = Scratch::new();
        let line = scratch.line(None, 5, NOW);
        for known in [Known::nothing(), Known::new([line[0]])] {
            let mut left = 2;
            let walk = scratch.open().walk_each(&[line[4]], &known, Budget::UNBOUNDED, &mut |_| {
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            assert!(!walk.unwrap().complete);
            assert_eq!(left, 0);
        }
    }

    #[test]
    fn what_is_not_there_is_counted() {
        let scratch = Scratch::new();
        let gone = scratch.commit(&[], NOW, "gone");
        let there = scratch.commit(&[gone], NOW + 1, "there");
        scratch.drop_object(gone);
        let repository = scratch.open();
        for known in [Known::nothing(), Known::new(["12".repeat(20).parse().unwrap()])] {
            let walk = repository.walk(&[there, gone], &known, Budget::UNBOUNDED).unwrap();
            assert_eq!(walk.commits.iter().map(|commit| commit.id).collect::<Vec<_>>(), [there]);
            assert_eq!((walk.missing, walk.complete), (1, true));
        }
    }

    #[test]
    fn a_shallow_repository_is_walked_to_its_border() {
        let origin = Scratch::new();
        let line = origin.line(None, 10, NOW);
        origin.set("refs/heads/main", line[9]);
        let url = format!("file://{}", origin.git_dir.display());
        let scratch = Scratch::new();
        scratch.git(&["fetch", "--quiet", "--depth=3", &url, "main:main"]);
        let walk = scratch.open().walk(&[line[9]], &Known::nothing(), Budget::UNBOUNDED).unwrap();
        assert_eq!((walk.commits.len(), walk.missing), (3, 1));
    }

    #[test]
    fn a_forced_update_is_told_from_a_fast_forward() {
        let scratch = Scratch::new();
        let main = scratch.line(None, 30, NOW);
        let side = scratch.line(Some(main[10]), 3, NOW + 10_000);
        let repository = scratch.open();
        for (ancestor, of, expected) in [
            (main[3], main[29], true),
            (main[29], main[29], true),
            (main[29], main[3], false),
            (main[29], side[2], false),
            (main[10], side[2], true),
            (main[11], side[2], false),
        ] {
            assert_eq!(repository.is_ancestor(ancestor, of).unwrap(), expected);
        }
    }

    #[test]
    fn c10_what_refs_reach_is_told_by_parents_whatever_clocks_say() {
        let scratch = Scratch::new();
        let main = scratch.line(None, 30, NOW);
        // Its clock is a year behind that of what it stands on.
        let side = scratch.line(Some(main[20]), 3, NOW - 31_000_000);
        let lost = scratch.line(Some(main[29]), 2, NOW + 10_000);
        let repository = scratch.open();
        let mut wanted: HashSet<Oid> = [main[3], main[25], side[0], lost[0], lost[1]].into();
        repository.take_reached(&[side[2]], &mut wanted).unwrap();
        assert_eq!(wanted, [main[25], lost[0], lost[1]].into());
        repository.take_reached(&[main[29]], &mut wanted).unwrap();
        assert_eq!(wanted, [lost[0], lost[1]].into());
        let missing = Oid::from_hex(&[b'1'; 40]).unwrap();
        assert!(matches!(repository.take_reached(&[missing], &mut wanted), Err(Error::Missing { .. })));
        assert_eq!(wanted.len(), 2);
    }

    #[test]
    fn a_commit_is_read_as_it_was_written() {
        let scratch = Scratch::new();
        let tree = scratch.git_with(&["mktree"], b"");
        let header = "gpgsig -----BEGIN\n encoding latin1\n \n -----END\n";
        let id = scratch.commit_of(&tree, &[], NOW, header, b"PROJ-1 subject\n\nbody \xff\n");
        let commit = scratch.open().commit(id).unwrap();
        let author = Ident { name: b"A U Thor".into(), email: b"a@example.com".into(), at: NOW, offset: 330 };
        let committer = Ident { name: b"C O Mitter".into(), email: b"c@example.com".into(), at: NOW, offset: -90 };
        let message = b"PROJ-1 subject\n\nbody \xff\n".to_vec();
        assert_eq!(commit, Commit { id, parents: vec![], author, committer, message });
        assert_eq!(minicbor::decode::<Commit>(&minicbor::to_vec(&commit).unwrap()).unwrap(), commit);
    }

    #[test]
    fn a_legacy_encoding_becomes_utf_8() {
        let scratch = Scratch::new();
        let tree = scratch.git_with(&["mktree"], b"");
        for (encoding, message, expected) in [
            ("ISO-8859-1", &b"Gr\xfc\xdfe"[..], "Grüße".as_bytes()),
            ("Shift_JIS", b"\x93\xfa\x96\x7b", "日本".as_bytes()),
            ("UTF-8", "Grüße".as_bytes(), "Grüße".as_bytes()),
            ("no-such-thing", b"Gr\xfc\xdfe", b"Gr\xfc\xdfe"),
        ] {
            let id = scratch.commit_of(&tree, &[], NOW, &format!("encoding {encoding}\n"), message);
            assert_eq!(scratch.open().commit(id).unwrap().message, expected, "{encoding}");
        }
    }

    #[test]
    fn a_torn_ident_costs_no_commit() {
        for (line, name, email, at, offset) in [
            ("A <a@b> 12 +0100", "A", "a@b", 12, 60),
            ("A", "A", "", 0, 0),
            ("A <a@b", "A", "a@b", 0, 0),
            ("<> -7 -0030", "", "", -7, -30),
            ("A <a> b> 5 +9999999", "A", "a", 5, 0),
            ("A <a@b> 99999999999999999999 +0000", "A", "a@b", 0, 0),
            ("", "", "", 0, 0),
        ] {
            let line = line.as_bytes();
            assert_eq!((person(line), moment(line)), ((name.as_bytes(), email.as_bytes()), (at, offset)));
        }
    }

    #[test]
    fn j11_commits_of_one_second_are_told_from_those_that_others_reach() {
        let scratch = Scratch::new();
        let mut line = vec![scratch.commit(&[], 1_700_000_000, "first")];
        for _ in 0..80 {
            line.push(scratch.commit(&[line[line.len() - 1]], 1_700_000_000, "old"));
        }
        let new = scratch.commit(&[line[10]], 1_700_000_000, "new");
        let repository = scratch.open();
        let walk = repository.walk_beyond(&[line[12], new], &[line[80]], Budget::UNBOUNDED);
        assert!(walk.complete);
        assert_eq!(walk.commits.iter().map(|commit| commit.id).collect::<Vec<_>>(), [new]);
    }
}
