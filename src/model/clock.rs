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
