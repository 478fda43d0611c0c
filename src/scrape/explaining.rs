//! Traces lines of a target through the stages of its job, for commands that explain a config.

use std::path::Path;

use super::Job;
use super::reader::with_filename;
use crate::model::{LabelSet, LineTrace, Target};
use crate::stages::{Program, Traced};

impl Job {
    /// What the stages make of these lines of a file of the target. `now`: Unix nanoseconds.
    pub fn trace(&self, target: &Target, file: &Path, lines: &[String], now: i64) -> Vec<LineTrace> {
        let labels = with_filename(target, file);
        let traced = Traced { unwraps: target.streams.is_some(), labels, now, lines };
        match &self.program {
            Some(own) => own.trace(&traced),
            // As in `Pipelines`: only a pod with the default path gets a stage that nobody wrote.
            None if target.defaulted && target.streams.is_none() => Program::container_format().trace(&traced),
            None => Program::nothing().trace(&traced),
        }
    }

    /// The same for lines that are in no file: entries of the journal, received records, lines from Docker's API.
    pub fn trace_given(&self, labels: &LabelSet, lines: &[String], now: i64) -> Vec<LineTrace> {
        let traced = Traced { unwraps: false, labels: labels.clone(), now, lines };
        match &self.program {
            Some(own) => own.trace(&traced),
            None => Program::nothing().trace(&traced),
        }
    }
}
