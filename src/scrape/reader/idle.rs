//! Logs to which nothing is written for some time: they are watched instead of polled, and after longer their files are
//! closed, so that they need no descriptors.

use std::time::{Duration, Instant};

use super::Reader;
use crate::scrape::supervised::Held;
use crate::tail::{Unwatched, Watched};

/// A file to which nothing was written for this long is watched.
const QUIET: Duration = Duration::from_secs(2);

/// How long it is not tried again to watch a file whose writes may not be reported.
const UNWATCHABLE: Duration = Duration::from_secs(60);

/// What is known of a log only to handle its next line faster is forgotten after it was quiet for this long.
const FORGET: Duration = Duration::from_secs(30);

/// How often a file that is watched is polled all the same: memory that is mapped to a file is written without an event.
const WATCHED_POLL: Duration = Duration::from_secs(30);

impl Held<'_, Reader> {
    /// Asks the kernel to report the next write to the file of a log, if nothing was written for a moment.
    pub(super) fn watch_if_quiet(&mut self, log: u64, now: Instant) {
        let reader = &mut **self;
        let Some(tailer) = reader.tailers.get_mut(&log) else {
            return;
        };
        let schedule = &mut tailer.schedule;
        let file = tailer.input.quiet_file();
        // A log without a target has to be looked at until it ends.
        let is_wanted = reader.stop.is_none() && schedule.retired.is_none() && !tailer.target.is_held;
        let is_watched = |watched: &mut Watched| is_wanted && file.is_some_and(|file| watched.is_of(file));
        if schedule.watched.take_if(|watched| !is_watched(watched)).is_some() {
            schedule.interval = reader.config.min_poll;
        }
        let is_quiet = now.saturating_duration_since(schedule.last_lines) >= QUIET
            && schedule.unwatched_until.is_none_or(|until| now >= until);
        if schedule.watched.is_none() && is_wanted && is_quiet && file.is_some() {
            let quiet = reader.quiet.clone();
            let watched = self.with_input(log, |input| input.log().map(|of| quiet.watch(log, of, now)));
            // If the call took long, the log was scheduled anew, and something may have been written since.
            if !self.is_current() {
                return;
            }
            if let Some(tailer) = self.tailers.get_mut(&log) {
                let schedule = &mut tailer.schedule;
                match watched.flatten() {
                    Some(Ok(watched)) => schedule.watched = Some(watched),
                    Some(Err(Unwatched::Never)) => schedule.unwatched_until = Some(now + UNWATCHABLE),
                    Some(Err(Unwatched::ForNow)) | None => {}
                }
            }
        }
        let reader = &mut **self;
        if let Some(tailer) = reader.tailers.get_mut(&log)
            && tailer.schedule.watched.is_some()
        {
            let most = reader.config.max_poll.map_or(WATCHED_POLL, |most| most.min(WATCHED_POLL));
            tailer.schedule.interval = most.max(reader.config.min_poll);
        }
    }

    /// Something was written to the file of a log, which is no longer watched.
    pub(super) fn note_write(&mut self, log: u64, now: Instant) {
        let reader = &mut **self;
        if let Some(tailer) = reader.tailers.get_mut(&log) {
            tailer.schedule.watched = None;
            tailer.schedule.interval = reader.config.min_poll;
            self.soon(log, now);
        }
    }

    /// Frees memory of a log that has been quiet for a while, if everything of it is committed: lines that are read again must
    /// meet the same stages.
    pub(super) fn forget_if_quiet(&mut self, log: u64, now: Instant) {
        let reader = &mut **self;
        if let Some(tailer) = reader.tailers.get(&log)
            && now.saturating_duration_since(tailer.schedule.last_lines) >= FORGET
            && tailer.ledger().is_settled()
        {
            reader.sink.pipelines.get(tailer.pipeline()).forget(log);
        }
    }

    /// Closes the file of a log that has been quiet for `close_idle_after`, if everything of it is read and committed. If the
    /// file is deleted then, nothing of it is lost.
    pub(super) fn close_if_idle(&mut self, log: u64, now: Instant) {
        let reader = &**self;
        let after = reader.config.close_idle_after;
        let Some(tailer) = reader.tailers.get(&log).filter(|tailer| tailer.input.log().is_some()) else {
            return;
        };
        let is_idle = !after.is_zero() && now.saturating_duration_since(tailer.schedule.last_lines) >= after;
        let is_settled = tailer.ledger().is_settled()
            && !tailer.has_commit()
            && !reader.unsettled.contains(&log)
            && tailer.goes_on();
        let is_wanted = tailer.target.is_held || tailer.schedule.retired.is_some() || tailer.trouble.text().is_some();
        if is_idle && is_settled && !is_wanted && reader.stop.is_none() {
            let time = reader.clock.system_time();
            self.with_input(log, |input| input.close(time));
        }
    }
}
