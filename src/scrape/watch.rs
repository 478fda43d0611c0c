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
        Self { watcher, directories: HashMap::new(), is_said: false }
    }

    /// Receives no events.
    #[cfg(test)]
    pub fn deaf() -> Self {
        Self { watcher: None, directories: HashMap::new(), is_said: false }
    }

    /// Receives no more events.
    pub fn close(&mut self) {
        self.watcher = None;
    }

    /// Whether events for this directory arrive, as far as the file system reports them.
    pub fn hears(&self, directory: &Path) -> bool {
        self.watcher.is_some() && self.directories.contains_key(directory)
    }

    /// The path of this directory, if it is watched, so that it is stored once.
    pub fn shared(&self, directory: &Path) -> Option<Arc<Path>> {
        self.directories.get_key_value(directory).map(|(known, _)| known.clone())
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
        let was_watched = self.directories.remove(directory).is_some();
        if was_watched && let Some(watcher) = &mut self.watcher {
            let _ = watcher.unwatch(directory);
        }
        was_watched
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
}
