//! The rules by which an effect is carried out once, against a Jira that has no idempotency key.
//!
//! ```text
//!  PLANNED ── authorise ──► READY ── intend ──► INTENT ── applied ──► SETTLED
//!     │ deny                  ▲ ▲                 │ │ └── refuse, park ──► REFUSED, PARKED
//!     ▼                       │ └── postpone ─────┘ │ lose: ambiguous, crash, lease over
//!  REFUSED                    │ absent              ▼
//!                          PROBING ◄─── probe ─── UNKNOWN
//!                             └─ applied ─► SETTLED  ▲
//!                             └─ inconclusive ───────┘  (the third time: park)
//! ```
//!
//! Three rules make it "once", and each removes a duplicate or a loss that the others leave:
//!
//! - *Intent first.* INTENT is on disk before the first byte leaves, so nothing is sent that is forgotten.
//! - *The settle window.* What may have been sent is looked for only when it can no longer be
//!   applied: [`Standing::is_due`].
//! - *The fence.* Who was paused and lost the lease, or comes late, does not send any more: [`Hold::time_left`].
//!
//! Everything here is pure. The ledger asks these functions before it writes, and the search in
//! `model.rs` drives the same functions through every order of events, so a change here is checked.

use std::fmt::{self, Display, Formatter};

/// How far an effect has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits until somebody decides whether the pusher may order it.
    Planned,
    /// Is to be sent.
    Ready,
    /// Is being sent, or was when its owner was last heard of.
    Intent,
    /// May have been applied, or may still be.
    Unknown,
    /// Is being looked for in Jira.
    Probing,
    /// Is done: by us, by a person, or because there was nothing to do.
    Settled,
    /// Will not be done.
    Refused,
    /// Waits for a person.
    Parked,
}

/// What leads from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The pusher may order it.
    Authorise,
    /// The pusher may not, or nobody may any more.
    Deny,
    /// An owner is about to send it.
    Intend,
    /// Jira has it.
    Applied,
    /// Jira never will.
    Refuse,
    /// Jira has certainly not applied it, and may later.
    Postpone,
    /// A person has to look.
    Park,
    /// Nobody knows: an ambiguous answer, or an owner that is gone.
    Lose,
    /// The settle window is over: an owner looks for it.
    Probe,
    /// It is certainly not there.
    Absent,
    /// Looking for it told nothing.
    Inconclusive,
    /// The store is older than what may have been sent.
    Restore,
    /// A person wants it tried again.
    Retry,
    /// A person has looked, it is not there, and wants it sent.
    Insist,
    /// A person says that it is done.
    Done,
}

/// What the store says about an effect's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    pub state: State,
    /// Grows whenever somebody takes the effect, or it is taken away.
    pub epoch: i64,
    pub ready_at: i64,
    pub settle_at: i64,
    pub lease_until: i64,
}

/// What an owner knows of its own turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    pub epoch: i64,
    /// When the lease was asked for.
    pub claimed_at: i64,
    pub ttl: i64,
    pub intent_at: Option<i64>,
}

/// How long after its intent a request may begin.
pub const SEND_WITHIN_MS: i64 = 30_000;
/// How long after its intent a request has to be over; leaves 120 s for the answer, because patience
/// is cheaper than ambiguity.
pub const REQUEST_MS: i64 = 150_000;
/// How long after that a request may still be applied.
pub const WINDOW_MS: i64 = 120_000;
/// From the intent to the moment from which looking for the effect is believed.
pub const SETTLE_MS: i64 = REQUEST_MS + WINDOW_MS;
/// How much of a lease its owner leaves unused, for clocks and pauses.
pub const MARGIN_MS: i64 = 10_000;
/// How often an effect is looked for in vain before a person has to.
pub const ROUNDS: u32 = 3;

/// The state a step leads to; `None` where there is no such arrow.
pub fn next(state: State, step: Step) -> Option<State> {
    use State::{Intent, Parked, Planned, Probing, Ready, Refused, Settled, Unknown};
    match (state, step) {
        (Planned | Refused, Step::Authorise) => Some(Ready),
        (Planned, Step::Deny) => Some(Refused),
        (Ready, Step::Intend) => Some(Intent),
        // From READY: Jira is there already, says no before anything is sent, or cannot be asked.
        (Ready | Intent | Probing, Step::Applied) => Some(Settled),
        (Ready | Intent, Step::Refuse) => Some(Refused),
        (Ready | Intent, Step::Postpone) => Some(Ready),
        (Unknown | Probing, Step::Postpone) => Some(Unknown),
        (Ready | Intent | Unknown | Probing, Step::Park) => Some(Parked),
        (Intent | Probing, Step::Lose) => Some(Unknown),
        (Unknown, Step::Probe) => Some(Probing),
        (Probing, Step::Absent) => Some(Ready),
        (Probing, Step::Inconclusive) => Some(Unknown),
        (Ready | Intent | Unknown | Probing, Step::Restore) => Some(Unknown),
        (Parked | Refused, Step::Retry) => Some(Unknown),
        (Parked | Refused, Step::Insist) => Some(Ready),
        (Planned | Ready | Unknown | Parked, Step::Done) => Some(Settled),
        _ => None,
    }
}

/// How long an effect rests after the given number of rounds in which looking for it told nothing.
pub fn pause_ms(rounds: u32) -> i64 {
    60_000 << (2 * rounds.saturating_sub(1)).min(6)
}

impl State {
    pub const ALL: [State; 8] = [
        State::Planned,
        State::Ready,
        State::Intent,
        State::Unknown,
        State::Probing,
        State::Settled,
        State::Refused,
        State::Parked,
    ];

    /// The word for it in the store, in lists and in filters.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Planned => "planned",
            State::Ready => "ready",
            State::Intent => "intent",
            State::Unknown => "unknown",
            State::Probing => "probing",
            State::Settled => "settled",
            State::Refused => "refused",
            State::Parked => "parked",
        }
    }

    pub fn of(word: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl Display for State {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Standing {
    /// Whether its time has come: to be sent, or, once the settle window is over, to be looked for.
    pub fn is_due(&self, now: i64) -> bool {
        match self.state {
            State::Ready => self.ready_at <= now,
            State::Unknown => self.settle_at <= now,
            _ => false,
        }
    }

    /// Whether nobody has it.
    pub fn is_free(&self, now: i64) -> bool {
        self.lease_until < now
    }

    /// Whether the turn is still that of an owner.
    pub fn is_held(&self, hold: &Hold, now: i64) -> bool {
        self.epoch == hold.epoch && now <= self.lease_until
    }

    /// Whether it was taken by somebody whose lease is over.
    pub fn is_lost(&self, now: i64) -> bool {
        matches!(self.state, State::Intent | State::Probing) && self.is_free(now)
    }
}

impl Hold {
    /// How long a request that begins now may take; `None` when it may not begin any more.
    pub fn time_left(&self, now: i64) -> Option<i64> {
        let intent_at = self.intent_at?;
        let trusted = now < self.claimed_at + self.ttl - MARGIN_MS;
        // A clock that was set back says nothing about how long ago the intent was.
        let early = (intent_at..intent_at + SEND_WITHIN_MS).contains(&now);
        (trusted && early).then_some(intent_at + REQUEST_MS - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Step; 15] = [
        Step::Authorise,
        Step::Deny,
        Step::Intend,
        Step::Applied,
        Step::Refuse,
        Step::Postpone,
        Step::Park,
        Step::Lose,
        Step::Probe,
        Step::Absent,
        Step::Inconclusive,
        Step::Restore,
        Step::Retry,
        Step::Insist,
        Step::Done,
    ];

    #[test]
    fn nothing_leaves_settled_and_only_one_arrow_leads_to_intent() {
        let into = |to| {
            let pairs = State::ALL.into_iter().flat_map(|state| STEPS.map(|step| (state, step)));
            pairs.filter(|(state, step)| next(*state, *step) == Some(to)).collect::<Vec<_>>()
        };
        assert!(STEPS.iter().all(|step| next(State::Settled, *step).is_none()));
        assert_eq!(into(State::Intent), [(State::Ready, Step::Intend)]);
        assert_eq!(into(State::Probing), [(State::Unknown, Step::Probe)]);
    }

    #[test]
    fn what_may_have_been_sent_becomes_ready_only_when_that_is_known() {
        let knowing = [Step::Postpone, Step::Absent];
        for state in [State::Intent, State::Unknown, State::Probing] {
            for step in STEPS {
                assert!(next(state, step) != Some(State::Ready) || knowing.contains(&step), "{state} {step:?}");
            }
        }
    }

    #[test]
    fn f38_who_comes_late_does_not_send() {
        let hold = Hold { epoch: 1, claimed_at: 0, ttl: 300_000, intent_at: Some(1000) };
        assert_eq!(hold.time_left(1000), Some(150_000));
        assert_eq!(hold.time_left(30_999), Some(120_001), "so there is always time for an answer");
        assert_eq!(hold.time_left(31_000), None, "the settle window counts from the intent");
        assert_eq!(hold.time_left(999), None, "the clock was set back");
        assert_eq!(Hold { ttl: 20_000, ..hold }.time_left(10_000), None, "the lease is nearly over");
        assert_eq!(Hold { intent_at: None, ..hold }.time_left(1000), None, "nothing is sent without an intent");
    }

    #[test]
    fn pauses_between_rounds_grow() {
        assert_eq!([1, 2, 3].map(pause_ms), [60_000, 240_000, 960_000]);
    }
}
