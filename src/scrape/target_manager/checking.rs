//! Checks from time to time whether directories changed without a file event.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Instant, SystemTime};

use super::{SAFETY_NET, TargetManager};
use crate::scrape::messages::Command;
use crate::scrape::supervised::Held;
use crate::tail::Snapshot;

impl Held<'_, TargetManager> {
    /// Walks the targets whose directories changed, and checks the names of all logs.
    pub(in crate::scrape) fn check_all(&mut self) {
        self.due.check = Instant::now() + self.config.sync_period * SAFETY_NET;
        for log in self.logs.keys() {
            self.tell(|| Command::Look(*log));
        }
        self.tracked.values_mut().for_each(|t| t.is_to_check = true);
        self.walk_dirty();
        let manager = &mut **self;
        let wanted = manager.tracked.values().flat_map(|t| t.directories.iter().map(AsRef::as_ref));
        let wanted: HashSet<&Path> = wanted.chain(manager.names.directories()).collect();
        manager.watch.retain(&wanted);
    }

    /// Whether the target was only to be checked, and its directories are as they were when they were listed.
    pub(super) fn is_as_listed(&mut self, id: u64) -> bool {
        let leaves_out = !self.calls.left_out().is_empty();
        let Some(tracked) = self.tracked.get_mut(&id) else {
            return false;
        };
        let is_checked = std::mem::take(&mut tracked.is_to_check) && !tracked.dirty && !leaves_out;
        let Some(listed) = tracked.listed.filter(|_| is_checked) else {
            return false;
        };
        self.snapshot(id, self.clock.system_time()) == Some(listed)
    }

    /// The state of the target's directories. None: another thread has taken over, or they changed after `listed`.
    fn snapshot(&mut self, id: u64, listed: SystemTime) -> Option<Snapshot> {
        let directories = self.tracked.get(&id)?.directories.clone();
        let (call, at) = self.calls.next(Some(id));
        let of = || Snapshot::of(directories.iter().map(AsRef::as_ref), listed, &|path: &Path| at.set(path));
        let snapshot = self.blocking(call, of);
        snapshot.filter(|_| self.is_current())
    }

    /// Notes the state of the target's directories, whose files were found by a walk that was begun at this time. As long as
    /// the state stays, checks do not walk the target.
    pub(super) fn note_listed(&mut self, id: u64, begun: SystemTime) -> Option<()> {
        let listed = self.snapshot(id, begun);
        if !self.is_current() {
            return None;
        }
        let tracked = self.tracked.get_mut(&id)?;
        tracked.listed = listed.filter(|_| !tracked.dirty);
        Some(())
    }
}
