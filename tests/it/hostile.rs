//! What strangers write is text, wherever it is shown: in Jira, on the terminal of whoever pushes, in the log, in lists,
//! on pages.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Repository, World, success, wait_until_or};
use crate::smart;

/// The tokens of `tests/cases/hostile.json`, which have a meaning to somebody.
fn tokens() -> Vec<String> {
    serde_json::from_str(include_str!("../cases/hostile.json")).unwrap()
}

/// Commits each token as the text of a comment, of work and of a transition, and as its author's name, by way of a stream, because no
/// command line takes all of it; gives how many commits that made.
fn commit_all(repository: &Repository<'_>, tokens: &[String]) -> usize {
    let mut stream = Vec::new();
    let mut number = 0;
    for token in tokens {
        for order in ["#comment", "#time 1m", "#nowhere"] {
            let key = format!("ABC-{}", 1 + number % 9);
            let from = if number == 0 { "from refs/heads/main^0\n" } else { "" };
            let message = format!("{key} {order} {token}\n\n{token}\n");
            // Git takes neither of these in a name.
            let name = token.replace(['<', '>', '\n', '\0'], "");
            let at = 1_000_000 + number;
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as usize;
            let time = now - 2_000_000 + at;
            writeln!(stream, "commit refs/heads/main\nauthor {name} <ann@example.org> {time} +0000").unwrap();
            writeln!(stream, "committer C <c@example.org> {time} +0000\ndata {}\n{message}{from}", message.len())
                .unwrap();
            number += 1;
        }
    }
    let mut import = repository.command(&["fast-import", "--quiet", "--force"]).stdin(Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(&stream).unwrap();
    assert!(import.wait().unwrap().success());
    number
}

/// Characters that a terminal, a log's reader or a browser could take for something else than a letter.
fn dangerous(text: &str) -> BTreeSet<char> {
    let hidden =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    text.chars().filter(|c| c.is_control() && !matches!(c, '\n' | '\t') || hidden(*c)).collect()
}

/// As [`dangerous`], but for joiners, which belong to words and pictures of many scripts.
fn misleading(text: &str) -> BTreeSet<char> {
    dangerous(text).into_iter().filter(|c| !matches!(c, '\u{200b}'..='\u{200d}')).collect()
}

/// The kinds of nodes and marks in a document of Jira Cloud, with the addresses it links to.
fn parts(node: &Value, found: &mut BTreeSet<String>) {
    if let Some(kind) = node["type"].as_str() {
        found.insert(kind.to_owned());
    }
    if let Some(address) = node["attrs"]["href"].as_str() {
        found.insert(address.to_owned());
    }
    for list in ["content", "marks"] {
        node[list].as_array().into_iter().flatten().for_each(|inner| parts(inner, found));
    }
}

#[test]
fn r6_whatever_a_message_holds_is_text_in_jira_on_the_terminal_in_the_log_and_on_the_page() {
    let world = smart::world("policy = \"bot\"\norders_of_others = true");
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    // What comes with a new repository orders nothing.
    clone.commit("ABC-9 begin");
    clone.push(&["origin", "HEAD:main"]);
    let tokens = tokens();
    let commits = commit_all(&clone, &tokens);
    assert!(commits >= 300, "{commits}");
    let answer = clone.push(&["origin", "main"]);
    let ended = |state: &str| world.effects(&["list", "--state", state, "--limit", "100000"]);
    wait_until_or(
        "all orders have an end",
        || {
            let open = ["ready", "intent", "unknown", "probing"].iter().any(|state| !ended(state).is_empty());
            !open && !ended("settled").is_empty() && world.status()["queue"]["events_queued"] == 0
        },
        || format!("{:?}\n{}", world.effects(&["list"]).first(), world.log()),
    );
    world.wait_until_idle();
    let done = ended("settled").len();
    assert!(done * 2 > commits, "{done} of {commits} orders were carried out: {:?}", ended("refused").first());
    assert_jira_shows_text(&world);
    let list = world.agent_says(&["effects", "list", "--limit", "100000"]);
    let refused = ended("refused")[0]["id"].as_str().unwrap().to_owned();
    let said = [
        ("the push", answer),
        ("the log", world.log()),
        ("the list", list),
        ("one order", world.agent_says(&["effects", "show", &refused])),
        ("the queue", world.agent_says(&["queue", "list", "--limit", "100000"])),
        ("why", world.agent_says(&["why", "ABC-1"])),
        ("the status", success(&mut world.agent(&["status"]))),
    ];
    for (what, text) in said {
        assert_eq!(dangerous(&text.replace("\u{1b}[K", "")), BTreeSet::new(), "{what}: {text}");
    }
}

/// Every comment and every entry of work is a document of plain text, and the page shows it as such.
#[track_caller]
fn assert_jira_shows_text(world: &World) {
    let mut kinds = BTreeSet::new();
    for number in 1..=9 {
        let key = format!("ABC-{number}");
        let issue = world.sandbox.issue(&key);
        for said in ["comments", "worklogs"] {
            for one in issue[said].as_array().unwrap() {
                let body = one.get("body").or_else(|| one.get("comment")).unwrap();
                parts(body, &mut kinds);
                assert_eq!(misleading(&body.to_string()), BTreeSet::new(), "{body}");
            }
        }
        let page = world.sandbox.page(&format!("/browse/{key}"));
        for tag in ["<script>alert", "<img src=x", "<b>bold", "<!-- comment", "javascript:"] {
            assert!(!page.contains(tag), "{tag} on the page of {key}");
        }
        assert_eq!(misleading(&page), BTreeSet::new(), "on the page of {key}");
    }
    let plain = ["doc", "paragraph", "text", "hardBreak"].map(str::to_owned);
    assert!(kinds.iter().all(|kind| plain.contains(kind)), "{kinds:?}");
}
