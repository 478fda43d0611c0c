//! One way to Loki, for a tenant or for a stream of it: a batch at a time, oldest first, until it is settled.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, Semaphore, watch};

use super::answer::{self, Answer, Failure, Next, Part};
use super::backoff::{Backoff, Pace, chance};
use super::client::Endpoint;
use super::metrics::OfHost;
use super::pace::{Limit, Paces, Refusal};
use super::status::{Say, Status};
use super::{Stop, Tenant, reached};
use crate::batch::Batch;
use crate::model::Reason;
use crate::model::units::{ByteSize, GoDuration};

/// When so many entries of a stream are refused one by one and none is taken, what is wrong is the stream.
const REFUSED_IN_A_ROW: usize = 64;

/// After so many failures in a row a pause is long, and ends when another lane gets through.
const LONG: u32 = 4;

/// What the lanes of a client share.
#[derive(Debug)]
pub(super) struct Road {
    pub(super) endpoint: Endpoint,
    pub(super) backoff: Backoff,
    pub(super) drop_rate_limited: bool,
    pub(super) metrics: OfHost,
    pub(super) status: std::sync::Arc<Status>,
    pub(super) paces: Mutex<Paces>,
    /// So that many lanes are not as many connections.
    pub(super) permits: Semaphore,
    /// Loki answers again: no need to sit out a pause.
    pub(super) cleared: Notify,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// All of it is delivered, or discarded and counted.
    Settled,
    /// There is no time left to try again; what is not settled will be read from disk at the next start.
    GivenUp,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) number: u64,
    pub(super) tenant: Tenant,
    /// In a row, over all parts of a batch: a refused half is no reason to knock faster.
    failures: u32,
    /// How many there were when a pause was last cut short, in vain.
    hoped: u32,
}

/// What is left to do with a part.
enum Verdict {
    Close,
    /// So many of its entries, and the others are delivered.
    Discard(usize, Reason),
    Halve(Cow<'static, str>),
    GiveUp,
}

/// How the stream that is being taken apart fares.
#[derive(Default)]
struct Taken {
    stream: String,
    stored: bool,
    refused: usize,
}

impl Lane {
    pub(super) fn new(number: u64, tenant: Tenant) -> Self {
        Self { number, tenant, failures: 0, hoped: 0 }
    }

    /// Sends `batch`, in smaller and smaller parts where it is refused, until each entry's fate is known. `wake` hears
    /// of each part that is no more.
    pub(super) async fn deliver(
        &mut self,
        batch: Batch,
        road: &Road,
        wake: &Waker,
        mut stop: watch::Receiver<Stop>,
    ) -> Fate {
        // A stack, so that the older half goes first and all of it before the younger.
        let mut parts = vec![batch];
        let mut taken = Taken::default();
        while let Some(part) = parts.pop() {
            taken.turn_to(&part);
            match self.send(&part, road, &mut taken, &mut stop).await {
                Verdict::Close => part.close(),
                Verdict::Discard(entries, reason) => part.discard(entries, &reason),
                Verdict::Halve(why) => match part.split() {
                    (first, Some(second)) => parts.extend([second, first]),
                    // `Halve` is said of more than one entry, and those can be parted.
                    (single, None) => {
                        self.discard(&single, single.entries(), single.bytes(), &Reason::IngesterError, &why, road);
                        single.discard(1, &Reason::IngesterError);
                    }
                },
                Verdict::GiveUp => {
                    drop((part, parts));
                    wake.wake_by_ref();
                    return Fate::GivenUp;
                }
            }
            wake.wake_by_ref();
        }
        Fate::Settled
    }

    /// Sends one part until there is an answer that says what became of it.
    async fn send(
        &mut self,
        part: &Batch,
        road: &Road,
        taken: &mut Taken,
        stop: &mut watch::Receiver<Stop>,
    ) -> Verdict {
        let body = Bytes::from_owner(part.body().clone());
        road.metrics.encoded(body.len());
        let mut attempt = 0;
        loop {
            attempt += 1;
            let apart = part.is_led().then_some(self.number);
            self.keep_pace(part, apart, road).await;
            let mut cleared = std::pin::pin!(road.cleared.notified());
            // Who gets through while this is being asked counts as well: it may fail only after that.
            cleared.as_mut().enable();
            let asked = Instant::now();
            let answer = self.ask(&body, road).await;
            let round_trip = asked.elapsed();
            let asked = Part {
                streams: part.streams(),
                entries: part.entries(),
                bytes: part.bytes(),
                attempt,
                drop_rate_limited: road.drop_rate_limited,
            };
            match answer::decide(&answer, asked) {
                Next::Done => {
                    self.answered(road);
                    part.answered_within(round_trip);
                    road.paces().accepted(&self.tenant, apart, Instant::now());
                    taken.stored = true;
                    road.metrics.sent(part.entries(), body.len());
                    return Verdict::Close;
                }
                Next::DoneBut { refused, reason, why } => {
                    self.answered(road);
                    part.answered_within(round_trip);
                    let bytes = body.len() * refused / part.entries().max(1);
                    self.discard(part, refused, bytes, &reason, &why, road);
                    if refused < part.entries() {
                        taken.stored = true;
                        road.metrics.sent(part.entries() - refused, body.len() - bytes);
                    } else {
                        taken.refused += refused;
                    }
                    if let Some(bound) = answer::bound(&answer) {
                        part.learn(bound);
                    }
                    return Verdict::Discard(refused, answer::counted(&answer).unwrap_or(reason));
                }
                Next::TakeApart { why } if part.streams() == 1 && taken.is_hopeless() => {
                    self.discard(part, part.entries(), body.len(), &Reason::IngesterError, &why, road);
                    return Verdict::Discard(part.entries(), Reason::IngesterError);
                }
                Next::Halve { why } | Next::TakeApart { why } => return Verdict::Halve(why),
                Next::Again { pace, at_least, why } => {
                    let limited = answer::rate_limit(&answer);
                    if let Some(refusal) = limited {
                        if refusal.of == Limit::Stream {
                            part.limited();
                        }
                        self.slow_down(refusal, apart, road);
                    }
                    self.failed(pace, &why, road);
                    if road.backoff.attempts().is_some_and(|attempts| attempt >= attempts) {
                        let reason = last_reason(&answer);
                        let why = format!("{why}, after max_retries attempts");
                        self.discard(part, part.entries(), body.len(), &reason, &why, road);
                        return Verdict::Discard(part.entries(), reason);
                    }
                    let pause = road.backoff.pause(self.failures, pace, at_least, chance());
                    // A limit does not go away because others are below theirs, and a short pause is worth its while.
                    // But what fails although others get through is not asked the faster for each of them.
                    let is_long = self.failures >= self.hoped + LONG;
                    let cleared = (limited.is_none() && at_least.is_none() && is_long).then_some(cleared);
                    match rest(pause, cleared, stop).await {
                        Rest::Over => {}
                        Rest::Cleared => self.hoped = self.failures,
                        Rest::Stopped => return Verdict::GiveUp,
                    }
                    road.metrics.retried(self.tenant());
                }
            }
        }
    }

    async fn ask(&self, body: &Bytes, road: &Road) -> Result<Answer, Failure> {
        let permit = road.permits.acquire().await;
        let started = Instant::now();
        let answer = road.endpoint.push(self.tenant.as_deref(), body.clone()).await;
        drop(permit);
        let status = answer.as_ref().ok().map(|answer| answer.status);
        road.metrics.requested(status, started.elapsed().as_secs_f64());
        answer
    }

    /// Waits until Loki's limits let the part through, as far as they are known.
    async fn keep_pace(&self, part: &Batch, apart: Option<u64>, road: &Road) {
        // Its own limit first, which it waits for alone. Each is charged once, however long the other takes.
        if apart.is_some() {
            self.pay(part, apart, road).await;
        }
        let turn = road.paces().turn(&self.tenant, Instant::now());
        let _turn = turn.lock().await;
        self.pay(part, None, road).await;
    }

    async fn pay(&self, part: &Batch, lane: Option<u64>, road: &Road) {
        loop {
            let bytes = if lane.is_some() { part.last_stream_bytes() } else { part.bytes() };
            let wait = road.paces().charge(&self.tenant, lane, bytes, Instant::now());
            match wait {
                None => return,
                Some(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    fn slow_down(&self, refusal: Refusal, apart: Option<u64>, road: &Road) {
        let rate = road.paces().refused(&self.tenant, apart, refusal, Instant::now());
        let (client, tenant) = (road.status.name(), self.tenant());
        tracing::debug!(client, tenant, limit = ?refusal.of, rate = %ByteSize(rate.into()), "sending slower");
    }

    fn failed(&mut self, pace: Pace, why: &str, road: &Road) {
        self.failures = self.failures.saturating_add(1);
        let (client, host, tenant) = (road.status.name(), &road.metrics.host, self.tenant());
        match (road.status.failed(&self.tenant, pace, why, Instant::now()), pace) {
            (Say::Nothing, _) => {}
            (Say::First, Pace::Backoff) => {
                tracing::warn!(client, host, tenant, error = why, "pushes fail and are tried again");
            }
            (Say::First, Pace::Slow) => {
                tracing::error!(
                    client,
                    host,
                    tenant,
                    error = why,
                    "pushes fail until somebody acts; they are tried again, slowly"
                );
            }
            (Say::Reminder { since, attempts }, _) => {
                let since = GoDuration(Duration::from_secs(since.as_secs()));
                tracing::warn!(client, host, tenant, %since, attempts, error = why, "pushes still fail");
            }
        }
    }

    /// Loki has spoken about the entries, so the way to it is open.
    fn answered(&mut self, road: &Road) {
        (self.failures, self.hoped) = (0, 0);
        road.cleared.notify_waiters();
        if let Some((lasted, attempts)) = road.status.answered(&self.tenant, Instant::now()) {
            let lasted = GoDuration(Duration::from_millis(lasted.as_millis() as u64));
            tracing::info!(client = road.status.name(), host = road.metrics.host, tenant = self.tenant(), %lasted, attempts,
                "pushes succeed again");
        }
    }

    fn discard(&self, part: &Batch, entries: usize, bytes: usize, reason: &Reason, why: &str, road: &Road) {
        road.metrics.dropped(self.tenant(), reason, entries, bytes);
        let stream = match part.streams() {
            1 => part.stream_labels().next().unwrap_or_default().to_string(),
            streams => format!("{streams} streams"),
        };
        let entries = road.status.discarded(&stream, why, entries, Instant::now());
        if entries > 0 {
            let client = road.status.name();
            tracing::warn!(
                client,
                host = road.metrics.host,
                tenant = self.tenant(),
                stream,
                entries,
                reason = reason.as_str(),
                error = why,
                "entries discarded"
            );
        }
    }

    fn tenant(&self) -> &str {
        self.tenant.as_deref().unwrap_or_default()
    }
}

impl Road {
    // Nothing is called under the lock that could leave them half changed.
    fn paces(&self) -> MutexGuard<'_, Paces> {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner)
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

/// What a batch is counted as whose attempts are used up.
fn last_reason(answer: &Result<Answer, Failure>) -> Reason {
    match answer {
        Ok(answer) if answer.status == 429 => Reason::RateLimited,
        _ => Reason::IngesterError,
    }
}

/// How a pause ended.
enum Rest {
    Over,
    Cleared,
    /// There is to be no further attempt.
    Stopped,
}

async fn rest(pause: Duration, cleared: Option<Pin<&mut Notified<'_>>>, stop: &mut watch::Receiver<Stop>) -> Rest {
    let cleared = async {
        match cleared {
            Some(cleared) => cleared.await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = reached(stop, Stop::Drain) => Rest::Stopped,
        () = cleared => Rest::Cleared,
        () = tokio::time::sleep(pause) => Rest::Over,
    }
}
