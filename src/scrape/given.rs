//! A source that is not a file of a target: standard input, a receiver, a journal, a container. A job gives it to the
//! reader of each client, and each reader opens it at the cursor that its client has committed.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use super::inbox::{Inbox, Intake};
use super::parker::Parker;
use crate::model::{LabelSet, Source, Target};

/// How one reader opens a source.
#[derive(Debug)]
pub struct Opening {
    /// The number of the client, from 0. Client 0 counts everything that is counted once for all clients.
    pub client: usize,
    /// The cursor that this client committed last. None: it has committed nothing yet.
    pub cursor: Option<Arc<str>>,
    /// Wakes the reader. Only of use for a source whose [`wake`](Source::wake) is [`Rings`](crate::model::Wake::Rings).
    pub waker: Waker,
}

type Open = Box<dyn Fn(Opening) -> io::Result<Box<dyn Source>> + Send + Sync>;

/// A source for the readers of all clients.
pub struct GivenSource {
    /// The job whose stages its records run through.
    pub job: Arc<str>,
    /// Shown on the pages in place of a path. Unique within the job.
    pub name: Arc<str>,
    /// The labels of records that have none of their own.
    pub labels: LabelSet,
    /// The name of its cursor in `positions.yaml`. None: it has no cursor, so the next run of the agent does not continue
    /// where this one stopped.
    pub position: Option<Arc<str>>,
    /// Called once for each reader. It must not block. A source that may come later, such as a folder that is not
    /// mounted yet, is opened at once and has nothing to read until then.
    pub open: Open,
    /// The agent ends with this source.
    pub(super) is_last: bool,
}

impl GivenSource {
    pub fn new(
        (job, name): (Arc<str>, Arc<str>),
        labels: LabelSet,
        position: Option<Arc<str>>,
        open: impl Fn(Opening) -> io::Result<Box<dyn Source>> + Send + Sync + 'static,
    ) -> Self {
        Self { job, name, labels, position, open: Box::new(open), is_last: false }
    }

    /// A source whose records are handed in through the intake.
    pub(super) fn received<'p>(
        name: (Arc<str>, Arc<str>),
        labels: LabelSet,
        parkers: impl IntoIterator<Item = &'p Arc<Parker>>,
    ) -> (Intake, Self) {
        let (intake, inboxes) = Intake::new(parkers.into_iter().cloned());
        let inboxes: Vec<Mutex<Option<Inbox>>> = inboxes.into_iter().map(|inbox| Mutex::new(Some(inbox))).collect();
        let open = move |opening: Opening| {
            let inbox = inboxes.get(opening.client).and_then(|inbox| lock(inbox).take());
            inbox.map(|inbox| Box::new(inbox) as Box<dyn Source>).ok_or_else(|| io::Error::other("it is open already"))
        };
        (intake, Self::new(name, labels, None, open))
    }

    /// The target of its records, for the pages.
    pub(super) fn target(&self) -> Target {
        Target::new(self.job.clone(), self.labels.clone(), &*self.name)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for GivenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenSource").field("job", &self.job).field("name", &self.name).finish_non_exhaustive()
    }
}

/// For tests that compare events.
impl PartialEq for GivenSource {
    fn eq(&self, other: &Self) -> bool {
        (&self.job, &self.name) == (&other.job, &other.name)
    }
}
