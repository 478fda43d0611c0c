//! One log at work: read a chunk, split it, run its lines through the stages, hand them on.

mod chunk;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::desk::{Desk, Exit, accept};
use super::metrics::LINE_TOO_LONG;
use super::rates::Inflow;
use super::stdin::Pipe;
use super::times::Remembered;
use crate::batch::{Batcher, StreamId};
use crate::model::{LabelSet, Ledger, Reason, Target, Weight};
use crate::positions::Slot;
use crate::stages::Due;
use crate::tail::{Encoding, Log, Read};

/// What is read at a time: larger saves nothing, smaller costs calls.
pub(super) const CHUNK: usize = 128 << 10;

/// What is read of a log to see which streams its lines go to, whose windows may be full.
const TASTE: usize = 4 << 10;

/// Streams that are remembered of a log though nothing of them is under way.
const REMEMBERED: usize = 4;

/// How long a file that discovery has let go of may be quiet before it is left alone, and how long it is read at most.
const FAREWELL: Duration = Duration::from_secs(30);
const LONGEST_FAREWELL: Duration = Duration::from_secs(300);

/// How long a file that was held, and that discovery has let go of, waits for who it is.
const HANDOVER: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Tailer {
    pub id: u64,
    pub path: Arc<Path>,
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
    /// How far a chunk comes before a window is full, as far as the last one tells.
    pub reach: usize,
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

/// How much of a log may be read.
#[derive(Clone, Copy, Debug)]
struct Room {
    bytes: usize,
    /// Nothing of it is under way.
    is_whole: bool,
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
        if self.target.is_held {
            // Let go of, it is another's or nobody's: who has it next says so at once.
            let is_over = self.retired.is_some_and(|at| now >= at + HANDOVER);
            return Ok(if is_over { Turn::Finished } else { Turn::Idle });
        }
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
        // How much of it is one stream's is seen when it is worked on, which stops where one has no more room.
        // (Not where decoding may lose sight of where in the file a line is.)
        let told = matches!(&self.source, Source::File(log) if matches!(log.encoding(), Encoding::Utf8));
        let stops = room.is_whole && told && self.remembered.is_empty();
        let limit = if stops { self.reach.clamp(room.bytes, 2 * room.bytes) } else { room.bytes }.min(CHUNK);
        let read = match &mut self.source {
            Source::File(log) => log.read(&mut desk.buffer, limit, now)?,
            Source::Stdin(pipe) => pipe.read(&mut desk.buffer),
        };
        match read {
            Read::Lines { len, start, end, more } => {
                self.last_lines = now;
                let worked = self.lines(desk, len, start, end, stops, now);
                let more = more || worked < len;
                if stops {
                    self.reach = if worked < len { worked + worked / 16 } else { 2 * len };
                }
                if let Source::File(log) = &mut self.source {
                    log.go_back(len - worked);
                }
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
                desk.metrics.lost(bytes, LINE_TOO_LONG);
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
    fn room(&mut self, desk: &mut Desk, now: Instant) -> Option<Room> {
        let Exit::Batches(batcher) = &mut desk.exit else {
            return Some(Room { bytes: CHUNK, is_whole: false });
        };
        let were_known = !self.streams.is_empty();
        let (room, window, largest) = room_of(&mut self.streams, batcher, now);
        // Forgotten here, they may be others' meanwhile, and full.
        self.tasted &= !(were_known && self.streams.is_empty());
        // What one stream has delivered cannot be committed while another's is on its way before it: it would be sent
        // again just the same.
        let uncommitted = usize::try_from(self.ledger.exposed()).unwrap_or(usize::MAX);
        let exposed = batcher.room_beside_refused(&self.streams).map_or(largest, |beside| beside.max(largest));
        let room = room.min(exposed.saturating_sub(uncommitted));
        if self.streams.is_empty() {
            let chunk = if self.tasted { CHUNK } else { TASTE };
            let bytes = chunk.min(batcher.replay_window());
            return (!batcher.has_no_room()).then_some(Room { bytes, is_whole: false });
        }
        if room < Batcher::worthwhile(window) {
            self.streams.iter().for_each(|stream| batcher.hurry(*stream));
            return None;
        }
        let is_whole = uncommitted == 0 && room == window;
        (!self.streams.iter().any(|stream| batcher.is_full(*stream))).then_some(Room { bytes: room, is_whole })
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

    /// What keeps it, or what comes after it, from being read.
    pub fn trouble(&self) -> Option<String> {
        self.error.clone().or_else(|| self.look_error.clone())
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

#[cfg(test)]
mod tests {
    use super::chunk::after;
    use super::*;
    use crate::batch::{self, Batch, Limits, Outcome};
    use crate::model::{AckRef, Clock, Entry, Labels, Origin, Position};

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
