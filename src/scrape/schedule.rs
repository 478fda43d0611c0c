//! When a log gets its next turn.

use std::time::{Duration, Instant};

use crate::tail::Watched;

/// A file without a target is closed after it was quiet for `FAREWELL`, and after `LONGEST_FAREWELL` at the latest.
const FAREWELL: Duration = Duration::from_secs(30);
const LONGEST_FAREWELL: Duration = Duration::from_secs(300);

/// How long a held file without a target waits for its owner to become known.
const HANDOVER: Duration = Duration::from_secs(2);

/// How long a log must be quiet at the end of the agent, so that what was begun counts as complete.
const QUIET: Duration = Duration::from_secs(1);

/// The longest time that a line waits in the file of a busy log, which is polled. A log that is polled less often is either
/// watched, or its lines come too seldom for batches.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// The time between two looks at a log that is watched for its end.
pub(super) const FAREWELL_LOOK: Duration = Duration::from_millis(100);

/// A log that was read to its end when the agent was told to stop, and that may have more: the start of a line, or of a
/// block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Farewell {
    since: Instant,
    /// The bytes that are no whole line.
    rest: u64,
    is_taken: bool,
}

/// What to do with such a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// It may still grow: look again.
    Wait,
    /// It is at its end: take what was begun.
    Take,
    /// What was begun was taken. Release what the stages hold of it.
    Taken,
    /// It grows, so this is not its end.
    Over,
}

/// The schedule of one log.
#[derive(Debug)]
pub(super) struct Schedule {
    pub due: Instant,
    /// The time between polls while it has no data.
    pub interval: Duration,
    /// It waits for answers, so polling is useless.
    pub is_blocked: bool,
    /// It was read to the end that it had when the agent was told to stop.
    pub is_drained: bool,
    /// It is watched for its end, because the agent was told to stop.
    pub farewell: Option<Farewell>,
    /// When it last had lines.
    pub last_lines: Instant,
    /// Bytes that it got so far of what all logs get, see [`Reader::unblock`](super::reader::Reader::unblock).
    pub served: u64,
    /// Bytes of the last turn, not added to `served` yet.
    pub worked: u64,
    /// When it was last read, with lines or without.
    last_read: Instant,
    /// When discovery removed its target. None: it has a target.
    pub retired: Option<Instant>,
    /// The watch that wakes it with the next write to its file. None: it is polled.
    pub watched: Option<Watched>,
    /// Its file cannot be watched. Not tried again before this time.
    pub unwatched_until: Option<Instant>,
}

impl Schedule {
    pub fn new(now: Instant, interval: Duration) -> Self {
        Self {
            due: now,
            interval,
            is_blocked: false,
            is_drained: false,
            farewell: None,
            last_lines: now,
            served: 0,
            worked: 0,
            last_read: now,
            retired: None,
            watched: None,
            unwatched_until: None,
        }
    }

    /// Notes a read. Returns the earliest time at which the lines that it found can have been written: the previous read,
    /// and at most `LONGEST_WAIT` ago.
    pub fn read_at(&mut self, now: Instant) -> Instant {
        let before = std::mem::replace(&mut self.last_read, now);
        now.checked_sub(LONGEST_WAIT).map_or(before, |earliest| earliest.max(before))
    }

    /// What to do with a log of which `rest` bytes are no whole line, or whose last lines are held by a stage.
    pub fn part(&mut self, rest: u64, now: Instant) -> Parting {
        let Some(farewell) = &mut self.farewell else {
            self.farewell = Some(Farewell { since: now, rest, is_taken: false });
            return Parting::Wait;
        };
        if farewell.is_taken {
            return Parting::Taken;
        }
        if rest != farewell.rest || self.last_lines > farewell.since {
            // The next agent goes on with it.
            return Parting::Over;
        }
        if now < farewell.since.max(self.last_lines) + QUIET {
            return Parting::Wait;
        }
        farewell.is_taken = true;
        Parting::Take
    }

    /// Whether its target is gone and it has been quiet long enough to be closed.
    pub fn is_over(&self, now: Instant) -> bool {
        let over =
            |retired: Instant| now >= retired.max(self.last_lines) + FAREWELL || now >= retired + LONGEST_FAREWELL;
        self.retired.is_some_and(over)
    }

    /// The same for a held log, which only waits for its next owner.
    pub fn is_over_held(&self, now: Instant) -> bool {
        self.retired.is_some_and(|retired| now >= retired + HANDOVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_log_is_taken_to_its_end_once_and_one_that_grows_is_not() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut quiet = Schedule::new(start, QUIET);
        let partings = [0, 100, 999, 1_000, 1_100].map(|millis| quiet.part(7, at(millis)));
        assert_eq!(partings, [Parting::Wait, Parting::Wait, Parting::Wait, Parting::Take, Parting::Taken]);
        let mut grows = Schedule::new(start, QUIET);
        assert_eq!([grows.part(7, at(0)), grows.part(8, at(999))], [Parting::Wait, Parting::Over]);
        let mut has_lines = Schedule::new(start, QUIET);
        assert_eq!(has_lines.part(0, at(0)), Parting::Wait);
        has_lines.last_lines = at(500);
        assert_eq!(has_lines.part(0, at(600)), Parting::Over);
    }

    #[test]
    fn a_line_was_written_after_the_previous_read_or_at_most_a_quarter_of_a_second_ago() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut schedule = Schedule::new(start, QUIET);
        let since = [100, 350, 5_000, 5_000].map(|millis| schedule.read_at(at(millis)));
        assert_eq!(since, [at(0), at(100), at(4_750), at(5_000)]);
    }
}
