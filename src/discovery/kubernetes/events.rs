//! `kubernetes_events`: the events of the Kubernetes API as lines. One agent of the cluster sends them.
//!
//! ```text
//! Lease --> election --> leading?            (one task)
//!                           |
//! API server --> list, watch --> buffer --> reader of a client     (one task for each client)
//!                                   |             |
//!                                version <-- commit after Loki's answer
//! ```
//! The position is the resource version of the last event that Loki has acknowledged. It is saved as a cursor, and
//! written into the Lease, so that another agent continues there.

mod buffer;
mod config;
mod election;
mod follow;
mod leads;
mod lease;
mod line;
mod progress;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::BACKOFF;
use crate::backoff::Backoff;
use crate::discovery::Metrics;
use crate::discovery::remote_log::{Give, RemoteLog};
use crate::model::{AbortOnPanic, LabelSet, Source};
use crate::relabel::Rules;
use buffer::{Buffer, EventLog};
pub use config::Config;
use election::Election;
use follow::Follow;
use leads::Leads;
use line::Lines;
use progress::Progress;

/// Questions and services of the rest of the agent for the events of one job.
#[derive(Clone)]
pub struct Outside {
    pub job: Arc<str>,
    /// The name of this agent in the Lease: unique in the cluster.
    pub identity: Arc<str>,
    /// The rules of the job.
    pub rules: Rules,
    /// Gives the events to the readers of all clients. When the result is dropped, they are taken back.
    pub give: Give,
    pub metrics: Metrics,
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").field("job", &self.job).finish_non_exhaustive()
    }
}

/// How long the holder of the Lease may be silent before another agent takes it.
const LEASE: Duration = Duration::from_secs(15);

/// Sends the events of one job until it is dropped.
pub async fn run(config: Config, outside: Outside) {
    run_with(config, outside, (LEASE, BACKOFF)).await;
}

async fn run_with(config: Config, outside: Outside, (lease, backoff): (Duration, Backoff)) {
    let Outside { job, identity, rules, give, metrics } = outside;
    let (config, progress) = (Arc::new(config), Arc::new(Progress::default()));
    // Without an election this agent always leads.
    let (leading, is_leading) = watch::channel((!config.leader_election).then_some(None));
    let leads = Leads::new(metrics.events_leader(&job));
    leads.set(!config.leader_election);
    let labels = LabelSet::new(config.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let runtime = Handle::current();
    let open = {
        let (config, job, progress) = (config.clone(), job.clone(), progress.clone());
        move |cursor: Option<Arc<str>>, waker: Waker| {
            let buffer = Buffer::new(waker, progress.clone(), cursor.as_deref());
            let lines = Lines::new(&job, &config, rules.clone());
            let follow = Follow::new(&config, &job, lines, (is_leading.clone(), buffer.clone()), &metrics, backoff);
            let task = runtime.spawn(async {
                let _abort_on_panic = AbortOnPanic;
                follow.run().await;
            });
            Box::new(EventLog { buffer, task: task.abort_handle() }) as Box<dyn Source>
        }
    };
    let position = format!("cursor-{job}").into();
    let _given = give(RemoteLog { name: "kubernetes events".into(), position, labels, open: Box::new(open) });
    let election = async {
        match config.leader_election {
            true => Election::new(&config, &job, identity, progress, (&leading, &leads), lease).run().await,
            false => std::future::pending().await,
        }
    };
    election.await;
}
