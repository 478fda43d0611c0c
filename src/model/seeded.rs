//! A hash for maps whose keys come from lines, and that are asked for each line. For such keys it is several times as fast as
//! the default of [`HashMap`].
//!
//! The seed is random, so that nobody can choose keys that have one hash. It is weaker than the default: use it for maps of
//! bounded size.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// See the [module](self).
pub type SeededMap<K, V> = HashMap<K, V, Seed>;

#[derive(Clone, Debug)]
pub struct Seed(u64);

impl Default for Seed {
    fn default() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }
}

impl BuildHasher for Seed {
    type Hasher = SeededHasher;

    fn build_hasher(&self) -> SeededHasher {
        SeededHasher(self.0)
    }
}

/// The hash of what was written before is the seed for the next part.
#[derive(Debug)]
pub struct SeededHasher(u64);

impl Hasher for SeededHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_key_counts_and_each_map_has_a_seed_of_its_own() {
        let seed = Seed::default();
        assert_eq!(seed.hash_one((1_u32, "ab")), seed.hash_one((1_u32, "ab")));
        for other in [(2_u32, "ab"), (1, "ac"), (1, "a"), (1, "")] {
            assert_ne!(seed.hash_one((1_u32, "ab")), seed.hash_one(other), "{other:?}");
        }
        assert_ne!(seed.hash_one("a"), Seed::default().hash_one("a"));
    }
}
