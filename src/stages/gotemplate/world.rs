//! What functions of a template have beyond their arguments: the time, chance, and compiled expressions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::super::Clock;
use super::super::golayout::Zone;
use crate::goregex::Regex;
use crate::model::Origin;

pub(super) struct World {
    pub clock: Clock,
    pub local: Zone,
    seed: AtomicU64,
    regexes: Mutex<HashMap<String, Regex>>,
}

impl World {
    /// Expressions may come from a line: no more than these are kept.
    const REGEXES: usize = 64;

    pub fn new(clock: Clock) -> Self {
        Self { clock, local: Zone::local(), seed: AtomicU64::new(0), regexes: Mutex::default() }
    }

    /// Chance is the place of the line, so that a line that is sent again is the same.
    pub fn begin(&self, origin: Origin) {
        self.seed.store(origin.log.rotate_left(32) ^ origin.offset, Ordering::Relaxed);
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
