//! The other parts of a cluster: scheduler, kubelet and administrator, as HTTP requests to the API server.

use std::fs;
use std::path::Path;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::http::{self, Answer};

pub(crate) struct Kube {
    url: String,
    token: String,
    client: Client,
}

pub(crate) struct Pod {
    pub(crate) namespace: &'static str,
    pub(crate) name: &'static str,
    pub(crate) labels: &'static [(&'static str, &'static str)],
}

/// The name of the only container of each pod.
pub(crate) const CONTAINER: &str = "web";

impl Kube {
    pub(crate) fn new(url: &str, ca: &Path, token: &str) -> Kube {
        Kube { url: url.to_owned(), token: token.to_owned(), client: http::client(Some(ca)) }
    }

    pub(crate) fn is_ready(&self) -> bool {
        let answer = self.send(Method::GET, "/readyz", "text/plain", String::new());
        answer.is_ok_and(|answer| answer.is_success())
    }

    /// The metrics of the API server, in Prometheus's text format.
    pub(crate) fn metrics(&self) -> String {
        self.send(Method::GET, "/metrics", "text/plain", String::new()).expect("the API server answers").body
    }

    pub(crate) fn create_namespace(&self, name: &str) {
        let namespace = json!({"metadata": {"name": name}});
        self.post("/api/v1/namespaces", JSON, namespace.to_string());
    }

    /// Creates `pod` on `node` and sets its status to running, as the kubelet does. Returns the pod's uid.
    pub(crate) fn run_pod(&self, pod: &Pod, node: &str) -> String {
        let labels: serde_json::Map<_, _> =
            pod.labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        // Two ports make two discovered targets, but there is only one log.
        let ports = json!([{"name": "http", "containerPort": 8080}, {"containerPort": 9090}]);
        let manifest = json!({
            "metadata": {"name": pod.name, "labels": labels},
            "spec": {
                "nodeName": node,
                "containers": [{"name": CONTAINER, "image": "web:1", "ports": ports}],
            },
        });
        let pods = format!("/api/v1/namespaces/{}/pods", pod.namespace);
        let created = self.post(&pods, JSON, manifest.to_string());
        let uid = created["metadata"]["uid"].as_str();
        let uid = uid.expect("a pod that is created has a uid").to_owned();

        self.say_running(pod.namespace, pod.name, CONTAINER, &uid);
        uid
    }

    /// Binds an existing pod to `node` and sets its status to running, as scheduler and kubelet do. Returns its uid.
    pub(crate) fn place_pod(&self, namespace: &str, name: &str, container: &str, node: &str) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        let binding = json!({"metadata": {"name": name}, "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
        self.post(&format!("{path}/binding"), JSON, binding.to_string());
        let uid = self.get(&path)["metadata"]["uid"].as_str().expect("a pod has a uid").to_owned();
        self.say_running(namespace, name, container, &uid);
        uid
    }

    fn say_running(&self, namespace: &str, name: &str, container: &str, uid: &str) {
        let status = json!({"status": {
            "phase": "Running",
            "hostIP": "192.0.2.1",
            "podIP": "10.1.0.7",
            "podIPs": [{"ip": "10.1.0.7"}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{
                "name": container,
                "image": "web:1",
                "imageID": "",
                "containerID": format!("containerd://{uid}"),
                "ready": true,
                "restartCount": 0,
                "state": {"running": {}},
            }],
        }});
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/status");
        self.call(Method::PATCH, &path, MERGE_PATCH, status.to_string());
    }

    /// Deletes the pod at once, as the kubelet does when its containers have ended.
    pub(crate) fn delete_pod(&self, pod: &Pod) {
        let (namespace, name) = (pod.namespace, pod.name);
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}?gracePeriodSeconds=0");
        self.call(Method::DELETE, &path, JSON, String::new());
    }

    /// Creates an object in the collection at `path`, as an administrator does. Returns the created object.
    pub(crate) fn create(&self, path: &str, object: &Value) -> Value {
        self.post(path, JSON, object.to_string())
    }

    pub(crate) fn patch(&self, path: &str, patch: &Value) {
        self.call(Method::PATCH, path, MERGE_PATCH, patch.to_string());
    }

    /// Binds the cluster role of the project's own manifests to `user`, and no other.
    pub(crate) fn grant_agent_role(&self, user: &str) {
        self.grant(user, cluster_role());
    }

    /// Binds a cluster role, written in YAML, to `user`.
    pub(crate) fn grant(&self, user: &str, role: String) {
        let role = self.post(&format!("{RBAC}/clusterroles"), "application/yaml", role);
        let binding = json!({
            "metadata": {"name": role["metadata"]["name"]},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": role["metadata"]["name"],
            },
            "subjects": [{
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "User",
                "name": user,
            }],
        });
        self.post(&format!("{RBAC}/clusterrolebindings"), JSON, binding.to_string());
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, JSON, String::new())
    }

    fn post(&self, path: &str, content: &str, body: String) -> Value {
        self.call(Method::POST, path, content, body)
    }

    fn call(&self, method: Method, path: &str, content: &str, body: String) -> Value {
        let said = self.send(method.clone(), path, content, body);
        let answer = said.unwrap_or_else(|why| panic!("{method} {path}: {why}"));
        assert!(answer.is_success(), "{method} {path}: {answer:?}");
        serde_json::from_str(&answer.body).expect("the API server answers in JSON")
    }

    fn send(&self, method: Method, path: &str, content: &str, body: String) -> Result<Answer, String> {
        let request = self
            .client
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .header("Accept", JSON)
            .header("Content-Type", content)
            .body(body);
        http::send(request)
    }
}

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// The cluster role of the manifests. A permission that is missing there is missing in the tests too.
fn cluster_role() -> String {
    let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests");
    let files = fs::read_dir(manifests).unwrap_or_else(|e| panic!("{manifests}: {e}"));
    files
        .filter_map(|file| fs::read_to_string(file.ok()?.path()).ok())
        .flat_map(|text| text.split("\n---\n").map(str::to_owned).collect::<Vec<_>>())
        .find(|document| document.lines().any(|line| line == "kind: ClusterRole"))
        .unwrap_or_else(|| panic!("{manifests}: no ClusterRole"))
}
