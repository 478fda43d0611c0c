//! The Helm chart with the real helm and typical values files. The objects are compared with golden files (`UPDATE=1
//! tests/e2e/run helm` writes them), the agent checks their configuration, and a real API server accepts them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_yaml::Value;

use crate::agent::Agent;
use crate::apiserver::{Apiserver, User};
use crate::chart::{Helm, configs, data, objects, said, values};
use crate::kubectl::Kubectl;
use crate::scratch::Scratch;

/// Values whose configuration the agent refuses at present, and the reason. Remove a line when the agent supports it.
const NOT_YET: [(&str, &str); 0] = [];

/// The labels by which workloads and others select pods. **Never change them**: the selector of a workload is
/// immutable, so each upgrade would fail.
const OF_RELEASE: [(&str, &str); 2] =
    [("app.kubernetes.io/instance", "fantail"), ("app.kubernetes.io/name", "fantail")];
const COMPONENT: &str = "app.kubernetes.io/component";

#[test]
fn values_render_as_they_are_meant() {
    let helm = Helm::new();
    let mut not_yet = Vec::new();
    for (name, path) in values("values") {
        let lint = helm.run("lint", &path, &["--strict"]);
        assert!(lint.status.success(), "{name}: {}{}", String::from_utf8_lossy(&lint.stdout), said(&lint));

        let text = helm.template(&path);
        compare(&name, &text);
        let configs = configs(&text);
        assert!(!configs.is_empty(), "{name}: there is no promtail.yaml");
        for config in configs {
            match check(&config) {
                Ok(()) => {}
                Err(why) => not_yet.push((name.clone(), why)),
            }
        }
    }
    assert_eq!(not_yet.len(), NOT_YET.len(), "{not_yet:#?} are refused, of NOT_YET {NOT_YET:#?}");
    for ((name, why), (expected, key)) in not_yet.iter().zip(NOT_YET) {
        assert!(name == expected && why.contains(key), "{name} is refused, in place of {expected} for {key}: {why}");
        assert_eq!(why.lines().filter(|line| line.starts_with("Unable")).count(), 1, "{name}: one line says it: {why}");
    }
}

#[test]
fn values_that_cannot_be_meant_are_refused() {
    let helm = Helm::new();
    for (name, path) in values("refused") {
        let output = helm.run("template", &path, &[]);
        assert!(!output.status.success(), "{name}: is not refused");
        let said = said(&output);
        let file = fs::read_to_string(&path).expect("the file is read");
        let expected: Vec<&str> = file.lines().filter_map(|line| line.strip_prefix("# says: ")).collect();
        assert!(!expected.is_empty(), "{name}: the file does not tell what is said");
        for line in expected {
            assert!(said.contains(line), "{name}: `{line}` is not said: {said}");
        }
    }
}

#[test]
fn selectors_never_change() {
    let helm = Helm::new();
    for name in ["defaults", "monitoring", "syslog", "security", "autoscaling"] {
        for object in objects(&helm.template(&data().join("values").join(format!("{name}.yaml")))) {
            let kind = object["kind"].as_str().expect("an object has a kind");
            let (selector, component) = match kind {
                "DaemonSet" => (&object["spec"]["selector"]["matchLabels"], Some("node")),
                "Deployment" | "PodDisruptionBudget" => (&object["spec"]["selector"]["matchLabels"], Some("receiver")),
                "NetworkPolicy" => (&object["spec"]["podSelector"]["matchLabels"], None),
                "PodMonitor" => (&object["spec"]["selector"]["matchLabels"], None),
                "ServiceMonitor" => (&object["spec"]["selector"]["matchLabels"], Some("metrics")),
                "Service" => {
                    let receives = name == "syslog";
                    (&object["spec"]["selector"], receives.then_some("receiver"))
                }
                _ => continue,
            };
            let mut expected: Vec<(&str, &str)> = OF_RELEASE.to_vec();
            expected.extend(component.map(|component| (COMPONENT, component)));
            expected.sort_unstable();
            let mut found: Vec<(&str, &str)> = selector
                .as_mapping()
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.as_str().unwrap_or_default(), value.as_str().unwrap_or_default()))
                .collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{name}: {kind} {:?}", object["metadata"]["name"]);
        }
    }
}

/// Helm templates are evaluated and template stages are not, in all spellings.
#[test]
fn braces_of_template_stages_survive() {
    let cases = [
        ("{{ .Value }}", "{{ .Value }}"),
        ("{{ ToLower .app }}", "{{ ToLower .app }}"),
        ("{{ .Release.Name }}/{{ .Value }}", "fantail/{{ .Value }}"),
        ("{{ .Values.config.serverPort }}", "3101"),
        ("{{ .Values_ }}{{ .Release }}", "{{ .Values_ }}{{ .Release }}"),
        (r#"{{ "{{ .Value }}" }}"#, "{{ .Value }}"),
        ("{{ `{{ .Value }}` }}", "{{ .Value }}"),
        (r#"{{ "{{" }} .Value {{ "}}" }}"#, "{{ .Value }}"),
        ("{{- .Value | trunc 3 -}}", "{{- .Value | trunc 3 -}}"),
        (r#"{{ if .Values.namespace }}a{{ else }}b{{ end }}"#, "b"),
        (
            r#"{{ if eq .Value "a" }}x{{ else if .y }}z{{ end }}"#,
            r#"{{ if eq .Value "a" }}x{{ else if .y }}z{{ end }}"#,
        ),
        (r#"{{ with .Values.config }}{{ .logLevel }}, {{ .Entry }}{{ end }}"#, "info, {{ .Entry }}"),
        (r#"{{ range list "a" "b" }}{{ . }}{{ end }}"#, "ab"),
        (r#"{{ if .Values.config.enabled }}{{ .level }}{{ end }}"#, "{{ .level }}"),
        (r#"{{ with .x }}{{ . }}{{ end }}{{ .Release.Name }}"#, "{{ with .x }}{{ . }}{{ end }}fantail"),
        ("{{ $p := .Values.config.serverPort }}{{ $p }}", "3101"),
        ("{{ $v := .Value }}{{ $v }}", "{{ $v := .Value }}{{ $v }}"),
        (r#"{{ Replace .Value "include .Values" "}}" -1 }}"#, r#"{{ Replace .Value "include .Values" "}}" -1 }}"#),
        ("{{/* don't */}}{{ .Value }}", "{{ .Value }}"),
        (r#"{{ regexReplaceAll "\"(\\d+)\"" .Value "$1" }}"#, r#"{{ regexReplaceAll "\"(\\d+)\"" .Value "$1" }}"#),
        ("{{ not closed", "{{ not closed"),
        ("{{ .Value }} {{ not closed", "{{ .Value }} {{ not closed"),
        ("no braces } {", "no braces } {"),
    ];
    let stages: Vec<Value> = cases
        .iter()
        .map(|(written, _)| {
            serde_yaml::to_value([("template", written)].into_iter().collect::<std::collections::BTreeMap<_, _>>())
        })
        .collect::<Result<_, _>>()
        .expect("it is YAML");
    let stages = serde_yaml::to_string(&stages).expect("it is YAML");
    let indented: String = stages.lines().map(|line| format!("      {line}\n")).collect();
    let rendered = rendered(&format!("config:\n  snippets:\n    pipelineStages:\n{indented}"));
    let config: Value = serde_yaml::from_str(&configs(&rendered)[0]).expect("it is YAML");
    for (i, (written, expected)) in cases.iter().enumerate() {
        let found = &config["scrape_configs"][0]["pipeline_stages"][i]["template"];
        assert_eq!(found.as_str(), Some(*expected), "`{written}`");
    }
}

/// With the two `keep` rules of the tutorial, most nodes have no matching pod. `helm --wait` must end there too.
#[test]
fn an_agent_without_a_pod_to_read_is_ready() {
    let apiserver = Apiserver::start();
    let text = Helm::new().template(&data().join("values/tutorial.yaml"));
    let config = configs(&text).remove(0);
    let mut agent = Agent::configured(|port, dir| {
        let positions = dir.join("positions.yaml").display().to_string();
        let text = config.replace("/var/lib/fantail/positions.yaml", &positions);
        assert_ne!(text, config, "the chart's positions are replaced");
        text.replace("http_listen_port: 3101", &format!("http_listen_port: {port}\n  http_listen_address: 127.0.0.1"))
    })
    .in_cluster("node-without-pods", apiserver.kubeconfig(User::Admin));
    agent.start();
    assert_eq!(agent.ready(), Ok(()));
}

#[test]
fn rules_and_dashboards_are_taken_from_files() {
    let rules = "groups:\n- name: own\n  rules:\n  - alert: A\n    expr: up == 0\n    annotations: {summary: \"{{ $labels.job }}\"}\n";
    let helm = Helm::with_files(&[
        ("files/rules.yaml", rules),
        ("files/dashboards/a-test.json", "{\n  \"title\": \"{{ app }}\"\n}\n"),
    ]);
    let all = objects(&helm.template(&data().join("values/monitoring.yaml")));
    let of = |kind: &str| all.iter().filter(|object| object["kind"] == kind).collect::<Vec<_>>();
    let groups = &of("PrometheusRule")[0]["spec"]["groups"];
    let names: Vec<_> = groups.as_sequence().into_iter().flatten().map(|group| &group["name"]).collect();
    assert_eq!(names, ["own", "promtail-own"]);
    assert_eq!(groups[0]["rules"][0]["annotations"]["summary"], "{{ $labels.job }}");
    let dashboards = of("ConfigMap");
    let dashboard = dashboards.iter().find(|object| object["metadata"]["name"] == "promtail-dashboard-a-test");
    let dashboard = dashboard.expect("each file is a ConfigMap");
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(dashboard["data"]["a-test.json"], "{\n  \"title\": \"{{ app }}\"\n}\n");
}

#[test]
fn notes_say_what_was_done_and_what_was_not() {
    let helm = Helm::new();
    let cases: [(&str, &[&str]); 5] = [
        (
            "tutorial",
            &[
                "job springboot-logs: pods of the node whose namespace is test, whose pod_label_app is monitoring-test",
                "  http://fantail:3100/loki/api/v1/push",
                "belong to other charts: filebeat, fluent-bit, grafana, logstash, loki, prometheus, test_pod.",
                "rollout status daemonset/fantail",
            ],
        ),
        ("monitoring", &["`release: <its release name>`"]),
        (
            "security",
            &["PodSecurityPolicy", "sidecar.configReloader: ignored", "nodes/proxy", "  https://loki.example.com/loki"],
        ),
        (
            "scrape-configs-string",
            &["config.snippets.extraRelabelConfigs has no effect: config.snippets.scrapeConfigs"],
        ),
        ("whole-file", &["files /var/log/host/*.log", "Positions are in /run/promtail, which is empty after a reboot"]),
    ];
    for (name, lines) in cases {
        let notes = helm.notes(&data().join("values").join(format!("{name}.yaml")));
        for line in lines {
            assert!(notes.contains(line), "{name}: `{line}` is not in the notes: {notes}");
        }
        assert!(!notes.contains("secret@"), "{name}: a password is in the notes: {notes}");
    }
}

/// A parent chart passes `global` and `enabled` to all its parts.
#[test]
fn a_chart_of_others_can_have_it_as_a_part() {
    let values = "global: {storageClass: fast, imageRegistry: registry.example.com}\n\
                  promtail:\n  enabled: true\n  config: {clients: [{url: \"http://{{ .Release.Name }}:3100/x\"}]}\n";
    let dir = Scratch::new("values");
    let file = dir.join("values.yaml");
    fs::write(&file, values).expect("the values are written");
    let text = Helm::as_a_part().template(&file);
    assert!(configs(&text)[0].contains("url: http://fantail:3100/x"), "{text}");
    assert!(text.contains("registry.example.com/fantail:"), "{text}");
}

#[test]
fn an_api_server_takes_what_is_rendered() {
    let apiserver = Apiserver::start();
    let kubectl = Kubectl::new(&apiserver);
    let helm = Helm::new();
    let monitoring = data().join("values/monitoring.yaml");
    let install = |values: &Path| {
        let kubeconfig = kubectl.kubeconfig().to_string_lossy();
        helm.run("install", values, &["--dry-run=server", "--kubeconfig", &kubeconfig])
    };
    apiserver.admin().create_namespace("logging");

    // Without the operator, the chart names the missing kinds, before the API server refuses them with its own message.
    let refused = install(&monitoring);
    assert!(!refused.status.success(), "ServiceMonitor is not known there");
    let why = said(&refused);
    assert!(why.contains("serviceMonitor.enabled needs the API monitoring.coreos.com/v1"), "{why}");

    kubectl.define(&["servicemonitors", "podmonitors", "prometheusrules"]);

    let scratch = Scratch::new("rendered");
    let mut kinds = BTreeSet::new();
    for (name, path) in values("values") {
        // The kind of the vertical pod autoscaler is in no Go module that the tests can build.
        let all: Vec<Value> = objects(&helm.template(&path))
            .into_iter()
            .filter(|object| object["kind"] != "VerticalPodAutoscaler")
            .collect();
        let file = scratch.join(format!("{name}.yaml"));
        let text: Vec<String> = all.iter().map(|object| serde_yaml::to_string(object).expect("it is YAML")).collect();
        fs::write(&file, text.join("---\n")).expect("the objects are written");
        // Strict validation: a field with a wrong name is an error, and not ignored.
        let file = file.display().to_string();
        let strict = ["--dry-run=server", "--validate=strict", "--namespace=logging"];
        let taken = kubectl.run(&[&["apply", "--filename", &file], &strict[..]].concat());
        assert_eq!(taken.lines().count(), all.len(), "{name}: {taken}");
        kinds.extend(all.iter().filter_map(|object| object["kind"].as_str().map(str::to_owned)));
    }
    for kind in
        ["DaemonSet", "Deployment", "ServiceMonitor", "PodMonitor", "PrometheusRule", "NetworkPolicy", "Ingress"]
    {
        assert!(kinds.contains(kind), "no values file makes a {kind}: {kinds:?}");
    }

    let taken = install(&monitoring);
    assert!(taken.status.success(), "{}", said(&taken));
}

fn compare(name: &str, text: &str) {
    // Rules and dashboards have their own tests, and are large.
    let kept: Vec<&str> = text
        .split_inclusive("\n---\n")
        .filter(|document| !document.contains("kind: PrometheusRule") && !document.contains("grafana_dashboard:"))
        .collect();
    let text = kept.concat();
    let path = data().join("golden").join(format!("{name}.yaml"));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let difference = text.lines().zip(golden.lines()).enumerate().find(|(_, (now, before))| now != before);
    let again = "is it meant? UPDATE=1 tests/e2e/run helm";
    if let Some((line, (now, before))) = difference {
        panic!("{} line {}: `{now}` and not `{before}`; {again}", path.display(), line + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "{}: {again}", path.display());
}

/// The output of the agent for a configuration.
fn check(config: &str) -> Result<(), String> {
    let dir = Scratch::new("check");
    let file = dir.join("promtail.yaml");
    fs::write(&file, config).expect("the configuration is written");
    let output = Command::new(env!("CARGO_BIN_EXE_fantail"))
        .args(["-check-syntax", "-config.expand-env=true"])
        .arg(format!("-config.file={}", file.display()))
        .envs([("HOSTNAME", "node"), ("LOKI_USER", "user"), ("LOKI_PASSWORD", "password")])
        .output()
        .expect("the binary runs");
    if output.status.success() { Ok(()) } else { Err(said(&output)) }
}

fn rendered(values: &str) -> String {
    let dir = Scratch::new("values");
    let file = dir.join("values.yaml");
    fs::write(&file, values).expect("the values are written");
    Helm::new().template(&file)
}
