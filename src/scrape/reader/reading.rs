//! Reads the logs that are due.

use std::cmp::Reverse;
use std::io;
use std::time::Instant;

use super::Reader;
use super::hanging::is_left_alone;
use super::retry::advice;
use crate::batch::{CHUNK, Grant};
use crate::model::{Read, Source};
use crate::scrape::input::Input;
use crate::scrape::supervised::Held;
use crate::scrape::tailer::{Begin, LookedUp, Tailer, Turn};
use crate::tail::Log;

/// The schedule has room for so many entries all the time.
const SCHEDULED: usize = 256;

impl Held<'_, Reader> {
    pub(super) fn read_due(&mut self, now: Instant) {
        while let Some(Reverse((at, log))) = self.schedule.peek().copied() {
            if at > now || !self.is_current() {
                break;
            }
            self.schedule.pop();
            self.take_turn(log, at, now);
        }
        let reader = &mut **self;
        for log in std::mem::take(&mut reader.again) {
            // Another thread may have taken over since: the log's own time counts.
            reader.schedule.extend(reader.tailers.get(&log).map(|tailer| Reverse((tailer.schedule.due, log))));
        }
        // While many logs wait for answers, it has many outdated entries.
        if self.schedule.capacity() > 4 * self.schedule.len().max(SCHEDULED) {
            let room = 2 * self.schedule.len();
            self.schedule.shrink_to(room);
        }
        if self.sink.chunk.bytes.len() > CHUNK {
            self.sink.chunk.bytes = Vec::new();
        }
    }

    /// Reads from a log that was scheduled for `at`, unless its schedule has changed since, and schedules its next turn.
    fn take_turn(&mut self, log: u64, at: Instant, now: Instant) {
        let reader = &mut **self;
        let is_due = |t: &&mut Box<Tailer>| t.schedule.due == at && !t.schedule.is_blocked && !t.input.is_lent();
        let Some(tailer) = reader.tailers.get_mut(&log).filter(is_due) else {
            return;
        };
        if is_left_alone(&reader.hanging, tailer.device()) {
            return self.pause(log, now);
        }
        let turn = match tailer.begin_turn(&mut reader.sink, now) {
            Begin::Turn(turn) => Some(Ok(turn)),
            Begin::LookUp => {
                self.look_up(log);
                self.watch(log, now);
                self.note_written(log, now);
                Some(Ok(Turn::Blocked))
            }
            Begin::Read(grant) => self.read_chunk(log, grant, now),
        };
        if let Some(turn) = turn {
            self.end_turn(log, turn, now);
        }
    }

    /// Reads a chunk of a log and handles it. None: a system call on the log hangs, or the log has ended.
    fn read_chunk(&mut self, log: u64, grant: Grant, now: Instant) -> Option<io::Result<Turn>> {
        let reader = &mut **self;
        let is_stopping = reader.stop.is_some();
        let was_busy = reader.tailers.get(&log)?.schedule.interval == reader.config.min_poll || is_stopping;
        let mut chunk = std::mem::take(&mut reader.sink.chunk);
        let mut remembered = reader.tailers.get_mut(&log)?.take_remembered();
        let read = self.with_input(log, |input| {
            let read = input.read(grant.bytes, now, &mut chunk);
            if let (Ok(Read::Records { .. }), Some(times), Some(file)) = (&read, &mut remembered, input.log_mut()) {
                times.ask(chunk.place.file, file);
            }
            let is_at_end = match read {
                Ok(Read::Records { more }) => !more,
                Ok(Read::Idle) => was_busy,
                _ => false,
            };
            (read, LookedUp::of(input, is_at_end))
        });
        self.sink.chunk = chunk;
        if let Some(tailer) = self.tailers.get_mut(&log) {
            tailer.remember(remembered);
        }
        let (read, found) = read?;
        let is_current = self.is_current();
        let reader = &mut **self;
        let tailer = reader.tailers.get_mut(&log)?;
        tailer.note_newer(found);
        match read {
            // The grant is from before the call. The chunk is read again.
            Ok(Read::Records { .. }) if !is_current => {
                tailer.input.rewind(reader.sink.chunk.start);
                Some(Ok(Turn::More))
            }
            read => {
                let turn = read.map(|read| tailer.end_turn(&mut reader.sink, read, grant, now));
                // Those that ring, such as receivers, have as much as all files together.
                let share = if reader.ringing.contains(&log) { reader.waited.max(1) as u64 } else { 1 };
                let schedule = &mut tailer.schedule;
                schedule.served = schedule.served.max(reader.served) + std::mem::take(&mut schedule.worked) / share;
                // Not before the records are accounted for: until then they are neither unread nor in flight.
                tailer.show(found);
                Some(turn)
            }
        }
    }

    /// Reports an error when it starts and when it ends, and schedules the next turn of the log.
    fn end_turn(&mut self, log: u64, turn: io::Result<Turn>, now: Instant) {
        let reader = &mut **self;
        let Some(tailer) = reader.tailers.get_mut(&log) else {
            return;
        };
        if let Some(file) = tailer.input.log_mut() {
            reader.inodes.add(log, file.take_new_files(), |inode| file.knows(inode));
            let lost = file.take_lost();
            reader.count_lost(log, lost);
        }
        let Some(tailer) = reader.tailers.get_mut(&log) else {
            return;
        };
        let turn = match turn {
            Ok(turn) => {
                if tailer.trouble.reading.take().is_some() {
                    if reader.budget.allows(now) {
                        tracing::info!(path = %tailer.path().display(), "reading again");
                    }
                    reader.status.set_error(reader.index, log, tailer.trouble.text());
                }
                turn
            }
            Err(error) => {
                reader.sink.metrics.read_error();
                let text = error.to_string();
                if tailer.trouble.reading.as_ref() != Some(&text) {
                    if reader.budget.allows(now) {
                        let (path, advice) = (tailer.path().display(), advice(&error));
                        tracing::warn!(%path, %error, advice, "cannot read a log file: the agent tries again");
                    }
                    reader.status.set_error(reader.index, log, Some(text.clone()));
                    tailer.trouble.reading = Some(text);
                }
                Turn::Idle
            }
        };
        self.schedule_after(log, turn, now);
    }

    fn schedule_after(&mut self, log: u64, turn: Turn, now: Instant) {
        let reader = &mut **self;
        let Some(tailer) = reader.tailers.get_mut(&log) else {
            return;
        };
        match turn {
            Turn::More => {
                tailer.schedule.interval = reader.config.min_poll;
                tailer.schedule.due = now;
                reader.unsettled.insert(log);
                reader.again.push(log);
            }
            Turn::Lines => {
                tailer.schedule.interval = reader.config.min_poll;
                reader.unsettled.insert(log);
                self.rest(log, now);
            }
            Turn::Idle => {
                let schedule = &mut tailer.schedule;
                schedule.interval = reader.config.pause(schedule.interval, now - schedule.last_lines);
                tailer.ledger().shrink();
                self.watch_if_quiet(log, now);
                if !self.is_current() {
                    return;
                }
                self.rest(log, now);
                self.forget_if_quiet(log, now);
                self.close_if_idle(log, now);
            }
            Turn::Blocked => {
                tailer.schedule.is_blocked = true;
                reader.blocked.insert(log);
            }
            Turn::Finished => self.end(log, now),
        }
    }

    /// Runs a call on a log's input, which may hang in the file system. None: a call on it hangs already, or the log has
    /// ended.
    pub(super) fn with_input<R>(&mut self, log: u64, call: impl FnOnce(&mut Input) -> R) -> Option<R> {
        let mut input = self.tailer_mut(log)?.lend()?;
        let result = self.blocking(log, || call(&mut input));
        match self.tailer_mut(log) {
            Some(tailer) => {
                tailer.take_back(input);
                Some(result)
            }
            None => {
                // Closing its files may take as long again.
                self.blocking(log, || drop(input));
                None
            }
        }
    }

    /// Looks at a log that waits for answers: its file may be cut and written anew several times before it is read again.
    fn watch(&mut self, log: u64, now: Instant) {
        if self.with_input(log, |input| input.log().is_some_and(Log::has_changed)) == Some(true) {
            self.look(log, now);
            self.note_unread(log);
        }
    }

    /// Asks the files of a log how far it is, for display.
    pub(super) fn look_up(&mut self, log: u64) {
        if let Some(found) = self.with_input(log, |input| LookedUp::of(input, true))
            && let Some(tailer) = self.tailer_mut(log)
        {
            tailer.show(found);
        }
    }
}

impl Reader {
    fn note_written(&mut self, log: u64, now: Instant) {
        if let Some(tailer) = self.tailers.get_mut(&log) {
            tailer.note_written(&mut self.sink, now);
        }
    }
}
