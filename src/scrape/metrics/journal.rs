//! Metrics of the journal.

use prometheus::{IntCounter, IntCounterVec};

use crate::metrics::Registry;

#[derive(Clone, Debug)]
pub(in crate::scrape) struct JournalMetrics {
    lines: IntCounter,
    errors: IntCounterVec,
    skipped: IntCounterVec,
}

/// Values of `error`, as in Promtail.
const NO_MESSAGE: &str = "no_message";
const EMPTY_LABELS: &str = "empty_labels";

/// Values of `reason`.
const SKIPPED: [&str; 4] = ["damaged_entry", "damaged_field", "long_field", "deleted_entry"];

impl JournalMetrics {
    pub fn register(registry: &Registry) -> Self {
        let metrics = Self {
            lines: registry
                .counter("promtail_journal_target_lines_total", "Total number of successful journal lines read"),
            errors: registry.counters(
                "promtail_journal_target_parsing_errors_total",
                "Total number of parsing errors while reading journal messages",
                &["error"],
            ),
            skipped: registry.counters(
                "fantail_journal_skipped_total",
                "Entries and fields of the journal that could not be read",
                &["reason"],
            ),
        };
        for error in [NO_MESSAGE, EMPTY_LABELS] {
            metrics.errors.with_label_values(&[error]);
        }
        for reason in SKIPPED {
            metrics.skipped.with_label_values(&[reason]);
        }
        metrics
    }

    pub fn lines(&self, lines: u64) {
        self.lines.inc_by(lines);
    }

    /// Entries without a message, and entries that a rule drops or that have no label.
    pub fn not_sent(&self, no_message: u64, no_labels: u64) {
        self.errors.with_label_values(&[NO_MESSAGE]).inc_by(no_message);
        self.errors.with_label_values(&[EMPTY_LABELS]).inc_by(no_labels);
    }

    pub fn skipped(&self, entries: u64, fields: u64, long_fields: u64, deleted: u64) {
        for (reason, count) in SKIPPED.into_iter().zip([entries, fields, long_fields, deleted]) {
            self.skipped.with_label_values(&[reason]).inc_by(count);
        }
    }
}
