//! Times for records that have no time, or whose own time is not used.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::next_time;

/// Gives each record a later time than the one before, even if the clock goes back a little, so that the times show the order of
/// the lines.
#[derive(Debug, Default)]
pub(super) struct Arrival(AtomicI64);

impl Arrival {
    /// For a record that came at `now`. Both are in Unix nanoseconds.
    pub fn next(&self, now: i64) -> i64 {
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next_time(last, now))) {
            Ok(last) | Err(last) => next_time(last, now),
        }
    }
}

/// In Unix nanoseconds.
pub(super) fn now() -> i64 {
    unix_nanos(SystemTime::now())
}

fn unix_nanos(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn each_time_is_later_than_the_one_before() {
        let arrival = Arrival(AtomicI64::new(now() + 60 * SECOND));
        let first = arrival.next(now());
        assert_eq!(arrival.next(now()), first + 1);
        assert!(Arrival::default().next(now()) > 1_600_000_000 * SECOND);
    }

    /// Loki refuses what is more than ten minutes ahead of its clock, so each line would be lost until the clock has caught up.
    #[test]
    fn a_clock_that_was_an_hour_ahead_is_followed_when_it_is_put_right() {
        let arrival = Arrival::default();
        let right = now();
        assert_eq!(arrival.next(right + 3_600 * SECOND), right + 3_600 * SECOND);
        assert_eq!([arrival.next(right), arrival.next(right)], [right, right + 1]);
    }
}
