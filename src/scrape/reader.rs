//! The thread that reads all logs for one client and sends their batches.
//!
//! It never waits for a single log: logs without new data, or that wait for answers, are skipped. It sleeps until a
//! file is due for a poll, a batch reaches `batchwait`, or its parker wakes it. If a system call on a file does not
//! return, another thread takes over (see [`supervised`](super::supervised)). Methods that make such calls are those of
//! [`Held`].

mod commands;
mod commit;
mod elsewhere;
mod file_limits;
mod handover;
mod hanging;
mod idle;
mod inodes;
mod losses;
mod opening;
mod queue;
mod reading;
mod retry;
mod rotation;
mod start;
mod turns;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use handover::UNASSIGNED;
use hanging::Hanging;
use inodes::Inodes;
pub(super) use opening::with_filename;
use queue::Queue;
use retry::Waiting;

use super::budget::Budget;
use super::messages::{Command, Commands, Event, Events};
use super::metrics::Metrics;
use super::open_logs::{LogsByPath, ReaderLogs};
use super::pipelines::Pipelines;
use super::print::Printer;
use super::rates::Limiter;
use super::schedule::FAREWELL_LOOK;
use super::sink::{Output, Sink};
use super::status::Status;
use super::supervised::{Duty, Held};
use super::tailer::Tailer;
use super::times::Times;
use super::{Config, Job, Outlet};
use crate::batch::Batcher;
use crate::metrics::Dropped;
use crate::model::{Chunk, Clock, LiveTail};
use crate::positions::{Commit, Positions};
use crate::stages::CustomMetrics;
use crate::tail::{Folders, Mounts, QuietFiles};

/// Polls are aligned to multiples of this, so that many files share a wake-up.
const BEAT: Duration = Duration::from_millis(50);

/// The shortest time between two turns. Answers come in groups; handling more of them at once saves wake-ups of this
/// thread, writes to the journal and wake-ups of the client.
const SPACING: Duration = Duration::from_micros(250);

/// For so many commands there is room all the time.
const TOLD: usize = 64;

/// How long files are opened and checked before open files get their turn.
const SLICE: Duration = Duration::from_millis(10);

/// At the start all files are opened before the first one is read, for this long at most. An open file cannot be lost to a
/// rotation. And what is kept for each log is not mixed with what only the lines in flight need, so the memory of those can go
/// back to the system.
const OPENING: Duration = Duration::from_secs(2);

/// Stopping no longer waits if there was no progress for this long: Loki is down.
const PATIENCE: Duration = Duration::from_secs(3);

/// The same for a handover, where unanswered entries are read again by the next scrape. Nothing is read meanwhile.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(1);

/// The parts of a reader.
pub(super) struct Parts {
    pub clock: Clock,
    pub index: usize,
    pub config: Config,
    pub jobs: Arc<[Job]>,
    pub outlet: Outlet,
    pub positions: Arc<Positions>,
    pub commands: Arc<Commands>,
    pub target_manager: Arc<Events>,
    pub metrics: Metrics,
    pub dropped: Dropped,
    pub custom: Option<CustomMetrics>,
    /// None: another reader shows the same lines.
    pub live_tail: Option<Arc<LiveTail>>,
    pub status: Arc<Status>,
    /// The logs handed over by the previous scrape.
    pub open_logs: LogsByPath,
    pub quiet: QuietFiles,
}

pub(super) struct Reader {
    clock: Clock,
    index: usize,
    config: Config,
    jobs: Arc<[Job]>,
    client: Arc<str>,
    batches: tokio::sync::mpsc::UnboundedSender<Vec<crate::batch::Batch>>,
    positions: Arc<Positions>,
    commands: Arc<Commands>,
    target_manager: Arc<Events>,
    status: Arc<Status>,
    sink: Sink,
    /// Commands that were taken and not executed yet.
    told: VecDeque<Command>,
    tailers: BTreeMap<u64, Box<Tailer>>,
    /// Logs that have more to read in the next turn.
    again: Vec<u64>,
    /// Commits that are not saved yet.
    commits: Vec<Commit>,
    /// System calls that have not returned, by log.
    hanging: BTreeMap<u64, Hanging>,
    /// Logs to check when a system call on their device returns.
    held_back: BTreeSet<u64>,
    /// As of the last system call that did not return.
    mounts: Mounts,
    /// When each log is due. Entries that differ from the tailer's own time are outdated.
    schedule: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Logs whose source wakes the reader.
    ringing: BTreeSet<u64>,
    /// Logs with uncommitted bytes.
    unsettled: BTreeSet<u64>,
    /// Logs that wait for room.
    blocked: BTreeSet<u64>,
    /// How many logs waited for room when there was some last.
    waited: usize,
    /// The fewest bytes that one of them had got.
    served: u64,
    /// Logs that were read to their end and wait for the last answers.
    ending: BTreeMap<u64, Box<Tailer>>,
    /// Files that could not be opened and will be tried again.
    waiting: BTreeMap<u64, Waiting>,
    /// Logs to open or check when there is time.
    queue: Queue,
    /// Logs in the queue that must be checked.
    looks: BTreeSet<u64>,
    quiet: QuietFiles,
    inodes: Inodes,
    /// By job.
    folders: Vec<Arc<Folders>>,
    started: Instant,
    stop: Option<Stop>,
    /// Bytes of deleted files that are kept open to be read, by log.
    pinned: BTreeMap<u64, u64>,
    /// The number of older files that are open, by log.
    older: BTreeMap<u64, usize>,
    positions_fail: bool,
    budget: Budget,
    /// Logs from the previous scrape that no target has claimed yet.
    open_logs: LogsByPath,
    /// The number of the next log without an assignment.
    next_unassigned: u64,
    /// All initial logs have been assigned.
    is_settled: bool,
    /// By job: how many new logs begin at their end, and the bytes before that. Not logged yet.
    not_read: BTreeMap<usize, (usize, u64)>,
}

struct Stop {
    deadline: Instant,
    progress: Instant,
    /// Read everything available first.
    reads_on: bool,
}

impl Reader {
    pub fn new(parts: Parts) -> Self {
        let Parts { clock, index, config, jobs, outlet, positions, commands, target_manager, .. } = parts;
        let Parts { metrics, dropped, custom, live_tail, status, open_logs, quiet, .. } = parts;
        let pipelines = Pipelines::new(&jobs, |program, unwraps| match unwraps {
            true => program.start_unwrapping(dropped.clone(), custom.clone(), clock.clone()),
            false => program.start(dropped.clone(), custom.clone(), clock.clone()),
        });
        let output = match config.dry_run {
            true => Output::Print(Printer::new(outlet.batch.external_labels.clone())),
            false => Output::Batches(Box::new(Batcher::new(outlet.batch, clock.clone()))),
        };
        let ran_until = positions.ran_until();
        let folders = || Arc::new(Folders::new(config.rotated_dirs.clone(), clock.clone(), ran_until));
        let sink = Sink {
            clock: clock.clone(),
            chunk: Chunk::default(),
            pipelines,
            output,
            rate: config.rate.map(|rate| Limiter::new(rate, clock.clone())),
            dropped,
            counters: outlet.counters,
            metrics,
            times: Times::default(),
            live_tail: live_tail.unwrap_or_default(),
        };
        Self {
            folders: jobs.iter().map(|_| folders()).collect(),
            started: clock.now(),
            budget: Budget::new(clock.now()),
            clock,
            index,
            config,
            jobs,
            client: outlet.client,
            batches: outlet.batches,
            positions,
            commands,
            target_manager,
            status,
            sink,
            told: VecDeque::new(),
            tailers: BTreeMap::new(),
            again: Vec::new(),
            commits: Vec::new(),
            hanging: BTreeMap::new(),
            held_back: BTreeSet::new(),
            mounts: Mounts::default(),
            schedule: BinaryHeap::new(),
            ringing: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            blocked: BTreeSet::new(),
            waited: 0,
            served: 0,
            ending: BTreeMap::new(),
            waiting: BTreeMap::new(),
            queue: Queue::default(),
            looks: BTreeSet::new(),
            quiet,
            inodes: Inodes::default(),
            stop: None,
            pinned: BTreeMap::new(),
            older: BTreeMap::new(),
            positions_fail: false,
            open_logs,
            next_unassigned: UNASSIGNED,
            is_settled: false,
            not_read: BTreeMap::new(),
        }
    }
}

impl Duty for Reader {
    type Outcome = ReaderLogs;

    const NAME: &'static str = "reader";

    /// Reads until it is told to stop. Returns the logs for the next scrape.
    fn work(held: &mut Held<'_, Self>) -> Option<ReaderLogs> {
        loop {
            let begun = held.clock.now();
            let due = held.turn();
            if !held.is_current() {
                return None;
            }
            let Some(due) = due else {
                break;
            };
            let wait = due.saturating_duration_since(held.clock.now());
            if wait.is_zero() {
                if held.commands.parker.take_ring() {
                    held.listen();
                }
            } else {
                let (commands, clock) = (held.commands.clone(), held.clock.clone());
                held.wait(|| {
                    commands.parker.wait(wait);
                    let early = (begun + SPACING).saturating_duration_since(clock.now());
                    if !early.is_zero() {
                        std::thread::sleep(early);
                    }
                });
                held.listen();
            }
        }
        held.finish()
    }

    fn hangs(&mut self, log: u64) -> bool {
        self.note_hanging(log)
    }

    fn returned(&mut self, log: u64) {
        self.note_returned(log);
    }

    fn wake(&self) {
        self.commands.parker.ring();
    }
}

impl Held<'_, Reader> {
    /// Does everything that is due, and returns when the next turn is due. None: it was told to stop and has finished.
    pub fn turn(&mut self) -> Option<Instant> {
        let now = self.clock.now();
        let told = self.commands.take();
        self.told.extend(told);
        while self.is_current()
            && let Some(command) = self.told.pop_front()
        {
            self.obey(command, now);
        }
        if self.told.is_empty() {
            self.told.shrink_to(TOLD);
        }
        let until = now + SLICE;
        let reads = self.stop.as_ref().is_none_or(|stop| stop.reads_on);
        if reads {
            self.work_off(now, until);
        }
        self.commit(now);
        self.unblock();
        if reads {
            self.open_waiting(now);
            self.work_off(now, until);
            let is_opening = !self.queue.is_empty() && self.stop.is_none() && now < self.started + OPENING;
            if !is_opening {
                self.read_due(now);
            }
        }
        let reader = &mut **self;
        let unread = || reader.tailers.values().filter(|t| t.has_unread()).map(|t| (t.id(), t.pipeline())).collect();
        reader.sink.release_due(now, unread);
        self.remember();
        self.send_due(now);
        self.say_hanging(now);
        (!self.is_done(now)).then(|| self.next_due(now))
    }

    /// Saves the last commits, and returns the open logs. None: another thread has taken over.
    pub fn finish(&mut self) -> Option<ReaderLogs> {
        let logs: Vec<u64> = self.tailers.keys().copied().collect();
        logs.into_iter().for_each(|log| self.note_unread(log));
        self.commit(self.clock.now());
        if !self.is_current() {
            return None;
        }
        let hands_over = self.stop.as_ref().is_some_and(|stop| !stop.reads_on);
        let (mut again, mut lost) = (0, 0);
        for tailer in self.tailers.values().chain(self.ending.values()) {
            let left = tailer.ledger().in_flight();
            *if tailer.goes_on() { &mut again } else { &mut lost } += left;
        }
        let client = &self.client;
        if hands_over {
            tracing::debug!(%client, bytes = again, "entries without an answer of Loki are sent again by the next run");
        } else if again > 0 {
            tracing::warn!(%client, bytes = again, "the agent stopped before Loki answered: these bytes are sent again at the next start");
        }
        // These bytes cannot be read again.
        if lost > 0 && !hands_over {
            tracing::error!(%client, bytes = lost, "the agent stopped before Loki answered, and these bytes cannot be read again: they are lost unless Loki stored them");
        }
        let has_looked = self.is_settled && !self.waiting.values().any(|waiting| waiting.is_new);
        let logs = if hands_over { self.leave() } else { Vec::new() };
        self.target_manager.send(Event::Stopped { reader: self.index });
        // A thread whose system call hangs may keep this state for long. The client ends with its last sender.
        self.batches = tokio::sync::mpsc::unbounded_channel().0;
        // Its files are closed with it: on a mount that hangs, this may not return.
        Some(ReaderLogs { logs, has_looked })
    }
}

impl Reader {
    fn tailer_mut(&mut self, log: u64) -> Option<&mut Tailer> {
        self.tailers.get_mut(&log).or(self.ending.get_mut(&log)).map(Box::as_mut)
    }

    fn send_due(&mut self, now: Instant) {
        let flush = self.stop.is_some();
        let Output::Batches(batcher) = &mut self.sink.output else {
            return;
        };
        let ready: Vec<_> = std::iter::from_fn(|| batcher.next(now, flush)).collect();
        if !ready.is_empty() {
            // The receiver is gone. The acks stay open, so the entries will be read and sent again.
            let _ = self.batches.send(ready);
        }
    }

    fn is_done(&self, now: Instant) -> bool {
        let Some(stop) = &self.stop else {
            return false;
        };
        let is_read = |t: &Tailer| t.schedule.is_drained || t.input.is_lent();
        let all_read = || self.queue.is_empty() && self.tailers.values().all(|t| is_read(t));
        let read = !stop.reads_on || all_read();
        let patience = if stop.reads_on { PATIENCE } else { HANDOVER_PATIENCE };
        let sent = match &self.sink.output {
            Output::Batches(batcher) => !batcher.has_on_its_way(),
            Output::Print(_) => true,
        };
        (read && sent) || now >= stop.deadline || now >= stop.progress + patience
    }
}
