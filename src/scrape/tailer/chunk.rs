//! Lines that were read at a time become entries.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Instant;

use super::{Source, Tailer, note};
use crate::model::{AckRef, ChunkAck, Entry, Origin, Position, Reason, Weight};
use crate::positions::ReadTime;
use crate::scrape::desk::{Desk, accept};
use crate::scrape::times::Part;
use crate::stages::Work;
use crate::tail::Encoding;

impl Tailer {
    /// Works on what was read. With `stops` that ends where a stream's window is full; gives how much was worked on.
    pub(super) fn lines(
        &mut self,
        desk: &mut Desk,
        len: usize,
        start: Position,
        end: Position,
        stops: bool,
        now: Instant,
    ) -> usize {
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
            let (ack, worked) = self.chunk(desk, at..at + part_len, from, &time, stops, now);
            let time = if stops { ReadTime { len: worked as u64, ..time } } else { time };
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
            at += worked;
            if worked < part_len {
                break;
            }
        }
        self.ledger.update_progress(|p| p.read_offset = start.offset + at as u64);
        at
    }

    /// Works on some whole lines that were read at one time.
    fn chunk(
        &mut self,
        desk: &mut Desk,
        part: Range<usize>,
        from: Position,
        time: &ReadTime,
        stops: bool,
        now: Instant,
    ) -> (ChunkAck, usize) {
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
        let (mut count, mut worked) = (0, bytes.len());
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
        exit.begin_chunk();
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
            if stops
                && let Some((next, line)) = lines.peek()
                && !exit.has_room_for(line.len())
            {
                worked = *next;
                break;
            }
        }
        drop(work);
        if worked < bytes.len() {
            chunk.end_at(from.offset + worked as u64);
        }
        let read = Weight { lines: count, bytes: worked as u64 };
        self.ledger.update_account(|account| account.read += read);
        (chunk, worked)
    }
}

/// A time later than anything a log was given before, whatever the clock does.
pub(super) fn after(last: i64, now: i64) -> i64 {
    now.max(last + 1)
}
