//! Checks who owns a log: below the directory of pods' logs, a pod's target may only read that pod's own directory.
//!
//! A `__path__` can come from annotations or labels, which a pod's user writes, and that user may not be allowed to
//! read other pods' logs. The kubelet names a pod's directory `<namespace>_<pod>_<uid>`. Namespace and pod names
//! contain no `_`, so no user can imitate another pod.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::model::Owner;

/// The most links in one path, as in the kernel.
const LINKS: usize = 40;

/// Checks whether the files of one walk belong to the pod.
pub(super) struct Gate<'a> {
    owner: &'a Owner,
    /// The directory of pods' logs, with links resolved.
    root: PathBuf,
    /// The resolved path of each directory, or the path for which it was refused. Checked once for all files in it.
    directories: HashMap<PathBuf, Result<PathBuf, PathBuf>>,
}

impl<'a> Gate<'a> {
    pub fn new(owner: &'a Owner, pod_logs: &Path) -> Self {
        let root = pod_logs.canonicalize().unwrap_or_else(|_| pod_logs.into());
        Self { owner, root, directories: HashMap::new() }
    }

    /// Removes files that are not the pod's own from `files`. Returns the directories that they were in.
    pub fn refuse(&mut self, files: &mut BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        let mut refused = BTreeSet::new();
        files.retain(|file| match self.enter(file) {
            Ok(_) => true,
            Err(folder) => {
                refused.insert(folder);
                false
            }
        });
        refused
    }

    /// The resolved path of `file`. An error is the directory on the way that is not the pod's.
    fn enter(&mut self, file: &Path) -> Result<PathBuf, PathBuf> {
        let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else {
            return Err(file.into());
        };
        let known = self.directories.get(directory).cloned();
        let entered = known.unwrap_or_else(|| {
            let entered = self.follow(PathBuf::from("/"), directory);
            self.directories.insert(directory.into(), entered.clone());
            entered
        });
        self.follow(entered?, Path::new(name))
    }

    /// Follows `way` from `at` as the kernel would. Each pod directory on the way must be the owner's, also if a link
    /// leads to it or through it.
    fn follow(&self, mut at: PathBuf, way: &Path) -> Result<PathBuf, PathBuf> {
        let mut pending: Vec<(OsString, bool)> = reversed(way, false).collect();
        let mut links = 0;
        while let Some((name, is_of_link)) = pending.pop() {
            match Path::new(&name).components().next() {
                Some(Component::RootDir) => at = PathBuf::from("/"),
                // `..` could lead from the pod's directory to anywhere. Only a path written by a user contains it.
                Some(Component::ParentDir) if !is_of_link && at.starts_with(&self.root) => return Err(at),
                Some(Component::ParentDir) => drop(at.pop()),
                Some(Component::Normal(name)) => {
                    at.push(name);
                    if at.parent() == Some(&self.root) && !self.is_own(name) {
                        return Err(at);
                    }
                    if let Ok(target) = fs::read_link(&at) {
                        links += 1;
                        if links > LINKS {
                            return Err(at);
                        }
                        at.pop();
                        pending.extend(reversed(&target, true));
                    }
                }
                _ => {}
            }
        }
        Ok(at)
    }

    fn is_own(&self, folder: &OsStr) -> bool {
        folder.to_str().is_some_and(|name| self.owner.owns(name))
    }
}

fn reversed(path: &Path, is_of_link: bool) -> impl Iterator<Item = (OsString, bool)> {
    path.components().rev().map(move |component| (component.as_os_str().to_os_string(), is_of_link))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::model::{Labels, pod};

    #[test]
    fn every_pods_folder_on_the_way_has_to_be_the_owners() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |path: &str| dir.path().join(path);
        for file in [
            "real/ns_web-0_u1/app/0.log",
            "real/ns_web-0_u2/app/0.log",
            "real/ns_web_u1/app/0.log",
            "real/other-ns_web-0_u1/app/0.log",
            "real/stray.log",
            "docker/id.log",
            "host/secret.log",
        ] {
            fs::create_dir_all(at(file).parent().expect("a parent")).expect("made");
            fs::write(at(file), "x").expect("written");
        }
        fs::create_dir(at("containers")).expect("made");
        for (link, target) in [
            ("pods", "real"), // A node may keep them on another disk.
            ("containers/own.log", "../pods/ns_web-0_u1/app/0.log"),
            ("containers/neighbour.log", "../pods/ns_web_u1/app/0.log"),
            ("containers/chain.log", "neighbour.log"),
            ("containers/docker.log", "../pods/ns_web-0_u1/app/docker.log"),
            ("real/ns_web-0_u1/app/docker.log", "../../../docker/id.log"),
            ("real/ns_web-0_u1/app/round.log", "round.log"),
            ("real/ns_web_u1/app/docker.log", "../../../docker/id.log"),
            ("real/ns_web-0_u1/neighbour", "../ns_web_u1"),
        ] {
            symlink(target, at(link)).expect("linked");
        }
        let labels = [(pod::NAMESPACE, "ns"), (pod::NAME, "web-0"), (pod::UID, "u1"), (pod::CONFIG_HASH, "h1")];
        let labels: Labels = labels.map(|(name, value)| (name.to_string(), value.to_string())).into();
        let owner = Owner::of(&labels.into()).expect("of a pod");
        for (path, is_own) in [
            ("pods/ns_web-0_u1/app/0.log", true),
            ("real/ns_web-0_u1/app/0.log", true),
            ("pods/ns_web-0_u1/app/docker.log", true),
            ("containers/own.log", true),
            ("containers/docker.log", true),
            ("docker/id.log", true),   // Not a pod's directory: a path from the config's author.
            ("host/secret.log", true), // Not a pod's directory either.
            ("pods/ns_web-0_u2/app/0.log", false),
            ("pods/ns_web_u1/app/0.log", false),
            ("pods/ns_web_u1/app/docker.log", false), // Its target is elsewhere.
            ("pods/other-ns_web-0_u1/app/0.log", false),
            ("pods/stray.log", false),
            ("containers/neighbour.log", false),
            ("containers/chain.log", false),
            ("pods/ns_web-0_u1/neighbour/app/0.log", false),
            ("pods/ns_web-0_u1/app/round.log", false),
            ("pods/ns_web-0_u1/../../host/secret.log", false),
            ("pods/ns_web-0_u1/../ns_web-0_u1/app/0.log", false),
        ] {
            let entered = Gate::new(&owner, &at("pods")).enter(&at(path));
            assert_eq!(entered.is_ok(), is_own, "{path}: {entered:?}");
        }
        let mut files: BTreeSet<PathBuf> = ["0", "1", "2"].map(|n| at(&format!("pods/ns_web_u1/app/{n}.log"))).into();
        let refused = Gate::new(&owner, &at("pods")).refuse(&mut files);
        assert_eq!(refused.len(), 1, "one folder, however many files");
        assert!(files.is_empty());
    }
}
