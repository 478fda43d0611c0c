//! Groups entries into streams, in Loki's wire form from the first byte on.
//!
//! ```text
//! PushRequest { repeated Stream { 1: labels, 2: repeated Entry { 1: Timestamp { 1: s, 2: ns }, 2: line, 3: metadata } } }
//! ```
//!
//! An entry is written straight into its stream's body; finishing a batch adds the stream heads and compresses once, while
//! all of it is still in the processor's cache. What waits for its answer is no larger than what is sent.
//! Streams that Loki might refuse travel apart ([`Batcher`]), because of what it answers a push with several: 204, and
//! all is well only with the last of them.

mod batcher;
mod bounds;
mod draft;
mod encoder;
mod lane;
mod road;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

pub use batcher::{Batcher, Config, Limits, Outcome};
pub use bounds::Bound;
use encoder::Encoder;
pub use stream::StreamId;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::{Ack, Reason, Weight};
use bounds::Bounds;
use road::Traffic;
use stream::Window;

/// One push, ready to be sent.
#[derive(Debug)]
pub struct Batch {
    tenant: Option<Arc<str>>,
    lane: u64,
    /// Its lane is that of one stream, which is the last here; where others are, they are small ones of the same log.
    led: bool,
    streams: Vec<Stream>,
    acks: Vec<Ack>,
    entries: usize,
    bytes: usize,
    traffic: Traffic,
    bounds: Arc<Bounds>,
    body: Arc<[u8]>,
}

/// Entries of a stream that came in one slot of one log, one after the other.
#[derive(Debug)]
struct Span {
    /// Which of the batch's.
    ack: usize,
    entries: usize,
    weight: Weight,
}

/// What a push has of one stream.
#[derive(Debug)]
struct Stream {
    labels: Arc<str>,
    entries: usize,
    bytes: usize,
    spans: Vec<Span>,
    window: Arc<Window>,
}

impl Drop for Stream {
    /// Whatever became of its entries, they are in flight no more.
    fn drop(&mut self) {
        self.window.give_back(self.bytes + self.entries);
    }
}

impl Batch {
    pub fn tenant(&self) -> Option<&Arc<str>> {
        self.tenant.as_ref()
    }

    /// What must arrive in the order it was handed out has the same number here; it is never used again for anything
    /// else.
    pub fn lane(&self) -> u64 {
        self.lane
    }

    /// Whether it is of a stream that Loki might refuse. That is then the last in the push: the one whose refusal Loki's
    /// answer tells.
    pub fn is_led(&self) -> bool {
        self.led
    }

    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Bytes of lines and structured metadata: what `batchsize` limits, and what Loki's rate limits count.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes of its last stream: the leader's, if it is led.
    pub fn last_stream_bytes(&self) -> usize {
        self.streams.last().map_or(0, |stream| stream.bytes)
    }

    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The label strings of its streams, for messages.
    pub fn stream_labels(&self) -> impl Iterator<Item = &str> {
        self.streams.iter().map(|s| &*s.labels)
    }

    /// The body of the push: protobuf, snappy's block format.
    pub fn body(&self) -> &Arc<[u8]> {
        &self.body
    }

    /// How long it took from sending it to its answer; where that is long, more has to be under way.
    pub fn answered_within(&self, round_trip: Duration) {
        self.traffic.measured(round_trip);
    }

    /// Loki has refused some of it because of its stream's limit of rate; it is sent again.
    pub fn limited(&self) {
        self.traffic.refused();
    }

    /// Loki has named a limit: what is beyond it need not be sent.
    pub fn learn(&self, bound: Bound) {
        self.bounds.learn(bound, Instant::now());
    }

    /// Everything in it is delivered.
    pub fn close(self) {
        self.end(0, &Reason::IngesterError);
    }

    /// Of its entries so many are discarded, and the others delivered. Which ones nobody says, so each log bears its share.
    pub fn discard(self, entries: usize, reason: &Reason) {
        self.end(entries, reason);
    }

    fn end(mut self, discarded: usize, reason: &Reason) {
        if discarded > 0 {
            self.traffic.refused();
        }
        let mut weights = vec![Weight::default(); self.acks.len()];
        let spans = self.streams.iter().flat_map(|stream| &stream.spans);
        spans.for_each(|span| weights[span.ack] += span.weight);
        let (entries, mut sum, mut gone_before) = (self.entries, Weight::default(), Weight::default());
        for (ack, weight) in std::mem::take(&mut self.acks).into_iter().zip(weights) {
            // Of the sum, so that what is rounded off here is made up for at the next.
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

    /// Two smaller batches with the same entries in the same order, for an answer that refused the whole; itself alone when
    /// it holds a single entry. Streams are parted first, so that a refused one costs its neighbours nothing.
    pub fn split(mut self) -> (Batch, Option<Batch>) {
        if self.entries < 2 {
            return (self, None);
        }
        let mut encoder = Encoder::default();
        let plain = encoder::decode(&self.body);
        let mut bodies = wire::bodies(&plain);
        let mut leads_both = self.led;
        let (younger, younger_bodies) = if self.streams.len() > 1 {
            // Of what rides in front of a leader each is alone then, or still in front of it.
            let half = if self.led { 1 } else { self.streams.len() / 2 };
            leads_both = false;
            (self.streams.split_off(half), bodies.split_off(half))
        } else {
            let keep = self.streams[0].entries / 2;
            let (first, second) = bodies[0].split_at(wire::skip_entries(bodies[0], keep));
            bodies[0] = first;
            (vec![self.streams[0].split(keep, wire::content_bytes(second))], vec![second])
        };
        let second = Batch {
            tenant: self.tenant.clone(),
            lane: self.lane,
            led: self.led,
            acks: self.acks.iter().map(Ack::send).collect(),
            entries: younger.iter().map(|s| s.entries).sum(),
            bytes: younger.iter().map(|s| s.bytes).sum(),
            traffic: self.traffic.another(),
            bounds: self.bounds.clone(),
            body: encoder.encode(younger.iter().map(|s| &*s.labels).zip(younger_bodies)),
            streams: younger,
        };
        // Who leads is the last.
        self.led = leads_both;
        self.entries -= second.entries;
        self.bytes -= second.bytes;
        self.body = encoder.encode(self.streams.iter().map(|s| &*s.labels).zip(bodies));
        (self, Some(second))
    }
}

impl Stream {
    /// Keeps the first entries; what is split off has so many bytes.
    fn split(&mut self, keep: usize, bytes: usize) -> Stream {
        let entries = self.entries - keep;
        self.entries = keep;
        self.bytes -= bytes;
        let spans = self.split_spans(keep);
        Stream { labels: self.labels.clone(), entries, bytes, spans, window: self.window.clone() }
    }

    /// Keeps those of the first entries; one that lies across is parted.
    fn split_spans(&mut self, mut keep: usize) -> Vec<Span> {
        let whole = self.spans.iter().take_while(|span| keep.checked_sub(span.entries).map(|k| keep = k).is_some());
        let at = whole.count();
        let mut rest = self.spans.split_off(at);
        if let Some(across) = rest.first_mut().filter(|_| keep > 0) {
            let weight = across.weight.share(keep, across.entries);
            self.spans.push(Span { ack: across.ack, entries: keep, weight });
            across.entries -= keep;
            across.weight = across.weight - weight;
        }
        rest
    }
}
