//! Tables that are found things in at the same cost however large they are, and that give the same
//! run for the same seed.

use std::{
    collections::HashMap,
    hash::{BuildHasher, DefaultHasher, Hash, Hasher as _},
};

/// A hash table that is only asked for one key at a time: an iteration would follow the order of the
/// hashes, and outputs must not depend on that.
#[derive(Clone, Debug)]
pub(super) struct Table<K, V>(HashMap<K, V, Seeded>);

impl<K: Eq + Hash, V> Table<K, V> {
    /// A table without entries, with hashes that nobody can foresee who does not know `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self(HashMap::with_hasher(Seeded(seed)))
    }

    /// One with these entries; of two under the same key the later one.
    pub(super) fn of(seed: u64, entries: impl Iterator<Item = (K, V)>) -> Self {
        let mut table = Self::new(seed);
        // As many as there are, and not twice as many again.
        table.0.reserve(entries.size_hint().0);
        table.0.extend(entries);
        table
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        self.0.insert(key, value);
    }
}

/// SipHash under a seed: who may choose the keys can still not choose the hashes.
#[derive(Clone, Copy, Debug)]
struct Seeded(u64);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_key_is_found_and_no_other() {
        let mut table = Table::of(7, [(1, 'a'), (2, 'b'), (1, 'c')].into_iter());
        assert_eq!(table.get(&1), Some(&'c'));
        table.insert(2, 'd');
        assert_eq!(table.get(&2), Some(&'d'));
        assert_eq!(table.get(&3), None);
    }

    #[test]
    fn hashes_depend_on_the_seed_and_on_nothing_else() {
        let hash = |seed| Seeded(seed).hash_one("a key");
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }
}
