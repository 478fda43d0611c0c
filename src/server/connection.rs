//! A connection with a deadline for its current state. A client that is slow or does not read must not use up the
//! descriptors that log files need, and must not delay probes and scrapes.
//!
//! A connection is *greeting* (the TLS handshake must finish within [`STALLED`]), *idle*, *asking* (the client must
//! send the whole request) or *answering* (the client must read some bytes within [`STALLED`], and the whole answer in
//! time). [`Timeouts`] has the deadlines.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};

/// The timeout of a TLS handshake, and between two reads of an answer by the client.
const STALLED: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    /// Between two requests, and before the first one.
    pub idle: Duration,
    /// From the first byte of a request to the first byte of its answer.
    pub asking: Duration,
    /// For the whole answer: a client that reads one byte at a time must not hold a page forever.
    pub answering: Duration,
}

#[derive(Clone, Copy)]
enum Doing {
    Greeting,
    Idle,
    Asking,
    /// With the deadline for the whole answer.
    Answering(Instant),
}

/// The open connections. Clones share the same list.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<Open>>);

impl Places {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place. It is somebody else's when the receiver resolves.
    pub(super) fn take(&self, limit: usize, peer: IpAddr) -> (u64, oneshot::Receiver<()>) {
        let (close, closed) = oneshot::channel();
        let mut places = self.lock();
        places.make_room(limit, peer);
        (places.take(Taken { peer, _close: close }), closed)
    }

    /// The same place behind all others.
    pub(super) fn renew(&self, place: u64) -> u64 {
        let mut places = self.lock();
        match places.taken.remove(&place) {
            Some(taken) => places.take(taken),
            None => place,
        }
    }

    pub(super) fn leave(&self, place: u64) {
        self.lock().taken.remove(&place);
    }
}

/// The open connections, sorted by the time at which they entered their state.
#[derive(Default)]
struct Open {
    next: u64,
    taken: BTreeMap<u64, Taken>,
}

struct Taken {
    peer: IpAddr,
    /// Dropping it closes the connection.
    _close: oneshot::Sender<()>,
}

impl Open {
    fn take(&mut self, taken: Taken) -> u64 {
        self.next += 1;
        self.taken.insert(self.next, taken);
        self.next
    }

    /// Closes connections to make room for one more connection from `peer`.
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

pub(super) struct Connection {
    stream: TcpStream,
    timeouts: Timeouts,
    doing: Doing,
    deadline: Pin<Box<Sleep>>,
    places: Places,
    place: u64,
    closed: oneshot::Receiver<()>,
}

impl Connection {
    /// Takes a place for the connection. If `limit` places are taken, another connection is closed first.
    pub(super) fn new(
        stream: TcpStream,
        peer: IpAddr,
        places: &Places,
        limit: usize,
        timeouts: Timeouts,
        is_tls: bool,
    ) -> Self {
        let (place, closed) = places.take(limit, peer);
        let (doing, until) = if is_tls { (Doing::Greeting, STALLED) } else { (Doing::Idle, timeouts.idle) };
        Self { stream, timeouts, doing, deadline: Box::pin(sleep(until)), places: places.clone(), place, closed }
    }

    /// Enters a new state, and moves to the end of the list of connections to close.
    fn begin(&mut self, doing: Doing, deadline: Instant) {
        self.doing = doing;
        self.deadline.as_mut().reset(deadline);
        self.place = self.places.renew(self.place);
    }

    /// Called when the TLS handshake is done.
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

    /// Returns an error if the deadline has passed or the connection must make room.
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
        self.places.leave(self.place);
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

    /// Without this function, a shared page would be copied for each client.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let taken = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if taken.is_ready() {
            self.has_written();
            // A moved deadline wakes its task only if it is polled again.
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
            // Three clients, and one of them connects twice.
            (3, vec![1, 2, 3, 2], vec![1, 3, 2]),
        ] {
            let (mut places, address) = (Open::default(), |n: u8| IpAddr::from([10, 0, 0, n]));
            for n in &came {
                places.make_room(limit, address(*n));
                places.take(Taken { peer: address(*n), _close: oneshot::channel().0 });
            }
            let now: Vec<IpAddr> = places.taken.values().map(|taken| taken.peer).collect();
            assert_eq!(now, left.into_iter().map(address).collect::<Vec<_>>(), "{came:?}");
        }
    }
}
