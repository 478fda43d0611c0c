//! Sends the batches of a lane, one push at a time, oldest first, until each entry is delivered or discarded.

mod dating;
mod handling;
mod pacing;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, watch};

use super::answer::Failure;
use super::apart::{Apart, Queue, Turn};
use super::backoff::{BackoffConfig, Pace};
use super::client::Endpoint;
use super::metrics::OfHost;
use super::pace::Paces;
use super::parts::{Part, Parts};
use super::probe::Probe;
use super::status::Place;
use super::status::Status;
use super::{Stop, Tenant, reached};
use crate::backoff::chance;
use crate::batch::Batch;
use crate::http_client::Answer;
pub(super) use dating::Clocks;

/// After this many entries of a stream are refused one by one and none is accepted, the stream itself is the problem.
const REFUSED_IN_A_ROW: usize = 64;

/// The data that the lanes of a client share.
#[derive(Debug)]
pub(super) struct LaneContext {
    pub(super) endpoint: Endpoint,
    pub(super) backoff: BackoffConfig,
    pub(super) drop_rate_limited: bool,
    pub(super) metrics: OfHost,
    pub(super) status: Arc<Status>,
    pub(super) paces: Mutex<Paces>,
    /// Limits the connections of all lanes.
    pub(super) permits: Semaphore,
    pub(super) probe: Probe,
    /// The number of stored pushes.
    pub(super) stored: AtomicU64,
    pub(super) apart: Apart,
    pub(super) clocks: Clocks,
    /// A failing lane succeeded, so others can end their pauses.
    pub(super) cleared: Notify,
}

/// The result of a lane's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// All batches are delivered, discarded and counted, or set apart.
    Settled,
    /// There is no time left to try again. The remaining entries are read from disk at the next start.
    GivenUp,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) place: Place,
    pub(super) tenant: Tenant,
    queue: Arc<Queue>,
    parts: Parts,
    taken: Taken,
    /// Failed attempts in a row, without attempts before their due time.
    failures: u32,
    /// The number of failures at the last pause that ended early because others succeeded, without success.
    hoped: u32,
    /// Whether the lane of a stream that is set apart has waited before its first attempt.
    has_begun: bool,
    /// When the next attempt is due. An earlier attempt is a probe, and does not make the next pause longer.
    due: Option<Instant>,
}

/// The next step after an attempt.
enum After {
    Next,
    Pause(Pause),
}

/// The events that end a pause early.
#[derive(Clone, Copy)]
struct Pause {
    /// Another lane succeeds.
    by_others: bool,
    /// Another stream that is set apart is accepted.
    by_apart: bool,
    /// It is this lane's turn to send a probe.
    by_probe: bool,
    /// Another batch arrives, which may show what is refused.
    by_arrival: bool,
}

/// A part that was sent.
#[derive(Clone, Copy)]
struct Sent {
    /// The size of its compressed body.
    bytes: usize,
    round_trip: Duration,
    /// The number of the lane, if it has a leader: the leader has a rate limit of its own.
    alone: Option<u64>,
    /// The attempt was due. Otherwise it was a probe.
    in_turn: bool,
}

/// The progress of a stream that is being split.
#[derive(Debug, Default)]
struct Taken {
    stream: String,
    stored: bool,
    refused: usize,
}

impl Lane {
    pub(super) fn new(place: Place, tenant: Tenant, queue: Arc<Queue>) -> Self {
        let apart = matches!(place, Place::Apart(_));
        let (parts, taken) = (Parts::new(apart), Taken::default());
        Self { place, tenant, queue, parts, taken, failures: 0, hoped: 0, has_begun: false, due: None }
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Delivers the waiting batches until there are none. Wakes `wake` for each finished part.
    pub(super) async fn run(&mut self, context: &LaneContext, wake: &Waker, mut stop: watch::Receiver<Stop>) -> Fate {
        if self.is_apart() && !std::mem::replace(&mut self.has_begun, true) {
            // The stream was refused just now.
            let at_least = self.queue.at_least();
            self.put_off(Pace::Backoff, at_least, context);
            let pause = Pause { by_others: false, by_apart: at_least.is_none(), by_probe: false, by_arrival: false };
            let (others, apart) = (context.cleared.notified(), context.apart.cleared.notified());
            if self.rest(pause, others, apart, context, &mut stop).await == Rest::Stopped {
                return self.give_up(wake);
            }
        }
        while let Some(part) = self.next_part(context) {
            // Created before the attempt, so that a success of others during the attempt is not missed.
            let (others, apart) = (context.cleared.notified(), context.apart.cleared.notified());
            // A stream that is accepted again is sent at full speed, without turns.
            let is_refused = self.is_apart() && self.failures > 0;
            let turn = tokio::select! {
                biased;
                () = reached(&mut stop, Stop::Drain), if is_refused => return self.give_up(wake),
                turn = context.apart.turn(), if is_refused => Some(turn),
                else => None,
            };
            let after = self.attempt(part, turn, context).await;
            wake.wake_by_ref();
            if let After::Pause(pause) = after
                && self.rest(pause, others, apart, context, &mut stop).await == Rest::Stopped
            {
                return self.give_up(wake);
            }
        }
        Fate::Settled
    }

    /// The next part to send.
    fn next_part(&mut self, context: &LaneContext) -> Option<Part> {
        loop {
            if self.parts.is_in_doubt() {
                while let Some(part) = self.queue.pop() {
                    self.parts.push_probe(part);
                }
            }
            match self.parts.next() {
                Some(part) if self.is_apart() => return Some(part),
                Some(mut part) => {
                    if let Some(batch) = context.apart.sort(part.batch) {
                        part.batch = batch;
                        return Some(part);
                    }
                }
                None => self.parts.push(self.queue.pop()?),
            }
        }
    }

    /// Sends one part and handles the answer.
    async fn attempt(&mut self, mut part: Part, turn: Option<Turn<'_>>, context: &LaneContext) -> After {
        let body = Bytes::from_owner(part.batch.body().clone());
        if part.is_new() {
            context.metrics.encoded(body.len());
        }
        let alone = self.leader(&part.batch);
        self.keep_pace(&part.batch, alone, context).await;
        let in_turn = self.due.is_none_or(|due| Instant::now() >= due);
        part.begin();
        let asked = Instant::now();
        let answer = self.ask(&body, context).await;
        let sent = Sent { bytes: body.len(), round_trip: asked.elapsed(), alone, in_turn };
        self.handle(part, turn, &answer, sent, context)
    }

    /// Makes the next attempt due after a pause, which grows with each failure.
    fn put_off(&mut self, pace: Pace, at_least: Option<Duration>, context: &LaneContext) {
        self.failures = self.failures.saturating_add(1);
        let pause = match self.place {
            Place::Lane(_) => context.backoff.pause(self.failures, pace, at_least, chance()),
            Place::Apart(_) => context.backoff.pause_apart(self.failures, pace, at_least, chance()),
        };
        self.due = Some(Instant::now() + pause);
    }

    async fn rest(
        &mut self,
        pause: Pause,
        others: impl Future<Output = ()>,
        apart: impl Future<Output = ()>,
        context: &LaneContext,
        stop: &mut watch::Receiver<Stop>,
    ) -> Rest {
        let due = self.due.unwrap_or_else(Instant::now);
        let rest = tokio::select! {
            biased;
            () = reached(stop, Stop::Drain) => Rest::Stopped,
            () = others, if pause.by_others => Rest::Cleared,
            () = apart, if pause.by_apart => Rest::Over,
            () = self.queue.filled(), if pause.by_arrival => Rest::Over,
            () = tokio::time::sleep_until(due.into()) => Rest::Over,
            () = context.probe.turn(), if pause.by_probe => Rest::Over,
        };
        if rest == Rest::Cleared {
            self.hoped = self.failures;
        }
        rest
    }

    async fn ask(&self, body: &Bytes, context: &LaneContext) -> Result<Answer, Failure> {
        let permit = context.permits.acquire().await;
        let started = Instant::now();
        let answer = context.endpoint.push(self.tenant.as_deref(), body.clone()).await;
        drop(permit);
        let status = answer.as_ref().ok().map(|answer| answer.status);
        context.metrics.requested(status, started.elapsed().as_secs_f64());
        answer
    }

    /// Closes the queue, so that nothing overtakes the entries that are given up.
    fn give_up(&mut self, wake: &Waker) -> Fate {
        self.queue.close();
        self.parts = Parts::new(self.is_apart());
        wake.wake_by_ref();
        Fate::GivenUp
    }

    fn is_apart(&self) -> bool {
        matches!(self.place, Place::Apart(_))
    }

    fn tenant(&self) -> &str {
        self.tenant.as_deref().unwrap_or_default()
    }
}

impl Taken {
    fn turn_to(&mut self, part: &Batch) {
        let stream = part.stream_labels().next().unwrap_or_default();
        if part.streams() > 1 || self.stream != stream {
            *self = Self { stream: stream.to_string(), ..Self::default() };
        }
    }

    fn is_hopeless(&self) -> bool {
        !self.stored && self.refused >= REFUSED_IN_A_ROW
    }
}

/// How a pause ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Over,
    Cleared,
    /// There will be no further attempt.
    Stopped,
}
