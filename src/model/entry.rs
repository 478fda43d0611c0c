//! What travels from a file to Loki.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Ack, ChunkAck, LabelSet, Reason, Weight};

/// What Loki will store, plus its return address.
///
/// The line is a view into the chunk it was read in until a stage rewrites it.
#[derive(Debug)]
pub struct Entry<'c> {
    /// Unix nanoseconds.
    pub timestamp: i64,
    pub line: Cow<'c, str>,
    pub labels: LabelSet,
    pub metadata: Vec<Structured<'c>>,
    /// Where it goes instead of the client's `tenant_id`.
    pub tenant: Option<Arc<str>>,
    pub origin: Origin,
    /// What it is of its file; more than a line if it was joined.
    pub weight: Weight,
    pub ack: AckRef<'c>,
}

/// Where an entry was read. What must be decided by chance is decided by file and offset, which are the same when it has to
/// be read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Names the log within its client and this run.
    pub log: u64,
    /// Names the file in every run.
    pub file: u64,
    /// Of the line in its file.
    pub offset: u64,
}

/// A line longer than this is skipped or discarded, and counted: it bounds what one line can cost, whether it was
/// written as one or joined from parts. Loki takes 256 KiB by default.
pub const MAX_LINE: usize = 2 << 20;

/// A pair of structured metadata; the value may be a view into the chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structured<'c> {
    pub name: Arc<str>,
    pub value: Cow<'c, str>,
}

impl Structured<'_> {
    pub fn into_owned(self) -> Structured<'static> {
        Structured { name: self.name, value: Cow::Owned(self.value.into_owned()) }
    }
}

/// An entry's return address: its chunk's, as long as the chunk is being worked on, or its own.
#[derive(Debug)]
pub enum AckRef<'c> {
    Chunk(&'c ChunkAck),
    Own(Ack),
}

impl AckRef<'_> {
    pub fn get(&self) -> &Ack {
        match self {
            AckRef::Chunk(chunk) => chunk.ack(),
            AckRef::Own(ack) => ack,
        }
    }

    /// For who keeps the entry: one more, of its own.
    pub fn hold(&self) -> AckRef<'static> {
        AckRef::Own(match self {
            AckRef::Chunk(chunk) => chunk.hold(),
            AckRef::Own(ack) => ack.share(),
        })
    }
}

impl<'c> Entry<'c> {
    /// Makes it the next line of its chunk, which begins at `offset` of the file.
    pub fn begin(&mut self, timestamp: i64, line: &'c str, labels: &LabelSet, offset: u64, weight: Weight) {
        self.timestamp = timestamp;
        self.line = Cow::Borrowed(line);
        if !self.labels.same(labels) {
            self.labels = labels.clone();
        }
        self.metadata.clear();
        self.tenant = None;
        self.origin.offset = offset;
        self.weight = weight;
    }

    /// The line of `other`, which came later, has become part of this one. This one's acknowledgement carries both:
    /// nothing of it is delivered before all of it is.
    pub fn take_in(&mut self, other: &Entry<'_>) {
        self.weight += other.weight;
        self.ack.get().take_in(other.ack.get());
    }

    /// It has reached its end.
    pub fn deliver(&self) {
        self.ack.get().account(|account| account.delivered += self.weight);
    }

    /// It will not; who calls this counts it besides.
    pub fn discard(&self, reason: &Reason) {
        self.ack.get().account(|account| account.discard(reason, self.weight));
    }

    /// What was to become of it has. (That of its chunk is closed when all lines of that are worked on.)
    pub fn close(self) {
        if let AckRef::Own(ack) = self.ack {
            ack.close();
        }
    }
}
