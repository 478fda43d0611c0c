//! What is counted per file, where a file is read more than once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use prometheus::proto::MetricFamily;

use super::rig::{self, Dir, tell_job};
use crate::metrics::Registry;
use crate::scrape::Scrape;

/// Of each series whose labels include `path`: what it says.
fn of_path(families: &[MetricFamily], path: &str) -> BTreeMap<String, f64> {
    let series = families.iter().flat_map(|family| family.get_metric().iter().map(move |series| (family, series)));
    let ours = series.filter(|(_, series)| series.get_label().iter().any(|l| l.name() == "path" && l.value() == path));
    // One of both is there, and the other is 0.
    ours.map(|(family, s)| (family.name().to_string(), s.get_gauge().get_value() + s.get_counter().get_value()))
        .collect()
}

#[test]
fn a_file_of_two_targets_in_two_jobs_for_two_clients_is_one_series() {
    let dir = Dir::new();
    dir.append("logs/a.log", "one\ntwo\n");
    let registry = Registry::new();
    let ((outlet, _batches), (other, _others)) = (rig::outlet("loki"), rig::outlet("other"));
    let jobs = vec![rig::job("job", "[]"), rig::job("again", "[]")];
    let scrape = Scrape::start(rig::config(), jobs, vec![outlet, other], dir.positions(), &registry).expect("started");
    let glob = dir.path("logs/*.log").display().to_string();
    for job in ["job", "again"] {
        tell_job(&scrape, job, "s", &[&[("app", "a"), ("__path__", &glob)], &[("app", "b"), ("__path__", &glob)]]);
    }
    let path = dir.path("logs/a.log").display().to_string();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let families = registry.gather();
        for family in &families {
            let series: Vec<_> = family.get_metric().iter().map(|series| format!("{:?}", series.get_label())).collect();
            let distinct: BTreeSet<_> = series.iter().collect();
            assert_eq!(distinct.len(), series.len(), "{}: {series:?}", family.name());
        }
        // Four readings of two lines, of which each has come to the end; those of the other client are counted with the
        // client's own numbers.
        let want = [
            ("fantail_lag_bytes", 0.0),
            ("promtail_file_bytes_total", 8.0),
            ("promtail_read_bytes_total", 8.0),
            ("promtail_read_lines_total", 8.0),
        ];
        let said = of_path(&families, &path);
        if said == want.map(|(name, value)| (name.to_string(), value)).into() {
            break;
        }
        assert!(Instant::now() < deadline, "{said:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    scrape.stop(Duration::ZERO);
    scrape.join();
}
