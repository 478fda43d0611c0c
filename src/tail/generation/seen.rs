//! What is known of a file beyond what was read of it: how long it was when it was looked at, and what its last bytes were.
//! While a log waits for answers, its file may be copied and cut several times.

use std::io;
use std::os::unix::fs::MetadataExt;

use super::Generation;
use crate::model::{Fingerprint, Position};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// The last bytes of the file.
    before: Fingerprint,
}

impl Generation {
    /// Whether nothing was written to the file since the last look, as far as can be told. Costs one system call.
    pub fn is_unchanged(&self) -> io::Result<bool> {
        if !self.is_plain() {
            return Ok(true);
        }
        let meta = self.metadata()?;
        Ok((self.seen.size, self.seen.modified) == (meta.len(), (meta.mtime(), meta.mtime_nsec())))
    }

    /// Notes how the file ends now.
    pub fn note_seen(&mut self) -> io::Result<()> {
        if self.is_unchanged()? {
            return Ok(());
        }
        self.learn_head()?;
        let meta = self.metadata()?;
        let before = self.look_before(meta.len())?;
        self.seen = Seen { size: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()), before };
        Ok(())
    }

    /// Bytes that the file had at the last look and that were not read.
    pub fn seen_ahead(&self) -> u64 {
        self.seen.size.saturating_sub(self.offset)
    }

    /// The end of the file as it was at the last look, if that is behind what was read.
    pub fn seen_end(&self) -> Option<Position> {
        let Seen { size, before, .. } = self.seen;
        (size > self.offset && before.len > 0).then(|| Position { file: self.id(), offset: size, before })
    }

    /// The end that was seen is gone, although the file goes on where it was read. Returns the bytes that are gone.
    pub fn forget_end(&mut self) -> u64 {
        let size = self.metadata().map_or(0, |meta| meta.len());
        std::mem::take(&mut self.seen).size.saturating_sub(size.max(self.offset))
    }

    /// Whether the bytes that the file ended with at the last look are still there.
    pub(super) fn is_as_seen(&mut self) -> io::Result<bool> {
        let Some(end) = self.seen_end() else {
            return Ok(true);
        };
        self.has_before(end.offset, end.before)
    }
}
