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

/// The read times of one log that are not before its position, in the order of reading. That is not the order of the times
/// if the clock was put back.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadTimes {
    times: Vec<ReadTime>,
    /// A time that is not before those of the lines in front of the position. 0: unknown.
    last: i64,
}

impl ReadTimes {
    pub fn add(&mut self, time: ReadTime) {
        self.times.push(time);
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
                (Some(last), _) => at <= last,
                (None, Some(through)) => t.time <= through,
                (None, None) => false,
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

    pub fn iter(&self) -> impl Iterator<Item = &ReadTime> {
        self.times.iter()
    }
}
