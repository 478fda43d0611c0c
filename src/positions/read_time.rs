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

/// The read times of one log that are not before its position, by time.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadTimes(Vec<ReadTime>);

impl ReadTimes {
    pub fn add(&mut self, time: ReadTime) {
        let at = self.0.partition_point(|t| t.time < time.time);
        self.0.insert(at, time);
    }

    /// Drops read times before `position`. `through` is the last read time completely before it, if known. Across files
    /// the position alone is not enough.
    pub fn let_go(&mut self, position: &Position, through: Option<i64>) {
        self.0.retain(|t| through.is_none_or(|through| t.time > through) && !t.is_behind(position));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &ReadTime> {
        self.0.iter()
    }
}
