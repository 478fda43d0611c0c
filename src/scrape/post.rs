//! What the threads of a scrape tell each other.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::bell::Bell;
use super::stdin::Pipe;
use super::watch::Heard;
use crate::model::{Target, Update};

/// What the scout is told.
#[derive(Debug)]
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
    pub path: PathBuf,
    pub target: Arc<Target>,
    pub job: usize,
    /// Its older generations match the glob as well, and are read first when nothing is known of it.
    pub from_oldest: bool,
}

/// Where commands wait until the reader comes to them.
#[derive(Debug)]
pub(super) struct Mailbox {
    commands: Mutex<Vec<Command>>,
    pub bell: Arc<Bell>,
}

impl Mailbox {
    pub fn new(bell: Arc<Bell>) -> Self {
        Self { commands: Mutex::default(), bell }
    }

    pub fn send(&self, command: Command) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push(command);
        self.bell.ring();
    }

    pub fn take(&self) -> Vec<Command> {
        std::mem::take(&mut self.commands.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
