//! The metrics of receivers.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::metrics::{Dropped, Registry};
use crate::model::Reason;
use crate::scrape;

#[derive(Clone, Debug)]
pub struct Metrics {
    lines: IntCounterVec,
    pushes: IntCounterVec,
    dropped: Dropped,
    scrape: scrape::Metrics,
    pub(super) syslog: Syslog,
}

/// The metrics without labels are Promtail's.
#[derive(Clone, Debug)]
pub(super) struct Syslog {
    entries: IntCounter,
    parsing_errors: IntCounter,
    empty_messages: IntCounter,
    cut: IntCounterVec,
    no_time: IntCounterVec,
    handshake_errors: IntCounterVec,
    kernel_drops: IntCounterVec,
    connections: IntGaugeVec,
}

impl Metrics {
    pub fn register(registry: &Registry, scrape: scrape::Metrics) -> Self {
        Self {
            lines: registry.counters(
                "fantail_received_lines_total",
                "Lines that were taken from senders, by job",
                &["job"],
            ),
            pushes: registry.counters(
                "fantail_received_pushes_total",
                "Requests to loki_push_api, by job and the status of the answer",
                &["job", "code"],
            ),
            dropped: Dropped::register(registry),
            scrape,
            syslog: Syslog::register(registry),
        }
    }

    /// A parcel that some clients had no room for.
    pub(super) fn missed(&self, job: &str, clients: usize, bytes: u64) {
        (0..clients).for_each(|_| self.scrape.receiver_behind(job, bytes));
    }

    /// Datagrams that the kernel dropped since the last call. It is said if they begin.
    pub(super) fn kernel_drops(&self, job: &str, datagrams: u64, begins: bool) {
        self.syslog.kernel_drops.with_label_values(&[job]).inc_by(datagrams);
        if datagrams > 0 {
            self.scrape.datagrams_dropped(job, datagrams, begins);
        }
    }

    pub(super) fn lines(&self, job: &str, lines: usize) {
        self.lines.with_label_values(&[job]).inc_by(lines as u64);
    }

    pub(super) fn push(&self, job: &str, status: u16) {
        self.pushes.with_label_values(&[job, &status.to_string()]).inc();
    }

    /// Lines that a rule drops, and lines that are longer than the agent holds.
    pub(super) fn dropped(&self, by_rule: usize, too_long: usize) {
        (0..by_rule).for_each(|_| self.dropped.count(&Reason::Relabel));
        (0..too_long).for_each(|_| self.dropped.count(&Reason::LineTooLong));
    }
}

impl Syslog {
    fn register(registry: &Registry) -> Self {
        Self {
            entries: registry
                .counter("promtail_syslog_target_entries_total", "Total number of successful entries sent to the syslog target"),
            parsing_errors: registry.counter(
                "promtail_syslog_target_parsing_errors_total",
                "Total number of parsing errors while receiving syslog messages",
            ),
            empty_messages: registry.counter(
                "promtail_syslog_empty_messages_total",
                "Total number of empty messages receiving from syslog",
            ),
            cut: registry.counters(
                "fantail_syslog_cut_messages_total",
                "Syslog messages that were longer than max_message_length, whose end is missing",
                &["job"],
            ),
            no_time: registry.counters(
                "fantail_syslog_messages_without_time_total",
                "Syslog messages without a time that can be read, which have the time of their arrival, with use_incoming_timestamp",
                &["job"],
            ),
            handshake_errors: registry.counters(
                "fantail_syslog_handshake_errors_total",
                "Connections that were closed because there was no TLS handshake in time, or no valid certificate",
                &["job"],
            ),
            kernel_drops: registry.counters(
                "fantail_syslog_dropped_datagrams_total",
                "UDP datagrams that the kernel dropped because the buffer of the socket was full",
                &["job"],
            ),
            connections: registry.gauges("fantail_syslog_connections", "Open TCP connections of syslog senders", &["job"]),
        }
    }

    pub fn entries(&self, entries: usize) {
        self.entries.inc_by(entries as u64);
    }

    pub fn parsing_error(&self) {
        self.parsing_errors.inc();
    }

    pub fn empty_message(&self) {
        self.empty_messages.inc();
    }

    pub fn cut(&self, job: &str) {
        self.cut.with_label_values(&[job]).inc();
    }

    pub fn no_time(&self, job: &str) {
        self.no_time.with_label_values(&[job]).inc();
    }

    pub fn handshake_error(&self, job: &str) {
        self.handshake_errors.with_label_values(&[job]).inc();
    }

    /// A connection that is open until the result is dropped.
    pub fn connection(&self, job: &str) -> Open {
        let connections = self.connections.with_label_values(&[job]);
        connections.inc();
        Open(connections)
    }
}

pub(super) struct Open(IntGauge);

impl Open {
    /// How many connections of the job are open.
    pub fn all(&self) -> usize {
        usize::try_from(self.0.get()).unwrap_or(0)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
