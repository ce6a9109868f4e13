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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use git_jira_agent_hook::sure;
    use proptest::prelude::*;

    use super::*;
    use crate::parse::Settings;
    use crate::policy::draft::Cleanup;

    const PROJECTS: &str = "ABC A1 LONGNAME";

    fn rules() -> Rules {
        let projects: BTreeSet<String> = PROJECTS.split(' ').map(str::to_owned).collect();
        Rules::new(&Settings::default(), Some(projects)).unwrap()
    }

    /// What is sure says what the rules say.
    #[track_caller]
    fn check_message(text: &str) -> bool {
        let rules = rules();
        let sure = sure::key_in_message(text.as_bytes(), PROJECTS.as_bytes());
        let Some(key) = sure.map(|key| String::from_utf8_lossy(key).into_owned()) else { return false };
        let mentions = rules.message(&Draft::new(text.as_bytes(), None, Cleanup::Whitespace).message());
        let lines = of_message(&mentions, &rules, &Answers::none("nothing was asked"));
        assert_eq!(lines, [format!("jira: links {key}")], "{text:?}");
        true
    }

    #[track_caller]
    fn check_branch(name: &str) -> bool {
        let head = format!("ref: refs/heads/{name}\n");
        let Some(key) = sure::key_of_branch(head.as_bytes(), PROJECTS.as_bytes()) else { return false };
        let read = key_of(&RefName::new(format!("refs/heads/{name}").as_bytes()), &rules());
        assert_eq!(read.map(|key| key.to_string().into_bytes()), Some(key.to_vec()), "{name:?}");
        true
    }

    #[track_caller]
    fn check_prefix(text: &str, template: &str) -> bool {
        let how = Message { template: template.to_owned(), ..Message::default() };
        let Some(sure) = sure::with_prefix(text.as_bytes(), template.as_bytes(), b"ABC-7") else { return false };
        let rules = rules();
        let draft = Draft::new(text.as_bytes(), None, Cleanup::Whitespace);
        let key = key_of(&RefName::new(b"refs/heads/ABC-7"), &rules).unwrap();
        let read = with_key(&draft, &rules.message(&draft.message()), &key, &how);
        assert_eq!(read.map(|text| String::from_utf8(text).unwrap()), String::from_utf8(sure).ok(), "{text:?}");
        true
    }

    #[test]
    fn k1_what_most_messages_are_is_sure() {
        for text in [
            "ABC-1 mend the gate\n",
            "mend the gate A1-12\n\nAnd more of it.\n",
            "LONGNAME-999999999\n",
            "[ABC-1] x\n",
            "ABC-1: x\n",
        ] {
            assert!(check_message(text), "{text:?}");
        }
        for text in [
            "XYZ-1 another\n",
            "ABC-1 and ABC-2\n",
            "ABC-1 #close\n",
            "<ABC-1> odd\n",
            "UTF-8\n",
            "ABC-01\n",
            "xABC-1\n",
            "ABC-1.2\n",
        ] {
            assert!(!check_message(text), "{text:?}");
        }
        for name in ["ABC-1", "ABC-1-login", "feature/ABC-1-log_in", "a/b/A1-2/c"] {
            assert!(check_branch(name), "{name:?}");
        }
        for name in ["abc-1", "release-1.2", "ABC-1-2", "XABC-1", "XYZ-1", "ABC-1.0", "ABC-1_0"] {
            assert!(!check_branch(name), "{name:?}");
        }
        assert!(check_prefix("mend the gate\n", "{key} ") && check_prefix("Mend it, dear Ünal\n", "[{key}] "));
        for text in ["feat: x\n", "fixup! x\n", "Revert \"x\"\n", "x\n\nmore\n", "ABC-1 x\n", "", "\n", " x\n", "x"] {
            assert!(!check_prefix(text, "{key} "), "{text:?}");
        }
        assert!(!check_prefix("x\n", "{key} {key}") && !check_prefix("x\n", "none"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn k1_what_is_sure_of_a_message_is_what_the_rules_read(
            words in prop::collection::vec("(ABC|A1|LONGNAME|XYZ|abc|UTF|ÄBC|_|)(-)?[0-9]{0,3}[ .:,/_#\n()\\[\\]ä-]{0,2}[a-z!\"]{0,3}", 0..5),
            end in prop::sample::select(vec!["\n", "", " \n"]),
        ) {
            let text = words.concat() + end;
            check_message(&text);
            check_branch(&text);
            check_branch(words.concat().trim());
            check_prefix(&text, "{key} ");
            check_prefix(&text, "[{key}]: ");
        }

        #[test]
        fn k1_what_is_sure_of_a_line_of_words_is_what_the_rules_read(line in "[a-zA-Z]{1,4}[ ,.a-z'/_ä-]{0,12}[a-z0-9]{0,2}") {
            check_message(&(line.clone() + " ABC-1\n"));
            check_prefix(&(line.clone() + "\n"), "{key} ");
            check_branch(&format!("ABC-1-{line}"));
        }
    }
}
