//! Assigns logs to readers: new files, the places of known ones, and logs that have ended.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{AssignedLog, InFolder, TargetManager};
use crate::scrape::SHARE;
use crate::scrape::messages::{Assignment, Command, Event, Start, StopRequest};
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
        let held_for = target.owner.clone().filter(|_| target.is_held);
        if held_for.is_some() {
            self.held.insert(log);
        }
        let away = BTreeSet::new();
        self.logs.insert(
            log,
            AssignedLog {
                path: path.clone(),
                job,
                tracked: Some(id),
                lives,
                place: None,
                in_folder: None,
                away,
                held_for,
                given: None,
                is_last: false,
            },
        );
        self.place(log, place);
        let folder: Arc<Path> = place.real.parent().unwrap_or(&place.real).into();
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
        // If the path is a link, rotations show in the directory of the link's target.
        let real = place.real.parent().zip(place.real.file_name());
        let real = real.map(|(dir, name)| (dir.to_path_buf(), name.to_os_string()));
        if (&known.place, known.in_folder.as_ref()) == (&real, Some(&place.in_folder)) {
            return;
        }
        let is_new = known.in_folder.is_none();
        let before = (std::mem::replace(&mut known.place, real), known.in_folder.replace(place.in_folder.clone()));
        self.displace(log, before);
        if let Some((dir, name)) = &self.logs[&log].place {
            self.names.add(dir, name, log);
        }
        self.in_folders.entry(place.in_folder.clone()).or_default().insert(log);
        if !is_new {
            self.tell(|| Command::Look(log));
        }
    }

    /// Removes a log from the indices of places.
    pub(super) fn displace(&mut self, log: u64, (place, in_folder): (Option<(PathBuf, OsString)>, Option<InFolder>)) {
        if let Some((dir, name)) = place {
            self.names.remove(&dir, &name, log);
        }
        if let Some(in_folder) = in_folder
            && let Some(logs) = self.in_folders.get_mut(&in_folder)
        {
            logs.remove(&log);
            if logs.is_empty() {
                self.in_folders.remove(&in_folder);
            }
        }
    }

    /// The path under which this file is read already, by a target of the same job with the same labels. None: it is
    /// not.
    pub(super) fn same_file(&self, id: u64, place: &Place) -> Option<Arc<Path>> {
        let own = self.tracked.get(&id)?;
        let logs = self.in_folders.get(&place.in_folder)?.iter().filter_map(|log| self.logs.get(log));
        let is_same = |known: &AssignedLog| {
            let other = known.tracked.and_then(|other| self.tracked.get(&other));
            other.is_some_and(|other| {
                let (one, two) = (&own.target, &other.target);
                (&one.job, &one.labels, &one.owner) == (&two.job, &two.labels, &two.owner)
            })
        };
        logs.filter(|known| is_same(known)).map(|known| known.path.clone()).next()
    }

    /// The target's number of logs, if it must not get another. Otherwise None.
    pub(super) fn limit_reached(&self, id: u64) -> Option<usize> {
        let (most, own) = (self.config.logs, self.tracked.get(&id)?.files.len());
        let limit = if own < SHARE { most } else { most - most / 4 };
        (self.logs.len() >= limit).then_some(own)
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
        self.displace(log, (known.place, known.in_folder));
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
        let folder = known.place.as_ref().map_or(Path::new(""), |(folder, _)| folder);
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
