//! When something is tried again: pure functions of what happened, how often, and the time.
//!
//! Chance comes in as a `seed`, so that a crowd of agents does not knock at the same moment and a test still knows what
//! to expect. All spans are milliseconds.

use jiff::Timestamp;
use jiff::fmt::rfc2822;

use crate::queue::{Next, Owed};

/// How a site has answered lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circuit {
    /// Failures in a row.
    failures: u32,
    /// When the first of them was.
    since: Option<i64>,
}

/// What Jira's answer says about waiting, read from its headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// For how long.
    pub span: Option<i64>,
}

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The longest own pause, before chance has its say.
const LONGEST: i64 = 5 * MINUTE;
/// The longest own pause while there is no way to the site.
pub const OFFLINE: i64 = 5 * SECOND;
/// How often Jira may call an entity faulty before a person has to look.
const TRIES: u32 = 5;
/// How long an entity may wait for a site that is out.
const OLDEST: i64 = 14 * DAY;
/// A site that has just begun to fail is no reason to give anything up, however long other things took before.
const LASTING: i64 = HOUR;

impl Circuit {
    /// Notes that the site answered.
    pub fn close(&mut self) {
        *self = Circuit::default();
    }

    /// Notes a failure; gives the moment of the next attempt, which is a single one.
    ///
    /// Where there is no way to the site, its load is no reason to wait: the network may be back any moment.
    pub fn open(&mut self, wish: Wish, offline: bool, now: i64, seed: u64) -> i64 {
        let own = backoff(self.failures, seed);
        let pause = if offline { own.min(jitter(OFFLINE, seed)) } else { own };
        let pause = pause.max(wish.pause(seed).unwrap_or(0));
        self.failures = self.failures.saturating_add(1);
        self.since.get_or_insert(now);
        now + pause
    }

    /// How often in a row the site failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What becomes of an entity when the site fails: it waits, for two weeks if need be.
    pub fn outlast(&self, owed: &Owed, until: i64, because: &str, now: i64) -> Next {
        let lasting = self.since.is_some_and(|since| now - since >= LASTING);
        match lasting && now - owed.added_at > OLDEST {
            true => Next::Parked { because: format!("not delivered in 14 days: {because}") },
            false => Next::Again { at: until, counts: false, because: because.to_owned() },
        }
    }
}

impl Wish {
    /// Reads `Retry-After`, in seconds or as a date, and else `X-RateLimit-Reset`.
    pub fn read(retry_after: Option<&str>, reset: Option<&str>, now: i64) -> Wish {
        let spans =
            [retry_after.and_then(|text| retry_after_span(text, now)), reset.and_then(|text| reset_span(text, now))];
        Wish { span: spans.into_iter().flatten().next().map(|span| span.clamp(SECOND, HOUR)) }
    }

    /// The wish with a little more of chance: going below it would only earn the next refusal.
    pub fn pause(self, seed: u64) -> Option<i64> {
        self.span.map(|span| span + span * share(seed, 300) / 1000)
    }
}

/// An own pause: a second, doubling up to five minutes, times 0.7 to 1.3.
///
/// With the same seed a later attempt never waits shorter than an earlier one.
pub fn backoff(attempt: u32, seed: u64) -> i64 {
    jitter(SECOND.saturating_mul(1 << attempt.min(20)).min(LONGEST), seed)
}

/// What becomes of an entity that Jira says is faulty: a few tries, because Jira says so in bad moments too.
pub fn failed(owed: &Owed, because: String, now: i64, seed: u64) -> Next {
    match owed.attempts {
        tried if tried + 1 < TRIES => Next::Again { at: now + patience(tried, seed), counts: true, because },
        _ => Next::Parked { because },
    }
}

/// What becomes of an entity that an answer said nothing about.
pub fn unmentioned(owed: &Owed, now: i64, seed: u64) -> Next {
    let because = "Jira's answer does not mention it".to_owned();
    match now - owed.added_at > OLDEST && owed.attempts >= TRIES {
        true => Next::Parked { because },
        false => Next::Again { at: now + patience(owed.attempts, seed), counts: true, because },
    }
}

/// What becomes of an entity with keys that Jira does not know (yet): the issue may be made after the commit.
pub fn unknown(owed: &Owed, keys: &[&str], now: i64) -> Next {
    let because = format!("Jira does not know {}", keys.join(", "));
    match [10 * MINUTE, HOUR, DAY, 7 * DAY].get(owed.unknown as usize) {
        Some(span) => {
            let keys = keys.iter().map(ToString::to_string).collect();
            Next::Unknown { at: now + span, keys, because }
        }
        None => Next::Done { dropped: keys.len(), note: Some(because) },
    }
}

/// The pause after a fault of the entity itself: half a minute, times four each time, an hour at most.
fn patience(attempt: u32, seed: u64) -> i64 {
    jitter((30 * SECOND).saturating_mul(1 << (2 * attempt.min(10))).min(HOUR), seed)
}

fn jitter(span: i64, seed: u64) -> i64 {
    span * (700 + share(seed, 600)) / 1000
}

/// A number from 0 to `most` that the seed decides.
fn share(seed: u64, most: u64) -> i64 {
    // Near seeds are to give far numbers.
    let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    i64::try_from(mixed % (most + 1)).expect("most is small")
}

fn retry_after_span(text: &str, now: i64) -> Option<i64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds.saturating_mul(SECOND));
    }
    // Digits beyond 64 bits are a long time, not no answer.
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(HOUR);
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(date.as_millisecond() - now)
}

fn reset_span(text: &str, now: i64) -> Option<i64> {
    let text = text.trim();
    let reset = text.parse::<Timestamp>().ok().or_else(|| {
        // Jira shows the moment without seconds in places.
        let minutes = text.strip_suffix('Z')?;
        format!("{minutes}:00Z").parse().ok()
    })?;
    Some(reset.as_millisecond() - now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::queue::EntityKind;

    /// 2026-03-01T09:30:00Z
    const NOW: i64 = 1_772_357_400_000;

    fn owed(attempts: u32, unknown: u32, age: i64) -> Owed {
        Owed {
            repository: "r".to_owned(),
            kind: EntityKind::Commit,
            id: "c".to_owned(),
            sequence: 7,
            attempts,
            unknown,
            added_at: NOW - age,
            keys: vec!["A-1".to_owned()],
            body: Vec::new(),
            leave: false,
        }
    }

    #[track_caller]
    fn check(retry_after: Option<&str>, reset: Option<&str>, span: Option<i64>) {
        assert_eq!(Wish::read(retry_after, reset, NOW).span, span);
    }

    #[test]
    fn f52_a_wish_is_read_in_every_form_and_kept_within_reason() {
        check(Some("12"), None, Some(12_000));
        check(Some(" 12 "), Some("2026-03-01T10:00:00Z"), Some(12_000));
        check(Some("Sun, 01 Mar 2026 09:31:00 GMT"), None, Some(60_000));
        check(Some("Sun, 01 Mar 2026 09:29:00 GMT"), None, Some(1_000));
        check(Some("1000000000"), None, Some(3_600_000));
        check(Some("99999999999999999999999"), None, Some(3_600_000));
        check(Some("-5"), None, Some(1_000));
        check(Some("0"), None, Some(1_000));
        check(Some("soon"), None, None);
        check(Some("soon"), Some("2026-03-01T10:00:00Z"), Some(1_800_000));
        check(None, Some("2026-03-01T10:00Z"), Some(1_800_000));
        check(None, Some("2026-03-01T10:00:00+01:00"), Some(1_000));
        check(None, Some("1772359200"), None);
        check(None, None, None);
    }

    #[test]
    fn f54_a_faulty_entity_is_tried_a_few_times_and_then_shown_to_a_person() {
        let mut attempts = 0;
        let mut at = NOW;
        while let Next::Again { at: next, counts, .. } = failed(&owed(attempts, 0, 0), "bad".to_owned(), NOW, 5) {
            assert!(counts && next > at);
            (attempts, at) = (attempts + 1, next);
        }
        assert_eq!(attempts, 4);
        assert_eq!(failed(&owed(4, 0, 0), "bad".to_owned(), NOW, 5), Next::Parked { because: "bad".to_owned() });
    }

    #[test]
    fn f55_an_unknown_key_is_tried_for_a_week_and_then_counted() {
        let because = "Jira does not know A-1".to_owned();
        for (times, span) in [(0, 600_000), (1, 3_600_000), (2, 86_400_000), (3, 604_800_000)] {
            let next = unknown(&owed(9, times, 0), &["A-1"], NOW);
            let keys = vec!["A-1".to_owned()];
            assert_eq!(next, Next::Unknown { at: NOW + span, keys, because: because.clone() });
        }
        let next = unknown(&owed(9, 4, 0), &["A-1"], NOW);
        assert_eq!(next, Next::Done { dropped: 1, note: Some(because) });
    }

    #[test]
    fn f53_an_outage_gives_nothing_up_before_two_weeks() {
        let mut circuit = Circuit::default();
        circuit.open(Wish::default(), false, NOW - 2 * HOUR, 1);
        let parked = |age| matches!(circuit.outlast(&owed(1000, 0, age), NOW + 1, "out", NOW), Next::Parked { .. });
        assert!(!parked(13 * DAY));
        assert!(parked(15 * DAY));
        let mut fresh = Circuit::default();
        fresh.open(Wish::default(), false, NOW, 1);
        let next = fresh.outlast(&owed(0, 0, 15 * DAY), NOW + 1, "out", NOW);
        assert_eq!(next, Next::Again { at: NOW + 1, counts: false, because: "out".to_owned() });
    }

    #[test]
    fn a_site_that_answered_begins_with_short_pauses_again() {
        let mut circuit = Circuit::default();
        let first = circuit.open(Wish::default(), false, NOW, 3);
        let second = circuit.open(Wish::default(), false, NOW, 3);
        assert!(second > first);
        circuit.close();
        assert_eq!(circuit.open(Wish::default(), false, NOW, 3), first);
        assert!(circuit.open(Wish { span: Some(HOUR) }, true, NOW, 3) >= NOW + HOUR);
    }

    #[test]
    fn i14_without_a_network_the_pauses_do_not_grow() {
        let mut circuit = Circuit::default();
        for seed in 0..100 {
            assert!(circuit.open(Wish::default(), true, NOW, seed) - NOW <= 6_500);
        }
        // What answered and failed is left alone for longer.
        assert!(circuit.open(Wish::default(), false, NOW, 3) - NOW > 60_000);
    }

    proptest! {
        #[test]
        fn a_pause_never_shrinks_and_is_bounded(attempt in 0u32..100, seed: u64) {
            let pause = backoff(attempt, seed);
            prop_assert!(pause <= backoff(attempt + 1, seed));
            prop_assert!((700..=390_000).contains(&pause));
            prop_assert!(patience(attempt, seed) <= patience(attempt + 1, seed));
        }

        #[test]
        fn a_wish_is_never_undercut(text in "\\PC{0,40}", seconds: i64, seed: u64) {
            for wish in [Wish::read(Some(&text), Some(&text), NOW), Wish::read(Some(&seconds.to_string()), None, NOW)] {
                if let (Some(span), Some(pause)) = (wish.span, wish.pause(seed)) {
                    prop_assert!((SECOND..=HOUR).contains(&span) && span <= pause && pause <= HOUR * 13 / 10);
                }
            }
        }
    }
}
