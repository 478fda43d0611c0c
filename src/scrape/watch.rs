//! Watches directories for new, renamed and deleted names. It does not watch writes, which would slow down the writers.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::Flag;
use notify::{Config, ErrorKind, Event, EventKindMask, RecommendedWatcher, RecursiveMode, Watcher};

/// A file event.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    Names(Vec<PathBuf>),
    /// Events were lost: check everything.
    Everything,
}

/// The directories being watched.
#[derive(Debug)]
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    /// By real path, with device and inode: another directory may get the name.
    directories: HashMap<Arc<Path>, (u64, u64)>,
    /// Their devices and inodes.
    ids: HashSet<(u64, u64)>,
    /// Directories with the same device and inode, by each of their paths: one that is mounted at several places. The kernel
    /// reports a name in it once, under one of the paths.
    same: HashMap<Arc<Path>, Arc<[Arc<Path>]>>,
    /// That some directory cannot be watched was reported.
    is_said: bool,
}

impl Watch {
    pub fn new(mut heard: impl FnMut(Heard) + Send + 'static) -> Self {
        let mask = EventKindMask::CREATE | EventKindMask::REMOVE | EventKindMask::MODIFY_NAME;
        let config = Config::default().with_event_kinds(mask).with_follow_symlinks(false);
        // Runs on notify's thread: only forward the event.
        let hand_on = move |event: notify::Result<Event>| match event {
            Ok(event) if event.attrs.flag() == Some(Flag::Rescan) => heard(Heard::Everything),
            Ok(event) => heard(Heard::Names(event.paths)),
            Err(_) => heard(Heard::Everything),
        };
        let watcher = match RecommendedWatcher::new(hand_on, config) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "cannot watch directories: new files are found only every two seconds \
                     (raise fs.inotify.max_user_instances)"
                );
                None
            }
        };
        Self { watcher, ..Self::none() }
    }

    fn none() -> Self {
        let (directories, ids, same) = (HashMap::new(), HashSet::new(), HashMap::new());
        Self { watcher: None, directories, ids, same, is_said: false }
    }

    /// Receives no events.
    #[cfg(test)]
    pub fn deaf() -> Self {
        Self::none()
    }

    /// Receives no more events.
    pub fn close(&mut self) {
        self.watcher = None;
    }

    /// Whether it can watch any directory.
    pub fn is_on(&self) -> bool {
        self.watcher.is_some()
    }

    /// Whether events for this directory arrive, as far as the file system reports them.
    pub fn hears(&self, directory: &Path) -> bool {
        self.watcher.is_some() && self.directories.contains_key(directory)
    }

    /// The path of this directory, if it is watched, so that it is stored once.
    pub fn shared(&self, directory: &Path) -> Option<Arc<Path>> {
        self.directories.get_key_value(directory).map(|(known, _)| known.clone())
    }

    /// The other paths of what an event names, if its directory is watched under several paths.
    pub fn other_paths(&self, path: &Path) -> Vec<PathBuf> {
        let others = |directory: &Path| {
            let all = self.same.get(directory).into_iter().flat_map(|all| all.iter());
            all.filter(move |other| ***other != *directory).cloned().collect::<Vec<_>>()
        };
        let of_name = path
            .parent()
            .zip(path.file_name())
            .into_iter()
            .flat_map(|(directory, name)| others(directory).into_iter().map(move |other| other.join(name)));
        let of_directory = others(path).into_iter().map(|other| other.to_path_buf());
        of_name.chain(of_directory).collect()
    }

    /// Watches `directory` too, which has this device and inode. Returns whether it is new.
    pub fn add(&mut self, directory: &Path, id: (u64, u64)) -> bool {
        match self.directories.get(directory) {
            Some(known) if *known == id => return false,
            Some(_) => drop(self.forget(directory)),
            None => {}
        }
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        match watcher.watch(directory, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.directories.insert(directory.into(), id);
                if !self.ids.insert(id) {
                    self.note_same(id);
                }
                true
            }
            Err(error) => {
                if matches!(error.kind, ErrorKind::MaxFilesWatch) {
                    tracing::warn!(
                        directories = self.directories.len(),
                        "cannot watch more directories: new files there are found only every two seconds \
                         (raise fs.inotify.max_user_watches)"
                    );
                    self.watcher = None;
                } else if !is_absent(&error) && !std::mem::replace(&mut self.is_said, true) {
                    tracing::warn!(
                        directory = %directory.display(),
                        %error,
                        "cannot watch a directory: new files in it are found only every two seconds"
                    );
                }
                false
            }
        }
    }

    /// Stops watching directories that are not in `wanted`.
    pub fn retain(&mut self, wanted: &HashSet<&Path>) {
        let unwanted = self.directories.keys().filter(|directory| !wanted.contains(&***directory));
        let unwanted: Vec<Arc<Path>> = unwanted.cloned().collect();
        for directory in unwanted {
            self.forget(&directory);
        }
    }

    /// A removed directory loses its watch. A new one with the same name needs a new watch. Returns whether it was watched.
    pub fn forget(&mut self, directory: &Path) -> bool {
        let Some(id) = self.directories.remove(directory) else {
            return false;
        };
        match self.same.remove(directory) {
            Some(_) => self.note_same(id),
            None => drop(self.ids.remove(&id)),
        }
        if let Some(watcher) = &mut self.watcher {
            let _ = watcher.unwatch(directory);
        }
        true
    }

    /// Collects the paths of the directory with this device and inode, which had or has several.
    fn note_same(&mut self, id: (u64, u64)) {
        let paths = self.directories.iter().filter(|(_, of)| **of == id).map(|(path, _)| path.clone());
        let all: Arc<[Arc<Path>]> = paths.collect();
        for path in &*all {
            match all.len() {
                1 => drop(self.same.remove(path)),
                _ => drop(self.same.insert(path.clone(), all.clone())),
            }
        }
    }
}

/// The directory was removed meanwhile or never existed.
fn is_absent(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => {
            matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_watched_is_looked_at_more_often_and_one_that_is_gone_is_not() {
        let mut watch = Watch::new(|_| {});
        let dir = tempfile::tempdir().expect("a directory");
        let id = (1, 1);
        assert!(watch.add(dir.path(), id) && !watch.add(dir.path(), id));
        assert!(!watch.add(&dir.path().join("gone"), id) && watch.hears(dir.path()));
        let round = dir.path().join("round");
        std::os::unix::fs::symlink("round", &round).expect("linked");
        assert!(!watch.add(&round, id) && !watch.hears(&round));
        // Events for the other directories still arrive.
        assert!(!watch.add(dir.path(), id) && watch.hears(dir.path()));
        // Another directory has the name.
        assert!(watch.add(dir.path(), (1, 2)) && watch.hears(dir.path()));
    }

    #[test]
    fn a_directory_with_several_paths_is_heard_under_each() {
        let mut watch = Watch::new(|_| {});
        let dirs: Vec<_> = (0..4).map(|_| tempfile::tempdir().expect("a directory")).collect();
        let [a, b, c, other] = [0, 1, 2, 3].map(|n: usize| dirs[n].path());
        for (path, id) in [(a, (1, 1)), (other, (1, 2)), (b, (1, 1)), (c, (1, 1))] {
            assert!(watch.add(path, id));
        }
        let sorted = |watch: &Watch, path: &Path| {
            let mut others = watch.other_paths(path);
            others.sort();
            others
        };
        let expected = |mut paths: Vec<PathBuf>| {
            paths.sort();
            paths
        };
        assert_eq!(sorted(&watch, &b.join("x.log")), expected(vec![a.join("x.log"), c.join("x.log")]));
        assert_eq!(sorted(&watch, b), expected(vec![a.to_path_buf(), c.to_path_buf()]), "the directory itself");
        assert!(watch.other_paths(&other.join("x.log")).is_empty());
        // One path after the other goes, or gets another directory.
        assert!(watch.forget(a));
        assert_eq!(
            [watch.other_paths(&b.join("x.log")), watch.other_paths(&a.join("x.log"))],
            [vec![c.join("x.log")], vec![]]
        );
        assert!(watch.add(c, (1, 3)));
        assert!(watch.other_paths(&b.join("x.log")).is_empty() && watch.other_paths(&c.join("x.log")).is_empty());
        assert!(watch.add(a, (1, 1)), "b still has it");
        assert_eq!(watch.other_paths(&b.join("x.log")), [a.join("x.log")]);
        assert!(watch.forget(a) && watch.forget(b) && watch.forget(c) && watch.forget(other));
        assert!(watch.same.is_empty() && watch.ids.is_empty() && watch.directories.is_empty());
    }
}
