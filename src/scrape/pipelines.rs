//! The pipelines of a reader.

use super::Job;
use crate::stages::{Pipeline, Program};

/// Identifies one of a reader's pipelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PipelineId(usize);

#[derive(Debug)]
pub(super) struct Pipelines {
    all: Vec<Pipeline>,
    /// By job: the pipeline of its targets, and the pipeline of its pods with the default path.
    of_jobs: Vec<(PipelineId, PipelineId)>,
    nothing: PipelineId,
}

impl Pipelines {
    pub fn new(jobs: &[Job], start: impl Fn(&Program) -> Pipeline) -> Self {
        let mut all = vec![start(&Program::nothing())];
        let mut add = |program: &Program| {
            all.push(start(program));
            PipelineId(all.len() - 1)
        };
        let of_job = |job: &Job| match &job.program {
            Some(own) => {
                let own = add(own);
                (own, own)
            }
            None => (add(&Program::nothing()), add(&Program::container_format())),
        };
        let of_jobs = jobs.iter().map(of_job).collect();
        Self { all, of_jobs, nothing: PipelineId(0) }
    }

    /// The pipeline of a target of this job. `defaulted`: the target is a pod with the default path. If the job does
    /// not exist, the pipeline does nothing.
    pub fn of(&self, job: usize, defaulted: bool) -> PipelineId {
        let of_job = self.of_jobs.get(job).map(|(own, of_pods)| if defaulted { *of_pods } else { *own });
        of_job.unwrap_or(self.nothing)
    }

    pub fn get(&mut self, id: PipelineId) -> &mut Pipeline {
        &mut self.all[id.0]
    }

    pub fn iter(&self) -> impl Iterator<Item = &Pipeline> {
        self.all.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (PipelineId, &mut Pipeline)> {
        self.all.iter_mut().enumerate().map(|(index, pipeline)| (PipelineId(index), pipeline))
    }
}
