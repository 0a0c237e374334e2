//! Hash tables that nobody outside can fill with collisions, and that are the same in every run.

use std::{
    collections::HashMap,
    hash::{BuildHasher, DefaultHasher, Hasher},
};

/// A table that is never iterated where the order could be seen.
pub(super) type Table<K, V> = HashMap<K, V, Seeded>;

/// Makes hashers that begin with a machine's seed.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Seeded(pub(super) u64);

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
    fn hashes_depend_on_the_seed_and_on_nothing_else() {
        let hash = |seed| Seeded(seed).hash_one("a key");
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }
}
