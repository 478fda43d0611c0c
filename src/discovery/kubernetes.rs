//! `kubernetes_sd_configs`: the pods of one node, by a watch per config and namespace.
//!
//! ```yaml
//! kubernetes_sd_configs:
//!   - role: pod
//!     namespaces: {names: [test]}
//!     selectors: [{role: pod, label: app=web}]
//! ```
//! A pod is told as it comes and then forgotten; only a hash of it is kept. The API server being away, forbidding, or
//! forgetting where the watch was, takes no target away: what is tailed goes on.

mod backoff;
mod bounded;
mod client;
mod config;
mod failure;
mod health;
mod pod;
mod reach;
mod slim;
mod validate;
mod watch;

use std::sync::Arc;

use tracing::warn;

use super::Metrics;
pub use config::Config;
pub use reach::Reach;
use watch::{Scope, Watch};

/// The watches that `config` asks for: one per namespace, or one for all.
pub(super) fn watches(config: Config, node: &Arc<str>, job: &Arc<str>, metrics: &Metrics) -> Vec<Watch> {
    if node.is_empty() {
        warn!(
            job = &**job,
            "the node's name is not known, so that the pods of all nodes are watched: \
             set the environment variable HOSTNAME to the pod's spec.nodeName"
        );
    }
    let mut scopes: Vec<Scope> = config.namespaces.names.iter().cloned().map(Scope::Named).collect();
    if config.namespaces.own_namespace {
        scopes.push(Scope::Own);
    }
    if scopes.is_empty() {
        scopes.push(Scope::All);
    }
    let config = Arc::new(config);
    scopes.into_iter().map(|scope| Watch::new(Arc::clone(&config), scope, node, job, metrics.clone())).collect()
}
