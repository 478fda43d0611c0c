//! The rate limit of `limits_config`.

use std::time::{Duration, Instant};

use governor::RateLimiter;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};

use super::Rate;
use crate::model::Clock;

/// `limits_config.readline_rate`. If lines are dropped, governor decides. If reading waits, lines add a debt that time
/// pays off.
#[derive(Debug)]
pub(super) struct Limiter {
    drop: bool,
    clock: Clock,
    bucket: RateLimiter<NotKeyed, InMemoryState, Clock, NoOpMiddleware<Instant>>,
    /// The debt of one line.
    line: Duration,
    /// The highest debt with which reading goes on: that of a burst.
    credit: Duration,
    paid_until: Option<Instant>,
}

impl Limiter {
    pub fn new(Rate { quota, drop }: Rate, clock: Clock) -> Self {
        let line = quota.replenish_interval();
        let credit = line * quota.burst_size().get();
        let bucket = RateLimiter::direct_with_clock(quota, clock.clone());
        Self { drop, clock, bucket, line, credit, paid_until: None }
    }

    /// Counts a line. False: the line must be dropped.
    pub fn allows(&mut self) -> bool {
        if self.drop {
            return self.bucket.check().is_ok();
        }
        let now = self.clock.now();
        self.paid_until = Some(self.paid_until.map_or(now, |p| p.max(now)) + self.line);
        true
    }

    /// Whether reading must wait because the debt exceeds the burst.
    pub fn must_wait(&self) -> bool {
        !self.drop && self.paid_until.is_some_and(|p| p > self.clock.now() + self.credit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::quota;

    const SECOND: Duration = Duration::from_secs(1);

    fn limiter(drop: bool) -> (Limiter, Clock) {
        let clock = Clock::standing(0);
        let quota = quota(2.0, 4).expect("a rate");
        (Limiter::new(Rate { quota, drop }, clock.clone()), clock)
    }

    #[test]
    fn lines_beyond_the_burst_are_dropped_until_time_passes() {
        let (mut limiter, clock) = limiter(true);
        let allowed = |limiter: &mut Limiter| (0..10).filter(|_| limiter.allows()).count();
        assert_eq!(allowed(&mut limiter), 4);
        assert_eq!(allowed(&mut limiter), 0, "no time has passed");
        clock.advance(SECOND);
        assert_eq!(allowed(&mut limiter), 2);
        assert!(!limiter.must_wait(), "lines are dropped instead");
    }

    #[test]
    fn reading_waits_until_the_debt_is_no_more_than_a_burst() {
        let (mut limiter, clock) = limiter(false);
        assert!((0..5).all(|_| limiter.allows()), "no line is dropped");
        assert!(limiter.must_wait());
        clock.advance(SECOND / 2);
        assert!(!limiter.must_wait());
        assert!(limiter.allows() && limiter.must_wait());
    }
}
