//! Whose logs a pod's target reads.

use super::*;
use crate::scrape::tests::rig::outlet;

/// A scrape whose directory of pods' logs is `pods` in `dir`, if `is_asked`. Otherwise there is no such check.
fn scrape(dir: &Dir, is_asked: bool) -> Rig {
    let (outlet, batches) = outlet("loki");
    dir.start("none/*.log", "[]", |c| c.pod_logs = is_asked.then(|| dir.path("pods")), vec![outlet], batches)
}

/// Sends pod `name` of namespace `ns` with `path` as its `__path__`.
fn tell_pod(rig: &Rig, name: &str, uid: &str, path: &str) {
    let scrape = rig.scrape.as_ref().expect("running");
    let labels = [
        ("__meta_kubernetes_namespace", "ns"),
        ("__meta_kubernetes_pod_name", name),
        ("__meta_kubernetes_pod_uid", uid),
        ("app", "same"),
        ("__path__", path),
    ];
    tell(scrape, &format!("pod/ns/{name}"), &[&labels]);
}

#[test]
fn two_pods_with_one_wide_path_read_each_its_own() {
    let dir = Dir::new();
    for (folder, line) in
        [("ns_a_u1", "of a"), ("ns_b_u2", "of b"), ("ns_bank_u3", "of the bank"), ("ns-2_a_u1", "other ns")]
    {
        dir.append(&format!("pods/{folder}/app/0.log"), format!("{line}\n"));
    }
    let wide = dir.path("pods/*/app/*.log").display().to_string();
    let mut rig = scrape(&dir, true);
    tell_pod(&rig, "a", "u1", &wide);
    tell_pod(&rig, "b", "u2", &wide);
    rig.until(|stored| stored.len() >= 2);
    let report = rig.scrape.as_ref().expect("running").report();
    let refused: Vec<_> = report.targets().into_iter().flat_map(|target| target.not_read).collect();
    assert_eq!(refused.len(), 6, "{refused:?}");
    assert!(refused.iter().all(|one| one.reason.contains("directory of this pod")), "{refused:?}");
    // A new pod with the same name. The logs of the old one are not its own.
    dir.append("pods/ns_a_u9/app/0.log", "of the new a\n");
    tell_pod(&rig, "a", "u9", &wide);
    rig.until(|stored| stored.len() >= 3);
    let mut lines: Vec<String> = rig.stop().into_iter().map(|stored| stored.line).collect();
    lines.sort();
    assert_eq!(lines, ["of a", "of b", "of the new a"]);
}

#[test]
fn who_allows_it_reads_what_the_path_says_once() {
    let dir = Dir::new();
    dir.append("pods/ns_a_u1/app/0.log", "of a\n");
    dir.append("pods/ns_bank_u3/app/0.log", "of the bank\n");
    let wide = dir.path("pods/*/app/*.log").display().to_string();
    let mut rig = scrape(&dir, false);
    tell_pod(&rig, "a", "u1", &wide);
    tell_pod(&rig, "b", "u2", &wide);
    rig.until(|stored| stored.len() >= 2);
    assert_eq!(rig.stop().len(), 2);
}
