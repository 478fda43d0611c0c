//! Pauses between attempts that fail. Each pause is about twice as long as the one before, up to a limit. A random part keeps
//! the agents of a thousand nodes from trying at the same moments.

use std::time::{Duration, Instant};

/// The limits of the pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The shortest pause.
    pub first: Duration,
    /// The longest pause, unless the server asks for a longer one.
    pub most: Duration,
    /// The most that is waited because a server asks for it (`Retry-After`), without the random part.
    pub most_asked: Duration,
}

impl Backoff {
    /// The pause after the `failures`th failure in a row (from 1): between first·2^(failures-1) and twice that, at most
    /// `most`. It is not shorter than what the server has `asked` for, which is exceeded by up to a fifth, because servers
    /// ask all agents for the same. `chance` is between 0 and 1 and decides within these intervals.
    pub fn pause(&self, failures: u32, asked: Option<Duration>, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(32);
        let low = self.first.as_secs_f64() * f64::from(2).powi(doublings.cast_signed());
        let own = Duration::from_secs_f64((low * (1.0 + chance)).min(self.most.as_secs_f64()));
        own.max(asked.unwrap_or_default().min(self.most_asked).mul_f64(1.0 + chance / 5.0))
    }
}

/// A random number from 0 to 1, for jitter.
pub fn chance() -> f64 {
    fastrand::f64()
}

/// The failures of one thing that is tried again and again.
#[derive(Debug)]
pub struct Failures {
    backoff: Backoff,
    in_a_row: u32,
    last: Option<Instant>,
}

impl Failures {
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, in_a_row: 0, last: None }
    }

    /// Counts a failure at the time `now`, and returns the pause before the next attempt.
    ///
    /// The pauses begin anew only if the last failure was more than four of the longest pauses ago. A success in between
    /// does not count: an agent that may list objects but not watch them has one each time.
    pub fn pause(&mut self, now: Instant, asked: Option<Duration>) -> Duration {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) > self.backoff.most * 4) {
            self.in_a_row = 0;
        }
        self.last = Some(now);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.backoff.pause(self.in_a_row, asked, chance())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const BACKOFF: Backoff = Backoff {
        first: Duration::from_millis(500),
        most: Duration::from_secs(30),
        most_asked: Duration::from_secs(30),
    };

    #[test]
    fn pauses_double_between_their_bounds() {
        for (failures, chance, millis) in [
            (0, 0.0, 500),
            (1, 0.0, 500),
            (1, 0.5, 750),
            (2, 0.0, 1000),
            (5, 0.0, 8000),
            (5, 0.75, 14_000),
            (11, 0.0, 30_000),
            (u32::MAX, 0.99, 30_000),
        ] {
            let pause = BACKOFF.pause(failures, None, chance);
            assert_eq!(pause, Duration::from_millis(millis), "{failures} {chance}");
        }
    }

    #[test]
    fn failures_in_a_row_double_the_pause_and_a_long_peace_ends_the_row() {
        let mut failures = Failures::new(BACKOFF);
        let mut now = Instant::now();
        for due in [1, 2, 4, 8, 16, 30, 30, 30].map(Duration::from_secs) {
            let pause = failures.pause(now, None);
            assert!(due / 2 <= pause && pause <= due, "{pause:?} of {due:?}");
            now += pause + SECOND;
        }
        assert!(failures.pause(now + BACKOFF.most * 5, None) <= SECOND);
    }

    #[test]
    fn the_server_may_ask_for_more_but_not_for_ever() {
        for (asked, least, longest) in
            [(0, SECOND / 2, SECOND), (8, 8 * SECOND, 12 * SECOND), (86_400, 30 * SECOND, 45 * SECOND)]
        {
            let pause = Failures::new(BACKOFF).pause(Instant::now(), Some(Duration::from_secs(asked)));
            assert!(least <= pause && pause <= longest, "{pause:?} where {asked} s are asked for");
        }
        // Asked for less than is due already, it waits as long as it would have.
        assert!(Backoff { first: 8 * SECOND, ..BACKOFF }.pause(1, Some(SECOND), chance()) >= 8 * SECOND);
    }

    #[test]
    fn chance_is_a_fraction() {
        assert!((0..1000).map(|_| chance()).all(|c| (0.0..1.0).contains(&c)));
    }
}
