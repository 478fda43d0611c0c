//! Builds the parts of a run from the config.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::Options;
use crate::batch::{self, Batch};
use crate::config::{Config, LimitsConfig, ScrapeConfig};
use crate::discovery::kubernetes::{Places, Remembered};
use crate::model::{LabelSet, Labels};
use crate::relabel::Rules;
use crate::scrape::{self, ClientCounters, Job, Outlet, Rate};
use crate::stages::{self, Inspector};
use crate::{positions, push, receive};

/// Where the kubelet keeps pods' logs.
const POD_LOGS: &str = "/var/log/pods";

pub(super) fn positions(config: &Config, options: &Options) -> positions::Config {
    positions::Config {
        filename: config.positions.filename.as_str().into(),
        ignore_invalid_yaml: config.positions.ignore_invalid_yaml,
        read_only: options.dry_run || options.stdin,
        readers: readers(config),
    }
}

/// The clients and jobs of the config.
pub(super) fn readers(config: &Config) -> BTreeSet<(Arc<str>, Arc<str>)> {
    config.clients.iter().flat_map(|client| jobs_of(config, client.name().into())).collect()
}

/// The folder of the pods' logs, and the file that remembers pods. It is beside the positions file.
pub(super) fn places(config: &Config, options: &Options) -> Places {
    let mut file = std::path::PathBuf::from(&config.positions.filename).into_os_string();
    file.push(".pods");
    let remembered = Remembered::open(file.into(), options.dry_run || options.stdin);
    Places { pod_logs: POD_LOGS.into(), remembered: Arc::new(remembered) }
}

fn jobs_of(config: &Config, client: Arc<str>) -> impl Iterator<Item = (Arc<str>, Arc<str>)> {
    config.scrape_configs.iter().map(move |job| (client.clone(), Arc::from(job.job_name.as_str())))
}

/// The jobs of a checked config. An error here is a mistake in the check.
pub(super) fn jobs(config: &Config, options: &Options) -> Result<Vec<Job>, String> {
    let inspector = options.inspect.then(Inspector::of_stderr);
    let job = |scrape: &ScrapeConfig| {
        let job = scrape.job(&config.target_config).map_err(|e| format!("job {:?}: {e}", scrape.job_name))?;
        Ok(Job { program: job.program.map(|program| program.inspected_by(inspector.clone())), ..job })
    };
    let jobs = config.scrape_configs.iter().map(job).collect::<Result<Vec<Job>, String>>()?;
    for job in &jobs {
        if let Some(why) = &job.unreadable {
            tracing::error!(job = %job.name, "{why}");
        }
    }
    Ok(jobs)
}

pub(super) fn scrape(config: &Config, options: &Options, hostname: String) -> scrape::Config {
    let watch = &config.global.file_watch_config;
    scrape::Config {
        stdin: options.stdin.then(|| stdin_labels(config, &hostname)),
        receivers: if options.stdin { Vec::new() } else { sources_of_receivers(config) },
        hostname,
        sync_period: config.target_config.sync_period.0,
        positions_sync_period: config.positions.sync_period.0,
        min_poll: watch.min_poll_frequency.0,
        max_poll: watch.max_poll_frequency.map(|most| most.0),
        close_idle_after: config.target_config.close_idle_after.0,
        deleted_files_limit: config.target_config.deleted_files_limit.0,
        pod_logs: (!config.target_config.foreign_pod_logs).then(|| POD_LOGS.into()),
        link_roots: config.target_config.link_roots.iter().map(Into::into).collect(),
        rotated_dirs: config.target_config.rotated_dirs.iter().map(Into::into).collect(),
        files: descriptors(config),
        logs: config.target_config.logs_limit.min(descriptors(config) / 8 * 7).max(1),
        rate: rate(&config.limits_config),
        dry_run: options.dry_run,
    }
}

/// The sources that receivers hand their records to.
fn sources_of_receivers(config: &Config) -> Vec<scrape::Receiver> {
    let jobs = config.scrape_configs.iter().enumerate();
    let source = |(job, receives): (usize, receive::Config)| scrape::Receiver {
        job,
        name: receives.name(),
        labels: receives.own_labels(),
        spool: None,
    };
    jobs.filter_map(|(i, job)| Some((i, job.receives()?))).map(source).collect()
}

/// The receivers, job by job.
pub(super) fn receivers(config: &Config, options: &Options) -> Result<Vec<receive::Receiver>, String> {
    let jobs = if options.stdin { &[] } else { config.scrape_configs.as_slice() };
    let receiver = |job: &ScrapeConfig| {
        let config = job.receives()?;
        let rules = Rules::compile(&job.relabel_configs).map_err(|e| format!("job {:?}: {e}", job.job_name));
        Some(rules.map(|rules| receive::Receiver { job: job.job_name.as_str().into(), config, rules, spool: None }))
    };
    jobs.iter().filter_map(receiver).collect()
}

/// How many file descriptors of the process one client may use. The rest of the process keeps 512, or an eighth, and
/// receivers what their connections need, at most a quarter. Seven eighths of the result may be logs. What they leave is for
/// their rotated generations.
fn descriptors(config: &Config) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let receivers = config.scrape_configs.iter().filter_map(ScrapeConfig::receives);
    let connections: usize = receivers.map(|receives| receives.connections()).sum();
    let kept = 512.min(limit / 8) + connections.min(limit / 4);
    limit.saturating_sub(kept) / config.clients.len().max(1)
}

fn rate(limits: &LimitsConfig) -> Option<Rate> {
    let quota = stages::quota(limits.readline_rate, limits.readline_burst).filter(|_| limits.readline_rate_enabled)?;
    Some(Rate { quota, drop: limits.readline_rate_drop })
}

/// As in Promtail, the labels of the first job's static configs. Labels that begin with `__` are not sent.
fn stdin_labels(config: &Config, hostname: &str) -> LabelSet {
    let Some((job, others)) = config.scrape_configs.split_first() else {
        return LabelSet::new([("hostname", hostname), ("job", "stdin")]);
    };
    if !others.is_empty() {
        tracing::warn!(
            job = job.job_name,
            "-stdin uses the labels and stages of the first job; the other jobs are not run"
        );
    }
    let unused = [
        ("relabel_configs", !job.relabel_configs.is_empty()),
        ("kubernetes_sd_configs", !job.kubernetes_sd_configs.is_empty()),
        ("file_sd_configs", !job.file_sd_configs.is_empty()),
        ("docker_sd_configs", !job.docker_sd_configs.is_empty()),
        ("http_sd_configs", !job.http_sd_configs.is_empty()),
        ("consul_sd_configs", !job.consul_sd_configs.is_empty()),
        ("consulagent_sd_configs", !job.consulagent_sd_configs.is_empty()),
        ("dns_sd_configs", !job.dns_sd_configs.is_empty()),
        ("dockerswarm_sd_configs", !job.dockerswarm_sd_configs.is_empty()),
        ("encoding", !job.encoding.is_empty()),
        ("decompression", job.decompression.enabled),
    ];
    let unused: Vec<&str> = unused.into_iter().filter(|(_, is_written)| *is_written).map(|(key, _)| key).collect();
    if !unused.is_empty() {
        let (job, unused) = (&job.job_name, unused.join(", "));
        tracing::warn!(
            job,
            unused,
            "-stdin uses only the job's stages and the labels of static_configs, and reads UTF-8"
        );
    }
    let all: Labels = job.static_configs.iter().flat_map(|c| c.labels.clone()).collect();
    LabelSet::new(all.into_iter().filter(|(name, _)| !name.starts_with("__")))
}

pub(super) fn outlet(
    config: &Config,
    client: &push::Config,
    batches: UnboundedSender<Vec<Batch>>,
    metrics: &push::Metrics,
) -> Outlet {
    let batch = client.batching(limits(config));
    let (host, tenant) = (client.host().to_string(), client.tenant_id.clone());
    let (drops, cuts) = (metrics.clone(), metrics.clone());
    let (drop_host, default_tenant) = (host.clone(), tenant.clone());
    let counters = ClientCounters {
        refused: Box::new(move |entry, reason| {
            let tenant = entry.tenant.as_deref().unwrap_or(&default_tenant);
            drops.dropped(&drop_host, tenant, reason, 1, entry.line.len());
        }),
        truncated: Box::new(move |bytes| cuts.truncated(&host, &tenant, bytes)),
    };
    Outlet { client: client.name().into(), batch, batches, counters }
}

/// For a dry run: has the first client's labels, and sends nothing.
pub(super) fn printing(config: &Config) -> Outlet {
    let (batches, _) = unbounded_channel();
    let counters = ClientCounters { refused: Box::new(|_, _| {}), truncated: Box::new(|_| {}) };
    let batch = match config.clients.first() {
        Some(client) => client.batching(limits(config)),
        None => push::Config::default().batching(limits(config)),
    };
    Outlet { client: Arc::from("dry-run"), batch, batches, counters }
}

fn limits(config: &Config) -> batch::Limits {
    batch::Limits {
        max_line_size: config.limits_config.max_line_size.0 as usize,
        truncate: config.limits_config.max_line_size_truncate,
    }
}
