//! Changing the configuration by a word: what would change is shown line by line, and a file that would not be in order
//! stays as it is.

use std::path::Path;

use super::link::edit::{self, Edit};
use super::{Context, admin, show};
use crate::config::{Config, Places};
use crate::text::Untrusted;

/// The configuration before and after.
pub struct Change {
    pub before: String,
    pub after: String,
    /// What it says afterwards.
    pub config: Config,
}

/// How many lines around a changed one are shown.
const AROUND: usize = 2;
/// How much is compared line by line; beyond that all of it counts as changed.
const MOST: usize = 4_000_000;

impl Change {
    /// Reads the configuration and changes its text; nothing is written.
    pub fn of(path: &Path, change: impl FnOnce(&mut Edit) -> anyhow::Result<()>) -> anyhow::Result<Change> {
        let before = if path.exists() { std::fs::read_to_string(path)? } else { String::new() };
        // Let the file be in order first: what is wrong with it is told with its line.
        Config::parse(&before, path)?;
        let mut edit = Edit::of(&before)?;
        change(&mut edit)?;
        let after = edit.text();
        let config = Config::parse(&after, path)?;
        Ok(Change { before, after, config })
    }

    pub fn is_none(&self) -> bool {
        self.before == self.after
    }

    /// Writes it, and tells the daemon: it notices by itself, but the next push may be quicker.
    pub fn write(&self, path: &Path, context: &Context) -> anyhow::Result<()> {
        if !self.is_none() {
            edit::save(path, &self.after)?;
            let _ = admin::post::<bool>(&Places::new(path, &self.config, &context.environment), "/reload", &());
        }
        Ok(())
    }

    pub fn show(&self, path: &Path) {
        show::line(format_args!("{}:", path.display()));
        self.lines().iter().for_each(|line| show::line(Untrusted::text(line)));
    }

    /// The changed lines after `-` and `+`, with a few others around them.
    pub fn lines(&self) -> Vec<String> {
        let lines = compare(&self.before.lines().collect::<Vec<_>>(), &self.after.lines().collect::<Vec<_>>());
        let near = |at: usize| {
            let around = &lines[at.saturating_sub(AROUND)..(at + AROUND + 1).min(lines.len())];
            around.iter().any(|(sign, _)| *sign != ' ')
        };
        let mut shown = Vec::new();
        let mut last = None;
        for (at, (sign, line)) in lines.iter().enumerate().filter(|(at, _)| near(*at)) {
            if last.is_some_and(|last| last + 1 < at) {
                shown.push("  ...".to_owned());
            }
            last = Some(at);
            shown.push(format!("{sign} {line}").trim_end().to_owned());
        }
        shown
    }
}

/// All lines of both in their order: `-` only before, `+` only after, ` ` in both.
fn compare<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<(char, &'a str)> {
    let same = before.iter().zip(after).take_while(|(one, other)| one == other).count();
    let (head, before, after) = (&before[..same], &before[same..], &after[same..]);
    let tail = before.iter().rev().zip(after.iter().rev()).take_while(|(one, other)| one == other).count();
    let (before, tail) = before.split_at(before.len() - tail);
    let after = &after[..after.len() - tail.len()];
    let mut lines: Vec<(char, &str)> = head.iter().map(|line| (' ', *line)).collect();
    let wide = after.len() + 1;
    // How many lines are the same from here on, by where we are in both.
    let mut alike = vec![0_u32; if before.len() * wide <= MOST { (before.len() + 1) * wide } else { 0 }];
    if !alike.is_empty() {
        for one in (0..before.len()).rev() {
            for other in (0..after.len()).rev() {
                alike[one * wide + other] = match before[one] == after[other] {
                    true => alike[(one + 1) * wide + other + 1] + 1,
                    false => alike[(one + 1) * wide + other].max(alike[one * wide + other + 1]),
                };
            }
        }
    }
    let (mut one, mut other) = (0, 0);
    while one < before.len() || other < after.len() {
        let at = |one: usize, other: usize| alike.get(one * wide + other).copied().unwrap_or_default();
        if !alike.is_empty() && one < before.len() && other < after.len() && before[one] == after[other] {
            lines.push((' ', before[one]));
            (one, other) = (one + 1, other + 1);
        } else if one < before.len() && (other == after.len() || at(one + 1, other) >= at(one, other + 1)) {
            lines.push(('-', before[one]));
            one += 1;
        } else {
            lines.push(('+', after[other]));
            other += 1;
        }
    }
    lines.extend(tail.iter().map(|line| (' ', *line)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: &str, after: &str, expected: &str) {
        let change = Change { before: before.to_owned(), after: after.to_owned(), config: Config::default() };
        assert_eq!(change.lines().join("\n"), expected);
    }

    #[test]
    fn m8_a_difference_is_what_changed_and_what_is_around_it() {
        check("a\nb\nc\n", "a\nb\nc\n", "");
        check("", "a\nb\n", "+ a\n+ b");
        check("a\nb\nc\nd\ne\n", "a\nb\nC\nd\ne\n", "  a\n  b\n- c\n+ C\n  d\n  e");
        let before: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        let after = before.join("\n").replace("\n3\n", "\n3\nnew\n").replace("\n15\n", "\n");
        check(&before.join("\n"), &after, "  2\n  3\n+ new\n  4\n  5\n  ...\n  13\n  14\n- 15\n  16\n  17");
    }

    #[test]
    fn m8_a_difference_of_two_long_files_is_all_of_both() {
        let before: Vec<String> = (0..3000).map(|number| format!("a{number}")).collect();
        let after: Vec<String> = (0..3000).map(|number| format!("b{number}")).collect();
        let change = Change { before: before.join("\n"), after: after.join("\n"), config: Config::default() };
        assert_eq!(change.lines().len(), 6000);
    }
}
