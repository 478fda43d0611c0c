//! Runs stages one after the other.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::labelling::Changing;
use super::observe::{Name, Observer, observed};
use super::reads::Reads;
use super::{CustomMetrics, Due, Flow, Program, Recipe, Stage, Surroundings, Work};
use crate::metrics::Dropped;
use crate::model::{Clock, Entry, KeyPath, LabelSet, Step, loki_label_name};

/// The stages of a job, running for one client.
pub struct Pipeline {
    chain: Chain,
    extract: bool,
    shows_read_time: bool,
    mend: Option<Mend>,
}

/// Corrects label names that are not valid in Loki.
#[derive(Default)]
struct Mend(Changing);

impl Pipeline {
    pub(super) fn new(
        program: &Program,
        unwraps: bool,
        dropped: Dropped,
        custom: Option<CustomMetrics>,
        clock: Clock,
    ) -> Self {
        // With several clients, only one shows the changes.
        let inspector = program.inspector.clone().filter(|_| custom.is_some());
        // All values are shown, also those that no stage reads.
        let reads = if inspector.is_some() { Reads::All } else { program.reads.clone() };
        let observer = inspector.map(|inspector| Arc::new(inspector) as Arc<dyn Observer>);
        let around = Surroundings { reads, dropped, custom, clock, observer };
        Self::around(program, unwraps, &around)
    }

    /// A pipeline that tells what each stage does. All values are extracted, also those that no stage uses.
    pub(super) fn observed(
        program: &Program,
        unwraps: bool,
        dropped: Dropped,
        clock: Clock,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let around = Surroundings { reads: Reads::All, dropped, custom: None, clock, observer: Some(observer) };
        Self::around(program, unwraps, &around)
    }

    fn around(program: &Program, unwraps: bool, around: &Surroundings) -> Self {
        let extract = !around.reads.is_nothing();
        let mut chain = Chain::new(program, around);
        if unwraps {
            let unwrapping = super::docker::unwrapping(around);
            let path = KeyPath::key("the JSON of Docker's log file");
            chain.stages.insert(0, watched(around, None, &path, unwrapping));
        }
        let mend = program.mends_names.then(Mend::default);
        Self { chain, extract, shows_read_time: program.shows_read_time, mend }
    }

    /// Runs an entry through all stages. `sink` borrows each resulting entry.
    pub fn run(&mut self, work: &mut Work<'_>, sink: &mut dyn FnMut(&mut Entry<'_>)) {
        if self.chain.stages.is_empty() {
            return sink(&mut work.entry);
        }
        work.read = work.entry.timestamp;
        if self.extract {
            work.extracted.begin(&work.entry.labels);
        }
        // An empty vector costs nothing. It stays empty unless a stage holds entries.
        let mut released = Vec::new();
        let flow = self.chain.run_from(0, work, &mut released);
        if let Some(mend) = &mut self.mend {
            released.iter_mut().for_each(|work| mend.names(&mut work.entry));
            if matches!(flow, Flow::Pass) {
                mend.names(&mut work.entry);
            }
        }
        if !released.is_empty() {
            give(released, sink);
        }
        match flow {
            Flow::Pass => sink(&mut work.entry),
            Flow::Discard(reason) => self.chain.dropped.discard(&work.entry, &reason),
            Flow::Held(_) => {}
        }
    }

    /// Releases held entries that are due.
    pub fn release(&mut self, due: Due, sink: &mut dyn FnMut(&mut Entry<'_>)) {
        let mut released = Vec::new();
        self.chain.release(due, &mut released);
        if let Some(mend) = &mut self.mend {
            released.iter_mut().for_each(|work| mend.names(&mut work.entry));
        }
        give(released, sink);
    }

    /// Frees what is known of a quiet log only so that its next line is handled faster. What is held stays.
    pub fn forget(&mut self, log: u64) {
        self.chain.stages.iter_mut().for_each(|stage| stage.forget(log));
    }

    /// Whether an entry may show its read time even if it has its own time.
    pub fn shows_read_time(&self) -> bool {
        self.shows_read_time
    }

    /// When the next held entry is due. None: nothing is held.
    pub fn next_due(&self) -> Option<Instant> {
        self.chain.next_due()
    }

    /// Until when the pipeline should get no more entries, because a stage is delaying lines. None: now.
    pub fn busy_until(&self) -> Option<Instant> {
        self.chain.busy_until()
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pipeline({} stages)", self.chain.stages.len())
    }
}

impl Mend {
    fn names(&mut self, entry: &mut Entry<'_>) {
        let mended = |old: &LabelSet| LabelSet::new(old.iter().map(|(name, value)| (loki_label_name(name), value)));
        entry.labels = self.0.apply(&entry.labels, mended);
    }
}

/// The stage, observed if there is an observer. `kind` is its name in the config.
fn watched(around: &Surroundings, kind: Option<&str>, path: &KeyPath, stage: Box<dyn Stage>) -> Box<dyn Stage> {
    let Some(observer) = &around.observer else { return stage };
    let path = match path.steps().first() {
        // The path begins in the list of stages.
        Some(Step::Index(_)) => path.clone().within("pipeline_stages").to_string(),
        _ => path.to_string(),
    };
    observed(observer.clone(), Name { kind: kind.map(Into::into), path: path.into() }, stage)
}

/// A list of stages that acts as one stage.
pub(super) struct Chain {
    stages: Vec<Box<dyn Stage>>,
    /// Counts entries that are discarded after they were held.
    dropped: Dropped,
}

impl Chain {
    pub fn new(program: &Program, around: &Surroundings) -> Self {
        let start =
            |((name, make), path): (&(String, Recipe), &KeyPath)| watched(around, Some(name), path, make(around));
        let stages = program.recipes.iter().zip(&program.paths).map(start).collect();
        Self { stages, dropped: around.dropped.clone() }
    }

    fn run_from(&mut self, first: usize, work: &mut Work<'_>, released: &mut Vec<Work<'static>>) -> Flow {
        let mut held = Vec::new();
        for i in first..self.stages.len() {
            let flow = self.stages[i].process(work, &mut held);
            if !held.is_empty() {
                held.drain(..).for_each(|earlier| self.go_on(i + 1, earlier, released));
            }
            if !matches!(flow, Flow::Pass) {
                return flow;
            }
        }
        Flow::Pass
    }

    /// Runs entries released by one stage through the later stages.
    fn go_on(&mut self, first: usize, mut work: Work<'static>, released: &mut Vec<Work<'static>>) {
        match self.run_from(first, &mut work, released) {
            Flow::Pass => return released.push(work),
            Flow::Discard(reason) => self.dropped.discard(&work.entry, &reason),
            Flow::Held(_) => {}
        }
        work.entry.close();
    }
}

fn give(released: Vec<Work<'static>>, sink: &mut dyn FnMut(&mut Entry<'_>)) {
    for mut work in released {
        sink(&mut work.entry);
        work.entry.close();
    }
}

impl Stage for Chain {
    fn process(&mut self, work: &mut Work<'_>, released: &mut Vec<Work<'static>>) -> Flow {
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
