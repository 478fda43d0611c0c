//! Runs all queries and variables of the dashboards, and looks up all metrics of the rules, in a real Prometheus that
//! scrapes a real agent, and in the Loki that it delivers to. Each must return data with the used labels.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;

use crate::agent::Agent;
use crate::apiserver::{Apiserver, User};
use crate::kube::{CONTAINER, Pod};
use crate::loki::{Loki, Tenant};
use crate::micrometer;
use crate::panels::{DataSources, ask_dashboard, files, identifier, list, text};
use crate::pods::ContainerLog;
use crate::prometheus::Prometheus;
use crate::scratch::Scratch;
use crate::wait::wait_for;

/// The pod of the tutorial.
const APP: Pod = Pod { namespace: "test", name: "monitoring-test-pod", labels: &[("app", "monitoring-test")] };

/// Labels that rules use although no series here has them: `cluster` exists in installations with several clusters, and
/// `route` is in an expression of Promtail's mixin, but was never a label of that metric.
const ABSENT: [&str; 2] = ["cluster", "route"];

/// One agent on one node, which reads a pod's log by discovery, a file by `file_sd_configs` and one by a static config.
struct World {
    prometheus: Prometheus,
    tenant: Tenant,
    agent: Agent,
    log: ContainerLog,
    _apiserver: Apiserver,
    _dir: Scratch,
}

impl World {
    fn start() -> World {
        let (dir, apiserver) = (Scratch::new("node"), Apiserver::start());
        let kube = apiserver.admin();
        kube.create_namespace(APP.namespace);
        kube.grant_agent_role(User::Agent.name());
        let uid = kube.run_pod(&APP, "node-1");
        let log = ContainerLog::create(&dir.join("pods"), APP.namespace, APP.name, &uid, CONTAINER);
        let tenant = Loki::shared().tenant("dashboards");
        let mut agent = Agent::new(&tenant.clients(), &scrape_configs(&dir))
            .in_cluster("node-1", apiserver.kubeconfig(User::Agent));
        agent.start();
        // The names are those that the operator's monitors set; relabelling sets the node of the agent.
        let configuration = format!(
            "\
rule_files: ['{rules}']
scrape_configs:
  - job_name: agents
    static_configs:
      - targets: ['{agent}']
        labels: {{job: logging/fantail, namespace: logging, pod: fantail-x7k2p, container: fantail, node: node-1}}
  - job_name: programs
    metrics_path: /actuator/prometheus
    static_configs:
      - targets: ['127.0.0.1:{program}']
        labels: {{job: monitoring-test, namespace: {namespace}, pod: {pod}, service: monitoring-test}}
",
            rules = files().join("rules.yaml").display(),
            agent = agent.address(),
            program = micrometer::serve("monitoring-test"),
            namespace = APP.namespace,
            pod = APP.name,
        );
        let prometheus = Prometheus::start(&configuration);
        World { prometheus, tenant, agent, log, _apiserver: apiserver, _dir: dir }
    }
}

/// Writes lines of each kind, so that the queries return data.
fn write(log: &mut ContainerLog) {
    log.write("ERROR internal server error 1 occurred", 3);
    log.write("INFO a request was answered", 5);
}

fn scrape_configs(dir: &Path) -> String {
    let (plain, listed) = (dir.join("plain.log"), dir.join("listed.log"));
    fs::write(&plain, "one\n").and_then(|()| fs::write(&listed, "two\n")).expect("the logs are written");
    let groups = format!("- targets: [localhost]\n  labels: {{job: listed, __path__: '{}'}}\n", listed.display());
    fs::write(dir.join("groups.yaml"), groups).expect("the groups are written");
    let dir = dir.display();
    format!(
        "\
scrape_configs:
  - job_name: pods
    pipeline_stages:
      - cri: {{}}
    kubernetes_sd_configs:
      - role: pod
    relabel_configs:
      - source_labels: [__meta_kubernetes_namespace]
        target_label: namespace
      - source_labels: [__meta_kubernetes_pod_name]
        target_label: pod
      - source_labels: [__meta_kubernetes_pod_container_name]
        target_label: container
      - source_labels: [__meta_kubernetes_pod_label_app]
        target_label: app
      - source_labels: [__meta_kubernetes_pod_uid, __meta_kubernetes_pod_container_name]
        separator: /
        target_label: __path__
        replacement: {dir}/pods/*$1/*.log
  - job_name: listed
    file_sd_configs:
      - files: ['{dir}/groups.yaml']
  - job_name: plain
    static_configs:
      - targets: [localhost]
        labels: {{job: plain, __path__: {dir}/plain.log}}
"
    )
}

#[test]
fn every_query_variable_and_rule_has_data() {
    let mut world = World::start();
    write(&mut world.log);
    world.agent.wait_for_metric("promtail_sent_entries_total", 7.0);
    let mut asked = 0;
    let World { prometheus, tenant, log, .. } = &mut world;
    for file in ["fantail", "logs-of-an-app", "spring-boot"] {
        asked += ask_dashboard(DataSources { prometheus, tenant }, file, &mut || write(log));
    }
    let (alerts, records, selectors) = ask_rules(&world.prometheus);
    eprintln!(
        "{asked} queries and variables, {alerts} alerts with {selectors} selectors, {records} recording rules: all have data"
    );
    assert_pages_name_all(&world.agent.metrics());

    // There is no fault, so no alert may fire.
    let firing = world.prometheus.query(r#"ALERTS{alertname=~"Fantail.+|Promtail.+"}"#).expect("Prometheus answers");
    assert_eq!(firing, [] as [Value; 0]);
}

/// Returns the number of alerts and recording rules, and the number of selectors in the alerts.
fn ask_rules(prometheus: &Prometheus) -> (usize, usize, usize) {
    for rule in prometheus.rules() {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let text_of_rules = fs::read_to_string(files().join("rules.yaml")).expect("rules.yaml is there");
    let file: Value = serde_yaml::from_str(&text_of_rules).expect("YAML");
    let (mut alerts, mut records, mut asked) = (0, 0, 0);
    for rule in list(&file["groups"]).iter().flat_map(|group| list(&group["rules"])) {
        let expression = text(&rule["expr"]);
        let mut labels = BTreeSet::new();
        let selectors = selectors(expression);
        assert!(!selectors.is_empty(), "{expression}: a rule about nothing");
        for selector in selectors {
            asked += 1;
            let found = wait_for(&selector, Duration::from_secs(60), || {
                let found = prometheus.query(&selector)?;
                if found.is_empty() { Err("no such series".into()) } else { Ok(found) }
            });
            labels.extend(found.iter().filter_map(|one| one["metric"].as_object()).flat_map(|one| one.keys().cloned()));
        }
        let annotations = rule["annotations"].to_string();
        let mut used = grouped(expression);
        used.extend(annotations.split("$labels.").skip(1).map(identifier));
        for label in used.iter().filter(|label| !ABSENT.contains(&label.as_str())) {
            // An entry without a tenant has an empty label, which Prometheus treats as no label.
            assert!(labels.contains(label) || label == "tenant", "{expression}: there is no label {label}: {labels:?}");
        }
        assert!(ABSENT.iter().all(|label| !labels.contains(*label)), "{labels:?}: no exception any more");
        match rule["record"].as_str() {
            None => alerts += 1,
            Some(name) => {
                records += 1;
                wait_for(name, Duration::from_secs(60), || {
                    let found = prometheus.query(name)?;
                    if found.is_empty() { Err("no series".into()) } else { Ok(()) }
                });
            }
        }
    }
    (alerts, records, asked)
}

/// The metrics in an expression, each with its matchers.
fn selectors(expression: &str) -> BTreeSet<String> {
    static SELECTOR: LazyLock<regex::Regex> = LazyLock::new(|| {
        let names = r"\b(?:up\b|(?:fantail|promtail|process|job)_[a-zA-Z0-9_]+[a-zA-Z0-9_:]*)(?:\{[^}]*\})?";
        regex::Regex::new(names).expect("it parses")
    });
    let found = SELECTOR.find_iter(expression).map(|found| found.as_str().to_owned());
    found.filter(|name| !name.starts_with("job_name")).collect()
}

/// The labels behind each `on`, `by`, `without` and `ignoring`.
fn grouped(expression: &str) -> BTreeSet<String> {
    let words = [" on (", " by (", " without (", " ignoring ("];
    let groups = words.iter().flat_map(|word| expression.split(word).skip(1));
    groups
        .filter_map(|rest| rest.split(')').next())
        .flat_map(|group| group.split(", ").map(str::to_owned))
        // The result of `histogram_quantile` has no label `le`.
        .filter(|label| label != "le")
        .collect()
}

/// Checks that each metric on `/metrics` is in the table of `docs/prometheus.md`, with its type and its labels.
fn assert_pages_name_all(metrics: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/prometheus.md");
    let page = fs::read_to_string(page).expect("docs/prometheus.md is there");
    static LABEL: LazyLock<regex::Regex> =
        LazyLock::new(|| regex::Regex::new(r#"(?:^|",)([a-zA-Z_]+)=""#).expect("it parses"));
    let mut types = BTreeMap::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        types.insert(name, kind);
    }
    for (name, kind) in &types {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/prometheus.md does not name {name}"));
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[2], *kind, "docs/prometheus.md: the type of {name}");
        let series = metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
        for label in series.flat_map(|labels| LABEL.captures_iter(labels)).map(|label| label[1].to_owned()) {
            assert!(cells[3].contains(&format!("`{label}`")), "docs/prometheus.md: {name} has the label {label}");
        }
    }
}
