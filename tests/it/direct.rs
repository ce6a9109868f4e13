//! Hands events over as Git would, but without a push: a hook is called with commits made beforehand.
//!
//! Each commit stands alone and no ref points at it, so only the event that names it can bring it to
//! Jira: one that got lost is not found by comparing refs.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::harness::{Repository, World, shown, wait_until_or};

pub struct Direct<'w> {
    pub repository: Repository<'w>,
    pub commits: Vec<String>,
}

/// What a hook promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promise {
    Queued,
    Kept,
    Nothing(String),
}

impl<'w> Direct<'w> {
    /// A repository with hooks and `count` commits that name ABC-1.
    pub fn new(world: &'w World, name: &str, count: usize) -> Direct<'w> {
        let messages = (0..count).map(|number| format!("ABC-1 commit {number}"));
        Direct::of_messages(world, name, messages)
    }

    pub fn of_messages(world: &'w World, name: &str, messages: impl Iterator<Item = String>) -> Direct<'w> {
        // Its branches are only told of: nothing reaches the commits, and they are not to be forgotten for that.
        let config = std::fs::read_to_string(world.config()).unwrap();
        let kept = "history = \"none\"\nforget_rewritten = \"never\"\n";
        if !config.contains(kept) {
            std::fs::write(world.config(), config.replace("history = \"none\"\n", kept)).unwrap();
        }
        let repository = world.repository(name);
        let (mut import, mut forget) = (Vec::new(), String::new());
        let now = jiff::Timestamp::now().as_second();
        for (number, message) in messages.enumerate() {
            let head =
                format!("commit refs/tmp/{number}\nmark :{}\ncommitter A <a@example.org> {now} +0000\n", number + 1);
            import.extend_from_slice(head.as_bytes());
            import.extend_from_slice(format!("data {}\n{message}\n", message.len()).as_bytes());
            forget += &format!("delete refs/tmp/{number}\n");
        }
        let marks = repository.path.join("marks");
        feed(&mut repository.command(&["fast-import", "--quiet", "--export-marks=marks"]), &import);
        feed(&mut repository.command(&["update-ref", "--stdin"]), forget.as_bytes());
        let marks = std::fs::read_to_string(marks).unwrap();
        let mut ids: Vec<(usize, String)> = marks.lines().map(mark).collect();
        ids.sort();
        Direct { repository, commits: ids.into_iter().map(|(_, id)| id).collect() }
    }

    /// The hook for a push that makes the branch `b<number>`.
    pub fn hook(&self, number: usize) -> (Command, String) {
        let mut hook = self.repository.world.agent(&["hook", "post-receive"]);
        hook.current_dir(&self.repository.path).env("GIT_DIR", ".");
        let id = &self.commits[number];
        (hook, format!("{} {id} refs/heads/b{number}\n", "0".repeat(id.len())))
    }

    pub fn push(&self, number: usize) -> Promise {
        self.push_with(number, &[])
    }

    pub fn push_with(&self, number: usize, environment: &[(&str, &str)]) -> Promise {
        let (mut hook, line) = self.hook(number);
        promise(&feed(hook.envs(environment.iter().copied()), line.as_bytes()))
    }
}

/// What the output of a hook promises.
pub fn promise(output: &Output) -> Promise {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match () {
        () if said.contains("queued for Jira") => Promise::Queued,
        () if said.contains("kept for Jira") => Promise::Kept,
        () => Promise::Nothing(said),
    }
}

/// Runs a command with this on its standard input.
pub fn feed(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that dies early does not read.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Waits until Jira shows these commits, however many: it only must get on.
#[track_caller]
pub fn wait_for_commits(world: &World, expected: &[String]) {
    loop {
        let before = missing(world, expected);
        if before.is_empty() {
            return;
        }
        let mut after = Vec::new();
        wait_until_or(
            "Jira shows more commits",
            || {
                after = missing(world, expected);
                after.len() < before.len()
            },
            || format!("{} are missing; {}\n{}", before.len(), world.status(), world.log()),
        );
    }
}

/// Those of these commits that Jira does not show.
pub fn missing(world: &World, expected: &[String]) -> Vec<String> {
    let state = world.sandbox.state();
    let there: std::collections::HashSet<String> =
        shown(&state, "commits").iter().map(|commit| commit["data"]["id"].as_str().unwrap().to_owned()).collect();
    expected.iter().filter(|id| !there.contains(*id)).cloned().collect()
}

/// One number out of the queue's file; nobody may be writing to it.
pub fn number(world: &World, sql: &str) -> i64 {
    let store = rusqlite::Connection::open(world.state().join("queue.db")).unwrap();
    store.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Numbers that look random and are the same for the same seed.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) % limit
    }
}

/// Whether a program is there; says so when a test is skipped for the lack of it.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success();
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

fn mark(line: &str) -> (usize, String) {
    let (mark, id) = line.trim_start_matches(':').split_once(' ').unwrap();
    (mark.parse().unwrap(), id.to_owned())
}
