//! Hands logs over to the next scrape, and takes logs over from the previous one.

use std::sync::Arc;
use std::time::Instant;

use super::Reader;
use super::opening::with_filename;
use crate::model::{Source, Target};
use crate::positions::{Key, LogName, Saved};
use crate::scrape::input::Input;
use crate::scrape::messages::Assignment;
use crate::scrape::metrics::ROTATED_AWAY;
use crate::scrape::open_logs::OpenLog;
use crate::scrape::supervised::Held;
use crate::scrape::tailer::Parts;
use crate::tail::Log;

/// Logs without an assignment get numbers from here on, far from those of assigned logs.
pub(super) const UNASSIGNED: u64 = 1 << 63;

/// The subject of a system call that is not about a single log. Numbers of logs begin at 1.
const OF_MANY: u64 = 0;

impl Reader {
    /// Returns all open logs, rewound to their committed marks.
    pub(super) fn leave(&mut self) -> Vec<OpenLog> {
        let mut left = self.open_logs.take_all();
        let tailers = std::mem::take(&mut self.tailers).into_iter().chain(std::mem::take(&mut self.ending));
        // A log of which a system call hangs is opened again by the next scrape.
        for (_, tailer) in tailers.filter(|(_, tailer)| !tailer.input.is_lent()) {
            let path = tailer.path().clone();
            let (log, lost) = tailer.leave(self.client.clone());
            if lost > 0 {
                self.sink.metrics.lost(lost, ROTATED_AWAY);
                tracing::warn!(
                    path = %path.display(),
                    bytes = lost,
                    "Loki had not answered when the config was reloaded, and the file was truncated after it was read: these \
                     bytes are lost unless Loki stored them"
                );
            }
            // A source with a cursor is opened again at its committed cursor.
            if log.input.log().is_some() || log.input.outlives_run() {
                left.push(log);
            }
        }
        left
    }

    /// The log of this assignment from the previous scrape, and the last time that its lines got. None: there is none,
    /// or its files must be read differently now.
    pub(super) fn inherit(&mut self, assignment: &Assignment) -> Option<(Log, i64)> {
        let left = self.open_logs.take(&assignment.target, &assignment.path)?;
        let Input::Log(mut log) = left.input else {
            return None;
        };
        let options = self.jobs[assignment.job].options;
        let folders = &self.folders[assignment.job];
        log.move_to(options, folders, Some(&assignment.allowed)).then_some((*log, left.last_time))
    }
}

impl Held<'_, Reader> {
    /// Reads records to their end that exist only in this source, with their old labels, even if their job is gone.
    fn finish_received(&mut self, left: OpenLog, now: Instant) {
        let OpenLog { path, target, input, committed: from, last_time, .. } = left;
        let id = self.next_unassigned;
        self.next_unassigned += 1;
        self.ringing.insert(id);
        let (pipeline, labels) = (self.pipeline_of(&target), target.labels.clone());
        let (slot, saved) = (None, None);
        self.begin(Parts { id, path, input, slot, target, labels, pipeline, saved, from, last_time }, now);
    }

    /// Handles logs that no target claimed: reads them to their end if their job still exists and the config did not
    /// remove their target. May be called more than once.
    pub(super) fn settle_open_logs(&mut self, now: Instant) {
        self.is_settled = true;
        // Logs that are waiting to be opened claim theirs later.
        let awaited = self.waiting.values().map(|waiting| &waiting.assignment);
        let awaited = awaited.map(|assignment| (assignment.target.job.clone(), assignment.path.clone())).collect();
        let left = self.open_logs.take_but(&awaited);
        if left.is_empty() {
            return;
        }
        let gone: Vec<bool> = self.blocking(OF_MANY, || {
            let is_gone = |left: &OpenLog| !left.path.try_exists().unwrap_or(true);
            left.iter().map(is_gone).collect()
        });
        for (left, is_gone) in left.into_iter().zip(gone) {
            if left.input.log().is_none() {
                self.finish_received(left, now);
                continue;
            }
            let OpenLog { path, target, input, is_retired, last_time, .. } = left;
            let Some(job) = self.jobs.iter().position(|job| job.name == target.job) else {
                continue;
            };
            let Input::Log(mut log) = input else {
                continue;
            };
            if !is_gone && !is_retired || !log.move_to(self.jobs[job].options, &self.folders[job], None) {
                continue;
            }
            // The owner will never be known.
            let target = Arc::new(Target { is_held: false, ..Target::clone(&target) });
            let key = Key {
                client: self.client.clone(),
                job: target.job.clone(),
                log: LogName::File(path.clone()),
                labels: target.labels.stable_hash(),
            };
            let Some((slot, saved)) = self.positions.claim(key) else {
                continue;
            };
            let id = self.next_unassigned;
            self.next_unassigned += 1;
            let files = log.take_new_files();
            self.inodes.add(id, files, |inode| log.has(inode));
            let labels = with_filename(&target, &path);
            let pipeline = self.sink.pipelines.of_target(job, &target);
            let (from, saved) = (log.mark(), saved.and_then(Saved::into_position));
            let input = Input::Log(log);
            let slot = Some(slot);
            self.begin(Parts { id, path, input, slot, target, labels, pipeline, saved, from, last_time }, now);
            if let Some(tailer) = self.tailers.get_mut(&id) {
                tailer.schedule.retired = Some(now);
            }
            self.look(id, now);
        }
    }
}
