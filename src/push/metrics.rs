//! The metrics of pushes, with Promtail's names.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::metrics::Registry;
use crate::model::{MAX_TENANT, Reason};

/// The reasons that Promtail's dashboards expect, starting at zero.
const DROP_REASONS: [&str; 4] = ["ingester_error", "rate_limited", "stream_limited", "line_too_long"];

/// The maximum number of tenants with their own series: the tenants of the clients, and the first ones from log lines.
const TENANTS: usize = 100;

/// The status code for a push without an answer.
const NO_ANSWER: &str = "failed";

/// The name for all other tenants. It is not a valid tenant name in Loki.
const OTHERS: &str = "<others>";

/// The metrics of all clients. Each client has its own `host` label.
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
    dated_again: IntCounterVec,
    refused_streams: IntGaugeVec,
    last_delivery: IntGaugeVec,
    tenants: Arc<Mutex<Tenants>>,
}

/// The tenants with their own series. They are bounded, because tenants may come from log lines and series are never
/// removed.
#[derive(Debug, Default)]
struct Tenants {
    known: HashSet<String>,
    overflows: bool,
}

impl Tenants {
    /// The label value for a tenant.
    fn label<'t>(&mut self, tenant: &'t str) -> &'t str {
        if self.known.contains(tenant) {
            return tenant;
        }
        // Its entries are refused.
        if tenant.len() > MAX_TENANT {
            return OTHERS;
        }
        if self.known.len() < TENANTS {
            self.known.insert(tenant.to_string());
            return tenant;
        }
        if !std::mem::replace(&mut self.overflows, true) {
            tracing::warn!(
                tenants = TENANTS,
                counted_as = OTHERS,
                "there are more tenants than series for tenants: the others are counted as <others>; their lines are delivered as usual"
            );
        }
        OTHERS
    }
}

impl Metrics {
    pub fn register(registry: &Registry) -> Self {
        let counter = |name, help, labels: &[&str]| registry.counters(name, help, labels);
        let by_host = ["host"];
        let by_reason = ["host", "tenant", "reason"];
        Self {
            encoded_bytes: counter("promtail_encoded_bytes_total", "Compressed bytes of pushes that were prepared for sending.", &by_host),
            sent_bytes: counter("promtail_sent_bytes_total", "Compressed bytes that Loki acknowledged.", &by_host),
            sent_entries: counter("promtail_sent_entries_total", "Entries that Loki acknowledged.", &by_host),
            dropped_bytes: counter("promtail_dropped_bytes_total", "Bytes of dropped entries, by reason.", &by_reason),
            dropped_entries: counter("promtail_dropped_entries_total", "Entries that Loki refused permanently, or that are longer than max_line_size, by reason.", &by_reason),
            mutated_bytes: counter("promtail_mutated_bytes_total", "Bytes cut from entries.", &by_reason),
            mutated_entries: counter("promtail_mutated_entries_total", "Entries that were cut.", &by_reason),
            dated_again: counter(
                "fantail_dated_again_entries_total",
                "Entries with the time of reading that Loki refused because of this time, and that got another time because the clock of the machine was wrong.",
                &by_host,
            ),
            refused_pushes: counter(
                "fantail_refused_pushes_total",
                "Pushes that were refused for now, perhaps because of their content; they are retried. The reason is Loki's reason or the status code.",
                &["host", "reason"],
            ),
            refused_streams: registry.gauges(
                "fantail_refused_streams",
                "Streams that Loki refuses while it accepts others. Their lines wait in their files.",
                &by_host,
            ),
            last_delivery: registry.gauges(
                "fantail_last_delivery_timestamp_seconds",
                "Unix time at which Loki last accepted a push of this client; before the first push, when the agent started.",
                &["client"],
            ),
            batch_retries: counter("promtail_batch_retries_total", "Pushes sent again.", &["host", "tenant"]),
            request_duration: registry.histograms(
                "promtail_request_duration_seconds",
                "Duration of pushes in seconds; without an answer, the status code is failed.",
                &["status_code", "host"],
            ),
            tenants: Arc::default(),
        }
    }

    fn tenant<'t>(&self, tenant: &'t str) -> &'t str {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).label(tenant)
    }

    /// Counts an entry that was discarded before it was sent (`line_too_long`), and its bytes.
    pub fn dropped(&self, host: &str, tenant: &str, reason: &Reason, entries: usize, bytes: usize) {
        let labels = [host, self.tenant(tenant), reason.as_str()];
        self.dropped_entries.with_label_values(&labels).inc_by(entries as u64);
        self.dropped_bytes.with_label_values(&labels).inc_by(bytes as u64);
    }

    /// Counts an entry that was cut to `max_line_size`, and the bytes cut.
    pub fn truncated(&self, host: &str, tenant: &str, bytes: usize) {
        let labels = [host, self.tenant(tenant), Reason::LineTooLong.as_str()];
        self.mutated_entries.with_label_values(&labels).inc();
        self.mutated_bytes.with_label_values(&labels).inc_by(bytes as u64);
    }

    /// Removes the series of a client name that no longer exists.
    pub fn forget_client(&self, name: &str) {
        // The client may never have run.
        let _ = self.last_delivery.remove_label_values(&[name]);
    }

    /// Removes the series of a host that no client sends to any more.
    pub fn forget_host(&self, host: &str) {
        let _ = self.refused_streams.remove_label_values(&[host]);
    }

    /// The metrics of the client with this name. Its counters appear at zero.
    pub(super) fn of(&self, name: &str, host: &str) -> OfHost {
        // Series must exist before the first failure, so that its increase is visible.
        for status in ["204", "429", NO_ANSWER] {
            self.request_duration.with_label_values(&[status, host]);
        }
        for reason in ["blocked_ingestion", "stream_limit"] {
            self.refused_pushes.with_label_values(&[host, reason]);
        }
        let last_delivery = self.last_delivery.with_label_values(&[name]);
        // A series from before a reload keeps its value.
        if last_delivery.get() == 0 {
            last_delivery.set(unix_time());
        }
        let refused_streams = self.refused_streams.with_label_values(&[host]);
        refused_streams.set(0);
        OfHost {
            last_delivery,
            encoded_bytes: self.encoded_bytes.with_label_values(&[host]),
            sent_bytes: self.sent_bytes.with_label_values(&[host]),
            sent_entries: self.sent_entries.with_label_values(&[host]),
            refused_streams,
            host: host.to_string(),
            all: self.clone(),
        }
    }
}

/// The metrics of one client. The series that each push uses are looked up once.
#[derive(Debug)]
pub(super) struct OfHost {
    pub(super) host: String,
    all: Metrics,
    encoded_bytes: IntCounter,
    sent_bytes: IntCounter,
    sent_entries: IntCounter,
    refused_streams: IntGauge,
    last_delivery: IntGauge,
}

impl OfHost {
    /// Creates the counters of a tenant, at zero.
    pub(super) fn announce_tenant(&self, tenant: &str) {
        let tenant = self.all.tenant(tenant);
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
        self.last_delivery.set(unix_time());
    }

    /// Counts a push that was refused for now. There are at most a few hundred values of `reason`.
    pub(super) fn refused(&self, reason: &str) {
        self.all.refused_pushes.with_label_values(&[self.host.as_str(), reason]).inc();
    }

    /// Counts entries that got another time.
    pub(super) fn dated_again(&self, entries: usize) {
        self.all.dated_again.with_label_values(&[self.host.as_str()]).inc_by(entries as u64);
    }

    /// Sets the number of streams that are refused while others are accepted.
    pub(super) fn refused_streams(&self, streams: usize) {
        self.refused_streams.set(i64::try_from(streams).unwrap_or(i64::MAX));
    }

    pub(super) fn retried(&self, tenant: &str) {
        self.all.batch_retries.with_label_values(&[self.host.as_str(), self.all.tenant(tenant)]).inc();
    }

    /// `status` is None if there was no answer. (Promtail uses `-1`, which its own alert does not match.)
    pub(super) fn requested(&self, status: Option<u16>, seconds: f64) {
        let status = status.map_or(NO_ANSWER.to_string(), |status| status.to_string());
        self.all.request_duration.with_label_values(&[status.as_str(), &self.host]).observe(seconds);
    }
}

fn unix_time() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(registry: &Registry, name: &str, label: &str) -> Option<f64> {
        let families = registry.gather();
        let series = families.iter().find(|family| family.name() == name)?.get_metric();
        let series = series.iter().find(|series| series.get_label().iter().any(|pair| pair.value() == label))?;
        let count = series.get_histogram().get_sample_count() as f64;
        Some(series.get_counter().get_value() + series.get_gauge().get_value() + count)
    }

    #[test]
    fn what_an_alert_watches_is_there_before_anything_fails() {
        let registry = Registry::new();
        let _of = Metrics::register(&registry).of("client", "loki:3100");
        for (name, label) in [
            ("promtail_request_duration_seconds", "204"),
            ("promtail_request_duration_seconds", "429"),
            ("promtail_request_duration_seconds", "failed"),
            ("fantail_refused_pushes_total", "stream_limit"),
            ("fantail_refused_streams", "loki:3100"),
        ] {
            assert_eq!(value(&registry, name, label), Some(0.0), "{name} {label}");
        }
    }

    #[test]
    fn the_last_delivery_is_the_start_until_loki_takes_something() {
        let registry = Registry::new();
        let before = unix_time() as f64;
        let of = Metrics::register(&registry).of("client", "loki");
        let last = || value(&registry, "fantail_last_delivery_timestamp_seconds", "client").expect("it is there");
        assert!(last() >= before, "{} before {before}", last());
        of.last_delivery.set(7);
        of.encoded(10);
        of.requested(Some(503), 0.1);
        of.refused("stream_limit");
        assert_eq!(last(), 7.0, "Loki took nothing");
        of.sent(1, 10);
        assert!(last() >= before, "{} before {before}", last());
    }

    #[test]
    fn a_reload_makes_no_client_younger_and_forgets_those_that_are_gone() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry);
        let of = metrics.of("client", "loki");
        of.last_delivery.set(7);
        of.refused_streams(3);
        let _again = metrics.of("client", "loki");
        let last = |client: &str| value(&registry, "fantail_last_delivery_timestamp_seconds", client);
        let refused = || value(&registry, "fantail_refused_streams", "loki");
        assert_eq!((last("client"), refused()), (Some(7.0), Some(0.0)));
        metrics.forget_client("client");
        metrics.forget_host("loki");
        assert_eq!((last("client"), refused()), (None, None));
        let _later = metrics.of("client", "loki");
        assert!(last("client").is_some_and(|last| last > 7.0));
    }

    #[test]
    fn tenants_without_end_make_no_series_without_end() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry);
        let of = metrics.of("client", "loki");
        of.announce_tenant("mine");
        for n in 0..10 * TENANTS {
            let tenant = format!("from a line {n}");
            of.announce_tenant(&tenant);
            of.retried(&tenant);
            of.dropped(&tenant, &Reason::RateLimited, 1, 10);
            metrics.dropped("loki", &tenant, &Reason::LineTooLong, 1, 10);
            metrics.truncated("loki", &tenant, 10);
        }
        of.dropped("mine", &Reason::RateLimited, 7, 70);
        let mut entries = std::collections::BTreeMap::new();
        for family in registry.gather() {
            let most = TENANTS + 1;
            let reasons = if family.name() == "promtail_batch_retries_total" { 1 } else { DROP_REASONS.len() };
            assert!(family.get_metric().len() <= most * reasons, "{}: {}", family.name(), family.get_metric().len());
            for series in family.get_metric().iter().filter(|_| family.name() == "promtail_dropped_entries_total") {
                let tenant = series.get_label().iter().find(|l| l.name() == "tenant").map(|l| l.value().to_string());
                *entries.entry(tenant.unwrap_or_default()).or_insert(0.0) += series.get_counter().get_value();
            }
        }
        assert_eq!((entries["mine"], entries["from a line 0"]), (7.0, 2.0));
        // The sum includes all tenants that are counted together.
        assert_eq!(entries[OTHERS], (2 * (10 * TENANTS - (TENANTS - 1))) as f64);
    }
}
