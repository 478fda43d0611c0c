//! Logs that existed before the first start, and begin at their end.

use std::time::SystemTime;

use super::Reader;
use crate::model::Checkpoint;
use crate::positions::{Commit, PositionId};
use crate::scrape::messages::Assignment;
use crate::tail::{Log, Resume};

/// Where a log begins that has no position.
pub(super) fn resume(assignment: &Assignment, unseen_since: SystemTime) -> Resume {
    let since = if assignment.from_oldest { SystemTime::UNIX_EPOCH } else { unseen_since };
    match assignment.start {
        None => Resume::Since(since),
        // Its older generations match the glob too. Those that are not old either are read first.
        Some(start) if assignment.from_oldest => {
            let not_before = start.not_before.min(start.looked);
            Resume::Unseen { since: not_before, not_before: start.not_before, looked: start.looked }
        }
        Some(start) => Resume::Unseen { since, not_before: start.not_before, looked: start.looked },
    }
}

impl Reader {
    /// Saves at once that the log begins at its end, so that another start does not begin it elsewhere.
    pub(super) fn begin_at_end(&mut self, job: usize, slot: PositionId, log: &Log) {
        let position = log.position();
        if position.offset == 0 {
            return;
        }
        let time = self.clock.system_time();
        let checkpoint = Checkpoint::File { position, live: true, written: time, unread: 0, left: Vec::new() };
        let commit = Commit { slot, checkpoint, through: None };
        self.write(|positions| positions.commit(&[commit], time));
        let (files, bytes) = self.not_read.entry(job).or_default();
        *files += 1;
        *bytes += position.offset;
    }

    /// Logs once how much is not read.
    pub(super) fn say_not_read(&mut self) {
        for (job, (files, bytes)) in std::mem::take(&mut self.not_read) {
            let job = &self.jobs[job];
            tracing::info!(
                job = %job.name,
                client = %self.client,
                files,
                bytes,
                start_at = %job.start_at,
                "these files existed before the first start: what they contain is not read, only what is written from now on"
            );
        }
    }
}
