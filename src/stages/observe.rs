//! Watches stages at work: what each of them changes, drops, holds and releases. A pipeline that is observed has the same
//! stages, each inside one that tells the observer. Other pipelines have nothing of this.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::{Due, Flow, Stage, Work};
use crate::model::{Labels, Outcome};

/// Gets the steps of all stages of a pipeline.
pub(super) trait Observer: fmt::Debug + Send + Sync {
    /// A stage gets an entry. The stages inside it come before its end.
    fn begins(&self, stage: &Name);

    /// The same stage is done with this entry.
    fn ends(&self, stage: &Name, step: Step);

    /// A stage releases an entry that it held.
    fn releases(&self, stage: &Name, entry: Snapshot);
}

/// How a stage is named.
#[derive(Clone, Debug)]
pub(super) struct Name {
    /// `json`. None: it is not a stage of the config.
    pub kind: Option<Box<str>>,
    /// Its path in the job.
    pub path: Box<str>,
}

/// What a stage did with an entry.
#[derive(Debug)]
pub(super) struct Step {
    pub before: Snapshot,
    /// The same as before, if the stage holds the entry: the rest of such an entry has no meaning.
    pub after: Snapshot,
    pub outcome: Outcome,
    /// Why it could not do its work. Empty: it could.
    pub failures: Vec<String>,
}

/// An entry in front of a stage, or behind it.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub line: String,
    /// Unix nanoseconds.
    pub timestamp: i64,
    pub tenant: Option<String>,
    pub labels: Labels,
    pub metadata: Labels,
    pub extracted: Labels,
}

impl Snapshot {
    fn of(work: &Work<'_>) -> Self {
        let entry = &work.entry;
        let text = |value: super::Value<'_>| value.into_text().map_or("null".into(), Cow::into_owned);
        Self {
            line: entry.line.to_string(),
            timestamp: entry.timestamp,
            tenant: entry.tenant.as_ref().map(|tenant| tenant.to_string()),
            labels: entry.labels.to_map(),
            metadata: entry.metadata.iter().map(|pair| (pair.name.to_string(), pair.value.to_string())).collect(),
            extracted: work.extracted.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        }
    }
}

/// The same stage, observed.
pub(super) fn observed(observer: Arc<dyn Observer>, name: Name, stage: Box<dyn Stage>) -> Box<dyn Stage> {
    Box::new(Observed { observer, name, stage })
}

struct Observed {
    observer: Arc<dyn Observer>,
    name: Name,
    stage: Box<dyn Stage>,
}

impl Observed {
    fn tell_released(&self, released: &[Work<'static>]) {
        released.iter().for_each(|work| self.observer.releases(&self.name, Snapshot::of(work)));
    }
}

impl Stage for Observed {
    fn process(&mut self, work: &mut Work<'_>, released: &mut Vec<Work<'static>>) -> Flow {
        let (before, known) = (Snapshot::of(work), released.len());
        self.observer.begins(&self.name);
        work.ask_why();
        let flow = self.stage.process(work, released);
        self.tell_released(&released[known..]);
        let (after, outcome) = match &flow {
            Flow::Pass => (Snapshot::of(work), Outcome::Passed),
            Flow::Discard(reason) => (Snapshot::of(work), Outcome::Dropped(reason.as_str().into())),
            Flow::Held(_) => (before.clone(), Outcome::Held),
        };
        self.observer.ends(&self.name, Step { before, after, outcome, failures: work.why() });
        flow
    }

    fn release(&mut self, due: Due, released: &mut Vec<Work<'static>>) {
        let known = released.len();
        self.stage.release(due, released);
        self.tell_released(&released[known..]);
    }

    fn next_due(&self) -> Option<Instant> {
        self.stage.next_due()
    }

    fn busy_until(&self) -> Option<Instant> {
        self.stage.busy_until()
    }
}
