//! How long to wait before a push is tried again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;
use crate::model::units::GoDuration;

/// A wrong password is tried this often, so that setting it right takes effect within a minute.
const SLOW_CAP: Duration = Duration::from_secs(60);
/// What needs a person starts this many doublings later: nobody mends it within a second.
const SLOW_START: u32 = 3;
/// A `Retry-After` beyond this is not waited for: a limit or an outage is over sooner, and lines are to flow soon after it.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(30);
/// A stream that Loki refuses while it takes others is tried this often at least.
const APART_CAP: Duration = Duration::from_secs(60);

/// `backoff_config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackoffConfig {
    pub min_period: GoDuration,
    pub max_period: GoDuration,
    /// Attempts before a batch is discarded; 0, and the default: without end. (Promtail's default is 10, which loses
    /// every line of an outage that is longer than some minutes.)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self { min_period: MIN_PERIOD, max_period: MAX_PERIOD, max_retries: None }
    }
}

pub(super) const MIN_PERIOD: GoDuration = GoDuration(Duration::from_millis(500));
pub(super) const MAX_PERIOD: GoDuration = GoDuration(Duration::from_secs(300));

/// Whether a failure passes by itself, or waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Backoff,
    Slow,
}

impl BackoffConfig {
    /// The pause after the `failures`th failure in a row (from 1). `at_least` is what the server asked for; `chance` is
    /// between 0 and 1 and decides within the interval.
    pub(super) fn pause(&self, failures: u32, pace: Pace, at_least: Option<Duration>, chance: f64) -> Duration {
        let (doublings, most) = match pace {
            Pace::Backoff => (0, self.max_period.0),
            Pace::Slow => (SLOW_START, self.max_period.0.min(SLOW_CAP)),
        };
        let backoff = Backoff { first: self.min_period.0, most, most_asked: RETRY_AFTER_CAP };
        backoff.pause(failures.max(1).saturating_add(doublings), at_least, chance)
    }

    /// The same for a stream that is sent apart from its lane.
    pub(super) fn pause_apart(&self, failures: u32, pace: Pace, at_least: Option<Duration>, chance: f64) -> Duration {
        self.pause(failures, pace, at_least, chance).min(APART_CAP)
    }

    /// The number of attempts a batch has, if there is an end to them.
    pub(super) fn attempts(&self) -> Option<u32> {
        self.max_retries.filter(|n| *n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn doubles_between_its_bounds() {
        let backoff = BackoffConfig::default();
        for (failures, chance, millis) in [
            (1, 0.0, 500),
            (1, 0.5, 750),
            (2, 0.0, 1000),
            (5, 0.0, 8000),
            (5, 0.75, 14_000),
            (11, 0.0, 300_000),
            (u32::MAX, 0.99, 300_000),
        ] {
            let pause = backoff.pause(failures, Pace::Backoff, None, chance);
            assert_eq!(pause, Duration::from_millis(millis), "{failures} {chance}");
        }
    }

    #[test]
    fn what_needs_a_person_starts_slowly_and_stays_within_a_minute() {
        let backoff = BackoffConfig::default();
        for (failures, secs) in [(1, 4), (2, 8), (4, 32), (5, 60), (100, 60)] {
            assert_eq!(backoff.pause(failures, Pace::Slow, None, 0.0), secs * SECOND, "{failures}");
        }
    }

    #[test]
    fn retry_after_is_a_lower_bound_with_a_cap() {
        let backoff = BackoffConfig::default();
        for (failures, asked, secs) in [(1, 20, 20), (8, 20, 64), (1, 86_400, 30)] {
            assert_eq!(backoff.pause(failures, Pace::Backoff, Some(asked * SECOND), 0.0), secs * SECOND);
        }
    }

    #[test]
    fn retries_end_only_where_the_user_said_so() {
        for (written, attempts) in [(None, None), (Some(0), None), (Some(3), Some(3))] {
            assert_eq!(BackoffConfig { max_retries: written, ..BackoffConfig::default() }.attempts(), attempts);
        }
    }
}
