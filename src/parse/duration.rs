//! How long somebody worked, as `#time` says it and as Jira reads it.
//!
//! An amount is read or refused, never guessed: a wrong worklog costs more than a second try. Weeks
//! and days stay what they are until the site's working hours are known, because `1.5d` is a
//! different number of hours elsewhere. Amounts are millionths, so `0.1` is exact.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A span of work in weeks, days, hours and minutes, more than nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration {
    /// Millionths of a week.
    weeks: u64,
    /// Millionths of a day.
    days: u64,
    /// Millionths of a minute; hours are a fixed number of them.
    minutes: u64,
}

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum NotDuration {
    #[error("a duration is missing, such as `1h 30m`")]
    Missing,
    #[error("a number has no unit: w, d, h or m")]
    NoUnit,
    #[error("the number has to begin with a digit")]
    NoNumber,
    #[error("a unit is given twice")]
    UnitTwice,
    #[error("no time at all")]
    Zero,
    #[error("time cannot be negative")]
    Negative,
    #[error("Jira counts no seconds")]
    Seconds,
    #[error("more than 52 weeks")]
    TooLong,
    #[error("the duration has to come first")]
    NotFirst,
    #[error("something follows the duration")]
    NotAll,
}

/// Why there is no duration, and what could have been written instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub because: NotDuration,
    pub instead: Option<String>,
}

impl Duration {
    /// Writes the duration in Jira's own units, whole ones only: fractions are spread with the site's working hours.
    ///
    /// At least a minute. Working hours that make no sense are taken as Jira's own, 8 and 5.
    pub fn jira(&self, hours_per_day: f64, days_per_week: f64) -> String {
        let spread = |amount: u64, factor: f64, usual: f64| {
            let factor = if factor.is_finite() && factor > 0.0 { factor } else { usual };
            ((amount % ONE) as f64 * factor).round() as u64
        };
        let days = self.days.saturating_add(spread(self.weeks, days_per_week, 5.0));
        let minutes = self.minutes.saturating_add(spread(days, hours_per_day * 60.0, 8.0 * 60.0));
        let (weeks, days) = (self.weeks / ONE, days / ONE);
        let minutes = (minutes.saturating_add(ONE / 2) / ONE).max(u64::from(weeks == 0 && days == 0));
        written([(weeks, "w"), (days, "d"), (minutes / 60, "h"), (minutes % 60, "m")].map(|(n, unit)| (n * ONE, unit)))
    }
}

impl Display for Duration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let hours = self.minutes / HOUR * ONE;
        f.pad(&written([(self.weeks, "w"), (self.days, "d"), (hours, "h"), (self.minutes % HOUR, "m")]))
    }
}

impl FromStr for Duration {
    type Err = NotDuration;

    fn from_str(text: &str) -> Result<Self, NotDuration> {
        match read(text) {
            Ok((duration, "")) => Ok(duration),
            Ok(_) => Err(NotDuration::NotAll),
            Err(wrong) => Err(wrong.because),
        }
    }
}

impl TryFrom<String> for Duration {
    type Error = NotDuration;

    fn try_from(text: String) -> Result<Self, NotDuration> {
        text.parse()
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> String {
        duration.to_string()
    }
}

/// Reads the duration a text begins with, and gives what follows it.
pub(super) fn read(text: &str) -> Result<(Duration, &str), Wrong> {
    let text = text.trim_start_matches(is_blank);
    match sum(text, Units::OnceEach) {
        Ok(Some((duration, rest))) => Ok((duration, rest)),
        Ok(None) => Err(missing(text)),
        Err((because, end)) => Err(Wrong { because, instead: with_minutes(text, because, end) }),
    }
}

/// Reads runs of whole numbers and units as Jira adds them up, `2h 2h` being four hours.
pub(super) fn total(text: &str) -> Result<Duration, NotDuration> {
    match sum(text, Units::Added) {
        Ok(Some((duration, _))) => Ok(duration),
        Ok(None) => Err(NotDuration::Missing),
        Err((because, _)) => Err(because),
    }
}

/// How often a unit may come.
#[derive(Clone, Copy, PartialEq)]
enum Units {
    OnceEach,
    Added,
}

const ONE: u64 = 1_000_000;
const HOUR: u64 = 60 * ONE;

/// The longest duration in millionths of a minute. Calendar weeks: on no site are there more working hours in one.
const LONGEST: u128 = 52 * 7 * 24 * HOUR as u128;

/// Reads amounts until something else comes; an error names the place where the trouble ends.
fn sum(text: &str, units: Units) -> Result<Option<(Duration, &str)>, (NotDuration, usize)> {
    let mut amounts: [Option<u64>; 4] = [None; 4];
    let mut rest = text;
    while let Some((number, after)) = number(rest) {
        let end = text.len() - after.len();
        let word = after.trim_start_matches(is_blank);
        let letters = &word[..word.find(|c: char| !c.is_alphabetic()).unwrap_or(word.len())];
        let Some(unit) = unit(letters) else {
            let attached = rest.len() == text.len() || !text[..text.len() - rest.len()].ends_with(is_blank);
            match letters.to_ascii_lowercase().as_str() {
                "s" | "sec" | "secs" | "second" | "seconds" => return Err((NotDuration::Seconds, end)),
                _ if attached || word.is_empty() => return Err((NotDuration::NoUnit, end)),
                // `2h 3 files`: the number counts something else and belongs to the comment.
                _ => break,
            }
        };
        if amounts[unit].is_some() && units == Units::OnceEach {
            return Err((NotDuration::UnitTwice, end));
        }
        amounts[unit] = Some(amounts[unit].unwrap_or(0).saturating_add(number));
        let next = &word[letters.len()..];
        rest = next.strip_prefix(',').unwrap_or(next).trim_start_matches(is_blank);
    }
    match amounts {
        [None, None, None, None] => Ok(None),
        amounts => {
            sound(amounts.map(Option::unwrap_or_default)).map(|duration| Some((duration, rest))).map_err(|e| (e, 0))
        }
    }
}

fn sound([weeks, days, hours, minutes]: [u64; 4]) -> Result<Duration, NotDuration> {
    let day = 24 * 60;
    let all = u128::from(weeks) * 7 * day + u128::from(days) * day + u128::from(hours) * 60 + u128::from(minutes);
    match all {
        0 => Err(NotDuration::Zero),
        all if all > LONGEST => Err(NotDuration::TooLong),
        _ => Ok(Duration { weeks, days, minutes: hours * 60 + minutes }),
    }
}

/// Reads a decimal number in millionths; what is finer is left out, what is too large becomes as large as can be.
fn number(text: &str) -> Option<(u64, &str)> {
    let (whole, rest) = digits(text)?;
    let (fraction, rest) = rest.strip_prefix(['.', ',']).and_then(digits).unwrap_or(("", rest));
    let millionths = format!("{fraction:0<6.6}").parse().unwrap_or(0);
    let whole: u64 = whole.parse().unwrap_or(u64::MAX);
    Some((whole.saturating_mul(ONE).saturating_add(millionths), rest))
}

fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// The place of a unit among weeks, days, hours and minutes.
fn unit(letters: &str) -> Option<usize> {
    match letters.to_ascii_lowercase().as_str() {
        "w" | "week" | "weeks" => Some(0),
        "d" | "day" | "days" => Some(1),
        "h" | "hr" | "hrs" | "hour" | "hours" => Some(2),
        "m" | "min" | "mins" | "minute" | "minutes" => Some(3),
        _ => None,
    }
}

/// Says why a text does not begin with a duration.
fn missing(text: &str) -> Wrong {
    let digit_after = |signs: &[char]| {
        text.strip_prefix(signs)
            .is_some_and(|rest| rest.trim_start_matches(is_blank).starts_with(|c: char| c.is_ascii_digit()))
    };
    if digit_after(&['-', '−', '–']) {
        return Wrong { because: NotDuration::Negative, instead: None };
    }
    if digit_after(&['.', ',']) {
        let instead = format!("0{text}");
        return Wrong { because: NotDuration::NoNumber, instead: read_well(&instead).then_some(instead) };
    }
    match found_later(text) {
        Some(instead) => Wrong { because: NotDuration::NotFirst, instead: Some(instead) },
        None => Wrong { because: NotDuration::Missing, instead: None },
    }
}

/// Moves the first duration inside a text to its front.
fn found_later(text: &str) -> Option<String> {
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        let begins = c.is_ascii_digit() && !before.is_alphanumeric() && !matches!(before, '.' | ',' | '-');
        before = c;
        if begins && let Ok(Some((_, rest))) = sum(&text[at..], Units::OnceEach) {
            let duration = text[at..text.len() - rest.len()].trim_end_matches(|c| is_blank(c) || c == ',');
            return Some([duration, text[..at].trim_end(), rest].join(" ").trim_end().to_owned());
        }
    }
    None
}

/// Adds the unit that is missing, where that leaves no doubt about what follows.
fn with_minutes(text: &str, because: NotDuration, end: usize) -> Option<String> {
    let (before, after) = text.split_at(end);
    let instead = format!("{before}m{after}");
    let plain = !after.trim_start_matches(is_blank).starts_with(char::is_alphabetic);
    (because == NotDuration::NoUnit && plain && read_well(&instead)).then_some(instead)
}

fn read_well(text: &str) -> bool {
    matches!(sum(text, Units::OnceEach), Ok(Some(_)))
}

fn written(amounts: [(u64, &str); 4]) -> String {
    let shown = amounts.into_iter().filter(|(amount, _)| *amount > 0).map(|(amount, unit)| match amount % ONE {
        0 => format!("{}{unit}", amount / ONE),
        fraction => format!("{}.{}{unit}", amount / ONE, format!("{fraction:06}").trim_end_matches('0')),
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\x0b' | '\x0c')
}

#[cfg(test)]
mod tests {
    use super::*;
    use NotDuration::*;
    use proptest::prelude::*;

    /// What Jira is told on a site with eight hours and five days, and what is left; or why not, and what would do.
    #[track_caller]
    fn check(text: &str, expected: Result<(&str, &str), (NotDuration, Option<&str>)>) {
        let answer = read(text).map(|(duration, rest)| (duration.jira(8.0, 5.0), rest.to_owned()));
        let expected = expected.map(|(jira, rest)| (jira.to_owned(), rest.to_owned()));
        assert_eq!(
            answer.map_err(|wrong| (wrong.because, wrong.instead)),
            expected.map_err(|(b, i)| (b, i.map(str::to_owned)))
        );
    }

    #[test]
    fn a_duration_is_numbers_with_units() {
        check("1w 2d 4h 30m text", Ok(("1w 2d 4h 30m", "text")));
        check("1.5h", Ok(("1h 30m", "")));
        check("1,5h", Ok(("1h 30m", "")));
        check("2 hours", Ok(("2h", "")));
        check("90min", Ok(("1h 30m", "")));
        check("1h30m", Ok(("1h 30m", "")));
        check("1h, 30m", Ok(("1h 30m", "")));
        check("30m 1h", Ok(("1h 30m", "")));
        check("2H", Ok(("2h", "")));
        check("3 Weeks 1 day 2 hrs 1 minute", Ok(("3w 1d 2h 1m", "")));
        check("1\t h", Ok(("1h", "")));
        check("007h", Ok(("7h", "")));
        check("25h", Ok(("25h", "")));
        check("0h 5m", Ok(("5m", "")));
        check("52w", Ok(("52w", "")));
    }

    #[test]
    fn the_rest_is_the_comment() {
        check("2h pairing on the migration", Ok(("2h", "pairing on the migration")));
        check("1h, then lunch", Ok(("1h", "then lunch")));
        check("1h built a 3d model", Ok(("1h", "built a 3d model")));
        check("2h 3 files changed", Ok(("2h", "3 files changed")));
        check("1h x2h", Ok(("1h", "x2h")));
        check("5m: done", Ok(("5m", ": done")));
    }

    #[test]
    fn fractions_of_weeks_and_days_follow_the_site() {
        check("0.34h", Ok(("20m", "")));
        check("1.5m", Ok(("2m", "")));
        check("1.5d", Ok(("1d 4h", "")));
        check("0.5w", Ok(("2d 4h", "")));
        check("0.1w 0,25d", Ok(("6h", "")));
        let duration: Duration = "1.5w 0.5d".parse().expect("a duration");
        assert_eq!(duration.jira(6.0, 4.0), "1w 2d 3h");
        assert_eq!(duration.jira(7.5, 5.0), "1w 3d");
        assert_eq!(duration.jira(f64::NAN, -1.0), "1w 3d");
        assert_eq!("0.00001d".parse::<Duration>().expect("a duration").jira(8.0, 5.0), "1m");
    }

    #[test]
    fn a_number_needs_a_unit() {
        check("90", Err((NoUnit, Some("90m"))));
        check("1h30", Err((NoUnit, Some("1h30m"))));
        check("1h 30", Err((NoUnit, Some("1h 30m"))));
        check("1h30 minutess", Err((NoUnit, None)));
        check("5minx", Err((NoUnit, None)));
        check("1hé", Err((NoUnit, None)));
        check("3 months", Err((NoUnit, None)));
        check("2 beers", Err((NoUnit, None)));
        check("1m30", Err((NoUnit, None)));
    }

    #[test]
    fn a_duration_has_to_be_there_and_come_first() {
        check("", Err((Missing, None)));
        check("soon", Err((Missing, None)));
        check("h", Err((Missing, None)));
        check("spent about 2h on it", Err((NotFirst, Some("2h spent about on it"))));
        check("about 1h 30m", Err((NotFirst, Some("1h 30m about"))));
        check(".5h", Err((NoNumber, Some("0.5h"))));
    }

    #[test]
    fn what_cannot_be_logged_is_refused() {
        check("2h 2h twice", Err((UnitTwice, None)));
        check("1d1d1d", Err((UnitTwice, None)));
        check("1h 5 hours", Err((UnitTwice, None)));
        check("0m", Err((Zero, None)));
        check("0h 0.0m", Err((Zero, None)));
        check("-1h", Err((Negative, None)));
        check("- 1h", Err((Negative, None)));
        check("30s", Err((Seconds, None)));
        check("1h 30 seconds", Err((Seconds, None)));
        check("53w", Err((TooLong, None)));
        check("52w 1m", Err((TooLong, None)));
        check("99999999999999999999h", Err((TooLong, None)));
    }

    #[test]
    fn a_duration_is_shown_as_it_was_meant() {
        for (text, shown) in [("1.5d", "1.5d"), ("90min", "1h 30m"), ("2d,1w", "1w 2d"), ("0.5m", "0.5m")] {
            assert_eq!(text.parse::<Duration>().expect("a duration").to_string(), shown);
        }
        assert_eq!("1h then".parse::<Duration>(), Err(NotAll));
    }

    #[test]
    fn the_total_adds_what_is_repeated() {
        assert_eq!(total("2h 2h").expect("a total").to_string(), "4h");
        assert_eq!(total("4m 3h 2d 1w").expect("a total").to_string(), "1w 2d 3h 4m");
        assert_eq!(total("1d1d1d").expect("a total").to_string(), "3d");
        assert_eq!(total("0m"), Err(Zero));
    }

    proptest! {
        #[test]
        fn jiras_text_parses_back_to_the_same_duration(w in 0u64..40, d in 0u64..50, h in 0u64..200, m in 0u64..600) {
            prop_assume!(w + d + h + m > 0);
            let duration: Duration = format!("{w}w {d}d {h}h {m}m").parse().expect("a duration");
            prop_assert_eq!(duration.jira(8.0, 5.0).parse(), Ok(duration));
        }

        #[test]
        fn what_is_shown_parses_back_to_the_same_duration(w in 0.0f64..20.0, d in 0.0f64..90.0, m in 0.000001f64..9000.0) {
            let duration: Duration = format!("{w:.6}w {d:.6}d {m:.6}m").parse().expect("a duration");
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
            let jira = duration.jira(7.25, 4.5);
            prop_assert_eq!(jira.parse::<Duration>().expect("Jira's text").jira(7.25, 4.5), jira);
        }

        #[test]
        fn nothing_makes_it_panic_and_advice_is_good(text in "[0-9 .,hHmdwsx-]{0,12}|\\PC*") {
            if let Err(Wrong { instead: Some(instead), .. }) = read(&text) {
                prop_assert!(read(&instead).is_ok());
            }
            let _ = total(&text);
        }
    }
}
