//! The table: rows, the machine they were measured on, and the few statistics they need.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::ensure;

/// One line of the table.
pub struct Row {
    what: String,
    measured: String,
    compared: String,
    ratio: Option<f64>,
    goal: String,
    verdict: Goal,
}

pub enum Goal {
    Holds,
    Short,
    /// It is there to be compared, or was not measured.
    None,
}

/// Spans of time in milliseconds.
#[derive(Default)]
pub struct Times(Vec<f64>);

impl Row {
    pub const HEAD: &str =
        "| what | measured | compared with | ratio | goal | verdict |\n| --- | --- | --- | --- | --- | --- |";

    pub fn new(what: impl Into<String>, measured: impl Into<String>) -> Row {
        let (what, measured) = (what.into(), measured.into());
        Row { what, measured, compared: String::new(), ratio: None, goal: String::new(), verdict: Goal::None }
    }

    pub fn beside(self, compared: impl Into<String>, ratio: f64) -> Row {
        Row { compared: compared.into(), ratio: Some(ratio), ..self }
    }

    pub fn goal(self, goal: &str, verdict: Goal) -> Row {
        Row { goal: goal.to_owned(), verdict, ..self }
    }
}

impl Goal {
    pub fn of(holds: bool) -> Goal {
        if holds { Goal::Holds } else { Goal::Short }
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ratio = self.ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default();
        let verdict = match self.verdict {
            Goal::Holds => "holds",
            Goal::Short => "**falls short**",
            Goal::None => "",
        };
        let cells = [&self.what, &self.measured, &self.compared, &ratio, &self.goal, &verdict.to_owned()];
        let cells = cells.map(|cell| cell.replace(['|', '\n'], " "));
        write!(f, "| {} |", cells.join(" | "))
    }
}

impl Times {
    pub fn add(&mut self, span: Duration) {
        self.0.push(span.as_secs_f64() * 1000.0);
    }

    /// Runs a command that is silent and succeeds, and takes its time.
    pub fn run(&mut self, command: &mut Command) -> anyhow::Result<()> {
        command.stdout(Stdio::null());
        let began = Instant::now();
        let output = command.stderr(Stdio::piped()).output()?;
        self.add(began.elapsed());
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn p50(&self) -> f64 {
        self.percentile(0.5)
    }

    pub fn p99(&self) -> f64 {
        self.percentile(0.99)
    }

    /// The smallest value that is not exceeded by this part of all.
    pub fn percentile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
    }

    pub fn extend(&mut self, other: Times) {
        self.0.extend(other.0);
    }
}

/// Where and when the table was made.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let git = Command::new("git").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let git = String::from_utf8_lossy(&git).trim().to_owned();
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string();
    format!("{cores} cores, {model}, Linux {}, {git}, agent {}, {now}", kernel.trim(), env!("CARGO_PKG_VERSION"))
}
