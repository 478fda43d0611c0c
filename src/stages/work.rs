//! An entry in the pipeline.

use std::borrow::Cow;

use super::Extracted;
use crate::model::{Entry, LabelSet, Structured, Weight};

/// An entry and the values extracted from it.
///
/// The lines of a chunk are processed one after the other in the same `Work`. Its owner lends it to the stages, and
/// closes the entry when they return.
#[derive(Debug)]
pub struct Work<'c> {
    pub entry: Entry<'c>,
    pub extracted: Extracted<'c>,
    /// The read time of the line in Unix nanoseconds. Independent of the entry's time.
    pub read: i64,
    /// The labels that the entry had before its present ones. Nearly all lines change between the same two sets.
    before: Option<LabelSet>,
    /// Why a stage could not do its work. None: nobody asks, as in an agent that only delivers.
    reasons: Option<Vec<String>>,
}

/// The text that a stage with this `source` reads: the line, or an extracted value as text. None: the value does not
/// exist. For stages whose values may borrow from the text. A stage that only looks at it uses `extracted.text(source)`,
/// which copies nothing.
pub(super) fn source_text<'l, 'c>(
    line: &'l Cow<'c, str>,
    extracted: &Extracted<'c>,
    source: Option<&str>,
) -> Option<Cow<'l, Cow<'c, str>>> {
    match source {
        None => Some(Cow::Borrowed(line)),
        Some(source) => extracted.text_for_line(source).map(Cow::Owned),
    }
}

/// Why [`source_text`] finds no text.
pub(super) fn no_value(source: Option<&str>) -> String {
    format!("there is no extracted value {} that is text", source.unwrap_or_default())
}

/// Proof that a stage holds the entry it borrowed: it was kept, or joined to one that is held. There is no other way to
/// create it, so a stage cannot claim to hold an entry that it dropped.
#[derive(Debug)]
#[must_use = "it is for who lent the entry"]
pub struct Kept(());

impl<'c> Work<'c> {
    pub fn new(entry: Entry<'c>) -> Self {
        Self { read: entry.timestamp, entry, extracted: Extracted::default(), before: None, reasons: None }
    }

    /// From now on, [`fails`](Self::fails) keeps reasons.
    pub(super) fn ask_why(&mut self) {
        self.reasons.get_or_insert_default();
    }

    pub(super) fn is_asked_why(&self) -> bool {
        self.reasons.is_some()
    }

    /// Says why a stage could not do its work with this entry, if somebody asks. The reason may contain the line.
    #[inline]
    pub(super) fn fails(&mut self, why: impl FnOnce() -> String) {
        if let Some(reasons) = &mut self.reasons {
            reasons.push(why());
        }
    }

    /// What was said since the last call.
    pub(super) fn why(&mut self) -> Vec<String> {
        self.reasons.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Turns the entry into the next line of its chunk, see [`Entry::begin`].
    #[inline]
    pub fn begin(&mut self, timestamp: i64, line: &'c str, labels: &LabelSet, offset: u64, weight: Weight) {
        self.set_labels(labels);
        self.entry.begin(timestamp, line, offset, weight);
    }

    /// Sets the labels of the entry. If these are the ones it had before its present ones, as they are line after line,
    /// no reference count is changed: each change would be an atomic operation.
    #[inline]
    pub fn set_labels(&mut self, labels: &LabelSet) {
        let entry = &mut self.entry;
        if entry.labels.same(labels) {
            return;
        }
        match &mut self.before {
            Some(before) if before.same(labels) => std::mem::swap(before, &mut entry.labels),
            before => *before = Some(std::mem::replace(&mut entry.labels, labels.clone())),
        }
    }

    /// Takes the entry out of its chunk, with an acknowledgement of its own, so that it can be held.
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
        (Work { entry, extracted, read: self.read, before: None, reasons: None }, Kept(()))
    }

    /// Joins the line of `other`, a later entry, to this one. Both are then committed together.
    pub fn take_in(&mut self, other: &Work<'_>) -> Kept {
        self.entry.take_in(&other.entry);
        Kept(())
    }
}
