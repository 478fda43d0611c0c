//! The journal: a text file with one record per line. New lines are appended. Each line has a checksum, so a torn line
//! is recognised.
//!
//! ```text
//! fantail-positions 1
//! k <slot> <labels hash> <client> <job> <path> <checksum>        the key of a slot (names as JSON strings)
//! n <slot> <labels hash> <client> <job> <name> <checksum>        the same for a log that is not a file
//! p <slot> <device> <inode> <head length> <head hash> <offset> <live> <unix ms> <read time, or -> <more> <checksum>
//!                                                                a position; read times up to this one are obsolete
//! r <slot> <device> <inode> <head length> <head hash> <offset> <length> <read time, unix ns> <more> <checksum>
//! l <slot> <device> <inode> <head length> <head hash> <offset> <more> <checksum>
//!                                                                a file that the log has left, read to its end there
//! c <slot> <cursor, a JSON string> <unix ms> <checksum>          the position of a log that is not a file
//! y <hash> <checksum>                                            of a positions.yaml that is about to be written; the last
//!                                                                two are kept
//! a <unix ms> <checksum>                                         the agent was running at this time
//! b <hash> <checksum>                                            of the name of a job that was run before
//! ```
//!
//! `<more>` is `<inode created, unix ns> <length before> <hash before>`: of the bytes right before the offset. At the end of
//! `p` follows how many bytes the file has behind the position. Older versions did not write these.
//!
//! Unknown kinds of lines, and extra fields of known ones, are ignored. Older versions do the same.

mod few;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::xxh3_64;

use super::read_time::{ReadTime, ReadTimes};
use super::{Key, LogName, Saved, safe, yaml};
use crate::model::{FileId, Fingerprint, Position};
pub(super) use few::{LeftFiles, YamlHashes};

const HEADER: &str = "fantail-positions ";
const VERSION: u32 = 1;

/// The journal is compacted when it is larger than this and twice as large as after the last compaction.
const LARGE: u64 = 1 << 20;

/// The longest line in bytes. A path has at most 4 KiB, and up to six times that as JSON.
const LONGEST_LINE: u64 = 64 << 10;

/// The saved position of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub place: Place,
    pub saved: SystemTime,
    /// Bytes of its file behind the position, as far as they are known: they are lost if the file is gone at the next start.
    pub unread: u64,
}

/// How far a log was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The flag: the file has the log's name.
    File(Position, bool),
    Cursor(Arc<str>),
}

impl Record {
    pub(super) fn to_saved(&self) -> Saved {
        match &self.place {
            Place::File(position, _) => Saved::At { position: *position, saved: self.saved },
            Place::Cursor(cursor) => Saved::Cursor(cursor.clone()),
        }
    }

    pub(super) fn position(&self) -> Option<Position> {
        match &self.place {
            Place::File(position, _) => Some(*position),
            Place::Cursor(_) => None,
        }
    }

    /// The inode of its file. None if the log is not a file.
    pub(super) fn file(&self) -> Option<u64> {
        self.position().map(|position| position.file.inode)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Line<'k> {
    Key(u32, &'k Key),
    /// With the last read time that is completely before it, or a time after those of all lines before it, if known.
    Position(u32, Record, Option<i64>),
    ReadTime(u32, ReadTime),
    Left(u32, Position),
    Yaml(u64),
    Alive(SystemTime),
    Begun(u64),
}

/// Everything known about one log.
#[derive(Clone, Debug)]
pub(super) struct KnownLog {
    pub key: Key,
    pub record: Option<Record>,
    pub times: ReadTimes,
    pub left: LeftFiles,
}

/// The same, borrowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownLogRef<'k> {
    pub slot: u32,
    pub key: &'k Key,
    pub record: Option<&'k Record>,
    pub times: &'k ReadTimes,
    pub left: &'k LeftFiles,
}

/// The contents of a journal.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// By slot.
    pub known: BTreeMap<u32, KnownLog>,
    /// Hashes of the `positions.yaml` that may stand there and is ours, oldest first.
    pub yaml_hashes: YamlHashes,
    pub alive: Option<SystemTime>,
    /// Hashes of the names of jobs that were run before.
    pub begun: BTreeSet<u64>,
}

pub(super) fn path(positions: &Path) -> PathBuf {
    let mut name = positions.as_os_str().to_owned();
    name.push(".journal");
    name.into()
}

/// Reads a journal. Torn or damaged lines are skipped; each costs at most its own information.
pub(super) fn read(path: &Path) -> Result<Contents, String> {
    let mut file = match yaml::open_regular(path) {
        Ok(file) => BufReader::new(file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Contents::default()),
        Err(e) => return Err(e.to_string()),
    };
    let mut line = Vec::new();
    let failed = |e: io::Error| e.to_string();
    // Reads line by line, so a large journal takes no more memory than its contents.
    file.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(failed)?;
    let header = String::from_utf8_lossy(&line).into_owned();
    match header.strip_prefix(HEADER).map(|v| v.trim().parse::<u32>()) {
        Some(Ok(VERSION)) => {}
        Some(Ok(newer)) if newer > VERSION => {
            return Err(format!(
                "it was written by a newer fantail (format {newer}, this version knows {VERSION}): run the newer version, or remove \
                 this file to continue from positions.yaml"
            ));
        }
        // Torn when it was created: it contained nothing yet.
        _ if line.len() < HEADER.len() + 2 && file.fill_buf().map_err(failed)?.is_empty() => {
            return Ok(Contents::default());
        }
        _ => return Err("it is not a journal of fantail: move it away to continue from positions.yaml".into()),
    }
    let (mut contents, mut names) = (Contents::default(), HashSet::new());
    while next_line(&mut file, &mut line).map_err(failed)? {
        let Some(fields) = std::str::from_utf8(&line).ok().and_then(checked) else {
            continue;
        };
        let _ = parse(fields, &mut contents, &mut names);
    }
    Ok(contents)
}

/// Reads a line into `line`, without its newline. Returns false at the end of the file. Only the first part of a line
/// that is too long is kept.
fn next_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let read = file.by_ref().take(LONGEST_LINE).read_until(b'\n', line)?;
    if line.pop_if(|last| *last == b'\n').is_none() && read as u64 == LONGEST_LINE {
        file.skip_until(b'\n')?;
    }
    Ok(read > 0)
}

/// `names` interns the names of clients and jobs, of which there are few.
fn parse(line: &str, contents: &mut Contents, names: &mut HashSet<Arc<str>>) -> Option<()> {
    let (kind, rest) = line.split_once(' ')?;
    let mut fields = rest.split(' ');
    let mut number = || fields.next()?.parse::<u64>().ok();
    match kind {
        "k" | "n" => {
            let (slot, labels) = (number()? as u32, number()?);
            let (client, job, log): (String, String, String) =
                serde_json::from_str(rest.splitn(3, ' ').nth(2)?).ok()?;
            let [client, job] = [client, job].map(|name| once(names, &name));
            let log = match kind {
                "k" => LogName::File(Path::new(&log).into()),
                _ => LogName::Other(log.into()),
            };
            let key = Key { client, job, log, labels };
            contents
                .known
                .insert(slot, KnownLog { key, record: None, times: ReadTimes::default(), left: LeftFiles::default() });
        }
        "p" | "r" | "l" => {
            // Without a key line for its slot, the line is ignored.
            let known = contents.known.get_mut(&(number()? as u32))?;
            let (device, inode) = (number()?, number()?);
            let fingerprint = Fingerprint { len: u16::try_from(number()?).ok()?, hash: number()? };
            let file = FileId { device, inode, born: 0, fingerprint };
            let mut position = Position { file, offset: number()?, before: Fingerprint::default() };
            match kind {
                "l" => {
                    read_more(&mut position, number);
                    known.left.add(position);
                }
                "r" => {
                    let (len, time) = (number()?, number()?.try_into().ok()?);
                    read_more(&mut position, number);
                    known.times.add(ReadTime { start: position, len, time });
                }
                _ => {
                    let (live, saved) = (number()? == 1, UNIX_EPOCH + Duration::from_millis(number()?));
                    let through = number().and_then(|time| time.try_into().ok());
                    read_more(&mut position, &mut number);
                    let unread = number().unwrap_or(0);
                    known.record = Some(Record { place: Place::File(position, live), saved, unread });
                    known.times.let_go(&position, through);
                }
            }
        }
        "c" => {
            let known = contents.known.get_mut(&(number()? as u32))?;
            // A cursor may contain spaces.
            let (cursor, saved) = rest.split_once(' ')?.1.rsplit_once(' ')?;
            let cursor: String = serde_json::from_str(cursor).ok()?;
            let saved = UNIX_EPOCH + Duration::from_millis(saved.parse().ok()?);
            known.record = Some(Record { place: Place::Cursor(cursor.into()), saved, unread: 0 });
        }
        "y" => contents.yaml_hashes.add(number()?),
        "a" => contents.alive = Some(UNIX_EPOCH + Duration::from_millis(number()?)),
        "b" => drop(contents.begun.insert(number()?)),
        _ => {}
    }
    Some(())
}

/// Reads what older versions did not write. Without it, the position stays as it is.
fn read_more(position: &mut Position, mut number: impl FnMut() -> Option<u64>) {
    let (Some(born), Some(len), Some(hash)) = (number(), number(), number()) else {
        return;
    };
    position.file.born = born;
    position.before = Fingerprint { len: u16::try_from(len).unwrap_or(0), hash };
}

fn once(names: &mut HashSet<Arc<str>>, name: &str) -> Arc<str> {
    names.get(name).cloned().unwrap_or_else(|| {
        let new: Arc<str> = name.into();
        names.insert(new.clone());
        new
    })
}

/// The line without its checksum. None if the checksum is wrong.
fn checked(line: &str) -> Option<&str> {
    let (fields, sum) = line.rsplit_once(' ')?;
    (u32::from_str_radix(sum, 16).ok()? == checksum(fields)).then_some(fields)
}

fn checksum(fields: &str) -> u32 {
    xxh3_64(fields.as_bytes()) as u32
}

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    read_only: bool,
    file: Option<File>,
    size: u64,
    /// Compact when the file is larger than this.
    large: u64,
    /// Slots whose key is in the file.
    introduced: HashSet<u32>,
    /// The file is incomplete and must be rewritten.
    rewrite: bool,
    yaml_hashes: YamlHashes,
    /// Hashes of the names of jobs that were run before.
    begun: BTreeSet<u64>,
    unsynced: bool,
}

impl Journal {
    pub fn new(path: PathBuf, read_only: bool, yaml_hashes: YamlHashes, begun: BTreeSet<u64>) -> Self {
        Self {
            path,
            read_only,
            file: None,
            size: 0,
            large: LARGE,
            introduced: HashSet::new(),
            rewrite: true,
            yaml_hashes,
            begun,
            unsynced: false,
        }
    }

    /// Starts a run with a compacted file. If writing fails, the first append tries again. `alive`: when an agent was
    /// running last.
    pub fn restart<'k>(&mut self, known: impl Iterator<Item = KnownLogRef<'k>>, alive: SystemTime) {
        let _ = self.rewrite(known, alive);
    }

    pub fn must_rewrite(&self) -> bool {
        self.rewrite
    }

    pub fn require_rewrite(&mut self) {
        self.rewrite = true;
    }

    pub fn is_large(&self) -> bool {
        self.size > self.large || self.rewrite
    }

    /// The file has grown so much that compaction cannot wait for the next sync.
    pub fn is_overdue(&self) -> bool {
        self.size > 4 * self.large
    }

    /// The hash of the `positions.yaml` that was written last, or was to be.
    pub fn yaml_hash(&self) -> Option<u64> {
        self.yaml_hashes.newest()
    }

    /// Whether the job whose name has this hash was run before.
    pub fn has_begun(&self, job: u64) -> bool {
        self.begun.contains(&job)
    }

    pub fn forget_jobs(&mut self, is_gone: impl Fn(u64) -> bool) {
        self.begun.retain(|job| !is_gone(*job));
    }

    /// Whether the slot's key must still be written.
    pub fn introduce(&mut self, slot: u32) -> bool {
        self.introduced.insert(slot)
    }

    pub fn append(&mut self, lines: &[Line<'_>]) -> io::Result<()> {
        if self.read_only || lines.is_empty() {
            return Ok(());
        }
        let mut text = String::with_capacity(lines.len() * 96);
        for line in lines {
            self.note(line);
            write_line(&mut text, line);
        }
        self.unsynced = true;
        let Some(file) = &mut self.file else {
            self.rewrite = true;
            return Err(io::Error::other("the journal is not open"));
        };
        // In one write: a crash leaves whole lines and at most one torn line at the end.
        let written = file.write_all(text.as_bytes());
        match &written {
            Ok(()) => self.size += text.len() as u64,
            Err(_) => self.rewrite = true,
        }
        written
    }

    /// Replaces the file with one that contains only current information. The agent was running at the time `now`.
    pub fn rewrite<'k>(&mut self, known: impl Iterator<Item = KnownLogRef<'k>>, now: SystemTime) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        self.rewrite = true;
        let mut text = format!("{HEADER}{VERSION}\n");
        write_line(&mut text, &Line::Alive(now));
        let mut introduced = HashSet::new();
        for KnownLogRef { slot, key, record, times, left } in known {
            introduced.insert(slot);
            write_line(&mut text, &Line::Key(slot, key));
            if let Some(record) = record {
                let last = Some(times.last()).filter(|last| *last > 0);
                write_line(&mut text, &Line::Position(slot, record.clone(), last));
            }
            times.iter().for_each(|time| write_line(&mut text, &Line::ReadTime(slot, *time)));
            left.iter().for_each(|end| write_line(&mut text, &Line::Left(slot, *end)));
        }
        self.yaml_hashes.iter().for_each(|hash| write_line(&mut text, &Line::Yaml(hash)));
        self.begun.iter().for_each(|job| write_line(&mut text, &Line::Begun(*job)));
        let file = safe::replace(&self.path, text.as_bytes())?;
        if let Some(dir) = self.path.parent() {
            // Makes the rename durable. Some file systems do not support it.
            let _ = File::open(dir).and_then(|dir| dir.sync_all());
        }
        self.introduced = introduced;
        self.file = Some(file);
        self.size = text.len() as u64;
        self.large = LARGE.max(2 * self.size);
        self.rewrite = false;
        self.unsynced = false;
        Ok(())
    }

    /// The file, if it has unsynced data. The caller calls fsync without holding the lock.
    pub fn take_unsynced(&mut self) -> io::Result<Option<File>> {
        match &self.file {
            Some(file) if std::mem::take(&mut self.unsynced) => file.try_clone().map(Some),
            _ => Ok(None),
        }
    }

    /// Remembers a line that is not about one log, for the next rewrite.
    pub fn note(&mut self, line: &Line<'_>) {
        match line {
            Line::Yaml(hash) => self.yaml_hashes.add(*hash),
            Line::Begun(job) => drop(self.begun.insert(*job)),
            _ => {}
        }
    }
}

fn write_line(text: &mut String, line: &Line<'_>) {
    let start = text.len();
    let written = match line {
        Line::Key(slot, key) => {
            let names = (&*key.client, &*key.job, key.log.in_yaml());
            let kind = if matches!(key.log, LogName::File(_)) { 'k' } else { 'n' };
            write!(text, "{kind} {slot} {} {}", key.labels, json(&names))
        }
        Line::Position(slot, Record { place: Place::File(position, live), saved, unread }, through) => {
            let through = through.map_or("-".into(), |time| time.to_string());
            let (live, saved) = (u8::from(*live), millis(*saved));
            write!(text, "p {slot} {} {live} {saved} {through} {} {unread}", Fields(position), More(position))
        }
        Line::Position(slot, Record { place: Place::Cursor(cursor), saved, .. }, _) => {
            write!(text, "c {slot} {} {}", json(&**cursor), millis(*saved))
        }
        Line::ReadTime(slot, ReadTime { start, len, time }) => {
            write!(text, "r {slot} {} {len} {} {}", Fields(start), time.max(&0), More(start))
        }
        Line::Left(slot, end) => write!(text, "l {slot} {} {}", Fields(end), More(end)),
        Line::Yaml(hash) => write!(text, "y {hash}"),
        Line::Alive(at) => write!(text, "a {}", millis(*at)),
        Line::Begun(job) => write!(text, "b {job}"),
    };
    written.expect("writing to a string");
    let sum = checksum(&text[start..]);
    writeln!(text, " {sum:08x}").expect("writing to a string");
}

fn json<T: serde::Serialize + ?Sized>(strings: &T) -> String {
    serde_json::to_string(strings).expect("strings are JSON")
}

/// Formats a position as journal fields.
struct Fields<'p>(&'p Position);

impl fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { file, offset, .. } = self.0;
        let Fingerprint { len, hash } = file.fingerprint;
        write!(f, "{} {} {len} {hash} {offset}", file.device, file.inode)
    }
}

/// Formats the rest of a position, for the end of a line.
struct More<'p>(&'p Position);

impl fmt::Display for More<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fingerprint { len, hash } = self.0.before;
        write!(f, "{} {len} {hash}", self.0.file.born)
    }
}

fn millis(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis())
}
