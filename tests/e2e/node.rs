//! A node with the log files of its pods, in a cluster with few other objects.

use std::path::{Path, PathBuf};

use crate::agent::Agent;
use crate::apiserver::{Apiserver, User};
use crate::kube::{CONTAINER, Kube, Pod};
use crate::pods::{ContainerLog, Habits};

pub(crate) const NAMESPACE: &str = "test";

pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) apiserver: Apiserver,
    pub(crate) kube: Kube,
}

impl Node {
    /// A node of a cluster with the namespace [`NAMESPACE`], where the agent has no permission yet.
    pub(crate) fn new(name: &'static str) -> Node {
        Node::of(name, Apiserver::start())
    }

    pub(crate) fn of(name: &'static str, apiserver: Apiserver) -> Node {
        let kube = apiserver.admin();
        kube.create_namespace(NAMESPACE);
        Node { name, apiserver, kube }
    }

    /// The same, where the agent has the permissions of the manifests.
    pub(crate) fn granted(self) -> Node {
        self.kube.grant_agent_role(User::Agent.name());
        self
    }

    pub(crate) fn run(&self, pod: &Pod, root: &Path) -> ContainerLog {
        let uid = self.kube.run_pod(pod, self.name);
        ContainerLog::create(root, pod.namespace, pod.name, &uid, CONTAINER)
    }

    /// The logs of `count` pods, named by the node and a number.
    pub(crate) fn run_some(&self, count: usize, root: &Path, habits: Habits) -> Vec<ContainerLog> {
        (0..count).map(|nth| self.run(&self.pod(nth), root).with_habits(habits)).collect()
    }

    /// The nth of the node's pods.
    pub(crate) fn pod(&self, nth: usize) -> Pod {
        let name = format!("{}-{nth}", self.name).leak();
        Pod { namespace: NAMESPACE, name, labels: &[("app", "web")] }
    }

    pub(crate) fn agent(&self, clients: &str, scrape_configs: &str) -> Agent {
        Agent::new(clients, scrape_configs).in_cluster(self.name, self.kubeconfig())
    }

    /// The user of the agent.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.apiserver.kubeconfig(User::Agent)
    }

    /// A job for pods with the names that [`Node::pod`] gives. Their labels come only from values that the path has as well,
    /// so a pod has the same streams whether the API server or the directory shows it.
    pub(crate) fn scrape_configs(&self, root: &Path) -> String {
        let (name, root) = (self.name, root.display());
        format!(
            "\
scrape_configs:
  - job_name: pods
    pipeline_stages:
      - cri: {{}}
    kubernetes_sd_configs:
      - role: pod
    relabel_configs:
      - {{source_labels: [__meta_kubernetes_pod_name], regex: '{name}-.+', action: keep}}
      - {{source_labels: [__meta_kubernetes_namespace], target_label: namespace}}
      - {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}
      - {{source_labels: [__meta_kubernetes_pod_container_name], target_label: container}}
      - source_labels: [namespace, pod, container]
        regex: (.+);(.+);(.+)
        target_label: __path__
        replacement: {root}/${{1}}_${{2}}_*/$3/*.log
"
        )
    }
}
