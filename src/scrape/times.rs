//! Read times: the timestamps of lines that have none of their own. Some must be saved so that such a line is identical
//! when it is sent again.
//!
//! If an entry leaves the stages with a timestamp in its chunk's range of read times, the read time of the chunk must be
//! saved before the entry is sent. If all lines have their own timestamps, nothing is saved.

mod saved;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use crate::model::{AckRef, Entry};
use crate::positions::ReadTime;
pub(super) use saved::{Part, SavedReadTimes};

/// The uncommitted chunks of a reader's logs whose times may have to be saved.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// The chunk being processed: its log and its range of times.
    log: u64,
    now: Range<i64>,
    /// See [`Origin::clock`](crate::model::Origin).
    clock: i64,
    needed: bool,
    logs: HashMap<u64, VecDeque<Chunk>>,
    /// Times to save before anything more is sent.
    unwritten: Vec<(u64, ReadTime)>,
}

/// A processed chunk whose time is saved, or of which a stage holds a line.
#[derive(Debug)]
struct Chunk {
    time: ReadTime,
    clock: i64,
    /// The number of committed slots at which the chunk is finished.
    slots: u64,
    needed: bool,
}

impl Times {
    /// Starts a chunk. `needed`: its entries depend on the read time even if they have their own timestamps.
    /// `monotonic`: the present time of the monotonic clock.
    pub fn begin(&mut self, log: u64, time: &ReadTime, monotonic: i64, needed: bool) {
        self.log = log;
        self.now = time.time..time.over();
        self.clock = time.time.saturating_sub(monotonic);
        self.needed = needed;
    }

    /// Notes an entry that came out of the stages, and marks it if it has the time of reading.
    pub fn note(&mut self, entry: &mut Entry<'_>) {
        entry.origin.clock = match entry.ack {
            AckRef::Chunk(_) if self.now.contains(&entry.timestamp) => {
                self.needed = true;
                Some(self.clock)
            }
            AckRef::Chunk(_) => None,
            AckRef::Own(_) => self.note_held(entry),
        };
    }

    /// Ends a chunk. `held`: stages still hold lines of it.
    pub fn end(&mut self, time: ReadTime, slots: u64, held: bool) {
        self.now = 0..0;
        let needed = self.needed;
        if needed {
            self.unwritten.push((self.log, time));
        }
        if needed || held {
            let clock = self.clock;
            self.logs.entry(self.log).or_default().push_back(Chunk { time, clock, slots, needed });
        }
    }

    /// The same for a chunk whose time is already saved.
    pub fn end_written(&mut self, time: ReadTime, slots: u64) {
        self.now = 0..0;
        let clock = self.clock;
        self.logs.entry(self.log).or_default().push_back(Chunk { time, clock, slots, needed: true });
    }

    /// `slots` slots of a log are committed. Returns the last read time that is completely committed. None: there is no
    /// such time.
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

    /// Takes the times to save.
    pub fn take(&mut self) -> Vec<(u64, ReadTime)> {
        std::mem::take(&mut self.unwritten)
    }

    /// The entry may come from an earlier chunk, or from another log than the one being processed.
    fn note_held(&mut self, entry: &Entry<'_>) -> Option<i64> {
        let log = entry.origin.log;
        if log == self.log && self.now.contains(&entry.timestamp) {
            self.needed = true;
            return Some(self.clock);
        }
        let chunks = self.logs.get_mut(&log)?;
        // The timestamp identifies the chunk. Times of later chunks are later, unless the clock was put back.
        let holds = |chunk: &&mut Chunk| (chunk.time.time..chunk.time.over()).contains(&entry.timestamp);
        let chunk = chunks.iter_mut().rev().find(holds)?;
        if !chunk.needed {
            chunk.needed = true;
            self.unwritten.push((log, chunk.time));
        }
        Some(chunk.clock)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::model::{ChunkAck, FileId, LabelSet, Ledger, Mark, Origin, Position};

    fn file(inode: u64) -> FileId {
        FileId { inode, ..FileId::default() }
    }

    fn time(inode: u64, start: u64, len: u64, time: i64) -> ReadTime {
        ReadTime { start: Position { file: file(inode), offset: start, ..Position::default() }, len, time }
    }

    fn entry(log: u64, timestamp: i64, chunk: &ChunkAck) -> Entry<'_> {
        Entry {
            timestamp,
            line: Cow::Borrowed(""),
            labels: LabelSet::default(),
            metadata: Vec::new(),
            tenant: None,
            origin: Origin { log, ..Origin::default() },
            weight: crate::model::Weight::default(),
            ack: AckRef::Chunk(chunk),
        }
    }

    #[test]
    fn a_time_is_written_once_an_entry_shows_it_and_let_go_once_it_is_committed() {
        let chunk = Ledger::new().open_chunk(10, Mark::default());
        let mut times = Times::default();
        let all = [time(1, 0, 10, 1_000), time(1, 10, 10, 2_000), time(1, 20, 10, 3_000), time(1, 30, 10, 4_000)];
        let [own, held, shown, always] = all;
        times.begin(7, &own, 400, false);
        times.note(&mut entry(7, 999, &chunk));
        times.note(&mut entry(7, 1_010, &chunk));
        times.end(own, 1, false);
        // A line of it is held and released while another log is read.
        times.begin(7, &held, 400, false);
        let mut late = Entry { ack: AckRef::Chunk(&chunk).hold(), ..entry(7, 2_009, &chunk) };
        times.end(held, 2, true);
        times.begin(7, &shown, 400, false);
        times.note(&mut entry(7, 3_000, &chunk));
        times.end(shown, 3, false);
        assert_eq!(times.take(), [(7, shown)]);
        times.begin(8, &time(2, 0, 10, 2_005), 400, false);
        times.note(&mut late);
        times.note(&mut late);
        times.end(time(2, 0, 10, 2_005), 1, false);
        times.begin(7, &always, 400, true);
        times.end(always, 4, false);
        assert_eq!(times.take(), [(7, held), (7, always)]);
        let committed: Vec<Option<i64>> = (0..5).map(|slots| times.committed(7, slots)).collect();
        assert_eq!(committed, [None, None, Some(2_000), Some(3_000), Some(4_000)]);
        assert!(times.logs.is_empty());
        // The time of reading of the chunk that it comes from, less the time of the monotonic clock.
        assert_eq!(late.origin.clock, Some(1_600));
        late.close();
        chunk.close();
    }
}
