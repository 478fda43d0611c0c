//! A batch under construction.

use std::sync::Arc;

use super::bounds::Bounds;
use super::encoder::Encoder;
use super::lane_stats::InFlightGuard;
use super::stream::Window;
use super::{Batch, Span, Stream, wire};
use crate::model::{Ack, Entry};

/// Becomes a [`Batch`] when it is sealed.
#[derive(Debug, Default)]
pub(super) struct BatchBuilder {
    streams: Vec<Stream>,
    /// The encoded entries of each stream.
    bodies: Vec<Vec<u8>>,
    acks: Vec<Ack>,
    entries: usize,
    bytes: usize,
}

impl BatchBuilder {
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Bytes of lines and structured metadata.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends an entry to the stream with this index. Returns the bytes of its line and metadata.
    pub fn push(&mut self, stream: usize, entry: &Entry<'_>) -> usize {
        let ack = entry.ack.get();
        if !self.acks.last().is_some_and(|last| last.same(ack)) {
            self.acks.push(ack.send());
        }
        let ack = self.acks.len() - 1;
        let bytes = wire::entry(&mut self.bodies[stream], entry);
        let stream = &mut self.streams[stream];
        stream.entries += 1;
        stream.bytes += bytes;
        self.entries += 1;
        self.bytes += bytes;
        match stream.spans.last_mut() {
            Some(span) if span.ack == ack && span.clock == entry.origin.clock => {
                span.entries += 1;
                span.weight += entry.weight;
            }
            _ => stream.spans.push(Span { ack, entries: 1, weight: entry.weight, clock: entry.origin.clock }),
        }
        bytes
    }

    /// Adds a stream. Returns its index.
    pub fn add_stream(&mut self, labels: Arc<str>, window: Arc<Window>, cost: usize, body: Vec<u8>) -> usize {
        self.bodies.push(body);
        self.streams.push(Stream { labels, entries: 0, bytes: 0, spans: Vec::new(), window, cost, apart: None });
        self.streams.len() - 1
    }

    /// Turns everything added so far into a batch, and empties the builder. The stream at index `leader` becomes the
    /// last.
    pub fn seal(
        &mut self,
        leader: Option<usize>,
        (tenant, lane): (Option<Arc<str>>, u64),
        guard: InFlightGuard,
        bounds: Arc<Bounds>,
        encoder: &mut Encoder,
    ) -> Batch {
        let BatchBuilder { streams, bodies, acks, entries, bytes } = self;
        if let Some(place) = leader {
            let last = streams.len() - 1;
            streams.swap(place, last);
            bodies.swap(place, last);
        }
        let body = encoder.encode(streams.iter().map(|s| &*s.labels).zip(bodies.iter().map(Vec::as_slice)));
        bodies.drain(..).for_each(|body| encoder.put_back(body));
        Batch {
            tenant,
            lane,
            led: leader.is_some(),
            streams: std::mem::take(streams),
            acks: std::mem::take(acks),
            entries: std::mem::take(entries),
            bytes: std::mem::take(bytes),
            guard,
            bounds,
            body,
        }
    }
}
