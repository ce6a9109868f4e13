//! Any text is read as a duration or refused: what is read is shown, told to Jira and read back the same.
#![no_main]

use git_jira_agent::parse::Duration;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(duration) = text.parse::<Duration>() else { return };
    assert_eq!(duration.to_string().parse(), Ok(duration));
    for (hours, days) in [(8.0, 5.0), (7.25, 4.5), (24.0, 7.0), (f64::NAN, 0.0)] {
        let jira = duration.jira(hours, days);
        let back: Duration = jira.parse().expect("Jira's text is a duration");
        assert_eq!(back.jira(hours, days), jira);
    }
});
