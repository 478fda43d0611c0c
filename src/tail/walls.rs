//! The paths that Landlock lets this process read. Used to tell a file blocked by Landlock from one whose mode forbids
//! reading.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

/// The readable directories and files, by device and inode, as given to the kernel. Applies to the whole process.
static MAY_BE_READ: OnceLock<HashSet<(u64, u64)>> = OnceLock::new();

/// Records the paths given to the kernel. Only the first call has an effect.
pub fn set_readable(places: HashSet<(u64, u64)>) {
    let _ = MAY_BE_READ.set(places);
}

/// Adds an explanation to the error if Landlock blocked `path`.
pub fn explain(path: &Path, error: io::Error) -> io::Error {
    match MAY_BE_READ.get() {
        Some(places) if error.kind() == ErrorKind::PermissionDenied && !is_within(path, places) => {
            io::Error::new(ErrorKind::PermissionDenied, ADVICE)
        }
        _ => error,
    }
}

const ADVICE: &str = "landlock refuses it: when the agent started, the config did not name this directory, or the path led to another \
                      one: restart the agent, add the directory to target_config.read_roots, or set \
                      -security.landlock=false";

/// Checks as the kernel does: whether the path or one of its parent directories is readable.
fn is_within(path: &Path, places: &HashSet<(u64, u64)>) -> bool {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    real.ancestors().any(|at| fs::metadata(at).is_ok_and(|meta| places.contains(&(meta.dev(), meta.ino()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_made_again_is_another() {
        let dir = tempfile::tempdir().expect("a folder");
        let (log, other) = (dir.path().join("logs/a/0.log"), dir.path().join("other"));
        fs::create_dir_all(log.parent().expect("a folder")).expect("made");
        fs::write(&log, "x").expect("written");
        fs::write(&other, "x").expect("written");
        let meta = fs::metadata(dir.path().join("logs")).expect("there");
        let places = HashSet::from([(meta.dev(), meta.ino())]);
        assert!(is_within(&log, &places) && !is_within(&other, &places));
        std::os::unix::fs::symlink(&other, dir.path().join("logs/link")).expect("linked");
        assert!(!is_within(&dir.path().join("logs/link"), &places), "it is where it leads to that counts");
        fs::rename(dir.path().join("logs"), dir.path().join("old")).expect("renamed");
        fs::create_dir(dir.path().join("logs")).expect("made");
        assert!(!is_within(&dir.path().join("logs"), &places));
    }
}
