//! Bytes of a log that can never be read, and compressed files whose end is missing.

use std::time::Instant;

use super::Log;

/// How much of a log was lost since the last call of [`Log::take_lost`], in bytes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Of older files that were not opened: there were too many of them, or an error prevented it.
    pub unopened: u64,
    /// Of compressed files that are damaged, from the damage on.
    pub damaged: u64,
    /// Of files that were cut before these bytes were read, without a copy that has them.
    pub cut: u64,
}

impl Log {
    pub fn take_lost(&mut self) -> Lost {
        std::mem::take(&mut self.lost)
    }

    /// Skips the rest of the file being read, which cannot be decompressed. Younger files are read next.
    pub(super) fn skip_damaged(&mut self, error: &std::io::Error, now: Instant) {
        let front = &self.generations[0];
        let (offset, bytes) = (front.offset, front.unread());
        self.lost.damaged += bytes;
        self.skipping = None;
        let path = self.path.display();
        tracing::warn!(%path, offset, bytes, %error, "cannot read an older file of a log: the rest of that file is skipped");
        self.let_go(now);
    }

    /// Whether the compressed file being read will not grow any more. One that is not whole is waited for as long as it
    /// grows, and for a minute after that.
    pub(super) fn is_packed(&mut self, now: Instant) -> bool {
        let front = &self.generations[0];
        // What is before the damage is read.
        if front.is_whole() || front.is_damaged() {
            return true;
        }
        let size = front.metadata().map_or(0, |meta| meta.len());
        match self.growing {
            Some((known, since)) if known == size => {
                // The only file of a log is waited for as long as it has a name.
                let is_left = self.generations.len() > 1 || self.gone.is_some();
                is_left && now >= since + self.options.grace * 120
            }
            _ => {
                self.growing = Some((size, now));
                false
            }
        }
    }

    /// The file being read ends before its content does.
    pub(super) fn note_cut_off(&self) {
        let front = &self.generations[0];
        if !front.is_whole() {
            let (path, offset) = (self.path.display(), front.offset);
            tracing::warn!(
                %path,
                offset,
                "a compressed older file of a log has no end and did not grow for a minute: what is missing of it is lost, and \
                 the agent does not know how much that is"
            );
        }
    }
}
