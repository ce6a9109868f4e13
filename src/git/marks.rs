//! Ids that were met, each with a mark, in little memory.
//!
//! A walk of a whole history remembers every commit. A table that doubles is up to half empty afterwards and is there
//! one and a half times while it grows. So there are many small tables here, of which each grows by a quarter in its own
//! time, and a mark lies within the id it belongs to: a million take some 25 MB, also while they are added.

use super::Oid;

/// Ids with a mark of 1, 2 or 3.
///
/// An id is known by its first 126 bits, and two that agree in those are not to be had.
pub(super) struct Marks {
    /// One while there are few, then one for each first byte.
    parts: Vec<Part>,
    len: usize,
}

/// A table in which an id lies at its place or, where others were there first, in the next free one behind it.
#[derive(Clone, Default)]
struct Part {
    /// 0 where nothing is.
    slots: Vec<u128>,
    used: usize,
}

/// Where the mark lies within an id.
const MARK: u128 = 0b11;
/// How many there are when they are divided, and into how many parts.
const FEW: usize = 4096;
const PARTS: usize = 256;

impl Default for Marks {
    fn default() -> Marks {
        Marks { parts: vec![Part::default()], len: 0 }
    }
}

impl Marks {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, id: Oid) -> Option<u8> {
        let key = key(id);
        let part = &self.parts[self.part(key)];
        // A part has a free slot once it has any.
        let slot = part.slots.get(part.place(key)?)?;
        Some((slot & MARK) as u8).filter(|mark| *mark > 0)
    }

    /// Gives an id a mark, in place of the one it had.
    pub(super) fn set(&mut self, id: Oid, mark: u8) {
        debug_assert!((1..=3).contains(&mark), "a mark has two bits, and none is no mark");
        if self.len == FEW && self.parts.len() == 1 {
            self.divide();
        }
        let key = key(id);
        let part = self.part(key);
        self.len += usize::from(self.parts[part].put(key | u128::from(mark)));
    }

    fn part(&self, key: u128) -> usize {
        // There is one, or one for each first byte.
        (key >> 120) as usize * self.parts.len() / PARTS
    }

    fn divide(&mut self) {
        let whole = std::mem::replace(&mut self.parts, vec![Part::default(); PARTS]);
        for slot in whole.into_iter().flat_map(|part| part.slots).filter(|slot| *slot != 0) {
            let part = self.part(slot);
            self.parts[part].put(slot);
        }
    }
}

impl Part {
    /// Finds where an id lies or would lie; nothing while there is no room at all.
    fn place(&self, key: u128) -> Option<usize> {
        let room = self.slots.len();
        // Multiplied, so that ids somebody searched for do no great harm.
        let spread = ((key >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut at = ((u128::from(spread) * room as u128) >> 64) as usize;
        loop {
            let slot = *self.slots.get(at)?;
            if slot == 0 || slot & !MARK == key & !MARK {
                return Some(at);
            }
            at = if at + 1 == room { 0 } else { at + 1 };
        }
    }

    /// Puts an id with its mark in; tells whether it was not there before.
    fn put(&mut self, marked: u128) -> bool {
        // One slot in five stays free, lest ids lie far behind their places.
        if (self.used + 1) * 5 > self.slots.len() * 4 {
            let room = self.slots.len() + self.slots.len() / 4 + 8;
            let before = std::mem::replace(&mut self.slots, vec![0; room]);
            before.into_iter().filter(|slot| *slot != 0).for_each(|slot| self.lay(slot));
        }
        let is_new = self.place(marked).is_some_and(|at| self.slots[at] == 0);
        self.lay(marked);
        self.used += usize::from(is_new);
        is_new
    }

    fn lay(&mut self, marked: u128) {
        if let Some(at) = self.place(marked) {
            self.slots[at] = marked;
        }
    }
}

/// The beginning of an id, with room for its mark.
fn key(id: Oid) -> u128 {
    let start = id.as_bytes().first_chunk().expect("an id is longer than that");
    u128::from_be_bytes(*start) & !MARK
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn id(number: u64) -> Oid {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).to_be_bytes());
        bytes[8..16].copy_from_slice(&(number << 2).to_be_bytes());
        Oid::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn an_id_has_the_mark_it_was_given_last() {
        let (mut marks, mut expected) = (Marks::default(), HashMap::new());
        for round in 0..60_000_u64 {
            let number = round * 7919 % 20_011;
            let mark = (round % 3 + 1) as u8;
            marks.set(id(number), mark);
            expected.insert(number, mark);
            if round % 997 == 0 {
                assert_eq!(marks.len(), expected.len());
                (0..20_050).for_each(|number| assert_eq!(marks.get(id(number)), expected.get(&number).copied()));
            }
        }
        assert_eq!(marks.len(), 20_011);
    }

    #[test]
    fn ids_that_begin_alike_are_told_apart() {
        let like = |last: u8| Oid::from_bytes(&[&[0; 15][..], &[last << 2], &[9; 4]].concat()).unwrap();
        let mut marks = Marks::default();
        (0..60).for_each(|last| marks.set(like(last), last % 3 + 1));
        (0..60).for_each(|last| assert_eq!(marks.get(like(last)), Some(last % 3 + 1)));
        assert_eq!((marks.len(), marks.get(like(60))), (60, None));
    }

    #[test]
    fn q5_a_million_take_25_mb_also_while_they_are_added() {
        let mut marks = Marks::default();
        let mut most = 0;
        for number in 0..1_000_000 {
            marks.set(id(number), 2);
            if number % 10_000 == 0 || number > 999_990 {
                let slots: usize = marks.parts.iter().map(|part| part.slots.capacity()).sum();
                let largest = marks.parts.iter().map(|part| part.slots.capacity()).max().unwrap();
                most = most.max((slots + largest) * size_of::<u128>());
            }
        }
        assert!(most <= 25_600_000, "{most}");
    }
}
