//! Remembers when chunks were read whose lines have no timestamp, so that they get the same time when read again.

use crate::model::Position;

/// Whole lines of a file that were read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadTime {
    pub start: Position,
    pub len: u64,
    /// Unix nanoseconds. A line that begins `n` bytes into the chunk gets this time plus `n` nanoseconds.
    pub time: i64,
}

impl ReadTime {
    /// The offset in its file where the chunk ends.
    pub fn end(&self) -> u64 {
        self.start.offset.saturating_add(self.len)
    }

    /// A time after all times that its lines get.
    pub fn over(&self) -> i64 {
        self.time.saturating_add_unsigned(self.len)
    }

    /// Whether the chunk ends at or before `position`, in the same file. False for different files.
    fn is_behind(&self, position: &Position) -> bool {
        self.start.file.has_inode_of(&position.file) && self.end() <= position.offset
    }
}

/// The read times of one log that are not before its position: those of a file in the order of its offsets, the files in the
/// order of saving. That is not always the order of the times (if the clock was put back), and not always the order of
/// reading (stages hold lines while later ones are saved).
#[derive(Clone, Debug, Default)]
pub(super) struct ReadTimes {
    times: Vec<ReadTime>,
    /// A time that is not before those of the lines in front of the position. 0: unknown.
    last: i64,
}

impl ReadTimes {
    pub fn add(&mut self, time: ReadTime) {
        let is_later = |t: &ReadTime| t.start.file.has_inode_of(&time.start.file) && t.start.offset > time.start.offset;
        // Nearly always it is the last one.
        let at = match self
            .times
            .last()
            .is_some_and(|last| is_later(last) || !last.start.file.has_inode_of(&time.start.file))
        {
            true => self.times.iter().position(is_later).unwrap_or(self.times.len()),
            false => self.times.len(),
        };
        self.times.insert(at, time);
    }

    /// The next line of the log gets a later time than this. 0: unknown.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// Drops read times before `position`. `through` is the last read time completely before it, if known. Across files
    /// the position alone is not enough.
    pub fn let_go(&mut self, position: &Position, through: Option<i64>) {
        let last = through.and_then(|through| self.times.iter().rposition(|t| t.time == through));
        // The end of time says that all of it is over.
        if let Some(through) = through.filter(|through| last.is_none() && *through < i64::MAX) {
            self.last = self.last.max(through);
        }
        let (mut at, own) = (0, &mut self.last);
        self.times.retain(|t| {
            let is_before = match (last, through) {
                // What was read later may have been saved earlier: then it is not over yet.
                (Some(last), Some(through)) => at <= last && t.time <= through,
                (None, Some(through)) => t.time <= through,
                (_, None) => false,
            };
            at += 1;
            let is_over = is_before || t.is_behind(position);
            if is_over {
                *own = t.over();
            }
            !is_over
        });
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The start of the first chunk in each file.
    pub fn files(&self) -> Vec<Position> {
        let mut files: Vec<Position> = Vec::new();
        for time in &self.times {
            if !files.iter().any(|known| known.file.has_inode_of(&time.start.file)) {
                files.push(time.start);
            }
        }
        files
    }

    pub fn iter(&self) -> impl Iterator<Item = &ReadTime> {
        self.times.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FileId;

    fn position(inode: u64, offset: u64) -> Position {
        Position { file: FileId { inode, ..FileId::default() }, offset, ..Position::default() }
    }

    /// A chunk of a hundred bytes, which was read at this time.
    fn chunk(inode: u64, offset: u64, time: i64) -> ReadTime {
        ReadTime { start: position(inode, offset), len: 100, time }
    }

    fn starts(times: &ReadTimes) -> Vec<(u64, u64)> {
        times.iter().map(|t| (t.start.file.inode, t.start.offset)).collect()
    }

    /// A stage held the first line while the second one went on, so the second one was saved first.
    #[test]
    fn a_chunk_that_was_saved_late_is_in_the_order_of_its_file_and_takes_no_later_one_along() {
        let mut times = ReadTimes::default();
        [chunk(1, 100, 2_000), chunk(1, 0, 1_000), chunk(1, 200, 3_000)].into_iter().for_each(|t| times.add(t));
        assert_eq!(starts(&times), [(1, 0), (1, 100), (1, 200)]);
        times.let_go(&position(1, 0), Some(1_000));
        assert_eq!(starts(&times), [(1, 100), (1, 200)]);
    }

    /// The same over a rotation: the held line is in the older file.
    #[test]
    fn a_chunk_of_an_older_file_that_was_saved_late_takes_no_chunk_of_the_younger_file_along() {
        let mut times = ReadTimes::default();
        [chunk(1, 100, 2_000), chunk(2, 0, 3_000), chunk(1, 0, 1_000)].into_iter().for_each(|t| times.add(t));
        assert_eq!(starts(&times), [(1, 0), (1, 100), (2, 0)]);
        times.let_go(&position(1, 100), Some(1_000));
        assert_eq!(starts(&times), [(1, 100), (2, 0)]);
        let mut times = ReadTimes::default();
        [chunk(2, 0, 3_000), chunk(1, 0, 1_000)].into_iter().for_each(|t| times.add(t));
        times.let_go(&position(2, 0), Some(1_000));
        assert_eq!(starts(&times), [(2, 0)]);
    }

    /// The clock was put back between two chunks.
    #[test]
    fn chunks_before_the_position_are_dropped_whatever_the_clock_was() {
        let mut times = ReadTimes::default();
        [chunk(1, 0, 9_000), chunk(1, 100, 1_000), chunk(1, 200, 2_000)].into_iter().for_each(|t| times.add(t));
        times.let_go(&position(1, 200), Some(1_000));
        assert_eq!(starts(&times), [(1, 200)]);
        assert_eq!(times.last(), 1_100);
    }
}
