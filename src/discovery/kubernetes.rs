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

mod answer;
mod backoff;
mod bounded;
mod client;
mod config;
mod event;
mod failure;
mod folders;
mod health;
mod pieces;
mod pod;
mod reach;
mod remembered;
mod slim;
mod validate;
mod watch;

use std::sync::Arc;

use tracing::warn;

use super::Metrics;
use crate::relabel::Reads;
pub use config::Config;
pub use folders::Places;
pub use reach::Reach;
pub use remembered::Remembered;
use watch::{Scope, Watch};

/// The watches that `config` asks for: one per namespace, or one for all.
///
/// `reads` says which labels make a difference to the job.
pub(super) fn watches(
    config: Config,
    node: &Arc<str>,
    job: &Arc<str>,
    reads: &Arc<Reads>,
    metrics: &Metrics,
) -> Vec<Watch> {
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
    let watch = |scope| Watch::new(Arc::clone(&config), scope, node, job, Arc::clone(reads), metrics.clone());
    scopes.into_iter().map(watch).collect()
}
