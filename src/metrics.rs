//! The metrics registry of the process. Each module defines its own metrics beside the code that updates them. Metrics
//! that Promtail has keep Promtail's names. All others are named `fantail_*`.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Result as Made};

use crate::model::{Entry, Reason};

/// The metric families of the process. Clones share one registry.
///
/// Registering a family again returns the existing one with its values, so counters continue after a reload.
///
/// # Panics
/// If two modules register different families under one name. The first test that builds an agent finds this.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    shown: prometheus::Registry,
    /// By the ids of the family's descriptions in prometheus.
    families: Arc<Mutex<HashMap<Vec<u64>, Known>>>,
}

struct Known {
    /// Label names and help text of each description.
    shapes: Vec<u64>,
    family: Box<dyn Any + Send>,
}

impl Registry {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.family(IntCounter::new(name, help))
    }

    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.family(IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.family(IntGauge::new(name, help))
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.family(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// With the default buckets of Prometheus clients, from 5 ms to 10 s.
    pub fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.family(HistogramVec::new(HistogramOpts::new(name, help), labels))
    }

    /// A gauge that is always 1. Its labels describe the process.
    pub fn info<'l>(&self, name: &str, help: &str, labels: impl IntoIterator<Item = (&'l str, &'l str)>) {
        let opts = labels.into_iter().fold(Opts::new(name, help), |opts, (name, value)| opts.const_label(name, value));
        self.family(IntGauge::with_opts(opts)).set(1);
    }

    /// Returns the registered family with the descriptions of `new`. If there is none, registers `new`.
    pub fn family<C: Collector + Clone + 'static>(&self, new: Made<C>) -> C {
        let new = new.expect("metric names and labels are constants");
        let ids = new.desc().iter().map(|desc| desc.id).collect();
        let shapes: Vec<u64> = new.desc().iter().map(|desc| desc.dim_hash).collect();
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = families.get(&ids) else {
            self.register(Box::new(new.clone())).expect("a name is that of one family");
            families.insert(ids, Known { shapes, family: Box::new(new.clone()) });
            return new;
        };
        let same = known.family.downcast_ref::<C>().filter(|_| known.shapes == shapes);
        same.expect("a name is that of one family, with the same labels and help").clone()
    }

    /// Registers a collector that builds its families on request. It may only be registered once.
    pub fn register(&self, collector: Box<dyn Collector>) -> Made<()> {
        self.shown.register(collector)
    }

    pub fn gather(&self) -> Vec<MetricFamily> {
        self.shown.gather()
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a family")
    }
}

/// Counts entries that are discarded. Every entry that ends undelivered passes here.
#[derive(Clone, Debug)]
pub struct Dropped {
    lines: IntCounterVec,
    by_label: IntCounterVec,
}

impl Dropped {
    pub fn register(registry: &Registry) -> Self {
        Self {
            lines: registry.counters(
                "logentry_dropped_lines_total",
                "A count of all log lines dropped as a result of a pipeline stage",
                &["reason"],
            ),
            by_label: registry.counters(
                "logentry_dropped_lines_by_label_total",
                "A count of all log lines dropped as a result of a pipeline stage, by the label they were limited by",
                &["label_name", "label_value"],
            ),
        }
    }

    /// Counts the entry under `reason`, in the metrics and in its log's account.
    pub fn discard(&self, entry: &Entry<'_>, reason: &Reason) {
        self.lines.with_label_values(&[reason.as_str()]).inc();
        entry.discard(reason);
    }

    /// Counts an entry that is discarded because of this label, in addition to its reason.
    pub fn count_by_label(&self, name: &str, value: &str) {
        self.by_label.with_label_values(&[name, value]).inc();
    }

    /// Removes the counter of a label that is no longer in use.
    pub fn forget_label(&self, name: &str, value: &str) {
        // The counter does not exist if nothing was discarded.
        let _ = self.by_label.remove_label_values(&[name, value]);
    }

    /// Counts a line that never became an entry.
    pub fn count(&self, reason: &Reason) {
        self.lines.with_label_values(&[reason.as_str()]).inc();
    }
}

/// Promtail's counters of the lines of Docker's containers. A stage counts lines of Docker's files, and discovery those
/// that come through the API.
#[derive(Clone, Debug)]
pub struct ContainerLines {
    read: IntCounter,
    errors: IntCounter,
}

impl ContainerLines {
    pub fn register(registry: &Registry) -> Self {
        Self {
            read: registry.counter(
                "promtail_docker_target_entries_total",
                "Total number of lines read of containers of docker_sd_configs.",
            ),
            errors: registry.counter(
                "promtail_docker_target_parsing_errors_total",
                "Total number of lines of containers whose time or text could not be parsed.",
            ),
        }
    }

    /// Counts a line.
    pub fn count(&self, is_parsed: bool) {
        self.read.inc();
        if !is_parsed {
            self.errors.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_registered_again_is_what_was_there() {
        let registry = Registry::new();
        let clone = registry.clone();
        for (round, registry) in [(1, &registry), (2, &clone), (3, &registry)] {
            registry.counter("c_total", "One.").inc();
            registry.gauge("g", "One.").inc();
            registry.counters("cs_total", "Several.", &["a"]).with_label_values(&["x"]).inc();
            registry.gauges("gs", "Several.", &["a", "b"]).with_label_values(&["x", "y"]).inc();
            registry.histograms("h_seconds", "Times.", &["a"]).with_label_values(&["x"]).observe(0.1);
            registry.info("i_info", "What it is.", [("version", "1"), ("os", "linux")]);
            Dropped::register(registry).count(&Reason::RateLimited);
            let gathered = clone.gather();
            assert_eq!(gathered.len(), 7);
            for family in gathered {
                assert_eq!(family.get_metric().len(), 1, "{}", family.name());
                let series = &family.get_metric()[0];
                let value = series.get_counter().get_value() + series.get_gauge().get_value();
                let value = value + series.get_histogram().get_sample_count() as f64;
                assert_eq!(value, if family.name() == "i_info" { 1.0 } else { f64::from(round) }, "{}", family.name());
            }
        }
    }

    /// Other label values make another series of the same family, as in Prometheus.
    #[test]
    fn an_info_that_changed_is_shown_as_well() {
        let registry = Registry::new();
        registry.info("i_info", "What it is.", [("version", "1")]);
        registry.info("i_info", "What it is.", [("version", "2")]);
        assert_eq!(registry.gather()[0].get_metric().len(), 2);
    }

    #[test]
    #[should_panic(expected = "a name is that of one family")]
    fn a_name_with_other_labels_is_a_mistake() {
        let registry = Registry::new();
        registry.counters("a_total", "Several.", &["a"]);
        registry.counters("a_total", "Several.", &["b"]);
    }

    #[test]
    #[should_panic(expected = "a name is that of one family")]
    fn a_name_of_another_type_is_a_mistake() {
        let registry = Registry::new();
        registry.counters("a_total", "Several.", &["a"]);
        registry.gauges("a_total", "Several.", &["a"]);
    }
}
