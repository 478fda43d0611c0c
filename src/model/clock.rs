//! The clock of the machine, or a clock that stands still.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The zero of [`Clock::monotonic`].
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

#[derive(Clone, Debug, Default)]
pub struct Clock {
    fixed: Option<Arc<Mutex<(Instant, i64)>>>,
}

impl Clock {
    pub fn now(&self) -> Instant {
        if let Some(fixed) = &self.fixed {
            return fixed.lock().unwrap_or_else(PoisonError::into_inner).0;
        }
        Instant::now()
    }

    pub fn system_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.unix_nanos().max(0) as u64)
    }

    /// Nanoseconds since the Unix epoch.
    pub fn unix_nanos(&self) -> i64 {
        if let Some(fixed) = &self.fixed {
            return fixed.lock().unwrap_or_else(PoisonError::into_inner).1;
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
}

impl Clock {
    /// A clock that stands still at this time, for tests and for commands that show what happens at a given time.
    pub fn standing(unix_nanos: i64) -> Self {
        Self { fixed: Some(Arc::new(Mutex::new((Instant::now(), unix_nanos)))) }
    }

    #[cfg(test)]
    pub fn advance(&self, by: Duration) {
        let mut fixed = self.fixed.as_ref().expect("a standing clock").lock().unwrap_or_else(PoisonError::into_inner);
        fixed.0 += by;
        fixed.1 += by.as_nanos() as i64;
    }

    /// Somebody sets the clock. The monotonic clock does not notice.
    #[cfg(test)]
    pub fn set_by(&self, nanos: i64) {
        let fixed = self.fixed.as_ref().expect("a standing clock");
        fixed.lock().unwrap_or_else(PoisonError::into_inner).1 += nanos;
    }
}
