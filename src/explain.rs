//! Explains why targets are read or not, and what becomes of their lines.
//!
//! The rules, globs and stages are those of the agent; this module only asks them to show their steps. It reads files only
//! if it is told to: a running agent answers from what it knows already.

mod cases;
mod files;
mod findings;
mod hiding;
mod question;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::model::{
    About, ExplainedClient, ExplainedTarget, Explanation, FileReport, Labels, Question, Target, TargetLabels, pod,
};
use crate::scrape::{Job, resolve};
use crate::tail::Glob;

pub use cases::{Case, Cases, cases};
pub use files::Files;
pub use hiding::hide;
pub use question::question;
pub use text::{Paint, text};

/// Targets that are explained at most.
const TARGETS: usize = 50;

/// A target that discovery has found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub job: String,
    pub source: String,
    pub labels: Labels,
}

/// What an explanation uses besides the config.
#[derive(Debug)]
pub struct Around<'a> {
    /// Compared with `__host__`.
    pub hostname: &'a str,
    /// The Kubernetes node whose pods are discovered.
    pub node: &'a str,
    /// What discovery has found.
    pub found: Vec<Found>,
    pub files: Files<'a>,
    /// Unix nanoseconds.
    pub now: i64,
}

/// What the running agent knows about files and clients.
#[derive(Debug, Default)]
pub struct Known {
    pub files: Vec<FileReport>,
    pub clients: Vec<ExplainedClient>,
}

/// Answers a question. An error: the question names a job that does not exist, or the config has a mistake.
pub fn explain(config: &Config, question: &Question, around: &Around<'_>) -> Result<Explanation, String> {
    let jobs = jobs(config, question)?;
    let mut explanation = Explanation::default();
    let given;
    let found = match &question.about {
        About::Labels(labels) => {
            let of_job = |job: &&Job| Found { job: job.name.to_string(), source: GIVEN.into(), labels: labels.clone() };
            given = jobs.values().collect::<Vec<_>>().iter().map(of_job).collect();
            &given
        }
        _ => &around.found,
    };
    for found in found {
        let Some(job) = jobs.get(found.job.as_str()) else { continue };
        let (mut target, resolved) = way(job, found, around.hostname);
        if !is_asked(&question.about, &target) {
            continue;
        }
        if explanation.targets.len() == TARGETS {
            explanation.more_targets += 1;
            continue;
        }
        if let Some(resolved) = &resolved {
            let file = match &question.about {
                About::File(file) => Some(Path::new(file)),
                _ => None,
            };
            around.files.explain(&mut target, resolved, file);
            lines(&mut target, resolved, job, config, question, around);
        }
        explanation.targets.push(target);
    }
    explanation.notes = findings::notes(config, question, &explanation, around);
    explanation.clients = around.files.clients().to_vec();
    Ok(explanation)
}

/// The source of a target whose labels the question gives.
const GIVEN: &str = "the given labels";

fn jobs<'c>(config: &'c Config, question: &Question) -> Result<BTreeMap<&'c str, Job>, String> {
    let is_asked = |name: &str| question.job.as_deref().is_none_or(|job| job == name);
    let asked = config.scrape_configs.iter().filter(|job| is_asked(&job.job_name));
    let jobs = asked
        .map(|job| Ok((job.job_name.as_str(), job.job(&config.target_config)?)))
        .collect::<Result<BTreeMap<_, _>, String>>()?;
    match &question.job {
        Some(job) if jobs.is_empty() => Err(format!("the config has no job {job:?}")),
        _ => Ok(jobs),
    }
}

/// The way of a target through the rules of its job, and the target that is read. None: it is not read.
pub fn way(job: &Job, found: &Found, hostname: &str) -> (ExplainedTarget, Option<Target>) {
    let mut labels = found.labels.clone();
    let (_, rules) = job.rules.trace(&mut labels);
    let resolved = resolve(job, &TargetLabels::from(found.labels.clone()), hostname);
    let mut target = ExplainedTarget {
        job: found.job.clone(),
        source: found.source.clone(),
        discovered: found.labels.clone(),
        rules,
        path: labels.get("__path__").filter(|path| !path.is_empty()).cloned(),
        exclude: labels.get("__path_exclude__").filter(|path| !path.is_empty()).cloned(),
        ..ExplainedTarget::default()
    };
    match (resolved, &job.unreadable) {
        (Err(rejected), _) => target.dropped = Some(rejected.to_string()),
        (Ok(_), Some(why)) => target.dropped = Some(why.clone()),
        (Ok(resolved), None) => {
            target.labels = resolved.labels.to_map();
            target.is_default_path = resolved.defaulted;
            (target.path, target.exclude) = (Some(resolved.path.clone()), resolved.exclude.clone());
            return (target, Some(resolved));
        }
    }
    (target, None)
}

fn is_asked(about: &About, target: &ExplainedTarget) -> bool {
    let label = |name: &str| target.discovered.get(name).map(String::as_str);
    match about {
        About::All | About::Labels(_) => true,
        About::Pod { namespace, name } => {
            label(pod::NAMESPACE) == Some(namespace.as_str()) && label(pod::NAME) == Some(name.as_str())
        }
        About::File(file) => {
            let matches = |glob: &Option<String>| {
                glob.as_ref().and_then(|glob| Glob::new(glob).ok()).is_some_and(|glob| glob.matches(Path::new(file)))
            };
            matches(&target.path)
        }
    }
}

/// Runs the lines of the question, or else the last lines of a file, through the stages.
fn lines(
    target: &mut ExplainedTarget,
    resolved: &Target,
    job: &Job,
    config: &Config,
    question: &Question,
    around: &Around<'_>,
) {
    let readable = target.files.iter().find(|file| file.problem.is_none()).map(|file| PathBuf::from(&file.path));
    let (lines, file) = match (&question.lines, readable) {
        (lines, file) if !lines.is_empty() => (lines.clone(), file),
        (_, Some(file)) => {
            let lines = around.files.last_lines(&file);
            target.lines_of = (!lines.is_empty()).then(|| file.display().to_string());
            (lines, Some(file))
        }
        _ => return,
    };
    let file = file.unwrap_or_else(|| PathBuf::from(&resolved.path));
    target.lines = job.trace(resolved, &file, &lines, around.now);
    let external = config.clients.first().map(|client| &client.external_labels);
    for entry in target.lines.iter_mut().flat_map(|line| &mut line.entries) {
        for (name, value) in external.into_iter().flatten() {
            entry.labels.entry(name.clone()).or_insert_with(|| value.clone());
        }
        entry.warnings = findings::of_entry(entry, config, around.now);
    }
}

#[cfg(test)]
mod tests;
