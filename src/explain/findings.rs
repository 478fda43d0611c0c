//! What is worth saying about a question as a whole, and about an entry that Loki may refuse.

use jiff::Timestamp;

use super::Around;
use super::way::Asked;
use crate::config::Config;
use crate::model::{About, ExplainedEntry, Explanation, Labels, Question, pod};

/// Loki's default for `reject_old_samples_max_age`: one week, in seconds.
const TOO_OLD: i64 = 7 * 24 * 3600;

/// Loki's default for `creation_grace_period`, in seconds.
const TOO_NEW: i64 = 600;

/// Loki's default for `max_line_size`, in bytes.
const TOO_LONG: usize = 256 << 10;

/// Loki's default for `max_label_names_per_series`.
const TOO_MANY: usize = 15;

/// Why Loki may refuse this entry.
pub(super) fn of_entry(entry: &ExplainedEntry, config: &Config, now: i64) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Ok(time) = entry.timestamp.parse::<Timestamp>() {
        let age = now / 1_000_000_000 - time.as_second();
        if age > TOO_OLD {
            warnings.push(format!(
                "the entry is {} days old: Loki refuses entries older than reject_old_samples_max_age (default: 1 week)",
                age / 86_400
            ));
        }
        if age < -TOO_NEW {
            warnings.push(
                "the time is in the future: Loki refuses entries that are ahead by more than creation_grace_period \
                 (default: 10 minutes)"
                    .into(),
            );
        }
    }
    if entry.labels.is_empty() {
        warnings.push("the entry has no label: Loki refuses it".into());
    }
    if entry.labels.len() > TOO_MANY {
        warnings.push(format!(
            "the entry has {} labels: Loki refuses more than max_label_names_per_series (default: {TOO_MANY})",
            entry.labels.len()
        ));
    }
    let limit = config.limits_config.max_line_size.0;
    if limit > 0 && entry.line.len() as u64 > limit {
        warnings.push(match config.limits_config.max_line_size_truncate {
            true => format!("the line is cut to limits_config.max_line_size, {limit} bytes"),
            false => format!("the line is dropped: it is longer than limits_config.max_line_size, {limit} bytes"),
        });
    } else if entry.line.len() > TOO_LONG {
        warnings.push("the line is longer than Loki's max_line_size (default: 256 KB): Loki refuses it".into());
    }
    warnings
}

pub(super) fn notes(config: &Config, question: &Question, answer: &Explanation, around: &Around<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if config.scrape_configs.is_empty() {
        notes.push("the config has no scrape_configs: nothing is read".into());
    }
    if answer.targets.is_empty() {
        notes.extend(why_no_target(config, question, around));
    }
    if let About::Labels(labels) = &question.about {
        notes.extend(of_labels(config, labels, around));
    }
    notes
}

fn why_no_target(config: &Config, question: &Question, around: &Around<'_>) -> Option<String> {
    let node = around.node;
    match &question.about {
        About::Pod { namespace, name } => Some(format!(
            "discovery has found no target of the pod {namespace}/{name}. The agent reads only pods of its own node, here {node:?} (set \
             NODE_NAME to ask for another one). Check that the pod is on this node, that it exists, and that namespaces \
             and selectors of kubernetes_sd_configs include it"
        )),
        About::File(file) if !file.starts_with('/') => {
            Some(format!("{file} is not a whole path: write a path that begins with /"))
        }
        About::File(file) => {
            let mut globs: Vec<String> = around.found.iter().filter_map(|found| glob_of(config, found)).collect();
            globs.sort();
            globs.dedup();
            let more = if globs.len() > 5 { format!(" and {} more", globs.len() - 5) } else { String::new() };
            globs.truncate(5);
            let known = if globs.is_empty() { "none".into() } else { globs.join(", ") };
            Some(format!("{file} matches no __path__ of a target. Paths of the targets: {known}{more}"))
        }
        _ => Some("discovery has found no target".into()),
    }
}

fn glob_of(config: &Config, found: &super::Found) -> Option<String> {
    let config_of_job = config.scrape_configs.iter().find(|job| job.job_name == found.job)?;
    let job = config_of_job.job(&config.target_config).ok()?;
    Asked::new(config_of_job, job).way(found, "").0.path
}

fn of_labels(config: &Config, labels: &Labels, around: &Around<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    let reads_pods = config.scrape_configs.iter().any(|job| !job.kubernetes_sd_configs.is_empty());
    if let Some(node) = labels.get(pod::NODE).filter(|node| reads_pods && *node != around.node) {
        notes.push(format!(
            "the pod is on node {node:?}, and this agent discovers only pods of its own node, {:?}: the agent on {node:?} reads it",
            around.node
        ));
    }
    notes
}
