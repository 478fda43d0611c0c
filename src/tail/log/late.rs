//! Reads what is written to a rotated file after reading has moved on to a younger one.
//!
//! A writer that was not told of the rotation (a second process, a graceful restart) goes on in the old file. Such a file is
//! looked at until some time after its last byte; lines are read of it between those of the younger files. The position of
//! the log is not in it, unless nothing was read of a younger file yet: it is among the files that the log has left, with its own end.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant, SystemTime};

use super::marks::Back;
use super::{Drained, Known, Log, inode};
use crate::model::{Chunk, Encoding, FileId, MAX_LINE, Mark, Position, Read};
use crate::tail::generation::{Generation, file_id};
use crate::tail::siblings::{siblings, with_inode};

/// The most such files of a log. Beyond that the oldest is let go.
const MOST: usize = 4;

/// The longest wait for a file without a name: it takes disk space until it is closed.
const DELETED: Duration = Duration::from_secs(5);

/// The time between two looks, in which the younger files are read.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Late {
    pub generation: Generation,
    /// Its size at the last look, and when that had changed.
    size: u64,
    grown: Option<Instant>,
}

impl Late {
    pub fn new(generation: Generation) -> Self {
        Self { size: generation.offset, generation, grown: None }
    }

    fn number(&self) -> u64 {
        self.generation.number
    }
}

/// What a look at a file found.
enum Found {
    /// So many bytes are to be read. They are the last ones, if they end without a newline.
    Bytes(usize),
    Nothing,
    /// Nobody writes to it any more.
    Over,
}

impl Log {
    /// The generation being read is at its end. It stays open if its writer may still have it open, or if uncommitted bytes
    /// may have to be read again.
    pub(super) fn let_go(&mut self, now: Instant) {
        let Some(generation) = self.give_up() else {
            return;
        };
        if !generation.is_plain() || self.options.late.is_zero() {
            return self.keep_uncommitted(generation);
        }
        // Its last byte came before reading had moved on.
        let grown = self.grown.max(self.rotated).unwrap_or(now);
        let late = Late { grown: Some(grown), ..Late::new(generation) };
        // One without a name that is read again had its time already.
        let is_again = self.marks.next < self.furthest;
        let is_over = late.generation.metadata().is_ok_and(|meta| {
            is_again && meta.nlink() == 0 || now >= grown + Late::wait(self.options.late, meta.nlink())
        });
        if is_over {
            return self.keep_uncommitted(late.generation);
        }
        self.late.push_back(late);
        if self.late.len() > MOST
            && let Some(late) = self.late.pop_front()
        {
            self.release(late);
        }
    }

    /// Reads lines that were written to rotated files meanwhile. None: there are none, or it is not time to look.
    pub(super) fn read_late(&mut self, limit: usize, now: Instant, chunk: &mut Chunk) -> io::Result<Option<Read>> {
        if self.late.is_empty() || self.late_due.is_some_and(|due| now < due) {
            return Ok(None);
        }
        let mut at = 0;
        while let Some(late) = self.late.get_mut(at) {
            let wait = self.options.late;
            match late.look(wait, limit, self.options.encoding, now, chunk) {
                Found::Bytes(len) => {
                    chunk.encoding = late.generation.encoding(self.options.encoding);
                    (chunk.start, chunk.place) = self.marks.step_late(&mut late.generation, &chunk.bytes[..len]);
                    chunk.len = len;
                    return Ok(Some(Read::Records { more: true }));
                }
                Found::Nothing => at += 1,
                Found::Over => {
                    if let Some(late) = self.late.remove(at) {
                        self.release(late);
                    }
                }
            }
        }
        self.late_due = Some(now + PAUSE);
        Ok(None)
    }

    /// Opens the files that the log had left when it was closed, each with its end, if something may have been written to
    /// them since. Returns how many.
    pub fn follow_late(&mut self, known: Known<'_>, now: SystemTime) -> io::Result<usize> {
        let left = known.left;
        if left.is_empty() || self.options.late.is_zero() || self.options.compression.is_some() {
            return Ok(0);
        }
        let Some(since) = now.checked_sub(self.options.late) else {
            return Ok(0);
        };
        let live_path = self.allowed.resolve(&self.path)?;
        let mut older = siblings(&live_path, &self.path, &self.folders)?;
        let is_sent = |id: &FileId| known.read.iter().any(|position| position.file.has_inode_of(id));
        // Under any name, if late lines of it were sent and not answered.
        for end in left.iter().filter(|end| is_sent(&end.file)) {
            if !older.iter().any(|sibling| file_id(&sibling.meta).has_inode_of(&end.file)) {
                older.extend(with_inode(&live_path, &end.file, &self.folders)?);
            }
        }
        for sibling in older {
            let id = file_id(&sibling.meta);
            let file = (id.device, id.inode);
            let Some(end) = left.iter().find(|end| id.has_inode_of(&end.file)) else {
                continue;
            };
            let has_grown = sibling.meta.len() > end.offset || sibling.meta.modified().is_ok_and(|at| at >= since);
            // Only the file of another log that has nothing of this one on its way is left to that log.
            let is_others = sibling.is_log && !is_sent(&id);
            if is_others || sibling.compression.is_some() || !has_grown || self.has(file) {
                continue;
            }
            let Ok(mut generation) = Generation::open(&sibling.path, None) else {
                continue;
            };
            if generation.is_still(end).unwrap_or(false) {
                generation.continue_at(end);
                self.new_files.push(inode(&generation));
                self.late.push_back(Late::new(generation));
            }
        }
        while self.late.len() > MOST {
            self.late.pop_front();
        }
        Ok(self.late.len())
    }

    /// Lets go of a file for a log of its own that goes on there, if it is one that is looked at for late lines, and all that
    /// was read of it comes before `committed`. Returns whether it has the file no longer.
    pub fn hand_over_late(&mut self, file: (u64, u64), committed: Mark) -> bool {
        let Some(at) = self.late.iter().position(|late| inode(&late.generation) == file) else {
            return !self.has(file);
        };
        if self.marks.end_of(self.late[at].number()).is_some_and(|end| end > committed) {
            return false;
        }
        if let Some(late) = self.late.remove(at) {
            self.release(late);
        }
        true
    }

    /// Whether this is one of its open files, of which lines may be read later.
    pub fn is_to_be_read(&mut self, id: &FileId) -> bool {
        let late = self.late.iter_mut().map(|late| &mut late.generation);
        late.chain(&mut self.generations).any(|generation| generation.is(id).unwrap_or(false))
    }

    /// The ends of such files up to this mark.
    pub(super) fn late_ends(&mut self, to: Mark) -> Vec<Position> {
        let mut ends = self.marks.late_positions(to);
        for (position, number) in &mut ends {
            let late = self.late.iter_mut().map(|late| &mut late.generation);
            if let Some(generation) = late.chain(&mut self.spent).find(|generation| generation.number == *number) {
                position.before = generation.before(position.offset);
            }
        }
        ends.into_iter().map(|(position, _)| position).collect()
    }

    /// Takes back late lines. Returns the bytes that cannot be read again.
    pub(super) fn rewind_late(&mut self, back: &Back) -> u64 {
        if let Some(late) = self.late.iter_mut().find(|late| late.number() == back.generation) {
            late.generation.offset = back.offset;
            self.late_due = None;
            return 0;
        }
        let Some(mut generation) = self.take_read(back.generation) else {
            return back.bytes;
        };
        generation.offset = back.offset;
        self.late.push_back(Late::new(generation));
        self.late_due = None;
        0
    }

    /// Takes a generation out that was read to its end.
    pub(super) fn take_read(&mut self, number: u64) -> Option<Generation> {
        if let Some(at) = self.late.iter().position(|late| late.number() == number) {
            return self.late.remove(at).map(|late| late.generation);
        }
        let at = self.spent.iter().rposition(|generation| generation.number == number)?;
        self.spent.remove(at)
    }

    /// Closes such a file. Returns its unread bytes.
    pub(super) fn give_up_late(&mut self, late: Late) -> u64 {
        let unread = late.generation.unread();
        self.release(late);
        unread
    }

    fn release(&mut self, late: Late) {
        let end = late.generation.position();
        let same = |known: &&mut Drained| known.end.file.has_inode_of(&end.file);
        // A checkpoint tells it again, once all of it is committed.
        if let Some(drained) = self.drained.iter_mut().rfind(same).filter(|drained| drained.end.offset < end.offset) {
            *drained = Drained::at(end, self.marks.next, drained.written);
        }
        self.keep_uncommitted(late.generation);
    }

    fn keep_uncommitted(&mut self, mut generation: Generation) {
        generation.rest();
        if !self.marks.is_done_with(&generation) {
            self.spent.push_back(generation);
        }
    }
}

impl Late {
    /// How long after its last byte the file is looked at.
    fn wait(configured: Duration, names: u64) -> Duration {
        if names == 0 { configured.min(DELETED) } else { configured }
    }

    fn look(&mut self, wait: Duration, limit: usize, encoding: Encoding, now: Instant, chunk: &mut Chunk) -> Found {
        let Ok(meta) = self.generation.metadata() else {
            return Found::Over;
        };
        // It was cut: what follows is another log's, or nothing.
        if meta.len() < self.generation.offset {
            return Found::Over;
        }
        if meta.len() != self.size {
            self.size = meta.len();
            self.grown = Some(now);
        }
        let grown = *self.grown.get_or_insert(now);
        let is_over = now >= grown + Self::wait(wait, meta.nlink());
        if meta.len() == self.generation.offset {
            return if is_over { Found::Over } else { Found::Nothing };
        }
        if self.generation.is_rewritten().unwrap_or(true) {
            return Found::Over;
        }
        let encoding = self.generation.encoding(encoding);
        let mut want = limit;
        loop {
            if chunk.bytes.len() < want {
                chunk.bytes.resize(want, 0);
            }
            let Ok(n) = self.generation.peek(&mut chunk.bytes[..want]) else {
                return Found::Over;
            };
            let bytes = &chunk.bytes[..n];
            let whole =
                if want > limit { encoding.first_line(bytes).unwrap_or(0) } else { encoding.whole_lines(bytes) };
            match whole {
                1.. => return Found::Bytes(whole),
                // A line that is too long is divided: the parts before its end are as long as any line may be.
                0 if n == want && want >= MAX_LINE => return Found::Bytes(n),
                0 if n == want => want = (want * 4).min(MAX_LINE),
                0 if is_over && n > 0 => return Found::Bytes(n),
                0 => return if is_over { Found::Over } else { Found::Nothing },
            }
        }
    }
}
