//! When a log gets its next turn.

use std::time::{Duration, Instant};

/// A file without a target is closed after it was quiet for `FAREWELL`, and after `LONGEST_FAREWELL` at the latest.
const FAREWELL: Duration = Duration::from_secs(30);
const LONGEST_FAREWELL: Duration = Duration::from_secs(300);

/// How long a held file without a target waits for its owner to become known.
const HANDOVER: Duration = Duration::from_secs(2);

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
    /// When it last had lines.
    pub last_lines: Instant,
    /// When discovery removed its target. None: it has a target.
    pub retired: Option<Instant>,
}

impl Schedule {
    pub fn new(now: Instant, interval: Duration) -> Self {
        Self { due: now, interval, is_blocked: false, is_drained: false, last_lines: now, retired: None }
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
