//! Sends batches to Loki until Loki acknowledges them.
//!
//! A [`Client`] is one entry of `clients`. Batches that must arrive in order share a lane ([`Batch::lane`]). A lane
//! sends one batch at a time, oldest first, and does not delay other lanes. A stream that Loki refuses while it accepts
//! others leaves its lane (`apart`). `answer` decides what an answer means, `parts` which part of a batch is sent next,
//! and `backoff` how long to wait. `probe` makes lines flow again soon after an outage.
//!
//! A batch is closed when all its entries are delivered, or discarded and counted. A batch that is dropped without
//! being closed is read from disk and sent again at the next start.

mod answer;
mod apart;
mod backoff;
mod client;
mod config;
#[cfg(test)]
#[path = "../tests/support/fake_loki.rs"]
mod fake_loki;
mod headers;
mod lane;
mod metrics;
mod pace;
mod parts;
mod probe;
mod say;
mod status;
#[cfg(test)]
mod tests;

pub use backoff::BackoffConfig;
pub use config::Config;
pub use metrics::Metrics;
pub use pace::RateLimits;
pub use status::Status;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, Semaphore, mpsc, watch};

use crate::batch::{Batch, StreamKey};
use crate::http_client::Error;
use apart::{Apart, Queue};
use client::Endpoint;
use lane::{Clocks, Fate, Lane, LaneContext};
use pace::Paces;
use parts::Part;
use probe::Probe;
use status::Place;

/// The most concurrent pushes of a client.
const PERMITS: usize = 16;

type Tenant = Option<Arc<str>>;

/// How the client must end. Only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    Running,
    /// Deliver the present batches, but do not wait if Loki fails.
    Drain,
    /// End at once.
    Abort,
}

/// A checked entry of `clients` that is ready to run. It has no metrics yet.
#[derive(Debug)]
pub struct Prepared {
    config: Config,
    endpoint: Endpoint,
}

impl Prepared {
    /// Fails if the config is wrong, or certificates cannot be read.
    pub fn new(config: &Config) -> Result<Self, Error> {
        Ok(Self { endpoint: Endpoint::new(config)?, config: config.clone() })
    }
}

/// Sends the batches of one entry of `clients`.
#[derive(Debug)]
pub struct Client {
    context: LaneContext,
}

impl Client {
    /// Fails if the config is wrong, or certificates cannot be read.
    pub fn new(config: &Config, metrics: Metrics) -> Result<Self, Error> {
        Ok(Self::of(Prepared::new(config)?, &metrics))
    }

    /// Registers the client's counters.
    pub fn of(prepared: Prepared, metrics: &Metrics) -> Self {
        let Prepared { config, endpoint } = prepared;
        let metrics = metrics.of(&config.name(), config.host());
        metrics.announce_tenant(&config.tenant_id);
        Self {
            context: LaneContext {
                endpoint,
                backoff: config.backoff_config,
                drop_rate_limited: config.drop_rate_limited_batches,
                metrics,
                status: Arc::new(Status::new(config.name(), config.redacted_url())),
                paces: Mutex::new(Paces::new(config.rate_limits, config.batchsize)),
                permits: Semaphore::new(PERMITS),
                probe: Probe::new(config.backoff_config.min_period.0),
                stored: AtomicU64::new(0),
                apart: Apart::new(config.backoff_config.min_period.0),
                clocks: Clocks::default(),
                cleared: Notify::new(),
            },
        }
    }

    pub fn status(&self) -> Arc<Status> {
        self.context.status.clone()
    }

    /// Delivers `batches` until the channel is closed, or until [`Stop::Abort`]. Wakes `wake` for each finished batch,
    /// which has made room in its lane of the batcher.
    pub async fn run(self, mut batches: mpsc::UnboundedReceiver<Vec<Batch>>, wake: Waker, stop: watch::Receiver<Stop>) {
        {
            let deliver = self.deliver(&mut batches, &wake, &stop);
            let mut stop = stop.clone();
            tokio::select! {
                biased;
                () = reached(&mut stop, Stop::Abort) => {}
                () = deliver => {}
            }
        }
        drop(batches);
        wake.wake();
    }

    async fn deliver(
        &self,
        batches: &mut mpsc::UnboundedReceiver<Vec<Batch>>,
        wake: &Waker,
        stop: &watch::Receiver<Stop>,
    ) {
        let mut lanes = Lanes::default();
        let mut busy = FuturesUnordered::new();
        // The client's own tenant is announced at the start.
        let mut announced = None;
        let mut open = true;
        while open || !busy.is_empty() || self.context.apart.has_new() {
            tokio::select! {
                arrived = batches.recv(), if open => match arrived {
                    Some(arrived) => {
                        self.announce(&mut announced, &arrived);
                        let begun = arrived.into_iter().filter_map(|batch| lanes.arrived(batch, wake));
                        busy.extend(begun.map(|lane| self.go(lane, wake, stop)));
                    }
                    None => open = false,
                },
                () = self.context.apart.is_new.notified() => {
                    while let Some((key, queue)) = self.context.apart.take_new() {
                        let tenant = queue.tenant();
                        busy.push(self.go(Lane::new(Place::Apart(key), tenant, queue), wake, stop));
                    }
                }
                Some((lane, fate)) = busy.next() => {
                    let again = match lane.place {
                        Place::Lane(number) => lanes.finished(number, lane, fate),
                        Place::Apart(key) => self.finished_apart(key, lane, fate),
                    };
                    wake.wake_by_ref();
                    busy.extend(again.map(|lane| self.go(lane, wake, stop)));
                }
            }
        }
    }

    async fn go(&self, mut lane: Lane, wake: &Waker, stop: &watch::Receiver<Stop>) -> (Lane, Fate) {
        let fate = lane.run(&self.context, wake, stop.clone()).await;
        (lane, fate)
    }

    /// Called when the lane of a stream that is set apart has nothing more to send. Returns the lane if more has
    /// arrived.
    fn finished_apart(&self, key: StreamKey, lane: Lane, fate: Fate) -> Option<Lane> {
        // The queue of a lane that was given up stays, so that nothing of the stream overtakes it.
        if fate == Fate::GivenUp {
            return None;
        }
        if !self.context.apart.remove_if_empty(key) {
            return Some(lane);
        }
        self.context.say_taken(key);
        None
    }

    /// Creates the counters of a tenant, at zero, with its first batch. Nearly all batches have the tenant of the batch
    /// before.
    fn announce(&self, last: &mut Tenant, batches: &[Batch]) {
        for batch in batches.iter().filter(|batch| batch.tenant().is_some()) {
            if batch.tenant() != last.as_ref() {
                *last = batch.tenant().cloned();
                self.context.metrics.announce_tenant(last.as_deref().unwrap_or_default());
            }
        }
    }
}

/// The lanes of the batcher that have batches to send, or were given up.
#[derive(Debug, Default)]
struct Lanes(HashMap<u64, Arc<Queue>>);

impl Lanes {
    /// Returns the batch's lane if it must start. The batcher bounds the waiting batches: at most two for each lane.
    fn arrived(&mut self, batch: Batch, wake: &Waker) -> Option<Lane> {
        let (number, tenant) = (batch.lane(), batch.tenant().cloned());
        if let Some(queue) = self.0.get(&number) {
            queue.push(Part::new(batch));
            // The batch was dropped because the lane was given up.
            wake.wake_by_ref();
            return None;
        }
        let queue = Arc::new(Queue::default());
        queue.push(Part::new(batch));
        self.0.insert(number, queue.clone());
        Some(Lane::new(Place::Lane(number), tenant, queue))
    }

    /// Returns the lane if it has more to send.
    fn finished(&mut self, number: u64, lane: Lane, fate: Fate) -> Option<Lane> {
        // The closed queue stays, so that nothing overtakes the batches that were given up.
        if fate == Fate::GivenUp {
            return None;
        }
        if !lane.queue().is_empty() {
            return Some(lane);
        }
        self.0.remove(&number);
        None
    }
}

/// Waits until `stop` is at least `far`. Waits forever if the sender is gone.
async fn reached(stop: &mut watch::Receiver<Stop>, far: Stop) {
    if stop.wait_for(|stop| *stop >= far).await.is_err() {
        std::future::pending::<()>().await;
    }
}
