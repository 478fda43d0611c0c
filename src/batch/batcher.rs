//! Decides which entries go into one batch, and when a batch is full, old or urgent enough to be sent.

mod leading;
mod windows;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use slab::Slab;

use super::Batch;
use super::bounds::Bounds;
use super::encoder::Encoder;
use super::lane::LaneState;
use super::stream::{InFlight, RateEstimate, StreamId, StreamState, Window, needed};
use crate::model::{Clock, Entry, LabelMap, LabelSet, Labels, MAX_TENANT, Reason, is_valid_label_name};

/// A stream with a higher rate than this, in bytes per second, gets its own lane, whatever the window. It is far below
/// Loki's default limit per stream.
const MUCH: usize = 64 << 10;

/// A stream that is silent for this long and has nothing in flight is forgotten. It is known again with its next entry, which
/// costs a few microseconds. Its rate and its window do not matter any more by then.
const FORGET: Duration = Duration::from_secs(30);
const SWEEP: Duration = Duration::from_secs(10);

/// Approximate bytes of memory of a stream in addition to its labels, and of a push in addition to its streams. If
/// labels or tenants come from the text of lines, these can be far larger than the lines.
const STREAM_COST: usize = 640;
const BATCH_COST: usize = 4096;
const TENANT_COST: usize = 1024;
/// Bytes of memory of a lane with a leader, here and in the client that sends its pushes.
const LANE_COST: usize = 1024;

/// A stream with a high rate keeps its own lane for at least this long after its last entry, however many leaders there
/// are.
const LEADS_ON: Duration = Duration::from_secs(1);

/// How long received entries for which senders wait stay in a batch for those of other senders. Without this, each push of a
/// sender would become a push for each of its streams.
pub(super) const LINGER: Duration = Duration::from_millis(5);

/// Known streams may take this fraction (1/2) of the buffer's size, in addition to the buffer. Beyond that, streams
/// with nothing in flight are forgotten.
const KNOWN_SHARE: usize = 2;

/// Batches that Loki refuses for now may take this fraction (1/4) of the buffer's size, in addition to the buffer.
const APART_SHARE: usize = 4;

/// The part of a client's config that batching needs.
#[derive(Clone, Debug)]
pub struct Config {
    pub batchsize: usize,
    pub batchwait: Duration,
    pub tenant_id: Option<Arc<str>>,
    pub external_labels: Labels,
    pub limits: Limits,
    /// Bytes of a stream that may be sent but not yet acknowledged. The window grows if this is too little for the
    /// stream's rate.
    pub replay_window: usize,
    /// Bytes of all streams together that may be buffered or in flight.
    pub buffer: usize,
}

/// `limits_config.max_line_size`, applied to the line after the pipeline.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// In bytes. 0: no limit.
    pub max_line_size: usize,
    pub truncate: bool,
}

/// The result of adding an entry.
#[derive(Debug)]
pub enum Outcome {
    /// The entry is in a batch, in this stream.
    Batched(StreamId),
    /// Like `Batched`, and the line was cut by this many bytes.
    Truncated(StreamId, usize),
    /// The entry cannot be sent.
    Refused(Reason),
}

/// Collects the entries of one client into batches.
#[derive(Debug)]
pub struct Batcher {
    config: Config,
    clock: Clock,
    external: Vec<(String, String)>,
    /// Indices are reused, so streams also have an age and lanes a number. Streams and lanes are boxed, because at the start
    /// each log may have some, and a place that became free stays as large as it was.
    pub(super) tenants: Slab<Tenant>,
    by_tenant: HashMap<Option<Arc<str>>, usize>,
    pub(super) streams: Slab<Box<StreamState>>,
    pub(super) lanes: Slab<Box<LaneState>>,
    /// Lanes that have an open or a full batch. Each turn checks only these.
    pub(super) busy: BTreeSet<usize>,
    /// The lane in `busy` from which the search for the next batch continues.
    looked: usize,
    /// The lane that each log's other streams may follow, by log.
    pub(super) led: HashMap<u64, usize>,
    /// The stream of the last entry. Entries of one stream often follow each other.
    last: usize,
    numbers: u64,
    ages: u32,
    pub(super) buffered: InFlight,
    /// Bytes of memory of pushes that are sent apart from their lanes.
    pub(super) held_apart: Arc<AtomicUsize>,
    encoder: Encoder,
    swept: Instant,
    /// Bytes of memory of all known streams.
    pub(super) cost: usize,
    /// A sweep is due when known streams and tenants take more than this.
    sweep_at: usize,
    /// The bytes left in the window of the last entry's stream.
    pub(super) left: usize,
}

#[derive(Debug)]
pub(super) struct Tenant {
    name: Option<Arc<str>>,
    /// The lane that the tenant's streams share.
    lane: usize,
    streams: LabelMap<usize>,
    bounds: Arc<Bounds>,
    buffered: InFlight,
}

impl Batcher {
    /// If a stream's window has less room than this, the reader waits, to keep pushes few.
    pub(super) fn smallest_read(window: usize) -> usize {
        window / 2
    }

    pub fn new(config: Config, clock: Clock) -> Self {
        let external = config.external_labels.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
        Self {
            swept: clock.now(),
            cost: 0,
            sweep_at: config.buffer / KNOWN_SHARE,
            left: usize::MAX,
            config,
            clock,
            external,
            tenants: Slab::new(),
            by_tenant: HashMap::new(),
            streams: Slab::new(),
            lanes: Slab::new(),
            busy: BTreeSet::new(),
            looked: 0,
            led: HashMap::new(),
            last: 0,
            numbers: 0,
            ages: 0,
            buffered: InFlight::default(),
            held_apart: Arc::default(),
            encoder: Encoder::default(),
        }
    }

    /// Adds an entry to a batch. The batch takes its own ack; the caller still closes the entry.
    pub fn add(&mut self, entry: &mut Entry<'_>, now: Instant) -> Outcome {
        self.add_written(entry, now, now)
    }

    /// Like [`add`](Self::add), for an entry whose line was written at `since` at the earliest.
    #[inline]
    pub(super) fn add_written(&mut self, entry: &mut Entry<'_>, since: Instant, now: Instant) -> Outcome {
        let mut cut = 0;
        let limit = self.config.limits.max_line_size;
        if limit > 0 && entry.line.len() > limit {
            if !self.config.limits.truncate {
                return Outcome::Refused(Reason::LineTooLong);
            }
            cut = entry.line.len() - truncate(entry, limit);
        }
        // A tenant may be the text of a line, and is kept for long: as a key, as the name of a lane and in series.
        if entry.tenant.as_ref().is_some_and(|tenant| tenant.len() > MAX_TENANT) {
            return Outcome::Refused(Reason::Loki("tenant_too_long"));
        }
        let index = self.stream(entry, now);
        if let Some(reason) = &self.streams[index].refused {
            return Outcome::Refused(reason.clone());
        }
        let stream = &self.streams[index];
        let clock = || self.clock.unix_nanos();
        if let Some(reason) = self.tenants[stream.tenant].bounds.refuse(entry, stream.label_count, now, clock) {
            return Outcome::Refused(reason);
        }
        self.choose_lane(index, entry);
        let stream = &mut self.streams[index];
        let lane = &mut self.lanes[stream.lane];
        if !lane.open.is_empty() && lane.open.bytes() + entry.line.len() > self.config.batchsize {
            self.numbers += 1;
            lane.cut(self.numbers, &mut self.encoder);
        }
        lane.open_at(since);
        if stream.at.0 != lane.batch {
            let mut cost = stream.cost;
            if lane.open.is_empty() {
                cost += BATCH_COST;
                self.busy.insert(stream.lane);
            }
            for sum in [&mut self.tenants[stream.tenant].buffered, &mut self.buffered] {
                sum.take(cost);
            }
            let body = self.encoder.buffer(stream.room);
            let place = lane.open.add_stream(stream.wire.clone(), stream.window.clone(), cost, body);
            stream.at = (lane.batch, place);
            if stream.leads {
                lane.leader = Some(place);
            }
            stream.room = 0;
        }
        stream.newest = stream.newest.max(entry.timestamp);
        stream.touched = now;
        let bytes = lane.open.push(stream.at.1, entry);
        // Counts the newline too, so that empty lines count.
        for sum in [&mut stream.in_flight, &mut self.tenants[stream.tenant].buffered, &mut self.buffered] {
            sum.take(bytes + 1);
        }
        stream.rate.add(bytes);
        // Encoding adds about 16 bytes per entry.
        stream.room = (stream.room + bytes + 24).min(self.config.batchsize);
        let id = StreamId { index, age: stream.age };
        let left = stream.limit.saturating_sub(stream.in_flight.bytes());
        if left < Self::smallest_read(stream.limit) && stream.leads {
            lane.hurry(now);
        }
        self.left = left;
        if cut > 0 { Outcome::Truncated(id, cut) } else { Outcome::Batched(id) }
    }

    /// Whether no more of this stream should be read for now.
    pub(super) fn is_full(&self, id: StreamId) -> bool {
        let full = |s: &StreamState| {
            // A tenant whose entries are all refused must leave room for the others. With several tenants, each may
            // take as much as it leaves free.
            let others = self.tenants.len() > 1;
            let left = self.config.buffer.saturating_sub(self.buffered.bytes());
            let share = if others { left } else { self.config.buffer };
            let buffered = self.tenants[s.tenant].buffered.bytes();
            let apart = || self.held_apart.load(Ordering::Relaxed) >= self.config.buffer / APART_SHARE;
            (s.window.is_apart() && apart()) || buffered >= share || self.lanes[s.lane].is_full(self.config.batchsize)
        };
        self.has_no_room() || self.known(id).is_some_and(full)
    }

    /// Whether the batches hold as much as they may. Batches that Loki refuses for now have a share of their own. Only
    /// if both together reach twice the buffer do all streams wait.
    pub fn has_no_room(&self) -> bool {
        let (buffered, apart) = (self.buffered.bytes(), self.held_apart.load(Ordering::Relaxed));
        buffered >= self.config.buffer || buffered + apart >= 2 * self.config.buffer
    }

    /// Whether any batch is waiting or in flight, or is sent apart.
    pub fn has_on_its_way(&self) -> bool {
        !self.is_empty() || self.outstanding() > 0 || self.held_apart.load(Ordering::Relaxed) > 0
    }

    /// How many bytes of a log may be sent but not committed if Loki refuses one of these streams for now. This lets
    /// the other streams continue. None: none of them is refused.
    pub(super) fn room_beside_refused(&self, streams: &[StreamId]) -> Option<usize> {
        let refused = |id: &StreamId| self.known(*id).is_some_and(|stream| stream.window.is_apart());
        streams.iter().any(refused).then_some(self.config.batchsize)
    }

    /// Sends this stream's entries at this time, without waiting for `batchwait`, because a reader or a sender waits for
    /// their answer.
    pub(super) fn hurry(&mut self, id: StreamId, at: Instant) {
        if let Some(lane) = self.known(id).map(|stream| stream.lane) {
            self.lanes[lane].hurry(at);
        }
    }

    /// Seals the open batches of those streams that lead a lane and whose batch is due, while the data is in the CPU
    /// cache.
    pub(super) fn seal(&mut self, streams: &[StreamId], now: Instant) {
        for id in streams {
            let lane = self.known(*id).filter(|stream| stream.leads).map(|stream| stream.lane);
            if let Some(lane) = lane.map(|lane| &mut self.lanes[lane])
                && lane.is_due(now, self.config.batchwait, false)
            {
                self.numbers += 1;
                lane.cut(self.numbers, &mut self.encoder);
            }
        }
    }

    /// The next batch that is due and whose lane may send. `flush` makes all batches due. None: no such batch.
    pub fn next(&mut self, now: Instant, flush: bool) -> Option<Batch> {
        if now.saturating_duration_since(self.swept) >= SWEEP {
            self.sweep(now, FORGET);
        }
        // A full buffer must be sent, or it would never be emptied.
        let flush = flush || self.has_no_room();
        // First from the last position to the end, then from the start.
        for from in [self.looked, 0] {
            self.looked = from;
            while let Some(index) = self.busy.range(self.looked..).next().copied() {
                let lane = &mut self.lanes[index];
                if lane.is_due(now, self.config.batchwait, flush) {
                    self.numbers += 1;
                    lane.cut(self.numbers, &mut self.encoder);
                }
                let batch = lane.next();
                if lane.is_empty() {
                    self.busy.remove(&index);
                }
                if batch.is_some() {
                    return batch;
                }
                self.looked = index + 1;
            }
        }
        None
    }

    pub(super) fn batchwait(&self) -> Duration {
        self.config.batchwait
    }

    /// When the next open batch reaches `batchwait`. None: no batch will.
    pub fn next_due(&self) -> Option<Instant> {
        self.busy.iter().filter_map(|lane| self.lanes[*lane].due(self.config.batchwait)).min()
    }

    /// Whether no batch waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.busy.iter().all(|lane| self.lanes[*lane].is_empty())
    }

    /// Batches that were handed out and are not finished yet.
    pub fn outstanding(&self) -> usize {
        self.lanes.iter().map(|(_, lane)| lane.outstanding()).sum()
    }

    /// The rate, in bytes per second, above which a stream gets its own lane.
    fn much(&self) -> usize {
        self.config.replay_window.min(MUCH)
    }

    fn known(&self, id: StreamId) -> Option<&StreamState> {
        self.streams.get(id.index).map(|stream| &**stream).filter(|stream| stream.age == id.age)
    }

    /// The index of the entry's stream, which is created if it is new.
    #[inline]
    fn stream(&mut self, entry: &Entry<'_>, now: Instant) -> usize {
        if self.cost + self.tenants.len() * TENANT_COST > self.sweep_at {
            // Too many: forget all streams with nothing in flight.
            self.sweep(now, Duration::ZERO);
        }
        let name = entry.tenant.as_ref().or(self.config.tenant_id.as_ref());
        let last = self.streams.get(self.last).filter(|last| self.tenants[last.tenant].name.as_ref() == name);
        let tenant = match last {
            Some(last) if last.labels == entry.labels => return self.last,
            Some(last) => last.tenant,
            None => match self.by_tenant.get(&name.cloned()) {
                Some(tenant) => *tenant,
                None => self.new_tenant(name.cloned()),
            },
        };
        self.last = match self.tenants[tenant].streams.get(&entry.labels) {
            Some(stream) => *stream,
            None => self.new_stream(tenant, &entry.labels, now),
        };
        self.last
    }

    fn new_tenant(&mut self, name: Option<Arc<str>>) -> usize {
        let index = self.tenants.insert(Tenant {
            name: name.clone(),
            lane: 0,
            streams: LabelMap::default(),
            bounds: Arc::default(),
            buffered: InFlight::default(),
        });
        self.tenants[index].lane = self.new_lane(index);
        self.by_tenant.insert(name, index);
        index
    }

    fn new_lane(&mut self, tenant: usize) -> usize {
        let Tenant { name, bounds, .. } = &self.tenants[tenant];
        self.numbers += 2;
        self.lanes.insert(Box::new(LaneState::new(name.clone(), bounds.clone(), self.numbers - 1, self.numbers)))
    }

    fn new_stream(&mut self, tenant: usize, labels: &LabelSet, now: Instant) -> usize {
        // A label of the entry overrides an external label with the same name.
        let all = match self.external.is_empty() {
            true => labels.clone(),
            false => LabelSet::new(self.external.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain(labels.iter())),
        };
        self.ages = self.ages.wrapping_add(1);
        let in_flight = InFlight::default();
        let wire: Arc<str> = all.to_string().into();
        // The labels are stored three times: as pairs, as text for Loki and as the lookup key.
        let cost = STREAM_COST + 3 * wire.len();
        self.cost += cost;
        let index = self.streams.insert(Box::new(StreamState {
            labels: labels.clone(),
            wire,
            cost,
            label_count: counted(&all),
            age: self.ages,
            tenant,
            lane: self.tenants[tenant].lane,
            leads: false,
            at: (0, 0),
            window: Arc::new(Window::new(&in_flight, &self.tenants[tenant].buffered, &self.buffered, &self.held_apart)),
            in_flight,
            limit: self.config.replay_window,
            is_wide: false,
            room: 0,
            rate: RateEstimate::new(now),
            newest: i64::MIN,
            refused: never_taken(&all),
            touched: now,
        }));
        self.tenants[tenant].streams.insert(labels.clone(), index);
        index
    }

    /// Forgets streams and tenants that have been silent for long, so that labels and tenants from the text of lines do
    /// not accumulate.
    fn sweep(&mut self, now: Instant, silence: Duration) {
        self.swept = now;
        let window = self.much();
        let mut calm = Vec::new();
        for (_, stream) in &mut self.streams {
            stream.rate.cool(now, window);
            // A stream that has something in flight elsewhere came here because of a late entry. Its next entry must
            // not overtake that.
            let is_quiet =
                || now.saturating_duration_since(stream.touched) >= LEADS_ON || stream.rate.is_little(window);
            let is_over = stream.rate.is_cold(window) || silence.is_zero() && is_quiet();
            if stream.leads && is_over && stream.in_flight.bytes() == 0 {
                calm.push(stream.lane);
            }
        }
        calm.into_iter().for_each(|lane| self.dissolve(lane));
        let Self { streams, tenants, lanes, busy, by_tenant, cost, sweep_at, .. } = self;
        streams.retain(|_, stream| {
            let tenant = &mut tenants[stream.tenant];
            let idle = stream.in_flight.bytes() == 0 && !stream.leads;
            let forget = idle && now.saturating_duration_since(stream.touched) >= silence;
            if forget {
                tenant.streams.remove(&stream.labels);
                *cost -= stream.cost;
            }
            !forget
        });
        tenants.retain(|_, tenant| {
            let keep = !tenant.streams.is_empty() || lanes[tenant.lane].outstanding() > 0;
            if !keep {
                lanes.remove(tenant.lane);
                busy.remove(&tenant.lane);
                by_tenant.remove(&tenant.name);
            }
            keep
        });
        for (_, tenant) in tenants.iter_mut() {
            tenant.streams.shrink_to(2 * tenant.streams.len());
        }
        // The remaining streams are in flight or were moments ago. Sweeping again only pays once many more are known.
        *sweep_at = *cost + tenants.len() * TENANT_COST + self.config.buffer / KNOWN_SHARE;
    }
}

/// Labels that Loki never accepts, under the reason by which Loki counts them. They would make Loki refuse the whole
/// push. Loki by default accepts a stream without labels and calls it `unknown_service`. If Loki is configured to
/// refuse these, its answer says so.
fn never_taken(labels: &LabelSet) -> Option<Reason> {
    let valid = labels.iter().all(|(name, _)| is_valid_label_name(name));
    (!valid).then_some(Reason::Loki("invalid_labels"))
}

/// How many labels Loki counts: those with a value, except `service_name`, which Loki may have added itself.
fn counted(labels: &LabelSet) -> usize {
    labels.iter().filter(|(name, value)| *name != "service_name" && !value.is_empty()).count()
}

/// Cuts the line to at most `limit` bytes, at a character boundary. Returns the new length.
fn truncate(entry: &mut Entry<'_>, limit: usize) -> usize {
    let end = entry.line.floor_char_boundary(limit);
    match &mut entry.line {
        std::borrow::Cow::Borrowed(line) => *line = &line[..end],
        std::borrow::Cow::Owned(line) => line.truncate(end),
    }
    end
}
