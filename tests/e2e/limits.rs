//! Pushes that Loki refuses because of rate limits: their lines arrive later, and do not block other streams forever.

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
use crate::wait::wait_until;

const SHORT: Habits = Habits { line: 200, stderr: false, parts: false, rotate_at: u64::MAX };

#[test]
fn a_tenant_over_its_limit_gets_everything_later() {
    let loki = Loki::with_limits("  ingestion_rate_mb: 0.3\n  ingestion_burst_size_mb: 0.6");
    let tenant = loki.tenant("tenant-limit");
    let root = Scratch::new("pods");
    let mut logs = container_logs::<5>(&root, SHORT);
    logs.iter_mut()
        .for_each(|log| log.write("early, and of some length so that there is enough of it to be too much", 4000));
    let mut agent = Agent::new(&clients(&tenant), &scrape_configs(&root));
    agent.start();
    logs.iter_mut().for_each(|log| log.write("late", 100));
    let refused = || agent.said().contains("ingestion rate limit exceeded");
    wait_until("the limit is met", Duration::from_secs(30), refused);

    verdict::every_line_once(&loki, &tenant, &written(&logs), 0);
    assert_eq!(agent.sum("promtail_dropped_entries_total"), 0.0);
    agent.assert_accounts_add_up();
    agent.terminate();
}

#[test]
fn a_stream_over_its_limit_gets_everything_later() {
    let loki = Loki::with_limits(STREAM_LIMIT);
    let tenant = loki.tenant("stream-limit");
    let root = Scratch::new("pods");
    let mut logs = container_logs::<1>(&root, SHORT);
    logs[0].write("early, and of some length so that there is enough of it to be too much", 8000);
    let mut agent = Agent::new(&clients(&tenant), &scrape_configs(&root));
    agent.start();
    let refused = || agent.said().contains("per stream rate limit exceeded");
    wait_until("the limit is met", Duration::from_secs(30), refused);

    // Loki stores a part of a refused push, and gets it again with the rest.
    let pushes = agent.sum("promtail_batch_retries_total") as usize + 100;
    verdict::every_line_once(&loki, &tenant, &written(&logs), pushes);
    assert_eq!(agent.sum("promtail_dropped_entries_total"), 0.0);
    agent.assert_accounts_add_up();
    agent.terminate();
}

#[test]
fn a_stream_over_its_limit_costs_its_neighbours_nothing() {
    let loki = Loki::with_limits(STREAM_LIMIT);
    let tenant = loki.tenant("neighbours");
    let proxy = Proxy::start(loki.address(), |_| Deed::Pass);
    let root = Scratch::new("pods");
    let mut logs = container_logs::<4>(&root, SHORT);
    // This stream comes first in the push: Loki reports only the last refused stream.
    let mut hot = logs.remove(0);
    hot.write("little", 1);
    let mut agent = Agent::new(&clients(&tenant.by_way_of(&proxy)), &scrape_configs(&root));
    agent.start();
    agent.wait_for_metric("promtail_sent_entries_total", 0.0);
    let load = Load::start(logs, 20_000);
    for _ in 0..20 {
        hot.write("some of what is far too much for so short a time, in lines of some length", 400);
        let sent = agent.sum("promtail_sent_entries_total");
        agent.wait_for_metric("promtail_sent_entries_total", sent);
    }
    let mut logs = load.stop();
    logs.push(hot);

    // Loki may store a part of each push of the fast stream, and gets it again.
    let pushes = proxy.pushes();
    verdict::every_line_once(&loki, &tenant, &written(&logs), pushes);
    proxy.assert_oldest_first();
    agent.assert_accounts_add_up();
    agent.terminate();
}

const STREAM_LIMIT: &str = "  per_stream_rate_limit: 100KB\n  per_stream_rate_limit_burst: 200KB";
