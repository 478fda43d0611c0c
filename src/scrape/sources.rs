//! Gives sources that are not files to the readers while the scrape runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::given::GivenSource;
use super::messages::{Event, Events};

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Sources {
    events: Arc<Events>,
    next: Arc<AtomicU64>,
}

impl Sources {
    pub(super) fn new(events: Arc<Events>) -> Self {
        Self { events, next: Arc::default() }
    }

    /// Gives the source to the reader of each client. When the result is dropped the source is taken back: it is read
    /// until it has been quiet for a while, as a file whose target is gone.
    #[must_use = "the source is taken back when this is dropped"]
    pub fn give(&self, source: GivenSource) -> Given {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.events.send(Event::Give(id, Arc::new(source)));
        Given { events: self.events.clone(), id }
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
