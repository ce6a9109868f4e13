//! The time of day; everything that decides by it takes `now` as an argument.

/// Milliseconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A moment as people and machines read it: `2026-03-01T09:30:00Z`.
pub fn show(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{ms} ms"), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A span as people say it: `3 s`, `12 min`, `5 h`, `2 d`.
pub fn span(ms: i64) -> String {
    match ms.max(0) / 1000 {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_for_people() {
        assert_eq!(show(1_772_357_400_000), "2026-03-01T09:30:00Z");
        for (ms, shown) in [(-5, "0 s"), (3_999, "3 s"), (150_000, "2 min"), (18_000_000, "5 h"), (200_000_000, "2 d")]
        {
            assert_eq!(span(ms), shown);
        }
    }
}
