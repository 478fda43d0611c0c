//! The most common reasons that a pod's lines are not in Loki: for each, the explanation names it.

use std::fs;

use super::*;
use crate::config::Request;
use crate::model::AccountReport;

/// 2026-11-27 12:00 UTC.
const NOW: i64 = 1_795_780_800 * 1_000_000_000;

fn config(jobs: &str) -> (Config, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let text = format!("scrape_configs:\n{}", jobs.replace("DIR", &directory.path().display().to_string()));
    let file = directory.path().join("promtail.yaml");
    fs::write(&file, text).expect("written");
    let request = Request { files: file.display().to_string(), dry_run: true, ..Request::default() };
    (Config::load(&request, &|_| None).unwrap_or_else(|e| panic!("{e}")).config, directory)
}

const LOOK: Files<'static> = Files::Look { positions: &[], links: &[] };

fn around<'a>(found: Vec<Found>, files: Files<'a>) -> Around<'a> {
    Around { hostname: "node-1", node: "node-1", found, files, now: NOW }
}

/// The text of an explanation.
fn answer(jobs: &str, about: &str, lines: &[&str], known: Option<&Known>) -> String {
    let (config, directory) = config(jobs);
    let about = about.replace("DIR", &directory.path().display().to_string());
    for (name, text) in [("app.log", "one\ntwo\n"), ("other.log", "")] {
        fs::write(directory.path().join(name), text).expect("written");
    }
    let found = config.scrape_configs.iter().flat_map(|job| {
        job.static_configs.iter().map(|config| Found {
            job: job.job_name.clone(),
            source: "static_configs[0]/static".into(),
            labels: config.labels.clone(),
        })
    });
    let question = Question {
        about: question(&about.split_whitespace().map(String::from).collect::<Vec<_>>()).expect("a question"),
        job: None,
        lines: lines.iter().map(|line| line.to_string()).collect(),
    };
    let files = known.map_or(LOOK, Files::Known);
    let explanation = explain(&config, &question, &around(found.collect(), files)).expect("an answer");
    // A page gets it as JSON, and makes the same text of it.
    let json = serde_json::to_string(&explanation).expect("JSON");
    assert_eq!(serde_json::from_str::<Explanation>(&json).expect("the same"), explanation);
    text(&explanation, Paint::Plain).replace(&directory.path().display().to_string(), "DIR")
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

const PODS: &str = "
  - job_name: pods
    kubernetes_sd_configs: [{role: pod}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_namespace], action: keep, regex: shop}
      - {source_labels: [__meta_kubernetes_pod_label_app], action: keep, regex: web}
      - {source_labels: [__meta_kubernetes_pod_container_port_number], action: keep, regex: '8080'}
      - {source_labels: [__meta_kubernetes_pod_node_name], target_label: __host__}
      - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
      - {target_label: __path__, replacement: DIR/app.log}
    pipeline_stages:
      - drop: {expression: healthz, drop_counter_reason: probe}
      - regex: {expression: '^t=(?P<t>\\d+)'}
      - timestamp: {source: t, format: Unix}
";

const POD: &str = "__meta_kubernetes_namespace=shop,__meta_kubernetes_pod_label_app=web,\
                   __meta_kubernetes_pod_container_port_number=8080,__meta_kubernetes_pod_node_name=node-1";

#[test]
fn the_namespace_rule() {
    let text = answer(PODS, &POD.replace("namespace=shop", "namespace=test"), &[], None);
    says(
        &text,
        &[
            "rule 0: keep if [__meta_kubernetes_namespace] matches \"shop\"  -> drops the target",
            "read __meta_kubernetes_namespace = test",
            "not read: rule 0: keep",
        ],
    );
    assert!(!text.contains("rule 1"), "later rules do not run: {text}");
}

#[test]
fn the_app_rule() {
    let text = answer(PODS, &POD.replace("app=web", "app=api"), &[], None);
    says(&text, &["rule 0: keep if", "changes nothing", "not read: rule 1: keep", "label_app = api"]);
}

#[test]
fn no_container_port() {
    let text = answer(PODS, &POD.replace("port_number=8080", "port_number="), &[], None);
    says(&text, &["not read: rule 2: keep", "read __meta_kubernetes_pod_container_port_number = (missing or empty)"]);
}

#[test]
fn the_wrong_node() {
    let text = answer(PODS, &POD.replace("node-1", "node-2"), &[], None);
    says(
        &text,
        &[
            "label __host__ = node-2",
            "not read: __host__ is \"node-2\", this host is \"node-1\"",
            "the pod is on node \"node-2\", and this agent discovers only pods of its own node, \"node-1\"",
        ],
    );
    let text = answer(PODS, "pod shop/web-0", &[], None);
    says(&text, &["no target of the pod shop/web-0", "only pods of its own node, here \"node-1\""]);
}

#[test]
fn the_wrong_path() {
    let jobs = "
  - job_name: typo
    static_configs: [{labels: {__path__: 'DIR/lgos/*.log'}}]
  - job_name: key
    static_configs: [{labels: {__path_: 'DIR/*.log'}}]
";
    let text = answer(jobs, "", &[], None);
    says(&text, &["no file is read: there is no directory DIR/lgos", "did you mean __path__ instead of __path_?"]);
    let text = answer(jobs, "DIR/app.log", &[], None);
    says(&text, &["DIR/app.log matches no __path__ of a target. Paths of the targets: DIR/lgos/*.log"]);
}

#[test]
fn a_file_that_cannot_be_read() {
    let known = Known {
        files: vec![FileReport {
            path: "/logs/app.log".into(),
            client: "loki".into(),
            read_offset: 0,
            committed_offset: 0,
            size: 9,
            lag_bytes: 9,
            unacknowledged_bytes: 0,
            generations: 1,
            account: AccountReport::default(),
            error: Some("permission denied: give the agent's user permission to read it".into()),
            ..FileReport::default()
        }],
        clients: Vec::new(),
    };
    let jobs = "\n  - {job_name: a, static_configs: [{labels: {__path__: /logs/*.log}}]}\n";
    says(&answer(jobs, "/logs/app.log", &[], Some(&known)), &["9 bytes behind", "not read: permission denied"]);
    let jobs = "
  - {job_name: a, static_configs: [{labels: {__path__: 'DIR/*.log', __path_exclude__: 'DIR/other*'}}]}
";
    says(&answer(jobs, "DIR/gone.log", &[], None), &["file DIR/gone.log", "not read: there is no such file"]);
    says(&answer(jobs, "DIR/other.log", &[], None), &["not read: excluded by __path_exclude__"]);
}

#[test]
fn a_stage_that_drops() {
    let text = answer(PODS, POD, &["GET /healthz"], None);
    says(&text, &["line GET /healthz", "pipeline_stages[0].drop  -> drops the line, reason probe"]);
    assert!(!text.contains("  entry"), "{text}");
}

#[test]
fn the_rate_limit() {
    let jobs = "
  - job_name: a
    static_configs: [{labels: {__path__: DIR/app.log, app: a}}]
    pipeline_stages: [{limit: {rate: 1, burst: 1, drop: true}}]
";
    let text = answer(jobs, "DIR/app.log", &[], None);
    says(&text, &["last lines of DIR/app.log", "pipeline_stages[0].limit  -> drops the line, reason ratelimit"]);
    assert_eq!(text.matches("    entry").count(), 1, "the first line passes: {text}");
}

#[test]
fn too_old() {
    let text = answer(PODS, POD, &["t=1700000000 old", "t=1795780000 new", "t=1800000000 future"], None);
    says(&text, &["warning: the entry is 1108 days old: Loki refuses entries older than reject_old_samples_max_age"]);
    says(&text, &["warning: the time is in the future"]);
    assert_eq!(text.matches("warning:").count(), 2, "{text}");
}

#[test]
fn loki_refuses() {
    let client = ExplainedClient {
        name: "loki".into(),
        url: "http://loki:3100/loki/api/v1/push".into(),
        state: "failing for 5m: status 429, ingestion rate limit exceeded".into(),
        last_error: Some("entries discarded: timestamp too old".into()),
    };
    let mut file = FileReport {
        path: "/logs/app.log".into(),
        client: "loki".into(),
        read_offset: 5,
        committed_offset: 5,
        size: 9,
        lag_bytes: 4,
        unacknowledged_bytes: 0,
        generations: 1,
        account: AccountReport::default(),
        error: None,
        ..FileReport::default()
    };
    let weight = crate::model::Weight { lines: 3, bytes: 30 };
    file.account.discarded.insert("greater_than_max_sample_age".into(), weight);
    let known = Known { files: vec![file], clients: vec![client] };
    let jobs = "\n  - {job_name: a, static_configs: [{labels: {__path__: /logs/*.log}}]}\n";
    says(
        &answer(jobs, "", &[], Some(&known)),
        &[
            "file /logs/app.log, 9 bytes, acknowledged up to 5, 4 bytes behind, client loki",
            "3 lines dropped: greater_than_max_sample_age",
            "client loki (http://loki:3100/loki/api/v1/push): failing for 5m: status 429",
            "last error: entries discarded: timestamp too old",
        ],
    );
}

#[test]
fn all_is_well() {
    let text = answer(PODS, POD, &["t=1795780000 hello"], None);
    says(
        &text,
        &[
            "kept, with the labels\n    namespace = shop\n",
            "path DIR/app.log",
            "file DIR/app.log, 8 bytes, no position yet",
            "extracted t = 1795780000",
            "entry\n      time     2026-11-27T11:46:40.000000000Z\n",
            "labels   {filename=\"DIR/app.log\", namespace=\"shop\"}",
        ],
    );
}

#[test]
fn a_terminal_gets_no_control_characters_of_others() {
    let text = answer(PODS, POD, &["a\u{1b}[2Jb"], None);
    assert!(!text.contains('\u{1b}') && text.contains(r"a\u{1b}[2Jb"), "{text}");
}

#[test]
fn annotations_are_hidden() {
    let name = "__meta_kubernetes_pod_annotation_x";
    let (config, _directory) = config(&format!(
        "\n  - job_name: a\n    kubernetes_sd_configs: [{{role: pod}}]\n    relabel_configs: [{{source_labels: [{name}], action: keep, regex: y}}, {{action: labeldrop, regex: {name}}}]\n"
    ));
    let labels = |value: &str| Labels::from([(name.to_string(), value.to_string())]);
    for value in ["hunter2", "y"] {
        let question = Question { about: About::Labels(labels(value)), ..Question::default() };
        let mut explanation = explain(&config, &question, &around(Vec::new(), LOOK)).expect("an answer");
        hide(&mut explanation);
        let text = text(&explanation, Paint::Plain);
        says(&text, &[name, "hidden"]);
        assert!(!text.contains(&format!("= {value}")) && !text.contains(&format!("was {value}")), "{text}");
    }
}

/// Lines that are not in files have labels and no path.
const OTHERS: &str = "
  - job_name: dock
    docker_sd_configs: [{host: 'unix:///none'}]
    relabel_configs:
      - {source_labels: [__meta_docker_container_name], regex: /noise, action: drop}
      - {source_labels: [__meta_docker_container_name], regex: /(.*), target_label: container}
    pipeline_stages: [static_labels: {stage: dock}]
  - job_name: units
    journal: {labels: {job: journal}}
    relabel_configs: [{source_labels: [__journal__systemd_unit], target_label: unit}]
    pipeline_stages: [static_labels: {stage: units}]
  - job_name: sys
    syslog: {listen_address: '127.0.0.1:1514', labels: {job: syslog}}
    relabel_configs: [{source_labels: [__syslog_message_hostname], target_label: host}]
    pipeline_stages: [static_labels: {stage: sys}]
  - job_name: push
    loki_push_api: {server: {http_listen_port: 3500}, labels: {from: push}}
    relabel_configs: [{action: labeldrop, regex: from}]
    pipeline_stages: [static_labels: {stage: push}]
";

fn of_job(job: &str, about: About) -> String {
    let (config, _directory) = config(OTHERS);
    let question = Question { about, job: Some(job.into()), lines: vec!["x".into()] };
    text(&explain(&config, &question, &around(Vec::new(), LOOK)).expect("an answer"), Paint::Plain)
}

#[test]
fn what_is_read_from_no_file_needs_no_path() {
    for (job, label, want) in [
        ("dock", "__meta_docker_container_name=/web", r#"labels   {container="web", stage="dock"}"#),
        ("units", "__journal__systemd_unit=a.service", r#"labels   {job="journal", stage="units", unit="a.service"}"#),
        ("sys", "__syslog_message_hostname=h", r#"labels   {host="h", job="syslog", stage="sys"}"#),
        ("push", "from=sender,app=a", r#"labels   {app="a", stage="push"}"#),
        ("push", "from=sender", r#"labels   {job="push", stage="push"}"#),
    ] {
        let labels = question(&[label.into()]).expect("labels");
        let text = of_job(job, labels);
        says(&text, &[want, "pipeline_stages[0].static_labels"]);
        assert!(!text.contains("__path__"), "{text}");
    }
    let noise = of_job("dock", question(&["__meta_docker_container_name=/noise".into()]).expect("labels"));
    says(&noise, &["not read: rule 0: drop"]);
}

#[test]
fn what_is_not_discovered_is_explained_without_labels_too() {
    for (job, source, want) in [
        ("units", "journal", r#"labels   {job="journal", stage="units"}"#),
        ("sys", "syslog tcp 127.0.0.1:1514", r#"labels   {job="syslog", stage="sys"}"#),
        ("push", "push http", r#"labels   {job="push", stage="push"}"#),
    ] {
        let text = of_job(job, About::All);
        says(&text, &[&format!("job {job}, target from {source}"), want]);
        assert!(!text.contains("discovery has found no target"), "{text}");
    }
    // What Docker runs is known only to Docker.
    says(&of_job("dock", About::All), &["discovery has found no target"]);
}
