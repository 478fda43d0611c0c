//! Read times: the timestamps of lines that have none of their own. Some must be saved so that such a line is identical
//! when it is sent again.
//!
//! If an entry leaves the stages with a timestamp in its chunk's range of read times, the read time of the chunk must be
//! saved before the entry is sent. If all lines have their own timestamps, nothing is saved.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use crate::model::{AckRef, Encoding, Entry, FileId, Position};
use crate::positions::ReadTime;
use crate::tail::Log;

/// The uncommitted chunks of a reader's logs whose times may have to be saved.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// The chunk being processed: its log and its range of times.
    log: u64,
    now: Range<i64>,
    needed: bool,
    logs: HashMap<u64, VecDeque<Chunk>>,
    /// Times to save before anything more is sent.
    unwritten: Vec<(u64, ReadTime)>,
}

/// A processed chunk whose time is saved, or of which a stage holds a line.
#[derive(Debug)]
struct Chunk {
    time: ReadTime,
    /// The number of committed slots at which the chunk is finished.
    slots: u64,
    needed: bool,
}

impl Times {
    /// Starts a chunk. `needed`: its entries depend on the read time even if they have their own timestamps.
    pub fn begin(&mut self, log: u64, time: &ReadTime, needed: bool) {
        self.log = log;
        self.now = time.time..time.over();
        self.needed = needed;
    }

    /// Notes an entry that came out of the stages.
    pub fn note(&mut self, entry: &Entry<'_>) {
        match entry.ack {
            AckRef::Chunk(_) => self.needed |= self.now.contains(&entry.timestamp),
            AckRef::Own(_) => self.note_held(entry),
        }
    }

    /// Ends a chunk. `held`: stages still hold lines of it.
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

    /// The same for a chunk whose time is already saved.
    pub fn end_written(&mut self, time: ReadTime, slots: u64) {
        self.now = 0..0;
        self.logs.entry(self.log).or_default().push_back(Chunk { time, slots, needed: true });
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
    fn note_held(&mut self, entry: &Entry<'_>) {
        let log = entry.origin.log;
        if log == self.log && self.now.contains(&entry.timestamp) {
            self.needed = true;
            return;
        }
        let Some(chunks) = self.logs.get_mut(&log) else {
            return;
        };
        // The timestamp identifies the chunk. Times of later chunks are later, unless the clock was put back.
        let holds = |chunk: &&mut Chunk| (chunk.time.time..chunk.time.over()).contains(&entry.timestamp);
        let Some(chunk) = chunks.iter_mut().rev().find(holds) else {
            return;
        };
        if !chunk.needed {
            chunk.needed = true;
            self.unwritten.push((log, chunk.time));
        }
    }
}

/// The read times saved by an earlier run, until reading has passed them.
#[derive(Debug, Default)]
pub(super) struct SavedReadTimes {
    times: VecDeque<ReadTime>,
    /// Whether the file being read is the file of each saved time, as far as checked.
    reading: FileId,
    judged: Vec<(FileId, bool)>,
    /// The read time for bytes of that file that are before the saved times of a newer file.
    before: Option<Option<i64>>,
}

/// The files of a log, as needed here.
pub(super) trait Files {
    /// Whether the file being read is `file`.
    fn is_reading(&mut self, file: &FileId) -> bool;
    /// Bytes between the start of the file being read and the start of the newer file `file`. None: it is not a newer
    /// file of the log.
    fn ahead(&mut self, file: &FileId) -> Option<u64>;
}

impl Files for Log {
    fn is_reading(&mut self, file: &FileId) -> bool {
        Log::is_reading(self, file)
    }

    fn ahead(&mut self, file: &FileId) -> Option<u64> {
        Log::ahead(self, file)
    }
}

/// A part of the bytes that were read, and its read time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// None of the bytes has a saved time.
    New,
    /// This many bytes are before a saved time and have none themselves. They get this time.
    Before(usize, ReadTime),
    /// This many bytes are in a chunk with a saved time. The flag: they reach its end.
    Of(usize, ReadTime, bool),
}

impl SavedReadTimes {
    pub fn new(times: Vec<ReadTime>) -> Self {
        Self { times: times.into(), ..Self::default() }
    }

    /// A time after all saved times.
    pub fn over(&self) -> i64 {
        self.times.iter().map(ReadTime::over).max().unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The read time of the start of `bytes`, which are whole lines beginning at `from`.
    pub fn part(&mut self, bytes: &[u8], from: Position, encoding: Encoding, files: &mut impl Files) -> Part {
        if self.reading != from.file {
            self.reading = from.file;
            self.judged.clear();
            self.before = None;
        }
        let mut at = 0;
        while let Some(time) = self.times.get(at).copied() {
            if !self.judge(time.start.file, files) {
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
                // No line begins at the saved place, so this is not the saved chunk.
                self.times.remove(at);
                continue;
            }
            // Files are read in order: earlier saved times belong to finished files.
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
        match self.before_younger(files) {
            Some(time) => {
                let (len, time) = (bytes.len(), time.saturating_add_unsigned(from.offset));
                Part::Before(len, ReadTime { start: from, len: len as u64, time })
            }
            None => Part::New,
        }
    }

    fn before_younger(&mut self, files: &mut impl Files) -> Option<i64> {
        if let Some(before) = self.before {
            return before;
        }
        let mut ahead = self.times.iter().filter_map(|time| Some((time.time, files.ahead(&time.start.file)?)));
        let before = ahead.next().map(|(time, ahead)| time.saturating_sub_unsigned(ahead));
        self.before = Some(before);
        before
    }

    fn judge(&mut self, file: FileId, files: &mut impl Files) -> bool {
        if file == self.reading {
            return true;
        }
        if let Some((_, known)) = self.judged.iter().find(|(judged, _)| *judged == file) {
            return *known;
        }
        let found = files.is_reading(&file);
        self.judged.push((file, found));
        found
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::model::{ChunkAck, LabelSet, Ledger, Mark, Origin};

    fn file(inode: u64) -> FileId {
        FileId { inode, ..FileId::default() }
    }

    fn time(inode: u64, start: u64, len: u64, time: i64) -> ReadTime {
        ReadTime { start: Position { file: file(inode), offset: start, ..Position::default() }, len, time }
    }

    /// The file being read is 1, formerly 11. File 2 begins a thousand bytes after its start.
    struct Two;

    impl Files for Two {
        fn is_reading(&mut self, file: &FileId) -> bool {
            file.inode == 11
        }

        fn ahead(&mut self, file: &FileId) -> Option<u64> {
            (file.inode == 2).then_some(1_000)
        }
    }

    /// The parts of the bytes in file 1 from `offset` on, as a reader would get them.
    fn parts(times: Vec<ReadTime>, offset: u64, bytes: &[u8]) -> Vec<Part> {
        let mut remembered = SavedReadTimes::new(times);
        let (mut at, mut parts) = (0, Vec::new());
        while at < bytes.len() {
            let from = Position { file: file(1), offset: offset + at as u64, ..Position::default() };
            let part = remembered.part(&bytes[at..], from, Encoding::Utf8, &mut Two);
            at += match part {
                Part::New => bytes.len() - at,
                Part::Before(len, _) | Part::Of(len, ..) => len,
            };
            parts.push(part);
        }
        parts
    }

    #[test]
    fn what_is_read_again_has_the_time_it_had() {
        let lines = b"aaaa\nbbbb\n";
        let whole = time(1, 100, 10, 1_000);
        // The same chunk, from its middle, after its end; a copy of its file; another file.
        assert_eq!(parts(vec![whole], 100, lines), [Part::Of(10, whole, true)]);
        assert_eq!(parts(vec![whole], 105, lines), [Part::Of(5, whole, true), Part::New]);
        assert_eq!(parts(vec![whole], 110, lines), [Part::New]);
        let copy = time(11, 100, 10, 1_000);
        assert_eq!(parts(vec![copy], 100, lines), [Part::Of(10, copy, true)]);
        assert_eq!(parts(vec![time(3, 100, 10, 1_000)], 100, lines), [Part::New]);
        // Fewer bytes are read than before.
        let long = time(1, 100, 30, 1_000);
        assert_eq!(parts(vec![long], 110, lines), [Part::Of(10, long, false)]);
        // Several in sequence, with older files before them.
        let (old, one, two) = (time(3, 500, 5, 10), time(1, 100, 5, 1_000), time(1, 105, 5, 2_000));
        assert_eq!(parts(vec![old, one, two], 100, lines), [Part::Of(5, one, true), Part::Of(5, two, true)]);
    }

    #[test]
    fn what_comes_before_a_remembered_chunk_is_before_it_in_time() {
        let two = time(1, 105, 5, 2_000);
        assert_eq!(
            parts(vec![two], 100, b"aaaa\nbbbb\n"),
            [Part::Before(5, time(1, 100, 5, 1_995)), Part::Of(5, two, true)]
        );
    }

    #[test]
    fn what_comes_before_a_file_of_which_something_is_remembered_is_before_that_in_time() {
        let younger = time(2, 0, 5, 5_000);
        assert_eq!(parts(vec![younger], 100, b"aaaa\nbbbb\n"), [Part::Before(10, time(1, 100, 10, 4_100))]);
        // The saved times of the file itself cover less than was read of it.
        let own = time(1, 100, 5, 3_000);
        assert_eq!(
            parts(vec![own, younger], 100, b"aaaa\nbbbb\n"),
            [Part::Of(5, own, true), Part::Before(5, time(1, 105, 5, 4_105))]
        );
    }

    #[test]
    fn a_time_whose_lines_are_not_there_is_of_something_else() {
        assert_eq!(parts(vec![time(1, 100, 7, 1_000)], 100, b"aaaa\nbbbb\n"), [Part::New]);
        assert_eq!(parts(vec![time(1, 107, 7, 1_000)], 100, b"aaaa\nbbbb\n"), [Part::New]);
        assert_eq!(parts(vec![time(1, 0, u64::MAX, i64::MAX)], 100, b"aaaa\n").len(), 1);
        assert_eq!(parts(vec![time(1, u64::MAX, u64::MAX, 0)], 100, b"aaaa\n").len(), 1);
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
        times.begin(7, &own, false);
        times.note(&entry(7, 999, &chunk));
        times.note(&entry(7, 1_010, &chunk));
        times.end(own, 1, false);
        // A line of it is held and released while another log is read.
        times.begin(7, &held, false);
        let late = Entry { ack: AckRef::Chunk(&chunk).hold(), ..entry(7, 2_009, &chunk) };
        times.end(held, 2, true);
        times.begin(7, &shown, false);
        times.note(&entry(7, 3_000, &chunk));
        times.end(shown, 3, false);
        assert_eq!(times.take(), [(7, shown)]);
        times.begin(8, &time(2, 0, 10, 2_005), false);
        times.note(&late);
        times.note(&late);
        times.end(time(2, 0, 10, 2_005), 1, false);
        times.begin(7, &always, true);
        times.end(always, 4, false);
        assert_eq!(times.take(), [(7, held), (7, always)]);
        let committed: Vec<Option<i64>> = (0..5).map(|slots| times.committed(7, slots)).collect();
        assert_eq!(committed, [None, None, Some(2_000), Some(3_000), Some(4_000)]);
        assert!(times.logs.is_empty());
        late.close();
        chunk.close();
    }
}
