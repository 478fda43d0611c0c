//! Indices of the target manager, for lookups by each file event and update without scanning all targets.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
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

/// A set of numbers. Nearly always it has one.
#[derive(Debug)]
enum Ids {
    One(u64),
    /// Boxed, so that the many with one take less.
    #[expect(clippy::box_collection)]
    More(Box<BTreeSet<u64>>),
}

impl Ids {
    fn iter(&self) -> impl Iterator<Item = &u64> {
        let (one, more) = match self {
            Ids::One(id) => (Some(id), None),
            Ids::More(ids) => (None, Some(ids)),
        };
        one.into_iter().chain(more.into_iter().flat_map(|ids| ids.iter()))
    }

    fn insert(&mut self, id: u64) {
        match self {
            Ids::One(known) if *known == id => {}
            Ids::One(known) => *self = Ids::More(Box::new(BTreeSet::from([*known, id]))),
            Ids::More(ids) => drop(ids.insert(id)),
        }
    }

    /// Removes a number. Returns whether it was the last one.
    fn remove(&mut self, id: u64) -> bool {
        match self {
            Ids::One(known) => *known == id,
            Ids::More(ids) => {
                ids.remove(&id);
                ids.is_empty()
            }
        }
    }
}

/// The numbers of targets or logs, by something that they have in common.
#[derive(Debug)]
struct Index<K>(HashMap<K, Ids>);

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Index<K> {
    /// `to_owned` makes the key, if it is new.
    fn add<Q: Eq + Hash + ?Sized>(&mut self, key: &Q, id: u64, to_owned: impl FnOnce() -> K)
    where
        K: Borrow<Q>,
    {
        match self.0.get_mut(key) {
            Some(ids) => ids.insert(id),
            None => drop(self.0.insert(to_owned(), Ids::One(id))),
        }
    }

    fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q, id: u64)
    where
        K: Borrow<Q>,
    {
        if self.0.get_mut(key).is_some_and(|ids| ids.remove(id)) {
            self.0.remove(key);
        }
    }

    fn of<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> impl Iterator<Item = &u64>
    where
        K: Borrow<Q>,
    {
        self.0.get(key).into_iter().flat_map(Ids::iter)
    }
}

/// The directories of a target, sorted.
pub(super) type Directories = Arc<[Arc<Path>]>;

/// The targets that a name in a directory may concern.
#[derive(Debug, Default)]
pub(super) struct Places {
    targets: Index<Arc<Path>>,
    /// Targets whose walk reached no directory.
    nowhere: BTreeSet<u64>,
}

impl Places {
    /// `directories` are those that the target's walk visited. Their parents are added too, because they may be removed
    /// and created again.
    pub fn add(&mut self, id: u64, directories: &[Arc<Path>]) {
        if directories.is_empty() {
            self.nowhere.insert(id);
        }
        for directory in directories {
            self.targets.add(&**directory, id, || directory.clone());
        }
        for parent in directories.iter().flat_map(|directory| directory.ancestors().skip(1)) {
            self.targets.add(parent, id, || parent.into());
        }
    }

    /// Removes what `add` added.
    pub fn remove(&mut self, id: u64, directories: &[Arc<Path>]) {
        self.nowhere.remove(&id);
        for directory in directories.iter().flat_map(|directory| directory.ancestors()) {
            self.targets.remove(directory, id);
        }
    }

    /// The targets that `path` may concern.
    pub fn of<'a>(&'a self, path: &Path) -> impl Iterator<Item = &'a u64> {
        let here = path.parent().and_then(|directory| self.targets.0.get(directory));
        here.into_iter().flat_map(Ids::iter).chain(&self.nowhere)
    }

    /// The targets of this directory, or of directories below it.
    pub fn within(&self, directory: &Path) -> impl Iterator<Item = &u64> {
        self.targets.of(directory)
    }

    /// The known path that is equal to this one, so that it is stored once.
    pub fn shared(&self, directory: &Path) -> Option<Arc<Path>> {
        self.targets.0.get_key_value(directory).map(|(known, _)| known.clone())
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.targets.0.len() + self.nowhere.len()
    }
}

/// The logs by the real paths of their live files.
#[derive(Debug, Default)]
pub(super) struct Names(Index<Arc<Path>>);

impl Names {
    pub fn add(&mut self, file: &Arc<Path>, log: u64) {
        self.0.add(&**file, log, || file.clone());
    }

    pub fn remove(&mut self, file: &Path, log: u64) {
        self.0.remove(file, log);
    }

    /// The logs of which `path` is the live file or a rotated file.
    pub fn of(&self, path: &Path) -> Vec<u64> {
        let Some(name) = path.file_name() else {
            return Vec::new();
        };
        let bytes = name.as_bytes();
        let ends = (0..bytes.len()).filter(|at| matches!(bytes[*at], b'.' | b'-'));
        let lives = ends.map(|end| OsStr::from_bytes(&bytes[..end])).filter(|live| is_rotation(live, name));
        let logs =
            lives.chain([name]).flat_map(|live| self.0.of(&*path.with_file_name(live)).copied().collect::<Vec<_>>());
        logs.collect()
    }

    /// The directories of the files. One of several files appears several times.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.0.0.keys().filter_map(|file| file.parent())
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.0.len()
    }
}

/// The logs by their directories, given by device and inode, and their names there. Keeps only hashes of these, so the
/// caller has to compare.
#[derive(Debug, Default)]
pub(super) struct InFolders {
    logs: Index<u64>,
    hasher: RandomState,
}

impl InFolders {
    pub fn add(&mut self, folder: (u64, u64), name: &OsStr, log: u64) {
        let hash = self.hasher.hash_one((folder, name));
        self.logs.add(&hash, log, || hash);
    }

    pub fn remove(&mut self, folder: (u64, u64), name: &OsStr, log: u64) {
        self.logs.remove(&self.hasher.hash_one((folder, name)), log);
    }

    pub fn of(&self, folder: (u64, u64), name: &OsStr) -> impl Iterator<Item = &u64> {
        let hash = self.hasher.hash_one((folder, name));
        self.logs.0.get(&hash).into_iter().flat_map(Ids::iter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_the_logs_of_which_it_is_a_generation() {
        let mut names = Names::default();
        let file = |name: &str| Arc::from(Path::new("/d").join(name));
        for (log, name) in ["app.log", "app", "app.log.1", "0.log", "é.log"].iter().enumerate() {
            names.add(&file(name), log as u64);
        }
        names.add(&file("app.log"), 9);
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
            names.remove(&file(name), log as u64);
        }
        assert_eq!(names.of(Path::new("/d/app.log")), [9]);
        names.remove(&file("app.log"), 9);
        assert_eq!(names.len(), 0);
    }

    #[test]
    fn a_name_matters_to_targets_that_looked_where_it_is_or_beneath() {
        let mut places = Places::default();
        let at = |paths: &[&str]| paths.iter().map(|path| Arc::from(Path::new(path))).collect::<Directories>();
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
