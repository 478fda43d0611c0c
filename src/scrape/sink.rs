//! The shared state of a reader's tailers: pipelines, limits and output.

use std::sync::Arc;
use std::time::Instant;

use super::pipelines::{PipelineId, Pipelines};
use super::print::Printer;
use super::rates::Limiter;
use super::times::Times;
use super::{ClientCounters, metrics::Metrics};
use crate::batch::{Batcher, Flow, Grant, Outcome};
use crate::metrics::Dropped;
use crate::model::{Chunk, Clock, Entry, LiveTail, Reason, Side};
use crate::stages::{Due, Pipeline};

/// Used by all tailers of a reader.
#[derive(Debug)]
pub(super) struct Sink {
    pub clock: Clock,
    pub chunk: Chunk,
    pub pipelines: Pipelines,
    pub output: Output,
    pub rate: Option<Limiter>,
    pub dropped: Dropped,
    pub counters: ClientCounters,
    pub metrics: Metrics,
    pub times: Times,
    /// Nobody looks at it if another reader shows the same lines.
    pub live_tail: Arc<LiveTail>,
}

/// Where entries go.
#[derive(Debug)]
pub(super) enum Output {
    Batches(Box<Batcher>),
    Print(Printer),
}

impl Output {
    /// See [`Batcher::grant`]. Printing never waits.
    pub fn grant(&mut self, flow: &mut Flow, exposed: u64, exact: bool, now: Instant) -> Option<Grant> {
        match self {
            Output::Batches(batcher) => batcher.grant(flow, exposed, exact, now),
            Output::Print(_) => Some(Grant::whole_chunk()),
        }
    }
}

impl Sink {
    /// Releases entries held past their deadline. Logs in `unread` (with their pipelines) restart theirs.
    pub fn release_due(&mut self, now: Instant, unread: impl Fn() -> Vec<(u64, PipelineId)>) {
        let Sink { pipelines, output, rate, dropped, counters, times, live_tail, .. } = self;
        let is_viewed = live_tail.is_viewed();
        for (id, pipeline) in pipelines.iter_mut() {
            if pipeline.next_due().is_none_or(|due| due > now) {
                continue;
            }
            for (log, _) in unread().into_iter().filter(|(_, own)| *own == id) {
                pipeline.release(Due::Unread(log, now), &mut |_| {});
            }
            pipeline.release(Due::At(now), &mut |entry| {
                times.note(entry);
                if is_viewed {
                    live_tail.show(Side::After, entry);
                }
                accept(entry, None, output, rate, dropped, counters, now);
            });
        }
    }

    pub fn next_due(&self) -> Option<Instant> {
        let stages = self.pipelines.iter().filter_map(Pipeline::next_due).min();
        let batches = match &self.output {
            Output::Batches(batcher) => batcher.next_due(),
            Output::Print(_) => None,
        };
        stages.into_iter().chain(batches).min()
    }
}

/// The end of the pipeline: the rate limit, then the batch. `flow` is that of the log being processed, if the entry
/// comes from it. Otherwise None.
pub(super) fn accept(
    entry: &mut Entry<'_>,
    flow: Option<&mut Flow>,
    output: &mut Output,
    rate: &mut Option<Limiter>,
    dropped: &Dropped,
    counters: &ClientCounters,
    now: Instant,
) {
    if let Some(rate) = rate
        && !rate.allows()
    {
        return dropped.discard(entry, &Reason::GlobalRateLimiter);
    }
    let batcher = match output {
        Output::Batches(batcher) => batcher,
        Output::Print(printer) => return printer.print(entry),
    };
    let outcome = match flow {
        Some(flow) => batcher.add_of(flow, entry, now),
        None => batcher.add(entry, now),
    };
    match outcome {
        Outcome::Batched(_) => {}
        Outcome::Truncated(_, bytes) => (counters.truncated)(bytes),
        Outcome::Refused(reason) => {
            (counters.refused)(entry, &reason);
            entry.discard(&reason);
        }
    }
}
