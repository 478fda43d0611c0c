//! Target groups from discovery, and targets after relabelling.

use std::fmt;
use std::sync::Arc;

use super::{LabelSet, Labels};

/// All current targets that were found in one place: a pod, a static config, a group in a file. An empty list: the group
/// is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// Unique within its job, for instance `pod/<namespace>/<name>`.
    pub id: String,
    /// The labels of each target before relabelling.
    pub targets: Vec<TargetLabels>,
    pub left_out: LeftOut,
}

impl TargetGroup {
    pub fn new(id: String, targets: impl IntoIterator<Item: Into<TargetLabels>>) -> Self {
        Self { id, targets: targets.into_iter().map(Into::into).collect(), left_out: LeftOut::default() }
    }

    pub fn gone(id: String) -> Self {
        Self::new(id, Vec::<Labels>::new())
    }
}

/// The labels of a target before relabelling. Labels that all targets of a group have in common are stored once. They
/// are kept as long as the target is known, and a map would take three times the memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TargetLabels {
    common: LabelSet,
    /// Overrides `common` where both have the same name.
    own: LabelSet,
}

impl TargetLabels {
    pub fn new(common: LabelSet, own: LabelSet) -> Self {
        Self { common, own }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.own.get(name).or_else(|| self.common.get(name))
    }

    /// The common labels of the group, and the target's own labels.
    pub fn parts(&self) -> (&LabelSet, &LabelSet) {
        (&self.common, &self.own)
    }

    /// The same target with one more label.
    pub fn with(&self, name: &str, value: &str) -> Self {
        Self { common: self.common.clone(), own: self.own.with(name, value) }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn to_labels(&self) -> Labels {
        let all = self.common.iter().chain(self.own.iter());
        all.map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    /// Whether both share one allocation of common labels, not only equal labels.
    #[cfg(test)]
    pub fn share(&self, other: &Self) -> bool {
        self.common.same(&other.common)
    }
}

impl From<Labels> for TargetLabels {
    fn from(own: Labels) -> Self {
        Self { common: LabelSet::default(), own: LabelSet::from(&own) }
    }
}

/// The parts of a group that its targets lack, because of limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LeftOut {
    /// Containers that are not targets. Their logs are not read.
    pub containers: usize,
    /// Ports that are not separate targets although a rule reads ports.
    pub ports: usize,
    /// Labels and annotations that a rule reads but some or all targets lack.
    pub labels: usize,
    /// Labels and annotations that no rule reads, beyond those that are shown.
    pub unread: usize,
}

impl LeftOut {
    /// Whether it can change which files are read or their labels. `unread` cannot.
    pub fn matters(&self) -> bool {
        self.containers + self.ports + self.labels > 0
    }
}

/// Writes the counts that matter, for display: `2 containers, 990 ports`.
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

/// Marks a group that can never have targets. The group exists only to be shown. `true`: it names no targets. Any other
/// value describes the mistake.
pub const NO_TARGETS: &str = "__meta_fantail_no_targets";

/// How the labels of a pod were found when only its log directory is known: [`FROM_CACHE`], [`FROM_PATH`] or
/// [`FROM_NOWHERE`].
pub const FOUND_BY: &str = "__meta_fantail_source";

/// The API server showed the pod earlier. Its labels come from the cache.
pub const FROM_CACHE: &str = "cache";

/// The API server never showed the pod. Only the parts of the directory name are known.
pub const FROM_PATH: &str = "path";

/// Like [`FROM_PATH`], and it is unknown whether the selectors match the pod. The pod is shown but not read.
pub const FROM_NOWHERE: &str = "unknown";

/// Marks a target that may still turn out to belong to another pod.
pub const HELD: &str = "__meta_fantail_held";

/// A message from discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    Group {
        job: Arc<str>,
        group: TargetGroup,
    },
    /// All targets of this job that existed at the start have been sent.
    Synced {
        job: Arc<str>,
    },
}

/// One path or glob to tail, after relabelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub job: Arc<str>,
    /// The labels of each of its entries, without `filename`.
    pub labels: LabelSet,
    /// `__path__`: a file or a glob.
    pub path: String,
    /// `__path_exclude__`.
    pub exclude: Option<String>,
    /// The path comes from the pod defaults: see [`pod`].
    pub defaulted: bool,
    /// The target is a container of a pod, or one found by Docker's API. It may exist before its log file does.
    pub is_of_pod: bool,
    /// The pod whose log directories it may read. None: no restriction.
    pub owner: Option<Owner>,
    /// Its files are opened, so that they cannot be lost, but are not read until discovery knows their owner.
    pub is_held: bool,
    /// Its file is the log of a container found by Docker's API. None: it is not.
    pub streams: Option<Streams>,
}

impl Target {
    /// A target without restrictions: of no pod and no container.
    pub fn new(job: Arc<str>, labels: LabelSet, path: impl Into<String>) -> Self {
        Self {
            job,
            labels,
            path: path.into(),
            exclude: None,
            defaulted: false,
            is_of_pod: false,
            owner: None,
            is_held: false,
            streams: None,
        }
    }
}

/// The labels of a container's lines by the stream that they were written to. A rule may read the stream. None: the
/// rules drop this stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Streams {
    pub stdout: Option<LabelSet>,
    pub stderr: Option<LabelSet>,
}

impl Streams {
    /// None: the rules drop this stream.
    pub fn of(&self, is_stderr: bool) -> Option<&LabelSet> {
        if is_stderr { self.stderr.as_ref() } else { self.stdout.as_ref() }
    }
}

/// Names of the labels of a container found by Docker's API that reading its log uses.
pub mod container {
    /// The stream of a line.
    pub const LOG_STREAM: &str = "__meta_docker_container_log_stream";
    /// The path of its log file, whose lines are Docker's JSON.
    pub const LOG_FILE: &str = "__meta_fantail_docker_log";
}

/// A pod, as the kubelet names its log directory: `<namespace>_<pod>_<uid>`, or `<namespace>_<pod>_<hash>` for a static
/// pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    namespace: String,
    pod: String,
    uid: String,
    /// Comes from an annotation, which any user can set. It cannot name another pod's directory, because namespace and
    /// pod are compared too.
    config_hash: String,
}

impl Owner {
    /// None: the discovered target is not a pod.
    pub fn of(discovered: &TargetLabels) -> Option<Self> {
        let get = |name: &str| discovered.get(name).unwrap_or_default().to_string();
        discovered.contains(pod::NAME).then(|| Self {
            namespace: get(pod::NAMESPACE),
            pod: get(pod::NAME),
            uid: get(pod::UID),
            config_hash: get(pod::CONFIG_HASH),
        })
    }

    /// Whether the log directory `name` belongs to this pod.
    pub fn owns(&self, name: &str) -> bool {
        // Split from the left: namespace and pod names never contain `_`, but a hash may.
        let mut parts = name.splitn(3, '_');
        let id = |id: &str| !id.is_empty() && (id == self.uid || id == self.config_hash);
        parts.next() == Some(&self.namespace) && parts.next() == Some(&self.pod) && parts.next().is_some_and(id)
    }
}

/// Names of the labels that pod discovery sets and the pod defaults read.
pub mod pod {
    pub const NAMESPACE: &str = "__meta_kubernetes_namespace";
    pub const NAME: &str = "__meta_kubernetes_pod_name";
    pub const UID: &str = "__meta_kubernetes_pod_uid";
    pub const CONTAINER: &str = "__meta_kubernetes_pod_container_name";
    pub const NODE: &str = "__meta_kubernetes_pod_node_name";
    pub const LABEL_APP: &str = "__meta_kubernetes_pod_label_app";
    pub const LABEL_APP_NAME: &str = "__meta_kubernetes_pod_label_app_kubernetes_io_name";
    /// The log directory of a static pod is named by this annotation, not by its uid.
    pub const CONFIG_HASH: &str = "__meta_kubernetes_pod_annotation_kubernetes_io_config_hash";
}
