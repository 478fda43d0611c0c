//! Which mark is where in which file. A log counts the bytes that it gives; a file counts its own.

use std::collections::VecDeque;

use crate::model::{Mark, Position};
use crate::tail::generation::Generation;

/// What was read of the log and is not committed yet, as runs of bytes that follow each other in one file.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Of the next byte to read.
    pub next: Mark,
    pub committed: Mark,
    /// The oldest holds what is committed, or begins there.
    runs: VecDeque<Run>,
    /// How many generations have a number.
    numbered: u64,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    from: Mark,
    /// Where the first of its bytes is.
    place: Position,
    /// The number of its generation.
    generation: u64,
}

/// Where to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Back {
    pub generation: u64,
    pub offset: u64,
    /// How many bytes are to be read again there.
    pub bytes: u64,
}

impl Marks {
    /// So many bytes of this generation are read now. Gives where they begin.
    pub fn step(&mut self, generation: &mut Generation, bytes: u64) -> (Mark, Position) {
        let (start, place) = (self.next, generation.position());
        if generation.number == 0 {
            self.numbered += 1;
            generation.number = self.numbered;
        }
        match self.runs.back_mut() {
            // Its head may be known better by now.
            Some(run) if run.generation == generation.number => run.place.file = place.file,
            _ => self.runs.push_back(Run { from: start, place, generation: generation.number }),
        }
        generation.offset += bytes;
        self.next = start.after(bytes);
        (start, place)
    }

    /// Where this mark is. One that is the end of a file and the beginning of the next is in the first.
    pub fn position(&self, mark: Mark) -> Option<Position> {
        let before = self.runs.partition_point(|run| run.from < mark);
        let run = self.runs.get(before.saturating_sub(1))?;
        Some(Position { offset: run.place.offset + mark.since(run.from), ..run.place })
    }

    /// What is before `to` will not be asked for again.
    pub fn commit(&mut self, to: Mark) {
        self.committed = self.committed.max(to);
        while self.runs.get(1).is_some_and(|second| second.from < to) {
            self.runs.pop_front();
        }
    }

    /// Whether all that was read of this generation is committed.
    pub fn is_done_with(&self, generation: &Generation) -> bool {
        let end = self.runs.iter().position(|run| run.generation == generation.number);
        let end = end.map(|at| self.runs.get(at + 1).map_or(self.next, |next| next.from));
        end.is_none_or(|end| end <= self.committed)
    }

    /// One step back towards `to`, which ends within one file.
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
