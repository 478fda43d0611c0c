//! One open log: reads a chunk, runs its records through the stages, and passes the entries on.

mod chunk;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::input::Input;
use super::metrics::LINE_TOO_LONG;
use super::open_logs::OpenLog;
use super::pipelines::PipelineId;
use super::schedule::Schedule;
use super::sink::{Output, Sink, accept};
use super::times::SavedReadTimes;
use crate::batch::Flow;
use crate::model::{Checkpoint, LabelSet, Ledger, Mark, Position, Read, Reason, Source, Target, Weight};
use crate::positions::PositionId;
use crate::stages::Due;

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
    pub target: Arc<Target>,
    /// The target's labels and `filename`.
    pub labels: LabelSet,
    pub schedule: Schedule,
    pub trouble: Problems,
    flow: Flow,
    last_time: i64,
    remembered: SavedReadTimes,
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
        let tailer = Self {
            id,
            path,
            ledger: Ledger::starting_at(from),
            slot,
            pipeline,
            input,
            target,
            chance: labels.stable_hash(),
            labels,
            schedule,
            trouble: Problems::default(),
            flow: Flow::new(now),
            last_time: remembered.over().max(last_time),
            remembered,
        };
        let committed = saved.map_or(0, |position| position.offset);
        tailer.ledger.update_progress(|progress| progress.committed_offset = committed);
        tailer.note_progress();
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

    pub fn turn(&mut self, sink: &mut Sink, now: Instant) -> std::io::Result<Turn> {
        if self.target.is_held {
            return Ok(if self.schedule.is_over_held(now) { Turn::Finished } else { Turn::Idle });
        }
        // Lines can be read again only if their offsets are exact, and should be only if they have no saved read times.
        let exact = self.input.is_exact() && self.remembered.is_empty();
        let Some(grant) = sink.output.grant(&mut self.flow, self.ledger.exposed(), exact, now) else {
            self.note_written(sink, now);
            return Ok(Turn::Blocked);
        };
        let busy = sink.pipelines.get(self.pipeline).busy_until().is_some_and(|until| now < until);
        if busy || sink.rate.as_ref().is_some_and(|r| r.must_wait()) {
            return Ok(Turn::Blocked);
        }
        match self.input.read(grant.bytes, now, &mut sink.chunk)? {
            Read::Records { more } => {
                self.schedule.last_lines = now;
                let read = sink.chunk.len;
                let worked = self.work_on_chunk(sink, grant.stops(), now);
                let more = more || worked < read;
                if worked < read {
                    self.input.rewind(sink.chunk.start.after(worked as u64));
                }
                if let Output::Batches(batcher) = &mut sink.output {
                    batcher.settle(&mut self.flow, grant, read, worked, now);
                }
                if !more {
                    self.note_written(sink, now);
                }
                Ok(if more { Turn::More } else { Turn::Lines })
            }
            Read::Skipped { bytes, end } => {
                self.skipped(sink, bytes, end);
                Ok(Turn::More)
            }
            Read::Passed => Ok(Turn::More),
            Read::Idle if self.schedule.is_over(now) => Ok(Turn::Finished),
            Read::Idle => Ok(Turn::Idle),
            Read::Finished => Ok(Turn::Finished),
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

    /// The checkpoint to save and the number of committed slots, if answers came since the last call. Otherwise None.
    pub fn take_commit(&mut self) -> Option<(Option<Checkpoint>, u64)> {
        let (mark, slots) = self.ledger.take_commit()?;
        let checkpoint = self.input.committed(mark);
        let offset = match &checkpoint {
            Some(Checkpoint::File { position, .. }) => position.offset,
            _ => mark.0,
        };
        self.ledger.update_progress(|progress| progress.committed_offset = offset);
        Some((checkpoint, slots))
    }

    /// Reports how much was written to the log, so that the windows of its streams fit the rate.
    fn note_written(&mut self, sink: &mut Sink, now: Instant) {
        if !self.flow.is_rate_due(now) {
            return;
        }
        self.note_progress();
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
        let Sink { pipelines, output, rate, dropped, counters, times, .. } = sink;
        let flow = &mut self.flow;
        pipelines.get(self.pipeline).release(Due::Log(self.id), &mut |entry| {
            times.note(entry);
            accept(entry, Some(flow), output, rate, dropped, counters, now);
        });
    }

    /// Whether there are known unread lines: in a newer file, or because it waits for answers.
    pub fn has_unread(&self) -> bool {
        self.schedule.is_blocked || self.input.log().is_some_and(|log| log.goes_on())
    }

    /// Whether its file has no name any more.
    pub fn is_deleted(&self) -> bool {
        self.input.log().is_some_and(|log| log.is_deleted())
    }

    /// Updates the progress in its ledger, for display.
    pub fn note_progress(&self) {
        self.ledger.update_progress(|progress| self.input.note_progress(progress));
    }
}
