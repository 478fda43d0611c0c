//! Jobs with a kind of target that Promtail has and fantail has not. All of them are refused at once, or left out if the
//! config allows it.

use super::scrape::KINDS;
use crate::model::KeyPath;
use crate::yaml::{Content, Document, Error};

/// A job that is not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedJob {
    /// Its name, or its place in the list if it has none.
    pub name: String,
    /// Its kinds of targets that are not supported, and what to use instead.
    pub reason: String,
}

/// The advice for a kind of target that fantail does not support. None: it is supported, or no agent has it.
fn unsupported(kind: &str) -> Option<String> {
    let instead = instead(kind)?;
    Some(format!("fantail does not support {kind}: {instead} (supported: {KINDS})"))
}

/// What to use instead of a kind of target that fantail does not support.
pub(super) fn instead(kind: &str) -> Option<String> {
    let of_sources = SOURCES.iter().find(|(name, _)| *name == kind).map(|(_, instead)| (*instead).to_string());
    let of_discovery =
        || kind.strip_suffix("_sd_configs").filter(|kind| DISCOVERIES.contains(kind)).map(|_| LISTED.into());
    of_sources.or_else(of_discovery)
}

/// Sources of lines that Promtail has, and what to use instead.
const SOURCES: [(&str, &str); 9] = [
    ("azure_event_hub", AZURE),
    ("azure_event_hubs", AZURE),
    ("cloudflare", "run Grafana Alloy for this job (loki.source.cloudflare), and remove the job here"),
    ("gcplog", "run Grafana Alloy for this job (loki.source.gcplog), and remove the job here"),
    (
        "gelf",
        "send syslog instead, or let Grafana Alloy (loki.source.gelf) or Fluent Bit (gelf) push to a job with loki_push_api",
    ),
    (
        "heroku_drain",
        "run Grafana Alloy for this job (loki.source.heroku), or let Heroku's syslog drain send to a job with syslog",
    ),
    (
        "kafka",
        "run Grafana Alloy (loki.source.kafka), Vector or Fluent Bit for this job; they can push to a job with loki_push_api",
    ),
    ("windows_eventlog", WINDOWS),
    ("windows_events", WINDOWS),
];

const AZURE: &str = "run Grafana Alloy for this job (loki.source.azure_event_hubs), and remove the job here";

const WINDOWS: &str =
    "fantail runs on Linux: run Grafana Alloy on Windows (loki.source.windowsevent), and remove the job here";

/// The kinds of discovery of Promtail and Prometheus that are not supported, without `_sd_configs`.
const DISCOVERIES: [&str; 22] = [
    "azure",
    "digitalocean",
    "ec2",
    "eureka",
    "gce",
    "hetzner",
    "ionos",
    "kuma",
    "lightsail",
    "linode",
    "marathon",
    "nerve",
    "nomad",
    "openstack",
    "ovhcloud",
    "puppetdb",
    "scaleway",
    "serverset",
    "stackit",
    "triton",
    "uyuni",
    "vultr",
];

const LISTED: &str = "for files of this machine use static_configs with __path__; for other targets let a program list \
                      them over HTTP for http_sd_configs, or write them to a file for file_sd_configs";

/// All kinds that are not supported.
#[cfg(test)]
pub(super) fn kinds() -> Vec<String> {
    let of_discovery = DISCOVERIES.iter().map(|kind| format!("{kind}_sd_configs"));
    SOURCES.iter().map(|(name, _)| (*name).to_string()).chain(of_discovery).collect()
}

/// The jobs that were taken out, and what is said about them.
#[derive(Default)]
pub(super) struct TakenOut {
    /// Jobs that the config allows to leave out.
    pub skipped: Vec<SkippedJob>,
    /// One error for each kind that is not supported, if the config does not allow to leave its job out.
    pub refused: Vec<Error>,
    /// What can be done about the refused jobs.
    pub advice: Option<String>,
}

/// Takes out all unsupported jobs. Each kind of theirs is an error, or a warning if the config allows to leave them out.
/// A kind without a value is not there.
pub(super) fn take_out(document: &mut Document, warnings: &mut Vec<Error>) -> TakenOut {
    let skips = skips(document);
    let Some(jobs) = document.root_mut().get_mut("scrape_configs") else { return TakenOut::default() };
    let Content::List(jobs) = &mut jobs.content else { return TakenOut::default() };
    let (mut skipped, mut problems, mut unsupported_at) = (Vec::new(), Vec::new(), Vec::new());
    for (i, job) in jobs.iter_mut().enumerate() {
        let name = job.get_mut("job_name").map(|name| name.raw.clone()).filter(|name| !name.is_empty());
        let Content::Map(entries) = &mut job.content else { continue };
        entries.retain(|(key, value)| value.content != Content::Null || unsupported(key).is_none());
        let kinds: Vec<(&String, String)> =
            entries.iter().filter_map(|(key, _)| Some((key, unsupported(key)?))).collect();
        if kinds.is_empty() {
            continue;
        }
        unsupported_at.push(i);
        let path = |key: &str| KeyPath::from(format!("scrape_configs[{i}].{key}").as_str());
        problems.extend(kinds.iter().map(|(key, message)| (path(key), message.clone())));
        let reasons: Vec<String> = kinds.into_iter().map(|(_, message)| message).collect();
        let name = name.unwrap_or_else(|| format!("scrape_configs[{i}]"));
        skipped.push(SkippedJob { name, reason: reasons.join("; ") });
    }
    let others = jobs.len() - skipped.len();
    let taken_out = if skips {
        let note = |(path, message)| document.note(&path, format!("this job is not run: {message}"));
        warnings.extend(problems.into_iter().map(note));
        TakenOut { skipped, ..TakenOut::default() }
    } else {
        let refused = problems.into_iter().map(|(path, message)| document.error(&path, message)).collect();
        let jobs = if others == 1 { "job" } else { "jobs" };
        let advice = || {
            format!(
                "{others} other {jobs} of this config can run: -config.skip-unsupported-jobs, or \
                 options.skip_unsupported_jobs: true, starts the agent without the jobs named above"
            )
        };
        let advice = (!skipped.is_empty() && others > 0).then(advice);
        TakenOut { skipped: Vec::new(), refused, advice }
    };
    if let Some(Content::List(jobs)) = document.root_mut().get_mut("scrape_configs").map(|jobs| &mut jobs.content) {
        let mut at = 0..;
        jobs.retain(|_| at.next().is_none_or(|i| !unsupported_at.contains(&i)));
    }
    taken_out
}

/// Whether the config allows to leave unsupported jobs out. A value that cannot be read is reported later.
fn skips(document: &mut Document) -> bool {
    let options = document.root_mut().get_mut("options");
    let Some(value) = options.and_then(|options| options.get_mut("skip_unsupported_jobs")) else { return false };
    value.content != Content::Null
        && document.read_at::<bool>(&KeyPath::from("options.skip_unsupported_jobs")).unwrap_or(false)
}
