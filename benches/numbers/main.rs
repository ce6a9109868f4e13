//! Measures what the agent costs, beside what git or a shell costs on the same machine, and prints one Markdown table.
//!
//! `tests/bench/run` starts it. Every row says what was measured, with what it was compared, the goal, and whether it
//! holds or falls short. Nothing is asserted: a measurement that fails says so in its row, and the others go on.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr, reason = "a bench is not the product")]

mod clones; // what a commit costs in a clone
mod history; // reading history, beside git log
mod load; // many pushes, and what becomes of them
mod orders; // what carrying out orders takes
mod pushes; // what one push costs
mod row; // the table
mod store; // start, backlog, memory
mod synchronise; // the history of many repositories, and of a long one
mod world; // a folder, a sandbox, a daemon

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use row::{Goal, Row};

/// Measures what the agent costs on this machine and prints one table.
#[derive(Parser)]
struct Arguments {
    /// Fewer repetitions and a smaller history
    #[arg(long)]
    quick: bool,
    /// Ten minutes of load, and a history of a million commits
    #[arg(long)]
    long: bool,
    /// Only these measurements
    #[arg(long, value_enum)]
    only: Vec<Measurement>,
    /// Commits of the generated history
    #[arg(long)]
    commits: Option<usize>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    side: Option<Side>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measurement {
    /// A whole push with our hooks, with a shell's, with none
    Push,
    /// A push of many commits that a policy looks at
    Policy,
    /// Commits and a rebase in a clone with our hooks, with others, with none
    Commit,
    /// The process of a hook
    Hook,
    /// A thousand pushes at once
    Pushes,
    /// A thousand hooks at once
    Thousand,
    /// From the push to Jira's yes
    Accepted,
    /// Orders on their way to Jira
    Orders,
    /// History read for keys, and prepared for Jira
    History,
    /// Requests for a million pushes a day
    Requests,
    /// Memory at rest
    Idle,
    /// A long history on its way to Jira
    Backlog,
    /// The history of many repositories, and of a long one that is killed half way (`--long`: a million commits)
    Synchronise,
    /// Events taken while hooks knock without a pause
    Intake,
    /// Start with a million queued rows
    Start,
    /// The binary
    Binary,
}

// Our side of a comparison with git, as a process of its own like git's. (A doc comment would become the help's.)
#[derive(Subcommand)]
enum Side {
    #[command(hide = true)]
    Scan { repository: PathBuf },
    #[command(hide = true)]
    Prepare { repository: PathBuf, commits: usize, threads: usize },
    #[command(hide = true)]
    Figures { repository: PathBuf, commits: usize },
}

/// How much is measured.
struct Effort {
    quick: bool,
    long: bool,
    commits: usize,
}

impl Effort {
    fn times(&self, quick: usize, full: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.side {
        Some(Side::Scan { repository }) => return history::scan(&repository),
        Some(Side::Prepare { repository, commits, threads }) => {
            return history::prepare(&repository, commits, threads);
        }
        Some(Side::Figures { repository, commits }) => return history::figures(&repository, commits),
        None => {}
    }
    let commits = arguments.commits.unwrap_or(if arguments.quick { 20_000 } else { 80_000 });
    let effort = Effort { quick: arguments.quick, long: arguments.long, commits };
    println!("{}\n", row::machine());
    println!("{}", Row::HEAD);
    for measurement in Measurement::value_variants() {
        if arguments.only.is_empty() || arguments.only.contains(measurement) {
            measure(*measurement, &effort);
        }
    }
    Ok(())
}

fn measure(measurement: Measurement, effort: &Effort) {
    let name = measurement.to_possible_value().expect("no variant is skipped").get_name().to_owned();
    eprintln!("measuring: {name}");
    let measured = match measurement {
        Measurement::Push => pushes::cost(effort),
        Measurement::Policy => pushes::judged(effort),
        Measurement::Commit => clones::cost(effort),
        Measurement::Hook => pushes::process(effort),
        Measurement::Pushes => pushes::at_once(effort),
        Measurement::Thousand => pushes::thousand(effort),
        Measurement::Accepted => pushes::accepted(effort),
        Measurement::Orders => orders::carried_out(effort),
        Measurement::History => history::compare(effort),
        Measurement::Requests => load::day(effort),
        Measurement::Idle => store::idle(),
        Measurement::Backlog => store::backlog(effort),
        Measurement::Synchronise => synchronise::all(effort),
        Measurement::Intake => load::intake(effort),
        Measurement::Start => store::start(effort),
        Measurement::Binary => binary(effort),
    };
    match measured {
        Ok(rows) => rows.iter().for_each(|row| println!("{row}")),
        Err(error) => println!("{}", Row::new(name, format!("not measured: {error:#}")).goal("", Goal::None)),
    }
}

fn binary(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let size = std::fs::metadata(world::AGENT)?.len() as f64 / 1e6;
    let (mut ours, mut gits) = (row::Times::default(), row::Times::default());
    for _ in 0..effort.times(50, 300) {
        ours.run(std::process::Command::new(world::AGENT).arg("--version"))?;
        gits.run(std::process::Command::new("git").arg("--version"))?;
    }
    let median = ours.p50();
    Ok(vec![
        Row::new("size of the binary, stripped", format!("{size:.1} MB")).goal("≤ 12 MB", Goal::of(size <= 12.0)),
        Row::new("`agent --version`", format!("p50 {median:.1} ms"))
            .beside(format!("`git --version` {:.1} ms", gits.p50()), median / gits.p50())
            .goal("≤ 5 ms", Goal::of(median <= 5.0)),
    ])
}
