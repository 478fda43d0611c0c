//! Counts and reports bytes of a log that can never be read.

use super::Reader;
use crate::scrape::metrics::{DAMAGED, ROTATED_AWAY, TOO_MANY};
use crate::tail::Lost;

impl Reader {
    /// Counts what a log has lost. Only files that could not be opened are reported here: the log reports the rest.
    pub(super) fn count_lost(&mut self, log: u64, lost: Lost) {
        self.lose_files(log, lost.unopened);
        self.lose(log, DAMAGED, lost.damaged);
        self.lose(log, ROTATED_AWAY, lost.cut);
        if lost.cut > 0
            && let Some(tailer) = self.tailers.get(&log)
            && self.budget.allows(self.clock.now())
        {
            let (path, bytes) = (tailer.path().display(), lost.cut);
            tracing::warn!(%path, bytes, "a log was cut before it was read, and no copy has these bytes: they are lost");
        }
    }

    /// Counts older files of a log that are not read.
    pub(super) fn lose_files(&mut self, log: u64, bytes: u64) {
        self.lose(log, TOO_MANY, bytes);
        let Some(tailer) = self.tailers.get(&log).filter(|_| bytes > 0) else {
            return;
        };
        if self.budget.allows(self.clock.now()) {
            tracing::warn!(
                path = %tailer.path().display(),
                bytes,
                "a log has more unread older files than may be open (at most 256 for a log, and half of ulimit -n, or of \
                 LimitNOFILE of a systemd unit, for all logs): these bytes of the oldest files are lost"
            );
        }
    }

    /// Counts bytes of a log that were not read and cannot be read any more.
    pub(super) fn lose(&mut self, log: u64, why: &'static str, bytes: u64) {
        let tailer = self.tailers.get(&log).or(self.ending.get(&log));
        let Some(tailer) = tailer.filter(|_| bytes > 0) else {
            return;
        };
        self.sink.metrics.lost(bytes, why);
        tailer.ledger().update_account(|account| account.lose(why, bytes));
    }
}
