//! The input of a tailer. Reading only needs a [`Source`]. Work that only files need (renames, deleted files, the limit
//! on descriptors) checks whether the input is a log of files.

use std::io;
use std::time::Instant;

use crate::model::{Checkpoint, Chunk, Mark, Progress, Read, Source, Wake};
use crate::tail::Log;

#[derive(Debug)]
pub(super) enum Input {
    Log(Box<Log>),
    Other(Box<dyn Source>),
    /// A system call on it has not returned yet.
    Lent,
}

impl Input {
    pub fn log(&self) -> Option<&Log> {
        match self {
            Input::Log(log) => Some(log),
            Input::Other(_) | Input::Lent => None,
        }
    }

    pub fn log_mut(&mut self) -> Option<&mut Log> {
        match self {
            Input::Log(log) => Some(log),
            Input::Other(_) | Input::Lent => None,
        }
    }

    pub fn is_lent(&self) -> bool {
        matches!(self, Input::Lent)
    }

    fn source(&self) -> Option<&dyn Source> {
        match self {
            Input::Log(log) => Some(&**log),
            Input::Other(source) => Some(&**source),
            Input::Lent => None,
        }
    }

    fn source_mut(&mut self) -> Option<&mut dyn Source> {
        match self {
            Input::Log(log) => Some(&mut **log),
            Input::Other(source) => Some(&mut **source),
            Input::Lent => None,
        }
    }
}

impl Source for Input {
    fn read(&mut self, room: usize, now: Instant, chunk: &mut Chunk) -> io::Result<Read> {
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

    fn outlives_run(&self) -> bool {
        self.source().is_some_and(|source| source.outlives_run())
    }

    fn note_progress(&self, progress: &mut Progress) {
        if let Some(source) = self.source() {
            source.note_progress(progress);
        }
    }
}
