//! Reloads the config while the agent runs: receives the requests, and builds the next run before the current one
//! stops.
//!
//! All requests that arrive during a reload are answered by one further reload. A new config is checked and built as a
//! [`Plan`] first. An error in it changes nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Error;
use super::host::Host;
use super::run::{Plan, Run};
use crate::config::Config;
use crate::model::AbortOnPanic;
use crate::server::{self, LogLevel};

/// How long a run waits for Loki's answers before the next run replaces it. Lines without an answer by then are read
/// again.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// The most requests of the HTTP server that wait for the next reload. Further requests are told to try again.
const REQUESTS: usize = 16;

/// A changed file is read again after this time, to see whether it is still being written.
const SETTLE: Duration = Duration::from_secs(1);

/// Loads the config: the file, with the flags from the start on top.
pub trait ConfigLoader: Send + Sync {
    /// Reads and checks the current config. Also returns its warnings. May wait for the disk.
    fn load(&self) -> Result<(Config, Vec<String>), String>;

    /// A hash of the config file's content. None: it cannot be read now. May wait for the disk.
    fn fingerprint(&self) -> Option<u64>;

    fn set_log_level(&self, level: LogLevel);
}

/// How the config is reloaded.
#[derive(Clone)]
pub struct Reload {
    pub loader: Arc<dyn ConfigLoader>,
    /// The fingerprint of the config that was loaded at the start.
    pub fingerprint: Option<u64>,
    /// How often the file is checked for changes. None: never.
    pub watch_interval: Option<Duration>,
}

/// Receives requests for a reload: from signals, the HTTP server and the watched config file.
pub(super) struct Requests {
    loader: Arc<dyn ConfigLoader>,
    hangup: Signal,
    http: mpsc::Receiver<server::ReloadRequest>,
    watch: Watch,
}

/// The requests that the next reload answers.
pub(super) struct Request {
    by: &'static str,
    answers: Vec<server::ReloadRequest>,
}

/// A config that is ready to run.
pub(super) struct Prepared {
    plan: Plan,
    warnings: Vec<String>,
    /// Keys that changed and need a restart of the agent.
    need_restart: Vec<String>,
}

impl Requests {
    /// Also returns the sender for requests of the HTTP server.
    pub fn new(reload: Reload) -> std::io::Result<(Self, mpsc::Sender<server::ReloadRequest>)> {
        let (sender, http) = mpsc::channel(REQUESTS);
        let Reload { loader, fingerprint, watch_interval } = reload;
        let watch = Watch {
            loader: loader.clone(),
            interval: watch_interval,
            next: Instant::now() + watch_interval.unwrap_or_default(),
            change: Change { tried: fingerprint, seen: fingerprint },
        };
        Ok((Self { loader, hangup: signal(SignalKind::hangup())?, http, watch }, sender))
    }

    pub async fn next(&mut self) -> Request {
        let mut request = tokio::select! {
            _ = self.hangup.recv() => Request { by: "SIGHUP", answers: Vec::new() },
            Some(answer) = self.http.recv() => Request { by: "/reload", answers: vec![answer] },
            () = self.watch.changed() => Request { by: "config file", answers: Vec::new() },
        };
        while let Ok(answer) = self.http.try_recv() {
            request.answers.push(answer);
        }
        request
    }

    /// Builds everything of the current config that can fail. The current run continues meanwhile.
    pub async fn prepare(&mut self, host: &Host, running: &Config) -> Result<Prepared, String> {
        if host.options.stdin {
            return Err("with -stdin the config cannot be reloaded: restart the agent".into());
        }
        let (loader, running) = (self.loader.clone(), running.clone());
        let (options, hostname) = (host.options.clone(), host.hostname.clone());
        let building = tokio::task::spawn_blocking(move || {
            let _abort_on_panic = AbortOnPanic;
            // Before the load, so that a change between the two is seen later.
            let fingerprint = loader.fingerprint();
            let prepared = loader.load().and_then(|(mut config, warnings)| {
                let need_restart = config.keep_fixed(&running);
                let plan = Plan::new(config, &options, &hostname).map_err(|e| e.to_string())?;
                Ok(Prepared { plan, warnings, need_restart })
            });
            (fingerprint, prepared)
        });
        match building.await {
            Ok((fingerprint, prepared)) => {
                self.watch.change.tried = fingerprint;
                let mut prepared = prepared?;
                prepared.plan = prepared.plan.bind(host).await.map_err(|e| e.to_string())?;
                Ok(prepared)
            }
            Err(error) => Err(format!("cannot load the config: {error}")),
        }
    }

    /// Stops `run` and starts the prepared one. After an error nothing runs, and the agent must stop.
    pub async fn replace(&self, mut run: Run, prepared: Prepared, host: &Host) -> Result<Run, Error> {
        let Prepared { plan, warnings, need_restart } = prepared;
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        if !need_restart.is_empty() {
            let keys = need_restart.join(", ");
            tracing::warn!(
                keys,
                "these keys of the changed config need a restart of the agent; all others are used now"
            );
        }
        run.hand_over(STOP_WITHIN);
        run.ended().await;
        let handover = run.finish(host).await;
        self.loader.set_log_level(plan.config.server.log_level);
        Run::start(plan, host, Some(handover)).await
    }
}

impl Request {
    /// Reports the outcome to everyone who asked, and in the log, the metrics and the pages.
    pub fn answer(self, outcome: Result<&Config, String>, host: &Host) {
        let by = self.by;
        match &outcome {
            Ok(config) => {
                let (jobs, clients) = (config.scrape_configs.len(), config.clients.len());
                tracing::info!(by, jobs, clients, "the config was reloaded");
            }
            Err(error) => tracing::error!(by, error, "cannot reload the config: the previous one stays in use"),
        }
        let outcome = outcome.map(|_| ());
        host.metrics.reload.count(outcome.is_ok());
        host.show_reload(outcome.as_ref().err().cloned());
        for answer in self.answers {
            // The client may have disconnected.
            let _ = answer.send(outcome.clone());
        }
    }
}

/// Checks the config file for changes.
struct Watch {
    loader: Arc<dyn ConfigLoader>,
    interval: Option<Duration>,
    next: Instant,
    change: Change,
}

impl Watch {
    /// Resolves when the file's content has changed. Cancel safe.
    async fn changed(&mut self) {
        let Some(interval) = self.interval else {
            return std::future::pending().await;
        };
        loop {
            sleep_until(self.next).await;
            let loader = self.loader.clone();
            let look = tokio::task::spawn_blocking(move || {
                let _abort_on_panic = AbortOnPanic;
                loader.fingerprint()
            });
            let fingerprint = look.await.ok().flatten();
            let is_settled = self.change.look(fingerprint);
            self.next = Instant::now() + if self.change.is_open() { interval.min(SETTLE) } else { interval };
            if is_settled {
                return;
            }
        }
    }
}

/// Decides whether the file differs from the one that was loaded last.
struct Change {
    /// The fingerprint at the last attempt to load it. A failed attempt counts, so that its error is reported once.
    tried: Option<u64>,
    seen: Option<u64>,
}

impl Change {
    /// Whether it differs, and was the same in the last two checks: half of a file may be a valid config.
    fn look(&mut self, fingerprint: Option<u64>) -> bool {
        let is_settled = fingerprint.is_some() && fingerprint == self.seen;
        self.seen = fingerprint;
        is_settled && self.is_open()
    }

    /// Whether this content was not tried yet.
    fn is_open(&self) -> bool {
        self.seen.is_some() && self.seen != self.tried
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn a_changed_file_is_tried_once_when_it_is_no_longer_written() {
        let mut change = Change { tried: Some(1), seen: Some(1) };
        for (fingerprint, is_tried) in [
            (Some(1), false),
            // Written in two steps, and absent for a moment.
            (Some(2), false),
            (None, false),
            (Some(3), false),
            (Some(3), true),
            // Whether or not the attempt succeeded.
            (Some(3), false),
            (Some(3), false),
            // Back to what it was.
            (Some(1), false),
            (Some(1), true),
            (None, false),
            (None, false),
            // Changed, and changed back before the second check.
            (Some(4), false),
            (Some(1), false),
            (Some(1), false),
        ] {
            assert_eq!(change.look(fingerprint), is_tried, "{fingerprint:?}");
            if is_tried {
                change.tried = fingerprint;
            }
        }
    }

    #[tokio::test]
    async fn requests_at_the_same_time_are_answered_by_one_reload() {
        struct Nothing;
        impl ConfigLoader for Nothing {
            fn load(&self) -> Result<(Config, Vec<String>), String> {
                Err("not asked for".into())
            }
            fn fingerprint(&self) -> Option<u64> {
                None
            }
            fn set_log_level(&self, _: LogLevel) {}
        }
        let reload = Reload { loader: Arc::new(Nothing), fingerprint: None, watch_interval: None };
        let (mut requests, sender) = Requests::new(reload).expect("signals");
        let mut answers = Vec::new();
        for _ in 0..REQUESTS {
            let (answer, waits) = oneshot::channel();
            sender.try_send(answer).expect("there is room");
            answers.push(waits);
        }
        assert!(sender.try_send(oneshot::channel().0).is_err(), "nothing is unbounded");
        let request = requests.next().await;
        assert_eq!((request.by, request.answers.len()), ("/reload", REQUESTS));
        for answer in request.answers {
            answer.send(Err("broken".into())).expect("it waits");
        }
        for answer in answers {
            assert_eq!(answer.await.expect("answered"), Err("broken".to_string()));
        }
    }
}
