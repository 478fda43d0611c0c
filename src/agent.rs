//! Everything is wired here: the one place that knows every room. What lives as long as the process is in `host`; what a config comes
//! to, and is replaced when it is reloaded, is in `run`.
//!
//! Only the sources hear a signal to stop. They read to the end of what there is, their batches are delivered, and
//! everything else ends because its input has ended.

mod build;
mod host;
mod reload;
mod report;
mod run;

use std::fmt;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use host::{Host, Serving};
use reload::Requests;
pub use reload::{ConfigSource, Reload};
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
pub fn run(config: Config, options: Options, reload: Reload) -> Result<(), Error> {
    let runtime = runtime().map_err(|e| Error(format!("cannot start the runtime: {e}")))?;
    let result = runtime.block_on(async {
        let signals = Signals::new().map_err(|e| Error(format!("cannot listen to signals: {e}")))?;
        run_until(config, options, reload, signals.asked_to_stop()).await
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
async fn run_until(
    config: Config,
    options: Options,
    reload: Reload,
    mut shutdown: impl AsyncFnMut(),
) -> Result<(), Error> {
    let (mut requests, reloader) =
        Requests::new(reload).map_err(|e| Error(format!("cannot listen to signals: {e}")))?;
    let (host, serving) = Host::new(&config, options, reloader).await?;
    let plan = Plan::new(config, &host.options, &host.hostname)?;
    summarise(&plan.config, &host, serving.as_ref());
    let mut run = Run::start(plan, &host, None)?;
    let is_asked_to_stop = loop {
        let request = tokio::select! {
            () = shutdown() => break true,
            () = run.ended() => break false,
            request = requests.next() => request,
        };
        let prepared = tokio::select! {
            () = shutdown() => break true,
            prepared = requests.prepare(&host, &run.config) => prepared,
        };
        match prepared {
            Ok(prepared) => {
                run = requests.replace(run, prepared, &host).await?;
                request.answer(Ok(&run.config), &host);
            }
            Err(error) => request.answer(Err(error), &host),
        }
    };
    // Whoever waits for a reload is told that there will be none.
    drop(requests);
    if is_asked_to_stop {
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

/// The signals that mean stop.
struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    fn asked_to_stop(mut self) -> impl AsyncFnMut() {
        async move || {
            tokio::select! {
                _ = self.term.recv() => {}
                _ = self.int.recv() => {}
            }
        }
    }
}
