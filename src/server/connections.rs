//! Connections with an end: so many at once, and each has a deadline for what it is doing. Who is slow, or does not read,
//! must neither take the descriptors that log files need nor keep a probe or a scrape from being answered.
//!
//! A connection is *greeting* (its TLS handshake has to be done within [`STALLED`]), *idle*, *asking* (a request has to be
//! there) or *answering* (it has to take something within [`STALLED`], and all of it in time); [`Timeouts`] has how long.
//! Where one more than the limit comes, one of the address that has most is closed: the one that has been in its state for
//! longest. So one address that connects without pause closes its own.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};

use super::access::Access;
use super::stream::Stream;

/// Until a TLS handshake is done, and between two moments at which a client takes something of an answer.
const STALLED: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    /// Between two requests, and before the first.
    pub idle: Duration,
    /// From the first byte of a request to the first of its answer.
    pub asking: Duration,
    /// For a whole answer: one byte at a time must not hold a page for ever.
    pub answering: Duration,
}

pub(super) struct Connections {
    listener: TcpListener,
    places: Arc<Mutex<Places>>,
    limit: usize,
    timeouts: Timeouts,
    access: Arc<Access>,
}

/// Who is on the other side of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub IpAddr);

impl Connected<IncomingStream<'_, Connections>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Self {
        // On a listener for both, IPv4 comes as a part of IPv6.
        Self(stream.remote_addr().ip().to_canonical())
    }
}

/// Who is connected, in the order in which they came to what they are doing.
#[derive(Default)]
struct Places {
    next: u64,
    taken: BTreeMap<u64, Taken>,
}

struct Taken {
    peer: IpAddr,
    /// Dropped, it closes the connection.
    _close: oneshot::Sender<()>,
}

impl Places {
    fn take(&mut self, taken: Taken) -> u64 {
        self.next += 1;
        self.taken.insert(self.next, taken);
        self.next
    }

    /// Closes what is in the way of one more connection, which `peer` makes.
    fn make_room(&mut self, limit: usize, peer: IpAddr) {
        while self.taken.len() >= limit {
            let mut counts = BTreeMap::from([(peer, 1)]);
            for taken in self.taken.values() {
                *counts.entry(taken.peer).or_insert(0) += 1;
            }
            let most = counts.values().max().copied().unwrap_or(0);
            let of_most = self.taken.iter().find(|(_, taken)| counts.get(&taken.peer) == Some(&most));
            let Some(place) = of_most.map(|(place, _)| *place) else { return };
            self.taken.remove(&place);
        }
    }
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connections {
    /// At most `limit` at once; for one more, the oldest is closed.
    pub(super) fn new(listener: TcpListener, limit: usize, timeouts: Timeouts, access: Arc<Access>) -> Self {
        Self { listener, places: Arc::default(), limit, timeouts, access }
    }
}

impl Listener for Connections {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        // Axum's own accept, which sleeps over errors such as a lack of descriptors.
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        // Within TLS an answer is more than one write, and would wait for the client to acknowledge the first (40 ms).
        let _ = stream.set_nodelay(true);
        let (close, closed) = oneshot::channel();
        let mut places = lock(&self.places);
        let from = peer.ip().to_canonical();
        places.make_room(self.limit.max(1), from);
        let place = places.take(Taken { peer: from, _close: close });
        drop(places);
        let door = self.access.now();
        let (doing, until) = match &door.tls {
            Some(_) => (Doing::Greeting, STALLED),
            None => (Doing::Idle, self.timeouts.idle),
        };
        let (timeouts, places) = (self.timeouts, self.places.clone());
        let connection =
            Connection { stream, timeouts, doing, deadline: Box::pin(sleep(until)), places, place, closed };
        (Stream::new(connection, door.tls.clone()), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[derive(Clone, Copy)]
enum Doing {
    Greeting,
    Idle,
    Asking,
    /// Until when at most.
    Answering(Instant),
}

pub(super) struct Connection {
    stream: TcpStream,
    timeouts: Timeouts,
    doing: Doing,
    deadline: Pin<Box<Sleep>>,
    places: Arc<Mutex<Places>>,
    place: u64,
    closed: oneshot::Receiver<()>,
}

impl Connection {
    /// Goes to the end of the queue of those who would have to make room.
    fn begin(&mut self, doing: Doing, deadline: Instant) {
        self.doing = doing;
        self.deadline.as_mut().reset(deadline);
        let mut places = lock(&self.places);
        if let Some(taken) = places.taken.remove(&self.place) {
            self.place = places.take(taken);
        }
    }

    /// The TLS handshake is done.
    pub(super) fn has_greeted(&mut self) {
        self.begin(Doing::Idle, Instant::now() + self.timeouts.idle);
    }

    fn has_read(&mut self) {
        if matches!(self.doing, Doing::Idle) {
            self.begin(Doing::Asking, Instant::now() + self.timeouts.asking);
        }
    }

    fn has_written(&mut self) {
        let now = Instant::now();
        match self.doing {
            Doing::Greeting => {}
            Doing::Answering(end) => self.deadline.as_mut().reset(end.min(now + STALLED)),
            Doing::Idle | Doing::Asking => {
                let end = now + self.timeouts.answering;
                self.begin(Doing::Answering(end), end.min(now + STALLED));
            }
        }
    }

    fn has_flushed(&mut self) {
        if matches!(self.doing, Doing::Answering(_)) {
            self.begin(Doing::Idle, Instant::now() + self.timeouts.idle);
        }
    }

    /// An error if the time is over or the place is another's.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Err(ErrorKind::TimedOut.into());
        }
        match Pin::new(&mut self.closed).poll(cx) {
            Poll::Ready(_) => Err(ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        lock(&self.places).taken.remove(&self.place);
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let said = Pin::new(&mut self.stream).poll_read(cx, buf);
        if said.is_ready() {
            self.has_read();
        }
        said
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    /// Without it a page that is shared would be copied for each who asks.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let taken = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if taken.is_ready() {
            self.has_written();
            // A deadline that was moved wakes whoever waits for it only if it is asked again.
            self.check(cx)?;
        }
        taken
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.has_flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_by_the_address_that_has_most() {
        for (limit, came, left) in [
            (4, vec![1, 2, 2, 2, 2, 2], vec![1, 2, 2, 2]),
            (4, vec![1, 1, 2, 2, 1], vec![1, 2, 2, 1]),
            (4, vec![1, 1, 2, 2, 3], vec![1, 2, 2, 3]),
            (3, vec![1, 2, 3, 4], vec![2, 3, 4]),
            (3, vec![1, 1, 1, 1], vec![1, 1, 1]),
            (1, vec![1, 2], vec![2]),
            // Each guest of its own, and one more that has two.
            (3, vec![1, 2, 3, 2], vec![1, 3, 2]),
        ] {
            let (mut places, address) = (Places::default(), |n: u8| IpAddr::from([10, 0, 0, n]));
            for n in &came {
                places.make_room(limit, address(*n));
                places.take(Taken { peer: address(*n), _close: oneshot::channel().0 });
            }
            let now: Vec<IpAddr> = places.taken.values().map(|taken| taken.peer).collect();
            assert_eq!(now, left.into_iter().map(address).collect::<Vec<_>>(), "{came:?}");
        }
    }
}
