//! Opens a log: finds its position, opens its file, schedules its first turn.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Instant, SystemTime};

use super::{Reader, start};
use crate::model::{FileId, LabelSet, Mark, Position, Source, Target, Wake};
use crate::positions::{Commit, Key, LogName, PositionId, Saved, before};
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
use crate::tail::{Known, Log, Resume, is_in};

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
            Err(NotOpened::First { why, is_queued }) => {
                self.positions.release(slot);
                let (log, path) = (assignment.log, assignment.path.clone());
                self.wait_for(assignment, now, &why);
                // It was not tried yet: it is read even if its target goes meanwhile.
                if let Some(waiting) = self.waiting.get_mut(&log) {
                    waiting.is_new = true;
                    // Its turn comes after that of the other log, before its file can be deleted.
                    if is_queued {
                        waiting.at = now;
                        self.queue.push(&path, log);
                    }
                }
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
        let at = |saved: Option<Saved>| saved.and_then(Saved::into_position);
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
        left.retain(|end| self.positions.in_file(key, &end.file).is_empty());
        let (mut begins, positions) = (None, self.positions.clone());
        let is_taken = |path: &Path, file: &FileId| {
            let of_file = positions.in_file(key, file);
            let of_name = positions.of_name(&Key { log: LogName::File(path.into()), ..key.clone() });
            of_file.iter().chain(&of_name).any(|position| is_in(path, &assignment.allowed, position))
        };
        let read = self.positions.files_read(slot);
        let known = Known { left: &left, read: &read, is_taken: &is_taken };
        let open = || {
            let mut log = Log::open_among(&assignment.path, resume, options, &folders, &assignment.allowed, known)?;
            // Without them the log can be read as well.
            let _ = log.follow_late(known, time);
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
        if let Some(slot) = parts.slot {
            self.positions.opened(slot);
        }
        let (log, schedule) = (parts.id, Schedule::new(now, self.config.min_poll));
        let tailer = Tailer::new(parts, schedule, SavedReadTimes::new(times), now);
        self.tailers.insert(log, Box::new(tailer));
        self.look_up(log);
        if let Some(tailer) = self.tailers.get(&log) {
            self.status.set_file(self.index, log, file(tailer, &self.client));
        }
        self.schedule.push(Reverse((now, log)));
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
pub(super) enum NotOpened {
    /// A system call hung, and another thread has taken over.
    CallHung,
    /// Another log is opened before it, for this reason. `is_queued`: in this turn.
    First {
        why: String,
        is_queued: bool,
    },
    /// It is opened later. The reason is shown on the pages.
    Waits(Cow<'static, str>),
    Failed(io::Error),
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
