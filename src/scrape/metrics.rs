//! Metrics of tailing: Promtail's names where it has them, `fantail_*` for the rest.
//!
//! Series per file are only made on a scrape of the metrics, so 5,000 idle files cost nothing in between.

mod journal;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{IntCounter, IntCounterVec, IntGauge};

pub(super) use journal::JournalMetrics;

use super::status::Status;
use crate::metrics::Registry;
use crate::model::{Reason, Weight};

/// Reason of a loss: a line longer than the agent will hold.
pub(super) const LINE_TOO_LONG: &str = "line_too_long";

/// Reason of a loss: the file that was read last no longer existed at the start, or it was cut before it was read, and no
/// copy has these bytes.
pub(super) const ROTATED_AWAY: &str = "rotated_away";

/// Reason of a loss: deleted files beyond `target_config.deleted_files_limit`.
pub(super) const DELETED: &str = "deleted_files_limit";

/// Reason of a loss: older files beyond the limit on open files.
pub(super) const TOO_MANY: &str = "too_many_files";

/// Reason of a loss: compressed files that cannot be decompressed to their end.
pub(super) const DAMAGED: &str = "damaged";

/// Reason of a loss: lines of standard input for a client that does not take them while another does.
pub(super) const STDIN_BEHIND: &str = "stdin_behind";

/// Reason of a loss: received lines for a client that does not take them while another does, or at the end.
const RECEIVER_BEHIND: &str = "receiver_behind";

/// Reason of a loss: entries of the journal that are damaged, or were deleted before they were read. Their bytes are
/// unknown.
pub(super) const JOURNAL: &str = "journal";

/// Reason of a loss: a damaged part of a spool.
pub(super) const SPOOL: &str = "spool";

#[derive(Clone, Debug)]
pub(super) struct Metrics {
    targets_failed: IntCounterVec,
    losses: IntCounterVec,
    lost_bytes: IntCounterVec,
    positions_errors: IntCounter,
    read_errors: IntCounter,
    refused_folders: IntCounter,
    beyond_limit: IntGauge,
    hanging: IntGauge,
    pub journal: JournalMetrics,
}

impl Metrics {
    pub fn register(registry: &Registry, status: Arc<Status>) -> Self {
        registry.register(Box::new(Files::new(status))).expect("each metric is registered once");
        let metrics = Self {
            targets_failed: registry.counters("promtail_targets_failed_total", "Number of failed targets", &["reason"]),
            losses: registry.counters(
                "fantail_losses_total",
                "Number of permanent losses of lines, of any size",
                &["reason"],
            ),
            lost_bytes: registry.counters(
                "fantail_lost_bytes_total",
                "Bytes of log files that are permanently lost",
                &["reason"],
            ),
            positions_errors: registry
                .counter("fantail_positions_errors_total", "Failed writes of the positions file or its journal"),
            read_errors: registry.counter("fantail_read_errors_total", "Failed reads of log files"),
            refused_folders: registry.counter(
                "fantail_refused_folders_total",
                "Directories of other pods' logs that a pod's target led to; they were not read",
            ),
            beyond_limit: registry.gauge(
                "fantail_logs_beyond_limit",
                "Logs that are not read because target_config.logs_limit logs are open",
            ),
            hanging: registry.gauge(
                "fantail_hanging_calls",
                "System calls on log files and their directories that have not returned; their logs wait, all others go on",
            ),
            journal: JournalMetrics::register(registry),
        };
        // Initialised to 0: `rate()` would miss the first loss of a series that begins with it.
        for reason in
            [LINE_TOO_LONG, ROTATED_AWAY, DELETED, TOO_MANY, DAMAGED, STDIN_BEHIND, RECEIVER_BEHIND, JOURNAL, SPOOL]
        {
            metrics.losses.with_label_values(&[reason]);
            metrics.lost_bytes.with_label_values(&[reason]);
        }
        metrics
    }

    /// The logs of the last run are closed.
    pub fn begin_run(&self) {
        self.beyond_limit.set(0);
    }

    pub fn target_failed(&self, reason: &str) {
        self.targets_failed.with_label_values(&[reason]).inc();
    }

    /// `bytes` is 0 if the number is unknown.
    pub fn lost(&self, bytes: u64, reason: &'static str) {
        self.losses.with_label_values(&[reason]).inc();
        self.lost_bytes.with_label_values(&[reason]).inc_by(bytes);
    }

    pub fn receiver_behind(&self, job: &str, bytes: u64) {
        let lost = self.losses.with_label_values(&[RECEIVER_BEHIND]);
        // Once, then again after each thousandth loss: there may be thousands in a second.
        if lost.get().is_multiple_of(1_000) {
            tracing::error!(
                job,
                bytes,
                "a client has no room for received lines: it loses them (fantail_lost_bytes_total, reason \"receiver_behind\"); \
                 see why its Loki does not answer"
            );
        }
        self.lost(bytes, RECEIVER_BEHIND);
    }

    /// Datagrams that the kernel dropped before a receiver read them. Their bytes are not known.
    pub fn datagrams_dropped(&self, job: &str, datagrams: u64, begins: bool) {
        if begins {
            tracing::error!(
                job,
                datagrams,
                "the kernel drops datagrams of syslog, because the socket's buffer is full: they are lost \
                 (fantail_syslog_dropped_datagrams_total); raise receive_buffer, and see whether Loki answers"
            );
        }
        self.lost(0, RECEIVER_BEHIND);
    }

    pub fn refused_folders(&self, count: usize) {
        self.refused_folders.inc_by(count as u64);
    }

    /// Adds to the number of logs beyond the limit. May be negative.
    pub fn beyond_limit(&self, logs: i64) {
        self.beyond_limit.add(logs);
    }

    /// Adds to the number of system calls that hang. May be negative.
    pub fn hanging(&self, calls: i64) {
        self.hanging.add(calls);
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
        // One family stands for all: a registry identifies a collector by its descriptions.
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let files = self.status.files();
        // Two targets may read the same file. The offset shown is the lower one, so that a lag is visible.
        let mut read_bytes = Samples::new(MetricType::GAUGE, Equal::Least);
        let mut file_bytes = Samples::new(MetricType::GAUGE, Equal::Most);
        let mut lag_bytes = Samples::new(MetricType::GAUGE, Equal::Most);
        let mut read_lines = Samples::new(MetricType::COUNTER, Equal::Sum);
        for file in &files {
            let path = [("path", file.path.display().to_string())];
            let progress = file.ledger.progress();
            read_bytes.add(&path, progress.read_offset as f64);
            file_bytes.add(&path, progress.size as f64);
            lag_bytes.add(&path, progress.unread as f64);
            read_lines.add(&path, file.ledger.account().read.lines as f64);
        }
        let mut unacknowledged = Samples::new(MetricType::GAUGE, Equal::Sum);
        for (client, bytes) in self.status.unacknowledged() {
            unacknowledged.add(&[("client", client.to_string())], bytes as f64);
        }
        let mut active_files = Samples::new(MetricType::GAUGE, Equal::Sum);
        active_files.add(&[], files.len() as f64);
        let mut active_targets = Samples::new(MetricType::GAUGE, Equal::Sum);
        active_targets.add(&[], self.status.target_count() as f64);
        let mut unread_files = Samples::new(MetricType::GAUGE, Equal::Sum);
        for (reason, count) in self.status.unread() {
            unread_files.add(&[("reason", reason.to_string())], count as f64);
        }
        let families = [
            read_bytes.family(READ_BYTES.0, READ_BYTES.1),
            file_bytes.family("promtail_file_bytes_total", "Number of bytes total"),
            read_lines.family("promtail_read_lines_total", "Number of lines read"),
            lag_bytes.family("fantail_lag_bytes", "Bytes on disk that have not been read"),
            unacknowledged.family("fantail_unacknowledged_bytes", "Bytes read that Loki has not acknowledged"),
            unread_files.family("fantail_unread_files", "Files that match but cannot be read at present"),
            active_files.family("promtail_files_active_total", "Number of active files"),
            active_targets.family("promtail_targets_active_total", "Number of active total"),
        ];
        families.into_iter().chain(accounts(&self.status)).filter(|f| !f.get_metric().is_empty()).collect()
    }
}

/// Each line that was read is delivered, discarded or under way.
fn accounts(status: &Status) -> [MetricFamily; 8] {
    let mut read = Both::new(MetricType::COUNTER);
    let mut delivered = Both::new(MetricType::COUNTER);
    let mut discarded = Both::new(MetricType::COUNTER);
    let mut under_way = Both::new(MetricType::GAUGE);
    for (client, account) in status.accounts() {
        let client = [("client", client.to_string())];
        read.add(&client, account.read);
        delivered.add(&client, account.delivered);
        let mut discard = |reason: &Reason, weight| {
            let [client] = client.clone();
            discarded.add(&[client, ("reason", reason.as_str().to_string())], weight);
        };
        account.discarded.iter().for_each(|(reason, weight)| discard(reason, *weight));
        // Initialised to 0, so that the first increase is visible.
        [Reason::IngesterError, Reason::RateLimited, Reason::StreamLimited, Reason::LineTooLong]
            .iter()
            .for_each(|reason| discard(reason, Weight::default()));
        under_way.add(&client, account.under_way());
    }
    let [a, b] = read.families(
        ["fantail_read_lines_total", "fantail_read_bytes_total"],
        "read: the sum of delivered, discarded and under way",
    );
    let [c, d] =
        delivered.families(["fantail_delivered_lines_total", "fantail_delivered_bytes_total"], "that Loki has stored");
    let [e, f] = discarded.families(
        ["fantail_discarded_lines_total", "fantail_discarded_bytes_total"],
        "that are not sent because a stage dropped them, or that Loki refused permanently",
    );
    let [g, h] = under_way.families(
        ["fantail_under_way_lines", "fantail_under_way_bytes"],
        "read, but neither delivered nor discarded yet",
    );
    [a, b, c, d, e, f, g, h]
}

/// How to combine two samples with equal labels.
#[derive(Clone, Copy, Debug)]
enum Equal {
    Sum,
    Least,
    Most,
}

/// The samples of one family. Each set of labels appears once. A duplicate series would make the whole scrape fail.
#[derive(Debug)]
struct Samples {
    kind: MetricType,
    equal: Equal,
    values: BTreeMap<Vec<(&'static str, String)>, f64>,
}

impl Samples {
    fn new(kind: MetricType, equal: Equal) -> Self {
        Self { kind, equal, values: BTreeMap::new() }
    }

    fn add(&mut self, labels: &[(&'static str, String)], value: f64) {
        let equal = self.equal;
        let join = |known: &mut f64| match equal {
            Equal::Sum => *known += value,
            Equal::Least => *known = known.min(value),
            Equal::Most => *known = known.max(value),
        };
        self.values.entry(labels.to_vec()).and_modify(join).or_insert(value);
    }

    fn family(self, name: &str, help: &str) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(name.into());
        family.set_help(help.into());
        family.set_field_type(self.kind);
        family.set_metric(self.values.into_iter().map(|(labels, value)| sample(self.kind, labels, value)).collect());
        family
    }
}

/// The same in lines and in bytes.
#[derive(Debug)]
struct Both {
    lines: Samples,
    bytes: Samples,
}

impl Both {
    fn new(kind: MetricType) -> Self {
        Self { lines: Samples::new(kind, Equal::Sum), bytes: Samples::new(kind, Equal::Sum) }
    }

    fn add(&mut self, labels: &[(&'static str, String)], weight: Weight) {
        self.lines.add(labels, weight.lines as f64);
        self.bytes.add(labels, weight.bytes as f64);
    }

    fn families(self, [lines, bytes]: [&str; 2], what: &str) -> [MetricFamily; 2] {
        [
            self.lines.family(lines, &format!("Lines {what}")),
            self.bytes.family(bytes, &format!("Bytes of log files {what}")),
        ]
    }
}

fn sample(kind: MetricType, labels: Vec<(&'static str, String)>, value: f64) -> Metric {
    let mut metric = Metric::default();
    let pair = |(name, value): (&str, String)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.into());
        pair.set_value(value);
        pair
    };
    metric.set_label(labels.into_iter().map(pair).collect());
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}
