//! When each log has its turn: in time, when something rings or is written, and when there is room again.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::{BEAT, FAREWELL_LOOK, Reader};

impl Reader {
    /// Gives all blocked logs a turn. The one that got the fewest bytes is first: what became free may be enough for a few
    /// only. One that had nothing to read for a while has no claim from that time: it counts like the first of the others. So a log
    /// with few lines gets room at once, and those with many get the same (start-time fair queueing).
    pub(super) fn unblock(&mut self) {
        let mut waiting: Vec<(u64, u64)> = std::mem::take(&mut self.blocked)
            .into_iter()
            .filter_map(|log| Some((self.tailers.get(&log)?.schedule.served.max(self.served), log)))
            .collect();
        waiting.sort_unstable();
        self.served = waiting.first().map_or(self.served, |(served, _)| *served);
        self.waited = waiting.len();
        let first = self.started;
        for (place, (_, log)) in waiting.into_iter().enumerate() {
            if let Some(tailer) = self.tailers.get_mut(&log) {
                tailer.schedule.is_blocked = false;
                // Before all others, in this order.
                self.at(log, first + Duration::from_nanos(place as u64));
            }
        }
    }

    /// Checks all sources that wake the reader: the wake-up does not say which one, and there are few.
    pub(super) fn listen(&mut self) {
        let now = self.clock.now();
        for log in std::mem::take(&mut self.ringing) {
            if self.tailers.contains_key(&log) {
                self.ringing.insert(log);
                self.soon(log, now);
            }
        }
    }

    /// Schedules the next turn of a log. A log that was read to its end gets none if the agent is stopping.
    pub(super) fn rest(&mut self, log: u64, now: Instant) {
        let Some(tailer) = self.tailers.get_mut(&log) else {
            return;
        };
        let due = match &self.stop {
            None => beat(self.started, now + tailer.schedule.interval),
            Some(stop) if stop.reads_on && !tailer.part(&mut self.sink, now) => now + FAREWELL_LOOK,
            Some(_) => {
                tailer.schedule.is_drained = true;
                return;
            }
        };
        self.at(log, due);
    }

    /// Gives a log that may have lines the next turn: before those that had lines since it last had some. So a backlog of other
    /// logs does not keep it out, nor does it keep them out. A log that waits for room keeps its place.
    pub(super) fn soon(&mut self, log: u64, now: Instant) {
        if let Some(tailer) = self.tailers.get(&log).filter(|tailer| !tailer.schedule.is_blocked) {
            self.at(log, tailer.schedule.last_lines.min(now));
        }
    }

    pub(super) fn at(&mut self, log: u64, at: Instant) {
        if let Some(tailer) = self.tailers.get_mut(&log) {
            tailer.schedule.due = at;
            self.schedule.push(Reverse((at, log)));
        }
    }

    pub(super) fn next_due(&self, now: Instant) -> Instant {
        let mut due = now + Duration::from_secs(1);
        let scheduled = self.schedule.peek().map(|Reverse((at, _))| *at);
        // A pause for the rate limit ends with time. Nothing wakes the reader then.
        let paused = (!self.blocked.is_empty() && self.config.rate.is_some()).then(|| now + BEAT);
        let busy = (!self.queue.is_empty()).then_some(now);
        for at in [scheduled, self.sink.next_due(), paused, busy].into_iter().flatten() {
            due = due.min(at);
        }
        due
    }
}

/// The first multiple of [`BEAT`] at or after `at`.
fn beat(started: Instant, at: Instant) -> Instant {
    let beats = at.saturating_duration_since(started).as_millis().div_ceil(BEAT.as_millis());
    started + BEAT * beats as u32
}
