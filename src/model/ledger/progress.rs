//! How far a log is, for display.

/// The progress of a log. It is a part of the ledger because all code that works on a log has its ledger.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Offset of the next byte to read, in the generation being read.
    pub read_offset: u64,
    /// Committed offset, in the generation that contains it. For a log that was not read yet: the offset of its
    /// position.
    pub committed_offset: u64,
    /// Bytes of the generation being read and of all newer ones, as last seen.
    pub size: u64,
    /// Bytes on disk that have not been read, over all generations.
    pub unread: u64,
    /// How many generations are open.
    pub generations: u32,
    /// When lines were read last, in Unix nanoseconds. 0: no line was read since the start.
    pub last_read: i64,
    /// When the last acknowledgement of delivered lines was noticed, in Unix nanoseconds. 0: nothing was delivered since
    /// the start.
    pub last_delivery: i64,
    /// The delivered lines at that time.
    delivered: u64,
}

impl Progress {
    /// Takes over what was found out about the files of the log.
    pub fn found(&mut self, files: Progress) {
        let Progress { read_offset, size, unread, generations, .. } = files;
        *self = Progress { read_offset, size, unread, generations, ..*self };
    }

    pub(super) fn committed(&mut self, offset: u64, delivered: u64, now: i64) {
        self.committed_offset = offset;
        // A commit of discarded lines is no delivery.
        if delivered > self.delivered {
            (self.delivered, self.last_delivery) = (delivered, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_of_discarded_lines_is_no_delivery() {
        let mut progress = Progress { last_read: 3, ..Progress::default() };
        progress.committed(10, 0, 5);
        assert_eq!((progress.committed_offset, progress.last_delivery), (10, 0));
        progress.committed(20, 2, 6);
        progress.committed(30, 2, 7);
        assert_eq!((progress.committed_offset, progress.last_delivery), (30, 6));
        progress.found(Progress { size: 99, ..Progress::default() });
        assert_eq!((progress.size, progress.committed_offset), (99, 30));
        assert_eq!((progress.last_read, progress.last_delivery), (3, 6), "files do not tell these times");
    }
}
