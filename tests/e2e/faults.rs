//! Faults between a line and Loki: a crash, a lost answer, an outage, a dead second client.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::agent::Agent;
use crate::delivery::{container_log, scrape_configs};
use crate::load::Load;
use crate::loki::{EVERYTHING, Loki, Tenant};
use crate::pods::{ContainerLog, Habits};
use crate::proxy::{Deed, Proxy};
use crate::scratch::Scratch;
use crate::verdict::{self, Written};
use crate::wait::{wait_for, wait_until};

/// Continues an item of `clients` with short pauses, so that the test goes on soon after a fault.
pub(crate) const SOON: &str = "    batchwait: 200ms\n    backoff_config: {min_period: 100ms, max_period: 1s}\n";

pub(crate) const VARIED: Habits = Habits { line: 160, stderr: true, parts: true, rotate_at: 100_000 };

pub(crate) fn clients(tenant: &Tenant) -> String {
    format!("{}{SOON}", tenant.clients())
}

pub(crate) fn container_logs<const N: usize>(root: &Path, habits: Habits) -> Vec<ContainerLog> {
    (0..N).map(|nth| container_log(root, &format!("web-{nth}")).with_habits(habits)).collect()
}

pub(crate) fn written(logs: &[ContainerLog]) -> Vec<Written> {
    logs.iter().flat_map(ContainerLog::streams).collect()
}

#[test]
fn fifty_kills_under_load() {
    kills_under_load(50, Habits { parts: false, ..VARIED });
}

#[test]
fn kills_between_the_parts_of_a_line() {
    kills_under_load(30, VARIED);
}

fn kills_under_load(kills: usize, habits: Habits) {
    let loki = Loki::with_limits("");
    let tenant = loki.tenant("kills");
    let proxy = Proxy::start(loki.address(), |_| Deed::Pass);
    let root = Scratch::new("pods");
    let load = Load::start(container_logs::<4>(&root, habits), 120_000);
    let mut agent = Agent::new(&clients(&tenant.by_way_of(&proxy)), &scrape_configs(&root));

    for kill in 0..kills {
        agent.start();
        die_at_work(&mut agent, &proxy, kill);
    }
    agent.start();
    let logs = load.stop();
    let rotations: usize = logs.iter().map(|log| log.rotated().len()).sum();
    assert!(rotations >= kills / 2, "only {rotations} rotations in {kills} lives: there was no load");
    verdict::every_line_once(&loki, &tenant, &written(&logs), kills);
    agent.assert_accounts_add_up();
    agent.terminate();
}

/// The moments of the kills: the running time before each kill, and what must be in flight then.
pub(crate) fn die_at_work(agent: &mut Agent, proxy: &Proxy, kill: usize) {
    match kill % 5 {
        0 => {}
        1 => agent.wait_for_metric("promtail_read_lines_total", 0.0),
        2 => agent.wait_for_metric("fantail_unacknowledged_bytes", 0.0),
        // Loki has stored these lines, and the agent has no answer.
        3 => proxy.hold_an_answer(),
        _ => {
            agent.wait_for_metric("promtail_sent_entries_total", 0.0);
            proxy.hold_an_answer();
        }
    }
    agent.kill9();
}

#[test]
fn answers_that_get_lost() {
    let loki = Loki::with_limits("");
    let tenant = loki.tenant("answers");
    let proxy = Proxy::start(loki.address(), |nth| match nth % 6 {
        1 => Deed::Answer(503),
        2 | 5 => Deed::Swallow,
        _ => Deed::Pass,
    });
    let root = Scratch::new("pods");
    let load = Load::start(container_logs::<4>(&root, VARIED), 60_000);
    let mut agent = Agent::new(&clients(&tenant.by_way_of(&proxy)), &scrape_configs(&root));
    agent.start();
    wait_until("twenty answers are lost", Duration::from_secs(60), || proxy.swallowed() >= 20);
    let logs = load.stop();

    wait_until("all is acknowledged", Duration::from_secs(60), || agent.sum("fantail_unacknowledged_bytes") == 0.0);
    verdict::every_line_once(&loki, &tenant, &written(&logs), proxy.swallowed());
    proxy.assert_oldest_first();
    agent.assert_accounts_add_up();
    agent.terminate();
}

#[test]
fn an_outage_of_three_rotations() {
    let mut loki = Loki::with_limits("");
    let tenant = loki.tenant("outage");
    let root = Scratch::new("pods");
    let mut logs = container_logs::<3>(&root, VARIED);
    let mut agent = Agent::new(&clients(&tenant), &scrape_configs(&root));
    agent.start();
    logs.iter_mut().for_each(|log| log.write("before", 2000));
    verdict::wait_for_lines(&tenant, &written(&logs));

    loki.kill();
    for rotation in 0..5 {
        logs.iter_mut().for_each(|log| log.write("during", 2000));
        for log in &mut logs {
            // The kubelet is slow: the agent sees a rotated file before it is compressed or deleted.
            let live = log.path();
            wait_until("the live file is open", Duration::from_secs(20), || agent.holds(&live));
            log.rotate();
        }
        if rotation == 3 {
            // The lines of the first log are now only in files that the agent holds open.
            logs[0].delete_oldest();
            logs[0].delete_oldest();
        }
    }
    logs.iter_mut().for_each(|log| log.write("late", 100));
    loki.start_again();

    verdict::every_line_once(&loki, &tenant, &written(&logs), 1);
    assert_eq!(agent.sum("fantail_lost_bytes_total"), 0.0);
    agent.assert_accounts_add_up();
    agent.terminate();
}

#[test]
fn a_dead_client_costs_a_live_one_nothing() {
    let loki = Loki::with_limits("");
    let (live, dead) = (loki.tenant("live"), loki.tenant("dead"));
    let alive = Arc::new(AtomicBool::new(false));
    let switch = alive.clone();
    let proxy =
        Proxy::start(loki.address(), move |_| if switch.load(Ordering::Relaxed) { Deed::Pass } else { Deed::HangUp });
    let root = Scratch::new("pods");
    let clients = format!("{}{}{SOON}", clients(&live), dead.by_way_of(&proxy).client());
    let mut logs = container_logs::<3>(&root, VARIED);
    let mut agent = Agent::new(&clients, &scrape_configs(&root));
    agent.start();

    for _ in 0..10 {
        logs.iter_mut().for_each(|log| log.write("more than a window", 800));
        let all: usize = logs.iter().map(|log| log.written().len()).sum();
        let promptly = Duration::from_secs(5);
        wait_for("the live one has it", promptly, || match live.count_over_time(EVERYTHING)? {
            count if count == all as u64 => Ok(()),
            count => Err(format!("{count} of {all}")),
        });
        logs.iter_mut().for_each(ContainerLog::rotate);
    }
    verdict::wait_for_lines(&live, &written(&logs));
    assert!(proxy.pushes() > 0, "the dead one was not asked");
    assert_eq!(dead.count_over_time(EVERYTHING), Ok(0));

    alive.store(true, Ordering::Relaxed);
    verdict::wait_for_lines(&dead, &written(&logs));
    verdict::every_line_once(&loki, &live, &written(&logs), 0);
    verdict::every_line_once(&loki, &dead, &written(&logs), 0);
    proxy.assert_oldest_first();
    agent.assert_accounts_add_up();
    agent.terminate();
}

#[test]
fn lost_answers_of_a_stream_near_lokis_limit() {
    // Loki divides a stream above 1.5 MB/s. It may put resent entries into another part than before, and then it shows them
    // twice, because it compares entries only within a part.
    let loki = Loki::with_limits("  shard_streams:\n    enabled: false");
    let tenant = loki.tenant("hot");
    let proxy = Proxy::start(loki.address(), |nth| if nth % 10 == 9 { Deed::Swallow } else { Deed::Pass });
    let root = Scratch::new("pods");
    let hot = Habits { line: 1000, stderr: false, parts: false, rotate_at: 8 << 20 };
    let load = Load::start(container_logs::<1>(&root, hot), 2_000_000);
    let mut agent = Agent::new(&clients(&tenant.by_way_of(&proxy)), &scrape_configs(&root));
    agent.start();
    wait_until("twenty answers are lost", Duration::from_secs(60), || proxy.swallowed() >= 20);
    let logs = load.stop();

    wait_until("all is acknowledged", Duration::from_secs(60), || agent.sum("fantail_unacknowledged_bytes") == 0.0);
    verdict::every_line_once(&loki, &tenant, &written(&logs), proxy.swallowed());
    proxy.assert_oldest_first();
    agent.assert_accounts_add_up();
    agent.terminate();
}
