//! The thread that reads all logs for one client, and hands their batches to it.
//!
//! It never waits for one log: whoever has nothing, or waits for answers, is passed over. It sleeps until a file is to be
//! looked at again, a batch comes of age, or its bell rings.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::bell::Bell;
use super::metrics::Metrics;
use super::print::Printer;
use super::scout::Event;
use super::status::{File, Status};
use super::stdin::Pipe;
use super::tailer::{CHUNK, Desk, Exit, Limiter, Source, Tailer, Turn};
use super::{Config, Job, Outlet};
use crate::batch::Batcher;
use crate::metrics::Dropped;
use crate::model::{LabelSet, Ledger, Position, Target};
use crate::positions::{Commit, Key, Positions, Saved, Slot};
use crate::stages::{CustomMetrics, Program};
use crate::tail::{Log, Look, Resume};

/// Files are looked at on these beats, so that many of them share a wake-up.
const BEAT: Duration = Duration::from_millis(50);

/// When nothing has come any further for so long, stopping waits no more: Loki is away.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the scout tells a reader.
#[derive(Debug)]
pub(super) enum Command {
    Add(Assignment),
    /// Lines from standard input.
    Stdin(u64, Pipe, Arc<Target>),
    /// Its target has other labels from now on.
    Relabel(u64, Arc<Target>),
    /// Its target is gone: the file decides when it is done.
    Retire(u64),
    /// Something happened to its name.
    Look(u64),
    Stop(Duration),
}

/// A log to read.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub log: u64,
    pub path: PathBuf,
    pub target: Arc<Target>,
    pub job: usize,
    /// Its older generations match the glob as well, and are read first when nothing is known of it.
    pub from_oldest: bool,
}

/// Where commands wait until the reader comes to them.
#[derive(Debug)]
pub(super) struct Mailbox {
    commands: Mutex<Vec<Command>>,
    pub bell: Arc<Bell>,
}

impl Mailbox {
    pub fn new(bell: Arc<Bell>) -> Self {
        Self { commands: Mutex::default(), bell }
    }

    pub fn send(&self, command: Command) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push(command);
        self.bell.ring();
    }

    fn take(&self) -> Vec<Command> {
        std::mem::take(&mut self.commands.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a reader is made of.
pub(super) struct Parts {
    pub index: usize,
    pub config: Config,
    pub jobs: Arc<[Job]>,
    pub outlet: Outlet,
    pub positions: Arc<Positions>,
    pub mailbox: Arc<Mailbox>,
    pub scout: Sender<Event>,
    pub metrics: Metrics,
    pub dropped: Dropped,
    pub custom: Option<CustomMetrics>,
    pub status: Arc<Status>,
}

pub(super) struct Reader {
    index: usize,
    config: Config,
    jobs: Arc<[Job]>,
    client: Arc<str>,
    batches: tokio::sync::mpsc::UnboundedSender<crate::batch::Batch>,
    positions: Arc<Positions>,
    mailbox: Arc<Mailbox>,
    scout: Sender<Event>,
    status: Arc<Status>,
    desk: Desk,
    tailers: BTreeMap<u64, Tailer>,
    /// When each is to be looked at; entries that its tailer does not agree with are outdated.
    schedule: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Those that have something on its way.
    unsettled: BTreeSet<u64>,
    blocked: BTreeSet<u64>,
    /// Read to their end, waiting for the last answers.
    ending: BTreeMap<u64, Tailer>,
    /// Files that could not be opened, to be tried again.
    waiting: BTreeMap<u64, (Assignment, Instant)>,
    started: Instant,
    stop: Option<Stop>,
    positions_fail: bool,
}

struct Stop {
    deadline: Instant,
    progress: Instant,
}

impl Reader {
    pub fn new(parts: Parts) -> Self {
        let Parts { index, config, jobs, outlet, positions, mailbox, scout, metrics, dropped, custom, status } = parts;
        let program = |p: &Program| p.start(dropped.clone(), custom.clone());
        let nothing = Program::nothing();
        let wrapped = Program::container_format();
        let pipelines = jobs.iter().flat_map(|job| match &job.program {
            Some(own) => [program(own), program(&nothing)],
            None => [program(&nothing), program(&wrapped)],
        });
        let exit = match config.dry_run {
            true => Exit::Print(Printer::new(outlet.batch.external_labels.clone())),
            false => Exit::Batches(Batcher::new(outlet.batch)),
        };
        let desk = Desk {
            buffer: Vec::new(),
            window: config.replay_window,
            pipelines: pipelines.collect(),
            exit,
            rate: config.rate.and_then(Limiter::new),
            dropped,
            books: outlet.books,
            metrics,
        };
        Self {
            index,
            config,
            jobs,
            client: outlet.client,
            batches: outlet.batches,
            positions,
            mailbox,
            scout,
            status,
            desk,
            tailers: BTreeMap::new(),
            schedule: BinaryHeap::new(),
            unsettled: BTreeSet::new(),
            blocked: BTreeSet::new(),
            ending: BTreeMap::new(),
            waiting: BTreeMap::new(),
            started: Instant::now(),
            stop: None,
            positions_fail: false,
        }
    }

    pub fn run(mut self) {
        loop {
            let now = Instant::now();
            for command in self.mailbox.take() {
                self.obey(command, now);
            }
            self.commit(now);
            self.unblock(now);
            self.open_waiting(now);
            self.read_due(now);
            self.desk.release_due(now);
            self.send_due(now);
            if self.is_done(now) {
                return self.finish();
            }
            let wait = self.next_due(now).saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                self.mailbox.bell.wait(wait);
                self.listen();
            }
        }
    }

    fn obey(&mut self, command: Command, now: Instant) {
        match command {
            Command::Add(assignment) => self.add(assignment, now),
            Command::Stdin(log, pipe, target) => {
                let labels = target.labels.clone();
                self.begin(log, "stdin".into(), Source::Stdin(pipe), None, target, labels, 0, now);
            }
            Command::Relabel(log, target) => {
                if let Some((assignment, _)) = self.waiting.get_mut(&log) {
                    assignment.target = target.clone();
                }
                if let Some(tailer) = self.tailers.get_mut(&log) {
                    // What the stages hold of it belongs to the old labels.
                    tailer.end(&mut self.desk, now);
                    tailer.labels = with_filename(&target, &tailer.path);
                    tailer.target = target;
                    tailer.retired = None;
                    self.status.set_file(self.index, log, file(tailer, &self.client));
                }
            }
            Command::Retire(log) => {
                if self.waiting.remove(&log).is_some() {
                    self.gone(log);
                }
                if let Some(tailer) = self.tailers.get_mut(&log) {
                    tailer.retired = Some(now);
                }
            }
            Command::Look(log) => {
                if let Some(tailer) = self.tailers.get_mut(&log) {
                    look(tailer, &self.desk.metrics, now);
                    self.at(log, now);
                }
            }
            Command::Stop(within) => {
                self.stop = Some(Stop { deadline: now + within, progress: now });
                // One more look at every file: what was written before the signal goes along.
                let logs: Vec<u64> = self.tailers.keys().copied().collect();
                for log in logs {
                    self.at(log, now);
                }
            }
        }
    }

    fn add(&mut self, assignment: Assignment, now: Instant) {
        let job = &self.jobs[assignment.job];
        let target = assignment.target.clone();
        let key = Key {
            client: self.client.clone(),
            job: job.name.clone(),
            path: assignment.path.clone(),
            labels: target.labels.stable_hash(),
        };
        // Its place is taken while an earlier reading of it comes to its end.
        let Some((slot, saved)) = self.positions.claim(key) else {
            self.waiting.insert(assignment.log, (assignment, now + Duration::from_secs(1)));
            return;
        };
        let resume = match saved {
            None if assignment.from_oldest => Resume::Since(SystemTime::UNIX_EPOCH),
            None => Resume::Since(self.positions.unseen_since()),
            Some(Saved::At { position, saved }) => Resume::At { position, saved },
            Some(Saved::Offset(offset)) => Resume::Offset(offset),
        };
        let log = match Log::open(&assignment.path, resume, job.options) {
            Ok(log) => log,
            Err(error) => {
                self.positions.release(slot);
                return self.cannot_open(assignment, &error, now);
            }
        };
        if log.lost_position() {
            tracing::warn!(
                path = %assignment.path.display(),
                "the file that was read last is gone; what had not been read of it is lost"
            );
            self.desk.metrics.lost(0, "rotated_away");
        }
        let labels = with_filename(&target, &assignment.path);
        let pipeline = assignment.job * 2 + usize::from(target.defaulted && job.program.is_none());
        let saved = match saved {
            Some(Saved::At { position, .. }) => Some(position),
            _ => None,
        };
        let source = Source::File(Box::new(log));
        self.waiting.remove(&assignment.log);
        self.begin(assignment.log, assignment.path, source, Some((slot, saved)), target, labels, pipeline, now);
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a tailer, which is made in this one place")]
    fn begin(
        &mut self,
        log: u64,
        path: PathBuf,
        source: Source,
        place: Option<(Slot, Option<Position>)>,
        target: Arc<Target>,
        labels: LabelSet,
        pipeline: usize,
        now: Instant,
    ) {
        let tailer = Tailer {
            id: log,
            path,
            source,
            ledger: Ledger::new(place.and_then(|(_, saved)| saved)),
            slot: place.map(|(slot, _)| slot),
            target,
            labels,
            pipeline,
            due: now,
            interval: self.config.min_poll,
            blocked: false,
            drained: false,
            error: None,
            retired: None,
            last_lines: now,
            lanes: Vec::new(),
            look_error: None,
            last_time: 0,
        };
        tailer.note_progress();
        self.status.set_file(self.index, log, file(&tailer, &self.client));
        self.tailers.insert(log, tailer);
        self.schedule.push(Reverse((now, log)));
    }

    fn cannot_open(&mut self, assignment: Assignment, error: &std::io::Error, now: Instant) {
        let known = self.waiting.contains_key(&assignment.log);
        if error.kind() == std::io::ErrorKind::NotFound {
            // Renamed or deleted since it was found; if it comes again it is found again.
            self.waiting.remove(&assignment.log);
            return self.gone(assignment.log);
        }
        if !known {
            self.desk.metrics.read_error();
            tracing::warn!(path = %assignment.path.display(), %error, "cannot open a log file; trying again");
            let waiting = File {
                path: assignment.path.clone(),
                client: self.client.clone(),
                target: assignment.target.clone(),
                ledger: Ledger::new(None),
                error: Some(error.to_string()),
            };
            self.status.set_file(self.index, assignment.log, waiting);
        }
        self.waiting.insert(assignment.log, (assignment, now + self.config.sync_period));
    }

    fn open_waiting(&mut self, now: Instant) {
        let due: Vec<u64> = self.waiting.iter().filter(|(_, (_, at))| *at <= now).map(|(log, _)| *log).collect();
        for log in due {
            if let Some((assignment, _)) = self.waiting.get(&log) {
                self.add(assignment.clone(), now);
            }
        }
    }

    fn read_due(&mut self, now: Instant) {
        let mut again = Vec::new();
        while let Some(Reverse((at, log))) = self.schedule.peek().copied() {
            if at > now {
                break;
            }
            self.schedule.pop();
            let Some(tailer) = self.tailers.get_mut(&log).filter(|t| t.due == at && !t.blocked) else {
                continue;
            };
            let turn = match tailer.turn(&mut self.desk, now) {
                Ok(turn) => {
                    if tailer.error.take().is_some() {
                        tracing::info!(path = %tailer.path.display(), "reading again");
                        self.status.set_error(self.index, log, None);
                    }
                    turn
                }
                Err(error) => {
                    self.desk.metrics.read_error();
                    let text = error.to_string();
                    if tailer.error.as_ref() != Some(&text) {
                        tracing::warn!(path = %tailer.path.display(), %error, "cannot read a log file; trying again");
                        self.status.set_error(self.index, log, Some(text.clone()));
                        tailer.error = Some(text);
                    }
                    Turn::Idle
                }
            };
            match turn {
                Turn::More => {
                    self.unsettled.insert(log);
                    tailer.interval = self.config.min_poll;
                    tailer.due = now;
                    again.push(log);
                }
                Turn::Lines => {
                    self.unsettled.insert(log);
                    tailer.note_progress();
                    tailer.interval = self.config.min_poll;
                    self.rest(log, now);
                }
                Turn::Idle => {
                    if tailer.interval == self.config.min_poll {
                        tailer.note_progress();
                    }
                    tailer.interval = self.config.pause(tailer.interval, now - tailer.last_lines);
                    self.rest(log, now);
                }
                Turn::Blocked => {
                    tailer.blocked = true;
                    self.blocked.insert(log);
                }
                Turn::Finished => self.end(log, now),
            }
        }
        for log in again {
            self.schedule.push(Reverse((now, log)));
        }
        if self.desk.buffer.len() > CHUNK {
            self.desk.buffer = Vec::new();
        }
    }

    /// Nothing more will come of this log; its last lines are on their way.
    fn end(&mut self, log: u64, now: Instant) {
        if let Some(mut tailer) = self.tailers.remove(&log) {
            tailer.end(&mut self.desk, now);
            self.ending.insert(log, tailer);
            self.settle_endings();
        }
    }

    fn settle_endings(&mut self) {
        let settled: Vec<u64> =
            self.ending.iter().filter(|(_, t)| t.ledger.is_settled()).map(|(log, _)| *log).collect();
        for log in settled {
            let tailer = self.ending.remove(&log).expect("it was just seen");
            if let Some(slot) = tailer.slot {
                if tailer.is_deleted() {
                    // It speaks of a file that is no more, read to its end: one that takes its name begins anew.
                    let done = Commit { slot, position: Position::default(), live: false };
                    self.write(|positions| positions.commit(&[done], SystemTime::now()));
                }
                self.positions.release(slot);
            }
            self.unsettled.remove(&log);
            self.gone(log);
        }
    }

    fn gone(&mut self, log: u64) {
        self.status.remove_file(self.index, log);
        let _ = self.scout.send(Event::Finished { reader: self.index, log });
    }

    /// Writes down how far answers have come, before anything more is sent.
    fn commit(&mut self, now: Instant) {
        let mut commits = Vec::new();
        let tailers = (&self.tailers, &self.ending);
        self.unsettled.retain(|log| {
            let Some(tailer) = tailers.0.get(log).or(tailers.1.get(log)) else {
                return false;
            };
            // First the question, then the commit: what settles in between is seen next time.
            let settled = tailer.ledger.is_settled();
            if let (Some(position), Some(slot), Source::File(file)) =
                (tailer.ledger.take_commit(), tailer.slot, &tailer.source)
            {
                commits.push(Commit { slot, position, live: file.is_live(&position) });
            }
            !settled
        });
        if !commits.is_empty() {
            if let Some(stop) = &mut self.stop {
                stop.progress = now;
            }
            self.write(|positions| positions.commit(&commits, SystemTime::now()));
        }
        self.settle_endings();
    }

    fn write(&mut self, write: impl FnOnce(&Positions) -> std::io::Result<()>) {
        match write(&self.positions) {
            Ok(()) if self.positions_fail => {
                self.positions_fail = false;
                tracing::info!(file = %self.positions.filename().display(), "positions are written again");
            }
            Ok(()) => {}
            Err(error) => {
                self.desk.metrics.positions_error();
                if !std::mem::replace(&mut self.positions_fail, true) {
                    tracing::error!(
                        file = %self.positions.filename().display(),
                        %error,
                        "cannot write positions: after a restart lines since now will be sent again; \
                         make the directory writable"
                    );
                }
            }
        }
    }

    fn unblock(&mut self, now: Instant) {
        for log in std::mem::take(&mut self.blocked) {
            if let Some(tailer) = self.tailers.get_mut(&log) {
                tailer.blocked = false;
                self.at(log, now);
            }
        }
    }

    /// Standard input rings; files do not.
    fn listen(&mut self) {
        if self.config.stdin.is_some() {
            let logs: Vec<u64> = self.tailers.keys().copied().collect();
            logs.into_iter().for_each(|log| self.at(log, Instant::now()));
        }
    }

    fn send_due(&mut self, now: Instant) {
        let flush = self.stop.is_some();
        let Exit::Batches(batcher) = &mut self.desk.exit else {
            return;
        };
        while let Some(batch) = batcher.next(now, flush) {
            // Whoever was to take it is gone: silence, it will be read and sent again.
            let _ = self.batches.send(batch);
        }
    }

    /// Until its next turn; for one that was read to its end there is none once the agent is to stop.
    fn rest(&mut self, log: u64, now: Instant) {
        let Some(tailer) = self.tailers.get_mut(&log) else {
            return;
        };
        tailer.drained = self.stop.is_some();
        if !tailer.drained {
            let due = beat(self.started, now + tailer.interval);
            self.at(log, due);
        }
    }

    fn at(&mut self, log: u64, at: Instant) {
        if let Some(tailer) = self.tailers.get_mut(&log) {
            tailer.due = at;
            self.schedule.push(Reverse((at, log)));
        }
    }

    fn next_due(&self, now: Instant) -> Instant {
        let mut due = now + Duration::from_secs(1);
        let scheduled = self.schedule.peek().map(|Reverse((at, _))| *at);
        // A pause for the rate limit is over when time has passed, not when somebody rings.
        let paused = (!self.blocked.is_empty() && self.config.rate.is_some()).then(|| now + BEAT);
        for at in [scheduled, self.desk.next_due(), paused].into_iter().flatten() {
            due = due.min(at);
        }
        due
    }

    fn is_done(&self, now: Instant) -> bool {
        let Some(stop) = &self.stop else {
            return false;
        };
        let read = self.tailers.values().all(|t| t.drained);
        let sent = match &self.desk.exit {
            Exit::Batches(batcher) => batcher.is_empty() && batcher.outstanding() == 0,
            Exit::Print(_) => true,
        };
        (read && sent) || now >= stop.deadline || now >= stop.progress + PATIENCE
    }

    fn finish(mut self) {
        self.commit(Instant::now());
        let left: u64 = self.tailers.values().chain(self.ending.values()).map(|t| t.ledger.in_flight()).sum();
        if left > 0 {
            tracing::warn!(client = %self.client, bytes = left, "stopped before Loki had answered; these will be sent again");
        }
        let _ = self.scout.send(Event::Stopped { reader: self.index });
    }
}

/// The beat at or after `at`.
fn beat(started: Instant, at: Instant) -> Instant {
    let beats = at.saturating_duration_since(started).as_millis().div_ceil(BEAT.as_millis());
    started + BEAT * beats as u32
}

fn look(tailer: &mut Tailer, metrics: &Metrics, now: Instant) {
    let Source::File(log) = &mut tailer.source else {
        return;
    };
    match log.look(now) {
        Ok(Look::Same | Look::Gone) => {}
        Ok(Look::Rotated(generations)) => {
            tracing::debug!(path = %tailer.path.display(), generations, "rotated");
        }
        Ok(Look::Truncated) => tracing::info!(path = %tailer.path.display(), "truncated; reading from its start"),
        Err(error) => {
            metrics.read_error();
            let text = error.to_string();
            if tailer.look_error.as_ref() != Some(&text) {
                tracing::warn!(path = %tailer.path.display(), error = text, "cannot open what a log was rotated to; trying again");
                tailer.look_error = Some(text);
            }
            return;
        }
    }
    tailer.look_error = None;
}

fn with_filename(target: &Target, path: &std::path::Path) -> LabelSet {
    target.labels.with("filename", &path.to_string_lossy())
}

fn file(tailer: &Tailer, client: &Arc<str>) -> File {
    File {
        path: tailer.path.clone(),
        client: client.clone(),
        target: tailer.target.clone(),
        ledger: tailer.ledger.clone(),
        error: tailer.error.clone(),
    }
}
