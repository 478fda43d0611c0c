//! Reads the names of directories when they may have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use super::book::FOLDERS;

/// How often names are read although there is no sign of a change.
const SELDOM: Duration = Duration::from_secs(10);

/// A directory with such a recent change may change again without a new modification time.
const FRESH: Duration = Duration::from_secs(2);

/// The most containers of a pod. Real pods have a dozen.
const CONTAINERS: usize = 200;

/// The longest name of a container in bytes.
const NAME: usize = 63;

pub(super) struct Disk {
    root: PathBuf,
    stamp: Stamp,
    folders: BTreeSet<String>,
    containers: BTreeMap<String, (Stamp, BTreeSet<String>)>,
    /// Why names cannot be read, if that was logged.
    trouble: Option<ErrorKind>,
    were_too_many: bool,
}

/// When a directory was read, and its modification time then.
#[derive(Clone, Copy, Debug, Default)]
struct Stamp {
    read: Option<Instant>,
    changed: Option<SystemTime>,
}

impl Stamp {
    /// Whether the names may have changed.
    fn is_outdated(&mut self, path: &Path, now: Instant) -> bool {
        let changed = fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let is_fresh = changed.is_some_and(|at| at.elapsed().is_ok_and(|age| age < FRESH));
        let is_due = self.read.is_none_or(|read| now >= read + SELDOM);
        let outdated = is_due || is_fresh || changed != self.changed;
        if outdated {
            *self = Self { read: Some(now), changed };
        }
        outdated
    }
}

impl Disk {
    pub(super) fn new(root: PathBuf) -> Self {
        let (stamp, folders, containers) = Default::default();
        Self { root, stamp, folders, containers, trouble: None, were_too_many: false }
    }

    /// The directories of pods, if they were read again.
    pub(super) fn folders(&mut self, now: Instant, is_asked_for: &dyn Fn(&str) -> bool) -> Option<&BTreeSet<String>> {
        if !self.stamp.is_outdated(&self.root, now) {
            return None;
        }
        match names(&self.root, FOLDERS, &|name| is_of_pod(name) && is_asked_for(name)) {
            Ok(folders) => {
                if self.trouble.take().is_some() {
                    info!(folder = %self.root.display(), "the directory of pods' logs can be read again");
                }
                self.folders = folders;
            }
            // A node without the kubelet's directory has no logs of pods.
            Err(error) if error.kind() == ErrorKind::NotFound => self.folders.clear(),
            // For example, Landlock allows only other directories. Pods that would be found here could not be read
            // anyway.
            Err(error) => {
                if self.trouble.replace(error.kind()) != Some(error.kind()) {
                    let folder = self.root.display();
                    info!(%folder, %error, "cannot read the directory of pods' logs: pods that the API server does not show are not found");
                }
                return None;
            }
        }
        let is_too_many = self.folders.len() >= FOLDERS;
        if is_too_many && !self.were_too_many {
            let folder = self.root.display();
            warn!(%folder, most = FOLDERS, "there are more log directories of pods than allowed: further pods are only found by the API server");
        }
        self.were_too_many = is_too_many;
        Some(&self.folders)
    }

    /// The containers with a directory in the pod's directory.
    pub(super) fn containers(&mut self, folder: &str, now: Instant) -> Option<&BTreeSet<String>> {
        let path = self.root.join(folder);
        let (stamp, containers) = self.containers.entry(folder.to_string()).or_default();
        if stamp.is_outdated(&path, now)
            && let Ok(found) = names(&path, CONTAINERS, &is_container)
        {
            containers.extend(found.into_iter().take(CONTAINERS.saturating_sub(containers.len())));
        }
        Some(containers)
    }

    /// The containers found so far, also if their directories are gone.
    pub(super) fn known_containers(&self, folder: &str) -> Vec<String> {
        self.containers.get(folder).map(|(_, names)| names.iter().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn forget(&mut self, folder: &str) {
        self.containers.remove(folder);
    }
}

/// The names of at most `most` directories. Links do not count.
fn names(path: &Path, most: usize, is_wanted: &dyn Fn(&str) -> bool) -> std::io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(path)?.take(most * 4) {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_wanted(name)) else { continue };
        if names.len() < most && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            names.insert(name.to_string());
        }
    }
    Ok(names)
}

/// Whether it is `<namespace>_<pod>_<uid>`, with characters that Kubernetes allows in names.
fn is_of_pod(name: &str) -> bool {
    let mut parts = name.splitn(3, '_');
    let mut next =
        |is_name: fn(char) -> bool| parts.next().is_some_and(|part| !part.is_empty() && part.chars().all(is_name));
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let is_id = |c: char| c.is_ascii_alphanumeric() || c == '-';
    next(is_name) && next(is_name) && next(is_id)
}

fn is_container(name: &str) -> bool {
    name.len() <= NAME && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_what_the_kubelet_could_have_made_is_a_pods() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        for name in
            ["ns_a.b-1_0f-1a", "ns_a", "ns__u", "_a_u", "NS_a_u", "ns_a_u_v", "ns_a_{x}", "ns_a_*", "n s_a_u", "é_a_u"]
        {
            fs::create_dir(at(name)).expect("made");
        }
        fs::write(at("ns_file_u"), "").expect("written");
        symlink("ns_a.b-1_0f-1a", at("ns_link_u")).expect("linked");
        let mut disk = Disk::new(dir.path().into());
        let found = disk.folders(Instant::now(), &|_| true).expect("read");
        assert_eq!(*found, BTreeSet::from(["ns_a.b-1_0f-1a".to_string()]));
        for name in ["web", "We", "a_b", "..x"] {
            fs::create_dir(at("ns_a.b-1_0f-1a").join(name)).expect("made");
        }
        let found = disk.containers("ns_a.b-1_0f-1a", Instant::now()).expect("read");
        assert_eq!(*found, BTreeSet::from(["web".to_string()]));
    }

    #[test]
    fn a_folder_that_comes_is_seen_and_one_that_is_away_is_no_trouble() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("pods");
        let mut disk = Disk::new(root.clone());
        let now = Instant::now();
        assert!(disk.folders(now, &|_| true).expect("read").is_empty());
        fs::create_dir_all(root.join("ns_a_u")).expect("made");
        assert_eq!(disk.folders(now, &|_| true).expect("changed").len(), 1);
        fs::remove_dir_all(&root).expect("removed");
        assert!(disk.folders(now, &|_| true).expect("changed").is_empty());
    }
}
