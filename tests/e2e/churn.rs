//! A thousand pods that come and go on one node. The API server shows each of them.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use crate::faults::clients;
use crate::loki::{EVERYTHING, Loki};
use crate::node::Node;
use crate::pods::{ContainerLog, Habits};
use crate::scale::ApiServer;
use crate::verdict::{self, Written};
use crate::wait::wait_until;

const PODS: usize = 1_000;

/// The number of pods at a time.
const ALIVE: usize = 50;

/// The lines of each pod, in two parts: at its start and at its end.
const LINES: usize = 4;

#[test]
fn a_thousand_pods_that_come_and_go() {
    let loki = Loki::with_limits("  max_query_series: 5000");
    let tenant = loki.tenant("churn");
    let root = Path::new("/var/log/pods");
    let node = Node::new("churn").granted();
    let habits = Habits { line: 100, stderr: false, parts: false, rotate_at: u64::MAX };
    // A node has pods that stay.
    let mut resident = node.run(&node.pod(PODS), root).with_habits(habits);
    resident.write("resident", LINES);
    let mut agent = node.agent(&clients(&tenant), &node.scrape_configs(root));
    let before = ApiServer::of(&node.kube);
    agent.start();
    verdict::wait_for_lines(&tenant, &resident.streams().collect::<Vec<_>>());

    let cpu = agent.sum("process_cpu_seconds_total");
    let mut alive: VecDeque<(usize, ContainerLog)> = VecDeque::new();
    let mut written: Vec<Written> = Vec::new();
    let mut largest: f64 = 0.0;
    for nth in 0..PODS + ALIVE {
        if nth < PODS {
            let mut log = node.run(&node.pod(nth), root).with_habits(habits);
            log.write("begins", LINES / 2);
            alive.push_back((nth, log));
        }
        if nth >= ALIVE
            && let Some((first, mut log)) = alive.pop_front()
        {
            // The kubelet removes the folder of a pod that has ended, some time after its last line.
            log.write("ends", LINES / 2);
            wait_until("its file is open", Duration::from_secs(20), || agent.holds(&log.path()));
            written.extend(log.streams());
            node.kube.delete_pod(&node.pod(first));
        }
        if nth % 20 == 0 {
            largest = largest.max(agent.sum("process_resident_memory_bytes"));
        }
    }
    written.extend(resident.streams());
    verdict::wait_for_lines(&tenant, &written);
    let (api, cpu_after) = (ApiServer::of(&node.kube), agent.sum("process_cpu_seconds_total"));
    let all: usize = written.iter().map(|written| written.lines.len()).sum();
    println!(
        "{PODS} pods came and went: {all} lines, {:.1} s of CPU, {:.0} MiB at most; {} lists and {} open watches",
        cpu_after - cpu,
        largest / f64::from(1 << 20),
        api.lists - before.lists,
        api.watches - before.watches,
    );
    assert_eq!(tenant.count_over_time(EVERYTHING), Ok(all as u64), "none is doubled");
    assert_eq!((api.lists - before.lists, api.watches - before.watches), (1.0, 1.0), "lists, watches");
    agent.assert_accounts_add_up();
    wait_until("all that ended are done with", Duration::from_secs(90), || {
        agent.sum("promtail_files_active_total") == 1.0
    });
    agent.terminate();
}
