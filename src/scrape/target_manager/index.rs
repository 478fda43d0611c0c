//! Indices of the target manager, for lookups by each file event and update without scanning all targets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::hash::{Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::Target;
use crate::tail::is_rotation;

/// Targets that are equal to Promtail are one: it tails a path once per set of labels. Targets of different pods with
/// the same path stay separate, because each reads its own files.
#[derive(Clone, Debug)]
pub(super) struct Same(pub Arc<Target>);

impl PartialEq for Same {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&self.0, &other.0);
        a.is_held == b.is_held
            && a.streams == b.streams
            && (&a.job, &a.path, &a.exclude, &a.labels, &a.owner) == (&b.job, &b.path, &b.exclude, &b.labels, &b.owner)
    }
}

impl Eq for Same {}

impl Hash for Same {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.0.path, &self.0.labels, &self.0.owner).hash(state);
    }
}

/// The targets that a name in a directory may concern.
#[derive(Debug, Default)]
pub(super) struct Places {
    targets: HashMap<PathBuf, BTreeSet<u64>>,
    /// Targets whose walk reached no directory.
    nowhere: BTreeSet<u64>,
}

impl Places {
    /// `directories` are those that the target's walk visited. Their parents are added too, because they may be removed
    /// and created again.
    pub fn add(&mut self, id: u64, directories: &BTreeSet<PathBuf>) {
        if directories.is_empty() {
            self.nowhere.insert(id);
        }
        for directory in directories.iter().flat_map(|directory| directory.ancestors()) {
            match self.targets.get_mut(directory) {
                Some(ids) => drop(ids.insert(id)),
                None => drop(self.targets.insert(directory.into(), BTreeSet::from([id]))),
            }
        }
    }

    /// Removes what `add` added.
    pub fn remove(&mut self, id: u64, directories: &BTreeSet<PathBuf>) {
        self.nowhere.remove(&id);
        for directory in directories.iter().flat_map(|directory| directory.ancestors()) {
            if let Some(ids) = self.targets.get_mut(directory) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.targets.remove(directory);
                }
            }
        }
    }

    /// The targets that `path` may concern.
    pub fn of<'a>(&'a self, path: &Path) -> impl Iterator<Item = &'a u64> {
        let here = path.parent().and_then(|directory| self.targets.get(directory));
        here.into_iter().flatten().chain(&self.nowhere)
    }

    /// The targets of this directory, or of directories below it.
    pub fn within(&self, directory: &Path) -> impl Iterator<Item = &u64> {
        self.targets.get(directory).into_iter().flatten()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.targets.len() + self.nowhere.len()
    }
}

/// The logs of each directory, by name.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<PathBuf, BTreeMap<OsString, BTreeSet<u64>>>);

impl Names {
    pub fn add(&mut self, directory: &Path, name: &OsStr, log: u64) {
        self.0.entry(directory.into()).or_default().entry(name.into()).or_default().insert(log);
    }

    pub fn remove(&mut self, directory: &Path, name: &OsStr, log: u64) {
        let Some(names) = self.0.get_mut(directory) else {
            return;
        };
        if let Some(logs) = names.get_mut(name) {
            logs.remove(&log);
            if logs.is_empty() {
                names.remove(name);
            }
        }
        if names.is_empty() {
            self.0.remove(directory);
        }
    }

    /// The logs of which `path` is the live file or a rotated file.
    pub fn of(&self, path: &Path) -> Vec<u64> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Vec::new();
        };
        let Some(names) = self.0.get(directory) else {
            return Vec::new();
        };
        let bytes = name.as_bytes();
        let ends = (0..bytes.len()).filter(|at| matches!(bytes[*at], b'.' | b'-'));
        let lives = ends.map(|end| OsStr::from_bytes(&bytes[..end])).filter(|live| is_rotation(live, name));
        let logs = lives.chain([name]).filter_map(|live| names.get(live));
        logs.flatten().copied().collect()
    }

    pub fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.keys()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_the_logs_of_which_it_is_a_generation() {
        let mut names = Names::default();
        for (log, name) in ["app.log", "app", "app.log.1", "0.log", "é.log"].iter().enumerate() {
            names.add(Path::new("/d"), name.as_ref(), log as u64);
        }
        names.add(Path::new("/d"), "app.log".as_ref(), 9);
        for (path, logs) in [
            ("/d/app.log", vec![0, 9]),
            ("/d/app.log.1", vec![0, 9, 2]),
            ("/d/app.log.1.gz", vec![0, 9]),
            ("/d/app-20261122", vec![1]),
            ("/d/app-1", vec![]),
            ("/d/0.log.20261122-101112", vec![3]),
            ("/d/é.log.2", vec![4]),
            ("/other/app.log", vec![]),
            ("/d", vec![]),
            ("/", vec![]),
        ] {
            assert_eq!(names.of(Path::new(path)), logs, "{path}");
        }
        for (log, name) in ["app.log", "app", "app.log.1", "0.log", "é.log"].iter().enumerate() {
            names.remove(Path::new("/d"), name.as_ref(), log as u64);
        }
        assert_eq!(names.of(Path::new("/d/app.log")), [9]);
        names.remove(Path::new("/d"), "app.log".as_ref(), 9);
        assert_eq!(names.len(), 0);
    }

    #[test]
    fn a_name_matters_to_targets_that_looked_where_it_is_or_beneath() {
        let mut places = Places::default();
        let at = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<BTreeSet<_>>();
        let (one, two, none) = (at(&["/a/b", "/a/c"]), at(&["/a/b"]), at(&[]));
        places.add(1, &one);
        places.add(2, &two);
        places.add(3, &none);
        let of = |places: &Places, path: &str| places.of(Path::new(path)).copied().collect::<Vec<_>>();
        for (path, targets) in
            [("/a/b/x", vec![1, 2, 3]), ("/a/c/x", vec![1, 3]), ("/a/b", vec![1, 2, 3]), ("/x/y", vec![3])]
        {
            assert_eq!(of(&places, path), targets, "{path}");
        }
        places.remove(1, &one);
        places.remove(3, &none);
        assert_eq!((of(&places, "/a/c/x"), of(&places, "/a/b/x")), (vec![], vec![2]));
        places.remove(2, &two);
        assert_eq!(places.len(), 0);
    }
}
