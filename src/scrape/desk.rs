//! What a reader's logs are worked on with, and where their entries go.

use std::time::Instant;

use super::print::Printer;
use super::rates::Limiter;
use super::times::Times;
use super::{Books, metrics::Metrics};
use crate::batch::{Batcher, Outcome, StreamId};
use crate::metrics::Dropped;
use crate::model::{Clock, Entry, Reason};
use crate::stages::{Due, Pipeline};

/// What all tailers of a reader work with.
#[derive(Debug)]
pub(super) struct Desk {
    pub clock: Clock,
    pub buffer: Vec<u8>,
    pub pipelines: Vec<Pipeline>,
    pub exit: Exit,
    pub rate: Option<Limiter>,
    pub dropped: Dropped,
    pub books: Books,
    pub metrics: Metrics,
    pub times: Times,
}

/// Where entries go.
#[derive(Debug)]
pub(super) enum Exit {
    Batches(Box<Batcher>),
    Print(Printer),
}

impl Exit {
    /// What was given to streams before is not this chunk's.
    pub fn begin_chunk(&mut self) {
        if let Exit::Batches(batcher) = self {
            batcher.begin_chunk();
        }
    }

    /// Whether there is room for a line of this length wherever the chunk's lines went so far.
    pub fn has_room_for(&self, line: usize) -> bool {
        match self {
            Exit::Batches(batcher) => line < batcher.left(),
            Exit::Print(_) => true,
        }
    }
}

impl Desk {
    /// Lets go what has waited long enough in the stages; but not what waits for lines that are there and `unread`: logs,
    /// and which pipeline theirs is.
    pub fn release_due(&mut self, now: Instant, unread: impl Fn() -> Vec<(u64, usize)>) {
        let Desk { pipelines, exit, rate, dropped, books, times, .. } = self;
        for (i, pipeline) in pipelines.iter_mut().enumerate() {
            if pipeline.next_due().is_none_or(|due| due > now) {
                continue;
            }
            for (log, _) in unread().into_iter().filter(|(_, own)| *own == i) {
                pipeline.release(Due::Unread(log, now), &mut |_| {});
            }
            pipeline.release(Due::At(now), &mut |entry| {
                times.note(entry);
                accept(entry, exit, rate, dropped, books, now);
            });
        }
    }

    pub fn next_due(&self) -> Option<Instant> {
        let stages = self.pipelines.iter().filter_map(Pipeline::next_due).min();
        let batches = match &self.exit {
            Exit::Batches(batcher) => batcher.next_due(),
            Exit::Print(_) => None,
        };
        stages.into_iter().chain(batches).min()
    }
}

/// The end of the pipeline: the rate limit, then the batch. Gives the stream the entry went to.
pub(super) fn accept(
    entry: &mut Entry<'_>,
    exit: &mut Exit,
    rate: &mut Option<Limiter>,
    dropped: &Dropped,
    books: &Books,
    now: Instant,
) -> Option<StreamId> {
    if let Some(rate) = rate
        && !rate.allows(now)
    {
        dropped.discard(entry, &Reason::GlobalRateLimiter);
        return None;
    }
    let batcher = match exit {
        Exit::Batches(batcher) => batcher,
        Exit::Print(printer) => {
            printer.print(entry);
            return None;
        }
    };
    match batcher.add(entry, now) {
        Outcome::Batched(stream) => Some(stream),
        Outcome::Truncated(stream, bytes) => {
            (books.truncated)(bytes);
            Some(stream)
        }
        Outcome::Refused(reason) => {
            (books.refused)(entry, &reason);
            entry.discard(&reason);
            None
        }
    }
}
