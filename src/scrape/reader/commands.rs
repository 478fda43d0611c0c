//! Executes the target manager's commands, a few at a time, because there may be ten thousand logs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::opening::{file, with_filename};
use super::queue::Queue;
use super::{Reader, Stop};
use crate::model::Target;
use crate::scrape::messages::{Command, StopRequest};
use crate::scrape::supervised::Held;
use crate::tail::Log;

impl Held<'_, Reader> {
    pub(super) fn obey(&mut self, command: Command, now: Instant) {
        match command {
            Command::Add(assignment) => {
                if let Some(name) = assignment.path.file_name() {
                    let real = assignment.folder.join(name);
                    let is_same = *real == *assignment.path;
                    let real = if is_same { assignment.path.clone() } else { real.into() };
                    self.folders[assignment.job].add_log(assignment.log, real);
                }
                match self.jobs[assignment.job].initial_delay {
                    Duration::ZERO => self.found(assignment, now),
                    delay => self.delay(assignment, delay, now),
                }
            }
            Command::Open(given) => self.open_given(given, now),
            Command::Relabel(log, target) => {
                let reader = &mut **self;
                if let Some(waiting) = reader.waiting.get_mut(&log) {
                    waiting.assignment.target = target.clone();
                    waiting.retired = false;
                }
                if let Some(tailer) = reader.tailers.get_mut(&log) {
                    // Entries held by the stages belong to the old labels.
                    tailer.end(&mut reader.sink, now);
                    tailer.labels = with_filename(&target, tailer.path());
                    tailer.target = target;
                    tailer.schedule.retired = None;
                    reader.status.set_file(reader.index, log, file(tailer, &reader.client));
                    // The log may have been held.
                    self.soon(log, now);
                }
            }
            Command::Retire(log) => self.retire_tried(log, now),
            Command::Look(log) => self.look_later(log),
            Command::Written(log) => self.note_write(log, now),
            Command::Settle => self.settle_open_logs(now),
            Command::Stop(StopRequest { within, reads_on }) => {
                self.stop = Some(Stop { deadline: now + within, progress: now, reads_on });
                if !reads_on {
                    return;
                }
                self.settle_open_logs(now);
                // Check every file once more, to include lines written before the signal.
                let logs: Vec<u64> = self.tailers.keys().copied().collect();
                for log in logs {
                    self.release_deleted(log);
                    self.soon(log, now);
                }
            }
        }
    }

    /// A held log whose file was deleted would be lost with the process, so it is read with its current labels.
    fn release_deleted(&mut self, log: u64) {
        if self.tailers.get(&log).is_none_or(|tailer| !tailer.target.is_held) {
            return;
        }
        let is_deleted = self.with_input(log, |input| input.log().is_some_and(Log::is_deleted));
        if let Some(tailer) = self.tailers.get_mut(&log).filter(|_| is_deleted == Some(true)) {
            tailer.target = Arc::new(Target { is_held: false, ..Target::clone(&tailer.target) });
        }
    }

    /// Retires a log. If it was not tried yet, its contents are read first.
    fn retire_tried(&mut self, log: u64, now: Instant) {
        match self.waiting.get_mut(&log) {
            Some(waiting) if waiting.is_new => waiting.retired = true,
            _ => self.retire(log, now),
        }
    }

    fn retire(&mut self, log: u64, now: Instant) {
        if self.waiting.remove(&log).is_some() {
            self.gone(log);
            // Nobody will claim what the previous scrape read of it.
            if self.is_settled {
                self.settle_open_logs(now);
            }
        }
        if let Some(tailer) = self.tailers.get_mut(&log) {
            tailer.schedule.retired = Some(now);
            // From now on it is polled, until it ends.
            self.note_write(log, now);
        }
    }

    /// Opens and checks logs until `until`, but at least one. Open logs wait meanwhile.
    pub(super) fn work_off(&mut self, now: Instant, until: Instant) {
        if self.queue.is_empty() {
            return;
        }
        while self.is_current()
            && let Some(log) = self.queue.pop()
        {
            if self.is_left_alone(log) {
                self.leave_alone(log, now);
                continue;
            }
            let due = self.waiting.get(&log).filter(|waiting| waiting.is_due(now));
            if let Some((assignment, retired)) = due.map(|waiting| (waiting.assignment.clone(), waiting.retired))
                && self.add(assignment, now)
                && retired
            {
                self.retire_tried(log, now);
            }
            if self.looks.remove(&log) {
                self.look(log, now);
            }
            if self.clock.now() >= until {
                break;
            }
        }
        if self.queue.is_empty() {
            // At the start, and after a check of all names, it had each log.
            self.queue = Queue::default();
            self.folders.iter().for_each(|folders| folders.forget());
            self.say_not_read();
        }
    }
}

impl Reader {
    /// Queues a log to be checked. A log that has ended and waits for its last answers may have got a new file.
    pub(super) fn look_later(&mut self, log: u64) {
        let ending = self.ending.get(&log).filter(|tailer| tailer.schedule.retired.is_none());
        let tailer = self.tailers.get(&log).or(ending).map(|tailer| tailer.path());
        if let Some(path) = tailer.or(self.waiting.get(&log).map(|waiting| &waiting.assignment.path)) {
            self.queue.push(path, log);
            self.looks.insert(log);
        }
    }
}
