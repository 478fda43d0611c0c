//! Several watches of one job, with answers in any order.

use super::*;

/// Requests of several watches, selected by their path.
struct Many {
    scene: Scene,
    pending: Vec<Request>,
}

impl Many {
    fn new(role: &str, keys: &str) -> Self {
        let rules = "[{regex: '(.+)', action: labelmap}]";
        let rules = serde_yaml::from_str::<Vec<_>>(rules).expect(rules);
        let reads = Arc::new(crate::relabel::Rules::compile(&rules).expect("rules").reads());
        Self { scene: Scene::of_role(Apiserver::start(), role, keys, &reads), pending: Vec::new() }
    }

    async fn request(&mut self, path: &str) -> Request {
        loop {
            if let Some(at) = self.pending.iter().position(|request| request.path == path) {
                return self.pending.remove(at);
            }
            let request = self.scene.request().await;
            self.pending.push(request);
        }
    }

    /// Answers the list of `path`, and accepts the watch after it.
    async fn serve(&mut self, path: &str, items: &[Value]) -> apiserver::Stream {
        let request = self.request(path).await;
        assert_eq!(request.query("watch"), None, "{path}");
        request.answer(200, list("10", items));
        let request = self.request(path).await;
        assert_eq!(request.query("watch"), Some("true"), "{path}");
        request.stream()
    }

    /// The id of the next group, and the value of `label` of each target (`-`: none).
    async fn told(&mut self, label: &str) -> (String, Vec<String>) {
        let Some(Update::Group { group, .. }) = soon(self.scene.updates.recv()).await else {
            panic!("a group is told")
        };
        let group_id = group.id.trim_start_matches("kubernetes_sd_configs[0]/").to_string();
        let name = format!("__meta_kubernetes_{label}");
        (group_id, group.targets.iter().map(|target| target.get(&name).unwrap_or("-").to_string()).collect())
    }

    fn tells_nothing(&mut self) -> bool {
        self.scene.updates.try_recv().is_err()
    }
}

fn told(group_id: &str, values: &[&str]) -> (String, Vec<String>) {
    (group_id.to_string(), values.iter().map(|value| (*value).to_string()).collect())
}

fn slice(version: &str, service: &str) -> Value {
    json!({
        "metadata": {
            "name": "web-abc", "namespace": "ns", "resourceVersion": version,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": [{
            "addresses": ["10.0.0.7"], "nodeName": "n1", "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "namespace": "ns", "name": "a"},
        }],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    })
}

fn service(name: &str, tier: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "ns", "labels": {"tier": tier}, "resourceVersion": "1"}, "spec": {}})
}

const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
const SERVICES: &str = "/api/v1/services";
const PODS: &str = "/api/v1/pods";
const SLICE: &str = "endpointslice/ns/web-abc";

#[tokio::test]
async fn addresses_that_come_before_their_pods_wait_for_them_and_go_with_them() {
    let mut many = Many::new("endpointslice", "");
    let _slices = many.serve(SLICES, &[slice("1", "web")]).await;
    let _services = many.serve(SERVICES, &[service("web", "front")]).await;
    assert!(many.tells_nothing(), "what is beside is not known yet");
    let request = many.request(PODS).await;
    assert_eq!(request.query("fieldSelector"), Some("spec.nodeName=n1"), "no pods of other nodes");
    request.answer(200, list("10", &[]));
    assert_eq!(soon(many.scene.first_list.recv()).await, None, "all there is was told");
    assert!(many.tells_nothing(), "no pod, no logs");

    let pods = many.request(PODS).await.stream();
    pods.event("ADDED", pod("a", "Pending", "11"));
    assert_eq!(many.told("pod_phase").await, told(SLICE, &["Pending"]));
    pods.event("MODIFIED", pod("a", "Running", "12"));
    assert_eq!(many.told("pod_phase").await, told(SLICE, &["Running"]));
    pods.event("ADDED", pod("b", "Running", "13"));
    pods.event("DELETED", pod("a", "Running", "14"));
    assert_eq!(many.told("pod_phase").await, told(SLICE, &[]), "of another pod nothing is told");
}

#[tokio::test]
async fn labels_follow_the_service() {
    let mut many = Many::new("endpointslice", "selectors: [{role: service, label: 'x=y'}]");
    let _pods = many.serve(PODS, &[pod("a", "Running", "1")]).await;
    let request = many.request(SERVICES).await;
    assert_eq!(request.query("labelSelector"), Some("x=y"));
    request.answer(200, list("10", &[service("web", "front")]));
    let services = many.request(SERVICES).await.stream();
    let slices = many.serve(SLICES, &[slice("1", "web")]).await;
    assert_eq!(many.told("service_label_tier").await, told(SLICE, &["front"]));
    services.event("MODIFIED", service("web", "back"));
    assert_eq!(many.told("service_label_tier").await, told(SLICE, &["back"]));
    // A rename: a new service appears, the slice names it, and the old one is deleted.
    services.event("ADDED", service("web-2", "new"));
    slices.event("MODIFIED", slice("12", "web-2"));
    let mut last = many.told("service_name").await;
    if last.1 == ["-"] {
        last = many.told("service_name").await;
    }
    assert_eq!(last, told(SLICE, &["web-2"]));
    services.event("DELETED", service("web", "back"));
    services.event("DELETED", service("web-2", "new"));
    assert_eq!(many.told("service_name").await, told(SLICE, &["-"]));
    slices.event("DELETED", slice("13", "web-2"));
    assert_eq!(many.told("service_name").await, told(SLICE, &[]));
}

#[tokio::test]
async fn what_vanished_while_nobody_looked_is_put_beside_no_longer() {
    let mut many = Many::new("pod", "attach_metadata: {namespace: true}");
    let team = |team: &str| json!({"metadata": {"name": "ns", "labels": {"team": team}}});
    let namespaces = many.serve("/api/v1/namespaces", &[team("x")]).await;
    let _pods = many.serve(PODS, &[pod("a", "Running", "1")]).await;
    assert_eq!(many.told("namespace_label_team").await, told("pod/ns/a", &["x"]));
    namespaces.event("ERROR", error(410, "Expired", "too old resource version"));
    let _namespaces = many.serve("/api/v1/namespaces", &[]).await;
    assert_eq!(many.told("namespace_label_team").await, told("pod/ns/a", &["-"]));
}

#[tokio::test]
async fn what_may_not_be_asked_for_is_said_and_holds_up_nothing() {
    let mut many = Many::new("pod", "attach_metadata: {node: true}");
    let _pods = many.serve(PODS, &[pod("a", "Running", "1")]).await;
    assert!(many.tells_nothing());
    let request = many.request("/api/v1/nodes").await;
    assert_eq!(request.query("fieldSelector"), Some("metadata.name=n1"), "no other node");
    request.answer(403, error(403, "Forbidden", "nodes is forbidden"));
    let note = many.scene.note().await;
    let rule = r#"{apiGroups: [""], resources: [nodes], verbs: [list, watch]}"#;
    assert!(note.starts_with("all namespaces: may not list nodes") && note.ends_with(rule), "{note}");
    assert_eq!(many.told("node_name").await, told("pod/ns/a", &["-"]));
    assert_eq!(soon(many.scene.first_list.recv()).await, None, "nothing is waited for");
    assert_eq!((many.scene.errors("forbidden"), many.scene.failing()), (1.0, 1.0));

    let node = json!({"metadata": {"name": "n1", "labels": {"pool": "a"}}});
    let _nodes = many.serve("/api/v1/nodes", &[node]).await;
    assert_eq!(many.told("node_label_pool").await, told("pod/ns/a", &["a"]));
    assert_eq!(many.scene.note().await, "", "it is shown no longer");
    assert_eq!(many.scene.failing(), 0.0);
}

#[tokio::test]
async fn each_role_asks_for_its_own_and_never_through_a_kubelet() {
    for (role, keys, own, beside) in [
        ("node", "", "/api/v1/nodes", vec![]),
        ("node", "namespaces: {names: [x, y]}", "/api/v1/nodes", vec![]),
        ("service", "namespaces: {names: [x]}", "/api/v1/namespaces/x/services", vec![]),
        ("ingress", "", "/apis/networking.k8s.io/v1/ingresses", vec![]),
        (
            "ingress",
            "attach_metadata: {namespace: true}",
            "/apis/networking.k8s.io/v1/ingresses",
            vec!["/api/v1/namespaces"],
        ),
        (
            "endpoints",
            "namespaces: {names: [x]}, attach_metadata: {node: true}",
            "/api/v1/namespaces/x/endpoints",
            vec!["/api/v1/namespaces/x/pods", "/api/v1/namespaces/x/services", "/api/v1/nodes"],
        ),
        ("endpointslice", "", SLICES, vec![PODS, SERVICES]),
    ] {
        let mut many = Many::new(role, keys);
        let mut streams = Vec::new();
        for path in [vec![own], beside].concat() {
            streams.push(many.serve(path, &[]).await);
        }
        assert_eq!(soon(many.scene.first_list.recv()).await, None, "{role}");
        assert!(many.pending.is_empty() && many.scene.server.has_no_request(), "{role} asks for nothing else");
    }
}
