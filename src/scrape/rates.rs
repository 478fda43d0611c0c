//! The rate limit of `limits_config`.

use std::time::{Duration, Instant};

use super::Rate;

/// `limits_config.readline_rate`. If lines are dropped, governor decides. If reading waits, lines add a debt that time
/// pays off.
#[derive(Debug)]
pub(super) struct Limiter {
    rate: Rate,
    bucket: governor::DefaultDirectRateLimiter,
    paid_until: Option<Instant>,
}

impl Limiter {
    pub fn new(rate: Rate) -> Option<Self> {
        let period = Duration::try_from_secs_f64(1.0 / rate.lines_per_second).ok()?;
        let burst = std::num::NonZeroU32::new(rate.burst)?;
        let quota = governor::Quota::with_period(period)?.allow_burst(burst);
        Some(Self { rate, bucket: governor::RateLimiter::direct(quota), paid_until: None })
    }

    pub fn allows(&mut self, now: Instant) -> bool {
        if self.rate.drop {
            return self.bucket.check().is_ok();
        }
        let line = Duration::from_secs_f64(1.0 / self.rate.lines_per_second);
        self.paid_until = Some(self.paid_until.map_or(now, |p| p.max(now)) + line);
        true
    }

    /// Whether reading must wait because the debt exceeds the burst.
    pub fn must_wait(&self, now: Instant) -> bool {
        let credit = Duration::from_secs_f64(f64::from(self.rate.burst) / self.rate.lines_per_second);
        !self.rate.drop && self.paid_until.is_some_and(|p| p > now + credit)
    }
}
