//! Everything is wired here, once: the one place that knows every room.
//!
//! Only the sources hear a signal to stop. They read to the end of what there is, their batches are delivered, and
//! everything else ends because its input has ended.

mod build;
mod host;
mod report;
mod run;

use std::fmt;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use host::{Host, Serving};
use run::{Plan, Run};

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
        let signals = Signals::new().map_err(|e| Error(format!("cannot listen to signals: {e}")))?;
        run_until(config, options, signals.asked_to_stop()).await
    });
    // A name lookup that hangs must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

/// One worker beside the readers: what is left to do here is sending, waiting and answering.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).thread_name("loop").enable_all().build()
}

/// Serves and runs until `shutdown` resolves, to stop; polled again, its second answer aborts.
async fn run_until(config: Config, options: Options, mut shutdown: impl AsyncFnMut()) -> Result<(), Error> {
    let (host, serving) = Host::new(&config, options).await?;
    let plan = Plan::new(config, &host.options, &host.hostname)?;
    summarise(&plan.config, &host, serving.as_ref());
    let mut run = Run::start(plan, &host, None)?;
    tokio::select! {
        () = shutdown() => {
            tracing::info!("stopping: reading on to the ends of the files, waiting for Loki to take what was read");
            run.ask_to_stop(STOP_WITHIN);
            tokio::select! {
                () = run.ended() => {}
                () = shutdown() => {
                    tracing::warn!("stopping at once");
                    run.abort().await;
                }
            }
        }
        () = run.ended() => {}
    }
    run.finish(&host).await;
    if let Some(serving) = serving {
        serving.stop(shutdown).await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// What a person wants to see first.
fn summarise(config: &Config, host: &Host, serving: Option<&Serving>) {
    let address = serving.and_then(Serving::address).map_or("off".to_string(), |address| address.to_string());
    let (options, hostname, positions) = (&host.options, &host.hostname, &host.positions);
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
