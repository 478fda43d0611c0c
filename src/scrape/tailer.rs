//! One log at work: read a chunk, split it, run its lines through the stages, hand them on.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::print::Printer;
use super::stdin::Pipe;
use super::{Books, Rate, metrics::Metrics};
use crate::batch::{Batcher, Lane, Outcome};
use crate::metrics::Dropped;
use crate::model::{AckRef, Clock, Entry, LabelSet, Ledger, Origin, Position, Reason, Target};
use crate::positions::Slot;
use crate::stages::{Due, Pipeline};
use crate::tail::{Encoding, Log, Read};

/// What is read at a time: larger saves nothing, smaller costs calls.
pub(super) const CHUNK: usize = 64 << 10;

/// What is read of a log to see where its lines go, while somewhere is no room.
const TASTE: usize = 4 << 10;

/// Less room than this in the replay window and reading waits for answers.
const WORTHWHILE: u64 = 8 << 10;

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
    /// Where its lines that are in flight went; a stage may send them to several tenants.
    pub lanes: Vec<Lane>,
    pub last_time: i64,
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

/// What all tailers of a reader work with.
#[derive(Debug)]
pub(super) struct Desk {
    pub clock: Clock,
    pub buffer: Vec<u8>,
    pub window: u64,
    pub pipelines: Vec<Pipeline>,
    pub exit: Exit,
    pub rate: Option<Limiter>,
    pub dropped: Dropped,
    pub books: Books,
    pub metrics: Metrics,
}

/// Where entries go.
#[derive(Debug)]
pub(super) enum Exit {
    Batches(Batcher),
    Print(Printer),
}

impl Tailer {
    pub fn turn(&mut self, desk: &mut Desk, now: Instant) -> std::io::Result<Turn> {
        let in_flight = self.ledger.in_flight();
        if in_flight == 0 {
            self.lanes.truncate(1);
        }
        let room = desk.window.saturating_sub(in_flight);
        if in_flight > 0 && room < WORTHWHILE.min(desk.window) {
            desk.hurry(&self.lanes);
            return Ok(Turn::Blocked);
        }
        let busy = desk.pipelines[self.pipeline].busy_until().is_some_and(|until| now < until);
        if busy || desk.is_full(&self.lanes) || desk.rate.as_ref().is_some_and(|r| r.must_wait(now)) {
            return Ok(Turn::Blocked);
        }
        // Which lane a new log's lines take shows only once some have been read. So that a lane that is full is not
        // overrun by many of them, these are few then.
        let chunk = if self.lanes.is_empty() && desk.has_full_lane() { TASTE } else { CHUNK };
        let limit = chunk.min(room.max(1) as usize);
        let read = match &mut self.source {
            Source::File(log) => log.read(&mut desk.buffer, limit, now)?,
            Source::Stdin(pipe) => pipe.read(&mut desk.buffer),
        };
        match read {
            Read::Lines { len, start, end, more } => {
                self.last_lines = now;
                self.lines(desk, len, start, end, now);
                Ok(if more { Turn::More } else { Turn::Lines })
            }
            Read::Skipped { bytes, end } => {
                tracing::warn!(path = %self.path.display(), bytes, "a line was too long to be held and is lost");
                desk.dropped.count(&Reason::LineTooLong);
                desk.metrics.lost(bytes, "line_too_long");
                self.ledger.open(bytes, end).close();
                Ok(Turn::More)
            }
            Read::Passed => Ok(Turn::More),
            Read::Idle if self.retired.is_some_and(|at| self.is_over(at, now)) => Ok(Turn::Finished),
            Read::Idle => Ok(Turn::Idle),
            Read::Finished => Ok(Turn::Finished),
        }
    }

    fn is_over(&self, retired: Instant, now: Instant) -> bool {
        now >= retired.max(self.last_lines) + FAREWELL || now >= retired + LONGEST_FAREWELL
    }

    /// Lets the stages give back what they hold of this log.
    pub fn end(&mut self, desk: &mut Desk, now: Instant) {
        let Desk { pipelines, exit, rate, dropped, books, .. } = desk;
        let lanes = &mut self.lanes;
        pipelines[self.pipeline].release(Due::Log(self.id), &mut |entry| {
            note(lanes, accept(entry, exit, rate, dropped, books, now));
        });
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
        let (encoding, from_stdin) = match &self.source {
            Source::File(log) => (log.encoding(), false),
            Source::Stdin(_) => (Encoding::Utf8, true),
        };
        let read_time = after(self.last_time, desk.clock.unix_nanos());
        let Desk { buffer, pipelines, exit, rate, dropped, books, .. } = desk;
        let text = encoding.decode(&buffer[..len]);
        let ack = self.ledger.open(len as u64, end);
        let pipeline = &mut pipelines[self.pipeline];
        let lanes = &mut self.lanes;
        let mut count = 0;
        for line in lines_of(&text) {
            let line = if from_stdin { line.trim_end_matches('\r') } else { line };
            if from_stdin && line.is_empty() {
                continue;
            }
            let entry = Entry {
                // Of lines without times of their own none has that of another, and their order is kept.
                timestamp: read_time + count,
                line: Cow::Borrowed(line),
                labels: self.labels.clone(),
                metadata: Vec::new(),
                tenant: None,
                origin: Origin { log: self.id, offset: start.offset + count as u64 },
                ack: AckRef::Chunk(&ack),
            };
            count += 1;
            pipeline.run(entry, &mut |entry| {
                note(lanes, accept(entry, exit, rate, dropped, books, now));
            });
        }
        ack.close();
        self.last_time = read_time + count;
        self.ledger.update_progress(|p| {
            p.lines += count as u64;
            p.bytes += len as u64;
            p.read_offset = end.offset;
        });
    }
}

impl Desk {
    /// Lets go what has waited long enough in the stages; but not what waits for lines that are there and `unread`: logs,
    /// and which pipeline theirs is.
    pub fn release_due(&mut self, now: Instant, unread: impl Fn() -> Vec<(u64, usize)>) {
        let Desk { pipelines, exit, rate, dropped, books, .. } = self;
        for (i, pipeline) in pipelines.iter_mut().enumerate() {
            if pipeline.next_due().is_none_or(|due| due > now) {
                continue;
            }
            for (log, _) in unread().into_iter().filter(|(_, own)| *own == i) {
                pipeline.release(Due::Unread(log, now), &mut |_| {});
            }
            pipeline.release(Due::At(now), &mut |entry| {
                accept(entry, exit, rate, dropped, books, now);
            });
        }
    }

    pub fn next_due(&self) -> Option<Instant> {
        let stages = self.pipelines.iter().filter_map(Pipeline::next_due).min();
        let batches = match &self.exit {
            Exit::Batches(batcher) => batcher.next_due(),
            Exit::Print(_) => None,
        };
        stages.into_iter().chain(batches).min()
    }

    pub fn is_full(&self, lanes: &[Lane]) -> bool {
        matches!(&self.exit, Exit::Batches(batcher) if lanes.iter().any(|lane| batcher.is_full(*lane)))
    }

    fn has_full_lane(&self) -> bool {
        matches!(&self.exit, Exit::Batches(batcher) if batcher.has_full_lane())
    }

    fn hurry(&mut self, lanes: &[Lane]) {
        if let Exit::Batches(batcher) = &mut self.exit {
            lanes.iter().for_each(|lane| batcher.hurry(*lane));
        }
    }
}

/// Remembers where an entry went; nearly always where the one before it did.
fn note(lanes: &mut Vec<Lane>, lane: Option<Lane>) {
    if let Some(lane) = lane
        && lanes.last() != Some(&lane)
        && !lanes.contains(&lane)
    {
        lanes.push(lane);
    }
}

/// The end of the pipeline: the rate limit, then the batch. Gives the lane the entry took.
fn accept(
    entry: Entry<'_>,
    exit: &mut Exit,
    rate: &mut Option<Limiter>,
    dropped: &Dropped,
    books: &Books,
    now: Instant,
) -> Option<Lane> {
    if let Some(rate) = rate
        && !rate.allows(now)
    {
        dropped.discard(entry, &Reason::GlobalRateLimiter);
        return None;
    }
    let batcher = match exit {
        Exit::Batches(batcher) => batcher,
        Exit::Print(printer) => {
            printer.print(entry);
            return None;
        }
    };
    match batcher.add(entry, now) {
        Outcome::Batched(lane) => Some(lane),
        Outcome::Truncated(lane, bytes) => {
            (books.truncated)(bytes);
            Some(lane)
        }
        Outcome::TooLong(entry) => {
            (books.too_long)(&entry);
            entry.close();
            None
        }
    }
}

/// The lines of a text; a last one without newline is one as well.
fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest.as_bytes());
        let line = &rest[..end.unwrap_or(rest.len())];
        rest = &rest[end.map_or(rest.len(), |e| e + 1)..];
        Some(line)
    })
}

/// A time later than anything a log was given before, whatever the clock does.
fn after(last: i64, now: i64) -> i64 {
    now.max(last + 1)
}

/// `limits_config.readline_rate`: governor decides what is dropped; where reading waits instead, a debt is paid by time.
#[derive(Debug)]
pub(super) struct Limiter {
    rate: Rate,
    bucket: governor::DefaultDirectRateLimiter,
    paid_until: Option<Instant>,
}

impl Limiter {
    pub fn new(rate: Rate) -> Option<Self> {
        let period = Duration::try_from_secs_f64(1.0 / rate.lines_per_second).ok()?;
        let burst = std::num::NonZeroU32::new(rate.burst)?;
        let quota = governor::Quota::with_period(period)?.allow_burst(burst);
        Some(Self { rate, bucket: governor::RateLimiter::direct(quota), paid_until: None })
    }

    fn allows(&mut self, now: Instant) -> bool {
        if self.rate.drop {
            return self.bucket.check().is_ok();
        }
        let line = Duration::from_secs_f64(1.0 / self.rate.lines_per_second);
        self.paid_until = Some(self.paid_until.map_or(now, |p| p.max(now)) + line);
        true
    }

    /// Whether the lines that were let through are still to be paid for, beyond the burst.
    fn must_wait(&self, now: Instant) -> bool {
        let credit = Duration::from_secs_f64(f64::from(self.rate.burst) / self.rate.lines_per_second);
        !self.rate.drop && self.paid_until.is_some_and(|p| p > now + credit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn lines_with_and_without_a_last_newline() {
        assert_eq!(lines_of("a\n\nb\n").collect::<Vec<_>>(), ["a", "", "b"]);
        assert_eq!(lines_of("a\nb").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(lines_of("").count(), 0);
    }
}
