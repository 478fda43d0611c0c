//! The log messages of a client: when a failure starts and when it ends, not each attempt.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Tenant;
use super::backoff::Pace;
use super::lane::LaneContext;
use super::pace::Limit;
use super::status::Place;
use super::status::Say;
use crate::batch::{Batch, StreamKey};
use crate::model::Reason;
use crate::model::units::{ByteSize, GoDuration};

impl LaneContext {
    pub(super) fn say_slower(&self, tenant: &str, limit: Limit, rate: u32) {
        let client = self.status.name();
        tracing::debug!(client, tenant, ?limit, rate = %ByteSize(rate.into()), "sending slower");
    }

    pub(super) fn say_failed(&self, tenant: &Tenant, place: Place, pace: Pace, why: &str) {
        let say = self.status.failed(tenant, place, pace, why, Instant::now());
        let (client, host, tenant) = (self.status.name(), &self.metrics.host, name(tenant));
        match (say, pace) {
            (Say::Nothing, _) => {}
            (Say::First, Pace::Backoff) => {
                tracing::warn!(client, host, tenant, error = why, "pushes fail: the agent tries again");
            }
            (Say::First, Pace::Slow) => {
                tracing::error!(
                    client,
                    host,
                    tenant,
                    error = why,
                    "pushes fail until the error is corrected: the agent tries again, slowly"
                );
            }
            (Say::Reminder { since, attempts }, _) => {
                let since = GoDuration(Duration::from_secs(since.as_secs()));
                tracing::warn!(client, host, tenant, %since, attempts, error = why, "pushes still fail");
            }
        }
    }

    /// Counts a stored push. The first one is logged, because later successes are not.
    pub(super) fn count_stored(&self, tenant: &Tenant, entries: usize) {
        if self.stored.fetch_add(1, Ordering::Relaxed) == 0 {
            let (client, host, tenant) = (self.status.name(), &self.metrics.host, name(tenant));
            tracing::info!(client, host, tenant, entries, "the first push succeeded: Loki has stored its entries");
        }
    }

    /// Called when a push succeeded.
    pub(super) fn say_answered(&self, tenant: &Tenant, place: Place) {
        if let Some((lasted, attempts)) = self.status.answered(tenant, place, Instant::now()) {
            let (client, host, tenant) = (self.status.name(), &self.metrics.host, name(tenant));
            let lasted = GoDuration(Duration::from_millis(lasted.as_millis() as u64));
            tracing::info!(client, host, tenant, %lasted, attempts, "pushes succeed again");
        }
    }

    /// Called when the batch's single stream is refused while others are accepted.
    pub(super) fn say_set_apart(&self, key: StreamKey, tenant: &Tenant, batch: &Batch, why: &str) {
        let streams = self.status.set_apart(key, tenant, why, Instant::now());
        self.metrics.refused_streams(self.status.refused_streams());
        self.say_refused(tenant, batch.stream_labels().next().unwrap_or_default(), streams, why);
    }

    /// Called when a stream that is set apart is refused again.
    pub(super) fn say_still_refused(&self, key: StreamKey, tenant: &Tenant, stream: &str, why: &str) {
        let streams = self.status.still_refused(key, why, Instant::now());
        self.say_refused(tenant, stream, streams, why);
    }

    /// `streams`: the number of refused streams of the tenant. 0: it was logged a moment ago.
    fn say_refused(&self, tenant: &Tenant, stream: &str, streams: usize, why: &str) {
        if streams > 0 {
            let (client, host, tenant) = (self.status.name(), &self.metrics.host, name(tenant));
            tracing::error!(
                client,
                host,
                tenant,
                stream,
                streams,
                error = why,
                "Loki refuses streams while it accepts others: their lines wait in their files, and the agent tries again, slowly"
            );
        }
    }

    /// Called when all refused entries of the stream are settled.
    pub(super) fn say_taken(&self, key: StreamKey) {
        let over = self.status.taken(key, Instant::now());
        self.metrics.refused_streams(self.status.refused_streams());
        if let Some((tenant, lasted)) = over {
            let (client, host, tenant) = (self.status.name(), &self.metrics.host, name(&tenant));
            let lasted = GoDuration(Duration::from_secs(lasted.as_secs()));
            tracing::info!(client, host, tenant, %lasted, "Loki accepts all streams again");
        }
    }

    pub(super) fn discard(&self, part: &Batch, entries: usize, bytes: usize, reason: &Reason, why: &str) {
        let tenant = part.tenant().map_or("", |tenant| tenant);
        self.metrics.dropped(tenant, reason, entries, bytes);
        let stream = match part.streams() {
            1 => part.stream_labels().next().unwrap_or_default().to_string(),
            streams => format!("{streams} streams"),
        };
        let entries = self.status.discarded(&stream, why, entries, Instant::now());
        if entries > 0 {
            let (client, host) = (self.status.name(), &self.metrics.host);
            let reason = reason.as_str();
            tracing::warn!(client, host, tenant, stream, entries, reason, error = why, "entries discarded");
        }
    }
}

fn name(tenant: &Tenant) -> &str {
    tenant.as_deref().unwrap_or_default()
}
