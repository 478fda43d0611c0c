//! The Deployment, Job and CronJob of a pod, derived from the names that their controllers give, without requests.

use super::super::config::AttachMetadata;
use super::super::slim::{Metadata, TEMPLATE_HASH};
use crate::model::Labels;

/// The valid times of a CronJob's Job, in minutes since 1970: from 2018 to 2084. Dates such as 20240101 are not in this
/// range.
const DUE: std::ops::Range<u64> = 25_246_080..60_000_000;

/// Sets the names that `attach` enables, for the pod with this metadata.
pub(super) fn set(labels: &mut Labels, pod: &Metadata, attach: &AttachMetadata) {
    let Some(owner) = pod.owner_references.kept.iter().find(|owner| owner.controller == Some(true)) else { return };
    let (deployment, job, cronjob) = match owner.kind.as_str() {
        "ReplicaSet" => (deployment(&owner.name, pod.labels.get(TEMPLATE_HASH)), None, None),
        "Job" => (None, Some(owner.name.as_str()), cronjob(&owner.name)),
        _ => (None, None, None),
    };
    for (name, is_wanted, value) in [
        ("__meta_kubernetes_pod_deployment_name", attach.deployment, deployment),
        ("__meta_kubernetes_pod_job_name", attach.job, job),
        ("__meta_kubernetes_pod_cronjob_name", attach.cronjob, cronjob),
    ] {
        labels.extend(value.filter(|_| is_wanted).map(|value| (name.to_string(), value.to_string())));
    }
}

/// A Deployment names its ReplicaSet `<deployment>-<hash>` and labels its pods with the hash. A ReplicaSet without a
/// Deployment does neither.
fn deployment<'a>(replica_set: &'a str, hash: Option<&str>) -> Option<&'a str> {
    let hash = hash.filter(|hash| !hash.is_empty())?;
    replica_set.strip_suffix(hash)?.strip_suffix('-').filter(|name| !name.is_empty())
}

/// A CronJob names its Jobs `<cronjob>-<minutes>`.
fn cronjob(job: &str) -> Option<&str> {
    let (name, minutes) = job.rsplit_once('-')?;
    let is_number = minutes.bytes().all(|byte| byte.is_ascii_digit());
    let is_due = is_number && minutes.parse().is_ok_and(|minutes| DUE.contains(&minutes));
    (is_due && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_known_by_the_hash_of_its_pods() {
        for (replica_set, hash, name) in [
            ("web-5d8f9c7b6", Some("5d8f9c7b6"), Some("web")),
            ("my-web-app-77", Some("77"), Some("my-web-app")),
            ("web-5d8f9c7b6", Some("other"), None),
            ("web-5d8f9c7b6", Some(""), None),
            ("web-5d8f9c7b6", None, None),
            ("-77", Some("77"), None),
            ("web77", Some("77"), None),
        ] {
            assert_eq!(deployment(replica_set, hash), name, "{replica_set} {hash:?}");
        }
    }

    #[test]
    fn a_cronjob_is_known_by_the_minute_of_its_job() {
        for (job, name) in [
            ("backup-29345678", Some("backup")),
            ("nightly-backup-29345678", Some("nightly-backup")),
            ("backup-20240101", None),
            ("backup-1", None),
            ("backup-+9345678", None),
            ("backup", None),
            ("-29345678", None),
            ("backup-99999999999999999999", None),
        ] {
            assert_eq!(cronjob(job), name, "{job}");
        }
    }
}
