//! System calls on directories that have not returned. Another thread has taken over, and walks leave out the place where
//! the call hangs until it returns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::TargetManager;
use crate::tail::{Events, Mounts};

/// The most calls that may hang. Each keeps a thread. Beyond that the target manager waits for the next one.
const MOST: usize = 16;

/// A call that returns within this time is not reported.
const PATIENCE: Duration = Duration::from_secs(5);

/// A walk is not taken for a call that hangs for this long, as long as it goes on.
const LONGEST: Duration = Duration::from_secs(5);

/// The system calls of the target manager.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// The number of the last call.
    last: u64,
    /// The target of the last call. None: it is about no target.
    target: Option<u64>,
    /// The path that the last call is about.
    at: At,
    /// Counts the paths of all calls.
    pub steps: Arc<AtomicU64>,
    hanging: BTreeMap<u64, Hanging>,
}

#[derive(Debug)]
struct Hanging {
    since: Instant,
    target: Option<u64>,
    /// The path that walks leave out.
    place: PathBuf,
    is_said: bool,
}

/// Where a walk is, for others to see.
#[derive(Clone, Debug, Default)]
pub(super) struct At {
    path: Arc<Mutex<PathBuf>>,
    /// A walk of thousands of directories may take long, although no call hangs.
    steps: Arc<AtomicU64>,
    /// The steps count before this time only: a slow file system must not hold up all targets.
    until: Option<Instant>,
}

impl At {
    pub fn set(&self, path: &Path) {
        if self.until.is_some_and(|until| Instant::now() < until) {
            self.steps.fetch_add(1, Ordering::Relaxed);
        }
        let mut at = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        at.as_mut_os_string().clear();
        at.push(path);
    }

    fn get(&self) -> PathBuf {
        self.path.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Calls {
    /// The number of the next call, about this target, and where to write how far it is.
    pub fn next(&mut self, target: Option<u64>) -> (u64, At) {
        self.last += 1;
        self.target = target;
        let until = Some(Instant::now() + LONGEST);
        self.at = At { path: Arc::default(), steps: self.steps.clone(), until };
        (self.last, self.at.clone())
    }

    /// The places that walks leave out.
    pub fn left_out(&self) -> Vec<PathBuf> {
        self.hanging.values().map(|call| call.place.clone()).collect()
    }

    /// When the next call that hangs is to be reported.
    pub fn report_at(&self) -> Option<Instant> {
        self.hanging.values().filter(|call| !call.is_said).map(|call| call.since + PATIENCE).min()
    }

    /// Whether a call about no target hangs.
    pub fn is_hanging(&self) -> bool {
        self.hanging.values().any(|call| call.target.is_none())
    }
}

impl TargetManager {
    /// Notes that this call hangs. Returns whether another thread may take over.
    pub(super) fn note_hanging(&mut self, call: u64) -> bool {
        if self.calls.hanging.len() >= MOST || call != self.calls.last {
            return false;
        }
        let (target, at) = (self.calls.target, self.calls.at.get());
        // Everything on a remote file system hangs, but of a local disk perhaps one directory.
        let mounts = Mounts::now();
        let remote = mounts.of(&at).filter(|mount| mount.events == Events::Remote);
        let place = remote.map_or(at, |mount| mount.point.clone());
        self.calls.hanging.insert(call, Hanging { since: Instant::now(), target, place, is_said: false });
        self.metrics.hanging(1);
        self.walk_again(target);
        true
    }

    /// The call has returned.
    pub(super) fn note_returned(&mut self, call: u64) {
        let Some(Hanging { since, target, place, is_said }) = self.calls.hanging.remove(&call) else {
            return;
        };
        self.metrics.hanging(-1);
        if is_said {
            tracing::info!(place = %place.display(), seconds = since.elapsed().as_secs(), "a file system answers again");
        }
        self.walk_again(target);
    }

    /// Reports calls that have been hanging for a while, once each.
    pub(super) fn say_hanging(&mut self, now: Instant) {
        for call in self.calls.hanging.values_mut().filter(|call| !call.is_said && now >= call.since + PATIENCE) {
            call.is_said = true;
            tracing::error!(
                place = %call.place.display(),
                "a system call on a directory does not return: new files there are not found, and everything else goes on; \
                 look at the server or the disk of its file system"
            );
        }
    }

    /// Plans a walk of the target for now, even if it rests. None: only the walk of what is due.
    fn walk_again(&mut self, target: Option<u64>) {
        if let Some(tracked) = target.and_then(|id| self.tracked.get_mut(&id)) {
            tracked.dirty = true;
            tracked.rests_until = None;
        }
        self.walk_by(Instant::now());
    }
}
