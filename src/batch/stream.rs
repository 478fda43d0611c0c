//! The state of a stream in a batcher: its bytes in flight, and whether it should have its own lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::model::{LabelSet, Reason};

/// Identifies a stream of a [`Batcher`](super::Batcher).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId {
    pub(super) index: usize,
    /// Distinguishes it from an earlier stream with the same index.
    pub(super) age: u32,
}

/// Counts bytes that are in flight or about to be sent. One thread adds, for each entry. Other threads subtract, for
/// each push.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    taken: usize,
    given_back: Arc<AtomicUsize>,
}

impl InFlight {
    pub fn take(&mut self, bytes: usize) {
        self.taken = self.taken.wrapping_add(bytes);
    }

    pub fn bytes(&self) -> usize {
        // `Acquire`: writes that another thread made before it gave bytes back (a refusal) are visible here.
        self.taken.wrapping_sub(self.given_back.load(Ordering::Acquire))
    }
}

/// Identifies a stream for the sender of its batches, while any batch of the stream exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(usize);

/// The counters of a stream that its pushes share with the batcher.
#[derive(Debug)]
pub(super) struct Window {
    stream: Arc<AtomicUsize>,
    /// The counters of the tenant and of the whole batcher.
    tenant: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
    /// Pushes of the stream that are sent apart from their lane because Loki refuses it for now.
    apart: AtomicUsize,
    /// Bytes of memory of such pushes, over all streams.
    held_apart: Arc<AtomicUsize>,
    /// Loki has stored entries of the stream.
    proven: AtomicBool,
}

impl Window {
    pub fn new(stream: &InFlight, tenant: &InFlight, all: &InFlight, held_apart: &Arc<AtomicUsize>) -> Self {
        let [stream, tenant, all] = [stream, tenant, all].map(|in_flight| in_flight.given_back.clone());
        Self {
            stream,
            tenant,
            all,
            apart: AtomicUsize::new(0),
            held_apart: held_apart.clone(),
            proven: AtomicBool::new(false),
        }
    }

    pub fn key(self: &Arc<Self>) -> StreamKey {
        StreamKey(Arc::as_ptr(self).addr())
    }

    /// Gives back `bytes` of entries and `cost` bytes of other memory.
    pub fn give_back(&self, bytes: usize, cost: usize) {
        self.stream.fetch_add(bytes, Ordering::Release);
        for sum in [&self.tenant, &self.all] {
            sum.fetch_add(bytes + cost, Ordering::Release);
        }
    }

    /// A push with `bytes` of the stream is sent apart from its lane from now on. It takes `held` bytes of memory.
    pub fn set_apart(&self, bytes: usize, held: usize) {
        self.apart.fetch_add(1, Ordering::Relaxed);
        self.held_apart.fetch_add(held, Ordering::Relaxed);
        for sum in [&self.tenant, &self.all] {
            sum.fetch_add(bytes, Ordering::Release);
        }
    }

    /// The memory of a push that is sent apart changes from `before` to `now` bytes.
    pub fn hold_apart(&self, before: usize, now: usize) {
        self.held_apart.fetch_add(now, Ordering::Relaxed);
        self.held_apart.fetch_sub(before, Ordering::Relaxed);
    }

    pub fn split_apart(&self) {
        self.apart.fetch_add(1, Ordering::Relaxed);
    }

    pub fn give_back_apart(&self, bytes: usize, held: usize) {
        self.held_apart.fetch_sub(held, Ordering::Relaxed);
        self.apart.fetch_sub(1, Ordering::Relaxed);
        self.stream.fetch_add(bytes, Ordering::Release);
    }

    pub fn is_apart(&self) -> bool {
        self.apart.load(Ordering::Relaxed) > 0
    }

    pub fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    pub fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub(super) struct StreamState {
    pub labels: LabelSet,
    /// The labels as text for Loki, including external labels.
    pub wire: Arc<str>,
    /// The number of labels, as Loki counts them.
    pub label_count: usize,
    pub age: u32,
    pub tenant: usize,
    /// The index of its lane in the batcher.
    pub lane: usize,
    /// The stream leads that lane.
    pub leads: bool,
    /// Its place in an open batch: the batch's identifier and the index of the stream in it.
    pub at: (u64, usize),
    pub in_flight: InFlight,
    pub window: Arc<Window>,
    /// The window: bytes that may be in flight.
    pub limit: usize,
    /// The window is that of received lines, which a crash does not send again.
    pub is_wide: bool,
    /// Encoded bytes in the last batch. The next batch reserves as much.
    pub room: usize,
    pub rate: RateEstimate,
    /// The newest timestamp of its entries, in Unix nanoseconds.
    pub newest: i64,
    /// Approximate bytes of memory.
    pub cost: usize,
    /// Why Loki never accepts the stream. None: it may.
    pub refused: Option<Reason>,
    pub touched: Instant,
}

/// Estimates the rate of a stream with a leaky bucket that drains at `window` bytes per second. A stream whose bucket
/// overflows gets its own lane.
///
/// Loki's own limits are higher by default (3 MB/s) but may be set lower. For a stream that is catching up, the bytes
/// sent before this run are unknown.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateEstimate {
    level: f64,
    /// Recent bytes, with exponential decay; see [`HALVES`].
    recent: [f64; 2],
    at: Instant,
}

impl RateEstimate {
    pub fn new(now: Instant) -> Self {
        Self { level: 0.0, recent: [0.0; 2], at: now }
    }

    pub fn add(&mut self, bytes: usize) {
        self.level += bytes as f64;
        self.recent.iter_mut().for_each(|recent| *recent += bytes as f64);
    }

    /// Gives the stream its own lane for a while.
    pub fn set_hot(&mut self, window: usize) {
        self.level = self.level.max(window as f64 * 8.0);
    }

    pub fn cool(&mut self, now: Instant, window: usize) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        // After ten silent seconds the bucket is empty, whatever was sent.
        self.level = (self.level.min(window as f64 * 10.0) - passed * window as f64).max(0.0);
        self.recent = forgotten(self.recent, passed);
        self.at = now;
    }

    /// Whether its rate is lower than the other's by the factor `times`, over both periods of [`HALVES`].
    pub fn is_less(&self, times: f64, than: &RateEstimate) -> bool {
        let at = self.at.max(than.at);
        let recent = |rate: &RateEstimate| forgotten(rate.recent, (at - rate.at).as_secs_f64());
        recent(self).into_iter().zip(recent(than)).all(|(own, other)| own * times <= other)
    }

    /// Whether the rate of the last seconds is low, even if the bucket is full.
    pub fn is_little(&self, window: usize) -> bool {
        self.recent[0] < window as f64 / 8.0
    }

    pub fn is_hot(&self, window: usize) -> bool {
        self.level > window as f64
    }

    pub fn is_cold(&self, window: usize) -> bool {
        self.level < window as f64 / 4.0
    }
}

/// Half-lives in seconds: one as long as Loki's burst limit looks back by default, and one as short as it does with a
/// low limit.
const HALVES: [f64; 2] = [5.0, 1.0];

fn forgotten(recent: [f64; 2], passed: f64) -> [f64; 2] {
    let [long, short] = recent;
    [long * (-passed / HALVES[0]).exp2(), short * (-passed / HALVES[1]).exp2()]
}

/// The window, in bytes, that a stream needs so that the round trip does not slow it down: three times what is written
/// in one round trip. A batch waits for the previous one, and a stream that has fallen behind must catch up.
pub(super) fn needed(rate: f64, round_trip: Duration) -> usize {
    (3.0 * rate * round_trip.as_secs_f64()) as usize
}
