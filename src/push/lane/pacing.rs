//! Delays the pushes of a lane according to Loki's known rate limits.

use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use super::{Lane, Road};
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
    pub(super) async fn keep_pace(&self, part: &Batch, alone: Option<u64>, road: &Road) {
        // Waits for the stream's limit first, without blocking others. Each limit is charged once, however long the
        // other takes.
        if alone.is_some() {
            self.pay(part, alone, road).await;
        }
        let turn = road.paces().turn(&self.tenant, Instant::now());
        let _turn = turn.lock().await;
        self.pay(part, None, road).await;
    }

    async fn pay(&self, part: &Batch, lane: Option<u64>, road: &Road) {
        loop {
            let bytes = if lane.is_some() { part.last_stream_bytes() } else { part.bytes() };
            let wait = road.paces().charge(&self.tenant, lane, bytes, Instant::now());
            match wait {
                None => return,
                Some(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    pub(super) fn slow_down(&self, refusal: Refusal, alone: Option<u64>, road: &Road) {
        let rate = road.paces().refused(&self.tenant, alone, refusal, Instant::now());
        road.say_slower(self.tenant(), refusal.of, rate);
    }
}

impl Road {
    // No call under this lock can leave the data inconsistent.
    pub(super) fn paces(&self) -> MutexGuard<'_, Paces> {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
