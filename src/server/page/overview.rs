//! `/api/overview`: the state of the agent in numbers. The page computes rates from two answers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::cut;
use crate::model::{AccountReport, ClientReport, DropReason, Report};
use crate::server::targets::Summary;
use crate::server::{Build, Shown};

/// The most reasons for dropped targets in an answer.
const REASONS: usize = 50;

/// The longest error in an answer, in bytes.
const LONGEST: usize = 2 << 10;

#[derive(Serialize)]
pub(in crate::server) struct Overview {
    build: Build,
    hostname: String,
    uptime_seconds: u64,
    /// The time of the counters, from a clock that nobody can set.
    counted_ms: u64,
    now_unix_ms: u64,
    /// The error of the last reload. Null: it succeeded.
    reload_error: Option<String>,
    /// Why this client may not look at the live tail. Null: it may.
    live_tail_refusal: Option<&'static str>,
    /// Threads that have stood still for long.
    standing_still: Vec<String>,
    summary: Summary,
    discovery: Discovery,
    clients: Vec<Client>,
}

#[derive(Serialize)]
struct Discovery {
    discovered: usize,
    kept: usize,
    dropped: Vec<DropReason>,
    /// Reasons beyond those in `dropped`.
    more_reasons: usize,
}

/// A client, with the sums of all its files since the start.
#[derive(Serialize)]
struct Client {
    status: ClientReport,
    account: AccountReport,
    unread_bytes: u64,
    unacknowledged_bytes: u64,
}

impl Overview {
    pub(in crate::server) fn collect(
        shown: &Shown,
        hostname: String,
        uptime: Duration,
        live_tail_refusal: Option<&'static str>,
    ) -> Self {
        let report = &*shown.report;
        let (reports, targets) = (report.clients(), report.targets());
        let summary = Summary::of(&reports, &targets);
        let mut accounts = report.accounts();
        let client = |mut report: ClientReport| {
            let files = || targets.iter().flat_map(|target| &target.files).filter(|file| file.client == report.name);
            let (unread_bytes, unacknowledged_bytes) =
                (files().map(|file| file.lag_bytes).sum(), files().map(|file| file.unacknowledged_bytes).sum());
            let account = accounts.remove(&report.name).unwrap_or_default();
            report.state = cut(&report.state, LONGEST);
            report.last_error = report.last_error.map(|error| cut(&error, LONGEST));
            Client { status: report, account, unread_bytes, unacknowledged_bytes }
        };
        Self {
            build: Build::THIS,
            hostname,
            uptime_seconds: uptime.as_secs(),
            counted_ms: millis(uptime),
            now_unix_ms: millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
            reload_error: shown.reload_error.as_ref().map(|error| cut(error, LONGEST)),
            live_tail_refusal: live_tail_refusal.map(str::trim_end),
            standing_still: report.still(),
            clients: reports.into_iter().map(client).collect(),
            discovery: Discovery::of(report),
            summary,
        }
    }
}

impl Discovery {
    fn of(report: &dyn Report) -> Self {
        let mut summary = report.discovery();
        let more_reasons = summary.dropped.len().saturating_sub(REASONS);
        summary.dropped.truncate(REASONS);
        summary.dropped.iter_mut().for_each(|one| one.reason = cut(&one.reason, LONGEST));
        Self { discovered: summary.discovered, kept: summary.kept, dropped: summary.dropped, more_reasons }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::model::{DiscoveredReport, FileReport, Labels, TargetReport, Weight};

    struct Fixed;

    impl Report for Fixed {
        fn targets(&self) -> Vec<TargetReport> {
            let file = |client: &str, lag_bytes| FileReport {
                path: "/a.log".into(),
                client: client.into(),
                lag_bytes,
                unacknowledged_bytes: 5,
                ..FileReport::default()
            };
            vec![TargetReport {
                job: "pods".into(),
                path: "/*.log".into(),
                labels: Labels::new(),
                files: vec![file("near", 1), file("far", 1_000)],
                nothing: None,
                not_read: Vec::new(),
                not_read_more: 0,
            }]
        }
        fn discovered(&self) -> Vec<DiscoveredReport> {
            let dropped = |n: usize| DiscoveredReport {
                job: "pods".into(),
                group: n.to_string(),
                discovered: Labels::new(),
                labels: None,
                path: None,
                dropped: Some(format!("rule {}", n / 2)),
                is_mistake: false,
                left_out: None,
                unread: 0,
            };
            (0..200).map(dropped).collect()
        }
        fn clients(&self) -> Vec<ClientReport> {
            let client = |name: &str| ClientReport {
                name: name.into(),
                state: "failing for 3s: no answer".into(),
                last_error: Some("x".repeat(1 << 20)),
                failing_seconds: Some(3),
                ..ClientReport::default()
            };
            vec![client("near"), client("far")]
        }
        fn accounts(&self) -> BTreeMap<String, AccountReport> {
            let account = AccountReport { read: Weight { lines: 7, bytes: 70 }, ..AccountReport::default() };
            BTreeMap::from([("far".into(), account)])
        }
    }

    fn json() -> (usize, serde_json::Value) {
        let shown = Shown { report: Arc::new(Fixed), config: String::new(), reload_error: Some("no".into()) };
        let overview = Overview::collect(&shown, "node".into(), Duration::from_millis(61_500), None);
        let text = serde_json::to_string(&overview).expect("JSON");
        (text.len(), serde_json::from_str(&text).expect("JSON"))
    }

    #[test]
    fn each_client_has_its_own_numbers() {
        let (_, json) = json();
        let of = |client: usize, key: &str| json["clients"][client][key].clone();
        let lines = |client: usize| &json["clients"][client]["account"]["read"]["lines"];
        assert_eq!((of(0, "unread_bytes"), of(1, "unread_bytes")), (1.into(), 1_000.into()));
        assert_eq!((lines(0), lines(1)), (&0.into(), &7.into()));
        assert_eq!(json["clients"][1]["status"]["failing_seconds"], 3);
        assert_eq!(json["summary"]["behind_bytes"], 1_001);
        assert_eq!((&json["uptime_seconds"], &json["counted_ms"]), (&61.into(), &61_500.into()));
        assert_eq!((&json["hostname"], &json["reload_error"]), (&"node".into(), &"no".into()));
    }

    #[test]
    fn an_answer_is_short_whatever_errors_and_rules_there_are() {
        let (length, json) = json();
        assert!(length < 32 << 10, "{length} bytes");
        assert_eq!(json["discovery"]["discovered"], 200);
        assert_eq!(json["discovery"]["dropped"].as_array().map(Vec::len), Some(50));
        assert_eq!(json["discovery"]["dropped"][0]["targets"], 2);
        assert_eq!(json["discovery"]["more_reasons"], 50);
    }
}
