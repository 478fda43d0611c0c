//! Limits the deleted files that are kept open, so that a long outage of Loki does not fill the node's disk.

use super::Reader;
use crate::scrape::metrics::DELETED;
use crate::scrape::supervised::Held;
use crate::tail::{GENERATIONS, Log};

impl Held<'_, Reader> {
    /// Notes how much disk space the deleted files of this log take. If all logs together take too much, those that
    /// take most give up their oldest files.
    pub(super) fn bound_pinned(&mut self, log: u64) {
        let pinned = self.with_input(log, |input| input.log().map_or(0, Log::pinned)).unwrap_or(0);
        self.bound_older(log);
        match pinned {
            0 => drop(self.pinned.remove(&log)),
            _ => drop(self.pinned.insert(log, pinned)),
        }
        let limit = self.config.deleted_files_limit;
        while let Some(excess) = self.pinned.values().sum::<u64>().checked_sub(limit + 1) {
            let most = self.pinned.iter().max_by_key(|(_, bytes)| **bytes).map(|(log, bytes)| (*log, *bytes));
            let Some((log, bytes)) = most else {
                return;
            };
            self.pinned.remove(&log);
            let left = self.shed(log, bytes.saturating_sub(excess + 1));
            if left > 0 && left < bytes {
                self.pinned.insert(log, left);
            }
        }
    }

    /// Limits the open older files per log, and over all logs to the descriptors that these leave. Beyond the limit,
    /// the log with the most older files gives up its oldest.
    fn bound_older(&mut self, log: u64) {
        let files = self.tailers.get(&log).and_then(|tailer| tailer.input.log()).map_or(0, Log::files);
        match files {
            0 | 1 => drop(self.older.remove(&log)),
            more => drop(self.older.insert(log, more - 1)),
        }
        if files > GENERATIONS {
            self.shed_files(log, GENERATIONS);
        }
        while self.older.values().sum::<usize>() > self.config.files.saturating_sub(self.tailers.len()).max(1) {
            let Some((log, files)) = self.older.iter().max_by_key(|(_, files)| **files).map(|(l, f)| (*l, *f)) else {
                return;
            };
            // Several at once: giving up one file at a time would write one log line for each.
            self.shed_files(log, files - files / 8);
        }
    }

    fn shed_files(&mut self, log: u64, most: usize) {
        let shed = self.with_input(log, |input| {
            let file = input.log_mut()?;
            Some((file.shed_files(most), file.files()))
        });
        // A log of which a system call hangs is counted again when that returns.
        let Some((lost, files)) = shed.flatten() else {
            self.older.remove(&log);
            return;
        };
        match files {
            0 | 1 => drop(self.older.remove(&log)),
            more => drop(self.older.insert(log, more - 1)),
        }
        self.lose_files(log, lost);
    }

    /// Gives up deleted files of the log beyond `limit` bytes. Returns the bytes that it keeps.
    fn shed(&mut self, log: u64, limit: u64) -> u64 {
        let shed = self.with_input(log, |input| {
            let file = input.log_mut()?;
            Some((file.shed(limit), file.pinned()))
        });
        let Some((lost, left)) = shed.flatten() else {
            return 0;
        };
        if lost > 0
            && let Some(tailer) = self.tailers.get(&log)
        {
            self.sink.metrics.lost(lost, DELETED);
            tailer.ledger().update_account(|account| account.lose(DELETED, lost));
            tracing::warn!(
                path = %tailer.path().display(),
                bytes = lost,
                "deleted files with undelivered lines used more disk space than target_config.deleted_files_limit: \
                 these bytes are lost"
            );
        }
        left
    }
}
