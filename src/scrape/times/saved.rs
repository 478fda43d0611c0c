//! The read times that an earlier run has saved.

use std::collections::VecDeque;

use crate::model::{Encoding, FileId, Position};
use crate::positions::ReadTime;
use crate::tail::Log;

/// The read times saved by an earlier run, until reading has passed them.
#[derive(Debug, Default)]
pub(in crate::scrape) struct SavedReadTimes {
    times: VecDeque<ReadTime>,
    /// The file being read, as of the last [`ask`](Self::ask).
    reading: FileId,
    /// What is known of the files of the saved times.
    known: Vec<Known>,
    /// The read time for bytes of the file being read that are before the saved times of a newer file.
    before: Option<Option<i64>>,
}

/// What a file of saved times is to the file being read.
#[derive(Debug)]
struct Known {
    file: FileId,
    is_read_now: bool,
    may_be_read: bool,
    ahead: Option<u64>,
}

/// The files of a log, as needed here.
pub(in crate::scrape) trait Files {
    /// Whether the file that is read, `reading`, is `file`.
    fn is_reading(&mut self, reading: &FileId, file: &FileId) -> bool;
    /// Whether lines of this file may be read later.
    fn may_be_read(&mut self, file: &FileId) -> bool;
    /// Bytes between the start of the file being read and the start of the newer file `file`. None: it is not a newer
    /// file of the log.
    fn ahead(&mut self, file: &FileId) -> Option<u64>;
}

impl Files for Log {
    fn is_reading(&mut self, reading: &FileId, file: &FileId) -> bool {
        match self.position().file.has_inode_of(reading) {
            true => Log::is_reading(self, file),
            false => reading.has_inode_of(file),
        }
    }

    fn may_be_read(&mut self, file: &FileId) -> bool {
        self.is_to_be_read(file)
    }

    fn ahead(&mut self, file: &FileId) -> Option<u64> {
        Log::ahead(self, file)
    }
}

/// A part of the bytes that were read, and its read time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::scrape) enum Part {
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

    /// Finds out what the files of the saved times are to `reading`, the file being read. This may take long, and hang: it
    /// reads files, and may decompress them.
    pub fn ask(&mut self, reading: FileId, files: &mut impl Files) {
        if self.reading == reading && !self.known.is_empty() {
            // Files go meanwhile. One that is gone does not come back before another file is read.
            for known in self.known.iter_mut().filter(|known| !known.is_read_now && known.may_be_read) {
                known.may_be_read = files.may_be_read(&known.file);
            }
            return;
        }
        (self.reading, self.before) = (reading, None);
        self.known.clear();
        for file in self.times.iter().map(|time| time.start.file) {
            if self.known.iter().any(|known| known.file == file) {
                continue;
            }
            let is_read_now = file == reading || files.is_reading(&reading, &file);
            let ahead = if is_read_now { None } else { files.ahead(&file) };
            self.known.push(Known { file, is_read_now, may_be_read: files.may_be_read(&file), ahead });
        }
    }

    /// The read time of the start of `bytes`, which are whole lines beginning at `from`, in the file of the last
    /// [`ask`](Self::ask).
    pub fn part(&mut self, bytes: &[u8], from: Position, encoding: Encoding) -> Part {
        let mut at = 0;
        while let Some(time) = self.times.get(at).copied() {
            if !self.known_of(&time.start.file).is_some_and(|known| known.is_read_now) {
                at += 1;
                continue;
            }
            if time.end() <= from.offset {
                self.times.remove(at);
                at = self.pass(at);
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
            at = self.pass(at);
            if ahead > 0 {
                let earlier = time.time.saturating_sub_unsigned(ahead);
                return Part::Before(len, ReadTime { start: from, len: len as u64, time: earlier });
            }
            let whole = len as u64 == until;
            if whole {
                self.times.remove(at);
            }
            return Part::Of(len, time, whole);
        }
        match self.before_younger() {
            Some(time) => {
                let (len, time) = (bytes.len(), time.saturating_add_unsigned(from.offset));
                Part::Before(len, ReadTime { start: from, len: len as u64, time })
            }
            None => Part::New,
        }
    }

    /// Forgets those of the first saved times that belong to finished files. Files are read in order, but older ones may
    /// get late lines. Returns how many are left.
    fn pass(&mut self, first: usize) -> usize {
        let passed: Vec<ReadTime> = self.times.drain(..first).collect();
        let may_be_read = |time: &&ReadTime| self.known_of(&time.start.file).is_some_and(|known| known.may_be_read);
        let left: Vec<ReadTime> = passed.iter().filter(may_be_read).copied().collect();
        let kept = left.len();
        left.into_iter().rev().for_each(|time| self.times.push_front(time));
        kept
    }

    fn before_younger(&mut self) -> Option<i64> {
        if let Some(before) = self.before {
            return before;
        }
        let ahead = |time: &ReadTime| Some((time.time, self.known_of(&time.start.file)?.ahead?));
        let before = self.times.iter().find_map(ahead).map(|(time, ahead)| time.saturating_sub_unsigned(ahead));
        self.before = Some(before);
        before
    }

    fn known_of(&self, file: &FileId) -> Option<&Known> {
        self.known.iter().find(|known| known.file == *file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64) -> FileId {
        FileId { inode, ..FileId::default() }
    }

    fn time(inode: u64, start: u64, len: u64, time: i64) -> ReadTime {
        ReadTime { start: Position { file: file(inode), offset: start, ..Position::default() }, len, time }
    }

    /// The file being read is 1, formerly 11. File 2 begins a thousand bytes after its start.
    struct Two;

    impl Files for Two {
        fn is_reading(&mut self, _: &FileId, file: &FileId) -> bool {
            file.inode == 11
        }

        fn may_be_read(&mut self, file: &FileId) -> bool {
            file.inode == 4
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
            remembered.ask(from.file, &mut Two);
            let part = remembered.part(&bytes[at..], from, Encoding::Utf8);
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
        // A file that may get late lines keeps its times.
        let mut remembered = SavedReadTimes::new(vec![time(3, 500, 5, 10), time(4, 500, 5, 20), whole]);
        let from = time(1, 100, 10, 0).start;
        remembered.ask(from.file, &mut Two);
        assert_eq!(remembered.part(lines, from, Encoding::Utf8), Part::Of(10, whole, true));
        let late = time(4, 500, 5, 20);
        remembered.ask(late.start.file, &mut Two);
        assert_eq!(remembered.part(b"late\n", late.start, Encoding::Utf8), Part::Of(5, late, true));
        assert!(remembered.is_empty());
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
}
