//! Jobs whose records are handed in by receivers. Their intakes continue in the next run when the config is reloaded.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Job;
use super::inbox::Intake;
use super::parker::Parker;
use super::target_manager::ReceivedSource;
use crate::model::{LabelSet, Target};

/// A job whose records are handed in.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Its index among the jobs.
    pub job: usize,
    /// Shown instead of a path, for instance `syslog tcp 0.0.0.0:1514`.
    pub name: Arc<str>,
    /// The labels of records without labels of their own.
    pub labels: LabelSet,
}

/// The intakes of a run, by job.
#[derive(Debug, Default)]
pub(super) struct Intakes {
    by_job: BTreeMap<Arc<str>, Arc<Intake>>,
    /// In the order of the inboxes.
    clients: Vec<Arc<str>>,
}

impl Intakes {
    /// An intake and a source for each receiver. `before` are the intakes of the previous run, whose uncommitted
    /// records continue here if their job still receives.
    pub fn open(
        receivers: &[Receiver],
        jobs: &[Job],
        clients: Vec<Arc<str>>,
        parkers: &[Arc<Parker>],
        before: Self,
    ) -> (Self, Vec<ReceivedSource>) {
        let (mut by_job, mut sources) = (BTreeMap::new(), Vec::new());
        for receiver in receivers {
            let Some(job) = jobs.get(receiver.job) else { continue };
            let (intake, inboxes) = Intake::new(parkers.iter().cloned());
            if let Some(previous) = before.by_job.get(&job.name) {
                intake.take_over(&clients, previous, &before.clients);
            }
            by_job.insert(job.name.clone(), Arc::new(intake));
            let target = Target {
                job: job.name.clone(),
                labels: receiver.labels.clone(),
                path: receiver.name.to_string(),
                exclude: None,
                defaulted: false,
                is_of_pod: false,
                owner: None,
                is_held: false,
            };
            let (name, target) = (receiver.name.clone(), Arc::new(target));
            sources.push(ReceivedSource { name, target, job: receiver.job, inboxes, is_last: false });
        }
        (Self { by_job, clients }, sources)
    }

    pub fn of(&self, job: &str) -> Option<Arc<Intake>> {
        self.by_job.get(job).cloned()
    }
}
