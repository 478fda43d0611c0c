//! The way of a target from its discovered labels through the rules, to what is read.
//!
//! Only files have a path. What a job reads elsewhere (the journal, events, containers through Docker's API) or receives
//! needs none: its labels are the result of the rules.

use std::sync::Arc;

use super::Found;
use crate::config::ScrapeConfig;
use crate::model::{ExplainedTarget, LabelSet, Labels, LineTrace, Target, TargetLabels, container, loki_label_name};
use crate::scrape::{Job, resolve};

/// A job, and the source of its lines.
pub(super) struct Asked {
    pub job: Job,
    source: Source,
}

/// Where the lines of a job come from.
#[derive(Clone, Debug)]
enum Source {
    /// Files, whose paths the targets name. `has_containers`: also containers, whose files Docker names.
    Files { has_containers: bool },
    /// A source without targets, so that the rules see its lines.
    Given(Given),
}

#[derive(Clone, Debug)]
struct Given {
    /// The key of its block, or the address at which it listens.
    name: Arc<str>,
    /// Labels of the config.
    labels: Labels,
    /// The labels of the config replace those of the sender. Otherwise, those of the line replace them.
    config_wins: bool,
    without_labels: WithoutLabels,
}

/// What becomes of a line for which the rules keep no label.
#[derive(Clone, Copy, Debug)]
enum WithoutLabels {
    IsSkipped,
    GetsJob,
    /// It is sent without a label, which Loki refuses.
    Stays,
}

/// What is read, after the rules.
pub(super) enum Readable {
    Files(Box<Target>),
    Lines { labels: LabelSet, tenant: Option<String> },
}

/// Rules see the tenant of received lines under this name.
const TENANT: &str = "__tenant_id__";

impl Asked {
    pub fn new(config: &ScrapeConfig, job: Job) -> Self {
        Self { source: Source::of(config), job }
    }

    /// What the job reads without discovery. None: only discovery knows what it reads.
    pub fn undiscovered(&self) -> Option<Found> {
        let Source::Given(given) = &self.source else { return None };
        Some(Found { job: self.job.name.to_string(), source: given.name.to_string(), labels: Labels::new() })
    }

    /// The way of a target through the rules of its job, and what is read. None: it is not read.
    pub fn way(&self, found: &Found, hostname: &str) -> (ExplainedTarget, Option<Readable>) {
        let job = &self.job;
        let discovered = self.source.discovered(&found.labels);
        let mut labels = discovered.clone();
        let (_, rules) = job.rules.trace(&mut labels);
        let mut target = ExplainedTarget {
            job: found.job.clone(),
            source: found.source.clone(),
            rules,
            path: labels.get("__path__").filter(|path| !path.is_empty()).cloned(),
            exclude: labels.get("__path_exclude__").filter(|path| !path.is_empty()).cloned(),
            ..ExplainedTarget::default()
        };
        let readable = match self.source.lines(&discovered, &labels) {
            Some(without) => {
                (target.path, target.exclude) = (None, None);
                self.lines(&target, labels, without)
            }
            None => self.files(&discovered, hostname),
        };
        target.discovered = discovered;
        match readable {
            Err(why) => {
                target.dropped = Some(why);
                (target, None)
            }
            Ok(readable) => {
                match &readable {
                    Readable::Lines { labels, .. } => target.labels = labels.to_map(),
                    Readable::Files(resolved) => {
                        target.labels = resolved.labels.to_map();
                        target.is_default_path = resolved.defaulted;
                        (target.path, target.exclude) = (Some(resolved.path.clone()), resolved.exclude.clone());
                    }
                }
                (target, Some(readable))
            }
        }
    }

    /// What the stages make of these lines. `file`: empty, or the file of the lines, if they are in a file.
    pub fn trace(&self, readable: &Readable, file: &str, lines: &[String], now: i64) -> Vec<LineTrace> {
        match readable {
            Readable::Files(target) => {
                let file = if file.is_empty() { &target.path } else { file };
                self.job.trace(target, file.as_ref(), lines, now)
            }
            Readable::Lines { labels, tenant } => {
                let mut traces = self.job.trace_given(labels, lines, now);
                for entry in traces.iter_mut().flat_map(|trace| &mut trace.entries) {
                    entry.tenant = entry.tenant.take().or_else(|| tenant.clone());
                }
                traces
            }
        }
    }

    fn files(&self, discovered: &Labels, hostname: &str) -> Result<Readable, String> {
        let resolved = resolve(&self.job, &TargetLabels::from(discovered.clone()), hostname);
        let resolved = resolved.map_err(|rejected| rejected.to_string())?;
        match &self.job.unreadable {
            Some(why) => Err(why.clone()),
            None => Ok(Readable::Files(Box::new(resolved))),
        }
    }

    /// `labels`: after the rules, which are in `target`.
    fn lines(&self, target: &ExplainedTarget, labels: Labels, without: WithoutLabels) -> Result<Readable, String> {
        if let Some(rule) = target.rules.iter().find(|rule| rule.drops) {
            return Err(rule.rule.clone());
        }
        let tenant = labels.get(TENANT).filter(|_| matches!(without, WithoutLabels::GetsJob)).cloned();
        let kept = labels.iter().filter(|(name, value)| !name.starts_with("__") && !value.is_empty());
        let mut kept: Labels = kept.map(|(name, value)| (loki_label_name(name).into_owned(), value.clone())).collect();
        if kept.is_empty() {
            match without {
                WithoutLabels::IsSkipped => return Err("no rule and no `labels` of the config give it a label".into()),
                WithoutLabels::GetsJob => drop(kept.insert("job".into(), self.job.name.to_string())),
                WithoutLabels::Stays => {}
            }
        }
        Ok(Readable::Lines { labels: LabelSet::new(kept), tenant })
    }
}

impl Source {
    fn of(config: &ScrapeConfig) -> Self {
        let given = |name: Arc<str>, labels: &Labels, config_wins, without_labels| {
            Self::Given(Given { name, labels: labels.clone(), config_wins, without_labels })
        };
        // A job with discovered targets may be a receiver too, as in Promtail. Its targets are what is asked for then.
        if config.has_discovery() {
            Self::Files { has_containers: !config.docker_sd_configs.is_empty() }
        } else if let Some(journal) = config.journal() {
            given("journal".into(), &journal.labels, false, WithoutLabels::IsSkipped)
        } else if let Some(events) = &config.kubernetes_events {
            given("kubernetes_events".into(), &events.labels, true, WithoutLabels::GetsJob)
        } else if let Some(receiver) = config.receives() {
            given(receiver.name(), receiver.labels(), true, WithoutLabels::GetsJob)
        } else {
            Self::Files { has_containers: false }
        }
    }

    /// The labels that the rules get.
    fn discovered(&self, found: &Labels) -> Labels {
        let Self::Given(given) = self else { return found.clone() };
        let (first, last) = if given.config_wins { (found, &given.labels) } else { (&given.labels, found) };
        first.iter().chain(last).map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Whether lines are read without a path, and what becomes of those without a label. None: files are read.
    fn lines(&self, discovered: &Labels, relabelled: &Labels) -> Option<WithoutLabels> {
        match self {
            Self::Given(given) => Some(given.without_labels),
            // Docker says where the log file of a container is. Its labels alone say that it is one.
            Self::Files { has_containers: true } => {
                let is_container = discovered.keys().any(|name| name.starts_with(CONTAINER));
                let has_path = |labels: &Labels| labels.get("__path__").is_some_and(|path| !path.is_empty());
                let is_located = discovered.contains_key(container::LOG_FILE) || has_path(relabelled);
                (is_container && !is_located).then_some(WithoutLabels::Stays)
            }
            Self::Files { has_containers: false } => None,
        }
    }
}

/// How the labels of Docker's containers begin.
const CONTAINER: &str = "__meta_docker_container_";
