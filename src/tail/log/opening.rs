//! Opens a log at its saved position: finds the file of the position and all younger generations.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::marks::Marks;
use super::put_back::{Clocks, dated_before, is_unread, put_back};
use super::{Drained, GENERATIONS, Log, Lost, Options, Resume, inode};
use crate::model::{FileId, Mark, Position};
use crate::tail::FINGERPRINT;
use crate::tail::allowed_paths::AllowedPaths;
use crate::tail::folders::Folders;
use crate::tail::generation::{Generation, file_id};
use crate::tail::siblings::{Sibling, relatives, siblings, with_inode};

/// How often the files of a log are listed, if some of them are renamed meanwhile each time.
pub(super) const TRIES: usize = 16;

/// A file that is being compressed is written to more often than this.
const PACKING: Duration = Duration::from_secs(60);

/// What is known of the files that a log may have had.
#[derive(Clone, Copy)]
pub struct Known<'k> {
    /// The ends of the files that it has read, as far as they are known.
    pub left: &'k [Position],
    /// Positions in the files of which lines were sent and not answered, in the order of reading.
    pub read: &'k [Position],
    /// Whether another log has a position in the file with this path.
    pub is_taken: &'k dyn Fn(&Path, &FileId) -> bool,
}

impl Known<'_> {
    /// Nothing is known. A file with the name of another log belongs to that one.
    pub const NOTHING: Self = Self { left: &[], read: &[], is_taken: &|_, _| true };
}

impl Log {
    #[cfg(test)]
    pub fn open(path: &Path, resume: Resume, options: Options) -> io::Result<Self> {
        Self::open_among(&path.into(), resume, options, &Arc::default(), &Arc::default(), Known::NOTHING)
    }

    /// Opens one of many logs, which share their directory listings. Files that are renamed or compressed meanwhile are listed
    /// again.
    pub fn open_among(
        path: &Arc<Path>,
        resume: Resume,
        options: Options,
        folders: &Arc<Folders>,
        allowed: &Arc<AllowedPaths>,
        known: Known<'_>,
    ) -> io::Result<Self> {
        for _ in 0..TRIES {
            match Self::open_listed(path, resume, options, folders, allowed, known) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                opened => return opened,
            }
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "its older files are renamed again and again"))
    }

    fn open_listed(
        path: &Arc<Path>,
        resume: Resume,
        options: Options,
        folders: &Arc<Folders>,
        allowed: &Arc<AllowedPaths>,
        known: Known<'_>,
    ) -> io::Result<Self> {
        let left = known.left;
        let mut live = open_live(path, allowed, &options);
        let is_still = match (&mut live, &resume) {
            (Ok(live), Resume::At { position, .. }) => live.is_still(position)?,
            _ => false,
        };
        let is_old = match (&live, &resume) {
            (Ok(live), Resume::Unseen { not_before, looked, .. }) => live.is_old(*not_before, *looked)?,
            _ => false,
        };
        let live_path = match (&live, resume) {
            // It was renamed, and no file has its name yet. Its unread lines may be in the renamed file.
            (Err(error), Resume::At { .. }) if error.kind() == io::ErrorKind::NotFound => nameless(path, allowed)?,
            _ => allowed.resolve(path)?,
        };
        let mut log = Self {
            path: path.clone(),
            options,
            folders: folders.clone(),
            allowed: allowed.clone(),
            // Nearly all logs have one file most of the time.
            generations: VecDeque::with_capacity(1),
            rotated: None,
            gone: None,
            grown: None,
            furthest: Mark::default(),
            skipping: None,
            hole: 0,
            holes: 0,
            marks: Marks::default(),
            spent: VecDeque::new(),
            late: VecDeque::new(),
            late_due: None,
            settled: None,
            drained: VecDeque::new(),
            left: left.into(),
            lost_position: false,
            lost: Lost::default(),
            growing: None,
            abandoned: false,
            ends_here: false,
            new_files: Vec::new(),
            clocks: Clocks::new(folders.now().max(folders.ran_until())),
        };
        let older = || siblings(&live_path, path, folders);
        match (live, resume) {
            (Ok(mut live), Resume::Unseen { .. }) if is_old => {
                live.begin_at_end(options.encoding)?;
                log.generations.push_back(live);
            }
            (Ok(live), Resume::Since(time) | Resume::Unseen { since: time, .. }) => {
                log.lost.unopened = open_younger(certain(&older()?), time, &mut log.generations)?;
                add_live(&mut log.generations, 0, live);
            }
            (Ok(mut live), Resume::Offset(offset)) => {
                if offset <= live.metadata()?.len() {
                    live.offset = offset;
                }
                log.generations.push_back(live);
            }
            // Nothing was read of it: if it was copied and cut since, what it had is in the copy.
            (Ok(live), Resume::At { position, saved }) if is_still && position.offset == 0 => {
                let older = older()?;
                let put_back = put_back(folders, saved, &older);
                let since = put_back.map_or(saved, |back| saved.min(back));
                let is_unread = |sibling: &&Sibling| is_unread(sibling, since, left, &older);
                log.lost.unopened = open_younger(certain(&older).filter(is_unread), since, &mut log.generations)?;
                add_live(&mut log.generations, 0, live);
            }
            (Ok(mut live), Resume::At { position, .. }) if is_still => {
                live.continue_at(&position);
                log.generations.push_back(live);
            }
            (live, Resume::At { position, saved }) => {
                let mut older = relatives(&live_path, path, folders)?;
                // Under any other name in these directories, if it was only renamed.
                if !older.iter().any(|sibling| file_id(&sibling.meta).has_inode_of(&position.file)) {
                    older.splice(..0, with_inode(&live_path, &position.file, folders)?).for_each(drop);
                }
                let is_found = log.continue_in(&mut older, position, saved, known)?;
                let is_known = log.add_read(&live_path, live.as_ref().ok(), &position, known)? || is_found;
                match live {
                    Ok(live) => add_live(&mut log.generations, 0, live),
                    Err(_) if is_known && !log.generations.is_empty() => {}
                    Err(error) => return Err(error),
                }
            }
            (Err(error), _) => return Err(error),
        }
        log.new_files = log.generations.iter().map(inode).collect();
        log.settled = Some(log.position());
        Ok(log)
    }

    /// Adds the generation of `position` and those between it and the live file. Returns whether it was found.
    fn continue_in(
        &mut self,
        older: &mut [Sibling],
        position: Position,
        saved: SystemTime,
        known: Known<'_>,
    ) -> io::Result<bool> {
        // It may be a log of its own, or turn up under a name that makes it one.
        let left = Drained::at(position, Mark::default(), saved);
        let found = find_listed(older, &position)?;
        reclaim(older, found.as_ref().map(|(at, _)| *at), &position, known);
        let older = &*older;
        let put_back = put_back(&self.folders, saved, older);
        let look_back = |since: SystemTime| put_back.map_or(since, |back| since.min(back));
        let is_unread = |since: SystemTime| move |sibling: &&Sibling| is_unread(sibling, since, known.left, older);
        let saved = look_back(saved);
        let Some((at, mut generation)) = found else {
            if let Some(packing) = older.iter().find(|sibling| is_being_packed(sibling, self.folders.now())) {
                let what = format!(
                    "{} is still being compressed, and may be the file that was read last",
                    packing.path.display()
                );
                return Err(io::Error::new(io::ErrorKind::WouldBlock, what));
            }
            self.lost_position = position.file.fingerprint.len > 0;
            self.leave(left);
            self.lost.unopened = open_younger(certain(older).filter(is_unread(saved)), saved, &mut self.generations)?;
            return Ok(false);
        };
        if older[at].is_log {
            self.leave(left);
        } else {
            generation.continue_at(&position);
            self.generations.push_back(generation);
        }
        let since = look_back(older[at].since());
        // A name without order says nothing of the others.
        self.lost.unopened = match older[at].is_ordered() {
            true => {
                let named_alike = older[at + 1..].iter().take_while(|s| s.is_named_like(&older[at]));
                let dated_before = dated_before(older, at).filter(|_| put_back.is_some());
                open_younger(named_alike.chain(dated_before).filter(is_unread(since)), since, &mut self.generations)?
            }
            false => open_younger(certain(older).filter(is_unread(saved)), saved, &mut self.generations)?,
        };
        Ok(true)
    }

    /// Adds the files that were read after that of the position, and that no name shows to be the log's. Returns whether there
    /// are any.
    fn add_read(
        &mut self,
        live_path: &Path,
        live: Option<&Generation>,
        position: &Position,
        known: Known<'_>,
    ) -> io::Result<bool> {
        let before = self.generations.len();
        let own = known.read.iter().position(|read| read.file.has_inode_of(&position.file));
        for Position { file, .. } in &known.read[own.map_or(0, |at| at + 1)..] {
            let has = |generation: &Generation| generation.id().has_inode_of(file);
            let was_left = known.left.iter().any(|end| end.file.has_inode_of(file));
            if was_left || live.is_some_and(has) || self.generations.iter().any(has) {
                continue;
            }
            let Some(sibling) = with_inode(live_path, file, &self.folders)? else {
                continue;
            };
            let is_taken = sibling.is_log && (known.is_taken)(&sibling.path, file);
            let Some(mut generation) = open_sibling(&sibling).filter(|_| !is_taken) else {
                continue;
            };
            // The inode may be that of another file by now.
            if self.generations.len() < GENERATIONS && generation.is(file).unwrap_or(false) {
                self.generations.push_back(generation);
            }
        }
        Ok(self.generations.len() > before)
    }
}

/// Files of the log got names that make them logs of their own. Lines behind the position may have been sent already, with the
/// labels of this log: it reads these files to their ends, unless another log has begun to read them.
fn reclaim(older: &mut [Sibling], found: Option<usize>, position: &Position, known: Known<'_>) {
    let is_proved = is_telling(position);
    for (at, sibling) in older.iter_mut().enumerate().filter(|(_, sibling)| sibling.is_log) {
        let id = file_id(&sibling.meta);
        let mut files = known.read.iter().chain([position]).map(|position| position.file);
        let is_its = files.any(|file| id.has_inode_of(&file)) || (found == Some(at) && is_proved);
        sibling.is_log = !is_its || (known.is_taken)(&sibling.path, &id);
    }
    // And those between them and the live file, as far as their names say that: what they have follows.
    let Some((first, younger)) = found.and_then(|at| older[at..].split_first_mut()).filter(|(first, _)| !first.is_log)
    else {
        return;
    };
    for sibling in younger.iter_mut().take_while(|sibling| sibling.is_named_like(first)) {
        let id = file_id(&sibling.meta);
        sibling.is_log = sibling.is_log && (known.is_taken)(&sibling.path, &id);
    }
}

fn open_live(path: &Path, allowed: &AllowedPaths, options: &Options) -> io::Result<Generation> {
    let live = Generation::open(&allowed.resolve(path)?, options.compression)?;
    live.check_is_text()?;
    Ok(live)
}

/// The path of a live file that does not exist, with its directory after all links.
fn nameless(path: &Path, allowed: &AllowedPaths) -> io::Result<std::path::PathBuf> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    Ok(allowed.resolve(dir)?.join(name))
}

/// The siblings whose names alone say that they are generations of the log.
pub(super) fn certain(siblings: &[Sibling]) -> impl Iterator<Item = &Sibling> {
    siblings.iter().filter(|sibling| sibling.is_certain())
}

/// The property by which a generation was recognised.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Inode,
    /// By its whole head: it was compressed or copied, and has not grown.
    WholeHead,
    /// By the start of its head: it was compressed or copied, perhaps after it grew.
    Head,
}

/// The generation that `position` names: by inode, or by its content if it was compressed or copied. Prefers a file with
/// the same content to its end, because short files may begin alike. None: not found.
pub(super) fn find(older: &[Sibling], position: &Position) -> io::Result<Option<(usize, Generation)>> {
    find_with(older, position, open_sibling_if_there)
}

/// The same. [`io::ErrorKind::Interrupted`]: a file was renamed, compressed or deleted since they were listed, and it may be the one
/// that is sought, so they have to be listed again.
pub(super) fn find_listed(older: &[Sibling], position: &Position) -> io::Result<Option<(usize, Generation)>> {
    find_with(older, position, |sibling| match Generation::open_rotated(&sibling.path, sibling.compression) {
        Ok(generation) => Ok(Some(generation)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(io::ErrorKind::Interrupted.into()),
        Err(_) => Ok(None),
    })
}

fn open_sibling_if_there(sibling: &Sibling) -> io::Result<Option<Generation>> {
    Ok(open_sibling(sibling))
}

fn find_with(
    older: &[Sibling],
    position: &Position,
    open: impl Fn(&Sibling) -> io::Result<Option<Generation>>,
) -> io::Result<Option<(usize, Generation)>> {
    let file = position.file;
    let same_inode = |s: &Sibling| file_id(&s.meta).has_inode_of(&file);
    for by in [By::Inode, By::WholeHead, By::Head] {
        for (at, sibling) in older.iter().enumerate().rev() {
            if same_inode(sibling) != (by == By::Inode) || (by != By::Inode && file.fingerprint.len == 0) {
                continue;
            }
            let Some(mut generation) = open(sibling)? else {
                continue;
            };
            // A file with any other name may only begin alike by accident.
            if by != By::Inode && !sibling.is_ordered() && !is_telling(position) {
                continue;
            }
            let whole = by != By::WholeHead || generation.id().fingerprint == file.fingerprint;
            // A file that cannot be read is not the right one.
            if whole && generation.holds(position).unwrap_or(false) {
                return Ok(Some((at, generation)));
            }
        }
    }
    Ok(None)
}

/// Whether a file that has this position is the same one by no accident, whatever its name is.
fn is_telling(position: &Position) -> bool {
    position.offset >= FINGERPRINT as u64 && position.before.len > 0
}

/// Opens those of `older` that were modified at or after `since`; the newest if there are too many. Also returns the
/// bytes of those that are skipped. [`io::ErrorKind::Interrupted`]: one of them was renamed, compressed or deleted since they
/// were listed, so they have to be listed again.
pub(super) fn open_younger<'s>(
    older: impl IntoIterator<Item = &'s Sibling>,
    since: SystemTime,
    generations: &mut VecDeque<Generation>,
) -> io::Result<u64> {
    let known = |s: &Sibling| generations.iter().any(|g| g.id().has_inode_of(&file_id(&s.meta)));
    let is_younger = |s: &&Sibling| s.meta.modified().is_ok_and(|m| m >= since) && !s.is_log && !known(s);
    let younger: Vec<&Sibling> = older.into_iter().filter(is_younger).collect();
    let too_many = younger.len().saturating_sub(GENERATIONS);
    let mut failed: Vec<(&Sibling, io::Error)> = Vec::new();
    let too_old = |s: &&'s Sibling| (*s, io::Error::other("there are too many of them"));
    failed.extend(younger[..too_many].iter().map(too_old));
    for sibling in &younger[too_many..] {
        match Generation::open_rotated(&sibling.path, sibling.compression) {
            Ok(generation) => generations.push_back(generation),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(io::ErrorKind::Interrupted.into()),
            Err(error) => failed.push((sibling, error)),
        }
    }
    let Some((sibling, error)) = failed.first() else {
        return Ok(0);
    };
    let (path, files, bytes) =
        (sibling.path.display(), failed.len(), failed.iter().map(|(s, _)| s.meta.len()).sum::<u64>());
    tracing::warn!(%path, files, bytes, %error, "cannot open older files of a log: their unread lines are lost");
    Ok(bytes)
}

/// Opens files that were made since the log was looked at. They are not read if that fails.
pub(super) fn open_unseen(siblings: &[&Sibling]) -> Vec<Generation> {
    let from = siblings.len().saturating_sub(GENERATIONS);
    siblings[from..].iter().filter(|sibling| !sibling.is_log).filter_map(|sibling| open_sibling(sibling)).collect()
}

/// Adds the live file, unless it is among the generations added after the first `known`. It is opened before its
/// siblings are listed, so it may have been renamed in between and must not be read twice. The next look finds the new
/// live file.
pub(super) fn add_live(generations: &mut VecDeque<Generation>, known: usize, live: Generation) {
    if !generations.iter().skip(known).any(|g| inode(g) == inode(&live)) {
        generations.push_back(live);
    }
}

/// Whether the file is being compressed, and not even its head can be decompressed yet.
fn is_being_packed(sibling: &Sibling, now: SystemTime) -> bool {
    let written = sibling.meta.modified().ok().and_then(|written| now.duration_since(written).ok());
    let is_new = sibling.compression.is_some() && written.is_none_or(|ago| ago < PACKING);
    is_new
        && !sibling.is_log
        && open_sibling(sibling)
            .is_some_and(|mut file| file.learn_head().is_ok() && file.is_short() && !file.is_whole())
}

/// None if the file no longer exists or cannot be read.
pub(super) fn open_sibling(sibling: &Sibling) -> Option<Generation> {
    Generation::open_rotated(&sibling.path, sibling.compression).ok()
}
