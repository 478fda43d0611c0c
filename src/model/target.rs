//! What discovery says there is, and what relabelling makes of it.

use std::fmt;
use std::sync::Arc;

use super::{LabelSet, Labels};

/// The whole truth about one source (a pod, a static config, a file). Without targets the source is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// Unique within its job, for instance `pod/<namespace>/<name>`.
    pub source: String,
    /// Each target's labels before relabelling.
    pub targets: Vec<TargetLabels>,
    pub left_out: LeftOut,
}

impl TargetGroup {
    pub fn new(source: String, targets: impl IntoIterator<Item: Into<TargetLabels>>) -> Self {
        Self { source, targets: targets.into_iter().map(Into::into).collect(), left_out: LeftOut::default() }
    }

    pub fn gone(source: String) -> Self {
        Self::new(source, Vec::<Labels>::new())
    }
}

/// The labels of a target before relabelling. What the targets of one source have in common is kept once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TargetLabels {
    common: Arc<Labels>,
    /// Of two labels of one name that of the target counts.
    own: Labels,
}

impl TargetLabels {
    pub fn new(common: Arc<Labels>, own: Labels) -> Self {
        Self { common, own }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.own.get(name).or_else(|| self.common.get(name)).map(String::as_str)
    }

    /// What the targets of its source have in common, and what is its own.
    pub fn parts(&self) -> (&Arc<Labels>, &Labels) {
        (&self.common, &self.own)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn to_labels(&self) -> Labels {
        let mut labels = Labels::clone(&self.common);
        labels.extend(self.own.iter().map(|(name, value)| (name.clone(), value.clone())));
        labels
    }

    /// Whether both have the very same labels in common, and not only equal ones.
    #[cfg(test)]
    pub fn share(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.common, &other.common)
    }
}

impl From<Labels> for TargetLabels {
    fn from(own: Labels) -> Self {
        Self { common: Arc::default(), own }
    }
}

/// What a source has beyond what its targets say of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LeftOut {
    /// Containers that are no targets: their logs are not read.
    pub containers: usize,
    /// Ports that are no targets of their own, though a rule reads ports.
    pub ports: usize,
    /// Labels and annotations that a rule reads and that some or all targets lack.
    pub labels: usize,
    /// Labels and annotations that no rule reads, beyond those that are shown.
    pub unread: usize,
}

impl LeftOut {
    /// Whether it can change what is read, and what of. What no rule reads cannot.
    pub fn matters(&self) -> bool {
        self.containers + self.ports + self.labels > 0
    }
}

/// What matters, for people: `2 containers, 990 ports`.
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.containers, "containers"),
            (self.ports, "ports"),
            (self.labels, "labels or annotations that a rule reads"),
        ];
        let parts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}

/// The label that stands for a group of which nothing can come: told so that it can be shown. `true`: it names no targets;
/// another value says what is wrong.
pub const NO_TARGETS: &str = "__meta_fantail_no_targets";

/// Where the labels of a pod come from that was found by the folder of its logs: [`FROM_CACHE`], [`FROM_PATH`] or
/// [`FROM_NOWHERE`].
pub const FOUND_BY: &str = "__meta_fantail_source";

/// The API server showed the pod earlier: these are its labels.
pub const FROM_CACHE: &str = "cache";

/// It never did: only what the folder's name says is known.
pub const FROM_PATH: &str = "path";

/// The same, and whether the pod is one of those that are asked for cannot be known: it is shown, not read.
pub const FROM_NOWHERE: &str = "unknown";

/// The label that stands for a target that may still turn out to be another's.
pub const HELD: &str = "__meta_fantail_held";

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
    /// What every entry of it carries (`filename` comes on top).
    pub labels: LabelSet,
    /// `__path__`: a file or a glob.
    pub path: String,
    /// `__path_exclude__`.
    pub exclude: Option<String>,
    /// The pod defaults decided the path: see [`pod`].
    pub defaulted: bool,
    /// It is a pod's container, which may be there before its log is.
    pub is_of_pod: bool,
    /// Whose folders below that of pods' logs it may read; None: anybody's.
    pub owner: Option<Owner>,
    /// Its files are opened, so that they cannot be lost, and not read before discovery knows whose they are.
    pub is_held: bool,
}

/// A pod, as the kubelet names the folder of its logs: `<namespace>_<pod>_<uid>`, of a static pod `<namespace>_<pod>_<hash>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    namespace: String,
    pod: String,
    uid: String,
    /// An annotation, and so what any user writes: it names no other pod's folder, since the rest of the name is fixed.
    config_hash: String,
}

impl Owner {
    /// None: what was discovered is no pod.
    pub fn of(discovered: &TargetLabels) -> Option<Self> {
        let get = |name: &str| discovered.get(name).unwrap_or_default().to_string();
        discovered.contains(pod::NAME).then(|| Self {
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
