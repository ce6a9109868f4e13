//! What one push costs the person who pushes, and how long it takes to reach Jira.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Resource, WaitOptions, getrlimit, setrlimit, wait};

use crate::Effort;
use crate::row::{Goal, Row, Times};
use crate::world::{IDLE, World, commits, hook, output, update, wait_until};

/// Pushes that only warm up.
const WARM: usize = 5;

/// Whole pushes in turn to a repository with our hooks, one with a shell's, and one with none.
pub fn cost(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let pushes = effort.times(60, 300);
    let world = World::new(&["ABC"], 9)?;
    let _daemon = world.daemon()?;
    let [ours, shell, none] = ["ours", "shell", "none"].map(|name| world.repository(name));
    let targets = [ours?, shell?, none?];
    let work = working_copy(&world, 2 * (pushes + WARM) + 1)?;
    for target in &targets {
        push(&world, &work.path, target, &work.ids[0])?;
    }
    world.install(&targets[0])?;
    for name in ["pre-receive", "post-receive"] {
        hook(&targets[1], name, IDLE)?;
    }
    let mut times = [Times::default(), Times::default(), Times::default()];
    let mut tip = 0;
    for round in 0..pushes + WARM {
        tip += round % 3 + 1;
        tip = tip.min(work.ids.len() - 1);
        for turn in 0..targets.len() {
            let which = (round + turn) % targets.len();
            let began = Instant::now();
            push(&world, &work.path, &targets[which], &work.ids[tip])?;
            if round >= WARM {
                times[which].add(began.elapsed());
            }
        }
    }
    let [ours, shell, none] = times.each_ref().map(Times::p50);
    let measured = format!("p50 {ours:.1} ms, p99 {:.1} ms ({} pushes of 1-3 commits)", times[0].p99(), times[0].len());
    let ratio = ours / shell;
    Ok(vec![
        Row::new("whole `git push`, 1 ref, daemon running", measured.clone())
            .beside(format!("hooks that only read stdin (sh): p50 {shell:.1} ms"), ratio)
            .goal("≤ 1.05", Goal::of(ratio <= 1.05)),
        Row::new("whole `git push`, 1 ref, daemon running", measured)
            .beside(format!("no hooks: p50 {none:.1} ms"), ours / none),
    ])
}

/// Ten thousand commits in one push, laid beside a policy by `pre-receive`, and the same push where none holds.
pub fn judged(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    const COMMITS: usize = 10_000;
    let rounds = effort.times(3, 10);
    let world = World::new(&["ABC"], 9)?;
    let policy = "[[policy]]\nlevel = \"block\"\nrepositories = [\"judged-*\"]\nkey = true\nsubject_max = 100\nblank_line = true\n";
    let config = world.folder.join("config.toml");
    fs::write(&config, format!("{}\n{policy}", fs::read_to_string(&config)?))?;
    let _daemon = world.daemon()?;
    let work = working_copy(&world, COMMITS)?;
    let last = work.ids.last().context("there are commits")?;
    let mut times = [Times::default(), Times::default()];
    for round in 0..rounds {
        for (name, times) in ["judged", "plain"].into_iter().zip(&mut times) {
            let target = world.repository(&format!("{name}-{round}"))?;
            world.install(&target)?;
            let began = Instant::now();
            push(&world, &work.path, &target, last)?;
            times.add(began.elapsed());
        }
    }
    let [judged, plain] = times.each_ref().map(|times| times.p50() / 1000.0);
    Ok(vec![
        Row::new(
            format!("push of {COMMITS} commits that a policy looks at"),
            format!("p50 {judged:.2} s ({rounds} pushes)"),
        )
        .beside(format!("where no policy holds: p50 {plain:.2} s"), judged / plain)
        .goal("≤ 2 s", Goal::of(judged <= 2.0)),
    ])
}

/// The two hooks of a push as git starts them, one after the other.
pub fn process(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let pushes = effort.times(100, 500);
    let world = World::new(&["ABC"], 9)?;
    let _daemon = world.daemon()?;
    let ours = world.repository("ours")?;
    world.install(&ours)?;
    let shell = world.repository("shell")?;
    hook(&shell, "post-receive", IDLE)?;
    world.import(&ours, &commits(pushes + WARM, |_| "refs/heads/main".to_owned(), |mark| mark - 1))?;
    let ids = ids(&world, &ours, "main")?;
    let mut times = [Times::default(), Times::default(), Times::default()];
    let mut old = None;
    for (round, new) in ids.iter().enumerate() {
        let line = update(old, new, "refs/heads/main");
        let runs = [(&ours, "pre-receive"), (&ours, "post-receive"), (&shell, "post-receive")];
        for ((repository, name), times) in runs.into_iter().zip(&mut times) {
            let began = Instant::now();
            run_hook(&world, repository, name, &line)?;
            if round >= WARM {
                times.add(began.elapsed());
            }
        }
        old = Some(new.as_str());
    }
    let shell = &times[2];
    let row = |name: &str, times: &Times| {
        let (p50, p99) = (times.p50(), times.p99());
        Row::new(format!("process of `{name}`"), format!("p50 {p50:.1} ms, p99 {p99:.1} ms"))
            .beside(
                format!("sh that reads stdin: p50 {:.1} ms, p99 {:.1} ms", shell.p50(), shell.p99()),
                p50 / shell.p50(),
            )
            .goal("p50 ≤ 3 ms, p99 ≤ 20 ms", Goal::of(p50 <= 3.0 && p99 <= 20.0))
    };
    Ok(vec![row("post-receive", &times[1]), row("pre-receive", &times[0])])
}

/// A thousand hooks, a crowd of them at any time; then a thousand that are let go in the same moment.
pub fn thousand(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    const REPOSITORIES: usize = 20;
    const CROWD: usize = 64;
    let each = effort.times(10, 50);
    let world = World::new(&["ABC"], 9)?;
    let _daemon = world.daemon()?;
    let (mut ours, mut shells) = (Vec::new(), Vec::new());
    for number in 0..REPOSITORIES {
        let repository = world.repository(&format!("ours-{number}"))?;
        world.import(&repository, &commits(1, |_| "refs/heads/main".to_owned(), |mark| mark))?;
        world.install(&repository)?;
        // All branches start at the first commit, which is what a server with many topics looks like.
        world.import(&repository, &commits(2 * each + 1, |mark| format!("refs/heads/topic-{mark}"), |_| 1))?;
        let old = world.git(&repository, &["rev-parse", "main"])?;
        for mark in 2..=2 * each + 1 {
            let name = format!("refs/heads/topic-{mark}");
            let new = world.git(&repository, &["rev-parse", &name])?;
            ours.push((repository.clone(), update(Some(&old), &new, &name)));
        }
    }
    let shell = world.repository("shell")?;
    hook(&shell, "post-receive", IDLE)?;
    shells.extend(ours.iter().map(|(_, line)| (shell.clone(), line.clone())));
    // Neighbours in the list share a repository, and each is pushed to in both halves.
    let crowd = |hooks: &[(PathBuf, String)]| crowd(&world, hooks.iter().step_by(2), CROWD);
    let every_second = |hooks: Vec<(PathBuf, String)>| hooks.into_iter().skip(1).step_by(2).collect::<Vec<_>>();
    let (idle, times) = (crowd(&shells)?, crowd(&ours)?);
    let mut rows = vec![
        Row::new(
            format!("{} `post-receive`, {CROWD} at any time", times.len()),
            format!("p50 {:.0} ms, p99 {:.0} ms", times.p50(), times.p99()),
        )
        .beside(format!("as many sh: p50 {:.0} ms, p99 {:.0} ms", idle.p50(), idle.p99()), times.p99() / idle.p99())
        .goal("p99 ≤ 100 ms", Goal::of(times.p99() <= 100.0)),
    ];
    let idle = all_at_once(&world, &every_second(shells))?;
    let times = all_at_once(&world, &every_second(ours))?;
    let said = fs::read_to_string(world.folder.join("said"))?;
    let (queued, kept) = (said.matches("queued for Jira").count(), said.matches("kept for Jira").count());
    let p99 = times.p99();
    let count = times.len();
    let measured = format!(
        "p50 {:.0} ms, p99 {p99:.0} ms; {queued} to the daemon, {kept} to the spool, {} left to the comparison of refs",
        times.p50(),
        count - queued - kept
    );
    rows.push(
        Row::new(format!("{count} `post-receive` let go in one moment"), measured)
            .beside(format!("{count} times sh: p50 {:.0} ms, p99 {:.0} ms", idle.p50(), idle.p99()), p99 / idle.p99())
            .goal("p99 ≤ 100 ms", Goal::of(p99 <= 100.0)),
    );
    Ok(rows)
}

/// A thousand `git push` that are started at once, to twenty repositories: how long all of them take, and in each the hooks, by
/// what Git itself writes down of them.
pub fn at_once(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    const REPOSITORIES: usize = 20;
    let pushes = effort.times(100, 1000);
    let world = World::new(&["ABC"], 9)?;
    let _daemon = world.daemon()?;
    let work = world.folder.join("work");
    output(world.command("git").args(["init", "--quiet", "--initial-branch=topic-1"]).arg(&work))?;
    world.import(&work, &commits(pushes + 2, |mark| format!("refs/heads/topic-{mark}"), |_| 1))?;
    // To and fro: the machine and its disk are not the same all the time.
    let mut measured = [(0.0, [Times::default(), Times::default()]), (0.0, [Times::default(), Times::default()])];
    for (round, kind) in ["shell", "ours", "ours", "shell"].into_iter().enumerate() {
        let mut repositories = Vec::new();
        for number in 0..REPOSITORIES {
            let repository = world.repository(&format!("{kind}-{round}-{number}"))?;
            if kind == "ours" {
                world.install(&repository)?;
            }
            for name in ["pre-receive", "post-receive"].into_iter().filter(|_| kind == "shell") {
                hook(&repository, name, IDLE)?;
            }
            // The second knows where the daemon is.
            for mark in 1..=2 {
                push_branch(&world, &work, &repository, mark).status()?;
            }
            repositories.push(repository);
        }
        let traces = world.folder.join(format!("traces-{round}"));
        fs::create_dir(&traces)?;
        let began = Instant::now();
        let start = |mark: usize| {
            let mut git = push_branch(&world, &work, &repositories[mark % REPOSITORIES], mark);
            git.env("GIT_TRACE2_EVENT", &traces).spawn()
        };
        let all = (3..pushes + 3).map(start).collect::<Result<Vec<_>, _>>()?;
        for mut git in all {
            ensure!(git.wait()?.success(), "a push failed");
        }
        let (whole, times) = &mut measured[usize::from(kind == "ours")];
        *whole += began.elapsed().as_secs_f64() / 2.0;
        for (name, times) in ["pre-receive", "post-receive"].into_iter().zip(times) {
            hooks_of(&traces, name, times)?;
        }
    }
    let [(shell, [shell_pre, shell_post]), (ours, [pre, post])] = measured;
    let row = |name: &str, times: &Times, shell: &Times| {
        let (p50, p99) = (times.p50(), times.p99());
        Row::new(format!("`{name}` of these, as Git sees it"), format!("p50 {p50:.0} ms, p99 {p99:.0} ms"))
            .beside(format!("sh: p50 {:.0} ms, p99 {:.0} ms", shell.p50(), shell.p99()), p99 / shell.p99())
            .goal("p99 ≤ 100 ms", Goal::of(p99 <= 100.0))
    };
    Ok(vec![
        Row::new(
            format!("{pushes} `git push` at once to {REPOSITORIES} repositories"),
            format!("all done in {ours:.1} s"),
        )
        .beside(format!("hooks that only read stdin (sh): {shell:.1} s"), ours / shell)
        .goal("≤ 1.05", Goal::of(ours <= 1.05 * shell)),
        row("pre-receive", &pre, &shell_pre),
        row("post-receive", &post, &shell_post),
    ])
}

fn push_branch(world: &World, from: &Path, to: &Path, mark: usize) -> Command {
    let mut git = world.command("git");
    git.arg("-C").arg(from).args(["push", "--quiet"]).arg(to).arg(format!("refs/heads/topic-{mark}"));
    git.stdout(Stdio::null()).stderr(Stdio::null());
    git
}

/// Adds how long the hook took that Git started, in each of the traces in a folder.
fn hooks_of(traces: &Path, name: &str, times: &mut Times) -> anyhow::Result<()> {
    for trace in fs::read_dir(traces)? {
        let mut started = HashSet::new();
        for line in fs::read_to_string(trace?.path())?.lines() {
            let event: serde_json::Value = serde_json::from_str(line)?;
            let child = event["child_id"].as_u64();
            match event["event"].as_str() {
                Some("child_start") if event["hook_name"] == name => started.extend(child),
                Some("child_exit") if child.is_some_and(|child| started.contains(&child)) => {
                    times.add(Duration::from_secs_f64(event["t_rel"].as_f64().context("a child takes a time")?));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// From the start of `git push` to Jira's yes, with nothing else to do.
pub fn accepted(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let pushes = effort.times(5, 30);
    let world = World::new(&["ABC"], 9)?;
    let _daemon = world.daemon()?;
    let target = world.repository("ours")?;
    world.install(&target)?;
    let work = working_copy(&world, pushes)?;
    let mut times = Times::default();
    for id in &work.ids {
        let began = jiff::Timestamp::now().as_millisecond();
        push(&world, &work.path, &target, id)?;
        let sql =
            format!("SELECT coalesce(max(settled_at), 0) FROM entity WHERE entity_id = '{id}' AND state = 'settled'");
        let mut settled = 0;
        wait_until("Jira has accepted a push", || {
            settled = world.count(&sql)?;
            Ok(settled > 0)
        })?;
        times.add(Duration::from_millis(settled.saturating_sub(began.unsigned_abs())));
    }
    let (p50, p99) = (times.p50() / 1000.0, times.p99() / 1000.0);
    Ok(vec![
        Row::new(
            "start of a push → accepted by the sandbox",
            format!("p50 {p50:.2} s, p99 {p99:.2} s ({pushes} pushes)"),
        )
        .goal("p50 ≤ 2 s, p99 ≤ 5 s", Goal::of(p50 <= 2.0 && p99 <= 5.0)),
    ])
}

/// Runs a hook as git does, with one line on its standard input.
pub fn run_hook(world: &World, repository: &Path, name: &str, line: &str) -> anyhow::Result<()> {
    let mut command = hook_command(world, repository, &repository.join("hooks").join(name));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    child.stdin.take().context("started with a pipe")?.write_all(line.as_bytes())?;
    ensure!(child.wait()?.success(), "{name} failed");
    Ok(())
}

fn hook_command(world: &World, repository: &Path, program: &Path) -> Command {
    let mut command = world.command(program);
    command.current_dir(repository).env("GIT_DIR", ".");
    command
}

/// Starts a hook whenever one has ended, so that as many as wanted run at any time.
fn crowd<'a>(
    world: &World,
    hooks: impl Iterator<Item = &'a (PathBuf, String)>,
    together: usize,
) -> anyhow::Result<Times> {
    let (mut times, mut running) = (Times::default(), HashMap::new());
    let mut wait_for_one = |running: &mut HashMap<i32, Instant>| -> anyhow::Result<()> {
        let ended = wait(WaitOptions::empty())?.and_then(|(pid, _)| running.remove(&pid.as_raw_nonzero().get()));
        ended.into_iter().for_each(|began| times.add(began.elapsed()));
        Ok(())
    };
    for (repository, line) in hooks {
        while running.len() == together {
            wait_for_one(&mut running)?;
        }
        let mut command = hook_command(world, repository, &repository.join("hooks/post-receive"));
        let began = Instant::now();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        child.stdin.take().context("started with a pipe")?.write_all(line.as_bytes())?;
        running.insert(child.id().cast_signed(), began);
    }
    while !running.is_empty() {
        wait_for_one(&mut running)?;
    }
    Ok(times)
}

/// Starts a shell for each hook, and lets all of them become the hook at the same time.
fn all_at_once(world: &World, hooks: &[(PathBuf, String)]) -> anyhow::Result<Times> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit })?;
    let said = fs::OpenOptions::new().create(true).append(true).open(world.folder.join("said"))?;
    let mut waiting = Vec::new();
    for (repository, line) in hooks {
        let mut command = hook_command(world, repository, Path::new("/bin/sh"));
        command.args(["-c", "read -r go; exec hooks/post-receive"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.stderr(said.try_clone()?).spawn()?;
        let stdin = child.stdin.take().context("started with a pipe")?;
        waiting.push((child.id().cast_signed(), stdin, format!("go\n{line}")));
    }
    // A shell that is still being loaded would be counted.
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    let mut running = HashSet::new();
    for (pid, mut stdin, text) in waiting {
        stdin.write_all(text.as_bytes())?;
        running.insert(pid);
    }
    let mut times = Times::default();
    while !running.is_empty() {
        let ended = wait(WaitOptions::empty())?;
        if ended.is_some_and(|(pid, _)| running.remove(&pid.as_raw_nonzero().get())) {
            times.add(began.elapsed());
        }
    }
    Ok(times)
}

struct WorkingCopy {
    path: PathBuf,
    /// Oldest first.
    ids: Vec<String>,
}

fn working_copy(world: &World, number: usize) -> anyhow::Result<WorkingCopy> {
    let path = world.folder.join("work");
    output(world.command("git").args(["init", "--quiet", "--initial-branch=main"]).arg(&path))?;
    world.import(&path, &commits(number, |_| "refs/heads/main".to_owned(), |mark| mark - 1))?;
    let ids = ids(world, &path, "main")?;
    Ok(WorkingCopy { path, ids })
}

fn ids(world: &World, repository: &Path, branch: &str) -> anyhow::Result<Vec<String>> {
    let text = world.git(repository, &["rev-list", "--reverse", branch])?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn push(world: &World, from: &Path, to: &Path, id: &str) -> anyhow::Result<()> {
    let mut git = world.command("git");
    git.arg("-C").arg(from).arg("push").arg(to).arg(format!("{id}:refs/heads/main"));
    output(&mut git).map(drop)
}
