//! Series per file when a file is read more than once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use prometheus::proto::MetricFamily;

use super::rig::{self, Dir, tell_job};
use crate::metrics::Registry;
use crate::scrape::{Metrics, Scrape};

/// The value of each series whose labels include `path`.
fn of_path(families: &[MetricFamily], path: &str) -> BTreeMap<String, f64> {
    let series = families.iter().flat_map(|family| family.get_metric().iter().map(move |series| (family, series)));
    let ours = series.filter(|(_, series)| series.get_label().iter().any(|l| l.name() == "path" && l.value() == path));
    // One of the two is set, the other is 0.
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
    let scrape = Scrape::start(
        rig::config(),
        jobs,
        vec![outlet, other],
        dir.positions(),
        &Metrics::register(&registry),
        crate::scrape::OpenLogs::default(),
    )
    .expect("started");
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
        // Four readings of two lines, all at the end. Those of the other client are in that client's series.
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

/// The series with one name, by the value of their only label.
fn by_label(registry: &Registry, name: &str) -> BTreeMap<String, f64> {
    let families = registry.gather();
    let series = families.iter().filter(|family| family.name() == name).flat_map(MetricFamily::get_metric);
    let labelled = series.map(|series| {
        let label = series.get_label().first().map(|label| label.value().to_string());
        (label.unwrap_or_default(), series.get_gauge().get_value() + series.get_counter().get_value())
    });
    labelled.collect()
}

fn zeros(labels: &[&str]) -> BTreeMap<String, f64> {
    labels.iter().map(|label| (label.to_string(), 0.0)).collect()
}

#[test]
fn what_is_not_read_is_a_number_and_losses_are_there_before_the_first() {
    let dir = Dir::new();
    dir.append("logs/a.log", "one\n");
    let registry = Registry::new();
    let (outlet, _batches) = rig::outlet("loki");
    let jobs = vec![rig::job("job", "[]")];
    let scrape = Scrape::start(
        rig::config(),
        jobs,
        vec![outlet],
        dir.positions(),
        &Metrics::register(&registry),
        crate::scrape::OpenLogs::default(),
    )
    .expect("started");
    let glob = dir.path("logs/*.log").display().to_string();
    tell_job(&scrape, "job", "s", &[&[("app", "a"), ("__path__", &glob)]]);
    let reasons = ["beyond", "cut", "denied", "error", "foreign", "outside", "special"];
    let mut want = zeros(&reasons);
    wait(|| by_label(&registry, "promtail_read_lines_total").len() == 1);
    assert_eq!(by_label(&registry, "fantail_unread_files"), want);
    let losses = zeros(&[
        "deleted_files_limit",
        "journal",
        "line_too_long",
        "receiver_behind",
        "rotated_away",
        "spool",
        "stdin_behind",
        "too_many_files",
    ]);
    assert_eq!(by_label(&registry, "fantail_losses_total"), losses);
    assert_eq!(by_label(&registry, "fantail_lost_bytes_total"), losses);

    // A file that cannot be read, and a link that leads out.
    let _socket = std::os::unix::net::UnixListener::bind(dir.path("logs/socket.log")).expect("bound");
    std::os::unix::fs::symlink("/etc/hostname", dir.path("logs/link.log")).expect("linked");
    want.extend([("special".to_string(), 1.0), ("outside".to_string(), 1.0)]);
    wait(|| by_label(&registry, "fantail_unread_files") == want);
    std::fs::remove_file(dir.path("logs/socket.log")).expect("removed");
    want.insert("special".to_string(), 0.0);
    wait(|| by_label(&registry, "fantail_unread_files") == want);
    scrape.stop(Duration::ZERO);
    scrape.join();
}

#[track_caller]
fn wait(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "it does not come");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Lines read, delivered and under way of the only client.
fn lines(registry: &Registry) -> [f64; 3] {
    let families = registry.gather();
    ["fantail_read_lines_total", "fantail_delivered_lines_total", "fantail_under_way_lines"].map(|name| {
        let family = families.iter().find(|family| family.name() == name);
        let series = family.map(|family| &family.get_metric()[0]);
        series.map_or(0.0, |s| s.get_gauge().get_value() + s.get_counter().get_value())
    })
}

#[test]
fn the_next_scrape_of_a_process_counts_on_and_reads_again_what_was_not_answered() {
    let dir = Dir::new();
    dir.append("logs/a.log", "one\ntwo\n");
    let (registry, positions) = (Registry::new(), dir.positions());
    let metrics = Metrics::register(&registry);
    let glob = dir.path("logs/*.log").display().to_string();
    let start = || {
        let (outlet, batches) = rig::outlet("loki");
        let jobs = vec![rig::job("job", "[]")];
        let scrape = Scrape::start(
            rig::config(),
            jobs,
            vec![outlet],
            positions.clone(),
            &metrics,
            crate::scrape::OpenLogs::default(),
        )
        .expect("started");
        tell_job(&scrape, "job", "s", &[&[("app", "a"), ("__path__", &glob)]]);
        (scrape, batches)
    };
    let (scrape, batches) = start();
    wait(|| lines(&registry) == [2.0, 0.0, 2.0]);
    scrape.stop(Duration::ZERO);
    scrape.join();
    drop(batches);
    positions.begin_run(BTreeSet::new(), std::time::SystemTime::now(), true);
    // Nothing has decreased, and delivery does not count lines again.
    let (scrape, mut batches) = start();
    assert_eq!(lines(&registry), [2.0, 0.0, 2.0]);
    let mut stored = 0;
    wait(|| {
        for batch in batches.try_recv().into_iter().flatten() {
            stored += batch.entries();
            batch.close();
        }
        scrape.waker(0).wake();
        lines(&registry) == [2.0, 2.0, 0.0]
    });
    assert_eq!(stored, 2);
    dir.append("logs/a.log", "three\n");
    wait(|| lines(&registry) == [3.0, 2.0, 1.0]);
    scrape.stop(Duration::ZERO);
    scrape.join();
    // A client that was removed is not shown.
    metrics.begin_run([].into_iter());
    assert_eq!(lines(&registry), [0.0; 3]);
}
