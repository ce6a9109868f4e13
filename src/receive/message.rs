//! What becomes of a message that is being committed, and what is said of it: by the hook itself, or by the daemon in its stead.

use super::answer::{Found, LINES};
use crate::git::RefName;
use crate::parse::{IssueKey, Mentions, Rules, Verb};
use crate::policy::draft::Draft;
use crate::policy::{Answers, Message};
use crate::text::Untrusted;

/// The first key in the name of a branch.
pub fn key_of(branch: &RefName, rules: &Rules) -> Option<IssueKey> {
    let found = branch.is_branch().then(|| rules.branch(branch.short()))?;
    found.keys.into_iter().next().map(|found| found.key)
}

/// The draft with the key of its branch; `None` where it names an issue already, has its own story, or none is wanted.
pub fn with_key(draft: &Draft<'_>, mentions: &Mentions, key: &IssueKey, how: &Message) -> Option<Vec<u8>> {
    let begins = mentions.keys.is_empty() && mentions.unordered.is_none();
    begins.then(|| draft.with_key(key, how)).flatten()
}

/// What `commit-msg` says about a message: the keys and orders that were read, refused commands, and look-alikes.
pub fn of_message(mentions: &Mentions, rules: &Rules, answers: &Answers) -> Vec<String> {
    let mut found = Found::default();
    found.commit(mentions, rules);
    let mut lines = Vec::new();
    if let [one] = &mentions.keys[..] {
        let summary = answers.issue(one.key.as_str()).map(|issue| format!(" “{}”", Untrusted::text(&issue.summary)));
        lines.push(format!("jira: links {}{}", one.key, summary.unwrap_or_default()));
    } else if !mentions.keys.is_empty() {
        let keys: Vec<&str> = mentions.keys.iter().take(10).map(|found| found.key.as_str()).collect();
        let more = (mentions.keys.len() + mentions.beyond).saturating_sub(keys.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("jira: links {}{more}", keys.join(", ")));
    }
    let orders = mentions.orders.iter().map(|order| format!("jira: asks on {}: {}", order.key, meaning(&order.verb)));
    let rejected = found
        .rejected
        .iter()
        .map(|(text, because)| format!("jira: {} links nothing ({because})", Untrusted::text(text)));
    let refused: Vec<String> = found.refused.iter().map(|line| format!("jira: {}", line.trim_start())).collect();
    lines.extend(refused.into_iter().chain(orders).chain(rejected));
    let more = lines.len().saturating_sub(LINES);
    if more > 0 {
        lines.truncate(LINES - 1);
        lines.push(format!("jira: and {} lines more: `agent check` tells all", more + 1));
    }
    lines
}

/// What an order does, in words.
pub fn meaning(verb: &Verb) -> String {
    let with = |comment: &str| match comment {
        "" => String::new(),
        comment => format!(", with the comment “{}”", Untrusted::text(comment)),
    };
    match verb {
        Verb::Comment { text } => format!("comment “{}”", Untrusted::text(text)),
        Verb::Time { spent, comment } => format!("log {spent} of work{}", with(comment)),
        Verb::Transition { name, comment } => format!("transition “{}”{}", Untrusted::text(name), with(comment)),
        Verb::Assign { to } => format!("assign to {}", Untrusted::text(to)),
        Verb::Label { labels } => format!("label {}", Untrusted::text(&labels.join(", "))),
        Verb::FixVersion { name } => format!("fix version {}", Untrusted::text(name)),
    }
}
