//! The listener of the HTTP server: accepts connections, at most a given number at once.
//!
//! If one more comes, a connection of the address that has the most is closed: the one that has been in its state for the
//! longest time. So an address that connects without pause closes its own connections.

use std::net::IpAddr;
use std::sync::Arc;

use axum::serve::Listener;
use tokio::net::TcpListener;

use super::access::Access;
use super::connection::{Connection, Places, Timeouts};
use super::stream::Stream;

pub(super) struct Connections {
    listener: TcpListener,
    places: Places,
    limit: usize,
    timeouts: Timeouts,
    access: Arc<Access>,
}

/// The address of the client of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

impl Connections {
    /// Accepts at most `limit` connections. For one more, an open one is closed.
    pub(super) fn new(listener: TcpListener, limit: usize, timeouts: Timeouts, access: Arc<Access>) -> Self {
        Self { listener, places: Places::default(), limit, timeouts, access }
    }

    /// The next connection, and the address of its client.
    pub(super) async fn accept(&mut self) -> (Stream, Peer) {
        // Axum's accept, which waits after errors such as a lack of descriptors.
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        // With TLS an answer is several writes. Without this option, the second write would wait for the client's
        // acknowledgement (40 ms).
        let _ = stream.set_nodelay(true);
        let door = self.access.now();
        // A listener for both protocols gives IPv4 addresses as mapped IPv6 addresses.
        let from = peer.ip().to_canonical();
        let connection =
            Connection::new(stream, from, &self.places, self.limit.max(1), self.timeouts, door.tls.is_some());
        (Stream::new(connection, door.tls.clone()), Peer(from))
    }
}
