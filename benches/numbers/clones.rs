//! What hooks cost whoever commits in a clone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Effort;
use crate::row::{Goal, Row, Times};
use crate::world::{World, hook, output};

/// Commits that only warm up.
const WARM: usize = 5;
/// Files in the work tree, of which a commit changes one.
const FILES: usize = 1_000;
const FOLDERS: usize = 20;
/// The file that it changes.
const FILE: &str = "folder-0/file-0";
/// Commits of the rebase.
const REBASED: usize = 100;
/// What husky puts before each hook, and a check of the message as commitlint makes one: a process of Node.
const HUSKY: &str = "#!/bin/sh\n[ \"$HUSKY\" = 0 ] && exit 0\nPATH=\"node_modules/.bin:$PATH\"\n\
    sh -e -c 'exec node -e \"\n\
    const text = require(\\\"fs\\\").readFileSync(process.argv[1], \\\"utf8\\\");\n\
    process.exit(/^[A-Z]*-?[0-9]* ?.+/.test(text) ? 0 : 1)\" \"$1\"' sh \"$1\"\n";

/// The least that a hook can be.
const ONE_LINE: &str = "#!/bin/sh\nexit 0\n";

/// A kind of commit that is measured.
struct Kind {
    what: &'static str,
    branch: &'static str,
    message: &'static str,
    /// Whether it changes a file.
    changes: bool,
}

const KINDS: [Kind; 4] = [
    Kind { what: "whose message names no issue", branch: "main", message: "tidy the shelf", changes: true },
    Kind { what: "whose message names one", branch: "main", message: "ABC-1 tidy the shelf", changes: true },
    Kind { what: "that gets the key of its branch", branch: "ABC-2-topic", message: "tidy the shelf", changes: true },
    Kind { what: "that changes nothing (`--allow-empty`)", branch: "main", message: "tidy the shelf", changes: false },
];

/// A folder of hooks, as whose cost a commit is measured.
struct Hooks {
    setting: String,
    times: Times,
}

/// Commits with our hooks, with hooks of one line, with such as husky's, and with none; then a rebase. All of them in turn, and in one
/// clone: to make a file takes longer in one folder than in another.
pub fn cost(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let world = World::new(&["ABC"], 9)?;
    let _daemon = world.daemon()?;
    let clone = clone(&world)?;
    world.install(&clone)?;
    let git_dir = clone.join(".git");
    for name in ["prepare-commit-msg", "commit-msg"] {
        hook(&git_dir.join("one-line"), name, ONE_LINE)?;
    }
    hook(&git_dir.join("husky"), "commit-msg", HUSKY)?;
    fs::create_dir_all(git_dir.join("none/hooks"))?;
    let has_node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    let mut folders = vec![git_dir.join("none/hooks"), git_dir.join("hooks"), git_dir.join("one-line/hooks")];
    folders.extend(has_node.then(|| git_dir.join("husky/hooks")));
    let all = || folders.iter().map(|folder| Hooks::of(folder)).collect::<Vec<_>>();
    // A configuration that was just written is not believed to stay.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let mut rows = Vec::new();
    for kind in &KINDS {
        let mut all = all();
        world.git(&clone, &["checkout", "--quiet", "-B", kind.branch])?;
        for round in 0..effort.times(30, 200) + WARM {
            if round == WARM {
                all.iter_mut().for_each(|hooks| hooks.times = Times::default());
            }
            for turn in 0..all.len() {
                let which = (round + turn) % all.len();
                commit(&world, &clone, kind, round * all.len() + which, &mut all[which])?;
            }
        }
        let [none, ours, one_line] = [0, 1, 2].map(|which: usize| all[which].times.p50());
        let row = || Row::new(format!("`git commit -m` {}", kind.what), format!("p50 {ours:.1} ms"));
        let beside_none = row().beside(format!("no hooks: p50 {none:.1} ms"), ours / none);
        rows.push(match kind.changes {
            true => beside_none.goal("≤ 1.15", Goal::of(ours <= 1.15 * none)),
            false => beside_none,
        });
        rows.push(row().beside(format!("the same hooks, of one line: p50 {one_line:.1} ms"), ours / one_line));
        if let Some(husky) = all.get(3).map(|hooks| hooks.times.p50()) {
            rows.push(row().beside(format!("husky and a check in Node: p50 {husky:.1} ms"), ours / husky));
        }
    }
    rows.extend(rebase(effort, &world, &clone, all())?);
    Ok(rows)
}

impl Hooks {
    fn of(folder: &Path) -> Hooks {
        Hooks { setting: format!("core.hooksPath={}", folder.display()), times: Times::default() }
    }

    /// Takes the time of a command of Git's.
    fn run(&mut self, world: &World, clone: &Path, words: &[&str]) -> anyhow::Result<()> {
        self.times.run(world.command("git").arg("-C").arg(clone).args(["-c", &self.setting]).args(words))
    }
}

/// Makes one commit, and takes the time of nothing but `git commit`.
fn commit(world: &World, clone: &Path, kind: &Kind, number: usize, hooks: &mut Hooks) -> anyhow::Result<()> {
    if !kind.changes {
        return hooks.run(world, clone, &["commit", "--quiet", "-m", kind.message, "--allow-empty"]);
    }
    fs::write(clone.join(FILE), format!("{} {number}\n", kind.what))?;
    world.git(clone, &["add", FILE])?;
    hooks.run(world, clone, &["commit", "--quiet", "-m", kind.message])
}

/// A rebase of many commits, to and fro between two beginnings.
fn rebase(effort: &Effort, world: &World, clone: &Path, mut all: Vec<Hooks>) -> anyhow::Result<[Row; 2]> {
    for base in ["one", "two"] {
        world.git(clone, &["checkout", "--quiet", "-B", base, "main"])?;
        world.git(clone, &["commit", "--quiet", "--allow-empty", "-m", base])?;
    }
    world.git(clone, &["checkout", "--quiet", "-B", "ABC-2-topic", "one"])?;
    for number in 0..REBASED {
        fs::write(clone.join(FILE), format!("{number}\n"))?;
        world.git(clone, &["add", FILE])?;
        world.git(clone, &["commit", "--quiet", "-m", &format!("step {number}")])?;
    }
    // An odd number, so that each has its turn in both directions.
    all.truncate(3);
    for round in 0..effort.times(3, 20) {
        for turn in 0..all.len() {
            let onto = if (round * all.len() + turn).is_multiple_of(2) { "two" } else { "one" };
            let which = (round + turn) % all.len();
            all[which].run(world, clone, &["rebase", "--quiet", "--force-rebase", onto])?;
        }
    }
    let [none, ours, one_line] = [0, 1, 2].map(|which: usize| all[which].times.p50());
    let row = || Row::new(format!("rebase of {REBASED} commits"), format!("p50 {ours:.0} ms"));
    Ok([
        row().beside(format!("no hooks: p50 {none:.0} ms"), ours / none).goal("≤ 1.2", Goal::of(ours <= 1.2 * none)),
        row().beside(format!("the same hooks, of one line: p50 {one_line:.0} ms"), ours / one_line),
    ])
}

fn clone(world: &World) -> anyhow::Result<PathBuf> {
    let path: &Path = &world.folder.join("repositories/clone");
    output(world.command("git").args(["init", "--quiet", "--initial-branch=main"]).arg(path))?;
    for (key, value) in
        [("user.name", "Ann"), ("user.email", "ann@example.org"), ("gc.auto", "0"), ("maintenance.auto", "false")]
    {
        world.git(path, &["config", key, value])?;
    }
    for number in 0..FILES {
        let folder = path.join(format!("folder-{}", number % FOLDERS));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("file-{number}")), format!("{number}\n"))?;
    }
    world.git(path, &["add", "."])?;
    world.git(path, &["commit", "--quiet", "-m", "begin"])?;
    Ok(path.to_owned())
}
