//! Pods found by their log directories, before or without the API server.

use super::*;
use crate::model::{FOUND_BY, HELD};
use crate::relabel;
use crate::relabel::Rules;
use crate::scrape::tests::rig::{Stored, outlet};

/// A scrape with these rules, whose directory of pods' logs is `pods` in `dir`.
fn scrape(dir: &Dir, rules: &str) -> Rig {
    let (outlet, batches) = outlet("loki");
    let rules: Vec<relabel::Config> = serde_yaml::from_str(rules).expect(rules);
    let rules = Rules::compile(&rules).expect("rules");
    dir.start_ruled("none/*.log", rules, |c| c.pod_logs = Some(dir.path("pods")), vec![outlet], batches)
}

/// Sends pod `ns/a` as the group `group`, with the labels `more`.
fn tell_pod(rig: &Rig, group: &str, path: &str, more: &[(&str, &str)]) {
    let scrape = rig.scrape.as_ref().expect("running");
    let known = [
        ("__meta_kubernetes_namespace", "ns"),
        ("__meta_kubernetes_pod_name", "a"),
        ("__meta_kubernetes_pod_uid", "u1"),
        ("namespace", "ns"),
        ("__path__", path),
    ];
    let labels: Vec<_> = known.into_iter().chain(more.iter().copied()).collect();
    tell(scrape, group, &[&labels]);
}

fn files(rig: &Rig) -> usize {
    rig.scrape.as_ref().expect("running").report().targets().into_iter().map(|target| target.files.len()).sum()
}

#[track_caller]
fn until_open(rig: &Rig) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while files(rig) == 0 {
        assert!(Instant::now() < deadline, "it is not opened");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[track_caller]
fn until_labelled(rig: &Rig, app: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let report = rig.scrape.as_ref().expect("running").report();
    let is_so = |target: &crate::model::TargetReport| {
        target.labels.get("app").is_some_and(|is| is == app) && target.files.len() == 1
    };
    while !report.targets().iter().any(is_so) {
        assert!(Instant::now() < deadline, "it has not these labels");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn told(stored: &[Stored]) -> Vec<(String, String)> {
    stored
        .iter()
        .map(|s| (if s.labels.contains("app=\"shop\"") { "shop" } else { "path" }.into(), s.line.clone()))
        .collect()
}

fn of(labels: &str, line: &str) -> (String, String) {
    (labels.into(), line.into())
}

#[test]
fn what_is_held_waits_for_its_labels_though_its_folder_is_gone() {
    let dir = Dir::new();
    let mut rig = scrape(&dir, "[]");
    let path = dir.path("pods/*u1/*/*.log").display().to_string();
    dir.append("pods/ns_a_u1/web/0.log", "one\n");
    tell_pod(&rig, "folder/ns_a_u1", &path, &[(FOUND_BY, "path"), (HELD, "true")]);
    until_open(&rig);
    dir.append("pods/ns_a_u1/web/0.log", "two\n");
    fs::remove_dir_all(dir.path("pods/ns_a_u1")).expect("removed");
    // As discovery does: first the directory's group is removed, then the pod is added.
    tell(rig.scrape.as_ref().expect("running"), "folder/ns_a_u1", &[]);
    tell_pod(&rig, "pod/ns/a", &path, &[("app", "shop")]);
    // The pod may be gone again before it was handled.
    tell(rig.scrape.as_ref().expect("running"), "pod/ns/a", &[]);
    rig.until_lines(&["one", "two"]);
    assert_eq!(told(&rig.stop()), [of("shop", "one"), of("shop", "two")]);
}

#[test]
fn what_was_held_for_one_is_not_given_to_another_and_not_read_if_a_rule_drops_it() {
    let dir = Dir::new();
    let mut rig = scrape(&dir, "[{source_labels: [x], regex: drop, action: drop}]");
    let path = dir.path("pods/*/*/*.log").display().to_string();
    dir.append("pods/ns_a_u1/web/0.log", "one\n");
    tell_pod(&rig, "folder/ns_a_u1", &path, &[(FOUND_BY, "path"), (HELD, "true")]);
    until_open(&rig);
    fs::remove_dir_all(dir.path("pods/ns_a_u1")).expect("removed");
    tell(rig.scrape.as_ref().expect("running"), "folder/ns_a_u1", &[]);
    tell_pod(&rig, "pod/ns/a", &path, &[("x", "drop")]);
    tell_pod(&rig, "pod/ns/b", &path, &[("__meta_kubernetes_pod_name", "b"), ("app", "shop")]);
    dir.append("pods/ns_b_u1/web/0.log", "of b\n");
    rig.until_lines(&["of b"]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while files(&rig) > 1 {
        assert!(Instant::now() < deadline, "it is not let go of");
        std::thread::park_timeout(Duration::from_millis(2));
    }
    assert_eq!(told(&rig.stop()), [of("shop", "of b")]);
}

#[test]
fn what_is_held_is_read_in_the_end_though_its_folder_is_gone() {
    let dir = Dir::new();
    let mut rig = scrape(&dir, "[]");
    let path = dir.path("pods/*u1/*/*.log").display().to_string();
    dir.append("pods/ns_a_u1/web/0.log", "one\ntwo\n");
    tell_pod(&rig, "folder/ns_a_u1", &path, &[(FOUND_BY, "path"), (HELD, "true")]);
    until_open(&rig);
    fs::remove_dir_all(dir.path("pods/ns_a_u1")).expect("removed");
    tell_pod(&rig, "folder/ns_a_u1", &path, &[(FOUND_BY, "path")]);
    tell(rig.scrape.as_ref().expect("running"), "folder/ns_a_u1", &[]);
    rig.until_lines(&["one", "two"]);
    assert_eq!(told(&rig.stop()), [of("path", "one"), of("path", "two")]);
}

#[test]
fn a_pod_that_is_shown_late_goes_on_under_its_own_labels_and_sends_nothing_twice() {
    let dir = Dir::new();
    let mut rig = scrape(&dir, "[]");
    let path = dir.path("pods/*u1/*/*.log").display().to_string();
    dir.append("pods/ns_a_u1/web/0.log", "one\n");
    tell_pod(&rig, "folder/ns_a_u1", &path, &[(FOUND_BY, "path")]);
    rig.until_lines(&["one"]);
    tell(rig.scrape.as_ref().expect("running"), "folder/ns_a_u1", &[]);
    tell_pod(&rig, "pod/ns/a", &path, &[("app", "shop")]);
    until_labelled(&rig, "shop");
    dir.append("pods/ns_a_u1/web/0.log", "two\n");
    rig.until(|stored| stored.len() >= 2);
    // The API server forgets the pod, and the cache takes over. The next start does the same.
    tell(rig.scrape.as_ref().expect("running"), "pod/ns/a", &[]);
    tell_pod(&rig, "folder/ns_a_u1", &path, &[("app", "shop"), (FOUND_BY, "cache")]);
    dir.append("pods/ns_a_u1/web/0.log", "three\n");
    rig.until(|stored| stored.len() >= 3);
    let mut all = told(&rig.rest());
    let mut rig = scrape(&dir, "[]");
    tell_pod(&rig, "folder/ns_a_u1", &path, &[(FOUND_BY, "path")]);
    dir.append("pods/ns_a_u1/web/0.log", "four\n");
    rig.until(|stored| !stored.is_empty());
    all.extend(told(&rig.rest()));
    all.sort();
    let mut expected = [of("path", "one"), of("shop", "two"), of("shop", "three"), of("path", "four")];
    expected.sort();
    assert_eq!(all, expected);
}

#[test]
fn what_cannot_be_known_is_not_read_and_shown() {
    let dir = Dir::new();
    dir.append("pods/ns_a_u1/web/0.log", "one\n");
    let path = dir.path("pods/*u1/*/*.log").display().to_string();
    let label = "__meta_kubernetes_pod_label_app";
    for (rule, more, is_read) in [
        (format!("{{source_labels: [{label}], regex: secret, action: drop}}"), [(FOUND_BY, "path"), ("x", "y")], false),
        (format!("{{source_labels: [{label}], regex: shop, action: keep}}"), [(FOUND_BY, "path"), ("x", "y")], false),
        (
            format!("{{source_labels: [{label}], regex: shop, action: keep}}"),
            [(FOUND_BY, "cache"), (label, "shop")],
            true,
        ),
        (format!("{{source_labels: [{label}], target_label: app}}"), [(FOUND_BY, "unknown"), ("x", "y")], false),
        (format!("{{source_labels: [{label}], target_label: app}}"), [(FOUND_BY, "path"), ("x", "y")], true),
        (
            "{source_labels: [__meta_kubernetes_namespace], regex: ns, action: keep}".into(),
            [(FOUND_BY, "path"), ("x", "y")],
            true,
        ),
        (
            format!("{{target_label: __path__, replacement: {}}}", dir.path("elsewhere/*.log").display()),
            [(FOUND_BY, "path"), ("x", "y")],
            false,
        ),
    ] {
        let rig = scrape(&dir, &format!("[{rule}]"));
        tell_pod(&rig, "folder/ns_a_u1", &path, &more);
        let report = rig.scrape.as_ref().expect("running").report();
        let deadline = Instant::now() + Duration::from_secs(20);
        let shown = loop {
            if let Some(one) = report.discovered().into_iter().find(|one| one.group == "folder/ns_a_u1") {
                break one;
            }
            assert!(Instant::now() < deadline, "{rule}: it is not shown");
            std::thread::park_timeout(Duration::from_millis(2));
        };
        let why = format!("{shown:?}");
        assert_eq!(!why.contains("found by its log directory"), is_read, "{rule}: {why}");
        rig.stop();
    }
}
