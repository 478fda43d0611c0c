//! Limits how many messages about files the agent logs: of five thousand unreadable files it names only a few.

use std::time::{Duration, Instant};

/// Lines per period. The status pages name every file. The log gives the number of those not named.
const LINES: u32 = 20;
const PERIOD: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Budget {
    begun: Instant,
    spent: u32,
    held_back: u64,
}

impl Budget {
    pub fn new(now: Instant) -> Self {
        Self { begun: now, spent: 0, held_back: 0 }
    }

    /// Whether one more line may be written. The last allowed line says that no more will follow for a while.
    pub fn allows(&mut self, now: Instant) -> bool {
        if now >= self.begun + PERIOD {
            let held_back = self.held_back;
            *self = Self::new(now);
            if held_back > 0 {
                tracing::warn!(
                    lines = held_back,
                    "this number of messages about files was suppressed in the last ten minutes: see /targets"
                );
            }
        }
        if self.spent < LINES {
            self.spent += 1;
            return true;
        }
        if self.held_back == 0 {
            tracing::warn!("further messages about single files are suppressed for up to ten minutes: see /targets");
        }
        self.held_back += 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_in_ten_minutes() {
        let begun = Instant::now();
        let mut budget = Budget::new(begun);
        let allowed = |budget: &mut Budget, now| (0..5_000).filter(|_| budget.allows(now)).count();
        assert_eq!(allowed(&mut budget, begun), LINES as usize);
        assert_eq!(allowed(&mut budget, begun + PERIOD - Duration::from_secs(1)), 0);
        assert_eq!(budget.held_back, 10_000 - u64::from(LINES));
        assert_eq!(allowed(&mut budget, begun + PERIOD), LINES as usize);
    }
}
