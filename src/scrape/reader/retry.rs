//! Logs that cannot be read yet. Each is tried again, shown with its reason, and reported once.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::Reader;
use crate::model::Ledger;
use crate::scrape::messages::Assignment;
use crate::scrape::status::File;

/// Waits shorter than this are not reported: a rotation is noticed, or an answer arrives, within this time.
const PATIENCE: Duration = Duration::from_secs(5);

/// After which time a log that waits for another reading is tried again: the first time, and at most. What it waits for is mostly
/// over at once, and an agent that is restarted again and again must get to it.
const SOONEST: Duration = Duration::from_millis(20);
const LATEST: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Waiting {
    pub assignment: Assignment,
    /// When it is tried again.
    pub at: Instant,
    since: Instant,
    /// Why it waits, if that was reported and is shown.
    said: Option<String>,
    /// It was found but not tried yet.
    pub is_new: bool,
    /// The last try to open it failed.
    pub has_failed: bool,
    /// It must be retired as soon as it is opened.
    pub retired: bool,
}

impl Waiting {
    fn new(assignment: Assignment, at: Instant, since: Instant) -> Self {
        Self { assignment, at, since, said: None, is_new: false, has_failed: false, retired: false }
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.at <= now
    }
}

impl Reader {
    /// Waits for the job's initial delay before the log is checked for the first time.
    pub(super) fn delay(&mut self, assignment: Assignment, delay: Duration, now: Instant) {
        let waiting = Waiting::new(assignment, now + delay, now);
        self.waiting.insert(waiting.assignment.log, waiting);
    }

    /// Queues a new log to be opened.
    pub(super) fn found(&mut self, assignment: Assignment, now: Instant) {
        self.queue.push(&assignment.path, assignment.log);
        let waiting = Waiting { is_new: true, ..Waiting::new(assignment, now, now) };
        self.waiting.insert(waiting.assignment.log, waiting);
    }

    /// Another reading must finish first.
    pub(super) fn wait_for(&mut self, mut assignment: Assignment, now: Instant, why: &str) {
        // Lines that are written meanwhile must not be left out.
        assignment.start = None;
        let known = self.waiting.remove(&assignment.log);
        let (since, mut said) = known.map_or((now, None), |known| (known.since, known.said));
        if now >= since + PATIENCE && said.as_deref() != Some(why) {
            if self.budget.allows(now) {
                let path = assignment.path.display();
                tracing::info!(%path, client = %self.client, reason = why, "a file is not read yet: the agent tries again");
            }
            self.show(&assignment, why);
            said = Some(why.into());
        }
        let waiting =
            Waiting { said, ..Waiting::new(assignment, now + ((now - since) / 2).clamp(SOONEST, LATEST), since) };
        self.waiting.insert(waiting.assignment.log, waiting);
    }

    pub(super) fn cannot_open(&mut self, mut assignment: Assignment, error: &io::Error, now: Instant) {
        assignment.start = None;
        let known = self.waiting.remove(&assignment.log);
        if error.kind() == ErrorKind::NotFound {
            // Renamed or deleted since it was found. If it appears again, it is found again.
            return self.gone(assignment.log);
        }
        let (since, mut said) = known.map_or((now, None), |known| (known.since, known.said));
        let why = error.to_string();
        if said.as_ref() != Some(&why) {
            self.sink.metrics.read_error();
            if self.budget.allows(now) {
                let (path, advice) = (assignment.path.display(), advice(error));
                tracing::warn!(%path, client = %self.client, %error, advice, "cannot open a log file: the agent tries again");
            }
            self.show(&assignment, &why);
            said = Some(why);
        }
        let waiting =
            Waiting { said, has_failed: true, ..Waiting::new(assignment, now + self.config.sync_period, since) };
        self.waiting.insert(waiting.assignment.log, waiting);
    }

    pub(super) fn waits_no_more(&mut self, log: u64, now: Instant) {
        let said = self.waiting.remove(&log).filter(|waiting| waiting.said.is_some());
        if let Some(Waiting { assignment, .. }) = said.filter(|_| self.budget.allows(now)) {
            tracing::info!(path = %assignment.path.display(), client = %self.client, "a file is read now");
        }
    }

    /// Queues the logs that are due for another try.
    pub(super) fn open_waiting(&mut self, now: Instant) {
        for (log, waiting) in self.waiting.iter().filter(|(_, waiting)| waiting.is_due(now)) {
            self.queue.push(&waiting.assignment.path, *log);
        }
    }

    fn show(&self, assignment: &Assignment, why: &str) {
        let file = File {
            path: assignment.path.clone(),
            client: self.client.clone(),
            target: assignment.target.clone(),
            ledger: Ledger::new(),
            error: Some(why.into()),
        };
        self.status.set_file(self.index, assignment.log, file);
    }
}

/// The advice for the user about the error.
pub(super) fn advice(error: &io::Error) -> &'static str {
    /// Too many open files: in the process, and in the system.
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    match (error.kind(), error.raw_os_error()) {
        (_, Some(EMFILE | ENFILE)) => "raise the limit of open files (ulimit -n, or LimitNOFILE of a systemd unit)",
        (ErrorKind::PermissionDenied, _) => {
            "give the agent's user read permission, for example through the file's group"
        }
        (ErrorKind::InvalidInput, _) => "only regular files can be read: exclude this one with __path_exclude__",
        (ErrorKind::InvalidData, _) => "see the error: nothing of this file is sent",
        _ => "see the error of the system",
    }
}
