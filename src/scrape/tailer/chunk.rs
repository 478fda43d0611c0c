//! Turns the records of a chunk into entries.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Instant;

use super::Tailer;
use crate::model::{AckRef, ChunkAck, Entry, Mark, Origin, Position, Reason, Side, Structured, View, Views, Weight};
use crate::positions::ReadTime;
use crate::scrape::sink::{Sink, accept};
use crate::scrape::times::Part;
use crate::stages::{Work, is_stderr};

impl Tailer {
    /// Processes the chunk that was read. With `stops`, stops where a stream's window is full. Returns the number of
    /// bytes processed.
    pub(super) fn work_on_chunk(&mut self, sink: &mut Sink, stops: bool, now: Instant) -> usize {
        let (len, start, place) = (sink.chunk.len, sink.chunk.start, sink.chunk.place);
        let mut at = 0;
        while at < len {
            let from = place.with_offset(place.offset + at as u64);
            let new = |len| {
                let time = after(self.last_time, sink.clock.unix_nanos());
                ReadTime { start: from, len: len as u64, time }
            };
            let remembered = self.remembered.as_deref_mut().filter(|times| !times.is_empty());
            let part = match remembered {
                Some(times) => times.part(&sink.chunk.bytes[at..len], from, sink.chunk.encoding),
                None => Part::New,
            };
            let (part_len, time) = match part {
                Part::New => (len - at, new(len - at)),
                Part::Before(len, time) | Part::Of(len, time, _) => (len, time),
            };
            let (ack, worked) =
                self.work_on(sink, at..at + part_len, (start.after(at as u64), from), &time, stops, now);
            let time = if stops { ReadTime { len: worked as u64, ..time } } else { time };
            if self.slot.is_some() {
                match part {
                    Part::New | Part::Before(..) => sink.times.end(time, ack.slots(), ack.is_held()),
                    Part::Of(_, _, true) => sink.times.end_written(time, ack.slots()),
                    Part::Of(_, _, false) => {}
                }
            }
            ack.close();
            self.last_time = match part {
                // If the clock was put back far, the times before no longer count.
                Part::New => time.over(),
                Part::Before(..) | Part::Of(..) => self.last_time.max(time.over()),
            };
            at += worked;
            if worked < part_len {
                break;
            }
        }
        let read_at = sink.clock.unix_nanos();
        self.ledger.update_progress(|progress| {
            progress.read_offset = place.offset + at as u64;
            progress.last_read = read_at;
        });
        at
    }

    /// Processes whole records of the chunk that share one read time and begin at `from`.
    fn work_on(
        &mut self,
        sink: &mut Sink,
        part: Range<usize>,
        (mark, from): (Mark, Position),
        time: &ReadTime,
        stops: bool,
        now: Instant,
    ) -> (ChunkAck, usize) {
        let Sink { clock, chunk, pipelines, output, rate, dropped, counters, times, live_tail, .. } = sink;
        let is_viewed = live_tail.is_viewed();
        let bytes = &chunk.bytes[part];
        let text = chunk.encoding.decode(bytes);
        let ack = self.ledger.open_chunk(bytes.len() as u64, mark.after(bytes.len() as u64));
        let file = self.chance ^ from.file.inode.rotate_left(32) ^ from.file.device;
        let pipeline = pipelines.get(self.pipeline);
        // The position may still be in an older file. If the agent is killed and this one is renamed, its name does not say any
        // more that lines of it were sent: a saved time does.
        let file_read = (from.file.device, from.file.inode);
        let is_next_file = std::mem::replace(&mut self.reading, file_read) != file_read;
        times.begin(self.id, time, clock.monotonic(), is_next_file || pipeline.shows_read_time());
        // Lines without timestamps each get a different time, in order, derived from where the line begins.
        let first = time.time + (from.offset - time.start.offset) as i64;
        let flow = &mut self.flow;
        let (mut count, mut worked) = (0, bytes.len());
        let mut work = Work::new(Entry {
            timestamp: first,
            line: Cow::Borrowed(""),
            labels: self.labels.clone(),
            metadata: Vec::new(),
            tenant: None,
            origin: Origin { log: self.id, file, offset: from.offset, clock: None },
            weight: Weight::default(),
            ack: AckRef::Chunk(&ack),
        });
        let views = match &chunk.records {
            None => Views::Lines { lines: chunk.encoding.lines(bytes, &text), trims_returns: chunk.trims_returns },
            Some(records) => Views::Records { text: &text, at: 0, records: records.iter() },
        };
        for View { at, end, text, time, labels, metadata, tenant } in views {
            if stops && count > 0 && !flow.has_room_for(text.len()) {
                worked = at;
                break;
            }
            let weight = Weight::line(end - at);
            count += 1;
            ack.begin_line(mark.after(at as u64));
            let time = time.unwrap_or(first + at as i64);
            let of_stream = self.target.streams.as_ref().map(|streams| streams.of(is_stderr(text)));
            let base = of_stream.flatten().or(labels).unwrap_or(&self.labels);
            work.begin(time, text, base, from.offset + at as u64, weight);
            if of_stream.is_some_and(|labels| labels.is_none()) {
                dropped.discard(&work.entry, &Reason::Relabelled);
                continue;
            }
            work.entry.metadata.extend(metadata.iter().map(Structured::borrowed));
            work.entry.tenant = tenant.cloned();
            if is_viewed {
                live_tail.show(Side::Before, &work.entry);
            }
            pipeline.run(&mut work, &mut |entry| {
                times.note(entry);
                if is_viewed {
                    live_tail.show(Side::After, entry);
                }
                accept(entry, Some(flow), output, rate, dropped, counters, now);
            });
        }
        drop(work);
        if worked < bytes.len() {
            ack.end_at(mark.after(worked as u64));
        }
        let read = Weight { lines: count, bytes: worked as u64 };
        self.ledger.update_account(|account| account.read += read);
        (ack, worked)
    }
}

/// How far the times of a log may stay ahead of a clock that was put back, in nanoseconds. Loki takes what is at most ten
/// minutes ahead of its own clock.
const AHEAD: i64 = 5 * 60 * 1_000_000_000;

/// A time later than all times that the log got before, so that its lines keep their order if the clock is put back. But
/// if that would be far ahead of the clock, Loki would refuse it: then the clock alone decides.
fn after(last: i64, now: i64) -> i64 {
    if last >= now.saturating_add(AHEAD) { now } else { now.max(last.saturating_add(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_does_not_turn_lines_around() {
        let mut last = 0;
        // Forward, far back, unchanged, forward again.
        for now in [100, 200, 50, 50, 51, 300] {
            let time = after(last, now);
            assert!(time > last, "{time} after {last}");
            last = time;
        }
        assert_eq!(last, 300);
    }

    #[test]
    fn a_clock_that_was_far_ahead_is_followed_again_and_one_that_was_slightly_ahead_keeps_the_order() {
        const MINUTE: i64 = 60 * 1_000_000_000;
        let at = |minutes: i64| 1_000_000 * MINUTE + minutes * MINUTE;
        for (ahead, goes_back) in [(24 * 60, true), (6, true), (5, true), (4, false), (1, false), (0, false)] {
            let (mut last, mut went_back) = (at(ahead), 0);
            // Two minutes with a read every second.
            for second in 0..120 {
                let now = at(0) + second * MINUTE / 60;
                let time = after(last, now);
                assert!((now..=now + AHEAD).contains(&time), "{ahead} minutes ahead: {}", time - now);
                went_back += usize::from(time <= last);
                last = time;
            }
            assert_eq!(went_back, usize::from(goes_back), "{ahead} minutes ahead");
        }
        // A machine that slept for a day.
        assert_eq!(after(at(0), at(24 * 60)), at(24 * 60));
        assert_eq!(after(i64::MAX, at(0)), at(0));
    }
}
