//! What a client says in the log: when something begins to fail and when that is over, never each attempt.

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

    /// A push got through.
    pub(super) fn say_answered(&self, tenant: &Tenant, place: Place) {
        if let Some((lasted, attempts)) = self.status.answered(tenant, place, Instant::now()) {
            let (client, host, tenant) = (self.status.name(), &self.metrics.host, name(tenant));
            let lasted = GoDuration(Duration::from_millis(lasted.as_millis() as u64));
            tracing::info!(client, host, tenant, %lasted, attempts, "pushes succeed again");
        }
    }

    /// The stream of this batch, which has no other, is refused while others are taken.
    pub(super) fn say_set_apart(&self, key: StreamKey, tenant: &Tenant, batch: &Batch, why: &str) {
        let streams = self.status.set_apart(key, tenant, why, Instant::now());
        self.metrics.refused_streams(self.status.refused_streams());
        self.say_refused(tenant, batch.stream_labels().next().unwrap_or_default(), streams, why);
    }

    /// It is refused again.
    pub(super) fn say_still_refused(&self, key: StreamKey, tenant: &Tenant, stream: &str, why: &str) {
        let streams = self.status.still_refused(key, why, Instant::now());
        self.say_refused(tenant, stream, streams, why);
    }

    /// `streams`: how many there are of the tenant; 0: that was said a moment ago.
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
                "Loki refuses streams while it takes others; these wait in their files and are tried again, slowly"
            );
        }
    }

    /// All that was refused of the stream has been settled.
    pub(super) fn say_taken(&self, key: StreamKey) {
        let over = self.status.taken(key, Instant::now());
        self.metrics.refused_streams(self.status.refused_streams());
        if let Some((tenant, lasted)) = over {
            let (client, host, tenant) = (self.status.name(), &self.metrics.host, name(&tenant));
            let lasted = GoDuration(Duration::from_secs(lasted.as_secs()));
            tracing::info!(client, host, tenant, %lasted, "Loki takes all streams again");
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
