//! Finds the older generations of a log in its directory, oldest first.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::compressed::Compression;
use super::folders::Folders;
use crate::model::FileId;
pub use names::is_rotation;
use names::{Order, Place, parse, parse_linked, split};

#[derive(Debug)]
pub(super) struct Sibling {
    pub path: PathBuf,
    pub meta: Metadata,
    pub compression: Option<Compression>,
    /// It is a log of its own, so it is not read as a generation of this one.
    pub is_log: bool,
    /// 0: the directory of the live file. Otherwise one of `target_config.rotated_dirs`.
    dir: usize,
    place: Place,
    order: Order,
    /// Its place among the others of its kind is what their times say, not their names.
    by_times: bool,
}

mod names;

impl Sibling {
    /// Whether the same kind of rotation made both names.
    pub fn is_named_like(&self, other: &Self) -> bool {
        self.is_ordered()
            && (self.dir, self.place) == (other.dir, other.place)
            && mem::discriminant(&self.order) == mem::discriminant(&other.order)
    }

    /// Whether its name and place say at which place among others of its kind it is. If not, only its content can say that
    /// it is a generation of the log.
    pub fn is_ordered(&self) -> bool {
        self.place != Place::Odd
    }

    /// Whether its place among the others of its kind comes from the clock of the machine: from a date, or from their times.
    pub fn is_dated(&self) -> bool {
        self.by_times || matches!(self.order, Order::Date(_))
    }

    /// Whether its name says that it is a generation of the log. Other names have to be proved: one file of that kind
    /// has the content that was read.
    pub fn is_certain(&self) -> bool {
        self.place == Place::Behind && self.dir == 0
    }

    /// A time that is not after the next younger generation was last written. A process may go on writing to an older
    /// generation, so the time of its last line may be later.
    pub fn since(&self) -> SystemTime {
        match self.compression {
            // The time of a compressed file is that of its compression.
            Some(_) => SystemTime::UNIX_EPOCH,
            None => begun(&self.meta),
        }
    }

    /// Whether it was written later, as far as its times say. None: they do not say.
    fn is_later_than(&self, other: &Self) -> Option<bool> {
        let times =
            |meta: fn(&Metadata) -> io::Result<SystemTime>| Some((meta(&self.meta).ok()?, meta(&other.meta).ok()?));
        // The time of a compressed file may be that of its compression.
        if self.compression.is_some() != other.compression.is_some() {
            return None;
        }
        // Files that were copied to this disk have other times of creation, those that were written late other times of
        // modification.
        let (own, others) = times(Metadata::modified)?;
        let created = times(Metadata::created).is_none_or(|(own, others)| own >= others);
        Some(own > others && created)
    }
}

/// When a file was created, or last written if that is earlier: it was copied to this disk.
pub(super) fn begun(meta: &Metadata) -> SystemTime {
    let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    meta.created().map_or(modified, |created| created.min(modified))
}

/// The rotated generations of the log `path`, whose live file is at `live` (another path if `path` is a link), oldest
/// first. Those in other directories come first: they have to be proved.
pub(super) fn siblings(live: &Path, path: &Path, folders: &Folders) -> io::Result<Vec<Sibling>> {
    let mut found = relatives(live, path, folders)?;
    found.retain(Sibling::is_ordered);
    Ok(found)
}

/// The same with files whose names say nothing of their order.
pub(super) fn relatives(live: &Path, path: &Path, folders: &Folders) -> io::Result<Vec<Sibling>> {
    let (Some(dir), Some(real), Some(name)) = (live.parent(), live.file_name(), path.file_name()) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    list(dir, 0, real, name, folders, &mut found)?;
    for (at, other) in rotated_dirs(dir, folders) {
        // It may be removed meanwhile.
        let _ = list(&other, at, real, name, folders, &mut found);
    }
    let key = |s: &Sibling| (std::cmp::Reverse(s.dir), s.place);
    found.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.order.cmp(&b.order)).then_with(|| a.path.cmp(&b.path)));
    // While the kubelet compresses, the plain file and its copy exist together. They are one generation.
    found.dedup_by(|b, a| {
        let is_same = (a.dir, a.place, &a.order) == (b.dir, b.place, &b.order);
        is_same && a.place != Place::Odd && b.compression.is_some()
    });
    for kind in found.chunk_by_mut(|a, b| a.is_named_like(b)) {
        sort_by_times(kind);
    }
    Ok(found)
}

/// The file with this inode in the directory of the live file or in those of rotated files, whatever its name is.
pub(super) fn with_inode(live: &Path, id: &FileId, folders: &Folders) -> io::Result<Option<Sibling>> {
    let Some(dir) = live.parent() else {
        return Ok(None);
    };
    let dirs = std::iter::once((0, dir.to_path_buf())).chain(rotated_dirs(dir, folders));
    for (at, dir) in dirs {
        for name in folders.named(&dir, id.inode).unwrap_or_default() {
            let path = dir.join(&name);
            let compression = Compression::of_name(name.as_bytes()).1;
            if let Ok(meta) = std::fs::symlink_metadata(&path)
                && meta.is_file()
                && path != live
            {
                let is_log = folders.is_log(&path);
                let (place, order) = (Place::Odd, Order::Number(0));
                return Ok(Some(Sibling { path, meta, compression, is_log, dir: at, place, order, by_times: false }));
            }
        }
    }
    Ok(None)
}

/// The directories of rotated files that exist, each with its number. Links are not followed.
fn rotated_dirs<'f>(dir: &'f Path, folders: &'f Folders) -> impl Iterator<Item = (usize, PathBuf)> + 'f {
    let dirs = folders.rotated_dirs().iter().enumerate().map(move |(at, other)| (at + 1, dir.join(other)));
    dirs.filter(move |(_, other)| {
        let is_dir = std::fs::symlink_metadata(other).is_ok_and(|meta| meta.is_dir());
        is_dir && other != dir
    })
}

/// Adds those files of a directory that are named like generations of the log.
fn list(
    dir: &Path,
    at: usize,
    real: &OsStr,
    name: &OsStr,
    folders: &Folders,
    found: &mut Vec<Sibling>,
) -> io::Result<()> {
    let is_link = real != name;
    let (stem, _) = split(name.as_bytes());
    // Of `app.0.log`, the others begin with `app`.
    let stem = stem.strip_suffix(b".0").filter(|before| !before.is_empty()).unwrap_or(stem);
    let mut names = folders.names(dir, OsStr::from_bytes(stem))?;
    if name == "current" {
        names.extend(folders.names(dir, OsStr::new("@"))?);
    }
    if is_link {
        let begin = real.as_bytes().iter().take_while(|b| !b.is_ascii_digit()).count();
        names.extend(folders.names(dir, OsStr::from_bytes(&real.as_bytes()[..begin]))?);
        names.sort_unstable();
        names.dedup();
    }
    for other in names {
        let linked = || is_link.then(|| parse_linked(real, &other)).flatten();
        let is_live = at == 0 && *other == *real;
        let Some((place, order, compression)) = parse(name, &other).or_else(linked).filter(|_| !is_live) else {
            continue;
        };
        let path = dir.join(other);
        // Links are not generations: anyone who can write here could link to any file.
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() => {
                let is_log = folders.is_log(&path);
                found.push(Sibling { path, meta, compression, is_log, dir: at, place, order, by_times: false });
            }
            _ => {} // Removed meanwhile, or not a file.
        }
    }
    Ok(())
}

/// Sorts siblings with names of one kind by their times, if these know better than the names.
fn sort_by_times(kind: &mut [Sibling]) {
    match kind.first().map(|first| &first.order) {
        // In some programs a higher number is newer (log4j2's default): if all times say so, that is the order.
        Some(Order::Number(_)) => {
            let mut said = kind.windows(2).filter_map(|pair| pair[0].is_later_than(&pair[1])).peekable();
            if said.peek().is_some() && said.all(|is_later| is_later) {
                kind.reverse();
                kind.iter_mut().for_each(|sibling| sibling.by_times = true);
            }
        }
        // Day and month come in either order before the year.
        Some(Order::Date(date)) if matches!(date[..], [1..=31, 1..=31, 1970..2200, ..]) => {
            kind.sort_by_key(|sibling| sibling.meta.modified().ok());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(live: &str, names: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a directory");
        for name in names {
            std::fs::write(dir.path().join(name), "x").expect("written");
        }
        let found = siblings(&dir.path().join(live), Path::new(live), &Folders::default()).expect("listed");
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
        let found = siblings(&at("a.log"), &at("a.log"), &Folders::default()).expect("listed");
        let found: Vec<_> = found.into_iter().map(|sibling| sibling.path).collect();
        assert_eq!(found, [at("a.log.3")]);
        for name in names {
            let error = super::super::generation::Generation::open(&at(name), None).expect_err("put there since");
            assert!(!error.to_string().is_empty(), "{name}");
        }
    }
}
