//! How many lines two texts differ by, to the line what git says.
//!
//! What they have in common at their beginning and end is cut off first; mostly nothing is left on one side then, or
//! nothing in common, and the figures are plain. Else the shortest way from one to the other is measured, after what
//! git leaves out of account was left out; where the way is long git takes shortcuts, and only then xdiff is asked,
//! which libgit2 shares with git.

use std::collections::HashMap;
use std::mem;

use memchr::{memchr, memchr_iter, memrchr};

/// Counts the lines that were added and removed.
pub(super) fn count_lines(old: &[u8], new: &[u8]) -> (u32, u32) {
    let (head, tail) = common_ends(old, new);
    let middles = [&old[head..old.len() - tail], &new[head..new.len() - tail]];
    let all = || (lines(middles[1]).count() as u32, lines(middles[0]).count() as u32);
    if middles[0].is_empty() || middles[1].is_empty() {
        return all();
    }
    if let Some(figures) = count_few_edits(middles, [&old[..head], &old[old.len() - tail..]]) {
        return figures;
    }
    // A long way from one to the other is cut short in git's own ways.
    let mut options = git2::DiffOptions::new();
    options.force_text(true).context_lines(0);
    let patch = git2::Patch::from_buffers(old, None, new, None, Some(&mut options));
    match patch.and_then(|patch| patch.line_stats()) {
        Ok((_, added, removed)) => (added as u32, removed as u32),
        Err(_) => all(),
    }
}

/// Counts the lines that differ between two texts that both stand between the same ends; nothing when there are many.
///
/// The ends matter because git, before it compares, drops lines that are frequent in the other text and stand among
/// lines that are not in it at all; of the latter there must be [`CROWD`] for that.
fn count_few_edits(texts: [&[u8]; 2], ends: [&[u8]; 2]) -> Option<(u32, u32)> {
    let mut classes = Classes::default();
    let middle = [0, 1].map(|side| lines(texts[side]).map(|line| classes.see(line, &[side])).collect::<Vec<u32>>());
    let alone = [0, 1].map(|side| middle[side].iter().filter(|&&line| classes.count(line, 1 - side) == 0).count());
    let common = if alone[0] == middle[0].len() {
        0
    } else if alone[0].max(alone[1]) < CROWD {
        common(&middle[0], &middle[1])?
    } else {
        let around = ends.into_iter().flat_map(lines).map(|line| classes.see(line, &[0, 1])).count();
        let old = classes.without_frequent(&middle[0], 1, rough_root(middle[0].len() + around));
        let new = classes.without_frequent(&middle[1], 0, rough_root(middle[1].len() + around));
        common(&old, &new)?
    };
    Some(((middle[1].len() - common) as u32, (middle[0].len() - common) as u32))
}

/// How many lines that are not in the other text it takes for git to drop a frequent one between them.
const CROWD: usize = 7;

/// Counts the lines that stay; nothing when many do not.
fn common(old: &[u32], new: &[u32]) -> Option<usize> {
    distance(old, new).map(|edits| (old.len() + new.len() - edits) / 2)
}

/// How many edits are counted before git would begin to take shortcuts.
const FEW: usize = 200;

/// The different lines of two texts, by number, and how often each is in either.
#[derive(Default)]
struct Classes<'a> {
    numbers: HashMap<&'a [u8], u32, foldhash::fast::RandomState>,
    counts: Vec<[usize; 2]>,
}

/// How well a line can be matched in the other text.
#[derive(Clone, Copy, PartialEq)]
enum Match {
    Never,
    Sometimes,
    Often,
}

impl<'a> Classes<'a> {
    fn see(&mut self, line: &'a [u8], sides: &[usize]) -> u32 {
        let next = self.counts.len() as u32;
        let number = *self.numbers.entry(line).or_insert(next);
        if number == next {
            self.counts.push([0; 2]);
        }
        for &side in sides {
            self.counts[number as usize][side] += 1;
        }
        number
    }

    fn count(&self, line: u32, side: usize) -> usize {
        self.counts[line as usize][side]
    }

    /// Drops the lines that git would not try to match: `many` is how many make a line frequent.
    fn without_frequent(&self, middle: &[u32], other: usize, many: usize) -> Vec<u32> {
        let found = |&line: &u32| match self.counts[line as usize][other] {
            0 => Match::Never,
            count if count >= many => Match::Often,
            _ => Match::Sometimes,
        };
        let matches: Vec<Match> = middle.iter().map(found).collect();
        let is_kept = |at: usize| match matches[at] {
            Match::Never => false,
            Match::Sometimes => true,
            Match::Often => is_tried(&matches, at),
        };
        (0..middle.len()).filter(|&at| is_kept(at)).map(|at| middle[at]).collect()
    }
}

/// Tells whether git tries to match a frequent line, from what stands around it.
fn is_tried(matches: &[Match], at: usize) -> bool {
    let run = |side: &mut dyn Iterator<Item = &Match>| {
        let run = side.take(WINDOW).take_while(|&&found| found != Match::Sometimes);
        run.fold((0, 0), |(never, often), &found| match found {
            Match::Never => (never + 1, often),
            _ => (never, often + 1),
        })
    };
    let (before, often_before) = run(&mut matches[..at].iter().rev());
    let (after, often_after) = run(&mut matches[at + 1..].iter());
    before == 0 || after == 0 || before + after <= 3 * (2 + often_before + often_after)
}

/// How far git looks around a frequent line.
const WINDOW: usize = 100;

/// Gives a power of two near the square root, as git does to tell what is frequent.
fn rough_root(number: usize) -> usize {
    1 << (usize::BITS - number.leading_zeros()).div_ceil(2).min(10)
}

/// Gives the least number of lines to take out and put in; nothing when there are many (Myers' greedy way, without the
/// way back).
fn distance(old: &[u32], new: &[u32]) -> Option<usize> {
    // A diagonal is what a place in `new` is ahead of one in `old`; for each the furthest place in `old` is kept.
    let mut reach = [0_usize; 2 * FEW + 3];
    let middle = FEW + 1;
    for edits in 0..=FEW {
        for diagonal in (middle - edits..=middle + edits).step_by(2) {
            let left = diagonal > middle - edits;
            let right = diagonal < middle + edits;
            let mut x = match (left, right) {
                _ if edits == 0 => 0,
                (true, false) => reach[diagonal - 1],
                (true, true) if reach[diagonal - 1] > reach[diagonal + 1] => reach[diagonal - 1],
                _ => reach[diagonal + 1] + 1,
            };
            let mut y = x + diagonal - middle;
            while x < old.len() && y < new.len() && old[x] == new[y] {
                (x, y) = (x + 1, y + 1);
            }
            if x >= old.len() && y >= new.len() {
                return Some(edits);
            }
            reach[diagonal] = x;
        }
    }
    None
}

/// Tells how many bytes of lines are the same at the beginning and at the end.
fn common_ends(old: &[u8], new: &[u8]) -> (usize, usize) {
    let head = common_head(old, new);
    let head = memrchr(b'\n', &old[..head]).map_or(0, |end| end + 1);
    let (old, new) = (&old[head..], &new[head..]);
    let tail = common_tail(old, new);
    // The tail begins where a line does, on both sides.
    let begins = |text: &[u8]| text.len() == tail || text[text.len() - tail - 1] == b'\n';
    match begins(old) && begins(new) {
        true => (head, tail),
        false => (head, memchr(b'\n', &old[old.len() - tail..]).map_or(0, |end| tail - end - 1)),
    }
}

// Whole blocks first: they are compared many bytes at a time.
fn common_head(old: &[u8], new: &[u8]) -> usize {
    let blocks = old.chunks_exact(BLOCK).zip(new.chunks_exact(BLOCK));
    let start = blocks.take_while(|(old, new)| old == new).count() * BLOCK;
    start + old[start..].iter().zip(&new[start..]).take_while(|(old, new)| old == new).count()
}

fn common_tail(old: &[u8], new: &[u8]) -> usize {
    let blocks = old.rchunks_exact(BLOCK).zip(new.rchunks_exact(BLOCK));
    let end = blocks.take_while(|(old, new)| old == new).count() * BLOCK;
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    end + old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count()
}

const BLOCK: usize = 128;

/// Splits a text into lines, each with its end.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = memchr_iter(b'\n', text).map(|end| end + 1);
    let last = Some(text.len()).filter(|_| text.last().is_some_and(|&byte| byte != b'\n'));
    ends.chain(last).scan(0, |start, end| Some(&text[mem::replace(start, end)..end]))
}
