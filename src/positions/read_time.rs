//! When chunks were read whose lines have no time of their own: read again, they are given that time again.

use crate::model::Position;

/// Some whole lines of a file that were read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadTime {
    pub start: Position,
    pub len: u64,
    /// Unix nanoseconds. A line that begins `n` bytes into the chunk has the time `n` nanoseconds later.
    pub time: i64,
}

impl ReadTime {
    /// Where in its file it ends.
    pub fn end(&self) -> u64 {
        self.start.offset.saturating_add(self.len)
    }

    /// Later than all that its lines are given.
    pub fn over(&self) -> i64 {
        self.time.saturating_add_unsigned(self.len)
    }

    /// Whether nothing of it is to be read again by who goes on at `position`, as far as that alone tells.
    fn is_behind(&self, position: &Position) -> bool {
        let (own, other) = (self.start.file, position.file);
        (own.device, own.inode) == (other.device, other.inode) && self.end() <= position.offset
    }
}

/// Those of one log that are not behind its position, by time.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadTimes(Vec<ReadTime>);

impl ReadTimes {
    pub fn add(&mut self, time: ReadTime) {
        let at = self.0.partition_point(|t| t.time < time.time);
        self.0.insert(at, time);
    }

    /// `through` is the last that lies wholly behind `position`, if who commits knows: from one file to the next that
    /// cannot be told from the position.
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
