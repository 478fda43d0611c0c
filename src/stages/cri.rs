//! `cri`: parses the format of containerd and CRI-O, and joins the parts of long lines.
//!
//! ```yaml
//! - cri:
//!     max_partial_lines: 100                  # default; streams that may have an incomplete line at the same time
//!     max_partial_line_size: 0                # longest joined line in bytes; only used with the next option
//!     max_partial_line_size_truncate: false   # default; true: cut longer lines at max_partial_line_size
//! ```
//!
//! `2026-11-22T10:00:00.5Z stdout F text` becomes `text`, with that time and the label `stream="stdout"`. The stage
//! extracts `time`, `stream`, `flags` and `content`. All options may be left out: `- cri: {}`.
//!
//! Partial lines (`P`) wait for their final part (`F`), separately for each stream and also across a rotation. The
//! joined line has the time of the final part. If more streams than `max_partial_lines` have an incomplete line, all
//! incomplete lines are sent as they are. A joined line of more than 2 MiB is discarded and counted in
//! `logentry_dropped_lines_total{reason="line_too_long"}`.
//!
//! A line in another format passes unchanged. If a time cannot be parsed, the line gets the last time of its stream
//! plus one nanosecond.
//!
//! Unlike Promtail: no part of a line is lost. Parts are sent as they are if the rest does not come within five
//! minutes, or cannot come because the file is gone. Parts that wait when the agent stops are read again when it
//! starts.

mod partial;

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use slab::Slab;

use super::options::Options;
use super::reads::Reads;
use super::{ConfigError, Due, Flow, Recipe, Stage, Surroundings, Value, Work};
use crate::metrics::Dropped;
use crate::model::{Clock, LabelMap, LabelSet, Rfc3339};
use partial::Partial;

const MAX_PARTIAL_LINES: usize = 100;

/// The most label sets remembered per log. A log has one, unless an earlier stage sets labels from its lines.
const MAX_LABEL_SETS: usize = 64;

pub(super) fn compile(options: &mut Options<'_>) -> Result<Recipe, ConfigError> {
    let max_lines = options.number("max_partial_lines")?.unwrap_or(0) as usize;
    let size = options.number("max_partial_line_size")?.unwrap_or(0) as usize;
    let truncate = options.boolean("max_partial_line_size_truncate")?.unwrap_or(false);
    let max_lines = if max_lines == 0 { MAX_PARTIAL_LINES } else { max_lines };
    let cut = (truncate && size > 0).then_some(size);
    options.needs_nothing_extracted();
    Ok(Box::new(move |around| Box::new(Cri::new(max_lines, cut, around))))
}

#[derive(Debug)]
pub(super) struct Cri {
    max_partials: usize,
    cut: Option<usize>,
    extract: bool,
    /// The extracted values that other stages use.
    wanted: Wanted,
    time: Rfc3339,
    /// Boxed, because most of them are forgotten when their logs become quiet, and a place that became free stays as large as
    /// it was.
    logs: Slab<Box<Log>>,
    /// Index by the labels of the lines.
    by_labels: LabelMap<usize>,
    /// Indices by log.
    of_log: HashMap<u64, Vec<usize>>,
    /// Counts lookups, to find the entries that were unused for longest.
    lookups: u64,
    /// The index of the last line's log. Nearly always that of the next line too.
    last: usize,
    dropped: Dropped,
    partials: usize,
    clock: Clock,
    /// No partial line is due before this.
    next_due: Option<Instant>,
}

#[derive(Debug)]
struct Wanted {
    time: bool,
    stream: bool,
    flags: bool,
    content: bool,
}

impl Wanted {
    fn of(reads: &Reads) -> Self {
        let [time, stream, flags, content] = ["time", "stream", "flags", "content"].map(|name| reads.contains(name));
        Self { time, stream, flags, content }
    }

    /// Sets the values of a line: its time has `time_length` bytes, and its content begins at the byte `content`.
    fn extract(&self, work: &mut Work<'_>, time_length: usize, stream: usize, content: usize) {
        let line = &work.entry.line;
        if self.time {
            work.extracted.set("time", Value::part(line, 0..time_length));
        }
        if self.stream {
            work.extracted.set("stream", Value::Text(Cow::Borrowed(STREAMS[stream])));
        }
        if self.flags {
            let flags = time_length + STREAMS[stream].len() + 2;
            work.extracted.set("flags", Value::part(line, flags..content - 1));
        }
        if self.content {
            work.extracted.set("content", Value::part(line, content..line.len()));
        }
    }
}

/// The two streams of one set of labels.
#[derive(Debug)]
struct Log {
    labels: LabelSet,
    looked_up: u64,
    streams: [Stream; 2],
}

impl Log {
    /// Whether it has a partial line.
    fn is_holding(&self) -> bool {
        self.streams.iter().any(|stream| stream.partial.is_some())
    }
}

/// One for each stream of a node's logs, so it is small while no partial line waits.
#[derive(Debug, Default)]
struct Stream {
    /// Created with the first line. Most logs use only one of the two streams.
    labels: Option<LabelSet>,
    /// The last time that was parsed. A line whose time cannot be parsed gets this plus one nanosecond.
    last: Option<i64>,
    partial: Option<Box<Partial>>,
}

/// A parsed line.
struct Head<'l> {
    time: &'l str,
    stream: usize,
    flags: &'l str,
    content: usize,
}

/// How long a part waits for the next one. The runtime writes the parts of a line directly after each other. A part
/// that waited without limit would stop the log's position, and a restart would send everything after it again.
const PATIENCE: Duration = Duration::from_secs(300);

/// The length in bytes of a time with nine digits of a second and a `Z`, as runtimes write it.
const USUAL_TIME: usize = 30;

const STREAMS: [&str; 2] = ["stdout", "stderr"];

impl Cri {
    pub fn new(max_partials: usize, cut: Option<usize>, around: &Surroundings) -> Self {
        Self {
            max_partials,
            cut,
            extract: !around.reads.is_nothing(),
            wanted: Wanted::of(&around.reads),
            time: Rfc3339::default(),
            logs: Slab::new(),
            by_labels: LabelMap::default(),
            of_log: HashMap::new(),
            lookups: 0,
            last: 0,
            dropped: around.dropped.clone(),
            partials: 0,
            clock: around.clock.clone(),
            next_due: None,
        }
    }

    /// With Promtail's defaults. No later stage uses the extracted values.
    pub fn plain(around: &Surroundings) -> Self {
        Self { extract: false, ..Self::new(MAX_PARTIAL_LINES, None, around) }
    }

    fn stream(&mut self, labels: &LabelSet, log: u64, stream: usize) -> &mut Stream {
        if !self.logs.get(self.last).is_some_and(|last| last.labels.same(labels)) {
            self.lookups += 1;
            self.last = match self.by_labels.get(labels) {
                Some(known) => *known,
                None => {
                    if self.of_log.get(&log).is_some_and(|places| places.len() >= MAX_LABEL_SETS) {
                        self.forget_half(log);
                    }
                    let streams = [Stream::default(), Stream::default()];
                    let place = self.logs.insert(Box::new(Log { labels: labels.clone(), looked_up: 0, streams }));
                    self.by_labels.insert(labels.clone(), place);
                    self.of_log.entry(log).or_default().push(place);
                    place
                }
            };
            self.logs[self.last].looked_up = self.lookups;
        }
        &mut self.logs[self.last].streams[stream]
    }

    /// Forgets the label sets of a log that were unused for longest, except those with a partial line (limited by
    /// `max_partial_lines`). Only their last time is lost, which is needed only for lines with an invalid time.
    fn forget_half(&mut self, log: u64) {
        let places = self.of_log.get(&log).into_iter().flatten();
        let mut seen: Vec<u64> =
            places.map(|place| &self.logs[*place]).filter(|l| !l.is_holding()).map(|l| l.looked_up).collect();
        seen.sort_unstable();
        if let Some(limit) = seen.get(seen.len() / 2).copied() {
            self.forget_until(log, limit);
        }
    }

    /// Forgets the label sets of a log that were not used after this lookup, except those with a partial line.
    fn forget_until(&mut self, log: u64, lookup: u64) {
        let Some(places) = self.of_log.get_mut(&log) else {
            return;
        };
        places.retain(|place| {
            let l = &self.logs[*place];
            let stays = l.is_holding() || l.looked_up > lookup;
            if !stays {
                self.by_labels.remove(&self.logs.remove(*place).labels);
            }
            stays
        });
        if places.is_empty() {
            self.of_log.remove(&log);
        }
    }

    /// Releases all partial lines as they are: too many streams have one.
    fn overflow(&mut self, released: &mut Vec<Work<'static>>) {
        for stream in self.logs.iter_mut().flat_map(|(_, log)| &mut log.streams) {
            released.extend(stream.partial.take().map(|p| p.work));
        }
        released.sort_by_key(|work| (work.entry.origin.log, work.entry.origin.offset));
        self.partials = 0;
    }
}

impl Stage for Cri {
    fn process(&mut self, work: &mut Work<'_>, released: &mut Vec<Work<'static>>) -> Flow {
        if self.extract {
            work.extracted.begin_again(&work.entry);
        }
        let Some(head) = Head::read(&work.entry.line) else {
            return Flow::Pass;
        };
        let (time, partial, content, index) =
            (self.time.parse(head.time), head.flags == "P", head.content, head.stream);
        let time_length = head.time.len();
        // A valid time contains no space.
        if time.is_none() && head.time.bytes().any(|b| is_blank(&b)) {
            return Flow::Pass;
        }
        if self.extract {
            self.wanted.extract(work, time_length, index, content);
        }
        let cut = self.cut;
        let overflows = partial && self.partials >= self.max_partials;
        if overflows {
            self.overflow(released);
        }
        // The clock is only read for partial lines, which are few.
        let since = partial.then(|| self.clock.now());
        if let Some(since) = since {
            self.next_due.get_or_insert(since + PATIENCE);
        }
        let stream = self.stream(&work.entry.labels, work.entry.origin.log, index);
        work.entry.timestamp = time.or(stream.last.map(|last| last + 1)).unwrap_or(work.entry.timestamp);
        stream.last = time.or(stream.last.map(|last| last + 1));
        let labels = stream.labels.get_or_insert_with(|| work.entry.labels.with("stream", STREAMS[index]));
        work.set_labels(labels);
        work.entry.line = skip(std::mem::take(&mut work.entry.line), content);

        match (stream.partial.take(), since) {
            (None, None) => Flow::Pass,
            (None, Some(since)) => {
                let (held, kept) = Partial::begin(work, since, cut);
                stream.partial = Some(held);
                self.partials += 1;
                Flow::Held(kept)
            }
            (Some(mut held), Some(since)) => {
                held.since = since;
                held.append(work);
                held.shorten(cut);
                let kept = held.work.take_in(work);
                stream.partial = Some(held);
                Flow::Held(kept)
            }
            (Some(mut held), None) => {
                held.append(work);
                held.shorten(cut);
                self.partials -= 1;
                Flow::Held(held.end(work, released, &self.dropped))
            }
        }
    }

    fn release(&mut self, due: Due, released: &mut Vec<Work<'static>>) {
        let first = released.len();
        match due {
            // The rest will never come. Sending the part is better than losing it.
            Due::Log(log) => {
                for place in self.of_log.remove(&log).unwrap_or_default() {
                    let log = self.logs.remove(place);
                    self.by_labels.remove(&log.labels);
                    released.extend(log.streams.into_iter().filter_map(|s| s.partial).map(|p| p.work));
                }
            }
            Due::At(now) if self.next_due.is_some_and(|due| due <= now) => {
                self.next_due = None;
                for stream in self.logs.iter_mut().flat_map(|(_, log)| &mut log.streams) {
                    match &stream.partial {
                        Some(partial) if partial.since + PATIENCE <= now => {
                            released.extend(stream.partial.take().map(|p| p.work));
                        }
                        Some(partial) => {
                            let due = partial.since + PATIENCE;
                            self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
                        }
                        None => {}
                    }
                }
            }
            Due::At(_) | Due::Quiet(_) => {}
            Due::Unread(log, now) => {
                for place in self.of_log.get(&log).into_iter().flatten() {
                    let waiting = self.logs[*place].streams.iter_mut().filter_map(|s| s.partial.as_mut());
                    waiting.for_each(|partial| partial.since = now);
                }
            }
        }
        self.partials -= released.len() - first;
    }

    fn forget(&mut self, log: u64) {
        self.forget_until(log, u64::MAX);
        // The tables shrink by half each time, so a removal costs the same on average.
        if self.of_log.capacity() > 4 * self.of_log.len() {
            self.of_log.shrink_to(2 * self.of_log.len());
            self.by_labels.shrink_to(2 * self.by_labels.len());
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.next_due
    }
}

impl<'l> Head<'l> {
    /// Splits `<time> <stdout|stderr> <flags> <content>`. The time is checked later, except that it must not contain a
    /// space. None: another format.
    fn read(line: &'l str) -> Option<Self> {
        let bytes = line.as_bytes();
        let time = match bytes.first_chunk::<{ USUAL_TIME + 1 }>() {
            // To compare so few bytes all at once is quicker than a search.
            Some(time) if time[USUAL_TIME] == b' ' && time.iter().filter(|byte| **byte == b' ').count() == 1 => {
                USUAL_TIME
            }
            _ => memchr::memchr(b' ', bytes)?,
        };
        let stream = match bytes.get(time + 1..time + 8)? {
            b"stdout " => 0,
            b"stderr " => 1,
            _ => return None,
        };
        let flags = time + 8;
        let space = match bytes.get(flags..flags + 2)? {
            [b'F' | b'P', b' '] => flags + 1,
            _ => flags + memchr::memchr(b' ', &bytes[flags..])?,
        };
        if time == 0 || space == flags || bytes[flags..space].iter().any(is_blank) {
            return None;
        }
        Some(Self { time: &line[..time], stream, flags: &line[flags..space], content: space + 1 })
    }
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b'\t' | b'\n' | 0x0c | b'\r')
}

/// The line without its first `bytes` bytes.
fn skip(line: Cow<'_, str>, bytes: usize) -> Cow<'_, str> {
    match line {
        Cow::Borrowed(line) => Cow::Borrowed(&line[bytes..]),
        Cow::Owned(mut line) => {
            line.drain(..bytes);
            Cow::Owned(line)
        }
    }
}

#[cfg(test)]
mod tests;
