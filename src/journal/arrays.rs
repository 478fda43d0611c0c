//! The chain of entry arrays of a file. It has the place of each entry, in the order in which they were written.

use super::header::{u32_at, u64_at};
use super::object::{ENTRY_ARRAY, Error, Objects};

/// Bytes of an array before its items.
const HEAD: usize = 24;

/// The most arrays of a file. Each is twice as long as the one before it, so 30 would do for any file.
const ARRAYS: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Array {
    at: u64,
    /// The number of its first entry.
    first: u64,
    len: u64,
}

/// The arrays that were read so far.
#[derive(Debug, Default)]
pub(super) struct Arrays {
    known: Vec<Array>,
}

impl Arrays {
    /// The offset of the entry with this number. The number must be less than the file's number of entries.
    pub fn entry(&mut self, number: u64, objects: &mut Objects<'_>) -> Result<u64, Error> {
        let item = if objects.header.is_compact { 4 } else { 8 };
        while self.known.last().is_none_or(|last| last.first + last.len <= number) {
            let next = match self.known.last() {
                None => objects.header.array,
                Some(last) => {
                    objects.head(last.at, ENTRY_ARRAY, HEAD)?;
                    u64_at(objects.buffer, 16)
                }
            };
            // Arrays are appended to the file, so a chain that goes back is damaged.
            if self.known.last().is_some_and(|last| next <= last.at) || self.known.len() >= ARRAYS {
                return Err(Error::Damaged);
            }
            let size = objects.head(next, ENTRY_ARRAY, HEAD)?;
            let first = self.known.last().map_or(0, |last| last.first + last.len);
            let len = ((size - HEAD) / item) as u64;
            if len == 0 {
                return Err(Error::Damaged);
            }
            self.known.push(Array { at: next, first, len });
        }
        let index = self.known.partition_point(|array| array.first + array.len <= number);
        let array = self.known.get(index).ok_or(Error::Damaged)?;
        let at = array.at + HEAD as u64 + (number - array.first) * item as u64;
        objects.pages.read((objects.id, objects.file), at, item, objects.buffer)?;
        match (objects.buffer.len() == item, item) {
            (true, 4) => Ok(u64::from(u32_at(objects.buffer, 0))),
            (true, _) => Ok(u64_at(objects.buffer, 0)),
            (false, _) => Err(Error::Damaged),
        }
    }
}
