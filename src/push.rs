//! Hands batches to Loki until Loki says yes.
//!
//! A [`Client`] is one entry of `clients`. What must arrive in order travels in one lane ([`Batch::lane`]), one batch at a
//! time, oldest first; a lane that does not get through holds up no other. A stream that Loki refuses while it takes others
//! leaves its lane and is sent `apart`. What an answer means is decided in `answer`, what of a batch is asked about next in
//! `parts`, how long to wait in `backoff`, and `probe` sees that lines flow again soon after an outage. A batch is closed when
//! all of it is delivered, or discarded and counted, and dropped in silence when time runs out, so that it is read from disk
//! and sent again at the next start.

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
pub use headers::Header;
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
use lane::{Fate, Lane, LaneContext};
use pace::Paces;
use parts::Part;
use probe::Probe;
use status::Place;

/// Pushes of a client that may be on the wire at once.
const PERMITS: usize = 16;

type Tenant = Option<Arc<str>>;

/// How far the end has come. It only ever goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    Running,
    /// Deliver what is there, but do not wait for a Loki that fails.
    Drain,
    /// End now.
    Abort,
}

/// An entry of `clients` that was checked and can run. Nothing shows yet that it is there.
#[derive(Debug)]
pub struct Prepared {
    config: Config,
    endpoint: Endpoint,
}

impl Prepared {
    /// Fails where the config is wrong, or names certificates that cannot be read.
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
    /// Fails where the config is wrong, or names certificates that cannot be read.
    pub fn new(config: &Config, metrics: Metrics) -> Result<Self, Error> {
        Ok(Self::of(Prepared::new(config)?, &metrics))
    }

    /// Its counters appear with it.
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
                cleared: Notify::new(),
            },
        }
    }

    pub fn status(&self) -> Arc<Status> {
        self.context.status.clone()
    }

    /// Delivers `batches` until there are no more, or until [`Stop::Abort`]. Whenever a batch is no more (and has made
    /// room in its lane of the batcher), `wake` is woken.
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
        // The client's own was announced at the start.
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

    /// The lane of a stream that was set apart has come to its end; gives it back if there is more for it.
    fn finished_apart(&self, key: StreamKey, lane: Lane, fate: Fate) -> Option<Lane> {
        // What was given up stays known: nothing of the stream may overtake it.
        if fate == Fate::GivenUp {
            return None;
        }
        if !self.context.apart.remove_if_empty(key) {
            return Some(lane);
        }
        self.context.say_taken(key);
        None
    }

    /// Counters of a tenant are there, at zero, from its first batch on; nearly always it is that of the one before.
    fn announce(&self, last: &mut Tenant, batches: &[Batch]) {
        for batch in batches.iter().filter(|batch| batch.tenant().is_some()) {
            if batch.tenant() != last.as_ref() {
                *last = batch.tenant().cloned();
                self.context.metrics.announce_tenant(last.as_deref().unwrap_or_default());
            }
        }
    }
}

/// The batcher's lanes that have something to send, and those that were given up. Others cost nothing.
#[derive(Debug, Default)]
struct Lanes(HashMap<u64, Arc<Queue>>);

impl Lanes {
    /// Gives the lane of the batch, if it is to begin. What waits for one is bounded by the batcher, which hands out two
    /// batches per lane.
    fn arrived(&mut self, batch: Batch, wake: &Waker) -> Option<Lane> {
        let (number, tenant) = (batch.lane(), batch.tenant().cloned());
        if let Some(queue) = self.0.get(&number) {
            queue.push(Part::new(batch));
            // It was dropped if the lane was given up.
            wake.wake_by_ref();
            return None;
        }
        let queue = Arc::new(Queue::default());
        queue.push(Part::new(batch));
        self.0.insert(number, queue.clone());
        Some(Lane::new(Place::Lane(number), tenant, queue))
    }

    /// Gives the lane back if there is more for it to send.
    fn finished(&mut self, number: u64, lane: Lane, fate: Fate) -> Option<Lane> {
        // Nothing may overtake what was given up: its queue stays, and takes nothing.
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

/// Waits until the end has come this far; for ever if nobody is left who could say so.
async fn reached(stop: &mut watch::Receiver<Stop>, far: Stop) {
    if stop.wait_for(|stop| *stop >= far).await.is_err() {
        std::future::pending::<()>().await;
    }
}
