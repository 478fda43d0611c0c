//! Jobs whose records are handed in by receivers. Their intakes continue in the next run when the config is reloaded.
//! If each reload made new inboxes, memory would grow with each reload while Loki is away.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::given::GivenSource;
use super::inbox::Intake;
use super::metrics::Metrics;
use super::parker::Parker;
use super::{Job, spool};
use crate::model::LabelSet;
use crate::spool::Spool;

/// A job whose records are handed in.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Its index among the jobs.
    pub job: usize,
    /// Shown instead of a path, for instance `syslog tcp 0.0.0.0:1514`.
    pub name: Arc<str>,
    /// The labels of records without labels of their own.
    pub labels: LabelSet,
    /// Where its records wait on disk. None: they wait in memory.
    pub spool: Option<Arc<Spool>>,
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
        metrics: &Metrics,
    ) -> (Self, Vec<GivenSource>) {
        let (mut by_job, mut sources) = (BTreeMap::new(), Vec::new());
        for Receiver { job, name, labels, spool } in receivers {
            let Some(job) = jobs.get(*job).map(|job| job.name.clone()) else { continue };
            if let Some(spool) = spool {
                spool.begin_run(clients.len());
                sources.push(spool::source((job, name.clone()), labels.clone(), spool.clone(), metrics.clone()));
                continue;
            }
            let (intake, source) = GivenSource::received((job.clone(), name.clone()), labels.clone(), parkers);
            if let Some(previous) = before.by_job.get(&job) {
                intake.take_over(&clients, previous, &before.clients);
            }
            by_job.insert(job, Arc::new(intake));
            sources.push(source);
        }
        (Self { by_job, clients }, sources)
    }

    pub fn of(&self, job: &str) -> Option<Arc<Intake>> {
        self.by_job.get(job).cloned()
    }
}
