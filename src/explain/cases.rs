//! Unit tests of a config: targets and lines in, entries or reasons out. `docs/testing.md` describes the format.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::Found;
use super::way::Asked;
use crate::config::Config;
use crate::model::{ExplainedEntry, ExplainedTarget, Labels, LineTrace, Outcome};
use crate::yaml;

/// A file of tests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    /// The config file, relative to the directory of the tests.
    pub config: String,
    /// The time at which the lines are read. Default: 2026-01-01 00:00 UTC.
    #[serde(default)]
    pub now: String,
    /// The host name, which `__host__` is compared with. Default: `localhost`.
    #[serde(default)]
    pub hostname: String,
    pub tests: Vec<Case>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// Default: the only job of the config.
    #[serde(default)]
    job: String,
    /// The labels of the target before relabelling.
    #[serde(default)]
    labels: Labels,
    /// The file of the lines. Default: the path of the target.
    #[serde(default)]
    file: String,
    #[serde(default)]
    lines: Vec<String>,
    #[serde(default)]
    expect: Expect,
}

/// What must come out. Keys that are left out are not compared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Expect {
    /// A part of the reason why the target is not read.
    dropped: Option<String>,
    labels: Option<Labels>,
    path: Option<String>,
    entries: Option<Vec<ExpectedEntry>>,
    /// The reasons for which stages drop lines, in order.
    drops: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ExpectedEntry {
    line: Option<String>,
    /// `filename` is compared only if it is written.
    labels: Option<Labels>,
    /// RFC 3339.
    timestamp: Option<String>,
    metadata: Option<Labels>,
    tenant: Option<String>,
}

const NOW: &str = "2026-01-01T00:00:00Z";

/// Reads a file of tests.
pub fn cases(text: &str) -> Result<Cases, String> {
    yaml::from_str(text).map_err(|e| e.to_string())
}

impl Cases {
    /// Runs each test. Returns its name and its differences: none, if it passes.
    pub fn run(&self, config: &Config) -> Result<Vec<(String, Vec<String>)>, String> {
        let now = if self.now.is_empty() { NOW } else { &self.now };
        let now: Timestamp = now.parse().map_err(|e| format!("now: {now:?} is not a time of RFC 3339: {e}"))?;
        let now = i64::try_from(now.as_nanosecond()).map_err(|_| "now: the time is out of range".to_string())?;
        let hostname = if self.hostname.is_empty() { "localhost" } else { &self.hostname };
        let run = |case: &Case| {
            let failures = case.run(config, hostname, now).unwrap_or_else(|why| vec![why]);
            (case.name.clone(), failures)
        };
        Ok(self.tests.iter().map(run).collect())
    }
}

impl Case {
    fn run(&self, config: &Config, hostname: &str, now: i64) -> Result<Vec<String>, String> {
        let job = match (self.job.as_str(), config.scrape_configs.as_slice()) {
            ("", [only]) => only,
            ("", _) => return Err("the config has more than one job, or none: write `job`".into()),
            (name, jobs) => {
                let job = jobs.iter().find(|job| job.job_name == name);
                job.ok_or_else(|| format!("the config has no job {name:?}"))?
            }
        };
        let asked = Asked::new(job, job.job(&config.target_config)?);
        let found = Found { job: job.job_name.clone(), source: self.name.clone(), labels: self.labels.clone() };
        let (target, readable) = asked.way(&found, hostname);
        let mut differences = self.expect.compare_target(&target);
        let Some(readable) = readable else {
            if self.expect.dropped.is_none() {
                let why = target.dropped.as_deref().unwrap_or_default();
                differences.push(format!("the target is not read: {why}"));
            }
            return Ok(differences);
        };
        let traces = asked.trace(&readable, &self.file, &self.lines, now);
        differences.extend(self.expect.compare_lines(&traces));
        Ok(differences)
    }
}

impl Expect {
    fn compare_target(&self, target: &ExplainedTarget) -> Vec<String> {
        let mut differences = Vec::new();
        match (&self.dropped, &target.dropped) {
            (Some(want), Some(got)) if !got.contains(want) => {
                differences.push(format!("dropped: expected {want:?}, got {got:?}"));
            }
            (Some(want), None) => differences.push(format!("dropped: expected {want:?}, but the target is read")),
            _ => {}
        }
        if target.dropped.is_none() {
            if let Some(want) = &self.labels {
                differences.extend(compare_labels("label", want, &target.labels));
            }
            if self.path.is_some() && self.path != target.path {
                differences.push(different("path", self.path.as_ref(), target.path.as_ref()));
            }
        }
        differences
    }

    fn compare_lines(&self, traces: &[LineTrace]) -> Vec<String> {
        let mut differences = Vec::new();
        let got: Vec<&ExplainedEntry> = traces.iter().flat_map(|trace| &trace.entries).collect();
        if let Some(want) = &self.entries {
            if want.len() != got.len() {
                differences.push(format!("entries: expected {}, got {}", want.len(), got.len()));
            }
            for n in 0..want.len().max(got.len()) {
                differences.extend(match (want.get(n), got.get(n)) {
                    (Some(want), Some(got)) => want.compare(n, got),
                    (Some(want), None) => {
                        vec![format!("entry {n}: missing: {:?}", want.line.as_deref().unwrap_or("…"))]
                    }
                    (None, Some(got)) => vec![format!("entry {n}: not expected: {:?}", got.line)],
                    (None, None) => Vec::new(),
                });
            }
        }
        // A stage that contains the one that drops has the same outcome.
        let steps = traces.iter().flat_map(|trace| &trace.steps).filter(|step| step.depth == 0);
        let reason = |outcome: &Outcome| match outcome {
            Outcome::Dropped(reason) => Some(reason.clone()),
            _ => None,
        };
        let drops: Vec<String> = steps.filter_map(|step| reason(&step.outcome)).collect();
        if let Some(want) = self.drops.as_ref().filter(|want| **want != drops) {
            differences.push(format!("drops: expected {want:?}, got {drops:?}"));
        }
        differences
    }
}

impl ExpectedEntry {
    fn compare(&self, n: usize, got: &ExplainedEntry) -> Vec<String> {
        let entry = format!("entry {n}");
        let mut differences = Vec::new();
        if self.line.as_ref().is_some_and(|want| *want != got.line) {
            differences.push(different(&format!("{entry}, line"), self.line.as_ref(), Some(&got.line)));
        }
        if let Some(want) = &self.labels {
            let mut labels = got.labels.clone();
            if !want.contains_key("filename") {
                labels.remove("filename");
            }
            differences.extend(compare_labels(&format!("{entry}, label"), want, &labels));
        }
        if let Some(want) = &self.metadata {
            differences.extend(compare_labels(&format!("{entry}, metadata"), want, &got.metadata));
        }
        // `null` is no tenant, and a key that is left out reads as the same.
        if self.tenant.is_some() && self.tenant != got.tenant {
            differences.push(different(&format!("{entry}, tenant"), self.tenant.as_ref(), got.tenant.as_ref()));
        }
        if let Some(want) = &self.timestamp {
            let same = match (want.parse::<Timestamp>(), got.timestamp.parse::<Timestamp>()) {
                (Ok(want), Ok(got)) => want == got,
                _ => false,
            };
            if !same {
                differences.push(different(&format!("{entry}, timestamp"), Some(want), Some(&got.timestamp)));
            }
        }
        differences
    }
}

fn compare_labels(what: &str, want: &BTreeMap<String, String>, got: &BTreeMap<String, String>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = want.keys().chain(got.keys()).collect();
    let differing = names.into_iter().filter(|name| want.get(*name) != got.get(*name));
    differing.map(|name| different(&format!("{what} {name}"), want.get(name), got.get(name))).collect()
}

/// Two lines of a diff below what differs.
fn different(what: &str, want: Option<&String>, got: Option<&String>) -> String {
    let shown = |value: Option<&String>| value.map_or("(nothing)".into(), |value| format!("{value:?}"));
    format!("{what}:\n  - expected {}\n  + got      {}", shown(want), shown(got))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Request;

    const CONFIG: &str = r#"
scrape_configs:
  - job_name: pods
    kubernetes_sd_configs: [{role: pod}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_namespace], action: keep, regex: shop}
      - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
      - {target_label: __path__, replacement: /logs/app.log}
    pipeline_stages:
      - drop: {expression: healthz, drop_counter_reason: probe}
      - logfmt: {mapping: {level: , user: , t: }}
      - labels: {level: }
      - structured_metadata: {user: }
      - tenant: {label: namespace}
      - timestamp: {source: t, format: Unix}
"#;

    fn differences(case: &str) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), CONFIG).expect("written");
        let request = Request { files: file.path().display().to_string(), dry_run: true, ..Request::default() };
        let config = Config::load(&request, &|_| None).expect("a config").config;
        let text = format!("config: x\ntests: [{{name: a, {case}}}]");
        let mut results = cases(&text).unwrap_or_else(|e| panic!("{text}: {e}")).run(&config).expect("results");
        results.remove(0).1
    }

    const SHOP: &str = "labels: {__meta_kubernetes_namespace: shop}";

    #[test]
    fn what_is_as_expected_passes() {
        for case in [
            "labels: {__meta_kubernetes_namespace: test}, expect: {dropped: 'rule 0: keep'}".to_string(),
            format!("{SHOP}, expect: {{labels: {{namespace: shop}}, path: /logs/app.log}}"),
            format!("{SHOP}, lines: [GET /healthz], expect: {{entries: [], drops: [probe]}}"),
            format!(
                "{SHOP}, lines: [level=warn user=u1 t=1], expect: {{drops: [], entries: [{{line: level=warn user=u1 t=1, \
                 labels: {{namespace: shop, level: warn}}, metadata: {{user: u1}}, tenant: shop, \
                 timestamp: '1970-01-01T01:00:01+01:00'}}]}}"
            ),
            format!(
                "{SHOP}, file: /logs/b.log, lines: [x], expect: {{entries: [{{labels: {{namespace: shop, filename: /logs/b.log}}}}]}}"
            ),
        ] {
            assert_eq!(differences(&case), Vec::<String>::new(), "{case}");
        }
    }

    #[test]
    fn each_difference_is_shown() {
        for (case, want) in [
            ("expect: {}".to_string(), "the target is not read: rule 0"),
            ("expect: {dropped: rule 1}".into(), "dropped: expected \"rule 1\", got \"rule 0"),
            (format!("{SHOP}, expect: {{dropped: rule}}"), "but the target is read"),
            (format!("{SHOP}, expect: {{path: /x}}"), "path:\n  - expected \"/x\"\n  + got      \"/logs/app.log\""),
            (
                format!("{SHOP}, expect: {{labels: {{}}}}"),
                "label namespace:\n  - expected (nothing)\n  + got      \"shop\"",
            ),
            (format!("{SHOP}, lines: [a], expect: {{entries: []}}"), "entry 0: not expected: \"a\""),
            (format!("{SHOP}, lines: [healthz], expect: {{entries: [{{line: b}}]}}"), "entry 0: missing: \"b\""),
            (format!("{SHOP}, lines: [healthz], expect: {{drops: []}}"), "drops: expected [], got [\"probe\"]"),
            (format!("{SHOP}, lines: [a], expect: {{entries: [{{line: b}}]}}"), "entry 0, line:\n  - expected \"b\""),
            (format!("{SHOP}, lines: [a], expect: {{entries: [{{tenant: b}}]}}"), "entry 0, tenant:"),
            (
                format!("{SHOP}, lines: [t=5], expect: {{entries: [{{timestamp: '1970-01-01T00:00:06Z'}}]}}"),
                "entry 0, timestamp:",
            ),
            (format!("{SHOP}, lines: [user=x], expect: {{entries: [{{metadata: {{}}}}]}}"), "entry 0, metadata user:"),
            ("job: y".into(), "the config has no job \"y\""),
        ] {
            let differences = differences(&case);
            assert!(differences.iter().any(|difference| difference.contains(want)), "{case}: {differences:?}");
        }
    }

    #[test]
    fn a_job_that_reads_no_files() {
        let config: Config = serde_yaml::from_str(
            "scrape_configs: [{job_name: sys, syslog: {listen_address: '127.0.0.1:1514', labels: {job: syslog}}, \
             relabel_configs: [{source_labels: [__syslog_message_severity], target_label: level}], \
             pipeline_stages: [{drop: {expression: noise}}]}]",
        )
        .expect("a config");
        let case = "{name: a, labels: {__syslog_message_severity: error}, lines: [noise, a line], expect: {labels: {job: syslog, \
                    level: error}, drops: [drop_stage], entries: [{line: a line, labels: {job: syslog, level: error}}]}}";
        let cases = cases(&format!("config: none\ntests: [{case}]")).expect("cases");
        assert_eq!(cases.run(&config).expect("results"), [("a".to_string(), Vec::new())]);
    }

    #[test]
    fn unknown_keys_are_refused() {
        for (text, want) in [
            ("config: a\ntests: [{name: b, line: [c]}]", "unknown key, did you mean lines?"),
            ("config: a\ntests: [{name: b, expect: {entry: []}}]", "unknown key"),
            ("tests: []", "config is required"),
        ] {
            let error = cases(text).expect_err(text);
            assert!(error.contains(want), "{error}");
        }
    }
}
