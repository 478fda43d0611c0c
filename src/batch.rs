//! Groups entries into streams, in Loki's wire form from the first byte on.
//!
//! ```text
//! PushRequest { repeated Stream { 1: labels, 2: repeated Entry { 1: Timestamp { 1: s, 2: ns }, 2: line, 3: metadata } } }
//! ```
//!
//! An entry is written straight into its stream's body; finishing a batch adds the stream heads and compresses once.

mod batcher;
mod wire;

pub use batcher::{Batcher, Config, Lane, Limits, Outcome};

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::model::{Ack, Entry, LabelMap, LabelSet};

/// One push being written, or on its way.
#[derive(Debug)]
pub struct Batch {
    tenant: Option<Arc<str>>,
    streams: Vec<Stream>,
    index: LabelMap<usize>,
    acks: Vec<Ack>,
    entries: usize,
    bytes: usize,
    /// Counts the batch as outstanding in its lane for as long as it exists.
    _outstanding: Option<Outstanding>,
}

/// The entries of one stream, encoded.
#[derive(Debug)]
struct Stream {
    labels: String,
    body: Vec<u8>,
    entries: usize,
    bytes: usize,
}

impl Batch {
    fn new(tenant: Option<Arc<str>>) -> Self {
        Self {
            tenant,
            streams: Vec::new(),
            index: LabelMap::default(),
            acks: Vec::new(),
            entries: 0,
            bytes: 0,
            _outstanding: None,
        }
    }

    pub fn tenant(&self) -> Option<&Arc<str>> {
        self.tenant.as_ref()
    }

    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Bytes of lines and structured metadata: what `batchsize` limits.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The label strings of its streams, for messages.
    pub fn stream_labels(&self) -> impl Iterator<Item = &str> {
        self.streams.iter().map(|s| s.labels.as_str())
    }

    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The body of the push: protobuf, snappy's block format.
    pub fn encode(&self, snappy: &mut snap::raw::Encoder) -> Vec<u8> {
        let mut plain = Vec::with_capacity(self.streams.iter().map(|s| s.body.len() + s.labels.len() + 16).sum());
        for stream in &self.streams {
            wire::stream(&mut plain, &stream.labels, &stream.body);
        }
        snappy.compress_vec(&plain).expect("a push is far below snappy's 4 GiB")
    }

    /// Everything in it is delivered, or discarded and counted.
    pub fn close(self) {
        for ack in self.acks {
            ack.close();
        }
    }

    /// Two smaller batches with the same entries in the same order, for an answer that refused the whole; None when it
    /// holds a single entry. Streams are parted first, so that a refused one costs its neighbours nothing.
    pub fn split(mut self) -> Result<(Batch, Batch), Batch> {
        if self.entries < 2 {
            return Err(self);
        }
        let mut second = Batch::new(self.tenant.clone());
        second.acks = self.acks.iter().map(Ack::send).collect();
        second._outstanding = self._outstanding.as_ref().map(Outstanding::another);
        second.streams = if self.streams.len() > 1 {
            self.streams.split_off(self.streams.len() / 2)
        } else {
            let stream = &mut self.streams[0];
            let keep = stream.entries / 2;
            let at = wire::skip_entries(&stream.body, keep);
            let body = stream.body.split_off(at);
            let bytes = wire::content_bytes(&body);
            let rest = Stream { labels: stream.labels.clone(), body, entries: stream.entries - keep, bytes };
            stream.entries = keep;
            stream.bytes -= bytes;
            vec![rest]
        };
        for half in [&mut self, &mut second] {
            half.index.clear();
            half.entries = half.streams.iter().map(|s| s.entries).sum();
            half.bytes = half.streams.iter().map(|s| s.bytes).sum();
        }
        Ok((self, second))
    }

    fn push(&mut self, entry: Entry<'_>, external: &[(String, String)]) {
        let stream = match self.index.get(&entry.labels) {
            Some(stream) => *stream,
            None => self.add_stream(&entry.labels, external),
        };
        let stream = &mut self.streams[stream];
        let bytes = wire::entry(&mut stream.body, &entry);
        stream.entries += 1;
        stream.bytes += bytes;
        self.entries += 1;
        self.bytes += bytes;
        if !self.acks.last().is_some_and(|last| last.same(entry.ack.get())) {
            self.acks.push(entry.ack.get().send());
        }
        entry.close();
    }

    fn add_stream(&mut self, labels: &LabelSet, external: &[(String, String)]) -> usize {
        let wire = if external.is_empty() {
            labels.to_string()
        } else {
            // An entry's own label wins over an external one of its name.
            LabelSet::new(external.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain(labels.iter())).to_string()
        };
        self.streams.push(Stream { labels: wire, body: Vec::new(), entries: 0, bytes: 0 });
        self.index.insert(labels.clone(), self.streams.len() - 1);
        self.streams.len() - 1
    }
}

/// A count of a lane's batches that have not come to their end.
#[derive(Debug)]
struct Outstanding(Arc<AtomicUsize>);

impl Outstanding {
    fn of(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }

    fn another(&self) -> Self {
        Self::of(&self.0)
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
