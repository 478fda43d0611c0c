//! Counts the requests of one node to the API server and to Loki. `docs/scale.md` has the numbers.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use crate::agent::{Agent, sum, sum_where};
use crate::apiserver::{Apiserver, User};
use crate::kube::{CONTAINER, Kube, Pod};
use crate::load::Load;
use crate::loki::Loki;
use crate::pods::{ContainerLog, Habits};
use crate::scratch::Scratch;
use crate::wait::wait_until;

const PODS: usize = 100;
const NODE: &str = "node-scale";

/// How long requests are counted. The API server ends a watch after two minutes, and the agent renews it.
const COUNTED: Duration = Duration::from_secs(20);

/// Each log gets ten lines of a hundred bytes per second.
const RATE: u64 = 1_000;

#[test]
fn one_node_of_a_hundred_pods_asks_little() {
    let apiserver = Apiserver::start();
    let kube = apiserver.admin();
    kube.create_namespace("test");
    kube.grant_agent_role(User::Agent.name());
    let root = Scratch::new("pods");
    let habits = Habits { line: 100, stderr: false, parts: false, rotate_at: 10 << 20 };
    let pods: Vec<Pod> = (0..PODS)
        .map(|n| Pod { namespace: "test", name: format!("pod-{n:03}").leak(), labels: &[("app", "scale")] })
        .collect();
    let logs: Vec<ContainerLog> = pods
        .iter()
        .map(|pod| {
            let uid = kube.run_pod(pod, NODE);
            ContainerLog::create(&root, pod.namespace, pod.name, &uid, CONTAINER).with_habits(habits)
        })
        .collect();

    let tenant = Loki::shared().tenant("scale");
    let scrape_configs = format!(
        "scrape_configs:
  - job_name: pods
    kubernetes_sd_configs: [{{role: pod}}]
    pipeline_stages: [{{cri: {{}}}}]
    relabel_configs:
      - {{source_labels: [__meta_kubernetes_namespace], target_label: namespace}}
      - {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}
      - source_labels: [__meta_kubernetes_pod_uid, __meta_kubernetes_pod_container_name]
        separator: /
        target_label: __path__
        replacement: {}/*$1/*.log
",
        root.display()
    );
    let mut agent = Agent::new(&tenant.clients(), &scrape_configs).in_cluster(NODE, apiserver.kubeconfig(User::Agent));
    // The API server's own controllers make requests as well.
    let before = ApiServer::of(&kube);
    agent.start();
    let load = Load::start(logs, RATE);
    wait_until("all pods are read", Duration::from_secs(60), || {
        agent.sum("promtail_files_active_total") == PODS as f64 && agent.sum("fantail_delivered_lines_total") > 2_000.0
    });

    let (api, own, begun) = (ApiServer::of(&kube), Own::of(&agent), Instant::now());
    let mut connections = BTreeSet::new();
    wait_until("it is counted", COUNTED + Duration::from_secs(10), || {
        connections.insert(agent.connections(Loki::shared().address()));
        begun.elapsed() >= COUNTED
    });
    let (api_after, own_after, seconds) = (ApiServer::of(&kube), Own::of(&agent), begun.elapsed().as_secs_f64());

    // The agent makes one list at its start and one watch that stays, and no other request.
    let (lists, watches) = (api_after.lists - before.lists, api_after.watches - before.watches);
    assert_eq!((lists, watches), (1.0, 1.0), "lists, watches");
    assert_eq!(api_after.requests, api.requests, "nothing is asked for in {seconds:.0} s");
    let per_second = |of: fn(&Own) -> f64| (of(&own_after) - of(&own)) / seconds;
    let (pushes, lines, bytes) = (per_second(|o| o.pushes), per_second(|o| o.lines), per_second(|o| o.bytes));
    println!(
        "{PODS} pods: the list has {:.0} bytes; {lines:.0} lines/s in {pushes:.1} pushes/s of {:.0} bytes each, \
         {:?} connections to Loki",
        api_after.listed - before.listed,
        bytes / pushes,
        connections
    );
    let streams = tenant.streams(r#"{namespace="test"}"#).expect("Loki answers").len();
    assert_eq!(streams, PODS, "one for each log");
    assert!(lines > 500.0, "{lines} lines/s");
    // The streams of one tenant share a push; `batchwait` is one second.
    assert!(pushes < 5.0, "{pushes} pushes/s");
    assert!(connections.iter().all(|open| *open <= 4), "{connections:?} connections");
    load.stop();
    agent.terminate();
}

/// Counts from the metrics of the API server.
pub(crate) struct ApiServer {
    pub(crate) lists: f64,
    /// Open watches.
    pub(crate) watches: f64,
    /// Ended requests for pods.
    requests: f64,
    /// Bytes of all lists.
    listed: f64,
}

impl ApiServer {
    pub(crate) fn of(kube: &Kube) -> Self {
        let metrics = kube.metrics();
        let of_pods = |name: &str, more: &[&str]| {
            sum_where(&metrics, name, &[&["resource=\"pods\"", "scope=\"cluster\""], more].concat())
        };
        Self {
            lists: of_pods("apiserver_request_total", &["verb=\"LIST\""]),
            watches: of_pods("apiserver_longrunning_requests", &["verb=\"WATCH\""]),
            requests: of_pods("apiserver_request_total", &[]),
            listed: of_pods("apiserver_response_sizes_sum", &["verb=\"LIST\""]),
        }
    }
}

/// Counts from the metrics of the agent.
struct Own {
    pushes: f64,
    lines: f64,
    bytes: f64,
}

impl Own {
    fn of(agent: &Agent) -> Self {
        let metrics = agent.metrics();
        Self {
            pushes: sum(&metrics, "promtail_request_duration_seconds_count"),
            lines: sum(&metrics, "fantail_delivered_lines_total"),
            bytes: sum(&metrics, "promtail_encoded_bytes_total"),
        }
    }
}

impl Agent {
    /// The number of its TCP connections to this local address.
    fn connections(&self, address: &str) -> usize {
        let port: u16 = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("an address has a port");
        let mine: BTreeSet<String> = fs::read_dir(format!("/proc/{}/fd", self.id()))
            .expect("the agent runs")
            .flatten()
            .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
            .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
            .collect();
        let table = fs::read_to_string("/proc/net/tcp").expect("Linux has it");
        let remote = format!(":{port:04X}");
        let established = |line: &&str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.len() > 9 && fields[2].ends_with(&remote) && fields[3] == "01" && mine.contains(fields[9])
        };
        table.lines().filter(established).count()
    }
}
