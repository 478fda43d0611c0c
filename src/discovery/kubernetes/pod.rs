//! The targets of a pod, with Prometheus' labels.
//!
//! There are two intended differences from Prometheus, so that no log is missed: ephemeral containers are targets too,
//! and a pod without an address (it is starting, or was very short-lived) has targets.
//!
//! The memory for a pod is limited, because its user can write any labels, annotations and ports. Only the names are
//! kept of labels that no rule reads. A container has one target for all its ports if no rule reads ports. All targets
//! share the labels of their pod.

use super::common::{Common, LABELS, host_port};
use super::slim::{Container, ContainerStatus, Metadata, Object, Pod};
use crate::model::{LabelSet, Labels, LeftOut, TargetGroup, TargetLabels, pod};
use crate::relabel::Reads;

pub(super) const PORT_NAME: &str = "__meta_kubernetes_pod_container_port_name";
pub(super) const PORT_NUMBER: &str = "__meta_kubernetes_pod_container_port_number";
pub(super) const PORT_PROTOCOL: &str = "__meta_kubernetes_pod_container_port_protocol";
pub(super) const ADDRESS: &str = "__address__";

/// The number of ports of the container, if its target is for all of them.
const PORTS: &str = "__meta_fantail_ports";

/// The group of a pod: one target for each container, or for each port of each container if a rule reads ports.
///
/// Beyond [`LABELS`], a container has one target for all its ports, without the long annotations of the pod.
///
/// A pod that has ended keeps its targets, because its logs exist as long as the pod.
pub(super) fn group(pod: &Pod, reads: &Reads) -> TargetGroup {
    group_beside(pod, reads, pod_labels(pod), &[])
}

/// As [`group`], with `labels` as the labels of the pod itself, and with the metadata of other objects (its node, its
/// namespace).
pub(super) fn group_beside(pod: &Pod, reads: &Reads, labels: Labels, beside: &[&Metadata]) -> TargetGroup {
    let (spec, status) = (&pod.spec, &pod.status);
    let kinds = [
        (&spec.containers, &status.container_statuses, false),
        (&spec.init_containers, &status.init_container_statuses, true),
        (&spec.ephemeral_containers, &status.ephemeral_container_statuses, false),
    ];
    let reads_ports = [PORT_NAME, PORT_NUMBER, PORT_PROTOCOL, ADDRESS].iter().any(|label| reads.reads(label));
    let mut left_out = LeftOut::default();
    let Common { full, short, without } = Common::of(labels, &[&[&pod.metadata], beside].concat(), &mut left_out);
    let mut targets = Vec::new();
    let mut spent = 0;
    for (containers, statuses, init) in kinds {
        left_out.containers += containers.more;
        for container in &containers.kept {
            let common = if targets.is_empty() || spent + full.bytes() <= LABELS { &full } else { &short };
            if common.same(&short) {
                left_out.labels = left_out.labels.max(without);
            }
            let own = container_labels(container, &statuses.kept, init);
            let each = common.bytes() + LabelSet::from(&own).bytes();
            let most = (LABELS.saturating_sub(spent) / each.max(1)).max(1);
            let made = if reads_ports { container.ports.kept.len().clamp(1, most) } else { 1 };
            if reads_ports {
                left_out.ports += container.ports.count().saturating_sub(made);
            }
            spent += made * each;
            let targets_of = port_targets(own, container, made, reads_ports, &status.pod_ip);
            targets.extend(targets_of.into_iter().map(|own| TargetLabels::new(common.clone(), LabelSet::from(&own))));
        }
    }
    TargetGroup { id: pod.group_id(), targets, left_out }
}

/// The labels of the pod itself, without Kubernetes labels and annotations.
pub(super) fn pod_labels(pod: &Pod) -> Labels {
    let (meta, status) = (&pod.metadata, &pod.status);
    let mut labels = Labels::new();
    let mut set = |name: &str, value: &str| labels.insert(name.to_string(), value.to_string());

    set(pod::NAMESPACE, &meta.namespace);
    set(pod::NAME, &meta.name);
    set(pod::UID, &meta.uid);
    set(pod::NODE, &pod.spec.node_name);
    set("__meta_kubernetes_pod_ip", &status.pod_ip);
    set("__meta_kubernetes_pod_host_ip", &status.host_ip);
    set("__meta_kubernetes_pod_phase", &status.phase);
    set("__meta_kubernetes_pod_ready", &ready(pod));
    if let Some(controller) = meta.owner_references.kept.iter().find(|owner| owner.controller == Some(true)) {
        if !controller.kind.is_empty() {
            set("__meta_kubernetes_pod_controller_kind", &controller.kind);
        }
        if !controller.name.is_empty() {
            set("__meta_kubernetes_pod_controller_name", &controller.name);
        }
    }
    labels
}

/// `true`, `false` or `unknown`, from the pod's condition.
fn ready(pod: &Pod) -> String {
    let condition = pod.status.conditions.kept.iter().find(|condition| condition.kind == "Ready");
    condition.map_or_else(|| "unknown".to_string(), |condition| condition.status.to_lowercase())
}

fn container_labels(container: &Container, statuses: &[ContainerStatus], init: bool) -> Labels {
    let id = statuses.iter().find(|status| status.name == container.name).map(|status| status.container_id.as_str());
    let mut labels = Labels::new();
    let mut set = |name: &str, value: &str| labels.insert(name.to_string(), value.to_string());
    set(pod::CONTAINER, &container.name);
    set("__meta_kubernetes_pod_container_id", id.unwrap_or_default());
    set("__meta_kubernetes_pod_container_image", &container.image);
    set("__meta_kubernetes_pod_container_init", if init { "true" } else { "false" });
    labels
}

/// The targets of a container, for at most `most` ports.
fn port_targets(labels: Labels, container: &Container, most: usize, reads_ports: bool, ip: &str) -> Vec<Labels> {
    let mut targets = Vec::new();
    for port in container.ports.kept.iter().take(most) {
        let number = port.container_port.to_string();
        let mut target = labels.clone();
        let mut set = |name: &str, value: String| target.insert(name.to_string(), value);
        set(ADDRESS, host_port(ip, &number));
        set(PORT_NAME, port.name.clone());
        set(PORT_NUMBER, number);
        set(PORT_PROTOCOL, port.protocol.clone());
        if !reads_ports && container.ports.count() > 1 {
            set(PORTS, container.ports.count().to_string());
        }
        targets.push(target);
    }
    if targets.is_empty() {
        let mut target = labels;
        target.insert(ADDRESS.to_string(), ip.to_string());
        targets.push(target);
    }
    targets
}

#[cfg(test)]
mod tests;
