//! Appends to the last segment of a spool.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::{Spool, Transaction};

/// If everything is committed, a new segment is begun after so many bytes.
const SMALL: u64 = 1 << 20;

/// The largest segment. A segment is deleted as a whole.
const SEGMENT: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Writer {
    /// The last segment and its file.
    last: Option<(u64, File)>,
    /// Something may be behind the end of the segment that was not synced.
    is_torn: bool,
}

impl Writer {
    pub fn new(last: Option<(u64, File)>) -> Self {
        Self { last, is_torn: false }
    }

    pub fn append(&mut self, spool: &Spool, transactions: &[Transaction]) -> io::Result<()> {
        let (number, mut end) = self.segment(spool)?;
        let Some((_, file)) = &self.last else { return Err(io::ErrorKind::NotFound.into()) };
        if self.is_torn {
            file.set_len(end)?;
        }
        self.is_torn = true;
        for transaction in transactions {
            file.write_all_at(&transaction.bytes, end)?;
            end += transaction.size();
        }
        file.sync_data()?;
        self.is_torn = false;
        spool.lock().segments.insert(number, end);
        Ok(())
    }

    /// The segment to append to, and its end.
    fn segment(&mut self, spool: &Spool) -> io::Result<(u64, u64)> {
        let (last, end, is_done, remembered) = {
            let state = spool.lock();
            let (last, end) = state.segments.last_key_value().map_or((0, 0), |(number, end)| (*number, *end));
            let is_done = end >= SEGMENT.min(state.max_size / 8) || end >= SMALL && state.is_committed();
            let remembered: Vec<u128> = state.remembered.iter().copied().collect();
            (last, end, is_done, remembered)
        };
        if self.last.as_ref().is_some_and(|(number, _)| *number == last) && !is_done {
            return Ok((last, end));
        }
        if let Some((_, file)) = self.last.as_ref().filter(|_| self.is_torn) {
            file.set_len(end)?;
            file.sync_all()?;
        }
        let (file, end) = spool.segments.create(last + 1, &remembered)?;
        (self.last, self.is_torn) = (Some((last + 1, file)), false);
        let mut state = spool.lock();
        // Whoever has committed all of the last segment goes on in the new one.
        let before = state.segments.get(&last).copied();
        for reader in state.readers.iter_mut().flatten() {
            if reader.segment == last && Some(reader.frame) >= before {
                *reader = super::Location { segment: last + 1, ..super::Location::default() };
            }
        }
        state.segments.insert(last + 1, end);
        let removed = state.sweep();
        drop(state);
        removed.into_iter().for_each(|number| spool.segments.remove(number));
        Ok((last + 1, end))
    }
}
