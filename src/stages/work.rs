//! An entry on its way through the stages.

use std::borrow::Cow;

use super::Extracted;
use crate::model::{Entry, Structured};

/// An entry, with what the stages have extracted from it.
///
/// The lines of a chunk are worked on one after the other in the same one. Whoever made it lends it to the stages, and
/// closes its entry when they are done with it.
#[derive(Debug)]
pub struct Work<'c> {
    pub entry: Entry<'c>,
    pub extracted: Extracted<'c>,
    /// When its line was read, whatever time the entry has by now. Unix nanoseconds.
    pub read: i64,
}

/// Proof that a stage has what it was lent: it was kept, or taken in by what is. There is no other way to come by one, so no
/// stage can say that it holds an entry and have forgotten it.
#[derive(Debug)]
#[must_use = "it is for who lent the entry"]
pub struct Kept(());

impl<'c> Work<'c> {
    pub fn new(entry: Entry<'c>) -> Self {
        Self { read: entry.timestamp, entry, extracted: Extracted::default() }
    }

    /// The same on its own feet, with an acknowledgement of its own, to be kept beyond the chunk.
    pub fn keep(&mut self) -> (Work<'static>, Kept) {
        let entry = &mut self.entry;
        let entry = Entry {
            timestamp: entry.timestamp,
            line: Cow::Owned(std::mem::take(&mut entry.line).into_owned()),
            labels: entry.labels.clone(),
            metadata: entry.metadata.drain(..).map(Structured::into_owned).collect(),
            tenant: entry.tenant.take(),
            origin: entry.origin,
            weight: entry.weight,
            ack: entry.ack.hold(),
        };
        let extracted = std::mem::take(&mut self.extracted).into_owned();
        (Work { entry, extracted, read: self.read }, Kept(()))
    }

    /// The line of `other`, which came later, has become part of this one: nothing of it is delivered before all of it is.
    pub fn take_in(&mut self, other: &Work<'_>) -> Kept {
        self.entry.take_in(&other.entry);
        Kept(())
    }
}
