//! The registry everybody registers with. Each room has a `Metrics` of its own, beside the code that moves it;
//! their names are Promtail's where Promtail has them, and `fantail_*` where it has not.

pub use prometheus::Registry;
use prometheus::core::Collector;
use prometheus::{IntCounterVec, Opts};

use crate::model::{Entry, Reason};

/// Registers `metric` and gives back a handle to it.
///
/// # Panics
/// Two rooms claiming one name is a mistake in the program, seen by the first test that builds an agent.
pub fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("metric names and labels are constants");
    registry.register(Box::new(metric.clone())).expect("each metric is registered once");
    metric
}

/// The one door through which an entry leaves without having been delivered.
#[derive(Clone, Debug)]
pub struct Dropped {
    lines: IntCounterVec,
    by_label: IntCounterVec,
}

impl Dropped {
    pub fn register(registry: &Registry) -> Self {
        let opts = Opts::new(
            "logentry_dropped_lines_total",
            "A count of all log lines dropped as a result of a pipeline stage",
        );
        let by_label = Opts::new(
            "logentry_dropped_lines_by_label_total",
            "A count of all log lines dropped as a result of a pipeline stage, by the label they were limited by",
        );
        Self {
            lines: register(registry, IntCounterVec::new(opts, &["reason"])),
            by_label: register(registry, IntCounterVec::new(by_label, &["label_name", "label_value"])),
        }
    }

    /// Counts the entry under `reason`, here and in its log's account.
    pub fn discard(&self, entry: &Entry<'_>, reason: &Reason) {
        self.lines.with_label_values(&[reason.as_str()]).inc();
        entry.discard(reason);
    }

    /// Counts an entry that is discarded because of this label, besides its reason.
    pub fn count_by_label(&self, name: &str, value: &str) {
        self.by_label.with_label_values(&[name, value]).inc();
    }

    /// Forgets what was counted for a label that nobody asks for any more.
    pub fn forget_label(&self, name: &str, value: &str) {
        // There is nothing to forget where nothing was discarded.
        let _ = self.by_label.remove_label_values(&[name, value]);
    }

    /// Counts a line that never became an entry.
    pub fn count(&self, reason: &Reason) {
        self.lines.with_label_values(&[reason.as_str()]).inc();
    }
}
