//! How fast one issue may be written to: the limit of Cloud that an executor meets first.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

/// Writes that fit into a span of seconds.
const LIMITS: [(usize, i64); 2] = [(20, 2), (100, 30)];

/// When each issue was written to of late.
#[derive(Default)]
pub(super) struct Pace(BTreeMap<u64, VecDeque<Timestamp>>);

impl Pace {
    /// Counts a write to an issue, or says after how many seconds one may be tried again.
    pub(super) fn count(&mut self, issue: u64, now: Timestamp) -> Result<(), i64> {
        let writes = self.0.entry(issue).or_default();
        for (most, seconds) in LIMITS {
            let span = SignedDuration::from_secs(seconds);
            if writes.iter().rev().take_while(|write| now.duration_since(**write) < span).count() >= most {
                return Err(seconds);
            }
        }
        writes.push_back(now);
        if writes.len() > LIMITS[1].0 {
            writes.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issue_takes_twenty_writes_in_two_seconds_and_a_hundred_in_thirty() {
        let mut pace = Pace::default();
        let mut writes = |issue, second: i64| {
            let now = Timestamp::from_second(1_800_000_000 + second).expect("tests stay in this age");
            (0..25).map_while(|_| pace.count(issue, now).ok()).count()
        };
        assert_eq!([writes(1, 0), writes(1, 1), writes(2, 1), writes(1, 2)], [20, 0, 20, 20]);
        assert_eq!([4, 6, 8, 10, 29, 30].map(|second| writes(1, second)), [20, 20, 20, 0, 0, 20]);
    }
}
