//! A Loki that is away for long must not fill a node's disk with what its owner has thrown away.

use super::Reader;
use crate::scrape::tailer::Source;

impl Reader {
    /// Notes what of the disk this log holds; where all logs together hold too much, those that hold most give up their
    /// oldest files.
    pub(super) fn bound_pinned(&mut self, log: u64) {
        let pinned = match self.tailers.get(&log).map(|tailer| &tailer.source) {
            Some(Source::File(log)) => log.pinned(),
            _ => 0,
        };
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

    /// Gives what the log holds then.
    fn shed(&mut self, log: u64, limit: u64) -> u64 {
        let Some(tailer) = self.tailers.get_mut(&log) else {
            return 0;
        };
        let Source::File(file) = &mut tailer.source else {
            return 0;
        };
        let lost = file.shed(limit);
        if lost > 0 {
            self.desk.metrics.lost(lost, DELETED);
            tailer.ledger.update_account(|account| account.lose(DELETED, lost));
            tracing::warn!(
                path = %tailer.path.display(),
                bytes = lost,
                "deleted files whose lines Loki has not taken held more of the disk than target_config.deleted_files_limit; \
                 these bytes are lost"
            );
        }
        file.pinned()
    }
}

const DELETED: &str = "deleted_files_limit";
