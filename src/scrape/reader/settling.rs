//! What becomes of a log's lines once they are sent: commits, and the end of a log.

use std::time::Instant;

use super::Reader;
use crate::model::Position;
use crate::positions::{Commit, Positions, ReadTime, Slot};
use crate::scrape::post::Event;
use crate::scrape::tailer::Source;

impl Reader {
    /// Nothing more will come of this log; its last lines are on their way.
    pub(super) fn end(&mut self, log: u64, now: Instant) {
        if let Some(mut tailer) = self.tailers.remove(&log) {
            tailer.end(&mut self.desk, now);
            self.ending.insert(log, tailer);
            self.settle_endings();
        }
    }

    pub(super) fn settle_endings(&mut self) {
        let settled: Vec<u64> =
            self.ending.iter().filter(|(_, t)| t.ledger.is_settled()).map(|(log, _)| *log).collect();
        for log in settled {
            let tailer = self.ending.remove(&log).expect("it was just seen");
            if let Some(slot) = tailer.slot {
                if tailer.is_deleted() {
                    // It speaks of a file that is no more, read to its end: one that takes its name begins anew.
                    let done = Commit { slot, position: Position::default(), live: false, through: Some(i64::MAX) };
                    let time = self.clock.system_time();
                    self.write(|positions| positions.commit(&[done], time));
                }
                self.positions.release(slot);
            }
            self.unsettled.remove(&log);
            self.desk.times.forget(log);
            self.gone(log);
        }
    }

    pub(super) fn gone(&mut self, log: u64) {
        self.pinned.remove(&log);
        self.status.remove_file(self.index, log);
        let _ = self.scout.send(Event::Finished { reader: self.index, log });
    }

    /// Writes down how far answers have come, before anything more is sent.
    pub(super) fn commit(&mut self, now: Instant) {
        let mut commits = Vec::new();
        let tailers = (&self.tailers, &self.ending);
        self.unsettled.retain(|log| {
            let Some(tailer) = tailers.0.get(log).or(tailers.1.get(log)) else {
                return false;
            };
            // First the question, then the commit: what settles in between is seen next time.
            let settled = tailer.ledger.is_settled();
            if let (Some((position, slots)), Some(slot), Source::File(file)) =
                (tailer.ledger.take_commit(), tailer.slot, &tailer.source)
            {
                let through = self.desk.times.committed(*log, slots);
                commits.push(Commit { slot, position, live: file.is_live(&position), through });
            }
            !settled
        });
        if !commits.is_empty() {
            if let Some(stop) = &mut self.stop {
                stop.progress = now;
            }
            let time = self.clock.system_time();
            self.write(|positions| positions.commit(&commits, time));
        }
        self.settle_endings();
    }

    /// Writes down the times of reading that entries show which are about to be sent.
    pub(super) fn remember(&mut self) {
        let times = self.desk.times.take();
        if times.is_empty() {
            return;
        }
        let slot = |log: u64| self.tailers.get(&log).or(self.ending.get(&log)).and_then(|tailer| tailer.slot);
        let times: Vec<(Slot, ReadTime)> =
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
                self.desk.metrics.positions_error();
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
