//! Commits logs as answers arrive, and ends logs.

use std::time::{Duration, Instant};

use super::Reader;
use crate::model::{Checkpoint, Position, Source};
use crate::positions::{Commit, PositionId, Positions, ReadTime};
use crate::scrape::input::Input;
use crate::scrape::messages::Event;
use crate::scrape::supervised::Held;
use crate::scrape::tailer::Tailer;

/// The longest time for which a rotation may go unnoticed.
const UNHEARD: Duration = Duration::from_secs(60);

impl Held<'_, Reader> {
    /// Ends a log: no more lines will come, and the last ones are in flight.
    pub(super) fn end(&mut self, log: u64, now: Instant) {
        let reader = &mut **self;
        if let Some(mut tailer) = reader.tailers.remove(&log) {
            tailer.end(&mut reader.sink, now);
            reader.ending.insert(log, tailer);
            self.settle_endings();
        }
    }

    pub(super) fn settle_endings(&mut self) {
        // An unsettled log may have a last commit that is not saved yet.
        let is_settled = |log: &u64, tailer: &Tailer| {
            tailer.ledger().is_settled() && !self.unsettled.contains(log) && !tailer.input.is_lent()
        };
        let settled: Vec<u64> = self.ending.iter().filter(|(log, t)| is_settled(log, t)).map(|(log, _)| *log).collect();
        for log in settled {
            let Some(mut input) = self.ending.get_mut(&log).and_then(|tailer| tailer.lend()) else {
                continue;
            };
            // Closing its files may take long too.
            let written = self.blocking(log, || {
                let deleted = input.log().filter(|file| file.is_gone());
                let closed = input.closed().filter(|file| file.is_gone()).map(|file| file.written());
                let written = deleted.map(|file| file.written(&file.position())).or(closed);
                input = Input::Lent;
                written
            });
            let Some(tailer) = self.ending.remove(&log) else {
                continue;
            };
            if let Some(slot) = tailer.slot() {
                if let Some(written) = written {
                    // The position is of a file that is gone and was read to its end. A new file with this name starts
                    // at its beginning.
                    let checkpoint = Checkpoint::File {
                        position: Position::default(),
                        live: false,
                        written,
                        unread: 0,
                        left: Vec::new(),
                    };
                    let done = Commit { slot, checkpoint, through: Some(i64::MAX) };
                    self.write(|positions| positions.commit(&[done], written));
                }
                self.positions.release(slot);
            }
            self.sink.times.forget(log);
            self.gone(log);
        }
    }

    /// Saves how far answers have come, before anything more is sent.
    pub(super) fn commit(&mut self, now: Instant) {
        let reader = &mut **self;
        let (mut answered, mut came_further) = (Vec::new(), false);
        let (tailers, ending) = (&mut reader.tailers, &mut reader.ending);
        reader.unsettled.retain(|log| {
            let Some(tailer) = tailers.get_mut(log).or(ending.get_mut(log)) else {
                return false;
            };
            // Checked before the commit: a slot that closes in between is seen next time.
            let settled = tailer.ledger().is_settled() && !tailer.input.is_lent();
            let has_moved = tailer.has_commit();
            if has_moved {
                answered.push(*log);
            }
            !settled || has_moved
        });
        for log in answered {
            came_further |= self.commit_one(log);
        }
        if came_further && let Some(stop) = &mut self.stop {
            stop.progress = now;
        }
        let commits = std::mem::take(&mut self.commits);
        if !commits.is_empty() {
            // If the file is gone at the next start, files modified after this time must still be read. The file may
            // have been rotated up to `UNHEARD` ago without notice.
            let unheard = self.clock.system_time() - UNHEARD;
            self.write(|positions| positions.commit(&commits, unheard));
        }
        self.settle_endings();
    }

    /// Saves again how far a log is committed, because more was written to its file: if the file is gone at the next start,
    /// the bytes that are lost are known.
    pub(super) fn note_unread(&mut self, log: u64) {
        let mark = self.tailers.get(&log).and_then(|tailer| tailer.ledger().committed());
        let Some(mark) = mark else {
            return;
        };
        let checkpoint = self.with_input(log, |input| input.log_mut().and_then(|file| file.committed(mark)));
        let Some(checkpoint) = checkpoint.flatten() else {
            return;
        };
        let slot = self.tailers.get(&log).and_then(|tailer| tailer.slot());
        let Checkpoint::File { unread, .. } = checkpoint else {
            return;
        };
        // Not for each line: each time when it has doubled.
        if let Some(slot) = slot.filter(|slot| unread / 2 >= self.positions.unread(*slot) && unread > 0) {
            self.commits.push(Commit { slot, checkpoint, through: None });
        }
    }

    /// Adds a log's commit to those to be saved. Returns whether there is one.
    fn commit_one(&mut self, log: u64) -> bool {
        let Some((mark, slots)) = self.tailer_mut(log).and_then(Tailer::take_commit) else {
            return false;
        };
        let Some(checkpoint) = self.with_input(log, |input| input.committed(mark)) else {
            return false;
        };
        let reader = &mut **self;
        let Some(tailer) = reader.tailers.get_mut(&log).or(reader.ending.get_mut(&log)) else {
            return false;
        };
        tailer.show_committed(mark, checkpoint.as_ref(), reader.clock.unix_nanos());
        let through = reader.sink.times.committed(log, slots);
        let commit = |(slot, checkpoint)| Commit { slot, checkpoint, through };
        reader.commits.extend(tailer.slot().zip(checkpoint).map(commit));
        if tailer.ledger().is_settled() && !tailer.has_commit() {
            reader.unsettled.remove(&log);
        }
        true
    }
}

impl Reader {
    pub(super) fn gone(&mut self, log: u64) {
        self.pinned.remove(&log);
        self.older.remove(&log);
        self.inodes.remove(log);
        self.folders.iter().for_each(|folders| folders.remove_log(log));
        self.status.remove_file(self.index, log);
        self.target_manager.send(Event::Finished { reader: self.index, log });
    }

    /// Saves the read times of entries that are about to be sent.
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
                    let advice = match error.kind() {
                        std::io::ErrorKind::NotFound => "create the directory",
                        _ => "make the directory writable",
                    };
                    tracing::error!(
                        file = %self.positions.filename().display(),
                        %error,
                        advice,
                        "cannot write positions, so a restart will send lines from now on again"
                    );
                }
            }
        }
    }
}
