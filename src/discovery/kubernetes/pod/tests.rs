//! The labels of targets, and their limits.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::discovery::kubernetes::common::ALL_SHORT;
use crate::discovery::kubernetes::slim;
use crate::relabel::Rules;

fn rules(yaml: &str) -> Reads {
    let configs: Vec<_> = serde_yaml::from_str(yaml).expect(yaml);
    Rules::compile(&configs).expect(yaml).reads()
}

fn everything() -> Reads {
    rules("[{regex: '(.+)', action: labelmap}]")
}

fn parse(pod: &Value) -> Pod {
    parse_for(pod, &everything())
}

fn parse_for(pod: &Value, reads: &Reads) -> Pod {
    slim::parse(pod.to_string().as_bytes(), reads).expect("a pod")
}

/// The targets of a pod with namespace `ns` and name `web-0`, changed by `patch`. Each has the labels in `names`
/// without the common prefix (`-`: missing).
fn targets(patch: Value, names: &[&str]) -> Vec<String> {
    let mut pod = json!({
        "metadata": {"name": "web-0", "namespace": "ns", "uid": "u-1"},
        "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "app:1"}]},
        "status": {"podIP": "10.0.0.7", "hostIP": "192.168.1.1", "phase": "Running"},
    });
    merge(&mut pod, patch);
    let group = group(&parse(&pod), &everything());
    assert_eq!(group.id, "pod/ns/web-0");
    let row = |labels: &TargetLabels| {
        let value = |name: &&str| {
            let full = format!("__meta_kubernetes_{name}");
            labels.get(name).or_else(|| labels.get(&full)).unwrap_or("-").to_string()
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
    let pod = parse(&json!({
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
    }));
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
    let targets = group(&pod, &everything()).targets;
    assert_eq!(targets.iter().map(TargetLabels::to_labels).collect::<Vec<_>>(), [expected]);
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

fn pod_of(annotations: Value, containers: Value) -> Value {
    let metadata = json!({"name": "p", "namespace": "ns", "uid": "u", "annotations": annotations});
    json!({"metadata": metadata, "spec": {"containers": containers}, "status": {}})
}

fn ports(count: usize) -> Vec<Value> {
    (1..=count).map(|port| json!({"containerPort": port})).collect()
}

fn own_bytes(targets: &[TargetLabels]) -> usize {
    targets.iter().map(|labels| crate::model::LabelSet::from(&labels.to_labels()).bytes()).sum()
}

/// Rules that read ports and annotations.
#[test]
fn what_the_labels_of_one_pod_take_is_bounded() {
    let containers: Vec<Value> = (0..50).map(|n| json!({"name": format!("c{n}"), "ports": ports(1_000)})).collect();
    let annotations = json!({"x": "A".repeat(64 << 10), "kubernetes.io/config.hash": "abc", "log": "yes"});
    let group = group(&parse(&pod_of(annotations, json!(containers))), &everything());
    let targets = &group.targets;
    let sum = own_bytes(targets);
    assert!(sum < 2 * LABELS, "{sum}");
    let names: BTreeSet<_> = targets.iter().map(|labels| labels.get(pod::CONTAINER)).collect();
    assert_eq!(names.len(), 50, "each container is read");
    assert!(targets.iter().all(|labels| labels.get(pod::CONFIG_HASH) == Some("abc")));
    assert!(targets.iter().all(|labels| labels.get("__meta_kubernetes_pod_annotation_log") == Some("yes")));
    assert!(targets[0].contains("__meta_kubernetes_pod_annotation_x"));
    assert_eq!(group.left_out, LeftOut { ports: 50_000 - targets.len(), labels: 1, ..LeftOut::default() });
    assert!(targets[0].share(&targets[1]) && targets[40].share(&targets[41]), "no copy of the pod's labels");
}

#[test]
fn ports_and_annotations_that_no_rule_reads_cost_nothing() {
    let annotations = json!({"last": "A".repeat(256 << 10), "kubernetes.io/config.hash": "abc"});
    let containers = json!([{"name": "a", "ports": ports(1_000)}, {"name": "b", "ports": ports(1)}, {"name": "c"}]);
    let pod = pod_of(annotations, containers);
    let reading = rules("[{source_labels: [__meta_kubernetes_namespace], target_label: namespace}]");
    let group = self::group(&parse_for(&pod, &reading), &reading);
    let row = |labels: &TargetLabels| {
        [ADDRESS, PORT_NUMBER, PORTS].map(|name| labels.get(name).unwrap_or("-").to_string()).join(" ")
    };
    assert_eq!(group.targets.iter().map(row).collect::<Vec<_>>(), [":1 1 1000", ":1 1 -", " - -"]);
    assert!(own_bytes(&group.targets) < 3 << 10, "{}", own_bytes(&group.targets));
    assert!(group.targets.iter().all(|labels| labels.get(pod::CONFIG_HASH) == Some("abc")));
    assert!(group.targets[0].share(&group.targets[2]));
    assert_eq!(group.left_out, LeftOut::default(), "nothing that matters");
    for port in [PORT_NAME, PORT_NUMBER, PORT_PROTOCOL, ADDRESS] {
        let reading = rules(&format!("[{{source_labels: [{port}], target_label: port}}]"));
        assert!(self::group(&parse_for(&pod, &reading), &reading).targets.len() > 100, "{port} makes a difference");
    }
}

/// Many configs have `labelmap` over labels.
#[test]
fn labels_that_are_read_are_bounded_and_those_beyond_are_said() {
    let labels: serde_json::Map<_, _> = (0..5_000).map(|n| (format!("label-{n:04}"), json!("v".repeat(63)))).collect();
    let mut pod = pod_of(json!({"kubernetes.io/config.hash": "abc"}), json!([{"name": "a"}, {"name": "b"}]));
    pod["metadata"]["labels"] = labels.into();
    let reading = rules("[{regex: '__meta_kubernetes_pod_label_(.+)', action: labelmap}]");
    let group = self::group(&parse_for(&pod, &reading), &reading);
    assert!(own_bytes(&group.targets) < 2 * (ALL_SHORT + 1_000), "{}", own_bytes(&group.targets));
    assert!(group.left_out.labels > 1_000 && group.left_out.matters());
    assert!(group.targets.iter().all(|labels| labels.contains("__meta_kubernetes_pod_label_label_0000")));
}

#[test]
fn a_pod_with_too_many_containers_is_read_as_far_as_that_and_said() {
    let containers: Vec<Value> = (0..5_000).map(|n| json!({"name": format!("c{n}")})).collect();
    let reading = Reads::default();
    let group = self::group(&parse_for(&pod_of(json!({}), json!(containers)), &reading), &reading);
    assert!(group.targets.len() >= 100 && group.left_out.containers + group.targets.len() == 5_000);
    assert!(group.left_out.to_string().ends_with(" containers"), "{}", group.left_out);
}
