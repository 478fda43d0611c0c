//! One tenant's way to Loki: a batch at a time, oldest first, until it is settled.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use super::answer::{self, Answer, Failure, Next, Part};
use super::backoff::{Backoff, Pace, chance};
use super::client::Endpoint;
use super::metrics::Metrics;
use super::status::{Say, Status};
use super::{Stop, Tenant, reached};
use crate::batch::Batch;
use crate::model::Reason;
use crate::model::units::GoDuration;

/// When so many entries of a stream are refused one by one and none is taken, what is wrong is the stream.
const REFUSED_IN_A_ROW: usize = 64;

/// What the lanes of a client share.
#[derive(Debug)]
pub(super) struct Road {
    pub(super) endpoint: Endpoint,
    pub(super) backoff: Backoff,
    pub(super) drop_rate_limited: bool,
    pub(super) host: String,
    pub(super) metrics: Metrics,
    pub(super) status: std::sync::Arc<Status>,
    /// Keeps its table from push to push.
    pub(super) snappy: Mutex<snap::raw::Encoder>,
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
    pub(super) tenant: Tenant,
    /// In a row, over all parts of a batch: a refused half is no reason to knock faster.
    failures: u32,
}

/// What is left to do with a part.
enum Verdict {
    Close,
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
    pub(super) fn new(tenant: Tenant) -> Self {
        Self { tenant, failures: 0 }
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
                Verdict::Halve(why) => match part.split() {
                    Ok((first, second)) => parts.extend([second, first]),
                    // `Halve` is said of more than one entry, and those can be parted.
                    Err(single) => {
                        self.discard(&single, single.entries(), single.bytes(), &Reason::IngesterError, &why, road);
                        single.close();
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
        let body = road.encode(part);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let answer = self.ask(&body, road).await;
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
                    taken.stored = true;
                    road.metrics.sent(&road.host, part.entries(), body.len());
                    return Verdict::Close;
                }
                Next::DoneBut { refused, reason, why } => {
                    self.answered(road);
                    let bytes = body.len() * refused / part.entries().max(1);
                    self.discard(part, refused, bytes, &reason, &why, road);
                    if refused < part.entries() {
                        taken.stored = true;
                        road.metrics.sent(&road.host, part.entries() - refused, body.len() - bytes);
                    } else {
                        taken.refused += refused;
                    }
                    return Verdict::Close;
                }
                Next::TakeApart { why } if part.streams() == 1 && taken.is_hopeless() => {
                    self.discard(part, part.entries(), body.len(), &Reason::IngesterError, &why, road);
                    return Verdict::Close;
                }
                Next::Halve { why } | Next::TakeApart { why } => return Verdict::Halve(why),
                Next::Again { pace, at_least, why } => {
                    self.failed(pace, &why, road);
                    if road.backoff.attempts().is_some_and(|attempts| attempt >= attempts) {
                        let reason = last_reason(&answer);
                        let why = format!("{why}, after max_retries attempts");
                        self.discard(part, part.entries(), body.len(), &reason, &why, road);
                        return Verdict::Close;
                    }
                    let pause = road.backoff.pause(self.failures, pace, at_least, chance());
                    if !rest(pause, stop).await {
                        return Verdict::GiveUp;
                    }
                    road.metrics.retried(&road.host, self.tenant());
                }
            }
        }
    }

    async fn ask(&self, body: &Bytes, road: &Road) -> Result<Answer, Failure> {
        let started = Instant::now();
        let answer = road.endpoint.push(self.tenant.as_deref(), body.clone()).await;
        let status = answer.as_ref().ok().map(|answer| answer.status);
        road.metrics.requested(&road.host, status, started.elapsed().as_secs_f64());
        answer
    }

    fn failed(&mut self, pace: Pace, why: &str, road: &Road) {
        self.failures = self.failures.saturating_add(1);
        let (client, host, tenant) = (road.status.name(), &road.host, self.tenant());
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
        self.failures = 0;
        if let Some((lasted, attempts)) = road.status.answered(&self.tenant, Instant::now()) {
            let lasted = GoDuration(Duration::from_millis(lasted.as_millis() as u64));
            tracing::info!(client = road.status.name(), host = road.host, tenant = self.tenant(), %lasted, attempts,
                "pushes succeed again");
        }
    }

    fn discard(&self, part: &Batch, entries: usize, bytes: usize, reason: &Reason, why: &str, road: &Road) {
        road.metrics.dropped(&road.host, self.tenant(), reason, entries, bytes);
        let stream = match part.streams() {
            1 => part.stream_labels().next().unwrap_or_default().to_string(),
            streams => format!("{streams} streams"),
        };
        let entries = road.status.discarded(&stream, why, entries, Instant::now());
        if entries > 0 {
            let client = road.status.name();
            tracing::warn!(
                client,
                host = road.host,
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
    fn encode(&self, part: &Batch) -> Bytes {
        // An encoder that a panic left behind starts its next block anew all the same.
        let mut snappy = self.snappy.lock().unwrap_or_else(PoisonError::into_inner);
        let body = Bytes::from(part.encode(&mut snappy));
        self.metrics.encoded(&self.host, body.len());
        body
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

/// False when there is to be no further attempt.
async fn rest(pause: Duration, stop: &mut watch::Receiver<Stop>) -> bool {
    tokio::select! {
        biased;
        () = reached(stop, Stop::Drain) => false,
        () = tokio::time::sleep(pause) => true,
    }
}
