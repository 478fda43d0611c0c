//! What one scrape leaves to the next when a config is reloaded: the logs that it has open, taken back to what is committed.
//!
//! A log that is opened anew by its name loses what has no name any more: a file that was deleted or rotated away, and was not read
//! or not acknowledged yet. So a log goes on as it is if the next config has a target for it; with other labels, if it
//! says so. One that was deleted, or whose target was gone already, is read to its end as it was, as long as its job is there.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::input::Input;
use crate::model::Target;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct OpenLogs {
    logs: Vec<OpenLog>,
    has_looked: bool,
}

/// What one reader leaves.
#[derive(Debug)]
pub(super) struct ReaderLogs {
    pub logs: Vec<OpenLog>,
    /// It has opened all logs that there were when it began.
    pub has_looked: bool,
}

/// A log that a reader had open.
#[derive(Debug)]
pub(super) struct OpenLog {
    pub client: Arc<str>,
    pub path: Arc<Path>,
    pub target: Arc<Target>,
    pub input: Input,
    /// Discovery had let go of it.
    pub is_retired: bool,
    /// Later lines are given later times than this.
    pub last_time: i64,
}

impl OpenLogs {
    /// `leaving` is what all readers leave.
    pub(super) fn new(leaving: Vec<ReaderLogs>) -> Self {
        let has_looked = leaving.iter().all(|reader| reader.has_looked);
        Self { logs: leaving.into_iter().flat_map(|reader| reader.logs).collect(), has_looked }
    }

    /// Whether all logs that there were at the beginning had been opened: what is found later was written later.
    pub fn has_looked(&self) -> bool {
        self.has_looked
    }

    /// What of it goes to the readers of these clients, in their order. What a client had that is no more (another URL makes
    /// another client of it) goes to one that is new.
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

/// One reader's share, by job and path.
#[derive(Debug, Default)]
pub(super) struct LogsByPath(HashMap<(Arc<str>, Arc<Path>), Vec<OpenLog>>);

impl LogsByPath {
    fn add(&mut self, left: OpenLog) {
        self.0.entry((left.target.job.clone(), left.path.clone())).or_default().push(left);
    }

    /// The log of this target; or of one of its job and path that had other labels.
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

    /// All that is left of it.
    pub fn take_all(&mut self) -> Vec<OpenLog> {
        self.take_but(&HashSet::new())
    }

    /// All but what is of these jobs and paths.
    pub fn take_but(&mut self, awaited: &HashSet<(Arc<str>, Arc<Path>)>) -> Vec<OpenLog> {
        self.0.extract_if(|key, _| !awaited.contains(key)).flat_map(|(_, logs)| logs).collect()
    }
}
