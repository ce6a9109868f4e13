//! Any bytes are a message and a branch: nothing panics, places are on what they name, and limits hold.
#![no_main]

use std::ops::Range;
use std::sync::LazyLock;

use git_jira_agent::parse::{IssueKey, Mentions, Rules, Settings, Source};
use libfuzzer_sys::fuzz_target;

static RULES: LazyLock<[Rules; 4]> = LazyLock::new(|| {
    let ready = |settings: Settings, projects: Option<[&str; 2]>| {
        let projects = projects.map(|projects| projects.map(str::to_owned).into());
        Rules::new(&settings, projects).expect("the settings can be used")
    };
    let custom = Some(r"\[([^\]]+)\]".to_owned());
    [
        ready(Settings::default(), None),
        ready(
            Settings {
                more: true,
                ..Settings::default()
            },
            Some(["ABC", "A"]),
        ),
        ready(
            Settings {
                from: vec![Source::Subject, Source::Trailers],
                ..Settings::default()
            },
            None,
        ),
        ready(
            Settings {
                key: custom,
                ..Settings::default()
            },
            None,
        ),
    ]
});

fuzz_target!(|text: &[u8]| {
    for rules in RULES.iter() {
        check(text, &rules.message(text));
        check(text, &rules.branch(text));
    }
});

fn check(text: &[u8], mentions: &Mentions) {
    let lossy = |at: &Range<usize>| String::from_utf8_lossy(&text[at.clone()]).into_owned();
    for found in &mentions.keys {
        assert_eq!(lossy(&found.at).to_uppercase(), found.key.as_str());
        assert_eq!(found.key.to_string().parse::<IssueKey>().as_ref(), Ok(&found.key));
    }
    for look in &mentions.rejected {
        assert_eq!(lossy(&look.at), look.text);
    }
    for (number, order) in mentions.orders.iter().enumerate() {
        assert_eq!((text[order.at.start], order.ordinal as usize), (b'#', number));
        assert!(
            mentions.keys.iter().any(|found| found.key == order.key),
            "an order for a key that is not linked"
        );
    }
    for refused in &mentions.refused {
        assert!(lossy(&refused.at).starts_with(&format!("#{}", refused.command)));
    }
    assert!(mentions.keys.len() <= 100 && mentions.rejected.len() <= 100);
    assert!(mentions.orders.len() + mentions.refused.len() <= 1001);
}
