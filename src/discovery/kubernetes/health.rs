//! Counts the failures of a watch, and logs when it starts and stops to fail.

use std::sync::Arc;

use prometheus::IntGauge;
use tracing::{debug, info, warn};

use super::failure::{Failure, Reason};
use super::kind::Kind;
use crate::discovery::Metrics;

/// The reason, and for [`Reason::Forbidden`] the verb: a service account may lack both list and watch, and the failures
/// alternate.
type LoggedAs = (Reason, &'static str);

pub(super) struct Health {
    job: Arc<str>,
    kind: &'static Kind,
    /// The namespaces, for the log.
    scope: String,
    server: String,
    /// The last logged failure. None: the watch works.
    failing: Option<LoggedAs>,
    /// A failure that differs from `failing` and came once.
    unconfirmed: Option<LoggedAs>,
    metrics: Metrics,
    watches_failing: IntGauge,
}

impl Health {
    pub(super) fn new(job: &Arc<str>, kind: &'static Kind, scope: String, metrics: Metrics) -> Self {
        let watches_failing = metrics.watches_failing(job);
        metrics.announce_watch(job, Reason::ALL.map(Reason::name));
        Self {
            job: Arc::clone(job),
            kind,
            scope,
            server: String::new(),
            failing: None,
            unconfirmed: None,
            metrics,
            watches_failing,
        }
    }

    /// Sets the API server for messages.
    pub(super) fn asks(&mut self, server: String) {
        self.server = server;
    }

    /// Logs the first failure. Logs another failure if it comes twice in a row: an API server that starts may first
    /// refuse some requests as forbidden, or as too many, until it has loaded its rules.
    pub(super) fn failed(&mut self, failure: &Failure) {
        let Failure { reason, error, verb, .. } = failure;
        self.metrics.watch_failed(&self.job, reason.name());
        let what = (*reason, if *reason == Reason::Forbidden { *verb } else { "" });
        let is_news = *reason != Reason::Gone && self.is_news(what);
        let (job, scope, server, plural) = (&*self.job, &*self.scope, &*self.server, self.kind.plural);
        if !is_news {
            debug!(job, scope, error, "cannot watch {plural}");
            return;
        }
        let advice = failure.advice(self.kind);
        warn!(
            job,
            scope, server, error, advice, "cannot watch {plural}: known ones stay in use, new ones are not found"
        );
        if self.failing.replace(what).is_none() {
            self.watches_failing.inc();
        }
    }

    fn is_news(&mut self, what: LoggedAs) -> bool {
        let unconfirmed = self.unconfirmed.take();
        match self.failing {
            None => true,
            Some(failing) if failing == what => false,
            Some(_) => {
                self.unconfirmed = Some(what);
                unconfirmed == Some(what)
            }
        }
    }

    pub(super) fn recovered(&mut self) {
        self.unconfirmed = None;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::kubernetes::kind;
    use crate::metrics::Registry;

    #[test]
    fn another_failure_is_news_once_it_comes_twice_in_a_row() {
        let metrics = Metrics::register(&Registry::new());
        let mut health = Health::new(&"pods".into(), &kind::POD, String::new(), metrics);
        let [away, forbidden, busy] = [(Reason::Connection, ""), (Reason::Forbidden, "list"), (Reason::Busy, "")];
        // An API server that starts gives various answers before it works.
        for (what, is_news) in [
            (away, true),
            (away, false),
            (forbidden, false),
            (busy, false),
            (forbidden, false),
            (away, false),
            (forbidden, false),
            (forbidden, true),
            (forbidden, false),
        ] {
            assert_eq!(health.is_news(what), is_news, "{what:?}");
            if is_news {
                health.failing = Some(what);
            }
        }
        health.failing = Some(away);
        health.is_news(forbidden);
        health.recovered();
        health.failing = Some(away);
        assert!(!health.is_news(forbidden), "what came before it worked does not count");
    }
}
