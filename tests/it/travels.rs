//! How a commit travels, and how often its order is carried out: the table of `docs/smart-commits.md` is made here.
//!
//! `AGENT_IT_BLESS=1` writes the table into the page.

use std::fmt::Write as _;
use std::path::Path;

use crate::harness::{Repository, World, success, wait_until_or};
use crate::smart;

/// One way to travel.
struct Travel {
    /// For the page.
    what: &'static str,
    /// How often `ABC-1 #comment once` is carried out, and why that is what one would expect.
    comments: usize,
    because: &'static str,
    go: fn(&World, &Repository<'_>, &Repository<'_>),
}

/// Each begins with `main` pushed, the branch `topic` checked out in the clone, and on it a pushed `ABC-1 #comment once`.
const TRAVELS: &[Travel] = &[
    Travel {
        what: "pushed again, to the same and to another branch",
        comments: 1,
        because: "it is the same commit",
        go: |_, clone, _| {
            clone.push(&["origin", "topic:other", "topic:third"]);
        },
    },
    Travel {
        what: "merged, fast-forward or not",
        comments: 1,
        because: "it is the same commit on one more branch",
        go: |_, clone, _| {
            clone.git(&["checkout", "--quiet", "main"]);
            clone.git(&["merge", "--quiet", "--no-ff", "-m", "Merge topic", "topic"]);
            clone.push(&["origin", "main"]);
        },
    },
    Travel {
        what: "rebased onto a branch that went on, and pushed with force",
        comments: 1,
        because: "author, time and message are the same",
        go: |_, clone, _| {
            go_on(clone);
            clone.git(&["rebase", "--quiet", "main", "topic"]);
            clone.push(&["--force", "origin", "topic"]);
        },
    },
    Travel {
        what: "amended, with another file and the same message",
        comments: 1,
        because: "author, time and message are the same",
        go: |_, clone, _| {
            clone.git(&["commit", "--quiet", "--amend", "--allow-empty", "--no-edit"]);
            clone.push(&["--force", "origin", "topic"]);
        },
    },
    Travel {
        what: "amended, with its subject put right",
        comments: 1,
        because: "the branch gave up a commit that ordered the same",
        go: |_, clone, _| {
            clone.git(&["commit", "--quiet", "--amend", "-m", "Better said\n\nABC-1 #comment once"]);
            clone.push(&["--force", "origin", "topic"]);
        },
    },
    Travel {
        what: "amended, with the comment put right",
        comments: 2,
        because: "it is another order: what was said was said",
        go: |_, clone, _| {
            clone.git(&["commit", "--quiet", "--amend", "-m", "ABC-1 #comment once, in better words"]);
            clone.push(&["--force", "origin", "topic"]);
        },
    },
    Travel {
        what: "put together with the next one by `rebase -i` (squash, fixup)",
        comments: 1,
        because: "the branch gave up a commit that ordered the same",
        go: |_, clone, _| {
            clone.commit("and more");
            clone.push(&["origin", "topic"]);
            let mut rebase = clone.command(&["rebase", "--quiet", "-i", "HEAD~2"]);
            success(rebase.env("GIT_SEQUENCE_EDITOR", "sed -i 2s/pick/squash/").env("GIT_EDITOR", "true"));
            clone.push(&["--force", "origin", "topic"]);
        },
    },
    Travel {
        what: "squashed by `merge --squash` onto another branch",
        comments: 1,
        because: "the message says which commits it was made of",
        go: |_, clone, _| {
            clone.git(&["checkout", "--quiet", "main"]);
            clone.git(&["merge", "--quiet", "--squash", "topic"]);
            success(clone.command(&["commit", "--quiet", "--allow-empty"]).env("GIT_EDITOR", "sed -i s/^....ABC/ABC/"));
            clone.push(&["origin", "main"]);
        },
    },
    Travel {
        what: "cherry-picked to another branch",
        comments: 1,
        because: "author, time and message are the same",
        go: |_, clone, _| {
            go_on(clone);
            clone.git(&["cherry-pick", "--allow-empty", "topic"]);
            clone.push(&["origin", "main"]);
        },
    },
    Travel {
        what: "cherry-picked with `-x`",
        comments: 1,
        because: "the message says where it comes from",
        go: |_, clone, _| {
            go_on(clone);
            clone.git(&["cherry-pick", "--allow-empty", "-x", "topic"]);
            clone.push(&["origin", "main"]);
        },
    },
    Travel {
        what: "reverted, and the revert reverted",
        comments: 1,
        because: "a revert quotes, and orders nothing",
        go: |_, clone, _| {
            clone.git(&["revert", "--no-edit", "HEAD"]);
            clone.git(&["revert", "--no-edit", "HEAD"]);
            clone.push(&["origin", "topic"]);
        },
    },
    Travel {
        what: "pushed to a second repository of the server",
        comments: 1,
        because: "it is the same commit",
        go: |world, clone, _| {
            let second = world.repository("second");
            clone.push(&[second.path.to_str().unwrap(), "topic", "main"]);
        },
    },
    Travel {
        what: "mirrored (`push --mirror`)",
        comments: 1,
        because: "it is the same commit",
        go: |world, clone, repository| {
            let mirror = world.repository("mirror");
            success(&mut repository.command(&["push", "--quiet", "--mirror", mirror.path.to_str().unwrap()]));
            let _ = clone;
        },
    },
    Travel {
        what: "forked, and gone on with in the fork",
        comments: 1,
        because: "the fork brings the same commit",
        go: |world, clone, _| {
            let fork = world.repository("fork");
            clone.commit("ABC-2 in the fork");
            clone.push(&[fork.path.to_str().unwrap(), "topic"]);
        },
    },
    Travel {
        what: "taken back by a forced push, and brought again",
        comments: 1,
        because: "what was done stays done",
        go: |_, clone, _| {
            for what in ["main:topic", "topic", "main:topic", "topic"] {
                clone.push(&["--force", "origin", what]);
            }
        },
    },
    Travel {
        what: "the same words in a new commit",
        comments: 2,
        because: "somebody says it again",
        go: |_, clone, _| {
            // A second later by its own word.
            let commit = &mut clone.command(&["commit", "--quiet", "--allow-empty", "-m", "ABC-1 #comment once"]);
            success(commit.env("GIT_AUTHOR_DATE", "@1000000000 +0000").env("GIT_COMMITTER_DATE", "@1000000000 +0000"));
            let date = clone.git(&["log", "-1", "--format=%at", "HEAD~1"]).parse::<i64>().unwrap() + 1;
            clone.git(&[
                "commit",
                "--quiet",
                "--amend",
                "--allow-empty",
                "--no-edit",
                "--date",
                &format!("@{date} +0000"),
            ]);
            clone.push(&["origin", "topic"]);
        },
    },
];

/// Lets `main` go on, and checks it out.
fn go_on(clone: &Repository<'_>) {
    clone.git(&["checkout", "--quiet", "main"]);
    clone.commit("main goes on");
    clone.push(&["origin", "main"]);
}

#[test]
fn f8_f64_however_a_commit_travels_its_order_is_carried_out_as_often_as_one_would_expect() {
    let mut wrong = Vec::new();
    for travel in TRAVELS {
        let found = comments_after(travel);
        if found != travel.comments {
            wrong.push(format!("{}: {found} instead of {}", travel.what, travel.comments));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/smart-commits.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(BEGINS).unwrap();
    let (_, after) = rest.split_once(ENDS).unwrap();
    let made = format!("{before}{BEGINS}{}{ENDS}{after}", table());
    if std::env::var_os("AGENT_IT_BLESS").is_some() {
        std::fs::write(page, &made).unwrap();
    }
    assert_eq!(made, text, "the table is old: AGENT_IT_BLESS=1 makes it anew");
}

const BEGINS: &str = "<!-- made by tests/it/travels.rs -->\n";
const ENDS: &str = "<!-- until here -->\n";

fn table() -> String {
    let mut table = "| the commit is | carried out | because |\n| --- | --- | --- |\n".to_owned();
    for Travel { what, comments, because, .. } in TRAVELS {
        let times = if *comments == 1 { "once" } else { "twice" };
        writeln!(table, "| {what} | {times} | {because} |").unwrap();
    }
    table
}

/// Lets the order travel and counts the comments in Jira.
fn comments_after(travel: &Travel) -> usize {
    let world = smart::world("policy = \"bot\"");
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    clone.commit("ABC-9 begin");
    clone.push(&["origin", "HEAD:main"]);
    clone.git(&["checkout", "--quiet", "-b", "topic"]);
    clone.commit("ABC-1 #comment once");
    clone.push(&["origin", "topic"]);
    (travel.go)(&world, &clone, &repository);
    world.wait_until_idle();
    let open = || {
        let states = ["ready", "intent", "unknown", "probing"];
        states.iter().any(|state| !world.effects(&["list", "--state", state]).is_empty())
    };
    wait_until_or("all orders have an end", || !open(), || world.log());
    world.sandbox.issue("ABC-1")["comments"].as_array().unwrap().len()
}
