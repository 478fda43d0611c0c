//! Turns the records of a chunk into entries.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Instant;

use super::Tailer;
use crate::model::{
    AckRef, ChunkAck, Entry, Mark, Origin, Position, Reason, Side, Structured, View, Views, Weight, next_time,
};
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
                let time = next_time(self.last_time, sink.clock.unix_nanos());
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
