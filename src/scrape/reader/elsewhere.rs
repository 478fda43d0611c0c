//! Finds out whether the file of a new log was read under another name before.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Reader;
use super::opening::NotOpened;
use super::retry::Waiting;
use crate::model::{Checkpoint, Mark, Position};
use crate::positions::{Commit, Key, LogName, PositionId, Positions, Saved};
use crate::scrape::messages::Assignment;
use crate::scrape::supervised::Held;
use crate::scrape::tailer::Tailer;
use crate::tail::{Copied, copied, file_id, is_in, originals};

impl Held<'_, Reader> {
    /// The position at which another log stopped reading this file. It becomes the position of this log. None: the file
    /// was not read before.
    pub(super) fn position_elsewhere(
        &mut self,
        assignment: &Assignment,
        key: &Key,
        slot: PositionId,
    ) -> Result<Option<Saved>, NotOpened> {
        let elsewhere = self.seen_elsewhere(assignment, key);
        if !self.is_current() {
            return Err(NotOpened::CallHung);
        }
        match elsewhere {
            Elsewhere::No => Ok(None),
            Elsewhere::Now => {
                Err(NotOpened::Waits("the file is already read under another name that the path matches".into()))
            }
            Elsewhere::First(path) => {
                let first = self.awaited(key, &path).map(|first| first.assignment.log);
                let mut why = format!("{}, which may have had the file before, is opened first", path.display());
                if first.is_some_and(|first| self.hanging.contains_key(&first)) {
                    why.push_str(", and a system call on it has not returned");
                }
                Err(NotOpened::First { why, is_queued: first.is_some_and(|first| self.queue.has(first)) })
            }
            Elsewhere::Copy => Err(NotOpened::Waits("all of it is in another log, of which it is a copy".into())),
            Elsewhere::Until(position) => {
                let time = self.clock.system_time();
                let checkpoint = Checkpoint::File { position, live: true, written: time, unread: 0, left: Vec::new() };
                let known = Commit { slot, checkpoint, through: None };
                self.write(|positions| positions.commit(&[known], time));
                Ok(Some(Saved::At { position, saved: time }))
            }
        }
    }

    /// Whether the file was already read under another name. A program that rotates its own logs may give the old file
    /// a name that the glob matches.
    fn seen_elsewhere(&mut self, assignment: &Assignment, key: &Key) -> Elsewhere {
        let Ok(meta) = self.blocking(assignment.log, || std::fs::metadata(&assignment.path)) else {
            return Elsewhere::No;
        };
        let (file, id) = ((meta.dev(), meta.ino()), file_id(&meta));
        let mut ends = Vec::new();
        let logs: Vec<u64> = self.inodes.of(file).collect();
        for log in logs {
            let Some(tailer) = self.tailer_mut(log) else {
                continue;
            };
            if tailer.target.labels != assignment.target.labels || *tailer.path() == assignment.path {
                continue;
            }
            // Bytes that are in flight may have to be read again.
            let committed = tailer.ledger().committed().unwrap_or_default();
            let is_lent = tailer.input.is_lent();
            let Some(log) = tailer.input.log_mut() else {
                if is_lent {
                    // A system call on it hangs: whether it still has the file is not known.
                    return Elsewhere::Now;
                }
                continue;
            };
            if !log.hand_over_late(file, committed) {
                return Elsewhere::Now;
            }
            ends.extend(log.had(&id).map(|(end, mark)| (end, mark <= committed)));
        }
        let originals = originals(&assignment.path);
        let mut unopened = self.positions.unopened(key, &id, &originals).into_iter();
        if let Some((first, _)) = unopened.find(|(path, of_file)| self.is_expected(assignment.log, key, path, *of_file))
        {
            return Elsewhere::First(first);
        }
        let (positions, call) = (self.positions.clone(), assignment.log);
        let (elsewhere, live) = self.blocking(call, || {
            let is_there = |position: &Position| is_in(&assignment.path, &assignment.allowed, position);
            if let Some((end, is_delivered)) = ends.into_iter().find(|(end, _)| is_there(end)) {
                return (if is_delivered { Elsewhere::Until(end) } else { Elsewhere::Now }, None);
            }
            match positions.in_file(key, &id).into_iter().find(is_there) {
                Some(before) => (Elsewhere::Until(before), None),
                None => copied_from(&positions, assignment, key, originals),
            }
        });
        match live {
            Some(live) if self.is_current() => self.cut_since(assignment, &live).unwrap_or(elsewhere),
            _ => elsewhere,
        }
    }

    /// The file is a copy of a log that was cut since: whether lines of it are on their way. None: the log is not open.
    fn cut_since(&mut self, assignment: &Assignment, live: &Path) -> Option<Elsewhere> {
        let reader = &mut **self;
        let is_it =
            |tailer: &&mut Box<Tailer>| **tailer.path() == *live && tailer.target.labels == assignment.target.labels;
        let tailer = reader.tailers.values_mut().chain(reader.ending.values_mut()).find(is_it)?;
        let committed = tailer.ledger().committed().unwrap_or_default();
        if tailer.input.is_lent() {
            // A system call on it hangs.
            return Some(Elsewhere::Now);
        }
        let ends = tailer.input.log_mut()?.ends_with_marks();
        let read: Vec<Position> = ends.iter().map(|(end, _)| *end).collect();
        let copied = self.blocking(assignment.log, || copied(&assignment.path, live, &read, &assignment.allowed));
        match copied {
            Copied::No => None,
            Copied::Whole => Some(Elsewhere::Copy),
            Copied::Until(position) => {
                let is_it = |(end, _): &&(Position, Option<Mark>)| {
                    (end.offset, end.before) == (position.offset, position.before)
                };
                let mark = ends.iter().find(is_it).and_then(|(_, mark)| *mark);
                let is_delivered = mark.is_some_and(|mark| mark <= committed);
                Some(if is_delivered { Elsewhere::Until(position) } else { Elsewhere::Now })
            }
        }
    }

    /// The log with this key and path, if it waits to be opened.
    fn awaited(&self, key: &Key, path: &Path) -> Option<&Waiting> {
        self.waiting.values().find(|waiting| {
            let Assignment { job, target, path: own, .. } = &waiting.assignment;
            **own == *path && self.jobs[*job].name == key.job && target.labels.stable_hash() == key.labels
        })
    }

    /// Whether a log with a saved position is to be opened before `log`. False if it cannot be opened, or has no target any more.
    /// `of_file`: it was read in the file. Otherwise only its name says that it may have been, and only its first try is waited for.
    fn is_expected(&self, log: u64, key: &Key, path: &Path, of_file: bool) -> bool {
        match self.awaited(key, path) {
            // This may take for ever. A log on the same device that read the file is waited for nevertheless, as one that hangs
            // after it was opened: only it knows what was sent of the file.
            Some(waiting) if self.hanging.contains_key(&waiting.assignment.log) => {
                of_file && self.hangs_on_device_of(waiting.assignment.log, log)
            }
            Some(waiting) => waiting.is_new || of_file && !waiting.has_failed,
            None => of_file && !self.is_settled,
        }
    }
}

/// Whether the file is a copy of a log that was read. If that log was cut since, also its path.
fn copied_from(
    positions: &Positions,
    assignment: &Assignment,
    key: &Key,
    originals: Vec<PathBuf>,
) -> (Elsewhere, Option<PathBuf>) {
    for live in originals {
        let name = LogName::File(live.as_path().into());
        let ends = positions.of_log(&Key { log: name, ..key.clone() });
        if ends.is_empty() {
            continue;
        }
        match copied(&assignment.path, &live, &ends, &assignment.allowed) {
            Copied::No => {}
            Copied::Whole => return (Elsewhere::Copy, None),
            Copied::Until(position) => return (Elsewhere::Until(position), Some(live)),
        }
    }
    (Elsewhere::No, None)
}

/// Where else a file is read.
enum Elsewhere {
    No,
    /// It is an unfinished generation of another log.
    Now,
    /// This log had the file, or may have had it, and is not open yet.
    First(Arc<Path>),
    /// It is a copy of the live file of another log.
    Copy,
    /// Another log finished it at this position.
    Until(Position),
}
