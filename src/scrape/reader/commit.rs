//! What becomes of a log's lines once they are sent: commits, and the end of a log.

use std::time::{Duration, Instant};

use super::Reader;
use crate::model::{Checkpoint, Position};
use crate::positions::{Commit, PositionId, Positions, ReadTime};
use crate::scrape::messages::Event;
use crate::scrape::tailer::Tailer;

/// For so long a log may have been rotated without anybody having heard of it.
const UNHEARD: Duration = Duration::from_secs(60);

impl Reader {
    /// Nothing more will come of this log; its last lines are on their way.
    pub(super) fn end(&mut self, log: u64, now: Instant) {
        if let Some(mut tailer) = self.tailers.remove(&log) {
            tailer.end(&mut self.sink, now);
            self.ending.insert(log, tailer);
            self.settle_endings();
        }
    }

    pub(super) fn settle_endings(&mut self) {
        // What is among the unsettled may have a last commit that is not written down.
        let settled = |log: &u64, tailer: &Tailer| tailer.ledger().is_settled() && !self.unsettled.contains(log);
        let settled: Vec<u64> = self.ending.iter().filter(|(log, t)| settled(log, t)).map(|(log, _)| *log).collect();
        for log in settled {
            let tailer = self.ending.remove(&log).expect("it was just seen");
            if let Some(slot) = tailer.slot() {
                if let Some(file) = tailer.input.log().filter(|file| file.is_deleted()) {
                    // It speaks of a file that is no more, read to its end: one that takes its name begins anew.
                    let written = file.written(&file.position());
                    let checkpoint =
                        Checkpoint::File { position: Position::default(), live: false, written, left: Vec::new() };
                    let done = Commit { slot, checkpoint, through: Some(i64::MAX) };
                    self.write(|positions| positions.commit(&[done], written));
                }
                self.positions.release(slot);
            }
            self.sink.times.forget(log);
            self.gone(log);
        }
    }

    pub(super) fn gone(&mut self, log: u64) {
        self.pinned.remove(&log);
        self.older.remove(&log);
        self.inodes.remove(log);
        self.status.remove_file(self.index, log);
        self.target_manager.send(Event::Finished { reader: self.index, log });
    }

    /// Writes down how far answers have come, before anything more is sent.
    pub(super) fn commit(&mut self, now: Instant) {
        let (mut commits, mut came_further) = (Vec::new(), false);
        let (tailers, ending) = (&mut self.tailers, &mut self.ending);
        self.unsettled.retain(|log| {
            let Some(tailer) = tailers.get_mut(log).or(ending.get_mut(log)) else {
                return false;
            };
            // First the question, then the commit: what settles in between is seen next time.
            let settled = tailer.ledger().is_settled();
            if let Some((checkpoint, slots)) = tailer.take_commit() {
                came_further = true;
                let through = self.sink.times.committed(*log, slots);
                let commit = |(slot, checkpoint)| Commit { slot, checkpoint, through };
                commits.extend(tailer.slot().zip(checkpoint).map(commit));
            }
            !settled
        });
        if came_further && let Some(stop) = &mut self.stop {
            stop.progress = now;
        }
        if !commits.is_empty() {
            // If the file is gone at the next start, what was written since then is younger and still to be read; and that
            // is not what was written since these answers came.
            let unheard = self.clock.system_time() - UNHEARD;
            self.write(|positions| positions.commit(&commits, unheard));
        }
        self.settle_endings();
    }

    /// Writes down the times of reading that entries show which are about to be sent.
    pub(super) fn remember(&mut self) {
        let times = self.sink.times.take();
        if times.is_empty() {
            return;
        }
        let slot = |log: u64| self.tailers.get(&log).or(self.ending.get(&log)).and_then(|tailer| tailer.slot());
        let times: Vec<(PositionId, ReadTime)> =
            times.into_iter().filter_map(|(log, time)| Some((slot(log)?, time))).collect();
        self.write(|positions| positions.remember(&times));
    }

    pub(super) fn write(&mut self, write: impl FnOnce(&Positions) -> std::io::Result<()>) {
        match write(&self.positions) {
            Ok(()) if self.positions_fail => {
                self.positions_fail = false;
                tracing::info!(file = %self.positions.filename().display(), "positions are written again");
            }
            Ok(()) => {}
            Err(error) => {
                self.sink.metrics.positions_error();
                if !std::mem::replace(&mut self.positions_fail, true) {
                    tracing::error!(
                        file = %self.positions.filename().display(),
                        %error,
                        "cannot write positions: after a restart lines since now will be sent again; \
                         make the directory writable"
                    );
                }
            }
        }
    }
}
