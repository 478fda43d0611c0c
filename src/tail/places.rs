//! The real places of directories and files after all links, and the links that lead there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::mounts::{Events, Mounts};

/// The most links on one way, as in the kernel.
const MOST_LINKS: usize = 40;

/// A directory at the time of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Device and inode.
    pub id: (u64, u64),
    pub events: Events,
}

/// The place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory that its path names, by device and inode, and its name there. Two paths of one directory (through a
    /// link or a bind mount) have the same.
    pub in_folder: ((u64, u64), OsString),
    /// Its path after all links, also if it is a link itself.
    pub real: PathBuf,
    /// A link is on the way to its directory.
    pub by_link: bool,
}

/// The real places of what a walk found.
#[derive(Debug, Default)]
pub struct Places {
    /// By real path: the directories, and those that contain links to them.
    pub folders: BTreeMap<PathBuf, Folder>,
    /// Directories that are reached through links: the real path and the path in the walk.
    pub aliases: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// The real paths of all links on the way.
    pub links: BTreeSet<PathBuf>,
    pub files: BTreeMap<PathBuf, Place>,
    /// By device. All directories of a device are in one file system, whose place among the mounts is looked up once.
    events: HashMap<u64, Events>,
}

impl Places {
    /// `at` gets each path before it is touched, which may take long.
    pub fn of<'w>(
        directories: impl IntoIterator<Item = &'w PathBuf>,
        files: impl IntoIterator<Item = &'w PathBuf>,
        at: &dyn Fn(&Path),
    ) -> Self {
        let mounts = Mounts::now();
        let (mut places, mut ways) = (Self::default(), Ways::new(at));
        for directory in directories {
            let real = ways.follow(directory);
            if real != *directory {
                places.aliases.entry(real.clone()).or_default().insert(directory.clone());
            }
            places.add(real, &mounts, at);
        }
        for file in files {
            let (Some(parent), Some(name)) = (file.parent(), file.file_name()) else {
                continue;
            };
            let folder = ways.follow(parent);
            let by_link = folder != parent;
            let Some(id) = places.add(folder.clone(), &mounts, at).map(|folder| folder.id) else {
                continue;
            };
            let real = ways.follow_within(&folder, name);
            if let Some(parent) = real.parent().filter(|parent| *parent != folder) {
                // Rotations of the file show there.
                places.add(parent.into(), &mounts, at);
            }
            places.files.insert(file.clone(), Place { in_folder: (id, name.into()), real, by_link });
        }
        for link in &ways.links {
            if let Some(parent) = link.parent() {
                places.add(parent.into(), &mounts, at);
            }
        }
        places.links = ways.links;
        places
    }

    fn add(&mut self, real: PathBuf, mounts: &Mounts, at: &dyn Fn(&Path)) -> Option<Folder> {
        if let Some(folder) = self.folders.get(&real) {
            return Some(*folder);
        }
        at(&real);
        let meta = fs::metadata(&real).ok()?;
        let events = *self.events.entry(meta.dev()).or_insert_with(|| mounts.events_of(&real));
        let folder = Folder { id: (meta.dev(), meta.ino()), events };
        self.folders.insert(real, folder);
        Some(folder)
    }
}

/// Follows links, and asks about each name once.
struct Ways<'w> {
    /// The targets of the links among these paths. None: not a link.
    known: HashMap<PathBuf, Option<PathBuf>>,
    /// Directories that were followed, and where they led.
    followed: HashMap<PathBuf, PathBuf>,
    links: BTreeSet<PathBuf>,
    at: &'w dyn Fn(&Path),
}

impl<'w> Ways<'w> {
    fn new(at: &'w dyn Fn(&Path)) -> Self {
        Self { known: HashMap::new(), followed: HashMap::new(), links: BTreeSet::new(), at }
    }

    fn follow(&mut self, path: &Path) -> PathBuf {
        if let Some(real) = self.followed.get(path) {
            return real.clone();
        }
        let above = path.parent().zip(path.file_name());
        let real = match above.and_then(|(parent, name)| Some((self.followed.get(parent)?.clone(), name))) {
            Some((parent, name)) => self.follow_within(&parent, name),
            None => self.follow_within(Path::new("/"), path.as_os_str()),
        };
        // No link is on the way to where it led.
        if real != path {
            self.followed.insert(real.clone(), real.clone());
        }
        self.followed.insert(path.into(), real.clone());
        real
    }

    /// Follows a path in a directory that is known to be real.
    fn follow_within(&mut self, folder: &Path, path: &OsStr) -> PathBuf {
        let mut real = folder.to_path_buf();
        self.follow_from(&mut real, Path::new(path), &mut MOST_LINKS.clone());
        real
    }

    fn follow_from(&mut self, real: &mut PathBuf, path: &Path, left: &mut usize) {
        for component in path.components() {
            match component {
                Component::RootDir => *real = "/".into(),
                Component::ParentDir => drop(real.pop()),
                Component::CurDir | Component::Prefix(_) => {}
                Component::Normal(name) => {
                    real.push(name);
                    let target = self.target_of(real).filter(|_| *left > 0);
                    if let Some(target) = target {
                        *left -= 1;
                        self.links.insert(real.clone());
                        real.pop();
                        self.follow_from(real, &target, left);
                    }
                }
            }
        }
    }

    fn target_of(&mut self, path: &Path) -> Option<PathBuf> {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        (self.at)(path);
        let target = fs::read_link(path).ok();
        self.known.insert(path.into(), target.clone());
        target
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn two_ways_to_one_directory_are_one_place_and_all_links_are_known() {
        let dir = tempfile::tempdir().expect("a directory");
        let base = fs::canonicalize(dir.path()).expect("there");
        let at = |name: &str| base.join(name);
        fs::create_dir_all(at("data/..2026")).expect("made");
        fs::write(at("data/..2026/a.log"), "x").expect("written");
        symlink("..2026", at("data/..data")).expect("linked");
        symlink("data/..data", at("current")).expect("linked");
        symlink("a.log", at("data/..2026/link.log")).expect("linked");
        symlink("round", at("round")).expect("linked");
        let (plain, linked, link) = (at("data/..2026/a.log"), at("current/a.log"), at("current/link.log"));
        let places = Places::of([&at("current"), &at("round")], [&plain, &linked, &link], &|_| {});
        assert_eq!(places.files[&plain].in_folder, places.files[&linked].in_folder);
        assert_eq!([&plain, &linked].map(|file| places.files[file].by_link), [false, true]);
        assert_eq!(
            [&plain, &linked, &link].map(|file| places.files[file].real.clone()),
            [(); 3].map(|()| plain.clone())
        );
        assert_eq!(places.aliases[&at("data/..2026")], [at("current")].into());
        let links = ["current", "data/..2026/link.log", "data/..data", "round"].map(at);
        assert_eq!(places.links, links.into());
        for watched in [&base, &at("data"), &at("data/..2026")] {
            assert!(places.folders.contains_key(watched), "{}", watched.display());
        }
    }
}
