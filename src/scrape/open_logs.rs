//! The open logs that one scrape hands over to the next when the config is reloaded. They are rewound to their
//! committed marks.
//!
//! Opening a log again by its name would lose files that have no name any more: deleted or rotated files that were not
//! fully read or acknowledged. So if the new config has a target for a log, the log continues as it is, with the
//! target's labels. A log that was deleted, or whose target was gone already, is read to its end with its old labels,
//! if its job still exists.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::input::Input;
use super::receiving::Intakes;
use crate::model::{Mark, Target};

/// See the [module](self).
#[derive(Debug, Default)]
pub struct OpenLogs {
    logs: Vec<OpenLog>,
    has_looked: bool,
    intakes: Intakes,
}

/// The open logs of one reader.
#[derive(Debug)]
pub(super) struct ReaderLogs {
    pub logs: Vec<OpenLog>,
    /// The reader has opened all logs that existed when it began.
    pub has_looked: bool,
}

/// A log that a reader had open.
#[derive(Debug)]
pub(super) struct OpenLog {
    pub client: Arc<str>,
    pub path: Arc<Path>,
    pub target: Arc<Target>,
    pub input: Input,
    /// Everything before this mark is committed.
    pub committed: Mark,
    /// Discovery had removed its target.
    pub is_retired: bool,
    /// Later lines get later times than this, in Unix nanoseconds.
    pub last_time: i64,
}

impl OpenLogs {
    /// `leaving` are the logs of all readers.
    pub(super) fn new(leaving: Vec<ReaderLogs>) -> Self {
        let has_looked = leaving.iter().all(|reader| reader.has_looked);
        Self {
            logs: leaving.into_iter().flat_map(|reader| reader.logs).collect(),
            has_looked,
            intakes: Intakes::default(),
        }
    }

    /// With the intakes of the scrape, which the next one continues.
    pub(super) fn with_intakes(self, intakes: Intakes) -> Self {
        Self { intakes, ..self }
    }

    pub(super) fn take_intakes(&mut self) -> Intakes {
        std::mem::take(&mut self.intakes)
    }

    /// Whether all logs that existed at the start were opened. If so, any log found later was written later.
    pub fn has_looked(&self) -> bool {
        self.has_looked
    }

    /// Distributes the logs to the readers of these clients, in their order. The logs of a client that was removed
    /// (another URL makes a new client) go to a client that is new.
    pub(super) fn share_out(self, clients: &[Arc<str>]) -> Vec<LogsByPath> {
        let place = |client: &Arc<str>| clients.iter().position(|known| known == client);
        let before: Vec<Arc<str>> = self.logs.iter().map(|left| left.client.clone()).collect();
        let new = clients.iter().position(|client| !before.contains(client));
        let mut shares: Vec<LogsByPath> = clients.iter().map(|_| LogsByPath::default()).collect();
        for left in self.logs {
            if let Some(place) = place(&left.client).or(new) {
                shares[place].add(left);
            }
        }
        shares
    }
}

/// The logs for one reader, by job and path.
#[derive(Debug, Default)]
pub(super) struct LogsByPath(HashMap<(Arc<str>, Arc<Path>), Vec<OpenLog>>);

impl LogsByPath {
    fn add(&mut self, left: OpenLog) {
        self.0.entry((left.target.job.clone(), left.path.clone())).or_default().push(left);
    }

    /// Takes the log of this target, or one with the same job and path and other labels. None: there is none.
    pub fn take(&mut self, target: &Target, path: &Arc<Path>) -> Option<OpenLog> {
        if self.0.is_empty() {
            return None;
        }
        let key = (target.job.clone(), path.clone());
        let logs = self.0.get_mut(&key)?;
        let same = logs.iter().position(|left| left.target.labels == target.labels);
        let left = logs.swap_remove(same.unwrap_or(0));
        if logs.is_empty() {
            self.0.remove(&key);
        }
        Some(left)
    }

    /// Takes all remaining logs.
    pub fn take_all(&mut self) -> Vec<OpenLog> {
        self.take_but(&HashSet::new())
    }

    /// Takes all logs except those with these jobs and paths.
    pub fn take_but(&mut self, awaited: &HashSet<(Arc<str>, Arc<Path>)>) -> Vec<OpenLog> {
        self.0.extract_if(|key, _| !awaited.contains(key)).flat_map(|(_, logs)| logs).collect()
    }
}
