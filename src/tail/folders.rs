//! Caches directory listings for all logs. Each log looks for its older generations in its directory; without the
//! cache, ten thousand logs in one directory would list it ten thousand times.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::snapshot::is_settled;
use super::walls::explain;
use crate::model::Clock;

/// The most listings that are cached. Beyond that all are dropped.
const MOST: usize = 64;

/// The cached listings of a reader, for the logs of a job. A listing is used until the directory's timestamp changes.
#[derive(Debug, Default)]
pub struct Folders {
    known: Mutex<HashMap<PathBuf, Listing>>,
    logs: Mutex<Logs>,
    /// Where rotated files may be, beside the directory of their log, to which these paths are relative.
    rotated_dirs: Vec<PathBuf>,
    clock: Clock,
    ran_until: Option<SystemTime>,
    /// That of the timestamps of directories.
    kernel: Clock,
    #[cfg(test)]
    listed: std::sync::atomic::AtomicUsize,
    /// Called while a directory is listed.
    #[cfg(test)]
    while_listing: Option<fn(&Folders)>,
}

#[derive(Debug)]
struct Listing {
    stamp: Stamp,
    /// Sorted by name.
    names: Arc<[Name]>,
}

/// A name and its inode.
type Name = (OsString, u64);

/// Device, inode, and time of the last change (seconds, nanoseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(u64, u64, i64, i64);

/// The files that are logs of their own.
#[derive(Debug, Default)]
struct Logs {
    by_number: HashMap<u64, Arc<Path>>,
    /// The number of logs with this path.
    by_path: HashMap<Arc<Path>, usize>,
}

impl Logs {
    fn forget(&mut self, path: &Path) {
        if let Some(count) = self.by_path.get_mut(path) {
            *count -= 1;
            if *count == 0 {
                self.by_path.remove(path);
            }
        }
    }
}

impl Folders {
    /// `ran_until`: a time at which an agent was running.
    pub fn new(rotated_dirs: Vec<PathBuf>, clock: Clock, ran_until: SystemTime) -> Self {
        Self { rotated_dirs, clock, ran_until: Some(ran_until), ..Self::default() }
    }

    pub(super) fn ran_until(&self) -> SystemTime {
        self.ran_until.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    pub(super) fn rotated_dirs(&self) -> &[PathBuf] {
        &self.rotated_dirs
    }

    /// The names of a file in `folder`.
    pub(super) fn named(&self, folder: &Path, inode: u64) -> io::Result<Vec<OsString>> {
        let names = self.list(folder)?;
        Ok(names.iter().filter(|(_, known)| *known == inode).map(|(name, _)| name.clone()).collect())
    }

    /// Notes that a file is read as a log of its own, so that no other log takes it for its generation. `real` is a path
    /// without links.
    pub fn add_log(&self, log: u64, real: Arc<Path>) {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        *logs.by_path.entry(real.clone()).or_default() += 1;
        if let Some(before) = logs.by_number.insert(log, real) {
            logs.forget(&before);
        }
    }

    pub(super) fn now(&self) -> SystemTime {
        self.clock.system_time()
    }

    /// Notes that the log has ended.
    pub fn remove_log(&self, log: u64) {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = logs.by_number.remove(&log) {
            logs.forget(&path);
        }
    }

    pub(super) fn is_log(&self, path: &Path) -> bool {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).by_path.contains_key(path)
    }

    /// The current names in `folder` that begin with `name`.
    pub(super) fn names(&self, folder: &Path, name: &OsStr) -> io::Result<Vec<OsString>> {
        let names = self.list(folder)?;
        let first = names.partition_point(|(n, _)| n.as_bytes() < name.as_bytes());
        let begin = names[first..].iter().take_while(|(n, _)| n.as_bytes().starts_with(name.as_bytes()));
        Ok(begin.map(|(name, _)| name.clone()).collect())
    }

    fn list(&self, folder: &Path) -> io::Result<Arc<[Name]>> {
        let begun = self.kernel.system_time();
        let before = stamp(folder)?;
        // Listing may take for ever, so nothing is locked meanwhile.
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listing) = known().get(folder).filter(|listing| listing.stamp == before) {
            return Ok(listing.names.clone());
        }
        #[cfg(test)]
        self.listed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        #[cfg(test)]
        if let Some(call) = self.while_listing {
            call(self);
        }
        let mut names: Vec<Name> = fs::read_dir(folder)
            .map_err(|e| explain(folder, e))?
            .map(|entry| entry.map(|e| (e.file_name(), e.ino())))
            .collect::<io::Result<_>>()?;
        names.sort_unstable_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
        let names: Arc<[Name]> = names.into();
        let is_settled = is_settled((before.2, before.3), begun);
        let mut known = known();
        known.remove(folder);
        if is_settled {
            if known.len() >= MOST {
                known.clear();
            }
            known.insert(folder.into(), Listing { stamp: before, names: names.clone() });
        }
        Ok(names)
    }

    #[cfg(test)]
    pub fn listed(&self) -> usize {
        self.listed.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Drops all listings to free memory.
    pub fn forget(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = HashMap::new();
    }
}

fn stamp(folder: &Path) -> io::Result<Stamp> {
    let meta = fs::metadata(folder)?;
    Ok(Stamp(meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn age(dir: &Path, seconds: u64) {
        let then = SystemTime::now() - Duration::from_secs(seconds);
        fs::File::open(dir).and_then(|dir| dir.set_modified(then)).expect("aged");
    }

    #[test]
    fn a_folder_is_listed_once_until_it_changes() {
        let dir = tempfile::tempdir().expect("a folder");
        let (folder, folders) = (dir.path(), Folders::default());
        let names = |name: &str| folders.names(folder, OsStr::new(name)).expect("listed");
        let write = |name: &str| fs::write(folder.join(name), "x").expect("written");
        ["a.log", "a.log.1", "a.log-20261122", "ab.log", "b.log", "a"].into_iter().for_each(write);
        // The directory changed just now: a change in the same tick would not be noticed.
        assert_eq!(names("a.log"), ["a.log", "a.log-20261122", "a.log.1"]);
        assert!(folders.known.lock().expect("well").is_empty());
        age(folder, 60);
        assert_eq!(names("b"), ["b.log"]);
        let one = folders.list(folder).expect("listed");
        assert!(Arc::ptr_eq(&one, &folders.list(folder).expect("listed")), "it is listed twice");
        write("a.log.2");
        assert_eq!(names("a.log."), ["a.log.1", "a.log.2"], "a new name shows at once");
        age(folder, 30);
        fs::remove_file(folder.join("a.log.1")).expect("removed");
        assert_eq!(names("a.log."), ["a.log.2"]);
        assert!(folders.names(&folder.join("none"), OsStr::new("a")).is_err());
    }

    /// A listing that hangs must not stop the others, and the reader frees the listings now and then.
    #[test]
    fn nothing_waits_for_a_listing() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("a.log"), "x").expect("written");
        age(dir.path(), 60);
        let others = |folders: &Folders| {
            folders.forget();
            drop(folders.known.lock());
        };
        let folders = Folders { while_listing: Some(others), ..Folders::default() };
        assert_eq!(folders.names(dir.path(), OsStr::new("a")).expect("listed"), ["a.log"]);
        assert_eq!(folders.known.lock().expect("well").len(), 1);
    }
}
