//! Finds the older generations of a log in its directory, oldest first.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::folders::Folders;
use super::gzip::Compression;

#[derive(Debug)]
pub(super) struct Sibling {
    pub path: PathBuf,
    pub meta: Metadata,
    pub compression: Option<Compression>,
    /// It is a log of its own, so it is not read as a generation of this one.
    pub is_log: bool,
    place: Place,
    order: Order,
}

impl Sibling {
    /// Whether the same kind of rotation made both names.
    pub fn is_named_like(&self, other: &Self) -> bool {
        self.place == other.place && mem::discriminant(&self.order) == mem::discriminant(&other.order)
    }

    /// Whether its name says that it is a generation of the log. Other names have to be proved: one file of that kind
    /// has the content that was read.
    pub fn is_certain(&self) -> bool {
        self.place == Place::Behind
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
        let (own, others) = times(Metadata::modified)?;
        match (self.compression.is_some(), other.compression.is_some()) {
            (false, false) => {
                // Files that were copied to this disk have other times of creation, those that are written late other
                // times of modification.
                let created = times(Metadata::created).is_none_or(|(own, others)| own >= others);
                Some(own > others && created)
            }
            (true, true) => Some(own > others),
            _ => None,
        }
    }
}

/// When a file was created, or last written if that is earlier: it was copied to this disk.
pub(super) fn begun(meta: &Metadata) -> SystemTime {
    let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    meta.created().map_or(modified, |created| created.min(modified))
}

/// Where in the name the rotation put its number or date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// `app-2026-11-26.log`, `app.1.log`: between the name and its extension.
    Within,
    /// The log is a link to `app-20261127.log`, and this is `app-20261126.log`.
    Linked,
    /// `app.log.1`, `app.log-20261126`.
    Behind,
}

/// The part of the name that shows the order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    /// logrotate's `.1`, `.2.gz`: higher is older, unless the times of the files say otherwise.
    Number(u64),
    /// The kubelet's `.20261122-175639`, logrotate's `-20261122`, logback's `.2026-11-26.12`: the numbers of the name.
    /// Higher is newer.
    Date(Vec<u64>),
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Order::Number(a), Order::Number(b)) => b.cmp(a),
            (Order::Date(a), Order::Date(b)) => a.cmp(b),
            (Order::Date(_), Order::Number(_)) => Ordering::Less,
            (Order::Number(_), Order::Date(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The rotated generations of the log `path`, whose live file is at `live` (another path if `path` is a link), oldest
/// first.
pub(super) fn siblings(live: &Path, path: &Path, folders: &Folders) -> io::Result<Vec<Sibling>> {
    let (Some(dir), Some(real), Some(name)) = (live.parent(), live.file_name(), path.file_name()) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    let is_link = real != name;
    let (stem, _) = split(name.as_bytes());
    let mut names = folders.names(dir, OsStr::from_bytes(stem))?;
    if is_link {
        let begin = real.as_bytes().iter().take_while(|b| !b.is_ascii_digit()).count();
        names.extend(folders.names(dir, OsStr::from_bytes(&real.as_bytes()[..begin]))?);
        names.sort_unstable();
        names.dedup();
    }
    for other in names {
        let linked = || is_link.then(|| parse_linked(real, &other)).flatten();
        let Some((place, order, compression)) = parse(name, &other).or_else(linked).filter(|_| *other != *real) else {
            continue;
        };
        let path = dir.join(other);
        // Links are not generations: anyone who can write here could link to any file.
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() => {
                let is_log = folders.is_log(&path);
                found.push(Sibling { path, meta, compression, is_log, place, order });
            }
            _ => {} // Removed meanwhile, or not a file.
        }
    }
    found.sort_by(|a, b| a.place.cmp(&b.place).then_with(|| a.order.cmp(&b.order)).then_with(|| a.path.cmp(&b.path)));
    // While the kubelet compresses, the plain file and its copy exist together. They are one generation.
    found.dedup_by(|b, a| (a.place, &a.order) == (b.place, &b.order) && b.compression.is_some());
    for kind in found.chunk_by_mut(|a, b| a.is_named_like(b)) {
        sort_by_times(kind);
    }
    Ok(found)
}

/// Sorts siblings with names of one kind by their times, if these know better than the names.
fn sort_by_times(kind: &mut [Sibling]) {
    match kind.first().map(|first| &first.order) {
        // In some programs a higher number is newer (log4j2's default): if all times say so, that is the order.
        Some(Order::Number(_)) => {
            let mut said = kind.windows(2).filter_map(|pair| pair[0].is_later_than(&pair[1])).peekable();
            if said.peek().is_some() && said.all(|is_later| is_later) {
                kind.reverse();
            }
        }
        // Day and month come in either order before the year.
        Some(Order::Date(date)) if matches!(date[..], [1..=31, 1..=31, 1970..2200, ..]) => {
            kind.sort_by_key(|sibling| sibling.meta.modified().ok());
        }
        _ => {}
    }
}

/// Whether `name` is a rotated name of `live`, and not only perhaps.
pub fn is_rotation(live: &OsStr, name: &OsStr) -> bool {
    parse(live, name).is_some_and(|(place, ..)| place == Place::Behind)
}

/// A name without its extension, and the extension with its dot.
fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|b| *b == b'.') {
        Some(at) if at > 0 && name.len() > at + 1 => name.split_at(at),
        _ => (name, b""),
    }
}

fn uncompressed(name: &[u8]) -> (&[u8], Option<Compression>) {
    match name.strip_suffix(b".gz") {
        Some(name) => (name, Some(Compression::Gzip)),
        None => (name, None),
    }
}

fn parse(live: &OsStr, name: &OsStr) -> Option<(Place, Order, Option<Compression>)> {
    let (name, compression) = uncompressed(name.as_bytes());
    let live = live.as_bytes();
    let behind = name.strip_prefix(live);
    let within = || {
        let (stem, extension) = split(live);
        let is_one = !extension.is_empty() && !extension[1].is_ascii_digit();
        name.strip_prefix(stem)?.strip_suffix(extension).filter(|_| is_one)
    };
    let (place, rest) = match behind {
        Some(rest) => (Place::Behind, rest),
        None => (Place::Within, within()?),
    };
    let (separator @ (b'.' | b'-' | b'_'), rest) = rest.split_first()? else {
        return None;
    };
    // Only digits and separators. `.swp`, `.tmp`, `.lock` and names of other logs are not generations.
    if !rest.first()?.is_ascii_digit() || !rest.iter().all(|b| b.is_ascii_digit() || b"-._T:".contains(b)) {
        return None;
    }
    // `web-1` is a different log from `web`; `web-20261122` is an older generation of it.
    if *separator != b'.' && rest.len() < 6 || place == Place::Behind && *separator == b'_' {
        return None;
    }
    let number = std::str::from_utf8(rest).ok().filter(|r| r.len() <= 5).and_then(|r| r.parse().ok());
    Some((place, number.map_or_else(|| Order::Date(numbers(rest)), Order::Number), compression))
}

/// A name that differs from the name of the file that a link leads to in its numbers alone, and is older.
fn parse_linked(live: &OsStr, name: &OsStr) -> Option<(Place, Order, Option<Compression>)> {
    let (plain, compression) = uncompressed(name.as_bytes());
    let shape =
        |name: &[u8]| name.split(u8::is_ascii_digit).filter(|part| !part.is_empty()).collect::<Vec<_>>().concat();
    let (own, others) = (numbers(live.as_bytes()), numbers(plain));
    (!own.is_empty() && others < own && shape(live.as_bytes()) == shape(plain)).then_some((
        Place::Linked,
        Order::Date(others),
        compression,
    ))
}

fn numbers(name: &[u8]) -> Vec<u64> {
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()).unwrap_or(u64::MAX);
    name.split(|b| !b.is_ascii_digit()).filter(|digits| !digits.is_empty()).map(number).collect()
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
