//! Everything is wired here, once: the one place that knows every room.
//!
//! Only the sources hear a signal to stop. They read to the end of what there is, their batches are delivered, and
//! everything else ends because its input has ended.

mod build;
mod report;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::discovery::kubernetes::{Places, Remembered};
use crate::metrics::Registry;
use crate::model::{Update, Vital};
use crate::positions::{self, Lock, Positions};
use crate::relabel::Reads;
use crate::scrape::{self, Scrape};
use crate::{config, discovery, push, server};

/// How long a stop may take, with a Loki that answers; Kubernetes gives 30 s.
const STOP_WITHIN: Duration = Duration::from_secs(25);

/// How this run differs from a plain one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Entries are printed, nothing is sent, no position is written.
    pub dry_run: bool,
    /// Lines come from standard input.
    pub stdin: bool,
    /// What the kernel keeps the process from: the wall's name, and what it comes to.
    pub confinement: Vec<(&'static str, String)>,
}

/// Why the agent could not start.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Runs until a signal says stop, or standard input ends.
pub fn run(config: Config, options: Options) -> Result<(), Error> {
    let runtime = runtime().map_err(|e| Error(format!("cannot start the runtime: {e}")))?;
    let result = runtime.block_on(async {
        let agent = Agent::new(config, options).await?;
        let signals = Signals::new().map_err(|e| Error(format!("cannot listen to signals: {e}")))?;
        agent.run(signals.asked_to_stop()).await;
        Ok(())
    });
    // A name lookup that hangs must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

/// One worker beside the readers: what is left to do here is sending, waiting and answering.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).thread_name("loop").enable_all().build()
}

/// The agent, built and about to run.
pub struct Agent {
    scrape: Scrape,
    pushes: Vec<JoinHandle<()>>,
    stop_pushes: watch::Sender<push::Stop>,
    server: Option<(JoinHandle<()>, oneshot::Sender<()>)>,
    _discovery: Vec<JoinHandle<()>>,
    /// What is known of pods, for the next run.
    remembered: Arc<Remembered>,
    _lock: Lock,
}

impl Agent {
    /// Builds everything from the config, and starts it.
    pub async fn new(config: Config, options: Options) -> Result<Self, Error> {
        let registry = Registry::new();
        let environment = |name: &str| std::env::var(name).ok();
        let hostname = config::hostname(&environment);
        let node: Arc<str> = config::node_name(&environment).into();
        let kept = build::positions(&config, &options);
        let lock = Positions::take(&kept).map_err(|e| Error(e.to_string()))?;
        let before: Vec<PathBuf> = config.positions.import_from.iter().map(PathBuf::from).collect();
        positions::take_over(&kept, &before).map_err(|e| Error(e.to_string()))?;
        let positions = Positions::open(kept).map_err(|e| Error(e.to_string()))?;
        let positions = Arc::new(positions);
        let places = build::places(&config, &options);
        let remembered = Arc::clone(&places.remembered);
        let jobs = build::jobs(&config).map_err(Error)?;
        let reads = jobs.iter().map(|job| job.rules.reads()).collect();
        let listening = match config.server.disable {
            true => None,
            false => match server::Server::bind(&config.server).await {
                Ok(server) => Some(server),
                // Who tries something out beside an agent that runs has lines to look at, and needs no pages.
                Err(error) if options.dry_run || options.stdin => {
                    tracing::warn!(%error, "this run has no pages and no metrics");
                    None
                }
                Err(error) => return Err(Error(error.to_string())),
            },
        };

        let push_metrics = push::Metrics::register(&registry);
        let (stop_pushes, stop) = watch::channel(push::Stop::Running);
        let mut clients = Vec::new();
        let mut outlets = Vec::new();
        let used = if options.dry_run { 0 } else { config.clients.len() };
        for client_config in &config.clients[..used] {
            let client = push::Client::new(client_config, push_metrics.clone()).map_err(|e| Error(e.to_string()))?;
            let (sender, batches) = mpsc::unbounded_channel();
            outlets.push(build::outlet(&config, client_config, sender, &push_metrics));
            clients.push((client, batches));
        }
        if options.dry_run {
            outlets.push(build::printing(&config));
        }

        summarise(&config, &options, &hostname, &positions, listening.as_ref());
        let settings = build::scrape(&config, &options, hostname);
        let scrape_metrics = scrape::Metrics::register(&registry);
        let scrape = Scrape::start(settings, jobs, outlets, positions, &scrape_metrics)
            .map_err(|e| Error(format!("cannot start a thread: {e}")))?;

        let statuses = clients.iter().map(|(client, _)| client.status()).collect();
        let mut pushes = Vec::new();
        for (i, (client, batches)) in clients.into_iter().enumerate() {
            let run = client.run(batches, scrape.waker(i), stop.clone());
            pushes.push(tokio::spawn(async {
                let _vital = Vital;
                run.await;
            }));
        }
        let report = Arc::new(report::Whole { targets: scrape.report(), clients: statuses });
        let server = listening.map(|server| {
            let confinement = report::confinement(&options.confinement, &registry);
            let shown = confinement + &config.to_masked_yaml();
            let state = server::State { report, registry: registry.clone(), config: shown };
            let (stop, stopped) = oneshot::channel::<()>();
            let serving = server.run(state, async {
                let _ = stopped.await;
            });
            let task = tokio::spawn(async {
                let _vital = Vital;
                serving.await;
            });
            (task, stop)
        });
        let discovery = match options.stdin {
            true => Vec::new(),
            false => discover(&config, reads, &node, places, &registry, &scrape),
        };
        Ok(Self { scrape, pushes, stop_pushes, server, _discovery: discovery, remembered, _lock: lock })
    }

    /// Runs until `shutdown` resolves, to stop; polled again, its second answer aborts.
    pub async fn run(mut self, mut shutdown: impl AsyncFnMut()) {
        tokio::select! {
            () = shutdown() => {
                tracing::info!("stopping: reading on to the ends of the files, waiting for Loki to take what was read");
                self.scrape.stop(STOP_WITHIN);
                tokio::select! {
                    () = self.scrape.ended() => {}
                    () = shutdown() => {
                        tracing::warn!("stopping at once");
                        // What is not acknowledged is on disk, and will be read again.
                        self.stop_pushes.send_replace(push::Stop::Abort);
                        self.scrape.stop(Duration::ZERO);
                        self.scrape.ended().await;
                    }
                }
            }
            () = self.scrape.ended() => {}
        }
        self.stop_pushes.send_replace(push::Stop::Abort);
        for push in self.pushes {
            let _ = push.await;
        }
        self.scrape.join();
        self.remembered.save();
        if let Some((mut server, stop)) = self.server {
            // It lets requests under way finish, within its own grace; whoever cannot wait so long asks again.
            drop(stop);
            tokio::select! {
                _ = &mut server => {}
                () = shutdown() => server.abort(),
            }
        }
        tracing::info!("stopped");
    }
}

/// A loop per job that tells the scrape what there is.
fn discover(
    config: &Config,
    reads: Vec<Reads>,
    node: &Arc<str>,
    places: Places,
    registry: &Registry,
    scrape: &Scrape,
) -> Vec<JoinHandle<()>> {
    let metrics = discovery::Metrics::register(registry);
    let mut tasks = Vec::new();
    for (job, reads) in config.scrape_configs.iter().zip(reads) {
        let (sender, mut updates) = mpsc::channel::<Update>(64);
        let name = Arc::from(job.job_name.as_str());
        let run =
            discovery::run(name, job.discovery(), node.clone(), reads, Some(places.clone()), metrics.clone(), sender);
        tasks.push(tokio::spawn(async {
            let _vital = Vital;
            run.await;
        }));
        let scout = scrape.updates();
        tasks.push(tokio::spawn(async move {
            let _vital = Vital;
            while let Some(update) = updates.recv().await {
                scout.tell(update).await;
            }
        }));
    }
    tasks
}

/// What a person wants to see first.
fn summarise(
    config: &Config,
    options: &Options,
    hostname: &str,
    positions: &Positions,
    server: Option<&server::Server>,
) {
    let address = server.and_then(|s| s.local_addr().ok()).map_or("off".to_string(), |a| a.to_string());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        hostname,
        jobs = config.scrape_configs.len(),
        http = address,
        "starting"
    );
    if config.scrape_configs.is_empty() && !options.stdin {
        tracing::warn!("there are no scrape_configs: nothing is read; add a job to the config file, or feed -stdin");
    }
    let file = positions.filename().display();
    tracing::info!(%file, known = positions.known(), read_only = options.dry_run, "positions");
    for client in &config.clients {
        let (name, url, tenant) = (client.name(), client.redacted_url(), &client.tenant_id);
        tracing::info!(name, url, tenant, sending = !options.dry_run, "client");
    }
}

/// The signals that mean stop, and those that must not.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    fn asked_to_stop(mut self) -> impl AsyncFnMut() {
        async move || loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.int.recv() => return,
                _ = self.hup.recv() => {
                    tracing::warn!("SIGHUP: a changed config is not read while running yet; restart the agent instead");
                }
            }
        }
    }
}
