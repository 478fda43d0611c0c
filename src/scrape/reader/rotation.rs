//! Checks a log's name for rotation, truncation and deletion.

use std::time::Instant;

use super::Reader;
use super::retry::advice;
use crate::scrape::metrics::TOO_MANY;
use crate::tail::Look;

impl Reader {
    pub(super) fn look(&mut self, log: u64, now: Instant) {
        let Some(tailer) = self.tailers.get_mut(&log) else {
            return;
        };
        let path = tailer.path().clone();
        if let Some(file) = tailer.input.log_mut() {
            let failed = match file.look(now) {
                Ok(Look::Same | Look::Gone) => None,
                Ok(Look::Rotated(generations)) => {
                    tracing::debug!(path = %path.display(), generations, "rotated");
                    None
                }
                Ok(Look::Truncated) => {
                    tracing::info!(path = %path.display(), "the file was truncated: reading from its start");
                    None
                }
                Err(error) => {
                    self.sink.metrics.read_error();
                    Some(error)
                }
            };
            self.inodes.add(log, file.take_new_files(), |inode| file.has(inode) || file.had(inode).is_some());
            let passed_over = file.take_passed_over();
            let text = failed.as_ref().map(ToString::to_string);
            if tailer.trouble.rotation != text {
                if let Some(error) = failed.filter(|_| self.budget.allows(now)) {
                    let (path, advice) = (path.display(), advice(&error));
                    tracing::warn!(%path, %error, advice, "cannot open the new file after a rotation: the agent tries again");
                }
                tailer.trouble.rotation = text;
                self.status.set_error(self.index, log, tailer.trouble.text());
            }
            self.lose(log, TOO_MANY, passed_over);
        }
        self.at(log, now);
        self.bound_pinned(log);
    }
}
