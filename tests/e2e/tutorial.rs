//! `docs/tutorial.md` from the first to the last step, with the files that it uses: `examples/spring-boot`, the chart,
//! the real Spring Boot program, a real API server, Loki (with the configuration of these files) and Prometheus. It
//! leaves out the parts that need a node: images, and Grafana, whose queries are run instead.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use serde_yaml::Value as Yaml;

use crate::agent::Agent;
use crate::apiserver::{Apiserver, User};
use crate::chart::{Helm, configs, example, objects};
use crate::kube::{CONTAINER, Kube, Pod};
use crate::kubectl::Kubectl;
use crate::loki::{EVERYTHING, Entry, Loki, Tenant};
use crate::panels::{DataSources, ask_dashboard};
use crate::pods::{ContainerLog, Output};
use crate::prometheus::Prometheus;
use crate::servers::free_port;
use crate::spring_boot::SpringBoot;
use crate::wait::wait_for;

const NODE: &str = "tutorial-node";
const APP: &str = "monitoring-test";
const POD: &str = "monitoring-test-pod";

/// Other pods on the node, whose lines must not be sent.
const OTHER_APP: Pod = Pod { namespace: "test", name: "other-app", labels: &[("app", "other")] };
const OTHER_NAMESPACE: Pod = Pod { namespace: "production", name: POD, labels: &[("app", APP)] };

/// The tenant in the manifest of Loki, in the data source and in fantail's values.
const LOKI: &str = "http://loki.monitoring.svc:3100";

const SELECTOR: &str = r#"{namespace="test", app="monitoring-test"}"#;

/// The tutorial's values for fantail have no path, so the agent reads the kubelet's directory, and this test writes there.
const PODS: &str = "/var/log/pods";

#[test]
fn from_an_empty_cluster_to_the_stack_trace() {
    let mut clock = Clock::start();
    let apiserver = Apiserver::start();
    let (kubectl, kube) = (Kubectl::new(&apiserver), apiserver.admin());
    clock.step("an empty cluster");

    kubectl.define(&["servicemonitors", "podmonitors", "prometheusrules"]);
    kube.create_namespace("monitoring");
    clock.step("1, Prometheus' kinds, as kube-prometheus-stack brings them");

    for file in manifests() {
        kubectl.run(&["apply", "--validate=strict", "--filename", &format!("examples/spring-boot/{file}")]);
    }
    let loki = loki();
    let tenant = loki.tenant("");
    assert_data_source();
    clock.step("2 and 3, Loki, its data source, the program's objects");

    let uid = kube.place_pod("test", POD, APP, NODE);
    let log = ContainerLog::create(Path::new(PODS), "test", POD, &uid, APP);
    let mut neighbours = neighbours(&kube);
    kube.grant_agent_role(User::Agent.name());
    let mut agent = agent(&loki, &apiserver);
    assert_notes();
    agent.start();
    clock.step("4, fantail");

    let mut program = SpringBoot::start(log);
    let prometheus = prometheus(&kube, &program);
    clock.step("5, the program, and Prometheus that asks it");

    assert_answers(&program);
    neighbours.iter_mut().for_each(|log| log.write("ERROR not for you", 3));
    assert_errors_arrive(&program, &tenant);
    clock.step("6, three errors in Loki, the stack trace as one entry");

    wait_for("the three errors are counted", Duration::from_secs(60), || {
        let expression =
            r#"sum(http_server_requests_seconds_count{application="monitoring-test", uri="/test", status="500"})"#;
        let found = prometheus.query(expression)?;
        let is_three = found.first().is_some_and(|series| series["value"][1] == "3");
        if is_three { Ok(()) } else { Err(format!("{found:?}")) }
    });
    let mut go_on = || (1..=4).for_each(|id| assert!(program.get(&format!("/test?id={id}")).is_ok(), "id {id}"));
    let data_sources = DataSources { prometheus: &prometheus, tenant: &tenant };
    let asked = ["spring-boot", "logs-of-an-app"].map(|file| ask_dashboard(data_sources, file, &mut go_on));
    clock.step(&format!("7, the dashboards: {asked:?} queries and variables, all with data"));

    // Loki must have the program's lines up to the last one, and no lines of other programs.
    program.kill();
    wait_for("all is delivered", Duration::from_secs(60), || {
        same(&as_entries(&program.log()), &tenant.entries(EVERYTHING)?)
    });
    agent.terminate();
    tenant.wait_for_entries(EVERYTHING, as_entries(&program.log()));
    clock.step("8, every line of the pod is in Loki, once, and none of any other pod");
}

/// The files that the reader passes to `kubectl apply`, and not to helm.
fn manifests() -> Vec<String> {
    let files = fs::read_dir(example("")).expect("the example is there");
    let names = files.map(|file| file.expect("the folder is read").file_name().to_string_lossy().into_owned());
    let is_manifest =
        |name: &String| fs::read_to_string(example(name)).is_ok_and(|text| text.contains("\napiVersion: "));
    let found: BTreeSet<String> = names.filter(|name| name.ends_with(".yaml")).filter(is_manifest).collect();
    let expected = ["app.yaml", "datasource.yaml", "loki.yaml", "servicemonitor.yaml"];
    assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    found.into_iter().collect()
}

fn of_example(file: &str, kind: &str) -> Yaml {
    let text = fs::read_to_string(example(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    let found = objects(&text).into_iter().find(|object| object["kind"] == kind);
    found.unwrap_or_else(|| panic!("{file}: no {kind}"))
}

/// The configuration of the example, with other ports, directories and limits for reading.
fn loki() -> Loki {
    let config = of_example("loki.yaml", "ConfigMap")["data"]["loki.yaml"].as_str().expect("a text").to_owned();
    Loki::configured(|port, dir| {
        [
            ("http_listen_port: 3100", format!("http_listen_address: 127.0.0.1\n  http_listen_port: {port}")),
            ("grpc_listen_port: 9095", format!("grpc_listen_address: 127.0.0.1\n  grpc_listen_port: {}", free_port())),
            (": /loki", format!(": {dir}/data")),
            ("limits_config:", "limits_config:\n  max_entries_limit_per_query: 1000000".to_owned()),
        ]
        .iter()
        .fold(config.clone(), |text, (from, to)| replaced(&text, from, to))
    })
}

fn assert_data_source() {
    let config_map = of_example("datasource.yaml", "ConfigMap");
    assert_eq!(config_map["metadata"]["namespace"], "monitoring", "Grafana's sidecar looks in its own namespace only");
    assert_eq!(config_map["metadata"]["labels"]["grafana_datasource"], "1");
    let text = config_map["data"]["loki.yaml"].as_str().expect("a text");
    let source: Yaml = serde_yaml::from_str(text).expect("YAML");
    let source = &source["datasources"][0];
    assert_eq!(source["isDefault"], false, "with two defaults Grafana does not start");
    assert_eq!((source["uid"].as_str(), source["url"].as_str()), (Some("loki"), Some(LOKI)));
    let service = of_example("loki.yaml", "Service");
    let [name, namespace] = ["name", "namespace"].map(|key| service["metadata"][key].as_str().expect("a text"));
    let port = service["spec"]["ports"][0]["port"].as_u64().expect("a port");
    assert_eq!(format!("http://{name}.{namespace}.svc:{port}"), LOKI);
}

/// The configuration that the chart makes of the example's values, with the paths and ports of this machine.
fn agent(loki: &Loki, apiserver: &Apiserver) -> Agent {
    let config = configs(&Helm::new().template(&example("fantail.yaml"))).remove(0);
    let agent = Agent::configured(|port, dir| {
        [
            ("http_listen_port: 3101", format!("http_listen_address: 127.0.0.1\n  http_listen_port: {port}")),
            ("/var/lib/fantail/positions.yaml", dir.join("positions.yaml").display().to_string()),
            (LOKI, format!("http://{}", loki.address())),
        ]
        .iter()
        .fold(config, |text, (from, to)| replaced(&text, from, to))
    });
    agent.in_cluster(NODE, apiserver.kubeconfig(User::Agent))
}

/// The page shows the notes of the chart.
fn assert_notes() {
    let notes = Helm::new().notes(&example("fantail.yaml"));
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tutorial.md")).expect("the page is there");
    let shown: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .skip_while(|line| !line.starts_with("DaemonSet fantail"))
        .take(4)
        .collect();
    assert_eq!(shown.len(), 4);
    assert!(notes.contains(&shown.join("\n")), "{shown:#?} is not in {notes}");
}

#[track_caller]
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not in {text}");
    text.replace(from, to)
}

/// Their logs also have lines from before the agent's start.
fn neighbours(kube: &Kube) -> [ContainerLog; 2] {
    kube.create_namespace(OTHER_NAMESPACE.namespace);
    [OTHER_APP, OTHER_NAMESPACE].map(|pod| {
        let uid = kube.run_pod(&pod, NODE);
        let mut log = ContainerLog::create(Path::new(PODS), pod.namespace, pod.name, &uid, CONTAINER);
        log.write("ERROR not for you", 3);
        log
    })
}

/// Follows the ServiceMonitor as the operator does: finds its Service by label, the port by name, and the pods by the
/// selector of the Service.
fn prometheus(kube: &Kube, program: &SpringBoot) -> Prometheus {
    let monitor = kube.get("/apis/monitoring.coreos.com/v1/namespaces/test/servicemonitors/monitoring-test");
    let service = kube.get("/api/v1/namespaces/test/services/monitoring-test");
    let pod = kube.get(&format!("/api/v1/namespaces/test/pods/{POD}"));
    assert_within(&monitor["spec"]["selector"]["matchLabels"], &service["metadata"]["labels"]);
    assert_within(&service["spec"]["selector"], &pod["metadata"]["labels"]);
    let endpoint = &monitor["spec"]["endpoints"][0];
    let port = &service["spec"]["ports"][0];
    assert!(endpoint["port"].is_string() && endpoint["port"] == port["name"], "{endpoint} asks for a port of {port}");
    let of_container = &pod["spec"]["containers"][0]["ports"][0];
    assert_eq!(port["targetPort"], of_container["name"]);
    assert_eq!(of_container["containerPort"], 8080, "Spring Boot's default");
    Prometheus::start(&format!(
        "\
scrape_configs:
  - job_name: {APP}
    metrics_path: {path}
    static_configs:
      - targets: ['{address}']
        labels: {{namespace: test, pod: {POD}, service: {APP}, container: {APP}}}
",
        path = endpoint["path"].as_str().expect("a path"),
        address = program.address(),
    ))
}

#[track_caller]
fn assert_within(selector: &Value, labels: &Value) {
    let selector = selector.as_object().expect("a selector");
    assert!(!selector.is_empty());
    for (name, value) in selector {
        assert_eq!(&labels[name], value, "{name} of {labels}");
    }
}

fn assert_answers(program: &SpringBoot) {
    for (id, status, body) in [
        (1, 500, "internal server error 1 occurred"),
        (2, 500, "internal server error 2 occurred"),
        (3, 500, "Internal Server Error"),
        (4, 200, "Success"),
    ] {
        let answer = program.get(&format!("/test?id={id}")).expect("the program answers");
        assert_eq!(answer.status, status, "id {id}: {answer:?}");
        assert!(answer.body.contains(body), "id {id}: {answer:?}");
    }
}

/// Finds the two lines of standard error and the stack trace by level, while the program runs.
fn assert_errors_arrive(program: &SpringBoot, tenant: &Tenant) {
    let by_level = |field: &str| format!(r#"{SELECTOR} | {field}="error""#);
    wait_for("the errors are in Loki", Duration::from_secs(60), || {
        let log = program.log();
        let (trace, errors) = (stack_trace(&log)?, log.written_to(Output::Stderr));
        let expected: Vec<Entry> = errors.iter().cloned().chain([trace]).collect();
        // The stages set the level as metadata. Loki derives the level that Grafana's dashboards use from it.
        ["level", "detected_level"].iter().try_for_each(|field| same(&expected, &tenant.entries(&by_level(field))?))
    });
    let errors = tenant.entries(&by_level("level")).expect("Loki answers");
    let lines: Vec<&str> = errors.iter().map(|(_, line)| line.as_str()).collect();
    for id in [1, 2] {
        let line = format!("internal server error {id} occurred");
        assert_eq!(lines.iter().filter(|found| **found == line).count(), 1, "{lines:#?}");
    }
    let traces: Vec<_> = lines.iter().filter(|line| line.contains("RuntimeException")).collect();
    let [trace] = traces[..] else { panic!("not one entry: {traces:#?}") };
    assert!(trace.contains(" ERROR ") && trace.contains("\njava.lang.RuntimeException: Unexpected Error occurred\n"));
    assert!(trace.lines().filter(|line| line.starts_with("\tat ")).count() > 30, "{trace}");
    assert!(trace.lines().last().is_some_and(|line| line.contains("java.lang.Thread.run")), "{trace}");

    let informed = tenant.entries(&format!(r#"{SELECTOR} | level="info""#)).expect("Loki answers");
    assert!(informed.iter().any(|(_, line)| line.contains("Started MonitoringTestApplication")), "{informed:?}");
    let streams = tenant.streams(SELECTOR).expect("Loki answers");
    assert_eq!(streams.len(), 2, "one stream for each output, whatever the levels");
    for stream in streams {
        let names: Vec<&str> = stream.labels.keys().map(String::as_str).collect();
        assert_eq!(names, ["app", "container", "filename", "job", "namespace", "node_name", "pod", "stream"]);
        assert_eq!((&*stream.labels["pod"], &*stream.labels["container"]), (POD, APP));
    }
}

/// A stack trace, from the line with the time to the last frame.
fn stack_trace(log: &ContainerLog) -> Result<Entry, String> {
    let found = joined(log.written_to(Output::Stdout)).into_iter().find(|(_, line)| line.contains("Unexpected Error"));
    found.ok_or_else(|| "the program has not printed it".to_owned())
}

/// All entries that the log must make.
fn as_entries(log: &ContainerLog) -> Vec<Entry> {
    let mut entries = joined(log.written_to(Output::Stdout));
    entries.extend(joined(log.written_to(Output::Stderr)));
    entries.sort();
    entries
}

/// A line with a time and the lines after it make one entry. Each line before the first time, as of the banner, is an entry.
fn joined(lines: &[Entry]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut is_begun = false;
    for (time, line) in lines {
        let begins =
            line.len() > 10 && line.as_bytes()[..4].iter().all(u8::is_ascii_digit) && line.as_bytes()[10] == b'T';
        is_begun |= begins;
        match entries.last_mut() {
            Some((_, before)) if is_begun && !begins => {
                before.push('\n');
                before.push_str(line);
            }
            _ => entries.push((*time, line.clone())),
        }
    }
    entries
}

fn same(expected: &[Entry], found: &[Entry]) -> Result<(), String> {
    let (all, seen) = (BTreeSet::from_iter(expected), BTreeSet::from_iter(found));
    if all == seen && expected.len() == found.len() {
        return Ok(());
    }
    let (missing, strange) = (all.difference(&seen).next(), seen.difference(&all).next());
    Err(format!(
        "{} expected, {} found; first missing {missing:?}, first strange {strange:?}",
        expected.len(),
        found.len()
    ))
}

/// Prints the time of each step.
struct Clock {
    begun: Instant,
    step: Instant,
}

impl Clock {
    fn start() -> Clock {
        Clock { begun: Instant::now(), step: Instant::now() }
    }

    fn step(&mut self, what: &str) {
        let (step, all) = (self.step.elapsed().as_secs_f64(), self.begun.elapsed().as_secs_f64() / 60.0);
        eprintln!("tutorial, {what}: {step:.1} s; {all:.1} minutes so far");
        self.step = Instant::now();
    }
}
