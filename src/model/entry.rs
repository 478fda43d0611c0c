//! A log entry on its way from a source to Loki.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Ack, ChunkAck, LabelSet, Reason, Weight};

/// An entry as Loki will store it, plus its acknowledgement.
///
/// The line borrows from the chunk that it was read in, until a stage rewrites it.
#[derive(Debug)]
pub struct Entry<'c> {
    /// Unix nanoseconds.
    pub timestamp: i64,
    pub line: Cow<'c, str>,
    pub labels: LabelSet,
    pub metadata: Vec<Structured<'c>>,
    /// Overrides the client's `tenant_id`.
    pub tenant: Option<Arc<str>>,
    pub origin: Origin,
    /// The lines and bytes of the file that this entry covers. More than one line if lines were joined.
    pub weight: Weight,
    pub ack: AckRef<'c>,
}

/// Where an entry was read. Pseudo-random decisions (such as sampling) use file and offset, so they come out the same
/// when the entry is read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Identifies the log within its client. Valid in this run only.
    pub log: u64,
    /// Identifies the file. Stays the same across restarts.
    pub file: u64,
    /// Offset of the line in its file, in bytes.
    pub offset: u64,
    /// Set if the entry has the time of reading: the difference in nanoseconds between that time and the monotonic clock
    /// at that moment. If the clock of the machine is set later, this difference changes by the same amount.
    pub clock: Option<i64>,
}

/// The longest line in bytes, as written or joined from parts. Longer lines are skipped or discarded, and counted. Loki
/// accepts 256 KiB by default.
pub const MAX_LINE: usize = 2 << 20;

/// The longest name of a tenant in bytes, as in Loki, which refuses longer ones.
pub const MAX_TENANT: usize = 150;

/// A pair of structured metadata. The value may borrow from the chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structured<'c> {
    pub name: Arc<str>,
    pub value: Cow<'c, str>,
}

impl Structured<'_> {
    pub fn borrowed(&self) -> Structured<'_> {
        Structured { name: self.name.clone(), value: Cow::Borrowed(&self.value) }
    }

    pub fn into_owned(self) -> Structured<'static> {
        Structured { name: self.name, value: Cow::Owned(self.value.into_owned()) }
    }
}

/// The acknowledgement of an entry: borrowed from its chunk while the chunk is being processed, or its own.
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

    /// Returns an acknowledgement of its own, for a caller that keeps the entry beyond its chunk.
    pub fn hold(&self) -> AckRef<'static> {
        AckRef::Own(match self {
            AckRef::Chunk(chunk) => chunk.hold(),
            AckRef::Own(ack) => ack.share(),
        })
    }
}

impl<'c> Entry<'c> {
    /// Turns this entry into the next line of its chunk, except its labels. `offset` is where the line begins in its
    /// file.
    #[inline]
    pub fn begin(&mut self, timestamp: i64, line: &'c str, offset: u64, weight: Weight) {
        self.timestamp = timestamp;
        self.line = Cow::Borrowed(line);
        self.metadata.clear();
        self.tenant = None;
        self.origin.offset = offset;
        self.weight = weight;
    }

    /// Call this when the line of `other`, a later entry, was joined to this one. This entry's acknowledgement then
    /// covers both: neither is committed without the other.
    pub fn take_in(&mut self, other: &Entry<'_>) {
        self.weight += other.weight;
        self.ack.get().take_in(other.ack.get());
    }

    /// Counts the entry as delivered.
    pub fn deliver(&self) {
        self.ack.get().account(|account| account.delivered += self.weight);
    }

    /// Counts the entry as discarded in the log's account. The caller counts it in the metrics.
    pub fn discard(&self, reason: &Reason) {
        self.ack.get().account(|account| account.discard(reason, self.weight));
    }

    /// Closes the entry's own acknowledgement. An acknowledgement of a chunk is closed when all its lines have been
    /// processed.
    pub fn close(self) {
        if let AckRef::Own(ack) = self.ack {
            ack.close();
        }
    }
}
