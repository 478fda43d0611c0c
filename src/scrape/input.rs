//! The input of a tailer. Reading only needs a [`Source`]. Work that only files need (renames, deleted files, the limit
//! on descriptors) checks whether the input is a log of files.

use std::io;
use std::time::{Instant, SystemTime};

use crate::model::{Checkpoint, Chunk, Mark, Progress, Read, Source, Wake};
use crate::tail::{ClosedLog, Log};

#[derive(Debug)]
pub(super) enum Input {
    Log(Box<Log>),
    /// A log of files that are closed. It is opened again when it has changed.
    Closed(Box<ClosedLog>),
    Other(Box<dyn Source>),
    /// A system call on it has not returned yet.
    Lent,
}

impl Input {
    pub fn log(&self) -> Option<&Log> {
        match self {
            Input::Log(log) => Some(log),
            Input::Closed(_) | Input::Other(_) | Input::Lent => None,
        }
    }

    pub fn log_mut(&mut self) -> Option<&mut Log> {
        match self {
            Input::Log(log) => Some(log),
            Input::Closed(_) | Input::Other(_) | Input::Lent => None,
        }
    }

    /// The log whose files are closed.
    pub fn closed(&self) -> Option<&ClosedLog> {
        match self {
            Input::Closed(closed) => Some(closed),
            Input::Log(_) | Input::Other(_) | Input::Lent => None,
        }
    }

    /// The file that a watch can be of: device and inode.
    pub fn quiet_file(&self) -> Option<(u64, u64)> {
        match self {
            Input::Log(log) => log.quiet_file().map(|(file, _)| file),
            Input::Closed(closed) => Some(closed.file()),
            Input::Other(_) | Input::Lent => None,
        }
    }

    /// Closes the file of a log that was read to its end. Everything of it must be committed.
    pub fn close(&mut self, now: SystemTime) {
        *self = match std::mem::replace(self, Input::Lent) {
            Input::Log(log) => match log.close(now) {
                Ok(closed) => Input::Closed(Box::new(closed)),
                Err(log) => Input::Log(log),
            },
            other => other,
        }
    }

    pub fn is_lent(&self) -> bool {
        matches!(self, Input::Lent)
    }

    fn source(&self) -> Option<&dyn Source> {
        match self {
            Input::Log(log) => Some(&**log),
            Input::Other(source) => Some(&**source),
            Input::Closed(_) | Input::Lent => None,
        }
    }

    fn source_mut(&mut self) -> Option<&mut dyn Source> {
        match self {
            Input::Log(log) => Some(&mut **log),
            Input::Other(source) => Some(&mut **source),
            Input::Closed(_) | Input::Lent => None,
        }
    }
}

impl Source for Input {
    fn read(&mut self, room: usize, now: Instant, chunk: &mut Chunk) -> io::Result<Read> {
        if let Input::Closed(closed) = self {
            match closed.open_again() {
                Ok(None) => return Ok(Read::Idle),
                Ok(Some(log)) => *self = Input::Log(Box::new(log)),
                // All of it was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Read::Finished),
                Err(error) => return Err(error),
            }
        }
        self.source_mut().map_or(Ok(Read::Idle), |source| source.read(room, now, chunk))
    }

    fn rewind(&mut self, to: Mark) -> u64 {
        self.source_mut().map_or(0, |source| source.rewind(to))
    }

    fn committed(&mut self, to: Mark) -> Option<Checkpoint> {
        self.source_mut()?.committed(to)
    }

    fn is_exact(&self) -> bool {
        self.source().is_none_or(|source| source.is_exact())
    }

    fn wake(&self) -> Wake {
        self.source().map_or(Wake::Poll, |source| source.wake())
    }

    fn exposed(&self, uncommitted: u64) -> u64 {
        self.source().map_or(uncommitted, |source| source.exposed(uncommitted))
    }

    fn outlives_run(&self) -> bool {
        self.source().is_some_and(|source| source.outlives_run())
    }

    fn note_progress(&self, progress: &mut Progress) {
        if let Some(closed) = self.closed() {
            closed.note_progress(progress);
        }
        if let Some(source) = self.source() {
            source.note_progress(progress);
        }
    }
}
