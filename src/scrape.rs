//! Turns targets into batches: decides which files to read, and reads them.
//!
//! One thread decides which logs exist ([`target_manager`]): it relabels targets from discovery, expands globs and
//! receives file events. One thread per client reads the logs ([`reader`]): lines, stages, batches. Clients share
//! nothing, so a dead client does not affect the others.

mod budget;
mod explaining;
mod given;
mod inbox;
mod input;
mod journal;
mod messages;
mod metrics;
mod open_logs;
mod ownership;
mod parker;
mod pipelines;
mod print;
mod rates;
mod reader;
mod receiving;
mod schedule;
mod sink;
mod sources;
mod spool;
mod status;
mod stdin;
mod supervised;
mod tailer;
mod target_manager;
mod targets;
mod times;
mod unread;
mod watch;
mod watchdog;

use std::path::PathBuf;
use std::sync::{Arc, Weak, mpsc};
use std::task::Waker;
use std::time::Duration;

use crate::batch::{self, Batch};
use crate::metrics::{Dropped, Registry};
use crate::model::{Clock, Entry, LabelSet, LiveTail, Reason, Report, StartAt};
use crate::positions::Positions;
use crate::relabel::Rules;
use crate::stages::{CustomMetrics, Program};
use crate::tail::{self, QuietFiles};

pub use given::{GivenSource, Opening};
pub use inbox::{Intake, NotCommitted, Parcel, Taken, Ticket};
pub use messages::Updates;
pub use open_logs::OpenLogs;
use parker::Parker;
use receiving::Intakes;
pub use receiving::Receiver;
pub use sources::{Given, Sources};
use status::Status;
use supervised::Supervised;
pub use targets::{Rejected, resolve};

/// One `scrape_configs` entry, checked and ready to run.
#[derive(Debug)]
pub struct Job {
    pub name: Arc<str>,
    pub rules: Rules,
    /// None: the config has no `pipeline_stages`. A pod without `__path__` then gets a stage that parses its container
    /// format.
    pub program: Option<Program>,
    pub options: tail::Options,
    /// It reads the journal.
    pub journal: Option<crate::journal::Config>,
    /// It has targets whose files are logs of containers found by Docker's API.
    pub has_containers: bool,
    /// How long to wait before a new file is read for the first time.
    pub initial_delay: Duration,
    /// Where files begin that existed before the first start of this job.
    pub start_at: StartAt,
    /// Why the files of this job cannot be read. Its targets are shown with this reason and not read. None: they can be
    /// read.
    pub unreadable: Option<String>,
}

/// How many logs a target may have regardless of other targets, so that one pod's files do not keep out its
/// neighbours'.
const SHARE: usize = 50;

/// How many logs a target with many leaves to the others at most. A node has a few hundred pods.
const LEFT: usize = 1_000;

#[derive(Clone, Debug)]
pub struct Config {
    /// Compared with the label `__host__`.
    pub hostname: String,
    /// How often all paths are checked without file events, and how often positions are made durable.
    pub sync_period: Duration,
    pub positions_sync_period: Duration,
    /// How often a file is polled while it grows.
    pub min_poll: Duration,
    /// The longest time between polls of a quiet file. None: the longer it is quiet, the less often it is polled.
    pub max_poll: Option<Duration>,
    /// The file of a log to which nothing was written for so long is closed until it changes. Zero: never.
    pub close_idle_after: Duration,
    /// Bytes of deleted but still open files to keep.
    pub deleted_files_limit: u64,
    /// The directory of pods' logs. Targets of a pod only read that pod's own subdirectory. None: no such check.
    pub pod_logs: Option<PathBuf>,
    /// The most files that the logs of one client may have open. What the logs themselves do not need is for older
    /// files, which are kept open to finish reading them.
    pub files: usize,
    /// The most open logs, fewer than `files`. A target with more than [`SHARE`] logs leaves a quarter of these for other
    /// targets, and [`LEFT`] at most.
    pub logs: usize,
    /// Directories outside a log's own that its links may lead to.
    pub link_roots: Vec<PathBuf>,
    /// `target_config.rotated_dirs`.
    pub rotated_dirs: Vec<PathBuf>,
    /// `limits_config.readline_rate`, if enabled.
    pub rate: Option<Rate>,
    /// Print entries instead of sending them.
    pub dry_run: bool,
    /// Read standard input instead of files, with these labels. The agent ends with it.
    pub stdin: Option<LabelSet>,
    /// Jobs whose records are handed in.
    pub receivers: Vec<Receiver>,
}

impl Config {
    /// How long to wait before the next poll of a file that waited `last` before and has been quiet for `quiet`. A file
    /// that was quiet for a minute can wait a few more seconds.
    fn pause(&self, last: Duration, quiet: Duration) -> Duration {
        let most = self.max_poll.unwrap_or((quiet / 8).clamp(Duration::from_secs(1), Duration::from_secs(5)));
        (last * 2).min(most.max(self.min_poll))
    }
}

/// `limits_config.readline_*`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub quota: governor::Quota,
    /// Drop lines beyond the rate. Otherwise reading waits.
    pub drop: bool,
}

/// The output of one client.
#[derive(Debug)]
pub struct Outlet {
    pub client: Arc<str>,
    pub batch: batch::Config,
    /// Batches that are ready together are sent together, to wake the receiver once.
    pub batches: tokio::sync::mpsc::UnboundedSender<Vec<Batch>>,
    pub counters: ClientCounters,
}

type Refused = Box<dyn Fn(&Entry<'_>, &Reason) + Send>;

/// The client's counters for entries that cannot be sent and for lines cut by `max_line_size`.
pub struct ClientCounters {
    pub refused: Refused,
    pub truncated: Box<dyn Fn(usize) + Send>,
}

impl std::fmt::Debug for ClientCounters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientCounters")
    }
}

/// The metrics and status of scraping. Registered once, and used by all [`Scrape`]s of the process in turn.
#[derive(Clone, Debug)]
pub struct Metrics {
    own: metrics::Metrics,
    dropped: Dropped,
    custom: CustomMetrics,
    status: Arc<Status>,
    live_tail: Arc<LiveTail>,
}

impl Metrics {
    /// Shows lines to those who look at them on the page.
    pub fn live_tail(&self) -> Arc<LiveTail> {
        self.live_tail.clone()
    }

    /// Counts received bytes that a client had no room for while another had, and logs the first of them.
    pub fn receiver_behind(&self, job: &str, bytes: u64) {
        self.own.receiver_behind(job, bytes);
    }

    /// Counts datagrams that the kernel dropped before a receiver read them, and logs that they begin.
    pub fn datagrams_dropped(&self, job: &str, datagrams: u64, begins: bool) {
        self.own.datagrams_dropped(job, datagrams, begins);
    }

    pub fn register(registry: &Registry) -> Self {
        let status = Arc::new(Status::default());
        Self {
            own: metrics::Metrics::register(registry, status.clone()),
            dropped: Dropped::register(registry),
            custom: CustomMetrics::register(registry),
            status,
            live_tail: Arc::default(),
        }
    }

    /// Resets the state for a new run with these clients.
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
    sources: Sources,
    parkers: Arc<[Arc<Parker>]>,
    readers: Vec<mpsc::Receiver<open_logs::ReaderLogs>>,
    target_manager: mpsc::Receiver<()>,
    intakes: Intakes,
    ended: tokio::sync::watch::Receiver<bool>,
}

impl Scrape {
    /// Starts the threads. `outlets` are in the order of the clients. In one process, a scrape must be joined before
    /// the next one starts. `open_logs` are the logs that the previous one left.
    pub fn start(
        config: Config,
        jobs: Vec<Job>,
        outlets: Vec<Outlet>,
        positions: Arc<Positions>,
        metrics: &Metrics,
        mut open_logs: OpenLogs,
    ) -> std::io::Result<Self> {
        let events = Arc::new(messages::Events::default());
        let (end, ended) = tokio::sync::watch::channel(false);
        metrics.begin_run(outlets.iter().map(|outlet| &outlet.client));
        let Metrics { own: metrics, dropped, custom, status, live_tail } = metrics.clone();
        let jobs: Arc<[Job]> = jobs.into();
        let clients: Vec<Arc<str>> = outlets.iter().map(|outlet| outlet.client.clone()).collect();
        let parkers: Vec<Arc<Parker>> = clients.iter().map(|_| Arc::default()).collect();
        // Before any reader starts: readers close what they do not continue.
        let (intakes, received) =
            Intakes::open(&config.receivers, &jobs, clients.clone(), &parkers, open_logs.take_intakes(), &metrics);
        let shares = open_logs.share_out(&clients);
        let (mut posts, mut threads): (watchdog::Posts, Vec<_>) = (Vec::new(), Vec::new());
        let mut readers = Vec::new();
        for (index, ((outlet, open_logs), parker)) in outlets.into_iter().zip(shares).zip(parkers.clone()).enumerate() {
            let commands = Arc::new(messages::Commands::new(parker.clone()));
            let told = commands.clone();
            let quiet = QuietFiles::new(clients.len(), move |log| told.send(messages::Command::Written(log)));
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
                // All clients get the same lines, so metrics from stages are counted by one client only.
                custom: (index == 0).then(|| custom.clone()),
                live_tail: (index == 0).then(|| live_tail.clone()),
                status: status.clone(),
                open_logs,
                quiet,
            });
            readers.push(commands);
            let (reader, logs) = Supervised::new(reader, || {});
            reader.start()?;
            let post: Weak<Supervised<reader::Reader>> = Arc::downgrade(&reader);
            posts.push((format!("the reader of {}", clients[index]), post));
            threads.push(logs);
        }
        custom.forget_unused();
        // Standard input replaces all files. It uses the name and stages of the first job.
        let standard_input = config.stdin.clone().map(|labels| stdin::source(labels, jobs.first(), &parkers));
        let jobs = if standard_input.is_some() { Arc::default() } else { jobs };
        let journals: Vec<GivenSource> = jobs.iter().filter_map(|job| journal::source(job, &metrics)).collect();
        let mut target_manager = target_manager::TargetManager::new(
            config,
            jobs,
            readers,
            positions,
            metrics.clone(),
            status.clone(),
            events.clone(),
        );
        for source in journals.into_iter().chain(received) {
            target_manager.give(Arc::new(source));
        }
        if let Some((intake, source)) = standard_input {
            target_manager.give(Arc::new(source));
            stdin::start(intake, metrics, dropped)?;
        }
        let (target_manager, managed) = Supervised::new(target_manager, move || {
            let _ = end.send(true);
        });
        target_manager.start()?;
        let post: Weak<Supervised<target_manager::TargetManager>> = Arc::downgrade(&target_manager);
        posts.push(("the target manager".into(), post));
        watchdog::start(posts, status.clone())?;
        let parkers: Arc<[_]> = parkers.into();
        let sources = Sources::new(events.clone());
        Ok(Self { events, status, sources, parkers, readers: threads, target_manager: managed, intakes, ended })
    }

    /// Where the records of this job are handed in. None: it is not one of `Config::receivers`.
    pub fn intake(&self, job: &str) -> Option<Arc<Intake>> {
        self.intakes.of(job)
    }

    /// Wakes the reader of client `i` when its batches make progress.
    pub fn waker(&self, i: usize) -> Waker {
        Waker::from(self.parkers[i].clone())
    }

    /// The channel for updates from discovery.
    pub fn updates(&self) -> Updates {
        Updates(self.events.clone())
    }

    /// Gives sources that are not files to the readers. A reload ends them with this scrape, and they are given again
    /// to the next one.
    pub fn sources(&self) -> Sources {
        self.sources.clone()
    }

    pub fn report(&self) -> Arc<impl Report + use<>> {
        self.status.clone()
    }

    /// Reads everything available, waits until it is delivered (at most `within`, and only while there is progress),
    /// and stops.
    pub fn stop(&self, within: Duration) {
        self.events.send(messages::Event::Stop(messages::StopRequest { within, reads_on: true }));
    }

    /// Stops reading, waits until everything read is delivered (at most `within`, and only while there is progress),
    /// and stops. The next scrape continues with the logs from [`join`](Self::join).
    pub fn hand_over(&self, within: Duration) {
        self.events.send(messages::Event::Stop(messages::StopRequest { within, reads_on: false }));
    }

    /// Resolves when all threads have stopped, on request or because standard input ended.
    pub async fn ended(&mut self) {
        let _ = self.ended.wait_for(|ended| *ended).await;
    }

    /// Waits for the threads. Returns their open logs for a handover.
    pub fn join(self) -> OpenLogs {
        let _ = self.target_manager.recv();
        let left = self.readers.into_iter().filter_map(|logs| logs.recv().ok()).collect();
        OpenLogs::new(left).with_intakes(self.intakes)
    }
}

/// An intake, and its inboxes in the hands of a test instead of readers.
#[cfg(test)]
pub fn intake_of_test(clients: usize) -> (Intake, Vec<Box<dyn crate::model::Source>>) {
    let (intake, inboxes) = Intake::new((0..clients).map(|_| Arc::default()));
    (intake, inboxes.into_iter().map(|inbox| Box::new(inbox) as Box<dyn crate::model::Source>).collect())
}

#[cfg(test)]
mod tests;
