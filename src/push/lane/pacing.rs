//! How fast a lane sends: as Loki's limits of rate allow, as far as they are known.

use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use super::{Lane, LaneContext};
use crate::batch::Batch;
use crate::push::pace::{Paces, Refusal};
use crate::push::status::Place;

impl Lane {
    /// Whose limit of rate a batch meets besides that of its tenant: that of the stream that leads the lane.
    pub(super) fn leader(&self, batch: &Batch) -> Option<u64> {
        match self.place {
            Place::Lane(number) if batch.is_led() => Some(number),
            _ => None,
        }
    }

    /// Waits until Loki's limits let the part through, as far as they are known.
    pub(super) async fn keep_pace(&self, part: &Batch, alone: Option<u64>, context: &LaneContext) {
        // Its own limit first, which it waits for alone. Each is charged once, however long the other takes.
        if alone.is_some() {
            self.pay(part, alone, context).await;
        }
        let turn = context.paces().turn(&self.tenant, Instant::now());
        let _turn = turn.lock().await;
        self.pay(part, None, context).await;
    }

    async fn pay(&self, part: &Batch, lane: Option<u64>, context: &LaneContext) {
        loop {
            let bytes = if lane.is_some() { part.last_stream_bytes() } else { part.bytes() };
            let wait = context.paces().charge(&self.tenant, lane, bytes, Instant::now());
            match wait {
                None => return,
                Some(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    pub(super) fn slow_down(&self, refusal: Refusal, alone: Option<u64>, context: &LaneContext) {
        let rate = context.paces().refused(&self.tenant, alone, refusal, Instant::now());
        context.say_slower(self.tenant(), refusal.of, rate);
    }
}

impl LaneContext {
    // Nothing is called under the lock that could leave them half changed.
    pub(super) fn paces(&self) -> MutexGuard<'_, Paces> {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
