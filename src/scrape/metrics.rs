//! What is tailed, as numbers: Promtail's names, and ours for what Promtail did not say.
//!
//! The series per file are made when they are asked for: 5,000 idle files cost nothing here.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{IntCounter, IntCounterVec, Opts};

use super::status::Status;
use crate::metrics::{Registry, register};
use crate::model::Weight;

#[derive(Clone, Debug)]
pub(super) struct Metrics {
    targets_failed: IntCounterVec,
    lost_bytes: IntCounterVec,
    positions_errors: IntCounter,
    read_errors: IntCounter,
}

impl Metrics {
    pub fn register(registry: &Registry, status: Arc<Status>) -> Self {
        registry.register(Box::new(Files::new(status))).expect("each metric is registered once");
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        Self {
            targets_failed: counters("promtail_targets_failed_total", "Number of failed targets", &["reason"]),
            lost_bytes: counters(
                "fantail_lost_bytes_total",
                "Bytes of log files that could not be delivered and never will be",
                &["reason"],
            ),
            positions_errors: register(
                registry,
                IntCounter::new("fantail_positions_errors_total", "Failed writes of the positions file or its journal"),
            ),
            read_errors: register(registry, IntCounter::new("fantail_read_errors_total", "Failed reads of log files")),
        }
    }

    pub fn target_failed(&self, reason: &str) {
        self.targets_failed.with_label_values(&[reason]).inc();
    }

    pub fn lost(&self, bytes: u64, reason: &str) {
        self.lost_bytes.with_label_values(&[reason]).inc_by(bytes);
    }

    pub fn positions_error(&self) {
        self.positions_errors.inc();
    }

    pub fn read_error(&self) {
        self.read_errors.inc();
    }
}

struct Files {
    status: Arc<Status>,
    desc: Desc,
}

impl Files {
    fn new(status: Arc<Status>) -> Self {
        let desc = Desc::new(READ_BYTES.0.into(), READ_BYTES.1.into(), vec!["path".into()], HashMap::new());
        Self { status, desc: desc.expect("a constant name and label") }
    }
}

const READ_BYTES: (&str, &str) = ("promtail_read_bytes_total", "Number of bytes read");

impl Collector for Files {
    fn desc(&self) -> Vec<&Desc> {
        // One of its families stands for all: a registry knows a collector by what it describes.
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let files = self.status.files();
        let mut read_bytes = Vec::new();
        let mut read_lines = Vec::new();
        let mut file_bytes = Vec::new();
        let mut lag_bytes = Vec::new();
        for file in &files {
            let path = [("path", file.path.display().to_string())];
            let progress = file.ledger.progress();
            read_bytes.push(gauge(&path, progress.read_offset as f64));
            file_bytes.push(gauge(&path, progress.size as f64));
            lag_bytes.push(gauge(&path, progress.unread as f64));
            read_lines.push(counter(&path, file.ledger.account().read.lines as f64));
        }
        let unacknowledged = self.status.unacknowledged();
        let unacknowledged =
            unacknowledged.iter().map(|(client, n)| gauge(&[("client", client.to_string())], *n as f64));
        let accounts = accounts(&self.status);
        let families = [
            family(READ_BYTES.0, READ_BYTES.1, MetricType::GAUGE, read_bytes),
            family("promtail_file_bytes_total", "Number of bytes total", MetricType::GAUGE, file_bytes),
            family("promtail_read_lines_total", "Number of lines read", MetricType::COUNTER, read_lines),
            family("fantail_lag_bytes", "Bytes on disk that have not been read", MetricType::GAUGE, lag_bytes),
            family(
                "fantail_unacknowledged_bytes",
                "Bytes read that Loki has not acknowledged",
                MetricType::GAUGE,
                unacknowledged.collect(),
            ),
            family(
                "promtail_files_active_total",
                "Number of active files",
                MetricType::GAUGE,
                vec![gauge(&[], files.len() as f64)],
            ),
            family(
                "promtail_targets_active_total",
                "Number of active total",
                MetricType::GAUGE,
                vec![gauge(&[], self.status.target_count() as f64)],
            ),
        ];
        families.into_iter().chain(accounts).filter(|f| !f.get_metric().is_empty()).collect()
    }
}

/// Every line that was read is delivered, discarded, or under way.
fn accounts(status: &Status) -> [MetricFamily; 8] {
    let (mut read, mut delivered, mut discarded, mut under_way) = <(Both, Both, Both, Both)>::default();
    for (client, account) in status.accounts() {
        let client = [("client", client.to_string())];
        read.push(counter, &client, account.read);
        delivered.push(counter, &client, account.delivered);
        for (reason, weight) in &account.discarded {
            let [client] = client.clone();
            discarded.push(counter, &[client, ("reason", reason.as_str().to_string())], *weight);
        }
        under_way.push(gauge, &client, account.under_way());
    }
    let of = |name: &str, what: &str, kind: MetricType, both: Both| {
        let name = |unit| match kind {
            MetricType::COUNTER => format!("fantail_{name}_{unit}_total"),
            _ => format!("fantail_{name}_{unit}"),
        };
        [
            family(&name("lines"), &format!("Lines {what}"), kind, both.lines),
            family(&name("bytes"), &format!("Bytes of log files {what}"), kind, both.bytes),
        ]
    };
    let [a, b] = of("read", "read: delivered, discarded and under way together", MetricType::COUNTER, read);
    let [c, d] = of("delivered", "that Loki has stored", MetricType::COUNTER, delivered);
    let [e, f] =
        of("discarded", "that were not to be sent, or that Loki can never take", MetricType::COUNTER, discarded);
    let [g, h] = of("under_way", "read, and neither delivered nor discarded yet", MetricType::GAUGE, under_way);
    [a, b, c, d, e, f, g, h]
}

type Sample = fn(&[(&str, String)], f64) -> Metric;

/// The samples of two families.
#[derive(Default)]
struct Both {
    lines: Vec<Metric>,
    bytes: Vec<Metric>,
}

impl Both {
    fn push(&mut self, sample: Sample, labels: &[(&str, String)], weight: Weight) {
        self.lines.push(sample(labels, weight.lines as f64));
        self.bytes.push(sample(labels, weight.bytes as f64));
    }
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn gauge(labels: &[(&str, String)], value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = labelled(labels);
    metric.set_gauge(gauge);
    metric
}

fn counter(labels: &[(&str, String)], value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = labelled(labels);
    metric.set_counter(counter);
    metric
}

fn labelled(labels: &[(&str, String)]) -> Metric {
    let mut metric = Metric::default();
    let pair = |(name, value): &(&str, String)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).into());
        pair.set_value(value.clone());
        pair
    };
    metric.set_label(labels.iter().map(pair).collect());
    metric
}
