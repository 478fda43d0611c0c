//! The labels of a pod's lines with the chart's configuration: those of Promtail, or of Grafana.

use std::collections::BTreeMap;
use std::path::Path;

use serde_yaml::Value;

use crate::agent::Agent;
use crate::apiserver::{Apiserver, User};
use crate::chart::{Helm, configs, data, objects};
use crate::kube::{CONTAINER, Pod};
use crate::loki::{Loki, Tenant};
use crate::pods::ContainerLog;

const LABELS: [(&str, &str); 3] = [
    ("app.kubernetes.io/name", "shop"),
    ("app.kubernetes.io/component", "cart"),
    ("app.kubernetes.io/instance", "shop-1"),
];
const POD: Pod = Pod { namespace: "labels", name: "shop-7c9f-x2x", labels: &LABELS };
const LINE: &str = "level=error msg=hello";

/// The values file, a pod that has written lines, and an agent that reads them with the permissions of the project.
struct Reading {
    tenant: Tenant,
    log: ContainerLog,
    _agent: Agent,
    _apiserver: Apiserver,
}

impl Reading {
    fn with(values: &str, node: &'static str) -> Reading {
        let apiserver = Apiserver::start();
        let kube = apiserver.admin();
        kube.create_namespace(POD.namespace);
        kube.grant_agent_role(User::Agent.name());
        let uid = kube.run_pod(&POD, node);
        // The chart's configuration has the path of the logs.
        let mut log = ContainerLog::create(Path::new("/var/log/pods"), POD.namespace, POD.name, &uid, CONTAINER);
        log.write(LINE, 20);

        let tenant = Loki::shared().tenant(node);
        let text = Helm::new().template(&data().join("values").join(format!("{values}.yaml")));
        let config = configs(&text).remove(0);
        let mut agent = Agent::configured(|port, dir| here(&config, port, dir, &tenant))
            .in_cluster(node, apiserver.kubeconfig(User::Agent));
        agent.start();
        Reading { tenant, log, _agent: agent, _apiserver: apiserver }
    }

    /// All labels except `service_name`, which Loki adds to each stream without it.
    #[track_caller]
    fn assert_labels(&self, selector: &str, expected: &[(&str, &str)]) {
        self.tenant.wait_for_entries(selector, self.log.written());
        let streams = self.tenant.streams(selector).expect("Loki answers");
        let [stream] = &streams[..] else { panic!("one stream: {streams:?}") };
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(stream.labels, expected);
    }
}

/// The configuration with the test's own port, positions directory and Loki.
fn here(config: &str, port: u16, dir: &Path, tenant: &Tenant) -> String {
    let mut config: Value = serde_yaml::from_str(config).expect("it is YAML");
    config["server"]["http_listen_address"] = "127.0.0.1".into();
    config["server"]["http_listen_port"] = port.into();
    config["positions"]["filename"] = dir.join("positions.yaml").display().to_string().into();
    let clients: Value = serde_yaml::from_str(&tenant.clients()).expect("it is YAML");
    config["clients"] = clients["clients"].clone();
    serde_yaml::to_string(&config).expect("it is YAML")
}

#[test]
fn labels_are_those_of_promtails_chart() {
    let node = "labels-promtail";
    let reading = Reading::with("defaults", node);
    let path = reading.log.path().display().to_string();
    reading.assert_labels(
        r#"{app="shop"}"#,
        &[
            ("app", "shop"),
            ("component", "cart"),
            ("container", CONTAINER),
            ("filename", &path),
            ("instance", "shop-1"),
            ("job", "labels/shop"),
            ("namespace", POD.namespace),
            ("node_name", node),
            ("pod", POD.name),
            ("stream", "stdout"),
        ],
    );
}

#[test]
fn labels_are_those_of_grafanas_own_monitoring() {
    let reading = Reading::with("labels-of-grafana", "labels-grafana");
    let selector = r#"{service_name="shop"}"#;
    reading.assert_labels(
        selector,
        &[
            ("app_kubernetes_io_name", "shop"),
            ("cluster", "prod-1"),
            ("container", CONTAINER),
            ("job", "labels/web"),
            ("namespace", POD.namespace),
            ("service_namespace", POD.namespace),
            ("stream", "stdout"),
        ],
    );
    let instance = format!("labels.{}.{CONTAINER}", POD.name);
    for (name, value) in
        [("pod", POD.name), ("k8s_pod_name", POD.name), ("service_instance_id", &instance), ("detected_level", "error")]
    {
        reading.tenant.wait_for_entries(&format!("{selector} | {name}={value:?}"), reading.log.written());
    }
}

/// The kustomize component gives the same labels as the chart's preset. Its client sets the label of the cluster.
#[test]
fn the_component_is_the_preset() {
    let job = |config: &str| {
        let config: Value = serde_yaml::from_str(config).expect("it is YAML");
        let mut job = config["scrape_configs"][0].clone();
        for list in ["relabel_configs", "pipeline_stages"] {
            let items = job[list].as_sequence_mut().expect("a list");
            items.retain(|item| item["target_label"] != "cluster" && item["logfmt"].is_null());
        }
        job
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let component = std::fs::read_to_string(root.join("examples/labels-of-grafana/promtail.yaml"));
    let chart = Helm::new().template(&data().join("values/labels-of-grafana.yaml"));
    assert_eq!(job(&component.expect("the example is read")), job(&configs(&chart)[0]));
}

/// The other tests grant the permissions of the manifests. The chart must ask for the same ones.
#[test]
fn permissions_are_those_of_the_manifests() {
    let rules = |all: Vec<Value>| {
        let roles: Vec<Value> = all.into_iter().filter(|object| object["kind"] == "ClusterRole").collect();
        assert_eq!(roles.len(), 1, "{roles:?}");
        roles[0]["rules"].clone()
    };
    let manifests = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/rbac.yaml"));
    let chart = Helm::new().template(&data().join("values/defaults.yaml"));
    assert_eq!(rules(objects(&chart)), rules(objects(&manifests.expect("the manifests are read"))));
}
