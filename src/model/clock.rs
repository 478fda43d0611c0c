//! The clock of the machine, or the clock of a test.

use std::sync::LazyLock;
#[cfg(test)]
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The zero of [`Clock::monotonic`].
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

#[derive(Clone, Debug, Default)]
pub struct Clock {
    #[cfg(test)]
    fixed: Option<Arc<Mutex<(Instant, i64)>>>,
}

impl Clock {
    pub fn now(&self) -> Instant {
        #[cfg(test)]
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
        #[cfg(test)]
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

/// A clock for tests. It stands still until the test moves it.
#[cfg(test)]
impl Clock {
    pub fn standing(unix_nanos: i64) -> Self {
        Self { fixed: Some(Arc::new(Mutex::new((Instant::now(), unix_nanos)))) }
    }

    pub fn advance(&self, by: Duration) {
        let mut fixed = self.fixed.as_ref().expect("a standing clock").lock().unwrap_or_else(PoisonError::into_inner);
        fixed.0 += by;
        fixed.1 += by.as_nanos() as i64;
    }
}
