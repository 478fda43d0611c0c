//! An object for each role, and the labels that Prometheus documents.

mod addresses;

use serde_json::{Value, json};

use super::super::beside::Aside;
use super::super::objects::Service;
use super::super::slim::{self, Pod};
use super::*;
use crate::relabel::Rules;

fn everything() -> Reads {
    let rules = serde_yaml::from_str::<Vec<_>>("[{regex: '(.+)', action: labelmap}]").expect("rules");
    Rules::compile(&rules).expect("rules").reads()
}

fn parse<O: Object>(json: &Value) -> O {
    slim::parse(json.to_string().as_bytes(), &everything()).expect("an object")
}

#[derive(Default)]
struct Scene {
    beside: Beside,
    attach: AttachMetadata,
}

impl Scene {
    fn with<A: Aside>(mut self, json: &Value) -> Self {
        let object: A = parse(json);
        assert!(A::store(&mut self.beside).set(object.group_id(), object));
        self
    }

    fn attach(mut self, yaml: &str) -> Self {
        self.attach = crate::yaml::from_str(yaml).expect(yaml);
        self
    }

    /// The targets of an object on node `n1`, one line for each. The lines have all labels, sorted by name.
    fn targets<O: Finds>(&self, group_id: &str, json: &Value) -> Vec<Vec<String>> {
        let mut object: O = parse(json);
        if !object.narrow("n1") {
            return Vec::new();
        }
        let group = object.group(&With { reads: &everything(), attach: &self.attach, beside: &self.beside });
        assert_eq!(group.id, group_id);
        let short = |(name, value): (&String, &String)| format!("{}={value}", name.replace("__meta_kubernetes_", ""));
        group.targets.iter().map(|target| target.to_labels().iter().map(short).collect()).collect()
    }
}

/// Checks that the targets have exactly these labels.
fn are(targets: &[Vec<String>], expected: &[&[&str]]) {
    let sorted: Vec<Vec<String>> = expected
        .iter()
        .map(|labels| {
            let mut labels: Vec<String> = labels.iter().map(|label| (*label).to_string()).collect();
            labels.sort();
            labels
        })
        .collect();
    let mut found = targets.to_vec();
    found.iter_mut().for_each(|labels| labels.sort());
    assert_eq!(found, sorted);
}

fn pod() -> Value {
    json!({
        "metadata": {
            "name": "web-5d8-x", "namespace": "ns", "uid": "u-1", "labels": {"pod-template-hash": "5d8"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d8", "controller": true}],
        },
        "spec": {"nodeName": "n1", "containers": [
            {"name": "app", "image": "app:1", "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}]},
            {"name": "side", "image": "side:1", "ports": [{"name": "m", "containerPort": 90, "protocol": "TCP"}]},
        ]},
        "status": {"podIP": "10.0.0.7", "hostIP": "192.168.1.1", "phase": "Running"},
    })
}

/// The labels of the pod that all its targets have.
const OF_POD: [&str; 12] = [
    "pod_name=web-5d8-x",
    "pod_uid=u-1",
    "pod_node_name=n1",
    "pod_ip=10.0.0.7",
    "pod_host_ip=192.168.1.1",
    "pod_phase=Running",
    "pod_ready=unknown",
    "pod_controller_kind=ReplicaSet",
    "pod_controller_name=web-5d8",
    "pod_label_pod_template_hash=5d8",
    "pod_labelpresent_pod_template_hash=true",
    "namespace=ns",
];

const APP: [&str; 5] = [
    "pod_container_name=app",
    "pod_container_image=app:1",
    "pod_container_port_name=http",
    "pod_container_port_number=80",
    "pod_container_port_protocol=TCP",
];

const SIDE: [&str; 6] = [
    "__address__=10.0.0.7:90",
    "pod_container_name=side",
    "pod_container_image=side:1",
    "pod_container_port_name=m",
    "pod_container_port_number=90",
    "pod_container_port_protocol=TCP",
];

fn service() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "ns", "labels": {"tier": "front"}, "annotations": {"a/b": "c"}},
        "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.1", "ports": [
            {"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"},
        ]},
    })
}

const OF_SERVICE: [&str; 6] = [
    "namespace=ns",
    "service_name=web",
    "service_label_tier=front",
    "service_labelpresent_tier=true",
    "service_annotation_a_b=c",
    "service_annotationpresent_a_b=true",
];

fn namespace() -> Value {
    json!({"metadata": {"name": "ns", "labels": {"team": "x"}, "annotations": {"owner": "y"}}})
}

const OF_NAMESPACE: [&str; 4] = [
    "namespace_label_team=x",
    "namespace_labelpresent_team=true",
    "namespace_annotation_owner=y",
    "namespace_annotationpresent_owner=true",
];

#[test]
fn service_has_a_target_for_each_port() {
    let port = |name: &'static str, number: &'static str, protocol: &'static str, address: &'static str| {
        let own = [name, number, protocol, address, "service_type=ClusterIP", "service_cluster_ip=10.96.0.1"];
        [OF_SERVICE.as_slice(), &own].concat()
    };
    let http = port(
        "service_port_name=http",
        "service_port_number=80",
        "service_port_protocol=TCP",
        "__address__=web.ns.svc:80",
    );
    let dns = port(
        "service_port_name=dns",
        "service_port_number=53",
        "service_port_protocol=UDP",
        "__address__=web.ns.svc:53",
    );
    are(&Scene::default().targets::<Service>("svc/ns/web", &service()), &[&http, &dns]);

    let scene = Scene::default().with::<Namespace>(&namespace());
    let targets = scene.targets::<Service>("svc/ns/web", &service());
    are(&targets, &[&[http.as_slice(), &OF_NAMESPACE].concat(), &[dns.as_slice(), &OF_NAMESPACE].concat()]);
}

#[test]
fn services_of_other_types() {
    for (spec, has, has_not) in [
        (
            json!({"type": "ExternalName", "externalName": "example.com"}),
            "service_external_name=example.com",
            "cluster_ip",
        ),
        (
            json!({"type": "LoadBalancer", "clusterIP": "1.2.3.4", "loadBalancerIP": "5.6.7.8"}),
            "service_loadbalancer_ip=5.6.7.8",
            "external_name",
        ),
        (json!({"type": "NodePort", "clusterIP": "1.2.3.4"}), "service_cluster_ip=1.2.3.4", "loadbalancer"),
    ] {
        let mut service = json!({"metadata": {"name": "s", "namespace": "ns"}, "spec": spec});
        service["spec"]["ports"] = json!([{"port": 1}]);
        let targets = Scene::default().targets::<Service>("svc/ns/s", &service);
        assert_eq!(targets.len(), 1);
        assert!(targets[0].iter().any(|label| label == has), "{targets:?}");
        assert!(!targets[0].iter().any(|label| label.contains(has_not)), "{targets:?}");
    }
}

#[test]
fn node_is_one_target() {
    let node = json!({
        "metadata": {"name": "n1", "labels": {"kubernetes.io/os": "linux"}, "annotations": {"x": "y"}},
        "spec": {"providerID": "kind://n1"},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": "h"}, {"type": "InternalIP", "address": "10.0.0.1"},
                {"type": "InternalIP", "address": "fd00::1"},
            ],
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "False"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        },
    });
    are(
        &Scene::default().targets::<Node>("node/n1", &node),
        &[&[
            "__address__=10.0.0.1:10250",
            "instance=n1",
            "node_name=n1",
            "node_provider_id=kind://n1",
            "node_label_kubernetes_io_os=linux",
            "node_labelpresent_kubernetes_io_os=true",
            "node_annotation_x=y",
            "node_annotationpresent_x=true",
            "node_address_Hostname=h",
            "node_address_InternalIP=10.0.0.1",
            "node_condition_Ready=true",
            "node_condition_DiskPressure=false",
        ]],
    );
}

#[test]
fn ingress_has_a_target_for_each_path() {
    let ingress = json!({
        "metadata": {"name": "i", "namespace": "ns", "labels": {"l": "v"}},
        "spec": {
            "ingressClassName": "nginx",
            "tls": [{"hosts": ["*.example.com"]}],
            "rules": [
                {"host": "a.example.com", "http": {"paths": [{"path": "/x"}, {"path": ""}]}},
                {"host": "other.org"},
            ],
        },
    });
    let of = |own: [&'static str; 4]| {
        let common = [
            "namespace=ns",
            "ingress_name=i",
            "ingress_class_name=nginx",
            "ingress_label_l=v",
            "ingress_labelpresent_l=true",
        ];
        [common.as_slice(), &own].concat()
    };
    are(
        &Scene::default().targets::<Ingress>("ingress/ns/i", &ingress),
        &[
            &of(["__address__=a.example.com", "ingress_scheme=https", "ingress_host=a.example.com", "ingress_path=/x"]),
            &of(["__address__=a.example.com", "ingress_scheme=https", "ingress_host=a.example.com", "ingress_path=/"]),
            &of(["__address__=other.org", "ingress_scheme=http", "ingress_host=other.org", "ingress_path=/"]),
        ],
    );
}

#[test]
fn a_pod_with_what_is_attached() {
    let node = json!({"metadata": {"name": "n1", "labels": {"pool": "a"}}});
    let scene = || Scene::default().with::<Node>(&node).with::<Namespace>(&namespace());
    let more = ["node_name=n1", "node_label_pool=a", "node_labelpresent_pool=true", "pod_deployment_name=web"];
    let all = scene().attach("{deployment: true, job: true, cronjob: true}").targets::<Pod>("pod/ns/web-5d8-x", &pod());
    let app = ["__address__=10.0.0.7:80", "pod_container_init=false", "pod_container_id="];
    let side = ["pod_container_init=false", "pod_container_id="];
    are(
        &all,
        &[
            &[OF_POD.as_slice(), &APP, &app, &more, &OF_NAMESPACE].concat(),
            &[OF_POD.as_slice(), &SIDE, &side, &more, &OF_NAMESPACE].concat(),
        ],
    );
    let mut of_job = pod();
    of_job["metadata"]["ownerReferences"] = json!([{"kind": "Job", "name": "backup-29345678", "controller": true}]);
    let has = |attach: &str, label: &str| {
        let targets = Scene::default().attach(attach).targets::<Pod>("pod/ns/web-5d8-x", &of_job);
        targets.iter().all(|target| target.iter().any(|one| one == label))
    };
    assert!(has("{cronjob: true}", "pod_cronjob_name=backup") && has("{job: true}", "pod_job_name=backup-29345678"));
    assert!(!has("{}", "pod_cronjob_name=backup") && !has("{cronjob: true}", "pod_job_name=backup-29345678"));
}

#[test]
fn what_the_api_server_may_leave_out_is_no_error() {
    for json in ["{}", r#"{"metadata":{},"spec":{},"status":{}}"#, r#"{"endpoints":null,"ports":null,"subsets":null}"#]
    {
        let reads = everything();
        assert!(slim::parse::<Service>(json.as_bytes(), &reads).is_ok(), "{json}");
        assert!(slim::parse::<Node>(json.as_bytes(), &reads).is_ok(), "{json}");
        assert!(slim::parse::<Ingress>(json.as_bytes(), &reads).is_ok(), "{json}");
        assert!(slim::parse::<Endpoints>(json.as_bytes(), &reads).is_ok_and(|mut of| !of.narrow("n1")), "{json}");
        assert!(slim::parse::<EndpointSlice>(json.as_bytes(), &reads).is_ok_and(|mut of| !of.narrow("n1")), "{json}");
    }
}
