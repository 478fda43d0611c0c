//! From log files to Loki: every line, once.

use std::path::Path;

use crate::agent::Agent;
use crate::loki::{EVERYTHING, Entry, Loki, Tenant};
use crate::pods::ContainerLog;
use crate::scratch::Scratch;
use crate::servers::free_port;

pub(crate) fn scrape_configs(root: &Path) -> String {
    let root = root.display();
    format!(
        "\
scrape_configs:
  - job_name: files
    pipeline_stages:
      - cri: {{}}
    static_configs:
      - targets: [localhost]
        labels:
          job: files
          __path__: {root}/*/*/*.log
"
    )
}

pub(crate) fn container_log(root: &Path, pod: &str) -> ContainerLog {
    ContainerLog::create(root, "default", pod, "5d3f2a10", "web")
}

fn written(logs: &[ContainerLog]) -> Vec<Entry> {
    logs.iter().flat_map(ContainerLog::written).collect()
}

#[test]
fn every_line_arrives_after_kill9() {
    let tenant = Loki::shared().tenant("kill9");
    let root = Scratch::new("pods");
    let mut logs = ["web-1", "web-2", "web-3"].map(|pod| container_log(&root, pod));
    let mut agent = Agent::new(&tenant.clients(), &scrape_configs(&root));

    // Loki counts a line that is sent again twice only beyond 256 KB of a stream. These streams stay below that, so that
    // the number of lines can be compared with Loki's count.
    for round in 0..6 {
        agent.start();
        logs.iter_mut().for_each(|log| log.write("alive", 100));
        // Each kill comes at another moment of a line's life: any moment, after it was read, after it was sent.
        match round % 3 {
            0 => {}
            1 => agent.wait_for_metric("promtail_read_lines_total", 0.0),
            _ => agent.wait_for_metric("promtail_sent_entries_total", 0.0),
        }
        logs[round % 3].rotate();
        logs.iter_mut().for_each(|log| log.write("rotated", 50));
        agent.kill9();

        // One log is rotated twice, so that the file that the agent was reading is compressed when the agent is back.
        logs[round % 3].write("dead", 50);
        logs[round % 3].rotate();
        logs.iter_mut().for_each(|log| log.write("dead", 50));
        logs[round % 3].rotate();
    }
    agent.start();
    logs.iter_mut().for_each(|log| log.write("last", 10));

    tenant.wait_for_entries(EVERYTHING, written(&logs));
    agent.terminate();
    tenant.wait_for_entries(EVERYTHING, written(&logs));
    let count = u64::try_from(written(&logs).len()).expect("a small number");
    assert_eq!(tenant.count_over_time(EVERYTHING), Ok(count));
}

#[test]
fn lines_wait_for_a_loki_that_is_away() {
    let port = free_port();
    let tenant = Tenant::new(&format!("http://127.0.0.1:{port}"), "away");
    let root = Scratch::new("pods");
    let mut logs = ["web-1", "web-2"].map(|pod| container_log(&root, pod));
    logs.iter_mut().for_each(|log| log.write("early", 500));
    let mut agent = Agent::new(&tenant.clients(), &scrape_configs(&root));
    agent.start();
    agent.wait_for_metric("promtail_read_lines_total", 0.0);
    assert_eq!(agent.sum("promtail_sent_entries_total"), 0.0);

    // Loki does not answer before it is ready: the agent sees refused connections, and then answers with 503.
    logs.iter_mut().for_each(|log| log.write("meanwhile", 500));
    logs[0].rotate();
    let _loki = Loki::start_on(port).unwrap_or_else(|why| panic!("{why}"));
    logs.iter_mut().for_each(|log| log.write("late", 100));

    tenant.wait_for_entries(EVERYTHING, written(&logs));
    agent.terminate();
    tenant.wait_for_entries(EVERYTHING, written(&logs));
}
