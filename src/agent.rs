//! Connects all modules. `host` has what lives as long as the process. `run` has what a config starts, and what a
//! reload replaces.
//!
//! Only the scrape is told to stop. It reads all files to their ends, its batches are delivered, and everything else
//! ends because its input has ended.

mod ask;
mod build;
mod host;
mod look;
mod reload;
mod report;
mod run;

use std::fmt;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
pub use ask::{Answer, ask};
use host::{Host, Serving};
pub use look::{Look, look};
use reload::Requests;
pub use reload::{ConfigLoader, Reload};
use run::{Plan, Run};

/// How long a stop may take while Loki answers. Kubernetes kills the process after 30 s.
const STOP_WITHIN: Duration = Duration::from_secs(25);

/// How this run differs from a normal one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Entries are printed. Nothing is sent, and no position is written.
    pub dry_run: bool,
    /// Lines come from standard input.
    pub stdin: bool,
    /// The changes of each stage are printed to standard error.
    pub inspect: bool,
    /// The restrictions of this process by the kernel: the name of the mechanism, and a description.
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

/// Runs until a signal stops the agent, or standard input ends.
pub fn run(config: Config, options: Options, reload: Reload) -> Result<(), Error> {
    let runtime = runtime().map_err(|e| Error(format!("cannot start the runtime: {e}")))?;
    let result = runtime.block_on(async {
        let signals = Signals::new().map_err(|e| Error(format!("cannot listen to signals: {e}")))?;
        run_until(config, options, reload, signals.asked_to_stop()).await
    });
    // A DNS lookup that hangs must not delay the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

/// One worker thread: the readers have threads of their own, so it only sends, waits and answers requests.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).thread_name("loop").enable_all().build()
}

/// Runs until `shutdown` resolves, then stops. If `shutdown` resolves a second time, it stops without waiting for
/// answers.
async fn run_until(
    config: Config,
    options: Options,
    reload: Reload,
    mut shutdown: impl AsyncFnMut(),
) -> Result<(), Error> {
    let (mut requests, reloader) =
        Requests::new(reload).map_err(|e| Error(format!("cannot listen to signals: {e}")))?;
    let (host, serving) = Host::new(&config, options, reloader).await?;
    let plan = Plan::new(config, &host.options, &host.hostname)?.bind(&host).await?;
    summarise(&plan.config, &host, serving.as_ref());
    let mut run = Run::start(plan, &host, None).await?;
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
    // Clients that wait for a reload get an error.
    drop(requests);
    if is_asked_to_stop {
        tracing::info!("stopping: reading all files to their ends, and waiting for Loki's answers");
        host.receivers.lock().await.ask_to_stop();
        run.ask_to_stop(STOP_WITHIN);
        tokio::select! {
            () = run.ended() => {}
            () = shutdown() => {
                tracing::warn!("stopping at once: lines without an answer from Loki are read again");
                run.abort().await;
            }
        }
    }
    run.finish(&host).await;
    host.receivers.lock().await.finish().await;
    if let Some(serving) = serving {
        serving.stop(shutdown).await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Logs what this agent is and what it uses.
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
    if config.server.http_listen_address.is_empty()
        && serving.and_then(Serving::address).is_some_and(|address| address.ip().is_loopback())
    {
        tracing::info!(
            "http server: only this host can connect, because server.http_listen_address is not set; set it to 0.0.0.0 if \
             Prometheus or a probe connects from elsewhere"
        );
    }
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

/// The signals that stop the agent.
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
