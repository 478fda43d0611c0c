//! Which entries go together, and when a batch is full, old or urgent enough to go.

mod leading;

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
use crate::model::{Clock, Entry, LabelMap, LabelSet, Labels, Reason, is_valid_label_name};

/// What sends more than this a second travels alone, however large the window: it is far below what Loki takes of a
/// stream.
const MUCH: usize = 64 << 10;

/// What has nothing on its way and was not heard of for so long is forgotten.
const FORGET: Duration = Duration::from_secs(300);
const SWEEP: Duration = Duration::from_secs(10);

/// Bytes of memory that a stream takes beside its labels, and a push beside its streams: where labels or tenants are made of
/// what lines say, these are far more than the lines.
const STREAM_COST: usize = 640;
const BATCH_COST: usize = 4096;
const TENANT_COST: usize = 1024;
/// What a lane takes that a stream leads: here, and where its pushes are sent.
const LANE_COST: usize = 1024;

/// However many lead, a stream that says much keeps its lane for so long after its last entry.
const LEADS_ON: Duration = Duration::from_secs(1);

/// Of the buffer's size streams that are known may take this part beside it, before those are forgotten that have nothing
/// on their way.
const KNOWN_SHARE: usize = 2;

/// Of the buffer's size this part may be taken, beside it, by what Loki refuses for now.
const APART_SHARE: usize = 4;

/// What of a client's config batching needs.
#[derive(Clone, Debug)]
pub struct Config {
    pub batchsize: usize,
    pub batchwait: Duration,
    pub tenant_id: Option<Arc<str>>,
    pub external_labels: Labels,
    pub limits: Limits,
    /// Bytes of a stream that may be sent and not acknowledged, while it keeps up with its file.
    pub replay_window: usize,
    /// Bytes of all streams that may be.
    pub buffer: usize,
}

/// `limits_config.max_line_size`, applied to the line as the pipeline left it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// 0: none.
    pub max_line_size: usize,
    pub truncate: bool,
}

/// What became of an entry that was added.
#[derive(Debug)]
pub enum Outcome {
    /// It travels with this stream.
    Batched(StreamId),
    /// The same, less so many bytes.
    Truncated(StreamId, usize),
    /// It cannot be sent.
    Refused(Reason),
}

/// Collects the entries of one client into batches.
#[derive(Debug)]
pub struct Batcher {
    config: Config,
    clock: Clock,
    external: Vec<(String, String)>,
    /// Their places are used again, so streams and lanes have numbers besides.
    pub(super) tenants: Slab<Tenant>,
    by_tenant: HashMap<Option<Arc<str>>, usize>,
    pub(super) streams: Slab<StreamState>,
    pub(super) lanes: Slab<LaneState>,
    /// Those that have a batch to be sent: of all that there are each turn asks only these.
    pub(super) busy: BTreeSet<usize>,
    /// Where in these the search for the next batch goes on.
    looked: usize,
    /// Logs of which a stream leads a lane: which.
    pub(super) led: HashMap<u64, usize>,
    /// What was handed out last: entries of one stream tend to follow each other.
    last: usize,
    numbers: u64,
    ages: u32,
    pub(super) buffered: InFlight,
    /// Bytes of memory that pushes take which are sent apart from their lanes.
    pub(super) held_apart: Arc<AtomicUsize>,
    encoder: Encoder,
    swept: Instant,
    /// What all streams take that are known.
    pub(super) cost: usize,
    /// A sweep is due when they take so much.
    sweep_at: usize,
    /// What the stream of the last entry has left.
    pub(super) left: usize,
}

#[derive(Debug)]
pub(super) struct Tenant {
    name: Option<Arc<str>>,
    /// The one its streams share.
    lane: usize,
    streams: LabelMap<usize>,
    bounds: Arc<Bounds>,
    buffered: InFlight,
}

impl Batcher {
    /// Less room than this in a stream's window is not worth reading for: pushes are to be few.
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

    /// The entry is none of the batcher's afterwards; whoever gave it closes it.
    pub fn add(&mut self, entry: &mut Entry<'_>, now: Instant) -> Outcome {
        let mut cut = 0;
        let limit = self.config.limits.max_line_size;
        if limit > 0 && entry.line.len() > limit {
            if !self.config.limits.truncate {
                return Outcome::Refused(Reason::LineTooLong);
            }
            cut = entry.line.len() - truncate(entry, limit);
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
        lane.open_at(now);
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
        // With its newline, so that an empty line counts as well.
        for sum in [&mut stream.in_flight, &mut self.tenants[stream.tenant].buffered, &mut self.buffered] {
            sum.take(bytes + 1);
        }
        stream.rate.add(bytes);
        // Entries are a little longer encoded: 16 bytes or so each.
        stream.room = (stream.room + bytes + 24).min(self.config.batchsize);
        let id = StreamId { index, age: stream.age };
        let left = stream.limit.saturating_sub(stream.in_flight.bytes());
        if left < Self::smallest_read(stream.limit) && stream.leads {
            lane.hurry();
        }
        self.left = left;
        if cut > 0 { Outcome::Truncated(id, cut) } else { Outcome::Batched(id) }
    }

    /// How many bytes more of this stream may be read now; None: it is not known (any more).
    pub(super) fn room(&mut self, id: StreamId, now: Instant) -> Option<usize> {
        let window = self.much();
        self.known(id)?;
        self.streams[id.index].rate.cool(now, window);
        let stream = &self.streams[id.index];
        let in_flight = stream.in_flight.bytes();
        // It changes lanes when nothing of it is under way: what comes later must not arrive earlier.
        let moves = in_flight > 0 && self.is_to_lead(stream);
        Some(if moves { 0 } else { stream.limit.saturating_sub(in_flight) })
    }

    /// What may be in flight of a stream that is not known.
    pub(super) fn replay_window(&self) -> usize {
        self.config.replay_window
    }

    /// What may be in flight of this stream.
    pub(super) fn window(&self, id: StreamId) -> Option<usize> {
        self.known(id).map(|stream| stream.limit)
    }

    /// `rate` is what is written to a file of this stream, in bytes a second. While that is more than can be acknowledged
    /// because of the round trip, more may be in flight.
    pub(super) fn fit_window(&mut self, id: StreamId, rate: f64) {
        let Some(stream) = self.known(id) else {
            return;
        };
        let round_trip = self.lanes[stream.lane].round_trip();
        let base = self.config.replay_window;
        let most = self.config.batchsize.max(base);
        let spare = self.buffered.bytes() < self.config.buffer / 2;
        let stream = &mut self.streams[id.index];
        let wanted = needed(rate, round_trip).clamp(base, most);
        stream.limit = if spare { wanted } else { wanted.min(stream.limit) };
    }

    /// Whether this stream should not be given more for now.
    pub(super) fn is_full(&self, id: StreamId) -> bool {
        let full = |s: &StreamState| {
            // One that is refused everything must leave room for the others, however many such there are: each may have as
            // much as it leaves.
            let others = self.tenants.len() > 1;
            let left = self.config.buffer.saturating_sub(self.buffered.bytes());
            let share = if others { left } else { self.config.buffer };
            let buffered = self.tenants[s.tenant].buffered.bytes();
            let apart = || self.held_apart.load(Ordering::Relaxed) >= self.config.buffer / APART_SHARE;
            (s.window.is_apart() && apart()) || buffered >= share || self.lanes[s.lane].is_full(self.config.batchsize)
        };
        self.has_no_room() || self.known(id).is_some_and(full)
    }

    /// Whether the batches hold as much as they may. What Loki refuses for now has a share of its own, beside that of the
    /// others; only if both are twice what the others may have do the others wait.
    pub fn has_no_room(&self) -> bool {
        let (buffered, apart) = (self.buffered.bytes(), self.held_apart.load(Ordering::Relaxed));
        buffered >= self.config.buffer || buffered + apart >= 2 * self.config.buffer
    }

    /// Whether anything was handed out, or is to be, that has not come to its end.
    pub fn has_on_its_way(&self) -> bool {
        !self.is_empty() || self.outstanding() > 0 || self.held_apart.load(Ordering::Relaxed) > 0
    }

    /// How many bytes of a log may be sent and not committed, if Loki refuses one of its streams for now: the others go on
    /// for so long. None: it refuses none of these.
    pub(super) fn room_beside_refused(&self, streams: &[StreamId]) -> Option<usize> {
        let refused = |id: &StreamId| self.known(*id).is_some_and(|stream| stream.window.is_apart());
        streams.iter().any(refused).then_some(self.config.batchsize)
    }

    /// Somebody cannot read on before the entries of this stream are answered: do not wait for `batchwait`.
    pub(super) fn hurry(&mut self, id: StreamId) {
        if let Some(lane) = self.known(id).map(|stream| stream.lane) {
            self.lanes[lane].hurry();
        }
    }

    /// Those of these streams that lead a lane and are in a hurry have their batches encoded now, while they are in the
    /// processor's cache.
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

    /// The next batch that is due and has room on the way. `flush` makes every batch due.
    pub fn next(&mut self, now: Instant, flush: bool) -> Option<Batch> {
        if now.saturating_duration_since(self.swept) >= SWEEP {
            self.sweep(now, FORGET);
        }
        // What there is no room for any more must go, or nothing would ever come back.
        let flush = flush || self.has_no_room();
        // From where the last one was found on, and then those before it.
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

    /// When the next open batch comes of age.
    pub fn next_due(&self) -> Option<Instant> {
        self.busy.iter().filter_map(|lane| self.lanes[*lane].due(self.config.batchwait)).min()
    }

    /// Whether nothing waits here to be sent.
    pub fn is_empty(&self) -> bool {
        self.busy.iter().all(|lane| self.lanes[*lane].is_empty())
    }

    /// Batches that were handed out and have not come to their end.
    pub fn outstanding(&self) -> usize {
        self.lanes.iter().map(|(_, lane)| lane.outstanding()).sum()
    }

    /// Bytes a second that are too much for a shared lane.
    fn much(&self) -> usize {
        self.config.replay_window.min(MUCH)
    }

    fn known(&self, id: StreamId) -> Option<&StreamState> {
        self.streams.get(id.index).filter(|stream| stream.age == id.age)
    }

    /// The place of the entry's stream.
    fn stream(&mut self, entry: &Entry<'_>, now: Instant) -> usize {
        if self.cost + self.tenants.len() * TENANT_COST > self.sweep_at {
            // Too many: whoever has nothing on its way is forgotten.
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
        self.lanes.insert(LaneState::new(name.clone(), bounds.clone(), self.numbers - 1, self.numbers))
    }

    fn new_stream(&mut self, tenant: usize, labels: &LabelSet, now: Instant) -> usize {
        // An entry's own label wins over an external one of its name.
        let all = match self.external.is_empty() {
            true => labels.clone(),
            false => LabelSet::new(self.external.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain(labels.iter())),
        };
        self.ages = self.ages.wrapping_add(1);
        let in_flight = InFlight::default();
        let wire: Arc<str> = all.to_string().into();
        // The labels are kept as pairs, as the text that Loki gets, and as the key to find them by.
        let cost = STREAM_COST + 3 * wire.len();
        self.cost += cost;
        let index = self.streams.insert(StreamState {
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
            room: 0,
            rate: RateEstimate::new(now),
            newest: i64::MIN,
            refused: never_taken(&all),
            touched: now,
        });
        self.tenants[tenant].streams.insert(labels.clone(), index);
        index
    }

    /// Forgets who was not heard of for long: labels and tenants made of what lines say must not add up.
    fn sweep(&mut self, now: Instant, silence: Duration) {
        self.swept = now;
        let window = self.much();
        let mut calm = Vec::new();
        for (_, stream) in &mut self.streams {
            stream.rate.cool(now, window);
            // With something under way elsewhere it came here in a hurry: what is given to it next must not overtake that.
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
        // What is left is on its way, or was a moment ago. Not before that much more is known is it worth looking again.
        *sweep_at = *cost + tenants.len() * TENANT_COST + self.config.buffer / KNOWN_SHARE;
    }
}

/// What Loki can never take, under the name Loki counts it by: it would refuse the whole push. (A stream without labels
/// it takes, and calls it `unknown_service`, unless it is configured not to; then it says so.)
fn never_taken(labels: &LabelSet) -> Option<Reason> {
    let valid = labels.iter().all(|(name, _)| is_valid_label_name(name));
    (!valid).then_some(Reason::Loki("invalid_labels"))
}

/// How many labels Loki counts: not those without a value, and not the one that it may have added itself.
fn counted(labels: &LabelSet) -> usize {
    labels.iter().filter(|(name, value)| *name != "service_name" && !value.is_empty()).count()
}

/// Cuts the line to at most `limit` bytes at a character's boundary; gives what is left.
fn truncate(entry: &mut Entry<'_>, limit: usize) -> usize {
    let end = entry.line.floor_char_boundary(limit);
    match &mut entry.line {
        std::borrow::Cow::Borrowed(line) => *line = &line[..end],
        std::borrow::Cow::Owned(line) => line.truncate(end),
    }
    end
}
