//! From targets to batches: which files there are, and reading them.
//!
//! One thread decides which logs exist ([`target_manager`]): it relabels what discovery finds, walks globs and hears about new
//! names. One thread per client reads them ([`reader`]): lines, stages, batches. Clients share nothing, so a dead one
//! costs the others nothing.

mod budget;
mod inbox;
mod input;
mod messages;
mod metrics;
mod open_logs;
mod ownership;
mod parker;
mod pipelines;
mod print;
mod rates;
mod reader;
mod schedule;
mod sink;
mod status;
mod stdin;
mod tailer;
mod target_manager;
mod targets;
mod times;
mod unread;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::batch::{self, Batch};
use crate::metrics::{Dropped, Registry};
use crate::model::{AbortOnPanic, Clock, Entry, LabelSet, Reason, Report};
use crate::positions::Positions;
use crate::relabel::Rules;
use crate::stages::{CustomMetrics, Program};
use crate::tail;

pub use inbox::{Intake, NotCommitted, Parcel, Ticket};
pub use messages::Updates;
pub use open_logs::OpenLogs;
use parker::Parker;
use status::Status;

/// One `scrape_configs` entry, checked and ready to run.
#[derive(Debug)]
pub struct Job {
    pub name: Arc<str>,
    pub rules: Rules,
    /// None: the config has no `pipeline_stages`; a pod without `__path__` then has its container format taken off.
    pub program: Option<Program>,
    pub options: tail::Options,
    /// How long a file that was found is left alone at first.
    pub initial_delay: Duration,
    /// Set when its files cannot be read at all, and why: its targets are shown with it, and left alone.
    pub unreadable: Option<String>,
}

/// Logs that a target may have however many others have: one pod's files do not keep out its neighbours'.
const SHARE: usize = 50;

#[derive(Clone, Debug)]
pub struct Config {
    /// What `__host__` is compared with.
    pub hostname: String,
    /// How often names are looked at even if nothing was heard of them, and positions are made durable.
    pub sync_period: Duration,
    pub positions_sync_period: Duration,
    /// How often a file is looked at while lines come.
    pub min_poll: Duration,
    /// How seldom at most when none do; None: the longer it is quiet, the less often.
    pub max_poll: Option<Duration>,
    /// Of the disk, what deleted files may hold that are still to be read.
    pub deleted_files_limit: u64,
    /// Where pods' logs are, each in a folder of its pod that targets of other pods do not read; None: they do.
    pub pod_logs: Option<PathBuf>,
    /// How many older files the logs of one client may have open that are still to be read.
    pub older_files: usize,
    /// How many logs may be open; a target that has more than [`SHARE`] leaves a quarter of that for others.
    pub logs: usize,
    /// Where links of a log's folder may lead beyond it.
    pub link_roots: Vec<PathBuf>,
    /// `limits_config.readline_rate`, if enabled.
    pub rate: Option<Rate>,
    /// Entries are printed, not sent.
    pub dry_run: bool,
    /// Lines come from standard input, with these labels, and the agent ends with it.
    pub stdin: Option<LabelSet>,
}

impl Config {
    /// How long to leave a file alone that was left alone for `last` and has been quiet for `quiet`: what has said
    /// nothing for a minute will not be missed for a few seconds.
    fn pause(&self, last: Duration, quiet: Duration) -> Duration {
        let most = self.max_poll.unwrap_or((quiet / 8).clamp(Duration::from_secs(1), Duration::from_secs(5)));
        (last * 2).min(most.max(self.min_poll))
    }
}

/// `limits_config.readline_*`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub lines_per_second: f64,
    pub burst: u32,
    /// Lines beyond the rate are dropped; otherwise reading waits.
    pub drop: bool,
}

/// Where the batches of one client go.
#[derive(Debug)]
pub struct Outlet {
    pub client: Arc<str>,
    pub batch: batch::Config,
    /// What is ready at a time goes at a time, so that it wakes its receiver once.
    pub batches: tokio::sync::mpsc::UnboundedSender<Vec<Batch>>,
    pub counters: ClientCounters,
}

type Refused = Box<dyn Fn(&Entry<'_>, &Reason) + Send>;

/// Where a client counts the entries that cannot be sent, and what `max_line_size` does to them.
pub struct ClientCounters {
    pub refused: Refused,
    pub truncated: Box<dyn Fn(usize) + Send>,
}

impl std::fmt::Debug for ClientCounters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientCounters")
    }
}

/// What scraping counts and shows. It is registered once and lives as long as the process, through one [`Scrape`] after the other.
#[derive(Clone, Debug)]
pub struct Metrics {
    own: metrics::Metrics,
    dropped: Dropped,
    custom: CustomMetrics,
    status: Arc<Status>,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Self {
        let status = Arc::new(Status::default());
        Self {
            own: metrics::Metrics::register(registry, status.clone()),
            dropped: Dropped::register(registry),
            custom: CustomMetrics::register(registry),
            status,
        }
    }

    /// Nothing of the last run is left, and these clients are those of the next.
    fn begin_run<'c>(&self, clients: impl Iterator<Item = &'c Arc<str>>) {
        self.status.begin_run(clients);
        self.own.begin_run();
        self.custom.begin_run();
    }
}

/// The threads that find and read logs.
#[derive(Debug)]
pub struct Scrape {
    events: Arc<messages::Events>,
    status: Arc<Status>,
    wakers: Vec<Waker>,
    readers: Vec<JoinHandle<open_logs::ReaderLogs>>,
    target_manager: JoinHandle<()>,
    ended: tokio::sync::watch::Receiver<bool>,
}

impl Scrape {
    /// Starts the threads; `outlets` are in the order of the clients. Of several in one process each begins once the one before
    /// was joined, with what that left.
    pub fn start(
        config: Config,
        jobs: Vec<Job>,
        outlets: Vec<Outlet>,
        positions: Arc<Positions>,
        metrics: &Metrics,
        open_logs: OpenLogs,
    ) -> std::io::Result<Self> {
        let events = Arc::new(messages::Events::default());
        let (end, ended) = tokio::sync::watch::channel(false);
        metrics.begin_run(outlets.iter().map(|outlet| &outlet.client));
        let Metrics { own: metrics, dropped, custom, status } = metrics.clone();
        let jobs: Arc<[Job]> = jobs.into();
        let clients: Vec<Arc<str>> = outlets.iter().map(|outlet| outlet.client.clone()).collect();
        let shares = open_logs.share_out(&clients);
        let mut threads = Vec::new();
        let mut readers = Vec::new();
        let mut wakers = Vec::new();
        for (index, (outlet, open_logs)) in outlets.into_iter().zip(shares).enumerate() {
            let parker = Arc::new(Parker::default());
            let commands = Arc::new(messages::Commands::new(parker.clone()));
            let reader = reader::Reader::new(reader::Parts {
                clock: Clock::default(),
                index,
                config: config.clone(),
                jobs: jobs.clone(),
                outlet,
                positions: positions.clone(),
                commands: commands.clone(),
                target_manager: events.clone(),
                metrics: metrics.clone(),
                dropped: dropped.clone(),
                // All clients are given the same lines; users count them once.
                custom: (index == 0).then(|| custom.clone()),
                status: status.clone(),
                open_logs,
            });
            wakers.push(Waker::from(parker));
            readers.push(commands);
            threads.push(std::thread::Builder::new().name("reader".into()).spawn(move || {
                let _abort_on_panic = AbortOnPanic;
                reader.run()
            })?);
        }
        custom.forget_unused();
        // Standard input is all that is read then; it has the first job's name and stages.
        let standard_input = config.stdin.clone().map(|labels| stdin::source(labels, jobs.first(), &readers));
        let jobs = if standard_input.is_some() { Arc::default() } else { jobs };
        let mut target_manager = target_manager::TargetManager::new(
            config,
            jobs,
            readers,
            positions,
            metrics.clone(),
            status.clone(),
            events.clone(),
        );
        if let Some((intake, source)) = standard_input {
            target_manager.give(source);
            stdin::start(intake, metrics, dropped)?;
        }
        let target_manager = std::thread::Builder::new().name("target_manager".into()).spawn(move || {
            let _abort_on_panic = AbortOnPanic;
            target_manager.run();
            let _ = end.send(true);
        })?;
        Ok(Self { events, status, wakers, readers: threads, target_manager, ended })
    }

    /// Wakes the reader of client `i`: its batches have come further.
    pub fn waker(&self, i: usize) -> Waker {
        self.wakers[i].clone()
    }

    /// Where discovery's updates go.
    pub fn updates(&self) -> Updates {
        Updates(self.events.clone())
    }

    pub fn report(&self) -> Arc<impl Report + use<>> {
        self.status.clone()
    }

    /// Reads what there is to its end, waits until it is delivered (as long as there is progress, at most `within`), and
    /// stops.
    pub fn stop(&self, within: Duration) {
        self.events.send(messages::Event::Stop(messages::StopRequest { within, reads_on: true }));
    }

    /// Reads no more, waits until what was read is delivered (as long as there is progress, at most `within`), and stops. The
    /// next scrape goes on with what [`join`](Self::join) gives then.
    pub fn hand_over(&self, within: Duration) {
        self.events.send(messages::Event::Stop(messages::StopRequest { within, reads_on: false }));
    }

    /// Resolves when all has stopped, because it was told to or because standard input ended.
    pub async fn ended(&mut self) {
        let _ = self.ended.wait_for(|ended| *ended).await;
    }

    /// Waits for the threads; gives what they have open, if it is to be handed over.
    pub fn join(self) -> OpenLogs {
        let _ = self.target_manager.join();
        OpenLogs::new(self.readers.into_iter().filter_map(|thread| thread.join().ok()).collect())
    }
}

#[cfg(test)]
mod tests;
