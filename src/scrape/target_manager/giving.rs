//! Gives sources that are not files to the readers, and takes them back.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::{AssignedLog, TargetManager};
use crate::scrape::given::GivenSource;
use crate::scrape::messages::{Command, SourceAssignment};

impl TargetManager {
    /// Gives a source to the reader of each client. Returns the number of its log.
    pub fn give(&mut self, source: Arc<GivenSource>) -> u64 {
        let (log, id) = (self.next, self.next + 1);
        self.next += 2;
        let target = Arc::new(source.target());
        self.logs.insert(
            log,
            Box::new(AssignedLog {
                path: Path::new(&*source.name).into(),
                job: self.jobs.iter().position(|job| job.name == source.job).unwrap_or(usize::MAX),
                tracked: None,
                lives: Vec::new(),
                real: None,
                folder: None,
                away: BTreeSet::new(),
                held_for: None,
                given: Some(id),
                is_last: source.is_last,
            }),
        );
        self.tell(|| Command::Open(SourceAssignment { log, target: target.clone(), source: source.clone() }));
        self.status.add_target(id, target);
        log
    }

    pub(super) fn take_back(&mut self, id: u64) {
        let Some(log) = self.given.remove(&id) else {
            return;
        };
        if let Some(id) = self.logs.get(&log).and_then(|known| known.given) {
            self.status.remove_target(id);
            self.tell(|| Command::Retire(log));
        }
    }
}
