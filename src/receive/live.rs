//! The parts of a running receiver that a reload replaces: the intake, the labels and the rules.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::labels::Labeller;
use crate::relabel::Reads;
use crate::scrape::{Intake, Parcel, Taken, Ticket};

#[derive(Debug)]
pub(super) struct Live {
    pub intake: Arc<Intake>,
    pub labeller: Mutex<Labeller>,
    /// The labels that the rules read.
    pub reads: Reads,
}

impl Live {
    pub fn labeller(&self) -> MutexGuard<'_, Labeller> {
        self.labeller.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Always the one in use.
#[derive(Clone, Debug)]
pub(super) struct Current(pub watch::Receiver<Arc<Live>>);

/// The receiver is being closed, or the agent stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

impl Current {
    pub fn now(&self) -> Arc<Live> {
        self.0.borrow().clone()
    }

    /// Hands a parcel to all clients as soon as all have room. It waits while the config is being reloaded.
    pub async fn put(&mut self, mut parcel: Parcel) -> Result<Ticket, Closed> {
        loop {
            let live = self.0.borrow_and_update().clone();
            match live.intake.put(parcel).await {
                Ok(ticket) => return Ok(ticket),
                Err(back) => parcel = back,
            }
            // The next run has another intake.
            self.0.changed().await.map_err(|_| Closed)?;
        }
    }

    /// Hands a parcel to the clients that have room, and waits for others at most for `patience`.
    pub async fn put_to_some(&mut self, mut parcel: Parcel, patience: Duration) -> Result<Taken, Closed> {
        loop {
            let live = self.0.borrow_and_update().clone();
            match live.intake.put_to_some(parcel, patience).await {
                Ok(taken) => return Ok(taken),
                Err(back) => parcel = back,
            }
            self.0.changed().await.map_err(|_| Closed)?;
        }
    }
}
