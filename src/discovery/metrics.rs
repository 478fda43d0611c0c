//! The metrics of discovery.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::metrics::{ContainerLines, Registry};

#[derive(Clone, Debug)]
pub struct Metrics {
    /// Pods and other objects, groups in files, static configs. The label `config` says which.
    groups: IntGaugeVec,
    targets: IntGaugeVec,
    /// 1: this agent sends the events of the cluster.
    events_leader: IntGaugeVec,
    watch_errors: IntCounterVec,
    watches_failing: IntGaugeVec,
    file_errors: IntCounterVec,
    docker_errors: IntCounterVec,
    /// Lines that come through Docker's API.
    pub(super) containers: ContainerLines,
    refresh_failures: IntCounterVec,
    http_failures: IntCounter,
    consul_failures: IntCounter,
    dns_lookups: IntCounter,
    dns_failures: IntCounter,
    pods_cut: IntCounterVec,
    pods_from_path: IntCounterVec,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Self {
        Self {
            groups: registry.gauges(
                "fantail_discovery_sources",
                "Objects that discovery knows before relabelling: pods and other Kubernetes objects, groups in files, static configs.",
                &["job", "config"],
            ),
            targets: registry.gauges(
                "prometheus_sd_discovered_targets",
                "Targets that discovery knows before relabelling. The label config is the job.",
                &["name", "config"],
            ),
            events_leader: registry.gauges(
                "fantail_kubernetes_events_leader",
                "1 if this agent sends the Kubernetes events of the cluster: it holds the Lease of the job, or there is no election.",
                &["job"],
            ),
            watch_errors: registry.counters(
                "fantail_kubernetes_watch_errors_total",
                "Failures to list or watch Kubernetes objects, including each retry.",
                &["job", "reason"],
            ),
            watches_failing: registry.gauges(
                "fantail_kubernetes_watches_failing",
                "Watches of Kubernetes objects that are not in sync with the API server at present.",
                &["job"],
            ),
            file_errors: registry.counters(
                "fantail_file_sd_read_errors_total",
                "Failures to read a file of file_sd_configs; its last valid content stays in use.",
                &["job"],
            ),
            docker_errors: registry.counters(
                "fantail_docker_sd_errors_total",
                "Failures to ask Docker for its containers; the containers that were found last stay.",
                &["job"],
            ),
            containers: ContainerLines::register(registry),
            refresh_failures: registry.counters(
                "prometheus_sd_refresh_failures_total",
                "Failures to get a list of targets from a server; the last list stays in use. The label config is the job.",
                &["mechanism", "config"],
            ),
            http_failures: registry.counter(
                "prometheus_sd_http_failures_total",
                "Failures to get a list of targets of http_sd_configs.",
            ),
            consul_failures: registry.counter(
                "prometheus_sd_consul_rpc_failures_total",
                "Failed requests to Consul; the last known targets stay.",
            ),
            dns_lookups: registry.counter(
                "prometheus_sd_dns_lookups_total",
                "Names of dns_sd_configs that were looked up.",
            ),
            dns_failures: registry.counter(
                "prometheus_sd_dns_lookup_failures_total",
                "Names of dns_sd_configs that could not be looked up; their last records stay in use.",
            ),
            pods_from_path: registry.counters(
                "fantail_discovery_pods_from_path_total",
                "Pods that the API server did not show, found by their log directories, by the origin of their labels: \
                 cache, path, or unknown (the pod is not read).",
                &["job", "labels"],
            ),
            pods_cut: registry.counters(
                "fantail_discovery_pods_cut_total",
                "Pods and other Kubernetes objects with more containers, ports, labels or annotations than the agent keeps of one object; some are omitted.",
                &["job"],
            ),
        }
    }

    pub(super) fn groups(&self, job: &str, config: &str) -> IntGauge {
        self.groups.with_label_values(&[job, config])
    }

    /// The targets of all configs of a job. The label `name` is that of Prometheus' own.
    pub(super) fn targets(&self, job: &str) -> IntGauge {
        self.targets.with_label_values(&["scrape", job])
    }

    pub(super) fn events_leader(&self, job: &str) -> IntGauge {
        self.events_leader.with_label_values(&[job])
    }

    pub(super) fn watch_failed(&self, job: &str, reason: &str) {
        self.watch_errors.with_label_values(&[job, reason]).inc();
    }

    /// Creates the counters of a job with watches, at zero.
    pub(super) fn announce_watch(&self, job: &str, reasons: impl IntoIterator<Item = &'static str>) {
        self.pods_cut.with_label_values(&[job]);
        reasons.into_iter().for_each(|reason| drop(self.watch_errors.with_label_values(&[job, reason])));
    }

    /// Creates the counter of a job with files, at zero.
    pub(super) fn announce_files(&self, job: &str) {
        self.file_errors.with_label_values(&[job]);
    }

    pub(super) fn watches_failing(&self, job: &str) -> IntGauge {
        self.watches_failing.with_label_values(&[job])
    }

    pub(super) fn pod_cut(&self, job: &str) {
        self.pods_cut.with_label_values(&[job]).inc();
    }

    /// Creates the counter of a job that finds pods by directories, at zero.
    pub(super) fn announce_paths(&self, job: &str, labels: &[&str]) {
        labels.iter().for_each(|labels| drop(self.pods_from_path.with_label_values(&[job, labels])));
    }

    pub(super) fn pod_from_path(&self, job: &str, labels: &str) {
        self.pods_from_path.with_label_values(&[job, labels]).inc();
    }

    /// Makes the counter of a job that asks Docker appear, at zero.
    pub(super) fn announce_docker(&self, job: &str) {
        self.docker_errors.with_label_values(&[job]);
    }

    pub(super) fn docker_failed(&self, job: &str) {
        self.docker_errors.with_label_values(&[job]).inc();
    }

    /// Creates the counter of a job that asks a server for targets, at zero.
    pub(super) fn announce_refresh(&self, job: &str, mechanism: &str) {
        self.refresh_failures.with_label_values(&[mechanism, job]);
    }

    pub(super) fn refresh_failed(&self, job: &str, mechanism: &str) {
        self.refresh_failures.with_label_values(&[mechanism, job]).inc();
    }

    pub(super) fn http_failed(&self) {
        self.http_failures.inc();
    }

    pub(super) fn consul_failed(&self) {
        self.consul_failures.inc();
    }

    pub(super) fn dns_looked_up(&self) {
        self.dns_lookups.inc();
    }

    pub(super) fn dns_failed(&self) {
        self.dns_failures.inc();
    }

    pub(super) fn file_failed(&self, job: &str) {
        self.file_errors.with_label_values(&[job]).inc();
    }
}
