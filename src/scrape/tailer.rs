//! One open log: reads a chunk, runs its records through the stages, and passes the entries on.

mod chunk;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::input::Input;
use super::metrics::LINE_TOO_LONG;
use super::open_logs::OpenLog;
use super::pipelines::PipelineId;
use super::schedule::{Parting, Schedule};
use super::sink::{Output, Sink, accept};
use super::times::SavedReadTimes;
use crate::batch::{Flow, Grant};
use crate::model::{
    Checkpoint, LabelSet, Ledger, Mark, Position, Progress, Read, Reason, Side, Source, Target, Weight,
};
use crate::positions::PositionId;
use crate::stages::Due;
use crate::tail::Log;

#[derive(Debug)]
pub(super) struct Tailer {
    id: u64,
    /// The path of its file, or its name if it is not a file.
    path: Arc<Path>,
    ledger: Arc<Ledger>,
    slot: Option<PositionId>,
    /// The pipeline for its lines.
    pipeline: PipelineId,
    pub input: Input,
    /// The device of the file being read, and whether newer files have bytes: known while the input is lent.
    device: Option<u64>,
    has_newer: bool,
    pub target: Arc<Target>,
    /// The target's labels and `filename`.
    pub labels: LabelSet,
    pub schedule: Schedule,
    pub trouble: Problems,
    flow: Flow,
    last_time: i64,
    /// Device and inode of the file of the last chunk. At first those of the file of the saved position.
    reading: (u64, u64),
    /// Read times of an earlier run. None: there are none.
    remembered: Option<Box<SavedReadTimes>>,
    /// A hash of its name and labels. Seeds pseudo-random decisions, together with file and offset.
    chance: u64,
}

/// The parts of a tailer.
#[derive(Debug)]
pub(super) struct Parts {
    pub id: u64,
    pub path: Arc<Path>,
    pub input: Input,
    pub slot: Option<PositionId>,
    pub target: Arc<Target>,
    pub labels: LabelSet,
    pub pipeline: PipelineId,
    /// The position in its file where reading continues. None: there is none.
    pub saved: Option<Position>,
    /// The mark of the next byte to read. Everything before it is committed.
    pub from: Mark,
    /// Its lines get later times than this, in Unix nanoseconds.
    pub last_time: i64,
}

/// Errors that prevent reading this log or its next generation.
#[derive(Debug, Default)]
pub(super) struct Problems {
    pub reading: Option<String>,
    pub rotation: Option<String>,
}

impl Problems {
    pub fn text(&self) -> Option<String> {
        self.reading.clone().or_else(|| self.rotation.clone())
    }
}

/// The first step of a turn of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// Nothing is to be read now.
    Turn(Turn),
    /// It waits for answers, and how much was written to it is to be looked up meanwhile.
    LookUp,
    /// This much is to be read.
    Read(Grant),
}

/// The result of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There were lines, and there may be more.
    More,
    /// There were lines, and there are no more for now.
    Lines,
    Idle,
    /// Reading must wait for answers.
    Blocked,
    /// No more lines will come.
    Finished,
}

impl Tailer {
    pub fn new(parts: Parts, schedule: Schedule, remembered: SavedReadTimes, now: Instant) -> Self {
        let Parts { id, path, input, slot, target, labels, pipeline, saved, from, last_time } = parts;
        let outlives_run = input.outlives_run();
        let begins = saved.or_else(|| input.log().map(Log::position)).unwrap_or_default().file;
        let tailer = Self {
            id,
            path,
            ledger: Ledger::starting_at(from),
            slot,
            pipeline,
            input,
            device: None,
            has_newer: false,
            target,
            chance: labels.stable_hash(),
            labels,
            schedule,
            trouble: Problems::default(),
            flow: Flow::new(!outlives_run, now),
            last_time: remembered.over().max(last_time),
            reading: (begins.device, begins.inode),
            remembered: Some(remembered).filter(|times| !times.is_empty()).map(Box::new),
        };
        let committed = saved.map_or(0, |position| position.offset);
        tailer.ledger.update_progress(|progress| progress.committed_offset = committed);
        tailer
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    pub fn slot(&self) -> Option<PositionId> {
        self.slot
    }

    pub fn pipeline(&self) -> PipelineId {
        self.pipeline
    }

    /// Whether the next run continues where this one stopped.
    pub fn goes_on(&self) -> bool {
        self.slot.is_some()
    }

    /// Takes the input out for a system call. None: a system call on it has not returned.
    pub fn lend(&mut self) -> Option<Input> {
        if self.input.is_lent() {
            return None;
        }
        self.device = self.input.log().map(|log| log.position().file.device);
        Some(std::mem::replace(&mut self.input, Input::Lent))
    }

    pub fn take_back(&mut self, input: Input) {
        self.input = input;
    }

    /// The device of the file being read. None: unknown.
    pub fn device(&self) -> Option<u64> {
        self.device
    }

    /// The first part of a turn. A read follows, with the input lent, and then [`end_turn`](Self::end_turn).
    pub fn begin_turn(&mut self, sink: &mut Sink, now: Instant) -> Begin {
        if self.target.is_held {
            return Begin::Turn(if self.schedule.is_over_held(now) { Turn::Finished } else { Turn::Idle });
        }
        // Lines can be read again only if their offsets are exact, and should be only if they have no saved read times.
        let exact = self.input.is_exact() && self.remembered.as_ref().is_none_or(|times| times.is_empty());
        let exposed = self.input.exposed(self.ledger.exposed());
        let Some(grant) = sink.output.grant(&mut self.flow, exposed, exact, now) else {
            return if self.flow.is_rate_due(now) { Begin::LookUp } else { Begin::Turn(Turn::Blocked) };
        };
        let busy = sink.pipelines.get(self.pipeline).busy_until().is_some_and(|until| now < until);
        if busy || sink.rate.as_ref().is_some_and(|r| r.must_wait()) {
            return Begin::Turn(Turn::Blocked);
        }
        Begin::Read(grant)
    }

    /// Takes the read times of an earlier run out for a system call, if there are any left.
    pub fn take_remembered(&mut self) -> Option<Box<SavedReadTimes>> {
        self.remembered.take().filter(|times| !times.is_empty())
    }

    pub fn remember(&mut self, times: Option<Box<SavedReadTimes>>) {
        self.remembered = times;
    }

    /// Works on what was read under a grant.
    pub fn end_turn(&mut self, sink: &mut Sink, read: Read, grant: Grant, now: Instant) -> Turn {
        let written_since = self.schedule.read_at(now);
        match read {
            Read::Records { more } => {
                self.schedule.last_lines = now;
                if let Output::Batches(batcher) = &sink.output {
                    batcher.begin(&mut self.flow, written_since, now);
                }
                let read = sink.chunk.len;
                let worked = self.work_on_chunk(sink, grant.stops(), now);
                self.schedule.worked = worked as u64;
                let more = more || worked < read;
                if worked < read {
                    self.input.rewind(sink.chunk.start.after(worked as u64));
                }
                if let Output::Batches(batcher) = &mut sink.output {
                    batcher.settle(&mut self.flow, grant, read, worked, now);
                    let exposed = self.input.exposed(self.ledger.exposed());
                    batcher.note_exposed(&self.flow, usize::try_from(exposed).unwrap_or(usize::MAX), now);
                }
                if !more {
                    self.note_written(sink, now);
                }
                if more { Turn::More } else { Turn::Lines }
            }
            Read::Skipped { bytes, end } => {
                self.skipped(sink, bytes, end);
                Turn::More
            }
            Read::Passed => Turn::More,
            Read::Idle if self.schedule.is_over(now) => Turn::Finished,
            Read::Idle => Turn::Idle,
            Read::Finished => Turn::Finished,
        }
    }

    fn skipped(&mut self, sink: &mut Sink, bytes: u64, end: Mark) {
        tracing::warn!(path = %self.path.display(), bytes, "a line is too long to hold in memory: it is skipped and lost");
        sink.dropped.count(&Reason::LineTooLong);
        sink.metrics.lost(bytes, LINE_TOO_LONG);
        self.ledger.open(bytes, end).close_with(|account| {
            account.read += Weight::line(bytes as usize);
            account.discard(&Reason::LineTooLong, Weight::line(bytes as usize));
        });
    }

    /// The mark up to which answers have come and the number of committed slots, if any came since the last call and
    /// no system call on its input is under way. Otherwise None.
    pub fn take_commit(&mut self) -> Option<(Mark, u64)> {
        if self.input.is_lent() { None } else { self.ledger.take_commit() }
    }

    /// Whether [`take_commit`](Self::take_commit) may have something now.
    pub fn has_commit(&self) -> bool {
        !self.input.is_lent() && self.ledger.has_commit()
    }

    /// `now` is in Unix nanoseconds.
    pub fn show_committed(&mut self, mark: Mark, checkpoint: Option<&Checkpoint>, now: i64) {
        let offset = match checkpoint {
            Some(Checkpoint::File { position, .. }) => position.offset,
            _ => mark.0,
        };
        self.ledger.show_committed(offset, now);
    }

    /// Reports how much was written to the log, so that the windows of its streams fit the rate.
    pub fn note_written(&mut self, sink: &mut Sink, now: Instant) {
        if !self.flow.is_rate_due(now) {
            return;
        }
        if let Output::Batches(batcher) = &mut sink.output {
            let written = self.ledger.account().read.bytes + self.ledger.progress().unread;
            batcher.note_written(&mut self.flow, written, now);
        }
    }

    /// Rewinds the log to its committed mark for the next scrape. Also returns the bytes that were read and cannot be
    /// read again.
    pub fn leave(mut self, client: Arc<str>) -> (OpenLog, u64) {
        let committed = self.ledger.committed().unwrap_or_default();
        let lost = self.input.rewind(committed);
        let is_retired = self.schedule.retired.is_some();
        let Self { path, target, input, last_time, .. } = self;
        (OpenLog { client, path, target, input, committed, is_retired, last_time }, lost)
    }

    /// Releases everything that the stages hold of this log.
    pub fn end(&mut self, sink: &mut Sink, now: Instant) {
        self.release(Due::Log(self.id), sink, now);
    }

    fn release(&mut self, due: Due, sink: &mut Sink, now: Instant) {
        let Sink { pipelines, output, rate, dropped, counters, times, live_tail, .. } = sink;
        let is_viewed = live_tail.is_viewed();
        let flow = &mut self.flow;
        pipelines.get(self.pipeline).release(due, &mut |entry| {
            times.note(entry);
            if is_viewed {
                live_tail.show(Side::After, entry);
            }
            accept(entry, Some(flow), output, rate, dropped, counters, now);
        });
    }

    /// Whether nothing more is to be read of a log that was read to its end, because the agent ends. If it is quiet, the
    /// start of a line counts as a line, and the start of a block as a block: nobody may come after this agent.
    pub fn part(&mut self, sink: &mut Sink, now: Instant) -> bool {
        let rest = self.ledger.progress().unread;
        let is_complete = rest == 0 && self.ledger.is_settled();
        if is_complete || self.target.is_held || !self.input.log().is_some_and(Log::may_end_here) {
            return true;
        }
        // It may go on. Without its last line, a block may not be complete either.
        if rest > 0 && !self.input.log().is_some_and(Log::dies_with_agent) {
            return true;
        }
        match self.schedule.part(rest, now) {
            Parting::Wait => false,
            Parting::Over => true,
            Parting::Take => {
                // It is read next, and belongs to the block.
                if let Some(log) = self.input.log_mut() {
                    log.end_here();
                }
                false
            }
            Parting::Taken => {
                self.release(Due::Quiet(self.id), sink, now);
                true
            }
        }
    }

    /// Whether there are known unread lines: in a newer file, or because it waits for answers.
    pub fn has_unread(&self) -> bool {
        self.schedule.is_blocked || self.has_newer
    }

    /// Sets whether there are newer files to read.
    pub fn note_newer(&mut self, found: LookedUp) {
        self.has_newer = found.has_newer;
    }

    /// Sets what was found out about the input while it was lent.
    pub fn show(&mut self, found: LookedUp) {
        self.note_newer(found);
        if let Some(progress) = found.progress {
            self.ledger.update_progress(|known| known.found(progress));
        }
    }
}

/// The state of an input's files. Reading it may take long, so that is done while the input is lent.
#[derive(Clone, Copy, Debug)]
pub(super) struct LookedUp {
    has_newer: bool,
    /// For display. None: not asked for.
    progress: Option<Progress>,
}

impl LookedUp {
    pub fn of(input: &Input, with_progress: bool) -> Self {
        let progress = with_progress.then(|| {
            let mut progress = Progress::default();
            input.note_progress(&mut progress);
            progress
        });
        Self { has_newer: input.log().is_some_and(Log::goes_on), progress }
    }
}
