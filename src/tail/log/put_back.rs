//! Rotated files after the clock of the machine was put back: their dates and times say that younger files are older.

use std::time::{Duration, Instant, SystemTime};

use super::Log;
use crate::model::Position;
use crate::tail::folders::Folders;
use crate::tail::generation::{Generation, file_id};
use crate::tail::siblings::Sibling;

/// Timestamps of files may be earlier than the time at which they were set: those of a tick, or of whole seconds.
const TICK: Duration = Duration::from_secs(2);

/// If the clock was put back while no agent ran, files that were modified in this time are read, unless they were read
/// before.
const BEFORE: Duration = Duration::from_secs(3600);

/// What is known of the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    /// The latest time that it ever showed.
    latest: SystemTime,
    /// When the log was looked at last, by the monotonic clock and by this one.
    looked: Option<(Instant, SystemTime)>,
}

impl Clocks {
    pub fn new(latest: SystemTime) -> Self {
        Self { latest, looked: None }
    }

    pub fn note_look(&mut self, now: Instant, time: SystemTime) {
        *self = Self { latest: self.latest.max(time), looked: Some((now, time)) };
    }

    /// If the clock is behind a time that it showed before: the time of the last look as the clock is now. Whatever was written
    /// since then is not older.
    /// `written`: the time of the file that was known as the live one.
    pub fn put_back(
        &self,
        now: Instant,
        time: SystemTime,
        written: SystemTime,
        older: &[Sibling],
    ) -> Option<SystemTime> {
        let elapsed = self.looked.map(|(looked, then)| (now.saturating_duration_since(looked), then));
        let since = time - elapsed.map_or(BEFORE, |(elapsed, _)| elapsed + TICK);
        let is_late = elapsed.is_some_and(|(elapsed, then)| then + elapsed > time + TICK);
        (is_late || written > time + TICK || is_behind(time, self.latest, older)).then_some(since)
    }
}

/// The same for a log that is being opened, which was read until `saved`.
pub(super) fn put_back(folders: &Folders, saved: SystemTime, older: &[Sibling]) -> Option<SystemTime> {
    let time = folders.now();
    is_behind(time, saved.max(folders.ran_until()), older).then(|| time - BEFORE)
}

fn is_behind(time: SystemTime, latest: SystemTime, older: &[Sibling]) -> bool {
    let is_ahead = |sibling: &Sibling| sibling.meta.modified().is_ok_and(|at| at > time + TICK);
    latest > time || older.iter().any(is_ahead)
}

/// Those of a kind that are older than this one if their dates and times are right. They may be younger.
pub(super) fn dated_before(older: &[Sibling], at: usize) -> impl Iterator<Item = &Sibling> {
    older[..at].iter().filter(move |sibling| sibling.is_dated() && sibling.is_named_like(&older[at]))
}

/// Whether the file was modified since this time, and was not read to one of these ends. Names and times alone may say that it
/// is a younger file although it is an older one, if the clock was put back. `all`: the rotated files of the log.
pub(super) fn is_unread(sibling: &Sibling, since: SystemTime, ends: &[Position], all: &[Sibling]) -> bool {
    sibling.meta.modified().is_ok_and(|at| at >= since) && !was_read(sibling, ends, all)
}

fn was_read(sibling: &Sibling, ends: &[Position], all: &[Sibling]) -> bool {
    let may_be = |end: &&Position| match sibling.compression {
        Some(_) => end.offset > 0,
        None => file_id(&sibling.meta).has_inode_of(&end.file),
    };
    let mut ends: Vec<&Position> = ends.iter().filter(may_be).collect();
    if ends.is_empty() {
        return false;
    }
    // A compressed file is read in one direction.
    ends.sort_unstable_by_key(|end| end.offset);
    let Some(end) = open(sibling).and_then(|mut file| ends.into_iter().find(|end| ends_at(&mut file, end))) else {
        return false;
    };
    // Compressed files are only known by their content. Of several with the same content, the oldest was read.
    let is_same = |other: &Sibling| open(other).is_some_and(|mut file| ends_at(&mut file, end));
    let mut older = all.iter().take_while(|other| other.path != sibling.path);
    sibling.compression.is_none() || !older.any(|other| other.compression.is_some() && is_same(other))
}

fn open(sibling: &Sibling) -> Option<Generation> {
    Generation::open_rotated(&sibling.path, sibling.compression).ok()
}

/// Whether this is the file with this end, perhaps compressed since.
fn ends_at(file: &mut Generation, end: &Position) -> bool {
    let is_alike = file.holds(end).unwrap_or(false);
    file.offset = end.offset;
    // A compressed file that goes on there only begins alike.
    is_alike && (file.is_plain() || matches!(file.peek(&mut [0; 4096]), Ok(0)))
}

/// The position behind its last byte. Of a compressed file: where it was read to.
fn end(generation: &mut Generation) -> Position {
    // It may have grown since its head was read. If that fails, it is known by less.
    let _ = generation.learn_head();
    let read = generation.position();
    match generation.metadata() {
        Ok(meta) if generation.is_plain() && meta.len() > read.offset => {
            let before = generation.look_before(meta.len()).unwrap_or_default();
            Position { offset: meta.len(), before, ..read }
        }
        _ => read,
    }
}

impl Log {
    /// The ends of the files that it has read or is to read, as far as it remembers them.
    pub(super) fn ends(&mut self) -> Vec<Position> {
        let late = self.late.iter_mut().map(|late| &mut late.generation);
        let open = self.spent.iter_mut().chain(late).chain(&mut self.generations);
        let open: Vec<Position> = open.map(end).collect();
        let drained = self.drained.iter().map(|drained| drained.end);
        self.left.iter().copied().chain(drained).chain(open).collect()
    }
}
