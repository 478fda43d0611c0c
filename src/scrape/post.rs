//! What the threads of a scrape tell each other. Nobody here waits for another thread, and nothing grows while one of them
//! is busy: what is told twice is kept once, and only what was told last of a thing is kept.

mod inbox;
mod mailbox;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::stdin::Pipe;
use super::watch::Heard;
use crate::model::{Target, Update};
use crate::tail::Fence;

pub(super) use inbox::Inbox;
pub use inbox::Updates;
pub(super) use mailbox::Mailbox;

/// What the scout is told.
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
    Stop(Duration),
}

/// What the scout tells a reader.
#[derive(Debug)]
pub(super) enum Command {
    Add(Assignment),
    /// Lines from standard input.
    Stdin(u64, Pipe, Arc<Target>),
    /// Its target has other labels from now on.
    Relabel(u64, Arc<Target>),
    /// Its target is gone: the file decides when it is done.
    Retire(u64),
    /// Something happened to its name.
    Look(u64),
    Stop(Duration),
}

/// A log to read.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub log: u64,
    pub path: Arc<Path>,
    pub target: Arc<Target>,
    /// Where its files may be.
    pub fence: Arc<Fence>,
    pub job: usize,
    /// Its older generations match the glob as well, and are read first when nothing is known of it.
    pub from_oldest: bool,
}
