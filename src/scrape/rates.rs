//! The rate limit of `limits_config`.

use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, RateLimiter};

use super::Rate;

/// `limits_config.readline_rate`. If lines are dropped, governor decides. If reading waits, lines add a debt that time
/// pays off.
#[derive(Debug)]
pub(super) struct Limiter {
    drop: bool,
    bucket: DefaultDirectRateLimiter,
    /// The debt of one line.
    line: Duration,
    /// The highest debt with which reading goes on: that of a burst.
    credit: Duration,
    paid_until: Option<Instant>,
}

impl Limiter {
    pub fn new(Rate { quota, drop }: Rate) -> Self {
        let line = quota.replenish_interval();
        let credit = line * quota.burst_size().get();
        Self { drop, bucket: RateLimiter::direct(quota), line, credit, paid_until: None }
    }

    pub fn allows(&mut self, now: Instant) -> bool {
        if self.drop {
            return self.bucket.check().is_ok();
        }
        self.paid_until = Some(self.paid_until.map_or(now, |p| p.max(now)) + self.line);
        true
    }

    /// Whether reading must wait because the debt exceeds the burst.
    pub fn must_wait(&self, now: Instant) -> bool {
        !self.drop && self.paid_until.is_some_and(|p| p > now + self.credit)
    }
}
