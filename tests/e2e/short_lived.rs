//! Pods that are gone within moments: the API server shows some of them briefly, and some never.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::apiserver::{Apiserver, User};
use crate::kube::{CONTAINER, Pod};
use crate::loki::{EVERYTHING, Entry, Loki};
use crate::pods::ContainerLog;
use crate::wait::wait_until;

const NAMESPACE: &str = "short-lived";
const NODE: &str = "node-short-lived";
const PODS: usize = 500;

/// The shortest lifetime of a directory. The longest one is half as long again.
const LIFE: Duration = Duration::from_millis(1_000);

const SCRAPE_CONFIGS: &str = "\
scrape_configs:
  - job_name: pods
    pipeline_stages:
      - cri: {}
    kubernetes_sd_configs:
      - role: pod
    relabel_configs:
      - source_labels: [__meta_kubernetes_namespace]
        action: keep
        regex: short-lived
      - source_labels: [__meta_kubernetes_namespace]
        target_label: namespace
      - source_labels: [__meta_kubernetes_pod_name]
        target_label: pod
      - source_labels: [__meta_kubernetes_pod_container_name]
        target_label: container
      - source_labels: [__meta_kubernetes_pod_uid]
        target_label: uid
      - source_labels: [__meta_kubernetes_pod_label_app]
        target_label: app
      - source_labels: [__meta_kubernetes_pod_uid, __meta_kubernetes_pod_container_name]
        separator: /
        target_label: __path__
        replacement: /var/log/pods/*$1/*.log
";

/// The directories of other tests belong to another node.
fn keeping(pods: &str) -> String {
    let rule = format!("- source_labels: [__meta_kubernetes_pod_name]\n        action: keep\n        regex: {pods}");
    SCRAPE_CONFIGS.replace("relabel_configs:", &format!("relabel_configs:\n      {rule}"))
}

#[test]
fn five_hundred_pods_gone_within_a_second_or_two() {
    let apiserver = Apiserver::start();
    let kube = apiserver.admin();
    kube.create_namespace(NAMESPACE);
    kube.grant_agent_role(User::Agent.name());
    // A node always has pods: the agent's own.
    let resident = Pod { namespace: NAMESPACE, name: "resident", labels: &[("app", "resident")] };
    kube.run_pod(&resident, NODE);
    let tenant = Loki::shared().tenant(NAMESPACE);
    let kubeconfig = apiserver.kubeconfig(User::Agent);
    let mut agent = Agent::new(&tenant.clients(), &keeping("short-.+")).in_cluster(NODE, kubeconfig);
    agent.start();
    wait_until("pods are watched", Duration::from_secs(30), || agent.said().contains("watching pods"));

    let root = Path::new("/var/log/pods");
    let mut alive: VecDeque<(Instant, ContainerLog)> = VecDeque::new();
    // By pod: its uid, and its lines.
    let mut written: BTreeMap<&'static str, (String, Vec<Entry>)> = BTreeMap::new();
    for n in 0..PODS {
        let name: &'static str = format!("short-{n}").leak();
        let pod = Pod { namespace: NAMESPACE, name, labels: &[("app", "short")] };
        let uid = match n % 2 {
            0 => format!("00000000-0000-4000-8000-{n:012}"),
            _ => {
                let uid = kube.run_pod(&pod, NODE);
                kube.delete_pod(&pod);
                uid
            }
        };
        let mut log = ContainerLog::create(root, NAMESPACE, name, &uid, CONTAINER);
        log.write("short", 1 + n % 3);
        written.insert(name, (uid, log.written()));
        alive.push_back((Instant::now() + LIFE + LIFE * (n % 6) as u32 / 10, log));
        alive.retain(|(until, _)| *until > Instant::now());
    }
    wait_until("the last are gone", Duration::from_secs(10), || {
        alive.retain(|(until, _)| *until > Instant::now());
        alive.is_empty()
    });

    let all: Vec<Entry> = written.values().flat_map(|(_, entries)| entries.clone()).collect();
    tenant.wait_for_entries(EVERYTHING, all.clone());
    let found = agent.metrics();
    let found = found.lines().filter(|line| line.starts_with("fantail_discovery_pods_from_path_total"));
    println!("{} lines of {PODS} pods; {}", all.len(), found.collect::<Vec<_>>().join("; "));
    agent.terminate();
    assert_eq!(tenant.count_over_time(EVERYTHING), Ok(all.len() as u64), "none is doubled");
    for stream in tenant.streams(EVERYTHING).expect("Loki answers") {
        let of = |name: &str| stream.labels.get(name).map(String::as_str);
        let pod = of("pod").expect("every stream has a pod");
        let (uid, entries) = &written[pod];
        let labels = [of("namespace"), of("container"), of("uid")];
        assert_eq!(labels, [Some(NAMESPACE), Some(CONTAINER), Some(uid.as_str())], "{pod}");
        for entry in &stream.entries {
            assert!(entries.contains(entry), "{pod}: {entry:?} is another's");
        }
    }
}

/// The agent looks a pod up in its cache, then by its directory, then in the API server, as far as these exist.
#[test]
fn an_api_server_that_is_away_for_longer_than_its_pods_live() {
    const NODE: &str = "node-short-lived-away";
    let mut apiserver = Apiserver::start();
    let kube = apiserver.admin();
    kube.create_namespace(NAMESPACE);
    kube.grant_agent_role(User::Agent.name());
    let root = Path::new("/var/log/pods");
    let run = |name: &'static str| {
        let labels = Box::leak(Box::new([("app", name)]));
        let uid = kube.run_pod(&Pod { namespace: NAMESPACE, name, labels }, NODE);
        ContainerLog::create(root, NAMESPACE, name, &uid, CONTAINER)
    };
    let tenant = Loki::shared().tenant("short-lived-away");
    let kubeconfig = apiserver.kubeconfig(User::Agent);
    let mut agent = Agent::new(&tenant.clients(), &keeping("away-.+")).in_cluster(NODE, kubeconfig);
    let mut seen = run("away-seen");
    seen.write("before", 10);
    agent.start();
    tenant.wait_for_entries(EVERYTHING, seen.written());
    agent.terminate();

    // One pod stays while no agent runs, another one starts, and the API server never shows a third one.
    let mut late = run("away-late");
    apiserver.stop();
    let mut never = ContainerLog::create(root, NAMESPACE, "away-never", "0f0f", CONTAINER);
    for log in [&mut seen, &mut late, &mut never] {
        log.write("away", 10);
    }
    let early = late.written();
    agent.start();
    wait_until("files are held open", Duration::from_secs(20), || agent.holds(&never.path()));
    let never_wrote = never.written();
    drop(never);
    let all = |seen: &ContainerLog, late: &ContainerLog| [seen.written(), late.written(), never_wrote.clone()].concat();
    tenant.wait_for_entries(EVERYTHING, all(&seen, &late));

    apiserver.start_again();
    wait_until("the API server tells more of it", Duration::from_secs(60), || {
        let page = agent.get("/targets?format=json").unwrap_or_default();
        page.split_whitespace().collect::<String>().contains(r#""app":"away-late""#)
    });
    for log in [&mut seen, &mut late] {
        log.write("shown", 10);
    }
    tenant.wait_for_entries(EVERYTHING, all(&seen, &late));
    let shown: Vec<Entry> = late.written().into_iter().filter(|entry| !early.contains(entry)).collect();
    tenant.wait_for_entries(r#"{app="away-seen"}"#, seen.written());
    tenant.wait_for_entries(r#"{app="away-late"}"#, shown);
    tenant.wait_for_entries(r#"{pod="away-late", app=""}"#, early);
    tenant.wait_for_entries(r#"{pod="away-never", namespace="short-lived", uid="0f0f"}"#, never_wrote.clone());
    agent.terminate();
    let count = all(&seen, &late).len() as u64;
    assert_eq!(tenant.count_over_time(EVERYTHING), Ok(count), "none is doubled");
}
