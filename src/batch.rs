//! Groups entries into streams and batches, encoded for Loki from the start.
//!
//! ```text
//! PushRequest { repeated Stream { 1: labels, 2: repeated Entry { 1: Timestamp { 1: s, 2: ns }, 2: line, 3: metadata } } }
//! ```
//!
//! An entry is encoded directly into the body of its stream. Sealing a batch adds the stream heads and compresses once,
//! while the data is still in the CPU cache. A batch that waits for its answer takes no more memory than the push.
//! Streams that Loki might refuse get a lane of their own ([`Batcher`]), because Loki's answer 204 to a push with
//! several streams only guarantees that its last stream was stored.

mod batcher;
mod bounds;
mod builder;
mod dating;
mod encoder;
mod flow;
mod lane;
mod lane_stats;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

pub use batcher::{Batcher, Config, Limits, Outcome};
pub use bounds::Bound;
pub use dating::{Dated, Misdated};
use encoder::Encoder;
pub use flow::{CHUNK, Flow, Grant};
pub use stream::{StreamId, StreamKey};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::{Ack, Reason, Weight};
use bounds::Bounds;
use lane_stats::InFlightGuard;
use stream::Window;

/// Approximate bytes of memory of a batch that is sent apart, in addition to its body.
const APART_OVERHEAD: usize = 512;

/// The most bytes of lines in a push that was joined from several.
const LARGEST_JOINED: usize = 64 << 10;

/// One push, ready to be sent.
#[derive(Debug)]
pub struct Batch {
    tenant: Option<Arc<str>>,
    lane: u64,
    /// The lane belongs to one stream, the leader. The leader is the last stream of the batch. Any other streams are
    /// small ones of the same log.
    led: bool,
    streams: Vec<Stream>,
    acks: Vec<Ack>,
    entries: usize,
    bytes: usize,
    guard: InFlightGuard,
    bounds: Arc<Bounds>,
    body: Arc<[u8]>,
}

/// Consecutive entries of a stream that are in the same slot of one log.
#[derive(Debug)]
struct Span {
    /// Index into the batch's `acks`.
    ack: usize,
    entries: usize,
    weight: Weight,
    /// Of their origin: set if they have the time of reading.
    clock: Option<i64>,
}

/// The entries of one stream in a push.
#[derive(Debug)]
struct Stream {
    labels: Arc<str>,
    entries: usize,
    bytes: usize,
    spans: Vec<Span>,
    window: Arc<Window>,
    /// Approximate bytes of memory in addition to the entries.
    cost: usize,
    /// Set once the stream is sent apart from its lane: the bytes of memory that its window counts for it.
    apart: Option<usize>,
}

impl Drop for Stream {
    /// The entries are no longer in flight, whatever happened to them.
    fn drop(&mut self) {
        match self.apart {
            None => self.window.give_back(self.bytes + self.entries, self.cost),
            Some(held) => self.window.give_back_apart(self.bytes + self.entries, held),
        }
    }
}

impl Batch {
    pub fn tenant(&self) -> Option<&Arc<str>> {
        self.tenant.as_ref()
    }

    /// The number of the lane. Batches of one lane must arrive in the order in which they were handed out. Numbers are
    /// never reused.
    pub fn lane(&self) -> u64 {
        self.lane
    }

    /// Whether the lane has a leader: a stream that Loki might refuse. The leader is the last stream in the push, so
    /// Loki's answer tells of its refusal.
    pub fn is_led(&self) -> bool {
        self.led
    }

    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Bytes of lines and structured metadata. `batchsize` limits this, and Loki's rate limits count it.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the last stream: the leader, if the batch is led.
    pub fn last_stream_bytes(&self) -> usize {
        self.streams.last().map_or(0, |stream| stream.bytes)
    }

    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The labels of its streams as text, for messages.
    pub fn stream_labels(&self) -> impl Iterator<Item = &str> {
        self.streams.iter().map(|s| &*s.labels)
    }

    /// The keys of its streams, in the order of the push.
    pub fn stream_keys(&self) -> impl Iterator<Item = StreamKey> {
        self.streams.iter().map(|s| s.window.key())
    }

    /// The index of the first stream of which Loki has stored entries before. 0 if there is none.
    pub fn proven_stream(&self) -> usize {
        self.streams.iter().position(|s| s.window.is_proven()).unwrap_or(0)
    }

    /// The body of the push: protobuf, compressed in snappy's block format.
    pub fn body(&self) -> &Arc<[u8]> {
        &self.body
    }

    /// Reports the time from sending the batch to its answer. With long round trips the lane needs more bytes in
    /// flight.
    pub fn answered_within(&self, round_trip: Duration) {
        self.guard.measured(round_trip);
    }

    /// Reports that Loki refused part of the batch because of a stream's rate limit. That part is sent again.
    pub fn limited(&self) {
        self.guard.refused();
    }

    /// Reports a limit that Loki named at the time `now`. Later entries beyond the limit are discarded without being sent.
    pub fn learn(&self, bound: Bound, now: Instant) {
        self.bounds.learn(bound, now);
    }

    /// All entries are delivered.
    pub fn close(self) {
        self.streams.iter().for_each(|s| s.window.prove());
        self.end(0, &Reason::IngesterError);
    }

    /// `entries` of its entries are discarded, the others delivered. Loki does not say which, so each log gets a
    /// proportional share.
    pub fn discard(self, entries: usize, reason: &Reason) {
        self.end(entries, reason);
    }

    fn end(mut self, discarded: usize, reason: &Reason) {
        if discarded > 0 {
            self.guard.refused();
        }
        let mut weights = vec![Weight::default(); self.acks.len()];
        let spans = self.streams.iter().flat_map(|stream| &stream.spans);
        spans.for_each(|span| weights[span.ack] += span.weight);
        let (entries, mut sum, mut gone_before) = (self.entries, Weight::default(), Weight::default());
        for (ack, weight) in std::mem::take(&mut self.acks).into_iter().zip(weights) {
            // Shares are taken from the running sum, so a rounding error is made up for at the next log.
            sum += weight;
            let gone_in_all = sum.share(discarded, entries);
            let gone = gone_in_all - gone_before;
            gone_before = gone_in_all;
            ack.close_with(|account| {
                account.delivered += weight - gone;
                if gone != Weight::default() {
                    account.discard(reason, gone);
                }
            });
        }
    }

    /// Sends the batch apart from its lane from now on: the lane does not wait for it, and its bytes no longer count
    /// against the tenant's other streams.
    pub fn set_apart(&mut self) {
        self.guard.leave();
        let each = (self.body.len() + APART_OVERHEAD).div_ceil(self.streams.len().max(1));
        for stream in self.streams.iter_mut().filter(|stream| stream.apart.is_none()) {
            stream.window.set_apart(stream.bytes + stream.entries + stream.cost, each);
            stream.apart = Some(each);
        }
    }

    /// Appends the entries of a younger batch of the same stream. Returns the younger batch unchanged if either has
    /// several streams, if the streams differ, or if the result would be too large for one push.
    pub fn join(&mut self, mut younger: Batch) -> Option<Batch> {
        let is_one = |batch: &Batch| batch.streams.len() == 1;
        let fits = self.bytes + younger.bytes <= LARGEST_JOINED && is_one(self) && is_one(&younger);
        if !fits || self.stream_keys().ne(younger.stream_keys()) {
            return Some(younger);
        }
        let (older_plain, younger_plain) = (encoder::decode(&self.body), encoder::decode(&younger.body));
        let entries = [wire::bodies(&older_plain), wire::bodies(&younger_plain)].concat().concat();
        let offset = self.acks.len();
        self.acks.append(&mut younger.acks);
        let from = &mut younger.streams[0];
        let to = &mut self.streams[0];
        to.spans
            .extend(std::mem::take(&mut from.spans).into_iter().map(|span| Span { ack: span.ack + offset, ..span }));
        for (to, from) in
            [(&mut to.entries, &mut from.entries), (&mut to.bytes, &mut from.bytes), (&mut to.cost, &mut from.cost)]
        {
            *to += std::mem::take(from);
        }
        self.entries += younger.entries;
        self.bytes += younger.bytes;
        self.body = Encoder::default().encode(std::iter::once((&*to.labels, entries.as_slice())));
        // The share of the younger stream is given back when it drops. This one is counted with its new size.
        if let Some(held) = &mut to.apart {
            let now = self.body.len() + APART_OVERHEAD;
            to.window.hold_apart(*held, now);
            *held = now;
        }
        None
    }

    /// Splits the batch into two, with the same entries in the same order, after a refusal of the whole. Returns None
    /// as the second if it has a single entry. Splits between streams first, so that a refused stream does not affect
    /// the others.
    pub fn split(self) -> (Batch, Option<Batch>) {
        let half = self.entries / 2;
        match self.streams.len() {
            1 => self.split_entries(half),
            // For a led batch, take streams off the front one by one. The rest stays in front of the leader.
            streams => {
                let half = if self.led { 1 } else { streams / 2 };
                let mut halves = self.regroup(|place, _| usize::from(place >= half)).into_iter();
                let first = halves.next().expect("a batch has streams");
                (first, halves.next())
            }
        }
    }

    /// Splits a batch of one stream into its first entry and the others.
    pub fn split_first_entry(self) -> (Batch, Option<Batch>) {
        self.split_entries(1)
    }

    /// Splits off the stream at `place`. Returns it and the others.
    pub fn split_stream(self, place: usize) -> (Batch, Option<Batch>) {
        let mut parts = self.regroup(|at, _| usize::from(at != place)).into_iter();
        let first = parts.next().expect("a batch has streams");
        (first, parts.next())
    }

    /// Takes out the streams for which `is_apart` is true. Returns the rest (None if there is none), and one batch per
    /// stream taken out.
    pub fn take_apart(self, is_apart: impl Fn(StreamKey) -> bool) -> (Option<Batch>, Vec<Batch>) {
        if !self.stream_keys().any(&is_apart) {
            return (Some(self), Vec::new());
        }
        let all_apart = self.stream_keys().all(&is_apart);
        let mut parts = self.regroup(|place, key| if is_apart(key) { place + 1 } else { 0 });
        let rest = (!all_apart).then(|| parts.remove(0));
        (rest, parts)
    }

    /// Groups the streams by the number that `group` returns, one batch per number, in ascending order. `group` gets
    /// the index of the stream and its key.
    fn regroup(mut self, group: impl Fn(usize, StreamKey) -> usize) -> Vec<Batch> {
        let groups: Vec<usize> = self.stream_keys().enumerate().map(|(place, key)| group(place, key)).collect();
        if groups.windows(2).all(|pair| pair[0] == pair[1]) {
            return vec![self];
        }
        let plain = encoder::decode(&self.body);
        let bodies = wire::bodies(&plain);
        let leader = self.led.then(|| groups.last().copied()).flatten();
        let mut sorted: BTreeMap<usize, (Vec<Stream>, Vec<&[u8]>)> = BTreeMap::new();
        for ((group, stream), body) in groups.into_iter().zip(std::mem::take(&mut self.streams)).zip(bodies) {
            let (streams, bodies) = sorted.entry(group).or_default();
            streams.push(stream);
            bodies.push(body);
        }
        let mut encoder = Encoder::default();
        let parts = sorted.into_iter().map(|(group, (streams, bodies))| {
            let body = encoder.encode(streams.iter().map(|s| &*s.labels).zip(bodies.iter().copied()));
            self.with(leader == Some(group), streams, body)
        });
        let parts = parts.collect();
        self.hand_over();
        parts
    }

    /// Splits a batch of one stream into its first `keep` entries and the others.
    fn split_entries(mut self, keep: usize) -> (Batch, Option<Batch>) {
        if self.entries <= keep || keep == 0 || self.streams.len() != 1 {
            return (self, None);
        }
        let plain = encoder::decode(&self.body);
        let bodies = wire::bodies(&plain);
        let (first, second) = bodies[0].split_at(wire::skip_entries(bodies[0], keep));
        let mut older = std::mem::take(&mut self.streams);
        let younger = vec![older[0].split(keep, wire::content_bytes(second))];
        let mut encoder = Encoder::default();
        let mut part = |streams: Vec<Stream>, entries| {
            let body = encoder.encode(std::iter::once((&*streams[0].labels, entries)));
            self.with(self.led, streams, body)
        };
        let parts = (part(older, first), Some(part(younger, second)));
        self.hand_over();
        parts
    }

    /// A batch of the same lane with these streams. It holds only the acks of their entries, so its outcome does not
    /// affect other logs.
    fn with(&self, led: bool, mut streams: Vec<Stream>, body: Arc<[u8]>) -> Batch {
        let (mut acks, mut places) = (Vec::new(), vec![None; self.acks.len()]);
        for span in streams.iter_mut().flat_map(|stream| &mut stream.spans) {
            span.ack = *places[span.ack].get_or_insert_with(|| {
                acks.push(self.acks[span.ack].send());
                acks.len() - 1
            });
        }
        Batch {
            tenant: self.tenant.clone(),
            lane: self.lane,
            led,
            acks,
            entries: streams.iter().map(|s| s.entries).sum(),
            bytes: streams.iter().map(|s| s.bytes).sum(),
            guard: self.guard.another(),
            bounds: self.bounds.clone(),
            body,
            streams,
        }
    }

    /// Closes the acks of this batch. Its entries are in other batches, which have acks of their own.
    fn hand_over(self) {
        self.acks.into_iter().for_each(Ack::close);
    }
}

impl Stream {
    /// Keeps the first `keep` entries and returns the others, which have `bytes` bytes.
    fn split(&mut self, keep: usize, bytes: usize) -> Stream {
        let entries = self.entries - keep;
        self.entries = keep;
        self.bytes -= bytes;
        let spans = self.split_spans(keep);
        // Each half keeps half of the memory that the window counts.
        let apart = self.apart.map(|held| held / 2);
        if let (Some(held), Some(other)) = (&mut self.apart, apart) {
            *held -= other;
            self.window.split_apart();
        }
        let cost = self.cost / 2;
        self.cost -= cost;
        Stream { labels: self.labels.clone(), entries, bytes, spans, window: self.window.clone(), cost, apart }
    }

    /// Keeps the spans of the first `keep` entries and returns the others. A span that crosses the boundary is split.
    fn split_spans(&mut self, mut keep: usize) -> Vec<Span> {
        let whole = self.spans.iter().take_while(|span| keep.checked_sub(span.entries).map(|k| keep = k).is_some());
        let at = whole.count();
        let mut rest = self.spans.split_off(at);
        if let Some(across) = rest.first_mut().filter(|_| keep > 0) {
            let weight = across.weight.share(keep, across.entries);
            self.spans.push(Span { ack: across.ack, entries: keep, weight, clock: across.clock });
            across.entries -= keep;
            across.weight = across.weight - weight;
        }
        rest
    }
}
