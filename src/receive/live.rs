//! The parts of a running receiver that a reload replaces: the queue of its records, the labels and the rules.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::labels::Labeller;
use super::spooling::{Appender, TooLarge};
use crate::relabel::Reads;
use crate::scrape::{Intake, Parcel, Taken, Ticket};
use crate::spool::Transaction;

/// How long to wait before the next try to write to a disk that failed.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Live {
    pub queue: Queue,
    pub labeller: Mutex<Labeller>,
    /// The labels that the rules read.
    pub reads: Reads,
}

/// Where received records wait for the clients.
#[derive(Clone, Debug)]
pub(super) enum Queue {
    Memory(Arc<Intake>),
    Disk(Arc<Appender>),
}

impl Live {
    pub fn labeller(&self) -> MutexGuard<'_, Labeller> {
        self.labeller.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The spool of the job, if it has one.
    pub fn spool(&self) -> Option<&Arc<Appender>> {
        match &self.queue {
            Queue::Memory(_) => None,
            Queue::Disk(appender) => Some(appender),
        }
    }
}

/// Always the one in use.
#[derive(Clone, Debug)]
pub(super) struct Current(pub watch::Receiver<Arc<Live>>);

/// The receiver is being closed, or the agent stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

/// Nothing was lost.
const ALL: Taken = Taken { by: 1, missed: 0 };

impl Current {
    pub fn now(&self) -> Arc<Live> {
        self.0.borrow().clone()
    }

    /// Hands a parcel to all clients as soon as all have room. It waits while the config is being reloaded.
    pub async fn put(&mut self, mut parcel: Parcel) -> Result<Ticket, Closed> {
        loop {
            let live = self.0.borrow_and_update().clone();
            if let Queue::Memory(intake) = &live.queue {
                match intake.put(parcel).await {
                    Ok(ticket) => return Ok(ticket),
                    Err(back) => parcel = back,
                }
            }
            // The next run has another intake.
            self.0.changed().await.map_err(|_| Closed)?;
        }
    }

    /// Hands a parcel to the clients that have room, and waits for others at most for `patience`. With a spool, it
    /// resolves once the parcel is on disk. What `give_up` ends is the wait for room: what has room at once is taken, and what is
    /// being written is awaited.
    pub async fn put_to_some(
        &mut self,
        mut parcel: Parcel,
        patience: Duration,
        mut give_up: impl Future<Output = ()> + Unpin,
    ) -> Result<Taken, Closed> {
        loop {
            let live = self.0.borrow_and_update().clone();
            match &live.queue {
                Queue::Memory(intake) => {
                    let put = tokio::select! {
                        biased;
                        put = intake.put_to_some(parcel, patience) => put,
                        () = &mut give_up => return Err(Closed),
                    };
                    match put {
                        Ok(taken) => return Ok(taken),
                        Err(back) => parcel = back,
                    }
                }
                Queue::Disk(appender) => {
                    let transaction = Transaction::new(None, [(parcel.text(), parcel.records())]);
                    let room = tokio::select! {
                        biased;
                        room = appender.room(&transaction) => Some(room),
                        changed = self.0.changed() => changed.map(|()| None).map_err(|_| Closed)?,
                        () = &mut give_up => return Err(Closed),
                    };
                    let room = match room {
                        None => continue,
                        // A parcel of syslog is never as large as half of a spool.
                        Some(Err(TooLarge)) => return Ok(Taken { by: 0, missed: 1 }),
                        Some(Ok(room)) => room,
                    };
                    if appender.append(transaction, room).await.is_ok() {
                        return Ok(ALL);
                    }
                    tokio::select! {
                        changed = timeout(RETRY, self.0.changed()) => match changed {
                            Ok(Err(_)) => return Err(Closed),
                            Ok(Ok(())) | Err(_) => continue,
                        },
                        () = &mut give_up => return Err(Closed),
                    }
                }
            }
            tokio::select! {
                biased;
                changed = self.0.changed() => changed.map_err(|_| Closed)?,
                () = &mut give_up => return Err(Closed),
            }
        }
    }
}
