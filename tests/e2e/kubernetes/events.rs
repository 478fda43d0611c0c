//! The events of a real API server, sent by one of two agents.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::apiserver::User;
use crate::loki::{EVERYTHING, Entry, Loki, nanoseconds};
use crate::node::{NAMESPACE, Node};
use crate::wait::wait_until;

const JOB: &str = "\
scrape_configs:
  - job_name: events
    kubernetes_events:
      lease_namespace: test
      labels: {job: kubernetes-events}
    relabel_configs:
      - {source_labels: [reason], regex: Tested, action: keep}
";

/// The role of docs/kubernetes.md.
const ROLE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: fantail}
rules:
  - {apiGroups: [""], resources: [events], verbs: [list, watch]}
  - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}
"#;

#[test]
fn one_of_two_agents_sends_each_event_once_and_the_other_goes_on() {
    let node = Node::new("events");
    node.kube.grant(User::Agent.name(), ROLE.into());
    let tenant = Loki::shared().tenant("events");
    let agent = |name: &str| Agent::new(&tenant.clients(), JOB).in_cluster(name, node.kubeconfig());
    let (mut first, mut second) = (agent("events-1"), agent("events-2"));

    let mut written: Vec<Entry> = (0..20).map(|n| happens(&node, n)).collect();
    first.start();
    tenant.wait_for_entries(EVERYTHING, written.clone());
    second.start();
    written.extend((20..40).map(|n| happens(&node, n)));
    tenant.wait_for_entries(EVERYTHING, written.clone());
    let holder = || lease(&node)["spec"]["holderIdentity"].as_str().map(str::to_owned);
    assert_eq!(holder().as_deref(), Some("events-1"));

    // Positions are saved, so nothing is sent again.
    first.terminate();
    first.start();
    written.extend((40..50).map(|n| happens(&node, n)));
    tenant.wait_for_entries(EVERYTHING, written.clone());
    assert_eq!(tenant.count_over_time(EVERYTHING), Ok(50));

    first.kill9();
    written.extend((50..60).map(|n| happens(&node, n)));
    tenant.wait_for_entries(EVERYTHING, written.clone());
    wait_until("the other agent holds the Lease", Duration::from_secs(60), || holder().as_deref() == Some("events-2"));
    // Compacted versions are listed again, and known events are passed over.
    node.apiserver.compact();
    second.terminate();
    written.extend((60..70).map(|n| happens(&node, n)));
    second.start();
    tenant.wait_for_entries(EVERYTHING, written);
    for stream in tenant.streams(EVERYTHING).expect("Loki answers") {
        let labels = [("namespace", NAMESPACE), ("kind", "Pod"), ("reason", "Tested"), ("job", "kubernetes-events")];
        for (name, value) in labels {
            assert_eq!(stream.labels.get(name).map(String::as_str), Some(value), "{name} of {:?}", stream.labels);
        }
    }
}

fn lease(node: &Node) -> Value {
    node.kube.get("/apis/coordination.k8s.io/v1/namespaces/test/leases/fantail-events")
}

/// Something happens to a pod. Gives the entry that is expected.
fn happens(node: &Node, n: usize) -> Entry {
    // The API has whole seconds.
    let seconds = nanoseconds(SystemTime::now()) / 1_000_000_000;
    let time = jiff::Timestamp::from_second(seconds).expect("a time").to_string();
    let name = format!("web-{n}");
    let event = json!({
        "metadata": {"name": format!("{name}.1")}, "type": "Normal", "reason": "Tested", "message": format!("event {n}"),
        "involvedObject": {"kind": "Pod", "namespace": NAMESPACE, "name": name}, "count": 1,
        "source": {"component": "e2e"}, "firstTimestamp": time, "lastTimestamp": time,
    });
    node.kube.create(&format!("/api/v1/namespaces/{NAMESPACE}/events"), &event);
    let line = format!(
        "type=Normal reason=Tested kind=Pod namespace={NAMESPACE} name={name} component=e2e count=1 message=\"event {n}\""
    );
    (seconds * 1_000_000_000, line)
}
