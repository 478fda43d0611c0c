//! Times of reading: what lines without a time of their own are given, and which of these have to be remembered so that
//! such a line is the same when it has to be sent again.
//!
//! A chunk's time needs to be remembered once an entry with a time out of that chunk has come through the stages, and has
//! to be before that entry is sent. Where all lines have times of their own nothing is ever written.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use crate::model::{AckRef, Entry, FileId, Position};
use crate::positions::ReadTime;
use crate::tail::Encoding;

/// The chunks of all logs of a reader that are not committed and may matter.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// The chunk being worked on: its log and its times.
    log: u64,
    now: Range<i64>,
    needed: bool,
    logs: HashMap<u64, VecDeque<Chunk>>,
    /// To be written down before anything more is sent.
    unwritten: Vec<(u64, ReadTime)>,
}

/// A chunk that was worked on: it is needed, or a line of it is held by a stage.
#[derive(Debug)]
struct Chunk {
    time: ReadTime,
    /// How many slots of its ledger are closed when it is done with.
    slots: u64,
    needed: bool,
}

impl Times {
    /// A chunk is worked on from now on; `needed` says that its lines show when they were read whatever time they have.
    pub fn begin(&mut self, log: u64, time: &ReadTime, needed: bool) {
        self.log = log;
        self.now = time.time..time.over();
        self.needed = needed;
    }

    /// An entry has come through the stages.
    pub fn note(&mut self, entry: &Entry<'_>) {
        match entry.ack {
            AckRef::Chunk(_) => self.needed |= self.now.contains(&entry.timestamp),
            AckRef::Own(_) => self.note_held(entry),
        }
    }

    /// The chunk is worked on; `held` says that lines of it are not through the stages.
    pub fn end(&mut self, time: ReadTime, slots: u64, held: bool) {
        self.now = 0..0;
        let needed = self.needed;
        if needed {
            self.unwritten.push((self.log, time));
        }
        if needed || held {
            self.logs.entry(self.log).or_default().push_back(Chunk { time, slots, needed });
        }
    }

    /// The same for a chunk whose time is written down already.
    pub fn end_written(&mut self, time: ReadTime, slots: u64) {
        self.now = 0..0;
        self.logs.entry(self.log).or_default().push_back(Chunk { time, slots, needed: true });
    }

    /// So many slots of a log are behind its position: gives the last time that is.
    pub fn committed(&mut self, log: u64, slots: u64) -> Option<i64> {
        let chunks = self.logs.get_mut(&log)?;
        let mut through = None;
        while let Some(chunk) = chunks.pop_front_if(|chunk| chunk.slots <= slots) {
            if chunk.needed {
                through = Some(chunk.time.time);
            }
        }
        if chunks.is_empty() {
            self.logs.remove(&log);
        }
        through
    }

    pub fn forget(&mut self, log: u64) {
        self.logs.remove(&log);
    }

    /// What is to be written down.
    pub fn take(&mut self) -> Vec<(u64, ReadTime)> {
        std::mem::take(&mut self.unwritten)
    }

    /// It may be of an earlier chunk, and of another log than the one being worked on.
    fn note_held(&mut self, entry: &Entry<'_>) {
        let log = entry.origin.log;
        if log == self.log && self.now.contains(&entry.timestamp) {
            self.needed = true;
            return;
        }
        let Some(chunks) = self.logs.get_mut(&log) else {
            return;
        };
        // The time tells the chunk: those of a log do not overlap.
        let after = chunks.partition_point(|chunk| chunk.time.time <= entry.timestamp);
        let Some(chunk) = after.checked_sub(1).and_then(|i| chunks.get_mut(i)) else {
            return;
        };
        if !chunk.needed && entry.timestamp < chunk.time.over() {
            chunk.needed = true;
            self.unwritten.push((log, chunk.time));
        }
    }
}

/// The times that an earlier run left, until reading has passed them.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    times: VecDeque<ReadTime>,
    /// What was found of the file being read: whether it is the one that such a time names.
    reading: FileId,
    judged: Vec<(FileId, bool)>,
}

/// Some of what was read, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Nothing is remembered of all that is there.
    New,
    /// So many bytes lie before what is remembered, and were not worth remembering, or it failed: their time is this.
    Before(usize, ReadTime),
    /// So many bytes lie in a chunk that was remembered, the last of these being the end of it or not.
    Of(usize, ReadTime, bool),
}

impl Remembered {
    pub fn new(times: Vec<ReadTime>) -> Self {
        Self { times: times.into(), ..Self::default() }
    }

    /// Later than all that was given.
    pub fn over(&self) -> i64 {
        self.times.iter().map(ReadTime::over).max().unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// What the time is of the first of `bytes`, which are whole lines and stand at `from`. `is` tells whether the file
    /// being read is the one that a remembered time names.
    pub fn part(
        &mut self,
        bytes: &[u8],
        from: Position,
        encoding: Encoding,
        mut is: impl FnMut(&FileId) -> bool,
    ) -> Part {
        if self.reading != from.file {
            self.reading = from.file;
            self.judged.clear();
        }
        let mut at = 0;
        while let Some(time) = self.times.get(at).copied() {
            if !self.judge(time.start.file, &mut is) {
                at += 1;
                continue;
            }
            if time.end() <= from.offset {
                self.times.drain(..=at);
                at = 0;
                continue;
            }
            let ahead = time.start.offset.saturating_sub(from.offset);
            let until = if ahead > 0 { ahead } else { time.end() - from.offset };
            let len = usize::try_from(until).unwrap_or(usize::MAX).min(bytes.len());
            if len < bytes.len() && encoding.whole_lines(&bytes[..len]) != len {
                // No line begins where one should: this is not what was read then.
                self.times.remove(at);
                continue;
            }
            // Files are read one after the other: what is before it is of those that are done with.
            self.times.drain(..at);
            if ahead > 0 {
                let earlier = time.time.saturating_sub_unsigned(ahead);
                return Part::Before(len, ReadTime { start: from, len: len as u64, time: earlier });
            }
            let whole = len as u64 == until;
            if whole {
                self.times.pop_front();
            }
            return Part::Of(len, time, whole);
        }
        Part::New
    }

    fn judge(&mut self, file: FileId, is: &mut impl FnMut(&FileId) -> bool) -> bool {
        if file == self.reading {
            return true;
        }
        if let Some((_, known)) = self.judged.iter().find(|(judged, _)| *judged == file) {
            return *known;
        }
        let found = is(&file);
        self.judged.push((file, found));
        found
    }
}
