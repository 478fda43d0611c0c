//! Turns a discovered target into one that can be tailed: relabelling, special labels, pod defaults.

use std::fmt;
use std::sync::Arc;

use super::Job;
use crate::model::{
    FOUND_BY, FROM_NOWHERE, FROM_PATH, HELD, LabelSet, Labels, NO_TARGETS, Owner, Streams, Target, TargetLabels,
    container, loki_label_name, pod,
};
use crate::relabel::Verdict;
use crate::tail::{Glob, escape};

/// The job cannot read files as configured, or the target names something that it must not read.
pub(super) const UNREADABLE: &str = "unreadable";

/// The target was found by its log directory, and a label that a rule needs is unknown.
pub(super) const UNKNOWN_POD: &str = "unknown_pod";

/// The longest directory name, in bytes.
const NAME_MAX: usize = 255;

/// The longest host name, in bytes. The rest is not shown.
const HOST_MAX: usize = 255;

/// Why a discovered target is not tailed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejected {
    /// The value of `promtail_targets_failed_total{reason}`.
    pub reason: &'static str,
    pub text: Arc<str>,
}

impl Rejected {
    /// Whether the cause is a mistake in the config. Dropped targets and targets of other hosts are intended.
    pub fn is_mistake(&self) -> bool {
        matches!(self.reason, "no_path" | "no_targets" | "error" | UNREADABLE)
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

pub(super) fn resolve(job: &Job, discovered: &TargetLabels, hostname: &str) -> Result<Target, Rejected> {
    let Some(file) = discovered.get(container::LOG_FILE) else {
        return resolve_one(job, discovered, hostname);
    };
    let of = |stream| resolve_one(job, &discovered.with(container::LOG_STREAM, stream), hostname);
    let (stdout, stderr) = (of("stdout"), of("stderr"));
    // A rule may name another file, which is read as it is.
    let named = [&stdout, &stderr].into_iter().flatten().find(|target| target.path != escape(file)).cloned();
    if let Some(target) = named {
        return Ok(target);
    }
    let labels = |outcome: &Result<Target, Rejected>| outcome.as_ref().ok().map(|target| target.labels.clone());
    let streams = Streams { stdout: labels(&stdout), stderr: labels(&stderr) };
    stdout.or(stderr).map(|target| Target { streams: Some(streams), is_of_pod: true, ..target })
}

fn resolve_one(job: &Job, discovered: &TargetLabels, hostname: &str) -> Result<Target, Rejected> {
    let reject = |reason, text: String| Err(Rejected { reason, text: text.into() });
    match discovered.get(NO_TARGETS) {
        None => {}
        Some("true") => return reject("no_targets", "the group has no targets: write targets: [localhost]".into()),
        // Discovery has logged it already.
        Some(why) => return reject(UNREADABLE, why.into()),
    }
    if discovered.get(FOUND_BY) == Some(FROM_NOWHERE) {
        let text = "the pod was found by its log directory, but the API server does not show it: it is not known whether the job \
             selects it (the job has selectors, or the API server has shown no pod of this node yet)";
        return reject(UNKNOWN_POD, text.into());
    }
    let mut labels = discovered.to_labels();
    let verdict = job.rules.apply(&mut labels);
    if let Some(rule) = unjudged(job, discovered)
        && !matches!(verdict, Verdict::Drop { rule: dropped } if dropped < rule)
    {
        let rule = job.rules.describe(rule);
        return reject(
            UNKNOWN_POD,
            format!("the pod was found by its log directory, so labels that this rule needs are not known: {rule}"),
        );
    }
    if let Verdict::Drop { rule } = verdict {
        return Err(Rejected { reason: "dropped", text: job.rules.describe(rule) });
    }
    if let Some(host) = labels.get("__host__").filter(|host| *host != hostname) {
        let shown: String = host.chars().take(HOST_MAX).collect();
        return reject("wrong_host", format!("__host__ is {shown:?}, this host is {hostname:?}"));
    }
    let explicit = labels.get("__path__").filter(|p| !p.is_empty()).cloned();
    let defaulted = explicit.is_none();
    let Some(path) = explicit.or_else(|| default_path(discovered)) else {
        // Labels from discovery do not count as attempts.
        let is_near = |name: &&String| name.contains("path") && !name.starts_with("__meta_") && *name != "__path__";
        let near = labels
            .keys()
            .find(is_near)
            .map(|near| format!("; did you mean __path__ instead of {near}?"))
            .unwrap_or_default();
        return reject(
            "no_path",
            format!("there is no label __path__: set it in static_configs or by a relabel rule{near}"),
        );
    };
    let exclude = labels.get("__path_exclude__").filter(|p| !p.is_empty()).cloned();
    for (name, glob) in [("__path__", Some(&path)), ("__path_exclude__", exclude.as_ref())] {
        if let Some(Err(error)) = glob.map(|glob| Glob::new(glob)) {
            return reject("error", format!("{name}: {error}"));
        }
    }
    labels.retain(|name, value| !name.starts_with("__") && !value.is_empty());
    if defaulted && labels.is_empty() {
        labels = default_labels(discovered);
    }
    let labels = LabelSet::new(labels.into_iter().map(|(name, value)| (loki_label_name(&name).into_owned(), value)));
    let owner = Owner::of(discovered);
    let is_of_pod = discovered.contains(pod::UID);
    let is_held = discovered.contains(HELD);
    Ok(Target { job: job.name.clone(), labels, path, exclude, defaulted, is_of_pod, owner, is_held, streams: None })
}

/// For a pod found by its log directory: the index of the first rule that needs an unknown label. None: there is none.
fn unjudged(job: &Job, discovered: &TargetLabels) -> Option<usize> {
    let is_unknown = |name: &str| name.starts_with("__meta_kubernetes_") && !discovered.contains(name);
    (discovered.get(FOUND_BY) == Some(FROM_PATH)).then(|| job.rules.first_unjudged(is_unknown)).flatten()
}

/// The directory in which the kubelet keeps a container's logs. For a static pod it is named by the config hash. Any
/// pod may have that annotation, so the directory named by the uid is included too. Values from the pod are escaped.
/// None: a label is missing.
fn default_path(discovered: &TargetLabels) -> Option<String> {
    let get = |name| discovered.get(name).filter(|v| !v.is_empty());
    let container = escape(get(pod::CONTAINER)?);
    let uid = get(pod::UID).map(escape);
    let hash = get(pod::CONFIG_HASH).filter(|hash| !hash.contains('/') && hash.len() <= NAME_MAX).map(escape);
    let id = match (hash, uid) {
        (Some(hash), Some(uid)) => format!("{{{hash},{uid}}}"),
        (hash, uid) => hash.or(uid)?,
    };
    Some(format!("/var/log/pods/*{id}/{container}/*.log"))
}

/// The labels of a pod's lines if relabelling kept no label.
fn default_labels(discovered: &TargetLabels) -> Labels {
    let get = |name| discovered.get(name).filter(|v| !v.is_empty());
    let app = get(pod::LABEL_APP_NAME).or(get(pod::LABEL_APP));
    let (namespace, container) = (get(pod::NAMESPACE), get(pod::CONTAINER));
    let job = format!("{}/{}", namespace.unwrap_or_default(), app.or(container).unwrap_or_default());
    let pairs = [
        ("namespace", namespace),
        ("pod", get(pod::NAME)),
        ("container", container),
        ("app", app),
        ("node_name", get(pod::NODE)),
        ("job", Some(job.as_str())),
    ];
    pairs.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_a_pod_is_a_literal_in_its_path() {
        for (hash, path) in [
            (None, "/var/log/pods/*u-1/app/*.log"),
            (Some(""), "/var/log/pods/*u-1/app/*.log"),
            (Some("c0ffee"), "/var/log/pods/*{c0ffee,u-1}/app/*.log"),
            (Some("*,{a}!"), r"/var/log/pods/*{\*\,\{a\}\!,u-1}/app/*.log"),
            (Some("/../x"), "/var/log/pods/*u-1/app/*.log"),
        ] {
            let mut labels: Labels =
                [(pod::UID, "u-1"), (pod::CONTAINER, "app")].map(|(n, v)| (n.to_string(), v.to_string())).into();
            labels.extend(hash.map(|hash| (pod::CONFIG_HASH.to_string(), hash.to_string())));
            assert_eq!(default_path(&labels.into()).as_deref(), Some(path), "{hash:?}");
            let glob = Glob::new(path).expect("a glob");
            let folder = |id: &str| format!("/var/log/pods/ns_p_{id}/app/0.log");
            assert!(glob.matches(folder("u-1").as_ref()), "{hash:?}");
            assert!(!glob.matches(folder("other").as_ref()), "{hash:?}");
            if let Some(hash) = hash.filter(|hash| !hash.contains('/')) {
                assert_eq!(glob.matches(folder(hash).as_ref()), !hash.is_empty(), "{hash:?} itself");
            }
        }
    }
}
