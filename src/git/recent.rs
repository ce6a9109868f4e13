//! What was read last, within a bound.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;

/// What was read last, by its key: what a commit changed from is mostly what an older one changed to.
///
/// There are two generations; when the younger is full it becomes the older, and what of the older was not asked for
/// since is forgotten.
pub(super) struct Recent<K, V> {
    young: HashMap<K, (V, usize), foldhash::fast::RandomState>,
    old: HashMap<K, (V, usize), foldhash::fast::RandomState>,
    size: usize,
    room: usize,
}

impl<K: Eq + Hash + Copy, V: Clone> Recent<K, V> {
    /// Keeps up to this many bytes in each generation.
    pub(super) fn new(room: usize) -> Recent<K, V> {
        Recent { young: HashMap::default(), old: HashMap::default(), size: 0, room }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        if let Some((value, _)) = self.young.get(key) {
            return Some(value.clone());
        }
        let (value, size) = self.old.remove(key)?;
        self.put(*key, value.clone(), size);
        Some(value)
    }

    pub(super) fn put(&mut self, key: K, value: V, size: usize) {
        self.size += size + 128;
        self.young.insert(key, (value, size));
        if self.size > self.room {
            mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
            self.size = 0;
        }
    }
}
