//! The objects of a journal file: entries and the data objects that they are made of.

use std::fs;
use std::io;

use super::header::{Header, u32_at, u64_at};
use super::location::{Id, Location};
use super::pages::Pages;
use super::payload::{self, LONGEST};

/// Types of objects.
const DATA: u8 = 1;
const ENTRY: u8 = 3;
pub(super) const ENTRY_ARRAY: u8 = 6;

/// Bytes of the part that all objects have: the type, flags and the size.
const COMMON: usize = 16;

/// Bytes of an entry before its list of fields.
const ENTRY_HEAD: usize = 64;

/// The most fields of an entry: journald takes 1,024 from a client and adds some of its own.
const FIELDS: usize = 4096;

/// Bytes of a data object before its payload.
const DATA_HEAD: usize = 64;
const DATA_HEAD_COMPACT: usize = 72;

/// Why an object cannot be used.
#[derive(Debug)]
pub(super) enum Error {
    Damaged,
    TooLong,
    Io,
}

impl From<io::Error> for Error {
    fn from(_: io::Error) -> Self {
        Error::Io
    }
}

/// Reads the objects of one file.
pub(super) struct Objects<'f> {
    pub id: u32,
    pub file: &'f fs::File,
    pub header: &'f Header,
    pub pages: &'f mut Pages,
    /// Reused for each object.
    pub buffer: &'f mut Vec<u8>,
}

impl Objects<'_> {
    /// Reads `head` bytes of the object at `at`, and returns its whole size.
    pub fn head(&mut self, at: u64, kind: u8, head: usize) -> Result<usize, Error> {
        let Header { begin, end, .. } = *self.header;
        let is_inside = |size: u64| at >= begin && at.checked_add(size).is_some_and(|until| until <= end);
        if !at.is_multiple_of(8) || !is_inside(head as u64) {
            return Err(Error::Damaged);
        }
        self.pages.read((self.id, self.file), at, head, self.buffer)?;
        let size = u64_at(self.buffer, 8);
        let is_valid = self.buffer.len() == head && self.buffer[0] == kind && size >= head as u64 && is_inside(size);
        match usize::try_from(size) {
            Ok(size) if is_valid => Ok(size),
            _ => Err(Error::Damaged),
        }
    }

    /// Reads the place in the journal of the entry at `at`, and its size.
    pub fn location(&mut self, at: u64) -> Result<(Location, usize), Error> {
        let size = self.head(at, ENTRY, ENTRY_HEAD)?;
        let bytes = &self.buffer;
        let location = Location {
            seqnum_id: self.header.seqnum_id,
            seqnum: u64_at(bytes, 16),
            realtime: u64_at(bytes, 24),
            monotonic: u64_at(bytes, 32),
            boot: Id(bytes[40..56].try_into().unwrap_or_default()),
            hash: u64_at(bytes, 56),
        };
        // After a power failure, zeros are in the place of an entry that was not written.
        if location.seqnum == 0 || location.realtime == 0 {
            return Err(Error::Damaged);
        }
        Ok((location, size))
    }

    /// Reads the places of the data objects of the entry at `at` into `data`.
    pub fn fields(&mut self, at: u64, size: usize, data: &mut Vec<u64>) -> Result<(), Error> {
        let item = if self.header.is_compact { 4 } else { 16 };
        let list = size - ENTRY_HEAD;
        if !list.is_multiple_of(item) || list / item > FIELDS {
            return Err(Error::Damaged);
        }
        self.pages.read((self.id, self.file), at + ENTRY_HEAD as u64, list, self.buffer)?;
        if self.buffer.len() != list {
            return Err(Error::Damaged);
        }
        let place = |item: &[u8]| if item.len() == 4 { u64::from(u32_at(item, 0)) } else { u64_at(item, 0) };
        data.clear();
        data.extend(self.buffer.chunks_exact(item).map(place));
        Ok(())
    }

    /// Appends the text of the data object at `at` to `out`. Returns whether more than one entry has it.
    pub fn data(&mut self, at: u64, out: &mut Vec<u8>) -> Result<bool, Error> {
        let head = if self.header.is_compact { DATA_HEAD_COMPACT } else { DATA_HEAD };
        let size = self.head(at, DATA, head)?;
        let (flags, is_shared) = (self.buffer[1], u64_at(self.buffer, 56) > 1);
        let len = size - head;
        // A compressed payload is longer than its content by a few bytes at most.
        if len > LONGEST + COMMON {
            return Err(Error::TooLong);
        }
        self.pages.read((self.id, self.file), at + head as u64, len, self.buffer)?;
        if self.buffer.len() != len {
            return Err(Error::Damaged);
        }
        payload::decode(flags, self.buffer, out).map_err(|error| match error {
            payload::Error::Damaged => Error::Damaged,
            payload::Error::TooLong => Error::TooLong,
        })?;
        Ok(is_shared)
    }
}
