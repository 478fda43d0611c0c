//! Entries that Loki will never accept: they are discarded and counted, and other entries are not affected.

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::agent::Agent;
use crate::faults::{clients, container_logs, written};
use crate::loki::{Loki, Tenant};
use crate::pods::{Habits, padded};
use crate::scratch::Scratch;
use crate::verdict;
use crate::wait::wait_until;

/// Stages that turn lines with certain texts into entries that Loki refuses.
const STAGES: &str = r#"
      - match:
          selector: '{job="files"} |= "many labels"'
          stages:
            - static_labels: {l1: x, l2: x, l3: x, l4: x, l5: x, l6: x, l7: x, l8: x, l9: x, l10: x, l11: x, l12: x}
      - match:
          selector: '{job="files"} |= "long label"'
          stages:
            - regex: {expression: '(?P<long>.*)'}
            - labels: {long: }
      - match:
          selector: '{job="files"} |= "no labels"'
          stages:
            - labeldrop: [filename, job, stream, a_team]
"#;

fn scrape_configs(root: &Path) -> String {
    let path = format!("{}/*/*/*.log", root.display());
    format!(
        "\
scrape_configs:
  - job_name: files
    pipeline_stages:
      - cri: {{}}{STAGES}
    relabel_configs:
      - {{action: labelmap, regex: __x_(.+), replacement: a-$1}}
    static_configs:
      - targets: [localhost]
        labels:
          job: files
          __x_team: red
          __path__: {path}
"
    )
}

const POISONS: usize = 3;

#[track_caller]
fn neighbours_arrive(name: &str, time: SystemTime, line: &str) {
    // Loki adds a label to each stream without it, unless that is disabled.
    let loki = Loki::with_limits("  discover_service_name: []");
    let dropped = among_neighbours(&loki, &loki.tenant(name), time, line);
    assert_eq!(dropped, POISONS);
}

/// The number of discarded entries. Checks that no entry of a neighbour is among them.
#[track_caller]
fn among_neighbours(loki: &Loki, tenant: &Tenant, time: SystemTime, line: &str) -> usize {
    let root = Scratch::new("pods");
    let habits = Habits { line: 100, stderr: false, parts: false, rotate_at: u64::MAX };
    let mut logs = container_logs::<3>(&root, habits);
    for nth in 0..POISONS {
        logs.iter_mut().for_each(|log| log.write("good", 150));
        // Otherwise, Loki would treat them as one.
        logs[1].say_poison(time + Duration::from_nanos(nth as u64), line);
        logs.iter_mut().for_each(|log| log.write("good", 150));
    }
    let mut agent = Agent::new(&clients(tenant), &scrape_configs(&root));
    agent.start();

    verdict::every_line_once(loki, tenant, &written(&logs), 1);
    wait_until("all is acknowledged", Duration::from_secs(30), || agent.sum("fantail_unacknowledged_bytes") == 0.0);
    // A name that Loki cannot parse, as labelmap makes one, would cost a whole push, so the agent changes it.
    let streams = tenant.streams(r#"{filename=~".+"}"#).expect("Loki answers");
    assert!(streams.iter().all(|stream| stream.labels["a_team"] == "red"), "{:?}", streams[0].labels);
    let dropped = agent.sum("promtail_dropped_entries_total");
    agent.assert_accounts_add_up();
    agent.terminate();
    dropped as usize
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_line_that_is_too_long() {
    neighbours_arrive("too-long", SystemTime::now(), &padded("long ".into(), 300_000));
}

#[test]
fn a_time_that_is_too_old() {
    neighbours_arrive("too-old", SystemTime::now() - 8 * DAY, "old");
}

#[test]
fn a_time_that_is_too_new() {
    neighbours_arrive("too-new", SystemTime::now() + Duration::from_secs(3000), "new");
}

#[test]
fn labels_that_are_too_many() {
    neighbours_arrive("too-many-labels", SystemTime::now(), "many labels");
}

#[test]
fn a_label_that_is_too_long() {
    neighbours_arrive("long-label", SystemTime::now(), &padded("long label ".into(), 3000));
}

#[test]
fn a_line_without_labels() {
    neighbours_arrive("no-labels", SystemTime::now(), "no labels");
}

#[test]
fn a_line_without_labels_that_loki_gives_one() {
    let loki = Loki::with_limits("");
    let tenant = loki.tenant("no-labels");
    assert_eq!(among_neighbours(&loki, &tenant, SystemTime::now(), "no labels"), 0);
    let given = r#"{service_name="unknown_service", filename=""}"#;
    assert_eq!(tenant.count_over_time(given), Ok(POISONS as u64));
}
