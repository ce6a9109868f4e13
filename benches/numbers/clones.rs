//! What hooks cost whoever commits in a clone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Effort;
use crate::row::{Goal, Row, Times};
use crate::world::{World, hook, output};

/// Commits that only warm up.
const WARM: usize = 5;
/// Commits of the rebase.
const REBASED: usize = 100;
/// What husky puts before each hook, and a check of the message as commitlint makes one: a process of Node.
const HUSKY: &str = "#!/bin/sh\n[ \"$HUSKY\" = 0 ] && exit 0\nPATH=\"node_modules/.bin:$PATH\"\n\
    sh -e -c 'exec node -e \"\n\
    const text = require(\\\"fs\\\").readFileSync(process.argv[1], \\\"utf8\\\");\n\
    process.exit(/^[A-Z]*-?[0-9]* ?.+/.test(text) ? 0 : 1)\" \"$1\"' sh \"$1\"\n";

/// The least that a hook can be.
const ONE_LINE: &str = "#!/bin/sh\nexit 0\n";

/// Commits in turn in a clone with our hooks, in one with hooks of one line, in one with such hooks as husky's, and in one with
/// none; then a rebase.
pub fn cost(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let commits = effort.times(30, 200);
    let world = World::new(&["ABC"], 9)?;
    let _daemon = world.daemon()?;
    let has_node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    let names = if has_node { vec!["none", "ours", "one line", "husky"] } else { vec!["none", "ours", "one line"] };
    let clones: Vec<PathBuf> = names.iter().map(|name| clone(&world, name)).collect::<anyhow::Result<_>>()?;
    world.install(&clones[1])?;
    for name in ["prepare-commit-msg", "commit-msg"] {
        hook(&clones[2].join(".git"), name, ONE_LINE)?;
    }
    if let Some(husky) = clones.get(3) {
        hook(&husky.join(".git"), "commit-msg", HUSKY)?;
    }
    // A configuration that was just written is not believed to stay.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let mut rows = Vec::new();
    for (what, message) in [("names no issue", "tidy the shelf"), ("names one", "ABC-1 tidy the shelf")] {
        let mut times: Vec<Times> = clones.iter().map(|_| Times::default()).collect();
        for round in 0..commits + WARM {
            for turn in 0..clones.len() {
                let which = (round + turn) % clones.len();
                let mut warm = Times::default();
                let times = if round < WARM { &mut warm } else { &mut times[which] };
                times.run(world.command("git").arg("-C").arg(&clones[which]).args([
                    "commit",
                    "--quiet",
                    "--allow-empty",
                    "-m",
                    message,
                ]))?;
            }
        }
        let [none, ours, one_line] = [0, 1, 2].map(|which| times[which].p50());
        let row = || Row::new(format!("`git commit -m` whose message {what}"), format!("p50 {ours:.1} ms"));
        rows.push(
            row()
                .beside(format!("no hooks: p50 {none:.1} ms"), ours / none)
                .goal("≤ 1.15", Goal::of(ours <= 1.15 * none)),
        );
        rows.push(row().beside(format!("the same hooks, of one line: p50 {one_line:.1} ms"), ours / one_line));
        if let Some(husky) = times.get(3).map(Times::p50) {
            rows.push(row().beside(format!("husky and a check in Node: p50 {husky:.1} ms"), ours / husky));
        }
    }
    rows.extend(rebase(effort, &world, &clones)?);
    Ok(rows)
}

/// A rebase of many commits, to and fro between two beginnings.
fn rebase(effort: &Effort, world: &World, clones: &[PathBuf]) -> anyhow::Result<[Row; 2]> {
    let mut times = [Times::default(), Times::default(), Times::default()];
    for clone in &clones[..times.len()] {
        for base in ["one", "two"] {
            world.git(clone, &["checkout", "--quiet", "-B", base, "main"])?;
            world.git(clone, &["commit", "--quiet", "--allow-empty", "-m", base])?;
        }
        world.git(clone, &["checkout", "--quiet", "-B", "ABC-2-topic", "one"])?;
        for number in 0..REBASED {
            fs::write(clone.join("file"), format!("{number}\n"))?;
            world.git(clone, &["add", "file"])?;
            world.git(clone, &["commit", "--quiet", "-m", &format!("step {number}")])?;
        }
    }
    for round in 0..effort.times(3, 10) {
        let onto = if round % 2 == 0 { "two" } else { "one" };
        for (clone, times) in clones.iter().zip(&mut times) {
            times.run(world.command("git").arg("-C").arg(clone).args(["rebase", "--quiet", "--force-rebase", onto]))?;
        }
    }
    let [none, ours, one_line] = times.each_ref().map(Times::p50);
    let row = || Row::new(format!("rebase of {REBASED} commits"), format!("p50 {ours:.0} ms"));
    Ok([
        row().beside(format!("no hooks: p50 {none:.0} ms"), ours / none).goal("≤ 1.2", Goal::of(ours <= 1.2 * none)),
        row().beside(format!("the same hooks, of one line: p50 {one_line:.0} ms"), ours / one_line),
    ])
}

fn clone(world: &World, name: &str) -> anyhow::Result<PathBuf> {
    let path: &Path = &world.folder.join("repositories").join(name);
    output(world.command("git").args(["init", "--quiet", "--initial-branch=main"]).arg(path))?;
    for (key, value) in
        [("user.name", "Ann"), ("user.email", "ann@example.org"), ("gc.auto", "0"), ("maintenance.auto", "false")]
    {
        world.git(path, &["config", key, value])?;
    }
    world.git(path, &["commit", "--quiet", "--allow-empty", "-m", "begin"])?;
    Ok(path.to_owned())
}
