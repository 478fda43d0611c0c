//! Delays the pushes of a lane according to Loki's known rate limits.

use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use super::{Lane, LaneContext};
use crate::batch::Batch;
use crate::push::pace::{Paces, Refusal};
use crate::push::status::Place;

impl Lane {
    /// The lane whose stream has its own rate limit, in addition to the tenant's: a lane with a leader.
    pub(super) fn leader(&self, batch: &Batch) -> Option<u64> {
        match self.place {
            Place::Lane(number) if batch.is_led() => Some(number),
            _ => None,
        }
    }

    /// Waits until Loki's known limits allow the part.
    pub(super) async fn keep_pace(&self, part: &Batch, alone: Option<u64>, context: &LaneContext) {
        // Waits for the stream's limit first, without blocking others. Each limit is charged once, however long the
        // other takes.
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
    // No call under this lock can leave the data inconsistent.
    pub(super) fn paces(&self) -> MutexGuard<'_, Paces> {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
