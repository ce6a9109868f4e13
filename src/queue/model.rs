//! Every order of events that the protocol can meet, tried out.
//!
//! A breadth-first search over one effect, two owners and a Jira that may apply a request up to
//! four minutes after it was sent. Owners may be killed twice, one request or its answer may be
//! lost, and any owner may stand still at any point and go on later: it merely does not act while
//! time passes. Steps are those of [`protocol::next`], and what is due, held, lost or may still be
//! sent is asked of the same functions as the ledger does.
//!
//! Six protocols are searched. Five lack something, and the search has to show what that costs;
//! the sixth is ours. Times are kept relative to the present, in steps of half a minute, so that
//! the number of different worlds is finite.

use std::collections::{HashSet, VecDeque};

use super::protocol::{self, Hold, MARGIN_MS, SETTLE_MS, Standing, State, Step};

const TICK: i64 = 30_000;
const TTL: i64 = 60_000;
/// The longest that Jira takes to apply a request.
const DELAY: i64 = 240_000;

/// Which of the rules hold.
#[derive(Clone, Copy)]
struct Variant {
    /// The effect is closed before it is sent.
    mark_first: bool,
    /// What may have been sent is looked for, not just sent again.
    probe: bool,
    window: bool,
    fence: bool,
}

/// Where an owner is in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Idle,
    Claimed(Hold),
    Intended(Hold),
    /// Waits for an answer, until the moment given.
    Sent(Hold, i64),
    /// Knows what Jira said.
    Answered(Hold),
    Probing(Hold),
    /// Knows what is there.
    Looked(Hold, bool),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    store: Standing,
    owner: Option<u8>,
    owners: [Owner; 2],
    /// Requests on their way: who waits for each, and the last moment at which Jira applies it.
    requests: Vec<(Option<u8>, i64)>,
    applied: u8,
    kills: u8,
    losses: u8,
    failed_probes: u8,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    worlds: usize,
    ok: usize,
    lost: usize,
    duplicate: usize,
}

impl Owner {
    fn hold(&mut self) -> Option<&mut Hold> {
        match self {
            Owner::Idle => None,
            Owner::Claimed(hold)
            | Owner::Intended(hold)
            | Owner::Sent(hold, _)
            | Owner::Answered(hold)
            | Owner::Probing(hold)
            | Owner::Looked(hold, _) => Some(hold),
        }
    }
}

impl World {
    fn first() -> World {
        World {
            store: Standing { state: State::Ready, epoch: 0, ready_at: 0, settle_at: 0, lease_until: -1 },
            owner: None,
            owners: [Owner::Idle; 2],
            requests: Vec::new(),
            applied: 0,
            kills: 2,
            losses: 1,
            failed_probes: 1,
        }
    }

    /// Takes a step in the store, as the ledger does; `None` where there is no such arrow.
    fn step(&self, step: Step) -> Option<World> {
        let state = protocol::next(self.store.state, step)?;
        let mut world = self.clone();
        world.store = Standing { state, epoch: self.store.epoch + 1, lease_until: -1, ..self.store };
        world.owner = None;
        Some(world)
    }

    /// A step of an owner with its turn, if that is still its own.
    fn held(&self, hold: &Hold, step: Step) -> Option<World> {
        if self.store.is_held(hold, 0) { self.step(step) } else { None }
    }

    fn with(mut self, who: usize, owner: Owner) -> World {
        self.owners[who] = owner;
        self
    }

    /// All worlds that may come next.
    fn successors(&self, variant: Variant) -> Vec<World> {
        let mut next = Vec::new();
        for who in 0..self.owners.len() {
            self.act(who, variant, &mut next);
            self.die(who, variant, &mut next);
        }
        self.answer(&mut next);
        self.recover(variant, &mut next);
        next.extend(self.tick());
        next.into_iter().map(World::normal).collect()
    }

    fn act(&self, who: usize, variant: Variant, next: &mut Vec<World>) {
        let idle = |world: World| world.with(who, Owner::Idle);
        match self.owners[who] {
            Owner::Idle => next.extend(self.claim(who, variant)),
            Owner::Claimed(hold) if self.store.state == State::Unknown => {
                let probing = self.held(&hold, Step::Probe).map(|world| world.goes_on(who, hold, Owner::Probing));
                next.push(probing.unwrap_or_else(|| idle(self.clone())));
            }
            Owner::Claimed(hold) => next.push(self.intend(who, hold, variant).unwrap_or_else(|| idle(self.clone()))),
            // Two on their way are enough to see what becomes of more.
            Owner::Intended(_) if self.requests.len() > 1 => {}
            Owner::Intended(hold) => next.push(self.send(who, hold, variant)),
            Owner::Sent(hold, until) => {
                // Half of what may be lost is lost on the way back; who waits too long knows as little.
                if self.losses > 0 || until <= 0 {
                    let mut world = self.held(&hold, Step::Lose).unwrap_or_else(|| self.clone());
                    world.losses -= u8::from(until > 0);
                    world.requests.iter_mut().filter(|r| r.0 == Some(who as u8)).for_each(|r| r.0 = None);
                    next.push(idle(world.unless_probed(variant)));
                }
            }
            Owner::Answered(hold) => next.push(idle(self.held(&hold, Step::Applied).unwrap_or_else(|| self.clone()))),
            Owner::Probing(hold) => {
                next.push(self.clone().with(who, Owner::Looked(hold, self.applied > 0)));
                if self.failed_probes > 0 {
                    let mut world = self.held(&hold, Step::Inconclusive).unwrap_or_else(|| self.clone());
                    world.failed_probes -= 1;
                    world.store.settle_at = world.store.settle_at.max(2 * TICK);
                    next.push(idle(world));
                }
            }
            Owner::Looked(hold, there) => {
                let step = if there { Step::Applied } else { Step::Absent };
                next.push(idle(self.held(&hold, step).unwrap_or_else(|| self.clone())));
            }
        }
    }

    fn claim(&self, who: usize, variant: Variant) -> Option<World> {
        let due = Standing { settle_at: if variant.window { self.store.settle_at } else { 0 }, ..self.store };
        if !(due.is_due(0) && self.store.is_free(0)) {
            return None;
        }
        let mut world = self.clone();
        world.store.epoch += 1;
        world.store.lease_until = TTL;
        world.owner = Some(who as u8);
        let hold = Hold { epoch: world.store.epoch, claimed_at: 0, ttl: TTL, intent_at: None };
        Some(world.with(who, Owner::Claimed(hold)))
    }

    /// Keeps the turn after a step, under the new epoch.
    fn goes_on(mut self, who: usize, hold: Hold, phase: impl Fn(Hold) -> Owner) -> World {
        self.store.lease_until = hold.claimed_at + hold.ttl;
        self.owner = Some(who as u8);
        let hold = Hold { epoch: self.store.epoch, ..hold };
        self.with(who, phase(hold))
    }

    fn intend(&self, who: usize, hold: Hold, variant: Variant) -> Option<World> {
        if variant.mark_first {
            return Some(self.held(&hold, Step::Applied)?.with(who, Owner::Intended(hold)));
        }
        let mut world = self.held(&hold, Step::Intend)?;
        world.store.settle_at = SETTLE_MS;
        Some(world.goes_on(who, Hold { intent_at: Some(0), ..hold }, Owner::Intended))
    }

    fn send(&self, who: usize, hold: Hold, variant: Variant) -> World {
        let fenced = || self.store.state == State::Intent && self.store.is_held(&hold, 0);
        let left = hold.time_left(0).filter(|_| fenced());
        if variant.fence && left.is_none() {
            // It knows that nothing was sent; where the turn is lost, somebody else finds that out.
            let world = self.held(&hold, Step::Postpone).unwrap_or_else(|| self.clone());
            return world.with(who, Owner::Idle);
        }
        let mut world = self.clone();
        world.requests.push((Some(who as u8), DELAY));
        world.with(who, Owner::Sent(hold, left.unwrap_or(protocol::REQUEST_MS)))
    }

    /// What the network and Jira may do to the requests on their way.
    fn answer(&self, next: &mut Vec<World>) {
        for (number, (waits, _)) in self.requests.iter().enumerate() {
            let mut world = self.clone();
            world.requests.remove(number);
            if self.losses > 0 {
                // It never arrives; whoever waits for it learns nothing, at the end of its patience.
                next.push(World { losses: self.losses - 1, ..world.clone() });
            }
            world.applied = (self.applied + 1).min(2);
            if let Some(who) = waits.map(usize::from)
                && let Owner::Sent(hold, _) = self.owners[who]
            {
                world.owners[who] = Owner::Answered(hold);
            }
            next.push(world);
        }
    }

    /// A killed owner forgets its turn; what it had sent goes on.
    fn die(&self, who: usize, variant: Variant, next: &mut Vec<World>) {
        if self.kills == 0 || self.owners[who] == Owner::Idle {
            return;
        }
        let mut world = self.clone().with(who, Owner::Idle);
        world.kills -= 1;
        world.requests.iter_mut().filter(|request| request.0 == Some(who as u8)).for_each(|request| request.0 = None);
        // When it starts again it gives back what it had; nobody does, if it does not start again.
        if world.owner == Some(who as u8) {
            let lost = world.step(Step::Lose).map(|world| world.unless_probed(variant));
            next.extend(
                lost.or_else(|| Some(World { store: Standing { lease_until: -1, ..world.store }, ..world.clone() })),
            );
        }
        next.push(world);
    }

    fn recover(&self, variant: Variant, next: &mut Vec<World>) {
        if self.store.is_lost(0) {
            next.extend(self.step(Step::Lose).map(|world| world.unless_probed(variant)));
        }
    }

    /// What does not probe takes what it does not know for not done.
    fn unless_probed(mut self, variant: Variant) -> World {
        if !variant.probe && self.store.state == State::Unknown {
            self.store.state = State::Ready;
        }
        self
    }

    /// Half a minute passes, unless Jira cannot keep a request for that long.
    fn tick(&self) -> Option<World> {
        let pending = self.requests.iter().any(|(_, latest)| *latest < TICK);
        if pending || self.is_final() {
            return None;
        }
        let mut world = self.clone();
        for at in [&mut world.store.ready_at, &mut world.store.settle_at, &mut world.store.lease_until] {
            *at -= TICK;
        }
        for (_, latest) in &mut world.requests {
            *latest -= TICK;
        }
        for owner in &mut world.owners {
            if let Owner::Sent(_, until) = owner {
                *until -= TICK;
            }
            if let Some(hold) = owner.hold() {
                hold.claimed_at -= TICK;
                hold.intent_at = hold.intent_at.map(|at| at - TICK);
            }
        }
        Some(world)
    }

    /// Makes worlds equal that no rule can tell apart: what is over is over, a turn that is lost stays lost, and
    /// epochs are only compared.
    fn normal(mut self) -> World {
        let current = self.store.epoch;
        for owner in &mut self.owners {
            if let Owner::Sent(_, until) = owner {
                *until = (*until).max(0);
            }
            if let Some(hold) = owner.hold() {
                *hold = match hold.epoch == current {
                    true => Hold { epoch: 1, ..*hold },
                    false => Hold { epoch: 0, claimed_at: -TTL, ttl: TTL, intent_at: None },
                };
                hold.claimed_at = hold.claimed_at.max(-TTL - MARGIN_MS);
                hold.intent_at = hold.intent_at.map(|at| at.max(-SETTLE_MS));
            }
        }
        let store = &mut self.store;
        let waits = matches!(store.state, State::Intent | State::Unknown);
        store.epoch = 1;
        store.ready_at = 0;
        store.settle_at = if waits { store.settle_at.max(0) } else { 0 };
        store.lease_until = store.lease_until.max(-1);
        self.requests.sort_unstable();
        self
    }

    fn is_final(&self) -> bool {
        let closed = matches!(self.store.state, State::Settled | State::Refused | State::Parked);
        closed && self.requests.is_empty() && self.owners == [Owner::Idle; 2]
    }
}

/// Walks all worlds, or those up to the first that breaks the promise: a story of the fewest steps.
fn search(variant: Variant, to_the_end: bool) -> Found {
    let mut found = Found::default();
    let mut seen = HashSet::from([World::first()]);
    let mut waiting = VecDeque::from([World::first()]);
    while let Some(world) = waiting.pop_front() {
        found.worlds += 1;
        assert!(found.worlds < 1_000_000, "the worlds do not come to an end");
        if world.applied > 1 {
            found.duplicate += 1;
        } else if world.is_final() {
            found.ok += usize::from(world.applied == 1);
            found.lost += usize::from(world.applied == 0);
        } else {
            let successors = world.successors(variant);
            assert!(!successors.is_empty(), "nothing goes on: {world:?}");
            let news = successors.into_iter().filter(|next| seen.insert(next.clone()));
            waiting.extend(news);
        }
        if !to_the_end && found.lost + found.duplicate > 0 {
            break;
        }
    }
    found
}

const OURS: Variant = Variant { mark_first: false, probe: true, window: true, fence: true };

#[test]
fn f28_f38_f47_f48_our_protocol_neither_loses_nor_doubles() {
    let found = search(OURS, true);
    assert!(found.ok > 0, "{found:?}");
    assert_eq!((found.lost, found.duplicate), (0, 0), "{found:?}");
}

#[test]
fn marking_first_loses() {
    let found = search(Variant { mark_first: true, fence: false, ..OURS }, true);
    assert!(found.lost > 0, "{found:?}");
    assert_eq!(found.duplicate, 0, "{found:?}");
}

#[track_caller]
fn check_doubles(variant: Variant) {
    let found = search(variant, false);
    assert_eq!((found.lost, found.duplicate), (0, 1), "{found:?}");
}

#[test]
fn sending_again_until_it_is_acknowledged_doubles() {
    check_doubles(Variant { probe: false, window: false, fence: false, ..OURS });
}

#[test]
fn looking_before_sending_again_is_not_enough() {
    check_doubles(Variant { window: false, fence: false, ..OURS });
}

#[test]
fn f48_without_the_settle_window_a_late_request_doubles() {
    check_doubles(Variant { window: false, ..OURS });
}

#[test]
fn f38_without_the_fence_a_zombie_doubles() {
    check_doubles(Variant { fence: false, ..OURS });
}
