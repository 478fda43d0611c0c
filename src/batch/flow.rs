//! Flow control: how much of a log may be read. Before a read, [`Batcher::grant`] says how much. [`Batcher::add_of`]
//! adds the entries of the read. After it, [`Batcher::settle`] reports the outcome.
//!
//! A log is read only as far as the windows of its streams have room. The streams of the next lines are unknown before
//! these are read, so they are assumed to be those of the previous lines.

use std::time::{Duration, Instant};

use super::batcher::{Batcher, LINGER, Outcome};
use super::stream::StreamId;
use crate::model::Entry;

/// The most bytes of a log per read. More saves nothing, less costs system calls.
pub const CHUNK: usize = 128 << 10;

/// Bytes of a log to read in order to learn its streams, whose windows may be full.
const TASTE: usize = 4 << 10;

/// Streams of a log that are remembered although they have nothing in flight.
const REMEMBERED: usize = 4;

/// The state of one log in the batcher.
#[derive(Debug)]
pub struct Flow {
    /// The streams of its lines in flight, and its last few streams.
    streams: Vec<StreamId>,
    /// Part of the log has been read. If it still has no streams, full chunks may be read.
    tasted: bool,
    /// How many bytes of the log fill a window, estimated from the last read.
    reach: usize,
    /// The least room left, in bytes, in any stream that received entries since the grant.
    left: usize,
    /// The earliest time at which the lines that are being added can have been written. None: now.
    written_since: Option<Instant>,
    written: WriteRate,
    /// A crash makes the agent send its uncommitted lines again.
    is_replayed: bool,
}

/// How much of a log may be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub bytes: usize,
    /// More may be read than there is room for. Then lines are added while [`Flow::has_room_for`] is true, and the rest
    /// is read again later.
    stops: bool,
}

impl Grant {
    /// A grant for readers that never wait.
    pub fn whole_chunk() -> Self {
        Self { bytes: CHUNK, stops: false }
    }

    pub fn stops(self) -> bool {
        self.stops
    }
}

impl Flow {
    /// `is_replayed`: a crash makes the agent send its uncommitted lines again. Otherwise the windows of its streams are those of
    /// a batch, and batches for which a sender waits are sent after [`LINGER`].
    pub fn new(is_replayed: bool, now: Instant) -> Self {
        let written = WriteRate::new(now);
        Self {
            streams: Vec::new(),
            tasted: false,
            reach: CHUNK,
            left: usize::MAX,
            written_since: None,
            written,
            is_replayed,
        }
    }

    /// Whether each stream that received entries since the grant has room for a line of this length.
    pub fn has_room_for(&self, line: usize) -> bool {
        line < self.left
    }

    /// Whether it is time to call [`Batcher::note_written`].
    pub fn is_rate_due(&self, now: Instant) -> bool {
        self.written.is_due(now)
    }

    /// Remembers a stream. Nearly always it is the stream of the previous entry.
    fn note(&mut self, stream: StreamId) {
        if self.streams.last() != Some(&stream) && !self.streams.contains(&stream) {
            self.streams.push(stream);
        }
    }
}

impl Batcher {
    /// The entries that follow, until [`settle`](Self::settle), are of lines that were written at this time at the earliest.
    /// `batchwait` counts from it, so the pause before the read does not come on top of `batchwait`. But at least half of
    /// `batchwait` is left, so that a short one still collects lines.
    pub fn begin(&self, flow: &mut Flow, written_since: Instant, now: Instant) {
        let earliest = now.checked_sub(self.batchwait() / 2);
        flow.written_since = Some(earliest.map_or(written_since, |earliest| earliest.max(written_since)));
    }

    /// How much of a log may be read now. None: wait for answers. `exposed` is the number of its bytes that a crash
    /// would make the agent send again. `exact`: reading can be rewound to the start of any line.
    pub fn grant(&mut self, flow: &mut Flow, exposed: u64, exact: bool, now: Instant) -> Option<Grant> {
        flow.left = usize::MAX;
        let were_known = !flow.streams.is_empty();
        if flow.is_replayed {
            flow.streams.iter().for_each(|stream| self.narrow(*stream));
        }
        let (room, window, largest) = self.room_of(&mut flow.streams, now);
        // Streams that the batcher forgot may have been replaced by others that are full.
        flow.tasted &= !(were_known && flow.streams.is_empty());
        if flow.streams.is_empty() {
            let chunk = if flow.tasted { CHUNK } else { TASTE };
            let bytes = chunk.min(self.replay_window());
            return (!self.has_no_room()).then_some(Grant { bytes, stops: false });
        }
        // Entries that one stream has delivered cannot be committed while entries of another stream before them are in
        // flight. They count as exposed too.
        let exposed = usize::try_from(exposed).unwrap_or(usize::MAX);
        if !flow.is_replayed {
            return self.grant_received(flow, exposed, (room, window), now);
        }
        let most = self.room_beside_refused(&flow.streams).map_or(largest, |beside| beside.max(largest));
        let room = room.min(most.saturating_sub(exposed));
        if room < Self::smallest_read(window) {
            flow.streams.iter().for_each(|stream| self.hurry(*stream, now));
            return None;
        }
        if flow.streams.iter().any(|stream| self.is_full(*stream)) {
            return None;
        }
        // The share of each stream is only known while lines are processed. Processing stops where a stream has no more
        // room.
        let stops = exact && exposed == 0 && room == window;
        let bytes = if stops { flow.reach.clamp(room, 2 * room) } else { room };
        Some(Grant { bytes: bytes.min(CHUNK), stops })
    }

    /// So many bytes of the log are exposed after a read. If they were received, and they are more than half of a window, they
    /// are sent soon.
    pub fn note_exposed(&mut self, flow: &Flow, exposed: usize, now: Instant) {
        if !flow.is_replayed && exposed > Self::smallest_read(self.replay_window()) {
            flow.streams.iter().for_each(|stream| self.hurry(*stream, now + LINGER));
        }
    }

    /// The grant for a log of received records. Reading does not wait for the answers that its senders wait for.
    fn grant_received(
        &mut self,
        flow: &Flow,
        exposed: usize,
        (room, window): (usize, usize),
        now: Instant,
    ) -> Option<Grant> {
        self.note_exposed(flow, exposed, now);
        let is_too_full = room < Self::smallest_read(window);
        if is_too_full {
            flow.streams.iter().for_each(|stream| self.hurry(*stream, now));
        }
        if is_too_full || flow.streams.iter().any(|stream| self.is_full(*stream)) {
            return None;
        }
        flow.streams.iter().for_each(|stream| self.widen(*stream));
        Some(Grant { bytes: room.min(CHUNK), stops: false })
    }

    /// Like [`add`](Self::add), for an entry that was read under a grant.
    pub fn add_of(&mut self, flow: &mut Flow, entry: &mut Entry<'_>, now: Instant) -> Outcome {
        let since = flow.written_since.unwrap_or(now);
        let outcome = self.add_written(entry, since, now);
        if let Outcome::Batched(stream) | Outcome::Truncated(stream, _) = &outcome {
            flow.note(*stream);
            flow.left = flow.left.min(self.left);
        }
        outcome
    }

    /// Reports the outcome of a grant: `read` bytes were read, `worked` of them were processed.
    pub fn settle(&mut self, flow: &mut Flow, grant: Grant, read: usize, worked: usize, now: Instant) {
        flow.tasted |= worked > 0;
        flow.written_since = None;
        if grant.stops {
            flow.reach = if worked < read { worked + worked / 16 } else { 2 * read };
        }
        self.seal(&flow.streams, now);
    }

    /// Reports the total bytes written to the log so far. If their rate is too high for the round trip, the windows of
    /// its streams grow.
    pub fn note_written(&mut self, flow: &mut Flow, total: u64, now: Instant) {
        let rate = flow.written.measure(total, now);
        if flow.is_replayed {
            flow.streams.iter().for_each(|stream| self.fit_window(*stream, rate));
        }
    }

    /// The smallest room in these streams, the smallest window and the largest window, in bytes.
    fn room_of(&mut self, streams: &mut Vec<StreamId>, now: Instant) -> (usize, usize, usize) {
        let (mut room, mut window, mut largest) = (usize::MAX, usize::MAX, 0);
        let mut younger = streams.len();
        streams.retain(|stream| {
            younger -= 1;
            let known = self.room(*stream, now).zip(self.window(*stream));
            if let Some((free, whole)) = known {
                (room, window, largest) = (room.min(free), window.min(whole), largest.max(whole));
            }
            // A stream with nothing in flight has all of its window free.
            known.is_some_and(|(free, whole)| free < whole || younger < REMEMBERED)
        });
        // Logs are quiet most of the time.
        if streams.is_empty() {
            *streams = Vec::new();
        }
        (room, window, largest)
    }
}

/// The rate at which a log is written, in bytes per second. Measured while reading waits for answers and when it has
/// caught up.
#[derive(Clone, Copy, Debug)]
struct WriteRate {
    at: Instant,
    /// The log's total bytes at time `at`. None: not known yet.
    total: Option<u64>,
    /// Bytes per second.
    rate: f64,
}

impl WriteRate {
    const EVERY: Duration = Duration::from_millis(200);
    /// A measurement over a longer time says nothing about the current rate.
    const LONGEST: Duration = Duration::from_secs(5);

    fn new(now: Instant) -> Self {
        Self { at: now, total: None, rate: 0.0 }
    }

    fn is_due(&self, now: Instant) -> bool {
        now >= self.at + Self::EVERY
    }

    fn measure(&mut self, total: u64, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at);
        match self.total {
            Some(before) if passed <= Self::LONGEST => {
                let rate = total.saturating_sub(before) as f64 / passed.as_secs_f64().max(0.001);
                self.rate = if self.rate == 0.0 { rate } else { (self.rate + rate) / 2.0 };
            }
            _ => self.rate = 0.0,
        }
        (self.at, self.total) = (now, Some(total));
        self.rate
    }
}

#[cfg(test)]
mod tests;
