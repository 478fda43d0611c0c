//! Assigns logs to readers: new files, the places of known ones, and logs that have ended.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{AssignedLog, TargetManager};
use crate::scrape::messages::{Assignment, Command, Event, Start, StopRequest};
use crate::scrape::{LEFT, SHARE};
use crate::tail::{AllowedPaths, Place};

/// A file that becomes a log.
pub(super) struct NewLog {
    pub path: Arc<Path>,
    pub from_oldest: bool,
    /// It may have existed before the first start.
    pub start: Option<Start>,
    /// The inode of its file, if it is there.
    pub lives: Vec<u64>,
}

impl TargetManager {
    /// Assigns a log. `heir` is a log with this path whose target is gone.
    pub(super) fn begin(
        &mut self,
        id: u64,
        new: NewLog,
        heir: Option<u64>,
        place: &Place,
        allowed: &Arc<AllowedPaths>,
    ) {
        let NewLog { path, from_oldest, start, lives } = new;
        let Some(tracked) = self.tracked.get(&id) else {
            return;
        };
        let (target, job) = (tracked.target.clone(), tracked.job);
        // The log continues under its new target.
        if let Some(log) = heir.filter(|log| self.logs.contains_key(log)) {
            self.logs.entry(log).and_modify(|known| known.tracked = Some(id));
            self.add_file(id, path, log);
            self.tell(|| Command::Relabel(log, target.clone()));
            if !target.is_held {
                self.held.remove(&log);
            }
            return self.bring_back(log);
        }
        let log = self.next;
        self.next += 1;
        self.add_file(id, path.clone(), log);
        let held_for = target.owner.clone().filter(|_| target.is_held).map(Box::new);
        if held_for.is_some() {
            self.held.insert(log);
        }
        let away = BTreeSet::new();
        self.logs.insert(
            log,
            Box::new(AssignedLog {
                path: path.clone(),
                job,
                tracked: Some(id),
                lives,
                real: None,
                folder: None,
                away,
                held_for,
                given: None,
                is_last: false,
            }),
        );
        self.place(log, place);
        let folder = place.real.parent().unwrap_or(&place.real);
        let folder = self.places.shared(folder).unwrap_or_else(|| folder.into());
        self.tell(|| {
            Command::Add(Assignment {
                log,
                path: path.clone(),
                folder: folder.clone(),
                target: target.clone(),
                allowed: allowed.clone(),
                job,
                from_oldest,
                start,
            })
        });
    }

    /// Notes where the file of a log is. If that is elsewhere than before, its readers check it.
    pub(super) fn place(&mut self, log: u64, place: &Place) {
        let Some(known) = self.logs.get_mut(&log) else {
            return;
        };
        let (folder, name) = &place.in_folder;
        if (known.real.as_deref(), known.folder) == (Some(&*place.real), Some(*folder)) {
            return;
        }
        let is_new = known.folder.is_none();
        let real = if *place.real == *known.path { known.path.clone() } else { place.real.as_path().into() };
        let (path, real_before) = (known.path.clone(), known.real.replace(real.clone()));
        let folder_before = known.folder.replace(*folder);
        self.displace(log, &path, real_before, folder_before);
        self.names.add(&real, log);
        self.in_folders.add(*folder, name, log);
        if !is_new {
            self.tell(|| Command::Look(log));
        }
    }

    /// Removes a log from the indices of places: its path, its path after all links, and its directory.
    fn displace(&mut self, log: u64, path: &Path, real: Option<Arc<Path>>, folder: Option<(u64, u64)>) {
        if let Some(real) = real {
            self.names.remove(&real, log);
        }
        if let Some((folder, name)) = folder.zip(path.file_name()) {
            self.in_folders.remove(folder, name, log);
        }
    }

    /// The path under which this file is read already, by a target of the same job with the same labels. None: it is
    /// not.
    pub(super) fn same_file(&self, id: u64, place: &Place) -> Option<Arc<Path>> {
        let own = self.tracked.get(&id)?;
        let (folder, name) = &place.in_folder;
        let logs = self.in_folders.of(*folder, name).filter_map(|log| self.logs.get(log));
        let is_there = |known: &AssignedLog| known.folder == Some(*folder) && known.path.file_name() == Some(name);
        let is_same = |known: &AssignedLog| {
            let other = known.tracked.and_then(|other| self.tracked.get(&other));
            other.is_some_and(|other| {
                let (one, two) = (&own.target, &other.target);
                (&one.job, &one.labels, &one.owner) == (&two.job, &two.labels, &two.owner)
            })
        };
        logs.filter(|known| is_there(known) && is_same(known)).map(|known| known.path.clone()).next()
    }

    /// The target's number of logs, if it must not get another. Otherwise None.
    pub(super) fn limit_reached(&self, id: u64) -> Option<usize> {
        let (most, own) = (self.config.logs, self.tracked.get(&id)?.files.len());
        (self.logs.len() >= limit(most, own)).then_some(own)
    }

    pub(super) fn add_file(&mut self, id: u64, path: Arc<Path>, log: u64) {
        if let Some(tracked) = self.tracked.get_mut(&id) {
            tracked.files.insert(path, log);
        }
    }

    /// Unfinished logs whose targets are gone.
    pub(super) fn leaving(&self, job: usize) -> HashMap<Arc<Path>, u64> {
        let leaving = self.logs.iter().filter(|(_, known)| known.tracked.is_none() && known.job == job);
        leaving.map(|(log, known)| (known.path.clone(), *log)).collect()
    }

    /// When targets without events are walked next. None: there are none.
    pub(super) fn poll_at(&self) -> Option<Instant> {
        self.tracked.values().any(|tracked| tracked.is_polled).then_some(self.due.poll)
    }

    /// Handles a log that a reader finished. Returns whether there is something to walk: a new file with its name may
    /// already exist.
    pub(super) fn finished(&mut self, reader: usize, log: u64) -> bool {
        let Some(known) = self.logs.get_mut(&log) else {
            return false;
        };
        if let Some(tracked) = known.tracked.and_then(|id| self.tracked.get_mut(&id)) {
            tracked.dirty = true;
        }
        known.away.insert(reader);
        if known.away.len() < self.readers.len() {
            return true;
        }
        let known = self.logs.remove(&log).expect("it was just seen");
        self.held.remove(&log);
        if let Some(tracked) = known.tracked.and_then(|id| self.tracked.get_mut(&id)) {
            tracked.files.remove(&known.path);
        }
        // Its place may go to a target whose logs wait for one.
        if self.logs.len() + 1 >= self.config.logs - self.config.logs / 4 {
            self.tracked.values_mut().filter(|t| t.unread.beyond > 0).for_each(|t| t.dirty = true);
        }
        // Another path of the same file may be read now.
        self.tracked.values_mut().filter(|t| t.has_aliases).for_each(|t| t.dirty = true);
        self.displace(log, &known.path, known.real, known.folder);
        if let Some(id) = known.given {
            self.status.remove_target(id);
            self.given.retain(|_, given| *given != log);
        }
        if known.is_last {
            self.events.send(Event::Stop(StopRequest { within: Duration::from_secs(30), reads_on: true }));
        }
        true
    }

    /// Gives a log back to the readers that had finished it, because its path exists again.
    pub(super) fn bring_back(&mut self, log: u64) {
        let Some(known) = self.logs.get_mut(&log) else {
            return;
        };
        let away = std::mem::take(&mut known.away);
        let Some(tracked) = known.tracked.and_then(|id| self.tracked.get(&id)) else {
            return;
        };
        let allowed = Arc::new(tracked.glob.allowed(&self.config.link_roots));
        let folder = known.real.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        for reader in away {
            self.readers[reader].send(Command::Add(Assignment {
                log,
                path: known.path.clone(),
                folder: folder.into(),
                target: tracked.target.clone(),
                allowed: allowed.clone(),
                job: known.job,
                from_oldest: false,
                start: None,
            }));
        }
    }
}

/// How many logs may be open, of all targets, so that a target with `own` logs may get another.
fn limit(most: usize, own: usize) -> usize {
    if own < SHARE { most } else { most - (most / 4).min(LEFT) }
}

#[cfg(test)]
mod tests {
    use super::limit;

    #[test]
    fn a_target_with_many_logs_leaves_a_quarter_to_others_and_a_thousand_at_most() {
        let limits = [(200, 49), (200, 50), (4_000, 3_000), (17_000, 15_000)].map(|(most, own)| limit(most, own));
        assert_eq!(limits, [200, 150, 3_000, 16_000]);
    }
}
