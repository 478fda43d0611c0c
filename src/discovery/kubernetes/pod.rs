//! From a pod to its targets, with the labels that Prometheus gives them.
//!
//! Two deliberate differences, so that no log is missed: ephemeral containers are targets too, and a pod without an
//! address (it is only starting, or was so short-lived that it never had one) is not passed over.

use super::slim::{Container, ContainerStatus, Pod};
use crate::model::{Labels, TargetGroup, pod};

/// What the targets of a pod may hold of labels in all, in bytes: each has a copy of the annotations of its pod, which may be
/// 256 KiB.
const LABELS: usize = 256 << 10;

/// An annotation of so many bytes is one that a rule may ask for.
const SHORT: usize = 1 << 10;

/// What short annotations take, in bytes, where long ones are left out.
const SHORT_ANNOTATIONS: usize = 16 << 10;

/// The label that says how many ports of the pod are no targets of their own, since its labels would take too much.
pub(super) const PORTS_LEFT_OUT: &str = "__meta_fantail_ports_left_out";

/// The group of a pod: one target per port of each container, and one per container without ports.
///
/// Ports make no difference to what is read. Beyond [`LABELS`] a container has one target for all its ports, and is told without
/// the long annotations of the pod.
///
/// A pod that has ended keeps its targets: its logs are there as long as it is.
pub(super) fn group(pod: &Pod) -> TargetGroup {
    let common = pod_labels(pod);
    let (spec, status) = (&pod.spec, &pod.status);
    let kinds = [
        (&spec.containers, &status.container_statuses, false),
        (&spec.init_containers, &status.init_container_statuses, true),
        (&spec.ephemeral_containers, &status.ephemeral_container_statuses, false),
    ];
    let short = without_long_annotations(&common);
    let mut targets = Vec::new();
    let (mut spent, mut left_out) = (0, 0);
    for (containers, statuses, init) in kinds {
        for container in containers {
            let is_first = targets.is_empty();
            let mut labels = if is_first || spent + bytes(&common) <= LABELS { common.clone() } else { short.clone() };
            container_labels(&mut labels, container, statuses, init);
            let each = bytes(&labels);
            let most = (LABELS.saturating_sub(spent) / each.max(1)).max(1);
            let made = container.ports.len().clamp(1, most);
            left_out += container.ports.len().saturating_sub(made);
            spent += made * each;
            port_targets(&mut targets, labels, container, made, &status.pod_ip);
        }
    }
    if left_out > 0 {
        targets.iter_mut().for_each(|labels| drop(labels.insert(PORTS_LEFT_OUT.to_string(), left_out.to_string())));
    }
    TargetGroup { source: source(pod), targets }
}

/// `<namespace>/<name>`: a pod that takes the name of one deleted takes its place.
pub(super) fn source(pod: &Pod) -> String {
    let part = |value: &Option<String>| value.clone().unwrap_or_default();
    format!("pod/{}/{}", part(&pod.metadata.namespace), part(&pod.metadata.name))
}

fn pod_labels(pod: &Pod) -> Labels {
    let (meta, status) = (&pod.metadata, &pod.status);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut labels = Labels::new();
    let mut set = |name: &str, value: String| labels.insert(name.to_string(), value);

    set(pod::NAMESPACE, text(&meta.namespace));
    set(pod::NAME, text(&meta.name));
    set(pod::UID, text(&meta.uid));
    set(pod::NODE, pod.spec.node_name.clone());
    set("__meta_kubernetes_pod_ip", status.pod_ip.clone());
    set("__meta_kubernetes_pod_host_ip", status.host_ip.clone());
    set("__meta_kubernetes_pod_phase", status.phase.clone());
    set("__meta_kubernetes_pod_ready", ready(pod));
    for (kind, pairs) in [("label", &meta.labels), ("annotation", &meta.annotations)] {
        for (name, value) in pairs.iter().flatten() {
            let name = sanitised(name);
            set(&format!("__meta_kubernetes_pod_{kind}_{name}"), value.clone());
            set(&format!("__meta_kubernetes_pod_{kind}present_{name}"), "true".to_string());
        }
    }
    let controller = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    if let Some(controller) = controller {
        if !controller.kind.is_empty() {
            set("__meta_kubernetes_pod_controller_kind", controller.kind.clone());
        }
        if !controller.name.is_empty() {
            set("__meta_kubernetes_pod_controller_name", controller.name.clone());
        }
    }
    labels
}

fn bytes(labels: &Labels) -> usize {
    labels.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// The labels with as many short annotations as there is room for: what rules ask for is short.
fn without_long_annotations(labels: &Labels) -> Labels {
    let mut room = SHORT_ANNOTATIONS;
    let mut is_kept = |name: &str, value: &str| {
        if !name.starts_with("__meta_kubernetes_pod_annotation") {
            return true;
        }
        let size = name.len() + value.len();
        let is_kept = value.len() <= SHORT && (name == pod::CONFIG_HASH || size <= room);
        room -= if is_kept { size.min(room) } else { 0 };
        is_kept
    };
    let kept = labels.iter().filter(|(name, value)| is_kept(name, value));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// `true`, `false` or `unknown`, as the condition says.
fn ready(pod: &Pod) -> String {
    let condition = pod.status.conditions.iter().find(|condition| condition.kind == "Ready");
    condition.map_or_else(|| "unknown".to_string(), |condition| condition.status.to_lowercase())
}

fn container_labels(labels: &mut Labels, container: &Container, statuses: &[ContainerStatus], init: bool) {
    let id = statuses.iter().find(|status| status.name == container.name).map(|status| status.container_id.clone());
    let mut set = |name: &str, value: String| labels.insert(name.to_string(), value);
    set(pod::CONTAINER, container.name.clone());
    set("__meta_kubernetes_pod_container_id", id.unwrap_or_default());
    set("__meta_kubernetes_pod_container_image", container.image.clone());
    set("__meta_kubernetes_pod_container_init", init.to_string());
}

fn port_targets(targets: &mut Vec<Labels>, labels: Labels, container: &Container, most: usize, ip: &str) {
    let addressed = |mut labels: Labels, address: String| {
        labels.insert("__address__".to_string(), address);
        labels
    };
    if container.ports.is_empty() {
        return targets.push(addressed(labels, ip.to_string()));
    }
    for port in container.ports.iter().take(most) {
        let number = port.container_port.to_string();
        let mut target = addressed(labels.clone(), host_port(ip, &number));
        let mut set = |name: &str, value: String| target.insert(name.to_string(), value);
        set("__meta_kubernetes_pod_container_port_name", port.name.clone());
        set("__meta_kubernetes_pod_container_port_number", number);
        set("__meta_kubernetes_pod_container_port_protocol", port.protocol.clone());
        targets.push(target);
    }
}

/// As Go's `net.JoinHostPort`.
fn host_port(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Each character that a label name may not have becomes `_`.
fn sanitised(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The targets of a pod of namespace `ns`, name `web-0`, with `patch` laid over; of each the labels in `names`
    /// without the common prefix (`-` where there is none).
    fn targets(patch: Value, names: &[&str]) -> Vec<String> {
        let mut pod = json!({
            "metadata": {"name": "web-0", "namespace": "ns", "uid": "u-1"},
            "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "app:1"}]},
            "status": {"podIP": "10.0.0.7", "hostIP": "192.168.1.1", "phase": "Running"},
        });
        merge(&mut pod, patch);
        let group = group(&serde_json::from_value(pod).expect("a pod"));
        assert_eq!(group.source, "pod/ns/web-0");
        let row = |labels: &Labels| {
            let value = |name: &&str| {
                let full = format!("__meta_kubernetes_{name}");
                labels.get(*name).or_else(|| labels.get(&full)).map_or("-", String::as_str).to_string()
            };
            names.iter().map(value).collect::<Vec<_>>().join(" ")
        };
        group.targets.iter().map(row).collect()
    }

    fn merge(onto: &mut Value, patch: Value) {
        match (onto, patch) {
            (Value::Object(onto), Value::Object(patch)) => {
                for (key, value) in patch {
                    merge(onto.entry(key).or_insert(Value::Null), value);
                }
            }
            (onto, patch) => *onto = patch,
        }
    }

    #[test]
    fn every_label_of_a_pod() {
        let pod = serde_json::from_value(json!({
            "metadata": {
                "name": "web-0", "namespace": "ns", "uid": "u-1",
                "labels": {"app.kubernetes.io/name": "web", "app": ""},
                "annotations": {"kubernetes.io/config.hash": "abc"},
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "x"},
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d8", "uid": "y", "controller": true},
                ],
            },
            "spec": {"nodeName": "n1", "containers": [
                {"name": "app", "image": "app:1", "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}]},
            ]},
            "status": {
                "podIP": "10.0.0.7", "hostIP": "192.168.1.1", "phase": "Running",
                "conditions": [{"type": "Initialized", "status": "False"}, {"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "app", "containerID": "containerd://77"}],
            },
        }))
        .expect("a pod");
        let expected = [
            ("__address__", "10.0.0.7:80"),
            ("__meta_kubernetes_namespace", "ns"),
            ("__meta_kubernetes_pod_annotation_kubernetes_io_config_hash", "abc"),
            ("__meta_kubernetes_pod_annotationpresent_kubernetes_io_config_hash", "true"),
            ("__meta_kubernetes_pod_container_id", "containerd://77"),
            ("__meta_kubernetes_pod_container_image", "app:1"),
            ("__meta_kubernetes_pod_container_init", "false"),
            ("__meta_kubernetes_pod_container_name", "app"),
            ("__meta_kubernetes_pod_container_port_name", "http"),
            ("__meta_kubernetes_pod_container_port_number", "80"),
            ("__meta_kubernetes_pod_container_port_protocol", "TCP"),
            ("__meta_kubernetes_pod_controller_kind", "ReplicaSet"),
            ("__meta_kubernetes_pod_controller_name", "web-5d8"),
            ("__meta_kubernetes_pod_host_ip", "192.168.1.1"),
            ("__meta_kubernetes_pod_ip", "10.0.0.7"),
            ("__meta_kubernetes_pod_label_app", ""),
            ("__meta_kubernetes_pod_label_app_kubernetes_io_name", "web"),
            ("__meta_kubernetes_pod_labelpresent_app", "true"),
            ("__meta_kubernetes_pod_labelpresent_app_kubernetes_io_name", "true"),
            ("__meta_kubernetes_pod_name", "web-0"),
            ("__meta_kubernetes_pod_node_name", "n1"),
            ("__meta_kubernetes_pod_phase", "Running"),
            ("__meta_kubernetes_pod_ready", "true"),
            ("__meta_kubernetes_pod_uid", "u-1"),
        ];
        let expected: Labels = expected.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        assert_eq!(group(&pod).targets, [expected]);
    }

    #[test]
    fn a_target_per_port_and_one_for_a_container_without() {
        let two_ports =
            json!([{"containerPort": 80, "name": "http", "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]);
        let patch = json!({"spec": {"containers": [{"name": "a", "ports": two_ports}, {"name": "b"}]}});
        let names = ["pod_container_name", "__address__", "pod_container_port_name", "pod_container_port_protocol"];
        assert_eq!(targets(patch, &names), ["a 10.0.0.7:80 http TCP", "a 10.0.0.7:53  UDP", "b 10.0.0.7 - -"]);
    }

    #[test]
    fn init_and_ephemeral_containers_are_targets() {
        let patch = json!({
            "spec": {"initContainers": [{"name": "init"}], "ephemeralContainers": [{"name": "debug", "image": "sh"}]},
            "status": {
                "containerStatuses": [{"name": "app", "containerID": "docker://1"}],
                "initContainerStatuses": [{"name": "init", "containerID": "docker://2"}],
                "ephemeralContainerStatuses": [{"name": "debug", "containerID": "docker://3"}],
            },
        });
        let names = ["pod_container_name", "pod_container_init", "pod_container_id"];
        let rows = ["app false docker://1", "init true docker://2", "debug false docker://3"];
        assert_eq!(targets(patch, &names), rows);
    }

    #[test]
    fn a_pod_without_an_address_and_one_that_has_ended_are_targets() {
        let names = ["pod_container_name", "__address__", "pod_phase", "pod_container_id"];
        for phase in ["Pending", "Succeeded", "Failed"] {
            let patch = json!({"status": {"podIP": "", "phase": phase}});
            assert_eq!(targets(patch, &names), [format!("app  {phase} ")]);
        }
        let port =
            json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80}]}]}, "status": {"podIP": ""}});
        assert_eq!(targets(port, &["__address__"]), [":80"]);
    }

    #[test]
    fn an_ipv6_address_is_in_brackets_where_a_port_follows() {
        let containers = json!([{"name": "a", "ports": [{"containerPort": 80}]}, {"name": "b"}]);
        let patch = json!({"spec": {"containers": containers}, "status": {"podIP": "fd00::7"}});
        assert_eq!(targets(patch, &["__address__"]), ["[fd00::7]:80", "fd00::7"]);
    }

    #[test]
    fn readiness() {
        for (conditions, ready) in [
            (json!([]), "unknown"),
            (json!(null), "unknown"),
            (json!([{"type": "Ready", "status": "Unknown"}]), "unknown"),
            (json!([{"type": "Ready", "status": "False"}]), "false"),
            (json!([{"type": "ContainersReady", "status": "False"}, {"type": "Ready", "status": "True"}]), "true"),
        ] {
            assert_eq!(targets(json!({"status": {"conditions": conditions}}), &["pod_ready"]), [ready]);
        }
    }

    #[test]
    fn an_owner_that_does_not_control_is_no_controller() {
        let owner = |controller: Value| {
            json!({"metadata": {"ownerReferences":
                [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "x", "controller": controller}]}})
        };
        let names = ["pod_controller_kind", "pod_controller_name"];
        assert_eq!(targets(owner(json!(true)), &names), ["Node n1"]);
        assert_eq!(targets(owner(json!(false)), &names), ["- -"]);
        assert_eq!(targets(owner(json!(null)), &names), ["- -"]);
    }

    #[test]
    fn names_are_sanitised() {
        for (name, clean) in [("a.b/c-d", "a_b_c_d"), ("1x", "1x"), ("é", "_"), ("A_9", "A_9")] {
            assert_eq!(sanitised(name), clean);
        }
    }

    #[test]
    fn what_the_labels_of_one_pod_take_is_bounded() {
        let ports: Vec<Value> = (1..=1000).map(|port| json!({"containerPort": port})).collect();
        let containers: Vec<Value> = (0..50).map(|n| json!({"name": format!("c{n}"), "ports": ports})).collect();
        let annotations = json!({"x": "A".repeat(64 << 10), "kubernetes.io/config.hash": "abc", "log": "yes"});
        let metadata = json!({"name": "p", "namespace": "ns", "uid": "u", "annotations": annotations});
        let pod = json!({"metadata": metadata, "spec": {"containers": containers}, "status": {}});
        let targets = group(&serde_json::from_value(pod).expect("a pod")).targets;
        let sum: usize = targets.iter().map(bytes).sum();
        assert!(sum < 2 * LABELS, "{sum}");
        let names: std::collections::BTreeSet<_> = targets.iter().map(|labels| &labels[pod::CONTAINER]).collect();
        assert_eq!(names.len(), 50, "each container is read");
        assert!(targets.iter().all(|labels| labels[pod::CONFIG_HASH] == "abc"));
        assert!(targets.iter().all(|labels| labels["__meta_kubernetes_pod_annotation_log"] == "yes"));
        assert!(targets[0].contains_key("__meta_kubernetes_pod_annotation_x"));
        assert_eq!(targets[0][PORTS_LEFT_OUT], (50_000 - targets.len()).to_string());
        assert!(!self::targets(json!({}), &[PORTS_LEFT_OUT]).concat().contains(char::is_numeric));
    }
}
