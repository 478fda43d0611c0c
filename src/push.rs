//! Hands batches to Loki until Loki says yes.
//!
//! A [`Client`] is one entry of `clients`. What must arrive in order travels in one lane ([`Batch::lane`]), one batch at a
//! time, oldest first; a lane that does not get through holds up no other. What an answer means is decided in `answer`, how long to wait in
//! `backoff`; a batch is closed when all of it is delivered, or discarded and counted, and dropped in silence when time
//! runs out, so that it is read from disk and sent again at the next start.

mod answer;
mod auth;
mod backoff;
mod client;
mod config;
#[cfg(test)]
mod fake_loki;
mod headers;
mod lane;
mod metrics;
mod nullable;
mod oauth2;
mod pace;
mod status;
#[cfg(test)]
mod tests;
mod tls;
mod url;

pub use auth::{Authorization, BasicAuth};
pub use backoff::Backoff;
pub use config::{Config, Error};
pub use headers::Header;
pub use metrics::Metrics;
pub use oauth2::OAuth2;
pub use pace::RateLimits;
pub use status::Status;
pub use tls::Config as TlsConfig;
pub use url::Url;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, Semaphore, mpsc, watch};

use crate::batch::Batch;
use client::Endpoint;
use lane::{Fate, Lane, Road};
use pace::Paces;

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

/// Sends the batches of one entry of `clients`.
#[derive(Debug)]
pub struct Client {
    road: Road,
}

impl Client {
    /// Fails where the config is wrong, or names certificates that cannot be read.
    pub fn new(config: &Config, metrics: Metrics) -> Result<Self, Error> {
        let endpoint = Endpoint::new(config)?;
        let metrics = metrics.of(config.host());
        metrics.announce_tenant(&config.tenant_id);
        Ok(Self {
            road: Road {
                endpoint,
                backoff: config.backoff_config,
                drop_rate_limited: config.drop_rate_limited_batches,
                metrics,
                status: Arc::new(Status::new(config.name(), config.redacted_url())),
                paces: Mutex::new(Paces::new(config.rate_limits, config.batchsize)),
                permits: Semaphore::new(PERMITS),
                cleared: Notify::new(),
            },
        })
    }

    pub fn status(&self) -> Arc<Status> {
        self.road.status.clone()
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
        while open || !busy.is_empty() {
            tokio::select! {
                arrived = batches.recv(), if open => match arrived {
                    Some(arrived) => {
                        self.announce(&mut announced, &arrived);
                        let next = arrived.into_iter().filter_map(|batch| lanes.arrived(batch, wake));
                        busy.extend(next.map(|(lane, batch)| self.go(lane, batch, wake, stop)));
                    }
                    None => open = false,
                },
                Some((lane, fate)) = busy.next() => {
                    let next = lanes.finished(lane, fate, wake);
                    busy.extend(next.map(|(lane, batch)| self.go(lane, batch, wake, stop)));
                }
            }
        }
    }

    async fn go(&self, mut lane: Lane, batch: Batch, wake: &Waker, stop: &watch::Receiver<Stop>) -> (Lane, Fate) {
        let fate = lane.deliver(batch, &self.road, wake, stop.clone()).await;
        (lane, fate)
    }

    /// Counters of a tenant are there, at zero, from its first batch on; nearly always it is that of the one before.
    fn announce(&self, last: &mut Tenant, batches: &[Batch]) {
        for batch in batches.iter().filter(|batch| batch.tenant().is_some()) {
            if batch.tenant() != last.as_ref() {
                *last = batch.tenant().cloned();
                self.road.metrics.announce_tenant(last.as_deref().unwrap_or_default());
            }
        }
    }
}

/// Who is on the way, and what waits behind. A lane that has nothing to send costs nothing.
#[derive(Debug, Default)]
struct Lanes(HashMap<u64, Queue>);

#[derive(Debug)]
enum Queue {
    /// Behind the batch that is on its way. Bounded by the batcher, which hands out two per lane.
    Waiting(VecDeque<Batch>),
    /// Nothing may overtake what was given up.
    Closed,
}

impl Lanes {
    /// What to send now that `batch` is there.
    fn arrived(&mut self, batch: Batch, wake: &Waker) -> Option<(Lane, Batch)> {
        match self.0.get_mut(&batch.lane()) {
            None => {
                self.0.insert(batch.lane(), Queue::Waiting(VecDeque::new()));
                Some((Lane::new(batch.lane(), batch.tenant().cloned()), batch))
            }
            Some(Queue::Waiting(queue)) => {
                queue.push_back(batch);
                None
            }
            Some(Queue::Closed) => {
                drop(batch);
                wake.wake_by_ref();
                None
            }
        }
    }

    /// What to send now that `lane` has come to the end of a batch.
    fn finished(&mut self, lane: Lane, fate: Fate, wake: &Waker) -> Option<(Lane, Batch)> {
        if fate == Fate::GivenUp {
            self.0.insert(lane.number, Queue::Closed);
            wake.wake_by_ref();
            return None;
        }
        match self.0.get_mut(&lane.number) {
            Some(Queue::Waiting(queue)) if !queue.is_empty() => queue.pop_front().map(|batch| (lane, batch)),
            _ => {
                self.0.remove(&lane.number);
                None
            }
        }
    }
}

/// Waits until the end has come this far; for ever if nobody is left who could say so.
async fn reached(stop: &mut watch::Receiver<Stop>, far: Stop) {
    if stop.wait_for(|stop| *stop >= far).await.is_err() {
        std::future::pending::<()>().await;
    }
}
