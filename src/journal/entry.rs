//! An entry: its place in the journal, and its fields.

use std::ops::Range;

use super::location::Location;

/// One entry of a journal. Reused for the next one to keep its memory.
#[derive(Debug, Default)]
pub struct Entry {
    pub location: Location,
    bytes: Vec<u8>,
    fields: Vec<Range<usize>>,
}

impl Entry {
    /// The fields with their values, in the order of the file. A field may occur more than once.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.texts().filter_map(|text| {
            let (name, value) = text.split_at_checked(memchr::memchr(b'=', text)?)?;
            Some((name, &value[1..]))
        })
    }

    /// The value of a field. If the field has several values, the last one.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields().filter(|(field, _)| *field == name.as_bytes()).last().map(|(_, value)| value)
    }

    /// The fields as they are stored: `NAME=value`.
    pub(super) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter_map(|range| self.bytes.get(range.clone()))
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
    }

    /// Bytes of all fields.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a field that `write` appends to the bytes.
    pub(super) fn add<T, E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<T, E>) -> Result<T, E> {
        let begin = self.bytes.len();
        let written = write(&mut self.bytes);
        match &written {
            Ok(_) => self.fields.push(begin..self.bytes.len()),
            Err(_) => self.bytes.truncate(begin),
        }
        written
    }

    /// Adds a field.
    pub(super) fn add_text(&mut self, text: &[u8]) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(text);
        self.fields.push(begin..self.bytes.len());
    }

    /// Removes the field that was added last.
    pub(super) fn remove_last(&mut self) {
        if let Some(range) = self.fields.pop() {
            self.bytes.truncate(range.start);
        }
    }

    /// The field that was added last.
    pub(super) fn last(&self) -> &[u8] {
        self.fields.last().and_then(|range| self.bytes.get(range.clone())).unwrap_or_default()
    }
}

/// Counts of entries and fields that were skipped because they could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skips {
    /// Entries that are damaged.
    pub entries: u64,
    /// Fields that are damaged. Their entries are given without them.
    pub fields: u64,
    /// Fields longer than 2 MiB, or beyond 4 MiB of an entry. Their entries are given without them.
    pub long_fields: u64,
    /// Entries that were deleted before they were read, as far as their number is known.
    pub deleted: u64,
}

impl std::ops::AddAssign for Skips {
    fn add_assign(&mut self, other: Self) {
        self.entries += other.entries;
        self.fields += other.fields;
        self.long_fields += other.long_fields;
        self.deleted += other.deleted;
    }
}
