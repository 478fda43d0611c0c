//! `consul_sd_configs` and `consulagent_sd_configs`: instances of services in Consul.
//!
//! ```yaml
//! consul_sd_configs:
//!   - server: localhost:8500
//!     services: [web]
//! ```
//! The first asks for all instances that Consul's catalog has, the second ([`agent`]) for those of one agent.

mod address;
pub mod agent;
mod api;
mod config;
mod labels;
mod requests;
#[cfg(test)]
mod tests;
mod watch;

use std::convert::Infallible;

use tokio::sync::mpsc;

use super::{Known, Metrics};
pub use config::Config;
use requests::Consul;
use watch::Watch;

/// Tells of the instances until it is dropped. `unlisted` is dropped when they are known.
pub(super) async fn run(config: Config, known: Known, metrics: Metrics, unlisted: mpsc::Sender<Infallible>) {
    Watch::new(Consul::new(config), known, metrics, unlisted).run().await;
}
