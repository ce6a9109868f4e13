//! Findings as lines, the same in a clone and on the server.

use std::collections::BTreeSet;

use super::{Finding, Level};
use crate::text::{Untrusted, cut};

/// The most lines that findings are told in, besides the one that counts those left out.
const MOST: usize = 10;
/// The longest line.
const WIDE: usize = 200;

/// Findings as lines to be shown.
pub struct Lines<'a> {
    /// What stands above them.
    pub headline: String,
    pub findings: &'a [Finding],
    /// What to do about them all, below.
    pub cures: Vec<String>,
}

/// One finding as a line: rule, commit, what is wrong, what would be right.
pub fn of(finding: &Finding) -> String {
    let commit = match finding.commit {
        Some(id) => format!("{} “{}” ", short(&id.to_string()), Untrusted(cut_bytes(&finding.subject))),
        None => String::new(),
    };
    let level = if finding.level == Level::Block { "" } else { "warning, " };
    let line = format!("  {level}{}: {commit}{}; {}", finding.rule, finding.because, finding.cure);
    match cut(&line, WIDE) {
        whole if whole.len() == line.len() => line,
        beginning => format!("{beginning}…"),
    }
}

impl Lines<'_> {
    /// At most ten lines, and one that counts what they leave out.
    pub fn lines(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        // What could not be looked at is said once for all commits.
        let mut shown: Vec<&Finding> = self
            .findings
            .iter()
            .filter(|finding| !finding.unknown || seen.insert((finding.rule, finding.key.clone(), finding.level)))
            .collect();
        shown.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        let room = MOST - 1 - self.cures.len();
        let more = shown.len().saturating_sub(room);
        let mut lines = vec![self.headline.clone()];
        lines.extend(shown.iter().take(room).map(|finding| of(finding)));
        if more > 0 {
            lines.push(format!("  {more} more"));
        }
        lines.extend(self.cures.iter().map(|cure| format!("  {cure}")));
        lines
    }
}

fn short(id: &str) -> &str {
    &id[..10]
}

fn cut_bytes(subject: &[u8]) -> &[u8] {
    const LONGEST: usize = 60;
    match String::from_utf8_lossy(subject).char_indices().nth(LONGEST) {
        Some((at, _)) if at <= subject.len() => &subject[..at],
        _ => subject,
    }
}
