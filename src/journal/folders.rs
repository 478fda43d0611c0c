//! Finds the journal files in the folders of this machine, or in a folder that the config names.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::location::Id;

/// The folders in which journald keeps its files: permanent files, and files of this boot.
pub const ROOTS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

pub const MACHINE_ID: &str = "/etc/machine-id";

/// The most files. systemd itself opens at most 7,168.
const FILES: usize = 8192;

/// The folders of a journal.
#[derive(Clone, Debug)]
pub struct Folders {
    roots: Vec<PathBuf>,
    /// Only folders of this machine are read. None: those of all machines.
    machine: Option<Id>,
}

/// A journal file that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub path: PathBuf,
    /// Device and inode.
    pub key: (u64, u64),
}

impl Folders {
    /// The journal of this machine, or of the folder `path`.
    pub fn new(path: &str) -> Self {
        if !path.is_empty() {
            return Self { roots: vec![path.into()], machine: None };
        }
        let machine = fs::read_to_string(MACHINE_ID).ok().and_then(|id| id.trim().parse().ok());
        Self { roots: ROOTS.map(PathBuf::from).to_vec(), machine }
    }

    /// For messages.
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// All journal files, sorted by path. Without a folder the result is an error.
    pub(super) fn list(&self) -> io::Result<Vec<Found>> {
        let mut folders: Vec<(PathBuf, Option<Id>)> = Vec::new();
        let mut error = None;
        for root in &self.roots {
            match fs::read_dir(root) {
                Ok(entries) => {
                    folders.push((root.clone(), None));
                    let named = entries.flatten().filter_map(|entry| Some((entry.path(), machine(&entry.path())?)));
                    folders.extend(named.map(|(path, id)| (path, Some(id))));
                }
                Err(e) => error = Some(error.unwrap_or(e)),
            }
        }
        // In a container /etc/machine-id may be that of the image. Then all folders count.
        let own = |id: &Option<Id>| id.is_some() && *id == self.machine;
        if self.machine.is_some() && folders.iter().any(|(_, id)| own(id)) {
            folders.retain(|(_, id)| own(id));
        }
        if let (true, Some(error)) = (folders.is_empty(), error) {
            return Err(error);
        }
        let mut files: Vec<Found> = folders.iter().filter_map(|(folder, _)| files_of(folder).ok()).flatten().collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.key == b.key);
        files.truncate(FILES);
        Ok(files)
    }
}

/// The machine of a folder named `<machine-id>` or `<machine-id>.<namespace>`.
fn machine(path: &Path) -> Option<Id> {
    let name = path.file_name()?.to_str()?;
    name.split('.').next()?.parse().ok()
}

fn files_of(folder: &Path) -> io::Result<Vec<Found>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)?.take(FILES) {
        let Ok(entry) = entry else {
            continue;
        };
        let path = entry.path();
        // A name that ends with a tilde: journald has rotated the file because it was damaged.
        let is_journal = path.extension().is_some_and(|extension| extension == "journal" || extension == "journal~");
        // A pipe or a device must not be opened.
        let Some(meta) = is_journal.then(|| fs::metadata(&path).ok()).flatten().filter(fs::Metadata::is_file) else {
            continue;
        };
        files.push(Found { path, key: (meta.dev(), meta.ino()) });
    }
    Ok(files)
}
