//! What pushing counts, under Promtail's names.

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use crate::metrics::{Registry, register};
use crate::model::Reason;

/// The reasons Promtail's dashboards expect to find at zero.
const DROP_REASONS: [&str; 4] = ["ingester_error", "rate_limited", "stream_limited", "line_too_long"];

/// Of all clients; each has its `host`.
#[derive(Clone, Debug)]
pub struct Metrics {
    encoded_bytes: IntCounterVec,
    sent_bytes: IntCounterVec,
    sent_entries: IntCounterVec,
    dropped_bytes: IntCounterVec,
    dropped_entries: IntCounterVec,
    mutated_bytes: IntCounterVec,
    mutated_entries: IntCounterVec,
    batch_retries: IntCounterVec,
    request_duration: HistogramVec,
    refused_pushes: IntCounterVec,
    refused_streams: IntGaugeVec,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Self {
        let counter =
            |name, help, labels: &[&str]| register(registry, IntCounterVec::new(Opts::new(name, help), labels));
        let by_host = ["host"];
        let by_reason = ["host", "tenant", "reason"];
        Self {
            encoded_bytes: counter("promtail_encoded_bytes_total", "Compressed bytes made ready to send.", &by_host),
            sent_bytes: counter("promtail_sent_bytes_total", "Compressed bytes that Loki acknowledged.", &by_host),
            sent_entries: counter("promtail_sent_entries_total", "Entries that Loki acknowledged.", &by_host),
            dropped_bytes: counter("promtail_dropped_bytes_total", "Bytes given up, by reason.", &by_reason),
            dropped_entries: counter("promtail_dropped_entries_total", "Entries given up, by reason.", &by_reason),
            mutated_bytes: counter("promtail_mutated_bytes_total", "Bytes cut from entries.", &by_reason),
            mutated_entries: counter("promtail_mutated_entries_total", "Entries that were cut.", &by_reason),
            refused_pushes: counter(
                "fantail_refused_pushes_total",
                "Pushes that were refused for now because of what is in them; they are tried again. The reason is Loki's word, or the status.",
                &["host", "reason"],
            ),
            refused_streams: register(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "fantail_refused_streams",
                        "Streams that Loki refuses while it takes others. Their lines wait in their files.",
                    ),
                    &["host"],
                ),
            ),
            batch_retries: counter("promtail_batch_retries_total", "Pushes sent again.", &["host", "tenant"]),
            request_duration: register(
                registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "promtail_request_duration_seconds",
                        "Duration of pushes; without an answer the status code is failed.",
                    ),
                    &["status_code", "host"],
                ),
            ),
        }
    }

    /// An entry that was given up before it was sent (`line_too_long`), and its bytes.
    pub fn dropped(&self, host: &str, tenant: &str, reason: &Reason, entries: usize, bytes: usize) {
        let labels = [host, tenant, reason.as_str()];
        self.dropped_entries.with_label_values(&labels).inc_by(entries as u64);
        self.dropped_bytes.with_label_values(&labels).inc_by(bytes as u64);
    }

    /// An entry that was cut to `max_line_size`, and by how much.
    pub fn truncated(&self, host: &str, tenant: &str, bytes: usize) {
        let labels = [host, tenant, Reason::LineTooLong.as_str()];
        self.mutated_entries.with_label_values(&labels).inc();
        self.mutated_bytes.with_label_values(&labels).inc_by(bytes as u64);
    }

    /// Of one client, whose counters appear at zero.
    pub(super) fn of(&self, host: &str) -> OfHost {
        OfHost {
            encoded_bytes: self.encoded_bytes.with_label_values(&[host]),
            sent_bytes: self.sent_bytes.with_label_values(&[host]),
            sent_entries: self.sent_entries.with_label_values(&[host]),
            refused_streams: self.refused_streams.with_label_values(&[host]),
            host: host.to_string(),
            all: self.clone(),
        }
    }
}

/// What one client counts. What each push does is looked up once.
#[derive(Debug)]
pub(super) struct OfHost {
    pub(super) host: String,
    all: Metrics,
    encoded_bytes: IntCounter,
    sent_bytes: IntCounter,
    sent_entries: IntCounter,
    refused_streams: IntGauge,
}

impl OfHost {
    /// Makes a tenant's counters appear, at zero.
    pub(super) fn announce_tenant(&self, tenant: &str) {
        let Metrics { dropped_bytes, dropped_entries, mutated_bytes, mutated_entries, .. } = &self.all;
        for reason in DROP_REASONS {
            for counter in [dropped_bytes, dropped_entries, mutated_bytes, mutated_entries] {
                counter.with_label_values(&[self.host.as_str(), tenant, reason]);
            }
        }
        self.all.batch_retries.with_label_values(&[self.host.as_str(), tenant]);
    }

    pub(super) fn dropped(&self, tenant: &str, reason: &Reason, entries: usize, bytes: usize) {
        self.all.dropped(&self.host, tenant, reason, entries, bytes);
    }

    pub(super) fn encoded(&self, bytes: usize) {
        self.encoded_bytes.inc_by(bytes as u64);
    }

    pub(super) fn sent(&self, entries: usize, bytes: usize) {
        self.sent_entries.inc_by(entries as u64);
        self.sent_bytes.inc_by(bytes as u64);
    }

    /// A push was refused for now; `reason` is one of a few hundred at most.
    pub(super) fn refused(&self, reason: &str) {
        self.all.refused_pushes.with_label_values(&[self.host.as_str(), reason]).inc();
    }

    /// So many streams are refused while others are taken.
    pub(super) fn refused_streams(&self, streams: usize) {
        self.refused_streams.set(i64::try_from(streams).unwrap_or(i64::MAX));
    }

    pub(super) fn retried(&self, tenant: &str) {
        self.all.batch_retries.with_label_values(&[self.host.as_str(), tenant]).inc();
    }

    /// `status`: None when there was no answer. (Promtail said `-1`, which its own alert does not look for.)
    pub(super) fn requested(&self, status: Option<u16>, seconds: f64) {
        let status = status.map_or("failed".to_string(), |status| status.to_string());
        self.all.request_duration.with_label_values(&[status.as_str(), &self.host]).observe(seconds);
    }
}
