//! Reads the files that the config of the server names.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::model::bounded;

/// The most bytes of a file. Real certificates, keys and lists of users are far smaller.
const LARGEST: u64 = 1 << 20;

/// Reads a regular file of at most 1 MiB. Fails for anything else: opening a named pipe would wait for a writer.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::metadata(path)?.is_file() {
        true => bounded::read(File::open(path)?, LARGEST),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_read() {
        assert!(read(Path::new("/dev/zero")).is_err_and(|e| e.to_string().contains("not a regular file")));
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(LARGEST).expect("sized");
        assert_eq!(read(file.path()).expect("read").len() as u64, LARGEST);
        file.as_file().set_len(LARGEST + 1).expect("sized");
        assert!(read(file.path()).is_err());
    }
}
