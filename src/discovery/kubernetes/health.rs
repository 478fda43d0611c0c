//! Whether a watch is in step with the API server: counted always, logged when it changes.

use std::sync::Arc;

use prometheus::IntGauge;
use tracing::{debug, info, warn};

use super::failure::{Failure, Reason};
use super::kind::Kind;
use crate::discovery::Metrics;

pub(super) struct Health {
    job: Arc<str>,
    kind: &'static Kind,
    /// Of which namespaces, for the log.
    scope: String,
    server: String,
    failing: Option<(Reason, &'static str)>,
    metrics: Metrics,
    watches_failing: IntGauge,
}

impl Health {
    pub(super) fn new(job: &Arc<str>, kind: &'static Kind, scope: String, metrics: Metrics) -> Self {
        let watches_failing = metrics.watches_failing(job);
        metrics.announce_watch(job, Reason::ALL.map(Reason::name));
        Self { job: Arc::clone(job), kind, scope, server: String::new(), failing: None, metrics, watches_failing }
    }

    /// Which API server is asked, for messages.
    pub(super) fn asks(&mut self, server: String) {
        self.server = server;
    }

    pub(super) fn failed(&mut self, failure: &Failure) {
        let Failure { reason, error, verb, .. } = failure;
        self.metrics.watch_failed(&self.job, reason.name());
        let (job, scope, server, plural) = (&*self.job, &*self.scope, &*self.server, self.kind.plural);
        // Who may do the one and not the other lacks both in turns.
        let what = (*reason, if *reason == Reason::Forbidden { *verb } else { "" });
        if *reason == Reason::Gone || self.failing == Some(what) {
            debug!(job, scope, error, "cannot watch {plural}");
            return;
        }
        let advice = failure.advice(self.kind);
        warn!(job, scope, server, error, advice, "cannot watch {plural}: known ones count on, new ones are not seen");
        if self.failing.replace(what).is_none() {
            self.watches_failing.inc();
        }
    }

    pub(super) fn recovered(&mut self) {
        if self.failing.take().is_some() {
            self.watches_failing.dec();
            info!(job = &*self.job, scope = &*self.scope, "watching {} again", self.kind.plural);
        }
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        if self.failing.is_some() {
            self.watches_failing.dec();
        }
    }
}
