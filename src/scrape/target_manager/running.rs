//! The loop of the thread: handles events, and does the work that is due.

use std::time::{Duration, Instant};

use super::{BURST, PATIENCE, POLL, SUMMARY, TargetManager};
use crate::model::Update;
use crate::scrape::messages::{Command, Event};
use crate::scrape::supervised::{Duty, Held};
use crate::scrape::watch::Heard;

impl Duty for TargetManager {
    type Outcome = ();

    const NAME: &'static str = "target_manager";

    fn work(held: &mut Held<'_, Self>) -> Option<()> {
        held.calls.steps = held.steps();
        while held.running > 0 {
            held.do_due();
            if !held.is_current() {
                return None;
            }
            let (events, wait) = (held.events.clone(), held.wait_time());
            let Some(event) = held.wait(|| events.next(wait)) else {
                continue;
            };
            held.handle(event);
        }
        held.sync_positions();
        // A thread whose system call hangs may keep this state for long.
        held.watch.close();
        held.is_current().then_some(())
    }

    fn hangs(&mut self, call: u64) -> bool {
        self.note_hanging(call)
    }

    fn returned(&mut self, call: u64) {
        self.note_returned(call);
    }

    fn wake(&self) {
        self.events.send(Event::Heard(Heard::Names(Vec::new())));
    }
}

impl Held<'_, TargetManager> {
    /// Does everything that is due.
    fn do_due(&mut self) {
        let now = Instant::now();
        if self.due.walk.is_some_and(|at| at <= now) {
            self.due.walk = None;
            self.walk_dirty();
        }
        if now >= self.due.full_walk {
            self.walk_all();
        }
        if now >= self.due.check {
            self.check_all();
        }
        if now >= self.due.poll {
            self.due.poll = now + POLL.min(self.config.sync_period);
            self.poll();
        }
        if now >= self.due.sync_positions {
            self.due.sync_positions = now + self.config.positions_sync_period;
            self.sync_positions();
        }
        self.say_hanging(now);
        if now >= self.due.say_empty {
            self.due.say_empty = now + PATIENCE;
            self.say_empty(|tracked, since| tracked.is_of_pod() && now < since + PATIENCE);
        }
        let has_walked = self.unsynced.is_empty() && self.due.walk.is_none();
        if !self.summarised && (has_walked || now >= self.due.started + SUMMARY) {
            self.summarise();
        }
    }

    /// How long to wait for an event.
    fn wait_time(&self) -> Duration {
        let due = &self.due;
        let summary = (!self.summarised).then(|| due.started + SUMMARY);
        let report = self.calls.report_at();
        let until = [
            Some(due.check),
            Some(due.full_walk),
            self.poll_at(),
            Some(due.sync_positions),
            Some(due.say_empty),
            summary,
            due.walk,
            report,
        ];
        let until = until.into_iter().flatten().min().unwrap_or(due.check);
        until.saturating_duration_since(Instant::now())
    }

    fn handle(&mut self, event: Event) {
        if let Event::Stopped { reader } = event {
            tracing::debug!(reader, "stopped");
            self.running -= 1;
        } else if self.take(event) {
            self.walk_by(Instant::now() + BURST);
        }
    }

    /// Handles an event. Returns whether there is something to walk.
    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Update(Update::Group { job, group }) => self.update(&job, group),
            Event::Update(Update::Synced { job }) => {
                self.unsynced.remove(&job);
                true
            }
            Event::Heard(Heard::Names(paths)) => {
                let mut dirty = false;
                for path in paths {
                    dirty |= self.hear(&path);
                }
                dirty
            }
            Event::Heard(Heard::Everything) => {
                self.walk_all();
                true
            }
            Event::Finished { reader, log } => self.finished(reader, log),
            Event::Stop(ending) => {
                self.tell(|| Command::Stop(ending));
                false
            }
            Event::Stopped { .. } => false,
            Event::Give(id, source) => {
                let log = self.give(source);
                self.given.insert(id, log);
                false
            }
            Event::TakeBack(id) => {
                self.take_back(id);
                false
            }
        }
    }

    fn sync_positions(&mut self) {
        if self.calls.is_hanging() {
            return; // The last time has not ended yet.
        }
        let (positions, (call, at)) = (self.positions.clone(), self.calls.next(None));
        let vanished = self.blocking(call, || positions.find_vanished(&|path| at.set(path)));
        // If the call hung, what it found is old by now.
        if !self.is_current() {
            return;
        }
        let (call, at) = self.calls.next(None);
        at.set(positions.filename().parent().unwrap_or(positions.filename()));
        match self.blocking(call, || positions.save(&vanished)) {
            Ok(()) => self.positions_fail = false,
            Err(error) => {
                self.metrics.positions_error();
                if !std::mem::replace(&mut self.positions_fail, true) {
                    let file = self.positions.filename().display();
                    // A file that is itself a mount cannot be replaced.
                    let advice = match error.kind() {
                        std::io::ErrorKind::ResourceBusy => {
                            "mount the directory instead of the file, because the journal is beside the file"
                        }
                        std::io::ErrorKind::NotFound => "create the directory",
                        _ => "make the directory writable",
                    };
                    tracing::error!(%file, %error, advice, "cannot write the positions file");
                }
            }
        }
    }
}

#[cfg(test)]
impl Held<'_, TargetManager> {
    /// Handles all pending events, and walks if necessary.
    pub fn step(&mut self) {
        let mut walk = false;
        while let Some(event) = self.events.next(Duration::ZERO) {
            walk |= self.take(event);
        }
        if walk {
            self.walk_dirty();
        }
    }
}
