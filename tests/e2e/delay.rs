//! A Loki with a long round trip.

use std::time::Duration;

use crate::agent::Agent;
use crate::delivery::scrape_configs;
use crate::faults::{clients, container_logs, written};
use crate::load::Load;
use crate::loki::Loki;
use crate::pods::Habits;
use crate::proxy::{Deed, Proxy};
use crate::scratch::Scratch;
use crate::verdict;
use crate::wait::wait_for;

/// A round trip as between continents. The machine's own speed must not limit these tests.
const ROUND_TRIP: Duration = Duration::from_millis(100);

const NO_LIMITS: &str = "  per_stream_rate_limit: 30MB\n  per_stream_rate_limit_burst: 60MB\n  \
                         ingestion_rate_mb: 60\n  ingestion_burst_size_mb: 120";

const SECONDS: u64 = 12;
/// The most that may be written and not delivered at any moment: as much as is written in this many seconds.
const BEHIND: u64 = 3;

/// `N` streams with this many bytes per second each.
#[track_caller]
fn keeps_up<const N: usize>(line: usize, rate: u64) {
    let loki = Loki::with_limits(NO_LIMITS);
    let tenant = loki.tenant("far");
    let proxy = Proxy::start(loki.address(), |_| Deed::PassIn(ROUND_TRIP));
    let root = Scratch::new("pods");
    let habits = Habits { line, stderr: false, parts: false, rotate_at: 8 << 20 };
    let mut logs = container_logs::<N>(&root, habits);
    logs.iter_mut().for_each(|log| log.write("first", 1));
    let mut agent = Agent::new(&clients(&tenant.by_way_of(&proxy)), &scrape_configs(&root));
    agent.start();
    agent.wait_for_metric("promtail_sent_entries_total", (N - 1) as f64);

    let first = proxy.stored_bytes();
    let all = N as u64 * rate;
    let load = Load::start(logs, rate);
    let (mut worst, mut under_way) = (0, 0.0);
    wait_for("the load", Duration::from_secs(10 * SECONDS), || {
        let written = load.written();
        worst = worst.max(written.saturating_sub(proxy.stored_bytes() - first));
        under_way = agent.sum("fantail_unacknowledged_bytes").max(under_way);
        if written >= SECONDS * all { Ok(()) } else { Err(format!("{written} bytes written")) }
    });
    let logs = load.stop();
    let seconds = worst as f64 / all as f64;
    eprintln!(
        "{N} streams of {rate} bytes a second: {worst} bytes, {seconds:.2} s behind at worst, {under_way} under way at most"
    );
    assert!(worst <= BEHIND * all, "{worst} bytes behind, what is written in {seconds:.1} s");
    verdict::every_line_once(&loki, &tenant, &written(&logs), 0);
    proxy.assert_oldest_first();
    agent.assert_accounts_add_up();
    agent.terminate();
}

#[test]
fn some_streams_at_ordinary_rates() {
    keeps_up::<10>(200, 20_000);
}

#[test]
fn a_hundred_busy_streams() {
    keeps_up::<100>(500, 50_000);
}

#[test]
fn one_stream_at_lokis_limit() {
    keeps_up::<1>(1000, 3_000_000);
}
