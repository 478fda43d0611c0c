//! Paths on a mount whose server does not answer: a call on them may take minutes, and the start must not wait for it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::mounts::Mounts;
use super::places::{self, Found};
use crate::model::AbortOnPanic;
use crate::tail;

/// How long to wait for the file system of a path.
const PATIENCE: Duration = Duration::from_secs(2);

/// Finds the directories for a path. If a server does not answer meanwhile, only the kernel's list of mounts is used.
pub(super) fn patiently(path: &Path, mounts: &Arc<Mounts>, find: Find) -> Found {
    let servers: Vec<PathBuf> = tail::Mounts::now().remote().map(Path::to_path_buf).collect();
    match servers.is_empty() {
        true => find(path, mounts),
        false => find_within(PATIENCE, path, mounts, find, &servers),
    }
}

type Find = fn(&Path, &Mounts) -> Found;

fn find_within(patience: Duration, path: &Path, mounts: &Arc<Mounts>, find: Find, servers: &[PathBuf]) -> Found {
    let (sender, found) = mpsc::channel();
    let (own, known) = (path.to_path_buf(), mounts.clone());
    // If the call hangs, the thread ends when it returns.
    let started = std::thread::Builder::new().name("look".into()).spawn(move || {
        let _abort_on_panic = AbortOnPanic;
        let _ = sender.send(find(&own, &known));
    });
    let found = started.ok().and_then(|_| found.recv_timeout(patience).ok());
    found.unwrap_or_else(|| above(path, servers))
}

/// The directory above the mount that a path is on. Rules for it also apply to what is mounted there.
fn above(path: &Path, servers: &[PathBuf]) -> Found {
    let mut found = Found::default();
    let mount = servers.iter().filter(|mount| path.starts_with(mount)).min_by_key(|mount| mount.as_os_str().len());
    let place = mount.map(|mount| places::parent(mount)).filter(|place| !places::is_too_much(place));
    match place {
        Some(place) => drop(found.places.insert(place)),
        None => drop(found.why_all.insert(format!(
            "{}: its file system does not answer (NFS, FUSE), so its directories are not known: restart the agent when it does",
            path.display()
        ))),
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_above_the_outermost_mount_is_allowed_unless_it_belongs_to_the_system() {
        let servers: Vec<PathBuf> = ["/mnt/nfs", "/mnt/nfs/inner", "/var/log"].map(PathBuf::from).into();
        let of = |path: &str| above(Path::new(path), &servers);
        assert_eq!(of("/mnt/nfs/inner/app").places, [PathBuf::from("/mnt")].into());
        for path in ["/var/log/app", "/data/link"] {
            let found = of(path);
            assert!(found.places.is_empty() && found.why_all.len() == 1, "{path}");
        }
    }

    #[test]
    fn what_does_not_answer_is_not_waited_for() {
        let hangs: Find = |_, _| loop {
            std::thread::park();
        };
        let servers = [PathBuf::from("/mnt/nfs")];
        let mounts = Arc::new(Mounts::default());
        let found = find_within(Duration::from_millis(1), Path::new("/mnt/nfs/app"), &mounts, hangs, &servers);
        assert_eq!(found.places, [PathBuf::from("/mnt")].into());
    }

    #[test]
    fn what_answers_is_asked() {
        let dir = tempfile::tempdir().expect("a directory");
        let mounts = Arc::new(Mounts::default());
        let servers = [PathBuf::from("/")];
        let found = find_within(PATIENCE, dir.path(), &mounts, places::of_folder, &servers);
        assert_eq!(found.places, places::of_folder(dir.path(), &mounts).places);
    }
}
