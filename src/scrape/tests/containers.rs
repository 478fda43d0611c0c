//! Log files of containers found by Docker's API.

use super::rig::{self, Dir, Rig, Stored, outlet, tell};
use crate::model::container;
use crate::relabel::Rules;
use crate::scrape::Job;

const FILE: &str = "aa-json.log";

fn start(dir: &Dir, rules: &str, stages: &str) -> Rig {
    let rules = Rules::compile(&serde_yaml::from_str::<Vec<_>>(rules).expect(rules)).expect(rules);
    let (outlet, batches) = outlet("loki");
    // The target of the rig itself finds nothing.
    let job = Job { rules, has_containers: true, ..rig::job("job", stages) };
    dir.start_job("no.such", job, |_| {}, vec![outlet], batches)
}

/// A container as discovery tells it.
fn found(dir: &Dir, rig: &Rig) {
    let path = dir.path(FILE).to_string_lossy().into_owned();
    let labels = [("__meta_docker_container_name", "/web"), ("__path__", &*path), (container::LOG_FILE, &*path)];
    tell(rig.scrape.as_ref().expect("running"), "docker", &[&labels]);
}

fn line(ns: u32, stream: &str, text: &str) -> String {
    let text = serde_json::to_string(text).expect("a string");
    format!("{{\"log\":{text},\"stream\":\"{stream}\",\"time\":\"2026-11-22T10:00:00.{ns:09}Z\"}}\n")
}

fn shown(stored: &[Stored]) -> Vec<String> {
    let of = |s: &Stored| format!("{} {} {}", s.labels, s.timestamp % 1_000, s.line);
    let mut shown: Vec<String> = stored.iter().map(of).collect();
    shown.sort();
    shown
}

const BY_STREAM: &str = "[{source_labels: [__meta_docker_container_name], regex: /(.*), target_label: container}, \
                          {source_labels: [__meta_docker_container_log_stream], target_label: stream}]";

#[test]
fn lines_have_the_labels_of_their_stream_and_no_json() {
    let dir = Dir::new();
    dir.append(FILE, line(1, "stdout", "{\"stream\":\"stderr\"}\r\n"));
    dir.append(FILE, line(2, "stderr", "oh\n") + &line(3, "stdout", "without end"));
    let mut rig = start(&dir, BY_STREAM, "[{static_labels: {stage: ran}}]");
    found(&dir, &rig);
    rig.until(|stored| stored.len() >= 3);
    // Both streams have parts at the same time, and the file is rotated between.
    let (a, b) = ("a".repeat(16 << 10), "b".repeat(16 << 10));
    dir.append(FILE, line(4, "stdout", &a) + &line(5, "stderr", &b));
    rig.answer = false;
    std::fs::rename(dir.path(FILE), dir.path(&format!("{FILE}.1"))).expect("renamed");
    dir.append(FILE, line(4, "stdout", "A\n") + &line(5, "stderr", "B\n"));
    rig.until(|stored| stored.len() >= 5);
    let first = rig.stop();
    let want = [
        "{container=\"web\", stage=\"ran\", stream=\"stderr\"} 2 oh".to_string(),
        format!("{{container=\"web\", stage=\"ran\", stream=\"stderr\"}} 5 {b}B"),
        "{container=\"web\", stage=\"ran\", stream=\"stdout\"} 1 {\"stream\":\"stderr\"}".to_string(),
        "{container=\"web\", stage=\"ran\", stream=\"stdout\"} 3 without end".to_string(),
        format!("{{container=\"web\", stage=\"ran\", stream=\"stdout\"}} 4 {a}A"),
    ];
    assert_eq!(shown(&first), want);

    // Entries without an acknowledgement are sent again, bit for bit the same, and no other entries.
    let mut rig = start(&dir, BY_STREAM, "[{static_labels: {stage: ran}}]");
    found(&dir, &rig);
    rig.until(|stored| stored.len() >= 2);
    assert_eq!(shown(&rig.stop()), [want[1].clone(), want[4].clone()]);
}

#[test]
fn a_stream_that_rules_drop_is_counted_and_the_other_is_read() {
    let dir = Dir::new();
    for n in 0..100 {
        dir.append(FILE, line(n, ["stdout", "stderr"][n as usize % 2], &format!("{n}\n")));
    }
    let keep = "[{source_labels: [__meta_docker_container_log_stream], regex: stderr, action: keep}, \
                 {replacement: x, target_label: app}]";
    let mut rig = start(&dir, keep, "[]");
    found(&dir, &rig);
    rig.until(|stored| stored.len() >= 50);
    let stored = rig.rest();
    assert_eq!(stored.len(), 50);
    assert!(stored.iter().all(|s| s.labels == "{app=\"x\"}" && s.line.parse::<u32>().is_ok_and(|n| n % 2 == 1)));
}

#[test]
fn a_path_that_a_rule_names_is_read_as_it_is() {
    let dir = Dir::new();
    dir.append("own.log", "as it is\n");
    dir.append(FILE, line(1, "stdout", "not this\n"));
    let own = dir.path("own.log").to_string_lossy().into_owned();
    let rule =
        "[{source_labels: [__meta_docker_container_name], regex: /web, replacement: OWN, target_label: __path__}]";
    let mut rig = start(&dir, &rule.replace("OWN", &own), "[]");
    found(&dir, &rig);
    rig.until_lines(&["as it is"]);
    rig.stop();
}
