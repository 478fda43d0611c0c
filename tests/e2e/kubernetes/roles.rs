//! The roles other than `pod`, and attached metadata, with objects that a real API server has accepted.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::MATCHING;
use crate::apiserver::User;
use crate::loki::{Loki, Tenant};
use crate::node::Node;
use crate::scratch::Scratch;
use crate::wait::wait_until;

const NODE: &str = "node-roles";

/// A job for each role. The roles with pods' addresses read the pod's log, the others read a file of their own.
fn jobs(root: &Path) -> String {
    let root = root.display();
    let addresses = |role: &str| {
        format!(
            "
  - job_name: {role}
    pipeline_stages: [cri: {{}}]
    kubernetes_sd_configs:
      - role: {role}
        namespaces: {{names: [test]}}
        attach_metadata: {{node: true, namespace: true, deployment: true}}
    relabel_configs:
      - {{source_labels: [__meta_kubernetes_service_label_tier], regex: front, action: keep}}
      - {{source_labels: [__meta_kubernetes_pod_container_port_name], regex: http, action: keep}}
      - {{target_label: via, replacement: {role}}}
      - {{source_labels: [__meta_kubernetes_service_name], target_label: service}}
      - {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}
      - {{source_labels: [__meta_kubernetes_pod_deployment_name], target_label: deployment}}
      - {{source_labels: [__meta_kubernetes_node_label_pool], target_label: pool}}
      - {{source_labels: [__meta_kubernetes_namespace_label_team], target_label: team}}
      - source_labels: [__meta_kubernetes_pod_uid, __meta_kubernetes_pod_container_name]
        separator: /
        target_label: __path__
        replacement: {root}/*$1/*.log"
        )
    };
    let own = |role: &str, label: &str| {
        format!(
            "
  - job_name: {role}
    kubernetes_sd_configs: [{{role: {role}}}]
    relabel_configs:
      - {{source_labels: [__meta_kubernetes_{label}], target_label: what}}
      - {{source_labels: [what], regex: 'web|{NODE}|web.example.com', action: keep}}
      - {{target_label: via, replacement: {role}}}
      - {{target_label: __path__, replacement: {root}/{role}.log}}"
        )
    };
    let jobs = [
        addresses("endpointslice"),
        addresses("endpoints"),
        own("service", "service_name"),
        own("node", "node_name"),
        own("ingress", "ingress_host"),
    ];
    format!("scrape_configs:{}\n", jobs.concat())
}

/// Creates the node, the namespace with its labels, and a pod of a Deployment with its service, as controllers, a kubelet
/// and users do.
fn populate(node: &Node, pod_uid: &str) {
    let kube = &node.kube;
    kube.create("/api/v1/nodes", &json!({"metadata": {"name": NODE, "labels": {"pool": "a"}}}));
    kube.create("/api/v1/nodes", &json!({"metadata": {"name": "another", "labels": {"pool": "b"}}}));
    kube.patch("/api/v1/namespaces/test", &json!({"metadata": {"labels": {"team": "x"}}}));
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "monitoring-test-5d8", "uid": pod_uid, "controller": true,
    });
    let owned = json!({"metadata": {"labels": {"pod-template-hash": "5d8"}, "ownerReferences": [owner]}});
    kube.patch(&format!("/api/v1/namespaces/test/pods/{}", MATCHING.name), &owned);

    let namespaced = "namespaces/test";
    let ports = json!([{"name": "http", "port": 80, "targetPort": 8080}]);
    let service = json!({"metadata": {"name": "web", "labels": {"tier": "front"}}, "spec": {"ports": ports}});
    kube.create(&format!("/api/v1/{namespaced}/services"), &service);
    let target = json!({"kind": "Pod", "namespace": "test", "name": MATCHING.name, "uid": pod_uid});
    let ports = json!([{"name": "http", "port": 8080, "protocol": "TCP"}]);
    let address = json!({"ip": "10.1.0.7", "nodeName": NODE, "targetRef": target});
    let subset = json!({"addresses": [address], "ports": ports});
    kube.create(&format!("/api/v1/{namespaced}/endpoints"), &json!({"metadata": {"name": "web"}, "subsets": [subset]}));
    let endpoint = json!({
        "addresses": ["10.1.0.7"], "nodeName": NODE, "conditions": {"ready": true}, "targetRef": target,
    });
    kube.create(
        &format!("/apis/discovery.k8s.io/v1/{namespaced}/endpointslices"),
        &json!({
            "metadata": {"name": "web-abc", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "endpoints": [endpoint], "ports": ports,
        }),
    );
    let backend = json!({"service": {"name": "web", "port": {"name": "http"}}});
    let rule = json!({"host": "web.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}});
    kube.create(
        &format!("/apis/networking.k8s.io/v1/{namespaced}/ingresses"),
        &json!({"metadata": {"name": "web"}, "spec": {"rules": [rule]}}),
    );
}

/// The ClusterRole of the documentation.
fn more_rules() -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kubernetes.md")).expect("the page");
    let role = page.split("```yaml\n").find(|block| block.contains("kind: ClusterRole")).expect("a ClusterRole");
    role.split("```").next().expect("its end").to_owned()
}

fn wait_for_labels(tenant: &Tenant, via: &str, expected: &Value) {
    let selector = format!(r#"{{via="{via}"}}"#);
    wait_until(&format!("the lines of role {via}"), Duration::from_secs(90), || {
        let streams = tenant.streams(&selector).unwrap_or_default();
        streams.iter().any(|stream| {
            let has = |name: &str, value: &Value| stream.labels.get(name).map(String::as_str) == value.as_str();
            expected.as_object().is_some_and(|expected| expected.iter().all(|(name, value)| has(name, value)))
        })
    });
}

#[test]
fn every_role_with_what_is_attached_and_what_is_missing_is_said() {
    let root = Scratch::new("pods");
    let node = Node::new(NODE).granted();
    let mut log = node.run(&MATCHING, &root);
    let pod = node.kube.get(&format!("/api/v1/namespaces/test/pods/{}", MATCHING.name));
    populate(&node, pod["metadata"]["uid"].as_str().expect("a uid"));
    for role in ["service", "node", "ingress"] {
        fs::write(root.join(format!("{role}.log")), "one line\n").expect("written");
    }
    let tenant = Loki::shared().tenant("roles");
    let mut agent = node.agent(&tenant.clients(), &jobs(&root));
    agent.start();

    // A user who may only list pods is told which permission to add, in the log and on the pages.
    for (resource, group) in [
        ("services", ""),
        ("endpoints", ""),
        ("nodes", ""),
        ("namespaces", ""),
        ("endpointslices", "discovery.k8s.io"),
        ("ingresses", "networking.k8s.io"),
    ] {
        let rule = format!(r#"{{apiGroups: ["{group}"], resources: [{resource}], verbs: [list, watch]}}"#);
        wait_until(&format!("it is said that {resource} may not be listed"), Duration::from_secs(30), || {
            let said = agent.said().replace('\\', "");
            said.contains(&format!("may not list {resource}")) && said.contains(&rule)
        });
        wait_until(&format!("{resource} are on the page"), Duration::from_secs(10), || {
            agent.targets().contains(&format!("may not list {resource}"))
        });
    }
    let times = agent.said().matches("may not list ingresses").count();
    assert_eq!(times, 1, "once, however often it is asked for");

    // The API server grants each watch at its next attempt. Lines that were written before could lack labels of objects that
    // were not shown yet.
    node.kube.grant(User::Agent.name(), more_rules());
    wait_until("nothing is missing any more", Duration::from_secs(60), || !agent.targets().contains("may not"));
    log.write("behind a service", 50);
    let of_pod = json!({
        "service": "web", "pod": MATCHING.name, "deployment": "monitoring-test", "pool": "a", "team": "x",
    });
    wait_for_labels(&tenant, "endpointslice", &of_pod);
    wait_for_labels(&tenant, "endpoints", &of_pod);
    for via in ["endpointslice", "endpoints"] {
        tenant.wait_for_entries(&format!(r#"{{via="{via}"}}"#), log.written());
    }
    wait_for_labels(&tenant, "service", &json!({"what": "web"}));
    wait_for_labels(&tenant, "node", &json!({"what": NODE}));
    wait_for_labels(&tenant, "ingress", &json!({"what": "web.example.com"}));

    // The pod is deleted, and its targets are removed, even if the slice still has its address.
    node.kube.delete_pod(&MATCHING);
    wait_until("the deleted pod is done with", Duration::from_secs(60), || !agent.targets().contains(MATCHING.name));
    agent.terminate();
}
