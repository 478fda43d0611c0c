//! Gives sources that are not files to the readers while the scrape runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::given::GivenSource;
use super::inbox::Intake;
use super::messages::{Event, Events};
use super::parker::Parker;
use crate::model::LabelSet;

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Sources {
    events: Arc<Events>,
    parkers: Arc<[Arc<Parker>]>,
    next: Arc<AtomicU64>,
}

impl Sources {
    pub(super) fn new(events: Arc<Events>, parkers: Arc<[Arc<Parker>]>) -> Self {
        Self { events, parkers, next: Arc::default() }
    }

    /// Gives the source to the reader of each client. When the result is dropped the source is taken back: it is read
    /// until it has been quiet for a while, as a file whose target is gone.
    #[must_use = "the source is taken back when this is dropped"]
    pub fn give(&self, source: GivenSource) -> Given {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.events.send(Event::Give(id, Arc::new(source)));
        Given { events: self.events.clone(), id }
    }

    /// An intake for records of this job, which become a source with this name and these labels. The source ends when
    /// the intake is dropped and its records are committed. Records that are not committed when the config is reloaded
    /// stay in memory, and the next run sends them.
    pub fn intake(&self, job: Arc<str>, name: Arc<str>, labels: LabelSet) -> (Intake, Given) {
        let (intake, source) = GivenSource::received((job, name), labels, self.parkers.iter());
        (intake, self.give(source))
    }
}

/// A source that was given. Dropping it takes the source back.
#[derive(Debug)]
pub struct Given {
    events: Arc<Events>,
    id: u64,
}

impl Drop for Given {
    fn drop(&mut self) {
        self.events.send(Event::TakeBack(self.id));
    }
}
