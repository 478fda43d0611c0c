//! Syslog over TCP and TLS. While a client has no room, nothing is read from a connection, so its sender waits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::PATIENCE;
use super::frames::Frames;
use super::records::{Records, Shared};
use crate::model::AbortOnPanic;
use crate::receive::live::Current;
use crate::receive::metrics::Open;
use crate::server::{Port, Seat, Seats};

/// Bytes per read, for a connection with few messages and for one with many.
const SMALL: usize = 2 << 10;
const READ: usize = 16 << 10;
const LARGE: usize = 64 << 10;

/// Bytes that the reads of all connections share. If there are few, each read is [`LARGE`].
const READS: usize = 4 << 20;

/// The longest time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves until `shutdown`. Then all records that were read are handed in, and all connections are closed.
pub(in crate::receive) async fn serve(
    shared: Shared,
    (port, mut listener): (Port, TcpListener),
    current: Current,
    shutdown: impl Future<Output = ()>,
) {
    let seats = Seats::new(shared.config.max_connections);
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    // A connection that had to make room may still wait to hand in what it has read. While there are many of these, others
    // wait to be accepted.
    let most = shared.config.max_connections + shared.config.max_connections / 4 + 16;
    loop {
        if connections.len() >= most {
            tokio::select! {
                () = &mut shutdown => break,
                _ = connections.join_next() => continue,
            }
        }
        let (stream, peer): (TcpStream, SocketAddr) = tokio::select! {
            () = &mut shutdown => break,
            accepted = Listener::accept(&mut listener) => accepted,
            // Removes the connections that have ended.
            Some(_) = connections.join_next() => continue,
        };
        let seat = seats.take(peer.ip().to_canonical());
        let connection = Connection { shared: shared.clone(), current: current.clone(), peer, seat };
        let (tls, stopped) = (port.tls(), stopped.clone());
        connections.spawn(async {
            let _abort_on_panic = AbortOnPanic;
            connection.run(stream, tls, stopped).await;
        });
    }
    drop(stop);
    while connections.join_next().await.is_some() {}
}

struct Connection {
    shared: Shared,
    current: Current,
    peer: SocketAddr,
    seat: Seat,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>, stopped: watch::Receiver<()>) {
        let metrics = self.shared.metrics.syslog.clone();
        let open = metrics.connection(&self.shared.job);
        match tls {
            None => self.read(stream, stopped, &open).await,
            Some(config) => {
                let mut seat = self.seat;
                let greeted = tokio::select! {
                    greeted = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)) => greeted,
                    () = seat.is_taken() => return,
                };
                match greeted {
                    Ok(Ok(stream)) => Self { seat, ..self }.read(stream, stopped, &open).await,
                    // Any client can cause this, so it is counted and not logged.
                    Ok(Err(_)) | Err(_) => metrics.handshake_error(&self.shared.job),
                }
            }
        }
    }

    async fn read(mut self, mut stream: impl AsyncRead + Unpin, mut stopped: watch::Receiver<()>, open: &Open) {
        let config = self.shared.config.clone();
        let mut frames = Frames::new(config.max_message_length);
        let mut size = SMALL;
        let mut records = Records::new(self.shared.clone(), self.peer.ip().to_canonical().to_string(), &self.current);
        loop {
            let buffer = frames.buffer(size);
            let read = tokio::select! {
                read = timeout(config.idle_timeout.0, stream.read_buf(buffer)) => read,
                () = self.seat.is_taken() => break,
                // The sender has closed the connection.
                _ = stopped.changed() => break,
            };
            let (is_open, bytes) = match read {
                Ok(Ok(bytes)) if bytes > 0 => (true, bytes),
                _ => (false, 0),
            };
            size = if bytes < size { SMALL } else { (READS / open.all().max(1)).clamp(READ, LARGE) };
            records.came_now();
            let goes_on = records.add(&mut frames, !is_open) && is_open;
            if !self.hand_in(&mut records).await || !goes_on {
                return;
            }
            if frames.held() == 0 {
                // A quiet connection holds no memory for later messages.
                frames.shrink();
            }
            self.seat.renew();
        }
        records.add(&mut frames, true);
        self.hand_in(&mut records).await;
    }

    /// False: no intake takes records any more.
    async fn hand_in(&mut self, records: &mut Records) -> bool {
        let Some(parcel) = records.take(&self.current) else { return true };
        let (bytes, lines) = (parcel.bytes() as u64, parcel.len());
        match self.current.put_to_some(parcel, PATIENCE, std::future::pending()).await {
            Ok(taken) => {
                self.shared.metrics.lines(&self.shared.job, lines);
                self.shared.metrics.missed(&self.shared.job, taken.missed, bytes);
                true
            }
            Err(_) => {
                self.shared.metrics.missed(&self.shared.job, 1, bytes);
                false
            }
        }
    }
}
