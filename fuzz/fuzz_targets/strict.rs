//! Strict mode answers any bytes, and its mentions agree with its answer.
#![no_main]

use std::sync::LazyLock;

use git_jira_agent::parse::{Mode, Rules, Settings, strict};
use libfuzzer_sys::fuzz_target;

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let settings = Settings {
        mode: Mode::Strict,
        ..Settings::default()
    };
    Rules::new(&settings, None).expect("the settings can be used")
});

fuzz_target!(|text: &[u8]| {
    let answer = strict::message(text);
    assert!(answer.linked_keys.is_sorted());
    let mentions = RULES.message(text);
    for found in &mentions.keys {
        assert!(answer.linked_keys.iter().any(|key| key == found.key.as_str()));
    }
    if answer.commands.len() < 1000 && !mentions.keys.is_empty() {
        assert_eq!(mentions.orders.len() + mentions.refused.len(), answer.commands.len());
    }
    assert!(RULES.branch(text).orders.is_empty());
});
