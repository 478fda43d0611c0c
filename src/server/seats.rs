//! Places for the connections of a receiver that is no HTTP server: at most so many at once. If one more comes, a
//! connection of the address that has the most is closed, as with the pages.

use std::net::IpAddr;

use tokio::sync::oneshot;

use super::connection::Places;

#[derive(Clone)]
pub struct Seats {
    places: Places,
    limit: usize,
}

/// The place of one connection, until it is dropped.
pub struct Seat {
    places: Places,
    place: u64,
    closed: oneshot::Receiver<()>,
}

impl Seats {
    pub fn new(limit: usize) -> Self {
        Self { places: Places::default(), limit: limit.max(1) }
    }

    pub fn take(&self, peer: IpAddr) -> Seat {
        let (place, closed) = self.places.take(self.limit, peer);
        Seat { places: self.places.clone(), place, closed }
    }
}

impl Seat {
    /// Resolves when the place is given to another connection. Cancel safe.
    pub async fn is_taken(&mut self) {
        let _ = (&mut self.closed).await;
    }

    /// Goes to the end of the queue of those that would have to make room.
    pub fn renew(&mut self) {
        self.place = self.places.renew(self.place);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.places.leave(self.place);
    }
}
