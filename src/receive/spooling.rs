//! Appends records to the spool of a job. Those that come while the disk is synced are appended together, so that one
//! sync is enough for all of them.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::oneshot;

use crate::model::AbortOnPanic;
use crate::spool::{Full, Spool, Transaction};

#[derive(Debug)]
pub(super) struct Appender {
    job: Arc<str>,
    spool: Arc<Spool>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<(Transaction, oneshot::Sender<bool>)>,
    is_writing: bool,
    /// The last write failed, and this was logged.
    is_failing: bool,
}

/// Room in the spool. It is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Room {
    spool: Arc<Spool>,
    bytes: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.spool.give_back(self.bytes);
    }
}

/// The transaction is larger than half of the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// The disk does not take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed;

impl Appender {
    pub fn new(job: Arc<str>, spool: Arc<Spool>) -> Self {
        Self { job, spool, queue: Mutex::default() }
    }

    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Waits until there is room for the transaction.
    pub async fn room(&self, transaction: &Transaction) -> Result<Room, TooLarge> {
        let bytes = transaction.size();
        let waiter = self.spool.waiter();
        let reserved = poll_fn(|context| match waiter.reserve(bytes, context.waker()) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(Full::Ever) => Poll::Ready(Err(TooLarge)),
            Err(Full::Now) => Poll::Pending,
        });
        reserved.await.map(|()| Room { spool: self.spool.clone(), bytes })
    }

    /// Resolves once the transaction is synced to the disk. Once this was polled, the transaction is written even if
    /// the future is dropped.
    pub async fn append(self: &Arc<Self>, transaction: Transaction, mut room: Room) -> Result<(), Failed> {
        // The spool gives it back.
        room.bytes = 0;
        let (done, written) = oneshot::channel();
        let is_idle = {
            let mut queue = self.lock();
            queue.waiting.push((transaction, done));
            !std::mem::replace(&mut queue.is_writing, true)
        };
        if is_idle {
            let appender = self.clone();
            tokio::task::spawn_blocking(move || {
                let _abort_on_panic = AbortOnPanic;
                appender.write();
            });
        }
        match written.await {
            Ok(true) => Ok(()),
            _ => Err(Failed),
        }
    }

    /// Writes until nothing waits any more.
    fn write(&self) {
        loop {
            let waiting = {
                let mut queue = self.lock();
                queue.is_writing = !queue.waiting.is_empty();
                std::mem::take(&mut queue.waiting)
            };
            if waiting.is_empty() {
                return;
            }
            let (transactions, senders): (Vec<Transaction>, Vec<_>) = waiting.into_iter().unzip();
            let written = self.spool.append(&transactions);
            let was_failing = std::mem::replace(&mut self.lock().is_failing, written.is_err());
            let (job, spool) = (&*self.job, self.spool.path().display());
            match &written {
                Err(error) if !was_failing => tracing::error!(
                    job,
                    %spool,
                    %error,
                    "cannot write to the spool: nothing is received until this works again; see whether the disk is full or damaged"
                ),
                Ok(()) if was_failing => tracing::info!(job, %spool, "the spool can be written again"),
                _ => {}
            }
            for sender in senders {
                // The sender may have gone.
                let _ = sender.send(written.is_ok());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
