//! One attempt every few seconds, however long the pauses of the lanes have become: lines flow again soon after an outage.
//!
//! The lanes of a client take turns, so that one that never gets through does not keep the others from trying. A thousand
//! agents whose Loki is away make about 220 such attempts a second together, each with one push.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::chance;

/// From the last attempt of any lane that does not get through to the next probe: between this and twice this.
const SHORTEST: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Probe {
    turn: tokio::sync::Mutex<()>,
    last: Mutex<Instant>,
    shortest: Duration,
}

impl Probe {
    /// `min_period` is the user's shortest pause: probes do not come more often.
    pub(super) fn new(min_period: Duration) -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            last: Mutex::new(Instant::now()),
            shortest: SHORTEST.max(min_period),
        }
    }

    /// A lane that did not get through sends a push.
    pub(super) fn attempted(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits until it is this lane's turn and nobody has tried for some seconds.
    pub(super) async fn turn(&self) {
        let _turn = self.turn.lock().await;
        let interval = self.shortest.mul_f64(1.0 + chance());
        loop {
            let at = *self.last.lock().unwrap_or_else(PoisonError::into_inner) + interval;
            if Instant::now() >= at {
                break;
            }
            tokio::time::sleep_until(at).await;
        }
        // The next in line waits from now on, not from the moment at which this push is sent.
        self.attempted();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lanes_take_turns_and_none_tries_sooner_than_the_interval() {
        let probe = Probe::new(Duration::ZERO);
        let started = Instant::now();
        let turn = |lane: usize| {
            let probe = &probe;
            async move {
                let mut turns = Vec::new();
                for _ in 0..10 {
                    probe.turn().await;
                    turns.push((started.elapsed(), lane));
                }
                turns
            }
        };
        let (a, b, c) = tokio::join!(turn(0), turn(1), turn(2));
        let mut turns: Vec<_> = [a, b, c].concat();
        turns.sort();
        for pair in turns.windows(2) {
            let gap = pair[1].0 - pair[0].0;
            assert!(gap >= SHORTEST && gap <= 2 * SHORTEST + Duration::from_millis(2), "{gap:?}");
        }
        let lanes: Vec<usize> = turns.iter().map(|(_, lane)| *lane).collect();
        assert!(
            lanes.chunks(3).all(|three| three.contains(&0) && three.contains(&1) && three.contains(&2)),
            "{lanes:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_of_anybody_puts_it_off() {
        let probe = Probe::new(Duration::ZERO);
        let started = Instant::now();
        let others = async {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_secs(2)).await;
                probe.attempted();
            }
        };
        let (elapsed, ()) = tokio::join!(
            async {
                probe.turn().await;
                started.elapsed()
            },
            others
        );
        assert!(elapsed >= Duration::from_secs(43), "{elapsed:?}");
    }
}
