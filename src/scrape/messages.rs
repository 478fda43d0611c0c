//! Messages between the threads of a scrape. No sender blocks, and queues do not grow while a receiver is busy:
//! repeated messages are kept once, and if several messages are about the same thing, only the last is kept.

mod commands;
mod events;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::given::GivenSource;
use super::watch::Heard;
use crate::model::{Target, Update};
use crate::tail::AllowedPaths;

pub(super) use commands::Commands;
pub(super) use events::Events;
pub use events::Updates;

/// A message to the target manager.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    Update(Update),
    Heard(Heard),
    /// This reader has finished this log.
    Finished {
        reader: usize,
        log: u64,
    },
    /// This reader has stopped.
    Stopped {
        reader: usize,
    },
    Stop(StopRequest),
    /// A source for all readers, with the number by which it is taken back.
    Give(u64, Arc<GivenSource>),
    TakeBack(u64),
}

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StopRequest {
    /// The longest time to wait for answers.
    pub within: Duration,
    /// Read everything available first. Otherwise the next scrape continues with it.
    pub reads_on: bool,
}

impl StopRequest {
    /// Combines two requests: the shorter wait applies.
    fn and(self, other: Option<Self>) -> Self {
        let other = other.unwrap_or(self);
        Self { within: self.within.min(other.within), reads_on: self.reads_on && other.reads_on }
    }
}

/// A message from the target manager to a reader.
#[derive(Debug)]
pub(super) enum Command {
    Add(Assignment),
    Open(SourceAssignment),
    /// The log's target has other labels from now on.
    Relabel(u64, Arc<Target>),
    /// The log's target is gone. The log ends once its file has been quiet for a while.
    Retire(u64),
    /// Something happened to the log's file name.
    Look(u64),
    /// Something was written to the log's file, which was watched for that.
    Written(u64),
    /// All initial targets are known. Logs from the last scrape that nobody claimed have no target.
    Settle,
    Stop(StopRequest),
}

/// A log to read.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub log: u64,
    pub path: Arc<Path>,
    /// Its directory, after all links.
    pub folder: Arc<Path>,
    pub target: Arc<Target>,
    /// Where its files may be.
    pub allowed: Arc<AllowedPaths>,
    pub job: usize,
    /// The glob also matches its older generations, so they are read first if the log has no position.
    pub from_oldest: bool,
    /// It may have existed before the first start. None: it is read from its start.
    pub start: Option<Start>,
}

/// Which logs begin at their end if they have no position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// Only those that were last modified before this time.
    pub not_before: SystemTime,
    /// Only those that were there at this time.
    pub looked: SystemTime,
}

/// A log that is not a file.
#[derive(Debug)]
pub(super) struct SourceAssignment {
    pub log: u64,
    pub target: Arc<Target>,
    pub source: Arc<GivenSource>,
}
