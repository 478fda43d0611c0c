//! Times for records that have no time, or whose own time is not used.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Gives each record a later time than the one before, even if the clock goes back, so that the times show the order of
/// the lines.
#[derive(Debug, Default)]
pub(super) struct Arrival(AtomicI64);

impl Arrival {
    /// For a record that came at `now`. Both are in Unix nanoseconds.
    pub fn next(&self, now: i64) -> i64 {
        let later = |last: i64| now.max(last.saturating_add(1));
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(later(last))) {
            Ok(last) | Err(last) => later(last),
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

    #[test]
    fn each_time_is_later_than_the_one_before() {
        let arrival = Arrival(AtomicI64::new(unix_nanos(SystemTime::now()) + 3_600_000_000_000));
        let first = arrival.next(now());
        assert_eq!(arrival.next(now()), first + 1);
        assert!(Arrival::default().next(now()) > 1_600_000_000_000_000_000);
    }
}
