//! Waits for room in inboxes from a task.

use std::time::Duration;

use tokio::time::timeout;

use super::{Intake, Parcel, Taken, Ticket};

impl Intake {
    /// Takes the records for all clients as soon as all have room. Returns the parcel, and takes it for none, if a
    /// client no longer reads. Cancel safe: if the future is dropped, no client gets the parcel.
    pub async fn put(&self, mut parcel: Parcel) -> Result<Ticket, Parcel> {
        loop {
            let changed = self.room.notify.notified();
            let mut changed = std::pin::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            match self.offer(parcel) {
                Ok(ticket) => return Ok(ticket),
                Err(back) if self.inboxes.iter().any(|inbox| inbox.lock().is_left) => return Err(back),
                Err(back) => parcel = back,
            }
            changed.await;
        }
    }

    /// Waits until a client has room for the parcel, and then until all have room, for at most `patience`. Then gives
    /// it to those that have room. Returns the parcel if no client reads any more.
    pub async fn put_to_some(&self, parcel: Parcel, patience: Duration) -> Result<Taken, Parcel> {
        self.wait_until(|| self.with_room_for(&parcel) > 0 || self.is_left()).await;
        if self.with_room_for(&parcel) < self.clients() {
            let all = self.wait_until(|| self.with_room_for(&parcel) == self.clients() || self.is_left());
            let _ = timeout(patience, all).await;
        }
        if self.is_left() {
            return Err(parcel);
        }
        Ok(self.offer_to_some(parcel))
    }

    async fn wait_until(&self, enough: impl Fn() -> bool) {
        loop {
            let changed = self.room.notify.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if enough() {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;

    use super::*;
    use crate::model::{Mark, Source};
    use crate::scrape::inbox::ROOM;
    use crate::scrape::parker::Parker;

    fn parcel(bytes: usize) -> Parcel {
        let mut parcel = Parcel::default();
        parcel.push(&"x".repeat(bytes), None, None);
        parcel
    }

    #[tokio::test(start_paused = true)]
    async fn a_parcel_waits_for_the_slowest_client_or_for_the_fastest() {
        let (intake, mut inboxes) = Intake::new([Arc::new(Parker::default()), Arc::new(Parker::default())]);
        let end = Mark(ROOM as u64 + 1);
        intake.offer(parcel(ROOM)).expect("both are empty");
        let mut all = std::pin::pin!(intake.put(parcel(1)));
        assert!(all.as_mut().now_or_never().is_none());
        inboxes[0].committed(end);
        assert!(all.as_mut().now_or_never().is_none(), "the second has no room");
        let some = intake.put_to_some(parcel(2), Duration::from_secs(5)).await.expect("the first reads");
        assert_eq!(some, Taken { by: 1, missed: 1 });
        inboxes[1].committed(end);
        assert!(matches!(all.as_mut().now_or_never(), Some(Ok(_))), "both have room");
    }

    #[tokio::test]
    async fn a_parcel_comes_back_when_nobody_reads() {
        let (intake, inboxes) = Intake::new([Arc::new(Parker::default())]);
        intake.offer(parcel(ROOM)).expect("it is empty");
        let mut waits = std::pin::pin!(intake.put(parcel(1)));
        let mut fast = std::pin::pin!(intake.put_to_some(parcel(1), Duration::ZERO));
        assert!(waits.as_mut().now_or_never().is_none() && fast.as_mut().now_or_never().is_none());
        drop(inboxes);
        assert_eq!(waits.await.map(drop), Err(parcel(1)));
        assert_eq!(fast.await, Err(parcel(1)));
    }
}
