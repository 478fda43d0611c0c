//! Records the steps of stages, for commands and pages that explain a config.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::observe::{Name, Observer, Snapshot, Step};
use crate::model::{Change, Labels, StageStep};

/// Unix nanoseconds as RFC 3339.
pub(super) fn time(nanos: i64) -> String {
    Timestamp::from_nanosecond(nanos.into()).map_or_else(|_| nanos.to_string(), |time| format!("{time:.9}"))
}

/// Collects the steps of all stages of a pipeline.
#[derive(Debug, Default)]
pub(super) struct Tracer(Mutex<Steps>);

#[derive(Debug, Default)]
struct Steps {
    /// In the order in which the stages began, so that the stages inside a stage come after it.
    steps: Vec<StageStep>,
    /// The steps that have begun and not ended.
    open: Vec<usize>,
}

impl Tracer {
    pub fn take(&self) -> Vec<StageStep> {
        std::mem::take(&mut self.lock().steps)
    }

    fn lock(&self) -> MutexGuard<'_, Steps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Tracer {
    fn begins(&self, stage: &Name) {
        let Steps { steps, open } = &mut *self.lock();
        let step = StageStep { stage: stage.path.to_string(), depth: open.len(), ..StageStep::default() };
        open.push(steps.len());
        steps.push(step);
    }

    fn ends(&self, _: &Name, Step { before, after, outcome, failures }: Step) {
        let Steps { steps, open } = &mut *self.lock();
        if let Some(step) = open.pop().and_then(|at| steps.get_mut(at)) {
            (step.changes, step.outcome, step.failures) = (changes(&before, &after), outcome, failures);
        }
    }

    /// The entries of the pipeline show it.
    fn releases(&self, _: &Name, _: Snapshot) {}
}

fn changes(before: &Snapshot, after: &Snapshot) -> Vec<Change> {
    // Extracted values begin as the labels, which are shown as labels.
    let extracted = |entry: &Snapshot| {
        let mut extracted = entry.extracted.clone();
        extracted.retain(|name, value| entry.labels.get(name) != Some(value));
        extracted
    };
    // A value that became a label was extracted before, and still is.
    let mut was_extracted = extracted(before);
    was_extracted.retain(|name, value| after.labels.get(name) != Some(value));
    let mut changes = Change::between("", &own(before), &own(after));
    changes.extend(Change::of_labels(&before.labels, &after.labels));
    changes.extend(Change::between("metadata ", &before.metadata, &after.metadata));
    changes.extend(Change::between("extracted ", &was_extracted, &extracted(after)));
    changes
}

/// `line`, `timestamp` and `tenant`.
fn own(entry: &Snapshot) -> Labels {
    let own = [
        Some(("line", entry.line.clone())),
        Some(("timestamp", time(entry.timestamp))),
        entry.tenant.as_ref().map(|tenant| ("tenant", tenant.clone())),
    ];
    own.into_iter().flatten().map(|(name, value)| (name.to_string(), value)).collect()
}
