//! Metrics of what is received.

use prometheus::IntCounterVec;

use crate::metrics::{Dropped, Registry};
use crate::model::Reason;

#[derive(Clone, Debug)]
pub struct Metrics {
    lines: IntCounterVec,
    pushes: IntCounterVec,
    dropped: Dropped,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Self {
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
