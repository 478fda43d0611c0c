//! A config that changes while the agent runs: who asks for that, and what has to be built before anything stops.
//!
//! Whoever asks while a reload is under way is answered by the next one, however many they are. What was loaded is checked and built as
//! a [`Plan`] first: an error changes nothing.

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

/// How long a run that makes way for the next one may wait for answers of Loki. What is not acknowledged by then is read again.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// Requests of the HTTP server that wait for the next reload. Who comes when there are so many is asked to come again.
const REQUESTS: usize = 16;

/// A file that was changed is looked at again so soon, whether it is still being written.
const SETTLE: Duration = Duration::from_secs(1);

/// Where the config comes from, with the flags on top.
pub trait ConfigSource: Send + Sync {
    /// Reads and checks the config as it is now. Gives also what a person should know of it. May wait for the disk.
    fn load(&self) -> Result<(Config, Vec<String>), String>;

    /// Another number means that the config file has another content. `None`: it cannot be read now. May wait for the disk.
    fn fingerprint(&self) -> Option<u64>;

    fn set_log_level(&self, level: LogLevel);
}

/// How the config is reloaded.
#[derive(Clone)]
pub struct Reload {
    pub source: Arc<dyn ConfigSource>,
    /// The fingerprint of what was loaded at the start.
    pub fingerprint: Option<u64>,
    /// How often the file is looked at for changes. `None`: it is not.
    pub watch_interval: Option<Duration>,
}

/// Those who ask for a reload.
pub(super) struct Requests {
    source: Arc<dyn ConfigSource>,
    hangup: Signal,
    http: mpsc::Receiver<server::ReloadRequest>,
    watch: Watch,
}

/// What the next reload is for.
pub(super) struct Request {
    by: &'static str,
    answers: Vec<server::ReloadRequest>,
}

/// A config that is ready to run.
pub(super) struct Prepared {
    plan: Plan,
    warnings: Vec<String>,
    /// Keys that differ and need a restart.
    need_restart: Vec<String>,
}

impl Requests {
    /// Also gives where the HTTP server sends its requests.
    pub fn new(reload: Reload) -> std::io::Result<(Self, mpsc::Sender<server::ReloadRequest>)> {
        let (sender, http) = mpsc::channel(REQUESTS);
        let Reload { source, fingerprint, watch_interval } = reload;
        let watch = Watch {
            source: source.clone(),
            interval: watch_interval,
            next: Instant::now() + watch_interval.unwrap_or_default(),
            change: Change { tried: fingerprint, seen: fingerprint },
        };
        Ok((Self { source, hangup: signal(SignalKind::hangup())?, http, watch }, sender))
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

    /// Builds all that can fail of the config as it is now. What runs goes on meanwhile.
    pub async fn prepare(&mut self, host: &Host, running: &Config) -> Result<Prepared, String> {
        if host.options.stdin {
            return Err("standard input cannot be read a second time: start the agent anew".into());
        }
        let (source, running) = (self.source.clone(), running.clone());
        let (options, hostname) = (host.options.clone(), host.hostname.clone());
        let building = tokio::task::spawn_blocking(move || {
            let _abort_on_panic = AbortOnPanic;
            // Before the load: a change that comes between the two is seen as one later.
            let fingerprint = source.fingerprint();
            let prepared = source.load().and_then(|(mut config, warnings)| {
                let need_restart = config.keep_fixed(&running);
                let plan = Plan::new(config, &options, &hostname).map_err(|e| e.to_string())?;
                Ok(Prepared { plan, warnings, need_restart })
            });
            (fingerprint, prepared)
        });
        match building.await {
            Ok((fingerprint, prepared)) => {
                self.watch.change.tried = fingerprint;
                prepared
            }
            Err(error) => Err(format!("cannot load the config: {error}")),
        }
    }

    /// Stops `run` and starts what was prepared. If that cannot be started there is nothing left to go on with.
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
        self.source.set_log_level(plan.config.server.log_level);
        Run::start(plan, host, Some(handover))
    }
}

impl Request {
    /// Tells all who asked, the log, the metrics and the pages.
    pub fn answer(self, outcome: Result<&Config, String>, host: &Host) {
        let by = self.by;
        match &outcome {
            Ok(config) => {
                let (jobs, clients) = (config.scrape_configs.len(), config.clients.len());
                tracing::info!(by, jobs, clients, "the config was reloaded");
            }
            Err(error) => tracing::error!(by, error, "cannot reload the config: the last one stays in use"),
        }
        let outcome = outcome.map(|_| ());
        host.metrics.reload.count(outcome.is_ok());
        host.show_reload(outcome.as_ref().err().cloned());
        for answer in self.answers {
            // Who asked may have gone away.
            let _ = answer.send(outcome.clone());
        }
    }
}

/// Looks at the config file now and then.
struct Watch {
    source: Arc<dyn ConfigSource>,
    interval: Option<Duration>,
    next: Instant,
    change: Change,
}

impl Watch {
    /// Resolves when the file has another content. May be dropped and asked again at any time.
    async fn changed(&mut self) {
        let Some(interval) = self.interval else {
            return std::future::pending().await;
        };
        loop {
            sleep_until(self.next).await;
            let source = self.source.clone();
            let look = tokio::task::spawn_blocking(move || {
                let _abort_on_panic = AbortOnPanic;
                source.fingerprint()
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

/// Whether a file is another than the one that was tried last.
struct Change {
    /// What was loaded last, be it with an error: that is said once.
    tried: Option<u64>,
    seen: Option<u64>,
}

impl Change {
    /// Whether it is another, and the same in two looks: one that is still being written may be valid and say half of it.
    fn look(&mut self, fingerprint: Option<u64>) -> bool {
        let is_settled = fingerprint.is_some() && fingerprint == self.seen;
        self.seen = fingerprint;
        is_settled && self.is_open()
    }

    /// Whether there is something that was not tried yet.
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
            // Whatever came of it.
            (Some(3), false),
            (Some(3), false),
            // Back to what it was.
            (Some(1), false),
            (Some(1), true),
            (None, false),
            (None, false),
            // Changed, and back before anybody looked twice.
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

    /// Several who ask at once are answered by one reload.
    #[tokio::test]
    async fn who_asks_at_the_same_time_is_answered_together() {
        struct Nothing;
        impl ConfigSource for Nothing {
            fn load(&self) -> Result<(Config, Vec<String>), String> {
                Err("not asked for".into())
            }
            fn fingerprint(&self) -> Option<u64> {
                None
            }
            fn set_log_level(&self, _: LogLevel) {}
        }
        let reload = Reload { source: Arc::new(Nothing), fingerprint: None, watch_interval: None };
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
