//! What a reader's logs are worked on with, and where their entries go.

use std::time::Instant;

use super::pipelines::{PipelineId, Pipelines};
use super::print::Printer;
use super::rates::Limiter;
use super::times::Times;
use super::{Books, metrics::Metrics};
use crate::batch::{Batcher, Flow, Grant, Outcome};
use crate::metrics::Dropped;
use crate::model::{Chunk, Clock, Entry, Reason};
use crate::stages::{Due, Pipeline};

/// What all tailers of a reader work with.
#[derive(Debug)]
pub(super) struct Desk {
    pub clock: Clock,
    pub chunk: Chunk,
    pub pipelines: Pipelines,
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
    /// See [`Batcher::grant`]; what is printed waits for nothing.
    pub fn grant(&mut self, flow: &mut Flow, exposed: u64, exact: bool, now: Instant) -> Option<Grant> {
        match self {
            Exit::Batches(batcher) => batcher.grant(flow, exposed, exact, now),
            Exit::Print(_) => Some(Grant::whole_chunk()),
        }
    }
}

impl Desk {
    /// Lets go what has waited long enough in the stages; but not what waits for lines that are there and `unread`: logs,
    /// and which pipeline theirs is.
    pub fn release_due(&mut self, now: Instant, unread: impl Fn() -> Vec<(u64, PipelineId)>) {
        let Desk { pipelines, exit, rate, dropped, books, times, .. } = self;
        for (id, pipeline) in pipelines.iter_mut() {
            if pipeline.next_due().is_none_or(|due| due > now) {
                continue;
            }
            for (log, _) in unread().into_iter().filter(|(_, own)| *own == id) {
                pipeline.release(Due::Unread(log, now), &mut |_| {});
            }
            pipeline.release(Due::At(now), &mut |entry| {
                times.note(entry);
                accept(entry, None, exit, rate, dropped, books, now);
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

/// The end of the pipeline: the rate limit, then the batch. `flow` is that of the log whose lines are being worked on, if
/// the entry came of these.
pub(super) fn accept(
    entry: &mut Entry<'_>,
    flow: Option<&mut Flow>,
    exit: &mut Exit,
    rate: &mut Option<Limiter>,
    dropped: &Dropped,
    books: &Books,
    now: Instant,
) {
    if let Some(rate) = rate
        && !rate.allows(now)
    {
        return dropped.discard(entry, &Reason::GlobalRateLimiter);
    }
    let batcher = match exit {
        Exit::Batches(batcher) => batcher,
        Exit::Print(printer) => return printer.print(entry),
    };
    let outcome = match flow {
        Some(flow) => batcher.add_of(flow, entry, now),
        None => batcher.add(entry, now),
    };
    match outcome {
        Outcome::Batched(_) => {}
        Outcome::Truncated(_, bytes) => (books.truncated)(bytes),
        Outcome::Refused(reason) => {
            (books.refused)(entry, &reason);
            entry.discard(&reason);
        }
    }
}
