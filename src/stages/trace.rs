//! Watches stages at work, for commands that explain a config. A traced pipeline has the same stages, each inside one that
//! records what it did. Other pipelines have nothing of this.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;

use super::{Due, Flow, Stage, Work};
use crate::model::{Change, Labels, Outcome, StageStep};

/// Unix nanoseconds as RFC 3339.
pub(super) fn time(nanos: i64) -> String {
    Timestamp::from_nanosecond(nanos.into()).map_or_else(|_| nanos.to_string(), |time| format!("{time:.9}"))
}

/// Collects the steps of all stages of a pipeline.
#[derive(Clone, Default)]
pub(super) struct Tracer(Arc<Mutex<Steps>>);

#[derive(Default)]
struct Steps {
    steps: Vec<StageStep>,
    depth: usize,
}

impl Tracer {
    /// The same stage, recorded under this name.
    pub fn watch(&self, name: &str, stage: Box<dyn Stage>) -> Box<dyn Stage> {
        Box::new(Watched { name: name.to_string(), stage, tracer: self.clone() })
    }

    pub fn take(&self) -> Vec<StageStep> {
        std::mem::take(&mut self.lock().steps)
    }

    fn lock(&self) -> MutexGuard<'_, Steps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the step of a stage before it runs, so that the stages inside it come after it.
    fn begin(&self, name: &str) -> usize {
        let mut steps = self.lock();
        let depth = steps.depth;
        steps.depth += 1;
        steps.steps.push(StageStep { stage: name.to_string(), depth, ..StageStep::default() });
        steps.steps.len() - 1
    }

    fn end(&self, step: usize, changes: Vec<Change>, outcome: Outcome) {
        let mut steps = self.lock();
        steps.depth -= 1;
        if let Some(step) = steps.steps.get_mut(step) {
            (step.changes, step.outcome) = (changes, outcome);
        }
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tracer")
    }
}

struct Watched {
    name: String,
    stage: Box<dyn Stage>,
    tracer: Tracer,
}

impl Stage for Watched {
    fn process(&mut self, work: &mut Work<'_>, released: &mut Vec<Work<'static>>) -> Flow {
        let (before, step) = (Snapshot::of(work), self.tracer.begin(&self.name));
        let flow = self.stage.process(work, released);
        let (changes, outcome) = match &flow {
            Flow::Pass => (before.changes(&Snapshot::of(work)), Outcome::Passed),
            Flow::Discard(reason) => (before.changes(&Snapshot::of(work)), Outcome::Dropped(reason.as_str().into())),
            Flow::Held(_) => (Vec::new(), Outcome::Held),
        };
        self.tracer.end(step, changes, outcome);
        flow
    }

    fn release(&mut self, due: Due, released: &mut Vec<Work<'static>>) {
        self.stage.release(due, released);
    }

    fn next_due(&self) -> Option<Instant> {
        self.stage.next_due()
    }

    fn busy_until(&self) -> Option<Instant> {
        self.stage.busy_until()
    }
}

/// An entry in front of a stage, or behind it.
struct Snapshot {
    /// `line`, `timestamp` and `tenant`.
    own: Labels,
    labels: Labels,
    metadata: Labels,
    extracted: Labels,
}

impl Snapshot {
    fn of(work: &Work<'_>) -> Self {
        let entry = &work.entry;
        let own = [
            Some(("line", entry.line.to_string())),
            Some(("timestamp", time(entry.timestamp))),
            entry.tenant.as_ref().map(|tenant| ("tenant", tenant.to_string())),
        ];
        // Extracted values begin as the labels, which are shown as labels.
        let text = |value: super::Value<'_>| value.into_text().map_or("null".into(), Cow::into_owned);
        let extracted = work.extracted.iter().map(|(name, value)| (name.to_string(), text(value)));
        let labels = entry.labels.to_map();
        Self {
            own: own.into_iter().flatten().map(|(name, value)| (name.to_string(), value)).collect(),
            extracted: extracted.filter(|(name, value)| labels.get(name) != Some(value)).collect(),
            labels,
            metadata: entry.metadata.iter().map(|pair| (pair.name.to_string(), pair.value.to_string())).collect(),
        }
    }

    fn changes(&self, after: &Self) -> Vec<Change> {
        // A value that became a label was extracted before, and still is.
        let mut was_extracted = self.extracted.clone();
        was_extracted.retain(|name, value| after.labels.get(name) != Some(value));
        let mut changes = Change::between("", &self.own, &after.own);
        changes.extend(Change::of_labels(&self.labels, &after.labels));
        changes.extend(Change::between("metadata ", &self.metadata, &after.metadata));
        changes.extend(Change::between("extracted ", &was_extracted, &after.extracted));
        changes
    }
}
