//! An agent that stops and starts again on its node: a rolling update, a drained node, a reboot, the kernel's OOM
//! killer.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::agent::Agent;
use crate::faults::{VARIED, clients, die_at_work, written};
use crate::load::Load;
use crate::loki::Loki;
use crate::node::Node;
use crate::pods::{ContainerLog, Habits};
use crate::proxy::{Deed, Proxy};
use crate::scratch::Scratch;
use crate::verdict::{self, Written};
use crate::wait::wait_until;

const PODS: usize = 4;

/// The bytes per second of each log.
const RATE: u64 = 60_000;

const POD_LOGS: &str = "/var/log/pods";

/// Long enough for each log to be rotated at least once.
fn wait_for_rotations(load: &Load<ContainerLog>) {
    let until = load.written() + 2 * VARIED.rotate_at * PODS as u64;
    wait_until("each file is rotated", Duration::from_secs(60), || load.written() > until);
}

#[test]
fn rolling_updates_while_files_rotate() {
    let loki = Loki::with_limits("");
    let tenant = loki.tenant("rolling");
    let proxy = Proxy::start(loki.address(), |_| Deed::Pass);
    let root = Scratch::new("pods");
    let node = Node::new("rolling").granted();
    let load = Load::start(node.run_some(PODS, &root, VARIED), RATE);
    let mut agent = node.agent(&clients(&tenant.by_way_of(&proxy)), &node.scrape_configs(&root));
    let updates = 5;
    for _ in 0..updates {
        agent.start();
        agent.wait_for_metric("fantail_delivered_lines_total", 0.0);
        agent.terminate();
        wait_for_rotations(&load);
    }
    agent.start();
    wait_for_rotations(&load);
    let logs = load.stop();
    let rotations: usize = logs.iter().map(|log| log.rotated().len()).sum();
    assert!(rotations >= PODS * updates, "{rotations} rotations: no agent missed any");
    // No line may be sent again: an agent that is asked to stop delivers everything that it has read.
    verdict::every_line_once(&loki, &tenant, &written(&logs), 0);
    assert_sent_once(&proxy, &written(&logs));
    agent.assert_accounts_add_up();
    agent.terminate();
}

/// This happens with `maxSurge`, or with a second installation that uses the same directory.
#[test]
fn a_new_agent_beside_the_old_one_ends_and_says_who_has_the_positions() {
    let loki = Loki::with_limits("");
    let tenant = loki.tenant("beside");
    let root = Scratch::new("pods");
    let positions = Scratch::new("positions");
    let node = Node::new("beside").granted();
    let load = Load::start(node.run_some(PODS, &root, VARIED), RATE);
    let agent = || {
        let agent = Agent::with_positions(&positions, &clients(&tenant), &node.scrape_configs(&root));
        agent.in_cluster(node.name, node.kubeconfig())
    };
    let (mut old, mut new) = (agent(), agent());
    old.start();
    old.wait_for_metric("fantail_delivered_lines_total", 0.0);
    // The kubelet starts the agent again and again.
    for _ in 0..3 {
        let said = new.refuses_to_start();
        let who = format!("process {}", old.id());
        assert!(said.contains("another agent uses it") && said.contains(&who), "{said}");
    }
    let delivered = old.sum("fantail_delivered_lines_total");
    old.wait_for_metric("fantail_delivered_lines_total", delivered);
    old.terminate();
    wait_for_rotations(&load);
    new.start();
    wait_for_rotations(&load);
    let logs = load.stop();
    verdict::every_line_once(&loki, &tenant, &written(&logs), 0);
    new.assert_accounts_add_up();
    new.terminate();
}

/// The pods of the node are deleted while Loki is down, so all lines are in files that have no name any more.
#[test]
fn a_drained_node_delivers_what_its_pods_said_last() {
    let loki = Loki::with_limits("");
    let tenant = loki.tenant("drained");
    let is_away = Arc::new(AtomicBool::new(false));
    let switch = is_away.clone();
    let proxy =
        Proxy::start(loki.address(), move |_| if switch.load(Ordering::Relaxed) { Deed::HangUp } else { Deed::Pass });
    let root = Path::new(POD_LOGS);
    let node = Node::new("drained").granted();
    let mut logs = node.run_some(PODS, root, VARIED);
    let mut agent = node.agent(&clients(&tenant.by_way_of(&proxy)), &node.scrape_configs(root));
    agent.start();
    logs.iter_mut().for_each(|log| log.write("early", 1_000));
    verdict::wait_for_lines(&tenant, &written(&logs));

    is_away.store(true, Ordering::Relaxed);
    for log in &mut logs {
        for what in ["told to end", "and the last of it"] {
            log.write(what, 3_000);
            wait_until("the file is open", Duration::from_secs(20), || agent.holds(&log.path()));
            log.rotate();
        }
        log.write("on its way out", 500);
        wait_until("the file is open", Duration::from_secs(20), || agent.holds(&log.path()));
    }
    (0..PODS).for_each(|nth| node.kube.delete_pod(&node.pod(nth)));
    let written = written(&logs);
    drop(logs);
    let all: usize = written.iter().map(|written| written.lines.len()).sum();
    let delivered = agent.sum("fantail_delivered_lines_total");
    assert!(delivered < all as f64 / 2.0, "{delivered} of {all} are delivered before the folders are gone");

    is_away.store(false, Ordering::Relaxed);
    verdict::every_line_once(&loki, &tenant, &written, 0);
    assert_eq!(agent.sum("fantail_lost_bytes_total"), 0.0);
    agent.assert_accounts_add_up();
    wait_until("the pods are done with", Duration::from_secs(60), || !agent.targets().contains("drained-0"));
    agent.terminate();
}

/// A reboot: the disk with the logs and the positions is the same, `/run` and all processes are gone. The API server and
/// most pods start later than the agent.
#[test]
fn a_reboot_sends_nothing_twice() {
    let loki = Loki::with_limits("");
    let tenant = loki.tenant("rebooted");
    let proxy = Proxy::start(loki.address(), |_| Deed::Pass);
    let root = Path::new(POD_LOGS);
    let mut node = Node::new("rebooted").granted();
    let mut logs = node.run_some(PODS, root, Habits { rotate_at: u64::MAX, ..VARIED });
    let mut agent = node.agent(&clients(&tenant.by_way_of(&proxy)), &node.scrape_configs(root));
    agent.start();
    for log in &mut logs {
        for what in ["long ago", "before", "just now"] {
            log.write(what, 1_500);
            wait_until("the file is open", Duration::from_secs(20), || agent.holds(&log.path()));
            log.rotate();
        }
        log.write("live", 1_500);
    }
    verdict::wait_for_lines(&tenant, &written(&logs));
    wait_until("all is acknowledged", Duration::from_secs(30), || agent.sum("fantail_unacknowledged_bytes") == 0.0);
    agent.kill9();
    for (life, is_away) in [("first", false), ("alone", true), ("alone again", true), ("back", false)] {
        match is_away {
            true => node.apiserver.stop(),
            false => node.apiserver.start_again(),
        }
        agent.start();
        logs.iter_mut().for_each(|log| log.write(life, 100));
        verdict::wait_for_lines(&tenant, &written(&logs));
        wait_until("all is acknowledged", Duration::from_secs(30), || agent.sum("fantail_unacknowledged_bytes") == 0.0);
        agent.kill9();
        logs.iter_mut().for_each(|log| log.write("a container as it is killed", 10));
    }
    agent.start();
    verdict::every_line_once(&loki, &tenant, &written(&logs), 0);
    assert_sent_once(&proxy, &written(&logs));
    agent.assert_accounts_add_up();
    agent.terminate();
}

/// The kernel kills without warning: the agent has only its saved positions.
#[test]
fn killed_for_memory_ten_times_under_load() {
    let loki = Loki::with_limits("");
    let tenant = loki.tenant("oom");
    let proxy = Proxy::start(loki.address(), |_| Deed::Pass);
    let root = Scratch::new("pods");
    let node = Node::new("oom").granted();
    let load = Load::start(node.run_some(PODS, &root, VARIED), 2 * RATE);
    let mut agent = node.agent(&clients(&tenant.by_way_of(&proxy)), &node.scrape_configs(&root));
    let kills = 10;
    for kill in 0..kills {
        agent.start();
        // The agent must have sent something: one that is killed before it has found the first pod has not.
        die_at_work(&mut agent, &proxy, 1 + kill % 4);
    }
    agent.start();
    let logs = load.stop();
    verdict::every_line_once(&loki, &tenant, &written(&logs), kills);
    agent.assert_accounts_add_up();
    agent.terminate();
}

/// Loki would hide an entry that is sent twice. Here the entry was sent once.
#[track_caller]
fn assert_sent_once(proxy: &Proxy, written: &[Written]) {
    let bytes: usize = written.iter().flat_map(|written| &written.lines).map(|(_, line)| line.len()).sum();
    assert_eq!(proxy.stored_bytes(), bytes as u64, "bytes that Loki was sent, and that were written");
}
