//! A lane: batches that must arrive in order, and so are sent one after the other.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Batch;
use super::bounds::Bounds;
use super::builder::BatchBuilder;
use super::encoder::Encoder;
use super::lane_stats::{InFlightGuard, LaneStats};

/// The most batches of a lane that may be handed out and unfinished. One is sent while the next is filled.
const MAX_OUTSTANDING: usize = 2;

#[derive(Debug)]
pub(super) struct LaneState {
    pub tenant: Option<Arc<str>>,
    /// Identifies the lane for the sender of its batches. Never reused.
    pub number: u64,
    /// The index of the stream that leads the lane. None: the lane is shared.
    pub led_by: Option<usize>,
    /// Streams that may follow the leader: all current followers and some former ones.
    pub followers: BTreeSet<usize>,
    /// Logs whose other streams may follow the leader.
    pub logs: BTreeSet<u64>,
    /// The index of the leader in the open batch.
    pub leader: Option<usize>,
    pub open: BatchBuilder,
    /// Identifies the open batch.
    pub batch: u64,
    opened: Option<Instant>,
    /// When it has to be sent because a reader or a sender waits for the answer. None: nobody waits.
    urgent: Option<Instant>,
    full: VecDeque<Batch>,
    stats: Arc<LaneStats>,
    bounds: Arc<Bounds>,
}

impl LaneState {
    /// `batch` identifies the first batch.
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
            urgent: None,
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

    /// Whether Loki has ever refused entries sent in this lane.
    pub fn was_refused(&self) -> bool {
        self.stats.was_refused()
    }

    pub fn round_trip(&self) -> Duration {
        self.stats.round_trip()
    }

    /// Makes the open batch urgent at this time, at the latest. Later batches are not affected.
    pub fn hurry(&mut self, at: Instant) {
        if !self.open.is_empty() {
            self.urgent = Some(self.urgent.map_or(at, |urgent| urgent.min(at)));
        }
    }

    /// The open batch gets an entry of a line that was written at `since` at the earliest.
    pub fn open_at(&mut self, since: Instant) {
        self.opened = Some(self.opened.map_or(since, |opened| opened.min(since)));
    }

    /// Seals the open batch. `batch` identifies the next one.
    pub fn cut(&mut self, batch: u64, encoder: &mut Encoder) {
        let guard = InFlightGuard::new(self.stats.clone());
        let of = (self.tenant.clone(), self.number);
        self.full.push_back(self.open.seal(self.leader.take(), of, guard, self.bounds.clone(), encoder));
        self.batch = batch;
        self.opened = None;
        self.urgent = None;
    }

    /// Whether the open batch should be sent although it is not full.
    pub fn is_due(&self, now: Instant, wait: Duration, flush: bool) -> bool {
        let due = flush || self.at(wait).is_some_and(|at| now >= at);
        due && self.full.is_empty() && !self.open.is_empty() && self.has_room()
    }

    /// When the open batch reaches `batchwait` or becomes urgent. None: it is empty, or the lane may not send.
    pub fn due(&self, wait: Duration) -> Option<Instant> {
        self.at(wait).filter(|_| self.has_room())
    }

    fn at(&self, wait: Duration) -> Option<Instant> {
        let full = self.opened.map(|opened| opened + wait);
        full.into_iter().chain(self.urgent).min()
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
