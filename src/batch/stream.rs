//! What a batcher remembers of a stream: how much of it is on the way, and whether it should travel apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::model::{LabelSet, Reason};

/// Names a stream of a [`Batcher`](super::Batcher).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId {
    pub(super) index: usize,
    /// Tells it from one that had its place before.
    pub(super) age: u32,
}

/// Bytes that are sent, or about to be, and not answered. One thread takes them, for each entry; others give them back, for
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
        // What was written before it was given back (a refusal) is seen by who sees that.
        self.taken.wrapping_sub(self.given_back.load(Ordering::Acquire))
    }
}

/// Names a stream to those who send its batches, for as long as one of these exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(usize);

/// Where a push gives back what it has of a stream, and what those who send it tell the batcher of it.
#[derive(Debug)]
pub(super) struct Window {
    stream: Arc<AtomicUsize>,
    /// The same of all streams of the tenant, and of the batcher.
    tenant: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
    /// Pushes of the stream that are sent apart from their lane, because Loki refuses it for now.
    apart: AtomicUsize,
    /// Bytes of memory that such pushes of all streams take.
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

    /// So many bytes of entries, and of memory beside them.
    pub fn give_back(&self, bytes: usize, cost: usize) {
        self.stream.fetch_add(bytes, Ordering::Release);
        for sum in [&self.tenant, &self.all] {
            sum.fetch_add(bytes + cost, Ordering::Release);
        }
    }

    /// Of a push with so many bytes of the stream its lane does not wait any more; in memory it takes `held` bytes.
    pub fn set_apart(&self, bytes: usize, held: usize) {
        self.apart.fetch_add(1, Ordering::Relaxed);
        self.held_apart.fetch_add(held, Ordering::Relaxed);
        for sum in [&self.tenant, &self.all] {
            sum.fetch_add(bytes, Ordering::Release);
        }
    }

    /// A push that is set apart takes other memory than before.
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
    /// As Loki is told, with the external ones.
    pub wire: Arc<str>,
    /// As Loki counts them.
    pub label_count: usize,
    pub age: u32,
    pub tenant: usize,
    /// Which of the batcher's lanes it takes.
    pub lane: usize,
    /// That lane is its own.
    pub leads: bool,
    /// Its place in an open batch: which, and where in that.
    pub at: (u64, usize),
    pub in_flight: InFlight,
    pub window: Arc<Window>,
    /// How much may be in flight.
    pub limit: usize,
    /// Of the last batch, to make the next as large at once.
    pub room: usize,
    pub rate: RateEstimate,
    /// The youngest timestamp it was given.
    pub newest: i64,
    /// Bytes of memory that it takes, roughly.
    pub cost: usize,
    /// Why Loki can never take it.
    pub refused: Option<Reason>,
    pub touched: Instant,
}

/// How much a stream sends: a bucket that runs dry at `window` bytes a second. What overflows it travels apart.
///
/// Loki's own limits are further away (3 MB/s by default), but may be set lower, and of a stream that is catching up
/// nobody knows what it was sent before the agent began.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateEstimate {
    level: f64,
    /// Bytes of late; see [`HALVES`].
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

    /// Makes it travel apart for a while.
    pub fn set_hot(&mut self, window: usize) {
        self.level = self.level.max(window as f64 * 8.0);
    }

    pub fn cool(&mut self, now: Instant, window: usize) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        // However much it sent, after ten quiet seconds it is one of many again.
        self.level = (self.level.min(window as f64 * 10.0) - passed * window as f64).max(0.0);
        self.recent = forgotten(self.recent, passed);
        self.at = now;
    }

    /// Whether it sends so many times less than the other: in all that Loki's limits look back, and at this moment as well.
    pub fn is_less(&self, times: f64, than: &RateEstimate) -> bool {
        let at = self.at.max(than.at);
        let recent = |rate: &RateEstimate| forgotten(rate.recent, (at - rate.at).as_secs_f64());
        recent(self).into_iter().zip(recent(than)).all(|(own, other)| own * times <= other)
    }

    /// Whether it said little in the last seconds, whatever made it travel apart.
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

/// After so many seconds half of what was sent is forgotten: as long as Loki's limit for bursts looks back by default, and no
/// longer than it does where it is set low.
const HALVES: [f64; 2] = [5.0, 1.0];

fn forgotten(recent: [f64; 2], passed: f64) -> [f64; 2] {
    let [long, short] = recent;
    [long * (-passed / HALVES[0]).exp2(), short * (-passed / HALVES[1]).exp2()]
}

/// What a stream may have in flight so that a round trip does not hold it back: three times what it writes in one, since
/// a batch waits for the one before it, and a stream that has fallen behind is to catch up.
pub(super) fn needed(rate: f64, round_trip: Duration) -> usize {
    (3.0 * rate * round_trip.as_secs_f64()) as usize
}
