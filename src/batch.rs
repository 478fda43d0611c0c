//! Groups entries into streams, in Loki's wire form from the first byte on.
//!
//! ```text
//! PushRequest { repeated Stream { 1: labels, 2: repeated Entry { 1: Timestamp { 1: s, 2: ns }, 2: line, 3: metadata } } }
//! ```
//!
//! An entry is written straight into its stream's body; finishing a batch adds the stream heads and compresses once.
//! Streams that Loki might refuse travel apart ([`Batcher`]), because of what it answers a push with several: 204, and
//! all is well only with the last of them.

mod batcher;
mod bounds;
mod lane;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

pub use batcher::{Batcher, Config, Limits, Outcome};
pub use bounds::Bound;
pub use stream::StreamId;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::{Ack, Entry, Reason, Weight};
use bounds::Bounds;
use lane::Traffic;
use stream::Window;

/// One push being written, or on its way.
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
}

/// Entries of a stream that came in one slot of one log, one after the other.
#[derive(Debug)]
struct Span {
    /// Which of the batch's.
    ack: usize,
    entries: usize,
    weight: Weight,
}

/// Keeps its tables and buffers from push to push.
#[derive(Debug)]
pub struct Encoder {
    snappy: snap::raw::Encoder,
    plain: Vec<u8>,
    compressed: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { snappy: snap::raw::Encoder::new(), plain: Vec::new(), compressed: Vec::new() }
    }
}

impl Encoder {
    /// Gives back what a push larger than this has taken.
    pub fn shrink(&mut self, size: usize) {
        if self.plain.capacity() > size {
            (self.plain, self.compressed) = (Vec::new(), Vec::new());
        }
    }
}

/// The entries of one stream, encoded.
#[derive(Debug)]
struct Stream {
    labels: Arc<str>,
    body: Vec<u8>,
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
    fn new(tenant: Option<Arc<str>>, lane: u64, traffic: Traffic, bounds: Arc<Bounds>) -> Self {
        Self { tenant, lane, led: false, streams: Vec::new(), acks: Vec::new(), entries: 0, bytes: 0, traffic, bounds }
    }

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

    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The label strings of its streams, for messages.
    pub fn stream_labels(&self) -> impl Iterator<Item = &str> {
        self.streams.iter().map(|s| &*s.labels)
    }

    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The body of the push: protobuf, snappy's block format.
    pub fn encode<'e>(&self, encoder: &'e mut Encoder) -> &'e [u8] {
        let Encoder { snappy, plain, compressed } = encoder;
        plain.clear();
        for stream in &self.streams {
            wire::stream(plain, &stream.labels, &stream.body);
        }
        let most = snap::raw::max_compress_len(plain.len());
        if compressed.len() < most {
            compressed.resize(most, 0);
        }
        let len = snappy.compress(plain, compressed).expect("a push is far below snappy's 4 GiB");
        &compressed[..len]
    }

    /// How long it took from sending it to its answer; where that is long, more has to be under way.
    pub fn answered_within(&self, round_trip: Duration) {
        self.traffic.measured(round_trip);
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

    /// Two smaller batches with the same entries in the same order, for an answer that refused the whole; None when it
    /// holds a single entry. Streams are parted first, so that a refused one costs its neighbours nothing.
    pub fn split(mut self) -> Result<(Batch, Batch), Batch> {
        if self.entries < 2 {
            return Err(self);
        }
        let mut second = Batch::new(self.tenant.clone(), self.lane, self.traffic.another(), self.bounds.clone());
        second.led = self.led;
        second.acks = self.acks.iter().map(Ack::send).collect();
        second.streams = if self.streams.len() > 1 {
            // Who leads is the last.
            self.led = false;
            self.streams.split_off(self.streams.len() / 2)
        } else {
            vec![self.streams[0].split()]
        };
        for half in [&mut self, &mut second] {
            half.entries = half.streams.iter().map(|s| s.entries).sum();
            half.bytes = half.streams.iter().map(|s| s.bytes).sum();
        }
        Ok((self, second))
    }

    /// Appends to its `stream`-th stream; gives the bytes that makes.
    fn push(&mut self, stream: usize, entry: Entry<'_>) -> usize {
        if !self.acks.last().is_some_and(|last| last.same(entry.ack.get())) {
            self.acks.push(entry.ack.get().send());
        }
        let ack = self.acks.len() - 1;
        let stream = &mut self.streams[stream];
        let bytes = wire::entry(&mut stream.body, &entry);
        stream.entries += 1;
        stream.bytes += bytes;
        // With its newline, so that an empty line counts as well.
        stream.window.take(bytes + 1);
        self.entries += 1;
        self.bytes += bytes;
        match stream.spans.last_mut() {
            Some(span) if span.ack == ack => {
                span.entries += 1;
                span.weight += entry.weight;
            }
            _ => stream.spans.push(Span { ack, entries: 1, weight: entry.weight }),
        }
        entry.close();
        bytes
    }

    /// Puts the stream at this place last.
    fn lead(&mut self, place: usize) {
        self.led = true;
        let last = self.streams.len() - 1;
        self.streams.swap(place, last);
    }

    /// Gives the place of the new stream.
    fn add_stream(&mut self, labels: Arc<str>, window: Arc<Window>, room: usize) -> usize {
        self.streams.push(Stream {
            labels,
            body: Vec::with_capacity(room),
            entries: 0,
            bytes: 0,
            spans: Vec::new(),
            window,
        });
        self.streams.len() - 1
    }
}

impl Stream {
    /// Keeps the older half.
    fn split(&mut self) -> Stream {
        let keep = self.entries / 2;
        let at = wire::skip_entries(&self.body, keep);
        let body = self.body.split_off(at);
        let bytes = wire::content_bytes(&body);
        let entries = self.entries - keep;
        self.entries = keep;
        self.bytes -= bytes;
        let spans = self.split_spans(keep);
        Stream { labels: self.labels.clone(), body, entries, bytes, spans, window: self.window.clone() }
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
