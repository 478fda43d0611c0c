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
}

impl Input {
    pub fn log(&self) -> Option<&Log> {
        match self {
            Input::Log(log) => Some(log),
            Input::Other(_) => None,
        }
    }

    pub fn log_mut(&mut self) -> Option<&mut Log> {
        match self {
            Input::Log(log) => Some(log),
            Input::Other(_) => None,
        }
    }

    fn source(&self) -> &dyn Source {
        match self {
            Input::Log(log) => &**log,
            Input::Other(source) => &**source,
        }
    }

    fn source_mut(&mut self) -> &mut dyn Source {
        match self {
            Input::Log(log) => &mut **log,
            Input::Other(source) => &mut **source,
        }
    }
}

impl Source for Input {
    fn read(&mut self, room: usize, now: Instant, chunk: &mut Chunk) -> io::Result<Read> {
        self.source_mut().read(room, now, chunk)
    }

    fn rewind(&mut self, to: Mark) -> u64 {
        self.source_mut().rewind(to)
    }

    fn committed(&mut self, to: Mark) -> Option<Checkpoint> {
        self.source_mut().committed(to)
    }

    fn is_exact(&self) -> bool {
        self.source().is_exact()
    }

    fn wake(&self) -> Wake {
        self.source().wake()
    }

    fn outlives_run(&self) -> bool {
        self.source().outlives_run()
    }

    fn note_progress(&self, progress: &mut Progress) {
        self.source().note_progress(progress);
    }
}
