//! State that one thread works on, and that another thread takes over when a system call does not return.
//!
//! A system call on a file of a network file system whose server is gone, or of a dying disk, may take minutes, and it has
//! no timeout. A thread releases its state for the time of each such call ([`Held::blocking`]). If a call has not
//! returned after a moment, the watchdog starts another thread, which goes on with the state. The first thread continues
//! with its own call when that returns, gives its log back, and ends. Go's scheduler does the same for
//! goroutines in system calls. A call that returns in time costs one unlock and one lock that nobody else wants.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::model::AbortOnPanic;

/// The work of a supervised thread.
pub(super) trait Duty: Send + Sized + 'static {
    type Outcome: Send;

    /// The name of its threads.
    const NAME: &'static str;

    /// Works until everything is done. None: another thread has taken over.
    fn work(held: &mut Held<'_, Self>) -> Option<Self::Outcome>;

    /// A call about `subject` has not returned for a moment. Returns whether another thread may take over. If so,
    /// nothing that the call works on may be used until [`returned`](Self::returned).
    fn hangs(&mut self, subject: u64) -> bool;

    /// A call that hung has returned.
    fn returned(&mut self, subject: u64);

    /// Ends the current thread's wait: there is something to do.
    fn wake(&self);
}

/// See the [module](self).
pub(super) struct Supervised<T: Duty> {
    shared: Mutex<Shared<T>>,
    /// Counts blocking calls, waits, and what a long call reports. If it stands still, so does the thread.
    steps: Arc<AtomicU64>,
    outcome: Sender<T::Outcome>,
    /// Called when the outcome is there.
    is_over: Box<dyn Fn() + Send + Sync>,
}

struct Shared<T> {
    state: T,
    /// The current thread's number. Threads with other numbers were replaced.
    thread: u64,
    doing: Doing,
    /// The work is done.
    is_over: bool,
}

/// The activity of the current thread while it has released the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Work,
    /// It waits for something to do.
    Wait,
    /// It is in a blocking call about this subject.
    Call(u64),
}

impl<T: Duty> Supervised<T> {
    /// `is_over` is called when the outcome can be received.
    pub fn new(state: T, is_over: impl Fn() + Send + Sync + 'static) -> (Arc<Self>, Receiver<T::Outcome>) {
        let (outcome, outcomes) = channel();
        let shared = Mutex::new(Shared { state, thread: 0, doing: Doing::Wait, is_over: false });
        (Arc::new(Self { shared, steps: Arc::default(), outcome, is_over: Box::new(is_over) }), outcomes)
    }

    /// Starts the first thread.
    pub fn start(self: &Arc<Self>) -> std::io::Result<()> {
        self.start_thread(0)
    }

    /// Takes the state as its current thread. Waits while another thread works on it.
    #[cfg(test)]
    pub fn hold(&self) -> Held<'_, T> {
        let thread = self.lock().thread;
        self.hold_as(thread)
    }

    /// Replaces the current thread, which is in a call about this subject, by the one that holds the state next. Returns
    /// whether that is allowed.
    #[cfg(test)]
    pub fn replace(&self, subject: u64) -> bool {
        let mut shared = self.lock();
        let is_allowed = shared.state.hangs(subject);
        if is_allowed {
            shared.thread += 1;
            shared.doing = Doing::Wait;
        }
        is_allowed
    }

    fn hold_as(&self, thread: u64) -> Held<'_, T> {
        let mut shared = self.lock();
        if shared.thread == thread {
            shared.doing = Doing::Work;
        }
        Held { of: self, shared: Some(shared), thread }
    }

    fn lock(&self) -> MutexGuard<'_, Shared<T>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_thread(self: &Arc<Self>, thread: u64) -> std::io::Result<()> {
        let own = self.clone();
        let builder = std::thread::Builder::new().name(T::NAME.into());
        builder.spawn(move || {
            let _abort_on_panic = AbortOnPanic;
            let mut held = own.hold_as(thread);
            if let Some(outcome) = T::work(&mut held) {
                held.shared_mut().is_over = true;
                drop(held);
                // Nobody waits for it if the scrape was dropped.
                let _ = own.outcome.send(outcome);
                (own.is_over)();
            }
        })?;
        Ok(())
    }
}

/// What a test does before a blocking call, which is about this subject.
#[cfg(test)]
type BeforeCall = Box<dyn FnMut(u64)>;

#[cfg(test)]
thread_local! {
    /// It is done before each blocking call of this thread.
    pub(super) static BEFORE_CALLS: std::cell::RefCell<Option<BeforeCall>> = const { std::cell::RefCell::new(None) };
}

/// The state, while a thread works on it.
pub(super) struct Held<'s, T: Duty> {
    of: &'s Supervised<T>,
    /// None: only within a call.
    shared: Option<MutexGuard<'s, Shared<T>>>,
    thread: u64,
}

impl<T: Duty> Held<'_, T> {
    /// Runs a system call that may not return for a long time, without the state. Another thread may have changed the
    /// state afterwards: if so, [`is_current`](Self::is_current) is false.
    pub fn blocking<R>(&mut self, subject: u64, call: impl FnOnce() -> R) -> R {
        let was_current = self.is_current();
        let result = self.without_state(Doing::Call(subject), call);
        if was_current && !self.is_current() {
            self.returned(subject);
            self.deref().wake();
        }
        result
    }

    /// Waits for something to do. Meanwhile threads that were replaced may finish their calls.
    pub fn wait<R>(&mut self, wait: impl FnOnce() -> R) -> R {
        self.without_state(Doing::Wait, wait)
    }

    /// Whether no other thread has taken over. A thread that was replaced finishes its call and ends.
    pub fn is_current(&self) -> bool {
        self.shared().thread == self.thread
    }

    /// A call of many system calls adds to this before each of them, so that only one that hangs is taken for hanging.
    pub fn steps(&self) -> Arc<AtomicU64> {
        self.of.steps.clone()
    }

    /// Whether another thread has finished the work.
    pub fn is_over(&self) -> bool {
        self.shared().is_over
    }

    fn without_state<R>(&mut self, doing: Doing, call: impl FnOnce() -> R) -> R {
        if self.is_current() {
            self.of.steps.fetch_add(1, Ordering::Relaxed);
            self.shared_mut().doing = doing;
        }
        self.shared = None;
        #[cfg(test)]
        if let Doing::Call(subject) = doing {
            BEFORE_CALLS.with_borrow_mut(|before| before.iter_mut().for_each(|before| before(subject)));
        }
        let result = call();
        self.shared = Some(self.of.lock());
        if self.is_current() {
            self.shared_mut().doing = Doing::Work;
        }
        result
    }

    fn shared(&self) -> &Shared<T> {
        self.shared.as_ref().expect("it is held outside of calls")
    }

    fn shared_mut(&mut self) -> &mut Shared<T> {
        self.shared.as_mut().expect("it is held outside of calls")
    }
}

impl<T: Duty> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.shared().state
    }
}

impl<T: Duty> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.shared_mut().state
    }
}

/// The last state in which the watchdog saw a supervised thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    steps: u64,
    /// Since when it has been at that step.
    since: Instant,
}

impl Seen {
    pub fn new(now: Instant) -> Self {
        Self { steps: u64::MAX, since: now }
    }
}

/// How a supervised thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Over,
    Well,
    /// It has stood still for this long.
    Still(Duration),
}

/// Supervised work of any kind, for the watchdog.
pub(super) trait Watched: Send + Sync {
    /// Replaces the current thread if its call has not returned since the last check.
    fn check(self: Arc<Self>, seen: &mut Seen, now: Instant) -> Found;
}

impl<T: Duty> Watched for Supervised<T> {
    fn check(self: Arc<Self>, seen: &mut Seen, now: Instant) -> Found {
        let steps = self.steps.load(Ordering::Relaxed);
        let has_moved = std::mem::replace(&mut seen.steps, steps) != steps;
        if has_moved {
            seen.since = now;
        }
        let still = Found::Still(now.saturating_duration_since(seen.since));
        let mut shared = match self.shared.try_lock() {
            Ok(shared) => shared,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return still,
        };
        if shared.is_over {
            return Found::Over;
        }
        let Doing::Call(subject) = shared.doing else {
            seen.since = now;
            return Found::Well;
        };
        // It may have taken another step since.
        if has_moved || self.steps.load(Ordering::Relaxed) != steps {
            return Found::Well;
        }
        if !shared.state.hangs(subject) {
            return still;
        }
        shared.thread += 1;
        shared.doing = Doing::Wait;
        // The new thread waits for the state until this check is over.
        if let Err(error) = self.start_thread(shared.thread) {
            tracing::error!(%error, name = T::NAME, "cannot start a thread in place of one whose system call does not return");
            shared.thread -= 1;
            shared.doing = Doing::Call(subject);
            shared.state.returned(subject);
            return still;
        }
        seen.since = now;
        Found::Well
    }
}

#[cfg(test)]
mod tests;
