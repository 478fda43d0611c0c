//! Finds the older generations of a log in its directory, oldest first.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::folders::Folders;
use super::gzip::Compression;

#[derive(Debug)]
pub(super) struct Sibling {
    pub path: PathBuf,
    pub meta: Metadata,
    pub compression: Option<Compression>,
    suffix: Suffix,
}

impl Sibling {
    /// Whether the same kind of rotation made both names.
    pub fn is_named_like(&self, other: &Self) -> bool {
        matches!(
            (&self.suffix, &other.suffix),
            (Suffix::Number(_), Suffix::Number(_)) | (Suffix::Date(_), Suffix::Date(_))
        )
    }
}

/// The suffix that a rotation appended to the name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Suffix {
    /// logrotate's `.1`, `.2.gz`: higher is older.
    Number(u64),
    /// The kubelet's `.20261122-175639` and logrotate's `-20261122`: higher is newer.
    Date(Vec<u8>),
}

impl Ord for Suffix {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Suffix::Number(a), Suffix::Number(b)) => b.cmp(a),
            (Suffix::Date(a), Suffix::Date(b)) => a.cmp(b),
            (Suffix::Date(_), Suffix::Number(_)) => Ordering::Less,
            (Suffix::Number(_), Suffix::Date(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Suffix {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The rotated generations of the log at `live`, oldest first.
pub(super) fn siblings(live: &Path, folders: &Folders) -> io::Result<Vec<Sibling>> {
    let (Some(dir), Some(name)) = (live.parent(), live.file_name()) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for other in folders.names(dir, name)? {
        let Some((suffix, compression)) = parse(name, &other) else {
            continue;
        };
        let path = dir.join(other);
        // Links are not generations: anyone who can write here could link to any file.
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() => found.push(Sibling { path, meta, compression, suffix }),
            _ => {} // Removed meanwhile, or not a file.
        }
    }
    found.sort_by(|a, b| a.suffix.cmp(&b.suffix).then_with(|| a.path.cmp(&b.path)));
    // While the kubelet compresses, the plain file and its copy exist together. They are one generation.
    found.dedup_by(|b, a| a.suffix == b.suffix && b.compression.is_some());
    Ok(found)
}

/// Whether `name` is a rotated name of `live`.
pub fn is_rotation(live: &OsStr, name: &OsStr) -> bool {
    parse(live, name).is_some()
}

fn parse(live: &OsStr, name: &OsStr) -> Option<(Suffix, Option<Compression>)> {
    let rest = name.as_bytes().strip_prefix(live.as_bytes())?;
    let (separator @ (b'.' | b'-'), rest) = rest.split_first()? else {
        return None;
    };
    let (rest, compression) = match rest.strip_suffix(b".gz") {
        Some(rest) => (rest, Some(Compression::Gzip)),
        None => (rest, None),
    };
    // Only digits and separators. `.swp`, `.tmp`, `.lock` and names of other logs are not generations.
    if !rest.first()?.is_ascii_digit() || !rest.iter().all(|b| b.is_ascii_digit() || b"-._T:".contains(b)) {
        return None;
    }
    // `web-1` is a different log from `web`; `web-20261122` is an older generation of it.
    if *separator == b'-' && rest.len() < 6 {
        return None;
    }
    let number = std::str::from_utf8(rest).ok().filter(|r| r.len() <= 5).and_then(|r| r.parse().ok());
    Some((number.map_or_else(|| Suffix::Date(rest.to_vec()), Suffix::Number), compression))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(live: &str, names: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a directory");
        for name in names {
            std::fs::write(dir.path().join(name), "x").expect("written");
        }
        let found = siblings(&dir.path().join(live), &Folders::default()).expect("listed");
        found.iter().map(|s| s.path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_kubelets_names() {
        let names =
            ["0.log", "0.log.20261122-175639", "0.log.20261122-170000.gz", "0.log.20261122-180000.tmp", "1.log"];
        assert_eq!(order("0.log", &names), ["0.log.20261122-170000.gz", "0.log.20261122-175639"]);
    }

    #[test]
    fn logrotates_numbers_and_dates() {
        assert_eq!(order("a.log", &["a.log.1", "a.log.10.gz", "a.log.2.gz"]), ["a.log.10.gz", "a.log.2.gz", "a.log.1"]);
        assert_eq!(order("a.log", &["a.log-20261122", "a.log-20261121.gz"]), ["a.log-20261121.gz", "a.log-20261122"]);
    }

    #[test]
    fn a_file_and_its_compressed_copy_are_one_generation() {
        assert_eq!(order("a.log", &["a.log.1", "a.log.1.gz"]), ["a.log.1"]);
    }

    #[test]
    fn other_files_are_none_of_ours() {
        assert_eq!(order("a.log", &["a.log.swp", "a.log.bak", "a.logs.1", "b.log.1", "a.log.", "a.log-1"]), [""; 0]);
    }

    /// Anyone who can write beside a log could name any file so.
    #[test]
    fn no_link_and_no_pipe_is_a_generation_whatever_its_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let (at, elsewhere) = (|name: &str| dir.path().join(name), tempfile::tempdir().expect("a directory"));
        let secret = elsewhere.path().join("secret");
        std::fs::write(&secret, "x").expect("written");
        std::fs::write(at("a.log.3"), "x").expect("written");
        let names = ["a.log.1", "a.log.2.gz", "a.log.20261126-100000", "a.log.20261126-090000.gz", "a.log-20261126"];
        for name in names {
            std::os::unix::fs::symlink(&secret, at(name)).expect("linked");
        }
        // Even a link to the log's own generation is ignored: it may lead elsewhere a moment later.
        std::os::unix::fs::symlink("a.log.3", at("a.log.4")).expect("linked");
        std::fs::create_dir(at("a.log.5")).expect("made");
        std::os::unix::net::UnixListener::bind(at("a.log.6")).expect("a socket");
        let found = siblings(&at("a.log"), &Folders::default()).expect("listed");
        let found: Vec<_> = found.into_iter().map(|sibling| sibling.path).collect();
        assert_eq!(found, [at("a.log.3")]);
        for name in names {
            let error = super::super::generation::Generation::open(&at(name), None).expect_err("put there since");
            assert!(!error.to_string().is_empty(), "{name}");
        }
    }
}
