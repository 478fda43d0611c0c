//! What the threads of a scrape tell each other. Nobody here waits for another thread, and nothing grows while one of them
//! is busy: what is told twice is kept once, and only what was told last of a thing is kept.

mod commands;
mod events;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::watch::Heard;
use crate::model::{Source, Target, Update};
use crate::positions::LogName;
use crate::tail::AllowedPaths;

pub(super) use commands::Commands;
pub(super) use events::Events;
pub use events::Updates;

/// What the target manager is told.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    Update(Update),
    Heard(Heard),
    /// This reader is done with this log.
    Finished {
        reader: usize,
        log: u64,
    },
    /// This reader has stopped.
    Stopped {
        reader: usize,
    },
    Stop(StopRequest),
}

/// How to come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StopRequest {
    /// Answers are waited for so long at most.
    pub within: Duration,
    /// What there is is read to its end first; otherwise the next scrape goes on with it.
    pub reads_on: bool,
}

impl StopRequest {
    /// Who wants it sooner is obeyed.
    fn and(self, other: Option<Self>) -> Self {
        let other = other.unwrap_or(self);
        Self { within: self.within.min(other.within), reads_on: self.reads_on && other.reads_on }
    }
}

/// What the target manager tells a reader.
#[derive(Debug)]
pub(super) enum Command {
    Add(Assignment),
    Open(SourceAssignment),
    /// Its target has other labels from now on.
    Relabel(u64, Arc<Target>),
    /// Its target is gone: the file decides when it is done.
    Retire(u64),
    /// Something happened to its name.
    Look(u64),
    /// All targets that there were at first are known: what the last scrape left and nobody has asked for is nobody's.
    SettleEstate,
    Stop(StopRequest),
}

/// A log to read.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub log: u64,
    pub path: Arc<Path>,
    pub target: Arc<Target>,
    /// Where its files may be.
    pub allowed: Arc<AllowedPaths>,
    pub job: usize,
    /// Its older generations match the glob as well, and are read first when nothing is known of it.
    pub from_oldest: bool,
}

/// Opens a source where it was committed last, which it knows by this cursor.
pub(super) type Opener = Box<dyn FnOnce(Option<Arc<str>>) -> std::io::Result<Box<dyn Source>> + Send>;

/// A log that is in no file.
pub(super) struct SourceAssignment {
    pub log: u64,
    pub name: Arc<str>,
    pub target: Arc<Target>,
    pub job: usize,
    /// What its position is kept under; None: it has none.
    pub position: Option<LogName>,
    pub open: Opener,
}

impl std::fmt::Debug for SourceAssignment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceAssignment").field("log", &self.log).field("name", &self.name).finish_non_exhaustive()
    }
}
