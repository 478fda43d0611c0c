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
mod way;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::model::{
    About, ExplainedClient, ExplainedTarget, Explanation, FileReport, Labels, LineTrace, Question, Target, pod,
};
use crate::tail::Glob;
use way::{Asked, Readable};

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
    let found: Vec<Found> = match &question.about {
        About::Labels(labels) => {
            let of_job =
                |asked: &Asked| Found { job: asked.job.name.to_string(), source: GIVEN.into(), labels: labels.clone() };
            jobs.values().map(of_job).collect()
        }
        _ => around.found.iter().cloned().chain(jobs.values().filter_map(Asked::undiscovered)).collect(),
    };
    for found in &found {
        let Some(asked) = jobs.get(found.job.as_str()) else { continue };
        let (mut target, readable) = asked.way(found, around.hostname);
        if !is_asked(&question.about, &target) {
            continue;
        }
        if explanation.targets.len() == TARGETS {
            explanation.more_targets += 1;
            continue;
        }
        match &readable {
            Some(Readable::Files(resolved)) => {
                let file = match &question.about {
                    About::File(file) => Some(Path::new(file)),
                    _ => None,
                };
                around.files.explain(&mut target, resolved, file);
                target.lines = lines_of_files(&mut target, resolved, asked, question, around);
            }
            Some(lines @ Readable::Lines { .. }) => {
                target.lines = asked.trace(lines, "", &question.lines, around.now);
            }
            None => {}
        }
        finish(&mut target.lines, config, around);
        explanation.targets.push(target);
    }
    explanation.notes = findings::notes(config, question, &explanation, around);
    explanation.clients = around.files.clients().to_vec();
    Ok(explanation)
}

/// The source of a target whose labels the question gives.
const GIVEN: &str = "the given labels";

fn jobs<'c>(config: &'c Config, question: &Question) -> Result<BTreeMap<&'c str, Asked>, String> {
    let is_asked = |name: &str| question.job.as_deref().is_none_or(|job| job == name);
    let asked = config.scrape_configs.iter().filter(|job| is_asked(&job.job_name));
    let jobs = asked
        .map(|job| Ok((job.job_name.as_str(), Asked::new(job, job.job(&config.target_config)?))))
        .collect::<Result<BTreeMap<_, _>, String>>()?;
    match &question.job {
        Some(job) if jobs.is_empty() => Err(format!("the config has no job {job:?}")),
        _ => Ok(jobs),
    }
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
fn lines_of_files(
    target: &mut ExplainedTarget,
    resolved: &Target,
    asked: &Asked,
    question: &Question,
    around: &Around<'_>,
) -> Vec<LineTrace> {
    let readable = target.files.iter().find(|file| file.problem.is_none()).map(|file| PathBuf::from(&file.path));
    let (lines, file) = match (&question.lines, readable) {
        (lines, file) if !lines.is_empty() => (lines.clone(), file),
        (_, Some(file)) => {
            let lines = around.files.last_lines(&file);
            target.lines_of = (!lines.is_empty()).then(|| file.display().to_string());
            (lines, Some(file))
        }
        _ => return Vec::new(),
    };
    let file = file.unwrap_or_else(|| PathBuf::from(&resolved.path));
    asked.job.trace(resolved, &file, &lines, around.now)
}

/// Adds to entries what comes after the stages.
fn finish(lines: &mut [LineTrace], config: &Config, around: &Around<'_>) {
    let external = config.clients.first().map(|client| &client.external_labels);
    for entry in lines.iter_mut().flat_map(|line| &mut line.entries) {
        for (name, value) in external.into_iter().flatten() {
            entry.labels.entry(name.clone()).or_insert_with(|| value.clone());
        }
        entry.warnings = findings::of_entry(entry, config, around.now);
    }
}

#[cfg(test)]
mod tests;
