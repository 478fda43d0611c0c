//! Tells when something is written to a file that was quiet, so that quiet files need not be polled.
//!
//! A quiet file gets a watch that the kernel removes with the first write. A file that is written all the time has none: it
//! costs its writers nothing, and is polled. A watch is set on the open file itself, not on its name, so a rename does not
//! matter. File systems whose writes may come from elsewhere get no watches.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::Log;
use super::mounts::{Events, Mounts};
use crate::model::AbortOnPanic;

/// All programs of a user share the kernel's limit of watches. At most this part (1/4) of it is taken by all readers.
const SHARE: usize = 4;

/// The kernel's limit, if it cannot be read: its default on small machines.
const LIMIT: usize = 8192;

/// How long the list of mounts is used.
const MOUNTS: Duration = Duration::from_secs(60);

/// After the kernel refused a watch, none is asked for during this time.
const REFUSED: Duration = Duration::from_secs(60);

/// See the [module](self). A clone shares the watches.
#[derive(Clone, Debug)]
pub struct QuietFiles(Option<Arc<Running>>);

/// Ends the thread when the last one is dropped.
#[derive(Debug)]
struct Running {
    watches: Arc<Watches>,
    state: Mutex<State>,
}

struct Watches {
    inotify: OwnedFd,
    /// Ends the thread.
    stop: OwnedFd,
    /// The log of each watch.
    logs: Mutex<HashMap<i32, u64>>,
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    mounts: Option<(Instant, Arc<Mounts>)>,
    refused: Option<Instant>,
}

/// The watch of a file, until something was written to it. It is removed when this is dropped.
#[derive(Debug)]
pub struct Watched {
    watches: Arc<Watches>,
    id: i32,
    /// Device and inode.
    file: (u64, u64),
}

/// Why a file has no watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwatched {
    /// It has more to read, or the log has other files too, or there are too many watches.
    ForNow,
    /// Its writes may not be reported, or another log has its watch.
    Never,
}

impl QuietFiles {
    /// Calls `written` with each log that had a watch and to whose file something was written. The call must not block.
    /// `readers` is the number of readers that have watches of their own.
    pub fn new(readers: usize, written: impl Fn(u64) + Send + 'static) -> Self {
        let watches = || -> std::io::Result<Arc<Watches>> {
            let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
            let watches =
                Arc::new(Watches { inotify, stop, logs: Mutex::default(), most: limit() / SHARE / readers.max(1) });
            let own = watches.clone();
            std::thread::Builder::new().name("quiet_files".into()).spawn(move || {
                let _abort_on_panic = AbortOnPanic;
                own.listen(written);
            })?;
            Ok(watches)
        };
        match watches() {
            Ok(watches) => Self(Some(Arc::new(Running { watches, state: Mutex::default() }))),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "cannot watch quiet files: a line in one is found up to five seconds later \
                     (raise fs.inotify.max_user_instances)"
                );
                Self(None)
            }
        }
    }

    /// Watches nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// Sets a watch on the file of a log that was read to its end. May take as long as a system call on the file.
    pub fn watch(&self, id: u64, log: &Log, now: Instant) -> Result<Watched, Unwatched> {
        let running = self.0.as_ref().ok_or(Unwatched::Never)?;
        let (file, descriptor) = log.quiet_file().ok_or(Unwatched::ForNow)?;
        if !running.may_watch(now) {
            return Err(Unwatched::ForNow);
        }
        // The path of the open file, after all links.
        let open = PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()));
        let path = std::fs::read_link(&open).map_err(|_| Unwatched::Never)?;
        if running.mounts(now).events_of(&path) != Events::All {
            return Err(Unwatched::Never);
        }
        if !log.is_at_end() {
            return Err(Unwatched::ForNow);
        }
        let watches = &running.watches;
        let flags = WatchFlags::MODIFY | WatchFlags::ONESHOT;
        let watch = match inotify::add_watch(&watches.inotify, &open, flags) {
            Ok(watch) => watch,
            Err(error) => {
                running.note_refused(error, now);
                return Err(Unwatched::ForNow);
            }
        };
        match watches.logs().entry(watch) {
            // Another log reads the same file. A watch has one log, so this one is polled.
            Entry::Occupied(_) => return Err(Unwatched::Never),
            Entry::Vacant(place) => place.insert(id),
        };
        let watched = Watched { watches: watches.clone(), id: watch, file };
        // What was written or cut before the watch was there, or before it had a log, shows here.
        if log.is_at_end() { Ok(watched) } else { Err(Unwatched::ForNow) }
    }
}

impl Running {
    fn may_watch(&self, now: Instant) -> bool {
        let refused = self.state().refused.is_some_and(|refused| now < refused + REFUSED);
        !refused && self.watches.logs().len() < self.watches.most
    }

    fn mounts(&self, now: Instant) -> Arc<Mounts> {
        if let Some((read, mounts)) = &self.state().mounts
            && now < *read + MOUNTS
        {
            return mounts.clone();
        }
        let mounts = Arc::new(Mounts::now());
        self.state().mounts = Some((now, mounts.clone()));
        mounts
    }

    fn note_refused(&self, error: Errno, now: Instant) {
        // Any other error concerns one file.
        if matches!(error, Errno::NOSPC | Errno::NOMEM) && self.state().refused.replace(now).is_none() {
            tracing::warn!(
                watched = self.watches.logs().len(),
                "the kernel allows no more watches: a line in a quiet file is found up to five seconds later \
                 (raise fs.inotify.max_user_watches)"
            );
        }
    }

    // No foreign code runs under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The counter of an eventfd takes this unless it is full, and then the thread ends anyway.
        let _ = rustix::io::write(&self.watches.stop, &1u64.to_ne_bytes());
    }
}

impl Watched {
    /// Whether it is the watch of this file: device and inode.
    pub fn is_of(&self, file: (u64, u64)) -> bool {
        self.file == file
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // If something was written, the kernel has removed it.
        if self.watches.logs().remove(&self.id).is_some() {
            let _ = inotify::remove_watch(&self.watches.inotify, self.id);
        }
    }
}

impl Watches {
    fn listen(&self, written: impl Fn(u64)) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            let mut ready = [&self.inotify, &self.stop].map(|fd| PollFd::new(fd, PollFlags::IN));
            match poll(&mut ready, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(error = %std::io::Error::from(error), "cannot wait for writes to quiet files");
                    return;
                }
            }
            if ready[1].revents().contains(PollFlags::IN) {
                return;
            }
            while let Ok(event) = events.next() {
                let logs = match event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                    // Events were lost: each file may have been written to.
                    true => self.logs().drain().map(|(_, log)| log).collect(),
                    // The kernel reports the end of the watch after the write. The log has none then.
                    false => Vec::from_iter(self.logs().remove(&event.wd())),
                };
                logs.into_iter().for_each(&written);
            }
        }
    }

    // No foreign code runs under the lock.
    fn logs(&self) -> MutexGuard<'_, HashMap<i32, u64>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watches({} of {})", self.logs().len(), self.most)
    }
}

/// The most watches of a user.
fn limit() -> usize {
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches");
    limit.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(LIMIT)
}

#[cfg(test)]
mod tests;
