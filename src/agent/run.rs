//! One run: everything that a config starts, from discovery to Loki. Each reload of the config replaces the run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::host::Host;
use super::{Error, Options, build, report};
use crate::config::Config;
use crate::model::{AbortOnPanic, Update};
use crate::relabel::Rules;
use crate::scrape::{Job, Scrape};
use crate::{discovery, push, receive, scrape};

/// A config with everything built that can fail. It has no thread or task yet, and can be dropped.
pub(super) struct Plan {
    pub config: Config,
    jobs: Vec<Job>,
    clients: Vec<push::Prepared>,
    settings: scrape::Config,
    receivers: Vec<receive::Receiver>,
    /// Their sockets, after [`bind`](Self::bind).
    ready: receive::Ready,
}

impl Plan {
    pub fn new(config: Config, options: &Options, hostname: &str) -> Result<Self, Error> {
        let jobs = build::jobs(&config, options).map_err(Error)?;
        let used = if options.dry_run { 0 } else { config.clients.len() };
        let clients = config.clients[..used].iter().map(push::Prepared::new).collect::<Result<Vec<_>, _>>();
        let clients = clients.map_err(|e| Error(e.to_string()))?;
        let settings = build::scrape(&config, options, hostname.to_string());
        let receivers = build::receivers(&config, options).map_err(Error)?;
        Ok(Self { config, jobs, clients, settings, receivers, ready: receive::Ready::default() })
    }

    /// Binds the sockets that receivers need. Those that are bound already stay as they are.
    pub async fn bind(mut self, host: &Host) -> Result<Self, Error> {
        let mut receivers = std::mem::take(&mut self.receivers);
        for (receiver, source) in receivers.iter_mut().zip(&mut self.settings.receivers) {
            receiver.spool = host.spool(receiver)?;
            source.spool = receiver.spool.clone();
        }
        self.ready = host.receivers.lock().await.bind(receivers).await.map_err(Error)?;
        Ok(self)
    }
}

/// The state that a run hands over to the next one.
pub(super) struct Handover {
    /// The names of its clients, and the hosts that they sent to.
    clients: BTreeSet<String>,
    hosts: BTreeSet<String>,
    /// Its open logs.
    logs: scrape::OpenLogs,
}

/// The running parts of a config.
pub(super) struct Run {
    pub config: Config,
    scrape: Scrape,
    pushes: Vec<JoinHandle<()>>,
    stop_pushes: watch::Sender<push::Stop>,
    discovery: Vec<JoinHandle<()>>,
}

impl Run {
    /// `handover` comes from the previous run. None: this is the first run of the process.
    pub async fn start(plan: Plan, host: &Host, handover: Option<Handover>) -> Result<Self, Error> {
        let Plan { config, jobs, clients, settings, ready, .. } = plan;
        if let Some(handover) = &handover {
            host.positions.begin_run(build::readers(&config), SystemTime::now(), handover.logs.has_looked());
            handover.forget_in(&host.metrics.push, &config);
        }
        let rules = jobs.iter().map(|job| job.rules.clone()).collect();
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
        host.receivers.lock().await.start(ready, |job| scrape.intake(job), &host.metrics.receive);
        let statuses = senders.iter().map(|(client, _)| client.status()).collect();
        let mut pushes = Vec::new();
        for (i, (client, batches)) in senders.into_iter().enumerate() {
            let run = client.run(batches, scrape.waker(i), stop.clone());
            pushes.push(tokio::spawn(async {
                let _abort_on_panic = AbortOnPanic;
                run.await;
            }));
        }
        host.metrics.skipped.set(&config.skipped_jobs);
        let skipped = config.skipped_jobs.clone();
        host.show(Arc::new(report::Whole { targets: scrape.report(), clients: statuses, skipped }), &config);
        let discovery = match host.options.stdin {
            true => Vec::new(),
            false => discover(&config, rules, host, &scrape),
        };
        Ok(Self { config, scrape, pushes, stop_pushes, discovery })
    }

    /// Reads all files to their ends, and waits for Loki's answers for at most this time. Does not wait for a Loki that
    /// does not answer.
    pub fn ask_to_stop(&self, within: Duration) {
        self.scrape.stop(within);
    }

    /// Stops reading, and waits for Loki's answers for at most this time. The next run continues with the rest.
    pub fn hand_over(&self, within: Duration) {
        self.scrape.hand_over(within);
    }

    /// Resolves when reading has ended: it was asked to stop, or standard input ended.
    pub async fn ended(&mut self) {
        self.scrape.ended().await;
    }

    /// Stops without waiting for answers. Lines without an answer are on disk, and are read again at the next start.
    pub async fn abort(&mut self) {
        self.stop_pushes.send_replace(push::Stop::Abort);
        self.scrape.stop(Duration::ZERO);
        self.scrape.ended().await;
    }

    /// Must be called after [`ended`](Self::ended). When it returns, no thread, task or connection of this run is left.
    /// Lines without an answer by now will never get one, and may be read again.
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
    /// Removes the metrics of clients that `config` does not have.
    fn forget_in(&self, metrics: &push::Metrics, config: &Config) {
        let (clients, hosts) = clients_and_hosts(config);
        self.clients.difference(&clients).for_each(|client| metrics.forget_client(client));
        self.hosts.difference(&hosts).for_each(|host| metrics.forget_host(host));
    }
}

fn clients_and_hosts(config: &Config) -> (BTreeSet<String>, BTreeSet<String>) {
    config.clients.iter().map(|client| (client.name(), client.host().to_string())).unzip()
}

/// Starts a task for each job that tells the scrape which targets there are.
fn discover(config: &Config, rules: Vec<Rules>, host: &Host, scrape: &Scrape) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    host.lists.begin_run();
    for (job, rules) in config.scrape_configs.iter().zip(rules) {
        let (sender, mut updates) = mpsc::channel::<Update>(64);
        let (name, reads): (Arc<str>, _) = (job.job_name.as_str().into(), rules.reads());
        if let Some(mut config) = job.kubernetes_events.clone() {
            // A dry run must not keep other agents from sending.
            config.leader_election &= !host.options.dry_run;
            let events = host.events(&name, rules.clone(), scrape.sources());
            tasks.push(tokio::spawn(async {
                let _abort_on_panic = AbortOnPanic;
                discovery::kubernetes::events::run(config, events).await;
            }));
        }
        let containers = host.containers(&name, rules, scrape.sources());
        let (places, lists) = (Some(host.places.clone()), host.lists.clone());
        let around = discovery::Around { places, containers: Some(containers), lists };
        let metrics = host.metrics.discovery.clone();
        let run = discovery::run(name, job.discovery(), host.node.clone(), reads, around, metrics, sender);
        tasks.push(tokio::spawn(async {
            let _abort_on_panic = AbortOnPanic;
            run.await;
        }));
        let target_manager = scrape.updates();
        tasks.push(tokio::spawn(async move {
            let _abort_on_panic = AbortOnPanic;
            while let Some(update) = updates.recv().await {
                target_manager.tell(update).await;
            }
        }));
    }
    tasks
}
