//! The objects that live as long as the process: positions and their lock, metrics, the HTTP server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::{Error, Options, build, report};
use crate::config::{self, Config};
use crate::discovery::docker::Outside;
use crate::discovery::kubernetes::{Places, events};
use crate::discovery::{Give, RemoteLog};
use crate::metrics::Registry;
use crate::model::AbortOnPanic;
use crate::positions::{self, Lock, Positions};
use crate::relabel::Rules;
use crate::spool::{Spool, Spools};
use crate::{discovery, push, receive, scrape, server};

pub(super) struct Host {
    pub options: Options,
    /// A target's `__host__` must be equal to this.
    pub hostname: String,
    /// The Kubernetes node whose pods are read.
    pub node: Arc<str>,
    pub positions: Arc<Positions>,
    pub places: Places,
    pub lists: discovery::Lists,
    pub metrics: Metrics,
    /// Their sockets stay open over a reload.
    pub receivers: Mutex<receive::Receivers>,
    spools: Spools,
    shown: watch::Sender<Arc<server::Shown>>,
    /// The restrictions of this process, as comment lines above the config on its page.
    confinement: String,
    _lock: Lock,
}

/// Each family is registered once. The counters continue from run to run.
pub(super) struct Metrics {
    pub scrape: scrape::Metrics,
    pub push: push::Metrics,
    pub discovery: discovery::Metrics,
    pub receive: receive::Metrics,
    pub reload: report::Reloads,
    pub skipped: report::Skipped,
}

/// The running HTTP server.
pub(super) struct Serving {
    address: Option<SocketAddr>,
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Host {
    /// Takes what only one process may have, the positions and the port, and starts the HTTP server. None: there is no
    /// HTTP server.
    pub async fn new(
        config: &Config,
        options: Options,
        reload: mpsc::Sender<server::ReloadRequest>,
    ) -> Result<(Self, Option<Serving>), Error> {
        let registry = Registry::new();
        let environment = |name: &str| std::env::var(name).ok();
        let kept = build::positions(config, &options);
        let lock = Positions::take(&kept).map_err(|e| Error(e.to_string()))?;
        let before: Vec<PathBuf> = config.positions.import_from.iter().map(PathBuf::from).collect();
        positions::take_over(&kept, &before).map_err(|e| Error(e.to_string()))?;
        let positions = Positions::open(kept).map_err(|e| Error(e.to_string()))?;
        let listening = listen(config, &options).await?;
        let (shown, now) = watch::channel(Arc::new(server::Shown {
            report: Arc::new(report::Nothing),
            config: String::new(),
            reload_error: None,
        }));
        let scrape_metrics = scrape::Metrics::register(&registry);
        let host = Self {
            hostname: config::hostname(&environment),
            node: config::node_name(&environment).into(),
            positions: Arc::new(positions),
            places: build::places(config, &options),
            lists: discovery::Lists::default(),
            metrics: Metrics {
                receive: receive::Metrics::register(&registry, scrape_metrics.clone()),
                scrape: scrape_metrics,
                push: push::Metrics::register(&registry),
                discovery: discovery::Metrics::register(&registry),
                reload: report::Reloads::register(&registry),
                skipped: report::Skipped::register(&registry),
            },
            receivers: Mutex::default(),
            spools: Spools::measured(&registry),
            shown,
            confinement: report::confinement(&options.confinement, &registry),
            options,
            _lock: lock,
        };
        let (hostname, live_tail) = (host.hostname.clone(), host.metrics.scrape.live_tail());
        let state = server::State { hostname, shown: now, registry, live_tail, reload };
        Ok((host, listening.map(|server| Serving::begin(server, state))))
    }

    /// The services that the discovery of a job's containers uses.
    pub fn containers(&self, job: &Arc<str>, rules: Rules, sources: scrape::Sources) -> Outside {
        let positions = self.positions.clone();
        Outside {
            is_known: Arc::new(move |name| positions.is_known(name)),
            unseen_since: self.positions.unseen(),
            rules,
            give: give_for(job, sources),
        }
    }

    /// The services that the events of a job use.
    pub fn events(&self, job: &Arc<str>, rules: Rules, sources: scrape::Sources) -> events::Outside {
        let identity = if self.node.is_empty() { self.hostname.as_str().into() } else { self.node.clone() };
        events::Outside {
            job: job.clone(),
            identity,
            rules,
            give: give_for(job, sources),
            metrics: self.metrics.discovery.clone(),
        }
    }

    /// The spool of a receiver, if it has one. A dry run writes none.
    pub fn spool(&self, receiver: &receive::Receiver) -> Result<Option<Arc<Spool>>, Error> {
        let Some(config) = receiver.config.spool().filter(|_| !self.options.dry_run) else { return Ok(None) };
        let spool = self.spools.open(&receiver.job, config, self.positions.filename()).map_err(|error| {
            let advice = "see whether the folder of positions.filename can be written";
            Error(format!("job {:?}: cannot open its spool: {error}; {advice}", receiver.job))
        })?;
        Ok(Some(spool))
    }

    /// From now on the pages show this run.
    pub fn show(&self, report: Arc<dyn crate::model::Report>, config: &Config) {
        let config = self.confinement.clone() + &config.to_masked_yaml();
        self.shown.send_replace(Arc::new(server::Shown { report, config, reload_error: None }));
    }

    /// From now on the pages show the error of the last reload, or no error.
    pub fn show_reload(&self, error: Option<String>) {
        let shown = self.shown.borrow().clone();
        let (report, config) = (shown.report.clone(), shown.config.clone());
        self.shown.send_replace(Arc::new(server::Shown { report, config, reload_error: error }));
    }
}

/// Gives logs of this job to the readers.
fn give_for(job: &Arc<str>, sources: scrape::Sources) -> Give {
    let job = job.clone();
    Arc::new(move |log| {
        let RemoteLog { name, position, labels, open } = log;
        let open = move |opening: scrape::Opening| Ok(open(opening.cursor, opening.waker));
        let source = scrape::GivenSource::new((job.clone(), name), labels, Some(position), open);
        Box::new(sources.give(source))
    })
}

async fn listen(config: &Config, options: &Options) -> Result<Option<server::Server>, Error> {
    if config.server.disable {
        return Ok(None);
    }
    match server::Server::bind(&config.server).await {
        Ok(server) => Ok(Some(server)),
        // Another agent may use the port. A trial prints its lines and does not need pages.
        Err(error) if options.dry_run || options.stdin => {
            tracing::warn!(%error, "cannot start the HTTP server: the agent runs without pages and metrics");
            Ok(None)
        }
        Err(error) => Err(Error(error.to_string())),
    }
}

impl Serving {
    fn begin(server: server::Server, state: server::State) -> Self {
        let address = server.local_addr().ok();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = server.run(state, async {
            let _ = stopped.await;
        });
        let task = tokio::spawn(async {
            let _abort_on_panic = AbortOnPanic;
            serving.await;
        });
        Self { address, task, stop }
    }

    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Waits for the current requests, at most as long as the server allows, or until `at_once` resolves.
    pub async fn stop(self, mut at_once: impl AsyncFnMut()) {
        let Self { mut task, stop, .. } = self;
        drop(stop);
        tokio::select! {
            _ = &mut task => {}
            () = at_once() => task.abort(),
        }
    }
}
