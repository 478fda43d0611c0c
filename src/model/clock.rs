//! The clock of the machine, or a clock that stands still.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The zero of [`Clock::monotonic`].
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

#[derive(Clone, Debug, Default)]
pub struct Clock {
    fixed: Option<Arc<Mutex<Fixed>>>,
}

#[derive(Debug)]
struct Fixed {
    now: Instant,
    unix_nanos: i64,
    /// So much time passes whenever somebody asks for the time.
    step: Duration,
}

/// A time after `time`, which may be that of a file: its owner can give it any time, also the last one that there is.
pub fn later(time: SystemTime, by: Duration) -> SystemTime {
    time.checked_add(by).unwrap_or(time)
}

impl Clock {
    pub fn now(&self) -> Instant {
        let Some(mut fixed) = self.fixed() else {
            return Instant::now();
        };
        let step = fixed.step;
        fixed.pass(step);
        fixed.now
    }

    pub fn system_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.unix_nanos().max(0) as u64)
    }

    /// Nanoseconds since the Unix epoch.
    pub fn unix_nanos(&self) -> i64 {
        if let Some(fixed) = self.fixed() {
            return fixed.unix_nanos;
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }

    /// Nanoseconds of a clock that nobody can set. Only differences of two values have a meaning.
    pub fn monotonic(&self) -> i64 {
        let (now, start) = (self.now(), *START);
        let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        // The clock of a test may have been made before the start.
        now.checked_duration_since(start).map_or_else(|| -nanos(start - now), nanos)
    }

    fn fixed(&self) -> Option<MutexGuard<'_, Fixed>> {
        self.fixed.as_ref().map(|fixed| fixed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Fixed {
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.unix_nanos += time.as_nanos() as i64;
    }
}

impl Clock {
    /// A clock that stands still at this time, for tests and for commands that show what happens at a given time.
    pub fn standing(unix_nanos: i64) -> Self {
        let fixed = Fixed { now: Instant::now(), unix_nanos, step: Duration::ZERO };
        Self { fixed: Some(Arc::new(Mutex::new(fixed))) }
    }

    #[cfg(test)]
    pub fn advance(&self, by: Duration) {
        self.fixed().expect("a standing clock").pass(by);
    }

    /// From now on so much time passes whenever somebody asks for the time.
    #[cfg(test)]
    pub fn step_by(&self, step: Duration) {
        self.fixed().expect("a standing clock").step = step;
    }

    /// Somebody sets the clock. The monotonic clock does not notice.
    #[cfg(test)]
    pub fn set_by(&self, nanos: i64) {
        self.fixed().expect("a standing clock").unix_nanos += nanos;
    }
}

/// How far the times of a log or a receiver may stay ahead of a clock that was put back, in nanoseconds. Loki takes what is
/// at most ten minutes ahead of its own clock.
const AHEAD: i64 = 5 * 60 * 1_000_000_000;

/// The time of a line that comes at `now`, in Unix nanoseconds: later than `last`, the time of the line before, so that
/// lines keep their order if the clock is put back. But if that would be far ahead of the clock, Loki would refuse it: then
/// the clock alone decides.
pub fn next_time(last: i64, now: i64) -> i64 {
    if last >= now.saturating_add(AHEAD) { now } else { now.max(last.saturating_add(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_does_not_turn_lines_around() {
        let mut last = 0;
        // Forward, far back, unchanged, forward again.
        for now in [100, 200, 50, 50, 51, 300] {
            let time = next_time(last, now);
            assert!(time > last, "{time} after {last}");
            last = time;
        }
        assert_eq!(last, 300);
    }

    #[test]
    fn a_clock_that_was_far_ahead_is_followed_again_and_one_that_was_slightly_ahead_keeps_the_order() {
        const MINUTE: i64 = 60 * 1_000_000_000;
        let at = |minutes: i64| 1_000_000 * MINUTE + minutes * MINUTE;
        for (ahead, goes_back) in [(24 * 60, true), (6, true), (5, true), (4, false), (1, false), (0, false)] {
            let (mut last, mut went_back) = (at(ahead), 0);
            // Two minutes with a read every second.
            for second in 0..120 {
                let now = at(0) + second * MINUTE / 60;
                let time = next_time(last, now);
                assert!((now..=now + AHEAD).contains(&time), "{ahead} minutes ahead: {}", time - now);
                went_back += usize::from(time <= last);
                last = time;
            }
            assert_eq!(went_back, usize::from(goes_back), "{ahead} minutes ahead");
        }
        // A machine that slept for a day.
        assert_eq!(next_time(at(0), at(24 * 60)), at(24 * 60));
        assert_eq!(next_time(i64::MAX, at(0)), at(0));
    }
}
