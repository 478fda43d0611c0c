//! One run: what a config comes to, from discovery to Loki. A process has one after the other, as often as its config is reloaded.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::host::Host;
use super::{Error, Options, build, report};
use crate::config::Config;
use crate::model::{AbortOnPanic, Update};
use crate::relabel::Reads;
use crate::scrape::{Job, Scrape};
use crate::{discovery, push, scrape};

/// A config of which all has been built that can fail. It has no thread, no task and no socket, and can be thrown away.
pub(super) struct Plan {
    pub config: Config,
    jobs: Vec<Job>,
    clients: Vec<push::Prepared>,
    settings: scrape::Config,
}

impl Plan {
    pub fn new(config: Config, options: &Options, hostname: &str) -> Result<Self, Error> {
        let jobs = build::jobs(&config).map_err(Error)?;
        let used = if options.dry_run { 0 } else { config.clients.len() };
        let clients = config.clients[..used].iter().map(push::Prepared::new).collect::<Result<Vec<_>, _>>();
        let clients = clients.map_err(|e| Error(e.to_string()))?;
        let settings = build::scrape(&config, options, hostname.to_string());
        Ok(Self { config, jobs, clients, settings })
    }
}

/// What a run leaves to the next one.
pub(super) struct Handover {
    /// Names of its clients, and the hosts that they sent to.
    clients: BTreeSet<String>,
    hosts: BTreeSet<String>,
    /// The logs that it had open.
    logs: scrape::OpenLogs,
}

/// A config that runs.
pub(super) struct Run {
    pub config: Config,
    scrape: Scrape,
    pushes: Vec<JoinHandle<()>>,
    stop_pushes: watch::Sender<push::Stop>,
    discovery: Vec<JoinHandle<()>>,
}

impl Run {
    /// `handover` is that of the run before; `None`: this is the first of the process.
    pub fn start(plan: Plan, host: &Host, handover: Option<Handover>) -> Result<Self, Error> {
        let Plan { config, jobs, clients, settings } = plan;
        if let Some(handover) = &handover {
            host.positions.begin_run(build::readers(&config), SystemTime::now(), handover.logs.has_looked());
            handover.forget_in(&host.metrics.push, &config);
        }
        let reads = jobs.iter().map(|job| job.rules.reads()).collect();
        let (stop_pushes, stop) = watch::channel(push::Stop::Running);
        let mut senders = Vec::new();
        let mut outlets = Vec::new();
        for (client_config, prepared) in config.clients.iter().zip(clients) {
            let client = push::Client::of(prepared, &host.metrics.push);
            let (sender, batches) = mpsc::unbounded_channel();
            outlets.push(build::outlet(&config, client_config, sender, &host.metrics.push));
            senders.push((client, batches));
        }
        if host.options.dry_run {
            outlets.push(build::printing(&config));
        }
        let logs = handover.map(|handover| handover.logs).unwrap_or_default();
        let scrape = Scrape::start(settings, jobs, outlets, host.positions.clone(), &host.metrics.scrape, logs)
            .map_err(|e| Error(format!("cannot start a thread: {e}")))?;
        let statuses = senders.iter().map(|(client, _)| client.status()).collect();
        let mut pushes = Vec::new();
        for (i, (client, batches)) in senders.into_iter().enumerate() {
            let run = client.run(batches, scrape.waker(i), stop.clone());
            pushes.push(tokio::spawn(async {
                let _abort_on_panic = AbortOnPanic;
                run.await;
            }));
        }
        host.show(Arc::new(report::Whole { targets: scrape.report(), clients: statuses }), &config);
        let discovery = match host.options.stdin {
            true => Vec::new(),
            false => discover(&config, reads, host, &scrape),
        };
        Ok(Self { config, scrape, pushes, stop_pushes, discovery })
    }

    /// Reads what there is to its end and waits until it is delivered: at most so long, and not for a Loki that is away.
    pub fn ask_to_stop(&self, within: Duration) {
        self.scrape.stop(within);
    }

    /// Reads no more, and waits for answers a moment: the next run goes on with what is left.
    pub fn hand_over(&self, within: Duration) {
        self.scrape.hand_over(within);
    }

    /// Resolves once nothing is read any more, because it was asked to stop or because standard input ended.
    pub async fn ended(&mut self) {
        self.scrape.ended().await;
    }

    /// Waits for no answer any more. What is not acknowledged is on disk, and will be read again.
    pub async fn abort(&mut self) {
        self.stop_pushes.send_replace(push::Stop::Abort);
        self.scrape.stop(Duration::ZERO);
        self.scrape.ended().await;
    }

    /// To be called once it has [`ended`](Self::ended). When it returns, no thread, task or connection of this run is left: what is
    /// not acknowledged by now never will be, and may be read again.
    pub async fn finish(self, host: &Host) -> Handover {
        self.stop_pushes.send_replace(push::Stop::Abort);
        for push in self.pushes {
            let _ = push.await;
        }
        for task in self.discovery {
            task.abort();
            let _ = task.await;
        }
        let logs = self.scrape.join();
        host.places.remembered.save();
        let (clients, hosts) = clients_and_hosts(&self.config);
        Handover { clients, hosts, logs }
    }
}

impl Handover {
    /// Clients that `config` has no more show nothing any more.
    fn forget_in(&self, metrics: &push::Metrics, config: &Config) {
        let (clients, hosts) = clients_and_hosts(config);
        self.clients.difference(&clients).for_each(|client| metrics.forget_client(client));
        self.hosts.difference(&hosts).for_each(|host| metrics.forget_host(host));
    }
}

fn clients_and_hosts(config: &Config) -> (BTreeSet<String>, BTreeSet<String>) {
    config.clients.iter().map(|client| (client.name(), client.host().to_string())).unzip()
}

/// A loop per job that tells the scrape what there is.
fn discover(config: &Config, reads: Vec<Reads>, host: &Host, scrape: &Scrape) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    for (job, reads) in config.scrape_configs.iter().zip(reads) {
        let (sender, mut updates) = mpsc::channel::<Update>(64);
        let (name, places) = (Arc::from(job.job_name.as_str()), Some(host.places.clone()));
        let metrics = host.metrics.discovery.clone();
        let run = discovery::run(name, job.discovery(), host.node.clone(), reads, places, metrics, sender);
        tasks.push(tokio::spawn(async {
            let _abort_on_panic = AbortOnPanic;
            run.await;
        }));
        let scout = scrape.updates();
        tasks.push(tokio::spawn(async move {
            let _abort_on_panic = AbortOnPanic;
            while let Some(update) = updates.recv().await {
                scout.tell(update).await;
            }
        }));
    }
    tasks
}
