//! Time tracking: Jira's own units, and what a day and a week of work are here.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How a site counts work.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TimeTracking {
    pub(super) enabled: bool,
    pub(super) working_hours_per_day: f64,
    pub(super) working_days_per_week: f64,
}

impl Default for TimeTracking {
    fn default() -> TimeTracking {
        TimeTracking { enabled: true, working_hours_per_day: 8.0, working_days_per_week: 5.0 }
    }
}

impl TimeTracking {
    /// Seconds in each unit, the greatest first.
    fn units(&self) -> [(char, u64); 4] {
        let day = (self.working_hours_per_day * 3_600.0) as u64;
        [('w', (day as f64 * self.working_days_per_week) as u64), ('d', day), ('h', 3_600), ('m', 60)]
    }

    /// Reads a span such as `1w 2d 4h 30m`: whole numbers, a unit each; a number alone is minutes.
    pub(super) fn seconds(&self, text: &str) -> Option<u64> {
        if let Ok(minutes) = text.trim().parse::<u64>() {
            return minutes.checked_mul(60).filter(|seconds| *seconds > 0);
        }
        let mut total = 0_u64;
        for part in text.split_whitespace() {
            let unit = part.chars().next_back()?;
            let number: u64 = part.strip_suffix(unit)?.parse().ok()?;
            let (_, seconds) = self.units().into_iter().find(|(name, _)| *name == unit)?;
            total = total.checked_add(number.checked_mul(seconds)?)?;
        }
        (total > 0).then_some(total)
    }

    /// Writes seconds as Jira shows them; what is left below a minute is not shown.
    pub(super) fn pretty(&self, seconds: u64) -> String {
        let mut left = seconds;
        let mut parts = Vec::new();
        for (name, size) in self.units() {
            let number = left.checked_div(size).unwrap_or_default();
            left -= number * size;
            parts.extend((number > 0).then(|| format!("{number}{name}")));
        }
        if parts.is_empty() { "0m".into() } else { parts.join(" ") }
    }

    pub(super) fn show(&self) -> Value {
        json!({
            "workingHoursPerDay": self.working_hours_per_day, "workingDaysPerWeek": self.working_days_per_week,
            "timeFormat": "pretty", "defaultUnit": "minute",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, seconds: Option<u64>, pretty: &str) {
        let tracking = TimeTracking { working_hours_per_day: 7.5, ..TimeTracking::default() };
        assert_eq!(tracking.seconds(text), seconds, "{text}");
        assert_eq!(seconds.map_or(String::new(), |seconds| tracking.pretty(seconds)), pretty, "{text}");
    }

    #[test]
    fn a_span_is_read_and_written_with_the_hours_of_the_site() {
        check("1h 30m", Some(5_400), "1h 30m");
        check("1d", Some(27_000), "1d");
        check("8h", Some(28_800), "1d 30m");
        check("1w 1m", Some(135_060), "1w 1m");
        check("90", Some(5_400), "1h 30m");
        for refused in ["", "1.5h", "h", "1s", "1h30m", "0m", "-1h"] {
            check(refused, None, "");
        }
    }
}
