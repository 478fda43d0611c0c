//! Opens a log: finds its position, opens its file, schedules its first turn.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Instant, SystemTime};

use super::{Reader, start};
use crate::model::{Checkpoint, LabelSet, Mark, Position, Source, Target, Wake};
use crate::positions::{Commit, Key, LogName, PositionId, Positions, Saved, before};
use crate::scrape::given::Opening;
use crate::scrape::input::Input;
use crate::scrape::messages::{Assignment, SourceAssignment};
use crate::scrape::metrics::ROTATED_AWAY;
use crate::scrape::pipelines::PipelineId;
use crate::scrape::schedule::Schedule;
use crate::scrape::status::File;
use crate::scrape::supervised::Held;
use crate::scrape::tailer::{Parts, Tailer};
use crate::scrape::times::SavedReadTimes;
use crate::tail::{Copied, Log, Resume, copied, is_in, originals};

impl Held<'_, Reader> {
    /// Opens a log. Returns whether that is settled: opened, refused, or postponed for a reason that is shown. If a
    /// system call hung, it is tried again, because the assignment may have changed meanwhile.
    pub(super) fn add(&mut self, assignment: Assignment, now: Instant) -> bool {
        let key = Key {
            client: self.client.clone(),
            job: self.jobs[assignment.job].name.clone(),
            log: LogName::File(assignment.path.clone()),
            labels: assignment.target.labels.stable_hash(),
        };
        // An earlier reading of the log still holds its position.
        let Some((slot, saved)) = self.positions.claim(key.clone()) else {
            let why = "the file was read before, and its entries still wait for answers of Loki";
            self.wait_for(assignment, now, why);
            return true;
        };
        match self.open(&assignment, &key, slot, saved) {
            Ok(opened) => self.begin_opened(assignment, slot, opened, now),
            Err(NotOpened::CallHung) => return self.add_again(assignment.log, slot, now),
            Err(NotOpened::Waits(why)) => {
                self.positions.release(slot);
                self.wait_for(assignment, now, &why);
            }
            Err(NotOpened::Failed(error)) => {
                self.positions.release(slot);
                self.cannot_open(assignment, &error, now);
            }
        }
        true
    }

    /// Takes over the open log of the previous run, or opens its file at the saved position.
    fn open(
        &mut self,
        assignment: &Assignment,
        key: &Key,
        slot: PositionId,
        mut saved: Option<Saved>,
    ) -> Result<Opened, NotOpened> {
        let at = |saved: Option<Saved>| match saved {
            Some(Saved::At { position, .. }) => Some(position),
            _ => None,
        };
        if let Some((log, last_time)) = self.inherit(assignment) {
            return Ok(Opened { log, saved: at(saved), last_time, is_inherited: true, gone: 0 });
        }
        if saved.is_none() {
            saved = self.position_elsewhere(assignment, key, slot)?;
        }
        let resume = match &saved {
            None => start::resume(assignment, self.unseen_since(slot)),
            Some(Saved::At { position, saved }) => Resume::At { position: *position, saved: *saved },
            Some(Saved::Offset(offset)) => Resume::Offset(*offset),
            // Files have no cursor.
            Some(Saved::Cursor(_)) => Resume::Since(self.unseen_since(slot)),
        };
        let (id, options) = (assignment.log, self.jobs[assignment.job].options);
        let folders = self.folders[assignment.job].clone();
        let (mut left, time) = (self.positions.left(slot), self.clock.system_time());
        // A file that is a log of its own by now is read there.
        left.retain(|end| self.positions.in_file(key, (end.file.device, end.file.inode)).is_empty());
        let mut begins = None;
        let open = || {
            let mut log = Log::open_among(&assignment.path, resume, options, &folders, &assignment.allowed, &left)?;
            // Without them the log can be read as well.
            let _ = log.follow_late(&left, time);
            if matches!(resume, Resume::Since(_) | Resume::Unseen { .. }) {
                begins = log.committed(log.mark());
            }
            Ok(log)
        };
        let opened = self.blocking(id, open);
        if !self.is_current() {
            self.blocking(id, || drop(opened));
            return Err(NotOpened::CallHung);
        }
        let log = opened.map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock => NotOpened::Waits(error.to_string().into()),
            _ => NotOpened::Failed(error),
        })?;
        let mut gone = 0;
        if log.lost_position() {
            gone = self.positions.unread(slot);
            let path = assignment.path.display();
            if gone > 0 {
                tracing::warn!(%path, bytes = gone, "the file that was read last is gone, and was not read to its end: these bytes are lost");
            } else {
                tracing::warn!(
                    %path,
                    "the file that was read last is gone; it had been read to its end, but lines that were written to it \
                     while no agent ran are lost"
                );
            }
        }
        match resume {
            Resume::Unseen { .. } if log.position().offset > 0 => {
                self.begin_at_end(assignment.job, slot, &log);
            }
            Resume::Since(since) | Resume::Unseen { since, .. } => {
                // If the agent ends before Loki answers for the first time, the next one begins in the same file, whatever
                // was rotated meanwhile.
                if let Some(checkpoint) = begins.filter(|_| !assignment.target.is_held) {
                    let begin = Commit { slot, checkpoint, through: None };
                    self.write(|positions| positions.commit(&[begin], since));
                }
            }
            _ => {}
        }
        Ok(Opened { log, saved: at(saved), last_time: self.positions.last_time(slot), is_inherited: false, gone })
    }

    /// The position at which another log stopped reading this file. It becomes the position of this log. None: the file
    /// was not read before.
    fn position_elsewhere(
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

    /// Schedules the first turn of a log that was opened.
    fn begin_opened(&mut self, assignment: Assignment, slot: PositionId, opened: Opened, now: Instant) {
        let Opened { mut log, saved, last_time, is_inherited, gone } = opened;
        let (id, target) = (assignment.log, assignment.target);
        let inodes = log.take_new_files();
        self.inodes.add(id, inodes, |inode| log.has(inode));
        let lost = log.take_lost();
        let labels = with_filename(&target, &assignment.path);
        let pipeline = self.sink.pipelines.of_target(assignment.job, &target);
        self.waits_no_more(id, now);
        let (from, slot) = (log.mark(), Some(slot));
        let (path, input) = (assignment.path, Input::Log(Box::new(log)));
        self.begin(Parts { id, path, input, slot, target, labels, pipeline, saved, from, last_time }, now);
        if is_inherited {
            // Between the two scrapes, its name may have been given to another file.
            self.look(id, now);
        }
        self.count_lost(id, lost);
        self.lose(id, ROTATED_AWAY, gone);
        self.bound_pinned(id);
    }

    /// The assignment is tried again at once, unless it was taken back while a system call hung.
    fn add_again(&mut self, id: u64, slot: PositionId, now: Instant) -> bool {
        // The next run may hold the position by now.
        if !self.is_over() {
            self.positions.release(slot);
        }
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.at = now;
            waiting.assignment.start = None;
        }
        false
    }

    /// Opens a log that is not a file at its last committed cursor.
    pub(super) fn open_given(&mut self, given: SourceAssignment, now: Instant) {
        let SourceAssignment { log, target, source } = given;
        let name = source.name.clone();
        let (mut slot, mut cursor) = (None, None);
        if let Some(position) = source.position.clone() {
            let (client, job, log_name) = (self.client.clone(), target.job.clone(), LogName::Other(position));
            let key = Key { client, job, log: log_name, labels: target.labels.stable_hash() };
            let Some((place, saved)) = self.positions.claim(key) else {
                tracing::error!(%name, client = %self.client, "this source is already read by another job with the same name");
                return self.gone(log);
            };
            slot = Some(place);
            cursor = saved.and_then(|saved| match saved {
                Saved::Cursor(cursor) => Some(cursor),
                _ => None,
            });
        }
        let opening = Opening { client: self.index, cursor, waker: Waker::from(self.commands.parker.clone()) };
        let source = match self.blocking(log, || (source.open)(opening)) {
            Ok(source) => source,
            Err(error) => {
                tracing::error!(%name, client = %self.client, %error, "cannot open a source: it is not read");
                self.sink.metrics.read_error();
                slot.into_iter().for_each(|slot| self.positions.release(slot));
                return self.gone(log);
            }
        };
        if source.wake() == Wake::Rings {
            self.ringing.insert(log);
        }
        let pipeline = self.pipeline_of(&target);
        let labels = target.labels.clone();
        let (path, input, from) = (Path::new(&*name).into(), Input::Other(source), Mark::default());
        self.begin(
            Parts { id: log, path, input, slot, target, labels, pipeline, saved: None, from, last_time: 0 },
            now,
        );
    }

    pub(super) fn begin(&mut self, parts: Parts, now: Instant) {
        let times = parts.slot.map(|slot| self.positions.read_times(slot)).unwrap_or_default();
        let (log, schedule) = (parts.id, Schedule::new(now, self.config.min_poll));
        let tailer = Tailer::new(parts, schedule, SavedReadTimes::new(times), now);
        self.tailers.insert(log, Box::new(tailer));
        self.look_up(log);
        if let Some(tailer) = self.tailers.get(&log) {
            self.status.set_file(self.index, log, file(tailer, &self.client));
        }
        self.schedule.push(Reverse((now, log)));
    }

    /// Whether the file was already read under another name. A program that rotates its own logs may give the old file
    /// a name that the glob matches.
    fn seen_elsewhere(&mut self, assignment: &Assignment, key: &Key) -> Elsewhere {
        let Ok(meta) = self.blocking(assignment.log, || std::fs::metadata(&assignment.path)) else {
            return Elsewhere::No;
        };
        let file = (meta.dev(), meta.ino());
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
            ends.extend(log.had(file).map(|(end, mark)| (end, mark <= committed)));
        }
        let (positions, call) = (self.positions.clone(), assignment.log);
        self.blocking(call, || {
            let is_there = |position: &Position| is_in(&assignment.path, &assignment.allowed, position);
            if let Some((end, is_delivered)) = ends.into_iter().find(|(end, _)| is_there(end)) {
                return if is_delivered { Elsewhere::Until(end) } else { Elsewhere::Now };
            }
            let before = positions.in_file(key, file).into_iter().find(is_there);
            before.map_or_else(|| copied_from(&positions, assignment, key), Elsewhere::Until)
        })
    }
}

impl Reader {
    fn unseen_since(&self, slot: PositionId) -> SystemTime {
        before(self.positions.unseen_since(slot), self.clock.system_time())
    }

    /// The pipeline of a target that is no file. If its job does not exist, the pipeline does nothing.
    pub(super) fn pipeline_of(&self, target: &Target) -> PipelineId {
        let job = self.jobs.iter().position(|job| job.name == target.job);
        self.sink.pipelines.of(job.unwrap_or(usize::MAX), target.defaulted)
    }
}

/// A log that is open and not read yet.
struct Opened {
    log: Log,
    /// The saved position. None: there was none in this file.
    saved: Option<Position>,
    /// Its lines get later times than this, in Unix nanoseconds.
    last_time: i64,
    /// It was open in the previous run.
    is_inherited: bool,
    /// Bytes of the file of the saved position, which is gone.
    gone: u64,
}

/// Why a log was not opened.
enum NotOpened {
    /// A system call hung, and another thread has taken over.
    CallHung,
    /// It is opened later. The reason is shown on the pages.
    Waits(Cow<'static, str>),
    Failed(io::Error),
}

/// Whether the file is a copy of a log that was read.
fn copied_from(positions: &Positions, assignment: &Assignment, key: &Key) -> Elsewhere {
    for live in originals(&assignment.path) {
        let name = LogName::File(live.as_path().into());
        let ends = positions.of_log(&Key { log: name, ..key.clone() });
        if ends.is_empty() {
            continue;
        }
        match copied(&assignment.path, &live, &ends, &assignment.allowed) {
            Copied::No => {}
            Copied::Whole => return Elsewhere::Copy,
            Copied::Until(position) => return Elsewhere::Until(position),
        }
    }
    Elsewhere::No
}

/// Where else a file is read.
enum Elsewhere {
    No,
    /// It is an unfinished generation of another log.
    Now,
    /// It is a copy of the live file of another log.
    Copy,
    /// Another log finished it at this position.
    Until(Position),
}

/// The labels of its lines. Lines of a container found by Docker's API have no `filename`, as in Promtail.
pub(in crate::scrape) fn with_filename(target: &Target, path: &Path) -> LabelSet {
    if target.streams.is_some() {
        return target.labels.clone();
    }
    target.labels.with("filename", &path.to_string_lossy())
}

pub(super) fn file(tailer: &Tailer, client: &Arc<str>) -> File {
    File {
        path: tailer.path().clone(),
        client: client.clone(),
        target: tailer.target.clone(),
        ledger: tailer.ledger().clone(),
        error: tailer.trouble.text(),
    }
}
