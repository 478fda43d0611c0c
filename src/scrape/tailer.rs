//! One log at work: read a chunk, split it, run its lines through the stages, hand them on.

use std::borrow::Cow;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::desk::{Desk, Exit, accept};
use super::rates::Inflow;
use super::stdin::Pipe;
use super::times::{Part, Remembered};
use crate::batch::{Batcher, StreamId};
use crate::model::{AckRef, ChunkAck, Entry, LabelSet, Ledger, Origin, Position, Reason, Target, Weight};
use crate::positions::{ReadTime, Slot};
use crate::stages::{Due, Work};
use crate::tail::{Encoding, Log, Read};

/// What is read at a time: larger saves nothing, smaller costs calls.
pub(super) const CHUNK: usize = 64 << 10;

/// What is read of a log to see which streams its lines go to, whose windows may be full.
const TASTE: usize = 4 << 10;

/// Streams that are remembered of a log though nothing of them is under way.
const REMEMBERED: usize = 4;

/// How long a file that discovery has let go of may be quiet before it is left alone, and how long it is read at most.
const FAREWELL: Duration = Duration::from_secs(30);
const LONGEST_FAREWELL: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Tailer {
    pub id: u64,
    pub path: PathBuf,
    pub source: Source,
    pub ledger: Arc<Ledger>,
    pub slot: Option<Slot>,
    pub target: Arc<Target>,
    /// The target's labels and `filename`.
    pub labels: LabelSet,
    /// Which of the reader's pipelines its lines take.
    pub pipeline: usize,
    pub due: Instant,
    pub interval: Duration,
    /// Waits for answers; polling it is no use.
    pub blocked: bool,
    /// Read to the end that it had when the agent was told to stop.
    pub drained: bool,
    pub error: Option<String>,
    pub look_error: Option<String>,
    /// Discovery has let go of it.
    pub retired: Option<Instant>,
    pub last_lines: Instant,
    /// Which streams its lines that are in flight are in, and the last ones that it had.
    pub streams: Vec<StreamId>,
    /// Some of it has been read: if it has no streams yet, that is no reason to read little.
    pub tasted: bool,
    pub inflow: Inflow,
    pub last_time: i64,
    pub remembered: Remembered,
    /// Of its name and labels: what chance is made of, together with which file and where in it.
    pub chance: u64,
}

#[derive(Debug)]
pub(super) enum Source {
    File(Box<Log>),
    Stdin(Pipe),
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Lines came, and there may be more.
    More,
    /// Lines came; that was all for now.
    Lines,
    Idle,
    /// Nothing can be read before answers come.
    Blocked,
    /// Nothing will come any more.
    Finished,
}

impl Tailer {
    pub fn turn(&mut self, desk: &mut Desk, now: Instant) -> std::io::Result<Turn> {
        let room = match self.room(desk, now) {
            Some(room) => room,
            None => {
                self.note_inflow(desk, now);
                return Ok(Turn::Blocked);
            }
        };
        let busy = desk.pipelines[self.pipeline].busy_until().is_some_and(|until| now < until);
        if busy || desk.rate.as_ref().is_some_and(|r| r.must_wait(now)) {
            return Ok(Turn::Blocked);
        }
        let limit = room.min(CHUNK);
        let read = match &mut self.source {
            Source::File(log) => log.read(&mut desk.buffer, limit, now)?,
            Source::Stdin(pipe) => pipe.read(&mut desk.buffer),
        };
        match read {
            Read::Lines { len, start, end, more } => {
                self.last_lines = now;
                self.lines(desk, len, start, end, now);
                if let Exit::Batches(batcher) = &mut desk.exit {
                    batcher.seal(&self.streams, now);
                }
                if !more {
                    self.note_inflow(desk, now);
                }
                Ok(if more { Turn::More } else { Turn::Lines })
            }
            Read::Skipped { bytes, end } => {
                tracing::warn!(path = %self.path.display(), bytes, "a line was too long to be held and is lost");
                desk.dropped.count(&Reason::LineTooLong);
                desk.metrics.lost(bytes, "line_too_long");
                self.ledger.open(bytes, end).close_with(|account| {
                    account.read += Weight::line(bytes as usize);
                    account.discard(&Reason::LineTooLong, Weight::line(bytes as usize));
                });
                Ok(Turn::More)
            }
            Read::Passed => Ok(Turn::More),
            Read::Idle if self.retired.is_some_and(|at| self.is_over(at, now)) => Ok(Turn::Finished),
            Read::Idle => Ok(Turn::Idle),
            Read::Finished => Ok(Turn::Finished),
        }
    }

    /// How much may be read now, if it is worth it: what all the streams that its lines go to have room for.
    fn room(&mut self, desk: &mut Desk, now: Instant) -> Option<usize> {
        let Exit::Batches(batcher) = &mut desk.exit else {
            return Some(CHUNK);
        };
        let were_known = !self.streams.is_empty();
        let (room, window, largest) = room_of(&mut self.streams, batcher, now);
        // Forgotten here, they may be others' meanwhile, and full.
        self.tasted &= !(were_known && self.streams.is_empty());
        // What one stream has delivered cannot be committed while another's is on its way before it: it would be sent
        // again just the same.
        let uncommitted = usize::try_from(self.ledger.exposed()).unwrap_or(usize::MAX);
        let room = room.min(largest.saturating_sub(uncommitted));
        if self.streams.is_empty() {
            let chunk = if self.tasted { CHUNK } else { TASTE };
            return (!batcher.has_no_room()).then_some(chunk.min(batcher.replay_window()));
        }
        if room < Batcher::worthwhile(window) {
            self.streams.iter().for_each(|stream| batcher.hurry(*stream));
            return None;
        }
        (!self.streams.iter().any(|stream| batcher.is_full(*stream))).then_some(room)
    }

    /// Measures how much is written to the log, so that its streams' windows can be what that needs.
    fn note_inflow(&mut self, desk: &mut Desk, now: Instant) {
        if !self.inflow.is_due(now) {
            return;
        }
        self.note_progress();
        let Exit::Batches(batcher) = &mut desk.exit else {
            return;
        };
        let written = self.ledger.account().read.bytes + self.ledger.progress().unread;
        let rate = self.inflow.measure(written, now);
        self.streams.iter().for_each(|stream| batcher.suit(*stream, rate));
    }

    fn is_over(&self, retired: Instant, now: Instant) -> bool {
        now >= retired.max(self.last_lines) + FAREWELL || now >= retired + LONGEST_FAREWELL
    }

    /// Lets the stages give back what they hold of this log.
    pub fn end(&mut self, desk: &mut Desk, now: Instant) {
        let Desk { pipelines, exit, rate, dropped, books, times, .. } = desk;
        let streams = &mut self.streams;
        pipelines[self.pipeline].release(Due::Log(self.id), &mut |entry| {
            times.note(entry);
            note(streams, accept(entry, exit, rate, dropped, books, now));
        });
    }

    /// Whether there are lines that it has not come to yet: in a younger file, or it waits for answers.
    pub fn has_unread(&self) -> bool {
        self.blocked || matches!(&self.source, Source::File(log) if log.goes_on())
    }

    /// Whether its file has no name any more.
    pub fn is_deleted(&self) -> bool {
        matches!(&self.source, Source::File(log) if log.is_deleted())
    }

    /// For people: how far it is.
    pub fn note_progress(&self) {
        let Source::File(log) = &self.source else {
            return;
        };
        let (position, unread, generations) = (log.position(), log.unread(), log.generations() as u32);
        self.ledger.update_progress(|p| {
            p.read_offset = position.offset;
            p.unread = unread;
            p.size = position.offset + unread;
            p.generations = generations;
        });
    }

    fn lines(&mut self, desk: &mut Desk, len: usize, start: Position, end: Position, now: Instant) {
        let mut at = 0;
        while at < len {
            let from = Position { offset: start.offset + at as u64, ..end };
            let new = |len| {
                let time = after(self.last_time, desk.clock.unix_nanos());
                ReadTime { start: from, len: len as u64, time }
            };
            let part = match &mut self.source {
                Source::File(log) if !self.remembered.is_empty() => {
                    let encoding = log.encoding();
                    self.remembered.part(&desk.buffer[at..len], from, encoding, log.as_mut())
                }
                _ => Part::New,
            };
            let (part_len, time) = match part {
                Part::New => (len - at, new(len - at)),
                Part::Before(len, time) | Part::Of(len, time, _) => (len, time),
            };
            let ack = self.chunk(desk, at..at + part_len, from, &time, now);
            if self.slot.is_some() {
                match part {
                    Part::New | Part::Before(..) => desk.times.end(time, ack.slots(), ack.is_held()),
                    Part::Of(_, _, true) => desk.times.end_written(time, ack.slots()),
                    Part::Of(_, _, false) => {}
                }
            }
            ack.close();
            self.tasted = true;
            self.last_time = self.last_time.max(time.over());
            at += part_len;
        }
        self.ledger.update_progress(|p| p.read_offset = end.offset);
    }

    /// Works on some whole lines that were read at one time.
    fn chunk(
        &mut self,
        desk: &mut Desk,
        part: Range<usize>,
        from: Position,
        time: &ReadTime,
        now: Instant,
    ) -> ChunkAck {
        let (encoding, from_stdin) = match &self.source {
            Source::File(log) => (log.encoding(), false),
            Source::Stdin(_) => (Encoding::Utf8, true),
        };
        let Desk { buffer, pipelines, exit, rate, dropped, books, times, .. } = desk;
        let bytes = &buffer[part];
        let text = encoding.decode(bytes);
        let end = Position { offset: from.offset + bytes.len() as u64, ..from };
        let chunk = self.ledger.open_chunk(bytes.len() as u64, end);
        let file = self.chance ^ from.file.inode.rotate_left(32) ^ from.file.device;
        let pipeline = &mut pipelines[self.pipeline];
        times.begin(self.id, time, pipeline.shows_read_time());
        // Of lines without times of their own none has that of another, their order is kept, and each is told by where the
        // line begins.
        let first = time.time + (from.offset - time.start.offset) as i64;
        let streams = &mut self.streams;
        let mut count = 0;
        let mut work = Work::new(Entry {
            timestamp: first,
            line: Cow::Borrowed(""),
            labels: self.labels.clone(),
            metadata: Vec::new(),
            tenant: None,
            origin: Origin { log: self.id, file, offset: from.offset },
            weight: Weight::default(),
            ack: AckRef::Chunk(&chunk),
        });
        let mut lines = encoding.lines(bytes, &text).peekable();
        while let Some((at, line)) = lines.next() {
            let weight = Weight::line(lines.peek().map_or(bytes.len(), |(next, _)| *next) - at);
            count += 1;
            let line = if from_stdin { line.trim_end_matches('\r') } else { line };
            if from_stdin && line.is_empty() {
                self.ledger.update_account(|account| account.discard(&Reason::EmptyLine, weight));
                continue;
            }
            let offset = from.offset + at as u64;
            chunk.begin_line(offset);
            work.entry.begin(first + at as i64, line, &self.labels, offset, weight);
            pipeline.run(&mut work, &mut |entry| {
                times.note(entry);
                note(streams, accept(entry, exit, rate, dropped, books, now));
            });
        }
        let read = Weight { lines: count, bytes: bytes.len() as u64 };
        self.ledger.update_account(|account| account.read += read);
        drop(work);
        chunk
    }
}

/// What there is room for in all of these streams, and the smallest and the largest of their windows.
fn room_of(streams: &mut Vec<StreamId>, batcher: &mut Batcher, now: Instant) -> (usize, usize, usize) {
    let (mut room, mut window, mut largest) = (usize::MAX, usize::MAX, 0);
    let mut younger = streams.len();
    streams.retain(|stream| {
        younger -= 1;
        let known = batcher.room(*stream, now).zip(batcher.window(*stream));
        if let Some((free, whole)) = known {
            (room, window, largest) = (room.min(free), window.min(whole), largest.max(whole));
        }
        // One with nothing on its way has all the room there can be.
        known.is_some_and(|(free, whole)| free < whole || younger < REMEMBERED)
    });
    (room, window, largest)
}

/// Remembers where an entry went; nearly always where the one before it did.
fn note(streams: &mut Vec<StreamId>, stream: Option<StreamId>) {
    if let Some(stream) = stream
        && streams.last() != Some(&stream)
        && !streams.contains(&stream)
    {
        streams.push(stream);
    }
}

/// A time later than anything a log was given before, whatever the clock does.
fn after(last: i64, now: i64) -> i64 {
    now.max(last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Outcome;
    use crate::batch::{self, Batch, Limits};
    use crate::model::Clock;
    use crate::model::{AckRef, Labels};

    #[test]
    fn of_a_log_with_a_stream_for_each_line_those_are_remembered_that_are_under_way() {
        let clock = Clock::standing(0);
        let config = batch::Config {
            batchsize: 1 << 20,
            batchwait: Duration::from_secs(1),
            tenant_id: None,
            external_labels: Labels::new(),
            limits: Limits::default(),
            replay_window: 64 << 10,
            buffer: 1 << 20,
        };
        let (mut batcher, ledger) = (Batcher::new(config, clock.clone()), Ledger::new(None));
        let mut streams = Vec::new();
        let add = |batcher: &mut Batcher, streams: &mut Vec<StreamId>, n: usize| {
            let mut entry = Entry {
                timestamp: 0,
                line: "line".into(),
                labels: LabelSet::new([("request", n.to_string())]),
                metadata: Vec::new(),
                tenant: None,
                origin: Origin::default(),
                weight: Weight::line(5),
                ack: AckRef::Own(ledger.open(5, Position::default())),
            };
            match batcher.add(&mut entry, clock.now()) {
                Outcome::Batched(id) => note(streams, Some(id)),
                other => panic!("{other:?}"),
            }
            entry.close();
        };
        (0..100).for_each(|n| add(&mut batcher, &mut streams, n));
        let sent: Vec<Batch> = std::iter::from_fn(|| batcher.next(clock.now(), true)).collect();
        (100..150).for_each(|n| add(&mut batcher, &mut streams, n));
        room_of(&mut streams, &mut batcher, clock.now());
        assert_eq!(streams.len(), 150);
        sent.into_iter().for_each(Batch::close);
        room_of(&mut streams, &mut batcher, clock.now());
        assert_eq!(streams.len(), 50);
        std::iter::from_fn(|| batcher.next(clock.now(), true)).for_each(Batch::close);
        assert_eq!(room_of(&mut streams, &mut batcher, clock.now()), (64 << 10, 64 << 10, 64 << 10));
        assert_eq!(streams.len(), REMEMBERED);
    }

    #[test]
    fn a_clock_that_jumps_does_not_turn_lines_around() {
        let mut last = 0;
        // Forward, a year back, standing still, forward again.
        for now in [100, 200, 50, 50, 51, 300] {
            let time = after(last, now);
            assert!(time > last, "{time} after {last}");
            last = time;
        }
        assert_eq!(last, 300);
    }
}
