//! `process_*`: CPU, memory and descriptors of this process, read from `/proc` at each scrape.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

/// Clock ticks per second in `/proc`. The same on all Linux systems.
const TICKS_PER_SECOND: f64 = 100.0;

const SERIES: [(&str, &str); 6] = [
    ("process_cpu_seconds_total", "Total user and system CPU time spent in seconds."),
    ("process_resident_memory_bytes", "Resident memory size in bytes."),
    ("process_virtual_memory_bytes", "Virtual memory size in bytes."),
    ("process_open_fds", "Number of open file descriptors."),
    ("process_max_fds", "Maximum number of open file descriptors."),
    ("process_start_time_seconds", "Start time of the process since unix epoch in seconds."),
];

/// A series that cannot be read is omitted, so a scrape never fails.
pub(super) struct Process {
    proc: PathBuf,
    descs: Vec<Desc>,
}

impl Process {
    pub(super) fn new() -> Self {
        Self::at("/proc")
    }

    fn at(proc: impl Into<PathBuf>) -> Self {
        let desc = |(name, help): (&str, &str)| Desc::new(name.into(), help.into(), Vec::new(), HashMap::new());
        let descs = SERIES.into_iter().map(|series| desc(series).expect("names are constants")).collect();
        Self { proc: proc.into(), descs }
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.proc.join(path)).ok()
    }

    fn value(&self, name: &str) -> Option<f64> {
        match name {
            "process_cpu_seconds_total" => {
                let stat = self.read("self/stat")?;
                Some((field(&stat, 14)? + field(&stat, 15)?) / TICKS_PER_SECOND)
            }
            "process_resident_memory_bytes" => kilobytes(&self.read("self/status")?, "VmRSS:"),
            "process_virtual_memory_bytes" => kilobytes(&self.read("self/status")?, "VmSize:"),
            "process_open_fds" => Some(fs::read_dir(self.proc.join("self/fd")).ok()?.count() as f64),
            "process_max_fds" => after(&self.read("self/limits")?, "Max open files"),
            "process_start_time_seconds" => {
                let boot = after(&self.read("stat")?, "btime")?;
                Some(boot + field(&self.read("self/stat")?, 22)? / TICKS_PER_SECOND)
            }
            _ => None,
        }
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        SERIES
            .into_iter()
            .filter_map(|(name, help)| {
                let value = self.value(name)?;
                // Created for each scrape: a counter cannot be set, and two scrapes at once must not add up.
                if name.ends_with("_total") {
                    let counter = Counter::new(name, help).ok()?;
                    counter.inc_by(value);
                    return Some(counter.collect());
                }
                let gauge = Gauge::new(name, help).ok()?;
                gauge.set(value);
                Some(gauge.collect())
            })
            .flatten()
            .collect()
    }
}

/// A field of `/proc/self/stat`, counted from 1 as in proc(5). The second field is the program's name in brackets,
/// which may contain spaces and brackets.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn kilobytes(status: &str, key: &str) -> Option<f64> {
    after(status, key).map(|n| n * 1024.0)
}

/// The number after `key` at the start of a line.
fn after(text: &str, key: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 3 0 12345 1 2";
        assert_eq!((field(stat, 14), field(stat, 15), field(stat, 22)), (Some(150.0), Some(50.0), Some(12345.0)));
        assert_eq!(field("nonsense", 14), None);
        assert_eq!(field("1 (x) S", 14), None);
    }

    #[test]
    fn without_proc_there_are_no_series_and_no_panic() {
        assert_eq!(Process::at("/nonexistent").collect().len(), 0);
    }

    #[test]
    fn this_process_costs_something() {
        let families = Process::new().collect();
        let value = |name: &str| {
            let family = families.iter().find(|f| f.name() == name).expect(name);
            let metric = &family.get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        assert_eq!(families.len(), SERIES.len());
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_start_time_seconds") > 1.6e9);
    }
}
