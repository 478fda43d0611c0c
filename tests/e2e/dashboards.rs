//! Every query of the dashboards, every variable of theirs, and every metric of the rules, asked of a real Prometheus that
//! scrapes a real agent, and of the Loki that it delivers to: each has data, with the labels that are used.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::agent::Agent;
use crate::apiserver::{Apiserver, User};
use crate::kube::{CONTAINER, Pod};
use crate::loki::{Loki, Tenant, nanoseconds};
use crate::micrometer;
use crate::pods::ContainerLog;
use crate::prometheus::Prometheus;
use crate::scratch::Scratch;
use crate::wait::wait_for;

/// The tutorial's.
const APP: Pod = Pod { namespace: "test", name: "monitoring-test-pod", labels: &[("app", "monitoring-test")] };

/// Labels that rules use and no series here has: `cluster` is there where somebody has several, and `route` is in the expression
/// of Promtail's mixin and was never a label of that metric.
const ABSENT: [&str; 2] = ["cluster", "route"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/helm/fantail/files")
}

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
        // As the operator's monitors name them; the agent's node by a relabelling.
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
            rules = root().join("rules.yaml").display(),
            agent = agent.address(),
            program = micrometer::serve("monitoring-test"),
            namespace = APP.namespace,
            pod = APP.name,
        );
        let prometheus = Prometheus::start(&configuration);
        World { prometheus, tenant, agent, log, _apiserver: apiserver, _dir: dir }
    }

    /// Lines of each kind, so that there is something to see.
    fn write(&mut self) {
        self.log.write("ERROR internal server error 1 occurred", 3);
        self.log.write("INFO a request was answered", 5);
    }
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
    world.write();
    world.agent.wait_for_metric("promtail_sent_entries_total", 7.0);
    let mut asked = 0;
    for file in ["fantail", "logs-of-an-app", "spring-boot"] {
        let path = root().join(format!("dashboards/{file}.json"));
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let dashboard: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        asked += ask_dashboard(&mut world, file, &dashboard);
    }
    let (alerts, records, selectors) = ask_rules(&world.prometheus);
    eprintln!(
        "{asked} queries and variables, {alerts} alerts with {selectors} selectors, {records} recording rules: all have data"
    );
    assert_pages_name_all(&world.agent.metrics());

    // Nothing is wrong, so nobody is woken.
    let firing = world.prometheus.query(r#"ALERTS{alertname=~"Fantail.+|Promtail.+"}"#).expect("Prometheus answers");
    assert_eq!(firing, [] as [Value; 0]);
}

/// Gives how many questions that were.
fn ask_dashboard(world: &mut World, file: &str, dashboard: &Value) -> usize {
    let mut values: BTreeMap<String, String> =
        [("__rate_interval", "10s"), ("__range", "10m"), ("__interval", "1m")].map(own).into();
    let mut asked = 0;
    for variable in list(&dashboard["templating"]["list"]) {
        let name = text(&variable["name"]);
        let value = match text(&variable["type"]) {
            "datasource" => {
                assert_eq!(variable["query"], name, "{file}: ${name} is called as what it asks");
                name.to_owned()
            }
            "textbox" => text(&variable["query"]).to_owned(),
            "custom" => text(&variable["allValue"]).to_owned(),
            "query" => {
                asked += 1;
                let found = wait_for(&format!("{file}: ${name}"), Duration::from_secs(60), || {
                    let found = ask_variable(world, variable, &values)?;
                    found.first().cloned().ok_or_else(|| "no values".into())
                });
                variable["allValue"].as_str().map_or(found, str::to_owned)
            }
            other => panic!("{file}: ${name} is of a type that nobody tests: {other}"),
        };
        values.insert(name.to_owned(), value);
    }
    for panel in list(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row") {
        let title = text(&panel["title"]);
        let targets = list(&panel["targets"]);
        assert!(!targets.is_empty(), "{file}: {title} asks nothing");
        for target in targets {
            asked += 1;
            let query = replaced(text(&target["expr"]), &values);
            let what = format!("{file}, {title}: {query}");
            let series = wait_for(&what, Duration::from_secs(60), || {
                // What is shown is how much there is a second.
                world.write();
                let series = ask_query(world, text(&target["datasource"]["uid"]), &query)?;
                if series.is_empty() { Err("no data, or nothing but NaN".into()) } else { Ok(series) }
            });
            assert_legend(&what, target["legendFormat"].as_str().unwrap_or_default(), &series);
        }
    }
    asked
}

fn ask_variable(world: &World, variable: &Value, values: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
    match text(&variable["datasource"]["uid"]) {
        "${prometheus}" => {
            let query = replaced(text(&variable["query"]["query"]), values);
            let (selector, label) = query
                .strip_prefix("label_values(")
                .and_then(|query| query.strip_suffix(')')?.rsplit_once(", "))
                .unwrap_or_else(|| panic!("a variable that nobody can ask: {query}"));
            world.prometheus.label_values(label, selector)
        }
        "${loki}" => {
            let (label, stream) =
                (text(&variable["query"]["label"]), replaced(text(&variable["query"]["stream"]), values));
            let found = world.tenant.ask(&format!("label/{label}/values"), &[("query", &stream)])?;
            Ok(list(&found).iter().map(|value| text(value).to_owned()).collect())
        }
        other => panic!("a variable of no data source: {other}"),
    }
}

/// The labels of each series that has a value.
fn ask_query(world: &World, source: &str, query: &str) -> Result<Vec<Value>, String> {
    let found = match source {
        "${prometheus}" => Value::Array(world.prometheus.query(query)?),
        "${loki}" => {
            let (now, hour) = (nanoseconds(SystemTime::now()), 3_600_000_000_000);
            let (start, end) = ((now - hour).to_string(), (now + 60_000_000_000).to_string());
            // A log query has no instant; a metric query of a panel that draws time has both.
            let instant = query.starts_with("sum") && query.ends_with("vector(0)");
            let endpoint = if instant { "query" } else { "query_range" };
            let range = [("query", query), ("start", &start), ("end", &end), ("step", "60"), ("limit", "100")];
            world.tenant.ask(endpoint, if instant { &range[..1] } else { &range })?["result"].clone()
        }
        other => panic!("a query of no data source: {other}"),
    };
    let is_number = |value: &Value| value[1].as_str().is_some_and(|number| number != "NaN");
    let has_value = |series: &&Value| match &series["stream"] {
        Value::Null => is_number(&series["value"]) || list(&series["values"]).iter().any(is_number),
        _ => !list(&series["values"]).is_empty(),
    };
    Ok(list(&found).iter().filter(has_value).map(|series| series["metric"].clone()).collect())
}

/// What a legend names, one series at least has.
#[track_caller]
fn assert_legend(what: &str, legend: &str, series: &[Value]) {
    for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
        // Promtail shows a tenant that is none as an empty label, which Prometheus takes for no label.
        let is_there = series.iter().any(|labels| labels.get(label).is_some()) || label == "tenant";
        assert!(is_there, "{what}: no series has the label {label} of the legend {legend}: {series:?}");
    }
}

/// Gives how many alerts and recording rules there are, and how many selectors the alerts have.
fn ask_rules(prometheus: &Prometheus) -> (usize, usize, usize) {
    for rule in prometheus.rules() {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let text_of_rules = fs::read_to_string(root().join("rules.yaml")).expect("rules.yaml is there");
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
            // A tenant that is none is an empty label, which is no label to Prometheus.
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

/// The metrics that an expression names, each with its matchers.
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
        // A bucket's bound is no label of what comes out.
        .filter(|label| label != "le")
        .collect()
}

/// What is on `/metrics` is in the table of `docs/prometheus.md`, with its type and its labels.
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

/// Grafana's variables, as `$name`.
#[track_caller]
fn replaced(query: &str, values: &BTreeMap<String, String>) -> String {
    let mut parts = query.split('$');
    let mut done = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let name = identifier(part);
        done += values.get(&name).unwrap_or_else(|| panic!("{query}: there is no variable ${name}"));
        done += &part[name.len()..];
    }
    done
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}
