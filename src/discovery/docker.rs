//! `docker_sd_configs`: containers of Docker.
//!
//! ```yaml
//! docker_sd_configs:
//!   - host: unix:///var/run/docker.sock
//! ```
//! A container is one target. Its lines are read from the file that Docker writes, because positions and rotation
//! work on files. If this file cannot be seen, they are read through the API ([`log`]).

mod api;
mod beside;
mod config;
mod containers;
mod engine;
mod found;
mod labels;
mod log;
pub mod swarm;
#[cfg(test)]
mod tests;
mod watch;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;

use super::{Known, Metrics};
use crate::discovery::Give;
use crate::relabel::Rules;
use engine::Engine;
use watch::Watch;

pub(super) use beside::ContainerFiles;
pub use config::Config;
// The parsers are public for the fuzz targets.
pub use beside::described;
pub use log::{Cursor, Frame, Frames, Line, Lines, NotFrames};

/// Questions and services of the rest of the agent for the discovery of containers.
#[derive(Clone)]
pub struct Outside {
    /// Whether the log of this name in `positions.yaml` has been read before.
    pub is_known: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// The last time at which an agent was running. A container that stopped earlier is not read, unless it is known.
    pub unseen_since: SystemTime,
    /// The rules of the job.
    pub rules: Rules,
    /// Gives a log to the readers of all clients. When the result is dropped, the log is taken back.
    pub give: Give,
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").field("unseen_since", &self.unseen_since).finish_non_exhaustive()
    }
}

/// Sends the targets of the containers until it is dropped. `unlisted` is dropped after the first list.
pub(super) async fn run(
    config: Config,
    known: Known,
    outside: Outside,
    metrics: Metrics,
    unlisted: mpsc::Sender<Infallible>,
) {
    match Engine::new(&config) {
        Ok(engine) => Watch::new(config, Arc::new(engine), known, outside, metrics, unlisted).run().await,
        Err(error) => {
            // The config was checked. Only a file that it names can have changed since then.
            tracing::error!(job = known.job(), %error, "cannot set up the way to Docker, and no container is found");
            std::future::pending().await
        }
    }
}
