//! Reading history: for keys beside `git log --format=%B`, for Jira beside `git log --numstat`.
//!
//! Both sides are processes that are started, read the same packed repository, and end. Before anything is timed the
//! figures of every commit that names an issue are compared with git's, line by line.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use git_jira_agent::git::{Budget, Commit, Helper, Known, Repository};
use git_jira_agent::parse::{Rules, Settings};
use git_jira_agent::sync::ROUND;

use crate::Effort;
use crate::row::{Goal, Row, Times};
use crate::world::{CACHE, output};

/// The files of a commit that Jira takes.
const FILES: usize = 10;

const MILLION: usize = 1_000_000;

/// The projects that generated histories name.
pub const PROJECTS: [&str; 3] = ["PROJ", "WEB", "OPS2"];

pub fn compare(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let repository = made("deep", effort.commits)?;
    let mut rows = vec![scanned(effort, &repository)?];
    rows.extend(prepared(effort, &repository, effort.commits / 4, "")?);
    let wide = made("wide", effort.commits / 4)?;
    rows.extend(prepared(effort, &wide, effort.commits / 16, " with 1,000 entries at the root")?);
    Ok(rows)
}

/// The history that goes to Jira as a whole, and its commits: a million where there is time.
pub fn whole(effort: &Effort) -> anyhow::Result<(PathBuf, usize)> {
    let (shape, commits) = if effort.long { ("lean", MILLION) } else { ("deep", effort.commits) };
    Ok((made(shape, commits)?, commits))
}

/// A generated history, made once for all runs.
fn made(shape: &str, commits: usize) -> anyhow::Result<PathBuf> {
    let name = if shape == "deep" { "history" } else { shape };
    let path = Path::new(CACHE).join(format!("{name}-{commits}.git"));
    if !path.exists() {
        eprintln!("making a {shape} history of {commits} commits, once");
        let part = path.with_extension("part");
        let _ = fs::remove_dir_all(&part);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/history.py");
        output(Command::new("python3").arg(script).arg(&part).args([&commits.to_string(), "1", shape]))?;
        fs::rename(part, &path)?;
    }
    Ok(path)
}

/// Our side of the scan: every message is read and searched for keys.
pub fn scan(repository: &Path) -> anyhow::Result<()> {
    let (repository, rules) = (Repository::open(repository)?, rules()?);
    let (mut commits, mut keyed) = (0, 0);
    repository.walk_each(&tips(&repository)?, &Known::nothing(), Budget::UNBOUNDED, &mut |commit| {
        commits += 1;
        keyed += usize::from(!rules.message(&commit.message).keys.is_empty());
        ControlFlow::Continue(())
    })?;
    println!("{commits} {keyed}");
    Ok(())
}

/// Our side of the preparation: the newest commits are found, and the files of those that name an issue counted, in
/// rounds as the daemon does it.
pub fn prepare(path: &Path, commits: usize, threads: usize) -> anyhow::Result<()> {
    let repository = Repository::open(path)?;
    let keyed = keyed(&repository, commits)?;
    let keyed: Vec<&Commit> = keyed.iter().collect();
    let helper = (threads > 1).then(|| Helper::of(&repository));
    let mut files = 0;
    for round in keyed.chunks(ROUND) {
        for found in repository.files_of(helper.as_ref(), round, FILES) {
            files += found?.count as usize;
        }
    }
    println!("{} {files}", keyed.len());
    Ok(())
}

/// What we find out about each commit that names an issue, in the form of `git log --numstat`.
pub fn figures(path: &Path, commits: usize) -> anyhow::Result<()> {
    let repository = Repository::open(path)?;
    let mut text = String::new();
    for commit in keyed(&repository, commits)? {
        let files = repository.files(&commit, FILES)?;
        writeln!(text, "{} {}", commit.id, files.count)?;
        for file in files.listed {
            writeln!(text, "{}\t{}\t{}", file.added, file.removed, String::from_utf8_lossy(&file.path))?;
        }
    }
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn scanned(effort: &Effort, repository: &Path) -> anyhow::Result<Row> {
    let (mut ours, mut gits) = (Times::default(), Times::default());
    for _ in 0..effort.times(3, 9) {
        ours.run(side("scan", repository)?.arg(repository))?;
        gits.run(git(repository).args(["log", "--format=%B", "main"]))?;
    }
    let ratio = ours.p50() / gits.p50();
    Ok(Row::new(format!("history of {} commits read for keys", effort.commits), seconds(&ours))
        .beside(format!("`git log --format=%B` {}", seconds(&gits)), ratio)
        .goal("≤ 1.0", Goal::of(ratio <= 1.0)))
}

fn prepared(effort: &Effort, repository: &Path, newest: usize, shape: &str) -> anyhow::Result<Vec<Row>> {
    let newest = newest.to_string();
    let figures = output(side("figures", repository)?.arg(repository).arg(&newest))?;
    let keyed: Vec<&str> = figures.lines().filter(|line| !line.contains('\t')).collect();
    let ids: String = keyed.iter().filter_map(|line| line.split(' ').next()).map(|id| format!("{id}\n")).collect();
    let list = repository.with_extension("ids");
    fs::write(&list, ids)?;
    let wrong = differences(&figures, &output(&mut numstat(repository, &list)?)?)?;
    let (mut one, mut two, mut gits) = (Times::default(), Times::default(), Times::default());
    for _ in 0..effort.times(2, 5) {
        one.run(side("prepare", repository)?.arg(repository).args([&newest, "1"]))?;
        gits.run(&mut numstat(repository, &list)?)?;
        two.run(side("prepare", repository)?.arg(repository).args([&newest, "2"]))?;
    }
    let same = if wrong == 0 { "same figures".to_owned() } else { format!("{wrong} commits with OTHER figures") };
    let row = |threads: &str, times: &Times, goal: bool| {
        let ratio = times.p50() / gits.p50();
        let row =
            Row::new(format!("{} keyed commits of {newest}{shape} prepared, {threads}", keyed.len()), seconds(times))
                .beside(format!("`git log --numstat --no-renames` {}, {same}", seconds(&gits)), ratio);
        if goal { row.goal("≤ 0.5", Goal::of(ratio <= 0.5 && wrong == 0)) } else { row }
    };
    Ok(vec![row("1 thread", &one, false), row("2 threads", &two, true)])
}

/// How many commits have other figures than git gives, of those with files in both.
fn differences(ours: &str, gits: &str) -> anyhow::Result<usize> {
    let (mut expected, mut id, mut files): (BTreeSet<String>, &str, Vec<String>) = (BTreeSet::new(), "", Vec::new());
    let close = |id: &str, files: &mut Vec<String>| {
        let count = files.len();
        files.truncate(FILES);
        let text = format!("{id} {count}\n{}", files.join("\n"));
        files.clear();
        text
    };
    for line in gits.lines().filter(|line| !line.is_empty()) {
        if line.contains('\t') {
            files.push(line.replace("-\t-\t", "0\t0\t"));
        } else {
            expected.insert(close(id, &mut files));
            id = line;
        }
    }
    expected.insert(close(id, &mut files));
    let mut found = BTreeSet::new();
    let mut commit = String::new();
    for line in ours.lines() {
        if !line.contains('\t') && !commit.is_empty() {
            found.insert(with_end(std::mem::take(&mut commit)));
        }
        if !commit.is_empty() {
            commit.push('\n');
        }
        commit.push_str(line);
    }
    found.insert(with_end(commit));
    ensure!(found.len() > 1, "no commit of the history names an issue");
    Ok(found.difference(&expected).count())
}

/// A commit without files ends like one with files.
fn with_end(commit: String) -> String {
    if commit.contains('\n') { commit } else { commit + "\n" }
}

fn keyed(repository: &Repository, commits: usize) -> anyhow::Result<Vec<Commit>> {
    let rules = rules()?;
    let walk = repository.walk(&tips(repository)?, &Known::nothing(), Budget { commits, until: None })?;
    Ok(walk.commits.into_iter().filter(|commit| !rules.message(&commit.message).keys.is_empty()).collect())
}

fn rules() -> anyhow::Result<Rules> {
    Ok(Rules::new(&Settings::default(), Some(PROJECTS.map(str::to_owned).into()))?)
}

fn tips(repository: &Repository) -> anyhow::Result<Vec<git_jira_agent::git::Oid>> {
    let main = repository.refs()?.into_iter().find(|(name, _)| name.as_bytes() == b"refs/heads/main");
    Ok(vec![main.context("the history has no main branch")?.1])
}

fn side(word: &str, repository: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(word).current_dir(repository).stdin(Stdio::null());
    Ok(command)
}

fn git(repository: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("--git-dir").arg(repository).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    git
}

fn numstat(repository: &Path, list: &Path) -> anyhow::Result<Command> {
    let mut git = git(repository);
    git.args(["log", "--no-walk=unsorted", "--stdin", "--numstat", "--no-renames", "--format=%H"]);
    git.stdin(fs::File::open(list)?);
    Ok(git)
}

fn seconds(times: &Times) -> String {
    format!("{:.2} s", times.p50() / 1000.0)
}
