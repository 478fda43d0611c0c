//! What functions of a template have beyond their arguments: the time, chance, and compiled expressions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::super::golayout::Zone;
use crate::goregex::Regex;
use crate::model::Origin;

#[derive(Debug)]
pub(super) struct World {
    pub local: Zone,
    now: AtomicI64,
    seed: AtomicU64,
    regexes: Mutex<HashMap<String, Regex>>,
}

impl World {
    /// Expressions may come from a line: no more than these are kept.
    const REGEXES: usize = 64;

    /// Chance is the place of the line and now is when it was read, so that a line that is sent again is the same.
    pub fn begin(&self, origin: Origin, now: i64) {
        self.now.store(now, Ordering::Relaxed);
        self.seed.store(origin.file.rotate_left(32) ^ origin.offset, Ordering::Relaxed);
    }

    /// Nanoseconds since 1970.
    pub fn now(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    pub fn random(&self) -> u64 {
        // SplitMix64.
        let seed = self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn regex(&self, pattern: &str) -> Result<Regex, String> {
        let mut regexes = self.regexes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = regexes.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = Regex::new(pattern).map_err(|e| e.to_string())?;
        if regexes.len() >= Self::REGEXES {
            regexes.clear();
        }
        regexes.insert(pattern.into(), regex.clone());
        Ok(regex)
    }
}

impl Default for World {
    fn default() -> Self {
        Self { local: Zone::local(), now: AtomicI64::new(0), seed: AtomicU64::new(0), regexes: Mutex::default() }
    }
}
