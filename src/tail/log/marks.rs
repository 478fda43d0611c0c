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
    /// The bytes were written after reading had moved on to a younger generation.
    is_late: bool,
}

/// One step of a rewind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Back {
    pub generation: u64,
    pub is_late: bool,
    pub offset: u64,
    /// The number of bytes to read again there.
    pub bytes: u64,
}

impl Marks {
    /// Records that these bytes of this generation are read. Returns the mark and the position of the first of them.
    pub fn step(&mut self, generation: &mut Generation, bytes: &[u8]) -> (Mark, Position) {
        self.step_in(generation, false, bytes)
    }

    /// The same for bytes that were written after reading had moved on to a younger generation.
    pub fn step_late(&mut self, generation: &mut Generation, bytes: &[u8]) -> (Mark, Position) {
        self.step_in(generation, true, bytes)
    }

    fn step_in(&mut self, generation: &mut Generation, is_late: bool, bytes: &[u8]) -> (Mark, Position) {
        let (start, place) = (self.next, generation.position());
        if generation.number == 0 {
            self.numbered += 1;
            generation.number = self.numbered;
        }
        match self.runs.back_mut() {
            // The fingerprint may be longer by now.
            Some(run) if (run.generation, run.is_late) == (generation.number, is_late) => run.place.file = place.file,
            _ => {
                // Nearly all logs have one run most of the time.
                if self.runs.capacity() == 0 {
                    self.runs.reserve_exact(1);
                }
                self.runs.push_back(Run { from: start, place, generation: generation.number, is_late });
            }
        }
        generation.pass(bytes);
        self.next = start.after(bytes.len() as u64);
        (start, place)
    }

    /// The position of this mark, and the number of its generation. A mark at the end of one file and the start of the
    /// next is in the first. Late bytes do not count. None: nothing else was read since the committed mark.
    pub fn position(&self, mark: Mark) -> Option<(Position, u64)> {
        let before = self.runs.partition_point(|run| run.from < mark);
        let at = (0..before.max(1)).rev().find(|at| self.runs.get(*at).is_some_and(|run| !run.is_late))?;
        Some(self.end_within(at, mark))
    }

    /// The same for the late bytes of each generation that has some before this mark.
    pub fn late_positions(&self, mark: Mark) -> Vec<(Position, u64)> {
        let before = self.runs.partition_point(|run| run.from < mark);
        (0..before).filter(|at| self.runs[*at].is_late).map(|at| self.end_within(at, mark)).collect()
    }

    /// How far a run goes before this mark.
    fn end_within(&self, at: usize, mark: Mark) -> (Position, u64) {
        let run = &self.runs[at];
        let end = self.runs.get(at + 1).map_or(mark, |next| next.from.min(mark)).max(run.from);
        (run.place.with_offset(run.place.offset + end.since(run.from)), run.generation)
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
        self.end_of(generation.number).is_none_or(|end| end <= self.committed)
    }

    /// The mark behind the last bytes that were read of the generation with this number. None: all of them are committed.
    pub fn end_of(&self, generation: u64) -> Option<Mark> {
        let end = self.runs.iter().rposition(|run| run.generation == generation)?;
        Some(self.runs.get(end + 1).map_or(self.next, |next| next.from))
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
            is_late: run.is_late,
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
