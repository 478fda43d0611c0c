//! The settings of a watch.

use std::fmt;
use std::sync::Arc;

use super::config::Config;
use crate::backoff::Backoff;
use crate::discovery::Metrics;
use crate::relabel::Reads;

/// The namespaces whose objects are watched.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    All,
    Named(String),
    /// The one that the agent itself runs in.
    Own,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::All => f.write_str("all namespaces"),
            Scope::Named(name) => write!(f, "namespace {name}"),
            Scope::Own => f.write_str("own namespace"),
        }
    }
}

/// The settings that all watches of one config and one scope share.
#[derive(Clone)]
pub(super) struct WatchSettings {
    pub(super) config: Arc<Config>,
    pub(super) scope: Scope,
    pub(super) node: Arc<str>,
    pub(super) job: Arc<str>,
    pub(super) reads: Arc<Reads>,
    pub(super) metrics: Metrics,
    /// The pauses after failures.
    pub(super) backoff: Backoff,
}
