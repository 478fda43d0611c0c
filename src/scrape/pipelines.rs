//! The pipelines of a reader.

use super::Job;
use crate::model::Target;
use crate::stages::{Pipeline, Program};

/// Identifies one of a reader's pipelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PipelineId(usize);

#[derive(Debug)]
pub(super) struct Pipelines {
    all: Vec<Pipeline>,
    /// By job: the pipeline of its targets, and the pipeline of its pods with the default path.
    of_jobs: Vec<(PipelineId, PipelineId)>,
    /// By job: the pipeline of log files of containers found by Docker's API. None: the job has none.
    of_containers: Vec<Option<PipelineId>>,
    nothing: PipelineId,
}

impl Pipelines {
    /// `start` starts a pipeline, and says whether it first takes Docker's JSON off.
    pub fn new(jobs: &[Job], start: impl Fn(&Program, bool) -> Pipeline) -> Self {
        let mut all = vec![start(&Program::nothing(), false)];
        let mut add_any = |program: &Program, unwraps: bool| {
            all.push(start(program, unwraps));
            PipelineId(all.len() - 1)
        };
        let mut of_container = |job: &Job| match &job.program {
            Some(own) => add_any(own, true),
            None => add_any(&Program::nothing(), true),
        };
        let of_containers = jobs.iter().map(|job| job.has_containers.then(|| of_container(job))).collect();
        let mut add = |program: &Program| add_any(program, false);
        let of_job = |job: &Job| match &job.program {
            Some(own) => {
                let own = add(own);
                (own, own)
            }
            None => (add(&Program::nothing()), add(&Program::container_format())),
        };
        let of_jobs = jobs.iter().map(of_job).collect();
        Self { all, of_jobs, of_containers, nothing: PipelineId(0) }
    }

    /// The pipeline of the files of this target.
    pub fn of_target(&self, job: usize, target: &Target) -> PipelineId {
        let of_container = || self.of_containers.get(job).copied().flatten().unwrap_or(self.nothing);
        if target.streams.is_some() { of_container() } else { self.of(job, target.defaulted) }
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
