//! When a log gets its next turn.

use std::time::{Duration, Instant};

/// How long a file that discovery has let go of may be quiet before it is left alone, and how long it is read at most.
const FAREWELL: Duration = Duration::from_secs(30);
const LONGEST_FAREWELL: Duration = Duration::from_secs(300);

/// How long a file that was held, and that discovery has let go of, waits for who it is.
const HANDOVER: Duration = Duration::from_secs(2);

/// What the reader's schedule knows of a log.
#[derive(Debug)]
pub(super) struct Schedule {
    pub due: Instant,
    /// How long it is left alone when it has nothing.
    pub interval: Duration,
    /// It waits for answers: to look at it is no use.
    pub is_blocked: bool,
    /// It was read to the end that it had when the agent was told to stop.
    pub is_drained: bool,
    /// When it had lines last.
    pub last_lines: Instant,
    /// When discovery let go of it.
    pub retired: Option<Instant>,
}

impl Schedule {
    pub fn new(now: Instant, interval: Duration) -> Self {
        Self { due: now, interval, is_blocked: false, is_drained: false, last_lines: now, retired: None }
    }

    /// Whether discovery has let go of it, and it has been quiet for so long that nothing more is waited for.
    pub fn is_over(&self, now: Instant) -> bool {
        let over =
            |retired: Instant| now >= retired.max(self.last_lines) + FAREWELL || now >= retired + LONGEST_FAREWELL;
        self.retired.is_some_and(over)
    }

    /// The same for one that is held: whose it is next says so at once.
    pub fn is_over_held(&self, now: Instant) -> bool {
        self.retired.is_some_and(|retired| now >= retired + HANDOVER)
    }
}
