//! Finds the journal files in the folders of this machine, or in a folder that the config names.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::location::Id;

/// The folders in which journald keeps its files: permanent files, and files of this boot.
pub const ROOTS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

pub const MACHINE_ID: &str = "/etc/machine-id";

/// The most files. systemd itself opens at most 7,168.
const FILES: usize = 8192;

/// The most names in a folder that are looked at.
const NAMES: usize = 8 * FILES;

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

/// The journal files that are there.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Sorted by path.
    pub files: Vec<Found>,
    /// Folders with more files than are read, and how many of these are left out.
    pub left_out: Vec<(PathBuf, usize)>,
}

/// The files of a folder, each with the time of its last change.
type Dated = Vec<(SystemTime, Found)>;

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

    /// All journal files. If there are too many, the largest folders are left out in part: their oldest files. Without a
    /// folder the result is an error.
    pub(super) fn list(&self) -> io::Result<Listed> {
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
        let files = folders.into_iter().filter_map(|(folder, _)| files_of(&folder).ok().map(|files| (folder, files)));
        let mut listed = share(files.collect());
        listed.files.sort_by(|a, b| a.path.cmp(&b.path));
        listed.files.dedup_by(|a, b| a.key == b.key);
        Ok(listed)
    }
}

/// Each folder gets as many places as it needs, or an equal part of what is left. Otherwise one folder with very many
/// files would take the places of all others.
fn share(mut folders: Vec<(PathBuf, Dated)>) -> Listed {
    let mut listed = Listed::default();
    folders.sort_by_key(|(_, files)| files.len());
    let count = folders.len();
    for (i, (folder, mut files)) in folders.into_iter().enumerate() {
        let places = (FILES - listed.files.len()) / (count - i);
        if files.len() > places {
            files.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.path.cmp(&other.path)));
            listed.left_out.push((folder, files.len() - places));
            files.truncate(places);
        }
        listed.files.extend(files.into_iter().map(|(_, file)| file));
    }
    listed
}

/// The machine of a folder named `<machine-id>` or `<machine-id>.<namespace>`.
fn machine(path: &Path) -> Option<Id> {
    let name = path.file_name()?.to_str()?;
    name.split('.').next()?.parse().ok()
}

fn files_of(folder: &Path) -> io::Result<Dated> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)?.take(NAMES) {
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
        let changed = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        files.push((changed, Found { path, key: (meta.dev(), meta.ino()) }));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The folders of two machines, of which one has too many files.
    #[test]
    fn a_folder_with_very_many_files_takes_no_place_of_another() {
        let dir = tempfile::tempdir().expect("a folder");
        let [own, neighbour] = [1, 2].map(|n| dir.path().join(format!("{n:032x}")));
        let file = |folder: &Path, n: usize| {
            let file = fs::File::create(folder.join(format!("{n}.journal"))).expect("made");
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(n as u64)).expect("a time");
        };
        let most = FILES - 10;
        for (folder, count) in [(&own, 10), (&neighbour, most)] {
            fs::create_dir(folder).expect("made");
            (0..count).for_each(|n| file(folder, n));
        }
        // Other files do not count.
        (0..20).for_each(|n| drop(fs::File::create(neighbour.join(format!("{n}.txt"))).expect("made")));
        let list = || Folders::new(dir.path().to_str().expect("a path")).list().expect("listed");
        assert_eq!((list().files.len(), list().left_out), (FILES, Vec::new()));
        (most..most + 7).for_each(|n| file(&neighbour, n));
        let listed = list();
        assert_eq!((listed.files.len(), listed.left_out), (FILES, vec![(neighbour.clone(), 7)]));
        let has =
            |folder: &Path, n: usize| listed.files.iter().any(|file| file.path == folder.join(format!("{n}.journal")));
        assert!((0..10).all(|n| has(&own, n)) && (7..most + 7).all(|n| has(&neighbour, n)) && !has(&neighbour, 6));
    }
}
