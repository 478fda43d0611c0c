//! Limits how fast pushes are sent: `rate_limits` of a client.
//!
//! ```yaml
//! clients:
//!   - url: http://loki:3100/loki/api/v1/push
//!     rate_limits:                            # names as in Loki's limits_config
//!       per_stream_rate_limit: 3MB            # bytes per second of a stream
//!       per_stream_rate_limit_burst: 15MB
//!       ingestion_rate_mb: 4                  # MB per second of a tenant
//!       ingestion_burst_size_mb: 6
//! ```
//!
//! Configured limits are kept. Other limits start with Loki's default and follow Loki's answers. If Loki accepts more,
//! the rate grows, because many installations raise these limits, and a node that obeys lower ones for no reason falls
//! behind its files. After a 429, the rate is set to the limit that the answer names. It falls further while Loki still
//! refuses, because all agents share a tenant's limit.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use serde::{Deserialize, Serialize};

use crate::http_client::Error;
use crate::model::units::ByteSize;

const MIB: u32 = 1 << 20;
const STREAM: Terms = Terms { rate: 3 * MIB, burst: 15 * MIB };
const INGESTION: Terms = Terms { rate: 4 * MIB, burst: 6 * MIB };

/// The lowest rate in bytes per second, however often Loki refuses.
const LEAST: u32 = 16 << 10;

/// How long a limit that Loki named is assumed to be valid.
const TRUE_FOR: Duration = Duration::from_secs(600);
/// How often the rate is raised again, up to the named limit.
const RECOVERY: Duration = Duration::from_secs(10);

/// If there are more streams or tenants than this, those without recent pushes are forgotten.
const MANY: usize = 256;
/// The maximum number of streams or tenants. Beyond it, those with the oldest last push are forgotten. Their recent
/// pushes then no longer count, and Loki refuses them if they exceed the limit.
const MOST: usize = 4096;

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_stream_rate_limit: Option<ByteSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_stream_rate_limit_burst: Option<ByteSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingestion_rate_mb: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingestion_burst_size_mb: Option<f64>,
}

impl RateLimits {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        let too_small = |key: &str, bytes: Option<f64>| match bytes {
            Some(bytes) if bytes.is_nan() || bytes < f64::from(LEAST) => Err(Error::new(
                key,
                format!("must be at least {}: remove the key to start with Loki's default", ByteSize(LEAST.into())),
            )),
            _ => Ok(()),
        };
        let size = |size: Option<ByteSize>| size.map(|s| s.0 as f64);
        let mb = |mb: Option<f64>| mb.map(|mb| mb * f64::from(MIB));
        too_small("per_stream_rate_limit", size(self.per_stream_rate_limit))?;
        too_small("per_stream_rate_limit_burst", size(self.per_stream_rate_limit_burst))?;
        too_small("ingestion_rate_mb", mb(self.ingestion_rate_mb))?;
        too_small("ingestion_burst_size_mb", mb(self.ingestion_burst_size_mb))
    }

    fn stream(&self) -> (Terms, bool) {
        let size = |size: Option<ByteSize>| size.map(|s| s.0 as f64);
        STREAM.or(size(self.per_stream_rate_limit), size(self.per_stream_rate_limit_burst))
    }

    fn ingestion(&self) -> (Terms, bool) {
        let mb = |mb: Option<f64>| mb.map(|mb| mb * f64::from(MIB));
        INGESTION.or(mb(self.ingestion_rate_mb), mb(self.ingestion_burst_size_mb))
    }
}

/// The limit that an answer names, and its rate in bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) of: Limit,
    pub(super) named: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Stream,
    Ingestion,
}

/// Bytes per second, and bytes in a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Terms {
    rate: u32,
    burst: u32,
}

impl Terms {
    /// The terms with the config's values, and whether the config sets the rate.
    fn or(self, rate: Option<f64>, burst: Option<f64>) -> (Terms, bool) {
        let bytes = |n: f64| n.min(f64::from(u32::MAX / 2)) as u32;
        // Without a configured burst, the burst is proportional to the rate.
        let scaled = rate.map(|rate| rate * f64::from(self.burst) / f64::from(self.rate));
        let terms = Terms { rate: rate.map_or(self.rate, bytes), burst: burst.or(scaled).map_or(self.burst, bytes) };
        (terms, rate.is_some())
    }

    fn doubled(self) -> Terms {
        let most = u32::MAX / 2;
        Terms { rate: self.rate.saturating_mul(2).min(most), burst: self.burst.saturating_mul(2).min(most) }
    }
}

/// The paces of a client's tenants, and of streams with their own pushes.
#[derive(Debug)]
pub(super) struct Paces<C: Clock = MonotonicClock> {
    limits: RateLimits,
    /// The maximum size of a push.
    batchsize: u32,
    clock: C,
    tenants: HashMap<Option<Arc<str>>, Tenant<C>>,
    /// Idle tenants are forgotten if there are more tenants than this.
    room: usize,
}

#[derive(Debug)]
struct Tenant<C: Clock> {
    bucket: Bucket<C>,
    /// The initial pace of streams that were not refused yet.
    stream: Pace,
    /// By lane, for lanes with a single stream.
    streams: HashMap<u64, Bucket<C>>,
    /// Idle streams are forgotten if there are more streams than this, and from time to time.
    room: usize,
    looked: Instant,
    turn: Arc<Turn>,
    touched: Instant,
}

/// The order of pushes that share a limit: first come, first served. Otherwise, a large push would never find room
/// among many small ones.
pub(super) type Turn = tokio::sync::Mutex<()>;

/// The assumed limits, and whether the config or Loki's answers set them.
#[derive(Clone, Copy, Debug)]
struct Pace {
    terms: Terms,
    /// The limits of the config.
    fixed: Option<Terms>,
    /// The limits that Loki named, or its defaults, and when it last refused.
    refused: Option<(Terms, Instant)>,
    /// The first refusal of the current row.
    since: Option<Instant>,
    recovered: Instant,
}

/// governor's rate limiter with these terms.
#[derive(Debug)]
struct Bucket<C: Clock> {
    pace: Pace,
    terms: Terms,
    /// The capacity of the bucket.
    size: u32,
    limiter: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
    /// More was sent than the terms allow, to find out whether Loki accepts it.
    probing: bool,
    touched: Instant,
}

impl Paces {
    pub(super) fn new(limits: RateLimits, batchsize: usize) -> Self {
        Self::with_clock(limits, batchsize, MonotonicClock)
    }
}

impl<C: Clock + Clone> Paces<C> {
    fn with_clock(limits: RateLimits, batchsize: usize, clock: C) -> Self {
        let batchsize = u32::try_from(batchsize).unwrap_or(u32::MAX / 2);
        Self { limits, batchsize, clock, tenants: HashMap::new(), room: 0 }
    }

    /// The time to wait before this many bytes may be sent, because of the tenant's limit, or with `lane` because of
    /// the limit of the lane's single stream. If it is zero, the bytes are charged.
    pub(super) fn charge(
        &mut self,
        tenant: &Option<Arc<str>>,
        lane: Option<u64>,
        bytes: usize,
        now: Instant,
    ) -> Option<Duration> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.make_room(now);
        let (clock, batchsize, limits) = (self.clock.clone(), self.batchsize, self.limits);
        let tenant = self.tenant(tenant, now);
        let since = |at: Instant| now.saturating_duration_since(at);
        let is_full = lane.is_some() && tenant.streams.len() > tenant.room.max(MANY);
        if is_full || (tenant.streams.len() > MANY && since(tenant.looked) >= RECOVERY) {
            tenant.looked = now;
            tenant.room = forget(&mut tenant.streams, |bucket| (since(bucket.touched) < RECOVERY, bucket.touched));
        }
        let bucket = match lane {
            None => &mut tenant.bucket,
            Some(lane) => tenant.streams.entry(lane).or_insert_with(|| {
                if tenant.stream.is_outdated(now) {
                    tenant.stream = Pace::new(limits.stream(), now);
                }
                Bucket::new(tenant.stream, batchsize, &clock, now)
            }),
        };
        bucket.charge(bytes, batchsize, &clock, now)
    }

    /// Must be held while waiting for the tenant's limit.
    pub(super) fn turn(&mut self, tenant: &Option<Arc<str>>, now: Instant) -> Arc<Turn> {
        self.tenant(tenant, now).turn.clone()
    }

    /// Called when Loki accepted the push.
    pub(super) fn accepted(&mut self, tenant: &Option<Arc<str>>, lane: Option<u64>, now: Instant) {
        let tenant = self.tenant(tenant, now);
        tenant.bucket.accepted(now);
        if let Some(bucket) = lane.and_then(|lane| tenant.streams.get_mut(&lane)) {
            bucket.accepted(now);
        }
    }

    /// Called when Loki refused the push because of a limit. Returns the new rate in bytes per second.
    pub(super) fn refused(
        &mut self,
        tenant: &Option<Arc<str>>,
        lane: Option<u64>,
        refusal: Refusal,
        now: Instant,
    ) -> u32 {
        let (clock, batchsize) = (self.clock.clone(), self.batchsize);
        let tenant = self.tenant(tenant, now);
        let bucket = match refusal.of {
            Limit::Ingestion => &mut tenant.bucket,
            Limit::Stream => {
                // The named limit applies to all streams. A stream may be refused again and again because other agents
                // send to it too, which must not slow down the other streams.
                tenant.stream.named(refusal.named, STREAM, now);
                match lane.and_then(|lane| tenant.streams.get_mut(&lane)) {
                    Some(bucket) => bucket,
                    None => return tenant.stream.terms.rate,
                }
            }
        };
        let default = if refusal.of == Limit::Stream { STREAM } else { INGESTION };
        bucket.pace.refused(refusal.named, default, now);
        // Loki's bucket is empty now, so this one must be empty too.
        *bucket = Bucket::new(bucket.pace, batchsize, &clock, now);
        bucket.drain();
        bucket.terms.rate
    }

    fn tenant(&mut self, name: &Option<Arc<str>>, now: Instant) -> &mut Tenant<C> {
        let Self { limits, batchsize, clock, tenants, .. } = self;
        let tenant = tenants.entry(name.clone()).or_insert_with(|| {
            let bucket = Bucket::new(Pace::new(limits.ingestion(), now), *batchsize, clock, now);
            let stream = Pace::new(limits.stream(), now);
            Tenant { bucket, stream, streams: HashMap::new(), room: 0, looked: now, turn: Arc::default(), touched: now }
        });
        tenant.touched = now;
        tenant
    }

    /// Forgets streams and tenants without recent pushes, unless Loki named a limit that is still valid.
    fn make_room(&mut self, now: Instant) {
        let since = |at: Instant| now.saturating_duration_since(at);
        let is_limited = |pace: &Pace| pace.refused.is_some_and(|(_, at)| since(at) < TRUE_FOR);
        if self.tenants.len() > self.room.max(MANY) {
            self.room = forget(&mut self.tenants, |tenant| {
                let limited = is_limited(&tenant.bucket.pace) || is_limited(&tenant.stream);
                (since(tenant.touched) < if limited { TRUE_FOR } else { RECOVERY }, tenant.touched)
            });
        }
    }
}

/// Keeps the entries for which `stays` returns true. If more than [`MOST`] remain, removes the half with the oldest
/// times that `stays` returns. Returns the number of entries at which the next check is useful.
fn forget<K: Eq + std::hash::Hash, V>(known: &mut HashMap<K, V>, stays: impl Fn(&V) -> (bool, Instant)) -> usize {
    known.retain(|_, one| stays(one).0);
    if known.len() >= MOST {
        let mut touched: Vec<Instant> = known.values().map(|one| stays(one).1).collect();
        let (_, middle, _) = touched.select_nth_unstable(known.len() - MOST / 2);
        let middle = *middle;
        let mut left = MOST / 2 - known.values().filter(|one| stays(one).1 > middle).count();
        known.retain(|_, one| match stays(one).1.cmp(&middle) {
            Ordering::Less => false,
            Ordering::Equal if left == 0 => false,
            Ordering::Equal => {
                left -= 1;
                true
            }
            Ordering::Greater => true,
        });
    }
    known.shrink_to(2 * known.len());
    (2 * known.len()).min(MOST)
}

impl Pace {
    fn new((terms, fixed): (Terms, bool), now: Instant) -> Self {
        Self { terms, fixed: fixed.then_some(terms), refused: None, since: None, recovered: now }
    }

    fn may_probe(&self, now: Instant) -> bool {
        self.fixed.is_none() && (self.refused.is_none() || self.is_outdated(now))
    }

    /// Whether the limit was named so long ago that it may have changed.
    fn is_outdated(&self, now: Instant) -> bool {
        self.refused.is_some_and(|(_, at)| now.saturating_duration_since(at) >= TRUE_FOR)
    }

    fn accepted(&mut self, probing: bool, now: Instant) {
        if probing && self.may_probe(now) {
            self.terms = self.terms.doubled();
            self.refused = None;
        } else if let Some(fixed) = self.fixed.filter(|_| self.is_outdated(now)) {
            self.terms = fixed;
            self.refused = None;
        } else if let Some((named, at)) = self.refused
            && self.terms.rate < named.rate
            && now.saturating_duration_since(at.max(self.recovered)) >= RECOVERY
        {
            self.terms.rate = (self.terms.rate / 4 * 5).min(named.rate);
            self.recovered = now;
        }
    }

    fn refused(&mut self, named: Option<u64>, default: Terms, now: Instant) {
        let again = self.refused.is_some() && !self.is_outdated(now);
        // A refusal of a push that was in flight at the first refusal does not count again.
        if again && self.since.is_some_and(|at| now.saturating_duration_since(at) < Duration::from_secs(1)) {
            return;
        }
        let slower = (self.terms.rate / 4 * 3).max(LEAST);
        self.named(named, default, now);
        if again {
            self.terms.rate = slower.min(self.terms.rate);
            self.terms.burst = self.terms.rate;
        }
        self.since = Some(now);
    }

    /// Limits the rate to the named limit.
    fn named(&mut self, named: Option<u64>, default: Terms, now: Instant) {
        let named = named.map_or(default.rate, |n| u32::try_from(n).unwrap_or(u32::MAX / 2)).max(LEAST);
        let rate = named.min(self.terms.rate);
        self.terms = Terms { rate, burst: rate };
        self.refused = Some((Terms { rate: named, burst: named }, now));
        self.recovered = now;
    }
}

/// The bytes that governor counts as one cell. Its resolution is a nanosecond, which is too coarse for single bytes at
/// high rates.
const CELL: u32 = 64;

fn cells(bytes: u32) -> NonZeroU32 {
    NonZeroU32::new(bytes.div_ceil(CELL)).unwrap_or(NonZeroU32::MIN)
}

impl<C: Clock + Clone> Bucket<C> {
    fn new(pace: Pace, batchsize: u32, clock: &C, now: Instant) -> Self {
        let terms = pace.terms;
        // A whole push must fit, whatever the burst is.
        let size = terms.burst.max(batchsize);
        let quota = Quota::per_second(cells(terms.rate)).allow_burst(cells(size));
        let limiter = RateLimiter::direct_with_clock(quota, clock.clone());
        Self { pace, terms, size, limiter, probing: false, touched: now }
    }

    fn drain(&mut self) {
        let _ = self.limiter.check_n(cells(self.size));
    }

    fn accepted(&mut self, now: Instant) {
        self.pace.accepted(std::mem::take(&mut self.probing), now);
    }

    fn charge(&mut self, bytes: u32, batchsize: u32, clock: &C, now: Instant) -> Option<Duration> {
        if self.terms != self.pace.terms {
            *self = Self::new(self.pace, batchsize, clock, now);
            if self.pace.refused.is_some() {
                self.drain();
            }
        }
        self.touched = now;
        match self.limiter.check_n(cells(bytes.min(self.size))) {
            Ok(Err(_)) if self.pace.may_probe(now) => {
                self.probing = true;
                None
            }
            Ok(Err(early)) => Some(early.wait_time_from(clock.now()).max(Duration::from_millis(1))),
            Ok(Ok(())) | Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
