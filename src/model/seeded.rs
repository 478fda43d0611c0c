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

/// Any odd number whose bits look random.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for SeededHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// Numbers are mixed in at once: places of keys, and lengths of texts.
    #[inline]
    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number) * u128::from(FACTOR);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
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
        assert_ne!(seed.hash_one(7_u64), Seed::default().hash_one(7_u64));
    }

    /// Places in a file are multiples of eight. A map looks at the upper seven bits and at some of the lower ones.
    #[test]
    fn numbers_that_follow_each_other_are_far_apart() {
        let (seed, count) = (Seed::default(), 1 << 14);
        let hashes: Vec<u64> = (0..count).map(|n| seed.hash_one((3_u32, n * 8_u64))).collect();
        for (shift, values) in [(0, 1 << 10), (57, 1 << 7)] {
            let mut seen = vec![0; values];
            hashes.iter().for_each(|hash| seen[(hash >> shift) as usize % values] += 1);
            let (mean, most) = (count as usize / values, seen.into_iter().max().expect("some"));
            assert!(most < 4 * mean, "{most} of {mean}");
        }
    }
}
