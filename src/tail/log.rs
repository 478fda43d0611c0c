//! One log: its live file and its older generations, read oldest first.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::allowed_paths::AllowedPaths;
use super::compressed::Compression;
use super::folders::Folders;
use super::generation::{Generation, file_id};
use super::siblings::{Sibling, begun, siblings};
use crate::model::{Encoding, FileId, Mark, Position};
pub use closed::ClosedLog;
use late::Late;
pub use lost::Lost;
use marks::Marks;
pub use opening::Known;
use opening::{TRIES, add_live, certain, find, find_listed, open_sibling, open_younger};
use put_back::{Clocks, dated_before, is_unread};

/// The most open generations of a log. More than any rotation keeps, and few compared to the descriptor limit. Beyond
/// that the oldest are given up.
pub const GENERATIONS: usize = 256;

/// The most closed generations that are remembered.
const DRAINED: usize = 32;

/// How to read the files of a log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    pub encoding: Encoding,
    /// For the live file. The compression of rotated generations comes from their names.
    pub compression: Option<Compression>,
    /// How long to keep reading a renamed or deleted file after its end was reached, before a younger file is read.
    pub grace: Duration,
    /// How long after its last byte a rotated file is looked at, because its writer may still have it open. Younger files
    /// are read meanwhile.
    pub late: Duration,
    pub last_line: LastLine,
}

/// When a last line without a newline counts as a line at the end of the agent, although its file may grow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum LastLine {
    /// If the file is in a volume that is deleted with the pod of this agent (a sidecar). Anywhere else the next agent
    /// reads it, when it is complete.
    #[default]
    InPodVolume,
    #[cfg(test)]
    Anywhere,
}

impl Default for Options {
    fn default() -> Self {
        let (grace, late) = (Duration::from_millis(500), Duration::from_secs(60));
        Self { encoding: Encoding::Utf8, compression: None, grace, late, last_line: LastLine::default() }
    }
}

/// Where reading begins.
#[derive(Clone, Copy, Debug)]
pub enum Resume {
    /// At the start of the oldest generation that was modified at or after this time.
    Since(SystemTime),
    /// The same for a log that may have been there before the first start. Of a file that was, and that was last modified
    /// before `not_before`, only lines that are written from now on are read.
    Unseen { since: SystemTime, not_before: SystemTime, looked: SystemTime },
    /// At an offset of the live file. Promtail's positions contain nothing more.
    Offset(u64),
    /// Where this agent stopped.
    At { position: Position, saved: SystemTime },
}

/// The result of one call of [`Log::look`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Same,
    /// This many newer generations appeared.
    Rotated(usize),
    Truncated,
    /// No file has the log's name any more.
    Gone,
}

/// A generation that was read to its end, or left because it was cut or could not be found.
#[derive(Clone, Copy, Debug)]
struct Drained {
    end: Position,
    mark: Mark,
    /// When it was last modified.
    written: SystemTime,
    /// A checkpoint has said that it was left.
    is_told: bool,
}

impl Drained {
    fn at(end: Position, mark: Mark, written: SystemTime) -> Self {
        Self { end, mark, written, is_told: false }
    }
}

#[derive(Debug)]
pub struct Log {
    path: Arc<Path>,
    options: Options,
    folders: Arc<Folders>,
    allowed: Arc<AllowedPaths>,
    /// Oldest first. The first one is being read. Never empty.
    generations: VecDeque<Generation>,
    rotated: Option<Instant>,
    gone: Option<Instant>,
    /// When the last lines were read for the first time, and the mark behind them.
    grown: Option<Instant>,
    furthest: Mark,
    /// Bytes skipped so far of a line that is too long.
    skipping: Option<u64>,
    /// NUL bytes that were passed over since the last line, and in all.
    hole: u64,
    holes: u64,
    marks: Marks,
    /// Oldest first: generations that were read to their end but are not fully committed.
    spent: VecDeque<Generation>,
    /// Oldest first: generations that were read to their end, whose writers may still have them open.
    late: VecDeque<Late>,
    /// When to look at these next.
    late_due: Option<Instant>,
    /// The last committed position that is not in one of these.
    settled: Option<Position>,
    /// The last few generations that were read and closed.
    drained: VecDeque<Drained>,
    /// The ends of those that were read before the log was opened.
    left: Box<[Position]>,
    /// A line without a newline at the end of the live file is complete.
    ends_here: bool,
    /// The live file was deleted, and its unread bytes were given up.
    abandoned: bool,
    /// The saved position was not found: unread bytes after it are lost.
    lost_position: bool,
    /// Files that became generations since the last [`Log::take_new_files`]: device and inode.
    new_files: Vec<(u64, u64)>,
    lost: Lost,
    /// The size of the compressed file being read, which is not whole, and since when it has that size.
    growing: Option<(u64, Instant)>,
    clocks: Clocks,
}

impl Log {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the saved position was not found.
    pub fn lost_position(&self) -> bool {
        self.lost_position
    }

    pub fn generations(&self) -> usize {
        self.generations.len()
    }

    /// Moves the log into another scrape, with its shared listings. `allowed` is set if the scrape has a target for the
    /// log. Returns false if the new options read files differently, so that the log must be opened again.
    pub fn move_to(&mut self, options: Options, folders: &Arc<Folders>, allowed: Option<&Arc<AllowedPaths>>) -> bool {
        self.folders = folders.clone();
        if let Some(allowed) = allowed {
            self.allowed = allowed.clone();
        }
        let late = self.late.iter().map(|late| &late.generation);
        self.new_files = self.spent.iter().chain(late).chain(&self.generations).map(inode).collect();
        self.options == options
    }

    /// The mark of the next byte to read.
    pub fn mark(&self) -> Mark {
        self.marks.next
    }

    /// The number of its open files.
    pub fn files(&self) -> usize {
        self.spent.len() + self.late.len() + self.generations.len()
    }

    /// Whether newer generations contain bytes.
    pub fn goes_on(&self) -> bool {
        self.generations.iter().skip(1).any(|g| g.metadata().is_ok_and(|meta| meta.len() > 0))
    }

    /// The position of the next byte to read.
    pub fn position(&self) -> Position {
        self.generations[0].position()
    }

    /// Whether `position` is in the file that has the log's name now. Promtail's positions file can only describe that
    /// file.
    pub fn is_live(&self, position: &Position) -> bool {
        let live = self.generations[self.generations.len() - 1].id();
        (live.device, live.inode) == (position.file.device, position.file.inode)
    }

    /// Whether the generation being read is the file that `id` names. A copy is recognised by its head, unless the
    /// original is among the generations.
    pub fn is_reading(&mut self, id: &FileId) -> bool {
        let inode = (id.device, id.inode);
        // The inode alone is not enough: the inode of a file that was compressed may be reused for the next file.
        let mut younger = self.generations.iter_mut().skip(1);
        let elsewhere = younger.any(|g| (g.id().device, g.id().inode) == inode && g.is(id).unwrap_or(false));
        !elsewhere && self.generations[0].is(id).unwrap_or(false)
    }

    /// The bytes between the start of the generation being read and the start of the newer generation that `id` names.
    /// None: no such generation.
    pub fn ahead(&mut self, id: &FileId) -> Option<u64> {
        let at = (1..self.generations.len()).find(|at| self.generations[*at].is(id).unwrap_or(false))?;
        Some(self.generations.iter_mut().take(at).map(|g| g.offset + g.remaining()).sum())
    }

    /// When the file of `position` was last modified. All later bytes of the log were written at that time or later.
    pub fn written(&self, position: &Position) -> SystemTime {
        let same = |file: FileId| file.has_inode_of(&position.file);
        if let Some(generation) = self.generations.iter().find(|g| same(g.id())) {
            return generation.written();
        }
        // A file that is no longer remembered is older than those that are.
        let drained = self.drained.iter().rfind(|drained| same(drained.end.file)).or(self.drained.front());
        drained.map_or_else(|| self.generations[0].written(), |drained| drained.written)
    }

    /// Files that became generations since the last call: device and inode.
    pub fn take_new_files(&mut self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.new_files)
    }

    /// Whether the file with this inode is one of the generations.
    pub fn has(&self, (device, inode): (u64, u64)) -> bool {
        let late = self.late.iter().map(|late| &late.generation);
        self.generations.iter().chain(late).any(|g| (g.id().device, g.id().inode) == (device, inode))
    }

    /// Whether it has, or had recently, a file with this inode.
    pub fn knows(&self, file: (u64, u64)) -> bool {
        self.has(file) || self.drained.iter().any(|d| (d.end.file.device, d.end.file.inode) == file)
    }

    /// Where reading of this file ended, as a position and a mark, if it was a generation recently. Otherwise None. Inodes are
    /// used again, so the last file with the inode counts.
    pub fn had(&self, file: &FileId) -> Option<(Position, Mark)> {
        let drained = self.drained.iter().rfind(|drained| drained.end.file.has_inode_of(file));
        drained.map(|drained| (drained.end, drained.mark))
    }

    /// Where reading ended in the files that it had, each with the mark behind it, and where it is now (None). The furthest
    /// offset comes first.
    pub fn ends_with_marks(&mut self) -> Vec<(Position, Option<Mark>)> {
        let drained = self.drained.iter().map(|drained| (drained.end, Some(drained.mark)));
        let open = self.generations.iter_mut().map(|generation| (generation.position(), None));
        let mut ends: Vec<(Position, Option<Mark>)> = drained.chain(open).collect();
        ends.sort_by_key(|(end, _)| Reverse(end.offset));
        ends
    }

    /// Bytes on disk that have not been read. For compressed generations their size on disk.
    pub fn unread(&self) -> u64 {
        let late = self.late.iter().map(|late| &late.generation);
        self.generations.iter().chain(late).map(Generation::unread).sum()
    }

    /// Whether [`look`](Self::look) may find that the live file was cut: something was written to it since. Costs one
    /// system call.
    pub fn has_changed(&self) -> bool {
        !self.generations[self.generations.len() - 1].is_unchanged().unwrap_or(false)
    }

    /// Checks names: was the log rotated, truncated or deleted?
    pub fn look(&mut self, now: Instant) -> io::Result<Look> {
        let look = self.look_at_names(now)?;
        self.clocks.note_look(now, self.folders.now());
        Ok(look)
    }

    fn look_at_names(&mut self, now: Instant) -> io::Result<Look> {
        let meta = match fs::metadata(&self.path) {
            Ok(meta) => meta,
            // Also if a directory was replaced by a file: the log no longer exists.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                self.gone.get_or_insert(now);
                return Ok(Look::Gone);
            }
            Err(e) => return Err(e),
        };
        if !meta.is_file() {
            self.gone.get_or_insert(now);
            return Ok(Look::Gone);
        }
        self.gone = None;
        let last = self.generations.len() - 1;
        let youngest = &mut self.generations[last];
        let (known, live) = (youngest.id(), file_id(&meta));
        if (known.device, known.inode) != (live.device, live.inode) {
            return self.rotate(now);
        }
        if youngest.is_truncated(meta.len())? {
            return self.truncate();
        }
        youngest.note_seen()?;
        Ok(Look::Same)
    }

    /// Whether the file being read has no name any more.
    pub fn is_deleted(&self) -> bool {
        self.generations[0].metadata().map_or(true, |m| m.nlink() == 0)
    }

    /// Whether its content is nowhere else either: the file was not only compressed.
    pub fn is_gone(&self) -> bool {
        let copy = || {
            let live = self.allowed.resolve(&self.path).unwrap_or_else(|_| self.path.to_path_buf());
            let older = siblings(&live, &self.path, &self.folders)?;
            find(&older, &self.position())
        };
        self.is_deleted() && !matches!(copy(), Ok(Some(_)))
    }

    fn rotate(&mut self, now: Instant) -> io::Result<Look> {
        let known = self.generations.len();
        for _ in 0..TRIES {
            match self.add_rotated(now) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => self.generations.truncate(known),
                rotated => return rotated,
            }
        }
        Err(io::Error::other("its older files are renamed again and again"))
    }

    fn add_rotated(&mut self, now: Instant) -> io::Result<Look> {
        let live_path = self.allowed.resolve(&self.path)?;
        let live = Generation::open(&live_path, self.options.compression)?;
        let older = siblings(&live_path, &self.path, &self.folders)?;
        let known = self.generations.len();
        let youngest = &mut self.generations[known - 1];
        // If the file was compressed already, only its head identifies it, and the head may not have been read yet.
        youngest.learn_head()?;
        let (youngest_id, youngest_position, youngest_meta) =
            (youngest.id(), youngest.position(), youngest.metadata()?);
        let own = |s: &Sibling| (s.meta.dev(), s.meta.ino()) == (youngest_id.device, youngest_id.inode);
        let at = match older.iter().rposition(own) {
            Some(at) => Some(at),
            None => match find_listed(&older, &youngest_position)? {
                Some((at, _)) => Some(at),
                None => self.last_known(&older)?,
            },
        };
        let mut since = begun(&youngest_meta);
        let mut younger: Vec<&Sibling> = match at.map(|at| (&older[at], &older[at + 1..])) {
            Some((known, younger)) if known.is_certain() => certain(younger).collect(),
            Some((known, younger)) => younger.iter().take_while(|s| s.is_named_like(known)).collect(),
            None => {
                since = youngest_meta.modified()?;
                certain(&older).collect()
            }
        };
        if let Some(looked) = self.clocks.put_back(now, self.folders.now(), youngest_meta.modified()?, &older) {
            since = since.min(looked);
            younger.extend(at.into_iter().flat_map(|at| dated_before(&older, at)));
        }
        let ends = self.ends();
        younger.retain(|sibling| is_unread(sibling, since, &ends, &older));
        self.lost.unopened += open_younger(younger, since, &mut self.generations)?;
        add_live(&mut self.generations, known, live);
        self.new_files.extend(self.generations.iter().skip(known).map(inode));
        self.rotated = Some(now);
        Ok(Look::Rotated(self.generations.len() - known))
    }

    /// The newest of `older` that was a generation before. Used if the newest generation is not in `older`: an empty
    /// file cannot be recognised once it is compressed. The file that was compressed last is not necessarily the one
    /// written last.
    fn last_known(&mut self, older: &[Sibling]) -> io::Result<Option<usize>> {
        for generation in &mut self.generations {
            generation.learn_head()?;
        }
        let drained = self.drained.iter().map(|drained| drained.end.file);
        let known: Vec<FileId> = self.generations.iter().map(Generation::id).chain(drained).collect();
        // Requires an equal, complete head: a file skipped by mistake is lost, a file read again is only duplicated.
        let is_known = |sibling: &Sibling| {
            let Some(id) = open_sibling(sibling).map(|g| g.id()).filter(|id| id.fingerprint.len > 0) else {
                return false;
            };
            let same_file = |k: &FileId| sibling.compression.is_some() || (k.device, k.inode) == (id.device, id.inode);
            known.iter().any(|k| k.fingerprint == id.fingerprint && same_file(k))
        };
        Ok(older.iter().rposition(is_known))
    }

    fn leave(&mut self, drained: Drained) {
        if self.drained.len() == DRAINED {
            self.drained.pop_front();
        }
        self.drained.push_back(drained);
    }
}

fn inode(generation: &Generation) -> (u64, u64) {
    (generation.id().device, generation.id().inode)
}

/// Whether `position` lies in the file that has this name, as far as its content tells; false if it cannot be read.
pub fn is_in(path: &Path, allowed: &AllowedPaths, position: &Position) -> bool {
    let live = allowed.resolve(path).and_then(|path| Generation::open(&path, None));
    live.is_ok_and(|mut live| live.is_still(position).unwrap_or(false))
}

mod closed;
mod cut;
mod late;
mod lost;
mod marks;
mod opening;
mod pinned;
mod put_back;
mod reading;
#[cfg(test)]
mod tests;
