//! How fast: what is written to a log, and how many lines `limits_config` lets through.

use std::time::{Duration, Instant};

use super::Rate;

/// How much is written to a log, measured while reading waits for answers and when it has caught up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inflow {
    at: Instant,
    /// Bytes it had in all then; None: not known yet.
    total: Option<u64>,
    /// Bytes a second.
    rate: f64,
}

impl Inflow {
    const EVERY: Duration = Duration::from_millis(200);
    /// Measured over longer than this it says nothing about now.
    const LONGEST: Duration = Duration::from_secs(5);

    pub fn new(now: Instant) -> Self {
        Self { at: now, total: None, rate: 0.0 }
    }

    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.at + Self::EVERY
    }

    pub fn measure(&mut self, total: u64, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at);
        match self.total {
            Some(before) if passed <= Self::LONGEST => {
                let rate = total.saturating_sub(before) as f64 / passed.as_secs_f64().max(0.001);
                self.rate = if self.rate == 0.0 { rate } else { (self.rate + rate) / 2.0 };
            }
            _ => self.rate = 0.0,
        }
        (self.at, self.total) = (now, Some(total));
        self.rate
    }
}

/// `limits_config.readline_rate`: governor decides what is dropped; where reading waits instead, a debt is paid by time.
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

    /// Whether the lines that were let through are still to be paid for, beyond the burst.
    pub fn must_wait(&self, now: Instant) -> bool {
        let credit = Duration::from_secs_f64(f64::from(self.rate.burst) / self.rate.lines_per_second);
        !self.rate.drop && self.paid_until.is_some_and(|p| p > now + credit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_grows_by_is_measured_however_it_is_read() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut inflow = Inflow::new(start);
        // What was there before says nothing of what comes.
        assert_eq!(inflow.measure(50_000_000, at(200)), 0.0);
        assert_eq!(inflow.measure(50_200_000, at(400)), 1_000_000.0);
        assert_eq!(inflow.measure(50_400_000, at(600)), 1_000_000.0);
        assert_eq!(inflow.measure(50_400_000, at(800)), 500_000.0);
        assert_eq!(inflow.measure(90_400_000, at(60_000)), 0.0);
    }
}
