//! The ledger: what was ordered of Jira, each order carried out once.
//!
//! The life of an effect:
//!
//! 1. [`plan`] writes it down. The same order again is the same row, so a rebase, a fork or a second
//!    remote changes nothing. One thing may still change: an order that nobody vouched for is taken
//!    up when a verified pusher brings it.
//! 2. [`claim`] lends it to an owner: one effect of an issue at a time, in the order they were given.
//! 3. The owner notes the intent ([`intend`]), asks [`fence`], sends, and reports with [`settle`].
//!    Nobody knows what became of it? Then it is UNKNOWN, rests until Jira can no longer apply it,
//!    is lent again, and looked for ([`probe`]).
//! 4. What was applied is looked at once more ten minutes later ([`sweep_due`]).
//!
//! Each function is one transaction. A step is taken only if [`protocol::next`] knows it, the row is
//! as the owner left it (state and epoch) and the lease is not over; else the answer is `false` and
//! nothing has changed. The owner then leaves the effect alone: somebody else has it, or will.
//!
//! # What is not remembered
//!
//! Rows are the memory of what was carried out. A store that was restored from a copy, or lost and
//! begun anew, has forgotten some of it, while hooks and refs tell everything again. So each store
//! knows since when it remembers ([`remember`]): a new one from its first opening, a copy from the
//! moment it is opened in place of the original. An effect that was authored before that moment, and
//! every effect that was open in a copy, begins as UNKNOWN: it is looked for before it is sent. That
//! costs one request each; a day is added because the clocks of authors are not ours.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use rusqlite::{Connection, OptionalExtension, Result, Row, named_params, params};

use super::audit::{self, AuditRow};
use super::protocol::{self, Hold, SETTLE_MS, Standing, State, Step};
use super::{news, outbox};
use crate::failpoint::weakened;

/// What an event orders.
#[derive(Clone, Debug)]
pub struct Planned {
    pub site: String,
    pub repository: String,
    pub event: String,
    /// The event's number.
    pub seq: i64,
    /// Who pushed; empty when that is not known.
    pub pusher: String,
    /// In whose name: Jira's own id of an account, or empty for the site's account.
    pub actor: String,
    /// Who is told what becomes of it, see `people`; empty: nobody.
    pub person: String,
    pub effects: Vec<NewEffect>,
}

/// An order on its way into the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEffect {
    /// The same for the same order, however often and wherever it is pushed.
    pub key: String,
    /// The issue's key as it was written.
    pub issue: String,
    /// The commit's place in its event: grows along the history.
    pub place: i64,
    /// The order's place in the message.
    pub ordinal: u32,
    pub commit: String,
    /// The order for people, without texts: `#time 1h 30m`.
    pub command: String,
    pub author: String,
    /// Milliseconds since the epoch.
    pub authored_at: i64,
    pub body: Vec<u8>,
    pub body_hash: String,
    pub ruling: Ruling,
    /// The key of the same order of a commit that this one replaces: if that was taken up, this one is not.
    pub repeats: Option<String>,
}

/// Whether an order may be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    Ready,
    /// That is not decided yet; until then it holds up nobody.
    Open,
    Refused {
        why: Denied,
        /// For people.
        because: String,
    },
}

/// Why an order may not be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denied {
    /// Nobody vouches for the pusher. The only reason that another push can mend.
    Unverified,
    /// The commit is too old.
    Age,
    /// It came with the history of a repository that was new to us.
    Import,
    /// The pusher is known and may not.
    Policy,
}

/// What the ledger says of an order that was planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruled {
    pub key: String,
    pub state: State,
    /// Whether this call has made or changed the row.
    pub news: bool,
    pub note: Option<String>,
}

/// An effect whose turn it is, lent to an owner.
#[derive(Clone, Debug)]
pub struct Turn {
    pub site: String,
    pub repository: String,
    pub key: String,
    /// The issue's key as it was written.
    pub issue: String,
    /// The issue's id in Jira, once it was found: it stays when the issue moves.
    pub issue_id: Option<String>,
    pub commit: String,
    pub command: String,
    pub pusher: String,
    /// In whose name it is carried out, decided when the order was taken; empty for the site's account.
    pub actor: String,
    /// READY is to be sent; UNKNOWN is to be looked for.
    pub state: State,
    /// How often it was about to be sent.
    pub attempts: u32,
    /// The earliest moment at which it may have been applied: a probe reads back to well before it.
    pub since: i64,
    pub body: Vec<u8>,
    hold: Hold,
}

/// What became of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Jira has it: sent just now, found by a probe, or nothing was left to do.
    Applied {
        /// The id of what was made, where something was.
        remote_id: Option<String>,
        note: Option<String>,
        /// What follows from it, such as the comment of a transition that took none.
        then: Option<Box<NewEffect>>,
    },
    /// Jira never will.
    Refused { because: String },
    /// Certainly not applied; not again before `at`. Gives an UNKNOWN effect back as it was.
    Later { at: i64, because: String },
    /// A person has to look.
    Parked { because: String },
    /// It may have been applied.
    Ambiguous { because: String },
    /// A probe proved that it was not applied.
    Absent,
    /// A probe proved nothing.
    Inconclusive { because: String },
}

/// Whose turns are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Everybody's: nobody else runs on this store.
    Everyone,
    /// Of those whose lease is over.
    Overdue,
}

/// A settled effect that may have been applied twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    pub key: String,
    pub issue: String,
    pub issue_id: Option<String>,
    pub remote_id: String,
    pub since: i64,
    pub actor: String,
    pub body: Vec<u8>,
}

/// How long after it was applied an effect is looked at again.
pub const SWEEP_AFTER_MS: i64 = 600_000;

const DAY_MS: i64 = 86_400_000;

/// Lends effects: of each issue the oldest that is open, if it is due and nothing of the issue is in flight. What
/// waits for an actor that is away (?7) holds up nobody else.
const CLAIM: &str = "UPDATE effect SET epoch = epoch + 1, owner = ?2, lease_until = ?3 + ?4 WHERE effect_key IN (
    SELECT e.effect_key FROM effect e
    WHERE e.site_id = ?1 AND e.state IN ('ready', 'intent', 'unknown', 'probing') AND e.lease_until < ?3
      AND e.actor NOT IN (SELECT value FROM json_each(?7))
      AND (e.state = 'ready' AND e.ready_at <= ?3 OR e.state = 'unknown' AND e.settle_at <= ?3)
      AND NOT EXISTS (
        SELECT 1 FROM effect o
        WHERE o.site_id = e.site_id AND o.lane = e.lane AND o.state IN ('ready', 'intent', 'unknown', 'probing')
          AND o.effect_key <> e.effect_key
          AND (o.state IN ('intent', 'probing') OR o.lease_until >= ?3
               OR o.actor NOT IN (SELECT value FROM json_each(?7)))
          AND (o.state IN ('intent', 'probing') OR o.lease_until >= ?3 OR e.state = 'ready' AND o.state = 'unknown'
               OR o.state = e.state
                  AND (o.seq, o.place, o.ordinal, o.part) < (e.seq, e.place, e.ordinal, e.part)))
    ORDER BY e.seq, e.place, e.ordinal, e.part LIMIT ?5)
  RETURNING site_id, repo_id, effect_key, lane, issue_id, commit_id, command, pusher, state, attempts,
    coalesce(intent_at, min(authored_at, added_at) - ?6), body, epoch, seq, place, ordinal, part, actor";

impl Denied {
    fn as_str(self) -> &'static str {
        match self {
            Denied::Unverified => "unverified",
            Denied::Age => "age",
            Denied::Import => "import",
            Denied::Policy => "policy",
        }
    }
}

impl Turn {
    /// How long a request that begins now may take; `None` when it may not begin any more.
    ///
    /// Without looking into the store: for the very moment of sending, after [`fence`].
    pub fn time_left(&self, now: i64) -> Option<i64> {
        self.hold.time_left(now)
    }

    pub fn epoch(&self) -> i64 {
        self.hold.epoch
    }

    /// Takes over what a step has made of the turn.
    fn went_on(&mut self, state: State, intent_at: Option<i64>) {
        self.hold.epoch += 1;
        self.hold.intent_at = intent_at;
        self.state = state;
    }

    pub(super) fn intended(&mut self, issue_id: Option<String>, now: i64) {
        self.went_on(State::Intent, Some(now));
        self.attempts += 1;
        self.since = now;
        self.issue_id = issue_id.or(self.issue_id.take());
    }

    pub(super) fn probing(&mut self) {
        self.went_on(State::Probing, None);
    }
}

/// Writes down what an event orders, and says how each order stands.
pub fn plan(c: &Connection, planned: &Planned, now: i64) -> Result<Vec<Ruled>> {
    planned.effects.iter().map(|effect| plan_one(c, planned, effect, now)).collect()
}

/// Lends the oldest open effect of each issue, if it is due, until `now + ttl`; at most `limit` issues.
///
/// Nothing of an issue is lent while another effect of it is in flight, and nothing of it is sent
/// while it is not known what became of another. Effects of actors that are `away` are passed over.
pub fn claim(
    c: &Connection,
    site: &str,
    owner: &str,
    away: &[String],
    limit: usize,
    now: i64,
    ttl: i64,
) -> Result<Vec<Turn>> {
    let values = params![site, owner, now, ttl, limit as i64, DAY_MS, list(away)];
    let turn = |row: &Row<'_>| {
        let order: [i64; 4] = [row.get(13)?, row.get(14)?, row.get(15)?, row.get(16)?];
        let turn = Turn {
            site: row.get(0)?,
            repository: row.get(1)?,
            key: row.get(2)?,
            issue: row.get(3)?,
            issue_id: row.get(4)?,
            commit: row.get(5)?,
            command: row.get(6)?,
            pusher: row.get(7)?,
            actor: row.get(17)?,
            state: state(row, 8)?,
            attempts: row.get(9)?,
            since: row.get(10)?,
            body: row.get(11)?,
            hold: Hold { epoch: row.get(12)?, claimed_at: now, ttl, intent_at: None },
        };
        Ok((order, turn))
    };
    let mut turns = c.prepare_cached(CLAIM)?.query_map(values, turn)?.collect::<Result<Vec<_>>>()?;
    turns.sort_by_key(|(order, _)| *order);
    Ok(turns.into_iter().map(|(_, turn)| turn).collect())
}

/// Notes that an effect is about to be sent: READY becomes INTENT.
pub fn intend(c: &Connection, turn: &Turn, issue_id: Option<&str>, now: i64) -> Result<bool> {
    // The same issue under another key, because it was moved.
    let sql = "SELECT 1 FROM effect WHERE site_id = ?1 AND issue_id = ?2 AND effect_key <> ?3
               AND (state IN ('intent', 'probing') OR state = 'unknown' AND settle_at > ?4)";
    let issue_id = issue_id.or(turn.issue_id.as_deref());
    if c.prepare_cached(sql)?.exists(params![turn.site, issue_id, turn.key, now])? {
        return Ok(false);
    }
    let change = Change {
        keeps: true,
        attempts: 1,
        intent_at: Some(now),
        settle_at: Some(if weakened("settle window") { now } else { now + SETTLE_MS }),
        issue_id,
        ..Change::default()
    };
    begin(c, turn, Step::Intend, &change, now)
}

/// Notes that an effect is being looked for: UNKNOWN becomes PROBING, once the settle window is over.
pub fn probe(c: &Connection, turn: &Turn, now: i64) -> Result<bool> {
    begin(c, turn, Step::Probe, &Change { keeps: true, probes: 1, ..Change::default() }, now)
}

/// Tells whether a turn is still its owner's, and how long a request that begins now may take.
pub fn fence(c: &Connection, turn: &Turn, now: i64) -> Result<Option<i64>> {
    let held = held(c, turn, now)?.is_some_and(|row| row.standing.state == State::Intent);
    Ok(turn.hold.time_left(now).filter(|_| held))
}

/// Takes what became of a turn and gives it back; `false` when it was no longer the owner's.
pub fn settle(c: &Connection, turn: &Turn, outcome: &Outcome, now: i64) -> Result<bool> {
    match outcome {
        Outcome::Applied { remote_id, note, then } => {
            applied(c, turn, remote_id.as_deref(), note.as_deref(), then.as_deref(), now)
        }
        Outcome::Refused { because } => refused(c, turn, because, now),
        Outcome::Later { at, because } => later(c, turn, *at, because, now),
        Outcome::Parked { because } => parked(c, turn, because, now),
        Outcome::Ambiguous { because } => ambiguous(c, turn, because, now),
        Outcome::Absent => absent(c, turn, now),
        Outcome::Inconclusive { because } => inconclusive(c, turn, because, now),
    }
}

/// Makes what was in flight UNKNOWN where its owner is gone; returns how many effects have to be looked for.
pub fn recover(c: &Connection, gone: Gone, now: i64) -> Result<usize> {
    let mut lost = 0;
    for key in in_flight(c)? {
        let Some(row) = find(c, &key)? else { continue };
        if gone == Gone::Overdue && !row.standing.is_lost(now) {
            continue;
        }
        let change = Change { note: Some("its owner is gone"), ..Change::default() };
        lost += usize::from(change_row(c, &row, Step::Lose, &change, now)?);
    }
    if gone == Gone::Everyone {
        c.execute(
            "UPDATE effect SET owner = NULL, lease_until = 0 WHERE state IN ('ready', 'unknown') AND lease_until > 0",
            [],
        )?;
    }
    Ok(lost)
}

/// Settles since when this store remembers every effect; called whenever it is opened.
pub fn remember(c: &Connection, now: i64) -> Result<()> {
    let memory: i64 = c.query_row("SELECT value FROM meta WHERE name = 'memory'", [], |row| row.get(0))?;
    match memory {
        // A new store: what an earlier one may have sent is no longer on its way.
        0 => set_memory(c, (now - SETTLE_MS).max(1)),
        ..0 => restored(c, now).map(drop),
        _ => Ok(()),
    }
}

/// Marks a copy, so that opening it in place of the original is noticed.
pub fn mark_copy(c: &Connection) -> Result<()> {
    set_memory(c, -1)
}

/// Makes every open effect UNKNOWN, because the store is older than what may have been sent; returns how many.
pub fn restored(c: &Connection, now: i64) -> Result<usize> {
    set_memory(c, now)?;
    outbox::take_leave_back(c)?;
    let mut doubted = 0;
    for key in open(c)? {
        let Some(row) = find(c, &key)? else { continue };
        let because = Some("the store was restored: it may have been carried out since");
        let change = Change { settle_at: Some(now + SETTLE_MS), note: because, forgets: true, ..Change::default() };
        doubted += usize::from(change_row(c, &row, Step::Restore, &change, now)?);
    }
    Ok(doubted)
}

/// Settled effects of which there may be two; each is given until [`swept`] is told of it.
pub fn sweep_due(c: &Connection, site: &str, away: &[String], limit: usize, now: i64) -> Result<Vec<Sweep>> {
    let sql = "SELECT effect_key, lane, issue_id, remote_id, coalesce(intent_at, min(authored_at, added_at) - ?4), body, actor
               FROM effect WHERE site_id = ?1 AND sweep_at <= ?2 AND remote_id IS NOT NULL
                 AND actor NOT IN (SELECT value FROM json_each(?5)) ORDER BY sweep_at LIMIT ?3";
    let sweep = |row: &Row<'_>| {
        Ok(Sweep {
            key: row.get(0)?,
            issue: row.get(1)?,
            issue_id: row.get(2)?,
            remote_id: row.get(3)?,
            since: row.get(4)?,
            body: row.get(5)?,
            actor: row.get(6)?,
        })
    };
    c.prepare_cached(sql)?.query_map(params![site, now, limit as i64, DAY_MS, list(away)], sweep)?.collect()
}

/// Notes that doubles were looked for, and how many there were.
pub fn swept(c: &Connection, key: &str, doubles: u32, now: i64) -> Result<()> {
    c.prepare_cached("UPDATE effect SET sweep_at = NULL WHERE effect_key = ?1")?.execute([key])?;
    if doubles == 0 {
        return Ok(());
    }
    c.prepare_cached("UPDATE meta SET value = value + ?1 WHERE name = 'doubled'")?.execute([doubles])?;
    let Some(row) = find(c, key)? else { return Ok(()) };
    row.decided(c, "doubled", &format!("{doubles} more than one"), None, now)
}

/// Deletes what was closed, and authored, before `before`; what was parked waits for a person.
pub fn prune(c: &Connection, before: i64) -> Result<usize> {
    let sql = "DELETE FROM effect WHERE state IN ('settled', 'refused', 'planned') AND coalesce(settled_at, added_at) < ?1 AND authored_at < ?1";
    c.execute(sql, [before])
}

fn applied(
    c: &Connection,
    turn: &Turn,
    remote_id: Option<&str>,
    note: Option<&str>,
    then: Option<&NewEffect>,
    now: i64,
) -> Result<bool> {
    let sweep_at = remote_id.map(|_| now + SWEEP_AFTER_MS);
    let change = Change { settled: true, remote_id, note, sweep_at, ..Change::default() };
    let done = take_step(c, turn, Step::Applied, &change, now)?;
    if done && let Some(then) = then {
        follow(c, turn, then, now)?;
    }
    Ok(done)
}

fn refused(c: &Connection, turn: &Turn, because: &str, now: i64) -> Result<bool> {
    let change = Change { settled: true, refusal: Some("jira"), note: Some(because), ..Change::default() };
    take_step(c, turn, Step::Refuse, &change, now)
}

fn later(c: &Connection, turn: &Turn, at: i64, because: &str, now: i64) -> Result<bool> {
    let in_doubt = matches!(turn.state, State::Unknown | State::Probing);
    let (ready_at, settle_at) = if in_doubt { (None, Some(at)) } else { (Some(at), None) };
    // A probe that could not even begin is no round.
    let probes = if turn.state == State::Probing { -1 } else { 0 };
    let change = Change { ready_at, settle_at, probes, note: Some(because), ..Change::default() };
    take_step(c, turn, Step::Postpone, &change, now)
}

fn parked(c: &Connection, turn: &Turn, because: &str, now: i64) -> Result<bool> {
    take_step(c, turn, Step::Park, &Change { note: Some(because), ..Change::default() }, now)
}

fn ambiguous(c: &Connection, turn: &Turn, because: &str, now: i64) -> Result<bool> {
    take_step(c, turn, Step::Lose, &Change { note: Some(because), ..Change::default() }, now)
}

fn absent(c: &Connection, turn: &Turn, now: i64) -> Result<bool> {
    let change = Change { ready_at: Some(now), found_out: true, ..Change::default() };
    take_step(c, turn, Step::Absent, &change, now)
}

fn inconclusive(c: &Connection, turn: &Turn, because: &str, now: i64) -> Result<bool> {
    let Some(row) = held(c, turn, now)? else { return Ok(false) };
    if row.probes >= protocol::ROUNDS && row.standing.state == State::Probing {
        let because = format!("looked for in vain {} times: {because}", row.probes);
        return parked(c, turn, &because, now);
    }
    let settle_at = Some(now + protocol::pause_ms(row.probes));
    let change = Change { settle_at, note: Some(because), ..Change::default() };
    take_step(c, turn, Step::Inconclusive, &change, now)
}

/// What the ledger reads of a row before it takes a step.
pub(super) struct Standings {
    key: String,
    standing: Standing,
    refusal: Option<String>,
    probes: u32,
    pusher: String,
    commit: String,
    command: String,
    note: Option<String>,
}

/// What a step changes besides the state; what is not named stays.
#[derive(Default)]
pub(super) struct Change<'a> {
    /// The owner goes on with its turn, under a new epoch.
    pub keeps: bool,
    /// The effect is closed.
    pub settled: bool,
    /// It is known again where it stands: earlier rounds of looking do not count.
    pub found_out: bool,
    /// When it was last sent is not known.
    pub forgets: bool,
    pub attempts: i64,
    pub probes: i64,
    pub ready_at: Option<i64>,
    pub settle_at: Option<i64>,
    pub intent_at: Option<i64>,
    pub sweep_at: Option<i64>,
    pub issue_id: Option<&'a str>,
    pub remote_id: Option<&'a str>,
    pub refusal: Option<&'a str>,
    pub note: Option<&'a str>,
    /// Who decided, if not the pusher's order itself.
    pub who: Option<&'a str>,
}

impl Standings {
    fn decided(&self, c: &Connection, what: &str, because: &str, change: Option<&Change<'_>>, now: i64) -> Result<()> {
        let who = change.and_then(|change| change.who).unwrap_or(&self.pusher);
        let remote_id = change.and_then(|change| change.remote_id).unwrap_or_default();
        audit::append(
            c,
            AuditRow {
                at: now,
                effect: self.key.clone(),
                what: what.to_owned(),
                who: who.to_owned(),
                commit: self.commit.clone(),
                command: self.command.clone(),
                because: because.to_owned(),
                remote_id: remote_id.to_owned(),
                ..AuditRow::default()
            },
        )
    }

    fn ruled(self, news: bool) -> Ruled {
        Ruled { key: self.key, state: self.standing.state, news, note: self.note }
    }
}

fn plan_one(c: &Connection, planned: &Planned, effect: &NewEffect, now: i64) -> Result<Ruled> {
    let effect = &*unless_repeated(c, effect)?;
    let Some(row) = find(c, &effect.key)? else {
        match outbox::left_with(c, &effect.key)? {
            None => insert(c, planned, effect, 0, now)?,
            Some(commit) => {
                let because = format!("it was left to Jira with commit {commit}");
                let ruling = Ruling::Refused { why: Denied::Policy, because };
                insert(c, planned, &NewEffect { ruling, ..effect.clone() }, 0, now)?;
            }
        }
        let row = find(c, &effect.key)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        row.decided(c, row.standing.state.as_str(), row.note.as_deref().unwrap_or_default(), None, now)?;
        return Ok(row.ruled(true));
    };
    let open = row.standing.state == State::Planned;
    // Somebody brought the order whom nobody knew; now somebody does who is known.
    let mended = row.refusal.as_deref() == Some(Denied::Unverified.as_str());
    let left = outbox::left_with(c, &effect.key)?.is_some();
    let changed = match &effect.ruling {
        Ruling::Ready if (open || mended) && !left => authorise(c, planned, effect, &row, now)?,
        Ruling::Refused { why, because } if open => {
            let change =
                Change { settled: true, refusal: Some(why.as_str()), note: Some(because), ..Change::default() };
            change_row(c, &row, Step::Deny, &change, now)?
        }
        _ => false,
    };
    let row = find(c, &effect.key)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    Ok(row.ruled(changed))
}

/// The effect as it is put down: refused where its order was taken up under the key of a commit that this one replaces.
fn unless_repeated<'e>(c: &Connection, effect: &'e NewEffect) -> Result<Cow<'e, NewEffect>> {
    let Some(first) = &effect.repeats else { return Ok(Cow::Borrowed(effect)) };
    let sql = "SELECT commit_id FROM effect WHERE effect_key = ?1 AND (state <> 'refused' OR repeats IS NOT NULL)";
    let commit: Option<String> = c.prepare_cached(sql)?.query_row([first], |row| row.get(0)).optional()?;
    Ok(Cow::Owned(match commit {
        Some(commit) => {
            let short = &commit[..commit.len().min(10)];
            let because = format!("commit {short} ordered the same, and this one takes its place");
            NewEffect { ruling: Ruling::Refused { why: Denied::Policy, because }, ..effect.clone() }
        }
        None => NewEffect { repeats: None, ..effect.clone() },
    }))
}

/// Takes up an order that was not allowed so far, as part of the event that brings it now.
fn authorise(c: &Connection, planned: &Planned, effect: &NewEffect, row: &Standings, now: i64) -> Result<bool> {
    let change = Change { ready_at: Some(now), who: Some(&planned.pusher), ..Change::default() };
    if !change_row(c, row, Step::Authorise, &change, now)? {
        return Ok(false);
    }
    let (state, settle_at) = opening(c, effect.authored_at, now)?;
    let sql =
        "UPDATE effect SET repo_id = ?2, event_id = ?3, seq = ?4, place = ?5, commit_id = ?6, pusher = ?7, body = ?8,
                 body_hash = ?9, state = ?10, settle_at = ?11, added_at = ?12, actor = ?13, person = ?14 WHERE effect_key = ?1";
    let NewEffect { key, place, commit, body, body_hash, .. } = effect;
    let Planned { repository, event, seq, pusher, actor, person, .. } = planned;
    let state = state.as_str();
    let values = params![
        key, repository, event, seq, place, commit, pusher, body, body_hash, state, settle_at, now, actor, person
    ];
    c.prepare_cached(sql)?.execute(values).map(|changed| changed > 0)
}

/// Adds what follows from an effect, right behind it.
fn follow(c: &Connection, turn: &Turn, then: &NewEffect, now: i64) -> Result<()> {
    let sql = "SELECT event_id, seq, place, ordinal, part, person FROM effect WHERE effect_key = ?1";
    let (event, seq, place, ordinal, part, person): (String, i64, i64, u32, i64, String) =
        c.prepare_cached(sql)?.query_row([&turn.key], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        })?;
    if find(c, &then.key)?.is_some() {
        return Ok(());
    }
    let planned = Planned {
        site: turn.site.clone(),
        repository: turn.repository.clone(),
        event,
        seq,
        pusher: turn.pusher.clone(),
        actor: turn.actor.clone(),
        person,
        effects: Vec::new(),
    };
    insert(c, &planned, &NewEffect { place, ordinal, ..then.clone() }, part + 1, now)?;
    match find(c, &then.key)? {
        Some(row) => row.decided(c, row.standing.state.as_str(), &format!("follows from {}", turn.key), None, now),
        None => Ok(()),
    }
}

fn insert(c: &Connection, planned: &Planned, effect: &NewEffect, part: i64, now: i64) -> Result<()> {
    let (state, settle_at, refusal, note) = match &effect.ruling {
        Ruling::Ready => {
            let (state, settle_at) = opening(c, effect.authored_at, now)?;
            (state, settle_at, None, None)
        }
        Ruling::Open => (State::Planned, now, None, None),
        Ruling::Refused { why, because } => (State::Refused, now, Some(why.as_str()), Some(because.as_str())),
    };
    let sql = "INSERT INTO effect (effect_key, site_id, repo_id, lane, event_id, seq, place, ordinal, part, commit_id, command,
                 author, authored_at, pusher, actor, person, state, refusal, ready_at, settle_at, body, body_hash, note, added_at, settled_at,
                 repeats)
               VALUES (:key, :site, :repository, :lane, :event, :seq, :place, :ordinal, :part, :commit, :command,
                 :author, :authored_at, :pusher, :actor, :person, :state, :refusal, :now, :settle_at, :body, :body_hash, :note, :now,
                 iif(:state = 'refused', :now, NULL), :repeats)";
    let inserted = c.prepare_cached(sql)?.execute(named_params! {
        ":key": effect.key,
        ":site": planned.site,
        ":repository": planned.repository,
        ":lane": effect.issue,
        ":event": planned.event,
        ":seq": planned.seq,
        ":place": effect.place,
        ":ordinal": effect.ordinal,
        ":part": part,
        ":commit": effect.commit,
        ":command": effect.command,
        ":author": effect.author,
        ":authored_at": effect.authored_at,
        ":pusher": planned.pusher,
        ":actor": planned.actor,
        ":person": planned.person,
        ":state": state.as_str(),
        ":refusal": refusal,
        ":settle_at": settle_at,
        ":body": effect.body,
        ":body_hash": effect.body_hash,
        ":note": note,
        ":now": now,
        ":repeats": effect.repeats,
    });
    inserted.map(drop)
}

/// Whether this store would know if an order that was authored at this moment had been carried out.
pub(super) fn remembers(c: &Connection, authored_at: i64, now: i64) -> Result<bool> {
    let sql = "SELECT value FROM meta WHERE name = 'memory'";
    let memory: i64 = c.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok((memory..=now + DAY_MS).contains(&authored_at))
}

/// Whether an order was refused for good: who pushed it first counts.
pub(super) fn has_refused(c: &Connection, key: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM effect WHERE effect_key = ?1 AND state = 'refused' AND refusal <> 'unverified'";
    c.prepare_cached(sql)?.exists([key])
}

/// Whether an order was carried out by the agent, or is on its way.
pub(super) fn has_taken(c: &Connection, key: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM effect WHERE effect_key = ?1 AND state NOT IN ('planned', 'refused')";
    c.prepare_cached(sql)?.exists([key])
}

/// The state in which an effect is taken up, and from when on it may be looked for.
fn opening(c: &Connection, authored_at: i64, now: i64) -> Result<(State, i64)> {
    let sql = "SELECT value FROM meta WHERE name = 'memory'";
    let memory: i64 = c.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    let remembered = (memory + DAY_MS..=now + DAY_MS).contains(&authored_at);
    Ok(if remembered { (State::Ready, now) } else { (State::Unknown, now.max(memory + SETTLE_MS)) })
}

/// A list as SQL takes one.
fn list(of: &[String]) -> String {
    serde_json::to_string(of).expect("a list of texts can always be written")
}

fn set_memory(c: &Connection, value: i64) -> Result<()> {
    c.execute("UPDATE meta SET value = ?1 WHERE name = 'memory'", [value]).map(drop)
}

/// Takes the first step of an owner, if the effect's time has come, also by a clock that was set back.
fn begin(c: &Connection, turn: &Turn, step: Step, change: &Change<'_>, now: i64) -> Result<bool> {
    match held(c, turn, now)? {
        Some(row) if row.standing.is_due(now) => change_row(c, &row, step, change, now),
        _ => Ok(false),
    }
}

/// Takes a step of an owner, if the turn is still its own.
fn take_step(c: &Connection, turn: &Turn, step: Step, change: &Change<'_>, now: i64) -> Result<bool> {
    match held(c, turn, now)? {
        Some(row) => change_row(c, &row, step, change, now),
        None => Ok(false),
    }
}

/// The row of a turn, if it is as its owner left it.
fn held(c: &Connection, turn: &Turn, now: i64) -> Result<Option<Standings>> {
    let row = find(c, &turn.key)?;
    Ok(row.filter(|row| row.standing.state == turn.state && row.standing.is_held(&turn.hold, now)))
}

/// Takes a step from a row as it was read, and writes down that it was taken.
pub(super) fn change_row(c: &Connection, row: &Standings, step: Step, change: &Change<'_>, now: i64) -> Result<bool> {
    let Standing { state: from, epoch, .. } = row.standing;
    let Some(to) = protocol::next(from, step) else { return Ok(false) };
    // What was refused before Jira was asked is no outcome: the push was answered with it.
    let ended = matches!(to, State::Settled | State::Parked) || to == State::Refused && change.refusal == Some("jira");
    let outcome = if ended { Some(news::next(c, now)?) } else { None };
    let sql = "UPDATE effect SET state = :to, epoch = epoch + 1,
                 owner = iif(:keeps, owner, NULL), lease_until = iif(:keeps, lease_until, 0),
                 attempts = attempts + :attempts, probes = iif(:found_out, 0, probes + :probes),
                 ready_at = coalesce(:ready_at, ready_at), settle_at = coalesce(:settle_at, settle_at),
                 intent_at = iif(:forgets, NULL, coalesce(:intent_at, intent_at)), sweep_at = :sweep_at,
                 issue_id = coalesce(:issue_id, issue_id), remote_id = coalesce(:remote_id, remote_id),
                 refusal = :refusal, note = :note, settled_at = iif(:settled, :now, NULL), outcome = :outcome
               WHERE effect_key = :key AND state = :from AND epoch = :epoch";
    let changed = c.prepare_cached(sql)?.execute(named_params! {
        ":key": row.key,
        ":from": from.as_str(),
        ":epoch": epoch,
        ":to": to.as_str(),
        ":keeps": change.keeps,
        ":attempts": change.attempts,
        ":found_out": change.found_out,
        ":probes": change.probes,
        ":ready_at": change.ready_at,
        ":settle_at": change.settle_at,
        ":forgets": change.forgets,
        ":intent_at": change.intent_at,
        ":sweep_at": change.sweep_at,
        ":issue_id": change.issue_id,
        ":remote_id": change.remote_id,
        ":refusal": change.refusal,
        ":note": change.note,
        ":settled": change.settled,
        ":outcome": outcome,
        ":now": now,
    })?;
    if changed > 0 {
        row.decided(c, to.as_str(), change.note.unwrap_or_default(), Some(change), now)?;
    }
    Ok(changed > 0)
}

pub(super) fn find(c: &Connection, key: &str) -> Result<Option<Standings>> {
    let sql = "SELECT effect_key, state, epoch, ready_at, settle_at, lease_until, refusal, probes, pusher, commit_id, command, note
               FROM effect WHERE effect_key = ?1";
    let row = |row: &Row<'_>| {
        Ok(Standings {
            key: row.get(0)?,
            standing: Standing {
                state: state(row, 1)?,
                epoch: row.get(2)?,
                ready_at: row.get(3)?,
                settle_at: row.get(4)?,
                lease_until: row.get(5)?,
            },
            refusal: row.get(6)?,
            probes: row.get(7)?,
            pusher: row.get(8)?,
            commit: row.get(9)?,
            command: row.get(10)?,
            note: row.get(11)?,
        })
    };
    c.prepare_cached(sql)?.query_row([key], row).optional()
}

fn in_flight(c: &Connection) -> Result<Vec<String>> {
    keys(c, "SELECT effect_key FROM effect WHERE state IN ('intent', 'probing')")
}

fn open(c: &Connection) -> Result<Vec<String>> {
    keys(
        c,
        "SELECT effect_key FROM effect WHERE state IN ('ready', 'intent', 'unknown', 'probing') ORDER BY seq, place, ordinal, part",
    )
}

fn keys(c: &Connection, sql: &str) -> Result<Vec<String>> {
    c.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect()
}

pub(super) fn state(row: &Row<'_>, column: usize) -> Result<State> {
    let word = row.get_ref(column)?.as_str()?;
    State::of(word).ok_or(rusqlite::Error::InvalidColumnType(column, word.to_owned(), rusqlite::types::Type::Text))
}
