//! Shared state of template functions: time, random seed, compiled expressions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::super::golayout::Zone;
use crate::goregex::Regex;
use crate::model::Origin;

#[derive(Debug)]
pub(super) struct World {
    pub local: Zone,
    now: AtomicI64,
    seed: AtomicU64,
    /// The remaining part of [`World::WORK`].
    work: AtomicUsize,
    /// The length of the longest text so far.
    longest: AtomicUsize,
    regexes: Mutex<HashMap<String, Regex>>,
}

impl World {
    /// The most expressions that are cached. Expressions may come from lines.
    const REGEXES: usize = 64;

    /// The most work for one line, in units of a few nanoseconds. A template that needs more fails. Work is counted,
    /// not timed, so that a line that is sent again gives the same result.
    const WORK: usize = 16 << 20;

    /// The cost of a loop iteration or a nested template, and of compiling an expression.
    const TURN: usize = 100;
    const COMPILE: usize = 1 << 17;
    const LONG_PATTERN: usize = 256;

    /// Starts a line. The seed is the place of the line and `now` is its read time, so a line that is sent again is the
    /// same.
    pub fn begin(&self, origin: Origin, now: i64) {
        self.work.store(Self::WORK, Ordering::Relaxed);
        self.longest.store(0, Ordering::Relaxed);
        self.now.store(now, Ordering::Relaxed);
        self.seed.store(origin.file.rotate_left(32) ^ origin.offset, Ordering::Relaxed);
    }

    pub fn spend(&self, units: usize) -> Result<(), String> {
        // Only one thread runs a template at a time.
        match self.work.load(Ordering::Relaxed).checked_sub(units) {
            Some(left) => {
                self.work.store(left, Ordering::Relaxed);
                Ok(())
            }
            None => Err("this goes on for too long".into()),
        }
    }

    /// Counts one loop iteration. Work done by the engine itself is not visible, so the longest text stands for it.
    pub fn turn(&self) -> Result<(), String> {
        self.spend(Self::TURN + self.longest.load(Ordering::Relaxed) / 256)
    }

    pub fn saw(&self, text: &str) {
        self.longest.fetch_max(text.len(), Ordering::Relaxed);
    }

    /// Nanoseconds since the Unix epoch.
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

    /// The compiled expression, to be matched with `text`.
    pub fn regex(&self, pattern: &str, text: &str) -> Result<Regex, String> {
        // Both may come from a line. Matching costs up to the product of both lengths.
        if pattern.len() > Self::LONG_PATTERN {
            self.spend(pattern.len().saturating_mul(text.len()) / 64)?;
        }
        let mut regexes = self.regexes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = regexes.get(pattern) {
            return Ok(regex.clone());
        }
        self.spend(Self::COMPILE)?;
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
        Self {
            local: Zone::local(),
            now: AtomicI64::new(0),
            seed: AtomicU64::new(0),
            work: AtomicUsize::new(0),
            longest: AtomicUsize::new(0),
            regexes: Mutex::default(),
        }
    }
}
