//! One attempt every few seconds, however long the pauses of the lanes have become: lines flow again soon after an outage.
//!
//! The lanes of a client take turns, so that one that never gets through does not keep the others from trying. A thousand
//! agents whose Loki is away make about 250 attempts a second together once their pauses have grown, each with one push.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::chance;

/// From the moment at which a lane begins to wait, and from the last probe, to the next one: between this and twice this.
const SHORTEST: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Probe {
    /// When the last one was sent.
    last: tokio::sync::Mutex<Instant>,
    shortest: Duration,
}

impl Probe {
    /// `min_period` is the user's shortest pause: probes do not come more often.
    pub(super) fn new(min_period: Duration) -> Self {
        Self { last: tokio::sync::Mutex::new(Instant::now()), shortest: SHORTEST.max(min_period) }
    }

    /// Waits until it is this lane's turn and no lane has sent a probe for some seconds.
    pub(super) async fn turn(&self) {
        let begun = Instant::now();
        let mut last = self.last.lock().await;
        tokio::time::sleep_until(begun.max(*last) + self.shortest.mul_f64(1.0 + chance())).await;
        *last = Instant::now();
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
}
