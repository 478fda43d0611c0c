//! Streams that Loki refuses while it accepts others, also during an outage: accepted lines arrive within seconds, and
//! refused ones wait.

use std::path::Path;
use std::time::Duration;

use crate::agent::Agent;
use crate::delivery::{container_log, scrape_configs};
use crate::faults::{clients, written};
use crate::loki::{Loki, StreamName, Tenant};
use crate::pods::{ContainerLog, Habits};
use crate::scratch::Scratch;
use crate::verdict;
use crate::wait::wait_for;

const SHORT: Habits = Habits { line: 120, stderr: false, parts: false, rotate_at: u64::MAX };

/// By then, lines that Loki accepts have arrived, however many others it refuses.
const SOON: Duration = Duration::from_secs(5);

fn log(root: &Path, pod: &str) -> ContainerLog {
    container_log(root, pod).with_habits(SHORT)
}

fn logs(root: &Path, name: &str, count: usize) -> Vec<ContainerLog> {
    (0..count).map(|nth| log(root, &format!("{name}-{nth}"))).collect()
}

/// The number of lines of this log in Loki.
fn has(tenant: &Tenant, log: &ContainerLog) -> Result<usize, String> {
    let counts = tenant.over_time("count_over_time")?;
    let name: StreamName = written(std::slice::from_ref(log)).remove(0).stream;
    Ok(counts.get(&name).copied().unwrap_or_default() as usize)
}

#[track_caller]
fn arrives_soon(tenant: &Tenant, log: &ContainerLog) {
    let lines = log.written().len();
    wait_for("what Loki takes", SOON, || match has(tenant, log)? {
        found if found == lines => Ok(()),
        found => Err(format!("{found} of {lines} lines")),
    });
}

/// `refuse` makes Loki refuse the streams of the bad logs, and `relent` makes it accept them.
#[track_caller]
fn refused_beside_good(
    loki: &Loki,
    tenant: &Tenant,
    root: &Scratch,
    bad: usize,
    refuse: impl FnOnce(&Loki),
    relent: impl FnOnce(&Loki),
    reason: &str,
) {
    let mut good = log(root, "good");
    good.write("first", 10);
    let mut agent = Agent::new(&clients(tenant), &scrape_configs(root));
    agent.start();
    arrives_soon(tenant, &good);
    refuse(loki);
    let mut others = logs(root, "bad", bad);
    others.iter_mut().for_each(|log| log.write("refused", 50));
    wait_for("all of them are refused", Duration::from_secs(60), || match agent.sum("fantail_refused_streams") {
        streams if streams == bad as f64 => Ok(()),
        streams => Err(format!("{streams} of {bad}")),
    });
    for _ in 0..10 {
        good.write("more than a window in all", 100);
        arrives_soon(tenant, &good);
        others.iter_mut().for_each(|log| log.write("refused as well", 10));
    }
    for log in &others {
        assert_eq!(has(tenant, log), Ok(0), "Loki has refused them");
    }
    assert!(agent.said().contains(reason), "{}", agent.said());
    assert!(agent.targets().contains("refused for"), "{}", agent.targets());
    assert_eq!(agent.sum("promtail_dropped_entries_total"), 0.0);
    // Nothing of these streams is committed: an agent that is killed reads all of it again.
    agent.kill9();
    relent(loki);
    agent.start();
    others.push(good);
    verdict::every_line_once(loki, tenant, &written(&others), 2);
    assert_eq!(agent.sum("promtail_dropped_entries_total"), 0.0);
    agent.assert_accounts_add_up();
    agent.terminate();
}

#[test]
fn a_policy_that_is_blocked() {
    let loki = Loki::with_limits("");
    let tenant = loki.tenant("blocked");
    let root = Scratch::new("pods");
    let mapping = "policy_stream_mapping:\n  chatty:\n    - selector: '{filename=~\".*bad.*\"}'\n      priority: 1\n";
    let blocked = format!("{mapping}block_ingestion_policy_until:\n  chatty: '2099-01-01T00:00:00Z'");
    refused_beside_good(
        &loki,
        &tenant,
        &root,
        3,
        |loki| loki.set_limits("blocked", &blocked),
        |loki| loki.set_limits("blocked", mapping),
        "ingestion is blocked",
    );
}

#[test]
fn more_streams_than_a_tenant_may_have() {
    let loki = Loki::with_limits("");
    let tenant = loki.tenant("streams");
    let root = Scratch::new("pods");
    refused_beside_good(
        &loki,
        &tenant,
        &root,
        8,
        |loki| loki.set_limits("streams", "max_streams_per_user: 1\nmax_global_streams_per_user: 1"),
        |loki| loki.set_limits("streams", "max_streams_per_user: 0\nmax_global_streams_per_user: 5000"),
        "maximum active stream limit exceeded",
    );
}

#[test]
fn more_streams_and_more_bytes_than_a_tenant_may_have() {
    let loki = Loki::with_limits("  ingestion_rate_mb: 0.05\n  ingestion_burst_size_mb: 0.1");
    let tenant = loki.tenant("both");
    let root = Scratch::new("pods");
    refused_beside_good(
        &loki,
        &tenant,
        &root,
        8,
        |loki| loki.set_limits("both", "max_streams_per_user: 1\nmax_global_streams_per_user: 1"),
        |loki| loki.set_limits("both", "max_streams_per_user: 0\nmax_global_streams_per_user: 5000"),
        "maximum active stream limit exceeded",
    );
}

/// With the pauses of the default configuration, which have grown to minutes by then.
#[test]
fn a_loki_that_is_back_after_two_minutes() {
    let mut loki = Loki::with_limits("");
    let tenant = loki.tenant("back");
    let root = Scratch::new("pods");
    let mut logs = logs(&root, "web", 3);
    logs.iter_mut().for_each(|log| log.write("before", 10));
    let mut agent = Agent::new(&tenant.clients(), &scrape_configs(&root));
    agent.start();
    verdict::wait_for_lines(&tenant, &written(&logs));
    loki.kill();
    for _ in 0..24 {
        logs.iter_mut().for_each(|log| log.write("during", 10));
        // This test is about the length of the outage.
        std::thread::sleep(Duration::from_secs(5));
    }
    loki.start_again();
    for log in &logs {
        wait_for("lines flow again", Duration::from_secs(10), || match has(&tenant, log)? {
            found if found == log.written().len() => Ok(()),
            found => Err(format!("{found} of {}", log.written().len())),
        });
    }
    verdict::every_line_once(&loki, &tenant, &written(&logs), 1);
    agent.assert_accounts_add_up();
    agent.terminate();
}
