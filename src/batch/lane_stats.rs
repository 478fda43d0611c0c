//! Results of a lane's batches, which arrive after the batches were handed out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The longest round trip that counts. A longer one means trouble, and more bytes in flight would not help.
const LONGEST: Duration = Duration::from_secs(2);

/// Shared by a lane and its batches.
#[derive(Debug, Default)]
pub(super) struct LaneStats {
    outstanding: AtomicUsize,
    /// A moving average, in microseconds.
    round_trip: AtomicU64,
    /// Loki has refused entries.
    refused: AtomicBool,
}

/// Ties a batch to its lane: counts the batch as outstanding from when it is handed out until it is dropped.
#[derive(Debug)]
pub(super) struct InFlightGuard {
    stats: Arc<LaneStats>,
    counted: bool,
}

impl LaneStats {
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    pub fn round_trip(&self) -> Duration {
        Duration::from_micros(self.round_trip.load(Ordering::Relaxed))
    }

    pub fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

impl InFlightGuard {
    pub fn new(stats: Arc<LaneStats>) -> Self {
        Self { stats, counted: false }
    }

    pub fn count(&mut self) {
        self.counted = true;
        self.stats.outstanding.fetch_add(1, Ordering::Relaxed);
    }

    pub fn another(&self) -> Self {
        let mut other = Self { stats: self.stats.clone(), counted: false };
        if self.counted {
            other.count();
        }
        other
    }

    /// The lane no longer waits for this batch.
    pub fn leave(&mut self) {
        if std::mem::take(&mut self.counted) {
            self.stats.outstanding.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub fn refused(&self) {
        self.stats.refused.store(true, Ordering::Relaxed);
    }

    pub fn measured(&self, round_trip: Duration) {
        let new = round_trip.min(LONGEST).as_micros() as u64;
        let old = self.stats.round_trip.load(Ordering::Relaxed);
        let smooth = if old == 0 { new } else { (3 * old + new) / 4 };
        self.stats.round_trip.store(smooth, Ordering::Relaxed);
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.leave();
    }
}
