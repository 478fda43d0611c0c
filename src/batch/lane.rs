//! What must arrive in order goes one batch after the other: a lane.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Batch;
use super::bounds::Bounds;
use super::builder::BatchBuilder;
use super::encoder::Encoder;
use super::lane_stats::{InFlightGuard, LaneStats};

/// Batches of a lane that may be on their way or waiting: one goes out while the next is filled.
const MAX_OUTSTANDING: usize = 2;

#[derive(Debug)]
pub(super) struct LaneState {
    pub tenant: Option<Arc<str>>,
    /// For those who take the batches; never used again.
    pub number: u64,
    /// Which stream leads it, if it is not shared.
    pub led_by: Option<usize>,
    /// Those that may follow the leader: each that does, and some that did.
    pub followers: BTreeSet<usize>,
    /// Logs whose other streams may follow it.
    pub logs: BTreeSet<u64>,
    /// Where its leader is in the open batch.
    pub leader: Option<usize>,
    pub open: BatchBuilder,
    /// Names the open batch.
    pub batch: u64,
    opened: Option<Instant>,
    /// Someone cannot go on before this batch has been answered.
    urgent: bool,
    full: VecDeque<Batch>,
    stats: Arc<LaneStats>,
    bounds: Arc<Bounds>,
}

impl LaneState {
    /// `batch` names the first batch.
    pub fn new(tenant: Option<Arc<str>>, bounds: Arc<Bounds>, number: u64, batch: u64) -> Self {
        Self {
            tenant,
            number,
            led_by: None,
            followers: BTreeSet::new(),
            logs: BTreeSet::new(),
            leader: None,
            open: BatchBuilder::default(),
            batch,
            opened: None,
            urgent: false,
            full: VecDeque::new(),
            stats: Arc::default(),
            bounds,
        }
    }

    pub fn is_full(&self, batchsize: usize) -> bool {
        let waiting = self.full.len() + self.outstanding();
        waiting >= MAX_OUTSTANDING && (!self.full.is_empty() || self.open.bytes() >= batchsize)
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.full.is_empty()
    }

    pub fn outstanding(&self) -> usize {
        self.stats.outstanding()
    }

    /// Whether Loki has ever refused entries that came this way.
    pub fn was_refused(&self) -> bool {
        self.stats.was_refused()
    }

    pub fn round_trip(&self) -> Duration {
        self.stats.round_trip()
    }

    /// What comes later is in no hurry because of this.
    pub fn hurry(&mut self) {
        self.urgent |= !self.open.is_empty();
    }

    pub fn open_at(&mut self, now: Instant) {
        self.opened.get_or_insert(now);
    }

    /// `batch` names the next one.
    pub fn cut(&mut self, batch: u64, encoder: &mut Encoder) {
        let guard = InFlightGuard::new(self.stats.clone());
        let of = (self.tenant.clone(), self.number);
        self.full.push_back(self.open.seal(self.leader.take(), of, guard, self.bounds.clone(), encoder));
        self.batch = batch;
        self.opened = None;
        self.urgent = false;
    }

    /// Whether the open batch should go, although it is not full.
    pub fn is_due(&self, now: Instant, wait: Duration, flush: bool) -> bool {
        let due = self.urgent || flush || self.opened.is_some_and(|opened| now >= opened + wait);
        due && self.full.is_empty() && !self.open.is_empty() && self.has_room()
    }

    /// When the open batch comes of age.
    pub fn due(&self, wait: Duration) -> Option<Instant> {
        self.opened.filter(|_| self.has_room()).map(|opened| opened + wait)
    }

    pub fn next(&mut self) -> Option<Batch> {
        if !self.has_room() {
            return None;
        }
        let mut batch = self.full.pop_front()?;
        batch.guard.count();
        Some(batch)
    }

    fn has_room(&self) -> bool {
        self.outstanding() < MAX_OUTSTANDING
    }
}
