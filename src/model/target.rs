//! What discovery says there is, and what relabelling makes of it.

use std::sync::Arc;

use super::{LabelSet, Labels};

/// The whole truth about one source (a pod, a static config, a file). Without targets the source is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// Unique within its job, for instance `pod/<namespace>/<name>`.
    pub source: String,
    /// Each target's labels before relabelling.
    pub targets: Vec<Labels>,
}

/// The label that stands for a group of which nothing can come, since it names no targets: told so that it can be shown.
pub const NO_TARGETS: &str = "__meta_fantail_no_targets";

/// What discovery tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    Group {
        job: Arc<str>,
        group: TargetGroup,
    },
    /// Everything of this job that existed at the start has been told.
    Synced {
        job: Arc<str>,
    },
}

/// One thing to tail, after relabelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub job: Arc<str>,
    /// As discovered, before relabelling.
    pub discovered: Labels,
    /// What every entry of it carries (`filename` comes on top).
    pub labels: LabelSet,
    /// `__path__`: a file or a glob.
    pub path: String,
    /// `__path_exclude__`.
    pub exclude: Option<String>,
    /// The pod defaults decided the path: see [`pod`].
    pub defaulted: bool,
    /// Whose folders below that of pods' logs it may read; None: anybody's.
    pub owner: Option<Owner>,
}

/// A pod, as the kubelet names the folder of its logs: `<namespace>_<pod>_<uid>`, of a static pod `<namespace>_<pod>_<hash>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    namespace: String,
    pod: String,
    uid: String,
    /// An annotation, and so what any user writes: it names no other pod's folder, since the rest of the name is fixed.
    config_hash: String,
}

impl Owner {
    /// None: what was discovered is no pod.
    pub fn of(discovered: &Labels) -> Option<Self> {
        let get = |name: &str| discovered.get(name).cloned().unwrap_or_default();
        discovered.contains_key(pod::NAME).then(|| Self {
            namespace: get(pod::NAMESPACE),
            pod: get(pod::NAME),
            uid: get(pod::UID),
            config_hash: get(pod::CONFIG_HASH),
        })
    }

    /// Whether the folder `name` below that of pods' logs is this pod's.
    pub fn owns(&self, name: &str) -> bool {
        // From the left: no namespace and no pod has `_` in its name, but a hash may.
        let mut parts = name.splitn(3, '_');
        let id = |id: &str| !id.is_empty() && (id == self.uid || id == self.config_hash);
        parts.next() == Some(&self.namespace) && parts.next() == Some(&self.pod) && parts.next().is_some_and(id)
    }
}

/// Names of the labels that discovery of pods sets and the pod defaults read.
pub mod pod {
    pub const NAMESPACE: &str = "__meta_kubernetes_namespace";
    pub const NAME: &str = "__meta_kubernetes_pod_name";
    pub const UID: &str = "__meta_kubernetes_pod_uid";
    pub const CONTAINER: &str = "__meta_kubernetes_pod_container_name";
    pub const NODE: &str = "__meta_kubernetes_pod_node_name";
    pub const LABEL_APP: &str = "__meta_kubernetes_pod_label_app";
    pub const LABEL_APP_NAME: &str = "__meta_kubernetes_pod_label_app_kubernetes_io_name";
    /// A static pod's directory is named by this annotation, not by its uid.
    pub const CONFIG_HASH: &str = "__meta_kubernetes_pod_annotation_kubernetes_io_config_hash";
}
