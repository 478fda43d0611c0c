//! System calls on files that have not returned. Another thread has taken over, and the log of the call is left alone
//! until it returns.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Reader;
use crate::tail::Mounts;

/// The most calls of a reader that may hang. Each keeps a thread. Beyond that the reader waits for the next one.
const MOST: usize = 16;

/// Logs of a device on which this many calls hang are left alone. A single file of a disk may be damaged.
const MOST_OF_DEVICE: usize = 2;

/// A call that returns within this time is not reported.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long logs on a device with hanging calls are left alone before they are considered again.
const PAUSE: Duration = Duration::from_secs(1);

/// The text that is shown for the log.
const SHOWN: &str = "its file system does not answer: a system call on the file has not returned";

#[derive(Debug)]
pub(super) struct Hanging {
    since: Instant,
    /// The device of the file. None: unknown.
    device: Option<u64>,
    is_said: bool,
}

/// Whether logs on this device are left alone for now.
pub(super) fn is_left_alone(hanging: &BTreeMap<u64, Hanging>, device: Option<u64>) -> bool {
    let of_device = || hanging.values().filter(|call| call.device == device).count();
    !hanging.is_empty() && device.is_some() && of_device() >= MOST_OF_DEVICE
}

impl Reader {
    /// Notes that a call about this log hangs. Returns whether another thread may take over.
    pub(super) fn note_hanging(&mut self, log: u64) -> bool {
        if self.hanging.len() >= MOST || self.hanging.contains_key(&log) {
            return false;
        }
        self.mounts = Mounts::now();
        let device = self.device_of(log);
        self.hanging.insert(log, Hanging { since: self.clock.now(), device, is_said: false });
        self.sink.metrics.hanging(1);
        self.status.set_error(self.index, log, Some(SHOWN.into()));
        true
    }

    /// The call has returned.
    pub(super) fn note_returned(&mut self, log: u64) {
        let Some(call) = self.hanging.remove(&log) else {
            return;
        };
        self.sink.metrics.hanging(-1);
        let now = self.clock.now();
        if call.is_said {
            let (path, seconds) = (self.path_of(log), (now - call.since).as_secs());
            tracing::info!(path, client = %self.client, seconds, "a file system answers again");
        }
        if let Some(tailer) = self.tailers.get(&log) {
            self.status.set_error(self.index, log, tailer.trouble.text());
        }
        self.soon(log, now);
        for held_back in std::mem::take(&mut self.held_back) {
            self.look_later(held_back);
        }
    }

    /// Does not read this log for now.
    pub(super) fn pause(&mut self, log: u64, now: Instant) {
        if let Some(tailer) = self.tailers.get_mut(&log) {
            tailer.schedule.is_drained = self.stop.is_some();
        }
        self.at(log, now + PAUSE);
    }

    /// Does not open or check this log for now.
    pub(super) fn leave_alone(&mut self, log: u64, now: Instant) {
        if self.looks.remove(&log) {
            self.held_back.insert(log);
        }
        if let Some(waiting) = self.waiting.get_mut(&log) {
            waiting.at = now + PAUSE;
        }
    }

    /// Whether a call about this log hangs, or its device has too many hanging calls.
    pub(super) fn is_left_alone(&self, log: u64) -> bool {
        if self.hanging.is_empty() {
            return false;
        }
        self.hanging.contains_key(&log) || is_left_alone(&self.hanging, self.device_of(log))
    }

    /// Whether the call about `hanging` hangs on the device of the other log.
    pub(super) fn hangs_on_device_of(&self, hanging: u64, other: u64) -> bool {
        self.hanging.get(&hanging).is_some_and(|call| call.device == self.device_of(other))
    }

    /// Asks no file system. None: unknown.
    fn device_of(&self, log: u64) -> Option<u64> {
        match (self.tailers.get(&log).or(self.ending.get(&log)), self.waiting.get(&log)) {
            (Some(tailer), _) => tailer.device(),
            (None, Some(waiting)) => self.mounts.of(&waiting.assignment.folder).map(|mount| mount.device),
            (None, None) => None,
        }
    }

    /// Reports calls that have been hanging for a while, once each.
    pub(super) fn say_hanging(&mut self, now: Instant) {
        if self.hanging.is_empty() {
            return;
        }
        let is_news = |call: &Hanging| !call.is_said && now >= call.since + PATIENCE;
        let news: Vec<u64> = self.hanging.iter().filter(|(_, call)| is_news(call)).map(|(log, _)| *log).collect();
        for log in news {
            if let Some(call) = self.hanging.get_mut(&log) {
                call.is_said = true;
            }
            if self.budget.allows(now) {
                let path = self.path_of(log);
                tracing::error!(
                    path,
                    client = %self.client,
                    "a system call on a log file does not return: it waits, and all other logs go on; look at the server or \
                     the disk of its file system"
                );
            }
        }
    }

    fn path_of(&self, log: u64) -> String {
        let tailer = self.tailers.get(&log).or(self.ending.get(&log)).map(|tailer| tailer.path());
        let path = tailer.or(self.waiting.get(&log).map(|waiting| &waiting.assignment.path));
        path.map_or_else(|| "?".into(), |path| path.display().to_string())
    }
}
