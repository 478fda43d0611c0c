//! How long to wait before asking the API server again.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Doubles from `first` to `most`, with jitter, so that the nodes of a cluster do not come back as one.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
    failed_at: Option<Instant>,
}

impl Backoff {
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first, failed_at: None }
    }

    /// The wait after a failure at `now`: half to all of what is due, but not less than the server has `asked` for. What it asks
    /// for is exceeded by up to a half, since it asks all nodes for the same, and bounded by `most`: no answer stops discovery.
    ///
    /// It begins anew only when the last failure is long past. A success in between says little: who may list but not
    /// watch succeeds each time.
    pub(super) fn delay(&mut self, now: Instant, asked: Duration) -> Duration {
        if self.failed_at.is_some_and(|at| now.duration_since(at) > self.most * 4) {
            self.next = self.first;
        }
        self.failed_at = Some(now);
        let due = self.next;
        self.next = (due * 2).min(self.most);
        let asked = asked.min(self.most);
        let own = due / 2 + (due / 2).mul_f64(chance());
        own.max(asked + (asked / 2).mul_f64(chance()))
    }
}

/// From 0 to 1. A hasher's keys are random enough for jitter.
fn chance() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_with_jitter_up_to_a_limit_and_begins_anew_after_a_long_peace() {
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(30));
        let mut backoff = Backoff::new(first, most);
        let mut now = Instant::now();
        for due in [1, 2, 4, 8, 16, 30, 30, 30].map(Duration::from_secs) {
            let delay = backoff.delay(now, Duration::ZERO);
            assert!(due / 2 <= delay && delay <= due, "{delay:?} of {due:?}");
            now += delay + Duration::from_secs(1);
        }
        assert!(backoff.delay(now + most * 5, Duration::ZERO) <= first);
    }

    #[test]
    fn the_server_may_ask_for_more_but_not_for_ever() {
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(30));
        let seconds = Duration::from_secs;
        for (asked, least, longest) in
            [(0, first / 2, first), (8, seconds(8), seconds(12)), (86_400, most, most + most / 2)]
        {
            let delay = Backoff::new(first, most).delay(Instant::now(), seconds(asked));
            assert!(least <= delay && delay <= longest, "{delay:?} where {asked} s are asked for");
        }
        // Asked for less than is due already, it waits as long as it would have.
        let mut backoff = Backoff::new(seconds(16), most);
        assert!(backoff.delay(Instant::now(), seconds(1)) >= seconds(8));
    }
}
