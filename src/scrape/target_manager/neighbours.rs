//! Logs whose names look like older generations of a log beside them: `app.log.1` of another program, `srv.192.168.0.1`
//! beside `srv`. An older generation does not grow. A process that has not noticed the rotation may write to it for a
//! while, but then it was the live file before.
//!
//! And logs without a live file: it was renamed while nobody looked, and no other file has its name yet.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::TargetManager;
use crate::model::later;
use crate::scrape::supervised::Held;
use crate::tail::is_in;

/// How many files that a log had are remembered.
const LIVES: usize = 16;

/// No process writes for so long to a file that was renamed.
const LATE: Duration = Duration::from_secs(600);

/// A file that was written to so recently may be growing.
const RECENT: Duration = Duration::from_secs(60);

/// When a file that may be growing is looked at again.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// A file with such a name, as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    inode: u64,
    size: u64,
    /// The inode of the live file beside it.
    live: u64,
    is_own: bool,
}

/// The state of a file with such a name.
struct Found {
    own: Metadata,
    live: Metadata,
    /// A log of this name was read up to a position in this file.
    is_known: bool,
}

impl Held<'_, TargetManager> {
    /// Removes the files that are logs of their own from `elders`, which are files with the logs that their names belong
    /// to. Returns whether one of the others may be such a log, so that it must be looked at again soon.
    pub(super) fn release_neighbours(&mut self, id: u64, elders: &mut BTreeMap<&PathBuf, PathBuf>) -> bool {
        let Some(tracked) = self.tracked.get(&id) else {
            return false;
        };
        let (job, glob, seen) = (tracked.target.job.clone(), tracked.glob.clone(), tracked.neighbours.clone());
        let allowed = glob.allowed(&self.config.link_roots);
        let (positions, (call, at)) = (self.positions.clone(), self.calls.next(Some(id)));
        let find = |file: &PathBuf, live: &PathBuf| {
            at.set(file);
            let (own, live) = (fs::metadata(file).ok()?, fs::metadata(live).ok()?);
            let known = || positions.of_path(&job, file);
            let is_known = !seen.contains_key(file) && known().iter().any(|position| is_in(file, &allowed, position));
            Some(Found { own, live, is_known })
        };
        let all = || elders.iter().map(|(file, live)| find(file, live)).collect::<Vec<_>>();
        let found = self.blocking(call, all);
        let manager = &mut **self;
        let Some(tracked) = manager.tracked.get_mut(&id) else {
            return false;
        };
        let now = SystemTime::now();
        let (mut found, mut again) = (found.into_iter(), false);
        tracked.neighbours.clear();
        elders.retain(|file, live| {
            let Some(Found { own, live: beside, is_known }) = found.next().flatten() else {
                return true;
            };
            let log = tracked.files.get(live.as_path()).and_then(|log| manager.logs.get_mut(log));
            let was_live = log.is_some_and(|log| {
                log.note_live(&beside);
                log.lives.contains(&own.ino())
            });
            if was_live || file.extension().is_some_and(|extension| extension == "gz") {
                return true;
            }
            let grew = seen.get(*file).is_some_and(|was| {
                (was.inode, was.live) == (own.ino(), beside.ino()) && (was.is_own || own.len() > was.size)
            });
            let is_own = (grew || is_known) && is_no_generation(&own, &beside, now);
            again |= !is_own && own.modified().is_ok_and(|at| now < later(at, RECENT));
            let seen = Seen { inode: own.ino(), size: own.len(), live: beside.ino(), is_own };
            tracked.neighbours.insert((*file).clone(), seen);
            !is_own
        });
        again
    }

    /// Logs of the target that were read before and have no file now. Their unread lines may be in their older
    /// generations. Pods' logs are left out: the kubelet makes a new file at once, or removes all of them.
    pub(super) fn renamed_logs(&mut self, id: u64) -> Vec<Arc<Path>> {
        if self.tracked.get(&id).is_none_or(|tracked| tracked.target.owner.is_some()) {
            return Vec::new();
        }
        if self.gone.is_none() {
            let (positions, (call, _)) = (self.positions.clone(), self.calls.next(Some(id)));
            let gone = self.blocking(call, || positions.gone());
            self.gone = Some(gone);
        }
        let (Some(tracked), Some(gone)) = (self.tracked.get(&id), &self.gone) else {
            return Vec::new();
        };
        let is_own = |path: &Arc<Path>| {
            tracked.glob.matches(path)
                && !tracked.exclude.as_ref().is_some_and(|exclude| exclude.matches(path))
                && !tracked.files.contains_key(path)
        };
        let of_job = gone.iter().filter(|(job, _)| *job == tracked.target.job).map(|(_, path)| path);
        of_job.filter(|path| is_own(path)).cloned().collect()
    }
}

impl super::AssignedLog {
    /// Remembers the file that has the log's name now.
    pub(super) fn note_live(&mut self, meta: &Metadata) {
        if !self.lives.contains(&meta.ino()) {
            self.lives.push(meta.ino());
            if self.lives.len() > LIVES {
                self.lives.remove(0);
            }
        }
    }
}

/// The inode of a log's file, if it is there.
pub(super) fn inodes_of(path: &Path) -> Vec<u64> {
    fs::metadata(path).map(|meta| meta.ino()).into_iter().collect()
}

/// Whether the file was written after the live file beside it began, and cannot have been the live file before that.
fn is_no_generation(own: &Metadata, live: &Metadata, now: SystemTime) -> bool {
    let Ok(begun) = live.created() else {
        return false;
    };
    let is_later = |at: std::io::Result<SystemTime>| at.is_ok_and(|at| at > begun);
    is_later(own.modified()) && (is_later(own.created()) || now > later(begun, LATE))
}
