//! Which pods are read, with a real API server and the permissions of the project's manifests.

mod events;
mod roles;

use std::path::Path;
use std::time::Duration;

use crate::apiserver::User;
use crate::kube::{CONTAINER, Pod};
use crate::loki::{EVERYTHING, Entry, Loki, Tenant};
use crate::node::Node;
use crate::scratch::Scratch;
use crate::wait::wait_until;

/// The config of a user who wants the logs of one application, and only uses `keep`.
const KEEP_RULES_ONLY: &str = "\
scrape_configs:
  - job_name: springboot-logs
    kubernetes_sd_configs:
      - role: pod
    relabel_configs:
      - source_labels: [__meta_kubernetes_namespace]
        action: keep
        regex: test
      - source_labels: [__meta_kubernetes_pod_label_app]
        action: keep
        regex: monitoring-test
";

/// The same config without defaults.
fn all_rules(root: &Path) -> String {
    let root = root.display();
    format!(
        "\
scrape_configs:
  - job_name: springboot-logs
    pipeline_stages:
      - cri: {{}}
    kubernetes_sd_configs:
      - role: pod
    relabel_configs:
      - source_labels: [__meta_kubernetes_namespace]
        action: keep
        regex: test
      - source_labels: [__meta_kubernetes_pod_label_app]
        action: keep
        regex: monitoring-test
      - source_labels: [__meta_kubernetes_namespace]
        target_label: namespace
      - source_labels: [__meta_kubernetes_pod_name]
        target_label: pod
      - source_labels: [__meta_kubernetes_pod_container_name]
        target_label: container
      - source_labels: [__meta_kubernetes_pod_label_app]
        target_label: app
      - source_labels: [__meta_kubernetes_pod_node_name]
        target_label: node_name
      - source_labels: [namespace, app]
        separator: /
        target_label: job
      - source_labels: [__meta_kubernetes_pod_uid, __meta_kubernetes_pod_container_name]
        separator: /
        target_label: __path__
        replacement: {root}/*$1/*.log
"
    )
}

const MATCHING: Pod = Pod { namespace: "test", name: "monitoring-test-1", labels: &[("app", "monitoring-test")] };
const LATER: Pod = Pod { name: "monitoring-test-2", ..MATCHING };
const OTHER_APP: Pod = Pod { name: "other-app", labels: &[("app", "monitoring")], ..MATCHING };
const OTHER_NAMESPACE: Pod = Pod { namespace: "test-2", ..MATCHING };
const NO_LABELS: Pod = Pod { name: "no-labels", labels: &[], ..MATCHING };

const SELECTOR: &str = r#"{namespace="test", app="monitoring-test"}"#;

#[test]
fn pods_kept_by_namespace_and_app() {
    // Without a path in the config, the agent reads the kubelet's directory, so this test writes there.
    let root = Path::new("/var/log/pods");
    only_matching_pods_are_followed("keep-rules-only", root, KEEP_RULES_ONLY);
}

#[test]
fn pods_kept_and_labelled_by_rules() {
    let root = Scratch::new("pods");
    only_matching_pods_are_followed("all-rules", &root, &all_rules(&root));
}

fn only_matching_pods_are_followed(name: &'static str, root: &Path, scrape_configs: &str) {
    let node = Node::new(name).granted();
    node.kube.create_namespace(OTHER_NAMESPACE.namespace);
    let mut matching = node.run(&MATCHING, root);
    let mut others = [OTHER_APP, OTHER_NAMESPACE, NO_LABELS].map(|pod| node.run(&pod, root));
    matching.write("before", 100);
    others.iter_mut().for_each(|log| log.write("before", 100));

    let tenant = Loki::shared().tenant(name);
    let mut agent = node.agent(&tenant.clients(), scrape_configs);
    agent.start();
    tenant.wait_for_entries(SELECTOR, matching.written());
    assert_labels(&tenant, &node, &MATCHING);

    for log in others.iter_mut().chain([&mut matching]) {
        log.write("running", 100);
        log.rotate();
        log.write("rotated", 100);
    }
    tenant.wait_for_entries(SELECTOR, matching.written());

    let mut later = node.run(&LATER, root);
    later.write("later", 100);
    let selector_of_later = format!(r#"{{pod="{}"}}"#, LATER.name);
    tenant.wait_for_entries(&selector_of_later, later.written());
    assert!(agent.targets().contains(LATER.name));

    // A pod's last lines may come after the API server has removed it, and its directory is removed right after them.
    node.kube.delete_pod(&LATER);
    later.write("last", 100);
    let written_by_later = later.written();
    drop(later);
    tenant.wait_for_entries(&selector_of_later, written_by_later.clone());
    wait_until("the deleted pod is done with", Duration::from_secs(60), || !agent.targets().contains(LATER.name));

    agent.terminate();
    let all: Vec<Entry> = [matching.written(), written_by_later].concat();
    tenant.wait_for_entries(SELECTOR, all.clone());
    let count = u64::try_from(all.len()).expect("a small number");
    assert_eq!(tenant.count_over_time(SELECTOR), Ok(count));
    tenant.wait_for_entries(EVERYTHING, all);
}

fn assert_labels(tenant: &Tenant, node: &Node, pod: &Pod) {
    let expected = [
        ("namespace", pod.namespace),
        ("pod", pod.name),
        ("container", CONTAINER),
        ("app", "monitoring-test"),
        ("node_name", node.name),
        ("job", "test/monitoring-test"),
    ];
    for stream in tenant.streams(SELECTOR).expect("Loki answers") {
        for (name, value) in expected {
            let found = stream.labels.get(name).map(String::as_str);
            assert_eq!(found, Some(value), "{name} of {:?}", stream.labels);
        }
        let internal = stream.labels.keys().find(|name| name.starts_with("__"));
        assert_eq!(internal, None);
    }
}

#[test]
fn api_server_away() {
    let root = Scratch::new("pods");
    let mut node = Node::new("node-away").granted();
    let mut first = node.run(&MATCHING, &root);
    first.write("before", 100);
    let tenant = Loki::shared().tenant("api-server-away");
    let mut agent = node.agent(&tenant.clients(), &all_rules(&root));

    node.apiserver.stop();
    agent.start();
    wait_until("its absence is said", Duration::from_secs(30), || agent.said().contains(&node.apiserver.address()));
    node.apiserver.start_again();
    tenant.wait_for_entries(EVERYTHING, first.written());

    // The agent does not know for a while which pods exist. It continues to read the logs that it knows.
    node.apiserver.stop();
    first.write("away", 100);
    first.rotate();
    first.write("away, rotated", 100);
    tenant.wait_for_entries(EVERYTHING, first.written());

    node.apiserver.start_again();
    let mut second = node.run(&LATER, &root);
    second.write("later", 100);
    let all = || [first.written(), second.written()].concat();
    tenant.wait_for_entries(EVERYTHING, all());
    agent.terminate();
    tenant.wait_for_entries(EVERYTHING, all());
}

#[test]
fn forbidden_is_said() {
    let root = Scratch::new("pods");
    let node = Node::new("node-forbidden");
    let mut log = node.run(&MATCHING, &root);
    log.write("patient", 100);
    let tenant = Loki::shared().tenant("forbidden");
    let mut agent = node.agent(&tenant.clients(), &all_rules(&root));

    agent.start();
    wait_until("what is missing is said", Duration::from_secs(30), || {
        agent.said().lines().any(|line| {
            let line = line.to_lowercase();
            (line.contains("403") || line.contains("forbidden"))
                && line.contains("pods")
                && line.contains("clusterrole")
        })
    });
    assert!(agent.is_running());

    // Once an administrator has granted the permission, no restart is necessary.
    node.kube.grant_agent_role(User::Agent.name());
    tenant.wait_for_entries(EVERYTHING, log.written());
    agent.terminate();
}
