//! Stages at work, one after the other.

use std::fmt;
use std::time::Instant;

use super::extracted::Room;
use super::{Clock, CustomMetrics, Due, Extracted, Flow, Program, Stage, Surroundings, Work};
use crate::metrics::Dropped;
use crate::model::Entry;

/// The stages of a job at work for one client.
pub struct Pipeline {
    chain: Chain,
    extract: bool,
    shows_read_time: bool,
    /// What the line before has left of its extracted values' memory.
    room: Room,
}

impl Pipeline {
    pub(super) fn new(program: &Program, dropped: Dropped, custom: Option<CustomMetrics>, clock: Clock) -> Self {
        let extract = program.extract;
        let chain = Chain::new(program, &Surroundings { extract, dropped, custom, clock });
        Self { chain, extract, shows_read_time: program.shows_read_time, room: Room::default() }
    }

    /// Runs an entry through all stages; what comes out goes to `sink`.
    pub fn run<'c>(&mut self, entry: Entry<'c>, sink: &mut dyn FnMut(Entry<'_>)) {
        if self.chain.stages.is_empty() {
            return sink(entry);
        }
        let extracted = match self.extract {
            true => Extracted::begin(&entry.labels, std::mem::take(&mut self.room)),
            false => Extracted::default(),
        };
        // Empty, it costs nothing; a stage that never holds anything never fills it.
        let mut released = Vec::new();
        let flow = self.chain.run_from(0, Work { read: entry.timestamp, entry, extracted }, &mut released);
        for earlier in released {
            sink(earlier.entry);
        }
        match flow {
            Flow::Pass(work) => {
                self.room = work.extracted.end();
                sink(work.entry);
            }
            Flow::Discard(work, reason) => {
                self.room = work.extracted.end();
                self.chain.dropped.discard(work.entry, &reason);
            }
            Flow::Held => {}
        }
    }

    /// Lets go what the stages hold and is due.
    pub fn release(&mut self, due: Due, sink: &mut dyn FnMut(Entry<'_>)) {
        let mut released = Vec::new();
        self.chain.release(due, &mut released);
        for work in released {
            sink(work.entry);
        }
    }

    /// Whether an entry may show when its line was read even if it has a time of its own.
    pub fn shows_read_time(&self) -> bool {
        self.shows_read_time
    }

    /// When something that is held comes due.
    pub fn next_due(&self) -> Option<Instant> {
        self.chain.next_due()
    }

    /// Until when this should not be given more: a stage holds lines back, and each line that comes only waits there.
    pub fn busy_until(&self) -> Option<Instant> {
        self.chain.busy_until()
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pipeline({} stages)", self.chain.stages.len())
    }
}

/// Stages as one stage.
pub(super) struct Chain {
    stages: Vec<Box<dyn Stage>>,
    /// For what is discarded after it was held.
    dropped: Dropped,
}

impl Chain {
    pub fn new(program: &Program, around: &Surroundings) -> Self {
        Self { stages: program.recipes.iter().map(|make| make(around)).collect(), dropped: around.dropped.clone() }
    }

    fn run_from<'c>(&mut self, first: usize, mut work: Work<'c>, released: &mut Vec<Work<'static>>) -> Flow<'c> {
        let mut held = Vec::new();
        let last = self.stages.len().saturating_sub(1);
        for i in first..self.stages.len() {
            let flow = self.stages[i].process(work, &mut held);
            for earlier in held.drain(..) {
                self.go_on(i + 1, earlier, released);
            }
            match flow {
                // What the last one says is given on as it is: an entry is large enough to be worth not moving twice.
                Flow::Pass(on) if i < last => work = on,
                end => return end,
            }
        }
        Flow::Pass(work)
    }

    /// Runs what was released by one stage through those after it.
    fn go_on(&mut self, first: usize, work: Work<'static>, released: &mut Vec<Work<'static>>) {
        match self.run_from(first, work, released) {
            Flow::Pass(work) => released.push(work),
            Flow::Discard(work, reason) => self.dropped.discard(work.entry, &reason),
            Flow::Held => {}
        }
    }
}

impl Stage for Chain {
    fn process<'c>(&mut self, work: Work<'c>, released: &mut Vec<Work<'static>>) -> Flow<'c> {
        self.run_from(0, work, released)
    }

    fn release(&mut self, due: Due, released: &mut Vec<Work<'static>>) {
        let mut held = Vec::new();
        for i in 0..self.stages.len() {
            self.stages[i].release(due, &mut held);
            for work in held.drain(..) {
                self.go_on(i + 1, work, released);
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.stages.iter().filter_map(|s| s.next_due()).min()
    }

    fn busy_until(&self) -> Option<Instant> {
        self.stages.iter().filter_map(|s| s.busy_until()).max()
    }
}
