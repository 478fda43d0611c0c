//! How much of a log may be read: one question before a read ([`Batcher::grant`]), one answer after it
//! ([`Batcher::settle`]), and in between the entries that the read came to ([`Batcher::add_of`]).
//!
//! A log is read no further than the windows of the streams that its lines go to have room for. Which streams these are
//! nobody knows before the lines were read, so it is assumed that they are those of the lines before.

use std::time::{Duration, Instant};

use super::batcher::{Batcher, Outcome};
use super::stream::StreamId;
use crate::model::Entry;

/// Bytes that are read of a log at a time: more saves nothing, less costs calls.
pub const CHUNK: usize = 128 << 10;

/// Bytes that are read of a log to see which streams its lines go to, whose windows may be full.
const TASTE: usize = 4 << 10;

/// Streams that are remembered of a log though nothing of them is in flight.
const REMEMBERED: usize = 4;

/// What the batcher knows of one log.
#[derive(Debug)]
pub struct Flow {
    /// The streams that its lines in flight are in, and the last ones that it had.
    streams: Vec<StreamId>,
    /// Some of it has been read: if it has no streams yet, that is no reason to read little.
    tasted: bool,
    /// How many bytes of it fill a window, as far as the last read tells.
    reach: usize,
    /// What the fullest of the streams has left that were given something since the grant.
    left: usize,
    written: WriteRate,
}

/// How much of a log may be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub bytes: usize,
    /// What is read may be more than there is room for: lines are added as long as [`Flow::has_room_for`] says so, and the rest
    /// is read again.
    stops: bool,
}

impl Grant {
    /// Where nothing waits for anything.
    pub fn whole_chunk() -> Self {
        Self { bytes: CHUNK, stops: false }
    }

    pub fn stops(self) -> bool {
        self.stops
    }
}

impl Flow {
    pub fn new(now: Instant) -> Self {
        Self { streams: Vec::new(), tasted: false, reach: CHUNK, left: usize::MAX, written: WriteRate::new(now) }
    }

    /// Whether there is room for a line of this length wherever the lines since the grant went.
    pub fn has_room_for(&self, line: usize) -> bool {
        line < self.left
    }

    /// Whether it is time to say how much was written to the log, with [`Batcher::note_written`].
    pub fn is_rate_due(&self, now: Instant) -> bool {
        self.written.is_due(now)
    }

    /// Nearly always the stream is that of the entry before.
    fn note(&mut self, stream: StreamId) {
        if self.streams.last() != Some(&stream) && !self.streams.contains(&stream) {
            self.streams.push(stream);
        }
    }
}

impl Batcher {
    /// How much of a log may be read now, if it is worth it. None: nothing before answers come. `exposed` are its bytes
    /// that a crash would send again; `exact` says that reading can go back to the beginning of any line.
    pub fn grant(&mut self, flow: &mut Flow, exposed: u64, exact: bool, now: Instant) -> Option<Grant> {
        flow.left = usize::MAX;
        let were_known = !flow.streams.is_empty();
        let (room, window, largest) = self.room_of(&mut flow.streams, now);
        // Forgotten here, they may be others' meanwhile, and full.
        flow.tasted &= !(were_known && flow.streams.is_empty());
        if flow.streams.is_empty() {
            let chunk = if flow.tasted { CHUNK } else { TASTE };
            let bytes = chunk.min(self.replay_window());
            return (!self.has_no_room()).then_some(Grant { bytes, stops: false });
        }
        // What one stream has delivered cannot be committed while another's is in flight before it: it would be sent again
        // just the same.
        let exposed = usize::try_from(exposed).unwrap_or(usize::MAX);
        let most = self.room_beside_refused(&flow.streams).map_or(largest, |beside| beside.max(largest));
        let room = room.min(most.saturating_sub(exposed));
        if room < Self::smallest_read(window) {
            flow.streams.iter().for_each(|stream| self.hurry(*stream));
            return None;
        }
        if flow.streams.iter().any(|stream| self.is_full(*stream)) {
            return None;
        }
        // How much of it is one stream's is seen when it is worked on, which stops where one has no more room.
        let stops = exact && exposed == 0 && room == window;
        let bytes = if stops { flow.reach.clamp(room, 2 * room) } else { room };
        Some(Grant { bytes: bytes.min(CHUNK), stops })
    }

    /// [`add`](Self::add) for an entry that came of what was granted.
    pub fn add_of(&mut self, flow: &mut Flow, entry: &mut Entry<'_>, now: Instant) -> Outcome {
        let outcome = self.add(entry, now);
        if let Outcome::Batched(stream) | Outcome::Truncated(stream, _) = &outcome {
            flow.note(*stream);
            flow.left = flow.left.min(self.left);
        }
        outcome
    }

    /// What became of a grant: so many bytes were read, and of these so many worked on.
    pub fn settle(&mut self, flow: &mut Flow, grant: Grant, read: usize, worked: usize, now: Instant) {
        flow.tasted |= worked > 0;
        if grant.stops {
            flow.reach = if worked < read { worked + worked / 16 } else { 2 * read };
        }
        self.seal(&flow.streams, now);
    }

    /// So many bytes were written to the log in all. Where that is more a second than can be acknowledged, more of its
    /// streams may be in flight from now on.
    pub fn note_written(&mut self, flow: &mut Flow, total: u64, now: Instant) {
        let rate = flow.written.measure(total, now);
        flow.streams.iter().for_each(|stream| self.fit_window(*stream, rate));
    }

    /// What there is room for in all of these streams, and the smallest and the largest of their windows.
    fn room_of(&mut self, streams: &mut Vec<StreamId>, now: Instant) -> (usize, usize, usize) {
        let (mut room, mut window, mut largest) = (usize::MAX, usize::MAX, 0);
        let mut younger = streams.len();
        streams.retain(|stream| {
            younger -= 1;
            let known = self.room(*stream, now).zip(self.window(*stream));
            if let Some((free, whole)) = known {
                (room, window, largest) = (room.min(free), window.min(whole), largest.max(whole));
            }
            // One with nothing in flight has all the room there can be.
            known.is_some_and(|(free, whole)| free < whole || younger < REMEMBERED)
        });
        (room, window, largest)
    }
}

/// How many bytes a second are written to a log, measured while reading waits for answers and when it has caught up.
#[derive(Clone, Copy, Debug)]
struct WriteRate {
    at: Instant,
    /// Bytes it had in all then; None: not known yet.
    total: Option<u64>,
    /// Bytes a second.
    rate: f64,
}

impl WriteRate {
    const EVERY: Duration = Duration::from_millis(200);
    /// Measured over longer than this it says nothing about now.
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
mod tests {
    use super::*;
    use crate::batch::{Batch, Config, Limits};
    use crate::model::{AckRef, Clock, LabelSet, Labels, Ledger, Mark, Origin, Weight};

    #[test]
    fn what_a_file_grows_by_is_measured_however_it_is_read() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut written = WriteRate::new(start);
        // What was there before says nothing of what comes.
        assert_eq!(written.measure(50_000_000, at(200)), 0.0);
        assert_eq!(written.measure(50_200_000, at(400)), 1_000_000.0);
        assert_eq!(written.measure(50_400_000, at(600)), 1_000_000.0);
        assert_eq!(written.measure(50_400_000, at(800)), 500_000.0);
        assert_eq!(written.measure(90_400_000, at(60_000)), 0.0);
    }

    #[test]
    fn of_a_log_with_a_stream_for_each_line_those_are_remembered_that_are_in_flight() {
        let clock = Clock::standing(0);
        let config = Config {
            batchsize: 1 << 20,
            batchwait: Duration::from_secs(1),
            tenant_id: None,
            external_labels: Labels::new(),
            limits: Limits::default(),
            replay_window: 64 << 10,
            buffer: 1 << 20,
        };
        let (mut batcher, ledger) = (Batcher::new(config, clock.clone()), Ledger::new());
        let mut flow = Flow::new(clock.now());
        let add = |batcher: &mut Batcher, flow: &mut Flow, n: usize| {
            let mut entry = Entry {
                timestamp: 0,
                line: "line".into(),
                labels: LabelSet::new([("request", n.to_string())]),
                metadata: Vec::new(),
                tenant: None,
                origin: Origin::default(),
                weight: Weight::line(5),
                ack: AckRef::Own(ledger.open(5, Mark::default())),
            };
            match batcher.add_of(flow, &mut entry, clock.now()) {
                Outcome::Batched(_) => {}
                other => panic!("{other:?}"),
            }
            entry.close();
        };
        (0..100).for_each(|n| add(&mut batcher, &mut flow, n));
        let sent: Vec<Batch> = std::iter::from_fn(|| batcher.next(clock.now(), true)).collect();
        (100..150).for_each(|n| add(&mut batcher, &mut flow, n));
        batcher.room_of(&mut flow.streams, clock.now());
        assert_eq!(flow.streams.len(), 150);
        sent.into_iter().for_each(Batch::close);
        batcher.room_of(&mut flow.streams, clock.now());
        assert_eq!(flow.streams.len(), 50);
        std::iter::from_fn(|| batcher.next(clock.now(), true)).for_each(Batch::close);
        assert_eq!(batcher.room_of(&mut flow.streams, clock.now()), (64 << 10, 64 << 10, 64 << 10));
        assert_eq!(flow.streams.len(), REMEMBERED);
    }
}
