//! One log: its live file and the generations before it, read oldest first.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::allowed_paths::AllowedPaths;
use super::folders::Folders;
use super::generation::{Generation, file_id};
use super::gzip::Compression;
use super::siblings::{Sibling, siblings};
use crate::model::{Encoding, FileId, Mark, Position};
use marks::Marks;

/// How many generations of a log are kept open: more than any rotation keeps, and few enough of a thousand descriptors. The
/// oldest are given up beyond that.
pub const GENERATIONS: usize = 256;

/// How many generations that were let go are remembered.
const DRAINED: usize = 8;

/// How the files of a log are to be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    pub encoding: Encoding,
    /// Of the live file itself; rotated generations are told by their names.
    pub compression: Option<Compression>,
    /// How long a renamed or deleted file is still looked at after its end was reached: its writer may not have noticed.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { encoding: Encoding::Utf8, compression: None, grace: Duration::from_millis(500) }
    }
}

/// Where reading begins.
#[derive(Clone, Copy, Debug)]
pub enum Resume {
    /// At the beginning of the oldest generation that was written to since then.
    Since(SystemTime),
    /// At an offset of the live file, which is all that Promtail knew.
    Offset(u64),
    /// Where this agent stopped.
    At { position: Position, saved: SystemTime },
}

/// What one call of [`Log::look`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Same,
    /// So many younger generations appeared.
    Rotated(usize),
    Truncated,
    /// Nothing has the log's name any more.
    Gone,
}

/// A generation that was read to its end.
#[derive(Clone, Copy, Debug)]
struct Drained {
    end: Position,
    mark: Mark,
    /// When it was last written to.
    written: SystemTime,
    /// A checkpoint has said that it was left.
    is_told: bool,
}

#[derive(Debug)]
pub struct Log {
    path: Arc<Path>,
    options: Options,
    folders: Arc<Folders>,
    allowed: Arc<AllowedPaths>,
    /// Oldest first; the one in front is being read. Never empty.
    generations: VecDeque<Generation>,
    rotated: Option<Instant>,
    gone: Option<Instant>,
    /// Bytes of an overlong line passed over so far.
    skipping: Option<u64>,
    marks: Marks,
    /// Oldest first: generations that were read to their end and hold something that is not committed.
    spent: VecDeque<Generation>,
    /// The last few generations that were read and let go.
    drained: VecDeque<Drained>,
    /// The live file was deleted, and what is unread of it is given up.
    abandoned: bool,
    /// The position to go on from could not be found: what was unread behind it is lost.
    lost_position: bool,
    /// Files that became generations since somebody asked: device and inode.
    new_files: Vec<(u64, u64)>,
    /// Bytes of older files that are not read, since there were too many or they could not be opened.
    passed_over: u64,
}

impl Log {
    #[cfg(test)]
    pub fn open(path: &Path, resume: Resume, options: Options) -> io::Result<Self> {
        Self::open_among(&path.into(), resume, options, &Arc::default(), &Arc::default())
    }

    /// Opens one of many logs, which share what they know of their folders.
    pub fn open_among(
        path: &Arc<Path>,
        resume: Resume,
        options: Options,
        folders: &Arc<Folders>,
        allowed: &Arc<AllowedPaths>,
    ) -> io::Result<Self> {
        let live_path = allowed.resolve(path)?;
        let mut live = Generation::open(&live_path, options.compression)?;
        live.check_is_text()?;
        let (mut lost_position, mut passed_over) = (false, 0);
        let mut generations = VecDeque::new();
        match resume {
            Resume::Since(time) => passed_over = open_younger(&siblings(&live_path, folders)?, time, &mut generations),
            Resume::Offset(offset) => {
                if offset <= live.metadata()?.len() {
                    live.offset = offset;
                }
            }
            Resume::At { position, .. } if holds(&mut live, &position)? => live.offset = position.offset,
            Resume::At { position, saved } => {
                let older = siblings(&live_path, folders)?;
                match find(&older, &position)? {
                    Some((at, mut generation)) => {
                        generation.offset = position.offset;
                        generations.push_back(generation);
                        // The time of a compressed file is that of its compression; the order of names says what is
                        // younger then.
                        let since = match older[at].compression {
                            Some(_) => SystemTime::UNIX_EPOCH,
                            None => older[at].meta.modified()?,
                        };
                        let named_alike = older[at + 1..].iter().take_while(|s| s.is_named_like(&older[at]));
                        passed_over = open_younger(named_alike, since, &mut generations);
                    }
                    None => {
                        lost_position = position.file.fingerprint.len > 0;
                        passed_over = open_younger(&older, saved, &mut generations);
                    }
                }
            }
        }
        add_live(&mut generations, 0, live);
        Ok(Self {
            path: path.clone(),
            options,
            folders: folders.clone(),
            allowed: allowed.clone(),
            new_files: generations.iter().map(inode).collect(),
            generations,
            rotated: None,
            gone: None,
            skipping: None,
            marks: Marks::default(),
            spent: VecDeque::new(),
            drained: VecDeque::new(),
            lost_position,
            passed_over,
            abandoned: false,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the position it was to resume at was found nowhere.
    pub fn lost_position(&self) -> bool {
        self.lost_position
    }

    pub fn generations(&self) -> usize {
        self.generations.len()
    }

    /// Goes on in another scrape, with what its logs share and, if it has a target there, within that target's allowed; false: its
    /// files are to be read in another way from now on.
    pub fn move_to(&mut self, options: Options, folders: &Arc<Folders>, allowed: Option<&Arc<AllowedPaths>>) -> bool {
        self.folders = folders.clone();
        if let Some(allowed) = allowed {
            self.allowed = allowed.clone();
        }
        self.new_files = self.spent.iter().chain(&self.generations).map(inode).collect();
        self.options == options
    }

    /// Of the next byte to read.
    pub fn mark(&self) -> Mark {
        self.marks.next
    }

    /// How many files it has open.
    pub fn files(&self) -> usize {
        self.spent.len() + self.generations.len()
    }

    /// Whether lines are known of that come after all of the generation being read.
    pub fn goes_on(&self) -> bool {
        self.generations.iter().skip(1).any(|g| g.metadata().is_ok_and(|meta| meta.len() > 0))
    }

    /// Of the next byte to read.
    pub fn position(&self) -> Position {
        self.generations[0].position()
    }

    /// Whether `position` is in the file that has the log's name now; Promtail's positions file can only speak of that.
    pub fn is_live(&self, position: &Position) -> bool {
        let live = self.generations[self.generations.len() - 1].id();
        (live.device, live.inode) == (position.file.device, position.file.inode)
    }

    /// Whether the generation being read is the file that `id` names. A copy is told by its head, as long as the file
    /// itself is not one of the generations.
    pub fn is_reading(&mut self, id: &FileId) -> bool {
        let inode = (id.device, id.inode);
        // Not by its inode alone: that of a file which was compressed goes to the next one that is created.
        let mut younger = self.generations.iter_mut().skip(1);
        let elsewhere = younger.any(|g| (g.id().device, g.id().inode) == inode && g.is(id).unwrap_or(false));
        !elsewhere && self.generations[0].is(id).unwrap_or(false)
    }

    /// How many bytes lie between the beginning of the generation being read and that of the younger one that `id` names.
    pub fn ahead(&mut self, id: &FileId) -> Option<u64> {
        let at = (1..self.generations.len()).find(|at| self.generations[*at].is(id).unwrap_or(false))?;
        Some(self.generations.iter_mut().take(at).map(|g| g.offset + g.remaining()).sum())
    }

    /// When the file of `position` was last written to: what is younger of the log was written then or later.
    pub fn written(&self, position: &Position) -> SystemTime {
        let same = |file: FileId| (file.device, file.inode) == (position.file.device, position.file.inode);
        if let Some(generation) = self.generations.iter().find(|g| same(g.id())) {
            return generation.written();
        }
        // One that is not remembered any more is older than those that are.
        let drained = self.drained.iter().find(|drained| same(drained.end.file)).or(self.drained.front());
        drained.map_or_else(|| self.generations[0].written(), |drained| drained.written)
    }

    /// Bytes of older files that are not read, since the last call.
    pub fn take_passed_over(&mut self) -> u64 {
        std::mem::take(&mut self.passed_over)
    }

    /// Files that became generations since the last call: device and inode.
    pub fn take_new_files(&mut self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.new_files)
    }

    /// Whether the file of this inode is one of the generations.
    pub fn has(&self, (device, inode): (u64, u64)) -> bool {
        self.generations.iter().any(|g| (g.id().device, g.id().inode) == (device, inode))
    }

    /// Where reading of the file of this inode ended, if it was one of the generations not long ago: in the file, and of all
    /// that was read of the log.
    pub fn had(&self, (device, inode): (u64, u64)) -> Option<(Position, Mark)> {
        let drained = self.drained.iter().find(|d| (d.end.file.device, d.end.file.inode) == (device, inode));
        drained.map(|drained| (drained.end, drained.mark))
    }

    /// Bytes on disk that have not been read; for compressed generations the size they have on disk.
    pub fn unread(&self) -> u64 {
        self.generations.iter().map(Generation::unread).sum()
    }

    /// Looks at names: was the log rotated, truncated, deleted?
    pub fn look(&mut self, now: Instant) -> io::Result<Look> {
        let meta = match fs::metadata(&self.path) {
            Ok(meta) => meta,
            // Of a directory that became a file and the like no log is left either.
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
        Ok(Look::Same)
    }

    /// Whether the file being read has no name any more.
    pub fn is_deleted(&self) -> bool {
        self.generations[0].metadata().map_or(true, |m| m.nlink() == 0)
    }

    fn rotate(&mut self, now: Instant) -> io::Result<Look> {
        let live_path = self.allowed.resolve(&self.path)?;
        let live = Generation::open(&live_path, self.options.compression)?;
        let older = siblings(&live_path, &self.folders)?;
        let known = self.generations.len();
        let youngest = &mut self.generations[known - 1];
        // Compressed already, it is known by its head alone, and that may not have been read yet.
        youngest.learn_head()?;
        let (youngest_id, youngest_meta) = (youngest.id(), youngest.metadata()?);
        let own = |s: &Sibling| (s.meta.dev(), s.meta.ino()) == (youngest_id.device, youngest_id.inode);
        let at = match older.iter().rposition(own) {
            Some(at) => Some(at),
            None => match find(&older, &Position { file: youngest_id, offset: 0 })? {
                Some((at, _)) => Some(at),
                None => self.last_known(&older)?,
            },
        };
        let since = youngest_meta.modified()?;
        self.passed_over += match at {
            Some(at) => open_younger(&older[at + 1..], since, &mut self.generations),
            None => open_younger(&older, since, &mut self.generations),
        };
        add_live(&mut self.generations, known, live);
        self.new_files.extend(self.generations.iter().skip(known).map(inode));
        self.rotated = Some(now);
        Ok(Look::Rotated(self.generations.len() - known))
    }

    /// The youngest of `older` that was a generation before, for when the youngest of the generations is not among them:
    /// what is empty is not known any more once it is compressed. What was compressed last is not what was written last.
    fn last_known(&mut self, older: &[Sibling]) -> io::Result<Option<usize>> {
        for generation in &mut self.generations {
            generation.learn_head()?;
        }
        let drained = self.drained.iter().map(|drained| drained.end.file);
        let known: Vec<FileId> = self.generations.iter().map(Generation::id).chain(drained).collect();
        // The whole head has to be the same: what is passed over is lost, what is read again is only there twice.
        let is_known = |sibling: &Sibling| {
            let Some(id) = open_sibling(sibling).map(|g| g.id()).filter(|id| id.fingerprint.len > 0) else {
                return false;
            };
            let same_file = |k: &FileId| sibling.compression.is_some() || (k.device, k.inode) == (id.device, id.inode);
            known.iter().any(|k| k.fingerprint == id.fingerprint && same_file(k))
        };
        Ok(older.iter().rposition(is_known))
    }

    /// The live file starts again. What was not read of it may be in the copy that copytruncate makes.
    fn truncate(&mut self) -> io::Result<Look> {
        let last = self.generations.len() - 1;
        let live = &mut self.generations[last];
        let (old, number) = (live.position(), live.number);
        live.restart()?;
        self.skipping = None;
        if old.file.fingerprint.len > 0 {
            let live_path = self.allowed.resolve(&self.path)?;
            if let Some((_, mut copy)) = find(&siblings(&live_path, &self.folders)?, &old)? {
                copy.offset = old.offset;
                // What was read of the file before it was cut is in there.
                copy.number = number;
                self.new_files.push(inode(&copy));
                self.generations.insert(last, copy);
            }
        }
        Ok(Look::Truncated)
    }
}

fn inode(generation: &Generation) -> (u64, u64) {
    (generation.id().device, generation.id().inode)
}

/// Whether `position` lies in this very file.
fn holds(live: &mut Generation, position: &Position) -> io::Result<bool> {
    let (id, file) = (live.id(), position.file);
    Ok((id.device, id.inode) == (file.device, file.inode)
        && live.is(&file)?
        && (!live.is_plain() || position.offset <= live.metadata()?.len()))
}

/// Whether `position` lies in the file that has this name, as far as its head tells; false if it cannot be read.
pub fn is_in(path: &Path, allowed: &AllowedPaths, position: &Position) -> bool {
    let live = allowed.resolve(path).and_then(|path| Generation::open(&path, None));
    live.is_ok_and(|mut live| holds(&mut live, position).unwrap_or(false))
}

/// How a generation is known again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Inode,
    /// It was compressed or copied, and is no longer than it was.
    WholeHead,
    /// It was compressed or copied, perhaps after it had grown.
    Head,
}

/// The generation that `position` names: by its inode, or, if it was compressed or copied meanwhile, by its head; rather by
/// one that is the same to its end, since short files may begin alike.
fn find(older: &[Sibling], position: &Position) -> io::Result<Option<(usize, Generation)>> {
    let file = position.file;
    let same_inode = |s: &Sibling| (s.meta.dev(), s.meta.ino()) == (file.device, file.inode);
    for by in [By::Inode, By::WholeHead, By::Head] {
        for (at, sibling) in older.iter().enumerate().rev() {
            if same_inode(sibling) != (by == By::Inode) || (by != By::Inode && file.fingerprint.len == 0) {
                continue;
            }
            let Some(mut generation) = open_sibling(sibling) else {
                continue;
            };
            let is_it = match by {
                By::WholeHead => generation.id().fingerprint == file.fingerprint,
                By::Inode | By::Head => generation.is(&file)?,
            };
            if is_it {
                return Ok(Some((at, generation)));
            }
        }
    }
    Ok(None)
}

/// Opens those of `older` that were written to at or after `since`, the youngest if there are too many. Gives the bytes of
/// those that it passes over.
fn open_younger<'s>(
    older: impl IntoIterator<Item = &'s Sibling>,
    since: SystemTime,
    generations: &mut VecDeque<Generation>,
) -> u64 {
    let known = |s: &Sibling| generations.iter().any(|g| inode(g) == (s.meta.dev(), s.meta.ino()));
    let is_younger = |s: &&Sibling| s.meta.modified().is_ok_and(|m| m >= since) && !known(s);
    let younger: Vec<&Sibling> = older.into_iter().filter(is_younger).collect();
    let too_many = younger.len().saturating_sub(GENERATIONS);
    let mut failed: Vec<(&Sibling, io::Error)> = Vec::new();
    let too_old = |s: &&'s Sibling| (*s, io::Error::other("there are too many of them"));
    failed.extend(younger[..too_many].iter().map(too_old));
    for sibling in &younger[too_many..] {
        match Generation::open(&sibling.path, sibling.compression) {
            Ok(generation) => generations.push_back(generation),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // renamed or deleted since
            Err(error) => failed.push((sibling, error)),
        }
    }
    let Some((sibling, error)) = failed.first() else {
        return 0;
    };
    let (path, files, bytes) =
        (sibling.path.display(), failed.len(), failed.iter().map(|(s, _)| s.meta.len()).sum::<u64>());
    tracing::warn!(%path, files, bytes, %error, "cannot open older files of a log: what is unread of them is lost");
    bytes
}

/// The live file is opened before its siblings are listed. Renamed in between it is one of them, which were added after the
/// first `known` generations, and is not to be read twice; the next look finds what has its name now.
fn add_live(generations: &mut VecDeque<Generation>, known: usize, live: Generation) {
    if !generations.iter().skip(known).any(|g| inode(g) == inode(&live)) {
        generations.push_back(live);
    }
}

/// None if it is gone since, or cannot be read.
fn open_sibling(sibling: &Sibling) -> Option<Generation> {
    Generation::open(&sibling.path, sibling.compression).ok()
}

mod marks;
mod pinned;
mod reading;
#[cfg(test)]
mod tests;
