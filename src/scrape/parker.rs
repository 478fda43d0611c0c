//! Wakes a waiting thread: `std`'s thread parking as a [`Waker`](std::task::Waker).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;
use std::thread::Thread;
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Parker {
    rung: AtomicBool,
    /// The thread that waited last. Another one takes over if a system call of it does not return.
    thread: Mutex<Option<Thread>>,
}

impl Parker {
    /// Waits until it is woken or the time is over. A wake-up from before the call counts.
    pub fn wait(&self, at_most: Duration) {
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current());
        if !self.rung.swap(false, Ordering::AcqRel) {
            std::thread::park_timeout(at_most);
            self.rung.swap(false, Ordering::AcqRel);
        }
    }

    /// Whether it was woken since it last waited, for a thread that has no time to wait.
    pub fn take_ring(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }

    pub fn ring(&self) {
        // The one who rang before has woken the thread, or is about to.
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(thread) = &*self.thread.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.unpark();
        }
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}
