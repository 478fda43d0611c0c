//! Discovery that asks for the whole list of targets again and again.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::trouble::Trouble;
use super::{Known, Metrics};
use crate::backoff::{Backoff, Failures};
use crate::model::TargetGroup;

/// How long to wait after a failure, at first and at most, unless `refresh_interval` is shorter.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// The pauses after failures of a config with this `refresh_interval`.
pub(super) fn retry(every: Duration) -> Backoff {
    let most = every.min(LAST_RETRY);
    Backoff { first: FIRST_RETRY.min(most), most, most_asked: most }
}

/// The result of one request for the list.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// None: the targets stay as they are.
    pub groups: Option<Vec<TargetGroup>>,
    /// The ids of groups that stay as they are although they are not among `groups`.
    pub unknown: BTreeSet<String>,
    pub failure: Option<String>,
}

impl From<Result<Vec<TargetGroup>, String>> for Asked {
    fn from(result: Result<Vec<TargetGroup>, String>) -> Self {
        match result {
            Ok(groups) => Self { groups: Some(groups), ..Self::default() },
            Err(failure) => Self { failure: Some(failure), ..Self::default() },
        }
    }
}

/// Knows where the list is.
pub(super) trait Ask: Send {
    fn ask(&mut self) -> impl Future<Output = Asked> + Send;
}

/// How one config is refreshed.
pub(super) struct Refresh {
    pub known: Known,
    pub metrics: Metrics,
    /// Prometheus' name of this kind of discovery: `http` for `http_sd_configs`.
    pub mechanism: &'static str,
    /// The server, for messages.
    pub server: String,
    pub every: Duration,
    /// Dropped when the list is known.
    pub unlisted: mpsc::Sender<Infallible>,
}

impl Refresh {
    /// Runs until it is dropped. While there is no list, the targets stay as they are.
    pub async fn run(self, mut list: impl Ask) {
        let Self { mut known, metrics, mechanism, server, every, unlisted } = self;
        metrics.announce_refresh(known.job(), mechanism);
        let mut failures = Failures::new(retry(every));
        let mut trouble = Trouble::new(mechanism, server);
        let mut unlisted = Some(unlisted);
        if known.resume().await {
            drop(unlisted.take());
        }
        loop {
            let Asked { groups, unknown, failure } = list.ask().await;
            if let Some(groups) = groups {
                let is_complete = unknown.is_empty();
                known.replace_except(groups, unknown).await;
                if is_complete {
                    drop(unlisted.take());
                }
            }
            let pause = match &failure {
                Some(_) => {
                    metrics.refresh_failed(known.job(), mechanism);
                    failures.pause(Instant::now(), None)
                }
                None => every,
            };
            trouble.set(&mut known, failure).await;
            sleep(pause).await;
        }
    }
}
