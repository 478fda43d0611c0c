//! An API server that is down, does not know the watch's version any more, or refuses requests.

use std::env;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::agent::{Agent, sum_where};
use crate::apiserver::{Apiserver, User};
use crate::faults::{clients, written};
use crate::kube::CONTAINER;
use crate::link::Link;
use crate::loki::{EVERYTHING, Loki};
use crate::node::{NAMESPACE, Node};
use crate::pods::ContainerLog;
use crate::scratch::Scratch;
use crate::verdict::{self, Written};
use crate::wait::wait_until;

/// The number of seconds for which the API server is down, unless the environment sets another.
const AWAY: Duration = Duration::from_secs(25);

/// The longest pause between two attempts.
const PAUSE: Duration = Duration::from_secs(30);

fn errors(agent: &Agent, reason: &str) -> f64 {
    let reason = format!("reason=\"{reason}\"");
    sum_where(&agent.metrics(), "fantail_kubernetes_watch_errors_total", &[&reason])
}

/// The condition of the alert FantailDiscoveryFailing.
fn is_failing(agent: &Agent) -> bool {
    agent.sum("fantail_kubernetes_watches_failing") > 0.0
}

/// A static pod, which the kubelet starts without the API server, can begin while the API server is down. The name of its
/// directory has the hash of its manifest instead of the uid.
fn run_static(node: &Node, nth: usize) -> ContainerLog {
    let pod = node.pod(nth);
    ContainerLog::create(Path::new("/var/log/pods"), NAMESPACE, pod.name, &hash(nth), CONTAINER)
}

/// An earlier run of this test may have left its directories.
fn hash(nth: usize) -> String {
    format!("{:08x}{nth:024x}", std::process::id())
}

/// Creates the mirror pod of a static pod, as the kubelet does when the API server is back.
fn mirror(node: &Node, nth: usize) {
    let annotations = json!({
        "kubernetes.io/config.hash": hash(nth),
        "kubernetes.io/config.mirror": hash(nth),
        "kubernetes.io/config.source": "file",
    });
    let pod = json!({
        "metadata": {"name": node.pod(nth).name, "annotations": annotations},
        "spec": {"nodeName": node.name, "containers": [{"name": CONTAINER, "image": "web:1"}]},
    });
    node.kube.create(&format!("/api/v1/namespaces/{NAMESPACE}/pods"), &pod);
}

#[test]
fn an_api_server_away_while_pods_come_and_go() {
    let longer = env::var("FANTAIL_E2E_AWAY").ok().and_then(|seconds| seconds.parse().ok());
    let away = longer.map_or(AWAY, Duration::from_secs);
    // A run by hand may happen at the same time as a run of all tests.
    let name = if longer.is_some() { "long-away" } else { "api-away" };
    let loki = Loki::with_limits("  max_query_series: 5000");
    let tenant = loki.tenant("outage-of-api");
    let root = Path::new("/var/log/pods");
    let mut node = Node::new(name).granted();
    let [mut known, mut leaving] = [0, 1].map(|nth| node.run(&node.pod(nth), root));
    let mut agent = node.agent(&clients(&tenant), &node.scrape_configs(root));
    agent.start();
    for log in [&mut known, &mut leaving] {
        log.write("before", 100);
    }
    verdict::wait_for_lines(&tenant, &written_by([&known, &leaving]));
    assert!(!is_failing(&agent));

    let (mut gone, mut alive): (Vec<Written>, Vec<(usize, ContainerLog)>) = (Vec::new(), Vec::new());
    let mut next: usize = 2;
    node.apiserver.stop();
    let begun = Instant::now();
    wait_until("it is counted", Duration::from_secs(20), || is_failing(&agent));
    // A known pod ends, and its directory is removed.
    leaving.write("told to end", 100);
    gone.extend(leaving.streams());
    drop(leaving);
    wait_until("it is away for long enough", away + Duration::from_secs(30), || {
        known.write("away", 20);
        if next.is_multiple_of(8) {
            known.rotate();
        }
        let mut log = run_static(&node, next);
        log.write("nobody knows of it", 5);
        alive.push((next, log));
        next += 1;
        // Every second pod ends as soon as its file is open.
        let ending = alive.extract_if(.., |(nth, log)| *nth % 2 == 0 && agent.holds(&log.path()));
        gone.extend(ending.flat_map(|(_, log)| log.streams().collect::<Vec<_>>()));
        begun.elapsed() >= away
    });
    let (tries, lasted) = (errors(&agent, "connection"), begun.elapsed());
    assert!(is_failing(&agent));
    // Pauses are at least half of 1, 2, 4, 8, 16 seconds, and then half of the longest.
    let most = 6.0 + lasted.as_secs_f64() / (PAUSE.as_secs_f64() / 2.0);
    assert!((2.0..=most).contains(&tries), "{tries} tries in {lasted:?}, {most} at most");
    verdict::wait_for_lines(&tenant, &written_by([&known]));

    node.apiserver.start_again();
    let back = Instant::now();
    alive.iter().for_each(|(nth, _)| mirror(&node, *nth));
    wait_until("it is watched again", PAUSE * 2, || !is_failing(&agent));
    let seen_after = back.elapsed();
    alive.iter_mut().for_each(|(_, log)| log.write("shown", 5));
    node.kube.delete_pod(&node.pod(1));
    let mut later = node.run(&node.pod(next), root);
    known.write("after", 20);
    later.write("later", 100);
    let count = gone.len() + alive.len();
    let written: Vec<Written> =
        written_by(alive.iter().map(|(_, log)| log).chain([&known, &later])).into_iter().chain(gone).collect();
    verdict::every_line_once(&loki, &tenant, &written, 0);
    println!(
        "away for {lasted:.0?}: asked {tries} times; {count} pods came and ended; watched again after {seen_after:.0?}; {} lines",
        written.iter().map(|written| written.lines.len()).sum::<usize>(),
    );
    let said = agent.said();
    assert_eq!(said.matches("cannot watch pods").count(), 1, "once: {said}");
    assert_eq!(said.matches("watching pods again").count(), 1, "once: {said}");
    agent.assert_accounts_add_up();
    agent.terminate();
}

fn written_by<'l>(logs: impl IntoIterator<Item = &'l ContainerLog>) -> Vec<Written> {
    logs.into_iter().flat_map(ContainerLog::streams).collect()
}

/// Nothing changes on this node for long, and much elsewhere, so the API server has forgotten the version of the watch.
#[test]
fn a_place_that_the_api_server_has_forgotten() {
    // With its cache, the API server would forget old versions only by itself, which takes long.
    let apiserver = Apiserver::start_with(&["--watch-cache=false"]);
    let node = Node::of("forgotten", apiserver).granted();
    let link = Link::start(node.apiserver.address());
    let tenant = Loki::shared().tenant("forgotten");
    let root = Scratch::new("pods");
    let mut logs = vec![node.run(&node.pod(0), &root), node.run(&node.pod(1), &root)];
    let kubeconfig = node.apiserver.kubeconfig_at(&link.address(), User::Agent);
    let mut agent = Agent::new(&clients(&tenant), &node.scrape_configs(&root)).in_cluster(node.name, kubeconfig);
    agent.start();
    logs.iter_mut().for_each(|log| log.write("before", 100));
    verdict::wait_for_lines(&tenant, &written(&logs));

    for time in 1..=2 {
        (0..10).for_each(|nth| drop(node.kube.run_pod(&node.pod(100 * time + nth), "elsewhere")));
        node.apiserver.compact();
        link.cut();
        wait_until("the answer is 410", Duration::from_secs(60), || errors(&agent, "gone") == time as f64);
        let mut later = node.run(&node.pod(1 + time), &root);
        later.write("later", 100);
        logs.push(later);
        logs.iter_mut().for_each(|log| log.write("listed again", 20));
        verdict::wait_for_lines(&tenant, &written(&logs));
    }
    // This is routine, so no alert fires.
    assert!(!is_failing(&agent), "{}", agent.said());
    node.kube.delete_pod(&node.pod(0));
    wait_until("what is deleted is done with", Duration::from_secs(60), || !agent.targets().contains("forgotten-0"));
    agent.terminate();
    let all: usize = logs.iter().map(|log| log.written().len()).sum();
    assert_eq!(tenant.count_over_time(EVERYTHING), Ok(all as u64), "none is doubled");
}

/// The agent has one of two permissions.
#[test]
fn a_verb_that_is_missing_is_named() {
    let node = Node::new("no-watch");
    let role = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: lists}, \
        rules: [{apiGroups: [''], resources: [pods], verbs: [list]}]}";
    node.kube.grant(User::Agent.name(), role.to_owned());
    let tenant = Loki::shared().tenant("no-watch");
    let root = Scratch::new("pods");
    let mut log = node.run(&node.pod(0), &root);
    log.write("listed", 100);
    let mut agent = node.agent(&clients(&tenant), &node.scrape_configs(&root));
    agent.start();
    let rule = r#"may not watch pods: add this rule to the ClusterRole of the service account: {apiGroups: [""], resources: [pods], verbs: [list, watch]}"#;
    wait_until("the verb is named in the log", Duration::from_secs(30), || {
        agent.said().replace('\\', "").contains(rule)
    });
    wait_until("the verb is named on the page", Duration::from_secs(10), || {
        agent.targets().contains("may not watch pods")
    });
    assert!(!agent.said().contains("may not list"), "{}", agent.said());
    // Pods that could be listed are read meanwhile.
    verdict::wait_for_lines(&tenant, &written_by([&log]));

    node.kube.grant_agent_role(User::Agent.name());
    wait_until("nothing is missing any more", PAUSE * 2, || !is_failing(&agent));
    let mut later = node.run(&node.pod(1), &root);
    later.write("watched", 100);
    verdict::wait_for_lines(&tenant, &written_by([&log, &later]));
    wait_until("the page says so", Duration::from_secs(10), || !agent.targets().contains("may not"));
    agent.terminate();
}
