//! Collects what the pages and the metrics show.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntCounter, IntGauge, IntGaugeVec};

use crate::config::{Config, SkippedJob};
use crate::explain::{self, Around, Files, Found, Known, Paint};
use crate::metrics::Registry;
use crate::model::{
    AccountReport, AskedToExplain, ClientReport, DiscoveredReport, DiscoverySummary, DropReason, Explained,
    ExplainedClient, Labels, Question, Report, TargetReport,
};
use crate::push;

/// The targets of the scrape, and the clients.
pub(super) struct Whole<T> {
    pub targets: Arc<T>,
    pub clients: Vec<Arc<push::Status>>,
    /// The config in use. Its `skipped_jobs` are not run.
    pub config: Config,
    pub hostname: String,
    pub node: Arc<str>,
}

impl<T: Report> Report for Whole<T> {
    fn targets(&self) -> Vec<TargetReport> {
        self.targets.targets()
    }

    fn discovered(&self) -> Vec<DiscoveredReport> {
        let skipped = self.config.skipped_jobs.iter().map(|job| DiscoveredReport {
            job: job.name.clone(),
            group: "options.skip_unsupported_jobs".into(),
            discovered: Labels::new(),
            labels: None,
            path: None,
            dropped: Some(format!("this job is not run: {}", job.reason)),
            is_mistake: true,
            left_out: None,
            unread: 0,
        });
        skipped.chain(self.targets.discovered()).collect()
    }

    fn clients(&self) -> Vec<ClientReport> {
        self.clients.iter().map(|status| status.report()).collect()
    }

    fn accounts(&self) -> BTreeMap<String, AccountReport> {
        self.targets.accounts()
    }

    fn discovery(&self) -> DiscoverySummary {
        let mut summary = self.targets.discovery();
        summary.discovered += self.config.skipped_jobs.len();
        let skipped = self.config.skipped_jobs.iter().map(|job| DropReason {
            job: job.name.clone(),
            reason: format!("this job is not run: {}", job.reason),
            targets: 1,
        });
        summary.dropped.extend(skipped);
        summary
    }

    fn explain(&self, asked: &AskedToExplain) -> Result<Explained, String> {
        let words: Vec<String> = Some(asked.about.clone()).filter(|about| !about.is_empty()).into_iter().collect();
        let question = Question {
            about: explain::question(&words)?,
            job: asked.job.clone(),
            lines: asked.line.iter().cloned().collect(),
        };
        let known = Known {
            files: self.targets.targets().into_iter().flat_map(|target| target.files).collect(),
            clients: self.clients().into_iter().map(explained).collect(),
        };
        let found = |one: DiscoveredReport| Found { job: one.job, source: one.group, labels: one.discovered };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let around = Around {
            hostname: &self.hostname,
            node: &self.node,
            found: self.targets.discovered().into_iter().map(found).collect(),
            files: Files::Known(&known),
            now: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        };
        let mut explanation = explain::explain(&self.config, &question, &around)?;
        explain::hide(&mut explanation);
        let text = explain::text(&explanation, Paint::Plain);
        Ok(Explained { explanation, text })
    }

    fn still(&self) -> Vec<String> {
        self.targets.still()
    }
}

fn explained(client: ClientReport) -> ExplainedClient {
    ExplainedClient { name: client.name, url: client.url, state: client.state, last_error: client.last_error }
}

/// The report before anything runs.
pub(super) struct Nothing;

impl Report for Nothing {
    fn targets(&self) -> Vec<TargetReport> {
        Vec::new()
    }

    fn discovered(&self) -> Vec<DiscoveredReport> {
        Vec::new()
    }

    fn clients(&self) -> Vec<ClientReport> {
        Vec::new()
    }
}

/// Registers a metric with what the kernel denies this process. Returns the same as comment lines for the config page.
pub(super) fn confinement(walls: &[(&'static str, String)], registry: &Registry) -> String {
    let help = "A constant 1. The labels say whether seccomp and Landlock restrict this process.";
    let labels = walls.iter().map(|(wall, what)| (*wall, what.split(';').next().unwrap_or_default()));
    registry.info("fantail_confinement_info", help, labels);
    walls.iter().map(|(wall, what)| format!("# {wall}: {what}\n")).collect()
}

/// The metric of jobs that are not run.
#[derive(Debug)]
pub(super) struct Skipped(IntGaugeVec);

impl Skipped {
    pub fn register(registry: &Registry) -> Self {
        let help = "Jobs of the config that are not run because their kind of target is not supported";
        Self(registry.gauges("fantail_skipped_jobs", help, &["job"]))
    }

    pub fn set(&self, jobs: &[SkippedJob]) {
        self.0.reset();
        jobs.iter().for_each(|job| self.0.with_label_values(&[&job.name]).set(1));
    }
}

/// The metrics of reloads.
#[derive(Debug)]
pub(super) struct Reloads {
    successful: IntGauge,
    success_time: IntGauge,
    successes: IntCounter,
    failures: IntCounter,
}

impl Reloads {
    pub fn register(registry: &Registry) -> Self {
        let reloads = Self {
            successful: registry.gauge(
                "fantail_config_last_reload_successful",
                "1 if the last load of the config succeeded. While it is 0, the previous config stays in use.",
            ),
            success_time: registry.gauge(
                "fantail_config_last_reload_success_timestamp_seconds",
                "Unix time at which the config in use was loaded.",
            ),
            successes: registry.counter("promtail_config_reload_success_total", "Number of reload success times."),
            failures: registry.counter("promtail_config_reload_fail_total", "Number of reload fail times."),
        };
        reloads.loaded();
        reloads
    }

    fn loaded(&self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.success_time.set(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        self.successful.set(1);
    }

    pub fn count(&self, is_success: bool) {
        if is_success {
            self.successes.inc();
            self.loaded();
        } else {
            self.failures.inc();
            self.successful.set(0);
        }
    }
}
