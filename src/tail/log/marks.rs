//! Translates marks to positions. A mark counts the bytes of the log, a position the bytes of one file.

use std::collections::VecDeque;

use crate::model::{Mark, Position};
use crate::tail::generation::Generation;

/// The uncommitted bytes of the log, as runs of consecutive bytes in one file.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// The mark of the next byte to read.
    pub next: Mark,
    pub committed: Mark,
    /// The first run contains the committed mark, or begins there.
    runs: VecDeque<Run>,
    /// The last number given to a generation.
    numbered: u64,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    from: Mark,
    /// The position of its first byte.
    place: Position,
    /// The number of its generation.
    generation: u64,
}

/// One step of a rewind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Back {
    pub generation: u64,
    pub offset: u64,
    /// The number of bytes to read again there.
    pub bytes: u64,
}

impl Marks {
    /// Records that these bytes of this generation are read. Returns the mark and the position of the first of them.
    pub fn step(&mut self, generation: &mut Generation, bytes: &[u8]) -> (Mark, Position) {
        let (start, place) = (self.next, generation.position());
        if generation.number == 0 {
            self.numbered += 1;
            generation.number = self.numbered;
        }
        match self.runs.back_mut() {
            // The fingerprint may be longer by now.
            Some(run) if run.generation == generation.number => run.place.file = place.file,
            _ => self.runs.push_back(Run { from: start, place, generation: generation.number }),
        }
        generation.pass(bytes);
        self.next = start.after(bytes.len() as u64);
        (start, place)
    }

    /// The position of this mark, and the number of its generation. A mark at the end of one file and the start of the
    /// next is in the first. None: nothing was read.
    pub fn position(&self, mark: Mark) -> Option<(Position, u64)> {
        let before = self.runs.partition_point(|run| run.from < mark);
        let run = self.runs.get(before.saturating_sub(1))?;
        Some((run.place.with_offset(run.place.offset + mark.since(run.from)), run.generation))
    }

    /// Drops the runs before `to`, which are not needed any more.
    pub fn commit(&mut self, to: Mark) {
        self.committed = self.committed.max(to);
        while self.runs.get(1).is_some_and(|second| second.from < to) {
            self.runs.pop_front();
        }
    }

    /// Whether everything that was read of this generation is committed.
    pub fn is_done_with(&self, generation: &Generation) -> bool {
        let end = self.runs.iter().position(|run| run.generation == generation.number);
        let end = end.map(|at| self.runs.get(at + 1).map_or(self.next, |next| next.from));
        end.is_none_or(|end| end <= self.committed)
    }

    /// One step back towards `to`, within one file. None: `to` is reached.
    pub fn step_back(&mut self, to: Mark) -> Option<Back> {
        if self.next <= to {
            return None;
        }
        let run = self.runs.back()?;
        let until = to.max(run.from);
        let back = Back {
            generation: run.generation,
            offset: run.place.offset + until.since(run.from),
            bytes: self.next.since(until),
        };
        self.next = until;
        if run.from >= until {
            self.runs.pop_back();
        }
        Some(back)
    }
}
