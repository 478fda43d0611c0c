//! Keeps the targets in step with Docker: containers are listed every `refresh_interval`, and at once after an event.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::super::{Known, Metrics};
use super::config::Config;
use super::containers;
use super::engine::{Engine, Failure};
use super::found::Found;
use super::{Outside, api};

/// The most containers that are targets.
const MOST: usize = 10_000;

/// Events come in bursts. Containers are listed when an event is this old.
const BURST: Duration = Duration::from_millis(20);

/// The shortest time between two lists.
const REST: Duration = Duration::from_millis(100);

/// How long to wait after a failure, at first and at most.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// The name under which a failure is shown.
const SHOWN: &str = "docker";

/// The events after which labels or states of containers may be others.
const EVENTS: &str = r#"{"type":["container","network"],"event":["create","start","die","destroy","rename","update","connect","disconnect"]}"#;

pub(super) struct Watch {
    config: Config,
    engine: Arc<Engine>,
    known: Known,
    metrics: Metrics,
    found: Found,
    unlisted: Option<mpsc::Sender<Infallible>>,
    /// The failure that was logged last. None: Docker answers.
    failure: Option<Failure>,
    networks_refused: bool,
    is_over: bool,
}

impl Watch {
    pub fn new(
        config: Config,
        engine: Arc<Engine>,
        known: Known,
        outside: Outside,
        metrics: Metrics,
        unlisted: mpsc::Sender<Infallible>,
    ) -> Self {
        metrics.announce_docker(known.job());
        Self {
            config,
            engine,
            known,
            found: Found::new(outside, metrics.containers.clone()),
            metrics,
            unlisted: Some(unlisted),
            failure: None,
            networks_refused: false,
            is_over: false,
        }
    }

    /// Runs until it is dropped. While Docker does not answer, the targets stay as they are.
    pub async fn run(mut self) {
        let mut retry = FIRST_RETRY;
        loop {
            let begun = Instant::now();
            let Err(failure) = self.follow().await;
            self.failed(failure).await;
            // Docker answered for a while: it was restarted, for instance.
            if begun.elapsed() > LAST_RETRY {
                retry = FIRST_RETRY;
            }
            sleep(retry).await;
            retry = (retry * 2).min(LAST_RETRY);
        }
    }

    /// Follows the events until Docker answers no more.
    async fn follow(&mut self) -> Result<Infallible, Failure> {
        // The events begin before the list, so that none is missed between.
        let mut events = self.engine.get("/events", &[("filters", EVENTS)]).await?;
        let refresh = self.config.refresh_interval.0;
        let mut next = Instant::now();
        let mut listed = next;
        loop {
            if Instant::now() >= next {
                listed = Instant::now();
                self.refresh().await?;
                next = Instant::now() + refresh;
            }
            tokio::select! {
                event = events.next() => match event.map_err(Failure::NoAnswer)? {
                    // Events that come meanwhile are covered by the same list.
                    Some(_) => next = next.min((listed + REST).max(Instant::now() + BURST)),
                    None => return Err(Failure::NoAnswer("Docker has ended its events".into())),
                },
                () = sleep_until(next) => {}
            }
        }
    }

    async fn refresh(&mut self) -> Result<(), Failure> {
        let filters = self.config.filters();
        let query = [("all", "1"), ("filters", filters.as_str())];
        let mut listed: Vec<api::Listed> = self.engine.json("/containers/json", &query).await?;
        let networks = self.networks().await?;
        if listed.len() > MOST {
            if !std::mem::replace(&mut self.is_over, true) {
                let (job, found) = (self.known.job(), listed.len());
                tracing::warn!(job, found, most = MOST, "too many containers: the rest is not read; use filters");
            }
            listed.truncate(MOST);
        }
        // A container may use the network of one that the filters leave out.
        let others: Vec<api::Listed> = match self.config.filters.is_empty() || !containers::lack_network(&listed) {
            true => Vec::new(),
            false => self.engine.json("/containers/json", &[("all", "1")]).await?,
        };
        let labels = containers::labels(&self.config, &listed, &others, &networks);
        let (groups, notes) = self.found.update(&self.engine, listed, labels).await?;
        self.known.replace(groups).await;
        for (group_id, note) in notes {
            self.known.note(&group_id, note.as_deref()).await;
        }
        if self.failure.take().is_some() {
            tracing::info!(job = self.known.job(), "Docker answers again");
            self.known.note(SHOWN, None).await;
        }
        drop(self.unlisted.take());
        Ok(())
    }

    /// A proxy of the socket may refuse networks. Their labels are then missing.
    async fn networks(&mut self) -> Result<Vec<api::Network>, Failure> {
        match self.engine.json("/networks", &[]).await {
            Err(Failure::Refused { status: 401 | 403 | 404, text }) => {
                if !std::mem::replace(&mut self.networks_refused, true) {
                    let job = self.known.job();
                    tracing::warn!(job, text, "Docker does not list networks: labels of networks are missing");
                }
                Ok(Vec::new())
            }
            networks => networks,
        }
    }

    async fn failed(&mut self, failure: Failure) {
        self.metrics.docker_failed(self.known.job());
        if self.failure.as_ref() != Some(&failure) {
            tracing::error!(
                job = self.known.job(), host = %self.config.host.redacted(), error = %failure,
                "cannot ask Docker for its containers; trying again until it answers"
            );
            self.known.note(SHOWN, Some(&failure.to_string())).await;
            self.failure = Some(failure);
        }
    }
}
